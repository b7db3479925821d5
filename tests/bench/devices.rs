//! What devices cost an agent, what comes through when everything goes wrong on the air, and whether
//! every sample of a monitor whose cable is pulled is accounted for: one JSON object per figure.
//!
//! ```text
//! clinic-bench cable [SECONDS]   one monitor, five waves at 115200 baud, cable pulled three times
//! clinic-bench many [SECONDS]    20 devices, four of them monitors; 16 without them; none
//! clinic-bench site [SECONDS]    20 devices, four with 3 ECG leads at 500 Hz, the shipped agent
//! clinic-bench cycles [LINKS]    cuffs and meters (Bluetooth) come by, and everything goes wrong
//! clinic-bench waking [DEVICES]  so many Bluetooth devices wake within one minute
//! clinic-bench waves HEADER...   size of the signals of WFDB records, beside `flac -8`
//! clinic-bench size [SECONDS]    envelopes taken apart: 1000 readings a second, and 20 devices
//! clinic-bench size OUTBOX       envelopes of an outbox taken apart
//! clinic-bench saturation [READINGS]    as many readings as an agent takes; a direct publisher
//! clinic-bench live [SECONDS] [MS]      1000 readings/s: cost, byte to board, at that commit_ms
//! clinic-bench outage [SECONDS]         no broker for so long at 1000/s: when it has caught up
//! clinic-bench backlog [KBIT] [SECONDS] a day's backlog over a slow link, live beside it
//! clinic-bench flash [SECONDS]          what 20 devices write to a disk of its own; SQLite alone
//! clinic-bench open [MIB]               until an agent with such an outbox answers
//! clinic-bench ingest [RATE] [SECONDS]  a fleet's readings into a county; SQLite alone
//! clinic-bench alerts [RATE] [SECONDS]  the rules alone; reading to alert while a fleet speaks
//! clinic-bench ward [HOURS]             alerts of a ward of forty, and without what makes them few
//! ```
//!
//! County and agent are processes of this same program, so it should be a release build. CPU,
//! memory and bytes written are the kernel's own account (/proc) of those processes; the first
//! [`SETTLE`] are not counted: keys, and the first connections.

mod alerts;
mod backlog;
mod direct;
mod flash;
mod ingest;
mod link;
mod load;
mod open;
mod size;
mod source;
mod waking;
mod ward;
mod waves;

