//! A result turned out to be somebody else's.

use super::{
    Engine,
    device::number_of,
    judge::Latest,
    late::RECHECK_ROW,
    life::{ADOPTED, Episode},
    series::Series,
};
use crate::{
    alert::{Alert, TimelineEvent},
    rule::{RuleSet, Threshold},
};
use model::{id::DeviceId, metric::Class, time::WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// Results of one series that are known: so many within the half hour in which one confirms another.
const RESULTS_MAX: usize = 8;

impl Engine {
    /// A result that a device measured at that moment is not of this subject: what it began alone
    /// ends, and an alert that rests on nothing else is closed, with the reason. What other results
    /// say goes on as they alone would have it. Hands out the alerts that changed.
    ///
    /// An alert that the moved one ended stays over, for nobody measured since that it is not.
    pub fn result_left(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        (device, t_meas): (&DeviceId, WallTime),
        reason: &str,
    ) -> Vec<Alert> {
        let is_it = |of: &Latest| of.at == t_meas && of.device.as_ref() == Some(device);
        let known = self.results.clone();
        self.results.values_mut().for_each(|of| of.retain(|result| !is_it(result)));
        self.results.retain(|_, of| !of.is_empty());
        let moved: Vec<&Latest> = known.values().flatten().filter(|of| is_it(of)).collect();
        let (mut changed, mut touched) =
            self.judge_anew(rules, (now, t_meas), (&known, &moved), reason);
        for (key, episode) in &mut self.episodes {
            let mut gone = Vec::new();
            episode.firing.retain(|name, firing| {
                let later = firing.metric.is_some_and(|metric| {
                    let channels = format!("{metric}|");
                    self.devices.get(device).is_some_and(|known| {
                        let mut newest = known.newest.iter();
                        newest.any(|(name, at)| name.starts_with(&channels) && *at > t_meas)
                    })
                });
                let stays =
                    firing.device.as_ref() != Some(device) || firing.since != t_meas || later;
                if !stays {
                    gone.push(name.clone());
                }
                stays
            });
            self.series.retain(|name, _| !gone.contains(name));
            match (gone.is_empty(), episode.firing.is_empty()) {
                (true, _) => {}
                (false, true) => changed.extend(episode.end(now, t_meas, reason, false)),
                (false, false) => drop(touched.insert(key.clone())),
            }
        }
        moved.into_iter().for_each(|result| self.unhear(result));
        self.latest.retain(|_, latest| !is_it(latest));
        for alert in self.settle(now, t_meas, touched, false) {
            changed.retain(|known| known.id != alert.id);
            changed.push(alert);
        }
        changed
    }

    /// Keeps a result for as long as few of its series have followed.
    pub(super) fn remember(&mut self, result: &Latest) {
        if !result.spot {
            // Where a stream says more than its single values, these say nothing alone.
            self.results.remove(&result.series);
            return;
        }
        let of = self.results.entry(result.series.clone()).or_default();
        let name = |of: &Latest| (of.at, of.device.clone(), of.channel.clone(), of.metric);
        of.retain(|known| name(known) != name(result));
        of.insert(of.partition_point(|known| known.at <= result.at), result.clone());
        if of.len() > RESULTS_MAX {
            of.remove(0);
        }
    }

    /// What holds by results goes on by those that are left, in the families that read the moved
    /// ones; the alerts that this changed, and the families. `known`: with the moved ones.
    fn judge_anew(
        &mut self,
        rules: &RuleSet,
        (now, t_meas): (WallTime, WallTime),
        (known, moved): (&BTreeMap<String, Vec<Latest>>, &[&Latest]),
        reason: &str,
    ) -> (Vec<Alert>, BTreeSet<String>) {
        let classes: BTreeSet<Class> =
            moved.iter().filter_map(|of| Some(of.metric?.row().class)).collect();
        let reads = |rule: &&Threshold| {
            let also = rule.also.as_ref().is_some_and(|also| classes.contains(&also.class));
            also || classes.contains(&rule.class)
        };
        let families: BTreeSet<&str> =
            rules.all_thresholds().filter(reads).map(|rule| rule.family.as_str()).collect();
        let mut anew = self.by_results(rules);
        let (mut changed, mut touched) = (Vec::new(), BTreeSet::new());
        for family in families {
            let found = anew.episodes.remove(family).unwrap_or_default();
            let Some(episode) = self.episodes.get_mut(family) else { continue };
            // What its box told goes on by its word, unless that is of the moved one.
            let told = episode.firing.get(ADOPTED);
            let is_of_moved = told.is_some_and(|told| {
                moved.iter().any(|of| {
                    told.device == of.device
                        && told.metric == of.metric
                        && told.value.as_ref() == Some(&of.value)
                })
            });
            if episode.firing.is_empty() || (told.is_some() && !is_of_moved) {
                continue;
            }
            let is_by_result = |key: &str| {
                key == ADOPTED || key.split_once('|').is_some_and(|(_, of)| known.contains_key(of))
            };
            let of_family = |key: &str| {
                let rule = key.split('|').next();
                is_by_result(key) && rule.is_some_and(|rule| rules.is_of_family(rule, family))
            };
            let since = known_since(rules, family, known);
            let began = episode.alert.as_ref().map(|alert| alert.started_at);
            let is_known = since.zip(began).is_some_and(|(since, began)| since <= began);
            if found.firing.is_empty() && !is_known {
                // It rests on what nobody remembers here: that ends by a value.
                continue;
            }
            episode.firing.retain(|key, _| !is_by_result(key));
            let series = anew.series.iter().filter(|(key, _)| of_family(key));
            let series: Vec<(String, Series)> =
                series.map(|(key, of)| (key.clone(), *of)).collect();
            self.series.retain(|key, _| !of_family(key));
            self.series.extend(series);
            changed.extend(episode.goes_on_by(found, (now, t_meas), since, reason));
            touched.insert(family.to_owned());
        }
        (changed, touched)
    }

    /// The same subject, as its results say that are known, one after the other.
    fn by_results(&self, rules: &RuleSet) -> Self {
        let mut anew = self.unjudged();
        let mut results: Vec<&Latest> = self.results.values().flatten().collect();
        results.sort_by_key(|result| result.at);
        for result in results {
            let (Some(seen), mut touched) = (result.seen(), BTreeSet::new()) else { continue };
            let class = seen.metric.row().class;
            anew.latest.insert(class.name().to_owned(), result.clone());
            anew.valued.insert(result.series.clone(), result.at);
            anew.judge_limits(rules, &seen, true, &mut touched);
            anew.settle(result.at, result.at, touched, false);
        }
        anew
    }

    /// What was measured last is what was before that result, where that was the last.
    fn unhear(&mut self, result: &Latest) {
        let Some(metric) = result.metric else { return };
        let class = metric.row().class.name();
        let left = self.results.get(&result.series).map(Vec::as_slice).unwrap_or_default();
        let is_alike = |of: &&Latest| (of.metric, &of.channel) == (result.metric, &result.channel);
        let of_device = left.iter().rev().filter(|of| of.device == result.device).find(is_alike);
        let (last, of_device) = (left.last(), of_device.map(|of| of.at));
        let last_at = last.map(|of| of.at);
        go_back(&mut self.valued, &result.series, result.at, last_at);
        go_back(&mut self.spots, class, result.at, last_at);
        if let Some(known) = result.device.as_ref().and_then(|device| self.devices.get_mut(device))
        {
            let name = number_of(metric, &result.channel);
            go_back(&mut known.newest, &name, result.at, of_device);
        }
        let is_latest = |of: &Latest| of.at == result.at && of.device == result.device;
        if let (Some(latest), Some(last)) = (self.latest.get_mut(class), last)
            && is_latest(latest)
        {
            latest.clone_from(last);
        }
    }
}

/// Since when all results are known that a family reads.
fn known_since(
    rules: &RuleSet,
    family: &str,
    known: &BTreeMap<String, Vec<Latest>>,
) -> Option<WallTime> {
    let of_family = || rules.all_thresholds().filter(|rule| rule.family == family);
    let reads = |of: &&Latest| {
        let class = of.metric.map(|metric| metric.row().class);
        of_family().any(|rule| {
            let also = rule.also.as_ref().map(|also| also.class);
            class.is_some() && (class == Some(rule.class) || class == also)
        })
    };
    let firsts = || known.values().filter_map(|of| Some((of.first().filter(reads)?.at, of.len())));
    let oldest = firsts().map(|(at, _)| at).min();
    // Of a series of which some are forgotten only those after that are known.
    oldest.max(firsts().filter(|(_, count)| *count >= RESULTS_MAX).map(|(at, _)| at).max())
}

/// The newest of something was at that moment: now it is the one before.
fn go_back(
    newest: &mut BTreeMap<String, WallTime>,
    name: &str,
    from: WallTime,
    to: Option<WallTime>,
) {
    match (newest.get_mut(name).filter(|at| **at == from), to) {
        (Some(at), Some(to)) => *at = to,
        (Some(_), None) => drop(newest.remove(name)),
        (None, _) => {}
    }
}

impl Episode {
    /// What results say is what was `found` by those that are left; the alerts that this changed.
    /// `since`: from then on all results are known.
    fn goes_on_by(
        &mut self,
        found: Self,
        (now, t_meas): (WallTime, WallTime),
        since: Option<WallTime>,
        reason: &str,
    ) -> Vec<Alert> {
        let only_results = self.firing.is_empty();
        found.firing.into_iter().for_each(|(key, firing)| self.fire(key, firing));
        let alert = self.alert.as_mut();
        if self.firing.is_empty() {
            // What the others said of it was over before: that waits as it did.
            let is_own = |own: &Alert| {
                let over = own.cleared_at.zip(alert.as_ref());
                over.is_some_and(|(over, alert)| alert.started_at < over)
            };
            let own = found.alert.filter(is_own);
            if let (Some(alert), Some(own)) = (alert, own) {
                alert.say_as(&own);
                self.clear(now, own.cleared_at.unwrap_or(t_meas), reason);
                return Vec::from_iter(self.alert.clone());
            }
            return self.end(now, t_meas, reason, false);
        }
        if let (Some(alert), Some(own)) = (alert, found.alert.filter(|_| only_results)) {
            let is_known = since.is_some_and(|since| since <= alert.started_at)
                && alert.late_row.is_none_or(|row| row == RECHECK_ROW);
            let priority = alert.at_least(own.priority);
            if is_known && priority < alert.priority {
                alert.priority = priority;
                alert.tell(now, TimelineEvent::PriorityFell, None, reason.to_owned());
                return vec![alert.clone()];
            }
        }
        Vec::new()
    }
}

impl Alert {
    /// It says what that one says.
    fn say_as(&mut self, own: &Self) {
        let own = own.clone();
        self.priority = self.at_least(own.priority).min(self.priority);
        (self.device, self.rules) = (own.device, own.rules);
        (self.metric, self.value, self.comparator) = (own.metric, own.value, own.comparator);
        (self.unit, self.limit) = (own.unit, own.limit);
        (self.message_zh, self.message_en) = (own.message_zh, own.message_en);
        self.time_suspect = own.time_suspect;
    }
}
