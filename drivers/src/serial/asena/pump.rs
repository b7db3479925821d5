//! The pump at the port: its answers as readings, state and device alarms.
//!
//! Not here: what is asked, and when.
//!
//! # Invariants
//! - a blank field is no zero: its metric has no value and says so
//! - numbers are taken from the text as sent

use super::codec::Frame;
use crate::reporter::Reporter;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    decimal::Decimal,
    device::DeviceState,
    id::{Channel, DeviceId},
    metric::{Kind, Metric},
    reading::{Comparator, NoData, Reading, ReadingGroup, shortened},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Facts about answers.
mod spec {
    use super::{AlarmKind, Decimal, Duration, Unit};

    /// Fields of the INF answer, §5.1; counted without the command name.
    pub(super) const SERIAL: usize = 0;
    pub(super) const FLAG: usize = 1;
    pub(super) const MODE: usize = 2;
    pub(super) const RATE: usize = 3;
    pub(super) const DRUG: usize = 5;
    pub(super) const INFUSED: usize = 6;
    pub(super) const PRESSURE: usize = 8;
    pub(super) const TIME_LEFT: usize = 10;
    /// "A body with fewer than 14 INF fields is invalid", §10: 13 and the name.
    pub(super) const INFUSION_FIELDS: usize = 13;
    /// "`-` or `A`, A = alarm active", §5.1.
    pub(super) const NO_ALARM_FLAG: &str = "-";
    pub(super) const ALARM_FLAG: &str = "A";
    /// "SET = infusing, HLD = on hold", §5.1.
    pub(super) const RUNNING: &str = "SET";
    pub(super) const HOLDING: &str = "HLD";
    /// The state that is confirmed by growth, §7.
    pub(super) const INFUSING: &str = "infusing";
    /// "May be negative or −50.00 when unavailable", §5.1.
    pub(super) const NO_PRESSURE: Decimal = Decimal::fixed(-50, 0);
    /// "HH:MM:SS or 24+", §5.1.
    pub(super) const A_DAY_OR_MORE: &str = "24+";
    pub(super) const DAY_H: i32 = 24;
    pub(super) const HOUR: Unit = Unit::fixed("h");
    /// Units of the sheet, §7, in UCUM.
    pub(super) const UNITS: [(&str, Unit); 3] =
        [("ml/h", Unit::ML_PER_HOUR), ("ml", Unit::MILLILITRE), ("mmHg", Unit::MM_HG)];
    /// "`ACTIV`/`DEACT` ^ volume ^ unit ^ end action", §5.1.
    pub(super) const VTBI_ON: &str = "ACTIV";
    pub(super) const VTBI_OFF: &str = "DEACT";
    /// "Brand ^ size ^ `CONF` (confirmed)", §5.1.
    pub(super) const SYRINGE_FIELDS: usize = 3;
    pub(super) const CONFIRMED: &str = "CONF";
    /// "AL_NOALM: none", §8.
    pub(super) const NO_ALARM: &str = "AL_NOALM";
    /// "Printed once with a blank instead of _", §8.
    pub(super) const PRINTED_AS: (&str, &str) = (" ", "_");
    /// Codes of §8 that have a kind of their own; the others are shown as sent.
    pub(super) const ALARMS: [(&str, AlarmKind); 12] = [
        ("AL_OCCLU", AlarmKind::OcclusionDownstream),
        ("AL_LWBAT", AlarmKind::BatteryLow),
        ("AL_LBTAC", AlarmKind::BatteryLow),
        ("AL_EMBAT", AlarmKind::BatteryEmpty),
        ("AL_NEOIN", AlarmKind::NearEnd),
        ("AL_EOIKV", AlarmKind::InfusionComplete),
        ("AL_EOIST", AlarmKind::InfusionComplete),
        ("AL_VTBIS", AlarmKind::InfusionComplete),
        ("AL_VTBIK", AlarmKind::InfusionComplete),
        ("AL_VTBIC", AlarmKind::InfusionComplete),
        ("AL_SYRCO", AlarmKind::Syringe),
        ("AL_CALLB", AlarmKind::Stopped),
    ];
    /// "Confirm infusing by growth of volume infused", §7. It is printed to 0.001 ml, which takes
    /// 3.6 s at 1 ml/h: ten such steps without growth, and never less than this, are doubtful.
    pub(super) const TEN_STEPS_MS: i64 = 36_000;
    pub(super) const GROWS_WITHIN: Duration = Duration::from_secs(30);
}

