//! Story: one Bluetooth device of every kind, behind a stack that behaves as badly as the real one may,
//! and restarts.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use e2e::{Village, until};
use simulators::{
    county::BrokerPlace,
    demo::settled,
    process::Program,
    site::{BluetoothPlan, stage_clock},
    stage::{
        bluez::{Bluez, Manners, PrivateBus, Quirk},
        pty::StageTime,
    },
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use virtual_devices::{EcgSource, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// Past the cuff at 20 s and the glucose test at 35 s.
const PLAYED: Duration = Duration::from_secs(60);
/// bluetoothd restarts then: each has been there, and the meter comes by again.
const RESTARTED: Duration = Duration::from_secs(25);
/// The agent tries for 90 s before it touches the adapter.
const JAMMED: Duration = Duration::from_secs(180);
/// Names of the virtual devices, and the drivers that read them.
const PAIRS: [(&str, &str); 6] = [
    ("ble-cuff", "blood-pressure"),
    ("ble-meter", "glucose"),
    ("ble-oximeter", "pulse-oximeter"),
    ("ble-thermometer", "thermometer"),
    ("ble-scale", "weight-scale"),
    ("ble-strap", "polar-ecg"),
];

fn address(place: usize) -> String {
    format!("C0:26:DA:00:00:{place:02X}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_connects_nobody_is_switched_off_and_on() -> anyhow::Result<()> {
    let bus = PrivateBus::start().await?;
    let program = Program::at(Path::new(PROGRAM)).on_bus(bus.address());
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, vec![]).await?;
    let plan = BluetoothPlan {
        id: "heping-ble-strap-01".to_owned(),
        name: "ble-strap",
        driver: "heart-rate",
        address: address(1),
        seed: 0,
        patient: Patient::new(1, Scenario::built_in("steady").unwrap(), EcgSource::Synthetic),
    };
    village.site.add_bluetooth(std::slice::from_ref(&plan))?;
    let (time, truth) = (StageTime::start(1.0), village.site.truth());
    let on_air = vec![plan.on_air(stage_clock())?];
    let stage = Bluez::start(bus.address(), on_air, Manners::Nasty, time, &truth).await?;
    stage.jam_adapter().await?;
    village.county.start().await?;
    village.site.start()?;
    until("the strap is connected", JAMMED, async || Ok(!stage.connected().await?.is_empty()))
        .await?;
    let log = fs::read_to_string(village.site.log())?;
    assert!(log.contains("it is switched off and on"), "{log}");
    stage.stop().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    bus.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bluetooth_device_arrives_whole() -> anyhow::Result<()> {
    let bus = PrivateBus::start().await?;
    let program = Program::at(Path::new(PROGRAM)).on_bus(bus.address());
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, vec![]).await?;
    let scenario = Scenario::built_in("clinic-day").unwrap();
    let patient = Patient::new(1, scenario, EcgSource::Synthetic);
    let plan = |(place, &(name, driver)): (usize, &(&'static str, &'static str))| BluetoothPlan {
        id: format!("heping-{name}-01"),
        name,
        driver,
        address: address(place),
        seed: 0,
        patient: patient.clone(),
    };
    let plans: Vec<_> = PAIRS.iter().enumerate().map(plan).collect();
    village.site.add_bluetooth(&plans)?;
    let on_air = plans.into_iter().map(|plan| plan.on_air(stage_clock()));
    let on_air = on_air.collect::<Result<_, _>>()?;
    let truth = village.site.truth();
    let time = StageTime::start(1.0);
    let stage = Bluez::start(bus.address(), on_air, Manners::Nasty, time, &truth).await?;
    // The thermometer does not advertise what it is.
    stage.spoil(&address(3), Quirk::HidesServices).await?;
    village.county.start().await?;
    village.site.start()?;
    let end = Instant::now() + PLAYED;
    let restart = end - (PLAYED - RESTARTED);
    until("bluetoothd restarts", PLAYED, async || Ok(Instant::now() >= restart)).await?;
    stage.restart_daemon().await?;
    until("the story is played", PLAYED * 2, async || Ok(Instant::now() >= end)).await?;
    // One that streams, and one that came by again.
    for device in ["heping-ble-strap-01", "heping-ble-meter-01"] {
        until("it is online again", PLAYED, async || Ok(village.state_of(device)? == "online"))
            .await?;
    }
    stage.stop().await?;
    let client = village.county.client()?;
    let report = settled(std::slice::from_ref(&truth), &client).await?;
    println!("emitted {}, {} of them blocks", report.emitted, report.emitted_blocks);
    assert!(report.is_clean(), "{report:#?}");
    let said = fs::read_to_string(&truth)?;
    let metrics = ["nibp_sys", "glu_cap", "spo2", "temp_", "weight", "ecg_wave"];
    for ((name, _), metric) in PAIRS.iter().zip(metrics) {
        let measured = said.lines().filter(|line| line.contains(name) && line.contains(metric));
        assert!(measured.count() > 0, "{name} measured nothing");
    }
    village.site.stop().await?;
    village.county.stop().await?;
    bus.stop().await
}
