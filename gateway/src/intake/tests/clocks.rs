//! What the county makes of a box whose clock nobody has set.

use super::*;
use crate::{clock::rfc3339, query::ReadingFilter};
use model::record::ClockChange;

/// The box began with 1970.
const BOOT: u32 = 7;

/// A moment `s` seconds after the boot, by the clock of the box.
fn in_1970(s: u64) -> WallTime {
    WallTime::from_unix_ms(i64::try_from(s).unwrap() * 1000)
}

/// And by the county's, which was at `NOW` an hour after the boot.
fn by_county(s: u64) -> WallTime {
    WallTime::from_unix_ms(NOW.unix_ms() + (i64::try_from(s).unwrap() - 3600) * 1000)
}

fn up(s: u64) -> Uptime {
    Uptime { boot: BOOT, ms: s * 1000 }
}

/// A heart rate seen when the box said `said`, in an envelope opened at that uptime.
fn seen(number: u64, said: WallTime, uptime: Uptime) -> Delivery {
    let reading = Reading::number(Metric::HR, 36, Unit::PER_MINUTE);
    seen_of(number, "ecg-01", reading, said, uptime)
}

fn seen_of(
    number: u64,
    device: &str,
    reading: Reading,
    said: WallTime,
    uptime: Uptime,
) -> Delivery {
    let observed = Observed { at: said, quality: ClockQuality::Unknown };
    let group = ReadingGroup::new(DeviceId::new(device).unwrap(), observed, vec![reading]);
    let envelope = Envelope {
        outbox: OUTBOX,
        lane: Lane::Trend,
        seq: seq(number),
        opened_at: said,
        uptime: Some(uptime),
        records: vec![Record::Readings(group)],
    };
    Delivery::Envelope(site(), Lane::Trend, envelope.encode())
}

fn said(uptime: Uptime, at: WallTime) -> Delivery {
    Delivery::Uptime { site: site(), uptime, at }
}

/// One transaction of a gateway that was just started: all it knows is in the database.
fn take_at(county: &mut County, now: WallTime, deliveries: &[Delivery]) -> Taken {
    let transaction = county.connection.transaction().unwrap();
    let taken = take(&transaction, deliveries, now, &county.rules).unwrap();
    transaction.commit().unwrap();
    taken
}

/// What the API tells of every reading: when the box said that it was, when it was, whether that is
/// doubtful, and its class.
fn told(county: &County) -> Vec<[Value; 4]> {
    let filter = ReadingFilter { limit: 100, ..ReadingFilter::default() };
    let list = query::readings(&county.connection, &filter).unwrap();
    let of_one = |one: &Value| {
        assert_eq!(one["placed_time"], one["measured_time"]);
        ["observed_time", "placed_time", "time_suspect", "freshness"].map(|name| one[name].clone())
    };
    list["readings"].as_array().unwrap().iter().map(of_one).collect()
}

fn row(by_box: WallTime, was: WallTime, suspect: bool, class: &str) -> [Value; 4] {
    let time = |at: WallTime| json!(rfc3339(at.unix_ms()));
    [time(by_box), time(was), json!(suspect), json!(class)]
}

#[test]
fn what_was_recorded_before_the_clock_was_set_is_placed_when_it_was() {
    let mut county = County::new();
    // An hour after the boot the network is there, and then the clock is set. The present comes first.
    let set = NOW;
    take_at(&mut county, NOW, &[said(up(3600), NOW), seen(4, set, up(3600))]);
    let backlog = [seen(1, in_1970(10), up(10)), seen(2, in_1970(20), up(20))];
    take_at(&mut county, NOW, &backlog);
    take_at(&mut county, NOW, &[seen(3, in_1970(3599), up(3599))]);
    let expected = [
        row(in_1970(10), by_county(10), false, "backfill"),
        row(in_1970(20), by_county(20), false, "backfill"),
        row(in_1970(3599), by_county(3599), false, "fresh"),
        row(set, NOW, false, "fresh"),
    ];
    assert_eq!(told(&county), expected);
}

