//! A county that was restored from a backup gets again what is kept, and is told what is not.

use super::*;

impl Writer<'_> {
    fn lost_at_county(&mut self, first: u64, last: u64) -> rusqlite::Result<()> {
        let (outbox, lane) = (self.file.id(), Lane::Trend);
        let (reply, mut answer) = oneshot::channel();
        let (first, last) = (seq(first), seq(last));
        self.take(Command::LostAtCounty { outbox, lane, first, last, reply }).unwrap();
        answer.try_recv().unwrap()
    }
}

/// Ten rows: 1 to 3 were acked and are gone, 4 to 6 are acked on disk, 7 and 8 in memory only.
fn ten_rows(bench: &mut Bench) -> Writer<'_> {
    let mut writer = bench.writer();
    for number in 1..=10 {
        writer.hand_over(number, trend());
        writer.commit_all();
    }
    writer.forget(Lane::Trend, 1, 3);
    writer.write_acks();
    let change = writer.file.change(at(Duration::ZERO)).unwrap();
    retention::prune(&change, i64::MAX).unwrap();
    change.commit().unwrap();
    writer.forget(Lane::Trend, 4, 6);
    writer.write_acks();
    writer.forget(Lane::Trend, 7, 8);
    assert_eq!(writer.unacked(Lane::Trend), "9-10");
    writer
}

fn counted(writer: &Writer<'_>) -> Vec<(u64, u64, DropCause)> {
    let drops = writer.drops().into_iter();
    drops.map(|drop| (drop.first.get(), drop.last.get(), drop.cause)).collect()
}

#[test]
fn what_is_kept_waits_again_and_what_is_not_is_counted_however_often_it_is_told() {
    let mut bench = Bench::new(1 << 30);
    let path = bench.desk.settings.path.clone();
    let mut writer = ten_rows(&mut bench);
    let cause = DropCause::CountyRestored;
    // Whoever was killed before the answer tells it again, in other pieces.
    for (first, last, unacked, told) in [
        (5, 7, "5-7,9-10", vec![]),
        (2, 8, "4-10", vec![(2, 3, cause)]),
        (2, 8, "4-10", vec![(2, 3, cause)]),
        (1, 99, "4-10", vec![(2, 3, cause), (1, 1, cause)]),
    ] {
        writer.lost_at_county(first, last).unwrap();
        assert_eq!((writer.unacked(Lane::Trend).as_str(), counted(&writer)), (unacked, told));
        // What a kill now would leave.
        let copy = path.with_extension("killed");
        for suffix in ["", "-wal"] {
            fs::copy(file::beside(&path, suffix), file::beside(&copy, suffix)).unwrap();
        }
        let killed = file::open(&copy, WallTime::from_unix_ms(7)).unwrap();
        assert_eq!(killed.lane(Lane::Trend).unacked.to_string(), unacked);
        assert_eq!(killed.lane(Lane::Urgent).next, writer.file.lane(Lane::Urgent).next);
    }
    // The acks of before are not written any more, and the rows are as they were.
    writer.write_acks();
    assert_eq!(writer.unacked(Lane::Trend), "4-10");
    assert_eq!(writer.decoded(Lane::Trend, 7), Some(vec![trend()]));

    // Acked once more they are forgotten like any others.
    writer.forget(Lane::Trend, 4, 10);
    writer.write_acks();
    assert_eq!(bench.open().lane(Lane::Trend).unacked.to_string(), "");
}

#[test]
fn what_was_counted_to_a_county_that_lost_it_once_more_is_counted_again() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = ten_rows(&mut bench);
    writer.lost_at_county(1, 3).unwrap();
    writer.forget(Lane::Urgent, 1, 1);
    writer.lost_at_county(1, 3).unwrap();
    let cause = DropCause::CountyRestored;
    assert_eq!(counted(&writer), [(1, 3, cause), (1, 3, cause)]);
    assert_eq!(writer.unacked(Lane::Urgent), "2-2");
}

#[test]
fn where_it_cannot_be_written_nothing_has_changed_and_whoever_told_it_hears_so() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = ten_rows(&mut bench);
    writer.set_disk_full(true);
    // The pages that are there take some drop records more.
    while writer.lost_at_county(1, 8).is_ok() {
        writer.forget(Lane::Trend, 4, 8);
        writer.forget(Lane::Urgent, 1, 1_000_000);
    }
    let before = (writer.unacked(Lane::Trend), counted(&writer));
    assert!(writer.lost_at_county(1, 8).is_err());
    assert_eq!((writer.unacked(Lane::Trend), counted(&writer)), before);
    writer.set_disk_full(false);
    writer.lost_at_county(1, 8).unwrap();
    assert_eq!(writer.unacked(Lane::Trend), "4-10");
}

#[test]
fn an_urgent_row_that_was_altered_does_not_keep_the_rows_that_were_lost_from_waiting_again() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = ten_rows(&mut bench);
    writer.hand_over(11, status("on"));
    writer.commit_all();
    let outbox = writer.file.id();
    let altered = "UPDATE urgent SET bytes = zeroblob(40)";
    assert_eq!(writer.file.connection.execute(altered, []).unwrap(), 1);
    writer.lost_at_county(2, 8).unwrap();
    assert_eq!((writer.file.id(), writer.unacked(Lane::Trend)), (outbox, "4-10".into()));
    assert!(writer.file.lane(Lane::Urgent).unacked.contains(seq(1)), "the sender finds it");
}
