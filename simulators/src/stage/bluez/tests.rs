//! A small client against the stage, one bus per test.

use super::*;
use futures_util::StreamExt as _;
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};
use virtual_devices::{EcgSource, Patient, Scenario, Setup, StageClock, gatt::Pairing};
use zbus::{Connection, Message, MessageStream, ObjectPath, OwnedObjectPath, OwnedVariant};

const ADAPTER: &str = "/org/bluez/hci0";
const ADAPTER_IF: &str = "org.bluez.Adapter1";
const DEVICE_IF: &str = "org.bluez.Device1";
const CHARACTERISTIC_IF: &str = "org.bluez.GattCharacteristic1";
const AGENT: &str = "/agent";
const ADDRESS: &str = "C0:26:DA:00:00:01";
/// A condition that never comes fails a test after this long.
const LIMIT: Duration = Duration::from_secs(60);
const CUFF_VALUE: &str = "00002a35-0000-1000-8000-00805f9b34fb";
const RATE: &str = "00002a37-0000-1000-8000-00805f9b34fb";
const GLUCOSE: &str = "00002a18-0000-1000-8000-00805f9b34fb";
const CONTEXT: &str = "00002a34-0000-1000-8000-00805f9b34fb";
const RACP: &str = "00002a52-0000-1000-8000-00805f9b34fb";
/// A polite device.
const SEED: u64 = 4;

type Properties = BTreeMap<String, OwnedVariant>;
type Objects = BTreeMap<String, BTreeMap<String, Properties>>;

/// A bus with a stage and a program that listens to everything from before it does anything.
struct Bench {
    bus: PrivateBus,
    stage: Bluez,
    client: Client,
    folder: TempDir,
    passkey: Option<u32>,
}

struct Client {
    bus: Connection,
    heard: Arc<Mutex<Vec<Message>>>,
    news: watch::Receiver<usize>,
    passkey: watch::Sender<Option<u32>>,
}

impl Client {
    async fn of(bus: &PrivateBus) -> Self {
        let bus = zbus::connection::Builder::address(bus.address()).build().await.unwrap();
        let mut stream = MessageStream::from(&bus);
        let driver = "org.freedesktop.DBus";
        for rule in ["type='signal',sender='org.bluez'", "type='signal',member='NameOwnerChanged'"]
        {
            let path = "/org/freedesktop/DBus";
            bus.call_method(Some(driver), path, Some(driver), "AddMatch", &rule).await.unwrap();
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ((tell, news), (passkey, typed)) = (watch::channel(0), watch::channel(None));
        let (list, answering) = (heard.clone(), bus.clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                match message.message_type() {
                    zbus::message::Type::Signal => {
                        list.lock().unwrap().push(message);
                        tell.send_modify(|count| *count += 1);
                    }
                    // The agent is asked for the passkey.
                    zbus::message::Type::MethodCall => {
                        let code: u32 = (*typed.borrow()).unwrap();
                        answering.reply(&message.header(), &code).await.unwrap();
                    }
                    _ => {}
                }
            }
        });
        Self { bus, heard, news, passkey }
    }

    async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let path = ObjectPath::try_from(path.to_owned()).unwrap();
        let called = self.bus.call_method(Some("org.bluez"), path, Some(interface), member, body);
        timeout(LIMIT, called).await.expect("an answer")
    }

    /// The error's name and text.
    async fn refused<B>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> (String, String)
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        match self.call(path, interface, member, body).await {
            Err(zbus::Error::MethodError(name, text, _)) => {
                (name.to_string(), text.unwrap_or_default())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until something can be found in all that was heard.
    async fn until<T>(&mut self, find: impl Fn(&[Message]) -> Option<T>) -> T {
        let found = async {
            loop {
                self.news.borrow_and_update();
                if let Some(found) = find(&self.heard.lock().unwrap()) {
                    return found;
                }
                self.news.changed().await.unwrap();
            }
        };
        match timeout(LIMIT, found).await {
            Ok(found) => found,
            Err(_) => panic!("not within {LIMIT:?}"),
        }
    }

    async fn until_property(
        &mut self,
        path: &str,
        name: &str,
        wanted: bool,
        times: usize,
    ) -> Message {
        self.until(|heard| {
            let mut changes = heard.iter().filter(|message| {
                let value = changed(message, path).and_then(|mut all| all.remove(name));
                value.is_some_and(|value| bool::try_from(value) == Ok(wanted))
            });
            changes.nth(times - 1).cloned()
        })
        .await
    }

    async fn objects(&self) -> Objects {
        let interface = "org.freedesktop.DBus.ObjectManager";
        let answer = self.call("/", interface, "GetManagedObjects", &()).await.unwrap();
        let body = answer.body();
        let objects: BTreeMap<ObjectPath<'_>, BTreeMap<String, Properties>> =
            body.deserialize().unwrap();
        objects.into_iter().map(|(path, object)| (path.to_string(), object)).collect()
    }

    async fn property(&self, path: &str, interface: &str, name: &str) -> Option<OwnedVariant> {
        let mut objects = self.objects().await;
        objects.get_mut(path)?.get_mut(interface)?.remove(name)
    }

    async fn path_of(&self, uuid: &str) -> String {
        let objects = self.objects().await;
        let found = objects.into_iter().find(|(_, interfaces)| {
            let characteristic = interfaces.get(CHARACTERISTIC_IF);
            let found = characteristic.and_then(|properties| properties.get("UUID"));
            found.is_some_and(|found| <&str>::try_from(found) == Ok(uuid))
        });
        found.unwrap().0
    }

    /// Values of a characteristic, with their messages.
    fn values(&self, path: &str) -> Vec<(Message, Vec<u8>)> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter_map(|message| Some((message.clone(), value(message, path)?))).collect()
    }
}

