//! A week that somebody has counted by hand.

use super::*;
use crate::{
    alerts::{self, Context, Evaluation},
    store::Store,
};
use model::id::DeviceId;
use rules::{
    alert::{Alert, AlertState, People, TimelineEntry},
    binding::PatientKey,
    ladder::{Times, TimesBySite},
    rule::RuleSet,
};

/// Of November 2026, at the hour of the sites; the 16th is a Monday.
fn at(day: u32, time: &str) -> WallTime {
    let text = format!("2026-11-{day:02}T{time}+08:00");
    WallTime::from_unix_ms(parse_rfc3339(&text).unwrap())
}

/// An alert that was raised at that moment, when it began.
fn alert(
    (site, device, patient): (&str, &str, Option<&str>),
    priority: Priority,
    rules: &[&str],
    raised_at: WallTime,
) -> Alert {
    let site = SiteId::new(site).unwrap();
    let family = rules.join("-");
    Alert {
        id: AlertId::new(&site, device, &family, raised_at),
        site,
        device: DeviceId::new(device).unwrap(),
        patient: patient.map(|key| PatientKey::new(key).unwrap()),
        family,
        rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
        priority,
        state: AlertState::ActiveUnack,
        metric: None,
        value: None,
        comparator: None,
        unit: None,
        limit: None,
        message_zh: String::new(),
        message_en: String::new(),
        started_at: raised_at,
        raised_at,
        cleared_at: None,
        acknowledged: None,
        retro: false,
        latched: false,
        quiet: false,
        late_row: None,
        people: People::default(),
        time_suspect: false,
        recheck_at: None,
        not_rechecked: false,
        recurrences: 0,
        timeline: vec![TimelineEntry::new(raised_at, TimelineEvent::Raised)],
    }
}

/// So many seconds after it was raised; by the county where nobody did it.
fn then(
    mut alert: Alert,
    after_s: i64,
    what: TimelineEvent,
    (by, reason): (Option<&str>, Option<AckReason>),
) -> Alert {
    let at = WallTime::from_unix_ms(alert.raised_at.unix_ms() + after_s * 1000);
    let by = by.map(ToOwned::to_owned);
    alert.timeline.push(TimelineEntry { by, reason, ..TimelineEntry::new(at, what) });
    alert
}

/// Whoever has it in hand took it so urgent.
fn answered_as(mut alert: Alert, priority: Priority) -> Alert {
    if let Some(acknowledged) = alert.timeline.last_mut() {
        acknowledged.detail = priority.name().to_owned();
    }
    alert
}

/// So many seconds after it was raised somebody took back that they had it in hand.
fn taken_back(alert: Alert, after_s: i64) -> Alert {
    let mut alert = then(alert, after_s, TimelineEvent::Undone, (Some("wang"), None));
    if let Some(undone) = alert.timeline.last_mut() {
        undone.detail = TimelineEvent::Acknowledged.name().to_owned();
    }
    then(alert, 300, TimelineEvent::Escalated, (None, None))
}

/// The alerts of two boxes of one township, and of one that is not asked about.
fn alerts_of_the_week() -> Vec<Alert> {
    use AckReason as Reason;
    use Priority::{High, Low, Medium};
    use TimelineEvent::{Acknowledged, Assigned, Escalated};
    let monitor = ("heping-01", "ecg-01", Some("p1"));
    let wang = |reason| (Some("wang"), Some(reason));
    let retro = alert(monitor, High, &["SPO2-AD-LL"], at(17, "09:00:00"));
    let retro = Alert { retro: true, started_at: at(16, "22:00:00"), ..retro };
    let late = alert(monitor, Medium, &["HR-AD-H"], at(18, "12:06:00"));
    let late = Alert { started_at: at(18, "11:55:00"), ..late };
    let oximeter = ("heping-02", "oxi-02", None);
    let first = alert(monitor, High, &["HR-AD-LL", "HR-AD-L"], at(16, "00:00:00"));
    let second = alert(monitor, High, &["HR-AD-LL"], at(17, "10:00:00"));
    let third = alert(monitor, Medium, &["HR-AD-L"], at(18, "10:00:00"));
    let third = then(third, 300, Acknowledged, wang(Reason::ProbeLoose));
    // It was high until somebody had it in hand, and is medium since.
    let second = then(second, 61, Acknowledged, wang(Reason::FalseAlarm));
    let second = Alert { priority: Medium, ..answered_as(second, High) };
    let fourth = alert(oximeter, Medium, &["SPO2-AD-L"], at(19, "10:00:00"));
    vec![
        then(first, 60, Acknowledged, wang(Reason::AtBedside)),
        second,
        then(third, 400, Escalated, (Some("wang"), None)),
        then(fourth, 20, Assigned, (Some("wang"), None)),
        alert(monitor, Low, &["BATT-LOW"], at(17, "15:00:00")),
        then(retro, 10, Acknowledged, wang(Reason::AtBedside)),
        taken_back(then(late, 60, Acknowledged, wang(Reason::AtBedside)), 70),
        // The week before, the week after, and somebody else's.
        alert(monitor, High, &["HR-AD-LL"], at(15, "23:59:59")),
        alert(monitor, High, &["HR-AD-LL"], at(23, "00:00:00")),
        alert(("nanhe-01", "ecg-01", None), High, &["HR-AD-LL"], at(18, "10:00:00")),
    ]
}

