//! `agent.toml`: as written, and as meant.
//!
//! Every mistake is told at once. Nothing is opened: certificates, ports and folders are looked at
//! when the agent runs.

mod alerts;
mod port;

pub(crate) use alerts::{HookConfig, PageConfig};
pub(crate) use port::Port;

use config_reader::{Mistake, Placed, Section};
use drivers::{
    gatt::services::ClockOptions,
    registry::{DriverName, DriverOptions, GattName, SILENT_AFTER_S, counts_per_mv},
    serial::PortSettings,
};
use model::{
    device::DeviceKind,
    id::{DeviceId, SiteId},
};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Devices of one box: more ports than any box has.
const DEVICES_MAX: usize = 64;
/// Trend is committed this often; spares the flash and stays inside the board's freshness.
const COMMIT_MS: u64 = 250;
/// What speaks more seldom than once an hour does not repeat: it measures.
const EXPECTED_INTERVAL_S: std::ops::RangeInclusive<u64> = 1..=3600;
/// 2 GiB: weeks of a 20-device site, and small beside any SD card.
const OUTBOX_BYTES: u64 = 2 << 30;
/// Ten minutes of any device but a monitor with waveforms, of which it holds a minute.
const RING_BYTES: u64 = 256 << 10;
/// 64 MiB: some fifty alarms of the fastest device.
const KEEP_BYTES: u64 = 64 << 20;
/// Most clinics this is made for.
const TIME_ZONE: &str = "Asia/Shanghai";

/// `agent.toml`, as meant.
#[derive(Clone, Debug)]
pub(crate) struct AgentConfig {
    /// Name of this edge, as in its certificate.
    pub(crate) site: SiteId,
    /// Zone of devices that keep local time.
    pub(crate) time_zone: jiff::tz::TimeZone,
    /// Where outbox and status socket are.
    pub(crate) data_dir: PathBuf,
    pub(crate) uplink: UplinkConfig,
    pub(crate) outbox: OutboxConfig,
    pub(crate) trace: TraceConfig,
    /// The command for a lamp or a buzzer.
    pub(crate) hook: Option<HookConfig>,
    /// None: the box has no page.
    pub(crate) page: Option<PageConfig>,
    pub(crate) devices: Vec<DeviceConfig>,
    pub(crate) bluetooth: Vec<BluetoothConfig>,
    /// SHA-256 of the text, in hex: the county keeps when it became another.
    pub(crate) sha256: String,
}

/// How the county is reached.
#[derive(Clone, Debug)]
pub(crate) struct UplinkConfig {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// How the outbox commits, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxConfig {
    pub(crate) commit_after: Duration,
    pub(crate) max_bytes: u64,
}

/// How much of each link is held in memory, and of all of them on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceConfig {
    pub(crate) ring_bytes: usize,
    /// 0: nothing is kept by itself.
    pub(crate) keep_bytes: u64,
}

/// One device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceConfig {
    pub(crate) id: DeviceId,
    pub(crate) driver: DriverName,
    pub(crate) port: Port,
    pub(crate) settings: PortSettings,
    /// How often it speaks; `None`: as its kind does.
    pub(crate) expected_interval_ms: Option<u32>,
    pub(crate) options: DriverOptions,
}

/// Six digits that a device shows, or that stand on its label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Passkey(pub(crate) u32);

impl Passkey {
    /// Six digits; the error says what to write.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_six = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        let digits = text.parse().ok().filter(|_| is_six);
        digits.map(Self).ok_or_else(|| format!("\"{text}\" is no code; write six digits"))
    }
}

impl fmt::Display for Passkey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(digits) = self;
        write!(out, "{digits:06}")
    }
}

/// The address of a Bluetooth LE device, as `BlueZ` writes it; the error says what to write.
pub(crate) fn bluetooth_address(text: &str) -> Result<String, String> {
    let mut pairs = text.split(':');
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    match pairs.clone().count() == 6 && pairs.all(is_pair) {
        true => Ok(text.to_ascii_uppercase()),
        false => Err(format!(
            "\"{text}\" is no address; write six pairs of hexadecimal digits, as `clinic-agent \
             devices scan` shows them"
        )),
    }
}

