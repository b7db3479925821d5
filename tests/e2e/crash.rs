//! Stories: agent and county are killed in flow, and nothing that was committed is lost or doubled.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use e2e::Village;
use simulators::county::BrokerPlace;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const AGENT_KILLS: u32 = 20;
const COUNTY_KILLS: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_killed_twenty_times_and_nothing_is_lost_or_doubled() -> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    for kill in 0..AGENT_KILLS {
        // A different number each time: the kill falls into another moment of commit and ack.
        village.flow(3 + u64::from(kill % 7)).await?;
        village.site.kill().await?;
        village.site.start()?;
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
    assert!(proof.readings > 0 && proof.blocks >= 10, "{proof:?}");
    println!("agent killed {AGENT_KILLS} times: {proof:?}, 0 lost, 0 doubled");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_county_is_killed_ten_times_and_nothing_is_lost_or_doubled() -> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    for kill in 0..COUNTY_KILLS {
        village.flow(3 + u64::from(kill % 7)).await?;
        village.county.kill().await?;
        village.county.start().await?;
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
    assert!(proof.readings > 0 && proof.blocks >= 10, "{proof:?}");
    println!("county killed {COUNTY_KILLS} times: {proof:?}, 0 lost, 0 doubled");
    Ok(())
}
