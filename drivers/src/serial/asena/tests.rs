//! The driver on lists of events.

use super::{codec::tests::framed, *};
use crate::bench::Bench;
use model::{
    alarm::AlarmPhase,
    reading::{Occurrence, Reading, Validity},
};

const RUNNING: &str = "INF^8002-51733^-^SET^12.50^ml/h^^3.125^ml^17.91^mmHg^02:30:00^EVENT^127904";
const OCCLUDED: &str = "INF^8002-51733^A^HLD^0.00^ml/h^^0.969^ml^530.15^mmHg^00:04:09^EVENT^214725";
const PUMP: &str = "pump-01-800251733";

fn opened() -> Bench<Asena> {
    let device = DeviceId::new("pump-01").unwrap();
    Bench::new(Asena::new(device, Duration::from_secs(2)))
}

/// What the pump says to each request.
#[derive(Clone, Copy)]
struct Answers {
    infusion: &'static str,
    alarm: &'static str,
    vtbi: &'static str,
    syringe: &'static str,
}

const ANSWERS: Answers = Answers {
    infusion: RUNNING,
    alarm: "ALARM^AL_NOALM^ ^ ",
    vtbi: "INF_VTBI^ACTIV^11.000^ml^STOP",
    syringe: "SYRINGE_STATUS^BD PLASTIPAK^ 50^CONF",
};

impl Bench<Asena> {
    fn last_asked(&self) -> String {
        let sent = String::from_utf8_lossy(self.sent.last().unwrap()).into_owned();
        sent.split('|').next().unwrap().trim_start_matches('!').to_owned()
    }

    fn answer(&mut self, body: &str) {
        self.receive(&framed(body));
    }

    /// Answers every request for so long, 100 ms after it.
    fn serve(&mut self, ms: u64, answers: Answers) {
        let end = self.ms + ms;
        let mut answered = self.sent.len().saturating_sub(1);
        while self.ms < end {
            if self.sent.len() > answered {
                answered = self.sent.len();
                self.pass(100);
                let body = match self.last_asked().as_str() {
                    "INST_SERIALNO" => "INST_SERIALNO^8002-51733",
                    "COMMS_PROTOCOL" => "COMMS_PROTOCOL^Asena Rev 2.1.5",
                    "COMMS_RESPONSE_MAX" => "COMMS_RESPONSE_MAX^4000^ms",
                    "INF" => answers.infusion,
                    "ALARM" => answers.alarm,
                    "INF_VTBI" => answers.vtbi,
                    "SYRINGE_STATUS" => answers.syringe,
                    other => panic!("{other} was asked"),
                };
                self.answer(body);
            } else {
                self.pass(100);
            }
        }
    }

    /// The first of each poll was answered.
    fn served() -> Self {
        let mut bench = opened();
        bench.serve(1_000, ANSWERS);
        bench
    }

    fn state(&self) -> Reading {
        let groups = self.groups().into_iter().rev();
        let mut readings = groups.flat_map(|group| group.readings.clone());
        readings.find(|reading| reading.metric.name() == "pump_state").unwrap()
    }
}

#[test]
fn a_session_asks_who_is_there_and_then_polls() {
    let bench = Bench::served();
    let asked: Vec<_> = bench.sent.iter().map(|sent| String::from_utf8_lossy(sent)).collect();
    assert_eq!(
        asked,
        [
            "!INST_SERIALNO|457D\r",
            "!COMMS_PROTOCOL|E8DA\r",
            "!COMMS_RESPONSE_MAX|7E29\r",
            "!INF|4961\r",
            "!ALARM|50B2\r",
            "!INF_VTBI|8456\r",
            "!SYRINGE_STATUS|4102\r",
        ]
    );
    assert_eq!(bench.states(), ["pump-01 online", &format!("{PUMP} online")]);
    let about: Vec<_> = bench.statuses()[1].about.iter().collect();
    assert_eq!(
        format!("{about:?}"),
        r#"[("protocol", "Asena Rev 2.1.5"), ("serial", "8002-51733")]"#
    );
}

