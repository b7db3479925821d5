//! Stories: a clinic's day, a device that is unplugged, a configuration full of mistakes.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use anyhow::Context as _;
use e2e::{Village, until};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use simulators::{
    county::BrokerPlace,
    demo::{cast, settled},
    site::{Performance, stage_clock, switch_off},
    stage::pty::StageTime,
};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};
use virtual_devices::{EcgSource, Patient, Scenario};

/// Before any alert.
const EVER: &str = "1970-01-01T00:00:00Z";
const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");

#[tokio::test(flavor = "multi_thread")]
async fn a_clinics_day_arrives_whole_and_raises_its_alerts() -> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let mut performances = village.start().await?;
    let client = village.county.client()?;
    let families = async || -> anyhow::Result<Vec<String>> {
        let alerts = client.alerts(EVER).await?;
        let families =
            alerts.iter().filter_map(|alert| alert["family"].as_str().map(ToOwned::to_owned));
        Ok(families.collect())
    };
    until(
        "hypertension, hypoglycaemia and occlusion raise alerts",
        Duration::from_secs(90),
        async || {
            let families = families().await?;
            Ok(["bp_high", "glucose_low", "dev_occl_down"]
                .iter()
                .all(|family| families.iter().any(|known| known == family)))
        },
    )
    .await?;
    switch_off(&mut performances).await?;
    let report = settled(&[village.site.truth()], &client).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    assert!(report.is_clean() && report.emitted_blocks > 100, "{report:#?}");
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    // The blocked line began, and most days it is over before the day is.
    assert!(village.prove_alarms()? >= 1);
    assert!(village.prove()?.alarms >= 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_device_is_told_and_comes_back() -> anyhow::Result<()> {
    let mut village = Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "steady").await?;
    let mut performances = village.start().await?;
    let client = village.county.client()?;
    let state_of = async |device: &str, wanted: &str| -> anyhow::Result<bool> {
        let answer: serde_json::Value = client.get("/api/v1/devices", &[]).await?;
        let devices = answer["devices"].as_array().cloned().unwrap_or_default();
        let found = devices.iter().find(|found| found["device"] == device);
        Ok(found.is_some_and(|found| found["state"] == wanted))
    };
    let state_is = async |wanted: &str| state_of("heping-ecg-01", wanted).await;
    let limit = Duration::from_secs(30);
    until("the monitor is online", limit, async || state_is("online").await).await?;

    performances.remove(0).unplug().await?;
    until("the unplugged monitor is told", limit, async || state_is("link_down").await).await?;

    let scenario = Scenario::built_in("steady").unwrap();
    let patient = Patient::new(7, scenario, EcgSource::Recording);
    let plan = cast("heping", 7, &patient).remove(0);
    let port = village.site.port(&plan.id);
    let again = Performance::start(
        &plan,
        &port,
        stage_clock(),
        StageTime::start(1.0),
        &village.site.truth(),
    )?;
    until("the monitor is online again", limit, async || state_is("online").await).await?;
    again.unplug().await?;

    // A word to either daemon that its configuration has changed does not end it.
    for (id, log) in [
        (village.site.process_id(), village.site.log()),
        (village.county.process_id(), village.county.log()),
    ] {
        let id = id.and_then(|id| Pid::from_raw(id.try_into().ok()?)).unwrap();
        kill_process(id, Signal::HUP)?;
        until("it says what to do instead", limit, async || {
            Ok(fs::read_to_string(&log)?.contains("is read at the start only"))
        })
        .await?;
    }
    let mode = fs::metadata(village.site.data())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the outbox is for the agent only");
    // A cuff that nobody uses says nothing; it is there again all the same.
    let cuff = "heping-bp-01";
    let plans = cast("heping", 7, &patient);
    let place = plans.iter().position(|plan| plan.id == cuff).context("a cuff")?;
    // The monitor was taken out of the list.
    performances.remove(place - 1).unplug().await?;
    let told = async |state: &str| state_of(cuff, state).await;
    until("the unplugged cuff is told", limit, async || told("link_down").await).await?;
    let again = Performance::start(
        &plans[place],
        &village.site.port(cuff),
        stage_clock(),
        StageTime::start(1.0),
        &village.site.truth(),
    )?;
    until("the cuff has its port again", limit, async || {
        Ok(told("waiting").await? || told("online").await?)
    })
    .await?;
    again.unplug().await?;
    for performance in performances {
        performance.unplug().await?;
    }
    village.site.stop().await?;
    village.county.stop().await
}

