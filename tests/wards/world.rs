//! A ward, its box, the link and the county, second by second.

use crate::{
    edge::{Edge, state},
    lead::Lead,
    link::Link,
    script::{Script, Word, at, site},
};
use agent::proof::GoesBy;
use e2e::dice::Dice;
use gateway::proof::{County, Delivery, Notified};
use model::alert::InHand;
use rules::{
    alert::{AckReason, Alert, AlertId},
    engine::Action,
    rule::RuleSet,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// Time passes for the rules at both ends this often.
const TICK_S: i64 = 5;
/// As long as one person may put a high alert on the shelf.
const SHELF_S: i64 = 5 * 60;
/// After the last word, in steps of a minute: what waits for time alone has had it.
const AFTER_S: i64 = 100 * 60;

/// How a ward is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) link: Link,
    /// The agent is killed then.
    pub(crate) agent_killed: Vec<i64>,
    /// The county is stopped and started then.
    pub(crate) county_restarted: Vec<i64>,
    pub(crate) nurses: Nurses,
}

/// What nurses do.
#[derive(Clone, Debug)]
pub(crate) enum Nurses {
    /// There are none.
    None,
    /// They go by what they hear: at the board, or at the box while that is alone.
    Listen,
    /// What they did in another run.
    Again(Vec<Deed>),
}

/// Somebody did something about an alert.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    at: i64,
    id: AlertId,
    by: String,
    what: Act,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Act {
    Acknowledge,
    /// For [`SHELF_S`].
    Shelve,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) edge: BTreeMap<AlertId, Alert>,
    pub(crate) county: Vec<Value>,
    pub(crate) joined: BTreeMap<String, String>,
    pub(crate) notified: Vec<Notified>,
    pub(crate) deeds: Vec<Deed>,
    pub(crate) leads: Vec<Lead>,
    /// When each envelope that had readings came, by commit.
    pub(crate) late: usize,
}

struct World<'s> {
    script: &'s Script,
    plan: Plan,
    edge: Edge,
    county: County,
    connection: u64,
    /// Envelopes of the outbox that the link has.
    handed: usize,
    rules: Arc<RuleSet>,
    /// Somebody put a device on another patient, which the box was not told yet.
    has_moved: bool,
    /// What the box was told last of what somebody has in hand.
    in_hand: BTreeMap<AlertId, InHand>,
    done: BTreeSet<AlertId>,
    deeds: Vec<Deed>,
}

/// Runs a ward in that folder.
pub(crate) fn run(script: &Script, rules: &Arc<RuleSet>, folder: &Path, plan: Plan) -> Outcome {
    let county = County::new(folder, Arc::clone(rules), site()).unwrap();
    for patient in &script.patients {
        county.admit(at(0), &patient.key, patient.who.about()).unwrap();
    }
    let mut world = World {
        script,
        plan,
        edge: Edge::new(GoesBy {
            rules: (Arc::clone(rules), 1),
            bindings: rules::binding::BindingList::default(),
            profiles: BTreeMap::new(),
            in_hand: BTreeMap::new(),
        }),
        county,
        connection: 0,
        handed: 0,
        rules: Arc::clone(rules),
        has_moved: false,
        in_hand: BTreeMap::new(),
        done: BTreeSet::new(),
        deeds: Vec::new(),
    };
    world.open();
    let mut words = script.words.as_slice();
    for second in 1..script.end {
        let count = words.iter().take_while(|word| word.at <= second).count();
        let (said, rest) = words.split_at(count);
        words = rest;
        world.pass(second, said, words);
    }
    world.settle()
}

