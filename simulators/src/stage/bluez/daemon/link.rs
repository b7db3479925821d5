//! Links and bonds: Connect, Disconnect, Pair.

use super::{
    DEVICE_IF, Daemon, Later, Link, Message, Passkey, Quirk, Refusal, Value,
    adapter::{in_progress, not_ready},
    failed, object_path, sender, unknown_object,
};
use std::time::Duration;
use virtual_devices::gatt::{Pairing, Uuid, faults::Occasion};
use zbus::Connection;

/// From the link to its end, where a device does not know the key any more.
const DROPPED_MS: u64 = 50;
/// How long it waits for a device that does not advertise.
const REACH_MS: u64 = 20_000;
/// How long a person may take to type six digits, in real time.
const PASSKEY_LIMIT: Duration = Duration::from_secs(60);
/// Every so many-th link finds the handles moved.
const MOVE_EVERY: u64 = 3;
/// What the adapter takes.
const MTU: u16 = 517;

impl Daemon {
    pub(super) async fn device(
        &mut self,
        call: &Message,
        place: usize,
        member: &str,
    ) -> anyhow::Result<Result<(), Refusal>> {
        match member {
            "Connect" => self.connect(call, place).await,
            "Disconnect" => self.disconnect(call, place).await,
            "Pair" => self.pair(call, place).await,
            "CancelPairing" => {
                Ok(Err(Refusal("org.bluez.Error.DoesNotExist", "Does Not Exist".to_owned())))
            }
            _ => Ok(Err(unknown_object(member))),
        }
    }

    async fn connect(
        &mut self,
        call: &Message,
        place: usize,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let now = self.time.now();
        let powered = self.is_powered;
        let links = self.peers.iter().filter(|peer| !matches!(peer.link, Link::Down)).count();
        let is_full = links >= self.timings.links_max;
        let Some(peer) = self.peers.get_mut(place) else { return Ok(Err(failed("gone"))) };
        match &mut peer.link {
            Link::Up { .. } => return self.reply(call, &()).await.map(Ok),
            Link::Connecting { .. } => return Ok(Err(in_progress())),
            Link::Down => {}
        }
        if !powered {
            return Ok(Err(not_ready()));
        }
        if self.is_jammed {
            return Ok(Err(failed("le-connection-abort-by-local")));
        }
        if std::mem::take(&mut peer.refuses) {
            return Ok(Err(failed("Input/output error")));
        }
        if is_full {
            return Ok(Err(failed("le-connection-concurrent-connection-limit")));
        }
        peer.link = Link::Connecting { since: now, call: Some(call.clone()) };
        Ok(Ok(()))
    }

    async fn disconnect(
        &mut self,
        call: &Message,
        place: usize,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let Some(peer) = self.peers.get(place) else { return Ok(Err(failed("gone"))) };
        match peer.link {
            Link::Down => {
                let text = "Not Connected".to_owned();
                return Ok(Err(Refusal("org.bluez.Error.NotConnected", text)));
            }
            Link::Connecting { .. } => {
                self.link_down(place).await?;
                return self.reply(call, &()).await.map(Ok);
            }
            Link::Up { .. } => {}
        }
        let later = Later::LinkDown(place, peer.generation, Some(call.clone()));
        let after_ms = if self.is_nasty() { self.timings.disconnect_ms } else { 0 };
        self.plan(after_ms, later);
        Ok(Ok(()))
    }

    /// The device advertises: whoever waits for a link gets one.
    pub(super) fn reach(&mut self, place: usize) {
        let Some(peer) = self.peers.get(place) else { return };
        if let Link::Connecting { .. } = peer.link {
            self.plan(self.timings.connect_ms, Later::LinkUp(place, peer.generation));
        }
    }

    /// The device does not advertise: whoever has waited for long is told.
    pub(super) async fn give_up(&mut self, place: usize) -> anyhow::Result<()> {
        let now = self.time.now();
        let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
        let Link::Connecting { since, call } = &mut peer.link else { return Ok(()) };
        if since.plus_millis(REACH_MS) > now {
            return Ok(());
        }
        let call = call.take();
        peer.link = Link::Down;
        let pairing = peer.pairing.take();
        for call in call.into_iter().chain(pairing) {
            self.refuse(&call, failed("le-connection-abort-by-local")).await?;
        }
        Ok(())
    }

