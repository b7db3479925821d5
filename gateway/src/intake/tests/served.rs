//! A box out of reach is more urgent while it serves somebody who is monitored.

use super::evaluation::{County, at, online, site};
use crate::{
    alerts::{self, Context, Evaluation},
    intake::*,
    patients::{
        self,
        binding::{self, BindingEnd, NewBinding},
    },
    people::{Caller, CallerKind, Role, Scope},
    query::Clinics,
};

const CLINIC: &str = "和平镇卫生院";

fn wang() -> Caller {
    let (kind, scope) = (CallerKind::Person, Scope::County);
    Caller { name: "wang".to_owned(), role: Role::Nurse, kind, scope, given_password: false }
}

fn clinics() -> Clinics {
    [(site(), CLINIC.to_owned())].into()
}

impl County {
    /// Does what somebody at the desk does, with what the rules make of it.
    fn at_the_desk<T: Send + 'static>(
        &self,
        now: i64,
        deed: impl FnOnce(Context<'_>, &mut Evaluation) -> T + Send + 'static,
    ) -> T {
        let rules = Arc::clone(&self.rules);
        let doing = self.store.write(move |transaction| {
            let context = Context { connection: transaction, rules: &rules, now: at(now) };
            let mut evaluation = Evaluation::default();
            let done = deed(context, &mut evaluation);
            alerts::store(context, evaluation)?;
            Ok(done)
        });
        let done = self.runtime.block_on(doing).unwrap();
        self.check_deadlines();
        done
    }

    fn admit(&self, monitored: bool) -> String {
        let about = json!({"clinic": CLINIC, "born": "1960-01", "monitored": monitored});
        let about = about.as_object().unwrap().clone();
        let adding = move |context: Context<'_>, _: &mut Evaluation| {
            let Context { connection, now, .. } = context;
            patients::add(connection, &clinics(), about, &wang(), now).unwrap()
        };
        self.at_the_desk(-60, adding)["patient"].as_str().unwrap().to_owned()
    }

    fn bind(&self, now: i64, patient: &str) -> i64 {
        let asked =
            json!({"site": "heping", "device": "ecg-01", "patient": patient, "reason": "on"});
        let asked: NewBinding = serde_json::from_value(asked).unwrap();
        self.at_the_desk(now, move |context, evaluation| {
            let Context { connection, now, .. } = context;
            let bound = binding::bind(connection, &clinics(), &asked, &wang(), now).unwrap();
            evaluation.began(context, &bound).unwrap();
            bound.id
        })
    }

    fn unbind(&self, now: i64, id: i64) {
        let asked: BindingEnd = serde_json::from_value(json!({"reason": "off"})).unwrap();
        let ending = move |context: Context<'_>, evaluation: &mut Evaluation| {
            let Context { connection, now, .. } = context;
            let ended = binding::unbind(connection, &clinics(), id, &asked, &wang(), now).unwrap();
            evaluation.ended(context, &ended).unwrap();
        };
        self.at_the_desk(now, ending);
    }

    /// What is known of a patient changes, as it does by the API.
    fn change(&self, now: i64, key: &str, body: Value) {
        let (key, body) = (key.to_owned(), body.as_object().unwrap().clone());
        let changing = move |context: Context<'_>, evaluation: &mut Evaluation| {
            let Context { connection, now, .. } = context;
            let done = patients::change(connection, &clinics(), &key, body, &wang(), now).unwrap();
            for ended in &done.ended {
                evaluation.ended(context, ended).unwrap();
            }
            match &done.left {
                Some(reason) => evaluation.patient_left(context, &key, reason).unwrap(),
                None => evaluation.patient_changed(context, &key).unwrap(),
            }
        };
        self.at_the_desk(now, changing);
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
    county.change(300, &patient, json!({"monitored": true, "version": 1}));
    county.pass_time(at(600), None);
    assert_eq!(county.urgency(), "high");
}

#[test]
fn nobody_is_monitored_there_any_more_who_left_before_the_ten_minutes_were_over() {
    let leave: [fn(&County, i64, &str); 3] = [
        |county, id, _| county.unbind(300, id),
        |county, _, key| county.change(300, key, json!({"monitored": false, "version": 1})),
        |county, _, key| {
            let body = json!({"discharged": true, "version": 1, "reason": "went home"});
            county.change(300, key, body);
        },
    ];
    for (way, leave) in leave.into_iter().enumerate() {
        let mut county = County::with_monitor();
        let patient = county.admit(true);
        let id = county.bind(-30, &patient);
        county.lose_box();
        leave(&county, id, &patient);
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
