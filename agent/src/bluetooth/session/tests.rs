//! The session on lists of events, with the driver of a cuff.

use super::*;
use drivers::{
    gatt::{blood_pressure, services::ClockOptions},
    output::Output,
    registry::{GattName, create_gatt},
};
use model::{
    id::DeviceId,
    record::Record,
    time::{ClockQuality, Uptime, WallTime},
};

const CUFF: [Characteristic; 1] = [blood_pressure::MEASUREMENT];
/// 120/80, mean 93 mmHg.
const VALUE: &[u8] = &[0, 120, 0, 80, 0, 93, 0];

struct Bench {
    session: Session,
    ms: u64,
    kept: Vec<GattOutput>,
}

impl Bench {
    fn new() -> Self {
        let device = DeviceId::new("bp-02").unwrap();
        let driver = create_gatt(GattName::BloodPressure, device, ClockOptions::default(), None);
        Self { session: Session::new(driver), ms: 0, kept: vec![] }
    }

    fn now(&self) -> Now {
        Now {
            mono: MonoTime::from_start(Duration::from_millis(self.ms)),
            uptime: Uptime::default(),
            wall: WallTime::from_unix_ms(0),
            quality: ClockQuality::Unknown,
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        let now = self.now();
        self.session.handle(now, event, &mut self.kept);
    }

    fn pass(&mut self, ms: u64) {
        self.ms += ms;
        self.handle(Event::TimedOut);
    }

    #[track_caller]
    fn called(&mut self) -> (u64, Call) {
        self.session.poll_call().expect("a call is due")
    }

    #[track_caller]
    fn call_ends(&mut self, expected: &Call, result: Result<Vec<u8>, Refusal>) {
        let (number, call) = self.called();
        assert_eq!(&call, expected);
        self.handle(Event::Done(number, result));
    }

    fn connect(&mut self) {
        self.handle(Event::Seen);
        self.call_ends(&Call::Connect, Ok(vec![]));
        self.handle(Event::Resolved(&CUFF));
        self.call_ends(&subscribe(), Ok(vec![]));
    }

    fn readings(&self) -> usize {
        let is_reading = |kept: &&GattOutput| matches!(kept, Output::Emit(Record::Readings(_)));
        self.kept.iter().filter(is_reading).count()
    }
}

fn subscribe() -> Call {
    Call::Gatt(Request::Subscribe(blood_pressure::MEASUREMENT))
}

fn failed() -> Result<Vec<u8>, Refusal> {
    Err(Refusal::Other("Input/output error".into()))
}

#[test]
fn a_device_that_is_seen_is_connected_subscribed_and_left_to_go() {
    let mut bench = Bench::new();
    assert!(bench.session.poll_call().is_none() && bench.session.wants(bench.now()));
    bench.connect();
    bench.handle(Event::Value(blood_pressure::MEASUREMENT, VALUE));
    assert_eq!(bench.readings(), 1);
    bench.handle(Event::Disconnected);
    assert!(!bench.session.is_busy() && bench.session.wants(bench.now()));
}

#[test]
fn a_value_counts_whenever_it_comes() {
    let mut bench = Bench::new();
    bench.handle(Event::Value(blood_pressure::MEASUREMENT, VALUE));
    bench.handle(Event::Seen);
    let other = [0, 121, 0, 80, 0, 93, 0];
    bench.handle(Event::Value(blood_pressure::MEASUREMENT, &other));
    assert_eq!(bench.readings(), 2);
}

#[test]
fn a_value_of_a_connection_that_was_never_whole_is_no_repeat_in_the_next() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.handle(Event::Seen);
        bench.call_ends(&Call::Connect, Ok(vec![]));
        bench.handle(Event::Value(blood_pressure::MEASUREMENT, VALUE));
        bench.handle(Event::Disconnected);
    }
    assert_eq!(bench.readings(), 2, "another patient may have the same pressure");
}

#[test]
fn a_stack_that_is_gone_answers_nothing_more() {
    let mut bench = Bench::new();
    bench.handle(Event::Seen);
    assert_eq!(bench.called().1, Call::Connect);
    bench.handle(Event::Lost);
    assert!(bench.session.wants(bench.now()));
}

#[test]
fn a_connection_that_fails_at_once_is_tried_again_after_a_second() {
    let mut bench = Bench::new();
    bench.handle(Event::Seen);
    for _ in 0..3 {
        bench.call_ends(&Call::Connect, failed());
        assert!(bench.session.poll_call().is_none());
        bench.pass(1_000);
    }
    bench.call_ends(&Call::Connect, failed());
    assert!(!bench.session.is_busy() && !bench.session.wants(bench.now()));
    bench.pass(10_000);
    assert!(bench.session.wants(bench.now()));
}

