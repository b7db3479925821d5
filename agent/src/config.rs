//! `agent.toml`: as written, and as meant.
//!
//! Every mistake is told at once. Nothing is opened: certificates, ports and folders are looked at
//! when the agent runs.

use config_reader::{Mistake, Section};
use drivers::{
    registry::{DriverName, DriverOptions},
    serial::PortSettings,
};
use model::id::{DeviceId, SiteId};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Devices of one box: more ports than any box has.
const DEVICES_MAX: usize = 64;
/// Trend is committed this often; spares the flash and stays inside the board's freshness.
const COMMIT_MS: u64 = 250;
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
    pub(crate) devices: Vec<DeviceConfig>,
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

/// One serial device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceConfig {
    pub(crate) id: DeviceId,
    pub(crate) driver: DriverName,
    pub(crate) port: PathBuf,
    pub(crate) settings: PortSettings,
    pub(crate) options: DriverOptions,
}

/// Turns the text of `agent.toml` into what is meant; relative paths are beside the file.
///
/// # Errors
/// Every mistake, with its line.
pub(crate) fn parse(text: &str, beside: &Path) -> Result<AgentConfig, Vec<Mistake>> {
    config_reader::read(text, |root| meant(root, beside))
}

fn meant(root: &mut Section<'_>, beside: &Path) -> Option<AgentConfig> {
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
    let devices = devices(root.sections("device"));
    Some(AgentConfig {
        site: site?,
        time_zone: time_zone?,
        data_dir: data_dir?,
        uplink: uplink?,
        outbox,
        trace,
        devices,
    })
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
        max_bytes = section.optional_integer("max_bytes", (16 << 20)..=(1 << 40));
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

fn devices(sections: Vec<Section<'_>>) -> Vec<DeviceConfig> {
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut ports: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut devices = Vec::new();
    for (number, mut section) in (1..).zip(sections) {
        if number > DEVICES_MAX {
            let text = format!("more than {DEVICES_MAX} devices; give the rest to another box");
            section.note(&section.place(), text);
        }
        let id = section.parsed("id", "ecg-01", DeviceId::new);
        if let Some(id) = &id
            && let Some(first) = ids.insert(id.value.as_str().to_owned(), number)
        {
            let text = format!("device {} has the id of device {first}; give it another", id.value);
            section.note(&id.place, text);
        }
        let port = section.text("port", "/dev/serial/by-id/usb-…");
        if let (Some(port), Some(id)) = (&port, &id)
            && let Some(other) = ports.insert(port.value.into(), id.value.to_string())
        {
            let text =
                format!("{} is the port of {other} already; one port, one device", port.value);
            section.note(&port.place, text);
        }
        let driver = section.parsed("driver", "pm6750", |name| {
            let known: Vec<_> = DriverName::ALL.iter().map(|driver| driver.name()).collect();
            DriverName::from_name(name)
                .ok_or_else(|| format!("\"{name}\" is no driver; known: {}", known.join(", ")))
        });
        let baud = section.optional_integer("baud", 300..=921_600);
        let inner = section.optional_section("options");
        let options = options(inner, driver.as_ref().map(|driver| driver.value));
        section.finish();
        if let (Some(id), Some(driver), Some(port)) = (id, driver, port) {
            let mut settings = driver.value.port_settings();
            settings.baud = baud.and_then(|baud| u32::try_from(baud).ok()).unwrap_or(settings.baud);
            devices.push(DeviceConfig {
                id: id.value,
                driver: driver.value,
                port: port.value.into(),
                settings,
                options,
            });
        }
    }
    devices
}

fn options(section: Option<Section<'_>>, driver: Option<DriverName>) -> DriverOptions {
    let mut options = DriverOptions::default();
    let Some(mut section) = section else { return options };
    let takes = |option| driver.is_none_or(|driver| driver.takes(option));
    if takes("counts_per_mv") {
        let counts = section.optional_parsed("counts_per_mv", |text| {
            let above_zero = |counts: &model::decimal::Decimal| counts.mantissa() > 0;
            text.parse().ok().filter(above_zero).ok_or_else(|| {
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
    fn an_option_of_another_driver_is_a_mistake() {
        let text = GOOD.replace("baud = 9600", "options = { counts_per_mv = \"40\" }");
        let mistakes = parse(&text, Path::new("")).unwrap_err();
        assert!(mistakes[0].text.contains("counts_per_mv is not a setting"), "{mistakes:?}");
    }
}
