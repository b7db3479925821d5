//! The pump itself: what it has infused, what it alarms, and its answers to the queries of §5.1.

use super::Answer;
use crate::{
    Scenario, SimTime,
    temper::Temper,
    truth::{Notebook, Truth},
};

/// "A changed serial number means another pump was plugged in", §6.
const SERIALS: [&str; 2] = ["8002-51740", "8002-51733"];
/// "24+", §5.1.
const DAY_S: u64 = 24 * 3600;
/// Microlitres left when the pump says that the end is near; the sheet names none.
const NEAR_END_UL: u64 = 200;
/// Somebody starts it again this many seconds after its volume was in.
const RESTART_S: u64 = 20;
/// The oldest entry of the log.
const LOG: u64 = 127_904;
const NO_ALARM: &str = "AL_NOALM";
const OCCLUSION: &str = "AL_OCCLU";
/// The other codes of §8, and one with the blank that was printed once.
const OTHER_ALARMS: [&str; 17] = [
    "AL_LWBAT", "AL_LBTAC", "AL_EMBAT", "AL_ACDIS", "AL_EOIKV", "AL_SYRCO", "AL_DRDIS", "AL DRDIS",
    "AL_PRDSC", "AL_LDSCN", "AL_FAULT", "AL_CALLB", "AL_COMTO", "AL_RHIGH", "AL_TITCA", "AL_TITNC",
    "AL_TCITG",
];
/// One of them is up in these seconds of a rude pump's story.
const OTHER_ALARM_S: std::ops::Range<u64> = 20..30;

/// A pump with a syringe in it.
#[derive(Debug)]
pub(super) struct Pump {
    /// As in the truth: link and serial number.
    device: String,
    serial: &'static str,
    /// Hundredths of a millilitre an hour.
    rate: u64,
    /// Microlitres; none: not active.
    vtbi: Option<u64>,
    drug: String,
    confirmed: bool,
    /// The pressure says that it is not available: blank, or −50.00.
    no_pressure: Option<&'static str>,
    /// In 1/360 µl, which a rate of 0.01 ml/h fills in a second: in all, and of this volume.
    infused: u64,
    of_volume: u64,
    /// When the volume was in.
    done_s: Option<u64>,
    alarm: &'static str,
    other_alarm: Option<&'static str>,
    /// The alarm that was told.
    told: Option<&'static str>,
    log: u64,
}

impl Pump {
    /// The pump that stands there after so many changes.
    pub(super) fn new(link: &str, changes: u64, temper: &Temper, scenario: &Scenario) -> Self {
        let pick = |from: &[&'static str], place: u64| {
            let place = usize::try_from(place).unwrap_or_default() % from.len().max(1);
            from.get(place).copied().unwrap_or_default()
        };
        let serial = pick(&SERIALS, changes);
        let digits: String = serial.chars().filter(char::is_ascii_digit).collect();
        let (rate, vtbi, drug) = match temper.property(10, 3) {
            1 => (50, Some(50_000), "NORADRENALINE"),
            2 => (12_000, None, ""),
            _ => (3_600, Some(1_200), ""),
        };
        let rude = !temper.is_polite();
        let mut pump = Self {
            device: format!("{link}-{digits}"),
            serial,
            rate,
            vtbi,
            drug: drug.to_owned(),
            confirmed: temper.property(11, 4) != 1,
            no_pressure: [None, Some(""), Some("-50.00")]
                .get(usize::try_from(temper.property(12, 3)).unwrap_or_default())
                .copied()
                .flatten(),
            infused: 0,
            of_volume: 0,
            done_s: None,
            alarm: NO_ALARM,
            other_alarm: rude.then(|| pick(&OTHER_ALARMS, temper.property(13, 17))),
            told: None,
            log: LOG,
        };
        pump.follow(scenario, 0);
        pump
    }