#[test]
fn services_may_be_known_before_connect_answers_and_what_is_asked_waits_for_it() {
    let mut bench = Bench::new();
    bench.handle(Event::Seen);
    let (number, _) = bench.called();
    bench.handle(Event::Resolved(&CUFF));
    assert!(bench.session.poll_call().is_none());
    bench.handle(Event::Done(number, Ok(vec![])));
    assert_eq!(bench.called().1, subscribe());
}

#[test]
fn services_that_are_never_known_end_the_connection() {
    let mut bench = Bench::new();
    bench.handle(Event::Seen);
    bench.call_ends(&Call::Connect, Ok(vec![]));
    bench.pass(29_999);
    assert!(bench.session.poll_call().is_none());
    bench.pass(1);
    bench.call_ends(&Call::Disconnect, Ok(vec![]));
    assert!(!bench.session.is_busy());
}

#[test]
fn the_answer_to_a_call_of_the_connection_before_means_nothing() {
    let mut bench = Bench::new();
    bench.handle(Event::Seen);
    bench.call_ends(&Call::Connect, Ok(vec![]));
    bench.handle(Event::Resolved(&CUFF));
    let (old, _) = bench.called();
    bench.handle(Event::Disconnected);
    bench.handle(Event::Seen);
    let (new, call) = bench.called();
    assert_eq!(call, Call::Connect);
    bench.handle(Event::Done(old, failed()));
    assert!(bench.session.poll_call().is_none(), "Connect is still under way");
    bench.handle(Event::Done(new, Ok(vec![])));
}

#[test]
fn a_device_that_the_driver_sends_away_rests() {
    let mut bench = Bench::new();
    bench.connect();
    bench.pass(30_000);
    let (number, call) = bench.called();
    assert_eq!(call, Call::Disconnect);
    bench.handle(Event::Disconnected);
    bench.handle(Event::Done(number, Ok(vec![])));
    assert!(!bench.session.is_busy() && !bench.session.wants(bench.now()));
    bench.pass(10_000);
    assert!(bench.session.wants(bench.now()));
}

#[test]
fn an_end_that_is_not_confirmed_is_believed_after_a_while() {
    let mut bench = Bench::new();
    bench.connect();
    bench.pass(30_000);
    assert_eq!(bench.called().1, Call::Disconnect);
    bench.pass(10_000);
    assert!(!bench.session.is_busy());
}

#[test]
fn a_device_that_says_nothing_makes_room_for_another_one() {
    let mut bench = Bench::new();
    bench.connect();
    bench.pass(4_000);
    bench.handle(Event::Value(blood_pressure::MEASUREMENT, VALUE));
    bench.pass(4_999);
    bench.handle(Event::MakeRoom);
    assert!(bench.session.poll_call().is_none(), "it spoke less than five seconds ago");
    bench.pass(1);
    bench.handle(Event::MakeRoom);
    assert_eq!(bench.called().1, Call::Disconnect);
}

#[test]
fn an_agent_that_stops_ends_every_connection_and_begins_none() {
    let mut idle = Bench::new();
    idle.handle(Event::Leave);
    assert!(!idle.session.is_busy() && !idle.session.wants(idle.now()));
    let mut bench = Bench::new();
    bench.connect();
    bench.handle(Event::Leave);
    bench.call_ends(&Call::Disconnect, Ok(vec![]));
    assert!(!bench.session.is_busy());
    bench.pass(1_000_000);
    assert!(!bench.session.wants(bench.now()));
}

#[test]
fn a_device_that_a_person_pairs_is_left_alone_and_what_it_says_counts() {
    let mut bench = Bench::new();
    bench.connect();
    bench.handle(Event::Hold);
    bench.call_ends(&Call::Disconnect, Ok(vec![]));
    bench.handle(Event::Disconnected);
    bench.ms += 20_000;
    assert!(!bench.session.wants(bench.now()));
    // Somebody else connects it.
    bench.handle(Event::Seen);
    bench.handle(Event::Resolved(&CUFF));
    assert!(bench.session.poll_call().is_none() && !bench.session.is_busy());
    bench.handle(Event::Value(blood_pressure::MEASUREMENT, VALUE));
    assert_eq!(bench.readings(), 1);
    bench.handle(Event::LetGo);
    bench.handle(Event::Resolved(&CUFF));
    bench.call_ends(&subscribe(), Ok(vec![]));
}
