//! Stories: a clinic's disk is full, and files of both databases are cut.
//!
//! The agent runs in a mount namespace (`unshare` of util-linux) in which its data folder is a
//! tmpfs; from outside it is reached through `/proc`.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{
    Village, Witness,
    dice::{Dice, seed},
    inside::{bring_out, while_it_stands_still},
    until,
};
use simulators::{
    county::BrokerPlace, demo::cast, process::Program, site::stage_clock, stage::pty::StageTime,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use virtual_devices::{EcgSource, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(60);
/// The agent's disk.
const SIZE_MIB: usize = 64;
/// The county's log is cut so often.
const CUTS: u32 = 5;
/// SQLite and the file system write in steps of this.
const STEP: u64 = 512;

/// The program, whose agent finds its data folder on a small disk.
fn program_with_small_disk(folder: &Path) -> anyhow::Result<PathBuf> {
    let script = folder.join("parts");
    let text = format!(
        "#!/bin/sh\n\
         if [ \"$1 $2\" != '__clinic-agent run' ]; then exec '{PROGRAM}' \"$@\"; fi\n\
         data=$(dirname \"$4\")/data\n\
         own=-rm; [ \"$(id -u)\" != 0 ] || own=-m\n\
         exec unshare $own sh -ec 'data=$1; shift; mkdir -p \"$data\"\n\
           mount -t tmpfs -o size={SIZE_MIB}m none \"$data\"\n\
           exec \"$@\"' sh \"$data\" '{PROGRAM}' \"$@\"\n"
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// Bytes that can still be written beside that file.
fn free(file: &Path) -> anyhow::Result<u64> {
    let found = rustix::fs::statvfs(file.parent().context("it is in no folder")?)?;
    Ok(found.f_bavail * found.f_frsize)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_an_agent_goes_on_and_what_is_missing_is_told() -> anyhow::Result<()> {
    let scripts = tempfile::tempdir()?;
    let program = Program::at(&program_with_small_disk(scripts.path())?);
    let scenario = Scenario::built_in("clinic-day").context("a scenario is missing")?;
    let devices = cast("heping", 7, &Patient::new(7, scenario, EcgSource::Recording));
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, devices).await?;
    let performances = village.start().await?;
    let process = village.site.process_id().context("the agent does not run")?;
    let outside = village.site.outbox();
    let outbox =
        Path::new("/proc").join(process.to_string()).join("root").join(outside.strip_prefix("/")?);
    village.flow(20).await?;
    ensure!(!outside.exists(), "the outbox is not on the small disk");
    let witness = Witness::default();
    let look = || {
        bring_out(process, &outbox, &outside)?;
        witness.read_copy(&outside)
    };
    look()?;

    // Somebody fills the disk to the last byte; what was committed before that is written down.
    let ballast = outbox.with_file_name("ballast");
    while_it_stands_still(process, || {
        let written = fs::write(&ballast, vec![1; SIZE_MIB << 20]);
        written.err().context("there was room for all of it").map(drop)
    })?;
    look()?;
    ensure!(free(&outbox)? == 0, "{} bytes are free", free(&outbox)?);
    until("it says that it cannot write", LIMIT, async || {
        let log = fs::read_to_string(village.site.log())?;
        Ok(log.contains("check the disk") || log.contains("make room on the disk"))
    })
    .await?;
    // It is alive, and its devices are read: what they say waits in memory.
    let since = Instant::now();
    until("the disk was full for a while", LIMIT, async || {
        look()?;
        Ok(since.elapsed() >= Duration::from_secs(10))
    })
    .await?;

    // Somebody makes room.
    fs::remove_file(&ballast)?;
    village.flow(20).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    until("what waited has come", LIMIT, async || {
        look()?;
        witness.is_settled(&village.database())
    })
    .await?;
    // Its disk is gone with it: nothing may be said after the last look.
    look()?;
    village.site.kill().await?;
    village.county.stop().await?;
    let found = witness.prove(&village.database())?;
    ensure!(found.proof.readings > 0 && found.outboxes == 1, "{found:?}");
    let [urgent, ..] = found.dropped;
    ensure!(urgent == 0, "{found:?}");
    println!("the agent's disk full for 10 s: {found:?}, 0 lost, 0 doubled, 0 altered");
    Ok(())
}

/// Cuts a file at one of its steps, chosen by the dice; where.
fn cut(file: &Path, dice: &mut Dice) -> anyhow::Result<u64> {
    let len = fs::metadata(file)?.len();
    let at = STEP * (1 + dice.below(len / STEP - 1));
    fs::OpenOptions::new().write(true).open(file)?.set_len(at)?;
    Ok(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_outbox_was_cut_goes_on_with_another_one() -> anyhow::Result<()> {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let mut witness = Witness::start(village.site.outbox())?;
    let performances = village.start().await?;
    village.flow(20).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    until("all has come", LIMIT, async || witness.is_settled(&village.database())).await?;
    village.site.stop().await?;
    // Its log goes into it as it does when nobody else looks: the file is all there is.
    let outbox = rusqlite::Connection::open(village.site.outbox())?;
    outbox.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(outbox);
    let at = cut(&village.site.outbox(), &mut dice)?;
    let performances = village.site.play(stage_clock(), StageTime::start(1.0))?;
    village.site.start()?;
    village.flow(20).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    until("all has come again", LIMIT, async || witness.is_settled(&village.database())).await?;
    village.site.stop().await?;
    village.county.stop().await?;
    witness.stop();
    let context = || format!("KILL_SEED={seed}, cut at {at}");
    let found = witness.prove(&village.database()).with_context(context)?;
    ensure!(found.outboxes == 2, "{}: {found:?}", context());
    let kept = fs::read_dir(village.site.data())?.filter_map(Result::ok);
    let mut kept = kept.map(|entry| entry.file_name().to_string_lossy().into_owned());
    ensure!(kept.any(|name| name.contains("damaged")), "{}: it was not kept", context());
    println!("KILL_SEED={seed}: outbox cut at {at} of its bytes: {found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_whose_database_was_cut_refuses_to_start_and_says_how_to_go_on()
-> anyhow::Result<()> {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    village.flow(20).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let copy = village.folder().join("copy.sqlite");
    village.county.command(&["backup", &copy.display().to_string()]).await?;

    let at = cut(&village.database(), &mut dice)?;
    let left = fs::read(village.database())?;
    let refused = village.county.start().await.err().context("it started")?;
    let log = fs::read_to_string(village.county.log())?;
    let told = |text: &str| log.contains(text);
    ensure!(told("is damaged") && told("clinic-gateway restore"), "{refused:#}: {log}");
    ensure!(fs::read(village.database())? == left, "KILL_SEED={seed}, cut at {at}: it was changed");

    let said = village.county.command(&["restore", &copy.display().to_string()]).await?;
    ensure!(said.contains("county.sqlite.before-"), "{said}");
    village.county.start().await?;
    village.site.start()?;
    // That it has started.
    village.flow(1).await?;
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove().with_context(|| format!("KILL_SEED={seed}, cut at {at}"))?;
    println!("KILL_SEED={seed}: county cut at {at} of its bytes and restored: {proof:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_whose_log_was_cut_gets_again_what_it_had_acked() -> anyhow::Result<()> {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    let mut gone = 0;
    for _ in 0..CUTS {
        village.flow(10 + dice.below(20)).await?;
        village.county.kill().await?;
        let before = village.stored()?;
        cut(&village.database().with_extension("sqlite-wal"), &mut dice)?;
        gone += before - village.stored()?;
        village.county.start().await?;
    }
    village.flow(10).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove().with_context(|| format!("KILL_SEED={seed}"))?;
    ensure!(gone > 0 && proof.dropped == 0, "{gone} were gone, {proof:?}");
    println!(
        "KILL_SEED={seed}: log cut {CUTS} times, {gone} envelopes gone and sent again: {proof:?}"
    );
    Ok(())
}
