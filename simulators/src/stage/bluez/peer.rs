//! A device as bluetoothd knows it: link, bond, notify sessions, the numbers of its handles.

use super::{
    OnAir, Quirk,
    tree::{Properties, Value},
};
use std::collections::{BTreeMap, BTreeSet};
use virtual_devices::{
    SimTime,
    gatt::{Characteristic, Flag, GattDevice, Uuid, faults::AirFaults},
};
use zbus::Message;

pub(super) const ADAPTER: &str = "/org/bluez/hci0";
pub(super) const ADAPTER_IF: &str = "org.bluez.Adapter1";
pub(super) const DEVICE_IF: &str = "org.bluez.Device1";
pub(super) const SERVICE_IF: &str = "org.bluez.GattService1";
pub(super) const CHARACTERISTIC_IF: &str = "org.bluez.GattCharacteristic1";

/// First handle behind those of the generic services.
const FIRST_HANDLE: u16 = 0x0010;
/// So much higher are all handles when they have moved.
const MOVED: u16 = 0x0100;

/// Characteristics of a service, each with its path.
type Placed = Vec<(String, Characteristic)>;

/// The link to a device.
#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// Since when, and who waits for it.
    Connecting {
        since: SimTime,
        call: Option<Message>,
    },
    Up {
        resolved: bool,
    },
}

/// A device.
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) path: String,
    pub(super) device: Box<dyn GattDevice>,
    pub(super) link: Link,
    pub(super) bonded: bool,
    pub(super) trusted: bool,
    /// How often there was a link.
    pub(super) connections: u64,
    /// Counts what came and went: what was planned for an earlier link does not happen.
    pub(super) generation: u64,
    /// How often the handles moved.
    moves: u16,
    /// Who listens to what; kept over a disconnect.
    pub(super) sessions: BTreeMap<Uuid, BTreeSet<String>>,
    /// The next Connect fails, as after a disconnect.
    pub(super) refuses: bool,
    /// The link is lost when so many more values were handed over.
    pub(super) lost_after: Option<u64>,
    /// What goes wrong by plan.
    pub(super) faults: Option<AirFaults>,
    /// The next value goes over the air no earlier.
    pub(super) pause: SimTime,
    pub(super) last_seen: SimTime,
    pub(super) sightings: u64,
    /// Who waits to be paired once the services are known.
    pub(super) pairing: Option<Message>,
    /// What is wrong with it.
    pub(super) quirks: Vec<Quirk>,
}

