//! Questions that read much of the database: few of them at once, whatever many boards ask, so that
//! alerts, rules and log-ins have the disk and the memory too.

use super::{App, Problem};
use axum::http::StatusCode;
use rusqlite::Connection;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// At once: a trend of a day keeps one of two cores busy for a second and holds some 50 MiB.
const AT_ONCE_MAX: usize = 2;
/// A nurse who looks at a trend does not wait for longer.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// Leave to ask.
#[derive(Clone, Debug)]
pub(crate) struct LargeQuestions {
    turns: Arc<Semaphore>,
    turn_limit: Duration,
}

impl Default for LargeQuestions {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE_MAX)), turn_limit: TURN_LIMIT }
    }
}

/// Asks such a question when it is its turn.
pub(super) async fn ask<T: Send + 'static>(
    app: &App,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let LargeQuestions { turns, turn_limit } = app.large.clone();
    let turn = tokio::time::timeout(turn_limit, turns.acquire_owned());
    let Ok(Ok(turn)) = turn.await else { return Err(busy()) };
    let asked = app.store.read(move |connection| {
        let answer = question(connection);
        // Kept until here: whoever hangs up does not make room for the next.
        drop(turn);
        answer
    });
    Ok(asked.await?)
}

fn busy() -> Problem {
    let text = "trends, lists of readings and reports are read by others just now; ask again in a \
                moment, or for a shorter time";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too much is asked at once", text)
}

#[cfg(test)]
impl LargeQuestions {
    /// All turns are taken until what this hands out is dropped, and nobody waits for one.
    pub(super) fn taken(&mut self) -> tokio::sync::OwnedSemaphorePermit {
        self.turn_limit = Duration::from_millis(1);
        let count = u32::try_from(AT_ONCE_MAX).unwrap();
        Arc::clone(&self.turns).try_acquire_many_owned(count).unwrap()
    }
}
