//! `devices scan`: which serial ports there are, who has them, and what can be heard on free ones.
//!
//! # Invariants
//! - nothing is sent; what a driver wants to send is left out
//! - what was heard is never shown: it may be a patient's

use crate::{
    clock::Clock,
    config::{AgentConfig, Port},
    holder,
};
use drivers::{
    registry::{self, DriverName, DriverOptions},
    serial::{SerialDriver, SerialEvent, SerialOutput},
};
use model::{id::DeviceId, record::Record};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
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

/// Prints the serial ports of the box.
pub(crate) fn show(dev: &Path, config: Option<&AgentConfig>, json: bool) -> io::Result<()> {
    let found: Vec<_> = ports(dev).into_iter().map(|port| look(port, config)).collect();
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", serde_json::to_string(&found)?);
    }
    if found.is_empty() {
        writeln!(out, "no serial port; plug an adapter in")?;
    }
    for one in &found {
        writeln!(out, "{}  {}  {}", one.port.display(), one.state, one.why)?;
        if one.state != "free" {
            continue;
        }
        let driver = one.driver.unwrap_or("…");
        let port = one.port.display();
        writeln!(out, "\n[[device]]\nid = \"…\"\ndriver = \"{driver}\"\nport = \"{port}\"")?;
        if let Some(baud) = one.baud {
            writeln!(out, "baud = {baud}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Stable names first; the others only where no stable name leads to them.
fn ports(dev: &Path) -> Vec<PathBuf> {
    let listed = |folder: PathBuf| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let is_serial = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["ttyUSB", "ttyACM", "ttyS"].iter().any(|start| name.starts_with(start))
    };
    let others = listed(dev.to_owned()).into_iter().filter(is_serial);
    let mut seen = BTreeSet::new();
    let all = listed(dev.join("serial/by-id")).into_iter().chain(others);
    all.filter(|path| fs::canonicalize(path).is_ok_and(|target| seen.insert(target))).collect()
}

fn look(port: PathBuf, config: Option<&AgentConfig>) -> Found {
    let target = fs::canonicalize(&port).ok();
    let mut found =
        Found { port, state: "free", why: String::new(), bytes: 0, driver: None, baud: None };
    let owner = config.and_then(|config| {
        config.devices.iter().find(|device| {
            matches!(&device.port, Port::Serial(path) if fs::canonicalize(path).ok() == target)
        })
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
                (found.state, found.why) = ("unusable", error.to_string());
                return;
            }
        };
        let mut drivers = listeners(clock);
        let began = clock.mono();
        let mut chunk = [0; 4096];
        while clock.mono().since(began) < LISTEN_FOR {
            let count = match port.read(&mut chunk) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
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

/// The driver that finds a reading or a waveform in these bytes.
fn understood(drivers: &mut [Listener], clock: Clock, bytes: &[u8]) -> Option<DriverName> {
    let mut found = None;
    for (name, driver) in drivers {
        driver.handle(clock.now(), SerialEvent::Received(bytes));
        while let Some(output) = driver.poll_output() {
            let said = matches!(
                output,
                SerialOutput::Emit(Record::Readings(_) | Record::Waveform(_) | Record::Alarm(_))
            );
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
        let by_id = dev.path().join("serial/by-id");
        fs::create_dir_all(&by_id).unwrap();
        for name in ["ttyUSB0", "ttyACM0", "tty1"] {
            fs::write(dev.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("../../ttyUSB0", by_id.join("usb-FTDI")).unwrap();
        assert_eq!(ports(dev.path()), [by_id.join("usb-FTDI"), dev.path().join("ttyACM0")]);
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
