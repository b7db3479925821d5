//! Story: device alarms are said five times each, the receiver of a webhook fails at times, and the
//! county is killed at random instants; whoever is to be told hears each step, in its order, and can
//! tell what it has heard.
//!
//! `KILL_SEED=17` makes the same dice fall again, `KILLS=100` kills so often.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::hmac;
use e2e::{
    Village,
    clinic::{Clinic, now},
    dice::{Dice, of_environment, seed},
    until,
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    id::{Channel, DeviceId},
    record::Record,
    time::{ClockQuality, Observed},
};
use serde_json::Value;
use simulators::county::BrokerPlace;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(120);
/// In the ordinary run.
const KILLS: u64 = 20;
/// Redeliveries of each alarm.
const COPIES: usize = 5;
const DEVICES: u64 = 12;
/// The kill falls anywhere in this time after the county was ready.
const INSTANTS_MS: u64 = 1500;
/// Words of one device: its alert's timeline holds 64 entries.
const WORDS: usize = 20;
/// Between two words of a device.
const PAUSE_MS: u64 = 400;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const EVER: &str = "1970-01-01T00:00:00Z";
/// Everything that can be told.
const STEPS: [&str; 7] =
    ["raised", "recurred", "priority_rose", "realarmed", "escalated", "assigned", "cleared"];

/// What a receiver has taken, in its order.
#[derive(Default)]
struct Heard {
    messages: Vec<Value>,
    /// Whose answer was lost, or was a failure.
    failed: u64,
    wrong: Vec<String>,
}

/// A receiver that fails at times.
#[derive(Clone)]
struct Receiver {
    heard: Arc<Mutex<Heard>>,
    dice: Arc<Mutex<Dice>>,
}

impl Receiver {
    async fn listen(self, listener: TcpListener) {
        let mut answering = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    let receiver = self.clone();
                    answering.spawn(async move {
                        // A sender that is killed hangs up.
                        drop(receiver.answer(stream).await);
                    });
                }
                Some(_) = answering.join_next() => {}
            }
        }
    }

    async fn answer(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        let (head, body) = request(&mut stream).await?;
        let throw = self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(8);
        match throw {
            // It is busy.
            0 => stream.write_all(&answer("503 Service Unavailable")).await?,
            // It is gone before it has taken it.
            1 => {}
            // It has taken it, and its answer is lost.
            2 => self.take(&head, &body),
            _ => {
                self.take(&head, &body);
                stream.write_all(&answer("204 No Content")).await?;
            }
        }
        if throw < 3 {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).failed += 1;
        }
        Ok(())
    }

    fn take(&self, head: &str, body: &str) {
        let taken = checked(head, body);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match taken {
            Ok(message) => heard.messages.push(message),
            Err(error) => heard.wrong.push(format!("{error:#}")),
        }
    }
}

fn answer(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

/// Reads one request: its head and its body.
async fn request(stream: &mut TcpStream) -> anyhow::Result<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let len: usize = header(head, "content-length")?.parse()?;
            let begin = head.len() + 4;
            if let Some(body) = bytes.get(begin..begin + len) {
                return Ok((head.to_owned(), String::from_utf8(body.to_vec())?));
            }
        }
        ensure!(stream.read_buf(&mut bytes).await? > 0, "the sender hung up");
    }
}

fn header<'h>(head: &'h str, name: &str) -> anyhow::Result<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).with_context(|| format!("no {name} in {head}"))
}