    pub(super) async fn link_up(&mut self, place: usize) -> anyhow::Result<()> {
        let (now, nasty) = (self.time.now(), self.is_nasty());
        let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
        if !peer.device.is_advertising(now) {
            return Ok(());
        }
        let call = match &mut peer.link {
            Link::Connecting { call, .. } => call.take(),
            Link::Down | Link::Up { .. } => return Ok(()),
        };
        peer.link = Link::Up { resolved: false };
        peer.generation += 1;
        peer.connections += 1;
        let (path, generation) = (peer.path.clone(), peer.generation);
        let resolve_ms = self.timings.resolve_ms(place, peer.connections);
        peer.pause = now;
        if let Some(faults) = &mut peer.faults {
            faults.begin();
        }
        peer.device.connected(now, MTU);
        // "PIN or key missing": the kernel ends what it cannot encrypt.
        let is_dropped = peer.bonded && peer.has(Quirk::ForgotBond);
        if peer.bonded && !is_dropped {
            // "The kernel encrypts on reconnect by itself."
            peer.device.encrypted(now);
        }
        self.tree.set(&path, DEVICE_IF, "Connected", Value::Flag(true));
        if nasty && peer.connections % MOVE_EVERY == 0 {
            peer.move_handles();
            peer.sessions.clear();
            self.tree.remove_below(&path);
        }
        if nasty {
            self.restore(place).await?;
        }
        match is_dropped {
            true => self.plan(DROPPED_MS, Later::LinkDown(place, generation, None)),
            false => self.plan(resolve_ms, Later::Resolved(place, generation)),
        }
        match call {
            Some(call) => self.reply(&call, &()).await,
            None => Ok(()),
        }
    }

    /// The notify sessions of before are enabled again, without anybody having asked.
    async fn restore(&mut self, place: usize) -> anyhow::Result<()> {
        let now = self.time.now();
        let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
        let wanted: Vec<Uuid> = peer.sessions.keys().copied().collect();
        for uuid in wanted {
            if peer.device.subscribe(now, uuid, true).is_err() {
                peer.sessions.remove(&uuid);
            }
        }
        self.pump(place).await
    }

    /// The services are known.
    pub(super) async fn resolved(&mut self, place: usize) -> anyhow::Result<()> {
        let nasty = self.is_nasty();
        let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
        let (path, services) = (peer.path.clone(), peer.services());
        let name = peer.device.profile().name.clone();
        for (path, interface, properties) in peer.objects() {
            if !self.tree.has(&path) {
                self.tree.add(&path, vec![(interface, properties)]);
            }
        }
        peer.link = Link::Up { resolved: true };
        if !nasty {
            self.restore(place).await?;
        }
        self.tree.set(&path, DEVICE_IF, "UUIDs", services);
        // Read from its generic service.
        self.tree.set(&path, DEVICE_IF, "Name", Value::text(name.clone()));
        self.tree.set(&path, DEVICE_IF, "Alias", Value::text(name));
        self.tree.set(&path, DEVICE_IF, "ServicesResolved", Value::Flag(true));
        let pairing = self.peers.get_mut(place).and_then(|peer| peer.pairing.take());
        if let Some(call) = pairing {
            self.bond(place, Some(call)).await?;
        }
        self.meet(place, Occasion::Resolved).await.map(drop)
    }

    pub(super) async fn link_down(&mut self, place: usize) -> anyhow::Result<()> {
        let (now, nasty) = (self.time.now(), self.is_nasty());
        let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
        let waiting = match std::mem::replace(&mut peer.link, Link::Down) {
            Link::Down => return Ok(()),
            Link::Connecting { call, .. } => call,
            Link::Up { .. } => {
                peer.device.disconnected(now);
                peer.refuses = nasty;
                None
            }
        };
        peer.generation += 1;
        let (path, pairing) = (peer.path.clone(), peer.pairing.take());
        self.tree.set(&path, DEVICE_IF, "ServicesResolved", Value::Flag(false));
        self.tree.set(&path, DEVICE_IF, "Connected", Value::Flag(false));
        for call in waiting.into_iter().chain(pairing) {
            self.refuse(&call, failed("Software caused connection abort")).await?;
        }
        Ok(())
    }

