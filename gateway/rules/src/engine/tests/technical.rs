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
    assert_eq!(ward.engine.next_deadline(ward.rules), None);

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
