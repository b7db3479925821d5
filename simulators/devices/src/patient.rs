//! The patient of a bed: what all devices at it measure together.
//!
//! Slow values are told by the scenario and change a little from minute to minute and from beat to
//! beat, as the seed has it; a cuff counts the pulse that the monitor counts. All in integers: the
//! same seed has the same bytes on every machine. What a single device adds (the oximeter's own
//! count, its rudeness) follows from the device's seed.
//!
//! - `glucose`: what meals and insulin do to it

mod glucose;

use crate::{
    EcgSource, Scenario,
    scenario::{Crowd, Cuff, Glucose, Measure, Rhythm, Vitals, variation},
};

/// What varies, each with its own dice. The heart rate's are those the monitors always threw.
mod salt {
    pub(super) const BEAT: u64 = 1;
    pub(super) const HR: u64 = 101;
    pub(super) const RR: u64 = 102;
    pub(super) const SPO2: u64 = 103;
    pub(super) const TEMPERATURE: u64 = 104;
    pub(super) const SYSTOLIC: u64 = 105;
    pub(super) const DIASTOLIC: u64 = 106;
    pub(super) const METER: u64 = 107;
    pub(super) const ARRIVAL: u64 = 108;
    pub(super) const FAILED: u64 = 109;
    /// And those behind it: the parts of a person.
    pub(super) const PERSON: u64 = 110;
}

/// A regular heart rate is at most so much above what is told, from second to second…
pub const BEAT_SPAN: u8 = 2;
/// …and one in atrial fibrillation up to half of this above or below.
pub const FIBRILLATION_SPAN: u8 = 24;
/// Vital signs change by the minute.
const MINUTE_S: u64 = 60;
/// One of so many who come to a kiosk has a pressure that nobody treats.
const UNTREATED: u64 = 8;
/// Somebody whose measurement failed tries again so much later.
const SECOND_TRY_S: u64 = 60;
/// E44, the arm moved, and one of the others.
const E_CODES: [u8; 2] = [44, 43];
/// Blood pressure over the day: hours, and per mille of the night's dip. It is highest in the middle
/// of the morning, falls over the day, is lowest at three and rises before one wakes (Millar-Craig,
/// Bishop, Raftery, Lancet 1978; 1:795); 10 to 20 % is the usual dip (O'Brien, Sheridan,
/// O'Malley, Lancet 1988; 2:397).
const DAY: [(u64, i64); 10] = [
    (0, -800),
    (3, -1_000),
    (5, -850),
    (7, 0),
    (9, 400),
    (12, 200),
    (15, 0),
    (18, 150),
    (21, 0),
    (24, -800),
];

/// The patient of a bed.
#[derive(Clone, Debug)]
pub struct Patient {
    /// From which everything about the patient follows.
    pub seed: u64,
    /// What happens, with every result that is measured on the way.
    pub scenario: Scenario,
    /// Where the ECG comes from.
    pub ecg: EcgSource,
}

impl Patient {
    /// The patient of that seed, in that story.
    #[must_use]
    pub fn new(seed: u64, scenario: Scenario, ecg: EcgSource) -> Self {
        let mut patient = Self { seed, scenario, ecg };
        let measures = std::mem::take(&mut patient.scenario.measures);
        let course = match measures.iter().any(|(_, measure)| *measure == Measure::Glucose) {
            true => glucose::course(&patient.scenario),
            false => Vec::new(),
        };
        for (at_s, measure) in measures {
            let cuff = patient.cuff(at_s);
            let story = &mut patient.scenario;
            match measure {
                Measure::Kiosk => story.kiosk.push(cuff),
                Measure::MonitorCuff => story.monitor_cuff.push(cuff),
                Measure::Glucose => {
                    let minute = usize::try_from(at_s / MINUTE_S).unwrap_or_default();
                    let glucose = course.get(minute).copied().unwrap_or(story.body.fasting);
                    let mg_per_dl = metered(seed, at_s, glucose);
                    story.glucose.push(Glucose { at_s, mg_per_dl });
                }
            }
        }
        for crowd in std::mem::take(&mut patient.scenario.crowds) {
            patient.receive(crowd);
        }
        patient
    }

    /// Vital signs at that second of the story.
    #[must_use]
    pub fn vitals(&self, second: u64) -> Vitals {
        let told = self.scenario.vitals(second);
        if self.scenario.is_exact {
            return told;
        }
        let around = |salt, value: u8, most: u8| match value {
            // Nothing beats, nobody breathes: that does not vary.
            0 => 0,
            _ => around(self.seed, second / MINUTE_S, salt, value, most),
        };
        let warmer = variation(self.seed, second / MINUTE_S, salt::TEMPERATURE, 1);
        let warmer = u16::try_from(warmer).unwrap_or_default();
        Vitals {
            hr: around(salt::HR, told.hr, 2),
            rr: around(salt::RR, told.rr, 1),
            spo2: around(salt::SPO2, told.spo2, 1).min(100),
            temperature: told.temperature.map(|tenths| tenths.saturating_add(warmer)),
            ..told
        }
    }

