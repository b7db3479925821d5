//! The Bluetooth half of `devices scan`: who is in reach, whose it is, and what to do with it.
//!
//! # Invariants
//! - nothing is connected and nothing asked: what can be heard is heard
//! - a device that nobody allowed is printed as a comment: the street is full of other people's

use super::take_id;
use crate::{
    bluetooth::{self, Seen},
    clock::Clock,
    config::AgentConfig,
};
use drivers::registry::GattName;
use serde::Serialize;
use std::{collections::BTreeSet, time::Duration};

/// What was heard.
#[derive(Debug, Default, Serialize)]
pub(super) struct Radio {
    /// Why nothing can be heard here.
    trouble: Option<String>,
    devices: Vec<Heard>,
    /// Devices that no driver reads.
    others: usize,
}

/// One device.
#[derive(Debug, Serialize)]
struct Heard {
    address: String,
    name: Option<String>,
    /// Strength; of a device that was not heard there is none.
    rssi_dbm: Option<i16>,
    driver: Option<&'static str>,
    /// There is a bond with it.
    paired: bool,
    in_reach: bool,
    /// Its id in the configuration; without one it was never allowed: it is seen and not read.
    device: Option<String>,
}

impl Radio {
    /// Listens for so long.
    pub(super) fn listen(config: Option<&AgentConfig>, listen_for: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let seen = match runtime {
            Ok(runtime) => runtime
                .block_on(bluetooth::survey(Clock::start(), listen_for))
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match seen {
            Ok(seen) => Self::of(seen, config),
            Err(trouble) => Self { trouble: Some(trouble), ..Self::default() },
        }
    }

    fn of(seen: Vec<Seen>, config: Option<&AgentConfig>) -> Self {
        let known = || config.iter().flat_map(|config| &config.bluetooth);
        let all = seen.len();
        let mut devices = Vec::new();
        for one in seen {
            let config = known().find(|known| known.address == one.address);
            let driver = config.map(|config| config.driver).or(one.driver());
            let device = config.map(|config| config.id.to_string());
            if driver.is_some() {
                devices.push(Heard::of(one, driver, device));
            }
        }
        let others = all - devices.len();
        for config in known() {
            if !devices.iter().any(|heard| heard.address == config.address) {
                let seen = Seen { address: config.address.clone(), ..Seen::default() };
                let device = Some(config.id.to_string());
                let heard = Heard::of(seen, Some(config.driver), device);
                devices.push(Heard { in_reach: false, ..heard });
            }
        }
        // The nearest first.
        devices.sort_by_key(|heard| (!heard.in_reach, heard.rssi_dbm.map(|rssi| -i32::from(rssi))));
        Self { trouble: None, devices, others }
    }

    /// For a person: what is allowed, or paired, can be put behind an `agent.toml` as it is.
    pub(super) fn shown(&self, taken: &mut BTreeSet<String>) -> String {
        let mut text = String::new();
        if let Some(trouble) = &self.trouble {
            return format!("# {trouble}\n");
        }
        if self.devices.is_empty() {
            text += "# no Bluetooth device that a driver reads is in reach; wake it: take a \
                     measurement, or press its Bluetooth key\n";
        }
        for heard in &self.devices {
            text += &heard.shown(taken);
        }
        if self.others > 0 {
            text += &format!("# {} other Bluetooth devices, which no driver reads\n", self.others);
        }
        text
    }
}

impl Heard {
    fn of(seen: Seen, driver: Option<GattName>, device: Option<String>) -> Self {
        Self {
            address: seen.address,
            name: seen.name,
            rssi_dbm: seen.rssi_dbm,
            driver: driver.map(GattName::name),
            paired: seen.paired,
            in_reach: true,
            device,
        }
    }

