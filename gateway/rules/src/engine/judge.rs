//! Judges one reading: which rank is read, which limits it meets.

use super::{
    Engine,
    life::{Episode, Firing},
    series::{Judged, Series},
    technical,
};
use crate::{
    compare::meets,
    rule::{RuleSet, Step, TechnicalRule, Threshold},
};
use model::{
    alarm::Priority,
    decimal::Decimal,
    metric::{Class, Metric},
    reading::{Comparator, Reading, ReadingGroup, Validity},
    time::WallTime,
};
use std::collections::BTreeSet;

/// A lower rank of the heart-rate class is read when the higher is silent this long.
const RANK_SILENT_MS: i64 = 10_000;

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
}

impl Engine {
    pub(super) fn take(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        reading: &Reading,
        t_meas: WallTime,
        (spot, late): (bool, bool),
        touched: &mut BTreeSet<String>,
    ) {
        let class = reading.metric.row().class;
        let name = format!("{}|{}", reading.metric, group.channel.as_str());
        let newest = self.newest.get(&name).copied();
        if newest.is_some_and(|newest| t_meas < newest) {
            return;
        }
        let gap = newest.is_none_or(|newest| {
            t_meas.unix_ms().saturating_sub(newest.unix_ms()) > rules.gap_ms(self.kind())
        });
        self.newest.insert(name.clone(), t_meas);
        let value = reading.canonical().filter(|_| reading.validity != Validity::Invalid);
        if class == Class::Hr && !self.rank_is_read(reading.metric, t_meas, value.is_some()) {
            return;
        }
        let Some((value, comparator)) = value else { return };
        self.latest.insert(class.name().to_owned(), (t_meas, value.to_string()));
        // The ranks of the heart rate are one series; everything else is its own.
        let series = if class == Class::Hr { "hr" } else { name.as_str() };
        let metric = reading.metric;
        let seen = Seen { metric, series, value, comparator, spot, at: t_meas, gap, late };
        for rule in rules.thresholds(class) {
            self.judge(rule, &seen, touched);
        }
        let kind = self.kind();
        for rule in rules.technical_of(class).filter(|rule| rule.is_for(kind)) {
            self.judge_technical(rule, &seen, touched);
        }
    }

    /// Whether a heart rate of that metric is the one rules read now.
    fn rank_is_read(&mut self, metric: Metric, t_meas: WallTime, has_value: bool) -> bool {
        let rank = metric.row().class_rank.unwrap_or(u8::MAX);
        self.ranks.insert(rank, (t_meas, has_value));
        let higher_speaks = self.ranks.range(..rank).any(|(_, (heard, with_value))| {
            *with_value && t_meas.unix_ms().saturating_sub(heard.unix_ms()) < RANK_SILENT_MS
        });
        if higher_speaks || !has_value {
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

    fn judge(&mut self, rule: &Threshold, seen: &Seen<'_>, touched: &mut BTreeSet<String>) {
        let Some(mut outside) = meets(rule.op, rule.limit, seen.value, seen.comparator) else {
            return;
        };
        if let Some(also) = &rule.also {
            outside &= self.latest.get(also.class.name()).is_some_and(|(at, value)| {
                let near =
                    seen.at.unix_ms().abs_diff(at.unix_ms()) <= also.window_ms.unsigned_abs();
                let value: Option<Decimal> = value.parse().ok();
                near && value.is_some_and(|value| {
                    meets(also.op, also.limit, value, Comparator::Equal) == Some(true)
                })
            });
        }
        if outside && seen.late && rule.priority == Priority::Low {
            return;
        }
        let suppressed =
            (rule.suppress_lead_off && self.rank == Some(1) && self.holds("TECH-LEADOFF"))
                || (rule.suppress_probe_off && self.holds("TECH-PROBEOFF"));
        let key = format!("{}|{}", rule.id, seen.series);
        let series = self.series.entry(key.clone()).or_default();
        let judged = if seen.spot {
            series.spot(seen.at, outside, suppressed, rule.promote)
        } else {
            let clears = rule.clear.is_none_or(|(op, value, _)| {
                meets(op, value, seen.value, seen.comparator) == Some(true)
            });
            let hold_ms = rule.clear.map_or(0, |(_, _, hold_ms)| hold_ms);
            if seen.gap {
                series.begin_anew();
            }
            series.stream(seen.at, outside && !suppressed, clears, rule.sustain_ms, hold_ms)
        };
        let began = self.began(rule, seen);
        let episode = self.episodes.entry(rule.family.clone()).or_default();
        match judged {
            Judged::Firing { promoted } => {
                let priority = promoted.unwrap_or(rule.priority);
                let limit = format!("{} {}", rule.op.sign(), rule.limit);
                episode.fire(
                    key,
                    Firing {
                        rule: rule.id.clone(),
                        priority,
                        since: began,
                        metric: Some(seen.metric),
                        value: outside.then(|| seen.value.to_string()),
                        comparator: sign(seen.comparator),
                        limit: Some(limit),
                        message_zh: rule.message_zh.clone(),
                        message_en: rule.message_en.clone(),
                    },
                );
                touched.insert(rule.family.clone());
            }
            Judged::Cleared => {
                episode.cease(&key);
                touched.insert(rule.family.clone());
            }
            Judged::Quiet => {}
        }
    }

    /// `t_meas` of the first reading outside any rule of the family: the episode's begin.
    fn began(&self, rule: &Threshold, seen: &Seen<'_>) -> WallTime {
        let key = format!("{}|{}", rule.id, seen.series);
        let own = self.series.get(&key).and_then(Series::outside_since).unwrap_or(seen.at);
        let earlier = self.episodes.get(&rule.family).and_then(Episode::pending_since);
        earlier.map_or(own, |earlier| earlier.min(own))
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
        let episode = self.episodes.entry(rule.family.clone()).or_default();
        match step {
            Some(step) => {
                let limit = step.test.map(|(op, limit)| format!("{} {limit}", op.sign()));
                let mut firing = technical(rule, step.priority, seen.at);
                firing.metric = Some(seen.metric);
                firing.value = Some(seen.value.to_string());
                firing.limit = limit;
                episode.fire(key, firing);
                touched.insert(rule.family.clone());
            }
            None if episode.is_firing(&key) => {
                episode.cease(&key);
                touched.insert(rule.family.clone());
            }
            None => {}
        }
    }
}

fn sign(comparator: Comparator) -> Option<String> {
    match comparator {
        Comparator::Equal => None,
        Comparator::Below => Some("<".to_owned()),
        Comparator::Above => Some(">".to_owned()),
    }
}