/// Site, device, patient, bed, from when, until when.
type Stay = (
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    WallTime,
    Option<WallTime>,
);

fn fill(connection: &Connection) {
    let rules = include_str!("../../../configs/rules/default.json");
    let rules = RuleSet::from_json(rules).unwrap();
    let context = Context { connection, rules: &rules, now: at(23, "08:00:00") };
    let mut evaluation = Evaluation::default();
    evaluation.note(alerts_of_the_week());
    alerts::store(context, evaluation).unwrap();
    // Who was where: the monitor at bed 3 on p1 until Wednesday noon; the oximeter at bed 5 on
    // nobody on Thursday, and on p2 from Sunday noon on.
    let bindings: [Stay; 3] = [
        (
            "heping-01",
            "ecg-01",
            Some("p1"),
            Some("3"),
            at(10, "08:00:00"),
            Some(at(18, "12:00:00")),
        ),
        ("heping-02", "oxi-02", None, Some("5"), at(19, "00:00:00"), Some(at(20, "00:00:00"))),
        ("heping-02", "oxi-02", Some("p2"), None, at(22, "12:00:00"), None),
    ];
    for (site, device, patient, bed, from, until) in bindings {
        let until_ms = until.map(WallTime::unix_ms);
        let row = "INSERT INTO binding (site, device, patient, bed, from_ms, until_ms, version,
                     made_by, made_ms, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 'wang', 0, '')";
        let values = params![site, device, patient, bed, from.unix_ms(), until_ms];
        connection.execute(row, values).unwrap();
    }
    for (patient, monitored) in [("p1", true), ("p2", false)] {
        let row = "INSERT INTO patient VALUES (?1, '', ?2, NULL, 1, 'wang', 0)";
        let about = json!({"monitored": monitored}).to_string();
        connection.execute(row, params![patient, about]).unwrap();
    }
    // When each device said something; the box itself is no device.
    let said: [(&str, &str, &[WallTime]); 6] = [
        (
            "heping-01",
            "ecg-01",
            &[
                at(16, "00:00:00"),
                at(16, "23:59:59"),
                at(17, "10:00:00"),
                at(18, "10:00:00"),
                at(18, "18:00:00"),
                at(23, "00:00:00"),
            ],
        ),
        ("heping-01", "heping-01", &[at(16, "10:00:00")]),
        ("heping-02", "oxi-02", &[at(19, "10:00:00"), at(20, "10:00:00"), at(22, "13:00:00")]),
        ("heping-02", "bp-02", &[at(15, "23:59:59")]),
        ("dongfeng-01", "ecg-01", &[at(18, "10:00:00")]),
        ("nanhe-01", "ecg-01", &[at(18, "10:00:00")]),
    ];
    for (source, (site, device, moments)) in (1..).zip(said) {
        let row = "INSERT INTO source VALUES (?1, ?2, ?3)";
        connection.execute(row, params![source, site, device]).unwrap();
        for moment in moments {
            let row = "INSERT INTO reading_group (source, outbox_lane, seq, idx, channel,
                         metric_list, said, observed_ms, received_ms, measured_ms, time_suspect)
                       VALUES (?1, 1, 1, 0, '', 1, '[]', ?2, ?2, ?2, 0)";
            connection.execute(row, params![source, moment.unix_ms()]).unwrap();
        }
    }
}

