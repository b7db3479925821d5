//! The ECG as devices measure it.

use super::*;
use crate::scenario::Vitals;
use aws_lc_rs::digest::{Context, SHA256};
use proptest::{collection::vec, prelude::*};

const TICKS_S: u64 = 1_000_000 / TICK_US;

fn resting(hr: u8) -> Vitals {
    Vitals { hr, rr: 15, st: 0, ..Vitals::RESTING }
}

fn story(change: impl Fn(&mut Scenario)) -> Scenario {
    let vitals = vec![resting(75)];
    let mut scenario =
        Scenario { repeat_s: 100_000, is_exact: true, vitals, ..Scenario::default() };
    change(&mut scenario);
    scenario
}

fn always(rhythm: Rhythm) -> Scenario {
    story(|scenario| scenario.rhythm = vec![(0, 100_000, rhythm)])
}

/// The samples of some seconds, every so many ticks.
fn play(
    seed: u64,
    scenario: &Scenario,
    seconds: std::ops::Range<u64>,
    every: usize,
) -> Vec<Sample> {
    let patient = Patient::new(seed, scenario.clone(), EcgSource::Synthetic);
    let mut player = EcgPlayer::new(&patient);
    let ticks = (seconds.start * TICKS_S..seconds.end * TICKS_S).step_by(every);
    ticks.map(|tick| player.sample(SimTime(tick * TICK_US), &patient)).collect()
}

fn lead_two(samples: &[Sample]) -> Vec<i32> {
    samples.iter().map(|sample| sample.measured[1]).collect()
}

fn span(values: &[i32]) -> i32 {
    values.iter().max().unwrap() - values.iter().min().unwrap()
}

