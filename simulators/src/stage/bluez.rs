//! Virtual Bluetooth LE devices behind a simulated `org.bluez` on a private bus.
//!
//! It behaves as bluetoothd 5.66 was seen to behave, and by default as nastily as that may be: the
//! first value comes before StartNotify is answered; after a reconnect notify sessions are restored
//! and values sent before ServicesResolved; Pair before ServicesResolved bonds and is never
//! answered; Set Powered is Busy at first; the first Connect after a disconnect fails; what is not
//! known is absent; AcquireNotify is not supported; handles move on every third link. Polite or not,
//! what is read is told as a change of `Value` too, like what a device says by itself.
//!
//! Not here: what a device says (package `virtual-devices`). Delays are shorter than real ones and
//! follow the stage's clock.
//!
//! - [`bus`]: a bus of one's own
//! - `daemon`: bluetoothd; `peer`: a device as bluetoothd knows it; `tree`: objects and properties
//!
//! # Invariants
//! - an indication is confirmed to the device once its value is on the bus, whether or not anybody
//!   listens: that is what makes a real reading vanish
//! - messages go out in the order in which they came to be

pub mod bus;
mod daemon;
mod peer;
mod tree;

use super::pty::StageTime;
use anyhow::{Context as _, bail};
pub use bus::PrivateBus;
use daemon::{Daemon, Order};
use peer::Peer;
use std::path::Path;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use virtual_devices::{
    SimTime,
    gatt::{GattDevice, Uuid, faults::AirPlan},
};

/// Orders that may wait.
const ORDERS: usize = 16;

/// How bluetoothd behaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Manners {
    /// As badly as it may.
    #[default]
    Nasty,
    /// As everybody expects.
    Polite,
}

/// A device on the air.
pub struct OnAir {
    /// Its address, `C0:26:DA:00:00:01`.
    pub address: String,
    /// What it is.
    pub device: Box<dyn GattDevice>,
    /// Whether it was paired with this host before.
    pub is_bonded: bool,
}

/// How long things take, in device time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timings {
    /// From "it advertises" to "there is a link".
    pub connect_ms: u64,
    /// From the link to the services of a device: between these two.
    pub resolve_ms: (u64, u64),
    /// From Disconnect to the end of the link.
    pub disconnect_ms: u64,
    /// From an indication on the air to what comes next.
    pub interval_ms: u64,
    /// So many links at once.
    pub links_max: usize,
}

impl Timings {
    /// As measured with BlueZ 5.66: "Connect took about 2 s, services resolved 0.3 to 2.7 s later,
    /// Disconnect takes about 2 to 2.5 s"; an indication and its confirmation take two connection
    /// intervals of 15 ms, and an adapter keeps seven links.
    pub const REAL: Self = Self {
        connect_ms: 2_000,
        resolve_ms: (300, 2_700),
        disconnect_ms: 2_200,
        interval_ms: 30,
        links_max: 7,
    };

    /// For that link of that device.
    fn resolve_ms(&self, place: usize, link: u64) -> u64 {
        let (low, high) = self.resolve_ms;
        let place = u64::try_from(place).unwrap_or_default();
        // Spread evenly, and the same in every run.
        low + (place * 1_117 + link * 683) % (high - low + 1)
    }
}

impl Default for Timings {
    /// For play: fast, one value directly behind the other, and as many links as one likes.
    fn default() -> Self {
        Self {
            connect_ms: 60,
            resolve_ms: (150, 150),
            disconnect_ms: 100,
            interval_ms: 0,
            links_max: usize::MAX,
        }
    }
}

/// What is wrong with one device, on top of the manners.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quirk {
    /// It has forgotten the bond, and ends each connection of a host that has not.
    ForgotBond,
    /// Its advertisements do not name its services.
    HidesServices,
    /// The next Pair bonds and is never answered, whenever it comes.
    SwallowsPair,
}

/// A value that was handed to bluetoothd, and by it to the bus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    /// The device.
    pub address: String,
    /// The characteristic.
    pub uuid: Uuid,
    /// What was said.
    pub value: Vec<u8>,
    /// Whether it was confirmed, and the device has deleted it now, if it deletes.
    pub is_confirmed: bool,
    /// Whether any program had a notify session for it; if none had, nobody will ever see it.
    pub is_heard: bool,
    /// The first of them, by its name on the bus.
    pub listener: Option<String>,
    /// When.
    pub at: SimTime,
}

/// The stage: a bluetoothd with its devices.
#[derive(Debug)]
pub struct Bluez {
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
    values: watch::Receiver<u64>,
    playing: JoinHandle<anyhow::Result<()>>,
    writing: JoinHandle<anyhow::Result<()>>,
}