#[test]
fn the_numbers_of_a_pump_keep_their_digits() {
    let bench = Bench::served();
    assert_eq!(
        bench.values(),
        [
            "pump_rate 12.50",
            "pump_vi 3.125",
            "pump_press 17.91",
            "pump_time_rem 9000",
            "pump_drug not_available",
            "pump_state infusing",
            "pump_vtbi 11.000",
            "pump_syr 50",
        ]
    );
    let groups = bench.groups();
    assert!(groups.iter().all(|group| group.device.as_str() == PUMP));
    assert!(groups.iter().all(|group| group.occurrence == Occurrence::Stream));
    let units: Vec<_> = groups
        .iter()
        .flat_map(|group| &group.readings)
        .filter_map(|reading| reading.unit.as_ref().map(ToString::to_string))
        .collect();
    assert_eq!(units, ["mL/h", "mL", "mm[Hg]", "s", "mL", "mL"]);
    assert_eq!(groups[1].context["end_action"], "STOP");
    assert_eq!(groups[2].context["brand"], "BD PLASTIPAK");
}

#[test]
fn blank_fields_and_marks_are_no_numbers() {
    let mut bench = opened();
    bench.serve(
        1_000,
        Answers {
            infusion: "INF^8002-51733^-^HLD^ ^ml/h^Noradrenaline^^ml^-50.00^mmHg^^EVENT^1",
            vtbi: "INF_VTBI^DEACT^^^",
            syringe: "SYRINGE_STATUS^^ 50^",
            ..ANSWERS
        },
    );
    assert_eq!(
        bench.values(),
        [
            "pump_rate not_available",
            "pump_vi not_available",
            "pump_press not_available",
            "pump_time_rem not_available",
            "pump_drug Noradrenaline",
            "pump_state paused",
            "pump_vtbi off",
            "pump_syr not_available",
        ]
    );
    assert!(bench.notes.is_empty());
}

#[test]
fn what_cannot_be_read_is_noted_and_gives_no_number() {
    let mut bench = opened();
    bench.serve(
        1_000,
        Answers {
            infusion: "INF^8002-51733^?^SET^12,50^ml/h^^3.125^oz^530.15^mmHg^24+^EVENT^1",
            vtbi: "INF_VTBI^ACTIV^11.0x^ml^STOP",
            ..ANSWERS
        },
    );
    assert_eq!(
        bench.values()[..7],
        [
            "pump_rate not_available",
            "pump_vi not_available",
            "pump_press 530.15",
            "pump_time_rem >24",
            "pump_drug not_available",
            "pump_state unknown",
            "pump_vtbi not_available",
        ]
    );
    assert_eq!(bench.notes[0].kind, "malformed");
}

#[test]
fn a_negative_pressure_is_a_pressure_and_an_impossible_rate_is_rejected() {
    let mut bench = opened();
    let infusion = "INF^8002-51733^-^SET^9999.00^ml/h^^3.125^ml^-12.40^mmHg^02:30:00^EVENT^1";
    bench.serve(1_000, Answers { infusion, ..ANSWERS });
    assert_eq!(
        bench.values()[..3],
        ["pump_rate rejected:9999.00", "pump_vi 3.125", "pump_press -12.40"]
    );
}

#[test]
fn each_poll_has_its_own_interval() {
    let mut bench = Bench::served();
    bench.sent.clear();
    bench.serve(60_000, ANSWERS);
    let count = |request: &str| {
        let start = format!("!{request}|");
        bench.sent.iter().filter(|sent| sent.starts_with(start.as_bytes())).count()
    };
    assert_eq!(count("INF"), 30);
    assert_eq!(count("ALARM"), 12);
    assert_eq!((count("INF_VTBI"), count("SYRINGE_STATUS")), (6, 6));
    assert_eq!(bench.sent.len(), 54, "nothing else is asked");
}

#[test]
fn an_occlusion_begins_and_ends() {
    let mut bench = Bench::served();
    let alarm = "ALARM^AL_OCCLU^ ^ ";
    bench.serve(4_000, Answers { infusion: OCCLUDED, alarm, ..ANSWERS });
    assert_eq!(bench.state(), Reading::text(bench.state().metric, "alarm"));
    bench.serve(4_000, ANSWERS);
    assert_eq!(bench.alarms(), [("AL_OCCLU", AlarmPhase::Start), ("AL_OCCLU", AlarmPhase::End)]);
}