    /// Beats per minute, as every device at the bed counts them that many seconds after the start.
    #[must_use]
    pub fn heart_rate(&self, elapsed_s: u64) -> u8 {
        let second = self.scenario.second(elapsed_s);
        let hr = self.vitals(second).hr;
        match self.scenario.rhythm(second) {
            _ if hr == 0 => 0,
            Rhythm::AtrialFibrillation => {
                around(self.seed, elapsed_s, salt::BEAT, hr, FIBRILLATION_SPAN / 2)
            }
            _ => {
                let more = variation(self.seed, elapsed_s, salt::BEAT, u64::from(BEAT_SPAN));
                hr.saturating_add(u8::try_from(more).unwrap_or_default())
            }
        }
    }

    /// Systolic and diastolic pressure at that second of the story, in mmHg.
    #[must_use]
    pub fn pressure(&self, second: u64) -> [u8; 2] {
        let hour_s = (self.scenario.starts_at_s + second) % (24 * 3600);
        let dip = i64::from(self.scenario.body.night_dip);
        // Per mille of the dip, which is in percent.
        let change = dip * of_day(hour_s);
        self.scenario.vitals(second).pressure.map(|mmhg| {
            let mmhg = i64::from(mmhg) * (100_000 + change);
            u8::try_from((mmhg + 50_000) / 100_000).unwrap_or(u8::MAX)
        })
    }

    /// What a cuff shows that is finished at that second of the story.
    fn cuff(&self, at_s: u64) -> Cuff {
        let [systolic, diastolic] = self.pressure(at_s);
        let systolic = around(self.seed, at_s, salt::SYSTOLIC, systolic, 3);
        let diastolic = around(self.seed, at_s, salt::DIASTOLIC, diastolic, 2);
        Cuff { at_s, pressure: pressures(systolic, diastolic), pulse: self.heart_rate(at_s) }
    }

    /// People come to the kiosk: one after the other, each with a pressure and a pulse.
    fn receive(&mut self, crowd: Crowd) {
        let (from_s, until_s) = crowd.span;
        let people = u64::from(crowd.people).max(1);
        let room_s = until_s.saturating_sub(from_s) / people;
        // Spread over the morning, so that one is early and another late.
        let failed_every = people / u64::from(crowd.failed).max(1);
        let first_failed = variation(self.seed, from_s, salt::FAILED, failed_every - 1);
        let is_failed = |number: u64| {
            crowd.failed > 0
                && number % failed_every == first_failed
                && number / failed_every < u64::from(crowd.failed)
        };
        for number in 0..u64::from(crowd.people) {
            let late_s = variation(self.seed, number, salt::ARRIVAL, room_s / 3);
            let at_s = from_s + number * room_s + SECOND_TRY_S + late_s;
            if is_failed(number) {
                let code = E_CODES.get(usize::from(number / failed_every % 2 == 1));
                let first_s = at_s - SECOND_TRY_S;
                self.scenario.kiosk_failed.push((first_s, code.copied().unwrap_or(44)));
            }
            self.scenario.kiosk.push(person(self.seed, number, at_s));
        }
    }
}

/// Mean pressure, by the rule of the third.
fn pressures(systolic: u8, diastolic: u8) -> [u8; 3] {
    let diastolic = diastolic.min(systolic);
    [systolic, diastolic + (systolic - diastolic) / 3, diastolic]
}

/// Somebody from the township. About a quarter has 140/90 and more, as Chinese adults have
/// (27.9 %, Wang et al., Circulation 2018; 137:2344); one of eight is not treated.
fn person(seed: u64, number: u64, at_s: u64) -> Cuff {
    let part = |place: u64, span| {
        u8::try_from(variation(seed, number, salt::PERSON + place, span)).unwrap_or_default()
    };
    // The sum of three throws is nearly a bell.
    let untreated = variation(seed, number / UNTREATED, salt::PERSON + 6, UNTREATED - 1);
    let more = if number % UNTREATED == untreated { 42 } else { 0 };
    let systolic = 95 + part(0, 22) + part(1, 22) + part(2, 22) + more;
    let diastolic = systolic / 2 + 10 + part(3, 11);
    Cuff { at_s, pressure: pressures(systolic, diastolic), pulse: 60 + part(4, 18) + part(5, 18) }
}

/// What a meter shows: within 5 %, and ISO 15197 allows 15.
fn metered(seed: u64, at_s: u64, glucose: u16) -> u16 {
    let error = variation(seed, at_s, salt::METER, 10);
    let percent = 95 + u16::try_from(error).unwrap_or(5);
    let shown = u32::from(glucose) * u32::from(percent) / 100;
    u16::try_from(shown).unwrap_or(u16::MAX)
}

/// The value, and up to so much more or less.
fn around(seed: u64, when: u64, salt: u64, value: u8, most: u8) -> u8 {
    let thrown = variation(seed, when, salt, u64::from(most) * 2);
    let thrown = u8::try_from(thrown).unwrap_or_default();
    value.saturating_add(thrown).saturating_sub(most)
}

/// How far the day has raised the blood pressure, between the hours of [`DAY`].
fn of_day(second: u64) -> i64 {
    let hours = DAY.iter().zip(DAY.iter().skip(1));
    let between = hours.into_iter().find(|(_, (until, _))| second < until * 3600);
    let Some(((from, before), (until, after))) = between else { return 0 };
    let (passed, whole) = (second - from * 3600, (until - from) * 3600);
    let [passed, whole] = [passed, whole].map(|span| i64::try_from(span).unwrap_or(1));
    before + (after - before) * passed / whole
}

#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
