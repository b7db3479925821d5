//! An MQTT broker inside the gateway: for the demo, for tests, and for a county without one.
//!
//! The certificate's common name is the identity; who may use which topic is
//! `uplink_proto::topics`. rmqtt does the rest.
//!
//! # Invariants
//! - nobody connects without a certificate of the county's CA, or under another name than its own
//! - a will is held to the same rights as a publish (rmqtt does not check it)
//! - no message is trusted to survive a restart: acks are the county's, not the broker's

use async_trait::async_trait;
use rmqtt::{
    codec::v5::SubscribeAckReason,
    context::ServerContext,
    hook::{Handler, HookResult, Parameter, ReturnType, Type},
    net::Builder,
    retain::{DefaultRetainStorage, RetainStorage},
    server::MqttServer,
    types::{
        AuthResult, ConnectInfo, LastWill, PublishAclResult, Retain, SubscribeReturn, TopicFilter,
        TopicName,
    },
};
use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf, time::Duration};
use thiserror::Error;
use tokio::{runtime::Runtime, sync::oneshot};
use uplink_proto::topics::{may_publish, may_subscribe};

/// Larger than any envelope.
const PACKET_MAX: u32 = 256 * 1024;
/// Publishes of one client without a PUBACK.
const IN_FLIGHT: NonZeroU16 = NonZeroU16::MIN.saturating_add(199);
/// Topics of one client that it may name by a number: its three lanes.
const TOPIC_ALIASES: u16 = 4;
/// Messages that wait for the county: a second of a large county.
const QUEUE_MAX: usize = 100_000;
/// What nobody fetched in a day is in the outboxes still.
const EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// The broker is moving bytes; two threads are plenty beside the county's own.
const WORKERS: usize = 2;

/// PEM files of the broker.
#[derive(Clone, Debug)]
pub struct BrokerFiles {
    /// The county's CA.
    pub ca: PathBuf,
    /// The broker's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why the broker did not start.
#[derive(Debug, Error)]
pub enum StartBrokerError {
    /// No threads.
    #[error("the system gives no threads for the broker; stop other programs on this machine")]
    Runtime(#[source] std::io::Error),
    /// Address or certificates.
    #[error(
        "the broker cannot listen at {address}: {reason}; check that the port is free and the certificates are there"
    )]
    Listen {
        /// Where it was told to listen.
        address: SocketAddr,
        /// What rmqtt said.
        reason: String,
    },
}

/// A broker that runs until it is dropped.
#[derive(Debug)]
pub struct Broker {
    /// Taken when it is stopped. Stopping the server's future alone leaves connected clients served.
    runtime: Option<Runtime>,
    address: SocketAddr,
    ended: oneshot::Receiver<String>,
}

