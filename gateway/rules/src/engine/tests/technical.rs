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
    ward.pass_time(120.0);
    assert_eq!(ward.only().priority, Priority::Medium);
    ward.number(121.0, Metric::TEMP, "22.0");
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn silence_is_high_after_ten_minutes_for_whom_is_monitored() {
    for (profile, priority) in
        [(monitored(true), Priority::High), (monitored(false), Priority::Medium)]
    {
        let mut ward = Ward::of(profile);
        ward.status(0.0, DeviceKind::Monitor, DeviceState::Silent);
        ward.pass_time(600.0);
        assert_eq!(ward.only().priority, priority);
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
fn values_that_do_not_fit_each_other_or_are_none_say_nothing_of_the_unit() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(80, 120));
    ward.absent(1.0, Metric::TEMP, NoData::SensorOff);
    ward.in_unit(2.0, Metric::NIBP_SYS, "16.0", Unit::KILOPASCAL);
    assert!(!ward.has("tech_unit"));
}

#[test]
fn a_rule_that_the_next_rule_set_does_not_have_ends_with_the_next_reading() {
    let mut file: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../configs/rules/default.json")).unwrap();
    file["rules"].as_array_mut().unwrap().retain(|rule| rule["id"] != "RR-AD-LL");
    file["meta"]["version"] = "next".into();
    let next = RuleSet::from_json(&file.to_string()).unwrap();
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 40, Metric::RR, "7");
    assert_eq!(ward.only().rules, ["RR-AD-LL"]);
    let reading = vec![Reading::number(Metric::SPO2, 97, Unit::PERCENT)];
    let group = ReadingGroup::new(ward.device.clone(), Ward::observed(40.0), reading);
    let (t_meas, freshness) = (Moment::sure(at(40.0)), Freshness::Fresh);
    let input = ReadingInput { group: &group, t_meas, freshness };
    let told = ward.engine.on_readings(&next, at(40.0), input);
    assert_eq!(told[0].state, AlertState::ClearedUnack);
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
