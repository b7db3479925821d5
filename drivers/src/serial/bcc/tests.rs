//! The driver on lists of events.

mod cyclic;
mod silence;

use super::{codec::tests::block, *};
use crate::bench::Bench;
use model::{alarm::AlarmPhase, device::DeviceState, record::Record};
use proptest::{collection::vec, prelude::*};

const BED: &str = "WARD3BED2";
const RUNNING: &str = "INSERNUM,40864;INRT,5.00;INVI,12.5;INM3,1;INA3,0";

/// The same alarms and states as bit fields.
const BITS: &str = "INSERNUM,40864;INRT,5.00;ALARM1,00000400;STATUS1,000000C3;INVI,12.5";
const SECOND: &str = "INSERNUM,36248;INRT,2.00;INVI,1.0;INM3,1;INA3,0";

fn opened() -> Bench<Bcc> {
    let device = DeviceId::new("station-1").unwrap();
    Bench::new(Bcc::new(device, Duration::from_secs(5)))
}

/// Entries of the pump in that slot.
fn pump(time: u32, slot: &str, parameters: &str) -> String {
    let entries: Vec<_> =
        parameters.split(';').map(|entry| format!("{time},501{slot},{entry}")).collect();
    entries.join("\u{1e}")
}

/// What a station answers when a session opens.
fn opening(asked: &str) -> Option<Vec<u8>> {
    match asked {
        _ if asked.contains("ALIVE") => Some(block(BED, "206,50100,GNACK,0", false)),
        _ if asked.contains("VERSION") => Some(block(BED, "207,50100,V3.30", false)),
        _ => None,
    }
}

impl Bench<Bcc> {
    fn answer(&mut self, information: &str) {
        self.receive(&block(BED, information, false));
    }

    /// The session is open and the first request for all pumps is out.
    fn polling() -> Self {
        let mut bench = opened();
        bench.answer("206,50100,GNACK,0");
        bench.pass(600);
        bench.answer("207,50100,V3.30");
        bench.pass(600);
        bench
    }

    /// One cycle with these answers, up to the next request; the first one is a second longer.
    fn cycle(&mut self, answers: &[String]) {
        for (left, information) in (0..answers.len()).rev().zip(answers) {
            self.receive(&block(BED, information, left > 0));
            self.pass(200);
        }
        let asked = |bench: &Self| bench.last_sent().contains("MEM:GET");
        self.pass(4_000);
        (0..20).for_each(|_| {
            if !asked(self) {
                self.pass(100);
            }
        });
    }

    /// Lets time pass with a station that answers like this, from the last request on.
    fn serve(&mut self, ms: u64, mut answer: impl FnMut(&str) -> Option<Vec<u8>>) {
        let (end, mut heard) = (self.ms + ms, self.sent.len() - 1);
        while self.ms < end {
            while let Some(sent) = self.sent.get(heard) {
                heard += 1;
                if let Some(bytes) = answer(&String::from_utf8_lossy(sent)) {
                    self.receive(&bytes);
                }
            }
            self.pass(20);
        }
    }

    fn last_sent(&self) -> String {
        String::from_utf8_lossy(self.sent.last().unwrap()).into_owned()
    }
}

#[test]
fn a_session_opens_and_asks_with_the_bed_it_learnt() {
    let bench = Bench::polling();
    let sent: Vec<_> =
        bench.sent.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    assert_eq!(
        sent,
        [
            "\u{1}00031\u{2}1/1/1>ADMIN:ALIVE\u{3}00061\u{4}",
            "\u{6}",
            "\u{1}00041\u{2}WARD3BED2/1/1>ADMIN:VERSION\u{3}00032\u{4}",
            "\u{6}",
            "\u{1}00035\u{2}WARD3BED2/1/1>MEM:GET\u{3}00083\u{4}",
        ]
    );
    assert!(bench.records.is_empty(), "an open session is not yet a pump");
}

