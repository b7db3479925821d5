//! Every default limit just inside, on and just outside, in both directions. What is expected is
//! computed here from the file, in steps of the last digit that is printed.

use super::*;
use model::metric::Class;
use serde_json::Value as Json;

/// A rule of the file with what it is expected to do. Values are in steps of the last digit.
struct Case {
    id: String,
    metric: Metric,
    decimals: i8,
    /// Below the limit is outside.
    low: bool,
    /// On the limit is outside.
    on_it: bool,
    limit: i64,
    sustain: u32,
    /// For streams: the value that clears, and how long it is held.
    clear: Option<(i64, u32)>,
    profile: Profile,
    ketone: bool,
}

fn steps(number: &Json, decimals: i8) -> i64 {
    let decimal: Decimal = number.to_string().parse().unwrap();
    let decimal = decimal.rounded(decimals.unsigned_abs()).unwrap();
    assert_eq!(decimal, number.to_string().parse().unwrap(), "finer than it is printed");
    decimal.mantissa()
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
        other => panic!("a default rule on {other}"),
    }
}

/// Somebody the rule is for: the youngest and the oldest of its age.
fn profiles(rule: &Json) -> Vec<(u32, Profile)> {
    let until = Some(at(1e6));
    match rule["population"].as_str().unwrap() {
        "adult" => vec![(216, aged(216)), (779, aged(779))],
        "elderly65" => vec![(780, aged(780)), (1200, aged(1200))],
        "pregnant" => vec![(360, Profile { pregnant_until: until, ..aged(360) })],
        "scale2" => {
            let oxygen = Some(Entry { value: true, at: at(-1.0) });
            vec![(840, Profile { scale2_until: until, oxygen, ..aged(840) })]
        }
        "neonate" => vec![(0, aged(0))],
        _ => {
            let bound = |place| u32::try_from(rule["age_months"][place].as_u64().unwrap()).unwrap();
            // Newborns have a rule of their own in the place of the one of all children.
            let youngest = if rule["id"] == "GLU-PED-L" { 1 } else { bound(0) };
            [youngest, bound(1) - 1].map(|months| (months, aged(months))).into()
        }
    }
}

fn cases() -> Vec<Case> {
    let file: Json =
        serde_json::from_str(include_str!("../../../../../configs/rules/default.json")).unwrap();
    let mut cases = Vec::new();
    for rule in file["rules"].as_array().unwrap() {
        if rule["type"] != "threshold" || rule["route"] == "follow_up" {
            continue;
        }
        for (months, profile) in profiles(rule) {
            let class = rule["class"].as_str().unwrap();
            let decimals =
                Class::from_name(class).unwrap().metrics().next().unwrap().row().decimals;
            let decimals = i8::try_from(decimals.unwrap()).unwrap();
            let seconds = |it: &Json| u32::try_from(it.as_u64().unwrap()).unwrap();
            let op = rule["op"].as_str().unwrap();
            let per_year = rule["threshold"].get("per_year").map_or(0, |it| steps(it, decimals));
            let clear = rule["clear"].get("hold_s").map(|hold| {
                let clear_op = rule["clear"]["op"].as_str().unwrap();
                assert_eq!(clear_op, if op.starts_with('<') { ">=" } else { "<=" });
                (steps(&rule["clear"]["value"], decimals), seconds(hold))
            });
            cases.push(Case {
                id: rule["id"].as_str().unwrap().to_owned(),
                metric: metric_of(class),
                decimals,
                low: op.starts_with('<'),
                on_it: op.ends_with('='),
                limit: steps(&rule["threshold"]["base"], decimals)
                    + per_year * i64::from(months / 12),
                sustain: seconds(&rule["sustain_s"]),
                clear,
                profile,
                ketone: rule.get("also").is_some(),
            });
        }
    }
    cases
}

impl Case {
    fn ward(&self) -> Ward {
        let mut ward = Ward::of(self.profile.clone());
        ward.is_stored = false;
        if self.ketone {
            ward.number(0.0, Metric::KETONE, "3.0");
        }
        ward
    }

    /// So many steps towards what is dangerous.
    fn beyond(&self, from: i64, steps: i64) -> i64 {
        if self.low { from - steps } else { from + steps }
    }

    fn feed(&self, ward: &mut Ward, second: u32, value: i64) {
        let value = Decimal::new(value, -self.decimals).unwrap().to_string();
        ward.number(f64::from(second), self.metric, &value);
    }

    fn holds(&self, ward: &Ward) -> bool {
        ward.engine.alerts().any(|alert| alert.state.is_active() && alert.rules.contains(&self.id))
    }

    #[track_caller]
    fn check(&self, ward: &Ward, expected: bool, what: &str) {
        assert_eq!(self.holds(ward), expected, "{} {what}", self.id);
    }
}

#[test]
fn every_limit_raises_just_outside_and_not_just_inside() {
    let cases = cases();
    for case in &cases {
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
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), 110);
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
            if !clears {
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
fn ketones_count_from_their_limit_on() {
    for (ketone, holds) in [("2.9", false), ("3.0", true), ("3.1", true)] {
        let mut ward = Ward::of(aged(600));
        ward.number(0.0, Metric::KETONE, ketone);
        ward.number(1.0, Metric::GLU_CAP_PL, "11.1");
        assert_eq!(ward.has("glucose_high"), holds, "{ketone}");
    }
}
