//! Whom alerts are about, and what becomes of them when that changes: a device is bound or taken
//! off, a patient changes or leaves, a result is moved.
//!
//! # Invariants
//! - the subject of a reading is that of the binding in force when it was measured, or whom a
//!   person moved it to
//! - what rests on a device that leaves, or on a result that is moved, is closed with the reason
//! - what comes of a device after it has left is history of whom it was with, and begins nothing

use super::{Context, Evaluation, join, score::sites_with_devices};
use crate::{
    patients::{
        self,
        binding::{Binding, Bound, Ended, ended_why, owned},
        observed,
        profile::profile_of_a_day,
        tray::{self, Move},
    },
    reading::{GROUPS, Group},
};
use model::{
    alarm::{AlarmPhase, DeviceAlarm},
    id::{DeviceId, SiteId},
    reading::{Occurrence, ReadingGroup},
    time::WallTime,
};
use rules::{
    alert::{Alert, AlertId, AlertState},
    binding::{PatientKey, Subject},
    engine::{Before, Engine, ReadingInput},
    freshness::{Freshness, Moment},
    population::Profile,
};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Why what a device said on nobody ends.
const BOUND: &str = "bound to a patient";

impl Evaluation {
    /// The patient on whom a device was at a moment.
    pub(crate) fn patient_at(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        device: &DeviceId,
        at: WallTime,
    ) -> rusqlite::Result<Option<&str>> {
        self.bound.patient_at(context.connection, site, device, at)
    }

    /// Whom a device was about at a moment.
    pub(super) fn subject_at(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        device: &DeviceId,
        at: WallTime,
    ) -> rusqlite::Result<Subject> {
        let patient = self.patient_at(context, site, device, at)?;
        Ok(subject(site, device, patient))
    }

    /// What the rules know of a subject; of a patient they know the profile.
    pub(crate) fn known(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        subject: &Subject,
    ) -> rusqlite::Result<&mut Engine> {
        let engine = self.engine(context.connection, site, subject)?;
        let is_new = *engine.profile() == Profile::default();
        if let Some(key) = subject.patient().filter(|_| is_new) {
            self.tell_profile(context, site, key)?;
        }
        self.engine(context.connection, site, subject)
    }

    fn tell_profile(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        key: &PatientKey,
    ) -> rusqlite::Result<()> {
        let Some(patient) = patients::known(context.connection, key.as_str())? else {
            return Ok(());
        };
        let profile = profile_of_a_day(context.connection, &patient, context.now)?;
        let engine = self.engine(context.connection, site, &Subject::Patient(key.clone()))?;
        if patient.about.discharged {
            // Nothing of theirs goes on; what came late is judged by their own rules all the same.
            engine.meet_profile(profile);
            return Ok(());
        }
        let is_asked = profile.birth.is_none() && !engine.tells_age(context.rules);
        let tells_age = !(is_asked && self.tells_age_elsewhere(context, site, key)?);
        let engine = self.engine(context.connection, site, &Subject::Patient(key.clone()))?;
        let Context { rules, now, .. } = context;
        let changed = engine.set_profile_where(rules, now, profile, tells_age);
        self.note(changed);
        Ok(())
    }

