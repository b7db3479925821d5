//! The uplink from a seed: a network that loses, doubles, delays and reorders, outages with
//! bursts behind them, rows that are dropped or damaged, and both sides crashing at any point.
//!
//! Proves, after every step: nothing committed is lost, nothing is stored twice, nothing is
//! forgotten before it is committed at the county.
//! `SIM_SEED=17` runs one seed, `SIM_SEEDS=100000` that many.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says what went wrong by failing"
)]

mod world;

use world::{Dice, World};

const SEEDS: u64 = 300;
const STEPS: u32 = 600;

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    }
}

/// Prints the seed when a run fails.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SIM_SEED={}", self.0);
        }
    }
}

#[test]
fn nothing_committed_is_lost_or_stored_twice() {
    let (mut steps, mut records, mut widest) = (0, 0, 0);
    let [mut dropped, mut aside] = [0, 0];
    for seed in seeds() {
        let announce = Announce(seed);
        let mut world = World::new(Dice(seed));
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.check_that_all_arrived_once();
        steps += world.steps;
        records += world.committed();
        widest = widest.max(world.county.widest_ack);
        (dropped, aside) = (dropped + world.dropped(), aside + world.county.aside.len());
        drop(announce);
    }
    println!(
        "seeds {:?}: {steps} steps, {records} records, {dropped} dropped, {aside} kept aside, \
         at most {widest} ranges above a watermark",
        seeds()
    );
    if seeds().count() > 100 {
        assert!(dropped > 0 && aside > 0, "drops {dropped}, kept aside {aside}");
    }
}

/// A box was restored from an old image: the county knows numbers it never assigned, or knows
/// other bytes under the number it assigns next.
#[test]
fn a_restored_outbox_starts_anew_and_loses_nothing() {
    let mut anew = 0;
    for seed in seeds() {
        let announce = Announce(seed);
        let mut world = World::new(Dice(seed));
        for _ in 0..STEPS / 2 {
            world.step();
        }
        let image = world.outbox.clone();
        for _ in 0..STEPS / 4 {
            world.step();
        }
        world.settle();
        world.restore(image);
        if world.outbox.rows.is_empty() {
            world.commit_colliding();
        }
        world.settle();
        world.check_that_all_arrived();
        anew += u32::from(world.outbox_changed());
        drop(announce);
    }
    assert!(anew > 0, "no restored outbox was ever noticed");
}
