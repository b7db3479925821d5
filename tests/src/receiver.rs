//! The receiver of a webhook: keeps what it was told and checks it as a careful one does. It may
//! fail at times.

use crate::{dice::Dice, until};
use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::hmac;
use serde_json::Value;
use simulators::client::Client;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What both ends know.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Everything that can be told.
pub const STEPS: [&str; 10] = [
    "raised",
    "recurred",
    "priority_rose",
    "realarmed",
    "unshelved",
    "unsuppressed",
    "in_service",
    "escalated",
    "assigned",
    "cleared",
];
/// Entries of a timeline: of a longer one some are left out.
const TIMELINE_MAX: usize = 64;

/// Waits until the county has told all that it has to tell.
///
/// # Errors
/// When it has not in time.
pub async fn all_are_told(county: &Client, limit: Duration) -> anyhow::Result<()> {
    for state in ["waiting", "in_summary"] {
        until("all are told", limit, async || {
            let open: Value = county.get("/api/v1/notifications", &[("state", state)]).await?;
            let open = open.get("notifications").and_then(Value::as_array).map(Vec::len);
            Ok(open == Some(0))
        })
        .await?;
    }
    Ok(())
}

/// What a receiver has taken, in its order.
#[derive(Debug, Default)]
pub struct Heard {
    /// The messages.
    pub messages: Vec<Value>,
    /// Whose answer was lost, or was a failure.
    pub failed: u64,
    /// Why others were not taken.
    pub wrong: Vec<String>,
}

/// A receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    heard: Arc<Mutex<Heard>>,
    /// One that never fails has none.
    dice: Option<Arc<Mutex<Dice>>>,
}

impl Receiver {
    /// One that fails three times in eight, by those dice; without dice it never does.
    #[must_use]
    pub fn new(dice: Option<Dice>) -> Self {
        Self { heard: Arc::default(), dice: dice.map(|dice| Arc::new(Mutex::new(dice))) }
    }

    /// Hands out what was heard until now.
    #[must_use]
    pub fn take_heard(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers whoever connects, for ever.
    pub async fn listen(self, listener: TcpListener) {
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
        /// The last of eight faces: it has taken it, and says so.
        const WELL: u64 = 7;
        let (head, body) = request(&mut stream).await?;
        let throw = self
            .dice
            .as_ref()
            .map_or(WELL, |dice| dice.lock().unwrap_or_else(PoisonError::into_inner).below(8));
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
    let key = message.get("key").and_then(Value::as_str);
    ensure!(key == Some(header(head, "idempotency-key")?), "{head}: {body}");
    Ok(message)
}

/// The keys of the steps of an alert, in their order, by the county's own timeline.
///
/// # Errors
/// When that is not whole.
pub fn keys(alert: &Value) -> anyhow::Result<Vec<String>> {
    let id = text(alert, "id");
    let timeline = alert.get("timeline").and_then(Value::as_array).context("no timeline")?;
    ensure!(timeline.len() < TIMELINE_MAX, "the timeline of {id} is cut; say less");
    let steps = (1..).zip(timeline).filter(|(_, entry)| STEPS.contains(&text(entry, "what")));
    Ok(steps.map(|(number, entry)| format!("{id}.{}.{number}", text(entry, "what"))).collect())
}

/// Whether a sink has heard each step of these alerts, in the order of its alert; how often it heard
/// one again.
///
/// # Errors
/// Says what is missing, or in another order.
pub fn told_once(
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

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
