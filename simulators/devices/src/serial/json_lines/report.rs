//! What there is to say: lines and what they mean, from the story.

use crate::{
    ClockJump, Scenario, Setup, SimTime,
    ecg::EcgPlayer,
    scenario::{Cuff, Glucose, variation},
    temper::{DeviceClock, Temper},
    truth::{Notebook, Truth, moment},
};

/// 125 a second: half a second of a 9600 baud line.
const SAMPLE_MS: u64 = 8;
const SAMPLES: u64 = 1_000 / SAMPLE_MS;
/// Zero and step of the wave, as its `scale` says.
const ZERO: i32 = 128;
const STEP_UV: i32 = 25;
/// "A meter's LO and HI, value being the meter's limit."
const LIMITS_MG: [&str; 2] = ["20", "600"];
const LIMITS_MMOL: [&str; 2] = ["1.1", "33.3"];
/// Lines that are "refused as a whole", and what else comes over a bad wire.
pub(super) const MISTAKES: [&[u8]; 10] = [
    b"{\"metric\":\"hr\",\"value\":72",
    b"{\"metric\":\"heart_rate\",\"value\":72,\"unit\":\"/min\"}",
    b"{\"metric\":\"hr\",\"value\":72,\"unit\":\"bpm\"}",
    b"{\"metric\":\"hr\",\"value\":72}",
    b"{\"metric\":\"hr\",\"valeu\":72,\"unit\":\"/min\"}",
    b"{\"metric\":\"nibp_sys\",\"value\":120,\"unit\":\"mm[Hg]\"}",
    b"{\"metric\":\"spo2\",\"no_data\":\"because\"}",
    b"[{\"metric\":\"hr\",\"value\":72,\"unit\":\"/min\"}]",
    b"{\"metric\":\"pump_drug\",\"value\":\"\xFF\xFE\"}",
    b"",
];

/// A line without its end, and what it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    pub(super) facts: Vec<Truth>,
}

/// An alarm of the source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Alarm {
    code: &'static str,
    /// What follows the code at its start.
    about: &'static str,
}

