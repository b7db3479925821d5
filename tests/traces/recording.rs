//! Makes traces: a virtual device, or the vectors of one whose vectors name a person, and the real
//! driver, on a clock that stands still between steps.

use drivers::{
    redaction::Said,
    registry::{DriverName, DriverOptions, create, redactor},
    serial::{SerialDriver, SerialEvent, SerialOutput},
};
use model::{
    id::DeviceId,
    record::Record,
    time::{ClockQuality, MonoTime, Now, Uptime, WallTime},
};
use std::{collections::VecDeque, fs, path::Path, time::Duration};
use trace::{Entry, Event, Head};
use virtual_devices::{EcgSource, Patient, Scenario, Setup, SimTime, StageClock, VirtualDevice};

/// 2026-11-22 08:15 UTC.
const WALL_START_MS: i64 = 1_795_335_300_000;
const STARTED: &str = "2026-11-22T08:15:00.000Z";
const ZONE_OFFSET_S: i32 = 28_800;
/// How often device and driver are looked at.
const STEP_MS: u64 = 4;
/// Bytes that a port hands over at once.
const CHUNK: usize = 64;

/// What was recorded, and what the driver made of it.
pub(crate) struct Recording {
    pub(crate) raw: String,
    /// As it is kept.
    pub(crate) kept: String,
    pub(crate) records: Vec<Record>,
}

/// How long a driver is recorded: until its device has said all that it says now and then.
fn duration_s(driver: DriverName) -> u64 {
    match driver {
        // They stream: a second has 1 to 4 kB.
        DriverName::Pm6750 | DriverName::Intellivue => 6,
        DriverName::Bcc => 16,
        DriverName::Tm2655 | DriverName::Ultraeasy => 181,
        _ => 12,
    }
}

/// What plays the device.
enum Source {
    Virtual(Box<dyn VirtualDevice>),
    Script(Script),
}

/// Frames at their time, in milliseconds.
struct Script(VecDeque<(u64, Vec<u8>)>);

impl Source {
    fn receive(&mut self, ms: u64, bytes: &[u8]) {
        match self {
            Self::Virtual(device) => device.receive(SimTime::from_millis(ms), bytes),
            Self::Script(_) => {}
        }
    }

    fn output(&mut self, ms: u64) -> Vec<u8> {
        match self {
            Self::Virtual(device) => {
                device.advance(SimTime::from_millis(ms));
                device.take_output()
            }
            Self::Script(Script(frames)) => {
                let mut due = Vec::new();
                while let Some((_, bytes)) = frames.pop_front_if(|(at, _)| *at <= ms) {
                    due.extend(bytes);
                }
                due
            }
        }
    }
}

fn source(name: DriverName) -> Source {
    let setup = Setup {
        device: device(name),
        seed: 1,
        clock: StageClock { wall_start_ms: WALL_START_MS, utc_offset_s: ZONE_OFFSET_S },
        patient: Patient::new(1, Scenario::built_in("clinic-day").unwrap(), EcgSource::Synthetic),
    };
    match name {
        // Their vectors name a person, or may: that must not be kept.
        DriverName::Hbp9030 | DriverName::JsonLines => Source::Script(script(name)),
        _ => Source::Virtual(virtual_devices::create(name.name(), setup).unwrap()),
    }
}

fn device(name: DriverName) -> String {
    format!("{}-01", name.name())
}

/// All that the vectors say in the device's name, half a second apart.
fn script(name: DriverName) -> Script {
    let frames = vectors_of_the_device(name);
    let mut frames: VecDeque<_> = (1..).map(|place: u64| place * 500).zip(frames).collect();
    if name == DriverName::JsonLines {
        let line = r#"{"metric":"rr","value":16,"unit":"/min","context":{"patient":"WANG-31"}}"#;
        frames.push_front((200, format!("{line}\n").into_bytes()));
    }
    Script(frames)
}

fn vectors_of_the_device(name: DriverName) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name.name());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let table: toml::Table =
            fs::read_to_string(entry.unwrap().path()).unwrap().parse().unwrap();
        let vectors = table["vector"].as_array().unwrap().iter();
        let device = vectors.filter(|vector| vector["from"].as_str() == Some("device"));
        found.extend(device.map(|vector| bytes_of(vector["bytes"].as_str().unwrap())));
    }
    found
}