use anyhow::{Context as _, bail, ensure};
use e2e::{
    Village,
    cycles::{self, CyclePlan},
};
use serde_json::{Value, json};
use simulators::{
    client::{ApiBlock, Client},
    county::BrokerPlace,
    demo::settled,
    process::Program,
    site::{DevicePlan, stage_clock, switch_off, write_truth},
    stage::pty::{Stage, StageTime},
    usage::{Cost, Usage, rounded},
    verify::unix_ms,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use virtual_devices::{EcgSource, Patient, Scenario, Setup, SimTime, Truth, VirtualDevice};

const SETTLE: Duration = Duration::from_secs(20);
const FOR: Duration = Duration::from_secs(600);
/// A seed of five waves, whose ticks do not wrap.
const FIVE_WAVES: u64 = 4;
const WAVES: [&str; 5] = ["ecg_wave_i", "ecg_wave_ii", "ecg_wave_v", "pleth", "resp_wave"];
/// When the cable is pulled, in quarters of the run, and for how long: first the association still
/// stands, then the monitor has given it up.
const PULLS: [(u32, Duration); 3] =
    [(1, Duration::from_secs(7)), (2, Duration::from_secs(20)), (3, Duration::from_secs(45))];
/// Four monitors, and what else stands in a clinic.
const MONITORS: [(&str, u64); 4] =
    [("intellivue", 4), ("intellivue", 12), ("pm6750", 0), ("pm6750", 1)];
/// Monitors with five waves, three of them ECG at 500 Hz.
const MONITORS_500_HZ: [u64; 4] = [4, 12, 20, 28];
const OTHERS: [&str; 16] = [
    "bcc",
    "bcc",
    "bcc",
    "asena",
    "asena",
    "asena",
    "tm2655",
    "tm2655",
    "hbp9030",
    "hbp9030",
    "td42xx",
    "td42xx",
    "ultraeasy",
    "ultraeasy",
    "json-lines",
    "json-lines",
];
/// As many connection cycles as the proof asks for.
const LINKS: u64 = 1_000;
/// A clinic that has bought everything.
const DEVICES: u64 = 20;
/// Half a minute of an agent that is busy.
const READINGS: u64 = 1_000_000;
const USAGE: &str = "write: clinic-bench cable|many|site|flash [SECONDS], cycles [LINKS], waking [DEVICES], \
                     waves HEADER..., saturation [READINGS], live [SECONDS] [COMMIT_MS], \
                     outage [SECONDS], backlog [KBIT/S] [SECONDS], \
                     size [SECONDS|OUTBOX], open [MIB], ward [HOURS] or \
                     ingest|alerts [RATE] [SECONDS]";
const SITE: &str = "heping";
const EVER: &str = "1970-01-01T00:00:00Z";

fn main() -> ExitCode {
    e2e::run_program("clinic-bench", run)
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let number = |word: &str| word.parse::<u64>().with_context(|| format!("{word:?}; {USAGE}"));
    let (what, number, more) = match *words {
        ["waves", ref headers @ ..] => return waves::run(headers),
        ["size", outbox] if Path::new(outbox).is_file() => return size::outbox(outbox.as_ref()),
        ["direct", broker, dir, lines, every_us] => {
            let every = Some(Duration::from_micros(number(every_us)?)).filter(|us| !us.is_zero());
            let publishing = direct::publish(broker, Path::new(dir), number(lines)?, every);
            let figure = runtime.block_on(publishing)?;
            return writeln!(io::stdout(), "{figure}").context("telling a figure");
        }
        [what] => (what, None, None),
        [what, one] => (what, Some(number(one)?), None),
        [what, one, other] => (what, Some(number(one)?), Some(number(other)?)),
        _ => bail!("{USAGE}"),
    };
    let seconds = number.map_or(FOR, Duration::from_secs);
    match what {
        "saturation" => runtime.block_on(load::saturation(number.unwrap_or(READINGS))),
        "live" => runtime.block_on(load::live(number.unwrap_or(60), more.unwrap_or(250))),
        "outage" => runtime.block_on(load::outage(number.unwrap_or(60))),
        "backlog" => {
            runtime.block_on(backlog::backlog(number.unwrap_or(1000), more.unwrap_or(120)))
        }
        "open" => runtime.block_on(open::open(number.unwrap_or(2048))),
        "ingest" => {
            let rate = u32::try_from(number.unwrap_or(100_000)).context("the rate")?;
            runtime.block_on(ingest::ingest(rate, more.unwrap_or(30)))
        }
        "alerts" => {
            let rate = u32::try_from(number.unwrap_or(10_000)).context("the rate")?;
            alerts::rules_alone()?;
            runtime.block_on(alerts::latency(rate, more.unwrap_or(30)))
        }
        "ward" => ward::ward(number.unwrap_or(24)),
        "cable" => runtime.block_on(cable(seconds)),
        "size" => size::many_readings().and_then(|()| runtime.block_on(size::site(seconds))),
        "many" => runtime.block_on(many(seconds)),
        "flash" => runtime.block_on(flash::flash(seconds)),
        "site" => runtime.block_on(site(seconds)),
        "cycles" => runtime.block_on(cycles(number.unwrap_or(LINKS))),
        "waking" => runtime.block_on(waking::waking(number.unwrap_or(DEVICES))),
        other => bail!("{other:?} is no bench; {USAGE}"),
    }
}

fn figure(name: &str, values: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "figure": name, "values": values }))?;
    out.flush().context("telling a figure")
}

async fn village(devices: Vec<DevicePlan>) -> anyhow::Result<Village> {
    let program = std::env::current_exe().context("asking for the path of this program")?;
    Village::prepare_with(&program, BrokerPlace::Embedded, devices).await
}

fn plan(name: &'static str, number: usize, seed: u64) -> anyhow::Result<DevicePlan> {
    let scenario = Scenario::built_in("clinic-day").context("a scenario is missing")?;
    let id = format!("{SITE}-{name}-{number:02}");
    let patient = Patient::new(seed, scenario, EcgSource::Recording);
    Ok(DevicePlan { id, name, seed, patient, faults: None })
}

