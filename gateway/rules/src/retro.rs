//! The pass over late readings: what a device said while nobody heard it is judged by itself, and
//! becomes alerts that do not sound (alert rules, "Late, backfilled and out-of-order data").
//!
//! A scratch [`Engine`] judges the readings in the order in which they were measured, late and fresh
//! ones, each at its own time: it sees what a county sees that had no outage. What it finds is held
//! against the alerts that there are.
//!
//! Not here: when a pass is due, and where readings are kept.
//!
//! # Invariants
//! - the same readings give the same, in whatever order and pieces they came
//! - of what came late nothing sounds but what holds still (row 4); live states stay as they are
//! - an episode that has an alert gets no second one

use crate::{
    alert::{Alert, AlertId, AlertState, People, TimelineEvent},
    engine::{
        Engine, ReadingInput,
        late::{HOLDS_ROW, Standing, is_same_episode},
    },
    freshness::{Freshness, Moment},
    population::{Entry, Profile},
    rule::{Pace, RuleSet},
};
use model::{
    alarm::{DeviceAlarm, Priority},
    decimal::Decimal,
    id::DeviceId,
    metric::{Kind, Metric},
    reading::ReadingGroup,
    time::WallTime,
};
use std::collections::BTreeMap;

/// How long before the first late reading the pass begins: what completes a rule of two classes may
/// be an hour old, and a first cuff value that waits to be confirmed half an hour.
pub const WARM_UP_MS: i64 = 3_600_000;
/// And how long behind the last one it ends, of what repeats: the longest sustain takes two minutes,
/// the longest hold one, and what comes back within five minutes is the same.
pub const RUN_OUT_MS: i64 = 10 * 60_000;

const LATE_ROW: u8 = 2;
const BACKFILL_ROW: u8 = 3;
const OVER_ROW: u8 = 6;

/// A pass that is under way.
#[derive(Debug)]
pub struct Pass {
    engine: Engine,
    /// `t_meas` of the first and the last reading that came late, of the last of them that was
    /// judged, and of the last of all.
    since: WallTime,
    late_end: WallTime,
    late_until: WallTime,
    until: WallTime,
    found: BTreeMap<AlertId, LateEpisode>,
}

/// An episode as somebody sees it who heard everything in time.
#[derive(Clone, Debug)]
pub struct LateEpisode {
    /// Its alert.
    pub alert: Alert,
    /// Class of the reading by which it became what it is.
    freshness: Freshness,
    /// It was raised by the first late reading, or after that.
    pub(crate) began_late: bool,
    /// The highest priority that held since the first late reading, and from when on.
    pub(crate) peak: Option<(Priority, WallTime)>,
    /// The same of what began before the last late reading.
    late_peak: Option<(Priority, WallTime)>,
    /// What held from when on since the first late reading: all of it, and what began before the
    /// last late reading.
    turns: Vec<(WallTime, [Option<Priority>; 2])>,
    /// Its box told of it.
    is_told: bool,
    /// When it was seen to hold last.
    held_at: WallTime,
    /// The value furthest outside.
    worst: Option<Worst>,
}

/// The value furthest outside a rule's limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Worst {
    /// The device that measured it.
    pub device: DeviceId,
    /// The rule.
    pub rule: String,
    /// Its priority.
    pub priority: Priority,
    /// What was measured.
    pub metric: Option<Metric>,
    /// As printed.
    pub value: String,
    /// `<` or `>` before the value.
    pub comparator: Option<String>,
    /// When.
    pub at: WallTime,
    limit: Option<String>,
}

/// An alert that there is already.
#[derive(Clone, Debug)]
pub struct KnownAlert {
    /// Its id.
    pub id: AlertId,
    /// What it is about.
    pub family: String,
    /// The device that it names.
    pub device: DeviceId,
    /// `t_meas` of its first reading outside, as far as is known.
    pub started_at: WallTime,
    /// When it was over.
    pub cleared_at: Option<WallTime>,
    /// Whether it came of an earlier pass and never sounded.
    pub retro: bool,
}

