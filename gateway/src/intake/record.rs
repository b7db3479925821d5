//! Storing the records of one envelope.

use super::{Batch, Gathered, integer};
use crate::{
    audit::{self, Entry},
    clock::rfc3339,
    late::Stored,
    links,
    patients::tray,
    query,
    reading::{self, Group, KEEP_NEWEST},
    retention,
};
use model::{
    alarm::{AlarmPhase, DeviceAlarm},
    device::{DeviceAction, DeviceStatus},
    id::{DeviceId, SiteId},
    metric::Metric,
    reading::ReadingGroup,
    record::{ClockChange, DropRecord, Record},
    time::{ClockQuality, DeviceTime, WallTime},
    waveform::WaveformBlock,
};
use rules::freshness::{Clocks, Freshness, Position, is_beyond_memory};
use rusqlite::{OptionalExtension as _, params};
use serde_json::{Value, json};
use uplink_proto::{envelope::Envelope, samples};

/// Who did what a box or its agent did by itself.
const NOBODY: &str = "county";

impl Batch<'_> {
    /// When something was that happened at a box then, by the county's clock: never later than now.
    pub(super) fn here(&self, clocks: Clocks, at: WallTime) -> WallTime {
        clocks.observed(at, self.now).at.min(self.now)
    }

    /// Stores them; how many are of devices that the site may not have.
    pub(super) fn records(&mut self, site: &SiteId, envelope: &Envelope) -> rusqlite::Result<u64> {
        let of_box = self.evaluation.box_clock(self.context(), site, envelope)?;
        let mut index = 0_u32;
        let mut refused = 0;
        for (place, record) in (0..).zip(&envelope.records) {
            let device = device_of(record).filter(|device| device.as_str() != site.as_str());
            if let Some(device) = device
                && !self.names.admit(self.connection, site, device)?
            {
                refused += 1;
                index = index.saturating_add(places(record));
                continue;
            }
            match record {
                Record::Readings(group) => {
                    self.group(site, envelope, of_box, index, group)?;
                }
                Record::Waveform(block) => self.block(site, envelope, of_box, index, block)?,
                Record::Alarm(alarm) => self.alarm(site, of_box, alarm)?,
                Record::Status(status) => {
                    self.status(site, of_box, position(envelope, place), status)?;
                }
                Record::Started(started) => {
                    tracing::info!(%site, version = started.version, "Agent started.");
                    self.evaluation.agent_started(self.context(), site)?;
                }
                Record::Dropped(dropped) => self.dropped(site, envelope, dropped)?,
                Record::Action(action) => self.action(site, action)?,
                Record::Clock(change) => self.clock(site, change)?,
                Record::Alert(alert) => {
                    self.edge_alert(site, of_box, position(envelope, place), alert)?;
                }
            }
            index = index.saturating_add(places(record));
        }
        Ok(refused)
    }

    fn group(
        &mut self,
        site: &SiteId,
        envelope: &Envelope,
        of_box: Clocks,
        first: u32,
        group: &ReadingGroup,
    ) -> rusqlite::Result<()> {
        let clocks = self.evaluation.clocks(self.context(), site, of_box, group)?;
        let t_meas = clocks.measured(group, self.now);
        let heard = self.here(clocks, group.observed.at);
        let source = self.names.source(self.connection, site, &group.device)?;
        let identity = group.identity();
        let first_copy = match &identity {
            Some(identity) => self.first_copy(source, identity)?,
            None => None,
        };
        let (first_id, duplicate_of) = first_copy.unzip();
        let measured = t_meas.at.min(self.now);
        let bound = self.evaluation.patient_at(self.context(), site, &group.device, measured)?;
        let bound = bound.map(ToOwned::to_owned);
        let mut gathered = Gathered {
            site: site.clone(),
            group: group.clone(),
            heard,
            t_meas,
            freshness: Freshness::of(group, t_meas, self.now),
            position: position(envelope, first),
            received: self.now,
            duplicate_of,
            patient: bound.clone(),
            bound,
        };
        let metrics = self.names.metrics(self.connection, &reading::metrics(group))?;
        let lane = self.names.lane(self.connection, site, envelope.outbox, envelope.lane)?;
        let numbers = (source, lane, metrics);
        let id = self.insert(&gathered, numbers, identity.as_deref(), first_id)?;
        if tray::is_result(group) {
            let place = (lane, integer(envelope.seq), first);
            gathered.patient =
                tray::keep(self.connection, (id, first_id), place, gathered.bound.as_deref())?;
        }
        if first_id.is_none() {
            let is_history = self.evaluation.is_history(self.context(), site, group, measured)?;
            let is_newest = self.latest(&gathered, source, metrics, heard, id)?;
            let stored = Stored {
                measured: gathered.measured(),
                freshness: gathered.freshness,
                overtaken: !is_newest,
                is_history,
                stamped: identity.is_some(),
                only_bounded: t_meas.only_bounded,
                readings: group.readings.len(),
            };
            self.late.note(site, &group.device, stored);
        }
        self.taken.counts.readings += u64::try_from(group.readings.len()).unwrap_or_default();
        self.taken.readings.push(gathered);
        Ok(())
    }

    /// The first group with the same identity that is kept, and its place as the API names it.
    fn first_copy(&self, source: i64, identity: &str) -> rusqlite::Result<Option<(i64, String)>> {
        self.connection
            .prepare_cached(
                "SELECT reading_group.id, outbox || '/' || lane || '/' || seq || '/' || idx
                 FROM reading_group CROSS JOIN outbox_lane
                   ON outbox_lane.id = reading_group.outbox_lane
                 WHERE source = ?1 AND identity = ?2 AND duplicate_of IS NULL
                 ORDER BY reading_group.id LIMIT 1",
            )?
            .query_row(params![source, identity], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
    }

    fn insert(
        &mut self,
        gathered: &Gathered,
        (source, lane, metrics): (i64, i64, i64),
        identity: Option<&str>,
        duplicate_of: Option<i64>,
    ) -> rusqlite::Result<i64> {
        let Gathered { group, position, .. } = gathered;
        let context = (!group.context.is_empty()).then(|| json!(group.context).to_string());
        let clock = group.observed.quality;
        let freshness = gathered.freshness;
        self.connection
            .prepare_cached(
                "INSERT INTO reading_group (source, outbox_lane, seq, idx, channel, compound,
                   metric_list, said, context, device_ms, observed_ms, received_ms, measured_ms,
                   time_suspect, clock, freshness, device_seq, identity, duplicate_of, box_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                   ?17, ?18, ?19, ?20)",
            )?
            .insert(params![
                source,
                lane,
                integer(position.seq),
                position.index,
                group.channel.as_str(),
                group.group.map(Metric::name),
                metrics,
                reading::said(group),
                context,
                device_ms(group),
                gathered.heard.unix_ms(),
                self.now.unix_ms(),
                gathered.measured().unix_ms(),
                gathered.t_meas.suspect,
                (clock != ClockQuality::Synchronised).then(|| clock.name()),
                (freshness != Freshness::Fresh).then(|| freshness.name()),
                device_seq(group),
                identity,
                duplicate_of,
                said_by_box(group.observed.at, gathered.heard)
            ])
    }

    /// The group is the newest of its kind, unless one that was measured later is known; whether it is.
    ///
    /// By the county's clock: a box that was ahead for a while must not hold the place, nor must a
    /// meter that was reset lose it.
    fn latest(
        &self,
        gathered: &Gathered,
        source: i64,
        metrics: i64,
        heard: WallTime,
        id: i64,
    ) -> rusqlite::Result<bool> {
        let measured = gathered.measured();
        let place = if is_beyond_memory(measured, heard) { heard } else { measured };
        self.connection
            .prepare_cached(&format!(
                "INSERT INTO latest_group VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) {KEEP_NEWEST}"
            ))?
            .execute(params![
                source,
                gathered.group.channel.as_str(),
                metrics,
                heard.unix_ms(),
                measured.unix_ms(),
                place.unix_ms(),
                id
            ])
            .map(|changed| changed > 0)
    }

    fn block(
        &mut self,
        site: &SiteId,
        envelope: &Envelope,
        of_box: Clocks,
        index: u32,
        block: &WaveformBlock,
    ) -> rusqlite::Result<()> {
        let start = self.here(of_box, block.start.at);
        let (scale, zero, unit) = match &block.scale {
            Some(scale) => (
                Some(scale.per_count.to_string()),
                Some(scale.offset),
                Some(scale.unit.as_str().to_owned()),
            ),
            None => (None, None, None),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO waveform (site, outbox, lane, seq, idx, device, channel, metric, start_ms,
                   period_num, period_den, scale, zero, unit, flags, samples, box_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                   ?17)",
            )?
            .execute(params![
                site.as_str(),
                envelope.outbox.to_string(),
                envelope.lane.name(),
                integer(envelope.seq),
                index,
                block.device.as_str(),
                block.channel.as_str(),
                block.metric.name(),
                start.unix_ms(),
                block.period.numerator(),
                block.period.denominator(),
                scale,
                zero,
                unit,
                query::flags(block).join(","),
                samples::encode(&block.samples),
                said_by_box(block.start.at, start)
            ])?;
        self.taken.blocks.push((site.clone(), start, block.clone()));
        Ok(())
    }

    fn alarm(
        &mut self,
        site: &SiteId,
        of_box: Clocks,
        alarm: &DeviceAlarm,
    ) -> rusqlite::Result<()> {
        let placed = self.here(of_box, alarm.observed.at);
        self.connection
            .prepare_cached(
                "INSERT INTO device_alarm (site, device, phase, kind, code, text, priority, observed_ms,
                   received_ms, channel, source, placed_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                site.as_str(),
                alarm.device.as_str(),
                alarm.phase.name(),
                alarm.kind.rule_id(),
                alarm.code,
                alarm.text,
                alarm.priority.map(model::alarm::Priority::name),
                alarm.observed.at.unix_ms(),
                self.now.unix_ms(),
                alarm.channel.as_str(),
                alarm.source.map(Metric::name),
                placed.unix_ms()
            ])?;
        let has_begun = self.evaluation.alarm(self.context(), site, of_box, alarm)?;
        match alarm.phase {
            AlarmPhase::End => Ok(()),
            // Of one whose begin was lost the alert says that it began.
            AlarmPhase::Update if !has_begun => Ok(()),
            // A device whose link comes and goes says what stands as a start again.
            _ => {
                retention::keep_strip(self.connection, self.rules, site, alarm, (placed, has_begun))
            }
        }
    }

    fn status(
        &mut self,
        site: &SiteId,
        of_box: Clocks,
        position: Position,
        status: &DeviceStatus,
    ) -> rusqlite::Result<()> {
        let said = self.here(of_box, status.observed.at);
        links::hear_device(self.connection, site, status, said, self.now)?;
        // The rules know which of two statuses is the newer: a tile must not know better.
        let Some(at) = self.evaluation.status(self.context(), site, of_box, position, status)?
        else {
            return Ok(());
        };
        self.connection
            .prepare_cached(
                "INSERT INTO device VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT DO UPDATE SET kind = ?3, driver = ?4, state = ?5, reason = ?6,
                   about = CASE WHEN ?7 = '{}' THEN about ELSE ?7 END, changed_ms = ?8,
                   expected_interval_ms = ?9",
            )?
            .execute(params![
                site.as_str(),
                status.device.as_str(),
                status.kind.name(),
                status.driver,
                status.state.name(),
                status.reason,
                json!(status.about).to_string(),
                at.unix_ms(),
                status.expected_interval_ms
            ])?;
        let device = query::device(self.connection, site.as_str(), status.device.as_str())?;
        self.taken.devices.extend(device);
        Ok(())
    }

    fn action(&mut self, site: &SiteId, action: &DeviceAction) -> rusqlite::Result<()> {
        let DeviceAction { device, action, text, observed } = action;
        tracing::info!(%site, %device, action, text, "Something was done to a device.");
        self.connection
            .prepare_cached(
                "INSERT INTO device_action (site, device, action, text, observed_ms, received_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                site.as_str(),
                device.as_str(),
                action,
                text,
                observed.at.unix_ms(),
                self.now.unix_ms()
            ])?;
        let detail = json!({"device": device.as_str(), "action": action, "text": text,
            "at": rfc3339(observed.at.unix_ms())});
        self.tell_chain(site, (NOBODY, "device_action"), detail)
    }

    /// What was done at a box, under the name that was said there: the box proves nothing of it, and
    /// is what the entry is about.
    pub(super) fn tell_chain(
        &self,
        site: &SiteId,
        (who, action): (&str, &str),
        detail: Value,
    ) -> rusqlite::Result<()> {
        let entry = Entry { who, action, what: site.as_str(), detail };
        audit::append(self.connection, self.now, &entry)
    }

    fn clock(&mut self, site: &SiteId, change: &ClockChange) -> rusqlite::Result<()> {
        let ClockChange { before, evidence, observed } = change;
        let (before_ms, at_ms, quality) =
            (before.unix_ms(), observed.at.unix_ms(), observed.quality.name());
        tracing::warn!(%site, before_ms, at_ms, quality, evidence, "The clock of a site changed.");
        self.connection
            .prepare_cached(
                "INSERT INTO clock_change (site, before_ms, at_ms, quality, evidence, received_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                site.as_str(),
                before_ms,
                at_ms,
                quality,
                evidence,
                self.now.unix_ms()
            ])?;
        let detail = json!({"before": rfc3339(before_ms), "at": rfc3339(at_ms),
            "clock": quality, "evidence": evidence});
        self.tell_chain(site, (NOBODY, "clock_change"), detail)
    }

    fn dropped(
        &mut self,
        site: &SiteId,
        envelope: &Envelope,
        dropped: &DropRecord,
    ) -> rusqlite::Result<()> {
        let outbox = dropped.outbox.unwrap_or(envelope.outbox);
        tracing::error!(%site, %outbox, lane = %dropped.lane, first = %dropped.first, last = %dropped.last,
            cause = dropped.cause.name(), "A site gave envelopes up.");
        self.connection
            .prepare_cached(
                "INSERT INTO drop_record (site, outbox, lane, first, last, from_ms, until_ms, cause)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                site.as_str(),
                outbox.to_string(),
                dropped.lane.name(),
                integer(dropped.first),
                integer(dropped.last),
                dropped.from.unix_ms(),
                dropped.until.unix_ms(),
                dropped.cause.name()
            ])?;
        self.ledger(site, outbox, dropped.lane)?.drop_range(dropped.first, dropped.last);
        Ok(())
    }
}

