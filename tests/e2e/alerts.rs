//! Story: two counties, each with two hundred alerts in every state of an alert's life, and one
//! script. One county is killed again and again, the other never. Afterwards states and stories are
//! the same, no step of time was taken early, left out, or later than the kills explain, the timers
//! that are pending are exact, and whoever is to be told has heard each step once.
//!
//! Their clocks go ten times as fast as this machine's, so that ladders of minutes pass in seconds.
//! `KILL_SEED=17` makes the same dice fall again, `KILLS=100` kills so often.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

#[path = "alerts/timers.rs"]
mod timers;

use anyhow::{Context as _, bail, ensure};
use e2e::{
    Village,
    clinic::{Clinic, now},
    dice::{Dice, of_environment, seed},
    faketime,
    mosquitto::Mosquitto,
    read_only,
    receiver::{Receiver, SECRET, STEPS, all_are_told, keys, told_once},
    until,
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    id::{Channel, DeviceId},
    record::Record,
    time::{ClockQuality, Observed, WallTime},
};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use simulators::county::{BrokerPlace, NURSE, free_port};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use timers::{Down, OF_TIME, Story};
use tokio::{net::TcpListener, task::JoinSet};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(120);
/// In the ordinary run.
const KILLS: u64 = 20;
/// How much faster time passes at the counties.
const SPEED: i64 = 10;
const SECOND_MS: i64 = 1000;
/// Moments of the script, by the counties' clock from its begin. Before the first of them all
/// alerts are raised.
const KILLS_BEGIN_MS: i64 = 60 * SECOND_MS;
const SOME_END_MS: i64 = 80 * SECOND_MS;
const PEOPLE_ACT_MS: i64 = 100 * SECOND_MS;
const SOME_RETURN_MS: i64 = 140 * SECOND_MS;
const SHELF_ENDS_MS: i64 = 390 * SECOND_MS;
/// When a story of few kills and one of many ends: no step is due soon before or after.
const ENDS_MS: [(u64, i64); 2] = [(30, 800 * SECOND_MS), (u64::MAX, 2300 * SECOND_MS)];
/// The last kill is so long before.
const QUIET_MS: i64 = 40 * SECOND_MS;
/// A county that is away is asked again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Alarms in one envelope.
const AT_ONCE: usize = 20;
const EVER: &str = "1970-01-01T00:00:00Z";
/// What both counties must say of an alert; times differ by how late a kill made them.
const SAME: [&str; 15] = [
    "family",
    "rules",
    "priority",
    "state",
    "condition",
    "patient",
    "acknowledged_by",
    "reason",
    "owner",
    "shelved_by",
    "escalation_level",
    "realarm_count",
    "recurrences",
    "retro",
    "late_row",
];

/// What becomes of an alert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    /// Nobody comes.
    Unanswered,
    /// Somebody has it in hand, and it goes on.
    InHand,
    /// Somebody wants it quiet for some minutes.
    Shelved,
    /// It is over before anybody came.
    Over,
    /// It is over, and comes back.
    Returns,
    /// Of medium priority, and nobody comes.
    Medium,
    /// Of medium priority, and somebody has it in hand.
    MediumInHand,
}

/// Two hundred.
const CAST: [(Life, &str, usize); 7] = [
    (Life::Unanswered, "unanswered", 40),
    (Life::InHand, "in-hand", 40),
    (Life::Shelved, "shelved", 30),
    (Life::Over, "over", 30),
    (Life::Returns, "returns", 10),
    (Life::Medium, "medium", 30),
    (Life::MediumInHand, "medium-in-hand", 20),
];

impl Life {
    fn devices(self) -> impl Iterator<Item = String> {
        let cast = CAST.into_iter().filter(move |(life, ..)| *life == self);
        cast.flat_map(|(_, name, count)| (0..count).map(move |it| format!("{name}-{it:02}")))
    }
}

/// Whether a device is of the cast: a county has alerts of its own too.
fn is_ours(device: &str) -> bool {
    CAST.into_iter().any(|(life, ..)| life.devices().any(|name| name == device))
}

/// The clock of the counties: it begins with now, and goes [`SPEED`] times as fast.
#[derive(Clone, Copy)]
struct FastClock {
    began: Instant,
    began_ms: i64,
    /// When the story begins.
    story_ms: i64,
}

impl FastClock {
    fn start() -> Self {
        let began_ms = now().unix_ms();
        Self { began: Instant::now(), began_ms, story_ms: began_ms }
    }

