//! Virtual devices on ptys: what a device says comes out of a path that a serial driver can open.
//!
//! A pty has no baud rate and no wire: bytes are never damaged by the line, and while nobody reads
//! they wait in the kernel. Like a real line this stage forgets what has waited too long.
//!
//! A device whose cable is out has no port here either: pty and symlink go, and come again.
//!
//! # Invariants
//! - the symlink exists exactly as long as the stage, but for the time in which a cable is out
//! - what the device says is written in order; what is forgotten is counted, never reordered
//! - a device that is switched off finishes the exchange it is in: what a driver has heard and
//!   acknowledged is truth, and it begins nothing new

use anyhow::Context as _;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{io::unix::AsyncFd, sync::mpsc};
use tokio_util::sync::CancellationToken;
use virtual_devices::{SimTime, Truth, VirtualDevice};

/// What may wait for a reader: four seconds of the fastest device (11.5 kB/s, a line at
/// 115200 baud that is full).
const WAITING_MAX: usize = 48 * 1024;
/// A driver's longest request is far shorter.
const CHUNK: usize = 1024;
/// A device that is switched off waits this long for the other side's last word…
const LAST_WORD: Duration = Duration::from_millis(500);
/// …and ends after this, whatever the other side does.
const EXCHANGE_MAX: Duration = Duration::from_secs(3);
/// How often a device without anything to do looks whether it is stopped.
const IDLE: Duration = Duration::from_secs(3600);

/// The device side of a pty.
#[derive(Debug)]
pub(crate) struct Pty {
    /// This side, non-blocking.
    pub(crate) master: AsyncFd<File>,
    /// Path of the other side.
    pub(crate) name: PathBuf,
}

/// A symlink to a pty; it goes when this goes.
#[derive(Debug)]
pub(crate) struct Symlink(PathBuf);

/// Where a device is plugged in, or was.
#[derive(Debug)]
pub struct Stage {
    link: PathBuf,
    /// None while its cable is out.
    plug: Option<Plug>,
}

/// The device side of a pty, with a symlink to the other side.
#[derive(Debug)]
struct Plug {
    master: AsyncFd<File>,
    /// Held open so that the driver can come and go without a hang-up on this side.
    _slave: File,
    _link: Symlink,
}

impl Pty {
    /// Opens a pty in raw mode, and its other side.
    ///
    /// # Errors
    /// When the kernel has no pty left.
    pub(crate) fn open() -> anyhow::Result<(Self, File)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).context("opening a pty")?;
        grantpt(&master).context("granting the pty")?;
        unlockpt(&master).context("unlocking the pty")?;
        let name = ptsname(&master, Vec::new()).context("asking for the pty's name")?;
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let flags = rustix::fs::fcntl_getfl(&master)? | OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&master, flags).context("making the pty non-blocking")?;
        let pty = Self { master: watched(File::from(master))?, name };
        let slave = pty.open_slave()?;
        let mut settings = tcgetattr(&slave).context("reading the pty's settings")?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings).context("making the pty raw")?;
        Ok((pty, slave))
    }

    /// Watches this side anew. The runtime never forgets that the other side was closed once: from
    /// then on this side counts as ready whatever it is, and whoever waits for it never waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn watch_anew(&mut self) -> anyhow::Result<()> {
        let master = self.master.get_ref().try_clone().context("watching the pty anew")?;
        self.master = watched(master)?;
        Ok(())
    }

    /// Opens the other side.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open_slave(&self) -> anyhow::Result<File> {
        let name = self.name.as_path();
        let mode = Mode::empty();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, mode)
            .with_context(|| format!("opening {}", name.display()))?;
        Ok(File::from(slave))
    }
}

#[expect(deprecated, reason = "its successor is unsafe to call; a File keeps its descriptor")]
fn watched(master: File) -> anyhow::Result<AsyncFd<File>> {
    AsyncFd::new(master).context("watching the pty")
}

impl Symlink {
    /// Puts a symlink to the pty at `link`, replacing an older symlink.
    ///
    /// # Errors
    /// When the symlink cannot be made.
    pub(crate) fn make(pty: &Pty, link: &Path) -> anyhow::Result<Self> {
        if fs::symlink_metadata(link).is_ok_and(|found| found.file_type().is_symlink()) {
            fs::remove_file(link)
                .with_context(|| format!("removing the old {}", link.display()))?;
        }
        std::os::unix::fs::symlink(&pty.name, link)
            .with_context(|| format!("making the symlink {}", link.display()))?;
        Ok(Self(link.to_owned()))
    }
}

impl Drop for Symlink {
    fn drop(&mut self) {
        // Gone already means that somebody tidied up before us.
        drop(fs::remove_file(&self.0));
    }
}

impl Plug {
    fn open(link: &Path) -> anyhow::Result<Self> {
        let (pty, slave) = Pty::open()?;
        let link = Symlink::make(&pty, link)?;
        Ok(Self { master: pty.master, _slave: slave, _link: link })
    }

