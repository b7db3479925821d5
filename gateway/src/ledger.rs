//! The county's account of what it was sent: per site, outbox and lane what arrived, and what is
//! missing, since when, and why.
//!
//! Not here: the keeping of the account ([`crate::intake`]).
//!
//! # Invariants
//! - every seq up to the highest that is known is received or one of what is missing, never both

use crate::{
    clock::rfc3339,
    people::Scope,
    query::{generation_name, ledger_of},
};
use model::id::Seq;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, io};
use uplink_proto::{ranges::RangeSet, receiver::LaneLedger};

/// What was kept aside and is told one by one: the newest. A site of a later version keeps some of
/// every envelope aside.
const ASIDE_MAX: u32 = 1000;

/// First and last of a range.
type Pair = [u64; 2];

/// The account.
#[derive(Debug, Serialize)]
pub(crate) struct Ledger {
    county: County,
    outboxes: Vec<Lane>,
    aside: Vec<Aside>,
    /// Older ones that are kept aside and not told.
    aside_left_out: u64,
}

/// Which county it is.
#[derive(Debug, Serialize)]
struct County {
    /// Random, another one after a restore.
    generation: String,
    /// When the backup was made from which it was restored.
    copied_at: Option<String>,
    restored_at: Option<String>,
    #[serde(skip)]
    restored_ms: Option<i64>,
}

/// One lane of one outbox.
#[derive(Debug, Serialize)]
struct Lane {
    site: String,
    outbox: String,
    /// Whether it is the one the box works with; `None` where the box has not said.
    in_use: Option<bool>,
    lane: String,
    watermark: Option<u64>,
    highest: Option<u64>,
    ranges: Vec<Pair>,
    gaps: Vec<Pair>,
    dropped: Vec<Pair>,
    quarantined: Vec<Pair>,
    /// Envelopes that wait at the box, by its last word.
    waiting: Option<u64>,
    missing: Vec<Missing>,
}

/// Envelopes whose records the county does not have.
#[derive(Debug, Eq, PartialEq, Serialize)]
struct Missing {
    first: u64,
    last: u64,
    state: State,
    /// A word for programs; of an envelope that came, what was wrong with it behind a colon.
    cause: String,
    /// A gap: when the county first saw that they are missing. Dropped: when the first of them was
    /// opened, by the box's clock. Quarantined: when it came.
    since: Option<String>,
    /// Dropped: when the last of them was opened.
    until: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// They did not come.
    Gap,
    /// The box gave them up.
    Dropped,
    /// They came and could not be taken.
    Quarantined,
}

/// Bytes that were kept aside.
#[derive(Debug, Serialize)]
struct Aside {
    site: String,
    outbox: Option<String>,
    lane: Option<String>,
    seq: Option<u64>,
    received_at: String,
    cause: String,
    /// Whether some of its records were taken.
    part_taken: bool,
    bytes: u64,
}

/// The box sends them again, or they are on their way.
const AWAITED: &str = "awaited";
/// They were acked before the county was restored from a backup that does not have them.
const COUNTY_RESTORED: &str = "county_restored";
/// The box works with another outbox: nobody has them to send.
const OUTBOX_REPLACED: &str = "outbox_replaced";
/// Nobody said why.
const UNKNOWN: &str = "unknown";

/// The account of a site, or of all.
pub(crate) fn ledger(
    connection: &Connection,
    site: Option<&str>,
    scope: &Scope,
) -> rusqlite::Result<Ledger> {
    let county = county(connection)?;
    let boxes = boxes(connection)?;
    let mut statement = connection.prepare_cached(
        "SELECT * FROM ledger WHERE (?1 IS NULL OR site = ?1)
         AND (?2 IS NULL OR site IN (SELECT value FROM json_each(?2))) ORDER BY site, outbox, lane",
    )?;
    let sites = scope.sites();
    let mut rows = statement.query(params![site, sites])?;
    let mut outboxes = Vec::new();
    while let Some(row) = rows.next()? {
        outboxes.push(lane(connection, &county, &boxes, row)?);
    }
    let (aside, aside_left_out) = aside(connection, site, sites.as_deref())?;
    Ok(Ledger { county, outboxes, aside, aside_left_out })
}

