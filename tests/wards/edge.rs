//! The box of the ward: envelopes as an outbox keeps them, the agent's own rules on them, and what
//! the county is told of alerts while it is out of reach.

use crate::script::{Script, Word, at, site};
use agent::proof::{Disk, GoesBy, Rules};
use model::{
    alert::EdgeAlert,
    id::{Lane, OutboxId, Seq},
    record::Record,
    time::{ClockQuality, MonoTime, Now, Uptime},
};
use rules::alert::{Alert, AlertId};
use std::{collections::BTreeMap, time::Duration};
use uplink_proto::{
    envelope::Envelope,
    state::{SiteState, Upkeep},
};

pub(crate) const OUTBOX: OutboxId = OutboxId::from_bytes([1; 16]);
const BOOT: u32 = 7;
/// An open envelope of streams is committed after so long.
const OPEN_S: i64 = 4;
/// A county that is not heard for so long is out of reach.
const LOST_S: i64 = 10;

/// The moment by the box's clocks.
fn now(second: i64) -> Now {
    let seconds = u64::try_from(second).unwrap();
    Now {
        mono: MonoTime::from_start(Duration::from_secs(seconds)),
        uptime: Uptime { boot: BOOT, ms: seconds * 1000 },
        wall: at(second),
        quality: ClockQuality::Synchronised,
    }
}

/// What a box says of itself.
pub(crate) fn state(second: i64, online: bool, connection: u64, backlog: [u64; 3]) -> Vec<u8> {
    SiteState {
        online,
        connection,
        agent_version: "0.1.0".into(),
        policy: None,
        upkeep: Upkeep::default(),
        outbox: OUTBOX,
        backlog,
        holds_s: None,
        clock: ClockQuality::Synchronised,
        clock_evidence: String::new(),
        at: at(second),
        uptime: Some(now(second).uptime),
    }
    .encode()
}

/// An envelope of the outbox.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) committed: i64,
    pub(crate) envelope: Envelope,
}

/// A box, and its way to the county.
pub(crate) struct Edge {
    rules: Rules,
    goes_by: GoesBy,
    /// What is on disk of the rules, and how many envelopes they had heard.
    disk: (Disk, usize),
    heard: usize,
    /// Every envelope, in the order of commits.
    pub(crate) outbox: Vec<Kept>,
    seqs: BTreeMap<Lane, u64>,
    open: Option<(i64, Vec<Record>)>,
    /// Since when the county is not heard.
    lost_since: Option<i64>,
    pub(crate) is_alone: bool,
    held: Vec<EdgeAlert>,
    reports: Vec<EdgeAlert>,
    /// Something changed since it was written down.
    is_news: bool,
    /// Every alert as it was seen last.
    pub(crate) alerts: BTreeMap<AlertId, Alert>,
}

impl Edge {
    pub(crate) fn new(goes_by: GoesBy) -> Self {
        Self {
            rules: Rules::new(site(), goes_by.clone(), &Disk::default()),
            goes_by,
            disk: (Disk::default(), 0),
            heard: 0,
            outbox: Vec::new(),
            seqs: BTreeMap::new(),
            open: None,
            lost_since: None,
            is_alone: false,
            held: Vec::new(),
            reports: Vec::new(),
            is_news: false,
            alerts: BTreeMap::new(),
        }
    }

    /// A second passes, and those words are said; `rest` is what is said later.
    pub(crate) fn pass(&mut self, second: i64, script: &Script, words: &[Word], rest: &[Word]) {
        for word in words {
            let record = script.record(word);
            match record.lane() {
                Lane::Urgent => self.commit(second, second, vec![record]),
                _ => self.open.get_or_insert_with(|| (second, Vec::new())).1.push(record),
            }
        }
        let is_trend = |word: &&Word| script.record(word).lane() == Lane::Trend;
        let said = words.iter().any(|word| is_trend(&word));
        // An envelope does not wait until somebody speaks again.
        let next = rest.iter().find(is_trend).map_or(i64::MAX, |word| word.at);
        let is_full = |(opened, _): &mut (i64, Vec<Record>)| {
            said && (second - *opened >= OPEN_S || next - *opened > 2 * OPEN_S)
        };
        if let Some((opened, records)) = self.open.take_if(is_full) {
            self.commit(opened, second, records);
        }
        self.hear(second);
    }

    /// Lets time pass for the rules, and decides whether the county is out of reach.
    pub(crate) fn pass_time(&mut self, second: i64) {
        let changed = self.rules.pass_time(now(second));
        self.note(second, changed);
        if !self.is_alone && self.lost_since.is_some_and(|since| second - since >= LOST_S) {
            self.is_alone = true;
            self.reports.append(&mut self.held);
        }
        self.keep(second);
    }

    /// What changed is told, and then written down, unless it is held.
    fn keep(&mut self, second: i64) {
        if !self.held.is_empty() {
            return;
        }
        for report in std::mem::take(&mut self.reports) {
            self.commit(second, second, vec![Record::Alert(Box::new(report))]);
        }
        self.hear(second);
        if std::mem::take(&mut self.is_news) {
            self.disk = (self.rules.disk(), self.heard);
        }
    }

    /// The county is heard, or is not.
    pub(crate) fn look_at_link(&mut self, second: i64, is_up: bool) {
        if is_up {
            (self.lost_since, self.is_alone) = (None, false);
            self.held.clear();
        } else {
            self.lost_since.get_or_insert(second);
        }
    }

    /// The agent is killed and begins again: what the rules heard since they were written down they
    /// hear again.
    pub(crate) fn restart(&mut self, second: i64) {
        let (disk, heard) = self.disk.clone();
        self.rules = Rules::new(site(), self.goes_by.clone(), &disk);
        self.heard = heard;
        (self.held, self.reports) = (Vec::new(), Vec::new());
        self.hear(second);
    }

    /// The county told it what to go by.
    pub(crate) fn go_by(&mut self, second: i64, goes_by: GoesBy) {
        self.goes_by = goes_by.clone();
        let changed = self.rules.go_by(at(second), goes_by);
        self.note(second, changed);
    }

    pub(crate) fn acknowledge(&mut self, second: i64, id: AlertId, by: &str) -> bool {
        let done = self.rules.acknowledge(id, by, at(second));
        done.map(|alert| {
            self.note(second, vec![alert]);
            self.keep(second);
        })
        .is_ok()
    }

    fn commit(&mut self, opened: i64, committed: i64, records: Vec<Record>) {
        let lane = records[0].lane();
        let seq = self.seqs.entry(lane).or_default();
        *seq += 1;
        let envelope = Envelope {
            outbox: OUTBOX,
            lane,
            seq: Seq::new(*seq).unwrap(),
            opened_at: at(opened),
            uptime: Some(now(opened).uptime),
            records,
        };
        self.outbox.push(Kept { committed, envelope });
    }

    /// The rules hear what was committed.
    fn hear(&mut self, second: i64) {
        while let Some(kept) = self.outbox.get(self.heard) {
            let changed = self.rules.take(now(second), &kept.envelope);
            self.heard += 1;
            self.note(second, changed);
        }
    }

    fn note(&mut self, second: i64, changed: Vec<Alert>) {
        let told = self.rules.report(now(second).observed(), &changed);
        self.is_news |= !told.is_empty();
        match (self.is_alone, self.lost_since) {
            (true, _) => self.reports.extend(told),
            (false, Some(_)) => self.held.extend(told),
            (false, None) => {}
        }
        self.alerts.extend(changed.into_iter().map(|alert| (alert.id, alert)));
    }
}
