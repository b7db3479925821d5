//! The command line of `clinic-agent`.

use crate::{
    config::{self, AgentConfig},
    outbox::inspect,
    run, scan, status,
};
use clap::{Args, Parser, Subcommand};
use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

/// Wrong use or configuration.
const WRONG: u8 = 2;

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
    #[arg(long, value_name = "FILE", default_value = "/etc/clinic-edge/agent.toml")]
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
    /// Serial ports, who has them, and what can be heard on free ones; nothing is sent
    Scan(Scan),
}

#[derive(Args, Debug)]
struct Scan {
    /// This port only; may be given several times [default: every serial port of the box]
    #[arg(long, value_name = "PATH")]
    port: Vec<PathBuf>,
    #[command(flatten)]
    status: Status,
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
        Command::Devices(DevicesCommand::Scan(Scan { port, status })) => {
            let file = &status.config.config;
            // A box without a configuration is what a scan is for.
            let config = if file.exists() { load(file)? } else { None };
            scan::show(port, config.as_ref(), status.json)?;
            Ok(ExitCode::SUCCESS)
        }
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

/// The configuration; `None` when it has mistakes, which have been printed.
fn load(path: &PathBuf) -> anyhow::Result<Option<AgentConfig>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let mut out = io::stderr().lock();
            writeln!(
                out,
                "{}: {error}; name the configuration with --config FILE",
                path.display()
            )?;
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
