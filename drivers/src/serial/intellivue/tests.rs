//! The driver on lists of events.

mod monitor;

use super::*;
use crate::bench::Bench;
use model::{
    alarm::{AlarmPhase, DeviceAlarm, Priority},
    decimal::Decimal,
    metric::Metric,
    reading::{Occurrence, ReadingGroup},
    record::Record,
    time::DeviceTime,
    waveform::WaveformBlock,
};
use monitor::{
    ACCEPTED, ALARM, BPM, CELSIUS, CREATED, HR, MM_HG, NUMBERS, Object, PERCENT, REFUSED, RELEASED,
    Reply, SPO2, TEMP, WAVES, attribute, bytes_of, cuff, label, layer, list, number, numeric,
    packing, samples, technical_alarm, words,
};
use proptest::{collection::vec, prelude::*};

fn opened(cursor: Option<Cursor>) -> Bench<Intellivue> {
    Bench::new(Intellivue::new(DeviceId::new("mon-01").unwrap(), cursor))
}

/// Opened, associated, and asked everything once.
fn polling(cursor: Option<Cursor>) -> Bench<Intellivue> {
    let mut bench = opened(cursor);
    bench.associate();
    bench.pass(300);
    bench.records.clear();
    bench.sent.clear();
    bench
}

impl Bench<Intellivue> {
    fn hear(&mut self, hex: &str) {
        self.receive(&bytes_of(hex));
    }

    fn associate(&mut self) {
        self.hear(RELEASED);
        self.pass(100);
        self.hear(ACCEPTED);
        self.hear(CREATED);
    }

    fn say(&mut self, reply: &Reply, objects: &[Object]) {
        self.receive(&frame(&reply.user_data(&[], objects)));
    }

    /// An answer with one object each, every attribute on its own handle.
    fn numbers(&mut self, ticks: u32, attributes: &[Vec<u8>]) {
        let handles = 0x101..;
        let objects = handles.zip(attributes).map(|(handle, one)| (handle, vec![one.clone()]));
        self.say(&Reply::numbers(ticks), &objects.collect::<Vec<_>>());
    }

    /// An ECG array of lead II with that many equal samples.
    fn ecg(&mut self, sequence: u16, ticks: u32, raw: &[u16]) {
        let attributes = [packing(), vec![samples(0, raw)]].concat();
        self.say(&Reply::waves(sequence, ticks), &[(0x201, attributes)]);
    }

    /// What was sent, without framing.
    fn messages(&self) -> Vec<Vec<u8>> {
        let user_data = |wire: &Vec<u8>| Decoder::default().decode(wire).next().unwrap().unwrap();
        self.sent.iter().map(user_data).collect()
    }

    /// First bytes of what was sent, and the poll's number where it is a poll.
    fn kinds(&self) -> Vec<String> {
        let kind = |message: &Vec<u8>| match message[..] {
            [0x0D, ..] => "request".to_owned(),
            [0x09, ..] => "release".to_owned(),
            [0x19, ..] => "abort".to_owned(),
            [0xE1, 0, 0, 2, 0, 1, ..] => format!("poll {}", message[29]),
            [0xE1, 0, 0, 2, 0, 2, ..] => "created".to_owned(),
            _ => format!("{message:02x?}"),
        };
        self.messages().iter().map(kind).collect()
    }

    fn device_alarms(&self) -> Vec<&DeviceAlarm> {
        let alarms = self.records.iter().filter_map(|record| match record {
            Record::Alarm(alarm) => Some(alarm),
            _ => None,
        });
        alarms.collect()
    }

    fn note_kinds(&self) -> Vec<&str> {
        self.notes.iter().map(|note| note.kind).collect()
    }
}

#[test]
fn a_session_releases_asks_answers_and_polls_in_order() {
    let mut bench = opened(None);
    bench.associate();
    bench.pass(300);
    assert_eq!(
        bench.kinds(),
        ["release", "request", "created", "poll 5", "poll 6", "poll 4", "poll 3"]
    );
    let about = &bench.statuses()[0].about;
    assert_eq!(about.get("system_id").map(String::as_str), Some("0009fbffff88c1bd"));
    assert_eq!(about.get("model").map(String::as_str), Some("M8003A"));
    assert_eq!(bench.states(), ["mon-01 online"]);
    // Sheet §9.4, with the invoke-id and the time of the event.
    let answer = "C0 11 01 00 1C E1 00 00 02 00 02 00 14 00 01 00 01 00 0E 00 21 00 00 00 00
                  00 01 38 80 0D 06 00 00";
    assert!(bench.sent[2].starts_with(&bytes_of(answer)));
}

