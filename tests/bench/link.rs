//! The way between an agent and the broker, through this program: cut, or as slow as a bench likes.
//!
//! Not `e2e::proxy`: that one is for stories, and carries 256 bytes at a time, however fast the link;
//! the time between two pieces would be what is measured here.

use anyhow::Context as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, sleep_until},
};

/// What is passed on at once: 20 ms of a link of 1 Mbit/s.
const CHUNK: usize = 2500;
/// A piece that was late because this machine was busy does not make the link slower, if it was not
/// later than this.
const SLACK: Duration = Duration::from_millis(100);

/// A way that stands until it is dropped.
pub(crate) struct Link {
    address: String,
    up: watch::Sender<bool>,
    passed: Arc<AtomicU64>,
}

impl Link {
    /// In front of that broker; `bytes_per_s` is the speed of the way up, if it has one.
    pub(crate) async fn open(broker: &str, bytes_per_s: Option<u64>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the link")?;
        let address = listener.local_addr()?.to_string();
        let (up, state) = watch::channel(true);
        let passed = Arc::default();
        let way = Way { broker: Arc::from(broker), bytes_per_s, passed: Arc::clone(&passed) };
        tokio::spawn(serve(listener, address.clone(), way, state));
        Ok(Self { address, up, passed })
    }

    /// Bytes that went up.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Relaxed)
    }

    /// Where the agent connects to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Takes the way away: what is under way is lost, and nobody listens.
    pub(crate) fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Gives it back.
    pub(crate) fn mend(&self) {
        self.up.send_replace(true);
    }
}

/// What every connection of a link has in common.
#[derive(Clone)]
struct Way {
    broker: Arc<str>,
    bytes_per_s: Option<u64>,
    passed: Arc<AtomicU64>,
}

async fn serve(
    listener: TcpListener,
    address: String,
    way: Way,
    mut up: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut listener = Some(listener);
    loop {
        let Some(open) = &listener else {
            drop(up.wait_for(|up| *up).await?);
            listener = Some(TcpListener::bind(&address).await.context("listening again")?);
            continue;
        };
        let mut state = up.clone();
        tokio::select! {
            accepted = open.accept() => {
                let (here, _) = accepted?;
                let Ok(there) = TcpStream::connect(&*way.broker).await else { continue };
                here.set_nodelay(true)?;
                there.set_nodelay(true)?;
                let way = way.clone();
                tokio::spawn(async move {
                    let (from_agent, to_agent) = here.into_split();
                    let (from_broker, to_broker) = there.into_split();
                    tokio::select! {
                        _ = pass(from_agent, to_broker, Some(way)) => {}
                        _ = pass(from_broker, to_agent, None) => {}
                        () = away(&mut state) => {}
                    }
                });
            }
            () = away(&mut up) => listener = None,
        }
    }
}

/// Until the way is taken away; the link that is dropped takes it away too.
async fn away(up: &mut watch::Receiver<bool>) {
    drop(up.wait_for(|up| !*up).await);
}

/// Passes on what comes, at most so fast: each piece takes its time on the way.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Option<Way>,
) -> anyhow::Result<()> {
    let mut chunk = [0; CHUNK];
    let mut free_at = Instant::now();
    loop {
        let count = from.read(&mut chunk).await?;
        let piece = chunk.get(..count).filter(|piece| !piece.is_empty()).context("its end")?;
        if let Some(Way { passed, .. }) = &way {
            passed.fetch_add(u64::try_from(count)?, Relaxed);
        }
        if let Some(bytes_per_s) = way.as_ref().and_then(|way| way.bytes_per_s) {
            let takes = Duration::from_secs(1) * u32::try_from(count)?;
            let late = Instant::now().checked_sub(SLACK).unwrap_or(free_at);
            free_at = free_at.max(late) + takes / u32::try_from(bytes_per_s)?;
            sleep_until(free_at).await;
        }
        to.write_all(piece).await?;
    }
}
