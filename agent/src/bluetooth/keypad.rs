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
        })
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
        let answer = self.answer(&call);
        tracing::debug!(?answer, "BlueZ asks.");
        match answer {
            Answer::Digits(Passkey(digits)) => {
                self.was_asked = true;
                self.reply(&call, &digits).await
            }
            Answer::Yes => self.reply(&call, &()).await,
            Answer::No => self.reject(&call).await,
            Answer::Person(question) => {
                self.was_asked = true;
                self.ask(question);
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

    fn answer(&self, call: &Message) -> Answer {
        let header = call.header();
        let body = call.body();
        let is_ours = |device: &ObjectPath<'_>| device.as_str() == self.device;
        match header.member().map(|member| member.as_str()) {
            Some("RequestPasskey") if body.deserialize().is_ok_and(|device| is_ours(&device)) => {
                self.known.map_or(Answer::Person(Question::Digits), Answer::Digits)
            }
            Some("RequestConfirmation") => {
                let Ok((device, shown)) = body.deserialize::<(ObjectPath<'_>, u32)>() else {
                    return Answer::No;
                };
                match self.known {
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
                if about.is_ok_and(|(device, _)| is_ours(&device)) {
                    Answer::Yes
                } else {
                    Answer::No
                }
            }
            Some("Cancel" | "Release") => Answer::Withdrawn,
            // Codes of letters are of an older Bluetooth.
            _ => Answer::No,
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

/// Says something to the person at the terminal; results go elsewhere.
pub(super) fn say(text: &str) {
    // The terminal is gone: nobody to tell.
    drop(writeln!(io::stderr().lock(), "{text}"));
}
