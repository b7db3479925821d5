//! The room on the outbox's disk: others fill it too. What is left last is for urgent records.

use model::id::Lane;
use std::path::Path;

/// With less free room waveforms are not stored, with half of it trend neither: 128 MiB are urgent
/// records of months.
const FLOOR_LEN: u64 = 256 << 20;
/// Of a small disk this part.
const FLOOR_PART: u64 = 8;

/// Bytes of a disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Space {
    pub(super) free: u64,
    pub(super) total: u64,
}

impl Space {
    /// Of the disk that file is on, as far as the system tells.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Self { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }

    /// How much of it is free, in percent, rounded down.
    pub(super) fn free_pct(self) -> Option<u8> {
        let pct = (u128::from(self.free) * 100).checked_div(u128::from(self.total))?;
        u8::try_from(pct).ok()
    }

    /// What may be used before waveforms are given up.
    pub(super) fn usable(self) -> u64 {
        self.free.saturating_sub(self.floor())
    }

    fn floor(self) -> u64 {
        FLOOR_LEN.min(self.total / FLOOR_PART)
    }
}

/// What there is room for.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Room {
    #[default]
    Enough,
    NoWaves,
    UrgentOnly,
}

impl Room {
    /// What there is room for, after it was this.
    pub(super) fn after(self, space: Space) -> Self {
        // Once given up it comes back with some more room, or it would come and go.
        let is_below = |room, floor: u64| {
            space.free < if self >= room { floor.saturating_add(floor / 4) } else { floor }
        };
        if is_below(Self::UrgentOnly, space.floor() / 2) {
            Self::UrgentOnly
        } else if is_below(Self::NoWaves, space.floor()) {
            Self::NoWaves
        } else {
            Self::Enough
        }
    }

    /// Whether records of that lane are stored.
    pub(super) fn takes(self, lane: Lane) -> bool {
        match lane {
            Lane::Urgent => true,
            Lane::Trend => self <= Self::NoWaves,
            Lane::Wave => self == Self::Enough,
        }
    }

    /// What a person should know and do, if there is something.
    pub(crate) fn says(self) -> Option<&'static str> {
        match self {
            Self::Enough => None,
            Self::NoWaves => Some(
                "the disk is nearly full: waveforms are not stored; make room on the disk of data_dir",
            ),
            Self::UrgentOnly => Some(
                "the disk is full: only alarms and single results are stored; make room on the disk of data_dir",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_rounded_down_and_of_no_disk_nobody_knows() {
        let pct = |free, total| Space { free, total }.free_pct();
        assert_eq!([pct(100, 1000), pct(99, 1000), pct(0, 1000)], [Some(10), Some(9), Some(0)]);
        assert_eq!([pct(u64::MAX, u64::MAX), pct(0, 0)], [Some(100), None]);
    }

    #[test]
    fn waves_then_trend_yield_to_others_and_come_back_with_some_more_room() {
        const MIB: u64 = 1 << 20;
        let mut room = Room::Enough;
        let mut after = |free, total| {
            room = room.after(Space { free: free * MIB, total: total * MIB });
            Lane::ALL.map(|lane| room.takes(lane))
        };
        assert_eq!(after(256, 32_000), [true; 3]);
        assert_eq!(after(255, 32_000), [true, true, false]);
        assert_eq!(after(319, 32_000), [true, true, false]);
        assert_eq!(after(127, 32_000), [true, false, false]);
        assert_eq!(after(159, 32_000), [true, false, false]);
        assert_eq!(after(160, 32_000), [true, true, false]);
        assert_eq!(after(320, 32_000), [true; 3]);
        // A small disk.
        assert_eq!(after(4, 32), [true; 3]);
        assert_eq!(after(3, 32), [true, true, false]);
        assert_eq!(after(1, 32), [true, false, false]);
    }
}
