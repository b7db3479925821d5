//! Judges one reading: which rank is read, which limits it meets.

use super::{
    Engine,
    alarms::{LEAD_OFF_RULE, PROBE_OFF_RULE},
    life::{Episode, Firing},
    series::{Judged, Series},
    technical,
};
use crate::{
    compare::meets,
    freshness::Moment,
    rule::{RuleSet, Step, TechnicalRule, Threshold},
};
use model::{
    alarm::Priority,
    decimal::Decimal,
    device::DeviceKind,
    metric::{Class, Metric},
    reading::{Comparator, NoData, Reading, ReadingGroup, Validity},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A lower rank of the heart-rate class is read when the higher is silent this long.
const RANK_SILENT_MS: i64 = 10_000;

/// What a monitor's temperature channel reads while its probe lies on the bed: from, to, in °C.
const ROOM_CEL: (i64, i64) = (15, 30);

/// The latest value of a class.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Latest {
    at: WallTime,
    value: String,
    #[serde(default)]
    metric: Option<Metric>,
    #[serde(default)]
    series: String,
    #[serde(default)]
    comparator: Option<String>,
    #[serde(default)]
    spot: bool,
}

impl Latest {
    fn number(&self) -> Option<(Decimal, Comparator)> {
        let comparator = match self.comparator.as_deref() {
            Some("<") => Comparator::Below,
            Some(">") => Comparator::Above,
            _ => Comparator::Equal,
        };
        Some((self.value.parse().ok()?, comparator))
    }
}

/// One reading as rules see it.
struct Seen<'a> {
    metric: Metric,
    series: &'a str,
    value: Decimal,
    comparator: Comparator,
    spot: bool,
    at: WallTime,
    gap: bool,
    /// Late: only what is urgent may sound.
    late: bool,
    /// A clock was wrong: when it was measured is doubtful.
    suspect: bool,
}

impl Engine {
    pub(super) fn take(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        reading: &Reading,
        Moment { at: t_meas, suspect, .. }: Moment,
        (spot, late): (bool, bool),
        touched: &mut BTreeSet<String>,
    ) {
        let metric = reading.metric;
        let class = metric.row().class;
        let name = format!("{metric}|{}", group.channel.as_str());
        if self.newest.get(&name).is_some_and(|newest| t_meas < *newest) {
            return;
        }
        self.newest.insert(name.clone(), t_meas);
        self.cease_without_value(rules, reading, &name, touched);
        let value = reading.canonical().filter(|_| reading.validity != Validity::Invalid);
        let value = value.filter(|(value, _)| {
            let on_bed = !spot && class == Class::Temp && self.lies_on_the_bed(*value);
            self.judge_probe(rules, metric, &name, on_bed.then_some((*value, t_meas)), touched);
            !on_bed
        });
        if class == Class::Hr && !self.rank_is_read(rules, reading, t_meas, value.is_some()) {
            return;
        }
        let Some((value, comparator)) = value else { return };
        // The ranks of the heart rate are one series; everything else is its own.
        let series = if class == Class::Hr { "hr".to_owned() } else { name };
        let gap = self.valued.insert(series.clone(), t_meas).is_none_or(|newest| {
            t_meas.unix_ms().saturating_sub(newest.unix_ms()) > rules.gap_ms(self.kind)
        });
        let newest = self.latest.get(class.name()).is_none_or(|latest| t_meas >= latest.at);
        if newest {
            let latest = Latest {
                at: t_meas,
                value: value.to_string(),
                metric: Some(metric),
                series: series.clone(),
                comparator: comparator.sign().map(str::to_owned),
                spot,
            };
            self.latest.insert(class.name().to_owned(), latest);
        }
        let series = series.as_str();
        let seen = Seen { metric, series, value, comparator, spot, at: t_meas, gap, late, suspect };
        for rule in rules.thresholds(class) {
            self.judge(rules, rule, &seen, touched);
        }
        if newest {
            self.judge_the_other_half(rules, class, &seen, touched);
        }
        let kind = self.kind;
        for rule in rules.technical_of(class).filter(|rule| rule.is_for(kind)) {
            self.judge_technical(rule, &seen, touched);
        }
    }