fn changed(message: &Message, path: &str) -> Option<Properties> {
    let header = message.header();
    let is_change = header.member()?.as_str() == "PropertiesChanged";
    if !is_change || header.path()?.as_str() != path {
        return None;
    }
    let (_, properties, _): (String, Properties, Vec<String>) =
        message.body().deserialize().ok()?;
    Some(properties)
}

fn value(message: &Message, path: &str) -> Option<Vec<u8>> {
    let value = changed(message, path)?.remove("Value")?;
    Vec::<u8>::try_from(value).ok()
}

impl Bench {
    async fn of(name: &str, seed: u64, manners: Manners) -> Self {
        Self::at_speed(name, seed, manners, 1.0).await
    }

    async fn at_speed(name: &str, seed: u64, manners: Manners, speed: f64) -> Self {
        let bus = PrivateBus::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup {
            device: "ble-01".into(),
            seed,
            clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            patient: Patient::new(1, Scenario::built_in("steady").unwrap(), EcgSource::Synthetic),
        };
        let mut device = virtual_devices::gatt::create(name, setup).unwrap();
        device.remember_subscriptions();
        let passkey = match device.profile().pairing {
            Pairing::Passkey(passkey) => Some(passkey),
            _ => None,
        };
        let devices = vec![OnAir { address: ADDRESS.to_owned(), device, is_bonded: false }];
        let (time, truth) = (StageTime::start(speed), folder.path().join("truth.jsonl"));
        let stage = Bluez::start(bus.address(), devices, manners, time, &truth).await.unwrap();
        let client = Client::of(&bus).await;
        Self { bus, stage, client, folder, passkey }
    }

    fn path(&self) -> String {
        format!("{ADAPTER}/dev_{}", ADDRESS.replace(':', "_"))
    }

    /// The adapter is on and the device was seen.
    async fn find(&mut self) {
        let powered = self.client.property(ADAPTER, ADAPTER_IF, "Powered").await.unwrap();
        if !bool::try_from(powered).unwrap() {
            self.client.until_property(ADAPTER, "Powered", true, 1).await;
        }
        self.client.call(ADAPTER, ADAPTER_IF, "StartDiscovery", &()).await.unwrap();
        let path = self.path();
        self.client
            .until(|heard| heard.iter().find(|message| is_added(message, &path)).cloned())
            .await;
    }

    /// There is a link, and the services are known.
    async fn connect(&mut self, times: usize) {
        let path = self.path();
        self.client.call(&path, DEVICE_IF, "Connect", &()).await.unwrap();
        self.client.until_property(&path, "ServicesResolved", true, times).await;
    }

    async fn end(self) -> Vec<String> {
        self.stage.stop().await.unwrap();
        self.bus.stop().await.unwrap();
        let truth = fs::read_to_string(self.folder.path().join("truth.jsonl")).unwrap();
        truth.lines().map(str::to_owned).collect()
    }
}

