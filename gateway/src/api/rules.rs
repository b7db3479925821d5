//! Versions of the rules: read, drafted, previewed, approved.

use super::{
    App, Problem, Route,
    extract::{Path, Query, TextBody},
};
use crate::{
    clock,
    code::Code,
    people::{Action, Caller},
    rule_sets::{
        self, ApproveError,
        preview::job::{Job, State as PreviewState},
    },
    store::StoreError,
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use rules::rule::{RuleMistake, RuleSet, RuleSetError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Longest note of a draft, in letters.
const NOTE_MAX: usize = 500;
/// So long a preview is waited for; whoever began a longer one asks how far it is.
const PREVIEW_WAIT: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/rules", get(list).put(draft)),
        ("/rules/preview", post(begin_preview).get(preview).delete(stop_preview)),
        ("/rules/{version}", get(one)),
        ("/rules/{version}/approve", post(approve)),
    ]
}

async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::PreviewRules)?;
    let live = app.rules.live();
    let versions = app.store.read(rule_sets::list).await?;
    let rules: Value = serde_json::from_str(&live.text).unwrap_or_default();
    Ok(Json(json!({"live": live.number, "rules": rules, "versions": versions})))
}

async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(version): Path<i64>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::PreviewRules)?;
    let found = app.store.read(move |connection| {
        let told = rule_sets::version(connection, version)?;
        Ok(told.zip(rule_sets::text(connection, version)?))
    });
    let (mut told, text) = found.await?.ok_or_else(no_such_version)?;
    if let Some(told) = told.as_object_mut() {
        told.insert("rules".to_owned(), serde_json::from_str(&text).unwrap_or_default());
    }
    Ok(Json(told))
}

#[derive(Deserialize)]
struct Draft {
    #[serde(default)]
    note: String,
}

/// The body is the rule set as it is written: what is told of its mistakes names its lines.
async fn draft(
    State(app): State<App>,
    caller: Caller,
    Query(Draft { note }): Query<Draft>,
    TextBody(text): TextBody,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::EditRules)?;
    rule_sets::check(&text, &app.rules.live().text).map_err(mistaken)?;
    let letters = note.chars().count();
    if letters > NOTE_MAX {
        let text = format!("note: it has {letters} letters; write {NOTE_MAX} at most");
        return Err(Problem::new(Code::TextTooLong, text).with("max", NOTE_MAX));
    }
    let note: String = note.chars().filter(|letter| !letter.is_control()).collect();
    let kept = app.store.write(move |transaction| {
        let version = rule_sets::draft(transaction, clock::now(), &caller.name, &text, &note)?;
        rule_sets::version(transaction, version)
    });
    let told = kept.await?.ok_or_else(no_such_version)?;
    Ok((StatusCode::CREATED, Json(told)))
}

/// A version that is kept already.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: i64,
}

/// The body is a rule set, or names one that is kept; nothing of it becomes a draft. What a county
/// has more than can be judged while somebody waits is judged all the same, and asked for later.
async fn begin_preview(
    State(app): State<App>,
    caller: Caller,
    TextBody(text): TextBody,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::EditRules)?;
    let (version, asked) = match serde_json::from_str(&text) {
        Ok(Kept { version }) => {
            let text = app.store.read(move |connection| rule_sets::text(connection, version));
            let text = text.await?.ok_or_else(no_such_version)?;
            (Some(version), RuleSet::from_json(&text).map_err(mistaken)?)
        }
        Err(_) => (None, rule_sets::check(&text, &app.rules.live().text).map_err(mistaken)?),
    };
    let sets = [Arc::new(asked), app.rules.rules()];
    let clinics = Arc::clone(&app.clinics);
    let job = Job::new((&caller.name, version), sets, clinics, clock::now(), &app.stopped);
    let job = app.previews.begin(job).map_err(|running| {
        let (by, judged, all) = running.standing();
        let text = format!(
            "{by} previews rules just now, {judged} of {all} sites are judged; ask again in a \
             minute, or DELETE it"
        );
        Problem::new(Code::PreviewBusy, text).with("by", by)
    })?;
    // It goes on when nobody waits for it any more; it ends with the gateway.
    let run = tokio::spawn(Arc::clone(&job).run(app.store.clone()));
    if let Ok(Err(_)) = tokio::time::timeout(PREVIEW_WAIT, run).await {
        return Err(StoreError::Panicked.into());
    }
    tell_preview(&app, &job).await
}

async fn preview(
    State(app): State<App>,
    caller: Caller,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::EditRules)?;
    let job = app.previews.last().ok_or_else(no_preview)?;
    tell_preview(&app, &job).await
}

/// Whoever may begin one may end one.
async fn stop_preview(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    caller.may(Action::EditRules)?;
    let running = app.previews.last().filter(|job| job.state() == PreviewState::Running);
    let job = running.ok_or_else(no_preview)?;
    job.stop();
    job.ended().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn tell_preview(app: &App, job: &Job) -> Result<(StatusCode, Json<Value>), Problem> {
    let state = job.state();
    if state == PreviewState::Failed {
        let text = "the log of the gateway says why; begin another when that is mended";
        return Err(Problem::new(Code::PreviewFailed, text));
    }
    let status = if state == PreviewState::Running { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(job.told(&app.store).await?)))
}

fn no_preview() -> Problem {
    Problem::new(Code::NoPreview, "no preview is under way; POST the rules to begin one")
}

async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path(version): Path<i64>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::ApproveRules)?;
    let by = caller.name;
    let done = app.store.write(move |transaction| {
        let approved = rule_sets::approve(transaction, clock::now(), &by, version)?;
        Ok((approved, rule_sets::version(transaction, version)?))
    });
    let (live, told) = match done.await? {
        (Ok(live), Some(told)) => (live, told),
        (Err(ApproveError::NotFound), _) | (_, None) => return Err(no_such_version()),
        (Err(ApproveError::NotUnderstood(error)), _) => return Err(mistaken(error)),
        (Err(error), _) => {
            return Err(Problem::new(Code::NotApproved, error.to_string()));
        }
    };
    tracing::info!(version, "Another rule set is live.");
    app.rules.put(live);
    Ok(Json(told))
}

fn no_such_version() -> Problem {
    let text = "there is no such version of the rules; fetch the list again";
    Problem::new(Code::NoVersion, text)
}

fn mistaken(RuleSetError(mistakes): RuleSetError) -> Problem {
    /// The English text too, for programs.
    #[derive(Serialize)]
    struct Told {
        text: String,
        #[serde(flatten)]
        mistake: RuleMistake,
    }
    let count = mistakes.len();
    let told = mistakes.into_iter().map(|mistake| Told { text: mistake.to_string(), mistake });
    let text = format!("{count} mistakes; correct them and send it again");
    Problem::new(Code::RuleMistakes, text).with("mistakes", json!(told.collect::<Vec<_>>()))
}
