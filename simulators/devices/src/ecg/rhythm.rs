//! When the heart beats, and what kind of beat it is.
//!
//! Time is cut into legs of an hour, and each leg is a function of the seed alone: a device that
//! joins late finds the same beats as one that was there all along.
//!
//! # Invariants
//! - the mean interval of sinus rhythm and of atrial fibrillation is that of the vital signs
//! - a turn ends after it begins, and the next one begins where it ended
//! - where the heart rate is 0 or the story says asystole, no turn ends in a beat
//! - a leg begins with a beat unless the heart stands still; the beats before it come out even

use super::{
    rounding::whole,
    tone::{Tone, chance, sine},
};
use crate::{Patient, scenario::Rhythm};

/// A leg. Joining in late costs its beats: 4 500 at 75 a minute, about a millisecond.
pub(super) const LEG_US: u64 = 3_600_000_000;
const LEG_S: u64 = LEG_US / SECOND_US;
const SECOND_US: u64 = 1_000_000;

/// Peaks of the spectrum of intervals: Mayer waves at 0.1 Hz; breathing, whose rate the vital signs
/// have (McSharry et al. 2003, equation 3: f1, and f2 of 0.25 Hz).
const MAYER_UHZ: u64 = 100_000;
/// Each peak is a Gaussian with a standard deviation of 0.01 Hz (equation 3, c1 and c2). Lines that
/// are spread evenly over this much to each side have it: √3 × 0.01 Hz.
const SPREAD_UHZ: u64 = 17_320;
/// Standard deviation of the interval as a part of its mean: 32 ms at 75 a minute. Healthy adults
/// have 50 ± 16 ms over five minutes (Nunan et al. 2010, Pacing Clin Electrophysiol 33:1407–17),
/// patients less. Of its variance 1/3 is that of Mayer waves and 2/3 that of breathing: a ratio of
/// 0.5, equation 3.
const MAYER_SD: f64 = 0.04 * 0.577_350_269_189_625_8;
const BREATH_SD: f64 = 0.04 * 0.816_496_580_927_726;
/// Four sines of this amplitude have a standard deviation of 1 together.
const LINE_AMPLITUDE: f64 = std::f64::consts::SQRT_2 / 2.0;

/// Atrial fibrillation, as parts of the mean interval: the node is deaf for so long, then waits for
/// the third of impulses that come by chance. Three waits of 0.15: a coefficient of variation of
/// 0.15 × √3 = 0.26.
const DEAF: f64 = 0.55;
const WAIT: f64 = 0.15;
/// No wait without end.
const IRREGULAR_MAX: f64 = 2.2;
/// One of so many beats is missing in sinus rhythm with pauses: one in 16 s at 75 a minute.
const PAUSE_EVERY: f64 = 20.0;
/// A pause: 2.0 to 3.5 s.
const PAUSE_S: [f64; 2] = [2.0, 3.5];
/// A premature beat comes after so much of an interval; two intervals later the next is on time.
const PREMATURE: f64 = 0.6;
/// No two beats are closer: the ventricle is refractory.
const INTERVAL_US_MIN: u64 = 200_000;

const SALT_MAYER: u64 = 40;
const SALT_BREATH: u64 = 50;
const SALT_PAUSE: u64 = 60;
const SALT_ECTOPIC: u64 = 62;
const SALT_WAIT: u64 = 64;

/// What the story says of the heart in one second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Heart {
    /// Beats a minute; above 0 unless it is asystole.
    pub(super) hr: u8,
    /// Breaths a minute.
    pub(super) breaths: u8,
    pub(super) rhythm: Rhythm,
    /// Premature ventricular beats a minute.
    pub(super) ectopic: u8,
}

impl Heart {
    /// What the heart does that many seconds after the start.
    pub(super) fn of(patient: &Patient, elapsed_s: u64) -> Self {
        let scenario = &patient.scenario;
        let second = scenario.second(elapsed_s);
        let vitals = patient.vitals(second);
        let rhythm = match vitals.hr {
            0 => Rhythm::Asystole,
            _ => scenario.rhythm(second),
        };
        let ectopic = scenario.ectopic_beats(second);
        Self { hr: vitals.hr, breaths: vitals.rr, rhythm, ectopic }
    }

    fn interval_s(self) -> f64 {
        60.0 / f64::from(self.hr.max(1))
    }

