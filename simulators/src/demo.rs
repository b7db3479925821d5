//! Everything on one machine: broker, county, two clinic boxes, one virtual device of every kind.
//!
//! - `air`: the Bluetooth devices of the first clinic
//! - `patients`: who is invented, and what is on them

mod air;
mod patients;

use crate::{
    client::{Client, each_reading},
    county::{BrokerPlace, County, CountyPlan, NURSE},
    process::Program,
    signals::Signals,
    site::{DevicePlan, Performance, Site, stage_clock, switch_off},
    stage::pty::StageTime,
    verify::{self, Latency, Report},
};
use air::Air;
use anyhow::Context as _;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use virtual_devices::{EcgSource, Patient, Scenario};

/// Two township clinics: the display name and the site.
const CLINICS: [(&str, &str); 2] = [("和平镇卫生院", "heping"), ("东风镇卫生院", "dongfeng")];
/// A monitor that was switched off is silent after 3 s; then its last blocks are committed and
/// acknowledged.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How often the county is asked whether everything has arrived.
const DRAIN_STEP: Duration = Duration::from_millis(500);
/// The county's part of the folder.
const COUNTY_DIR: &str = "county";
/// Port of the board where nobody asked for another and it is free.
const HTTP_PORT: u16 = 8080;

/// What a person may choose.
#[derive(Clone, Debug)]
pub struct DemoPlan {
    /// Port of the board; none: 8080, or any free one.
    pub port: Option<u16>,
    /// Where everything is kept; none: a temporary folder.
    pub dir: Option<PathBuf>,
    /// How long; none: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Device seconds per real second.
    pub speed: f64,
    /// From which everything about the devices follows.
    pub seed: u64,
}

/// The cast of a site: one virtual device of every kind, all at one bed.
#[must_use]
pub fn cast(site: &str, seed: u64, patient: &Patient) -> Vec<DevicePlan> {
    let kinds = [("ecg", "pm6750"), ("pump", "bcc"), ("bp", "tm2655"), ("glu", "ultraeasy")];
    kinds
        .into_iter()
        .zip(0..)
        .map(|((kind, name), offset)| DevicePlan {
            id: format!("{site}-{kind}-01"),
            name,
            seed: seed.wrapping_mul(16).wrapping_add(offset),
            patient: patient.clone(),
            faults: None,
        })
        .collect()
}

/// How a demonstration ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was said and what arrived.
    pub report: Report,
    /// What a person did meanwhile, and what it means for the report.
    pub notes: Vec<String>,
    /// What did not stop as it should.
    pub troubles: Vec<String>,
}

impl Outcome {
    /// Whether everything arrived and everything stopped.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.report.is_clean() && self.troubles.is_empty()
    }
}

/// Runs the demonstration to its end; `say` gets what a person reads meanwhile.
///
/// The first signal ends the demonstration and compares; one that comes before anything was
/// compared leaves nothing behind.
///
/// # Errors
/// When a part does not start, the county does not answer, or a signal came before the comparison.
pub async fn run(plan: &DemoPlan, say: &mut dyn Write) -> anyhow::Result<Outcome> {
    // First of all: nothing that is started from here on may outlive a signal.
    let mut signals = Signals::watch()?;
    let temporary = match plan.dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("making a temporary folder")?),
    };
    let dir = match (&plan.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => PathBuf::from("."),
    };
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| format!("looking at {}", dir.display()))?;
    let mut parts = Parts::default();
    let ending = parts.perform(plan, &dir, &mut signals, say).await;
    parts.kill().await;
    let aborted = matches!(ending, Ok(None));
    let as_agreed =
        matches!(&ending, Ok(Some(outcome)) if outcome.is_good() && outcome.notes.is_empty());
    if let Some(temporary) = temporary {
        let path = temporary.keep();
        if aborted || as_agreed {
            remove(&path).await?;
        } else {
            tell(say, &format!("kept for a closer look: {}", path.display()));
        }
    }
    ending?.context("stopped before anything was compared")
}

/// What runs, in a place of its own: a signal drops what is being done, and this is put away.
#[derive(Default)]
struct Parts {
    county: Option<County>,
    sites: Vec<Site>,
    performances: Vec<Performance>,
    air: Option<Air>,
    arrivals: Option<Arrivals>,
    /// Who is in the beds, a line each.
    patients: Vec<String>,
}

impl Parts {
    /// From the start to the comparison; nothing, when a signal came in between.
    async fn perform(
        &mut self,
        plan: &DemoPlan,
        dir: &Path,
        signals: &mut Signals,
        say: &mut dyn Write,
    ) -> anyhow::Result<Option<Outcome>> {
        tell(say, &format!("starting the county service and two clinics in {}", dir.display()));
        tokio::select! {
            started = self.start(plan, dir, say) => started?,
            () = signals.next() => return Ok(None),
        }
        self.introduce(plan, dir, say);
        tokio::select! {
            () = after(plan.duration) => {}
            () = signals.next() => {}
        }
        tell(say, "switching the devices off and waiting for the last readings");
        tokio::select! {
            outcome = self.finish(plan) => outcome.map(Some),
            () = signals.next() => Ok(None),
        }
    }

