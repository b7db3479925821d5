//! A blood-glucose meter with a memory, from the protocol sheet alone.
//!
//! - `racp`: the record access control point
//!
//! # Invariants
//! - nothing is deleted; who asks for it is written down
//! - a record is truth once, however often it is read

mod racp;

use super::{
    AttError, Flag, Pairing, Uuid, bedside,
    kit::Kit,
    peripheral::{Air, Inside, Peripheral},
    value::{Sfloat, flags},
};
use crate::{
    Setup, SimTime, Truth, scenario::Glucose, scenario::variation, temper::Temper, truth::Notebook,
};
use racp::{Answer, Asked};
use std::collections::{BTreeSet, VecDeque};

/// §2 and §3.
mod spec {
    use super::Uuid;
    pub(super) const SERVICE: Uuid = Uuid::short(0x1808);
    pub(super) const MEASUREMENT: Uuid = Uuid::short(0x2A18);
    pub(super) const CONTEXT: Uuid = Uuid::short(0x2A34);
    pub(super) const FEATURE: Uuid = Uuid::short(0x2A51);
    pub(super) const CONTROL_POINT: Uuid = Uuid::short(0x2A52);
    pub(super) const OFFSET: u8 = 1 << 0;
    pub(super) const CONCENTRATION: u8 = 1 << 1;
    pub(super) const MOL_PER_LITRE: u8 = 1 << 2;
    pub(super) const STATUS: u8 = 1 << 3;
    pub(super) const CONTEXT_FOLLOWS: u8 = 1 << 4;
    pub(super) const CONTROL_SOLUTION: u8 = 0x4A;
    pub(super) const FINGER: u8 = 0x10;
    pub(super) const TOO_HIGH: u16 = 1 << 5;
    pub(super) const TOO_LOW: u16 = 1 << 6;
    pub(super) const CARBOHYDRATE: u8 = 1 << 0;
    pub(super) const MEAL: u8 = 1 << 1;
    pub(super) const LUNCH: u8 = 2;
    pub(super) const FEATURES: u16 = 0x07FF;
    /// "0x80 or 0xFE = procedure already in progress", §5.
    pub(super) const IN_PROGRESS: [u8; 2] = [0x80, 0xFE];
    /// "0x81 or 0xFD = CCCD improperly configured".
    pub(super) const CCCD: [u8; 2] = [0x81, 0xFD];
}

/// Records of a meter that was used for long.
const RECORDS_MAX: u64 = 500;
/// "A full meter": when it is, the oldest goes.
const MEMORY_MAX: usize = 1000;
/// Records of a new one.
const RECORDS_FEW: u64 = 12;
/// One record a connection interval.
const RECORD_MS: u64 = 15;
/// For play: a meter ends the link when nothing was asked for so long.
const IDLE_MS: u64 = 10_000;
/// A first number near its end, for a meter whose numbers begin anew.
const LATE_SEQUENCE: u16 = 0xFFFA;

/// A value of 2A18, without its sequence number.
#[derive(Clone, Debug)]
struct Measurement {
    base_time: [u8; 7],
    offset_min: Option<i16>,
    mol_per_litre: bool,
    /// With type (low nibble) and location (high nibble).
    concentration: Option<(Sfloat, u8)>,
    status: Option<u16>,
    context_follows: bool,
}

impl Measurement {
    fn encode(&self, sequence: u16) -> Vec<u8> {
        let mut bytes = vec![flags([
            (spec::OFFSET, self.offset_min.is_some()),
            (spec::CONCENTRATION, self.concentration.is_some()),
            (spec::MOL_PER_LITRE, self.mol_per_litre),
            (spec::STATUS, self.status.is_some()),
            (spec::CONTEXT_FOLLOWS, self.context_follows),
        ])];
        bytes.extend(sequence.to_le_bytes());
        bytes.extend(self.base_time);
        bytes.extend(self.offset_min.into_iter().flat_map(i16::to_le_bytes));
        if let Some((concentration, kind)) = self.concentration {
            bytes.extend(concentration.bytes());
            bytes.push(kind);
        }
        bytes.extend(self.status.into_iter().flat_map(u16::to_le_bytes));
        bytes
    }
}