#[test]
fn each_pump_is_a_device_of_its_own() {
    let mut bench = Bench::polling();
    bench.cycle(&[
        "230,50100,COMSERIALNO,777".to_owned(),
        pump(230, "11", RUNNING),
        pump(231, "13", &RUNNING.replace("40864", "36248")),
    ]);
    assert_eq!(
        bench.states(),
        ["station-1 online", "station-1-40864 online", "station-1-36248 online"]
    );
    let station = bench.statuses()[0];
    assert_eq!(
        (station.about["version"].as_str(), station.about["serial"].as_str()),
        ("V3.30", "777")
    );
    assert_eq!(bench.values()[..3], ["pump_rate 5.00", "pump_vi 12.5", "pump_state infusing"]);
    let slots: Vec<_> = bench.groups().iter().map(|group| group.context["slot"].clone()).collect();
    assert_eq!(slots, ["11", "13"]);
    // The next cycle says nothing about status.
    bench.records.clear();
    bench.cycle(&[pump(236, "11", RUNNING), pump(236, "13", &RUNNING.replace("40864", "36248"))]);
    assert!(bench.states().is_empty());
    assert_eq!(bench.groups().len(), 2);
}

#[test]
fn every_block_is_acknowledged_and_the_next_cycle_waits() {
    let mut bench = Bench::polling();
    bench.sent.clear();
    let start = bench.ms;
    bench.receive(&block(BED, &pump(230, "11", RUNNING), true));
    bench.pass(99);
    assert!(bench.sent.is_empty());
    bench.pass(1);
    assert_eq!(bench.sent, [vec![codec::ACK]]);
    bench.receive(&block(BED, &pump(230, "13", &RUNNING.replace("40864", "36248")), false));
    // The first time in a session, a second more: does the station send by itself?
    bench.pass(start + 6_090 - bench.ms);
    assert_eq!(bench.sent.len(), 2);
    bench.pass(20);
    assert!(bench.last_sent().contains("MEM:GET"));
    let start = bench.ms;
    bench.receive(&block(BED, &pump(236, "11", RUNNING), false));
    bench.pass(start + 4_980 - bench.ms);
    assert_eq!(bench.last_sent(), "\u{6}");
    bench.pass(20);
    assert!(bench.last_sent().contains("MEM:GET"));
}

#[test]
fn a_bad_block_is_asked_for_again_three_times() {
    let mut bench = Bench::polling();
    bench.sent.clear();
    let mut bad = block(BED, &pump(230, "11", RUNNING), false);
    bad[30] ^= 1;
    for _ in 0..3 {
        bench.receive(&bad);
        bench.pass(150);
    }
    assert_eq!(bench.sent, vec![vec![codec::NAK]; 3]);
    bench.receive(&bad);
    assert!(bench.last_sent().contains("ADMIN:ALIVE"));
    assert!(bench.groups().is_empty());
    assert_eq!(bench.notes.len(), 1, "notes of a kind are limited");
}

#[test]
fn a_good_block_after_a_bad_one_is_taken_once() {
    let mut bench = Bench::polling();
    let good = block(BED, &pump(230, "11", RUNNING), false);
    bench.receive(&good[..good.len() - 8]);
    bench.receive(b"00000\x04");
    bench.pass(150);
    assert_eq!(bench.sent.last(), Some(&vec![codec::NAK]));
    bench.receive(&good);
    bench.pass(150);
    assert_eq!(bench.sent.last(), Some(&vec![codec::ACK]));
    assert_eq!(bench.groups().len(), 1);
}

#[test]
fn an_occlusion_begins_and_ends() {
    let mut bench = Bench::polling();
    for flag in ["0", "1", "1", "_NV"] {
        bench.cycle(&[pump(230, "11", &RUNNING.replace("INA3,0", &format!("INA3,{flag}")))]);
    }
    assert_eq!(bench.alarms(), [("INA3", AlarmPhase::Start), ("INA3", AlarmPhase::End)]);
    assert!(bench.values().contains(&"pump_state alarm".to_owned()));
}

#[test]
fn a_pump_taken_out_is_removed_and_comes_back_in_another_slot() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", &RUNNING.replace("INA3,0", "INA3,1"))]);
    bench.records.clear();
    bench.cycle(&["235,50111,GNERR,39".to_owned()]);
    assert_eq!(bench.states(), ["station-1-40864 removed"]);
    assert_eq!(bench.values(), ["pump_rate silent", "pump_vi silent"]);
    // Nobody knows whether its alarm is over.
    assert_eq!(bench.alarms(), []);
    bench.records.clear();
    bench.cycle(&[pump(240, "12", RUNNING)]);
    assert_eq!(bench.states(), ["station-1-40864 online"]);
}