/// Half a minute at 500 Hz, as the first bytes of its hash.
fn hash(seed: u64, source: &EcgSource, scenario: &Scenario) -> String {
    let patient = Patient::new(seed, scenario.clone(), source.clone());
    let mut player = EcgPlayer::new(&patient);
    let mut context = Context::new(&SHA256);
    for tick in 0..30 * TICKS_S {
        let sample = player.sample(SimTime(tick * TICK_US), &patient);
        for step in sample.leads(5) {
            context.update(&step.to_le_bytes());
        }
        context.update(&[sample.beat.into()]);
    }
    context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// "Same seed, same bytes, on every machine": these are from one, and must be those of all.
#[test]
fn the_same_seed_is_the_same_signal_on_every_machine() {
    let moved = story(|scenario| {
        scenario.ectopic_beats = vec![(0, 30, 12)];
        scenario.motion = vec![(5, 15)];
        scenario.weak_signal = vec![(20, 25)];
    });
    let stories = [
        ("sinus", always(Rhythm::Sinus)),
        ("atrial fibrillation", always(Rhythm::AtrialFibrillation)),
        ("pauses", always(Rhythm::SinusPauses)),
        ("asystole", always(Rhythm::Asystole)),
        ("ectopic beats, motion, weak", moved),
    ];
    let found = stories.map(|(name, scenario)| {
        (name, [1, 2].map(|seed| hash(seed, &EcgSource::Synthetic, &scenario)))
    });
    let found = found.each_ref().map(|(name, [one, two])| (*name, one.as_str(), two.as_str()));
    let expected = [
        ("sinus", "b261150831f625f4", "bfa5eed1c9291bc9"),
        ("atrial fibrillation", "636c9251ae944b52", "0ded702194cb46ba"),
        ("pauses", "4d0600559f8c4833", "9c9447b76d066ac3"),
        // Nothing is left but the breath.
        ("asystole", "e472ba209f58efb1", "e472ba209f58efb1"),
        ("ectopic beats, motion, weak", "316792aa2c5c257e", "e53ccd5af44c72bd"),
    ];
    assert_eq!(found, expected);
    let recording = hash(1, &EcgSource::Recording, &always(Rhythm::Sinus));
    assert_eq!(recording, "2b1ecda7331a33c0");
}

#[test]
fn the_r_wave_of_lead_two_is_a_millivolt_where_the_beat_is() {
    for hr in [45, 75, 160] {
        let scenario = story(|scenario| scenario.vitals = vec![resting(hr)]);
        let samples = play(1, &scenario, 0..60, 1);
        let two = lead_two(&samples);
        let beats: Vec<usize> = (50..samples.len() - 50).filter(|at| samples[*at].beat).collect();
        assert!(beats.len().abs_diff(hr.into()) <= 2, "{} beats at {hr}", beats.len());
        let mut peaks = 0;
        for at in &beats {
            let peak = *two[at - 50..at + 50].iter().max().unwrap();
            assert!((750..1_250).contains(&peak), "{peak} µV");
            assert!(two[*at] > peak - 60, "the peak is at the beat");
            peaks += peak;
        }
        let mean = peaks / i32::try_from(beats.len()).unwrap();
        assert!((900..1_100).contains(&mean), "{mean} µV at {hr}");
    }
}

/// The mean of lead II around beats: from 300 ms before to 100 ms before, against 300 ms before.
fn before_the_beat(scenario: &Scenario) -> Vec<i32> {
    let samples = play(3, scenario, 0..300, 1);
    let two = lead_two(&samples);
    let beats: Vec<usize> = (400..samples.len()).filter(|at| samples[*at].beat).collect();
    let count = i32::try_from(beats.len()).unwrap();
    let mean = |before: usize| beats.iter().map(|at| two[at - before]).sum::<i32>() / count;
    (50..150).rev().map(|before| mean(before) - mean(150)).collect()
}

#[test]
fn there_is_a_p_wave_unless_the_atria_fibrillate() {
    let sinus = before_the_beat(&always(Rhythm::Sinus));
    let fibrillating = before_the_beat(&always(Rhythm::AtrialFibrillation));
    assert!((150..300).contains(&span(&sinus)), "{} µV", span(&sinus));
    assert!(span(&fibrillating) < 60, "{} µV", span(&fibrillating));
}

#[test]
fn fibrillating_atria_never_rest() {
    let quiet = |rhythm| {
        let samples = play(3, &always(rhythm), 0..60, 1);
        let two = lead_two(&samples);
        let pauses = (500..samples.len()).filter(|at| samples[*at].beat);
        // 200 ms in which nothing else is: at 75 a minute P begins 240 ms before a beat.
        pauses.map(|at| span(&two[at - 220..at - 140])).min().unwrap()
    };
    assert!(quiet(Rhythm::Sinus) < 15, "{}", quiet(Rhythm::Sinus));
    assert!(quiet(Rhythm::AtrialFibrillation) > 20, "{}", quiet(Rhythm::AtrialFibrillation));
}

#[test]
fn asystole_is_flat_and_the_heart_comes_back() {
    let still = story(|scenario| {
        scenario.vitals = vec![
            resting(75),
            Vitals { at_s: 60, ..resting(0) },
            Vitals { at_s: 80, ..resting(75) },
        ];
    });
    let told = story(|scenario| scenario.rhythm = vec![(60, 80, Rhythm::Asystole)]);
    for scenario in [still, told] {
        let samples = play(4, &scenario, 60..100, 1);
        let (standing, beating) = samples.split_at(usize::try_from(20 * TICKS_S).unwrap());
        assert_eq!(standing.iter().position(|sample| sample.beat), None);
        // The last T wave has gone; breathing has not.
        let flat = &lead_two(standing)[500..];
        assert!(span(flat) < 200, "{} µV", span(flat));
        let beats = beating.iter().filter(|sample| sample.beat).count();
        assert!((23..=26).contains(&beats), "{beats}");
    }
}

#[test]
fn a_premature_beat_is_wide_and_its_t_wave_against_it() {
    let scenario = story(|scenario| scenario.ectopic_beats = vec![(0, 100_000, 10)]);
    let samples = play(5, &scenario, 0..120, 1);
    let two = lead_two(&samples);
    let beats: Vec<usize> = (0..samples.len() - 500).filter(|at| samples[*at].beat).collect();
    let early = |pair: &&[usize]| pair[1] - pair[0] < 300;
    let early: Vec<usize> = beats.windows(2).filter(early).map(|pair| pair[1]).collect();
    assert!((12..28).contains(&early.len()), "{}", early.len());
    let wide = |at: usize| two[at - 60..at + 60].iter().filter(|uv| **uv > two[at] / 2).count();
    for at in early {
        assert!(wide(at) > 30, "{} ms above half", wide(at) * 2);
        let later = &two[at + 100..at + 200];
        assert!(*later.iter().min().unwrap() < -250);
    }
    assert!(wide(beats[0]) < 20, "{} ms above half", wide(beats[0]) * 2);
}

#[test]
fn devices_of_one_patient_measure_one_heart() {
    let scenario = story(|scenario| {
        scenario.rhythm = vec![(4_000, 5_000, Rhythm::AtrialFibrillation)];
        scenario.motion = vec![(3_602, 3_605)];
    });
    let (fast, slow) = (play(6, &scenario, 0..130, 1), play(6, &scenario, 0..130, 2));
    let every_other: Vec<[i32; 3]> = fast.iter().step_by(2).map(|sample| sample.measured).collect();
    assert!(slow.iter().map(|sample| sample.measured).eq(every_other));
    let beats = |samples: &[Sample]| samples.iter().filter(|sample| sample.beat).count();
    // The last one may lie on the tick that the slow device has not asked for.
    assert!(beats(&fast) - beats(&slow) <= 1);
    // One that is switched on late, and one across the end of a leg.
    let late = play(6, &scenario, 120..130, 1);
    assert_eq!(late, fast[usize::try_from(120 * TICKS_S).unwrap()..]);
    let all = play(6, &scenario, 3_595..4_010, 1);
    assert_eq!(play(6, &scenario, 3_601..3_610, 1), all[6 * 500..15 * 500]);
    assert_eq!(play(6, &scenario, 4_005..4_010, 1), all[410 * 500..]);
    assert_ne!(lead_two(&play(7, &scenario, 0..130, 1)), lead_two(&fast), "another patient");
}

#[test]
fn motion_moves_electrodes_and_no_more_than_so_far() {
    let still = play(8, &story(|_| {}), 0..30, 1);
    let moved = play(8, &story(|scenario| scenario.motion = vec![(10, 20)]), 0..30, 1);
    assert_eq!(still[..5_000], moved[..5_000]);
    assert_eq!(still[10_000..], moved[10_000..]);
    let mut most = [0; 3];
    for (still, moved) in still.iter().zip(&moved) {
        for ((most, still), moved) in most.iter_mut().zip(still.measured).zip(moved.measured) {
            *most = moved.abs_diff(still).max(*most);
        }
    }
    // Two electrodes of 420 µV each.
    assert!(most.iter().all(|uv| (200..=841).contains(uv)), "{most:?}");
}

#[test]
fn a_weak_signal_is_a_fifth() {
    let weak = play(9, &story(|scenario| scenario.weak_signal = vec![(0, 30)]), 0..30, 1);
    let strong = play(9, &story(|_| {}), 0..30, 1);
    for (weak, strong) in weak.iter().zip(strong) {
        assert!((weak.measured[1] * 5 - strong.measured[1]).abs() <= 5);
    }
}

#[test]
fn leads_add_up_in_the_numbers_of_any_device() {
    let scenario = story(|scenario| scenario.motion = vec![(0, 30)]);
    for sample in play(10, &scenario, 0..30, 1) {
        for step_uv in [5, 25] {
            let [one, two, three, avr, avl, avf, _] = sample.leads(step_uv);
            assert_eq!(one + three, two);
            // Halves are cut off.
            assert!((2 * avr + one + two).abs() <= 1);
            assert!((2 * avl - one + three).abs() <= 1);
            assert!((2 * avf - two - three).abs() <= 1);
            assert!((sample.measured[1] - two * step_uv).abs() <= step_uv / 2);
        }
    }
}

#[test]
fn the_recording_is_that_of_the_file() {
    let patient = Patient::new(1, story(|_| {}), EcgSource::Recording);
    let mut player = EcgPlayer::new(&patient);
    let bytes = include_bytes!("../../ecg/mitdb-100.bin");
    // A minute, and it begins anew.
    for (pair, place) in bytes.chunks(2).chain(bytes.chunks(2).take(9)).zip(0..) {
        let [_, two, .., chest] = player.sample(SimTime(place * 4_000), &patient).leads(25);
        assert_eq!([two, chest].map(|lead| lead + 128), [pair[0], pair[1]].map(i32::from));
    }
}

/// Spans of a story, some of them without end or beginning.
fn spans() -> impl Strategy<Value = Vec<(u64, u64)>> {
    vec((0_u64..100, 0_u64..100), 0..3)
}

fn any_story() -> impl Strategy<Value = Scenario> {
    let rhythm = prop_oneof![
        Just(Rhythm::Sinus),
        Just(Rhythm::AtrialFibrillation),
        Just(Rhythm::SinusPauses),
        Just(Rhythm::Asystole),
    ];
    let rhythms = vec((0_u64..100, 0_u64..100, rhythm), 0..4);
    let ectopic = vec((0_u64..100, 0_u64..100, any::<u8>()), 0..3);
    let vitals = vec((0_u64..100, any::<u8>(), any::<u8>()), 0..4);
    let parts = (any::<u8>(), vitals, rhythms, ectopic, spans(), spans());
    parts.prop_map(|(repeat_s, vitals, rhythm, ectopic_beats, motion, weak_signal)| Scenario {
        repeat_s: repeat_s.into(),
        vitals: vitals
            .into_iter()
            .map(|(at_s, hr, rr)| Vitals { at_s, rr, ..resting(hr) })
            .collect(),
        rhythm,
        ectopic_beats,
        motion,
        weak_signal,
        ..Scenario::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the story, and whenever a device asks.
    #[test]
    fn no_story_leaves_what_an_ecg_can_be(
        scenario in any_story(),
        seed in any::<u64>(),
        moments in vec(prop_oneof![0_u64..200_000_000, any::<u64>()], 1..6),
    ) {
        let patient = Patient::new(seed, scenario, EcgSource::Synthetic);
        let mut player = EcgPlayer::new(&patient);
        for begin_us in moments {
            for tick in 0..500 {
                let at = SimTime(begin_us.saturating_add(tick * TICK_US));
                let sample = player.sample(at, &patient);
                prop_assert!(sample.measured.iter().all(|uv| uv.abs() < 4_000), "{sample:?}");
            }
        }
    }
}
