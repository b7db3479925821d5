//! Walks the chain of entries and says what is wrong with it.
//!
//! What no walk finds: an entry that was written by the rules of the chain at its end, and a chain
//! that was written anew from some entry on, with all its hashes. The second is found where the
//! head was kept elsewhere ([`Walk::against`]).
//!
//! An entry is known by the number that it says itself, not by the one of its row: rows may be moved
//! and numbered anew.

use super::{Head, bytes, chained};
use crate::people::hex;
use rusqlite::Connection;
use serde::Serialize;
use std::collections::VecDeque;

/// Rows that are looked at ahead to tell what was done: so many that were put in one behind the
/// other are told as such.
const LOOK: usize = 64;
/// No county comes near: nothing that is computed with numbers below goes wrong.
const NUMBER_MAX: i64 = 1 << 53;
/// Findings that are told one by one.
const FINDINGS_MAX: usize = 100;

/// Means of an entry that says another number than its place has.
const ITS_NUMBER: &str = "what it says was changed, its number among it, or, where it is the last, \
                          what stood before it was removed";

/// One row, as it is stored.
#[derive(Debug)]
struct Stored {
    row: i64,
    body: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    /// The number that the entry says it has.
    fn said(&self) -> Option<i64> {
        let rest = self.body.strip_prefix(b"[1,")?;
        let end = rest.iter().position(|byte| *byte == b',')?;
        let number: i64 = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
        (1..NUMBER_MAX).contains(&number).then_some(number)
    }

    fn follows(&self, before: &[u8]) -> bool {
        chained(before, &self.body).as_ref() == self.hash
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Finding {
    /// Number of the entry; of one that was put in, of its row.
    pub(crate) entry: i64,
    /// The last of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<i64>,
    pub(crate) what: &'static str,
    pub(crate) means: String,
}

/// What a walk found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) good: bool,
    /// Entries that are in the chain.
    pub(crate) entries: u64,
    pub(crate) head: Option<Head>,
    /// What it was held against.
    pub(crate) anchor: Option<Head>,
    pub(crate) findings: Vec<Finding>,
    /// More of them than are told.
    pub(crate) findings_left_out: usize,
}

/// An entry that was taken for one of the chain.
#[derive(Debug)]
struct Link {
    number: i64,
    row: i64,
    hash: Vec<u8>,
}

/// Entries that are not in their place.
#[derive(Debug)]
struct Gap {
    first: i64,
    last: i64,
}

impl Gap {
    const fn holds(&self, number: i64) -> bool {
        self.first <= number && number <= self.last
    }
}

/// A row that is none of the chain where it stands.
#[derive(Debug)]
struct Stranger {
    stored: Stored,
    /// The entry in whose place it stands.
    place: Option<i64>,
}

/// A walk along the chain, in steps.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    anchor: Option<Head>,
    /// Row that was read last.
    row: Option<i64>,
    ahead: VecDeque<Stored>,
    /// The entries before, the newest last.
    links: VecDeque<Link>,
    entries: u64,
    /// Its hash is not known: what stands in the place of the last entry is another.
    is_loose: bool,
    /// By how much rows are numbered higher than the entries in them.
    offset: i64,
    /// Strangers since the last entry.
    extra: i64,
    strangers: Vec<Stranger>,
    gaps: Vec<Gap>,
    findings: Vec<Finding>,
    findings_left_out: usize,
}

impl Walk {
    /// Holds the chain against a head that was kept elsewhere.
    pub(crate) fn against(anchor: Option<Head>) -> Self {
        Self { anchor, ..Self::default() }
    }

    /// Reads and judges that many more rows; whether it was the last step.
    pub(crate) fn step(&mut self, connection: &Connection, count: u32) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(
            "SELECT id, body, hash FROM audit WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = statement.query(rusqlite::params![self.row, count])?;
        let mut is_over = true;
        while let Some(row) = rows.next()? {
            let id = row.get("id")?;
            self.row = Some(id);
            let stored = Stored { row: id, body: bytes(row, "body")?, hash: bytes(row, "hash")? };
            self.ahead.push_back(stored);
            is_over = false;
            if self.ahead.len() > LOOK {
                self.judge_next();
            }
        }
        Ok(is_over)
    }

    fn judge_next(&mut self) {
        if let Some(stored) = self.ahead.pop_front() {
            self.judge(stored);
        }
    }

    /// Number and hash of the last entry.
    fn last(&self) -> (i64, &[u8]) {
        self.links.back().map_or((0, &[]), |link| (link.number, link.hash.as_slice()))
    }

