//! A link between an agent and its broker that goes wrong: cut, swallowing, half open, slow.
//!
//! It carries bytes of TCP; TLS passes. What it swallows never arrives: a connection on which
//! something was swallowed does not come back to life, and the next one may be good.

use anyhow::Context as _;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// A slow link with more than this in it would be a long one too: some seconds of 20 kbit/s.
const BUFFER: u32 = 4096;
/// Carried at once: at 20 kbit/s a tenth of a second.
const PIECE: usize = 256;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// What is said arrives.
    Passes,
    /// What the agent says is swallowed, its end too.
    SwallowsUp,
    /// What the broker says is swallowed, its end too.
    SwallowsDown,
    /// Nobody hears anything of the other.
    SwallowsAll,
    /// The broker hears the end, the agent hears nothing any more.
    HalfOpen,
    /// Both hear an orderly end.
    Ends,
    /// Both hear that it was torn.
    Resets,
}

impl Fate {
    const fn swallows_up(self) -> bool {
        matches!(self, Self::SwallowsUp | Self::SwallowsAll)
    }

    const fn swallows_down(self) -> bool {
        matches!(self, Self::SwallowsDown | Self::SwallowsAll)
    }

    const fn is_end(self) -> bool {
        matches!(self, Self::HalfOpen | Self::Ends | Self::Resets)
    }
}

/// How the link is.
#[derive(Clone, Copy, Debug)]
struct Link {
    fate: Fate,
    /// Connections with a lower number meet that fate; later ones pass.
    until: u64,
    bytes_per_s: Option<u64>,
    accepted: u64,
}

/// The link.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    link: watch::Sender<Link>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens in front of that broker.
    ///
    /// # Errors
    /// When there is no port.
    pub fn to(broker: &str) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4().context("making a socket")?;
        // Connections that are accepted have it from the listener.
        socket.set_recv_buffer_size(BUFFER).context("making the buffer small")?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("asking for a free port")?;
        let listener = socket.listen(16).context("listening")?;
        let port = listener.local_addr().context("asking for the port")?.port();
        let link = Link { fate: Fate::Passes, until: 0, bytes_per_s: None, accepted: 0 };
        let link = watch::Sender::new(link);
        let accepting = tokio::spawn(accept(listener, broker.into(), link.clone()));
        Ok(Self { port, link, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// The port on this machine where the broker is found.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// That port of 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// That becomes of the connections there are; the next one passes.
    pub fn present(&self, fate: Fate) {
        self.link.send_modify(|link| (link.fate, link.until) = (fate, link.accepted));
    }

    /// That becomes of the connections there are, and of each one that comes.
    pub fn all(&self, fate: Fate) {
        self.link.send_modify(|link| (link.fate, link.until) = (fate, u64::MAX));
    }

    /// What passes in each direction; none: as fast as it can.
    pub fn limit(&self, bits_per_s: Option<u64>) {
        self.link.send_modify(|link| link.bytes_per_s = bits_per_s.map(|bits| bits / 8));
    }

    /// Connections so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.link.borrow().accepted
    }
}

