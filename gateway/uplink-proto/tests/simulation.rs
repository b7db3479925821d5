//! The uplink from a seed: a network that loses, doubles, delays and reorders, and both sides
//! crashing at any point.
//!
//! Proves, after every step: nothing committed is lost, nothing is stored twice, nothing is
//! forgotten before it is committed at the county.
//! `SIM_SEED=17` runs one seed, `SIM_SEEDS=100000` that many.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says what went wrong by failing"
)]

use model::{
    id::{Lane, OutboxId, Seq},
    record::{AgentStarted, Record},
    time::{ClockQuality, MonoTime, Observed, WallTime},
};
use std::{collections::BTreeMap, time::Duration};
use uplink_proto::{
    ack::{Ack, AckError, CONFLICT},
    envelope::Envelope,
    ranges::RangeSet,
    receiver::{LaneLedger, Verdict, judge},
    sender::{LaneStock, Sender, SenderEvent, SenderOutput},
};

const SEEDS: u64 = 400;
const STEPS: u32 = 400;
/// Steps without new records or faults in which everything must settle.
const QUIET_STEPS: u32 = 4000;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }
}

/// What survives a crash of the agent: the outbox.
#[derive(Clone)]
struct Outbox {
    id: OutboxId,
    rows: BTreeMap<(Lane, Seq), Vec<u8>>,
    next: [Seq; 3],
}

/// What survives a crash of the county: the database.
#[derive(Default)]
struct County {
    ledgers: BTreeMap<(OutboxId, Lane), LaneLedger>,
    stored: BTreeMap<(OutboxId, Lane, Seq), Vec<u8>>,
    quarantined: u64,
}

enum Message {
    Up(Vec<u8>),
    Down(Vec<u8>),
}

struct World {
    dice: Dice,
    now: Duration,
    outbox: Outbox,
    /// Volatile: gone after a crash.
    sender: Sender,
    connected: bool,
    county: County,
    network: Vec<Message>,
    committed: BTreeMap<(OutboxId, Lane, Seq), Vec<u8>>,
    operations: u64,
    faults: bool,
}

/// The county cannot tell bytes apart by more than their hash; in memory the bytes will do.
fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0_u8; 32];
    for (place, byte) in bytes.iter().enumerate() {
        let slot = &mut hash[place % 32];
        *slot = slot.wrapping_mul(31).wrapping_add(*byte);
    }
    hash
}

fn sender_of(outbox: &Outbox) -> Sender {
    let stock = |lane: Lane, next: Seq| {
        let mut unacked = RangeSet::default();
        for (_, seq) in outbox.rows.keys().filter(|(of, _)| *of == lane) {
            unacked.insert(*seq);
        }
        LaneStock { unacked, next }
    };
    let [urgent, trend, wave] = outbox.next;
    let stock = [stock(Lane::Urgent, urgent), stock(Lane::Trend, trend), stock(Lane::Wave, wave)];
    Sender::new(outbox.id, stock)
}

impl World {
    fn new(seed: u64) -> Self {
        let outbox = Outbox {
            id: OutboxId::from_bytes([1; 16]),
            rows: BTreeMap::new(),
            next: [Seq::FIRST; 3],
        };
        Self {
            dice: Dice(seed),
            now: Duration::ZERO,
            sender: sender_of(&outbox),
            outbox,
            connected: false,
            county: County::default(),
            network: Vec::new(),
            committed: BTreeMap::new(),
            operations: 0,
            faults: true,
        }
    }

    fn mono(&self) -> MonoTime {
        MonoTime::from_start(self.now)
    }

    fn step(&mut self) {
        self.operations += 1;
        self.now += Duration::from_millis(u64::try_from(self.dice.below(3000)).unwrap());
        match self.dice.below(if self.faults { 16 } else { 8 }) {
            0..=1 => self.toggle_link_up(),
            2..=5 => self.deliver(),
            6 => self.publish_some(),
            7 => self.sender.handle(MonoTime::from_start(self.now), SenderEvent::TimedOut),
            8..=11 => self.commit(),
            12 => self.cut_link(),
            13 => self.crash_agent(),
            14 => self.lose_or_double(),
            _ => self.network.clear(),
        }
        self.check();
    }

    /// A record is committed; the agent may crash before the sender hears of it.
    fn commit(&mut self) {
        let lane = Lane::ALL[self.dice.below(3)];
        self.commit_in(lane);
    }

