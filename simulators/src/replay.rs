//! Plays a trace into a pty: what the device said, when it said it.
//!
//! What the driver at the other end writes is read and counted, never answered: a trace cannot
//! know more than what was said.
//!
//! # Invariants
//! - no byte is played before somebody has opened the pty, none is left out
//! - the symlink is gone when the player ends, also by SIGINT, SIGTERM or SIGHUP

use crate::{
    signals::Signals,
    stage::pty::{Pty, Symlink},
    trace_file::TraceFile,
};
use anyhow::{Context as _, bail};
use clap::Args;
use rustix::io::Errno;
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};
use trace::Event;

/// How often it is looked whether somebody has opened the pty, and has read what was played.
const LOOK: Duration = Duration::from_millis(20);
/// A driver sets its port up after opening it, and may throw away what came before.
const SETTLE: Duration = Duration::from_millis(200);
/// A reader that reads nothing for so long at the end reads no more.
const DRAIN: Duration = Duration::from_secs(5);
/// A driver's longest request is far shorter.
const CHUNK: usize = 1024;
/// Bad lines of a trace that are told one by one.
const BAD_LINES_TOLD: usize = 10;

/// Options of `clinic-sim replay`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A trace, as `clinic-agent trace start` writes it
    trace: PathBuf,
    /// Where a symlink to the pty is made [default: none, the pty's own name is printed]
    #[arg(long, value_name = "PATH")]
    pty_link: Option<PathBuf>,
    /// How many times as fast, or `max`: good for devices that speak by themselves
    #[arg(long, default_value = "1", value_name = "X|max", value_parser = pace)]
    speed: Pace,
    /// Begin anew at the end, until Ctrl-C
    #[arg(long = "loop")]
    repeat: bool,
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Seconds of the trace in a second.
    Times(f64),
    /// As fast as it is read.
    Max,
}

/// What is played, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The trace.
    pub trace: PathBuf,
    /// Where a symlink to the pty is made.
    pub link: Option<PathBuf>,
    /// How fast.
    pub pace: Pace,
    /// Whether it begins anew at the end.
    pub repeat: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Played {
    /// How often the trace was played to its end.
    pub rounds: u64,
    /// Bytes of the device that were played.
    pub bytes: u64,
    /// Bytes that the driver at the other end wrote.
    pub written: u64,
    /// Bytes that the driver of the trace had written up to the same place.
    pub written_in_trace: u64,
}

/// Plays a trace until its end, or until it is told to stop.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { trace, pty_link: link, speed: pace, repeat } = options;
    let plan = Plan { trace, link, pace, repeat };
    let mut signals = Signals::watch()?;
    let played = play(&plan, signals.next(), &mut io::stdout()).await?;
    let Played { rounds, bytes, written, written_in_trace } = played;
    writeln!(
        io::stdout(),
        "played {bytes} bytes, {rounds} times to the end; the driver wrote {written} bytes, \
         that of the trace {written_in_trace}"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Plays a trace until its end or until `stopped`; says on `out` where.
///
/// # Errors
/// When the file is no whole trace, or the pty fails.
pub async fn play(
    plan: &Plan,
    stopped: impl Future<Output = ()>,
    out: &mut impl io::Write,
) -> anyhow::Result<Played> {
    let about = examine(&plan.trace)?;
    let (pty, slave) = Pty::open()?;
    // Only while nobody has the pty open is it told that nobody has.
    drop(slave);
    let _link = plan.link.as_deref().map(|link| Symlink::make(&pty, link)).transpose()?;
    let place = plan.link.as_deref().unwrap_or(&pty.name);
    writeln!(out, "{about} at {}; waiting for it to be opened", place.display())?;
    out.flush()?;
    let mut player = Player { plan, pty, played: Played::default() };
    tokio::select! {
        () = stopped => {}
        ended = player.play() => ended?,
    }
    Ok(player.played)
}

/// Reads all of it once: a mistake is told before the first byte is played.
fn examine(path: &Path) -> anyhow::Result<String> {
    let mut file = TraceFile::open(path)?;
    let (mut bytes, mut bad) = (0, Vec::new());
    while let Some(entry) = file.next()? {
        match entry.map(|entry| entry.event) {
            Ok(Event::Received(received)) => bytes += received.len(),
            Ok(_) => {}
            Err(error) => bad.push(error.to_string()),
        }
        if bad.len() >= BAD_LINES_TOLD {
            break;
        }
    }
    if !bad.is_empty() {
        bail!("{}: {}", path.display(), bad.join("; "));
    }
    if bytes == 0 {
        bail!("{} holds no bytes of a device", path.display());
    }
    let text = |name| file.head().get(name).unwrap_or("unknown");
    let (device, driver, settings) = (text("device"), text("driver"), text("settings"));
    Ok(format!("{device} ({driver}, {settings}), {bytes} bytes,"))
}

struct Player<'a> {
    plan: &'a Plan,
    pty: Pty,
    played: Played,
}

