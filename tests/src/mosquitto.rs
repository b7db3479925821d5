//! mosquitto as a county installs it, as a process that can be killed and started again.

use anyhow::{Context as _, ensure};
use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// One mosquitto, killed when it goes out of scope.
#[derive(Debug)]
pub struct Mosquitto {
    /// Where `configs/broker/mosquitto.conf` is included, and what that file names.
    installed: TempDir,
    running: Option<Child>,
}

impl Mosquitto {
    /// What README.md says under "A broker of its own", in a folder instead of `/etc/mosquitto`.
    /// Starts nothing.
    ///
    /// # Errors
    /// When a file cannot be written, or there is no mosquitto.
    pub fn install(pki: &Path, port: u16) -> anyhow::Result<Self> {
        const CLINIC_EDGE: &str = "/etc/mosquitto/clinic-edge";
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/broker");
        let folder = tempfile::tempdir()?;
        let (ours, included) = (folder.path().join("clinic-edge"), folder.path().join("conf.d"));
        fs::create_dir(&ours)?;
        fs::create_dir(&included)?;
        for file in ["ca.crt", "broker.crt", "broker.key"] {
            fs::copy(pki.join(file), ours.join(file))?;
        }
        fs::copy(configs.join("acl"), ours.join("acl"))?;
        let shipped = fs::read_to_string(configs.join("mosquitto.conf"))?;
        let (listener, place) = ("listener 8883\n", ours.display().to_string());
        ensure!(shipped.contains(listener) && shipped.contains(CLINIC_EDGE), "{shipped}");
        let text = shipped
            .replace(listener, &format!("listener {port} 127.0.0.1\n"))
            .replace(CLINIC_EDGE, &place);
        fs::write(included.join("clinic-edge.conf"), text)?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        // As in Debian's own mosquitto.conf.
        let main = format!(
            "persistence true\npersistence_location {}/\ninclude_dir {}\n",
            state.display(),
            included.display()
        );
        fs::write(folder.path().join("mosquitto.conf"), main)?;
        if rustix::process::geteuid().is_root() {
            // Started by root it becomes the user mosquitto, who must get at everything by itself.
            let (user, group) = (id("-u")?, id("-g")?);
            chown(folder.path(), Some(user), Some(group))?;
            for part in [&ours, &state] {
                chown(part, Some(user), Some(group))?;
                for entry in fs::read_dir(part)? {
                    chown(entry?.path(), Some(user), Some(group))?;
                }
            }
        }
        Ok(Self { installed: folder, running: None })
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let log = fs::File::create(self.installed.path().join("log"))?;
        let child = Command::new(program.context("mosquitto is missing; tests/run installs it")?)
            .arg("-c")
            .arg(self.installed.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting mosquitto")?;
        self.running = Some(child);
        Ok(())
    }

    /// Kills it without warning.
    ///
    /// # Errors
    /// When the system refuses, or when it had ended by itself.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.runs()?;
        let Some(mut child) = self.running.take() else { return Ok(()) };
        child.kill().context("killing mosquitto")?;
        child.wait().context("waiting for mosquitto")?;
        Ok(())
    }

    /// Says what mosquitto complained about when it does not run any more.
    ///
    /// # Errors
    /// When it has ended.
    pub fn runs(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.running else { return Ok(()) };
        let ended = child.try_wait()?;
        let log = fs::read_to_string(self.installed.path().join("log"))?;
        ensure!(ended.is_none(), "mosquitto ended with {ended:?}: {log}");
        Ok(())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The number of the user or group mosquitto.
fn id(which: &str) -> anyhow::Result<u32> {
    let output = Command::new("id").args([which, "mosquitto"]).output()?;
    ensure!(output.status.success(), "there is no user mosquitto; tests/run installs it");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
