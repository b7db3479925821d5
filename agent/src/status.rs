//! What the running agent tells `clinic-agent status`, over a Unix socket in its data folder.
//!
//! Whoever connects writes a line, or nothing, and ends writing: nothing is a question for the
//! status; `trace start DEVICE` and `trace stop DEVICE` are orders for the recorder;
//! `bluetooth hold ADDRESS` and `bluetooth release ADDRESS` are said by whoever pairs that device.

use crate::{
    alerts::{Alerts, Picture, Told},
    bluetooth::Holds,
    clock::{Clock, Trust},
    config::AgentConfig,
    outbox::{Outbox, inspect},
    recorder::{Answer, Order, Recorder},
    run::VERSION,
};
use anyhow::Context as _;
use drivers::serial::LinkNote;
use model::{
    device::DeviceState,
    id::{DeviceId, Lane},
    record::Record,
    time::Now,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};
use tokio_util::sync::CancellationToken;

/// The running agent answers at once, or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The outbox answers between two commits.
const OUTBOX_LIMIT: Duration = Duration::from_secs(2);
/// The recorder answers when the disk has answered it.
const RECORDER_LIMIT: Duration = Duration::from_secs(4);
/// Whoever asks has its question ready; who says nothing wants the status.
const QUESTION_LIMIT: Duration = Duration::from_millis(500);
/// Longest question: two words and a device.
const QUESTION_LEN_MAX: u64 = 256;

/// What is known of the agent's parts; every part writes its own corner.
#[derive(Debug)]
pub(crate) struct Board(Mutex<Facts>);

