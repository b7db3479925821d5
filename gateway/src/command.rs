//! The command line of `clinic-gateway`.
//!
//! - [`people`], [`audit`]: what `user`, `token` and `audit` do

mod audit;
mod people;

use crate::{
    audit::Entry,
    backup::{self, BackupError, Existing, Restored},
    clock,
    config::{self, GatewayConfig},
    disk::mib,
    ledger,
    people::Scope,
    pki::Pki,
    query, rule_sets, run,
    store::{self, Store},
};
use anyhow::{Context as _, bail};
use audit::AuditCommand;
use clap::{Args, Parser, Subcommand};
use model::id::SiteId;
use people::{TokenCommand, UserCommand};
use rules::rule::{RuleSet, RuleSetError};
use rusqlite::{Transaction, TransactionBehavior};
use rustix::{
    process::getuid,
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};
use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};
use thiserror::Error;

/// Wrong use or configuration.
const WRONG: u8 = 2;
/// A backup is made and good, and the audit does not say so.
const NOT_WRITTEN_DOWN: u8 = 3;

/// Takes in what clinics send, keeps it, warns, and shows it.
#[derive(Debug, Parser)]
#[command(name = "clinic-gateway", version)]
struct Line {
    /// The configuration
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/clinic-edge/gateway.toml",
        global = true
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: ingestion, rules, board, API
    Run,
    /// Every mistake of the configuration, with its line and what to write instead
    Check,
    /// The county's own certificate authority
    #[command(subcommand)]
    Pki(PkiCommand),
    /// People
    #[command(subcommand)]
    User(UserCommand),
    /// Programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// What people did, in a chain of hashes
    #[command(subcommand)]
    Audit(AuditCommand),
    /// What arrived, what is missing, since when, and why
    Ledger(Ledger),
    /// Copy the database into a file, also while the gateway runs
    Backup {
        /// The file to make
        file: PathBuf,
        /// Replace a file of that name
        #[arg(long)]
        overwrite: bool,
    },
    /// Put a backup in the place of the database; the gateway must be stopped
    Restore {
        /// A file that `backup` has made
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    /// Make the CA and the certificates of the county's own services
    Init,
    /// Make the certificates of the county's own services anew, before they run out
    Renew,
    /// Issue a box its certificate, with an agent.toml ready to copy
    Issue {
        /// Name of the site: a-z, 0-9 and -
        site: String,
        /// Folder for the files [default: the site's name]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct Ledger {
    /// One site only
    #[arg(long)]
    site: Option<String>,
    /// JSON
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
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,rmqtt=warn"));
    // A log that cannot be written is told with `eprintln!`, which panics where stderr is gone.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    let log = log.with_ansi(io::stderr().is_terminal());
    log.with_env_filter(filter).with_writer(io::stderr).init();
    match execute(line) {
        Ok(code) => code,
        Err(error) => {
            // The terminal is gone: nobody to tell.
            drop(writeln!(io::stderr().lock(), "clinic-gateway: {error:#}"));
            let refused = error.downcast_ref::<Refused>().is_some();
            let wrong = error.downcast_ref().is_some_and(BackupError::is_wrong_use);
            if refused || wrong { ExitCode::from(WRONG) } else { ExitCode::FAILURE }
        }
    }
}

/// What was asked for cannot be meant: the command line or the configuration is wrong.
#[derive(Debug, Error)]
#[error("{0}")]
struct Refused(String);

fn execute(line: Line) -> anyhow::Result<ExitCode> {
    let Some(config) = load(&line.config)? else { return Ok(ExitCode::from(WRONG)) };
    let pki = Pki::at(&config.pki_dir);
    let mut out = io::stdout().lock();
    match line.command {
        Command::Run => {
            drop(out);
            return match rules(&config)? {
                Some((text, rules)) => run::run(config, text, rules),
                None => Ok(ExitCode::from(WRONG)),
            };
        }
        Command::Check => {
            if rules(&config)?.is_none() {
                return Ok(ExitCode::from(WRONG));
            }
            writeln!(
                out,
                "{}: good; {} clinics' boxes",
                line.config.display(),
                config.clinics.len()
            )?;
        }
        Command::Pki(PkiCommand::Init) => {
            pki.init(&config.hosts())?;
            writeln!(
                out,
                "{}: CA and certificates made; keep ca.key safe and offline",
                config.pki_dir.display()
            )?;
        }
        Command::Pki(PkiCommand::Renew) => {
            let renewed = || pki.renew(&config.hosts());
            with_entry(&config, ("pki_renew", "county, broker, board"), renewed)?;
            writeln!(
                out,
                "{}: certificates of county, broker and board made anew; restart the gateway. A \
                 mosquitto has a copy of its own: copy broker.crt to it and restart it",
                config.pki_dir.display()
            )?;
        }
        Command::Pki(PkiCommand::Issue { site, out: folder }) => {
            issue(&mut out, &line.config, &config, (&site, folder))?;
        }
        Command::User(command) => people::user(command, &config, &mut out)?,
        Command::Token(command) => people::token(command, &config, &mut out)?,
        Command::Audit(command) => return audit::audit(command, &config, &mut out),
        Command::Ledger(Ledger { site, json }) => {
            let connection = Store::connection_to_read(&run::database(&config))?;
            let ledger = ledger::ledger(&connection, site.as_deref(), &Scope::County)?;
            let known = |name: &str| config.clinics.keys().any(|site| site.as_str() == name);
            if let Some(site) = site.filter(|site| ledger.is_empty() && !known(site)) {
                bail!("nothing has come from a site {site}, and no clinic of gateway.toml has it");
            }
            if json {
                writeln!(out, "{}", serde_json::to_string(&ledger)?)?;
            } else {
                ledger.print(&mut out)?;
            }
        }
        Command::Backup { file, overwrite } => {
            let existing = if overwrite { Existing::Overwritten } else { Existing::Kept };
            let copied = backup::backup(&config.data_dir, &file, existing)?;
            let written = backup::write_down(&config.data_dir, &who_is_here(), &file, &copied);
            writeln!(
                out,
                "{}: {} MiB, checked; all that was acked before {} is in it",
                file.display(),
                mib(copied.bytes),
                clock::rfc3339(copied.at_ms)
            )?;
            print_beside(&mut out, &line.config, &config)?;
            if let Err(error) = written {
                // The terminal is gone: nobody to tell.
                drop(writeln!(
                    io::stderr().lock(),
                    "clinic-gateway: the copy is good, but that it was made is not in the audit: \
                     {:#}; make backups as the user of the gateway",
                    anyhow::Error::new(error)
                ));
                return Ok(ExitCode::from(NOT_WRITTEN_DOWN));
            }
        }
        Command::Restore { file } => {
            let restored = backup::restore(&config.data_dir, &file, &who_is_here())?;
            print_restored(&mut out, &file, &config, &restored)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of who works at this machine, as the system has it. No person of the county has a name
/// with a colon.
fn who_is_here() -> String {
    let named = |name| std::env::var(name).ok().filter(|name: &String| !name.is_empty());
    let name = named("SUDO_USER").or_else(|| named("LOGNAME"));
    let name = name.unwrap_or_else(|| getuid().as_raw().to_string());
    format!("console:{name}")
}

/// Makes certificates, and writes it down where this county has a database: keys may be made on a
/// machine that has none.
fn with_entry(
    config: &GatewayConfig,
    (action, what): (&str, &str),
    make: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if !run::database(config).exists() {
        return make();
    }
    let mut connection = database(config)?;
    let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate)?;
    let who = who_is_here();
    let entry = Entry { who: &who, action, what, detail: serde_json::json!({}) };
    crate::audit::append(&transaction, clock::now(), &entry)?;
    make()?;
    transaction.commit().context("the certificate was made and could not be written down")
}

/// A certificate for a box, with an `agent.toml` beside it.
fn issue(
    out: &mut impl io::Write,
    path: &Path,
    config: &GatewayConfig,
    (site, folder): (&str, Option<PathBuf>),
) -> anyhow::Result<()> {
    let site = SiteId::new(site).map_err(|error| Refused(error.to_string()))?;
    let folder = folder.unwrap_or_else(|| PathBuf::from(site.as_str()));
    let (agent, text) = agent_toml(config, &site, &folder)?;
    let issued = || Pki::at(&config.pki_dir).issue(&site, &folder);
    with_entry(config, ("pki_issue", site.as_str()), issued)?;
    fs::write(&agent, text).with_context(|| format!("writing {}", agent.display()))?;
    writeln!(out, "{}: copy these files to /etc/clinic-edge on the box", folder.display())?;
    if !config.clinics.contains_key(&site) {
        writeln!(
            out,
            "No clinic of {} has {site}: a nurse of one clinic does not see its devices. Put it \
             into the sites of its clinic there, and restart the gateway",
            path.display()
        )?;
    }
    Ok(())
}

fn database(config: &GatewayConfig) -> anyhow::Result<rusqlite::Connection> {
    store::make_data_dir(&config.data_dir)
        .with_context(|| format!("making the data folder {}", config.data_dir.display()))?;
    Ok(Store::connection(&run::database(config))?)
}

fn password(file: Option<&Path>) -> anyhow::Result<String> {
    let text = match file {
        Some(path) => {
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?
        }
        None if io::stdin().is_terminal() => {
            let first = asked("password: ")?;
            if asked("once more: ")? != first {
                bail!("the two passwords differ; nothing was changed, try again");
            }
            first
        }
        None => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).context("reading the password from stdin")?;
            text
        }
    };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks at the terminal for a line that is not shown.
fn asked(prompt: &str) -> anyhow::Result<String> {
    /// Ctrl-C as the terminal hands it over while it makes no signals.
    const INTERRUPT: char = '\u{3}';
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).context("reading the terminal's settings")?;
    let mut quiet = before.clone();
    // Without signals too: Ctrl-C would leave a terminal that shows nothing.
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    tcsetattr(&stdin, OptionalActions::Flush, &quiet).context("hiding the password")?;
    let mut line = String::new();
    let mut log = io::stderr().lock();
    let read = write!(log, "{prompt}").and_then(|()| stdin.read_line(&mut line));
    tcsetattr(&stdin, OptionalActions::Now, &before).context("restoring the terminal")?;
    writeln!(log)?;
    read.context("reading the password")?;
    if line.contains(INTERRUPT) {
        bail!("stopped; nothing was changed");
    }
    Ok(line)
}

/// A configuration the installer copies to the box and adds devices to, and where it goes. Looked
/// at before a key is made: a key is made once.
fn agent_toml(
    config: &GatewayConfig,
    site: &SiteId,
    folder: &Path,
) -> anyhow::Result<(PathBuf, String)> {
    let path = folder.join("agent.toml");
    if path.exists() {
        bail!("{} is there already; move it aside first", path.display());
    }
    let broker = config.broker_for_boxes().ok_or_else(|| {
        Refused(
            "nobody told where boxes find the broker; name this service in gateway.toml: \
             [http] hosts = [\"county.example\"]"
                .to_owned(),
        )
    })?;
    let text = format!(
        "# The clinic box {site}. Check it with: clinic-agent check --config agent.toml\n\
         site = \"{site}\"\ndata_dir = \"/var/lib/clinic-edge\"\n\n\
         [uplink]\nbroker = \"{broker}\"\nca = \"ca.crt\"\ncert = \"{site}.crt\"\nkey = \"{site}.key\"\n\n\
         # Who may acknowledge while the county is out of reach, at http://127.0.0.1:8480/ on the box:\n\
         # [local_page]\n# people = [\"李秀兰\", \"王强\"]\n\n\
         # One section for each device:\n# [[device]]\n# id = \"ecg-01\"\n# driver = \"pm6750\"\n\
         # port = \"/dev/serial/by-id/usb-…\"\n"
    );
    Ok((path, text))
}

/// What a backup does not hold and a county on another machine needs.
fn print_beside(
    out: &mut impl io::Write,
    path: &Path,
    config: &GatewayConfig,
) -> anyhow::Result<()> {
    writeln!(
        out,
        "It holds what patients' devices said, people and tokens: keep it where nobody else reads.\n\
         Not in it, and needed on another machine; keep a copy of each, anew when it changes:"
    )?;
    writeln!(out, "  {}: the configuration", path.display())?;
    if let Some(rules) = &config.rules {
        writeln!(out, "  {}: the rule set", rules.display())?;
    }
    writeln!(
        out,
        "  {}: keys and certificates; without them every box needs a new certificate. Keep ca.key offline",
        config.pki_dir.display()
    )?;
    Ok(())
}

fn print_restored(
    out: &mut impl io::Write,
    file: &Path,
    config: &GatewayConfig,
    restored: &Restored,
) -> anyhow::Result<()> {
    let made = restored.copied_ms.map_or_else(|| "an unknown moment".to_owned(), clock::rfc3339);
    writeln!(
        out,
        "{}: restored from {}, a backup of {made}, checked; generation {}",
        run::database(config).display(),
        file.display(),
        query::generation_name(restored.generation)
    )?;
    if let Some(kept) = &restored.kept {
        writeln!(
            out,
            "What was there before is {}; remove it when nothing is missed",
            kept.display()
        )?;
    }
    for missing in Pki::at(&config.pki_dir).missing() {
        writeln!(
            out,
            "{} is missing: bring it from where the county was, or no box connects",
            missing.display()
        )?;
    }
    writeln!(
        out,
        "Start the gateway. People and tokens are those of the backup, and everybody logs in again.\n\
         What boxes had handed over since the backup they send again as far as they keep it, for a \
         day; `clinic-gateway ledger` shows what is missing"
    )?;
    Ok(())
}

/// The rule set of the configuration; `None` when it has mistakes, which have been printed.
fn rules(config: &GatewayConfig) -> anyhow::Result<Option<(String, RuleSet)>> {
    let Some(path) = &config.rules else {
        let rules =
            RuleSet::from_json(rule_sets::DEFAULT).context("the rule set of the program")?;
        return Ok(Some((rule_sets::DEFAULT.to_owned(), rules)));
    };
    let mut log = io::stderr().lock();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            writeln!(log, "{}: {error}; name the rule set under [rules]", path.display())?;
            return Ok(None);
        }
    };
    match rule_sets::read(&text) {
        Ok(rules) => Ok(Some((text, rules))),
        Err(RuleSetError(mistakes)) => {
            for mistake in mistakes {
                writeln!(log, "{}:{}: {mistake}", path.display(), mistake.line)?;
            }
            Ok(None)
        }
    }
}

/// The configuration; `None` when it has mistakes, which have been printed.
fn load(path: &Path) -> anyhow::Result<Option<GatewayConfig>> {
    let mut log = io::stderr().lock();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            writeln!(
                log,
                "{}: {error}; name the configuration with --config FILE",
                path.display()
            )?;
            return Ok(None);
        }
    };
    match config::parse(&text, path.parent().unwrap_or(path)) {
        Ok(config) => Ok(Some(config)),
        Err(mistakes) => {
            for mistake in mistakes {
                writeln!(log, "{}:{}: {}", path.display(), mistake.line, mistake.text)?;
            }
            Ok(None)
        }
    }
}
