//! Every rule of the default set just inside, on and just outside its limit, and on the way back.
//!
//! What is expected was written down from the alert rules (§3 to §5), by hand and beside the file of
//! the rules: whoever changes a limit there has to change it here. Where the text names no sustain
//! or no clearing value (children, pregnancy) it is what the county was given to approve.

use super::*;
use crate::news2::{Consciousness, Observations};

/// Rule, metric, for whom, what is outside, priority, sustain in s, what clears / held for s; a spot
/// value is cleared by the next.
const ADULTS: &str = "
    HR-AD-LL       hr       adult     <  40   high    10  45 / 30
    HR-AD-L        hr       adult     <  50   medium  30  53 / 30
    HR-AD-H        hr       adult     >  120  medium  30  115 / 30
    HR-AD-HH       hr       adult     >  150  high    15  140 / 30
    HR-AD-CV       hr       adult     >  180  high    10  170 / 30
    SPO2-AD-L      spo2     adult     <  90   medium  15  92 / 15
    SPO2-AD-LL     spo2     adult     <  85   high    10  88 / 15
    SPO2-COPD-L    spo2     scale2    <  86   medium  15  88 / 15
    SPO2-COPD-LL   spo2     scale2    <  84   high    10  86 / 15
    SPO2-COPD-O2H  spo2     scale2    >  96   medium  120 95 / 60
    RR-AD-LL       rr       adult     <= 8    high    20  10 / 30
    RR-AD-H        rr       adult     >= 25   medium  30  22 / 30
    RR-AD-HH       rr       adult     >  35   high    30  30 / 30
    BP-AD-SL       nibp_sys adult     <  90   medium  0   next
    BP-AD-SLL      nibp_sys adult     <  80   high    0   next
    BP-AD-ML       nibp_mean adult    <  65   medium  0   next
    BP-AD-SH       nibp_sys adult     >= 180  medium  0   next
    BP-AD-DH       nibp_dia adult     >= 110  medium  0   next
    BP-AD-SHH      nibp_sys adult     >= 220  high    0   next
    BP-AD-DHH      nibp_dia adult     >= 130  high    0   next
    T-AD-L         temp     adult     <= 35.0 high    60  35.3 / 60
    T-AD-H         temp     adult     >= 39.1 medium  60  38.8 / 60
    T-AD-HH        temp     adult     >= 41.0 high    60  40.7 / 60
    GLU-AD-LL      glucose  adult     <  3.0  high    0   next
    GLU-AD-L       glucose  adult     <  3.9  medium  0   next
    GLU-AD-H       glucose  adult     >= 16.7 medium  0   next
    GLU-AD-HH      glucose  adult     >= 22.2 high    0   next
    GLU-AD-HHS     glucose  adult     >= 33.3 high    0   next
    GLU-AD-DKA     glucose  adult     >= 11.1 high    0   next
    HR-EL-L        hr       elderly   <  45   medium  30  48 / 30
    BP-EL-SL       nibp_sys elderly   <  100  low     0   next
    GLU-EL-L       glucose  elderly   <  3.9  high    0   next
    BP-PR-SH       nibp_sys pregnant  >= 140  medium  0   next
    BP-PR-DH       nibp_dia pregnant  >= 90   medium  0   next
    BP-PR-SHH      nibp_sys pregnant  >= 160  high    0   next
    BP-PR-DHH      nibp_dia pregnant  >= 110  high    0   next
    SPO2-PR-L      spo2     pregnant  <  95   medium  30  96 / 30
    HR-PR-H        hr       pregnant  >  120  high    30  115 / 30
    RR-PR-H        rr       pregnant  >  30   high    30  26 / 30
    T-PR-H         temp     pregnant  >  38.0 medium  60  37.7 / 60
    GLU-PR-L       glucose  pregnant  <  3.3  high    0   next
";

