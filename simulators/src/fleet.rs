//! Load for a county: the uplinks of many boxes in one process, with the real sending half of the
//! protocol, and what came of it.
//!
//! Not here: devices and their drivers, the outbox on disk. What is measured is the county.
//!
//! - [`agent`]: one box; [`ward`]: what its devices say; [`tally`]: counts
//!
//! # Invariants
//! - what a box keeps for the county is bounded; a county that is too slow holds the devices back,
//!   and the report says by how much
//! - lost is what was never acked, or what the county's own ledger does not have

mod agent;
mod tally;
mod ward;

pub use tally::Percentiles;
pub use ward::{Closed, Ward};

use crate::{
    client::Client,
    county::{BrokerPlace, County, CountyPlan},
    process::Program,
    usage::{Cost, Usage, rounded},
};
use agent::{Agent, Course, Identity};
use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    num::{NonZeroU16, NonZeroU32},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tally::Tally;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// What all boxes together keep for the county.
const OUTBOXES_MAX: usize = 256 << 20;
/// Boxes that connect at the same time: a handshake takes milliseconds of a processor.
const CONNECTING_MAX: usize = 16;
/// Acks are waited for so long after the last word.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// When all are connected the first envelopes are closed after this.
const LEAD: Duration = Duration::from_millis(500);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    /// How many boxes.
    pub sites: NonZeroU16,
    /// Devices of each.
    pub devices: NonZeroU16,
    /// Readings a second, of all of them together.
    pub rate: NonZeroU32,
    /// How long they speak.
    pub duration: Duration,
    /// How often each closes an envelope.
    pub commit_every: Duration,
    /// From which all that devices say follows.
    pub seed: u64,
    /// Each box loses its connection about so often.
    pub breaks_every: Option<Duration>,
    /// Whose county it is.
    pub county: CountyPlace,
}

/// Where the county is.
#[derive(Clone, Debug)]
pub enum CountyPlace {
    /// One of the fleet's own, with its broker inside, that is gone afterwards.
    Own(Program),
    /// One that runs already.
    There {
        /// Host and port of its broker.
        broker: (String, u16),
        /// A folder for each box, named as the box, with what `pki issue` wrote for it.
        identities: PathBuf,
        /// Its API, where it may be asked what arrived.
        api: Option<Client>,
    },
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct FleetReport {
    /// Boxes.
    pub sites: u16,
    /// Devices of each.
    pub devices: u16,
    /// Readings a second that were asked for.
    pub asked_per_s: u32,
    /// From the first envelope to the last ack.
    pub seconds: f64,
    /// Readings in envelopes.
    pub sent: u64,
    /// Readings that were to be sent, and were not, because the county was too slow.
    pub held_back: u64,
    /// Readings that the county acked.
    pub acked: u64,
    /// Acked readings a second.
    pub acked_per_s: f64,
    /// Readings that were sent and never acked, or are not in the county's ledger.
    pub lost: u64,
    /// Readings that the county stored twice; `None` where it was not asked.
    pub doubled: Option<u64>,
    /// Envelopes.
    pub envelopes: u64,
    /// Envelopes that went out more than once.
    pub sent_again: u64,
    /// Bytes of an envelope for each reading, without MQTT and TLS.
    pub bytes_per_reading: f64,
    /// From handing an envelope to its connection to its ack.
    pub ack_latency_ms: Option<Percentiles>,
    /// From closing an envelope to its ack: how long it waited for the county too.
    pub delay_ms: Option<Percentiles>,
    /// Connections that were made.
    pub connections: u64,
    /// Connections that were broken on purpose.
    pub breaks: u64,
    /// Processor seconds of the fleet itself.
    pub fleet_cpu_s: f64,
    /// What the fleet's own county cost, its broker included.
    pub county: Option<Value>,
}

impl FleetReport {
    /// Whether everything that was asked for was sent, and arrived once.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled.unwrap_or(0) == 0 && self.held_back == 0
    }
}

