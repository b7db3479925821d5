//! Runs the receiving half of the uplink on MQTT: batches in, one transaction, acks and events out.
//!
//! # Invariants
//! - an ack is published only after its transaction is committed
//! - nothing is kept in the MQTT client: a lost connection costs a repetition and never data

use crate::{
    alerts::{self, OBSERVE_EVERY_MS, observe_all},
    clock::{self, rfc3339},
    events::Events,
    intake::{self, Delivery, Gathered, Taken},
    pki::Identity,
    policy::{Policies, Signer, Told},
    query::{Clinics, block_told, with_clinic},
    reading::Group,
    rule_sets::LiveRules,
    store::{Store, StoreError},
};
use anyhow::Context as _;
use model::{
    id::{OutboxId, SiteId},
    time::WallTime,
    waveform::WaveformBlock,
};
use rules::engine::Pending;
use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{ConnectReturnCode, Packet, SubscribeReasonCode},
        },
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uplink_proto::{
    ack::Ack,
    envelope::peek,
    sent,
    state::SiteState,
    topics::{COUNTY, Topic, county_filters},
};

/// Dead peers are found after twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Nothing heard for this long, not even an answer to a ping.
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// Back-off with full jitter.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Larger than any envelope.
const PACKET_MAX: u32 = 256 * 1024;
/// How long a transaction should take: whoever came just after it began waits for it and for the
/// next, and wants its ack within 250 ms.
const BATCH_FOR: Duration = Duration::from_millis(80);
/// Bytes of messages of one transaction, whatever the last one took: a sync of the disk pays for
/// the fewest, and the most are some 40 000 readings in memory.
const BATCH_BYTES: Range<usize> = 128 << 10..1 << 20;
/// Messages that wait for a transaction.
const WAITING_MAX: usize = 1024;
/// Reading groups of one event: a board that is behind holds many of them in memory.
const GROUPS_MAX: usize = 64;
/// Acks that wait for the client: one per outbox and transaction.
const ACKS_MAX: usize = 1024;
/// Rules look at their deadlines this often.
const RULES_EVERY: Duration = Duration::from_secs(1);

/// What a box says of its uptime beside envelopes is listened to this often: the first word of
/// a connection, and enough to find one that was not on its way for long.
const UPTIME_EVERY: Duration = Duration::from_secs(1);
/// Boxes hear of what people have in hand this often at most.
const IN_HAND_EVERY: Duration = Duration::from_secs(1);

/// A connected site tells its state every 30 s.
const STATE_SILENCE_MS: i64 = 90_000;

/// What ingestion needs.
#[derive(Clone)]
pub(crate) struct Ingest {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) identity: Identity,
    pub(crate) store: Store,
    pub(crate) rules: LiveRules,
    pub(crate) signer: Option<Arc<Signer>>,
    pub(crate) clinics: Arc<Clinics>,
    pub(crate) events: Events,
    pub(crate) stopped: CancellationToken,
}

/// Serves until the gateway stops; tells whether the broker is there.
pub(crate) async fn run(ingest: Ingest, broker_up: watch::Sender<bool>) {
    loop {
        let ended = ingest.session(&broker_up).await;
        ingest.tell_broker(&broker_up, false);
        if let Err(error) = ended {
            tracing::warn!(error = format!("{error:#}"), "The broker is out of reach.");
        }
        let mut byte = [u8::MAX; 1];
        // Without random bytes the full time is as good.
        let _filled = aws_lc_rs::rand::fill(&mut byte);
        tokio::select! {
            () = tokio::time::sleep(BACK_OFF_MAX * u32::from(byte[0]) / u32::from(u8::MAX)) => {}
            () = ingest.stopped.cancelled() => return,
        }
    }
}

