//! What alerts became at a box while it was alone: kept as told, and when which family was reported.

use super::Batch;
use crate::{alerts::told::Word, clock::rfc3339, patients::name, query};
use model::{alert::EdgeAlert, id::SiteId, metric::Metric, time::WallTime};
use rules::{
    alert::AlertId,
    engine::EdgeTimes,
    freshness::{Clocks, Position},
};
use rusqlite::params;
use serde_json::json;
use std::borrow::Cow;

/// In the place of a note that named the patient; the board has words for it.
const NAME_LEFT_OUT: &str = "ready.name_left_out";

impl Batch<'_> {
    pub(super) fn edge_alert(
        &mut self,
        site: &SiteId,
        of_box: Clocks,
        position: Position,
        alert: &EdgeAlert,
    ) -> rusqlite::Result<()> {
        let here = |at| self.here(of_box, at);
        let id = AlertId::from_bytes(alert.id);
        let of = query::site_of_alert(self.connection, id)?;
        if of.is_some_and(|of| of != site.as_str()) {
            tracing::error!(%site, alert = %id, "A box tells of an alert of another site; not taken.");
            return Ok(());
        }
        if !self.rules.knows_family(&alert.family) {
            tracing::warn!(%site, family = alert.family, "A box tells of an alert that no rule makes.");
            return Ok(());
        }
        let alert = &*self.unnamed(site, alert)?;
        let id = id.to_string();
        let times = EdgeTimes {
            at: here(alert.observed.at),
            started: here(alert.started_at),
            cleared: alert.cleared_at.map(here),
        };
        tracing::info!(%site, device = %alert.device, alert = id, what = alert.what,
            state = alert.state, "An alert changed at a box.");
        let is_new = self.is_new(site, alert)?;
        self.connection
            .prepare_cached(
                "INSERT INTO edge_alert (site, device, family, alert, at_ms, received_ms, what, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                site.as_str(),
                alert.device.as_str(),
                alert.family,
                id,
                times.at.unix_ms(),
                self.now.unix_ms(),
                alert.what,
                told(alert).to_string()
            ])?;
        let word = Word { times, position, is_new };
        let joined = self.evaluation.edge_alert(self.context(), site, alert, word)?;
        if let Some(who) = alert.by.as_ref().filter(|_| is_new) {
            let (what, reason) = (&alert.what, &alert.reason);
            let of = joined.map_or_else(|| id.clone(), |joined| joined.to_string());
            let detail = json!({"alert": of, "what": what, "reason": reason});
            // Nobody logs in at a box: a name there is not the user's of that name.
            self.tell_chain(site, (&format!("{who}@{site}"), "edge_alert"), detail)?;
        }
        let Some(joined) = joined else {
            tracing::warn!(%site, device = %alert.device, alert = id, "A box told an alert of \
                somebody on whom its device was not then; what the device said is judged here.");
            return Ok(());
        };
        self.connection
            .prepare_cached(
                "INSERT INTO edge_period VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET joined = ?5, until_ms = ?7",
            )?
            .execute(params![
                site.as_str(),
                alert.device.as_str(),
                alert.family,
                id,
                joined.to_string(),
                times.started.unix_ms(),
                times.cleared.map(WallTime::unix_ms)
            ])?;
        Ok(())
    }

    /// The alert without a note that says who the patient is: at the box nobody was told to leave the
    /// name out, and nobody there can be told now.
    fn unnamed<'a>(
        &self,
        site: &SiteId,
        alert: &'a EdgeAlert,
    ) -> rusqlite::Result<Cow<'a, EdgeAlert>> {
        let of = (site.as_str(), alert.device.as_str(), alert.subject.as_str());
        // Words that no person wrote name nobody.
        if alert.by.is_none() || !name::is_in_note_of_box(self.connection, of, &alert.note)? {
            return Ok(Cow::Borrowed(alert));
        }
        Ok(Cow::Owned(EdgeAlert { note: NAME_LEFT_OUT.to_owned(), ..alert.clone() }))
    }

    /// Whether it was not told yet that this happened then, and who did it. A box that was killed says
    /// again what it had not written down as said, and one of before the story of an alert that comes
    /// back from its begin: by its own clock that is the same moment.
    fn is_new(&self, site: &SiteId, alert: &EdgeAlert) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT NOT EXISTS (SELECT 1 FROM edge_alert
                 WHERE site = ?1 AND alert = ?2 AND what = ?3
                 AND json_extract(body, '$.by') IS ?4 AND json_extract(body, '$.at') = ?5)",
            )?
            .query_row(
                params![
                    site.as_str(),
                    AlertId::from_bytes(alert.id).to_string(),
                    alert.what,
                    alert.by,
                    rfc3339(alert.observed.at.unix_ms())
                ],
                |row| row.get(0),
            )
    }
}

/// All of it, as the box said it.
fn told(alert: &EdgeAlert) -> serde_json::Value {
    json!({
        "subject": alert.subject,
        "rules": alert.rules,
        "priority": alert.priority.name(),
        "state": alert.state,
        "metric": alert.metric.map(Metric::name),
        "value": alert.value,
        "comparator": alert.comparator,
        "unit": alert.unit,
        "limit": alert.limit,
        "message_zh": alert.message_zh,
        "message_en": alert.message_en,
        "started_at": rfc3339(alert.started_at.unix_ms()),
        "cleared_at": alert.cleared_at.map(|at| rfc3339(at.unix_ms())),
        "by": alert.by,
        "reason": alert.reason,
        "note": alert.note,
        "rule_set": alert.rule_set,
        "bindings": alert.bindings,
        "at": rfc3339(alert.observed.at.unix_ms()),
        "clock": alert.observed.quality.name(),
    })
}