    /// Whether a heart rate of that metric is the one rules read now: while an earlier rank has
    /// values and is not off, a later one waits (metric catalogue, "Classes").
    fn rank_is_read(
        &mut self,
        rules: &RuleSet,
        reading: &Reading,
        t_meas: WallTime,
        has_value: bool,
    ) -> bool {
        let rank = reading.metric.row().class_rank.unwrap_or(u8::MAX);
        if has_value {
            self.ranks.insert(rank, (t_meas, true));
        } else if matches!(reading.value, Err(NoData::Off | NoData::LeadOff | NoData::SensorOff)) {
            self.ranks.entry(rank).or_insert((t_meas, false)).1 = false;
        }
        let silent_ms = rules.gap_ms(self.kind).max(RANK_SILENT_MS);
        let earlier_speaks = self.ranks.range(..rank).any(|(_, (valued, on))| {
            *on && t_meas.unix_ms().saturating_sub(valued.unix_ms()) < silent_ms
        });
        if earlier_speaks || !has_value {
            return false;
        }
        if self.rank.replace(rank).is_some_and(|before| before != rank) {
            // Another way of measuring begins its sustain and its hold anew, and clears nothing.
            for (_, series) in self.series.iter_mut().filter(|(key, _)| key.ends_with("|hr")) {
                series.begin_anew();
            }
        }
        true
    }

    fn judge(
        &mut self,
        rules: &RuleSet,
        rule: &Threshold,
        seen: &Seen<'_>,
        touched: &mut BTreeSet<String>,
    ) {
        let Some(mut outside) = meets(rule.op, rule.limit, seen.value, seen.comparator) else {
            return;
        };
        if let Some(also) = &rule.also {
            let other = self.latest.get(also.class.name());
            outside &= other.is_some_and(|other| {
                is_near(seen.at, other.at, also.window_ms)
                    && other.number().is_some_and(|(value, comparator)| {
                        meets(also.op, also.limit, value, comparator) == Some(true)
                    })
            });
        }
        if outside && seen.late && rule.priority == Priority::Low {
            return;
        }
        let channel = seen.series.rsplit_once('|').map_or("", |(_, channel)| channel);
        let about = (seen.metric.row().class, channel);
        let suppressed = (rule.suppress_lead_off
            && self.rank == Some(1)
            && self.holds(LEAD_OFF_RULE, seen.at, None))
            || (rule.suppress_probe_off && self.holds(PROBE_OFF_RULE, seen.at, Some(about)));
        let key = format!("{}|{}", rule.id, seen.series);
        let adopted = self.episodes.get(&rule.family).and_then(|of| of.adopted_since(&rule.id));
        let known = self.series.get(&key).copied().or(adopted.map(Series::adopted));
        let mut series = known.unwrap_or_default();
        let judged = if suppressed {
            // Stops new alerts and clears nothing.
            series.begin_anew();
            Judged::Quiet
        } else if seen.spot {
            series.spot(seen.at, outside, rule.promote)
        } else {
            let clears = rule.clear.is_none_or(|(op, value, _)| {
                meets(op, value, seen.value, seen.comparator) == Some(true)
            });
            let hold_ms = rule.clear.map_or(0, |(_, _, hold_ms)| hold_ms);
            if seen.gap {
                series.begin_anew();
            }
            series.stream(seen.at, outside, clears, rule.sustain_ms, hold_ms)
        };
        // Where nothing stands there is nothing to remember: that is most series of most devices.
        match series == Series::default() {
            true => drop(self.series.remove(&key)),
            false => drop(self.series.insert(key.clone(), series)),
        }
        match judged {
            Judged::Firing { promoted } => {
                let priority = promoted.unwrap_or(rule.priority);
                let began = self.began(rules, rule, seen.at);
                let limit = format!("{} {}", rule.op.sign(), rule.limit);
                let says = [&*rule.message_zh, &rule.message_en];
                let firing = Firing {
                    metric: Some(seen.metric),
                    value: outside.then(|| seen.value.to_string()),
                    comparator: seen.comparator.sign().map(str::to_owned),
                    limit: Some(limit),
                    time_suspect: seen.suspect,
                    ..Firing::new(&rule.id, priority, began, says)
                };
                self.episodes.entry(rule.family.clone()).or_default().fire(key, firing);
                touched.insert(rule.family.clone());
            }
            Judged::Cleared => {
                if let Some(episode) = self.episodes.get_mut(&rule.family) {
                    episode.cease(&key);
                }
                touched.insert(rule.family.clone());
            }
            Judged::Quiet => {}
        }
    }

    /// A value that completes a rule of two classes: the first of the two was there before it.
    fn judge_the_other_half(
        &mut self,
        rules: &RuleSet,
        class: Class,
        second: &Seen<'_>,
        touched: &mut BTreeSet<String>,
    ) {
        for (rule, window_ms) in rules.completed_by(class) {
            let Some(first) = self.latest.get(rule.class.name()).cloned() else { continue };
            let (Some(metric), Some((value, comparator))) = (first.metric, first.number()) else {
                continue;
            };
            if is_near(second.at, first.at, window_ms) {
                let (series, spot, at) = (first.series.as_str(), first.spot, first.at);
                let (late, suspect) = (second.late, second.suspect);
                let gap = false;
                let seen = Seen { metric, series, value, comparator, spot, at, gap, late, suspect };
                self.judge(rules, rule, &seen, touched);
            }
        }
    }

