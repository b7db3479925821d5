//! `devices pair`: bonds a device, and proves the bond by a second connection before it is called
//! paired. `devices forget`: undoes it.
//!
//! # Invariants
//! - the services are known before Pair is called, and Pair has a time limit, after which the bond
//!   itself is looked at: called too early it is never answered
//! - nothing is subscribed to: a value that came while nobody keeps it would be confirmed and gone
//! - a running agent that has the device stands back as long as this works on it

use super::{
    DROPPED_MAX,
    bluez::BluezError,
    keypad::{Code, Keypad, say},
    nearby::{Nearby, Seen, Trouble},
    objects::parent,
    session::{RESOLVE_LIMIT, RETRY_AFTER},
};
use crate::{
    clock::Clock,
    config::{AgentConfig, Passkey},
    scan, status,
};
use anyhow::Context as _;
use drivers::gatt::Refusal;
use model::time::MonoTime;
use std::{
    cell::Cell,
    future::Future,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use thiserror::Error;

/// The first connection: the device was heard just now.
const CONNECT_LIMIT: Duration = Duration::from_secs(40);
/// "Pairing 0.2 to 0.9 s"; the protocol itself gives up after 30 s.
const PAIR_LIMIT: Duration = Duration::from_secs(35);
/// A person reads six digits and types them; bluetoothd waits for 60 s.
const TYPE_LIMIT: Duration = Duration::from_secs(75);
/// A device that is paired is paired, whether Pair is answered or not.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// "Disconnect itself takes about 2 to 2.5 s."
const DISCONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The device may have gone to sleep: a person wakes it again.
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);
/// A device that hands out none of so many values is asked for no more.
const READS_MAX: usize = 3;

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// As `BlueZ` writes it.
    pub(crate) address: String,
    pub(crate) passkey: Option<Passkey>,
    pub(crate) config: Option<Box<AgentConfig>>,
    /// How long the device is looked for.
    pub(crate) look_for: Duration,
}

/// Why it is not paired.
#[derive(Debug, Error)]
pub(crate) enum PairError {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(
        "{address} was not heard within {limit_s} s; bring it nearer, take a measurement or press its \
         Bluetooth key so that it wakes, and try again; `clinic-agent devices scan` shows what is in \
         reach"
    )]
    NotHeard { address: String, limit_s: u64 },
    #[error("{address} was heard and could not be connected ({said}); wake it and try again")]
    NotConnected { address: String, said: String },
    #[error("{0} is connected and does not tell its services; switch it off and on, and try again")]
    NoServices(String),
    #[error("the code was refused by {0}; let it show a new code and try again")]
    WrongCode(String),
    #[error(
        "{0} refused the code it was given; read it again from the device's label or display, mend \
         --passkey, or passkey in agent.toml, and try again"
    )]
    WrongKnownCode(String),
    #[error(
        "{0} refuses to be paired; put it in pairing mode (most: hold the Bluetooth key until its \
         sign blinks), delete on it what it was paired with before, and try again; a device that \
         needs no pairing is read without"
    )]
    Refused(String),
    #[error(
        "{0} shows a code, and nobody typed six digits; run this in a terminal, or give the code: \
         --passkey 123456"
    )]
    NoCode(String),
    #[error("another program pairs {0} at this moment; close it and try again")]
    Occupied(String),
    #[error("pairing with {address} failed ({said}); wake the device and try again")]
    Failed { address: String, said: String },
    #[error("pairing with {0} did not come to an end; switch the device off and on, and try again")]
    NoEnd(String),
    #[error(
        "{address} was paired, and the bond does not hold: {why}; run `clinic-agent devices forget \
         {address}`, put the device in pairing mode, and pair it again"
    )]
    Unproven { address: String, why: String },
    #[error("{0} is not known here, so there is nothing to forget")]
    Unknown(String),
    #[error("{address} cannot be forgotten: {error}")]
    NotForgotten { address: String, error: BluezError },
}

/// Pairs a device, and prints what to do with it next.
pub(crate) fn pair(wanted: Wanted) -> anyhow::Result<ExitCode> {
    on_the_air(|clock| async move {
        let agent = RunningAgent::of(&wanted);
        let result = Errand::run(clock, &wanted, &agent).await;
        agent.order("release");
        let (seen, was_paired) = result?;
        Ok(told(&seen, was_paired, &wanted, agent.is_unaware.get()))
    })
}

/// Forgets a device and the bond with it, on this side.
pub(crate) fn forget(address: String) -> anyhow::Result<ExitCode> {
    on_the_air(|clock| async move {
        let nearby = Nearby::open(clock).await?;
        let Some(path) = nearby.path_of(&address) else { return Err(PairError::Unknown(address)) };
        let adapter = parent(&path).unwrap_or_default();
        match nearby.asker.remove(adapter, &path).await {
            Ok(()) => Ok(format!(
                "{address} is forgotten; delete this box on the device too, and take its section \
                 out of agent.toml if it is not to be read any more\n"
            )),
            Err(error) => Err(PairError::NotForgotten { address, error }),
        }
    })
}

