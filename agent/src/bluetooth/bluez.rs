//! `BlueZ` on the system bus: what it says, and what is asked of it.
//!
//! # Invariants
//! - one match for everything `BlueZ` says stands from before the first call for as long as the
//!   connection: a value that nobody listens to is confirmed to its device and gone
//! - nothing counts that another program on the bus says

use super::objects::{ADAPTER, CHARACTERISTIC, DEVICE, Properties, Property};
use drivers::gatt::Refusal;
use futures_util::StreamExt as _;
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    time::Duration,
};
use thiserror::Error;
use zbus::{
    Connection, MatchRule, Message, MessageStream, ObjectPath, OwnedObjectPath, OwnedVariant,
    Variant, message::Type,
};

const BLUEZ: &str = "org.bluez";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// A burst of 500 glucose records, with their contexts, while the disk commits. Zero would be an
/// error of the build: a constant is evaluated there.
const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("above 0");
/// A call that BlueZ answers from memory, or with one exchange on the air.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// An interface's name → its properties, of one object.
type Interfaces = BTreeMap<String, BTreeMap<String, OwnedVariant>>;

/// What `BlueZ` said.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// An object has these interfaces now.
    Added(String, Vec<(String, Properties)>),
    /// An object lost these interfaces.
    Removed(String, Vec<String>),
    /// Properties of one interface changed.
    Changed(String, String, Properties),
    /// `BlueZ` came or went: nothing that was known holds.
    Restarted,
}

/// Why `BlueZ` did not do it.
#[derive(Clone, Debug, Error)]
pub(crate) enum BluezError {
    /// In its own words.
    #[error("{name}: {text}")]
    Refused {
        /// `org.bluez.Error.…`.
        name: String,
        text: String,
    },
    #[error("no answer within {} s", CALL_LIMIT.as_secs())]
    NoAnswer,
    #[error("the system bus failed: {0}; is the service dbus running?")]
    Bus(String),
}

impl From<zbus::Error> for BluezError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                Self::Refused { name: name.to_string(), text: text.unwrap_or_default() }
            }
            error => Self::Bus(error.to_string()),
        }
    }
}

impl BluezError {
    /// What was asked for is being done already.
    pub(crate) fn is_in_progress(&self) -> bool {
        self.is("InProgress")
    }

    /// Whether it is `org.bluez.Error.` with that name.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name.rsplit('.').next() == Some(wanted))
    }

    /// What a driver is told.
    pub(crate) fn refusal(&self) -> Refusal {
        let Self::Refused { name, text } = self else { return Refusal::Other(self.to_string()) };
        // "Operation failed with ATT error: 0x80 (…)"
        let code = text.split_once("ATT error: 0x").and_then(|(_, rest)| rest.get(..2));
        let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (name.rsplit('.').next(), code) {
            (_, Some(0x05 | 0x08 | 0x0F)) => Refusal::NotPaired,
            (_, Some(code)) => Refusal::Att(code),
            (Some("NotAuthorized" | "NotPermitted"), None) => Refusal::NotPaired,
            _ => Refusal::Other(self.to_string()),
        }
    }
}

/// A connection to the bus that listens to `BlueZ`.
pub(crate) struct Bluez {
    connection: Connection,
    signals: MessageStream,
    /// The unique name behind `org.bluez`, while it is there.
    owner: Option<String>,
}

/// Asks; may be cloned into calls that are under way.
#[derive(Clone, Debug)]
pub(crate) struct Asker(Connection);

impl Bluez {
    /// Connects to the system bus, or to the one named by `DBUS_SYSTEM_BUS_ADDRESS`, and listens.
    ///
    /// # Errors
    /// When there is no bus.
    pub(crate) async fn connect() -> Result<Self, BluezError> {
        // A bus may accept and never answer.
        tokio::time::timeout(CALL_LIMIT, Self::begin()).await.unwrap_or(Err(BluezError::NoAnswer))
    }

