//! One MQTT connection on rumqttc, from CONNECT to its first error. Never reused: every error ends
//! it, and the next one starts from the outbox.
//!
//! Why so strict (rumqttc 0.25.1, each seen in a test against a real broker): a lost session drops
//! what is queued without a word; a poll that is cancelled leaks a packet id; a write into a black
//! hole blocks the keep-alive.

use super::{
    Row,
    in_flight::InFlight,
    refusal::{self, Refusal},
};
use crate::{
    clock::Clock,
    config::UplinkConfig,
    supervisor::{self, Tied},
};
use model::{id::SiteId, time::MonoTime};
use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{
                ConnAck, Filter, LastWill, Packet, PubAckReason, Publish, PublishProperties,
                SubscribeReasonCode,
            },
        },
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::sync::mpsc;
use uplink_proto::{sent, topics::Topic};

/// Dead peers are found after twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// TCP, TLS and CONNECT together.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Larger than any envelope; also what we accept.
const PACKET_MAX: u32 = 256 * 1024;
/// What MQTT adds to topic and envelope.
const PACKET_HEAD: usize = 96;
/// What the kernel takes before an urgent envelope: 4 s of a 64 kbit/s link at most.
const SEND_BUFFER: u32 = 32 * 1024;
/// Publishes without a PUBACK: above three lanes of 64, below the broker's 200 where it has them.
const IN_FLIGHT_MAX: u16 = 196;
/// Requests that wait for the client: the windows of three lanes and a state.
const REQUESTS_MAX: usize = 256;
/// Messages before the broker has said that this box hears them: the policy, its rules, some acks.
const EARLY_MAX: usize = 16;
/// Events that wait for the session.
const EVENTS_MAX: usize = 64;
/// Once the county is heard it is told how long the box has been running this often: it listens once
/// a second.
const UPTIME_EVERY: Duration = Duration::from_secs(1);

/// What a connection is made of.
pub(super) struct Plan<'a> {
    pub(super) config: &'a UplinkConfig,
    pub(super) site: &'a SiteId,
    /// State that the broker publishes when the connection breaks.
    pub(super) will: Vec<u8>,
    pub(super) clock: Clock,
}

/// What came from the broker.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message on the site's ack topic.
    Ack(Vec<u8>),
    /// A message on the site's config topic.
    Config(Vec<u8>),
    /// A publish was taken: that row, or a state.
    Accepted(Option<Row>),
    /// Nobody listens: the county's service is away, and the row was thrown away.
    CountyAway(Option<Row>),
    /// A publish was refused.
    Refused(Option<Row>, String),
}

/// Why a connection ended or was not made.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    #[error(
        "cannot read {path}: {source}; run `clinic-gateway pki issue` at the county and copy its files here"
    )]
    Certificate {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("TLS cannot be set up: {0}; check that certificate and key belong together")]
    Tls(#[from] rustls::Error),
    #[error("cannot reach the broker {broker}: {reason}; readings are kept")]
    Unreachable { broker: String, reason: String },
    #[error("not accepted: {0}; readings are kept")]
    Rejected(String),
    #[error(
        "another box has connected with the certificate of this site; find it, and issue one of the two a certificate of its own at the county (`clinic-gateway pki issue`); readings are kept"
    )]
    TakenOver,
    #[error(
        "the broker closed the connection without a word: it stops, or another box has connected with the certificate of this site; readings are kept"
    )]
    Closed,
    #[error("the connection was lost: {0}; readings are kept")]
    Lost(String),
    #[error("the broker takes nothing; readings are kept")]
    Stuck,
}

/// One connection.
pub(super) struct Connection {
    client: AsyncClient,
    events: mpsc::Receiver<Result<Event, Refusal>>,
    /// What came before the answer to the subscription (MQTT 5, 3.8.4, allows it).
    early: VecDeque<Heard>,
    in_flight: InFlight,
    /// The longest packet that the broker takes.
    packet_max: usize,
    /// Topics that were said once and are a number from then on, as many as the broker remembers.
    aliases: BTreeMap<String, u16>,
    aliases_max: u16,
    /// When the uptime is to be said beside an envelope, and whether the county is heard.
    uptime_due: MonoTime,
    county_heard: bool,
    clock: Clock,
    _poll: Tied,
}

