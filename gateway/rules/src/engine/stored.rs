//! An engine as it is stored; also as it was when each was of a device.

use super::{
    Engine,
    alarms::{Doubt, Held},
    device::Device,
    identity::Identity,
    judge::Latest,
    life::Episode,
    pending::Waiting,
    series::Series,
    service::{self, OutOfService},
    silence::Silence,
};
use crate::{
    binding::Subject,
    freshness::{BoxClock, Place},
    population::{Facts, Profile},
};
use model::{
    device::DeviceKind,
    id::{DeviceId, SiteId},
    metric::{Class, Kind, Metric},
    time::WallTime,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// An engine as it is stored. The second half is what an engine of a device had of its device; a
/// whole subject was taken off before a device was.
#[derive(Deserialize)]
pub(super) struct Stored {
    site: SiteId,
    subject: Option<Subject>,
    #[serde(default)]
    profile: Profile,
    facts: Option<(WallTime, Facts)>,
    #[serde(default)]
    devices: BTreeMap<DeviceId, Device>,
    series: BTreeMap<String, Series>,
    #[serde(default)]
    valued: BTreeMap<String, WallTime>,
    #[serde(default)]
    spots: BTreeMap<String, WallTime>,
    rank: Option<u8>,
    latest: BTreeMap<String, Latest>,
    #[serde(default)]
    results: BTreeMap<String, Vec<Latest>>,
    scored_at: Option<WallTime>,
    #[serde(default)]
    box_clock: BoxClock,
    #[serde(default)]
    identity: Identity,
    box_lost: Option<WallTime>,
    #[serde(default)]
    cut_off: bool,
    out_of_service: Option<OutOfService>,
    #[serde(default)]
    told_until: BTreeMap<String, WallTime>,
    #[serde(default)]
    told_over: BTreeSet<String>,
    late_word: Option<WallTime>,
    episodes: BTreeMap<String, Episode>,

    device: Option<DeviceId>,
    kind: Option<DeviceKind>,
    #[serde(default)]
    newest: BTreeMap<String, WallTime>,
    #[serde(default)]
    ranks: BTreeMap<u8, (WallTime, bool)>,
    #[serde(default)]
    alarms: BTreeMap<String, Held>,
    doubt: Option<Doubt>,
    silence: Option<Silence>,
    status_at: Option<Place>,
    clock_ahead: Option<(WallTime, i64)>,
}

impl From<Stored> for Engine {
    fn from(mut stored: Stored) -> Self {
        let own = stored.device.take().unwrap_or_else(|| DeviceId::from(&stored.site));
        let subject = match stored.subject {
            Some(subject) => {
                if let Some(out) = stored.out_of_service.take() {
                    if let Some(device) = service::own(&subject, &stored.site, "") {
                        stored.devices.entry(device).or_default();
                    }
                    for device in stored.devices.values_mut() {
                        device.out_of_service.get_or_insert_with(|| out.clone());
                    }
                }
                return Self {
                    profile_ahead_ms: 0,
                    subject,
                    site: stored.site,
                    profile: stored.profile,
                    facts: stored.facts,
                    devices: stored.devices,
                    series: stored.series,
                    valued: stored.valued,
                    spots: stored.spots,
                    rank: stored.rank,
                    latest: stored.latest,
                    results: stored.results,
                    scored_at: stored.scored_at,
                    box_clock: stored.box_clock,
                    identity: stored.identity,
                    box_lost: stored.box_lost,
                    cut_off: stored.cut_off,
                    told_until: stored.told_until,
                    told_over: stored.told_over,
                    late_word: stored.late_word,
                    episodes: stored.episodes,
                    waiting: Waiting::default(),
                };
            }
            None => Subject::unbound(&stored.site, &own),
        };
        let mut engine = Self::new(stored.site, subject);
        let device = Device {
            kind: stored.kind,
            interval_ms: None,
            newest: stored.newest,
            ranks: stored.ranks,
            alarms: stored.alarms,
            doubt: stored.doubt,
            silence: stored.silence,
            status_at: stored.status_at,
            clock_ahead: stored.clock_ahead,
            out_of_service: stored.out_of_service,
            ..Device::default()
        };
        engine.devices.insert(own.clone(), device);
        engine.valued = stored.valued;
        engine.rank = stored.rank;
        (engine.box_clock, engine.identity) = (stored.box_clock, stored.identity);
        (engine.box_lost, engine.cut_off) = (stored.box_lost, stored.cut_off);
        engine.latest = stored.latest;
        engine.latest.values_mut().for_each(|latest| latest.device = Some(own.clone()));
        engine.series = stored.series.into_iter().map(|(key, it)| (by_class(key), it)).collect();
        engine.episodes = stored.episodes;
        for episode in engine.episodes.values_mut() {
            let firing = std::mem::take(&mut episode.firing);
            episode.firing = firing
                .into_iter()
                .map(|(key, mut firing)| {
                    firing.device = Some(own.clone());
                    (by_class(key), firing)
                })
                .collect();
        }
        engine
    }
}

/// Spot values were series of a metric and a channel; now the next of the class clears.
fn by_class(key: String) -> String {
    let mut parts = key.split('|');
    let (rule, metric) = (parts.next(), parts.next().and_then(Metric::from_name));
    let spot =
        metric.map(Metric::row).filter(|row| row.kind == Kind::Spot && row.class != Class::Hr);
    match (rule, spot) {
        (Some(rule), Some(row)) => format!("{rule}|{}", super::judge::spot_series(row.class)),
        _ => key,
    }
}
