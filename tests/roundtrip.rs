//! Drivers on virtual devices: what a device said is what the driver emits, however the bytes are
//! cut, and damage on the line never becomes a wrong number.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use drivers::{
    registry::{DriverName, DriverOptions, create},
    serial::{SerialDriver, SerialEvent, SerialOutput},
};
use model::{
    id::DeviceId,
    reading::{Comparator, NoData, Value},
    record::Record,
    time::{ClockQuality, MonoTime, Now, WallTime},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use virtual_devices::{EcgSource, Scenario, Setup, SimTime, StageClock, Truth, VirtualDevice};

const WALL_START_MS: i64 = 1_795_335_300_000;
/// A pump's block of parameters has about 700 bytes.
const LONGEST_FRAME: u32 = 900;

/// Drivers whose device nobody plays yet: they have vectors and no round trip.
const NOT_PLAYED: [DriverName; 2] = [DriverName::Hbp9030, DriverName::Td42xx];

fn played() -> impl Iterator<Item = DriverName> {
    DriverName::ALL.into_iter().filter(|name| !NOT_PLAYED.contains(name))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What happens to bytes on their way from the device.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    /// Cut anywhere.
    Good,
    /// Cut anywhere, and a byte changed now and then: at most one in a frame, which every
    /// checksum of these protocols notices.
    Damaged,
}

/// A reading as both sides can say it: device, channel, metric; value, comparator, unit or reason.
type Series = (String, String, String);
type Said = (Option<String>, Option<String>, Option<String>, Option<String>);

struct Bench {
    device: Box<dyn VirtualDevice>,
    driver: Box<dyn SerialDriver>,
    dice: Dice,
    line: Line,
    ms: u64,
    since_damage: u32,
    truth: Vec<Truth>,
    records: Vec<Record>,
}

impl Bench {
    fn new(name: DriverName, seed: u64, line: Line) -> Self {
        let setup = Setup {
            device: "dev-01".into(),
            seed,
            clock: StageClock { wall_start_ms: WALL_START_MS, utc_offset_s: 28_800 },
            scenario: Scenario::built_in("clinic-day").unwrap(),
            ecg: EcgSource::Synthetic,
        };
        let options = DriverOptions::default();
        let mut bench = Self {
            device: virtual_devices::create(name.name(), setup).unwrap(),
            driver: create(name, DeviceId::new("dev-01").unwrap(), &options, None),
            dice: Dice(seed),
            line,
            ms: 0,
            since_damage: 0,
            truth: vec![],
            records: vec![],
        };
        bench.tell(SerialEvent::Opened);
        bench
    }

    fn now(&self) -> Now {
        Now {
            mono: MonoTime::from_start(Duration::from_millis(self.ms)),
            wall: WallTime::from_unix_ms(WALL_START_MS + i64::try_from(self.ms).unwrap()),
            quality: ClockQuality::Synchronised,
        }
    }

    fn tell(&mut self, event: SerialEvent<'_>) {
        self.driver.handle(self.now(), event);
        while let Some(output) = self.driver.poll_output() {
            match output {
                SerialOutput::Send(bytes) => {
                    self.device.receive(SimTime::from_millis(self.ms), &bytes)
                }
                SerialOutput::Emit(record) => self.records.push(record),
                SerialOutput::Remember(_) | SerialOutput::Note(_) => {}
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.ms + seconds * 1000;
        while self.ms < end {
            self.ms += 4;
            self.device.advance(SimTime::from_millis(self.ms));
            self.step();
        }
    }

    fn step(&mut self) {
        let mut bytes = self.device.take_output();
        self.truth.extend(self.device.take_truth());
        if self.line == Line::Damaged {
            for byte in &mut bytes {
                self.since_damage += 1;
                if self.since_damage > LONGEST_FRAME && self.dice.below(200) == 0 {
                    *byte ^= u8::try_from(1 + self.dice.below(255)).unwrap();
                    self.since_damage = 0;
                }
            }
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let cut = usize::try_from(1 + self.dice.below(24)).unwrap().min(rest.len());
            let (chunk, later) = rest.split_at(cut);
            self.tell(SerialEvent::Received(chunk));
            rest = later;
        }
        let due = self.driver.next_timeout().map(|due| due.since_start());
        if due.is_some_and(|due| due <= Duration::from_millis(self.ms)) {
            self.tell(SerialEvent::TimedOut);
        }
    }

    /// The device is switched off; what is on the line is still read.
    fn finish(&mut self) {
        self.device.switch_off(SimTime::from_millis(self.ms));
        self.run(5);
        self.tell(SerialEvent::Closed);
    }

    fn emitted(&self) -> BTreeMap<Series, Vec<Said>> {
        let mut series: BTreeMap<Series, Vec<Said>> = BTreeMap::new();
        for record in &self.records {
            let Record::Readings(group) = record else { continue };
            for reading in &group.readings {
                // What the driver adds of its own has no truth.
                if reading.value == Err(NoData::Silent) || reading.metric.name() == "clock_offset" {
                    continue;
                }
                let (device, channel) =
                    (group.device.to_string(), group.channel.as_str().to_owned());
                let unit = reading.unit.as_ref().map(ToString::to_string);
                let said = match &reading.value {
                    Ok(Value::Number { number, comparator }) => {
                        let sign = match comparator {
                            Comparator::Equal => None,
                            Comparator::Below => Some("<".to_owned()),
                            Comparator::Above => Some(">".to_owned()),
                        };
                        (Some(number.to_string()), sign, unit, None)
                    }
                    Ok(Value::Text(text)) => (Some(text.clone()), None, None, None),
                    Err(reason) => (None, None, None, Some(reason.name().to_owned())),
                };
                series.entry((device, channel, reading.metric.to_string())).or_default().push(said);
            }
        }
        series
    }

    fn said(&self) -> BTreeMap<Series, Vec<Said>> {
        let mut series: BTreeMap<Series, Vec<Said>> = BTreeMap::new();
        for fact in self.truth.iter().filter(|fact| fact.sha256.is_none()) {
            let Some(metric) = fact.metric else { continue };
            let text = |text: Option<&'static str>| text.map(ToOwned::to_owned);
            let said =
                (fact.value.clone(), text(fact.comparator), text(fact.unit), text(fact.no_data));
            let key = (fact.device.clone(), fact.channel.to_owned(), metric.to_owned());
            series.entry(key).or_default().push(said);
        }
        series
    }
}

#[test]
fn every_reading_of_every_device_comes_through_however_the_bytes_are_cut() {
    for name in played() {
        for seed in 0..4 {
            let mut bench = Bench::new(name, seed, Line::Good);
            bench.run(181);
            bench.finish();
            let (said, emitted) = (bench.said(), bench.emitted());
            assert!(!said.is_empty(), "{name:?} said nothing");
            for (series, said) in &said {
                assert_eq!(emitted.get(series), Some(said), "{name:?} seed {seed} {series:?}");
            }
            let extra: Vec<_> =
                emitted.keys().filter(|series| !said.contains_key(*series)).collect();
            assert!(extra.is_empty(), "{name:?} seed {seed}: nobody said {extra:?}");
        }
    }
}

#[test]
fn a_device_that_is_played_takes_part() {
    for name in NOT_PLAYED {
        let found = virtual_devices::NAMES.iter().any(|(device, _)| *device == name.name());
        assert!(!found, "{name:?} has a virtual device: take it out of NOT_PLAYED");
    }
}

#[test]
fn every_sample_comes_through_in_the_same_blocks() {
    let mut bench = Bench::new(DriverName::Pm6750, 1, Line::Good);
    bench.run(20);
    bench.finish();
    let lengths = |metric: &str| -> Vec<usize> {
        let blocks = bench.records.iter().filter_map(|record| match record {
            Record::Waveform(block) if block.metric.name() == metric => Some(block.samples.len()),
            _ => None,
        });
        blocks.collect()
    };
    for metric in ["ecg_wave_i", "ecg_wave_ii", "ecg_wave_v", "pleth", "resp_wave"] {
        let said = bench
            .truth
            .iter()
            .filter(|fact| fact.metric == Some(metric))
            .filter_map(|fact| fact.samples);
        assert_eq!(lengths(metric), said.collect::<Vec<_>>(), "{metric}");
    }
}

#[test]
fn damage_on_the_line_never_becomes_a_number_nobody_said() {
    for name in played() {
        for seed in 0..6 {
            let mut bench = Bench::new(name, seed, Line::Damaged);
            bench.run(181);
            let said: BTreeMap<Series, BTreeSet<Said>> = bench
                .said()
                .into_iter()
                .map(|(series, said)| (series, said.into_iter().collect()))
                .collect();
            for (series, emitted) in bench.emitted() {
                for reading in emitted {
                    let known = said.get(&series).is_some_and(|said| said.contains(&reading));
                    assert!(known, "{name:?} seed {seed}: nobody said {reading:?} of {series:?}");
                }
            }
        }
    }
}

#[test]
fn no_driver_sends_what_changes_therapy_inflates_deletes_or_calibrates() {
    for name in played() {
        for line in [Line::Good, Line::Damaged] {
            let mut bench = Bench::new(name, 9, line);
            bench.run(400);
            let forbidden: Vec<_> =
                bench.truth.iter().filter_map(|fact| fact.forbidden.clone()).collect();
            assert!(forbidden.is_empty(), "{name:?} sent {forbidden:?}");
        }
    }
}
