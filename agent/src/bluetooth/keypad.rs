//! The six digits of a device that is paired: from the command line, the configuration, or a person
//! at the terminal. `BlueZ` asks for them (`org.bluez.Agent1`).
//!
//! # Invariants
//! - only `BlueZ` is answered, and only about the device that is being paired
//! - a code is asked of a person once for each question of the device, and never guessed

use super::bluez::{Bluez, BluezError};
use crate::config::Passkey;
use futures_util::StreamExt as _;
use std::{
    io::{self, IsTerminal as _, Write as _},
    num::NonZeroUsize,
};
use tokio::task::JoinHandle;
use zbus::{Connection, MatchRule, Message, MessageStream, ObjectPath, message::Type};

/// Where we are asked.
pub(super) const AGENT_PATH: &str = "/clinic_edge/pairing";
const AGENT: &str = "org.bluez.Agent1";
const REJECTED: &str = "org.bluez.Error.Rejected";
/// A device asks one thing at a time.
const QUEUE: NonZeroUsize = NonZeroUsize::new(16).expect("above 0");

/// Answers what is asked while a device is paired.
pub(super) struct Keypad {
    connection: Connection,
    questions: MessageStream,
    /// Path of the device.
    device: String,
    known: Option<Passkey>,
    /// What waits for a person.
    open: Option<Open>,
    /// The line that is being typed.
    typing: Option<JoinHandle<io::Result<String>>>,
    /// Whether a code was wanted.
    pub(super) was_asked: bool,
    /// Whether nobody was there to answer.
    pub(super) is_nobody_there: bool,
    /// Whether the last code was asked of a person, or is one that was known before.
    is_of_person: bool,
}

/// A question for a person.
struct Open {
    call: Message,
    question: Question,
}

/// What is asked of a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Question {
    /// Which digits the device shows.
    Digits,
    /// Whether it shows these.
    Same(Passkey),
}

/// Where a code came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Code {
    /// The device wanted none.
    NotAsked,
    /// From the command line or the configuration.
    Known,
    /// From a person.
    Typed,
    /// Nobody has typed it yet.
    Missing,
}

/// What happened at the keypad.
#[derive(Debug)]
pub(super) enum Turn {
    Asked(Message),
    Typed(io::Result<String>),
}

/// What to do about a question.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Answer {
    Digits(Passkey),
    Yes,
    No,
    /// A person is asked.
    Person(Question),
    /// A person is told, and the device waits.
    Tell(String),
    /// The question is withdrawn.
    Withdrawn,
}

impl Keypad {
    pub(super) async fn register(
        bluez: &Bluez,
        device: &str,
        known: Option<Passkey>,
    ) -> Result<Self, BluezError> {
        let connection = bluez.connection().clone();
        let rule = MatchRule::builder().msg_type(Type::MethodCall).interface(AGENT).build()?;
        let questions = MessageStream::for_match_rule(rule, &connection, Some(QUEUE)).await?;
        bluez.asker().register_agent(AGENT_PATH).await?;
        Ok(Self {
            connection,
            questions,
            device: device.to_owned(),
            known,
            open: None,
            typing: None,
            was_asked: false,
            is_nobody_there: false,
            is_of_person: false,
        })
    }

    /// Where the code came from that the device was given, if it wanted one.
    pub(super) const fn code(&self) -> Code {
        match (self.was_asked, self.is_of_person, &self.open) {
            (false, ..) => Code::NotAsked,
            (true, false, _) => Code::Known,
            (true, true, None) => Code::Typed,
            (true, true, Some(_)) => Code::Missing,
        }
    }

