//! Everything `BlueZ` has in reach, for a person who looks: `devices scan`, `devices pair`.
//!
//! Not here: the running agent's own devices, and their values.
//!
//! # Invariants
//! - nothing is subscribed to: a value that came while nobody keeps it would be confirmed and gone
//! - of a street full of devices a bounded lot is kept

use super::{
    bluez::{Asker, Bluez, BluezError, Said},
    objects::{
        ADAPTER, CHARACTERISTIC, DEVICE, Properties, Property, SERVICE, device_of, flag, is_heard,
        parent,
    },
};
use crate::clock::Clock;
use drivers::{
    gatt::{Characteristic, Uuid},
    registry::GattName,
};
use model::time::MonoTime;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};
use thiserror::Error;

/// Objects of all devices around: a hundred devices, or one with every profile there is.
const OBJECTS_MAX: usize = 4096;
/// "Busy while bluetoothd powers the adapter itself": it is asked so often, with this pause.
const POWER_TRIES: u32 = 5;
const POWER_PAUSE: Duration = Duration::from_secs(1);

/// Why nothing can be seen here.
#[derive(Clone, Debug, Error)]
pub(crate) enum Trouble {
    #[error("no Bluetooth here: {0}")]
    NoBus(BluezError),
    #[error("no Bluetooth here: bluetoothd does not run; start it with: systemctl start bluetooth")]
    NoDaemon,
    #[error("no Bluetooth here: there is no adapter; plug one in")]
    NoAdapter,
    #[error(
        "no Bluetooth here: the adapter cannot be switched on ({0}); `rfkill list` shows what blocks \
         it, `rfkill unblock bluetooth` frees it"
    )]
    Blocked(BluezError),
    #[error("Bluetooth went away meanwhile; is bluetoothd running? try again")]
    Gone,
    #[error("the adapter does not look for devices: {0}; try again in a minute")]
    Deaf(BluezError),
}

/// A device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) address: String,
    pub(crate) name: Option<String>,
    pub(crate) rssi_dbm: Option<i16>,
    pub(crate) services: Vec<Uuid>,
    pub(crate) paired: bool,
    pub(crate) connected: bool,
    pub(crate) resolved: bool,
}

impl Seen {
    /// The driver that reads such a device.
    pub(crate) fn driver(&self) -> Option<GattName> {
        GattName::recognise(&self.services, self.name.as_deref().unwrap_or_default())
    }
}

/// What is in reach.
pub(super) struct Nearby {
    pub(super) bluez: Bluez,
    pub(super) asker: Asker,
    pub(super) clock: Clock,
    around: Around,
    adapter: String,
    is_looking: bool,
}

/// What of it is a table.
#[derive(Debug, Default)]
struct Around {
    objects: BTreeMap<String, BTreeMap<String, Properties>>,
    /// Devices that were heard since we began to look.
    heard: BTreeSet<String>,
}

/// Everything that is heard within so long.
pub(crate) async fn survey(clock: Clock, listen_for: Duration) -> Result<Vec<Seen>, Trouble> {
    let mut nearby = Nearby::open(clock).await?;
    nearby.look().await?;
    nearby.listen(clock.mono() + listen_for).await?;
    nearby.stop_looking().await;
    Ok(nearby.all())
}

impl Nearby {
    /// Looks at everything that is known, and switches the adapter on.
    pub(super) async fn open(clock: Clock) -> Result<Self, Trouble> {
        let bluez = Bluez::connect().await.map_err(Trouble::NoBus)?;
        if !bluez.is_there() {
            return Err(Trouble::NoDaemon);
        }
        let asker = bluez.asker();
        let mut around = Around::default();
        for said in asker.objects().await.map_err(Trouble::NoBus)? {
            around.take(said);
        }
        around.heard.clear();
        let adapter = around.adapter().ok_or(Trouble::NoAdapter)?;
        let mut nearby = Self { bluez, asker, clock, around, adapter, is_looking: false };
        nearby.power_on().await?;
        Ok(nearby)
    }

