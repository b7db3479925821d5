//! The virtual machine: what is put in, and how it is run. No processor of the host's is needed
//! that can virtualise, and no privilege.

use anyhow::{Context as _, bail, ensure};
use simulators::{
    county::{BrokerPlace, County, CountyPlan},
    process::Program,
};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::process::Command;

/// One boot, on two busy cores.
const LIMIT: Duration = Duration::from_secs(600);
const SITE: &str = "heping";
/// The guest's scripts, as they are in the tree.
const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vm/guest");
/// How `guest/story.py` ends when nothing went on for too long.
const HUNG: &str = "75";
/// Lines of the console that are shown when something is wrong.
const CONSOLE_TAIL: usize = 200;

/// A machine that is ready to boot.
#[derive(Debug)]
pub(crate) struct Machine {
    folder: TempDir,
    kernel: PathBuf,
    /// What the kernel unpacks: ours, and behind it the image.
    memory: PathBuf,
}

/// What a machine left.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Holds `out`, what its programs logged, and `site/data`, the agent's data.
    pub(crate) folder: TempDir,
    pub(crate) took: Duration,
}

impl Machine {
    pub(crate) async fn prepare(image: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let root = folder.path().join("root");
        let vm = root.join("vm");
        fs::create_dir_all(&vm).context("making the machine's folders")?;
        for entry in fs::read_dir(GUEST).with_context(|| format!("reading {GUEST}"))? {
            let entry = entry?;
            let inside = if entry.file_name() == "init" { &root } else { &vm };
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), inside.join(entry.file_name()))?;
            }
        }
        let agent = std::env::current_exe()?.with_file_name("clinic-agent");
        let stripped = vm.join("clinic-agent");
        let strip = Command::new("strip").arg("-o").args([&stripped, &agent]).status().await;
        ensure!(
            strip.context("starting strip")?.success(),
            "{} cannot be stripped; build it with: cargo build --bin clinic-agent",
            agent.display()
        );
        settle_in(&root.join("site"), folder.path()).await?;
        let memory = folder.path().join("memory.cpio");
        let mut packed = File::create(&memory).context("making the machine's memory")?;
        let pack = Command::new("bash")
            .args(["-c", "find . | cpio --create --format newc --quiet"])
            .current_dir(&root)
            .stdout(packed.try_clone()?)
            .status();
        ensure!(pack.await.context("starting cpio")?.success(), "cpio failed");
        let mut base = File::open(image.join("root.cpio"))
            .with_context(|| format!("no image; make it: tests/vm/image {}", image.display()))?;
        io::copy(&mut base, &mut packed).context("adding the image")?;
        Ok(Self { kernel: image.join("vmlinuz"), memory, folder })
    }

    /// Boots, and waits until the machine has switched itself off; nothing if the story hung, with
    /// its console on the standard error.
    pub(crate) async fn run(self, story: &str, visits: u32) -> anyhow::Result<Option<Ended>> {
        let began = Instant::now();
        let [console, left] = ["console", "left.tgz"].map(|name| self.folder.path().join(name));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-M", "pc", "-cpu", "max", "-m", "1536", "-accel", "tcg"]);
        // The guest's clock counts what it computes: a host that is busy does not make the kernel
        // give up its controller, which has 2 s for an answer.
        qemu.args(["-icount", "shift=2,sleep=on", "-rtc", "clock=vm"]);
        qemu.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.memory);
        qemu.arg("-append").arg(format!(
            "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off story={story} visits={visits}"
        ));
        for file in [&console, &left] {
            qemu.arg("-serial").arg(format!("file:{}", file.display()));
        }
        qemu.stdin(Stdio::null()).kill_on_drop(true);
        let mut qemu = qemu.spawn().context("starting qemu-system-x86_64")?;
        let Ok(status) = tokio::time::timeout(LIMIT, qemu.wait()).await else {
            bail!("not over in {} s; its console ends with:\n{}", LIMIT.as_secs(), tail(&console));
        };
        ensure!(status?.success(), "qemu failed; the console ends with:\n{}", tail(&console));
        let mut tar = Command::new("tar");
        tar.arg("-xzmf").arg(&left).current_dir(self.folder.path());
        let unpacked = tar.status().await.context("starting tar")?;
        ensure!(unpacked.success(), "it left nothing; the console ends with:\n{}", tail(&console));
        let end = fs::read_to_string(self.folder.path().join("out/end")).unwrap_or_default();
        if end.trim() == HUNG {
            writeln!(io::stderr(), "the story hung; its console ends with:\n{}", tail(&console))?;
            return Ok(None);
        }
        ensure!(end.trim() == "0", "the story failed; the console ends with:\n{}", tail(&console));
        Ok(Some(Ended { folder: self.folder, took: began.elapsed() }))
    }
}

/// A clinic's certificates and configuration; there is no county in the machine.
async fn settle_in(site: &Path, folder: &Path) -> anyhow::Result<()> {
    let plan = CountyPlan {
        dir: folder.join("county"),
        http_port: 0,
        broker: BrokerPlace::Embedded,
        clinics: vec![("和平镇卫生院", SITE)],
    };
    fs::create_dir_all(site).context("making the site's folder")?;
    County::prepare(&Program::current()?, plan).await?.issue(SITE, site).await?;
    let config = format!(
        "site = \"{SITE}\"\ndata_dir = \"/site/data\"\n\n[uplink]\nbroker = \"127.0.0.1:8883\"\n\
         ca = \"ca.crt\"\ncert = \"{SITE}.crt\"\nkey = \"{SITE}.key\"\n"
    );
    fs::write(site.join("agent.toml"), config).context("writing agent.toml")
}

fn tail(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(CONSOLE_TAIL);
    lines.iter().skip(from).map(|line| format!("{line}\n")).collect()
}
