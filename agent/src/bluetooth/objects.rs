//! What the stack has on its bus: adapters, and our devices with their services and
//! characteristics, by path. Of everybody else's devices nothing is kept.
//!
//! Not here: the bus. Whoever reads it puts in what was said, and is told what that means.

use drivers::gatt::{Characteristic, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// Services and characteristics of one device: no profile has a tenth of it.
const OBJECTS_MAX: usize = 512;
pub(super) const ADAPTER: &str = "org.bluez.Adapter1";
pub(super) const DEVICE: &str = "org.bluez.Device1";
pub(super) const SERVICE: &str = "org.bluez.GattService1";
pub(super) const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";

/// A property's value, as far as it is used. "`Value`, `RSSI`, `Name` and others are absent when
/// unknown": what is not there is not in the map.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Property {
    Text(String),
    Flag(bool),
    Number(i16),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
    /// Anything else.
    Other,
}

pub(crate) type Properties = BTreeMap<String, Property>;

/// An adapter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Adapter {
    pub(crate) powered: bool,
    pub(crate) discovering: bool,
}

/// One of our devices.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Device {
    pub(crate) address: String,
    pub(crate) connected: bool,
    resolved: bool,
    /// The stack has a bond with it.
    pub(crate) paired: bool,
}

/// What something that was said means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum News {
    /// A device advertises.
    Seen(String),
    /// Its services are known now.
    Resolved(String),
    Disconnected(String),
    /// A characteristic of a device has a new value.
    Value(String, Characteristic, Vec<u8>),
    /// An adapter looks for devices no longer.
    StoppedLooking(String),
}

/// All objects that matter to us.
#[derive(Debug)]
pub(crate) struct Objects {
    /// Addresses of our devices.
    ours: BTreeSet<String>,
    pub(crate) adapters: BTreeMap<String, Adapter>,
    pub(crate) devices: BTreeMap<String, Device>,
    services: BTreeMap<String, Uuid>,
    characteristics: BTreeMap<String, Uuid>,
    /// Values of characteristics that were not announced yet.
    early: Vec<(String, Vec<u8>)>,
}

/// Values that may wait for the announcement of their characteristic.
const EARLY_MAX: usize = 256;

impl Objects {
    pub(crate) fn of_devices(ours: BTreeSet<String>) -> Self {
        Self {
            ours,
            adapters: BTreeMap::new(),
            devices: BTreeMap::new(),
            services: BTreeMap::new(),
            characteristics: BTreeMap::new(),
            early: Vec::new(),
        }
    }

    /// Whether a device is connected and its services are known.
    pub(crate) fn is_resolved(&self, device: &str) -> bool {
        self.devices.get(device).is_some_and(|device| device.resolved)
    }

    /// The characteristics of a device.
    pub(crate) fn characteristics(&self, device: &str) -> Vec<Characteristic> {
        let own = self.characteristics.keys().filter(|path| device_of(path) == Some(device));
        own.filter_map(|path| self.characteristic(path)).collect()
    }

    /// The path of a device's characteristic; the first of several like ones.
    pub(crate) fn path(&self, device: &str, wanted: Characteristic) -> Option<&str> {
        let own = self.characteristics.keys().filter(|path| device_of(path) == Some(device));
        own.map(String::as_str).find(|path| self.characteristic(path) == Some(wanted))
    }

    fn characteristic(&self, path: &str) -> Option<Characteristic> {
        let service = parent(path)?;
        let (service, uuid) = (*self.services.get(service)?, *self.characteristics.get(path)?);
        Some(Characteristic { service, uuid })
    }

    /// Whether there is room below that device of ours.
    fn has_room(&self, device: &str) -> bool {
        let below = format!("{device}/");
        let paths = self.services.keys().chain(self.characteristics.keys());
        self.devices.contains_key(device)
            && paths.filter(|path| path.starts_with(&below)).count() < OBJECTS_MAX
    }

    /// An object, or an interface of it, is there.
    pub(crate) fn added(
        &mut self,
        path: &str,
        interface: &str,
        properties: &Properties,
    ) -> Vec<News> {
        let text = |name| match properties.get(name) {
            Some(Property::Text(text)) => Some(text),
            _ => None,
        };
        let uuid = || text("UUID").and_then(|uuid| uuid.parse::<Uuid>().ok());
        match interface {
            ADAPTER => {
                self.adapters.entry(path.to_owned()).or_default();
            }
            DEVICE => {
                let Some(address) = text("Address").filter(|text| self.ours.contains(*text)) else {
                    return Vec::new();
                };
                let device = Device { address: address.clone(), ..Device::default() };
                self.devices.entry(path.to_owned()).or_insert(device);
            }
            SERVICE if parent(path).is_some_and(|device| self.has_room(device)) => {
                self.services.extend(uuid().map(|uuid| (path.to_owned(), uuid)));
                return self.late_values();
            }
            CHARACTERISTIC if device_of(path).is_some_and(|device| self.has_room(device)) => {
                // A value that it is announced with was read before, or came before we listened.
                self.characteristics.extend(uuid().map(|uuid| (path.to_owned(), uuid)));
                return self.late_values();
            }
            _ => return Vec::new(),
        }
        self.changed(path, interface, properties)
    }

