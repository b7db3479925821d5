//! The monitor against the example frames of the sheet, and in sessions with a host.

use super::{
    messages::{attribute, list, sized, words},
    observer::{DEMOGRAPHICS_HANDLE, bare, priority_list},
    *,
};
use crate::{EcgSource, Patient, StageClock};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

mod examples;

/// §9.1.
const ASSOCIATION_REQUEST: &str = "C0 11 01 01 2C 0D FF 01 28 05 08 13 01 00 16 01 02 80 00 14 02 \
    00 02 7D E1 FF 01 16 31 80 A0 80 80 01 01 00 00 A2 80 A0 03 00 00 01 A4 80 30 80 02 01 01 06 \
    04 52 01 00 01 30 80 06 02 51 01 00 00 00 00 30 80 02 01 02 06 0C 2A 86 48 CE 14 02 01 00 00 \
    00 01 01 30 80 06 0C 2A 86 48 CE 14 02 01 00 00 00 02 01 00 00 00 00 00 00 61 80 30 80 02 01 \
    01 A0 80 60 80 A1 80 06 0C 2A 86 48 CE 14 02 01 00 00 00 03 01 00 00 BE 80 28 80 06 0C 2A 86 \
    48 CE 14 02 01 00 00 00 01 01 02 01 02 81 82 00 80 80 00 00 00 40 00 00 00 00 00 00 00 80 00 \
    00 00 20 00 00 00 00 00 00 00 00 02 00 64 00 01 00 28 80 00 00 00 00 00 0F A0 00 00 05 B0 00 \
    00 05 B0 FF FF FF FF 60 00 00 00 00 01 00 0C F0 01 00 08 8E 00 00 00 00 00 00 00 01 02 00 34 \
    00 06 00 30 00 01 00 21 00 00 00 01 00 01 00 06 00 00 00 C9 00 01 00 09 00 00 00 3C 00 01 00 \
    05 00 00 00 10 00 01 00 2A 00 00 00 01 00 01 00 36 00 00 00 01 00 00 00 00 00 00 00 00 00 00 \
    00 00 00 00 00 00 F6 FE C1";
/// §9.2.
const ASSOCIATION_ACCEPT: &str = "C0 11 01 00 D0 0E CE 05 08 13 01 00 16 01 02 80 00 14 02 00 02 \
    7D E1 BE 31 80 A0 80 80 01 01 00 00 A2 80 A0 03 00 00 01 A5 80 30 80 80 01 00 81 02 51 01 00 \
    00 30 80 80 01 00 81 0C 2A 86 48 CE 14 02 01 00 00 00 02 01 00 00 00 00 61 80 30 80 02 01 01 \
    A0 80 61 80 A1 80 06 0C 2A 86 48 CE 14 02 01 00 00 00 03 01 00 00 A2 03 02 01 00 A3 05 A1 03 \
    02 01 00 BE 80 28 80 02 01 02 81 48 80 00 00 00 40 00 00 00 00 00 00 00 00 80 00 00 20 00 00 \
    00 00 00 00 00 00 01 00 2C 00 01 00 28 80 00 00 00 00 00 1F 40 00 00 03 E8 00 00 03 E8 FF FF \
    FF FF 60 00 00 00 00 01 00 0C F0 01 00 08 88 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
    00 00 00 00 00 00 00 E1 0B C1";
/// §9.3.
const CREATE_EVENT: &str = "C0 11 01 00 54 E1 00 00 02 00 01 00 4C 00 01 00 01 00 46 00 21 00 00 \
    00 00 00 01 38 80 0D 06 00 38 00 21 00 00 00 00 00 03 00 2E 09 86 00 04 00 01 11 4D 09 28 00 \
    14 00 08 50 68 69 6C 69 70 73 00 00 08 4D 38 30 30 33 41 00 00 09 84 00 0A 00 08 00 09 FB FF \
    FF 88 7D E1 BD 3F 19 C1";
/// §9.4.
const CREATE_RESULT: &str = "C0 11 01 00 1C E1 00 00 02 00 02 00 14 00 01 00 01 00 0E 00 21 00 00 \
    00 00 00 0A BD 00 0D 06 00 00 39 17 C1";
/// §9.5.
const POLL_NUMERICS: &str = "C0 11 01 00 30 E1 00 00 02 00 01 00 28 00 01 00 07 00 22 00 21 00 00 \
    00 00 00 00 00 00 F1 3B 00 14 00 01 00 01 00 06 08 03 00 01 00 08 F1 3E 00 04 00 07 53 00 DD \
    F6 C1";
