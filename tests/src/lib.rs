//! The stage of the stories: one county, one clinic, real processes, and the proof at the end.

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use simulators::{
    county::{BrokerPlace, County, CountyPlan},
    demo::cast,
    process::Program,
    site::{Performance, Site, stage_clock},
    stage::pty::StageTime,
};
use std::{
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use uplink_proto::envelope::Envelope;
use virtual_devices::{EcgSource, Scenario};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    /// Prepares a county and a clinic with one device of every kind; starts nothing.
    ///
    /// # Errors
    /// When a part cannot be prepared.
    pub async fn prepare(
        program: &Path,
        broker: BrokerPlace,
        scenario: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let program = Program::at(program);
        let plan = CountyPlan {
            dir: folder.path().join("county"),
            http_port: 0,
            broker,
            clinics: vec![("和平镇卫生院", "heping")],
        };
        let county = County::prepare(&program, plan).await?;
        let scenario = Scenario::built_in(scenario).context("a scenario is missing")?;
        let devices = cast("heping", 7, &scenario, EcgSource::Recording);
        let dir = folder.path().join("heping");
        let site = Site::prepare(&program, &county, "heping", &dir, devices).await?;
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

    /// Waits until nothing in the outbox waits for an ack.
    ///
    /// # Errors
    /// When something still does after a minute.
    pub async fn drained(&self) -> anyhow::Result<()> {
        let outbox = self.site.outbox();
        until("the outbox is drained", Duration::from_secs(60), async || {
            let waiting: i64 = read_only(&outbox)?
                .query_row("SELECT count(*) FROM envelope WHERE acked_s IS NULL", [], |row| {
                    row.get(0)
                })
                .context("counting rows")?;
            Ok(waiting == 0)
        })
        .await
    }

    /// Compares every row the agent ever committed with what the county has.
    ///
    /// # Errors
    /// Says what is lost, doubled or altered.
    pub fn prove(&self) -> anyhow::Result<Proof> {
        prove(&self.site.outbox(), &self.database())
    }
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Proof {
    /// Envelopes the agent has committed.
    pub envelopes: u64,
    /// Records in them.
    pub records: u64,
    /// Envelopes of the agent's last moment, committed and not yet sent: the next run sends them.
    pub waiting: u64,
}

/// Acked rows stay in the outbox for a day: it is the record of all that was ever committed.
fn prove(outbox: &Path, county: &Path) -> anyhow::Result<Proof> {
    let (outbox, county) = (read_only(outbox)?, read_only(county)?);
    let id: [u8; 16] =
        outbox.query_row("SELECT value FROM meta WHERE key = 'outbox_id'", [], |row| row.get(0))?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut proof = Proof::default();
    for lane in ["urgent", "trend", "wave"] {
        let next: i64 =
            outbox
                .query_row("SELECT next_seq FROM lane WHERE lane = ?1", [lane], |row| row.get(0))?;
        let mut statement = outbox.prepare(
            "SELECT seq, bytes, acked_s IS NULL FROM envelope JOIN content ON number = content
             WHERE lane = ?1 ORDER BY seq",
        )?;
        let mut rows = statement.query([lane])?;
        let (mut expected, mut waiting) = (1_i64, 0_i64);
        while let Some(row) = rows.next()? {
            let (seq, bytes, unacked): (i64, Vec<u8>, bool) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            if seq != expected {
                bail!("{lane} {expected} is not in the outbox");
            }
            expected += 1;
            let hash: Option<Vec<u8>> = county
                .query_row(
                    "SELECT hash FROM envelope WHERE outbox = ?1 AND lane = ?2 AND seq = ?3",
                    params![id, lane, seq],
                    |row| row.get(0),
                )
                .optional()?;
            match hash {
                None if unacked => {
                    waiting += 1;
                    continue;
                }
                None => bail!("{lane} {seq} is lost"),
                Some(hash) if hash != digest(&SHA256, &bytes).as_ref() => {
                    bail!("{lane} {seq} is altered")
                }
                Some(_) => {}
            }
            proof.envelopes += 1;
            proof.records += u64::try_from(Envelope::decode(&bytes)?.envelope.records.len())?;
        }
        if expected != next {
            bail!("{lane}: {expected} to {next} were committed and are gone");
        }
        let received: String = county.query_row(
            "SELECT received FROM ledger WHERE outbox = ?1 AND lane = ?2",
            [&id, lane],
            |row| row.get(0),
        )?;
        if received != format!("1-{}", next - 1 - waiting) {
            bail!(
                "{lane}: the ledger says {received}, {} were committed, {waiting} wait",
                next - 1
            );
        }
        proof.waiting += u64::try_from(waiting)?;
    }
    let stored: i64 = county.query_row("SELECT count(*) FROM envelope", [], |row| row.get(0))?;
    let aside: i64 = county.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))?;
    if u64::try_from(stored)? != proof.envelopes || aside != 0 {
        bail!(
            "the county has {stored} envelopes and {aside} aside, {} were committed",
            proof.envelopes
        );
    }
    Ok(proof)
}

fn read_only(path: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("opening {}", path.display()))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
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
