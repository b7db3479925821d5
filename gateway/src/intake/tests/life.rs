//! The life of alerts at the county: people, timers, and a county that is away.

use super::evaluation::{County, at, heart_rate, online, site};
use crate::{
    alerts::act::{self, Deed, Done, Refusal},
    duty::{self, Shift},
    ingest::pending_told,
    intake::*,
    people::{self, Role},
    query,
    store::Store,
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId},
    record::Record,
    time::{ClockQuality, Observed},
};
use rules::{
    alert::{AckReason, AlertId},
    binding::Subject,
    engine::{Action, ActionError, Engine},
    ladder::{Level, Times, TimesBySite},
};

impl County {
    fn act(&self, now: WallTime, by: &str, deed: Deed) -> Result<Done, Refusal> {
        let id = AlertId::from_hex(self.only()["id"].as_str().unwrap()).unwrap();
        let rules = Arc::clone(&self.rules);
        let acting = act::act(&self.store, rules, id, by.to_owned(), deed, now);
        let done = self.runtime.block_on(acting).unwrap();
        self.check_deadlines();
        done
    }

    /// The only alert, as it is told.
    fn only(&self) -> Value {
        let filter = query::AlertFilter::default();
        let asking =
            self.store.read(move |connection| query::alerts(connection, &filter, &BTreeMap::new()));
        let mut answer = self.runtime.block_on(asking).unwrap();
        let alerts = answer["alerts"].as_array_mut().unwrap();
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts.remove(0)
    }

    /// What happened to it, and to whom it went.
    fn story(&self) -> Vec<(String, Option<String>)> {
        let alert = self.only();
        let text = |of: &Value| of.as_str().map(str::to_owned);
        let timeline = alert["timeline"].as_array().unwrap().iter();
        timeline.map(|entry| (text(&entry["what"]).unwrap(), text(&entry["to"]))).collect()
    }

    fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> T {
        self.runtime.block_on(self.store.write(change)).unwrap()
    }

    fn people(&self, names: &'static [&'static str]) {
        self.write(move |transaction| {
            for name in names {
                people::add_person(transaction, name, Role::Nurse, "correct horse").unwrap();
            }
            Ok(())
        });
    }

    /// The gateway ends and starts anew.
    fn restart(&mut self) {
        self.store = Store::open(&self.folder.path().join("county.sqlite")).unwrap();
        self.recount(1);
    }

    fn bradycardia(&self, from: u32) {
        for second in from..from + 11 {
            let seen = at(second.into());
            self.take(seen, vec![heart_rate(u64::from(second) + 1, seen, 36)]);
        }
    }
}

fn acknowledge() -> Deed {
    let note = "on my way".to_owned();
    Deed::Alert(Action::Acknowledge { reason: AckReason::AtBedside, note })
}

#[test]
fn a_county_that_was_away_for_ten_minutes_tells_whoever_is_on_duty_now_and_once() {
    let mut county = County::new();
    county.write(|transaction| {
        let shift = |level, person: &str| Shift {
            level,
            from_hour: 0,
            until_hour: 168,
            person: person.to_owned(),
        };
        let plan = [shift(Level::Second, "li"), shift(Level::CountyOnCall, "zhao")];
        duty::replace(transaction, None, &plan)
    });
    county.take(at(0), vec![online(1, at(0))]);
    county.bradycardia(0);
    assert!(county.pass_time(at(69), None).0.is_empty());
    assert_eq!(county.pass_time(at(70), None).0.len(), 1);
    let raised = ("raised".to_owned(), None);
    let told = |who: &str| ("escalated".to_owned(), Some(who.to_owned()));
    assert_eq!(county.story(), [raised.clone(), told("li")]);
    county.restart();
    let (alerts, _) = county.pass_time(at(670), None);
    assert_eq!(alerts[0]["escalation_level"], "county_on_call");
    assert_eq!(county.story(), [raised, told("li"), told("zhao")]);
    county.restart();
    assert!(county.pass_time(at(671), None).0.is_empty(), "nobody is told twice");
}

#[test]
fn a_township_with_a_ladder_of_its_own_is_told_by_that() {
    let mut county = County::new();
    let mut own = Times::default();
    own.ladder.high.second = Some(90_000);
    let times = TimesBySite { own: [(site(), own)].into(), ..TimesBySite::default() };
    county.rules = Arc::new(RuleSet::clone(&county.rules).with_times(Arc::new(times)));
    county.take(at(0), vec![online(1, at(0))]);
    county.bradycardia(0);
    let step = &county.only()["next_step"];
    assert_eq!(step["level"], "second");
    assert_eq!(step["at"], crate::clock::rfc3339(at(100).unix_ms()));
    assert!(county.pass_time(at(70), None).0.is_empty(), "the county's would be due");
    assert_eq!(county.pass_time(at(100), None).0.len(), 1);
    assert_eq!(county.story().last().unwrap().0, "escalated");
}

