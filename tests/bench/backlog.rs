//! A day without the county: how fast the backlog drains over a slow link, and how long what is said
//! meanwhile is on its way.

use super::{
    figure,
    link::Link,
    load::{latency, listen},
    source::{Devices, Pace, Said, speak},
    village,
};
use anyhow::{Context as _, ensure};
use e2e::{Village, until};
use model::{
    id::{OutboxId, SiteId},
    time::WallTime,
};
use rusqlite::{Connection, params};
use serde_json::json;
use simulators::{
    fleet::Ward,
    usage::{Cost, Usage, rounded},
};
use std::{fs, time::Duration};
use tokio::time::{Instant, sleep};

/// What waits: so many groups of four readings in each 250 ms of a day, as 20 devices say them.
const GROUPS: u64 = 4;
const COMMIT_MS: i64 = 250;
const DAY_MS: i64 = 24 * 3600 * 1000;
const WARD_DEVICES: u16 = 20;
/// And go on to say: 67 readings a second.
const DEVICES: usize = 4;
const EVERY: Duration = Duration::from_millis(600);
/// After so long the window of the sender has found the link's speed.
const SETTLE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn backlog(kbit_per_s: u64, seconds: u64) -> anyhow::Result<()> {
    let mut village = village(vec![]).await?;
    let speed = kbit_per_s * 125;
    let link = Link::open(village.county.broker(), Some(speed)).await?;
    let config = village.site.config();
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text.replace(village.county.broker(), link.address()))?;
    let (waiting, readings, bytes) = a_day(&mut village, &link).await?;
    // Not before: the agent that made the outbox would have connected to them.
    let devices = Devices::prepare(&village, DEVICES).await?;

    village.county.start().await?;
    let client = village.county.client()?;
    let (seen, listening) = listen(&client).await?;
    link.mend();
    village.site.start()?;
    let mut links = devices.plug_in().await?;
    until("the backlog flows", PATIENCE, async || Ok(village.stored()? > 0)).await?;
    sleep(SETTLE).await;
    let ids = [village.site.process_id(), village.county.process_id()];
    let [Some(agent), Some(gateway)] = ids else { anyhow::bail!("one of them has ended") };
    let usage = || anyhow::Ok([Usage::of(agent)?, Usage::of(gateway)?]);
    let (before, passed, had) = (usage()?, link.passed(), village.stored()?);
    let began = Instant::now();
    let pace = Pace {
        lines: seconds * 1000 / u64::try_from(EVERY.as_millis())?,
        every: Some(EVERY),
        spot_every: None,
        numbered: true,
    };
    let said: Said = speak(&mut links, pace).await?;
    let over_s = began.elapsed().as_secs_f64();
    let (after, passed) = (usage()?, link.passed() - passed);
    let envelopes = village.stored()? - had;
    ensure!(envelopes < waiting, "the backlog was gone before the end; take a slower link");
    // What was said last may be on its way still.
    until("the present is on the board", PATIENCE, async || {
        Ok(seen.lock().is_ok_and(|seen| said.keys().all(|key| seen.contains_key(key))))
    })
    .await?;
    listening.abort();
    let seen = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    let [agent, gateway] = [0, 1].map(|which| {
        let pair = before.get(which).zip(after.get(which));
        pair.map(|(before, after)| Cost::between(before, after, over_s).shown())
    });
    village.site.stop().await?;
    village.county.stop().await?;
    let envelope_len = f64::from(u32::try_from(bytes)?) / f64::from(u32::try_from(waiting)?);
    let in_s = |bytes: f64| bytes / over_s / f64::from(u32::try_from(speed).unwrap_or(u32::MAX));
    figure(
        "backlog",
        &json!({
            "waiting_envelopes": waiting,
            "waiting_readings": readings,
            "waiting_bytes": bytes,
            "link_kbit_per_s": kbit_per_s,
            "link": "a TCP proxy of this program on loopback, the way up slowed down, TLS inside",
            "over_s": rounded(over_s, 0),
            "drained_envelopes": envelopes,
            "drained_of_link": rounded(in_s(f64::from(u32::try_from(envelopes)?) * envelope_len), 3),
            "used_of_link": rounded(in_s(f64::from(u32::try_from(passed)?)), 3),
            "live_ms": latency(&said, &seen, false)?,
            "agent": agent,
            "gateway": gateway,
        }),
    )
}

/// Fills the outbox with a day of a clinic; envelopes, readings, bytes.
async fn a_day(village: &mut Village, link: &Link) -> anyhow::Result<(u64, u64, usize)> {
    link.cut();
    village.site.start()?;
    let path = village.site.outbox();
    until("there is an outbox", PATIENCE, async || Ok(path.exists())).await?;
    village.site.stop().await?;
    let mut outbox = Connection::open(&path)?;
    let question = "SELECT value FROM meta WHERE key = 'outbox_id'";
    let id: [u8; 16] = outbox.query_row(question, [], |row| row.get(0))?;
    let site = SiteId::new(village.site.name())?;
    let mut ward = Ward::new(&site, WARD_DEVICES, 1, OutboxId::from_bytes(id))?;
    let (mut envelopes, mut readings, mut bytes) = (0, 0, 0);
    let now = jiff::Timestamp::now().as_millisecond();
    let transaction = outbox.transaction()?;
    let mut insert =
        transaction.prepare("INSERT INTO trend (place, opened_at, bytes) VALUES (?1, ?2, ?3)")?;
    for at in (now - DAY_MS..now).step_by(usize::try_from(COMMIT_MS)?) {
        let (from, until) = (WallTime::from_unix_ms(at), WallTime::from_unix_ms(at + COMMIT_MS));
        for closed in ward.say(GROUPS, from, until) {
            insert.execute(params![i64::try_from(closed.seq.get())?, at, closed.bytes])?;
            envelopes += 1;
            readings += closed.readings;
            bytes += closed.bytes.len();
        }
    }
    drop(insert);
    transaction.commit().context("writing a day into the outbox")?;
    Ok((envelopes, readings, bytes))
}
