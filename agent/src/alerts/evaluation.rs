//! The rules and what they know of each subject at the box: a patient, or a device of nobody.
//!
//! Not here: where records come from (`rows`), who is told (`signal`).
//!
//! # Invariants
//! - envelopes are judged by the time at which they were opened: seen again after a restart they
//!   say what they said
//! - a clock that was set costs no alert: those that are open stay, unknown until something speaks
//!   for them
//! - what the county says of devices and patients holds by the county's clock, as far as that is
//!   known; what was measured and what alerts wait for goes by the box's own
//! - what is remembered is bounded: of whom nothing is known any more, nothing is

use model::{
    alert::InHand,
    device::DeviceKind,
    id::{DeviceId, SiteId},
    record::Record,
    time::{Now, WallTime},
};
use rules::{
    alert::{AckReason, Alert, AlertId},
    binding::{BindingList, PatientKey, Subject},
    engine::{ActionError, Before, Engine, ReadingInput},
    freshness::{BoxTime, Clocks, Freshness, Position},
    population::Profile,
    rule::RuleSet,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use uplink_proto::envelope::Envelope;

use super::{
    county_clock::CountyClock,
    kept::{Kept, KeptAt},
    newest::Newest,
};

/// Devices of a box: 64 that are configured, the pumps and meters behind their stations, and the
/// patients whose they are.
const SUBJECTS_MAX: usize = 512;
/// Alarms of devices that are told as left out, until the agent starts again: some devices with many
/// more than are held.
const LEFT_OUT_MAX: usize = 512;
/// A clock that was set by more than this is another clock (metric catalogue, `clock_offset`).
const CLOCK_SET_MS: u64 = 2_000;

/// By what devices are judged, and as whose.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) rules: Arc<RuleSet>,
    pub(super) bindings: BindingList,
    pub(super) profiles: BTreeMap<PatientKey, Profile>,
    /// What somebody at the county has in hand.
    pub(super) in_hand: BTreeMap<AlertId, InHand>,
    /// When the county made all that, by its clock.
    pub(super) made_at: Option<WallTime>,
}

/// Rules, rule states, and the newest values.
#[derive(Debug)]
pub(super) struct Evaluation {
    site: SiteId,
    order: Order,
    engines: BTreeMap<Subject, Engine>,
    /// Whose each device is that was heard, and is known.
    whose: BTreeMap<DeviceId, Subject>,
    kinds: BTreeMap<DeviceId, DeviceKind>,
    newest: Newest,
    county: CountyClock,
    /// By which clock the states are.
    looked: Option<KeptAt>,
    /// What changed beside the question.
    changed: Vec<Alert>,
    /// There were more subjects than can be known at once, and it was told.
    is_full: bool,
    /// Alarms of devices that made room for others, and of which it was told.
    left_out: BTreeSet<(DeviceId, String)>,
}

impl Evaluation {
    /// Goes on from the states that were kept.
    pub(super) fn new(site: SiteId, order: Order, kept: &Kept) -> Self {
        let engine = |(name, state): (&String, &Value)| {
            let subject = Subject::from_name(&site, name)?;
            let engine = serde_json::from_value(state.clone()).unwrap_or_else(|error| {
                tracing::error!(subject = name, %error,
                    "Rule states cannot be read; they begin anew with the open alerts.");
                Engine::rescued(site.clone(), subject.clone(), &state.to_string())
            });
            Some((subject, engine))
        };
        let engines = kept.engines.iter().filter_map(engine).collect();
        let (kinds, whose) = (kept.kinds.clone(), kept.whose.clone());
        let (newest, changed) = (Newest::default(), Vec::new());
        let (county, looked) = (kept.county, kept.kept_at);
        let (is_full, left_out) = (false, BTreeSet::new());
        Self {
            site,
            order,
            engines,
            whose,
            kinds,
            newest,
            county,
            looked,
            changed,
            is_full,
            left_out,
        }
    }

