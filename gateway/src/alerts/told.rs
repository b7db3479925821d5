//! What the box of a site tells of its alerts.
//!
//! # Invariants
//! - what a box tells is of whom it names, as long as its device was on them; what it judged by the
//!   limits of another is judged here

use super::{Context, Evaluation, is_closed, join, subject::left_since};
use model::{alert::EdgeAlert, id::SiteId, time::WallTime};
use rules::{
    alert::{Alert, AlertId, AlertState, TimelineEntry, TimelineEvent},
    binding::{PatientKey, Subject},
    engine::EdgeTimes,
    freshness::Position,
};

/// What there is about a word of a box beside what it tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) times: EdgeTimes,
    pub(crate) position: Position,
    /// The box has not said it before.
    pub(crate) is_new: bool,
}

/// Of whom the county takes a word of a box.
struct Of {
    subject: Subject,
    /// What it was said of rests on a device that left then, for that reason.
    left: Option<(WallTime, String)>,
}

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
        Word { times, position, is_new }: Word,
    ) -> rusqlite::Result<Option<AlertId>> {
        let id = AlertId::from_bytes(told.id);
        let Some(Of { subject, left }) = self.of_word(context, site, told, times)? else {
            return Ok(None);
        };
        let engine = self.known(context, site, &subject)?;
        let known = engine.remembered().find(|alert| alert.id == id).map(Alert::condition);
        // What is over and was forgotten by the rules keeps its story, whatever is said of it again.
        let says_nothing = !is_new || told.state == AlertState::Closed.name();
        if known.is_none() && says_nothing && is_closed(context.connection, id)? {
            return Ok(Some(id));
        }
        let is_seen = told.what == TimelineEvent::Acknowledged.name() && known.is_some();
        let is_since = |(left, _): &(WallTime, String)| times.at >= *left;
        // Where it goes on by other devices, that it is over or in hand is of all of them.
        let is_of_all =
            (is_seen || times.cleared.is_some()) && known.is_some_and(AlertState::is_active);
        let left = left.filter(|left| !(is_of_all && is_since(left)));
        if left.as_ref().is_some_and(is_since) && !is_seen {
            return Ok(Some(id));
        }
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

    /// `None`: of nobody on whom its device was.
    fn of_word(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        told: &EdgeAlert,
        times: EdgeTimes,
    ) -> rusqlite::Result<Option<Of>> {
        let present = self.subject_at(context, site, &told.device, context.now)?;
        // What is the device's own is where the device is.
        if context.rules.is_technical(&told.family) {
            return Ok(Some(Of { subject: present, left: None }));
        }
        let mut at = times.started;
        let mut subject = self.subject_at(context, site, &told.device, at)?;
        if !is_named(&subject, told) {
            // It began on another device of whom the box names, and this one has come since.
            at = times.at;
            subject = self.subject_at(context, site, &told.device, at)?;
            let id = AlertId::from_bytes(told.id);
            let goes_on = is_named(&subject, told)
                && self.known(context, site, &subject)?.remembered().any(|alert| alert.id == id);
            if !goes_on {
                return Ok(None);
            }
        }
        let left = match subject == present {
            true => None,
            false => left_since(context, site, &told.device, at)?,
        };
        Ok(Some(Of { subject, left }))
    }
}

/// Whether that is whom a box names in what it tells.
fn is_named(subject: &Subject, told: &EdgeAlert) -> bool {
    let patient = subject.patient().map(PatientKey::as_str);
    patient.unwrap_or(told.device.as_str()) == told.subject
}