impl Gathered {
    /// When it was measured, never later than it was received.
    fn measured(&self) -> WallTime {
        self.t_meas.at.min(self.received)
    }

    /// As the API tells it.
    pub(crate) fn stored(&self) -> Group {
        let Self { site, group, position, .. } = self;
        Group {
            site: site.to_string(),
            outbox: position.outbox.to_string(),
            lane: position.lane.name().to_owned(),
            seq: integer(position.seq),
            index: position.index.into(),
            device: group.device.to_string(),
            channel: group.channel.as_str().to_owned(),
            compound: group.group.map(|metric| metric.name().to_owned()),
            context: json!(group.context),
            device_ms: device_ms(group),
            observed_ms: group.observed.at.unix_ms(),
            placed_ms: self.heard.unix_ms(),
            received_ms: self.received.unix_ms(),
            measured_ms: self.measured().unix_ms(),
            time_suspect: self.t_meas.suspect,
            freshness: self.freshness.name().to_owned(),
            device_seq: device_seq(group),
            duplicate_of: self.duplicate_of.clone(),
            bound: self.bound.clone(),
            patient: self.patient.clone(),
            two_hours: None,
            metrics: reading::metrics(group),
            said: reading::said(group),
        }
    }
}

/// The device that a record is of.
const fn device_of(record: &Record) -> Option<&DeviceId> {
    match record {
        Record::Readings(group) => Some(&group.device),
        Record::Waveform(block) => Some(&block.device),
        Record::Alarm(alarm) => Some(&alarm.device),
        Record::Status(status) => Some(&status.device),
        Record::Action(action) => Some(&action.device),
        Record::Alert(alert) => Some(&alert.device),
        Record::Started(_) | Record::Dropped(_) | Record::Clock(_) => None,
    }
}

/// How many numbers of its envelope a record takes.
fn places(record: &Record) -> u32 {
    match record {
        Record::Readings(group) => u32::try_from(group.readings.len()).unwrap_or(u32::MAX),
        Record::Waveform(_) => 1,
        _ => 0,
    }
}

fn device_ms(group: &ReadingGroup) -> Option<i64> {
    group.device_time.and_then(DeviceTime::utc).map(WallTime::unix_ms)
}

fn device_seq(group: &ReadingGroup) -> Option<i64> {
    group.device_seq.and_then(|seq| i64::try_from(seq).ok())
}

/// What a box said where that is not when it was.
fn said_by_box(said: WallTime, was: WallTime) -> Option<i64> {
    (said != was).then_some(said.unix_ms())
}

fn position(envelope: &Envelope, index: u32) -> Position {
    Position { outbox: envelope.outbox, lane: envelope.lane, seq: envelope.seq, index }
}
