//! One simulated box: the real sending half of the uplink on a connection of its own. Its outbox is
//! in memory; nothing is read from or written to a disk.

use super::{
    tally::Tally,
    ward::{Closed, GROUP_LEN, Ward},
};
use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use model::{
    id::{Lane, OutboxId, Seq, SiteId},
    time::{ClockQuality, MonoTime, WallTime},
};
use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{LastWill, Packet, PubAckReason, SubscribeReasonCode},
        },
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinHandle};
use uplink_proto::{
    ack::{Ack, Proof},
    ranges::RangeSet,
    sender::{LaneStock, Sender, SenderEvent, SenderOutput},
    state::{SiteState, Upkeep},
    topics::Topic,
};

/// As the agent.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const PACKET_MAX: u32 = 256 * 1024;
const IN_FLIGHT_MAX: u16 = 196;
const REQUESTS_MAX: usize = 256;
const EVENTS_MAX: usize = 64;
/// A connection that was lost is made again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Who a simulated box is, and where it connects to.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) site: SiteId,
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Identity {
    /// With the files that `clinic-gateway pki issue` wrote for that site.
    pub(super) fn read(dir: &Path, name: &str, (host, port): (&str, u16)) -> anyhow::Result<Self> {
        let site = SiteId::new(name).with_context(|| format!("{name}.crt"))?;
        let file = |ending: &str| dir.join(format!("{name}.{ending}"));
        let read = |path: &Path| {
            format!("reading {}; `clinic-gateway pki issue` writes it", path.display())
        };
        let (ca, cert, key) = (dir.join("ca.crt"), file("crt"), file("key"));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&ca).with_context(|| read(&ca))?)?;
        let chain = CertificateDer::pem_file_iter(&cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| read(&cert))?;
        let key = PrivateKeyDer::from_pem_file(&key).with_context(|| read(&key))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .with_context(|| format!("certificate and key of {name}"))?;
        Ok(Self { site, tls: Arc::new(tls), host: host.to_owned(), port })
    }
}

/// When and how much a box says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// Readings of this box in a thousand seconds.
    pub(super) readings_per_1000_s: u64,
    /// Envelopes are closed this often.
    pub(super) commit_every: Duration,
    /// When the first is closed: boxes of a county are not in step.
    pub(super) begins: Instant,
    /// How long it speaks.
    pub(super) speaks_for: Duration,
    /// How long it then waits for acks.
    pub(super) drain_limit: Duration,
    /// Bytes it keeps for the county; when they are full, its devices have to wait.
    pub(super) outbox_max: usize,
    /// The connection is broken about so often, if at all.
    pub(super) breaks_every: Option<Duration>,
}

/// A box that is connected.
pub(super) struct Agent {
    identity: Identity,
    outbox: OutboxId,
    link: Link,
    connections: u64,
    ward: Ward,
    /// What is not acked.
    kept: BTreeMap<Seq, Kept>,
    kept_len: usize,
    tally: Tally,
    began: Instant,
}

/// An envelope that is not acked.
struct Kept {
    bytes: Vec<u8>,
    readings: u64,
    closed_at: Instant,
    sent_at: Option<Instant>,
}

impl Agent {
    /// Connects; says nothing yet.
    pub(super) async fn connect(
        identity: Identity,
        devices: u16,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let mut id = [0; 16];
        // Never from the seed: an id that was there before is a copied outbox to the county.
        aws_lc_rs::rand::fill(&mut id).context("asking for random bytes")?;
        let outbox = OutboxId::from_bytes(id);
        let ward = Ward::new(&identity.site, devices, seed, outbox)?;
        let link = Link::open(&identity, outbox, 1).await?;
        Ok(Self {
            identity,
            outbox,
            link,
            connections: 1,
            ward,
            kept: BTreeMap::new(),
            kept_len: 0,
            tally: Tally::default(),
            began: Instant::now(),
        })
    }

