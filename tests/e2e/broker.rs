//! Story: clients that want more of the embedded broker than is theirs.

use anyhow::{Context as _, bail, ensure};
use e2e::until;
use model::{
    id::{Lane, OutboxId, Seq},
    record::{AgentStarted, Record},
    time::{ClockQuality, Observed, WallTime},
};
use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{ConnectReturnCode, LastWill, Packet, PubAckReason, SubscribeReasonCode},
        },
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use simulators::{
    county::{BrokerPlace, County, CountyPlan},
    process::Program,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use uplink_proto::{ack::Ack, envelope::Envelope};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// A broker on this machine answers at once; a loaded machine takes its time.
const LIMIT: Duration = Duration::from_secs(30);
const OUTBOX: OutboxId = OutboxId::from_bytes([7; 16]);

/// A folder with `{name}.crt` and `{name}.key`.
#[derive(Clone, Copy)]
struct Holder<'a> {
    folder: &'a Path,
    name: &'a str,
}

/// A connection that was accepted.
struct Connection {
    client: AsyncClient,
    events: EventLoop,
}

impl Connection {
    /// The next packet that `pick` wants.
    async fn next<T>(&mut self, pick: impl Fn(&Packet) -> Option<T>) -> anyhow::Result<T> {
        let found = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await?
                    && let Some(found) = pick(&packet)
                {
                    return Ok(found);
                }
            }
        };
        tokio::time::timeout(LIMIT, found).await.context("the broker does not answer")?
    }

    async fn publish(&mut self, topic: &str, bytes: Vec<u8>) -> anyhow::Result<PubAckReason> {
        self.client.publish(topic, QoS::AtLeastOnce, false, bytes).await?;
        self.next(|packet| match packet {
            Packet::PubAck(answer) => Some(answer.reason),
            _ => None,
        })
        .await
    }

    async fn is_granted(&mut self, filter: &str) -> anyhow::Result<bool> {
        self.client.subscribe(filter, QoS::AtLeastOnce).await?;
        self.next(|packet| match packet {
            Packet::SubAck(answer) => {
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                Some(answer.return_codes.iter().all(granted))
            }
            _ => None,
        })
        .await
    }
}

/// The stage: a county with its own broker, two sites with certificates.
struct Stage {
    county: County,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn prepare() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let county = county_in(folder.path().join("county")).await?;
        for site in ["heping", "dongfeng"] {
            county.issue(site, &folder.path().join(site)).await?;
        }
        Ok(Self { county, folder })
    }

    fn dir(&self, site: &str) -> PathBuf {
        self.folder.path().join(site)
    }

    /// Connects under a client id; an error when the broker refuses.
    async fn connect(
        &self,
        holder: Option<Holder<'_>>,
        client_id: &str,
        will: Option<&str>,
    ) -> anyhow::Result<Connection> {
        let (host, port) = self.county.broker().rsplit_once(':').context("host:port")?;
        let mut options = MqttOptions::new(client_id, host, port.parse()?);
        let tls = TlsConfiguration::Rustls(Arc::new(tls(&self.county.pki(), holder)?));
        options
            .set_keep_alive(Duration::from_secs(5))
            .set_transport(Transport::tls_with_config(tls));
        if let Some(topic) = will {
            options.set_last_will(LastWill::new(topic, "gone", QoS::AtLeastOnce, false, None));
        }
        let (client, events) = AsyncClient::new(options, 16);
        let mut connection = Connection { client, events };
        let code = connection
            .next(|packet| match packet {
                Packet::ConnAck(answer) => Some(answer.code),
                _ => None,
            })
            .await?;
        ensure!(code == ConnectReturnCode::Success, "refused: {code:?}");
        Ok(connection)
    }
}

async fn county_in(dir: PathBuf) -> anyhow::Result<County> {
    let plan = CountyPlan {
        dir,
        http_port: 0,
        broker: BrokerPlace::Embedded,
        clinics: vec![("和平镇卫生院", "heping")],
    };
    County::prepare(&Program::at(Path::new(PROGRAM)), plan).await
}

/// TLS that trusts this county, with a certificate or without one.
fn tls(pki: &Path, holder: Option<Holder<'_>>) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.join("ca.crt"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some(Holder { folder, name }) = holder else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_file_iter(folder.join(format!("{name}.crt")))?
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")))?;
    Ok(builder.with_client_auth_cert(chain, key)?)
}

