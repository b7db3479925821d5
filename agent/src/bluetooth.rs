//! Runs any GATT driver on `BlueZ`: one connection to the bus for all devices, one loop.
//!
//! - `bluez`: the bus
//! - `objects`: what is on it
//! - `session`: one device and its driver
//! - `hold`: devices that are left alone for a while
//! - `adapters`: what is asked of adapters
//! - `attempts`: an adapter that connects nobody any more
//!
//! And for a person who installs:
//!
//! - `nearby`: everything in reach
//! - `pairing`: `devices pair`, `devices forget`
//! - `keypad`: the six digits of a device
//!
//! # Invariants
//! - everything `BlueZ` says is listened to from before the first Connect, and for as long as the
//!   agent runs: `BlueZ` confirms values by itself, and a cuff deletes what was confirmed
//! - a device that is not in the configuration is not connected

mod adapters;
mod attempts;
mod bluez;
mod hold;
mod keypad;
mod nearby;
mod objects;
pub(crate) mod pairing;
mod session;

use crate::{
    clock::Clock,
    config::BluetoothConfig,
    handover::Handover,
    outbox::{Outbox, OutboxClosed},
    status::Board,
};
use adapters::{Chore, Errand, Search};
use attempts::Attempts;
use bluez::{Asker, Bluez, BluezError, Said};
use drivers::{
    gatt::{GattOutput, Refusal, Request, Uuid},
    output::Output,
    registry,
};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
pub(crate) use hold::Holds;
use model::{
    device::DeviceState,
    record::Record,
    time::{MonoTime, Now},
};
pub(crate) use nearby::{Seen, survey};
use objects::{News, Objects, parent};
use session::{Call, Event, Session};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// An adapter keeps so many connections (most have 7 to 10).
const CONNECTIONS_MAX: usize = 7;
/// Of them so many are for devices that come by and go: a cuff can be seen for half a minute only, and
/// would find none where many straps are worn.
const VISITS_MIN: usize = 3;
/// The bus is looked for, and an adapter asked, again after this.
const TRY_AGAIN: Duration = Duration::from_secs(3);
/// A paired device that ends so many connections in a row before it tells its services has lost
/// the bond.
const DROPPED_MAX: u32 = 3;
/// Devices are told that we go, and their connections ended, within this.
const LEAVE_LIMIT: Duration = Duration::from_millis(2500);

/// All Bluetooth devices and what they need.
#[derive(Clone)]
pub(crate) struct Radio {
    /// Number of the first link; the others follow.
    pub(crate) first_link: usize,
    pub(crate) devices: Vec<BluetoothConfig>,
    pub(crate) outbox: Outbox,
    pub(crate) board: Arc<Board>,
    pub(crate) holds: Holds,
    pub(crate) clock: Clock,
    pub(crate) stopped: CancellationToken,
}

/// Serves the devices until the agent stops.
pub(crate) async fn run(radio: Radio) {
    if let Err(OutboxClosed) = serve(radio).await {
        tracing::debug!("The Bluetooth devices ended with the outbox.");
    }
}

