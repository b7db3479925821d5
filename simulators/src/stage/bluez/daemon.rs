//! bluetoothd, as a state machine on a bus: one task, one event at a time.
//!
//! It answers calls itself instead of through an object server, because what is nasty about
//! bluetoothd is the order of its messages: here they go out in the order they are written down.

mod adapter;
mod faults;
mod gatt;
mod link;

use super::{
    Manners, Quirk, Said, Timings,
    peer::{ADAPTER, ADAPTER_IF, CHARACTERISTIC_IF, DEVICE_IF, Link, Peer},
    tree::{Change, Properties, Sent, Tree, Value, object_path, sent},
};
use crate::stage::pty::StageTime;
use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use virtual_devices::{
    SimTime, Truth,
    gatt::{Uuid, faults::AirPlan},
};
use zbus::{
    Connection, Message, MessageStream, OwnedObjectPath, fdo::RequestNameFlags, message::Type,
};

const BLUEZ: &str = "org.bluez";
const MANAGER: &str = "/org/bluez";
const AGENT_MANAGER_IF: &str = "org.bluez.AgentManager1";
const PROPERTIES_IF: &str = "org.freedesktop.DBus.Properties";
const OBJECTS_IF: &str = "org.freedesktop.DBus.ObjectManager";

/// How often it looks who advertises, in device time.
const LOOK_MS: u64 = 100;
/// Nothing is planned: look again then, in device time.
const IDLE_MS: u64 = 3_600_000;

/// What a story asks of the stage.
#[derive(Debug)]
pub(super) enum Order {
    /// The link to that address is lost.
    Pull(String),
    /// The link to that address is lost after so many more values.
    PullAfter(String, u64),
    /// Somebody presses the key of that device.
    Wake(String),
    /// Something is wrong with that device.
    Spoil(String, Quirk),
    /// The adapter is off and stays off.
    Block,
    /// The adapter connects nobody until it is switched off.
    Jam,
    /// bluetoothd is gone.
    Stop,
    /// bluetoothd begins.
    Begin,
    /// What was handed to bluetoothd.
    Said(oneshot::Sender<Vec<Said>>),
    /// Which programs left the bus, and when.
    Gone(oneshot::Sender<Vec<(String, SimTime)>>),
    /// Who is connected.
    Connected(oneshot::Sender<Vec<String>>),
    /// How often there was a link, of all devices.
    Links(oneshot::Sender<u64>),
    /// Things go wrong by that plan.
    GoWrong(AirPlan),
    /// It takes that long.
    Take(Timings),
}

/// What happens later.
#[derive(Debug)]
enum Later {
    /// The adapter has powered itself.
    Powered,
    /// The link of that peer comes up.
    LinkUp(usize, u64),
    /// The services of that peer are known.
    Resolved(usize, u64),
    /// The link of that peer goes down, as it was asked to.
    LinkDown(usize, u64, Option<Message>),
    /// The adapter is there again.
    AdapterBack,
}

/// A program on the bus.
#[derive(Debug, Default)]
struct Client {
    agent: Option<String>,
    is_discovering: bool,
    /// Services it looks for; empty: all.
    filter: BTreeSet<String>,
}

