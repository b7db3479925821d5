//! The recorder on real files, without its thread.

use super::*;
use crate::config;
use drivers::serial::{LinkNote, SerialOutput};
use model::time::{ClockQuality, Uptime, WallTime};
use std::{fs, path::PathBuf};
use tempfile::TempDir;
use trace::{Entry, Event, Head, Reader};

/// 2026-11-22T08:15:00Z.
const WALL_START_MS: i64 = 1_795_335_300_000;
const CONFIG: &str = r#"
site = "heping-01"
data_dir = "data"
[uplink]
broker = "localhost:8883"
ca = "ca.crt"
cert = "a.crt"
key = "a.key"
[[device]]
id = "glu-01"
driver = "ultraeasy"
port = "/dev/ttyUSB0"
[[device]]
id = "bp-01"
driver = "hbp9030"
port = "/dev/ttyUSB1"
"#;

struct Bench {
    folder: TempDir,
    studio: Studio,
}

fn bench(trace: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{CONFIG}[trace]\n{trace}\n");
    let config = config::parse(&text, folder.path()).unwrap();
    let wake = Arc::new(Notify::new());
    let studio = Studio::new(folder.path(), config.trace, &config.devices, &wake);
    Bench { folder, studio }
}

fn now(s: u64) -> Now {
    Now {
        mono: MonoTime::from_start(Duration::from_secs(s)),
        uptime: Uptime::default(),
        wall: WallTime::from_unix_ms(WALL_START_MS + i64::try_from(s).unwrap() * 1000),
        quality: ClockQuality::Synchronised,
    }
}

impl Bench {
    fn happens(&self, link: usize, s: u64, happened: Happened<'_>) {
        self.studio.links[link].tape.happened(now(s).mono, happened);
    }

    /// The driver cannot read something.
    fn fails(&self, link: usize, s: u64) {
        let note = LinkNote { kind: "checksum", text: "WANG".to_owned() };
        self.studio.links[link].tape.told(now(s).mono, &SerialOutput::Note(note));
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.folder.path().join("traces")) else { return vec![] };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn read(path: &PathBuf) -> (Head, Vec<Entry>) {
    let mut reader = Reader::default();
    let text = fs::read_to_string(path).unwrap();
    let entries = text.lines().filter_map(|line| reader.take(line).unwrap()).collect();
    (reader.head().clone(), entries)
}

fn entry(s: u64, event: Event) -> Entry {
    Entry { at: Duration::from_secs(s), event }
}

#[test]
fn around_a_failure_what_came_before_and_after_is_kept() {
    let mut bench = bench("");
    bench.happens(0, 90, Happened::Opened);
    bench.happens(0, 100, Happened::Sent(b"?"));
    bench.happens(0, 101, Happened::Received(b"12"));
    bench.fails(0, 102);
    bench.studio.look(now(102));
    bench.happens(0, 150, Happened::Received(b"34"));
    bench.studio.look(now(161));
    assert!(bench.studio.is_recording());
    bench.studio.look(now(162));
    assert!(!bench.studio.is_recording(), "60 s are over");
    bench.happens(0, 163, Happened::Received(b"56"));
    bench.studio.look(now(163));

    let files = bench.files();
    assert!(files[0].ends_with("glu-01-20261122T081642Z.trace"), "{files:?}");
    let (head, entries) = read(&files[0]);
    assert_eq!(head.get("device"), Some("glu-01"));
    assert_eq!(head.get("driver"), Some("ultraeasy"));
    assert_eq!(head.get("settings"), Some("9600 8N1"));
    assert_eq!(head.get("started"), Some("2026-11-22T08:16:30.000Z"));
    assert_eq!(head.get("kept"), Some("failure checksum"));
    let expect = [
        entry(0, Event::Opened),
        entry(10, Event::Sent(b"?".to_vec())),
        entry(11, Event::Received(b"12".to_vec())),
        entry(60, Event::Received(b"34".to_vec())),
    ];
    assert_eq!(entries, expect);
}

#[test]
fn what_a_link_said_first_is_kept_before_the_last_minutes() {
    let mut bench = bench("ring_bytes = 16384");
    bench.happens(0, 10, Happened::Opened);
    bench.happens(0, 11, Happened::Sent(b"who"));
    for s in 12..2000 {
        bench.happens(0, s, Happened::Received(&[7; 100]));
    }
    bench.fails(0, 2000);
    bench.studio.look(now(2000));
    let (head, entries) = read(&bench.files()[0]);
    assert_eq!(head.get("started"), Some("2026-11-22T08:15:10.000Z"));
    let who = entry(1, Event::Sent(b"who".to_vec()));
    assert_eq!(entries[..2], [entry(0, Event::Opened), who]);
    let gap = entries.iter().position(|entry| entry.event == Event::Gap).unwrap();
    let [before, missing, after] = &entries[gap - 1..=gap + 1] else { panic!("{entries:?}") };
    assert!(before.at < Duration::from_secs(150), "{before:?}");
    assert_eq!((missing.at, after.at > Duration::from_secs(1800)), (after.at, true));
    assert_eq!(entries.last().unwrap().at, Duration::from_secs(1989));
    let seconds = |part: &[Entry]| part.last().unwrap().at - part[0].at;
    let whole =
        |part: &[Entry]| usize::try_from(seconds(part).as_secs()).unwrap() + 1 == part.len();
    assert!(whole(&entries[..gap]) && whole(&entries[gap + 1..]), "{entries:?}");
}

#[test]
fn a_device_is_kept_once_in_ten_minutes() {
    let mut bench = bench("");
    for (s, files) in [(100, 1), (200, 1), (699, 1), (700, 2), (701, 2)] {
        bench.happens(0, s, Happened::Received(b"1"));
        bench.fails(0, s);
        bench.studio.look(now(s));
        assert_eq!(bench.files().len(), files, "{s} s");
    }
    bench.fails(1, 701);
    bench.studio.look(now(701));
    assert_eq!(bench.files().len(), 3, "another device has its own ten minutes");
}

#[test]
fn what_is_kept_stays_within_its_limit_and_what_was_asked_for_stays() {
    let mut bench = bench("keep_bytes = 5000");
    assert!(bench.studio.obey(Order::Start, "glu-01", now(0)).done);
    for round in 1..5 {
        bench.happens(0, round * 1000, Happened::Opened);
        bench.happens(0, round * 1000, Happened::Received(&[0; 700]));
        bench.fails(0, round * 1000 + 6);
        bench.studio.look(now(round * 1000 + 6));
        bench.studio.look(now(round * 1000 + 70));
    }
    let files = bench.files();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str()).collect();
    assert!(names[0].unwrap().ends_with("-asked.trace"), "{names:?}");
    let bytes: u64 = files[1..].iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(files.len() == 3 && bytes <= 5000, "the two newest: {names:?}, {bytes}");
}