#[test]
fn a_pump_that_is_missing_from_whole_answers_is_removed() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.records.clear();
    let nothing = ["235,50100,GNERR,11".to_owned()];
    bench.cycle(&nothing);
    bench.cycle(&nothing);
    assert!(bench.records.is_empty(), "one answer may be misleading");
    bench.cycle(&nothing);
    assert_eq!(bench.states(), ["station-1-40864 removed"]);
}

#[test]
fn a_pump_the_station_cannot_reach_has_an_error_and_no_numbers() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.records.clear();
    bench.cycle(&["235,50111,GNERR,41".to_owned()]);
    assert_eq!(bench.values(), ["pump_rate device_error:41", "pump_vi device_error:41"]);
    assert!(bench.states().is_empty());
}

#[test]
fn requests_are_stuffed_when_the_station_does_it() {
    let mut bench = opened();
    bench.pass(5_100);
    assert_eq!(bench.last_sent(), "\u{1}00031\u{2}1/1/1>AEXMIN:ALIVEE\u{3}00061\u{4}");
    bench.receive(b"\x0100045\x02WAREX3BEEEX2/1/1>206,50100,GNACK,0\x0300001\x04");
    bench.pass(600);
    assert!(bench.last_sent().contains("WAREX3BEEEX2/1/1>AEXMIN:VEERSION"));
}

#[test]
fn a_station_that_refuses_our_requests_is_opened_again() {
    let mut bench = Bench::polling();
    bench.answer("230,50100,GNERR,68");
    bench.pass(150);
    assert!(bench.last_sent().contains("1/1/1>ADMIN:ALIVE"), "its letters go as before");
}

#[test]
fn a_station_that_started_anew_is_opened_again() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.answer(&pump(3, "11", RUNNING));
    bench.pass(150);
    assert!(bench.last_sent().contains("1/1/1>ADMIN:ALIVE"));
    assert_eq!(bench.groups().len(), 2, "what it said is taken");
}

#[test]
fn a_pump_without_a_number_is_noted_and_left_out() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", "INRT,5.00;INSERNUM,_NV")]);
    assert_eq!(bench.notes[0].kind, "nameless");
    assert!(bench.groups().is_empty());
    bench.cycle(&[pump(236, "11", "INRT,5.00;INNR,60009FA0")]);
    assert_eq!(bench.groups()[0].device.as_str(), "station-1-60009FA0");
}

#[test]
fn an_alarm_flag_that_is_not_available_ends_no_alarm() {
    let mut bench = Bench::polling();
    for flag in ["1", "_NA", "_NA", "?", "1", "0"] {
        bench.cycle(&[pump(230, "11", &RUNNING.replace("INA3,0", &format!("INA3,{flag}")))]);
    }
    assert_eq!(bench.alarms(), [("INA3", AlarmPhase::Start), ("INA3", AlarmPhase::End)]);
    let states: Vec<_> = bench
        .values()
        .into_iter()
        .filter_map(|value| Some(value.strip_prefix("pump_state ")?.to_owned()))
        .collect();
    assert_eq!(states, ["alarm", "unknown", "unknown", "unknown", "alarm", "infusing"]);
}

#[test]
fn an_empty_serial_number_is_none() {
    let mut bench = Bench::polling();
    for serial in ["", " ", "0", "00000"] {
        let text = format!("INSERNUM,{serial};INNR,60009FA0;INRT,5.00");
        bench.cycle(&[pump(230, "11", &text)]);
    }
    assert!(bench.groups().iter().all(|group| group.device.as_str() == "station-1-60009FA0"));
    assert_eq!(bench.groups().len(), 4);
}

#[test]
fn a_station_that_knows_no_version_is_asked_for_its_pumps() {
    let mut bench = opened();
    bench.answer("206,50100,GNACK,0");
    bench.pass(600);
    bench.answer("207,50100,GNERR,68");
    bench.pass(600);
    assert!(bench.last_sent().contains("MEM:GET"));
}

