//! Asks the system whether its clock is synchronised, and tells [`Clock`].
//!
//! timedated answers with what the kernel says of its clock, so that it does not matter which daemon
//! sets it: systemd-timesyncd, chrony or ntpd. The kernel goes on saying yes for hours after the last
//! word from the network, as long as the error it expects is below 16 s.

use crate::clock::{Clock, Trust};
use model::time::ClockQuality;
use std::{fs, time::Duration};
use tokio_util::sync::CancellationToken;
use zbus::OwnedVariant;

/// systemd starts timedated for each question: this often while the answer is no, and later.
const ASK_EVERY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));
/// It answers in less than a second, or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// systemd-timesyncd touches this file when it has set the clock from the network.
const SYNCHRONISED_MARK: &str = "/run/systemd/timesync/synchronized";

const NAME: &str = "org.freedesktop.timedate1";
const PATH: &str = "/org/freedesktop/timedate1";

/// Asks again and again, until the agent stops.
pub(crate) async fn run(clock: Clock, stopped: CancellationToken) {
    // A daemon may be late in saying so, and the agent may have been started anew since.
    let mut was_synchronised = fs::exists(SYNCHRONISED_MARK).unwrap_or(false);
    loop {
        let answer = tokio::time::timeout(ANSWER_LIMIT, ask_system()).await;
        let answer = answer.unwrap_or_else(|_| Err("timedated does not answer".to_owned()));
        let trust = judge(answer, was_synchronised);
        let synchronised = trust.quality == ClockQuality::Synchronised;
        was_synchronised |= synchronised;
        if clock.trust().quality != trust.quality {
            let (quality, evidence) = (trust.quality.name(), &trust.evidence);
            tracing::info!(quality, evidence, "The clock is trusted otherwise than before.");
        }
        clock.set_trust(trust);
        let wait = if synchronised { ASK_EVERY.1 } else { ASK_EVERY.0 };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped.cancelled() => return,
        }
    }
}

fn judge(answer: Result<bool, String>, was_synchronised: bool) -> Trust {
    let said = match answer {
        Ok(true) => {
            let evidence = "the kernel says that it is synchronised (timedated)".to_owned();
            return Trust { quality: ClockQuality::Synchronised, evidence };
        }
        Ok(false) => "the kernel says that it is not synchronised (timedated)".to_owned(),
        Err(reason) => reason,
    };
    let (quality, since) = match was_synchronised {
        true => (ClockQuality::HoldingOver, "it was since the box started"),
        false => (ClockQuality::Unknown, "nothing shows that it was since the box started"),
    };
    Trust { quality, evidence: format!("{said}; {since}") }
}

async fn ask_system() -> Result<bool, String> {
    let unreachable = |error| format!("timedated cannot be asked: {error}");
    let connection = zbus::Connection::system().await.map_err(unreachable)?;
    ask(&connection).await.map_err(unreachable)
}

async fn ask(connection: &zbus::Connection) -> zbus::Result<bool> {
    let properties = Some("org.freedesktop.DBus.Properties");
    let question = (NAME, "NTPSynchronized");
    let answer = connection.call_method(Some(NAME), PATH, properties, "Get", &question).await?;
    let value: OwnedVariant = answer.body().deserialize()?;
    bool::try_from(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClockQuality::{HoldingOver, Synchronised, Unknown};

    #[test]
    fn trust_follows_the_evidence() {
        let trust = |answer, was| judge(answer, was).quality;
        assert_eq!(trust(Ok(true), false), Synchronised);
        assert_eq!(trust(Ok(false), true), HoldingOver);
        assert_eq!(trust(Ok(false), false), Unknown);
        assert_eq!(trust(Err("no bus".to_owned()), true), HoldingOver);
        assert!(judge(Err("no bus".to_owned()), false).evidence.starts_with("no bus; "));
    }
}