fn is_added(message: &Message, path: &str) -> bool {
    let header = message.header();
    if header.member().is_none_or(|member| member.as_str() != "InterfacesAdded") {
        return false;
    }
    let body = message.body();
    let added: Result<(OwnedObjectPath, BTreeMap<String, Properties>), _> = body.deserialize();
    added.is_ok_and(|(added, _)| added.as_str() == path)
}

#[tokio::test]
async fn values_come_before_start_notify_is_answered_and_are_confirmed_to_the_cuff() {
    let mut bench = Bench::of("ble-cuff", SEED, Manners::Nasty).await;
    bench.find().await;
    bench.connect(1).await;
    let path = bench.client.path_of(CUFF_VALUE).await;
    let refused = bench.client.refused(&path, CHARACTERISTIC_IF, "StartNotify", &()).await;
    assert_eq!(refused, ("org.bluez.Error.NotPermitted".to_owned(), "Not paired".to_owned()));
    bench.client.call(&bench.path(), DEVICE_IF, "Pair", &()).await.unwrap();
    let answer = bench.client.call(&path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    bench
        .client
        .until(|heard| {
            (heard.iter().filter(|message| value(message, &path).is_some()).count() >= 3)
                .then_some(())
        })
        .await;
    let values = bench.client.values(&path);
    assert!(values[0].0.recv_position() < answer.recv_position());
    let said = bench.stage.said().await.unwrap();
    assert!(said.iter().all(|said| said.is_confirmed && said.is_heard));
    let said: Vec<_> = said.into_iter().map(|said| said.value).collect();
    assert_eq!(said, values.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
    // It ends the link when its memory is empty.
    let path = bench.path();
    bench.client.until_property(&path, "Connected", false, 1).await;
    let truth = bench.end().await;
    assert_eq!(truth.len(), said.len() * 4, "{truth:?}");
}

#[tokio::test]
async fn pair_before_the_services_are_known_bonds_and_is_never_answered() {
    // Slowly, so that Pair comes before the services are known on a loaded machine too.
    let mut bench = Bench::at_speed("ble-cuff", SEED, Manners::Nasty, 0.1).await;
    bench.find().await;
    let path = bench.path();
    bench.client.call(&path, DEVICE_IF, "Connect", &()).await.unwrap();
    let bus = bench.client.bus.clone();
    let device = ObjectPath::try_from(path.clone()).unwrap();
    let pairing = bus.call_method(Some("org.bluez"), device, Some(DEVICE_IF), "Pair", &());
    tokio::pin!(pairing);
    let bonded = async {
        bench.client.until_property(&path, "Paired", true, 1).await;
        bench.client.until_property(&path, "ServicesResolved", true, 1).await;
        // Whatever was to be answered before is answered by now.
        bench.client.objects().await;
    };
    tokio::select! {
        biased;
        answer = &mut pairing => panic!("{answer:?}"),
        () = bonded => {}
    }
    assert!(timeout(Duration::ZERO, pairing).await.is_err());
}

#[tokio::test]
async fn a_restored_session_speaks_before_the_services_are_known_and_the_first_connect_fails() {
    let mut bench = Bench::of("ble-strap", SEED, Manners::Nasty).await;
    bench.find().await;
    bench.connect(1).await;
    let (device, path) = (bench.path(), bench.client.path_of(RATE).await);
    bench.client.call(&path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    bench.client.until(|heard| heard.iter().find_map(|message| value(message, &path))).await;
    bench.stage.pull_link(ADDRESS).await.unwrap();
    bench.client.until_property(&device, "Connected", false, 1).await;
    let refused = bench.client.refused(&device, DEVICE_IF, "Connect", &()).await;
    assert_eq!(refused, ("org.bluez.Error.Failed".to_owned(), "Input/output error".to_owned()));
    let before = bench.client.values(&path).len();
    bench.client.call(&device, DEVICE_IF, "Connect", &()).await.unwrap();
    let resolved = bench.client.until_property(&device, "ServicesResolved", true, 2).await;
    // Nobody has asked again.
    let next = bench.client.until(|heard| {
        heard.iter().filter(|message| value(message, &path).is_some()).nth(before).cloned()
    });
    let next = next.await;
    let connected = bench.client.until_property(&device, "Connected", true, 2).await;
    assert!(connected.recv_position() < next.recv_position());
    assert!(next.recv_position() < resolved.recv_position());
}

#[tokio::test]
async fn an_adapter_is_busy_at_first_and_what_is_not_known_is_absent() {
    let mut bench = Bench::of("ble-strap", SEED, Manners::Nasty).await;
    let on = ("org.bluez.Adapter1", "Powered", zbus::Variant::from(true));
    let properties = "org.freedesktop.DBus.Properties";
    let (busy, _) = bench.client.refused(ADAPTER, properties, "Set", &on).await;
    assert_eq!(busy, "org.bluez.Error.Busy");
    let (early, _) = bench.client.refused(ADAPTER, ADAPTER_IF, "StartDiscovery", &()).await;
    assert_eq!(early, "org.bluez.Error.NotReady");
    bench.find().await;
    bench.client.call(ADAPTER, properties, "Set", &on).await.unwrap();
    let device = bench.path();
    assert!(bench.client.property(&device, DEVICE_IF, "Name").await.is_none());
    bench
        .client
        .until(|heard| heard.iter().find_map(|message| changed(message, &device)?.remove("Name")))
        .await;
    bench.client.call(ADAPTER, ADAPTER_IF, "StopDiscovery", &()).await.unwrap();
    assert!(bench.client.property(&device, DEVICE_IF, "RSSI").await.is_none());
    bench.connect(1).await;
    let path = bench.client.path_of(RATE).await;
    assert!(bench.client.property(&path, CHARACTERISTIC_IF, "Value").await.is_none());
    let options = Properties::new();
    let acquired = bench.client.refused(&path, CHARACTERISTIC_IF, "AcquireNotify", &options).await;
    assert_eq!(acquired.0, "org.bluez.Error.NotSupported");
}

#[tokio::test]
async fn handles_move_on_the_third_link_and_sessions_end_with_them() {
    let mut bench = Bench::of("ble-strap", SEED, Manners::Nasty).await;
    bench.find().await;
    bench.connect(1).await;
    let (device, first) = (bench.path(), bench.client.path_of(RATE).await);
    bench.client.call(&first, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    for times in 1..=2 {
        bench.client.call(&device, DEVICE_IF, "Disconnect", &()).await.unwrap();
        bench.client.refused(&device, DEVICE_IF, "Connect", &()).await;
        bench.connect(times + 1).await;
        let now = bench.client.path_of(RATE).await;
        assert_eq!(now == first, times == 1, "link {}", times + 1);
    }
    let moved = bench.client.path_of(RATE).await;
    let notifying = bench.client.property(&moved, CHARACTERISTIC_IF, "Notifying").await.unwrap();
    assert_eq!(bool::try_from(notifying), Ok(false));
}

#[tokio::test]
async fn a_bluetoothd_that_begins_again_knows_its_bonds_and_nothing_else() {
    let mut bench = Bench::of("ble-cuff", SEED, Manners::Nasty).await;
    bench.find().await;
    bench.connect(1).await;
    let device = bench.path();
    bench.client.call(&device, DEVICE_IF, "Pair", &()).await.unwrap();
    bench.stage.restart_daemon().await.unwrap();
    let owners = bench.client.until(|heard| {
        let changes = heard.iter().filter_map(|message| {
            let header = message.header();
            let is_change = header.member()?.as_str() == "NameOwnerChanged";
            let body = message.body();
            let (name, _, owner): (String, String, String) =
                is_change.then(|| body.deserialize().ok())??;
            (name == "org.bluez").then_some(owner)
        });
        let owners: Vec<String> = changes.collect();
        (owners.len() >= 2).then_some(owners)
    });
    let owners = owners.await;
    assert!(owners[0].is_empty() && owners[1].starts_with(':'), "{owners:?}");
    let paired = bench.client.property(&device, DEVICE_IF, "Paired").await.unwrap();
    let connected = bench.client.property(&device, DEVICE_IF, "Connected").await.unwrap();
    assert_eq!((bool::try_from(paired), bool::try_from(connected)), (Ok(true), Ok(false)));
    let objects = bench.client.objects().await;
    assert!(objects.values().all(|interfaces| !interfaces.contains_key(CHARACTERISTIC_IF)));
    assert!(bench.stage.connected().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_meter_is_paired_with_its_six_digits_and_hands_out_all_its_records() {
    let mut bench = Bench::of("ble-meter", 2, Manners::Nasty).await;
    bench.find().await;
    bench.connect(1).await;
    let (device, passkey) = (bench.path(), bench.passkey.unwrap());
    let alone = bench.client.refused(&device, DEVICE_IF, "Pair", &()).await;
    assert_eq!(alone.0, "org.bluez.Error.AuthenticationFailed");
    let agent = (ObjectPath::try_from(AGENT).unwrap(), "KeyboardDisplay");
    let manager = "org.bluez.AgentManager1";
    bench.client.call("/org/bluez", manager, "RegisterAgent", &agent).await.unwrap();
    bench.client.passkey.send_replace(Some((passkey + 1) % 1_000_000));
    let wrong = bench.client.refused(&device, DEVICE_IF, "Pair", &()).await;
    assert_eq!(wrong.0, "org.bluez.Error.AuthenticationFailed");
    bench.client.passkey.send_replace(Some(passkey));
    bench.client.call(&device, DEVICE_IF, "Pair", &()).await.unwrap();
    for uuid in [GLUCOSE, CONTEXT, RACP] {
        let path = bench.client.path_of(uuid).await;
        bench.client.call(&path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    }
    let (racp, records) = (bench.client.path_of(RACP).await, bench.client.path_of(GLUCOSE).await);
    let ask = (vec![1_u8, 1], Properties::new());
    bench.client.call(&racp, CHARACTERISTIC_IF, "WriteValue", &ask).await.unwrap();
    let again = bench.client.refused(&racp, CHARACTERISTIC_IF, "WriteValue", &ask).await;
    assert!(again.1.starts_with("Operation failed with ATT error: 0x"), "{again:?}");
    bench
        .client
        .until(|heard| {
            let count = heard.iter().filter(|message| value(message, &records).is_some()).count();
            let done = heard.iter().find_map(|message| value(message, &racp));
            (count >= 500 && done.is_some()).then_some(())
        })
        .await;
    let answer = bench.client.values(&racp).pop().unwrap().1;
    assert_eq!(answer, [6, 0, 1, 1]);
    let truth = bench.end().await;
    assert!(truth.iter().filter(|fact| fact.contains("device_seq")).count() >= 500);
}

#[tokio::test]
async fn a_link_that_is_lost_in_the_middle_of_a_report_leaves_the_rest_for_later() {
    let mut bench = Bench::of("ble-meter", SEED, Manners::Polite).await;
    bench.find().await;
    bench.connect(1).await;
    let device = bench.path();
    let agent = (ObjectPath::try_from(AGENT).unwrap(), "KeyboardDisplay");
    let manager = "org.bluez.AgentManager1";
    bench.client.call("/org/bluez", manager, "RegisterAgent", &agent).await.unwrap();
    bench.client.passkey.send_replace(bench.passkey);
    bench.client.call(&device, DEVICE_IF, "Pair", &()).await.unwrap();
    let (racp, records) = (bench.client.path_of(RACP).await, bench.client.path_of(GLUCOSE).await);
    for path in [&racp, &records] {
        bench.client.call(path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    }
    bench.stage.pull_link_after(ADDRESS, 5).await.unwrap();
    let ask = (vec![1_u8, 1], Properties::new());
    bench.client.call(&racp, CHARACTERISTIC_IF, "WriteValue", &ask).await.unwrap();
    bench.client.until_property(&device, "Connected", false, 1).await;
    assert_eq!(bench.client.values(&records).len(), 5);
    // The sessions of before are still there.
    bench.stage.wake(ADDRESS).await.unwrap();
    bench.connect(2).await;
    let rest = (vec![1_u8, 3, 1, 6, 0], Properties::new());
    bench.client.call(&racp, CHARACTERISTIC_IF, "WriteValue", &rest).await.unwrap();
    bench.client.until(|heard| heard.iter().find_map(|message| value(message, &racp))).await;
    assert_eq!(bench.client.values(&records).len(), 12);
    let truth = bench.end().await;
    let told = truth.iter().filter(|fact| fact.contains("device_seq")).count();
    assert!((12..=13).contains(&told), "{truth:?}");
}

#[tokio::test]
async fn a_program_that_is_gone_listens_to_nothing_any_more() {
    let mut bench = Bench::of("ble-strap", SEED, Manners::Nasty).await;
    bench.find().await;
    bench.connect(1).await;
    let path = bench.client.path_of(RATE).await;
    let other = Client::of(&bench.bus).await;
    other.call(&path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    bench.client.until_property(&path, "Notifying", true, 1).await;
    other.bus.close().await.unwrap();
    bench.client.until_property(&path, "Notifying", false, 1).await;
}

#[tokio::test]
async fn what_a_cuff_that_remembers_says_to_nobody_is_confirmed_and_lost() {
    let mut bench = Bench::of("ble-cuff", SEED, Manners::Nasty).await;
    bench.find().await;
    bench.connect(1).await;
    let device = bench.path();
    bench.client.call(&device, DEVICE_IF, "Pair", &()).await.unwrap();
    let path = bench.client.path_of(CUFF_VALUE).await;
    bench.stage.pull_link_after(ADDRESS, 1).await.unwrap();
    bench.client.call(&path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    bench.client.until_property(&device, "Connected", false, 1).await;
    // The session goes with bluetoothd; what the cuff remembers stays.
    bench.stage.restart_daemon().await.unwrap();
    bench.client.until_property(ADAPTER, "Powered", true, 2).await;
    bench.stage.wake(ADDRESS).await.unwrap();
    bench.connect(2).await;
    let said = bench.stage.said().await.unwrap();
    let heard: Vec<bool> = said.iter().map(|said| said.is_heard).collect();
    assert_eq!(heard, [true, false, false]);
    assert_eq!(bench.client.values(&path).len(), 1);
}

#[tokio::test]
async fn a_second_bluetoothd_on_the_bus_is_refused_and_the_first_goes_on() {
    let bench = Bench::of("ble-cuff", SEED, Manners::Nasty).await;
    let (address, truth) = (bench.bus.address(), bench.folder.path().join("second.jsonl"));
    let time = StageTime::start(1.0);
    let second = Bluez::start(address, vec![], Manners::Nasty, time, &truth).await;
    let said = second.expect_err("it is refused").to_string();
    let wanted = format!("there is an org.bluez on the bus at {address} already");
    assert!(said.starts_with(&wanted), "{said}");
    assert!(bench.client.objects().await.contains_key(ADAPTER));
    // A daemon that restarts finds its name free.
    bench.stage.restart_daemon().await.unwrap();
    assert!(bench.client.objects().await.contains_key(ADAPTER));
}

#[tokio::test]
async fn a_polite_bluetoothd_does_what_everybody_expects() {
    let mut bench = Bench::of("ble-cuff", SEED, Manners::Polite).await;
    bench.find().await;
    let device = bench.path();
    assert!(bench.client.property(&device, DEVICE_IF, "Name").await.is_some());
    bench.client.call(&device, DEVICE_IF, "Connect", &()).await.unwrap();
    bench.client.call(&device, DEVICE_IF, "Pair", &()).await.unwrap();
    let path = bench.client.path_of(CUFF_VALUE).await;
    let answer = bench.client.call(&path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    bench.client.until(|heard| heard.iter().find_map(|message| value(message, &path))).await;
    assert!(bench.client.values(&path)[0].0.recv_position() > answer.recv_position());
}

#[tokio::test]
async fn a_notify_session_may_begin_while_the_device_is_away() {
    let mut bench = Bench::of("ble-cuff", SEED, Manners::Polite).await;
    bench.find().await;
    bench.connect(1).await;
    let device = bench.path();
    bench.client.call(&device, DEVICE_IF, "Pair", &()).await.unwrap();
    let path = bench.client.path_of(CUFF_VALUE).await;
    bench.stage.pull_link(ADDRESS).await.unwrap();
    bench.client.until_property(&device, "Connected", false, 1).await;
    bench.client.call(&path, CHARACTERISTIC_IF, "StartNotify", &()).await.unwrap();
    let options = Properties::new();
    let read = bench.client.refused(&path, CHARACTERISTIC_IF, "ReadValue", &options).await;
    assert_eq!(read.1, "Not connected");
    bench.stage.wake(ADDRESS).await.unwrap();
    bench.connect(2).await;
    bench.client.until(|heard| heard.iter().find_map(|message| value(message, &path))).await;
    let said = bench.stage.said().await.unwrap();
    assert!(said.iter().all(|said| said.is_heard && said.listener.is_some()));
}

#[tokio::test]
async fn an_adapter_that_keeps_no_more_links_refuses() {
    let mut bench = Bench::of("ble-strap", SEED, Manners::Polite).await;
    bench.find().await;
    bench.stage.take(Timings { links_max: 0, ..Timings::REAL }).await.unwrap();
    let refused = bench.client.refused(&bench.path(), DEVICE_IF, "Connect", &()).await;
    assert!(refused.1.ends_with("connection-limit"), "{refused:?}");
}