impl KnownAlert {
    /// Whether it is of the same family; a technical one is its device's.
    fn is_of(&self, rules: &RuleSet, alert: &Alert) -> bool {
        let is_own = || self.device == alert.device || !rules.is_technical(&alert.family);
        self.family == alert.family && is_own()
    }
}

/// What came of a pass.
#[derive(Debug, Default)]
pub struct Settled {
    /// Alerts that were made or changed.
    pub changed: Vec<Alert>,
    /// Of them those that were made, and how many more the worst of their rule stand for.
    pub made: u32,
    /// Episodes of which another alert of the same rule is told.
    pub left_out: u32,
    /// Ids of episodes that are part of an alert with another id: that one is the second.
    pub joined: Vec<(AlertId, AlertId)>,
    /// Of each rule the worst value that came late.
    pub worst: Vec<Worst>,
}

impl Pass {
    /// Begins where nothing was judged yet of the subject of that engine; its first late reading was
    /// measured `since`, and after `late_end` all was heard in time.
    #[must_use]
    pub fn new(live: &Engine, since: WallTime, late_end: WallTime) -> Self {
        let (late_until, until, found) = (since, since, BTreeMap::new());
        Self { engine: live.unjudged(), since, late_end, late_until, until, found }
    }

    /// The next reading group in the order of `t_meas`, from [`WARM_UP_MS`] before the first that
    /// was late.
    pub fn on_readings(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        t_meas: Moment,
        freshness: Freshness,
    ) {
        let at = t_meas.at;
        let input = ReadingInput { group, t_meas, freshness: Freshness::Fresh };
        let changed = self.engine.on_readings(rules, at, input);
        self.until = self.until.max(at);
        if freshness != Freshness::Fresh {
            self.late_until = self.late_until.max(at);
        }
        for alert in changed {
            self.note(rules, alert, at, freshness);
        }
    }

    /// The next device alarm: it is judged elsewhere, and keeps rules from judging. What readings
    /// began goes on with it, and ends when it does.
    pub fn on_alarm(&mut self, rules: &RuleSet, at: WallTime, alarm: &DeviceAlarm) {
        for alert in self.engine.on_alarm(rules, at, Moment::sure(at), alarm) {
            if let Some(episode) = self.found.get_mut(&alert.id) {
                episode.alert = alert;
            }
        }
    }

    /// What a device of the subject is, and how often it speaks.
    pub fn on_pace(&mut self, device: &DeviceId, pace: Pace) {
        self.engine.tell_pace(device, pace);
    }

    /// A nurse entered next whether oxygen is given; what is measured from then on is judged by it.
    pub fn on_oxygen(&mut self, typed: Entry<bool>) {
        let profile = Profile { oxygen: Some(typed), ..self.engine.profile().clone() };
        self.engine.meet_profile(profile);
    }

    /// A device was taken off the subject: what rested on it alone was over.
    pub fn on_left(&mut self, rules: &RuleSet, at: WallTime, device: &DeviceId) {
        for alert in self.engine.left_then(rules, at, device) {
            self.note(rules, alert, at, Freshness::Fresh);
        }
    }

    fn note(&mut self, rules: &RuleSet, alert: Alert, at: WallTime, freshness: Freshness) {
        let key = self.engine.key_of(rules, &alert);
        let present = self.engine.present(&key).filter(|_| alert.state.is_active());
        let episode = self.found.entry(alert.id).or_insert_with(|| LateEpisode {
            alert: alert.clone(),
            freshness,
            began_late: at >= self.since,
            peak: None,
            late_peak: None,
            turns: Vec::new(),
            is_told: false,
            held_at: at,
            worst: None,
        });
        if let Some(priority) = present {
            episode.held_at = at;
            if at >= self.since && episode.peak.is_none_or(|(known, _)| priority > known) {
                episode.peak = Some((priority, at));
                episode.freshness = freshness;
            }
            if (self.since..=self.late_end).contains(&at) {
                episode.weigh(&alert, priority, at);
            }
        }
        // Of what began after all that came late everything was heard when it happened.
        let late = self.engine.present_of(&key, self.late_end);
        let late = late.filter(|_| present.is_some() && at >= self.since);
        if let Some(priority) = late
            && episode.late_peak.is_none_or(|(known, _)| priority > known)
        {
            episode.late_peak = Some((priority, at));
        }
        let held = [present, late];
        if at >= self.since && episode.turns.last().is_none_or(|(_, known)| *known != held) {
            episode.turns.push((at, held));
        }
        episode.alert = alert;
    }

