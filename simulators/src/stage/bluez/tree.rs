//! The objects of `org.bluez` and their properties, and what changed about them.

use std::collections::{BTreeMap, BTreeSet};
use zbus::{ObjectPath, Variant};

/// The value of a property.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    Text(String),
    Path(String),
    Int16(i16),
    Uint16(u16),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn variant(&self) -> Variant<'static> {
        match self {
            Self::Flag(flag) => Variant::from(*flag),
            Self::Text(text) => Variant::from(text.clone()),
            Self::Path(path) => Variant::from(object_path(path)),
            Self::Int16(number) => Variant::from(*number),
            Self::Uint16(number) => Variant::from(*number),
            Self::Bytes(bytes) => Variant::from(bytes.clone()),
            Self::Texts(texts) => Variant::from(texts.clone()),
        }
    }
}

/// A path that this stage has made.
pub(super) fn object_path(path: &str) -> ObjectPath<'static> {
    ObjectPath::try_from(path.to_owned()).unwrap_or_default()
}

/// Properties by name; what is not known is absent.
pub(super) type Properties = BTreeMap<&'static str, Value>;
/// As it goes over the bus.
pub(super) type Sent = BTreeMap<&'static str, Variant<'static>>;

/// What the bus must be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Added { path: String },
    Removed { path: String, interfaces: Vec<&'static str> },
    Set { path: String, interface: &'static str, name: &'static str, value: Value },
    Gone { path: String, interface: &'static str, name: &'static str },
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Tree {
    objects: BTreeMap<String, BTreeMap<&'static str, Properties>>,
    changes: Vec<Change>,
}

impl Tree {
    /// An object appears, with its interfaces.
    pub(super) fn add(&mut self, path: &str, interfaces: Vec<(&'static str, Properties)>) {
        self.objects.insert(path.to_owned(), interfaces.into_iter().collect());
        self.changes.push(Change::Added { path: path.to_owned() });
    }

    /// An object and all below it go, the lowest first.
    pub(super) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        let gone = self.objects.keys().filter(|key| *key == path || key.starts_with(&below));
        let gone: Vec<String> = gone.rev().cloned().collect();
        for path in gone {
            let Some(interfaces) = self.objects.remove(&path) else { continue };
            let interfaces = interfaces.into_keys().collect();
            self.changes.push(Change::Removed { path, interfaces });
        }
    }

    /// All below an object go.
    pub(super) fn remove_below(&mut self, path: &str) {
        let below = format!("{path}/");
        let gone: Vec<String> =
            self.objects.keys().filter(|key| key.starts_with(&below)).cloned().collect();
        for path in gone {
            self.remove(&path);
        }
    }

    /// A property has that value; told if it is another one.
    pub(super) fn set(
        &mut self,
        path: &str,
        interface: &'static str,
        name: &'static str,
        value: Value,
    ) {
        if self.get(path, interface).and_then(|all| all.get(name)) != Some(&value) {
            self.say(path, interface, name, value);
        }
    }

    /// A property has that value; told even if it had it before.
    pub(super) fn say(
        &mut self,
        path: &str,
        interface: &'static str,
        name: &'static str,
        value: Value,
    ) {
        let object = self.objects.get_mut(path).and_then(|object| object.get_mut(interface));
        let Some(properties) = object else { return };
        properties.insert(name, value.clone());
        self.changes.push(Change::Set { path: path.to_owned(), interface, name, value });
    }

    /// A property is not known any more.
    pub(super) fn unset(&mut self, path: &str, interface: &'static str, name: &'static str) {
        let object = self.objects.get_mut(path).and_then(|object| object.get_mut(interface));
        if object.and_then(|properties| properties.remove(name)).is_some() {
            self.changes.push(Change::Gone { path: path.to_owned(), interface, name });
        }
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.objects.contains_key(path)
    }

    pub(super) fn get(&self, path: &str, interface: &str) -> Option<&Properties> {
        self.objects.get(path).and_then(|object| object.get(interface))
    }

    /// The interfaces of an object, as they go over the bus.
    pub(super) fn sent(&self, path: &str) -> BTreeMap<&'static str, Sent> {
        let object = self.objects.get(path).into_iter().flatten();
        object.map(|(interface, properties)| (*interface, sent(properties))).collect()
    }

    /// What is at a path and below it, for tools that show a tree.
    pub(super) fn introspect(&self, path: &str) -> String {
        let below = format!("{}/", path.trim_end_matches('/'));
        let children = self.objects.keys().filter_map(|key| key.strip_prefix(&below));
        let names: BTreeSet<&str> = children
            .filter_map(|rest| rest.split('/').next())
            .filter(|name| !name.is_empty())
            .collect();
        let nodes = names.into_iter().map(|name| format!("<node name=\"{name}\"/>"));
        let interfaces = self.objects.get(path).into_iter().flat_map(BTreeMap::keys);
        let interfaces = interfaces.map(|name| format!("<interface name=\"{name}\"/>"));
        format!("<node>{}</node>", interfaces.chain(nodes).collect::<String>())
    }

    /// Everything, as `GetManagedObjects` answers.
    pub(super) fn all(&self) -> BTreeMap<ObjectPath<'static>, BTreeMap<&'static str, Sent>> {
        self.objects.keys().map(|path| (object_path(path), self.sent(path))).collect()
    }
}

pub(super) fn sent(properties: &Properties) -> Sent {
    properties.iter().map(|(name, value)| (*name, value.variant())).collect()
}
