//! The desk of a clinic, as other rooms' tests need it: patients come and go, and what they wear.

use crate::{
    alerts::{self, Context, Evaluation},
    clock::rfc3339,
    patients::{
        self,
        binding::{self, BindingEnd, NewBinding},
        entry, limit, tray,
    },
    people::{Caller, CallerKind, Role, Scope},
    query::Clinics,
    store::Store,
};
use model::{id::SiteId, time::WallTime};
use rules::rule::RuleSet;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Whoever sits there does what the API does, with what the rules make of it.
pub(crate) struct Desk<'c> {
    pub(crate) runtime: &'c Runtime,
    pub(crate) store: &'c Store,
    pub(crate) rules: &'c Arc<RuleSet>,
    pub(crate) now: WallTime,
}

pub(super) const CLINIC: &str = "和平镇卫生院";

pub(super) fn clinics() -> Clinics {
    [(SiteId::new("heping").unwrap(), CLINIC.to_owned())].into()
}

pub(super) fn wang() -> Caller {
    let (kind, scope) = (CallerKind::Person, Scope::County);
    Caller { name: "wang".to_owned(), role: Role::Nurse, kind, scope, given_password: false }
}

impl Desk<'_> {
    fn does<T: Send + 'static>(
        &self,
        deed: impl FnOnce(Context<'_>, &mut Evaluation) -> T + Send + 'static,
    ) -> T {
        let (rules, now) = (Arc::clone(self.rules), self.now);
        let doing = self.store.write(move |transaction| {
            let context = Context { connection: transaction, rules: &rules, now };
            let mut evaluation = Evaluation::default();
            let done = deed(context, &mut evaluation);
            alerts::store(context, evaluation)?;
            Ok(done)
        });
        self.runtime.block_on(doing).unwrap()
    }

    /// A new patient of the clinic; the key.
    pub(crate) fn admit(&self, mut about: Value) -> String {
        about["clinic"] = json!(CLINIC);
        let body = about.as_object().unwrap().clone();
        let added = self.does(|Context { connection, now, .. }, _| {
            patients::add(connection, &clinics(), body, &wang(), now).unwrap()
        });
        added["patient"].as_str().unwrap().to_owned()
    }

    /// A device is on a patient; the binding.
    pub(crate) fn bind(&self, device: &str, patient: &str) -> i64 {
        let asked = json!({"site": "heping", "device": device, "patient": patient, "reason": "on"});
        let asked: NewBinding = serde_json::from_value(asked).unwrap();
        self.does(move |context, evaluation| {
            let Context { connection, now, .. } = context;
            let bound = binding::bind(connection, &clinics(), &asked, &wang(), now).unwrap();
            evaluation.began(context, &bound).unwrap();
            bound.id
        })
    }

    /// It is not any more.
    pub(crate) fn unbind(&self, id: i64) {
        let asked: BindingEnd = serde_json::from_value(json!({"reason": "off"})).unwrap();
        self.does(move |context, evaluation| {
            let Context { connection, now, .. } = context;
            let ended = binding::unbind(connection, &clinics(), id, &asked, &wang(), now).unwrap();
            evaluation.ended(context, &ended).unwrap();
        });
    }

    /// What is known of a patient changes; one who is discharged leaves.
    pub(crate) fn change(&self, key: &str, body: &Value) {
        let (key, body) = (key.to_owned(), body.as_object().unwrap().clone());
        self.does(move |context, evaluation| {
            let Context { connection, rules, now } = context;
            let (clinics, wang) = (clinics(), wang());
            let done = patients::change(connection, rules, &clinics, &key, body, &wang, now);
            let done = done.unwrap();
            for ended in &done.ended {
                evaluation.ended(context, ended).unwrap();
            }
            match &done.left {
                Some(reason) => evaluation.patient_left(context, &key, reason).unwrap(),
                None => evaluation.patient_changed(context, &key).unwrap(),
            }
        });
    }

    /// A limit of a patient in the place of a rule's own, up to a moment.
    pub(crate) fn limit(&self, key: &str, (rule, value): (&str, &str), until: WallTime) {
        let until = rfc3339(until.unix_ms());
        let asked = json!({"rule": rule, "value": value, "until": until, "reason": "known"});
        let (key, asked) = (key.to_owned(), serde_json::from_value(asked).unwrap());
        self.does(move |context, evaluation| {
            let Context { connection, rules, now } = context;
            limit::set(connection, rules, &key, &asked, &wang(), now).unwrap();
            evaluation.patient_changed(context, &key).unwrap();
        });
    }

    /// The only limit of a patient ends now.
    pub(crate) fn withdraw_limit(&self, key: &str) {
        let key = key.to_owned();
        self.does(move |context, evaluation| {
            let Context { connection, rules, now } = context;
            let told = limit::told(connection, rules, &wang().scope, &key, now).unwrap();
            let limits = told["limits"].as_array().unwrap();
            assert_eq!(limits.len(), 1, "{told}");
            let id = limits[0]["id"].as_i64().unwrap();
            limit::withdraw(connection, &key, id, &wang(), now).unwrap();
            evaluation.patient_changed(context, &key).unwrap();
        });
    }

    /// A result that waits is given to a patient, or why it is not.
    pub(crate) fn give(&self, place: Value, key: &str) -> Result<(), String> {
        let place = serde_json::from_value(place).unwrap();
        let asked = json!({"patient": key, "from": null, "reason": "theirs"});
        let asked = serde_json::from_value(asked).unwrap();
        self.does(move |context, evaluation| {
            let Context { connection, now, .. } = context;
            let moved = tray::reassign(connection, &place, &asked, &wang(), now);
            let moved = moved.map_err(|refused| format!("{refused:?}"))?;
            evaluation.moved(context, &moved).unwrap();
            Ok(())
        })
    }

    /// A nurse saw whether a patient is given oxygen.
    pub(crate) fn oxygen(&self, key: &str, given: bool) {
        let (key, asked) = (key.to_owned(), serde_json::from_value(json!({"oxygen": given})));
        let asked = asked.unwrap();
        self.does(move |context, evaluation| {
            let Context { connection, now, .. } = context;
            entry::enter(connection, &key, &asked, &wang(), now).unwrap();
            evaluation.patient_changed(context, &key).unwrap();
        });
    }

    /// A patient whom nobody has changed yet goes home.
    pub(crate) fn discharge(&self, key: &str) {
        self.change(key, &json!({"discharged": true, "version": 1, "reason": "went home"}));
    }
}
