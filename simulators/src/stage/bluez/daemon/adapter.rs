//! The adapter, discovery, and the agents of programs.

use super::{
    ADAPTER, ADAPTER_IF, Client, DEVICE_IF, Daemon, Link, Message, OwnedObjectPath, Properties,
    Refusal, Value, failed, sender, unknown_object,
};
use std::collections::BTreeMap;
use zbus::OwnedVariant;

/// How long bluetoothd powers the adapter itself (AutoEnable), in device time.
pub(super) const POWER_MS: u64 = 300;
/// Time between two advertisements that are told, in device time.
const ADVERTISEMENT_MS: u64 = 300;
/// A device that nobody paired is forgotten so long after it was seen last.
const TEMPORARY_MS: u64 = 30_000;

impl Daemon {
    pub(super) fn adapter_properties(&self) -> Properties {
        BTreeMap::from([
            ("Address", Value::text("00:00:5E:00:53:01")),
            ("AddressType", Value::text("public")),
            ("Alias", Value::text("virtual")),
            ("Discoverable", Value::Flag(false)),
            ("Discovering", Value::Flag(false)),
            ("Name", Value::text("virtual")),
            ("Pairable", Value::Flag(true)),
            ("Powered", Value::Flag(self.is_powered)),
            ("Roles", Value::Texts(vec!["central".to_owned(), "peripheral".to_owned()])),
        ])
    }

    pub(super) async fn adapter(
        &mut self,
        call: &Message,
        member: &str,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let who = sender(call);
        match member {
            "SetDiscoveryFilter" => {
                let filter: BTreeMap<String, OwnedVariant> = call.body().deserialize()?;
                let uuids = filter.get("UUIDs").and_then(|uuids| uuids.try_clone().ok());
                let uuids = uuids.and_then(|uuids| Vec::<String>::try_from(uuids).ok());
                let uuids = uuids.unwrap_or_default().into_iter();
                self.client(&who).filter = uuids.map(|uuid| uuid.to_lowercase()).collect();
            }
            "StartDiscovery" if !self.is_powered => return Ok(Err(not_ready())),
            "StartDiscovery" if self.client(&who).is_discovering => return Ok(Err(in_progress())),
            "StartDiscovery" => {
                self.client(&who).is_discovering = true;
                self.discovery_changed();
            }
            "StopDiscovery" if !self.client(&who).is_discovering => {
                return Ok(Err(failed("No discovery started")));
            }
            "StopDiscovery" => {
                self.client(&who).is_discovering = false;
                self.discovery_changed();
            }
            "RemoveDevice" => {
                let path: OwnedObjectPath = call.body().deserialize()?;
                let found = self.peers.iter().position(|peer| peer.path == path.as_str());
                let Some(place) = found.filter(|_| self.tree.has(path.as_str())) else {
                    return Ok(Err(Refusal(
                        "org.bluez.Error.DoesNotExist",
                        "Does Not Exist".to_owned(),
                    )));
                };
                self.link_down(place).await?;
                self.forget(place);
            }
            _ => return Ok(Err(unknown_object(member))),
        }
        self.reply(call, &()).await.map(Ok)
    }

    pub(super) async fn agent_manager(
        &mut self,
        call: &Message,
        member: &str,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let who = sender(call);
        let does_not_exist =
            || Refusal("org.bluez.Error.DoesNotExist", "Does Not Exist".to_owned());
        match member {
            "RegisterAgent" if self.client(&who).agent.is_some() => {
                return Ok(Err(Refusal(
                    "org.bluez.Error.AlreadyExists",
                    "Already Exists".to_owned(),
                )));
            }
            "RegisterAgent" => {
                let (path, _): (OwnedObjectPath, String) = call.body().deserialize()?;
                self.client(&who).agent = Some(path.as_str().to_owned());
            }
            "UnregisterAgent" if self.client(&who).agent.take().is_none() => {
                return Ok(Err(does_not_exist()));
            }
            "UnregisterAgent" => {}
            "RequestDefaultAgent" if self.client(&who).agent.is_none() => {
                return Ok(Err(does_not_exist()));
            }
            "RequestDefaultAgent" => self.default_agent = Some(who),
            _ => return Ok(Err(unknown_object(member))),
        }
        self.reply(call, &()).await.map(Ok)
    }

