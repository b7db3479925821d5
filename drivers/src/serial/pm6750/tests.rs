//! The driver on lists of events.

use super::*;
use crate::bench::Bench;
use model::alarm::AlarmPhase;

fn opened(cursor: Option<Cursor>) -> Bench<Pm6750> {
    let device = DeviceId::new("ecg-01").unwrap();
    Bench::new(Pm6750::new(device, Some(Decimal::fixed(40, 0)), cursor))
}

/// Opened, started up and listening.
fn streaming(cursor: Option<Cursor>) -> Bench<Pm6750> {
    let mut bench = opened(cursor);
    bench.pass(1500);
    bench.records.clear();
    bench
}

impl Bench<Pm6750> {
    /// A packet with that payload arrives.
    fn packet(&mut self, payload: &[u8]) {
        let len = u8::try_from(payload.len() + 2).unwrap();
        let sum = !payload.iter().fold(len, |sum, byte| sum.wrapping_add(*byte));
        self.receive(&[&[0x55, 0xAA, len][..], payload, &[sum]].concat());
    }
}

#[test]
fn start_up_switches_off_waits_for_quiet_and_enables_in_order() {
    let mut bench = opened(None);
    bench.pass(1000);
    let commands = spec::SWITCH_OFF.into_iter().chain(spec::START_UP);
    assert_eq!(bench.sent, commands.map(Command::bytes).collect::<Vec<_>>());
    // Sheet §9: enable ECG.
    assert!(bench.sent.contains(&vec![0x55, 0xAA, 0x04, 0x01, 0x01, 0xF9]));
}

#[test]
fn streams_that_do_not_come_are_enabled_again_three_times() {
    let mut bench = streaming(None);
    bench.sent.clear();
    for _ in 0..200 {
        bench.packet(&[0x04, 0, 98, 75]);
        bench.pass(100);
    }
    let resent = bench.sent.iter().filter(|bytes| bytes[3] == 0x01 && bytes[4] == 1).count();
    assert_eq!(resent, 3);
    assert!(!bench.sent.iter().any(|bytes| bytes[3] == 0x03), "SpO2 came and is not enabled again");
    assert_eq!(bench.notes.iter().filter(|note| note.kind == "stream_missing").count(), 1);
}

#[test]
fn one_stream_that_stops_is_said_and_enabled_again_while_the_others_go_on() {
    let mut bench = streaming(None);
    bench.packet(&[0x04, 0, 98, 75]);
    bench.packet(&[0x05, 0, 36, 5, 37, 1]);
    bench.records.clear();
    bench.sent.clear();
    for _ in 0..5 {
        bench.pass(1_000);
        bench.packet(&[0x02, 0x18, 75, 16, 6, 1]);
        bench.packet(&[0x05, 0, 36, 5, 37, 1]);
    }
    let silent: Vec<_> =
        bench.values().into_iter().filter(|text| text.ends_with("silent")).collect();
    assert_eq!(silent, ["spo2 silent", "pulse_oxim silent"]);
    assert!(bench.sent.contains(&Command::Spo2(Switch::On).bytes()));
    assert!(!bench.sent.contains(&Command::Temperature(Switch::On).bytes()));
    assert!(bench.states().is_empty(), "the module is there");
}

#[test]
fn what_the_module_is_goes_with_its_status() {
    let mut bench = streaming(None);
    bench.packet(b"\xFCV3.2");
    bench.packet(b"\xFDPM6750\0");
    bench.packet(b"\xFCV3.2");
    let about = &bench.statuses().last().unwrap().about;
    assert_eq!((about["firmware"].as_str(), about["hardware"].as_str()), ("V3.2", "PM6750"));
    assert_eq!(bench.states().len(), 3, "online, firmware, hardware");
}

