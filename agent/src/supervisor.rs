//! The only place of the agent that spawns; what it spawned it awaits.

use crate::{clock::Clock, status::Board};
use std::{future::Future, io, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A task that panicked is started again after this: first and last.
const RESTART_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A task that ran this long was good: its next failure begins with the first wait again.
const GOOD_AFTER: Duration = Duration::from_secs(300);

/// Owner of every task.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    tasks: TaskTracker,
    stopped: CancellationToken,
    board: Arc<Board>,
    clock: Clock,
}

impl Supervisor {
    pub(crate) fn new(board: Arc<Board>, clock: Clock) -> Self {
        Self { tasks: TaskTracker::new(), stopped: CancellationToken::new(), board, clock }
    }

    /// Cancelled when the agent stops.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stopped.clone()
    }

    /// Runs a task until it ends by itself; one that panics is started again.
    pub(crate) fn keep<F>(&self, name: String, start: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stopped, board, clock) = (self.stopped.clone(), Arc::clone(&self.board), self.clock);
        self.tasks.spawn(async move {
            let mut started = clock.mono();
            let mut wait = RESTART_AFTER.0;
            while let Err(error) = tokio::spawn(start()).await {
                tracing::error!(task = name, error = %error, "A task failed and is started again.");
                board.task_failed(&name);
                wait = restart_after(wait, clock.mono().since(started));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stopped.cancelled() => return,
                }
                started = clock.mono();
            }
        });
    }

    /// Stops every task and waits at most `limit` for them; whether all have ended.
    pub(crate) async fn stop(&self, limit: Duration) -> bool {
        self.stopped.cancel();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

/// How long a task that failed waits, after the wait before and how long it ran.
fn restart_after(before: Duration, ran: Duration) -> Duration {
    if ran >= GOOD_AFTER { RESTART_AFTER.0 } else { (before * 2).min(RESTART_AFTER.1) }
}

/// A loop that may block, on a thread of its own, with the runtime's timers.
#[derive(Debug)]
pub(crate) struct Worker {
    closing: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts what `body` makes of the token that tells it to finish.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<F>(
        name: &str,
        body: impl FnOnce(CancellationToken) -> F,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let closing = CancellationToken::new();
        let (end, ended) = oneshot::channel();
        let body = body(closing.clone());
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(body);
            let _nobody_waits = end.send(());
        })?;
        Ok(Self { closing, ended })
    }

    /// Comes back when the thread ends by itself, which it never should.
    pub(crate) async fn ended(&mut self) {
        // Without a word it has panicked.
        drop((&mut self.ended).await);
    }

    /// Tells it to finish; whether it did so within `limit`, and without a panic.
    pub(crate) async fn close(&mut self, limit: Duration) -> bool {
        self.closing.cancel();
        matches!(tokio::time::timeout(limit, &mut self.ended).await, Ok(Ok(())))
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Tied(JoinHandle<()>);

impl Drop for Tied {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Feeds what `produce` hands out into a bounded channel, until it hands out `None`, nobody
/// listens, or the returned [`Tied`] is dropped.
pub(crate) fn pump<T, P, F>(capacity: usize, mut produce: P) -> (Tied, mpsc::Receiver<T>)
where
    T: Send + 'static,
    P: FnMut() -> F + Send + 'static,
    F: Future<Output = Option<T>> + Send,
{
    let (sender, receiver) = mpsc::channel(capacity);
    let task = tokio::spawn(async move {
        while let Some(item) = produce().await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    });
    (Tied(task), receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_fails_at_once_is_started_ever_more_rarely() {
        let mut wait = RESTART_AFTER.0;
        let waits: Vec<u64> = std::iter::repeat_with(|| {
            wait = restart_after(wait, Duration::from_secs(3));
            wait.as_secs()
        })
        .take(7)
        .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(restart_after(wait, GOOD_AFTER), RESTART_AFTER.0);
    }
}
