//! The meter against the example frames of the sheet, and in sessions with a host.

use super::*;
use crate::{EcgSource, Patient, Scenario, StageClock};
use proptest::{collection::vec, prelude::*};

fn bytes(hex: &str) -> Vec<u8> {
    hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A host with a meter on its line.
struct Host {
    meter: Meter,
    now: SimTime,
}

impl Host {
    fn new(seed: u64, change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::built_in("clinic-day").unwrap();
        change(&mut scenario);
        let meter = Meter::new(Setup {
            device: "glu-02".into(),
            seed,
            // 2026-11-22 16:15 in China.
            clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            patient: Patient::new(1, scenario, EcgSource::Synthetic),
        });
        Self { meter, now: SimTime(0) }
    }

    fn pass(&mut self, ms: u64) -> Vec<u8> {
        let end = self.now.plus_millis(ms);
        while let Some(due) = self.meter.next_due().filter(|due| *due <= end) {
            self.meter.advance(due);
        }
        self.now = end;
        self.meter.advance(end);
        self.meter.take_output()
    }

    /// The data of the first good answer within 500 ms.
    fn ask(&mut self, command: u8, data: [u8; 4]) -> Option<[u8; 4]> {
        self.meter.receive(self.now, &encode(command, data, spec::TO_METER));
        let heard = self.pass(500);
        heard.windows(8).find_map(|frame| {
            let &[_, reply, a, b, c, d, ..] = frame else { return None };
            let good = frame == encode(reply, [a, b, c, d], spec::TO_HOST).as_slice();
            let expected = reply == command || command == spec::CONNECT;
            (good && expected).then_some([a, b, c, d])
        })
    }

    /// A session of §5: everything in the memory; whether there was an answer.
    fn session(&mut self) -> Option<usize> {
        (0..4).find_map(|_| self.ask(spec::CONNECT, [0; 4]))?;
        self.ask(spec::MODEL, [0; 4])?;
        self.ask(spec::READ_CLOCK, [0; 4])?;
        let [low, high, ..] = self.ask(spec::COUNT, [0; 4])?;
        let count = match u16::from_le_bytes([low, high]) {
            0xFFFF => 0,
            count => count,
        };
        for index in 0..count {
            let [low, high] = index.to_le_bytes();
            self.ask(spec::RECORD_TIME, [low, high, 0, 0])?;
            self.ask(spec::RECORD_VALUE, [low, high, 0, 0])?;
        }
        self.ask(spec::COUNT, [0; 4])?;
        Some(usize::from(count))
    }

    fn truth(&mut self) -> Vec<Truth> {
        self.meter.take_truth()
    }
}

/// Sheet §2 and §4.
#[test]
fn frames_are_those_of_the_sheet() {
    let check = |frame: [u8; 8], hex: &str| assert_eq!(frame.to_vec(), bytes(hex));
    let asked = |command| encode(command, [0; 4], spec::TO_METER);
    check(asked(spec::CONNECT), "51 22 00 00 00 00 A3 16");
    check(asked(spec::POWER_OFF), "51 50 00 00 00 00 A3 44");
    check(asked(0x49), "51 49 00 00 00 00 A3 3D");
    let answered = |command, data| encode(command, data, spec::TO_HOST);
    check(answered(spec::MODEL, spec::METER), "51 24 77 42 00 00 A5 D3");
    let clock = date_time(1_795_335_300_000);
    check(answered(spec::READ_CLOCK, clock), "51 23 76 35 0F 08 A5 DB");
    check(answered(spec::COUNT, [3, 0, 3, 0]), "51 2B 03 00 03 00 A5 27");
    check(answered(spec::RECORD_VALUE, glucose_value(104, 1)), "51 26 68 00 00 40 A5 C4");
    let pressure = pressure_value([138, 103, 86], 72);
    check(answered(spec::RECORD_VALUE, pressure), "51 26 8A 00 56 48 A5 44");
}

#[test]
fn dates_are_those_of_the_sheet() {
    let meter = Host::new(0, |_| {}).meter;
    // 2019-08-04 13:37, in China.
    let public = [0x04, 0x27, 0x25, 0x0D];
    assert_eq!(meter.device_time(public).as_deref(), Some("2019-08-04T05:37:00.000Z"));
    assert_eq!(date_time(1_564_925_820_000), public);
    assert_eq!(meter.device_time([0; 4]), None);
}

#[test]
fn the_meter_is_silent_until_it_is_connected_and_its_frames_are_exact() {
    let mut host = Host::new(0, |_| {});
    assert_eq!(host.ask(spec::COUNT, [0; 4]), None);
    host.meter.receive(host.now, &bytes("51 22 00 00 00 00 A3 16"));
    assert_eq!(host.pass(500), bytes("51 22 00 00 00 00 A5 18"));
    host.meter.receive(host.now, &bytes("51 24 00 00 00 00 A3 18"));
    assert_eq!(host.pass(500), bytes("51 24 77 42 00 00 A5 D3"));
    host.meter.receive(host.now, &bytes("51 2B 00 00 00 00 A3 1F"));
    assert_eq!(host.pass(500), bytes("51 2B 00 00 FF FF A5 1F"));
}

#[test]
fn a_record_is_truth_once_it_was_read_and_counted_again() {
    let mut host = Host::new(0, |_| {});
    host.pass(40_000);
    assert_eq!(host.session(), Some(1));
    let truth = host.truth();
    assert_eq!(truth.len(), 1);
    assert_eq!(truth[0].value.as_deref(), Some("50"));
    assert_eq!(truth[0].unit, Some("mg/dL"));
    assert_eq!(truth[0].device_time.as_deref(), Some("2026-11-22T08:15:00.000Z"));
    assert_eq!(host.session(), Some(1));
    assert_eq!(host.truth(), []);
    host.pass(120_000);
    assert_eq!(host.session(), Some(2));
    assert_eq!(host.truth()[0].value.as_deref(), Some("110"));
}

#[test]
fn a_reading_that_shifts_the_indices_is_no_mixture() {
    let mut host = Host::new(0, |_| {});
    host.pass(148_000);
    host.ask(spec::CONNECT, [0; 4]);
    assert_eq!(host.ask(spec::COUNT, [0; 4]), Some([1, 0, 1, 0]));
    assert_eq!(host.ask(spec::RECORD_TIME, [0; 4]), Some([0x76, 0x35, 15, 16]));
    host.pass(1_000);
    assert_eq!(host.ask(spec::RECORD_VALUE, [0; 4]), Some([110, 0, 0, 0x40]));
    assert_eq!(host.ask(spec::COUNT, [0; 4]), Some([2, 0, 2, 0]));
    assert_eq!(host.truth(), [], "the date of one and the value of another");
    assert_eq!(host.session(), Some(2));
    assert_eq!(host.truth().len(), 2);
}

#[test]
fn a_story_without_glucose_is_told_by_a_cuff() {
    let mut host = Host::new(0, |scenario| scenario.glucose.clear());
    host.pass(21_000);
    assert_eq!(host.session(), Some(1));
    assert_eq!(host.ask(spec::MODEL, [0; 4]), Some(spec::CUFF));
    let truth = host.truth();
    let said: Vec<_> = truth.iter().map(|fact| (fact.metric, fact.value.as_deref())).collect();
    assert_eq!(
        said,
        [
            (Some("nibp_sys"), Some("186")),
            (Some("nibp_dia"), Some("112")),
            (Some("pulse_nibp"), Some("84"))
        ]
    );
}

#[test]
fn what_no_meter_measures_is_rejected() {
    let test = |at_s, mg_per_dl| Glucose { at_s, mg_per_dl };
    let mut host = Host::new(0, |scenario| scenario.glucose = vec![test(1, 0), test(62, u16::MAX)]);
    host.pass(70_000);
    assert_eq!(host.session(), Some(2));
    assert!(host.truth().iter().all(|fact| fact.no_data == Some("rejected")));
}

#[test]
fn setting_the_clock_and_clearing_are_recorded_and_not_obeyed() {
    let mut host = Host::new(0, |_| {});
    host.pass(40_000);
    host.ask(spec::CONNECT, [0; 4]);
    let clock = host.ask(spec::SET_CLOCK, [0; 4]);
    assert_eq!(clock, Some([0x76, 0x35, 15, 16]));
    assert_eq!(host.ask(spec::CLEAR_MEMORY, [0; 4]), None);
    let truth = host.truth();
    let forbidden: Vec<_> = truth.iter().filter_map(|fact| fact.forbidden.as_deref()).collect();
    assert_eq!(forbidden, ["set clock", "clear memory"]);
    assert_eq!(host.session(), Some(1));
}

#[test]
fn a_meter_that_was_switched_off_sleeps_until_it_is_connected() {
    let mut host = Host::new(0, |_| {});
    host.ask(spec::CONNECT, [0; 4]);
    assert_eq!(host.ask(spec::POWER_OFF, [0; 4]), Some([0; 4]));
    assert_eq!(host.ask(spec::COUNT, [0; 4]), None);
    assert_eq!(host.session(), Some(0));
}

#[test]
fn a_host_that_asks_again_gets_everything_from_the_rudest_meter() {
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let mut host = Host::new(seed, |_| {});
        host.pass(40_000);
        let read = (0..10).find_map(|_| host.session()).unwrap();
        let truth = host.truth();
        let parts = if host.meter.is_cuff { 3 } else { 1 };
        assert_eq!(truth.len(), read * parts, "seed {seed}");
        seen.insert((read, truth.iter().any(|fact| fact.device_time.is_none())));
    }
    assert!(seen.contains(&(SMALL_MEMORY_MAX, true)), "{seen:?}");
    assert!(seen.contains(&(1, false)), "{seen:?}");
}

