//! Recordings of links and the readings expected of them; and the programs that play and read
//! them.
//!
//! `UPDATE_GOLDEN=1` writes `.expected` files anew, and records a trace for each driver that has
//! none; the difference is reviewed as code.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing"
)]

#[path = "traces/recording.rs"]
mod recording;

use drivers::registry::DriverName;
use model::{
    reading::{Comparator, Value},
    record::Record,
};
use recording::{record, record_for};
use serde_json::Value as Json;
use simulators::{
    decode::{Decoded, Form, decode},
    replay::{Pace, Plan, Played, play},
};
use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Once,
    time::Duration,
};
use tokio::sync::oneshot;
use trace::{Entry, Event};

/// When the recordings began: 2026-11-22 08:15 UTC.
const STARTED_MS: i64 = 1_795_335_300_000;
/// Of a link that is recorded for so long, what was said from this second on is held.
const RECORDED_S: u64 = 700;
const LAST_FROM_S: u64 = 400;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces")
}

fn updates() -> bool {
    env::var_os("UPDATE_GOLDEN").is_some()
}

/// Every trace of the folder; those that are missing are recorded first where that was asked for.
fn traces() -> Vec<PathBuf> {
    static RECORDED: Once = Once::new();
    RECORDED.call_once(|| {
        for name in DriverName::ALL.into_iter().filter(|_| updates()) {
            if !trace_of(name).exists() {
                fs::write(trace_of(name), record(name).kept).unwrap();
            }
        }
    });
    let paths = fs::read_dir(dir()).unwrap().map(|entry| entry.unwrap().path());
    let mut traces: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "trace")).collect();
    traces.sort();
    traces
}

fn trace_of(name: DriverName) -> PathBuf {
    dir().join(format!("{}.trace", name.name()))
}

fn decoded(text: &str, form: Form) -> String {
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let decoded = decode(text.as_bytes(), None, form, &mut out, &mut log).unwrap();
    assert_eq!((decoded, String::from_utf8(log).unwrap().as_str()), (Decoded::Whole, ""));
    String::from_utf8(out).unwrap()
}

