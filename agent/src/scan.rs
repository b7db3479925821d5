//! `devices scan`: which serial ports there are, who has them, and what can be heard on free ones;
//! and which Bluetooth devices are in reach (`radio`).
//!
//! # Invariants
//! - nothing is sent; what a driver wants to send is left out
//! - what was heard is never shown: it may be a patient's
//! - what is printed for a person can be put behind an `agent.toml` as it is: what a person has to
//!   fill in is a comment

mod radio;

pub(crate) use radio::allowed;

use crate::{
    clock::Clock,
    config::{AgentConfig, Port},
    holder,
    serial_port::explained,
};
use drivers::{
    registry::{self, DriverName, DriverOptions},
    serial::{SerialDriver, SerialEvent, SerialOutput},
};
use model::{id::DeviceId, record::Record};
use radio::Radio;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Speeds of the devices that talk by themselves.
const SPEEDS: [u32; 3] = [115_200, 9600, 2400];
/// A monitor speaks every second.
const LISTEN_FOR: Duration = Duration::from_secs(3);
/// How long one read may wait.
const READ_LIMIT: Duration = Duration::from_millis(200);

/// One serial port.
#[derive(Debug, Serialize)]
struct Found {
    port: PathBuf,
    /// `configured`, `held`, `free` or `unusable`.
    state: &'static str,
    /// Which device has it, who holds it, or why it cannot be used.
    why: String,
    bytes: usize,
    driver: Option<&'static str>,
    baud: Option<u32>,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Everything {
    ports: Vec<Found>,
    /// None where only ports were named.
    bluetooth: Option<Radio>,
}

/// Prints these ports, or all serial ports of the box and all Bluetooth devices in reach, for which
/// it listens so long.
pub(crate) fn show(
    named: Vec<PathBuf>,
    config: Option<&AgentConfig>,
    json: bool,
    listen_for: Duration,
) -> anyhow::Result<ExitCode> {
    let is_named = !named.is_empty();
    let ports = if is_named { named } else { ports(Path::new("/dev")) };
    let found: Vec<_> = ports.into_iter().map(|port| look(port, config)).collect();
    let is_bad = is_named && found.iter().any(|one| one.state == "unusable");
    let code = if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let bluetooth = (!is_named).then(|| {
        let seconds = listen_for.as_secs();
        // The terminal is gone: nobody to tell.
        drop(writeln!(io::stderr().lock(), "listening for Bluetooth devices for {seconds} s"));
        Radio::listen(config, listen_for)
    });
    let mut out = io::stdout().lock();
    if json {
        let everything = Everything { ports: found, bluetooth };
        writeln!(out, "{}", serde_json::to_string(&everything)?)?;
        return Ok(code);
    }
    if found.is_empty() {
        writeln!(out, "# no serial port; plug an adapter in")?;
    }
    let mut taken = taken(config);
    for one in &found {
        writeln!(out, "# {}: {}; {}", one.port.display(), one.state, one.why)?;
        if one.state == "free" {
            write!(out, "{}", section(one, &mut taken))?;
        }
    }
    if let Some(radio) = bluetooth {
        write!(out, "{}", radio.shown(&mut taken))?;
    }
    Ok(code)
}

/// Ids that no other device may have.
pub(crate) fn taken(config: Option<&AgentConfig>) -> BTreeSet<String> {
    let Some(config) = config else { return BTreeSet::new() };
    let serial = config.devices.iter().map(|device| device.id.to_string());
    let bluetooth = config.bluetooth.iter().map(|device| device.id.to_string());
    serial.chain(bluetooth).chain([config.site.to_string()]).collect()
}

/// The next free id of that kind, which is taken by that.
fn take_id(kind: &str, taken: &mut BTreeSet<String>) -> String {
    let id = (1..).map(|number| format!("{kind}-{number:02}")).find(|id| !taken.contains(id));
    let id = id.unwrap_or_default();
    taken.insert(id.clone());
    id
}

/// A section of `agent.toml`; a comment where nobody knows which device it is.
fn section(Found { port, driver, baud, .. }: &Found, taken: &mut BTreeSet<String>) -> String {
    let id = take_id(driver.unwrap_or("device"), taken);
    let mark = if driver.is_some() { "" } else { "# " };
    let driver = driver.unwrap_or("…");
    let mut text = format!("{mark}[[device]]\n{mark}id = \"{id}\"\n");
    text += &format!("{mark}driver = \"{driver}\"");
    if !mark.is_empty() {
        text += &format!("  # {}", DriverName::ALL.map(DriverName::name).join(", "));
    }
    // A debug text has the quotes and escapes of TOML.
    text += &format!("\n{mark}port = {:?}\n", port.to_string_lossy());
    text += &baud.map(|baud| format!("{mark}baud = {baud}\n")).unwrap_or_default();
    text + "\n"
}

/// Stable names first; the others only where no stable name leads to them. Two adapters without a
/// serial number have one name by id: the second has its place.
fn ports(dev: &Path) -> Vec<PathBuf> {
    let listed = |folder: PathBuf| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let is_serial = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["ttyUSB", "ttyACM", "ttyS", "ttyAMA"].iter().any(|start| name.starts_with(start))
    };
    let others = listed(dev.to_owned()).into_iter().filter(is_serial);
    let mut seen = BTreeSet::new();
    let stable = ["serial/by-id", "serial/by-path"].map(|folder| listed(dev.join(folder)));
    let all = stable.into_iter().flatten().chain(others);
    all.filter(|path| fs::canonicalize(path).is_ok_and(|target| seen.insert(target))).collect()
}

