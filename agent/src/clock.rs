//! The only place of the agent that reads clocks.
//!
//! Not here: what says how far the wall clock can be trusted (`time_daemon`).

use model::time::{ClockQuality, MonoTime, Now, Uptime, WallTime};
use rustix::time::ClockId;
use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

/// The kernel draws it at each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A wall clock that is further than this from where the uptime says that it should be was set. An
/// agent that is not let run between reading one and the other makes less of a difference.
pub(crate) const SET_MS: u64 = 500;
/// How long a record is on its way from a device's first byte to the outbox: ten blocks of samples.
/// Of a clock that was set by more it shows by which setting a record is.
pub(crate) const ON_ITS_WAY_MS: u64 = 10_000;

/// How far the wall clock can be trusted, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trust {
    pub(crate) quality: ClockQuality,
    pub(crate) evidence: String,
}

/// All clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    boot: u32,
    trust: &'static Mutex<Trust>,
}

impl Clock {
    /// Monotonic time begins now.
    pub(crate) fn start() -> Self {
        let evidence = "the system has not been asked yet".to_owned();
        let trust = Trust { quality: ClockQuality::Unknown, evidence };
        // A program has one clock, for as long as it runs.
        let trust = Box::leak(Box::new(Mutex::new(trust)));
        Self { start: Instant::now(), boot: boot(), trust }
    }

    /// Monotonic time.
    pub(crate) fn mono(&self) -> MonoTime {
        MonoTime::from_start(self.start.elapsed())
    }

    /// All clocks, read once.
    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_ms = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
        Now {
            mono: self.mono(),
            uptime: self.uptime(),
            wall: WallTime::from_unix_ms(i64::try_from(unix_ms).unwrap_or(i64::MAX)),
            quality: self.trusted().quality,
        }
    }

    /// How long the box has been running.
    pub(crate) fn uptime(&self) -> Uptime {
        let since_boot = rustix::time::clock_gettime(ClockId::Boottime);
        let ms = since_boot.tv_sec.saturating_mul(1000) + since_boot.tv_nsec / 1_000_000;
        Uptime { boot: self.boot, ms: u64::try_from(ms).unwrap_or_default() }
    }

    /// Seconds east of UTC that the zone has now.
    pub(crate) fn offset_s(&self, zone: &jiff::tz::TimeZone) -> i32 {
        let now = jiff::Timestamp::from_millisecond(self.now().wall.unix_ms());
        zone.to_offset(now.unwrap_or(jiff::Timestamp::UNIX_EPOCH)).seconds()
    }

    /// How far the wall clock can be trusted.
    pub(crate) fn trust(&self) -> Trust {
        self.trusted().clone()
    }

    /// Something was heard of how far the wall clock can be trusted.
    pub(crate) fn set_trust(&self, trust: Trust) {
        *self.trusted() = trust;
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

    fn trusted(&self) -> MutexGuard<'static, Trust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which boot of the box this is. Where the kernel does not tell, each start of the agent is one.
fn boot() -> u32 {
    let told = fs::read_to_string(BOOT_ID).ok();
    let first = told.as_deref().and_then(|id| id.get(..8));
    first.and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_else(|| {
        let mut bytes = [0; 4];
        // Without random bytes all such boots look like one.
        let _filled = aws_lc_rs::rand::fill(&mut bytes);
        u32::from_le_bytes(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_goes_on_when_the_agent_is_started_anew() {
        let first = Clock::start().uptime();
        let second = Clock::start().uptime();
        assert_eq!(first.boot, second.boot);
        assert!(second.ms >= first.ms && first.ms > 0);
    }
}
