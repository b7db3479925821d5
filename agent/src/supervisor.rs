//! The only place of the agent that spawns; what it spawned it awaits.

use std::{future::Future, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A task that panicked is started again after this.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Owner of every task.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    tasks: TaskTracker,
    stopped: CancellationToken,
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        Self { tasks: TaskTracker::new(), stopped: CancellationToken::new() }
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
        let stopped = self.stopped.clone();
        self.tasks.spawn(async move {
            while let Err(error) = tokio::spawn(start()).await {
                tracing::error!(task = name, error = %error, "A task failed and is started again.");
                tokio::select! {
                    () = tokio::time::sleep(RESTART_AFTER) => {}
                    () = stopped.cancelled() => return,
                }
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

/// Runs a blocking loop on a thread of its own, with the runtime's timers.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn thread<F>(name: &str, body: F) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(body))
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
