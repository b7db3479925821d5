//! Runs any serial driver on a port; opens the port again whenever it is lost.
//!
//! A port is whatever bytes go through: a serial port, or a connection of [`tcp_link`].
//!
//! # Invariants
//! - nothing read is a hang-up: an end, not an event (a pulled adapter reads as nothing for ever)
//! - a link that is lost is reported once, and again when it is back

use crate::{
    clock::Clock,
    config::{DeviceConfig, Port},
    frame_watch::FrameWatch,
    handover::Handover,
    holder,
    outbox::{Outbox, OutboxClosed},
    recorder::{Happened, Tape},
    status::Board,
    tcp_link::{self, Listener},
};
use drivers::{
    registry,
    serial::{LinkNote, Parity, PortSettings, SerialDriver, SerialEvent, SerialOutput},
};
use model::{device::DeviceState, record::Record};
use std::{io, path::Path, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
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
#[derive(Clone)]
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
    #[error("the port hung up; {advice}")]
    HungUp { advice: &'static str },
    #[error("reading failed: {source}; {advice}")]
    Read { source: io::Error, advice: &'static str },
    #[error("writing failed: {source}; {advice}")]
    Write { source: io::Error, advice: &'static str },
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
    let cursor = link.outbox.cursor(&config.id).await?;
    let committed = link.outbox.committed(link.number).await?;
    let driver = registry::create(config.driver, config.id.clone(), &config.options, cursor);
    let mut session = Session {
        link: &link,
        driver,
        committed,
        handover: Handover {
            link: link.number,
            device: config.id.clone(),
            kind: config.options.kind_of(config.driver),
            driver: config.driver.name(),
            expected_interval_ms: config.expected_interval_ms,
            outbox: link.outbox.clone(),
            board: Arc::clone(&link.board),
            clock: link.clock,
            count: 0,
        },
        heard: 0,
        is_lost: false,
        watch: FrameWatch::default(),
    };
    let mut listener = None;
    let mut wait = REOPEN_AFTER.0;
    loop {
        let opened_at = link.clock.mono();
        let error = match session.open_and_run(&mut listener).await {
            Ok(()) => return Ok(()),
            Err(LinkError::Outbox(closed)) => return Err(closed),
            Err(error) => error,
        };
        link.board.port_lost(&config.id, &error.to_string());
        if !std::mem::replace(&mut session.is_lost, true) {
            tracing::warn!(device = %config.id, port = %config.port, %error, "Port is lost.");
            session.handover.report(DeviceState::LinkDown, &error.to_string()).await?;
        }
        let held = link.clock.mono().since(opened_at) >= GOOD_AFTER;
        // A device that comes now and then must not find the door closed.
        if held || matches!(config.port, Port::Listen(_)) {
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
    handover: Handover,
    /// Up to which of them the driver knows that they are committed.
    heard: u64,
    /// Whether it was told that the link is lost, and not yet that it is back.
    is_lost: bool,
    watch: FrameWatch,
}

impl Session<'_> {
    /// Opens the port, whatever it is, and runs the driver on it; `Ok` when the agent stops.
    async fn open_and_run(&mut self, listener: &mut Option<Listener>) -> Result<(), LinkError> {
        let link = self.link;
        match &link.config.port {
            Port::Serial(path) => self.run(open(path, link.config.settings)?).await,
            Port::Connect { host, port } => tokio::select! {
                stream = tcp_link::connect(host, *port) => {
                    self.run(stream.map_err(LinkError::Open)?).await
                }
                () = link.stopped.cancelled() => Ok(()),
            },
            Port::Listen(at) => {
                let listener = match listener {
                    Some(listener) => listener,
                    None => listener.insert(Listener::bind(*at).await.map_err(LinkError::Open)?),
                };
                let (stream, peer) = tokio::select! {
                    accepted = listener.accept() => accepted.map_err(LinkError::Open)?,
                    () = link.stopped.cancelled() => return Ok(()),
                };
                tokio::select! {
                    ended = self.run(stream) => ended,
                    never = listener.turn_away(peer, link) => match never {},
                }
            }
        }
    }

    /// Runs the driver on an open port; `Ok` when the agent stops.
    async fn run(
        &mut self,
        mut port: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(), LinkError> {
        let config = &self.link.config;
        self.link.board.port_opened(&config.id);
        self.watch = FrameWatch::default();
        if std::mem::take(&mut self.is_lost) {
            tracing::info!(device = %config.id, port = %config.port, "Port is back.");
            // A cuff or meter may say nothing for hours: its tile must not stay as it is.
            self.handover.report(DeviceState::Waiting, "the port is open again").await?;
        }
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

    async fn on_port(
        &mut self,
        port: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<(), LinkError> {
        let advice = self.link.config.port.advice();
        let mut chunk = [0; CHUNK];
        let now = self.link.clock.now();
        self.link.tape.happened(now.mono, Happened::Opened);
        self.driver.handle(now, SerialEvent::Opened);
        // Of the event before, if it was bytes.
        let mut arrived = 0;
        loop {
            let mut understood = false;
            while let Some(output) = self.driver.poll_output() {
                understood |= matches!(output, SerialOutput::Emit(_) | SerialOutput::Remember(_));
                match output {
                    SerialOutput::Send(bytes) => {
                        let begun = self.link.clock.mono();
                        tokio::select! {
                            sent = send(port, &bytes) => {
                                sent.map_err(|source| LinkError::Write { source, advice })?;
                            }
                            () = self.link.stopped.cancelled() => return Ok(()),
                        }
                        self.link.tape.happened(begun, Happened::Sent(&bytes));
                    }
                    output => self.keep(output).await?,
                }
            }
            self.watch_frames(std::mem::take(&mut arrived), understood).await?;
            let event = tokio::select! {
                read = port.read(&mut chunk) => match read {
                    Ok(0) => return Err(LinkError::HungUp { advice }),
                    Ok(count) => SerialEvent::Received(chunk.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(source) => return Err(LinkError::Read { source, advice }),
                },
                changed = self.committed.changed() => {
                    changed.map_err(|_| OutboxClosed)?;
                    let committed = *self.committed.borrow_and_update();
                    if committed < self.handover.count || committed == self.heard {
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
                arrived = bytes.len();
                self.link.tape.happened(now.mono, Happened::Received(bytes));
            }
            self.driver.handle(now, event);
        }
    }

    /// Says so when bytes arrive and the driver understands none of them.
    async fn watch_frames(&mut self, count: usize, understood: bool) -> Result<(), OutboxClosed> {
        if count == 0 {
            return Ok(());
        }
        let now = self.link.clock.mono();
        self.watch.received(now, count, understood);
        if !self.watch.must_tell(now) {
            return Ok(());
        }
        let config = &self.link.config;
        let text = format!(
            "bytes arrive, none make a frame: check speed and parity{}, and that it is a {}; \
             {} expected",
            config.port.place_of_settings(),
            config.driver.name(),
            config.settings
        );
        self.link.board.hinted(&config.id, &text);
        self.keep(SerialOutput::Note(LinkNote { kind: "no_frame", text })).await
    }

    /// Hands what is not for the port to the outbox and the status board.
    async fn keep(&mut self, output: SerialOutput) -> Result<(), OutboxClosed> {
        self.link.tape.told(self.link.clock.mono(), &output);
        if let SerialOutput::Emit(Record::Status(status)) = &output
            && status.device == self.link.config.id
            && status.state == DeviceState::Silent
        {
            self.watch.fell_silent();
        }
        self.handover.keep(output).await
    }
}

async fn send(port: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    match tokio::time::timeout(WRITE_LIMIT, port.write_all(bytes)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn open(path: &Path, settings: PortSettings) -> Result<SerialStream, LinkError> {
    let PortSettings { baud, data_bits, parity, stop_bits } = settings;
    // The path is looked up anew each time: a symlink may lead elsewhere after a re-plug.
    tokio_serial::new(path.to_string_lossy(), baud)
        .data_bits(if data_bits == 7 { DataBits::Seven } else { DataBits::Eight })
        .parity(match parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(if stop_bits == 2 { StopBits::Two } else { StopBits::One })
        .open_native_async()
        .map_err(|error| LinkError::Open(explained(path, &error)))
}

/// Why a port cannot be opened, and what to do about it.
pub(crate) fn explained(path: &Path, error: &tokio_serial::Error) -> String {
    match error.kind() {
        tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => {
            "it is not there; plug the adapter in, or correct the port in agent.toml".to_owned()
        }
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            "not permitted; add the user who runs clinic-agent to the group dialout".to_owned()
        }
        tokio_serial::ErrorKind::NoDevice => {
            format!("it is in use by {}; stop that program", holder::told(path))
        }
        _ => error.to_string(),
    }
}
