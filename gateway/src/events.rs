//! What boards hear: published once, kept for a while for those who were away for a moment.
//!
//! # Invariants
//! - whoever follows gets every event once, or is told to fetch everything
//! - an id of another run of the gateway is never taken for one of this run, whatever the clock did

use crate::people::Scope;
use model::id::SiteId;
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Range,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{broadcast, watch};

/// Events a board may be behind before it must fetch everything again.
const BEHIND_MAX: usize = 1024;
/// Events kept for a board that comes back.
const KEPT_MAX: usize = 1024;
/// Bytes of them: some seconds of a busy county.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// What everybody hears who hears anything.
const OF_EVERYBODY: [&str; 5] = ["boards", "broker", "disk", "patients", "sink"];

/// Names an event: `Last-Event-ID` of a board that comes back. Written as `run-number`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EventId {
    /// Differs between runs of the gateway.
    run: u64,
    /// Counts up within a run.
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.run, self.number)
    }
}

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let (run, number) = text.split_once('-').ok_or(NoEventId)?;
        let parse = |text: &str| text.parse().map_err(|_| NoEventId);
        Ok(Self { run: parse(run)?, number: parse(number)? })
    }
}

/// It is not an id this gateway gives.
#[derive(Debug)]
pub(crate) struct NoEventId;

/// One event, ready to be sent.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    /// Name of the event.
    pub(crate) name: &'static str,
    /// Its JSON.
    pub(crate) data: String,
    /// `site:device:metric` of a waveform: sent only to boards that asked for it.
    pub(crate) wave: Option<String>,
    about: About,
}

/// Whose an event is.
#[derive(Debug)]
enum About {
    Everybody,
    Site(String),
    /// Of some sites; where in the JSON stands what is of which, behind and before `around`.
    Sites {
        parts: Vec<(String, Range<usize>)>,
        around: Range<usize>,
    },
    /// It names no site: only who has the whole county hears it.
    County,
}

impl Event {
    /// The JSON as far as it is of these clinics, if anything of it is.
    pub(crate) fn within(&self, scope: &Scope) -> Option<Cow<'_, str>> {
        match &self.about {
            _ if *scope == Scope::County => Some(Cow::Borrowed(self.data.as_str())),
            About::Everybody => Some(Cow::Borrowed(self.data.as_str())),
            About::Site(site) => scope.holds(site).then_some(Cow::Borrowed(self.data.as_str())),
            About::Sites { parts, around } => {
                let own = parts.iter().filter(|(site, _)| scope.holds(site));
                let own: Vec<&str> =
                    own.filter_map(|(_, part)| self.data.get(part.clone())).collect();
                let (begin, end) = (self.data.get(..around.start)?, self.data.get(around.end..)?);
                let is_any = !own.is_empty();
                is_any.then(|| Cow::Owned(format!("{begin}{}{end}", own.join(","))))
            }
            About::County => None,
        }
    }

    /// Whether it is of the county's own service.
    pub(crate) fn is_of_the_county(&self) -> bool {
        matches!(&self.about, About::Site(site) if site == SiteId::county().as_str())
    }
}

/// The hub.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    run: u64,
    live: broadcast::Sender<Arc<Event>>,
    kept: Arc<Mutex<Kept>>,
    /// Changes with every alert that is told.
    alerts: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    bytes: usize,
    events: VecDeque<Arc<Event>>,
}

/// What a board that comes back has missed.
#[derive(Debug)]
pub(crate) enum Missed {
    /// These.
    Events(Vec<Arc<Event>>),
    /// More than was kept.
    TooMuch,
}

impl Events {
    /// `run` differs from that of every other run.
    pub(crate) fn new(run: u64) -> Self {
        let live = broadcast::Sender::new(BEHIND_MAX);
        Self { run, live, kept: Arc::default(), alerts: watch::Sender::default() }
    }

    /// Tells something of one site, which it names, or of nobody's.
    pub(crate) fn publish(&self, name: &'static str, data: &Value, wave: Option<String>) {
        let about = match data.get("site").and_then(Value::as_str) {
            Some(site) => About::Site(site.to_owned()),
            None if OF_EVERYBODY.contains(&name) => About::Everybody,
            None => About::County,
        };
        self.send(name, data.to_string(), wave, about);
    }

