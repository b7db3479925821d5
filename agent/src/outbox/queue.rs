//! Everything that waits for its commit: records, cursors, identities, acks; and the links that
//! wait for the word. It outlives the file, should that have to be replaced.
//!
//! # Invariants
//! - what waits is bounded, also while nothing can be written
//! - a link is told a number only when everything up to it is committed or given up
//! - what is given up is counted in memory at once, in the file ten seconds later at most, or with
//!   the first commit that succeeds after that: a kill in between is silent about it

use super::{Origin, disk::Room, file::IDENTITIES_MAX, pending::LanePending};
use drivers::serial::Cursor;
use model::{
    id::{DeviceId, Lane, Seq},
    reading::ReadingGroup,
    record::Record,
    time::{DeviceTime, MonoTime, Now},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::sync::watch;
use uplink_proto::ranges::RangeSet;

/// Bytes that may wait while the disk takes nothing: ten minutes of four monitors with waveforms.
const WAITING_MAX: usize = 8 << 20;
/// Acks go with a commit that is due anyway once they have waited so long: losing them costs a
/// resend, writing them a page each time.
const ACKS_WITH: Duration = Duration::from_secs(20);
/// When there is none, they are written by themselves after this.
const ACKS_AFTER: Duration = Duration::from_secs(30);

/// Everything that waits.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) lanes: [LanePending; 3],
    pub(super) cursors: BTreeMap<DeviceId, (Cursor, Origin)>,
    /// Identities of the records that wait.
    pub(super) new_identities: Vec<(DeviceId, String)>,
    /// Rows that the county has, and the file does not know of it: urgent, trend, wave.
    pub(super) acked: [RangeSet; 3],
    cursors_due: Option<MonoTime>,
    /// Since when the oldest of them waits.
    acked_at: Option<MonoTime>,
    identities: BTreeMap<DeviceId, VecDeque<String>>,
    links: BTreeMap<usize, LinkProgress>,
    time_zone: jiff::tz::TimeZone,
}

/// What a link handed over and what of it is committed.
#[derive(Debug)]
struct LinkProgress {
    told: watch::Sender<u64>,
    newest: u64,
}

impl Queue {
    pub(super) fn new(commit_after: Duration, time_zone: jiff::tz::TimeZone) -> Self {
        Self {
            lanes: Lane::ALL.map(|lane| LanePending::new(lane, commit_after)),
            cursors: BTreeMap::new(),
            new_identities: Vec::new(),
            acked: Default::default(),
            cursors_due: None,
            acked_at: None,
            identities: BTreeMap::new(),
            links: BTreeMap::new(),
            time_zone,
        }
    }

    /// Takes a record in; `false` if it is a spot reading that was recorded before. `known` reads
    /// the identities of its device.
    pub(super) fn add(
        &mut self,
        now: Now,
        origin: Origin,
        mut record: Record,
        known: impl FnOnce(&DeviceId) -> Vec<String>,
    ) -> bool {
        self.handed_over(origin);
        self.resolve_zone(&mut record);
        if let Record::Readings(group) = &record
            && self.is_repeat(group, known)
        {
            self.tell_links();
            return false;
        }
        let pending = record.lane().of_mut(&mut self.lanes);
        pending.add(now, origin, &record);
        true
    }

    /// A cursor is committed with the records before it, and hurries them.
    pub(super) fn remember(
        &mut self,
        now: MonoTime,
        origin: Origin,
        device: DeviceId,
        cursor: Cursor,
    ) {
        self.handed_over(origin);
        self.cursors.insert(device, (cursor, origin));
        self.cursors_due.get_or_insert(now);
    }

    /// A link wants to know how far it is committed.
    pub(super) fn watch(&mut self, link: usize, told: watch::Sender<u64>) {
        self.links.insert(link, LinkProgress { told, newest: 0 });
    }

    /// Rows were acked.
    pub(super) fn note_acked(&mut self, now: MonoTime, lane: Lane, ranges: Vec<(Seq, Seq)>) {
        let acked = lane.of_mut(&mut self.acked);
        for (first, last) in ranges {
            acked.insert_range(first, last);
            self.acked_at.get_or_insert(now);
        }
    }

    /// The file knows of them, or is no longer there.
    pub(super) fn forget_acked(&mut self) {
        (self.acked, self.acked_at) = (Default::default(), None);
    }

    /// When something has to be committed.
    pub(super) fn due(&self) -> Option<MonoTime> {
        let lanes = self.lanes.iter().filter_map(LanePending::due);
        let acks_due = self.acked_at.map(|since| since + ACKS_AFTER);
        lanes.chain(self.cursors_due).chain(acks_due).min()
    }

