//! A pump that gives no time remaining is near its end by its volume and its rate.

use super::{
    edge::{place, told_of},
    *,
};

/// Readings that a pump says in one frame: `rate 10`, `left 5.0`, `state paused`, `time -`, …
fn frame(said: &str) -> Vec<Reading> {
    let words: Vec<&str> = said.split_whitespace().collect();
    words
        .chunks(2)
        .map(|pair| {
            let metric = match pair[0] {
                "rate" => Metric::PUMP_RATE,
                "left" => Metric::PUMP_VTBI_REM,
                "total" => Metric::PUMP_VTBI,
                "infused" => Metric::PUMP_VI,
                "time" => Metric::PUMP_TIME_REM,
                "state" => return Reading::text(Metric::PUMP_STATE, pair[1]),
                "drug" => return Reading::text(Metric::PUMP_DRUG, pair[1]),
                other => panic!("{other}"),
            };
            match pair[1].parse::<Decimal>() {
                Ok(number) => {
                    Reading::number(metric, number, metric.row().canonical_unit.clone().unwrap())
                }
                Err(_) => Reading::no_data(metric, NoData::NotAvailable),
            }
        })
        .collect()
}

/// What a pump says, and the priority at which it is near its end then.
fn says(ward: &mut Ward, second: f64, said: &str) -> Option<Priority> {
    ward.feed(second, second, frame(said));
    let near = ward.engine.alerts().filter(|alert| alert.family == "pump_near_end");
    near.filter(|alert| alert.condition().is_active()).map(|alert| alert.priority).next()
}

#[test]
fn by_what_is_left_and_how_fast_it_gives_it() {
    let mut ward = Ward::new("pump-01");
    assert_eq!(says(&mut ward, 0.0, "rate 10.00 left 5.1"), None);
    assert_eq!(says(&mut ward, 5.0, "rate 10.00 left 5.0"), Some(Priority::Low));
    let alert = ward.only();
    assert_eq!((alert.rules[0].as_str(), alert.started_at), ("PUMP-NEAR-END", at(5.0)));
    let said = (alert.metric, alert.value.as_deref(), alert.limit.as_deref());
    assert_eq!(said, (Some(Metric::PUMP_TIME_REM), Some("30"), Some("≤ 30")));
    // Each may come by itself.
    assert_eq!(says(&mut ward, 10.0, "left 1.8"), Some(Priority::Low));
    ward.store_and_load();
    assert_eq!(says(&mut ward, 11.0, "left 1.7"), Some(Priority::Medium));
    assert_eq!(says(&mut ward, 15.0, "rate 3.30"), None);
    assert_eq!(says(&mut ward, 16.0, "rate 3.40"), Some(Priority::Medium));
}

#[test]
fn one_that_gives_nothing_has_no_time_remaining() {
    for still in [
        "rate 0.00 left 2.0",
        "rate - left 2.0",
        "state paused",
        "state ready",
        "state standby",
        "state off",
        "left -",
    ] {
        let mut ward = Ward::new("pump-01");
        let near = "state infusing rate 10.00 left 2.0";
        assert_eq!(says(&mut ward, 0.0, near), Some(Priority::Low), "{still}");
        assert_eq!(says(&mut ward, 5.0, still), None, "{still}");
        assert_eq!(says(&mut ward, 10.0, near), Some(Priority::Low), "{still}");
    }
    // In alarm nobody knows whether it gives: it is near its end by its rate.
    let mut ward = Ward::new("pump-01");
    assert_eq!(says(&mut ward, 0.0, "state alarm rate 10.00 left 2.0"), Some(Priority::Low));
    // Nothing new is said of it.
    ward.absent(5.0, Metric::PUMP_RATE, NoData::Silent);
    assert_eq!(says(&mut ward, 6.0, "infused 3.00"), Some(Priority::Low));
}

#[test]
fn the_time_that_it_gives_itself_is_the_one() {
    // However the frame is ordered.
    for said in ["time 120 rate 10.00 left 1.0", "rate 10.00 left 1.0 time 120"] {
        let mut ward = Ward::new("pump-01");
        assert_eq!(says(&mut ward, 0.0, said), None);
        assert_eq!(says(&mut ward, 5.0, "rate 10.00 left 0.5"), None);
        assert_eq!(says(&mut ward, 10.0, "time -"), Some(Priority::Medium));
        assert_eq!(says(&mut ward, 15.0, said), None);
        assert_eq!(says(&mut ward, 20.0, "time 9"), Some(Priority::Medium));
        assert_eq!(says(&mut ward, 25.0, "rate 0.00"), Some(Priority::Medium));
    }
}

#[test]
fn what_is_left_is_what_it_says_and_else_what_of_the_volume_is_not_infused() {
    let mut ward = Ward::new("pump-01");
    assert_eq!(says(&mut ward, 0.0, "rate 10.00 total 50 infused 48.00 left 20"), None);
    assert_eq!(says(&mut ward, 5.0, "left -"), Some(Priority::Low));
    // It has counted since before the volume was set: what is left nobody knows.
    assert_eq!(says(&mut ward, 10.0, "infused 50.01"), None);
    assert_eq!(says(&mut ward, 15.0, "infused 0.00"), None);
    assert_eq!(says(&mut ward, 20.0, "total -"), None);
}