    /// The same clock; the story begins now.
    fn begin_story(self) -> Self {
        Self { story_ms: self.now_ms(), ..self }
    }

    fn at(self, moment_ms: i64) -> i64 {
        self.story_ms + moment_ms
    }

    fn now_ms(self) -> i64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.began_ms + elapsed * SPEED
    }

    /// Waits for that moment of the story.
    async fn reach(self, moment_ms: i64) {
        let real_ms = (self.at(moment_ms) - self.began_ms) / SPEED;
        let real_ms = u64::try_from(real_ms).unwrap_or(0);
        let at = self.began + Duration::from_millis(real_ms);
        tokio::time::sleep_until(at.into()).await;
    }

    /// A process that starts now has this clock.
    fn set(self, file: &Path) -> anyhow::Result<()> {
        let ahead_ms = self.now_ms() - now().unix_ms();
        let text = format!("+{}.{:03}s x{SPEED}\n", ahead_ms / 1000, ahead_ms % 1000);
        fs::write(file, text).context("setting a county's clock")
    }
}

/// A county with its broker, its clinic, its receiver, and somebody at its board.
struct Stage {
    village: Village,
    clocks: TempDir,
    clinic: Clinic,
    nurse: Nurse,
    receiver: Receiver,
    _mosquitto: Mosquitto,
    _listening: JoinSet<()>,
}

/// What was left of it.
struct Account {
    /// Device → its alert.
    alerts: BTreeMap<String, Value>,
    /// Device → when time changes its alert next.
    due: BTreeMap<String, Option<i64>>,
    heard: Vec<Value>,
    downs: Vec<Down>,
    ended_ms: i64,
}

impl Stage {
    async fn open(clock: FastClock) -> anyhow::Result<Self> {
        let clocks = tempfile::tempdir()?;
        // Keys are made by the clock of this machine.
        fs::write(clock_of(&clocks), "+0s\n")?;
        let program = faketime::program(Path::new(PROGRAM), &clock_of(&clocks))?;
        let port = free_port()?;
        let broker = BrokerPlace::Outside(format!("localhost:{port}"));
        let mut village = Village::prepare_on(&program, broker, Vec::new()).await?;
        let mut mosquitto = Mosquitto::install(&village.county.pki(), port)?;
        mosquitto.start()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let steps = STEPS.map(|step| format!("\"{step}\"")).join(", ");
        fs::write(village.folder().join("secret"), format!("{SECRET}\n"))?;
        write!(
            fs::OpenOptions::new().append(true).open(village.county.config())?,
            "\n[[notify]]\nname = \"phone\"\nkind = \"webhook\"\nurl = \"http://{}/hook\"\n\
             secret_file = \"{}\"\nsteps = [{steps}]\n",
            listener.local_addr()?,
            village.folder().join("secret").display(),
        )?;
        let receiver = Receiver::new(None);
        let mut listening = JoinSet::new();
        listening.spawn(receiver.clone().listen(listener));
        let folder = village.folder().join("clinics");
        let box_clock = Arc::new(move || WallTime::from_unix_ms(clock.now_ms()));
        let clinic = Clinic::connect_by(box_clock, &village.county, "heping", &folder, 1).await?;
        clock.set(&clock_of(&clocks))?;
        village.county.start().await?;
        let nurse = Nurse::log_in(&village.county.url(), village.county.password()).await?;
        Ok(Self {
            village,
            clocks,
            clinic,
            nurse,
            receiver,
            _mosquitto: mosquitto,
            _listening: listening,
        })
    }