async fn serve(radio: Radio) -> Result<(), OutboxClosed> {
    let mut desk = Desk::new(&radio).await?;
    loop {
        let failed = match Bluez::connect().await {
            Ok(bluez) => match Air::new(bluez, &radio).work(&mut desk).await? {
                Ended::Stopped => return Ok(()),
                Ended::BusGone => "the system bus is gone".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        desk.unreachable(&failed).await?;
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = radio.stopped.cancelled() => return Ok(()),
        }
    }
}

/// One device, its driver, and the way out.
struct Place {
    address: String,
    /// What its driver reads.
    service: Uuid,
    /// It stays connected for as long as it is worn.
    stays: bool,
    session: Session,
    handover: Handover,
    /// Where it is on the bus, once it was there.
    path: Option<String>,
    /// It was told that it is out of reach, and not yet that it came by again.
    is_lost: bool,
    /// It was told that no connection is left for it.
    is_left_out: bool,
    /// Why it is not read, although it is there, once that was told.
    unread: Option<String>,
    /// How often in a row it ended a connection before it told its services.
    dropped: u32,
    /// It was found by the service it advertises.
    is_plain: bool,
    /// A person pairs it.
    is_held: bool,
}

/// All devices of the configuration.
struct Desk {
    places: Vec<Place>,
    /// Why no device can be reached, while that is so.
    unreachable: Option<String>,
}

impl Desk {
    async fn new(radio: &Radio) -> Result<Self, OutboxClosed> {
        let mut places = Vec::new();
        for (link, config) in (radio.first_link..).zip(&radio.devices) {
            let cursor = radio.outbox.cursor(&config.id).await?;
            let driver =
                registry::create_gatt(config.driver, config.id.clone(), config.clock, cursor);
            places.push(Place {
                address: config.address.clone(),
                service: config.driver.service(),
                stays: config.driver.stays(),
                session: Session::new(driver),
                handover: Handover {
                    link,
                    device: config.id.clone(),
                    kind: config.driver.kind(),
                    driver: config.driver.name(),
                    expected_interval_ms: config.expected_interval_ms,
                    outbox: radio.outbox.clone(),
                    board: Arc::clone(&radio.board),
                    clock: radio.clock,
                    count: 0,
                },
                path: None,
                is_lost: false,
                is_left_out: false,
                unread: None,
                dropped: 0,
                is_plain: false,
                is_held: false,
            });
        }
        Ok(Self { places, unreachable: None })
    }

    /// No device can be reached; each reason is told once.
    async fn unreachable(&mut self, reason: &str) -> Result<(), OutboxClosed> {
        if self.unreachable.as_deref() == Some(reason) {
            return Ok(());
        }
        self.unreachable = Some(reason.to_owned());
        tracing::warn!(reason, "Bluetooth devices are out of reach.");
        for place in &mut self.places {
            let now = place.handover.clock.now();
            tell(place, now, Event::Lost).await?;
            place.handover.report(DeviceState::LinkDown, reason).await?;
            place.is_lost = true;
        }
        Ok(())
    }

    /// An adapter is there and listens.
    async fn reachable(&mut self) -> Result<(), OutboxClosed> {
        if self.unreachable.take().is_some() {
            tracing::info!("Bluetooth is back.");
            for place in &mut self.places {
                // Who has to be paired still has to.
                let (state, reason) = match &place.unread {
                    Some(reason) => (DeviceState::LinkDown, reason.clone()),
                    None => (DeviceState::Waiting, "Bluetooth is back".to_owned()),
                };
                place.handover.report(state, &reason).await?;
            }
        }
        Ok(())
    }
}

async fn tell(place: &mut Place, now: Now, event: Event<'_>) -> Result<(), OutboxClosed> {
    let mut keep = Vec::new();
    if let Event::Value(_, value) = &event {
        place.handover.board.received(&place.handover.device, value.len());
    }
    place.session.handle(now, event, &mut keep);
    for output in keep {
        place.handover.keep(as_it_is(place.unread.as_deref(), output)).await?;
    }
    Ok(())
}

/// A driver calls a device online that answers; one that has to be paired does, and is not read.
fn as_it_is(unread: Option<&str>, mut output: GattOutput) -> GattOutput {
    if let (Some(reason), Output::Emit(Record::Status(status))) = (unread, &mut output)
        && status.state == DeviceState::Online
    {
        (status.state, status.reason) = (DeviceState::LinkDown, reason.to_owned());
    }
    output
}

/// A device that wants to be paired says so when it is asked for something; one that is subscribed
/// to is good.
async fn mind_bond(
    place: &mut Place,
    number: u64,
    result: &Result<Vec<u8>, Refusal>,
) -> Result<(), OutboxClosed> {
    let is_subscribing =
        matches!(place.session.under_way(number), Some(Call::Gatt(Request::Subscribe(_))));
    match result {
        Err(Refusal::NotPaired) => wants_pairing(place, "it asks for a bond").await,
        Ok(_) if is_subscribing && place.unread.take().is_some() => {
            place.handover.report(DeviceState::Online, "").await
        }
        _ => Ok(()),
    }
}

async fn wants_pairing(place: &mut Place, why: &str) -> Result<(), OutboxClosed> {
    let reason = format!("{why}; run: clinic-agent devices pair {}", place.address);
    is_unread(place, reason).await
}

/// Told once, until it is subscribed to.
async fn is_unread(place: &mut Place, reason: String) -> Result<(), OutboxClosed> {
    if place.unread.is_some() {
        return Ok(());
    }
    tracing::warn!(device = %place.handover.device, reason, "A device is not read.");
    place.handover.report(DeviceState::LinkDown, &reason).await?;
    place.unread = Some(reason);
    Ok(())
}

enum Ended {
    Stopped,
    BusGone,
}

/// The end of a call: of which place, which call, and what came of it.
type Done = (usize, u64, Result<Vec<u8>, Refusal>);

/// The number of a call that no session has made: those count from 1.
const NOBODYS_CALL: u64 = 0;

/// One connection to the bus.
struct Air<'a> {
    bluez: Bluez,
    asker: Asker,
    radio: &'a Radio,
    objects: Objects,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    /// What is asked of adapters.
    chores: FuturesUnordered<Errand>,
    adapters: BTreeMap<String, Chore>,
    attempts: BTreeMap<String, Attempts>,
    /// How often in a row an adapter did not do what was asked.
    refusals: u32,
    /// What is looked for next.
    search: Search,
}

