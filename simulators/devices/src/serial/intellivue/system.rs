//! What the monitor is, and what its clocks say.

use super::{messages, spec};
use crate::{Setup, SimTime, scenario::variation};

/// The monitor has been on for 10 s at the start, as in §9.3.
const TICKS_AT_START: u32 = 80_000;
/// "Relative time wraps after about 6 days 5 h", §10: here after a minute.
const TICKS_BEFORE_WRAP: u32 = u32::MAX - 60 * 8000;
/// Type of the system, §9.3.
const SYSTEM_TYPE: [u16; 2] = [spec::OBJECTS, 0x114D];
/// The manufacturer's part of the system id, §9.3.
const SYSTEM_ID: [u8; 5] = [0x00, 0x09, 0xFB, 0xFF, 0xFF];

/// What the monitor is, and what its clock says: the pair gives the offset, §6.4.
pub(super) fn about(setup: &Setup, now: SimTime) -> Vec<Vec<u8>> {
    let serial = variation(setup.seed, 0, 12, 0x00FF_FFFF).to_be_bytes();
    let id = [SYSTEM_ID.as_slice(), serial.get(5..).unwrap_or_default()].concat();
    let civil_ms = setup.clock.civil_ms(now);
    // The absolute time has no fraction: the relative time is that of its full second.
    let fraction = u32::try_from(civil_ms.rem_euclid(1000)).unwrap_or_default() * 8;
    let ticks = ticks(setup, SimTime(now.0 / 1000 * 1000)).wrapping_sub(fraction);
    let mut about = identity(&id);
    about.push(messages::attribute(spec::ABSOLUTE_TIME, &messages::absolute(civil_ms)));
    about.push(messages::attribute(spec::RELATIVE_TIME, &ticks.to_be_bytes()));
    about
}

/// Relative time: 8000 a second since the monitor was switched on.
pub(super) fn ticks(setup: &Setup, at: SimTime) -> u32 {
    let base = match setup.seed % 4 {
        3 => TICKS_BEFORE_WRAP,
        _ => TICKS_AT_START,
    };
    let passed = at.0 / spec::TICK_US % (u64::from(u32::MAX) + 1);
    base.wrapping_add(u32::try_from(passed).unwrap_or_default())
}

/// System type, model and id, §6.4.
pub(super) fn identity(id: &[u8]) -> Vec<Vec<u8>> {
    let model = [messages::variable_label("Philips"), messages::variable_label("M8003A")];
    vec![
        messages::attribute(spec::SYSTEM_TYPE, &messages::words(&SYSTEM_TYPE)),
        messages::attribute(spec::SYSTEM_MODEL, &model.concat()),
        messages::attribute(spec::SYSTEM_ID, &messages::sized(id)),
    ]
}