#[test]
fn a_bad_line_is_noted() {
    let mut bench = streaming(None);
    for count in 0..1000 {
        match count % 50 {
            0 => bench.receive(&[0x55, 0xAA, 0x03, 0x30, 0xCD]),
            _ => bench.packet(&[0x30]),
        }
    }
    assert!(bench.notes.iter().any(|note| note.kind == "bad_line" && note.text.contains("2 %")));
}

#[test]
fn no_command_inflates_calibrates_or_prepares_it() {
    let mut bench = opened(None);
    bench.pass(60_000);
    let forbidden = [0x02, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x10];
    assert!(bench.sent.iter().all(|bytes| !forbidden.contains(&bytes[3])));
}

#[test]
fn numbers_come_with_their_units_and_reasons() {
    let mut bench = streaming(None);
    bench.packet(&[0x02, 0x18, 75, 16, 6, 1]);
    bench.packet(&[0x04, 0, 98, 75]);
    bench.packet(&[0x05, 0, 36, 5, 37, 1]);
    bench.packet(&[0x04, 1, 127, 255]);
    bench.packet(&[0x05, 1, 0, 0]);
    assert_eq!(
        bench.values(),
        [
            "hr 75",
            "rr_imp 16",
            "st 0.06",
            "spo2 98",
            "pulse_oxim 75",
            "temp 36.5",
            "temp 37.1",
            "spo2 sensor_off",
            "pulse_oxim sensor_off",
            "temp sensor_off",
        ]
    );
}

#[test]
fn a_heart_rate_of_zero_says_why() {
    let mut bench = streaming(None);
    for (status, arrhythmia) in [(0x1A, 1), (0x19, 1), (0x18, 0), (0x18, 1), (0x18, 2), (0x1A, 2)] {
        bench.packet(&[0x02, status, 0, 16, 0, arrhythmia]);
    }
    let rates: Vec<_> = bench.values().into_iter().filter(|text| text.starts_with("hr")).collect();
    assert_eq!(
        rates,
        ["hr lead_off", "hr low_signal", "hr searching", "hr not_available", "hr 0", "hr lead_off"]
    );
}

#[test]
fn zero_is_no_saturation_and_no_pulse() {
    let mut bench = streaming(None);
    bench.packet(&[0x04, 0, 0, 0]);
    bench.packet(&[0x04, 0, 127, 75]);
    assert_eq!(
        bench.values(),
        ["spo2 not_available", "pulse_oxim not_available", "spo2 not_available", "pulse_oxim 75"]
    );
}

#[test]
fn a_probe_on_the_bed_is_off_and_no_hypothermia() {
    let mut bench = streaming(None);
    for (whole, tenth) in [(14, 9), (15, 0), (30, 0), (30, 1), (36, 12), (0, 0)] {
        bench.packet(&[0x05, 0, whole, tenth]);
    }
    assert_eq!(
        bench.values(),
        [
            "temp 14.9",
            "temp sensor_off",
            "temp sensor_off",
            "temp 30.1",
            "temp rejected:36 + 12/10",
            "temp not_available",
        ]
    );
    let reads = bench.groups()[2].context.get("probe_reads").map(String::as_str);
    assert_eq!(reads, Some("30.0"), "what it reads is kept");
}

#[test]
fn every_condition_is_a_device_alarm_with_begin_and_end() {
    use AlarmPhase::{End, Start};
    let mut bench = streaming(None);
    for (status, arrhythmia) in [(0x18, 1), (0x1A, 1), (0x1A, 1), (0x18, 0x0B), (0x18, 1)] {
        bench.packet(&[0x02, status, 0, 0, 0, arrhythmia]);
    }
    assert_eq!(
        bench.alarms(),
        [("lead_off", Start), ("lead_off", End), ("0b", Start), ("0b", End)]
    );
    bench.records.clear();
    for status in [0, 1, 1, 2, 3, 4, 0] {
        bench.packet(&[0x04, status, 98, 75]);
    }
    assert_eq!(
        bench.alarms(),
        [
            ("spo2_probe_off", Start),
            ("spo2_probe_off", End),
            ("spo2_no_finger", Start),
            ("spo2_no_finger", End),
            ("spo2_search_timeout", Start),
            ("spo2_search_timeout", End),
        ]
    );
}