    /// Before anything signals: what people at the county had in hand by the last policy; hands out
    /// the alerts that changed.
    pub(super) fn begin(&mut self, now: Now) -> Vec<Alert> {
        self.look_at_clock(now);
        self.hear_clock(now, self.order.made_at);
        // What the last policy said of patients may not have been kept with the states.
        for (subject, engine) in &mut self.engines {
            if let Some(profile) = subject.patient().and_then(|key| self.order.profiles.get(key)) {
                engine.meet_profile(profile.clone());
            }
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(self.hear_county(now.wall));
        changed
    }

    /// What it is by the county's clock, as far as that policy tells.
    pub(super) fn hear_clock(&mut self, now: Now, made_at: Option<WallTime>) {
        if let Some(made_at) = made_at {
            self.county.hear(now, made_at);
        }
        self.follow_county();
    }

    /// Profiles are of the county's clock.
    fn follow_county(&mut self) {
        let ahead_ms = self.county.ahead_ms();
        self.engines.values_mut().for_each(|engine| engine.set_profile_ahead(ahead_ms));
    }

    /// What of the county's clock has to be kept.
    pub(super) fn county(&self, now: Now) -> CountyClock {
        self.county.kept(now)
    }

    /// From here on that holds; hands out the alerts that changed.
    pub(super) fn go_by(&mut self, now: WallTime, order: Order) -> Vec<Alert> {
        self.order = order;
        let mut changed = Vec::new();
        for (subject, engine) in &mut self.engines {
            if let Some(profile) = subject.patient().and_then(|key| self.order.profiles.get(key))
                && engine.profile() != profile
            {
                changed.extend(engine.set_profile(&self.order.rules, now, profile.clone()));
            }
        }
        changed.extend(self.rebind(now));
        changed.append(&mut self.changed);
        changed.extend(self.hear_county(now));
        self.forget_discharged();
        changed
    }

    /// What has to be kept of it.
    pub(super) fn states(&self) -> BTreeMap<String, &Engine> {
        self.engines.iter().map(|(subject, engine)| (subject.name(&self.site), engine)).collect()
    }

    /// Takes in what was committed; hands out the alerts that changed.
    pub(super) fn take(&mut self, now: Now, envelope: &Envelope) -> Vec<Alert> {
        self.look_at_clock(now);
        let uptime = envelope.uptime.filter(|uptime| uptime.boot == now.uptime.boot);
        let (of_box, was) = match uptime {
            Some(uptime) => {
                let ago_ms = now.uptime.ms_after(uptime);
                let was = WallTime::from_unix_ms(now.wall.unix_ms().saturating_sub(ago_ms));
                (Clocks::of_box(BoxTime::Opened { said: envelope.opened_at, was }), was)
            }
            None => {
                let was = envelope.opened_at.min(now.wall);
                (Clocks::of_box(BoxTime::Ahead { ms: 0 }), was)
            }
        };
        // Records come after their envelope was opened.
        let heard = |record: &Record| of_box.observed(record.observed().at, now.wall).at;
        let at = envelope.records.iter().map(heard).fold(was, WallTime::max).min(now.wall);
        // What time did before it was opened comes first, as it did when it was written.
        let mut changed = self.on_time(was);
        let mut readings = Vec::new();
        for (place, record) in (0..).zip(&envelope.records) {
            let position = position(envelope, place);
            match record {
                Record::Readings(group) => readings.push((position, group)),
                Record::Alarm(alarm) => {
                    let said = of_box.observed(alarm.observed.at, at);
                    // Its device may have left whom it was about before this is judged.
                    let then = self.subject_at(&alarm.device, said.at);
                    let has_left = then != self.subject_at(&alarm.device, at);
                    let before = has_left.then(|| Before { came: at, of: then.patient().cloned() });
                    if let Some((engine, rules)) = self.engine(&alarm.device, at, at) {
                        let left_out = engine.left_out_for(alarm).map(str::to_owned);
                        let before = before.as_ref();
                        changed.extend(engine.on_alarm_of(rules, at, said, before, alarm));
                        self.say_left_out(&alarm.device, left_out);
                    }
                }
                Record::Status(status) => {
                    let said = of_box.observed(status.observed.at, at);
                    if let Some((engine, rules)) = self.engine(&status.device, said.at, at) {
                        let told = engine.on_status(rules, at, said, position, status);
                        changed.extend(told.unwrap_or_default());
                        self.kinds.insert(status.device.clone(), status.kind);
                    }
                }
                Record::Started(_) => {
                    self.engines.values_mut().for_each(|engine| engine.doubt_alarms(at));
                }
                // Since the box was switched on the clocks themselves say it.
                Record::Clock(change) => {
                    let set_ms = change.observed.at.unix_ms().abs_diff(change.before.unix_ms());
                    if uptime.is_none() && set_ms > CLOCK_SET_MS {
                        self.begin_anew(at, 0);
                    }
                }
                // What this box told itself is no news to it.
                Record::Waveform(_) | Record::Dropped(_) | Record::Action(_) | Record::Alert(_) => {
                }
            }
        }
        let mut judged = Vec::new();
        for (position, group) in readings {
            let Some((engine, _)) = self.engine(&group.device, at, at) else { continue };
            let t_meas = engine.clocks(group, of_box, at).measured(group, at);
            judged.push((t_meas, position, group));
        }
        judged.sort_by_key(|(t_meas, position, _)| (t_meas.at, *position));
        for (t_meas, _, group) in judged {
            self.newest.take(now, t_meas, group);
            let freshness = Freshness::of(group, t_meas, at);
            if let Some((engine, rules)) = self.engine(&group.device, t_meas.at, at) {
                let input = ReadingInput { group, t_meas, freshness };
                changed.extend(engine.on_readings(rules, at, input));
            }
        }
        changed.append(&mut self.changed);
        // The county may have been first.
        if !changed.is_empty() {
            changed.extend(self.hear_county(at));
        }
        changed
    }

    /// Lets time pass; hands out the alerts that changed.
    pub(super) fn pass_time(&mut self, now: Now) -> Vec<Alert> {
        self.look_at_clock(now);
        // A binding may end by itself.
        let mut changed = self.rebind(now.wall);
        changed.extend(self.on_time(now.wall));
        changed.append(&mut self.changed);
        changed
    }

    fn hear_county(&mut self, now: WallTime) -> Vec<Alert> {
        // A shelf ends when its time is over at the county.
        let here = |county| self.county.here(county);
        let engines = self.engines.values_mut();
        engines.flat_map(|engine| engine.hear_county(now, &self.order.in_hand, here)).collect()
    }

    /// A person at the box has an alert in hand.
    pub(super) fn acknowledge(
        &mut self,
        id: AlertId,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
    ) -> Result<Alert, ActionError> {
        let holds = |engine: &&mut Engine| engine.alerts().any(|alert| alert.id == id);
        let engine = self.engines.values_mut().find(holds).ok_or(ActionError::NotFound)?;
        engine.acknowledge(id, by, reason, note, now)
    }

    /// Alerts that are not closed.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.engines.values().flat_map(Engine::alerts)
    }