impl Broker {
    /// Starts the broker; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// When the port is taken or the certificates cannot be used.
    pub fn start(address: SocketAddr, files: &BrokerFiles) -> Result<Self, StartBrokerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("broker")
            .enable_all()
            .build()
            .map_err(StartBrokerError::Runtime)?;
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        let files = files.clone();
        runtime.spawn(async move {
            let bound = bind(address, &files).await;
            let (server, bound) = match bound {
                Ok((server, address)) => (Some(server), Ok(address)),
                Err(error) => (None, Err(error.to_string())),
            };
            // Whoever started it waits for this.
            drop(sender.send(bound));
            if let Some(server) = server {
                let why = match server.run().await {
                    Ok(()) => "it stopped listening".to_owned(),
                    Err(error) => error.to_string(),
                };
                // Whoever started it may be gone.
                drop(end.send(why));
            }
        });
        let failed = |reason: String| StartBrokerError::Listen { address, reason };
        let bound = receiver.recv().map_err(|error| failed(error.to_string()))?;
        Ok(Self { runtime: Some(runtime), address: bound.map_err(failed)?, ended })
    }

    /// Waits until the broker ends by itself, which it should not; says why it did.
    pub async fn ended(&mut self) -> String {
        (&mut self.ended).await.unwrap_or_else(|_| "its task is gone".to_owned())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn bind(
    address: SocketAddr,
    files: &BrokerFiles,
) -> Result<(MqttServer, SocketAddr), Box<dyn std::error::Error + Send + Sync>> {
    let context = ServerContext::new().busy_check_enable(false).build().await;
    let register = context.extends.hook_mgr().register();
    for hook in
        [Type::ClientAuthenticate, Type::MessagePublishCheckAcl, Type::ClientSubscribeCheckAcl]
    {
        register.add(hook, Box::new(Gate)).await;
    }
    // Without this the hooks are inert, and everything is allowed.
    register.start().await;
    *context.extends.retain_mut().await = Box::new(Retained::default());
    let file = |path: &PathBuf| Some(path.display().to_string());
    let listener = Builder::new()
        .name("embedded")
        .laddr(address)
        .nodelay(true)
        .reuseaddr(Some(true))
        .allow_anonymous(false)
        .max_packet_size(PACKET_MAX)
        .max_inflight(IN_FLIGHT)
        .max_mqueue_len(QUEUE_MAX)
        .max_clientid_len(64)
        .max_topic_aliases(TOPIC_ALIASES)
        .message_expiry_interval(EXPIRY)
        .tls_cross_certificate(true)
        .tls_cert(file(&files.cert))
        .tls_key(file(&files.key))
        .tls_client_ca_certs(file(&files.ca))
        // The common name overwrites whatever user name the client sent.
        .cert_cn_as_username(true)
        .collect_cert_info(true)
        .bind()?
        .tls()?;
    let address = listener.local_addr()?;
    Ok((MqttServer::new(context).listener_by_id(listener, 1).build(), address))
}

/// Judges every connection, publish and subscription.
struct Gate;

#[expect(elided_lifetimes_in_paths, reason = "async_trait needs the trait's own spelling")]
#[async_trait]
impl Handler for Gate {
    async fn hook(&self, parameter: &Parameter, before: Option<HookResult>) -> ReturnType {
        let answer = match parameter {
            Parameter::ClientAuthenticate(client) => {
                HookResult::AuthResult(match identified(client) {
                    true => AuthResult::Allow(false, None),
                    false => AuthResult::NotAuthorized,
                })
            }
            Parameter::MessagePublishCheckAcl(session, publish) => HookResult::PublishAclResult(
                match may_publish(session.id.username_ref(), &publish.topic) {
                    true => PublishAclResult::allow(),
                    false => PublishAclResult::rejected(false, None),
                },
            ),
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                HookResult::SubscribeAclResult(
                    match may_subscribe(session.id.username_ref(), &subscribe.topic_filter) {
                        true => SubscribeReturn::new_success(subscribe.opts.qos(), None),
                        false => SubscribeReturn::new_failure(SubscribeAckReason::NotAuthorized),
                    },
                )
            }
            _ => return (true, before),
        };
        // false: nobody after us may judge otherwise.
        (false, Some(answer))
    }
}

/// The certificate decides; the client id must say the same, and the will stays at home.
fn identified(client: &ConnectInfo) -> bool {
    let Some(name) = client.cert().and_then(|cert| cert.common_name.as_deref()) else {
        return false;
    };
    let will = match client.last_will() {
        None => return client.client_id() == name,
        Some(LastWill::V3(will)) => &will.topic,
        Some(LastWill::V5(will)) => &will.topic,
    };
    client.client_id() == name && may_publish(name, will)
}

/// rmqtt has the storage, but its own `RetainStorage` implementation stores nothing.
#[derive(Default)]
struct Retained(DefaultRetainStorage);

#[async_trait]
impl RetainStorage for Retained {
    fn enable(&self) -> bool {
        true
    }

    async fn set(
        &self,
        topic: &TopicName,
        retain: Retain,
        expiry: Option<Duration>,
    ) -> rmqtt::Result<()> {
        self.0.set_with_timeout(topic, retain, expiry).await
    }

    async fn get(&self, filter: &TopicFilter) -> rmqtt::Result<Vec<(TopicName, Retain)>> {
        self.0.get_message(filter).await
    }

    async fn count(&self) -> isize {
        self.0.count().await
    }

    async fn max(&self) -> isize {
        self.0.max().await
    }
}