    fn commit_in(&mut self, lane: Lane) {
        let place = Lane::ALL.iter().position(|of| *of == lane).unwrap();
        let seq = self.outbox.next[place];
        self.outbox.next[place] = seq.next();
        let observed = Observed {
            at: WallTime::from_unix_ms(i64::try_from(self.now.as_millis()).unwrap()),
            quality: ClockQuality::Unknown,
        };
        let version = self.dice.roll().to_string();
        let envelope = Envelope {
            outbox: self.outbox.id,
            lane,
            seq,
            opened_at: observed.at,
            records: vec![Record::Started(AgentStarted { version, observed })],
        };
        let bytes = envelope.encode();
        self.outbox.rows.insert((lane, seq), bytes.clone());
        self.committed.insert((self.outbox.id, lane, seq), bytes);
        if self.faults && self.dice.one_in(20) {
            self.crash_agent();
        } else {
            self.sender.handle(self.mono(), SenderEvent::Stored(lane, seq));
        }
    }

    fn toggle_link_up(&mut self) {
        if !self.connected {
            self.connected = true;
            self.sender.handle(self.mono(), SenderEvent::Connected);
        }
        self.publish_some();
    }

    fn cut_link(&mut self) {
        if self.connected {
            self.connected = false;
            self.sender.handle(self.mono(), SenderEvent::Disconnected);
            // A broken connection may or may not have delivered what was on it.
            let kept = self.dice.below(self.network.len() + 1);
            self.network.truncate(kept);
        }
    }

    fn crash_agent(&mut self) {
        self.sender = sender_of(&self.outbox);
        self.connected = false;
    }

    fn publish_some(&mut self) {
        for _ in 0..self.dice.below(12) {
            match self.sender.poll_output() {
                Some(SenderOutput::Publish(lane, seq)) => {
                    let bytes = self.outbox.rows[&(lane, seq)].clone();
                    self.sender
                        .handle(self.mono(), SenderEvent::Sent { lane, seq, len: bytes.len() });
                    self.network.push(Message::Up(bytes));
                }
                Some(SenderOutput::Forget { lane, first, last }) => self.forget(lane, first, last),
                Some(SenderOutput::StartNewOutbox) => self.start_new_outbox(),
                None => return,
            }
        }
    }

    /// The transaction that forgets may be cut off by a crash: then the rows are simply sent again.
    fn forget(&mut self, lane: Lane, first: Seq, last: Seq) {
        for number in first.get()..=last.get() {
            let seq = Seq::new(number).unwrap();
            let key = (self.outbox.id, lane, seq);
            assert!(
                self.county.stored.contains_key(&key),
                "forgotten before it was stored: {key:?}"
            );
        }
        if self.faults && self.dice.one_in(20) {
            self.crash_agent();
            return;
        }
        self.outbox.rows.retain(|(of, seq), _| *of != lane || *seq < first || *seq > last);
    }

    /// A restored or copied outbox: what is not acked gets new numbers under a new id.
    fn start_new_outbox(&mut self) {
        let mut id = *self.outbox.id.as_bytes();
        id[15] += 1;
        let old = std::mem::replace(
            &mut self.outbox,
            Outbox { id: OutboxId::from_bytes(id), rows: BTreeMap::new(), next: [Seq::FIRST; 3] },
        );
        for ((lane, _), bytes) in old.rows {
            let place = Lane::ALL.iter().position(|of| *of == lane).unwrap();
            let seq = self.outbox.next[place];
            self.outbox.next[place] = seq.next();
            let mut envelope = Envelope::decode(&bytes).unwrap().envelope;
            (envelope.outbox, envelope.seq) = (self.outbox.id, seq);
            let bytes = envelope.encode();
            self.committed.insert((self.outbox.id, lane, seq), bytes.clone());
            self.outbox.rows.insert((lane, seq), bytes);
        }
        self.crash_agent();
    }

    fn deliver(&mut self) {
        for _ in 0..self.dice.below(10) {
            if self.network.is_empty() {
                return;
            }
            // Any message may be the next: delay and reordering.
            let place = self.dice.below(self.network.len());
            match self.network.swap_remove(place) {
                Message::Up(bytes) => self.county_takes(&bytes),
                Message::Down(bytes) if self.connected => {
                    let ack = Ack::decode(&bytes).unwrap();
                    self.sender.handle(self.mono(), SenderEvent::Acked(&ack));
                }
                Message::Down(_) => {}
            }
        }
    }

