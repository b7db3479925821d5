//! The stage of the stories: one county, one clinic, real processes, and the proof at the end.

pub mod clinic;
pub mod cycles;
pub mod dice;
pub mod faketime;
pub mod inside;
pub mod mosquitto;
mod proof;
pub mod proxy;
pub mod receiver;
pub mod speaker;

pub use proof::{Proof, Witness, Witnessed};

use anyhow::{Context as _, bail};
use rusqlite::{Connection, OpenFlags};
use simulators::{
    county::{BrokerPlace, County, CountyPlan},
    demo::cast,
    process::{Program, Role},
    site::{DevicePlan, Performance, Site, stage_clock},
    stage::pty::StageTime,
};
use std::{
    ffi::OsString,
    future::Future,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use virtual_devices::{EcgSource, Patient, Scenario};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs a program of this package with the words of its command line. County and agent are
/// processes of the same program, under a hidden first argument.
pub fn run_program(name: &str, run: impl FnOnce(&[&str]) -> anyhow::Result<()>) -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| Role::from_argument(first).is_some()) {
        return simulators::main_from(args);
    }
    let words: Vec<_> = args.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    match run(&words.iter().map(AsRef::as_ref).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The terminal is gone: nobody to tell.
            drop(writeln!(io::stderr(), "{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One county and one clinic.
#[derive(Debug)]
pub struct Village {
    /// The county.
    pub county: County,
    /// The clinic's box.
    pub site: Site,
    folder: TempDir,
}

impl Village {
    /// Prepares a county and a clinic with one device of each kind of the demonstration; starts nothing.
    ///
    /// # Errors
    /// When a part cannot be prepared.
    pub async fn prepare(
        program: &Path,
        broker: BrokerPlace,
        scenario: &str,
    ) -> anyhow::Result<Self> {
        let scenario = Scenario::built_in(scenario).context("a scenario is missing")?;
        let patient = Patient::new(7, scenario, EcgSource::Recording);
        let devices = cast("heping", 7, &patient);
        Self::prepare_with(program, broker, devices).await
    }

    /// Prepares a county and a clinic with these devices; starts nothing.
    ///
    /// # Errors
    /// When a part cannot be prepared.
    pub async fn prepare_with(
        program: &Path,
        broker: BrokerPlace,
        devices: Vec<DevicePlan>,
    ) -> anyhow::Result<Self> {
        Self::prepare_on(&Program::at(program), broker, devices).await
    }

    /// Prepares a county and a clinic of that program with these devices; starts nothing.
    ///
    /// # Errors
    /// When a part cannot be prepared.
    pub async fn prepare_on(
        program: &Program,
        broker: BrokerPlace,
        devices: Vec<DevicePlan>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let plan = CountyPlan {
            dir: folder.path().join("county"),
            http_port: 0,
            broker,
            clinics: vec![("和平镇卫生院", "heping")],
        };
        let county = County::prepare(program, plan).await?;
        let dir = folder.path().join("heping");
        let site = Site::prepare(program, &county, "heping", &dir, devices).await?;
        Ok(Self { county, site, folder })
    }

    /// Starts county, devices and agent.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(&mut self) -> anyhow::Result<Vec<Performance>> {
        self.county.start().await?;
        let performances = self.site.play(stage_clock(), StageTime::start(1.0))?;
        self.site.start()?;
        Ok(performances)
    }

    /// The county's database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("county/data/county.sqlite")
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Envelopes the county has taken from the clinic.
    ///
    /// # Errors
    /// When the county's database cannot be read.
    pub fn stored(&self) -> anyhow::Result<u64> {
        let count: i64 = read_only(&self.database())?
            .query_row("SELECT count(*) FROM envelope", [], |row| row.get(0))
            .context("counting envelopes")?;
        Ok(u64::try_from(count)?)
    }

    /// How that device of the clinic is doing, as the county knows it.
    ///
    /// # Errors
    /// When the county's database cannot be read or does not know the device.
    pub fn state_of(&self, device: &str) -> anyhow::Result<String> {
        let question = "SELECT state FROM device WHERE device = ?1";
        read_only(&self.database())?
            .query_row(question, [device], |row| row.get(0))
            .with_context(|| format!("looking up {device}"))
    }

    /// Waits until the county has taken `more` envelopes than now.
    ///
    /// # Errors
    /// When it does not in a minute.
    pub async fn flow(&self, more: u64) -> anyhow::Result<()> {
        let before = self.stored()?;
        until("envelopes flow", Duration::from_secs(60), async || {
            Ok(self.stored()? >= before + more)
        })
        .await
    }

    /// Waits until the county has taken at least `count` waveform blocks.
    ///
    /// # Errors
    /// When it has not in a minute.
    pub async fn waves(&self, count: i64) -> anyhow::Result<()> {
        let county = self.database();
        until("waveforms flow", Duration::from_secs(60), async || {
            let blocks: i64 = read_only(&county)?
                .query_row("SELECT count(*) FROM waveform", [], |row| row.get(0))
                .context("counting blocks")?;
            Ok(blocks >= count)
        })
        .await
    }

    /// Waits until the county has every row of the outbox. The agent notes acks later, or when it
    /// stops.
    ///
    /// # Errors
    /// When some row is still missing after a minute.
    pub async fn drained(&self) -> anyhow::Result<()> {
        until("the outbox is drained", Duration::from_secs(60), async || self.is_drained()).await
    }

    /// Whether the county has every row of the outbox.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn is_drained(&self) -> anyhow::Result<bool> {
        proof::has_all(&self.site.outbox(), &self.database())
    }

    /// Compares every row the agent ever committed with what the county has.
    ///
    /// # Errors
    /// Says what is lost, doubled or altered.
    pub fn prove(&self) -> anyhow::Result<Proof> {
        proof::prove(&self.site.outbox(), None, &self.database())
    }

    /// The same, where the outbox has pruned rows since that copy of it was made.
    ///
    /// # Errors
    /// Says what is lost, doubled or altered.
    pub fn prove_with(&self, copy: &Path) -> anyhow::Result<Proof> {
        proof::prove(&self.site.outbox(), Some(copy), &self.database())
    }

    /// Compares the device alarms of the truth with those the county has, in their order; how many.
    ///
    /// # Errors
    /// Says which alarms differ.
    pub fn prove_alarms(&self) -> anyhow::Result<usize> {
        proof::prove_alarms(&self.site.truth(), &self.database())
    }
}

/// Whether the county has every row of that outbox, or its drop.
///
/// # Errors
/// When a database cannot be read.
pub fn has_all(outbox: &Path, county: &Path) -> anyhow::Result<bool> {
    proof::has_all(outbox, county)
}

/// Opens a database that somebody else may be writing to.
///
/// # Errors
/// When it cannot be opened.
pub fn read_only(path: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("opening {}", path.display()))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// The bytes of every envelope in an outbox, lane by lane.
///
/// # Errors
/// When it cannot be read.
pub fn envelopes_in(outbox: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let outbox = read_only(outbox)?;
    let mut statement = outbox.prepare(
        "SELECT bytes FROM urgent UNION ALL SELECT bytes FROM trend UNION ALL SELECT bytes FROM wave",
    )?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect::<Result<_, _>>().context("reading the outbox")
}

/// Waits for a condition, with a time limit.
///
/// # Errors
/// When the condition does not hold in time, with the last reason it could not be looked at.
pub async fn until<F>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let end = Instant::now() + limit;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut last = None;
    while Instant::now() < end {
        look.tick().await;
        match condition().await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.context(format!("not in {} s: {what}", limit.as_secs()))),
        None => bail!("not in {} s: {what}", limit.as_secs()),
    }
}
