//! Judges one reading: which rank is read, which limits it meets.

use super::{
    Engine, after,
    alarms::{LEAD_OFF_RULE, PROBE_OFF_RULE},
    device::{Device, number_of},
    firing::Firing,
    late::says,
    life::Episode,
    series::{Judged, Series},
    technical,
};
use crate::{
    alert::Alert,
    compare::meets,
    freshness::Moment,
    population::Facts,
    rule::{Pace, RuleSet, Step, TechnicalRule, Threshold},
};
use model::{
    alarm::Priority,
    decimal::Decimal,
    device::DeviceKind,
    id::DeviceId,
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
    pub(super) at: WallTime,
    pub(super) value: String,
    #[serde(default)]
    pub(super) metric: Option<Metric>,
    #[serde(default)]
    pub(super) series: String,
    #[serde(default)]
    comparator: Option<String>,
    #[serde(default)]
    pub(super) spot: bool,
    #[serde(default)]
    check: bool,
    #[serde(default)]
    pub(super) device: Option<DeviceId>,
    #[serde(default)]
    pub(super) channel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<WallTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late_ms: Option<i64>,
    #[serde(default)]
    suspect: bool,
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

    /// The same as rules see it, but for what was before it.
    pub(super) fn seen(&self) -> Option<Seen<'_>> {
        let (value, comparator) = self.number()?;
        Some(Seen {
            device: self.device.as_ref()?,
            channel: &self.channel,
            metric: self.metric?,
            series: &self.series,
            value,
            comparator,
            spot: self.spot,
            at: self.at,
            heard: self.heard,
            gap: false,
            late_ms: self.late_ms,
            suspect: self.suspect,
            check: self.check,
        })
    }
}

/// What the series of the spot values of a class begins with; no device and no metric has a colon.
const SPOT_PREFIX: &str = "spot:";

/// The series of the spot values of a class: the next of them clears, however it was measured.
pub(super) fn spot_series(class: Class) -> String {
    format!("{SPOT_PREFIX}{}", class.name())
}

/// One reading as rules see it.
pub(super) struct Seen<'a> {
    device: &'a DeviceId,
    channel: &'a str,
    pub(super) metric: Metric,
    series: &'a str,
    value: Decimal,
    comparator: Comparator,
    spot: bool,
    at: WallTime,
    /// A spot value: when its box heard it; `None` where that box did not judge it for this subject.
    heard: Option<WallTime>,
    gap: bool,
    /// Late, and how old it was: only what is urgent may sound.
    late_ms: Option<i64>,
    /// A clock was wrong: when it was measured is doubtful.
    suspect: bool,
    /// It is implausible.
    check: bool,
}

