//! Runs the command for a lamp or a buzzer: one call for each signal, without a shell, one at a
//! time.
//!
//! # Invariants
//! - a command that hangs is killed and holds up no evaluation
//! - a call that was not made, or failed, is counted and told

use crate::{clock::Clock, config::HookConfig, status::Board};
use std::{io, process::Stdio, sync::Arc};
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    sync::{Mutex, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Calls that may wait: a clinic whose every device signals, twice.
pub(super) const WAITING_MAX: usize = 128;

/// The command, and what it will be told.
#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) config: HookConfig,
    pub(crate) told: Arc<Mutex<mpsc::Receiver<Vec<u8>>>>,
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Clock,
    pub(crate) stopped: CancellationToken,
}

/// Runs the command until the agent stops.
pub(crate) async fn run(hook: Hook) {
    let mut told = hook.told.lock().await;
    loop {
        let input = tokio::select! {
            input = told.recv() => input,
            () = hook.stopped.cancelled() => return,
        };
        let Some(input) = input else { return };
        let called = tokio::select! {
            called = call(&hook.config, &input) => called,
            () = hook.stopped.cancelled() => return,
        };
        if let Err(error) = &called {
            tracing::error!(%error, command = hook.config.command,
                "The hook failed: the lamp or buzzer may not know; check [alerts] hook.");
        }
        hook.board.hooked(called.err().map(|error| error.to_string()), hook.clock.now());
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
