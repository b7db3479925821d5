//! Story: an engineer looks which serial ports and Bluetooth devices there are, and copies what is
//! printed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing"
)]
#![expect(clippy::print_stdout, reason = "what was found, for whoever runs it with --nocapture")]

use anyhow::ensure;
use e2e::{Village, until};
use serde_json::Value;
use simulators::{
    county::BrokerPlace,
    site::{DevicePlan, stage_clock},
    stage::{
        bluez::{Bluez, Manners, OnAir, PrivateBus, Quirk},
        pty::StageTime,
    },
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use virtual_devices::{EcgSource, Patient, Scenario, Setup, gatt};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(30);
/// Devices that speak by themselves, once they were asked to.
const TALKATIVE: [&str; 3] = ["hbp9030", "json-lines", "pm6750"];
const QUIET: &str = "clinic-trace 1\n--\n0.000000 opened\n9999.000000 < 16\n";

/// A recorded device behind a port that nobody else has open.
struct Played {
    port: PathBuf,
    player: Child,
}

impl Played {
    fn begin(trace: &Path, port: PathBuf) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["replay", "--loop", "--pty-link"]).args([&port, trace]);
        let mut player = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(player.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.ends_with("waiting for it to be opened\n"), "{line}");
        Self { port, player }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        // Ended by itself only if it failed, which the scan has told.
        drop(self.player.kill());
        drop(self.player.wait());
    }
}

fn agent(words: &[&str], ports: &[&Path], config: Option<&Path>) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("__clinic-agent").args(words);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    for port in ports {
        command.arg("--port").arg(port);
    }
    command.output().unwrap()
}

fn scan(ports: &[&Path], config: Option<&Path>) -> Vec<Value> {
    let output = agent(&["devices", "scan", "--json"], ports, config);
    let mut found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["bluetooth"].is_null(), "only ports were named");
    serde_json::from_value(found["ports"].take()).unwrap()
}

fn text<'a>(port: &'a Value, name: &str) -> Option<&'a str> {
    port.get(name).and_then(Value::as_str)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_is_named_and_what_is_printed_is_a_configuration() -> anyhow::Result<()> {
    let plan = DevicePlan {
        id: "heping-bp-01".to_owned(),
        name: "tm2655",
        seed: 0,
        patient: Patient::new(0, Scenario::built_in("clinic-day").unwrap(), EcgSource::Recording),
        faults: None,
    };
    let devices = vec![plan];
    let mut village =
        Village::prepare_with(Path::new(PROGRAM), BrokerPlace::Embedded, devices).await?;
    let performances = village.site.play(stage_clock(), StageTime::start(1.0))?;
    village.site.start()?;
    let (config, taken) = (village.site.config(), village.site.port("heping-bp-01"));

    // Not asked by a scan, which would listen on the port and keep the agent out.
    let process = village.site.process_id().unwrap();
    let port = fs::canonicalize(&taken)?;
    until("the agent has its port", LIMIT, async || {
        let mut files = fs::read_dir(format!("/proc/{process}/fd"))?.flatten();
        Ok(files.any(|file| fs::read_link(file.path()).is_ok_and(|target| target == port)))
    })
    .await?;
    // Without the configuration it is a port that some program holds.
    let holder = format!("clinic-parts (process {process})");
    let found = scan(&[&taken], None);
    ensure!(text(&found[0], "state") == Some("held"), "{found:?}");
    // Whoever plays the device is not who holds its port: that is the device.
    ensure!(text(&found[0], "why") == Some(&holder), "{found:?}");
    let none = village.folder().join("none.toml");
    ensure!(agent(&["devices", "scan"], &[&taken], Some(&none)).status.code() == Some(2));
    let found = scan(&[&taken], Some(&config));
    ensure!(text(&found[0], "state") == Some("configured"), "{found:?}");
    ensure!(text(&found[0], "why") == Some("heping-bp-01 (tm2655)"), "{found:?}");

    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let port = |name: &str| village.folder().join(name);
    let mut played = Vec::new();
    for name in TALKATIVE {
        played.push(Played::begin(&traces.join(format!("{name}.trace")), port(name)));
    }
    let quiet = port("quiet.trace");
    fs::write(&quiet, QUIET)?;
    played.push(Played::begin(&quiet, port("quiet")));
    let missing = port("missing");
    let mut ports: Vec<&Path> = played.iter().map(|played| played.port.as_path()).collect();
    ports.extend([taken.as_path(), missing.as_path()]);

    let output = agent(&["devices", "scan"], &ports, Some(&config));
    let printed = String::from_utf8(output.stdout)?;
    println!("{printed}");
    ensure!(output.status.code() == Some(1), "one that was named cannot be used");
    ensure!(agent(&["devices", "scan"], &[&taken], Some(&config)).status.success());
    for name in TALKATIVE {
        ensure!(printed.contains(&format!("{name}: free; {name} speaks at ")), "{printed}");
    }
    ensure!(printed.contains("quiet: free; nothing was heard"), "{printed}");
    ensure!(printed.contains("heping-bp-01: configured; heping-bp-01 (tm2655)"), "{printed}");
    ensure!(printed.contains("missing: unusable; it is not there; plug"), "{printed}");

    let copied = village.folder().join("heping/copied.toml");
    fs::write(&copied, fs::read_to_string(&config)? + "\n" + &printed)?;
    let checked = agent(&["check"], &[], Some(&copied));
    let said = String::from_utf8([checked.stdout, checked.stderr].concat())?;
    ensure!(checked.status.success() && said.contains("4 devices"), "{said}");
    let filled_in = printed.replace("# [[", "[[").replace("# id", "id").replace("# port", "port");
    let filled_in = filled_in.replace("# driver = \"…\"", "driver = \"asena\"");
    fs::write(&copied, fs::read_to_string(&config)? + "\n" + &filled_in)?;
    let checked = agent(&["check"], &[], Some(&copied));
    let said = String::from_utf8([checked.stdout, checked.stderr].concat())?;
    ensure!(checked.status.success() && said.contains("5 devices"), "{said}");

    for performance in performances {
        performance.unplug().await?;
    }
    village.site.stop().await
}