/// The alert rules' expected interval: a line that has said nothing for 15 s was silent.
#[test]
fn after_a_silence_it_is_judged_by_what_has_been_said_since() {
    for (before, first, then, near) in [
        // A syringe was changed: the volume of the one before says nothing.
        ("rate 10.00 left 50.0", "rate 100.00", "left 20.0", Some(Priority::Low)),
        ("rate 10.00 left 50.0", "rate 100.00", "left 200.0", None),
        ("rate 100.00 left 500.0", "left 1.0", "rate 1.00", None),
        ("rate 10.00 total 50 infused 0.00", "rate 10.00 infused 49.00", "total 500", None),
        (
            "rate 10.00 total 50 infused 0.00",
            "rate 10.00 total 50",
            "infused 49.00",
            Some(Priority::Medium),
        ),
        // What it does not say any more it has not.
        ("rate 10.00 left 50.0", "rate 10.00", "total 50 infused 49.00", Some(Priority::Medium)),
    ] {
        let mut ward = Ward::new("pump-01");
        ward.engine.tell_pace(&ward.device, Some(DeviceKind::Pump).into());
        assert_eq!(says(&mut ward, 0.0, before), None, "{before}");
        ward.store_and_load();
        assert_eq!(says(&mut ward, 16.0, first), None, "{before}: {first}");
        assert_eq!(says(&mut ward, 18.0, then), near, "{before}: {first}, {then}");
    }
    // What held holds until it has said both.
    let mut ward = Ward::new("pump-01");
    ward.engine.tell_pace(&ward.device, Some(DeviceKind::Pump).into());
    assert_eq!(says(&mut ward, 0.0, "rate 10.00 left 2.0"), Some(Priority::Low));
    assert_eq!(says(&mut ward, 16.0, "rate 1.00"), Some(Priority::Low));
    assert_eq!(says(&mut ward, 17.0, "left 2.0"), None);
    // While it speaks, a volume holds however seldom it says it.
    assert_eq!(says(&mut ward, 32.0, "infused 1.00"), None);
    assert_eq!(says(&mut ward, 47.0, "rate 10.00"), Some(Priority::Low));
    // One that stands still says so by its state alone.
    assert_eq!(says(&mut ward, 63.0, "state paused"), None);
}

#[test]
fn a_drug_of_the_site_list_makes_it_more_urgent_by_volume_too() {
    let mut ward = Ward::new("pump-01");
    let near = says(&mut ward, 0.0, "drug Dopamine rate 10.00 left 5.0");
    assert_eq!(near, Some(Priority::Medium));
    assert_eq!(says(&mut ward, 5.0, "left 1.0"), Some(Priority::High));
}

#[test]
fn what_its_box_told_of_one_line_another_that_has_more_left_does_not_end() {
    let line_says = |ward: &mut Ward, second: f64, line: &str, said: &str| {
        let group = ReadingGroup::new(ward.device.clone(), Ward::observed(second), frame(said));
        ward.feed_group(&group.on_channel(Channel::new(line).unwrap()), second);
    };
    let mut ward = Ward::new("pump-01");
    line_says(&mut ward, 0.0, "2", "rate 10.00 left 2.0");
    let (told, times) = told_of(&ward, ward.only(), "raised", 0.0);
    let mut county = Ward::new("pump-01");
    for line in ["1", "2"] {
        line_says(&mut county, -1.0, line, "rate 10.00 left 50.0");
    }
    county.engine.adopt_edge(ward.rules, at(20.0), &told, times, place(1));
    line_says(&mut county, 30.0, "1", "rate 10.00 left 49.0");
    assert!(county.has("pump_near_end"), "of the other line nobody has heard");
    line_says(&mut county, 31.0, "2", "rate 10.00 left 50.0");
    assert!(!county.has("pump_near_end"));
}

#[test]
fn what_its_box_told_of_a_volume_is_over_when_the_county_hears_another() {
    let mut ward = Ward::new("pump-01");
    says(&mut ward, 0.0, "rate 10.00 left 2.0");
    let (told, times) = told_of(&ward, ward.only(), "raised", 0.0);
    let mut county = Ward::new("pump-01");
    county.engine.adopt_edge(ward.rules, at(20.0), &told, times, place(1));
    assert_eq!(county.only().id, ward.only().id);
    assert_eq!(says(&mut county, 30.0, "rate 10.00 left 50.0"), None);
    assert!(!county.has("pump_near_end"), "it was low");
}

#[test]
fn one_that_its_box_heard_stop_stands_still_since_then() {
    let mut at_box = Ward::new("pump-01");
    at_box.feed(0.0, 0.0, frame("state infusing left 5.0"));
    at_box.feed(10.0, 10.0, frame("state paused left 5.0"));
    at_box.feed(130.0, 130.0, frame("state paused left 5.0"));
    let alert = at_box.alert("pump_stopped").clone();
    assert_eq!((alert.priority, alert.started_at), (Priority::Low, at(10.0)));
    let mut ward = Ward::new("pump-01");
    ward.feed(0.0, 0.0, frame("state infusing left 5.0"));
    let (told, times) = told_of(&at_box, &alert, "raised", 130.0);
    let times = EdgeTimes { started: at(10.0), ..times };
    ward.engine.adopt_edge(ward.rules, at(200.0), &told, times, place(1));
    ward.feed(220.0, 220.0, frame("state paused left 5.0"));
    assert_eq!(ward.alert("pump_stopped").priority, Priority::Low);
    ward.feed(310.0, 310.0, frame("state paused left 5.0"));
    assert_eq!(ward.alert("pump_stopped").priority, Priority::Medium);
}