/// The text of a field; `None` if it is missing or blank: "blank field = not available", §7.
fn sent(frame: &Frame, index: usize) -> Option<&str> {
    frame.fields.get(index).map(|field| field.trim()).filter(|field| !field.is_empty())
}

/// Whether this is an INF answer and not an echo or a part of one.
pub(super) fn is_infusion(frame: &Frame) -> bool {
    frame.fields.len() >= spec::INFUSION_FIELDS
}

/// Serial number of an INF answer.
pub(super) fn serial(frame: &Frame) -> Option<&str> {
    sent(frame, spec::SERIAL)
}

/// The volume infused, and since when it stands there while the pump says that it infuses.
#[derive(Clone, Copy, Debug)]
struct Growth {
    infused: Decimal,
    at: MonoTime,
}

/// The alarm that is up.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Alarm {
    code: String,
    text: String,
}

/// One pump.
#[derive(Debug)]
pub(super) struct Pump {
    device: DeviceId,
    about: BTreeMap<String, String>,
    online: bool,
    /// Stream metrics it sent: silent when the pump is.
    heard: BTreeSet<Metric>,
    flagged: bool,
    alarm: Option<Alarm>,
    growth: Option<Growth>,
}

impl Pump {
    pub(super) fn new(device: DeviceId) -> Self {
        Self {
            device,
            about: BTreeMap::new(),
            online: false,
            heard: BTreeSet::new(),
            flagged: false,
            alarm: None,
            growth: None,
        }
    }

    pub(super) fn device(&self) -> &DeviceId {
        &self.device
    }

    /// Whether the alarm should be asked for at once.
    pub(super) fn has_alarm(&self) -> bool {
        self.flagged || self.alarm.is_some()
    }

    /// Takes an INF answer in, and what the pump said of itself when the session opened.
    pub(super) fn take_infusion(
        &mut self,
        now: Now,
        frame: &Frame,
        about: &BTreeMap<String, String>,
        reporter: &mut Reporter,
    ) {
        if !self.online || self.about != *about {
            self.online = true;
            self.about.clone_from(about);
            let about = about.clone();
            reporter.status_of(self.device.clone(), now, DeviceState::Online, "", about);
        }
        let mut problems = Vec::new();
        let mut field = |metric, index| quantity(frame, index, metric, &mut problems);
        let rate = field(Metric::PUMP_RATE, spec::RATE);
        let infused = field(Metric::PUMP_VI, spec::INFUSED);
        let pressure = field(Metric::PUMP_PRESS, spec::PRESSURE)
            .filter(|(pressure, _)| *pressure != spec::NO_PRESSURE);
        let flag = sent(frame, spec::FLAG);
        self.flagged = flag == Some(spec::ALARM_FLAG);
        if !matches!(flag, Some(spec::ALARM_FLAG | spec::NO_ALARM_FLAG)) {
            problems.push(format!("the alarm flag is {flag:?}; the pump's state is unknown"));
        }
        let state = state(flag, sent(frame, spec::MODE), rate.as_ref().map(|(rate, _)| *rate));
        let grows = self.grows(now, state, rate.as_ref(), infused.as_ref());
        let numbers =
            [(Metric::PUMP_RATE, rate), (Metric::PUMP_VI, infused), (Metric::PUMP_PRESS, pressure)];
        let mut readings: Vec<_> = numbers
            .into_iter()
            .map(|(metric, found)| reading(metric, found, NoData::NotAvailable))
            .collect();
        readings.push(time_left(sent(frame, spec::TIME_LEFT), &mut problems));
        readings.push(match sent(frame, spec::DRUG) {
            Some(drug) => Reading::text(Metric::PUMP_DRUG, drug),
            None => Reading::no_data(Metric::PUMP_DRUG, NoData::NotAvailable),
        });
        let state = Reading::text(Metric::PUMP_STATE, state);
        readings.push(if grows { state } else { state.doubted() });
        self.emit(now, readings, &[], &problems, reporter);
    }

