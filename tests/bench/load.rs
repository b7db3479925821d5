//! What readings cost an agent: as many as it can take, a thousand a second, and after an outage.
//! Beside each the direct publisher with the same readings.

use super::{
    Costs, direct, figure,
    link::Link,
    source::{Devices, LINE_READINGS, Pace, Said, speak, stored},
    village,
};
use anyhow::{Context as _, ensure};
use e2e::Village;
use serde_json::{Value, json};
use simulators::{
    client::{Client, each_reading},
    usage::{Cost, Usage, rounded},
};
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// Devices that share the load.
const DEVICES: usize = 4;
/// A thousand readings a second of all devices.
const EVERY: Duration = Duration::from_millis(40);
/// A glucose result of each device every second.
const SPOT_EVERY: u64 = 25;
/// What is left to arrive when the devices are silent arrives within this.
const DRAIN_LIMIT: Duration = Duration::from_secs(900);
/// What is said before is not counted: first connections, caches.
const WARM_UP_LINES: u64 = 50;
/// The county is at work again this long before the broker goes.
const OUTAGE_AFTER: Duration = Duration::from_secs(10);

/// A county and an agent whose devices are this bench.
struct Stage {
    village: Village,
    devices: Devices,
    client: Client,
    agent: u32,
    gateway: u32,
}

impl Stage {
    async fn start(commit_ms: u64, link: bool) -> anyhow::Result<(Self, Option<Link>)> {
        let mut village = village(vec![]).await?;
        let devices = Devices::prepare(&village, DEVICES).await?;
        let config = village.site.config();
        let mut text = fs::read_to_string(&config)?;
        let link = match link {
            true => Some(Link::open(village.county.broker(), None).await?),
            false => None,
        };
        if let Some(link) = &link {
            text = text.replace(village.county.broker(), link.address());
        }
        fs::write(&config, text + &format!("\n[outbox]\ncommit_ms = {commit_ms}\n"))?;
        village.county.issue(direct::NAME, village.folder()).await?;
        village.county.start().await?;
        village.site.start()?;
        let ids = [village.site.process_id(), village.county.process_id()];
        let [Some(agent), Some(gateway)] = ids else { anyhow::bail!("one of them has ended") };
        let client = village.county.client()?;
        Ok((Self { village, devices, client, agent, gateway }, link))
    }

    fn usage(&self) -> anyhow::Result<(Instant, Usage, Usage)> {
        Ok((Instant::now(), Usage::of(self.agent)?, Usage::of(self.gateway)?))
    }

    fn costs(&self, before: &(Instant, Usage, Usage)) -> anyhow::Result<Costs> {
        let (began, agent, gateway) = before;
        let (now, agent_now, gateway_now) = self.usage()?;
        let over_s = now.duration_since(*began).as_secs_f64();
        let [agent, gateway] = [(agent, agent_now), (gateway, gateway_now)]
            .map(|(before, after)| Cost::between(before, &after, over_s));
        Ok(Costs { agent, gateway })
    }

    /// Everything is compared, row by row.
    async fn prove(mut self) -> anyhow::Result<Value> {
        self.village.drained().await?;
        self.village.site.stop().await?;
        self.village.county.stop().await?;
        let proof = self.village.prove()?;
        Ok(
            json!({ "envelopes": proof.envelopes, "readings": proof.readings, "lost": 0, "doubled": 0 }),
        )
    }
}

/// As many readings as the agent takes, then the direct publisher with as many.
pub(crate) async fn saturation(readings: u64) -> anyhow::Result<()> {
    let (stage, _) = Stage::start(250, false).await?;
    let mut links = stage.devices.plug_in().await?;
    let each = |lines| Pace { lines, every: None, spot_every: None, numbered: false };
    speak(&mut links, each(WARM_UP_LINES)).await?;
    let devices = u64::try_from(DEVICES)?;
    let warm = WARM_UP_LINES * devices * LINE_READINGS;
    stored(&stage.client, warm, DRAIN_LIMIT).await?;
    let lines = readings / devices / LINE_READINGS;
    let count = lines * devices * LINE_READINGS;
    let before = stage.usage()?;
    speak(&mut links, each(lines)).await?;
    let ended = stored(&stage.client, warm + count, DRAIN_LIMIT).await?;
    let over_s = ended.duration_since(before.0).as_secs_f64();
    let costs = stage.costs(&before)?;
    let number = f64::from(u32::try_from(count)?);
    let broker = stage.village.county.broker().to_owned();
    let dir = stage.village.folder().to_owned();
    let direct = direct::run_apart(&broker, &dir, lines * devices, None).await?;
    let proof = stage.prove().await?;
    figure(
        "saturation",
        &json!({
            "readings": count,
            "commit_ms": 250,
            "transport": "MQTT 5 in TLS 1.3 with client certificates, loopback",
            "end_to_end_per_s": rounded(number / over_s, 0),
            "agent": costs.agent.per_reading(number),
            "gateway": costs.gateway.per_reading(number),
            "direct_publisher": direct,
            "proof": proof,
        }),
    )
}

