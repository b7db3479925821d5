//! Devices that somebody took off.

use super::{
    edge::{place, told_of},
    life::{acknowledge, with},
    *,
};

const OXIMETER: &str = "oxi-01";

fn id(device: &str) -> DeviceId {
    DeviceId::new(device).unwrap()
}

/// A patient with a monitor and an oximeter, whose probe is off.
fn bed() -> Ward {
    let mut ward = Ward::of(aged(600));
    ward.hand_to(OXIMETER, DeviceKind::Oximeter, 0.0);
    ward.alarm(1.0, AlarmKind::ProbeOff, AlarmPhase::Start);
    ward
}

impl Ward {
    fn take_off(&mut self, device: &str, seconds: f64) {
        let told =
            self.engine.take_out_of_service(&id(device), "wang", "broken", None, at(seconds));
        self.told.extend(told.unwrap());
    }

    fn put_back(&mut self, device: &str, seconds: f64) {
        let told = self.engine.put_back_in_service(&id(device), "li", at(seconds));
        self.told.extend(told.unwrap());
    }

    fn asystole(&mut self, seconds: f64, phase: AlarmPhase) {
        self.hand_to("ecg-01", DeviceKind::Monitor, seconds);
        self.alarm(seconds, AlarmKind::Asystole, phase);
    }

    fn state(&self, family: &str) -> AlertState {
        self.alert(family).state
    }
}

#[test]
fn out_of_service_sets_aside_what_holds_and_what_begins_until_it_is_back() {
    let (mut ward, _) = with(Priority::High);
    let device = ward.device.clone();
    let out =
        ward.engine.take_out_of_service(&device, "wang", "being cleaned", None, at(12.0)).unwrap();
    assert_eq!((out.len(), out[0].state), (1, AlertState::OutOfService));
    ward.alarm(13.0, AlarmKind::LeadOff, AlarmPhase::Start);
    assert_eq!(ward.alert("tech_lead_off").state, AlertState::OutOfService);
    assert_eq!(ward.due_s(), None, "nobody is called");
    let taken = ActionError::OutOfService { by: "wang".into() };
    let id = ward.alert("hr_low").id;
    assert_eq!(ward.act_on(id, 14.0, "li", &acknowledge()), Err(taken.clone()));
    assert_eq!(ward.engine.take_out_of_service(&device, "li", "", None, at(14.0)), Err(taken));
    // What is over meanwhile whoever took it off knows.
    ward.alarm(15.0, AlarmKind::LeadOff, AlarmPhase::End);
    assert_eq!(ward.told.last().unwrap().state, AlertState::Closed);
    let back = ward.engine.put_back_in_service(&device, "li", at(900.0)).unwrap();
    assert_eq!((back.len(), back[0].state), (1, AlertState::ActiveUnack));
    assert_eq!(ward.due_s(), Some(900 + 60));
    assert_eq!(
        ward.engine.put_back_in_service(&device, "li", at(901.0)),
        Err(ActionError::InService)
    );
}

#[test]
fn what_is_taken_off_until_a_moment_is_back_then_by_itself() {
    let (mut ward, _) = with(Priority::High);
    let device = ward.device.clone();
    let until = Some(at(600.0));
    ward.engine.take_out_of_service(&device, "wang", "being cleaned", until, at(12.0)).unwrap();
    assert_eq!(ward.due_s(), Some(600));
    ward.pass_time(599.0);
    assert_eq!(ward.only().state, AlertState::OutOfService);
    ward.pass_time(600.0);
    let alert = ward.only();
    let last = alert.timeline.last().unwrap();
    assert_eq!((alert.state, last.what), (AlertState::ActiveUnack, TimelineEvent::InService));
    assert_eq!((last.by.as_deref(), ward.due_s()), (None, Some(600 + 60)));
}