const LEADS_OFF: Alarm = Alarm {
    code: "LEAD",
    about: r#""kind":"TECH-LEADOFF","phase":"start","priority":"low","source":"hr","text":"导联脱落""#,
};
const PROBE_OFF: Alarm =
    Alarm { code: "PROBE", about: r#""phase":"start","source":"spo2","text":"probe off""# };
/// "A 0 … is not available, unless an alarm that is up says that the heart stands still."
const ASYSTOLE: Alarm =
    Alarm { code: "ASY", about: r#""kind":"DEV-ASYSTOLE","phase":"start","priority":"high""# };
const RHYTHM: Alarm = Alarm { code: "ARR", about: r#""phase":"start","priority":"high""# };
const OCCLUSION: Alarm =
    Alarm { code: "196940", about: r#""phase":"start","priority":"high","text":"Occlusion""# };
const ALARMS: [Alarm; 5] = [LEADS_OFF, PROBE_OFF, ASYSTOLE, RHYTHM, OCCLUSION];

/// Puts the story into lines.
#[derive(Debug)]
pub(super) struct Reporter {
    setup: Setup,
    clock: DeviceClock,
    ecg: EcgPlayer,
    /// The source's own number of results.
    seq: u64,
    up: Vec<Alarm>,
    style: Style,
}

/// What a source may do one way or the other.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// A number in quotes.
    quotes: bool,
    /// A 0 where there is no heart rate.
    zero: bool,
    /// kPa, mmol/L and °F.
    other_units: bool,
    /// How a result is stamped: number and time, number, time with its zone, local time.
    stamp: u64,
}

impl Reporter {
    pub(super) fn new(setup: Setup, temper: &Temper) -> Self {
        let style = Style {
            quotes: temper.property(22, 2) == 1,
            zero: temper.property(23, 2) == 1,
            other_units: temper.property(24, 2) == 1,
            stamp: temper.property(25, 4),
        };
        let ecg = EcgPlayer::new(&setup.patient);
        Self { clock: temper.clock(), ecg, setup, seq: 0, up: Vec::new(), style }
    }

    pub(super) fn jump_clock(&mut self, now: SimTime, jump: ClockJump) {
        self.clock.jump(self.setup.clock, now, jump);
    }

    /// Results and alarms of the second that ends at `at`, which are kept; then what repeats.
    pub(super) fn second(
        &mut self,
        at: SimTime,
        notes: &Notebook,
        temper: &mut Temper,
    ) -> (Vec<Line>, Vec<Line>) {
        let mut results = self.alarms(at, notes);
        let scenario = &self.setup.patient.scenario;
        let second = scenario.second(at.0 / 1_000_000);
        let cuffs = scenario.monitor_cuff.iter().filter(|cuff| cuff.at_s == second);
        let cuffs: Vec<Cuff> = cuffs.copied().collect();
        let tests = scenario.glucose.iter().filter(|test| test.at_s == second);
        let tests: Vec<Glucose> = tests.copied().collect();
        for cuff in cuffs {
            if temper.once_in(2) {
                results.push(self.failed_cuff(at, notes, temper.below(2)));
            }
            results.push(self.cuff(at, notes, cuff));
        }
        results.extend(tests.into_iter().map(|test| self.glucose(at, notes, test)));
        (results, self.streams(at, notes, temper, second))
    }

    /// The alarms that are up, once more.
    pub(super) fn alarms_up(&self) -> Vec<Line> {
        self.up.iter().map(|alarm| line(starts(*alarm), Vec::new())).collect()
    }

    fn alarms(&mut self, at: SimTime, notes: &Notebook) -> Vec<Line> {
        let patient = &self.setup.patient;
        let scenario = &patient.scenario;
        let second = scenario.second(at.0 / 1_000_000);
        let is_up = |alarm: &Alarm| match *alarm {
            LEADS_OFF => Scenario::during(&scenario.leads_off, second),
            PROBE_OFF => Scenario::during(&scenario.probe_off, second),
            OCCLUSION => Scenario::during(&scenario.occlusion, second),
            ASYSTOLE => patient.vitals(second).hr == 0,
            _ => patient.vitals(second).hr > 0 && scenario.arrhythmia(second) != 1,
        };
        let up: Vec<Alarm> = ALARMS.into_iter().filter(is_up).collect();
        let before = std::mem::replace(&mut self.up, up);
        let fact = |alarm: Alarm, phase| {
            vec![Truth { alarm: Some(alarm.code.to_owned()), phase: Some(phase), ..notes.fact(at) }]
        };
        let ended = before.iter().filter(|alarm| !self.up.contains(alarm));
        let ended = ended.map(|alarm| line(ends(*alarm), fact(*alarm, "end")));
        let started = self.up.iter().filter(|alarm| !before.contains(alarm));
        ended.chain(started.map(|alarm| line(starts(*alarm), fact(*alarm, "start")))).collect()
    }

    fn streams(
        &mut self,
        at: SimTime,
        notes: &Notebook,
        temper: &mut Temper,
        second: u64,
    ) -> Vec<Line> {
        let mut lines = vec![self.wave(at, notes, second), self.heart(at, notes, second)];
        lines.push(self.oximeter(at, notes, second));
        let elapsed = at.0 / 1_000_000;
        if elapsed.is_multiple_of(5) {
            let rr = self.setup.patient.vitals(second).rr.to_string();
            let facts = vec![notes.reading(at, "rr", Some("/min"), Ok(rr.clone()))];
            lines.push(line(object(&self.number("rr", &rr, "/min")), facts));
        }
        if elapsed.is_multiple_of(10) {
            lines.extend(self.temperatures(at, notes, temper, second));
        }
        if elapsed % 30 == 1 {
            let about = r#"{"about":{"model":"Home-1","serial":"0042","version":"1.3"}}"#;
            lines.push(line(about.to_owned(), Vec::new()));
        }
        if temper.once_in(6) {
            let mistake = usize::try_from(temper.below(10)).unwrap_or_default();
            let bytes = MISTAKES.get(mistake).copied().unwrap_or_default().to_vec();
            lines.push(Line { bytes, facts: Vec::new() });
        }
        lines
    }

    fn heart(&self, at: SimTime, notes: &Notebook, second: u64) -> Line {
        let off = Scenario::during(&self.setup.patient.scenario.leads_off, second);
        let hr = self.setup.patient.heart_rate(at.0 / 1_000_000);
        let (text, value) = match (off, self.style.zero) {
            (false, _) => (self.number("hr", &hr.to_string(), "/min"), Ok(hr.to_string())),
            // "A 0 of heart rate … is not available."
            (true, true) => (self.number("hr", "0", "/min"), Err("not_available")),
            (true, false) => (nothing("hr", "lead_off"), Err("lead_off")),
        };
        line(object(&text), vec![notes.reading(at, "hr", Some("/min"), value)])
    }

    fn oximeter(&self, at: SimTime, notes: &Notebook, second: u64) -> Line {
        let vitals = self.setup.patient.vitals(second);
        let off = Scenario::during(&self.setup.patient.scenario.probe_off, second);
        let pulse = u64::from(vitals.hr) + variation(self.setup.seed, at.0 / 1_000_000, 3, 1);
        let said = [
            ("spo2", vitals.spo2.to_string(), "%"),
            ("pulse_oxim", pulse.to_string(), "/min"),
            ("perf_index", "1.8".to_owned(), "%"),
        ];
        // Where no heart beats there is no pulse to be found.
        let missing = |metric: &str| match (off, vitals.hr, metric) {
            (true, ..) => Some("sensor_off"),
            (false, 0, "pulse_oxim") => Some("searching"),
            _ => None,
        };
        let parts = said.each_ref().map(|(metric, value, unit)| match missing(metric) {
            Some(reason) => object(&nothing(metric, reason)),
            None if vitals.spo2 < 95 => {
                object(&(self.number(metric, value, unit) + r#","validity":"questionable""#))
            }
            None => object(&self.number(metric, value, unit)),
        });
        let facts = said.map(|(metric, value, unit)| {
            let value = missing(metric).map_or(Ok(value), Err);
            notes.reading(at, metric, Some(unit), value)
        });
        line(format!(r#"{{"parts":[{}]}}"#, parts.join(",")), facts.into())
    }

    fn temperatures(
        &self,
        at: SimTime,
        notes: &Notebook,
        temper: &mut Temper,
        second: u64,
    ) -> [Line; 2] {
        let [one, two] = self.setup.patient.vitals(second).temperature;
        let tenths = |value: u16| format!("{}.{}", value / 10, value % 10);
        // "A value that is physically impossible becomes rejected."
        let (first, said) = match temper.once_in(6) {
            true => ("99.9".to_owned(), Err("rejected")),
            false => (tenths(one), Ok(tenths(one))),
        };
        let (second, unit) = match self.style.other_units {
            true => {
                let hundredths = 3_200 + 18 * two;
                (format!("{}.{:02}", hundredths / 100, hundredths % 100), "[degF]")
            }
            false => (tenths(two), "Cel"),
        };
        let probe = |channel: &'static str, text: &str, unit: &'static str, said| {
            let text = self.number("temp", text, unit) + &format!(r#","channel":"{channel}""#);
            let mut fact = notes.reading(at, "temp", Some(unit), said);
            fact.channel = channel;
            line(object(&text), vec![fact])
        };
        [probe("t1", &first, "Cel", said), probe("t2", &second, unit, Ok(second.clone()))]
    }

    fn wave(&mut self, at: SimTime, notes: &Notebook, second: u64) -> Line {
        let off = Scenario::during(&self.setup.patient.scenario.leads_off, second);
        let begin_us = at.0.saturating_sub(SAMPLES * SAMPLE_MS * 1_000);
        let samples: Vec<i32> = (0..SAMPLES)
            .map(|place| {
                let now = SimTime(begin_us + place * SAMPLE_MS * 1_000);
                let [_, lead, ..] = self.ecg.sample(now, &self.setup.patient).leads(STEP_UV);
                if off { ZERO } else { ZERO + lead }
            })
            .collect();
        let facts = vec![notes.block_fact(at, "ecg_wave_ii", &samples)];
        let scale = match off {
            true => r#""lead_off":true"#,
            false => r#""scale":{"per_count":"0.025","offset":128,"unit":"mV"}"#,
        };
        line(wave("ecg_wave_ii", SAMPLE_MS, &samples, scale), facts)
    }

    fn cuff(&mut self, at: SimTime, notes: &Notebook, cuff: Cuff) -> Line {
        let (stamp, time) = self.stamp(at);
        // 1 mmHg is 0.133322 kPa.
        let kpa = |value: u8| (u64::from(value) * 133_322 + 50_000) / 100_000;
        let pressure = |value: u8| match self.style.other_units {
            true => (format!("{}.{}", kpa(value) / 10, kpa(value) % 10), "kPa"),
            false => (value.to_string(), "mm[Hg]"),
        };
        let [systolic, mean, diastolic] = cuff.pressure.map(pressure);
        let said = [
            ("nibp_sys", systolic),
            ("nibp_dia", diastolic),
            ("nibp_mean", mean),
            ("pulse_nibp", (cuff.pulse.to_string(), "/min")),
        ];
        let parts = said
            .each_ref()
            .map(|(metric, (value, unit))| object(&self.number(metric, value, unit)));
        let facts = said.map(|(metric, (value, unit))| {
            self.stamped(notes.reading(at, metric, Some(unit), Ok(value)), time.as_ref())
        });
        line(group(&parts, &stamp), facts.into())
    }

    fn failed_cuff(&mut self, at: SimTime, notes: &Notebook, why: u64) -> Line {
        let (stamp, time) = self.stamp(at);
        let (reason, detail) = match why {
            0 => ("motion", ""),
            _ => ("device_error", r#","detail":"E43""#),
        };
        let metrics = ["nibp_sys", "nibp_dia", "nibp_mean", "pulse_nibp"];
        let parts = metrics.map(|metric| object(&(nothing(metric, reason) + detail)));
        let facts = metrics.map(|metric| {
            self.stamped(notes.reading(at, metric, None, Err(reason)), time.as_ref())
        });
        line(group(&parts, &stamp), facts.into())
    }

    fn glucose(&mut self, at: SimTime, notes: &Notebook, test: Glucose) -> Line {
        let (stamp, time) = self.stamp(at);
        let (unit, [low, high]) = match self.style.other_units {
            true => ("mmol/L", LIMITS_MMOL),
            false => ("mg/dL", LIMITS_MG),
        };
        let tenths = (u64::from(test.mg_per_dl) * 10 + 9) / 18;
        let (value, comparator) = match test.mg_per_dl {
            0 => (low.to_owned(), Some("<")),
            u16::MAX => (high.to_owned(), Some(">")),
            _ if self.style.other_units => (format!("{}.{}", tenths / 10, tenths % 10), None),
            value => (value.to_string(), None),
        };
        let sign = comparator.map(|sign| format!(r#","comparator":"{sign}""#)).unwrap_or_default();
        let number = self.number("glu_cap_pl", &value, unit);
        let text = format!(r#"{number}{sign},"context":{{"meal":"meal_pre"}}{stamp}"#);
        let mut fact = notes.reading(at, "glu_cap_pl", Some(unit), Ok(value));
        fact.comparator = comparator;
        line(object(&text), vec![self.stamped(fact, time.as_ref())])
    }

    /// "Should have seq or device_time": the fields, and the time.
    fn stamp(&mut self, at: SimTime) -> (String, Option<String>) {
        self.seq += 1;
        let seq = format!(r#","seq":{}"#, self.seq);
        let civil_ms = self.clock.civil_ms(self.setup.clock, at);
        let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or_default();
        let local = jiff::tz::TimeZone::UTC.to_datetime(civil).strftime("%Y-%m-%dT%H:%M:%S");
        let offset_s = self.setup.clock.utc_offset_s;
        let (sign, offset) = (if offset_s < 0 { '-' } else { '+' }, offset_s.unsigned_abs());
        let zone = format!("{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60);
        let fields = match self.style.stamp {
            0 => format!(r#","device_time":"{local}{zone}"{seq}"#),
            1 => seq,
            2 => format!(r#","device_time":"{local}{zone}""#),
            _ => format!(r#","device_time":"{local}""#),
        };
        let second = civil_ms.div_euclid(1000) * 1000 - i64::from(offset_s) * 1000;
        (fields, (self.style.stamp != 1).then(|| moment(second)))
    }

    fn stamped(&self, mut fact: Truth, time: Option<&String>) -> Truth {
        fact.device_time = time.cloned();
        fact.device_seq = (self.style.stamp < 2).then_some(self.seq);
        fact
    }

    /// "A number, or the same in quotes."
    fn number(&self, metric: &str, value: &str, unit: &str) -> String {
        let quote = if self.style.quotes { "\"" } else { "" };
        format!(r#""metric":"{metric}","value":{quote}{value}{quote},"unit":"{unit}""#)
    }
}

fn line(text: String, facts: Vec<Truth>) -> Line {
    Line { bytes: text.into_bytes(), facts }
}

fn object(fields: &str) -> String {
    format!("{{{fields}}}")
}

fn nothing(metric: &str, reason: &str) -> String {
    format!(r#""metric":"{metric}","no_data":"{reason}""#)
}

/// "The parts of one inflation are sent together as group nibp."
fn group(parts: &[String], stamp: &str) -> String {
    format!(r#"{{"group":"nibp","parts":[{}]{stamp}}}"#, parts.join(","))
}

fn wave(metric: &str, period_ms: u64, samples: &[i32], scale: &str) -> String {
    let samples: Vec<String> = samples.iter().map(ToString::to_string).collect();
    let samples = samples.join(",");
    format!(r#"{{"wave":"{metric}","period_ms":{period_ms},"samples":[{samples}],{scale}}}"#)
}

fn starts(alarm: Alarm) -> String {
    format!(r#"{{"alarm":"{}",{}}}"#, alarm.code, alarm.about)
}

fn ends(alarm: Alarm) -> String {
    format!(r#"{{"alarm":"{}","phase":"end"}}"#, alarm.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EcgSource, Patient, StageClock};

    fn reporter() -> Reporter {
        let setup = Setup {
            device: "home-01".into(),
            seed: 0,
            // 2026-11-22 08:30 in China.
            clock: StageClock { wall_start_ms: 1_795_307_399_000, utc_offset_s: 28_800 },
            patient: Patient::new(
                1,
                Scenario::built_in("clinic-day").unwrap(),
                EcgSource::Synthetic,
            ),
        };
        let mut reporter = Reporter::new(setup, &Temper::new(0));
        reporter.seq = 20;
        reporter
    }

    /// Examples of the document, as they stand there.
    #[test]
    fn lines_are_those_of_the_document() {
        let mut reporter = reporter();
        let number = |metric, value, unit| object(&reporter.number(metric, value, unit));
        assert_eq!(number("hr", "72", "/min"), r#"{"metric":"hr","value":72,"unit":"/min"}"#);
        assert_eq!(number("spo2", "97", "%"), r#"{"metric":"spo2","value":97,"unit":"%"}"#);
        assert_eq!(
            object(&(reporter.number("temp", "36.6", "Cel") + r#","channel":"t1""#)),
            r#"{"metric":"temp","value":36.6,"unit":"Cel","channel":"t1"}"#
        );
        assert_eq!(
            object(&nothing("spo2", "sensor_off")),
            r#"{"metric":"spo2","no_data":"sensor_off"}"#
        );
        assert_eq!(
            object(&(nothing("hr", "device_error") + r#","detail":"E43""#)),
            r#"{"metric":"hr","no_data":"device_error","detail":"E43"}"#
        );
        let parts = [
            number("nibp_sys", "120", "mm[Hg]"),
            number("nibp_dia", "80", "mm[Hg]"),
            number("pulse_nibp", "71", "/min"),
        ];
        let (stamp, time) = reporter.stamp(SimTime::from_millis(1_999));
        assert_eq!(
            group(&parts, &stamp),
            r#"{"group":"nibp","parts":[{"metric":"nibp_sys","value":120,"unit":"mm[Hg]"},{"metric":"nibp_dia","value":80,"unit":"mm[Hg]"},{"metric":"pulse_nibp","value":71,"unit":"/min"}],"device_time":"2026-11-22T08:30:00+08:00","seq":21}"#
        );
        assert_eq!(time.as_deref(), Some("2026-11-22T00:30:00.000Z"));
        assert_eq!(
            wave("ecg_wave_ii", 4, &[0, 0, 0], r#""lead_off":true"#),
            r#"{"wave":"ecg_wave_ii","period_ms":4,"samples":[0,0,0],"lead_off":true}"#
        );
        let scale = r#""scale":{"per_count":"0.025","offset":128,"unit":"mV"}"#;
        assert_eq!(
            wave("ecg_wave_ii", 4, &[128, 131, 140, 190, 128], scale),
            r#"{"wave":"ecg_wave_ii","period_ms":4,"samples":[128,131,140,190,128],"scale":{"per_count":"0.025","offset":128,"unit":"mV"}}"#
        );
        assert_eq!(
            starts(OCCLUSION),
            r#"{"alarm":"196940","phase":"start","priority":"high","text":"Occlusion"}"#
        );
        assert_eq!(ends(OCCLUSION), r#"{"alarm":"196940","phase":"end"}"#);
    }

    #[test]
    fn limits_and_other_units_are_said_as_they_are() {
        let mut reporter = reporter();
        let notes = Notebook::new("home-01", reporter.setup.clock);
        reporter.style.other_units = true;
        let mut said = |mg_per_dl| {
            let test = Glucose { at_s: 0, mg_per_dl };
            let fact = reporter.glucose(SimTime(0), &notes, test).facts.remove(0);
            format!(
                "{}{} {}",
                fact.comparator.unwrap_or_default(),
                fact.value.unwrap(),
                fact.unit.unwrap()
            )
        };
        assert_eq!(
            [said(0), said(98), said(65_535)],
            ["<1.1 mmol/L", "5.4 mmol/L", ">33.3 mmol/L"]
        );
        let cuff = Cuff { at_s: 0, pressure: [120, 93, 80], pulse: 72 };
        let line = reporter.cuff(SimTime(0), &notes, cuff);
        let values: Vec<_> = line.facts.iter().filter_map(|fact| fact.value.as_deref()).collect();
        assert_eq!(values, ["16.0", "10.7", "12.4", "72"]);
        assert_eq!(line.facts[0].device_seq, Some(24));
    }
}