    fn county_takes(&mut self, bytes: &[u8]) {
        // The county crashes before its transaction, or after it and before the ack.
        if self.faults && self.dice.one_in(20) {
            return;
        }
        let envelope = Envelope::decode(bytes).unwrap().envelope;
        let key = (envelope.outbox, envelope.lane, envelope.seq);
        let stored = self.county.stored.get(&key).map(|bytes| hash(bytes));
        let ledger = self.county.ledgers.entry((envelope.outbox, envelope.lane)).or_default();
        let mut errors = Vec::new();
        match judge(stored.as_ref(), &hash(bytes)) {
            Verdict::New => {
                assert!(!ledger.received.contains(envelope.seq));
                ledger.receive(envelope.seq);
                self.county.stored.insert(key, bytes.to_vec());
            }
            Verdict::Duplicate => {}
            Verdict::Conflict => {
                self.county.quarantined += 1;
                let (lane, seq) = (envelope.lane, envelope.seq);
                errors.push(AckError { lane, seq, reason: CONFLICT.to_owned() });
            }
        }
        if self.faults && self.dice.one_in(20) {
            return;
        }
        let settled = |lane: &Lane| {
            let ledger = self.county.ledgers.get(&(envelope.outbox, *lane));
            (*lane, ledger.map(LaneLedger::settled).unwrap_or_default())
        };
        let lanes = Lane::ALL.iter().map(settled).collect();
        let ack = Ack { outbox: envelope.outbox, lanes, errors };
        self.network.push(Message::Down(ack.encode()));
    }

    fn lose_or_double(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let place = self.dice.below(self.network.len());
        if self.dice.one_in(2) {
            self.network.remove(place);
        } else {
            let copy = match &self.network[place] {
                Message::Up(bytes) => Message::Up(bytes.clone()),
                Message::Down(bytes) => Message::Down(bytes.clone()),
            };
            self.network.push(copy);
        }
    }

    fn check(&self) {
        for (key, bytes) in &self.county.stored {
            assert!(
                self.committed.get(key) == Some(bytes),
                "stored what was never committed: {key:?}"
            );
        }
        for key in self.committed.keys().filter(|key| key.0 == self.outbox.id) {
            let waiting = self.outbox.rows.contains_key(&(key.1, key.2));
            assert!(waiting || self.county.stored.contains_key(key), "lost: {key:?}");
        }
    }

    fn settle(&mut self) {
        self.faults = false;
        for _ in 0..QUIET_STEPS {
            self.step();
            if self.outbox.rows.is_empty() && self.network.is_empty() {
                return;
            }
        }
        panic!("{} rows never settled", self.outbox.rows.len());
    }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    }
}

/// Prints the seed when a run fails.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SIM_SEED={}", self.0);
        }
    }
}

#[test]
fn nothing_committed_is_lost_or_stored_twice() {
    let (mut operations, mut envelopes) = (0, 0);
    for seed in seeds() {
        let announce = Announce(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        let stored: Vec<_> = world.county.stored.iter().collect();
        assert_eq!(stored, world.committed.iter().collect::<Vec<_>>());
        assert_eq!(world.county.quarantined, 0);
        operations += world.operations;
        envelopes += world.committed.len();
        drop(announce);
    }
    println!("seeds {:?}, operations {operations}, envelopes {envelopes}", seeds());
}

/// A box was restored from an old image: the county knows numbers it never assigned, or knows
/// other bytes under the number it assigns next.
#[test]
fn a_restored_outbox_starts_anew_and_loses_nothing() {
    for seed in seeds() {
        let announce = Announce(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS / 2 {
            world.step();
        }
        let image = world.outbox.clone();
        for _ in 0..STEPS / 4 {
            world.step();
        }
        world.settle();
        let behind = world.outbox.next != image.next;
        world.outbox = image;
        world.crash_agent();
        world.network.clear();
        let colliding = world.outbox.rows.is_empty() && behind;
        if colliding {
            world.commit_colliding();
        }
        world.settle();
        let anew = world.outbox.id != OutboxId::from_bytes([1; 16]);
        assert!(anew || !colliding, "the collision was not noticed");
        drop(announce);
    }
}

impl World {
    /// Commits one record in the lane that is furthest behind; the county knows its number already.
    fn commit_colliding(&mut self) {
        let known = |lane: Lane| self.county.ledgers.get(&(self.outbox.id, lane));
        let behind = Lane::ALL.into_iter().zip(self.outbox.next).find(|(lane, next)| {
            known(*lane).is_some_and(|ledger| ledger.received.contains(*next))
        });
        let (lane, seq) = behind.expect("the image is behind in some lane");
        let first = self.committed[&(self.outbox.id, lane, seq)].clone();
        self.commit_in(lane);
        // The county's copy was committed first and stays what it is.
        self.committed.insert((self.outbox.id, lane, seq), first);
    }
}