#[test]
fn a_refusal_of_the_opening_tells_how_the_letters_go() {
    let mut bench = opened();
    bench.receive(b"\x0100046\x02WAREX3BEEEX2/1/1>206,50100,GNEERR,68\x0300090\x04");
    bench.pass(6_000);
    assert!(bench.notes.iter().all(|note| note.kind == "refused"), "{:?}", bench.notes);
    assert!(bench.last_sent().contains("AEXMIN:ALIVEE"));
}

#[test]
fn a_station_that_sends_bit_fields_says_alarms_and_states() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", BITS)]);
    bench.cycle(&[pump(236, "11", &BITS.replace("00000400", "_NA"))]);
    bench.cycle(&[pump(242, "11", &BITS.replace("00000400", "00000001"))]);
    assert_eq!(bench.alarms(), [("ALARM1.10", AlarmPhase::Start), ("ALARM1.10", AlarmPhase::End)]);
    let values = bench.values();
    let said = |metric: &str| -> Vec<_> {
        values.iter().filter(|value| value.starts_with(metric)).map(String::as_str).collect()
    };
    assert_eq!(
        said("pump_state"),
        ["pump_state alarm", "pump_state unknown", "pump_state infusing"]
    );
    assert_eq!(said("power"), ["power onMains"; 3]);
}

#[test]
fn a_block_whose_end_is_lost_is_asked_for_again_and_no_pump_is_left_out() {
    let mut bench = Bench::polling();
    bench.sent.clear();
    let second = block(BED, &pump(230, "13", SECOND), false);
    bench.receive(&block(BED, &pump(230, "11", RUNNING), true));
    bench.pass(200);
    bench.receive(&second[..second.len() - 1]);
    bench.pass(3_200);
    assert_eq!(bench.sent, [vec![codec::ACK], vec![codec::NAK]]);
    bench.receive(&second);
    bench.pass(200);
    assert_eq!(bench.sent.last(), Some(&vec![codec::ACK]));
    assert_eq!(bench.groups().len(), 2);
}

#[test]
fn an_error_is_that_of_the_pump_heard_last_from_its_slot() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING), pump(230, "13", SECOND)]);
    // The first pump was put where the second one was.
    bench.cycle(&[pump(236, "13", RUNNING)]);
    bench.records.clear();
    bench.cycle(&["242,50113,GNERR,39".to_owned()]);
    assert_eq!(bench.states(), ["station-1-40864 removed"]);
}

#[test]
fn two_pumps_with_one_serial_number_stay_two() {
    let mut bench = Bench::polling();
    for _ in 0..2 {
        bench.cycle(&[
            pump(230, "11", "INSERNUM,7;INNR,60000007;INRT,5.00"),
            pump(230, "13", "INSERNUM,7;INNR,61000007;INRT,9.00"),
        ]);
    }
    let devices: Vec<_> = bench.groups().iter().map(|group| group.device.to_string()).collect();
    assert_eq!(devices[..2], ["station-1-7", "station-1-61000007"]);
    assert_eq!(devices[..2], devices[2..]);
}

#[test]
fn a_pump_whose_serial_number_is_not_available_stays_who_it_is() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", "INSERNUM,40864;INNR,60009FA0;INRT,5.00")]);
    bench.cycle(&[pump(236, "12", "INSERNUM,_NA;INNR,60009FA0;INRT,6.00")]);
    assert!(bench.groups().iter().all(|group| group.device.as_str() == "station-1-40864"));
    assert_eq!(bench.groups().len(), 2);
}

#[test]
fn station_and_pump_say_what_they_are() {
    let mut bench = Bench::polling();
    let general = ["FMNOR,1", "FMRT,FMS1NSNS", "FMBANY,6901234567892", "COMSWVERSION,012U"];
    let general = general.map(|entry| format!("230,50100,{entry}")).join("\u{1e}");
    let text = "GNNEW,688F030006\r;INSERNUM,40864;INP1,4;INP2,35;INRT,5.00;PATIENT,Zhang";
    bench.cycle(&[format!("{general}\u{1e}{}", pump(230, "11", text))]);
    let about: Vec<_> = bench.statuses().iter().map(|status| status.about.clone()).collect();
    let said = |about: &std::collections::BTreeMap<String, String>| -> Vec<String> {
        about.iter().map(|(key, value)| format!("{key}={value}")).collect()
    };
    assert_eq!(
        said(&about[0]),
        ["bed=WARD3BED2", "layout=FMS1NSNS", "pillars=1", "software=012U", "version=V3.30"]
    );
    assert_eq!(
        said(&about[1]),
        [
            "model=688F030006",
            "not_stored=2: INP2 PATIENT",
            "pressure_level=4",
            "product=Perfusor Space",
            "serial=40864",
        ]
    );
    assert_eq!(
        bench.notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(),
        ["the pump in slot 11 also says INP2=35 PATIENT; none is stored"]
    );
}

