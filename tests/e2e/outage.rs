//! Stories: the broker is away, and afterwards everything is there, once; also when the agent is
//! killed meanwhile.
//!
//! `AWAY_S=60` lets it be away for longer, `KILL_SEED=17` makes the same dice fall again.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::Context as _;
use e2e::{
    Village,
    dice::{Dice, of_environment, seed},
    mosquitto::Mosquitto,
    until,
};
use simulators::{
    county::{BrokerPlace, free_port},
    demo::settled,
    site::switch_off,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// In the ordinary run.
const AWAY_S: u64 = 20;
/// So often the agent is killed while the broker is away.
const KILLS: u64 = 6;

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