const POLL_WAVES: &str = "C0 11 01 00 30 E1 00 00 02 00 01 00 28 00 02 00 07 00 22 00 21 00 00 00 \
    00 00 00 00 00 F1 3B 00 14 00 02 00 01 00 09 08 03 00 01 00 08 F1 3E 00 04 00 03 A9 80 81 53 \
    C1";
/// §9.6.
const NUMERICS_RESULT: &str = "C0 11 01 00 AC E1 00 00 02 00 02 00 A4 00 01 00 07 00 9E 00 21 00 \
    00 00 00 0C 16 00 94 00 01 00 07 53 00 20 26 11 22 08 30 00 00 00 01 00 06 00 00 00 01 00 7C \
    00 00 00 03 00 76 01 01 00 03 00 1C 09 21 00 02 01 01 09 24 00 04 00 02 41 82 09 50 00 0A 41 \
    82 00 00 0A A0 00 00 00 4B 01 02 00 03 00 1C 09 21 00 02 01 02 09 24 00 04 00 02 4B B8 09 50 \
    00 0A 4B B8 00 00 02 20 FF 00 03 CA 01 03 00 02 00 2C 09 21 00 02 01 03 09 4B 00 22 00 03 00 \
    1E 4A 05 00 00 0F 20 00 00 00 78 4A 06 00 00 0F 20 00 00 00 50 4A 07 20 00 0F 20 00 7F FF FF \
    30 28 C1";
/// §9.9.
const KEEP_ALIVE: &str = "C0 11 01 00 24 E1 00 00 02 00 01 00 1C 00 08 00 07 00 16 00 21 00 00 00 \
    00 00 00 00 00 0C 16 00 08 00 07 00 01 00 36 08 11 47 06 C1";
const RELEASE_REQUEST: &str = "C0 11 01 00 1A 09 18 7D E1 16 61 80 30 80 02 01 01 A0 80 62 80 80 \
    01 00 00 00 00 00 00 00 00 00 41 08 C1";
const RELEASE_RESPONSE: &str = "C0 11 01 00 1A 0A 18 7D E1 16 61 80 30 80 02 01 01 A0 80 63 80 80 \
    01 00 00 00 00 00 00 00 00 00 0D 52 C1";
const ABORT: &str = "C0 11 01 00 30 19 2E 11 01 03 7D E1 29 A0 80 A0 80 30 80 02 01 01 06 02 51 01 \
    00 00 00 00 61 80 30 80 02 01 01 A0 80 64 80 80 01 01 00 00 00 00 00 00 00 00 00 00 AB 89 C1";
const REFUSE: &str = "C0 11 01 00 05 0C 03 32 01 00 85 EE C1";

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// User data, framed, are these bytes.
#[track_caller]
pub(super) fn check(user_data: &[u8], expected: &str) {
    let hex: Vec<String> =
        framing::encode(user_data).iter().map(|byte| format!("{byte:02X}")).collect();
    let expected: Vec<&str> = expected.split_whitespace().collect();
    assert_eq!(hex.join(" "), expected.join(" "));
}

fn user_data(frames: &[u8]) -> Vec<Vec<u8>> {
    let mut deframer = Deframer::default();
    frames.iter().filter_map(|byte| deframer.push(*byte)).collect()
}

fn decode(frame: &str) -> Request {
    Request::decode(&user_data(&bytes(frame))[0])
}

/// A host with a monitor on its line.
struct Host {
    monitor: Monitor,
    now: SimTime,
}

impl Host {
    fn new(seed: u64, change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::built_in("clinic-day").unwrap();
        change(&mut scenario);
        let monitor = Monitor::new(Setup {
            device: "mon-01".into(),
            seed,
            clock: StageClock { wall_start_ms: 1_795_336_200_250, utc_offset_s: 28_800 },
            patient: Patient::new(1, scenario, EcgSource::Synthetic),
        });
        Self { monitor, now: SimTime(0) }
    }

    fn associated(seed: u64) -> Self {
        let mut host = Self::new(seed, |_| {});
        host.say(ASSOCIATION_REQUEST);
        host.wait(100);
        host.say(CREATE_RESULT);
        host.wait(200);
        host
    }

    fn say(&mut self, frame: &str) {
        self.monitor.receive(self.now, &bytes(frame));
    }

    fn say_data(&mut self, user_data: &[u8]) {
        self.monitor.receive(self.now, &framing::encode(user_data));
    }