/// A value of 2A34: what was eaten and when.
fn context(sequence: u16, carbohydrate: Option<(u8, Sfloat)>, meal: Option<u8>) -> Vec<u8> {
    let mut bytes =
        vec![flags([(spec::CARBOHYDRATE, carbohydrate.is_some()), (spec::MEAL, meal.is_some())])];
    bytes.extend(sequence.to_le_bytes());
    if let Some((kind, amount)) = carbohydrate {
        bytes.push(kind);
        bytes.extend(amount.bytes());
    }
    bytes.extend(meal);
    bytes
}

/// A stored record, as it is on the wire and in the truth.
#[derive(Clone, Debug)]
struct Stored {
    sequence: u16,
    value: Vec<u8>,
    context: Option<Vec<u8>>,
    facts: Vec<Truth>,
}

/// The meter.
struct Meter {
    kit: Kit,
    /// Oldest first.
    memory: Vec<Stored>,
    /// How many there ever were.
    measured: u16,
    first_sequence: u16,
    measured_until: SimTime,
    told: BTreeSet<u16>,
    /// What is still to be sent of the procedure that runs.
    reporting: Option<(VecDeque<Stored>, SimTime)>,
    was_busy: bool,
}

/// A meter that was used before: for long if it is rude, a dozen times if it is polite.
pub(super) fn device(setup: Setup) -> Peripheral<impl Inside> {
    let polite = Temper::new(setup.seed).is_polite();
    with_records(setup, if polite { RECORDS_FEW } else { RECORDS_MAX })
}

/// A meter with so many records.
pub(super) fn with_records(setup: Setup, records: u64) -> Peripheral<impl Inside> {
    let kit = Kit::new(&setup, "GM-LE", true);
    let own: [(Uuid, &[Flag]); 4] = [
        (spec::MEASUREMENT, &[Flag::Notify]),
        (spec::CONTEXT, &[Flag::Notify]),
        (spec::FEATURE, &[Flag::Read]),
        (spec::CONTROL_POINT, &[Flag::Write, Flag::Indicate]),
    ];
    let pairing = Pairing::Passkey(kit.passkey());
    let profile = kit.profile("Virtual Glucose", spec::SERVICE, &own, pairing);
    let air = Air::new(Notebook::new(&setup.device, setup.clock));
    let meter = Meter::new(kit, records, &air);
    Peripheral::new(profile, meter, air)
}

impl Meter {
    fn new(kit: Kit, records: u64, air: &Air) -> Self {
        let late = kit.temper.property(41, 4) == 3;
        let mut meter = Self {
            memory: Vec::new(),
            measured: 0,
            first_sequence: if late { LATE_SEQUENCE } else { 1 },
            measured_until: SimTime(0),
            told: BTreeSet::new(),
            reporting: None,
            was_busy: false,
            kit,
        };
        for number in 0..records {
            // Four tests a day, the last of them yesterday.
            let (days, second) = ((records - number).div_ceil(4), number % 4 * 18_000);
            let more = variation(meter.kit.setup().seed, number, 0x56, 140);
            let mg_per_dl = 70 + u16::try_from(more).unwrap_or_default();
            let stamp = meter.kit.stamp_of_old(days, second);
            meter.store(SimTime(0), mg_per_dl, stamp, air);
        }
        meter
    }