    async fn pair(&mut self, call: &Message, place: usize) -> anyhow::Result<Result<(), Refusal>> {
        let (now, nasty, powered) = (self.time.now(), self.is_nasty(), self.is_powered);
        let Some(peer) = self.peers.get_mut(place) else { return Ok(Err(failed("gone"))) };
        if peer.bonded {
            let text = "Already Exists".to_owned();
            return Ok(Err(Refusal("org.bluez.Error.AlreadyExists", text)));
        }
        if !powered {
            return Ok(Err(not_ready()));
        }
        match peer.link {
            _ if peer.pairing.is_some() => return Ok(Err(in_progress())),
            // Its services are known, and still Pair is not answered.
            Link::Up { .. } if peer.has(Quirk::SwallowsPair) => {
                peer.quirks.retain(|quirk| *quirk != Quirk::SwallowsPair);
                let agent = self.agent_of(call);
                self.bond_with(place, None, agent).await?;
            }
            Link::Up { resolved: true } => self.bond(place, Some(call.clone())).await?,
            // "Pair() called while bluetoothd still discovers services never gets an answer":
            // the link is bonded all the same.
            Link::Up { resolved: false } if nasty => {
                let agent = self.agent_of(call);
                self.bond_with(place, None, agent).await?;
            }
            Link::Up { resolved: false } | Link::Connecting { .. } => {
                peer.pairing = Some(call.clone());
            }
            Link::Down => {
                peer.link = Link::Connecting { since: now, call: None };
                peer.pairing = Some(call.clone());
            }
        }
        Ok(Ok(()))
    }

    async fn bond(&mut self, place: usize, call: Option<Message>) -> anyhow::Result<()> {
        let agent = call.as_ref().and_then(|call| self.agent_of(call));
        self.bond_with(place, call, agent).await
    }

    /// Pairs as the device wants it: at once, or with six digits from the agent.
    async fn bond_with(
        &mut self,
        place: usize,
        call: Option<Message>,
        agent: Option<(String, String)>,
    ) -> anyhow::Result<()> {
        let Some(peer) = self.peers.get(place) else { return Ok(()) };
        let generation = peer.generation;
        let Pairing::Passkey(_) = peer.device.profile().pairing else {
            return self.bonded(place, call).await;
        };
        let (Some((who, agent)), Some(bus)) = (agent, self.bus.clone()) else {
            return match call {
                Some(call) => self.refuse(&call, authentication_failed()).await,
                None => Ok(()),
            };
        };
        let device = peer.path.clone();
        self.asking.spawn(async move {
            let given = ask(&bus, &who, &agent, &device).await;
            Passkey { peer: place, generation, call, given }
        });
        Ok(())
    }

    /// The agent has answered.
    pub(super) async fn passkey(&mut self, passkey: Passkey) -> anyhow::Result<()> {
        let Passkey { peer: place, generation, call, given } = passkey;
        let wanted = self.peers.get(place).map(|peer| peer.device.profile().pairing);
        let is_right = given.is_some_and(|given| wanted == Some(Pairing::Passkey(given)));
        if is_right && self.is_current(place, generation) {
            return self.bonded(place, call).await;
        }
        match call {
            Some(call) => self.refuse(&call, authentication_failed()).await,
            None => Ok(()),
        }
    }

    async fn bonded(&mut self, place: usize, call: Option<Message>) -> anyhow::Result<()> {
        let now = self.time.now();
        let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
        peer.bonded = true;
        peer.quirks.retain(|quirk| *quirk != Quirk::ForgotBond);
        peer.device.encrypted(now);
        let path = peer.path.clone();
        self.tree.set(&path, DEVICE_IF, "Bonded", Value::Flag(true));
        self.tree.set(&path, DEVICE_IF, "Paired", Value::Flag(true));
        match call {
            Some(call) => self.reply(&call, &()).await,
            None => Ok(()),
        }
    }

    /// The agent of the program that calls, or else the default one: who, and where.
    fn agent_of(&self, call: &Message) -> Option<(String, String)> {
        let callers = [Some(sender(call)), self.default_agent.clone()];
        callers.into_iter().flatten().find_map(|who| {
            let agent = self.clients.get(&who)?.agent.clone()?;
            Some((who, agent))
        })
    }
}

async fn ask(bus: &Connection, who: &str, agent: &str, device: &str) -> Option<u32> {
    let (agent, device) = (object_path(agent), object_path(device));
    let interface = Some("org.bluez.Agent1");
    let asked = bus.call_method(Some(who), agent, interface, "RequestPasskey", &device);
    let answer = tokio::time::timeout(PASSKEY_LIMIT, asked).await.ok()?.ok()?;
    answer.body().deserialize().ok()
}

fn authentication_failed() -> Refusal {
    Refusal("org.bluez.Error.AuthenticationFailed", "Authentication Failed".to_owned())
}
