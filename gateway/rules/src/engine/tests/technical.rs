//! Steps of technical rules, and states of before.

use super::*;

fn monitored(yes: bool) -> Profile {
    Profile { monitored: yes, ..aged(600) }
}

#[test]
fn leads_off_rise_after_two_minutes_while_somebody_relies_on_the_monitor() {
    let mut ward = Ward::of(monitored(true));
    ward.alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
    assert_eq!(ward.only().priority, Priority::Low);
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(120.0)));
    ward.pass_time(119.0);
    assert_eq!(ward.only().priority, Priority::Low);
    ward.pass_time(120.0);
    assert_eq!((ward.only().priority, ward.raised().len()), (Priority::Medium, 1));
    // What is next is that nobody comes.
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(420.0)));

    let mut ward = Ward::of(monitored(false));
    ward.alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
    ward.pass_time(3600.0);
    assert_eq!(ward.only().priority, Priority::Low);
    // Now somebody does.
    ward.change(3601.0, monitored(true));
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn a_probe_on_the_bed_rises_too() {
    let mut ward = Ward::of(monitored(true));
    ward.stream(0, 5, Metric::TEMP, "22.0");
    ward.pass_time(119.0);
    assert_eq!(
        (ward.only().rules[0].as_str(), ward.only().priority),
        ("TECH-PROBEOFF", Priority::Low)
    );
    ward.pass_time(120.0);
    assert_eq!(ward.only().priority, Priority::Medium);
    ward.number(121.0, Metric::TEMP, "22.0");
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn a_cuff_that_cannot_measure_rises_after_two_minutes_and_ends_with_its_device() {
    for (profile, later) in [(monitored(true), Priority::Medium), (monitored(false), Priority::Low)]
    {
        let mut ward = Ward::of(profile);
        ward.alarm(0.0, AlarmKind::CuffError, AlarmPhase::Start);
        ward.pass_time(119.0);
        assert_eq!(
            (ward.only().rules[0].as_str(), ward.only().priority),
            ("TECH-CUFF", Priority::Low)
        );
        ward.pass_time(120.0);
        assert_eq!(ward.only().priority, later);
        ward.alarm(121.0, AlarmKind::CuffError, AlarmPhase::End);
        assert!(ward.engine.alerts().all(|alert| !alert.state.is_active()));
    }
}

#[test]
fn silence_rises_in_steps_and_is_high_for_whom_is_monitored() {
    for (profile, last) in [(monitored(true), Priority::High), (monitored(false), Priority::Medium)]
    {
        let mut ward = Ward::of(profile);
        ward.status(0.0, DeviceKind::Monitor, DeviceState::Silent);
        ward.pass_time(29.0);
        assert_eq!(ward.engine.alerts().count(), 0);
        let steps = [
            (30.0, Priority::Low),
            (179.0, Priority::Low),
            (180.0, Priority::Medium),
            (599.0, Priority::Medium),
            (600.0, last),
        ];
        for (second, priority) in steps {
            ward.pass_time(second);
            assert_eq!(ward.only().priority, priority, "after {second} s");
        }
    }
}

#[test]
fn a_box_that_serves_somebody_monitored_is_high_after_ten_minutes() {
    let mut edge = Ward::new("heping");
    edge.change(0.0, Profile { monitored: true, ..Profile::default() });
    edge.engine.box_lost(at(0.0));
    edge.pass_time(599.0);
    assert_eq!(edge.only().priority, Priority::Medium);
    edge.pass_time(600.0);
    assert_eq!(edge.only().priority, Priority::High);
}

#[test]
fn a_stopped_pump_rises_after_five_minutes() {
    let mut ward = Ward::new("pump-01");
    ward.alarm(0.0, AlarmKind::Stopped, AlarmPhase::Start);
    ward.pass_time(299.0);
    assert_eq!(
        (ward.only().rules[0].as_str(), ward.only().priority),
        ("PUMP-STOPPED", Priority::Low)
    );
    ward.pass_time(300.0);
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn a_value_whose_unit_or_scale_cannot_be_meant_is_said_until_one_comes_that_can() {
    let number = |metric, value: &str, unit| {
        Reading::number(metric, value.parse::<Decimal>().unwrap(), unit)
    };
    let kpa_as_mmhg = vec![
        number(Metric::NIBP_SYS, "24", Unit::MM_HG),
        number(Metric::NIBP_DIA, "14", Unit::MM_HG),
    ];
    let cases = [
        vec![number(Metric::TEMP, "370", Unit::CELSIUS)],
        vec![number(Metric::NIBP_SYS, "16.0", Unit::MM_HG)],
        vec![number(Metric::HR, "72", Unit::MM_HG)],
        kpa_as_mmhg,
    ];
    let at_the_box: &'static RuleSet = Box::leak(Box::new(RULES.clone().at_the_box()));
    for rules in [&*RULES, at_the_box] {
        for readings in &cases {
            let mut ward = Ward::of(aged(600));
            ward.rules = rules;
            ward.feed(0.0, 0.0, readings.clone());
            let alert = ward.alert("tech_unit").clone();
            assert_eq!((alert.rules[0].as_str(), alert.priority), ("TECH-UNIT", Priority::Low));
            assert_eq!(alert.id, AlertId::new(&alert.site, "ecg-01", "tech_unit", at(0.0)));
            assert_eq!((alert.metric, alert.value), (Some(readings[0].metric), None));
            // Another device of the patient has nothing to do with it.
            ward.hand_to("ecg-02", DeviceKind::Monitor, 1.0);
            let good = [
                (Metric::TEMP, "37.0"),
                (Metric::NIBP_SYS, "120"),
                (Metric::NIBP_DIA, "80"),
                (Metric::HR, "72"),
            ];
            for (metric, value) in good {
                ward.number(2.0, metric, value);
            }
            assert_eq!(ward.alert("tech_unit").state, AlertState::ActiveUnack);
            ward.hand_to("ecg-01", DeviceKind::Monitor, 3.0);
            for (metric, value) in good {
                ward.number(4.0, metric, value);
            }
            assert!(!ward.has("tech_unit"), "{readings:?}");
        }
    }
}

#[test]
fn a_value_that_cannot_be_runs_no_rule_and_one_that_nearly_cannot_says_so() {
    let pressure = |sys: u32| vec![Reading::number(Metric::NIBP_SYS, sys, Unit::MM_HG)];
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(19));
    ward.feed(60.0, 60.0, pressure(321));
    assert_eq!(ward.raised(), ["TECH-UNIT"]);
    ward.feed(120.0, 120.0, pressure(20));
    let alert = ward.alert("bp_low");
    assert_eq!(alert.rules, ["BP-AD-SLL", "BP-AD-SL"]);
    assert!(alert.message_zh.ends_with("请核对"), "{alert:?}");
}

#[test]
fn values_that_do_not_fit_each_other_or_are_none_say_nothing_of_the_unit() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(80, 120));
    ward.absent(1.0, Metric::TEMP, NoData::SensorOff);
    ward.in_unit(2.0, Metric::NIBP_SYS, "16.0", Unit::KILOPASCAL);
    assert!(!ward.has("tech_unit"));
}

