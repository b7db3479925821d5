//! The catalogue of what goes wrong on the air and in the host's Bluetooth stack, and in which order
//! it does, by seed.
//!
//! Not here: how it happens (the stage plays the stack), and what a device itself does wrong
//! (`temper`).
//!
//! Each fault comes once in every round of the catalogue; one that finds no occasion in its link
//! waits for the next.
//!
//! # Invariants
//! - same seed, same links: same faults
//! - none of them hides a value that was not confirmed: a device says it again

use super::{Flag, Profile, Uuid};
use crate::scenario::variation;
use std::ops::Range;

/// Glucose sheet, §2 and §5.
mod spec {
    use super::Uuid;
    pub(super) const CONTROL_POINT: Uuid = Uuid::short(0x2A52);
    pub(super) const REPORT: u8 = 1;
    pub(super) const ABORT: u8 = 3;
}

/// Values that are handed over before a fault in the middle of them.
const VALUES: Range<u64> = 1..7;
/// Indications before one that is hit: a procedure has two or three.
const INDICATIONS: Range<u64> = 1..4;
/// How long bluetoothd or an adapter is away. For play: systemd starts a service again after 100 ms,
/// and people put an adapter back after some seconds.
const AWAY_MS: Range<u64> = 100..3_000;

/// What can go wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum AirFault {
    /// The link is lost when the services are known.
    BeforeSubscribe,
    /// The link is lost when the host has subscribed and nothing was said.
    AfterSubscribe,
    /// The link is lost when records were asked for and none was sent.
    AfterRequest,
    /// The link is lost between a value and the next.
    BetweenValues,
    /// The link is lost with an indication on its way: an answer of the control point, or a result.
    BeforeIndication,
    /// An indication arrived, and the link is lost before its confirmation is back.
    BeforeConfirmation,
    /// The link is lost when an answer of the control point was confirmed.
    AfterAnswer,
    /// A procedure is said to be under way already; the link is lost when the host has aborted it.
    InAbort,
    /// bluetoothd ends between two values, and begins again.
    Restart,
    /// The adapter goes between two values, and comes back.
    AdapterGone,
}

impl AirFault {
    /// The catalogue.
    pub const ALL: [Self; 10] = [
        Self::BeforeSubscribe,
        Self::AfterSubscribe,
        Self::AfterRequest,
        Self::BetweenValues,
        Self::BeforeIndication,
        Self::BeforeConfirmation,
        Self::AfterAnswer,
        Self::InAbort,
        Self::Restart,
        Self::AdapterGone,
    ];

    /// Its name in the truth.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeSubscribe => "link_before_subscribe",
            Self::AfterSubscribe => "link_after_subscribe",
            Self::AfterRequest => "link_after_request",
            Self::BetweenValues => "link_between_values",
            Self::BeforeIndication => "link_before_indication",
            Self::BeforeConfirmation => "link_before_confirmation",
            Self::AfterAnswer => "link_after_answer",
            Self::InAbort => "link_in_abort",
            Self::Restart => "bluetoothd_restart",
            Self::AdapterGone => "adapter_gone",
        }
    }

    /// What happens, in a line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::BeforeSubscribe => "the link is lost when the services are known",
            Self::AfterSubscribe => "the link is lost when all is subscribed and nothing was said",
            Self::AfterRequest => "the link is lost when records were asked for and none came",
            Self::BetweenValues => "the link is lost behind the first to sixth value",
            Self::BeforeIndication => "the link is lost before an answer or a result arrives",
            Self::BeforeConfirmation => {
                "an answer or a result arrives, and the device never hears that it did"
            }
            Self::AfterAnswer => "the link is lost when an answer was confirmed",
            Self::InAbort => "a meter is in a procedure; the link is lost in its abort",
            Self::Restart => "bluetoothd ends in the middle of values, for 0.1 to 3 s",
            Self::AdapterGone => "the adapter goes in the middle of values, for 0.1 to 3 s",
        }
    }

    /// Whether it happens only where records are asked for.
    const fn needs_records(self) -> bool {
        matches!(self, Self::AfterRequest | Self::AfterAnswer | Self::InAbort)
    }
}

/// How often something goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AirPlan {
    /// From which their order and all about them follows.
    pub seed: u64,
    /// In one of so many links a fault begins to wait for its occasion; at least 1.
    pub once_in: u64,
}

