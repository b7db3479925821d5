//! Whether somebody or something has set the county's clock: that is an entry of the chain.
//!
//! Not here: the clocks of boxes, which their agents watch and tell of.

use super::{instant, now, rfc3339};
use crate::{
    audit::{self, Entry},
    store::{Store, StoreError},
};
use model::time::WallTime;
use rusqlite::{Connection, Transaction};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A clock is off from here on (alert rules, section 5, TECH-CLOCK); a daemon that only slows it down
/// or speeds it up does 5 ms between two looks.
const SET_MS: i64 = 2000;
/// Beside the other looks of this kind.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// While nothing can be written: after so many, the last goes on to where the clock is.
const UNTOLD_MAX: usize = 64;

/// Both clocks, read at once.
#[derive(Clone, Copy, Debug)]
struct Look {
    wall: WallTime,
    at: Instant,
}

impl Look {
    fn new() -> Self {
        Self { at: instant(), wall: now() }
    }

    /// What the clock would say by now, where it was set since.
    fn set_by(self, here: Self) -> Option<WallTime> {
        let passed = here.at.saturating_duration_since(self.at).as_millis();
        let passed_ms = i64::try_from(passed).unwrap_or(i64::MAX);
        let before_ms = self.wall.unix_ms().saturating_add(passed_ms);
        let off_ms = here.wall.unix_ms().saturating_sub(before_ms).saturating_abs();
        (off_ms > SET_MS).then(|| WallTime::from_unix_ms(before_ms))
    }
}

/// Whether the clock was set back while the county was stopped; asked before this start writes
/// anything. That it was set forward nobody can tell from a pause.
pub(crate) async fn at_start(store: &Store) -> Result<Untold, StoreError> {
    let (written, here) = (store.read(last_written).await?, now());
    let mut untold = Untold::default();
    if let Some(before) = written.filter(|written| here < *written) {
        let (before_ms, at_ms) = (before.unix_ms(), here.unix_ms());
        tracing::warn!(before_ms, at_ms, "The county's clock was set back while it was stopped.");
        untold.note(before, here);
    }
    Ok(untold)
}

/// When the county wrote last, by its clock: that was never later than it is now.
fn last_written(connection: &Connection) -> rusqlite::Result<Option<WallTime>> {
    let last = "SELECT max(ms) FROM (
            SELECT ms FROM (SELECT body ->> 2 AS ms FROM audit ORDER BY id DESC LIMIT 1)
            UNION ALL
            SELECT ms FROM (SELECT received_ms AS ms FROM reading_group ORDER BY id DESC LIMIT 1))";
    let last: Option<i64> = connection.query_row(last, [], |row| row.get(0))?;
    Ok(last.map(WallTime::from_unix_ms))
}

/// Looks again and again until the gateway stops.
pub(crate) async fn watch(store: Store, mut untold: Untold, stopped: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut last = Look::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped.cancelled() => return,
        }
        let here = Look::new();
        if let Some(before) = last.set_by(here) {
            let (before_ms, at_ms) = (before.unix_ms(), here.wall.unix_ms());
            tracing::warn!(before_ms, at_ms, "The county's clock was set.");
            untold.note(before, here.wall);
        }
        untold.tell(&store).await;
        last = here;
    }
}

/// What the clock would have said and what it said, each time it was set, until that is an entry.
#[derive(Debug, Default)]
pub(crate) struct Untold(Vec<(WallTime, WallTime)>);

impl Untold {
    fn note(&mut self, before: WallTime, at: WallTime) {
        let is_full = self.0.len() >= UNTOLD_MAX;
        match self.0.last_mut().filter(|_| is_full) {
            Some((_, last)) => *last = at,
            None => self.0.push((before, at)),
        }
    }

    /// Writes them down, all or none.
    async fn tell(&mut self, store: &Store) {
        if self.0.is_empty() {
            return;
        }
        let steps = self.0.clone();
        let all = move |transaction: &Transaction<'_>| {
            steps.iter().try_for_each(|(before, at)| tell(transaction, *before, *at))
        };
        match store.write(all).await {
            Ok(()) => self.0.clear(),
            Err(error) => {
                tracing::error!(%error, "That the clock was set cannot be written down yet.");
            }
        }
    }
}

