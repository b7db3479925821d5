//! Devices that say as many readings a second as a bench likes: json-lines over TCP, a link each.

use anyhow::{Context as _, ensure};
use e2e::Village;
use std::{collections::BTreeMap, fmt::Write as _, fs, io::Write as _, time::Duration};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, interval, timeout},
};

/// Readings of one line.
pub(crate) const LINE_READINGS: u64 = 10;
/// What a line has: metric, unit, lowest value, how far it wanders, decimals.
const PARTS: [(&str, &str, u64, u64, bool); 10] = [
    ("hr", "/min", 62, 24, false),
    ("spo2", "%", 95, 4, false),
    ("pulse_oxim", "/min", 62, 24, false),
    ("perf_index", "%", 11, 20, true),
    ("rr", "/min", 13, 6, false),
    ("temp", "Cel", 362, 9, true),
    ("etco2", "mm[Hg]", 33, 8, false),
    ("abp_sys", "mm[Hg]", 108, 20, false),
    ("abp_dia", "mm[Hg]", 68, 12, false),
    ("abp_mean", "mm[Hg]", 82, 14, false),
];
/// The agent connects within this.
const COME_LIMIT: Duration = Duration::from_secs(60);
/// Lines that are written at once, where nobody asked for a pace.
const AT_ONCE: u64 = 64;

/// Links that the agent will connect to.
pub(crate) struct Devices(Vec<(String, TcpListener)>);

/// What a bench asks of its devices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Lines each device says.
    pub(crate) lines: u64,
    /// How far they are apart; none: as fast as the agent reads.
    pub(crate) every: Option<Duration>,
    /// Each so many lines there is a glucose result, on the urgent lane.
    pub(crate) spot_every: Option<u64>,
    /// Whether lines are numbered, so that they are known again on the board.
    pub(crate) numbered: bool,
}

/// When a line went out: by device and number, and whether it is a spot reading.
pub(crate) type Said = BTreeMap<(String, u64, bool), jiff::Timestamp>;

impl Devices {
    /// Writes so many devices into `agent.toml`.
    pub(crate) async fn prepare(village: &Village, count: usize) -> anyhow::Result<Self> {
        let mut file = fs::OpenOptions::new().append(true).open(village.site.config())?;
        let mut devices = Vec::new();
        for number in 1..=count {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("a device's port")?;
            let (id, port) = (format!("load-{number:02}"), listener.local_addr()?.port());
            writeln!(
                file,
                "\n[[device]]\nid = \"{id}\"\ndriver = \"json-lines\"\n\
                 port = \"tcp://127.0.0.1:{port}\"\noptions = {{ silent_after_s = 86400 }}"
            )?;
            devices.push((id, listener));
        }
        Ok(Self(devices))
    }

    /// Waits for the agent.
    pub(crate) async fn plug_in(&self) -> anyhow::Result<Vec<(String, TcpStream)>> {
        let mut links = Vec::new();
        for (id, listener) in &self.0 {
            let (stream, _) =
                timeout(COME_LIMIT, listener.accept()).await.context("no agent comes")??;
            stream.set_nodelay(true)?;
            links.push((id.clone(), stream));
        }
        Ok(links)
    }
}

/// All say what they have to say; when each line went out, where they are numbered.
pub(crate) async fn speak(
    links: &mut Vec<(String, TcpStream)>,
    pace: Pace,
) -> anyhow::Result<Said> {
    let mut speaking = JoinSet::new();
    for (id, stream) in links.drain(..) {
        speaking.spawn(say(id, stream, pace));
    }
    let mut all = Said::new();
    while let Some(said) = speaking.join_next().await {
        let (id, stream, said) = said.context("a device's task")??;
        links.push((id, stream));
        all.extend(said);
    }
    Ok(all)
}

async fn say(
    id: String,
    mut stream: TcpStream,
    pace: Pace,
) -> anyhow::Result<(String, TcpStream, Said)> {
    let mut said = Said::new();
    let mut tick = interval(pace.every.unwrap_or(Duration::from_secs(1)));
    let at_once = if pace.every.is_some() { 1 } else { AT_ONCE };
    let mut number = 0;
    while number < pace.lines {
        if pace.every.is_some() {
            tick.tick().await;
        }
        let mut text = String::new();
        let now = jiff::Timestamp::now();
        for _ in 0..at_once.min(pace.lines - number) {
            number += 1;
            line(&mut text, number, pace.numbered)?;
            if pace.spot_every.is_some_and(|every| number.is_multiple_of(every)) {
                writeln!(
                    text,
                    "{{\"metric\":\"glu_cap_pl\",\"value\":5.5,\"unit\":\"mmol/L\",\"seq\":{number}}}"
                )?;
                said.insert((id.clone(), number, true), now);
            }
            if pace.numbered {
                said.insert((id.clone(), number, false), now);
            }
        }
        stream.write_all(text.as_bytes()).await.context("the agent hung up")?;
    }
    stream.flush().await?;
    Ok((id, stream, said))
}

/// The line of that number: numbers of patients go up and down by one, every fourth time.
pub(crate) fn line(text: &mut String, number: u64, numbered: bool) -> anyhow::Result<()> {
    text.push_str("{\"parts\":[");
    for ((metric, unit, low, wander, tenths), place) in PARTS.into_iter().zip(0_u64..) {
        let along = (number / 4 + place * 3) % (2 * wander);
        let value = low + along.min(2 * wander - along);
        let comma = if place > 0 { "," } else { "" };
        let value =
            if tenths { format!("{}.{}", value / 10, value % 10) } else { value.to_string() };
        write!(text, "{comma}{{\"metric\":\"{metric}\",\"value\":{value},\"unit\":\"{unit}\"}}")?;
    }
    match numbered {
        true => writeln!(text, "],\"seq\":{number}}}")?,
        false => text.push_str("]}\n"),
    }
    Ok(())
}

/// Waits until the county has stored so many readings since it started; when that was.
pub(crate) async fn stored(
    client: &simulators::client::Client,
    count: u64,
    limit: Duration,
) -> anyhow::Result<Instant> {
    let end = Instant::now() + limit;
    let mut look = interval(Duration::from_millis(50));
    loop {
        look.tick().await;
        let stored = client.readings_stored().await?;
        if stored >= count {
            return Ok(Instant::now());
        }
        ensure!(Instant::now() < end, "{stored} of {count} readings in {} s", limit.as_secs());
    }
}
