//! Story: one clinic with a virtual device of every driver, and all that can goes wrong with their
//! cables.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use e2e::{Village, until};
use simulators::{
    county::BrokerPlace,
    demo::settled,
    site::{DevicePlan, switch_off},
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use virtual_devices::{EcgSource, Fault, FaultPlan, NAMES, Patient, Scenario, SimTime};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const PLAYED: Duration = Duration::from_secs(75);
/// From here on nothing goes wrong any more, so that what asks again gets what is left.
const FAULTY: SimTime = SimTime::from_millis(45_000);
/// About so long from one fault of a device to its next.
const EVERY_MS: u64 = 6_000;

/// One of every driver, polite, on a cable of which the place in the list is the seed.
fn everybody() -> Vec<DevicePlan> {
    let scenario = Scenario::built_in("clinic-day").unwrap();
    let patient = Patient::new(1, scenario, EcgSource::Recording);
    let plan = |(seed, (name, _)): (u64, &(&'static str, &str))| DevicePlan {
        id: format!("heping-{name}-01"),
        name,
        seed: 0,
        patient: patient.clone(),
        faults: Some(FaultPlan { seed, every_ms: EVERY_MS, until: Some(FAULTY) }),
    };
    (1..).zip(NAMES).map(plan).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_cable_hides_only_what_it_hit() -> anyhow::Result<()> {
    let mut village =
        Village::prepare_with(Path::new(PROGRAM), BrokerPlace::Embedded, everybody()).await?;
    let mut performances = village.start().await?;
    let client = village.county.client()?;
    let end = Instant::now() + PLAYED;
    until("everything went wrong", PLAYED * 2, async || Ok(Instant::now() >= end)).await?;
    switch_off(&mut performances).await?;
    let truth = village.site.truth();
    let report = settled(std::slice::from_ref(&truth), &client).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    println!("emitted {}, stored {}", report.emitted, report.stored);
    println!("faulted {}, readings of them stored {}", report.faulted, report.faulted_stored);
    println!("faults {:?}", report.faults);
    assert!(report.is_clean(), "{report:#?}");
    for fault in Fault::ALL {
        assert!(report.faults.contains_key(fault.name()), "{fault:?}: {:?}", report.faults);
    }
    assert!(report.faulted_stored > 0, "what a fault hit comes through now and then");
    let spared = report.emitted - report.faulted;
    assert!(spared * 3 >= report.emitted, "of {} only {spared} must arrive", report.emitted);
    let [said, spared] = while_faulty(&truth)?;
    println!("while faults happened: {said} said, {spared} not hit");
    assert!(spared * 8 >= said, "of {said} only {spared} must arrive");
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    // Whatever the cables did: between agent and county nothing differs.
    let proof = village.prove()?;
    assert!(proof.readings > 0 && proof.blocks > 0, "{proof:?}");
    Ok(())
}

/// What was said while faults happened, and how much of it no fault had hit.
fn while_faulty(truth: &Path) -> anyhow::Result<[usize; 2]> {
    let text = fs::read_to_string(truth)?;
    let facts = text.lines().map(serde_json::from_str::<serde_json::Value>);
    let facts = facts.collect::<Result<Vec<_>, _>>()?;
    let time = |fact: &serde_json::Value| fact["t"].as_str().unwrap_or_default().to_owned();
    let faults = facts.iter().filter(|fact| fact.get("fault").is_some());
    let last = faults.map(time).max().unwrap_or_default();
    let said = facts.iter().filter(|fact| fact.get("metric").is_some() && time(fact) <= last);
    let spared = said.clone().filter(|fact| fact.get("faulted").is_none());
    Ok([said.count(), spared.count()])
}
