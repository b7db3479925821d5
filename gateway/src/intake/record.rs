//! Storing the records of one envelope.

use super::{Batch, Gathered, integer};
use crate::query;
use model::{
    alarm::DeviceAlarm,
    device::{DeviceAction, DeviceStatus},
    id::SiteId,
    reading::{Reading, ReadingGroup, Value as Said},
    record::{ClockChange, DropRecord, Record},
    time::{DeviceTime, WallTime},
    waveform::WaveformBlock,
};
use rules::freshness::{Clocks, Freshness, Moment, Position, is_beyond_memory};
use rusqlite::params;
use serde_json::json;
use uplink_proto::{envelope::Envelope, samples};

/// What one reading-out of a memory brings comes within this time.
const READOUT_MS: i64 = 10 * 60_000;

impl Batch<'_> {
    pub(super) fn records(&mut self, site: &SiteId, envelope: &Envelope) -> rusqlite::Result<()> {
        let of_box = self.evaluation.box_clock(self.context(), site, envelope)?;
        let mut index = 0_u32;
        for (place, record) in (0..).zip(&envelope.records) {
            match record {
                Record::Readings(group) => {
                    self.group(site, envelope, of_box, index, group)?;
                    index = index
                        .saturating_add(u32::try_from(group.readings.len()).unwrap_or(u32::MAX));
                }
                Record::Waveform(block) => {
                    self.block(site, envelope, of_box, index, block)?;
                    index = index.saturating_add(1);
                }
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
            }
        }
        Ok(())
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
        let freshness = Freshness::of(group, t_meas.at, self.now);
        let heard = clocks.observed(group.observed.at, self.now).at.min(self.now);
        let measured = Moment { at: t_meas.at.min(self.now), ..t_meas };
        let name = group.group.map(|metric| format!("{metric}/{first}"));
        let identity = group.identity();
        let duplicate_of = match &identity {
            Some(identity) => self.earlier(site, group, identity)?,
            None => None,
        };
        for (index, reading) in (first..).zip(&group.readings) {
            let id = self.reading(
                site,
                envelope,
                index,
                group,
                reading,
                &Place {
                    group: name.as_deref(),
                    heard,
                    measured,
                    freshness,
                    identity: identity.as_deref().filter(|_| index == first),
                    duplicate_of,
                },
            )?;
            if duplicate_of.is_none() {
                self.latest(site, group, reading, id, (heard, measured.at))?;
            }
            if let Some(json) = query::reading(self.connection, id)? {
                self.taken.readings.push(json);
            }
            self.taken.counts.readings += 1;
        }
        if duplicate_of.is_none() {
            let position = position(envelope, first);
            let (site, group) = (site.clone(), group.clone());
            self.readings.push(Gathered { site, group, t_meas, freshness, position });
        }
        Ok(())
    }

    /// A spot reading with the same identity that is stored already.
    fn earlier(
        &self,
        site: &SiteId,
        group: &ReadingGroup,
        identity: &str,
    ) -> rusqlite::Result<Option<i64>> {
        use rusqlite::OptionalExtension as _;
        self.connection
            .prepare_cached(
                "SELECT id FROM reading WHERE site = ?1 AND device = ?2 AND identity = ?3
                 AND duplicate_of IS NULL ORDER BY id LIMIT 1",
            )?
            .query_row(params![site.as_str(), group.device.as_str(), identity], |row| row.get(0))
            .optional()
    }

    fn reading(
        &self,
        site: &SiteId,
        envelope: &Envelope,
        index: u32,
        group: &ReadingGroup,
        reading: &Reading,
        place: &Place<'_>,
    ) -> rusqlite::Result<i64> {
        let (value, comparator) = match &reading.value {
            Ok(Said::Number { number, comparator }) => {
                (Some(number.to_string()), comparator.sign())
            }
            Ok(Said::Text(text)) => (Some(text.clone()), None),
            Err(_) => (None, None),
        };
        let canonical = reading.canonical().map(|(number, _)| number.to_string());
        self.connection
            .prepare_cached(
                "INSERT INTO reading (site, outbox, lane, seq, idx, device, channel, grp, metric, value,
                   comparator, unit, canonical, no_data, validity, context, device_ms, observed_ms,
                   received_ms, measured_ms, time_suspect, clock, freshness, device_seq, identity,
                   duplicate_of, box_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                   ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)",
            )?
            .insert(params![
                site.as_str(),
                envelope.outbox.to_string(),
                envelope.lane.name(),
                integer(envelope.seq),
                index,
                group.device.as_str(),
                group.channel.as_str(),
                place.group,
                reading.metric.name(),
                value,
                comparator,
                reading.unit.as_ref().map(model::units::Unit::as_str),
                canonical,
                reading.value.as_ref().err().map(ToString::to_string),
                reading.validity.name(),
                json!(group.context).to_string(),
                group.device_time.and_then(DeviceTime::utc).map(WallTime::unix_ms),
                place.heard.unix_ms(),
                self.now.unix_ms(),
                place.measured.at.unix_ms(),
                place.measured.suspect,
                group.observed.quality.name(),
                place.freshness.name(),
                group.device_seq.and_then(|seq| i64::try_from(seq).ok()),
                place.identity,
                place.duplicate_of,
                said_by_box(group.observed.at, place.heard)
            ])
    }

    /// The reading is the newest of its series, unless one that was measured later is known: the
    /// order of `isNewer` of the board.
    ///
    /// By the county's clock: a box that was ahead for a while must not hold the place, nor must a
    /// meter that was reset lose it.
    fn latest(
        &self,
        site: &SiteId,
        group: &ReadingGroup,
        reading: &Reading,
        id: i64,
        (heard, measured): (WallTime, WallTime),
    ) -> rusqlite::Result<()> {
        let place = if is_beyond_memory(measured, heard) { heard } else { measured };
        self.connection
            .prepare_cached(
                "INSERT INTO latest VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO UPDATE
                   SET heard_ms = ?5, measured_ms = ?6, place_ms = ?7, reading = ?8
                 WHERE CASE WHEN abs(?5 - heard_ms) <= ?9 THEN ?6 >= measured_ms
                   ELSE ?7 >= place_ms END",
            )?
            .execute(params![
                site.as_str(),
                group.device.as_str(),
                group.channel.as_str(),
                reading.metric.name(),
                heard.unix_ms(),
                measured.unix_ms(),
                place.unix_ms(),
                id,
                READOUT_MS
            ])
            .map(drop)
    }

    fn block(
        &mut self,
        site: &SiteId,
        envelope: &Envelope,
        of_box: Clocks,
        index: u32,
        block: &WaveformBlock,
    ) -> rusqlite::Result<()> {
        let start = of_box.observed(block.start.at, self.now).at.min(self.now);
        let flags = [
            (block.flags.lead_off, "lead_off"),
            (block.flags.saturation, "saturation"),
            (block.flags.pacer, "pacer"),
        ];
        let flags: Vec<&str> =
            flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
        let (scale, zero, unit) = match &block.scale {
            Some(scale) => (
                Some(scale.per_count.to_string()),
                Some(scale.offset),
                Some(scale.unit.as_str().to_owned()),
            ),
            None => (None, None, None),
        };
        let id = self
            .connection
            .prepare_cached(
                "INSERT INTO waveform (site, outbox, lane, seq, idx, device, channel, metric, start_ms,
                   period_num, period_den, scale, zero, unit, flags, samples, box_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                   ?17)",
            )?
            .insert(params![
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
                flags.join(","),
                samples::encode(&block.samples),
                said_by_box(block.start.at, start)
            ])?;
        let key = format!("{site}:{}:{}", block.device, block.metric);
        self.taken.blocks.extend(query::block(self.connection, id)?.map(|json| (key, json)));
        Ok(())
    }

    fn alarm(
        &mut self,
        site: &SiteId,
        of_box: Clocks,
        alarm: &DeviceAlarm,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO device_alarm (site, device, phase, kind, code, text, priority, observed_ms, received_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
                self.now.unix_ms()
            ])?;
        self.evaluation.alarm(self.context(), site, of_box, alarm)
    }

    fn status(
        &mut self,
        site: &SiteId,
        of_box: Clocks,
        position: Position,
        status: &DeviceStatus,
    ) -> rusqlite::Result<()> {
        // The rules know which of two statuses is the newer: a tile must not know better.
        let Some(at) = self.evaluation.status(self.context(), site, of_box, position, status)?
        else {
            return Ok(());
        };
        self.connection
            .prepare_cached(
                "INSERT INTO device VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO UPDATE SET kind = ?3, driver = ?4, state = ?5, reason = ?6,
                   about = CASE WHEN ?7 = '{}' THEN about ELSE ?7 END, changed_ms = ?8",
            )?
            .execute(params![
                site.as_str(),
                status.device.as_str(),
                status.kind.name(),
                status.driver,
                status.state.name(),
                status.reason,
                json!(status.about).to_string(),
                at.unix_ms()
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
        Ok(())
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
        Ok(())
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

/// What of a reading its group decides.
struct Place<'a> {
    group: Option<&'a str>,
    /// When the box heard it, by the county's clock.
    heard: WallTime,
    /// When it was measured, never later than it was received.
    measured: Moment,
    freshness: Freshness,
    identity: Option<&'a str>,
    duplicate_of: Option<i64>,
}

/// What a box said where that is not when it was.
fn said_by_box(said: WallTime, was: WallTime) -> Option<i64> {
    (said != was).then_some(said.unix_ms())
}

fn position(envelope: &Envelope, index: u32) -> Position {
    Position { outbox: envelope.outbox, lane: envelope.lane, seq: envelope.seq, index }
}
