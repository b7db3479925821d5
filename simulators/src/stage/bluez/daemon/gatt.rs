//! Characteristics: reading, writing, notify sessions, and what devices say.

use super::{
    CHARACTERISTIC_IF, Daemon, Message, Refusal, Said, Value, failed, sender, unknown_object,
};
use std::collections::BTreeMap;
use virtual_devices::gatt::{AttError, Characteristic, Flag, GattOutput, Uuid};
use zbus::OwnedVariant;

/// What was handed over and may be asked for: a long story's worth.
const SAID_MAX: usize = 200_000;

impl Daemon {
    pub(super) async fn characteristic(
        &mut self,
        call: &Message,
        place: usize,
        characteristic: &Characteristic,
        member: &str,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let (now, uuid) = (self.time.now(), characteristic.uuid);
        let path = call.header().path().map(ToString::to_string).unwrap_or_default();
        let Some(peer) = self.peers.get_mut(place) else { return Ok(Err(failed("gone"))) };
        if !peer.is_up() && member != "StartNotify" {
            return Ok(Err(failed("Not connected")));
        }
        match member {
            "ReadValue" => {
                let value = match peer.device.read(now, uuid) {
                    Ok(value) => value,
                    Err(error) => return Ok(Err(refusal(error))),
                };
                self.tree.say(&path, CHARACTERISTIC_IF, "Value", Value::Bytes(value.clone()));
                self.reply(call, &value).await.map(Ok)
            }
            "WriteValue" => {
                let (value, _): (Vec<u8>, BTreeMap<String, OwnedVariant>) =
                    call.body().deserialize()?;
                if let Err(error) = peer.device.write(now, uuid, &value) {
                    return Ok(Err(refusal(error)));
                }
                self.reply(call, &()).await?;
                self.pump(place).await.map(Ok)
            }
            "StartNotify" => self.start_notify(call, place, characteristic, &path).await,
            "StopNotify" => {
                let who = sender(call);
                if !peer.sessions.get(&uuid).is_some_and(|clients| clients.contains(&who)) {
                    return Ok(Err(failed("No notify session started")));
                }
                self.stop_session(place, uuid, &who);
                self.reply(call, &()).await.map(Ok)
            }
            // "Answers NotSupported in 5.66" for what is only indicated; here for all.
            "AcquireNotify" | "AcquireWrite" => Ok(Err(Refusal(
                "org.bluez.Error.NotSupported",
                "Operation is not supported".to_owned(),
            ))),
            _ => Ok(Err(unknown_object(member))),
        }
    }

    async fn start_notify(
        &mut self,
        call: &Message,
        place: usize,
        characteristic: &Characteristic,
        path: &str,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let (now, nasty, uuid) = (self.time.now(), self.is_nasty(), characteristic.uuid);
        let Some(peer) = self.peers.get_mut(place) else { return Ok(Err(failed("gone"))) };
        if !characteristic.has(Flag::Notify) && !characteristic.has(Flag::Indicate) {
            let text = "Operation is not supported".to_owned();
            return Ok(Err(Refusal("org.bluez.Error.NotSupported", text)));
        }
        // One for a device that is away is enabled when it comes.
        if !peer.is_up() {
            let is_first = peer.sessions.entry(uuid).or_default().insert(sender(call));
            let again = Refusal("org.bluez.Error.InProgress", "In Progress".to_owned());
            return match is_first {
                true => self.reply(call, &()).await.map(Ok),
                false => Ok(Err(again)),
            };
        }
        if let Err(error) = peer.device.subscribe(now, uuid, true) {
            return Ok(Err(refusal(error)));
        }
        peer.sessions.entry(uuid).or_default().insert(sender(call));
        self.tree.set(path, CHARACTERISTIC_IF, "Notifying", Value::Flag(true));
        // The device may answer faster than bluetoothd.
        if nasty {
            self.pump(place).await?;
        }
        self.reply(call, &()).await?;
        self.pump(place).await.map(Ok)
    }

    /// A program does not listen to a characteristic any more.
    pub(super) fn stop_session(&mut self, place: usize, uuid: Uuid, who: &str) {
        let now = self.time.now();
        let Some(peer) = self.peers.get_mut(place) else { return };
        let Some(clients) = peer.sessions.get_mut(&uuid) else { return };
        if !clients.remove(who) || !clients.is_empty() {
            return;
        }
        peer.sessions.remove(&uuid);
        if peer.is_up() {
            // A device that refuses to be quiet is not heard any more either.
            peer.device.subscribe(now, uuid, false).ok();
        }
        if let Some(path) = peer.path_of(uuid) {
            self.tree.set(&path, CHARACTERISTIC_IF, "Notifying", Value::Flag(false));
        }
    }

    /// Takes what a device says: over the bus first, and confirmed to the device, whether or not
    /// anybody listens.
    pub(super) async fn pump(&mut self, place: usize) -> anyhow::Result<()> {
        loop {
            let now = self.time.now();
            let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
            let Some(output) = peer.device.poll_output(now) else { return Ok(()) };
            let (uuid, value, is_indication) = match output {
                GattOutput::Notify(uuid, value) => (uuid, value, false),
                GattOutput::Indicate(uuid, value) => (uuid, value, true),
                GattOutput::Disconnect => {
                    self.link_down(place).await?;
                    continue;
                }
            };
            let path = peer.path_of(uuid);
            peer.lost_after = peer.lost_after.map(|left| left.saturating_sub(1));
            let is_heard = peer.sessions.contains_key(&uuid);
            let is_lost = peer.lost_after.take_if(|left| *left == 0).is_some();
            if is_indication {
                peer.device.confirmed(now);
            }
            if self.said.len() < SAID_MAX {
                let address = peer.address.clone();
                let value = value.clone();
                self.said.push(Said { address, uuid, value, is_indication, is_heard, at: now });
            }
            if let Some(path) = path.filter(|_| is_heard) {
                self.tree.say(&path, CHARACTERISTIC_IF, "Value", Value::Bytes(value));
            }
            if is_lost {
                self.link_down(place).await?;
            }
            self.tell().await?;
        }
    }
}

/// As bluetoothd names what a device refuses.
fn refusal(error: AttError) -> Refusal {
    let not_permitted = |text: &str| Refusal("org.bluez.Error.NotPermitted", text.to_owned());
    match error {
        AttError::READ_NOT_PERMITTED => not_permitted("Read not permitted"),
        AttError::WRITE_NOT_PERMITTED => not_permitted("Write not permitted"),
        AttError::AUTHENTICATION | AttError::ENCRYPTION => not_permitted("Not paired"),
        AttError::REQUEST_NOT_SUPPORTED => {
            let text = "Operation is not supported".to_owned();
            Refusal("org.bluez.Error.NotSupported", text)
        }
        AttError::VALUE_LENGTH => {
            Refusal("org.bluez.Error.InvalidArguments", "Invalid Length".to_owned())
        }
        AttError(code) => failed(&format!("Operation failed with ATT error: 0x{code:02x}")),
    }
}
