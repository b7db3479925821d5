//! What somebody does with an alert: one transaction with its entry in the chain.

use super::{Context, Evaluation, store, subject_of};
use crate::{
    audit::{self, Entry},
    clock::rfc3339,
    people, query,
    store::{Store, StoreError},
};
use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use rules::{
    alert::{AckReason, Alert, AlertId},
    binding::Subject,
    danger::DangerSign,
    engine::{Action, ActionError, Engine},
    rule::RuleSet,
};
use rusqlite::{OptionalExtension as _, Transaction};
use serde_json::{Value, json};
use std::sync::Arc;

/// What somebody does.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// With the alert itself.
    Alert(Action),
    /// With the device that it is of.
    Service(Service),
}

/// What somebody does with a device.
#[derive(Clone, Debug)]
pub(crate) enum Service {
    /// Takes it off, until that moment at last.
    Out { reason: String, until: Option<WallTime> },
    /// Puts it back.
    Back,
}

/// Who does it.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) name: String,
    /// At which board.
    pub(crate) board: Option<String>,
}

impl From<String> for Who {
    fn from(name: String) -> Self {
        Self { name, board: None }
    }
}

/// Why it was not done.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Rules(ActionError),
    /// Whoever was named may not act on this alert.
    Nobody {
        name: String,
    },
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Done {
    /// The alert as it is now.
    pub(crate) alert: Value,
    /// All that changed.
    pub(crate) changed: Vec<Value>,
    /// The device that was taken off or put back.
    pub(crate) device: Option<Value>,
}

/// Does it; the alert as it is now, or why not.
pub(crate) async fn act(
    of: &Store,
    rules: Arc<RuleSet>,
    id: AlertId,
    by: impl Into<Who>,
    deed: Deed,
    now: WallTime,
) -> Result<Result<Done, Refusal>, StoreError> {
    let who = by.into();
    of.write(move |transaction| {
        let Some(Place { site, device, subject, body }) = place(transaction, id)? else {
            return Ok(Err(Refusal::Rules(ActionError::NotFound)));
        };
        // Nobody takes the county's own service off: a box goes at an alert that is its own.
        if matches!(deed, Deed::Service(_)) && site == SiteId::county() {
            return Ok(Err(Refusal::Rules(ActionError::NotFound)));
        }
        if let Some(name) = deed.names()
            && !people::able::is_able(transaction, &site, name)?
        {
            return Ok(Err(Refusal::Nobody { name: name.to_owned() }));
        }
        let mut evaluation = Evaluation::default();
        let context = Context { connection: transaction, rules: &rules, now };
        let mut engine = evaluation.engine(transaction, &site, &subject)?;
        let done = match &deed {
            Deed::Alert(action) => {
                let done = engine.act(rules.times(&site), id, &who.name, action, now);
                done.map(|alert| vec![alert])
            }
            Deed::Service(Service::Out { .. }) if engine.is_of_patient(&rules, id) => {
                Err(ActionError::NotOfDevice)
            }
            Deed::Service(service) => {
                if subject != Subject::Box {
                    // It may be with another by now.
                    let present = evaluation.subject_at(context, &site, &device, now)?;
                    engine = evaluation.known(context, &site, &present)?;
                }
                service.done(engine, &device, &who.name, now)
            }
        };
        let mut changed = match done {
            Ok(changed) => changed,
            Err(ActionError::NotFound) => return Ok(Err(Refusal::Rules(forgotten(&body)))),
            Err(error) => return Ok(Err(Refusal::Rules(error))),
        };
        at_board(engine, &mut changed, &who, now);
        let (action, detail) = deed.told(&site, &device);
        write_down(transaction, now, &who, (action, &id.to_string(), detail))?;
        evaluation.note(changed);
        let changed = store(context, evaluation)?;
        let is_it = |told: &&Value| told.get("id") == Some(&json!(id));
        let alert = changed.iter().find(is_it).cloned();
        let alert = alert.unwrap_or_else(|| serde_json::from_str(&body).unwrap_or_default());
        let device = match &deed {
            Deed::Alert(_) => None,
            Deed::Service(_) => query::device(transaction, site.as_str(), device.as_str())?,
        };
        Ok(Ok(Done { alert, changed, device }))
    })
    .await
}