    fn judge(&mut self, stored: Stored) {
        let (number, before) = self.last();
        let next = number + 1;
        let said = stored.said();
        let follows = !self.is_loose && stored.follows(before);
        if said == Some(next) && (follows || self.is_loose) {
            return self.accept(stored, next);
        }
        if let Some(said) = said.filter(|said| self.replaces(&stored, *said)) {
            self.take_back(said);
            return self.accept(stored, said);
        }
        if said == Some(next) {
            return self.judge_unlinked(stored, next);
        }
        let said_ahead = |place: usize| self.ahead.get(place).and_then(Stored::said);
        let is_last = self.ahead.is_empty() && stored.row.wrapping_sub(self.offset) == next;
        if said_ahead(0) == Some(next + 1) || is_last {
            return self.judge_in_place(stored, next, follows);
        }
        let returns = (0..self.ahead.len()).find(|place| said_ahead(*place) == Some(next));
        match (said.filter(|said| *said > next), returns) {
            (Some(said), None) => self.accept_beyond(stored, next, said),
            // The run goes on behind a single entry that was put further back.
            (Some(said), Some(place)) if said_ahead(place + 1) == Some(beyond(said, place)) => {
                self.accept_beyond(stored, next, said);
            }
            _ => {
                self.extra += 1;
                self.strangers.push(Stranger { stored, place: None });
            }
        }
    }

    /// It stands where the next entry stood, and says another number.
    fn judge_in_place(&mut self, stored: Stored, next: i64, follows: bool) {
        let is_missed = |said| self.gaps.iter().any(|gap| gap.holds(said));
        let confirmed = match self.ahead.front() {
            Some(after) => after.follows(&stored.hash),
            None => !stored.said().is_some_and(is_missed),
        };
        if follows || confirmed {
            self.find(next, "changed", ITS_NUMBER);
            return self.accept(stored, next);
        }
        let row = stored.row;
        self.strangers.push(Stranger { stored, place: Some(next) });
        self.gaps.push(Gap { first: next, last: next });
        self.link(Link { number: next, row, hash: Vec::new() }, true);
    }

    /// The next entry by its number, and it does not follow the one before.
    fn judge_unlinked(&mut self, stored: Stored, next: i64) {
        let (_, before) = self.last();
        let genuine = |other: &Stored| other.said() == Some(next) && other.follows(before);
        if self.ahead.iter().any(genuine) {
            self.extra += 1;
            self.strangers.push(Stranger { stored, place: None });
            return;
        }
        let computed = chained(before, &stored.body).as_ref().to_vec();
        let after = self.ahead.front().filter(|after| after.said() == Some(next + 1));
        if after.is_some_and(|after| after.follows(&computed)) {
            self.find(next, "changed", "its hash was changed; what it says is as it was written");
            return self.accept(Stored { hash: computed, ..stored }, next);
        }
        let means = match after.is_some_and(|after| after.follows(&stored.hash)) {
            true => "what it says was changed after it was written",
            false => "what it says, or its hash, was changed after it was written",
        };
        self.find(next, "changed", means);
        self.accept(stored, next);
    }

    /// Whether the entry of that number, which stands further back, is the true one: those that were
    /// taken for it and what follows were put in before it.
    fn replaces(&self, stored: &Stored, said: i64) -> bool {
        let (number, _) = self.last();
        if said > number || self.is_loose {
            return false;
        }
        let goes_on = match self.ahead.front() {
            None => said == number,
            Some(after) => after.said() == Some(said + 1) && after.follows(&stored.hash),
        };
        let before = match said {
            1 => self.entries < u64::try_from(LOOK).unwrap_or(u64::MAX),
            _ => false,
        };
        let follows = before && stored.follows(&[])
            || self.links.iter().any(|link| link.number + 1 == said && stored.follows(&link.hash));
        goes_on && follows
    }

    /// The entries from that number on were none.
    fn take_back(&mut self, number: i64) {
        while let Some(link) = self.links.pop_back_if(|link| link.number >= number) {
            self.entries -= 1;
            self.extra += 1;
            self.inserted(link.row);
        }
    }

    fn accept_beyond(&mut self, stored: Stored, next: i64, said: i64) {
        self.gaps.push(Gap { first: next, last: said - 1 });
        self.accept(stored, said);
    }