#[test]
fn of_two_devices_of_a_patient_only_what_the_one_says_is_set_aside() {
    let mut ward = bed();
    ward.take_off(OXIMETER, 2.0);
    assert_eq!(ward.state("tech_probe_off"), AlertState::OutOfService);
    ward.asystole(3.0, AlarmPhase::Start);
    assert_eq!(ward.state("dev_asystole"), AlertState::ActiveUnack);
    assert!(!ward.engine.is_of_patient(ward.rules, ward.alert("dev_asystole").id));
    assert_eq!(ward.due_s(), Some(3 + 60), "the next person is told");
    let asystole = ward.alert("dev_asystole").id;
    assert!(ward.act_on(asystole, 4.0, "li", &acknowledge()).is_ok());
    let probe = ward.alert("tech_probe_off").id;
    let refused = ActionError::OutOfService { by: "wang".into() };
    assert_eq!(ward.act_on(probe, 4.0, "li", &acknowledge()), Err(refused));
    // What the oximeter measures is set aside too, and stands for itself when it is back.
    ward.hand_to(OXIMETER, DeviceKind::Oximeter, 5.0);
    ward.alarm(5.0, AlarmKind::ProbeOff, AlarmPhase::End);
    ward.stream(6, 20, Metric::SPO2, "80");
    assert_eq!(ward.state("spo2_low"), AlertState::OutOfService);
    ward.put_back(OXIMETER, 20.0);
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
}

#[test]
fn what_several_devices_say_is_set_aside_with_the_last_of_them() {
    let mut ward = bed();
    ward.alarm(1.5, AlarmKind::ProbeOff, AlarmPhase::End);
    ward.stream(2, 16, Metric::SPO2, "80");
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward.stream(2, 16, Metric::SPO2, "80");
    ward.take_off(OXIMETER, 20.0);
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
    ward.take_off("ecg-01", 21.0);
    assert_eq!(ward.state("spo2_low"), AlertState::OutOfService);
    ward.put_back("ecg-01", 22.0);
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
}

#[test]
fn an_alert_tells_what_a_device_in_service_says() {
    let mut ward = bed();
    ward.alarm(1.5, AlarmKind::ProbeOff, AlarmPhase::End);
    ward.stream(2, 16, Metric::SPO2, "80");
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward.stream(4, 20, Metric::SPO2, "88");
    let tells = |ward: &Ward| {
        let alert = ward.alert("spo2_low");
        (alert.device.to_string(), alert.value.clone().unwrap(), alert.priority)
    };
    assert_eq!(tells(&ward), (OXIMETER.to_owned(), "80".to_owned(), Priority::High));
    ward.take_off(OXIMETER, 20.5);
    ward.number(21.0, Metric::SPO2, "88");
    // It keeps its highest priority until somebody has it in hand.
    assert_eq!(tells(&ward), ("ecg-01".to_owned(), "88".to_owned(), Priority::High));
    assert_eq!(ward.alert("spo2_low").limit.as_deref(), Some("< 90"));
    ward.act_on(ward.alert("spo2_low").id, 21.5, "li", &acknowledge()).unwrap();
    ward.number(22.0, Metric::SPO2, "88");
    assert_eq!(tells(&ward), ("ecg-01".to_owned(), "88".to_owned(), Priority::Medium));
    ward.put_back(OXIMETER, 22.5);
    ward.number(23.0, Metric::SPO2, "88");
    assert_eq!(tells(&ward), (OXIMETER.to_owned(), "80".to_owned(), Priority::High));
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
}

#[test]
fn a_device_in_service_that_says_the_same_brings_back_what_was_set_aside() {
    let mut ward = bed();
    ward.alarm(1.5, AlarmKind::ProbeOff, AlarmPhase::End);
    ward.take_off(OXIMETER, 1.5);
    ward.stream(2, 16, Metric::SPO2, "80");
    assert_eq!(ward.state("spo2_low"), AlertState::OutOfService);
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward.stream(16, 30, Metric::SPO2, "80");
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
    // It is well again and the oximeter is not: what sounded for it somebody is still to see.
    ward.stream(30, 90, Metric::SPO2, "97");
    ward.hand_to(OXIMETER, DeviceKind::Oximeter, 0.0);
    ward.stream(90, 92, Metric::SPO2, "80");
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
    ward.stream(92, 150, Metric::SPO2, "97");
    assert_eq!(ward.state("spo2_low"), AlertState::ClearedUnack);
}

#[test]
fn what_no_device_alone_says_is_never_set_aside() {
    let mut ward = Ward::of(Profile::default());
    assert_eq!(ward.state("tech_age_unknown"), AlertState::ActiveUnack);
    assert!(ward.engine.is_of_patient(ward.rules, ward.alert("tech_age_unknown").id));
    ward.take_off("ecg-01", 1.0);
    assert_eq!(ward.state("tech_age_unknown"), AlertState::ActiveUnack);
    // Nor where nothing says it any more: it names the first device, which need not be broken.
    let key = "news2".to_owned();
    let mut episode = ward.engine.episodes.remove("tech_age_unknown").unwrap();
    let of = episode.alert.as_ref().unwrap().id;
    episode.firing.clear();
    ward.engine.episodes.insert(key, episode);
    assert!(ward.engine.is_of_patient(ward.rules, of));
}

