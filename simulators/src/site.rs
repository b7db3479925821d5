//! One clinic box on this machine: an agent process and its virtual devices on ptys.

use crate::{
    county::County,
    process::{Process, Program, Role},
    stage::{
        bluez::OnAir,
        pty::{Stage, StageTime},
    },
};
use anyhow::{Context as _, bail};
use rustix::process::Signal;
use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use virtual_devices::{Cable, FaultPlan, Patient, Setup, StageClock, Truth, VirtualDevice, gatt};

/// Truth lines that may wait for the disk.
const TRUTH_QUEUE: usize = 4096;
/// Devices keep Chinese local time.
const DEVICE_OFFSET_S: i32 = 8 * 3600;

/// A virtual device of a site.
#[derive(Clone, Debug)]
pub struct DevicePlan {
    /// Id, as in `agent.toml`.
    pub id: String,
    /// Name of the driver and of the virtual device.
    pub name: &'static str,
    /// From which all that is its own follows.
    pub seed: u64,
    /// Whom it measures.
    pub patient: Patient,
    /// What goes wrong with its cable, if anything does.
    pub faults: Option<FaultPlan>,
}

/// A virtual Bluetooth LE device of a site.
#[derive(Clone, Debug)]
pub struct BluetoothPlan {
    /// Id, as in `agent.toml`.
    pub id: String,
    /// Name of the virtual device.
    pub name: &'static str,
    /// Name of the driver.
    pub driver: &'static str,
    /// Its address, `C0:26:DA:00:00:01`.
    pub address: String,
    /// From which all that is its own follows.
    pub seed: u64,
    /// Whom it measures.
    pub patient: Patient,
}

impl BluetoothPlan {
    /// The device itself; it was paired before.
    ///
    /// # Errors
    /// When no virtual device is called so.
    pub fn on_air(self, clock: StageClock) -> anyhow::Result<OnAir> {
        let Self { id, name, address, seed, patient, .. } = self;
        let device = gatt::create(name, Setup { device: id, seed, clock, patient })
            .with_context(|| format!("no virtual Bluetooth LE device is called {name}"))?;
        Ok(OnAir { address, device, is_bonded: true })
    }
}

/// A clinic box.
#[derive(Debug)]
pub struct Site {
    program: Program,
    name: String,
    dir: PathBuf,
    devices: Vec<DevicePlan>,
    process: Option<Process>,
}

impl Site {
    /// Issues the certificate and writes `agent.toml`; starts nothing.
    ///
    /// # Errors
    /// When a file cannot be written or the certificate is not issued.
    pub async fn prepare(
        program: &Program,
        county: &County,
        name: &str,
        dir: &Path,
        devices: Vec<DevicePlan>,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(dir.join("ports"))
            .with_context(|| format!("making {}", dir.display()))?;
        county.issue(name, dir).await?;
        let site = Self {
            program: program.clone(),
            name: name.to_owned(),
            dir: dir.to_owned(),
            devices,
            process: None,
        };
        fs::write(site.config(), site.configuration(county.broker()))
            .context("writing agent.toml")?;
        Ok(site)
    }

