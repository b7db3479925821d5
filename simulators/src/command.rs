//! The command line of `clinic-sim`.

use crate::{
    ble,
    client::Client,
    decode,
    demo::{self, DemoPlan},
    fleet::{self, CountyPlace, FleetPlan, FleetReport},
    process::Program,
    replay,
    signals::Signals,
    site::{DevicePlan, Performance, stage_clock},
    stage::pty::StageTime,
    verify::{self, Report},
};
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    num::{NonZeroU16, NonZeroU32},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use virtual_devices::{
    EcgSource, Fault, FaultPlan, Patient, Scenario, ecg::wfdb::Record, gatt::faults::AirFault,
};

/// Wrong use, as clap has it.
const WRONG_USE: u8 = 2;
/// Faults that are further apart are none.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Virtual clinic devices, and a whole clinic and county on one machine.
#[derive(Debug, Parser)]
#[command(name = "clinic-sim", version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything on one machine: broker, county, two clinics, one virtual device of every kind
    Demo(Demo),
    /// Virtual devices and scenarios
    List,
    /// One virtual serial device on a pty
    Device(Device),
    /// Virtual Bluetooth LE devices behind a simulated BlueZ
    Ble(ble::Options),
    /// A trace on a pty: what a device said, when it said it
    Replay(replay::Options),
    /// The readings in a trace, through the real driver
    Decode(decode::Options),
    /// Compare what virtual devices emitted with what the county has
    Verify(Verify),
    /// Load for a county: the uplinks of many boxes in one process
    Fleet(Fleet),
}

