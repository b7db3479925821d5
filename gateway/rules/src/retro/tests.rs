//! A ward with an outage is compared with the same ward without one.

use super::*;
use crate::{
    alert::AckReason,
    binding::Subject,
    engine::Action,
    freshness::{BoxTime, Clocks},
    ladder::Times,
};
use model::{
    alarm::{AlarmKind, AlarmPhase},
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId, Lane, OutboxId, Seq, SiteId},
    reading::{NoData, Occurrence, Reading},
    time::{ClockQuality, Observed},
    units::Unit,
};
use std::{collections::BTreeSet, env, ops::Range};

const BASE_MS: i64 = 1_795_335_300_000;
/// How long a ward is watched, in seconds: an hour, and until all of it is over.
const WATCHED_S: i64 = 3600;
const CALM_S: i64 = 900;
/// The box sends the last five minutes first.
const NEWEST_FIRST_S: i64 = 300;

fn at(second: i64) -> WallTime {
    WallTime::from_unix_ms(BASE_MS + second * 1000)
}

fn rules() -> RuleSet {
    RuleSet::from_json(include_str!("../../../../configs/rules/default.json")).unwrap()
}

fn local(at: WallTime) -> String {
    format!("{} s", (at.unix_ms() - BASE_MS) / 1000)
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn within(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to - from).unwrap();
        from + i64::try_from(self.next() % span).unwrap()
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let len = i64::try_from(choices.len()).unwrap();
        &choices[usize::try_from(self.within(0, len)).unwrap()]
    }
}

fn device() -> DeviceId {
    DeviceId::new("ecg-01").unwrap()
}

fn group(second: i64, metric: Metric, value: i64, unit: Unit) -> ReadingGroup {
    let observed = Observed { at: at(second), quality: ClockQuality::Synchronised };
    let value = i32::try_from(value).unwrap();
    ReadingGroup::new(device(), observed, vec![Reading::number(metric, value, unit)])
}

/// What a monitor says: heart rate and saturation each second, a pressure every five minutes.
fn ward(dice: &mut Dice) -> Vec<(i64, ReadingGroup)> {
    let mut said = Vec::new();
    let levels = [
        (Metric::HR, Unit::PER_MINUTE, [72, 72, 72, 45, 36, 130, 155]),
        (Metric::SPO2, Unit::PERCENT, [97, 97, 97, 91, 88, 82, 96]),
    ];
    for (metric, unit, levels) in levels {
        let mut second = 0;
        while second < WATCHED_S + CALM_S {
            let level = match second < WATCHED_S {
                true => *dice.of(&levels),
                false => levels[0],
            };
            let long = match dice.within(0, 3) {
                0 => dice.within(3, 20),
                1 => dice.within(20, 150),
                _ => dice.within(150, 500),
            };
            for _ in 0..long.min(WATCHED_S + CALM_S - second) {
                let wander = dice.within(-1, 2);
                said.push((second, group(second, metric, level + wander, unit.clone())));
                second += 1;
            }
        }
    }
    for second in (150..WATCHED_S + CALM_S).step_by(300) {
        let level = if second < WATCHED_S { *dice.of(&[120, 120, 150, 185, 225]) } else { 120 };
        said.push((second, group(second, Metric::NIBP_SYS, level, Unit::MM_HG)));
    }
    said.sort_by_key(|(second, _)| *second);
    said
}

/// A county that hears of one device.
struct County {
    rules: RuleSet,
    engine: Engine,
    /// The newest word about each alert.
    alerts: BTreeMap<AlertId, Alert>,
}

impl County {
    fn new() -> Self {
        let engine = Engine::new(SiteId::new("heping").unwrap(), Subject::Device(device()));
        let mut county = Self { rules: rules(), engine, alerts: BTreeMap::new() };
        let status = DeviceStatus {
            device: device(),
            kind: DeviceKind::Monitor,
            driver: "test".into(),
            state: DeviceState::Online,
            reason: String::new(),
            about: BTreeMap::new(),
            expected_interval_ms: None,
            observed: Observed { at: at(0), quality: ClockQuality::Synchronised },
        };
        let position = crate::freshness::Position {
            outbox: OutboxId::from_bytes([1; 16]),
            lane: Lane::Urgent,
            seq: Seq::new(1).unwrap(),
            index: 0,
        };
        let said = Moment::sure(at(0));
        county.engine.on_status(&county.rules, at(0), said, position, &status).unwrap();
        county
    }

