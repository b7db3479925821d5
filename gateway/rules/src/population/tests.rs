//! Which rules apply to whom.

use super::*;
use crate::rule::RuleSet;
use model::time::civil_ms;

const DEFAULT: &str = include_str!("../../../../configs/rules/default.json");

fn rules() -> RuleSet {
    RuleSet::from_json(DEFAULT).unwrap()
}

/// Noon of a day in the clinics.
fn noon(year: i32, month: u32, day: u32) -> WallTime {
    WallTime::from_unix_ms(civil_ms(year, month, day, 4, 0, 0).unwrap())
}

fn now() -> WallTime {
    noon(2026, 11, 26)
}

fn aged(months: u32) -> Profile {
    Profile { birth: Birth::of_age(months, now()), ..Profile::default() }
}

fn later(hours: i64) -> WallTime {
    WallTime::from_unix_ms(now().unix_ms() + hours * 3_600_000)
}

/// The limit of a rule for a patient, as it is printed.
fn limit_of(profile: &Profile, rule: &str) -> Option<String> {
    let limits = rules().limits_of(profile, now());
    limits.into_iter().find(|limit| limit.rule == rule).map(|limit| limit.limit.to_string())
}

#[test]
fn everybody_has_one_base_at_every_age() {
    let rules = rules();
    let bases = [
        ("p00_03m", 0, 3),
        ("p03_06m", 3, 6),
        ("p06_12m", 6, 12),
        ("p01_02y", 12, 24),
        ("p02_04y", 24, 48),
        ("p04_06y", 48, 72),
        ("p06_08y", 72, 96),
        ("p08_12y", 96, 144),
        ("p12_15y", 144, 180),
        ("p15_18y", 180, 216),
        ("adult", 216, 1200),
    ];
    for (name, from, to) in bases {
        for months in [from, to - 1] {
            let populations = rules.populations_of(&aged(months), now());
            let base: Vec<_> =
                populations.iter().filter(|it| bases.iter().any(|(id, ..)| id == *it)).collect();
            assert_eq!(base, [&name], "{months} months: {populations:?}");
        }
    }
    assert!(rules.populations_of(&Profile::default(), now()).contains(&"adult"));
}

#[test]
fn age_groups_go_by_months_and_neonates_by_days() {
    let rules = rules();
    let born = |year, month, day| {
        let birth = Birth::new(year, month, day);
        let profile = Profile { birth, ..Profile::default() };
        let mut groups = rules.populations_of(&profile, now());
        groups.retain(|id| id.starts_with("infant") || id.starts_with("child") || *id == "neonate");
        groups.join(" ")
    };
    assert_eq!(born(2026, 10, Some(30)), "child neonate infant_0_3m");
    assert_eq!(born(2026, 10, Some(29)), "child infant_0_3m");
    assert_eq!(born(2026, 11, None), "child infant_0_3m");
    assert_eq!(born(2026, 10, Some(26)), "child infant_0_3m infant_1_12m");
    assert_eq!(born(2026, 8, Some(26)), "child infant_1_12m");
    assert_eq!(born(2025, 11, Some(26)), "child child_1_10y");
    assert_eq!(born(2015, 11, Some(26)), "child child_11_17y");
    assert_eq!(born(2008, 11, Some(26)), "");
}

#[test]
fn a_limit_rises_with_completed_years() {
    for (months, limit) in [(12, "72"), (23, "72"), (24, "74"), (131, "90")] {
        assert_eq!(limit_of(&aged(months), "BP-PED-SLL-1").as_deref(), Some(limit), "{months}");
    }
    assert_eq!(limit_of(&aged(132), "BP-PED-SLL-1"), None);
}

#[test]
fn an_overlay_replaces_what_it_names_and_nothing_else() {
    let old = aged(780);
    assert_eq!(limit_of(&old, "HR-EL-L").as_deref(), Some("45"));
    assert_eq!(limit_of(&old, "HR-AD-L"), None);
    assert_eq!(limit_of(&old, "HR-AD-LL").as_deref(), Some("40"));
    assert_eq!(limit_of(&aged(779), "HR-AD-L").as_deref(), Some("50"));
    let pregnant = Profile { pregnant_until: Some(later(1)), ..aged(360) };
    for (rule, limit) in [
        ("BP-PR-SH", Some("140")),
        ("BP-AD-SH", None),
        ("BP-AD-SHH", Some("220")),
        ("SPO2-AD-L", Some("90")),
        ("SPO2-PR-L", Some("95")),
    ] {
        assert_eq!(limit_of(&pregnant, rule).as_deref(), limit, "{rule}");
    }
    let over = Profile { pregnant_until: Some(now()), ..aged(360) };
    assert_eq!(limit_of(&over, "BP-AD-SH").as_deref(), Some("180"));
    // Glucose of a newborn: one rule of children replaces another.
    let neonate = Profile { birth: Birth::new(2026, 11, Some(20)), ..Profile::default() };
    assert_eq!(limit_of(&neonate, "GLU-NEO-L").as_deref(), Some("2.6"));
    assert_eq!(limit_of(&neonate, "GLU-PED-L"), None);
    assert_eq!(limit_of(&aged(2), "GLU-PED-L").as_deref(), Some("3.9"));
}