    /// When the first of what came late was measured.
    #[must_use]
    pub const fn since(&self) -> WallTime {
        self.since
    }

    /// What held or ended since the first late reading.
    fn found(&self) -> impl Iterator<Item = &LateEpisode> {
        let ended =
            |episode: &LateEpisode| episode.over_at().is_some_and(|over| over >= self.since);
        self.found.values().filter(move |episode| episode.peak.is_some() || ended(episode))
    }

    /// Raises nothing by what is told elsewhere, until when that is told. Where that has stopped
    /// before the end, what was heard since does not know how long it had been over, nor what had
    /// begun: that is seen here alone.
    pub fn leave_out(&mut self, told_until: impl Fn(&LateEpisode) -> Option<WallTime>) {
        for episode in self.found.values_mut() {
            let Some(until) = told_until(episode) else { continue };
            (episode.is_told, episode.worst) = (true, None);
            episode.peak = episode.peak_after(until, |[held, _]| held);
            episode.late_peak = episode.peak_after(until, |[_, late]| late);
        }
    }

    /// Holds what was found against the alerts that there are, and leaves in the engine of the
    /// subject what is new. `local` writes a moment as the clocks of the site show it.
    pub fn settle(
        self,
        rules: &RuleSet,
        live: &mut Engine,
        known: &[KnownAlert],
        now: WallTime,
        local: impl Fn(WallTime) -> String,
    ) -> Settled {
        let mut settled = Settled::default();
        let mut apart: Vec<(LateEpisode, Option<u8>)> = Vec::new();
        for episode in self.found() {
            let mut episode = episode.clone();
            if known.iter().any(|known| known.id == episode.alert.id) {
                episode.peak = episode.late_peak;
            }
            let episode = &episode;
            let standing = live.standing(rules, &episode.alert, self.late_until);
            let key = live.key_of(rules, &episode.alert);
            let holds = episode.alert.state.is_active()
                && live.has_heard_as(&self.engine, &key, self.late_until);
            let standing = if holds { Standing::Holds } else { standing };
            settled.note_worst(episode);
            let Some(joins) = self.joins(rules, episode, standing, live, known) else {
                // What only ended since was heard when it began.
                let row = episode.peak.filter(|_| !episode.is_told);
                let row = row.map(|_| episode.row(standing));
                apart.extend(row.map(|row| (episode.clone(), Some(row))));
                continue;
            };
            if joins != episode.alert.id {
                settled.joined.push((episode.alert.id, joins));
            }
            settled.changed.extend(live.meet_late(rules, joins, episode, standing, now));
            if known.iter().any(|known| known.id == joins && known.retro) {
                apart.push((episode.clone(), None));
            }
        }
        let worst = worst_of_each_rule(&apart);
        for (episode, row) in apart {
            let Some(row) = row else { continue };
            let is_worst = worst.get(episode.rule()) == Some(&episode.alert.id);
            if row != HOLDS_ROW && episode.freshness == Freshness::Backfill && !is_worst {
                settled.left_out += 1;
                continue;
            }
            let alert = episode.into_alert(row, now, &local);
            settled.changed.extend(live.adopt_late(rules, alert, now));
            settled.made += 1;
        }
        settled.changed.extend(live.go_on_as(rules, &self.engine));
        settled
    }