fn county(connection: &Connection) -> rusqlite::Result<County> {
    connection.query_row("SELECT * FROM county", [], |row| {
        let (copied_ms, restored_ms): (Option<i64>, Option<i64>) =
            (row.get("copied_ms")?, row.get("restored_ms")?);
        Ok(County {
            generation: generation_name(row.get("generation")?),
            copied_at: copied_ms.map(rfc3339),
            restored_at: restored_ms.map(rfc3339),
            restored_ms,
        })
    })
}

/// Of each site the outbox it works with, and what waits in it.
fn boxes(connection: &Connection) -> rusqlite::Result<BTreeMap<String, (String, Value)>> {
    let mut statement = connection.prepare_cached("SELECT site, outbox, backlog FROM site")?;
    let boxes = statement.query_map([], |row| {
        let backlog: String = row.get(2)?;
        Ok((row.get(0)?, (row.get(1)?, serde_json::from_str(&backlog).unwrap_or_default())))
    })?;
    boxes.collect()
}

fn lane(
    connection: &Connection,
    county: &County,
    boxes: &BTreeMap<String, (String, Value)>,
    row: &Row<'_>,
) -> rusqlite::Result<Lane> {
    let ledger = ledger_of(row)?;
    let place =
        Place { site: row.get("site")?, outbox: row.get("outbox")?, lane: row.get("lane")? };
    let told = boxes.get(&place.site);
    let in_use = told.map(|(outbox, _)| *outbox == place.outbox);
    let waiting = told.filter(|_| in_use == Some(true));
    let waiting = waiting.and_then(|(_, backlog)| backlog.get(&place.lane)?.as_u64());
    let mut missing = gaps(connection, county, &place, in_use, &ledger)?;
    missing.extend(dropped(connection, &place, &ledger.dropped)?);
    missing.extend(quarantined(connection, &place, &ledger.quarantined)?);
    missing.sort_by_key(|range| (range.first, range.last));
    let settled = ledger.settled();
    let Place { site, outbox, lane } = place;
    Ok(Lane {
        site,
        outbox,
        in_use,
        lane,
        watermark: settled.watermark().map(Seq::get),
        highest: settled.highest().map(Seq::get),
        ranges: pairs(ledger.received.ranges()),
        gaps: pairs(settled.gaps()),
        dropped: pairs(ledger.dropped.ranges()),
        quarantined: pairs(ledger.quarantined.ranges()),
        waiting,
        missing,
    })
}

fn pairs(ranges: impl IntoIterator<Item = (Seq, Seq)>) -> Vec<Pair> {
    ranges.into_iter().map(|(first, last)| [first.get(), last.get()]).collect()
}

/// Which lane.
struct Place {
    site: String,
    outbox: String,
    lane: String,
}

fn gaps(
    connection: &Connection,
    county: &County,
    place: &Place,
    in_use: Option<bool>,
    ledger: &LaneLedger,
) -> rusqlite::Result<Vec<Missing>> {
    let received = |seq: Option<Seq>| {
        let Some(seq) = seq else { return Ok(None) };
        connection
            .prepare_cached(
                "SELECT received_ms FROM envelope
                 WHERE site = ?1 AND outbox = ?2 AND lane = ?3 AND seq = ?4",
            )?
            .query_row(params![place.site, place.outbox, place.lane, integer(seq)], |row| {
                row.get(0)
            })
            .optional()
    };
    let mut missing = Vec::new();
    for (first, last) in ledger.gaps() {
        let below_ms: Option<i64> = received(ledger.received.last_until(first))?;
        let above_ms: Option<i64> = received(ledger.received.first_from(last))?;
        // The copy ended in between.
        let spans = |restored: i64| {
            above_ms.is_some_and(|above| above >= restored)
                && below_ms.is_none_or(|below| below < restored)
        };
        let cause = match (county.restored_ms.is_some_and(spans), in_use) {
            (true, _) => COUNTY_RESTORED,
            (false, Some(false)) => OUTBOX_REPLACED,
            (false, _) => AWAITED,
        };
        missing.push(Missing {
            first: first.get(),
            last: last.get(),
            state: State::Gap,
            cause: cause.to_owned(),
            since: above_ms.map(rfc3339),
            until: None,
        });
    }
    Ok(missing)
}

