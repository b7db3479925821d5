//! The link between box and county, which fails: what is delivered, when, and in which order.
//!
//! The box sends as the uplink's protocol says ("What the sender does"); envelopes are lost and sent
//! again, doubled, and overtake each other.

use crate::{edge::Kept, lead::Lead, script};
use e2e::dice::Dice;
use gateway::proof::Delivery;
use model::{
    alarm::{AlarmKind, AlarmPhase},
    id::Lane,
    record::Record,
};
use std::collections::VecDeque;

/// What is the present: since the link came up, and so long before.
const NEWEST_S: i64 = 300;
/// What is fresh, of streams: what comes later came late.
const FRESH_S: i64 = 60;

/// A link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    dice: Dice,
    /// From when to when it is away.
    outages: Vec<(i64, i64)>,
    /// So many seconds after it failed the county is told so.
    told_after_s: i64,
    /// Envelopes in a hundred that are doubled; a third as many are lost where the link fails.
    faults: u64,
    /// Envelopes that go through in a second.
    rate: usize,
    waits: VecDeque<Kept>,
    delivered: Vec<Kept>,
    pub(crate) late: usize,
    pub(crate) leads: Vec<Lead>,
}

impl Link {
    /// One that never fails.
    pub(crate) fn sound() -> Self {
        Self {
            dice: Dice::new(0),
            outages: Vec::new(),
            told_after_s: 0,
            faults: 0,
            rate: usize::MAX,
            waits: VecDeque::new(),
            delivered: Vec::new(),
            late: 0,
            leads: Vec::new(),
        }
    }

    /// One that never fails and says everything twice, now and then.
    pub(crate) fn doubling(dice: &mut Dice) -> Self {
        Self { dice: Dice::new(dice.below(u64::MAX >> 33)), faults: 30, ..Self::sound() }
    }

    /// One that is away for seconds up to most of the time.
    pub(crate) fn failing(dice: &mut Dice, end: i64) -> Self {
        let span = |dice: &mut Dice, from: i64, until: i64| {
            from + i64::try_from(dice.below(u64::try_from((until - from).max(1)).unwrap())).unwrap()
        };
        let mut outages = Vec::new();
        let mut second = span(dice, 20, end / 2);
        while second < end - 60 && outages.len() < 3 {
            let length = match dice.below(4) {
                0 => span(dice, 3, 15),
                1 => span(dice, 15, 90),
                2 => span(dice, 60, 700),
                _ => span(dice, 600, 3000),
            };
            let until = (second + length).min(end - 40);
            outages.push((second, until));
            second = until + span(dice, 30, 600);
        }
        Self {
            outages,
            told_after_s: span(dice, 1, 60),
            faults: [0, 5, 20][usize::try_from(dice.below(3)).unwrap()],
            rate: [5, 30, 200][usize::try_from(dice.below(3)).unwrap()],
            ..Self::doubling(dice)
        }
    }

    pub(crate) fn outages(&self) -> &[(i64, i64)] {
        &self.outages
    }

    pub(crate) fn is_up(&self, second: i64) -> bool {
        !self.outages.iter().any(|(from, until)| (*from..*until).contains(&second))
    }

    /// Whether the county gives the box up at that second.
    pub(crate) fn is_given_up(&self, second: i64) -> bool {
        let told =
            |(from, until): &(i64, i64)| from + self.told_after_s == second && second < *until;
        self.outages.iter().any(told)
    }

    /// From then on it is up.
    pub(crate) fn mend(&mut self, second: i64) {
        self.outages.retain(|(from, _)| *from < second);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waits.len()
    }

    pub(crate) fn committed(&mut self, envelopes: &[Kept]) {
        self.waits.extend(envelopes.iter().cloned());
    }

    /// Urgent envelopes first, oldest first; of the others the newest of the present, and with every
    /// fourth turn the oldest.
    fn order(&mut self, second: i64) -> Vec<Kept> {
        let is_urgent = |kept: &Kept| kept.envelope.lane == Lane::Urgent;
        let (mut order, rest): (Vec<_>, Vec<_>) = self.waits.drain(..).partition(is_urgent);
        let up_since =
            self.outages.iter().map(|(_, until)| *until).filter(|until| *until <= second);
        let present = up_since.max().unwrap_or(second) - NEWEST_S;
        let mut rest = VecDeque::from(rest);
        for turn in 0.. {
            let newest = rest.back().is_some_and(|kept| kept.committed >= present);
            let next = if newest && turn % 4 > 0 { rest.pop_back() } else { rest.pop_front() };
            let Some(next) = next else { break };
            order.push(next);
        }
        order
    }

    /// What arrives at that second, each part in a transaction of its own.
    pub(crate) fn deliver(&mut self, second: i64) -> Vec<Vec<Delivery>> {
        if !self.is_up(second) || self.waits.is_empty() {
            return Vec::new();
        }
        let is_backlog = self.waits.len() > 20;
        let order = self.order(second);
        // Before anything is measured nothing goes wrong.
        let (faults, rate) = if second == 0 { (0, usize::MAX) } else { (self.faults, self.rate) };
        let losses = if self.outages.is_empty() { 0 } else { faults / 3 };
        let mut is_held_up = false;
        let mut came = Vec::new();
        for kept in order {
            let is_urgent = kept.envelope.lane == Lane::Urgent;
            let is_lost = came.len() >= rate || self.dice.below(100) < losses;
            is_held_up |= is_urgent && is_lost;
            if is_lost || (is_urgent && is_held_up) {
                self.waits.push_back(kept); // Sent again with the next.
                continue;
            }
            if self.dice.below(100) < faults {
                came.push(kept.clone());
            }
            if self.dice.below(100) < faults && !self.delivered.is_empty() {
                let count = u64::try_from(self.delivered.len()).unwrap();
                let again = usize::try_from(self.dice.below(count)).unwrap();
                came.push(self.delivered[again].clone());
            }
            came.push(kept);
        }
        self.waits.make_contiguous().sort_by_key(|kept| kept.committed);
        self.late += came.iter().filter(|kept| second - kept.committed > FRESH_S).count();
        for record in came.iter().flat_map(|kept| &kept.envelope.records) {
            self.note_lead(second, record);
        }
        self.delivered.extend(came.iter().cloned());
        let delivery = |kept: &Kept| Delivery::Envelope(kept.envelope.lane, kept.envelope.encode());
        let part = if is_backlog { self.rate } else { 1 };
        came.chunks(part).map(|part| part.iter().map(delivery).collect()).collect()
    }

    fn note_lead(&mut self, heard: i64, record: &Record) {
        let Record::Alarm(alarm) = record else { return };
        let (whose, at) = (alarm.device.to_string(), script::second(alarm.observed.at));
        let is_off = alarm.phase == AlarmPhase::Start;
        let is_known = self.leads.iter().any(|known| (&known.whose, known.at) == (&whose, at));
        if alarm.kind == AlarmKind::LeadOff && !is_known {
            let back = self.outages.iter().map(|(_, until)| *until).filter(|back| *back <= heard);
            let open = back.max().unwrap_or(at).max(at);
            self.leads.push(Lead { whose, is_off, at, open, heard });
        }
    }
}

/// A moment as a story tells it.
pub(crate) fn told(second: i64) -> String {
    format!("{}:{:02}", second / 60, second % 60)
}
