//! A box whose county comes and goes, fed with envelopes as the outbox keeps them.

mod bindings;
mod clock;

use super::*;
use crate::{
    config,
    outbox::{NO_LINK, OutboxSettings},
    supervisor::Worker,
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    alert::{Acknowledged, InHand, Shelved},
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId, Lane, OutboxId, Seq},
    metric::Metric,
    reading::{Reading, ReadingGroup},
    record::{ClockChange, Record},
    time::{ClockQuality, Now, Observed, Uptime},
    units::Unit,
};
use rules::{
    alert::TimelineEvent,
    binding::{PatientKey, Subject},
    population::Profile,
};
use std::{cell::RefCell, path::Path};
use tempfile::TempDir;
use uplink_proto::envelope::Envelope;

const CONFIG: &str = "site = \"heping-01\"\ndata_dir = \"data\"\n[uplink]\n\
    broker = \"localhost:1\"\nca = \"ca.crt\"\ncert = \"c\"\nkey = \"k\"\n";
const BOOT: u32 = 7;

/// A box, and the calls of its hook.
struct Edge {
    folder: TempDir,
    lookout: Lookout,
    calls: RefCell<mpsc::Receiver<hook::Call>>,
    alerts: Alerts,
    _thread: Worker,
}

impl Edge {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config::parse(CONFIG, Path::new("")).unwrap();
        let clock = Clock::start();
        let settings = OutboxSettings {
            path: folder.path().join("outbox.sqlite"),
            commit_after: Duration::from_millis(1),
            max_bytes: 1 << 20,
            time_zone: config.time_zone.clone(),
        };
        let (outbox, thread, _news) = Outbox::start(settings, clock).unwrap();
        let (hook, calls) = hook::channel();
        let (alerts, orders) = Alerts::prepare();
        let lookout = Lookout {
            site: config.site.clone(),
            data_dir: folder.path().to_owned(),
            outbox,
            reach: ReachWatch::start(clock.now()),
            policy: watch::channel(None).1,
            hook: Some(hook),
            clock,
            stopped: CancellationToken::new(),
            orders,
        };
        Self { folder, lookout, calls: RefCell::new(calls), alerts, _thread: thread }
    }

    fn warden(&self) -> Warden<'_> {
        Warden::new(&self.lookout, in_force(None).unwrap())
    }

    /// What the hook hears until there is no more: what, and how many signal.
    fn heard(&self, warden: &mut Warden<'_>) -> Vec<(String, u64)> {
        std::iter::from_fn(|| self.hears(warden, true)).collect()
    }

    /// What the hook hears next, if anything; whether it takes it.
    fn hears(&self, warden: &mut Warden<'_>, taken: bool) -> Option<(String, u64)> {
        warden.call_hook();
        let call = self.calls.borrow_mut().try_recv().ok()?;
        warden.hook_took(taken);
        Some(said(&call))
    }

    /// From the next start on the county is out of reach.
    fn was_out_of_reach(&self) {
        let kept: Kept = Kept { out_of_reach: true, ..Kept::default() };
        KeptFile::in_folder(self.folder.path()).write(&kept).unwrap();
    }
}

fn said(call: &hook::Call) -> (String, u64) {
    let call: serde_json::Value = serde_json::from_slice(&call.input).unwrap();
    (call["what"].as_str().unwrap().to_owned(), call["signals"].as_u64().unwrap())
}

fn call(what: &str, signals: u64) -> (String, u64) {
    (what.to_owned(), signals)
}

/// The county was not heard for hours.
fn lost() -> (Reach, MonoTime) {
    let reach = *ReachWatch::start(at(0)).look().borrow();
    (reach, at(10_000).mono)
}

fn found() -> (Reach, MonoTime) {
    let watch = ReachWatch::start(at(0));
    watch.heard();
    let reach = *watch.look().borrow();
    (reach, at(10_000).mono)
}

const BASE_MS: i64 = 1_795_335_300_000;