async fn accept(listener: TcpListener, broker: Arc<str>, link: watch::Sender<Link>) {
    let mut connections = JoinSet::new();
    while let Ok((agent, _)) = listener.accept().await {
        let fated = Fated { number: link.borrow().accepted, link: link.subscribe() };
        link.send_modify(|link| link.accepted += 1);
        let broker = Arc::clone(&broker);
        connections.spawn(async move {
            match TcpStream::connect(&*broker).await {
                Ok(broker) => carry(agent, broker, fated).await,
                // Nobody listens there: nobody listens here either.
                Err(_) => drop(agent.set_zero_linger()),
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// A connection and the link it goes over.
#[derive(Clone)]
struct Fated {
    number: u64,
    link: watch::Receiver<Link>,
}

impl Fated {
    fn fate(&self) -> Fate {
        let link = self.link.borrow();
        if self.number < link.until { link.fate } else { Fate::Passes }
    }

    /// Until it is to end, and how.
    async fn end(&mut self) -> Fate {
        loop {
            let fate = self.fate();
            if fate.is_end() {
                return fate;
            }
            if self.link.changed().await.is_err() {
                return Fate::Ends;
            }
        }
    }

    /// How long the link is busy with so many bytes.
    fn time(&self, bytes: usize) -> Option<Duration> {
        let rate = self.link.borrow().bytes_per_s?;
        let micros = u64::try_from(bytes).ok()?.saturating_mul(1_000_000) / rate.max(1);
        Some(Duration::from_micros(micros))
    }
}

/// Carries both ways until both have ended, or fate ends it.
async fn carry(mut agent: TcpStream, mut broker: TcpStream, fated: Fated) {
    let mut watched = fated.clone();
    // Nothing of what is sent waits for more: latencies are those of the link.
    drop((agent.set_nodelay(true), broker.set_nodelay(true)));
    let (mut from_agent, mut to_agent) = agent.split();
    let (mut from_broker, mut to_broker) = broker.split();
    let end = tokio::select! {
        end = watched.end() => end,
        _ = async { tokio::join!(
            pump(&mut from_agent, &mut to_broker, &fated, Fate::swallows_up),
            pump(&mut from_broker, &mut to_agent, &fated, Fate::swallows_down),
        ) } => return,
    };
    match end {
        Fate::Resets => drop((agent.set_zero_linger(), broker.set_zero_linger())),
        Fate::HalfOpen => {
            drop(broker);
            let mut nothing = [0; PIECE];
            while agent.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
        }
        _ => {}
    }
}

/// Carries one way, until that ends.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    fated: &Fated,
    swallows: fn(Fate) -> bool,
) {
    let (mut piece, mut is_dead) = ([0; PIECE], false);
    loop {
        let read = from.read(&mut piece).await.unwrap_or(0);
        is_dead |= swallows(fated.fate());
        let said = piece.get(..read).unwrap_or_default();
        if is_dead && read > 0 {
            continue;
        }
        if is_dead {
            return;
        }
        if said.is_empty() {
            // Gone already: the other way ends too.
            drop(to.shutdown().await);
            return;
        }
        if let Some(time) = fated.time(read) {
            tokio::time::sleep(time).await;
        }
        if to.write_all(said).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::time::timeout;

    /// What a test waits for at most.
    const LIMIT: Duration = Duration::from_secs(10);
    /// What does not come in this time does not come.
    const NOTHING: Duration = Duration::from_millis(200);

    /// A broker behind a link, and both ends of one connection.
    async fn connected() -> (Proxy, TcpListener, TcpStream, TcpStream) {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::to(&broker.local_addr().unwrap().to_string()).unwrap();
        let agent = TcpStream::connect(proxy.address()).await.unwrap();
        let (there, _) = broker.accept().await.unwrap();
        (proxy, broker, agent, there)
    }

    async fn heard(end: &mut TcpStream) -> std::io::Result<Vec<u8>> {
        let mut bytes = [0; 16];
        let read = timeout(LIMIT, end.read(&mut bytes)).await.unwrap()?;
        Ok(bytes[..read].to_vec())
    }

    async fn hears_nothing(end: &mut TcpStream) {
        assert!(timeout(NOTHING, end.read(&mut [0; 16])).await.is_err());
    }

    #[tokio::test]
    async fn what_is_swallowed_never_comes_and_the_next_connection_is_good() {
        for (fate, up, down) in [
            (Fate::SwallowsUp, false, true),
            (Fate::SwallowsDown, true, false),
            (Fate::SwallowsAll, false, false),
        ] {
            let (proxy, broker, mut agent, mut there) = connected().await;
            agent.write_all(b"before").await.unwrap();
            assert_eq!(heard(&mut there).await.unwrap(), b"before");
            proxy.present(fate);
            agent.write_all(b"up").await.unwrap();
            there.write_all(b"down").await.unwrap();
            match up {
                true => assert_eq!(heard(&mut there).await.unwrap(), b"up"),
                false => hears_nothing(&mut there).await,
            }
            match down {
                true => assert_eq!(heard(&mut agent).await.unwrap(), b"down"),
                false => hears_nothing(&mut agent).await,
            }
            let mut next = TcpStream::connect(proxy.address()).await.unwrap();
            next.write_all(b"next").await.unwrap();
            let (mut there, _) = broker.accept().await.unwrap();
            assert_eq!(heard(&mut there).await.unwrap(), b"next");
            assert_eq!(proxy.accepted(), 2);
        }
    }

    #[tokio::test]
    async fn both_hear_the_end_or_only_the_broker() {
        let (proxy, _broker, mut agent, mut there) = connected().await;
        proxy.present(Fate::HalfOpen);
        assert_eq!(heard(&mut there).await.unwrap(), b"");
        hears_nothing(&mut agent).await;
        let (proxy, _broker, mut agent, mut there) = connected().await;
        proxy.present(Fate::Ends);
        assert_eq!(heard(&mut there).await.unwrap(), b"");
        assert_eq!(heard(&mut agent).await.unwrap(), b"");
        let (proxy, _broker, mut agent, mut there) = connected().await;
        proxy.present(Fate::Resets);
        for end in [&mut there, &mut agent] {
            let error = heard(end).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn a_slow_link_takes_its_time() {
        let (proxy, _broker, mut agent, mut there) = connected().await;
        proxy.limit(Some(20_000));
        let before = Instant::now();
        agent.write_all(&[7; 1000]).await.unwrap();
        let mut all = [0; 1000];
        timeout(LIMIT, there.read_exact(&mut all)).await.unwrap().unwrap();
        // 8000 bits: 0.4 s.
        assert!(before.elapsed() >= Duration::from_millis(390), "{:?}", before.elapsed());
    }
}