    /// Takes an INF_VTBI answer in; whether it was one.
    pub(super) fn take_vtbi(&mut self, now: Now, frame: &Frame, reporter: &mut Reporter) -> bool {
        let (state, mut problems) = (sent(frame, 0), Vec::new());
        let volume = match state {
            Some(spec::VTBI_ON) => quantity(frame, 1, Metric::PUMP_VTBI, &mut problems),
            Some(spec::VTBI_OFF) => None,
            _ => return false,
        };
        // A volume that cannot be read is no volume that is switched off.
        let absent = if problems.is_empty() { NoData::Off } else { NoData::NotAvailable };
        let readings = vec![reading(Metric::PUMP_VTBI, volume, absent)];
        let context: Vec<_> =
            sent(frame, 3).map(|action| ("end_action", action)).into_iter().collect();
        self.emit(now, readings, &context, &problems, reporter);
        true
    }

    /// Takes a SYRINGE_STATUS answer in; whether it was one.
    pub(super) fn take_syringe(
        &mut self,
        now: Now,
        frame: &Frame,
        reporter: &mut Reporter,
    ) -> bool {
        if frame.fields.len() < spec::SYRINGE_FIELDS {
            return false;
        }
        let mut problems = Vec::new();
        let confirmed = sent(frame, 2) == Some(spec::CONFIRMED);
        let size =
            sent(frame, 1).filter(|_| confirmed).and_then(|text| number(text, &mut problems));
        let found = size.map(|size| (size, Unit::MILLILITRE));
        let readings = vec![reading(Metric::PUMP_SYR, found, NoData::NotAvailable)];
        let context: Vec<_> = sent(frame, 0).map(|brand| ("brand", brand)).into_iter().collect();
        self.emit(now, readings, &context, &problems, reporter);
        true
    }

    /// Takes an ALARM answer in; whether it was one.
    pub(super) fn take_alarm(&mut self, now: Now, frame: &Frame, reporter: &mut Reporter) -> bool {
        // A code names its alarm until the end: as it is stored.
        let code = shortened(sent(frame, 0).unwrap_or_default());
        if code.is_empty() {
            return false;
        }
        let texts: Vec<_> =
            (1..frame.fields.len()).filter_map(|index| sent(frame, index)).collect();
        let alarm = Alarm { code, text: texts.join(" ") };
        let alarm = Some(alarm).filter(|alarm| alarm.code != spec::NO_ALARM);
        if alarm == self.alarm {
            return true;
        }
        let before = std::mem::replace(&mut self.alarm, alarm.clone());
        let same = matches!((&before, &alarm), (Some(old), Some(new)) if old.code == new.code);
        if let (Some(before), false) = (before, same) {
            self.emit_alarm(now, before, AlarmPhase::End, reporter);
        }
        if let Some(alarm) = alarm {
            let phase = if same { AlarmPhase::Update } else { AlarmPhase::Start };
            self.emit_alarm(now, alarm, phase, reporter);
        }
        true
    }

    /// It cannot be heard any more. Its alarm is forgotten, not ended: nobody knows. If it is up
    /// when the pump is heard again it begins again.
    pub(super) fn lose(
        &mut self,
        now: Now,
        state: DeviceState,
        reason: &str,
        reporter: &mut Reporter,
    ) {
        if !self.online {
            return;
        }
        (self.online, self.flagged, self.alarm, self.growth) = (false, false, None, None);
        let absent = self.heard.iter().map(|metric| Reading::no_data(*metric, NoData::Silent));
        let absent: Vec<_> = absent.collect();
        self.emit(now, absent, &[], &[], reporter);
        let about = self.about.clone();
        reporter.status_of(self.device.clone(), now, state, reason, about);
    }

