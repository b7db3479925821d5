//! Story: cuffs and meters come by again and again while links are lost at every step, bluetoothd
//! restarts, the adapter goes, and the agent is killed in the middle of transfers.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use e2e::cycles::{CyclePlan, begin_again, play};
use std::path::Path;
use virtual_devices::gatt::faults::AirFault;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const PLAN: CyclePlan =
    CyclePlan { cycles: 60, fault_once_in: 1, kill_once_in: 6, devices: [3, 4], seed: 5 };

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_but_what_was_confirmed_just_before_a_kill() -> anyhow::Result<()> {
    let account = play(Path::new(PROGRAM), PLAN).await?;
    println!("{:#}", account.shown());
    assert!(account.lost.is_empty(), "{:#?}", account.lost);
    assert!(account.doubled.is_empty(), "{:#?}", account.doubled);
    assert!(account.altered.is_empty(), "{:#?}", account.altered);
    // What is explained grows with the slowest commit; half of them are far faster.
    assert!(account.to_commit.count > 0 && account.to_commit.p50 < 100.0, "{:#}", account.shown());
    // Where kills are aimed at values, some values are hit.
    assert!(account.unexplained().is_empty(), "{:#?}", account.unexplained());
    assert!(account.stored > 0 && account.kills > 0, "{:#}", account.shown());
    for fault in AirFault::ALL {
        assert!(account.faults.contains_key(fault.name()), "{fault:?}: {:?}", account.faults);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_begins_again_hears_a_cuff_that_does_not_wait_to_be_asked()
-> anyhow::Result<()> {
    let account = begin_again(Path::new(PROGRAM)).await?;
    assert!(account.confirmed > 0 && account.stored > 0, "{:#}", account.shown());
    assert!(account.lost.is_empty(), "{:#?}", account.lost);
    Ok(())
}