/// A whole envelope with one harmless record.
fn envelope(seq: u64) -> anyhow::Result<Vec<u8>> {
    let at = WallTime::from_unix_ms(1_795_335_300_000);
    let observed = Observed { at, quality: ClockQuality::Synchronised };
    let records = vec![Record::Started(AgentStarted { version: "test".to_owned(), observed })];
    let seq = Seq::new(seq).context("a seq is above 0")?;
    Ok(Envelope { outbox: OUTBOX, lane: Lane::Urgent, seq, opened_at: at, uptime: None, records }
        .encode())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_more_of_the_broker_than_is_theirs() -> anyhow::Result<()> {
    let mut stage = Stage::prepare().await?;
    stage.county.start().await?;
    let told = knock(&stage).await;
    stage.county.stop().await?;
    told
}

async fn knock(stage: &Stage) -> anyhow::Result<()> {
    let dir = stage.dir("heping");
    let heping = Some(Holder { folder: &dir, name: "heping" });
    let mut honest = stage.connect(heping, "heping", Some("clinic/v1/heping/state")).await?;
    subscribes(&mut honest).await?;
    publishes(stage, &mut honest).await?;
    impostors(stage, heping).await?;
    // Whoever was turned away has not disturbed those inside.
    let reason = honest.publish("clinic/v1/heping/up/urgent", envelope(3)?).await?;
    ensure!(reason == PubAckReason::Success, "after the impostors: {reason:?}");
    Ok(())
}

async fn subscribes(honest: &mut Connection) -> anyhow::Result<()> {
    for own in ["clinic/v1/heping/ack", "clinic/v1/heping/config", "clinic/v1/heping/cmd"] {
        ensure!(honest.is_granted(own).await?, "{own} was refused");
    }
    for foreign in [
        "clinic/v1/dongfeng/ack",
        "clinic/v1/dongfeng/up/urgent",
        "clinic/v1/heping/up/urgent",
        "clinic/v1/+/ack",
        "clinic/v1/heping/#",
        "clinic/v1/#",
        "#",
        "+/+/+/+",
        "$SYS/#",
        "$share/all/clinic/v1/dongfeng/ack",
    ] {
        ensure!(!honest.is_granted(foreign).await?, "{foreign} was granted");
    }
    Ok(())
}

async fn publishes(stage: &Stage, honest: &mut Connection) -> anyhow::Result<()> {
    for foreign in [
        "clinic/v1/dongfeng/up/urgent",
        "clinic/v1/dongfeng/state",
        "clinic/v1/heping/ack",
        "clinic/v1/heping/config",
        "clinic/v1/heping/up/other",
        "clinic/v1/county/state",
        "elsewhere",
    ] {
        let reason = honest.publish(foreign, envelope(1)?).await?;
        ensure!(reason == PubAckReason::NotAuthorized, "{foreign}: {reason:?}");
    }
    for seq in [1, 2] {
        let reason = honest.publish("clinic/v1/heping/up/urgent", envelope(seq)?).await?;
        ensure!(reason == PubAckReason::Success, "own topic: {reason:?}");
    }
    // The county's word comes back to whom it is for.
    loop {
        let ack = honest
            .next(|packet| match packet {
                Packet::Publish(message) => Some(message.payload.to_vec()),
                _ => None,
            })
            .await?;
        let ack = Ack::decode(&ack)?;
        let settled = ack.lanes.iter().find(|(lane, _)| *lane == Lane::Urgent);
        if settled.is_some_and(|(_, settled)| settled.to_string() == "1-2") {
            break;
        }
    }
    // What was published under a foreign name came earlier, and has not been taken.
    let sites: Vec<String> =
        stage.county.client()?.ledger().await?.into_iter().map(|lane| lane.site).collect();
    ensure!(sites.iter().all(|site| site == "heping"), "the ledger knows {sites:?}");
    Ok(())
}

async fn impostors(stage: &Stage, heping: Option<Holder<'_>>) -> anyhow::Result<()> {
    let refused =
        async |what: &str, holder, id: &str, will| match stage.connect(holder, id, will).await {
            Err(_) => Ok(()),
            Ok(_) => bail!("the broker took {what}"),
        };
    refused("another client id", heping, "dongfeng", None).await?;
    refused("the county's client id", heping, "county", None).await?;
    refused("a foreign will", heping, "heping", Some("clinic/v1/dongfeng/state")).await?;
    refused("a will that speaks for the county", heping, "heping", Some("clinic/v1/heping/ack"))
        .await?;
    refused("a client without a certificate", None, "heping", None).await?;

    let elsewhere = stage.dir("elsewhere");
    let other = county_in(elsewhere.clone()).await?;
    let dir = elsewhere.join("heping");
    other.issue("heping", &dir).await?;
    let stranger = Some(Holder { folder: &dir, name: "heping" });
    refused("a certificate of another county", stranger, "heping", None).await?;

    // A server's certificate is no client's, whatever its name.
    let pki = stage.county.pki();
    let board = Some(Holder { folder: &pki, name: "board" });
    refused("a server's certificate", board, "board", None).await?;
    until("the other site is let in under its own name", LIMIT, async || {
        let dir = stage.dir("dongfeng");
        let dongfeng = Some(Holder { folder: &dir, name: "dongfeng" });
        Ok(stage.connect(dongfeng, "dongfeng", None).await.is_ok())
    })
    .await
}
