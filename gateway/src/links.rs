//! How often a box or a device was lost within the last day, and for how long in all.
//!
//! A word is kept when the county hears a box again or hears it no more, and with every state of a
//! device. What comes late finds its place: words are read in the order of their moments.
//!
//! # Invariants
//! - of a box or device at most [`WORDS_MAX`] words are kept, and of those before the last day only
//!   the one that says how the day began
//! - where words of the day were given up for that, the answer says so

use model::{
    device::{DeviceState, DeviceStatus},
    id::SiteId,
    time::WallTime,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};
use uplink_proto::state::SiteState;

const DAY_MS: i64 = 24 * 3_600_000;
/// Two hundred times lost and found in a day is every seven minutes: more is no other news.
const WORDS_MAX: usize = 400;
/// The box itself, among the devices of its site.
const BOX: &str = "";

/// How a box was before it spoke.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Known {
    pub(crate) online: bool,
    connection: i64,
    outbox: String,
    heard: WallTime,
}

impl Known {
    /// Whether it is known that the box had this connection.
    pub(crate) fn has_connection(&self, state: &SiteState) -> bool {
        i64::try_from(state.connection) == Ok(self.connection)
            && state.outbox.to_string() == self.outbox
    }
}

/// What is known of a box, where it has ever spoken.
pub(crate) fn known(connection: &Connection, site: &SiteId) -> rusqlite::Result<Option<Known>> {
    connection
        .prepare_cached("SELECT online, connection, outbox, changed_ms FROM site WHERE site = ?1")?
        .query_row([site.as_str()], |row| {
            let heard = WallTime::from_unix_ms(row.get(3)?);
            Ok(Known { online: row.get(0)?, connection: row.get(1)?, outbox: row.get(2)?, heard })
        })
        .optional()
}

/// A box spoke, or its will did.
pub(crate) fn hear_box(
    connection: &Connection,
    site: &SiteId,
    before: Option<&Known>,
    state: &SiteState,
    now: WallTime,
) -> rusqlite::Result<()> {
    let Some(before) = before else { return put(connection, site, BOX, now, state.online, now) };
    if before.online != state.online {
        return put(connection, site, BOX, now, state.online, now);
    }
    if state.online && !before.has_connection(state) {
        // Nobody said when the connection of before ended: it was heard until then.
        put(connection, site, BOX, before.heard, false, now)?;
        put(connection, site, BOX, now, true, now)?;
    }
    Ok(())
}

/// A box was heard until then and is given up.
pub(crate) fn lose_box(
    connection: &Connection,
    site: &SiteId,
    heard: WallTime,
) -> rusqlite::Result<()> {
    put(connection, site, BOX, heard, false, heard)
}

/// A box told how a device was at that moment.
pub(crate) fn hear_device(
    connection: &Connection,
    site: &SiteId,
    status: &DeviceStatus,
    at: WallTime,
    now: WallTime,
) -> rusqlite::Result<()> {
    let is_up = match status.state {
        // What a person took from its station is not lost.
        DeviceState::Online | DeviceState::Waiting | DeviceState::Removed => true,
        DeviceState::Silent | DeviceState::LinkDown => false,
    };
    put(connection, site, status.device.as_str(), at, is_up, now)
}

fn put(
    connection: &Connection,
    site: &SiteId,
    device: &str,
    at: WallTime,
    is_up: bool,
    now: WallTime,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO link_word (site, device, at_ms, is_up) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![site.as_str(), device, at.unix_ms(), is_up])?;
    connection
        .prepare_cached(&format!(
            "DELETE FROM link_word WHERE id IN (
               SELECT id FROM link_word WHERE site = ?1 AND device = ?2 AND at_ms < (
                 SELECT max(at_ms) FROM link_word
                 WHERE site = ?1 AND device = ?2 AND at_ms <= ?3)
               UNION ALL SELECT id FROM (SELECT id FROM link_word WHERE site = ?1 AND device = ?2
                 ORDER BY at_ms DESC, id DESC LIMIT -1 OFFSET {WORDS_MAX}))"
        ))?
        .execute(params![site.as_str(), device, now.unix_ms() - DAY_MS])?;
    Ok(())
}

/// How often a box was lost within the day before `now`.
pub(crate) fn of_box(
    connection: &Connection,
    site: &str,
    now: WallTime,
) -> rusqlite::Result<Value> {
    lost(connection, site, BOX, now)
}

/// How often a device was lost within the day before `now`.
pub(crate) fn of_device(
    connection: &Connection,
    site: &str,
    device: &str,
    now: WallTime,
) -> rusqlite::Result<Value> {
    lost(connection, site, device, now)
}