fn bytes_of(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

struct Bench {
    source: Source,
    driver: Box<dyn SerialDriver>,
    ms: u64,
    records: Vec<Record>,
    entries: Vec<Entry>,
}

impl Bench {
    fn tell(&mut self, event: SerialEvent<'_>) {
        let at = Duration::from_millis(self.ms);
        let now = Now {
            mono: MonoTime::from_start(at),
            uptime: Uptime::default(),
            wall: WallTime::from_unix_ms(WALL_START_MS + i64::try_from(self.ms).unwrap()),
            quality: ClockQuality::Synchronised,
        };
        let recorded = match event {
            SerialEvent::Opened => Some(Event::Opened),
            SerialEvent::Received(bytes) => Some(Event::Received(bytes.to_vec())),
            SerialEvent::Closed => Some(Event::Closed),
            SerialEvent::TimedOut | SerialEvent::Committed => None,
        };
        self.entries.extend(recorded.map(|event| Entry { at, event }));
        self.driver.handle(now, event);
        while let Some(output) = self.driver.poll_output() {
            match output {
                SerialOutput::Send(bytes) => {
                    self.source.receive(self.ms, &bytes);
                    self.entries.push(Entry { at, event: Event::Sent(bytes) });
                }
                SerialOutput::Emit(record) => self.records.push(record),
                SerialOutput::Remember(_) | SerialOutput::Note(_) => {}
            }
        }
    }

    fn step(&mut self) {
        self.ms += STEP_MS;
        for chunk in self.source.output(self.ms).chunks(CHUNK) {
            self.tell(SerialEvent::Received(chunk));
        }
        self.tell(SerialEvent::Committed);
        let due = self.driver.next_timeout().map(|due| due.since_start());
        if due.is_some_and(|due| due <= Duration::from_millis(self.ms)) {
            self.tell(SerialEvent::TimedOut);
        }
    }
}

/// Records the driver on its device.
pub(crate) fn record(name: DriverName) -> Recording {
    record_for(name, duration_s(name), |entries| entries)
}

/// Records the driver on its device for so long; `cut` takes out what is not kept.
pub(crate) fn record_for(
    name: DriverName,
    seconds: u64,
    cut: impl Fn(Vec<Entry>) -> Vec<Entry>,
) -> Recording {
    let options = DriverOptions { zone_offset_s: Some(ZONE_OFFSET_S), ..Default::default() };
    let mut bench = Bench {
        source: source(name),
        driver: create(name, DeviceId::new(&device(name)).unwrap(), &options, None),
        ms: 0,
        records: vec![],
        entries: vec![],
    };
    bench.tell(SerialEvent::Opened);
    for _ in 0..seconds * 1000 / STEP_MS {
        bench.step();
    }
    bench.tell(SerialEvent::Closed);
    let settings = name.port_settings();
    let mut head = Head::default()
        .with("device", &device(name))
        .with("driver", name.name())
        .with(
            "settings",
            &format!("{} {}N{}", settings.baud, settings.data_bits, settings.stop_bits),
        )
        .with("started", STARTED);
    for (option, text) in options.recorded() {
        head = head.with(option, &text);
    }
    let lines = |entries: &[Entry]| entries.iter().map(Entry::lines).collect::<String>();
    let raw = head.lines() + &lines(&bench.entries);
    let kept = head.lines() + &lines(&kept(name, &cut(bench.entries)));
    Recording { raw, kept, records: bench.records }
}

/// What may be kept of the entries, as a recorder does it.
fn kept(name: DriverName, entries: &[Entry]) -> Vec<Entry> {
    let (mut redactor, mut kept) = (redactor(name), Vec::new());
    for Entry { at, event } in entries {
        match event {
            Event::Received(bytes) => redactor.received(*at, bytes),
            Event::Sent(bytes) => redactor.sent(*at, bytes),
            Event::Opened | Event::Closed | Event::Gap => redactor.end(),
        }
        while let Some((at, said)) = redactor.next() {
            let event = match said {
                Said::Received(bytes) => Event::Received(bytes),
                Said::Sent(bytes) => Event::Sent(bytes),
            };
            kept.push(Entry { at, event });
        }
        if let Event::Opened | Event::Closed | Event::Gap = event {
            kept.push(Entry { at: *at, event: event.clone() });
        }
    }
    kept
}
