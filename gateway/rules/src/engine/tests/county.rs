//! What a box makes of what people at the county did.

use super::*;
use model::alert::{Acknowledged, InHand, Shelved};

/// A box with an occlusion, and what the county may say of it.
struct Edge {
    ward: Ward,
    said: InHand,
}

impl Edge {
    fn new() -> Self {
        let mut ward = Ward::new("pump-01");
        ward.alarm(0.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
        let alert = ward.only();
        let said = InHand {
            id: *alert.id.as_bytes(),
            priority: alert.priority,
            recurrences: 0,
            acknowledged: None,
            shelved: None,
        };
        Self { ward, said }
    }

    fn acknowledged(mut self, seconds: f64) -> Self {
        let (by, reason) = ("wang".to_owned(), "doctor_called".to_owned());
        self.said.acknowledged = Some(Acknowledged { by, reason, at: at(seconds) });
        self
    }

    /// The county says so, or has nothing in hand; what changed.
    fn hears(&mut self, now: f64, something: bool) -> Vec<AlertState> {
        self.hears_behind(now, something, 0)
    }

    /// The same, where the clock of the box is so many seconds behind the county's.
    fn hears_behind(&mut self, now: f64, something: bool, seconds: i64) -> Vec<AlertState> {
        let here = |county: WallTime| WallTime::from_unix_ms(county.unix_ms() - seconds * 1000);
        self.ward.store_and_load();
        let id = AlertId::from_bytes(self.said.id);
        let said = something.then(|| (id, self.said.clone())).into_iter().collect();
        let changed = self.ward.engine.hear_county(at(now), &said, here);
        changed.iter().map(|alert| alert.state).collect()
    }
}

#[test]
fn what_somebody_at_the_county_has_in_hand_is_so_at_its_box_and_told_once() {
    let mut edge = Edge::new().acknowledged(10.0);
    assert_eq!(edge.hears(11.0, true), [AlertState::ActiveAck]);
    let alert = edge.ward.only();
    let by = alert.acknowledged.clone().unwrap();
    assert_eq!((by.by.as_str(), by.reason, by.at), ("wang", AckReason::DoctorCalled, at(10.0)));
    assert_eq!(alert.timeline.last().unwrap().detail, crate::alert::OF_COUNTY);
    assert_eq!(edge.hears(12.0, true), []);
    edge.ward.alarm(20.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    assert_eq!(edge.ward.engine.alerts().count(), 0, "somebody had it in hand");
}

#[test]
fn what_sounds_again_is_not_made_quiet_by_the_same_word_and_is_by_another() {
    let mut edge = Edge::new().acknowledged(10.0);
    edge.hears(11.0, true);
    // The usual time of a high alert.
    edge.ward.pass_time(130.0);
    assert_eq!(edge.ward.only().state, AlertState::ActiveUnack);
    assert_eq!(edge.hears(131.0, true), []);
    let mut edge = edge.acknowledged(140.0);
    assert_eq!(edge.hears(141.0, true), [AlertState::ActiveAck]);
}

#[test]
fn what_is_more_urgent_or_came_back_since_is_nobodys() {
    let mut edge = Edge::new().acknowledged(10.0);
    edge.said.priority = Priority::Medium;
    assert_eq!(edge.hears(11.0, true), []);
    edge.said.priority = Priority::High;
    edge.ward.alarm(20.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    edge.ward.alarm(30.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    assert_eq!((edge.ward.only().recurrences, edge.hears(31.0, true)), (1, vec![]));
    edge.said.recurrences = 1;
    assert_eq!(edge.hears(32.0, true), [AlertState::ActiveAck]);
}

#[test]
fn what_is_over_and_was_seen_at_the_county_waits_for_nobody_at_its_box() {
    let mut edge = Edge::new().acknowledged(30.0);
    edge.ward.alarm(20.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    assert_eq!(edge.ward.only().state, AlertState::ClearedUnack);
    assert_eq!(edge.hears(31.0, true), [AlertState::Closed]);
}

#[test]
fn what_nobody_at_the_county_has_in_hand_any_more_calls_at_its_box() {
    let mut edge = Edge::new().acknowledged(10.0);
    edge.hears(11.0, true);
    assert_eq!(edge.hears(40.0, false), [AlertState::ActiveUnack]);
    assert_eq!(edge.hears(41.0, false), []);
    // Whoever stands at the box has it, whatever the county knows by then.
    let id = edge.ward.only().id;
    let reason = AckReason::AtBedside;
    edge.ward.engine.acknowledge(id, "li", reason, "", at(50.0)).unwrap();
    let mut edge = edge.acknowledged(55.0);
    assert_eq!((edge.hears(51.0, false), edge.hears(56.0, true)), (vec![], vec![]));
    assert_eq!(edge.ward.only().owner(), Some("li"));
}

#[test]
fn the_shelf_of_the_county_holds_at_its_box_until_its_time() {
    let mut edge = Edge::new();
    let shelved = |until| Some(Shelved { by: "wang".into(), until: at(until) });
    edge.said.shelved = shelved(100.0);
    assert_eq!(edge.hears(11.0, true), [AlertState::Shelved]);
    assert_eq!(edge.hears(12.0, true), []);
    edge.ward.pass_time(100.0);
    assert_eq!(edge.ward.only().state, AlertState::ActiveUnack);
    assert_eq!(edge.hears(101.0, true), [], "it is over");
    edge.said.shelved = shelved(300.0);
    assert_eq!(edge.hears(110.0, true), [AlertState::Shelved]);
    assert_eq!(edge.hears(120.0, false), [AlertState::ActiveUnack]);
}

#[test]
fn a_shelf_that_came_off_at_the_box_is_not_put_on_again_by_the_same_word() {
    let mut edge = Edge::new();
    edge.said.shelved = Some(Shelved { by: "wang".into(), until: at(500.0) });
    assert_eq!(edge.hears(11.0, true), [AlertState::Shelved]);
    // It rose: nobody has seen that.
    let episode = edge.ward.engine.episodes.values_mut().next().unwrap();
    let alert = episode.alert.as_mut().unwrap();
    alert.take_off_shelf(at(20.0));
    alert.take_back(at(20.0));
    assert_eq!(edge.ward.only().state, AlertState::ActiveUnack);
    assert_eq!(edge.hears(21.0, true), []);
    edge.said.shelved = Some(Shelved { by: "wang".into(), until: at(600.0) });
    assert_eq!(edge.hears(30.0, true), [AlertState::Shelved], "somebody did it again");
}

#[test]
fn a_word_from_the_county_ends_nothing_that_may_hold() {
    let mut edge = Edge::new().acknowledged(30.0);
    // Its state could not be read: nothing will ever say that it is over.
    let mut state = serde_json::to_value(&edge.ward.engine).unwrap();
    state["alarms"] = "none".into();
    let (site, subject) = (edge.ward.engine.site.clone(), edge.ward.engine.subject.clone());
    edge.ward.engine = Engine::rescued(site, subject, &state.to_string());
    edge.ward.in_unit(5.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!(edge.hears(31.0, true), [AlertState::ActiveAck]);
}

#[test]
fn a_clock_that_is_behind_makes_nothing_quiet_for_longer() {
    let mut edge = Edge::new().acknowledged(5000.0);
    assert_eq!(edge.hears(11.0, true), [AlertState::ActiveAck]);
    edge.ward.pass_time(131.0);
    assert_eq!(edge.ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn what_is_unknown_stays_so_and_is_in_hand_when_it_is_known_again() {
    let mut edge = Edge::new().acknowledged(50.0);
    edge.ward.status(10.0, DeviceKind::Pump, DeviceState::Silent);
    edge.ward.pass_time(45.0);
    assert_eq!(edge.hears(51.0, true), [AlertState::Unknown]);
    edge.ward.status(60.0, DeviceKind::Pump, DeviceState::Online);
    let states: Vec<_> = edge.ward.engine.alerts().map(|alert| alert.state).collect();
    assert!(states.contains(&AlertState::ActiveAck), "{states:?}");
}

#[test]
fn what_came_back_on_its_shelf_is_on_it_no_longer_than_the_county_says() {
    let mut edge = Edge::new();
    edge.said.shelved = Some(Shelved { by: "wang".into(), until: at(900.0) });
    assert_eq!(edge.hears(11.0, true), [AlertState::Shelved]);
    edge.ward.alarm(20.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    edge.ward.alarm(30.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    assert_eq!((edge.ward.only().recurrences, edge.ward.only().state), (1, AlertState::Shelved));
    // The clock of the box is another one since.
    assert_eq!(edge.hears_behind(40.0, true, 600), [AlertState::Shelved]);
    edge.ward.pass_time(300.0);
    assert_eq!(edge.ward.only().state, AlertState::ActiveUnack);
    assert_eq!(edge.hears_behind(301.0, true, 600), []);
}

#[test]
fn a_shelf_that_is_over_or_came_off_is_put_on_by_no_clock() {
    let shelved = |until| Some(Shelved { by: "wang".into(), until: at(until) });
    let mut edge = Edge::new();
    edge.said.shelved = shelved(500.0);
    assert_eq!(edge.hears_behind(11.0, true, 400), [AlertState::Shelved]);
    edge.ward.pass_time(100.0);
    assert_eq!(edge.ward.only().state, AlertState::ActiveUnack);
    for behind in [0, 200, -3600] {
        assert_eq!(edge.hears_behind(101.0, true, behind), [], "{behind}");
    }
    edge.said.shelved = shelved(600.0);
    assert_eq!(edge.hears_behind(102.0, true, 400), [AlertState::Shelved], "again");

    // A medium one that rose to high while it was on the shelf, and fell.
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "45");
    let alert = ward.only();
    let (id, priority) = (*alert.id.as_bytes(), alert.priority);
    let shelved = shelved(900.0);
    let said = InHand { id, priority, recurrences: 0, acknowledged: None, shelved };
    let mut edge = Edge { ward, said };
    assert_eq!(edge.hears(32.0, true), [AlertState::Shelved]);
    edge.ward.stream(32, 45, Metric::HR, "36");
    assert_eq!(
        (edge.ward.only().priority, edge.ward.only().state),
        (Priority::High, AlertState::ActiveUnack)
    );
    edge.ward.stream(45, 90, Metric::HR, "45");
    for behind in [0, 300, -3600] {
        assert_eq!(edge.hears_behind(90.0, true, behind), [], "{behind}");
    }
    assert_eq!(edge.ward.only().state, AlertState::ActiveUnack);
}