/// Runs a fleet to its end.
///
/// # Errors
/// When the county cannot be reached, or does not do what the protocol asks of it.
pub async fn run(plan: &FleetPlan) -> anyhow::Result<FleetReport> {
    match &plan.county {
        CountyPlace::There { broker: (host, port), identities, api } => {
            let names = names_in(identities, plan.sites)?;
            let place = (host.as_str(), *port);
            sail(plan, &identities_of(identities, &names, place)?, api.as_ref(), None).await
        }
        CountyPlace::Own(program) => {
            let mut own = OwnCounty::start(program, plan.sites).await?;
            let sailed = own.sail(plan).await;
            let stopped = own.county.stop().await;
            let report = sailed?;
            stopped.map(|()| report)
        }
    }
}

/// A county for this fleet alone.
struct OwnCounty {
    county: County,
    names: Vec<String>,
    folder: TempDir,
}

impl OwnCounty {
    async fn start(program: &Program, sites: NonZeroU16) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let plan = CountyPlan {
            dir: folder.path().join("county"),
            http_port: 0,
            broker: BrokerPlace::Embedded,
            clinics: Vec::new(),
        };
        let mut county = County::prepare(program, plan).await?;
        let names: Vec<_> = (1..=sites.get()).map(|number| format!("fleet-{number:03}")).collect();
        for name in &names {
            county.issue(name, &folder.path().join(name)).await?;
        }
        county.start().await?;
        Ok(Self { county, names, folder })
    }

    async fn sail(&self, plan: &FleetPlan) -> anyhow::Result<FleetReport> {
        let broker = self.county.broker().rsplit_once(':');
        let (host, port) = broker.context("the broker has no port")?;
        let place = (host, port.parse().context("the broker's port")?);
        let identities = identities_of(self.folder.path(), &self.names, place)?;
        let id = self.county.process_id();
        sail(plan, &identities, Some(&self.county.client()?), id).await
    }
}

/// The first names of boxes in the folder.
fn names_in(dir: &Path, sites: NonZeroU16) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.context("reading the folder of identities")?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.join(format!("{name}.key")).exists() {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let wanted = usize::from(sites.get());
    ensure!(
        names.len() >= wanted,
        "{} has identities of {} boxes, not of {wanted}; write more with \
         `clinic-gateway pki issue NAME --out {}/NAME`",
        dir.display(),
        names.len(),
        dir.display()
    );
    names.truncate(wanted);
    Ok(names)
}

fn identities_of(
    dir: &Path,
    names: &[String],
    broker: (&str, u16),
) -> anyhow::Result<Vec<Identity>> {
    names.iter().map(|name| Identity::read(&dir.join(name), name, broker)).collect()
}