/// So many seconds after the box was switched on.
fn at(second: u64) -> Now {
    let ms = i64::try_from(second * 1000).unwrap();
    Now {
        mono: MonoTime::from_start(Duration::from_secs(second)),
        uptime: Uptime { boot: BOOT, ms: second * 1000 },
        wall: WallTime::from_unix_ms(BASE_MS + ms),
        quality: ClockQuality::Synchronised,
    }
}

fn device() -> DeviceId {
    DeviceId::new("ecg-01").unwrap()
}

fn heart_rate(observed: Observed, rate: u32) -> Record {
    let reading = Reading::number(Metric::HR, rate, Unit::PER_MINUTE);
    Record::Readings(ReadingGroup::new(device(), observed, vec![reading]))
}

fn status(observed: Observed, state: DeviceState) -> Record {
    Record::Status(DeviceStatus {
        device: device(),
        kind: DeviceKind::Monitor,
        driver: "json-lines".to_owned(),
        state,
        reason: String::new(),
        about: BTreeMap::new(),
        expected_interval_ms: None,
        observed,
    })
}

/// An envelope opened at that second.
fn envelope(second: u64, records: Vec<Record>) -> Envelope {
    let lane = records[0].lane();
    Envelope {
        outbox: OutboxId::from_bytes([1; 16]),
        lane,
        seq: Seq::new(second + 1).unwrap(),
        opened_at: at(second).wall,
        uptime: Some(at(second).uptime),
        records,
    }
}

/// A heart rate for so many seconds.
fn beats(warden: &mut Warden<'_>, seconds: std::ops::Range<u64>, rate: u32) {
    for second in seconds {
        let envelope = envelope(second, vec![heart_rate(at(second).observed(), rate)]);
        let changed = warden.evaluation.take(at(second), &envelope);
        warden.note(changed);
    }
}