    /// Speaks, and waits for the acks of all it said; what came of it.
    pub(super) async fn run(mut self, course: Course) -> anyhow::Result<Tally> {
        let speaks_until = course.begins + course.speaks_for;
        let mut closing = tokio::time::interval_at(course.begins.into(), course.commit_every);
        let (mut until, mut due) = (course.begins, 0);
        let mut breaks_at = course.breaks_every.map(|every| course.begins + every);
        let mut sender = self.sender();
        loop {
            self.carry_out(&mut sender)?;
            let now = Instant::now();
            let over = until >= speaks_until;
            if over && (self.kept.is_empty() || now >= speaks_until + course.drain_limit) {
                break;
            }
            let timeout = sender.next_timeout().map(|at| self.began + at.since_start());
            let again = tokio::time::sleep_until(
                timeout.unwrap_or(now + course.drain_limit).min(now + AGAIN_AFTER).into(),
            );
            let lost = tokio::select! {
                heard = self.link.events.recv() => match heard {
                    Some(Ok(event)) => self.take(&mut sender, &event)?,
                    Some(Err(reason)) => Some(reason),
                    None => Some("the client ended".to_owned()),
                },
                at = closing.tick(), if !over => {
                    let at = Instant::from(at).min(speaks_until).max(until);
                    let spoken = at.duration_since(course.begins).as_millis();
                    let groups = u128::from(course.readings_per_1000_s) * spoken
                        / (1_000_000 * u128::try_from(GROUP_LEN)?);
                    let more = u64::try_from(groups)?.saturating_sub(due);
                    due += more;
                    self.close(&mut sender, more, at.duration_since(until), course.outbox_max);
                    until = at;
                    None
                },
                () = again => {
                    sender.handle(self.now(), SenderEvent::TimedOut);
                    None
                }
            };
            let breaks = breaks_at.filter(|at| *at <= Instant::now() && !over);
            if breaks.is_some() {
                self.tally.breaks += 1;
                breaks_at = breaks.and_then(|at| Some(at + course.breaks_every?));
            } else if let Some(reason) = lost {
                tracing::warn!(site = self.identity.site.as_str(), reason, "A connection is lost.");
                tokio::time::sleep(AGAIN_AFTER).await;
            } else {
                continue;
            }
            if let Some(link) = self.reconnect().await {
                self.link = link;
                sender = self.sender();
            }
        }
        self.tally.lost = self.kept.values().map(|kept| kept.readings).sum();
        self.tally.connections = self.connections;
        self.link.goodbye(&self.identity.site, self.outbox, self.connections).await;
        self.tally.last = Some((self.outbox, self.ward.next()));
        Ok(self.tally)
    }

    fn now(&self) -> MonoTime {
        MonoTime::from_start(self.began.elapsed())
    }

    /// As after a reconnect: everything that is not acked goes out again.
    fn sender(&self) -> Sender {
        let unacked: RangeSet = self.kept.keys().map(|seq| (*seq, *seq)).collect();
        let empty =
            LaneStock { unacked: RangeSet::default(), next: Seq::FIRST, live_from: Seq::FIRST };
        let trend = LaneStock { unacked, next: self.ward.next(), live_from: Seq::FIRST };
        Sender::new(self.outbox, [empty.clone(), trend, empty])
    }

    /// Breaks the connection that is there without a word, and makes a new one.
    async fn reconnect(&mut self) -> Option<Link> {
        self.connections += 1;
        self.link.cut();
        match Link::open(&self.identity, self.outbox, self.connections).await {
            Ok(link) => Some(link),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(site = self.identity.site.as_str(), error, "Not connected.");
                None
            }
        }
    }

    fn close(&mut self, sender: &mut Sender, groups: u64, span: Duration, outbox_max: usize) {
        let readings = groups * u64::try_from(GROUP_LEN).unwrap_or(0);
        self.tally.due += readings;
        if self.kept_len >= outbox_max {
            return; // Due and not said: `held_back` in the report.
        }
        let until = jiff::Timestamp::now().as_millisecond();
        let span = i64::try_from(span.as_millis()).unwrap_or(0);
        let (from, until) = (WallTime::from_unix_ms(until - span), WallTime::from_unix_ms(until));
        for Closed { seq, bytes, readings } in self.ward.say(groups, from, until) {
            self.tally.say(readings, bytes.len());
            self.kept_len += bytes.len();
            let kept = Kept { bytes, readings, closed_at: Instant::now(), sent_at: None };
            self.kept.insert(seq, kept);
            sender.handle(self.now(), SenderEvent::Stored(Lane::Trend, seq));
        }
    }

    fn carry_out(&mut self, sender: &mut Sender) -> anyhow::Result<()> {
        while let Some(output) = sender.poll_output() {
            match output {
                SenderOutput::Publish(lane, seq) => {
                    let now = self.now();
                    let Some(kept) = self.kept.get_mut(&seq) else { continue };
                    kept.sent_at = Some(Instant::now());
                    let bytes = kept.bytes.clone();
                    let mut hash = [0; 32];
                    hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
                    let (len, proof) = (bytes.len(), Proof::of(&hash));
                    let topic = Topic::Up(self.identity.site.clone(), lane).name();
                    let publish =
                        self.link.client.try_publish(topic, QoS::AtLeastOnce, false, bytes);
                    if publish.is_err() {
                        // The connection has ended; why is in its events.
                        sender.handle(now, SenderEvent::Returned(lane, seq));
                        return Ok(());
                    }
                    self.tally.published += 1;
                    sender.handle(now, SenderEvent::Sent { lane, seq, len, proof });
                }
                SenderOutput::Forget { first, last, .. } => {
                    let rest = self.kept.split_off(&last.next());
                    let acked = self.kept.split_off(&first);
                    self.kept.extend(rest);
                    for kept in acked.into_values() {
                        self.kept_len -= kept.bytes.len();
                        self.tally.ack(kept.readings, kept.closed_at, kept.sent_at);
                    }
                }
                SenderOutput::LostAtCounty { first, last, .. } => {
                    bail!("the county has lost envelopes {first} to {last} that it had acked")
                }
                SenderOutput::StartNewOutbox => {
                    bail!("the county takes {} for a copied outbox", self.outbox)
                }
            }
        }
        Ok(())
    }

    /// What came from the broker; why the connection cannot go on, if it cannot.
    fn take(&mut self, sender: &mut Sender, event: &Event) -> anyhow::Result<Option<String>> {
        match event {
            Event::Incoming(Packet::Publish(message)) => {
                let ack = Ack::decode(&message.payload).context("an ack")?;
                if let Some(refused) = ack.errors.first() {
                    bail!("the county refuses envelope {}: {}", refused.seq, refused.reason);
                }
                sender.handle(self.now(), SenderEvent::Acked(&ack));
                Ok(None)
            }
            Event::Incoming(Packet::PubAck(answer)) => match answer.reason {
                PubAckReason::Success => Ok(None),
                // Started again, the new connection sends everything anew.
                PubAckReason::NoMatchingSubscribers => {
                    Ok(Some("the county service is away".to_owned()))
                }
                reason => bail!("the broker refuses readings: {reason:?}"),
            },
            Event::Incoming(Packet::Disconnect(goodbye)) => {
                Ok(Some(format!("{:?}", goodbye.reason_code)))
            }
            _ => Ok(None),
        }
    }
}

