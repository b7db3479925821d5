//! Drivers on virtual devices: what a device said is what the driver emits, however the bytes are
//! cut, and damage on the line never becomes a wrong number and hides only what it hit.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use drivers::{
    registry::{DriverName, DriverOptions, create},
    serial::{SerialDriver, SerialEvent, SerialOutput},
};
use model::{
    alarm::AlarmPhase,
    id::DeviceId,
    reading::{NoData, ReadingGroup, Value},
    record::Record,
    time::{ClockQuality, DeviceTime, MonoTime, Now, Uptime, WallTime},
};
use simulators::verify::{
    hits::{Block, judge, judge_waves},
    sha256, unix_ms,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use virtual_devices::{
    Cable, EcgSource, Fault, FaultPlan, Patient, Scenario, Setup, SimTime, StageClock, Truth,
    VirtualDevice,
    scenario::{Cuff, Glucose},
};

const WALL_START_MS: i64 = 1_795_335_300_000;
/// The site's zone, in which the devices' own clocks run.
const OFFSET_S: i32 = 28_800;
/// What is compared: a story of a clinic, and one of everything that goes wrong.
const STORIES: [&str; 2] = ["clinic-day", "faults"];
/// So long a story is played, in seconds: once, and a moment.
const PLAYED_S: u64 = 181;
/// Between two faults of the catalogue.
const FAULT_EVERY_MS: u64 = 8_000;

/// How many bytes one damaged byte may hide: the longest frame that is sent, or that a damaged
/// length may claim (an 8-bit sum fits by chance now and then).
fn reach(name: DriverName) -> u64 {
    match name {
        DriverName::Pm6750 => 257,
        DriverName::Tm2655 => 72,
        DriverName::Ultraeasy => 40,
        // A new record in the middle of a download is read again with all others.
        DriverName::Td42xx => 300,
        DriverName::Asena => 100,
        // A block of a pump's parameters has about 700 bytes. Where nothing is damaged by length, and
        // for devices that are not damaged here, it is more than enough.
        DriverName::Bcc | DriverName::Intellivue | DriverName::Hbp9030 | DriverName::JsonLines => {
            900
        }
    }
}

/// A story in which every device has much to say in three minutes.
fn busy(name: DriverName) -> Scenario {
    let every = |step: usize| (5..175_u64).step_by(step);
    let cuff = |at_s: u64| {
        let more = u8::try_from(at_s / 3).unwrap();
        Cuff { at_s, pressure: [120 + more, 93 + more, 80 + more], pulse: 60 + more }
    };
    let test = |at_s: u64| Glucose { at_s, mg_per_dl: 60 + u16::try_from(at_s).unwrap() };
    let mut story = Scenario::built_in("clinic-day").unwrap();
    // Nobody reads a slow meter out while it measures every few seconds.
    let [cuffs, tests] = if name == DriverName::Td42xx { [10, 10] } else { [3, 4] };
    story.kiosk = every(cuffs).map(cuff).collect();
    story.glucose = every(tests).map(test).collect();
    story
}

/// Protocols without a checksum: a damaged digit is a digit there, and nobody can tell.
const UNCHECKED: [DriverName; 2] = [DriverName::Hbp9030, DriverName::JsonLines];

/// Devices that stamp what they measured with their own clock.
const STAMPING: [DriverName; 5] = [
    DriverName::Tm2655,
    DriverName::Ultraeasy,
    DriverName::Hbp9030,
    DriverName::Td42xx,
    DriverName::JsonLines,
];

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
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    /// Cut anywhere.
    Good,
    /// Cut anywhere, and a byte changed now and then: at most one in a frame, which every
    /// checksum of these protocols notices.
    Damaged,
    /// Cut anywhere, with everything of the catalogue.
    Faulty,
}

/// Device, channel, metric.
type Series = (String, String, String);

/// A reading as both sides can say it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Said {
    value: Option<String>,
    comparator: Option<String>,
    unit: Option<String>,
    no_data: Option<String>,
    /// Milliseconds of UTC by the device's clock.
    device_time_ms: Option<i64>,
}