    fn class(group: &ReadingGroup, now: WallTime) -> (Moment, Freshness) {
        let clocks = Clocks::of_box(BoxTime::Ahead { ms: 0 });
        let t_meas = clocks.measured(group, now);
        (t_meas, Freshness::of(group, t_meas, now))
    }

    /// Takes a group in; what of it sounds.
    fn hear(&mut self, now: i64, group: &ReadingGroup) -> Vec<Alert> {
        let (t_meas, freshness) = Self::class(group, at(now));
        let input = ReadingInput { group, t_meas, freshness };
        let changed = self.engine.on_readings(&self.rules, at(now), input);
        self.note(changed)
    }

    fn pass_time(&mut self, now: i64) {
        let changed = self.engine.on_time(&self.rules, at(now));
        self.note(changed);
    }

    /// Those of them that sound, by what happened to them since they were told last.
    fn note(&mut self, changed: Vec<Alert>) -> Vec<Alert> {
        let mut sounding = Vec::new();
        for alert in changed {
            use TimelineEvent::{PriorityRose, Raised, Recurred};
            let told = self.alerts.get(&alert.id).map_or(0, |known| known.timeline.len());
            let new = alert.timeline.iter().skip(told);
            if new.clone().any(|entry| matches!(entry.what, Raised | Recurred | PriorityRose)) {
                sounding.push(alert.clone());
            }
            self.alerts.insert(alert.id, alert);
        }
        sounding
    }

    /// The pass over what came late, with all that was stored until then.
    fn pass(&mut self, now: i64, stored: &[(ReadingGroup, Freshness)], since: i64) -> Settled {
        let pass = self.begin(stored, since);
        let known: Vec<KnownAlert> = self.alerts.values().map(known).collect();
        pass.settle(&self.rules, &mut self.engine, &known, at(now), local)
    }

    /// The same, before it is held against the alerts that there are.
    fn begin(&self, stored: &[(ReadingGroup, Freshness)], since: i64) -> Pass {
        let late = stored.iter().filter(|(_, freshness)| *freshness != Freshness::Fresh);
        let late_end = late.map(|(group, _)| group.observed.at).max().unwrap_or(at(since));
        let mut pass = Pass::new(&self.engine, at(since), late_end);
        let mut stored: Vec<_> = stored.iter().collect();
        stored.sort_by_key(|(group, _)| group.observed.at);
        for (group, freshness) in stored {
            pass.on_readings(&self.rules, group, Moment::sure(group.observed.at), *freshness);
        }
        pass
    }
}

fn known(alert: &Alert) -> KnownAlert {
    KnownAlert {
        id: alert.id,
        family: alert.family.clone(),
        device: alert.device.clone(),
        started_at: alert.started_at,
        cleared_at: alert.cleared_at,
        retro: alert.retro,
    }
}

fn without_outage(said: &[(i64, ReadingGroup)]) -> BTreeMap<AlertId, Alert> {
    let mut county = County::new();
    for (second, group) in said {
        county.hear(*second, group);
    }
    county.alerts
}

