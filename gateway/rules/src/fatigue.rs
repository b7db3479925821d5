//! Too many alerts are as bad as none: floods, and limits that do not fit a patient (alert rules,
//! "Priority, delay and the measures against alarm fatigue").
//!
//! Not here: changing anything. A board shows, a person decides.

use crate::alert::AlertId;
use model::{alarm::Priority, time::WallTime};
use std::collections::BTreeMap;

/// More new alerts than this within [`FLOOD_MS`] on one board are a flood.
pub const FLOOD_MAX: usize = 10;
/// How long an alert is new.
pub const FLOOD_MS: i64 = 10 * 60_000;
/// So many identical alerts on which nobody acted ask for another limit.
pub const OFFER_MIN: usize = 3;
/// Within this time.
pub const OFFER_MS: i64 = 4 * 3_600_000;

/// What counts of an alert here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Which it is.
    pub id: AlertId,
    /// Site and device.
    pub subject: (String, String),
    /// Key of the patient; `None`: of nobody.
    pub patient: Option<String>,
    /// Rules that hold.
    pub rules: Vec<String>,
    /// How urgent.
    pub priority: Priority,
    /// County clock.
    pub raised_at: WallTime,
    /// The value that was outside.
    pub value: Option<String>,
    /// It was over before anybody could see it: it is no news.
    pub retro: bool,
    /// Somebody did something about it, other than calling it false or mending a probe.
    pub acted_on: bool,
}

impl Facts {
    fn is_within(&self, ms: i64, now: WallTime) -> bool {
        let age_ms = now.unix_ms().saturating_sub(self.raised_at.unix_ms());
        !self.retro && (0..ms).contains(&age_ms)
    }
}

/// More than anybody can look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flood {
    /// How many are new.
    pub new: usize,
    /// Of these the ones that may be shown as one number. High and medium ones never are.
    pub collapsed: Vec<AlertId>,
}

/// Whether one board is flooded by these alerts.
#[must_use]
pub fn flood(alerts: &[Facts], now: WallTime) -> Option<Flood> {
    let new: Vec<_> = alerts.iter().filter(|alert| alert.is_within(FLOOD_MS, now)).collect();
    let low = new.iter().filter(|alert| alert.priority == Priority::Low);
    let collapsed = low.map(|alert| alert.id).collect();
    (new.len() > FLOOD_MAX).then_some(Flood { new: new.len(), collapsed })
}

/// A limit that may not fit this patient: whether to change it, a person decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// Key of the patient.
    pub patient: String,
    /// The rules that held each time.
    pub rules: Vec<String>,
    /// The alerts on which nobody acted.
    pub alerts: Vec<AlertId>,
    /// What was measured, the oldest first.
    pub values: Vec<String>,
}

/// Whose alert of medium priority came again and again, whichever device said so, while nobody acted
/// on it. What is on nobody has no limits of its own.
#[must_use]
pub fn offers(alerts: &[Facts], now: WallTime) -> Vec<Offer> {
    let mut alike: BTreeMap<_, Vec<&Facts>> = BTreeMap::new();
    let counts = |alert: &&Facts| {
        alert.priority == Priority::Medium && !alert.acted_on && alert.is_within(OFFER_MS, now)
    };
    for alert in alerts.iter().filter(counts) {
        if let Some(patient) = &alert.patient {
            alike.entry((patient, &alert.rules)).or_default().push(alert);
        }
    }
    let often = alike.into_iter().filter(|(_, alerts)| alerts.len() >= OFFER_MIN);
    often
        .map(|((patient, rules), mut alerts)| {
            alerts.sort_by_key(|alert| alert.raised_at);
            Offer {
                patient: patient.clone(),
                rules: rules.clone(),
                alerts: alerts.iter().map(|alert| alert.id).collect(),
                values: alerts.iter().filter_map(|alert| alert.value.clone()).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::SiteId;

    const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);

    fn alert(minutes_ago: i64, priority: Priority) -> Facts {
        let raised_at = WallTime::from_unix_ms(NOW.unix_ms() - minutes_ago * 60_000);
        let site = SiteId::new("heping").unwrap();
        Facts {
            id: AlertId::new(&site, "ecg-01", priority.name(), raised_at),
            subject: ("heping".to_owned(), "ecg-01".to_owned()),
            patient: Some("p-7".to_owned()),
            rules: vec!["HR-AD-L".to_owned()],
            priority,
            raised_at,
            value: Some("48".to_owned()),
            retro: false,
            acted_on: false,
        }
    }

    #[test]
    fn ten_new_alerts_are_no_flood_and_eleven_are_and_only_low_ones_collapse() {
        let mut alerts: Vec<_> = (0..4).map(|ago| alert(ago, Priority::Low)).collect();
        alerts.extend((0..3).map(|ago| alert(ago, Priority::Medium)));
        alerts.extend((0..3).map(|ago| alert(ago, Priority::High)));
        // What is older, or was over before anybody could see it, is not new.
        alerts.push(alert(10, Priority::High));
        alerts.push(Facts { retro: true, ..alert(1, Priority::High) });
        assert_eq!(flood(&alerts, NOW), None);
        alerts.push(alert(9, Priority::High));
        let low: Vec<_> = alerts.iter().take(4).map(|alert| alert.id).collect();
        assert_eq!(flood(&alerts, NOW), Some(Flood { new: 11, collapsed: low }));
    }

    #[test]
    fn three_alike_medium_alerts_on_which_nobody_acted_offer_another_limit() {
        let medium = |ago| alert(ago, Priority::Medium);
        let mut alerts = vec![medium(200), medium(100)];
        alerts.push(Facts { acted_on: true, ..medium(90) });
        alerts.push(Facts { rules: vec!["HR-AD-H".to_owned()], ..medium(80) });
        alerts.push(Facts { patient: Some("p-8".to_owned()), ..medium(70) });
        alerts.push(Facts { patient: None, ..medium(50) });
        alerts.push(alert(60, Priority::High));
        alerts.push(medium(240));
        assert_eq!(offers(&alerts, NOW), []);
        // Another device on the same patient says the same.
        let other = ("heping".to_owned(), "spo2-02".to_owned());
        alerts.push(Facts { subject: other, value: Some("47".to_owned()), ..medium(1) });
        let offers = offers(&alerts, NOW);
        assert_eq!(offers.len(), 1);
        assert_eq!(offers[0].patient, "p-7");
        assert_eq!(offers[0].values, ["48", "48", "47"]);
        assert_eq!(offers[0].alerts, [alerts[0].id, alerts[1].id, alerts[8].id]);
    }
}