#[test]
fn another_alarm_ends_the_first_and_another_text_changes_it() {
    let mut bench = Bench::served();
    for alarm in ["ALARM^AL_NEOIN^ ^ ", "ALARM^AL_NEOIN^5 min^left", "ALARM^AL_EOIKV^KVO^ "] {
        bench.serve(6_000, Answers { alarm, ..ANSWERS });
    }
    assert_eq!(
        bench.alarms(),
        [
            ("AL_NEOIN", AlarmPhase::Start),
            ("AL_NEOIN", AlarmPhase::Update),
            ("AL_NEOIN", AlarmPhase::End),
            ("AL_EOIKV", AlarmPhase::Start),
        ]
    );
}

#[test]
fn a_unit_of_something_else_gives_no_number() {
    let mut bench = opened();
    let infusion = "INF^8002-51733^-^SET^12.50^ml^^3.125^mmHg^530.15^ml/h^02:30:00^EVENT^1^x";
    bench.serve(1_000, Answers { infusion, ..ANSWERS });
    let absent = ["pump_rate not_available", "pump_vi not_available", "pump_press not_available"];
    assert_eq!(bench.values()[..3], absent);
    assert!(bench.notes[0].text.contains("12.50 \"ml\" is no pump_rate"), "{:?}", bench.notes);
}

#[test]
fn a_code_without_a_letter_is_no_alarm() {
    let mut bench = Bench::served();
    bench.serve(6_000, Answers { alarm: "ALARM^\u{1}\0^ ^ ", ..ANSWERS });
    assert_eq!(bench.alarms(), []);
    bench.serve(6_000, Answers { alarm: "ALARM^AL_NEOIN\0^ ^ ", ..ANSWERS });
    assert_eq!(bench.alarms(), [("AL_NEOIN", AlarmPhase::Start)]);
}

#[test]
fn an_infusion_whose_volume_stands_still_is_doubtful() {
    let mut bench = Bench::served();
    bench.serve(29_000, ANSWERS);
    assert_eq!(bench.state().validity, Validity::Valid);
    bench.serve(4_000, ANSWERS);
    assert_eq!(bench.state().validity, Validity::Questionable);
    let infusion = "INF^8002-51733^-^SET^12.50^ml/h^^3.132^ml^17.91^mmHg^02:30:00^EVENT^127904";
    bench.serve(2_000, Answers { infusion, ..ANSWERS });
    assert_eq!(bench.state().validity, Validity::Valid);
}

#[test]
fn a_request_is_repeated_once_and_given_up_after_the_time_the_pump_names() {
    let mut bench = opened();
    bench.pass(499);
    assert_eq!(bench.sent.len(), 1);
    bench.pass(1);
    assert_eq!(bench.sent.len(), 2);
    bench.pass(3_499);
    assert_eq!(bench.sent.len(), 2);
    bench.pass(1);
    assert_eq!((bench.sent.len(), bench.last_asked()), (3, "INST_SERIALNO".to_owned()));
    bench.answer("INST_SERIALNO^8002-51733");
    bench.answer("COMMS_PROTOCOL^Asena Rev 2.1.5");
    bench.answer("COMMS_RESPONSE_MAX^2000^ms");
    assert_eq!(bench.last_asked(), "INF");
    bench.sent.clear();
    bench.pass(1_999);
    assert_eq!(bench.last_asked(), "INF");
    assert_eq!(bench.sent.len(), 1);
    bench.pass(1);
    assert_eq!(bench.sent.len(), 2, "the next request, or INF anew");
}