/// Runs it to its end, and prints what came of it.
fn on_the_air<F>(work: impl FnOnce(Clock) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = Result<String, PairError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let done = runtime.block_on(work(Clock::start()));
    // A line that nobody types must not keep the program.
    runtime.shutdown_background();
    match done {
        Ok(text) => {
            write!(io::stdout().lock(), "{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            say(&format!("clinic-agent: {error}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What the person reads in the end: it can be put behind an `agent.toml` as it is.
///
/// `is_unaware`: a running agent does not know of the device yet.
fn told(seen: &Seen, was_paired: bool, wanted: &Wanted, is_unaware: bool) -> String {
    let address = &seen.address;
    let how = if was_paired { "was paired before" } else { "is paired" };
    let name = seen.name.as_deref().unwrap_or("a device without a name");
    let mut text = format!("# {address} ({name}) {how}; a second connection proved the bond\n");
    let known = wanted.config.iter().flat_map(|config| &config.bluetooth);
    match known.clone().find(|known| known.address == *address) {
        Some(known) => {
            text +=
                &format!("# it is in the configuration: {} ({})\n", known.id, known.driver.name());
            if is_unaware {
                text += "# the agent that runs has not read it there: restart the agent\n";
            }
            let service = known.driver.service();
            if seen.resolved && !seen.services.contains(&service) {
                text += &format!(
                    "# it does not have the service of that driver; {}\n",
                    match seen.driver() {
                        Some(fits) => format!("write: driver = \"{}\"", fits.name()),
                        None => "no driver reads such a device".to_owned(),
                    }
                );
            }
        }
        None => {
            text +=
                "# it is not read yet: put these lines behind agent.toml, and restart the agent\n";
            text += &scan::allowed(seen, &mut scan::taken(wanted.config.as_deref()));
        }
    }
    text
}

/// The agent that may run meanwhile, and may have the device.
struct RunningAgent {
    data_dir: Option<PathBuf>,
    address: String,
    /// It said that it does not have the device.
    is_unaware: Cell<bool>,
}

impl RunningAgent {
    fn of(wanted: &Wanted) -> Self {
        let config = wanted.config.as_ref().filter(|config| {
            config.bluetooth.iter().any(|device| device.address == wanted.address)
        });
        let data_dir = config.map(|config| config.data_dir.clone());
        Self { data_dir, address: wanted.address.clone(), is_unaware: Cell::new(false) }
    }

    /// Asks it to stand back from the device for a while, or to go on with it; whether it has it.
    fn order(&self, order: &str) -> bool {
        let Some(data_dir) = &self.data_dir else { return false };
        match status::order(data_dir, &format!("bluetooth {order} {}", self.address)) {
            Ok(answer) if answer.done => true,
            Ok(answer) => {
                tracing::debug!(answer.said, "The running agent does not have the device.");
                self.is_unaware.set(self.is_unaware.get() || order == "hold");
                false
            }
            Err(error) if status::is_nobody(&error) => false,
            Err(error) => {
                let text = status::unanswered(&data_dir.join("agent.sock"), &error);
                say(&format!("note: {text}; until then it may get in the way"));
                false
            }
        }
    }
}

/// What became of a connection.
enum Whole {
    /// All services are known.
    Yes,
    /// What was said at the last try.
    NotConnected(String),
    /// The device ended it before that, again and again.
    Dropped,
}

/// One device on its way to a bond.
struct Errand<'a> {
    nearby: Nearby,
    clock: Clock,
    address: &'a str,
    path: String,
    agent: &'a RunningAgent,
}

impl<'a> Errand<'a> {
    async fn run(
        clock: Clock,
        wanted: &'a Wanted,
        agent: &'a RunningAgent,
    ) -> Result<(Seen, bool), PairError> {
        let has_device = agent.order("hold");
        let address = wanted.address.as_str();
        let mut nearby = Nearby::open(clock).await?;
        if let Some(path) = nearby.path_of(address).filter(|_| has_device) {
            // The agent sends it away.
            let until = clock.mono() + DISCONNECT_LIMIT;
            nearby.device_is(&path, until, |seen| !seen.connected).await?;
        }
        let limit_s = wanted.look_for.as_secs();
        say(&format!(
            "looking for {address} for at most {limit_s} s; wake it: take a measurement or press its \
             Bluetooth key"
        ));
        nearby.look().await?;
        let path = nearby.hear(address, clock.mono() + wanted.look_for).await?;
        nearby.stop_looking().await;
        let path =
            path.ok_or_else(|| PairError::NotHeard { address: address.to_owned(), limit_s })?;
        let mut errand = Self { nearby, clock, address, path, agent };
        let was_paired = errand.is(|seen| seen.paired);
        if was_paired {
            say("it is paired already");
        } else {
            errand.connect_first().await?;
            errand.pair(wanted).await?;
        }
        errand.prove().await?;
        let seen = errand.nearby.seen(&errand.path).ok_or(Trouble::Gone)?;
        // An agent that has it reads it on this connection.
        if !agent.order("hold") {
            errand.disconnect().await?;
        }
        Ok((seen, was_paired))
    }

    fn is(&self, wanted: impl Fn(&Seen) -> bool) -> bool {
        self.nearby.seen(&self.path).is_some_and(|seen| wanted(&seen))
    }

    fn after(&self, limit: Duration) -> MonoTime {
        self.clock.mono() + limit
    }

    /// The first connection.
    async fn connect_first(&mut self) -> Result<(), PairError> {
        self.agent.order("hold");
        let address = self.address.to_owned();
        match self.connect_whole(CONNECT_LIMIT).await? {
            Whole::Yes => Ok(()),
            Whole::NotConnected(said) => Err(PairError::NotConnected { address, said }),
            Whole::Dropped => Err(PairError::NoServices(address)),
        }
    }

    /// Connects until all services are known.
    async fn connect_whole(&mut self, limit: Duration) -> Result<Whole, Trouble> {
        let (until, path) = (self.after(limit), self.path.clone());
        let mut dropped = 0;
        loop {
            if let Some(said) = self.connect(until).await? {
                return Ok(Whole::NotConnected(said));
            }
            // The answer may be here before the news.
            let limit = self.after(ANSWER_LIMIT);
            self.nearby.device_is(&path, limit, |seen| seen.connected).await?;
            let limit = self.after(RESOLVE_LIMIT);
            let told = |seen: &Seen| seen.resolved || !seen.connected;
            self.nearby.device_is(&path, limit, told).await?;
            if self.is(|seen| seen.resolved) {
                return Ok(Whole::Yes);
            }
            dropped += 1;
            if dropped >= DROPPED_MAX || self.clock.mono() >= until {
                return Ok(Whole::Dropped);
            }
            let pause = self.after(RETRY_AFTER);
            self.nearby.listen(pause).await?;
        }
    }

    /// Connects; what was said at the last try, if none went well.
    async fn connect(&mut self, until: MonoTime) -> Result<Option<String>, Trouble> {
        loop {
            let (asker, path) = (self.nearby.asker.clone(), self.path.clone());
            let said = match self.nearby.during(asker.connect(&path)).await? {
                Ok(()) => return Ok(None),
                Err(error) => error.to_string(),
            };
            tracing::debug!(said, "Connecting is tried again.");
            if self.clock.mono() + RETRY_AFTER >= until {
                return Ok(Some(said));
            }
            let pause = self.after(RETRY_AFTER);
            self.nearby.listen(pause).await?;
        }
    }

    async fn pair(&mut self, wanted: &Wanted) -> Result<(), PairError> {
        self.agent.order("hold");
        let address = self.address.to_owned();
        let failed = |error: BluezError| PairError::Failed {
            address: wanted.address.clone(),
            said: error.to_string(),
        };
        let known = wanted.passkey.or_else(|| {
            let mut known = wanted.config.iter().flat_map(|config| &config.bluetooth);
            known.find(|known| known.address == address).and_then(|known| known.passkey)
        });
        let mut keypad =
            Keypad::register(&self.nearby.bluez, &self.path, known).await.map_err(failed)?;
        let (asker, path) = (self.nearby.asker.clone(), self.path.clone());
        let mut call = std::pin::pin!(asker.pair(&path));
        let mut until = self.after(PAIR_LIMIT);
        let answer = loop {
            tokio::select! {
                answer = &mut call => break Some(answer),
                said = self.nearby.bluez.next() => {
                    let was_paired = self.is(|seen| seen.paired);
                    self.nearby.take(said)?;
                    if !was_paired && self.is(|seen| seen.paired) {
                        until = self.after(ANSWER_LIMIT);
                    }
                }
                turn = keypad.turn() => {
                    let asked = keypad.was_asked;
                    keypad.take(turn, &self.nearby.bluez).await.map_err(failed)?;
                    if !asked && keypad.was_asked {
                        until = self.after(TYPE_LIMIT);
                    }
                }
                () = self.clock.sleep_until(Some(until)) => break None,
            }
        };
        match answer {
            Some(Ok(())) => {}
            Some(Err(error)) if error.is("AlreadyExists") => {}
            Some(Err(_)) | None if keypad.is_nobody_there => {
                return Err(PairError::NoCode(address));
            }
            Some(Err(error)) => return Err(refused(address, &error, keypad.code())),
            None if self.is(|seen| seen.paired) => {
                tracing::debug!("BlueZ did not answer and has the bond.");
            }
            None => {
                // It says so if there is nothing to cancel.
                drop(asker.cancel_pairing(&path).await);
                return Err(match keypad.was_asked {
                    true => PairError::NoCode(address),
                    false => PairError::NoEnd(address),
                });
            }
        }
        // The answer may be here before the news.
        let until = self.after(ANSWER_LIMIT);
        self.nearby.device_is(&path, until, |seen| seen.paired).await?;
        if let Err(error) = asker.trust(&path).await {
            tracing::debug!(%error, "The device is not trusted.");
        }
        Ok(())
    }

    async fn disconnect(&mut self) -> Result<(), PairError> {
        let (asker, path) = (self.nearby.asker.clone(), self.path.clone());
        // It says so if the device went by itself.
        drop(self.nearby.during(asker.disconnect(&path)).await?);
        let until = self.after(DISCONNECT_LIMIT);
        self.nearby.device_is(&path, until, |seen| !seen.connected).await?;
        Ok(())
    }

    /// The device takes a connection with the bond, and answers on it.
    async fn prove(&mut self) -> Result<(), PairError> {
        self.agent.order("hold");
        self.disconnect().await?;
        say("connecting again to prove the bond; wake the device if it has gone to sleep");
        match self.connect_whole(RECONNECT_LIMIT).await? {
            Whole::Yes => {}
            Whole::NotConnected(said) => {
                return Err(self.unproven(&format!("it takes no second connection ({said})")));
            }
            Whole::Dropped => {
                let why = "the device ends the connection at once: it does not know this box";
                return Err(self.unproven(why));
            }
        }
        if !self.is(|seen| seen.paired) {
            return Err(self.unproven("the bond is gone"));
        }
        self.answers().await
    }

    /// Something is read on the second connection: it carries data.
    async fn answers(&mut self) -> Result<(), PairError> {
        let driver = self.nearby.seen(&self.path).and_then(|seen| seen.driver());
        let own = driver.map(|driver| driver.service());
        let mut readable = self.nearby.readable(&self.path);
        readable.sort_by_key(|(_, place)| Some(place.service) != own);
        for (at, _) in readable.into_iter().take(READS_MAX) {
            let asker = self.nearby.asker.clone();
            match self.nearby.during(asker.read(&at)).await? {
                Ok(_) => return Ok(()),
                Err(error) if error.refusal() == Refusal::NotPaired => {
                    return Err(self.unproven("the device asks for a bond again"));
                }
                // A value of its own that it does not hand out.
                Err(error) => tracing::debug!(%error, "A value cannot be read."),
            }
        }
        match self.is(|seen| seen.connected) {
            true => Ok(()),
            false => Err(self.unproven("the second connection was lost at once")),
        }
    }

    fn unproven(&self, why: &str) -> PairError {
        PairError::Unproven { address: self.address.to_owned(), why: why.to_owned() }
    }
}

/// What `BlueZ` said about a pairing, in words that say what to do.
fn refused(address: String, error: &BluezError, code: Code) -> PairError {
    let is_late = error.is("AuthenticationTimeout") || error.is("AuthenticationCanceled");
    if is_late || error.is("AuthenticationFailed") || error.is("AuthenticationRejected") {
        return match code {
            Code::NotAsked => PairError::Refused(address),
            Code::Missing => PairError::NoCode(address),
            Code::Known => PairError::WrongKnownCode(address),
            Code::Typed if is_late => PairError::NoCode(address),
            Code::Typed => PairError::WrongCode(address),
        };
    }
    match error.is("InProgress") {
        true => PairError::Occupied(address),
        false => PairError::Failed { address, said: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let check = |name: &str, code, words: &str| {
            let name = format!("org.bluez.Error.{name}");
            let error = BluezError::Refused { name, text: "text".to_owned() };
            let told = refused("C0:26:DA:00:00:01".to_owned(), &error, code).to_string();
            assert!(told.contains(words), "{told}");
        };
        check("AuthenticationFailed", Code::Typed, "let it show a new code");
        check("AuthenticationFailed", Code::Known, "passkey in agent.toml");
        check("AuthenticationFailed", Code::Missing, "nobody typed six digits");
        check("AuthenticationFailed", Code::NotAsked, "put it in pairing mode");
        check("AuthenticationRejected", Code::NotAsked, "put it in pairing mode");
        check("AuthenticationTimeout", Code::Typed, "--passkey 123456");
        check("AuthenticationCanceled", Code::NotAsked, "put it in pairing mode");
        check("InProgress", Code::NotAsked, "another program pairs");
        check(
            "ConnectionAttemptFailed",
            Code::NotAsked,
            "(org.bluez.Error.ConnectionAttemptFailed: text)",
        );
    }
}