impl Peer {
    pub(super) fn new(on_air: OnAir) -> Self {
        let OnAir { address, device, is_bonded } = on_air;
        Self {
            path: format!("{ADAPTER}/dev_{}", address.replace(':', "_")),
            address,
            device,
            link: Link::Down,
            bonded: is_bonded,
            trusted: false,
            connections: 0,
            generation: 0,
            moves: 0,
            sessions: BTreeMap::new(),
            refuses: false,
            lost_after: None,
            faults: None,
            pause: SimTime(0),
            last_seen: SimTime(0),
            sightings: 0,
            pairing: None,
            quirks: Vec::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    pub(super) fn is_resolved(&self) -> bool {
        matches!(self.link, Link::Up { resolved: true })
    }

    /// When the next value can go over the air, if that is later.
    pub(super) fn paused_until(&self, now: SimTime) -> Option<SimTime> {
        (self.is_up() && self.pause > now).then_some(self.pause)
    }

    /// Whether that is wrong with it.
    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Services that it names when it advertises.
    pub(super) fn advertised(&self) -> &[Uuid] {
        if self.has(Quirk::HidesServices) { &[] } else { &self.device.profile().advertised }
    }

    /// All handles get other numbers.
    pub(super) fn move_handles(&mut self) {
        self.moves = (self.moves + 1) % 8;
    }

    /// Properties of its Device1.
    pub(super) fn properties(&self) -> Properties {
        let text = |text: &str| Value::text(text);
        let uuids = |uuids: &[Uuid]| Value::Texts(uuids.iter().map(Uuid::to_string).collect());
        BTreeMap::from([
            ("Adapter", Value::Path(ADAPTER.to_owned())),
            ("Address", text(&self.address)),
            ("AddressType", text("random")),
            ("Alias", text(&self.address.replace(':', "-"))),
            ("Blocked", Value::Flag(false)),
            ("Bonded", Value::Flag(self.bonded)),
            ("Connected", Value::Flag(self.is_up())),
            ("LegacyPairing", Value::Flag(false)),
            ("Paired", Value::Flag(self.bonded)),
            ("ServicesResolved", Value::Flag(self.is_resolved())),
            ("Trusted", Value::Flag(self.trusted)),
            ("UUIDs", uuids(self.advertised())),
        ])
    }

    /// UUIDs of all its services.
    pub(super) fn services(&self) -> Value {
        let services = self.device.profile().services.iter();
        Value::Texts(services.map(|service| service.uuid.to_string()).collect())
    }

    /// Its objects below Device1: paths with what is there.
    pub(super) fn objects(&self) -> Vec<(String, &'static str, Properties)> {
        let mut objects = Vec::new();
        for (service_path, service, characteristics) in self.layout() {
            let properties = BTreeMap::from([
                ("Device", Value::Path(self.path.clone())),
                ("Includes", Value::Texts(Vec::new())),
                ("Primary", Value::Flag(true)),
                ("UUID", Value::text(service.to_string())),
            ]);
            objects.push((service_path.clone(), SERVICE_IF, properties));
            for (path, characteristic) in characteristics {
                let loud = characteristic.has(Flag::Notify) || characteristic.has(Flag::Indicate);
                let mut properties = BTreeMap::from([
                    ("Flags", flags(&characteristic)),
                    ("MTU", Value::Uint16(self.device.profile().mtu_max)),
                    ("Service", Value::Path(service_path.clone())),
                    ("UUID", Value::text(characteristic.uuid.to_string())),
                ]);
                if loud {
                    let listened = self.sessions.contains_key(&characteristic.uuid);
                    properties.insert("Notifying", Value::Flag(listened));
                }
                objects.push((path, CHARACTERISTIC_IF, properties));
            }
        }
        objects
    }

    /// The path of a characteristic.
    pub(super) fn path_of(&self, uuid: Uuid) -> Option<String> {
        let layout = self.layout();
        let all = layout.into_iter().flat_map(|(_, _, characteristics)| characteristics);
        all.into_iter().find(|(_, one)| one.uuid == uuid).map(|(path, _)| path)
    }

    /// The characteristic at a path.
    pub(super) fn at(&self, path: &str) -> Option<Characteristic> {
        let layout = self.layout();
        let all = layout.into_iter().flat_map(|(_, _, characteristics)| characteristics);
        all.into_iter().find(|(one, _)| one == path).map(|(_, characteristic)| characteristic)
    }

    fn layout(&self) -> Vec<(String, Uuid, Placed)> {
        let mut handle = FIRST_HANDLE + self.moves * MOVED;
        let mut layout = Vec::new();
        for service in &self.device.profile().services {
            let service_path = format!("{}/service{handle:04x}", self.path);
            let mut characteristics = Vec::new();
            for characteristic in &service.characteristics {
                let path = format!("{service_path}/char{:04x}", handle + 1);
                characteristics.push((path, characteristic.clone()));
                // Declaration, value, configuration.
                handle += 3;
            }
            handle += 2;
            layout.push((service_path, service.uuid, characteristics));
        }
        layout
    }
}

fn flags(characteristic: &Characteristic) -> Value {
    let names = characteristic.flags.iter().map(|flag| match flag {
        Flag::Read => "read",
        Flag::Write => "write",
        Flag::Notify => "notify",
        Flag::Indicate => "indicate",
    });
    Value::Texts(names.map(str::to_owned).collect())
}
