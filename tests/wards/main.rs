//! Alerts of a ward, from a seed: what its patients' devices say goes at the box through the
//! agent's own rules, over a link that fails, and through the county's intake, rules and late pass
//! on a database. People acknowledge, the agent is killed, the county is restarted.
//!
//! Without an outage the two ends and an oracle that knows nothing but the text of the alert rules
//! are compared; an outage is compared with the same ward without one, in which the same people did
//! the same ([`compare`]).
//!
//! `SIM_SEED=17` runs one seed, `SIM_SEEDS=1000` that many, `SIM_SEEDS=500..900` those.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what went wrong by failing"
)]

mod changed;
mod compare;
mod edge;
mod lead;
mod link;
mod more;
mod oracle;
mod patient;
mod script;
mod world;

use compare::{Figures, Story, at_the_county, at_the_edge};
use e2e::dice::Dice;
use link::{Link, told};
use more::More;
use rules::rule::RuleSet;
use script::Script;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use world::{Nurses, Plan, now_and_then, run};

const RULES: &str = include_str!("../../configs/rules/default.json");
/// Of each kind ([`more`]) as many as take half a minute of processor time together.
const SEEDS: [Range<u64>; 3] = [0..2, 1000..1002, 2000..2002];

fn seeds() -> Vec<u64> {
    let option = |name| std::env::var(name).ok();
    let number = |text: &str| text.parse::<u64>().unwrap();
    match (option("SIM_SEED"), option("SIM_SEEDS")) {
        (Some(seed), _) => vec![number(&seed)],
        (None, None) => SEEDS.into_iter().flatten().collect(),
        (None, Some(seeds)) => match seeds.split_once("..") {
            Some((first, end)) => (number(first)..number(end)).collect(),
            None => (0..number(&seeds)).collect(),
        },
    }
}

/// Families of rules that one end decides (`evaluated_by`).
fn decided_at_one_end() -> BTreeSet<String> {
    let set: Value = serde_json::from_str(RULES).unwrap();
    let rules = set["rules"].as_array().unwrap().iter();
    rules
        .filter(|rule| ["edge", "county"].iter().any(|end| rule["evaluated_by"] == *end))
        .map(|rule| rule["family"].as_str().unwrap().to_owned())
        .collect()
}

/// A folder in memory, where the machine has one: a database there costs no sync.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

/// One ward, four times: as it is, with everything said again and the county restarted, with nurses,
/// and with nurses and a link that fails. What there is to count, and whether all is right.
fn ward(seed: u64, rules: &Arc<RuleSet>, one_end: &BTreeSet<String>) -> (Figures, bool) {
    let mut dice = Dice::new(seed);
    dice.below(1);
    let script = Script::new(&mut dice, More::of(seed));
    let episodes = oracle::episodes(&script);
    let run = |plan: Plan| run(&script, rules, folder().path(), plan);
    let mut story = Story::of(&script);
    let plain = Plan {
        link: Link::sound(),
        agent_killed: Vec::new(),
        county_restarted: Vec::new(),
        nurses: Nurses::None,
    };
    let agent_killed = now_and_then(&mut dice, script.end, 3);
    let county_restarted = now_and_then(&mut dice, script.end, 2);

    let once = run(plain.clone());
    story.compare_ends(&once, one_end);
    story.compare_oracle("edge", &episodes, &at_the_edge(&once, one_end), false);
    story.compare_oracle("county", &episodes, &at_the_county(&once, one_end), false);
    story.compare_doubles(&at_the_county(&once, one_end));
    let doubling = Link::doubling(&mut dice);
    let county_restarted_too = county_restarted.clone();
    let again = Plan { link: doubling, county_restarted: county_restarted_too, ..plain.clone() };
    story.compare_doubled(&once, &run(again));

    let people = dice.below(2) == 0;
    let nurses = if people { Nurses::Listen } else { Nurses::None };
    let link = Link::failing(&mut dice, script.end);
    story.figures.outages = link.outages().len();
    let outages: Vec<String> = link
        .outages()
        .iter()
        .map(|(from, until)| format!("{} to {}", told(*from), told(*until)))
        .collect();
    let outage = run(Plan { link, agent_killed, county_restarted, nurses });
    // The same people did the same there.
    let sound = match people {
        true => run(Plan { nurses: Nurses::Again(outage.deeds.clone()), ..plain }),
        false => once,
    };
    story.compare_outage(&sound, &outage, one_end);
    story.compare_sounds(&episodes, &outage);
    story.count(episodes.len(), &outage);
    if !story.lines.is_empty() {
        let devices: Vec<_> = script.devices.iter().map(|device| device.id.as_str()).collect();
        let patients: Vec<String> =
            script.patients.iter().map(|patient| format!("{:?}", patient.who)).collect();
        let moves = script.moves.iter();
        let moves: Vec<String> = moves
            .map(|it| format!("{} {} to {:?}", told(it.at), devices[it.device], it.to))
            .collect();
        let about = format!(
            "SIM_SEED={seed}: {}; {}; {}; until {}; away {}; people {people}",
            patients.join(" "),
            devices.join(" "),
            moves.join(", "),
            told(script.end),
            outages.join(", ")
        );
        println!("{about}\n  {}", story.lines.join("\n  "));
    }
    (story.figures, story.lines.is_empty())
}

#[test]
fn both_ends_tell_the_same_and_an_outage_changes_nothing_but_what_section_8_allows() {
    let seeds = seeds();
    let rules = Arc::new(RuleSet::from_json(RULES).unwrap());
    let one_end = decided_at_one_end();
    let next = AtomicUsize::new(0);
    let all = Mutex::new((Figures::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                    else {
                        return;
                    };
                    let (figures, is_right) = ward(seed, &rules, &one_end);
                    let mut all = all.lock().unwrap();
                    all.0.add(&figures);
                    if !is_right {
                        all.1.push(seed);
                    }
                }
            });
        }
    });
    let (figures, mut failed) = all.into_inner().unwrap();
    let (first, last) = (seeds.first().unwrap(), seeds.last().unwrap());
    println!("{} wards, seeds {first} to {last}: {figures}; {} failed", seeds.len(), failed.len());
    failed.sort_unstable();
    assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
}
