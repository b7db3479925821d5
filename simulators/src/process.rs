//! Agent and gateway as child processes of this same program, with their logs in files; a private
//! bus as one that becomes another program.
//!
//! # Invariants
//! - a signal of the terminal ends the bench, not its children: they are still needed for the
//!   comparison, and are stopped in order
//! - no child outlives the bench, however that ends

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// A daemon stops within 5 s of SIGTERM; twice that on a loaded machine.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Which program a child process is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// `clinic-agent`
    Agent,
    /// `clinic-gateway`
    Gateway,
    /// `dbus-daemon`
    Bus,
}

impl Role {
    const fn argument(self) -> &'static str {
        match self {
            Self::Agent => "__clinic-agent",
            Self::Gateway => "__clinic-gateway",
            Self::Bus => "__dbus-daemon",
        }
    }

    /// The role a hidden first argument asks for.
    #[must_use]
    pub fn from_argument(argument: &OsStr) -> Option<Self> {
        [Self::Agent, Self::Gateway, Self::Bus].into_iter().find(|role| argument == role.argument())
    }
}

/// Asks the kernel to end this process when the bench is gone, even if that was killed.
pub(crate) fn follow_parent() {
    // A kernel that refuses leaves a daemon behind after a kill, and nothing worse.
    set_parent_process_death_signal(Some(Signal::TERM)).ok();
}

/// Becomes `dbus-daemon`, which is none of ours and could not follow its parent by itself.
pub(crate) fn become_bus(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let error = std::process::Command::new("dbus-daemon").args(arguments).exec();
    tracing::error!(%error, "There is no dbus-daemon.");
    ExitCode::FAILURE
}

/// The program that is re-executed: `clinic-sim` itself, or in tests one built for them.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// The agent's own program, where it is not this one.
    agent: Option<PathBuf>,
    /// What its processes have in their environment beside our own.
    environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// The program that runs now.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn current() -> anyhow::Result<Self> {
        let path = std::env::current_exe().context("asking for the path of this program")?;
        Ok(Self::at(&path))
    }

    /// A program whose `main` is [`crate::main_from`].
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), agent: None, environment: Vec::new() }
    }

    /// The same program, with an agent that is a program of its own.
    #[must_use]
    pub fn with_agent(&self, path: &Path) -> Self {
        Self { agent: Some(path.to_owned()), ..self.clone() }
    }

    /// The same program, whose processes look for `org.bluez` on the bus at that address.
    #[must_use]
    pub fn on_bus(&self, address: &str) -> Self {
        self.with_variable("DBUS_SYSTEM_BUS_ADDRESS", address)
    }

    /// The same program, whose processes have that in their environment.
    #[must_use]
    pub fn with_variable(&self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut program = self.clone();
        program.environment.push((name.into(), value.as_ref().to_owned()));
        program
    }

    pub(crate) fn command(&self, role: Role, arguments: &[&OsStr]) -> Command {
        let mut command = match &self.agent {
            Some(path) if role == Role::Agent => Command::new(path),
            _ => {
                let mut command = Command::new(&self.path);
                command.arg(role.argument());
                command
            }
        };
        command.args(arguments).stdin(Stdio::null());
        // A group of its own: Ctrl-C at a terminal goes to every process of the bench's group.
        command.process_group(0).kill_on_drop(true);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end and hands out what it printed.
    ///
    /// # Errors
    /// When it cannot be started or does not end with 0; the message has what it said.
    pub async fn run(&self, role: Role, arguments: &[&OsStr]) -> anyhow::Result<String> {
        let shown: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        let output = self
            .command(role, arguments)
            .output()
            .await
            .with_context(|| format!("starting {}", shown.join(" ")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{role:?} {} ended with {}: {}", shown.join(" "), output.status, said.trim());
        }
        String::from_utf8(output.stdout).context("the program did not print text")
    }

    /// Starts a daemon; what it logs goes to the end of `log`.
    ///
    /// # Errors
    /// When it cannot be started or the log cannot be opened.
    pub fn start(&self, role: Role, arguments: &[&OsStr], log: &Path) -> anyhow::Result<Process> {
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut child = self
            .command(role, arguments)
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {role:?}"))?;
        let stdout = child.stdout.take().context("the child has no stdout")?;
        Ok(Process { child, lines: BufReader::new(stdout).lines(), log: log.to_owned() })
    }
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// The next line the daemon prints.
    ///
    /// # Errors
    /// When none comes within `limit` or the daemon ends; the message has the end of its log.
    pub async fn line(&mut self, limit: Duration) -> anyhow::Result<String> {
        match timeout(limit, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(_) => bail!("the program ended before it was ready\n{}", self.log_tail()),
            Err(_) => bail!("not ready within {} s\n{}", limit.as_secs(), self.log_tail()),
        }
    }

    /// How the daemon ended, where it has.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("asking for the child's state")
    }

    /// The daemon's process id.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills the daemon without warning (SIGKILL).
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("killing the child")
    }

    /// Asks the daemon to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process(id, Signal::TERM).context("sending SIGTERM")?;
        }
        match timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(status) => status.context("waiting for the child"),
            Err(_) => bail!(
                "did not stop within {} s of SIGTERM\n{}",
                STOP_LIMIT.as_secs(),
                self.log_tail()
            ),
        }
    }

    fn log_tail(&self) -> String {
        const LINES: usize = 15;
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
        format!("end of {}:\n{}", self.log.display(), tail.join("\n"))
    }
}