    /// These, and closed ones that may come back.
    pub(super) fn remembered(&self) -> impl Iterator<Item = &Alert> {
        self.engines.values().flat_map(Engine::remembered)
    }

    pub(super) const fn newest(&self) -> &Newest {
        &self.newest
    }

    pub(super) const fn kinds(&self) -> &BTreeMap<DeviceId, DeviceKind> {
        &self.kinds
    }

    pub(super) const fn whose(&self) -> &BTreeMap<DeviceId, Subject> {
        &self.whose
    }

    pub(super) fn rules_version(&self) -> &str {
        self.order.rules.version()
    }

    /// What the rules know of whom that device was about at that moment; under the name of the site
    /// they would know the box.
    fn engine(
        &mut self,
        device: &DeviceId,
        at: WallTime,
        now: WallTime,
    ) -> Option<(&mut Engine, &RuleSet)> {
        if device.as_str() == self.site.as_str() {
            return None;
        }
        let subject = self.subject_at(device, at);
        self.engine_of(subject.clone(), now)?;
        if !self.whose.contains_key(device) {
            let present = self.subject_at(device, now);
            self.whose.insert(device.clone(), present);
        }
        Some((self.engines.get_mut(&subject)?, &self.order.rules))
    }

    /// That an alarm of a device made room for another one is told once, however often a device
    /// says all of them again.
    fn say_left_out(&mut self, device: &DeviceId, alarm: Option<String>) {
        let Some(alarm) = alarm.filter(|_| self.left_out.len() < LEFT_OUT_MAX) else { return };
        if self.left_out.insert((device.clone(), alarm.clone())) {
            tracing::warn!(%device, left_out = alarm,
                "A device has more alarms up than are held; one makes room that is told by others.");
        }
    }

    /// Whom a device is about at that moment of the box's clock.
    fn subject_at(&self, device: &DeviceId, at: WallTime) -> Subject {
        self.order.bindings.subject_at(device, self.county.there(at))
    }

