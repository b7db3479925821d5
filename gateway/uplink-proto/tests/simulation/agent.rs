//! What an agent does with its outbox and its connection, as `agent/src/outbox/writer.rs` and
//! `agent/src/uplink/session.rs` do it, and what may go wrong on the way.

use crate::{
    county::Delivery,
    dice::hash,
    faults::Fault,
    outbox::{GivenUp, Moment, Outbox, Span, drop_record},
    world::{Message, World},
};
use model::{
    id::{Lane, OutboxId, Seq},
    record::{DropCause, Record},
    time::WallTime,
};
use std::rc::Rc;
use uplink_proto::{
    ack::Proof,
    envelope::{moved, peek},
    ranges::RangeSet,
    sender::{Sender, SenderEvent, SenderOutput},
};

/// Envelopes that may wait in memory while nothing can be written.
const WAITING_MAX: usize = 40;

/// A box.
pub(crate) struct Agent {
    /// On disk.
    pub(crate) outbox: Outbox,
    /// What its disk is replaced by when it breaks.
    pub(crate) image: Option<Outbox>,
    /// Made anew for each connection.
    pub(crate) sender: Option<Sender>,
    pub(crate) waiting: Vec<Waiting>,
    /// Given up while nothing could be written, not counted on disk yet.
    unwritten: [Vec<u64>; 3],
    /// Acks that wait for the next commit.
    pub(crate) marks: [RangeSet; 3],
    /// So many more transactions fail.
    disk_full_for: usize,
    pub(crate) wall_ahead_ms: i64,
}

/// An envelope that waits for its commit.
pub(crate) struct Waiting {
    lane: Lane,
    records: Vec<Record>,
    numbers: Vec<u64>,
}

impl Agent {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            image: None,
            sender: None,
            waiting: Vec::new(),
            unwritten: Default::default(),
            marks: Default::default(),
            disk_full_for: 0,
            wall_ahead_ms: 0,
        }
    }

    /// Nothing of it waits for anything.
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
            && self.unwritten.iter().all(Vec::is_empty)
            && self.outbox.unacked.iter().all(RangeSet::is_empty)
    }
}

impl World {
    fn moment(&self, who: usize) -> Moment {
        let ahead_ms = self.agents[who].wall_ahead_ms;
        let ran_ms = i64::try_from(self.now.as_millis()).unwrap();
        Moment { ran: self.now, wall: WallTime::from_unix_ms(ran_ms + ahead_ms) }
    }

    fn tell(&mut self, who: usize, event: SenderEvent<'_>) {
        let now = self.mono();
        if let Some(sender) = &mut self.agents[who].sender {
            sender.handle(now, event);
        }
    }

    /// Devices say something; often a little, sometimes what gathered while a monitor was away.
    pub(crate) fn hand_over(&mut self, who: usize) {
        let burst = if self.dice.one_in(40) { 120 } else { 3 };
        for _ in 0..self.dice.below(burst) {
            let lane = [Lane::Urgent, Lane::Trend, Lane::Trend, Lane::Wave][self.dice.below(4)];
            let observed = self.moment(who).observed();
            let parts = (0..=self.dice.below(2)).map(|_| self.account.hand_over(observed));
            let (numbers, records) = parts.unzip();
            self.agents[who].waiting.push(Waiting { lane, records, numbers });
        }
        let agent = &mut self.agents[who];
        for lane in [Lane::Wave, Lane::Trend] {
            while agent.disk_full_for > 0
                && agent.waiting.len() > WAITING_MAX
                && let Some(place) = agent.waiting.iter().position(|batch| batch.lane == lane)
            {
                lane.of_mut(&mut agent.unwritten).extend(agent.waiting.remove(place).numbers);
                self.tally.count(Fault::GivenUpUnwritten);
            }
        }
    }

    /// Whether a transaction is committed: a crash may come before the sync, the disk may be full or
    /// fail. The file is the same as before then.
    fn syncs(&mut self, who: usize) -> bool {
        if self.agents[who].disk_full_for > 0 && self.faults {
            self.agents[who].disk_full_for -= 1;
            return false;
        }
        if self.fault(Fault::AgentDiskFull, 300) {
            self.agents[who].disk_full_for = self.dice.below(40);
            let agent = &mut self.agents[who];
            if self.dice.one_in(2) {
                // Rows that the county has make room for those it does not have.
                agent.outbox.mark(self.now, &std::mem::take(&mut agent.marks));
                agent.outbox.free_acked();
            }
            return false;
        }
        if self.fault(Fault::AgentDiskFailed, 200) {
            return false;
        }
        if self.fault(Fault::AgentCommitTorn, 200) {
            self.crash(who);
            return false;
        }
        true
    }