fn look(port: PathBuf, config: Option<&AgentConfig>) -> Found {
    let target = fs::canonicalize(&port).ok();
    let mut found =
        Found { port, state: "free", why: String::new(), bytes: 0, driver: None, baud: None };
    let is_there = |path: &PathBuf| target.is_some() && fs::canonicalize(path).ok() == target;
    let owner = config.and_then(|config| {
        let mut devices = config.devices.iter();
        devices.find(|device| matches!(&device.port, Port::Serial(path) if is_there(path)))
    });
    if let Some(owner) = owner {
        (found.state, found.why) =
            ("configured", format!("{} ({})", owner.id, owner.driver.name()));
    } else if let Some(holder) = holder::known(&found.port) {
        (found.state, found.why) = ("held", holder);
    } else {
        listen(&mut found);
    }
    found
}

fn listen(found: &mut Found) {
    let clock = Clock::start();
    for baud in SPEEDS {
        let path = found.port.to_string_lossy();
        let opened = tokio_serial::new(path, baud).timeout(READ_LIMIT).open();
        let mut port = match opened {
            Ok(port) => port,
            Err(error) => {
                (found.state, found.why) = ("unusable", explained(&found.port, &error));
                return;
            }
        };
        let mut drivers = listeners(clock);
        let began = clock.mono();
        let mut chunk = [0; 4096];
        while clock.mono().since(began) < LISTEN_FOR {
            let count = match port.read(&mut chunk) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                _ => {
                    (found.state, found.why) = ("unusable", "it hung up".to_owned());
                    return;
                }
            };
            let bytes = chunk.get(..count).unwrap_or_default();
            found.bytes += count;
            if let Some(name) = understood(&mut drivers, clock, bytes) {
                found.driver = Some(name.name());
                found.baud = Some(baud).filter(|&baud| baud != name.port_settings().baud);
                found.why = format!("{} speaks at {baud}", name.name());
                return;
            }
        }
    }
    found.why = match found.bytes {
        0 => "nothing was heard; most devices speak only when asked".to_owned(),
        count => format!("{count} bytes were heard and no device was recognised"),
    };
}

type Listener = (DriverName, Box<dyn SerialDriver>);

