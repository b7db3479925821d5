//! Boards that are open, and whether each can be heard.
//!
//! # Invariants
//! - what a board said counts until it says otherwise, takes its leave, is silent for too long, or
//!   its session has ended, whoever ended it
//! - what is remembered is bounded, of a session and in all

use crate::{
    clock::{self, rfc3339},
    events::Events,
    people::{self, Scope},
    query::Clinics,
    store::Store,
};
use model::time::WallTime;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// A board says each 30 s how it is, and each minute where a browser keeps its page back.
const HEARD_LIMIT_MS: u64 = 150_000;
/// How often it is looked who is not heard any more.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Pages that somebody has open by one log-in.
const OF_SESSION_MAX: usize = 8;
/// A county has hundreds.
const BOARDS_MAX: usize = 2000;

/// Whether a board can be heard.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sound {
    On,
    /// For two minutes at most; a new high alert ends it.
    Paused,
    /// Nobody has turned it on.
    Off,
    /// The browser or the computer has taken it away.
    Blocked,
}

impl Sound {
    const fn is_heard(self) -> bool {
        matches!(self, Self::On | Self::Paused)
    }
}

/// A page: of whose session, and which of those it has open.
type Page = (String, String);

#[derive(Debug)]
struct Board {
    name: String,
    sound: Sound,
    scope: Scope,
    /// Since when it can or cannot be heard.
    since: WallTime,
    heard: WallTime,
}

/// What a board says of itself.
pub(crate) struct Word {
    /// Which session: its hash.
    pub(crate) session: String,
    pub(crate) board: String,
    pub(crate) name: String,
    pub(crate) sound: Sound,
    pub(crate) scope: Scope,
}

/// All that are open.
#[derive(Debug, Default)]
pub(crate) struct Boards {
    open: Mutex<BTreeMap<Page, Board>>,
}

impl Boards {
    /// A board said how it is; whether that is news for the others.
    pub(crate) fn heard(&self, word: Word, now: WallTime) -> bool {
        let Word { session, board, name, sound, scope } = word;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let page = (session, board);
        let before = open.get(&page);
        let same = before.filter(|before| before.sound.is_heard() == sound.is_heard());
        let is_news = same.is_none_or(|same| same.name != name || same.scope != scope);
        let since = same.map_or(now, |same| same.since);
        if before.is_none() {
            make_room(&mut open, &page.0);
        }
        open.insert(page, Board { name, sound, scope, since, heard: now });
        is_news
    }

    /// A board takes its leave, or all of a session; whether there were any.
    pub(crate) fn left(&self, session: &str, board: Option<&str>) -> bool {
        self.keep(|(of, page), _| of != session || board.is_some_and(|board| board != page))
    }

    /// Forgets those who are not heard any more, and those whose session is none of these; whether
    /// there were any.
    fn forget(&self, now: WallTime, sessions: Option<&BTreeSet<String>>) -> bool {
        // Where the clock was set they are heard again within half a minute.
        let silent = |board: &Board| now.unix_ms().abs_diff(board.heard.unix_ms());
        self.keep(|(session, _), board| {
            silent(board) < HEARD_LIMIT_MS && sessions.is_none_or(|open| open.contains(session))
        })
    }

    /// Whether a board of a session is known by that name.
    pub(crate) fn is_named(&self, session: &str, name: &str) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().any(|((of, _), board)| of == session && board.name == name)
    }

    fn keep(&self, stays: impl Fn(&Page, &Board) -> bool) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let before = open.len();
        open.retain(|page, board| stays(page, board));
        open.len() < before
    }

    /// As somebody is told them: the boards of their clinics, and clinics in which none is heard.
    /// `own`: clinics that have people of their own.
    pub(crate) fn told(&self, to: &Scope, clinics: &Clinics, own: &BTreeSet<String>) -> Value {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = open.iter().filter(|(_, board)| shares(to, &board.scope));
        let boards: Vec<Value> = shown
            .map(|((_, page), board)| {
                json!({"board": page, "name": board.name, "sound": board.sound,
                    "clinics": board.scope.names(), "since": rfc3339(board.since.unix_ms())})
            })
            .collect();
        let is_theirs = |clinic: &&String| to.names().is_none_or(|names| names.contains(*clinic));
        let sounds = |clinic: &String| {
            let mut heard = open.values().filter(|board| board.sound.is_heard());
            heard.any(|board| match board.scope.names() {
                Some(names) => names.contains(clinic),
                // Somebody at the county wakes nobody in a township that has its own people.
                None => !own.contains(clinic),
            })
        };
        let all: BTreeSet<&String> = clinics.values().filter(is_theirs).collect();
        let silent: Vec<&String> = all.into_iter().filter(|clinic| !sounds(clinic)).collect();
        json!({"boards": boards, "clinics_without_sound": silent})
    }

    /// Tells the boards when one of them is not heard any more, or was logged out.
    pub(crate) async fn watch(
        self: Arc<Self>,
        store: Store,
        events: Events,
        stopped: CancellationToken,
    ) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stopped.cancelled() => return,
                _ = look.tick() => {}
            }
            self.look(&store, &events).await;
        }
    }

    pub(crate) async fn look(&self, store: &Store, events: &Events) {
        let now = clock::now();
        let open = move |connection: &Connection| people::open_sessions(connection, now.unix_ms());
        // A database that cannot be read ends no session.
        let sessions = store.read(open).await.ok();
        if self.forget(now, sessions.as_ref()) {
            tell(events);
        }
    }
}

/// That something of the boards changed; each asks for what it may know.
pub(crate) fn tell(events: &Events) {
    events.publish("boards", &json!({}), None);
}

