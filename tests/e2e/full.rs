//! Story: the county's disk fills, on a small file system of its own, and is emptied again.
//!
//! The gateway runs in a mount namespace (`unshare` of util-linux) in which its data folder is a
//! tmpfs; from outside it is reached through `/proc`.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, inside::bring_out, until};
use simulators::{county::BrokerPlace, demo::cast, process::Program};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use virtual_devices::{EcgSource, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(60);
/// Counts envelopes that were not taken in.
const REFUSED: &str = "gateway_envelopes_refused_total ";
const SIZE_MIB: usize = 128;
const FREE_MIN_MIB: usize = 16;

/// The program, whose gateway daemon finds its data folder on a small disk.
fn program_with_small_disk(folder: &Path) -> anyhow::Result<PathBuf> {
    let script = folder.join("parts");
    let text = format!(
        "#!/bin/sh\n\
         if [ \"$1 $2\" != '__clinic-gateway run' ]; then exec '{PROGRAM}' \"$@\"; fi\n\
         data=$(dirname \"$4\")/data\n\
         own=-rm; [ \"$(id -u)\" != 0 ] || own=-m\n\
         exec unshare $own sh -ec 'data=$1; shift; cp -a \"$data\" \"$data.before\"\n\
           mount -t tmpfs -o size={SIZE_MIB}m none \"$data\"; cp -a \"$data.before/.\" \"$data\"\n\
           exec \"$@\"' sh \"$data\" '{PROGRAM}' \"$@\"\n"
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// What the gateway answers to a path, whatever its status.
async fn answer(village: &Village, path: &str) -> anyhow::Result<(u16, String)> {
    // An error means that somebody was first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.get(format!("{}{path}", village.county.url()));
    let answer = request.bearer_auth(village.county.token()).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Envelopes of that lane that the county has.
async fn envelopes(village: &Village, lane: &str) -> anyhow::Result<u64> {
    let ledger: serde_json::Value =
        serde_json::from_str(&answer(village, "/api/v1/ledger").await?.1)?;
    let lanes = ledger.get("outboxes").and_then(serde_json::Value::as_array);
    let lanes = lanes.into_iter().flatten();
    let of_lane = lanes.filter(|told| told.get("lane").is_some_and(|name| name == lane));
    let ranges = of_lane.filter_map(|told| told.get("ranges")?.as_array());
    let count = |range: &serde_json::Value| {
        let end = |at: usize| range.get(at).and_then(serde_json::Value::as_u64);
        Some(end(1)? - end(0)? + 1)
    };
    Ok(ranges.flatten().filter_map(count).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_the_board_goes_on_and_what_waits_comes_when_there_is_room()
-> anyhow::Result<()> {
    let scripts = tempfile::tempdir()?;
    let program = Program::at(&program_with_small_disk(scripts.path())?);
    let scenario = Scenario::built_in("clinic-day").context("a scenario is missing")?;
    let devices = cast("heping", 7, &Patient::new(7, scenario, EcgSource::Recording));
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, devices).await?;
    let config = fs::read_to_string(village.county.config())?;
    let floor = format!("\n[disk]\nfree_min_mib = {FREE_MIN_MIB}\n");
    fs::write(village.county.config(), config + &floor)?;
    let performances = village.start().await?;
    let process = village.county.process_id().context("the gateway does not run")?;
    let outside = village.database();
    let inside = |path: &Path| -> anyhow::Result<PathBuf> {
        Ok(Path::new("/proc").join(process.to_string()).join("root").join(path.strip_prefix("/")?))
    };
    let county = inside(&outside)?;
    until("envelopes flow", LIMIT, async || Ok(envelopes(&village, "trend").await? >= 10)).await?;
    ensure!(answer(&village, "/readyz").await?.0 == 200, "not ready");

    // Somebody fills the disk.
    let ballast = county.with_file_name("ballast");
    fs::write(&ballast, vec![1; (SIZE_MIB - FREE_MIN_MIB / 2) << 20])?;
    until("it says that it is full", LIMIT, async || {
        let (status, text) = answer(&village, "/readyz").await?;
        Ok(status == 503 && text.contains("The disk is full"))
    })
    .await?;
    let stored = envelopes(&village, "trend").await?;
    // Not for longer than it takes: an agent waits ever longer before it sends again.
    until("readings wait at the clinic", LIMIT, async || {
        let (_, metrics) = answer(&village, "/metrics").await?;
        let refused = metrics.lines().find_map(|line| line.strip_prefix(REFUSED));
        Ok(refused.is_some_and(|count| count.trim().parse::<u64>().is_ok_and(|count| count >= 5)))
    })
    .await?;
    ensure!(envelopes(&village, "trend").await? == stored, "trend was taken in");
    let (status, sites) = answer(&village, "/api/v1/sites").await?;
    ensure!(status == 200 && sites.contains("\"state\":\"full\""), "{sites}");
    ensure!(answer(&village, "/api/v1/devices").await?.0 == 200, "the board has no devices");
    ensure!(answer(&village, "/").await?.0 == 200, "there is no board");
    let (_, metrics) = answer(&village, "/metrics").await?;
    ensure!(metrics.contains("gateway_disk_state{state=\"full\"} 1"), "{metrics}");
    // To the last byte: not even what is urgent fits, and the board still answers.
    let last = county.with_file_name("last");
    drop(fs::write(&last, vec![1; FREE_MIN_MIB << 20]));
    until("nothing is left", LIMIT, async || {
        Ok(answer(&village, "/api/v1/sites").await?.1.contains("\"free_mib\":0"))
    })
    .await?;
    ensure!(answer(&village, "/api/v1/devices").await?.0 == 200, "the board has no devices");

    // Somebody makes room.
    fs::remove_file(&last)?;
    fs::remove_file(&ballast)?;
    until("it is ready by itself", LIMIT, async || Ok(answer(&village, "/readyz").await?.0 == 200))
        .await?;
    until("what waited has come", LIMIT, async || {
        Ok(envelopes(&village, "trend").await? > stored + 10)
    })
    .await?;
    for performance in performances {
        performance.unplug().await?;
    }
    // Out of the namespace, before it is gone.
    until("the outbox is drained", LIMIT, async || {
        bring_out(process, &county, &outside)?;
        village.is_drained()
    })
    .await?;
    village.site.stop().await?;
    bring_out(process, &county, &outside)?;
    village.county.stop().await?;
    let proof = village.prove()?;

    let log = fs::read_to_string(village.county.log())?;
    let told = |text: &str| log.matches(text).count();
    ensure!(told("The disk is full") == 1 && told("The disk is good again") == 1, "{log}");
    ensure!(told("could not be stored") == 0, "{log}");
    println!("full with {stored} trend envelopes; at the end {proof:?}");
    Ok(())
}
