//! Stories: the link is cut, swallows, is half open, and is too slow for all there is to say.
//!
//! `KILL_SEED=17` makes the same dice fall again.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{
    Proof, Village, Witness,
    dice::{Dice, seed},
    mosquitto::Mosquitto,
    proxy::{Fate, Proxy},
    read_only, until,
};
use simulators::{
    county::{BrokerPlace, free_port},
    site::{DevicePlan, Performance, switch_off},
};
use std::{
    cell::Cell,
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use virtual_devices::{EcgSource, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const CUTS: u32 = 24;
/// A cut falls anywhere in this time after what was waited for.
const INSTANTS_MS: u64 = 600;
/// A publish without an answer ends an agent's connection after 30 s, the next one comes at most
/// 2 s later; and a loaded machine.
const NOTICED_MAX: Duration = Duration::from_secs(30 + 2 + 10);
/// One that is not answered at all is given up after 20 s more.
const TRIED_AGAIN_MAX: Duration = Duration::from_secs(20 + 2 + 10);
/// "At 20 kbit/s four monitors' waveforms cannot all pass."
const SLOW: u64 = 20_000;
/// Full of waves in about a minute.
const OUTBOX_LEN: u64 = 256 << 10;
/// The newest reading at the county is never older: one row of waves is 1.2 s of such a link.
const PRESENT_MAX: Duration = Duration::from_secs(15);

/// A village whose agent reaches the embedded broker over a link.
async fn over_a_link() -> anyhow::Result<(Village, Proxy)> {
    let village = Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let proxy = Proxy::to(village.county.broker())?;
    village.site.reach_broker_at(&proxy.address())?;
    Ok((village, proxy))
}

/// Everything ends, and what was committed is compared with what the county has.
async fn proven(mut village: Village, played: Vec<Performance>) -> anyhow::Result<Proof> {
    village.flow(10).await?;
    village.waves(10).await?;
    for performance in played {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    ensure!(proof.readings > 0 && proof.blocks >= 10, "{proof:?}");
    Ok(proof)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_again_and_again_loses_nothing() -> anyhow::Result<()> {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (mut village, proxy) = over_a_link().await?;
    let played = village.start().await?;
    for cut in 0..CUTS {
        // One in four hits a connection that is being made.
        if dice.below(4) > 0 {
            village.flow(1 + dice.below(4)).await.with_context(|| format!("before cut {cut}"))?;
        }
        tokio::time::sleep(Duration::from_millis(dice.below(INSTANTS_MS))).await;
        proxy.present(if cut % 2 == 0 { Fate::Resets } else { Fate::Ends });
    }
    let proof = proven(village, played).await.with_context(|| format!("KILL_SEED={seed}"))?;
    println!(
        "KILL_SEED={seed}: cut {CUTS} times, {} connections, {proof:?}, 0 lost, 0 doubled, \
         0 altered",
        proxy.accepted()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_noticed_in_half_a_minute_and_loses_nothing() -> anyhow::Result<()> {
    let mut villages = JoinSet::new();
    for fate in [Fate::SwallowsUp, Fate::SwallowsDown, Fate::SwallowsAll, Fate::HalfOpen] {
        villages.spawn(async move {
            let told = swallowed(fate).await;
            told.with_context(|| format!("{fate:?}"))
        });
    }
    villages.spawn(async { everything_swallowed().await.context("each connection") });
    villages.spawn(async { killed_behind_it().await.context("agent killed behind it") });
    villages.spawn(async { county_swallowed().await.context("the county's own link") });
    while let Some(ended) = villages.join_next().await {
        println!("{}", ended??);
    }
    Ok(())
}

/// The connection there is goes dead.
async fn swallowed(fate: Fate) -> anyhow::Result<String> {
    let (mut village, proxy) = over_a_link().await?;
    let played = village.start().await?;
    village.flow(5).await?;
    let (since, before) = (Instant::now(), proxy.accepted());
    proxy.present(fate);
    until("the agent tries again", NOTICED_MAX, async || Ok(proxy.accepted() > before)).await?;
    let noticed = since.elapsed();
    let proof = proven(village, played).await?;
    Ok(line(&format!("{fate:?}"), noticed, &proof))
}

/// Also the next connection gets no answer.
async fn everything_swallowed() -> anyhow::Result<String> {
    let (mut village, proxy) = over_a_link().await?;
    let played = village.start().await?;
    village.flow(5).await?;
    let (since, before) = (Instant::now(), proxy.accepted());
    proxy.all(Fate::SwallowsAll);
    until("the agent tries again", NOTICED_MAX, async || Ok(proxy.accepted() > before)).await?;
    let noticed = since.elapsed();
    // What was said on that one is swallowed already.
    proxy.present(Fate::SwallowsAll);
    let before = proxy.accepted();
    until("and again", TRIED_AGAIN_MAX, async || Ok(proxy.accepted() > before)).await?;
    let proof = proven(village, played).await?;
    Ok(line("each connection swallowed", noticed, &proof))
}

/// The broker keeps the connection of a box that is gone, and the box comes back under its name.
async fn killed_behind_it() -> anyhow::Result<String> {
    let (mut village, proxy) = over_a_link().await?;
    let played = village.start().await?;
    village.flow(5).await?;
    proxy.present(Fate::SwallowsAll);
    village.site.kill().await?;
    let (since, accepted) = (Instant::now(), proxy.accepted());
    village.site.start()?;
    let limit = Duration::from_secs(20);
    until("it connects", limit, async || Ok(proxy.accepted() > accepted)).await?;
    let before = village.stored()?;
    // The broker itself would notice after 30 s.
    until(
        "the new one is served",
        Duration::from_secs(20),
        async || Ok(village.stored()? > before),
    )
    .await?;
    let served = since.elapsed();
    let proof = proven(village, played).await?;
    Ok(line("agent killed behind it, the new one served", served, &proof))
}

/// The gateway's connection to its mosquitto goes dead.
async fn county_swallowed() -> anyhow::Result<String> {
    let port = free_port()?;
    let broker = format!("localhost:{port}");
    let proxy = Proxy::to(&broker)?;
    let outside = BrokerPlace::Outside(format!("localhost:{}", proxy.port()));
    let mut village = Village::prepare(Path::new(PROGRAM), outside, "clinic-day").await?;
    village.site.reach_broker_at(&broker)?;
    let mut mosquitto = Mosquitto::install(&village.county.pki(), port)?;
    mosquitto.start()?;
    let played = village.start().await?;
    village.flow(5).await?;
    let (since, before) = (Instant::now(), proxy.accepted());
    proxy.present(Fate::SwallowsAll);
    until("the county tries again", NOTICED_MAX, async || Ok(proxy.accepted() > before)).await?;
    let noticed = since.elapsed();
    let proof = proven(village, played).await?;
    Ok(line("the county's own link", noticed, &proof))
}

fn line(what: &str, noticed: Duration, proof: &Proof) -> String {
    format!("{what}: {:.1} s, {proof:?}, 0 lost, 0 doubled, 0 altered", noticed.as_secs_f64())
}

/// Four monitors with waves, and a pump that has an alarm after 50 s.
fn four_monitors_and_a_pump() -> anyhow::Result<Vec<DevicePlan>> {
    let scenario = Scenario::built_in("clinic-day").context("a scenario is missing")?;
    let plan = |(number, name): (u64, &'static str)| DevicePlan {
        id: format!("heping-{name}-{number:02}"),
        name,
        seed: number,
        patient: Patient::new(number, scenario.clone(), EcgSource::Recording),
        faults: None,
    };
    let names = ["pm6750", "pm6750", "intellivue", "intellivue", "bcc"];
    Ok((1..).zip(names).map(plan).collect())
}

/// How old the newest reading is that the county has.
fn age(village: &Village) -> anyhow::Result<Duration> {
    let newest: Option<i64> = read_only(&village.database())?.query_row(
        "SELECT max(observed_ms) FROM reading_group",
        [],
        |row| row.get(0),
    )?;
    let newest = newest.context("there is no reading yet")?;
    let age = jiff::Timestamp::now().as_millisecond() - newest;
    Ok(Duration::from_millis(u64::try_from(age).unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn at_20_kbit_waves_yield_to_readings_and_the_ledger_tells_which_are_missing()
-> anyhow::Result<()> {
    let devices = four_monitors_and_a_pump()?;
    let mut village =
        Village::prepare_with(Path::new(PROGRAM), BrokerPlace::Embedded, devices).await?;
    let proxy = Proxy::to(village.county.broker())?;
    village.site.reach_broker_at(&proxy.address())?;
    let config = fs::read_to_string(village.site.config())?;
    let limit = format!("{config}\n[outbox]\nmax_bytes = {OUTBOX_LEN}\n");
    fs::write(village.site.config(), limit)?;
    let mut witness = Witness::start(village.site.outbox())?;
    let mut played = village.start().await?;
    village.flow(20).await?;
    proxy.limit(Some(SLOW));
    let (since, oldest) = (Instant::now(), Cell::new(Duration::ZERO));
    let dropped = "SELECT count(*) FROM drop_record WHERE lane = 'wave'";
    until("waves are given up", Duration::from_secs(300), async || {
        oldest.set(oldest.get().max(age(&village)?));
        let county = read_only(&village.database())?;
        Ok(county.query_row(dropped, [], |row| row.get::<_, i64>(0))? >= 3)
    })
    .await?;
    let (slow, oldest) = (since.elapsed(), oldest.get());
    ensure!(oldest <= PRESENT_MAX, "readings came {oldest:?} late");
    switch_off(&mut played).await?;
    proxy.limit(None);
    until("what is left has come", Duration::from_secs(60), async || {
        witness.is_settled(&village.database())
    })
    .await?;
    for performance in played {
        performance.unplug().await?;
    }
    let ledger = village.county.client()?.ledger().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    witness.stop();
    let found = witness.prove(&village.database())?;
    let [urgent, trend, waves] = found.dropped;
    ensure!(urgent == 0 && trend == 0 && waves > 0, "{found:?}");
    ensure!(found.proof.alarms > 0, "{found:?}");
    let told = ledger.iter().filter(|lane| !lane.dropped.is_empty());
    let told: Vec<_> = told.map(|lane| (lane.lane.as_str(), &lane.dropped)).collect();
    ensure!(matches!(told.as_slice(), [("wave", _)]), "{told:?}");
    println!(
        "{SLOW} bit/s for {:.0} s: newest reading at most {:.1} s old; {found:?}; the ledger: \
         {told:?}",
        slow.as_secs_f64(),
        oldest.as_secs_f64()
    );
    Ok(())
}
