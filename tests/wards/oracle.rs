//! Which episodes of plain values must give an alert, from the text of the alert rules alone: limits
//! as its tables print them, sustain, hold, gaps, families and what comes back. Of whom devices came
//! or went it knows nothing.

use crate::{
    patient::Line,
    script::{Said, Script},
};
use model::alarm::{AlarmKind, AlarmPhase};
use std::collections::BTreeMap;

/// "No gap longer than 3 × the metric's expected interval": a monitor's is 1 s.
const GAP_S: i64 = 3;
/// "Ends 5 min after the clear condition was met."
const SAME_S: i64 = 300;
/// A second cuff value "at least 1 min and at most 30 min after the first".
const CONFIRM_S: std::ops::RangeInclusive<i64> = 60..=1800;

/// An episode that is one alert.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    pub(crate) subject: String,
    pub(crate) family: &'static str,
    pub(crate) start: i64,
    /// When it held: from the reading that completed it to the one that cleared it.
    pub(crate) held: Vec<(i64, Option<i64>)>,
    pub(crate) is_high: bool,
    pub(crate) is_spot: bool,
}

impl Episode {
    pub(crate) fn cleared(&self) -> Option<i64> {
        self.held.last().and_then(|(_, until)| *until)
    }
}

/// Where one line stands.
#[derive(Clone, Copy, Default)]
struct Standing {
    outside: Option<i64>,
    inside: Option<i64>,
    fires: bool,
}

impl Standing {
    fn anew(&mut self) {
        self.inside = None;
        if !self.fires {
            self.outside = None;
        }
    }

    fn value(&mut self, line: &Line, at: i64, value: i32) {
        if line.outside.has(value) {
            self.inside = None;
            self.fires |= at - *self.outside.get_or_insert(at) >= line.sustain_s;
        } else if !self.fires {
            self.outside = None;
        } else if !line.clear.has(value) {
            self.inside = None;
        } else if at - *self.inside.get_or_insert(at) >= line.hold_s {
            *self = Self::default();
        }
    }
}

/// What one family of one subject is judged to be at a moment.
struct Judged {
    at: i64,
    holds: bool,
    is_high: bool,
    /// The first reading outside, of what holds or may come to hold.
    since: Option<i64>,
}

/// The alerts there must be.
pub(crate) fn episodes(script: &Script) -> Vec<Episode> {
    let mut judged: BTreeMap<(usize, &'static str), Vec<Judged>> = BTreeMap::new();
    for (device, about) in script.devices.iter().enumerate() {
        if !script.is_settled(about.subject()) {
            continue;
        }
        streams(script, device, &mut judged);
        results(script, device, &mut judged);
    }
    let mut found = Vec::new();
    for ((device, family), judged) in judged {
        let subject = script.devices[device].subject().to_owned();
        let is_spot = !script.who(device).lines().iter().any(|line| line.family == family);
        let mut known: Option<Episode> = None;
        for Judged { at, holds, is_high, since } in judged {
            let holding = known.as_mut().and_then(|known| known.held.last_mut());
            match holding.filter(|(_, until)| until.is_none()) {
                Some((_, until)) if !holds => *until = Some(at),
                Some(_) => known.iter_mut().for_each(|known| known.is_high |= is_high),
                None if holds => {
                    let start = since.unwrap_or(at);
                    let is_same = |known: &Episode| {
                        known.cleared().is_some_and(|cleared| start - cleared <= SAME_S)
                    };
                    match known.as_mut().filter(|known| is_same(known)) {
                        Some(known) => {
                            known.held.push((at, None));
                            known.is_high |= is_high;
                        }
                        None => {
                            let subject = subject.clone();
                            let held = vec![(at, None)];
                            let new = Episode { subject, family, start, held, is_high, is_spot };
                            found.extend(known.replace(new));
                        }
                    }
                }
                None => {}
            }
        }
        found.extend(known);
    }
    found.sort_by_key(|episode| (episode.start, episode.family));
    found
}

fn streams(
    script: &Script,
    device: usize,
    judged: &mut BTreeMap<(usize, &'static str), Vec<Judged>>,
) {
    let lines = script.who(device).lines();
    let mut standings = vec![Standing::default(); lines.len()];
    let mut valued: [Option<i64>; 3] = [None; 3];
    let mut is_off = false;
    for word in script.words.iter().filter(|word| word.device == device) {
        let values = match word.said {
            Said::Vital(values) => values,
            Said::Alarm(AlarmKind::LeadOff, phase) => {
                is_off = phase == AlarmPhase::Start;
                continue;
            }
            _ => continue,
        };
        for (vital, value) in values.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let before = valued[vital].replace(word.at);
            let is_gap = before.is_none_or(|before| word.at - before > GAP_S);
            let lines = lines.iter().zip(&mut standings).filter(|(line, _)| line.vital == vital);
            let mut families: BTreeMap<&'static str, Judged> = BTreeMap::new();
            for (line, standing) in lines {
                if is_gap {
                    standing.anew();
                }
                // "Leads off: stops new alerts and clears nothing."
                match vital == 0 && is_off {
                    true => standing.anew(),
                    false => standing.value(line, word.at, value),
                }
                let new = Judged { at: word.at, holds: false, is_high: false, since: None };
                let family = families.entry(line.family).or_insert(new);
                family.holds |= standing.fires;
                family.is_high |= standing.fires && line.is_high;
                family.since = [family.since, standing.outside].into_iter().flatten().min();
            }
            for (family, one) in families {
                judged.entry((device, family)).or_default().push(one);
            }
        }
    }
}

/// Results: outside at once, over with the next that is not.
fn results(
    script: &Script,
    device: usize,
    judged: &mut BTreeMap<(usize, &'static str), Vec<Judged>>,
) {
    // Of each line of the table of pressures that may be confirmed: the value that waits for it.
    let mut confirms: BTreeMap<i32, (i64, bool)> = BTreeMap::new();
    let mut since: BTreeMap<&'static str, i64> = BTreeMap::new();
    let who = script.who(device);
    for word in script.words.iter().filter(|word| word.device == device) {
        let mut at = word.at;
        let lines = match word.said {
            Said::Pressure(sys, dia) => {
                let mut lines = who.pressure(sys, dia);
                for (value, limit) in
                    [sys, dia].into_iter().zip(who.confirmed_from().into_iter().flatten())
                {
                    if value < limit {
                        confirms.remove(&limit);
                        continue;
                    }
                    let (first, confirmed) = confirms.entry(limit).or_insert((at, false));
                    *confirmed |= CONFIRM_S.contains(&(at - *first));
                    if at - *first > *CONFIRM_S.end() {
                        *first = at;
                    }
                    lines[0].2 |= *confirmed;
                }
                lines
            }
            Said::Glucose(mg_dl, measured) => {
                at = measured;
                // 1 mmol/L are 18.016 mg/dL; compared as printed, to a tenth.
                who.glucose((i64::from(mg_dl) * 20_000 + 18_016) / 36_032)
            }
            Said::Temperature(tenths) => who.temperature(tenths),
            _ => continue,
        };
        for (family, holds, is_high) in lines {
            match holds {
                true => drop(since.entry(family).or_insert(at)),
                false => drop(since.remove(family)),
            }
            let since = since.get(family).copied();
            judged.entry((device, family)).or_default().push(Judged { at, holds, is_high, since });
        }
    }
}