/// Whoever was not heard for longest goes.
fn make_room(open: &mut BTreeMap<Page, Board>, session: &str) {
    let own = open.keys().filter(|(of, _)| of == session).count();
    let is_full = open.len() >= BOARDS_MAX;
    if own < OF_SESSION_MAX && !is_full {
        return;
    }
    let among = open.iter().filter(|((of, _), _)| own < OF_SESSION_MAX || of == session);
    let oldest = among.min_by_key(|(_, board)| board.heard).map(|(page, _)| page.clone());
    oldest.and_then(|oldest| open.remove(&oldest));
}

/// Whether a board is of the clinics that somebody sees. Those of the county are for the county.
fn shares(to: &Scope, board: &Scope) -> bool {
    match (to.names(), board.names()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(to), Some(board)) => !to.is_disjoint(board),
    }
}

/// Clinics that have people of their own at boards.
pub(crate) fn own_clinics(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT value FROM person, json_each(person.scope)
             WHERE disabled = 0 AND role IN ('nurse', 'doctor', 'kiosk')",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::SiteId;

    const HEPING: &str = "和平镇卫生院";
    const DONGFENG: &str = "东风镇卫生院";

    fn clinics() -> Clinics {
        let of = |(site, name): (&str, &str)| (SiteId::new(site).unwrap(), name.to_owned());
        [("heping", HEPING), ("dongfeng", DONGFENG)].map(of).into()
    }

    fn scope(name: Option<&str>) -> Scope {
        name.map_or(Scope::County, |name| Scope::of_clinics([name.to_owned()].into(), &clinics()))
    }

    fn word(session: &str, board: &str, sound: Sound, clinic: Option<&str>) -> Word {
        let [session, board, name] = [session, board, board].map(str::to_owned);
        Word { session, board, name, sound, scope: scope(clinic) }
    }

    /// Boards that somebody of that clinic is told, and clinics in which none is heard.
    fn told(boards: &Boards, to: Option<&str>, own: &[&str]) -> (Vec<String>, Vec<String>) {
        let own = own.iter().map(|name| (*name).to_owned()).collect();
        let told = boards.told(&scope(to), &clinics(), &own);
        let list = |name: &str| told[name].as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names = list("boards").iter().map(|board| text(&board["name"])).collect();
        (names, list("clinics_without_sound").iter().map(text).collect())
    }

    #[test]
    fn a_board_counts_until_it_leaves_or_is_not_heard() {
        let boards = Boards::default();
        let at = |seconds: i64| WallTime::from_unix_ms(1_795_335_300_000 + seconds * 1000);
        let heard = |sound, after| boards.heard(word("s", "desk", sound, Some(HEPING)), at(after));
        assert!(heard(Sound::Off, 0));
        assert!(!heard(Sound::Off, 30), "no news");
        assert!(heard(Sound::On, 60));
        assert!(!heard(Sound::Paused, 90), "a pause is no silence");
        assert!(heard(Sound::Blocked, 120));
        assert_eq!(told(&boards, Some(HEPING), &[]).0, ["desk"]);
        assert!(!boards.forget(at(269), None));
        assert!(boards.forget(at(270), None));
        assert_eq!(told(&boards, Some(HEPING), &[]).0, [""; 0]);
        heard(Sound::On, 300);
        assert!(!boards.left("s", Some("another")) && !boards.left("another", None));
        assert!(boards.left("s", Some("desk")) && !boards.left("s", Some("desk")));
    }

    #[test]
    fn a_board_of_a_session_that_ended_counts_no_more() {
        let boards = Boards::default();
        let now = WallTime::from_unix_ms(0);
        for session in ["a", "b"] {
            boards.heard(word(session, session, Sound::On, Some(HEPING)), now);
        }
        assert!(boards.is_named("a", "a") && !boards.is_named("a", "b"));
        assert!(!boards.forget(now, Some(&["a", "b"].map(str::to_owned).into())));
        assert!(boards.forget(now, Some(&["b".to_owned()].into())));
        assert_eq!(told(&boards, Some(HEPING), &[]).0, ["b"]);
    }

    #[test]
    fn a_clinic_in_which_no_board_is_heard_is_named() {
        let boards = Boards::default();
        let heard = |word| boards.heard(word, WallTime::from_unix_ms(0));
        let both = vec![DONGFENG.to_owned(), HEPING.to_owned()];
        assert_eq!(told(&boards, None, &[]), (vec![], both));
        heard(word("a", "desk", Sound::On, Some(HEPING)));
        heard(word("b", "wall", Sound::Blocked, Some(DONGFENG)));
        assert_eq!(told(&boards, None, &[]).1, [DONGFENG]);
        // A township hears of its own boards and of itself.
        assert_eq!(told(&boards, Some(HEPING), &[]), (vec!["desk".to_owned()], vec![]));
        let (names, silent) = told(&boards, Some(DONGFENG), &[]);
        assert_eq!((names, silent), (vec!["wall".to_owned()], vec![DONGFENG.to_owned()]));
        // Who looks after the whole county counts where nobody is at the clinic.
        heard(word("c", "county", Sound::On, None));
        assert_eq!(told(&boards, None, &[]).1, [""; 0]);
        assert_eq!(told(&boards, None, &[HEPING, DONGFENG]).1, [DONGFENG]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (boards, mut at_ms) = (Boards::default(), 0);
        let mut heard = |session: &str, board: usize| {
            at_ms += 1;
            let word = word(session, &board.to_string(), Sound::On, None);
            boards.heard(word, WallTime::from_unix_ms(at_ms));
            boards.open.lock().unwrap().len()
        };
        assert_eq!((0..20).map(|board| heard("s", board)).max(), Some(OF_SESSION_MAX));
        let all = (0..BOARDS_MAX + 5).map(|session| heard(&session.to_string(), 0)).max();
        assert_eq!(all, Some(BOARDS_MAX));
    }
}
