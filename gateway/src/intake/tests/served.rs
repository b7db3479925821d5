//! A box out of reach is more urgent while it serves somebody who is monitored.

use super::evaluation::{County, at, online};
use crate::{intake::*, patients::tests::desk::Desk};

impl County {
    /// Does what somebody at the desk does.
    fn at_the_desk<T>(&self, now: i64, deed: impl FnOnce(Desk<'_>) -> T) -> T {
        let Self { runtime, store, rules, .. } = self;
        let done = deed(Desk { runtime, store, rules, now: at(now) });
        self.check_deadlines();
        done
    }

    fn admit(&self, monitored: bool) -> String {
        let about = json!({"born": "1960-01", "monitored": monitored});
        self.at_the_desk(-60, |desk| desk.admit(about))
    }

    fn bind(&self, now: i64, patient: &str) -> i64 {
        self.at_the_desk(now, |desk| desk.bind("ecg-01", patient))
    }

    /// A site with a monitor.
    fn with_monitor() -> Self {
        let mut county = Self::new();
        county.state(at(-120), at(-120), true);
        county.take(at(-120), vec![online(1, at(-120))]);
        county
    }

    /// The box is lost now, and its alert is there a minute later.
    fn lose_box(&mut self) {
        self.state(at(0), at(0), false);
        self.pass_time(at(60), None);
        assert_eq!(self.urgency(), "medium");
    }

    /// How urgent it is that the box is away.
    fn urgency(&self) -> String {
        let alerts = self.alerts();
        let of_box = alerts.values().find(|alert| alert["rules"] == json!(["EDGE-OFFLINE"]));
        let alert = of_box.unwrap();
        assert_eq!(alert["state"], "active_unack");
        alert["priority"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_box_that_serves_somebody_monitored_is_high_after_ten_minutes_and_any_other_is_not() {
    for (monitored, expected) in [(true, "high"), (false, "medium")] {
        let mut county = County::with_monitor();
        let patient = county.admit(monitored);
        county.bind(-30, &patient);
        county.lose_box();
        county.pass_time(at(599), None);
        assert_eq!(county.urgency(), "medium");
        county.pass_time(at(600), None);
        assert_eq!(county.urgency(), expected, "{monitored}");
    }
}

#[test]
fn whoever_comes_or_is_monitored_while_the_box_is_away_counts_at_once() {
    let mut county = County::with_monitor();
    county.lose_box();
    county.pass_time(at(700), None);
    let patient = county.admit(true);
    assert_eq!(county.urgency(), "medium");
    county.bind(720, &patient);
    assert_eq!(county.urgency(), "high");

    let mut county = County::with_monitor();
    let patient = county.admit(false);
    county.bind(-30, &patient);
    county.lose_box();
    let body = json!({"monitored": true, "version": 1});
    county.at_the_desk(300, |desk| desk.change(&patient, &body));
    county.pass_time(at(600), None);
    assert_eq!(county.urgency(), "high");
}

#[test]
fn nobody_is_monitored_there_any_more_who_left_before_the_ten_minutes_were_over() {
    let leave: [fn(&Desk<'_>, i64, &str); 3] = [
        |desk, id, _| desk.unbind(id),
        |desk, _, key| desk.change(key, &json!({"monitored": false, "version": 1})),
        |desk, _, key| desk.discharge(key),
    ];
    for (way, leave) in leave.into_iter().enumerate() {
        let mut county = County::with_monitor();
        let patient = county.admit(true);
        let id = county.bind(-30, &patient);
        county.lose_box();
        county.at_the_desk(300, |desk| leave(&desk, id, &patient));
        county.pass_time(at(600), None);
        assert_eq!(county.urgency(), "medium", "{way}");
    }
}

/// A rule state that an earlier county stored does not know whom the box serves.
#[test]
fn whom_a_box_serves_is_looked_at_when_its_time_comes() {
    let mut county = County::with_monitor();
    let patient = county.admit(true);
    county.bind(-30, &patient);
    county.state(at(0), at(0), false);
    let forget = |transaction: &Transaction<'_>| {
        let query = "UPDATE engine SET state = json_remove(state, '$.profile')";
        transaction.execute(query, [])
    };
    county.runtime.block_on(county.store.write(forget)).unwrap();
    county.pass_time(at(60), None);
    county.pass_time(at(600), None);
    assert_eq!(county.urgency(), "high");
}