#[test]
fn where_nothing_may_be_kept_nothing_is() {
    let mut bench = bench("keep_bytes = 0");
    bench.happens(0, 100, Happened::Received(b"1"));
    bench.fails(0, 100);
    bench.studio.look(now(100));
    assert!(bench.files().is_empty());
}

#[test]
fn nothing_of_a_patient_is_written() {
    let mut bench = bench("");
    assert!(bench.studio.obey(Order::Start, "bp-01", now(0)).done);
    bench.happens(1, 1, Happened::Opened);
    bench.happens(1, 7, Happened::Received(b"WANG-31,no good line\r\n"));
    bench.fails(1, 7);
    bench.studio.look(now(7));
    bench.happens(1, 8, Happened::Received(b"WANG-"));
    bench.studio.end();
    let files = bench.files();
    assert_eq!(files.len(), 2);
    for path in files {
        let (_, entries) = read(&path);
        let bytes: usize = entries
            .iter()
            .map(|entry| match &entry.event {
                Event::Received(bytes) => {
                    assert!(!bytes.windows(3).any(|part| part == b"WAN"), "{bytes:?}");
                    bytes.len()
                }
                _ => 0,
            })
            .sum();
        assert_eq!(bytes, 27, "hidden, not left out");
        assert!(!fs::read_to_string(&path).unwrap().contains("WANG"), "the note's text");
    }
}

#[test]
fn a_trace_on_command_begins_with_the_opening_and_ends_on_command() {
    let mut bench = bench("");
    bench.happens(0, 1, Happened::Opened);
    bench.happens(0, 2, Happened::Received(b"before"));
    let started = bench.studio.obey(Order::Start, "glu-01", now(3));
    assert!(started.done && started.said.contains("trace stop glu-01"), "{started:?}");
    let again = bench.studio.obey(Order::Start, "glu-01", now(3));
    assert!(!again.done && again.said.contains("already"), "{again:?}");
    bench.happens(0, 4, Happened::Received(b"of the old session"));
    bench.happens(0, 4, Happened::Closed);
    bench.happens(0, 4, Happened::Opened);
    bench.happens(0, 5, Happened::Sent(b"hello"));
    let stopped = bench.studio.obey(Order::Stop, "glu-01", now(6));
    assert!(stopped.done && stopped.said.starts_with("2 events"), "{stopped:?}");
    let (head, entries) = read(&bench.files()[0]);
    assert_eq!((head.get("started"), head.get("kept")), (Some("2026-11-22T08:15:03.000Z"), None));
    assert_eq!(entries, [entry(1, Event::Opened), entry(2, Event::Sent(b"hello".to_vec()))]);
    let stopped = bench.studio.obey(Order::Stop, "glu-01", now(7));
    assert!(!stopped.done && stopped.said.contains("trace start glu-01"), "{stopped:?}");
    assert!(!bench.studio.obey(Order::Start, "ecg-99", now(7)).done);
}

#[test]
fn a_trace_on_command_ends_by_itself() {
    let mut bench = bench("ring_bytes = 16777216");
    assert!(bench.studio.obey(Order::Start, "glu-01", now(0)).done);
    assert!(bench.studio.obey(Order::Start, "bp-01", now(0)).done);
    bench.happens(0, 1, Happened::Opened);
    let (mut s, long) = (1, vec![0; 4 << 20]);
    while bench.studio.links[0].asked.is_some() {
        s += 1;
        bench.happens(0, s, Happened::Received(&long));
        bench.studio.look(now(s));
    }
    let bytes = fs::metadata(&bench.files()[1]).unwrap().len();
    assert!((take::ASKED_BYTES..take::ASKED_BYTES * 5 / 4).contains(&bytes), "{bytes}");
    bench.studio.look(now(24 * 3600));
    assert!(bench.studio.links[1].asked.is_none(), "a day is over");
}

#[test]
fn what_came_faster_than_the_disk_is_said_to_be_missing() {
    let mut bench = bench("ring_bytes = 16384");
    assert!(bench.studio.obey(Order::Start, "glu-01", now(0)).done);
    bench.happens(0, 1, Happened::Opened);
    bench.studio.look(now(1));
    for s in 2..12 {
        bench.happens(0, s, Happened::Received(&[7; 4000]));
    }
    bench.studio.obey(Order::Stop, "glu-01", now(12));
    let text = fs::read_to_string(&bench.files()[0]).unwrap();
    assert!(text.contains("\n# 6 events are missing: the disk was too slow\n"), "{text:.200}");
    let entries = read(&bench.files()[0]).1;
    assert_eq!((entries.len(), &entries[1].event), (6, &Event::Gap));
}
