//! Stations and pumps that are not heard any more, and those that only seem so.

use super::*;

#[test]
fn silence_is_reported_once_per_period() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.records.clear();
    bench.pass(120_000);
    assert_eq!(bench.states(), ["station-1 silent", "station-1-40864 silent"]);
    assert_eq!(bench.values(), ["pump_rate silent", "pump_vi silent"]);
    assert!(bench.last_sent().contains(":A"), "the session is opened again and again");
    bench.records.clear();
    bench.answer("5,50100,GNACK,0");
    bench.pass(600);
    bench.answer("5,50100,V3.30");
    bench.pass(600);
    assert!(bench.states().is_empty());
    bench.cycle(&[pump(6, "11", RUNNING)]);
    assert_eq!(bench.states(), ["station-1 online", "station-1-40864 online"]);
}

#[test]
fn pumps_whose_blocks_are_always_damaged_become_silent() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.records.clear();
    let mut bad = block(BED, &pump(240, "11", RUNNING), false);
    bad[30] ^= 1;
    bench.serve(40_000, |asked| opening(asked).or_else(|| (asked != "\u{6}").then(|| bad.clone())));
    assert_eq!(bench.states(), ["station-1 silent", "station-1-40864 silent"]);
    assert_eq!(bench.values(), ["pump_rate silent", "pump_vi silent"]);
}

#[test]
fn pumps_of_a_station_that_refuses_every_request_become_silent() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.records.clear();
    let refused = block(BED, "240,50100,GNERR,68", false);
    bench.serve(40_000, |asked| {
        opening(asked).or_else(|| asked.contains("MEM").then(|| refused.clone()))
    });
    assert_eq!(bench.states(), ["station-1 silent", "station-1-40864 silent"]);
}

#[test]
fn a_pump_whose_block_never_comes_becomes_silent_and_the_others_do_not() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING), pump(230, "13", SECOND)]);
    bench.records.clear();
    let first = block(BED, &pump(240, "11", RUNNING), true);
    bench.serve(60_000, |asked| {
        opening(asked).or_else(|| asked.ends_with("MEM:GET\u{3}00083\u{4}").then(|| first.clone()))
    });
    assert_eq!(bench.states(), ["station-1-36248 silent"]);
    assert!(bench.values().iter().filter(|value| *value == "pump_rate 5.00").count() > 5);
}

#[test]
fn a_slow_station_with_many_pumps_is_never_silent() {
    let mut bench = Bench::polling();
    for _ in 0..4 {
        for place in 0..24 {
            let slot = format!("1{:02}", place + 1);
            let serial = format!("INSERNUM,{};INRT,1.00;INA3,0", 1000 + place);
            bench.receive(&block(BED, &pump(230, &slot, &serial), place < 23));
            bench.pass(1_150);
        }
    }
    assert_eq!(bench.states().len(), 25);
    assert!(bench.states().iter().all(|state| state.ends_with("online")));
}

#[test]
fn one_answer_without_a_pump_does_not_remove_it_however_rarely_it_is_asked() {
    let device = DeviceId::new("station-1").unwrap();
    let mut bench = Bench::new(Bcc::new(device, Duration::from_secs(20)));
    bench.serve(3_000, opening);
    for missing in [false, true, false] {
        let other = block(BED, &pump(230, "13", SECOND), false);
        let both = block(BED, &pump(230, "11", RUNNING), true);
        let mut left = if missing { vec![other] } else { vec![other, both] };
        bench.serve(20_000, |_| left.pop());
    }
    let states = bench.states();
    assert!(states.iter().all(|state| state.ends_with("online")), "{states:?}");
}

#[test]
fn an_hour_without_an_answer_is_one_silence() {
    let mut bench = opened();
    bench.pass(3_600_000);
    assert_eq!(bench.states(), ["station-1 silent"]);
    assert!(bench.last_sent().contains(":A"));
}

