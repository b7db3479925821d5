//! Story: a box that begins with 1970 and has no network; the clock of another that is days ahead; a
//! county whose clock is set.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, envelopes_in, faketime, read_only, until};
use simulators::{
    county::BrokerPlace,
    demo::settled,
    site::{Performance, stage_clock, switch_off},
    stage::pty::StageTime,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const PATIENCE: Duration = Duration::from_secs(60);
/// A year and a day are far from any clock that is right.
const FAR_S: i64 = 366 * 86_400;
/// What a message may take from box to county, on a machine that does other things too.
const APART_MS: u64 = 10_000;

/// A clock as libfaketime makes it: what stands in a file is added to the real one.
struct FakeClock(PathBuf);

impl FakeClock {
    /// Gives the clinic's agent a clock of its own, `seconds` ahead.
    fn of(village: &mut Village, seconds: i64) -> anyhow::Result<Self> {
        let clock = Self(village.folder().join("clock"));
        clock.set(seconds)?;
        village.site.set_program(faketime::program(Path::new(PROGRAM), &clock.0)?);
        Ok(clock)
    }

    /// Somebody sets the clock: it is `seconds` ahead from within a second on.
    fn set(&self, seconds: i64) -> anyhow::Result<()> {
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{seconds:+}s\n"))?;
        fs::rename(new, &self.0).context("setting the clock")
    }
}

/// Now, in milliseconds since 1970.
fn now_ms() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

async fn village() -> anyhow::Result<Village> {
    Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await
}

/// Waits until the agent has written down that many envelopes more.
async fn recorded(village: &Village, more: usize) -> anyhow::Result<()> {
    let outbox = village.site.outbox();
    let count = || envelopes_in(&outbox).map(|envelopes| envelopes.len());
    let before = count().unwrap_or_default();
    until("the box records", PATIENCE, async || Ok(count()? >= before + more)).await
}

/// What the county's database says to a question that has one number as its answer.
fn number(village: &Village, question: &str) -> anyhow::Result<i64> {
    let answer = read_only(&village.database())?.query_row(question, [], |row| row.get(0));
    answer.with_context(|| question.to_owned())
}

/// When everything was by the county, and by the box.
fn times(village: &Village) -> anyhow::Result<Vec<(i64, i64)>> {
    let county = read_only(&village.database())?;
    let mut statement = county.prepare(
        "SELECT observed_ms, coalesce(box_ms, observed_ms) FROM reading_group
         UNION ALL SELECT start_ms, coalesce(box_ms, start_ms) FROM waveform",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect::<Result<_, _>>().context("reading the county's times")
}

/// Everything has arrived and lies where it was, the clock having been so many seconds ahead at one
/// time or another; how many times the box gave that were not so.
async fn prove(
    mut village: Village,
    mut performances: Vec<Performance>,
    began_ms: i64,
    ahead_s: &[i64],
) -> anyhow::Result<usize> {
    switch_off(&mut performances).await?;
    village.drained().await?;
    village.site.stop().await?;
    for performance in performances {
        performance.unplug().await?;
    }
    // Of the last rows.
    village.site.start()?;
    village.drained().await?;
    village.site.stop().await?;
    // The bytes of every row, and what the box said.
    village.prove()?;
    village.county.stop().await?;
    let times = times(&village)?;
    let mut worst_ms = 0;
    for (was_ms, said_ms) in &times {
        ensure!(*was_ms >= began_ms, "something lies {} ms before the story", began_ms - was_ms);
        let apart = ahead_s.iter().map(|ahead_s| (said_ms - ahead_s * 1000).abs_diff(*was_ms));
        worst_ms = apart.min().unwrap_or(u64::MAX).max(worst_ms);
    }
    let others = times.iter().filter(|(was_ms, said_ms)| was_ms != said_ms).count();
    println!("{} times within {worst_ms} ms, the box gave {others} others", times.len());
    ensure!(worst_ms <= APART_MS, "something lies {worst_ms} ms from when it was");
    Ok(others)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_box_in_1970_recorded_without_a_network_is_placed_when_it_was() -> anyhow::Result<()>
{
    let mut village = village().await?;
    let began_ms = now_ms()?;
    let in_1970 = -began_ms / 1000;
    let clock = FakeClock::of(&mut village, in_1970)?;
    let performances = village.site.play(stage_clock(), StageTime::start(1.0))?;
    village.site.start()?;
    recorded(&village, 20).await?;
    village.site.kill().await?;
    village.site.start()?;
    recorded(&village, 20).await?;

    // The network comes, and no certificate is good in 1970.
    village.county.start().await?;
    recorded(&village, 5).await?;
    ensure!(village.stored()? == 0, "the county was reached in 1970");
    clock.set(0)?;
    village.flow(10).await?;
    until("the county hears that the clock was set", PATIENCE, async || {
        let question =
            format!("SELECT count(*) FROM clock_change WHERE at_ms - before_ms > {FAR_S}000");
        Ok(number(&village, &question)? == 1)
    })
    .await?;
    // Old news is nowhere the present, and the present is not in doubt.
    let late = "SELECT count(*) FROM reading_group WHERE freshness IS NULL
                AND received_ms - observed_ms > 600000";
    ensure!(number(&village, late)? == 0, "old readings are called fresh");
    let doubtful = "SELECT count(*) FROM reading_group
                    JOIN outbox_lane ON outbox_lane.id = outbox_lane
                    WHERE time_suspect AND lane = 'trend'";
    ensure!(number(&village, doubtful)? == 0, "readings of the monitor are in doubt");
    let others = prove(village, performances, began_ms, &[0, in_1970]).await?;
    ensure!(others > 100, "the box gave {others} other times");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_while_readings_flow_moves_none_of_them() -> anyhow::Result<()> {
    let mut village = village().await?;
    let began_ms = now_ms()?;
    let clock = FakeClock::of(&mut village, 2 * FAR_S)?;
    village.county.start().await?;
    let mut performances = village.site.play(stage_clock(), StageTime::start(1.0))?;
    village.site.start()?;
    village.flow(20).await?;
    // The county is away while it is set.
    village.county.kill().await?;
    clock.set(0)?;
    recorded(&village, 20).await?;
    village.county.start().await?;
    village.flow(20).await?;
    // And back, and right again, while it listens.
    clock.set(-FAR_S)?;
    village.flow(20).await?;
    clock.set(0)?;
    village.flow(20).await?;
    until("the county hears each time", PATIENCE, async || {
        let question = format!(
            "SELECT count(*) FROM clock_change WHERE abs(at_ms - before_ms) > {FAR_S}000 - 5000"
        );
        Ok(number(&village, &question)? == 3)
    })
    .await?;
    switch_off(&mut performances).await?;
    let report = settled(&[village.site.truth()], &village.county.client()?).await?;
    ensure!(report.is_clean(), "{:?}", report.differences);
    let others = prove(village, performances, began_ms, &[0, 2 * FAR_S, -FAR_S]).await?;
    ensure!(others > 50, "the box gave {others} other times");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_whose_clock_is_set_has_an_entry_of_each_time() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = FakeClock(folder.path().join("clock"));
    clock.set(0)?;
    let county = faketime::program(Path::new(PROGRAM), &clock.0)?;
    let mut village = Village::prepare_on(&county, BrokerPlace::Embedded, Vec::new()).await?;
    village.county.start().await?;
    // An hour on, and back.
    for (times, seconds) in [(1, 3600), (2, 0)] {
        clock.set(seconds)?;
        until("that its clock was set is an entry", PATIENCE, async || {
            let question = "SELECT count(*) FROM audit WHERE body ->> 4 = 'clock_step'";
            Ok(number(&village, question)? == times)
        })
        .await?;
    }
    village.county.stop().await
}