    /// Plays the script until that moment, with that many kills.
    async fn play(
        mut self,
        clock: FastClock,
        (kills, end_ms): (u64, i64),
        dice: Dice,
    ) -> anyhow::Result<Account> {
        let all = CAST.into_iter().flat_map(|(life, ..)| life.devices());
        say(&self.clinic, clock, all, AlarmPhase::Start).await?;
        let client = self.village.county.client()?;
        let raised = async || -> anyhow::Result<BTreeMap<String, String>> {
            let all = client.alerts(EVER).await?;
            let ours = all.iter().filter(|alert| is_ours(&text(alert, "device")));
            Ok(ours.map(|alert| (text(alert, "device"), text(alert, "id"))).collect())
        };
        let count: usize = CAST.into_iter().map(|(.., count)| count).sum();
        until("all are raised", LIMIT, async || Ok(raised().await?.len() == count)).await?;
        self.nurse.alerts = Arc::new(raised().await?);
        ensure!(clock.now_ms() < clock.at(KILLS_BEGIN_MS), "this machine is too slow");

        let acting = script(&self.clinic, &self.nurse, clock);
        let clock_file = clock_of(&self.clocks);
        let killing = kill(&mut self.village, &clock_file, clock, (kills, end_ms), dice);
        let (acted, downs) = tokio::join!(acting, killing);
        acted?;
        let downs = downs?;
        clock.reach(end_ms).await;
        all_are_told(&client, LIMIT).await?;
        let ended_ms = clock.now_ms();
        self.village.county.stop().await?;
        let heard = self.receiver.take_heard();
        ensure!(heard.wrong.is_empty(), "{:#?}", heard.wrong);
        let (alerts, due) = left(&self.village.database())?;
        Ok(Account { alerts, due, heard: heard.messages, downs, ended_ms })
    }
}

fn clock_of(clocks: &TempDir) -> PathBuf {
    clocks.path().join("clock")
}

fn ends_ms(kills: u64) -> i64 {
    let fits = ENDS_MS.into_iter().find(|(most, _)| kills <= *most);
    fits.map_or(0, |(_, ends_ms)| ends_ms)
}

/// What devices and people do.
async fn script(clinic: &Clinic, nurse: &Nurse, clock: FastClock) -> anyhow::Result<()> {
    clock.reach(SOME_END_MS).await;
    let ended = Life::Over.devices().chain(Life::Returns.devices());
    say(clinic, clock, ended, AlarmPhase::End).await?;
    clock.reach(PEOPLE_ACT_MS).await;
    let until = rfc3339(clock.at(SHELF_ENDS_MS))?;
    let shelf = json!({"reason": "换药 / a dressing", "until": until});
    let acknowledgement = json!({"reason": "at_bedside"});
    let mut acting = JoinSet::new();
    for (life, deed, body) in [
        (Life::Shelved, "shelve", &shelf),
        (Life::InHand, "acknowledge", &acknowledgement),
        (Life::MediumInHand, "acknowledge", &acknowledgement),
    ] {
        for device in life.devices() {
            acting.spawn(nurse.clone().act(device, deed, body.clone()));
        }
    }
    while let Some(acted) = acting.join_next().await {
        acted??;
    }
    clock.reach(SOME_RETURN_MS).await;
    say(clinic, clock, Life::Returns.devices(), AlarmPhase::Start).await
}

/// Pumps say that their lines are blocked, or that an infusion is complete, or that it is over.
async fn say(
    clinic: &Clinic,
    clock: FastClock,
    devices: impl Iterator<Item = String>,
    phase: AlarmPhase,
) -> anyhow::Result<()> {
    let devices: Vec<String> = devices.collect();
    for part in devices.chunks(AT_ONCE) {
        let at = WallTime::from_unix_ms(clock.now_ms());
        let alarm = |device: &String| {
            let kind = match device.starts_with("medium") {
                true => AlarmKind::InfusionComplete,
                false => AlarmKind::OcclusionDownstream,
            };
            Ok(Record::Alarm(DeviceAlarm {
                device: DeviceId::new(device)?,
                channel: Channel::default(),
                phase,
                kind,
                code: "5".into(),
                text: String::new(),
                priority: None,
                latched: false,
                source: None,
                device_time: None,
                observed: Observed { at, quality: ClockQuality::Synchronised },
            }))
        };
        clinic.say(part.iter().map(alarm).collect::<anyhow::Result<_>>()?).await?;
    }
    Ok(())
}

/// Kills the county at instants that are spread over the story; when it was away.
async fn kill(
    village: &mut Village,
    clock_file: &Path,
    clock: FastClock,
    (kills, end_ms): (u64, i64),
    mut dice: Dice,
) -> anyhow::Result<Vec<Down>> {
    let mut downs = Vec::new();
    let count = i64::try_from(kills)?;
    for number in 0..count {
        let slot_ms = (end_ms - QUIET_MS - KILLS_BEGIN_MS) / count;
        let thrown = i64::try_from(dice.below(u64::try_from(slot_ms / 2)?))?;
        // The instant itself: nothing is waited for.
        clock.reach(KILLS_BEGIN_MS + number * slot_ms + thrown).await;
        let from_ms = clock.now_ms();
        village.county.kill().await?;
        clock.set(clock_file)?;
        village.county.start().await?;
        downs.push(Down { from_ms, until_ms: clock.now_ms() });
    }
    Ok(downs)
}