#[test]
fn every_trace_gives_the_readings_expected_of_it() {
    for path in traces() {
        let expected = path.with_extension("expected");
        let found = decoded(&fs::read_to_string(&path).unwrap(), Form::Text);
        if updates() {
            fs::write(&expected, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected)
            .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1", expected.display()));
        for (number, (found, expected)) in (1..).zip(found.lines().zip(expected.lines())) {
            assert_eq!(found, expected, "{}, line {number}", path.display());
        }
        assert_eq!(found.lines().count(), expected.lines().count(), "{}", path.display());
    }
}

#[test]
fn every_driver_has_a_trace_with_readings() {
    let traces: Vec<_> =
        traces().into_iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for name in DriverName::ALL {
        let of_driver = format!("\ndriver: {}\n", name.name());
        let trace = traces.iter().find(|trace| trace.contains(&of_driver));
        let trace = trace.unwrap_or_else(|| panic!("{name:?} has no trace; UPDATE_GOLDEN=1"));
        let lines = decoded(trace, Form::Json);
        assert!(!json_readings(&lines).is_empty(), "{name:?}");
    }
}

/// A reading as both sides can say it: device, channel, metric; value, comparator, unit, reason.
type Said = [Option<String>; 7];

fn json_readings(lines: &str) -> Vec<Said> {
    timed_json(lines).into_iter().map(|(_, said)| said).collect()
}

fn live_readings(records: &[Record]) -> Vec<Said> {
    timed_live(records).into_iter().map(|(_, said)| said).collect()
}

/// With the time at which each was said.
fn timed_json(lines: &str) -> Vec<(i64, Said)> {
    let lines = lines.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let readings = lines.filter(|line| line["record"] == "reading");
    let fields = ["device", "channel", "metric", "value", "comparator", "unit", "no_data"];
    let timed = readings.map(|line| {
        let at: jiff::Timestamp = line["t"].as_str().unwrap().parse().unwrap();
        let said = fields.map(|name| line[name].as_str().map(ToOwned::to_owned));
        (at.as_millisecond(), said)
    });
    timed.collect()
}

fn timed_live(records: &[Record]) -> Vec<(i64, Said)> {
    let groups = records.iter().filter_map(|record| match record {
        Record::Readings(group) => Some(group),
        _ => None,
    });
    let readings =
        groups.flat_map(|group| group.readings.iter().map(move |reading| (group, reading)));
    let said = readings.map(|(group, reading)| {
        let (value, comparator, no_data) = match &reading.value {
            Ok(Value::Number { number, comparator }) => {
                let comparator = match comparator {
                    Comparator::Equal => None,
                    Comparator::Below => Some("<".to_owned()),
                    Comparator::Above => Some(">".to_owned()),
                };
                (Some(number.to_string()), comparator, None)
            }
            Ok(Value::Text(text)) => (Some(text.clone()), None, None),
            Err(reason) => (None, None, Some(reason.to_string())),
        };
        let channel = Some(group.channel.as_str().to_owned()).filter(|name| !name.is_empty());
        let (device, metric) = (group.device.to_string(), reading.metric.to_string());
        let unit = reading.unit.as_ref().map(ToString::to_string);
        let said = [Some(device), channel, Some(metric), value, comparator, unit, no_data];
        (group.observed.at.unix_ms(), said)
    });
    said.collect()
}

#[test]
fn a_recording_decodes_to_what_the_driver_said_when_it_was_made() {
    for name in DriverName::ALL {
        let recording = record(name);
        let live = live_readings(&recording.records);
        assert!(!live.is_empty(), "{name:?}");
        assert_eq!(json_readings(&decoded(&recording.raw, Form::Json)), live, "{name:?}");
        assert_eq!(json_readings(&decoded(&recording.kept, Form::Json)), live, "{name:?}, kept");
    }
}

/// What an agent keeps of a link that was opened long ago: the beginning, and the last minutes.
fn first_and_last(entries: Vec<Entry>) -> Vec<Entry> {
    let mut room = 16 * 1024;
    let in_room = |entry: &&Entry| {
        let len = match &entry.event {
            Event::Received(bytes) | Event::Sent(bytes) => bytes.len(),
            Event::Opened | Event::Closed | Event::Gap => 0,
        };
        room -= i64::try_from(len + size_of::<Entry>()).unwrap();
        room >= 0
    };
    let first = entries.iter().take_while(in_room).count();
    let since = Duration::from_secs(LAST_FROM_S);
    let last = entries.iter().take_while(|entry| entry.at < since).count().max(first);
    let gap = (last > first).then(|| Entry { at: entries[last].at, event: Event::Gap });
    entries[..first].iter().cloned().chain(gap).chain(entries[last..].iter().cloned()).collect()
}

/// Those that were said from that second on.
fn from_second(timed: Vec<(i64, Said)>, second: u64) -> Vec<Said> {
    let since = STARTED_MS + i64::try_from(second * 1000).unwrap();
    timed.into_iter().filter(|(at, _)| *at >= since).map(|(_, said)| said).collect()
}

#[test]
fn the_last_minutes_of_a_link_decode_behind_what_was_said_first() {
    for name in [DriverName::Intellivue, DriverName::Pm6750, DriverName::Bcc, DriverName::Tm2655] {
        let recording = record_for(name, RECORDED_S, first_and_last);
        let [live, found] =
            [timed_live(&recording.records), timed_json(&decoded(&recording.kept, Form::Json))]
                .map(|timed| from_second(timed, LAST_FROM_S + 2));
        assert!(live.len() > 10, "{name:?}");
        assert_eq!(found, live, "{name:?}");
    }
}

#[test]
fn what_is_kept_of_a_recording_names_nobody() {
    for (name, secret) in
        [(DriverName::Hbp9030, "12345678901234567890"), (DriverName::JsonLines, "WANG-31")]
    {
        let shown = |text: &str| {
            let (bytes, _) = bytes_in(text);
            bytes.windows(secret.len()).any(|found| found == secret.as_bytes())
        };
        let recording = record(name);
        assert!(shown(&recording.raw), "{name:?} does not say it");
        assert!(!shown(&recording.kept), "{name:?}");
    }
}

#[test]
fn an_offset_is_where_the_group_was_complete() {
    let trace = "clinic-trace 1\ndevice: bp-01\ndriver: hbp9030\n\
                 started: 2026-11-22T08:15:00Z\n--\n0.000000 opened\n1.000000 < ";
    let line = "2026,07,11,09,05,xxxxxxxxxxxxxxxxxxxx,0,120,080,072,0\r\n";
    let hex: String =
        format!("noise\n{line}2026").bytes().map(|byte| format!("{byte:02x}")).collect();
    let found = decoded(&format!("{trace}{hex}\n"), Form::Text);
    let expected = "2026-11-22T08:15:01.000Z       61  bp-01          -   nibp_sys 120 mm[Hg] \
                    at 2026-07-11T09:05:00";
    assert!(found.lines().any(|line| line.starts_with(expected)), "{found}");
}

#[test]
fn lines_that_cannot_be_read_are_told_and_left_out() {
    let text = fs::read_to_string(trace_of(DriverName::Hbp9030)).unwrap();
    let good = decoded(&text, Form::Text);
    let text = text.replace("--\n", "--\n0.000000 unplugged\n");
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let found = decode(text.as_bytes(), None, Form::Text, &mut out, &mut log).unwrap();
    assert_eq!(found, Decoded::WithBadLines);
    assert_eq!(String::from_utf8(out).unwrap(), good);
    let log = String::from_utf8(log).unwrap();
    assert!(log.starts_with("line 8: expected one of: opened, closed"), "{log}");
}

fn clinic_sim(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

#[track_caller]
fn check_exit(arguments: &[&str], code: i32, said: &str) {
    let output = clinic_sim(arguments);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{log}");
    assert!(log.contains(said), "{log}");
}

#[test]
fn the_programs_tell_what_is_wrong_and_with_which_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> String {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let nameless = file("nameless.trace", "clinic-trace 1\n--\n0.000000 < 16\n");
    check_exit(&["decode", &nameless], 2, "give one with --driver: pm6750, bcc,");
    check_exit(&["decode", &nameless, "--driver", "tm2655"], 0, "");
    check_exit(&["decode", &nameless, "--driver", "tm2655x"], 2, "no driver is called so");
    check_exit(&["decode", &file("empty.trace", "")], 1, "line 1: the trace ends before");
    check_exit(&["decode", &file("quiet.trace", "clinic-trace 1\n--\n")], 0, "has no events");
    let endless =
        "clinic-trace 1\ndriver: intellivue\n--\n0.000000 opened\n100000000.000000 closed\n";
    check_exit(&["decode", &file("endless.trace", endless)], 1, "before 100000000 s");
    let other = file("other.trace", "what is this\n");
    check_exit(&["decode", &other], 1, "line 1: this is no trace");
    check_exit(&["replay", &other], 1, "line 1: this is no trace");
    let bad =
        file("bad.trace", "clinic-trace 1\ndriver: tm2655\n--\n0.000000 < 16\n0.000000 < 1\n");
    check_exit(&["decode", &bad], 1, "line 5: expected two hexadecimal digits");
    check_exit(&["replay", &bad], 1, "line 5: expected two hexadecimal digits");
    let option = file(
        "option.trace",
        "clinic-trace 1\ndriver: bcc\npoll_interval_s: x\n--\n0.000000 opened\n",
    );
    check_exit(&["decode", &option], 1, "poll_interval_s in the head of the trace is \"x\"");
    check_exit(&["replay", &option], 1, "holds no bytes of a device");
    check_exit(&["decode", "no such file"], 1, "opening no such file");
    check_exit(&["replay", &bad, "--speed", "0"], 2, "0.01 to 1000, or max");
    let link = file("link", "");
    check_exit(&["device", "kettle", "--pty-link", &link], 2, "no virtual device is called so");
    let story = file("story.toml", "about = { zh = \"\", en = \"\" }\nlength = \"00:00:00\"\n");
    let played = ["device", "pm6750", "--pty-link", &link, "--scenario", &story];
    check_exit(&played, 2, "line 2: length: a story is longer");
}

#[test]
fn a_player_that_is_told_to_stop_leaves_no_symlink() {
    for name in ["-INT", "-TERM"] {
        let dir_for_link = tempfile::tempdir().unwrap();
        let link = dir_for_link.path().join("kiosk");
        let mut player = Command::new(PROGRAM)
            .args(["replay", "--loop", "--pty-link"])
            .args([&link, &trace_of(DriverName::Hbp9030)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(player.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.ends_with("waiting for it to be opened\n"), "{line}");
        assert!(fs::symlink_metadata(&link).is_ok());
        let id = player.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
        assert!(player.wait().unwrap().success());
        assert!(fs::symlink_metadata(&link).is_err(), "{name}");
    }
}

/// What a reader that goes away leaves behind is a full pty, and nobody to tell.
#[tokio::test]
async fn a_player_whose_reader_went_away_is_told_to_stop_like_any_other() {
    let dir_for_link = tempfile::tempdir().unwrap();
    let link = dir_for_link.path().join("monitor");
    let mut player = Command::new(PROGRAM)
        .args(["replay", "--loop", "--speed", "max", "--pty-link"])
        .args([&link, &trace_of(DriverName::Intellivue)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(player.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    let mut reader = fs::File::open(&link).unwrap();
    // It plays: from here on the pty fills.
    reader.read_exact(&mut [0; 16]).unwrap();
    drop(reader);
    let id = player.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let waiting = tokio::task::spawn_blocking(move || player.wait());
    let ended = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    if ended.is_err() {
        Command::new("kill").args(["-KILL", &id]).status().unwrap();
    }
    assert!(ended.expect("the player does not stop").unwrap().unwrap().success());
    assert!(fs::symlink_metadata(&link).is_err(), "the symlink is gone");
}

/// Bytes of the device, and of the driver, in a trace.
fn bytes_in(text: &str) -> (Vec<u8>, usize) {
    let mut reader = trace::Reader::default();
    let (mut received, mut sent) = (Vec::new(), 0);
    for line in text.lines() {
        match reader.take(line).unwrap().map(|entry| entry.event) {
            Some(Event::Received(bytes)) => received.extend(bytes),
            Some(Event::Sent(bytes)) => sent += bytes.len(),
            _ => {}
        }
    }
    (received, sent)
}

#[tokio::test]
async fn a_trace_is_played_to_whoever_opens_the_pty() {
    let dir_for_link = tempfile::tempdir().unwrap();
    let link = dir_for_link.path().join("pump");
    let trace = trace_of(DriverName::Bcc);
    let (expected, sent) = bytes_in(&fs::read_to_string(&trace).unwrap());
    let plan = Plan { trace, link: Some(link.clone()), pace: Pace::Max, repeat: false };
    let count = expected.len();
    let (ready, opened) = oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || {
        opened.blocking_recv().unwrap();
        let mut port = fs::File::options().read(true).write(true).open(&link).unwrap();
        port.write_all(b"hello").unwrap();
        let mut received = vec![0; count];
        port.read_exact(&mut received).unwrap();
        (link, received)
    });
    let mut out = Announced { ready: Some(ready), said: vec![] };
    let stopped = tokio::time::sleep(Duration::from_secs(60));
    let played = play(&plan, stopped, &mut out).await.unwrap();
    let (link, received) = reading.await.unwrap();
    assert_eq!(received, expected);
    assert!(fs::symlink_metadata(link).is_err(), "the symlink is gone");
    let (bytes, written_in_trace) = (u64::try_from(count).unwrap(), u64::try_from(sent).unwrap());
    assert_eq!(played, Played { rounds: 1, bytes, written: 5, written_in_trace });
    let said = String::from_utf8(out.said).unwrap();
    assert!(said.starts_with("bcc-01 (bcc, 9600 8N1), "), "{said}");
}

/// Tells when something was said.
struct Announced {
    ready: Option<oneshot::Sender<()>>,
    said: Vec<u8>,
}

impl std::io::Write for Announced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.said.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.ready.take().map(|ready| ready.send(())).transpose().unwrap();
        Ok(())
    }
}

/// On a clock that jumps to whatever is waited for next: a minute takes no time.
#[tokio::test(start_paused = true)]
async fn nothing_is_played_while_nobody_has_opened_the_pty() {
    let dir_for_link = tempfile::tempdir().unwrap();
    let link = dir_for_link.path().join("kiosk");
    let (trace, pace) = (trace_of(DriverName::Hbp9030), Pace::Max);
    let plan = Plan { trace, link: Some(link.clone()), pace, repeat: true };
    let stopped = tokio::time::sleep(Duration::from_secs(60));
    let played = play(&plan, stopped, &mut std::io::sink()).await.unwrap();
    assert_eq!(played, Played::default());
    assert!(fs::symlink_metadata(link).is_err(), "the symlink is gone");
}