/// The same for children, by completed months: from, and the last.
const CHILDREN: &str = "
    SPO2-PED-L     spo2     0-215     <  92   medium  15  94 / 15
    SPO2-PED-LL    spo2     0-215     <  88   high    10  90 / 15
    BP-PED-SLL-0   nibp_sys 1-11      <  70   high    0   next
    BP-PED-SLL-1   nibp_sys 12-23     <  72   high    0   next
    BP-PED-SLL-1   nibp_sys 24-35     <  74   high    0   next
    BP-PED-SLL-1   nibp_sys 36-47     <  76   high    0   next
    BP-PED-SLL-1   nibp_sys 48-59     <  78   high    0   next
    BP-PED-SLL-1   nibp_sys 60-71     <  80   high    0   next
    BP-PED-SLL-1   nibp_sys 72-83     <  82   high    0   next
    BP-PED-SLL-1   nibp_sys 84-95     <  84   high    0   next
    BP-PED-SLL-1   nibp_sys 96-107    <  86   high    0   next
    BP-PED-SLL-1   nibp_sys 108-119   <  88   high    0   next
    BP-PED-SLL-1   nibp_sys 120-131   <  90   high    0   next
    BP-PED-SLL-2   nibp_sys 132-215   <  90   high    0   next
    T-INF-H        temp     0-2       >= 38.0 high    60  37.7 / 60
    T-PED-H        temp     0-215     >= 39.0 medium  60  38.7 / 60
    GLU-NEO-L      glucose  0-0       <  2.6  high    0   next
    GLU-PED-L      glucose  1-215     <  3.9  high    0   next
";

/// A band of age: its name, first and last month; heart rate below which it is high priority, low,
/// above which it is high, high priority; respiration low, high.
const BANDS: [(&str, [u32; 2], [u32; 6]); 10] = [
    ("p00_03m", [0, 2], [82, 102, 175, 210, 25, 67]),
    ("p03_06m", [3, 5], [84, 105, 176, 211, 24, 64]),
    ("p06_12m", [6, 11], [78, 97, 166, 199, 23, 60]),
    ("p01_02y", [12, 23], [69, 86, 153, 184, 20, 50]),
    ("p02_04y", [24, 47], [60, 73, 140, 168, 17, 36]),
    ("p04_06y", [48, 71], [60, 66, 131, 157, 17, 29]),
    ("p06_08y", [72, 95], [50, 59, 124, 149, 16, 27]),
    ("p08_12y", [96, 143], [45, 53, 120, 150, 14, 25]),
    ("p12_15y", [144, 179], [40, 47, 120, 150, 10, 25]),
    ("p15_18y", [180, 215], [40, 43, 120, 150, 10, 25]),
];
/// In each band: what is outside, priority, sustain, how far inside clears, for how long.
const OF_BAND: [(&str, &str, &str, &str, u32, i64, u32); 6] = [
    ("HR-{}-LL", "hr", "<", "high", 10, 5, 20),
    ("HR-{}-L", "hr", "<", "medium", 20, 4, 20),
    ("HR-{}-H", "hr", ">", "medium", 30, -5, 30),
    ("HR-{}-HH", "hr", ">", "high", 15, -12, 30),
    ("RR-{}-L", "rr", "<", "medium", 20, 2, 20),
    ("RR-{}-H", "rr", ">", "medium", 30, -3, 30),
];

/// Device alarms: the priority of the rule, and what becomes of one that the device sent as low.
const EVENTS: &str = "
    DEV-ASYSTOLE high high          DEV-VFVT high high             DEV-VT high high
    DEV-BRADY-EXTREME high high     DEV-TACHY-EXTREME high high    DEV-APNOEA high high
    DEV-DESAT medium medium         DEV-VT-NONSUST medium medium   DEV-PVC-RUN medium medium
    DEV-PAUSE medium medium         DEV-PACER medium medium        DEV-AF low low
    DEV-IRREGULAR low low           DEV-PVC-PAIR low low           DEV-RONT low low
    DEV-PVC-RATE low low            DEV-OCCL-DOWN high high        DEV-OCCL-UP high high
    DEV-AIR high high               DEV-FREE-FLOW high high        DEV-DOOR high high
    DEV-SYRINGE high high           DEV-INF-COMPLETE medium medium
    DEV-PUMP-BATT-LOW medium medium DEV-PUMP-BATT-DEPL high high
    DEV-HI low low                  DEV-LO low low                 DEV-OTHER low low