    /// The alert of which an episode is a part.
    ///
    /// An alert that began in an episode is of it: its first reading outside is one of the episode.
    /// One that began before the pass goes on in what held already when the pass began.
    fn joins(
        &self,
        rules: &RuleSet,
        episode: &LateEpisode,
        standing: Standing,
        live: &Engine,
        known: &[KnownAlert],
    ) -> Option<AlertId> {
        let LateEpisode { alert, .. } = episode;
        let begins = alert.started_at;
        let ends = episode.over_at().unwrap_or(self.until);
        let is_of = |known: &&KnownAlert| known.is_of(rules, alert);
        let of_family = || known.iter().filter(is_of);
        let began_in = |known: &&KnownAlert| {
            begins <= known.started_at && is_same_episode(ends, known.started_at)
        };
        let goes_on = |known: &&KnownAlert| {
            known.started_at < begins
                && begins < self.since
                && known.cleared_at.is_none_or(|over| is_same_episode(over, begins))
        };
        let same = of_family().find(|known| known.id == alert.id);
        let found = same
            .or_else(|| of_family().find(began_in))
            .or_else(|| of_family().filter(goes_on).max_by_key(|known| known.started_at));
        let holds = alert.state.is_active() && standing.is_outside();
        found.map(|known| known.id).or_else(|| {
            let key = live.key_of(rules, alert);
            live.active(&key).filter(|_| holds)
        })
    }
}

impl LateEpisode {
    /// The rule it is told by.
    pub(crate) fn rule(&self) -> &str {
        let first = self.alert.rules.first().map(String::as_str);
        self.worst.as_ref().map(|worst| worst.rule.as_str()).or(first).unwrap_or_default()
    }

    /// From when to when it held, as far as was judged.
    #[must_use]
    pub fn period(&self) -> (WallTime, WallTime) {
        (self.alert.started_at, self.alert.cleared_at.unwrap_or(self.held_at))
    }

    /// When it was over, if it was.
    pub(crate) fn over_at(&self) -> Option<WallTime> {
        self.alert.cleared_at.filter(|_| !self.alert.state.is_active())
    }

    /// When it was raised, or came back, for the first time after that moment.
    pub(crate) fn raised_after(&self, moment: WallTime) -> Option<WallTime> {
        use TimelineEvent::{Raised, Recurred};
        let raised =
            self.alert.timeline.iter().filter(|entry| matches!(entry.what, Raised | Recurred));
        raised.map(|entry| entry.at).find(|at| *at > moment)
    }

    /// The highest priority that held after that moment, and from when on.
    fn peak_after(
        &self,
        moment: WallTime,
        which: impl Fn([Option<Priority>; 2]) -> Option<Priority>,
    ) -> Option<(Priority, WallTime)> {
        let from = self.turns.iter().rposition(|(at, _)| *at <= moment).unwrap_or_default();
        let held = self.turns.iter().skip(from);
        let held = held.filter_map(|(at, held)| which(*held).map(|priority| (priority, *at)));
        held.max_by_key(|(priority, at)| (*priority, std::cmp::Reverse(*at)))
    }

    /// Keeps the value if it is further outside.
    fn weigh(&mut self, alert: &Alert, priority: Priority, at: WallTime) {
        let (Some(rule), Some(value)) = (alert.rules.first(), &alert.value) else { return };
        let worst = Worst {
            device: alert.device.clone(),
            rule: rule.clone(),
            priority,
            metric: alert.metric,
            value: value.clone(),
            comparator: alert.comparator.clone(),
            at,
            limit: alert.limit.clone(),
        };
        if self.worst.as_ref().is_none_or(|known| worst.is_worse_than(known)) {
            self.worst = Some(worst);
        }
    }