/// Somebody at the board, who does it again until the county has said that it is done.
#[derive(Clone)]
struct Nurse {
    http: reqwest::Client,
    url: String,
    cookie: String,
    password: String,
    /// Device → its alert.
    alerts: Arc<BTreeMap<String, String>>,
}

impl Nurse {
    async fn log_in(url: &str, password: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let body = json!({"name": NURSE, "password": password});
        let session = http.post(format!("{url}/api/v1/session")).json(&body).send().await?;
        let cookie = session.headers().get(header::SET_COOKIE).context("no session")?;
        let cookie = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
        let (url, password) = (url.to_owned(), password.to_owned());
        Ok(Self { http, url, cookie, password, alerts: Arc::default() })
    }

    async fn act(self, device: String, deed: &'static str, body: Value) -> anyhow::Result<()> {
        let id = self.alerts.get(&device).context("an alert is missing")?;
        let url = format!("{}/api/v1/alerts/{id}/{deed}", self.url);
        let end = Instant::now() + LIMIT;
        while !self.is_done(&url, &body).await? {
            ensure!(Instant::now() < end, "nobody answers {deed} of {device}");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        Ok(())
    }

    async fn post(&self, url: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        self.http.post(url).header(header::COOKIE, &self.cookie).json(body).send().await
    }

    /// Ten minutes without a deed are one of this machine's: somebody says that it is still them,
    /// as the board asks them to.
    async fn confirm(&self) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/session/confirm", self.url);
        let Ok(answer) = self.post(&url, &json!({"password": self.password})).await else {
            return Ok(());
        };
        match answer.status() {
            // Many say so at once, and some wait.
            StatusCode::OK | StatusCode::TOO_MANY_REQUESTS => Ok(()),
            status if status.is_server_error() => Ok(()),
            status => bail!("{url}: {status} {}", answer.text().await?),
        }
    }

    async fn is_done(&self, url: &str, body: &Value) -> anyhow::Result<bool> {
        // The county may be away.
        let Ok(answer) = self.post(url, body).await else { return Ok(false) };
        match answer.status() {
            StatusCode::OK => Ok(true),
            // It had been done, and the answer was lost.
            StatusCode::CONFLICT => {
                let Ok(answer) = answer.json::<Value>().await else { return Ok(false) };
                let by = ["by", "acknowledged_by"].map(|key| text(&answer, key));
                ensure!(by.iter().any(|by| by == NURSE), "{answer}");
                Ok(true)
            }
            StatusCode::FORBIDDEN => {
                let answer = answer.json::<Value>().await.unwrap_or_default();
                ensure!(answer.get("confirm") == Some(&json!(true)), "{answer}");
                self.confirm().await.map(|()| false)
            }
            status if status.is_server_error() => Ok(false),
            status => bail!("{url}: {status} {}", answer.text().await?),
        }
    }
}

/// What is left of each device's alert in a county that has ended, and what of its timers.
type Left = (BTreeMap<String, Value>, BTreeMap<String, Option<i64>>);