fn lost(
    connection: &Connection,
    site: &str,
    device: &str,
    now: WallTime,
) -> rusqlite::Result<Value> {
    let words: Vec<(i64, bool)> = connection
        .prepare_cached(
            "SELECT at_ms, is_up FROM link_word WHERE site = ?1 AND device = ?2
             ORDER BY at_ms, id",
        )?
        .query_map([site, device], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let now_ms = now.unix_ms();
    let begins_ms = now_ms - DAY_MS;
    let (mut times, mut ms) = (0_u32, 0);
    let mut add = |from_ms: i64, until_ms: i64| {
        if until_ms >= begins_ms {
            times += 1;
            ms += (until_ms.min(now_ms) - from_ms.max(begins_ms)).max(0);
        }
    };
    let mut since = None;
    for &(at_ms, is_up) in &words {
        match (since, is_up) {
            (None, false) => since = Some(at_ms),
            (Some(from_ms), true) => {
                add(from_ms, at_ms);
                since = None;
            }
            _ => {}
        }
    }
    if let Some(from_ms) = since {
        add(from_ms, now_ms);
    }
    let is_cut = words.len() >= WORDS_MAX && words.first().is_some_and(|(at, _)| *at > begins_ms);
    Ok(json!({"times": times, "seconds": ms / 1000, "at_least": is_cut}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const NOW_MS: i64 = 1_795_335_300_000;

    struct Words {
        connection: Connection,
        site: SiteId,
        _folder: tempfile::TempDir,
    }

    impl Words {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
            Self { connection, site: SiteId::new("heping").unwrap(), _folder: folder }
        }

        /// `ago_s` before the end; told when it was, or at the end.
        fn put(&self, ago_s: i64, is_up: bool) {
            let at = WallTime::from_unix_ms(NOW_MS - ago_s * 1000);
            put(&self.connection, &self.site, "ecg", at, is_up, at).unwrap();
        }

        fn lost(&self, site: &str) -> (i64, i64, bool) {
            let now = WallTime::from_unix_ms(NOW_MS);
            let told = of_device(&self.connection, site, "ecg", now).unwrap();
            let number = |key: &str| told[key].as_i64().unwrap();
            (number("times"), number("seconds"), told["at_least"].as_bool().unwrap())
        }

        fn kept(&self) -> usize {
            let count = "SELECT count(*) FROM link_word";
            let kept: u32 = self.connection.query_row(count, [], |row| row.get(0)).unwrap();
            usize::try_from(kept).unwrap()
        }
    }

    #[test]
    fn what_began_before_the_day_and_what_goes_on_count_as_far_as_they_are_of_it() {
        let words = Words::new();
        assert_eq!(words.lost("heping"), (0, 0, false));
        let day_s = DAY_MS / 1000;
        for (ago_s, is_up) in [
            (day_s + 900, false),
            (day_s + 600, true), // Over before the day.
            (day_s + 300, false),
            (day_s - 60, true),
            (7200, false),
            (7000, false), // Silent, then unplugged: still the same.
            (6600, true),
            (90, false),
        ] {
            words.put(ago_s, is_up);
        }
        assert_eq!(words.lost("heping"), (3, 60 + 600 + 90, false));
        assert_eq!(words.lost("dongfeng"), (0, 0, false));
    }

    #[test]
    fn what_comes_late_finds_its_place() {
        let words = Words::new();
        for (ago_s, is_up) in [(100, true), (600, false), (5000, true), (500, true)] {
            words.put(ago_s, is_up);
        }
        assert_eq!(words.lost("heping"), (1, 100, false));
    }

    #[test]
    fn of_days_no_more_is_kept_than_how_the_last_one_began() {
        let words = Words::new();
        for day in (0..5).rev() {
            words.put(day * DAY_MS / 1000 + 60, false);
            words.put(day * DAY_MS / 1000 + 30, true);
        }
        // The one of yesterday that ended 30 s before the day, and the two of today.
        assert_eq!((words.kept(), words.lost("heping")), (3, (1, 30, false)));
    }

    #[test]
    fn a_link_that_comes_and_goes_all_day_fills_nothing_and_the_answer_says_at_least() {
        let words = Words::new();
        for ago_s in (0..500).rev() {
            words.put(ago_s * 20 + 10, false);
            words.put(ago_s * 20, true);
        }
        assert_eq!((words.kept(), words.lost("heping")), (WORDS_MAX, (200, 2000, true)));
    }

    #[test]
    fn words_of_one_moment_are_bounded_too() {
        let words = Words::new();
        (0..WORDS_MAX + 50).for_each(|_| words.put(0, true));
        assert_eq!(words.kept(), WORDS_MAX);
    }
}
