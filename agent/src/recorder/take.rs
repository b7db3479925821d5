//! One trace while it is written: from a tape, through the redactor, into a file.
//!
//! # Invariants
//! - nothing reaches the file but what the driver's redactor handed out
//! - what is not in the trace, and came between what is, is said there
//! - a file is no longer than its limit and the events of one look at the tape

use super::{
    folder::{Cause, Folder},
    ring::Held,
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
    /// That happened: it begins with all that is held, how the session began and the last
    /// minutes.
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
    /// Whether what comes next is not what followed.
    gap: bool,
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
        let (held, cause) = match wish {
            Wish::Asked => (Held { next: tape.next(), ..Held::default() }, Cause::Asked),
            Wish::Kept(_) => (tape.held(now.mono), Cause::Kept),
        };
        let started = held.since.unwrap_or(now.mono);
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
            gap: held.has_gap,
            next: held.next,
            bytes: 0,
            events: 0,
            limits,
        };
        let mut lines = head(device, wall, wish).lines();
        held.opening.into_iter().for_each(|entry| take.take(entry, &mut lines));
        take.break_off(&mut lines);
        take.write(&lines)?;
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
                self.gap = true;
                self.break_off(&mut lines);
                lines += &format!("# {} events are missing: the disk was too slow\n", heard.missed);
            }
            for entry in heard.entries {
                self.waits &= entry.event != Event::Opened;
                if self.waits {
                    continue;
                }
                if std::mem::take(&mut self.gap) {
                    let at = entry.at.saturating_sub(self.started.since_start());
                    self.line(&Entry { at, event: Event::Gap }, &mut lines);
                }
                self.take(entry, &mut lines);
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

    /// Before a gap: what is unfinished stays so.
    fn break_off(&mut self, lines: &mut String) {
        if self.gap {
            self.redactor.end();
            self.drain(lines);
        }
    }

    fn take(&mut self, Entry { at, event }: Entry, lines: &mut String) {
        let at = at.saturating_sub(self.started.since_start());
        match event {
            Event::Received(bytes) => self.redactor.received(at, &bytes),
            Event::Sent(bytes) => self.redactor.sent(at, &bytes),
            Event::Opened | Event::Closed | Event::Gap => {
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