#[derive(Args, Debug)]
struct Demo {
    /// Port of the board [default: 8080, or any free one]
    #[arg(long)]
    port: Option<u16>,
    /// Folder for everything that is written [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// End by itself, with a summary: `90s`, `2m`
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Device seconds per real second
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// From which everything the devices say follows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Device {
    /// Name, as `clinic-sim list` shows it
    #[arg(value_parser = device_name)]
    name: &'static str,
    /// Where the symlink to the pty is made
    #[arg(long, value_name = "PATH")]
    pty_link: PathBuf,
    /// Device id in the truth
    #[arg(long, default_value = "device-01")]
    id: String,
    /// A scenario file (TOML), or the name of one that is shipped
    #[arg(long, default_value = "clinic-day", value_parser = scenario)]
    scenario: Scenario,
    /// `recording` for a minute that is built in, `synthetic` for the heart of the scenario, or the
    /// header of a WFDB record (`FILE.hea`) in format 212 or 16, with its signal file beside it
    #[arg(long, value_name = "SOURCE", default_value = "recording", value_parser = ecg)]
    ecg: EcgSource,
    /// From which all that is the device's own follows: how rude it is, its clock
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// From which its patient follows; devices of one bed have the same
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    patient: u64,
    /// Device seconds per real second
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Let its cable go wrong: everything of the catalogue of faults, in an order by this seed
    #[arg(long, value_name = "SEED")]
    faults: Option<u64>,
    /// About so long from one fault to the next
    #[arg(long, default_value = "30s", value_parser = duration, requires = "faults")]
    fault_every: Duration,
    /// File to which what the device said is appended
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Verify {
    /// What virtual devices said
    #[arg(long, required = true, num_args = 1..)]
    truth: Vec<PathBuf>,
    /// Address of the county's API
    #[arg(long)]
    gateway: String,
    /// Token of the county's API
    #[arg(long)]
    token: String,
    /// The county's CA, where the API is HTTPS
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Fleet {
    /// How many boxes
    #[arg(long, default_value = "20", value_parser = up_to::<1000>)]
    sites: NonZeroU16,
    /// Devices of each box
    #[arg(long, default_value = "20", value_parser = up_to::<64>)]
    devices: NonZeroU16,
    /// Readings a second, of all boxes together
    #[arg(long, default_value = "1000", value_parser = rate)]
    rate: NonZeroU32,
    /// How long they speak: `90s`, `2m`
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// How often a box closes an envelope, as `commit_ms` in agent.toml
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(10..=1000))]
    commit_ms: u64,
    /// From which everything the devices say follows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Each box loses its connection about so often: `30s`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    breaks_every: Option<Duration>,
    /// Broker of a county that runs already, HOST:PORT [default: a county of the fleet's own]
    #[arg(long, requires = "identities")]
    broker: Option<String>,
    /// Folder with one folder for each box: `clinic-gateway pki issue NAME --out DIR/NAME`
    #[arg(long, value_name = "DIR", requires = "broker")]
    identities: Option<PathBuf>,
    /// Address of that county's API, to ask what arrived
    #[arg(long, requires_all = ["broker", "token"])]
    gateway: Option<String>,
    /// Token of the county's API
    #[arg(long, requires = "gateway")]
    token: Option<String>,
    /// The county's CA, where the API is HTTPS
    #[arg(long, value_name = "FILE", requires = "gateway")]
    ca: Option<PathBuf>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// Parses the command line and runs it.
pub(crate) fn main_from(args: Vec<OsString>) -> ExitCode {
    let line = match Line::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            // The terminal is gone: nobody to tell.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { WRONG_USE } else { 0 });
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(line.command) {
        Ok(code) => code,
        Err(error) => {
            // The terminal is gone: nobody to tell.
            drop(writeln!(io::stderr().lock(), "clinic-sim: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    match command {
        Command::Demo(options) => runtime.block_on(run_demo(options)),
        Command::List => list(),
        Command::Device(options) => runtime.block_on(run_device(options)),
        Command::Ble(options) => runtime.block_on(ble::run(options)),
        Command::Replay(options) => runtime.block_on(replay::run(options)),
        Command::Decode(options) => decode::run(&options),
        Command::Verify(options) => runtime.block_on(run_verify(options)),
        Command::Fleet(options) => runtime.block_on(run_fleet(options)),
    }
}

async fn run_demo(options: Demo) -> anyhow::Result<ExitCode> {
    let plan = DemoPlan {
        port: options.port,
        dir: options.data,
        duration: options.duration,
        speed: options.speed,
        seed: options.seed,
    };
    if let Some(dir) = plan.dir.as_deref().filter(|dir| demo::is_taken(dir)) {
        let dir = dir.display();
        writeln!(
            io::stderr(),
            "clinic-sim: an earlier demonstration is in {dir}; name an empty folder with --data"
        )?;
        return Ok(ExitCode::from(WRONG_USE));
    }
    // A script reads stdout; a person reads along.
    let outcome = if options.json {
        demo::run(&plan, &mut io::stderr()).await?
    } else {
        demo::run(&plan, &mut io::stdout()).await?
    };
    let printed = print_report(&outcome.report, options.json)?;
    let mut log = io::stderr().lock();
    for remark in outcome.notes.iter().chain(&outcome.troubles) {
        writeln!(log, "{remark}")?;
    }
    Ok(if outcome.is_good() { printed } else { ExitCode::FAILURE })
}

async fn run_verify(options: Verify) -> anyhow::Result<ExitCode> {
    let client = Client::new(&options.gateway, &options.token, options.ca.as_deref())?;
    let report = verify::compare(&options.truth, &client).await?;
    print_report(&report, options.json)
}

async fn run_fleet(options: Fleet) -> anyhow::Result<ExitCode> {
    let json = options.json;
    let plan = fleet_plan(options)?;
    let mut signals = Signals::watch()?;
    let report = tokio::select! {
        ended = fleet::run(&plan) => ended?,
        () = signals.next() => bail!("stopped before its end; what was sent is at the county"),
    };
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report).context("writing the report")?)?;
    } else {
        write!(out, "{}", shown(&report)?)?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fleet_plan(options: Fleet) -> anyhow::Result<FleetPlan> {
    let county = match (options.broker, options.identities) {
        (Some(broker), Some(identities)) => {
            let parts = broker.rsplit_once(':');
            let place = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
            let broker = place.with_context(|| format!("{broker:?} is no HOST:PORT"))?;
            let api = match (options.gateway, options.token) {
                (Some(url), Some(token)) => Some(Client::new(&url, &token, options.ca.as_deref())?),
                _ => None,
            };
            CountyPlace::There { broker, identities, api }
        }
        _ => CountyPlace::Own(Program::current()?),
    };
    Ok(FleetPlan {
        sites: options.sites,
        devices: options.devices,
        rate: options.rate,
        duration: options.duration,
        commit_every: Duration::from_millis(options.commit_ms),
        seed: options.seed,
        breaks_every: options.breaks_every,
        county,
    })
}

/// The report for a person: a line for each number.
fn shown(report: &FleetReport) -> anyhow::Result<String> {
    let value = serde_json::to_value(report).context("writing the report")?;
    let fields = value.as_object().context("the report has no fields")?;
    Ok(fields.iter().map(|(name, value)| format!("{name:<18} {value}\n")).collect())
}

async fn run_device(options: Device) -> anyhow::Result<ExitCode> {
    let plan = DevicePlan {
        name: options.name,
        id: options.id,
        seed: options.seed,
        patient: Patient::new(options.patient, options.scenario, options.ecg),
        faults: options.faults.map(|seed| FaultPlan {
            seed,
            every_ms: u64::try_from(options.fault_every.min(DAY).as_millis()).unwrap_or(u64::MAX),
            until: None,
        }),
    };
    let truth = options.truth.unwrap_or_else(|| PathBuf::from("/dev/null"));
    let (clock, time) = (stage_clock(), StageTime::start(options.speed));
    let mut signals = Signals::watch()?;
    let mut performance = Performance::start(&plan, &options.pty_link, clock, time, &truth)?;
    writeln!(io::stdout(), "{} at {}; Ctrl-C ends it", plan.name, options.pty_link.display())?;
    tokio::select! {
        failed = performance.failed() => failed?,
        () = signals.next() => performance.unplug().await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    writeln!(out, "virtual devices")?;
    for (name, about) in virtual_devices::NAMES.iter().chain(virtual_devices::gatt::NAMES) {
        writeln!(out, "  {name:<15} {about}")?;
    }
    writeln!(out, "faults of a device's cable, with --faults")?;
    for fault in Fault::ALL {
        writeln!(out, "  {:<12} {}", fault.name(), fault.about())?;
    }
    writeln!(out, "faults on the air, with --faults of `clinic-sim ble`")?;
    for fault in AirFault::ALL {
        writeln!(out, "  {:<24} {}", fault.name(), fault.about())?;
    }
    writeln!(out, "scenarios")?;
    for (name, text) in Scenario::SHIPPED {
        let about = Scenario::parse(text).with_context(|| format!("reading {name}"))?.about;
        writeln!(out, "  {name:<22} {}\n  {:<22} {}", about.en, "", about.zh)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn device_name(name: &str) -> Result<&'static str, String> {
    let found = virtual_devices::NAMES.iter().find(|(known, _)| *known == name);
    found
        .map(|&(name, _)| name)
        .ok_or_else(|| "no virtual device is called so; see `clinic-sim list`".to_owned())
}

pub(crate) fn scenario(name: &str) -> Result<Scenario, String> {
    if let Some(scenario) = Scenario::built_in(name) {
        return Ok(scenario);
    }
    if !Path::new(name).exists() {
        return Err("neither a shipped scenario nor a file; see `clinic-sim list`".to_owned());
    }
    let text = fs::read_to_string(name).map_err(|error| format!("it cannot be read: {error}"))?;
    Scenario::parse(&text).map_err(|error| format!("it cannot be played:\n{error}"))
}

fn ecg(name: &str) -> Result<EcgSource, String> {
    match name {
        "recording" => return Ok(EcgSource::Recording),
        "synthetic" => return Ok(EcgSource::Synthetic),
        _ => {}
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err("neither `recording` nor `synthetic` nor a file".to_owned());
    }
    record(path).map_err(|error| format!("it cannot be played: {error:#}"))
}

/// A WFDB record, by its header.
fn record(path: &Path) -> anyhow::Result<EcgSource> {
    let header = fs::read_to_string(path).context("reading the header")?;
    let signals = path.with_file_name(Record::signal_file(&header)?);
    let bytes = fs::read(&signals).with_context(|| format!("reading {}", signals.display()))?;
    Ok(EcgSource::Record(Arc::new(Record::parse(&header, &bytes)?)))
}

fn print_report(report: &Report, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report).context("writing the report")?)?;
    } else {
        writeln!(
            out,
            "\nemitted  {:>8}   readings and waveform blocks ({} blocks)\n\
             stored   {:>8}\nlost     {:>8}\ndoubled  {:>8}\naltered  {:>8}\n\
             gaps     {:>8}\nalerts   {:>8}",
            report.emitted,
            report.emitted_blocks,
            report.stored,
            report.lost,
            report.doubled,
            report.altered,
            report.gaps,
            report.alerts_raised
        )?;
        if !report.faults.is_empty() {
            let count: usize = report.faults.values().sum();
            let (faulted, stored) = (report.faulted, report.faulted_stored);
            writeln!(out, "faults   {count:>8}   of cables: {:?}", report.faults)?;
            writeln!(
                out,
                "faulted  {faulted:>8}   of those emitted; {stored} readings are stored"
            )?;
        }
        if let Some(latency) = report.latency_ms {
            let (p50, p99) = (latency.p50, latency.p99);
            writeln!(out, "latency  {p50:>8} ms median, {p99} ms p99, device byte to board event")?;
        }
    }
    let mut log = io::stderr().lock();
    for difference in &report.differences {
        writeln!(log, "{difference}")?;
    }
    for command in &report.forbidden {
        writeln!(log, "a device was sent a command that no driver may send: {command}")?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `90s`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit);
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("use a number with s, m or h, such as 90s".to_owned()),
    };
    let count: u32 = digits.parse().map_err(|_| "use a number with s, m or h, such as 90s")?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

/// A number from 1 on.
fn up_to<const MAX: u16>(text: &str) -> Result<NonZeroU16, String> {
    let number = text.parse::<NonZeroU16>().ok().filter(|number| number.get() <= MAX);
    number.ok_or_else(|| format!("use a number from 1 to {MAX}"))
}

/// More than any broker of today moves.
fn rate(text: &str) -> Result<NonZeroU32, String> {
    const MAX: u32 = 1_000_000;
    let number = text.parse::<NonZeroU32>().ok().filter(|number| number.get() <= MAX);
    number.ok_or_else(|| format!("use a number from 1 to {MAX}"))
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.01..=1000.0).contains(&speed) => Ok(speed),
        _ => Err("use a number from 0.01 to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert!(duration("2 days").is_err() && duration("").is_err());
    }
}