/// An error of `org.bluez.Error`.
struct Refusal(&'static str, String);

/// What a person or a program said to the question for the passkey.
struct Passkey {
    peer: usize,
    generation: u64,
    call: Option<Message>,
    given: Option<u32>,
}

/// The daemon, with all devices in reach.
pub(super) struct Daemon {
    address: String,
    manners: Manners,
    time: StageTime,
    bus: Option<Connection>,
    tree: Tree,
    peers: Vec<Peer>,
    clients: BTreeMap<String, Client>,
    default_agent: Option<String>,
    is_powered: bool,
    is_powering: bool,
    is_blocked: bool,
    is_jammed: bool,
    later: BTreeMap<(SimTime, u64), Later>,
    planned: u64,
    looked: SimTime,
    asking: JoinSet<Passkey>,
    truth: mpsc::Sender<Truth>,
    said: Vec<Said>,
    gone: Vec<(String, SimTime)>,
    /// How many values were handed over.
    values: watch::Sender<u64>,
    timings: Timings,
    /// bluetoothd ends now, and begins again then.
    is_dying: Option<SimTime>,
    begins_at: Option<SimTime>,
}

/// What wakes the daemon.
enum Wake {
    Heard(Message),
    BusGone,
    Ordered(Order, oneshot::Sender<()>),
    Passkey(Passkey),
    Due,
    Over,
}

pub(super) type Orders = mpsc::Receiver<(Order, oneshot::Sender<()>)>;

impl Daemon {
    pub(super) fn new(
        address: &str,
        manners: Manners,
        time: StageTime,
        peers: Vec<Peer>,
        truth: mpsc::Sender<Truth>,
        values: watch::Sender<u64>,
    ) -> Self {
        Self {
            address: address.to_owned(),
            manners,
            time,
            bus: None,
            tree: Tree::default(),
            peers,
            clients: BTreeMap::new(),
            default_agent: None,
            is_powered: false,
            is_powering: false,
            is_blocked: false,
            is_jammed: false,
            later: BTreeMap::new(),
            planned: 0,
            looked: SimTime(0),
            asking: JoinSet::new(),
            truth,
            said: Vec::new(),
            gone: Vec::new(),
            values,
            timings: Timings::default(),
            is_dying: None,
            begins_at: None,
        }
    }

    /// Comes to the bus with a name, an adapter, and the devices it has a bond with.
    pub(super) async fn begin(&mut self) -> anyhow::Result<MessageStream> {
        let bus = zbus::connection::Builder::address(self.address.as_str())
            .build()
            .await
            .with_context(|| format!("connecting to the bus at {}", self.address))?;
        let stream = MessageStream::from(&bus);
        let rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'";
        let (driver, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        bus.call_method(Some(driver), path, Some(driver), "AddMatch", &rule).await?;
        self.bus = Some(bus.clone());
        self.begins_at = None;
        self.tree.add(MANAGER, vec![(AGENT_MANAGER_IF, Properties::new())]);
        self.show_adapter();
        // Nobody was there to hear of them.
        self.tree.take_changes();
        // Whoever has the name keeps it: agents would talk to two daemons by turns.
        let taken = bus.request_name_with_flags(BLUEZ, RequestNameFlags::DO_NOT_QUEUE).await;
        if matches!(taken, Err(zbus::Error::NameTaken)) {
            let address = &self.address;
            bail!("there is an org.bluez on the bus at {address} already; use a bus of its own");
        }
        taken.context("taking the name org.bluez")?;
        Ok(stream)
    }

    /// Leaves the bus as a process does that ends: links and objects go.
    async fn end(&mut self) {
        let now = self.time.now();
        for peer in &mut self.peers {
            if peer.is_up() {
                peer.device.disconnected(now);
            }
            peer.link = Link::Down;
            peer.generation += 1;
            peer.sessions.clear();
            (peer.refuses, peer.pairing) = (false, None);
            if self.manners == Manners::Nasty {
                peer.move_handles();
            }
        }
        self.tree = Tree::default();
        self.later.clear();
        self.clients.clear();
        self.default_agent = None;
        self.asking.abort_all();
        if let Some(bus) = self.bus.take() {
            // A bus that is gone has no connection to close. The name first: the next daemon may
            // ask for it before the bus has seen that this one went.
            bus.release_name(BLUEZ).await.ok();
            bus.close().await.ok();
        }
    }

    /// Plays until the orders end.
    pub(super) async fn run(
        mut self,
        stream: MessageStream,
        mut orders: Orders,
    ) -> anyhow::Result<()> {
        let mut stream = Some(stream);
        loop {
            self.settle().await?;
            if let Some(begins_at) = self.is_dying.take() {
                stream = None;
                self.end().await;
                self.begins_at = Some(begins_at);
            }
            if self.begins_at.is_some_and(|at| at <= self.time.now()) {
                stream = Some(self.begin().await?);
            }
            let wait = self.time.until(self.next_due());
            let wake = tokio::select! {
                heard = next(&mut stream) => heard,
                order = orders.recv() => match order {
                    Some((order, done)) => Wake::Ordered(order, done),
                    None => Wake::Over,
                },
                Some(answer) = self.asking.join_next() => match answer {
                    Ok(passkey) => Wake::Passkey(passkey),
                    Err(_) => Wake::Due,
                },
                () = tokio::time::sleep(wait) => Wake::Due,
            };
            match wake {
                Wake::Heard(message) => self.heard(message).await?,
                Wake::BusGone => stream = None,
                Wake::Ordered(order, done) => {
                    self.ordered(order, &mut stream).await?;
                    // Who gave the order may have gone.
                    done.send(()).ok();
                }
                Wake::Passkey(passkey) => self.passkey(passkey).await?,
                Wake::Due => {}
                Wake::Over => {
                    self.end().await;
                    return self.tell_truth().await;
                }
            }
        }
    }

    /// Everything that is due: plans, devices, who can be seen.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let now = self.time.now();
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let later = entry.remove();
            self.happen(later).await?;
        }
        for place in 0..self.peers.len() {
            if let Some(peer) = self.peers.get_mut(place) {
                peer.device.advance(now);
            }
            self.pump(place).await?;
        }
        if self.bus.is_some() && self.looked.plus_millis(LOOK_MS) <= now {
            self.looked = now;
            self.look().await?;
        }
        self.tell().await?;
        self.tell_truth().await
    }

    async fn tell_truth(&mut self) -> anyhow::Result<()> {
        for peer in &mut self.peers {
            for fact in peer.device.take_truth() {
                self.truth.send(fact).await.context("the truth is no longer written")?;
            }
        }
        Ok(())
    }

    fn next_due(&self) -> SimTime {
        let devices = self.peers.iter().filter_map(|peer| peer.device.next_due());
        let planned = self.later.keys().next().map(|(at, _)| *at);
        let looks = self.is_discovering()
            || self.peers.iter().any(|peer| matches!(peer.link, Link::Connecting { .. }));
        let look = looks.then(|| self.looked.plus_millis(LOOK_MS));
        let now = self.time.now();
        let paused = self.peers.iter().filter_map(|peer| peer.paused_until(now));
        let idle = now.plus_millis(IDLE_MS);
        let ours = planned.into_iter().chain(look).chain(self.begins_at);
        devices.chain(paused).chain(ours).min().unwrap_or(idle)
    }

    async fn happen(&mut self, later: Later) -> anyhow::Result<()> {
        match later {
            // It may have gone meanwhile.
            Later::Powered if self.is_blocked || !self.tree.has(ADAPTER) => Ok(()),
            Later::AdapterBack => {
                self.show_adapter();
                Ok(())
            }
            Later::Powered => {
                (self.is_powered, self.is_powering) = (true, false);
                self.tree.set(ADAPTER, ADAPTER_IF, "Powered", Value::Flag(true));
                Ok(())
            }
            Later::LinkUp(place, generation) if self.is_current(place, generation) => {
                self.link_up(place).await
            }
            Later::Resolved(place, generation) if self.is_current(place, generation) => {
                self.resolved(place).await
            }
            Later::LinkDown(place, generation, call) => {
                if self.is_current(place, generation) {
                    self.link_down(place).await?;
                }
                match call {
                    Some(call) => self.reply(&call, &()).await,
                    None => Ok(()),
                }
            }
            Later::LinkUp(..) | Later::Resolved(..) => Ok(()),
        }
    }

    async fn ordered(
        &mut self,
        order: Order,
        stream: &mut Option<MessageStream>,
    ) -> anyhow::Result<()> {
        let place = |daemon: &Self, address: &str| {
            daemon.peers.iter().position(|peer| peer.address == address)
        };
        match order {
            Order::Pull(address) => {
                if let Some(place) = place(self, &address) {
                    self.link_down(place).await?;
                }
            }
            Order::PullAfter(address, values) => {
                let place = place(self, &address);
                if let Some(peer) = place.and_then(|place| self.peers.get_mut(place)) {
                    peer.lost_after = Some(values.max(1));
                }
            }
            Order::Wake(address) => {
                let now = self.time.now();
                let place = place(self, &address);
                if let Some(peer) = place.and_then(|place| self.peers.get_mut(place)) {
                    peer.device.wake(now);
                }
            }
            Order::Links(answer) => {
                answer.send(self.peers.iter().map(|peer| peer.connections).sum()).ok();
            }
            Order::GoWrong(plan) => self.let_go_wrong(plan),
            Order::Take(timings) => self.timings = timings,
            Order::Spoil(address, quirk) => {
                let place = place(self, &address);
                if let Some(peer) = place.and_then(|place| self.peers.get_mut(place)) {
                    peer.quirks.push(quirk);
                }
            }
            Order::Block => {
                (self.is_blocked, self.is_powering) = (true, false);
                self.power(false).await?;
            }
            Order::Jam => self.is_jammed = true,
            Order::Stop => {
                *stream = None;
                self.begins_at = None;
                self.end().await;
            }
            Order::Begin => {
                if self.bus.is_none() {
                    *stream = Some(self.begin().await?);
                }
            }
            // Who asked may have gone.
            Order::Said(answer) => drop(answer.send(self.said.clone())),
            Order::Gone(answer) => drop(answer.send(self.gone.clone())),
            Order::Connected(answer) => {
                let up = self.peers.iter().filter(|peer| peer.is_up());
                drop(answer.send(up.map(|peer| peer.address.clone()).collect()));
            }
        }
        Ok(())
    }

    async fn heard(&mut self, message: Message) -> anyhow::Result<()> {
        match message.message_type() {
            Type::MethodCall => match self.called(&message).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(refusal)) => self.refuse(&message, refusal).await,
                // Arguments of another kind; where the bus is gone, this fails as well.
                Err(error) => {
                    let name = "org.freedesktop.DBus.Error.InvalidArgs";
                    self.refuse(&message, Refusal(name, format!("{error:#}"))).await
                }
            },
            Type::Signal => self.owner_changed(&message).await,
            Type::MethodReturn | Type::Error => Ok(()),
        }
    }

    /// A call of the bus; whoever answers later keeps it.
    async fn called(&mut self, call: &Message) -> anyhow::Result<Result<(), Refusal>> {
        let header = call.header();
        let interface = header.interface().map(ToString::to_string).unwrap_or_default();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        let path = header.path().map(ToString::to_string).unwrap_or_default();
        match (interface.as_str(), member.as_str()) {
            (OBJECTS_IF, "GetManagedObjects") => {
                let all = self.tree.all();
                self.reply(call, &all).await.map(Ok)
            }
            ("org.freedesktop.DBus.Peer", "Ping") => self.reply(call, &()).await.map(Ok),
            ("org.freedesktop.DBus.Introspectable", "Introspect") => {
                let text = self.tree.introspect(&path);
                self.reply(call, &text).await.map(Ok)
            }
            (PROPERTIES_IF, member) => self.property(call, &path, member).await,
            (AGENT_MANAGER_IF, member) => self.agent_manager(call, member).await,
            (ADAPTER_IF, member) if path == ADAPTER && self.tree.has(ADAPTER) => {
                self.adapter(call, member).await
            }
            (DEVICE_IF, member) => {
                let found = self.peers.iter().position(|peer| peer.path == path);
                match found.filter(|_| self.tree.has(&path)) {
                    Some(place) => self.device(call, place, member).await,
                    None => Ok(Err(unknown_object(&path))),
                }
            }
            (CHARACTERISTIC_IF, member) => {
                let found = self.peers.iter().enumerate().find_map(|(place, peer)| {
                    peer.at(&path).map(|characteristic| (place, characteristic))
                });
                match found.filter(|_| self.tree.has(&path)) {
                    Some((place, one)) => self.characteristic(call, place, &one, member).await,
                    None => Ok(Err(unknown_object(&path))),
                }
            }
            _ => Ok(Err(Refusal(
                "org.freedesktop.DBus.Error.UnknownMethod",
                format!("Method \"{member}\" of interface \"{interface}\" doesn't exist"),
            ))),
        }
    }

    async fn property(
        &mut self,
        call: &Message,
        path: &str,
        member: &str,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let body = call.body();
        match member {
            "GetAll" => {
                let interface: String = body.deserialize()?;
                let all = self.tree.get(path, &interface).map(sent);
                let Some(all) = all else { return Ok(Err(unknown_object(path))) };
                self.reply(call, &all).await.map(Ok)
            }
            "Get" => {
                let (interface, name): (String, String) = body.deserialize()?;
                let found = self.tree.get(path, &interface).and_then(|all| all.get(name.as_str()));
                let value = found.map(Value::variant);
                let Some(value) = value else {
                    return Ok(Err(Refusal(
                        "org.freedesktop.DBus.Error.InvalidArgs",
                        format!("No such property '{name}'"),
                    )));
                };
                self.reply(call, &value).await.map(Ok)
            }
            "Set" => self.set_property(call, path).await,
            _ => Ok(Err(unknown_object(path))),
        }
    }

    /// A program that is gone listens to nothing any more.
    async fn owner_changed(&mut self, signal: &Message) -> anyhow::Result<()> {
        let header = signal.header();
        if header.member().is_none_or(|member| member.as_str() != "NameOwnerChanged") {
            return Ok(());
        }
        let (name, _, owner): (String, String, String) = signal.body().deserialize()?;
        if !owner.is_empty() || !name.starts_with(':') {
            return Ok(());
        }
        self.clients.remove(&name);
        self.gone.push((name.clone(), self.time.now()));
        if self.default_agent.as_ref() == Some(&name) {
            self.default_agent = None;
        }
        self.discovery_changed();
        for place in 0..self.peers.len() {
            let Some(peer) = self.peers.get(place) else { continue };
            let heard: Vec<Uuid> = peer.sessions.keys().copied().collect();
            for uuid in heard {
                self.stop_session(place, uuid, &name);
            }
        }
        Ok(())
    }

    /// Says on the bus what has changed, in order.
    async fn tell(&mut self) -> anyhow::Result<()> {
        let changes = self.tree.take_changes();
        let Some(bus) = self.voice() else { return Ok(()) };
        for change in changes {
            match change {
                Change::Added { path } => {
                    let body = (object_path(&path), self.tree.sent(&path));
                    signal(bus, "/", OBJECTS_IF, "InterfacesAdded", &body).await?;
                }
                Change::Removed { path, interfaces } => {
                    let body = (object_path(&path), interfaces);
                    signal(bus, "/", OBJECTS_IF, "InterfacesRemoved", &body).await?;
                }
                Change::Set { path, interface, name, value } => {
                    let set: Sent = BTreeMap::from([(name, value.variant())]);
                    let body = (interface, set, Vec::<&str>::new());
                    signal(bus, &path, PROPERTIES_IF, "PropertiesChanged", &body).await?;
                }
                Change::Gone { path, interface, name } => {
                    let body = (interface, Sent::new(), vec![name]);
                    signal(bus, &path, PROPERTIES_IF, "PropertiesChanged", &body).await?;
                }
            }
        }
        Ok(())
    }

    /// Answers a call, after everything that changed before.
    async fn reply<B>(&mut self, call: &Message, body: &B) -> anyhow::Result<()>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.tell().await?;
        let Some(bus) = self.voice() else { return Ok(()) };
        bus.reply(&call.header(), body).await.context("answering on the bus")
    }

    async fn refuse(&mut self, call: &Message, refusal: Refusal) -> anyhow::Result<()> {
        self.tell().await?;
        let Some(bus) = self.voice() else { return Ok(()) };
        let Refusal(name, text) = refusal;
        bus.reply_error(&call.header(), name, &text).await.context("answering on the bus")
    }

    /// The bus, for who is not about to end.
    fn voice(&self) -> Option<&Connection> {
        self.bus.as_ref().filter(|_| self.is_dying.is_none())
    }

    fn plan(&mut self, after_ms: u64, later: Later) {
        self.planned += 1;
        self.later.insert((self.time.now().plus_millis(after_ms), self.planned), later);
    }

    fn is_nasty(&self) -> bool {
        self.manners == Manners::Nasty
    }

    fn is_current(&self, place: usize, generation: u64) -> bool {
        self.peers.get(place).is_some_and(|peer| peer.generation == generation)
    }
}

async fn next(stream: &mut Option<MessageStream>) -> Wake {
    match stream {
        Some(stream) => match stream.next().await {
            Some(Ok(message)) => Wake::Heard(message),
            Some(Err(_)) => Wake::Due,
            None => Wake::BusGone,
        },
        None => std::future::pending().await,
    }
}

async fn signal<B>(
    bus: &Connection,
    path: &str,
    interface: &str,
    member: &str,
    body: &B,
) -> anyhow::Result<()>
where
    B: serde::Serialize + zbus::DynamicType,
{
    bus.emit_signal(None::<&str>, object_path(path), interface, member, body)
        .await
        .with_context(|| format!("saying {member} on the bus"))
}

/// Who called.
fn sender(call: &Message) -> String {
    call.header().sender().map(ToString::to_string).unwrap_or_default()
}

fn failed(text: &str) -> Refusal {
    Refusal("org.bluez.Error.Failed", text.to_owned())
}

fn unknown_object(path: &str) -> Refusal {
    Refusal("org.freedesktop.DBus.Error.UnknownObject", format!("No such object {path}"))
}