    fn beat(self) -> Option<Beat> {
        let kind = match self.rhythm {
            Rhythm::Sinus | Rhythm::SinusPauses => Kind::Sinus,
            Rhythm::AtrialFibrillation => Kind::Fibrillation,
            Rhythm::Asystole => return None,
        };
        Some(Beat { kind, hr: self.hr })
    }
}

/// From where a beat comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The sinus node: P, QRS and T.
    Sinus,
    /// Atria that fibrillate: no P.
    Fibrillation,
    /// The ventricle: no P, a wide QRS, T against it.
    Ectopic,
}

/// A beat and the heart rate at which it comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Beat {
    pub(super) kind: Kind,
    pub(super) hr: u8,
}

/// One turn around the limit cycle: from an R wave to the next, or to where there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    /// Microseconds since the start.
    pub(super) from_us: u64,
    pub(super) until_us: u64,
    /// The beat it begins with.
    pub(super) leaving: Option<Beat>,
    /// The beat it ends with.
    pub(super) coming: Option<Beat>,
}

/// One turn after the other.
#[derive(Clone, Debug)]
pub(super) struct Beats {
    seed: u64,
    leg: u64,
    /// Turns of this leg so far.
    count: u64,
    turn: Turn,
    /// The rest after a premature beat.
    rest_us: Option<u64>,
    paused: bool,
    breath: Breath,
    /// Each peak is made of four lines.
    mayer: [Tone; 4],
    breathing: [Tone; 4],
}

impl Beats {
    /// The first turn of a leg.
    pub(super) fn new(seed: u64, leg: u64, story: &impl Fn(u64) -> Heart) -> Self {
        let start_us = leg.saturating_mul(LEG_US);
        let lines = [0, 1, 2, 3];
        let (lowest, highest) = (MAYER_UHZ - SPREAD_UHZ, MAYER_UHZ + SPREAD_UHZ);
        let mut beats = Self {
            seed,
            leg,
            count: 0,
            turn: Turn { from_us: start_us, until_us: start_us, leaving: None, coming: None },
            rest_us: None,
            paused: false,
            breath: Breath::new(leg, story),
            mayer: lines.map(|line| Tone::between(seed, SALT_MAYER + line, lowest, highest)),
            breathing: lines.map(|line| {
                Tone::between(seed, SALT_BREATH + line, 0, 2 * SPREAD_UHZ).lowered(SPREAD_UHZ)
            }),
        };
        let heart = story(start_us / SECOND_US);
        beats.turn.coming = heart.beat().filter(|_| leg > 0);
        if leg == 0 && heart.beat().is_some() {
            // The story begins between two beats.
            beats.turn.until_us = start_us + micros(heart.interval_s() / 2.0);
            beats.turn.coming = story(beats.turn.until_us / SECOND_US).beat();
        } else {
            beats.next(story);
        }
        beats
    }

    /// The turn it is in.
    pub(super) fn turn(&self) -> Turn {
        self.turn
    }

    /// Goes on to the next turn.
    pub(super) fn next(&mut self, story: &impl Fn(u64) -> Heart) {
        let (from_us, leaving) = (self.turn.until_us, self.turn.coming);
        let end_us = (self.leg + 1).saturating_mul(LEG_US);
        if from_us >= end_us {
            *self = Self::new(self.seed, self.leg + 1, story);
            return;
        }
        self.count += 1;
        let here = story(from_us / SECOND_US);
        if here.rhythm != Rhythm::Asystole {
            let (interval_us, ectopic) = self.interval(from_us, leaving, here, story);
            let until_us = from_us + even(end_us - from_us, interval_us);
            if let Some(mut beat) = story(until_us / SECOND_US).beat() {
                if ectopic && until_us < end_us {
                    beat.kind = Kind::Ectopic;
                }
                self.turn = Turn { from_us, until_us, leaving, coming: Some(beat) };
                return;
            }
        }
        (self.rest_us, self.paused) = (None, false);
        let (until_us, coming) = resume(from_us, end_us, story);
        self.turn = Turn { from_us, until_us, leaving, coming };
    }

