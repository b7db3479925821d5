//! What the box of a site tells of its alerts.
//!
//! # Invariants
//! - what a box tells is of whom it names, as long as its device was on them; what it judged by the
//!   limits of another is judged here

use super::{Context, Evaluation, join, subject::left_since};
use model::{alert::EdgeAlert, id::SiteId};
use rules::{
    alert::{Alert, AlertId, AlertState, TimelineEntry, TimelineEvent},
    binding::{PatientKey, Subject},
    engine::EdgeTimes,
    freshness::Position,
};

impl Evaluation {
    /// An alert changed at the box of a site while it was alone: the id of the county's alert that it
    /// is one with. What rests on a device that was taken off meanwhile is over with that, and what
    /// the box tells of it since is of somebody else. `None`: the box took what the device said for
    /// another's and judged it by their limits; here it is judged by whose it is.
    pub(crate) fn edge_alert(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        told: &EdgeAlert,
        (times, position): (EdgeTimes, Position),
    ) -> rusqlite::Result<Option<AlertId>> {
        let id = AlertId::from_bytes(told.id);
        let mut whose_at = times.started;
        let mut then = self.subject_at(context, site, &told.device, whose_at)?;
        let present = self.subject_at(context, site, &told.device, context.now)?;
        // What is the device's own is where the device is.
        let is_own = context.rules.is_technical(&told.family);
        if !is_own && !is_named(&then, told) {
            // It began on another device of whom the box names, and this one has come since.
            (whose_at, then) = (times.at, self.subject_at(context, site, &told.device, times.at)?);
            let goes_on = is_named(&then, told)
                && self.known(context, site, &then)?.remembered().any(|it| it.id == id);
            if !goes_on {
                return Ok(None);
            }
        }
        let mut left = match !is_own && then != present {
            true => left_since(context, site, &told.device, whose_at)?,
            false => None,
        };
        if let Some((at, _)) = &left {
            let is_since = times.at >= *at;
            let mut known = self.known(context, site, &then)?.remembered();
            let known = known.find(|alert| alert.id == id).map(Alert::condition);
            let is_seen = told.what == TimelineEvent::Acknowledged.name() && known.is_some();
            if is_since && known.is_some_and(AlertState::is_active) {
                // It goes on by other devices: that it is over, or in hand, is of all of them.
                left.take_if(|_| is_seen || times.cleared.is_some());
            }
            if is_since && left.is_some() && !is_seen {
                return Ok(Some(id));
            }
        }
        let engine = self.known(context, site, if is_own { &present } else { &then })?;
        let Context { rules, now, .. } = context;
        let (alert, ended) = match &left {
            Some((left, why)) => engine.adopt_left(rules, now, told, times, position, (*left, why)),
            None => engine.adopt_edge(rules, now, told, times, position),
        };
        let id = alert.id;
        let goes_on =
            |ended: &&Alert| ended.timeline.last().is_some_and(TimelineEntry::goes_on_in_another);
        if let Some(part) = ended.as_ref().filter(goes_on) {
            join(context.connection, part.id, id)?;
        }
        self.note([alert].into_iter().chain(ended).collect());
        Ok(Some(id))
    }
}

/// Whether that is whom a box names in what it tells.
fn is_named(subject: &Subject, told: &EdgeAlert) -> bool {
    let patient = subject.patient().map(PatientKey::as_str);
    patient.unwrap_or(told.device.as_str()) == told.subject
}