impl World<'_> {
    /// The devices are there and bound before anything is measured.
    fn open(&mut self) {
        self.hello(0);
        let script = self.script;
        let count = script.words.iter().take_while(|word| word.at == 0).count();
        let (said, rest) = script.words.split_at(count);
        self.pass(0, said, rest);
        for device in &script.devices {
            if let Some(patient) = &device.patient {
                self.county.bind(at(0), &device.id, patient).unwrap();
            }
        }
        self.tell_box(0);
    }

    /// The box hears what to go by.
    fn tell_box(&mut self, second: i64) {
        let (bindings, profiles) = self.county.ward(at(second)).unwrap();
        let (rules, in_hand) = ((Arc::clone(&self.rules), 1), self.in_hand.clone());
        self.edge.go_by(second, GoesBy { rules, bindings, profiles, in_hand });
    }

    fn hello(&mut self, second: i64) {
        self.connection += 1;
        let waiting = u64::try_from(self.plan.link.waiting()).unwrap();
        let hello = state(second, true, self.connection, [0, waiting, 0]);
        self.county.take(at(second), vec![Delivery::State(hello)]).unwrap();
    }

    fn pass(&mut self, second: i64, said: &[Word], rest: &[Word]) {
        if self.plan.agent_killed.contains(&second) {
            self.edge.restart(second);
        }
        if self.plan.county_restarted.contains(&second) {
            self.county.restart().unwrap();
        }
        let was_up = self.plan.link.is_up(second - 1);
        let is_up = self.plan.link.is_up(second);
        self.edge.look_at_link(second, is_up);
        if second > 0 && is_up && !was_up {
            self.hello(second);
        }
        if self.plan.link.is_given_up(second) {
            let will = state(second, false, self.connection, [0; 3]);
            self.county.take(at(second), vec![Delivery::State(will)]).unwrap();
        }
        self.move_devices(second);
        self.edge.pass(second, self.script, said, rest);
        let is_tick = second % TICK_S == 0;
        if is_tick {
            self.edge.pass_time(second);
        }
        let committed = &self.edge.outbox[self.handed..];
        // Time is as far as a box takes it with each envelope: ends differ by what they heard alone.
        if let Some(opened) = committed.iter().map(|kept| kept.envelope.opened_at).max() {
            self.county.pass_time(opened).unwrap();
        }
        self.plan.link.committed(committed);
        self.handed = self.edge.outbox.len();
        for batch in self.plan.link.deliver(second) {
            self.county.take(at(second), batch).unwrap();
        }
        if is_tick {
            self.county.pass_time(at(second)).unwrap();
            self.county.judge_late(at(second)).unwrap();
            self.people(second);
            self.tell_in_hand(second);
        }
    }

    /// Somebody puts devices on other patients, at the board; their box is told while it is heard.
    fn move_devices(&mut self, second: i64) {
        let script = self.script;
        for moved in script.moves.iter().filter(|moved| moved.at == second) {
            let device = &script.devices[moved.device];
            let before =
                script.moves.iter().rfind(|it| it.device == moved.device && it.at < second);
            if before.map_or(&device.patient, |before| &before.to).is_some() {
                self.county.unbind(at(second), &device.id).unwrap();
            }
            if let Some(patient) = &moved.to {
                self.county.bind(at(second), &device.id, patient).unwrap();
            }
            self.has_moved = true;
        }
        if self.has_moved && self.plan.link.is_up(second) {
            self.has_moved = false;
            self.tell_box(second);
        }
    }

    /// What somebody has in hand, its box is told while it is heard.
    fn tell_in_hand(&mut self, second: i64) {
        if matches!(self.plan.nurses, Nurses::None) || !self.plan.link.is_up(second) {
            return;
        }
        let present = self.county.in_hand(at(second)).unwrap();
        if present != self.in_hand {
            self.in_hand = present;
            self.tell_box(second);
        }
    }

    fn people(&mut self, second: i64) {
        match self.plan.nurses.clone() {
            Nurses::None => {}
            Nurses::Listen => self.listen(second),
            Nurses::Again(deeds) => {
                for deed in deeds.iter().filter(|deed| deed.at == second) {
                    self.act(deed);
                }
            }
        }
    }

    fn listen(&mut self, second: i64) {
        let due: Vec<AlertId> = self
            .edge
            .alerts
            .values()
            .filter(|alert| {
                let [goes, waits, ..] = *alert.id.as_bytes();
                let raised = crate::script::second(alert.raised_at);
                let is_due = second >= raised + 10 + i64::from(waits);
                goes % 5 < 4 && is_due && !self.done.contains(&alert.id)
            })
            .map(|alert| alert.id)
            .collect();
        for id in due {
            let [goes, _, who, ..] = *id.as_bytes();
            let by = format!("nurse-{}", who % 3);
            let what = if goes % 5 == 3 { Act::Shelve } else { Act::Acknowledge };
            let deed = Deed { at: second, id, by, what };
            let done = match (self.edge.is_alone, what) {
                (true, Act::Acknowledge) => self.edge.acknowledge(second, id, &deed.by),
                _ => self.plan.link.is_up(second) && self.act(&deed),
            };
            if done {
                self.done.insert(id);
                self.deeds.push(deed);
            }
        }
    }

    /// At the board, where an alert may be known as part of another.
    fn act(&self, deed: &Deed) -> bool {
        let now = at(deed.at);
        let act = |id| {
            let action = match deed.what {
                Act::Acknowledge => {
                    Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() }
                }
                Act::Shelve => Action::Shelve {
                    reason: "at the bed".to_owned(),
                    until: at(deed.at + SHELF_S),
                    second: None,
                },
            };
            self.county.act(now, id, &deed.by, action).unwrap()
        };
        let joined = || {
            let joined = self.county.joined().unwrap();
            joined.get(&deed.id.to_string()).and_then(|id| AlertId::from_hex(id))
        };
        act(deed.id) || joined().is_some_and(act)
    }

    /// Everything arrives, and time does what it does.
    fn settle(mut self) -> Outcome {
        let mut second = self.script.end;
        self.plan.link.mend(second);
        let until = second + AFTER_S;
        while second < until {
            self.pass(second, &[], &[]);
            // Nothing more is said: minutes suffice.
            second = if self.plan.link.waiting() == 0 && second > self.script.end + 60 {
                second + 60 - second % 60
            } else {
                second + 1
            };
        }
        let devices = &self.script.devices;
        let mut leads = self.plan.link.leads;
        for lead in &mut leads {
            let device = devices.iter().find(|device| device.id == lead.whose).unwrap();
            device.subject().clone_into(&mut lead.whose);
        }
        Outcome {
            county: self.county.alerts().unwrap(),
            joined: self.county.joined().unwrap(),
            notified: self.county.notified().unwrap(),
            deeds: self.deeds,
            edge: self.edge.alerts,
            late: self.plan.link.late,
            leads,
        }
    }
}

/// Seconds at which something happens now and then.
pub(crate) fn now_and_then(dice: &mut Dice, end: i64, most: u64) -> Vec<i64> {
    let count = dice.below(most + 1);
    let end = u64::try_from(end).unwrap();
    (0..count).map(|_| i64::try_from(1 + dice.below(end - 1)).unwrap()).collect()
}