/// What a careful receiver does with a message: signature, then key.
fn checked(head: &str, body: &str) -> anyhow::Result<Value> {
    let said = header(head, "clinic-signature")?.strip_prefix("v1=").context("another version")?;
    let signed = format!("{}.{body}", header(head, "clinic-timestamp")?);
    let mut tag = Vec::new();
    for pair in said.as_bytes().chunks(2) {
        tag.push(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    if hmac::verify(&key, signed.as_bytes(), &tag).is_err() {
        bail!("the signature of {body} is wrong");
    }
    let message: Value = serde_json::from_str(body)?;
    ensure!(text(&message, "key") == header(head, "idempotency-key")?, "{head}: {body}");
    Ok(message)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Devices whose alarms begin and end, one after the other, until that is enough; how many words
/// each said.
async fn ring(
    clinic: Arc<Clinic>,
    number: u64,
    mut dice: Dice,
    enough: CancellationToken,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut said = BTreeMap::new();
    let mut words = 0;
    while !enough.is_cancelled() {
        let name = format!("pump-{number:02}-{:03}", words / WORDS);
        let phase = if words % 2 == 0 { AlarmPhase::Start } else { AlarmPhase::End };
        let alarm = DeviceAlarm {
            device: DeviceId::new(&name)?,
            channel: Channel::default(),
            phase,
            kind: AlarmKind::OcclusionDownstream,
            code: "5".into(),
            text: "x\r\nclinic-signature: v1=00".into(),
            priority: None,
            source: None,
            device_time: None,
            observed: Observed { at: now(), quality: ClockQuality::Synchronised },
        };
        clinic.say(vec![Record::Alarm(alarm)]).await?;
        words += 1;
        *said.entry(name).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(dice.below(PAUSE_MS))).await;
    }
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_told_once_by_its_key_whatever_is_killed() -> anyhow::Result<()> {
    let (seed, kills) = (seed(), of_environment("KILLS").unwrap_or(KILLS));
    println!("KILL_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut village =
        Village::prepare_with(Path::new(PROGRAM), BrokerPlace::Embedded, Vec::new()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let told = village.folder().join("told");
    let steps = STEPS.map(|step| format!("\"{step}\"")).join(", ");
    fs::write(village.folder().join("secret"), format!("{SECRET}\n"))?;
    write!(
        fs::OpenOptions::new().append(true).open(village.county.config())?,
        "\n[[notify]]\nname = \"phone\"\nkind = \"webhook\"\nurl = \"http://{}/hook\"\n\
         secret_file = \"{}\"\nsteps = [{steps}]\n\
         \n[[notify]]\nname = \"lamp\"\nkind = \"command\"\nprogram = \"/usr/bin/tee\"\n\
         arguments = [\"-a\", \"{}\"]\nsteps = [{steps}]\nlanguage = \"en\"\n",
        listener.local_addr()?,
        village.folder().join("secret").display(),
        told.display()
    )?;
    let receiver = Receiver {
        heard: Arc::default(),
        dice: Arc::new(Mutex::new(Dice::new(seed.wrapping_add(1)))),
    };
    let mut listening = JoinSet::new();
    listening.spawn(receiver.clone().listen(listener));
    let folder = village.folder().join("clinics");
    let clinic = Clinic::connect(&village.county, "heping", &folder, COPIES).await?;
    let (clinic, enough) = (Arc::new(clinic), CancellationToken::new());
    village.county.start().await?;
    let mut ringing = JoinSet::new();
    for number in 0..DEVICES {
        let dice = Dice::new(seed.wrapping_add(2 + number));
        ringing.spawn(ring(Arc::clone(&clinic), number, dice, enough.clone()));
    }
    for _ in 0..kills {
        // The instant itself: nothing is waited for.
        tokio::time::sleep(Duration::from_millis(dice.below(INSTANTS_MS))).await;
        village.county.kill().await?;
        village.county.start().await?;
    }
    enough.cancel();
    let mut said = BTreeMap::new();
    while let Some(rung) = ringing.join_next().await {
        said.extend(rung??);
    }
    let client = village.county.client()?;
    for state in ["waiting", "in_summary"] {
        until("all are told", LIMIT, async || {
            let open: Value = client.get("/api/v1/notifications", &[("state", state)]).await?;
            let open = open.get("notifications").and_then(Value::as_array).map(Vec::len);
            Ok(open == Some(0))
        })
        .await?;
    }
    let alerts = client.alerts(EVER).await?;
    village.county.stop().await?;

    let heard = std::mem::take(&mut *receiver.heard.lock().unwrap_or_else(PoisonError::into_inner));
    ensure!(heard.wrong.is_empty(), "{:#?}", heard.wrong);
    let mut lamp = Vec::new();
    for line in fs::read_to_string(&told)?.lines() {
        lamp.push(serde_json::from_str(line).with_context(|| line.to_owned())?);
    }
    let expected = expected(&alerts, &said)?;
    let phone_twice = compare("phone", &heard.messages, &expected)?;
    let lamp_twice = compare("lamp", &lamp, &expected)?;
    let steps: usize = expected.values().map(Vec::len).sum();
    println!(
        "{kills} kills, {} alarms said {COPIES} times and more, {} alerts, {steps} steps; webhook: \
         {} failures, {} deliveries, {phone_twice} of them known by their key; command: {} runs, \
         {lamp_twice} of them known by their key; 0 steps missing, 0 out of order, 0 wrong \
         signatures",
        said.values().sum::<usize>(),
        alerts.len(),
        heard.failed,
        heard.messages.len(),
        lamp.len()
    );
    ensure!(heard.failed > 0, "the receiver never failed");
    Ok(())
}

/// The keys of the steps of each alert, in their order, by the county's own timeline, which must be
/// what the devices said.
fn expected(
    alerts: &[Value],
    said: &BTreeMap<String, usize>,
) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut expected = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| said.contains_key(text(alert, "device"))) {
        let id = text(alert, "id");
        let timeline = alert.get("timeline").and_then(Value::as_array).context("no timeline")?;
        ensure!(timeline.len() < 64, "the timeline of {id} is cut; ring less");
        let keys: Vec<String> = (1..)
            .zip(timeline)
            .filter(|(_, entry)| STEPS.contains(&text(entry, "what")))
            .map(|(number, entry)| format!("{id}.{}.{number}", text(entry, "what")))
            .collect();
        let rings = timeline
            .iter()
            .filter(|entry| ["raised", "recurred", "cleared"].contains(&text(entry, "what")))
            .count();
        let device = text(alert, "device");
        let words = said.get(device).copied().unwrap_or_default();
        ensure!(rings == words, "{device} said {words} words, its alert has {rings}: {alert}");
        expected.insert(id.to_owned(), keys);
    }
    ensure!(expected.len() == said.len(), "{} alerts of {} devices", expected.len(), said.len());
    Ok(expected)
}

/// Whether a sink has heard each step, in the order of its alert; how often it heard one again.
fn compare(
    sink: &str,
    messages: &[Value],
    expected: &BTreeMap<String, Vec<String>>,
) -> anyhow::Result<usize> {
    let (mut known, mut first) = (BTreeSet::new(), BTreeMap::<String, Vec<String>>::new());
    let mut twice = 0;
    for message in messages {
        let key = text(message, "key");
        let key = key.strip_prefix(&format!("{sink}.")).context("another's key")?;
        ensure!(text(message, "step") != "summary", "{sink} was told of old news: {message}");
        if known.insert(key.to_owned()) {
            let alert = message.get("alert").map(|alert| text(alert, "id")).unwrap_or_default();
            first.entry(alert.to_owned()).or_default().push(key.to_owned());
        } else {
            twice += 1;
        }
    }
    first.retain(|alert, _| expected.contains_key(alert));
    for (alert, steps) in expected {
        let heard = first.get(alert).cloned().unwrap_or_default();
        ensure!(heard == *steps, "{sink} heard {heard:#?} of {alert}, which had {steps:#?}");
    }
    Ok(twice)
}