fn left(database: &Path) -> anyhow::Result<Left> {
    let county = read_only(database)?;
    let mut statement = county.prepare("SELECT device, body FROM alert")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut alerts = BTreeMap::new();
    for row in rows {
        let (device, body): (String, String) = row?;
        if !is_ours(&device) {
            continue;
        }
        let before = alerts.insert(device.clone(), serde_json::from_str(&body)?);
        ensure!(before.is_none(), "{device} has two alerts");
    }
    let mut statement = county.prepare("SELECT device, due_ms FROM engine")?;
    let due = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((alerts, due.collect::<Result<_, _>>()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_that_is_killed_loses_doubles_and_forgets_nothing_of_its_alerts()
-> anyhow::Result<()> {
    let (seed, kills) = (seed(), of_environment("KILLS").unwrap_or(KILLS));
    println!("KILL_SEED={seed}");
    // An error means that somebody was first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let clock = FastClock::start();
    let (killed, spared) = tokio::try_join!(Stage::open(clock), Stage::open(clock))?;
    let (clock, end_ms) = (clock.begin_story(), ends_ms(kills));
    let (killed, spared) = tokio::try_join!(
        killed.play(clock, (kills, end_ms), Dice::new(seed)),
        spared.play(clock, (0, end_ms), Dice::new(seed))
    )?;
    let of_killed = prove(&killed).context("the county that was killed")?;
    let of_spared = prove(&spared).context("the other county")?;
    let same = compare(&killed, &spared)?;
    let away_ms: i64 = killed.downs.iter().map(|down| down.until_ms - down.from_ms).sum();
    println!(
        "{} kills during {} alerts, {:.0} min of the county's time at ten times the speed, {:.0} \
         min of it away; states, owners, levels and stories as at a county that was spared, {same} \
         of the stories entry by entry; steps of time at most {:.1} s late in one of its lives, \
         {:.1} s at the other; pending timers exact; {} steps told, {} deliveries again and known \
         by their key, 0 missing",
        killed.downs.len(),
        killed.alerts.len(),
        minutes(end_ms),
        minutes(away_ms),
        seconds(of_killed.late_ms),
        seconds(of_spared.late_ms),
        of_killed.steps,
        of_killed.twice,
    );
    let twice = of_spared.twice;
    ensure!(twice == 0, "a county that is not killed told {twice} steps twice");
    Ok(())
}

/// What was found of a county.
struct Proven {
    /// How long the county ran at once at most, while a step of time was due.
    late_ms: i64,
    /// Steps that somebody was to be told.
    steps: usize,
    /// How often that was said again.
    twice: usize,
}

/// Each story has every step of time that was due, and the timer that is pending is the one that
/// follows; of each step the receiver has heard, in order.
fn prove(account: &Account) -> anyhow::Result<Proven> {
    let (mut late_ms, mut expected) = (0, BTreeMap::new());
    for (device, alert) in &account.alerts {
        let mut story = Story::begin(&text(alert, "priority"), &account.downs);
        let read = timeline(alert)?.iter().try_for_each(|entry| story.read(entry));
        let due_ms = read.and_then(|()| story.end(account.ended_ms));
        let due_ms = due_ms.with_context(|| format!("{device}: {alert:#}"))?;
        let pending = account.due.get(device).copied().flatten();
        ensure!(pending == due_ms, "{device}: {pending:?} is pending, not {due_ms:?}: {alert:#}");
        late_ms = late_ms.max(story.late_ms());
        expected.insert(text(alert, "id"), keys(alert)?);
    }
    let twice = told_once("phone", &account.heard, &expected)?;
    Ok(Proven { late_ms, steps: expected.values().map(Vec::len).sum(), twice })
}

/// What both counties say of the same device is the same; how many stories are so entry by entry.
/// Of a ladder a county that was away takes the highest step only.
fn compare(killed: &Account, spared: &Account) -> anyhow::Result<usize> {
    let devices = |account: &Account| account.alerts.keys().cloned().collect::<BTreeSet<_>>();
    ensure!(devices(killed) == devices(spared), "other alerts");
    let mut same: usize = 0;
    for (device, one) in &killed.alerts {
        let other = spared.alerts.get(device).context("an alert is missing")?;
        let (whole, other_whole) = (entries(one, |_| true)?, entries(other, |_| true)?);
        let without_time = |entry: &Value| !OF_TIME.contains(&text(entry, "what").as_str());
        ensure!(
            entries(one, without_time)? == entries(other, without_time)?,
            "the stories of {device} differ: {whole:#?} {other_whole:#?}"
        );
        // A deed that waited for a county that was away moves what time does after it: then each of
        // the two was proven by itself.
        if whole == other_whole {
            for key in SAME {
                ensure!(one.get(key) == other.get(key), "{key} of {device}: {one:#} {other:#}");
            }
            same += 1;
        }
    }
    Ok(same)
}

/// What happened, who did it, and to what.
fn entries(alert: &Value, which: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<Vec<String>>> {
    let entries = timeline(alert)?.iter().filter(|entry| which(entry));
    let told = ["what", "by", "detail", "reason", "note", "to"];
    Ok(entries.map(|entry| told.map(|key| text(entry, key)).to_vec()).collect())
}

fn timeline(alert: &Value) -> anyhow::Result<&Vec<Value>> {
    alert.get("timeline").and_then(Value::as_array).context("no timeline")
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn rfc3339(ms: i64) -> anyhow::Result<String> {
    Ok(jiff::Timestamp::from_millisecond(ms)?.to_string())
}

fn seconds(ms: i64) -> f64 {
    Duration::from_millis(ms.unsigned_abs()).as_secs_f64()
}

fn minutes(ms: i64) -> f64 {
    seconds(ms) / 60.0
}