#[test]
fn a_weak_signal_is_told_when_it_lasts() {
    let mut bench = streaming(None);
    for weak in [1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0] {
        bench.packet(&[0x02, 0x18 | weak, 75, 16, 0, 1]);
    }
    assert_eq!(
        bench.alarms(),
        [("weak_signal", AlarmPhase::Start), ("weak_signal", AlarmPhase::End)]
    );
}

#[test]
fn a_temperature_probe_that_was_worn_and_is_not_is_an_alarm_of_its_channel() {
    let mut bench = streaming(None);
    // Worn and not plugged in; both off; both on the bed; worn again.
    for packet in [[0x05, 2, 36, 5, 0, 0], [5, 3, 0, 0, 0, 0], [5, 0, 22, 0, 22, 0]] {
        bench.packet(&packet);
    }
    bench.packet(&[0x05, 0, 36, 5, 22, 0]);
    let alarms: Vec<_> = bench
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Alarm(alarm) => Some((alarm.channel.as_str(), alarm.phase)),
            _ => None,
        })
        .collect();
    assert_eq!(alarms, [("t1", AlarmPhase::Start), ("t1", AlarmPhase::End)]);
}

#[test]
fn an_alarm_that_is_still_up_after_a_silence_is_said_again() {
    let mut bench = streaming(None);
    let mut said = || {
        bench.records.clear();
        bench.packet(&[0x02, 0x1A, 0, 0, 0, 0x0B]);
        bench.packet(&[0x04, 1, 127, 255]);
        bench.packet(&[0x03, 4 << 2, 0, 0, 0, 0]);
        let alarms = bench.alarms().len();
        bench.records.clear();
        bench.pass(4_000);
        assert_eq!(bench.alarms(), [], "nobody knows whether they are over");
        alarms
    };
    assert_eq!((said(), said()), (4, 4));
}

#[test]
fn a_cuff_measurement_is_one_reading_however_often_it_is_repeated() {
    let mut bench = streaming(None);
    bench.packet(&[0x03, 1 << 2 | 1, 62, 0, 0, 0]);
    for _ in 0..5 {
        bench.packet(&[0x03, 1, 0, 120, 93, 80]);
        bench.pass(500);
    }
    assert_eq!(bench.values(), ["nibp_sys 120", "nibp_mean 93", "nibp_dia 80"]);
    assert_eq!(bench.groups()[0].occurrence, Occurrence::Spot);
    assert_eq!(bench.remembered, [Cursor(vec![120, 93, 80])]);
    // Two measurements that end with equal values are two readings.
    bench.packet(&[0x03, 9 << 2 | 1, 0, 0, 0, 0]);
    bench.packet(&[0x03, 1, 0, 120, 93, 80]);
    assert_eq!(bench.groups().len(), 2);
}

#[test]
fn a_cuff_that_works_says_so_before_there_is_a_result() {
    let mut bench = streaming(None);
    bench.packet(&[0x04, 0, 98, 75]);
    bench.records.clear();
    let says = |bench: &Bench<Pm6750>| -> Vec<Option<String>> {
        bench.statuses().iter().map(|status| status.about.get("cuff").cloned()).collect()
    };
    for pressure in [0, 62, 80] {
        bench.packet(&[0x03, 1 << 2, pressure, 0, 0, 0]);
    }
    let measures = Some("measuring".to_owned());
    assert_eq!(says(&bench), std::slice::from_ref(&measures));
    bench.packet(&[0x03, 0, 0, 120, 93, 80]);
    bench.packet(&[0x03, 0, 0, 120, 93, 80]);
    assert_eq!(says(&bench), [measures.clone(), None]);
    // It fails, and works when the cable comes out: nobody is told any more that it does.
    bench.packet(&[0x03, 1 << 2, 62, 0, 0, 0]);
    bench.packet(&[0x03, 4 << 2, 0, 0, 0, 0]);
    bench.packet(&[0x03, 1 << 2, 62, 0, 0, 0]);
    bench.pass(4_000);
    bench.packet(&[0x04, 0, 98, 75]);
    let all = says(&bench);
    assert_eq!(all[2..], [measures.clone(), None, measures, None, None]);
}

