//! What the simulation plays with: an agent with an outbox, a county with a database, a network
//! between them.

use model::{
    id::{Lane, OutboxId, Seq},
    record::{AgentStarted, DropCause, DropRecord, Record},
    time::{ClockQuality, MonoTime, Observed, WallTime},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use uplink_proto::{
    ack::{Ack, AckError, CONFLICT, LaneNews},
    envelope::{Envelope, peek, renumbered},
    ranges::RangeSet,
    receiver::{LaneLedger, Verdict, judge},
    sender::{LaneStock, Sender, SenderEvent, SenderOutput},
};

/// Steps without new records or faults in which everything must settle.
const QUIET_STEPS: u32 = 20_000;
/// What MQTT, TLS and TCP add to a message.
const OVERHEAD: usize = 120;
/// What was stored this long before the link came up is still the present.
const LIVE_BEFORE: Duration = Duration::from_secs(300);

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Dice(pub(crate) u64);

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

type Key = (OutboxId, Lane, Seq);

/// A row of the outbox: its bytes and when it was stored.
#[derive(Clone)]
pub(crate) struct Row {
    bytes: Vec<u8>,
    stored: Duration,
}

/// What survives a crash of the agent: the outbox.
#[derive(Clone)]
pub(crate) struct Outbox {
    id: OutboxId,
    pub(crate) rows: BTreeMap<(Lane, Seq), Row>,
    next: [Seq; 3],
}

/// What survives a crash of the county: the database.
#[derive(Default)]
pub(crate) struct County {
    ledgers: BTreeMap<(OutboxId, Lane), LaneLedger>,
    hashes: BTreeMap<Key, [u8; 32]>,
    /// Every record of every envelope that was stored, as a table without a key would hold them.
    records: Vec<u64>,
    pub(crate) aside: BTreeSet<Key>,
    conflicts: u64,
    pub(crate) widest_ack: usize,
}

enum Message {
    Up(Vec<u8>),
    Down(Vec<u8>),
}

pub(crate) struct World {
    dice: Dice,
    now: Duration,
    pub(crate) outbox: Outbox,
    /// Volatile, and made anew for each connection.
    sender: Option<Sender>,
    pub(crate) county: County,
    network: VecDeque<Message>,
    /// Bytes a second.
    speed: usize,
    delivered_at: Duration,
    /// The number in each record ever committed → the envelope it was first committed in.
    committed: BTreeMap<u64, Key>,
    /// Records that were given up, with a drop record in the same transaction.
    dropped: BTreeSet<u64>,
    damaged: BTreeSet<u64>,
    pub(crate) steps: u64,
    faults: bool,
}

/// The county cannot tell bytes apart by more than their hash.
fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0_u8; 32];
    for (place, byte) in bytes.iter().enumerate() {
        let slot = &mut hash[place % 32];
        *slot = slot.wrapping_mul(31).wrapping_add(*byte);
    }
    hash
}

/// The numbers of an envelope's records; a drop record has none.
fn numbers(envelope: &Envelope) -> Vec<u64> {
    let number = |record: &Record| match record {
        Record::Started(started) => Some(started.version.parse().unwrap()),
        _ => None,
    };
    envelope.records.iter().filter_map(number).collect()
}

fn place(lane: Lane) -> usize {
    Lane::ALL.iter().position(|of| *of == lane).unwrap()
}

impl Outbox {
    fn new(id: OutboxId) -> Self {
        Self { id, rows: BTreeMap::new(), next: [Seq::FIRST; 3] }
    }

    fn stock(&self, now: Duration) -> [LaneStock; 3] {
        Lane::ALL.map(|lane| {
            let rows = || self.rows.iter().filter(|((of, _), _)| *of == lane);
            let next = self.next[place(lane)];
            let live = rows().find(|(_, row)| row.stored + LIVE_BEFORE >= now);
            LaneStock {
                unacked: rows().map(|((_, seq), _)| (*seq, *seq)).collect(),
                next,
                live_from: live.map_or(next, |((_, seq), _)| *seq),
            }
        })
    }