#[test]
fn a_rule_that_the_next_rule_set_does_not_have_ends_with_the_next_reading() {
    let file = include_str!("../../../../../configs/rules/default.json");
    // At both ends, also where whoever wrote it left the version as it was.
    for (version, at_the_box) in
        [("next", false), ("next", true), ("0.2-draft", false), ("0.2-draft", true)]
    {
        let mut file: serde_json::Value = serde_json::from_str(file).unwrap();
        file["rules"].as_array_mut().unwrap().retain(|rule| rule["id"] != "RR-AD-LL");
        file["meta"]["version"] = version.into();
        let next = RuleSet::from_json(&file.to_string()).unwrap();
        let next = if at_the_box { next.at_the_box() } else { next };
        let mut ward = Ward::new("ecg-01");
        ward.stream(0, 40, Metric::RR, "7");
        assert_eq!(ward.only().rules, ["RR-AD-LL"]);
        ward.store_and_load();
        ward.rules = Box::leak(Box::new(next));
        ward.told.clear();
        ward.number(40.0, Metric::SPO2, "97");
        assert_eq!(ward.told[0].state, AlertState::ClearedUnack, "{version} {at_the_box}");
    }
}

/// What the county of before stored: an engine of a device, with a low heart rate, a high pressure,
/// an occlusion and a lead that is off.
const OF_BEFORE: &str = include_str!("engine_of_a_device.json");