#[test]
fn a_general_block_alone_is_no_end() {
    let mut bench = Bench::polling();
    bench.cycle(&["230,50100,FMNOR,1".to_owned(), pump(230, "11", RUNNING)]);
    assert_eq!(bench.groups().len(), 1);
    assert_eq!(bench.states(), ["station-1 online", "station-1-40864 online"]);
}

/// The blocks that somebody else published, as their bytes.
fn public_blocks() -> Vec<Vec<u8>> {
    let file = include_str!("../../../../tests/vectors/bcc/public.toml");
    let file: toml::Table = file.parse().unwrap();
    let vectors = file["vector"].as_array().unwrap();
    let bytes = vectors.iter().map(|vector| {
        let hex = vector["bytes"].as_str().unwrap().split_whitespace();
        hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    });
    bytes.collect()
}

#[test]
fn pumps_of_a_real_station_are_read() {
    let mut bench = Bench::polling();
    for bytes in public_blocks() {
        bench.receive(&bytes);
        bench.pass(200);
    }
    assert!(bench.notes.iter().all(|note| note.kind == "not_stored"), "{:?}", bench.notes);
    assert_eq!(
        bench.states(),
        ["station-1 online", "station-1-36248 online", "station-1-40864 online"]
    );
    let (off, running) = (bench.groups()[0].readings.len(), &bench.values());
    assert_eq!(
        running[..off],
        [
            "pump_rate off",
            "pump_vi off",
            "pump_time_rem off",
            "pump_syr off",
            "pump_dose_rate off",
            "pump_conc off",
            "pump_drug not_available",
            "power onMains",
            "pump_state off",
        ]
    );
    assert_eq!(
        running[off..],
        [
            "pump_rate 0.30",
            "pump_vi 1.4",
            "pump_time_rem not_available",
            "pump_syr 50",
            "pump_dose_rate off",
            "pump_conc off",
            "pump_drug Arterenol4mg/50",
            "power onMains",
            "pump_state infusing",
        ]
    );
}

fn parameter() -> impl Strategy<Value = String> {
    let names = ["INA3", "INA12", "INM3", "INM6", "ALARM1", "PREALARM", "STATUS1", "RUNSTATE"];
    let names = prop::sample::select([&names[..], &["INRT", "INSERNUM", "INNR", "X"]].concat());
    let values = ["0", "1", "_NV", "_NA", "00000400", "FFFFFFFF", "0x1h", "", "é"];
    (names, prop::sample::select(values.to_vec()))
        .prop_map(|(name, value)| format!("{name},{value}"))
}

proptest! {
    /// Whatever pumps say, an alarm begins before it ends and ends before it begins again.
    #[test]
    fn alarms_begin_and_end_in_turn(
        blocks in vec((vec(parameter(), 0..8), 1_u8..4, any::<bool>(), 0_u64..20_000), 0..40),
    ) {
        let mut bench = Bench::polling();
        for (time, (parameters, slot, more, ms)) in (230..).zip(&blocks) {
            let text = format!("INSERNUM,{slot};{}", parameters.join(";"));
            bench.receive(&block(BED, &pump(time, &format!("1{slot}"), &text), *more));
            bench.pass(*ms);
        }
        let mut up = std::collections::BTreeSet::new();
        for record in &bench.records {
            match record {
                Record::Alarm(alarm) => {
                    let key = (alarm.device.clone(), alarm.code.clone());
                    let fits = match alarm.phase {
                        AlarmPhase::End => up.remove(&key),
                        _ => up.insert(key),
                    };
                    prop_assert!(fits, "{:?} {}", alarm.phase, alarm.code);
                }
                // What a pump that is lost said is forgotten.
                Record::Status(status) if status.state != DeviceState::Online => {
                    up.retain(|(device, _)| *device != status.device);
                }
                _ => {}
            }
        }
    }
}