impl Engine {
    pub(super) fn take(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        reading: &Reading,
        moment: Moment,
        (spot, late_ms, heard): (bool, Option<i64>, Option<WallTime>),
        touched: &mut BTreeSet<String>,
    ) {
        let Moment { at: t_meas, suspect, .. } = moment;
        let heard = heard.filter(|_| spot);
        let metric = reading.metric;
        let class = metric.row().class;
        let device = &group.device;
        let name = number_of(metric, group.channel.as_str());
        let known = self.device(device);
        if known.newest.get(&name).is_some_and(|newest| t_meas < *newest) {
            return;
        }
        known.newest.insert(name.clone(), t_meas);
        if matches!(class, Class::NibpSys | Class::NibpDia | Class::NibpMean | Class::CuffPressure)
        {
            known.cuff_at = known.cuff_at.max(Some(t_meas));
        }
        if self.hear_of_device(rules, group, reading, (&name, t_meas, spot), touched) {
            return;
        }
        self.cease_without_value(rules, device, reading, &name, touched);
        if late_ms.is_none() {
            self.judge_unit(rules, group, reading, moment, touched);
        }
        let value = reading.canonical().filter(|_| reading.validity != Validity::Invalid);
        let value = value.filter(|(value, _)| {
            let on_bed = !spot && class == Class::Temp && self.lies_on_the_bed(device, *value);
            let reads = on_bed.then_some((*value, t_meas));
            self.judge_probe(rules, device, metric, &name, reads, touched);
            !on_bed
        });
        let has_value = value.is_some();
        if class == Class::Hr && !self.rank_is_read(rules, device, reading, t_meas, has_value) {
            return;
        }
        let Some((value, comparator)) = value else { return };
        // The ranks of the heart rate are one series; every other stream is its own.
        let series = match spot {
            _ if class == Class::Hr => self.name(device, "hr"),
            true => spot_series(class),
            false => self.name(device, &name),
        };
        if spot && class != Class::Hr {
            let newest = self.spots.entry(class.name().to_owned()).or_insert(t_meas);
            if t_meas < *newest {
                return;
            }
            *newest = t_meas;
        }
        let gap_ms = rules.gap_ms(self.pace_of(device));
        let gap = self
            .valued
            .insert(series.clone(), t_meas)
            .is_none_or(|newest| t_meas.unix_ms().saturating_sub(newest.unix_ms()) > gap_ms);
        let check = reading.validity == Validity::Questionable;
        let channel = group.channel.as_str();
        let newest = self.latest.get(class.name()).is_none_or(|latest| t_meas >= latest.at);
        let latest = Latest {
            at: t_meas,
            value: value.to_string(),
            metric: Some(metric),
            series: series.clone(),
            comparator: comparator.sign().map(str::to_owned),
            spot,
            check,
            device: Some(device.clone()),
            channel: channel.to_owned(),
            heard,
            late_ms,
            suspect,
        };
        self.remember(&latest);
        if newest {
            self.latest.insert(class.name().to_owned(), latest);
        }
        let series = series.as_str();
        let seen = Seen {
            device,
            channel,
            metric,
            series,
            value,
            comparator,
            spot,
            at: t_meas,
            heard,
            gap,
            late_ms,
            suspect,
            check,
        };
        self.judge_limits(rules, &seen, newest, touched);
        let kind = self.kind_of(device);
        for rule in rules.technical_of(class).filter(|rule| rule.is_for(kind)) {
            let of = (device, channel, metric);
            self.judge_steps(rules, rule, of, (Some(seen.value), t_meas), touched);
        }
    }

    /// Judges a value by the rules that have a limit for it; `newest`: none of its class is newer.
    pub(super) fn judge_limits(
        &mut self,
        rules: &RuleSet,
        seen: &Seen<'_>,
        newest: bool,
        touched: &mut BTreeSet<String>,
    ) {
        let class = seen.metric.row().class;
        let facts = self.facts_at(rules, seen.at, touched);
        for rule in rules.in_force(class, &facts) {
            self.judge(rules, rule, &facts, seen, touched);
        }
        if newest {
            self.judge_the_other_half(rules, class, &facts, seen, touched);
        }
    }

    pub(super) fn kind_of(&self, device: &DeviceId) -> Option<DeviceKind> {
        self.devices.get(device).and_then(|device| device.kind)
    }

    /// Whether a heart rate of that metric is the one rules read now: while an earlier rank has
    /// values and is not off, a later one waits (metric catalogue, "Classes").
    fn rank_is_read(
        &mut self,
        rules: &RuleSet,
        device: &DeviceId,
        reading: &Reading,
        t_meas: WallTime,
        has_value: bool,
    ) -> bool {
        let rank = reading.metric.row().class_rank.unwrap_or(u8::MAX);
        let ranks = &mut self.device(device).ranks;
        if has_value {
            ranks.insert(rank, (t_meas, true));
        } else if matches!(reading.value, Err(NoData::Off | NoData::LeadOff | NoData::SensorOff)) {
            ranks.entry(rank).or_insert((t_meas, false)).1 = false;
        }
        let speaks = |of: &Device, (valued, on): &(WallTime, bool)| {
            let silent_ms = rules.gap_ms(of.pace()).max(RANK_SILENT_MS);
            *on && t_meas.unix_ms().saturating_sub(valued.unix_ms()) < silent_ms
        };
        let earlier_speaks = self
            .devices
            .values()
            .any(|of| of.ranks.range(..rank).any(|(_, last)| speaks(of, last)));
        if earlier_speaks || !has_value {
            return false;
        }
        if self.rank.replace(rank).is_some_and(|before| before != rank) {
            // Another way of measuring begins its sustain and its hold anew, and clears nothing.
            for (_, series) in self.series.iter_mut().filter(|(key, _)| key.ends_with("|hr")) {
                series.begin_anew();
            }
        }
        let others = self.devices.iter().filter(|(id, of)| {
            *id != device && !of.ranks.get(&rank).is_some_and(|last| speaks(of, last))
        });
        let gone: Vec<DeviceId> = others.map(|(id, _)| id.clone()).collect();
        for from in gone {
            self.hand_heart_rate_over(&from, device);
        }
        true
    }