#[test]
fn after_an_outage_there_are_the_same_alerts_and_nothing_late_sounds_that_must_not() {
    let one: Option<u64> = env::var("SIM_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds: Vec<u64> = one.map_or_else(|| (0..12).collect(), |seed| vec![seed]);
    let (mut compared, mut found_late) = (0, 0);
    for seed in seeds {
        let (alerts, late) = compare(seed);
        compared += alerts;
        found_late += late;
    }
    // Else it has compared nothing.
    assert!(compared > 0 && (found_late > 0 || one.is_some()), "{compared}, {found_late} late");
}

/// How many alerts were compared, and how many of them the pass made.
fn compare(seed: u64) -> (usize, u32) {
    let mut dice = Dice(seed);
    let said = ward(&mut dice);
    let expected = without_outage(&said);
    let from = dice.within(60, WATCHED_S - 600);
    let until = (from + *dice.of(&[90, 400, 1000, 2000])).min(WATCHED_S);
    let mut county = County::new();
    let mut stored = Vec::new();
    let mut late_sound = Vec::new();
    let (mut kept, mut settled, mut since) = (Vec::new(), None, None);
    for second in 0..WATCHED_S + CALM_S {
        if second == from + 60 && second < until {
            county.engine.box_lost(at(second));
        }
        county.pass_time(second);
        if second == until {
            let changed = county.engine.box_back(&county.rules, at(second));
            county.note(changed);
            // The newest come first, the others behind them.
            let newest = |group: &&ReadingGroup| group.observed.at >= at(until - NEWEST_FIRST_S);
            let (first, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut kept).into_iter().partition(newest);
            for group in first.into_iter().chain(rest) {
                let (_, freshness) = County::class(group, at(second));
                late_sound.extend(county.hear(second, group));
                stored.push((group.clone(), freshness));
                since = since.or(Some(second)).map(|known| known.min(seconds(group)));
            }
        }
        let here = said.partition_point(|(of, _)| *of < second);
        for (_, group) in said.iter().skip(here).take_while(|(of, _)| *of == second) {
            match (from..until).contains(&second) {
                true => kept.push(group),
                false => {
                    county.hear(second, group);
                    stored.push((group.clone(), Freshness::Fresh));
                }
            }
        }
        if second == until + 12 {
            let result = county.pass(second, &stored, since.unwrap());
            let sounding = county.note(result.changed.clone());
            for alert in sounding {
                assert_eq!((alert.late_row, alert.priority), (Some(4), Priority::High), "{seed}");
            }
            settled = Some(result);
        }
    }
    for alert in late_sound {
        let is_fresh = alert.metric.is_some_and(|metric| metric.row().kind != Kind::Spot);
        let row = if is_fresh { None } else { Some(5) };
        assert!(
            alert.late_row == row
                || alert.raised_at.unix_ms() - alert.started_at.unix_ms() <= 600_000,
            "{seed}: {alert:#?}"
        );
    }
    let outage = format!("SIM_SEED={seed}, {from} to {until}");
    check_same(&outage, until, &expected, &county, &settled.unwrap())
}

/// Every alert is one that there is without an outage, and none is missing but those for which a
/// worse one of the same rule stands.
fn check_same(
    outage: &str,
    until: i64,
    expected: &BTreeMap<AlertId, Alert>,
    county: &County,
    settled: &Settled,
) -> (usize, u32) {
    let joined: BTreeMap<AlertId, AlertId> = settled.joined.iter().copied().collect();
    let told: BTreeSet<AlertId> = county.alerts.keys().copied().collect();
    let missing: Vec<&Alert> = expected
        .values()
        .filter(|alert| !told.contains(&joined.get(&alert.id).copied().unwrap_or(alert.id)))
        .collect();
    let missed = u32::try_from(missing.len()).unwrap();
    assert_eq!(
        missed,
        settled.left_out,
        "{outage}: missing {:#?}, told {:#?}",
        missing.iter().map(|alert| short(alert)).collect::<Vec<_>>(),
        county.alerts.values().map(short).collect::<Vec<_>>()
    );
    for alert in missing {
        assert!(alert.started_at < at(until), "{outage}");
    }
    // An episode that paused in the outage was told a second time by fresh values before the pass
    // could know.
    let went_on = |alert: &Alert| {
        alert.late_row.is_none()
            && expected.values().any(|whole| {
                let over = whole.cleared_at.unwrap_or(at(WATCHED_S + CALM_S));
                whole.family == alert.family
                    && (whole.started_at..=over).contains(&alert.started_at)
            })
    };
    let has_episode = |alert: &Alert| {
        let is_joined =
            |(own, to): (&AlertId, &AlertId)| *to == alert.id && expected.contains_key(own);
        expected.contains_key(&alert.id) || joined.iter().any(is_joined) || went_on(alert)
    };
    let invented: Vec<&Alert> =
        county.alerts.values().filter(|alert| !has_episode(alert)).collect();
    assert!(
        invented.is_empty(),
        "{outage}: invented {:#?}, expected {:#?}",
        invented.iter().map(|alert| short(alert)).collect::<Vec<_>>(),
        expected.values().map(short).collect::<Vec<_>>()
    );
    let active = |alerts: &BTreeMap<AlertId, Alert>| {
        alerts.values().filter(|alert| alert.state.is_active()).count()
    };
    assert_eq!((active(&county.alerts), active(expected)), (0, 0), "{outage}");
    (expected.len(), settled.made)
}

fn short(alert: &Alert) -> String {
    let second = |at: WallTime| (at.unix_ms() - BASE_MS) / 1000;
    let timeline: Vec<String> = alert
        .timeline
        .iter()
        .map(|entry| format!("{} {}", second(entry.at), entry.what.name()))
        .collect();
    format!(
        "{} {} {:?} row {:?} from {} to {:?}: {}",
        alert.rules.join("+"),
        alert.priority.name(),
        alert.state,
        alert.late_row,
        second(alert.started_at),
        alert.cleared_at.map(second),
        timeline.join(", ")
    )
}

fn seconds(group: &ReadingGroup) -> i64 {
    (group.observed.at.unix_ms() - BASE_MS) / 1000
}

#[test]
fn occurrence_decides_which_readings_are_late() {
    let spot = group(0, Metric::NIBP_SYS, 120, Unit::MM_HG);
    assert_eq!(spot.occurrence, Occurrence::Spot);
    assert_eq!(County::class(&spot, at(600)).1, Freshness::Fresh);
    assert_eq!(
        County::class(&group(0, Metric::HR, 72, Unit::PER_MINUTE), at(600)).1,
        Freshness::Late
    );
}

/// A heart rate of 35 and 36 that is heard at once, and that somebody has in hand after a minute.
fn heard(said: Range<i64>) -> (County, Vec<(ReadingGroup, Freshness)>) {
    let mut county = County::new();
    let mut stored = Vec::new();
    for second in said {
        let group = group(second, Metric::HR, 35 + second % 2, Unit::PER_MINUTE);
        county.hear(second, &group);
        stored.push((group, Freshness::Fresh));
        if second == 60 {
            acknowledge(&mut county, second);
        }
    }
    (county, stored)
}

fn acknowledge(county: &mut County, second: i64) {
    let id = *county.alerts.keys().next().unwrap();
    let action = Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() };
    let done = county.engine.act(&Times::default(), id, "li.wei", &action, at(second)).unwrap();
    county.note(vec![done]);
}