fn only(warden: &Warden<'_>) -> Alert {
    let open: Vec<_> = warden.evaluation.alerts().cloned().collect();
    assert_eq!(open.len(), 1, "{open:?}");
    open[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_county_is_in_reach_the_rules_run_and_nothing_signals() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (good, now) = found();
    warden.look_at_reach(good, now);
    beats(&mut warden, 0..12, 38);
    let alert = only(&warden);
    assert_eq!((alert.rules[0].as_str(), alert.started_at), ("HR-AD-LL", at(0).wall));
    // By which the county will know it.
    let id = AlertId::new(&edge.lookout.site, "ecg-01", "hr_low", at(0).wall);
    assert_eq!(alert.id, id);
    let said = Acknowledge {
        id,
        by: "李秀兰".to_owned(),
        reason: AckReason::AtBedside,
        note: String::new(),
    };
    let told = warden.acknowledge(said).await.unwrap_err();
    assert!(matches!(told, AcknowledgeHereError::InReach), "{told}");
    assert_eq!(edge.heard(&mut warden), [call("present", 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_reach_an_alert_signals_once_until_somebody_has_it_in_hand() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..40, 38);
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
    let said = Acknowledge {
        id: only(&warden).id,
        by: "李秀兰".to_owned(),
        reason: AckReason::AtBedside,
        note: String::new(),
    };
    let told = warden.acknowledge(said.clone()).await.unwrap();
    assert_eq!((told.state.as_str(), told.signals), ("active_ack", false));
    let second = warden.acknowledge(Acknowledge { by: "王强".to_owned(), ..said }).await;
    let first_wins = ActionError::AlreadyAcknowledged { by: "李秀兰".to_owned() };
    assert!(
        matches!(second, Err(AcknowledgeHereError::Rules(ref error)) if *error == first_wins),
        "{second:?}"
    );
    assert_eq!(edge.heard(&mut warden), [call("ack", 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_county_had_signals_here_when_the_link_is_lost_and_ends_when_it_is_back() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let ((good, now), (bad, _)) = (found(), lost());
    warden.look_at_reach(good, now);
    beats(&mut warden, 0..12, 38);
    warden.look_at_reach(bad, now);
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
    warden.look_at_reach(good, now);
    beats(&mut warden, 12..24, 38);
    assert_eq!(edge.heard(&mut warden), [call("in_reach", 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_over_ends_its_signal_and_comes_back_under_its_id() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..12, 38);
    let first = only(&warden).id;
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
    beats(&mut warden, 12..50, 72);
    assert_eq!(only(&warden).state, AlertState::ClearedUnack);
    assert_eq!(edge.heard(&mut warden), [call("clear", 0)]);
    beats(&mut warden, 50..65, 38);
    assert_eq!((only(&warden).id, only(&warden).recurrences), (first, 1));
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_same_alert_and_signals_nothing_twice() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..12, 38);
    let before = only(&warden);
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
    warden.keep().await;
    drop(warden);

    let mut warden = edge.warden();
    assert_eq!(only(&warden), before);
    warden.look_at_reach(bad, now);
    // What the outbox has behind the place that was kept.
    beats(&mut warden, 12..30, 38);
    assert_eq!(only(&warden).id, before.id);
    // Whether the lamp is lit since nobody knows: the box may have been switched off.
    assert_eq!(edge.heard(&mut warden), [call("present", 1)]);
    warden.keep().await;
    drop(warden);

    // It was switched off until the county was in reach.
    let mut warden = edge.warden();
    let (good, now) = found();
    warden.look_at_reach(good, now);
    assert_eq!(edge.heard(&mut warden), [call("in_reach", 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_kill_broke_off_is_made_again() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..12, 38);
    warden.call_hook();
    assert_eq!(said(&edge.calls.borrow_mut().try_recv().unwrap()), call("raise", 1));
    warden.keep().await;
    drop(warden);
    let mut warden = edge.warden();
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hook_did_not_take_it_is_told_again_as_it_is_by_then() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..12, 38);
    assert_eq!(edge.hears(&mut warden, false), Some(call("raise", 1)));
    assert_eq!(edge.hears(&mut warden, true), None, "it waits first");
    let again = async |warden: &mut Warden<'_>| {
        loop {
            if let Some(call) = edge.hears(warden, true) {
                return call;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    let told = tokio::time::timeout(limit, again(&mut warden)).await.expect("it is told again");
    assert_eq!(told, call("raise", 1));
    assert_eq!(edge.heard(&mut warden), []);

    beats(&mut warden, 12..50, 72);
    assert_eq!(edge.hears(&mut warden, false), Some(call("clear", 0)));
    // It comes back before the lamp could be put out.
    beats(&mut warden, 50..65, 38);
    let told = tokio::time::timeout(limit, again(&mut warden)).await.expect("it is told again");
    assert_eq!(told, call("clear", 1));
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lamp_that_failed_to_be_lit_is_told_that_nothing_signals_any_more() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..12, 38);
    assert_eq!(edge.hears(&mut warden, false), Some(call("raise", 1)));
    beats(&mut warden, 12..50, 72);
    let news = warden.signals.next_call();
    assert!(matches!(news, Some(Call::Stands(What::Present))), "{news:?}");
    assert_eq!(warden.signals.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_loses_no_alert_and_the_rules_go_on() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    beats(&mut warden, 0..12, 38);
    let before = only(&warden);
    // The box was a day ahead.
    let earlier =
        |now: Now| Now { wall: WallTime::from_unix_ms(now.wall.unix_ms() - 86_400_000), ..now };
    let set = ClockChange {
        before: at(12).wall,
        evidence: "test".to_owned(),
        observed: earlier(at(12)).observed(),
    };
    let mut moved = envelope(12, vec![Record::Clock(set)]);
    moved.opened_at = earlier(at(12)).wall;
    let changed = warden.evaluation.take(earlier(at(12)), &moved);
    warden.note(changed);
    let state = |warden: &Warden<'_>| (only(warden).id, only(warden).state);
    assert_eq!(state(&warden), (before.id, AlertState::Unknown));
    for second in 13..30 {
        let now = earlier(at(second));
        let mut next = envelope(second, vec![heart_rate(now.observed(), 38)]);
        next.opened_at = now.wall;
        let changed = warden.evaluation.take(now, &next);
        warden.note(changed);
    }
    assert_eq!(state(&warden), (before.id, AlertState::ActiveUnack));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_device_is_an_alert_by_the_passing_of_time() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let online = envelope(0, vec![status(at(0).observed(), DeviceState::Online)]);
    warden.evaluation.take(at(0), &online);
    let silent = envelope(5, vec![status(at(5).observed(), DeviceState::Silent)]);
    warden.evaluation.take(at(5), &silent);
    assert_eq!(warden.evaluation.alerts().count(), 0);
    let changed = warden.evaluation.pass_time(at(40));
    warden.note(changed);
    assert_eq!(only(&warden).rules, ["TECH-SILENT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_behind_see_the_time_that_passed() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let envelopes =
        [(0, DeviceState::Online), (5, DeviceState::Silent), (100, DeviceState::Online)];
    let taken = envelopes.map(|(second, state)| {
        let envelope = envelope(second, vec![status(at(second).observed(), state)]);
        warden.evaluation.take(at(3600), &envelope)
    });
    let [_, _, changed] = taken;
    let rules: Vec<_> = changed.iter().flat_map(|alert| &alert.rules).collect();
    assert!(rules.iter().any(|rule| *rule == "TECH-SILENT"), "{rules:?}");
    assert_eq!(warden.evaluation.alerts().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_devices_that_were_here_once_so_many_are_remembered_and_none_with_an_alert_goes() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    beats(&mut warden, 0..12, 38);
    let before = only(&warden);
    for number in 0..600 {
        let device = DeviceId::new(&format!("meter-{number}")).unwrap();
        let Record::Status(mut said) = status(at(20).observed(), DeviceState::Online) else {
            panic!("a status")
        };
        (said.device, said.kind) = (device, DeviceKind::GlucoseMeter);
        let changed = warden.evaluation.take(at(20), &envelope(20, vec![Record::Status(said)]));
        warden.note(changed);
    }
    let (kinds, whose) = (warden.evaluation.kinds().len(), warden.evaluation.whose().len());
    assert!(kinds <= 512 && whose <= 512, "{kinds} kinds, {whose} whose");
    assert_eq!(only(&warden), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_whom_no_binding_names_is_forgotten() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    warden.go_by(bound_from(0));
    beats(&mut warden, 0..12, 72);
    assert!(warden.evaluation.states().contains_key("patient:p-7"));
    warden.go_by(in_force(None).unwrap());
    assert!(!warden.evaluation.states().contains_key("patient:p-7"));
    assert_eq!(warden.evaluation.whose().get(&device()), Some(&Subject::Device(device())));
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nobody_entered_an_age_is_the_countys_to_say() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (told, mut order) = bound_from(0);
    order.profiles.insert(PatientKey::new("p-7").unwrap(), Profile::default());
    warden.go_by((told, order));
    beats(&mut warden, 0..12, 72);
    let open: Vec<_> = warden.evaluation.alerts().collect();
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_hears_what_is_committed_and_hears_it_once() {
    let edge = Edge::new();
    edge.was_out_of_reach();
    let now = edge.lookout.clock.now();
    let ago = |seconds: i64| Observed {
        at: WallTime::from_unix_ms(now.wall.unix_ms() - seconds * 1000),
        quality: now.quality,
    };
    let outbox = edge.lookout.outbox.clone();
    outbox.enqueue(NO_LINK, status(ago(12), DeviceState::Online)).await.unwrap();
    for seconds in (0..12).rev() {
        outbox.enqueue(NO_LINK, heart_rate(ago(seconds), 38)).await.unwrap();
    }
    let id = AlertId::new(&edge.lookout.site, "ecg-01", "hr_low", ago(11).at).to_string();
    let mut heard = Vec::new();
    for start in ["first", "second"] {
        let look = async {
            loop {
                let picture = edge.alerts.show().await.unwrap();
                if let Ok(call) = edge.calls.borrow_mut().try_recv() {
                    heard.push(said(&call));
                    call.taken.send(true).unwrap();
                }
                let Kept { signals, .. } = KeptFile::in_folder(edge.folder.path()).read();
                let is_kept = signals.count() == 1 && !signals.has_news();
                if let ([alert], true) = (picture.alerts.as_slice(), is_kept) {
                    return (picture.signals, alert.clone());
                }
                tokio::task::yield_now().await;
            }
        };
        let (signals, alert) = tokio::select! {
            found = tokio::time::timeout(Duration::from_secs(20), look) => found.expect(start),
            // It ends in the middle of whatever it does, like one that is killed.
            () = run(edge.lookout.clone()) => panic!("{start}: it ended by itself"),
        };
        assert!(signals && alert.signals, "{start}");
        assert_eq!((alert.id.as_str(), alert.state.as_str()), (id.as_str(), "active_unack"));
    }
    assert_eq!(heard.iter().filter(|(what, _)| what == "raise").count(), 1, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_go_on_in_an_outbox_that_began_anew_in_its_file() {
    let edge = Edge::new();
    let now = edge.lookout.clock.now();
    let outbox = &edge.lookout.outbox;
    outbox.enqueue(NO_LINK, status(now.observed(), DeviceState::Online)).await.unwrap();
    outbox.enqueue(NO_LINK, heart_rate(now.observed(), 38)).await.unwrap();
    let mut commits = outbox.commits();
    let named = commits.wait_for(Option::is_some).await.unwrap().clone();
    let path = named.unwrap();
    let (mut urgent, mut trend) = (0, 0);
    // Of an outbox that had many rows, under the same file.
    let file = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let place = serde_json::json!({"file": file, "behind": [1000, 1000]});
    let mut rows = Rows::open(&path, serde_json::from_value(place).unwrap(), now).unwrap();
    let both = async {
        while (urgent, trend) != (1, 1) {
            for envelope in rows.next(now).unwrap() {
                match envelope.lane {
                    Lane::Urgent => urgent += 1,
                    Lane::Trend => trend += 1,
                    Lane::Wave => {}
                }
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("both are handed out");
    // Whatever a disk has made of the newest row: what was handed out does not come again.
    let damage = "UPDATE trend SET opened_at = 'x' WHERE place = (SELECT max(place) FROM trend)";
    rusqlite::Connection::open(&path).unwrap().execute(damage, []).unwrap();
    assert_eq!(rows.next(now).unwrap().count(), 0);
}

/// What the county tells this box: ward-01's patient, over 65, from that second on.
fn bound_from(second: u64) -> (GoesBy, evaluation::Order) {
    let (_, order) = in_force(None).unwrap();
    let from = at(second).wall.unix_ms();
    let until = from + 1;
    let list = serde_json::json!({"version": 3, "bindings": [
        {"device": "ecg-01", "patient": "p-7", "bed": "3", "from": from},
        {"device": "oxi-01", "patient": "p-7", "bed": "9", "from": from, "until": until}]});
    let bindings: BindingList = read(&list.to_string(), "bindings");
    assert_eq!(bindings.bindings().len(), 2, "the list is understood");
    let told = GoesBy { rule_set: 2, bindings: bindings.version(), signals: true };
    (told, evaluation::Order { bindings, ..order })
}

#[tokio::test(flavor = "multi_thread")]
async fn which_rules_hold_the_county_is_told_as_they_come_and_go() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..40, 38);
    beats(&mut warden, 40..80, 46);
    let told: Vec<_> =
        warden.reports.iter().map(|told| (&*told.what, told.rules.join(" "))).collect();
    let expected = [
        ("raised", "HR-AD-LL"),
        (report::RULES_CHANGED, "HR-AD-LL HR-AD-L"),
        (report::RULES_CHANGED, "HR-AD-L"),
    ];
    assert_eq!(told, expected.map(|(what, rules)| (what, rules.to_owned())));
}

/// The county tells this box that somebody has that alert in hand.
fn in_hand(alert: &Alert, second: u64) -> (GoesBy, evaluation::Order) {
    let (told, order) = in_force(None).unwrap();
    let (by, reason, at) = ("wang".to_owned(), "at_bedside".to_owned(), at(second).wall);
    let said = InHand {
        id: *alert.id.as_bytes(),
        priority: alert.priority,
        recurrences: alert.recurrences,
        acknowledged: Some(Acknowledged { by, reason, at }),
        shelved: None,
    };
    (told, evaluation::Order { in_hand: [(alert.id, said)].into(), ..order })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_county_has_in_hand_does_not_signal_when_the_link_fails_and_is_not_told_back() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (good, now) = found();
    warden.look_at_reach(good, now);
    beats(&mut warden, 0..12, 38);
    let alert = only(&warden);
    warden.go_by(in_hand(&alert, 13));
    assert_eq!(only(&warden).owner(), Some("wang"));
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    assert_eq!(edge.heard(&mut warden), [call("present", 0)]);
    let told: Vec<_> = warden.reports.iter().map(|report| report.what.as_str()).collect();
    assert!(!told.contains(&"acknowledged"), "{told:?}");
    // More urgent than what they saw, or back again: somebody is wanted.
    beats(&mut warden, 12..60, 72);
    assert_eq!(warden.evaluation.alerts().count(), 0, "somebody had it in hand");
    beats(&mut warden, 60..75, 38);
    assert_eq!((only(&warden).id, only(&warden).recurrences), (alert.id, 1));
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_an_alert_on_the_shelf_the_county_is_told() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (good, now) = found();
    warden.look_at_reach(good, now);
    beats(&mut warden, 0..12, 38);
    let alert = only(&warden);
    let (goes_by, mut order) = in_hand(&alert, 13);
    let until = edge.lookout.clock.now().wall.unix_ms() + 3_600_000;
    let until = WallTime::from_unix_ms(until);
    let shelved = Some(Shelved { by: "wang".to_owned(), until });
    let said = InHand { acknowledged: None, shelved, ..order.in_hand[&alert.id].clone() };
    order.in_hand = [(alert.id, said)].into();
    warden.go_by((goes_by, order));
    assert_eq!(only(&warden).state, AlertState::Shelved);
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    warden.reports.clear();
    beats(&mut warden, 12..60, 72);
    beats(&mut warden, 60..75, 38);
    let told: Vec<_> = warden
        .reports
        .iter()
        .map(|told| (&*told.what, &*told.state, told.cleared_at.is_some()))
        .collect();
    let expected = [("cleared", "cleared_unack", true), ("recurred", "active_unack", false)];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_was_killed_knows_again_what_the_county_has_in_hand() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    beats(&mut warden, 0..12, 38);
    let alert = only(&warden);
    // Nothing was kept since: it reads the outbox again.
    let mut warden = edge.warden();
    warden.go_by(in_hand(&alert, 13));
    beats(&mut warden, 0..12, 38);
    assert_eq!((only(&warden).id, only(&warden).owner()), (alert.id, Some("wang")));
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    assert_eq!(edge.heard(&mut warden), [call("present", 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_starts_without_its_county_calls_nobody_for_what_that_has_in_hand() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..12, 38);
    let alert = only(&warden);
    assert_eq!(edge.heard(&mut warden), [call("raise", 1)]);
    warden.keep().await;
    drop(warden);
    // The policy was stored, and the power went before anything else.
    let mut warden = Warden::new(&edge.lookout, in_hand(&alert, 13));
    assert_eq!(only(&warden).owner(), Some("wang"));
    assert!(!warden.signals.is_on(alert.id));
    let calls = edge.heard(&mut warden);
    assert_eq!(calls.last().map(|(_, signals)| *signals), Some(0), "{calls:?}");
    let told: Vec<_> = warden.reports.iter().map(|report| report.what.as_str()).collect();
    assert!(!told.contains(&"acknowledged"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_alert_that_comes_back_the_county_is_told_only_that() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    beats(&mut warden, 0..12, 38);
    let (id, reason) = (only(&warden).id, AckReason::AtBedside);
    let seen = warden.evaluation.acknowledge(id, "li", reason, "", at(12).wall).unwrap();
    warden.note(vec![seen]);
    beats(&mut warden, 12..60, 72);
    assert_eq!(warden.evaluation.alerts().count(), 0);
    let told: Vec<_> = warden.reports.iter().map(|report| &*report.what).collect();
    assert_eq!(told, ["raised", "acknowledged", "cleared", "closed"]);
    assert_eq!(warden.reports[1].note, "", "nobody wrote anything");
    warden.keep().await;
    // An agent that starts again knows what was told too.
    let last = |warden: &Warden<'_>| warden.standings.get(&id).and_then(|known| known.last.clone());
    assert_eq!(last(&edge.warden()).unwrap().what, TimelineEvent::Closed);
    assert_eq!(last(&edge.warden()), last(&warden));
    beats(&mut warden, 60..75, 38);
    let told: Vec<_> = warden.reports.iter().map(|report| &*report.what).collect();
    assert_eq!(told, ["recurred"]);
    // Another one takes its place in the memory of the rules.
    beats(&mut warden, 75..120, 72);
    beats(&mut warden, 1000..1012, 38);
    warden.keep().await;
    let known: Vec<AlertId> = warden.standings.keys().copied().collect();
    let held: BTreeSet<AlertId> = warden.evaluation.remembered().map(|it| it.id).collect();
    assert_eq!(known, Vec::from_iter(held));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_when_the_agent_stops_is_not_kept_as_if_it_had_been_told() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    beats(&mut warden, 0..12, 38);
    assert!(!warden.held.is_empty());
    warden.stop().await;
    drop(warden);
    let mut warden = edge.warden();
    beats(&mut warden, 0..12, 38);
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    let told: Vec<_> = warden.reports.iter().map(|report| &*report.what).collect();
    assert_eq!(told, ["raised"]);
}

/// What the log says while something is done.
fn logged(what: impl FnOnce()) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(file.reopen().map(std::sync::Mutex::new).unwrap());
    tracing::subscriber::with_default(log.finish(), what);
    std::fs::read_to_string(file.path()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_makes_room_for_another_is_named_in_the_log_once() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let mut second = 0;
    let mut says = |code: u32| {
        second += 1;
        let alarm = DeviceAlarm {
            device: device(),
            channel: Channel::default(),
            phase: AlarmPhase::Start,
            kind: AlarmKind::Other,
            code: format!("code-{code}"),
            text: "a text".to_owned(),
            priority: None,
            latched: false,
            source: None,
            device_time: None,
            observed: at(second).observed(),
        };
        let changed =
            warden.evaluation.take(at(second), &envelope(second, vec![Record::Alarm(alarm)]));
        warden.note(changed);
    };
    let held = logged(|| (0..64).for_each(&mut says));
    assert!(!held.contains("more alarms up"), "{held}");
    // Each that is said again makes room by one that is said again next.
    let told = logged(|| (0..200).for_each(|turn| says(turn % 66)));
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("more alarms up")).collect();
    assert_eq!(lines.len(), 66, "{told}");
    for code in 0..66 {
        let name = format!("left_out=\"code-{code}|\"");
        assert_eq!(lines.iter().filter(|line| line.contains(&name)).count(), 1, "{name}: {told}");
    }
    assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("device=ecg-01")));
    assert!(!told.contains("a text"), "{told}");
}