impl<'a> Air<'a> {
    fn new(bluez: Bluez, radio: &'a Radio) -> Self {
        Self {
            asker: bluez.asker(),
            bluez,
            radio,
            objects: Objects::of_devices(addresses(radio)),
            calls: FuturesUnordered::new(),
            chores: FuturesUnordered::new(),
            adapters: BTreeMap::new(),
            attempts: BTreeMap::new(),
            refusals: 0,
            search: Search::ByService,
        }
    }

    async fn work(mut self, desk: &mut Desk) -> Result<Ended, OutboxClosed> {
        if !self.take_stock(desk).await? {
            return Ok(Ended::BusGone);
        }
        let mut leaving: Option<MonoTime> = None;
        loop {
            self.mind_holds(desk).await?;
            self.make_calls(desk);
            if leaving.is_none() {
                self.mind_adapters(desk).await?;
            }
            let all_left = desk.places.iter().all(|place| !place.session.is_busy());
            if leaving.is_some_and(|until| all_left || self.radio.clock.mono() >= until) {
                return Ok(Ended::Stopped);
            }
            let due = desk.places.iter().filter_map(|place| place.session.next_timeout());
            let hold_ends = self.radio.holds.next_end(self.radio.clock.mono());
            let due = due.chain(self.adapter_due(desk)).chain(leaving).chain(hold_ends).min();
            tokio::select! {
                said = self.bluez.next() => match said {
                    Some(Said::Restarted) => {
                        for place in &mut desk.places {
                            tell(place, self.radio.clock.now(), Event::Lost).await?;
                        }
                        if !self.take_stock(desk).await? {
                            return Ok(Ended::BusGone);
                        }
                    }
                    Some(said) => self.heard(desk, said).await?,
                    None => return Ok(Ended::BusGone),
                },
                Some((index, number, result)) = self.calls.next() => {
                    let session = desk.places.get_mut(index).filter(|_| number != NOBODYS_CALL);
                    if let Some(place) = session {
                        let device = &place.handover.device;
                        let refused = result.as_ref().err();
                        tracing::debug!(%device, number, ?refused, "BlueZ answers.");
                        let is_connecting = place.session.under_way(number) == Some(&Call::Connect);
                        if is_connecting && result == Err(BluezError::NoAnswer.refusal())
                            && let Some(path) = &place.path
                        {
                            self.attempts_by(path).was_never_answered();
                        }
                        mind_bond(place, number, &result).await?;
                        tell(place, self.radio.clock.now(), Event::Done(number, result)).await?;
                    }
                }
                () = self.radio.holds.changed() => {}
                Some((adapter, looks_for, result)) = self.chores.next() => {
                    self.chore_done(&adapter, looks_for, result);
                }
                () = self.radio.clock.sleep_until(due) => {
                    let now = self.radio.clock.now();
                    for place in &mut desk.places {
                        if place.session.next_timeout().is_some_and(|at| now.mono >= at) {
                            tell(place, now, Event::TimedOut).await?;
                        }
                    }
                }
                () = self.radio.stopped.cancelled(), if leaving.is_none() => {
                    let now = self.radio.clock.now();
                    leaving = Some(now.mono + LEAVE_LIMIT);
                    for place in &mut desk.places {
                        tell(place, now, Event::Leave).await?;
                    }
                }
            }
        }
    }