    /// Whether another site says already that nobody knows how old that patient is.
    fn tells_age_elsewhere(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        key: &PatientKey,
    ) -> rusqlite::Result<bool> {
        for other in self.sites_of(context, key)?.iter().filter(|other| *other != site) {
            let patient = Subject::Patient(key.clone());
            if self.engine(context.connection, other, &patient)?.tells_age(context.rules) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One site says that nobody knows how old a patient is: where it was said first, as long as a
    /// device of theirs is there.
    fn place_age(&mut self, context: Context<'_>, key: &PatientKey) -> rusqlite::Result<()> {
        let Context { connection, rules, now } = context;
        let patient = Subject::Patient(key.clone());
        let mut told = Vec::new();
        for site in self.sites_of(context, key)? {
            if self.engine(connection, &site, &patient)?.tells_age(rules) {
                told.push(site);
            }
        }
        let with_devices = sites_with_devices(connection, key)?;
        let stays = told.iter().find(|site| with_devices.contains(site));
        let Some(place) = stays.or(with_devices.first()).or(told.first()).cloned() else {
            return Ok(());
        };
        if told.is_empty() || told == [place.clone()] {
            return Ok(());
        }
        for site in told.iter().chain([&place]) {
            let engine = self.engine(connection, site, &patient)?;
            let changed = engine.tell_age(rules, now, *site == place);
            self.note(changed);
        }
        Ok(())
    }

    /// Whether what a device measured then is history of whom it was on: it is with another since,
    /// and nothing that it says ends what it has begun there.
    ///
    /// A result of a patient who is still there is none: the next of its kind goes on with it.
    pub(crate) fn is_history(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        group: &ReadingGroup,
        at: WallTime,
    ) -> rusqlite::Result<bool> {
        let then = self.subject_at(context, site, &group.device, at)?;
        if then == self.subject_at(context, site, &group.device, context.now)? {
            return Ok(false);
        }
        let patient = then.patient().filter(|_| group.occurrence == Occurrence::Spot);
        let Some(key) = patient else { return Ok(true) };
        has_left(context.connection, key)
    }

    /// What a device signalled before it came to whom it is with now is history of whom it was
    /// with. Hands out since when it is there, and on whom it was, where that was before.
    pub(super) fn alarm_of_before(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        said: Moment,
        alarm: &DeviceAlarm,
    ) -> rusqlite::Result<Option<Before>> {
        let Context { connection, rules, now } = context;
        let device = &alarm.device;
        let then = self.subject_at(context, site, device, said.at)?;
        if then == self.subject_at(context, site, device, now)? {
            return Ok(None);
        }
        let owned = owned(connection, site, device, 0, now.unix_ms())?;
        let moment = |at: Option<i64>| at.map_or(said.at, WallTime::from_unix_ms);
        let there = owned.iter().find(|of| (of.from_ms..of.until_ms).contains(&said.at.unix_ms()));
        let left = moment(there.map(|there| there.until_ms));
        let put_on_ms = there.map_or(0, |there| there.from_ms);
        if let Some(began) = began_at(connection, site, (put_on_ms, said.at), alarm)? {
            let is_over = alarm.phase == AlarmPhase::End;
            let until = if is_over { said.at } else { left };
            let span = (Moment { at: began, ..said }, until);
            let past = self.known(context, site, &then)?.past_alarm(rules, now, span, alarm);
            self.tell_past(connection, past, is_over)?;
        }
        let came = moment(owned.last().map(|last| last.from_ms));
        Ok(Some(Before { came, of: then.patient().cloned() }))
    }

    /// Tells of an alarm of before as history, unless its box does; when it is over, of its end.
    fn tell_past(
        &mut self,
        connection: &Connection,
        past: Option<(Alert, Option<AlertId>)>,
        is_over: bool,
    ) -> rusqlite::Result<()> {
        let Some((alert, whole)) = past else { return Ok(()) };
        let known = match self.changed.get(&alert.id) {
            Some(known) => Some(known.retro && known.state == AlertState::Closed),
            None => was_told_as_history(connection, alert.id)?,
        };
        match (known, whole) {
            (None, None) if !is_over => {}
            (Some(true), None) if is_over => {}
            (Some(true), Some(whole)) if is_over => join(connection, alert.id, whole)?,
            _ => return Ok(()),
        }
        self.note(vec![alert]);
        Ok(())
    }

    /// A device is on a patient from now on.
    pub(crate) fn began(
        &mut self,
        context: Context<'_>,
        binding: &Binding,
    ) -> rusqlite::Result<()> {
        let Some((site, device)) = binding.place() else { return Ok(()) };
        let to = subject(&site, &device, binding.patient.as_deref());
        let from = Subject::unbound(&site, &device);
        let at = WallTime::from_unix_ms(binding.from_ms);
        self.hand_over(context, (&site, &device), (&from, &to), at, BOUND)?;
        self.tell_box(context, &site)?;
        to.patient().map_or(Ok(()), |key| self.place_age(context, key))
    }

    /// A device is on a patient no more; results that were measured afterwards wait for theirs.
    pub(crate) fn ended(
        &mut self,
        context: Context<'_>,
        Ended { binding, to_tray }: &Ended,
    ) -> rusqlite::Result<()> {
        let Some((site, device)) = binding.place() else { return Ok(()) };
        let from = subject(&site, &device, binding.patient.as_deref());
        let to = Subject::unbound(&site, &device);
        let at = WallTime::from_unix_ms(binding.until_ms.unwrap_or(context.now.unix_ms()));
        let reason = binding.ended_reason.as_deref().unwrap_or_default();
        self.hand_over(context, (&site, &device), (&from, &to), at, reason)?;
        self.tell_box(context, &site)?;
        if let Some(key) = from.patient() {
            self.score_without(context, key, (&site, &device), reason)?;
            self.place_age(context, key)?;
        }
        to_tray.iter().try_for_each(|moved| self.moved(context, moved))
    }

    fn hand_over(
        &mut self,
        context: Context<'_>,
        (site, device): (&SiteId, &DeviceId),
        (from, to): (&Subject, &Subject),
        at: WallTime,
        reason: &str,
    ) -> rusqlite::Result<()> {
        // What was asked for before this is of before it.
        self.bound = Bound::default();
        if from == to {
            return Ok(());
        }
        let Context { rules, now, .. } = context;
        let leaving = self.known(context, site, from)?;
        let (moved, changed) = leaving.device_left(rules, now, at, device, reason);
        self.note(changed);
        let changed = self.known(context, site, to)?.device_joined(now, at, moved);
        self.note(changed);
        Ok(())
    }

    /// What decides about the rules of a patient has changed.
    pub(crate) fn patient_changed(
        &mut self,
        context: Context<'_>,
        key: &str,
    ) -> rusqlite::Result<()> {
        let Ok(key) = PatientKey::new(key) else { return Ok(()) };
        for site in self.sites_of(context, &key)? {
            self.tell_profile(context, &site, &key)?;
        }
        for site in sites_with_devices(context.connection, &key)? {
            self.tell_box(context, &site)?;
        }
        self.place_age(context, &key)
    }

    /// The rules of the box of a site know whether it serves somebody who is monitored.
    pub(super) fn tell_box(&mut self, context: Context<'_>, site: &SiteId) -> rusqlite::Result<()> {
        let Context { connection, rules, now } = context;
        let monitored = serves_monitored(connection, site)?;
        let engine = self.engine(connection, site, &Subject::Box)?;
        if engine.profile().monitored != monitored {
            let changed =
                engine.set_profile(rules, now, Profile { monitored, ..Profile::default() });
            self.note(changed);
        }
        Ok(())
    }

    /// A patient was discharged: nothing of theirs goes on.
    pub(crate) fn patient_left(
        &mut self,
        context: Context<'_>,
        key: &str,
        reason: &str,
    ) -> rusqlite::Result<()> {
        let Ok(key) = PatientKey::new(key) else { return Ok(()) };
        for site in self.sites_of(context, &key)? {
            let engine = self.engine(context.connection, &site, &Subject::Patient(key.clone()))?;
            let changed = engine.close(context.now, reason);
            self.note(changed);
        }
        Ok(())
    }

    /// Where rules know a patient.
    pub(super) fn sites_of(
        &self,
        context: Context<'_>,
        key: &PatientKey,
    ) -> rusqlite::Result<Vec<SiteId>> {
        let subject = Subject::Patient(key.clone());
        let stored: Vec<String> = context
            .connection
            .prepare_cached("SELECT site FROM engine WHERE device = ?1")?
            .query_map([subject.name(&SiteId::county())], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let stored = stored.iter().filter_map(|site| SiteId::stored(site).ok());
        let here = self.engines.keys().filter(|(_, known)| *known == subject);
        let mut sites: Vec<SiteId> = stored.chain(here.map(|(site, _)| site.clone())).collect();
        sites.sort();
        sites.dedup();
        Ok(sites)
    }

    /// A result is somebody else's: what it raised for the one is closed, and it is judged for the
    /// other as late as it is by now.
    pub(crate) fn moved(&mut self, context: Context<'_>, moved: &Move) -> rusqlite::Result<()> {
        let row = context
            .connection
            .prepare_cached(&format!("{GROUPS} WHERE reading_group.id = ?1"))?
            .query_row([moved.group], Group::of_row)?;
        let (Ok(site), Some(group)) = (SiteId::stored(&row.site), tray::as_said(&row)) else {
            return Ok(());
        };
        let at = WallTime::from_unix_ms(row.measured_ms);
        let t_meas = Moment { at, suspect: row.time_suspect, only_bounded: false };
        self.take_back(context, &site, &group, at, moved)?;
        if let Some(before) = moved.before.as_deref().and_then(|key| PatientKey::new(key).ok()) {
            let measured = observed::counted(group.readings.clone(), at, true);
            self.score_left(context, &before, &measured, &moved.reason)?;
        }
        let to = subject(&site, &group.device, moved.patient.as_deref());
        if let Some(key) = to.patient()
            && has_left(context.connection, key)?
        {
            // It is history of theirs: nothing of them goes on.
            return Ok(());
        }
        let freshness = Freshness::of(&group, t_meas, context.now);
        let input = ReadingInput { group: &group, t_meas, freshness };
        let engine = self.known(context, &site, &to)?;
        // What its box told of this subject was without this result.
        let changed = engine.on_readings(context.rules, context.now, input);
        self.note(changed);
        Ok(())
    }

    fn take_back(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        group: &ReadingGroup,
        at: WallTime,
        moved: &Move,
    ) -> rusqlite::Result<()> {
        let from = subject(site, &group.device, moved.before.as_deref());
        let engine = self.known(context, site, &from)?;
        let changed =
            engine.result_left(context.rules, context.now, (&group.device, at), &moved.reason);
        self.note(changed);
        Ok(())
    }
}

/// Whether a patient is not there any more.
fn has_left(connection: &Connection, key: &PatientKey) -> rusqlite::Result<bool> {
    let patient = patients::known(connection, key.as_str())?;
    Ok(patient.is_none_or(|patient| patient.about.discharged))
}

/// Whether a device of a site is on a patient who is monitored.
fn serves_monitored(connection: &Connection, site: &SiteId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM binding JOIN patient USING (patient)
               WHERE site = ?1 AND until_ms IS NULL AND discharged_ms IS NULL
                 AND json_extract(about, '$.monitored'))",
        )?
        .query_row([site.as_str()], |row| row.get(0))
}

/// When a device was taken off whom it was about at that moment, and why.
pub(super) fn left_since(
    Context { connection, now, .. }: Context<'_>,
    site: &SiteId,
    device: &DeviceId,
    at: WallTime,
) -> rusqlite::Result<Option<(WallTime, String)>> {
    let owned = owned(connection, site, device, at.unix_ms(), now.unix_ms())?;
    let Some(left_ms) = owned.first().map(|first| first.until_ms) else { return Ok(None) };
    let reason = ended_why(connection, site, device, left_ms)?;
    let reason = reason.unwrap_or_else(|| BOUND.to_owned());
    Ok(Some((WallTime::from_unix_ms(left_ms), reason)))
}

/// Since when a device had signalled that at that moment, on whom it was put at the other; a link
/// that comes and goes has it said again.
fn began_at(
    connection: &Connection,
    site: &SiteId,
    (put_on_ms, at): (i64, WallTime),
    alarm: &DeviceAlarm,
) -> rusqlite::Result<Option<WallTime>> {
    let of_alarm = "FROM device_alarm WHERE site = ?1 AND device = ?2 AND code = ?3
                    AND channel = ?4 AND placed_ms";
    let query = format!(
        "SELECT min(placed_ms) {of_alarm} <= ?5 AND phase = 'start' AND placed_ms >=
           max(?6, coalesce((SELECT max(placed_ms) {of_alarm} < ?5 AND phase = 'end'), 0))"
    );
    let (device, code, channel) = (&alarm.device, &alarm.code, &alarm.channel);
    let of =
        params![site.as_str(), device.as_str(), code, channel.as_str(), at.unix_ms(), put_on_ms];
    let began: Option<i64> = connection.prepare_cached(&query)?.query_row(of, |row| row.get(0))?;
    Ok(began.map(WallTime::from_unix_ms))
}

/// Whether that alert was told as history alone; `None` where there is none.
fn was_told_as_history(connection: &Connection, id: AlertId) -> rusqlite::Result<Option<bool>> {
    connection
        .prepare_cached(
            "SELECT state = 'closed' AND coalesce(json_extract(body, '$.retro'), 0) FROM alert
             WHERE id = ?1",
        )?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()
}

/// Whom a device is about that is on that patient, or on nobody.
pub(crate) fn subject(site: &SiteId, device: &DeviceId, patient: Option<&str>) -> Subject {
    match patient.map(PatientKey::new) {
        Some(Ok(key)) => Subject::Patient(key),
        _ => Subject::unbound(site, device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alerts::{self, told::Word},
        store::Store,
    };
    use model::{
        alarm::Priority,
        alert::EdgeAlert,
        device::{DeviceKind, DeviceState, DeviceStatus},
        id::{Lane, OutboxId, Seq},
        metric::Metric,
        time::{ClockQuality, Observed},
    };
    use rules::{
        alert::TimelineEvent,
        engine::EdgeTimes,
        freshness::{BoxTime, Clocks, Position},
        rule::RuleSet,
    };
    use std::collections::BTreeMap;

    const BASE_MS: i64 = 1_795_335_300_000;

    fn at(second: i64) -> WallTime {
        WallTime::from_unix_ms(BASE_MS + second * 1000)
    }

    /// A monitor that was on `p-1` and is on `p-2` since the hundredth second.
    fn ward(connection: &Connection) {
        let row = "INSERT INTO binding (site, device, patient, from_ms, until_ms, version, made_by,
                     made_ms, reason, ended_reason) VALUES ('heping', 'ecg-01', ?1, ?2, ?3, 1, 'wang', 0,
                     'put on', ?4)";
        let (left, none) = (at(100).unix_ms(), None::<i64>);
        let before = rusqlite::params!["p-1", at(-100).unix_ms(), left, "went home"];
        connection.execute(row, before).unwrap();
        connection.execute(row, rusqlite::params!["p-2", left, none, None::<String>]).unwrap();
    }

    /// What the box tells at the two hundredth second of an alert that began with the first.
    fn told(family: &str, rule: &str) -> EdgeAlert {
        EdgeAlert {
            id: [7; 16],
            subject: "p-1".into(),
            device: DeviceId::new("ecg-01").unwrap(),
            family: family.into(),
            rules: vec![rule.into()],
            priority: Priority::High,
            state: "active_unack".into(),
            metric: Some(Metric::HR),
            value: Some("36".into()),
            comparator: None,
            unit: None,
            limit: None,
            message_zh: "心率极低".into(),
            message_en: "Heart rate very low".into(),
            started_at: at(0),
            cleared_at: None,
            what: "raised".into(),
            by: None,
            reason: None,
            note: String::new(),
            rule_set: 0,
            bindings: 0,
            observed: Observed { at: at(10), quality: ClockQuality::Synchronised },
            latched: false,
        }
    }

    fn adopted(family: &str, rule: &str) -> Alert {
        adopted_words(family, rule, &["raised"])
    }

    fn adopted_words(family: &str, rule: &str, words: &[&str]) -> Alert {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        ward(&connection);
        let rules = include_str!("../../../configs/rules/default.json");
        let rules = RuleSet::from_json(rules).unwrap();
        let context = Context { connection: &connection, rules: &rules, now: at(200) };
        let mut evaluation = Evaluation::default();
        let site = SiteId::new("heping").unwrap();
        let times = EdgeTimes { at: at(10), started: at(0), cleared: None };
        let mut id = None;
        for (seq, what) in (1..).zip(words) {
            let (outbox, seq) = (OutboxId::from_bytes([1; 16]), Seq::new(seq).unwrap());
            let position = Position { outbox, lane: Lane::Urgent, seq, index: 0 };
            let told = EdgeAlert { what: (*what).into(), ..told(family, rule) };
            let word = Word { times, position, is_new: true };
            id = evaluation.edge_alert(context, &site, &told, word).unwrap();
        }
        let alert = evaluation.changed.get(&id.unwrap()).unwrap().clone();
        alerts::store(context, evaluation).unwrap();
        alert
    }

    #[test]
    fn what_a_box_tells_of_a_device_that_has_left_ended_with_it_and_waits_for_nothing() {
        let alert = adopted("hr_low", "HR-AD-LL");
        assert_eq!(alert.patient.as_ref().map(PatientKey::as_str), Some("p-1"));
        assert_eq!((alert.state, alert.cleared_at), (AlertState::Closed, Some(at(100))));
        let last = alert.timeline.last().unwrap();
        assert_eq!((last.what, last.detail.as_str()), (TimelineEvent::Closed, "went home"));
    }

    #[test]
    fn what_a_box_tells_more_of_a_device_that_has_left_neither_opens_nor_ends_it_again() {
        let alert = adopted_words("hr_low", "HR-AD-LL", &["raised", "priority_rose"]);
        assert_eq!((alert.state, alert.cleared_at), (AlertState::Closed, Some(at(100))));
        let is_end = |entry: &&rules::alert::TimelineEntry| entry.what == TimelineEvent::Closed;
        assert_eq!(alert.timeline.iter().filter(is_end).count(), 1);
    }

    #[test]
    fn what_is_the_devices_own_is_told_where_the_device_is() {
        let alert = adopted("batt_low", "BATT-LOW");
        assert_eq!(alert.patient.as_ref().map(PatientKey::as_str), Some("p-2"));
        assert_eq!(alert.state, AlertState::Unknown);
    }

    #[test]
    fn a_silent_device_that_changes_hands_behind_a_lost_box_has_no_alert_beside_that_of_the_box() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let rules = include_str!("../../../configs/rules/default.json");
        let rules = RuleSet::from_json(rules).unwrap();
        let context = |second| Context { connection: &connection, rules: &rules, now: at(second) };
        let (site, device) = (SiteId::new("heping").unwrap(), DeviceId::new("ecg-01").unwrap());
        let (nobody, patient) =
            (Subject::Device(device.clone()), Subject::Patient(PatientKey::new("p-1").unwrap()));
        let mut evaluation = Evaluation::default();
        let silent = DeviceStatus {
            device: device.clone(),
            kind: DeviceKind::Monitor,
            driver: "json-lines".into(),
            state: DeviceState::Silent,
            reason: String::new(),
            about: BTreeMap::new(),
            expected_interval_ms: None,
            observed: Observed { at: at(0), quality: ClockQuality::Synchronised },
        };
        let (outbox, seq) = (OutboxId::from_bytes([1; 16]), Seq::new(1).unwrap());
        let position = Position { outbox, lane: Lane::Urgent, seq, index: 0 };
        let right = Clocks::of_box(BoxTime::Ahead { ms: 0 });
        evaluation.status(context(0), &site, right, position, &silent).unwrap();
        evaluation.box_changed(context(10), &site, false).unwrap();
        alerts::store(context(10), evaluation).unwrap();

        let mut evaluation = Evaluation::default();
        let both = (&nobody, &patient);
        evaluation.hand_over(context(20), (&site, &device), both, at(20), BOUND).unwrap();
        let time_passes = |evaluation: &mut Evaluation| {
            let engine = evaluation.engine(&connection, &site, &patient).unwrap();
            engine.on_time(&rules, at(900));
            engine.alerts().map(|alert| alert.family.clone()).collect::<Vec<_>>()
        };
        assert_eq!(time_passes(&mut evaluation), Vec::<String>::new());
        evaluation.box_changed(context(600), &site, true).unwrap();
        assert_eq!(time_passes(&mut evaluation), ["tech_silent"]);
    }
}