    fn store(&mut self, lane: Lane, now: Duration, records: Vec<Record>) -> (Seq, Vec<u8>) {
        let seq = self.next[place(lane)];
        self.next[place(lane)] = seq.next();
        let opened_at = wall(now);
        let bytes = Envelope { outbox: self.id, lane, seq, opened_at, records }.encode();
        self.rows.insert((lane, seq), Row { bytes: bytes.clone(), stored: now });
        (seq, bytes)
    }
}

fn wall(now: Duration) -> WallTime {
    WallTime::from_unix_ms(i64::try_from(now.as_millis()).unwrap())
}

fn observed(now: Duration) -> Observed {
    Observed { at: wall(now), quality: ClockQuality::Unknown }
}

impl World {
    pub(crate) fn new(mut dice: Dice) -> Self {
        let speed = [1_000, 8_000, 1_000_000][dice.below(3)];
        Self {
            dice,
            now: Duration::ZERO,
            outbox: Outbox::new(OutboxId::from_bytes([1; 16])),
            sender: None,
            county: County::default(),
            network: VecDeque::new(),
            speed,
            delivered_at: Duration::ZERO,
            committed: BTreeMap::new(),
            dropped: BTreeSet::new(),
            damaged: BTreeSet::new(),
            steps: 0,
            faults: true,
        }
    }

    pub(crate) fn committed(&self) -> usize {
        self.committed.len()
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.len()
    }

    pub(crate) fn outbox_changed(&self) -> bool {
        self.outbox.id != OutboxId::from_bytes([1; 16])
    }

    fn mono(&self) -> MonoTime {
        MonoTime::from_start(self.now)
    }

    fn tell(&mut self, event: SenderEvent<'_>) {
        let now = self.mono();
        if let Some(sender) = &mut self.sender {
            sender.handle(now, event);
        }
    }

    pub(crate) fn step(&mut self) {
        self.steps += 1;
        self.now += Duration::from_millis(u64::try_from(self.dice.below(1000)).unwrap());
        match self.dice.below(if self.faults { 20 } else { 10 }) {
            0..=1 => self.link_up(),
            2..=6 => self.deliver(),
            7..=8 => self.publish(),
            9 => {
                self.tell(SenderEvent::TimedOut);
                self.tell(SenderEvent::RetryAside);
            }
            10..=13 => self.commit_some(),
            14 => self.link_down(),
            15 => self.sender = None,
            16 => self.lose_or_double(),
            17 => self.damage_or_drop(),
            18 => self.restock(),
            _ => self.network.clear(),
        }
        if self.steps.is_multiple_of(32) {
            self.check();
        }
    }

    /// A few records, or what gathered in an outage.
    fn commit_some(&mut self) {
        let burst = if self.dice.one_in(40) { 150 } else { 3 };
        for _ in 0..self.dice.below(burst) {
            let lane = [Lane::Urgent, Lane::Trend, Lane::Trend, Lane::Wave][self.dice.below(4)];
            self.commit_in(lane);
        }
    }

    /// A record is committed; the agent may crash before the sender hears of it.
    fn commit_in(&mut self, lane: Lane) {
        let number = u64::try_from(self.committed.len()).unwrap();
        let started = AgentStarted { version: number.to_string(), observed: observed(self.now) };
        let (seq, _) = self.outbox.store(lane, self.now, vec![Record::Started(started)]);
        self.committed.insert(number, (self.outbox.id, lane, seq));
        self.news(lane, seq);
    }

    fn news(&mut self, lane: Lane, seq: Seq) {
        if self.faults && self.dice.one_in(100) {
            self.sender = None;
        } else {
            self.tell(SenderEvent::Stored(lane, seq));
        }
    }

    fn link_up(&mut self) {
        if self.sender.is_none() {
            self.sender = Some(Sender::new(self.outbox.id, self.outbox.stock(self.now)));
        }
        self.publish();
    }