";

/// A value, and what the rule is at it.
type At = (&'static str, &'static str);

/// Technical rules on a value: what it is at each, one after the other.
const TECHNICAL: [(&str, &str, &str, &[At]); 4] = [
    (
        "BATT-LOW",
        "batt_pct",
        "ecg-01",
        &[("20", "-"), ("19", "low"), ("10", "low"), ("9", "medium"), ("10", "low"), ("20", "-")],
    ),
    ("BATT-LOW-MIN", "batt_min", "ecg-01", &[("30", "-"), ("29", "low"), ("30", "-")]),
    (
        "PUMP-NEAR-END",
        "pump_time_rem",
        "pump-01",
        &[("31", "-"), ("30", "low"), ("11", "low"), ("10", "medium"), ("11", "low"), ("31", "-")],
    ),
    (
        "TECH-CLOCK",
        "clock_offset",
        "ecg-01",
        &[
            ("2.0", "-"),
            ("2.1", "low"),
            ("-2.0", "-"),
            ("-2.1", "low"),
            ("60.0", "low"),
            ("60.1", "medium"),
            ("-60.1", "medium"),
            ("60.0", "low"),
            ("2.0", "-"),
        ],
    ),
];

/// What a pump that gives no time remaining has infused of 50 mL, at 10 mL/h: the nearest to 30 and
/// to 10 minutes, and what the rule is at it.
const INFUSED: [At; 8] = [
    ("44.91", "-"),
    ("44.92", "low"),
    ("48.25", "low"),
    ("48.26", "medium"),
    ("50.00", "medium"),
    ("48.25", "low"),
    ("44.92", "low"),
    ("44.91", "-"),
];

/// What is looked after at a box: percent that are free, hours that its certificate has left.
const UPKEEP: [(&str, &[At]); 2] = [
    (
        "TECH-STORAGE",
        &[
            ("100", "-"),
            ("10", "-"),
            ("9", "low"),
            ("0", "low"),
            // Two percent more end it: it must not come and go.
            ("10", "low"),
            ("11", "low"),
            ("12", "-"),
            ("10", "-"),
            ("9", "low"),
        ],
    ),
    (
        "TECH-CERT",
        &[("337", "-"), ("336", "-"), ("335", "low"), ("0", "low"), ("-1", "low"), ("336", "-")],
    ),
];