/// One Bluetooth LE device.
#[derive(Clone, Debug)]
pub(crate) struct BluetoothConfig {
    pub(crate) id: DeviceId,
    pub(crate) driver: GattName,
    /// Six pairs of upper-case hexadecimal digits, as `BlueZ` writes it.
    pub(crate) address: String,
    /// For `devices pair`, if the device has one that does not change.
    pub(crate) passkey: Option<Passkey>,
    /// How often it speaks; `None`: as its kind does.
    pub(crate) expected_interval_ms: Option<u32>,
    pub(crate) clock: ClockOptions,
}

/// Turns the text of `agent.toml` into what is meant; relative paths are beside the file.
///
/// # Errors
/// Every mistake, with its line.
pub(crate) fn parse(text: &str, beside: &Path) -> Result<AgentConfig, Vec<Mistake>> {
    config_reader::read(text, |root| meant(root, beside, sha256(text)))
}

fn sha256(text: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl AgentConfig {
    /// Serial and Bluetooth devices.
    pub(crate) const fn device_count(&self) -> usize {
        self.devices.len() + self.bluetooth.len()
    }

    /// What is allowed and yet worth a thought.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let open = |device: &&DeviceConfig| matches!(device.port, Port::Listen(at) if at.ip().is_unspecified());
        let warning = |device: &DeviceConfig| {
            format!(
                "{} listens on every network of this box, and whoever reaches {} can speak as that \
                 device; better name the box's address in the devices' network",
                device.id, device.port
            )
        };
        let devices = self.devices.iter().filter(open).map(warning);
        devices.chain(self.page.iter().flat_map(PageConfig::warnings)).collect()
    }
}

fn meant(root: &mut Section<'_>, beside: &Path, sha256: String) -> Option<AgentConfig> {
    let site = root.parsed("site", "heping-01", SiteId::new).map(|site| site.value);
    let zone = |name: &str| {
        jiff::tz::TimeZone::get(name)
            .map_err(|_| format!("\"{name}\" is no time zone; write one such as {TIME_ZONE}"))
    };
    let time_zone = match root.optional_parsed("time_zone", zone) {
        Some(zone) => Some(zone.value),
        None => zone(TIME_ZONE).ok(),
    };
    let data_dir = root.text("data_dir", "/var/lib/clinic-edge").map(|dir| beside.join(dir.value));
    let uplink = root.section("uplink").and_then(|section| uplink(section, beside));
    let outbox = outbox(root.optional_section("outbox"));
    let trace = trace(root.optional_section("trace"));
    let hook = alerts::hook(root.optional_section("alerts"));
    let page = alerts::page(root.optional_section("local_page"), beside);
    let mut names = Names::new(site.as_ref());
    let devices = devices(root.sections("device"), &mut names);
    let bluetooth = bluetooth(root.sections("bluetooth"), &mut names);
    Some(AgentConfig {
        site: site?,
        time_zone: time_zone?,
        data_dir: data_dir?,
        uplink: uplink?,
        outbox,
        trace,
        hook,
        page,
        devices,
        bluetooth,
        sha256,
    })
}

/// Ids that are taken, and what they must not be.
struct Names<'a> {
    site: Option<&'a SiteId>,
    taken: BTreeMap<String, usize>,
}

impl<'a> Names<'a> {
    fn new(site: Option<&'a SiteId>) -> Self {
        Self { site, taken: BTreeMap::new() }
    }

    /// The id of the next device.
    fn take(
        &mut self,
        section: &mut Section<'_>,
        example: &'static str,
    ) -> Option<Placed<DeviceId>> {
        let number = self.taken.len() + 1;
        if number > DEVICES_MAX {
            let text = format!("more than {DEVICES_MAX} devices; give the rest to another box");
            section.note(&section.place(), text);
        }
        let id = section.parsed("id", example, DeviceId::new)?;
        if let Some(first) = self.taken.insert(id.value.as_str().to_owned(), number) {
            let text = format!("device {} has the id of device {first}; give it another", id.value);
            section.note(&id.place, text);
        }
        if let Some(site) = self.site.filter(|site| site.as_str() == id.value.as_str()) {
            let text = format!(
                "device {site} has the name of the site, under which the county tells what is \
                 wrong with this box; give it another id"
            );
            section.note(&id.place, text);
        }
        Some(id)
    }
}