    /// Writes Bluetooth devices into `agent.toml`, before the agent starts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_bluetooth(&self, plans: &[BluetoothPlan]) -> anyhow::Result<()> {
        let section = |plan: &BluetoothPlan| {
            let BluetoothPlan { id, driver, address, .. } = plan;
            format!(
                "\n[[bluetooth]]\nid = \"{id}\"\ndriver = \"{driver}\"\n\
                 address = \"{address}\"\n"
            )
        };
        let text: String = plans.iter().map(section).collect();
        let file = fs::OpenOptions::new().append(true).open(self.config());
        file.and_then(|mut file| file.write_all(text.as_bytes())).context("writing agent.toml")
    }

    /// From its next start on the agent is that program.
    pub fn set_program(&mut self, program: Program) {
        self.program = program;
    }

    /// Lets the agent look for the broker at another address than the county's, before it starts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reach_broker_at(&self, address: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.config()).context("reading agent.toml")?;
        let line = |line: &str| match line.starts_with("broker = ") {
            true => format!("broker = \"{address}\"\n"),
            false => format!("{line}\n"),
        };
        let text: String = text.lines().map(line).collect();
        fs::write(self.config(), text).context("writing agent.toml")
    }

    /// Starts the agent.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let config = self.config();
        let arguments = [OsStr::new("run"), OsStr::new("--config"), config.as_os_str()];
        self.process = Some(self.program.start(Role::Agent, &arguments, &self.log())?);
        Ok(())
    }

    /// Kills the agent without warning.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Stops the agent and checks that it ended well.
    ///
    /// # Errors
    /// When it does not stop in time or ends with a failure.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let status = process.stop().await.with_context(|| format!("stopping {}", self.name))?;
        if status.success() {
            Ok(())
        } else {
            bail!("the agent of {} ended with {status}", self.name)
        }
    }

    /// Whether somebody else has stopped or killed the agent; then it is not ours any more.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn was_taken_away(&mut self) -> anyhow::Result<bool> {
        /// What a person sends: `kill`, `kill -9`, Ctrl-C.
        const SENT_BY_PEOPLE: [Signal; 3] = [Signal::TERM, Signal::KILL, Signal::INT];
        let Some(process) = &mut self.process else { return Ok(false) };
        let Some(status) = process.ended()? else { return Ok(false) };
        let sent = SENT_BY_PEOPLE.map(Signal::as_raw);
        let taken =
            status.success() || status.signal().is_some_and(|signal| sent.contains(&signal));
        if taken {
            self.process = None;
        }
        Ok(taken)
    }

    /// Puts every device on its stage.
    ///
    /// # Errors
    /// When a pty cannot be opened.
    pub fn play(&self, clock: StageClock, time: StageTime) -> anyhow::Result<Vec<Performance>> {
        let truth = self.truth();
        self.devices
            .iter()
            .map(|plan| Performance::start(plan, &self.port(&plan.id), clock, time, &truth))
            .collect()
    }

    /// What virtual devices of this site said, a JSON object a line.
    #[must_use]
    pub fn truth(&self) -> PathBuf {
        self.dir.join("truth.jsonl")
    }

    /// The site's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ids of its serial devices.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|plan| plan.id.as_str())
    }

    /// Process id of the agent, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// The agent's configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("agent.toml")
    }

    /// The agent's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("agent.log")
    }

    /// The agent's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The agent's outbox.
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.data().join("outbox.sqlite")
    }

    /// The serial port of a device.
    #[must_use]
    pub fn port(&self, device: &str) -> PathBuf {
        self.dir.join("ports").join(device)
    }

    fn configuration(&self, broker: &str) -> String {
        let (site, dir) = (&self.name, self.dir.display());
        let mut text = format!(
            "site = \"{site}\"\ndata_dir = \"{dir}/data\"\n\n\
             [uplink]\nbroker = \"{broker}\"\nca = \"ca.crt\"\n\
             cert = \"{site}.crt\"\nkey = \"{site}.key\"\n\n\
             [local_page]\nlisten = \"127.0.0.1:0\"\npeople = [\"李秀兰\", \"王强\"]\n"
        );
        for plan in &self.devices {
            let port = self.port(&plan.id);
            text += &format!(
                "\n[[device]]\nid = \"{}\"\ndriver = \"{}\"\nport = \"{}\"\n",
                plan.id,
                plan.name,
                port.display()
            );
        }
        text
    }
}

/// The wall clock of device time 0, and the zone of the devices' own clocks.
#[must_use]
pub fn stage_clock() -> StageClock {
    StageClock {
        wall_start_ms: jiff::Timestamp::now().as_millisecond(),
        utc_offset_s: DEVICE_OFFSET_S,
    }
}

/// Switches all devices off and waits until their truth is written; their cables stay in.
///
/// # Errors
/// When a truth could not be written.
pub async fn switch_off(performances: &mut [Performance]) -> anyhow::Result<()> {
    performances.iter().for_each(|performance| performance.stopped.cancel());
    for performance in performances {
        performance.switch_off().await?;
    }
    Ok(())
}

