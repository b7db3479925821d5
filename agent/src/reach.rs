//! Whether the county is in reach: what the uplink noticed, and from when on that counts.
//!
//! Not here: the connection itself (`uplink`), what is done while nobody is reached (`alerts`).

use model::time::{MonoTime, Now, WallTime};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A connection that breaks is there again within 2 s, a county service that is restarted within
/// some more: who signals at once would ring with every hiccup of a 4G link.
const LOST_MAX: Duration = Duration::from_secs(10);
/// The county acks within 100 ms while data flows; a slow link takes seconds.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

/// What is known of the way to the county.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reach {
    /// Since when there is no connection, or nobody listens behind it.
    lost: Option<Since>,
    /// Since when something waits for an ack and none came.
    waiting: Option<Since>,
    /// Whether the county was heard since it was lost.
    heard: bool,
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Since {
    mono: MonoTime,
    wall: WallTime,
}

impl Since {
    const fn of(now: Now) -> Self {
        Self { mono: now.mono, wall: now.wall }
    }
}

impl Reach {
    /// Nobody has been reached yet.
    const fn new(now: Now) -> Self {
        Self { lost: Some(Since::of(now)), waiting: None, heard: false }
    }

    /// When the county will have been out of reach for long enough, if nothing is heard before.
    pub(crate) fn lost_at(self) -> Option<MonoTime> {
        let lost = self.lost.map(|since| since.mono + LOST_MAX);
        let unanswered = self.waiting.map(|since| since.mono + UNANSWERED_MAX);
        lost.into_iter().chain(unanswered).min()
    }

    /// Whether the county was heard and nothing has gone wrong since.
    pub(crate) const fn is_good(self) -> bool {
        self.lost.is_none() && self.heard
    }

    /// Since when nothing was heard of the county, by both clocks.
    pub(crate) fn since(self) -> Option<(MonoTime, WallTime)> {
        let both = self.lost.into_iter().chain(self.waiting);
        both.min_by_key(|since| since.mono).map(|since| (since.mono, since.wall))
    }
}

/// Where the uplink says what it noticed.
#[derive(Clone, Debug)]
pub(crate) struct ReachWatch(Arc<watch::Sender<Reach>>);

impl ReachWatch {
    pub(crate) fn start(now: Now) -> Self {
        Self(Arc::new(watch::channel(Reach::new(now)).0))
    }

    /// Changes when something was noticed.
    pub(crate) fn look(&self) -> watch::Receiver<Reach> {
        self.0.subscribe()
    }

    /// There is no connection, or nobody listens behind it.
    pub(crate) fn lost(&self, now: Now) {
        self.change(|reach| {
            reach.lost.get_or_insert(Since::of(now));
            // What waited for the county's word still does: only that ends it.
            reach.heard = false;
        });
    }

    /// The county answered.
    pub(crate) fn heard(&self) {
        self.change(|reach| *reach = Reach { lost: None, waiting: None, heard: true });
    }

    /// Somebody took what was sent: whether it was the county, its ack will say.
    pub(crate) fn taken(&self) {
        self.change(|reach| {
            reach.lost = None;
            reach.heard |= reach.waiting.is_none();
        });
    }

    /// Whether something waits for the county's ack.
    pub(crate) fn waits(&self, now: Now, something: bool) {
        self.change(|reach| match (something, reach.waiting) {
            (true, None) => reach.waiting = Some(Since::of(now)),
            (false, Some(_)) => reach.waiting = None,
            _ => {}
        });
    }

    fn change(&self, change: impl FnOnce(&mut Reach)) {
        self.0.send_if_modified(|reach| {
            let before = *reach;
            change(reach);
            *reach != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::time::{ClockQuality, Uptime};

    fn at(seconds: u64) -> Now {
        Now {
            mono: MonoTime::from_start(Duration::from_secs(seconds)),
            uptime: Uptime::default(),
            wall: WallTime::from_unix_ms(0),
            quality: ClockQuality::Unknown,
        }
    }

    fn lost_at(watch: &ReachWatch) -> Option<u64> {
        watch.look().borrow().lost_at().map(|at| at.since_start().as_secs())
    }

    #[test]
    fn a_connection_that_comes_back_soon_is_no_outage() {
        let watch = ReachWatch::start(at(0));
        assert_eq!(lost_at(&watch), Some(10), "never reached so far");
        watch.heard();
        assert_eq!(lost_at(&watch), None);
        watch.lost(at(100));
        watch.lost(at(105));
        assert_eq!(lost_at(&watch), Some(110), "an attempt that fails begins no new outage");
        watch.taken();
        assert_eq!(lost_at(&watch), None);
    }

    #[test]
    fn a_county_that_does_not_ack_for_half_a_minute_is_out_of_reach() {
        let watch = ReachWatch::start(at(0));
        watch.taken();
        watch.waits(at(10), true);
        watch.waits(at(20), true);
        watch.taken();
        assert_eq!(lost_at(&watch), Some(40), "a broker that takes it is not the county");
        watch.heard();
        watch.waits(at(30), true);
        assert_eq!(lost_at(&watch), Some(60));
        watch.waits(at(31), false);
        assert_eq!(lost_at(&watch), None);
    }
}