    /// Waits for a question or a typed line; nothing is lost if it is dropped.
    pub(super) async fn turn(&mut self) -> Turn {
        loop {
            let typed = async {
                match &mut self.typing {
                    Some(typing) => typing.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                question = self.questions.next() => match question {
                    Some(Ok(call)) => return Turn::Asked(call),
                    Some(Err(_)) => {}
                    // The bus is gone, which others notice.
                    None => std::future::pending().await,
                },
                typed = typed => {
                    self.typing = None;
                    return Turn::Typed(typed.unwrap_or_else(|error| Err(io::Error::other(error))));
                }
            }
        }
    }

    /// Does what a turn asks for.
    pub(super) async fn take(&mut self, turn: Turn, bluez: &Bluez) -> Result<(), BluezError> {
        match turn {
            Turn::Asked(call) if bluez.is_from_bluez(&call) => self.asked(call).await,
            Turn::Asked(_) => Ok(()),
            Turn::Typed(line) => self.typed(line).await,
        }
    }

    async fn asked(&mut self, call: Message) -> Result<(), BluezError> {
        let answer = answer(&self.device, self.known, &call);
        let wants_code = |member: &str| ["RequestPasskey", "RequestConfirmation"].contains(&member);
        self.was_asked |= call.header().member().is_some_and(|member| wants_code(member.as_str()));
        tracing::debug!(?answer, "BlueZ asks.");
        match answer {
            Answer::Digits(Passkey(digits)) => self.reply(&call, &digits).await,
            Answer::Yes => self.reply(&call, &()).await,
            Answer::No => self.reject(&call).await,
            Answer::Person(question) => {
                self.ask(question);
                self.is_of_person = true;
                self.open = Some(Open { call, question });
                Ok(())
            }
            Answer::Tell(text) => {
                say(&text);
                self.reply(&call, &()).await
            }
            Answer::Withdrawn => {
                self.open = None;
                self.reply(&call, &()).await
            }
        }
    }

    fn ask(&mut self, question: Question) {
        match question {
            Question::Digits => {
                say("the device shows six digits; type them here and press Enter:");
            }
            Question::Same(shown) => {
                say(&format!("does the device show {shown}? type yes or no, and press Enter:"));
            }
        }
        // A line that was begun for a question that was withdrawn is one for this.
        self.typing.get_or_insert_with(|| {
            tokio::task::spawn_blocking(|| {
                let mut line = String::new();
                match io::stdin().read_line(&mut line)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(line),
                }
            })
        });
    }

    async fn typed(&mut self, line: io::Result<String>) -> Result<(), BluezError> {
        let Some(Open { call, question }) = self.open.take() else { return Ok(()) };
        let Ok(line) = line else {
            self.is_nobody_there = true;
            return self.reject(&call).await;
        };
        match (question, line.trim()) {
            (Question::Digits, line) => match Passkey::parse(line) {
                Ok(Passkey(digits)) => self.reply(&call, &digits).await,
                Err(_) if io::stdin().is_terminal() => {
                    say("that is not six digits");
                    self.ask(question);
                    self.open = Some(Open { call, question });
                    Ok(())
                }
                Err(_) => {
                    self.is_nobody_there = true;
                    self.reject(&call).await
                }
            },
            (Question::Same(_), "y" | "yes" | "是") => self.reply(&call, &()).await,
            (Question::Same(_), _) => self.reject(&call).await,
        }
    }

    async fn reply<B>(&self, call: &Message, body: &B) -> Result<(), BluezError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        Ok(self.connection.reply(&call.header(), body).await?)
    }

    async fn reject(&self, call: &Message) -> Result<(), BluezError> {
        Ok(self.connection.reply_error(&call.header(), REJECTED, &"no").await?)
    }
}