    fn shown(&self, taken: &mut BTreeSet<String>) -> String {
        let Self { address, driver, .. } = self;
        let driver = driver.unwrap_or("…");
        let name = self.name.as_deref().unwrap_or("no name yet");
        let strength = self.rssi_dbm.map(|rssi| format!(", {rssi} dBm")).unwrap_or_default();
        let paired = if self.paired { "paired" } else { "not paired" };
        match &self.device {
            Some(id) if self.in_reach => format!(
                "# {address} ({name}{strength}): {driver}; {paired}; in the configuration: {id}\n"
            ),
            Some(id) => format!(
                "# {address}: {driver}; in the configuration: {id}; not heard: asleep or out of reach\n"
            ),
            None => {
                let mark = if self.paired { "" } else { "# " };
                let next = match self.paired {
                    true => "put these lines behind agent.toml, and restart the agent".to_owned(),
                    false => format!("if it is yours, run: clinic-agent devices pair {address}"),
                };
                format!(
                    "# {address} ({name}{strength}): {driver}; {paired}; never allowed: is seen, not \
                     read\n# {next}\n{}",
                    section(mark, driver, address, taken)
                )
            }
        }
    }
}

/// A section of `agent.toml`; each line begins with `mark`.
fn section(mark: &str, driver: &str, address: &str, taken: &mut BTreeSet<String>) -> String {
    let id = take_id(driver, taken);
    format!(
        "{mark}[[bluetooth]]\n{mark}id = \"{id}\"\n{mark}driver = \"{driver}\"\n\
         {mark}address = \"{address}\"\n\n"
    )
}

/// A section of `agent.toml` for a device that a person has paired; a comment where no driver reads
/// it.
pub(crate) fn allowed(seen: &Seen, taken: &mut BTreeSet<String>) -> String {
    match seen.driver() {
        Some(driver) => section("", driver.name(), &seen.address, taken),
        None => {
            format!(
                "# no driver reads it; drivers: {}\n",
                GattName::ALL.map(GattName::name).join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivers::gatt::Uuid;

    fn seen(last: u8, service: u16, rssi_dbm: i16, paired: bool) -> Seen {
        Seen {
            address: format!("C0:26:DA:00:00:{last:02X}"),
            name: (last == 1).then(|| "Virtual BP".to_owned()),
            rssi_dbm: Some(rssi_dbm),
            services: vec![Uuid::sig(service)],
            paired,
            ..Seen::default()
        }
    }

    fn config() -> AgentConfig {
        let text = "site = \"a\"\ndata_dir = \"data\"\n[uplink]\nbroker = \"b:1\"\nca = \"ca\"\n\
                    cert = \"cert\"\nkey = \"key\"\n[[bluetooth]]\nid = \"glucose-01\"\n\
                    driver = \"glucose\"\naddress = \"C0:26:DA:00:00:02\"\n\
                    [[bluetooth]]\nid = \"scale-01\"\ndriver = \"weight-scale\"\n\
                    address = \"C0:26:DA:00:00:09\"\n";
        crate::config::parse(text, std::path::Path::new("")).unwrap()
    }

    #[test]
    fn each_device_is_told_with_what_to_do_about_it() {
        let config = config();
        let around = vec![
            // It hides its service, and is in the configuration.
            seen(2, 0x180A, -70, false),
            seen(1, 0x1810, -60, false),
            seen(3, 0x1808, -50, true),
            seen(4, 0x180A, -40, false),
        ];
        let radio = Radio::of(around, Some(&config));
        let text = radio.shown(&mut super::super::taken(Some(&config)));
        let expected = "\
# C0:26:DA:00:00:03 (no name yet, -50 dBm): glucose; paired; never allowed: is seen, not read
# put these lines behind agent.toml, and restart the agent
[[bluetooth]]
id = \"glucose-02\"
driver = \"glucose\"
address = \"C0:26:DA:00:00:03\"

# C0:26:DA:00:00:01 (Virtual BP, -60 dBm): blood-pressure; not paired; never allowed: is seen, not read
# if it is yours, run: clinic-agent devices pair C0:26:DA:00:00:01
# [[bluetooth]]
# id = \"blood-pressure-01\"
# driver = \"blood-pressure\"
# address = \"C0:26:DA:00:00:01\"

# C0:26:DA:00:00:02 (no name yet, -70 dBm): glucose; not paired; in the configuration: glucose-01
# C0:26:DA:00:00:09: weight-scale; in the configuration: scale-01; not heard: asleep or out of reach
# 1 other Bluetooth devices, which no driver reads
";
        assert_eq!(text, expected);
    }

    #[test]
    fn where_nothing_is_heard_it_says_why() {
        let radio = Radio::of(Vec::new(), None);
        assert!(radio.shown(&mut BTreeSet::new()).starts_with("# no Bluetooth device that"));
        let radio =
            Radio { trouble: Some("no Bluetooth here: …".to_owned()), ..Radio::default() };
        assert_eq!(radio.shown(&mut BTreeSet::new()), "# no Bluetooth here: …\n");
    }
}