    async fn start(
        &mut self,
        plan: &DemoPlan,
        dir: &Path,
        say: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let program = Program::current()?;
        match Air::open(&program).await {
            Ok(air) => self.air = Some(air),
            Err(error) => tell(say, &format!("without Bluetooth devices: {error:#}")),
        }
        let county_plan = CountyPlan {
            dir: dir.join(COUNTY_DIR),
            http_port: plan.port.unwrap_or_else(default_port),
            broker: BrokerPlace::Embedded,
            clinics: CLINICS.to_vec(),
        };
        let county = self.county.insert(County::prepare(&program, county_plan).await?);
        county.start().await?;
        self.arrivals = Some(Arrivals::listen(county.client()?).await?);
        let (clock, time) = (stage_clock(), StageTime::start(plan.speed));
        for ((_, name), part) in CLINICS.into_iter().zip(0..) {
            let (scenario, ecg) = match part {
                0 => ("clinic-day", EcgSource::Recording),
                _ => ("steady", EcgSource::Synthetic),
            };
            let scenario = Scenario::built_in(scenario).context("a scenario is missing")?;
            let seed = plan.seed.wrapping_add(part);
            let patient = Patient::new(seed, scenario, ecg);
            let devices = cast(name, seed, &patient);
            let air = self.air.as_mut().filter(|_| part == 0);
            let program = match &air {
                Some(air) => program.on_bus(air.bus()),
                None => program.clone(),
            };
            let mut site = Site::prepare(&program, county, name, &dir.join(name), devices).await?;
            self.performances.extend(site.play(clock, time)?);
            if let Some(air) = air {
                air.play(&site, seed, &patient, clock, time).await?;
            }
            site.start()?;
            self.sites.push(site);
        }
        let on_air = self.air.iter().flat_map(Air::devices).map(String::as_str);
        let played: Vec<&str> = self.sites.iter().flat_map(Site::devices).chain(on_air).collect();
        self.patients = patients::introduce(county, &played).await?;
        Ok(())
    }

    fn introduce(&self, plan: &DemoPlan, dir: &Path, say: &mut dyn Write) {
        if let Some(county) = &self.county {
            let (url, password, token) = (county.url(), county.password(), county.token());
            tell(
                say,
                &format!(
                    "\n  board     {url}\n  name      {NURSE}\n  password  {password}\n  token     {token}\n"
                ),
            );
            let id = county.process_id().unwrap_or_default();
            let folder = dir.join(COUNTY_DIR);
            tell(say, &format!("  county    process {id}, folder {}", folder.display()));
        }
        for (site, part) in self.sites.iter().zip(0..) {
            let id = site.process_id().unwrap_or_default();
            let folder = dir.join(site.name());
            tell(say, &format!("  agent     process {id}, folder {}", folder.display()));
            let devices: Vec<_> = site.devices().collect();
            tell(say, &format!("  devices   {}", devices.join(", ")));
            if let Some(air) = self.air.as_ref().filter(|_| part == 0) {
                tell(say, &format!("  bluetooth {}", air.devices().join(", ")));
                tell(say, &format!("            DBUS_SYSTEM_BUS_ADDRESS={}", air.bus()));
            }
        }
        for patient in &self.patients {
            tell(say, &format!("  patient   {patient}"));
        }
        tell(
            say,
            &match plan.duration {
                Some(duration) => format!("\nrunning for {} s", duration.as_secs()),
                None => "\nCtrl-C ends it and compares what was said with what arrived".to_owned(),
            },
        );
    }

    /// Switches everything off in the order in which nothing can be lost, and compares.
    async fn finish(&mut self, plan: &DemoPlan) -> anyhow::Result<Outcome> {
        let (mut notes, mut troubles) = (Vec::new(), Vec::new());
        let mut note = |done: anyhow::Result<()>| {
            troubles.extend(done.err().map(|error| format!("{error:#}")));
        };
        note(switch_off(&mut self.performances).await);
        if let Some(air) = &mut self.air {
            note(air.switch_off().await);
        }
        let county = self.county.as_mut().context("there is no county")?;
        let client = county.client()?;
        let truth: Vec<PathBuf> = self.sites.iter().map(Site::truth).collect();
        let mut report = settled(&truth, &client).await?;
        for performance in self.performances.drain(..) {
            note(performance.unplug().await);
        }
        if report.is_clean() {
            // What the edge adds when a cable is pulled must not disturb what is there.
            report = settled(&truth, &client).await?;
        }
        let arrived = self.arrivals.take().map(Arrivals::stop).unwrap_or_default();
        // At another speed a device's time is not the wall's.
        if (plan.speed - 1.0).abs() < f64::EPSILON {
            report.latency_ms = latency(&report.emitted_at, &arrived);
        }
        for site in &mut self.sites {
            if site.was_taken_away()? {
                notes.push(format!(
                    "somebody stopped the agent of {}: what nobody read meanwhile, or was not on \
                     disk yet, counts as lost; if another one runs, end it",
                    site.name()
                ));
            }
            note(site.stop().await);
        }
        if let Some(air) = self.air.take() {
            note(air.close().await);
        }
        note(county.stop().await);
        Ok(Outcome { report, notes, troubles })
    }

