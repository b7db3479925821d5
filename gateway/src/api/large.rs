//! Questions that read much of the database: few of them at once, whatever many boards ask, so that
//! alerts, rules and log-ins have the disk and the memory too.
//!
//! # Invariants
//! - whoever asks has one turn at most: nobody keeps the others from theirs by asking on

use super::{App, Problem};
use crate::code::Code;
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// At once: a trend of a day keeps one of two cores busy for a second and holds some 50 MiB.
const AT_ONCE_MAX: usize = 2;
/// A nurse who looks at a trend does not wait for longer.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// Leave to ask.
#[derive(Clone, Debug)]
pub(crate) struct LargeQuestions {
    turns: Arc<Semaphore>,
    /// The turn of everybody who asks or waits just now, by name.
    own: Arc<Mutex<BTreeMap<String, Weak<Semaphore>>>>,
    turn_limit: Duration,
}

impl Default for LargeQuestions {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE_MAX));
        Self { turns, own: Arc::default(), turn_limit: TURN_LIMIT }
    }
}

impl LargeQuestions {
    /// The only turn of somebody.
    fn own(&self, name: &str) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = own.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Semaphore::new(1));
        own.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// Waits for the turn of somebody, and for one of all.
    async fn turn(&self, name: &str) -> Option<[OwnedSemaphorePermit; 2]> {
        let turns = async {
            let own = self.own(name).acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.turns).acquire_owned().await.ok()?;
            Some([own, of_all])
        };
        tokio::time::timeout(self.turn_limit, turns).await.ok().flatten()
    }
}

/// Asks such a question for somebody when it is their turn.
pub(super) async fn ask<T: Send + 'static>(
    app: &App,
    name: &str,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let turn = app.large.turn(name).await.ok_or_else(busy)?;
    let asked = app.store.read(move |connection| {
        let answer = question(connection);
        // Kept until here: whoever hangs up does not make room for the next.
        drop(turn);
        answer
    });
    Ok(asked.await?)
}

fn busy() -> Problem {
    let text = "trends, lists of readings and reports are read by others, or by you, just now; ask \
                again in a moment, or for a shorter time";
    Problem::new(Code::Busy, text)
}

#[cfg(test)]
impl LargeQuestions {
    /// All turns are taken until what this hands out is dropped, and nobody waits for one.
    pub(super) fn taken(&mut self) -> OwnedSemaphorePermit {
        self.turn_limit = Duration::from_millis(1);
        let count = u32::try_from(AT_ONCE_MAX).unwrap();
        Arc::clone(&self.turns).try_acquire_many_owned(count).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_twice_at_once_leaves_the_second_turn_to_others() {
        let turn_limit = Duration::from_millis(1);
        let large = LargeQuestions { turn_limit, ..LargeQuestions::default() };
        let first = large.turn("bench").await;
        assert!(first.is_some());
        assert!(large.turn("bench").await.is_none(), "one turn is all that somebody has");
        let other = large.turn("wang").await;
        assert!(other.is_some());
        drop(first);
        let again = large.turn("bench").await;
        assert!(again.is_some());
        drop((other, again));
        assert!(large.turn("li").await.is_some());
        // Who has asked and gone is forgotten.
        assert_eq!(large.own.lock().unwrap().len(), 1);
    }
}