    fn engine_of(&mut self, subject: Subject, now: WallTime) -> Option<&mut Engine> {
        if !self.engines.contains_key(&subject) {
            if self.engines.len() >= SUBJECTS_MAX && !self.forget_idle() {
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::error!(
                        max = SUBJECTS_MAX,
                        "Too many devices have open alerts; no rule runs for others."
                    );
                }
                return None;
            }
            self.is_full = false;
            let mut engine = Engine::new(self.site.clone(), subject.clone());
            engine.set_profile_ahead(self.county.ahead_ms());
            let profile = subject.patient().and_then(|key| self.order.profiles.get(key));
            if let Some(profile) = profile {
                self.changed.extend(engine.set_profile(&self.order.rules, now, profile.clone()));
            }
            self.engines.insert(subject.clone(), engine);
        }
        self.engines.get_mut(&subject)
    }

    /// Forgets who was heard the longest ago and has no open alert: a meter that was here once.
    /// Whether there was one.
    fn forget_idle(&mut self) -> bool {
        let idle = self.engines.iter().filter(|(_, engine)| engine.alerts().next().is_none());
        let oldest = idle.min_by_key(|(_, engine)| engine.heard_at());
        let Some(oldest) = oldest.map(|(subject, _)| subject.clone()) else { return false };
        self.engines.remove(&oldest);
        self.whose.retain(|_, subject| *subject != oldest);
        self.forget_kinds();
        true
    }

    /// Forgets patients that no binding names and no alert is open of.
    fn forget_discharged(&mut self) {
        let listed: BTreeSet<&PatientKey> =
            self.order.bindings.bindings().iter().map(|binding| &binding.patient).collect();
        self.engines.retain(|subject, engine| {
            subject.patient().is_none_or(|key| listed.contains(key))
                || engine.alerts().next().is_some()
        });
        let engines = &self.engines;
        self.whose.retain(|_, subject| engines.contains_key(subject));
        self.forget_kinds();
    }

    fn forget_kinds(&mut self) {
        let whose = &self.whose;
        self.kinds.retain(|device, _| whose.contains_key(device));
    }

    /// Where the patient of an alert lies now.
    pub(super) fn bed_of(&self, alert: &Alert, now: WallTime) -> Option<&str> {
        let there = self.county.there(now);
        self.order.bindings.bed_of(alert.patient.as_ref()?, &alert.device, there)
    }

    fn on_time(&mut self, now: WallTime) -> Vec<Alert> {
        let rules = &self.order.rules;
        let due = self
            .engines
            .values_mut()
            .filter(|engine| engine.next_deadline(rules).is_some_and(|deadline| deadline <= now));
        due.flat_map(|engine| engine.on_time(rules, now)).collect()
    }

    /// Devices that are somebody else's now leave and join; hands out the alerts that changed.
    fn rebind(&mut self, now: WallTime) -> Vec<Alert> {
        let is_moved = |(device, subject): (&DeviceId, &Subject)| {
            let present = self.subject_at(device, now);
            (present != *subject).then(|| (device.clone(), subject.clone(), present))
        };
        let moves: Vec<_> = self.whose.iter().filter_map(is_moved).collect();
        let mut changed = Vec::new();
        for (device, before, present) in moves {
            self.whose.insert(device.clone(), present.clone());
            let rules = Arc::clone(&self.order.rules);
            let Some(engine) = self.engines.get_mut(&before) else { continue };
            let (moved, ended) = engine.device_left(&rules, now, now, &device, "rebound");
            changed.extend(ended);
            if let Some(engine) = self.engine_of(present, now) {
                changed.extend(engine.device_joined(now, now, moved));
            }
        }
        changed
    }

    /// That somebody set the clock is no time that passed.
    fn look_at_clock(&mut self, now: Now) {
        let looked = self.looked.replace(KeptAt::of(now));
        let set_ms = looked.map_or(0, |looked| looked.set_until(now));
        self.county.look(now, set_ms);
        self.follow_county();
        if set_ms.unsigned_abs() > CLOCK_SET_MS {
            tracing::warn!(set_ms, "The clock was set; rules begin anew with the open alerts.");
            self.begin_anew(now.wall, set_ms);
            let heard = self.hear_county(now.wall);
            self.changed.extend(heard);
        }
    }

    /// The times that the states speak of are of a clock that was set by so much.
    fn begin_anew(&mut self, now: WallTime, by_ms: i64) {
        for (subject, engine) in &mut self.engines {
            let state = serde_json::to_string(engine).unwrap_or_default();
            let profile = engine.profile().clone();
            *engine = Engine::rescued(self.site.clone(), subject.clone(), &state);
            engine.set_clock_by(by_ms);
            engine.set_profile_ahead(self.county.ahead_ms());
            self.changed.extend(engine.set_profile(&self.order.rules, now, profile));
        }
    }
}

fn position(envelope: &Envelope, index: u32) -> Position {
    Position { outbox: envelope.outbox, lane: envelope.lane, seq: envelope.seq, index }
}