/// A fault that waits for its occasion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// Which.
    pub fault: AirFault,
    /// How many of its occasions are let pass, and this one.
    occasion: u64,
    /// How long something is away by it.
    pub away_ms: Option<u64>,
}

/// What happens on a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Occasion<'a> {
    /// The services are known.
    Resolved,
    /// The host subscribed.
    Subscribed(Uuid),
    /// The host writes; nothing of it has reached the device.
    Writing(Uuid, &'a [u8]),
    /// The device has taken what was written.
    Written(Uuid, &'a [u8]),
    /// An indication is on its way to the host.
    Indicating,
    /// An indication arrived, and was not confirmed yet.
    Indicated,
    /// An indication was confirmed.
    Confirmed(Uuid),
    /// A value was handed over, and confirmed if that was needed.
    Said(Uuid),
}

/// What goes wrong with the links of one device.
#[derive(Clone, Debug)]
pub struct AirFaults {
    plan: AirPlan,
    thrown: u64,
    /// Where the host subscribes last.
    last_subscribed: Option<Uuid>,
    has_records: bool,
    round: Vec<AirFault>,
    due: Option<Due>,
}

impl AirFaults {
    /// Faults of a device; `place` tells devices of one plan apart.
    #[must_use]
    pub fn new(plan: AirPlan, place: u64, profile: &Profile) -> Self {
        let has_records = profile.characteristic(spec::CONTROL_POINT).is_some();
        let results = profile.services.first().into_iter().flat_map(|own| &own.characteristics);
        let mut loud = results.filter(|one| one.has(Flag::Notify) || one.has(Flag::Indicate));
        let first = loud.next().map(|one| one.uuid);
        Self {
            plan: AirPlan { seed: plan.seed.wrapping_add(place << 32), ..plan },
            thrown: 0,
            last_subscribed: if has_records { Some(spec::CONTROL_POINT) } else { first },
            has_records,
            round: Vec::new(),
            due: None,
        }
    }

    /// A link is there: perhaps something will go wrong with it.
    pub fn begin(&mut self) {
        if self.due.is_some() || self.throw(0..self.plan.once_in.max(1)) != 0 {
            return;
        }
        if self.round.is_empty() {
            let all = AirFault::ALL.into_iter();
            self.round = all.filter(|one| self.has_records || !one.needs_records()).collect();
        }
        let place = self.throw(0..u64::try_from(self.round.len()).unwrap_or(u64::MAX));
        let fault = self.round.swap_remove(usize::try_from(place).unwrap_or_default());
        let occasion = match fault {
            AirFault::BetweenValues | AirFault::Restart | AirFault::AdapterGone => {
                self.throw(VALUES)
            }
            AirFault::BeforeIndication | AirFault::BeforeConfirmation | AirFault::AfterAnswer => {
                self.throw(INDICATIONS)
            }
            _ => 1,
        };
        let is_away = matches!(fault, AirFault::Restart | AirFault::AdapterGone);
        let away_ms = is_away.then(|| self.throw(AWAY_MS));
        self.due = Some(Due { fault, occasion, away_ms });
    }

    /// Whether the host is told that a procedure is under way, so that it aborts it.
    #[must_use]
    pub fn is_busy(&self, occasion: Occasion<'_>) -> bool {
        let asks = matches!(occasion, Occasion::Writing(spec::CONTROL_POINT, [spec::REPORT, ..]));
        asks && self.due.is_some_and(|due| due.fault == AirFault::InAbort)
    }

    /// The fault that happens now, if one does.
    pub fn take(&mut self, occasion: Occasion<'_>) -> Option<Due> {
        let due = self.due.as_mut()?;
        let is_met = match (due.fault, occasion) {
            (AirFault::BeforeSubscribe, Occasion::Resolved)
            | (
                AirFault::BetweenValues | AirFault::Restart | AirFault::AdapterGone,
                Occasion::Said(_),
            )
            | (AirFault::BeforeIndication, Occasion::Indicating)
            | (AirFault::BeforeConfirmation, Occasion::Indicated)
            | (AirFault::AfterAnswer, Occasion::Confirmed(spec::CONTROL_POINT))
            | (AirFault::InAbort, Occasion::Written(spec::CONTROL_POINT, [spec::ABORT, ..]))
            | (
                AirFault::AfterRequest,
                Occasion::Written(spec::CONTROL_POINT, [spec::REPORT, ..]),
            ) => true,
            (AirFault::AfterSubscribe, Occasion::Subscribed(uuid)) => {
                Some(uuid) == self.last_subscribed
            }
            _ => false,
        };
        if !is_met {
            return None;
        }
        due.occasion = due.occasion.saturating_sub(1);
        self.due.take_if(|due| due.occasion == 0)
    }

    /// A throw of the dice in a range.
    fn throw(&mut self, range: Range<u64>) -> u64 {
        self.thrown += 1;
        let span = range.end.saturating_sub(range.start).saturating_sub(1);
        range.start + variation(self.plan.seed, self.thrown, 0xFB, span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gatt::{create, tests::setup};
    use std::collections::BTreeSet;

    const PLAN: AirPlan = AirPlan { seed: 7, once_in: 1 };

    fn faults(name: &str, plan: AirPlan, place: u64) -> AirFaults {
        AirFaults::new(plan, place, create(name, setup(0)).unwrap().profile())
    }

    /// The faults of so many links on which everything happens often.
    fn of_links(faults: &mut AirFaults, links: usize) -> Vec<Due> {
        let (point, value) = (spec::CONTROL_POINT, Uuid::short(0x2A35));
        let (report, abort) = ([spec::REPORT, 1], [spec::ABORT, 0]);
        let all = [
            Occasion::Resolved,
            Occasion::Subscribed(value),
            Occasion::Subscribed(point),
            Occasion::Writing(point, &report),
            Occasion::Written(point, &report),
            Occasion::Written(point, &abort),
            Occasion::Said(value),
            Occasion::Indicating,
            Occasion::Indicated,
            Occasion::Confirmed(point),
        ];
        let mut happened = Vec::new();
        for _ in 0..links {
            faults.begin();
            let mut more = all.into_iter().cycle().take(all.len() * 8);
            happened.extend(more.find_map(|occasion| faults.take(occasion)));
        }
        happened
    }

    #[test]
    fn each_fault_comes_once_in_a_round_and_the_order_follows_from_the_seed() {
        let mut meter = faults("ble-meter", PLAN, 1);
        let first = of_links(&mut meter, AirFault::ALL.len());
        let kinds: BTreeSet<AirFault> = first.iter().map(|due| due.fault).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), AirFault::ALL);
        assert_eq!(first, of_links(&mut faults("ble-meter", PLAN, 1), AirFault::ALL.len()));
        assert_ne!(first, of_links(&mut faults("ble-meter", PLAN, 2), AirFault::ALL.len()));
        assert_ne!(first, of_links(&mut meter, AirFault::ALL.len()));
        let of_cuff = of_links(&mut faults("ble-cuff", PLAN, 1), 7);
        assert!(of_cuff.iter().all(|due| !due.fault.needs_records()), "{of_cuff:?}");
        assert_eq!(of_cuff.len(), 7);
        let away = first.iter().filter_map(|due| due.away_ms);
        assert!(away.clone().all(|ms| AWAY_MS.contains(&ms)) && away.count() == 2);
    }

    #[test]
    fn a_fault_without_an_occasion_waits_for_the_next_link() {
        let mut cuff = faults("ble-cuff", PLAN, 1);
        cuff.begin();
        let due = cuff.due;
        assert!(due.is_some() && cuff.take(Occasion::Writing(Uuid::short(1), &[])).is_none());
        cuff.begin();
        assert_eq!(cuff.due, due);
    }

    #[test]
    fn so_many_links_are_left_alone() {
        let mut meter = faults("ble-meter", AirPlan { seed: 3, once_in: 4 }, 0);
        let happened = of_links(&mut meter, 400).len();
        assert!((70..130).contains(&happened), "{happened}");
    }

    #[test]
    fn names_tell_faults_apart_and_from_those_of_a_cable() {
        let cable = crate::Fault::ALL.map(crate::Fault::name);
        let names: BTreeSet<&str> = AirFault::ALL.into_iter().map(AirFault::name).collect();
        assert_eq!(names.len(), AirFault::ALL.len());
        assert!(cable.iter().all(|name| !names.contains(name)));
        assert!(AirFault::ALL.into_iter().all(|fault| !fault.about().is_empty()));
    }
}