#[test]
fn a_full_memory_takes_the_newest_and_says_the_same_count() {
    let full = |seed: &u64| Host::new(*seed, |_| {}).meter.memory_max == SMALL_MEMORY_MAX;
    let mut host = Host::new((0..).find(full).unwrap(), |_| {});
    assert_eq!((0..9).find_map(|_| host.session()), Some(SMALL_MEMORY_MAX));
    host.truth();
    host.pass(40_000);
    assert_eq!((0..9).find_map(|_| host.session()), Some(SMALL_MEMORY_MAX));
    assert!(!host.truth().is_empty());
}

proptest! {
    /// Whatever a host sends, nothing panics and nothing grows without end.
    #[test]
    fn no_bytes_of_a_host_upset_the_meter(
        parts in vec((any::<bool>(), 0x20_u8..0x58, vec(any::<u8>(), 4..20), 0_u64..9_000), 0..60),
        seed in 0_u64..8,
    ) {
        let mut host = Host::new(seed, |_| {});
        for (framed, command, noise, ms) in parts {
            match framed {
                true => {
                    let data = [noise[0] % 4, 0, noise[2], noise[3]];
                    host.ask(command, data);
                }
                false => host.meter.receive(host.now, &noise),
            }
            host.pass(ms);
            prop_assert!(host.meter.input.len() < 8);
            prop_assert!(host.meter.read.len() <= 450);
            prop_assert!(host.meter.memory.len() <= host.meter.memory_max);
            prop_assert!(host.meter.next_due().is_none_or(|due| due > host.now));
        }
    }

    /// Valid frames come out the same however the port happens to cut the bytes.
    #[test]
    fn cutting_does_not_matter(cut in 0_usize..24, seed in 0_u64..8) {
        let frames = [spec::CONNECT, spec::MODEL, spec::COUNT];
        let all = frames.map(|command| encode(command, [0; 4], spec::TO_METER)).concat();
        let heard = |cut: usize| {
            let mut host = Host::new(seed, |_| {});
            let (before, after) = all.split_at(cut);
            host.meter.receive(host.now, before);
            host.meter.receive(host.now, after);
            host.pass(1_500)
        };
        prop_assert_eq!(heard(cut), heard(0));
    }
}
