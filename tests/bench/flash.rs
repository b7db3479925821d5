//! What a clinic's readings write to the box's disk, once the outbox is full and each commit deletes
//! what it adds; and SQLite alone with the same envelopes.
//!
//! Counted at the block device: an ext4 of its own in a file, on a loop device. Needs root.

use super::{
    all_devices, figure, others,
    source::{Devices, Pace, speak},
    village,
};
use anyhow::{Context as _, bail, ensure};
use e2e::{Village, read_only, until};
use rusqlite::{Connection, params};
use serde_json::json;
use simulators::{
    site::{DevicePlan, switch_off},
    usage::{Usage, rounded},
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Small, so that it is full within minutes. The shipped 2 GiB delete as
/// much as they add too, after weeks.
const OUTBOX_LEN: u64 = 16 << 20;
/// It is full: waves and trend leave a sixteenth to urgent records.
const FULL: u64 = OUTBOX_LEN / 16 * 15;
const DISK_LEN: u64 = 1 << 30;
const FILLERS: usize = 4;
/// Lines of each filler, before it is looked how full the outbox is.
const LINES: u64 = 5000;
const FILL_LIMIT: Duration = Duration::from_secs(900);
const SETTLE: Duration = Duration::from_secs(20);
/// The reference keeps so many rows.
const KEPT: i64 = 5000;

pub(crate) async fn flash(run_for: Duration) -> anyhow::Result<()> {
    for (name, devices) in [("20 devices", all_devices()?), ("16 without monitors", others()?)] {
        one(name, devices, run_for).await?;
    }
    Ok(())
}

async fn one(name: &str, devices: Vec<DevicePlan>, run_for: Duration) -> anyhow::Result<()> {
    let mut village = village(devices).await?;
    let fillers = Devices::prepare(&village, FILLERS).await?;
    let mut config = fs::OpenOptions::new().append(true).open(village.site.config())?;
    write!(config, "\n[outbox]\nmax_bytes = {OUTBOX_LEN}\n")?;
    let disk = Disk::mount(&village.site.data(), &village.folder().join("disk.img"))?;
    let mut performances = village.start().await?;
    fill(&village, &fillers).await?;
    sleep(SETTLE).await;

    let client = village.county.client()?;
    let agent = village.site.process_id().context("the agent has ended")?;
    let places = places(&village.site.outbox())?;
    let (readings, written, usage) =
        (client.readings_stored().await?, disk.written()?, Usage::of(agent)?);
    let began = Instant::now();
    sleep(run_for).await;
    let over_s = began.elapsed().as_secs_f64();
    let (written, after) = (disk.written()? - written, Usage::of(agent)?);
    let readings = client.readings_stored().await? - readings;
    ensure!(readings > 0, "nothing was said");
    let envelopes = envelopes(&village.site.outbox(), places)?;

    switch_off(&mut performances).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    until("the county has it all", FILL_LIMIT, async || village.is_drained()).await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let count = f64::from(u32::try_from(readings)?);
    let per_reading = |bytes: f64| rounded(bytes / count, 0);
    let alone = sqlite_alone(&disk, &envelopes)?;
    let payload: usize = envelopes.iter().map(Vec::len).sum();
    figure(
        "flash",
        &json!({
            "of": name,
            "over_s": rounded(over_s, 0),
            "commit_ms": 250,
            "page_bytes": page_size(&village.site.outbox())?,
            "readings": readings,
            "readings_per_s": rounded(count / over_s, 1),
            "envelopes": envelopes.len(),
            "envelope_bytes_per_reading": per_reading(f64::from(u32::try_from(payload)?)),
            "disk_bytes_per_reading": per_reading(written),
            "write_bytes_per_reading": per_reading(after.written - usage.written),
            "wchar_per_reading": per_reading(after.handed_to_write - usage.handed_to_write),
            "sqlite_alone_disk_bytes_per_reading": per_reading(alone),
            "counter": "sectors written of an ext4 on a loop device; write_bytes and wchar of /proc",
        }),
    )
}

/// Until the outbox is as large as it may be.
async fn fill(village: &Village, fillers: &Devices) -> anyhow::Result<()> {
    let mut links = fillers.plug_in().await?;
    let pace = Pace { lines: LINES, every: None, spot_every: None, numbered: false };
    let end = Instant::now() + FILL_LIMIT;
    loop {
        speak(&mut links, pace).await?;
        until("the county has it all", FILL_LIMIT, async || village.is_drained()).await?;
        let len = fs::metadata(village.site.outbox())?.len();
        if len >= FULL {
            // Once more round, so that what is deleted first is not of the first minute.
            return speak(&mut links, pace).await.map(drop);
        }
        ensure!(Instant::now() < end, "the outbox has {len} bytes and is not full");
    }
}

/// The highest place of each lane.
fn places(outbox: &Path) -> anyhow::Result<[i64; 3]> {
    let question = "SELECT (SELECT coalesce(max(place), 0) FROM urgent),
      (SELECT coalesce(max(place), 0) FROM trend), (SELECT coalesce(max(place), 0) FROM wave)";
    let row = read_only(outbox)?
        .query_row(question, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]));
    row.context("the lanes of the outbox")
}

