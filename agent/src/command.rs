//! The command line of `clinic-agent`.

use crate::{
    bluetooth::pairing,
    config::{self, AgentConfig, Passkey},
    outbox::inspect,
    run, scan, status,
};
use clap::{Args, Parser, Subcommand};
use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _, Write as _},
    ops::RangeInclusive,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// Wrong use or configuration.
const WRONG: u8 = 2;
const CONFIG: &str = "/etc/clinic-edge/agent.toml";

/// Reads clinic devices, commits every value to disk, and publishes it to the county.
#[derive(Debug, Parser)]
#[command(name = "clinic-agent", version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon
    Run(Config),
    /// Every mistake of the configuration, with its line and what to write instead
    Check(Config),
    /// Devices, links and outbox of the running agent
    Status(Status),
    /// Which devices there may be
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Record what a device says, in the running agent
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Look at an outbox file without the agent
    #[command(subcommand)]
    Outbox(OutboxCommand),
}

#[derive(Args, Debug)]
struct Config {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct Status {
    #[command(flatten)]
    config: Config,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Serial ports, who has them, what can be heard on free ones, and Bluetooth LE devices in reach;
    /// nothing is sent
    Scan(Scan),
    /// Pair a Bluetooth LE device, and prove the bond by a second connection
    Pair(Pair),
    /// Forget a Bluetooth LE device and the bond with it
    Forget(Forget),
}

/// A box without a configuration is what a scan is for.
#[derive(Args, Debug)]
struct ConfigIfThere {
    /// The configuration [default: /etc/clinic-edge/agent.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Scan {
    /// This port only; may be given several times [default: every serial port of the box, and Bluetooth]
    #[arg(long, value_name = "PATH")]
    port: Vec<PathBuf>,
    /// How long to listen for Bluetooth devices
    #[arg(long, value_name = "N", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    #[command(flatten)]
    config: ConfigIfThere,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Pair {
    /// Address of the device, as `devices scan` shows it
    #[arg(value_parser = config::bluetooth_address)]
    address: String,
    /// The six digits on the device's label [default: those of the configuration, or a person types
    /// what the device shows]
    #[arg(long, value_name = "N", value_parser = Passkey::parse)]
    passkey: Option<Passkey>,
    /// How long to look for the device
    #[arg(long, value_name = "N", default_value = "60", value_parser = seconds_to_wake)]
    seconds: Duration,
    #[command(flatten)]
    config: ConfigIfThere,
}

#[derive(Args, Debug)]
struct Forget {
    /// Address of the device, as `devices scan` shows it
    #[arg(value_parser = config::bluetooth_address)]
    address: String,
}

#[derive(Debug, Subcommand)]
enum TraceCommand {
    /// Begin a trace; the driver begins anew, so that what it says first is in it
    Start(Trace),
    /// End it, and say where it is
    Stop(Trace),
}

#[derive(Args, Debug)]
struct Trace {
    /// The device's id in the configuration
    device: String,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, Subcommand)]
enum OutboxCommand {
    /// Ids, rows and ranges
    Inspect(Inspect),
}

#[derive(Args, Debug)]
struct Inspect {
    /// The outbox file
    file: PathBuf,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn main_from(args: impl Iterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            // The terminal is gone: nobody to tell.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { WRONG } else { 0 });
        }
    };
    // An error means that somebody was first, in tests another test.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A log that cannot be written is told with `eprintln!`, which panics where stderr is gone.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    let log = log.with_ansi(io::stderr().is_terminal());
    log.with_env_filter(filter).with_writer(io::stderr).init();
    match execute(line.command) {
        Ok(code) => code,
        Err(error) => {
            // The terminal is gone: nobody to tell.
            drop(writeln!(io::stderr().lock(), "clinic-agent: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(Config { config }) => match load(&config)? {
            Some(config) => run::run(config),
            None => Ok(ExitCode::from(WRONG)),
        },
        Command::Check(Config { config }) => match load(&config)? {
            Some(meant) => {
                let (site, count) = (&meant.site, meant.device_count());
                writeln!(
                    io::stdout().lock(),
                    "{}: good; site {site}, {count} devices",
                    config.display()
                )?;
                for warning in meant.warnings() {
                    writeln!(io::stderr().lock(), "{}: note: {warning}", config.display())?;
                }
                Ok(ExitCode::SUCCESS)
            }
            None => Ok(ExitCode::from(WRONG)),
        },
        Command::Status(options) => match load(&options.config.config)? {
            Some(config) => status::show(&config.data_dir, options.json),
            None => Ok(ExitCode::from(WRONG)),
        },
        Command::Devices(DevicesCommand::Scan(Scan { port, seconds, config, json })) => {
            match load_if_there(config)? {
                Loaded::Good(config) => scan::show(port, config.as_deref(), json, seconds),
                Loaded::Wrong => Ok(ExitCode::from(WRONG)),
            }
        }
        Command::Devices(DevicesCommand::Pair(Pair { address, passkey, seconds, config })) => {
            match load_if_there(config)? {
                Loaded::Good(config) => {
                    pairing::pair(pairing::Wanted { address, passkey, config, look_for: seconds })
                }
                Loaded::Wrong => Ok(ExitCode::from(WRONG)),
            }
        }
        Command::Devices(DevicesCommand::Forget(Forget { address })) => pairing::forget(address),
        Command::Trace(TraceCommand::Start(options)) => trace("start", &options),
        Command::Trace(TraceCommand::Stop(options)) => trace("stop", &options),
        Command::Outbox(OutboxCommand::Inspect(Inspect { file, json })) => {
            let summary = inspect::read(&file)?;
            let mut out = io::stdout().lock();
            if json {
                writeln!(out, "{}", serde_json::to_string(&summary)?)?;
            } else {
                write!(out, "{summary}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn trace(order: &str, Trace { device, config }: &Trace) -> anyhow::Result<ExitCode> {
    let Some(meant) = load(&config.config)? else { return Ok(ExitCode::from(WRONG)) };
    if meant.bluetooth.iter().any(|known| known.id.as_str() == device) {
        let text = "is a Bluetooth device, and those are not recorded; a trace is of a serial line";
        writeln!(io::stderr().lock(), "{}: {device} {text}", config.config.display())?;
        return Ok(ExitCode::from(WRONG));
    }
    if !meant.devices.iter().any(|known| known.id.as_str() == device) {
        let known: Vec<_> = meant.devices.iter().map(|known| known.id.as_str()).collect();
        let mut log = io::stderr().lock();
        writeln!(
            log,
            "{}: no serial device is called {device}; known: {}",
            config.config.display(),
            known.join(", ")
        )?;
        return Ok(ExitCode::from(WRONG));
    }
    status::order_trace(&meant.data_dir, order, device)
}

/// A person may look for as long as that.
const SECONDS: RangeInclusive<u64> = 1..=600;
/// And wake a device for so long: a running agent stands back for three minutes, and a person types
/// for one of them.
const SECONDS_TO_WAKE: RangeInclusive<u64> = 1..=120;

fn seconds(text: &str) -> Result<Duration, String> {
    seconds_in(&SECONDS, text)
}

fn seconds_to_wake(text: &str) -> Result<Duration, String> {
    seconds_in(&SECONDS_TO_WAKE, text)
}

fn seconds_in(range: &RangeInclusive<u64>, text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| range.contains(seconds));
    let (first, last) = (range.start(), range.end());
    seconds.map(Duration::from_secs).ok_or_else(|| format!("write a number from {first} to {last}"))
}

/// A configuration that need not be there.
enum Loaded {
    Good(Option<Box<AgentConfig>>),
    /// Its mistakes have been printed.
    Wrong,
}

/// The configuration that was named, or the usual one if it is there.
fn load_if_there(ConfigIfThere { config }: ConfigIfThere) -> anyhow::Result<Loaded> {
    let usual = PathBuf::from(CONFIG);
    let Some(file) = config.or_else(|| usual.exists().then_some(usual)) else {
        return Ok(Loaded::Good(None));
    };
    Ok(load(&file)?.map_or(Loaded::Wrong, |config| Loaded::Good(Some(Box::new(config)))))
}

/// The configuration; `None` when it has mistakes, which have been printed.
fn load(path: &PathBuf) -> anyhow::Result<Option<AgentConfig>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            writeln!(io::stderr().lock(), "{}: {}", path.display(), unread(&error))?;
            return Ok(None);
        }
    };
    let folder = path.parent().unwrap_or(path);
    match config::parse(&text, folder) {
        Ok(config) => Ok(Some(config)),
        Err(mistakes) => {
            let mut out = io::stderr().lock();
            for mistake in mistakes {
                writeln!(out, "{}:{}: {}", path.display(), mistake.line, mistake.text)?;
            }
            Ok(None)
        }
    }
}

/// What a person does next when the configuration cannot be read.
fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; run this as the agent's user: sudo -u clinic-edge clinic-agent …")
        }
        _ => format!("{error}; name the configuration with --config FILE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_is_not_to_be_read_says_who_may() {
        let told = |kind| unread(&io::Error::from(kind));
        assert!(told(io::ErrorKind::PermissionDenied).contains("sudo -u clinic-edge"));
        assert!(told(io::ErrorKind::NotFound).contains("--config FILE"));
    }
}
