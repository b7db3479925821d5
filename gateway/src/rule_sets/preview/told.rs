//! What came of a preview, as the API tells it.

use crate::{
    clock::rfc3339,
    figures::{Days, noisiest, ratio},
};
use model::{alarm::Priority, metric::Metric, time::WallTime};
use rules::{binding::PatientKey, rule::RuleSet, trial::Raised};
use serde_json::{Value, json};
use std::{cmp::Reverse, collections::BTreeMap};

/// Examples that are told, the newest.
const NEWEST_MAX: usize = 10;
/// Rules that are told, those of most alerts first: a set has fewer.
const RULES_MAX: usize = 500;

/// What one rule set would have raised.
#[derive(Debug, Default)]
pub(super) struct Tally {
    all: Counts,
    of_patients: usize,
    rules: BTreeMap<String, usize>,
    townships: BTreeMap<String, Counts>,
    newest: Vec<(String, Raised)>,
}

#[derive(Debug, Default)]
struct Counts {
    high: usize,
    medium: usize,
    low: usize,
}

impl Counts {
    fn add(&mut self, priority: Priority) {
        *match priority {
            Priority::High => &mut self.high,
            Priority::Medium => &mut self.medium,
            Priority::Low => &mut self.low,
        } += 1;
    }

    const fn all(&self) -> usize {
        self.high + self.medium + self.low
    }

    fn told(&self) -> Value {
        json!({"all": self.all(), "high": self.high, "medium": self.medium, "low": self.low})
    }
}

impl Tally {
    /// Adds what would have been raised in a township.
    pub(super) fn add(&mut self, township: &str, raised: impl Iterator<Item = Raised>) {
        for one in raised {
            self.all.add(one.alert.priority);
            self.of_patients += usize::from(is_of_patient(&one));
            for rule in &one.rules {
                *self.rules.entry(rule.clone()).or_default() += 1;
            }
            self.townships.entry(township.to_owned()).or_default().add(one.alert.priority);
            self.newest.push((township.to_owned(), one));
            if self.newest.len() > 2 * NEWEST_MAX {
                self.keep_newest();
            }
        }
        self.keep_newest();
    }

    fn keep_newest(&mut self) {
        self.newest.sort_by_key(|(_, one)| (Reverse(one.alert.raised_at), one.alert.id));
        self.newest.truncate(NEWEST_MAX);
    }

    fn told(&self, rules: &RuleSet, days: Days) -> Value {
        let of_devices = self.all.all() - self.of_patients;
        let by_rule = noisiest(self.rules.iter().map(|(rule, count)| (rule, *count)), RULES_MAX);
        let by_rule = by_rule.map(|(rule, alerts)| json!({"rule": rule, "alerts": alerts}));
        let by_township = self.townships.iter();
        let by_township =
            by_township.map(|(name, counts)| json!({"township": name, "alerts": counts.told()}));
        json!({
            "rules": rules.version(),
            "alerts": self.all.told(),
            "by_rule": by_rule.collect::<Vec<_>>(),
            "by_township": by_township.collect::<Vec<_>>(),
            "of_patients": self.of_patients,
            "alerts_per_patient_day": ratio(self.of_patients, days.patient_days),
            "of_devices": of_devices,
            "alerts_per_device_day": ratio(of_devices, days.device_days),
            "newest": self.newest.iter().map(|(name, one)| example(name, one)).collect::<Vec<_>>(),
        })
    }
}

/// Technical alerts of a patient's device are about the device.
fn is_of_patient(raised: &Raised) -> bool {
    raised.alert.patient.is_some()
}

fn example(township: &str, Raised { alert, rules }: &Raised) -> Value {
    json!({
        "township": township,
        "site": alert.site.as_str(),
        "device": alert.device.as_str(),
        "patient": alert.patient.as_ref().map(PatientKey::as_str),
        "family": alert.family,
        "rules": rules,
        "priority": alert.priority.name(),
        "metric": alert.metric.map(Metric::name),
        "comparator": alert.comparator,
        "value": alert.value,
        "unit": alert.unit,
        "limit": alert.limit,
        "message_zh": alert.message_zh,
        "message_en": alert.message_en,
        "started_at": rfc3339(alert.started_at.unix_ms()),
    })
}

/// Both sets side by side. Of sites that are not judged nothing is said, and that.
pub(super) fn answer(
    (state, by, version): (&str, &str, Option<i64>),
    [asked, live]: [&RuleSet; 2],
    [would, now_live]: &[Tally; 2],
    (readings, (sites, left_out), days): (usize, (usize, usize), Days),
    (from, to): (WallTime, WallTime),
) -> Value {
    let Counts { high, .. } = would.all;
    let (all, live_all, live_high) = (would.all.all(), now_live.all.all(), now_live.all.high);
    let all_sites = sites + left_out;
    let alerts = if all == 1 { "alert" } else { "alerts" };
    let [zh, en] = match left_out {
        0 => ["", ""].map(str::to_owned),
        _ => [
            format!("(仅 {sites}/{all_sites} 个站点)"),
            format!("of {sites} of {all_sites} sites: "),
        ],
    };
    json!({
        "state": state,
        "asked_by": by,
        "version": version,
        "from": rfc3339(from.unix_ms()),
        "to": rfc3339(to.unix_ms()),
        "sites": sites,
        "left_out": left_out,
        "readings": readings,
        "patient_days": days.patient_days,
        "device_days": days.device_days,
        "text_zh": format!("{zh}过去24小时将产生 {all} 条预警,其中高级 {high} 条;现行规则 {live_all} 条,其中高级 {live_high} 条"),
        "text_en": format!("{en}would have raised {all} {alerts}, {high} high; the live set {live_all}, {live_high} high"),
        "asked": would.told(asked, days),
        "live": now_live.told(live, days),
    })
}
