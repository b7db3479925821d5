//! Many Bluetooth devices that wake within one minute: how long until all are read.

use super::figure;
use anyhow::{Context as _, ensure};
use e2e::{Village, cycles::account_of};
use serde_json::json;
use simulators::{
    county::BrokerPlace,
    process::Program,
    site::{BluetoothPlan, stage_clock},
    stage::{
        bluez::{Bluez, Manners, OnAir, PrivateBus, Said, Timings},
        pty::StageTime,
    },
    usage::{Cost, Usage, rounded},
};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use virtual_devices::{EcgSource, Patient, Scenario, SimTime};

/// What stands in a clinic: kinds with their drivers, in the order in which they wake.
const KINDS: [(&str, &str); 10] = [
    ("ble-cuff", "blood-pressure"),
    ("ble-strap", "polar-ecg"),
    ("ble-meter", "glucose"),
    ("ble-cuff", "blood-pressure"),
    ("ble-oximeter", "pulse-oximeter"),
    ("ble-thermometer", "thermometer"),
    ("ble-meter", "glucose"),
    ("ble-scale", "weight-scale"),
    ("ble-cuff", "blood-pressure"),
    ("ble-meter", "glucose"),
];
/// These talk as long as they are worn.
const STREAMS: [&str; 2] = ["ble-strap", "ble-oximeter"];
/// All have measured once by then, and sleep until they are woken.
const ASLEEP: Duration = Duration::from_secs(75);
const WAKING_FOR: Duration = Duration::from_secs(60);
/// After the last has woken.
const READ_FOR: Duration = Duration::from_secs(60);
/// What a device has comes in one go; what comes later was measured later.
const ONE_GO: Duration = Duration::from_secs(10);

/// A device on the air.
struct Sleeper {
    name: &'static str,
    id: String,
    address: String,
    woken: SimTime,
}

pub(super) async fn waking(count: u64) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("asking for the path of this program")?;
    let bus = PrivateBus::start().await?;
    let program = Program::at(&program).on_bus(bus.address());
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, vec![]).await?;
    let (mut sleepers, on_air) = cast(&village, count)?;
    let (truth, time) = (village.site.truth(), StageTime::start(1.0));
    let stage = Bluez::start(bus.address(), on_air, Manners::Nasty, time, &truth).await?;
    stage.take(Timings::REAL).await?;
    village.county.start().await?;
    sleep(ASLEEP).await;
    village.site.start()?;
    sleep(Duration::from_secs(5)).await;
    let agent = village.site.process_id().context("the agent has ended")?;
    let (began, before) = (Instant::now(), Usage::of(agent)?);
    let step = WAKING_FOR / u32::try_from(count)?;
    for (number, sleeper) in (0..).zip(&mut sleepers) {
        sleep_until(began + step * number).await;
        sleeper.woken = time.now();
        stage.wake(&sleeper.address).await?;
    }
    sleep_until(began + WAKING_FOR + READ_FOR).await;
    let cost = Cost::between(&before, &Usage::of(agent)?, began.elapsed().as_secs_f64());
    let said = stage.said().await?;
    stage.stop().await?;
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    bus.stop().await?;
    let devices: Vec<_> =
        sleepers.iter().map(|one| (one.id.clone(), one.address.clone())).collect();
    let account = account_of(&truth, &village.site.outbox(), &said, &devices)?;
    let first = sleepers.first().map(|one| one.woken).unwrap_or_default();
    let mut waits: Vec<f64> = Vec::new();
    let (mut missed, mut all_read_s) = (Vec::new(), 0.0_f64);
    for sleeper in &sleepers {
        match read_at(sleeper, &said) {
            Some(at) => {
                waits.push(seconds(sleeper.woken, at));
                all_read_s = all_read_s.max(seconds(first, at));
            }
            None => missed.push(sleeper.id.clone()),
        }
    }
    waits.sort_by(f64::total_cmp);
    let half = waits.get(waits.len() / 2).copied().unwrap_or_default();
    figure(
        "waking",
        &json!({
            "devices": count,
            "woken_within_s": WAKING_FOR.as_secs(),
            "all_read_after_s": rounded(all_read_s, 1),
            "from_waking_to_read_s": {
                "p50": rounded(half, 1),
                "max": rounded(waits.last().copied().unwrap_or_default(), 1),
            },
            "missed": missed,
            "readings": account.emitted,
            "lost": account.lost.len(),
            "agent": cost.shown(),
        }),
    )?;
    ensure!(account.lost.is_empty() && account.doubled.is_empty(), "{:#}", account.shown());
    ensure!(missed.is_empty(), "not read: {missed:?}");
    Ok(())
}

/// When the last of what it had was handed over; of one that talks on, the first.
fn read_at(sleeper: &Sleeper, said: &[Said]) -> Option<SimTime> {
    let mut own = said
        .iter()
        .filter(|one| one.address == sleeper.address && one.is_heard && one.at >= sleeper.woken)
        .map(|one| one.at);
    let first = own.next()?;
    let more = own.take_while(|at| seconds(first, *at) < ONE_GO.as_secs_f64());
    match STREAMS.contains(&sleeper.name) {
        true => Some(first),
        false => Some(more.last().unwrap_or(first)),
    }
}

fn seconds(from: SimTime, until: SimTime) -> f64 {
    Duration::from_micros(until.0.saturating_sub(from.0)).as_secs_f64()
}

fn cast(village: &Village, count: u64) -> anyhow::Result<(Vec<Sleeper>, Vec<OnAir>)> {
    let story = Scenario {
        kiosk: Vec::new(),
        glucose: Vec::new(),
        ..Scenario::built_in("steady").context("a scenario is missing")?
    };
    let plans = (0..count).zip(KINDS.into_iter().cycle()).map(|(place, (name, driver))| {
        BluetoothPlan {
            id: format!("heping-{name}-{place:02}"),
            name,
            driver,
            address: format!("C0:26:DA:00:00:{place:02X}"),
            // Polite: a rude one has 500 records, or a clock that is years behind.
            seed: 4 * place,
            patient: Patient::new(place, story.clone(), EcgSource::Synthetic),
        }
    });
    let plans: Vec<_> = plans.collect();
    village.site.add_bluetooth(&plans)?;
    let (mut sleepers, mut on_air) = (Vec::new(), Vec::new());
    for plan in plans {
        let BluetoothPlan { name, id, address, .. } = plan.clone();
        let mut sleeper = plan.on_air(stage_clock())?;
        // It was paired some day: without a bond it would advertise until it has one.
        sleeper.device.connected(SimTime(0), 23);
        sleeper.device.encrypted(SimTime(0));
        sleeper.device.disconnected(SimTime(0));
        on_air.push(sleeper);
        sleepers.push(Sleeper { name, id, address, woken: SimTime(0) });
    }
    Ok((sleepers, on_air))
}
