//! Notices that a route or an address of this box has changed: the county may be in reach again.
//!
//! It looks at what the kernel tells of both, only while the uplink waits: no socket, no privilege.

use std::{fs, time::Duration};

/// Long enough that an interface that comes and goes does not make the uplink knock all the time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Routes and addresses. The routes of IPv6 are left out: their lines count how often they are used.
const TOLD_IN: [&str; 3] = ["/proc/net/route", "/proc/net/fib_trie", "/proc/net/if_inet6"];

/// Routes and addresses at one moment.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Ways([Option<Vec<u8>>; 3]);

/// What the kernel tells of them; what cannot be read never changes.
pub(super) fn ways() -> Ways {
    Ways(TOLD_IN.map(|path| fs::read(path).ok()))
}

/// Comes back when they are no longer these.
pub(super) async fn changed(from: Ways) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if ways() != from {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_one() {
        let now = ways();
        assert!(now.0.iter().any(Option::is_some), "{now:?}");
        assert_eq!(ways(), now);
    }

    #[tokio::test]
    async fn a_change_ends_the_wait() {
        let before = Ways([Some(b"no route".to_vec()), None, None]);
        tokio::time::timeout(LOOK_EVERY * 60, changed(before)).await.unwrap();
    }
}