impl Connection {
    /// Connects, and subscribes to the site's own acks and to what it is to go by.
    pub(super) async fn open(plan: Plan<'_>) -> Result<Self, ConnectionError> {
        let UplinkConfig { host, port, .. } = plan.config;
        let mut options = MqttOptions::new(plan.site.as_str(), host, *port);
        let state = Topic::State(plan.site.clone()).name();
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_start(true)
            .set_max_packet_size(Some(PACKET_MAX))
            .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
            .set_connection_timeout(CONNECT_LIMIT.as_secs())
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(
                plan.config,
            )?))))
            .set_last_will(LastWill::new(state, plan.will, QoS::AtLeastOnce, true, None));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_LIMIT.as_secs());
        network.set_tcp_send_buffer_size(SEND_BUFFER);
        options.set_network_options(network);
        let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
        // The event loop is polled by a task that does nothing else, and never cancelled midway.
        let events = Arc::new(tokio::sync::Mutex::new(Some(events)));
        let (poll, events) = supervisor::pump(EVENTS_MAX, move || {
            let events = Arc::clone(&events);
            async move {
                let mut slot = events.lock().await;
                let polled = slot.as_mut()?.poll().await;
                if polled.is_err() {
                    *slot = None;
                }
                Some(polled.map_err(Refusal::from))
            }
        });
        let mut connection = Self {
            client,
            events,
            early: VecDeque::new(),
            in_flight: InFlight::new(plan.clock.mono()),
            packet_max: packet_max(PACKET_MAX),
            aliases: BTreeMap::new(),
            aliases_max: 0,
            uptime_due: plan.clock.mono(),
            county_heard: false,
            clock: plan.clock,
            _poll: poll,
        };
        let unreachable = |reason: String| ConnectionError::Unreachable {
            broker: format!("{host}:{port}"),
            reason,
        };
        match tokio::time::timeout(CONNECT_LIMIT, connection.connected(plan.site)).await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(Refusal::Rejected(reason))) => Err(ConnectionError::Rejected(reason)),
            Ok(Err(Refusal::TakenOver)) => Err(ConnectionError::TakenOver),
            Ok(Err(Refusal::Closed)) => {
                Err(unreachable("it closed the connection without a word".to_owned()))
            }
            Ok(Err(Refusal::Failed(reason))) => Err(unreachable(reason)),
            Err(_) => Err(unreachable(format!("no answer in {} s", CONNECT_LIMIT.as_secs()))),
        }
    }

    async fn connected(&mut self, site: &SiteId) -> Result<(), Refusal> {
        let topics = [Topic::Ack(site.clone()), Topic::Config(site.clone())];
        loop {
            match self.events.recv().await {
                Some(Ok(Event::Incoming(Packet::ConnAck(answer)))) => {
                    self.accept(&answer)?;
                    let filter = |topic: &Topic| Filter::new(topic.name(), QoS::AtLeastOnce);
                    let asked = self.client.try_subscribe_many(topics.iter().map(filter));
                    asked.map_err(|error| Refusal::Failed(error.to_string()))?;
                }
                Some(Ok(Event::Incoming(Packet::SubAck(answer)))) => {
                    return match answer.return_codes.as_slice() {
                        [SubscribeReasonCode::Success(_), SubscribeReasonCode::Success(_)] => {
                            Ok(())
                        }
                        // Readings are worth more than rules.
                        [SubscribeReasonCode::Success(_), other] => {
                            tracing::warn!(answer = ?other, "The broker does not let this box hear \
                                its rules; the county has to compare its ACL with configs/broker/acl.");
                            Ok(())
                        }
                        other => Err(Refusal::Rejected(format!(
                            "the broker does not let this box hear acks, {other:?}; the county \
                             has to compare its ACL with configs/broker/acl"
                        ))),
                    };
                }
                Some(Ok(Event::Incoming(Packet::Publish(message)))) => {
                    if self.early.len() >= EARLY_MAX {
                        let reason = "it sends much before it says what this box hears";
                        return Err(Refusal::Failed(reason.to_owned()));
                    }
                    let heard = self.message(&message);
                    self.early.push_back(heard);
                }
                Some(Ok(_)) => {}
                Some(Err(refusal)) => return Err(refusal),
                None => return Err(Refusal::Failed("the client ended".to_owned())),
            }
        }
    }

    /// Looks at what the broker offers.
    fn accept(&mut self, answer: &ConnAck) -> Result<(), Refusal> {
        self.in_flight = InFlight::new(self.clock.mono());
        let Some(offer) = &answer.properties else { return Ok(()) };
        if offer.max_qos == Some(0) {
            return Err(Refusal::Rejected(
                "the broker confirms no message (QoS 0 only); the county needs another broker"
                    .to_owned(),
            ));
        }
        let allowed = offer.max_packet_size.map_or(PACKET_MAX, |max| max.min(PACKET_MAX));
        self.packet_max = packet_max(allowed);
        self.aliases_max = offer.topic_alias_max.unwrap_or_default();
        Ok(())
    }

    /// What comes next from the broker; an error is the end of this connection.
    pub(super) async fn next(&mut self) -> Result<Heard, ConnectionError> {
        if let Some(heard) = self.early.pop_front() {
            return Ok(heard);
        }
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                () = self.clock.sleep_until(Some(self.in_flight.give_up_at())) => {
                    return Err(ConnectionError::Stuck);
                }
            };
            let event = match event {
                None => return Err(ConnectionError::Lost("the client ended".to_owned())),
                Some(Err(Refusal::TakenOver)) => return Err(ConnectionError::TakenOver),
                Some(Err(Refusal::Closed)) => return Err(ConnectionError::Closed),
                Some(Err(Refusal::Rejected(reason))) => {
                    return Err(ConnectionError::Rejected(reason));
                }
                Some(Err(Refusal::Failed(reason))) => return Err(ConnectionError::Lost(reason)),
                Some(Ok(event)) => event,
            };
            let now = self.clock.mono();
            if matches!(event, Event::Incoming(_)) {
                self.in_flight.hear(now);
            }
            match event {
                Event::Outgoing(rumqttc::Outgoing::Publish(packet)) => {
                    self.in_flight.write(packet);
                }
                Event::Incoming(Packet::Publish(message)) => return Ok(self.message(&message)),
                Event::Incoming(Packet::PubAck(answer)) => {
                    let row = self.in_flight.answer(now, answer.pkid);
                    return Ok(match answer.reason {
                        PubAckReason::Success => Heard::Accepted(row),
                        PubAckReason::NoMatchingSubscribers => Heard::CountyAway(row),
                        reason => Heard::Refused(row, refusal::publish(reason)),
                    });
                }
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
        }
    }

    fn message(&mut self, message: &Publish) -> Heard {
        let bytes = message.payload.to_vec();
        let topic = String::from_utf8_lossy(&message.topic);
        if let Some(Topic::Config(_)) = Topic::parse(&topic) {
            // The broker keeps it: whether the county is there it does not say.
            return Heard::Config(bytes);
        }
        self.county_heard = true;
        Heard::Ack(bytes)
    }

    /// Whether the broker takes an envelope of that length.
    pub(super) fn fits(&self, topic: &str, len: usize) -> bool {
        len + topic.len() + PACKET_HEAD < self.packet_max
    }

    /// Hands an envelope to the client, where it is due with the uptime of this moment; the sender's
    /// window keeps room for it.
    pub(super) fn publish(
        &mut self,
        topic: String,
        row: Row,
        bytes: Vec<u8>,
    ) -> Result<(), ConnectionError> {
        self.hand_over(topic, Some(row), bytes)
    }

    /// Hands a retained message to the client.
    pub(super) fn publish_retained(
        &mut self,
        topic: String,
        bytes: Vec<u8>,
    ) -> Result<(), ConnectionError> {
        self.hand_over(topic, None, bytes)
    }

    /// Only the state of the site is retained; rows of the outbox are not.
    fn hand_over(
        &mut self,
        topic: String,
        row: Option<Row>,
        bytes: Vec<u8>,
    ) -> Result<(), ConnectionError> {
        let mut properties = PublishProperties::default();
        let mut topic = topic;
        if row.is_some() {
            properties.user_properties.extend(self.uptime());
            (topic, properties.topic_alias) = self.shorten(topic);
        }
        let (qos, retain) = (QoS::AtLeastOnce, row.is_none());
        let handed = self.client.try_publish_with_properties(topic, qos, retain, bytes, properties);
        handed.map_err(|_| ConnectionError::Stuck)?;
        self.in_flight.hand_over(self.clock.mono(), row);
        Ok(())
    }

    /// What is said of the uptime beside an envelope: with each until the county is heard, for without
    /// it, what this boot recorded has no place; then as often as the county listens.
    fn uptime(&mut self) -> Option<(String, String)> {
        let now = self.clock.mono();
        if self.county_heard && now < self.uptime_due {
            return None;
        }
        self.uptime_due = now + UPTIME_EVERY;
        Some(sent::property(self.clock.uptime()))
    }

    /// A topic as it goes over the link: with its number the first time, then the number alone.
    fn shorten(&mut self, topic: String) -> (String, Option<u16>) {
        if let Some(alias) = self.aliases.get(&topic) {
            return (String::new(), Some(*alias));
        }
        let next = u16::try_from(self.aliases.len() + 1).ok();
        let alias = next.filter(|alias| *alias <= self.aliases_max);
        if let Some(alias) = alias {
            self.aliases.insert(topic.clone(), alias);
        }
        (topic, alias)
    }

    /// Says the last words and waits until they are out.
    pub(super) async fn goodbye(&mut self, topic: String, bytes: Vec<u8>) {
        let said = self.publish_retained(topic, bytes).is_ok();
        if said && self.client.try_disconnect().is_ok() {
            while let Some(Ok(event)) = self.events.recv().await {
                if matches!(event, Event::Outgoing(rumqttc::Outgoing::Disconnect)) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
impl Connection {
    /// Takes what is handed over, and nothing ever comes back.
    pub(super) fn to_nobody(packet_max: usize) -> Self {
        Self::that_says(packet_max, Vec::new())
    }

    /// Takes what is handed over; this comes back, and nothing else ever.
    fn that_says(packet_max: usize, said: Vec<Packet>) -> Self {
        let (client, requests) =
            AsyncClient::new(MqttOptions::new("box", "nobody", 1), REQUESTS_MAX);
        let parts = Arc::new(tokio::sync::Mutex::new((requests, VecDeque::from(said))));
        let (poll, events) = supervisor::pump(EVENTS_MAX, move || {
            let parts = Arc::clone(&parts);
            async move {
                let (_kept_open, said) = &mut *parts.lock().await;
                match said.pop_front() {
                    Some(packet) => Some(Ok(Event::Incoming(packet))),
                    None => std::future::pending().await,
                }
            }
        });
        let clock = Clock::start();
        let in_flight = InFlight::new(clock.mono());
        let uptime_due = clock.mono();
        Self {
            client,
            events,
            early: VecDeque::new(),
            in_flight,
            packet_max,
            aliases: BTreeMap::new(),
            aliases_max: 0,
            uptime_due,
            county_heard: false,
            clock,
            _poll: poll,
        }
    }

    pub(super) fn set_packet_max(&mut self, packet_max: usize) {
        self.packet_max = packet_max;
    }

    /// Rows handed over, in their order.
    pub(super) fn handed(&self) -> Vec<u64> {
        self.in_flight.handed().into_iter().map(|(_, seq)| seq.get()).collect()
    }
}

fn packet_max(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// TLS with this box's certificate, trusting the county's CA and nobody else.
fn tls(config: &UplinkConfig) -> Result<rustls::ClientConfig, ConnectionError> {
    let broken = |path: &PathBuf| {
        let path = path.clone();
        move |source| ConnectionError::Certificate { path, source }
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&config.ca).map_err(broken(&config.ca))?)?;
    let chain = CertificateDer::pem_file_iter(&config.cert)
        .map_err(broken(&config.cert))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(broken(&config.cert))?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(broken(&config.key))?;
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
    use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, SubAck};

    fn site() -> SiteId {
        SiteId::new("heping-01").unwrap()
    }

    fn message(topic: &Topic, text: &'static str) -> Packet {
        let message = Publish::new(topic.name(), QoS::AtLeastOnce, text, None);
        Packet::Publish(message)
    }

    fn answers() -> [Packet; 2] {
        let code = ConnectReturnCode::Success;
        let connected = ConnAck { session_present: false, code, properties: None };
        let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); 2];
        let subscribed = SubAck { pkid: 1, return_codes: codes, properties: None };
        [Packet::ConnAck(connected), Packet::SubAck(subscribed)]
    }

    #[tokio::test]
    async fn what_comes_before_the_answer_to_the_subscription_is_heard() {
        let [connected, subscribed] = answers();
        let (config, ack) = (Topic::Config(site()), Topic::Ack(site()));
        let policy = message(&config, "policy");
        let said = vec![connected, policy, message(&ack, "ack"), subscribed];
        let mut connection = Connection::that_says(1 << 16, said);
        connection.connected(&site()).await.unwrap();
        let (first, second) = (connection.next().await, connection.next().await);
        assert!(matches!(&first, Ok(Heard::Config(bytes)) if bytes == b"policy"), "{first:?}");
        assert!(matches!(&second, Ok(Heard::Ack(bytes)) if bytes == b"ack"), "{second:?}");
    }

    #[tokio::test]
    async fn a_broker_that_says_more_than_fits_before_it_answers_is_left() {
        let [connected, _] = answers();
        let ack = Topic::Ack(site());
        let acks = (0..=EARLY_MAX).map(|_| message(&ack, "ack"));
        let said = [connected].into_iter().chain(acks).collect();
        let ended = Connection::that_says(1 << 16, said).connected(&site()).await;
        assert!(matches!(ended, Err(Refusal::Failed(_))), "{ended:?}");
    }
}
