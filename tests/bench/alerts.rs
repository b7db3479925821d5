//! What rules cost, and how long an alert takes from a reading to a board while a fleet speaks.

use super::figure;
use anyhow::{Context as _, ensure};
use e2e::{
    Village,
    clinic::{Clinic, now},
};
use model::{
    decimal::Decimal,
    id::{DeviceId, OutboxId, SiteId},
    metric::Metric,
    reading::{Occurrence, Reading, ReadingGroup},
    record::Record,
    time::{ClockQuality, Observed, WallTime},
    units::Unit,
};
use rules::{
    binding::Subject,
    engine::{Engine, ReadingInput},
    freshness::{Freshness, Moment},
    rule::RuleSet,
};
use serde_json::{Value, json};
use simulators::{
    client::{Client, each_event},
    county::BrokerPlace,
    fleet::{self, CountyPlace, FleetPlan, Ward},
    usage::{Usage, rounded},
};
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinSet, time::interval};
use uplink_proto::envelope::Envelope;

const RULES: &str = include_str!("../../configs/rules/default.json");
/// Devices whose streams the rules alone are run on, each with four metrics.
const STREAMS: u16 = 1000;
/// Seconds of each.
const STREAM_S: u64 = 300;
const SITES: u16 = 20;
const DEVICES: u16 = 20;
/// A result outside so often.
const ALERT_EVERY: Duration = Duration::from_millis(100);
/// What is told later is missing.
const WAIT: Duration = Duration::from_secs(10);

/// The rules on the streams of many devices, one after the other in one thread: what is heard is
/// made before, and nothing is stored.
pub(crate) fn rules_alone() -> anyhow::Result<()> {
    let rules = RuleSet::from_json(RULES)?;
    let site = SiteId::new("bench")?;
    let begin = now().unix_ms();
    let at = |second: u64| {
        WallTime::from_unix_ms(begin.saturating_add_unsigned(second.saturating_mul(1000)))
    };
    let mut engines: BTreeMap<DeviceId, Engine> = BTreeMap::new();
    let (mut readings, mut groups, mut alerts, mut cpu_s) = (0_u64, 0_u64, 0_usize, 0.0);
    let mut ward = Ward::new(&site, STREAMS, 1, OutboxId::from_bytes([7; 16]))?;
    for second in 0..STREAM_S {
        let mut said = Vec::new();
        for closed in ward.say(u64::from(STREAMS), at(second), at(second + 1)) {
            let records = Envelope::decode(&closed.bytes)?.envelope.records;
            said.extend(records.into_iter().filter_map(|record| match record {
                Record::Readings(group) => Some(group),
                _ => None,
            }));
        }
        let before = Usage::of(std::process::id())?;
        for group in &said {
            let engine = engines.entry(group.device.clone()).or_insert_with(|| {
                Engine::new(site.clone(), Subject::Device(group.device.clone()))
            });
            let t_meas = Moment::sure(group.observed.at);
            let input = ReadingInput { group, t_meas, freshness: Freshness::Fresh };
            alerts += engine.on_readings(&rules, group.observed.at, input).len();
            readings += u64::try_from(group.readings.len())?;
            groups += 1;
        }
        cpu_s += Usage::of(std::process::id())?.cpu_s - before.cpu_s;
    }
    let count = f64::from(u32::try_from(readings)?);
    figure(
        "rules_alone",
        &json!({
            "devices": STREAMS, "groups": groups, "readings": readings, "alerts_changed": alerts,
            "cpu_s": rounded(cpu_s, 2),
            "readings_per_cpu_s": rounded(count / cpu_s, 0),
            "us_per_reading": rounded(1e6 * cpu_s / count, 2),
        }),
    )
}

/// When each device said a result that raises an alert, and when the alert was told.
type Times = Arc<Mutex<BTreeMap<String, jiff::Timestamp>>>;