/// Cuffs and meters come by so often, and everything goes wrong.
async fn cycles(links: u64) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("asking for the path of this program")?;
    let plan =
        CyclePlan { cycles: links, fault_once_in: 2, kill_once_in: 8, devices: [5, 7], seed: 7 };
    let account = cycles::play(&program, plan).await?;
    figure("cycles", &account.shown())?;
    ensure!(account.lost.is_empty(), "lost: {:#?}", account.lost);
    ensure!(account.doubled.is_empty(), "doubled: {:#?}", account.doubled);
    ensure!(account.altered.is_empty(), "altered: {:#?}", account.altered);
    ensure!(account.unexplained().is_empty(), "gone: {:#?}", account.unexplained());
    Ok(())
}

/// One monitor whose cable is pulled three times.
async fn cable(run_for: Duration) -> anyhow::Result<()> {
    let plan = plan("intellivue", 1, FIVE_WAVES)?;
    let mut village = village(vec![plan.clone()]).await?;
    village.county.start().await?;
    let truth = village.site.truth();
    let port = village.site.port(&plan.id);
    let playing = tokio::spawn(play(plan.clone(), port, truth.clone(), run_for));
    village.site.start()?;
    let costs = Costs::over(&village, run_for.saturating_sub(SETTLE)).await?;
    playing.await.context("the monitor's task")??;
    let client = village.county.client()?;
    let report = settled(std::slice::from_ref(&truth), &client).await?;
    let said = said_blocks(&truth)?;
    let mut unaccounted = 0;
    for wave in WAVES {
        let blocks = client.blocks(&plan.id, wave, EVER).await?;
        let said = said.get(wave).with_context(|| format!("{wave} was never sent"))?;
        let account = Account::of(said, &blocks)?;
        unaccounted += account.unaccounted().abs();
        // By its ends alone a wave adds up whatever is missing inside it.
        let is_whole = account.sent == account.stored
            && account.gaps.len() == PULLS.len()
            && account.gaps.iter().all(|gap| *gap > 0);
        ensure!(is_whole, "{wave}: gaps {:?}", account.gaps);
        figure(wave, &account.shown())?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    figure(
        "cable",
        &json!({
            "seconds": run_for.as_secs(),
            "pulled_at_s": PULLS.map(|(quarter, _)| run_for.as_secs() * u64::from(quarter) / 4),
            "pulled_for_s": PULLS.map(|(_, pulled)| pulled.as_secs()),
            "report": report,
            "readings": proof.readings,
            "blocks": proof.blocks,
            "alarms": proof.alarms,
            "unaccounted_samples": unaccounted,
        }),
    )?;
    figure("agent", &costs.agent.shown())?;
    figure("gateway", &costs.gateway.shown())?;
    ensure!(report.is_clean(), "{:?}", report.differences);
    ensure!(unaccounted == 0, "{unaccounted} samples are neither stored nor in a gap");
    Ok(())
}

/// Plays the monitor on ptys that come and go, while its own time goes on.
async fn play(
    plan: DevicePlan,
    port: PathBuf,
    truth: PathBuf,
    run_for: Duration,
) -> anyhow::Result<()> {
    let (clock, time, began) = (stage_clock(), StageTime::start(1.0), Instant::now());
    let DevicePlan { id: device, name, seed, patient, .. } = plan;
    let setup = Setup { device, seed, clock, patient };
    let device = virtual_devices::create(name, setup).context("no such virtual device")?;
    let mut device = OnALine { device, heard: true };
    let (facts, writing) = write_truth(&truth)?;
    for (quarter, pulled) in PULLS {
        play_until(&mut device, &port, time, &facts, began + run_for * quarter / 4).await?;
        sleep(pulled).await;
        device.heard = false;
    }
    play_until(&mut device, &port, time, &facts, began + run_for).await?;
    drop(facts);
    writing.await.context("the truth's task")?
}

/// A device on a real line: what it says before somebody opens the port is lost, where a pty would
/// hold it for him. A driver that opens the port of a monitor speaks first.
struct OnALine {
    device: Box<dyn VirtualDevice>,
    heard: bool,
}

impl VirtualDevice for OnALine {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if !std::mem::replace(&mut self.heard, true) {
            self.device.advance(now);
            drop((self.device.take_output(), self.device.take_truth()));
        }
        self.device.receive(now, bytes);
    }

    fn advance(&mut self, now: SimTime) {
        self.device.advance(now);
    }

    fn next_due(&self) -> Option<SimTime> {
        self.device.next_due()
    }

    fn take_output(&mut self) -> Vec<u8> {
        let output = self.device.take_output();
        if self.heard { output } else { Vec::new() }
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        let truth = self.device.take_truth();
        if self.heard { truth } else { Vec::new() }
    }

    fn switch_off(&mut self, now: SimTime) {
        self.device.switch_off(now);
    }
}

