//! Story: an engineer looks which serial ports there are, and copies what is printed.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![expect(clippy::print_stdout, reason = "what was found, for whoever runs it with --nocapture")]

use anyhow::ensure;
use e2e::{Village, until};
use serde_json::Value;
use simulators::{
    county::BrokerPlace,
    site::{DevicePlan, stage_clock},
    stage::pty::StageTime,
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use virtual_devices::{EcgSource, Patient, Scenario};

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

fn agent(words: &[&str], ports: &[&Path], config: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("__clinic-agent").args(words).arg("--config").arg(config);
    for port in ports {
        command.arg("--port").arg(port);
    }
    command.output().unwrap()
}

fn scan(ports: &[&Path], config: &Path) -> Vec<Value> {
    let output = agent(&["devices", "scan", "--json"], ports, config);
    serde_json::from_slice(&output.stdout).unwrap()
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

    // Without the configuration it is a port that some program holds.
    let holder = format!("clinic-parts (process {})", village.site.process_id().unwrap());
    let none = village.folder().join("none.toml");
    until("the agent has its port", LIMIT, async || {
        let found = scan(&[&taken], &none);
        Ok(text(&found[0], "why").unwrap().contains(&holder))
    })
    .await?;
    let found = scan(&[&taken], &none);
    ensure!(text(&found[0], "state") == Some("held"), "{found:?}");
    let found = scan(&[&taken], &config);
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

    let output = agent(&["devices", "scan"], &ports, &config);
    let printed = String::from_utf8(output.stdout)?;
    println!("{printed}");
    ensure!(output.status.success());
    for name in TALKATIVE {
        ensure!(printed.contains(&format!("{name}: free; {name} speaks at ")), "{printed}");
    }
    ensure!(printed.contains("quiet: free; nothing was heard"), "{printed}");
    ensure!(printed.contains("heping-bp-01: configured; heping-bp-01 (tm2655)"), "{printed}");
    ensure!(printed.contains("missing: unusable; "), "{printed}");

    let copied = village.folder().join("heping/copied.toml");
    fs::write(&copied, fs::read_to_string(&config)? + "\n" + &printed)?;
    let checked = agent(&["check"], &[], &copied);
    let said = String::from_utf8([checked.stdout, checked.stderr].concat())?;
    ensure!(checked.status.success() && said.contains("4 devices"), "{said}");
    let filled_in = printed.replace("# [[", "[[").replace("# id", "id").replace("# port", "port");
    let filled_in = filled_in.replace("# driver = \"…\"", "driver = \"asena\"");
    fs::write(&copied, fs::read_to_string(&config)? + "\n" + &filled_in)?;
    let checked = agent(&["check"], &[], &copied);
    let said = String::from_utf8([checked.stdout, checked.stderr].concat())?;
    ensure!(checked.status.success() && said.contains("5 devices"), "{said}");

    for performance in performances {
        performance.unplug().await?;
    }
    village.site.stop().await
}