    /// Writes what is waiting as far as there is room, or reads.
    async fn serve(&self, waiting: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        tokio::select! {
            ready = self.master.writable(), if !waiting.is_empty() => {
                let written = ready?.try_io(|master| master.get_ref().write(waiting));
                if let Ok(count) = written {
                    waiting.drain(..count?);
                }
                Ok(None)
            }
            ready = self.master.readable() => {
                let mut chunk = [0; CHUNK];
                let read = ready?.try_io(|master| master.get_ref().read(&mut chunk));
                let Ok(count) = read else { return Ok(None) };
                Ok(Some(chunk.get(..count?).unwrap_or_default().to_vec()))
            }
        }
    }
}

impl Stage {
    /// Opens a pty in raw mode and puts a symlink to it at `link`, replacing an older symlink.
    ///
    /// # Errors
    /// When the kernel has no pty left or the symlink cannot be made.
    pub fn open(link: &Path) -> anyhow::Result<Self> {
        Ok(Self { link: link.to_owned(), plug: Some(Plug::open(link)?) })
    }

    /// Pulls the cable, or puts it in again.
    fn plug(&mut self, is_unplugged: bool) -> anyhow::Result<()> {
        match &self.plug {
            Some(_) if is_unplugged => self.plug = None,
            None if !is_unplugged => self.plug = Some(Plug::open(&self.link)?),
            _ => {}
        }
        Ok(())
    }

    /// Plays `device` until `stopped` and the exchange it is in is over, then hands it back.
    ///
    /// `speed` is device seconds per real second.
    ///
    /// # Errors
    /// When the pty fails; a driver that goes away is no failure.
    pub async fn play(
        &mut self,
        device: &mut dyn VirtualDevice,
        clock: StageTime,
        truth: &mpsc::Sender<Truth>,
        stopped: &CancellationToken,
    ) -> anyhow::Result<Played> {
        let mut played = Played::default();
        let mut waiting: Vec<u8> = Vec::new();
        let mut ending: Option<Ending> = None;
        loop {
            if ending.is_none() {
                played.until = clock.now();
                device.advance(played.until);
            }
            waiting.extend(device.take_output());
            self.plug(device.is_unplugged())?;
            let room = if self.plug.is_some() { WAITING_MAX } else { 0 };
            let excess = waiting.len().saturating_sub(room);
            waiting.drain(..excess);
            played.forgotten_bytes += excess;
            for fact in device.take_truth() {
                truth.send(fact).await.context("the truth is no longer written")?;
            }
            let due = match &ending {
                None => device.next_due().map_or(IDLE, |due| clock.until(due)),
                Some(ending) if ending.is_over(waiting.is_empty()) => return Ok(played),
                Some(ending) => ending.left(waiting.is_empty()),
            };
            tokio::select! {
                () = stopped.cancelled(), if ending.is_none() => ending = Some(Ending::begin()),
                () = tokio::time::sleep(due) => {}
                served = serve(self.plug.as_ref(), &mut waiting) => {
                    if let Some(received) = served? {
                        played.until = clock.now();
                        device.receive(played.until, &received);
                        ending = ending.map(Ending::heard);
                    }
                }
            }
        }
    }
}

/// Without a port nothing happens.
async fn serve(plug: Option<&Plug>, waiting: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    match plug {
        Some(plug) => plug.serve(waiting).await,
        None => std::future::pending().await,
    }
}

/// The last exchange of a device that is switched off.
#[derive(Clone, Copy, Debug)]
struct Ending {
    began: Instant,
    heard: Instant,
}

impl Ending {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, heard: now }
    }

    fn heard(self) -> Self {
        Self { heard: Instant::now(), ..self }
    }

    fn left(&self, all_written: bool) -> Duration {
        let longest = EXCHANGE_MAX.saturating_sub(self.began.elapsed());
        match all_written {
            true => longest.min(LAST_WORD.saturating_sub(self.heard.elapsed())),
            false => longest,
        }
    }

    fn is_over(&self, all_written: bool) -> bool {
        self.left(all_written).is_zero()
    }
}

/// What happened while a device was played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Played {
    /// Bytes nobody read in time.
    pub forgotten_bytes: usize,
    /// Up to here the device's output was taken: what it says later nobody hears.
    pub until: SimTime,
}

/// Device time on a real clock.
#[derive(Clone, Copy, Debug)]
pub struct StageTime {
    started: Instant,
    speed: f64,
}

impl StageTime {
    /// Device time 0 is now; `speed` is device seconds per real second.
    #[must_use]
    pub fn start(speed: f64) -> Self {
        Self { started: Instant::now(), speed }
    }

    /// Device time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        let elapsed = self.started.elapsed().mul_f64(self.speed);
        SimTime(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long to wait until it is `due`.
    #[must_use]
    pub fn until(&self, due: SimTime) -> Duration {
        let ahead = due.0.saturating_sub(self.now().0);
        Duration::from_micros(ahead).div_f64(self.speed)
    }
}