impl Said {
    /// Results that are stamped come in the order of their stamps; those of one minute, where a
    /// device tells no seconds, in any.
    fn in_time(&self) -> Option<(i64, Option<String>)> {
        self.device_time_ms.map(|ms| (ms, self.value.clone()))
    }

    /// Whether one side's reading is the other's. Why there is no value a monitor says in another
    /// frame, which may have been hit: then it is only known that there is none.
    fn is_told_by(&self, other: &Self) -> bool {
        let absent = |said: &Self| Self { no_data: None, ..said.clone() };
        let without_reason = |said: &Self| said.no_data.as_deref() == Some("not_available");
        let both_absent = self.no_data.is_some() && other.no_data.is_some();
        let one_without_reason = without_reason(self) || without_reason(other);
        self == other || both_absent && one_without_reason && absent(self) == absent(other)
    }
}

/// Of each series, in order.
type Sequences<T> = BTreeMap<Series, Vec<T>>;

struct Bench {
    device: Box<dyn VirtualDevice>,
    driver: Box<dyn SerialDriver>,
    dice: Dice,
    line: Line,
    ms: u64,
    is_unplugged: bool,
    /// Bytes that a damage reaches, since the last one, and how many there were.
    reach: u64,
    since_damage: u64,
    damages: u32,
    truth: Vec<Truth>,
    /// Facts that were said within reach of a damaged byte, by their place in `truth`.
    hit: Vec<bool>,
    records: Vec<Record>,
}

impl Bench {
    fn new(name: DriverName, seed: u64, line: Line, scenario: Scenario) -> Self {
        let setup = Setup {
            device: "dev-01".into(),
            seed,
            clock: StageClock { wall_start_ms: WALL_START_MS, utc_offset_s: OFFSET_S },
            patient: Patient::new(seed, scenario, EcgSource::Synthetic),
        };
        // A meter is asked often enough to be worth damaging.
        let is_meter = [DriverName::Ultraeasy, DriverName::Td42xx].contains(&name);
        let poll_interval = is_meter.then_some(Duration::from_secs(2));
        // Every other source of lines is told what is on disk, and says again what is not.
        let acknowledge = name == DriverName::JsonLines && !seed.is_multiple_of(2);
        let options = DriverOptions { poll_interval, acknowledge, ..DriverOptions::default() };
        let device = virtual_devices::create(name.name(), setup.clone()).unwrap();
        let every_ms = FAULT_EVERY_MS;
        let plan = FaultPlan { seed, every_ms, until: Some(SimTime::from_millis(PLAYED_S * 1000)) };
        let mut bench = Self {
            device: match line {
                Line::Faulty => Box::new(Cable::new(device, name.name(), &setup, Some(plan))),
                Line::Good | Line::Damaged => device,
            },
            driver: create(name, DeviceId::new("dev-01").unwrap(), &options, None),
            dice: Dice(seed),
            line,
            ms: 0,
            is_unplugged: false,
            reach: reach(name),
            since_damage: 0,
            damages: 0,
            truth: vec![],
            hit: vec![],
            records: vec![],
        };
        bench.tell(SerialEvent::Opened);
        bench
    }