    fn emit(
        &mut self,
        now: Now,
        readings: Vec<Reading>,
        context: &[(&str, &str)],
        problems: &[String],
        reporter: &mut Reporter,
    ) {
        for problem in problems {
            reporter.note(now, "malformed", problem);
        }
        let streams = readings
            .iter()
            .map(|reading| reading.metric)
            .filter(|metric| metric.row().kind == Kind::Stream);
        self.heard.extend(streams);
        let mut group = ReadingGroup::new(self.device.clone(), now.observed(), readings);
        for (key, value) in context {
            group = group.with_context(key, value);
        }
        reporter.emit(Record::Readings(group));
    }

    fn emit_alarm(&self, now: Now, alarm: Alarm, phase: AlarmPhase, reporter: &mut Reporter) {
        reporter.emit(Record::Alarm(DeviceAlarm {
            device: self.device.clone(),
            channel: Channel::default(),
            phase,
            kind: kind(&alarm.code),
            code: alarm.code,
            text: alarm.text,
            priority: None,
            latched: false,
            source: None,
            device_time: None,
            observed: now.observed(),
        }));
    }

    /// Whether nothing speaks against a pump that says it infuses.
    fn grows(
        &mut self,
        now: Now,
        state: &str,
        rate: Option<&(Decimal, Unit)>,
        infused: Option<&(Decimal, Unit)>,
    ) -> bool {
        let (spec::INFUSING, Some((rate, _)), Some((infused, _))) = (state, rate, infused) else {
            self.growth = None;
            return true;
        };
        let growth = self.growth.filter(|growth| growth.infused == *infused);
        let growth = growth.unwrap_or(Growth { infused: *infused, at: now.mono });
        self.growth = Some(growth);
        now.mono.since(growth.at) <= grows_within(*rate)
    }
}

/// How long the volume infused may stand still at that rate, in mL/h.
fn grows_within(rate: Decimal) -> Duration {
    // In thousandths of a mL/h: the pump prints two decimals.
    let thousandths = rate.rounded(3).map_or(0, Decimal::mantissa);
    let ms = spec::TEN_STEPS_MS.saturating_mul(1000).checked_div(thousandths);
    let steps =
        ms.and_then(|ms| u64::try_from(ms).ok()).map_or(Duration::MAX, Duration::from_millis);
    steps.max(spec::GROWS_WITHIN)
}

/// What a code is about, whatever the pump calls it.
fn kind(code: &str) -> AlarmKind {
    let (printed, meant) = spec::PRINTED_AS;
    let code = code.replace(printed, meant);
    let known = spec::ALARMS.iter().find(|(known, _)| *known == code);
    known.map_or(AlarmKind::Other, |(_, kind)| *kind)
}

/// "Alarm flag A → alarm; mode HLD → paused; rate > 0 and mode SET → infusing; otherwise unknown",
/// §7.
fn state(flag: Option<&str>, mode: Option<&str>, rate: Option<Decimal>) -> &'static str {
    match (flag, mode) {
        (Some(spec::ALARM_FLAG), _) => "alarm",
        (Some(spec::NO_ALARM_FLAG), Some(spec::HOLDING)) => "paused",
        (Some(spec::NO_ALARM_FLAG), Some(spec::RUNNING))
            if rate.is_some_and(|rate| rate > Decimal::ZERO) =>
        {
            spec::INFUSING
        }
        _ => "unknown",
    }
}

fn reading(metric: Metric, found: Option<(Decimal, Unit)>, absent: NoData) -> Reading {
    match found {
        Some((number, unit)) => Reading::number(metric, number, unit),
        None => Reading::no_data(metric, absent),
    }
}

