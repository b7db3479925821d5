//! Services that stand beside what a device measures: who made it, its battery, its clock;
//! and the passkey it shows.

use super::{
    AttError, Characteristic, Flag, Pairing, Profile, Service, Uuid,
    peripheral::Air,
    spot::Stamp,
    value::{current_time, date_time},
};
use crate::{
    Setup, SimTime,
    scenario::variation,
    temper::{DeviceClock, Temper},
    truth::moment,
};

/// Sheet of the heart-rate strap, §6.
mod spec {
    use super::Uuid;
    pub(super) const DEVICE_INFORMATION: Uuid = Uuid::short(0x180A);
    pub(super) const MANUFACTURER: Uuid = Uuid::short(0x2A29);
    pub(super) const MODEL: Uuid = Uuid::short(0x2A24);
    pub(super) const SERIAL: Uuid = Uuid::short(0x2A25);
    pub(super) const FIRMWARE: Uuid = Uuid::short(0x2A26);
    pub(super) const BATTERY: Uuid = Uuid::short(0x180F);
    pub(super) const BATTERY_LEVEL: Uuid = Uuid::short(0x2A19);
    pub(super) const CURRENT_TIME_SERVICE: Uuid = Uuid::short(0x1805);
    pub(super) const CURRENT_TIME: Uuid = Uuid::short(0x2A2B);
}

const READ: &[Flag] = &[Flag::Read];
/// The smallest there is: no value of a profile but the ECG needs more.
const MTU: u16 = 23;
/// For play: a battery that lasts and one that does not.
const BATTERY_GOOD: u8 = 84;
const BATTERY_LOW: u8 = 9;

/// Who made a device, its battery and its clock.
#[derive(Debug)]
pub(super) struct Kit {
    setup: Setup,
    model: &'static str,
    clock: DeviceClock,
    has_clock: bool,
    pub(super) temper: Temper,
}

impl Kit {
    pub(super) fn new(setup: &Setup, model: &'static str, has_clock: bool) -> Self {
        let temper = Temper::new(setup.seed);
        Self { setup: setup.clone(), model, clock: temper.clock(), has_clock, temper }
    }

    /// A device with one service of its own, which it names when it advertises.
    pub(super) fn profile(
        &self,
        name: &str,
        uuid: Uuid,
        own: &[(Uuid, &'static [Flag])],
        pairing: Pairing,
    ) -> Profile {
        let own = own.iter().map(|&(uuid, flags)| Characteristic { uuid, flags });
        let mut services = vec![Service { uuid, characteristics: own.collect() }];
        services.extend(self.services());
        Profile { name: name.to_owned(), advertised: vec![uuid], services, pairing, mtu_max: MTU }
    }

    /// The services, to stand behind what the device is for.
    pub(super) fn services(&self) -> Vec<Service> {
        let read = |uuid| Characteristic { uuid, flags: READ };
        let information = [spec::MANUFACTURER, spec::MODEL, spec::SERIAL, spec::FIRMWARE];
        let mut services = vec![
            Service {
                uuid: spec::DEVICE_INFORMATION,
                characteristics: information.map(read).to_vec(),
            },
            Service { uuid: spec::BATTERY, characteristics: vec![read(spec::BATTERY_LEVEL)] },
        ];
        if self.has_clock {
            let flags = &[Flag::Read, Flag::Write];
            let uuid = spec::CURRENT_TIME;
            let characteristics = vec![Characteristic { uuid, flags }];
            services.push(Service { uuid: spec::CURRENT_TIME_SERVICE, characteristics });
        }
        services
    }

    pub(super) fn read(
        &self,
        now: SimTime,
        uuid: Uuid,
        air: &mut Air,
    ) -> Result<Vec<u8>, AttError> {
        match uuid {
            // "May be padded with NULs", blood-pressure sheet, §2.
            spec::MANUFACTURER if !self.temper.is_polite() => Ok(b"Virtual\0\0\0".to_vec()),
            spec::MANUFACTURER => Ok(b"Virtual".to_vec()),
            spec::MODEL => Ok(self.model.as_bytes().to_vec()),
            spec::SERIAL => Ok(format!("V{:08}", self.setup.seed).into_bytes()),
            spec::FIRMWARE => Ok(b"1.0".to_vec()),
            spec::BATTERY_LEVEL => {
                let level = self.battery();
                air.notes.value(now, "batt_pct", "", "%", Ok(level.to_string()));
                Ok(vec![level])
            }
            spec::CURRENT_TIME => Ok(current_time(self.civil_ms(now), 0)),
            _ => Err(AttError::READ_NOT_PERMITTED),
        }
    }

    /// The clock is not set: what may not be sent is written down and not obeyed.
    pub(super) fn write(&self, now: SimTime, uuid: Uuid, air: &mut Air) -> Result<(), AttError> {
        if uuid != spec::CURRENT_TIME {
            return Err(AttError::WRITE_NOT_PERMITTED);
        }
        air.notes.forbidden(now, "set clock");
        Ok(())
    }

    /// A device of a rude seed may be nearly empty.
    pub(super) fn battery(&self) -> u8 {
        if self.temper.property(21, 2) == 1 { BATTERY_LOW } else { BATTERY_GOOD }
    }

    /// What the device's clock shows, in milliseconds counted as if it were UTC.
    pub(super) fn civil_ms(&self, now: SimTime) -> i64 {
        self.clock.civil_ms(self.setup.clock, now)
    }

    /// What the device's clock shows, and the moment that is in the truth.
    pub(super) fn stamp(&self, at: SimTime) -> Stamp {
        self.stamp_of(self.civil_ms(at))
    }

    /// As [`stamp`](Self::stamp), some days before the stage began.
    pub(super) fn stamp_of_old(&self, days: u64, second: u64) -> Stamp {
        let back = i64::try_from(days * 86_400).unwrap_or_default();
        let ahead = i64::try_from(second).unwrap_or_default();
        self.stamp_of(self.civil_ms(SimTime(0)).saturating_sub((back - ahead) * 1000))
    }

    /// What a clock shows that shows this, and the moment at which it did.
    fn stamp_of(&self, civil_ms: i64) -> Stamp {
        // A value carries seconds.
        let seconds = civil_ms.div_euclid(1000) - i64::from(self.setup.clock.utc_offset_s);
        (date_time(civil_ms), moment(seconds * 1000))
    }

    /// Six digits that the device shows.
    pub(super) fn passkey(&self) -> u32 {
        u32::try_from(variation(self.setup.seed, 0, 0x50, 999_999)).unwrap_or_default()
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }
}
