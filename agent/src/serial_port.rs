//! Runs any serial driver on a port; opens the port again whenever it is lost.
//!
//! # Invariants
//! - nothing read is a hang-up: an end, not an event (a pulled adapter reads as nothing for ever)
//! - a link that is lost is reported once, and again when it is back

use crate::{
    clock::Clock,
    config::DeviceConfig,
    outbox::{AskOutboxError, Origin, Outbox, OutboxClosed},
    recorder::{Happened, Tape},
    status::Board,
};
use drivers::{
    registry,
    serial::{Parity, PortSettings, SerialDriver, SerialEvent, SerialOutput},
};
use model::{
    device::{DeviceState, DeviceStatus},
    record::Record,
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
};
use tokio_serial::{DataBits, SerialPortBuilderExt as _, SerialStream, StopBits};
use tokio_util::sync::CancellationToken;

/// Back-off between attempts to open a port: first and last.
const REOPEN_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// A link that held this long was good: the next loss begins with the first back-off again.
const GOOD_AFTER: Duration = Duration::from_secs(30);
/// A driver that cannot write for this long has lost its device.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// A second of the fastest device is 3.6 kB.
const CHUNK: usize = 4096;

/// One link and all it needs.
pub(crate) struct Link {
    /// Counted from 0.
    pub(crate) number: usize,
    pub(crate) config: DeviceConfig,
    pub(crate) outbox: Outbox,
    pub(crate) board: Arc<Board>,
    pub(crate) tape: Arc<Tape>,
    pub(crate) clock: Clock,
    pub(crate) stopped: CancellationToken,
}

/// Why a link ended.
#[derive(Debug, Error)]
enum LinkError {
    #[error("cannot open the port: {0}")]
    Open(String),
    #[error("the port hung up; check the cable and the adapter")]
    HungUp,
    #[error("reading failed: {0}; check the cable and the adapter")]
    Read(io::Error),
    #[error("writing failed: {0}; check the cable and the adapter")]
    Write(io::Error),
    #[error("a trace begins with what the driver says first")]
    Anew,
    #[error(transparent)]
    Outbox(#[from] OutboxClosed),
}

/// Serves one device until the agent stops.
pub(crate) async fn run(link: Link) {
    if let Err(OutboxClosed) = serve(link).await {
        tracing::debug!("A link ended with the outbox.");
    }
}

async fn serve(link: Link) -> Result<(), OutboxClosed> {
    let config = &link.config;
    let cursor = match link.outbox.cursor(config.id.clone()).await {
        Ok(cursor) => cursor,
        Err(AskOutboxError::Closed(closed)) => return Err(closed),
        Err(AskOutboxError::File(error)) => {
            // The device tells again what it told before; repeats are not recorded twice.
            tracing::error!(device = %config.id, %error, "What the driver knew cannot be read.");
            None
        }
    };
    let committed = link.outbox.committed(link.number).await?;
    let driver = registry::create(config.driver, config.id.clone(), &config.options, cursor);
    let mut session = Session { link: &link, driver, committed, handed_over: 0, heard: 0 };
    let mut wait = REOPEN_AFTER.0;
    let mut told = false;
    loop {
        let opened_at = link.clock.mono();
        let ended = match open(config) {
            Ok(port) => {
                link.board.port_opened(&config.id);
                if std::mem::take(&mut told) {
                    tracing::info!(device = %config.id, port = %config.port.display(), "Port is back.");
                    // A cuff or meter may say nothing for hours: its tile must not stay as it is.
                    session.report(DeviceState::Waiting, "the port is open again").await?;
                }
                session.run(port).await
            }
            Err(error) => Err(error),
        };
        let error = match ended {
            Ok(()) => return Ok(()),
            Err(LinkError::Outbox(closed)) => return Err(closed),
            Err(error) => error,
        };
        link.board.port_lost(&config.id, &error.to_string());
        if !told {
            told = true;
            tracing::warn!(device = %config.id, port = %config.port.display(), %error, "Port is lost.");
            session.report(DeviceState::LinkDown, &error.to_string()).await?;
        }
        if link.clock.mono().since(opened_at) >= GOOD_AFTER {
            wait = REOPEN_AFTER.0;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = link.stopped.cancelled() => return Ok(()),
        }
        wait = (wait * 2).min(REOPEN_AFTER.1);
    }
}

/// One driver, over many openings of its port.
struct Session<'a> {
    link: &'a Link,
    driver: Box<dyn SerialDriver>,
    committed: watch::Receiver<u64>,
    /// How many records and cursors were handed over.
    handed_over: u64,
    /// Up to which of them the driver knows that they are committed.
    heard: u64,
}