/// A number and the unit behind it; what cannot be read, or has the unit of something else, is a
/// problem and no number.
fn quantity(
    frame: &Frame,
    index: usize,
    metric: Metric,
    problems: &mut Vec<String>,
) -> Option<(Decimal, Unit)> {
    let number = number(sent(frame, index)?, problems)?;
    let unit = sent(frame, index + 1).unwrap_or_default();
    let wanted = metric.row().canonical_unit.as_ref();
    let known = spec::UNITS.into_iter().find(|(known, _)| *known == unit);
    let known = known.filter(|(_, unit)| Some(unit) == wanted);
    if known.is_none() {
        problems.push(format!("{number} \"{unit}\" is no {metric}; it is not used"));
    }
    known.map(|(_, unit)| (number, unit))
}

fn number(text: &str, problems: &mut Vec<String>) -> Option<Decimal> {
    let parsed = text.parse();
    if parsed.is_err() {
        problems.push(format!("\"{text}\" is no number; it is not used"));
    }
    parsed.ok()
}

fn time_left(text: Option<&str>, problems: &mut Vec<String>) -> Reading {
    let metric = Metric::PUMP_TIME_REM;
    let absent = Reading::no_data(metric, NoData::NotAvailable);
    match text {
        None => absent,
        Some(spec::A_DAY_OR_MORE) => {
            Reading::new(metric, spec::DAY_H.into(), Comparator::Above, spec::HOUR)
        }
        Some(text) => match seconds(text) {
            Some(seconds) => Reading::number(metric, seconds, Unit::SECOND),
            None => {
                problems.push(format!("\"{text}\" is no time remaining; it is not used"));
                absent
            }
        },
    }
}

/// "HH:MM:SS", §5.1.
fn seconds(text: &str) -> Option<u32> {
    let two_digits = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| digits)
    };
    let mut parts = text.split(':').map(two_digits);
    match (parts.next()??, parts.next()??, parts.next()??, parts.next()) {
        (hours, minutes @ 0..60, seconds @ 0..60, None) => {
            Some(hours * 3600 + minutes * 60 + seconds)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_state_that_matches_is_the_pumps() {
        for (flag, mode, rate, expected) in [
            ("A", "HLD", "0.00", "alarm"),
            ("A", "SET", "12.50", "alarm"),
            ("-", "HLD", "12.50", "paused"),
            ("-", "SET", "12.50", "infusing"),
            ("-", "SET", "0.00", "unknown"),
            ("-", "XXX", "12.50", "unknown"),
            ("", "SET", "12.50", "unknown"),
        ] {
            let flag = Some(flag).filter(|flag| !flag.is_empty());
            assert_eq!(state(flag, Some(mode), rate.parse().ok()), expected, "{flag:?} {mode}");
        }
        assert_eq!(state(Some("-"), Some("SET"), None), "unknown");
    }

    #[test]
    fn a_time_is_seconds_and_a_day_or_more_is_a_limit() {
        assert_eq!(seconds("02:30:00"), Some(9000));
        assert_eq!(seconds("00:04:09"), Some(249));
        for none in ["2:30:00", "02:60:00", "02:30", "02:30:00:00", "ab:cd:ef", "+1:00:00", ""] {
            assert_eq!(seconds(none), None, "{none}");
        }
        let more = time_left(Some("24+"), &mut Vec::new());
        assert_eq!(more.canonical(), Some((1440.into(), Comparator::Above)));
    }

    #[test]
    fn codes_have_kinds_and_unknown_ones_are_shown_as_sent() {
        assert_eq!(kind("AL_OCCLU"), AlarmKind::OcclusionDownstream);
        assert_eq!(kind("AL SYRCO"), AlarmKind::Syringe);
        for other in ["AL_ACDIS", "AL_DRDIS", "AL_FAULT", "AL_RHIGH", "AL_NEW", ""] {
            assert_eq!(kind(other), AlarmKind::Other, "{other}");
        }
    }

    #[test]
    fn a_slow_rate_has_more_time_to_show_a_growth() {
        let within = |rate: &str| grows_within(rate.parse().unwrap()).as_secs();
        assert_eq!((within("12.50"), within("1.20"), within("0.10")), (30, 30, 360));
        assert_eq!(within("0.00"), u64::MAX);
    }
}
