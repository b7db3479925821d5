//! The driver on lists of events, and every example of its description.

use super::*;
use crate::bench::Bench;
use model::{
    alarm::{AlarmKind, Priority},
    reading::Validity,
    time::{DeviceTime, civil_ms},
};
use proptest::{collection::vec, prelude::*};

const README: &str = include_str!("README.md");
const HR: &str = r#"{"metric":"hr","value":72,"unit":"/min"}"#;
const MONITOR: Settings =
    Settings { kind: DeviceKind::Monitor, acknowledge: false, silent_after: None };
const ANSWERING: Settings = Settings { acknowledge: true, ..MONITOR };

fn opened(settings: Settings) -> Bench<JsonLines> {
    Bench::new(JsonLines::new(DeviceId::new("ward-03").unwrap(), settings))
}

impl Bench<JsonLines> {
    fn line(&mut self, line: &str) {
        self.receive(format!("{line}\n").as_bytes());
    }

    /// What was answered since the last time.
    fn answers(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent).concat();
        String::from_utf8(sent).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

/// A driver that took this line, and nothing else.
#[track_caller]
fn taken(line: &str) -> Bench<JsonLines> {
    let mut bench = opened(MONITOR);
    bench.line(line);
    assert_eq!(bench.notes, [], "{line}");
    bench
}

/// What is said of a line that is refused; the line after it is taken.
#[track_caller]
fn refused(line: &str) -> String {
    let mut bench = opened(MONITOR);
    bench.line(line);
    assert!(bench.records.is_empty(), "{line}");
    bench.line(HR);
    assert_eq!(bench.values(), ["hr 72"], "{line}");
    let text = bench.notes[0].text.clone();
    text.strip_prefix("line 1 is refused: ").unwrap().to_owned()
}

fn blocks(kind: &str) -> Vec<Vec<&'static str>> {
    let start = format!("```{kind}");
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while lines.by_ref().any(|line| line == start) {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
    }
    blocks
}

#[test]
fn every_example_of_the_description_is_taken() {
    let examples = blocks("json").concat();
    assert!(examples.len() > 20);
    for example in examples {
        assert!(!taken(example).records.is_empty(), "{example}");
    }
}

#[test]
fn every_session_of_the_description_gives_these_answers() {
    for session in blocks("session") {
        let mut bench = opened(ANSWERING);
        for line in session {
            match line.split_at(1) {
                (">", line) => {
                    assert_eq!(bench.answers(), [""; 0], "before {line}");
                    bench.line(line.strip_prefix(' ').unwrap_or(line));
                    bench.handle(SerialEvent::Committed);
                }
                (_, answer) => {
                    let first = bench.sent.remove(0);
                    let expected = format!("{}\n", answer.strip_prefix(' ').unwrap());
                    assert_eq!(String::from_utf8(first).unwrap(), expected);
                }
            }
        }
        assert_eq!(bench.answers(), [""; 0]);
    }
}

