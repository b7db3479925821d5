//! A heart-rate strap with ECG, from the protocol sheets alone: Heart Rate Service and the
//! manufacturer's Measurement Data service.
//!
//! # Invariants
//! - a frame is one waveform block of the truth
//! - the stream needs settings and an MTU that holds a frame

use super::{
    AttError, Characteristic, Flag, Pairing, Profile, Service, Uuid, bedside,
    kit::Kit,
    peripheral::{Air, Inside, Peripheral},
    value::flags,
};
use crate::{Setup, SimTime, ecg::EcgPlayer, truth::Notebook};

/// Sheet of the heart rate, §2; sheet of the ECG, §2 to §4.
mod spec {
    use super::Uuid;
    pub(super) const HEART_RATE: Uuid = Uuid::short(0x180D);
    pub(super) const MEASUREMENT: Uuid = Uuid::short(0x2A37);
    pub(super) const LOCATION: Uuid = Uuid::short(0x2A38);
    pub(super) const CHEST: u8 = 1;
    pub(super) const WIDE: u8 = 1 << 0;
    pub(super) const CONTACT: u8 = 1 << 1;
    pub(super) const CONTACT_SUPPORTED: u8 = 1 << 2;
    pub(super) const ENERGY: u8 = 1 << 3;
    pub(super) const INTERVALS: u8 = 1 << 4;
    pub(super) const PMD: Uuid = Uuid(0xFB00_5C80_02E7_F387_1CAD_8ACD_2D8D_F0C8);
    pub(super) const CONTROL: Uuid = Uuid(0xFB00_5C81_02E7_F387_1CAD_8ACD_2D8D_F0C8);
    pub(super) const DATA: Uuid = Uuid(0xFB00_5C82_02E7_F387_1CAD_8ACD_2D8D_F0C8);
    /// ECG and acceleration.
    pub(super) const FEATURES: [u8; 17] = [0x0F, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    pub(super) const RESPONSE: u8 = 0xF0;
    pub(super) const GET_SETTINGS: u8 = 1;
    pub(super) const START: u8 = 2;
    pub(super) const STOP: u8 = 3;
    pub(super) const ECG: u8 = 0;
    /// 130 Hz and 14 bit.
    pub(super) const SETTINGS: [u8; 8] = [0, 1, 0x82, 0, 1, 1, 0x0E, 0];
    pub(super) const SUCCESS: u8 = 0;
    pub(super) const INVALID_OP: u8 = 1;
    pub(super) const NOT_SUPPORTED: u8 = 3;
    pub(super) const INVALID_PARAMETER: u8 = 5;
    pub(super) const ALREADY: u8 = 6;
    pub(super) const INVALID_MTU: u8 = 10;
    /// "n = 73 at MTU 232".
    pub(super) const MTU: u16 = 232;
    pub(super) const SAMPLES: u64 = 73;
    pub(super) const RATE_HZ: u64 = 130;
    /// 2019-01-01 in nanoseconds since 2000-01-01: where the clock begins.
    pub(super) const CLOCK_BEGINS_NS: u64 = 599_616_000_000_000_000;
}

const SECOND_US: u64 = 1_000_000;
/// "Strap off -> the link drops after about 45 s", §5.5.
const OFF_MS: u64 = 45_000;
/// Outside the input range of 20 000 µV: what an electrode in the air shows.
const RAIL_UV: i32 = 25_000;

/// A value of 2A37.
fn heart_rate(rate: u16, contact: Option<bool>, energy: Option<u16>, intervals: &[u16]) -> Vec<u8> {
    let wide = u8::try_from(rate).is_err();
    encode_rate(
        flags([
            (spec::WIDE, wide),
            (spec::CONTACT, contact == Some(true)),
            (spec::CONTACT_SUPPORTED, contact.is_some()),
            (spec::ENERGY, energy.is_some()),
            (spec::INTERVALS, !intervals.is_empty()),
        ]),
        rate,
        energy,
        intervals,
    )
}

fn encode_rate(flags: u8, rate: u16, energy: Option<u16>, intervals: &[u16]) -> Vec<u8> {
    let [low, high] = rate.to_le_bytes();
    let mut bytes = vec![flags, low];
    if flags & spec::WIDE != 0 {
        bytes.push(high);
    }
    bytes.extend(energy.into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(intervals.iter().flat_map(|interval| interval.to_le_bytes()));
    bytes
}

/// A frame of the ECG: "timestamp of the last sample, frame type 0, signed 24-bit microvolts".
fn frame(timestamp_ns: u64, samples: &[i32]) -> Vec<u8> {
    let mut bytes = vec![spec::ECG];
    bytes.extend(timestamp_ns.to_le_bytes());
    bytes.push(0);
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes().into_iter().take(3)));
    bytes
}