    /// Looks at everything anew; whether `BlueZ` told what is there, or is not there itself.
    async fn take_stock(&mut self, desk: &mut Desk) -> Result<bool, OutboxClosed> {
        self.objects = Objects::of_devices(addresses(self.radio));
        self.adapters.clear();
        self.chores = FuturesUnordered::new();
        if !self.bluez.is_there() {
            desk.unreachable("bluetoothd does not run; start the service bluetooth").await?;
            return Ok(true);
        }
        let objects = match self.asker.objects().await {
            Ok(objects) => objects,
            Err(error) => {
                tracing::warn!(%error, "BlueZ does not tell what is there; it is asked again.");
                return Ok(false);
            }
        };
        // A device that is connected already has its services only when all is known.
        let news: Vec<_> = objects.into_iter().flat_map(|said| self.news(said)).collect();
        for news in news {
            self.take(desk, news).await?;
        }
        self.listen_again();
        Ok(true)
    }

    /// Subscribes to what devices have that are away, for a `BlueZ` that knows them from an agent
    /// before us. A device may remember that we were subscribed, and speaks as soon as it is
    /// connected: what nobody listens to then is confirmed all the same, and gone. "If the device is
    /// currently not connected, return success. We will automatically try and register all clients
    /// when a GATT client becomes ready" (BlueZ, src/gatt-client.c).
    fn listen_again(&self) {
        for (index, config) in self.radio.devices.iter().enumerate() {
            let mut known = self.objects.devices.iter();
            let Some((path, _)) =
                known.find(|(_, known)| known.address == config.address && !known.connected)
            else {
                continue;
            };
            let all = self.objects.characteristics(path).into_iter();
            for place in all.filter(|place| place.service == config.driver.service()) {
                let Some(at) = self.objects.path(path, place).map(str::to_owned) else { continue };
                let asker = self.asker.clone();
                // No session waits for it, and what cannot be subscribed to is refused.
                self.calls.push(Box::pin(async move {
                    let call = Call::Gatt(Request::Subscribe(place));
                    (index, NOBODYS_CALL, carry_out(&asker, &at, call).await)
                }));
            }
        }
    }

    async fn heard(&mut self, desk: &mut Desk, said: Said) -> Result<(), OutboxClosed> {
        for news in self.news(said) {
            self.take(desk, news).await?;
        }
        Ok(())
    }

    fn news(&mut self, said: Said) -> Vec<News> {
        match said {
            Said::Added(path, interfaces) => {
                let added = interfaces.iter();
                added.flat_map(|(name, with)| self.objects.added(&path, name, with)).collect()
            }
            Said::Removed(path, interfaces) => self.objects.removed(&path, &interfaces),
            Said::Changed(path, interface, changed) => {
                self.objects.changed(&path, &interface, &changed)
            }
            Said::Restarted => Vec::new(),
        }
    }

