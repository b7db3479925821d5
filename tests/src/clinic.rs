//! A clinic without a box: a test says what devices say, and each word goes to the county until it
//! is acked, several times over.

use anyhow::{Context as _, bail};
use model::{
    id::{Lane, OutboxId, Seq, SiteId},
    record::Record,
    time::WallTime,
};
use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{QoS, v5::Packet},
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use simulators::county::County;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use uplink_proto::{ack::Ack, envelope::Envelope, topics::Topic};

/// What is not acked is said again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A county that was killed is tried again after this.
const CONNECT_AFTER: Duration = Duration::from_millis(100);
/// Words and events on their way.
const WAITING_MAX: usize = 256;
const PACKET_MAX: u32 = 256 * 1024;

/// A clinic that is connected, as far as the county runs.
pub struct Clinic {
    words: mpsc::Sender<Word>,
    _running: JoinSet<()>,
}

struct Word {
    records: Vec<Record>,
    acked: oneshot::Sender<()>,
}

/// What a box takes for the time.
pub type Clock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// What is known of a word: its bytes, and who waits for its ack.
type Unacked = BTreeMap<Seq, (Vec<u8>, oneshot::Sender<()>)>;

impl Clinic {
    /// Connects as that site of the county; each word is said so many times at once.
    ///
    /// # Errors
    /// When the county does not give it a certificate.
    pub async fn connect(
        county: &County,
        name: &str,
        folder: &Path,
        copies: usize,
    ) -> anyhow::Result<Self> {
        Self::connect_by(Arc::new(now), county, name, folder, copies).await
    }

    /// The same, where a box has another clock than this machine.
    ///
    /// # Errors
    /// When the county does not give it a certificate.
    pub async fn connect_by(
        clock: Clock,
        county: &County,
        name: &str,
        folder: &Path,
        copies: usize,
    ) -> anyhow::Result<Self> {
        let dir = folder.join(name);
        county.issue(name, &dir).await?;
        let (host, port) = county.broker().rsplit_once(':').context("HOST:PORT")?;
        let mut options = MqttOptions::new(name, host, port.parse().context("the port")?);
        options
            .set_clean_start(true)
            .set_max_packet_size(Some(PACKET_MAX))
            .set_outgoing_inflight_upper_limit(100)
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(
                &dir, name,
            )?))));
        let (client, mut polled) = AsyncClient::new(options, WAITING_MAX);
        let (tell, events) = mpsc::channel(WAITING_MAX);
        let (words, heard) = mpsc::channel(WAITING_MAX);
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).context("asking for random bytes")?;
        let speaker = Speaker {
            site: SiteId::new(name)?,
            outbox: OutboxId::from_bytes(id),
            clock,
            client,
            copies,
            next: Seq::FIRST,
            unacked: Unacked::new(),
        };
        let mut running = JoinSet::new();
        running.spawn(async move {
            loop {
                match polled.poll().await {
                    Ok(event) => {
                        if tell.send(event).await.is_err() {
                            return;
                        }
                    }
                    // It connects again by itself.
                    Err(_) => tokio::time::sleep(CONNECT_AFTER).await,
                }
            }
        });
        running.spawn(speaker.speak(heard, events));
        Ok(Self { words, _running: running })
    }

    /// Says that, and waits until the county has it.
    ///
    /// # Errors
    /// When the county refuses it.
    pub async fn say(&self, records: Vec<Record>) -> anyhow::Result<()> {
        self.hand_over(records).await?.await.context("the county refused it")
    }

    /// Says that, and hands out what comes when the county has it.
    ///
    /// # Errors
    /// When the clinic has ended.
    pub async fn hand_over(&self, records: Vec<Record>) -> anyhow::Result<oneshot::Receiver<()>> {
        let (acked, ack) = oneshot::channel();
        if self.words.send(Word { records, acked }).await.is_err() {
            bail!("the clinic has ended");
        }
        Ok(ack)
    }
}

struct Speaker {
    site: SiteId,
    outbox: OutboxId,
    clock: Clock,
    client: AsyncClient,
    copies: usize,
    next: Seq,
    unacked: Unacked,
}

impl Speaker {
    async fn speak(mut self, mut words: mpsc::Receiver<Word>, mut events: mpsc::Receiver<Event>) {
        let mut again = tokio::time::interval(AGAIN_AFTER);
        let acks = Topic::Ack(self.site.clone()).name();
        loop {
            tokio::select! {
                word = words.recv() => match word {
                    Some(word) => self.say(word),
                    None => return,
                },
                event = events.recv() => match event {
                    Some(Event::Incoming(Packet::ConnAck(_))) => {
                        // Where it cannot be asked for, the connection has ended.
                        drop(self.client.try_subscribe(acks.clone(), QoS::AtLeastOnce));
                    }
                    Some(Event::Incoming(Packet::Publish(message))) => self.hear(&message.payload),
                    Some(_) => {}
                    None => return,
                },
                _ = again.tick() => self.unacked.values().for_each(|(bytes, _)| self.publish(bytes)),
            }
        }
    }

    fn say(&mut self, Word { records, acked }: Word) {
        let seq = self.next;
        self.next = seq.next();
        let envelope = Envelope {
            outbox: self.outbox,
            lane: Lane::Urgent,
            seq,
            opened_at: (self.clock)(),
            uptime: None,
            records,
        };
        let bytes = envelope.encode();
        (0..self.copies).for_each(|_| self.publish(&bytes));
        self.unacked.insert(seq, (bytes, acked));
    }

    fn publish(&self, bytes: &[u8]) {
        let topic = Topic::Up(self.site.clone(), Lane::Urgent).name();
        // What does not fit is said again.
        drop(self.client.try_publish(topic, QoS::AtLeastOnce, false, bytes.to_vec()));
    }

    fn hear(&mut self, payload: &[u8]) {
        let Ok(ack) = Ack::decode(payload) else { return };
        let settled = ack.lanes.iter().find(|(lane, _)| *lane == Lane::Urgent);
        let Some((_, settled)) = settled.filter(|_| ack.outbox == self.outbox) else { return };
        let refused = |seq: &Seq| ack.errors.iter().any(|error| error.seq == *seq);
        let done: Vec<Seq> =
            self.unacked.keys().copied().filter(|seq| settled.contains(*seq)).collect();
        for seq in done {
            if let Some((_, acked)) = self.unacked.remove(&seq)
                && !refused(&seq)
            {
                // Nobody may wait for it any more.
                acked.send(()).ok();
            }
        }
    }
}

/// Now, as a box says it.
#[must_use]
pub fn now() -> WallTime {
    WallTime::from_unix_ms(jiff::Timestamp::now().as_millisecond())
}

fn tls(dir: &Path, name: &str) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.crt"))?)?;
    let chain = CertificateDer::pem_file_iter(dir.join(format!("{name}.crt")))?
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?)
}