    /// Ends what still runs. What was stopped in order is gone already.
    async fn kill(&mut self) {
        for performance in self.performances.drain(..) {
            if let Err(error) = performance.unplug().await {
                tracing::warn!(error = format!("{error:#}"), "A device did not end well.");
            }
        }
        let mut killed = Vec::new();
        for site in &mut self.sites {
            killed.push(site.kill().await);
        }
        if let Some(county) = &mut self.county {
            killed.push(county.kill().await);
        }
        if let Some(air) = self.air.take() {
            killed.push(air.close().await);
        }
        for error in killed.into_iter().filter_map(Result::err) {
            tracing::warn!(error = format!("{error:#}"), "A process could not be killed.");
        }
    }
}

/// Removes a temporary folder.
async fn remove(path: &Path) -> anyhow::Result<()> {
    /// A command that was killed a moment ago may write its last file meanwhile.
    const TRIES: usize = 10;
    const PAUSE: Duration = Duration::from_millis(50);
    let mut removed = fs::remove_dir_all(path);
    for _ in 1..TRIES {
        if removed.is_ok() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        removed = fs::remove_dir_all(path);
    }
    removed.with_context(|| format!("removing {}; remove it by hand", path.display()))
}

/// A line for whoever reads along.
fn tell(say: &mut dyn Write, text: &str) {
    // The terminal is gone: nobody to tell.
    drop(writeln!(say, "{text}").and_then(|()| say.flush()));
}

/// Whether an earlier demonstration has left its files there.
#[must_use]
pub fn is_taken(dir: &Path) -> bool {
    dir.join(COUNTY_DIR).exists()
}

/// Compares until nothing is missing any more, or until [`DRAIN_LIMIT`].
///
/// # Errors
/// When the county does not answer.
pub async fn settled(truth: &[PathBuf], client: &Client) -> anyhow::Result<Report> {
    let limit = Instant::now() + DRAIN_LIMIT;
    loop {
        let report = verify::compare(truth, client).await?;
        if report.is_clean() || Instant::now() > limit {
            return Ok(report);
        }
        tokio::time::sleep(DRAIN_STEP).await;
    }
}

/// Waits that long; for ever without a limit.
async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn default_port() -> u16 {
    match std::net::TcpListener::bind(("127.0.0.1", HTTP_PORT)) {
        Ok(_) => HTTP_PORT,
        Err(_) => 0,
    }
}

/// When each reading's event reached a board, by the reading's key.
struct Arrivals {
    listening: JoinHandle<()>,
    seen: std::sync::Arc<std::sync::Mutex<BTreeMap<String, jiff::Timestamp>>>,
}

impl Arrivals {
    /// Listens to the county's events as a board does.
    async fn listen(client: Client) -> anyhow::Result<Self> {
        let seen = std::sync::Arc::default();
        let events = client.events().await?;
        let noted: std::sync::Arc<std::sync::Mutex<BTreeMap<_, _>>> = std::sync::Arc::clone(&seen);
        let listening = tokio::spawn(each_reading(events, move |now, reading| {
            if let Ok(mut seen) = noted.lock() {
                seen.entry(reading.key()).or_insert(now);
            }
        }));
        Ok(Self { listening, seen })
    }

    fn stop(self) -> BTreeMap<String, jiff::Timestamp> {
        self.listening.abort();
        self.seen.lock().map(|mut seen| std::mem::take(&mut *seen)).unwrap_or_default()
    }
}

/// Milliseconds between what a device put on its wire and the event on the board.
fn latency(
    emitted: &BTreeMap<String, String>,
    arrived: &BTreeMap<String, jiff::Timestamp>,
) -> Option<Latency> {
    let mut spans: Vec<i64> = emitted
        .iter()
        .filter_map(|(key, t)| {
            let emitted: jiff::Timestamp = t.parse().ok()?;
            Some(arrived.get(key)?.as_millisecond() - emitted.as_millisecond())
        })
        .collect();
    spans.sort_unstable();
    let at = |percent: usize| spans.get(spans.len().saturating_sub(1) * percent / 100).copied();
    Some(Latency { p50: at(50)?, p99: at(99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_taken_over_the_readings_that_were_seen_on_the_board() {
        let emitted = |key: &str| (key.to_owned(), "2026-11-22T08:30:00.100Z".to_owned());
        let arrived = |key: &str, ms: i64| {
            let base: jiff::Timestamp = "2026-11-22T08:30:00.100Z".parse().unwrap();
            (key.to_owned(), base + jiff::SignedDuration::from_millis(ms))
        };
        let latency = latency(
            &[emitted("a"), emitted("b"), emitted("never seen")].into(),
            &[arrived("a", 40), arrived("b", 60), arrived("unknown", 1)].into(),
        );
        let latency = latency.unwrap();
        assert_eq!((latency.p50, latency.p99), (40, 40));
    }
}