    async fn take(&mut self, desk: &mut Desk, news: News) -> Result<(), OutboxClosed> {
        let now = self.radio.clock.now();
        let path = match &news {
            News::StoppedLooking(path) => {
                // Not while something is under way: its end says more.
                if let Some(chore @ Chore::Looking(..)) = self.adapters.get_mut(path) {
                    *chore = Chore::Idle(now.mono + TRY_AGAIN);
                }
                return Ok(());
            }
            News::Seen(path)
            | News::Resolved(path)
            | News::Disconnected(path)
            | News::Value(path, ..) => path.clone(),
        };
        let room = self.room(desk);
        let address = self.objects.devices.get(&path).map(|device| device.address.clone());
        let known = |place: &&mut Place| {
            place.path.as_ref() == Some(&path)
                || address.as_ref().is_some_and(|address| *address == place.address)
        };
        let Some(place) = desk.places.iter_mut().find(known) else { return Ok(()) };
        // What was confirmed counts, whichever adapter it came by.
        if let News::Value(_, from, value) = &news {
            return tell(place, now, Event::Value(*from, value)).await;
        }
        // A device may be heard by two adapters: while it is busy with one, the other is not asked.
        if place.path.as_ref().is_some_and(|known| *known != path) && place.session.is_busy() {
            return Ok(());
        }
        place.path = Some(path.clone());
        let search = parent(&path).and_then(|adapter| self.adapters.get(adapter));
        if let (News::Seen(_), Some(Chore::Looking(Search::ByService, _))) = (&news, search) {
            place.is_plain = true;
        }
        match news {
            News::Seen(_) if room.is_for(place.stays) => {
                place.is_left_out = false;
                tell(place, now, Event::Seen).await
            }
            News::Seen(_) if place.session.wants(now) => {
                let stays = place.stays;
                let is_left_out = stays && room.to_stay == 0;
                if is_left_out && !std::mem::replace(&mut place.is_left_out, true) {
                    let text = "no connection is left for a device that stays; add an adapter";
                    place.handover.report(DeviceState::Waiting, text).await?;
                }
                // One that stays takes the place of its like only.
                let fits = |place: &&mut Place| place.stays || !stays;
                let mut quiet = desk.places.iter_mut().filter(fits);
                match quiet.find(|place| place.session.is_quiet(now)) {
                    Some(quiet) => tell(quiet, now, Event::MakeRoom).await,
                    None => Ok(()),
                }
            }
            News::Resolved(_) => {
                place.dropped = 0;
                self.attempts_by(&path).went_well();
                let found = self.objects.characteristics(&path);
                if found.iter().all(|known| known.service != place.service) {
                    let driver = place.handover.driver;
                    let text = format!(
                        "it has not the service of the driver {driver}; clinic-agent devices pair \
                         {} names the driver that fits",
                        place.address
                    );
                    return is_unread(place, text).await;
                }
                // Of a stack that was gone the driver knows nothing: for it nothing changed.
                if std::mem::take(&mut place.is_lost) && place.unread.is_none() {
                    place.handover.report(DeviceState::Online, "").await?;
                }
                tell(place, now, Event::Resolved(&found)).await
            }
            News::Disconnected(_) => {
                let is_paired = self.objects.devices.get(&path).is_some_and(|found| found.paired);
                if is_paired && place.session.is_resolving() {
                    place.dropped += 1;
                }
                if place.dropped >= DROPPED_MAX {
                    wants_pairing(place, "it ends each connection: it does not know this box")
                        .await?;
                }
                tell(place, now, Event::Disconnected).await
            }
            News::Seen(_) | News::Value(..) | News::StoppedLooking(_) => Ok(()),
        }
    }

    /// What became of connecting by the adapter of that device.
    fn attempts_by(&mut self, device: &str) -> &mut Attempts {
        let adapter = parent(device).unwrap_or_default();
        self.attempts.entry(adapter.to_owned()).or_default()
    }

    /// What is left of the adapters' connections.
    fn room(&self, desk: &Desk) -> Room {
        let adapters = self.objects.adapters.values().filter(|adapter| adapter.powered).count();
        let busy = desk.places.iter().filter(|place| place.session.is_busy());
        let staying = busy.clone().filter(|place| place.stays).count();
        Room::left_by(adapters, busy.count(), staying)
    }

