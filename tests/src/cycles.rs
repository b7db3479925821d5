//! Connection cycles of Bluetooth devices while everything goes wrong: links are lost at every step,
//! bluetoothd restarts, the adapter goes, and the agent is killed in the middle of transfers. Then
//! what devices said is compared with what the agent has on its disk.
//!
//! A meter keeps what it has said: nothing of it may be missing, whatever was killed. A cuff deletes
//! what was confirmed, and bluetoothd confirms by itself: what it had confirmed and the agent had not
//! on its disk when it was killed is gone. How long that takes is measured here, from outside: the
//! stage knows when it confirmed, and a thread that looks into the outbox sees the commit.

mod account;
mod outbox_watch;

pub use account::{Account, Gone, Spread};

use crate::{Village, dice::Dice, until};
use account::Heard;
use anyhow::Context as _;
use outbox_watch::OutboxWatch;
use simulators::{
    county::BrokerPlace,
    process::Program,
    site::{BluetoothPlan, stage_clock},
    stage::{
        bluez::{Bluez, Manners, OnAir, PrivateBus, Said, Timings},
        pty::StageTime,
    },
};
use std::{collections::BTreeMap, path::Path, time::Duration};
use tokio::time::{sleep, timeout};
use virtual_devices::{
    EcgSource, Patient, Scenario, SimTime,
    gatt::faults::AirPlan,
    scenario::{Cuff, Glucose},
};

/// Device seconds per second: half a minute of advertising is six seconds.
const SPEED: f64 = 5.0;
/// For play, in device time: a link in 60 ms, services 0.1 to 0.4 s later, a confirmation and the
/// next indication 30 ms apart, all as the clock of the test goes.
const TIMINGS: Timings = Timings {
    connect_ms: 300,
    resolve_ms: (500, 2_000),
    disconnect_ms: 500,
    interval_ms: 150,
    links_max: 7,
};
/// How often each device has something new, in device seconds.
const STORY_S: u64 = 15;
/// The first device has told all of its story, and does not begin it anew soon.
const PAUSE_S: std::ops::Range<u64> = 6..12;
/// A device that nobody reads for so long has nothing more to say.
const READ_LIMIT: Duration = Duration::from_secs(90);
/// A run that has not met every fault goes on up to so many times its links.
const MORE: u64 = 3;
/// Somebody says something within this, or nobody does.
const WORD_LIMIT: Duration = Duration::from_secs(20);

/// How long, and how bad.
#[derive(Clone, Copy, Debug)]
pub struct CyclePlan {
    /// So many links at least.
    pub cycles: u64,
    /// Something goes wrong with one of so many links.
    pub fault_once_in: u64,
    /// The agent is killed once in so many links.
    pub kill_once_in: u64,
    /// Cuffs, and meters.
    pub devices: [usize; 2],
    /// From which faults and kills follow.
    pub seed: u64,
}

/// Plays so many cycles and compares.
///
/// # Errors
/// When a part does not start or end, or the county has not what the agent committed.
pub async fn play(program: &Path, plan: CyclePlan) -> anyhow::Result<Account> {
    let bus = PrivateBus::start().await?;
    let program = Program::at(program).on_bus(bus.address());
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, vec![]).await?;
    let (devices, on_air) = cast(&village, plan.devices)?;
    let (truth, time) = (village.site.truth(), StageTime::start(SPEED));
    let stage = Bluez::start(bus.address(), on_air, Manners::Nasty, time, &truth).await?;
    stage.take(TIMINGS).await?;
    stage.let_go_wrong(AirPlan { seed: plan.seed, once_in: plan.fault_once_in }).await?;
    village.county.start().await?;
    village.site.start()?;
    let watch = OutboxWatch::start(village.site.outbox(), time)?;
    let mut kills = Vec::new();
    let mut dice = Dice::new(plan.seed);
    loop {
        let links = stage.links().await?;
        // A short run goes on until each fault has found its occasion.
        let is_enough = Account::has_all_faults(&truth)? || links >= MORE * plan.cycles;
        if links >= plan.cycles && is_enough {
            break;
        }
        let next = links + plan.kill_once_in;
        until("links come and go", READ_LIMIT, async || Ok(stage.links().await? >= next)).await?;
        kills.push(kill(&mut village, &stage, time, &mut dice).await?);
    }
    let links = stage.links().await?;
    // What was cut off comes now, and nothing goes wrong any more.
    stage.let_go_wrong(AirPlan { seed: plan.seed, once_in: u64::MAX }).await?;
    let outbox = village.site.outbox();
    let missing = async || -> anyhow::Result<bool> {
        let heard = Heard::of(&stage, &kills).await?;
        Ok(Account::of(&truth, &outbox, &heard, &devices)?.lost.is_empty())
    };
    // Whether that came true is for the account to say.
    until("all are read", READ_LIMIT, missing).await.ok();
    let heard = Heard::of(&stage, &kills).await?;
    stage.stop().await?;
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    bus.stop().await?;
    let commits = watch.stop()?;
    let mut account = Account::of(&truth, &outbox, &heard, &devices)?;
    account.links = links;
    account.to_commit = account::to_commit(&truth, &heard, &commits, &devices)?;
    account.county = village.prove()?;
    Ok(account)
}