    /// `t_meas` of the first reading outside any rule of the family: the episode's begin. What a
    /// gap has broken off is not part of it.
    fn began(&self, rules: &RuleSet, rule: &Threshold, at: WallTime) -> WallTime {
        let gap_ms = rules.gap_ms(self.kind);
        let goes_on = |series: &str| {
            self.valued
                .get(series)
                .is_some_and(|valued| at.unix_ms().saturating_sub(valued.unix_ms()) <= gap_ms)
        };
        let pending = self.series.iter().filter_map(|(key, series)| {
            let (id, name) = key.split_once('|')?;
            let since = series.outside_since()?;
            (rules.is_of_family(id, &rule.family) && goes_on(name)).then_some(since)
        });
        let firing = self.episodes.get(&rule.family).and_then(Episode::pending_since);
        pending.chain(firing).min().unwrap_or(at)
    }

    /// What has no number any more because it is switched off meets no technical limit.
    fn cease_without_value(
        &mut self,
        rules: &RuleSet,
        reading: &Reading,
        name: &str,
        touched: &mut BTreeSet<String>,
    ) {
        match &reading.value {
            Ok(_) | Err(NoData::Silent) => return,
            Err(NoData::Off | NoData::NotAvailable) => {
                for rule in rules.technical_of(reading.metric.row().class) {
                    self.cease(&rule.family, &format!("{}|{name}", rule.id), touched);
                }
            }
            Err(_) => {}
        }
        self.judge_probe(rules, reading.metric, name, None, touched);
    }

    /// A monitor's temperature channel reads what the room has: the probe lies on the bed
    /// (metric catalogue, "Unit traps").
    fn lies_on_the_bed(&self, value: Decimal) -> bool {
        self.kind == Some(DeviceKind::Monitor)
            && value >= Decimal::fixed(ROOM_CEL.0, 0)
            && value <= Decimal::fixed(ROOM_CEL.1, 0)
    }

    /// The probe is off because of what it reads, or is not any more.
    fn judge_probe(
        &mut self,
        rules: &RuleSet,
        metric: Metric,
        name: &str,
        on_bed: Option<(Decimal, WallTime)>,
        touched: &mut BTreeSet<String>,
    ) {
        let about = metric.row().class == Class::Temp;
        let Some(rule) = rules.technical(PROBE_OFF_RULE).filter(|_| about) else { return };
        let key = format!("{}|{name}", rule.id);
        let step = rule.steps.iter().find(|step| !step.conditional);
        if let (Some((value, at)), Some(step)) = (on_bed, step) {
            let mut firing = technical(rule, step.priority, at);
            firing.metric = Some(metric);
            firing.value = Some(value.to_string());
            self.episodes.entry(rule.family.clone()).or_default().fire(key, firing);
            touched.insert(rule.family.clone());
        } else {
            self.cease(&rule.family, &key, touched);
        }
    }

    fn cease(&mut self, family: &str, key: &str, touched: &mut BTreeSet<String>) {
        let firing = self.episodes.get_mut(family).filter(|episode| episode.is_firing(key));
        if let Some(episode) = firing {
            episode.cease(key);
            touched.insert(family.to_owned());
        }
    }

    fn judge_technical(
        &mut self,
        rule: &TechnicalRule,
        seen: &Seen<'_>,
        touched: &mut BTreeSet<String>,
    ) {
        let zero = Decimal::ZERO;
        let value = match rule.absolute && seen.value < zero {
            true => Decimal::new(-seen.value.mantissa(), seen.value.exponent()).unwrap_or(zero),
            false => seen.value,
        };
        let holds = |step: &&Step| {
            step.test
                .is_some_and(|(op, limit)| meets(op, limit, value, Comparator::Equal) == Some(true))
        };
        let step = rule.steps.iter().filter(|step| !step.conditional).rfind(holds);
        let key = format!("{}|{}", rule.id, seen.series);
        let Some(step) = step else { return self.cease(&rule.family, &key, touched) };
        let mut firing = technical(rule, step.priority, seen.at);
        firing.metric = Some(seen.metric);
        firing.value = Some(seen.value.to_string());
        firing.limit = step.test.map(|(op, limit)| format!("{} {limit}", op.sign()));
        self.episodes.entry(rule.family.clone()).or_default().fire(key, firing);
        touched.insert(rule.family.clone());
    }
}

fn is_near(a: WallTime, b: WallTime, window_ms: i64) -> bool {
    a.unix_ms().abs_diff(b.unix_ms()) <= window_ms.unsigned_abs()
}
