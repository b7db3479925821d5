//! The reference of the agent's figures: the same readings, published by an MQTT client as they are.
//! No outbox, no sync, no ack of the county: what is not yet out is gone with the process.

use super::source::{LINE_READINGS, line};
use anyhow::{Context as _, bail, ensure};
use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{QoS, v5::Packet},
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use simulators::usage::{Usage, rounded};
use std::{path::Path, process::Stdio, sync::Arc, time::Duration};
use tokio::{process::Command, time::Instant};

/// Its name at the county.
pub(crate) const NAME: &str = "direct";
/// Publishes without an answer, as the agent.
const IN_FLIGHT_MAX: u16 = 196;
/// Lines in one message: as many as an envelope of the agent has, about.
const LINES: u64 = 10;

/// A process that publishes `lines` lines, at a pace or as fast as it can; its figure.
pub(crate) async fn run_apart(
    broker: &str,
    dir: &Path,
    lines: u64,
    every: Option<Duration>,
) -> anyhow::Result<Value> {
    let program = std::env::current_exe().context("asking for the path of this program")?;
    let every_us = every.map_or(0, |every| every.as_micros());
    let output = Command::new(program)
        .args(["direct", broker])
        .arg(dir)
        .args([lines.to_string(), every_us.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("starting the publisher")?;
    ensure!(output.status.success(), "the publisher ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("the publisher's figure")
}

/// Publishes, and tells what that cost.
pub(crate) async fn publish(
    broker: &str,
    dir: &Path,
    lines: u64,
    every: Option<Duration>,
) -> anyhow::Result<Value> {
    let (host, port) = broker.rsplit_once(':').context("HOST:PORT")?;
    let mut options = MqttOptions::new(NAME, host, port.parse().context("the port")?);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(dir)?))))
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
    let (client, mut events) = AsyncClient::new(options, usize::from(IN_FLIGHT_MAX));
    while !matches!(events.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
    let (began, before) = (Instant::now(), Usage::of(std::process::id())?);
    let messages = lines.div_ceil(LINES);
    let publishing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(every.unwrap_or(Duration::from_secs(1)) * 10);
        let (mut number, mut bytes) = (0, 0);
        while number < lines {
            if every.is_some() {
                tick.tick().await;
            }
            let mut text = String::new();
            for _ in 0..LINES.min(lines - number) {
                number += 1;
                line(&mut text, number, false)?;
            }
            bytes += text.len();
            // The county does not read there: this is about the publisher alone.
            let topic = format!("clinic/v1/{NAME}/reply");
            client.publish(topic, QoS::AtLeastOnce, false, text).await?;
        }
        anyhow::Ok((bytes, client))
    });
    let mut answered = 0;
    while answered < messages {
        match events.poll().await? {
            Event::Incoming(Packet::PubAck(_)) => answered += 1,
            Event::Incoming(Packet::Disconnect(why)) => bail!("the broker hung up: {why:?}"),
            _ => {}
        }
    }
    let (bytes, _client) = publishing.await.context("the publisher's task")??;
    let (over_s, after) = (began.elapsed().as_secs_f64(), Usage::of(std::process::id())?);
    let readings = f64::from(u32::try_from(lines * LINE_READINGS)?);
    Ok(json!({
        "readings": lines * LINE_READINGS,
        "seconds": rounded(over_s, 2),
        "readings_per_s": rounded(readings / over_s, 0),
        "cpu_s_per_100_000": rounded(100_000.0 * (after.cpu_s - before.cpu_s) / readings, 3),
        "peak_rss_mib": rounded(after.peak_rss_kib / 1024.0, 1),
        "bytes_per_reading": rounded(f64::from(u32::try_from(bytes)?) / readings, 1),
    }))
}

fn tls(dir: &Path) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.crt"))?)?;
    let chain = CertificateDer::pem_file_iter(dir.join(format!("{NAME}.crt")))?
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{NAME}.key")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?)
}