/// One virtual device on its stage.
#[derive(Debug)]
pub struct Performance {
    id: String,
    stopped: CancellationToken,
    unplugged: CancellationToken,
    playing: JoinHandle<anyhow::Result<()>>,
    /// Until it is switched off.
    writing: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Performance {
    /// Opens a pty with a symlink at `port` and plays the device there; truth goes to the end of
    /// the file `truth`.
    ///
    /// # Errors
    /// When the pty or the file cannot be opened, or nobody knows a device of that name.
    pub fn start(
        plan: &DevicePlan,
        port: &Path,
        clock: StageClock,
        time: StageTime,
        truth: &Path,
    ) -> anyhow::Result<Self> {
        let setup = Setup {
            device: plan.id.clone(),
            seed: plan.seed,
            clock,
            patient: plan.patient.clone(),
        };
        let device = virtual_devices::create(plan.name, setup.clone())
            .with_context(|| format!("no virtual device is called {}", plan.name))?;
        let mut device = Cable::new(device, plan.name, &setup, plan.faults);
        // Before anything is said: a device that said nothing leaves an empty truth, not none.
        let (facts, writing) = write_truth(truth)?;
        let mut stage = Stage::open(port)?;
        let (stopped, unplugged) = (CancellationToken::new(), CancellationToken::new());
        let (off, gone) = (stopped.clone(), unplugged.clone());
        let id = plan.id.clone();
        let playing = tokio::spawn(async move {
            perform(&mut stage, &mut device, time, facts, &off).await?;
            // The cable stays in, so that what the kernel still holds can be read.
            gone.cancelled().await;
            drop(stage);
            Ok(())
        });
        tracing::info!(device = id, port = %port.display(), "Virtual device started.");
        Ok(Self { id, stopped, unplugged, playing, writing: Some(writing) })
    }

    async fn switch_off(&mut self) -> anyhow::Result<()> {
        self.stopped.cancel();
        let Some(writing) = self.writing.take() else { return Ok(()) };
        writing.await.context("the truth's task")?.with_context(|| self.id.clone())
    }

    /// Switches the device off, waits until its truth is written, and pulls its cable.
    ///
    /// # Errors
    /// When the pty failed meanwhile or the truth could not be written.
    pub async fn unplug(mut self) -> anyhow::Result<()> {
        let written = self.switch_off().await;
        self.unplugged.cancel();
        self.playing.await.context("the device's task")?.with_context(|| self.id.clone())?;
        written
    }

    /// Waits until the device can be played no longer, and says why.
    ///
    /// # Errors
    /// When the pty failed or the truth could not be written: always, where nobody switched it off.
    pub async fn failed(&mut self) -> anyhow::Result<()> {
        (&mut self.playing).await.context("the device's task")?.with_context(|| self.id.clone())?;
        self.switch_off().await
    }
}

async fn perform(
    stage: &mut Stage,
    device: &mut dyn VirtualDevice,
    time: StageTime,
    facts: mpsc::Sender<Truth>,
    stopped: &CancellationToken,
) -> anyhow::Result<()> {
    let played = stage.play(device, time, &facts, stopped).await?;
    device.switch_off(played.until);
    for fact in device.take_truth() {
        facts.send(fact).await.context("the truth is no longer written")?;
    }
    if played.forgotten_bytes > 0 {
        tracing::warn!(bytes = played.forgotten_bytes, "Nobody read the port in time.");
    }
    Ok(())
}

/// Writes what is sent to the end of the file at `path`, a JSON object a line, until nobody can send
/// any more.
///
/// # Errors
/// When the file cannot be opened; the task, when it cannot be written.
pub fn write_truth(
    path: &Path,
) -> anyhow::Result<(mpsc::Sender<Truth>, JoinHandle<anyhow::Result<()>>)> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    let (facts, mut said) = mpsc::channel::<Truth>(TRUTH_QUEUE);
    let writing = tokio::spawn(async move {
        while let Some(fact) = said.recv().await {
            let mut line = serde_json::to_vec(&fact).context("writing the truth as JSON")?;
            line.push(b'\n');
            // One write per line: several devices share the file, and appends do not mix.
            file.write_all(&line).context("writing the truth")?;
        }
        Ok(())
    });
    Ok((facts, writing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtual_devices::SimTime;

    /// Says something every 10 ms.
    #[derive(Default)]
    struct Chatterer {
        said_at: SimTime,
        facts: Vec<Truth>,
        out: Vec<u8>,
        taken: usize,
    }

    impl VirtualDevice for Chatterer {
        fn receive(&mut self, _: SimTime, _: &[u8]) {}

        fn advance(&mut self, now: SimTime) {
            while self.said_at.plus_millis(10) <= now {
                self.said_at = self.said_at.plus_millis(10);
                self.facts.push(Truth::default());
                self.out.push(b'.');
            }
        }

        fn next_due(&self) -> Option<SimTime> {
            Some(self.said_at.plus_millis(10))
        }

        fn take_output(&mut self) -> Vec<u8> {
            self.taken += self.out.len();
            std::mem::take(&mut self.out)
        }

        fn take_truth(&mut self) -> Vec<Truth> {
            std::mem::take(&mut self.facts)
        }

        fn switch_off(&mut self, now: SimTime) {
            self.advance(now);
        }
    }

    #[tokio::test]
    async fn what_a_device_says_after_its_last_word_is_no_truth() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage::open(&folder.path().join("port")).unwrap();
        let (facts, mut said) = mpsc::channel(TRUTH_QUEUE);
        let stopped = CancellationToken::new();
        stopped.cancel();
        let mut device = Chatterer::default();
        let time = StageTime::start(1.0);
        perform(&mut stage, &mut device, time, facts, &stopped).await.unwrap();
        let mut count = 0;
        while said.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, device.taken);
    }
}