/// One MQTT connection. A task of its own polls it and is never cancelled midway.
struct Link {
    client: AsyncClient,
    events: mpsc::Receiver<Result<Event, String>>,
    polling: JoinHandle<()>,
}

impl Link {
    async fn open(identity: &Identity, outbox: OutboxId, number: u64) -> anyhow::Result<Self> {
        let Identity { site, tls, host, port } = identity;
        let mut options = MqttOptions::new(site.as_str(), host, *port);
        let will = state(outbox, number, false).encode();
        let topic = Topic::State(site.clone()).name();
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_start(true)
            .set_max_packet_size(Some(PACKET_MAX))
            .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
            .set_connection_timeout(CONNECT_LIMIT.as_secs())
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))))
            .set_last_will(LastWill::new(topic.clone(), will, QoS::AtLeastOnce, true, None));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_LIMIT.as_secs());
        options.set_network_options(network);
        let (client, mut polled) = AsyncClient::new(options, REQUESTS_MAX);
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let polling = tokio::spawn(async move {
            loop {
                let event = polled.poll().await.map_err(|error| error.to_string());
                let ended = event.is_err();
                if tell.send(event).await.is_err() || ended {
                    return;
                }
            }
        });
        let mut link = Self { client, events, polling };
        let subscribed = tokio::time::timeout(CONNECT_LIMIT, link.subscribed(site)).await;
        subscribed
            .unwrap_or_else(|_| bail!("no answer in {} s", CONNECT_LIMIT.as_secs()))
            .with_context(|| format!("connecting {} to {host}:{port}", site.as_str()))?;
        let online = state(outbox, number, true).encode();
        link.client.try_publish(topic, QoS::AtLeastOnce, true, online)?;
        Ok(link)
    }

    async fn subscribed(&mut self, site: &SiteId) -> anyhow::Result<()> {
        let ack = Topic::Ack(site.clone()).name();
        loop {
            match self.events.recv().await.context("the client ended")? {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    self.client.try_subscribe(ack.clone(), QoS::AtLeastOnce)?;
                }
                Ok(Event::Incoming(Packet::SubAck(answer))) => {
                    let granted =
                        matches!(answer.return_codes.as_slice(), [SubscribeReasonCode::Success(_)]);
                    ensure!(granted, "acks are refused: {:?}", answer.return_codes);
                    return Ok(());
                }
                Ok(_) => {}
                Err(reason) => bail!("{reason}"),
            }
        }
    }

    /// The socket closes without a word.
    fn cut(&self) {
        self.polling.abort();
    }

    async fn goodbye(mut self, site: &SiteId, outbox: OutboxId, number: u64) {
        let topic = Topic::State(site.clone()).name();
        let offline = state(outbox, number, false).encode();
        let said = self.client.try_publish(topic, QoS::AtLeastOnce, true, offline).is_ok();
        if said && self.client.try_disconnect().is_ok() {
            let gone = async { while let Some(Ok(_)) = self.events.recv().await {} };
            // The will says the same if there is no time for it.
            drop(tokio::time::timeout(AGAIN_AFTER, gone).await);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
    }
}

fn state(outbox: OutboxId, connection: u64, online: bool) -> SiteState {
    SiteState {
        online,
        connection,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        policy: None,
        upkeep: Upkeep::default(),
        outbox,
        backlog: [0; 3],
        holds_s: None,
        clock: ClockQuality::Synchronised,
        clock_evidence: "it is the clock of this computer".to_owned(),
        at: WallTime::from_unix_ms(jiff::Timestamp::now().as_millisecond()),
        uptime: None,
    }
}