    fn link_down(&mut self) {
        if self.sender.take().is_some() {
            // A broken connection may or may not have delivered what was on it.
            let kept = self.dice.below(self.network.len() + 1);
            self.network.truncate(kept);
        }
    }

    fn restock(&mut self) {
        let stock = self.outbox.stock(self.now);
        if let Some(sender) = &mut self.sender {
            sender.restock(stock);
        }
    }

    fn publish(&mut self) {
        for _ in 0..self.dice.below(24) {
            let Some(output) = self.sender.as_mut().and_then(Sender::poll_output) else { return };
            match output {
                SenderOutput::Publish(lane, seq) => {
                    let Some(row) = self.outbox.rows.get(&(lane, seq)) else {
                        self.tell(SenderEvent::Dropped { lane, first: seq, last: seq });
                        continue;
                    };
                    let bytes = row.bytes.clone();
                    let len = bytes.len();
                    if self.faults && self.dice.one_in(50) {
                        // The county is away: the broker says so.
                        self.tell(SenderEvent::Sent { lane, seq, len });
                        self.tell(SenderEvent::Returned(lane, seq));
                        continue;
                    }
                    if self.faults && self.dice.one_in(50) {
                        // The broker refuses this one.
                        self.tell(SenderEvent::SetAside(lane, seq));
                        continue;
                    }
                    self.network.push_back(Message::Up(bytes));
                    if self.faults && self.dice.one_in(100) {
                        self.sender = None;
                    }
                    self.tell(SenderEvent::Sent { lane, seq, len });
                }
                SenderOutput::Forget { lane, first, last } => self.forget(lane, first, last),
                SenderOutput::StartNewOutbox => self.start_new_outbox(),
            }
        }
    }

    /// The transaction that forgets may be cut off by a crash: then the rows are simply sent again.
    fn forget(&mut self, lane: Lane, first: Seq, last: Seq) {
        for number in first.get()..=last.get() {
            let key = (self.outbox.id, lane, Seq::new(number).unwrap());
            let settled = self.county.hashes.contains_key(&key) || self.county.aside.contains(&key);
            assert!(settled, "forgotten before the county had it: {key:?}");
        }
        if self.faults && self.dice.one_in(20) {
            self.sender = None;
            return;
        }
        self.outbox.rows.retain(|(of, seq), _| *of != lane || *seq < first || *seq > last);
    }

    /// A row that cannot be understood at the county, or the oldest rows given up for want of room.
    fn damage_or_drop(&mut self) {
        let lane = [Lane::Trend, Lane::Wave][self.dice.below(2)];
        let waiting: Vec<Seq> =
            self.outbox.rows.keys().filter(|(of, _)| *of == lane).map(|(_, seq)| *seq).collect();
        let Some(first) = waiting.first().copied() else { return };
        if self.dice.one_in(2) {
            // Damaged before it was ever sent: else the county might have it already.
            self.commit_in(lane);
            let (&(lane, seq), row) =
                self.outbox.rows.iter_mut().rfind(|((of, _), _)| *of == lane).unwrap();
            row.bytes.push(0);
            let lost = |key: &Key| *key == (self.outbox.id, lane, seq);
            let lost =
                self.committed.iter().filter(|(_, key)| lost(key)).map(|(number, _)| *number);
            self.damaged.extend(lost.collect::<Vec<_>>());
            return;
        }
        // In one transaction with the record of it.
        let last = waiting[self.dice.below(waiting.len().min(6))];
        for number in first.get()..=last.get() {
            let row = self.outbox.rows.remove(&(lane, Seq::new(number).unwrap()));
            let lost = row.and_then(|row| Envelope::decode(&row.bytes).ok());
            self.dropped.extend(lost.iter().flat_map(|lost| numbers(&lost.envelope)));
        }
        let record = Record::Dropped(DropRecord {
            outbox: None,
            lane,
            first,
            last,
            from: wall(self.now),
            until: wall(self.now),
            cause: DropCause::OutboxFull,
            observed: observed(self.now),
        });
        let (seq, _) = self.outbox.store(Lane::Urgent, self.now, vec![record]);
        self.tell(SenderEvent::Dropped { lane, first, last });
        self.news(Lane::Urgent, seq);
    }