impl Player<'_> {
    async fn play(&mut self) -> anyhow::Result<()> {
        self.reader().await?;
        // Held from here on, so that the driver may come and go.
        let slave = self.pty.open_slave()?;
        self.pty.watch_anew()?;
        sleep(SETTLE).await;
        loop {
            self.round().await?;
            self.played.rounds += 1;
            if !self.plan.repeat {
                return self.drain(&slave).await;
            }
        }
    }

    /// Waits until somebody has opened the pty.
    async fn reader(&mut self) -> anyhow::Result<()> {
        while !self.read()? {
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        let mut file = TraceFile::open(&self.plan.trace)?;
        let mut start = None;
        let mut newest = None;
        while let Some(entry) = file.next()? {
            let entry = entry?;
            let (began, first) = start.get_or_insert((Instant::now(), entry.at));
            let before = newest.replace(entry.at).unwrap_or(entry.at);
            if entry.event == Event::Gap {
                // Nobody waits for what is not there.
                *first += entry.at - before;
            }
            let (began, first) = (*began, *first);
            if let Pace::Times(speed) = self.plan.pace {
                let after = (entry.at - first).div_f64(speed);
                self.wait(began.checked_add(after).context("a time of the trace is too far")?)
                    .await?;
            }
            match entry.event {
                Event::Received(bytes) => self.write(&bytes).await?,
                Event::Sent(bytes) => self.played.written_in_trace += count(bytes.len()),
                Event::Opened | Event::Closed | Event::Gap => {}
            }
        }
        // What the driver wrote last; and a round of a trace without a pause gives others a turn.
        self.read()?;
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn wait(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                ready = self.pty.master.readable() => {
                    ready?.clear_ready();
                    self.read()?;
                }
            }
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            tokio::select! {
                ready = self.pty.master.readable() => {
                    ready?.clear_ready();
                    self.read()?;
                }
                ready = self.pty.master.writable() => {
                    let written = ready?.try_io(|master| master.get_ref().write(bytes));
                    if let Ok(written) = written {
                        let written = written.context("writing to the pty")?;
                        self.played.bytes += count(written);
                        bytes = bytes.get(written..).unwrap_or_default();
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads what the driver wrote; whether there is one.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut chunk = [0; CHUNK];
        loop {
            let mut master: &File = self.pty.master.get_ref();
            match master.read(&mut chunk) {
                Ok(0) => return Ok(true),
                Ok(read) => self.played.written += count(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // What Linux says while nobody has the other side open.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Ok(false);
                }
                Err(error) => return Err(error).context("reading from the pty"),
            }
        }
    }

    /// Waits until everything was read: what the kernel holds is lost with the pty.
    async fn drain(&mut self, slave: &File) -> anyhow::Result<()> {
        let (mut left, mut since) = (u64::MAX, Instant::now());
        // Twice nothing: bytes on their way through the kernel are not counted for a moment.
        let mut empty = 0;
        while empty < 2 {
            sleep(LOOK).await;
            self.read()?;
            let waiting = rustix::io::ioctl_fionread(slave).context("asking what is not read")?;
            empty = if waiting == 0 { empty + 1 } else { 0 };
            if waiting < left {
                (left, since) = (waiting, Instant::now());
            } else if waiting > 0 && since.elapsed() >= DRAIN {
                bail!("the last {waiting} bytes were not read");
            }
        }
        Ok(())
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn pace(text: &str) -> Result<Pace, String> {
    match text.parse() {
        _ if text == "max" => Ok(Pace::Max),
        Ok(speed) if (0.01..=1000.0).contains(&speed) => Ok(Pace::Times(speed)),
        _ => Err("use a number from 0.01 to 1000, or max".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!(pace("max"), Ok(Pace::Max));
        assert_eq!(pace("2.5"), Ok(Pace::Times(2.5)));
        for text in ["0", "-1", "NaN", "1001", "fast", ""] {
            assert!(pace(text).is_err(), "{text}");
        }
    }
}