    /// Tells a list of things of some sites: `{"name": [...]}`.
    pub(crate) fn publish_list(
        &self,
        name: &'static str,
        list: &str,
        of_sites: &BTreeMap<String, Vec<Value>>,
    ) {
        let mut data = format!("{{\"{list}\":[");
        let begin = data.len();
        let mut parts = Vec::new();
        for (site, things) in of_sites {
            if data.len() > begin {
                data.push(',');
            }
            let from = data.len();
            let things: Vec<String> = things.iter().map(ToString::to_string).collect();
            data.push_str(&things.join(","));
            parts.push((site.clone(), from..data.len()));
        }
        let around = begin..data.len();
        data.push_str("]}");
        self.send(name, data, None, About::Sites { parts, around });
    }

    fn send(&self, name: &'static str, data: String, wave: Option<String>, about: About) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = EventId { run: self.run, number: kept.next };
        let event = Arc::new(Event { id, name, data, wave, about });
        kept.next += 1;
        // A strip that was away has a gap; its samples are in the database.
        if event.wave.is_none() {
            kept.keep(Arc::clone(&event));
        }
        // Nobody listening is no failure.
        drop(self.live.send(event));
        if name == "alert" {
            self.alerts.send_replace(());
        }
    }

    /// Changes whenever an alert was told, without following: that would make all be told.
    pub(crate) fn alerts(&self) -> watch::Receiver<()> {
        self.alerts.subscribe()
    }

    /// Whether anybody follows: of what is not kept nothing need be told where nobody does.
    pub(crate) fn are_heard(&self) -> bool {
        self.live.receiver_count() > 0
    }

    /// Whether anybody follows who must be told what just happened. What many sites say every
    /// second is not even kept where nobody does: a board that comes back from before it fetches
    /// everything.
    pub(crate) fn are_heard_or_left_out(&self) -> bool {
        // Nobody comes back between the question and what follows from it.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let are_heard = self.are_heard();
        if !are_heard {
            *kept = Kept { next: kept.next + 1, ..Kept::default() };
        }
        are_heard
    }

    /// Follows from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }

    /// What came after `last`, and everything from now on: nothing is missing between the two and
    /// nothing is in both.
    pub(crate) fn follow_after(&self, last: EventId) -> (Missed, broadcast::Receiver<Arc<Event>>) {
        // Nobody publishes meanwhile.
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.missed_after(self.run, last), self.live.subscribe())
    }
}

