//! Reaches a device over TCP: connects to a serial server, or waits for a device that connects.
//!
//! Not here: what runs on the connection; that is the same as on a serial port.
//!
//! # Invariants
//! - a peer that is gone without a word is noticed within [`DEAD_AFTER`]
//! - one device, one connection: whoever comes while it is held is turned away, and told in the log

use crate::serial_port::Link;
use drivers::serial::LinkNote;
use model::time::MonoTime;
use rustix::net::sockopt;
use std::{convert::Infallible, io, net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// A serial server in the same building answers in milliseconds; one that is away does not.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A device that is to come is missed after this: as long as a reboot of a small one takes.
const COME_LIMIT: Duration = Duration::from_secs(10);
/// Idle for this long, the peer is asked whether it is there; a device that was switched off and
/// on again says no, and can come back.
const ASK_AFTER: Duration = Duration::from_secs(5);
/// And then as often as this.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// A peer that does not answer for this long is gone: a monitor's tile is stale after 10 s.
const DEAD_AFTER: Duration = Duration::from_secs(15);
/// The same in questions, for a kernel that counts them.
const QUESTIONS: u32 = 3;
/// A second device that tries every second fills a counter and not the log.
const TURNED_AWAY_EVERY: Duration = Duration::from_secs(60);
/// After an error of `accept`, mostly too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Connects to a serial server; the error says what to do.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let connecting = TcpStream::connect((host, port));
    let connected = match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let stream = connected.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nobody listens there; check the port number in the serial server's settings".to_owned()
        }
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => {
            "it does not answer; check network cable, address and power of the serial server"
                .to_owned()
        }
        _ => error.to_string(),
    })?;
    prepare(&stream).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Where one device connects to.
#[derive(Debug)]
pub(crate) struct Listener {
    inner: TcpListener,
    /// When somebody who was turned away was last told, and how many were not since.
    told: Option<MonoTime>,
    left_out: u64,
}

impl Listener {
    /// Begins to listen; the error says what to do.
    pub(crate) async fn bind(at: SocketAddr) -> Result<Self, String> {
        let bound = TcpListener::bind(at).await;
        let inner = bound.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("another program listens at port {}; choose another", at.port())
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("this box has no address {}; see: ip address", at.ip())
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 are not for the agent; choose another".to_owned()
            }
            _ => error.to_string(),
        })?;
        Ok(Self { inner, told: None, left_out: 0 })
    }

    /// Waits a while for the device; the error says what to do.
    pub(crate) async fn accept(&self) -> Result<(TcpStream, SocketAddr), String> {
        match tokio::time::timeout(COME_LIMIT, self.inner.accept()).await {
            Ok(Ok((stream, peer))) => {
                prepare(&stream).map_err(|error| error.to_string())?;
                Ok((stream, peer))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the device has not connected; check its power, its network and the \
                     address it connects to"
                .to_owned()),
        }
    }

    /// Turns everybody away while `holder` is connected.
    pub(crate) async fn turn_away(&mut self, holder: SocketAddr, link: &Link) -> Infallible {
        let device = &link.config.id;
        loop {
            let Ok((stream, peer)) = self.inner.accept().await else {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            drop(stream);
            let text =
                format!("{peer} was turned away: {holder} is connected; one port, one device");
            link.board.noted(device, &LinkNote { kind: "turned_away", text });
            let now = link.clock.mono();
            if self.told.is_some_and(|told| now.since(told) < TURNED_AWAY_EVERY) {
                self.left_out += 1;
                continue;
            }
            self.told = Some(now);
            let left_out = std::mem::take(&mut self.left_out);
            tracing::warn!(%device, %peer, %holder, left_out, "A second connection was turned away.");
        }
    }
}

/// Sends small lines at once, and notices a peer that is gone.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, QUESTIONS)?;
    let dead_after = u32::try_from(DEAD_AFTER.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, dead_after)?;
    Ok(())
}