impl Ingest {
    async fn session(&self, broker_up: &watch::Sender<bool>) -> anyhow::Result<()> {
        let mut options = MqttOptions::new(COUNTY, &self.host, self.port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_start(true)
            .set_max_packet_size(Some(PACKET_MAX))
            .set_outgoing_inflight_upper_limit(200)
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(
                &self.identity,
            )?))));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, mut events) = AsyncClient::new(options, ACKS_MAX);
        let (deliveries, waiting) = mpsc::channel(WAITING_MAX);
        let work = tokio::spawn(self.clone().work(waiting, client.clone()));
        let mut heard = Heard::default();
        let ended = loop {
            let polled = tokio::select! {
                polled = tokio::time::timeout(SILENCE_MAX, events.poll()) => polled,
                () = self.stopped.cancelled() => break Ok(()),
            };
            let event = match polled {
                Err(_) => {
                    break Err(anyhow::anyhow!(
                        "nothing was heard for {} s",
                        SILENCE_MAX.as_secs()
                    ));
                }
                Ok(Err(error)) => break Err(error.into()),
                Ok(Ok(event)) => event,
            };
            match event {
                Event::Incoming(Packet::ConnAck(answer))
                    if answer.code == ConnectReturnCode::Success =>
                {
                    for filter in county_filters() {
                        client.try_subscribe(filter, QoS::AtLeastOnce).context("subscribing")?;
                    }
                }
                Event::Incoming(Packet::SubAck(answer)) => {
                    let granted = |code| matches!(code, &SubscribeReasonCode::Success(_));
                    if !answer.return_codes.iter().all(granted) {
                        break Err(anyhow::anyhow!(
                            "the broker refuses: {:?}; check its ACL",
                            answer.return_codes
                        ));
                    }
                    self.tell_broker(broker_up, true);
                }
                Event::Incoming(Packet::Publish(message)) => {
                    let topic = String::from_utf8_lossy(&message.topic);
                    let said =
                        message.properties.as_ref().map(|said| said.user_properties.as_slice());
                    let uptime = said.and_then(sent::read);
                    let bytes = message.payload.to_vec();
                    let delivery = match Topic::parse(&topic) {
                        Some(Topic::Up(site, lane)) => Delivery::Envelope(site, lane, bytes),
                        Some(Topic::State(site)) => {
                            Delivery::State { site, bytes, retained: message.retain }
                        }
                        Some(Topic::Ack(_) | Topic::Config(_)) | None => continue,
                    };
                    if let (Delivery::Envelope(site, ..), Some(uptime)) = (&delivery, uptime)
                        && heard.is_due(site, uptime.boot, clock::instant())
                    {
                        let said =
                            Delivery::Uptime { site: site.clone(), uptime, at: clock::now() };
                        deliveries.send(said).await.context("the database has stopped")?;
                    }
                    // Full: the broker waits, and behind it the outboxes.
                    deliveries.send(delivery).await.context("the database has stopped")?;
                }
                _ => {}
            }
        };
        drop(deliveries);
        work.await.context("storing what came in")?;
        ended
    }

    /// Without the broker nobody knows whether a site is in reach: boards must hear of it.
    fn tell_broker(&self, broker_up: &watch::Sender<bool>, up: bool) {
        if broker_up.send_replace(up) != up {
            self.events.publish("broker", &json!({"up": up}), None);
        }
    }

    /// One transaction after the other, with what has come meanwhile, as far as it fits.
    async fn work(self, mut waiting: mpsc::Receiver<Delivery>, client: AsyncClient) {
        let mut fits = BATCH_BYTES.start;
        let disk = self.store.disk();
        let mut looks = disk.looks();
        // Boxes that were not acked because of the disk: they wait ever longer before they try again.
        let mut put_off = BTreeMap::new();
        let (mut rules_changed, mut alerts_changed) = (self.rules.follow(), self.events.alerts());
        let mut in_hand = tokio::time::interval(IN_HAND_EVERY);
        let (store, signer) = (self.store.clone(), self.signer.clone());
        let mut policies = Policies::new(store, self.rules.clone(), signer);
        loop {
            let first = tokio::select! {
                first = waiting.recv() => match first {
                    Some(first) => Some(first),
                    None => return,
                },
                _ = looks.changed(), if !put_off.is_empty() => None,
                Ok(()) = alerts_changed.changed() => {
                    policies.alerts_changed();
                    None
                }
                _ = in_hand.tick() => {
                    let told = policies.tell_in_hand(clock::now(), clock::instant()).await;
                    tell_policies(&client, told);
                    None
                }
                Ok(()) = rules_changed.changed() => {
                    tell_policies(&client, policies.changed(clock::now()).await);
                    None
                }
            };
            if let Some(first) = first {
                let mut bytes = first.len();
                let mut batch = vec![first];
                while bytes < fits
                    && let Ok(next) = waiting.try_recv()
                {
                    bytes += next.len();
                    batch.push(next);
                }
                if !disk.takes_all() {
                    put_off.extend(batch.iter().filter_map(sender_of));
                }
                let states: Vec<_> = batch.iter().filter_map(state_of).collect();
                let (rules, began) = (self.rules.rules(), clock::instant());
                for taken in intake::store(&self.store, batch, clock::now(), &rules).await {
                    self.tell(taken, &client);
                }
                fits = fitting(bytes, began.elapsed());
                for (site, state) in states {
                    let Some(held) = state.policy else { continue };
                    let told = policies.hear(&site, state.connection, held, clock::now()).await;
                    tell_policies(&client, told);
                }
            }
            if disk.takes_all() {
                for (site, outbox) in std::mem::take(&mut put_off) {
                    tell_ack(&client, site, &Ack::taking_in_again(outbox));
                }
            }
        }
    }

    fn tell_readings(&self, readings: &[Gathered]) {
        for part in readings.chunks(GROUPS_MAX) {
            let groups: Vec<Group> = part.iter().map(Gathered::stored).collect();
            let mut of_sites: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for group in &groups {
                let told = group.told().into_iter().map(|(.., told)| told);
                of_sites.entry(group.site.clone()).or_default().extend(told);
            }
            self.events.publish_list("reading", "readings", &of_sites);
        }
    }

    fn tell_pending(&self, pending: &BTreeMap<SiteId, Pending>) {
        let of_sites = pending_told(pending);
        if !of_sites.is_empty() {
            self.events.publish_list("pending", "numbers", &of_sites);
        }
    }

    fn tell_blocks(&self, blocks: &[(SiteId, WallTime, WaveformBlock)]) {
        for (site, start, block) in blocks {
            let key = format!("{site}:{}:{}", block.device, block.metric);
            let told = json!({"site": site.as_str(), "blocks": [block_told(site, *start, block)]});
            self.events.publish("waveform", &told, Some(key));
        }
    }

    fn tell(&self, taken: Taken, client: &AsyncClient) {
        for (site, ack) in taken.acks {
            tell_ack(client, site, &ack);
        }
        let counts = taken.counts;
        for (verdict, count) in [
            ("new", counts.new),
            ("duplicate", counts.duplicate),
            ("conflict", counts.conflict),
            ("undecodable", counts.undecodable),
        ] {
            metrics::counter!("gateway_envelopes_total", "verdict" => verdict).increment(count);
        }
        metrics::counter!("gateway_envelopes_not_kept_total").increment(counts.not_kept);
        metrics::counter!("gateway_records_skipped_total").increment(counts.skipped);
        metrics::counter!("gateway_boxes_by_turns_total").increment(counts.by_turns);
        metrics::counter!("gateway_readings_stored_total").increment(counts.readings);
        let over = taken.pending.values().map(|pending| pending.over).sum();
        metrics::counter!("gateway_pending_over_total").increment(over);
        let are_heard = match taken.readings.is_empty() {
            true => self.events.are_heard(),
            false => self.events.are_heard_or_left_out(),
        };
        if are_heard {
            self.tell_readings(&taken.readings);
            self.tell_pending(&taken.pending);
            self.tell_blocks(&taken.blocks);
        }
        let places = [("device", taken.devices), ("site", taken.sites), ("alert", taken.alerts)];
        for (name, list) in places {
            for item in list {
                self.events.publish(name, &with_clinic(item, &self.clinics), None);
            }
        }
    }
}