    /// User data that came in that many milliseconds.
    fn wait(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let end = self.now.plus_millis(ms);
        let mut heard = Vec::new();
        while self.now < end {
            self.now = end.min(self.now.plus_millis(50));
            self.monitor.advance(self.now);
            heard.extend(self.monitor.take_output());
        }
        user_data(&heard)
    }

    fn truth(&mut self, metric: &str) -> Vec<Truth> {
        let truth = self.monitor.take_truth();
        truth.into_iter().filter(|fact| fact.metric == Some(metric)).collect()
    }
}

/// An invocation with its argument.
fn invocation(invoke: u16, command: u16, argument: &[u8]) -> Vec<u8> {
    let called = [words(&[invoke, command]), sized(argument)].concat();
    [spec::DATA_EXPORT.to_vec(), words(&[spec::INVOKE]), sized(&called)].concat()
}

fn poll(action: u16, object: u16, group: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let mut argument = words(&[4, spec::OBJECTS, object, group]);
    if action == spec::EXTENDED_POLL {
        argument.extend(list(options));
    }
    let head = words(&[spec::MDS, 0, 0, 0, 0, action]);
    invocation(6, spec::ACTION, &[head, sized(&argument)].concat())
}

fn set(attribute_id: u16, labels: &[u32]) -> Vec<u8> {
    let item = [words(&[spec::REPLACE]), priority_list(attribute_id, labels)].concat();
    let head = words(&[spec::MDS, 0, 0, 0, 0]);
    invocation(7, spec::CONFIRMED_SET, &[head, list(&[item])].concat())
}

/// Kind of remote operation, command or error.
fn operation(message: &[u8]) -> (u16, u16) {
    let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    (word(4), word(if word(4) == spec::LINKED { 12 } else { 10 }))
}

/// Sequence numbers of extended poll results.
fn sequences(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().filter(|message| message.len() > 27).map(|message| message[27]).collect()
}

#[test]
fn the_monitor_is_silent_until_a_host_associates() {
    let mut host = Host::new(1, |_| {});
    for frame in [POLL_NUMERICS, KEEP_ALIVE, RELEASE_REQUEST] {
        host.say(frame);
    }
    assert_eq!(host.wait(30_000), Vec::<Vec<u8>>::new());
    assert_eq!(host.monitor.next_due(), None);
    assert_eq!(host.monitor.take_truth(), []);
}

#[test]
fn an_association_is_accepted_and_the_monitor_says_what_it_is() {
    let mut host = Host::new(1, |_| {});
    host.say(ASSOCIATION_REQUEST);
    let heard = host.wait(100);
    assert_eq!(heard.len(), 2);
    check(&heard[0], ASSOCIATION_ACCEPT);
    assert_eq!(operation(&heard[1]), (spec::INVOKE, spec::CONFIRMED_EVENT));
    // 2026-11-22 08:30:00.250 UTC is 16:30:00 in China; the relative time is 250 ms less.
    let ticks = (80_000_u32 - 2000).to_be_bytes();
    let pair = [
        attribute(spec::ABSOLUTE_TIME, &bytes("20 26 11 22 16 30 00 00")),
        attribute(spec::RELATIVE_TIME, &ticks),
    ];
    assert!(heard[1].ends_with(&pair.concat()));
    host.say(CREATE_RESULT);
    host.say(KEEP_ALIVE);
    let heard = host.wait(100);
    assert_eq!(operation(&heard[0]), (spec::RESULT, spec::ACTION));
}

#[test]
fn without_the_result_of_the_create_event_the_monitor_aborts() {
    let mut host = Host::new(1, |_| {});
    host.say(ASSOCIATION_REQUEST);
    assert_eq!(host.wait(4_900).len(), 2);
    let heard = host.wait(200);
    check(&heard[0], ABORT);
    assert_eq!(host.monitor.next_due(), None);
}

#[test]
fn without_traffic_of_the_host_the_monitor_aborts_after_ten_seconds() {
    let mut host = Host::associated(1);
    host.say(KEEP_ALIVE);
    assert_eq!(host.wait(9_900).len(), 1);
    check(&host.wait(200)[0], ABORT);

    let mut host = Host::associated(1);
    host.say(POLL_NUMERICS);
    let heard = host.wait(11_000);
    check(heard.last().unwrap(), ABORT);
    assert_eq!(host.wait(5_000), Vec::<Vec<u8>>::new(), "an abort ends the polls");
}