#[test]
fn what_was_heard_in_time_behind_what_came_late_is_no_news() {
    let (mut county, mut stored) = heard(0..61);
    for second in 61..200 {
        // Whoever has it in hand sees it fall from high to medium.
        let group = group(second, Metric::HR, 47, Unit::PER_MINUTE);
        county.hear(second, &group);
        stored.push((group, Freshness::Fresh));
    }
    // It is of before the alert.
    stored.push((group(-5, Metric::SPO2, 97, Unit::PERCENT), Freshness::Late));
    let settled = county.pass(200, &stored, -5);
    assert_eq!(settled.changed, Vec::new());
}

/// The box told of it until the link was back, in the middle of the 30 s for which it must be
/// over; the county counts them from where it hears again.
#[test]
fn what_the_box_told_ends_when_it_was_over_and_is_raised_by_nothing() {
    let (mut county, mut stored) = heard(0..61);
    for second in 61..140 {
        let group = group(second, Metric::HR, 72, Unit::PER_MINUTE);
        let is_heard = second >= 80;
        if is_heard {
            county.hear(second, &group);
        }
        let freshness = if is_heard { Freshness::Fresh } else { Freshness::Late };
        stored.push((group, freshness));
    }
    let ended = |county: &County| county.alerts.values().next().unwrap().cleared_at;
    assert_eq!(ended(&county), Some(at(110)));
    let mut pass = county.begin(&stored, 61);
    pass.leave_out(|_| Some(at(140)));
    let known: Vec<KnownAlert> = county.alerts.values().map(known).collect();
    let settled = pass.settle(&county.rules, &mut county.engine, &known, at(140), local);
    assert_eq!(settled.made, 0);
    let sounding = county.note(settled.changed);
    assert_eq!((sounding, ended(&county)), (Vec::new(), Some(at(91))));
}

/// The box stops telling when the link is back; what it had heard until then may still be on its way,
/// and behind what is newer no rule hears it.
#[test]
fn what_came_back_when_the_box_had_stopped_telling_waits_for_a_person() {
    let values = |second| if (150..170).contains(&second) { 36 } else { 72 };
    let all = ["HR-AD-LL", "HR-AD-L"];
    for (told_until, expected, rules) in [
        (91, (AlertState::ClearedUnack, Some(at(200)), None), &all[..1]),
        (300, (AlertState::Closed, Some(at(91)), Some("li.wei")), &all[..]),
    ] {
        let (mut county, mut stored) = heard(0..61);
        for second in 61..240 {
            let group = group(second, Metric::HR, values(second), Unit::PER_MINUTE);
            let is_heard = !(100..190).contains(&second);
            if is_heard {
                county.hear(second, &group);
            }
            let freshness = if is_heard { Freshness::Fresh } else { Freshness::Late };
            stored.push((group, freshness));
        }
        let mut pass = county.begin(&stored, 100);
        pass.leave_out(|_| Some(at(told_until)));
        let known: Vec<KnownAlert> = county.alerts.values().map(known).collect();
        let settled = pass.settle(&county.rules, &mut county.engine, &known, at(240), local);
        assert_eq!(settled.made, 0);
        assert_eq!(county.note(settled.changed), Vec::new());
        let alert = county.alerts.values().next().unwrap();
        let by = alert.acknowledged.as_ref().map(|by| &*by.by);
        assert_eq!((alert.state, alert.cleared_at, by), expected);
        assert_eq!(alert.rules, rules);
    }
}

