//! Story: agent, broker and county are killed at random instants in flow, several villages side by
//! side, and nothing that was committed is lost, doubled or altered.
//!
//! `KILL_SEED=17` makes the same dice fall again, `KILLS=3000` kills so often in all.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{
    Proof, Village,
    dice::{Dice, of_environment, seed},
    mosquitto::Mosquitto,
};
use simulators::county::{BrokerPlace, free_port};
use std::{path::Path, time::Duration};
use tokio::{task::JoinSet, time::timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// In the ordinary run.
const KILLS: u64 = 300;
/// The kill falls anywhere in this time after what was waited for: a commit, its way to the county
/// and the ack take about half of it.
const INSTANTS_MS: u64 = 600;
/// A part that has just been started is hit anywhere in this time.
const STARTING_MS: u64 = 400;

/// What is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Agent,
    Broker,
    County,
}

/// One village and what becomes of it.
#[derive(Clone, Copy, Debug)]
struct Front {
    name: &'static str,
    /// mosquitto, instead of the broker inside the gateway.
    has_mosquitto: bool,
    hit: &'static [Part],
    /// Of 300.
    share: u64,
}

/// Where the broker goes as well, a box waits ever longer after two minutes: those kills are shared
/// by two villages.
const FRONTS: [Front; 8] = [
    Front { name: "agent", has_mosquitto: false, hit: &[Part::Agent], share: 45 },
    Front { name: "agent, mosquitto", has_mosquitto: true, hit: &[Part::Agent], share: 45 },
    Front { name: "county and broker", has_mosquitto: false, hit: &[Part::County], share: 30 },
    Front { name: "county and broker", has_mosquitto: false, hit: &[Part::County], share: 30 },
    Front { name: "county, mosquitto", has_mosquitto: true, hit: &[Part::County], share: 45 },
    Front { name: "mosquitto", has_mosquitto: true, hit: &[Part::Broker], share: 30 },
    Front { name: "mosquitto", has_mosquitto: true, hit: &[Part::Broker], share: 30 },
    Front {
        name: "any of three",
        has_mosquitto: true,
        hit: &[Part::Agent, Part::Broker, Part::County],
        share: 45,
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_kills_lose_double_and_alter_nothing() -> anyhow::Result<()> {
    let seed = seed();
    let kills = of_environment("KILLS").unwrap_or(KILLS);
    println!("KILL_SEED={seed}");
    let mut villages = JoinSet::new();
    for (number, front) in (0..).zip(FRONTS) {
        let kills = (front.share * kills).div_ceil(KILLS);
        villages.spawn(async move {
            let proof = fight(front, kills, Dice::new(seed ^ (number << 32))).await;
            (front, kills, proof)
        });
    }
    let mut failed = Vec::new();
    while let Some(ended) = villages.join_next().await {
        let (front, kills, proof) = ended?;
        match proof {
            Ok(proof) => {
                println!("{}: {kills} kills, {proof:?}, 0 lost, 0 doubled, 0 altered", front.name)
            }
            Err(error) => failed.push(format!("{}: {error:#}", front.name)),
        }
    }
    assert!(failed.is_empty(), "KILL_SEED={seed}: {failed:#?}");
    Ok(())
}

/// One village, killed so many times.
async fn fight(front: Front, kills: u64, mut dice: Dice) -> anyhow::Result<Proof> {
    let port = free_port()?;
    let broker = match front.has_mosquitto {
        true => BrokerPlace::Outside(format!("localhost:{port}")),
        false => BrokerPlace::Embedded,
    };
    let mut village = Village::prepare(Path::new(PROGRAM), broker, "clinic-day").await?;
    let mut mosquitto = match front.has_mosquitto {
        true => Some(Mosquitto::install(&village.county.pki(), port)?),
        false => None,
    };
    if let Some(mosquitto) = &mut mosquitto {
        mosquitto.start()?;
    }
    let performances = village.start().await?;
    for kill in 1..=kills {
        let which = dice.below(u64::try_from(front.hit.len())?);
        let part = front.hit.get(usize::try_from(which)?).copied().context("nothing to kill")?;
        // One in four hits what has hardly begun again.
        if dice.below(4) > 0 {
            village.flow(1 + dice.below(4)).await.with_context(|| format!("before kill {kill}"))?;
        }
        // The instant itself: nothing is waited for.
        tokio::time::sleep(Duration::from_millis(dice.below(INSTANTS_MS))).await;
        match part {
            Part::Agent => {
                village.site.kill().await?;
                village.site.start()?;
            }
            Part::Broker => {
                let mosquitto = mosquitto.as_mut().context("there is no mosquitto")?;
                mosquitto.kill()?;
                mosquitto.start()?;
            }
            Part::County => restart_county(&mut village, &mut dice).await?,
        }
    }
    village.flow(10).await?;
    // Kills come too fast for a whole second of samples: at the end some must be among what is proven.
    village.waves(10).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    ensure!(proof.readings > 0 && proof.blocks >= 10, "{proof:?}");
    Ok(proof)
}

/// Kills the county; once in four times again before it is ready.
async fn restart_county(village: &mut Village, dice: &mut Dice) -> anyhow::Result<()> {
    village.county.kill().await?;
    if dice.below(4) == 0 {
        let moment = Duration::from_millis(dice.below(STARTING_MS));
        if let Ok(started) = timeout(moment, village.county.start()).await {
            started?;
        }
        village.county.kill().await?;
    }
    village.county.start().await
}
