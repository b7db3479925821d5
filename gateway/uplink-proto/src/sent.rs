//! What a box says beside envelopes: how long it has been running as it hands it over.
//!
//! The bytes of an envelope are those of the moment it was written. From this one the county knows
//! the box's clock with the first envelope it gets of a boot, whatever the wall clock says.

use model::time::Uptime;

/// Name of the user property of an MQTT publish.
const KEY: &str = "k";

/// The user property of a publish that is handed over at that moment.
#[must_use]
pub fn property(Uptime { boot, ms }: Uptime) -> (String, String) {
    (KEY.to_owned(), format!("{boot}.{ms}"))
}

/// What the user properties of a publish say.
#[must_use]
pub fn read(properties: &[(String, String)]) -> Option<Uptime> {
    let (_, value) = properties.iter().find(|(key, _)| key == KEY)?;
    let (boot, ms) = value.split_once('.')?;
    Some(Uptime { boot: boot.parse().ok()?, ms: ms.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_beside_an_envelope_comes_back() {
        let uptime = Uptime { boot: u32::MAX, ms: 345_600_250 };
        assert_eq!(read(&[property(uptime)]), Some(uptime));
        for noise in ["", "1", "1.", "-1.2", "1.2.3"] {
            assert_eq!(read(&[(KEY.to_owned(), noise.to_owned())]), None);
        }
    }
}