/// By site, which numbers are outside a limit and no alert yet, as they were measured last.
pub(crate) fn pending_told(pending: &BTreeMap<SiteId, Pending>) -> BTreeMap<String, Vec<Value>> {
    let of_site = |(site, pending): (&SiteId, &Pending)| {
        let numbers = pending.numbers.iter().map(|((device, channel, metric), at)| {
            json!({"site": site.as_str(), "device": device.as_str(), "channel": channel,
                "metric": metric.name(), "measured_time": rfc3339(at.unix_ms())})
        });
        let numbers: Vec<Value> = numbers.collect();
        (!numbers.is_empty()).then(|| (site.to_string(), numbers))
    };
    pending.iter().filter_map(of_site).collect()
}

/// Which boot of a site's box was listened to last, and when.
#[derive(Debug, Default)]
struct Heard(BTreeMap<SiteId, (u32, Instant)>);

impl Heard {
    /// Whether to listen to what a box says of its uptime at `now`; if so it was. The first word of
    /// a boot is never passed over: without it, what that boot recorded has no place.
    fn is_due(&mut self, site: &SiteId, boot: u32, now: Instant) -> bool {
        let last = self.0.get(site);
        let is_due = last.is_none_or(|(of, last)| {
            *of != boot || now.saturating_duration_since(*last) >= UPTIME_EVERY
        });
        if is_due {
            self.0.insert(site.clone(), (boot, now));
        }
        is_due
    }
}