impl Session<'_> {
    /// Runs the driver on an open port; `Ok` when the agent stops.
    async fn run(&mut self, mut port: SerialStream) -> Result<(), LinkError> {
        let ended = loop {
            match self.on_port(&mut port).await {
                // The port stays open: what the device says meanwhile is not lost.
                Err(LinkError::Anew) => self.close().await?,
                ended => break ended,
            }
        };
        drop(port);
        self.close().await?;
        ended
    }

    async fn close(&mut self) -> Result<(), OutboxClosed> {
        let now = self.link.clock.now();
        self.link.tape.happened(now.mono, Happened::Closed);
        self.driver.handle(now, SerialEvent::Closed);
        // What the driver still had goes to the outbox; there is nobody to send to.
        while let Some(output) = self.driver.poll_output() {
            if !matches!(output, SerialOutput::Send(_)) {
                self.keep(output).await?;
            }
        }
        Ok(())
    }

    async fn on_port(&mut self, port: &mut SerialStream) -> Result<(), LinkError> {
        let mut chunk = [0; CHUNK];
        let now = self.link.clock.now();
        self.link.tape.happened(now.mono, Happened::Opened);
        self.driver.handle(now, SerialEvent::Opened);
        loop {
            while let Some(output) = self.driver.poll_output() {
                match output {
                    SerialOutput::Send(bytes) => {
                        let begun = self.link.clock.mono();
                        tokio::select! {
                            sent = send(port, &bytes) => sent?,
                            () = self.link.stopped.cancelled() => return Ok(()),
                        }
                        self.link.tape.happened(begun, Happened::Sent(&bytes));
                    }
                    output => self.keep(output).await?,
                }
            }
            let event = tokio::select! {
                read = port.read(&mut chunk) => match read {
                    Ok(0) => return Err(LinkError::HungUp),
                    Ok(count) => SerialEvent::Received(chunk.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(LinkError::Read(error)),
                },
                changed = self.committed.changed() => {
                    changed.map_err(|_| OutboxClosed)?;
                    let committed = *self.committed.borrow_and_update();
                    if committed < self.handed_over || committed == self.heard {
                        continue;
                    }
                    self.heard = committed;
                    SerialEvent::Committed
                }
                () = self.link.clock.sleep_until(self.driver.next_timeout()) => SerialEvent::TimedOut,
                () = self.link.tape.anew(self.link.clock) => return Err(LinkError::Anew),
                () = self.link.stopped.cancelled() => return Ok(()),
            };
            let now = self.link.clock.now();
            if let SerialEvent::Received(bytes) = event {
                self.link.board.received(&self.link.config.id, bytes.len());
                self.link.tape.happened(now.mono, Happened::Received(bytes));
            }
            self.driver.handle(now, event);
        }
    }

    /// Hands what is not for the port to the outbox and the status board.
    async fn keep(&mut self, output: SerialOutput) -> Result<(), OutboxClosed> {
        let (outbox, device) = (&self.link.outbox, &self.link.config.id);
        self.link.tape.told(self.link.clock.mono(), &output);
        match output {
            SerialOutput::Send(_) => {}
            SerialOutput::Emit(record) => {
                self.link.board.emitted(device, &record, self.link.clock.now());
                self.handed_over += 1;
                outbox.enqueue(self.origin(), record).await?;
            }
            SerialOutput::Remember(cursor) => {
                self.handed_over += 1;
                outbox.remember(self.origin(), device.clone(), cursor).await?;
            }
            SerialOutput::Note(note) => {
                self.link.board.noted(device, &note);
                tracing::warn!(%device, kind = note.kind, note.text, "Something is wrong on the link.");
            }
        }
        Ok(())
    }

    async fn report(&mut self, state: DeviceState, reason: &str) -> Result<(), OutboxClosed> {
        let config = &self.link.config;
        let status = DeviceStatus {
            device: config.id.clone(),
            kind: config.driver.kind(),
            driver: config.driver.name().to_owned(),
            state,
            reason: reason.to_owned(),
            about: BTreeMap::new(),
            observed: self.link.clock.now().observed(),
        };
        self.keep(SerialOutput::Emit(Record::Status(status))).await
    }

    fn origin(&self) -> Origin {
        Origin { link: self.link.number, number: self.handed_over }
    }
}

async fn send(port: &mut SerialStream, bytes: &[u8]) -> Result<(), LinkError> {
    match tokio::time::timeout(WRITE_LIMIT, port.write_all(bytes)).await {
        Ok(written) => written.map_err(LinkError::Write),
        Err(_) => Err(LinkError::Write(io::ErrorKind::TimedOut.into())),
    }
}

fn open(config: &DeviceConfig) -> Result<SerialStream, LinkError> {
    let PortSettings { baud, data_bits, parity, stop_bits } = config.settings;
    // The path is looked up anew each time: a symlink may lead elsewhere after a re-plug.
    tokio_serial::new(config.port.to_string_lossy(), baud)
        .data_bits(if data_bits == 7 { DataBits::Seven } else { DataBits::Eight })
        .parity(match parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(if stop_bits == 2 { StopBits::Two } else { StopBits::One })
        .open_native_async()
        .map_err(|error| LinkError::Open(explained(&error)))
}

fn explained(error: &tokio_serial::Error) -> String {
    match error.kind() {
        tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => {
            "it is not there; plug the adapter in, or correct the port in agent.toml".to_owned()
        }
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            "the agent's user may not use it; add the user to the group dialout".to_owned()
        }
        tokio_serial::ErrorKind::NoDevice => {
            "it is in use by another program (ModemManager or a terminal?); stop that program"
                .to_owned()
        }
        _ => error.to_string(),
    }
}