/// From a result outside, as it is handed to the link, to its alert on the stream of events, while
/// a fleet sends so many readings a second into the same county.
pub(crate) async fn latency(rate: u32, seconds: u64) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("asking for the path of this program")?;
    let mut village = Village::prepare_with(&program, BrokerPlace::Embedded, Vec::new()).await?;
    let identities = village.folder().join("identities");
    for number in 1..=SITES {
        let name = format!("fleet-{number:03}");
        village.county.issue(&name, &identities.join(name.as_str())).await?;
    }
    let probes = village.folder().join("probes");
    let probe = Clinic::connect(&village.county, "probe", &probes, 1).await?;
    village.county.start().await?;
    let (host, port) = village.county.broker().rsplit_once(':').context("HOST:PORT")?;
    let plan = FleetPlan {
        sites: SITES.try_into()?,
        devices: DEVICES.try_into()?,
        rate: NonZeroU32::new(rate).context("a rate of 0")?,
        duration: Duration::from_secs(seconds),
        commit_every: Duration::from_millis(250),
        seed: 1,
        breaks_every: None,
        county: CountyPlace::There {
            broker: (host.to_owned(), port.parse()?),
            identities,
            api: Some(village.county.client()?),
        },
    };
    let (said, told) = (Times::default(), Times::default());
    let mut following = JoinSet::new();
    let (begun, begins) = oneshot::channel();
    following.spawn(follow(village.county.client()?, Arc::clone(&told), begun));
    begins.await.context("nobody follows")?;
    let id = village.county.process_id().context("the county has ended")?;
    let before = Usage::of(id)?;
    let speaking = speak(&probe, seconds, &said);
    let (report, spoken) = tokio::join!(fleet::run(&plan), speaking);
    let (mut report, count) = (report?, spoken?);
    // What the county has beyond the fleet's readings is the probe's, once each.
    let of_probe = u64::try_from(count)?;
    report.doubled = report.doubled.map(|more| more.abs_diff(of_probe));
    let cpu_s = Usage::of(id)?.cpu_s - before.cpu_s;
    let all = async || Ok(told.lock().unwrap_or_else(PoisonError::into_inner).len() >= count);
    // Whether that came true is for the figure to say.
    e2e::until("all alerts are told", WAIT, all).await.ok();
    village.county.stop().await?;
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let mut took_ms: Vec<i64> = said
        .iter()
        .filter_map(|(device, at)| Some(told.get(device)?.as_millisecond() - at.as_millisecond()))
        .collect();
    took_ms.sort_unstable();
    let part = |percent: usize| took_ms.get((took_ms.len() * percent / 100).min(took_ms.len() - 1));
    ensure!(!took_ms.is_empty(), "no alert was told");
    figure(
        "alert_latency",
        &json!({
            "asked_per_s": rate, "results_outside": count, "alerts_told": took_ms.len(),
            "p50_ms": part(50), "p99_ms": part(99), "max_ms": took_ms.last(),
            "county_cpu_s": rounded(cpu_s, 1), "fleet": report,
        }),
    )?;
    ensure!(took_ms.len() == count, "{} of {count} alerts were told", took_ms.len());
    Ok(())
}

/// A glucose result of another meter each time, low enough for a nurse to be called.
async fn speak(probe: &Clinic, seconds: u64, said: &Times) -> anyhow::Result<usize> {
    let mut tick = interval(ALERT_EVERY);
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let low = Decimal::new(25, -1).context("a decimal")?;
    let mut count = 0;
    let mut waiting = Vec::new();
    while tokio::time::Instant::now() < end {
        tick.tick().await;
        let device = format!("meter-{count:05}");
        let observed = Observed { at: now(), quality: ClockQuality::Synchronised };
        let reading = Reading::number(Metric::GLU_CAP_PL, low, Unit::MMOL_PER_L);
        let mut group = ReadingGroup::new(DeviceId::new(&device)?, observed, vec![reading]);
        group.occurrence = Occurrence::Spot;
        let at = jiff::Timestamp::now();
        said.lock().unwrap_or_else(PoisonError::into_inner).insert(device, at);
        waiting.push(probe.hand_over(vec![Record::Readings(group)]).await?);
        count += 1;
    }
    for acked in waiting {
        acked.await.context("the county refused a result")?;
    }
    Ok(count)
}

/// Notes when the alert of each meter is told first.
async fn follow(client: Client, told: Times, begun: oneshot::Sender<()>) -> anyhow::Result<()> {
    let events = client.events().await?;
    // Nobody waits any more.
    begun.send(()).ok();
    each_event(events, |now, name, data| {
        let alert: Option<Value> =
            (name == "alert").then(|| serde_json::from_str(data).ok()).flatten();
        let device = alert.as_ref().and_then(|alert| alert.get("device")?.as_str());
        if let Some(device) = device {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.entry(device.to_owned()).or_insert(now);
        }
    })
    .await;
    Ok(())
}
