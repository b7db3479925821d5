//! Everything on one machine: broker, county, two clinic boxes, one virtual device of every kind.

use crate::{
    client::Client,
    county::{BrokerPlace, County, CountyPlan, NURSE},
    process::Program,
    site::{DevicePlan, Performance, Site, stage_clock},
    stage::pty::StageTime,
    verify::{self, Latency, Report},
};
use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use virtual_devices::{EcgSource, Scenario};

/// Two township clinics: the display name and the site.
const CLINICS: [(&str, &str); 2] = [("和平镇卫生院", "heping"), ("东风镇卫生院", "dongfeng")];
/// A monitor that was switched off is silent after 3 s; then its last blocks are committed and
/// acknowledged.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How often the county is asked whether everything has arrived.
const DRAIN_STEP: Duration = Duration::from_millis(500);
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

/// The cast of a site: one virtual device of every kind.
#[must_use]
pub fn cast(site: &str, seed: u64, scenario: &Scenario, ecg: EcgSource) -> Vec<DevicePlan> {
    let kinds = [("ecg", "pm6750"), ("pump", "bcc"), ("bp", "tm2655"), ("glu", "ultraeasy")];
    kinds
        .into_iter()
        .zip(0..)
        .map(|((kind, name), offset)| DevicePlan {
            id: format!("{site}-{kind}-01"),
            name,
            seed: seed.wrapping_mul(16).wrapping_add(offset),
            scenario: scenario.clone(),
            ecg,
        })
        .collect()
}

/// Runs the demonstration to its end; `say` gets what a person reads meanwhile.
///
/// # Errors
/// When a part does not start or stop, or the county does not answer.
pub async fn run(plan: &DemoPlan, say: &mut dyn std::io::Write) -> anyhow::Result<Report> {
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
    let program = Program::current()?;

    writeln!(say, "starting the county service and two clinics in {}", dir.display())?;
    let county_plan = CountyPlan {
        dir: dir.join("county"),
        http_port: plan.port.unwrap_or_else(default_port),
        broker: BrokerPlace::Embedded,
        clinics: CLINICS.to_vec(),
    };
    let mut county = County::prepare(&program, county_plan).await?;
    county.start().await?;
    let arrivals = Arrivals::listen(county.client()?).await?;
    let mut sites = Vec::new();
    let mut performances = Vec::new();
    let (clock, time) = (stage_clock(), StageTime::start(plan.speed));
    for ((_, name), part) in CLINICS.into_iter().zip(0..) {
        let (scenario, ecg) = match part {
            0 => ("clinic-day", EcgSource::Recording),
            _ => ("steady", EcgSource::Synthetic),
        };
        let scenario = Scenario::built_in(scenario).context("a scenario is missing")?;
        let devices = cast(name, plan.seed.wrapping_add(part), &scenario, ecg);
        let mut site = Site::prepare(&program, &county, name, &dir.join(name), devices).await?;
        performances.extend(site.play(clock, time)?);
        site.start()?;
        sites.push(site);
    }
    writeln!(
        say,
        "\n  board     {}\n  name      {NURSE}\n  password  {}\n  token     {}\n",
        county.url(),
        county.password(),
        county.token()
    )?;
    match plan.duration {
        Some(duration) => writeln!(say, "running for {} s", duration.as_secs())?,
        None => writeln!(say, "Ctrl-C ends it and compares what was said with what arrived")?,
    }
    say.flush()?;
    wait(plan.duration).await?;
    let report = finish(&mut county, &mut sites, performances, arrivals, say).await?;
    if temporary.is_some() && !report.is_clean() {
        let kept = temporary.map(tempfile::TempDir::keep).unwrap_or_default();
        writeln!(say, "kept for a closer look: {}", kept.display())?;
    }
    Ok(report)
}

/// Switches everything off in the order in which nothing can be lost, and compares.
async fn finish(
    county: &mut County,
    sites: &mut [Site],
    performances: Vec<Performance>,
    arrivals: Arrivals,
    say: &mut dyn std::io::Write,
) -> anyhow::Result<Report> {
    writeln!(say, "switching the devices off and waiting for the last readings")?;
    performances.iter().for_each(Performance::switch_off);
    let client = county.client()?;
    let truth: Vec<PathBuf> = sites.iter().map(Site::truth).filter(|path| path.exists()).collect();
    let mut report = settled(&truth, &client).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    for site in sites.iter_mut() {
        site.stop().await?;
    }
    report.latency_ms = latency(&report.emitted_at, &arrivals.stop());
    county.stop().await?;
    Ok(report)
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

async fn wait(duration: Option<Duration>) -> anyhow::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("watching for SIGTERM")?;
    let end = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = end => Ok(()),
        pressed = tokio::signal::ctrl_c() => pressed.context("watching for Ctrl-C"),
        _ = terminated.recv() => Ok(()),
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
        let listening = tokio::spawn(listen(events, std::sync::Arc::clone(&seen)));
        Ok(Self { listening, seen })
    }

    fn stop(self) -> BTreeMap<String, jiff::Timestamp> {
        self.listening.abort();
        self.seen.lock().map(|mut seen| std::mem::take(&mut *seen)).unwrap_or_default()
    }
}

async fn listen(
    events: reqwest::Response,
    seen: std::sync::Arc<std::sync::Mutex<BTreeMap<String, jiff::Timestamp>>>,
) {
    #[derive(Deserialize)]
    struct Batch {
        readings: Vec<crate::client::ApiReading>,
    }
    let mut bytes = events.bytes_stream();
    let mut waiting: Vec<u8> = Vec::new();
    while let Some(Ok(chunk)) = bytes.next().await {
        let now = jiff::Timestamp::now();
        waiting.extend(chunk);
        while let Some(end) = waiting.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = waiting.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            let data = text.lines().find_map(|line| line.strip_prefix("data:"));
            let batch = text
                .lines()
                .any(|line| line.trim_end() == "event: reading")
                .then(|| serde_json::from_str::<Batch>(data.unwrap_or_default().trim()).ok())
                .flatten();
            if let (Some(batch), Ok(mut seen)) = (batch, seen.lock()) {
                for reading in batch.readings {
                    seen.entry(reading.key()).or_insert(now);
                }
            }
        }
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