/// Takes a device off or puts it back; the device as it is now, and the
/// alerts that changed. `None` where no such device was ever heard of.
pub(crate) async fn serve(
    of: &Store,
    rules: Arc<RuleSet>,
    (site, device): (SiteId, DeviceId),
    who: Who,
    service: Service,
    now: WallTime,
) -> Result<Result<Option<(Value, Vec<Value>)>, ActionError>, StoreError> {
    of.write(move |transaction| {
        let mut evaluation = Evaluation::default();
        let context = Context { connection: transaction, rules: &rules, now };
        let subject = evaluation.subject_at(context, &site, &device, now)?;
        let known = query::device(transaction, site.as_str(), device.as_str())?;
        if known.is_none() || subject == Subject::Box {
            return Ok(Ok(None));
        }
        let engine = evaluation.known(context, &site, &subject)?;
        let mut changed = match service.done(engine, &device, &who.name, now) {
            Ok(changed) => changed,
            Err(error) => return Ok(Err(error)),
        };
        at_board(engine, &mut changed, &who, now);
        let (action, detail) = service.told(&site, &device);
        write_down(transaction, now, &who, (action, &format!("{site}/{device}"), detail))?;
        evaluation.note(changed);
        let changed = store(context, evaluation)?;
        let known = query::device(transaction, site.as_str(), device.as_str())?;
        Ok(Ok(known.map(|known| (known, changed))))
    })
    .await
}

/// Of what an alert is, and how it was told last.
struct Place {
    site: SiteId,
    device: DeviceId,
    subject: Subject,
    body: String,
}

fn place(transaction: &Transaction<'_>, id: AlertId) -> rusqlite::Result<Option<Place>> {
    let found: Option<(String, String, String)> = transaction
        .query_row("SELECT site, device, body FROM alert WHERE id = ?1", [id.to_string()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(found.and_then(|(site, device, body)| {
        let site = SiteId::stored(&site).ok()?;
        let subject = subject_of(&site, &device, &body)?;
        let device = DeviceId::new(&device).ok()?;
        Some(Place { site, device, subject, body })
    }))
}

fn at_board(engine: &mut Engine, changed: &mut [Alert], who: &Who, now: WallTime) {
    if let Some(board) = &who.board {
        engine.name_board(changed, board, now);
    }
}

fn write_down(
    transaction: &Transaction<'_>,
    now: WallTime,
    who: &Who,
    (action, what, mut detail): (&str, &str, Value),
) -> rusqlite::Result<()> {
    if let (Some(board), Some(members)) = (&who.board, detail.as_object_mut()) {
        members.insert("board".to_owned(), json!(board));
    }
    audit::append(transaction, now, &Entry { who: &who.name, action, what, detail })
}

/// Why nothing can be done with an alert that the rules have forgotten: it is over, and somebody may
/// have been first.
fn forgotten(body: &str) -> ActionError {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let told = |key| body.get(key).and_then(Value::as_str);
    match (told("acknowledged_by"), told("state")) {
        (Some(by), _) => ActionError::AlreadyAcknowledged { by: by.to_owned() },
        (None, Some("closed")) => ActionError::NotActive,
        (None, _) => ActionError::NotFound,
    }
}

impl Deed {
    /// Another person without whom it cannot be done.
    fn names(&self) -> Option<&str> {
        match self {
            Self::Alert(Action::Assign { to, .. }) => Some(to),
            Self::Alert(Action::Shelve { second, .. }) => second.as_deref(),
            _ => None,
        }
    }

    /// As the chain of entries has it: what was done, and what else there is to tell.
    fn told(&self, site: &SiteId, device: &DeviceId) -> (&'static str, Value) {
        match self {
            Self::Alert(Action::Acknowledge { reason, note }) => {
                ("acknowledge", json!({"reason": AckReason::name(*reason), "note": note}))
            }
            Self::Alert(Action::Shelve { reason, until, second }) => {
                let until = rfc3339(until.unix_ms());
                ("shelve", json!({"reason": reason, "until": until, "second": second}))
            }
            Self::Alert(Action::Unshelve) => ("unshelve", json!({})),
            Self::Alert(Action::Assign { to, reason }) => {
                ("assign", json!({"to": to, "reason": reason}))
            }
            Self::Alert(Action::Escalate { reason }) => ("escalate", json!({"reason": reason})),
            Self::Alert(Action::Note { text }) => ("note", json!({"note": text})),
            Self::Alert(Action::TellDangerSigns { signs }) => {
                let signs: Vec<&str> = signs.iter().copied().map(DangerSign::name).collect();
                ("danger_signs", json!({"signs": signs}))
            }
            Self::Alert(Action::Undo) => ("undo", json!({})),
            Self::Service(service) => service.told(site, device),
        }
    }
}

impl Service {
    fn done(
        &self,
        engine: &mut Engine,
        device: &DeviceId,
        by: &str,
        now: WallTime,
    ) -> Result<Vec<Alert>, ActionError> {
        match self {
            Self::Out { reason, until } => {
                engine.take_out_of_service(device, by, reason, *until, now)
            }
            Self::Back => engine.put_back_in_service(device, by, now),
        }
    }

    fn told(&self, site: &SiteId, device: &DeviceId) -> (&'static str, Value) {
        let (site, device) = (site.as_str(), device.as_str());
        match self {
            Self::Out { reason, until } => {
                let until = until.map(|until| rfc3339(until.unix_ms()));
                let detail =
                    json!({"site": site, "device": device, "reason": reason, "until": until});
                ("out_of_service", detail)
            }
            Self::Back => ("in_service", json!({"site": site, "device": device})),
        }
    }
}