    fn accept(&mut self, stored: Stored, number: i64) {
        let (before, _) = self.last();
        let offset = stored.row.wrapping_sub(number);
        let (shift, missing) = (offset.wrapping_sub(self.offset), number - before - 1);
        if ![0, self.extra, -missing, self.extra - missing].contains(&shift) {
            let means = format!("it was given the row {}; what it says is as written", stored.row);
            self.find(number, "moved", &means);
        }
        self.offset = offset;
        self.entries += 1;
        self.link(Link { number, row: stored.row, hash: stored.hash }, false);
    }

    fn link(&mut self, link: Link, is_loose: bool) {
        if let Some(anchor) = self.anchor.as_ref().filter(|anchor| anchor.id == link.number) {
            if anchor.hash != hex(&link.hash) && !is_loose {
                let means = "it is not the entry that was kept elsewhere: it, or one before it, \
                             was written anew with all hashes behind it, or the county was \
                             restored from a backup that did not have it";
                self.find(link.number, "rewritten", means);
            }
        }
        self.extra = 0;
        self.is_loose = is_loose;
        self.links.push_back(link);
        if self.links.len() > LOOK {
            self.links.pop_front();
        }
    }

    fn find(&mut self, entry: i64, what: &'static str, means: &str) {
        self.add(Finding { entry, to: None, what, means: means.to_owned() });
    }

    fn inserted(&mut self, row: i64) {
        self.find(row, "inserted", "somebody put this row in; the chain goes on without it");
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_out += 1;
        }
    }

    /// Judges what is left, and says what was found.
    pub(crate) fn finish(mut self) -> Report {
        while !self.ahead.is_empty() {
            self.judge_next();
        }
        self.resolve_strangers();
        for Gap { first, last } in std::mem::take(&mut self.gaps) {
            let (to, means) = match last > first {
                true => (Some(last), "they were removed; the one behind them cannot be checked"),
                false => (None, "it was removed; the one behind it cannot be checked"),
            };
            self.add(Finding { entry: first, to, what: "removed", means: means.to_owned() });
        }
        let (number, hash) = self.last();
        let head = (number > 0).then(|| Head { id: number, hash: hex(hash) });
        if let Some(anchor) = self.anchor.clone().filter(|anchor| anchor.id > number) {
            let means = "they were there when the head was kept elsewhere: the end of the chain was \
                         cut off, or the county was restored from a backup without them";
            let to = (anchor.id > number + 1).then_some(anchor.id);
            self.add(Finding { entry: number + 1, to, what: "cut", means: means.to_owned() });
        }
        self.findings.sort();
        Report {
            good: self.findings.is_empty(),
            entries: self.entries,
            head,
            anchor: self.anchor,
            findings: self.findings,
            findings_left_out: self.findings_left_out,
        }
    }

    /// What stands where it does not belong is an entry of another place, or a changed one, or none.
    fn resolve_strangers(&mut self) {
        for Stranger { stored, place } in std::mem::take(&mut self.strangers) {
            let (number, hash) = self.last();
            let said = stored.said();
            if said == Some(number + 1) && stored.follows(hash) {
                self.put_elsewhere(number + 1, stored.row);
                let row = self.offset.wrapping_add(number + 1);
                self.accept(Stored { row, ..stored }, number + 1);
            } else if let Some(said) = said.filter(|said| self.fill(*said)) {
                self.entries += 1;
                self.put_elsewhere(said, stored.row);
            } else if let Some(place) = place.filter(|place| self.fill(*place)) {
                self.entries += 1;
                self.find(place, "changed", ITS_NUMBER);
            } else {
                self.inserted(stored.row);
            }
        }
    }

    fn put_elsewhere(&mut self, number: i64, row: i64) {
        self.find(number, "moved", &format!("it was put into row {row}, out of its order"));
    }

    /// Takes an entry out of the gaps; whether it was in one.
    fn fill(&mut self, number: i64) -> bool {
        let Some(place) = self.gaps.iter().position(|gap| gap.holds(number)) else { return false };
        let Gap { first, last } = self.gaps.swap_remove(place);
        let parts = [(first, number - 1), (number + 1, last)].into_iter();
        let parts = parts.filter(|(first, last)| first <= last);
        self.gaps.extend(parts.map(|(first, last)| Gap { first, last }));
        true
    }
}

/// The number that the row behind `place` has where a run goes on that began with `first`.
fn beyond(first: i64, place: usize) -> i64 {
    first.saturating_add(i64::try_from(place).unwrap_or(i64::MAX)).saturating_add(1)
}

#[cfg(test)]
mod tests;