    async fn begin() -> Result<Self, BluezError> {
        let connection = Connection::system().await?;
        let rule = MatchRule::builder().msg_type(Type::Signal).sender(BLUEZ).build()?;
        let signals = MessageStream::for_match_rule(rule, &connection, Some(QUEUE)).await?;
        let owned = format!(
            "type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{BLUEZ}'"
        );
        connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "AddMatch", &owned).await?;
        let mut bluez = Self { connection, signals, owner: None };
        bluez.owner = bluez.ask_owner().await;
        Ok(bluez)
    }

    /// Whether `BlueZ` is on the bus.
    pub(crate) const fn is_there(&self) -> bool {
        self.owner.is_some()
    }

    pub(crate) fn asker(&self) -> Asker {
        Asker(self.connection.clone())
    }

    /// The connection, for whoever answers on it.
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether it was `BlueZ` that called.
    pub(super) fn is_from_bluez(&self, call: &Message) -> bool {
        call.header().sender().is_some_and(|sender| self.owner.as_deref() == Some(sender.as_str()))
    }

    /// The next thing it says; `None` when the bus is gone.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        loop {
            let message = self.signals.next().await?.ok()?;
            if let Some(said) = self.understood(&message) {
                return Some(said);
            }
        }
    }

    fn understood(&mut self, message: &Message) -> Option<Said> {
        let header = message.header();
        let sender = header.sender()?.as_str();
        let (path, member) = (header.path()?.to_string(), header.member()?.as_str());
        let body = message.body();
        match (sender == BUS, header.interface()?.as_str(), member) {
            (true, BUS, "NameOwnerChanged") => {
                let (name, _, new): (String, String, String) = body.deserialize().ok()?;
                (name == BLUEZ).then(|| {
                    self.owner = Some(new).filter(|new| !new.is_empty());
                    Said::Restarted
                })
            }
            // Anybody on the bus may send us a signal.
            _ if self.owner.as_deref() != Some(sender) => None,
            (_, OBJECT_MANAGER, "InterfacesAdded") => {
                let (path, added): (OwnedObjectPath, Interfaces) = body.deserialize().ok()?;
                Some(Said::Added(path.to_string(), interfaces(added)))
            }
            (_, OBJECT_MANAGER, "InterfacesRemoved") => {
                let (path, removed): (OwnedObjectPath, Vec<String>) = body.deserialize().ok()?;
                Some(Said::Removed(path.to_string(), removed))
            }
            (_, PROPERTIES, "PropertiesChanged") => {
                let (interface, changed, _): (String, BTreeMap<String, OwnedVariant>, Vec<String>) =
                    body.deserialize().ok()?;
                Some(Said::Changed(path, interface, properties(changed)))
            }
            _ => None,
        }
    }

    async fn ask_owner(&self) -> Option<String> {
        let call =
            self.connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "GetNameOwner", &BLUEZ);
        call.await.ok()?.body().deserialize().ok()
    }
}

