//! Story: device alarms are said five times each, the receiver of a webhook fails at times, and the
//! county is killed at random instants; whoever is to be told hears each step, in its order, and can
//! tell what it has heard.
//!
//! `KILL_SEED=17` makes the same dice fall again, `KILLS=100` kills so often.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{
    Village,
    clinic::{Clinic, now},
    dice::{Dice, of_environment, seed},
    read_only,
    receiver::{Receiver, SECRET, STEPS, all_are_told, keys, told_once},
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    id::{Channel, DeviceId},
    record::Record,
    time::{ClockQuality, Observed},
};
use serde_json::Value;
use simulators::county::BrokerPlace;
use std::{collections::BTreeMap, fs, io::Write as _, path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(300);
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
            latched: false,
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
    let receiver = Receiver::new(Some(Dice::new(seed.wrapping_add(1))));
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
    let alerts = stopped_when_all_is_told(&mut village).await?;

    let heard = receiver.take_heard();
    ensure!(heard.wrong.is_empty(), "{:#?}", heard.wrong);
    let mut lamp = Vec::new();
    for line in fs::read_to_string(&told)?.lines() {
        lamp.push(serde_json::from_str(line).with_context(|| line.to_owned())?);
    }
    let expected = expected(&alerts, &said)?;
    let phone_twice = told_once("phone", &heard.messages, &expected)?;
    let lamp_twice = told_once("lamp", &lamp, &expected)?;
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

/// Stops the county where it has told all that it has to tell; its alerts as they are then. Time goes
/// on until it has stopped: where somebody is to hear of one more step, it goes on once more.
async fn stopped_when_all_is_told(village: &mut Village) -> anyhow::Result<Vec<Value>> {
    loop {
        all_are_told(&village.county.client()?, LIMIT).await?;
        village.county.stop().await?;
        let county = read_only(&village.database())?;
        let query = "SELECT 1 FROM notification WHERE state IN ('waiting', 'in_summary')";
        if !county.prepare(query)?.exists([])? {
            let mut alerts = county.prepare("SELECT body FROM alert")?;
            let bodies = alerts.query_map([], |row| row.get::<_, String>(0))?;
            return bodies.map(|body| Ok(serde_json::from_str(&body?)?)).collect();
        }
        village.county.start().await?;
    }
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
        let keys = keys(alert)?;
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
