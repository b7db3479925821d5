//! A bus of one's own: `dbus-daemon` as a child process, for one stage or one test.

use crate::process::{Program, Role};
use anyhow::{Context as _, bail};
use std::{ffi::OsString, fs, io::ErrorKind, path::Path, process::Stdio, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// It starts in a tenth of a second; a loaded machine takes longer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The program, as the system finds it.
const DAEMON: &str = "dbus-daemon";

/// A private bus on which everybody may own any name; it ends with this.
#[derive(Debug)]
pub struct PrivateBus {
    address: String,
    child: Child,
    _dir: TempDir,
}

impl PrivateBus {
    /// Starts a bus.
    ///
    /// # Errors
    /// When there is no `dbus-daemon`, or it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Command::new(DAEMON)).await
    }

    /// Starts a bus that ends with this process, even if that is killed.
    ///
    /// # Errors
    /// When there is no `dbus-daemon`, or it does not start.
    pub async fn start_by(program: &Program) -> anyhow::Result<Self> {
        // The program that becomes it could not say so: nobody reads what it complains of.
        let there = Command::new(DAEMON).arg("--version").output().await;
        if there.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            bail!("dbus-daemon is not installed; on Debian: apt install dbus-daemon");
        }
        Self::start_with(program.command(Role::Bus, &[])).await
    }

    async fn start_with(mut command: Command) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("making a folder for the bus")?;
        let config = dir.path().join("bus.conf");
        fs::write(&config, configuration(dir.path())).context("writing the bus's configuration")?;
        let mut argument = OsString::from("--config-file=");
        argument.push(&config);
        let mut child = command
            .arg(argument)
            .args(["--print-address", "--nofork", "--nopidfile"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context(
                "starting dbus-daemon; on Debian it is in the package dbus-daemon (or dbus)",
            )?;
        let stdout = child.stdout.take().context("the bus has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = match timeout(START_LIMIT, lines.next_line()).await {
            Ok(Ok(Some(address))) => address,
            Ok(_) => bail!("dbus-daemon ended before it was ready"),
            Err(_) => bail!("dbus-daemon was not ready within {} s", START_LIMIT.as_secs()),
        };
        Ok(Self { address, child, _dir: dir })
    }

    /// Where it listens: for `DBUS_SYSTEM_BUS_ADDRESS` of a program that looks for `org.bluez`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends the bus and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("stopping the bus")
    }
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
         <busconfig>\n  <type>system</type>\n  <listen>unix:path={dir}/bus</listen>\n  \
         <auth>EXTERNAL</auth>\n  <policy context=\"default\">\n    \
         <allow send_destination=\"*\" eavesdrop=\"true\"/>\n    <allow eavesdrop=\"true\"/>\n    \
         <allow own=\"*\"/>\n    <allow user=\"*\"/>\n  </policy>\n</busconfig>\n"
    )
}