/// A cuff that remembers what it was subscribed to, and speaks as soon as the link is there; the agent
/// is killed while it is away, and it comes by again.
///
/// # Errors
/// When a part does not start or end, or the cuff does not come by.
pub async fn begin_again(program: &Path) -> anyhow::Result<Account> {
    let bus = PrivateBus::start().await?;
    let program = Program::at(program).on_bus(bus.address());
    let mut village = Village::prepare_on(&program, BrokerPlace::Embedded, vec![]).await?;
    let (devices, mut on_air) = cast(&village, [1, 0])?;
    on_air.iter_mut().for_each(|cuff| cuff.device.remember_subscriptions());
    let (truth, time) = (village.site.truth(), StageTime::start(SPEED));
    let stage = Bluez::start(bus.address(), on_air, Manners::Polite, time, &truth).await?;
    let said = async |more: usize| {
        until("the cuff comes by and goes", READ_LIMIT, async || {
            Ok(stage.said().await?.len() >= more && stage.connected().await?.is_empty())
        })
        .await
    };
    village.site.start()?;
    said(1).await?;
    // With all of it on the disk, and nothing new to come: what a kill costs is for `play` to tell.
    let outbox = village.site.outbox();
    until("all is stored, and the cuff is away", READ_LIMIT, async || {
        let heard = Heard::of(&stage, &[]).await?;
        let account = Account::of(&truth, &outbox, &heard, &devices)?;
        let is_pause = PAUSE_S.contains(&(time.now().0 / 1_000_000 % STORY_S));
        let is_stored = account.stored > 0 && account.lost.is_empty();
        Ok(is_pause && is_stored && stage.connected().await?.is_empty())
    })
    .await?;
    village.site.kill().await?;
    let before = stage.said().await?.len();
    village.site.start()?;
    said(before + 1).await?;
    let heard = Heard::of(&stage, &[]).await?;
    stage.stop().await?;
    village.site.stop().await?;
    bus.stop().await?;
    Account::of(&truth, &village.site.outbox(), &heard, &devices)
}

/// What devices said against what the agent has, where nobody was killed; `devices` are ids and
/// addresses.
///
/// # Errors
/// When a file cannot be read.
pub fn account_of(
    truth: &Path,
    outbox: &Path,
    said: &[Said],
    devices: &[(String, String)],
) -> anyhow::Result<Account> {
    let heard = Heard { said: said.to_vec(), killed: BTreeMap::new() };
    Account::of(truth, outbox, &heard, devices)
}

/// Kills the agent in the middle of what is said, and starts it again.
async fn kill(
    village: &mut Village,
    stage: &Bluez,
    time: StageTime,
    dice: &mut Dice,
) -> anyhow::Result<SimTime> {
    let mut values = stage.values();
    for _ in 0..=dice.below(8) {
        values.borrow_and_update();
        // Where nobody says anything there is a moment, too.
        if timeout(WORD_LIMIT, values.changed()).await.is_err() {
            break;
        }
    }
    sleep(Duration::from_micros(dice.below(12_000))).await;
    let killed = time.now();
    village.site.kill().await?;
    village.site.start()?;
    Ok(killed)
}

/// Ids and addresses.
type Named = Vec<(String, String)>;

/// The devices, written into the configuration of the agent.
fn cast(village: &Village, [cuffs, meters]: [usize; 2]) -> anyhow::Result<(Named, Vec<OnAir>)> {
    let names = std::iter::repeat_n(("ble-cuff", "blood-pressure"), cuffs);
    let names = names.chain(std::iter::repeat_n(("ble-meter", "glucose"), meters));
    let mut plans = Vec::new();
    for (place, (name, driver)) in (0_u64..).zip(names) {
        plans.push(BluetoothPlan {
            id: format!("heping-{name}-{place:02}"),
            name,
            driver,
            address: format!("C0:26:DA:00:00:{place:02X}"),
            seed: place,
            patient: Patient::new(place, story(place)?, EcgSource::Synthetic),
        });
    }
    village.site.add_bluetooth(&plans)?;
    let devices = plans.iter().map(|plan| (plan.id.clone(), plan.address.clone())).collect();
    let on_air = plans.into_iter().map(|plan| plan.on_air(stage_clock()));
    Ok((devices, on_air.collect::<Result<_, _>>()?))
}

/// Five results one second after the other, and two glucose tests; each device at its own time.
fn story(place: u64) -> anyhow::Result<Scenario> {
    let steady = Scenario::built_in("steady").context("a scenario is missing")?;
    let begin_s = 1 + place * 7 % (STORY_S - 6);
    let cuff = |number: u8| Cuff {
        at_s: begin_s + u64::from(number),
        pressure: [118 + number, 92, 76 + number],
        pulse: 66 + number,
    };
    let test = |number: u16| Glucose { at_s: begin_s + u64::from(number), mg_per_dl: 101 + number };
    Ok(Scenario {
        repeat_s: STORY_S,
        kiosk: (0..5).map(cuff).collect(),
        kiosk_failed: Vec::new(),
        kiosk_moved: Vec::new(),
        glucose: (0..2).map(test).collect(),
        ..steady
    })
}