    /// What it is programmed to, where the story says so; then nobody starts it again by himself.
    fn follow(&mut self, scenario: &Scenario, second: u64) {
        let Some(infusion) = &scenario.infusion else { return };
        self.rate = infusion.step(second).map_or(0, |step| step.rate);
        self.vtbi = Some(infusion.volume(second) * 10);
        self.drug.clone_from(&infusion.drug.en);
        if infusion.is_new(second) {
            (self.done_s, self.of_volume) = (None, 0);
        }
    }

    /// A second passes.
    pub(super) fn pass(&mut self, elapsed_s: u64, scenario: &Scenario, second: u64) {
        let is_told = scenario.infusion.is_some();
        if !is_told && self.done_s.is_some_and(|done| elapsed_s >= done + RESTART_S) {
            (self.done_s, self.of_volume) = (None, 0);
        }
        let occluded = Scenario::during(&scenario.occlusion, second);
        if !occluded && self.done_s.is_none() {
            self.infused += self.rate;
            self.of_volume += self.rate;
        }
        // What is set now holds for the next second.
        self.follow(scenario, second);
        if self.left_ul() == Some(0) && self.done_s.is_none() {
            self.done_s = Some(elapsed_s);
        }
        let before = self.alarm;
        self.alarm = match (occluded, self.done_s, self.left_ul()) {
            (true, ..) => OCCLUSION,
            (_, Some(_), _) => "AL_VTBIS",
            (.., Some(left)) if left < NEAR_END_UL => "AL_NEOIN",
            _ if OTHER_ALARM_S.contains(&second) => self.other_alarm.unwrap_or(NO_ALARM),
            _ => NO_ALARM,
        };
        if self.alarm != before || elapsed_s.is_multiple_of(10) {
            self.log += 1;
        }
    }

    fn left_ul(&self) -> Option<u64> {
        self.vtbi.map(|vtbi| vtbi.saturating_sub(self.of_volume / 360))
    }

    fn is_held(&self) -> bool {
        self.alarm == OCCLUSION || self.done_s.is_some() || self.rate == 0
    }

    /// Hundredths of a millilitre an hour.
    fn rate(&self) -> u64 {
        if self.is_held() { 0 } else { self.rate }
    }

    /// What it answers; nothing where this is no query.
    pub(super) fn answer(&self, now: SimTime, notes: &Notebook, query: &str) -> Option<Answer> {
        let said = |body: String| Answer { body, facts: Vec::new() };
        Some(match query {
            "INST_SERIALNO" => said(format!("{query}^{}", self.serial)),
            "COMMS_PROTOCOL" => said(format!("{query}^Asena Rev 2.1.5")),
            "COMMS_RESPONSE_MAX" => said(format!("{query}^4000^ms")),
            "INF_RATE_MAX_SYRINGE" => said(format!("{query}^1200.00^ml/h")),
            "INF_RATE" => said(format!("{query}^{}^ml/h", hundredths(self.rate()))),
            "INF_VI" => said(format!("{query}^{}^ml", thousandths(self.infused / 360))),
            "ALARM" => said(format!("{query}^{}^ ^ ", self.alarm)),
            "SYRINGE_STATUS" => self.syringe(now, notes),
            "INF_VTBI" => self.volume(now, notes),
            "INF" => self.status(now, notes),
            _ => return None,
        })
    }

    fn fact(
        &self,
        now: SimTime,
        notes: &Notebook,
        metric: &'static str,
        unit: Option<&'static str>,
        value: Result<String, &'static str>,
    ) -> Truth {
        Truth { device: self.device.clone(), ..notes.reading(now, metric, unit, value) }
    }

    fn syringe(&self, now: SimTime, notes: &Notebook) -> Answer {
        let (state, size) = match self.confirmed {
            true => ("CONF", Ok("50".to_owned())),
            false => ("", Err("not_available")),
        };
        Answer {
            body: format!("SYRINGE_STATUS^BD PLASTIPAK^ 50^{state}"),
            facts: vec![self.fact(now, notes, "pump_syr", Some("mL"), size)],
        }
    }

