//! The shipped scenarios tell what they promise, whoever the patient is.

use super::*;

/// mg/dL in a mmol/L.
const PER_MMOL: f64 = 18.016;

/// The patients in that story.
fn patients(name: &str) -> impl Iterator<Item = Patient> {
    let scenario = Scenario::built_in(name).unwrap();
    (0..24).map(move |seed| Patient::new(seed, scenario.clone(), EcgSource::Synthetic))
}

/// Seconds of hours and minutes.
fn at(hours: u64, minutes: u64) -> u64 {
    hours * 3600 + minutes * 60
}

/// NEWS2 on air and alert, by the table of the Royal College of Physicians (2017), of what the
/// devices show.
fn news2(patient: &Patient, second: u64) -> u8 {
    let vitals = patient.vitals(second);
    let cuff = patient.scenario.monitor_cuff.iter().rfind(|cuff| cuff.at_s <= second);
    let systolic = cuff.unwrap().pressure[0];
    let breaths = match vitals.rr {
        0..=8 | 25.. => 3,
        9..=11 => 1,
        12..=20 => 0,
        21..=24 => 2,
    };
    let saturation = match vitals.spo2 {
        0..=91 => 3,
        92..=93 => 2,
        94..=95 => 1,
        96.. => 0,
    };
    let pressure = match systolic {
        0..=90 | 220.. => 3,
        91..=100 => 2,
        101..=110 => 1,
        111..=219 => 0,
    };
    let pulse = match patient.heart_rate(second) {
        0..=40 | 131.. => 3,
        41..=50 | 91..=110 => 1,
        51..=90 => 0,
        111..=130 => 2,
    };
    let temperature = match vitals.temperature[0] {
        0..=350 => 3,
        351..=360 | 381..=390 => 1,
        361..=380 => 0,
        391.. => 2,
    };
    breaths + saturation + pressure + pulse + temperature
}

#[test]
fn a_quiet_ward_is_quiet() {
    for patient in patients("quiet-ward") {
        let story = &patient.scenario;
        assert!((at(0, 15)..story.repeat_s).step_by(60).all(|second| news2(&patient, second) == 0));
        assert!(story.occlusion.is_empty() && story.arrhythmia.is_empty());
        let infusion = story.infusion.as_ref().unwrap();
        let hours = story.repeat_s / 3600;
        let rate = infusion.step(0).unwrap().rate;
        assert!(rate * hours < infusion.volume(0), "the syringe lasts");
    }
}

#[test]
fn a_busy_ward_has_something_of_everything() {
    for patient in patients("busy-ward") {
        let story = &patient.scenario;
        for spans in [&story.leads_off, &story.probe_off, &story.occlusion, &story.motion] {
            assert!(!spans.is_empty());
        }
        assert!(story.monitor_cuff.iter().any(|cuff| cuff.pressure[0] >= 175));
        assert!(story.glucose.iter().any(|test| test.mg_per_dl >= 250), "{:?}", story.glucose);
        assert!(!story.kiosk_failed.is_empty() && !story.monitor_cuff_failed.is_empty());
    }
}

#[test]
fn a_night_hypoglycaemia_crosses_both_lines_by_three_and_is_treated() {
    for patient in patients("night-hypoglycaemia") {
        let story = &patient.scenario;
        let course = glucose::course(story);
        let mmol = |minute: usize| f64::from(course[minute]) / PER_MMOL;
        let falls_below = |line: f64| (0..).find(|minute| mmol(*minute) < line).unwrap();
        let (level_1, level_2) = (falls_below(3.9), falls_below(3.0));
        // From one in the morning, and before three.
        assert!((240..300).contains(&level_1), "{level_1}");
        assert!((310..360).contains(&level_2), "{level_2}");
        let shown = |second| {
            let test = story.glucose.iter().find(|test| test.at_s == second).unwrap();
            f64::from(test.mg_per_dl) / PER_MMOL
        };
        assert!(shown(at(6, 0)) < 3.0 && shown(at(5, 15)) < 3.9, "{:?}", story.glucose);
        assert!(
            shown(at(3, 0)) > 3.9 && shown(at(7, 10)) > 3.9 && shown(at(9, 30)) > 3.9,
            "{:?}",
            story.glucose
        );
        assert!(course.iter().all(|glucose| f64::from(*glucose) / PER_MMOL > 2.2));
        assert!(patient.heart_rate(at(5, 55)) > patient.heart_rate(at(3, 0)) + 30);
    }
}

