//! Runs the command for a lamp or a buzzer: one call for each signal, without a shell, one at a
//! time.
//!
//! # Invariants
//! - a command that hangs is killed and holds up no evaluation
//! - whoever asks for a call hears whether the command took it; one that failed is told

use crate::{clock::Clock, config::HookConfig, status::Board};
use model::time::MonoTime;
use std::{io, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// After a call that failed the next one waits: first and last. A lamp that is plugged in again
/// tells the truth within half a minute.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// One call: what the command reads, and where it is told whether it was taken.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) input: Vec<u8>,
    pub(super) taken: oneshot::Sender<bool>,
}

/// The command, and what it will be told.
#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) config: HookConfig,
    pub(crate) calls: Arc<Mutex<mpsc::Receiver<Call>>>,
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Clock,
    pub(crate) stopped: CancellationToken,
}

/// The way to it: there is one call at a time.
pub(crate) fn channel() -> (mpsc::Sender<Call>, mpsc::Receiver<Call>) {
    mpsc::channel(1)
}

/// Runs the command until the agent stops.
pub(crate) async fn run(hook: Hook) {
    let mut calls = hook.calls.lock().await;
    let mut failing = None;
    loop {
        let next = tokio::select! {
            next = calls.recv() => next,
            () = hook.stopped.cancelled() => return,
        };
        let Some(Call { input, taken }) = next else { return };
        let called = tokio::select! {
            called = call(&hook.config, &input) => called,
            () = hook.stopped.cancelled() => return,
        };
        let why = called.err().map(|error| error.to_string());
        if let Some(error) = why.as_ref().filter(|_| why != failing) {
            tracing::error!(
                error,
                command = hook.config.command,
                "The hook failed and is tried again: check [alerts] hook; a lamp may not know."
            );
        }
        hook.board.hooked(why.clone(), hook.clock.now());
        let _whoever_asked_may_have_begun_anew = taken.send(why.is_none());
        failing = why;
    }
}

/// Asks for calls, and when to ask again.
#[derive(Debug)]
pub(super) struct Caller {
    /// None: no command is configured.
    hook: Option<mpsc::Sender<Call>>,
    /// Whether the present call was taken.
    taken: Option<oneshot::Receiver<bool>>,
    not_before: MonoTime,
    wait: Duration,
}

impl Caller {
    pub(super) fn new(hook: Option<mpsc::Sender<Call>>) -> Self {
        Self { hook, taken: None, not_before: MonoTime::START, wait: AGAIN_AFTER.0 }
    }

    /// From when on a call can be made; none while one is under way, or where there is no command.
    pub(super) fn free_at(&self) -> Option<MonoTime> {
        self.hook.as_ref().filter(|_| self.taken.is_none()).map(|_| self.not_before)
    }

    pub(super) fn call(&mut self, input: Vec<u8>) {
        let (taken, answer) = oneshot::channel();
        // Without room the answer is at once that it was not taken.
        drop(self.hook.as_ref().map(|hook| hook.try_send(Call { input, taken })));
        self.taken = Some(answer);
    }

    /// Whether the present call was taken, once that is known.
    pub(super) async fn answered(&mut self) -> bool {
        match &mut self.taken {
            Some(answer) => answer.await.unwrap_or(false),
            None => std::future::pending().await,
        }
    }

    /// That call is over.
    pub(super) fn over(&mut self, now: MonoTime, taken: bool) {
        self.taken = None;
        if taken {
            self.wait = AGAIN_AFTER.0;
        } else {
            self.not_before = now + self.wait;
            self.wait = (self.wait * 2).min(AGAIN_AFTER.1);
        }
    }
}

async fn call(config: &HookConfig, input: &[u8]) -> io::Result<()> {
    let mut command = Command::new(&config.command);
    command.args(&config.arguments).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let ended = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not care what it is told ends without reading.
            drop(stdin.write_all(input).await);
        }
        child.wait().await
    };
    let limit_s = config.limit.as_secs();
    let status = timeout(config.limit, ended).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("not done in {limit_s} s, and ended"))
    })??;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("it ended with {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::Path;

    const CONFIG: &str = "site = \"heping-01\"\ndata_dir = \"data\"\n[uplink]\n\
        broker = \"localhost:1\"\nca = \"ca.crt\"\ncert = \"c\"\nkey = \"k\"\n";

    #[tokio::test]
    async fn whoever_asks_for_a_call_hears_whether_the_command_took_it() {
        for (script, takes) in [("cat", true), ("exit 3", false), ("exec sleep 60", false)] {
            let (calls, asked) = channel();
            let hook = Hook {
                config: HookConfig {
                    command: "/bin/sh".to_owned(),
                    arguments: vec!["-c".to_owned(), script.to_owned()],
                    limit: Duration::from_secs(if script.contains("sleep") { 1 } else { 60 }),
                },
                calls: Arc::new(Mutex::new(asked)),
                board: Arc::new(Board::new(&config::parse(CONFIG, Path::new("")).unwrap())),
                clock: Clock::start(),
                stopped: CancellationToken::new(),
            };
            let mut caller = Caller::new(Some(calls));
            caller.call(b"{}".to_vec());
            let taken = tokio::select! {
                taken = caller.answered() => taken,
                () = run(hook) => panic!("{script}: it ended"),
            };
            assert_eq!(taken, takes, "{script}");
            caller.over(MonoTime::START, taken);
            assert_eq!(caller.free_at() > Some(MonoTime::START), !takes, "{script}");
        }
    }
}