fn uplink(mut section: Section<'_>, beside: &Path) -> Option<UplinkConfig> {
    let broker = section.parsed("broker", "broker.county.example:8883", |text| {
        let parts = text.rsplit_once(':');
        let port = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match port {
            Some((host, port)) if !host.is_empty() && port > 0 => Ok((host.to_owned(), port)),
            _ => Err(format!("\"{text}\" is no address; write host:port, mostly with port 8883")),
        }
    });
    let mut file = |key, example| section.text(key, example).map(|path| beside.join(path.value));
    let (ca, cert, key) =
        (file("ca", "ca.crt"), file("cert", "heping-01.crt"), file("key", "heping-01.key"));
    section.finish();
    let (host, port) = broker?.value;
    Some(UplinkConfig { host, port, ca: ca?, cert: cert?, key: key? })
}

fn outbox(section: Option<Section<'_>>) -> OutboxConfig {
    let (mut commit_ms, mut max_bytes) = (None, None);
    if let Some(mut section) = section {
        commit_ms = section.optional_integer("commit_ms", 1..=1000);
        max_bytes = section.optional_integer("max_bytes", (256 << 10)..=(1 << 40));
        section.finish();
    }
    OutboxConfig {
        commit_after: Duration::from_millis(commit_ms.unwrap_or(COMMIT_MS)),
        max_bytes: max_bytes.unwrap_or(OUTBOX_BYTES),
    }
}

fn trace(section: Option<Section<'_>>) -> TraceConfig {
    let (mut ring_bytes, mut keep_bytes) = (None, None);
    if let Some(mut section) = section {
        // 16 KiB: a few frames of any device are in it.
        ring_bytes = section.optional_integer("ring_bytes", (16 << 10)..=(16 << 20));
        keep_bytes = section.optional_integer("keep_bytes", 0..=(1 << 40));
        section.finish();
    }
    TraceConfig {
        ring_bytes: usize::try_from(ring_bytes.unwrap_or(RING_BYTES)).unwrap_or(usize::MAX),
        keep_bytes: keep_bytes.unwrap_or(KEEP_BYTES),
    }
}

fn devices(sections: Vec<Section<'_>>, names: &mut Names<'_>) -> Vec<DeviceConfig> {
    let mut ports: Vec<(Port, DeviceId)> = Vec::new();
    let mut devices = Vec::new();
    for mut section in sections {
        let id = names.take(&mut section, "ecg-01");
        let port = section.parsed("port", "/dev/serial/by-id/usb-…", Port::parse);
        if let (Some(port), Some(id)) = (&port, &id) {
            if let Some((_, other)) = ports.iter().find(|(other, _)| other.excludes(&port.value)) {
                let text =
                    format!("{} is the port of {other} already; one port, one device", port.value);
                section.note(&port.place, text);
            }
            ports.push((port.value.clone(), id.value.clone()));
        }
        let driver = section.parsed("driver", "pm6750", |name| {
            let known: Vec<_> = DriverName::ALL.iter().map(|driver| driver.name()).collect();
            DriverName::from_name(name)
                .ok_or_else(|| format!("\"{name}\" is no driver; known: {}", known.join(", ")))
        });
        let baud = section.optional_integer("baud", 300..=921_600);
        if let (Some(_), Some(port)) = (baud, &port)
            && port.value.is_network()
        {
            let text =
                format!("baud means nothing at {}; leave it out, and set it there", port.value);
            section.note(&port.place, text);
        }
        let expected_interval_ms = expected_interval_ms(&mut section);
        let inner = section.optional_section("options");
        let options = options(inner, driver.as_ref().map(|driver| driver.value));
        section.finish();
        if let (Some(id), Some(driver), Some(port)) = (id, driver, port) {
            let mut settings = driver.value.port_settings();
            settings.baud = baud.and_then(|baud| u32::try_from(baud).ok()).unwrap_or(settings.baud);
            devices.push(DeviceConfig {
                id: id.value,
                driver: driver.value,
                port: port.value,
                settings,
                expected_interval_ms,
                options,
            });
        }
    }
    devices
}