/// Envelopes above these places, in the order of their lanes.
fn envelopes(outbox: &Path, [urgent, trend, wave]: [i64; 3]) -> anyhow::Result<Vec<Vec<u8>>> {
    let connection = read_only(outbox)?;
    let mut statement = connection.prepare(
        "SELECT opened_at, bytes FROM urgent WHERE place > ?1
         UNION ALL SELECT opened_at, bytes FROM trend WHERE place > ?2
         UNION ALL SELECT opened_at, bytes FROM wave WHERE place > ?3 ORDER BY 1",
    )?;
    let rows = statement.query_map([urgent, trend, wave], |row| row.get(1))?;
    rows.collect::<Result<_, _>>().context("reading the outbox")
}

fn page_size(outbox: &Path) -> anyhow::Result<i64> {
    read_only(outbox)?
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .context("the outbox's page size")
}

/// What the same envelopes write when each is a row of a table that keeps the newest, one commit
/// each, synced: SQLite with its own page size.
fn sqlite_alone(disk: &Disk, envelopes: &[Vec<u8>]) -> anyhow::Result<f64> {
    let mut connection = Connection::open(disk.at.join("alone.sqlite"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE row (place INTEGER PRIMARY KEY, bytes BLOB NOT NULL);",
    )?;
    let filling = connection.transaction()?;
    for place in 1..=KEPT {
        let bytes = envelopes.get(usize::try_from(place)? % envelopes.len());
        filling.execute("INSERT INTO row VALUES (?1, ?2)", params![place, bytes])?;
    }
    filling.commit()?;
    let before = disk.written()?;
    for (bytes, place) in envelopes.iter().zip(KEPT + 1..) {
        let transaction = connection.transaction()?;
        transaction
            .prepare_cached("INSERT INTO row VALUES (?1, ?2)")?
            .execute(params![place, bytes])?;
        transaction.prepare_cached("DELETE FROM row WHERE place <= ?1")?.execute([place - KEPT])?;
        transaction.commit()?;
    }
    Ok(disk.written()? - before)
}

/// An ext4 of its own.
struct Disk {
    at: PathBuf,
    device: String,
}

impl Disk {
    fn mount(at: &Path, image: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        fs::File::create(image)?.set_len(DISK_LEN)?;
        command("mkfs.ext4", &["-q", "-F", text(image)?])?;
        let device = command("losetup", &["--find", "--show", text(image)?])?.trim().to_owned();
        let disk = Self { at: at.to_owned(), device };
        command("mount", &[&disk.device, text(at)?])?;
        Ok(disk)
    }

    /// Bytes that were written to it.
    fn written(&self) -> anyhow::Result<f64> {
        /// "Write sectors", of 512 bytes whatever the device (kernel, block/stat.rst).
        const FIELD: usize = 6;
        let name = Path::new(&self.device).file_name().context("a loop device")?;
        let stat = fs::read_to_string(Path::new("/sys/block").join(name).join("stat"))?;
        let sectors = stat.split_whitespace().nth(FIELD).context("the device's counters")?;
        Ok(512.0 * sectors.parse::<f64>().context("sectors written")?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that was not stopped in order may still be there.
        drop(command("umount", &["--lazy", &self.at.to_string_lossy()]));
        drop(command("losetup", &["--detach", &self.device]));
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no text")
}

fn command(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}; this bench needs root, for a loop device", said.trim());
    }
    String::from_utf8(output.stdout).context("no text")
}
