//! Runs a program with a message on its standard input: a lamp, a text message.
//!
//! # Invariants
//! - no shell, and no word of a message among the arguments
//! - nothing that was started is left when its time is over

use super::sink::{Command, Outcome};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{io, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command as Program},
};

/// A program that has not ended by then is ended.
const RUN_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of each output that are kept; the rest is read and forgotten.
const OUTPUT_MAX: u64 = 500;
/// Where it finds other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs it once; delivered is what ended with 0.
pub(super) async fn run(command: &Command, message: String) -> Outcome {
    run_within(RUN_LIMIT, command, message).await
}

pub(super) async fn run_within(limit: Duration, command: &Command, message: String) -> Outcome {
    match started(command) {
        Ok(mut child) => {
            let mut group = Group(child.id().and_then(pid));
            match tokio::time::timeout(limit, attended(&mut child, message)).await {
                Ok(outcome) => {
                    // It is waited for: the number may be another's soon.
                    group.0 = None;
                    outcome
                }
                Err(_) => {
                    drop(group);
                    // A group that was killed is gone at once.
                    drop(child.wait().await);
                    Outcome::failed(format!("not done in {} s, ended", limit.as_secs()))
                }
            }
        }
        Err(error) => Outcome::failed(format!("{}: {error}", command.program.display())),
    }
}

/// What was started together, ended when nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take() {
            // It may have ended meanwhile.
            kill_process_group(leader, Signal::KILL).ok();
        }
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn started(command: &Command) -> io::Result<Child> {
    Program::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Hands the message over, reads what it says, and waits for its end.
async fn attended(child: &mut Child, message: String) -> Outcome {
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not want to read it may not.
            drop(stdin.write_all(format!("{message}\n").as_bytes()).await);
        }
    };
    let ((), out, err) = tokio::join!(write, heard(out), heard(err));
    let said = format!("{out} {err}");
    let said = said.trim();
    match child.wait().await {
        Ok(status) => {
            let ended = status
                .code()
                .map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"));
            let detail = if said.is_empty() { ended } else { format!("{ended}: {said}") };
            match status.success() {
                true => Outcome::delivered(detail),
                false => Outcome::failed(detail),
            }
        }
        Err(error) => Outcome::failed(error.to_string()),
    }
}

/// The first of what it says; all of it is read, or it would wait for a reader.
async fn heard(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut kept = Vec::new();
    // Whatever it is that cannot be read, it is the end.
    drop((&mut from).take(OUTPUT_MAX).read_to_end(&mut kept).await);
    drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
    String::from_utf8_lossy(&kept).chars().map(printed).collect()
}

fn printed(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}