/// The pty is gone afterwards.
async fn play_until(
    device: &mut dyn VirtualDevice,
    port: &Path,
    time: StageTime,
    facts: &mpsc::Sender<Truth>,
    end: Instant,
) -> anyhow::Result<()> {
    let mut stage = Stage::open(port)?;
    let stopped = CancellationToken::new();
    let timer = stopped.clone();
    let timing = tokio::spawn(async move {
        tokio::time::sleep_until(end).await;
        timer.cancel();
    });
    let played = stage.play(device, time, facts, &stopped).await?;
    timing.await.context("the timer")?;
    ensure!(played.forgotten_bytes == 0, "{} bytes were not read", played.forgotten_bytes);
    Ok(())
}

/// A block as the monitor measured it.
struct SaidBlock {
    /// When the last sample was measured.
    end_ms: i64,
    samples: i64,
}

/// The blocks of each wave that went over the wire, in their order.
fn said_blocks(truth: &Path) -> anyhow::Result<BTreeMap<String, Vec<SaidBlock>>> {
    let mut said: BTreeMap<String, Vec<SaidBlock>> = BTreeMap::new();
    for line in fs::read_to_string(truth).context("reading the truth")?.lines() {
        let fact: Value = serde_json::from_str(line).context("a truth line")?;
        let text = |name: &str| fact.get(name).and_then(Value::as_str);
        let Some(samples) = fact.get("samples").and_then(Value::as_i64) else { continue };
        let metric = text("metric").context("a wave without a name")?.to_owned();
        let end_ms = unix_ms(text("device_time").context("a wave without a time")?)?;
        said.entry(metric).or_default().push(SaidBlock { end_ms, samples });
    }
    Ok(said)
}

/// Where the samples of a wave are.
struct Account {
    /// By the monitor, from the first sample that went over the wire to the last.
    measured: i64,
    /// Of them on the wire.
    sent: i64,
    /// At the county.
    stored: i64,
    /// Between the end of one of the county's blocks and the start of the next.
    in_gaps: i64,
    gaps: Vec<i64>,
}

impl Account {
    fn of(said: &[SaidBlock], blocks: &[ApiBlock]) -> anyhow::Result<Self> {
        let (first, last) = (said.first().context("no block")?, said.last().context("no block")?);
        let period = blocks.first().context("no block is stored")?.period;
        let in_ms = |ms: i64| -> anyhow::Result<i64> {
            let whole = ms * i64::from(period.den);
            let unit = i64::from(period.num) * 1000;
            // Half a period up or down is rounding of the milliseconds; there is none between.
            Ok((whole + whole.signum() * unit / 2) / unit)
        };
        // A block that ends in the same moment as the first is the rest of it: a lead came off.
        let of_first = said.iter().take_while(|block| block.end_ms == first.end_ms);
        let measured =
            in_ms(last.end_ms - first.end_ms)? + of_first.map(|block| block.samples).sum::<i64>();
        let mut gaps = Vec::new();
        for pair in blocks.windows(2) {
            let [before, after] = pair else { continue };
            let between_ms = unix_ms(&after.start)? - unix_ms(&before.start)?;
            let missing = in_ms(between_ms)? - i64::try_from(before.samples.len())?;
            gaps.extend((missing != 0).then_some(missing));
        }
        let stored = blocks.iter().map(|block| block.samples.len()).sum::<usize>();
        Ok(Self {
            measured,
            sent: said.iter().map(|block| block.samples).sum(),
            stored: i64::try_from(stored)?,
            in_gaps: gaps.iter().sum(),
            gaps,
        })
    }

    fn unaccounted(&self) -> i64 {
        self.measured - self.stored - self.in_gaps
    }

    fn shown(&self) -> Value {
        json!({
            "measured": self.measured,
            "sent": self.sent,
            "stored": self.stored,
            "in_gaps": self.in_gaps,
            "gaps": self.gaps,
            "unaccounted": self.unaccounted(),
        })
    }
}