fn dropped(
    connection: &Connection,
    place: &Place,
    dropped: &RangeSet,
) -> rusqlite::Result<Vec<Missing>> {
    let mut missing = Vec::new();
    let mut rest = dropped.clone();
    let mut statement = connection.prepare_cached(
        "SELECT first, last, cause, from_ms, until_ms FROM drop_record
         WHERE site = ?1 AND outbox = ?2 AND lane = ?3 ORDER BY first, id",
    )?;
    let mut rows = statement.query([&place.site, &place.outbox, &place.lane])?;
    while let Some(row) = rows.next()? {
        let (Some(first), Some(last)) = (seq(row.get("first")?), seq(row.get("last")?)) else {
            continue;
        };
        let cause: String = row.get("cause")?;
        // What arrived anyway is not missing, and what two records name is missing once.
        for (first, last) in rest.within(first, last) {
            rest.remove_range(first, last);
            missing.push(Missing {
                first: first.get(),
                last: last.get(),
                state: State::Dropped,
                cause: cause.clone(),
                since: Some(rfc3339(row.get("from_ms")?)),
                until: Some(rfc3339(row.get("until_ms")?)),
            });
        }
    }
    missing.extend(rest.ranges().map(|range| without_cause(range, State::Dropped)));
    Ok(missing)
}

fn quarantined(
    connection: &Connection,
    place: &Place,
    quarantined: &RangeSet,
) -> rusqlite::Result<Vec<Missing>> {
    let mut missing: Vec<Missing> = Vec::new();
    let mut rest = quarantined.clone();
    let mut statement = connection.prepare_cached(
        "SELECT seq, cause, received_ms FROM quarantine WHERE site = ?1 AND outbox = ?2
         AND lane = ?3 AND seq BETWEEN ?4 AND ?5 AND NOT rest ORDER BY seq, id",
    )?;
    for (first, last) in quarantined.ranges() {
        let Place { site, outbox, lane } = place;
        let mut rows =
            statement.query(params![site, outbox, lane, integer(first), integer(last)])?;
        while let Some(row) = rows.next()? {
            let Some(seq) = seq(row.get("seq")?).filter(|seq| rest.contains(*seq)) else {
                continue;
            };
            rest.remove_range(seq, seq);
            missing.push(Missing {
                first: seq.get(),
                last: seq.get(),
                state: State::Quarantined,
                cause: row.get("cause")?,
                since: Some(rfc3339(row.get("received_ms")?)),
                until: None,
            });
        }
    }
    missing.extend(rest.ranges().map(|range| without_cause(range, State::Quarantined)));
    Ok(missing)
}

fn without_cause((first, last): (Seq, Seq), state: State) -> Missing {
    let cause = UNKNOWN.to_owned();
    Missing { first: first.get(), last: last.get(), state, cause, since: None, until: None }
}

/// The newest of what was kept aside, oldest first, and how many there are besides.
fn aside(
    connection: &Connection,
    site: Option<&str>,
    sites: Option<&str>,
) -> rusqlite::Result<(Vec<Aside>, u64)> {
    const FROM: &str = "FROM quarantine WHERE (?1 IS NULL OR site = ?1)
         AND (?2 IS NULL OR site IN (SELECT value FROM json_each(?2)))";
    let mut statement = connection.prepare_cached(&format!(
        "SELECT site, outbox, lane, seq, received_ms, cause, rest, length(bytes) AS len
         {FROM} ORDER BY id DESC LIMIT {ASIDE_MAX}"
    ))?;
    let told = statement.query_map([site, sites], |row| {
        Ok(Aside {
            site: row.get("site")?,
            outbox: row.get("outbox")?,
            lane: row.get("lane")?,
            seq: row.get::<_, Option<i64>>("seq")?.and_then(|seq| u64::try_from(seq).ok()),
            received_at: rfc3339(row.get("received_ms")?),
            cause: row.get("cause")?,
            part_taken: row.get("rest")?,
            bytes: row.get::<_, u32>("len")?.into(),
        })
    })?;
    let mut told: Vec<Aside> = told.collect::<Result<_, _>>()?;
    told.reverse();
    let all: i64 =
        connection
            .query_row(&format!("SELECT count(*) {FROM}"), [site, sites], |row| row.get(0))?;
    let all = u64::try_from(all).unwrap_or_default();
    let count = u64::try_from(told.len()).unwrap_or_default();
    Ok((told, all.saturating_sub(count)))
}

