//! What survives a crash of the county: its database, as `gateway/src/intake.rs` keeps it.

use crate::{
    dice::hash,
    faults::{Fault, Tally},
    outbox::Key,
};
use model::{
    id::{Lane, OutboxId},
    record::{DropRecord, Record},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use uplink_proto::{
    ack::{Ack, AckError, CONFLICT, Proof, Proven},
    envelope::{Decoded, Envelope, peek},
    receiver::{EnvelopeHash, LaneLedger, Verdict, judge},
};

/// What came from a site.
#[derive(Clone)]
pub(crate) enum Delivery {
    Envelope(Rc<[u8]>),
    /// A state: it is answered by an ack, so that a box that says nothing hears of a restore.
    State(OutboxId),
}

impl Delivery {
    /// Of which outbox it is.
    pub(crate) fn outbox(&self) -> OutboxId {
        match self {
            Self::Envelope(bytes) => peek(bytes).unwrap().outbox,
            Self::State(outbox) => *outbox,
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct County {
    pub(crate) ledgers: BTreeMap<(OutboxId, Lane), LaneLedger>,
    hashes: BTreeMap<Key, EnvelopeHash>,
    /// What was first written as these bytes is stored under a number of another outbox.
    moved: BTreeSet<EnvelopeHash>,
    /// Every record of every envelope that was stored, as a table without a key would hold them.
    pub(crate) records: Vec<Record>,
    drops: Vec<DropRecord>,
    /// What could not be understood and is kept for a person.
    aside: BTreeSet<Key>,
    pub(crate) conflicts: u64,
}

/// What has to be acked after the commit.
#[derive(Default)]
struct News {
    proven: Vec<Proven>,
    errors: Vec<AckError>,
}

impl County {
    /// One transaction, and the acks that go out when it is committed.
    pub(crate) fn take(&mut self, batch: &[Delivery], tally: &mut Tally) -> Vec<Ack> {
        let mut news: BTreeMap<OutboxId, News> = BTreeMap::new();
        for delivery in batch {
            match delivery {
                Delivery::Envelope(bytes) => self.envelope(bytes, &mut news, tally),
                Delivery::State(outbox) => drop(news.entry(*outbox).or_default()),
            }
        }
        let acks = news.into_iter().flat_map(|(outbox, News { proven, errors })| {
            let settled = |lane| self.ledgers.get(&(outbox, lane)).map(LaneLedger::settled);
            let lanes = Lane::ALL.map(|lane| (lane, settled(lane).unwrap_or_default()));
            Ack::telling(outbox, lanes.into(), proven, errors)
        });
        acks.collect()
    }

    fn envelope(&mut self, bytes: &[u8], news: &mut BTreeMap<OutboxId, News>, tally: &mut Tally) {
        let (header, hash) = (peek(bytes).unwrap(), hash(bytes));
        let key = (header.outbox, header.lane, header.seq);
        let (outbox, lane, seq) = key;
        let news_of = news.entry(outbox).or_default();
        let decoded = Envelope::decode(bytes);
        let elsewhere = decoded.as_ref().is_ok_and(|it| self.has_elsewhere(lane, &hash, it));
        let verdict = judge(self.hashes.get(&key), &hash, elsewhere);
        if verdict == Verdict::Conflict {
            self.conflicts += 1;
            tally.count(Fault::Collided);
            news_of.errors.push(AckError { lane, seq, reason: CONFLICT.to_owned() });
            return;
        }
        news_of.proven.push(Proven { lane, seq, proof: Proof::of(&hash) });
        let ledger = self.ledgers.entry((outbox, lane)).or_default();
        match (verdict, decoded) {
            (_, Err(error)) => {
                ledger.quarantine(seq);
                self.aside.insert(key);
                news_of.errors.push(AckError { lane, seq, reason: error.to_string() });
            }
            (Verdict::Duplicate | Verdict::Conflict, _) => {}
            (Verdict::Moved, _) => {
                tally.count(Fault::MovedCopy);
                self.hashes.insert(key, hash);
                ledger.receive(seq);
            }
            (Verdict::New, Ok(decoded)) => {
                self.hashes.insert(key, hash);
                ledger.receive(seq);
                self.moved.extend(decoded.written.map(|written| written.hash));
                for record in decoded.envelope.records {
                    match record {
                        Record::Dropped(drop) => self.drop_range(outbox, drop, news),
                        record => self.records.push(record),
                    }
                }
            }
        }
    }

    /// Whether what was first written as this envelope is stored under another number.
    fn has_elsewhere(&self, lane: Lane, hash: &EnvelopeHash, decoded: &Decoded) -> bool {
        let stored = decoded.written.is_some_and(|written| {
            self.hashes.get(&(written.outbox, lane, written.seq)) == Some(&written.hash)
        });
        stored || self.moved.contains(&decoded.written.map_or(*hash, |written| written.hash))
    }

    fn drop_range(
        &mut self,
        carrier: OutboxId,
        mut drop: DropRecord,
        news: &mut BTreeMap<OutboxId, News>,
    ) {
        let of = *drop.outbox.get_or_insert(carrier);
        self.ledgers.entry((of, drop.lane)).or_default().drop_range(drop.first, drop.last);
        news.entry(of).or_default();
        self.drops.push(drop);
    }

    /// Whether it has an envelope under that number.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.hashes.contains_key(key)
    }

    /// Why the envelope is counted as given up or kept aside, if it is. Of a number that two outboxes
    /// used the ledger knows one end only; the records of drops know all.
    pub(crate) fn cause(&self, (outbox, lane, seq): &Key) -> Option<&'static str> {
        let counts = |drop: &&DropRecord| {
            let range = drop.first..=drop.last;
            drop.outbox == Some(*outbox) && drop.lane == *lane && range.contains(seq)
        };
        if let Some(drop) = self.drops.iter().find(counts) {
            return Some(drop.cause.name());
        }
        self.aside.contains(&(*outbox, *lane, *seq)).then_some("kept aside")
    }
}