#[test]
fn a_stale_association_is_held_until_its_time_out_and_asking_does_not_prolong_it() {
    let mut host = Host::associated(1);
    for _ in 0..4 {
        host.say(ASSOCIATION_REQUEST);
        check(&host.wait(2_000)[0], REFUSE);
    }
    check(host.wait(2_200).last().unwrap(), ABORT);
    host.say(ASSOCIATION_REQUEST);
    check(&host.wait(100)[0], ASSOCIATION_ACCEPT);
}

#[test]
fn a_release_ends_a_stale_association_and_is_answered() {
    let mut host = Host::associated(1);
    host.say(POLL_NUMERICS);
    host.say(RELEASE_REQUEST);
    let heard = host.wait(3_000);
    assert_eq!(heard.len(), 1, "what was not on the wire is not said");
    check(&heard[0], RELEASE_RESPONSE);
    assert_eq!(host.monitor.take_truth(), []);
    host.say(ASSOCIATION_REQUEST);
    check(&host.wait(100)[0], ASSOCIATION_ACCEPT);
    host.say(ABORT);
    host.say(ASSOCIATION_REQUEST);
    check(&host.wait(100)[0], ASSOCIATION_ACCEPT);
}

#[test]
fn a_busy_monitor_refuses() {
    let mut host = Host::new(1, |scenario| scenario.monitor_busy = vec![(0, 5)]);
    host.say(ASSOCIATION_REQUEST);
    let heard = host.wait(5_000);
    assert_eq!(heard.len(), 1);
    check(&heard[0], REFUSE);
    host.say(ASSOCIATION_REQUEST);
    check(&host.wait(100)[0], ASSOCIATION_ACCEPT);
}

#[test]
fn numerics_come_every_second_for_their_duration_only() {
    let mut host = Host::associated(0);
    host.say(POLL_NUMERICS);
    let mut heard = Vec::new();
    for _ in 0..10 {
        heard.extend(host.wait(7_000));
        // A message that asks nothing keeps the association.
        host.say(CREATE_RESULT);
    }
    let expected: Vec<u8> = (0..=60).collect();
    assert_eq!(sequences(&heard), expected);
    let truth = host.monitor.take_truth();
    let count = |metric: &str| truth.iter().filter(|fact| fact.metric == Some(metric)).count();
    for metric in ["hr", "spo2", "pulse_oxim", "perf_index", "rr", "st_ii", "pvc_count"] {
        assert_eq!(count(metric), 61, "{metric}");
    }
    assert_eq!(count("temp"), 122);
    let channels: BTreeSet<_> = truth.iter().map(|fact| fact.channel).collect();
    assert_eq!(channels, ["", "T2"].into());
    let hr = truth.iter().find(|fact| fact.metric == Some("hr")).unwrap();
    assert!(["75", "76", "77"].contains(&hr.value.as_deref().unwrap()));
    assert_eq!(hr.unit, Some("/min"));
    let second_probe: Vec<_> = truth.iter().filter(|fact| fact.channel == "T2").collect();
    assert_eq!(second_probe[0].no_data, Some("calibrating"));
    assert_eq!(second_probe[10].value.as_deref(), Some("37.1"));
    assert_eq!(
        truth.iter().find(|fact| fact.metric == Some("st_ii")).unwrap().value.as_deref(),
        Some("0.06")
    );
}

/// §6.4: the clock of the create event, and as many ticks of 125 µs as have passed since.
#[test]
fn a_number_has_the_time_of_its_answer_by_the_monitors_clock() {
    for seed in 0..4 {
        let mut host = Host::new(seed, |_| {});
        host.now = SimTime(100_875);
        host.say(ASSOCIATION_REQUEST);
        host.wait(100);
        host.say(CREATE_RESULT);
        host.now = SimTime(1_000_250);
        host.say(POLL_NUMERICS);
        host.wait(1_500);
        let times: Vec<_> =
            host.truth("hr").into_iter().filter_map(|fact| fact.device_time).collect();
        assert_eq!(times, ["2026-11-22T08:30:01.250Z", "2026-11-22T08:30:02.250Z"], "{seed}");
    }
}

#[test]
fn a_poll_is_renewed_by_the_next_one() {
    let mut host = Host::associated(0);
    host.say(POLL_NUMERICS);
    host.wait(2_500);
    host.say(POLL_NUMERICS);
    assert_eq!(sequences(&host.wait(2_500)), [0, 1, 2]);
}