#[test]
fn an_occluded_vasopressor_lets_the_pressure_fall_and_then_rise() {
    for patient in patients("occluded-vasopressor") {
        let story = &patient.scenario;
        let cuff = |second| story.monitor_cuff.iter().find(|cuff| cuff.at_s == second).unwrap();
        assert_eq!(story.infusion.as_ref().unwrap().drug.zh, "去甲肾上腺素");
        assert_eq!(story.occlusion, [(at(0, 10), at(0, 16))]);
        assert!(cuff(at(0, 8)).pressure[1] >= 70, "mean, before");
        assert!(cuff(at(0, 15) + 30).pressure[1] < 55 && cuff(at(0, 15) + 30).pressure[0] < 80);
        assert!(cuff(at(0, 17) + 30).pressure[0] > 150);
        assert!((100..120).contains(&cuff(at(0, 35)).pressure[0]));
        assert!(cuff(at(0, 15) + 30).pulse > cuff(at(0, 8)).pulse + 20);
    }
}

#[test]
fn fibrillation_begins_and_ends_with_the_rhythm() {
    for patient in patients("af-onset") {
        let rates = |from: u64, until: u64| {
            let rates: Vec<u8> = (from..until).map(|second| patient.heart_rate(second)).collect();
            (*rates.iter().min().unwrap(), *rates.iter().max().unwrap())
        };
        let rhythm = |minute: u64| patient.scenario.rhythm(at(0, minute));
        assert_eq!([rhythm(9), rhythm(36)], [Rhythm::Sinus; 2]);
        assert_eq!([rhythm(10), rhythm(34)], [Rhythm::AtrialFibrillation; 2]);
        let ((_, calm), (least, most)) = (rates(0, 600), rates(at(0, 11), at(0, 19)));
        assert!(calm <= 80 && least >= 115 && most - least >= 18, "{calm} {least} {most}");
        assert!(patient.scenario.ectopic_beats(at(0, 7)) > 0);
    }
}

#[test]
fn a_deteriorating_patient_climbs_through_news2() {
    for patient in patients("deteriorating") {
        let score = |hours, minutes| news2(&patient, at(hours, minutes));
        let (fine, soon, urgent, late) = (score(0, 10), score(2, 1), score(3, 41), score(5, 31));
        let about = format!("seed {}: {fine} {soon} {urgent} {late}", patient.seed);
        assert!(fine == 0 && (1..=4).contains(&soon), "{about}");
        assert!((5..=6).contains(&urgent) && late >= 7, "{about}");
    }
}

#[test]
fn a_kiosk_morning_measures_forty_people() {
    for patient in patients("kiosk-morning") {
        let story = &patient.scenario;
        assert_eq!((story.kiosk.len(), story.kiosk_failed.len()), (40, 2));
        let high = story.kiosk.iter().filter(|cuff| cuff.pressure[0] >= 140).count();
        assert!(high >= 4, "seed {}: {high}", patient.seed);
    }
}

#[test]
fn a_day_of_link_failures_has_short_and_long_ones() {
    let story = Scenario::built_in("link-failures").unwrap();
    let lengths = |spans: &[(u64, u64)]| -> Vec<u64> {
        let mut lengths: Vec<u64> = spans.iter().map(|(from, until)| until - from).collect();
        lengths.sort_unstable();
        lengths
    };
    let (unplugged, off) = (lengths(&story.unplugged), lengths(&story.switched_off));
    assert!(unplugged.len() >= 10 && off.len() >= 4);
    assert_eq!((unplugged.first(), unplugged.last()), (Some(&1), Some(&7200)));
    let both = |second: &u64| story.is_unplugged(*second) && story.is_switched_off(*second);
    assert!((0..story.repeat_s).any(|second| both(&second)));
}