/// For whom, the class, the meal.
type Aim = (&'static str, &'static str, Option<&'static str>);

/// Targets of programmes: two values in target, the nearest to its end last, and two out of it.
const TARGETS: [(&str, Aim, [&str; 4]); 7] = [
    ("FU-BP-general-S", ("general", "nibp_sys", None), ["138", "139", "140", "141"]),
    ("FU-BP-general-D", ("general", "nibp_dia", None), ["88", "89", "90", "91"]),
    ("FU-BP-elderly65-S", ("elderly", "nibp_sys", None), ["148", "149", "150", "151"]),
    ("FU-BP-elderly65-D", ("elderly", "nibp_dia", None), ["88", "89", "90", "91"]),
    ("FU-GLU-F", ("diabetes", "glucose", Some("meal_fast")), ["6.8", "6.9", "7.0", "7.1"]),
    ("GLU-PR-F", ("pregnant", "glucose", Some("meal_fast")), ["5.2", "5.3", "5.4", "5.5"]),
    ("GLU-PR-2H", ("pregnant", "glucose", Some("meal_post")), ["6.6", "6.7", "6.8", "6.9"]),
];

/// Rules about what no value says; each is tested where it is decided.
const ELSEWHERE: [&str; 11] = [
    "TECH-UNIT",
    "TECH-LEADOFF",
    "TECH-PROBEOFF",
    "TECH-CUFF",
    "TECH-SILENT",
    "TECH-REPLAY",
    "TECH-IDENTITY",
    "TECH-AUDIT",
    "TECH-AGE-UNKNOWN",
    "PUMP-STOPPED",
    "EDGE-OFFLINE",
];
const SCORES: [&str; 3] = ["NEWS2-3IN1", "NEWS2-M", "NEWS2-H"];

/// A rule with what it is expected to do. Values are in steps of the last digit.
struct Case {
    id: String,
    metric: Metric,
    decimals: i8,
    /// Below the limit is outside.
    low: bool,
    /// On the limit is outside.
    on_it: bool,
    limit: i64,
    priority: Priority,
    sustain: u32,
    /// For streams: the value that clears, and how long it is held.
    clear: Option<(i64, u32)>,
    profile: Profile,
}

fn metric_of(class: &str) -> Metric {
    match class {
        "hr" => Metric::HR,
        "spo2" => Metric::SPO2,
        "rr" => Metric::RR,
        "temp" => Metric::TEMP,
        "nibp_sys" => Metric::NIBP_SYS,
        "nibp_dia" => Metric::NIBP_DIA,
        "nibp_mean" => Metric::NIBP_MEAN,
        "glucose" => Metric::GLU_CAP_PL,
        "batt_pct" => Metric::BATT_PCT,
        "batt_min" => Metric::BATT_MIN,
        "pump_time_rem" => Metric::PUMP_TIME_REM,
        "clock_offset" => Metric::CLOCK_OFFSET,
        other => panic!("no metric of {other}"),
    }
}

/// Somebody the rule is for: the youngest and the oldest.
fn profiles(who: &str) -> Vec<Profile> {
    let until = Some(at(1e6));
    match who {
        "adult" => vec![aged(216), aged(779), Profile::default()],
        "elderly" => vec![aged(780), aged(1200)],
        "pregnant" => vec![Profile { pregnant_until: until, ..aged(360) }],
        "scale2" => {
            let oxygen = Some(Entry { value: true, at: at(-1.0) });
            vec![Profile { scale2_until: until, oxygen, ..aged(840) }]
        }
        months => {
            let (first, last) = months.split_once('-').unwrap();
            [first, last].map(|months| aged(months.parse().unwrap())).into()
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in ADULTS.lines().chain(CHILDREN.lines()).filter(|line| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [id, class, who, op, limit, priority, sustain, clear @ ..] = cells.as_slice() else {
            panic!("{line}")
        };
        let limit: Decimal = limit.parse().unwrap();
        for profile in profiles(who) {
            cases.push(Case {
                id: (*id).to_owned(),
                metric: metric_of(class),
                decimals: -limit.exponent(),
                low: op.starts_with('<'),
                on_it: op.ends_with('='),
                limit: limit.mantissa(),
                priority: Priority::from_name(priority).unwrap(),
                sustain: sustain.parse().unwrap(),
                clear: match clear {
                    ["next"] => None,
                    [value, "/", hold] => {
                        let value: Decimal = value.parse().unwrap();
                        assert_eq!(value.exponent(), limit.exponent());
                        Some((value.mantissa(), hold.parse().unwrap()))
                    }
                    other => panic!("{other:?}"),
                },
                profile,
            });
        }
    }
    for (band, months, limits) in BANDS {
        for ((id, class, op, priority, sustain, inside, hold), limit) in
            OF_BAND.into_iter().zip(limits)
        {
            for months in months {
                cases.push(Case {
                    id: id.replace("{}", band),
                    metric: metric_of(class),
                    decimals: 0,
                    low: op == "<",
                    on_it: false,
                    limit: limit.into(),
                    priority: Priority::from_name(priority).unwrap(),
                    sustain,
                    clear: Some((i64::from(limit) + inside, hold)),
                    profile: aged(months),
                });
            }
        }
    }
    cases
}

impl Case {
    fn ward(&self) -> Ward {
        let mut ward = Ward::of(self.profile.clone());
        ward.is_stored = false;
        if self.id == "GLU-AD-DKA" {
            ward.number(0.0, Metric::KETONE, "3.0");
        }
        ward
    }

    /// So many steps towards what is dangerous.
    fn beyond(&self, from: i64, steps: i64) -> i64 {
        if self.low { from - steps } else { from + steps }
    }

    fn text(&self, value: i64) -> String {
        Decimal::new(value, -self.decimals).unwrap().to_string()
    }

    fn feed(&self, ward: &mut Ward, second: u32, value: i64) {
        ward.number(f64::from(second), self.metric, &self.text(value));
    }

    /// The priority with which the rule holds, if it does.
    fn held(&self, ward: &Ward) -> Option<Priority> {
        let all = ward.engine.episodes.values().flat_map(|episode| episode.firing.values());
        all.filter(|firing| firing.rule == self.id).map(|firing| firing.priority).max()
    }

    #[track_caller]
    fn check(&self, ward: &Ward, holds: bool, what: &str) {
        assert_eq!(self.held(ward), holds.then_some(self.priority), "{} {what}", self.id);
        let told = |alert: &Alert| alert.state.is_active() && alert.rules.contains(&self.id);
        assert_eq!(ward.engine.alerts().any(told), holds, "{} {what}", self.id);
    }
}

#[test]
fn every_rule_of_the_default_set_is_in_a_written_table() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../configs/rules/default.json")).unwrap();
    let of_file: BTreeSet<&str> =
        file["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    let cases = cases();
    let limits = cases.iter().map(|case| case.id.as_str());
    let events = EVENTS.split_whitespace().filter(|word| word.starts_with("DEV-"));
    let technical = TECHNICAL.iter().map(|(id, ..)| *id).chain(ELSEWHERE);
    let upkeep = UPKEEP.iter().map(|(id, ..)| *id);
    let targets = TARGETS.iter().map(|(id, ..)| *id);
    let written: BTreeSet<&str> =
        limits.chain(events).chain(technical).chain(upkeep).chain(targets).chain(SCORES).collect();
    assert_eq!(of_file, written);
    assert_eq!(written.len(), 165);
}

#[test]
fn every_limit_raises_just_outside_and_not_just_inside() {
    for case in cases() {
        for (steps, outside) in [(-1, false), (0, case.on_it), (1, true)] {
            let value = case.beyond(case.limit, steps);
            let mut ward = case.ward();
            for second in 0..=case.sustain {
                case.check(&ward, false, "before its sustain is over");
                case.feed(&mut ward, second, value);
            }
            case.check(&ward, outside, &format!("at {value}, {steps} steps outside"));
        }
    }
}

#[test]
fn every_limit_clears_at_its_value_and_not_just_before() {
    for case in cases() {
        // A spot value clears by the nearest that does not meet the limit.
        let nearest = case.beyond(case.limit, -i64::from(case.on_it));
        let (value, hold) = case.clear.unwrap_or((nearest, 0));
        for (steps, clears) in [(1, false), (0, true), (-1, true)] {
            let mut ward = case.ward();
            let outside = case.beyond(case.limit, 1);
            for second in 0..=case.sustain {
                case.feed(&mut ward, second, outside);
            }
            case.check(&ward, true, "outside");
            let value = case.beyond(value, steps);
            let from = case.sustain + 1;
            for second in from..=from + hold {
                case.check(&ward, true, "before its hold is over");
                case.feed(&mut ward, second, value);
            }
            case.check(&ward, !clears, &format!("at {value}, {steps} steps from clearing"));
            if !clears && case.clear.is_some() {
                // However long it lasts.
                for second in from + hold + 1..from + hold + 60 {
                    case.feed(&mut ward, second, value);
                }
                case.check(&ward, true, "a minute later");
            }
        }
    }
}

#[test]
fn every_limit_on_streams_raises_at_once_by_a_result_and_clears_by_the_next_inside() {
    for case in cases().into_iter().filter(|case| case.clear.is_some()) {
        let result = |ward: &mut Ward, second: f64, value: i64| {
            let number: Decimal = case.text(value).parse().unwrap();
            let unit = case.metric.row().canonical_unit.clone().unwrap();
            let reading = Reading::number(case.metric, number, unit);
            let mut group =
                ReadingGroup::new(ward.device.clone(), Ward::observed(second), vec![reading]);
            group.occurrence = Occurrence::Spot;
            ward.feed_group(&group, second);
        };
        for (steps, outside) in [(-1, false), (0, case.on_it), (1, true)] {
            let mut ward = case.ward();
            result(&mut ward, 0.0, case.beyond(case.limit, steps));
            case.check(&ward, outside, &format!("{steps} steps outside, measured once"));
        }
        let mut ward = case.ward();
        result(&mut ward, 0.0, case.beyond(case.limit, 1));
        let nearest = case.beyond(case.limit, -i64::from(case.on_it));
        result(&mut ward, 60.0, nearest);
        case.check(&ward, false, "measured again, just inside");
    }
}

#[test]
fn every_device_alarm_has_its_priority_and_a_high_one_is_never_lowered() {
    let words: Vec<&str> = EVENTS.split_whitespace().collect();
    for row in words.chunks(3) {
        let [id, own, sent_low] = row else { panic!("{row:?}") };
        let kind = AlarmKind::from_rule_id(id).unwrap_or_else(|| panic!("{id}"));
        for (sent, expected) in
            [(None, *own), (Some(Priority::Low), sent_low), (Some(Priority::High), "high")]
        {
            let mut ward = Ward::of(aged(600));
            if id.starts_with("DEV-PUMP") {
                ward.hand_to("pump-01", DeviceKind::Pump, 0.0);
            }
            let alarm =
                DeviceAlarm { priority: sent, ..ward.an_alarm(5.0, kind, AlarmPhase::Start) };
            ward.alarm_at(5.0, &alarm);
            let alert = ward.only();
            assert_eq!(
                (alert.rules.as_slice(), alert.priority.name()),
                (&[(*id).to_owned()][..], expected)
            );
            // No delay is added.
            assert_eq!((alert.started_at, alert.raised_at), (at(5.0), at(5.0)));
            let end =
                DeviceAlarm { phase: AlarmPhase::End, ..ward.an_alarm(6.0, kind, AlarmPhase::End) };
            ward.alarm_at(6.0, &end);
            assert!(ward.engine.alerts().all(|alert| !alert.state.is_active()), "{id} ends");
        }
    }
}

#[test]
fn every_technical_limit_holds_and_ends_where_it_is_written() {
    for (id, class, device, values) in TECHNICAL {
        let mut ward = Ward::new(device);
        ward.is_stored = false;
        for (second, (value, expected)) in (0..).zip(values) {
            ward.number(f64::from(second), metric_of(class), value);
            let all = ward.engine.episodes.values().flat_map(|episode| episode.firing.values());
            let held = all.filter(|firing| firing.rule == id).map(|firing| firing.priority.name());
            assert_eq!(held.max().unwrap_or("-"), *expected, "{id} at {value}, number {second}");
        }
    }
}

#[test]
fn a_pump_without_a_time_remaining_is_near_its_end_by_volume_and_rate() {
    let mut ward = Ward::new("pump-01");
    ward.is_stored = false;
    for (second, (infused, expected)) in (0..).zip(INFUSED) {
        let second = f64::from(second);
        ward.feed(
            second,
            second,
            vec![
                Reading::number(Metric::PUMP_VTBI, 50, Unit::MILLILITRE),
                Reading::number(Metric::PUMP_RATE, 10, Unit::ML_PER_HOUR),
                Reading::number(
                    Metric::PUMP_VI,
                    infused.parse::<Decimal>().unwrap(),
                    Unit::MILLILITRE,
                ),
            ],
        );
        let all = ward.engine.episodes.values().flat_map(|episode| episode.firing.values());
        let held = all.map(|firing| firing.priority.name()).max().unwrap_or("-");
        assert_eq!(held, expected, "{infused} mL");
    }
}

#[test]
fn every_limit_of_what_is_looked_after_holds_and_ends_where_it_is_written() {
    for (id, values) in UPKEEP {
        let mut county = Engine::new(SiteId::county(), Subject::Box);
        let heping = SiteId::new("heping").unwrap();
        for (second, (value, expected)) in (0..).zip(values) {
            let (now, value): (_, i64) = (at(f64::from(second)), value.parse().unwrap());
            let (free_pct, until) = match id {
                "TECH-STORAGE" => (u8::try_from(value).ok(), None),
                _ => (None, Some(after(now, value * 3_600_000))),
            };
            county.hear_upkeep(&RULES, now, &heping, free_pct, until);
            let held = county.alerts().filter(|alert| alert.rules == [id]);
            let held: Vec<&str> = held.map(|alert| alert.priority.name()).collect();
            let expected: &[&str] = if *expected == "-" { &[] } else { &[*expected] };
            assert_eq!(held, expected, "{id} at {value}, number {second}");
        }
    }
}

#[test]
fn every_target_of_a_programme_is_missed_where_it_is_written() {
    for (id, (who, class, meal), [inside, near, outside, beyond]) in TARGETS {
        let profile = match who {
            "general" => Profile { hypertension: true, ..aged(779) },
            "elderly" => Profile { hypertension: true, ..aged(780) },
            "diabetes" => Profile { diabetes: true, ..aged(600) },
            _ => Profile { pregnant_until: Some(at(1e6)), ..aged(360) },
        };
        for (value, missed) in [(inside, false), (near, false), (outside, true), (beyond, true)] {
            let metric = metric_of(class);
            let unit = metric.row().canonical_unit.clone().unwrap();
            let reading = Reading::number(metric, value.parse::<Decimal>().unwrap(), unit);
            let device = DeviceId::new("any-01").unwrap();
            let mut group = ReadingGroup::new(device, Ward::observed(0.0), vec![reading]);
            if let Some(meal) = meal {
                group = group.with_context("meal", meal);
            }
            let told = RULES.follow_up(&profile, &group, at(0.0), true);
            let told = told.iter().find(|told| told.rule == id).unwrap_or_else(|| panic!("{id}"));
            assert_eq!(told.out_of_target, missed, "{id} at {value}");
        }
    }
}

#[test]
fn every_score_is_told_from_its_points_on() {
    // Respiration, pulse, temperature, oxygen: no item has three points but respiration of 25.
    let set = |respiration: i32, pulse: i32, temperature: &str, oxygen| Observations {
        respiration: Some(respiration.into()),
        spo2: Some(97.into()),
        oxygen: Some(oxygen),
        systolic: Some(120.into()),
        pulse: Some(pulse.into()),
        consciousness: Some(Consciousness::Alert),
        check: false,
        temperature: Some(temperature.parse().unwrap()),
    };
    for (total, set, expected) in [
        (4, set(24, 130, "38.0", false), &[][..]),
        (5, set(24, 130, "38.1", false), &["NEWS2-M"]),
        (6, set(24, 130, "38.0", true), &["NEWS2-M"]),
        (7, set(24, 130, "38.1", true), &["NEWS2-H"]),
        (2, set(24, 90, "38.0", false), &[]),
        (3, set(25, 90, "38.0", false), &["NEWS2-3IN1"]),
    ] {
        let mut ward = Ward::of(aged(192));
        let scored = ward.engine.on_observations(ward.rules, at(1.0), at(1.0), &set);
        let (score, told) = scored;
        assert_eq!(score.unwrap().total(), total);
        let rules: Vec<&String> = told.iter().flat_map(|alert| &alert.rules).collect();
        assert_eq!(rules, expected, "{total} points");
        // And back: no points at all.
        let none = Observations {
            respiration: Some(18.into()),
            pulse: Some(80.into()),
            oxygen: Some(false),
            temperature: Some("37.0".parse().unwrap()),
            ..set
        };
        ward.engine.on_observations(ward.rules, at(2.0), at(2.0), &none);
        assert!(ward.engine.alerts().all(|alert| !alert.state.is_active()));
    }
}

#[test]
fn ketones_count_from_their_limit_on() {
    for (ketone, holds) in [("2.9", false), ("3.0", true), ("3.1", true)] {
        let mut ward = Ward::of(aged(600));
        ward.number(0.0, Metric::KETONE, ketone);
        ward.number(1.0, Metric::GLU_CAP_PL, "11.1");
        assert_eq!(ward.has("glucose_high"), holds, "{ketone}");
    }
}
