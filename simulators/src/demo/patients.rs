//! The invented patients of the demonstration, and which devices are on them: the API is used as a
//! ward's own system would.
//!
//! Not here: the kiosk cuffs `…-bp-01`. They are on nobody, so that their results wait in the tray.

use crate::{client::Client, county::County};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A device is bound once the county has heard of it; a box that just started connects first.
const HEARD_LIMIT: Duration = Duration::from_secs(30);
const HEARD_STEP: Duration = Duration::from_millis(200);
/// A pregnancy of twenty weeks.
const PREGNANT_DAYS: i64 = 140;

/// Somebody who does not exist: each name says 演示, "demonstration".
struct Invented {
    clinic: &'static str,
    name: &'static str,
    sex: &'static str,
    age_years: u32,
    bed: &'static str,
    /// What else is known.
    what: What,
    /// With `-` at its end: what hangs on that pump station or cable, whatever its serial number is.
    devices: &'static [&'static str],
}

/// For whom there are rules of their own, or a list.
#[derive(Clone, Copy, Eq, PartialEq)]
enum What {
    /// The age says it all.
    Monitored,
    Pregnant,
    Diabetic,
}

/// An old man, a pregnant woman, a diabetic, a child, a diabetic of 81: each has other rules.
const PATIENTS: [Invented; 5] = [
    Invented {
        clinic: "和平镇卫生院",
        name: "张演示",
        sex: "male",
        age_years: 72,
        bed: "1",
        what: What::Monitored,
        // The strap says the heart rate that the monitor says: one patient, one alert.
        devices: &["heping-ecg-01", "heping-pump-01", "heping-pump-01-", "heping-ble-ecg-01"],
    },
    Invented {
        clinic: "和平镇卫生院",
        name: "李演示",
        sex: "female",
        age_years: 29,
        bed: "2",
        what: What::Pregnant,
        devices: &["heping-ble-bp-01"],
    },
    Invented {
        clinic: "和平镇卫生院",
        name: "王演示",
        sex: "male",
        age_years: 58,
        bed: "3",
        what: What::Diabetic,
        devices: &["heping-glu-01", "heping-glu-01-", "heping-ble-glu-01"],
    },
    Invented {
        clinic: "东风镇卫生院",
        name: "陈演示",
        sex: "male",
        age_years: 9,
        bed: "1",
        what: What::Monitored,
        devices: &["dongfeng-ecg-01", "dongfeng-pump-01", "dongfeng-pump-01-"],
    },
    Invented {
        clinic: "东风镇卫生院",
        name: "赵演示",
        sex: "female",
        age_years: 81,
        bed: "2",
        what: What::Diabetic,
        devices: &["dongfeng-glu-01", "dongfeng-glu-01-"],
    },
];

impl Invented {
    fn body(&self) -> Value {
        let registered =
            jiff::Zoned::now().date().checked_sub(jiff::Span::new().days(PREGNANT_DAYS));
        let pregnancy = (self.what == What::Pregnant).then_some(registered).and_then(Result::ok);
        json!({
            "clinic": self.clinic, "name": self.name, "sex": self.sex, "bed": self.bed,
            "age_months": self.age_years * 12, "monitored": self.what == What::Monitored,
            "diabetes": self.what == What::Diabetic,
            "pregnancy": pregnancy.map(|day| json!({"registered": day.to_string()})),
        })
    }
}

/// Makes the patients known, and binds those of their devices that are played; who they are and
/// what is on them, a line each.
///
/// # Errors
/// When the county refuses it, or does not hear of a device.
pub(super) async fn introduce(county: &County, played: &[&str]) -> anyhow::Result<Vec<String>> {
    let words = ["token", "create", "--role", "nurse", "--name", "demo"];
    let token = county.command(&words).await?;
    let client = Client::new(&county.url(), token.trim(), None)?;
    let mut told = Vec::new();
    for invented in &PATIENTS {
        let made = client.post("/api/v1/patients", &invented.body()).await?;
        let key = made.get("patient").and_then(Value::as_str).context("a patient has no key")?;
        let name = made.get("name").and_then(Value::as_str).unwrap_or_default();
        let mut devices = Vec::new();
        let is_played = |device: &&&str| played.contains(&device.trim_end_matches('-'));
        for device in invented.devices.iter().filter(is_played) {
            let device = heard(&client, device).await?;
            let site = device.split('-').next().unwrap_or_default();
            let binding = json!({
                "site": site, "device": device, "patient": key, "reason": "演示 / demonstration",
            });
            client.post("/api/v1/bindings", &binding).await?;
            devices.push(device);
        }
        told.push(format!("{} {} {name}: {}", invented.clinic, invented.bed, devices.join(", ")));
    }
    Ok(told)
}

/// Waits until the county has heard of a device, and says what it is called there.
async fn heard(client: &Client, device: &str) -> anyhow::Result<String> {
    let limit = Instant::now() + HEARD_LIMIT;
    loop {
        let answer: Value = client.get("/api/v1/devices", &[]).await?;
        let devices = answer.get("devices").and_then(Value::as_array);
        let mut ids =
            devices.into_iter().flatten().filter_map(|known| known.get("device")?.as_str());
        let is_it = |id: &&str| *id == device || device.ends_with('-') && id.starts_with(device);
        if let Some(id) = ids.find(is_it) {
            return Ok(id.to_owned());
        }
        anyhow::ensure!(Instant::now() < limit, "the county does not hear of {device}");
        tokio::time::sleep(HEARD_STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_name_says_that_nobody_is_called_so_and_no_device_is_on_two() {
        let mut bound = BTreeSet::new();
        for invented in &PATIENTS {
            assert!(invented.name.ends_with("演示"), "{}", invented.name);
            for device in invented.devices {
                assert!(bound.insert(device), "{device} is on two patients");
            }
        }
        let masked: BTreeSet<_> = PATIENTS.iter().map(|one| one.name.chars().next()).collect();
        assert_eq!(masked.len(), PATIENTS.len(), "masked names are the same");
    }

    #[test]
    fn rules_know_a_pregnancy_by_the_day_it_was_registered() {
        let body = PATIENTS[1].body();
        let registered = body.pointer("/pregnancy/registered").and_then(Value::as_str);
        assert!(registered.is_some_and(|day| day.len() == 10), "{body}");
        assert!(PATIENTS[0].body()["pregnancy"].is_null());
    }
}