    /// All that was not synced is gone.
    pub(crate) fn crash(&mut self, who: usize) {
        let agent = &mut self.agents[who];
        if !agent.marks.iter().all(RangeSet::is_empty) {
            self.tally.count(Fault::AcksUnsynced);
        }
        (agent.sender, agent.marks) = (None, Default::default());
        agent.waiting.clear();
        agent.unwritten = Default::default();
    }

    /// One transaction: acks, what was given up before it was written, what waits.
    pub(crate) fn commit(&mut self, who: usize) {
        let agent = &self.agents[who];
        if agent.waiting.is_empty() && agent.marks.iter().all(RangeSet::is_empty) {
            return;
        }
        if !self.syncs(who) {
            return;
        }
        let at = self.moment(who);
        let agent = &mut self.agents[who];
        let (id, outbox) = (agent.outbox.id, &mut agent.outbox);
        outbox.mark(at.ran, &std::mem::take(&mut agent.marks));
        let (mut stored, mut dropped, mut drops) = (Vec::new(), Vec::new(), Vec::new());
        for lane in Lane::ALL {
            let numbers = std::mem::take(lane.of_mut(&mut agent.unwritten));
            if numbers.is_empty() {
                continue;
            }
            let (first, last) = outbox.take_numbers(lane, u64::try_from(numbers.len()).unwrap());
            for (number, seq) in numbers.into_iter().zip(first.get()..=last.get()) {
                self.account.commit(who, number, (id, lane, Seq::new(seq).unwrap()));
                self.account.story(number).given_up = true;
            }
            dropped.push((lane, first, last));
            drops.push(Record::Dropped(drop_record(at, (lane, first, last), DropCause::DiskFull)));
        }
        for Waiting { lane, records, numbers } in agent.waiting.drain(..) {
            let seq = outbox.append(at, lane, records, &numbers);
            numbers.iter().for_each(|number| self.account.commit(who, *number, (id, lane, seq)));
            stored.push((lane, seq));
        }
        if !drops.is_empty() {
            stored.push((Lane::Urgent, outbox.append(at, Lane::Urgent, drops, &[])));
        }
        self.told(who, &dropped, &stored);
        let rows_max = self.plan.rows_max;
        if self.agents[who].outbox.rows.len() > rows_max && self.syncs(who) {
            self.give_up(who, |outbox, at| outbox.make_room(at, rows_max));
        }
    }

    /// The sender hears of a commit, if the agent is not killed in between.
    fn told(&mut self, who: usize, dropped: &[Span], stored: &[(Lane, Seq)]) {
        if self.fault(Fault::AgentCrashedAfterCommit, 100) {
            self.crash(who);
        } else if self.fault(Fault::NewsOverflowed, 50) {
            self.restock(who);
        }
        for (lane, first, last) in dropped.iter().copied() {
            self.tell(who, SenderEvent::Dropped { lane, first, last });
        }
        for (lane, seq) in stored.iter().copied() {
            self.tell(who, SenderEvent::Stored(lane, seq));
        }
    }

    /// A transaction that gives rows up, with the record of it.
    fn give_up(&mut self, who: usize, change: impl FnOnce(&mut Outbox, Moment) -> GivenUp) {
        let at = self.moment(who);
        let outbox = &mut self.agents[who].outbox;
        let urgent = outbox.next(Lane::Urgent);
        let given_up = change(outbox, at);
        for number in &given_up.numbers {
            self.account.story(*number).given_up = true;
            self.tally.count(Fault::OutboxFull);
        }
        let stored = (outbox.next(Lane::Urgent) > urgent).then_some((Lane::Urgent, urgent));
        self.told(who, &given_up.spans, stored.as_slice());
    }

    pub(crate) fn restock(&mut self, who: usize) {
        let agent = &mut self.agents[who];
        if let Some(sender) = &mut agent.sender {
            sender.restock(agent.outbox.stock(self.now, &agent.marks));
        }
    }

    /// A connection begins; the broker ends that of another agent with the same certificate.
    pub(crate) fn link_up(&mut self, who: usize) {
        if self.agents[who].sender.is_none() {
            for other in 0..self.agents.len() {
                if self.agents[other].sender.take().is_some() {
                    self.tally.count(Fault::TakenOver);
                }
            }
            let agent = &mut self.agents[who];
            let stock = agent.outbox.stock(self.now, &agent.marks);
            agent.sender = Some(Sender::new(agent.outbox.id, stock));
            self.tell_state(who);
        }
        self.carry_out(who);
    }

    pub(crate) fn tell_state(&mut self, who: usize) {
        if self.agents[who].sender.is_some() {
            let state = Delivery::State(self.agents[who].outbox.id);
            self.network.push_back(Message::Up(state));
        }
    }