/// What to do about a question while that device is paired, whose code may be known.
fn answer(ours: &str, known: Option<Passkey>, call: &Message) -> Answer {
    let header = call.header();
    let body = call.body();
    let is_ours = |device: &ObjectPath<'_>| device.as_str() == ours;
    match header.member().map(|member| member.as_str()) {
        Some("RequestPasskey") if body.deserialize().is_ok_and(|device| is_ours(&device)) => {
            known.map_or(Answer::Person(Question::Digits), Answer::Digits)
        }
        Some("RequestConfirmation") => {
            let Ok((device, shown)) = body.deserialize::<(ObjectPath<'_>, u32)>() else {
                return Answer::No;
            };
            match known {
                _ if !is_ours(&device) => Answer::No,
                Some(known) if known == Passkey(shown) => Answer::Yes,
                Some(_) => Answer::No,
                None => Answer::Person(Question::Same(Passkey(shown))),
            }
        }
        Some("DisplayPasskey") => {
            match body.deserialize::<(ObjectPath<'_>, u32, u16)>() {
                // Told again for each digit that is typed.
                Ok((device, shown, 0)) if is_ours(&device) => {
                    Answer::Tell(format!("type this code on the device: {}", Passkey(shown)))
                }
                Ok((device, ..)) if is_ours(&device) => Answer::Yes,
                _ => Answer::No,
            }
        }
        // Nobody has to type anything.
        Some("RequestAuthorization") if body.deserialize().is_ok_and(|one| is_ours(&one)) => {
            Answer::Yes
        }
        Some("AuthorizeService") => {
            let about = body.deserialize::<(ObjectPath<'_>, String)>();
            if about.is_ok_and(|(device, _)| is_ours(&device)) { Answer::Yes } else { Answer::No }
        }
        Some("Cancel" | "Release") => Answer::Withdrawn,
        // Codes of letters are of an older Bluetooth.
        _ => Answer::No,
    }
}

/// Says something to the person at the terminal; results go elsewhere.
pub(super) fn say(text: &str) {
    // The terminal is gone: nobody to tell.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUFF: &str = "/org/bluez/hci0/dev_C0_26_DA_00_00_01";
    const OTHER: &str = "/org/bluez/hci0/dev_C0_26_DA_00_00_02";
    const CODE: Passkey = Passkey(42);

    fn path(path: &'static str) -> ObjectPath<'static> {
        ObjectPath::try_from(path).unwrap()
    }

    fn asked<B>(member: &str, body: &B, known: Option<Passkey>) -> Answer
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let call = Message::method_call(AGENT_PATH, member).interface(AGENT).build(body).unwrap();
        answer(CUFF, known, &call)
    }

    #[test]
    fn a_code_is_known_or_asked_of_a_person() {
        let asks = |known| asked("RequestPasskey", &path(CUFF), known);
        assert_eq!(asks(Some(CODE)), Answer::Digits(CODE));
        assert_eq!(asks(None), Answer::Person(Question::Digits));
        let shows = |shown: u32, known| asked("RequestConfirmation", &(path(CUFF), shown), known);
        assert_eq!(shows(42, Some(CODE)), Answer::Yes);
        assert_eq!(shows(43, Some(CODE)), Answer::No);
        assert_eq!(shows(42, None), Answer::Person(Question::Same(CODE)));
    }

    #[test]
    fn a_code_to_type_on_the_device_is_shown_once() {
        let typed = |count: u16| asked("DisplayPasskey", &(path(CUFF), 42_u32, count), None);
        assert_eq!(typed(0), Answer::Tell("type this code on the device: 000042".to_owned()));
        assert_eq!(typed(1), Answer::Yes);
    }

    #[test]
    fn nothing_is_said_about_another_device_and_nothing_of_an_older_bluetooth() {
        assert_eq!(asked("RequestPasskey", &path(OTHER), Some(CODE)), Answer::No);
        assert_eq!(asked("RequestAuthorization", &path(OTHER), None), Answer::No);
        assert_eq!(asked("RequestAuthorization", &path(CUFF), None), Answer::Yes);
        assert_eq!(asked("AuthorizeService", &(path(CUFF), "180d"), None), Answer::Yes);
        assert_eq!(asked("RequestPinCode", &path(CUFF), Some(CODE)), Answer::No);
        assert_eq!(asked("Cancel", &(), None), Answer::Withdrawn);
    }
}