#[test]
fn at_most_four_frames_in_128_ms_are_sent() {
    let mut bench = opened(None);
    let mut times = vec![0];
    let mut seen = 1;
    for ms in 1..4_000_u64 {
        match ms {
            20 => bench.hear(RELEASED),
            // The create event comes again and again.
            40 => (bench.hear(ACCEPTED), bench.hear(CREATED)).0,
            41..60 => bench.hear(CREATED),
            _ => {}
        }
        bench.pass(1);
        times.extend(vec![ms; bench.sent.len() - seen]);
        seen = bench.sent.len();
    }
    assert!(seen > 12, "{seen}");
    assert!(times.windows(5).all(|five| five[4] - five[0] > 128), "{times:?}");
}

#[test]
fn a_monitor_that_does_not_answer_is_silent_and_asked_for_ever() {
    let mut bench = opened(None);
    bench.pass(12_000);
    let cycle = ["release", "request", "request", "request"];
    assert_eq!(bench.kinds()[..8], [cycle, cycle].concat());
    assert_eq!(bench.states(), ["mon-01 silent"]);
    assert!(bench.statuses()[0].reason.contains("Data Export"));
}

#[test]
fn a_refusal_is_waited_out() {
    let mut bench = opened(None);
    bench.hear(RELEASED);
    bench.hear(REFUSED);
    bench.sent.clear();
    bench.pass(9_900);
    assert!(bench.sent.is_empty());
    bench.pass(1_000);
    assert_eq!(bench.kinds(), ["release", "request"]);
}

#[test]
fn an_abort_ends_the_association_and_a_new_one_is_asked_for() {
    let mut bench = polling(None);
    bench.numbers(8_000, &[numeric(HR, 0, BPM, 75)]);
    bench.receive(&frame(&association::abort()));
    bench.pass(2_100);
    assert_eq!(bench.kinds(), ["release"]);
    bench.associate();
    bench.numbers(8_000, &[numeric(HR, 0, BPM, 76)]);
    assert_eq!(bench.values(), ["hr 75", "hr 76"], "short enough to be no silence");
}

#[test]
fn a_monitor_that_does_not_say_who_it_is_is_aborted() {
    let mut bench = opened(None);
    bench.hear(RELEASED);
    bench.hear(ACCEPTED);
    bench.pass(10_100);
    assert_eq!(bench.kinds()[2..], ["abort", "release"]);
    assert_eq!(bench.states(), ["mon-01 silent"]);
}

#[test]
fn numbers_come_with_units_channel_and_device_time() {
    let mut bench = polling(None);
    bench.hear(NUMBERS);
    assert_eq!(
        bench.values(),
        ["nibp_sys 120", "nibp_dia 80", "nibp_mean not_available", "hr 75", "spo2 97.0"]
    );
    let groups = bench.groups();
    let nibp = groups[0];
    assert_eq!((nibp.group, nibp.occurrence), (Some(Metric::NIBP), Occurrence::Spot));
    assert_eq!(nibp.context.get("time").map(String::as_str), Some("unknown"));
    let streams = groups[1];
    // 2026-11-22 08:30:00 by the monitor's clock.
    let said = Some(DeviceTime::Local { civil_ms: 1_795_336_200_000 });
    assert_eq!((streams.device_time, streams.channel.as_str()), (said, ""));
}

#[test]
fn time_goes_on_over_the_end_of_the_ticks() {
    let mut bench = polling(None);
    let clock = [
        attribute(0x0987, &[0x20, 0x26, 0x11, 0x22, 0x08, 0x30, 0, 0]),
        attribute(0x098F, &0xFFFF_E0C0_u32.to_be_bytes()),
    ];
    let monitor = Reply { number: 3, sequence: None, ticks: 0xFFFF_E0C0, object: 0x21, group: 0 };
    bench.say(&monitor, &[(0, clock.to_vec())]);
    // A second later; that wraps.
    bench.numbers(0x0000_0000, &[numeric(HR, 0, BPM, 75)]);
    let said = Some(DeviceTime::Local { civil_ms: 1_795_336_201_000 });
    assert_eq!(bench.groups()[0].device_time, said);
}

