//! Story: two boxes with one certificate are noticed at both ends and do not fight.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, has_all, read_only, until};
use simulators::{
    county::BrokerPlace,
    demo::cast,
    process::{Program, Role},
    site::{Site, stage_clock},
    stage::pty::StageTime,
};
use std::{
    ffi::OsStr,
    fs,
    path::Path,
    time::{Duration, Instant},
};
use virtual_devices::{EcgSource, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(60);
/// Boxes that fought would come back every second or so for all of this.
const WATCHED: Duration = Duration::from_secs(20);
/// Until both have noticed, and none after that.
const CONNECTIONS_MAX: i64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn two_boxes_with_one_certificate_are_told_at_both_ends_and_lose_nothing()
-> anyhow::Result<()> {
    let program = Program::at(Path::new(PROGRAM));
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let mut performances = village.start().await?;
    village.flow(5).await?;

    // Somebody has copied the files of the first box to another one.
    let patient = Patient::new(
        8,
        Scenario::built_in("clinic-day").context("a scenario")?,
        EcgSource::Recording,
    );
    let (source, dir) = (village.folder().join("heping"), village.folder().join("other"));
    let mut other =
        Site::prepare(&program, &village.county, "heping", &dir, cast("other", 8, &patient))
            .await?;
    for file in ["heping.crt", "heping.key"] {
        fs::copy(source.join(file), dir.join(file)).with_context(|| format!("copying {file}"))?;
    }
    performances.extend(other.play(stage_clock(), StageTime::start(1.0))?);
    let since = Instant::now();
    other.start()?;

    let both = [village.site.config(), other.config()];
    until("both boxes say so", LIMIT, async || {
        for config in &both {
            let told = status(&program, config).await?;
            ensure!(told.contains("another box uses the certificate of this site"), "{told}");
        }
        Ok(true)
    })
    .await?;
    let client = village.county.client()?;
    until("the county says so", LIMIT, async || {
        let alerts = client.alerts("2020-01-01T00:00:00Z").await?;
        Ok(alerts.iter().any(|alert| alert["rules"][0] == "TECH-IDENTITY"))
    })
    .await?;
    let log = fs::read_to_string(village.county.log())?;
    ensure!(log.contains("heard by turns"), "the county's log does not tell it: {log}");
    until("they were watched", WATCHED * 2, async || Ok(since.elapsed() >= WATCHED)).await?;
    let connections = connections(&village.site)? + connections(&other)?;
    ensure!(connections <= CONNECTIONS_MAX, "{connections} connections in {WATCHED:?}");
    // One of the two stands back, and says so; what it reads is kept.
    let waits = |told: &str| told.contains("tried again within");
    until("one of the two stands back", LIMIT, async || {
        let (first, second) =
            (status(&program, &both[0]).await?, status(&program, &both[1]).await?);
        Ok(waits(&first) != waits(&second))
    })
    .await?;

    // Each alone sends all it has.
    for performance in performances {
        performance.unplug().await?;
    }
    village.site.stop().await?;
    other.stop().await?;
    let county = village.database();
    for site in [&mut other, &mut village.site] {
        site.start()?;
        let (outbox, config) = (site.outbox(), site.config());
        until("all of it is at the county", LIMIT, async || {
            let told = status(&program, &config).await?;
            Ok(told.contains("uplink  online") && has_all(&outbox, &county)?)
        })
        .await?;
        site.stop().await?;
    }
    village.county.stop().await?;
    println!("{connections} connections in {WATCHED:?}, told at both ends, nothing lost");
    Ok(())
}

async fn status(program: &Program, config: &Path) -> anyhow::Result<String> {
    let words = [OsStr::new("status"), OsStr::new("--config"), config.as_os_str()];
    program.run(Role::Agent, &words).await
}

/// How often the agent of that site has connected.
fn connections(site: &Site) -> anyhow::Result<i64> {
    let question = "SELECT value FROM meta WHERE key = 'connection'";
    Ok(read_only(&site.outbox())?.query_row(question, [], |row| row.get(0))?)
}