/// Connects everybody, lets them speak, and asks the county what arrived.
async fn sail(
    plan: &FleetPlan,
    identities: &[Identity],
    api: Option<&Client>,
    county: Option<u32>,
) -> anyhow::Result<FleetReport> {
    let agents = connect(plan, identities).await?;
    let stored_before = match api {
        Some(api) => Some(api.readings_stored().await?),
        None => None,
    };
    let usage = |id: Option<u32>| id.map(Usage::of).transpose();
    let own = std::process::id();
    let (before, own_before) = (usage(county)?, Usage::of(own)?);
    let began = Instant::now();
    let mut running = JoinSet::new();
    for (agent, number) in agents.into_iter().zip(0..) {
        running.spawn(agent.run(course(plan, number, began)));
    }
    let (mut all, mut last) = (Tally::default(), BTreeMap::new());
    while let Some(ended) = running.join_next().await {
        let tally = ended.context("a box's task")??;
        last.extend(tally.last.map(|(outbox, next)| (outbox.to_string(), next.get())));
        all.add(&tally);
    }
    let (after, own_after) = (usage(county)?, Usage::of(own)?);
    let over_s = began.elapsed().as_secs_f64();
    let acked = count(all.acked)?;
    let county = before
        .zip(after)
        .map(|(before, after)| Cost::between(&before, &after, over_s).per_reading(acked));
    let mut lost = all.lost;
    let mut doubled = None;
    if let (Some(api), Some(before)) = (api, stored_before) {
        if all.lost == 0 {
            ensure_settled(api, &last).await?;
        }
        // Also what arrived without its ack.
        let stored = api.readings_stored().await?.saturating_sub(before);
        lost = all.said.saturating_sub(stored);
        doubled = Some(stored.saturating_sub(all.said));
    }
    Ok(FleetReport {
        sites: plan.sites.get(),
        devices: plan.devices.get(),
        asked_per_s: plan.rate.get(),
        seconds: rounded(all.seconds(), 2),
        sent: all.said,
        held_back: all.due - all.said,
        acked: all.acked,
        acked_per_s: rounded(acked / all.seconds(), 0),
        lost,
        doubled,
        envelopes: all.envelopes,
        sent_again: all.published.saturating_sub(all.envelopes),
        bytes_per_reading: rounded(count(all.bytes)? / count(all.said)?, 2),
        ack_latency_ms: all.ack.percentiles(),
        delay_ms: all.delay.percentiles(),
        connections: all.connections,
        breaks: all.breaks,
        fleet_cpu_s: rounded(own_after.cpu_s - own_before.cpu_s, 2),
        county,
    })
}

async fn connect(plan: &FleetPlan, identities: &[Identity]) -> anyhow::Result<Vec<Agent>> {
    let (mut connecting, mut agents) = (JoinSet::new(), Vec::new());
    for (identity, number) in identities.iter().zip(0..) {
        if connecting.len() >= CONNECTING_MAX {
            let connected = connecting.join_next().await.context("nobody connects")?;
            agents.push(connected.context("a box's task")??);
        }
        let seed = plan.seed.wrapping_add(number);
        connecting.spawn(Agent::connect(identity.clone(), plan.devices.get(), seed));
    }
    while let Some(connected) = connecting.join_next().await {
        agents.push(connected.context("a box's task")??);
    }
    Ok(agents)
}

/// What one box does: an equal part of everything, and not in step with the others.
fn course(plan: &FleetPlan, number: u32, began: Instant) -> Course {
    let sites = u32::from(plan.sites.get());
    // Between half and one and a half of what was asked for, by the seed.
    let share =
        (plan.seed.wrapping_add(u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 56;
    let breaks = |every: Duration| every / 2 + every * u32::try_from(share).unwrap_or(0) / 256;
    Course {
        readings_per_1000_s: u64::from(plan.rate.get()) * 1000 / u64::from(sites),
        commit_every: plan.commit_every,
        begins: began + LEAD + plan.commit_every * number / sites,
        speaks_for: plan.duration,
        drain_limit: DRAIN_LIMIT,
        outbox_max: OUTBOXES_MAX / usize::from(plan.sites.get()),
        breaks_every: plan.breaks_every.map(breaks),
    }
}

/// The county's own ledger must have every envelope.
async fn ensure_settled(api: &Client, last: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let ledger = api.ledger().await?;
    for (outbox, next) in last.iter().filter(|(_, next)| **next > 1) {
        let lane = ledger.iter().find(|lane| lane.outbox == *outbox && lane.lane == "trend");
        let Some(lane) = lane else { bail!("outbox {outbox} is not in the county's ledger") };
        let whole = lane.watermark == Some(next - 1) && lane.dropped.is_empty();
        ensure!(
            whole && lane.gaps.is_empty() && lane.quarantined.is_empty(),
            "{} sent {} envelopes and waited {} s; the county's ledger: {lane:?}",
            lane.site,
            next - 1,
            DRAIN_LIMIT.as_secs()
        );
    }
    Ok(())
}

/// A count as a number that can be divided.
fn count(number: u64) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(number).context("more than 4 thousand million")?))
}
