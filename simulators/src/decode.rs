//! Readings in a trace, through the real driver, without hardware.
//!
//! Not here: what a record looks like on a line ([`crate::record_line`]).
//!
//! The driver sees the trace's own times, and its time-outs come when they are due. What it wants
//! to send goes nowhere: what its device answered is in the trace. Over a gap no time passes for the
//! driver: what it knew before still holds, as it did for the driver that was recorded.

use crate::{record_line::Line, trace_file::TraceFile};
use anyhow::{Context as _, bail};
use clap::Args;
use drivers::{
    registry::{self, DriverName, DriverOptions},
    serial::{SerialDriver, SerialEvent, SerialOutput},
};
use model::{
    id::DeviceId,
    time::{ClockQuality, MonoTime, Now, Uptime, WallTime},
};
use std::{
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use trace::{Event, Head, TraceError};

/// Wrong use, as clap has it.
const WRONG_USE: u8 = 2;
/// The name of a device whose trace does not say it.
const NAMELESS: &str = "device-01";
/// Time-outs between two events of a trace: a driver that asks every second, for ten days.
const TIMEOUTS_MAX: u32 = 864_000;
/// After so many it is known whether the rest of them are too many.
const TIMEOUTS_TRIED: u32 = 1000;
/// What came just before a gap is said within this time, and not behind it: a monitor's values are
/// gathered for a second.
const GATHERED_WITHIN: Duration = Duration::from_secs(2);

/// Options of `clinic-sim decode`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A trace, as `clinic-agent trace start` writes it
    trace: PathBuf,
    /// Driver, instead of the one the trace names
    #[arg(long, value_name = "NAME", value_parser = driver_name)]
    driver: Option<DriverName>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// For a person.
    Text,
    /// For a program: a JSON object a line.
    Json,
}

/// How a trace was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decoded {
    /// Every line of it could be read.
    Whole,
    /// Some lines could not be read and were left out.
    WithBadLines,
    /// The trace names no driver that is known, and none was given.
    WithoutDriver,
}

/// Decodes a trace file.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let form = if options.json { Form::Json } else { Form::Text };
    let file = std::fs::File::open(&options.trace)
        .with_context(|| format!("opening {}", options.trace.display()))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let decoded =
        decode(BufReader::new(file), options.driver, form, &mut out, &mut io::stderr().lock())
            .with_context(|| options.trace.display().to_string())?;
    out.flush().context("writing the readings")?;
    Ok(match decoded {
        Decoded::Whole => ExitCode::SUCCESS,
        Decoded::WithBadLines => ExitCode::FAILURE,
        Decoded::WithoutDriver => ExitCode::from(WRONG_USE),
    })
}

/// Decodes a trace: a line for each reading, waveform block, device alarm and status, and for each
/// note about the link.
///
/// # Errors
/// When the text is no trace, an option in its head has no meaning, or nothing can be read or
/// written.
pub fn decode(
    text: impl BufRead,
    driver: Option<DriverName>,
    form: Form,
    out: &mut impl Write,
    log: &mut impl Write,
) -> anyhow::Result<Decoded> {
    let mut file = TraceFile::new(text);
    let mut decoded = Decoded::Whole;
    let first = loop {
        match file.next()? {
            None => {
                writeln!(log, "the trace has no events")?;
                return Ok(decoded);
            }
            Some(Ok(entry)) => break entry,
            Some(Err(error)) => decoded = left_out(&error, log)?,
        }
    };
    let named = file.head().get("driver").unwrap_or_default();
    let Some(name) = driver.or_else(|| DriverName::from_name(named)) else {
        let known = driver_names();
        writeln!(log, "the trace names the driver {named:?}; give one with --driver: {known}")?;
        return Ok(Decoded::WithoutDriver);
    };
    let mut player = Player::new(file.head(), name, form, out)?;
    let mut next = Some(Ok(first));
    while let Some(entry) = next {
        match entry {
            Ok(entry) => player.take(entry.at, &entry.event)?,
            Err(error) => decoded = left_out(&error, log)?,
        }
        next = file.next()?;
    }
    Ok(decoded)
}

fn left_out(error: &TraceError, log: &mut impl Write) -> anyhow::Result<Decoded> {
    writeln!(log, "{error}; the line is left out")?;
    Ok(Decoded::WithBadLines)
}

fn driver_name(name: &str) -> Result<DriverName, String> {
    let unknown = || format!("no driver is called so; use one of: {}", driver_names());
    DriverName::from_name(name).ok_or_else(unknown)
}

