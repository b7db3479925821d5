//! NEWS2 against every cell of its table.

use super::*;

fn whole_numbers(range: std::ops::RangeInclusive<i32>) -> impl Iterator<Item = Decimal> {
    range.map(Decimal::from)
}

/// The points of one item for each number, written down row by row as on the chart: the points,
/// from, to.
#[track_caller]
fn check_rows(rows: &[(u32, i32, i32)], step: i8, points: impl Fn(Decimal) -> Option<u32>) {
    for (expected, from, to) in rows {
        for number in *from..=*to {
            let value = Decimal::new(i64::from(number), step).unwrap();
            assert_eq!(points(value), Some(*expected), "{value}");
        }
    }
    // No number is left out between two rows.
    assert!(rows.windows(2).all(|pair| pair[0].2 + 1 == pair[1].1));
}

fn score(set: Observations, scale: Scale) -> Score {
    Score::of(&set, scale)
}

#[test]
fn every_cell_of_respiration() {
    let rows = [(3, 0, 8), (1, 9, 11), (0, 12, 20), (2, 21, 24), (3, 25, 200)];
    check_rows(&rows, 0, |value| {
        let set = Observations { respiration: Some(value), ..Observations::default() };
        score(set, Scale::One).respiration
    });
}

#[test]
fn every_cell_of_saturation_on_scale_one() {
    for oxygen in [None, Some(false), Some(true)] {
        check_rows(&[(3, 0, 91), (2, 92, 93), (1, 94, 95), (0, 96, 100)], 0, |value| {
            let set = Observations { spo2: Some(value), oxygen, ..Observations::default() };
            score(set, Scale::One).spo2
        });
    }
}

#[test]
fn every_cell_of_saturation_on_scale_two() {
    let points = |oxygen| {
        move |value| {
            let set = Observations { spo2: Some(value), oxygen, ..Observations::default() };
            score(set, Scale::Two).spo2
        }
    };
    let on_air = [(3, 0, 83), (2, 84, 85), (1, 86, 87), (0, 88, 100)];
    check_rows(&on_air, 0, points(Some(false)));
    let rows = [(3, 0, 83), (2, 84, 85), (1, 86, 87), (0, 88, 92), (1, 93, 94), (2, 95, 96)];
    check_rows(&rows, 0, points(Some(true)));
    check_rows(&[(3, 97, 100)], 0, points(Some(true)));
    check_rows(&[(3, 0, 83), (2, 84, 85), (1, 86, 87), (0, 88, 92)], 0, points(None));
    assert!(whole_numbers(93..=100).all(|value| points(None)(value).is_none()));
}

#[test]
fn every_cell_of_air_or_oxygen_and_consciousness() {
    for (oxygen, points) in [(false, 0), (true, 2)] {
        let set = Observations { oxygen: Some(oxygen), ..Observations::default() };
        assert_eq!(score(set, Scale::One).oxygen, Some(points));
    }
    for (state, points) in [
        (Consciousness::Alert, 0),
        (Consciousness::Confusion, 3),
        (Consciousness::Voice, 3),
        (Consciousness::Pain, 3),
        (Consciousness::Unresponsive, 3),
    ] {
        let set = Observations { consciousness: Some(state), ..Observations::default() };
        assert_eq!(score(set, Scale::One).consciousness, Some(points));
    }
}

#[test]
fn every_cell_of_systolic_pressure() {
    let rows = [(3, 20, 90), (2, 91, 100), (1, 101, 110), (0, 111, 219), (3, 220, 320)];
    check_rows(&rows, 0, |value| {
        let set = Observations { systolic: Some(value), ..Observations::default() };
        score(set, Scale::One).systolic
    });
}

#[test]
fn every_cell_of_pulse() {
    let rows = [(3, 0, 40), (1, 41, 50), (0, 51, 90), (1, 91, 110), (2, 111, 130), (3, 131, 350)];
    check_rows(&rows, 0, |value| {
        let set = Observations { pulse: Some(value), ..Observations::default() };
        score(set, Scale::One).pulse
    });
}

#[test]
fn every_cell_of_temperature() {
    let rows = [(3, 100, 350), (1, 351, 360), (0, 361, 380), (1, 381, 390), (2, 391, 450)];
    check_rows(&rows, -1, |value| {
        let set = Observations { temperature: Some(value), ..Observations::default() };
        score(set, Scale::One).temperature
    });
}

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_ms(1_795_335_300_000 + seconds * 1000)
}

fn measured(metric: Metric, value: &str, seconds: i64, spot: bool) -> Measured {
    Measured { metric, value: value.parse().unwrap(), at: at(seconds), spot, check: false }
}

fn a_full_set() -> Vec<Measured> {
    vec![
        measured(Metric::HR, "88", -3, false),
        measured(Metric::RR, "18", -3, false),
        measured(Metric::SPO2, "97", -3, false),
        measured(Metric::NIBP_SYS, "125", -3600, true),
        measured(Metric::TEMP_EAR, "36.8", -4 * 3600, true),
    ]
}

fn set_of(measured: &[Measured]) -> Observations {
    Observations::at(at(0), measured, Some(false), Some(Consciousness::Alert))
}

#[test]
fn a_set_without_what_a_nurse_sees_is_incomplete_and_says_at_least() {
    let full = Score::of(&set_of(&a_full_set()), Scale::One);
    assert_eq!((full.total(), full.is_complete()), (0, true));
    assert_eq!(full.texts()[0], "NEWS2 0");
    let mut readings = a_full_set();
    readings[0].value = 135.into();
    for (oxygen, state) in [(None, Some(Consciousness::Alert)), (Some(false), None)] {
        let set = Observations::at(at(0), &readings, oxygen, state);
        let score = Score::of(&set, Scale::One);
        assert!(!score.is_complete());
        assert_eq!(score.texts(), ["NEWS2 不完整 ≥ 3", "NEWS2 incomplete ≥ 3"]);
    }
}

#[test]
fn what_is_too_old_is_missing() {
    for (place, seconds) in [(0, -60), (1, -60), (2, -60), (3, -3601), (4, -4 * 3600 - 1)] {
        let mut readings = a_full_set();
        readings[place].at = at(seconds);
        assert!(!Score::of(&set_of(&readings), Scale::One).is_complete(), "{place}");
        readings[place].at = at(1);
        assert!(!Score::of(&set_of(&readings), Scale::One).is_complete(), "the future: {place}");
    }
}

#[test]
fn streams_count_by_their_median_and_ranks_by_their_order() {
    let mut readings = a_full_set();
    for (value, second) in [("92", -2), ("200", -1)] {
        readings.push(measured(Metric::HR, value, second, false));
        readings.push(measured(Metric::PULSE_OXIM, "40", second, false));
    }
    assert_eq!(set_of(&readings).pulse, Some(92.into()));
    readings.push(measured(Metric::HR, "95", 0, false));
    // Of 88, 92, 95, 200 the middle is 93.5: printed 94.
    assert_eq!(set_of(&readings).pulse, Some(94.into()));
    readings.retain(|it| it.metric != Metric::HR);
    assert_eq!(set_of(&readings).pulse, Some(40.into()));
    readings.retain(|it| it.metric != Metric::PULSE_OXIM);
    readings.push(measured(Metric::PULSE_NIBP, "77", -1800, true));
    assert_eq!(set_of(&readings).pulse, Some(77.into()));
}

#[test]
fn a_probe_on_the_bed_is_no_temperature() {
    let mut readings = a_full_set();
    readings.push(measured(Metric::TEMP, "22.0", -1, false));
    assert_eq!(set_of(&readings).temperature, Some("36.8".parse().unwrap()));
}