#[test]
fn a_rule_for_those_on_oxygen_needs_an_entry_of_the_last_day() {
    let entered = |value, hours| Profile {
        scale2_until: Some(later(1)),
        oxygen: Some(Entry { value, at: later(hours) }),
        ..aged(840)
    };
    assert!(limit_of(&entered(true, -24), "SPO2-COPD-O2H").is_some());
    assert_eq!(limit_of(&entered(true, -25), "SPO2-COPD-O2H"), None);
    assert_eq!(limit_of(&entered(false, -1), "SPO2-COPD-O2H"), None);
    let unknown = Profile { oxygen: None, ..entered(true, 0) };
    assert_eq!(limit_of(&unknown, "SPO2-COPD-O2H"), None);
    assert_eq!(limit_of(&unknown, "SPO2-COPD-L").as_deref(), Some("86"));
}

#[test]
fn scores_are_not_for_children_nor_for_the_pregnant() {
    let rules = rules();
    let scored = |profile: &Profile| rules.populations_of(profile, now()).contains(&"news2");
    assert!(scored(&aged(192)) && !scored(&aged(191)));
    assert!(!scored(&Profile { pregnant_until: Some(later(1)), ..aged(360) }));
    assert!(!scored(&Profile::default()), "of whom nobody knows the age");
}

fn limit(rule: &str, limit: Option<&str>, hours: i64) -> Limit {
    Limit {
        rule: rule.to_owned(),
        limit: limit.map(str::to_owned),
        by: "dr-li".to_owned(),
        reason: "athlete".to_owned(),
        from: now(),
        until: later(hours),
    }
}

#[test]
fn a_limit_of_a_patient_beats_the_default_while_it_lasts() {
    let with = |it| Profile { limits: vec![it], ..aged(360) };
    assert_eq!(limit_of(&with(limit("HR-AD-L", Some("42"), 1)), "HR-AD-L").as_deref(), Some("42"));
    assert_eq!(limit_of(&with(limit("HR-AD-L", Some("42"), 0)), "HR-AD-L").as_deref(), Some("50"));
    assert_eq!(limit_of(&with(limit("HR-AD-L", None, 1)), "HR-AD-L"), None);
    // What a person has switched off does not bring back what it replaced.
    let old = Profile { limits: vec![limit("HR-EL-L", None, 1)], ..aged(800) };
    assert_eq!((limit_of(&old, "HR-EL-L"), limit_of(&old, "HR-AD-L")), (None, None));
}