    async fn power_on(&mut self) -> Result<(), Trouble> {
        let mut tried = 0;
        loop {
            let adapter = self.around.properties(&self.adapter, ADAPTER);
            if adapter.and_then(|adapter| flag(adapter, "Powered")).unwrap_or_default() {
                return Ok(());
            }
            tried += 1;
            let (asker, at) = (self.asker.clone(), self.adapter.clone());
            match asker.power(&at, true).await {
                Ok(()) => {}
                Err(error) if tried >= POWER_TRIES => return Err(Trouble::Blocked(error)),
                Err(error) => tracing::debug!(%error, "The adapter is asked again."),
            }
            let adapter = self.adapter.clone();
            let powered = |around: &Around| {
                let adapter = around.properties(&adapter, ADAPTER)?;
                flag(adapter, "Powered")?.then_some(())
            };
            self.until(self.clock.mono() + POWER_PAUSE, powered).await?;
            if tried > POWER_TRIES {
                return Err(Trouble::Blocked(BluezError::NoAnswer));
            }
        }
    }

    /// Looks for devices of any kind until [`stop_looking`](Self::stop_looking).
    pub(super) async fn look(&mut self) -> Result<(), Trouble> {
        match self.asker.discover(&self.adapter, Vec::new()).await {
            Ok(()) => {}
            Err(error) if error.is_in_progress() => {}
            Err(error) => return Err(Trouble::Deaf(error)),
        }
        self.is_looking = true;
        Ok(())
    }

    pub(super) async fn stop_looking(&mut self) {
        if std::mem::take(&mut self.is_looking)
            && let Err(error) = self.asker.stop_discovery(&self.adapter).await
        {
            tracing::debug!(%error, "The adapter goes on looking.");
        }
    }

    /// Waits until that device is heard; its path.
    pub(super) async fn hear(
        &mut self,
        address: &str,
        until: MonoTime,
    ) -> Result<Option<String>, Trouble> {
        let found = |around: &Around| {
            let path = around.path_of(address)?;
            let is_up = around.seen(&path)?.connected;
            (is_up || around.heard.contains(&path)).then_some(path)
        };
        self.until(until, found).await
    }

    /// Listens until that moment.
    pub(super) async fn listen(&mut self, until: MonoTime) -> Result<(), Trouble> {
        self.until(until, |_| None::<()>).await.map(drop)
    }

    /// Waits until the device is as wanted; whether it was in time.
    pub(super) async fn device_is(
        &mut self,
        path: &str,
        until: MonoTime,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<bool, Trouble> {
        let found = |around: &Around| around.seen(path).filter(&wanted).map(drop);
        Ok(self.until(until, found).await?.is_some())
    }

    /// Waits for the end of a call, and takes in meanwhile what `BlueZ` says.
    pub(super) async fn during<T>(&mut self, call: impl Future<Output = T>) -> Result<T, Trouble> {
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                ended = &mut call => return Ok(ended),
                said = self.bluez.next() => self.take(said)?,
            }
        }
    }

    /// Takes in what `BlueZ` said.
    pub(super) fn take(&mut self, said: Option<Said>) -> Result<(), Trouble> {
        match said {
            Some(Said::Restarted) | None => Err(Trouble::Gone),
            Some(said) => {
                self.around.take(said);
                Ok(())
            }
        }
    }

    pub(super) fn seen(&self, path: &str) -> Option<Seen> {
        self.around.seen(path)
    }

    pub(super) fn path_of(&self, address: &str) -> Option<String> {
        self.around.path_of(address)
    }

    /// All devices that were heard, or are connected.
    pub(super) fn all(&self) -> Vec<Seen> {
        let devices = self.around.objects.keys();
        let seen = devices.filter_map(|path| Some((path, self.around.seen(path)?)));
        let near = seen.filter(|(path, seen)| seen.connected || self.around.heard.contains(*path));
        near.map(|(_, seen)| seen).collect()
    }

    /// Values of a device that can be read, with their paths.
    pub(super) fn readable(&self, device: &str) -> Vec<(String, Characteristic)> {
        self.around.readable(device)
    }

    async fn until<T>(
        &mut self,
        until: MonoTime,
        found: impl Fn(&Around) -> Option<T>,
    ) -> Result<Option<T>, Trouble> {
        loop {
            if let Some(found) = found(&self.around) {
                return Ok(Some(found));
            }
            tokio::select! {
                said = self.bluez.next() => self.take(said)?,
                () = self.clock.sleep_until(Some(until)) => return Ok(None),
            }
        }
    }
}