#[test]
fn a_label_that_is_not_the_usual_one_is_the_channel() {
    let mut bench = polling(None);
    let with_labels = Reply { number: 5, sequence: None, ticks: 0, object: 6, group: 0 };
    let temp = |value| numeric(TEMP, 0, CELSIUS, value);
    let named = |code, text, value| [label(code, text), vec![temp(value)]].concat();
    bench.say(
        &with_labels,
        &[
            (0x101, named(0x0002_4B48, "Temp", 0xFF00_016D)),
            (0x102, named(0x0002_E014, "Tesoph", 0xFF00_016E)),
            (0x103, named(0x0002_E00C, "T 食道", 0xFF00_016F)),
        ],
    );
    bench.numbers(8_000, &[temp(0xFF00_0170), temp(0xFF00_0171), temp(0xFF00_0172)]);
    let shown: Vec<_> = bench
        .groups()
        .iter()
        .map(|group| format!("{:?} {}", group.channel.as_str(), group.readings.len()))
        .collect();
    let channels = [r#""" 1"#, r#""0002e00c" 1"#, r#""Tesoph" 1"#];
    assert_eq!(shown, [channels, channels].concat());
}

#[test]
fn two_objects_without_labels_never_share_a_series() {
    let mut bench = polling(None);
    let temp = |value| numeric(TEMP, 0, CELSIUS, value);
    bench.numbers(8_000, &[temp(0xFF00_016D), temp(0xFF00_0100)]);
    bench.numbers(16_000, &[temp(0xFF00_016E), temp(0xFF00_0101)]);
    let channels: Vec<_> = bench.groups().iter().map(|group| group.channel.as_str()).collect();
    assert_eq!(channels, ["", "h0000.0102", "", "h0000.0102"]);
    assert_eq!(bench.values(), ["temp 36.5", "temp 25.6", "temp 36.6", "temp 25.7"]);
    // An object that takes the place of another one takes its series.
    bench.records.clear();
    bench.say(&Reply::numbers(24_000), &[(0x150, vec![temp(0xFF00_016F)])]);
    assert_eq!(bench.groups()[0].channel.as_str(), "");
}

#[test]
fn unknown_ids_are_counted_and_told_in_the_status() {
    let mut bench = polling(None);
    bench.numbers(8_000, &[numeric(0x5102, 0, BPM, 1), numeric(HR, 0, BPM, 75)]);
    bench.numbers(16_000, &[numeric(0x5102, 0, BPM, 1), numeric(HR, 0, BPM, 75)]);
    assert_eq!(bench.values(), ["hr 75", "hr 75"]);
    let told =
        |bench: &Bench<Intellivue>| bench.statuses().last().unwrap().about["unknown_ids"].clone();
    assert_eq!((bench.statuses().len(), told(&bench).as_str()), (1, "5102 ×1"));
    for minute in 1..=61_u32 {
        for second in 0..60 {
            bench.numbers((minute * 60 + second) * 8_000, &[numeric(HR, 0, BPM, 75)]);
            bench.pass(1_000);
        }
    }
    assert_eq!((bench.statuses().len(), told(&bench).as_str()), (2, "5102 ×2"));
}

#[test]
fn a_cuff_result_is_one_reading_however_often_it_is_repeated() {
    let mut bench = polling(None);
    let hr = || numeric(HR, 0, BPM, 75);
    bench.numbers(8_000, &[hr()]);
    for second in 2..6 {
        bench.numbers(second * 8_000, &[hr(), cuff(120, 80, 93)]);
    }
    let spots = |bench: &Bench<Intellivue>| {
        bench.groups().iter().filter(|group| group.occurrence == Occurrence::Spot).count()
    };
    assert_eq!(spots(&bench), 1);
    // It is taken away while the cuff works; then the same values are another measurement.
    bench.numbers(
        48_000,
        &[hr(), attribute(0x094B, &list(&[number(0x4A05, 0x2000, MM_HG, 0x7F_FFFF)]))],
    );
    assert_eq!(spots(&bench), 1, "no value is no measurement");
    bench.numbers(56_000, &[hr(), cuff(120, 80, 93)]);
    bench.numbers(64_000, &[hr(), cuff(121, 80, 93)]);
    assert_eq!(spots(&bench), 3);
    assert_eq!(bench.remembered.len(), 3);
    // An answer that leaves it out breaks nothing; many do.
    bench.numbers(72_000, &[hr()]);
    bench.pass(1_000);
    bench.numbers(80_000, &[hr(), cuff(121, 80, 93)]);
    assert_eq!(spots(&bench), 3);
    for second in 11..15 {
        bench.pass(1_000);
        bench.numbers(second * 8_000, &[hr()]);
    }
    bench.numbers(120_000, &[hr(), cuff(121, 80, 93)]);
    assert_eq!((spots(&bench), bench.remembered.len()), (4, 4));
    // After a restart the last one is known, an older one is not new.
    let mut again = polling(bench.remembered.last().cloned());
    again.numbers(8_000, &[cuff(121, 80, 93)]);
    assert_eq!(spots(&again), 0);
    let mut other = polling(bench.remembered.last().cloned());
    other.numbers(8_000, &[cuff(140, 90, 105)]);
    assert_eq!(other.groups()[0].context.get("time").map(String::as_str), Some("unknown"));
}

#[test]
fn a_cuff_result_with_a_stamp_is_told_apart_by_it() {
    let mut bench = polling(None);
    bench.hear(NUMBERS);
    bench.records.clear();
    let stamped = |stamp: u32| vec![cuff(118, 76, 90), attribute(0x0991, &stamp.to_be_bytes())];
    for (ticks, stamp) in [(488_000, 480_000), (496_000, 480_000), (504_000, 500_000)] {
        bench.say(&Reply::numbers(ticks), &[(0x110, stamped(stamp))]);
    }
    let times: Vec<_> =
        bench.groups().iter().map(|group| group.device_time.unwrap().civil_ms()).collect();
    assert_eq!(times, [1_795_336_200_000, 1_795_336_202_500]);
    assert!(bench.groups().iter().all(|group| group.context.is_empty()));
    let absolute = attribute(0x0990, &[0x20, 0x26, 0x11, 0x22, 0x08, 0x15, 0, 0]);
    bench.say(&Reply::numbers(512_000), &[(0x110, vec![cuff(118, 76, 90), absolute])]);
    let latest: &ReadingGroup = bench.groups().pop().unwrap();
    assert_eq!(latest.device_time, Some(DeviceTime::Local { civil_ms: 1_795_335_300_000 }));
}

#[test]
fn test_and_demo_data_are_never_a_patients() {
    let mut bench = polling(None);
    bench.numbers(8_000, &[numeric(HR, 0x0400, BPM, 75), numeric(SPO2, 0x0800, PERCENT, 97)]);
    assert_eq!(bench.values(), ["hr rejected:75", "spo2 rejected:97"]);
    let demo = [packing(), vec![samples(0x0400, &[8192; 500])]].concat();
    bench.say(&Reply::waves(1, 8_000), &[(0x201, demo)]);
    bench.handle(SerialEvent::Closed);
    assert!(bench.blocks().is_empty());
    assert_eq!(bench.note_kinds(), ["test_data"]);
}

#[test]
fn a_value_that_is_missing_says_why_while_an_alarm_stands() {
    let mut bench = polling(None);
    let missing = || {
        let absent = |id, unit| numeric(id, 0x2000, unit, 0x007F_FFFF);
        [absent(HR, BPM), absent(SPO2, PERCENT), absent(TEMP, CELSIUS)]
    };
    bench.numbers(8_000, &missing());
    // "ECG leads off" is said of the ECG as a whole, the oximeter's of its wave.
    bench.say(&Reply::alerts(), &[(0x301, vec![technical_alarm(0x0100)])]);
    bench.numbers(16_000, &missing());
    bench.say(&Reply::alerts(), &[(0x301, vec![technical_alarm(0x4BB4)])]);
    bench.numbers(24_000, &missing());
    let absent = |reasons: [&str; 3]| {
        let metrics = ["hr", "spo2", "temp"].into_iter().zip(reasons);
        metrics.map(|(metric, reason)| format!("{metric} {reason}")).collect::<Vec<_>>()
    };
    let none = "not_available";
    let expected =
        [absent([none; 3]), absent(["lead_off", none, none]), absent([none, "sensor_off", none])];
    assert_eq!(bench.values(), expected.concat());
}

#[test]
fn alarms_begin_change_and_end_with_the_list() {
    let mut bench = polling(None);
    bench.hear(ALARM);
    bench.hear(ALARM);
    let code = "p:4182:0008:0101";
    assert_eq!(bench.alarms(), [(code, AlarmPhase::Start)]);
    let alarm = bench.device_alarms()[0];
    assert_eq!((alarm.priority, alarm.source), (Some(Priority::High), Some(Metric::HR)));
    assert_eq!(alarm.text, "new, audible at the bedside, priority 3, text 00050001");
    // Silenced: the state word of the entry.
    let info = words(&[1, 5, 1, 3, 0x4000]);
    let entry = [words(&[HR, 8, 0x0400, 0x1000, 6, 0, 0x101, 513]), layer(&info)].concat();
    bench.say(&Reply::alerts(), &[(0x301, vec![attribute(0x0902, &list(&[entry]))])]);
    assert!(bench.device_alarms()[1].text.starts_with("silenced, "));
    // The list is left out, and the condition says that no alarm of the patient stands.
    let condition = attribute(0x0916, &words(&[0, 8, 0, 0, 0]));
    bench.say(&Reply::alerts(), &[(0x301, vec![condition])]);
    let phases: Vec<_> = bench.alarms().into_iter().map(|(_, phase)| phase).collect();
    assert_eq!(phases, [AlarmPhase::Start, AlarmPhase::Update, AlarmPhase::End]);
}

#[test]
fn a_lost_port_does_not_say_that_an_alarm_is_over() {
    let mut bench = polling(None);
    bench.hear(ALARM);
    bench.hear(NUMBERS);
    bench.records.clear();
    bench.handle(SerialEvent::Closed);
    assert_eq!(bench.alarms(), []);
    assert_eq!(bench.driver.next_timeout(), None);
}

#[test]
fn a_heart_rate_of_zero_is_one_only_while_the_heart_stands_still() {
    let mut bench = polling(None);
    bench.numbers(8_000, &[numeric(HR, 0, BPM, 0)]);
    let entry = [words(&[HR, 3076, 0x0400, 8, 6, 0, 0x101, 513]), layer(&[])].concat();
    bench.say(&Reply::alerts(), &[(0x301, vec![attribute(0x0902, &list(&[entry]))])]);
    bench.numbers(16_000, &[numeric(HR, 0, BPM, 0)]);
    assert_eq!(bench.values(), ["hr not_available", "hr 0"]);
    assert_eq!(bench.device_alarms()[0].kind, model::alarm::AlarmKind::Asystole);
}

#[test]
fn the_samples_of_the_sheet_are_a_block_in_millivolts() {
    let mut bench = polling(None);
    bench.hear(WAVES);
    let block = bench.blocks()[0];
    assert_eq!(
        (block.metric, &block.samples),
        (Metric::ECG_WAVE_II, &vec![8192, 8202, 8392, 8192])
    );
    let scale = block.scale.as_ref().unwrap();
    assert_eq!((scale.per_count, scale.offset), (Decimal::fixed(5, -3), 8192));
    assert_eq!((scale.unit.as_str(), block.period.denominator()), ("mV", 500));
}

/// Lengths of all blocks and where each begins after the first.
fn cuts(blocks: &[&WaveformBlock]) -> Vec<(usize, i64)> {
    let first = blocks[0].start.at.unix_ms();
    blocks.iter().map(|block| (block.samples.len(), block.start.at.unix_ms() - first)).collect()
}

#[test]
fn an_array_becomes_a_block_at_once_and_goes_on_from_the_one_before() {
    let mut bench = polling(None);
    for count in 0..4_u16 {
        bench.ecg(count, 2048 * u32::from(count + 1), &[8192; 128]);
        assert_eq!(bench.blocks().len(), usize::from(count + 1));
        // The line delays every other one.
        bench.pass(if count % 2 == 0 { 306 } else { 206 });
    }
    assert_eq!(cuts(&bench.blocks()), [(128, 0), (128, 256), (128, 512), (128, 768)]);
    // "ECG defaults are −40.96…+40.955 mV", where no scale is sent.
    assert_eq!(bench.blocks()[0].scale.as_ref().unwrap().offset, 8192);
}

#[test]
fn an_array_that_is_longer_than_a_second_becomes_several_blocks() {
    let mut bench = polling(None);
    bench.ecg(1, 9_600, &[8192; 600]);
    assert_eq!(cuts(&bench.blocks()), [(500, 0), (100, 1000)]);
}

#[test]
fn a_gap_moves_the_next_block_whether_numbers_or_ticks_show_it() {
    let mut bench = polling(None);
    bench.ecg(1, 2048, &[8192; 128]);
    bench.pass(256);
    bench.ecg(2, 4096, &[8192; 128]);
    bench.pass(512);
    // Answer 3 is lost.
    bench.ecg(4, 8192, &[8192; 128]);
    bench.pass(512);
    // The ticks leave one out, the numbers do not.
    bench.ecg(5, 12_288, &[8192; 128]);
    bench.ecg(5, 12_288, &[8192; 128]);
    assert_eq!(cuts(&bench.blocks()), [(128, 0), (128, 256), (128, 768), (128, 1280)]);
    assert_eq!(bench.note_kinds(), ["gap"]);
}

/// Pulls the cable for that long and asks everything again.
fn plug_in_after(bench: &mut Bench<Intellivue>, ms: u64) {
    bench.handle(SerialEvent::Closed);
    bench.pass(ms);
    bench.handle(SerialEvent::Opened);
    bench.associate();
}

#[test]
fn a_gap_is_as_long_as_the_monitors_ticks_say_over_a_pulled_cable_too() {
    let mut bench = polling(None);
    bench.ecg(1, 2048, &[8192; 128]);
    plug_in_after(&mut bench, 9_000);
    // 40 arrays, 10.24 s: heard 260 ms late; 81 arrays: heard 136 ms early.
    bench.pass(1_400);
    bench.ecg(1, 2048 * 41, &[8192; 128]);
    plug_in_after(&mut bench, 10_000);
    bench.ecg(1, 2048 * 82, &[8192; 128]);
    assert_eq!(cuts(&bench.blocks()), [(128, 0), (128, 10_240), (128, 20_736)]);
}

#[test]
fn answers_that_wait_for_the_agent_do_not_move_the_blocks_but_clocks_that_run_apart_do() {
    let mut bench = polling(None);
    let mut array = |number: u16| {
        bench.ecg(number, 2048 * u32::from(number), &[8192; 128]);
        let blocks = bench.blocks();
        let place = blocks.last().unwrap().start.at.unix_ms() - blocks[0].start.at.unix_ms();
        // The agent gets no turn for a second; later the monitor's clock is slow.
        bench.pass(match number {
            3 => 1_256,
            4..8 => 6,
            100.. => 306,
            _ => 256,
        });
        place
    };
    for number in 1..100 {
        assert_eq!(array(number), 256 * i64::from(number - 1), "{number}");
    }
    let off = |place: i64, number: u16| place - 256 * i64::from(number - 1);
    let moved: Vec<_> = (100..200).map(|number| off(array(number), number)).collect();
    // 500 ms late after eleven arrays, and for ten seconds.
    assert_eq!(moved.iter().position(|off| *off != 0), Some(51), "{moved:?}");
    assert_eq!(moved[51], 2_550);
}

#[test]
fn a_monitor_that_was_switched_off_has_other_ticks_and_the_agents_clock_tells() {
    let mut bench = polling(None);
    bench.ecg(1, 2048 * 100, &[8192; 128]);
    plug_in_after(&mut bench, 59_900);
    bench.ecg(1, 2048 * 20, &[8192; 128]);
    assert_eq!(cuts(&bench.blocks()), [(128, 0), (128, 60_000)]);
}

#[test]
fn the_answer_to_a_renewed_poll_doubles_no_samples() {
    let mut bench = polling(None);
    bench.ecg(7, 2048, &[8192; 128]);
    bench.pass(100);
    bench.ecg(0, 2848, &[8192; 128]);
    bench.pass(156);
    bench.ecg(1, 4096, &[8192; 128]);
    assert_eq!(cuts(&bench.blocks()), [(128, 0), (128, 256)]);
}

#[test]
fn marks_and_states_are_flags_of_the_block() {
    let mut bench = polling(None);
    bench.ecg(1, 2048, &[8192; 128]);
    bench.ecg(2, 4096, &[8192 | 0x4000; 128]);
    bench.ecg(3, 6144, &[0x8000; 128]);
    let off = [packing(), vec![samples(0x2000, &[8192; 128])]].concat();
    bench.say(&Reply::waves(4, 8192), &[(0x201, off)]);
    bench.ecg(5, 10_240, &[8192; 128]);
    let blocks = bench.blocks();
    let flags: Vec<_> =
        blocks.iter().map(|block| (block.flags.lead_off, block.flags.pacer)).collect();
    let (plain, lead_off) = ((false, false), (true, false));
    assert_eq!(flags, [plain, (false, true), lead_off, lead_off, plain]);
}

#[test]
fn waves_that_are_refused_leave_the_numbers() {
    let mut bench = polling(None);
    bench.pass(3_000);
    let sent = bench.messages();
    let waves = sent.iter().find(|message| message[29] == 2).unwrap();
    let invoke_id = [waves[8], waves[9]];
    let refusal = [&words(&[0xE100, 2, 3])[..], &layer(&[&invoke_id[..], &[0, 2, 0, 0]].concat())];
    bench.receive(&frame(&refusal.concat()));
    assert_eq!(bench.note_kinds(), ["no_waves"]);
    bench.sent.clear();
    for second in 1..60 {
        bench.numbers(second * 8_000, &[numeric(HR, 0, BPM, 75)]);
        bench.pass(1_000);
    }
    assert!(!bench.kinds().contains(&"poll 2".to_owned()));
    assert!(bench.kinds().contains(&"poll 1".to_owned()), "renewed");
    assert_eq!(bench.values().len(), 59);
}

#[test]
fn a_long_answer_in_parts_is_one_answer() {
    let mut bench = polling(None);
    let reply = Reply::numbers(8_000);
    let one = |handle, id, unit, value| vec![(handle, vec![numeric(id, 0, unit, value)])];
    bench.receive(&frame(&reply.user_data(&[1, 1], &one(0x101, HR, BPM, 75))));
    assert!(bench.values().is_empty());
    bench.receive(&frame(&reply.user_data(&[3, 2], &one(0x102, SPO2, PERCENT, 97))));
    bench.say(&reply, &one(0x103, TEMP, CELSIUS, 37));
    assert_eq!(bench.values(), ["hr 75", "spo2 97", "temp 37"]);
    assert_eq!(bench.groups().len(), 1);
}

#[test]
fn silence_is_reported_once_and_the_session_begins_again() {
    let mut bench = polling(None);
    bench.numbers(8_000, &[numeric(HR, 0, BPM, 75), numeric(SPO2, 0, PERCENT, 97)]);
    bench.records.clear();
    bench.sent.clear();
    bench.pass(60_000);
    assert_eq!(bench.values(), ["hr silent", "spo2 silent"]);
    assert_eq!(bench.states(), ["mon-01 silent"]);
    let kinds = bench.kinds();
    let abort = kinds.iter().position(|kind| kind == "abort").unwrap();
    assert_eq!(kinds[abort + 1..abort + 3], ["release", "request"]);
    bench.associate();
    bench.numbers(16_000, &[numeric(HR, 0, BPM, 75)]);
    assert_eq!(bench.states(), ["mon-01 silent", "mon-01 online"]);
}

#[test]
fn a_number_that_is_left_out_becomes_silent_alone() {
    let mut bench = polling(None);
    bench.numbers(8_000, &[numeric(HR, 0, BPM, 75), numeric(SPO2, 0, PERCENT, 97)]);
    for second in 2..15 {
        bench.pass(1_000);
        bench.numbers(second * 8_000, &[numeric(HR, 0, BPM, 75)]);
    }
    let silent: Vec<_> = bench.values().into_iter().filter(|value| value != "hr 75").collect();
    assert_eq!(silent, ["spo2 97", "spo2 silent"]);
    assert_eq!(bench.states(), [""; 0]);
}

#[test]
fn only_requests_that_change_nothing_are_sent() {
    let mut bench = opened(None);
    bench.associate();
    for second in 1..200 {
        bench.numbers(second * 8_000, &[numeric(HR, 0, BPM, 75)]);
        bench.pass(1_000);
    }
    bench.pass(60_000);
    let known = ["release", "request", "created", "abort"];
    for (kind, message) in bench.kinds().iter().zip(&bench.messages()) {
        // Command 7 is an action; the two polls are the only ones.
        let actions = [[0x0C, 0x16], [0xF1, 0x3B]];
        let poll = message.get(11) == Some(&7) && actions.iter().any(|two| message[24..26] == *two);
        let poll = poll && kind.starts_with("poll");
        assert!(poll || known.contains(&kind.as_str()), "{kind}: {message:02x?}");
    }
}

/// All that a monitor sends in a session, and what must come of it.
fn session() -> Vec<Vec<u8>> {
    [RELEASED, ACCEPTED, CREATED, NUMBERS, WAVES, ALARM].map(bytes_of).into()
}

fn outcome(chunks: &[&[u8]]) -> Vec<Record> {
    let mut bench = opened(None);
    for chunk in chunks {
        bench.receive(chunk);
    }
    bench.handle(SerialEvent::Closed);
    bench.said.records
}

/// A message of the monitor that is well framed and well formed on the outside.
fn likely_message() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![
        prop::sample::select(vec![
            0x0924_u16, 0x0927, 0x0950, 0x094B, 0x096E, 0x0967, 0x096D, 0x096F, 0x0A16, 0x098D,
            0x0990, 0x0991, 0x0996, 0x0916, 0x0902, 0x0904, 0x0984, 0x0928, 0x0987, 0x098F,
        ]),
        any::<u16>(),
    ];
    let good = prop_oneof![
        Just(packing().concat()),
        Just(numeric(HR, 0, BPM, 75)),
        Just(cuff(120, 80, 93)),
        Just(samples(0, &[8192; 128])),
        Just(technical_alarm(HR)),
        (any::<u16>(), any::<u16>(), any::<u32>())
            .prop_map(|(id, state, value)| { numeric(id, state, BPM, value) }),
    ];
    let wild = (id, vec(any::<u8>(), 0..40)).prop_map(|(id, value)| attribute(id, &value));
    let objects = vec((0_u16..300, vec(prop_oneof![good, wild], 0..5)), 0..6);
    let object = prop::sample::select(vec![6_u16, 9, 0x21, 0x36]);
    let sequence = prop::option::of(any::<u16>());
    (object, sequence, any::<u32>(), prop::bool::ANY, objects).prop_map(
        |(object, sequence, ticks, all, objects)| {
            let group = if all { 0 } else { 0x0803 };
            Reply { number: 1, sequence, ticks, object, group }.user_data(&[], &objects)
        },
    )
}