/// What it would have said, and what it says.
fn tell(connection: &Connection, before: WallTime, at: WallTime) -> rusqlite::Result<()> {
    let detail = json!({"before": rfc3339(before.unix_ms()), "at": rfc3339(at.unix_ms())});
    let entry = Entry { who: "county", action: "clock_step", what: "county", detail };
    audit::append(connection, at, &entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_335_300_000;

    #[test]
    fn a_clock_was_set_when_it_is_not_where_the_time_that_passed_brought_it() {
        let at = Instant::now();
        let look = |wall_ms, passed_ms| Look {
            wall: WallTime::from_unix_ms(NOW_MS + wall_ms),
            at: at + Duration::from_millis(passed_ms),
        };
        let before = look(0, 0);
        for (wall_ms, passed_ms, expected) in [
            (10_000, 10_000, None),
            // Nobody let it look for an hour.
            (3_600_000, 3_600_000, None),
            (12_000, 10_000, None),
            (8000, 10_000, None),
            (12_001, 10_000, Some(10_000)),
            (7999, 10_000, Some(10_000)),
            (-86_400_000, 10_000, Some(10_000)),
        ] {
            let found = before.set_by(look(wall_ms, passed_ms));
            let expected = expected.map(|ms: i64| WallTime::from_unix_ms(NOW_MS + ms));
            assert_eq!(found, expected, "{wall_ms} in {passed_ms}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_while_the_county_was_stopped_is_noted_at_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("county.sqlite");
        let store = Store::open(&path).unwrap();
        let connection = Store::connection(&path).unwrap();
        assert!(at_start(&store).await.unwrap().0.is_empty(), "it has written nothing");
        let (earlier, later) = (now().unix_ms() - 3_600_000, now().unix_ms() + 3_600_000);
        let enter = |ms| {
            let entry = Entry { who: "county", action: "backup", what: "", detail: json!({}) };
            audit::append(&connection, WallTime::from_unix_ms(ms), &entry).unwrap();
        };
        let measure = |ms: i64| {
            let add =
                "INSERT INTO reading_group (source, outbox_lane, seq, idx, channel, metric_list,
                said, observed_ms, received_ms, measured_ms, time_suspect)
                VALUES (1, 1, ?1, 0, '', 1, '{}', 0, ?1, 0, 0)";
            connection.execute(add, [ms]).unwrap();
        };
        enter(earlier);
        assert!(at_start(&store).await.unwrap().0.is_empty(), "it was stopped for an hour");
        measure(later);
        let noted = at_start(&store).await.unwrap().0;
        assert_eq!(noted.len(), 1);
        assert_eq!(noted[0].0.unix_ms(), later);
        // What was written since then was written by the clock as it is.
        measure(earlier);
        assert!(at_start(&store).await.unwrap().0.is_empty(), "{earlier}");
        enter(later);
        assert_eq!(at_start(&store).await.unwrap().0.len(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("county.sqlite");
        let store = Store::open(&path).unwrap();
        let connection = Store::connection(&path).unwrap();
        let entries = || {
            let count = "SELECT count(*) FROM audit WHERE body LIKE '%clock_step%'";
            connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let full = "CREATE TRIGGER full BEFORE INSERT ON audit
            BEGIN SELECT RAISE(ABORT, 'nothing can be written'); END";
        connection.execute_batch(full).unwrap();
        let mut untold = Untold::default();
        let [before, at] = [NOW_MS, NOW_MS - 3_600_000].map(WallTime::from_unix_ms);
        untold.note(before, at);
        untold.tell(&store).await;
        untold.note(at, before);
        untold.tell(&store).await;
        assert_eq!((entries(), &untold.0), (0, &vec![(before, at), (at, before)]));
        for _ in 0..UNTOLD_MAX {
            untold.note(before, at);
        }
        assert_eq!((untold.0.len(), untold.0.last()), (UNTOLD_MAX, Some(&(before, at))));
        connection.execute_batch("DROP TRIGGER full").unwrap();
        untold.tell(&store).await;
        untold.tell(&store).await;
        assert_eq!((entries(), untold.0.len()), (64, 0), "each once");
    }

    #[test]
    fn that_the_clock_was_set_is_an_entry_with_what_it_would_have_said() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let [before, at] = [NOW_MS, NOW_MS - 3_600_000].map(WallTime::from_unix_ms);
        tell(&connection, before, at).unwrap();
        let body: String =
            connection.query_row("SELECT body FROM audit", [], |row| row.get(0)).unwrap();
        let expected = json!([1, 1, at.unix_ms(), "county", "clock_step", "county",
            {"at": "2026-11-22T07:15:00.000Z", "before": "2026-11-22T08:15:00.000Z"}]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected);
        for texts in [
            include_str!("../../board/texts/zh-CN.json"),
            include_str!("../../board/texts/en.json"),
        ] {
            let texts: serde_json::Value = serde_json::from_str(texts).unwrap();
            assert!(texts["audit.did.clock_step"].is_string());
        }
    }
}
