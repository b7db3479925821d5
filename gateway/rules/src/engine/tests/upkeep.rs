//! What somebody has to look after at boxes, and at the county.

use super::*;

const DAY_MS: i64 = 86_400_000;

struct County(Engine);

impl County {
    /// The alerts that changed: which box, which rule, the value, the state.
    fn hear(
        &mut self,
        seconds: f64,
        site: &str,
        free_pct: Option<u8>,
        days: Option<i64>,
    ) -> Vec<(String, String, Option<String>, AlertState)> {
        let now = at(seconds);
        let site = SiteId::stored(site).unwrap();
        let until = days.map(|days| after(now, days * DAY_MS));
        let told = self.0.hear_upkeep(&RULES, now, &site, free_pct, until);
        let told = told.into_iter();
        told.map(|it| (it.device.to_string(), it.rules.join(" "), it.value, it.state)).collect()
    }

    fn open(&self) -> Vec<(&str, &str)> {
        self.0.alerts().map(|it| (it.device.as_str(), it.family.as_str())).collect()
    }
}

#[test]
fn each_box_has_an_alert_of_its_own_at_the_county_until_somebody_has_seen_to_it() {
    let mut county = County(Engine::new(SiteId::county(), Subject::Box));
    assert_eq!(county.hear(0.0, "heping", Some(50), Some(300)), vec![]);
    // A box of before, or one that cannot read it, says nothing of it.
    assert_eq!(county.hear(0.0, "dongfeng", None, None), vec![]);

    let told = county.hear(10.0, "heping", Some(9), Some(10));
    let low = |rule: &str, value: &str, state| {
        ("heping".to_owned(), rule.to_owned(), Some(value.to_owned()), state)
    };
    let raised = AlertState::ActiveUnack;
    assert_eq!(told, [low("TECH-CERT", "10", raised), low("TECH-STORAGE", "9", raised)]);
    let ids: Vec<AlertId> = county.0.alerts().map(|alert| alert.id).collect();
    for (alert, family) in county.0.alerts().zip(["tech_cert", "tech_storage"]) {
        assert_eq!(alert.id, AlertId::new(&alert.site, "heping", family, at(10.0)));
        assert_eq!((alert.site.as_str(), alert.priority), ("county", Priority::Low));
        assert_eq!(alert.patient, None);
    }
    // Another box and the county itself do not meddle with it.
    county.hear(20.0, "dongfeng", Some(5), None);
    county.hear(20.0, "county", Some(80), Some(13));
    let stored = serde_json::to_string(&county.0).unwrap();
    county.0 = serde_json::from_str(&stored).unwrap();
    let all = [
        ("county", "tech_cert"),
        ("heping", "tech_cert"),
        ("dongfeng", "tech_storage"),
        ("heping", "tech_storage"),
    ];
    assert_eq!(county.open(), all);
    // The same goes on as the same, and tells the newest value; what nobody knows ends nothing.
    assert_eq!(county.hear(86_400.0, "heping", None, Some(9)), [low("TECH-CERT", "9", raised)]);
    assert_eq!(county.hear(86_460.0, "heping", None, None), vec![]);
    assert!(ids.iter().all(|id| county.0.alerts().any(|alert| alert.id == *id)));
    // It ends by itself when somebody has seen to it.
    let told = county.hear(90_000.0, "heping", Some(60), Some(825));
    let closed: Vec<_> = told.iter().map(|(_, rule, _, state)| (rule.as_str(), *state)).collect();
    let over = AlertState::Closed;
    assert_eq!(closed, [("TECH-CERT", over), ("TECH-STORAGE", over)]);
    assert_eq!(county.open(), [("county", "tech_cert"), ("dongfeng", "tech_storage")]);
}