    /// Whether the acks that wait go into a commit now.
    pub(super) fn are_acks_ripe(&self, now: MonoTime) -> bool {
        self.acked_at.is_some_and(|since| since + ACKS_WITH <= now)
    }

    /// Everything as soon as possible.
    pub(super) fn hurry(&mut self, now: MonoTime) {
        self.lanes.iter_mut().for_each(|lane| lane.hurry(now));
    }

    /// Whether a lane goes into a commit now. Cursors and identities go with every record before
    /// them, whatever its lane.
    pub(super) fn is_ripe(&self, lane: &LanePending, now: MonoTime) -> bool {
        !self.cursors.is_empty() || !self.new_identities.is_empty() || lane.ripe(now)
    }

    /// What was ripe is committed.
    pub(super) fn committed(&mut self, now: MonoTime, ripe: [bool; 3]) {
        for (lane, ripe) in self.lanes.iter_mut().zip(ripe) {
            if ripe {
                lane.clear(now);
            }
        }
        self.cursors.clear();
        self.new_identities.clear();
        self.cursors_due = None;
        self.tell_links();
    }

    /// Whether more may be taken in. While nothing can be written, waveforms are given up first,
    /// then the oldest trend; urgent records never: their devices have to wait.
    pub(super) fn make_room(&mut self) -> bool {
        let len = |lanes: &[LanePending; 3]| lanes.iter().map(LanePending::len).sum::<usize>();
        let mut gave_up = false;
        while len(&self.lanes) > WAITING_MAX {
            let [_urgent, trend, wave] = &mut self.lanes;
            if !wave.give_up_oldest() && !trend.give_up_oldest() {
                return false;
            }
            gave_up = true;
        }
        if gave_up {
            self.tell_links();
        }
        true
    }

    /// Gives up what the disk has no room for.
    pub(super) fn shed(&mut self, now: MonoTime, room: Room) {
        if room == Room::Enough {
            return;
        }
        for lane in self.lanes.iter_mut().filter(|pending| !room.takes(pending.lane)) {
            lane.give_up_all(now);
        }
        self.tell_links();
    }

    fn handed_over(&mut self, origin: Origin) {
        if let Some(progress) = self.links.get_mut(&origin.link) {
            progress.newest = progress.newest.max(origin.number);
        }
    }

    /// Tells each link up to which number nothing that it handed over waits.
    fn tell_links(&mut self) {
        for (link, progress) in &self.links {
            let batches = self.lanes.iter().flat_map(LanePending::batches);
            let records = batches.flat_map(|batch| &batch.origins);
            let cursors = self.cursors.values().map(|(_, origin)| origin);
            let waiting = records.chain(cursors).filter(|origin| origin.link == *link);
            let oldest = waiting.map(|origin| origin.number).min();
            let committed = oldest.map_or(progress.newest, |oldest| oldest.saturating_sub(1));
            progress.told.send_if_modified(|told| {
                let more = committed > *told;
                *told = committed.max(*told);
                more
            });
        }
    }

    fn resolve_zone(&self, record: &mut Record) {
        let time = match record {
            Record::Readings(group) => &mut group.device_time,
            Record::Alarm(alarm) => &mut alarm.device_time,
            _ => return,
        };
        if let Some(local @ DeviceTime::Local { civil_ms }) = *time
            && let Some(offset_s) = offset(&self.time_zone, civil_ms)
        {
            *time = Some(local.in_zone(offset_s));
        }
    }

    /// Whether this spot reading was recorded before; notes its identity if not.
    fn is_repeat(
        &mut self,
        group: &ReadingGroup,
        known: impl FnOnce(&DeviceId) -> Vec<String>,
    ) -> bool {
        let Some(identity) = group.identity() else { return false };
        let known = self
            .identities
            .entry(group.device.clone())
            .or_insert_with_key(|device| known(device).into());
        if known.contains(&identity) {
            return true;
        }
        known.push_back(identity.clone());
        if known.len() > usize::try_from(IDENTITIES_MAX).unwrap_or(usize::MAX) {
            known.pop_front();
        }
        self.new_identities.push((group.device.clone(), identity));
        false
    }
}

/// Seconds east of UTC that the zone had at that civil time.
fn offset(zone: &jiff::tz::TimeZone, civil_ms: i64) -> Option<i32> {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).ok()?;
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    Some(zone.to_zoned(civil).ok()?.offset().seconds())
}
