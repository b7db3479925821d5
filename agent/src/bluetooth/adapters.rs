//! What is asked of adapters: they are switched on, and look for devices while one is missing.

use super::{Air, Desk, Radio, TRY_AGAIN, bluez::BluezError};
use crate::outbox::OutboxClosed;
use futures_util::future::BoxFuture;
use model::time::MonoTime;
use std::{collections::BTreeSet, time::Duration};

/// While a device is missing that was never found by its service, devices of all services are looked
/// for now and then: one that does not advertise its service is found too, and the street does not
/// keep the box busy. A cuff advertises for half a minute.
const SEARCH: Duration = Duration::from_secs(10);
const OPEN_SEARCH: Duration = Duration::from_secs(5);
/// An adapter that refuses so often to be switched on is blocked: "Busy while bluetoothd powers the
/// adapter itself" is over by then.
const REFUSALS_MAX: u32 = 4;

/// An errand to an adapter: to which, what it looks for if that went well.
pub(super) type Errand = BoxFuture<'static, (String, Option<Search>, Result<(), BluezError>)>;

/// What an adapter looks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Search {
    /// Devices that advertise a service of ours.
    ByService,
    /// Any device.
    Open,
}

impl Search {
    /// After how long the other one has its turn, if it has.
    const fn ends_after(self) -> Duration {
        match self {
            Self::ByService => SEARCH,
            Self::Open => OPEN_SEARCH,
        }
    }
}

/// What is asked of an adapter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chore {
    /// Something is under way.
    UnderWay,
    /// It looks for devices, because we asked; since then.
    Looking(Search, MonoTime),
    /// Nothing, until then.
    Idle(MonoTime),
}

impl Air<'_> {
    /// Switches adapters on, and looks for devices while one is missing.
    pub(super) async fn mind_adapters(&mut self, desk: &mut Desk) -> Result<(), OutboxClosed> {
        if !self.bluez.is_there() {
            return Ok(());
        }
        // One that comes back looks for nothing.
        self.adapters.retain(|path, _| self.objects.adapters.contains_key(path));
        if self.objects.adapters.is_empty() {
            return desk.unreachable("there is no Bluetooth adapter; plug one in").await;
        }
        let now = self.radio.clock.mono();
        let is_missing = desk.places.iter().any(|place| !place.session.is_busy());
        let is_hidden = is_anyone_hidden(desk);
        let is_anyone_here = desk.places.iter().any(|place| place.session.is_connected());
        for (path, adapter) in &self.objects.adapters {
            let state = self.adapters.entry(path.clone()).or_insert(Chore::Idle(now));
            let (asker, at) = (self.asker.clone(), path.clone());
            let chore: Errand = match (*state, adapter.powered) {
                (Chore::Idle(from), false) if now >= from => {
                    Box::pin(async move { (at.clone(), None, asker.power(&at, true).await) })
                }
                (Chore::Idle(_) | Chore::Looking(..), true)
                    if !is_anyone_here
                        && self.attempts.get_mut(path).is_some_and(|by| by.is_stuck(now)) =>
                {
                    tracing::warn!(
                        adapter = path,
                        "The Bluetooth adapter connects nobody; it is switched off and on."
                    );
                    Box::pin(async move { (at.clone(), None, asker.power(&at, false).await) })
                }
                (Chore::Idle(from), true) if now >= from && is_missing => {
                    let search = if is_hidden { self.search } else { Search::ByService };
                    let services = match search {
                        Search::ByService => services(self.radio),
                        Search::Open => Vec::new(),
                    };
                    let look = async move {
                        (at.clone(), Some(search), asker.discover(&at, services).await)
                    };
                    Box::pin(look)
                }
                (Chore::Looking(search, since), true)
                    if !is_missing || is_over(search, since, now, is_hidden) =>
                {
                    self.search = match search {
                        Search::ByService => Search::Open,
                        Search::Open => Search::ByService,
                    };
                    Box::pin(async move { (at.clone(), None, asker.stop_discovery(&at).await) })
                }
                _ => continue,
            };
            *state = Chore::UnderWay;
            self.chores.push(chore);
        }
        match self.objects.adapters.values().any(|adapter| adapter.powered) {
            true => desk.reachable().await,
            false if self.refusals >= REFUSALS_MAX => {
                desk.unreachable("the Bluetooth adapter cannot be switched on; see rfkill list")
                    .await
            }
            false => Ok(()),
        }
    }

    /// When an adapter may be asked again.
    pub(super) fn adapter_due(&self, desk: &Desk) -> Option<MonoTime> {
        let now = self.radio.clock.mono();
        let is_hidden = is_anyone_hidden(desk);
        let waiting = self.adapters.values().filter_map(|chore| match chore {
            Chore::Idle(from) if *from > now => Some(*from),
            Chore::Looking(Search::Open, since) => Some(*since + OPEN_SEARCH),
            Chore::Looking(search, since) if is_hidden => Some(*since + search.ends_after()),
            _ => None,
        });
        waiting.min()
    }

    pub(super) fn chore_done(
        &mut self,
        adapter: &str,
        looks_for: Option<Search>,
        result: Result<(), BluezError>,
    ) {
        let Some(chore) = self.adapters.get_mut(adapter) else { return };
        let now = self.radio.clock.mono();
        let again_at = now + TRY_AGAIN;
        self.refusals = if result.is_ok() { 0 } else { self.refusals.saturating_add(1) };
        *chore = match (result, looks_for) {
            (Ok(()), Some(search)) => Chore::Looking(search, now),
            (Ok(()), None) => Chore::Idle(now),
            // "Operation already in progress": it looks, for us.
            (Err(error), Some(search)) if error.is_in_progress() => Chore::Looking(search, now),
            (Err(error), _) => {
                // "Busy while bluetoothd powers the adapter itself": it is asked again.
                tracing::debug!(adapter, %error, "An adapter does not do what is asked.");
                Chore::Idle(again_at)
            }
        };
    }
}

/// Services of our devices.
fn services(radio: &Radio) -> Vec<String> {
    let services = radio.devices.iter().map(|device| device.driver.service().to_string());
    services.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether a device is missing that may not advertise its service.
pub(super) fn is_anyone_hidden(desk: &Desk) -> bool {
    desk.places.iter().any(|place| !place.is_plain && !place.session.is_busy())
}

/// Whether the other search has its turn.
fn is_over(search: Search, since: MonoTime, now: MonoTime, is_hidden: bool) -> bool {
    (is_hidden || search == Search::Open) && now >= since + search.ends_after()
}