    /// A restored or copied outbox: what is not acked gets new numbers under a new id.
    fn start_new_outbox(&mut self) {
        let mut id = *self.outbox.id.as_bytes();
        id[15] += 1;
        let fresh = Outbox::new(OutboxId::from_bytes(id));
        let old = std::mem::replace(&mut self.outbox, fresh);
        for ((lane, _), row) in old.rows {
            let seq = self.outbox.next[place(lane)];
            // A damaged row is none any more.
            let Ok(bytes) = renumbered(&row.bytes, self.outbox.id, seq) else { continue };
            self.outbox.next[place(lane)] = seq.next();
            self.outbox.rows.insert((lane, seq), Row { bytes, stored: row.stored });
        }
        self.sender = None;
    }

    pub(crate) fn restore(&mut self, image: Outbox) {
        self.outbox = image;
        self.sender = None;
        self.network.clear();
        self.faults = true;
    }

    /// Commits a record in every lane: the county knows the numbers already, with other bytes.
    pub(crate) fn commit_colliding(&mut self) {
        Lane::ALL.into_iter().for_each(|lane| self.commit_in(lane));
    }

    fn deliver(&mut self) {
        let elapsed = self.now.saturating_sub(std::mem::replace(&mut self.delivered_at, self.now));
        let mut credit = self.speed * usize::try_from(elapsed.as_millis()).unwrap() / 1000;
        let mut batch = Vec::new();
        loop {
            // In order mostly; any message may overtake the others.
            let taken = if self.dice.one_in(4) {
                let place = self.dice.below(self.network.len());
                self.network.remove(place)
            } else {
                self.network.pop_front()
            };
            match taken {
                None => break,
                Some(Message::Up(bytes)) => {
                    credit = credit.saturating_sub(bytes.len() + OVERHEAD);
                    batch.push(bytes);
                }
                Some(Message::Down(bytes)) => {
                    let ack = Ack::decode(&bytes).unwrap();
                    self.tell(SenderEvent::Acked(&ack));
                }
            }
            if credit == 0 || self.dice.one_in(20) {
                break;
            }
        }
        if !batch.is_empty() {
            self.county_takes(&batch);
        }
    }

    /// One transaction; the county crashes before its commit, or after it and before the acks.
    fn county_takes(&mut self, batch: &[Vec<u8>]) {
        if self.faults && self.dice.one_in(20) {
            return;
        }
        let mut touched: BTreeMap<OutboxId, BTreeMap<Lane, RangeSet>> = BTreeMap::new();
        let mut errors = Vec::new();
        for bytes in batch {
            let header = peek(bytes).unwrap();
            let key = (header.outbox, header.lane, header.seq);
            let lanes = touched.entry(header.outbox).or_default();
            lanes.entry(header.lane).or_default().insert(header.seq);
            let county = &mut self.county;
            let Ok(decoded) = Envelope::decode(bytes) else {
                county
                    .ledgers
                    .entry((header.outbox, header.lane))
                    .or_default()
                    .quarantine(header.seq);
                county.aside.insert(key);
                let (lane, seq) = (header.lane, header.seq);
                errors.push(AckError { lane, seq, reason: "not one CBOR item".to_owned() });
                continue;
            };
            match judge(county.hashes.get(&key), &hash(bytes)) {
                Verdict::New => {
                    county.hashes.insert(key, hash(bytes));
                    county.ledgers.entry((key.0, key.1)).or_default().receive(key.2);
                    county.records.extend(numbers(&decoded.envelope));
                    for record in decoded.envelope.records {
                        if let Record::Dropped(dropped) = record {
                            let of = dropped.outbox.unwrap_or(key.0);
                            let ledger = county.ledgers.entry((of, dropped.lane)).or_default();
                            ledger.drop_range(dropped.first, dropped.last);
                            let lanes = touched.entry(of).or_default();
                            lanes.entry(dropped.lane).or_default().insert(dropped.first);
                        }
                    }
                }
                Verdict::Duplicate => {}
                Verdict::Conflict => {
                    county.conflicts += 1;
                    let (lane, seq) = (header.lane, header.seq);
                    errors.push(AckError { lane, seq, reason: CONFLICT.to_owned() });
                }
            }
        }
        if self.faults && self.dice.one_in(20) {
            return;
        }
        for (outbox, mut touched) in touched {
            let news = |lane: Lane| {
                let ledger = self.county.ledgers.get(&(outbox, lane));
                let settled = ledger.map(LaneLedger::settled).unwrap_or_default();
                (lane, LaneNews { settled, touched: touched.remove(&lane).unwrap_or_default() })
            };
            let lanes: Vec<_> = Lane::ALL.map(news).into();
            let widest = lanes.iter().map(|(_, news)| news.settled.ranges().count()).max();
            self.county.widest_ack = self.county.widest_ack.max(widest.unwrap_or_default());
            for ack in Ack::telling(outbox, lanes, std::mem::take(&mut errors)) {
                self.network.push_back(Message::Down(ack.encode()));
            }
        }
    }