#[test]
fn an_old_cuff_result_after_a_restart_is_not_taken_for_a_new_one() {
    let mut known = streaming(Some(Cursor(vec![120, 93, 80])));
    known.packet(&[0x03, 1, 0, 120, 93, 80]);
    assert!(known.groups().is_empty());
    known.packet(&[0x03, 1, 0, 138, 103, 86]);
    assert_eq!(known.groups()[0].context.get("time").map(String::as_str), Some("unknown"));
}

#[test]
fn a_failed_cuff_measurement_says_why() {
    let mut bench = streaming(None);
    bench.packet(&[0x03, 1 << 2 | 1, 62, 0, 0, 0]);
    bench.packet(&[0x03, 4 << 2 | 1, 0, 0, 0, 0]);
    bench.packet(&[0x03, 4 << 2 | 1, 0, 0, 0, 0]);
    assert_eq!(
        bench.values(),
        ["nibp_sys device_error:4", "nibp_mean device_error:4", "nibp_dia device_error:4"]
    );
    // The alarm lasts until the cuff works again.
    bench.packet(&[0x03, 1, 0, 0, 0, 0]);
    assert_eq!(bench.alarms(), [("nibp_4", AlarmPhase::Start)]);
    bench.packet(&[0x03, 9 << 2 | 1, 0, 0, 0, 0]);
    assert_eq!(bench.alarms().last(), Some(&("nibp_4", AlarmPhase::End)));
}

#[test]
fn a_cuff_result_with_a_missing_part_is_a_result() {
    let mut bench = streaming(None);
    bench.packet(&[0x03, 1 << 2 | 1, 62, 0, 0, 0]);
    bench.packet(&[0x03, 1, 0, 130, 0, 0]);
    assert_eq!(
        bench.values(),
        ["nibp_sys 130", "nibp_mean not_available", "nibp_dia not_available"]
    );
    bench.records.clear();
    bench.packet(&[0x03, 1 << 2 | 1, 62, 0, 0, 0]);
    bench.packet(&[0x03, 1, 0, 0, 0, 0]);
    assert!(bench.values().is_empty(), "the idle report is none");
}

#[test]
fn a_second_of_packets_is_one_block_of_each_lead() {
    let mut bench = streaming(None);
    bench.packet(&[0x02, 0x18, 75, 16, 6, 1]);
    for count in 0..500_u32 {
        let sample = u8::try_from(count % 200).unwrap();
        bench.packet(&[0x01, sample, 100, 101, 102, 103, 104, 250]);
        bench.pass(4);
    }
    let blocks = bench.blocks();
    assert_eq!(blocks.len(), 14);
    assert!(blocks.iter().all(|block| block.samples.len() == 250));
    assert_eq!(blocks[1].metric, Metric::ECG_WAVE_II);
    assert_eq!(blocks[7].start.at.unix_ms() - blocks[0].start.at.unix_ms(), 1000);
    assert!(blocks[6].flags.saturation && !blocks[1].flags.saturation);
    // 1 / 40 counts per mV.
    let scale = blocks[0].scale.as_ref().unwrap();
    assert_eq!((scale.per_count, scale.offset), (Decimal::fixed(25, -3), 128));
}