/// The pass runs while the county still counts the seconds for which it must be over.
#[test]
fn what_a_pass_found_to_be_over_ends_then_when_the_next_values_say_so() {
    let (mut county, mut stored) = heard(0..61);
    let hear = |county: &mut County, second, value| {
        let group = group(second, Metric::HR, value, Unit::PER_MINUTE);
        county.hear(second, &group);
        (group, Freshness::Fresh)
    };
    for second in 61..80 {
        stored.push((group(second, Metric::HR, 72, Unit::PER_MINUTE), Freshness::Late));
    }
    stored.extend((80..100).map(|second| hear(&mut county, second, 72)));
    let settled = county.pass(100, &stored, 61);
    assert_eq!(county.note(settled.changed), Vec::new());
    let alert = |county: &County| county.alerts.values().next().unwrap().clone();
    assert_eq!((alert(&county).state, alert(&county).cleared_at), (AlertState::ActiveAck, None));
    for second in 100..120 {
        hear(&mut county, second, 72);
    }
    assert_eq!(
        (alert(&county).state, alert(&county).cleared_at),
        (AlertState::Closed, Some(at(91)))
    );
}

/// Of two rules that hold one was over in what came late.
#[test]
fn a_rule_that_was_over_in_what_came_late_holds_no_more() {
    let (mut county, mut stored) = heard(0..61);
    let of = |second, value| group(second, Metric::HR, value, Unit::PER_MINUTE);
    for second in 61..120 {
        stored.push((of(second, 47), Freshness::Late));
    }
    for second in 120..125 {
        county.hear(second, &of(second, 47));
        stored.push((of(second, 47), Freshness::Fresh));
    }
    let rules = |county: &County| county.alerts.values().next().unwrap().rules.clone();
    assert_eq!(rules(&county), ["HR-AD-LL", "HR-AD-L"]);
    let settled = county.pass(125, &stored, 61);
    county.note(settled.changed);
    assert_eq!(rules(&county), ["HR-AD-L"]);
    county.hear(125, &of(125, 47));
    assert_eq!(rules(&county), ["HR-AD-L"]);
}

#[test]
fn an_alert_is_not_touched_by_what_came_late_of_something_else() {
    for watched in [120, 5400] {
        let (mut county, mut stored) = heard(0..watched);
        let since = watched - 20;
        stored.push((group(since, Metric::SPO2, 97, Unit::PERCENT), Freshness::Late));
        // The pass begins an hour before it.
        stored.retain(|(group, _)| seconds(group) >= since - WARM_UP_MS / 1000);
        let settled = county.pass(watched, &stored, since);
        assert_eq!(settled.changed, Vec::new(), "{watched}");
        assert_eq!((county.alerts.len(), settled.made), (1, 0), "{watched}");
    }
}

#[test]
fn a_pressure_that_was_confirmed_before_the_pass_begins_stays_high() {
    let mut county = County::new();
    let mut stored = Vec::new();
    let mut measure = |county: &mut County, second| {
        let group = group(second, Metric::NIBP_SYS, 184, Unit::MM_HG);
        county.hear(second, &group);
        stored.push((group, Freshness::Fresh));
        stored.clone()
    };
    measure(&mut county, 0);
    measure(&mut county, 300);
    acknowledge(&mut county, 360);
    let hour = WARM_UP_MS / 1000;
    let mut stored = (1..=4).map(|hours| measure(&mut county, hours * hour)).last().unwrap();
    let since = 4 * hour + 600;
    let late = (since..since + 900).map(|second| group(second, Metric::SPO2, 97, Unit::PERCENT));
    stored.extend(late.map(|group| (group, Freshness::Late)));
    // It hears one pressure, which nothing confirms.
    stored.retain(|(group, _)| seconds(group) >= since - hour);
    assert_eq!(county.pass(since + 2000, &stored, since).changed, Vec::new());
    measure(&mut county, 5 * hour);
    let alert = county.engine.alerts().next().unwrap();
    assert_eq!((alert.priority, alert.state), (Priority::High, AlertState::ActiveAck));
}

