//! One trace while it is written: from a tape, through the redactor, into a file.
//!
//! # Invariants
//! - nothing reaches the file but what the driver's redactor handed out
//! - what came too late to be recorded is said in the trace
//! - a file is no longer than its limit and the events of one look at the tape

use super::{
    folder::{Cause, Folder},
    tape::Tape,
};
use crate::config::DeviceConfig;
use drivers::{
    redaction::{Redactor, Said},
    registry,
};
use jiff::Timestamp;
use model::time::{MonoTime, Now, WallTime};
use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};
use trace::{Entry, Event, Head};

/// Bytes that are taken from the tape at once: four times as many in the file.
const PART: usize = 64 * 1024;
/// For so long a trace that was asked for goes on: a day and a night.
pub(super) const ASKED_FOR: Duration = Duration::from_secs(24 * 3600);
/// So long it gets: more than an hour of the fastest device, days of the others.
pub(super) const ASKED_BYTES: u64 = 64 << 20;

/// When a take is over by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) until: MonoTime,
    pub(super) max_bytes: u64,
}

/// Why something is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish<'a> {
    /// A person asked: it begins when the driver begins anew.
    Asked,
    /// That happened: it begins with the oldest that is held.
    Kept(&'a str),
}

/// A trace that is being written.
#[derive(Debug)]
pub(super) struct Take {
    path: PathBuf,
    file: File,
    redactor: Redactor,
    started: MonoTime,
    waits: bool,
    next: u64,
    bytes: u64,
    events: u64,
    limits: Limits,
}

impl Take {
    /// Opens the file and writes what the trace is of.
    pub(super) fn begin(
        folder: &Folder,
        device: &DeviceConfig,
        tape: &Tape,
        wish: Wish<'_>,
        now: Now,
        limits: Limits,
    ) -> io::Result<Self> {
        let (oldest, cause) = match wish {
            Wish::Asked => (None, Cause::Asked),
            Wish::Kept(_) => (tape.oldest(now.mono), Cause::Kept),
        };
        let (next, started) = oldest.unwrap_or((tape.next(), now.mono));
        let before = i64::try_from(now.mono.since(started).as_millis()).unwrap_or_default();
        let wall = WallTime::from_unix_ms(now.wall.unix_ms().saturating_sub(before));
        // The name has the time of the alarm, the head that of the oldest event.
        let (path, file) = folder.create(&device.id, now.wall, cause)?;
        let mut take = Self {
            path,
            file,
            redactor: registry::redactor(device.driver),
            started,
            waits: wish == Wish::Asked,
            next,
            bytes: 0,
            events: 0,
            limits,
        };
        take.write(&head(device, wall, wish).lines())?;
        Ok(take)
    }

    /// Writes what the tape has heard since.
    pub(super) fn go_on(&mut self, tape: &Tape) -> io::Result<()> {
        loop {
            let heard = tape.read(self.next, PART);
            if heard.entries.is_empty() && heard.missed == 0 {
                return Ok(());
            }
            self.next = heard.next;
            let mut lines = String::new();
            if heard.missed > 0 && !self.waits {
                // What comes next is not what followed.
                self.redactor.end();
                self.drain(&mut lines);
                lines += &format!("# {} events are missing: the disk was too slow\n", heard.missed);
            }
            for entry in heard.entries {
                self.waits &= entry.event != Event::Opened;
                if !self.waits {
                    self.take(entry, &mut lines);
                }
            }
            self.write(&lines)?;
            if self.bytes >= self.limits.max_bytes {
                return Ok(());
            }
        }
    }

    /// Writes the rest and makes sure that it is on the disk.
    pub(super) fn end(&mut self, tape: &Tape) -> io::Result<()> {
        self.go_on(tape)?;
        self.redactor.end();
        let mut lines = String::new();
        self.drain(&mut lines);
        self.write(&lines)?;
        self.file.sync_all()
    }

    /// Whether it is long enough.
    pub(super) fn is_over(&self, now: MonoTime) -> bool {
        now >= self.limits.until || self.bytes >= self.limits.max_bytes
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lines that say what happened.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    fn take(&mut self, Entry { at, event }: Entry, lines: &mut String) {
        let at = at.saturating_sub(self.started.since_start());
        match event {
            Event::Received(bytes) => self.redactor.received(at, &bytes),
            Event::Sent(bytes) => self.redactor.sent(at, &bytes),
            Event::Opened | Event::Closed => {
                self.redactor.end();
                self.drain(lines);
                self.line(&Entry { at, event }, lines);
            }
        }
        self.drain(lines);
    }

    fn drain(&mut self, lines: &mut String) {
        while let Some((at, said)) = self.redactor.next() {
            let event = match said {
                Said::Received(bytes) => Event::Received(bytes),
                Said::Sent(bytes) => Event::Sent(bytes),
            };
            self.line(&Entry { at, event }, lines);
        }
    }

    fn line(&mut self, entry: &Entry, lines: &mut String) {
        self.events += 1;
        *lines += &entry.lines();
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.bytes += u64::try_from(text.len()).unwrap_or_default();
        Ok(())
    }
}

fn head(device: &DeviceConfig, started: WallTime, wish: Wish<'_>) -> Head {
    let started = Timestamp::from_millisecond(started.unix_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut head = Head::default()
        .with("device", device.id.as_str())
        .with("driver", device.driver.name())
        .with("settings", &device.settings.to_string())
        .with("started", &format!("{started:.3}"));
    for (option, text) in device.options.recorded() {
        head = head.with(option, &text);
    }
    match wish {
        Wish::Asked => head,
        Wish::Kept(why) => head.with("kept", why),
    }
}