#[test]
fn no_sample_has_the_scale_of_another_gain() {
    let mut bench = streaming(None);
    let second = |bench: &mut Bench<Pm6750>| {
        for _ in 0..125 {
            bench.packet(&[0x01, 100, 100, 101, 102, 103, 104, 105]);
            bench.pass(4);
        }
    };
    second(&mut bench);
    // Gain ×2, as a person set it at the monitor some time in this second.
    bench.packet(&[0x02, 0x1C, 75, 16, 6, 1]);
    second(&mut bench);
    bench.handle(SerialEvent::Closed);
    let scales: Vec<_> = bench
        .blocks()
        .iter()
        .filter(|block| block.metric == Metric::ECG_WAVE_II)
        .map(|block| (block.samples.len(), block.scale.as_ref().map(|scale| scale.per_count)))
        .collect();
    assert_eq!(scales, [(125, None), (125, Some(Decimal::fixed(125, -4)))]);
}

#[test]
fn a_damaged_packet_ends_the_blocks() {
    let mut bench = streaming(None);
    for count in 0..50 {
        bench.packet(&[0xFE, 40]);
        bench.pass(20);
        if count == 19 {
            bench.receive(&[0x55, 0xAA, 0x04, 0xFE, 40, 0x00]);
        }
    }
    bench.pass(1100);
    let lengths: Vec<_> = bench.blocks().iter().map(|block| block.samples.len()).collect();
    assert_eq!(lengths, [20, 30]);
}

#[test]
fn a_stream_that_stops_hands_out_what_it_has() {
    let mut bench = streaming(None);
    for _ in 0..30 {
        bench.packet(&[0xFE, 40]);
        bench.pass(20);
    }
    bench.pass(1100);
    let block = bench.blocks()[0];
    assert_eq!((block.metric, block.samples.len()), (Metric::PLETH, 30));
}

#[test]
fn silence_is_reported_once_per_period() {
    let mut bench = streaming(None);
    bench.packet(&[0x04, 0, 98, 75]);
    bench.records.clear();
    bench.pass(20_000);
    assert_eq!(bench.values(), ["spo2 silent", "pulse_oxim silent"]);
    assert_eq!(bench.states(), ["ecg-01 silent"]);
    bench.packet(&[0x04, 0, 98, 75]);
    bench.pass(2_000);
    bench.packet(&[0x04, 0, 98, 75]);
    assert_eq!(bench.states(), ["ecg-01 silent", "ecg-01 online"]);
}

#[test]
fn silence_begins_the_start_up_again() {
    let mut bench = streaming(None);
    bench.sent.clear();
    bench.pass(5_000);
    let off = spec::SWITCH_OFF.map(Command::bytes);
    assert!(bench.sent.windows(5).any(|window| window == off));
}

#[test]
fn a_lost_port_does_not_say_that_an_alarm_is_over() {
    let mut bench = streaming(None);
    bench.packet(&[0x02, 0x1A, 0, 0, 0, 0x0B]);
    bench.packet(&[0x04, 1, 127, 255]);
    bench.records.clear();
    bench.handle(SerialEvent::Closed);
    assert_eq!(bench.alarms(), []);
    assert_eq!(bench.driver.next_timeout(), None);
}

#[test]
fn a_cuff_cycle_without_an_end_is_forgotten() {
    let mut bench = streaming(None);
    bench.packet(&[0x03, 1 << 2, 62, 0, 0, 0]);
    for _ in 0..100 {
        bench.pass(1_000);
        bench.packet(&[0x04, 0, 98, 75]);
    }
    bench.records.clear();
    bench.packet(&[0x03, 0, 0, 120, 93, 80]);
    assert_eq!(bench.groups()[0].context.get("time").map(String::as_str), Some("unknown"));
    bench.packet(&[0x03, 1 << 2, 62, 0, 0, 0]);
    bench.packet(&[0x03, 0, 0, 120, 93, 80]);
    assert!(bench.groups()[1].context.is_empty(), "the next measurement has its time");
}