/// A patient with two monitors whose batteries are low by turns: what is late of the one is its own.
#[test]
fn a_late_technical_alert_is_one_of_its_device_and_its_end_is_its_own() {
    let rules = rules();
    let [own, other] = ["ecg-01", "ecg-02"].map(|name| DeviceId::new(name).unwrap());
    let patient = crate::binding::PatientKey::new("p-7").unwrap();
    let mut live = Engine::new(SiteId::new("heping").unwrap(), Subject::Patient(patient));
    let battery = |device: &DeviceId, second: i64, value: i64| ReadingGroup {
        device: device.clone(),
        ..group(second, Metric::BATT_PCT, value, Unit::PERCENT)
    };
    for device in [&own, &other] {
        live.tell_pace(device, Some(DeviceKind::Monitor).into());
    }
    // That of the other is low now, and was not then.
    let present = battery(&other, 2000, 15);
    let fresh = ReadingInput {
        group: &present,
        t_meas: Moment::sure(at(2000)),
        freshness: Freshness::Fresh,
    };
    let holds = live.on_readings(&rules, at(2000), fresh).remove(0);
    assert_eq!((&holds.device, holds.family.as_str()), (&other, "batt_low"));
    let mut pass = Pass::new(&live, at(0), at(120));
    for (second, device, value) in
        [(0, &own, 50), (1, &other, 50), (60, &own, 9), (61, &other, 40), (120, &own, 80)]
    {
        let said = battery(device, second, value);
        pass.on_readings(&rules, &said, Moment::sure(at(second)), Freshness::Late);
    }
    let settled = pass.settle(&rules, &mut live, &[known(&holds)], at(2100), local);
    assert_eq!((settled.made, settled.left_out, settled.joined.len()), (1, 0, 0));
    let late = &settled.changed[0];
    assert_eq!((&late.device, late.rules[0].as_str()), (&own, "BATT-LOW"));
    assert_eq!((late.started_at, late.cleared_at), (at(60), Some(at(120))));
    assert_eq!((late.state, late.retro), (AlertState::ClearedUnack, true));
    // The one that holds ends by its own device, and the late one waits for a person.
    let over = battery(&other, 2200, 90);
    let fresh =
        ReadingInput { group: &over, t_meas: Moment::sure(at(2200)), freshness: Freshness::Fresh };
    let ended = live.on_readings(&rules, at(2200), fresh);
    assert_eq!((ended.len(), ended[0].id, ended[0].state), (1, holds.id, AlertState::Closed));
    assert_eq!(live.alerts().map(|alert| alert.id).collect::<Vec<_>>(), [late.id]);
}

/// An urgent word comes before what was measured with it: a value that a lead counted before its
/// device said that it is off.
#[test]
fn what_readings_began_and_an_alarm_of_its_device_goes_on_with_ends_with_that() {
    let rules = rules();
    let live = Engine::new(SiteId::new("heping").unwrap(), Subject::Device(device()));
    let mut pass = Pass::new(&live, at(0), at(60));
    let observed = |second| Observed { at: at(second), quality: ClockQuality::Synchronised };
    let off = vec![Reading::no_data(Metric::HR, NoData::LeadOff)];
    let off = ReadingGroup::new(device(), observed(0), off);
    pass.on_readings(&rules, &off, Moment::sure(at(0)), Freshness::Late);
    let value = |second| group(second, Metric::HR, 72, Unit::PER_MINUTE);
    pass.on_readings(&rules, &value(4), Moment::sure(at(4)), Freshness::Late);
    for (second, phase) in [(5, AlarmPhase::Start), (36, AlarmPhase::End)] {
        let alarm = DeviceAlarm {
            device: device(),
            channel: Channel::default(),
            phase,
            kind: AlarmKind::LeadOff,
            code: "lead".to_owned(),
            text: String::new(),
            priority: None,
            source: None,
            device_time: None,
            latched: false,
            observed: observed(second),
        };
        pass.on_alarm(&rules, at(second), &alarm);
        pass.on_readings(&rules, &value(second + 1), Moment::sure(at(second + 1)), Freshness::Late);
    }
    let found: Vec<_> = pass.found().map(|found| (found.period(), found.over_at())).collect();
    assert_eq!(found, [((at(0), at(36)), Some(at(36)))]);
}