/// A thousand readings a second: what they cost, and when they are on the board.
pub(crate) async fn live(seconds: u64, commit_ms: u64) -> anyhow::Result<()> {
    let (stage, _) = Stage::start(commit_ms, false).await?;
    let mut links = stage.devices.plug_in().await?;
    let (seen, listening) = listen(&stage.client).await?;
    let lines = seconds * 1000 / u64::try_from(EVERY.as_millis())?;
    let pace = Pace { lines, every: Some(EVERY), spot_every: Some(SPOT_EVERY), numbered: true };
    let before = stage.usage()?;
    let said = speak(&mut links, pace).await?;
    let costs = stage.costs(&before)?;
    let spots = said.keys().filter(|(_, _, spot)| *spot).count();
    let count = lines * u64::try_from(DEVICES)? * LINE_READINGS + u64::try_from(spots)?;
    stored(&stage.client, count, DRAIN_LIMIT).await?;
    sleep(Duration::from_secs(1)).await;
    listening.abort();
    let seen = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    let number = f64::from(u32::try_from(count)?);
    let broker = stage.village.county.broker().to_owned();
    let dir = stage.village.folder().to_owned();
    let all_lines = lines * u64::try_from(DEVICES)?;
    let every = EVERY / u32::try_from(DEVICES)?;
    let direct = direct::run_apart(&broker, &dir, all_lines, Some(every)).await?;
    let proof = stage.prove().await?;
    figure(
        "live",
        &json!({
            "seconds": seconds,
            "readings": count,
            "commit_ms": commit_ms,
            "transport": "MQTT 5 in TLS 1.3 with client certificates, loopback",
            "urgent_ms": latency(&said, &seen, true)?,
            "trend_ms": latency(&said, &seen, false)?,
            "agent": costs.agent.per_reading(number),
            "gateway": costs.gateway.per_reading(number),
            "direct_publisher": direct,
            "proof": proof,
        }),
    )
}

/// What boards hear, and when: each numbered line once.
pub(crate) async fn listen(client: &Client) -> anyhow::Result<(Arc<Mutex<Said>>, JoinHandle<()>)> {
    let seen: Arc<Mutex<Said>> = Arc::default();
    let noted = Arc::clone(&seen);
    let listening = tokio::spawn(each_reading(client.events().await?, move |now, reading| {
        let spot = reading.lane == "urgent";
        let (Some(number), true) = (reading.device_seq, spot || reading.metric == "hr") else {
            return;
        };
        if let Ok(mut seen) = noted.lock() {
            seen.entry((reading.device, number, spot)).or_insert(now);
        }
    }));
    Ok((seen, listening))
}

/// From the device's byte to the event on the board.
pub(crate) fn latency(said: &Said, seen: &Said, spot: bool) -> anyhow::Result<Value> {
    let said: BTreeMap<_, _> = said.iter().filter(|((_, _, is), _)| *is == spot).collect();
    let mut spans: Vec<i64> = said
        .iter()
        .filter_map(|(key, at)| Some(seen.get(*key)?.as_millisecond() - at.as_millisecond()))
        .collect();
    spans.sort_unstable();
    ensure!(spans.len() == said.len(), "{} of {} were on the board", spans.len(), said.len());
    let at = |percent: usize| spans.get((spans.len() - 1) * percent / 100).copied();
    Ok(json!({ "n": spans.len(), "p50": at(50), "p99": at(99), "max": spans.last() }))
}

/// The way to the broker is gone for a while, at a thousand readings a second.
pub(crate) async fn outage(seconds: u64) -> anyhow::Result<()> {
    let (stage, link) = Stage::start(250, true).await?;
    let link = link.context("there is no link")?;
    let mut links = stage.devices.plug_in().await?;
    let away = Duration::from_secs(seconds);
    let spoken = OUTAGE_AFTER * 3 + away;
    let lines = u64::try_from(spoken.as_millis() / EVERY.as_millis())?;
    let pace = Pace { lines, every: Some(EVERY), spot_every: None, numbered: false };
    let began = Instant::now();
    let speaking = tokio::spawn(async move { speak(&mut links, pace).await });
    sleep(OUTAGE_AFTER).await;
    link.cut();
    sleep(away).await;
    let per_s = u64::try_from(DEVICES)? * LINE_READINGS * 1000 / u64::try_from(EVERY.as_millis())?;
    let said = per_s * began.elapsed().as_secs();
    let before = stage.usage()?;
    let had = stage.client.readings_stored().await?;
    link.mend();
    let mended = Instant::now();
    let caught_up = stored(&stage.client, said, DRAIN_LIMIT).await?.duration_since(mended);
    let costs = stage.costs(&before)?;
    speaking.await.context("the devices' task")??;
    let all = lines * u64::try_from(DEVICES)? * LINE_READINGS;
    stored(&stage.client, all, DRAIN_LIMIT).await?;
    let proof = stage.prove().await?;
    figure(
        "outage",
        &json!({
            "away_s": seconds,
            "readings_per_s": per_s,
            "commit_ms": 250,
            "waited": said - had,
            "caught_up_s": rounded(caught_up.as_secs_f64(), 2),
            "agent": costs.agent.shown(),
            "gateway": costs.gateway.shown(),
            "proof": proof,
        }),
    )
}
