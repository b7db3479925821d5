//! What goes on when there is no room: inside the limit, or on a disk that others fill.

use super::{disk::Space, *};

const PLENTY: Space = Space { free: 1 << 40, total: 1 << 40 };

#[test]
fn waves_and_trend_leave_the_reserved_part_to_urgent_records() {
    let max_bytes = 2 << 20;
    let mut bench = Bench::new(max_bytes);
    let mut writer = bench.writer();
    for number in 0..4000 {
        writer.hand_over(number, trend());
        if number % 10 == 0 {
            writer.hand_over(number, wave());
            writer.commit_all();
        }
    }
    let used = retention::bytes(&writer.file.connection).unwrap();
    assert!(used <= max_bytes / 16 * 15, "{used} bytes are used");
    let drops = writer.drops();
    assert!(drops.iter().all(|drop| drop.lane == Lane::Wave), "{drops:?}");

    // Urgent records need more than their part: trend makes way for them, and they stay.
    let long = "x".repeat(30_000);
    for number in 0..60 {
        writer.hand_over(number, status(&long));
        writer.commit_all();
    }
    let used = retention::bytes(&writer.file.connection).unwrap();
    assert!(used <= max_bytes, "{used} bytes are used");
    let drops = writer.drops();
    assert!(drops.iter().all(|drop| drop.lane != Lane::Urgent), "{drops:?}");
    assert!(writer.unacked(Lane::Urgent).starts_with("1-"));
}

#[test]
fn a_disk_that_others_fill_takes_urgent_records_only_and_what_is_not_stored_is_counted() {
    let mut bench = Bench::new(1 << 30);
    let clock = bench.desk.clock;
    let mut writer = bench.writer();
    let told = writer.committed();
    assert_eq!(writer.stats().free_pct, None, "nobody has looked");
    writer.take_space(PLENTY).unwrap();
    assert_eq!(writer.stats().free_pct, Some(100));
    writer.hand_over(1, trend());
    writer.hand_over(2, wave());
    writer.commit_all();
    writer.take_space(Space { free: 1 << 20, ..PLENTY }).unwrap();
    let give_up = |writer: &mut Writer<'_>, numbers: std::ops::Range<u64>| {
        for number in numbers {
            writer.hand_over(number, trend());
            writer.hand_over(number, wave());
        }
    };
    // The first ones are counted before a kill could hide them.
    give_up(&mut writer, 3..4);
    assert!(writer.queue.due().unwrap() <= clock.mono());
    writer.commit().unwrap();
    assert_eq!(writer.drops().len(), 2);
    // Not a row of drops for each of the others.
    give_up(&mut writer, 4..50);
    let due = writer.queue.due().unwrap();
    let soon = |s| clock.mono() + Duration::from_secs(s);
    assert!(soon(8) < due && due <= soon(10), "{due:?}");
    writer.hand_over(50, status("on"));
    writer.commit().unwrap();
    assert_eq!((writer.unacked(Lane::Urgent), *told.borrow()), ("1-2".into(), 50));
    writer.commit_all();
    assert!(writer.queue.due().is_none());
    let drops = writer.drops();
    let of = |lane| drops.iter().filter(|drop| drop.lane == lane).collect::<Vec<_>>();
    assert!(drops.iter().all(|drop| drop.cause == DropCause::DiskFull));
    for lane in [Lane::Trend, Lane::Wave] {
        let counted: Vec<_> = of(lane).iter().map(|drop| (drop.first, drop.last)).collect();
        assert_eq!(counted, [(seq(2), seq(2)), (seq(3), seq(48))]);
    }
    let says = writer.room.says();
    assert!(says.is_some_and(|says| says.contains("make room on the disk")), "{says:?}");

    writer.take_space(PLENTY).unwrap();
    writer.hand_over(60, trend());
    writer.hand_over(61, wave());
    writer.commit_all();
    let lanes = [Lane::Trend, Lane::Wave].map(|lane| writer.unacked(lane));
    assert_eq!((lanes, writer.room), (["1-1,49-49", "1-1,49-49"].map(Into::into), Room::Enough));
}

#[test]
fn on_a_full_disk_stored_waves_then_trend_make_way_for_urgent_records() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    for number in 0..40 {
        writer.hand_over(number, wave());
        writer.hand_over(number, trend());
        writer.commit_all();
    }
    writer.set_disk_full(true);
    let long = "x".repeat(60_000);
    for number in 0..4 {
        writer.hand_over(number, status(&long));
        writer.commit_all();
        writer.commit_all();
    }
    assert!(writer.queue.due().is_none());
    let drops = writer.drops();
    let is_counted =
        |drop: &DropRecord| (drop.lane, drop.cause) == (Lane::Wave, DropCause::DiskFull);
    assert!(!drops.is_empty() && drops.iter().all(is_counted), "{drops:?}");
    assert_eq!(writer.unacked(Lane::Trend), "1-40");
}

#[test]
fn how_long_it_holds_goes_by_rows_that_wait_the_limit_and_the_disk() {
    const MIB: u64 = 1 << 20;
    let mut bench = Bench::new(64 * MIB);
    let mut writer = bench.writer();
    for number in 0..300 {
        writer.hand_over(number, wave());
        writer.commit_all();
    }
    assert_eq!(writer.holds_s(Some(PLENTY)), None, "no evidence of a day");
    // It has run for two hours, in which that was all.
    writer.prune().unwrap();
    let ran = "UPDATE meta SET value = 7200 WHERE key = 'ran_s'";
    writer.file.connection.execute(ran, []).unwrap();
    let used = retention::bytes(&writer.file.connection).unwrap();
    let mut writer = bench.writer();
    let two_hours = u128::from(used);
    let check = |holds_s: Option<u64>, left: u64| {
        let expected = u64::try_from(7200 * u128::from(left) / two_hours).unwrap();
        let holds_s = holds_s.unwrap();
        assert!(holds_s.abs_diff(expected) <= expected / 20, "{holds_s} s, not {expected}");
    };
    check(writer.holds_s(Some(PLENTY)), 60 * MIB - used);
    // The disk leaves less than the limit.
    check(writer.holds_s(Some(Space { free: 256 * MIB + 10 * MIB, ..PLENTY })), 10 * MIB);
    writer.forget(Lane::Wave, 1, 300);
    writer.write_acks();
    check(writer.holds_s(Some(PLENTY)), 60 * MIB);
}

#[test]
fn an_outbox_kept_aside_for_want_of_room_is_not_looked_at_all_the_time() {
    let mut bench = Bench::new(1 << 30);
    forty_rows(&mut bench);
    break_table(&bench.desk.settings.path, "identity");
    let clock = bench.desk.clock;
    let mut writer = bench.writer();
    writer.take_space(Space { free: 1 << 20, ..PLENTY }).unwrap();
    // The one urgent row goes over before.
    (0..4).for_each(|_| writer.salvage().unwrap());
    assert!(writer.salvage_at > clock.mono() + Duration::from_secs(9));
    assert_eq!([Lane::Urgent, Lane::Trend].map(|lane| writer.unacked(lane)), ["1-1", ""]);
    writer.take_space(PLENTY).unwrap();
    writer.salvage_all();
    assert_eq!(writer.unacked(Lane::Trend), "1-37");
}