    /// Lets go of devices that a person pairs, and takes them up again.
    async fn mind_holds(&mut self, desk: &mut Desk) -> Result<(), OutboxClosed> {
        let now = self.radio.clock.now();
        for place in &mut desk.places {
            let is_held = self.radio.holds.is_held(&place.address, now.mono);
            if is_held == place.is_held {
                continue;
            }
            place.is_held = is_held;
            let device = &place.handover.device;
            if is_held {
                tracing::info!(%device, "A person pairs the device; it is left alone meanwhile.");
                tell(place, now, Event::Hold).await?;
                continue;
            }
            tracing::info!(%device, "The device is read again.");
            tell(place, now, Event::LetGo).await?;
            // It may be connected already.
            let path = place.path.as_ref();
            if let Some(path) = path.filter(|path| self.objects.is_resolved(path)) {
                let found = self.objects.characteristics(path);
                tell(place, now, Event::Resolved(&found)).await?;
            }
        }
        Ok(())
    }

    /// Sends off what the sessions ask for.
    fn make_calls(&mut self, desk: &mut Desk) {
        for (index, place) in desk.places.iter_mut().enumerate() {
            let Some(path) = place.path.clone() else { continue };
            let Some((number, call)) = place.session.poll_call() else { continue };
            if call == Call::Connect {
                let now = self.radio.clock.mono();
                self.attempts_by(&path).began(now);
            }
            tracing::debug!(device = %place.handover.device, number, ?call, "BlueZ is asked.");
            let asker = self.asker.clone();
            let at = match &call {
                Call::Gatt(
                    Request::Read(wanted) | Request::Write(wanted, _) | Request::Subscribe(wanted),
                ) => self.objects.path(&path, *wanted).map(str::to_owned),
                _ => Some(path),
            };
            self.calls.push(Box::pin(async move {
                let result = match at {
                    Some(at) => carry_out(&asker, &at, call).await,
                    None => Err(Refusal::Other("the device has no such value".to_owned())),
                };
                (index, number, result)
            }));
        }
    }
}

/// Connections that are left.
#[derive(Clone, Copy, Debug)]
struct Room {
    all: usize,
    /// For devices that stay.
    to_stay: usize,
}

impl Room {
    /// With so many connections, and so many of them of devices that stay.
    fn left_by(adapters: usize, busy: usize, staying: usize) -> Self {
        let all = adapters.max(1) * CONNECTIONS_MAX;
        Self { all: all.saturating_sub(busy), to_stay: (all - VISITS_MIN).saturating_sub(staying) }
    }

    const fn is_for(self, stays: bool) -> bool {
        self.all > 0 && (self.to_stay > 0 || !stays)
    }
}

fn addresses(radio: &Radio) -> BTreeSet<String> {
    radio.devices.iter().map(|device| device.address.clone()).collect()
}

async fn carry_out(asker: &Asker, at: &str, call: Call) -> Result<Vec<u8>, Refusal> {
    let result = match call {
        Call::Connect => asker.connect(at).await.map(|()| Vec::new()),
        Call::Disconnect => asker.disconnect(at).await.map(|()| Vec::new()),
        Call::Gatt(Request::Read(_)) => asker.read(at).await,
        Call::Gatt(Request::Write(_, value)) => asker.write(at, &value).await.map(|()| Vec::new()),
        Call::Gatt(Request::Subscribe(_)) => asker.subscribe(at).await.map(|()| Vec::new()),
        Call::Gatt(Request::Disconnect) => Ok(Vec::new()),
    };
    result.map_err(|error| error.refusal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_stay_leave_connections_for_those_that_come_by() {
        let is_for = |adapters, busy, staying| {
            let room = Room::left_by(adapters, busy, staying);
            [room.is_for(true), room.is_for(false)]
        };
        assert_eq!(is_for(1, 0, 0), [true, true]);
        assert_eq!(is_for(1, 4, 4), [false, true], "straps alone never fill an adapter");
        assert_eq!(is_for(1, 6, 3), [true, true]);
        assert_eq!(is_for(1, 7, 4), [false, false]);
        assert_eq!(is_for(2, 7, 4), [true, true]);
        assert_eq!(is_for(0, 7, 0), [false, false], "an adapter that is off may come back");
    }
}