impl Asker {
    async fn call<B>(
        &self,
        path: &str,
        interface: &'static str,
        method: &'static str,
        body: &B,
    ) -> Result<Message, BluezError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let call = self.0.call_method(Some(BLUEZ), path, Some(interface), method, body);
        match tokio::time::timeout(CALL_LIMIT, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(BluezError::NoAnswer),
        }
    }

    /// Answers for itself whoever is asked of the agent at that path, until it is gone.
    pub(crate) async fn register_agent(&self, path: &str) -> Result<(), BluezError> {
        let path =
            ObjectPath::try_from(path).map_err(|error| BluezError::Bus(error.to_string()))?;
        let body = (path, "KeyboardDisplay");
        self.call("/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", &body).await.map(drop)
    }

    /// Pairs; without a limit, because a person types meanwhile.
    pub(crate) async fn pair(&self, device: &str) -> Result<(), BluezError> {
        let call = self.0.call_method(Some(BLUEZ), device, Some(DEVICE), "Pair", &());
        call.await.map(drop).map_err(BluezError::from)
    }

    pub(crate) async fn cancel_pairing(&self, device: &str) -> Result<(), BluezError> {
        self.call(device, DEVICE, "CancelPairing", &()).await.map(drop)
    }

    /// A device that is trusted may come back by itself, and nobody is asked.
    pub(crate) async fn trust(&self, device: &str) -> Result<(), BluezError> {
        let body = (DEVICE, "Trusted", Variant::Bool(true));
        self.call(device, PROPERTIES, "Set", &body).await.map(drop)
    }

    /// Forgets a device, and the bond with it.
    pub(crate) async fn remove(&self, adapter: &str, device: &str) -> Result<(), BluezError> {
        let path =
            ObjectPath::try_from(device).map_err(|error| BluezError::Bus(error.to_string()))?;
        self.call(adapter, ADAPTER, "RemoveDevice", &path).await.map(drop)
    }

    /// Every object that is there.
    pub(crate) async fn objects(&self) -> Result<Vec<Said>, BluezError> {
        let answer = self.call("/", OBJECT_MANAGER, "GetManagedObjects", &()).await?;
        let objects: HashMap<OwnedObjectPath, Interfaces> =
            answer.body().deserialize().map_err(BluezError::from)?;
        // A device before its services, a service before its characteristics: by path that is so.
        let by_path: BTreeMap<_, _> =
            objects.into_iter().map(|(path, added)| (path.to_string(), added)).collect();
        let said = |(path, added)| Said::Added(path, interfaces(added));
        Ok(by_path.into_iter().map(said).collect())
    }

    pub(crate) async fn power(&self, adapter: &str, on: bool) -> Result<(), BluezError> {
        let body = (ADAPTER, "Powered", Variant::Bool(on));
        self.call(adapter, PROPERTIES, "Set", &body).await.map(drop)
    }

    /// Looks for low-energy devices with one of these services, and tells of each advertisement.
    pub(crate) async fn discover(
        &self,
        adapter: &str,
        services: Vec<String>,
    ) -> Result<(), BluezError> {
        let mut filter = BTreeMap::from([
            ("Transport", Variant::from("le")),
            ("DuplicateData", Variant::Bool(true)),
            // With a limit that everything passes, each advertisement is told, however like the last.
            ("RSSI", Variant::I16(-127)),
        ]);
        if !services.is_empty() {
            filter.insert("UUIDs", Variant::from(services));
        }
        self.call(adapter, ADAPTER, "SetDiscoveryFilter", &filter).await?;
        self.call(adapter, ADAPTER, "StartDiscovery", &()).await.map(drop)
    }

    pub(crate) async fn stop_discovery(&self, adapter: &str) -> Result<(), BluezError> {
        self.call(adapter, ADAPTER, "StopDiscovery", &()).await.map(drop)
    }

    pub(crate) async fn connect(&self, device: &str) -> Result<(), BluezError> {
        self.call(device, DEVICE, "Connect", &()).await.map(drop)
    }

    pub(crate) async fn disconnect(&self, device: &str) -> Result<(), BluezError> {
        self.call(device, DEVICE, "Disconnect", &()).await.map(drop)
    }

    pub(crate) async fn read(&self, characteristic: &str) -> Result<Vec<u8>, BluezError> {
        let options = BTreeMap::<&str, Variant<'_>>::new();
        let answer = self.call(characteristic, CHARACTERISTIC, "ReadValue", &options).await?;
        answer.body().deserialize().map_err(BluezError::from)
    }

    /// Writes with response.
    pub(crate) async fn write(&self, characteristic: &str, value: &[u8]) -> Result<(), BluezError> {
        let options = BTreeMap::from([("type", Variant::from("request"))]);
        let body = (value, options);
        self.call(characteristic, CHARACTERISTIC, "WriteValue", &body).await.map(drop)
    }

    pub(crate) async fn subscribe(&self, characteristic: &str) -> Result<(), BluezError> {
        self.call(characteristic, CHARACTERISTIC, "StartNotify", &()).await.map(drop)
    }
}

fn interfaces(added: Interfaces) -> Vec<(String, Properties)> {
    added.into_iter().map(|(name, values)| (name, properties(values))).collect()
}

fn properties(values: BTreeMap<String, OwnedVariant>) -> Properties {
    values.into_iter().map(|(name, value)| (name, property(&value))).collect()
}

fn property(value: &Variant<'_>) -> Property {
    match value {
        Variant::Str(text) => Property::Text(text.to_string()),
        Variant::Bool(flag) => Property::Flag(*flag),
        Variant::Array(array) => {
            let byte = |value: &Variant<'_>| match value {
                Variant::U8(byte) => Some(*byte),
                _ => None,
            };
            let text = |value: &Variant<'_>| match value {
                Variant::Str(text) => Some(text.to_string()),
                _ => None,
            };
            let bytes: Option<Vec<u8>> = array.inner().iter().map(byte).collect();
            let texts = || array.inner().iter().map(text).collect::<Option<Vec<String>>>();
            let property = bytes.map(Property::Bytes);
            property.or_else(|| texts().map(Property::Texts)).unwrap_or(Property::Other)
        }
        Variant::I16(number) => Property::Number(*number),
        _ => Property::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, text: &str) -> Refusal {
        BluezError::Refused { name: format!("org.bluez.Error.{name}"), text: text.into() }.refusal()
    }

    #[test]
    fn refusals_say_what_to_do() {
        let failed =
            |code: &str| refused("Failed", &format!("Operation failed with ATT error: {code} (x)"));
        assert_eq!(failed("0x80"), Refusal::Att(0x80));
        assert_eq!(failed("0x0f"), Refusal::NotPaired);
        assert_eq!(refused("NotAuthorized", "Not paired"), Refusal::NotPaired);
        assert!(matches!(refused("Failed", "Not connected"), Refusal::Other(_)));
        assert!(matches!(BluezError::NoAnswer.refusal(), Refusal::Other(_)));
    }
}
