//! What the simulation plays with: boxes, a county, a network between them, and disasters.

use crate::{
    account::{Account, Ends},
    agent::Agent,
    county::{County, Delivery},
    dice::Dice,
    faults::{Fault, Tally},
    outbox::{Key, Outbox},
};
use model::{
    id::{Lane, OutboxId, Seq},
    time::MonoTime,
};
use std::{
    collections::{BTreeSet, VecDeque},
    iter,
    time::Duration,
};
use uplink_proto::{ack::Ack, receiver::LaneLedger, sender::SenderEvent};

/// Steps without new records or faults in which everything must settle.
const QUIET_STEPS: u32 = 20_000;
/// What MQTT, TLS and TCP add to a message.
const OVERHEAD: usize = 120;
/// Between two looks at everything.
const CHECK_EVERY: u64 = 64;
const DAY: Duration = Duration::from_secs(25 * 3600);
/// Where a wall clock may jump to, as against the real one: 1970, hours, nearly right, 2106.
const CLOCK_STEPS_MS: [i64; 6] =
    [-1_795_000_000_000, -7_200_000, -1, 0, 3_600_000, 2_500_000_000_000];

#[derive(Clone)]
pub(crate) enum Message {
    Up(Delivery),
    Down(Vec<u8>),
}

/// What this seed is about, so that simple faults are seen without the disasters too.
pub(crate) struct Plan {
    pub(crate) rows_max: usize,
    days: bool,
    outbox_restores: bool,
    outbox_copies: bool,
    county_restores: bool,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) now: Duration,
    pub(crate) agents: Vec<Agent>,
    pub(crate) county: County,
    backup: Option<County>,
    pub(crate) network: VecDeque<Message>,
    /// Bytes a second.
    speed: usize,
    delivered_at: Duration,
    pub(crate) account: Account,
    pub(crate) tally: Tally,
    pub(crate) faults: bool,
    pub(crate) steps: u64,
    ids: u8,
}

impl World {
    pub(crate) fn new(mut dice: Dice) -> Self {
        let speed = [1_000, 8_000, 1_000_000][dice.below(3)];
        let plan = Plan {
            rows_max: [80, 400, 100_000][dice.below(3)],
            days: dice.one_in(3),
            outbox_restores: dice.one_in(3),
            outbox_copies: dice.one_in(3),
            county_restores: dice.one_in(3),
        };
        let mut world = Self {
            dice,
            plan,
            now: Duration::ZERO,
            agents: Vec::new(),
            county: County::default(),
            backup: None,
            network: VecDeque::new(),
            speed,
            delivered_at: Duration::ZERO,
            account: Account::default(),
            tally: Tally::default(),
            faults: true,
            steps: 0,
            ids: 0,
        };
        let id = world.fresh_id();
        world.agents.push(Agent::new(Outbox::new(id)));
        world
    }

    pub(crate) fn fresh_id(&mut self) -> OutboxId {
        self.ids += 1;
        OutboxId::from_bytes([self.ids; 16])
    }

    pub(crate) fn mono(&self) -> MonoTime {
        MonoTime::from_start(self.now)
    }

    /// Whether it happens, once in so many times.
    pub(crate) fn fault(&mut self, fault: Fault, sides: usize) -> bool {
        let happens = self.faults && self.dice.one_in(sides);
        if happens {
            self.tally.count(fault);
        }
        happens
    }

    pub(crate) fn step(&mut self) {
        self.steps += 1;
        self.now += Duration::from_millis(u64::try_from(self.dice.below(1000)).unwrap());
        let who = if self.faults { self.dice.below(self.agents.len()) } else { self.restless() };
        match self.dice.below(if self.faults { 24 } else { 11 }) {
            0..=1 => self.link_up(who),
            2..=6 => self.deliver(),
            7..=8 => self.carry_out(who),
            9 => self.wake_up(who),
            10 => self.commit(who),
            11..=14 => {
                self.hand_over(who);
                self.commit(who);
            }
            15 => self.link_down(who),
            16 => {
                self.tally.count(Fault::AgentCrashed);
                self.crash(who);
            }
            17..=18 => self.lose_or_double(),
            19 => self.damage(who),
            20 => self.broker_restarts(),
            21 => self.time_jumps(who),
            22 => self.take_images(who),
            _ => self.disaster(who),
        }
        if self.steps.is_multiple_of(CHECK_EVERY) {
            self.check();
        }
    }

