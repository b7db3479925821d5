//! Story: one clinic with a virtual device of every driver, all at once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing"
)]
#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use e2e::{Village, until};
use simulators::{
    county::BrokerPlace,
    demo::settled,
    site::{DevicePlan, switch_off},
    verify::Report,
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};
use virtual_devices::{EcgSource, NAMES, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// Past the monitor's cuff at 70 s.
const PLAYED: Duration = Duration::from_secs(75);

/// One of every driver at one bed, with a seed that is polite everywhere.
fn everybody() -> Vec<DevicePlan> {
    let scenario = Scenario::built_in("clinic-day").unwrap();
    let patient = Patient::new(1, scenario, EcgSource::Recording);
    let plan = |(name, _): &(&'static str, &str)| DevicePlan {
        id: format!("heping-{name}-01"),
        name,
        seed: 0,
        patient: patient.clone(),
        faults: None,
    };
    NAMES.iter().map(plan).collect()
}

/// Truth lines by device: readings and blocks, and alarms.
fn said(truth: &Path) -> BTreeMap<String, [usize; 2]> {
    let mut said = BTreeMap::new();
    for line in fs::read_to_string(truth).unwrap().lines() {
        let fact: serde_json::Value = serde_json::from_str(line).unwrap();
        let device = fact["device"].as_str().unwrap().to_owned();
        let [values, alarms] = said.entry(device).or_insert([0, 0]);
        *values += usize::from(fact.get("metric").is_some());
        *alarms += usize::from(fact.get("alarm").is_some());
    }
    said
}

/// What differs, a line for each device.
fn differences(report: &Report) -> String {
    let Report { gaps, dropped, quarantined, forbidden, .. } = report;
    let mut text = format!(
        "{gaps} envelopes missing, {dropped} given up, {quarantined} kept aside, forbidden: \
         {forbidden:?}"
    );
    for (device, of) in &report.devices {
        let (lost, doubled, altered) = (of.lost, of.doubled, of.altered);
        text += &format!("\n{device}: lost {lost}, doubled {doubled}, altered {altered}; ");
        text += &of.first;
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_of_every_driver_arrives_whole() -> anyhow::Result<()> {
    let devices = everybody();
    let mut village =
        Village::prepare_with(Path::new(PROGRAM), BrokerPlace::Embedded, devices.clone()).await?;
    let mut performances = village.start().await?;
    let client = village.county.client()?;
    let end = Instant::now() + PLAYED;
    until("the clinic-day is played", PLAYED * 2, async || Ok(Instant::now() >= end)).await?;
    switch_off(&mut performances).await?;
    let truth = village.site.truth();
    let report = settled(std::slice::from_ref(&truth), &client).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    let said = said(&truth);
    for (device, [values, alarms]) in &said {
        println!("{device}: {values} readings and blocks, {alarms} begins and ends of alarms");
    }
    println!("emitted {}, stored {}", report.emitted, report.stored);
    assert!(report.is_clean(), "{}", differences(&report));
    for device in devices {
        // A pump or meter has its serial number behind the name of its port.
        let its_own =
            |(id, [values, _]): (&String, &[usize; 2])| id.starts_with(&device.id) && *values > 0;
        assert!(said.iter().any(its_own), "{} said nothing", device.id);
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    // The pump's occlusion at 50 s, and the cuff of the monitor at 70 s, were among it.
    assert!(village.prove_alarms()? >= 1, "no alarm arrived");
    let proof = village.prove()?;
    assert!(proof.alarms >= 1 && proof.blocks > 0, "{proof:?}");
    let told = fs::read_to_string(&truth)?;
    let cuff = |line: &&str| line.contains("pm6750") && line.contains("\"nibp_sys\"");
    assert!(told.lines().any(|line| cuff(&line)), "the monitor's cuff was not played");
    Ok(())
}