#[test]
fn a_box_in_1970_warns_of_the_present_and_not_of_the_past() {
    let mut county = County::new();
    let alerts = |county: &County| county.texts("SELECT device FROM alert ORDER BY device");
    // Late news of ten seconds that would be an alert, had they been the present.
    let backlog: Vec<Delivery> = (0..20).map(|s| seen(s + 1, in_1970(s), up(s))).collect();
    take_at(&mut county, NOW, &[said(up(3600), NOW)]);
    take_at(&mut county, NOW, &backlog);
    assert!(alerts(&county).is_empty());
    for s in 0..20 {
        let now = by_county(3600 + s);
        take_at(&mut county, now, &[seen(100 + s, in_1970(3600 + s), up(3600 + s))]);
    }
    assert_eq!(alerts(&county), ["ecg-01"]);
}

#[test]
fn a_word_that_was_long_on_its_way_moves_nothing() {
    let mut county = County::new();
    take_at(&mut county, NOW, &[said(up(3600), NOW)]);
    let late = WallTime::from_unix_ms(NOW.unix_ms() + 60_000);
    let deliveries = [said(up(3601), late), seen(1, in_1970(3600), up(3600))];
    take_at(&mut county, late, &deliveries);
    assert_eq!(told(&county), [row(in_1970(3600), NOW, false, "fresh")]);
}

#[test]
fn a_boot_that_nobody_heard_of_is_in_doubt_and_never_the_present() {
    let mut county = County::new();
    let unheard = Uptime { boot: BOOT + 1, ms: 5000 };
    let future = WallTime::from_unix_ms(NOW.unix_ms() + 86_400_000);
    // The boot that is known began seconds ago: before that is no news of now.
    let known = WallTime::from_unix_ms(NOW.unix_ms() - 40_000);
    let sugar = Reading::number(Metric::GLU_CAP_PL, 30, Unit::MG_PER_DL);
    let backlog = [
        seen(1, in_1970(5), unheard),
        seen(2, future, unheard),
        seen_of(3, "glu-01", sugar, future, unheard),
    ];
    take_at(&mut county, NOW, &[said(up(40), NOW)]);
    take_at(&mut county, NOW, &backlog);
    let expected = [
        row(in_1970(5), in_1970(5), true, "backfill"),
        row(future, known, true, "backfill"),
        row(future, known, true, "backfill"),
    ];
    assert_eq!(told(&county), expected);
    assert!(county.texts("SELECT device FROM alert").is_empty());
}

#[test]
fn that_the_clock_of_a_box_was_set_is_told_with_the_site() {
    let mut county = County::new();
    let evidence = "the kernel says that it is synchronised".to_owned();
    let state = SiteState {
        online: true,
        connection: 1,
        agent_version: "0.1.0".into(),
        policy: None,
        upkeep: Upkeep::default(),
        outbox: OUTBOX,
        backlog: [0; 3],
        holds_s: None,
        clock: ClockQuality::Synchronised,
        clock_evidence: evidence.clone(),
        at: NOW,
        uptime: Some(up(3600)),
    };
    let state = Delivery::State { site: site(), bytes: state.encode(), retained: false };
    let observed = Observed { at: NOW, quality: ClockQuality::Synchronised };
    let change = ClockChange { before: in_1970(3600), evidence: evidence.clone(), observed };
    county.take(&[state, envelope(Lane::Urgent, 1, vec![Record::Clock(change)])]);
    let sites = query::sites(&county.connection, &BTreeMap::new(), NOW).unwrap();
    let told = &sites["sites"][0];
    assert_eq!(told["clock_evidence"], json!(evidence));
    assert_eq!(
        told["clock_changes"],
        json!([{
            "before": rfc3339(in_1970(3600).unix_ms()), "at": rfc3339(NOW.unix_ms()),
            "clock": "synchronised", "evidence": evidence, "received_time": rfc3339(NOW.unix_ms()),
        }])
    );
    // The state said it, too: no envelope is needed to know the boot.
    county.take(&[seen(1, in_1970(1), up(1))]);
    assert_eq!(self::told(&county), [row(in_1970(1), by_county(1), false, "backfill")]);
}