    /// How long until the next beat, and whether that one is premature.
    fn interval(
        &mut self,
        from_us: u64,
        leaving: Option<Beat>,
        heart: Heart,
        story: &impl Fn(u64) -> Heart,
    ) -> (u64, bool) {
        let sway = self.sway(from_us, story);
        if let Some(rest_us) = self.rest_us.take() {
            return (rest_us, false);
        }
        let count = self.leg.wrapping_mul(LEG_US).wrapping_add(self.count);
        let draw = |salt| chance(self.seed, count, salt);
        let mean_s = heart.interval_s();
        let pauses = heart.rhythm == Rhythm::SinusPauses && !self.paused;
        self.paused = pauses && draw(SALT_PAUSE) * PAUSE_EVERY < 1.0;
        if self.paused {
            let [shortest, longest] = PAUSE_S;
            let pause_s = shortest + (longest - shortest) * draw(SALT_PAUSE + 1);
            return (micros(pause_s.max(mean_s)), false);
        }
        let interval_s = match heart.rhythm {
            Rhythm::AtrialFibrillation => {
                let wait = |salt| -libm::log(1.0 - draw(SALT_WAIT + salt));
                let waits = wait(0) + wait(1) + wait(2);
                mean_s * (DEAF + WAIT * waits).min(IRREGULAR_MAX)
            }
            _ => mean_s * (1.0 + sway),
        };
        // Each of the others is followed by one with this probability: then it is so many a minute.
        let others = f64::from(heart.hr.saturating_sub(heart.ectopic).max(1));
        let after_another = leaving.is_some_and(|beat| beat.kind != Kind::Ectopic);
        if after_another && draw(SALT_ECTOPIC) * others < f64::from(heart.ectopic) {
            let early_us = micros(interval_s * PREMATURE);
            self.rest_us = Some(micros(interval_s * (2.0 - PREMATURE)));
            return (early_us, true);
        }
        (micros(interval_s), false)
    }

    /// By how much of itself the interval that begins then differs from the mean: at most 0.16.
    fn sway(&mut self, at_us: u64, story: &impl Fn(u64) -> Heart) -> f64 {
        let breath = self.breath.turns(at_us, story);
        let mayer: f64 = self.mayer.iter().map(|line| line.sine(at_us)).sum();
        let breathing = self.breathing.iter().map(|line| sine(breath + line.turns(at_us)));
        LINE_AMPLITUDE * (MAYER_SD * mayer + BREATH_SD * breathing.sum::<f64>())
    }
}

/// How far the chest has moved, in breaths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breath {
    leg: u64,
    second: u64,
    /// Breaths at the start of that second, in sixtieths; whole ones do not count.
    sixtieths: u64,
    /// Breaths a minute in that second.
    rate: u64,
}

impl Breath {
    pub(super) fn new(leg: u64, story: &impl Fn(u64) -> Heart) -> Self {
        let second = leg.saturating_mul(LEG_S);
        Self { leg, second, sixtieths: 0, rate: story(second).breaths.into() }
    }

    /// Turns, whole ones left out at each second; asked for with moments in order.
    pub(super) fn turns(&mut self, at_us: u64, story: &impl Fn(u64) -> Heart) -> f64 {
        if at_us / LEG_US != self.leg {
            *self = Self::new(at_us / LEG_US, story);
        }
        while self.second < at_us / SECOND_US {
            self.sixtieths = (self.sixtieths + self.rate) % 60;
            self.second += 1;
            self.rate = story(self.second).breaths.into();
        }
        let part_us = self.rate * (at_us % SECOND_US);
        let sixtieths = u32::try_from(self.sixtieths * SECOND_US + part_us).unwrap_or_default();
        f64::from(sixtieths) / 60e6
    }
}

/// The interval, or near the end of a leg one near it that comes out even.
fn even(left_us: u64, interval_us: u64) -> u64 {
    if left_us >= interval_us * 4 {
        return interval_us;
    }
    let times = ((2 * left_us + interval_us) / (2 * interval_us)).max(1);
    left_us / times
}