    /// The row of the table by which it is told, where there is no alert of it.
    fn row(&self, standing: Standing) -> u8 {
        let is_high = self.peak.is_some_and(|(peak, _)| peak == Priority::High);
        let is_spot = self.alert.metric.is_some_and(|metric| metric.row().kind == Kind::Spot);
        match standing {
            standing if standing.is_outside() && is_high && self.alert.state.is_active() => {
                HOLDS_ROW
            }
            Standing::Normal => OVER_ROW,
            Standing::Unheard if !is_spot => OVER_ROW,
            _ if self.freshness == Freshness::Backfill => BACKFILL_ROW,
            _ => LATE_ROW,
        }
    }

    /// The alert that is made of it.
    fn into_alert(self, row: u8, now: WallTime, local: impl Fn(WallTime) -> String) -> Alert {
        let rule = self.rule().to_owned();
        let Self { mut alert, held_at, worst, .. } = self;
        alert.late_row = Some(row);
        alert.raised_at = now;
        alert.people = People::default();
        alert.timeline.clear();
        if let Some(worst) = worst {
            (alert.metric, alert.value) = (worst.metric, Some(worst.value));
            (alert.comparator, alert.limit) = (worst.comparator, worst.limit);
        }
        if row == HOLDS_ROW {
            alert.tell(now, TimelineEvent::Raised, None, rule);
            return alert;
        }
        let begins = local(alert.started_at);
        alert.message_zh.push_str(&format!(",补传数据,发生于 {begins}"));
        alert.message_en.push_str(&format!(", sent late, occurred at {begins}"));
        alert.retro = true;
        // Where it holds still, nothing after that was told by the pass.
        alert.cleared_at.get_or_insert(held_at);
        alert.tell(now, TimelineEvent::RaisedLate, None, rule);
        alert.state = match alert.priority {
            Priority::Low => AlertState::Closed,
            Priority::Medium | Priority::High => AlertState::ClearedUnack,
        };
        alert
    }
}

impl Worst {
    /// Whether it is more urgent, or further outside the limit of the same rule.
    fn is_worse_than(&self, other: &Self) -> bool {
        if self.priority != other.priority || self.rule != other.rule {
            return self.priority > other.priority;
        }
        self.is_beyond(&other.value)
    }

    /// Whether it is further outside the limit of its rule than that value.
    #[must_use]
    pub fn is_beyond(&self, value: &str) -> bool {
        let number = |text: &str| text.parse::<Decimal>().ok();
        let (Some(own), Some(other)) = (number(&self.value), number(value)) else { return false };
        match self.limit.as_deref().is_some_and(|limit| limit.starts_with(['<', '≤'])) {
            true => own < other,
            false => own > other,
        }
    }
}

impl Settled {
    fn note_worst(&mut self, episode: &LateEpisode) {
        let Some(worst) = &episode.worst else { return };
        match self.worst.iter_mut().find(|known| known.rule == worst.rule) {
            Some(known) if worst.is_worse_than(known) => known.clone_from(worst),
            Some(_) => {}
            None => self.worst.push(worst.clone()),
        }
    }
}

/// Of what came as backfill, by rule, the alert of the worst; of equals the first.
fn worst_of_each_rule(apart: &[(LateEpisode, Option<u8>)]) -> BTreeMap<String, AlertId> {
    let mut worst: BTreeMap<String, &LateEpisode> = BTreeMap::new();
    let backfill = apart.iter().filter(|(episode, row)| {
        episode.freshness == Freshness::Backfill && *row != Some(HOLDS_ROW)
    });
    for (episode, _) in backfill {
        let is_worst = worst.get(episode.rule()).is_none_or(|known| {
            let is_worse = |a: &LateEpisode, b: &LateEpisode| match (&a.worst, &b.worst) {
                (Some(a), Some(b)) => a.is_worse_than(b),
                _ => false,
            };
            let is_first = episode.alert.started_at < known.alert.started_at;
            is_worse(episode, known) || (is_first && !is_worse(known, episode))
        });
        if is_worst {
            worst.insert(episode.rule().to_owned(), episode);
        }
    }
    worst.into_iter().map(|(rule, episode)| (rule, episode.alert.id)).collect()
}

#[cfg(test)]
mod tests;
