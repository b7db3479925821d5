//! One link's end of the recorder: it takes what happens, and never makes the link wait.
//!
//! # Invariants
//! - nothing here touches a file; whoever records reads what is held, and may come too late
//! - a wish to keep what is held is told once, however often it is wished

use super::ring::{Happened, Heard, Held, Ring};
use crate::clock::Clock;
use drivers::serial::SerialOutput;
use model::{alarm::AlarmPhase, record::Record, time::MonoTime};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// "the last 10 minutes".
const RING_AGE: Duration = Duration::from_secs(600);
/// Whoever comes in the middle of a frame hears noise: that is no failure.
const SETTLES: Duration = Duration::from_secs(5);
/// Between two frames of any device that pauses: beginning anew there costs no frame.
const QUIET: Duration = Duration::from_millis(300);
/// A device that never pauses is begun anew all the same, and half a frame is lost.
const QUIET_WITHIN: Duration = Duration::from_secs(5);

/// What one link said last.
pub(crate) struct Tape {
    state: Mutex<State>,
    /// For the link: somebody wants it to begin anew.
    begin_anew: Notify,
    /// For the recorder: somebody wants something kept.
    wake: Arc<Notify>,
}

struct State {
    ring: Ring,
    opened: MonoTime,
    received: MonoTime,
    asked_anew: Option<MonoTime>,
    wish: Option<String>,
}

impl Tape {
    pub(super) fn new(ring_bytes: usize, wake: Arc<Notify>) -> Self {
        let state = State {
            ring: Ring::new(ring_bytes, RING_AGE),
            opened: MonoTime::START,
            received: MonoTime::START,
            asked_anew: None,
            wish: None,
        };
        Self { state: Mutex::new(state), begin_anew: Notify::new(), wake }
    }

    /// Takes what happened on the link.
    pub(crate) fn happened(&self, at: MonoTime, happened: Happened<'_>) {
        let mut state = self.state();
        match happened {
            Happened::Opened => (state.opened, state.asked_anew) = (at, None),
            Happened::Received(_) => state.received = at,
            Happened::Sent(_) | Happened::Closed => {}
        }
        state.ring.push(at, happened);
    }

    /// Looks at what the driver said: an alarm or a failure is worth keeping.
    pub(crate) fn told(&self, at: MonoTime, output: &SerialOutput) {
        let why = match output {
            // The device's own code and text may be anything: only what we call it is kept.
            SerialOutput::Emit(Record::Alarm(alarm)) if alarm.phase == AlarmPhase::Start => {
                format!("alarm {}", alarm.kind.rule_id())
            }
            SerialOutput::Note(note) if note.is_failure() => {
                if at.since(self.state().opened) < SETTLES {
                    return;
                }
                format!("failure {}", note.kind)
            }
            _ => return,
        };
        self.state().wish.get_or_insert(why);
        self.wake.notify_one();
    }

    /// Comes back when the driver shall begin anew on its port, so that what it says first is
    /// recorded. It waits for a pause of the device.
    pub(crate) async fn anew(&self, clock: Clock) {
        loop {
            let due = {
                let state = self.state();
                state.asked_anew.map(|asked| (state.received + QUIET).min(asked + QUIET_WITHIN))
            };
            match due {
                None => self.begin_anew.notified().await,
                Some(due) if clock.mono() >= due => return,
                Some(due) => clock.sleep_until(Some(due)).await,
            }
        }
    }

    pub(super) fn ask_anew(&self, now: MonoTime) {
        self.state().asked_anew = Some(now);
        self.begin_anew.notify_one();
    }

    /// Why what is held shall be kept, once.
    pub(super) fn take_wish(&self) -> Option<String> {
        self.state().wish.take()
    }

    pub(super) fn read(&self, from: u64, bytes: usize) -> Heard {
        self.state().ring.read(from, bytes)
    }

    /// How the session began, and from where on everything is held.
    pub(super) fn held(&self, now: MonoTime) -> Held {
        let mut state = self.state();
        state.ring.forget_old(now);
        state.ring.held()
    }

    /// Number of the event that is still to come.
    pub(super) fn next(&self) -> u64 {
        self.state().ring.next()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every event, even if somebody panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivers::serial::LinkNote;
    use model::{
        alarm::{AlarmKind, DeviceAlarm},
        id::{Channel, DeviceId},
        time::{ClockQuality, Observed, WallTime},
    };

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(ms))
    }

    fn tape() -> Tape {
        Tape::new(1 << 16, Arc::new(Notify::new()))
    }

    fn note(kind: &'static str) -> SerialOutput {
        SerialOutput::Note(LinkNote { kind, text: "WANG".to_owned() })
    }

    fn alarm(phase: AlarmPhase) -> SerialOutput {
        SerialOutput::Emit(Record::Alarm(DeviceAlarm {
            device: DeviceId::new("pump-01").unwrap(),
            channel: Channel::default(),
            phase,
            kind: AlarmKind::ALL[0],
            code: "WANG".to_owned(),
            text: "WANG".to_owned(),
            priority: None,
            latched: false,
            source: None,
            device_time: None,
            observed: Observed { at: WallTime::from_unix_ms(0), quality: ClockQuality::Unknown },
        }))
    }

    #[test]
    fn an_alarm_that_begins_and_a_failure_are_worth_keeping() {
        let tape = tape();
        tape.happened(at(1000), Happened::Opened);
        let wished = |ms, output| {
            tape.told(at(ms), &output);
            tape.take_wish()
        };
        let alarmed = format!("alarm {}", AlarmKind::ALL[0].rule_id());
        assert_eq!(wished(1001, alarm(AlarmPhase::Start)), Some(alarmed));
        assert_eq!(wished(1001, alarm(AlarmPhase::Update)), None);
        assert_eq!(wished(1001, alarm(AlarmPhase::End)), None);
        assert_eq!(wished(2000, note("noise")), None, "it was opened in the middle of a frame");
        assert_eq!(wished(9000, note("noise")).as_deref(), Some("failure noise"));
        assert_eq!(wished(9000, note("restarted")), None);
    }

    #[tokio::test]
    async fn a_driver_begins_anew_in_a_pause_of_its_device() {
        let (tape, clock) = (tape(), Clock::start());
        let waits = |limit| tokio::time::timeout(Duration::from_millis(limit), tape.anew(clock));
        tape.happened(clock.mono(), Happened::Opened);
        tape.happened(clock.mono(), Happened::Received(b"half"));
        assert!(waits(0).await.is_err(), "nobody asked");
        let asked = clock.mono();
        tape.ask_anew(asked);
        assert!(waits(60_000).await.is_ok());
        let waited = clock.mono().since(asked);
        assert!(waited + Duration::from_millis(50) > QUIET, "{waited:?}");
        tape.happened(clock.mono(), Happened::Opened);
        assert!(waits(0).await.is_err(), "it has begun anew");
    }
}