/// When the heart that stands still, or will at its next beat, beats again.
fn resume(from_us: u64, end_us: u64, story: &impl Fn(u64) -> Heart) -> (u64, Option<Beat>) {
    let second = from_us / SECOND_US;
    let end_s = end_us / SECOND_US;
    let stands = |second| story(second).rhythm == Rhythm::Asystole;
    let begins = (second + 1..end_s).filter(|second| stands(second - 1) && !stands(*second));
    let mut beats = begins.filter_map(|second| {
        let interval_s = story(second).interval_s();
        let at_us = second * SECOND_US + micros(interval_s / 2.0);
        let beat = story(at_us / SECOND_US).beat()?;
        (at_us + micros(interval_s) <= end_us).then_some((at_us, Some(beat)))
    });
    beats.next().unwrap_or_else(|| (end_us, story(end_s).beat()))
}

fn micros(seconds: f64) -> u64 {
    u64::try_from(whole(seconds * 1e6)).unwrap_or_default().max(INTERVAL_US_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTING: Heart = Heart { hr: 75, breaths: 15, rhythm: Rhythm::Sinus, ectopic: 0 };

    /// Turns that end within so many seconds, from the start.
    fn turns(seed: u64, until_s: u64, story: impl Fn(u64) -> Heart) -> Vec<Turn> {
        let mut beats = Beats::new(seed, 0, &story);
        let mut turns = vec![beats.turn()];
        while beats.turn().until_us < until_s * SECOND_US {
            beats.next(&story);
            turns.push(beats.turn());
        }
        turns
    }

    /// Seconds from beat to beat, and when each interval began.
    fn intervals(turns: &[Turn]) -> Vec<(f64, f64)> {
        let whole = turns.iter().filter(|turn| turn.leaving.is_some() && turn.coming.is_some());
        let seconds = |us: u64| f64::from(u32::try_from(us).unwrap()) * 1e-6;
        whole
            .map(|turn| (seconds(turn.from_us % LEG_US), seconds(turn.until_us - turn.from_us)))
            .collect()
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let (count, sum) =
            values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
        sum / count
    }

    /// Mean, and standard deviation as a part of it.
    fn spread(intervals: &[(f64, f64)]) -> (f64, f64) {
        let middle = mean(intervals.iter().map(|(_, length)| *length));
        let square = mean(intervals.iter().map(|(_, length)| (length - middle).powi(2)));
        (middle, square.sqrt() / middle)
    }

    /// Power of the intervals at a frequency.
    fn power(intervals: &[(f64, f64)], hz: f64) -> f64 {
        let (middle, _) = spread(intervals);
        let part = |shift: f64| {
            mean(intervals.iter().map(|(at, length)| (length - middle) * sine(hz * at + shift)))
        };
        part(0.0).powi(2) + part(0.25).powi(2)
    }

    #[test]
    fn the_mean_interval_is_that_of_the_heart_rate() {
        for (hr, seed) in [(32, 1), (75, 2), (190, 3)] {
            for rhythm in [Rhythm::Sinus, Rhythm::AtrialFibrillation] {
                let found = intervals(&turns(seed, 1_800, |_| Heart { hr, rhythm, ..RESTING }));
                let (middle, _) = spread(&found);
                let expected = 60.0 / f64::from(hr);
                let off = (middle - expected).abs() / expected;
                assert!(off < 0.02, "{rhythm:?} at {hr}: {middle} s");
            }
        }
    }

    /// The bands are those of the Task Force on heart rate variability (Circulation 1996;93:1043).
    #[test]
    fn sinus_rhythm_sways_with_mayer_waves_and_with_breathing() {
        for (breaths, seed) in [(15, 1), (15, 2), (21, 3)] {
            let found = intervals(&turns(seed, 900, |_| Heart { breaths, ..RESTING }));
            let (_, variation) = spread(&found);
            assert!((0.03..0.05).contains(&variation), "{variation}");
            let most = |from: u32, until: u32| {
                let powers = (from..until).map(|mhz| power(&found, f64::from(mhz) * 1e-3));
                powers.fold(0.0, f64::max)
            };
            let breath_mhz = u32::from(breaths) * 1_000 / 60;
            let valley = most(140, breath_mhz - 40);
            let mayer = most(80, 120);
            let breathing = most(breath_mhz - 20, breath_mhz + 20);
            assert!(mayer > 4.0 * valley, "{mayer} {valley}");
            assert!(breathing > 8.0 * valley, "{breathing} {valley}");
        }
    }

    #[test]
    fn atrial_fibrillation_has_no_order() {
        let af = |_| Heart { rhythm: Rhythm::AtrialFibrillation, ..RESTING };
        let found = intervals(&turns(5, 1_800, af));
        let (middle, variation) = spread(&found);
        assert!((0.22..0.30).contains(&variation), "{variation}");
        let deviation = |place: usize| found[place].1 - middle;
        let together = mean((1..found.len()).map(|place| deviation(place - 1) * deviation(place)));
        let order = together / (variation * middle).powi(2);
        assert!(order.abs() < 0.08, "one interval says nothing of the next: {order}");
    }

    #[test]
    fn a_beat_is_missing_now_and_then_where_the_sinus_node_pauses() {
        let found = |rhythm| intervals(&turns(4, 1_800, move |_| Heart { rhythm, ..RESTING }));
        let long = |found: &[(f64, f64)]| {
            found.iter().map(|(_, length)| *length).filter(|length| *length > 1.2).collect()
        };
        let pauses: Vec<f64> = long(&found(Rhythm::SinusPauses));
        assert!((60..140).contains(&pauses.len()), "{}", pauses.len());
        assert!(pauses.iter().all(|pause| (2.0..=3.5).contains(pause)));
        assert_eq!(long(&found(Rhythm::Sinus)), Vec::<f64>::new());
    }

    #[test]
    fn a_premature_beat_is_early_and_the_next_one_on_time() {
        for ectopic in [4, 12, 37] {
            let found = turns(6, 1_800, |_| Heart { ectopic, ..RESTING });
            let early = |turn: &&[Turn]| turn[0].coming.unwrap().kind == Kind::Ectopic;
            let pairs: Vec<&[Turn]> = found.windows(2).filter(early).collect();
            let expected = usize::from(ectopic) * 30;
            let off = pairs.len().abs_diff(expected);
            assert!(off < 12 + expected / 8, "{} of {expected}", pairs.len());
            for pair in pairs {
                let [early, late] = [&pair[0], &pair[1]].map(|turn| turn.until_us - turn.from_us);
                assert!(late.abs_diff(early * 7 / 3) < 10, "{early} and {late}");
                assert!((920_000..1_320_000).contains(&late), "{late}");
                assert_eq!(pair[1].coming.unwrap().kind, Kind::Sinus);
            }
        }
    }

    #[test]
    fn the_heart_stands_still_and_beats_again() {
        let stands = 100..130;
        let story = |second| match stands.contains(&second) {
            true => Heart { hr: 0, rhythm: Rhythm::Asystole, ..RESTING },
            false => RESTING,
        };
        let found = turns(7, 200, story);
        let beats = found.iter().filter(|turn| turn.coming.is_some());
        let seconds: Vec<u64> = beats.map(|turn| turn.until_us / SECOND_US).collect();
        assert!(seconds.iter().all(|second| !stands.contains(second)));
        assert!(seconds.contains(&99) && seconds.contains(&130), "{seconds:?}");
        let never = turns(7, 10, |_| Heart { hr: 0, rhythm: Rhythm::Asystole, ..RESTING });
        assert_eq!(never.len(), 1);
        assert_eq!((never[0].until_us, never[0].coming), (LEG_US, None));
    }

    #[test]
    fn legs_join_without_a_seam() {
        let story = |_| RESTING;
        let found = turns(8, 2 * LEG_S + 10, story);
        assert!(found.windows(2).all(|pair| pair[0].until_us == pair[1].from_us));
        assert!(found.windows(2).all(|pair| pair[0].coming == pair[1].leaving));
        for (_, length) in intervals(&found) {
            assert!((0.6..1.0).contains(&length), "{length}");
        }
        for leg in [1, 2] {
            let first = Beats::new(8, leg, &story).turn();
            assert_eq!(first.from_us, leg * LEG_US);
            assert!(found.contains(&first));
        }
    }

    #[test]
    fn a_breath_goes_on_where_the_rate_changes() {
        let story = |second| Heart { breaths: if second < 2 { 15 } else { 30 }, ..RESTING };
        let mut breath = Breath::new(0, &story);
        let check = |breath: &mut Breath, ms: u64, expected: f64| {
            assert!((breath.turns(ms * 1000, &story) - expected).abs() < 1e-9, "{ms}");
        };
        check(&mut breath, 1_000, 0.25);
        check(&mut breath, 2_000, 0.5);
        check(&mut breath, 2_500, 0.75);
        check(&mut breath, 3_250, 0.125);
    }
}