/// The shipped agent with 20 devices, four of them monitors with three ECG leads at 500 Hz.
async fn site(run_for: Duration) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("asking for the path of this program")?;
    let agent = own.with_file_name("clinic-agent");
    ensure!(agent.exists(), "{} is missing; build it beside this program", agent.display());
    let mut devices = others()?;
    for (seed, number) in MONITORS_500_HZ.into_iter().zip(OTHERS.len()..) {
        devices.push(plan("intellivue", number, seed)?);
    }
    let program = Program::at(&own).with_agent(&agent);
    let village = Village::prepare_on(&program, BrokerPlace::Embedded, devices).await?;
    measured("site", village, run_for).await.map(drop)
}

fn others() -> anyhow::Result<Vec<DevicePlan>> {
    let numbered = OTHERS.into_iter().zip(0..);
    // A seed that is polite everywhere, and another one.
    numbered.map(|(name, number)| plan(name, number, u64::try_from(number % 2)?)).collect()
}

fn all_devices() -> anyhow::Result<Vec<DevicePlan>> {
    let mut all = others()?;
    for ((name, seed), number) in MONITORS.into_iter().zip(OTHERS.len()..) {
        all.push(plan(name, number, seed)?);
    }
    Ok(all)
}

/// 20 devices, 16 without the monitors, none: what one more costs is the difference.
async fn many(run_for: Duration) -> anyhow::Result<()> {
    let (others, all) = (others()?, all_devices()?);
    let mut costs = Vec::new();
    for (name, devices) in [("20 devices", all), ("16 without monitors", others), ("none", vec![])]
    {
        costs.push(together(name, devices, run_for).await?);
    }
    let [all, others, none] = costs[..] else { bail!("three runs") };
    let each = |more: Cost, fewer: Cost, count: f64| {
        json!({
            "cpu_percent_of_a_core": rounded((more.cpu_percent - fewer.cpu_percent) / count, 3),
            "own_memory_kib": rounded((more.own_kib - fewer.own_kib) / count, 0),
            "written_bytes_per_s": rounded((more.written_per_s() - fewer.written_per_s()) / count, 0),
        })
    };
    figure("each of 4 monitors", &each(all, others, 4.0))?;
    figure("each of 16 others", &each(others, none, 16.0))
}

async fn together(name: &str, devices: Vec<DevicePlan>, run_for: Duration) -> anyhow::Result<Cost> {
    let village = village(devices).await?;
    measured(name, village, run_for).await
}

/// Runs a village for a while, compares everything, and tells what it cost.
async fn measured(name: &str, mut village: Village, run_for: Duration) -> anyhow::Result<Cost> {
    let count = village.site.devices().count();
    let mut performances = village.start().await?;
    let costs = Costs::over(&village, run_for).await?;
    let traces = len_of(&village.site.data().join("traces"));
    switch_off(&mut performances).await?;
    let truth = village.site.truth();
    let client: Client = village.county.client()?;
    let report = match count {
        0 => None,
        _ => Some(settled(std::slice::from_ref(&truth), &client).await?),
    };
    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    figure(
        name,
        &json!({
            "seconds": run_for.as_secs(),
            "report": report,
            "readings": proof.readings,
            "blocks": proof.blocks,
            "alarms": proof.alarms,
            "agent": costs.agent.shown(),
            "gateway": costs.gateway.shown(),
            // Kept around alarms, once in ten minutes for each device: of a short run the most of
            // what the agent writes.
            "traces_kib": traces >> 10,
        }),
    )?;
    if let Some(report) = report {
        ensure!(report.is_clean(), "{:?}", report.differences);
    }
    Ok(costs.agent)
}

/// Bytes of the files of a folder; of one that is not there none.
fn len_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
}

struct Costs {
    agent: Cost,
    gateway: Cost,
}

impl Costs {
    /// What agent and gateway cost after they have settled, over that time without its last two
    /// seconds.
    async fn over(village: &Village, run_for: Duration) -> anyhow::Result<Self> {
        sleep(SETTLE).await;
        let ids = [village.site.process_id(), village.county.process_id()];
        let [Some(agent), Some(gateway)] = ids else { bail!("agent or gateway has ended") };
        let (began, before) = (Instant::now(), (Usage::of(agent)?, Usage::of(gateway)?));
        sleep(run_for.saturating_sub(Duration::from_secs(2))).await;
        let (over, after) = (began.elapsed(), (Usage::of(agent)?, Usage::of(gateway)?));
        let between = |before, after| Cost::between(before, after, over.as_secs_f64());
        Ok(Self { agent: between(&before.0, &after.0), gateway: between(&before.1, &after.1) })
    }
}