    fn store(
        &mut self,
        at: SimTime,
        mg_per_dl: u16,
        (base_time, time): super::spot::Stamp,
        air: &Air,
    ) {
        let number = self.measured;
        self.measured = self.measured.wrapping_add(1);
        if self.memory.len() >= MEMORY_MAX {
            self.memory.remove(0);
        }
        let sequence = self.first_sequence.wrapping_add(number);
        let rude = !self.kit.temper.is_polite();
        let is_control = rude && number % 50 == 7;
        let whole_blood = self.kit.temper.property(42, 2) == 0;
        let (kind, metric) = match (is_control, whole_blood) {
            (true, _) => (spec::CONTROL_SOLUTION, "glu_control"),
            (false, true) => (spec::FINGER | 1, "glu_cap_wb"),
            (false, false) => (spec::FINGER | 2, "glu_cap_pl"),
        };
        let mol_per_litre = self.kit.temper.property(43, 2) == 1;
        let (concentration, unit, text) = sent(mg_per_dl, mol_per_litre);
        let status = match mg_per_dl {
            0 => Some((spec::TOO_LOW, "result_too_low", "<")),
            u16::MAX => Some((spec::TOO_HIGH, "result_too_high", ">")),
            _ => None,
        };
        let has_context = number % 3 == 1 && !is_control;
        let measurement = Measurement {
            base_time,
            offset_min: rude.then_some(0),
            mol_per_litre,
            concentration: Some((concentration, kind)),
            status: status.map(|(bits, _, _)| bits).or(rude.then_some(0)),
            context_follows: has_context,
        };
        let mut fact = air.notes.reading(at, metric, Some(unit), Ok(text));
        fact.device_time = Some(time);
        fact.device_seq = Some(sequence.into());
        fact.comparator = status.map(|(_, _, comparator)| comparator);
        let mut facts = vec![fact.clone()];
        if let Some((_, name, _)) = status {
            (fact.metric, fact.unit) = (Some("glu_dev_status"), None);
            (fact.value, fact.comparator) = (Some(name.to_owned()), None);
            facts.push(fact);
        }
        let meal = Some(u8::from(number.is_multiple_of(2)) + 1);
        let carbohydrate = (number.is_multiple_of(2)).then_some((spec::LUNCH, Sfloat::new(60, -3)));
        self.memory.push(Stored {
            sequence,
            value: measurement.encode(sequence),
            context: has_context.then(|| context(sequence, carbohydrate, meal)),
            facts,
        });
    }

    /// The next test of the story.
    fn next(&self) -> Option<(SimTime, Glucose)> {
        let story = bedside::scenario(self.kit.setup());
        story.next(&story.glucose, |test| test.at_s, self.measured_until)
    }

    /// One record, and its context directly behind it.
    fn say(&mut self, record: Stored, air: &mut Air) {
        let is_news = air.hears(spec::MEASUREMENT) && self.told.insert(record.sequence);
        let facts = if is_news { record.facts } else { Vec::new() };
        air.notify(spec::MEASUREMENT, record.value, facts);
        if let Some(context) = record.context {
            air.notify(spec::CONTEXT, context, Vec::new());
        }
    }

    /// Sends what is due of the procedure that runs.
    fn report(&mut self, now: SimTime, air: &mut Air) {
        while let Some((mut records, at)) = self.reporting.take() {
            if at > now {
                self.reporting = Some((records, at));
                return;
            }
            let Some(record) = records.pop_front() else { return };
            self.say(record, air);
            if records.is_empty() {
                self.answer(now, Answer::Done { asked: racp::REPORT, code: racp::SUCCESS }, air);
                // "The indication may overtake the last notifications", §6.4.
                if self.kit.temper.once_in(3) {
                    air.overtake();
                }
                return;
            }
            self.reporting = Some((records, at.plus_millis(RECORD_MS)));
        }
    }

    fn answer(&mut self, now: SimTime, answer: Answer, air: &mut Air) {
        air.indicate(spec::CONTROL_POINT, answer.encode(), Vec::new());
        air.end(now.plus_millis(IDLE_MS));
    }

    fn asked(&mut self, now: SimTime, asked: &Asked, air: &mut Air) {
        let done = |code| Answer::Done { asked: asked.op, code };
        match asked.op {
            racp::REPORT | racp::COUNT => {
                // Once, and not the first time it is asked.
                if !self.was_busy && !self.told.is_empty() && self.kit.temper.once_in(3) {
                    self.was_busy = true;
                    return self.answer(now, done(racp::BUSY), air);
                }
                let found = asked.select(self.memory.iter().map(|record| record.sequence));
                let found = match found {
                    Ok(found) => found,
                    Err(code) => return self.answer(now, done(code), air),
                };
                if asked.op == racp::COUNT {
                    let count = u16::try_from(found.len()).unwrap_or(u16::MAX);
                    return self.answer(now, Answer::Count(count), air);
                }
                let records = found.into_iter().filter_map(|place| self.memory.get(place));
                let records: VecDeque<Stored> = records.cloned().collect();
                if records.is_empty() {
                    return self.answer(now, done(racp::NO_RECORDS), air);
                }
                self.reporting = Some((records, now.plus_millis(RECORD_MS)));
            }
            racp::DELETE => {
                air.notes.forbidden(now, "delete records");
                self.answer(now, done(racp::NOT_SUPPORTED), air);
            }
            racp::ABORT => {
                self.reporting = None;
                self.answer(now, done(racp::SUCCESS), air);
            }
            _ => self.answer(now, done(racp::NOT_SUPPORTED), air),
        }
    }
}