    fn wake_up(&mut self, who: usize) {
        let now = self.mono();
        if let Some(sender) = &mut self.agents[who].sender {
            sender.handle(now, SenderEvent::TimedOut);
            sender.handle(now, SenderEvent::RetryAside);
        }
        self.tell_state(who);
    }

    fn link_down(&mut self, who: usize) {
        if self.agents[who].sender.take().is_some() {
            self.tally.count(Fault::LinkCut);
            // A broken connection may or may not have delivered what was on it.
            let kept = self.dice.below(self.network.len() + 1);
            self.network.truncate(kept);
        }
    }

    fn broker_restarts(&mut self) {
        self.tally.count(Fault::BrokerRestarted);
        self.network.clear();
        self.agents.iter_mut().for_each(|agent| agent.sender = None);
    }

    fn lose_or_double(&mut self) {
        let place = self.dice.below(self.network.len());
        let Some(message) = self.network.get(place).cloned() else { return };
        if self.dice.one_in(2) {
            self.tally.count(Fault::MessageLost);
            self.network.remove(place);
        } else {
            self.tally.count(Fault::MessageDoubled);
            self.network.push_back(message);
        }
    }

    fn deliver(&mut self) {
        let elapsed = self.now.saturating_sub(std::mem::replace(&mut self.delivered_at, self.now));
        let mut credit = self.speed * usize::try_from(elapsed.as_millis()).unwrap() / 1000;
        let mut batch = Vec::new();
        while !self.network.is_empty() {
            // In order mostly; any message may overtake the others.
            let place = if self.dice.one_in(4) { self.dice.below(self.network.len()) } else { 0 };
            if place > 0 {
                self.tally.count(Fault::MessageOvertook);
            }
            match self.network.remove(place) {
                Some(Message::Up(delivery)) => {
                    let len = match &delivery {
                        Delivery::Envelope(bytes) => bytes.len(),
                        Delivery::State(_) => 0,
                    };
                    credit = credit.saturating_sub(len + OVERHEAD);
                    batch.push(delivery);
                }
                Some(Message::Down(bytes)) => {
                    let (ack, now) = (Ack::decode(&bytes).unwrap(), self.mono());
                    // Who is connected hears it, also what is meant for another.
                    if let Some(sender) = self.agents.iter_mut().find_map(|it| it.sender.as_mut()) {
                        sender.handle(now, SenderEvent::Acked(&ack));
                    }
                }
                None => {}
            }
            if credit == 0 || self.dice.one_in(20) {
                break;
            }
        }
        if !batch.is_empty() {
            self.county_takes(&batch);
        }
    }

    /// One transaction. Where it fails nothing is acked, and all is sent again.
    fn county_takes(&mut self, batch: &[Delivery]) {
        let failed = [Fault::CountyDiskFull, Fault::CountyDiskFailed, Fault::CountyCommitTorn];
        if failed.into_iter().any(|fault| self.fault(fault, 60)) {
            // Whom it has put off it tells when it takes in again.
            let put_off: BTreeSet<OutboxId> = batch.iter().map(Delivery::outbox).collect();
            let word = |outbox| Message::Down(Ack::taking_in_again(outbox).encode());
            return self.network.extend(put_off.into_iter().map(word));
        }
        let acks = self.county.take(batch, &mut self.tally);
        if self.fault(Fault::CountyCrashedAfterCommit, 30) {
            return;
        }
        self.network.extend(acks.iter().map(|ack| Message::Down(ack.encode())));
    }

    /// A row that cannot be understood at the county; broken before it was ever sent.
    fn damage(&mut self, who: usize) {
        let before = [Lane::Trend, Lane::Wave].map(|lane| self.agents[who].outbox.next(lane));
        self.hand_over(who);
        self.commit(who);
        let outbox = &mut self.agents[who].outbox;
        for (lane, first) in [Lane::Trend, Lane::Wave].into_iter().zip(before) {
            if let Some(row) = outbox.rows.get_mut(&(lane, first)) {
                row.bytes = row.bytes.iter().copied().chain([0]).collect();
                self.tally.count(Fault::RowDamaged);
            }
        }
    }

    fn time_jumps(&mut self, who: usize) {
        if self.plan.days && self.dice.one_in(12) {
            self.tally.count(Fault::DayPassed);
            self.now += DAY;
            for agent in &mut self.agents {
                agent.outbox.prune(self.now);
            }
        } else {
            self.tally.count(Fault::ClockStepped);
            self.agents[who].wall_ahead_ms = CLOCK_STEPS_MS[self.dice.below(CLOCK_STEPS_MS.len())];
        }
    }