    fn now(&self) -> Now {
        Now {
            mono: MonoTime::from_start(Duration::from_millis(self.ms)),
            uptime: Uptime::default(),
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
            match std::mem::replace(&mut self.is_unplugged, self.device.is_unplugged()) {
                false if self.is_unplugged => self.tell(SerialEvent::Closed),
                true if !self.is_unplugged => self.tell(SerialEvent::Opened),
                _ => {}
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let mut bytes = self.device.take_output();
        let mut hit = false;
        for byte in &mut bytes {
            self.since_damage += 1;
            let may = self.line == Line::Damaged && self.since_damage > self.reach;
            if may && self.dice.below(self.reach) == 0 {
                *byte ^= u8::try_from(1 + self.dice.below(255)).unwrap();
                self.since_damage = 0;
                self.damages += 1;
            }
            hit |= self.damages > 0 && self.since_damage <= self.reach;
        }
        for fact in self.device.take_truth() {
            self.hit.push(hit || fact.faulted.is_some());
            self.truth.push(fact);
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let cut = usize::try_from(1 + self.dice.below(24)).unwrap().min(rest.len());
            let (chunk, later) = rest.split_at(cut);
            self.tell(SerialEvent::Received(chunk));
            rest = later;
        }
        if self.is_unplugged {
            return;
        }
        // The disk is quicker than the line.
        self.tell(SerialEvent::Committed);
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

    fn emitted(&self) -> Sequences<Said> {
        emitted(self.groups())
    }

    /// Without the copies that the county marks: a driver that finds its device again may say again
    /// what the device keeps.
    fn emitted_once(&self) -> Sequences<Said> {
        let mut known = BTreeSet::new();
        let is_new = |group: &&ReadingGroup| {
            let identity = group.identity();
            identity.is_none_or(|identity| known.insert((group.device.clone(), identity)))
        };
        emitted(self.groups().filter(is_new))
    }

    fn groups(&self) -> impl Iterator<Item = &ReadingGroup> {
        self.records.iter().filter_map(|record| match record {
            Record::Readings(group) => Some(group),
            _ => None,
        })
    }

    /// What the device said, and whether damage may hide it. A meter is read newest first, and its
    /// results are taken over oldest first.
    fn said(&self) -> Sequences<(Said, bool)> {
        let mut series: Sequences<(Said, bool)> = BTreeMap::new();
        for (fact, hit) in self.truth.iter().zip(&self.hit) {
            let Some(metric) = fact.metric.filter(|_| fact.sha256.is_none()) else { continue };
            let text = |text: Option<&'static str>| text.map(ToOwned::to_owned);
            let said = Said {
                value: fact.value.clone(),
                comparator: text(fact.comparator),
                unit: text(fact.unit),
                no_data: text(fact.no_data),
                device_time_ms: fact.device_time.as_deref().map(|text| unix_ms(text).unwrap()),
            };
            let key = (fact.device.clone(), fact.channel.to_owned(), metric.to_owned());
            series.entry(key).or_default().push((said, *hit));
        }
        for said in series.values_mut() {
            said.sort_by_key(|(said, _)| said.in_time());
        }
        series
    }

    /// Begin and end of every alarm, by device, channel and code: as said and as emitted.
    fn alarms(&self) -> [Sequences<&'static str>; 2] {
        let mut alarms = [BTreeMap::new(), BTreeMap::new()];
        let [said, emitted] = &mut alarms;
        for fact in &self.truth {
            let (Some(code), Some(phase)) = (&fact.alarm, fact.phase) else { continue };
            let key = (fact.device.clone(), fact.channel.to_owned(), code.clone());
            said.entry(key).or_insert_with(Vec::new).push(phase);
        }
        for record in &self.records {
            let Record::Alarm(alarm) = record else { continue };
            let channel = alarm.channel.as_str().to_owned();
            let key = (alarm.device.to_string(), channel, alarm.code.clone());
            let phases: &mut Vec<_> = emitted.entry(key).or_insert_with(Vec::new);
            match alarm.phase {
                AlarmPhase::Update => {}
                phase => phases.push(phase.name()),
            }
        }
        alarms
    }

    /// Length and hash of every block, by metric: as said and as emitted.
    fn blocks(&self) -> [Sequences<(usize, String)>; 2] {
        let mut blocks = [BTreeMap::new(), BTreeMap::new()];
        let [said, emitted] = &mut blocks;
        for fact in &self.truth {
            if let (Some(metric), Some(samples), Some(hash)) =
                (fact.metric, fact.samples, &fact.sha256)
            {
                let key = (fact.device.clone(), String::new(), metric.to_owned());
                said.entry(key).or_insert_with(Vec::new).push((samples, hash.clone()));
            }
        }
        for record in &self.records {
            let Record::Waveform(block) = record else { continue };
            let key = (block.device.to_string(), String::new(), block.metric.to_string());
            let block = (block.samples.len(), sha256(&block.samples));
            emitted.entry(key).or_insert_with(Vec::new).push(block);
        }
        blocks
    }

    /// Whether no sample is emitted that nobody said there, and what was not hit is emitted.
    fn assert_samples_told(&self, about: &str) {
        let mut said: BTreeMap<&str, Vec<Block<'_>>> = BTreeMap::new();
        for (fact, hit) in self.truth.iter().zip(&self.hit) {
            let Some(metric) = fact.metric.filter(|_| fact.sha256.is_some()) else { continue };
            let (end_ms, samples) = (unix_ms(&fact.t).unwrap(), fact.wave.as_slice());
            said.entry(metric).or_default().push(Block { end_ms, samples, is_hit: *hit });
        }
        let mut emitted: BTreeMap<&str, Vec<(i64, &[i32])>> = BTreeMap::new();
        for record in &self.records {
            let Record::Waveform(block) = record else { continue };
            let block = (block.metric.name(), block.start.at.unix_ms(), block.samples.as_slice());
            emitted.entry(block.0).or_default().push((block.1, block.2));
        }
        for (metric, said) in said {
            let judged = judge_waves(&said, &emitted.remove(metric).unwrap_or_default());
            let lost = judged.lost.first().and_then(|place| said.get(*place));
            assert!(lost.is_none(), "{about}: lost of {metric}: {lost:?}");
            let invented = judged.invented.first();
            assert_eq!(invented, None, "{about}: a block of {metric} that nobody said");
        }
        assert_eq!(emitted.keys().next(), None, "{about}: nobody said anything of it");
    }
}

/// Readings of these groups, by series.
fn emitted<'a>(groups: impl Iterator<Item = &'a ReadingGroup>) -> Sequences<Said> {
    let mut series: Sequences<Said> = BTreeMap::new();
    for group in groups {
        let device_time_ms = group.device_time.map(|time| match time {
            DeviceTime::Local { civil_ms } => civil_ms - i64::from(OFFSET_S) * 1000,
            DeviceTime::Zoned { .. } => time.utc().unwrap().unix_ms(),
        });
        for reading in &group.readings {
            // What the driver adds of its own has no truth.
            if reading.value == Err(NoData::Silent) || reading.metric.name() == "clock_offset" {
                continue;
            }
            let unit = reading.unit.as_ref().map(ToString::to_string);
            let (value, comparator, unit, no_data) = match &reading.value {
                Ok(Value::Number { number, comparator }) => {
                    let sign = comparator.sign().map(str::to_owned);
                    (Some(number.to_string()), sign, unit, None)
                }
                Ok(Value::Text(text)) => (Some(text.clone()), None, None, None),
                Err(reason) => (None, None, None, Some(reason.name().to_owned())),
            };
            let said = Said { value, comparator, unit, no_data, device_time_ms };
            let (device, channel) = (group.device.to_string(), group.channel.as_str());
            let key = (device, channel.to_owned(), reading.metric.to_string());
            series.entry(key).or_default().push(said);
        }
    }
    series
}

/// The first place where two sequences of two sides differ, and what each has there.
fn first_difference<'a, T: PartialEq>(
    said: &'a [T],
    emitted: &'a [T],
) -> Option<(usize, Option<&'a T>, Option<&'a T>)> {
    (0..said.len().max(emitted.len()))
        .map(|place| (place, said.get(place), emitted.get(place)))
        .find(|(_, said, emitted)| said != emitted)
}

/// Of all series, the first that differs, and where: place, said, emitted.
#[track_caller]
fn assert_same<T: PartialEq + std::fmt::Debug>(
    said: &Sequences<T>,
    emitted: &Sequences<T>,
    about: &str,
) {
    for series in said.keys().chain(emitted.keys()) {
        let [said, emitted] =
            [said, emitted].map(|side| side.get(series).map_or(&[][..], |all| all));
        let different = first_difference(said, emitted);
        assert!(different.is_none(), "{about} {series:?}: {different:?}");
    }
}

/// Whether nothing is emitted that nobody said, copies aside, and what was not hit is emitted.
#[track_caller]
fn assert_told(
    said: &Sequences<(Said, bool)>,
    mut emitted: Sequences<Said>,
    mut once: Sequences<Said>,
    about: &str,
) {
    for (series, said) in said {
        let [emitted, once] = [&mut emitted, &mut once].map(|emitted| {
            let mut emitted = emitted.remove(series).unwrap_or_default();
            // A download that broke off brings the rest later.
            emitted.sort_by_key(Said::in_time);
            emitted
        });
        let judged = |emitted: &[Said]| {
            judge(said, emitted, |(_, hit)| *hit, |(said, _), emitted| said.is_told_by(emitted))
        };
        let invented = judged(&once).invented.first().and_then(|place| once.get(*place));
        assert_eq!(invented, None, "{about}: nobody said that of {series:?}");
        let lost = judged(&emitted).lost.first().and_then(|place| said.get(*place));
        assert_eq!(lost, None, "{about}: lost of {series:?}");
    }
    let invented = emitted.keys().next();
    assert_eq!(invented, None, "{about}: nobody said anything of it");
}

#[test]
fn every_reading_and_alarm_of_every_device_comes_through_however_the_bytes_are_cut() {
    let plays = STORIES.iter().flat_map(|story| DriverName::ALL.map(|name| (*story, name)));
    for (story, name) in plays {
        for seed in 0..4 {
            check_comes_through(name, seed, Scenario::built_in(story).unwrap(), story);
        }
    }
}

/// Three minutes of the story: every reading and every alarm, once and in order.
#[track_caller]
fn check_comes_through(name: DriverName, seed: u64, scenario: Scenario, story: &str) {
    let mut bench = Bench::new(name, seed, Line::Good, scenario);
    bench.run(181);
    bench.finish();
    let about = format!("{name:?} in {story}, seed {seed}");
    let (said, mut emitted) = (bench.said(), bench.emitted());
    for emitted in emitted.values_mut() {
        // Only a clock that was reset says an earlier time after a later one.
        let polite = seed < 2;
        let stamps = || emitted.iter().filter_map(|said| said.device_time_ms);
        assert!(!polite || stamps().is_sorted(), "{about}: out of order");
        emitted.sort_by_key(Said::in_time);
    }
    assert!(!said.is_empty(), "{about} said nothing");
    let said = said.into_iter().map(|(series, said)| {
        // Whether the rest was heard, the device does not know either.
        let heard = said.into_iter().filter(|(_, hit)| !hit);
        (series, heard.map(|(said, _)| said).collect::<Vec<_>>())
    });
    assert_same(&said.collect(), &emitted, &about);
    let [said, emitted] = bench.alarms();
    assert_same(&said, &emitted, &format!("{about}: alarms"));
}

/// Rates, a bolus, a stop, the end of a syringe and a new one, on both kinds of pumps.
#[test]
fn what_a_pump_is_programmed_to_comes_through() {
    let story = r#"
        about = { zh = "泵", en = "a pump" }
        length = "00:03:00"
        [infusion]
        drug = { zh = "去甲肾上腺素", en = "NORADRENALINE" }
        syringe = 2.0
        rate = 6.0
        [[event]]
        at = "00:00:30"
        pump = { rate = 12.0 }
        [[event]]
        at = "00:00:40"
        pump = { bolus = 0.5 }
        over = "00:00:06"
        [[event]]
        at = "00:01:00"
        pump = { rate = 0 }
        [[event]]
        at = "00:01:15"
        pump = { rate = 120 }
        [[event]]
        at = "00:02:20"
        pump = { syringe = 50 }
    "#;
    for name in [DriverName::Asena, DriverName::Bcc] {
        for seed in 0..8 {
            let scenario = Scenario::parse(story).unwrap();
            check_comes_through(name, seed, scenario, "a programme");
        }
    }
}

#[test]
fn every_sample_comes_through_in_the_same_blocks() {
    // Seven leads, pleth and respiration once a second; what a monitor's line has room for, four
    // times a second.
    let plays = [(DriverName::Pm6750, 9, 99), (DriverName::Intellivue, 3, 360)];
    for (story, (name, waves, blocks_min)) in
        STORIES.iter().flat_map(|story| plays.map(|play| (*story, play)))
    {
        let mut bench = Bench::new(name, 1, Line::Good, Scenario::built_in(story).unwrap());
        bench.run(100);
        bench.finish();
        let about = format!("{name:?} in {story}");
        let [said, emitted] = bench.blocks();
        let counts: Vec<_> = said.values().map(Vec::len).collect();
        let enough = counts.iter().all(|&count| count >= blocks_min);
        assert!(counts.len() == waves && enough, "{about}: {counts:?} blocks");
        assert_same(&said, &emitted, &about);
    }
}

/// Emitted is part of what was said, and what was said on an undamaged line is part of what was
/// emitted, both in order: nothing is invented, and nothing is hidden but by damage.
#[test]
fn damage_on_the_line_never_becomes_a_number_nobody_said_and_hides_only_what_it_hit() {
    let checked = DriverName::ALL.into_iter().filter(|name| !UNCHECKED.contains(name));
    for name in checked {
        for seed in 0..6 {
            let mut bench = Bench::new(name, seed, Line::Damaged, busy(name));
            bench.run(181);
            assert!(bench.damages >= 3, "{name:?} seed {seed}: {} damages", bench.damages);
            // What asks again gets what is left.
            bench.line = Line::Good;
            bench.run(60);
            bench.finish();
            let about = format!("{name:?} seed {seed}");
            let said = bench.said();
            let spared = said.values().flatten().filter(|(_, hit)| !hit).count();
            assert!(spared >= 8, "{about}: damage may hide nearly everything");
            assert_told(&said, bench.emitted(), bench.emitted(), &about);
            if name == DriverName::Ultraeasy {
                let tests: usize = said.values().map(Vec::len).sum();
                assert!(tests >= busy(name).glucose.len(), "{about}: read {tests} of the meter");
            }
        }
    }
}

/// The same with everything of the catalogue: what no fault has hit arrives as it was said, and
/// nothing arrives that nobody said.
#[test]
fn faults_never_become_a_number_nobody_said_and_hide_only_what_they_hit() {
    for name in DriverName::ALL {
        let (mut all, mut spared) = (0, 0);
        let mut happened: BTreeMap<&str, usize> = BTreeMap::new();
        for seed in 0..6 {
            let mut bench = Bench::new(name, seed, Line::Faulty, busy(name));
            // Behind the last fault, what asks again gets what is left.
            bench.run(PLAYED_S + 60);
            bench.finish();
            let about = format!("{name:?} seed {seed}");
            for fault in bench.truth.iter().filter_map(|fact| fact.fault) {
                *happened.entry(fault).or_default() += 1;
            }
            let said = bench.said();
            assert_told(&said, bench.emitted(), bench.emitted_once(), &about);
            bench.assert_samples_told(&about);
            all += said.values().flatten().count();
            spared += said.values().flatten().filter(|(_, hit)| !hit).count();
        }
        assert!(spared * 4 >= all, "{name:?}: of {all} readings only {spared} must arrive");
        let has_clock = happened.contains_key(Fault::ClockJump.name());
        assert_eq!(has_clock, STAMPING.contains(&name), "{name:?}: {happened:?}");
        for fault in Fault::ALL.into_iter().filter(|fault| has_clock || *fault != Fault::ClockJump)
        {
            let count = happened.get(fault.name()).copied().unwrap_or_default();
            assert!(count >= 12, "{name:?}: {fault:?} happened {count} times");
        }
    }
}

#[test]
fn no_driver_sends_what_changes_therapy_inflates_deletes_or_calibrates() {
    for name in DriverName::ALL {
        for line in [Line::Good, Line::Damaged] {
            let mut bench = Bench::new(name, 9, line, busy(name));
            bench.run(400);
            let forbidden: Vec<_> =
                bench.truth.iter().filter_map(|fact| fact.forbidden.clone()).collect();
            assert_eq!(forbidden.first(), None, "{name:?} on a line that is {line:?}");
        }
    }
}