impl Around {
    fn take(&mut self, said: Said) {
        match said {
            Said::Added(path, interfaces) => {
                let has_room = self.objects.len() < OBJECTS_MAX;
                if has_room || self.objects.contains_key(&path) {
                    if interfaces.iter().any(|(name, _)| name == DEVICE) {
                        self.heard.insert(path.clone());
                    }
                    self.objects.entry(path).or_default().extend(interfaces);
                }
            }
            Said::Removed(path, interfaces) => {
                if let Some(object) = self.objects.get_mut(&path) {
                    object.retain(|name, _| !interfaces.contains(name));
                    if object.is_empty() {
                        self.objects.remove(&path);
                    }
                }
                if interfaces.iter().any(|name| name == DEVICE) {
                    self.heard.remove(&path);
                }
            }
            Said::Changed(path, interface, changed) => {
                let object = self.objects.get_mut(&path);
                let Some(known) = object.and_then(|object| object.get_mut(&interface)) else {
                    return;
                };
                if interface == DEVICE && is_heard(&changed) {
                    self.heard.insert(path);
                }
                known.extend(changed);
            }
            Said::Restarted => *self = Self::default(),
        }
    }

    /// One that is on, or else one that can be switched on.
    fn adapter(&self) -> Option<String> {
        let all = self.objects.iter().filter_map(|(path, object)| {
            Some((path, flag(object.get(ADAPTER)?, "Powered").unwrap_or_default()))
        });
        all.min_by_key(|(_, is_on)| !is_on).map(|(path, _)| path.clone())
    }

    fn properties(&self, path: &str, interface: &str) -> Option<&Properties> {
        self.objects.get(path)?.get(interface)
    }

    fn path_of(&self, address: &str) -> Option<String> {
        let devices = self
            .objects
            .iter()
            .filter_map(|(path, object)| Some((path, text(object.get(DEVICE)?, "Address")?)));
        // Another adapter may remember it and not hear it.
        let own = devices.filter(|(_, found)| *found == address);
        own.min_by_key(|(path, _)| !self.heard.contains(*path)).map(|(path, _)| path.clone())
    }

    fn seen(&self, path: &str) -> Option<Seen> {
        let device = self.properties(path, DEVICE)?;
        let advertised = match device.get("UUIDs") {
            Some(Property::Texts(uuids)) => uuids.as_slice(),
            _ => &[],
        };
        let advertised = advertised.iter().filter_map(|uuid| uuid.parse().ok());
        let rssi_dbm = match device.get("RSSI") {
            Some(Property::Number(number)) => Some(*number),
            _ => None,
        };
        Some(Seen {
            address: text(device, "Address")?.to_owned(),
            name: text(device, "Name").map(printable),
            rssi_dbm,
            services: advertised.chain(self.services(path)).collect(),
            paired: flag(device, "Paired").unwrap_or_default()
                && flag(device, "Bonded").unwrap_or(true),
            connected: flag(device, "Connected").unwrap_or_default(),
            resolved: flag(device, "ServicesResolved").unwrap_or_default(),
        })
    }

    /// Services that a connection told.
    fn services(&self, device: &str) -> impl Iterator<Item = Uuid> {
        let own = self.objects.keys().filter(move |path| parent(path) == Some(device));
        own.filter_map(|path| text(self.properties(path, SERVICE)?, "UUID")?.parse().ok())
    }

    fn readable(&self, device: &str) -> Vec<(String, Characteristic)> {
        let own = self.objects.keys().filter(|path| device_of(path) == Some(device));
        let found = own.filter_map(|path| {
            let characteristic = self.properties(path, CHARACTERISTIC)?;
            match characteristic.get("Flags") {
                Some(Property::Texts(flags)) if flags.iter().any(|flag| flag == "read") => {}
                _ => return None,
            }
            let service = text(self.properties(parent(path)?, SERVICE)?, "UUID")?.parse().ok()?;
            let uuid = text(characteristic, "UUID")?.parse().ok()?;
            Some((path.clone(), Characteristic { service, uuid }))
        });
        found.collect()
    }
}

