//! The promise of delivery, from a seed: boxes with outboxes, a county with a database, a network
//! between them, and every fault of [`faults::Fault`] at any step of each.
//!
//! After every run each record that an outbox had committed is at the county exactly once and
//! unaltered, or is counted there as given up or kept aside with the cause. Two losses remain that
//! nobody can undo, and they are counted too: what was only on a disk that was replaced by an older
//! image, and what a restored county had from an outbox that has become another one since, or whose
//! copy has used the numbers (system design §4).
//!
//! `SIM_SEED=17` runs one seed, `SIM_SEEDS=100000` that many, `SIM_SEEDS=5000..9000` those.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says what went wrong by failing"
)]

mod account;
mod agent;
mod county;
mod dice;
mod faults;
mod outbox;
mod world;

use account::Ends;
use dice::Dice;
use faults::{Fault, Tally};
use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use world::World;

const SEEDS: u64 = 10_000;
const STEPS: u32 = 500;

fn seeds() -> Range<u64> {
    let option = |name| std::env::var(name).ok();
    let number = |text: &str| text.parse::<u64>().unwrap();
    match (option("SIM_SEED"), option("SIM_SEEDS")) {
        (Some(seed), _) => number(&seed)..number(&seed) + 1,
        (None, None) => 0..SEEDS,
        (None, Some(seeds)) => match seeds.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(&seeds),
        },
    }
}

/// Prints the seed when a run fails.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed with SIM_SEED={}", self.0);
        }
    }
}

/// What came out of many runs.
#[derive(Default)]
struct Sum {
    steps: u64,
    ends: Ends,
    tally: Tally,
}

impl Sum {
    fn run(&mut self, seed: u64) {
        let announce = Announce(seed);
        let mut world = World::new(Dice(seed));
        for _ in 0..STEPS {
            world.step();
        }
        let ends = world.settle();
        self.add(&Self { steps: world.steps, ends, tally: world.tally });
        drop(announce);
    }

    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.ends.add(&other.ends);
        self.tally.add(&other.tally);
    }
}

#[test]
fn every_committed_record_is_at_the_county_once_or_counted_with_its_cause() {
    let Range { start, end } = seeds();
    let (next, all) = (AtomicU64::new(start), Mutex::new(Sum::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut sum = Sum::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return all.lock().unwrap().add(&sum);
                    }
                    sum.run(seed);
                }
            });
        }
    });
    let Sum { steps, ends, tally } = all.into_inner().unwrap();
    println!("{} seeds, {steps} steps, {ends:?}", end - start);
    println!("{tally:?}");
    if end - start >= SEEDS / 10 {
        let never: Vec<_> = Fault::ALL.into_iter().filter(|fault| tally.of(*fault) == 0).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}