    fn take_images(&mut self, who: usize) {
        if self.dice.one_in(2) {
            self.agents[who].image = Some(self.agents[who].outbox.clone());
        } else {
            self.backup = Some(self.county.clone());
        }
    }

    fn disaster(&mut self, who: usize) {
        match self.dice.below(12) {
            0 if self.plan.outbox_restores => self.restore_outbox(who),
            1 if self.plan.outbox_copies && self.agents.len() < 2 => self.copy_outbox(who),
            2 if self.plan.county_restores => self.restore_county(),
            _ => {}
        }
    }

    /// The disk of a box is replaced by an image of it.
    fn restore_outbox(&mut self, who: usize) {
        let Some(image) = self.agents[who].image.clone() else { return };
        self.tally.count(Fault::OutboxRestored);
        self.crash(who);
        let knows = |(outbox, lane, seq): &Key| *outbox == image.id && *seq < image.next(*lane);
        for (_, story) in self.account.committed() {
            if story.holders.contains(&who) && !story.keys.iter().any(knows) {
                story.holders.retain(|holder| *holder != who);
                story.off_disk = true;
            }
        }
        self.agents[who].outbox = image;
    }

    /// The disk of a box is copied, and both go on.
    fn copy_outbox(&mut self, who: usize) {
        self.tally.count(Fault::OutboxCopied);
        let copy = self.agents.len();
        self.agents.push(Agent::new(self.agents[who].outbox.clone()));
        for (_, story) in self.account.committed() {
            if story.holders.contains(&who) {
                story.holders.push(copy);
            }
        }
    }

    /// The county goes back to its last backup. What was on its way to it is lost with its session
    /// at the broker; acks of before may still come.
    fn restore_county(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.tally.count(Fault::CountyRestored);
        self.network.retain(|message| matches!(message, Message::Down(_)));
        let before = self.account.known(&self.county);
        self.county = backup;
        let after = self.account.known(&self.county);
        for (place, (before, after)) in iter::zip(before, after).enumerate() {
            if before && !after {
                self.account.story(u64::try_from(place).unwrap()).rolled_back = true;
            }
        }
    }

    fn check(&self) {
        let waits = |(outbox, lane, seq): &Key| {
            let has = |agent: &Agent| agent.outbox.rows.contains_key(&(*lane, *seq));
            self.agents.iter().any(|agent| agent.outbox.id == *outbox && has(agent))
        };
        self.account.check(&self.county, waits);
    }

    /// An agent that is not done, if there is one.
    fn restless(&self) -> usize {
        (0..self.agents.len()).find(|who| !self.is_settled(*who)).unwrap_or_default()
    }

    /// Nothing waits, and the county accounts for every number that was ever given.
    fn is_settled(&self, who: usize) -> bool {
        let outbox = &self.agents[who].outbox;
        let accounted = |lane: Lane| {
            let ledger = self.county.ledgers.get(&(outbox.id, lane));
            let watermark = ledger.and_then(|ledger| LaneLedger::settled(ledger).watermark());
            watermark.map_or(Seq::FIRST, Seq::next) == outbox.next(lane)
        };
        self.agents[who].is_quiet() && Lane::ALL.into_iter().all(accounted)
    }

    /// Without faults everything comes to rest, and then every record is accounted for.
    pub(crate) fn settle(&mut self) -> Ends {
        self.faults = false;
        let done = |world: &Self| (0..world.agents.len()).all(|who| world.is_settled(who));
        for _ in 0..QUIET_STEPS {
            self.step();
            if self.network.is_empty() && done(self) {
                return self.ends();
            }
        }
        let left: Vec<_> = self.agents.iter().map(|agent| &agent.outbox.unacked).collect();
        panic!("never settled: {left:?}, {} messages", self.network.len());
    }

    fn ends(&self) -> Ends {
        if [Fault::OutboxRestored, Fault::OutboxCopied].iter().all(|it| self.tally.of(*it) == 0) {
            assert_eq!(self.tally.of(Fault::StartedAnew), 0, "started anew for nothing");
            assert_eq!(self.county.conflicts, 0);
        }
        let in_use = |id| self.agents.iter().any(|agent| agent.outbox.id == id);
        self.account.ends(&self.county, in_use)
    }
}
