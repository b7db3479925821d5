//! Notices bytes that make no frame: mostly a wrong speed or parity, or another device.
//!
//! What the driver says in answer to bytes is the proof that it understood them; what it says of
//! itself when time passes is not, nor is what it sends.
//!
//! # Invariants
//! - once the device was understood it is watched again only after it was silent

use model::time::MonoTime;
use std::time::Duration;

/// The slowest device that talks by itself has said something by then.
const UNREAD_FOR: Duration = Duration::from_secs(10);
/// Plugging an adapter in makes a few stray bytes.
const BYTES_MIN: usize = 16;
/// A wrong setting is told again for whoever comes to look.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// What is known of the bytes of one opening of a port.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameWatch {
    understood: bool,
    bytes: usize,
    /// When the first of them came.
    since: Option<MonoTime>,
    told: Option<MonoTime>,
}

impl FrameWatch {
    /// Bytes came; whether the driver said something because of them.
    pub(crate) fn received(&mut self, now: MonoTime, count: usize, understood: bool) {
        if understood {
            *self = Self { understood, ..Self::default() };
        } else if !self.understood {
            self.bytes = self.bytes.saturating_add(count);
            self.since.get_or_insert(now);
        }
    }

    /// The driver gave its device up.
    pub(crate) fn fell_silent(&mut self) {
        if self.understood {
            *self = Self::default();
        }
    }

    /// Whether to tell a person that bytes arrive and none make a frame.
    pub(crate) fn must_tell(&mut self, now: MonoTime) -> bool {
        let long = self.since.is_some_and(|since| now.since(since) >= UNREAD_FOR);
        let again = self.told.is_none_or(|told| now.since(told) >= AGAIN_AFTER);
        let tell = long && again && self.bytes >= BYTES_MIN;
        if tell {
            self.told = Some(now);
        }
        tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(s))
    }

    #[test]
    fn bytes_that_make_no_frame_are_told_after_ten_seconds_and_rarely() {
        let mut watch = FrameWatch::default();
        let mut told = Vec::new();
        for s in 1..=400 {
            watch.received(at(s), 8, false);
            if watch.must_tell(at(s)) {
                told.push(s);
            }
        }
        assert_eq!(told, [11, 311]);
    }

    #[test]
    fn a_device_that_was_understood_is_left_alone_until_it_is_silent() {
        let mut watch = FrameWatch::default();
        watch.received(at(1), 50, true);
        watch.received(at(20), 50, false);
        assert!(!watch.must_tell(at(31)));
        watch.fell_silent();
        watch.received(at(40), 50, false);
        assert!(!watch.must_tell(at(49)));
        assert!(watch.must_tell(at(50)));
    }

    #[test]
    fn a_few_stray_bytes_are_nothing() {
        let mut watch = FrameWatch::default();
        watch.received(at(1), 15, false);
        assert!(!watch.must_tell(at(100)));
    }
}
