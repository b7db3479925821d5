//! Story: the broker is away for 20 s, and afterwards everything is there, once.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, until};
use simulators::{
    county::{BrokerPlace, free_port},
    demo::settled,
    site::switch_off,
};
use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const AWAY: Duration = Duration::from_secs(20);

/// mosquitto as a county installs it, killed when it goes out of scope.
struct Mosquitto(Child);

/// Where `configs/broker/mosquitto.conf` is included, and what that file names.
struct Installed(TempDir);

impl Installed {
    /// What README.md says under "A broker of its own", in a folder instead of `/etc/mosquitto`.
    fn new(pki: &Path, port: u16) -> anyhow::Result<Self> {
        const CLINIC_EDGE: &str = "/etc/mosquitto/clinic-edge";
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/broker");
        let folder = tempfile::tempdir()?;
        let (ours, included) = (folder.path().join("clinic-edge"), folder.path().join("conf.d"));
        fs::create_dir(&ours)?;
        fs::create_dir(&included)?;
        for file in ["ca.crt", "broker.crt", "broker.key"] {
            fs::copy(pki.join(file), ours.join(file))?;
        }
        fs::copy(configs.join("acl"), ours.join("acl"))?;
        let shipped = fs::read_to_string(configs.join("mosquitto.conf"))?;
        let (listener, place) = ("listener 8883\n", ours.display().to_string());
        ensure!(shipped.contains(listener) && shipped.contains(CLINIC_EDGE), "{shipped}");
        let text = shipped
            .replace(listener, &format!("listener {port} 127.0.0.1\n"))
            .replace(CLINIC_EDGE, &place);
        fs::write(included.join("clinic-edge.conf"), text)?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        // As in Debian's own mosquitto.conf.
        let main = format!(
            "persistence true\npersistence_location {}/\ninclude_dir {}\n",
            state.display(),
            included.display()
        );
        fs::write(folder.path().join("mosquitto.conf"), main)?;
        if rustix::process::geteuid().is_root() {
            // Started by root it becomes the user mosquitto, who must get at everything by itself.
            let (user, group) = (id("-u")?, id("-g")?);
            chown(folder.path(), Some(user), Some(group))?;
            for part in [&ours, &state] {
                chown(part, Some(user), Some(group))?;
                for entry in fs::read_dir(part)? {
                    chown(entry?.path(), Some(user), Some(group))?;
                }
            }
        }
        Ok(Self(folder))
    }
}

/// The number of the user or group mosquitto.
fn id(which: &str) -> anyhow::Result<u32> {
    let output = Command::new("id").args([which, "mosquitto"]).output()?;
    ensure!(output.status.success(), "there is no user mosquitto; tests/run installs it");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

impl Mosquitto {
    fn start(installed: &Installed) -> anyhow::Result<Self> {
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let log = fs::File::create(installed.0.path().join("log"))?;
        let child = Command::new(program.context("mosquitto is missing; tests/run installs it")?)
            .arg("-c")
            .arg(installed.0.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting mosquitto")?;
        Ok(Self(child))
    }

    /// Says what mosquitto complained about when it does not run.
    fn runs(&mut self, installed: &Installed) -> anyhow::Result<()> {
        let ended = self.0.try_wait()?;
        let log = fs::read_to_string(installed.0.path().join("log"))?;
        ensure!(ended.is_none(), "mosquitto ended with {ended:?}: {log}");
        Ok(())
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
    let installed = Installed::new(&village.county.pki(), port)?;
    let mut mosquitto = Mosquitto::start(&installed)?;
    let mut performances = village.start().await?;
    let flowed = village.flow(20).await;
    mosquitto.runs(&installed)?;
    flowed?;

    drop(mosquitto);
    let away_since = Instant::now();
    until("the broker is away long enough", AWAY * 2, async || Ok(away_since.elapsed() >= AWAY))
        .await?;
    let before = village.stored()?;
    let _mosquitto = Mosquitto::start(&installed)?;
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
    // Some 18 readings and blocks a second: those of the 20 s alone are more than this.
    assert!(report.emitted > 300, "{report:#?}");
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