fn run(role: &str, words: &[&str]) -> Output {
    Command::new(PROGRAM).arg(role).args(words).output().unwrap()
}

#[test]
fn every_mistake_of_a_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let text = "site = \"No Name\"\n[uplink]\nbroker = \"nowhere\"\nca = \"ca.crt\"\ncert = 5\n\
        [[device]]\nid = \"a\"\ndriver = \"unheard\"\nport = \"/dev/x\"\n[[device]]\nid = \"a\"\nport = \"/dev/x\"\nbaud = 1\n";
    fs::write(&path, text).unwrap();
    let output = run("__clinic-agent", &["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    for (line, word) in [
        (1, "data_dir is missing"),
        (1, "No Name"),
        (3, "nowhere"),
        (5, "uplink.cert is integer"),
        (2, "uplink.key is missing"),
        (8, "unheard"),
        (11, "has the id of device 1"),
        (12, "is the port of a already"),
        (13, "device.baud is 1"),
        (10, "device.driver is missing"),
    ] {
        let place = format!("{}:{line}: ", path.display());
        assert!(
            said.lines().any(|told| told.starts_with(&place) && told.contains(word)),
            "{line} {word}:\n{said}"
        );
    }
}

/// Reads until `end` has come.
fn heard(mut from: impl std::io::Read, end: &str) -> anyhow::Result<String> {
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(end) {
        let mut byte = [0];
        anyhow::ensure!(from.read(&mut byte)? == 1, "it ended with {heard:?}");
        heard.extend(byte);
    }
    Ok(String::from_utf8(heard)?)
}

#[test]
fn a_password_is_asked_for_at_a_terminal_and_not_shown() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("gateway.toml");
    let text = format!(
        "data_dir = \"{0}/data\"\n[http]\naddress = \"127.0.0.1:1\"\ntls = \"off\"\n\
         [broker]\nembedded = true\naddress = \"127.0.0.1:2\"\n[pki]\ndir = \"{0}/pki\"\n",
        folder.path().display()
    );
    fs::write(&config, text)?;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = std::ffi::OsStr::from_bytes(name.as_bytes());
    let slave = fs::OpenOptions::new().read(true).write(true).open(slave)?;
    let mut terminal = File::from(master.try_clone()?);
    let mut child = Command::new(PROGRAM)
        .args(["__clinic-gateway", "user", "add", "wang", "--role", "nurse", "--config"])
        .arg(&config)
        .stdin(slave.try_clone()?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut prompts = child.stderr.take().unwrap();
    for prompt in ["password: ", "once more: "] {
        heard(&mut prompts, prompt)?;
        terminal.write_all(b"correct horse\n")?;
    }
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout)?,
        "wang may log in as nurse, and sets another password first\n"
    );
    // What is echoed from here on is all the terminal has shown.
    (&slave).write_all(b"end\n")?;
    let shown = heard(&mut terminal, "end")?;
    assert!(!shown.contains("horse"), "{shown}");
    Ok(())
}

#[test]
fn the_example_configurations_are_good() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    for (role, file) in [("__clinic-agent", "agent.toml"), ("__clinic-gateway", "gateway.toml")] {
        let path = configs.join(file);
        let output = run(role, &["check", "--config", path.to_str().unwrap()]);
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
