//! The only place of the agent that reads clocks.

use model::time::{ClockQuality, MonoTime, Now, WallTime};
use std::{
    fs,
    time::{Instant, SystemTime},
};

/// systemd-timesyncd touches this file when it has set the clock from the network.
const SYNCHRONISED_MARK: &str = "/run/systemd/timesync/synchronized";

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time begins now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Monotonic time.
    pub(crate) fn mono(&self) -> MonoTime {
        MonoTime::from_start(self.start.elapsed())
    }

    /// Both clocks, read once.
    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_ms = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
        Now {
            mono: self.mono(),
            wall: WallTime::from_unix_ms(i64::try_from(unix_ms).unwrap_or(i64::MAX)),
            quality: self.quality(),
        }
    }

    /// Seconds east of UTC that the zone has now.
    pub(crate) fn offset_s(&self, zone: &jiff::tz::TimeZone) -> i32 {
        let now = jiff::Timestamp::from_millisecond(self.now().wall.unix_ms());
        zone.to_offset(now.unwrap_or(jiff::Timestamp::UNIX_EPOCH)).seconds()
    }

    /// Evidence that the wall clock was set from the network since the box started; without it
    /// nobody knows.
    pub(crate) fn quality(&self) -> ClockQuality {
        match fs::exists(SYNCHRONISED_MARK) {
            Ok(true) => ClockQuality::Synchronised,
            _ => ClockQuality::Unknown,
        }
    }

    /// Waits until that moment; for ever if there is none.
    pub(crate) async fn sleep_until(&self, moment: Option<MonoTime>) {
        match moment {
            Some(moment) => {
                let due = self.start + moment.since_start();
                tokio::time::sleep_until(due.into()).await;
            }
            None => std::future::pending().await,
        }
    }
}