impl Bluez {
    /// Takes the name `org.bluez` on the bus at that address and plays the devices; truth goes to
    /// the end of the file `truth`.
    ///
    /// # Errors
    /// When the bus or the file cannot be opened, or somebody else has the name.
    pub async fn start(
        bus_address: &str,
        devices: Vec<OnAir>,
        manners: Manners,
        time: StageTime,
        truth: &Path,
    ) -> anyhow::Result<Self> {
        let (facts, writing) = crate::site::write_truth(truth)?;
        let (orders, ordered) = mpsc::channel(ORDERS);
        let peers = devices.into_iter().map(Peer::new).collect();
        let (told, values) = watch::channel(0);
        let mut daemon = Daemon::new(bus_address, manners, time, peers, facts, told);
        let stream = daemon.begin().await?;
        let playing = tokio::spawn(daemon.run(stream, ordered));
        Ok(Self { orders, values, playing, writing })
    }

    /// The link to that address is lost, at whatever it was.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn pull_link(&self, address: &str) -> anyhow::Result<()> {
        self.order(Order::Pull(address.to_owned())).await
    }

    /// The link to that address is lost as soon as so many more values were handed over (at least
    /// one): in the middle of whatever that is.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn pull_link_after(&self, address: &str, values: u64) -> anyhow::Result<()> {
        self.order(Order::PullAfter(address.to_owned(), values)).await
    }

    /// Somebody presses the key of that device: it advertises for half a minute.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn wake(&self, address: &str) -> anyhow::Result<()> {
        self.order(Order::Wake(address.to_owned())).await
    }

    /// Something is wrong with that device from now on.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn spoil(&self, address: &str, quirk: Quirk) -> anyhow::Result<()> {
        self.order(Order::Spoil(address.to_owned(), quirk)).await
    }

    /// The adapter is off, and rfkill keeps it off.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn block_adapter(&self) -> anyhow::Result<()> {
        self.order(Order::Block).await
    }

    /// The kernel believes that it is connecting somebody: every Connect fails, until the adapter is
    /// switched off.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn jam_adapter(&self) -> anyhow::Result<()> {
        self.order(Order::Jam).await
    }

    /// bluetoothd ends as by `kill -9`: the name is free, links and objects are gone.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn stop_daemon(&self) -> anyhow::Result<()> {
        self.order(Order::Stop).await
    }

    /// bluetoothd begins again, with the bonds of before.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn start_daemon(&self) -> anyhow::Result<()> {
        self.order(Order::Begin).await
    }

    /// bluetoothd ends and begins again.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn restart_daemon(&self) -> anyhow::Result<()> {
        self.stop_daemon().await?;
        self.start_daemon().await
    }

    /// From now on things go wrong by that plan.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn let_go_wrong(&self, plan: AirPlan) -> anyhow::Result<()> {
        self.order(Order::GoWrong(plan)).await
    }

    /// From now on things take that long.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn take(&self, timings: Timings) -> anyhow::Result<()> {
        self.order(Order::Take(timings)).await
    }

    /// How often there was a link, of all devices together.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn links(&self) -> anyhow::Result<u64> {
        let (answer, links) = oneshot::channel();
        self.order(Order::Links(answer)).await?;
        links.await.context("the stage is over")
    }

    /// Tells how many values were handed over, at once.
    #[must_use]
    pub fn values(&self) -> watch::Receiver<u64> {
        self.values.clone()
    }

    /// All that devices have handed over so far.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn said(&self) -> anyhow::Result<Vec<Said>> {
        let (answer, said) = oneshot::channel();
        self.order(Order::Said(answer)).await?;
        said.await.context("the stage is over")
    }

    /// Programs that left the bus, by name, with when bluetoothd heard of it.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn gone(&self) -> anyhow::Result<Vec<(String, SimTime)>> {
        let (answer, gone) = oneshot::channel();
        self.order(Order::Gone(answer)).await?;
        gone.await.context("the stage is over")
    }

    /// Addresses to which there is a link.
    ///
    /// # Errors
    /// When the stage is over.
    pub async fn connected(&self) -> anyhow::Result<Vec<String>> {
        let (answer, connected) = oneshot::channel();
        self.order(Order::Connected(answer)).await?;
        connected.await.context("the stage is over")
    }

    /// Waits until the stage can be played no longer, and says why.
    ///
    /// # Errors
    /// When the bus failed or the truth could not be written.
    pub async fn failed(&mut self) -> anyhow::Result<()> {
        (&mut self.playing).await.context("the stage's task")??;
        bail!("the stage ended by itself")
    }

    /// Switches everything off and waits until the truth is written.
    ///
    /// # Errors
    /// When the bus failed meanwhile or the truth could not be written.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.orders);
        self.playing.await.context("the stage's task")??;
        self.writing.await.context("the truth's task")?
    }

    async fn order(&self, order: Order) -> anyhow::Result<()> {
        let (done, is_done) = oneshot::channel();
        self.orders.send((order, done)).await.ok().context("the stage is over")?;
        is_done.await.context("the stage is over")
    }
}

#[cfg(test)]
mod tests;
