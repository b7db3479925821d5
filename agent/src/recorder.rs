//! Records links: the last minutes of each in memory, files on command and around what goes wrong.
//!
//! Not here: what the text of a trace looks like (`trace`), what of it may tell who the patient is
//! (the driver's redactor).
//!
//! A link only writes into its [`Tape`], in memory, and never waits. One thread looks at the tapes
//! and writes files: at a disk that stands still it waits alone.
//!
//! # Invariants
//! - memory is bounded for each link, the disk for all of them together
//! - nothing of a link reaches the disk but through the redactor of its driver
//! - what nobody asked for is kept at most once in ten minutes for each device, and deleted again
//!   when there is too much of it

mod folder;
mod ring;
mod take;
mod tape;

use crate::{
    clock::Clock,
    config::{DeviceConfig, TraceConfig},
    supervisor::Worker,
};
use folder::Folder;
use model::{
    id::DeviceId,
    time::{MonoTime, Now},
};
use serde::{Deserialize, Serialize};
use std::{io, path::Path, sync::Arc, time::Duration};
use take::{Limits, Take, Wish};
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use ring::Happened;
pub(crate) use tape::Tape;

/// A line can be bad all night: what is kept covers it without a gap and without repeating much.
const KEEP_EVERY: Duration = Duration::from_secs(600);
/// What happens after an alarm is half of its story.
const KEEP_AFTER: Duration = Duration::from_secs(60);
/// While something is recorded the tapes are looked at so often: less than any of them holds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Traces that were asked for and not taken away, together.
const ASKED_BYTES_MAX: u64 = 4 * take::ASKED_BYTES;
/// People who ask at the same time.
const COMMANDS_MAX: usize = 8;

/// What a person wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    Start,
    Stop,
}

/// What a person is told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Answer {
    /// Whether it was done.
    pub(crate) done: bool,
    /// What happened; what to do next.
    pub(crate) said: String,
}

impl Answer {
    pub(crate) fn done(said: String) -> Self {
        Self { done: true, said }
    }

    pub(crate) fn refused(said: String) -> Self {
        Self { done: false, said }
    }
}

type Command = (Order, String, oneshot::Sender<Answer>);

/// A way to the recorder.
#[derive(Clone)]
pub(crate) struct Recorder {
    tapes: Vec<Arc<Tape>>,
    commands: mpsc::Sender<Command>,
}

impl Recorder {
    /// Starts the writing thread. Told to finish, it ends every trace.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        data_dir: &Path,
        config: TraceConfig,
        devices: &[DeviceConfig],
        clock: Clock,
    ) -> io::Result<(Self, Worker)> {
        let wake = Arc::new(Notify::new());
        let mut studio = Studio::new(data_dir, config, devices, &wake);
        let tapes = studio.links.iter().map(|link| Arc::clone(&link.tape)).collect();
        let (commands, mut asked) = mpsc::channel::<Command>(COMMANDS_MAX);
        let thread = Worker::start("recorder", |closing| async move {
            loop {
                let look = studio.is_recording().then(|| clock.mono() + LOOK_EVERY);
                let command = tokio::select! {
                    command = asked.recv() => command,
                    () = wake.notified() => None,
                    () = clock.sleep_until(look) => None,
                    () = closing.cancelled() => break,
                };
                let now = clock.now();
                if let Some((order, device, answer)) = command {
                    // Whoever asked may have gone away.
                    drop(answer.send(studio.obey(order, &device, now)));
                }
                studio.look(now);
            }
            studio.end();
        })?;
        Ok((Self { tapes, commands }, thread))
    }

    /// The tape of each device, in their order.
    pub(crate) fn tapes(&self) -> Vec<Arc<Tape>> {
        self.tapes.clone()
    }

    /// Starts or stops a trace.
    pub(crate) async fn ask(&self, order: Order, device: &str) -> Answer {
        let (answer, told) = oneshot::channel();
        let sent = self.commands.send((order, device.to_owned(), answer)).await;
        let told = if sent.is_ok() { told.await.ok() } else { None };
        told.unwrap_or_else(|| {
            let said = "the recorder has ended; restart the agent: systemctl restart clinic-agent";
            Answer::refused(said.to_owned())
        })
    }
}

/// All that is recorded.
struct Studio {
    folder: Folder,
    keep_bytes: u64,
    links: Vec<Link>,
}

struct Link {
    device: DeviceConfig,
    tape: Arc<Tape>,
    asked: Option<Take>,
    kept: Option<Take>,
    /// When something was kept last.
    kept_at: Option<MonoTime>,
}

impl Studio {
    fn new(
        data_dir: &Path,
        config: TraceConfig,
        devices: &[DeviceConfig],
        wake: &Arc<Notify>,
    ) -> Self {
        let link = |device: &DeviceConfig| Link {
            device: device.clone(),
            tape: Arc::new(Tape::new(config.ring_bytes, Arc::clone(wake))),
            asked: None,
            kept: None,
            kept_at: None,
        };
        Self {
            folder: Folder::new(data_dir),
            keep_bytes: config.keep_bytes,
            links: devices.iter().map(link).collect(),
        }
    }

    fn obey(&mut self, order: Order, device: &str, now: Now) -> Answer {
        let Some(link) = self.links.iter_mut().find(|link| link.device.id.as_str() == device)
        else {
            return Answer::refused(format!(
                "the running agent has no device {device}; after a change of agent.toml restart it"
            ));
        };
        match order {
            Order::Start => link.start(&self.folder, now),
            Order::Stop => link.stop(),
        }
    }