/// Whose envelope it is.
fn sender_of(delivery: &Delivery) -> Option<(SiteId, OutboxId)> {
    match delivery {
        Delivery::Envelope(site, _, bytes) => Some((site.clone(), peek(bytes).ok()?.outbox)),
        Delivery::State { .. } | Delivery::Uptime { .. } => None,
    }
}

/// What a connected box said just now of itself.
fn state_of(delivery: &Delivery) -> Option<(SiteId, SiteState)> {
    let Delivery::State { site, bytes, retained: false } = delivery else { return None };
    let state = SiteState::decode(bytes).ok().filter(|state| state.online)?;
    Some((site.clone(), state))
}

fn tell_policies(client: &AsyncClient, told: Result<Vec<Told>, StoreError>) {
    let told = told.unwrap_or_else(|error| {
        tracing::error!(%error, "What boxes are to go by could not be looked at.");
        Vec::new()
    });
    for Told { topic, retain, bytes } in told {
        if client.try_publish(topic, QoS::AtLeastOnce, retain, bytes).is_err() {
            // The box goes on saying that it has another one, and hears of it with its next
            // connection.
            tracing::warn!("A policy could not be handed over.");
        }
    }
}

fn tell_ack(client: &AsyncClient, site: SiteId, ack: &Ack) {
    let topic = Topic::Ack(site).name();
    if client.try_publish(topic, QoS::AtLeastOnce, false, ack.encode()).is_err() {
        // The site sends again what it does not see acked.
        tracing::debug!("An ack could not be handed over.");
    }
}

/// Bytes of messages that would take as long as a transaction should, by what these took.
fn fitting(bytes: usize, took: Duration) -> usize {
    let ms = |time: Duration| usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
    let fits = bytes.saturating_mul(ms(BATCH_FOR)) / ms(took).max(1);
    fits.clamp(BATCH_BYTES.start, BATCH_BYTES.end)
}