proptest! {
    #[test]
    fn cutting_anywhere_changes_nothing(cuts in vec(any::<prop::sample::Index>(), 0..8)) {
        let bytes = session().concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(outcome(&chunks), outcome(&[&bytes]));
    }

    #[test]
    fn a_damaged_byte_never_gives_a_value_nobody_said(
        at in any::<prop::sample::Index>(),
        damage in 1_u8..,
    ) {
        let whole = session();
        let good = outcome(&whole.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut bytes = whole.concat();
        let at = at.index(bytes.len());
        bytes[at] ^= damage;
        for record in outcome(&[&bytes]) {
            let status = matches!(record, Record::Status(_));
            // Without the clock of the damaged answer a group has no device time.
            let timeless = |record: &Record| match record.clone() {
                Record::Readings(group) => Record::Readings(group.at_device_time(None)),
                Record::Alarm(alarm) => Record::Alarm(DeviceAlarm { device_time: None, ..alarm }),
                other => other,
            };
            let known = good.iter().any(|known| timeless(known) == timeless(&record));
            prop_assert!(status || known, "{:?}", record);
        }
    }

    #[test]
    fn noise_before_a_session_changes_nothing(noise in vec(any::<u8>(), 0..60)) {
        let bytes = session().concat();
        prop_assert_eq!(outcome(&[&noise, &bytes]), outcome(&[&bytes]));
    }

    #[test]
    fn no_message_makes_it_panic_and_what_is_kept_is_bounded(
        messages in vec((
            prop_oneof![4 => likely_message(), 1 => vec(any::<u8>(), 0..120)],
            0_u64..3_000,
        ), 0..40),
    ) {
        let mut bench = polling(None);
        for (message, ms) in &messages {
            bench.receive(&frame(message));
            bench.pass(*ms);
        }
        bench.handle(SerialEvent::Closed);
        let alarms = bench.alarms();
        let of = |phase| alarms.iter().filter(|alarm| alarm.1 == phase).count();
        prop_assert!(of(AlarmPhase::Start) >= of(AlarmPhase::End));
        for block in bench.blocks() {
            let count = u32::try_from(block.samples.len()).unwrap();
            prop_assert!(count > 0 && block.period.span_us(count) <= 1_000_000);
        }
        prop_assert!(bench.remembered.iter().all(|cursor| cursor.0.len() <= 512));
    }
}