    fn lose_or_double(&mut self) {
        let place = self.dice.below(self.network.len());
        let Some(message) = self.network.get(place) else { return };
        let copy = match message {
            Message::Up(bytes) => Message::Up(bytes.clone()),
            Message::Down(bytes) => Message::Down(bytes.clone()),
        };
        if self.dice.one_in(2) {
            self.network.remove(place);
        } else {
            self.network.push_back(copy);
        }
    }

    /// Every record is at the county, or waits, or was given up and counted.
    fn check(&self) {
        let stored: BTreeSet<u64> = self.county.records.iter().copied().collect();
        let waiting = |number: &u64| {
            let (outbox, lane, seq) = self.committed[number];
            outbox == self.outbox.id && self.outbox.rows.contains_key(&(lane, seq))
        };
        for number in self.committed.keys().filter(|number| !stored.contains(number)) {
            let given_up = self.dropped.contains(number) || self.damaged.contains(number);
            assert!(given_up || waiting(number) || self.outbox_changed(), "lost: {number}");
        }
    }

    pub(crate) fn settle(&mut self) {
        self.faults = false;
        for _ in 0..QUIET_STEPS {
            self.step();
            if self.outbox.rows.is_empty() && self.network.is_empty() {
                return;
            }
        }
        panic!("{} rows never settled", self.outbox.rows.len());
    }

    /// All that was committed and not given up is at the county.
    pub(crate) fn check_that_all_arrived(&self) {
        let stored: BTreeSet<u64> = self.county.records.iter().copied().collect();
        let lost: Vec<_> = self
            .committed
            .keys()
            .filter(|number| !stored.contains(number))
            .filter(|number| !self.dropped.contains(number) && !self.damaged.contains(number))
            .collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }

    /// Exactly once, and the ledger has no gap that is not explained.
    pub(crate) fn check_that_all_arrived_once(&self) {
        self.check_that_all_arrived();
        let stored: BTreeSet<u64> = self.county.records.iter().copied().collect();
        assert_eq!(stored.len(), self.county.records.len(), "stored twice");
        assert!(stored.iter().all(|number| self.committed.contains_key(number)));
        assert!(stored.is_disjoint(&self.damaged), "a damaged row was stored");
        assert_eq!(self.county.conflicts, 0);
        for lane in Lane::ALL {
            let ledger = self.county.ledgers.get(&(self.outbox.id, lane));
            let settled = ledger.map(LaneLedger::settled).unwrap_or_default();
            assert_eq!(
                settled.watermark().map_or(Seq::FIRST, Seq::next),
                self.outbox.next[place(lane)]
            );
        }
    }
}