fn listeners(clock: Clock) -> Vec<Listener> {
    let Ok(id) = DeviceId::new("scan") else { return Vec::new() };
    let open = |name| {
        let mut driver = registry::create(name, id.clone(), &DriverOptions::default(), None);
        driver.handle(clock.now(), SerialEvent::Opened);
        while driver.poll_output().is_some() {}
        (name, driver)
    };
    DriverName::ALL.into_iter().map(open).collect()
}

/// The driver that finds a value, a waveform or an alarm in these bytes.
fn understood(drivers: &mut [Listener], clock: Clock, bytes: &[u8]) -> Option<DriverName> {
    let mut found = None;
    for (name, driver) in drivers {
        let now = clock.now();
        // A monitor's values are told when they are gathered, and not before it would be asked.
        if driver.next_timeout().is_some_and(|due| due <= now.mono) {
            driver.handle(now, SerialEvent::TimedOut);
        }
        if !bytes.is_empty() {
            driver.handle(now, SerialEvent::Received(bytes));
        }
        while let Some(output) = driver.poll_output() {
            let said = match output {
                SerialOutput::Emit(Record::Readings(group)) => {
                    group.readings.iter().any(|reading| reading.value.is_ok())
                }
                SerialOutput::Emit(Record::Waveform(_) | Record::Alarm(_)) => true,
                _ => false,
            };
            if said {
                found.get_or_insert(*name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_listed_once_under_its_stable_name() {
        let dev = tempfile::tempdir().unwrap();
        let folder = |name| dev.path().join("serial").join(name);
        let (by_id, by_path) = (folder("by-id"), folder("by-path"));
        for name in ["ttyUSB0", "ttyUSB1", "ttyACM0", "tty1"] {
            fs::write(dev.path().join(name), "").unwrap();
        }
        // Two adapters of one kind, without serial numbers.
        let links = [(&by_id, "usb-1a86", "ttyUSB0"), (&by_path, "usb-0:1", "ttyUSB0")];
        for (folder, link, port) in links.into_iter().chain([(&by_path, "usb-0:2", "ttyUSB1")]) {
            fs::create_dir_all(folder).unwrap();
            std::os::unix::fs::symlink(format!("../../{port}"), folder.join(link)).unwrap();
        }
        assert_eq!(
            ports(dev.path()),
            [by_id.join("usb-1a86"), by_path.join("usb-0:2"), dev.path().join("ttyACM0")]
        );
    }

    #[test]
    fn a_section_has_an_id_of_its_own_and_is_a_comment_where_the_driver_is_unknown() {
        let found = |driver, baud| Found {
            port: "/dev/ttyUSB0".into(),
            state: "free",
            why: String::new(),
            bytes: 0,
            driver,
            baud,
        };
        let mut taken = BTreeSet::from(["tm2655-01".to_owned()]);
        assert_eq!(
            section(&found(Some("tm2655"), Some(9600)), &mut taken),
            "[[device]]\nid = \"tm2655-02\"\ndriver = \"tm2655\"\nport = \"/dev/ttyUSB0\"\n\
             baud = 9600\n\n"
        );
        let unknown = section(&found(None, None), &mut taken);
        let lines: Vec<_> = unknown.lines().collect();
        assert_eq!(lines[1], "# id = \"device-01\"");
        assert!(lines[2].starts_with("# driver = \"…\"  # pm6750, bcc, "), "{unknown}");
        assert!(unknown.trim().lines().all(|line| line.starts_with('#')), "{unknown}");
    }

    #[test]
    fn a_source_that_speaks_by_itself_is_recognised() {
        let clock = Clock::start();
        let mut drivers = listeners(clock);
        let noise = understood(&mut drivers, clock, b"\x81\xfe\n");
        let line = b"{\"metric\":\"hr\",\"value\":72,\"unit\":\"/min\"}\n";
        assert_eq!(
            (noise, understood(&mut drivers, clock, line)),
            (None, Some(DriverName::JsonLines))
        );
    }
}