#[test]
fn a_number_keeps_its_digits_and_its_unit() {
    let bench = taken(r#"{"metric":"temp","value":36.60,"unit":"Cel","channel":"t1"}"#);
    assert_eq!(bench.values(), ["temp 36.60"]);
    let group = bench.groups()[0];
    assert_eq!((group.channel.as_str(), group.occurrence), ("t1", Occurrence::Stream));
    assert_eq!(bench.states(), ["ward-03 online"]);
    let bench = taken(r#"{"metric":"temp_ear","value":"98.60","unit":"[degF]"}"#);
    assert_eq!(bench.values(), ["temp_ear 98.60"]);
    assert_eq!(bench.groups()[0].readings[0].unit.as_ref().unwrap().as_str(), "[degF]");
    assert_eq!(
        taken(r#"{"metric":"weight","value":7.25e1,"unit":"kg"}"#).values(),
        ["weight 72.5"]
    );
}

#[test]
fn an_inflation_is_one_group_with_all_its_parts() {
    let bench = taken(
        r#"{"group":"nibp","parts":[{"metric":"nibp_sys","value":16.0,"unit":"kPa"},
            {"metric":"cuff_dia","value":80,"unit":"mm[Hg]"}],
            "device_time":"2026-11-22T08:30:00+08:00","seq":21,"context":{"site":"left"}}"#
            .replace('\n', " ")
            .as_str(),
    );
    assert_eq!(
        bench.values(),
        ["nibp_sys 16.0", "nibp_dia 80", "nibp_mean not_available", "pulse_nibp not_available"]
    );
    let group = bench.groups()[0];
    assert_eq!((group.group, group.occurrence), (Some(Metric::NIBP), Occurrence::Spot));
    let civil_ms = civil_ms(2026, 11, 22, 8, 30, 0).unwrap();
    assert_eq!(group.device_time, Some(DeviceTime::Zoned { civil_ms, offset_s: 28_800 }));
    assert_eq!((group.device_seq, group.context["site"].as_str()), (Some(21), "left"));
}

#[test]
fn limits_are_those_of_the_catalogue() {
    let impossible = taken(r#"{"metric":"hr","value":400,"unit":"/min"}"#);
    assert_eq!(impossible.values(), ["hr rejected:400"]);
    let endless = taken(r#"{"metric":"temp","value":999999999999999e9,"unit":"[degF]"}"#);
    assert_eq!(endless.values(), ["temp rejected:999999999999999000000000"]);
    let validity = |line: &str| taken(line).groups()[0].readings[0].validity;
    assert_eq!(
        validity(r#"{"metric":"hr","value":310,"unit":"/min","validity":"valid"}"#),
        Validity::Questionable
    );
    assert_eq!(
        validity(r#"{"metric":"hr","value":72,"unit":"/min","validity":"invalid"}"#),
        Validity::Invalid
    );
    let crossed = taken(
        r#"{"group":"nibp","parts":[{"metric":"nibp_sys","value":80,"unit":"mm[Hg]"},
            {"metric":"nibp_dia","value":120,"unit":"mm[Hg]"}]}"#
            .replace('\n', " ")
            .as_str(),
    );
    assert_eq!(crossed.values()[..2], ["nibp_sys rejected:80", "nibp_dia rejected:120"]);
}

#[test]
fn a_zero_is_a_heart_rate_only_while_the_heart_stands_still() {
    let zero = r#"{"metric":"hr","value":0,"unit":"/min"}"#;
    let mut bench = taken(zero);
    bench.line(r#"{"metric":"spo2","value":0.0,"unit":"%"}"#);
    bench.line(r#"{"metric":"pump_rate","value":0,"unit":"mL/h"}"#);
    bench.line(r#"{"alarm":199684,"phase":"start"}"#);
    bench.line(zero);
    bench.line(r#"{"metric":"rr","value":0,"unit":"/min"}"#);
    bench.line(r#"{"alarm":"199680","phase":"start"}"#);
    bench.line(r#"{"metric":"rr","value":0,"unit":"/min"}"#);
    bench.line(r#"{"alarm":"199684","phase":"end"}"#);
    bench.line(zero);
    assert_eq!(
        bench.values(),
        [
            "hr not_available",
            "spo2 not_available",
            "pump_rate 0",
            "hr 0",
            "rr not_available",
            "rr 0",
            "hr not_available",
        ]
    );
}

#[test]
fn what_is_wrong_is_said_with_a_remedy() {
    for (line, said) in [
        (r#"{"metric":"bp","value":1,"unit":"1"}"#, "\"bp\" is no metric; use a name of"),
        (r#"{"metric":"hr"}"#, "hr has neither value nor reason; add"),
        (r#"{"metric":"hr","value":null}"#, "hr has neither value nor reason"),
        (r#"{"metric":"hr","value":1,"no_data":"off"}"#, "hr has a value and \"no_data\""),
        (r#"{"metric":"hr","value":"Lo","unit":"/min"}"#, "\"Lo\" of hr: not a decimal number"),
        (r#"{"metric":"hr","value":true,"unit":"/min"}"#, "\"true\" of hr: not a decimal number"),
        (r#"{"metric":"hr","value":72,"unit":""}"#, "\"\" is no unit of hr; use \"/min\""),
        (r#"{"metric":"temp","value":1,"unit":"°C"}"#, "\"°C\" is no unit of temp; use \"Cel\""),
        (r#"{"metric":"hr","value":72,"unit":"/min","comparator":"="}"#, "\"=\" is no comparator"),
        (r#"{"metric":"hr","no_data":"lost"}"#, "\"lost\" is no no_data; use one of: sensor_off"),
        (r#"{"metric":"hr","no_data":"silent"}"#, "\"silent\" is no no_data"),
        (r#"{"metric":"hr","no_data":"rejected"}"#, "\"rejected\" is no no_data"),
        (r#"{"metric":"hr","no_data":"device_error"}"#, "device_error has no code; add \"detail\""),
        (r#"{"metric":"hr","no_data":"off","detail":"1"}"#, "\"detail\" needs \"no_data\""),
        (r#"{"metric":"hr","no_data":"off","comparator":"<"}"#, "a comparator belongs to a number"),
        (r#"{"metric":"hr","value":1,"unit":"/min","validity":"ok"}"#, "\"ok\" is no validity"),
        (r#"{"metric":"hr","value":1,"unit":"/min","seq":9223372036854775808}"#, "seq 92"),
        (r#"{"metric":"hr","value":1,"unit":"/min","device_time":"8:30"}"#, "\"8:30\" is no time"),
        (r#"{"metric":"hr","value":1,"unit":"/min","channel":"a b"}"#, "\"a b\" is no channel"),
        (r#"{"metric":"pump_drug","value":5}"#, "the value of pump_drug is 5; send a text"),
        (r#"{"metric":"pump_drug","value":"x","unit":"mL"}"#, "the value of pump_drug is x; send"),
        (r#"{"metric":"nibp","value":1,"unit":"mm[Hg]"}"#, "nibp is no reading of its own; send"),
        (r#"{"metric":"pleth","value":1,"unit":"1"}"#, "pleth is no reading of its own; send it"),
        (r#"{"metric":"lead_off","value":1}"#, "lead_off is no reading of its own; send it as"),
        (r#"{"metric":"meal_pre","value":"x"}"#, "meal_pre is no reading of its own; put it"),
        (r#"{"metric":"cuff_pressure","value":1,"unit":"kPa"}"#, "cuff_pressure is no reading"),
        (r#"{"metric":"link_state","value":"online"}"#, "link_state is no reading of its own"),
        (r#"{"parts":[]}"#, "the line has 0 parts; send 1 to 16"),
        (r#"{"group":"abp","parts":[{"metric":"hr","no_data":"off"}]}"#, "\"abp\" is no group"),
        (r#"{"group":"nibp","parts":[{"metric":"hr","no_data":"off"}]}"#, "hr is no part of nibp"),
        (
            r#"{"parts":[{"metric":"hr","no_data":"off"},{"metric":"hr","no_data":"off"}]}"#,
            "hr is there twice",
        ),
        (
            r#"{"parts":[{"metric":"temp_ear","no_data":"off"},{"metric":"hr","no_data":"off"}]}"#,
            "temp_ear is measured once and hr repeats; send two lines",
        ),
        (r#"{"wave":"hr","period_ms":4,"samples":[1]}"#, "hr is no waveform; send it as"),
        (r#"{"wave":"pleth","samples":[1]}"#, "the period is missing or none; send"),
        (r#"{"wave":"pleth","period_ms":0,"samples":[1]}"#, "the period is missing or none"),
        (
            r#"{"wave":"pleth","period_ms":4,"period":{"num":1,"den":250},"samples":[1]}"#,
            "the period is missing or none",
        ),
        (r#"{"wave":"pleth","period_ms":4,"samples":[]}"#, "the block has 0 samples"),
        (r#"{"wave":"pleth","period_ms":600,"samples":[1,2]}"#, "the block is longer than"),
        (
            r#"{"wave":"ecg_wave","period_ms":4,"samples":[1],"scale":{"per_count":1,"unit":"V"}}"#,
            "\"V\" is no unit of ecg_wave; use \"mV\"",
        ),
        (
            r#"{"wave":"ecg_wave","period_ms":4,"samples":[1],"scale":{"per_count":0,"unit":""}}"#,
            "the value of ecg_wave is 0; send a scale",
        ),
        (r#"{"alarm":{},"phase":"start"}"#, "{} is no alarm code; send the MDC event code"),
        (r#"{"alarm":"","phase":"start"}"#, "\"\" is no alarm code"),
        (r#"{"alarm":-1,"phase":"start"}"#, "-1 is no alarm code"),
        (r#"{"alarm":"E1"}"#, "missing field `phase`"),
        (r#"{"alarm":"E1","phase":"begin"}"#, "\"begin\" is no phase; use one of: start, update"),
        (r#"{"alarm":"E1","phase":"end","kind":"AIR"}"#, "\"AIR\" is no kind; use one of: DEV-AS"),
        (r#"{"alarm":"E1","phase":"end","priority":"red"}"#, "\"red\" is no priority"),
        (r#"{"alarm":"E1","phase":"end","source":"bp"}"#, "\"bp\" is no metric"),
        (r#"{"about":{"a\nb":"c"}}"#, "\"ab\" is too long or has control characters"),
    ] {
        let found = refused(line);
        assert!(found.starts_with(said), "{line}: {found}");
    }
}

#[test]
fn too_many_entries_and_too_long_texts_are_refused_and_not_cut() {
    let texts: Vec<_> = (0..9).map(|n| format!("\"k{n}\":\"v\"")).collect();
    let context = texts.join(",");
    let line = format!(r#"{{"metric":"hr","no_data":"off","context":{{{context}}}}}"#);
    assert!(refused(&line).starts_with("\"context\" has 9 entries; send at most 8"));
    let long = "x".repeat(129);
    let line = format!(r#"{{"alarm":"E1","phase":"start","text":"{long}"}}"#);
    assert!(refused(&line).contains("is too long"));
}

#[test]
fn texts_numbers_and_units_follow_the_metric() {
    assert_eq!(taken(r#"{"metric":"acvpu","value":"V"}"#).values(), ["acvpu V"]);
    assert_eq!(taken(r#"{"metric":"o2_therapy","value":"yes"}"#).values(), ["o2_therapy yes"]);
    let flow = taken(r#"{"metric":"o2_therapy","value":2,"unit":"L/min"}"#);
    assert_eq!(flow.values(), ["o2_therapy 2"]);
    let dose = taken(r#"{"metric":"pump_conc","value":1.50,"unit":"[IU]/mL"}"#);
    assert_eq!(dose.values(), ["pump_conc 1.50"]);
    let low = taken(r#"{"metric":"glu_cap_pl","value":20,"comparator":"<","unit":"mg/dL"}"#);
    assert_eq!(low.values(), ["glu_cap_pl <20"]);
}

#[test]
fn what_was_measured_once_is_an_event() {
    let occurrence = |line: &str| taken(line).groups()[0].occurrence;
    assert_eq!(occurrence(HR), Occurrence::Stream);
    assert_eq!(
        occurrence(r#"{"metric":"hr","value":72,"unit":"/min","spot":true}"#),
        Occurrence::Spot
    );
    assert_eq!(
        occurrence(
            r#"{"parts":[{"metric":"power","value":"onMains"},{"metric":"ketone","no_data":"off"}]}"#
        ),
        Occurrence::Spot
    );
}

#[test]
fn blocks_follow_each_other_without_a_gap() {
    let samples: Vec<_> = (0..125).map(|n| n.to_string()).collect();
    let scale = r#"{"per_count":"0.025","offset":128,"unit":"mV"}"#;
    let line = format!(
        r#"{{"wave":"ecg_wave_ii","period_ms":4,"samples":[{}],"scale":{scale}}}"#,
        samples.join(",")
    );
    let mut bench = opened(MONITOR);
    bench.pass(1_000);
    bench.line(&line);
    for jitter in [510, 490, 520] {
        bench.pass(jitter);
        bench.line(&line);
    }
    bench.pass(2_000);
    bench.line(&line);
    let starts: Vec<_> = bench.blocks().iter().map(|block| block.start.at.unix_ms()).collect();
    let steps: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps, [500, 500, 500, 2_020]);
    let first = bench.blocks()[0];
    assert_eq!(starts[0], crate::bench::now_at(500).wall.unix_ms());
    assert_eq!((first.period.numerator(), first.period.denominator()), (1, 250));
    assert_eq!(first.samples.len(), 125);
    let scale = first.scale.clone().unwrap();
    assert_eq!((scale.per_count.to_string().as_str(), scale.offset), ("0.025", 128));
}

#[test]
fn an_alarm_is_what_its_code_or_its_kind_says() {
    let mut bench = taken(r#"{"alarm":"196940","phase":"start","priority":"high","text":"堵塞"}"#);
    bench.line(r#"{"alarm":196802,"phase":"start"}"#);
    bench.line(r#"{"alarm":"AIR1","kind":"DEV-AIR","phase":"update"}"#);
    bench.line(r#"{"alarm":"E43","phase":"end","source":"spo2","channel":"b"}"#);
    let alarms: Vec<_> = bench
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Alarm(alarm) => Some(alarm),
            _ => None,
        })
        .collect();
    let kinds: Vec<_> = alarms.iter().map(|alarm| alarm.kind).collect();
    assert_eq!(
        kinds,
        [
            AlarmKind::OcclusionDownstream,
            AlarmKind::BatteryLow,
            AlarmKind::AirInLine,
            AlarmKind::Other
        ]
    );
    assert_eq!((alarms[0].priority, alarms[0].text.as_str()), (Some(Priority::High), "堵塞"));
    assert_eq!((alarms[1].code.as_str(), alarms[1].phase), ("196802", AlarmPhase::Start));
    assert_eq!((alarms[3].source, alarms[3].channel.as_str()), (Some(Metric::SPO2), "b"));
}

#[test]
fn silence_is_reported_once_per_period() {
    let mut bench = taken(HR);
    bench.line(r#"{"metric":"temp","value":36.6,"unit":"Cel","channel":"t1"}"#);
    bench.line(r#"{"metric":"ketone","value":0.1,"unit":"mmol/L"}"#);
    bench.line(r#"{"metric":"pump_drug","value":"x"}"#);
    bench.records.clear();
    bench.pass(9_999);
    assert!(bench.records.is_empty());
    // What cannot be understood is no sign of life.
    bench.line("garbage");
    bench.line("");
    bench.pass(60_000);
    assert_eq!(bench.values(), ["hr silent", "temp silent"]);
    assert_eq!(bench.groups()[1].channel.as_str(), "t1");
    assert_eq!(bench.states(), ["ward-03 silent"]);
    bench.records.clear();
    bench.line(HR);
    assert_eq!(bench.states(), ["ward-03 online"]);
}

#[test]
fn each_kind_of_device_has_its_own_patience() {
    let states = |kind, silent_after_s: Option<u64>| {
        let silent_after = silent_after_s.map(Duration::from_secs);
        let mut bench = opened(Settings { kind, silent_after, ..MONITOR });
        bench.pass(14_999);
        let soon = bench.states().len();
        bench.pass(86_000_000);
        (soon, bench.states().len())
    };
    assert_eq!(states(DeviceKind::Monitor, None), (1, 1));
    assert_eq!(states(DeviceKind::Pump, None), (0, 1));
    assert_eq!(states(DeviceKind::Cuff, None), (0, 0));
    assert_eq!(states(DeviceKind::GlucoseMeter, None), (0, 0));
    assert_eq!(states(DeviceKind::Cuff, Some(3_600)), (0, 1));
    assert_eq!(states(DeviceKind::Monitor, Some(3_600)), (0, 1));
}

#[test]
fn what_the_device_says_of_itself_is_told_when_it_changes() {
    let about = r#"{"about":{"model":"Thermo-1"}}"#;
    let mut bench = taken(about);
    bench.line(about);
    bench.line(&about.replace("-1", "-2"));
    let models: Vec<_> = bench.statuses().iter().map(|status| &status.about["model"]).collect();
    assert_eq!(models, ["Thermo-1", "Thermo-2"]);
    assert_eq!(bench.statuses()[0].driver, "json-lines");
}

#[test]
fn a_line_is_acknowledged_when_it_is_on_disk_and_not_before() {
    let mut bench = opened(ANSWERING);
    assert_eq!(bench.answers(), [r#"{"ack":0}"#]);
    bench.receive(format!("{HR}\n{HR}\n{HR}\n").as_bytes());
    assert_eq!(bench.answers(), [""; 0]);
    bench.handle(SerialEvent::Committed);
    assert_eq!(bench.answers(), [r#"{"ack":3}"#]);
    bench.handle(SerialEvent::Committed);
    assert_eq!(bench.answers(), [""; 0], "nothing new");
    // A refused line waits for the ones before it.
    bench.receive(format!("{HR}\nx\n").as_bytes());
    assert!(bench.answers()[0].starts_with(r#"{"refused":5,"error":"no JSON"#));
    bench.handle(SerialEvent::Committed);
    assert_eq!(bench.answers(), [r#"{"ack":5}"#]);
    // Nothing of it is stored: nothing to wait for.
    bench.line("");
    assert_eq!(bench.answers(), [r#"{"ack":6}"#]);
}

#[test]
fn hello_and_a_new_link_count_from_the_beginning() {
    let mut bench = opened(ANSWERING);
    bench.receive(format!("{HR}\n{{\"hello\":1}}\n{HR}\n").as_bytes());
    assert_eq!(bench.answers(), [r#"{"ack":0}"#, r#"{"ack":0}"#]);
    bench.handle(SerialEvent::Committed);
    assert_eq!(bench.answers(), [r#"{"ack":1}"#]);
    bench.receive(b"x\n{\"hello\":1}\ny\n");
    let answers = bench.answers();
    assert!(answers[0].starts_with(r#"{"refused":2,"#), "a number of the old count");
    assert_eq!(answers[1], r#"{"ack":0}"#);
    assert!(answers[2].starts_with(r#"{"refused":1,"#));
    assert_eq!(answers[3], r#"{"ack":1}"#);
    bench.receive(b"{\"metric\":");
    bench.handle(SerialEvent::Closed);
    assert_eq!(bench.notes.last().unwrap().kind, "cut_off");
    assert_eq!(bench.driver.next_timeout(), None);
    bench.handle(SerialEvent::Opened);
    bench.line(HR);
    bench.handle(SerialEvent::Committed);
    assert_eq!(bench.answers(), [r#"{"ack":0}"#, r#"{"ack":1}"#]);
}

#[test]
fn an_echo_is_neither_counted_nor_answered() {
    let mut bench = opened(ANSWERING);
    for _ in 0..5 {
        let sent = std::mem::take(&mut bench.sent).concat();
        bench.receive(&sent);
    }
    assert!(bench.sent.is_empty());
    assert_eq!(bench.notes[0].kind, "echo");
    bench.line("x");
    let refusal = bench.sent.concat();
    bench.sent.clear();
    bench.receive(&refusal);
    assert!(bench.sent.is_empty(), "{:?}", bench.answers());
}

#[test]
fn many_refused_lines_are_not_answered_one_by_one() {
    let mut bench = opened(ANSWERING);
    bench.answers();
    bench.receive("x\n".repeat(100).as_bytes());
    let answers = bench.answers();
    assert_eq!(answers.len(), 10);
    assert!(answers[7].starts_with(r#"{"refused":8,"#));
    let rest = r#"{"refused":100,"error":"92 lines from 9 to 100 are refused as well"#;
    assert!(answers[8].starts_with(rest), "{}", answers[8]);
    assert_eq!(answers[9], r#"{"ack":100}"#);
}

#[test]
fn nothing_is_sent_unless_somebody_asked_for_it() {
    let mut bench = taken(HR);
    bench.receive(b"x\n{\"hello\":1}\n\xff\n");
    bench.handle(SerialEvent::Committed);
    bench.pass(60_000);
    bench.handle(SerialEvent::Closed);
    assert!(bench.sent.is_empty());
    let notes: Vec<_> = bench.notes.iter().map(|note| note.text.clone()).collect();
    assert!(notes[0].starts_with("line 2 is refused: no JSON at column 1"), "{notes:?}");
    assert!(notes[1].starts_with("line 1 is refused: byte 1 of the line is not UTF-8"));
}

#[test]
fn what_is_remembered_of_a_source_is_bounded() {
    let mut bench = opened(MONITOR);
    for number in 0..100 {
        let channel = format!(r#""channel":"c{number}"}}"#);
        bench.line(&format!(r#"{{"metric":"temp","value":36.6,"unit":"Cel",{channel}"#));
        bench.line(&format!(r#"{{"wave":"pleth","period_ms":4,"samples":[1],{channel}"#));
        bench.line(&format!(r#"{{"alarm":199684,"phase":"start",{channel}"#));
    }
    assert_eq!((bench.groups().len(), bench.blocks().len()), (32, 32));
    assert!(bench.notes[0].text.contains("more than 64 streams and waveforms"));
    // A known one is still taken.
    bench.line(r#"{"metric":"temp","value":36.6,"unit":"Cel","channel":"c1"}"#);
    assert_eq!(bench.groups().len(), 33);
}

fn likely_line() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        r#""metric":"hr""#,
        r#""metric":"nibp_sys""#,
        r#""metric":"pump_drug""#,
        r#""value":72"#,
        r#""value":"x""#,
        r#""value":1e9"#,
        r#""unit":"/min""#,
        r#""unit":"kPa""#,
        r#""comparator":"<""#,
        r#""no_data":"off""#,
        r#""group":"nibp""#,
        r#""parts":[{"metric":"nibp_sys","value":120,"unit":"mm[Hg]"}]"#,
        r#""wave":"pleth""#,
        r#""samples":[1,-2147483648,2147483647]"#,
        r#""period_ms":4"#,
        r#""alarm":"E1""#,
        r#""phase":"start""#,
        r#""seq":18446744073709551615"#,
        r#""device_time":"2026-11-22T08:30:00Z""#,
        r#""hello":1"#,
        r#""about":{"a":"b"}"#,
    ]);
    vec(field, 0..6).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

proptest! {
    /// Each line is either taken or refused, and N counts both.
    #[test]
    fn every_line_is_counted_and_none_is_lost_silently(lines in vec(likely_line(), 0..40)) {
        let mut bench = opened(ANSWERING);
        bench.answers();
        let mut count = 0;
        for line in lines {
            let before = bench.records.len();
            bench.line(&line);
            let refused = bench.answers().iter().any(|answer| answer.starts_with("{\"refused\""));
            let hello = line.contains("hello") && !refused;
            count = if hello { 0 } else { count + 1 };
            let said = bench.records.len() > before;
            let about = line.contains("about") && !refused;
            prop_assert!(said != refused || hello || about, "{}", line);
            bench.handle(SerialEvent::Committed);
        }
        bench.answers();
        bench.line("");
        let ack = format!("{{\"ack\":{}}}", count + 1);
        prop_assert_eq!(bench.answers(), [ack]);
    }

    #[test]
    fn cutting_does_not_matter(
        lines in vec(likely_line(), 1..6),
        cuts in vec(1_usize..30, 0..20),
    ) {
        let bytes = lines.join("\n") + "\n";
        let mut whole = opened(ANSWERING);
        whole.receive(bytes.as_bytes());
        let mut pieces = opened(ANSWERING);
        let mut rest = bytes.as_bytes();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            pieces.receive(head);
            rest = tail;
        }
        pieces.receive(rest);
        prop_assert_eq!(&whole.records, &pieces.records);
        prop_assert_eq!(whole.said.notes, pieces.said.notes);
    }

    #[test]
    fn a_good_line_after_any_bytes_is_taken(noise in vec(any::<u8>(), 0..200)) {
        let mut bench = opened(MONITOR);
        bench.receive(&[&noise[..], b"\n", HR.as_bytes(), b"\n"].concat());
        prop_assert_eq!(bench.values(), ["hr 72"]);
    }

    #[test]
    fn digits_of_a_value_are_kept(
        mantissa in 0_u32..1_000_000,
        decimals in 0_usize..6,
        quoted: bool,
    ) {
        let digits = format!("{mantissa:0>width$}", width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let number =
            if decimals == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
        let value = if quoted { format!("\"{number}\"") } else { number.clone() };
        let line = format!(r#"{{"metric":"pump_conc","value":{value},"unit":"mg/mL"}}"#);
        prop_assert_eq!(taken(&line).values(), [format!("pump_conc {number}")]);
    }
}
