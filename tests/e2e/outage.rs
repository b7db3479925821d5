//! Stories: the broker is away, and afterwards everything is there, once; also when the agent is
//! killed meanwhile. What nobody hears any more the county calls unknown, and says that it is.
//!
//! `AWAY_S=60` lets it be away for longer, `KILL_SEED=17` makes the same dice fall again.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{
    Village,
    dice::{Dice, of_environment, seed},
    faketime,
    mosquitto::Mosquitto,
    read_only,
    speaker::Speaker,
    until,
};
use serde_json::Value;
use simulators::{
    county::{BrokerPlace, free_port},
    demo::settled,
    process::Program,
    site::switch_off,
};
use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// In the ordinary run.
const AWAY_S: u64 = 20;
/// So often the agent is killed while the broker is away.
const KILLS: u64 = 6;
/// A loaded machine; and a county whose clock was set believes it after two words of a box, which
/// come each 30 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the broker is away.
fn away() -> Duration {
    Duration::from_secs(of_environment("AWAY_S").unwrap_or(AWAY_S))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_without_a_broker_loses_nothing() -> anyhow::Result<()> {
    let port = free_port()?;
    let broker = BrokerPlace::Outside(format!("localhost:{port}"));
    let mut village = Village::prepare(Path::new(PROGRAM), broker, "clinic-day").await?;
    let mut mosquitto = Mosquitto::install(&village.county.pki(), port)?;
    mosquitto.start()?;
    let mut performances = village.start().await?;
    let flowed = village.flow(20).await;
    mosquitto.runs()?;
    flowed?;

    mosquitto.kill()?;
    let away_since = Instant::now();
    until(
        "the broker is away long enough",
        away() * 2,
        async || Ok(away_since.elapsed() >= away()),
    )
    .await?;
    let before = village.stored()?;
    mosquitto.start()?;
    until("the backlog arrives", Duration::from_secs(60), async || {
        Ok(village.stored()? > before + 40)
    })
    .await?;

    switch_off(&mut performances).await?;
    let report = settled(&[village.site.truth()], &village.county.client()?).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    assert!(report.is_clean(), "{report:#?}");
    // Some 18 readings and blocks a second: those of the 20 s alone are more than this.
    assert!(report.emitted > 300, "{report:#?}");
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    println!(
        "broker away {} s: {proof:?}, emitted {}, 0 lost, 0 doubled, 0 altered",
        away().as_secs(),
        report.emitted
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_while_the_broker_is_away_loses_nothing() -> anyhow::Result<()> {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let port = free_port()?;
    let broker = BrokerPlace::Outside(format!("localhost:{port}"));
    let mut village = Village::prepare(Path::new(PROGRAM), broker, "clinic-day").await?;
    let mut mosquitto = Mosquitto::install(&village.county.pki(), port)?;
    mosquitto.start()?;
    let performances = village.start().await?;
    village.flow(20).await?;

    mosquitto.kill()?;
    let away_since = Instant::now();
    for kill in 1..=KILLS {
        // Somewhere in its part of the time.
        let part = u64::try_from(away().as_millis())? / (KILLS + 1);
        let at = Duration::from_millis(part * kill + dice.below(part));
        tokio::time::sleep_until((away_since + at).into()).await;
        village.site.kill().await?;
        village.site.start()?;
    }
    let before = village.stored()?;
    mosquitto.start()?;
    let back_since = Instant::now();
    // Its first words are the oldest trend and the newest: then all that waited has to come.
    until("all that waited has come", Duration::from_secs(60), async || {
        Ok(village.stored()? > before && village.is_drained()?)
    })
    .await?;
    let caught_up = back_since.elapsed();
    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove().with_context(|| format!("KILL_SEED={seed}"))?;
    assert!(proof.readings > 0, "{proof:?}");
    println!(
        "KILL_SEED={seed}: broker away {} s, agent killed {KILLS} times meanwhile: {proof:?}, \
         caught up in {:.1} s, 0 lost, 0 doubled, 0 altered",
        away().as_secs(),
        caught_up.as_secs_f64()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_boxes_are_lost_and_what_they_told_is_unknown() -> anyhow::Result<()> {
    let port = free_port()?;
    let broker = BrokerPlace::Outside(format!("localhost:{port}"));
    let clocks = tempfile::tempdir()?;
    let clock = clocks.path().join("clock");
    fs::write(&clock, "+0s\n")?;
    let program = faketime::program(Path::new(PROGRAM), &clock)?;
    let mut village = Village::prepare_on(&program, broker, Vec::new()).await?;
    village.site.set_program(Program::at(Path::new(PROGRAM)));
    let spoken = free_port()?;
    writeln!(
        fs::OpenOptions::new().append(true).open(village.site.config())?,
        "\n[[device]]\nid = \"ward-mon\"\ndriver = \"json-lines\"\n\
         port = \"tcp-listen://127.0.0.1:{spoken}\"\noptions = {{ kind = \"monitor\" }}"
    )?;
    let monitor = Speaker::at(spoken);
    monitor.says("hr", 36, "/min");
    let mut mosquitto = Mosquitto::install(&village.county.pki(), port)?;
    mosquitto.start()?;
    village.county.start().await?;
    village.site.start()?;
    becomes(&village, "hr_low", &["active_unack"]).await?;

    mosquitto.kill()?;
    // An error means that somebody was first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let ready = format!("{}/readyz", village.county.url());
    until("the county knows that the broker is away", PATIENCE, async || {
        Ok(!client.get(&ready).send().await?.status().is_success())
    })
    .await?;
    // A minute and a half in which a box would have been heard, and the minute of the rule.
    set(&clock, 91)?;
    until("the box is given up", PATIENCE, async || Ok(!is_online(&village)?)).await?;
    set(&clock, 152)?;
    becomes(&village, "edge_offline", &["active_unack"]).await?;
    becomes(&village, "hr_low", &["unknown"]).await?;

    mosquitto.start()?;
    becomes(&village, "edge_offline", &["closed", "cleared_unack"]).await?;
    let low = becomes(&village, "hr_low", &["active_unack"]).await?;
    let raised = |alert: &Value| {
        let story = alert["timeline"].as_array().into_iter().flatten();
        story.filter(|entry| entry["what"] == "raised" || entry["what"] == "recurred").count()
    };
    let box_away = alert(&village, "edge_offline").await?;
    ensure!(raised(&low) == 1 && raised(&box_away) == 1, "{low}\n{box_away}");
    village.site.stop().await?;
    village.county.stop().await
}

/// A file that libfaketime reads, with so many seconds that are added to the real time.
fn set(clock: &Path, seconds: u32) -> anyhow::Result<()> {
    let new = clock.with_extension("new");
    fs::write(&new, format!("+{seconds}s\n"))?;
    fs::rename(new, clock).context("setting the clock")
}

fn is_online(village: &Village) -> anyhow::Result<bool> {
    let question = "SELECT online FROM site WHERE site = 'heping'";
    Ok(read_only(&village.database())?.query_row(question, [], |row| row.get(0))?)
}

/// The only alert of a family.
async fn alert(village: &Village, family: &str) -> anyhow::Result<Value> {
    let all = village.county.client()?.alerts("2020-01-01T00:00:00Z").await?;
    let is_of = |alert: &&Value| alert.get("family").is_some_and(|of| of == family);
    let mut of = all.iter().filter(is_of);
    let (first, others) = (of.next(), of.count());
    ensure!(others == 0, "{} alerts of {family}", others + 1);
    first.cloned().with_context(|| format!("no alert of {family}"))
}

/// Waits until the only alert of a family is in one of these states.
async fn becomes(village: &Village, family: &str, states: &[&str]) -> anyhow::Result<Value> {
    let is_there = async || {
        let alert = alert(village, family).await?;
        let state = alert.get("state").and_then(Value::as_str).unwrap_or_default();
        Ok(states.contains(&state))
    };
    until(&format!("{family} is {states:?}"), PATIENCE, is_there).await?;
    alert(village, family).await
}