    fn volume(&self, now: SimTime, notes: &Notebook) -> Answer {
        let (state, volume) = match self.vtbi {
            Some(vtbi) => ("ACTIV", thousandths(vtbi)),
            None => ("DEACT", String::new()),
        };
        let value = if volume.is_empty() { Err("off") } else { Ok(volume.clone()) };
        Answer {
            body: format!("INF_VTBI^{state}^{volume}^ml^STOP"),
            facts: vec![self.fact(now, notes, "pump_vtbi", Some("mL"), value)],
        }
    }

    /// "INF – combined status", §5.1.
    fn status(&self, now: SimTime, notes: &Notebook) -> Answer {
        let flag = if self.alarm == NO_ALARM { "-" } else { "A" };
        let mode = if self.is_held() { "HLD" } else { "SET" };
        let rate = hundredths(self.rate());
        let infused = thousandths(self.infused / 360);
        let pressure = match (self.no_pressure, self.alarm == OCCLUSION) {
            (Some(nothing), _) => nothing,
            (None, true) => "530.15",
            (None, false) => "17.91",
        };
        // A pump that stands still by hand has no time left, and one that is blocked has.
        let left_ul = self.left_ul().filter(|_| self.rate > 0);
        let left_s = left_ul.map(|left| left * 360 / self.rate.max(1));
        let left = match left_s {
            None => String::new(),
            Some(left) if left > DAY_S => "24+".to_owned(),
            Some(left) => format!("{:02}:{:02}:{:02}", left / 3600, left / 60 % 60, left % 60),
        };
        let body = format!(
            "INF^{}^{flag}^{mode}^{rate}^ml/h^{}^{infused}^ml^{pressure}^mmHg^{left}^EVENT^{}",
            self.serial, self.drug, self.log
        );
        let state = match (flag, mode) {
            ("A", _) => "alarm",
            (_, "HLD") => "paused",
            _ => "infusing",
        };
        let drug = self.drug.clone();
        let drug = if drug.is_empty() { Err("not_available") } else { Ok(drug) };
        let known = match self.no_pressure {
            None => Ok(pressure.to_owned()),
            Some(_) => Err("not_available"),
        };
        // "24+ is comparator above 24 h."
        let (comparator, unit, left) = match left_s {
            Some(left) if left > DAY_S => (Some(">"), "h", Ok("24".to_owned())),
            Some(left) => (None, "s", Ok(left.to_string())),
            None => (None, "s", Err("not_available")),
        };
        let mut remaining = self.fact(now, notes, "pump_time_rem", Some(unit), left);
        remaining.comparator = comparator;
        let facts = vec![
            self.fact(now, notes, "pump_rate", Some("mL/h"), Ok(rate)),
            self.fact(now, notes, "pump_vi", Some("mL"), Ok(infused)),
            self.fact(now, notes, "pump_press", Some("mm[Hg]"), known),
            remaining,
            self.fact(now, notes, "pump_drug", None, drug),
            self.fact(now, notes, "pump_state", None, Ok(state.to_owned())),
        ];
        Answer { body, facts }
    }

    /// What this answer says of alarms: ALARM names the one that is up, INF says when none is.
    pub(super) fn alarm_told(&mut self, now: SimTime, notes: &Notebook, body: &str) -> Vec<Truth> {
        let up = (self.alarm != NO_ALARM).then_some(self.alarm);
        let tells = body.starts_with("ALARM^") || (body.starts_with("INF^") && up.is_none());
        if !tells || self.told == up {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.told, up);
        let fact = |code: &str, phase| Truth {
            device: self.device.clone(),
            alarm: Some(code.to_owned()),
            phase: Some(phase),
            ..notes.fact(now)
        };
        let end = before.map(|code| fact(code, "end"));
        end.into_iter().chain(up.map(|code| fact(code, "start"))).collect()
    }
}

/// "2 decimals", §5.1.
fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// "3 decimals", §5.1.
fn thousandths(value: u64) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}