#[test]
fn waves_come_in_blocks_of_256_ms_and_each_is_one_truth() {
    let mut host = Host::associated(0);
    host.say(POLL_WAVES);
    let heard = host.wait(2_700);
    assert_eq!(sequences(&heard), (0..=10).collect::<Vec<u8>>());
    let truth = host.monitor.take_truth();
    for (metric, samples) in [("ecg_wave_ii", 128), ("pleth", 32), ("resp_wave", 16)] {
        let blocks: Vec<_> = truth.iter().filter(|fact| fact.metric == Some(metric)).collect();
        assert_eq!(blocks.len(), 10, "{metric}");
        assert!(blocks.iter().all(|block| block.samples == Some(samples)), "{metric}");
    }
    assert_eq!(truth.len(), 30);
}

#[test]
fn five_waves_fit_on_the_wire_and_each_block_says_when_it_was_measured() {
    let mut host = Host::associated(4);
    host.say(POLL_WAVES);
    host.wait(2_700);
    let truth = host.monitor.take_truth();
    for metric in ["ecg_wave_i", "ecg_wave_ii", "ecg_wave_v", "pleth", "resp_wave"] {
        let ends = truth.iter().filter(|fact| fact.metric == Some(metric));
        let ends: Vec<_> = ends.filter_map(|fact| fact.device_time.as_deref()).collect();
        // The beat of 256 ms, however long the wire takes.
        let first = ["2026-11-22T08:30:00.762Z", "2026-11-22T08:30:01.018Z"];
        assert_eq!((ends.len(), &ends[..2]), (10, &first[..]), "{metric}");
    }
}

