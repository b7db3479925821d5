//! Stories: the demonstration ends by itself, by a signal and before it has begun, and leaves
//! nothing behind.

use anyhow::{Context as _, ensure};
use e2e::until;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use simulators::client::Client;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// Start, comparison and stop on a loaded machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A program of the bench with a folder of its own for temporary files, in a process group of its
/// own: what a shell makes of a command at a terminal.
struct Bench {
    child: Child,
    folder: TempDir,
}

/// The Bluetooth devices of the first clinic, and what each has measured once it was read.
const ON_AIR: [(&str, &str); 2] =
    [("heping-ble-bp-01", "nibp_sys"), ("heping-ble-glu-01", "glu_cap_wb")];
const STRAP: &str = "heping-ble-ecg-01";

impl Bench {
    fn start(words: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(words, |_| {})
    }

    fn start_with(words: &[&str], with: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("tmp"))?;
        let mut command = Command::new(PROGRAM);
        command
            .args(words)
            .env("TMPDIR", folder.path().join("tmp"))
            .current_dir(folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("stdout"))?)
            .stderr(File::create(folder.path().join("stderr"))?);
        with(&mut command);
        Ok(Self { child: command.spawn()?, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn said(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.path("stdout"))?)
    }

    fn complained(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.path("stderr"))?)
    }

    fn id(&self) -> anyhow::Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("no process id")
    }

    /// What stands behind a word that the demonstration printed.
    fn word(&self, name: &str) -> anyhow::Result<String> {
        let said = self.said()?;
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix(name));
        Ok(line.with_context(|| format!("no {name} in {said}"))?.trim().to_owned())
    }

    /// Waits until readings of both clinics are at the county.
    async fn flows(&self) -> anyhow::Result<()> {
        until("readings arrive", LIMIT, async || {
            let client = Client::new(&self.word("board")?, &self.word("token")?, None)?;
            let answer: serde_json::Value = client.get("/api/v1/devices", &[]).await?;
            let devices = answer.get("devices").and_then(serde_json::Value::as_array);
            let heard = devices.into_iter().flatten().filter(|device| {
                device
                    .get("latest")
                    .and_then(serde_json::Value::as_array)
                    .is_some_and(|latest| !latest.is_empty())
            });
            let sites: BTreeSet<_> =
                heard.filter_map(|device| device.get("site")?.as_str()).collect();
            Ok(sites.len() == 2)
        })
        .await
    }

    /// Waits until the county has something of each Bluetooth device.
    async fn is_on_air(&self) -> anyhow::Result<()> {
        let ask = async |what: &str, device: &str, metric: &str| -> anyhow::Result<usize> {
            let client = Client::new(&self.word("board")?, &self.word("token")?, None)?;
            let words = [("device", device), ("metric", metric)];
            let answer: serde_json::Value = client.get(&format!("/api/v1/{what}"), &words).await?;
            let key = if what == "waveforms" { "blocks" } else { what };
            let found = answer.get(key).and_then(serde_json::Value::as_array);
            Ok(found.with_context(|| format!("no {key} in {answer}"))?.len())
        };
        until("the strap's ECG arrives", LIMIT, async || {
            Ok(ask("waveforms", STRAP, "ecg_wave").await? > 0)
        })
        .await?;
        for (device, metric) in ON_AIR {
            until("its readings arrive", LIMIT, async || {
                Ok(ask("readings", device, metric).await? > 0)
            })
            .await?;
        }
        Ok(())
    }

    /// Invented patients are in the beds, and a result of a kiosk, which is on nobody, waits.
    async fn has_patients(&self) -> anyhow::Result<()> {
        let client = Client::new(&self.word("board")?, &self.word("token")?, None)?;
        let ask = async |list: &str, path: &str| -> anyhow::Result<Vec<serde_json::Value>> {
            let mut answer: serde_json::Value = client.get(path, &[]).await?;
            let found = answer.get_mut(list).and_then(serde_json::Value::as_array_mut);
            Ok(std::mem::take(found.with_context(|| format!("no {list}"))?))
        };
        let text = |value: &serde_json::Value, key: &str| {
            value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
        };
        let patients = ask("patients", "/api/v1/patients").await?;
        let names: BTreeSet<_> = patients.iter().map(|patient| text(patient, "name")).collect();
        ensure!(patients.len() == 5 && names.len() == 5, "{patients:?}");
        ensure!(names.iter().all(|name| name.ends_with("**")), "a whole name: {names:?}");
        let said = self.said()?;
        let bindings = ask("bindings", "/api/v1/bindings").await?;
        let bound: BTreeSet<_> = bindings.iter().map(|binding| text(binding, "device")).collect();
        for device in ["heping-ecg-01", "heping-glu-01", "dongfeng-ecg-01", STRAP] {
            ensure!(bound.contains(device) && said.contains(device), "{bound:?} {said}");
        }
        let county = self.word("county    process")?;
        let (id, folder) = county.split_once(", folder ").context("no process id")?;
        let command = String::from_utf8(fs::read(format!("/proc/{id}/cmdline"))?)?;
        ensure!(command.contains("gateway") && command.contains(folder), "{county}: {command}");
        // What pump and meter say is under names of their own, and is their patient's too.
        for cable in ["heping-pump-01-", "heping-glu-01-", "dongfeng-pump-01-", "dongfeng-glu-01-"]
        {
            ensure!(bound.iter().any(|device| device.starts_with(cable)), "{bound:?} {cable}");
            ensure!(said.contains(cable), "{said}");
        }
        until("a result waits for its patient", LIMIT, async || {
            let waiting = ask("waiting", "/api/v1/tray").await?;
            Ok(waiting.iter().any(|result| text(result, "device") == "heping-bp-01"))
        })
        .await
    }

    async fn ends(&mut self) -> anyhow::Result<ExitStatus> {
        until("it ends", LIMIT, || {
            let ended = self.child.try_wait();
            async move { Ok(ended?.is_some()) }
        })
        .await?;
        Ok(self.child.wait()?)
    }

    /// Processes whose command line names our folder.
    fn left_running(&self) -> anyhow::Result<Vec<String>> {
        let ours = self.folder.path().to_string_lossy().into_owned();
        let mut left = Vec::new();
        for entry in fs::read_dir("/proc")? {
            // A process may end while we look.
            let line = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&ours) {
                left.push(line);
            }
        }
        Ok(left)
    }

    fn left_behind(&self) -> anyhow::Result<Vec<PathBuf>> {
        fs::read_dir(self.path("tmp"))?.map(|entry| Ok(entry?.path())).collect()
    }

    /// No process, no folder; with the folder every symlink is gone.
    async fn nothing_is_left(&self) -> anyhow::Result<()> {
        // A command that was killed a moment ago is in the kernel's hands.
        until("nothing is left", Duration::from_secs(5), async || {
            let (running, files) = (self.left_running()?, self.left_behind()?);
            ensure!(running.is_empty() && files.is_empty(), "left: {running:?} {files:?}");
            Ok(true)
        })
        .await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // It has ended where the story went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_seconds_arrive_whole_and_leave_nothing_behind() -> anyhow::Result<()> {
    let mut demo = Bench::start(&["demo", "--port", "0", "--duration", "5s", "--json"])?;
    let status = demo.ends().await?;
    let (said, complained) = (demo.said()?, demo.complained()?);
    ensure!(status.success(), "{status}: {said}{complained}");
    let last = said.lines().last().context("nothing was said")?;
    let report: serde_json::Value = serde_json::from_str(last)?;
    let count = |key: &str| report.get(key).and_then(serde_json::Value::as_u64);
    ensure!(count("emitted") > Some(100), "{report}");
    ensure!(count("stored") == count("emitted"), "{report}");
    for nothing in ["lost", "doubled", "altered", "gaps"] {
        ensure!(count(nothing) == Some(0), "{nothing}: {report}");
    }
    ensure!(report.pointer("/latency_ms/p50").is_some(), "{report}");
    demo.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_a_terminal_compares_and_ends_well() -> anyhow::Result<()> {
    let mut demo = Bench::start(&["demo", "--port", "0"])?;
    demo.flows().await?;
    demo.is_on_air().await?;
    demo.has_patients().await?;
    kill_process_group(demo.id()?, Signal::INT)?;
    let status = demo.ends().await?;
    let (said, complained) = (demo.said()?, demo.complained()?);
    ensure!(status.success(), "{status}: {said}{complained}");
    ensure!(said.contains("\nlost            0\n"), "{said}");
    for device in ON_AIR.map(|(device, _)| device).into_iter().chain([STRAP]) {
        ensure!(said.contains(device), "{device} is not named: {said}");
    }
    demo.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_dbus_daemon_it_says_what_to_install_and_goes_on() -> anyhow::Result<()> {
    let words = ["demo", "--port", "0", "--duration", "5s", "--json"];
    let mut demo = Bench::start_with(&words, |command| {
        command.env("PATH", "");
    })?;
    let status = demo.ends().await?;
    let (said, complained) = (demo.said()?, demo.complained()?);
    ensure!(status.success(), "{status}: {said}{complained}");
    let told: Vec<_> = complained.lines().filter(|line| line.contains("Bluetooth")).collect();
    let wanted = "without Bluetooth devices: dbus-daemon is not installed; on Debian: apt install \
                  dbus-daemon";
    ensure!(told == [wanted], "{told:?}");
    ensure!(!complained.contains(STRAP), "{complained}");
    demo.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demonstration_that_was_killed_takes_every_process_with_it() -> anyhow::Result<()> {
    let mut demo = Bench::start(&["demo", "--port", "0"])?;
    demo.flows().await?;
    let running = demo.left_running()?;
    ensure!(running.iter().any(|line| line.contains("dbus-daemon")), "no bus: {running:?}");
    demo.child.kill()?;
    demo.child.wait()?;
    until("no process is left", LIMIT, async || Ok(demo.left_running()?.is_empty())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_before_it_has_begun_leaves_nothing_behind() -> anyhow::Result<()> {
    let mut demo = Bench::start(&["demo", "--port", "0"])?;
    until("the county's keys are made", LIMIT, async || {
        let folders = demo.left_behind()?;
        Ok(folders.iter().any(|folder| folder.join("county/pki/ca.key").exists()))
    })
    .await?;
    kill_process(demo.id()?, Signal::TERM)?;
    let status = demo.ends().await?;
    let complained = demo.complained()?;
    ensure!(status.code() == Some(1), "{status}: {complained}");
    ensure!(complained.contains("stopped before anything was compared"), "{complained}");
    demo.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_killed_and_started_by_hand_does_not_hide_the_report()
-> anyhow::Result<()> {
    let mut demo = Bench::start(&["demo", "--port", "0"])?;
    demo.flows().await?;
    let agent = demo.word("agent     process")?;
    let (id, folder) = agent.split_once(", folder ").context("no process id")?;
    kill_process(Pid::from_raw(id.parse()?).context("no process id")?, Signal::KILL)?;
    let config = format!("{folder}/agent.toml");
    let mut agent = Command::new(PROGRAM)
        .args(["__clinic-agent", "run", "--config", &config])
        .stderr(Stdio::null())
        .spawn()?;
    kill_process_group(demo.id()?, Signal::INT)?;
    let ended = demo.ends().await;
    agent.kill()?;
    agent.wait()?;
    ended?;
    let (said, complained) = (demo.said()?, demo.complained()?);
    ensure!(said.contains("\nemitted "), "{said}{complained}");
    ensure!(complained.contains("somebody stopped the agent of heping"), "{complained}");
    ensure!(Path::new(folder).join("truth.jsonl").exists(), "the folder is gone: {said}");
    ensure!(demo.left_running()?.is_empty(), "left: {:?}", demo.left_running()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_on_a_pty_ends_by_sigterm_and_takes_its_link_with_it() -> anyhow::Result<()> {
    let words = ["device", "pm6750", "--pty-link", "port", "--truth", "truth.jsonl"];
    let mut device = Bench::start(&words)?;
    let (link, truth) = (device.path("port"), device.path("truth.jsonl"));
    until("the device is there", LIMIT, async || Ok(is_link(&link))).await?;
    // "Enable the ECG stream": the monitor is silent until somebody asks.
    fs::write(&link, [0x55, 0xAA, 0x04, 0x01, 0x01, 0xF9])?;
    let blocks = || fs::read_to_string(&truth).map(|text| text.matches("sha256").count());
    until("the device speaks", LIMIT, async || Ok(blocks()? >= 7)).await?;
    kill_process(device.id()?, Signal::TERM)?;
    let status = device.ends().await?;
    ensure!(status.success(), "{status}: {}", device.complained()?);
    ensure!(!is_link(&link), "the symlink is still there");
    // One block per lead was full; what was begun after it is told of every lead or of none.
    let told = blocks()?;
    ensure!(told >= 7 && told.is_multiple_of(7), "the last words are missing: {told}");
    Ok(())
}

#[test]
fn a_folder_with_an_earlier_demonstration_is_left_as_it_is() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("county/gateway.toml");
    fs::create_dir(folder.path().join("county"))?;
    fs::write(&config, "as it was")?;
    let path = folder.path().to_string_lossy().into_owned();
    let output = Command::new(PROGRAM).args(["demo", "--data", &path]).output()?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    ensure!(fs::read_to_string(&config)? == "as it was", "it was overwritten");
    Ok(())
}
