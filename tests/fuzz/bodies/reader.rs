//! An input for the reader of traces: text, with or without the head that makes it one.

use std::time::Duration;
use trace::{EVENT_LEN_MAX, Entry, Event, Head, LINE_LEN_MAX, Reader};

/// What every trace begins with, up to the first event.
const HEAD: &str = "clinic-trace 1\ndevice: x-01\n--\n";

/// What is read is in order and bounded, and reads back the same when it is written.
pub(super) fn run(input: &[u8]) -> usize {
    let text = String::from_utf8_lossy(input);
    // Most inputs would fail at the first line otherwise.
    let text = match text.strip_prefix('#') {
        Some(events) => format!("{HEAD}{events}"),
        None => text.into_owned(),
    };
    let (head, entries) = read(&text);
    assert!(head.iter().all(|(name, text)| is_plain(name) && is_plain(text)), "{head:?}");
    let mut newest = Duration::ZERO;
    for Entry { at, event } in &entries {
        assert!(*at >= newest, "times grow");
        newest = *at;
        if let Event::Received(bytes) | Event::Sent(bytes) = event {
            assert!((1..=EVENT_LEN_MAX).contains(&bytes.len()), "{} bytes", bytes.len());
        }
    }
    let lines: String = entries.iter().map(Entry::lines).collect();
    assert!(lines.lines().all(|line| line.len() <= LINE_LEN_MAX));
    let (again_head, again) = read(&(head.lines() + &lines));
    assert_eq!((&again_head, &again), (&head, &entries), "what is written reads back");
    entries.len()
}

fn is_plain(text: &str) -> bool {
    text.trim() == text
}

fn read(text: &str) -> (Head, Vec<Entry>) {
    let mut reader = Reader::default();
    // Lines that are none are told with their number, and the next one is read all the same.
    let entries = text.lines().filter_map(|line| reader.take(line).ok().flatten()).collect();
    (reader.head().clone(), entries)
}