#[test]
fn a_limit_says_what_is_wrong_with_it() {
    let check = |profile: &Profile, limit: &Limit| profile.check_limit(&rules(), limit).err();
    let implausible = |rule: &str, low: &str, high: &str| LimitError::Implausible {
        rule: rule.to_owned(),
        low: low.to_owned(),
        high: high.to_owned(),
    };
    let mut nobody = limit("HR-AD-L", Some("45"), 1);
    nobody.by = " ".to_owned();
    let mut no_reason = limit("HR-AD-L", Some("45"), 1);
    no_reason.reason = String::new();
    let name = |rule: &str| rule.to_owned();
    for (of_patient, mistake) in [
        (limit("HR-AD-L", Some("20"), 1), None),
        (limit("HR-AD-L", Some("19"), 1), Some(implausible("HR-AD-L", "20", "250"))),
        (limit("HR-AD-H", Some("251"), 1), Some(implausible("HR-AD-H", "20", "250"))),
        (limit("HR-AD-H", Some("often"), 1), Some(implausible("HR-AD-H", "20", "250"))),
        (limit("FU-GLU-F", Some("8.0"), 1), Some(LimitError::NoSuchRule(name("FU-GLU-F")))),
        // Of children, of the old, and of those with an order: nobody would look at it.
        (limit("BP-PED-SLL-1", Some("75"), 1), Some(LimitError::OfOthers(name("BP-PED-SLL-1")))),
        (limit("HR-EL-L", Some("42"), 1), Some(LimitError::OfOthers(name("HR-EL-L")))),
        (limit("SPO2-COPD-L", None, 1), Some(LimitError::OfOthers(name("SPO2-COPD-L")))),
        (limit("HR-AD-L", Some("45"), 0), Some(LimitError::NoEnd(name("HR-AD-L")))),
        (limit("HR-AD-LL", None, 24), None),
        (limit("HR-AD-LL", None, 25), Some(LimitError::OffTooLong(name("HR-AD-LL")))),
        (limit("HR-AD-L", None, 24 * 30), None),
        // Medium, and high once a second value confirms it.
        (limit("BP-AD-SH", None, 24), None),
        (limit("BP-AD-SH", None, 25), Some(LimitError::OffTooLong(name("BP-AD-SH")))),
        (limit("BP-AD-DH", None, 24 * 366), Some(LimitError::OffTooLong(name("BP-AD-DH")))),
        (limit("BP-AD-ML", None, 24 * 30), None),
        (nobody, Some(LimitError::NoAuthor(name("HR-AD-L")))),
        (no_reason, Some(LimitError::NoAuthor(name("HR-AD-L")))),
    ] {
        assert_eq!(check(&aged(360), &of_patient), mistake, "{of_patient:?}");
    }
    let many: Vec<String> = (0..LIMITS_MAX).map(|rule| format!("RULE-{rule}")).collect();
    let many = many.iter().map(|rule| limit(rule, Some("45"), 1)).collect();
    let full = Profile { limits: many, ..aged(360) };
    let next = limit("HR-AD-L", Some("45"), 1);
    assert_eq!(check(&full, &next), Some(LimitError::TooManyLimits));
    // One of the same rule goes.
    let mut limits = full.limits;
    limits[0] = limit("HR-AD-L", Some("44"), 1);
    assert_eq!(check(&Profile { limits, ..full }, &next), None);
}

#[test]
fn a_critical_value_is_switched_off_for_a_day_whatever_its_priority() {
    let mut file: serde_json::Value = serde_json::from_str(DEFAULT).unwrap();
    let rules = file["rules"].as_array_mut().unwrap();
    rules.iter_mut().find(|rule| rule["id"] == "HR-AD-L").unwrap()["critical_value"] = true.into();
    let critical = RuleSet::from_json(&file.to_string()).unwrap();
    let off = limit("HR-AD-L", None, 24 * 30);
    assert_eq!(off.ends_at(&self::rules()), later(24 * 30));
    assert_eq!(off.ends_at(&critical), later(24));
}

#[test]
fn a_rule_is_a_patients_until_another_takes_its_place() {
    let ordered = Profile { scale2_until: Some(later(1)), ..aged(360) };
    let pregnant = Profile { pregnant_until: Some(later(1)), ..aged(360) };
    for (profile, rule, has) in [
        (&aged(779), "HR-AD-L", true),
        (&aged(780), "HR-AD-L", false),
        (&aged(360), "SPO2-AD-L", true),
        (&ordered, "SPO2-AD-L", false),
        (&ordered, "SPO2-COPD-L", true),
        // It waits for oxygen, and is hers all the same.
        (&ordered, "SPO2-COPD-O2H", true),
        (&pregnant, "BP-AD-SH", false),
        (&aged(23), "HR-AD-L", false),
        (&aged(360), "RULE-OF-BEFORE", false),
    ] {
        assert_eq!(profile.has_rule(&rules(), rule, now()), has, "{rule}: {profile:?}");
    }
    // One that is off may be set anew.
    let off = Profile { limits: vec![limit("HR-AD-L", None, 1)], ..aged(360) };
    assert_eq!(off.check_limit(&rules(), &limit("HR-AD-L", Some("45"), 1)), Ok(()));
}

#[test]
fn what_was_set_by_other_rules_is_in_the_way_of_no_limit_and_switches_off_nothing_high() {
    // By the rules of then HR-AD-LL was medium, and RULE-1 was one.
    let long = limit("HR-AD-LL", None, 24 * 30);
    let kept = Profile { limits: vec![long.clone(), limit("RULE-1", None, 1)], ..aged(360) };
    assert_eq!(kept.check_limit(&rules(), &limit("HR-AD-L", Some("45"), 1)), Ok(()));
    assert_eq!(long.ends_at(&rules()), later(24));
    let is_in_force = |hours: i64| {
        let limits = rules().limits_of(&kept, later(hours));
        limits.iter().any(|limit| limit.rule == "HR-AD-LL")
    };
    assert_eq!((is_in_force(23), is_in_force(24)), (false, true));
}
