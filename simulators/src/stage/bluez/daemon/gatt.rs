//! Characteristics: reading, writing, notify sessions, and what devices say.

use super::{
    CHARACTERISTIC_IF, Daemon, Message, Refusal, Said, Value, failed, faults::Fate, sender,
    unknown_object,
};
use std::collections::BTreeMap;
use virtual_devices::gatt::{AttError, Characteristic, Flag, GattOutput, Uuid, faults::Occasion};
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
        // "If the device is currently not connected, return success. We will automatically try and
        // register all clients when a GATT client becomes ready" (BlueZ, src/gatt-client.c).
        let is_loud = characteristic.has(Flag::Notify) || characteristic.has(Flag::Indicate);
        if !peer.is_up() && member == "StartNotify" && is_loud {
            peer.sessions.entry(uuid).or_default().insert(sender(call));
            self.tree.set(&path, CHARACTERISTIC_IF, "Notifying", Value::Flag(true));
            return self.reply(call, &()).await.map(Ok);
        }
        if !peer.is_up() {
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
                if self.is_busy(place, Occasion::Writing(uuid, &value)) {
                    return Ok(Err(refusal(IN_PROGRESS)));
                }
                let Some(peer) = self.peers.get_mut(place) else { return Ok(Err(failed("gone"))) };
                if let Err(error) = peer.device.write(now, uuid, &value) {
                    return Ok(Err(refusal(error)));
                }
                self.reply(call, &()).await?;
                self.meet(place, Occasion::Written(uuid, &value)).await?;
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
        if let Err(error) = peer.device.subscribe(now, uuid, true) {
            return Ok(Err(refusal(error)));
        }
        peer.sessions.entry(uuid).or_default().insert(sender(call));
        self.tree.set(path, CHARACTERISTIC_IF, "Notifying", Value::Flag(true));
        if self.meet(place, Occasion::Subscribed(uuid)).await? == Fate::Cut {
            return self.reply(call, &()).await.map(Ok);
        }
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

    /// Takes what a device says: over the bus first, and then confirmed to the device, whether or not
    /// anybody listens.
    pub(super) async fn pump(&mut self, place: usize) -> anyhow::Result<()> {
        loop {
            let now = self.time.now();
            if self.is_dying.is_some() {
                return Ok(());
            }
            let Some(peer) = self.peers.get_mut(place).filter(|peer| peer.pause <= now) else {
                return Ok(());
            };
            let Some(output) = peer.device.poll_output(now) else { return Ok(()) };
            let (uuid, value, is_indication) = match output {
                GattOutput::Notify(uuid, value) => (uuid, value, false),
                GattOutput::Indicate(uuid, value) => (uuid, value, true),
                GattOutput::Disconnect => {
                    self.link_down(place).await?;
                    continue;
                }
            };
            if is_indication && self.meet(place, Occasion::Indicating).await? == Fate::Cut {
                continue;
            }
            self.hand_over(place, uuid, value, is_indication).await?;
        }
    }

    async fn hand_over(
        &mut self,
        place: usize,
        uuid: Uuid,
        value: Vec<u8>,
        is_indication: bool,
    ) -> anyhow::Result<()> {
        let (now, interval_ms) = (self.time.now(), self.timings.interval_ms);
        let Some(peer) = self.peers.get_mut(place) else { return Ok(()) };
        if is_indication {
            peer.pause = now.plus_millis(interval_ms);
        }
        peer.lost_after = peer.lost_after.map(|left| left.saturating_sub(1));
        let is_lost = peer.lost_after.take_if(|left| *left == 0).is_some();
        let listener = peer.sessions.get(&uuid).and_then(|all| all.first()).cloned();
        let is_heard = listener.is_some();
        let (address, path) = (peer.address.clone(), peer.path_of(uuid));
        if let Some(path) = path.filter(|_| is_heard) {
            self.tree.say(&path, CHARACTERISTIC_IF, "Value", Value::Bytes(value.clone()));
        }
        self.tell().await?;
        let is_confirmed =
            is_indication && self.meet(place, Occasion::Indicated).await? == Fate::Good;
        if let Some(peer) = self.peers.get_mut(place).filter(|_| is_confirmed) {
            peer.device.confirmed(now);
        }
        if self.said.len() < SAID_MAX {
            let at = now;
            self.said.push(Said { address, uuid, value, is_confirmed, is_heard, listener, at });
        }
        self.values.send_modify(|count| *count += 1);
        if is_lost {
            self.link_down(place).await?;
        }
        let is_cut =
            is_confirmed && self.meet(place, Occasion::Confirmed(uuid)).await? == Fate::Cut;
        if !is_cut && (is_confirmed || !is_indication) {
            self.meet(place, Occasion::Said(uuid)).await?;
        }
        self.tell().await
    }
}

/// "Procedure already in progress", glucose sheet, §5.
const IN_PROGRESS: AttError = AttError(0x80);

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