#[test]
fn the_samples_on_the_wire_are_those_of_the_truth() {
    let mut host = Host::associated(0);
    host.say(POLL_WAVES);
    let heard = host.wait(7_000);
    let truth = host.truth("ecg_wave_ii");
    let head = [words(&[spec::SAMPLE_ARRAY, 262, 0x0102, 0]), words(&[256])].concat();
    let mut paced = 0;
    let blocks: Vec<Truth> = heard
        .iter()
        .filter_map(|message| {
            let at = message.windows(head.len()).position(|window| window == head)? + head.len();
            let raw: Vec<u16> = message[at..at + 256]
                .chunks(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            paced += raw.iter().filter(|sample| **sample & 0x4000 != 0).count();
            let samples: Vec<i32> = raw.iter().map(|sample| i32::from(sample & 0x3FFF)).collect();
            // Between the S wave and the R wave: −0.5 to 1.3 mV.
            assert!(samples.iter().all(|sample| (8192 - 100..8192 + 260).contains(sample)));
            Some(host.monitor.observer.notes.block_fact(SimTime(0), "ecg_wave_ii", &samples))
        })
        .collect();
    assert_eq!(blocks.len(), truth.len());
    assert!(blocks.iter().zip(&truth).all(|(sent, said)| sent.sha256 == said.sha256));
    assert!(paced > 0, "a paced beat now and then");
}

#[test]
fn the_priority_list_of_waves_is_read_written_and_honoured() {
    let leads = [0x0002_0101, 0x0002_0102, 0x0002_0143];
    for seed in 0..2 {
        let mut host = Host::associated(seed);
        host.say_data(&set(spec::WAVE_PRIORITY, &leads));
        assert_eq!(operation(&host.wait(50)[0]), (spec::RESULT, spec::CONFIRMED_SET));
        let ids = [words(&[spec::MDS, 0, 0, 0, 0, 1]), sized(&words(&[spec::WAVE_PRIORITY]))];
        host.say_data(&invocation(8, spec::GET, &ids.concat()));
        let heard = host.wait(50);
        assert!(heard[0].ends_with(&priority_list(spec::WAVE_PRIORITY, &leads)));
        host.say(POLL_WAVES);
        // The description fits into one message; three leads of a block are linked.
        let heard = host.wait(1_000);
        let kinds: Vec<u16> = heard.iter().map(|message| operation(message).0).collect();
        let series: &[u16] = &[spec::LINKED, spec::LINKED, spec::RESULT];
        assert_eq!(kinds[0], spec::RESULT);
        assert!(kinds[1..].chunks(3).all(|kinds| kinds == series), "{kinds:?}");
        assert!(heard.iter().all(|message| message.len() <= 1000));
        let truth = host.monitor.take_truth();
        let metrics: BTreeSet<_> = truth.iter().filter_map(|fact| fact.metric).collect();
        assert_eq!(metrics, ["ecg_wave_i", "ecg_wave_ii", "ecg_wave_v"].into());
        assert!(truth.iter().all(|fact| fact.forbidden.is_none()));
    }
}

#[test]
fn a_number_of_prioritised_objects_is_a_limit() {
    let mut host = Host::associated(0);
    host.say_data(&set(spec::NUMERIC_PRIORITY, &[0x0002_500A, 0x0002_4182]));
    host.wait(200);
    let few = [attribute(spec::POLL_PRIORITISED, &words(&[1]))];
    host.say_data(&poll(spec::EXTENDED_POLL, spec::NUMERICS, spec::GROUP_VALUES, &few));
    assert_eq!(host.wait(3_000).len(), 1, "without a duration it is one answer");
    let metrics: Vec<_> = host.monitor.take_truth().iter().filter_map(|fact| fact.metric).collect();
    assert_eq!(metrics, ["rr"]);
}

/// `clinic-day`: leads off from 90 to 105.
#[test]
fn leads_off_are_invalid_values_and_masks_and_a_technical_alarm() {
    let mut host = Host::associated(0);
    while host.now < SimTime::from_millis(91_000) {
        host.say(KEEP_ALIVE);
        host.wait(5_000);
    }
    host.monitor.take_truth();
    let alerts = poll(spec::SINGLE_POLL, spec::ALERT_MONITOR, spec::GROUP_ALERTS, &[]);
    host.say(POLL_WAVES);
    host.say(POLL_NUMERICS);
    host.say_data(&alerts);
    let heard = host.wait(1_500);
    let truth = host.monitor.take_truth();
    let reasons = |metric: &str| -> Vec<Option<&str>> {
        truth.iter().filter(|fact| fact.metric == Some(metric)).map(|fact| fact.no_data).collect()
    };
    // The first answer came before the host knew of the alarm.
    assert_eq!(reasons("hr"), [Some("not_available"), Some("lead_off")]);
    assert_eq!(reasons("st_ii"), [Some("not_available"), Some("lead_off")]);
    assert_eq!(reasons("rr"), [Some("not_available"), Some("sensor_off")]);
    assert_eq!(reasons("spo2"), [None, None]);
    let starts: Vec<_> = truth.iter().filter_map(|fact| fact.alarm.as_deref()).collect();
    assert_eq!(starts, ["t:4182:0016:0101", "t:500a:0016:0106"]);
    // Invalid, at rest.
    let masked = [0xA0, 0x00].repeat(128);
    assert!(
        heard
            .iter()
            .any(|message| { message.windows(masked.len()).any(|window| window == masked) })
    );
    let invalid = words(&[0x4182, spec::INVALID, 0x0AA0, 0x007F, 0xFFFF]);
    assert!(
        heard
            .iter()
            .any(|message| { message.windows(invalid.len()).any(|window| window == invalid) })
    );
    host.wait(4_000);
    host.say(KEEP_ALIVE);
    host.wait(9_000);
    host.say_data(&alerts);
    host.wait(100);
    let truth = host.monitor.take_truth();
    let ends: Vec<_> = truth.iter().filter(|fact| fact.alarm.is_some()).collect();
    assert_eq!(ends.iter().map(|fact| fact.phase).collect::<Vec<_>>(), [Some("end"); 2]);
}

/// `clinic-day`: the monitor's cuff at 70, again in the next round.
#[test]
fn a_cuff_result_is_repeated_with_its_time_and_is_one_truth() {
    let mut host = Host::associated(0);
    let values = poll(spec::SINGLE_POLL, spec::NUMERICS, spec::GROUP_VALUES, &[]);
    let mut answers = 0;
    while host.now < SimTime::from_millis(255_000) {
        host.say_data(&values);
        // 70 s after 16:30:00.250 by the monitor's clock.
        let stamp = attribute(spec::TIME_STAMP, &bytes("20 26 11 22 16 31 10 00"));
        let heard = host.wait(5_000);
        answers += heard
            .iter()
            .filter(|message| message.windows(stamp.len()).any(|window| window == stamp))
            .count();
    }
    assert!(answers > 30);
    let truth = host.monitor.take_truth();
    for metric in ["nibp_sys", "nibp_dia", "nibp_mean", "pulse_nibp"] {
        let said: Vec<_> = truth.iter().filter(|fact| fact.metric == Some(metric)).collect();
        let times: Vec<_> = said.iter().filter_map(|fact| fact.device_time.as_deref()).collect();
        assert_eq!(times, ["2026-11-22T08:31:10.000Z", "2026-11-22T08:34:10.000Z"], "{metric}");
    }
    let sys = truth.iter().find(|fact| fact.metric == Some("nibp_sys")).unwrap();
    assert_eq!((sys.value.as_deref(), sys.unit), (Some("134"), Some("mm[Hg]")));
}

#[test]
fn sets_and_unknown_actions_are_recorded_and_not_obeyed() {
    let head = words(&[spec::MDS, 0, 0, 0, 0]);
    let other_set = [words(&[spec::REPLACE]), attribute(spec::ABSOLUTE_TIME, &[0; 8])].concat();
    let cases = [
        (set(spec::ABSOLUTE_TIME, &[1]), "set", spec::ACCESS_DENIED),
        (
            invocation(7, spec::CONFIRMED_SET, &[head.clone(), list(&[other_set])].concat()),
            "set",
            spec::ACCESS_DENIED,
        ),
        (poll(0x0C17, spec::NUMERICS, 0, &[]), "action 0c17", spec::NO_SUCH_ACTION),
        (invocation(7, spec::ACTION, &[]), "command 7", spec::NO_SUCH_ACTION),
        (invocation(7, 9, &[]), "command 9", spec::NO_SUCH_ACTION),
    ];
    for (user_data, what, error) in cases {
        let mut host = Host::associated(1);
        host.say_data(&user_data);
        let heard = host.wait(100);
        assert_eq!(operation(&heard[0]), (spec::ERROR, error), "{what}");
        let truth = host.monitor.take_truth();
        assert_eq!(truth[0].forbidden.as_deref(), Some(what));
        // Before an association it is as wrong.
        let mut host = Host::new(1, |_| {});
        host.say_data(&user_data);
        assert_eq!(host.monitor.take_truth()[0].forbidden.as_deref(), Some(what));
        assert_eq!(host.wait(100), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn what_cannot_be_polled_gets_an_error() {
    let single = |object, group| poll(spec::SINGLE_POLL, object, group, &[]);
    for (user_data, error) in [
        (single(0x0005, 0), spec::NO_SUCH_CLASS),
        (single(spec::NUMERICS, 0x0999), spec::INVALID_ARGUMENT),
        (single(spec::WAVES, spec::GROUP_VALUES), spec::INVALID_ARGUMENT),
    ] {
        let mut host = Host::associated(1);
        host.say_data(&user_data);
        assert_eq!(operation(&host.wait(100)[0]), (spec::ERROR, error));
        assert_eq!(host.monitor.take_truth(), []);
    }
}

#[test]
fn waves_that_were_not_granted_are_denied() {
    let mut host = Host::new(1, |_| {});
    let mut request = user_data(&bytes(ASSOCIATION_REQUEST)).remove(0);
    let options = bytes("F0 01 00 08 8E");
    let at = request.windows(options.len()).position(|window| window == options).unwrap();
    request[at + 4] = 0x80;
    host.say_data(&request);
    host.wait(100);
    host.say(CREATE_RESULT);
    host.say(POLL_WAVES);
    assert_eq!(operation(&host.wait(100)[0]), (spec::ERROR, spec::ACCESS_DENIED));
}

#[test]
fn every_object_has_a_static_context_and_no_patient_has_a_name() {
    for object in [spec::NUMERICS, spec::WAVES, spec::ALERT_MONITOR, spec::DEMOGRAPHICS, spec::MDS]
    {
        let mut host = Host::associated(1);
        host.say_data(&poll(spec::SINGLE_POLL, object, spec::GROUP_STATIC, &[]));
        let heard = host.wait(200);
        assert_eq!(operation(&heard[0]), (spec::RESULT, spec::ACTION), "{object:04x}");
        assert_eq!(host.monitor.take_truth(), [], "{object:04x}");
    }
    let mut host = Host::associated(1);
    host.say_data(&poll(spec::SINGLE_POLL, spec::DEMOGRAPHICS, spec::GROUP_DEMOGRAPHICS, &[]));
    let only_what_it_is = bare(DEMOGRAPHICS_HANDLE, spec::DEMOGRAPHICS).bytes;
    assert!(host.wait(200)[0].ends_with(&only_what_it_is));
}

#[test]
fn a_fifth_frame_in_128_ms_is_recorded_and_not_taken() {
    let mut host = Host::associated(1);
    for _ in 0..5 {
        host.say(KEEP_ALIVE);
    }
    assert_eq!(host.wait(128).len(), 4);
    let truth = host.monitor.take_truth();
    assert_eq!(truth.len(), 1);
    assert_eq!(truth[0].forbidden.as_deref(), Some("more than 4 frames in 128 ms"));
    for _ in 0..4 {
        host.say(KEEP_ALIVE);
    }
    assert_eq!(host.wait(128).len(), 4);
    assert_eq!(host.monitor.take_truth(), []);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let run = |seed| {
        let mut host = Host::associated(seed);
        host.say(POLL_NUMERICS);
        host.say(POLL_WAVES);
        host.wait(9_000)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn relative_time_wraps_in_one_seed_of_four() {
    let ticks = |seed, ms| {
        system::ticks(&Host::new(seed, |_| {}).monitor.observer.setup, SimTime::from_millis(ms))
    };
    assert_eq!(ticks(3, 0), u32::MAX - 480_000);
    assert_eq!(ticks(3, 60_001), 7);
    assert_eq!(ticks(0, 1), 80_008);
}

#[test]
fn a_stage_that_stood_still_leaves_a_gap_in_the_sequence() {
    let mut host = Host::associated(0);
    host.say(POLL_NUMERICS);
    assert_eq!(sequences(&host.wait(1_500)), [0, 1]);
    host.now = host.now.plus_millis(7_000);
    host.monitor.advance(host.now);
    assert_eq!(sequences(&host.wait(300)), [8]);
}

#[test]
fn nothing_comes_after_the_power_is_off() {
    let mut host = Host::associated(0);
    host.say(POLL_NUMERICS);
    host.monitor.switch_off(host.now);
    host.say(ASSOCIATION_REQUEST);
    assert_eq!(host.wait(2_000), Vec::<Vec<u8>>::new());
    assert_eq!(host.monitor.next_due(), None);
}

proptest! {
    /// Whatever a host sends, framed or not, nothing panics and nothing grows without end.
    #[test]
    fn no_bytes_of_a_host_upset_the_monitor(
        parts in vec(
            (any::<bool>(), 0_usize..8, vec(any::<u8>(), 0..60), 0_u64..3_000),
            0..40,
        ),
        seed in 0_u64..4,
    ) {
        let heads = [
            vec![],
            bytes("E1 00 00 02 00 01 00 28 00 01 00 07 00 22"),
            bytes("E1 00 00 02 00 01 00 28 00 01 00 07 00 22 00 21 00 00 00 00 00 00 00 00 F1 3B"),
            bytes("E1 00 00 02 00 01 00 28 00 01 00 05 00 22"),
            bytes("E1 00 00 02 00 01 00 28 00 01 00 03 00 22"),
            bytes("0D FF 01 28 02 01 02 81"),
            bytes("E1 00 00 02 00 02 00 14"),
            vec![0x09],
        ];
        let mut host = Host::associated(seed);
        for (framed, head, tail, ms) in parts {
            let user_data = [heads[head].clone(), tail].concat();
            match framed {
                true => host.say_data(&user_data),
                false => host.monitor.receive(host.now, &user_data),
            }
            host.wait(ms);
            prop_assert!(host.monitor.next_due().is_none_or(|due| due > host.now));
            prop_assert!(host.monitor.polls.len() <= 3);
            prop_assert!(host.monitor.arrivals.len() <= spec::FRAMES_MAX);
        }
    }

    /// Valid requests come out the same however the port happens to cut the bytes.
    #[test]
    fn cutting_does_not_matter(cut in 0_usize..400) {
        let frames = [ASSOCIATION_REQUEST, CREATE_RESULT, POLL_NUMERICS, POLL_WAVES];
        let all = frames.map(bytes).concat();
        let heard = |cut: usize| {
            let mut host = Host::new(1, |_| {});
            let (before, after) = all.split_at(cut.min(all.len()));
            host.monitor.receive(host.now, before);
            host.monitor.receive(host.now, after);
            host.wait(1_500)
        };
        prop_assert_eq!(heard(cut), heard(0));
    }

    /// Every numeric and wave poll with any option is answered within the MTU.
    #[test]
    fn no_answer_is_longer_than_the_mtu(
        object in prop::sample::select(vec![6_u16, 9, 0x36, 0x2A, 0x21]),
        group in prop::sample::select(vec![0_u16, 0x0801, 0x0803, 0x0807, 0x080A, 0x0811]),
        count in 0_u16..20,
        seed in 0_u64..2,
    ) {
        let mut host = Host::associated(seed);
        let options = [
            attribute(spec::POLL_DURATION, &16_000_u32.to_be_bytes()),
            attribute(spec::POLL_PRIORITISED, &words(&[count])),
        ];
        host.say_data(&poll(spec::EXTENDED_POLL, object, group, &options));
        let heard = host.wait(3_000);
        prop_assert!(!heard.is_empty());
        prop_assert!(heard.iter().all(|message| message.len() <= 1000));
    }
}