    /// Interfaces of an object are gone.
    pub(crate) fn removed(&mut self, path: &str, interfaces: &[String]) -> Vec<News> {
        let mut news = Vec::new();
        for interface in interfaces {
            match interface.as_str() {
                ADAPTER => drop(self.adapters.remove(path)),
                DEVICE if self.devices.remove(path).is_some_and(|device| device.connected) => {
                    news.push(News::Disconnected(path.to_owned()));
                }
                SERVICE => drop(self.services.remove(path)),
                CHARACTERISTIC => drop(self.characteristics.remove(path)),
                _ => {}
            }
        }
        news
    }

    /// Properties of an object changed.
    pub(crate) fn changed(
        &mut self,
        path: &str,
        interface: &str,
        changed: &Properties,
    ) -> Vec<News> {
        match interface {
            ADAPTER => {
                let Some(adapter) = self.adapters.get_mut(path) else { return Vec::new() };
                adapter.powered = flag(changed, "Powered").unwrap_or(adapter.powered);
                let before = adapter.discovering;
                adapter.discovering = flag(changed, "Discovering").unwrap_or(before);
                let stopped = before && !adapter.discovering;
                stopped.then(|| News::StoppedLooking(path.to_owned())).into_iter().collect()
            }
            DEVICE => self.device_changed(path, changed),
            CHARACTERISTIC => match changed.get("Value") {
                Some(Property::Bytes(value)) => self.value(path, value.clone()),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn device_changed(&mut self, path: &str, changed: &Properties) -> Vec<News> {
        let flag = |name| flag(changed, name);
        let Some(device) = self.devices.get_mut(path) else { return Vec::new() };
        let before = (device.connected, device.resolved);
        device.paired = flag("Paired").unwrap_or(device.paired);
        device.connected = flag("Connected").unwrap_or(device.connected);
        device.resolved = flag("ServicesResolved").unwrap_or(device.resolved) && device.connected;
        let mut news = Vec::new();
        if !device.connected && is_heard(changed) {
            news.push(News::Seen(path.to_owned()));
        }
        if before.0 && !device.connected {
            news.push(News::Disconnected(path.to_owned()));
        }
        if !before.1 && device.resolved {
            news.push(News::Resolved(path.to_owned()));
        }
        news
    }

    fn value(&mut self, path: &str, value: Vec<u8>) -> Vec<News> {
        let device = device_of(path).filter(|device| self.devices.contains_key(*device));
        let Some(device) = device else { return Vec::new() };
        match self.characteristic(path) {
            Some(from) => return vec![News::Value(device.to_owned(), from, value)],
            None if self.early.len() < EARLY_MAX => self.early.push((path.to_owned(), value)),
            None => {}
        }
        Vec::new()
    }

    /// Values whose characteristic has just been announced.
    fn late_values(&mut self) -> Vec<News> {
        let early = std::mem::take(&mut self.early);
        early.into_iter().flat_map(|(path, value)| self.value(&path, value)).collect()
    }
}

pub(super) fn flag(properties: &Properties, name: &str) -> Option<bool> {
    match properties.get(name) {
        Some(Property::Flag(flag)) => Some(*flag),
        _ => None,
    }
}

/// The path above.
pub(super) fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above)
}

/// The device that the path of a characteristic begins with.
pub(super) fn device_of(path: &str) -> Option<&str> {
    parent(path).and_then(parent)
}

/// Whether the device was heard: the stack tells of an advertisement by what it hears, its strength
/// at least.
pub(super) fn is_heard(changed: &Properties) -> bool {
    ["RSSI", "ManufacturerData", "ServiceData"].iter().any(|name| changed.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAPTER_PATH: &str = "/org/bluez/hci0";
    const CUFF: &str = "/org/bluez/hci0/dev_00_1A_7D_DA_71_13";
    const SERVICE_PATH: &str = "/org/bluez/hci0/dev_00_1A_7D_DA_71_13/service0010";
    const VALUE_PATH: &str = "/org/bluez/hci0/dev_00_1A_7D_DA_71_13/service0010/char0011";
    const PRESSURE: Characteristic = Characteristic::sig(0x1810, 0x2A35);

    fn with<const N: usize>(properties: [(&str, Property); N]) -> Properties {
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn uuid(uuid: Uuid) -> Properties {
        with([("UUID", Property::Text(uuid.to_string()))])
    }

    fn cuff() -> Objects {
        let ours = BTreeSet::from(["00:1A:7D:DA:71:13".to_owned()]);
        let mut objects = Objects::of_devices(ours);
        objects.added(ADAPTER_PATH, ADAPTER, &with([("Powered", Property::Flag(true))]));
        let address = Property::Text("00:1A:7D:DA:71:13".to_owned());
        objects.added(CUFF, DEVICE, &with([("Address", address)]));
        objects
    }

    fn services(objects: &mut Objects) -> Vec<News> {
        let mut news = objects.added(SERVICE_PATH, SERVICE, &uuid(PRESSURE.service));
        news.extend(objects.added(VALUE_PATH, CHARACTERISTIC, &uuid(PRESSURE.uuid)));
        news
    }

    fn flags(connected: bool, resolved: bool) -> Properties {
        with([
            ("Connected", Property::Flag(connected)),
            ("ServicesResolved", Property::Flag(resolved)),
        ])
    }

    #[test]
    fn what_changes_on_a_device_is_news_once() {
        let mut objects = cuff();
        let heard = with([("RSSI", Property::Other)]);
        assert_eq!(objects.changed(CUFF, DEVICE, &heard), [News::Seen(CUFF.to_owned())]);
        assert_eq!(objects.changed(CUFF, DEVICE, &flags(true, false)), []);
        assert_eq!(objects.changed(CUFF, DEVICE, &heard), [], "it is connected");
        let resolved = objects.changed(CUFF, DEVICE, &flags(true, true));
        assert_eq!(resolved, [News::Resolved(CUFF.to_owned())]);
        assert_eq!(objects.changed(CUFF, DEVICE, &flags(true, true)), []);
        let gone = objects.changed(CUFF, DEVICE, &flags(false, true));
        assert_eq!(gone, [News::Disconnected(CUFF.to_owned())]);
        assert!(!objects.devices[CUFF].resolved, "a device that is gone has no services");
        let resolved = objects.changed(CUFF, DEVICE, &flags(true, true));
        assert_eq!(resolved, [News::Resolved(CUFF.to_owned())]);
        let removed = objects.removed(CUFF, &[DEVICE.to_owned()]);
        assert_eq!(removed, [News::Disconnected(CUFF.to_owned())]);
    }

    #[test]
    fn a_value_before_its_characteristic_is_announced_is_not_lost() {
        let mut objects = cuff();
        let value = with([("Value", Property::Bytes(vec![1, 2]))]);
        assert_eq!(objects.changed(VALUE_PATH, CHARACTERISTIC, &value), []);
        let told = News::Value(CUFF.to_owned(), PRESSURE, vec![1, 2]);
        let late = services(&mut objects);
        assert_eq!((late.first(), late.len()), (Some(&told), 1));
        assert_eq!(objects.changed(VALUE_PATH, CHARACTERISTIC, &value), [told]);
        assert_eq!(objects.characteristics(CUFF), [PRESSURE]);
        assert_eq!(objects.path(CUFF, PRESSURE), Some(VALUE_PATH));
    }

    #[test]
    fn a_value_that_was_there_before_we_listened_is_not_news() {
        let mut objects = cuff();
        objects.added(SERVICE_PATH, SERVICE, &uuid(PRESSURE.service));
        let mut old = uuid(PRESSURE.uuid);
        old.insert("Value".to_owned(), Property::Bytes(vec![1]));
        assert_eq!(objects.added(VALUE_PATH, CHARACTERISTIC, &old), []);
    }

    #[test]
    fn an_adapter_that_looks_no_longer_is_news() {
        let mut objects = cuff();
        let looks = |looks| with([("Discovering", Property::Flag(looks))]);
        assert_eq!(objects.changed(ADAPTER_PATH, ADAPTER, &looks(false)), []);
        assert_eq!(objects.changed(ADAPTER_PATH, ADAPTER, &looks(true)), []);
        let stopped = objects.changed(ADAPTER_PATH, ADAPTER, &looks(false));
        assert_eq!(stopped, [News::StoppedLooking(ADAPTER_PATH.to_owned())]);
    }

    #[test]
    fn of_a_street_full_of_devices_nothing_is_kept_and_of_ours_a_bounded_lot() {
        let mut objects = cuff();
        let other = "/org/bluez/hci0/dev_00_1A_7D_DA_71_14";
        let address = Property::Text("00:1A:7D:DA:71:14".to_owned());
        objects.added(other, DEVICE, &with([("Address", address)]));
        objects.added(&format!("{other}/service0010"), SERVICE, &uuid(PRESSURE.service));
        let value = with([("Value", Property::Bytes(vec![1]))]);
        let theirs = format!("{other}/service0010/char0011");
        assert_eq!(objects.changed(&theirs, CHARACTERISTIC, &value), []);
        assert_eq!((objects.devices.len(), objects.services.len()), (1, 0));
        assert!(objects.early.is_empty());
        for number in 0..2 * OBJECTS_MAX {
            objects.added(&format!("{CUFF}/service{number}"), SERVICE, &uuid(PRESSURE.service));
        }
        assert_eq!(objects.services.len(), OBJECTS_MAX);
    }
}