/// A stream that runs.
#[derive(Debug)]
struct Stream {
    began: SimTime,
    frames: u64,
}

impl Stream {
    /// When that sample of the stream is taken.
    fn at(&self, sample: u64) -> SimTime {
        SimTime(self.began.0 + sample * SECOND_US / spec::RATE_HZ)
    }

    /// When the next frame is full.
    fn due(&self) -> SimTime {
        self.at((self.frames + 1) * spec::SAMPLES)
    }
}

struct Strap {
    kit: Kit,
    ecg: EcgPlayer,
    stream: Option<Stream>,
    rate_at: SimTime,
    /// When the next beat comes, in 1/1024 s since the start.
    beat_at: u64,
    off_since: Option<SimTime>,
}

pub(super) fn device(setup: Setup) -> Peripheral<impl Inside> {
    let kit = Kit::new(&setup, "H10", false);
    let mut services = vec![
        Service {
            uuid: spec::HEART_RATE,
            characteristics: vec![
                Characteristic { uuid: spec::MEASUREMENT, flags: &[Flag::Notify] },
                Characteristic { uuid: spec::LOCATION, flags: &[Flag::Read] },
            ],
        },
        Service {
            uuid: spec::PMD,
            characteristics: vec![
                Characteristic {
                    uuid: spec::CONTROL,
                    flags: &[Flag::Read, Flag::Write, Flag::Indicate],
                },
                Characteristic { uuid: spec::DATA, flags: &[Flag::Notify] },
            ],
        },
    ];
    services.extend(kit.services());
    let profile = Profile {
        name: format!(
            "Polar H10 {:08X}",
            u32::try_from(setup.seed % (1 << 32)).unwrap_or_default()
        ),
        advertised: vec![spec::HEART_RATE],
        services,
        pairing: Pairing::NotNeeded,
        mtu_max: spec::MTU,
    };
    let strap = Strap {
        ecg: bedside::ecg(&setup),
        stream: None,
        rate_at: SimTime(0),
        beat_at: 0,
        off_since: None,
        kit,
    };
    Peripheral::new(profile, strap, Air::new(Notebook::new(&setup.device, setup.clock)))
}

impl Strap {
    fn is_off(&self, now: SimTime) -> bool {
        let setup = self.kit.setup();
        bedside::during(setup, &bedside::scenario(setup).leads_off, now)
    }

    /// Once a second: the rate, and the intervals of the beats since.
    fn say_rate(&mut self, now: SimTime, air: &mut Air) {
        let off = self.is_off(now);
        let rate = match off {
            true => 0,
            false => u16::from(bedside::heart_rate(self.kit.setup(), now)),
        };
        let until = now.0 / SECOND_US * 1024;
        let mut intervals = Vec::new();
        if let Some(interval) = (60 * 1024_u16).checked_div(rate) {
            self.beat_at = self.beat_at.max(until.saturating_sub(2 * 1024));
            while self.beat_at + u64::from(interval) <= until {
                self.beat_at += u64::from(interval);
                intervals.push(interval);
            }
        } else {
            self.beat_at = until;
        }
        let fact = match (off, rate) {
            (true, _) => Err("sensor_off"),
            (false, 0) => Err("not_available"),
            (false, rate) => Ok(rate.to_string()),
        };
        let mut facts = vec![air.notes.reading(now, "hr", Some("/min"), fact)];
        facts.extend(intervals.iter().map(|interval| {
            air.notes.reading(now, "rr_interval", Some("s/1024"), Ok(interval.to_string()))
        }));
        let value = heart_rate(rate, Some(!off), None, &intervals);
        air.notify(spec::MEASUREMENT, value, facts);
    }