#[test]
fn an_alarm_that_is_still_up_after_a_silence_is_said_again() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", BITS)]);
    bench.pass(60_000);
    bench.records.clear();
    bench.serve(10_000, |asked| {
        let all = || block(BED, &pump(300, "11", BITS), false);
        opening(asked).or_else(|| asked.contains("MEM").then(all))
    });
    assert_eq!(bench.states(), ["station-1 online", "station-1-40864 online"]);
    assert_eq!(bench.alarms(), [("ALARM1.10", AlarmPhase::Start)]);
}

#[test]
fn a_pump_that_an_answer_does_not_reach_is_asked_for_by_its_slot() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING), pump(230, "3O", SECOND)]);
    bench.records.clear();
    let first = block(BED, &pump(240, "11", RUNNING), true);
    let second = block(BED, &pump(240, "3O", SECOND), false);
    bench.serve(60_000, |asked| match asked {
        _ if asked.contains("MEM:GETSLOT#3O") => Some(second.clone()),
        _ if asked.contains("MEM:GET\u{3}") => Some(first.clone()),
        _ => opening(asked),
    });
    assert!(bench.states().is_empty(), "{:?}", bench.states());
    assert!(bench.values().iter().filter(|value| *value == "pump_rate 2.00").count() > 5);
}

#[test]
fn a_pump_whose_block_is_always_damaged_hides_no_other() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING), pump(230, "3O", SECOND)]);
    bench.records.clear();
    let mut bad = block(BED, &pump(240, "11", RUNNING), true);
    bad[30] ^= 1;
    let second = block(BED, &pump(240, "3O", SECOND), false);
    bench.serve(60_000, |asked| match asked {
        _ if asked.contains("MEM:GETSLOT#3O") => Some(second.clone()),
        _ if asked == "\u{6}" => None,
        _ => opening(asked).or_else(|| Some(bad.clone())),
    });
    assert_eq!(bench.states(), ["station-1-40864 silent"]);
    assert!(bench.values().iter().filter(|value| *value == "pump_rate 2.00").count() > 5);
}

#[test]
fn one_slot_that_does_not_answer_hides_no_other() {
    let mut bench = Bench::polling();
    let third = SECOND.replace("36248", "10007");
    bench.cycle(&[pump(230, "11", RUNNING), pump(230, "12", &third), pump(230, "13", SECOND)]);
    bench.records.clear();
    let first = block(BED, &pump(240, "11", RUNNING), true);
    let last = block(BED, &pump(240, "13", SECOND), false);
    bench.serve(60_000, |asked| match asked {
        _ if asked.contains("MEM:GETSLOT#13") => Some(last.clone()),
        _ if asked.contains("MEM:GET\u{3}") => Some(first.clone()),
        _ => opening(asked),
    });
    assert_eq!(bench.states(), ["station-1-10007 silent"]);
}

#[test]
fn slots_that_do_not_answer_hold_up_no_pump() {
    let mut bench = Bench::polling();
    let answer = ["12", "13", "14", "15"]
        .map(|slot| pump(230, slot, &SECOND.replace("36248", &format!("9{slot}"))));
    bench.cycle(&[&[pump(230, "11", RUNNING)][..], &answer].concat());
    bench.records.clear();
    let first = block(BED, &pump(240, "11", RUNNING), true);
    bench.serve(60_000, |asked| {
        let known = asked.contains("MEM:GET\u{3}").then(|| first.clone());
        known.or_else(|| opening(asked))
    });
    let states = bench.states();
    assert_eq!(states.len(), 4, "{states:?}");
    assert!(!states.contains(&"station-1-40864 silent".to_owned()));
}

#[test]
fn a_closed_port_takes_the_pumps_down() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.records.clear();
    bench.handle(SerialEvent::Closed);
    assert_eq!(bench.states(), ["station-1-40864 link_down"]);
    assert_eq!(bench.driver.next_timeout(), None);
}