fn bluetooth(sections: Vec<Section<'_>>, names: &mut Names<'_>) -> Vec<BluetoothConfig> {
    let mut addresses: BTreeMap<String, DeviceId> = BTreeMap::new();
    let mut devices = Vec::new();
    for mut section in sections {
        let id = names.take(&mut section, "bp-02");
        let driver = section.parsed("driver", "blood-pressure", |name| {
            let known: Vec<_> = GattName::ALL.iter().map(|driver| driver.name()).collect();
            GattName::from_name(name).ok_or_else(|| {
                format!("\"{name}\" is no Bluetooth driver; known: {}", known.join(", "))
            })
        });
        let address = section.parsed("address", "00:1A:7D:DA:71:13", bluetooth_address);
        let passkey = section.optional_parsed("passkey", Passkey::parse);
        let expected_interval_ms = expected_interval_ms(&mut section);
        let set = section.optional_switch("set_clock").unwrap_or_default();
        section.finish();
        if let (Some(id), Some(driver), Some(address)) = (id, driver, address) {
            if let Some(other) = addresses.insert(address.value.clone(), id.value.clone()) {
                let text = format!("{} is the address of {other} already", address.value);
                section.note(&address.place, text);
            }
            devices.push(BluetoothConfig {
                id: id.value,
                driver: driver.value,
                address: address.value,
                passkey: passkey.map(|passkey| passkey.value),
                expected_interval_ms,
                clock: ClockOptions { zone_offset_s: None, set },
            });
        }
    }
    devices
}

/// What a rule expects of a device by its kind may be wrong for this one.
fn expected_interval_ms(section: &mut Section<'_>) -> Option<u32> {
    let seconds = section.optional_integer("expected_interval_s", EXPECTED_INTERVAL_S)?;
    u32::try_from(seconds).ok()?.checked_mul(1000)
}

