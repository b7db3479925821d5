//! Limits of one patient in the place of those of rules.
//!
//! Not here: which limits may be set (`rules`).
//!
//! # Invariants
//! - a limit has an author, a reason and an end

use super::{
    HOLDS_MAX_MS, Patient, Refused, find_own,
    name::Concerned,
    profile::{limit_of, profile},
    reason_of,
};
use crate::{
    audit::{self, Entry},
    clock::{self, rfc3339},
    code::Code,
    people::{Caller, Scope},
};
use model::time::WallTime;
use rules::{
    population::{Limit, Profile},
    rule::RuleSet,
};
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::{Value, json};

/// Limits of one patient in an answer.
const LIMITS_MAX: u32 = 200;

/// A limit to set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLimit {
    rule: String,
    /// In the canonical unit of the rule's class.
    value: Option<String>,
    #[serde(default)]
    off: bool,
    until: Option<String>,
    reason: Option<String>,
}

/// Sets a limit; one of the same rule ends with it.
pub(crate) fn set(
    connection: &Connection,
    rules: &RuleSet,
    key: &str,
    asked: &NewLimit,
    caller: &Caller,
    now: WallTime,
) -> Result<(), Refused> {
    let who = caller.name.as_str();
    let patient = find_own(connection, &caller.scope, key)?;
    let wrong = |text: &str| Err(Refused::Wrong(text.to_owned()));
    if asked.value.is_some() == asked.off {
        return wrong("value: send a limit such as \"120\", or \"off\": true, and not both");
    }
    let concerned = Concerned::Patients(&[&patient]);
    let reason = reason_of(connection, asked.reason.as_deref(), concerned)?;
    let latest = now.unix_ms() + HOLDS_MAX_MS;
    let until = asked.until.as_deref().and_then(clock::parse_rfc3339);
    let Some(until) = until.filter(|until| (now.unix_ms() + 1..=latest).contains(until)) else {
        let text = format!("until: say when it ends, at the latest {}", rfc3339(latest));
        return Err(Refused::Because(Code::LimitEnd, text));
    };
    let limit = Limit {
        rule: asked.rule.clone(),
        limit: asked.value.clone(),
        by: who.to_owned(),
        reason: reason.clone(),
        from: now,
        until: WallTime::from_unix_ms(until),
    };
    profile(connection, &patient, now)?.check_limit(rules, &limit)?;
    run_out(connection, rules, now)?;
    connection.execute(
        "UPDATE patient_limit SET ended_by = ?3, ended_ms = ?4
         WHERE patient = ?1 AND rule = ?2 AND ended_ms IS NULL",
        params![key, asked.rule, who, now.unix_ms()],
    )?;
    connection.execute(
        "INSERT INTO patient_limit (patient, rule, value, until_ms, reason, made_by, made_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![key, asked.rule, asked.value, until, reason, who, now.unix_ms()],
    )?;
    let detail = json!({"rule": asked.rule, "value": asked.value, "until": rfc3339(until),
        "reason": reason});
    audit::append(connection, now, &Entry { who, action: "set_limit", what: key, detail })?;
    Ok(())
}

/// Ends a limit before its time.
pub(crate) fn withdraw(
    connection: &Connection,
    key: &str,
    id: i64,
    caller: &Caller,
    now: WallTime,
) -> Result<(), Refused> {
    let who = caller.name.as_str();
    find_own(connection, &caller.scope, key)?;
    let ended = connection.execute(
        "UPDATE patient_limit SET ended_by = ?3, ended_ms = ?4
         WHERE patient = ?1 AND id = ?2 AND ended_ms IS NULL AND until_ms > ?4",
        params![key, id, who, now.unix_ms()],
    )?;
    if ended == 0 {
        let text = format!("no limit {id} of this patient is in force; fetch the list again");
        return Err(Refused::NotFound(text));
    }
    let detail = json!({"limit": id});
    audit::append(connection, now, &Entry { who, action: "end_limit", what: key, detail })?;
    Ok(())
}

/// Limits whose time is over end, each once and with an entry: from then on the rule's own is in
/// force again. Nobody ended them.
pub(crate) fn run_out(
    connection: &Connection,
    rules: &RuleSet,
    now: WallTime,
) -> rusqlite::Result<()> {
    let open: Vec<(i64, String, Limit)> = connection
        .prepare_cached(
            "SELECT *, until_ms AS ends_ms FROM patient_limit WHERE ended_ms IS NULL ORDER BY id",
        )?
        .query_map([], |row| Ok((row.get("id")?, row.get("patient")?, limit_of(row)?)))?
        .collect::<Result<_, _>>()?;
    for (id, key, limit) in open {
        let until = limit.ends_at(rules);
        if now < until {
            continue;
        }
        connection
            .prepare_cached("UPDATE patient_limit SET ended_ms = ?2 WHERE id = ?1")?
            .execute(params![id, until.unix_ms()])?;
        let detail = json!({"rule": limit.rule, "value": limit.limit, "why": "ran_out",
            "until": rfc3339(until.unix_ms())});
        let entry = Entry { who: "county", action: "limits_stopped", what: &key, detail };
        audit::append(connection, now, &entry)?;
    }
    Ok(())
}

/// Rules that were the patient's before a change and are not any more, of those for which there is
/// a limit of this patient: nobody looks at it from now on.
pub(super) fn stopped(
    connection: &Connection,
    rules: &RuleSet,
    [before, after]: [&Patient; 2],
    now: WallTime,
) -> rusqlite::Result<Vec<String>> {
    let had = profile(connection, before, now)?;
    let has = profile(connection, after, now)?;
    let in_force = had.limits.iter().filter(|limit| now < limit.ends_at(rules));
    let stopped = in_force.filter(|Limit { rule, .. }| {
        had.has_rule(rules, rule, now) && !has.has_rule(rules, rule, now)
    });
    Ok(stopped.map(|limit| limit.rule.clone()).collect())
}

/// The limits of a patient, for whoever asks.
pub(crate) fn told(
    connection: &Connection,
    rules: &RuleSet,
    scope: &Scope,
    key: &str,
    now: WallTime,
) -> Result<Value, Refused> {
    let profile = profile(connection, &find_own(connection, scope, key)?, now)?;
    Ok(json!({"limits": limits(connection, rules, key, &profile, now)?}))
}

/// Limits that have not ended, the newest first, and whether each is looked at.
pub(super) fn limits(
    connection: &Connection,
    rules: &RuleSet,
    key: &str,
    profile: &Profile,
    now: WallTime,
) -> rusqlite::Result<Vec<Value>> {
    let told = |(id, limit): (i64, Limit)| {
        let until = limit.ends_at(rules);
        (now < until).then(|| {
            json!({"id": id, "rule": limit.rule, "off": limit.limit.is_none(),
                "applies": profile.has_rule(rules, &limit.rule, now),
                "value": limit.limit, "until": rfc3339(until.unix_ms()), "reason": limit.reason,
                "made_by": limit.by, "made_at": rfc3339(limit.from.unix_ms())})
        })
    };
    let rows: Vec<(i64, Limit)> = connection
        .prepare_cached(&format!(
            "SELECT *, until_ms AS ends_ms FROM patient_limit
             WHERE patient = ?1 AND ended_ms IS NULL AND until_ms > ?2
             ORDER BY id DESC LIMIT {LIMITS_MAX}"
        ))?
        .query_map(params![key, now.unix_ms()], |row| Ok((row.get("id")?, limit_of(row)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows.into_iter().filter_map(told).collect())
}