fn seq(stored: i64) -> Option<Seq> {
    Seq::new(u64::try_from(stored).ok()?)
}

fn integer(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

impl Ledger {
    /// Whether there is anything to tell of the site that was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.outboxes.is_empty() && self.aside.is_empty()
    }

    /// Writes it for a person.
    pub(crate) fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        write!(out, "county, generation {}", self.county.generation)?;
        if let Some(at) = &self.county.restored_at {
            let copied = self.county.copied_at.as_deref().unwrap_or("an unknown moment");
            write!(out, "; restored {at} from a backup of {copied}")?;
        }
        writeln!(out)?;
        let mut before = None;
        for lane in &self.outboxes {
            if before != Some((&lane.site, &lane.outbox)) {
                let used = match lane.in_use {
                    Some(true) => "in use",
                    Some(false) => "not in use any more",
                    None => "the box has not said which it uses",
                };
                writeln!(out, "\n{}, outbox {}, {used}", lane.site, lane.outbox)?;
                before = Some((&lane.site, &lane.outbox));
            }
            lane.print(out)?;
        }
        if !self.aside.is_empty() {
            writeln!(out, "\nkept aside, with its bytes in the table quarantine:")?;
        }
        if self.aside_left_out > 0 {
            writeln!(out, "  {} older ones", self.aside_left_out)?;
        }
        self.aside.iter().try_for_each(|aside| aside.print(out))
    }
}

impl Lane {
    fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        let missing: u64 = self.missing.iter().map(|range| range.last - range.first + 1).sum();
        let highest = self.highest.unwrap_or_default();
        write!(out, "  {:<6} through {highest}, ", self.lane)?;
        match missing {
            0 => write!(out, "nothing is missing")?,
            _ => write!(out, "{missing} missing")?,
        }
        if let Some(waiting) = self.waiting.filter(|waiting| *waiting > 0) {
            write!(out, "; {waiting} wait at the box")?;
        }
        writeln!(out)?;
        for range in &self.missing {
            let name = match range.first == range.last {
                true => range.first.to_string(),
                false => format!("{}-{}", range.first, range.last),
            };
            writeln!(out, "    {name:<12} {}", range.text())?;
        }
        Ok(())
    }
}

impl Missing {
    /// Since when, and why.
    fn text(&self) -> String {
        let since = self.since.as_deref().unwrap_or("an unknown moment");
        match self.state {
            State::Gap => {
                let why = match self.cause.as_str() {
                    COUNTY_RESTORED => {
                        "acked before the county was restored from a backup without them; the \
                         box sends them again, or says that it has kept none"
                    }
                    OUTBOX_REPLACED => "the box works with another outbox and cannot send them",
                    _ => "later ones came, these did not; the box sends them again",
                };
                format!("missed since {since}: {why}")
            }
            State::Dropped if self.cause == COUNTY_RESTORED => {
                format!(
                    "told by the box {since}: the county was restored without them, and the box \
                     keeps what was acked for a day only"
                )
            }
            State::Dropped => {
                let until = self.until.as_deref().unwrap_or("an unknown moment");
                let why = match self.cause.as_str() {
                    "outbox_full" => "its outbox was full",
                    "disk_full" => "its disk was full",
                    "damaged" => "its file was damaged",
                    "outbox_lost" => "its outbox was damaged beyond reading",
                    other => other,
                };
                format!("of {since} to {until}, given up by the box: {why}")
            }
            State::Quarantined if self.since.is_none() => {
                "could not be taken and was not kept: too many of its site are kept aside"
                    .to_owned()
            }
            State::Quarantined => format!("came {since}: {}", self.cause),
        }
    }
}

impl Aside {
    fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        let place = match (&self.outbox, &self.lane, self.seq) {
            (Some(outbox), Some(lane), Some(seq)) => format!("{outbox} {lane} {seq}"),
            _ => "of no outbox that can be read".to_owned(),
        };
        let part = if self.part_taken { "; the rest was taken" } else { "" };
        writeln!(
            out,
            "  {} {}, {place}, {} bytes: {}{part}",
            self.site, self.received_at, self.bytes, self.cause
        )
    }
}

#[cfg(test)]
mod tests;
