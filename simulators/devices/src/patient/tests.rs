//! Patients over a day, at a kiosk, and with another seed.

use super::*;
use crate::scenario::{Body, Insulin};

fn patient(seed: u64, scenario: Scenario) -> Patient {
    Patient::new(seed, scenario, EcgSource::Synthetic)
}

/// A day that begins at midnight, with a pressure of 130/80.
fn day(night_dip: u8) -> Scenario {
    let vitals = Vitals { pressure: [130, 80], ..Scenario::default().vitals(0) };
    Scenario {
        repeat_s: 24 * 3600,
        vitals: vec![vitals],
        body: Body { night_dip, fasting: 100, ..Body::default() },
        ..Scenario::default()
    }
}

#[test]
fn the_pressure_dips_at_night_and_rises_in_the_morning() {
    let dipper = patient(1, day(15));
    let at = |hour: u64| dipper.pressure(hour * 3600);
    assert_eq!(at(15), [130, 80]);
    // 15 % less at three, 6 % more at nine.
    assert_eq!((at(3), at(9)), ([111, 68], [138, 85]));
    let hours: Vec<u8> = (0..24).map(|hour| at(hour)[0]).collect();
    assert!(hours[5..9].is_sorted() && hours[4] < hours[7], "{hours:?}");
    let of_none = patient(1, day(0));
    assert!((0..24).all(|hour| of_none.pressure(hour * 3600) == [130, 80]));
    // The story's own day: it begins at ten in the evening.
    let late = patient(1, Scenario { starts_at_s: 22 * 3600, ..day(15) });
    assert_eq!(late.pressure(5 * 3600), [111, 68]);
}

#[test]
fn what_a_cuff_shows_fits_together_and_fits_the_patient() {
    let measures = (0..24).map(|hour| (hour * 3600, Measure::MonitorCuff));
    let patient = patient(7, Scenario { measures: measures.collect(), ..day(15) });
    assert_eq!(patient.scenario.monitor_cuff.len(), 24);
    for cuff in &patient.scenario.monitor_cuff {
        let [systolic, mean, diastolic] = cuff.pressure;
        let told = patient.pressure(cuff.at_s);
        assert!(systolic.abs_diff(told[0]) <= 3 && diastolic.abs_diff(told[1]) <= 2);
        assert_eq!(mean, diastolic + (systolic - diastolic) / 3);
        assert_eq!(cuff.pulse, patient.heart_rate(cuff.at_s));
    }
}

#[test]
fn vital_signs_change_a_little_every_minute_unless_they_are_exact() {
    let told = Scenario::default().vitals(0);
    let restless = patient(3, day(10));
    let hours = (0..24 * 60).map(|minute| restless.vitals(minute * 60));
    let hr: Vec<u8> = hours.map(|vitals| vitals.hr).collect();
    assert!(hr.iter().all(|hr| hr.abs_diff(told.hr) <= 2));
    assert!((told.hr - 2..=told.hr + 2).all(|one| hr.contains(&one)));
    assert_eq!(restless.vitals(60).hr, restless.vitals(119).hr);
    let exact = patient(3, Scenario { is_exact: true, ..day(10) });
    assert!((0..24 * 60).all(|minute| exact.vitals(minute * 60).hr == told.hr));
    let still = Vitals { hr: 0, rr: 0, ..told };
    let still = patient(3, Scenario { vitals: vec![still], ..day(10) });
    assert!((0..600).all(|second| still.heart_rate(second) == 0));
    assert!((0..600).all(|second| still.vitals(second).rr == 0));
}

#[test]
fn a_heart_in_fibrillation_is_irregular() {
    let whole = |rhythm| {
        let scenario = Scenario { rhythm: vec![(0, 3600, rhythm)], ..day(10) };
        let patient = patient(5, Scenario { is_exact: true, ..scenario });
        let rates: Vec<u8> = (0..600).map(|second| patient.heart_rate(second)).collect();
        rates.iter().max().unwrap() - rates.iter().min().unwrap()
    };
    assert_eq!(whole(Rhythm::Sinus), BEAT_SPAN);
    assert_eq!(whole(Rhythm::AtrialFibrillation), FIBRILLATION_SPAN);
}

#[test]
fn a_meter_shows_what_meals_and_insulin_did() {
    let hourly = || (0..8).map(|hour| (hour * 3600, Measure::Glucose)).collect();
    let body = Body {
        fasting: 110,
        is_diabetic: true,
        meals: vec![(3600, 50)],
        insulin: vec![(5 * 3600, 8, Insulin::Rapid)],
        night_dip: 10,
    };
    let patient = patient(2, Scenario { measures: hourly(), body, ..day(10) });
    let shown: Vec<u16> = patient.scenario.glucose.iter().map(|test| test.mg_per_dl).collect();
    let [before, .., last] = shown[..] else { panic!("{shown:?}") };
    assert!(before.abs_diff(110) <= 6 && shown[3] > 170 && last < 80, "{shown:?}");
}

#[test]
fn forty_people_are_measured_and_two_of_them_twice() {
    let span = (600, 4 * 3600);
    let crowd = Crowd { span, people: 40, failed: 2 };
    for seed in 0..50 {
        let story = patient(seed, Scenario { crowds: vec![crowd], ..day(10) }).scenario;
        assert_eq!((story.kiosk.len(), story.kiosk_failed.len()), (40, 2), "seed {seed}");
        let apart = story.kiosk.iter().zip(story.kiosk.iter().skip(1));
        assert!(apart.into_iter().all(|(one, next)| one.at_s + 60 < next.at_s));
        assert!(story.kiosk.iter().all(|cuff| (span.0..span.1).contains(&cuff.at_s)));
        for (at_s, code) in &story.kiosk_failed {
            assert!(story.kiosk.iter().any(|cuff| cuff.at_s == at_s + SECOND_TRY_S));
            assert!(E_CODES.contains(code));
        }
        let high = |from: u8| story.kiosk.iter().filter(|cuff| cuff.pressure[0] >= from).count();
        assert!((6..=24).contains(&high(140)), "seed {seed}: {}", high(140));
        assert!(high(180) <= 5 && story.kiosk.iter().all(|cuff| cuff.pressure[2] >= 50));
        let [first, second, ..] = story.kiosk[..] else { panic!("nobody came") };
        assert_ne!(first.pressure, second.pressure);
    }
}

#[test]
fn the_same_seed_is_the_same_patient_and_another_one_is_another() {
    let story = |seed| {
        let measures = vec![(600, Measure::Kiosk), (1_200, Measure::Glucose)];
        let patient = patient(seed, Scenario { measures, ..day(12) });
        let rates: Vec<u8> = (0..60).map(|second| patient.heart_rate(second)).collect();
        (patient.scenario, rates)
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}