/// What a meter shows, as it is sent: the number, its unit, and the number as text.
fn sent(mg_per_dl: u16, mol_per_litre: bool) -> (Sfloat, &'static str, String) {
    match (mg_per_dl, mol_per_litre) {
        // The sheet's limits where the model's are not known.
        (0, _) => (Sfloat::MINUS_INFINITY, "mg/dL", "20".to_owned()),
        (u16::MAX, _) => (Sfloat::PLUS_INFINITY, "mg/dL", "600".to_owned()),
        (_, true) => {
            // 1 mmol/L is 18.0156 mg/dL, §3; in tenths.
            let tenths = (u32::from(mg_per_dl) * 100_000 + 90_078) / 180_156;
            let value = Sfloat::new(i16::try_from(tenths).unwrap_or_default(), -4);
            (value, "mmol/L", value.text(3).unwrap_or_default())
        }
        (_, false) => {
            let value = Sfloat::new(i16::try_from(mg_per_dl).unwrap_or_default(), -5);
            (value, "mg/dL", value.text(5).unwrap_or_default())
        }
    }
}

impl Inside for Meter {
    fn advance(&mut self, now: SimTime, air: &mut Air) {
        while let Some((at, test)) = self.next().filter(|(at, _)| *at <= now) {
            let stamp = self.kit.stamp(at);
            self.store(at, test.mg_per_dl, stamp, air);
            self.measured_until = at;
            air.wake(at);
            // "Some meters push the fresh result", §8.7.
            let pushes = self.kit.temper.property(44, 2) == 1 && self.reporting.is_none();
            if let Some(record) = self.memory.last().cloned().filter(|_| pushes) {
                self.say(record, air);
            }
        }
        self.measured_until = self.measured_until.max(now);
        self.report(now, air);
    }

    fn next_due(&self, _: &Air) -> Option<SimTime> {
        let test = self.next().map(|(at, _)| at);
        test.into_iter().chain(self.reporting.as_ref().map(|(_, at)| *at)).min()
    }

    fn read(&mut self, now: SimTime, uuid: Uuid, air: &mut Air) -> Result<Vec<u8>, AttError> {
        match uuid {
            spec::FEATURE => Ok(spec::FEATURES.to_le_bytes().to_vec()),
            _ => self.kit.read(now, uuid, air),
        }
    }

    fn write(
        &mut self,
        now: SimTime,
        uuid: Uuid,
        value: &[u8],
        air: &mut Air,
    ) -> Result<(), AttError> {
        if uuid != spec::CONTROL_POINT {
            return self.kit.write(now, uuid, air);
        }
        let [first, second] = spec::IN_PROGRESS;
        let later = self.kit.temper.property(45, 2) == 1;
        let in_progress = if later { second } else { first };
        let [first, second] = spec::CCCD;
        let cccd = if later { second } else { first };
        if !air.hears(spec::CONTROL_POINT) || !air.hears(spec::MEASUREMENT) {
            return Err(AttError(cccd));
        }
        let asked = Asked::decode(value).ok_or(AttError::VALUE_LENGTH)?;
        if self.reporting.is_some() && asked.op != racp::ABORT {
            return Err(AttError(in_progress));
        }
        air.stay();
        self.asked(now, &asked, air);
        Ok(())
    }

    fn subscribed(&mut self, now: SimTime, _: Uuid, air: &mut Air) {
        air.end(now.plus_millis(IDLE_MS));
    }

    fn confirmed(&mut self, _: SimTime, _: Uuid, _: &mut Air) {}

    fn disconnected(&mut self) {
        self.reporting = None;
    }

    fn forgotten(&mut self, facts: Vec<Truth>) {
        for sequence in facts.iter().filter_map(|fact| fact.device_seq) {
            self.told.retain(|told| u64::from(*told) != sequence);
        }
    }

    fn is_always_on(&self, _: SimTime) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