/// What `status` shows.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Facts {
    site: String,
    version: String,
    uplink: UplinkFacts,
    #[serde(default)]
    clock: ClockFacts,
    #[serde(default)]
    policy: PolicyFacts,
    devices: BTreeMap<String, DeviceFacts>,
    #[serde(default)]
    alerts: AlertFacts,
    #[serde(default)]
    outbox: OutboxFacts,
    /// How often a part of the agent failed and was started again.
    #[serde(default)]
    failed: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct UplinkFacts {
    /// `connecting`, `online`, or what is wrong.
    state: String,
    /// When the county last acked, ms since 1970.
    last_ack_ms: Option<i64>,
    /// Envelopes that cannot be sent; they stay in the outbox and are tried again.
    #[serde(default)]
    aside: u64,
    /// Why not.
    #[serde(default)]
    aside_why: String,
    /// How often another box with the same certificate was noticed since the start, and when last,
    /// ms since 1970.
    #[serde(default)]
    rival: u64,
    #[serde(default)]
    rival_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct ClockFacts {
    /// `synchronised`, `holding_over` or `unknown`.
    quality: String,
    /// Why.
    evidence: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct AlertFacts {
    /// Whether they are signalled at the box: the county is out of reach.
    signals: bool,
    /// Since when nothing was heard of the county.
    out_of_reach_since: Option<String>,
    /// Alerts that are not closed.
    open: Vec<Told>,
    /// The rule set.
    rules: String,
    /// Why nothing is evaluated.
    failing: Option<String>,
    /// How often the command for lamp or buzzer was called, and why the last call failed.
    hook_calls: u64,
    hook_failing: Option<String>,
    hook_ms: Option<i64>,
    /// Where the page of the box is, or why there is none.
    page: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct PolicyFacts {
    /// Version of what the county told this box to go by.
    version: Option<u64>,
    /// Number of its rule set.
    rule_set: Option<u64>,
    /// Why the last one was refused.
    refused: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct DeviceFacts {
    driver: String,
    port: String,
    /// `online`, `silent`, `removed`, `link_down`, `waiting`.
    state: String,
    /// Why it is not online.
    reason: String,
    bytes: u64,
    records: u64,
    last_record_ms: Option<i64>,
    /// How often something was wrong on the link, by kind.
    notes: BTreeMap<String, u64>,
    /// What a person should look at; gone when the device is understood.
    #[serde(default)]
    hint: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct OutboxFacts {
    /// Rows that are not acked, by lane.
    unacked: BTreeMap<String, u64>,
    oldest_ms: Option<i64>,
    bytes: u64,
    max_bytes: u64,
    /// How much longer it holds at today's rate, in seconds.
    holds_s: Option<u64>,
    repeats: u64,
    /// Why the last commit failed.
    failing: Option<String>,
    /// What is not stored because the disk is full.
    #[serde(default)]
    disk: Option<String>,
}

impl Board {
    pub(crate) fn new(config: &AgentConfig) -> Self {
        let device = |id: &DeviceId, driver: &str, port: String| {
            let facts = DeviceFacts {
                driver: driver.to_owned(),
                port,
                state: "waiting".to_owned(),
                ..DeviceFacts::default()
            };
            (id.to_string(), facts)
        };
        let serial = config.devices.iter();
        let serial = serial.map(|one| device(&one.id, one.driver.name(), one.port.to_string()));
        let bluetooth = config.bluetooth.iter();
        let bluetooth =
            bluetooth.map(|one| device(&one.id, one.driver.name(), one.address.clone()));
        Self(Mutex::new(Facts {
            site: config.site.to_string(),
            version: VERSION.to_owned(),
            devices: serial.chain(bluetooth).collect(),
            ..Facts::default()
        }))
    }

    pub(crate) fn uplink(&self, state: &str) {
        self.facts().uplink.state = state.to_owned();
    }

    pub(crate) fn acked(&self, now: Now) {
        self.facts().uplink.last_ack_ms = Some(now.wall.unix_ms());
    }

    /// Another box has connected with the certificate of this site.
    pub(crate) fn rival(&self, now: Now) {
        let uplink = &mut self.facts().uplink;
        uplink.rival += 1;
        uplink.rival_ms = Some(now.wall.unix_ms());
    }

    /// What this box goes by (version and rule set), and why the last one was refused.
    pub(crate) fn policy(&self, held: Option<(u64, u64)>, refused: &str) {
        let (version, rule_set) = held.unzip();
        self.facts().policy = PolicyFacts { version, rule_set, refused: refused.to_owned() };
    }

    pub(crate) fn task_failed(&self, task: &str) {
        *self.facts().failed.entry(task.to_owned()).or_default() += 1;
    }

    /// The command for lamp or buzzer was called, and why that failed.
    pub(crate) fn hooked(&self, failed: Option<String>, now: Now) {
        let alerts = &mut self.facts().alerts;
        alerts.hook_calls += 1;
        (alerts.hook_failing, alerts.hook_ms) = (failed, Some(now.wall.unix_ms()));
    }

    /// Where the page of the box is, or why there is none.
    pub(crate) fn page(&self, place: &str) {
        place.clone_into(&mut self.facts().alerts.page);
    }

    pub(crate) fn set_aside(&self, count: u64, why: &str) {
        let uplink = &mut self.facts().uplink;
        (uplink.aside, uplink.aside_why) = (count, why.to_owned());
    }

    /// What is said of the uplink.
    #[cfg(test)]
    pub(crate) fn uplink_state(&self) -> String {
        self.facts().uplink.state.clone()
    }

    /// Envelopes that cannot be sent.
    #[cfg(test)]
    pub(crate) fn aside(&self) -> u64 {
        self.facts().uplink.aside
    }

    pub(crate) fn port_opened(&self, device: &DeviceId) {
        self.change(device, |facts| {
            (facts.state, facts.reason) = ("waiting".to_owned(), String::new());
            facts.hint.clear();
        });
    }

    pub(crate) fn port_lost(&self, device: &DeviceId, reason: &str) {
        self.change(device, |facts| {
            (facts.state, facts.reason) =
                (DeviceState::LinkDown.name().to_owned(), reason.to_owned());
        });
    }

    pub(crate) fn received(&self, device: &DeviceId, bytes: usize) {
        self.change(device, |facts| facts.bytes += u64::try_from(bytes).unwrap_or_default());
    }

    pub(crate) fn emitted(&self, link: &DeviceId, record: &Record, now: Now) {
        self.change(link, |facts| {
            facts.records += 1;
            facts.last_record_ms = Some(now.wall.unix_ms());
            if let Record::Status(status) = record
                && status.device == *link
            {
                (facts.state, facts.reason) =
                    (status.state.name().to_owned(), status.reason.clone());
            }
            if !matches!(record, Record::Status(status) if status.state != DeviceState::Online) {
                facts.hint.clear();
            }
        });
    }

    pub(crate) fn noted(&self, device: &DeviceId, note: &LinkNote) {
        self.change(device, |facts| *facts.notes.entry(note.kind.to_owned()).or_default() += 1);
    }

    pub(crate) fn hinted(&self, device: &DeviceId, hint: &str) {
        self.change(device, |facts| hint.clone_into(&mut facts.hint));
    }

    fn change(&self, device: &DeviceId, change: impl FnOnce(&mut DeviceFacts)) {
        if let Some(facts) = self.facts().devices.get_mut(device.as_str()) {
            change(facts);
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Facts are numbers and texts: whole even if a writer panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the facts come from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) board: Arc<Board>,
    pub(crate) outbox: Outbox,
    pub(crate) alerts: Alerts,
    pub(crate) clock: Clock,
}

/// All that is needed to answer.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) socket: PathBuf,
    pub(crate) sources: Sources,
    pub(crate) recorder: Recorder,
    pub(crate) holds: Holds,
    pub(crate) stopped: CancellationToken,
}

/// Answers everybody who connects with one JSON object, until the agent stops.
pub(crate) async fn serve(desk: Desk) {
    let Desk { socket, stopped, .. } = &desk;
    // A socket left by a killed agent is in the way; a missing one is not.
    drop(fs::remove_file(socket));
    let listener = match UnixListener::bind(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, socket = %socket.display(), "No status: the socket cannot be made.");
            return;
        }
    };
    loop {
        let mut stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            () = stopped.cancelled() => {
                drop(fs::remove_file(socket));
                return;
            }
        };
        let mut question = String::new();
        let mut asking = (&mut stream).take(QUESTION_LEN_MAX);
        // What did not come in time is no question.
        drop(tokio::time::timeout(QUESTION_LIMIT, asking.read_to_string(&mut question)).await);
        let answer = match question.trim() {
            "" => serde_json::to_vec(&desk.sources.facts().await.0),
            order => serde_json::to_vec(&desk.order(order).await),
        };
        if let Ok(text) = answer {
            // Whoever asked may have gone away.
            drop(stream.write_all(&text).await);
        }
    }
}

impl Sources {
    /// All there is to know, and the alerts as the page shows them.
    pub(crate) async fn facts(&self) -> (Facts, Option<Picture>) {
        let mut facts = self.board.facts().clone();
        let Trust { quality, evidence } = self.clock.trust();
        facts.clock = ClockFacts { quality: quality.name().to_owned(), evidence };
        // While the outbox cannot be opened nobody answers there.
        if let Ok(Ok(stats)) = tokio::time::timeout(OUTBOX_LIMIT, self.outbox.stats()).await {
            let lanes = Lane::ALL.iter().map(|lane| lane.name().to_owned());
            facts.outbox = OutboxFacts {
                unacked: lanes.zip(stats.unacked).collect(),
                oldest_ms: stats.oldest_ms,
                bytes: stats.bytes,
                max_bytes: stats.max_bytes,
                holds_s: stats.holds_s,
                repeats: stats.repeats,
                failing: None,
                disk: stats.room.says().map(str::to_owned),
            };
        }
        facts.outbox.failing = self.outbox.failing();
        let picture = tokio::time::timeout(OUTBOX_LIMIT, self.alerts.show()).await.ok().flatten();
        match &picture {
            Some(picture) => {
                facts.alerts = AlertFacts {
                    signals: picture.signals,
                    out_of_reach_since: picture.out_of_reach_since.clone(),
                    open: picture.alerts.clone(),
                    rules: picture.rules.clone(),
                    failing: picture.failing.clone(),
                    ..facts.alerts
                };
            }
            None => facts.alerts.failing = Some("the rules do not answer".to_owned()),
        }
        (facts, picture)
    }
}

impl Desk {
    async fn order(&self, order: &str) -> Answer {
        let (order, device) = match order.split_whitespace().collect::<Vec<_>>()[..] {
            ["trace", "start", device] => (Order::Start, device),
            ["trace", "stop", device] => (Order::Stop, device),
            ["bluetooth", "hold", address] => {
                return match self.holds.hold(address, self.sources.clock.mono()) {
                    true => Answer::done(format!("{address} is left alone for a while")),
                    false => Answer::refused(format!("{address} is not in the configuration")),
                };
            }
            ["bluetooth", "release", address] => {
                return match self.holds.release(address) {
                    true => Answer::done(format!("{address} is read again")),
                    false => Answer::refused(format!("{address} was not held")),
                };
            }
            _ => {
                let said = "the running agent is of another version; restart it";
                return Answer::refused(said.to_owned());
            }
        };
        let answer = self.recorder.ask(order, device);
        tokio::time::timeout(RECORDER_LIMIT, answer).await.unwrap_or_else(|_| {
            Answer::refused("the recorder waits for the disk; check the disk".to_owned())
        })
    }
}

/// Tells the running agent to start or stop a trace, and prints what it says.
pub(crate) fn order_trace(data_dir: &Path, order: &str, device: &str) -> anyhow::Result<ExitCode> {
    let socket = data_dir.join("agent.sock");
    let text = match ask(&socket, &format!("trace {order} {device}\n")) {
        Ok(text) => text,
        Err(error) => {
            writeln!(io::stderr().lock(), "{}", unanswered(&socket, &error))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let answer: Answer = serde_json::from_str(&text)
        .context("the running agent cannot record; restart it to run this version")?;
    if answer.done {
        writeln!(io::stdout().lock(), "{}", answer.said)?;
        Ok(ExitCode::SUCCESS)
    } else {
        writeln!(io::stderr().lock(), "{}", answer.said)?;
        Ok(ExitCode::FAILURE)
    }
}

/// Asks the running agent and prints what it says; without one, looks at the outbox file.
pub(crate) fn show(data_dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let socket = data_dir.join("agent.sock");
    let mut out = io::stdout().lock();
    match ask(&socket, "") {
        Ok(text) => {
            if json {
                writeln!(out, "{text}")?;
            } else {
                let facts: Facts = serde_json::from_str(&text).context("the agent's answer")?;
                write!(out, "{}", facts.shown())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let file = data_dir.join("outbox.sqlite");
            writeln!(io::stderr().lock(), "{}", unanswered(&socket, &error))?;
            let summary = inspect::read(&file)?;
            if json {
                writeln!(out, "{}", serde_json::to_string(&summary)?)?;
            } else {
                write!(out, "{summary}")?;
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Tells the running agent something; what it says.
///
/// # Errors
/// When no agent answers, or one of another version.
pub(crate) fn order(data_dir: &Path, order: &str) -> io::Result<Answer> {
    let text = ask(&data_dir.join("agent.sock"), &format!("{order}\n"))?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

/// Whether no agent is running that could have answered.
pub(crate) fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// What a person does next when the agent did not answer.
pub(crate) fn unanswered(socket: &Path, error: &io::Error) -> String {
    let place = socket.display();
    match error.kind() {
        _ if is_nobody(error) => {
            "no agent is running; start it with: systemctl start clinic-agent".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "the agent may not be asked at {place}; run this as root or as the agent's user"
            )
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
            "the agent does not answer at {place}; look at its log: journalctl -u clinic-agent"
        ),
        _ => format!("the agent cannot be asked at {place}: {error}"),
    }
}

fn ask(socket: &Path, question: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

impl Facts {
    fn shown(&self) -> String {
        let mut text =
            format!("{} · agent {}\nuplink  {}\n", self.site, self.version, self.uplink.state);
        if self.uplink.aside > 0 {
            let UplinkFacts { aside, aside_why, .. } = &self.uplink;
            text +=
                &format!("        {aside} envelopes cannot be sent and are kept: {aside_why}\n");
        }
        if let UplinkFacts { rival, rival_ms: Some(ms), .. } = self.uplink {
            let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
            let times = if rival == 1 { "time" } else { "times" };
            text += &format!(
                "        another box uses the certificate of this site, noticed {rival} {times}, \
                 last {at:.0}; find it, and issue one of the two its own at the county\n"
            );
        }
        let ClockFacts { quality, evidence } = &self.clock;
        text += &format!("clock   {}: {evidence}\n", quality.replace('_', " "));
        text += &match self.policy.rule_set {
            Some(rule_set) => format!("rules   number {rule_set} of the county\n"),
            None => "rules   none of the county yet\n".to_owned(),
        };
        if !self.policy.refused.is_empty() {
            text += &format!("        refused: {}\n", self.policy.refused);
        }
        let waiting: u64 = self.outbox.unacked.values().sum();
        let holds = match self.outbox.holds_s {
            Some(holds) => {
                format!("holds {} d {} h more at today's rate", holds / 86_400, holds / 3600 % 24)
            }
            None => "how long it holds is known after an hour".to_owned(),
        };
        text += &format!("outbox  {waiting} envelopes wait for the county; {holds}\n");
        if let Some(error) = &self.outbox.failing {
            text +=
                &format!("        cannot write: {error}; readings are lost when this goes on\n");
        }
        if let Some(disk) = &self.outbox.disk {
            text += &format!("        {disk}\n");
        }
        text += &self.alerts.shown();
        for (task, count) in &self.failed {
            text += &format!(
                "failed  {task}, {count} times; send the log to whoever maintains the agent\n"
            );
        }
        for (id, device) in &self.devices {
            let notes: u64 = device.notes.values().sum();
            text += &format!(
                "device  {id:<20} {:<10} {:<10} {:>8} records  {notes} notes  {}\n",
                device.driver, device.state, device.records, device.reason
            );
            if !device.hint.is_empty() {
                text += &format!("        {}\n", device.hint);
            }
        }
        text
    }
}

impl AlertFacts {
    fn shown(&self) -> String {
        let open = self.open.len();
        let mut text = match &self.out_of_reach_since {
            Some(since) => {
                format!("alerts  {open} open, signalled here; no county since {since}\n")
            }
            None => format!("alerts  {open} open; the county signals them\n"),
        };
        if let Some(error) = &self.failing {
            text += &format!("        nothing is evaluated: {error}\n");
        }
        if let Some(error) = &self.hook_failing {
            text += &format!("        the hook failed: {error}; check [alerts] hook\n");
        }
        for alert in &self.open {
            let Told { priority, state, device, message_zh, message_en, started_at, .. } = alert;
            text += &format!(
                "        {priority} {state} {device}: {message_zh} {message_en}, since {started_at}\n"
            );
        }
        if !self.page.is_empty() {
            text += &format!("page    {}\n", self.page);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener as Listener;

    fn asked(socket: &Path) -> String {
        unanswered(socket, &ask(socket, "").unwrap_err())
    }

    #[test]
    fn without_an_answer_it_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        assert!(asked(&socket).starts_with("no agent is running"));
        drop(Listener::bind(&socket).unwrap());
        assert!(asked(&socket).starts_with("no agent is running"), "left by a killed agent");
        let told = |kind| unanswered(&socket, &io::Error::from(kind));
        assert!(told(io::ErrorKind::PermissionDenied).contains("the agent's user"));
        assert!(told(io::ErrorKind::WouldBlock).contains("does not answer"));
    }
}