#[test]
fn a_device_that_leaves_stays_off_and_is_in_service_on_whom_it_comes_to() {
    let mut ward = bed();
    ward.take_off(OXIMETER, 2.0);
    let oximeter = id(OXIMETER);
    let (moved, _) = ward.engine.device_left(ward.rules, at(5.0), at(5.0), &oximeter, "broken");
    let mut shelf = Ward::new(OXIMETER);
    shelf.told.extend(shelf.engine.device_joined(at(5.0), at(5.0), moved));
    assert_eq!(shelf.state("tech_probe_off"), AlertState::OutOfService);
    // Nothing of it stays with the patient.
    ward.hand_to("ecg-02", DeviceKind::Monitor, 6.0);
    ward.alarm(6.0, AlarmKind::Asystole, AlarmPhase::Start);
    assert_eq!(ward.state("dev_asystole"), AlertState::ActiveUnack);
    let (moved, _) = shelf.engine.device_left(shelf.rules, at(9.0), at(9.0), &oximeter, "bound");
    let mut other = Ward::of(aged(600));
    other.told.extend(other.engine.device_joined(at(9.0), at(9.0), moved));
    assert_eq!(other.state("tech_probe_off"), AlertState::ActiveUnack);
    let back = other.engine.put_back_in_service(&oximeter, "li", at(10.0));
    assert_eq!(back, Err(ActionError::InService));
}

#[test]
fn a_patient_who_was_taken_off_by_an_earlier_version_is_each_device_that_was_there() {
    let mut ward = bed();
    ward.asystole(3.0, AlarmPhase::Start);
    let nobody_knows = Profile::default();
    ward.change(4.0, nobody_knows);
    let mut stored = serde_json::to_value(&ward.engine).unwrap();
    let out = serde_json::json!({"by": "wang", "at": at(5.0), "reason": "broken"});
    stored["out_of_service"] = out;
    let episodes = stored["episodes"].as_object_mut().unwrap();
    for alert in episodes.values_mut().map(|episode| &mut episode["alert"]) {
        alert["people"]["under"] = alert["state"].clone();
        alert["people"]["out_of_service"] = true.into();
        alert["state"] = "out_of_service".into();
    }
    ward.engine = serde_json::from_value(stored).unwrap();
    assert_eq!(ward.state("dev_asystole"), AlertState::OutOfService);
    // What is of no device alone stands for itself at once.
    assert!(ward.engine.next_deadline(ward.rules).is_some_and(|due| due <= at(6.0)));
    ward.pass_time(6.0);
    assert_eq!(ward.state("tech_age_unknown"), AlertState::ActiveUnack);
    assert_eq!(ward.state("dev_asystole"), AlertState::OutOfService);
    ward.put_back("ecg-01", 7.0);
    assert_eq!(ward.state("dev_asystole"), AlertState::ActiveUnack);
    assert_eq!(ward.state("tech_probe_off"), AlertState::OutOfService);
    ward.put_back(OXIMETER, 8.0);
    assert_eq!(ward.state("tech_probe_off"), AlertState::ActiveUnack);
}

#[test]
fn what_a_box_tells_of_a_device_that_is_off_stays_while_another_that_is_in_service_says_it_too() {
    let mut of_box = Ward::of(aged(600));
    of_box.stream(0, 16, Metric::SPO2, "80");
    let (told, times) = told_of(&of_box, of_box.alert("spo2_low"), "raised", 15.0);
    let monitor = "ecg-01";
    let mut ward = bed();
    ward.alarm(1.5, AlarmKind::ProbeOff, AlarmPhase::End);
    ward.hand_to(monitor, DeviceKind::Monitor, 0.0);
    ward.take_off(monitor, 2.0);
    ward.hand_to(OXIMETER, DeviceKind::Oximeter, 0.0);
    ward.stream(60, 76, Metric::SPO2, "80");
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
    ward.engine.adopt_edge(ward.rules, at(76.0), &told, times, place(1));
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveUnack);
    // Whoever has it in hand has it by the oximeter, which ends it.
    let alert = ward.alert("spo2_low").id;
    ward.act_on(alert, 77.0, "li", &acknowledge()).unwrap();
    ward.stream(78, 80, Metric::SPO2, "80");
    assert_eq!(ward.state("spo2_low"), AlertState::ActiveAck);
}