#[test]
fn a_number_whose_sustain_is_running_is_told_for_the_reading_that_it_is_of() {
    let county = County::new();
    county.take(at(0), vec![online(1, at(0))]);
    let taken = county.take(at(1), vec![heart_rate(2, at(1), 36)]);
    let reading = taken.readings[0].stored().told().remove(0).2;
    let of = |key: &str| (key.to_owned(), reading[key].clone());
    let named = ["site", "device", "channel", "metric", "measured_time"].map(of);
    let told = pending_told(&taken.pending);
    let named: serde_json::Map<String, Value> = named.into_iter().collect();
    assert_eq!(json!(told), json!({site().as_str(): [named]}));
    let taken = county.take(at(2), vec![heart_rate(3, at(2), 72)]);
    assert!(pending_told(&taken.pending).is_empty());
    let over: u64 = taken.pending.values().map(|pending| pending.over).sum();
    assert_eq!(over, 2, "below 40 for 10 s, and below 50 for 30 s");
    county.take(at(3), vec![heart_rate(4, at(3), 36)]);
    county.bradycardia(4);
    let taken = county.take(at(20), vec![heart_rate(30, at(20), 36)]);
    assert!(pending_told(&taken.pending).is_empty(), "it is an alert");
}

#[test]
fn what_is_due_when_a_county_starts_waits_for_nothing_else() {
    let mut county = County::new();
    county.take(at(0), vec![online(1, at(0))]);
    county.bradycardia(0);
    county.write(|transaction| {
        for number in 0..600 {
            let device = format!("a-{number:03}");
            let subject = Subject::Device(DeviceId::new(&device).unwrap());
            let idle = serde_json::to_string(&Engine::new(site(), subject)).unwrap();
            transaction.execute(
                "INSERT INTO engine VALUES (?1, ?2, NULL, ?3)",
                [site().as_str(), &device, &idle],
            )?;
        }
        Ok(())
    });
    county.restart();
    // The first thing it does in this life, which may be a short one.
    assert_eq!(county.pass_time(at(70), None).0.len(), 1);
    assert_eq!(county.story().last().unwrap().0, "escalated");
}

#[test]
fn of_two_people_at_once_the_first_has_it_and_the_second_is_told_who() {
    let county = County::new();
    county.take(at(0), vec![online(1, at(0))]);
    county.bradycardia(0);
    let shelve = |minutes: i64, second: Option<&str>| {
        let second = second.map(str::to_owned);
        let until = at(20 + minutes * 60);
        Deed::Alert(Action::Shelve { reason: "new electrodes".to_owned(), until, second })
    };
    let refused = |done: Result<Done, Refusal>| match done.unwrap_err() {
        Refusal::Rules(error) => error,
        Refusal::Nobody { name } => panic!("nobody is {name}"),
    };
    // Both are in one database; which transaction is first decides.
    county.act(at(20), "wang", acknowledge()).unwrap();
    let second = refused(county.act(at(20), "li", acknowledge()));
    assert_eq!(second, ActionError::AlreadyAcknowledged { by: "wang".into() });
    let strange = county.act(at(20), "wang", shelve(10, Some("nobody"))).unwrap_err();
    assert!(matches!(strange, Refusal::Nobody { name } if name == "nobody"));
    county.people(&["li"]);
    let done = county.act(at(20), "wang", shelve(10, Some("li"))).unwrap();
    assert_eq!(done.alert["shelved_until"], crate::clock::rfc3339(at(620).unix_ms()));
    let second = refused(county.act(at(20), "li", shelve(5, None)));
    assert!(matches!(second, ActionError::AlreadyShelved { by, .. } if by == "wang"));
    // Each deed has one entry in the chain, and what was refused has none.
    let chained: Vec<String> = county.write(|transaction| {
        let mut statement = transaction.prepare("SELECT body FROM audit ORDER BY id")?;
        statement.query_map([], |row| row.get(0))?.collect()
    });
    let chained: Vec<Value> =
        chained.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let told: Vec<_> = chained.iter().map(|entry| (&entry[3], &entry[4])).collect();
    assert_eq!(json!(told), json!([["wang", "acknowledge"], ["wang", "shelve"]]));
    assert_eq!(chained[1][6]["second"], "li");
}

/// What happens to one patient in half an hour, each step at its second.
fn half_an_hour() -> Vec<(i64, Step)> {
    let shelve = |until| Action::Shelve { reason: "turned".into(), until: at(until), second: None };
    let act = |action| Step::Act("wang", action);
    let mut steps: Vec<(i64, Step)> = (0..11).map(|second| (second, Step::Rate(36))).collect();
    steps.extend([
        (75, Step::Time),
        (80, act(Action::Acknowledge { reason: AckReason::Rechecking, note: "?".into() })),
        (90, act(Action::Undo)),
        (95, act(Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() })),
        (100, act(Action::Assign { to: "wang".into(), reason: String::new() })),
        (216, Step::Time),
        (230, act(shelve(300))),
        (301, Step::Time),
        (310, act(Action::Escalate { reason: String::new() })),
        (420, Step::Time),
    ]);
    steps.extend((430..465).map(|second| (second, Step::Rate(72))));
    steps.extend([(770, Step::Time), (1400, Step::Time)]);
    steps.push((1410, act(Action::Acknowledge { reason: AckReason::FalseAlarm, note: "".into() })));
    steps
}

