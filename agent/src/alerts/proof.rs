//! The rules of a box as a proof drives them: envelopes in, changed alerts and what the county is
//! told of them out, by the proof's own clock. Nothing of the program uses this.

use super::{
    Known, Standing,
    evaluation::{Evaluation, Order},
    kept::Kept,
    report::Reporter,
};
use model::{
    alert::{EdgeAlert, InHand},
    device::DeviceKind,
    id::{DeviceId, SiteId},
    time::{Now, Observed, WallTime},
};
use rules::{
    alert::{AckReason, Alert, AlertId},
    binding::{BindingList, PatientKey, Subject},
    engine::ActionError,
    population::Profile,
    rule::RuleSet,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use uplink_proto::envelope::Envelope;

/// What a box goes by.
#[derive(Clone, Debug)]
pub struct GoesBy {
    /// The rules, and the number the county gave them.
    pub rules: (Arc<RuleSet>, u64),
    /// Whose each device is.
    pub bindings: BindingList,
    /// What decides about the rules of each patient.
    pub profiles: BTreeMap<PatientKey, Profile>,
    /// What somebody at the county has in hand.
    pub in_hand: BTreeMap<AlertId, InHand>,
}

/// What is on a box's disk of its rules.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    engines: BTreeMap<String, Value>,
    kinds: BTreeMap<DeviceId, DeviceKind>,
    whose: BTreeMap<DeviceId, Subject>,
}

/// The rules at work at a box.
pub struct Rules {
    evaluation: Evaluation,
    goes_by: GoesBy,
    known: BTreeMap<AlertId, Known>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Rules").field("evaluation", &self.evaluation).finish_non_exhaustive()
    }
}

impl Rules {
    /// Goes on from what is on disk.
    #[must_use]
    pub fn new(site: SiteId, goes_by: GoesBy, disk: &Disk) -> Self {
        let Disk { engines, kinds, whose } = disk.clone();
        let kept = Kept { engines, kinds, whose, ..Kept::default() };
        let evaluation = Evaluation::new(site, order(&goes_by), &kept);
        let known = evaluation.remembered().map(|alert| (alert.id, Known::of(alert))).collect();
        Self { evaluation, goes_by, known }
    }

    /// What it would write to disk now.
    #[must_use]
    pub fn disk(&self) -> Disk {
        let states = self.evaluation.states().into_iter();
        Disk {
            engines: states
                .filter_map(|(name, engine)| Some((name, serde_json::to_value(engine).ok()?)))
                .collect(),
            kinds: self.evaluation.kinds().clone(),
            whose: self.evaluation.whose().clone(),
        }
    }

    /// From here on it goes by that; the alerts that changed.
    pub fn go_by(&mut self, now: WallTime, goes_by: GoesBy) -> Vec<Alert> {
        self.goes_by = goes_by;
        self.evaluation.go_by(now, order(&self.goes_by))
    }

    /// Takes in what was committed; the alerts that changed.
    pub fn take(&mut self, now: Now, envelope: &Envelope) -> Vec<Alert> {
        self.evaluation.take(now, envelope)
    }

    /// Lets time pass; the alerts that changed.
    pub fn pass_time(&mut self, now: Now) -> Vec<Alert> {
        self.evaluation.pass_time(now)
    }

    /// A person at the box has an alert in hand.
    ///
    /// # Errors
    /// When there is none, or somebody was first.
    pub fn acknowledge(
        &mut self,
        id: AlertId,
        by: &str,
        now: WallTime,
    ) -> Result<Alert, ActionError> {
        self.evaluation.acknowledge(id, by, AckReason::AtBedside, "", now)
    }

    /// What the county is told of alerts that changed, where that is news.
    pub fn report(&mut self, observed: Observed, changed: &[Alert]) -> Vec<EdgeAlert> {
        let reporter = Reporter {
            rule_set: self.goes_by.rules.1,
            bindings: self.goes_by.bindings.version(),
            observed,
        };
        let mut told = Vec::new();
        for alert in changed {
            let before = self.known.insert(alert.id, Known::of(alert));
            if before.as_ref().is_some_and(|known| known.standing == Standing::of(alert)) {
                continue;
            }
            told.extend(reporter.since(alert, before.as_ref()));
        }
        told
    }
}

fn order(GoesBy { rules: (rules, _), bindings, profiles, in_hand }: &GoesBy) -> Order {
    Order {
        rules: Arc::clone(rules),
        bindings: bindings.clone(),
        profiles: profiles.clone(),
        in_hand: in_hand.clone(),
        made_at: None,
    }
}