/// Lets time pass for the rules, until the gateway stops.
pub(crate) async fn watch_deadlines(ingest: Ingest) {
    let mut recount = alerts::Recount::default();
    let mut tick = tokio::time::interval(RULES_EVERY);
    let began = clock::now();
    let mut scored_at = WallTime::from_unix_ms(0);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = ingest.stopped.cancelled() => return,
        }
        let now = clock::now();
        let unheard_since = unheard_since(began, now);
        let scores = now.unix_ms().abs_diff(scored_at.unix_ms()) >= OBSERVE_EVERY_MS;
        if scores {
            scored_at = now;
        }
        match pass_time(&ingest, now, unheard_since, scores).await {
            Ok((changed, sites)) => {
                for site in sites {
                    ingest.events.publish("site", &with_clinic(site, &ingest.clinics), None);
                }
                for alert in changed {
                    ingest.events.publish("alert", &with_clinic(alert, &ingest.clinics), None);
                }
            }
            // Told once, not every second.
            Err(StoreError::Disk(_)) => {}
            Err(error) => tracing::error!(%error, "Deadlines of alerts could not be looked at."),
        }
        match recount.go_on(&ingest.store, &ingest.rules.live()).await {
            Ok(()) | Err(StoreError::Disk(_)) => {}
            Err(error) => tracing::error!(%error, "Deadlines of alerts could not be said anew."),
        }
    }
}

/// A site that has said nothing since is out of reach: by its own fault, the broker's or the
/// county's. Until the gateway has run for so long nobody could hear it.
fn unheard_since(began: WallTime, now: WallTime) -> Option<WallTime> {
    let silent = WallTime::from_unix_ms(now.unix_ms().saturating_sub(STATE_SILENCE_MS));
    (began <= silent).then_some(silent)
}

/// What time alone does; and of patients, what their values and what a nurse saw come to.
async fn pass_time(
    ingest: &Ingest,
    now: WallTime,
    unheard_since: Option<WallTime>,
    scores: bool,
) -> Result<(Vec<Value>, Vec<Value>), StoreError> {
    let rules = ingest.rules.rules();
    let (mut changed, sites) =
        alerts::pass_time(&ingest.store, Arc::clone(&rules), now, unheard_since).await?;
    if scores {
        match observe_all(&ingest.store, rules, now).await {
            Ok(scored) => changed.extend(scored),
            // What is committed is told all the same.
            Err(error) => tracing::error!(%error, "Patients could not be scored."),
        }
    }
    Ok((changed, sites))
}

/// TLS with the county's certificate, trusting the county's CA and nobody else.
fn tls(identity: &Identity) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&identity.ca).context("reading the CA")?)?;
    let chain = CertificateDer::pem_file_iter(&identity.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading {}", identity.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .with_context(|| format!("reading {}", identity.key.display()))?;
    // Named, because another package of the workspace brings a second provider into the tree.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_boot_of_a_box_is_listened_to_at_once() {
        let (mut heard, began) = (Heard::default(), clock::instant());
        let [heping, other] = ["heping", "other"].map(|site| SiteId::new(site).unwrap());
        let mut is_due = |site, boot, ms| {
            let now = began + Duration::from_millis(ms);
            heard.is_due(site, boot, now)
        };
        assert!(is_due(&heping, 7, 0));
        assert!(!is_due(&heping, 7, 999));
        assert!(is_due(&heping, 8, 999));
        assert!(is_due(&other, 8, 999));
        assert!(!is_due(&heping, 8, 1998));
        assert!(is_due(&heping, 8, 1999));
    }

    #[test]
    fn a_site_has_a_minute_and_a_half_to_be_heard_by_a_gateway_that_starts() {
        let at = |seconds: i64| WallTime::from_unix_ms(1_795_335_300_000 + seconds * 1000);
        assert_eq!(unheard_since(at(0), at(89)), None);
        assert_eq!(unheard_since(at(0), at(90)), Some(at(0)));
        assert_eq!(unheard_since(at(0), at(3600)), Some(at(3510)));
    }

    #[test]
    fn a_transaction_is_as_large_as_the_last_one_says_that_it_may_be() {
        let after = |bytes, ms| fitting(bytes, Duration::from_millis(ms));
        assert_eq!(after(200_000, 80), 200_000);
        assert_eq!(after(200_000, 20), 800_000);
        assert_eq!(after(800_000, 160), 400_000);
        // A sync that took long, one that took nothing, and one with nearly nothing in it.
        assert_eq!(after(100_000, 9000), BATCH_BYTES.start);
        assert_eq!(after(100_000, 0), BATCH_BYTES.end);
        assert_eq!(after(600, 12), BATCH_BYTES.start);
    }
}