/// By hand, of the township 和平镇 with its boxes heping-01 and heping-02:
///
/// | no. | raised | priority | about | answered | counts as |
/// | --- | --- | --- | --- | --- | --- |
/// | 1 | Mon 0:00:00 | high | p1, bed 3 | after 60 s, at the bedside | in time (60 s), acted on |
/// | 2 | Tue 10:00 | high, medium since it was answered | p1, bed 3 | after 61 s, false alarm | neither |
/// | 3 | Wed 10:00 | medium | p1, bed 3 | after 300 s, probe loose; handed up by hand | both (300 s) |
/// | 4 | Thu 10:00 | medium | device, bed 5 | never; assigned | acted on |
/// | 5 | Tue 15:00 | low | p1, bed 3 | – | nobody has to answer |
/// | 6 | Tue 9:00 | high, retro | p1, bed 3 | after 10 s, at the bedside | nobody has to answer |
/// | 7 | Wed 12:06, began 11:55 | medium | p1, bed 3 when it began | after 60 s, taken back; escalated by the county | late: 11 min |
///
/// Alerts: 7, of them 1, 2, 6 high, 3, 4, 7 medium, 5 low; all but 4 are of a patient.
/// To answer: 1, 2, 3, 4, 7. In time 1 and 3 of 5: 40 %. Acted on 1, 3 and 4 of 5: 60 %.
/// Patient-days: p1 on Monday, Tuesday and Wednesday before noon, p2 on Sunday: 4; 6 / 4 = 1.5.
/// Of them p1 is monitored, on 3 days; 6 / 3 = 2.
/// Device-days on nobody: the monitor on Wednesday evening, the oximeter on Thursday (a bed is no
/// patient) and Friday: 3; 1 / 3 = 0.33. The cuff said nothing in this week.
/// Rules: HR-AD-L 1 and 3, HR-AD-LL 1 and 2, four others once, of which the last by name is not
/// among the first five.
/// 东风镇 has one device on nobody on one day, and no alert.
#[test]
fn a_week_that_was_counted_by_hand_has_these_figures() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
    fill(&connection);
    let clinics = [
        ("heping-01", "和平镇"),
        ("heping-02", "和平镇"),
        ("dongfeng-01", "东风镇"),
        ("nanhe-01", "南河镇"),
    ];
    let clinics = clinics.map(|(site, name)| (SiteId::new(site).unwrap(), name.to_owned())).into();
    let (from, to) = (at(16, "00:00:00").unix_ms(), at(23, "00:00:00").unix_ms());
    let is_of = |site: &str| site != "nanhe-01";
    let rules = RuleSet::from_json(include_str!("../../../configs/rules/default.json")).unwrap();
    let told = figures(&connection, &clinics, is_of, &rules, from, to).unwrap();
    let quiet = json!({
        "township": "东风镇",
        "alerts": {"all": 0, "high": 0, "medium": 0, "low": 0},
        "patient_days": 0, "of_patients": 0, "alerts_per_patient_day": null,
        "monitored_days": 0, "of_monitored": 0, "alerts_per_monitored_day": null,
        "device_days": 1, "of_devices": 0, "alerts_per_device_day": 0.0,
        "to_answer": 0, "acknowledged_in_time_percent": null, "acted_on_percent": null,
        "retro": 0, "late": 0, "noisy_rules": [], "noisy_beds": [], "noisy_devices": [],
    });
    let counted = json!({
        "township": "和平镇",
        "alerts": {"all": 7, "high": 3, "medium": 3, "low": 1},
        "patient_days": 4, "of_patients": 6, "alerts_per_patient_day": 1.5,
        "monitored_days": 3, "of_monitored": 6, "alerts_per_monitored_day": 2.0,
        "device_days": 3, "of_devices": 1, "alerts_per_device_day": 0.33,
        "to_answer": 5, "acknowledged_in_time_percent": 40, "acted_on_percent": 60,
        "retro": 1, "late": 1,
        "noisy_rules": [
            {"rule": "HR-AD-L", "alerts": 2}, {"rule": "HR-AD-LL", "alerts": 2},
            {"rule": "BATT-LOW", "alerts": 1}, {"rule": "HR-AD-H", "alerts": 1},
            {"rule": "SPO2-AD-L", "alerts": 1},
        ],
        "noisy_beds": [{"bed": "3", "alerts": 6}, {"bed": "5", "alerts": 1}],
        "noisy_devices": [
            {"site": "heping-01", "device": "ecg-01", "alerts": 6},
            {"site": "heping-02", "device": "oxi-02", "alerts": 1},
        ],
    });
    assert_eq!(told["townships"], json!([quiet, counted]));
    // Who had a longer way is measured by that.
    let mut own = Times::default();
    (own.ladder.high.second, own.ladder.medium.second) = (Some(10_000), Some(10_000));
    let own = ["heping-01", "heping-02"].map(|site| (SiteId::new(site).unwrap(), own)).into();
    let times = TimesBySite { own, ..TimesBySite::default() };
    let hurried = rules.with_times(std::sync::Arc::new(times));
    let hurried = figures(&connection, &clinics, is_of, &hurried, from, to).unwrap();
    assert_eq!(hurried["townships"][1]["acknowledged_in_time_percent"], 0);
    assert_eq!(told["from"], "2026-11-15T16:00:00.000Z");
    assert_eq!(told["to"], "2026-11-22T16:00:00.000Z");
}