    /// What fired by the heart rate of one device goes on by that of another, which can end it.
    fn hand_heart_rate_over(&mut self, from: &DeviceId, to: &DeviceId) {
        let (from, to_name) = (self.name(from, "hr"), self.name(to, "hr"));
        let of_rule = |key: &str| {
            key.split_once('|')
                .filter(|(_, name)| *name == from)
                .map(|(rule, _)| format!("{rule}|{to_name}"))
        };
        let keys: Vec<(String, String)> =
            self.series.keys().filter_map(|key| Some((key.clone(), of_rule(key)?))).collect();
        for (old, new) in keys {
            if let Some(mut series) = self.series.remove(&old) {
                series.hand_over(self.series.entry(new.clone()).or_default());
            }
            for episode in self.episodes.values_mut() {
                if let Some(firing) = episode.firing.remove(&old) {
                    episode.fire(new.clone(), firing.goes_on_by(to));
                }
            }
        }
        self.series.retain(|_, series| *series != Series::default());
    }

    fn judge(
        &mut self,
        rules: &RuleSet,
        rule: &Threshold,
        facts: &Facts,
        seen: &Seen<'_>,
        touched: &mut BTreeSet<String>,
    ) {
        let also = rule.also.as_ref();
        let other = also.and_then(|also| self.latest.get(also.class.name()));
        // A box knew both when it had heard the second of them.
        let heard = other.map_or(seen.heard, |other| {
            other.heard.zip(seen.heard).map(|(other, heard)| heard.max(other))
        });
        let limit = self.profile.limit(rule, facts, self.by_profile(seen.at));
        let Some(mut outside) = meets(rule.op, limit, seen.value, seen.comparator) else {
            return;
        };
        if let Some(also) = also {
            outside &= other.is_some_and(|other| {
                is_near(seen.at, other.at, also.window_ms)
                    && other.number().is_some_and(|(value, comparator)| {
                        meets(also.op, also.limit, value, comparator) == Some(true)
                    })
            });
        }
        if outside && seen.late_ms.is_some() && rule.priority == Priority::Low {
            return;
        }
        if self.is_told(&rule.family, seen, heard, outside) {
            return;
        }
        let mut episode = self.episodes.get_mut(&rule.family);
        // The next spot value of a class clears, and the heart rate is one, whoever measures it.
        // What repeats no spot value of another device clears.
        let is_one = match seen.spot {
            true => episode.as_ref().is_none_or(|episode| episode.is_of_spot()),
            false => rule.class == Class::Hr,
        };
        let of = (!is_one).then_some(seen.device);
        let adopted = episode.as_mut().and_then(|it| it.adopted_for(rule, of, seen));
        let is_over = episode.is_some_and(|episode| episode.found_over.is_some());
        // Inside, where nothing stands: that is nearly every value.
        if !outside && self.series.is_empty() && adopted.is_none() && !is_over {
            return;
        }
        let suppressed = self.is_suppressed(rule, seen);
        let key = format!("{}|{}", rule.id, seen.series);
        let known = self.series.get(&key).copied();
        // What began here while nothing was told of it yet goes on in what was.
        let holds = known.filter(Series::holds);
        let mut series = holds.or(adopted).or(known).unwrap_or_default();
        let judged = if suppressed {
            // Stops new alerts and clears nothing: what no alert rests on would be a new one.
            match self.present(&rule.family) {
                Some(_) => series.begin_anew(),
                None => series = Series::default(),
            }
            Judged::Quiet
        } else if seen.spot && (outside || !series.is_sustained()) {
            series.spot(seen.at, outside, rule.promote)
        } else {
            // What a stream began no single value ends: one that is measured once is a value of the
            // hold, and those of a device that never is silent have no gap.
            let clear = rule.clears_at(limit);
            let clears = clear.is_none_or(|(op, value, _)| {
                meets(op, value, seen.value, seen.comparator) == Some(true)
            });
            let hold_ms = clear.map_or(0, |(_, _, hold_ms)| hold_ms);
            if seen.gap && !seen.spot {
                series.begin_anew();
            }
            series.stream(seen.at, outside, clears, rule.sustain_ms, hold_ms)
        };
        let number = || (seen.device.clone(), seen.channel.to_owned(), seen.metric);
        self.note_pending(rule, number, seen.at, (known, series));
        // Where nothing stands there is nothing to remember: that is most series of most devices.
        match series == Series::default() {
            true => drop(self.series.remove(&key)),
            false => drop(self.series.insert(key.clone(), series)),
        }
        match judged {
            Judged::Firing { promoted } => {
                let priority = promoted.unwrap_or(rule.priority);
                let began = self.began(rules, rule, seen.at);
                let limit = format!("{} {limit}", rule.op.sign());
                let says = says([&rule.message_zh, &rule.message_en], seen.late_ms);
                let asks = seen.spot && outside;
                let firing = Firing {
                    device: Some(seen.device.clone()),
                    check: seen.check,
                    late_result: seen.late_ms.is_some(),
                    recheck_at: asks.then(|| after(seen.at, rule.recheck_ms)),
                    rechecked_until: asks.then(|| after(seen.at, rule.rechecked_within_ms)),
                    metric: Some(seen.metric),
                    value: outside.then(|| seen.value.to_string()),
                    comparator: seen.comparator.sign().map(str::to_owned),
                    limit: Some(limit),
                    time_suspect: seen.suspect,
                    ..Firing::new(&rule.id, priority, began, says.each_ref().map(String::as_str))
                };
                let episode = self.episodes.entry(rule.family.clone()).or_default();
                episode.beside_told(of, |episode| episode.fire(key, firing));
                touched.insert(rule.family.clone());
            }
            Judged::Cleared => {
                if let Some(episode) = self.episodes.get_mut(&rule.family) {
                    episode.beside_told(of, |episode| episode.cease(&key));
                }
                touched.insert(rule.family.clone());
            }
            // The pass over late readings found that it was over.
            Judged::Quiet if is_over && !suppressed => self.cease(&rule.family, &key, touched),
            Judged::Quiet => {}
        }
    }

