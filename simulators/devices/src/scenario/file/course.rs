//! The course of the vital signs: values that jump, and values that drift.

use super::{Hundredths, Vitals};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Vital signs that change; the others stay.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changes {
    pub(super) hr: Option<u8>,
    pub(super) rr: Option<u8>,
    pub(super) spo2: Option<u8>,
    pub(super) temperature: Option<[Hundredths; 2]>,
    pub(super) st: Option<Hundredths>,
    pub(super) pressure: Option<[u8; 2]>,
}

/// Each value from a moment on, in the order of time: heart rate, breaths, saturation, two
/// temperatures, ST, systolic, diastolic.
#[derive(Debug, Default)]
pub(super) struct Course([Track; 8]);

/// From which second on a value holds.
#[derive(Debug, Default)]
struct Track(Vec<(u64, i64)>);

impl Course {
    /// A change that begins then and takes so long.
    pub(super) fn change(
        &mut self,
        at_s: u64,
        over_s: u64,
        changes: &Changes,
    ) -> Result<(), String> {
        let targets = changes.targets()?;
        if targets.iter().all(Option::is_none) {
            return Err("set: nothing is set".to_owned());
        }
        for (track, target) in self.0.iter_mut().zip(targets) {
            if let Some(target) = target {
                track.change(at_s, over_s, target);
            }
        }
        Ok(())
    }

    /// All of it, a line for every second in which anything changes.
    pub(super) fn vitals(&self) -> Vec<Vitals> {
        let moments = self.0.iter().flat_map(|track| track.0.iter().map(|(at_s, _)| *at_s));
        let moments: BTreeSet<u64> = moments.collect();
        moments.into_iter().map(|at_s| self.at(at_s)).collect()
    }

    fn at(&self, at_s: u64) -> Vitals {
        let [hr, rr, spo2, t1, t2, st, systolic, diastolic] =
            self.0.each_ref().map(|track| track.at(at_s));
        // What was told was checked, and what lies between lies between.
        let byte = |value| u8::try_from(value).unwrap_or_default();
        Vitals {
            at_s,
            hr: byte(hr),
            rr: byte(rr),
            spo2: byte(spo2),
            temperature: [t1, t2].map(|tenths| u16::try_from(tenths).unwrap_or_default()),
            st: i8::try_from(st).unwrap_or_default(),
            pressure: [systolic, diastolic].map(byte),
        }
    }
}

impl Changes {
    /// The values, in the order of the tracks.
    fn targets(&self) -> Result<[Option<i64>; 8], String> {
        if self.spo2.is_some_and(|spo2| spo2 > 100) {
            return Err("spo2 is at most 100 %".to_owned());
        }
        let tenths = |value: Hundredths| {
            let tenths = value.tenths().filter(|tenths| (150..=450).contains(tenths));
            tenths.map(i64::from).ok_or("temperature: from 15.0 to 45.0 °C, with one decimal")
        };
        let [t1, t2] = match self.temperature {
            Some([t1, t2]) => [Some(tenths(t1)?), Some(tenths(t2)?)],
            None => [None, None],
        };
        let st = self.st.map(|st| i8::try_from(st.0).map(i64::from)).transpose();
        let st = st.map_err(|_| "st: from -1.28 to 1.27 mV")?;
        if self.pressure.is_some_and(|[systolic, diastolic]| systolic < diastolic) {
            return Err("pressure is [systolic, diastolic]".to_owned());
        }
        let [systolic, diastolic] = match self.pressure {
            Some(pressure) => pressure.map(|mmhg| Some(i64::from(mmhg))),
            None => [None, None],
        };
        let byte = |value: Option<u8>| value.map(i64::from);
        Ok([byte(self.hr), byte(self.rr), byte(self.spo2), t1, t2, st, systolic, diastolic])
    }
}

impl Track {
    fn at(&self, at_s: u64) -> i64 {
        self.0.iter().rfind(|(from, _)| *from <= at_s).map_or(0, |(_, value)| *value)
    }

    /// From where it is then, in a straight line; a drift that goes on is given up.
    fn change(&mut self, at_s: u64, over_s: u64, target: i64) {
        let from = self.at(at_s);
        self.0.retain(|(step_s, _)| *step_s < at_s);
        self.0.push((at_s, if over_s == 0 { target } else { from }));
        let Ok(whole) = i64::try_from(over_s) else { return };
        let mut before = from;
        for (passed, step_s) in (1..=whole).zip(at_s + 1..) {
            // To the nearest; halves go up.
            let here = from + (2 * (target - from) * passed + whole).div_euclid(2 * whole);
            if here != before {
                self.0.push((step_s, here));
            }
            before = here;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(changes: &[(u64, u64, i64)]) -> Vec<(u64, i64)> {
        let mut track = Track(vec![(0, 70)]);
        changes.iter().for_each(|(at_s, over_s, target)| track.change(*at_s, *over_s, *target));
        track.0
    }

    #[test]
    fn a_value_jumps_drifts_and_is_turned_around() {
        assert_eq!(steps(&[(10, 0, 80)]), [(0, 70), (10, 80)]);
        assert_eq!(steps(&[(10, 4, 72)]), [(0, 70), (10, 70), (11, 71), (13, 72)]);
        assert_eq!(steps(&[(10, 2, 66)]), [(0, 70), (10, 70), (11, 68), (12, 66)]);
        let turned = steps(&[(10, 100, 170), (12, 0, 60)]);
        assert_eq!(turned, [(0, 70), (10, 70), (11, 71), (12, 60)]);
    }

    #[test]
    fn what_was_not_told_stays() {
        let mut course = Course::default();
        let all = Changes {
            hr: Some(75),
            rr: Some(16),
            spo2: Some(98),
            temperature: Some([Hundredths(3650), Hundredths(3710)]),
            st: Some(Hundredths(6)),
            pressure: Some([122, 78]),
        };
        course.change(0, 0, &all).unwrap();
        course.change(60, 0, &Changes { hr: Some(90), ..Changes::default() }).unwrap();
        let vitals = course.vitals();
        assert_eq!(vitals, [Vitals::RESTING, Vitals { at_s: 60, hr: 90, ..Vitals::RESTING }]);
        assert!(course.change(70, 0, &Changes::default()).is_err());
    }
}