    pub(super) async fn set_property(
        &mut self,
        call: &Message,
        path: &str,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let (interface, name, value): (String, String, OwnedVariant) = call.body().deserialize()?;
        match (interface.as_str(), name.as_str()) {
            (ADAPTER_IF, "Powered") if !self.tree.has(path) => {
                return Ok(Err(unknown_object(path)));
            }
            (ADAPTER_IF, "Powered") => {
                let Ok(wanted) = bool::try_from(value) else { return Ok(Err(failed("no flag"))) };
                if self.is_powering {
                    return Ok(Err(Refusal("org.bluez.Error.Busy", String::new())));
                }
                if self.is_blocked && wanted {
                    let text = "Blocked through rfkill".to_owned();
                    return Ok(Err(Refusal("org.bluez.Error.Blocked", text)));
                }
                self.power(wanted).await?;
            }
            (DEVICE_IF, "Trusted") => {
                let Ok(wanted) = bool::try_from(value) else { return Ok(Err(failed("no flag"))) };
                let found = self.peers.iter_mut().find(|peer| peer.path == path);
                let Some(peer) = found else { return Ok(Err(unknown_object(path))) };
                peer.trusted = wanted;
                self.tree.set(path, DEVICE_IF, "Trusted", Value::Flag(wanted));
            }
            _ => {
                let text = format!("Property '{name}' is not writable");
                return Ok(Err(Refusal("org.freedesktop.DBus.Error.PropertyReadOnly", text)));
            }
        }
        self.reply(call, &()).await.map(Ok)
    }

    /// The adapter goes on or off.
    pub(super) async fn power(&mut self, on: bool) -> anyhow::Result<()> {
        self.is_powered = on;
        if !on {
            self.is_jammed = false;
            for place in 0..self.peers.len() {
                self.link_down(place).await?;
            }
            self.clients.values_mut().for_each(|client| client.is_discovering = false);
            self.discovery_changed();
        }
        self.tree.set(ADAPTER, ADAPTER_IF, "Powered", Value::Flag(on));
        Ok(())
    }

    /// Who advertises is seen, and connected to where somebody waits for that.
    pub(super) async fn look(&mut self) -> anyhow::Result<()> {
        let now = self.time.now();
        for place in 0..self.peers.len() {
            let Some(peer) = self.peers.get(place) else { continue };
            let is_there = self.is_powered && peer.device.is_advertising(now);
            let advertised = peer.advertised().to_vec();
            let is_wanted = self.clients.values().any(|client| {
                let named = advertised.iter().any(|uuid| client.filter.contains(&uuid.to_string()));
                client.is_discovering && (client.filter.is_empty() || named)
            });
            let is_new = peer.last_seen.plus_millis(ADVERTISEMENT_MS) <= now;
            let is_old = peer.last_seen.plus_millis(TEMPORARY_MS) <= now;
            if is_there && is_wanted && is_new {
                self.seen(place);
            } else if is_old && !peer.bonded && matches!(peer.link, Link::Down) {
                let path = peer.path.clone();
                if self.tree.has(&path) {
                    self.tree.remove(&path);
                }
            }
            if is_there {
                self.reach(place);
            } else {
                self.give_up(place).await?;
            }
        }
        Ok(())
    }

    /// An advertisement came in.
    fn seen(&mut self, place: usize) {
        let now = self.time.now();
        let nasty = self.is_nasty();
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.last_seen = now;
        peer.sightings += 1;
        let (path, sightings) = (peer.path.clone(), peer.sightings);
        // The name comes with the scan response, which is later and may be lost.
        let named = (!nasty || sightings % 4 == 3).then(|| peer.device.profile().name.clone());
        self.show(place);
        let strength = i16::try_from(sightings % 7).unwrap_or_default();
        self.tree.set(&path, DEVICE_IF, "RSSI", Value::Int16(-58 - strength));
        if let Some(name) = named {
            self.tree.set(&path, DEVICE_IF, "Name", Value::text(name.clone()));
            self.tree.set(&path, DEVICE_IF, "Alias", Value::text(name));
        }
    }

    /// A device has an object.
    pub(super) fn show(&mut self, place: usize) {
        let Some(peer) = self.peers.get(place) else { return };
        if !self.tree.has(&peer.path) {
            self.tree.add(&peer.path, vec![(DEVICE_IF, peer.properties())]);
        }
    }

    /// A device is not known any more, and its bond is gone on this side.
    fn forget(&mut self, place: usize) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        (peer.bonded, peer.trusted, peer.refuses, peer.sightings) = (false, false, false, 0);
        peer.sessions.clear();
        let path = peer.path.clone();
        self.tree.remove(&path);
    }

    pub(super) fn is_discovering(&self) -> bool {
        self.clients.values().any(|client| client.is_discovering)
    }

    /// Somebody began or ended to look.
    pub(super) fn discovery_changed(&mut self) {
        let on = self.is_discovering();
        self.tree.set(ADAPTER, ADAPTER_IF, "Discovering", Value::Flag(on));
        if !on {
            for peer in &self.peers {
                self.tree.unset(&peer.path, DEVICE_IF, "RSSI");
            }
        }
    }

    fn client(&mut self, who: &str) -> &mut Client {
        self.clients.entry(who.to_owned()).or_default()
    }
}

pub(super) fn not_ready() -> Refusal {
    Refusal("org.bluez.Error.NotReady", "Resource Not Ready".to_owned())
}

pub(super) fn in_progress() -> Refusal {
    Refusal("org.bluez.Error.InProgress", "Operation already in progress".to_owned())
}