/// A virtual device that is seen, in a room of its own.
fn on_air(name: &str, address: &str, is_bonded: bool) -> OnAir {
    let patient = Patient::new(1, Scenario::built_in("steady").unwrap(), EcgSource::Synthetic);
    let setup = Setup { device: name.to_owned(), seed: 0, clock: stage_clock(), patient };
    let device = gatt::create(name, setup).unwrap();
    OnAir { address: address.to_owned(), device, is_bonded }
}

/// `devices scan` on that bus, with all ports and all that is in the air.
async fn scan_air(bus: &str, words: &[&str]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(PROGRAM);
    command.args(["__clinic-agent", "devices", "scan", "--seconds", "4"]).args(words);
    Ok(command.env("DBUS_SYSTEM_BUS_ADDRESS", bus).kill_on_drop(true).output().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_the_air_is_named_and_nobody_is_touched() -> anyhow::Result<()> {
    let (cuff, meter, scale) = ("C0:26:DA:00:00:01", "C0:26:DA:00:00:02", "C0:26:DA:00:00:03");
    let bus = PrivateBus::start().await?;
    let folder = tempfile::tempdir()?;
    let on_air = vec![
        on_air("ble-cuff", cuff, false),
        on_air("ble-meter", meter, true),
        on_air("ble-scale", scale, false),
    ];
    let (time, truth) = (StageTime::start(1.0), folder.path().join("truth.jsonl"));
    let stage = Bluez::start(bus.address(), on_air, Manners::Nasty, time, &truth).await?;
    // Known by its address, whatever it says of itself.
    stage.spoil(scale, Quirk::HidesServices).await?;
    stage.wake(meter).await?;
    let config = folder.path().join("agent.toml");
    let written = format!(
        "site = \"a\"\ndata_dir = \"data\"\n[uplink]\nbroker = \"b:1\"\nca = \"ca\"\n\
         cert = \"cert\"\nkey = \"key\"\n\
         [[bluetooth]]\nid = \"scale-01\"\ndriver = \"weight-scale\"\naddress = \"{scale}\"\n"
    );
    fs::write(&config, &written)?;
    let words = ["--config", config.to_str().unwrap()];
    let output = scan_air(bus.address(), &words).await?;
    let printed = String::from_utf8(output.stdout)?;
    println!("{}{printed}", String::from_utf8(output.stderr)?);
    ensure!(output.status.success());
    let line = |address: &str| {
        let mut lines = printed.lines().filter(|line| line.starts_with(&format!("# {address} (")));
        lines.next().unwrap_or_default().to_owned()
    };
    ensure!(line(cuff).ends_with("not paired; never allowed: is seen, not read"), "{printed}");
    ensure!(line(meter).contains(" dBm): glucose; paired; never allowed"), "{printed}");
    ensure!(line(scale).ends_with("weight-scale; not paired; in the configuration: scale-01"));
    let advice =
        format!("# if it is yours, run: clinic-agent devices pair {cuff}\n# [[bluetooth]]\n");
    ensure!(printed.contains(&advice), "{printed}");
    // The one that is paired is ready to be allowed, and is not to be by accident.
    fs::write(&config, written + &printed)?;
    let checked = agent(&["check"], &[], Some(&config));
    let said = String::from_utf8([checked.stdout, checked.stderr].concat())?;
    ensure!(checked.status.success() && said.contains("2 devices"), "{said}");

    let output = scan_air(bus.address(), &[&words[..], &["--json"]].concat()).await?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let devices = found["bluetooth"]["devices"].as_array().unwrap();
    let of = |address| devices.iter().find(|one| text(one, "address") == Some(address)).unwrap();
    ensure!(of(cuff)["device"].is_null() && of(cuff)["driver"] == "blood-pressure", "{found}");
    ensure!(of(meter)["paired"] == true && of(scale)["device"] == "scale-01", "{found}");
    ensure!(stage.said().await?.is_empty() && stage.connected().await?.is_empty());

    stage.stop_daemon().await?;
    let output = scan_air(bus.address(), &words).await?;
    let printed = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success() && printed.contains("start it with: systemctl start bluetooth")
    );
    stage.stop().await?;
    bus.stop().await
}
