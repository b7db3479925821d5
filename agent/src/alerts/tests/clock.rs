//! A box whose clock is wrong, begins with an earlier time, or is set.

use super::*;
use crate::alerts::county_clock::CountyClock;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    alert::Shelved,
    id::Channel,
    time::DeviceTime,
};
use rules::population::{Birth, Limit};

/// What a kill leaves of the rules.
fn kept(evaluation: &Evaluation, now: Now) -> Kept {
    let states = evaluation.states().into_iter();
    let engines = states.map(|(name, of)| (name, serde_json::to_value(of).unwrap())).collect();
    let (whose, county) = (evaluation.whose().clone(), evaluation.county(now));
    Kept { engines, whose, county, kept_at: Some(KeptAt::of(now)), ..Kept::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelf_ends_when_its_time_is_over_at_the_county_whatever_the_clock_of_the_box_says() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    beats(&mut warden, 0..12, 38);
    let alert = only(&warden);
    // There it is ten minutes later.
    let there = |second: u64| at(second + 600).wall;
    let order = || {
        let (_, order) = in_hand(&alert, 0);
        let shelved = Some(Shelved { by: "wang".to_owned(), until: there(20 + 900) });
        let said = InHand { acknowledged: None, shelved, ..order.in_hand[&alert.id].clone() };
        let in_hand = [(alert.id, said)].into();
        evaluation::Order { in_hand, made_at: Some(there(20)), ..order }
    };
    let evaluation = &mut warden.evaluation;
    evaluation.hear_clock(at(20), Some(there(20)));
    evaluation.go_by(at(20).wall, order());
    let state = |evaluation: &Evaluation| evaluation.alerts().next().unwrap().state;
    assert_eq!(state(evaluation), AlertState::Shelved);
    // The link fails, and the agent starts again.
    let site = edge.lookout.site.clone();
    let mut evaluation = Evaluation::new(site, order(), &kept(evaluation, at(490)));
    assert_eq!(evaluation.begin(at(500)), vec![]);
    evaluation.pass_time(at(919));
    assert_eq!(state(&evaluation), AlertState::Shelved);
    evaluation.pass_time(at(921));
    assert_eq!(state(&evaluation), AlertState::ActiveUnack);
}

/// So many seconds after the box was switched on again, with a clock that is so far back.
fn again(second: u64, back_ms: i64) -> Now {
    let Now { mono, wall, quality, .. } = at(second);
    let wall = WallTime::from_unix_ms(wall.unix_ms() - back_ms);
    Now { mono, uptime: Uptime { boot: BOOT + 1, ms: second * 1000 }, wall, quality }
}

/// A heart rate for so many seconds, at a box that was switched on again.
fn beats_again(of: &mut Evaluation, seconds: std::ops::Range<u64>, back_ms: i64, rate: u32) {
    for now in seconds.map(|second| again(second, back_ms)) {
        let said = envelope(now.uptime.ms / 1000, vec![heart_rate(now.observed(), rate)]);
        let said = Envelope { opened_at: now.wall, uptime: Some(now.uptime), ..said };
        of.take(now, &said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_whose_clock_begins_with_an_earlier_time_hears_and_calls_again() {
    for back_ms in [BASE_MS, 10 * 60_000, 5000] {
        let edge = Edge::new();
        let mut warden = edge.warden();
        beats(&mut warden, 0..12, 38);
        let Alert { id, .. } = only(&warden);
        let (reason, now) = (AckReason::AtBedside, at(11).wall);
        warden.evaluation.acknowledge(id, "li", reason, "", now).unwrap();

        let kept = kept(&warden.evaluation, at(12));
        let (_, order) = in_force(None).unwrap();
        let mut box_again = Evaluation::new(edge.lookout.site.clone(), order, &kept);
        box_again.begin(again(0, back_ms));
        beats_again(&mut box_again, 0..3, back_ms, 37);
        let alert = |of: &Evaluation| of.alerts().next().cloned().unwrap();
        let known = alert(&box_again);
        assert_eq!((known.id, known.state), (id, AlertState::ActiveAck), "{back_ms}");
        assert_eq!(known.value.as_deref(), Some("37"), "{back_ms}");
        box_again.pass_time(again(118, back_ms));
        assert_eq!(alert(&box_again).state, AlertState::ActiveAck, "{back_ms}");
        // Its clock is set: what is due is as far away as before, also before a record says it.
        let now = again(118, 0);
        box_again.pass_time(now);
        let (before, observed) = (again(118, back_ms).wall, now.observed());
        let set = ClockChange { before, evidence: "ntp".into(), observed };
        let said = envelope(118, vec![Record::Clock(set)]);
        let said = Envelope { opened_at: now.wall, uptime: Some(now.uptime), ..said };
        box_again.take(now, &said);
        beats_again(&mut box_again, 118..119, 0, 37);
        box_again.pass_time(again(118, 0));
        assert_eq!(alert(&box_again).state, AlertState::ActiveAck, "{back_ms}");
        beats_again(&mut box_again, 119..150, 0, 37);
        assert_eq!(alert(&box_again).state, AlertState::ActiveUnack, "{back_ms}");
    }
}

/// An infant of seven months, put on the monitor at that moment of the county's clock; a heart rate
/// of 120 is high for them by a limit of their own, for an hour. The policy is of that moment.
fn infant_since(from: WallTime) -> evaluation::Order {
    let (_, order) = in_force(None).unwrap();
    let limit = Limit {
        rule: "HR-p06_12m-HH".to_owned(),
        limit: Some("120".to_owned()),
        by: "dr-li".to_owned(),
        reason: "after surgery".to_owned(),
        from,
        until: WallTime::from_unix_ms(from.unix_ms() + 3_600_000),
    };
    let birth = Birth::of_age(7, from);
    let profile = Profile { birth, limits: vec![limit], ..Profile::default() };
    let list = serde_json::json!({"version": 3, "bindings": [
        {"device": "ecg-01", "patient": "p-7", "bed": "3", "from": from.unix_ms()}]});
    let bindings: BindingList = read(&list.to_string(), "bindings");
    let profiles = [(infant(), profile)].into();
    evaluation::Order { bindings, profiles, made_at: Some(from), ..order }
}

fn infant() -> PatientKey {
    PatientKey::new("p-7").unwrap()
}

/// The one alert, by which rules it is, and how it stands.
fn stands(of: &Evaluation, family: &str) -> Option<(AlertId, Option<PatientKey>, AlertState)> {
    let alert = of.alerts().find(|alert| alert.family == family)?;
    Some((alert.id, alert.patient.clone(), alert.state))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_whose_clock_begins_with_an_earlier_time_goes_on_with_the_patients_of_its_devices() {
    for (back_ms, is_kept) in
        [(BASE_MS, true), (BASE_MS, false), (20 * 60_000, true), (20 * 60_000, false), (5000, true)]
    {
        let edge = Edge::new();
        let mut warden = edge.warden();
        let order = infant_since(at(0).wall);
        warden.evaluation.hear_clock(at(0), order.made_at);
        warden.evaluation.go_by(at(0).wall, order);
        // An adult's would be good.
        beats(&mut warden, 0..12, 70);
        let id = only(&warden).id;
        let expected = |state| Some((id, Some(infant()), state));
        assert_eq!(stands(&warden.evaluation, "hr_low"), expected(AlertState::ActiveUnack));

        let mut kept = kept(&warden.evaluation, at(12));
        if !is_kept {
            kept.county = CountyClock::default();
        }
        let (site, order) = (edge.lookout.site.clone(), infant_since(at(0).wall));
        let mut box_again = Evaluation::new(site, order, &kept);
        box_again.begin(again(0, back_ms));
        box_again.pass_time(again(0, back_ms));
        let unknown = stands(&box_again, "hr_low");
        assert_eq!(unknown, expected(AlertState::Unknown), "{back_ms} {is_kept}");
        beats_again(&mut box_again, 0..12, back_ms, 70);
        box_again.pass_time(again(12, back_ms));
        let known = stands(&box_again, "hr_low");
        assert_eq!(known, expected(AlertState::ActiveUnack), "{back_ms} {is_kept}");
        let alert = box_again.alerts().next().cloned().unwrap();
        assert_eq!(box_again.bed_of(&alert, again(12, back_ms).wall), Some("3"));
        // The limit of their own holds, and goes on to when the clock is set.
        beats_again(&mut box_again, 12..30, back_ms, 130);
        let high = box_again.alerts().find(|alert| alert.family == "hr_high").cloned().unwrap();
        assert_eq!((high.patient.clone(), &*high.rules[0]), (Some(infant()), "HR-p06_12m-HH"));
        box_again.pass_time(again(30, 0));
        beats_again(&mut box_again, 30..48, 0, 130);
        let (id, whose, state) = stands(&box_again, "hr_high").unwrap();
        assert_eq!((id, whose, state), (high.id, Some(infant()), AlertState::ActiveUnack));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_whose_clock_jumps_forward_makes_no_infant_grow_and_ends_no_limit() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let order = infant_since(at(0).wall);
    warden.evaluation.hear_clock(at(0), order.made_at);
    warden.evaluation.go_by(at(0).wall, order);
    beats(&mut warden, 0..12, 130);
    // It takes it for six years later.
    for second in 12..30 {
        let Now { wall, .. } = at(second);
        let wall = WallTime::from_unix_ms(wall.unix_ms() + 6 * 366 * 86_400_000);
        let now = Now { wall, ..at(second) };
        let said = envelope(second, vec![heart_rate(now.observed(), 130)]);
        let said = Envelope { opened_at: wall, uptime: Some(now.uptime), ..said };
        warden.evaluation.take(now, &said);
    }
    let high = warden.evaluation.alerts().find(|alert| alert.family == "hr_high").unwrap();
    assert_eq!((&high.patient, &*high.rules[0]), (&Some(infant()), "HR-p06_12m-HH"));
    assert_eq!(high.state, AlertState::ActiveUnack);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_county_puts_on_a_monitor_now_is_on_it_now_at_a_box_whose_clock_is_behind() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    beats(&mut warden, 0..2, 70);
    // There it is twenty minutes later.
    let order = infant_since(at(2 + 1200).wall);
    warden.evaluation.hear_clock(at(2), order.made_at);
    warden.evaluation.go_by(at(2).wall, order);
    beats(&mut warden, 2..14, 70);
    let (_, whose, state) = stands(&warden.evaluation, "hr_low").unwrap();
    assert_eq!((whose, state), (Some(infant()), AlertState::ActiveUnack));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_policy_says_of_a_patient_holds_after_a_restart_before_it_was_kept() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let order = infant_since(at(0).wall);
    warden.evaluation.go_by(at(0).wall, evaluation::Order { profiles: BTreeMap::new(), ..order });
    beats(&mut warden, 0..2, 70);
    let kept = kept(&warden.evaluation, at(2));
    let (site, order) = (edge.lookout.site.clone(), infant_since(at(0).wall));
    warden.evaluation = Evaluation::new(site, order, &kept);
    warden.evaluation.begin(at(2));
    beats(&mut warden, 2..14, 70);
    let (_, whose, _) = stands(&warden.evaluation, "hr_low").unwrap();
    assert_eq!(whose, Some(infant()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_at_which_states_are_kept_is_kept_with_them() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    warden.keep().await;
    let Kept { kept_at, .. } = KeptFile::in_folder(edge.folder.path()).read();
    let now = edge.lookout.clock.now();
    let later = Now { wall: WallTime::from_unix_ms(now.wall.unix_ms() + 60_000), ..now };
    let set_ms = kept_at.unwrap().set_until(later);
    assert!(set_ms.abs_diff(60_000) < 1000, "{set_ms}");
}

/// What a box hears at that moment.
fn hears(of: &mut Evaluation, now: Now, records: Vec<Record>) {
    let said = envelope(now.uptime.ms / 1000, records);
    of.take(now, &Envelope { opened_at: now.wall, uptime: Some(now.uptime), ..said });
}

fn of_kind(observed: Observed, name: &str, kind: DeviceKind, interval_ms: Option<u32>) -> Record {
    let Record::Status(known) = status(observed, DeviceState::Online) else { unreachable!() };
    let device = DeviceId::new(name).unwrap();
    Record::Status(DeviceStatus { device, kind, expected_interval_ms: interval_ms, ..known })
}

/// A box without a clock of its own, with a monitor that speaks every ten seconds and a cuff, after
/// its clock was set.
fn set_right(warden: &mut Warden<'_>) {
    let of = &mut warden.evaluation;
    let start = again(0, BASE_MS);
    of.begin(start);
    let monitor = of_kind(start.observed(), "ecg-01", DeviceKind::Monitor, Some(10_000));
    let cuff = of_kind(start.observed(), "bp-01", DeviceKind::Cuff, None);
    hears(of, start, vec![monitor, cuff]);
    of.pass_time(again(60, 0));
    of.pass_time(again(60, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_speaks_seldom_does_so_when_the_clock_was_set_too() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    set_right(&mut warden);
    for second in [70, 80, 90] {
        let now = again(second, 0);
        hears(&mut warden.evaluation, now, vec![heart_rate(now.observed(), 35)]);
    }
    let alert = only(&warden);
    assert_eq!((alert.rules[0].as_str(), alert.started_at), ("HR-AD-LL", again(70, 0).wall));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kiosk_whose_own_clock_is_wrong_is_heard_at_once_when_the_clock_of_its_box_was_set_too() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    set_right(&mut warden);
    let now = again(70, 0);
    let two_days_ago = now.wall.unix_ms() - 2 * 86_400_000;
    let reading = |metric, value: u32| Reading::number(metric, value, Unit::MM_HG);
    let readings = vec![reading(Metric::NIBP_SYS, 236), reading(Metric::NIBP_DIA, 132)];
    let group = ReadingGroup::new(DeviceId::new("bp-01").unwrap(), now.observed(), readings);
    let stamp = DeviceTime::Zoned { civil_ms: two_days_ago, offset_s: 0 };
    let group = group.at_device_time(Some(stamp));
    hears(&mut warden.evaluation, now, vec![Record::Readings(group)]);
    let alert = only(&warden);
    assert_eq!((alert.family.as_str(), alert.state), ("bp_high", AlertState::ActiveUnack));
    assert_eq!(alert.started_at, now.wall);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_is_no_thermometer_and_no_pump_because_the_clock_was_set() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    set_right(&mut warden);
    for second in (70..200).step_by(10) {
        let now = again(second, 0);
        let on_bed = Reading::number(Metric::TEMP, 22, Unit::CELSIUS);
        let group = ReadingGroup::new(device(), now.observed(), vec![on_bed]);
        hears(&mut warden.evaluation, now, vec![Record::Readings(group)]);
    }
    let now = again(200, 0);
    let battery = DeviceAlarm {
        device: device(),
        channel: Channel::default(),
        phase: AlarmPhase::Start,
        kind: AlarmKind::BatteryLow,
        code: "battery".to_owned(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed: now.observed(),
    };
    hears(&mut warden.evaluation, now, vec![Record::Alarm(battery)]);
    let mut rules: Vec<_> = warden.evaluation.alerts().map(|alert| alert.rules.join(" ")).collect();
    rules.sort();
    assert_eq!(rules, ["BATT-LOW", "TECH-PROBEOFF"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_of_which_nothing_is_heard_is_silent_though_the_clock_was_set_meanwhile() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let start = again(0, BASE_MS);
    warden.evaluation.begin(start);
    for (second, state) in [(0, DeviceState::Online), (20, DeviceState::Silent)] {
        let now = again(second, BASE_MS);
        hears(&mut warden.evaluation, now, vec![status(now.observed(), state)]);
    }
    warden.evaluation.pass_time(again(30, 0));
    assert_eq!(warden.evaluation.alerts().count(), 0);
    warden.evaluation.pass_time(again(51, 0));
    let silent = |warden: &Warden<'_>| {
        let alert = only(warden);
        (alert.rules.join(" "), alert.state)
    };
    let told = ("TECH-SILENT".to_owned(), AlertState::ActiveUnack);
    assert_eq!(silent(&warden), told);
    // That goes on when it is set again, and is over when the monitor is heard.
    warden.evaluation.pass_time(again(60, 10_000));
    assert_eq!(silent(&warden), told);
    let now = again(70, 10_000);
    hears(&mut warden.evaluation, now, vec![status(now.observed(), DeviceState::Online)]);
    assert_eq!(warden.evaluation.alerts().count(), 0);
}