fn options(section: Option<Section<'_>>, driver: Option<DriverName>) -> DriverOptions {
    let mut options = DriverOptions::default();
    let Some(mut section) = section else { return options };
    let takes = |option| driver.is_none_or(|driver| driver.takes(option));
    if takes("counts_per_mv") {
        let counts = section.optional_parsed("counts_per_mv", |text| {
            counts_per_mv(text).ok_or_else(|| {
                format!("\"{text}\" is no number above 0; measure the unit with a 1 mV source")
            })
        });
        options.counts_per_mv = counts.map(|counts| counts.value);
    }
    if takes("poll_interval_s") {
        let range = driver.and_then(DriverName::poll_interval_s).unwrap_or(1..=86_400);
        let seconds = section.optional_integer("poll_interval_s", range);
        options.poll_interval = seconds.map(Duration::from_secs);
    }
    if takes("kind") {
        let kind = section.optional_parsed("kind", |text| {
            let known = DeviceKind::ALL.map(DeviceKind::name).join(", ");
            DeviceKind::from_name(text)
                .ok_or_else(|| format!("\"{text}\" is no kind of device; known: {known}"))
        });
        options.kind = kind.map(|kind| kind.value);
    }
    if takes("acknowledge") {
        options.acknowledge = section.optional_switch("acknowledge").unwrap_or_default();
    }
    if takes("silent_after_s") {
        let seconds = section.optional_integer("silent_after_s", SILENT_AFTER_S);
        options.silent_after = seconds.map(Duration::from_secs);
    }
    section.finish();
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
site = "heping-01"
data_dir = "data"
[uplink]
broker = "broker.county.example:8883"
ca = "ca.crt"
cert = "heping-01.crt"
key = "/keys/heping-01.key"
[[device]]
id = "ecg-01"
driver = "pm6750"
port = "/dev/ttyUSB0"
options = { counts_per_mv = "40" }
[[device]]
id = "bp-01"
driver = "tm2655"
port = "/dev/ttyUSB1"
baud = 9600
"#;

    #[test]
    fn a_good_configuration_says_what_is_meant() {
        let config = parse(GOOD, Path::new("/etc/clinic-edge")).unwrap();
        assert_eq!(config.site.as_str(), "heping-01");
        assert_eq!(config.uplink.ca, Path::new("/etc/clinic-edge/ca.crt"));
        assert_eq!(config.uplink.key, Path::new("/keys/heping-01.key"));
        assert_eq!(
            (config.uplink.host.as_str(), config.uplink.port),
            ("broker.county.example", 8883)
        );
        assert_eq!(config.devices[0].settings.baud, 115_200);
        assert_eq!(config.devices[1].settings.baud, 9600);
        assert_eq!(config.outbox.commit_after, Duration::from_millis(250));
        assert_eq!((config.trace.ring_bytes, config.trace.keep_bytes), (262_144, 67_108_864));
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_line_and_a_remedy() {
        let bad = GOOD
            .replace("heping-01\"\ndata", "Heping 1\"\ndata")
            .replace(":8883", "")
            .replace("id = \"bp-01\"", "id = \"ecg-01\"")
            .replace("ttyUSB1", "ttyUSB0")
            .replace("tm2655", "tm2600")
            .replace("baud = 9600", "baud = 12\nspeed = 9600")
            .replace("\"40\"", "\"-1\"");
        let mistakes = parse(&bad, Path::new("")).unwrap_err();
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let expect = [
            "line 2: site: \"Heping 1\" is not a site name",
            "line 5: uplink.broker: \"broker.county.example\" is no address; write host:port",
            "line 13: device.options.counts_per_mv: \"-1\" is no number above 0",
            "line 15: device ecg-01 has the id of device 1",
            "line 16: device.driver: \"tm2600\" is no driver; known: pm6750, bcc, ",
            "line 17: /dev/ttyUSB0 is the port of ecg-01 already",
            "line 18: device.baud is 12; use a number from 300 to 921600",
            "line 19: device.speed is not a setting; known here: ",
        ];
        assert_eq!(shown.len(), expect.len(), "{shown:#?}");
        for (shown, expect) in shown.iter().zip(expect) {
            assert!(shown.starts_with(expect), "{shown}");
        }
    }

    #[test]
    fn a_device_has_not_the_name_of_the_site() {
        let text = GOOD.replace("id = \"bp-01\"", "id = \"heping-01\"");
        let told = parse(&text, Path::new("")).unwrap_err();
        assert_eq!((told.len(), told[0].line), (1, 15), "{told:?}");
        assert!(told[0].text.ends_with("give it another id"), "{told:?}");
    }

    #[test]
    fn a_bluetooth_device_has_an_address_and_its_clock_is_left_alone() {
        let cuff = "[[bluetooth]]\nid = \"bp-02\"\ndriver = \"blood-pressure\"\n\
                    address = \"00:1a:7d:da:71:13\"\n";
        let config = parse(&format!("{GOOD}{cuff}"), Path::new("")).unwrap();
        let device = &config.bluetooth[0];
        assert_eq!((device.address.as_str(), device.clock.set), ("00:1A:7D:DA:71:13", false));
        assert_eq!(device.passkey, None);
        let with_code = format!("{GOOD}{cuff}passkey = \"000042\"\n");
        let passkey = parse(&with_code, Path::new("")).unwrap().bluetooth[0].passkey;
        assert_eq!(passkey.unwrap().to_string(), "000042");
        for wrong in ["42", "+00042", "0000042", "12345a"] {
            let told = parse(&with_code.replace("000042", wrong), Path::new("")).unwrap_err();
            assert!(told[0].text.ends_with("is no code; write six digits"), "{told:?}");
        }

        let bad = cuff
            .replace("bp-02", "bp-01")
            .replace("blood-pressure", "tm2655")
            .replace("13\"", "1x\"\npin = 1");
        let mistakes = parse(&format!("{GOOD}{bad}"), Path::new("")).unwrap_err();
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let expect = [
            "device bp-01 has the id of device 2",
            "bluetooth.driver: \"tm2655\" is no Bluetooth driver; known: blood-pressure, glucose, ",
            "bluetooth.address: \"00:1a:7d:da:71:1x\" is no address; write six pairs of hexadecimal digits",
            "bluetooth.pin is not a setting",
        ];
        assert_eq!(shown.len(), expect.len(), "{shown:#?}");
        for (shown, expect) in shown.iter().zip(expect) {
            assert!(shown.contains(expect), "{shown}");
        }
    }

    #[test]
    fn an_option_of_another_driver_is_a_mistake() {
        let text = GOOD.replace("baud = 9600", "options = { counts_per_mv = \"40\" }");
        let mistakes = parse(&text, Path::new("")).unwrap_err();
        assert!(mistakes[0].text.contains("counts_per_mv is not a setting"), "{mistakes:?}");
    }

    #[test]
    fn a_device_may_be_behind_a_serial_server_or_come_to_the_box() {
        let text = GOOD.replace("/dev/ttyUSB0", "tcp://192.168.1.20:4001");
        let text = text.replace("/dev/ttyUSB1", "tcp-listen://0.0.0.0:4100");
        let told = parse(&text, Path::new("")).unwrap_err();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].text.starts_with("baud means nothing at tcp-listen"), "{told:?}");

        let config = parse(&text.replace("baud = 9600", ""), Path::new("")).unwrap();
        let connect = Port::Connect { host: "192.168.1.20".to_owned(), port: 4001 };
        assert_eq!(config.devices[0].port, connect);
        let warnings = config.warnings();
        assert!(warnings[0].starts_with("bp-01 listens on every network"), "{warnings:?}");
    }

    /// The second device as a source of `json-lines` with these options.
    fn json_lines(options: &str) -> Result<DeviceConfig, Vec<Mistake>> {
        let text = GOOD
            .replace("tm2655", "json-lines")
            .replace("baud = 9600", &format!("options = {{ {options} }}"));
        parse(&text, Path::new("")).map(|mut config| config.devices.remove(1))
    }

    #[test]
    fn a_source_of_json_lines_says_what_it_is_and_how_it_is_listened_to() {
        let options = "kind = \"cuff\", acknowledge = true, silent_after_s = 3600";
        let device = json_lines(options).unwrap();
        let expected = DriverOptions {
            kind: Some(DeviceKind::Cuff),
            acknowledge: true,
            silent_after: Some(Duration::from_secs(3600)),
            ..DriverOptions::default()
        };
        assert_eq!(device.options, expected);
        assert_eq!(json_lines("").unwrap().options, DriverOptions::default());
    }

    #[test]
    fn how_often_a_device_speaks_is_told_in_whole_seconds_up_to_an_hour() {
        let with = |seconds: u64| {
            let text = GOOD.replace("baud = 9600", &format!("expected_interval_s = {seconds}"));
            parse(&text, Path::new(""))
        };
        assert_eq!(with(4).unwrap().devices[1].expected_interval_ms, Some(4000));
        assert_eq!(with(4).unwrap().devices[0].expected_interval_ms, None);
        assert_eq!(with(3600).unwrap().devices[1].expected_interval_ms, Some(3_600_000));
        for wrong in [0, 3601] {
            let told = with(wrong).unwrap_err();
            assert!(told[0].text.ends_with("use a number from 1 to 3600"), "{told:?}");
        }
    }

    #[test]
    fn each_wrong_option_of_json_lines_is_told() {
        let wrong = "kind = \"ventilator\", acknowledge = \"yes\", silent_after_s = 0";
        let mut told: Vec<_> = json_lines(wrong).unwrap_err();
        told.sort_by(|one, other| one.text.cmp(&other.text));
        let told: Vec<_> = told.iter().map(|mistake| mistake.text.as_str()).collect();
        let expected = [
            "device.options.acknowledge is string; use true or false",
            "device.options.kind: \"ventilator\" is no kind of device; \
             known: monitor, pump, cuff, glucose_meter, oximeter, ecg_strap, thermometer, scale",
            "device.options.silent_after_s is 0; use a number from 1 to 86400",
        ];
        assert_eq!(told, expected);
    }
}
