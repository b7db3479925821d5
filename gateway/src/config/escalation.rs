//! `[escalation]`: how long people have until the next one is told, and until it sounds again; in
//! the county, and under `[clinic.escalation]` in a township that has its own.

use config_reader::Section;
use rules::ladder::{Ladder, Times};

const SECOND_MS: i64 = 1000;
/// Nobody walks to a bed in less.
const SHORTEST_S: u64 = 10;
/// A high alert that waits an hour for the next person has no ladder; a shift later somebody else
/// reads the list.
const LONGEST_S: [u64; 3] = [3600, 8 * 3600, 24 * 3600];

/// The times of an alert's life; what is left out is as it was.
pub(super) fn times(mut section: Section<'_>, mut times: Times) -> Times {
    let Times { ladder, realarm, .. } = &mut times;
    let of = [
        ("high", &mut ladder.high, &mut realarm.high),
        ("medium", &mut ladder.medium, &mut realarm.medium),
        ("low", &mut ladder.low, &mut realarm.low),
    ];
    for ((priority, ladder, realarm_ms), longest_s) in of.into_iter().zip(LONGEST_S) {
        if let Some(section) = section.optional_section(priority) {
            read(section, ladder, realarm_ms, longest_s);
        }
    }
    section.finish();
    times
}

fn read(mut section: Section<'_>, ladder: &mut Ladder, realarm_ms: &mut i64, longest_s: u64) {
    let mut ms = |key| {
        let seconds = section.optional_integer(key, SHORTEST_S..=longest_s)?;
        Some(i64::try_from(seconds).ok()?.saturating_mul(SECOND_MS))
    };
    ladder.second = ms("second_s").or(ladder.second);
    ladder.township_doctor = ms("township_doctor_s").or(ladder.township_doctor);
    ladder.county_on_call = ms("county_on_call_s").or(ladder.county_on_call);
    *realarm_ms = ms("realarm_s").unwrap_or(*realarm_ms);
    let steps = [ladder.second, ladder.township_doctor, ladder.county_on_call];
    let steps: Vec<i64> = steps.into_iter().flatten().collect();
    if !steps.is_sorted_by(|sooner, later| sooner < later) {
        let seconds: Vec<String> = steps.iter().map(|ms| (ms / SECOND_MS).to_string()).collect();
        let text = format!(
            "the steps are at {} s; the second person is told first, then the doctor of the \
             township, then the county: let second_s, township_doctor_s and county_on_call_s rise",
            seconds.join(", ")
        );
        section.note(&section.place(), text);
    }
    section.finish();
}