fn text<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    match properties.get(name) {
        Some(Property::Text(text)) => Some(text),
        _ => None,
    }
}

/// A name from the air is anybody's: it may not write over the terminal.
fn printable(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(NAME_LETTERS_MAX).collect()
}

/// A name of the longest advertisement.
const NAME_LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const CUFF: &str = "/org/bluez/hci0/dev_C0_26_DA_00_00_01";

    fn with<const N: usize>(properties: [(&str, Property); N]) -> Properties {
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn text_of(text: &str) -> Property {
        Property::Text(text.to_owned())
    }

    fn around() -> Around {
        let mut around = Around::default();
        let device = with([
            ("Address", text_of("C0:26:DA:00:00:01")),
            ("Name", text_of("Virtual\u{1b}[2J BP")),
            ("Paired", Property::Flag(true)),
            ("Bonded", Property::Flag(false)),
            ("UUIDs", Property::Texts(vec![Uuid::sig(0x1810).to_string()])),
        ]);
        around.take(Said::Added(CUFF.to_owned(), vec![(DEVICE.to_owned(), device)]));
        around
    }

    #[test]
    fn a_device_is_what_is_known_of_it_and_a_bond_is_more_than_a_pairing() {
        let mut around = around();
        let seen = around.seen(CUFF).unwrap();
        assert_eq!(seen.driver(), Some(GattName::BloodPressure));
        assert_eq!((seen.name.as_deref(), seen.rssi_dbm), (Some("Virtual[2J BP"), None));
        assert!(!seen.paired && !seen.connected);
        let changed = with([("RSSI", Property::Number(-60)), ("Bonded", Property::Flag(true))]);
        around.take(Said::Changed(CUFF.to_owned(), DEVICE.to_owned(), changed));
        let seen = around.seen(CUFF).unwrap();
        assert!(seen.paired && seen.rssi_dbm == Some(-60));
        assert_eq!(around.path_of("C0:26:DA:00:00:01").as_deref(), Some(CUFF));
        around.take(Said::Removed(CUFF.to_owned(), vec!["org.bluez.Battery1".to_owned()]));
        assert!(around.heard.contains(CUFF), "its battery is told no more, and it is there");
        around.take(Said::Removed(CUFF.to_owned(), vec![DEVICE.to_owned()]));
        assert!(around.objects.is_empty() && around.heard.is_empty());
    }

    #[test]
    fn the_adapter_that_hears_a_device_is_the_one_to_connect_it() {
        let mut around = around();
        around.heard.clear(); // Another one remembers it.
        let other = CUFF.replace("hci0", "hci1");
        let device = with([("Address", text_of("C0:26:DA:00:00:01"))]);
        around.take(Said::Added(other.clone(), vec![(DEVICE.to_owned(), device)]));
        assert_eq!(around.path_of("C0:26:DA:00:00:01"), Some(other));
    }

    #[test]
    fn what_can_be_read_is_told_with_its_service() {
        let mut around = around();
        let (service, value) =
            (format!("{CUFF}/service0010"), format!("{CUFF}/service0010/char0011"));
        let uuid = |uuid| ("UUID", text_of(&Uuid::sig(uuid).to_string()));
        let flags = |flag: &str| ("Flags", Property::Texts(vec![flag.to_owned()]));
        let said = |path: &str, interface: &str, with| {
            Said::Added(path.to_owned(), vec![(interface.to_owned(), with)])
        };
        around.take(said(&service, SERVICE, with([uuid(0x180A)])));
        around.take(said(&value, CHARACTERISTIC, with([uuid(0x2A29), flags("indicate")])));
        assert_eq!(around.readable(CUFF), []);
        around.take(said(&value, CHARACTERISTIC, with([uuid(0x2A29), flags("read")])));
        assert_eq!(around.readable(CUFF), [(value, Characteristic::sig(0x180A, 0x2A29))]);
        assert!(around.seen(CUFF).unwrap().services.contains(&Uuid::sig(0x180A)));
    }
}