enum Step {
    Rate(u32),
    Time,
    Act(&'static str, Action),
}

#[test]
fn a_county_that_starts_anew_between_any_two_steps_lives_as_one_that_never_did() {
    let mut county = County::new();
    county.people(&["wang"]);
    county.take(at(0), vec![online(1, at(0))]);
    // The rules alone, in memory, with the same.
    let rules = Arc::clone(&county.rules);
    let device = DeviceId::new("ecg-01").unwrap();
    let mut engine = Engine::new(site(), Subject::unbound(&site(), &device));
    let mut last = None;
    for (second, step) in half_an_hour() {
        county.restart();
        let now = at(second);
        match step {
            Step::Rate(value) => {
                let delivery = heart_rate(u64::try_from(second).unwrap() + 1, now, value);
                let bytes = match &delivery {
                    Delivery::Envelope(_, _, bytes) => bytes.clone(),
                    _ => unreachable!(),
                };
                county.take(now, vec![delivery]);
                let envelope = Envelope::decode(&bytes).unwrap().envelope;
                for record in envelope.records {
                    let Record::Readings(group) = record else { unreachable!() };
                    let (t_meas, freshness) = (Moment::sure(now), Freshness::Fresh);
                    let input = ReadingInput { group: &group, t_meas, freshness };
                    last = engine.on_readings(&rules, now, input).pop().or(last);
                }
            }
            Step::Time => {
                county.pass_time(now, None);
                last = engine.on_time(&rules, now).pop().or(last);
            }
            Step::Act(by, action) => {
                let id = last.as_ref().unwrap().id;
                county.act(now, by, Deed::Alert(action.clone())).unwrap();
                last = Some(engine.act(rules.times(&site()), id, by, &action, now).unwrap());
            }
        }
        let Some(expected) = &last else { continue };
        let told = county.only();
        assert_eq!(told["state"], expected.state.name(), "at {second}");
        let expected = expected.timeline.iter().map(|entry| {
            json!([entry.what.name(), crate::clock::rfc3339(entry.at.unix_ms()), entry.by])
        });
        let timeline = told["timeline"].as_array().unwrap().iter();
        let timeline = timeline.map(|entry| json!([entry["what"], entry["at"], entry["by"]]));
        assert_eq!(timeline.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "at {second}");
    }
    let kinds: BTreeSet<String> = county.story().into_iter().map(|(what, _)| what).collect();
    for what in ["realarmed", "escalated", "unshelved", "undone", "assigned", "reminded"] {
        assert!(kinds.contains(what), "{what} did not happen: {kinds:?}");
    }
    assert_eq!(county.only()["state"], "closed");
}

#[test]
fn test_10_acknowledged_while_the_box_is_offline_survives_it() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    county.take(at(0), vec![online(1, at(0))]);
    county.bradycardia(0);
    county.state(at(20), at(20), false);
    let id = county.alerts().into_keys().next().unwrap();
    county.pass_time(at(80), None);
    assert_eq!(county.alerts()[&id]["state"], "unknown");
    let id_of = AlertId::from_hex(&id).unwrap();
    let rules = Arc::clone(&county.rules);
    let acting = act::act(&county.store, rules, id_of, "wang".to_owned(), acknowledge(), at(90));
    let done = county.runtime.block_on(acting).unwrap().unwrap();
    assert_eq!((&done.alert["state"], &done.alert["owner"]), (&json!("unknown"), &json!("wang")));
    county.restart();
    county.state(at(100), at(100), true);
    county.take(at(101), vec![heart_rate(102, at(101), 36)]);
    assert_eq!(county.alerts()[&id]["state"], "active_ack");
}

#[test]
fn test_11_an_alarm_delivered_five_times_with_two_restarts_is_told_once_per_step() {
    let mut county = County::new();
    let pump = DeviceId::new("pump-01").unwrap();
    let observed = Observed { at: at(0), quality: ClockQuality::Synchronised };
    let status = DeviceStatus {
        device: pump.clone(),
        kind: DeviceKind::Pump,
        driver: "bcc".into(),
        state: DeviceState::Online,
        reason: String::new(),
        about: BTreeMap::new(),
        expected_interval_ms: None,
        observed,
    };
    let alarm = DeviceAlarm {
        device: pump,
        channel: Channel::default(),
        phase: AlarmPhase::Start,
        kind: AlarmKind::OcclusionDownstream,
        code: "5".into(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed,
    };
    let records = vec![Record::Status(status), Record::Alarm(alarm)];
    let delivery = super::evaluation::envelope(Lane::Urgent, 1, records);
    for (copy, second) in [0, 10, 65, 66, 130].into_iter().enumerate() {
        county.take(at(second), vec![delivery.clone()]);
        county.pass_time(at(second), None);
        if copy % 2 == 1 {
            county.restart();
        }
    }
    let story: Vec<_> = county.story().into_iter().map(|(what, _)| what).collect();
    assert_eq!(story, ["raised", "escalated", "escalated"], "at 65 s and at 130 s");
    assert_eq!(county.only()["escalation_level"], "township_doctor");
}
