//! Whether somebody or something has set the county's clock: that is an entry of the chain.
//!
//! Not here: the clocks of boxes, which their agents watch and tell of.

use super::{instant, now, rfc3339};
use crate::{
    audit::{self, Entry},
    store::Store,
};
use model::time::WallTime;
use rusqlite::Connection;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A clock is off from here on (alert rules, section 5, TECH-CLOCK); a daemon that only slows it down
/// or speeds it up does 5 ms between two looks.
const SET_MS: i64 = 2000;
/// Beside the other looks of this kind.
const LOOK_EVERY: Duration = Duration::from_secs(10);

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

/// Looks again and again until the gateway stops.
pub(crate) async fn watch(store: Store, stopped: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut last = Look::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped.cancelled() => return,
        }
        let here = Look::new();
        if let Some(before) = last.set_by(here) {
            let at = here.wall;
            let (before_ms, at_ms) = (before.unix_ms(), at.unix_ms());
            tracing::warn!(before_ms, at_ms, "The county's clock was set.");
            if let Err(error) = store.write(move |transaction| tell(transaction, before, at)).await
            {
                tracing::error!(%error, "That the clock was set could not be written down.");
            }
        }
        last = here;
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