    /// Every frame that is full by now.
    fn say_ecg(&mut self, now: SimTime, air: &mut Air) {
        let Some(mut stream) = self.stream.take() else { return };
        while stream.due() <= now {
            let first = stream.frames * spec::SAMPLES;
            let samples: Vec<i32> = (first..first + spec::SAMPLES)
                .map(|number| self.sample(stream.at(number)))
                .collect();
            let last = stream.at(first + spec::SAMPLES - 1);
            let fact = air.notes.block_fact(now, "ecg_wave", &samples);
            let timestamp_ns = spec::CLOCK_BEGINS_NS + last.0 * 1000;
            air.notify(spec::DATA, frame(timestamp_ns, &samples), vec![fact]);
            stream.frames += 1;
        }
        self.stream = Some(stream);
    }

    fn sample(&mut self, at: SimTime) -> i32 {
        let setup = self.kit.setup();
        let story = bedside::scenario(setup);
        if bedside::during(setup, &story.leads_off, at)
            || bedside::during(setup, &story.saturation, at)
        {
            return RAIL_UV;
        }
        let [_, two, ..] = self.ecg.sample(at, bedside::patient(setup)).leads(1);
        two
    }

    /// The response to a request of the control point.
    fn control(&mut self, now: SimTime, request: &[u8], air: &Air) -> Vec<u8> {
        let (op, kind, rest) = match request {
            [op, kind, rest @ ..] => (*op, *kind, rest),
            [op] => (*op, 0, [].as_slice()),
            [] => (0, 0, [].as_slice()),
        };
        let answer = |status: u8, more: &[u8]| {
            [[spec::RESPONSE, op, kind, status].as_slice(), more].concat()
        };
        if kind != spec::ECG {
            return answer(spec::NOT_SUPPORTED, &[]);
        }
        match op {
            // "Request MTU >= 232 before any PMD write", §5.1.
            spec::GET_SETTINGS | spec::START if air.mtu() < spec::MTU => {
                answer(spec::INVALID_MTU, &[])
            }
            spec::GET_SETTINGS => {
                answer(spec::SUCCESS, &[&[0], spec::SETTINGS.as_slice()].concat())
            }
            spec::START if rest != spec::SETTINGS => answer(spec::INVALID_PARAMETER, &[0]),
            spec::START if self.stream.is_some() => answer(spec::ALREADY, &[0]),
            spec::START => {
                self.stream = Some(Stream { began: now, frames: 0 });
                answer(spec::SUCCESS, &[0, 0])
            }
            spec::STOP if self.stream.take().is_none() => answer(spec::ALREADY, &[0]),
            spec::STOP => answer(spec::SUCCESS, &[]),
            _ => answer(spec::INVALID_OP, &[]),
        }
    }
}

impl Inside for Strap {
    fn advance(&mut self, now: SimTime, air: &mut Air) {
        if !air.is_connected() {
            return;
        }
        if self.rate_at <= now {
            self.rate_at = SimTime((now.0 / SECOND_US + 1) * SECOND_US);
            self.say_rate(now, air);
        }
        self.say_ecg(now, air);
        self.off_since = self.is_off(now).then(|| self.off_since.unwrap_or(now));
        if self.off_since.is_some_and(|since| since.plus_millis(OFF_MS) <= now) {
            air.end(now);
        }
    }

    fn next_due(&self, air: &Air) -> Option<SimTime> {
        let stream = self.stream.as_ref().map(Stream::due);
        air.is_connected().then(|| stream.into_iter().chain([self.rate_at]).min())?
    }

    fn read(&mut self, now: SimTime, uuid: Uuid, air: &mut Air) -> Result<Vec<u8>, AttError> {
        match uuid {
            spec::LOCATION => Ok(vec![spec::CHEST]),
            spec::CONTROL => Ok(spec::FEATURES.to_vec()),
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
        if uuid != spec::CONTROL {
            return Err(AttError::WRITE_NOT_PERMITTED);
        }
        let response = self.control(now, value, air);
        air.indicate(spec::CONTROL, response, Vec::new());
        Ok(())
    }

    fn subscribed(&mut self, _: SimTime, _: Uuid, _: &mut Air) {}

    fn confirmed(&mut self, _: SimTime, _: Uuid, _: &mut Air) {}

    fn disconnected(&mut self) {
        (self.stream, self.off_since) = (None, None);
        // It speaks as soon as it is heard again.
        self.rate_at = SimTime(0);
    }

    fn is_always_on(&self, now: SimTime) -> bool {
        !self.is_off(now)
    }
}

#[cfg(test)]
mod tests;