#[test]
fn silence_is_reported_once_per_period() {
    let mut bench = Bench::served();
    bench.records.clear();
    bench.pass(120_000);
    assert_eq!(bench.states(), ["pump-01 silent", &format!("{PUMP} silent")]);
    assert_eq!(
        bench.values(),
        [
            "pump_rate silent",
            "pump_vi silent",
            "pump_vtbi silent",
            "pump_time_rem silent",
            "pump_syr silent",
            "pump_press silent"
        ]
    );
    assert_eq!(bench.last_asked(), "INST_SERIALNO", "the session is opened again and again");
    bench.records.clear();
    bench.serve(1_000, ANSWERS);
    assert_eq!(bench.states(), ["pump-01 online", &format!("{PUMP} online")]);
}

#[test]
fn a_port_without_a_pump_is_silent_after_ten_seconds() {
    let mut bench = opened();
    bench.pass(9_999);
    assert!(bench.records.is_empty());
    bench.pass(1);
    assert_eq!(bench.states(), ["pump-01 silent"]);
}

#[test]
fn an_alarm_that_is_up_at_the_end_of_a_silence_begins_again() {
    let mut bench = Bench::served();
    let answers = Answers { infusion: OCCLUDED, alarm: "ALARM^AL_OCCLU^ ^ ", ..ANSWERS };
    bench.serve(4_000, answers);
    bench.pass(20_000);
    bench.serve(4_000, answers);
    assert_eq!(bench.alarms(), [("AL_OCCLU", AlarmPhase::Start); 2]);
}

#[test]
fn a_changed_serial_number_is_another_pump() {
    let mut bench = Bench::served();
    bench.records.clear();
    bench.sent.clear();
    bench.serve(2_500, Answers { infusion: OTHER, ..ANSWERS });
    assert_eq!(
        bench.states()[..2],
        [format!("{PUMP} removed"), "pump-01-800251740 online".to_owned()]
    );
    assert!(bench.sent.contains(&request(Request::Serial)), "the session begins anew");
    let first_number = bench.groups()[1].clone();
    assert_eq!(first_number.device.as_str(), "pump-01-800251740");
}

const OTHER: &str = "INF^8002-51740^-^SET^5.00^ml/h^^1.000^ml^17.91^mmHg^02:30:00^EVENT^5";

#[test]
fn a_pump_without_a_number_is_noted_and_left_out() {
    let mut bench = opened();
    let infusion = "INF^^-^SET^12.50^ml/h^^3.125^ml^17.91^mmHg^02:30:00^EVENT^127904";
    bench.serve(3_000, Answers { infusion, ..ANSWERS });
    assert_eq!(bench.notes[0].kind, "nameless");
    assert!(bench.groups().is_empty() && bench.alarms().is_empty());
}

#[test]
fn answers_nobody_asked_for_are_skipped() {
    let mut bench = Bench::served();
    bench.records.clear();
    bench.answer(RUNNING);
    bench.pass(1_500);
    assert_eq!(bench.last_asked(), "INF");
    bench.answer("ALARM^AL_OCCLU^ ^ ");
    assert!(bench.records.is_empty());
    assert_eq!(bench.notes[0].kind, "late");
    bench.answer(RUNNING);
    assert_eq!(bench.groups().len(), 1);
}

#[test]
fn an_echo_or_half_an_answer_is_asked_for_again() {
    let mut bench = Bench::served();
    bench.records.clear();
    bench.pass(1_500);
    bench.sent.clear();
    bench.answer("INF");
    bench.answer("INF^8002-51733^-^SET^12.50^ml/h");
    bench.receive(b"!INF^8002-51733^-^SET^12.50^ml/h^^3.1");
    assert!(bench.records.is_empty());
    assert_eq!(bench.notes[0].kind, "malformed");
    bench.pass(500);
    assert_eq!(bench.last_asked(), "INF");
    bench.answer(RUNNING);
    assert_eq!(bench.groups().len(), 1);
}

#[test]
fn a_closed_port_takes_the_pump_down() {
    let mut bench = Bench::served();
    bench.records.clear();
    bench.handle(SerialEvent::Closed);
    assert_eq!(bench.states(), [format!("{PUMP} link_down")]);
    assert_eq!(bench.driver.next_timeout(), None);
    bench.records.clear();
    bench.handle(SerialEvent::Opened);
    bench.serve(1_000, ANSWERS);
    assert_eq!(bench.states(), ["pump-01 online", &format!("{PUMP} online")]);
}