    /// Whether what the box told of a family speaks for that value too.
    fn is_told(
        &self,
        family: &str,
        seen: &Seen<'_>,
        heard: Option<WallTime>,
        outside: bool,
    ) -> bool {
        let until = self.told_until.get(family);
        let was_heard = heard.zip(until).is_some_and(|(heard, until)| heard <= *until);
        let is_over = self.told_over.contains(family);
        if !outside {
            // What was measured before the box's last word ends nothing that it told of; where
            // nothing held by that, it ends what is older still and was heard since.
            let is_before = seen.spot && until.is_some_and(|until| seen.at <= *until);
            return (was_heard || is_before) && !is_over;
        }
        // What repeats and was outside before an alert was over was over with it.
        let alert = self.episodes.get(family).and_then(|episode| episode.alert.as_ref());
        let own = alert.filter(|alert| is_over && !seen.spot && alert.device == *seen.device);
        was_heard || own.and_then(|alert| alert.cleared_at).is_some_and(|over| seen.at <= over)
    }

    /// Whether what it measures may be nobody's: a lead or a probe is off, or a cuff has taken the
    /// pulse away.
    fn is_suppressed(&self, rule: &Threshold, seen: &Seen<'_>) -> bool {
        let Some(device) = self.devices.get(seen.device) else { return false };
        let about = (seen.metric.row().class, seen.channel);
        (rule.suppress_lead_off
            && self.rank == Some(1)
            && device.holds(LEAD_OFF_RULE, seen.at, None))
            || (rule.suppress_probe_off && device.holds(PROBE_OFF_RULE, seen.at, Some(about)))
            || (rule.suppress_cuff
                && device.cuff_measures(seen.at)
                && !self.profile.cuff_on_other_limb)
    }

