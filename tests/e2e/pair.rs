//! Story: an installer pairs Bluetooth devices, behind a stack that behaves as badly as the real one
//! may: with the code typed, given, wrong and missing, out of reach, forgotten; beside a running agent.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![expect(
    clippy::print_stdout,
    reason = "what an installer reads, for whoever runs it with --nocapture"
)]

use anyhow::ensure;
use e2e::{Village, until};
use simulators::{
    county::BrokerPlace,
    demo::settled,
    process::Program,
    site::stage_clock,
    stage::{
        bluez::{Bluez, Manners, OnAir, PrivateBus, Quirk},
        pty::StageTime,
    },
};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};
use virtual_devices::{
    EcgSource, Patient, Scenario, Setup,
    gatt::{self, Pairing},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(60);
const CUFF: &str = "C0:26:DA:00:00:01";
const METER: &str = "C0:26:DA:00:00:02";
/// Nobody has it.
const NOBODY: &str = "C0:26:DA:00:00:7F";

/// A bus with a cuff that is paired without a code, and a meter that shows one.
struct Bench {
    bus: PrivateBus,
    stage: Bluez,
    code: String,
    folder: TempDir,
}

/// What an installer read.
struct Said {
    status: ExitStatus,
    results: String,
    talk: String,
}

impl Said {
    #[track_caller]
    fn failed(&self, code: i32, words: &str) {
        assert_eq!(self.status.code(), Some(code), "{}", self.talk);
        assert!(self.talk.contains(words), "{}", self.talk);
        assert!(self.results.is_empty(), "{}", self.results);
    }

    #[track_caller]
    fn done(&self, words: &str) {
        assert!(self.status.success(), "{}", self.talk);
        assert!(self.results.contains(words), "{}", self.results);
    }
}

fn on_air(name: &str, address: &str, device: String, is_bonded: bool) -> (OnAir, Option<u32>) {
    let patient = Patient::new(1, Scenario::built_in("steady").unwrap(), EcgSource::Synthetic);
    let setup = Setup { device, seed: 4, clock: stage_clock(), patient };
    let device = gatt::create(name, setup).unwrap();
    let code = match device.profile().pairing {
        Pairing::Passkey(code) => Some(code),
        _ => None,
    };
    (OnAir { address: address.to_owned(), device, is_bonded }, code)
}

impl Bench {
    async fn begin() -> anyhow::Result<Self> {
        let bus = PrivateBus::start().await?;
        let folder = tempfile::tempdir()?;
        let (cuff, _) = on_air("ble-cuff", CUFF, "bp-01".to_owned(), false);
        let (meter, code) = on_air("ble-meter", METER, "glu-01".to_owned(), false);
        let (time, truth) = (StageTime::start(1.0), folder.path().join("truth.jsonl"));
        let devices = vec![cuff, meter];
        let stage = Bluez::start(bus.address(), devices, Manners::Nasty, time, &truth).await?;
        let code = format!("{:06}", code.unwrap());
        Ok(Self { bus, stage, code, folder })
    }

    /// Runs `clinic-agent devices …`, and types that line when a code is asked for.
    async fn devices(&self, words: &[&str], typed: Option<&str>) -> anyhow::Result<Said> {
        devices(self.bus.address(), words, typed).await
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stage.stop().await?;
        self.bus.stop().await
    }
}

async fn devices(bus: &str, words: &[&str], typed: Option<&str>) -> anyhow::Result<Said> {
    let mut command = Command::new(PROGRAM);
    command.args(["__clinic-agent", "devices"]).args(words).kill_on_drop(true);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus);
    command.stdin(if typed.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut stdin = child.stdin.take();
    let mut talk = String::new();
    println!("$ clinic-agent devices {}", words.join(" "));
    while let Some(line) = lines.next_line().await? {
        println!("{line}");
        talk += &line;
        talk.push('\n');
        if line.contains("type them here")
            && let (Some(stdin), Some(typed)) = (&mut stdin, typed)
        {
            stdin.write_all(format!("{typed}\n").as_bytes()).await?;
        }
    }
    let mut results = String::new();
    child.stdout.take().unwrap().read_to_string(&mut results).await?;
    print!("{results}");
    Ok(Said { status: child.wait().await?, results, talk })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_typed_makes_a_bond_that_is_proved() -> anyhow::Result<()> {
    let bench = Bench::begin().await?;
    bench.devices(&["pair", METER, "--passkey", "12345"], None).await?.failed(2, "six digits");
    bench.devices(&["pair", "C0:26"], None).await?.failed(2, "is no address");
    bench.devices(&["pair", METER], None).await?.failed(1, "nobody typed six digits");
    let wrong = if bench.code == "000000" { "000001" } else { "000000" };
    let said = bench.devices(&["pair", METER, "--passkey", wrong], None).await?;
    said.failed(1, "refused the code it was given");
    let said = bench.devices(&["pair", METER], Some(wrong)).await?;
    said.failed(1, "the code was refused");
    let said = bench.devices(&["pair", METER], Some(&bench.code)).await?;
    said.done("C0:26:DA:00:00:02 (Virtual Glucose)");
    said.done("is paired; a second connection proved the bond");
    said.done("[[bluetooth]]\nid = \"glucose-01\"\ndriver = \"glucose\"\n");
    ensure!(bench.stage.connected().await?.is_empty(), "nobody reads it");
    bench.stage.wake(METER).await?;
    let said = bench.devices(&["pair", METER], None).await?;
    said.done("was paired before");
    ensure!(bench.stage.said().await?.is_empty(), "what nobody keeps was asked for");
    bench.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bond_is_believed_when_it_is_there_and_doubted_when_it_does_not_hold()
-> anyhow::Result<()> {
    let bench = Bench::begin().await?;
    bench.stage.spoil(CUFF, Quirk::SwallowsPair).await?;
    bench.devices(&["pair", CUFF], None).await?.done("driver = \"blood-pressure\"");
    bench.stage.spoil(CUFF, Quirk::ForgotBond).await?;
    bench.stage.wake(CUFF).await?;
    let said = bench.devices(&["pair", CUFF], None).await?;
    said.failed(1, "does not hold: the device ends the connection at once");
    said.failed(1, "run `clinic-agent devices forget C0:26:DA:00:00:01`");
    bench.devices(&["forget", CUFF], None).await?.done("is forgotten");
    bench.devices(&["forget", CUFF], None).await?.failed(1, "nothing to forget");
    bench.stage.wake(CUFF).await?;
    bench.devices(&["pair", CUFF], None).await?.done("is paired;");
    bench.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_reached_it_says_why() -> anyhow::Result<()> {
    let bench = Bench::begin().await?;
    let look = ["pair", NOBODY, "--seconds", "2"];
    bench.devices(&look, None).await?.failed(1, "was not heard within 2 s");
    bench.stage.block_adapter().await?;
    bench.devices(&look, None).await?.failed(1, "rfkill unblock bluetooth");
    bench.stage.stop_daemon().await?;
    bench.devices(&look, None).await?.failed(1, "systemctl start bluetooth");
    let none = format!("unix:path={}", bench.folder.path().join("none").display());
    devices(&none, &look, None).await?.failed(1, "is the service dbus running?");
    let missing = [&look[..], &["--config", "/nowhere/agent.toml"]].concat();
    bench.devices(&missing, None).await?.failed(2, "name the configuration");
    bench.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_another_kind_is_told_with_the_driver_that_fits() -> anyhow::Result<()> {
    let bus = PrivateBus::start().await?;
    let program = Program::at(Path::new(PROGRAM)).on_bus(bus.address());
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, vec![]).await?;
    let (cuff, _) = on_air("ble-cuff", CUFF, "heping-bp-01".to_owned(), true);
    let section = |id: &str, address: &str| {
        format!("\n[[bluetooth]]\nid = \"{id}\"\ndriver = \"glucose\"\naddress = \"{address}\"\n")
    };
    let config = village.site.config();
    let mut file = fs::OpenOptions::new().append(true).open(&config)?;
    write!(file, "{}", section("heping-bp-01", CUFF))?;
    let (time, truth) = (StageTime::start(1.0), village.site.truth());
    let stage = Bluez::start(bus.address(), vec![cuff], Manners::Nasty, time, &truth).await?;
    village.county.start().await?;
    village.site.start()?;
    until("the agent says what is wrong", LIMIT, async || {
        let reason: String = e2e::read_only(&village.database())?.query_row(
            "SELECT reason FROM device WHERE device = 'heping-bp-01'",
            [],
            |row| row.get(0),
        )?;
        Ok(reason.contains("has not the service of the driver glucose")
            && reason.contains(&format!("clinic-agent devices pair {CUFF}")))
    })
    .await?;
    ensure!(village.state_of("heping-bp-01")? == "link_down", "it is not read");
    stage.wake(CUFF).await?;
    let words = ["pair", CUFF, "--config", config.to_str().unwrap()];
    let said = devices(bus.address(), &words, None).await?;
    said.done("write: driver = \"blood-pressure\"");
    ensure!(!said.results.contains("restart the agent"), "{}", said.results);
    // One that was added while the agent runs.
    let added =
        fs::read_to_string(&config)?.replace(CUFF, NOBODY) + &section("heping-new-01", CUFF);
    fs::write(&config, added)?;
    stage.wake(CUFF).await?;
    devices(bus.address(), &words, None).await?.done("it is in the configuration: heping-new-01");
    village.site.stop().await?;
    stage.stop().await?;
    village.county.stop().await?;
    bus.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_agent_stands_back_and_loses_nothing() -> anyhow::Result<()> {
    let bus = PrivateBus::start().await?;
    let program = Program::at(Path::new(PROGRAM)).on_bus(bus.address());
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, vec![]).await?;
    let (meter, code) = on_air("ble-meter", METER, "heping-glu-01".to_owned(), false);
    let (other, _) = on_air("ble-cuff", CUFF, "heping-other-01".to_owned(), true);
    let mut config = fs::OpenOptions::new().append(true).open(village.site.config())?;
    writeln!(
        config,
        "\n[[bluetooth]]\nid = \"heping-glu-01\"\ndriver = \"glucose\"\naddress = \"{METER}\"\n\
         passkey = \"{:06}\"",
        code.unwrap()
    )?;
    let (time, truth) = (StageTime::start(1.0), village.site.truth());
    let devices_on_air = vec![meter, other];
    let stage = Bluez::start(bus.address(), devices_on_air, Manners::Nasty, time, &truth).await?;
    village.county.start().await?;
    village.site.start()?;
    // The agent finds that it may not read it, and says what to do.
    let reason = |village: &Village| -> anyhow::Result<String> {
        Ok(e2e::read_only(&village.database())?.query_row(
            "SELECT reason FROM device WHERE device = 'heping-glu-01'",
            [],
            |row| row.get(0),
        )?)
    };
    let advice = format!("run: clinic-agent devices pair {METER}");
    until("the agent asks for a bond", LIMIT, async || Ok(reason(&village)?.contains(&advice)))
        .await?;
    let config = village.site.config();
    let words = ["pair", METER, "--config", config.to_str().unwrap()];
    let said = devices(bus.address(), &words, None).await?;
    said.done("it is in the configuration: heping-glu-01 (glucose)");
    until("it is online", LIMIT, async || Ok(village.state_of("heping-glu-01")? == "online"))
        .await?;
    until("it was read", LIMIT, async || Ok(!fs::read_to_string(&truth)?.is_empty())).await?;
    // One that is not in the configuration was in reach all the time, with a bond.
    let said = stage.said().await?;
    ensure!(said.iter().all(|said| said.address == METER && said.is_heard), "{said:?}");
    // The device loses the bond, and the agent notices by itself.
    stage.spoil(METER, Quirk::ForgotBond).await?;
    stage.pull_link(METER).await?;
    stage.wake(METER).await?;
    until("the agent misses the bond", LIMIT, async || {
        Ok(reason(&village)?.starts_with("it ends each connection")
            && reason(&village)?.contains(&advice))
    })
    .await?;
    let recorded = Command::new(PROGRAM)
        .args(["__clinic-agent", "trace", "start", "heping-glu-01", "--config"])
        .arg(&config)
        .output()
        .await?;
    let said = String::from_utf8(recorded.stderr)?;
    ensure!(recorded.status.code() == Some(2) && said.contains("is a Bluetooth device"), "{said}");
    stage.stop().await?;
    let client = village.county.client()?;
    let report = settled(std::slice::from_ref(&truth), &client).await?;
    ensure!(report.emitted > 0 && report.is_clean(), "{report:#?}");
    village.site.stop().await?;
    village.county.stop().await?;
    bus.stop().await
}