fn driver_names() -> String {
    DriverName::ALL.map(DriverName::name).join(", ")
}

/// The driver on its trace.
struct Player<'a, W> {
    driver: Box<dyn SerialDriver>,
    device: DeviceId,
    started: WallTime,
    form: Form,
    out: &'a mut W,
    open: bool,
    newest: Duration,
    /// The driver's time: that of the trace without its gaps.
    mono: Duration,
    /// Bytes of the device so far.
    offset: u64,
}

impl<'a, W: Write> Player<'a, W> {
    fn new(head: &Head, name: DriverName, form: Form, out: &'a mut W) -> anyhow::Result<Self> {
        let mut options = DriverOptions::default();
        for (option, text) in head.iter() {
            if options.take_recorded(option, text).is_none() {
                bail!("{option} in the head of the trace is {text:?}, which it cannot be");
            }
        }
        let device = DeviceId::new(head.get("device").unwrap_or(NAMELESS))
            .context("the device in the head of the trace")?;
        let started: jiff::Timestamp = match head.get("started") {
            Some(text) => text.parse().with_context(|| format!("the trace started {text:?}"))?,
            None => jiff::Timestamp::UNIX_EPOCH,
        };
        Ok(Self {
            driver: registry::create(name, device.clone(), &options, None),
            device,
            started: WallTime::from_unix_ms(started.as_millisecond()),
            form,
            out,
            open: false,
            newest: Duration::ZERO,
            mono: Duration::ZERO,
            offset: 0,
        })
    }

    fn take(&mut self, at: Duration, event: &Event) -> anyhow::Result<()> {
        if *event == Event::Gap {
            self.time_out_before(at.min(self.newest + GATHERED_WITHIN))?;
            self.newest = at;
            return Ok(());
        }
        self.time_out_before(at)?;
        self.mono += at - self.newest;
        self.newest = at;
        let opens = *event == Event::Opened;
        if self.open && (opens || *event == Event::Closed) {
            self.tell(SerialEvent::Closed)?;
            self.open = false;
        }
        if !self.open && *event != Event::Closed {
            // A trace that was started later does not say that the port was opened.
            self.tell(SerialEvent::Opened)?;
            self.open = true;
        }
        if let Event::Received(bytes) = event {
            // Byte by byte: so the offset is that of the byte that made a group complete.
            for byte in bytes {
                self.offset += 1;
                self.tell(SerialEvent::Received(&[*byte]))?;
            }
        }
        self.tell(SerialEvent::Committed)
    }

    fn time_out_before(&mut self, at: Duration) -> anyhow::Result<()> {
        let since = self.newest;
        for count in 0..TIMEOUTS_MAX {
            let reach = (self.newest - since).saturating_mul(TIMEOUTS_MAX / TIMEOUTS_TRIED);
            if count == TIMEOUTS_TRIED && since.saturating_add(reach) < at {
                break;
            }
            let due = self.driver.next_timeout().map(MonoTime::since_start);
            let ahead = due.map(|due| due.saturating_sub(self.mono));
            let Some(ahead) = ahead.filter(|ahead| self.newest + *ahead < at) else {
                return Ok(());
            };
            self.newest += ahead;
            self.mono += ahead;
            self.tell(SerialEvent::TimedOut)?;
            self.tell(SerialEvent::Committed)?;
        }
        bail!(
            "nothing is in the trace for {} s before {} s",
            (at - self.newest).as_secs(),
            at.as_secs()
        )
    }

    fn tell(&mut self, event: SerialEvent<'_>) -> anyhow::Result<()> {
        let since_start_ms = i64::try_from(self.newest.as_millis()).unwrap_or(i64::MAX);
        let wall = WallTime::from_unix_ms(self.started.unix_ms().saturating_add(since_start_ms));
        let mono = MonoTime::from_start(self.mono);
        let (uptime, quality) = (Uptime::default(), ClockQuality::Synchronised);
        self.driver.handle(Now { mono, uptime, wall, quality }, event);
        while let Some(output) = self.driver.poll_output() {
            let lines = match &output {
                SerialOutput::Emit(record) => Line::of_record(record),
                SerialOutput::Note(note) => vec![Line::of_note(&self.device, note)],
                SerialOutput::Send(_) | SerialOutput::Remember(_) => continue,
            };
            for line in lines {
                let line = line.said(wall, self.newest, self.offset);
                match self.form {
                    Form::Text => writeln!(self.out, "{line}")?,
                    Form::Json => {
                        let json =
                            serde_json::to_string(&line).context("writing a line as JSON")?;
                        writeln!(self.out, "{json}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