    /// A value that completes a rule of two classes: the first of the two was there before it.
    fn judge_the_other_half(
        &mut self,
        rules: &RuleSet,
        class: Class,
        facts: &Facts,
        second: &Seen<'_>,
        touched: &mut BTreeSet<String>,
    ) {
        let completed = rules.completed_by(class);
        for (rule, window_ms) in completed.filter(|(rule, _)| rules.is_in_force(rule, facts)) {
            let Some(first) = self.latest.get(rule.class.name()).cloned() else { continue };
            let Some(first) = first.seen() else { continue };
            if is_near(second.at, first.at, window_ms) {
                let seen = Seen { late_ms: second.late_ms, suspect: second.suspect, ..first };
                self.judge(rules, rule, facts, &seen, touched);
            }
        }
    }

    /// `t_meas` of the first reading outside any rule of the family: the episode's begin. What a
    /// gap has broken off is not part of it.
    fn began(&self, rules: &RuleSet, rule: &Threshold, at: WallTime) -> WallTime {
        let goes_on = |series: &str| {
            let gap_ms = rules.gap_ms(self.pace_by(series));
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

    /// The class that is read in a series.
    pub(super) fn class_of(&self, series: &str) -> Option<Class> {
        if let Some(class) = series.strip_prefix(SPOT_PREFIX) {
            return Class::from_name(class);
        }
        let what = match self.subject.patient() {
            Some(_) => series.split_once('|')?.1,
            None => series,
        };
        match what.split_once('|') {
            Some((metric, _)) => Metric::from_name(metric).map(|metric| metric.row().class),
            None => Some(Class::Hr),
        }
    }

    /// How often the device speaks whose series that is.
    fn pace_by(&self, series: &str) -> Pace {
        let of_device = series.split_once('|').map_or("", |(device, _)| device);
        let alone = self.subject.patient().is_none();
        let named = self.devices.iter().find(|(id, _)| alone || id.as_str() == of_device);
        named.map(|(_, device)| device.pace()).unwrap_or_default()
    }

    /// What has no number any more because it is switched off meets no technical limit.
    fn cease_without_value(
        &mut self,
        rules: &RuleSet,
        device: &DeviceId,
        reading: &Reading,
        name: &str,
        touched: &mut BTreeSet<String>,
    ) {
        match &reading.value {
            Ok(_) | Err(NoData::Silent) => return,
            Err(NoData::Off | NoData::NotAvailable) => {
                for rule in rules.technical_of(reading.metric.row().class) {
                    let family = self.technical_key(&rule.family, device);
                    self.cease(&family, &format!("{}|{name}", rule.id), touched);
                }
            }
            Err(_) => {}
        }
        self.judge_probe(rules, device, reading.metric, name, None, touched);
    }

    /// A monitor's temperature channel reads what the room has: the probe lies on the bed
    /// (metric catalogue, "Unit traps").
    fn lies_on_the_bed(&self, device: &DeviceId, value: Decimal) -> bool {
        self.kind_of(device) == Some(DeviceKind::Monitor)
            && value >= Decimal::fixed(ROOM_CEL.0, 0)
            && value <= Decimal::fixed(ROOM_CEL.1, 0)
    }

    /// The probe is off because of what it reads, or is not any more.
    fn judge_probe(
        &mut self,
        rules: &RuleSet,
        device: &DeviceId,
        metric: Metric,
        name: &str,
        on_bed: Option<(Decimal, WallTime)>,
        touched: &mut BTreeSet<String>,
    ) {
        let about = metric.row().class == Class::Temp;
        let Some(rule) = rules.technical(PROBE_OFF_RULE).filter(|_| about) else { return };
        let key = format!("{}|{name}", rule.id);
        let step = rule.steps(self.profile.monitored).next();
        let family = self.technical_key(&rule.family, device);
        if let (Some((value, at)), Some(step)) = (on_bed, step) {
            let mut firing = technical(rule, step.priority, at);
            (firing.metric, firing.device) = (Some(metric), Some(device.clone()));
            firing.value = Some(value.to_string());
            self.episodes.entry(family.clone()).or_default().fire(key, firing);
            touched.insert(family);
        } else {
            self.cease(&family, &key, touched);
        }
    }

    /// What a reading says of its device; whether that is all it says.
    fn hear_of_device(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        reading: &Reading,
        (name, at, spot): (&str, WallTime, bool),
        touched: &mut BTreeSet<String>,
    ) -> bool {
        let (device, channel) = (&group.device, group.channel.as_str());
        self.hear_infusion(rules, (device, channel), reading, at);
        match reading.metric {
            Metric::PUMP_DRUG => self.hear_drug(device, channel, reading),
            Metric::PUMP_RATE => self.hear_rate(device, channel, reading),
            Metric::PUMP_STATE | Metric::PUMP_VTBI_REM => {
                self.judge_stopped(rules, (device, channel), reading, at, touched);
            }
            Metric::BATT_STATE => {
                self.judge_battery(rules, device, channel, (reading, at), touched);
            }
            _ if spot => {}
            _ => self.judge_sensor(rules, device, reading, (name, at), touched),
        }
        matches!(reading.metric, Metric::PUMP_DRUG | Metric::BATT_STATE)
    }

    /// A sensor that is off measures nobody: that is an alert of its device, by the steps of the rule,
    /// until there is a value, or the device has none to give.
    fn judge_sensor(
        &mut self,
        rules: &RuleSet,
        device: &DeviceId,
        reading: &Reading,
        (name, at): (&str, WallTime),
        touched: &mut BTreeSet<String>,
    ) {
        let metric = reading.metric;
        let of_leads = matches!(metric, Metric::HR | Metric::RR_IMP);
        let off = match &reading.value {
            Err(NoData::LeadOff) => Some(LEAD_OFF_RULE),
            Err(NoData::SensorOff) if of_leads => Some(LEAD_OFF_RULE),
            Err(NoData::SensorOff) => Some(PROBE_OFF_RULE),
            Ok(_) | Err(NoData::Off | NoData::NotAvailable) => None,
            Err(_) => return,
        };
        if !self.is_fitted(device, name) {
            return;
        }
        let mut began = at;
        if let Some(rule) = off.and_then(|id| rules.technical(id)) {
            if self.is_told_over(&rule.family, device, at) {
                return;
            }
            let told = self.episodes.get(&self.technical_key(&rule.family, device));
            began = told.and_then(|told| told.told_since(&rule.id, name)).unwrap_or(at).min(at);
        } else {
            for rule in [LEAD_OFF_RULE, PROBE_OFF_RULE] {
                self.end_told(rules, rule, (device, name), at, touched);
            }
        }
        let known = self.device(device);
        let since = match off {
            Some(_) => *known.off.entry(name.to_owned()).or_insert(began),
            None if known.off.remove(name).is_some() => at,
            None => return,
        };
        let elapsed = at.unix_ms().saturating_sub(since.unix_ms());
        let pace = known.pace();
        for rule in [LEAD_OFF_RULE, PROBE_OFF_RULE].into_iter().filter_map(|id| rules.technical(id))
        {
            let key = off_key(&rule.id, name);
            let family = self.technical_key(&rule.family, device);
            let mut steps = rule.steps(self.profile.monitored);
            let step = steps.rfind(|step| rules.wait_ms(step, pace) <= elapsed);
            let Some(step) = step.filter(|_| off == Some(&*rule.id)) else {
                self.cease(&family, &key, touched);
                continue;
            };
            let mut firing = technical(rule, step.priority, since);
            (firing.metric, firing.device) = (Some(metric), Some(device.clone()));
            self.episodes.entry(family.clone()).or_default().fire(key, firing);
            touched.insert(family);
        }
    }

    /// What the sensors of a device that are off are called in their families.
    pub(super) fn off_names(&self, device: &DeviceId) -> impl Iterator<Item = String> {
        let off = self.devices.get(device).into_iter().flat_map(|known| known.off.keys());
        off.flat_map(|name| [LEAD_OFF_RULE, PROBE_OFF_RULE].map(|rule| off_key(rule, name)))
    }

    pub(super) fn cease(&mut self, family: &str, key: &str, touched: &mut BTreeSet<String>) {
        let firing = self.episodes.get_mut(family).filter(|episode| episode.is_firing(key));
        if let Some(episode) = firing {
            episode.cease(key);
            touched.insert(family.to_owned());
        }
    }

    /// Judges a number by the steps of a technical rule; what has none meets none.
    pub(super) fn judge_steps(
        &mut self,
        rules: &RuleSet,
        rule: &TechnicalRule,
        (device, channel, metric): (&DeviceId, &str, Metric),
        (number, at): (Option<Decimal>, WallTime),
        touched: &mut BTreeSet<String>,
    ) {
        let name = number_of(metric, channel);
        let key = format!("{}|{name}", rule.id);
        let family = self.technical_key(&rule.family, device);
        let holds = number.and_then(|number| {
            let zero = Decimal::ZERO;
            let value = match rule.absolute && number < zero {
                true => Decimal::new(-number.mantissa(), number.exponent()).unwrap_or(zero),
                false => number,
            };
            let is_met = |step: &&Step| {
                step.test.is_some_and(|(op, limit)| {
                    meets(op, limit, value, Comparator::Equal) == Some(true)
                })
            };
            Some((number, rule.steps(self.profile.monitored).rfind(is_met)?))
        });
        let Some((number, step)) = holds else {
            self.end_told(rules, &rule.id, (device, &name), at, touched);
            return self.cease(&family, &key, touched);
        };
        if self.is_told_over(&rule.family, device, at) {
            return;
        }
        let priority = step.priority_with(self.is_critical(rules, device, channel));
        let mut firing = technical(rule, priority, at);
        (firing.metric, firing.device) = (Some(metric), Some(device.clone()));
        firing.value = Some(number.to_string());
        firing.limit = step.test.map(|(op, limit)| format!("{} {limit}", op.sign()));
        self.episodes.entry(family.clone()).or_default().fire(key, firing);
        touched.insert(family);
    }
}

impl Episode {
    /// Where a rule stands by what was taken over, for a value. A heart rate that a stream had said
    /// no single pulse ends; it was none where it was measured once, as this value is.
    fn adopted_for(
        &mut self,
        rule: &Threshold,
        of: Option<&DeviceId>,
        seen: &Seen<'_>,
    ) -> Option<Series> {
        let series = self.take_adopted(&rule.id, of)?;
        let is_measured_so = |alert: &Alert| {
            seen.spot && alert.device == *seen.device && alert.metric == Some(seen.metric)
        };
        let is_of_spot = self.is_of_spot() || self.alert.as_ref().is_some_and(is_measured_so);
        let is_of_stream = rule.class == Class::Hr && !is_of_spot;
        Some(if is_of_stream { series.sustained() } else { series })
    }
}

fn off_key(rule: &str, name: &str) -> String {
    format!("{rule}|{name}|off")
}

fn is_near(a: WallTime, b: WallTime, window_ms: i64) -> bool {
    a.unix_ms().abs_diff(b.unix_ms()) <= window_ms.unsigned_abs()
}
