//! How long an agent takes until it knows its outbox, by the length of the file.

use super::{figure, village};
use anyhow::{Context as _, ensure};
use e2e::{Village, until};
use model::{
    id::{OutboxId, SiteId},
    time::WallTime,
};
use rusqlite::{Connection, params};
use serde_json::json;
use simulators::{
    fleet::Ward,
    process::{Program, Role},
};
use std::{ffi::OsStr, fs, io::Write as _, time::Duration};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);
/// Groups in each envelope: rows of 1.5 KiB or so.
const GROUPS: u64 = 16;
/// Rows of one transaction.
const ROWS: i64 = 50_000;

/// An agent with a new outbox, then with one of so many MiB that nobody acked. Its county is away.
pub(crate) async fn open(mib: u64) -> anyhow::Result<()> {
    let mut village = village(vec![]).await?;
    let mut config = fs::OpenOptions::new().append(true).open(village.site.config())?;
    write!(config, "\n[outbox]\nmax_bytes = {}\n", (mib + 256) << 20)?;
    let empty_ms = answers_after(&mut village).await?;
    let rows = fill(&village, mib << 20)?;
    let file = fs::metadata(village.site.outbox())?.len();
    let full_ms = answers_after(&mut village).await?;
    figure(
        "open",
        &json!({
            "file_mib": file >> 20,
            "unacked_rows": rows,
            "answers_after_ms": u64::try_from(full_ms.as_millis())?,
            "answers_after_ms_with_an_empty_one": u64::try_from(empty_ms.as_millis())?,
            "measured": "from starting the agent to its first answer to `clinic-agent status`",
        }),
    )
}

async fn answers_after(village: &mut Village) -> anyhow::Result<Duration> {
    let program = Program::current()?;
    let config = village.site.config();
    let arguments =
        [OsStr::new("status"), OsStr::new("--json"), OsStr::new("--config"), config.as_os_str()];
    let started = Instant::now();
    village.site.start()?;
    loop {
        if program.run(Role::Agent, &arguments).await.is_ok() {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "no answer in {} s", PATIENCE.as_secs());
    }
    let took = started.elapsed();
    let path = village.site.outbox();
    until("the start is on the disk", PATIENCE, async || Ok(path.exists())).await?;
    village.site.stop().await?;
    Ok(took)
}

/// The same envelope, over and over: nobody reads it here.
fn fill(village: &Village, len: u64) -> anyhow::Result<i64> {
    let site = SiteId::new(village.site.name())?;
    let mut ward = Ward::new(&site, 20, 1, OutboxId::from_bytes([0; 16]))?;
    let at = jiff::Timestamp::now().as_millisecond();
    let moment = WallTime::from_unix_ms(at);
    let envelope = ward.say(GROUPS, moment, moment).pop().context("an envelope")?;
    let path = village.site.outbox();
    let mut outbox = Connection::open(&path)?;
    let mut place = 0;
    while fs::metadata(&path)?.len() < len {
        let transaction = outbox.transaction()?;
        let mut insert = transaction
            .prepare("INSERT INTO trend (place, opened_at, bytes) VALUES (?1, ?2, ?3)")?;
        for _ in 0..ROWS {
            place += 1;
            insert.execute(params![place, at, envelope.bytes])?;
        }
        drop(insert);
        transaction.commit()?;
        outbox.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(place)
}
