//! Story: the broker is away for 20 s, and afterwards everything is there, once.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::Context as _;
use e2e::{Village, until};
use simulators::{
    county::{BrokerPlace, free_port},
    demo::settled,
    site::switch_off,
};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const AWAY: Duration = Duration::from_secs(20);

/// mosquitto with the county's certificates, killed when it goes out of scope.
struct Mosquitto(Child);

impl Mosquitto {
    /// The configuration of `configs/broker`, with this county's files.
    fn start(folder: &Path, pki: &Path, port: u16) -> anyhow::Result<Self> {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/broker");
        let acl = configs.join("acl").canonicalize()?;
        let (pki, acl) = (pki.display(), acl.display());
        let text = format!(
            "per_listener_settings true\nuser root\nlistener {port} 127.0.0.1\n\
             cafile {pki}/ca.crt\ncertfile {pki}/broker.crt\nkeyfile {pki}/broker.key\n\
             require_certificate true\nuse_identity_as_username true\nuse_username_as_clientid true\n\
             allow_anonymous false\nacl_file {acl}\nset_tcp_nodelay true\n\
             max_inflight_messages 200\nmax_queued_messages 100000\n"
        );
        let path = folder.join("mosquitto.conf");
        fs::write(&path, text)?;
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let child = Command::new(program.context("mosquitto is missing; tests/run installs it")?)
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting mosquitto")?;
        Ok(Self(child))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_seconds_without_a_broker_lose_nothing() -> anyhow::Result<()> {
    let port = free_port()?;
    let broker = BrokerPlace::Outside(format!("localhost:{port}"));
    let mut village = Village::prepare(Path::new(PROGRAM), broker, "clinic-day").await?;
    let (folder, pki) = (village.folder().to_owned(), village.county.pki());
    let mosquitto = Mosquitto::start(&folder, &pki, port)?;
    let mut performances = village.start().await?;
    village.flow(20).await?;

    drop(mosquitto);
    let away_since = Instant::now();
    until("the broker is away long enough", AWAY * 2, async || Ok(away_since.elapsed() >= AWAY))
        .await?;
    let before = village.stored()?;
    let _mosquitto = Mosquitto::start(&folder, &pki, port)?;
    until("the backlog arrives", Duration::from_secs(60), async || {
        Ok(village.stored()? > before + 40)
    })
    .await?;

    switch_off(&mut performances).await?;
    let report = settled(&[village.site.truth()], &village.county.client()?).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.emitted > 500, "{report:#?}");
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    println!(
        "broker away {} s: {proof:?}, emitted {}, 0 lost, 0 doubled, 0 altered",
        AWAY.as_secs(),
        report.emitted
    );
    Ok(())
}