#[test]
fn a_state_of_when_engines_were_of_devices_goes_on() {
    let mut ward = Ward::new("ecg-01");
    ward.engine = serde_json::from_str(OF_BEFORE).unwrap();
    assert_eq!(*ward.engine.subject(), Subject::Device(ward.device.clone()));
    let ids: BTreeMap<_, _> =
        ward.engine.alerts().map(|alert| (alert.family.clone(), alert.id)).collect();
    assert_eq!(ids.len(), 4);
    // Each goes on, as the same alert, and ends by what ends it.
    ward.alarm(14.0, AlarmKind::LeadOff, AlarmPhase::End);
    ward.alarm(15.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    ward.feed(20.0, 20.0, vec![Reading::number(Metric::NIBP_SYS, 130, Unit::MM_HG)]);
    ward.stream(14, 60, Metric::HR, "72");
    let ended: BTreeMap<_, _> =
        ward.told.iter().map(|alert| (alert.family.clone(), alert)).collect();
    assert_eq!(
        ended.iter().map(|(family, it)| (family.clone(), it.id)).collect::<BTreeMap<_, _>>(),
        ids
    );
    assert!(ended.values().all(|alert| !alert.state.is_active()), "{ended:#?}");
}

/// A strap or an oximeter says itself that it measures nobody.
fn off(ward: &mut Ward, second: f64, metrics: &[Metric]) {
    let reading = |metric: &Metric| Reading::no_data(*metric, NoData::SensorOff);
    ward.feed(second, second, metrics.iter().map(reading).collect());
}

#[test]
fn a_strap_without_contact_and_an_oximeter_without_a_finger_are_alerts_until_they_have_a_value() {
    for (kind, metrics, rule, value) in [
        (DeviceKind::EcgStrap, &[Metric::HR][..], "TECH-LEADOFF", "72"),
        (DeviceKind::Oximeter, &[Metric::SPO2, Metric::PULSE_OXIM], "TECH-PROBEOFF", "97"),
    ] {
        let mut ward = Ward::of(monitored(true));
        ward.hand_to("worn-01", kind, 0.0);
        off(&mut ward, 10.0, metrics);
        let alert = ward.only().clone();
        assert_eq!((&*alert.rules, alert.priority), (&[rule.to_owned()][..], Priority::Low));
        assert_eq!((alert.started_at, alert.device.as_str()), (at(10.0), "worn-01"));
        // It looks for a signal: that is none yet.
        ward.absent(11.0, metrics[0], NoData::Searching);
        off(&mut ward, 12.0, metrics);
        ward.pass_time(129.0);
        assert_eq!((ward.only().id, ward.only().priority), (alert.id, Priority::Low));
        ward.pass_time(130.0);
        assert_eq!(ward.only().priority, Priority::Medium);
        off(&mut ward, 131.0, metrics);
        assert_eq!((ward.only().id, ward.only().priority), (alert.id, Priority::Medium));
        for (second, metric) in [132.0, 133.0].into_iter().zip(metrics) {
            assert_eq!(ward.only().state, AlertState::ActiveUnack);
            ward.number(second, *metric, value);
        }
        assert!(!ward.told.last().unwrap().state.is_active());
        // Nobody is marked as monitored: it stays low, and is over with the value.
        let mut ward = Ward::of(monitored(false));
        ward.hand_to("worn-01", kind, 0.0);
        off(&mut ward, 10.0, metrics);
        ward.pass_time(600.0);
        assert_eq!(ward.only().priority, Priority::Low);
        for (second, metric) in [601.0, 602.0].into_iter().zip(metrics) {
            ward.number(second, *metric, value);
        }
        assert_eq!(ward.engine.alerts().count(), 0);
    }
}

#[test]
fn a_sensor_of_which_the_device_signals_that_it_is_off_is_one_alert() {
    let mut ward = Ward::new("ecg-01");
    ward.alarm(5.0, AlarmKind::LeadOff, AlarmPhase::Start);
    let id = ward.only().id;
    for second in 5..20_u32 {
        ward.absent(f64::from(second), Metric::HR, NoData::LeadOff);
        ward.absent(f64::from(second), Metric::RR_IMP, NoData::SensorOff);
    }
    assert_eq!((ward.only().id, ward.only().recurrences), (id, 0));
    ward.alarm(20.0, AlarmKind::LeadOff, AlarmPhase::End);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    ward.number(20.5, Metric::HR, "72");
    ward.number(20.5, Metric::RR_IMP, "16");
    assert_eq!(ward.engine.alerts().count(), 0);
}

#[test]
fn a_sensor_that_is_switched_off_or_taken_away_is_not_off_any_more() {
    for over in [NoData::Off, NoData::NotAvailable] {
        let mut ward = Ward::new("ecg-01");
        off(&mut ward, 0.0, &[Metric::SPO2]);
        ward.absent(5.0, Metric::SPO2, over);
        assert_eq!(ward.engine.alerts().count(), 0);
    }
    let mut ward = Ward::new("ecg-01");
    off(&mut ward, 0.0, &[Metric::SPO2]);
    ward.status(5.0, DeviceKind::Monitor, DeviceState::Removed);
    assert_eq!(ward.engine.alerts().count(), 0);
    // One that comes back begins anew.
    ward.status(300.0, DeviceKind::Monitor, DeviceState::Online);
    off(&mut ward, 400.0, &[Metric::SPO2]);
    assert_eq!(ward.only().started_at, at(400.0));
}

#[test]
fn how_long_a_sensor_may_be_off_before_it_is_told_the_rule_says() {
    let mut file: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../configs/rules/default.json")).unwrap();
    let rules = file["rules"].as_array_mut().unwrap().iter_mut();
    let rule = rules.into_iter().find(|rule| rule["id"] == "TECH-PROBEOFF").unwrap();
    rule["steps"][0]["after_s"] = 5.into();
    let mut ward = Ward::new("ecg-01");
    ward.rules = Box::leak(Box::new(RuleSet::from_json(&file.to_string()).unwrap()));
    for second in [0.0, 4.0] {
        off(&mut ward, second, &[Metric::SPO2]);
    }
    ward.number(5.0, Metric::SPO2, "97");
    for second in [20.0, 24.9] {
        off(&mut ward, second, &[Metric::SPO2]);
    }
    assert!(ward.told.is_empty());
    off(&mut ward, 25.0, &[Metric::SPO2]);
    assert_eq!(
        (ward.only().rules[0].as_str(), ward.only().started_at),
        ("TECH-PROBEOFF", at(20.0))
    );
}

#[test]
fn a_battery_is_told_by_the_rule_of_its_device() {
    for (kind, alarm, rule, priority) in [
        (DeviceKind::Pump, AlarmKind::BatteryLow, "DEV-PUMP-BATT-LOW", Priority::Medium),
        (DeviceKind::Pump, AlarmKind::BatteryEmpty, "DEV-PUMP-BATT-DEPL", Priority::High),
        (DeviceKind::Monitor, AlarmKind::BatteryLow, "BATT-LOW", Priority::Low),
        (DeviceKind::Thermometer, AlarmKind::BatteryLow, "BATT-LOW", Priority::Low),
        (DeviceKind::Oximeter, AlarmKind::BatteryEmpty, "BATT-LOW", Priority::Medium),
    ] {
        let mut ward = Ward::of(aged(600));
        ward.hand_to("any-01", kind, 0.0);
        ward.alarm(1.0, alarm, AlarmPhase::Start);
        let alert = ward.only();
        assert_eq!((alert.rules[0].as_str(), alert.priority), (rule, priority), "{kind:?}");
        ward.alarm(9.0, alarm, AlarmPhase::End);
        assert!(!ward.told.last().unwrap().state.is_active(), "{kind:?}");
    }
}

#[test]
fn a_meter_that_calls_its_battery_low_is_one_alert_with_what_its_charge_says() {
    let says = |ward: &mut Ward, second: f64, state: &str| {
        ward.feed(second, second, vec![Reading::text(Metric::BATT_STATE, state)]);
    };
    let mut ward = Ward::new("glu-01");
    ward.hand_to("glu-01", DeviceKind::GlucoseMeter, 0.0);
    ward.status(0.0, DeviceKind::GlucoseMeter, DeviceState::Online);
    says(&mut ward, 1.0, "ok");
    assert!(ward.told.is_empty());
    says(&mut ward, 2.0, "low");
    assert_eq!((ward.only().rules[0].as_str(), ward.only().priority), ("BATT-LOW", Priority::Low));
    let id = ward.only().id;
    ward.number(3.0, Metric::BATT_PCT, "9");
    assert_eq!((ward.only().id, ward.only().priority), (id, Priority::Medium));
    ward.number(4.0, Metric::BATT_PCT, "90");
    says(&mut ward, 5.0, "low");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    says(&mut ward, 6.0, "ok");
    assert!(!ward.told.last().unwrap().state.is_active());
    // A meter says only that it is low; its next result without that word is of a new battery.
    let result = |ward: &mut Ward, second: f64, is_low: bool| {
        let mut readings = vec![Reading::number(Metric::GLU_CAP_PL, 100, Unit::MG_PER_DL)];
        readings.extend(is_low.then(|| Reading::text(Metric::BATT_STATE, "low")));
        let group = ReadingGroup::new(ward.device.clone(), Ward::observed(second), readings);
        ward.feed_group(&ReadingGroup { occurrence: Occurrence::Spot, ..group }, second);
    };
    result(&mut ward, 10.0, true);
    assert_eq!(ward.alert("batt_low").state, AlertState::ActiveUnack);
    // An older one says nothing of now.
    result(&mut ward, 5.0, false);
    assert_eq!(ward.alert("batt_low").state, AlertState::ActiveUnack);
    result(&mut ward, 60.0, false);
    assert_eq!(ward.alert("batt_low").state, AlertState::ClearedUnack, "it was medium, and unseen");
}

#[test]
fn a_battery_of_a_device_that_is_not_here_is_no_affair_of_the_patient() {
    // A result of a meter on nobody was given to them: of the meter itself they know nothing.
    let mut ward = Ward::of(aged(600));
    ward.device = DeviceId::new("glu-09").unwrap();
    let readings = vec![
        Reading::number(Metric::GLU_CAP_PL, 100, Unit::MG_PER_DL),
        Reading::text(Metric::BATT_STATE, "low"),
    ];
    let group = ReadingGroup::new(ward.device.clone(), Ward::observed(1.0), readings);
    ward.feed_group(&ReadingGroup { occurrence: Occurrence::Spot, ..group }, 1.0);
    assert_eq!(ward.engine.alerts().count(), 0);
}

#[test]
fn a_temperature_probe_that_has_never_measured_is_not_off() {
    let mut ward = Ward::new("ecg-01");
    for second in 0..200 {
        off(&mut ward, f64::from(second), &[Metric::TEMP]);
    }
    assert_eq!(ward.engine.alerts().count(), 0);
    ward.number(200.0, Metric::TEMP, "36.6");
    off(&mut ward, 201.0, &[Metric::TEMP]);
    assert_eq!(ward.only().rules, ["TECH-PROBEOFF"]);
}

/// A pump that has said how it stands and what is left.
fn pump_says(ward: &mut Ward, second: f64, state: &str, left: &str) -> Option<(String, Priority)> {
    let left: Decimal = left.parse().unwrap();
    let left = Reading::number(Metric::PUMP_VTBI_REM, left, Unit::MILLILITRE);
    ward.feed(second, second, vec![left, Reading::text(Metric::PUMP_STATE, state)]);
    let mut active = ward.engine.alerts().filter(|alert| alert.condition().is_active());
    active.next().map(|alert| (alert.rules[0].clone(), alert.priority))
}

#[test]
fn a_pump_that_somebody_stopped_with_volume_left_is_told_by_what_it_says() {
    let mut ward = Ward::new("pump-01");
    let stopped = |priority| Some(("PUMP-STOPPED".to_owned(), priority));
    // Being prepared it has not stopped.
    assert_eq!(pump_says(&mut ward, 0.0, "ready", "50"), None);
    assert_eq!(pump_says(&mut ward, 400.0, "ready", "50"), None);
    assert_eq!(pump_says(&mut ward, 405.0, "infusing", "50"), None);
    assert_eq!(pump_says(&mut ward, 500.0, "paused", "30"), stopped(Priority::Low));
    assert_eq!(ward.only().value.as_deref(), Some("30.0"));
    assert_eq!(pump_says(&mut ward, 799.0, "paused", "30"), stopped(Priority::Low));
    ward.store_and_load();
    assert_eq!(pump_says(&mut ward, 800.0, "ready", "30"), stopped(Priority::Medium));
    assert_eq!(ward.only().started_at, at(500.0));
    assert_eq!(pump_says(&mut ward, 805.0, "infusing", "30"), None);
}

#[test]
fn a_pump_that_is_empty_off_or_set_anew_has_not_stopped_with_volume_left() {
    for (state, left) in [("ready", "0"), ("off", "30"), ("standby", "30"), ("ready", "50")] {
        let mut ward = Ward::new("pump-01");
        assert_eq!(pump_says(&mut ward, 0.0, "infusing", "40"), None);
        assert_eq!(pump_says(&mut ward, 5.0, state, left), None, "{state} with {left} mL");
    }
    // Empty, and the next syringe is being prepared.
    let mut ward = Ward::new("pump-01");
    for (second, state, left) in [
        (0.0, "infusing", "40"),
        (5.0, "infusing", "0"),
        (10.0, "ready", "0"),
        (15.0, "ready", "50"),
    ] {
        assert_eq!(pump_says(&mut ward, second, state, left), None, "{state} with {left} mL");
    }
    // What its state is nobody knows while it is in alarm; that has its own alert.
    let mut ward = Ward::new("pump-01");
    pump_says(&mut ward, 0.0, "infusing", "40");
    assert_eq!(pump_says(&mut ward, 5.0, "alarm", "39"), None);
    // Nothing is heard of it: it goes on as it was.
    assert!(pump_says(&mut ward, 10.0, "ready", "39").is_some());
    ward.absent(15.0, Metric::PUMP_STATE, NoData::Silent);
    assert!(ward.only().condition().is_active());
}