    pub(crate) fn carry_out(&mut self, who: usize) {
        for _ in 0..self.dice.below(24) {
            let sender = self.agents[who].sender.as_mut();
            let Some(output) = sender.and_then(Sender::poll_output) else { return };
            match output {
                SenderOutput::Publish(lane, seq) => self.publish(who, lane, seq),
                SenderOutput::Forget { lane, first, last } => {
                    let agent = &mut self.agents[who];
                    for (first, last) in lane.of(&agent.outbox.unacked).within(first, last) {
                        lane.of_mut(&mut agent.marks).insert_range(first, last);
                    }
                }
                SenderOutput::LostAtCounty { lane, first, last } => {
                    self.lost_at_county(who, (lane, first, last));
                }
                SenderOutput::StartNewOutbox => self.start_anew(who),
            }
        }
    }

    fn publish(&mut self, who: usize, lane: Lane, seq: Seq) {
        let agent = &self.agents[who];
        let Some(row) = agent.outbox.rows.get(&(lane, seq)) else {
            return self.tell(who, SenderEvent::Dropped { lane, first: seq, last: seq });
        };
        let bytes = self.numbered(agent.outbox.id, seq, Rc::clone(&row.bytes));
        let unreadable = self.fault(Fault::RowUnreadable, 1000);
        let Some(bytes) = bytes.filter(|_| !unreadable) else {
            if self.syncs(who) {
                self.give_up(who, |outbox, at| outbox.give_up_damaged(at, lane, seq));
            } else {
                self.agents[who].sender = None;
            }
            return;
        };
        let (len, proof) = (bytes.len(), Proof::of(&hash(&bytes)));
        if self.fault(Fault::CountyAway, 100) {
            self.tell(who, SenderEvent::Sent { lane, seq, len, proof });
            return self.tell(who, SenderEvent::Returned(lane, seq));
        }
        if self.fault(Fault::Refused, 100) {
            return self.tell(who, SenderEvent::SetAside(lane, seq));
        }
        self.network.push_back(Message::Up(Delivery::Envelope(bytes)));
        self.tell(who, SenderEvent::Sent { lane, seq, len, proof });
    }

    /// The envelope under the id and number it has now; `None` if it is none.
    fn numbered(&self, id: OutboxId, seq: Seq, bytes: Rc<[u8]>) -> Option<Rc<[u8]>> {
        let header = peek(&bytes).unwrap();
        if (header.outbox, header.seq) == (id, seq) {
            return Some(bytes);
        }
        moved(&bytes, &hash(&bytes), id, seq).ok().map(Rc::from)
    }

    fn lost_at_county(&mut self, who: usize, (lane, first, last): Span) {
        if !self.syncs(who) {
            self.agents[who].sender = None;
            return;
        }
        let at = self.moment(who);
        let agent = &mut self.agents[who];
        // Acks that wait are of before: they are written, and undone with the others.
        agent.outbox.mark(at.ran, &std::mem::take(&mut agent.marks));
        let given_up = agent.outbox.lost_at_county(at, (lane, first, last));
        assert_eq!(given_up.numbers, [0; 0], "kept, and counted as gone");
        for (first, last) in lane.of(&agent.outbox.unacked).within(first, last) {
            for (_, row) in agent.outbox.rows.range((lane, first)..=(lane, last)) {
                row.numbers.iter().for_each(|_| self.tally.count(Fault::SentAgain));
            }
        }
        given_up.spans.iter().for_each(|_| self.tally.count(Fault::GoneForGood));
        if self.fault(Fault::AgentCrashedAfterCommit, 10) {
            return self.crash(who);
        }
        if self.fault(Fault::LossToldTwice, 3) {
            let again = self.agents[who].outbox.lost_at_county(at, (lane, first, last));
            assert!(again.spans.is_empty(), "counted twice: {:?}", again.spans);
        }
        self.restock(who);
    }

    /// The agent is killed before, in or after the transaction that renumbers.
    fn start_anew(&mut self, who: usize) {
        self.commit(who);
        let agent = &self.agents[who];
        let unwritten = !agent.waiting.is_empty() || agent.marks.iter().any(|set| !set.is_empty());
        if agent.sender.is_none() || unwritten {
            self.agents[who].sender = None;
            return;
        }
        if self.fault(Fault::CrashedBeforeStartingAnew, 10) {
            return self.crash(who);
        }
        if self.fault(Fault::StartingAnewFailed, 10) || !self.syncs(who) {
            self.agents[who].sender = None;
            return;
        }
        let id = self.fresh_id();
        let moved = self.agents[who].outbox.start_anew(id);
        self.tally.count(Fault::StartedAnew);
        self.account.moved(who, &moved, &self.county);
        self.agents[who].sender = None;
        if self.fault(Fault::CrashedAfterStartingAnew, 10) {
            self.crash(who);
        }
    }
}