    /// Keeps what is worth keeping, and writes what was heard.
    fn look(&mut self, now: Now) {
        let mut written = false;
        for link in &mut self.links {
            if let Some(why) = link.tape.take_wish().filter(|_| self.keep_bytes > 0) {
                link.keep(&self.folder, &why, self.keep_bytes, now);
            }
            written |= link.kept.is_some();
            link.go_on(now.mono);
        }
        if written {
            self.make_room();
        }
    }

    fn make_room(&self) {
        let writing: Vec<_> =
            self.links.iter().filter_map(|link| Some(link.kept.as_ref()?.path())).collect();
        match self.folder.make_room(self.keep_bytes, &writing) {
            Ok(deleted) => {
                for path in deleted {
                    tracing::info!(
                        path = %path.display(),
                        keep_bytes = self.keep_bytes,
                        "An old trace is deleted to make room."
                    );
                }
            }
            Err(error) => tracing::error!(%error, "Old traces cannot be deleted."),
        }
    }

    fn is_recording(&self) -> bool {
        self.links.iter().any(|link| link.asked.is_some() || link.kept.is_some())
    }

    fn end(&mut self) {
        for link in &mut self.links {
            for mut take in link.asked.take().into_iter().chain(link.kept.take()) {
                close(&mut take, &link.tape, &link.device.id);
            }
        }
    }
}

impl Link {
    fn start(&mut self, folder: &Folder, now: Now) -> Answer {
        let id = &self.device.id;
        if let Some(take) = &self.asked {
            let path = take.path().display();
            return Answer::refused(format!(
                "{id} is being recorded to {path} already; end it with: clinic-agent trace stop {id}"
            ));
        }
        if folder.asked_bytes().is_ok_and(|bytes| bytes > ASKED_BYTES_MAX) {
            return Answer::refused(format!(
                "traces that were asked for fill more than {} MiB; take them away first: they end \
                 with -asked.trace in the folder traces of the data folder",
                ASKED_BYTES_MAX >> 20
            ));
        }
        let limits = Limits { until: now.mono + take::ASKED_FOR, max_bytes: take::ASKED_BYTES };
        let begun = Take::begin(folder, &self.device, &self.tape, Wish::Asked, now, limits);
        match begun {
            Ok(take) => {
                tracing::info!(device = %id, path = %take.path().display(), "A trace begins.");
                let said = format!(
                    "recording {id} to {}; end it with: clinic-agent trace stop {id}",
                    take.path().display()
                );
                self.tape.ask_anew(now.mono);
                self.asked = Some(take);
                Answer::done(said)
            }
            Err(error) => Answer::refused(format!(
                "the trace of {id} cannot be written: {error}; check the disk and the data folder"
            )),
        }
    }

    fn stop(&mut self) -> Answer {
        let id = &self.device.id;
        let Some(mut take) = self.asked.take() else {
            return Answer::refused(format!(
                "{id} is not being recorded; a trace ends by itself after {} MiB or {} h; begin \
                 one with: clinic-agent trace start {id}",
                take::ASKED_BYTES >> 20,
                take::ASKED_FOR.as_secs() / 3600
            ));
        };
        let path = take.path().display().to_string();
        if let Err(error) = take.end(&self.tape) {
            return Answer::refused(format!(
                "the end of {path} could not be written: {error}; what is there is good"
            ));
        }
        tracing::info!(device = %id, path, events = take.events(), "A trace ends.");
        if take.events() == 0 {
            return Answer::done(format!(
                "nothing happened on the link: {path} is empty; look at: clinic-agent status"
            ));
        }
        let events = take.events();
        Answer::done(format!(
            "{events} events are in {path}; read it with: clinic-sim decode {path}"
        ))
    }

    fn keep(&mut self, folder: &Folder, why: &str, max_bytes: u64, now: Now) {
        if self.kept_at.is_some_and(|before| now.mono.since(before) < KEEP_EVERY) {
            return;
        }
        self.kept_at = Some(now.mono);
        let limits = Limits { until: now.mono + KEEP_AFTER, max_bytes };
        let id = &self.device.id;
        match Take::begin(folder, &self.device, &self.tape, Wish::Kept(why), now, limits) {
            Ok(take) => {
                let path = take.path().display();
                tracing::info!(device = %id, why, %path, "The last minutes of a link are kept.");
                self.kept = Some(take);
            }
            Err(error) => {
                tracing::error!(device = %id, %error, "What a link said cannot be kept.");
            }
        }
    }

    fn go_on(&mut self, now: MonoTime) {
        let (tape, id) = (&self.tape, &self.device.id);
        for place in [&mut self.asked, &mut self.kept] {
            let Some(take) = place else { continue };
            match take.go_on(tape) {
                Ok(()) if !take.is_over(now) => {}
                Ok(()) => {
                    close(take, tape, id);
                    *place = None;
                }
                Err(error) => {
                    let path = take.path().display();
                    tracing::error!(device = %id, %path, %error, "A trace ends: check the disk.");
                    *place = None;
                }
            }
        }
    }
}

fn close(take: &mut Take, tape: &Tape, device: &DeviceId) {
    let path = take.path().display().to_string();
    match take.end(tape) {
        Ok(()) => tracing::info!(%device, path, events = take.events(), "A trace ends."),
        Err(error) => tracing::error!(%device, path, %error, "A trace has no end: check the disk."),
    }
}

#[cfg(test)]
mod tests;