impl Kept {
    fn keep(&mut self, event: Arc<Event>) {
        self.bytes += event.data.len();
        self.events.push_back(event);
        while self.events.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.data.len();
        }
    }

    fn missed_after(&self, run: u64, last: EventId) -> Missed {
        let from = self.events.front().map_or(self.next, |event| event.id.number);
        if last.run != run || last.number >= self.next || last.number + 1 < from {
            return Missed::TooMuch;
        }
        let newer = self.events.iter().filter(|event| event.id.number > last.number);
        Missed::Events(newer.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{sync::Barrier, thread};

    const RUN: u64 = 1_795_335_300_000;

    fn events(count: u64) -> Events {
        let events = Events::new(RUN);
        for number in 0..count {
            events.publish("alert", &json!(number), None);
        }
        events
    }

    fn id(run: u64, number: u64) -> EventId {
        EventId { run, number }
    }

    fn missed(events: &Events, last: EventId) -> Option<Vec<u64>> {
        match events.follow_after(last).0 {
            Missed::Events(events) => Some(events.iter().map(|event| event.id.number).collect()),
            Missed::TooMuch => None,
        }
    }

    #[test]
    fn a_board_that_comes_back_gets_what_it_missed_once() {
        let events = events(5);
        assert_eq!(missed(&events, id(RUN, 2)), Some(vec![3, 4]));
        assert_eq!(missed(&events, id(RUN, 4)), Some(vec![]));
        let (_, mut live) = events.follow_after(id(RUN, 2));
        events.publish("alert", &json!("new"), None);
        assert_eq!(live.try_recv().unwrap().id.number, 5);
        assert!(live.try_recv().is_err());
    }

    #[test]
    fn a_board_that_was_away_too_long_fetches_everything() {
        let events = events(2000);
        assert_eq!(missed(&events, id(RUN, 500)), None);
        assert_eq!(missed(&events, id(RUN, 1000)).unwrap().len(), 999);
    }

    #[test]
    fn what_nobody_heard_is_fetched_by_a_board_that_comes_back() {
        let events = events(5);
        assert!(!events.are_heard_or_left_out());
        assert_eq!(missed(&events, id(RUN, 4)), None);
        assert_eq!(missed(&events, id(RUN, 5)), Some(vec![]));
        let (_, mut live) = events.follow_after(id(RUN, 5));
        assert!(events.are_heard_or_left_out());
        events.publish("alert", &json!("new"), None);
        assert_eq!(live.try_recv().unwrap().id.number, 6);
    }

    /// Whenever a board comes back, it hears what happens or fetches everything.
    #[test]
    fn a_board_that_comes_back_meanwhile_misses_nothing() {
        for _ in 0..1000 {
            let (events, both) = (events(5), Arc::new(Barrier::new(2)));
            let (board, with) = (events.clone(), Arc::clone(&both));
            let back = thread::spawn(move || {
                with.wait();
                board.follow_after(id(RUN, 4))
            });
            both.wait();
            if events.are_heard_or_left_out() {
                events.publish("reading", &json!("new"), None);
            }
            let (missed, mut live) = back.join().unwrap();
            let fetches = matches!(missed, Missed::TooMuch);
            assert!(fetches || live.try_recv().is_ok());
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let events = events(3);
        let large = json!("x".repeat(KEPT_BYTES_MAX / 3));
        (0..5).for_each(|_| events.publish("reading", &large, None));
        assert_eq!(missed(&events, id(RUN, 5)), Some(vec![6, 7]));
        assert_eq!(missed(&events, id(RUN, 4)), None);
        assert!(events.kept.lock().unwrap().bytes <= KEPT_BYTES_MAX);
    }

    #[test]
    fn an_id_of_another_run_is_never_taken_for_one_of_this_run() {
        let events = events(5);
        // The clock was set back, or the last run published faster than the clock ran.
        for stranger in [id(RUN + 1, 2), id(RUN - 1, 2), id(RUN, 50), id(RUN, u64::MAX)] {
            assert_eq!(missed(&events, stranger), None, "{stranger}");
            // What comes afterwards is heard all the same.
            let (_, mut live) = events.follow_after(stranger);
            events.publish("alert", &json!("new"), None);
            assert!(live.try_recv().is_ok());
        }
    }

    #[test]
    fn a_township_hears_what_is_of_its_own_sites() {
        let sites = ["heping-01", "heping-02"].map(str::to_owned);
        let scope = Scope::Clinics { names: ["和平".to_owned()].into(), sites: sites.into() };
        let events = Events::new(RUN);
        let list = |sites: &[&str]| {
            let of = |site: &&str| ((*site).to_owned(), vec![json!([site, 1]), json!([site, 2])]);
            sites.iter().map(of).collect::<BTreeMap<_, _>>()
        };
        events.publish("alert", &json!({"site": "heping-01"}), None);
        events.publish("alert", &json!({"site": "dongfeng-01"}), None);
        events.publish("alert", &json!({"nobody": "says whose"}), None);
        events.publish("broker", &json!({"up": true}), None);
        events.publish_list("reading", "readings", &list(&["dongfeng-01", "heping-01", "xinhua"]));
        events.publish_list("reading", "readings", &list(&["heping-01", "heping-02"]));
        events.publish_list("reading", "readings", &list(&["dongfeng-01"]));
        let kept = events.kept.lock().unwrap();
        let heard = |scope: &Scope| -> Vec<Option<Value>> {
            let all = kept.events.iter().map(|event| event.within(scope));
            all.map(|data| data.map(|data| serde_json::from_str(&data).unwrap())).collect()
        };
        let both = json!({"readings": [["heping-01", 1], ["heping-01", 2], ["heping-02", 1],
            ["heping-02", 2]]});
        let own = json!({"readings": [["heping-01", 1], ["heping-01", 2]]});
        assert_eq!(
            heard(&scope),
            [
                Some(json!({"site": "heping-01"})),
                None,
                None,
                Some(json!({"up": true})),
                Some(own),
                Some(both),
                None
            ]
        );
        let all = heard(&Scope::County);
        assert!(all.iter().all(Option::is_some));
        assert_eq!(all[4].as_ref().unwrap()["readings"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        assert_eq!(id(RUN, 7).to_string().parse::<EventId>().unwrap(), id(RUN, 7));
        for wrong in ["", "7", "7-", "-7", "a-b", "7-7-7"] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
        }
    }
}
