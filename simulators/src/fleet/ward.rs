//! What the devices of one simulated box say: monitors whose numbers wander, gathered into
//! envelopes as the outbox of an agent does.

use model::{
    id::{DeviceId, Lane, NameError, OutboxId, Seq, SiteId},
    metric::Metric,
    reading::{Reading, ReadingGroup},
    record::Record,
    time::{ClockQuality, Observed, WallTime},
    units::Unit,
};
use uplink_proto::envelope::{Envelope, TREND_LEN_MAX};

/// What a monitor says in one breath: name, unit, lowest value, how far it wanders.
static SAID: [(Metric, Unit, i32, u64); GROUP_LEN] = [
    (Metric::HR, Unit::PER_MINUTE, 62, 24),
    (Metric::SPO2, Unit::PERCENT, 95, 4),
    (Metric::PULSE_OXIM, Unit::PER_MINUTE, 62, 24),
    (Metric::RR, Unit::PER_MINUTE, 13, 6),
];
/// Readings of one group.
pub(super) const GROUP_LEN: usize = 4;
/// Groups of the first envelope; how many fit into the next is learnt from the one before.
const GROUPS_FIRST: usize = 16;

/// The devices of one box.
#[derive(Debug)]
pub struct Ward {
    devices: Vec<DeviceId>,
    seed: u64,
    outbox: OutboxId,
    next: Seq,
    /// Groups that were said.
    said: u64,
    groups_max: usize,
}

/// An envelope that was closed.
#[derive(Debug)]
pub struct Closed {
    /// Its number.
    pub seq: Seq,
    /// The envelope.
    pub bytes: Vec<u8>,
    /// Readings in it.
    pub readings: u64,
}

impl Ward {
    /// Devices of that site, which say the same whenever they are asked with that seed.
    ///
    /// # Errors
    /// When the site's name is too long for those of its devices.
    pub fn new(
        site: &SiteId,
        devices: u16,
        seed: u64,
        outbox: OutboxId,
    ) -> Result<Self, NameError> {
        let name = |number| DeviceId::new(&format!("{}-{number:02}", site.as_str()));
        let devices = (1..=devices).map(name).collect::<Result<_, _>>()?;
        Ok(Self { devices, seed, outbox, next: Seq::FIRST, said: 0, groups_max: GROUPS_FIRST })
    }

    /// So many groups more, said between two moments, in as few envelopes as an agent makes.
    pub fn say(&mut self, groups: u64, from: WallTime, until: WallTime) -> Vec<Closed> {
        let span_ms = until.unix_ms().saturating_sub(from.unix_ms());
        let count = i64::try_from(groups).unwrap_or(i64::MAX).max(1);
        let mut times =
            (0_i64..).take(usize::try_from(groups).unwrap_or(usize::MAX)).map(|number| {
                WallTime::from_unix_ms(from.unix_ms() + span_ms.saturating_mul(number) / count)
            });
        let mut closed = Vec::new();
        loop {
            let part: Vec<WallTime> = times.by_ref().take(self.groups_max).collect();
            let Some(&opened_at) = part.first() else { return closed };
            let readings = part.len() * GROUP_LEN;
            let records = part.iter().filter_map(|at| self.group(*at)).collect();
            let seq = self.next;
            self.next = seq.next();
            let (outbox, lane, uptime) = (self.outbox, Lane::Trend, None);
            let envelope = Envelope { outbox, lane, seq, opened_at, uptime, records };
            let bytes = envelope.encode();
            if part.len() == self.groups_max || bytes.len() > TREND_LEN_MAX {
                self.groups_max = (part.len() * TREND_LEN_MAX / bytes.len()).max(1);
            }
            closed.push(Closed { seq, bytes, readings: u64::try_from(readings).unwrap_or(0) });
        }
    }

    /// The number the next envelope gets.
    #[must_use]
    pub const fn next(&self) -> Seq {
        self.next
    }

    fn group(&mut self, at: WallTime) -> Option<Record> {
        let count = u64::try_from(self.devices.len()).ok().filter(|count| *count > 0)?;
        let (round, place) = (self.said / count, self.said % count);
        self.said += 1;
        let device = self.devices.get(usize::try_from(place).ok()?)?.clone();
        let readings = SAID.iter().zip(0_u64..).map(|((metric, unit, low, wander), salt)| {
            // Up and down by one, every fourth time: numbers of patients change slowly.
            let along = (self.seed % 1000 + place * 7 + salt * 3 + round / 4) % (2 * wander);
            let above = i32::try_from(along.min(2 * wander - along)).unwrap_or(0);
            let value = low.saturating_add(above);
            Reading::number(*metric, value, unit.clone())
        });
        let observed = Observed { at, quality: ClockQuality::Synchronised };
        Some(Record::Readings(ReadingGroup::new(device, observed, readings.collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ward_says_comes_back_from_envelopes_that_an_agent_could_have_made() {
        let site = SiteId::new("fleet-001").unwrap();
        let outbox = OutboxId::from_bytes([1; 16]);
        let mut ward = Ward::new(&site, 3, 7, outbox).unwrap();
        let at = |ms| WallTime::from_unix_ms(1_795_335_300_000 + ms);
        let mut seq = Seq::FIRST;
        let mut groups = 0_u64;
        for tick in 0..40_i64 {
            for closed in ward.say(60, at(tick * 250), at((tick + 1) * 250)) {
                let envelope = Envelope::decode(&closed.bytes).unwrap().envelope;
                assert_eq!((envelope.outbox, envelope.seq, closed.seq), (outbox, seq, seq));
                seq = seq.next();
                for record in &envelope.records {
                    let Record::Readings(group) = record else { panic!("{record:?}") };
                    assert_eq!(group.device.as_str(), format!("fleet-001-0{}", 1 + groups % 3));
                    assert!((at(tick * 250)..at((tick + 1) * 250)).contains(&group.observed.at));
                    let valid = |one: &Reading| one.validity == model::reading::Validity::Valid;
                    assert!(group.readings.iter().all(valid), "{group:?}");
                    groups += 1;
                }
                assert_eq!(usize::try_from(closed.readings), Ok(envelope.records.len() * 4));
                // The length learnt is that of the one before.
                assert!(closed.bytes.len() < TREND_LEN_MAX * 21 / 20, "{}", closed.bytes.len());
            }
        }
        assert_eq!((groups, ward.next()), (40 * 60, seq));
    }
}
