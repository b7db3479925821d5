//! Files that a disk has damaged: the agent starts all the same, sends nothing that was altered,
//! and each row that was committed is sent, acked or counted.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use uplink_proto::ranges::RangeSet;

/// Part of the disk that is written at once, at least.
const SECTOR_LEN: usize = 512;

/// What was committed, and what of it the county has.
struct Committed {
    outbox: OutboxId,
    rows: BTreeMap<(Lane, Seq), Vec<u8>>,
    acked: [RangeSet; 3],
    /// The files as they were then.
    file: Vec<u8>,
    log: Vec<u8>,
}

/// What became of it.
#[derive(Debug, Default, Eq, PartialEq)]
struct Account {
    sent: usize,
    counted: usize,
    acked: usize,
    /// Neither of them.
    silent: BTreeSet<(Lane, Seq)>,
    drops: Vec<(Lane, Seq, Seq, DropCause)>,
}

impl Committed {
    /// A file with rows in all lanes, some acked, some given up, some under their second number.
    /// Its newest rows are in the log if that is wanted.
    fn new(with_log: bool) -> Self {
        let mut bench = Bench::new(1 << 30);
        let mut writer = bench.writer();
        for number in 0..12 {
            writer.hand_over(0, record(Lane::Trend, number));
            writer.commit_all();
        }
        let (reply, _answer) = oneshot::channel();
        writer.take(Command::StartAnew(reply)).unwrap();
        for number in 0..40 {
            for lane in Lane::ALL {
                writer.hand_over(0, record(lane, number));
            }
            writer.commit_all();
            if number == 20 && with_log {
                writer.file.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            }
        }
        writer.damaged(Lane::Wave, 2);
        writer.forget(Lane::Trend, 20, 27);
        writer.forget(Lane::Urgent, 1, 3);
        writer.write_acks();
        let path = writer.file.path().to_owned();
        let reader = Reader::open(&path).unwrap();
        let mut rows = BTreeMap::new();
        for lane in Lane::ALL {
            let all = 1..writer.file.lane(lane).next.get();
            let rows_of = all.filter_map(|number| {
                Some(((lane, seq(number)), reader.row(lane, seq(number)).unwrap()?))
            });
            rows.extend(rows_of);
        }
        // The last one was given up, and is counted.
        let acked = ["1-3", "20-27", "2-2"].map(|ranges| ranges.parse().unwrap());
        let outbox = writer.file.id();
        drop(reader);
        if !with_log {
            drop(writer);
        }
        let log = fs::read(file::beside(&path, "-wal")).unwrap_or_default();
        assert_eq!(log.is_empty(), !with_log);
        Self { outbox, rows, acked, file: fs::read(path).unwrap(), log }
    }

    /// What becomes of it when the files are these.
    fn account(&self, file: &[u8], log: &[u8]) -> Account {
        let mut bench = Bench::new(1 << 30);
        let path = bench.desk.settings.path.clone();
        fs::write(&path, file).unwrap();
        fs::write(file::beside(&path, "-wal"), log).unwrap();
        let mut writer = bench.writer();
        writer.salvage_all();
        writer.hand_over(1, record(Lane::Urgent, 900));
        writer.commit_all();
        assert!(writer.queue.due().is_none(), "it does not write");
        let is_same = writer.file.id() == self.outbox;
        let reader = Reader::open(writer.file.path()).unwrap();
        let (mut sent, mut drops) = (BTreeSet::new(), Vec::new());
        for lane in Lane::ALL {
            let unacked = writer.file.lane(lane).unacked.ranges();
            for number in unacked.flat_map(|(first, last)| first.get()..=last.get()) {
                let Ok(Some(bytes)) = reader.row(lane, seq(number)) else {
                    drops.push((lane, seq(number), seq(number), DropCause::Damaged));
                    continue;
                };
                let envelope = Envelope::decode(&bytes).unwrap().envelope;
                match self.rows.iter().find(|(_, known)| **known == bytes) {
                    Some((key, _)) => drop(sent.insert(*key)),
                    None => assert!(
                        envelope.records.iter().all(is_of_the_test),
                        "altered: {envelope:?}"
                    ),
                }
                drops.extend(envelope.records.into_iter().filter_map(|record| match record {
                    Record::Dropped(drop) if is_everything(&drop) => {
                        Some((drop.lane, Seq::FIRST, seq(1 << 62), DropCause::OutboxLost))
                    }
                    Record::Dropped(drop) if is_of(&drop, self.outbox) => {
                        Some((drop.lane, drop.first, drop.last, drop.cause))
                    }
                    _ => None,
                }));
            }
        }
        let all = drops.iter().any(|drop| drop.2 == seq(1 << 62));
        let is_counted = |(lane, row): &(Lane, Seq)| {
            all || drops.iter().any(|(of, first, last, cause)| {
                let open = *cause == DropCause::OutboxLost && first == last;
                of == lane && first <= row && (row <= last || open)
            })
        };
        let mut account = Account::default();
        for key @ (lane, row) in self.rows.keys() {
            let settled = is_same && !writer.file.lane(*lane).unacked.contains(*row);
            if sent.contains(key) {
                account.sent += 1;
            } else if lane.of(&self.acked).contains(*row) {
                account.acked += 1;
            } else if is_counted(key) && !settled {
                account.counted += 1;
            } else {
                account.silent.insert(*key);
            }
        }
        Account { drops, ..account }
    }
}

fn record(lane: Lane, number: u64) -> Record {
    let device = DeviceId::new(&format!("{lane}-{number}")).unwrap();
    match (lane, status("no frame"), wave()) {
        (Lane::Urgent, Record::Status(status), _) => {
            Record::Status(DeviceStatus { device, ..status })
        }
        (Lane::Wave, _, Record::Waveform(block)) => {
            let samples = block.samples.into_iter().take(300).collect();
            Record::Waveform(WaveformBlock { device, samples, ..block })
        }
        _ => trend_of(device.as_str()),
    }
}

/// Nothing of an outbox could be read.
fn is_everything(drop: &DropRecord) -> bool {
    let DropRecord { outbox, lane, last, cause, .. } = drop;
    *outbox == Some(OutboxId::UNREADABLE)
        && (*lane, *last, *cause) == (Lane::Urgent, Seq::FIRST, DropCause::OutboxLost)
}

fn is_of(drop: &DropRecord, outbox: OutboxId) -> bool {
    drop.outbox.is_some_and(|of| of == outbox || of == OutboxId::UNREADABLE)
}

/// What the agent writes of itself, or the test to see whether it can.
fn is_of_the_test(record: &Record) -> bool {
    match record {
        Record::Dropped(_) => true,
        Record::Status(status) => status.device.as_str() == "urgent-900",
        _ => false,
    }
}

/// The same numbers for each run.
fn numbers() -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    })
}

#[test]
fn a_file_that_is_whole_is_left_as_it_is() {
    for with_log in [false, true] {
        let committed = Committed::new(with_log);
        let account = committed.account(&committed.file, &committed.log);
        assert_eq!((account.counted, account.silent.len()), (0, 0));
        assert_eq!((account.acked, account.sent), (12, committed.rows.len() - 12));
    }
}

#[test]
fn of_a_file_that_was_cut_off_anywhere_each_row_is_sent_or_counted() {
    let committed = Committed::new(false);
    for len in (SECTOR_LEN..committed.file.len()).step_by(SECTOR_LEN) {
        let account = committed.account(&committed.file[..len], &[]);
        assert!(account.silent.is_empty(), "cut at {len}: {account:?}");
    }
}

#[test]
fn no_flipped_bit_alters_what_is_sent_or_hides_a_row() {
    let committed = Committed::new(false);
    let mut numbers = numbers();
    for case in 0..160 {
        let mut file = committed.file.clone();
        let place = numbers.next().unwrap() % file.len();
        file[place] ^= if case % 3 == 0 { 0xff } else { 1 << (case % 8) };
        let account = committed.account(&file, &[]);
        assert!(account.silent.is_empty(), "byte {place}, case {case}: {account:?}");
    }
}

/// The end of the log may be missing as after any loss of power, and who sees the file cannot know.
#[test]
fn of_a_log_that_was_cut_off_what_is_left_is_sent() {
    let committed = Committed::new(true);
    let mut before = 0;
    for len in (0..committed.log.len()).step_by(SECTOR_LEN) {
        let account = committed.account(&committed.file, &committed.log[..len]);
        assert!(account.sent + account.acked >= before, "cut at {len}: {account:?}");
        before = account.sent + account.acked;
    }
    assert!(before > committed.rows.len() - 6, "{before}");
}

/// Behind a frame that is wrong SQLite believes nothing, whatever was committed there.
#[test]
fn no_flipped_bit_of_the_log_hides_more_than_the_last_commit() {
    let committed = Committed::new(true);
    let mut numbers = numbers();
    for case in 0..100 {
        let mut log = committed.log.clone();
        let place = numbers.next().unwrap() % log.len();
        log[place] ^= 1 << (case % 8);
        let account = committed.account(&committed.file, &log);
        // One of each lane.
        assert!(account.silent.len() <= 3, "byte {place}: {account:?}");
        let last = |(_, row): &(Lane, Seq)| row.get() >= 40;
        assert!(account.silent.iter().all(last), "byte {place}: {account:?}");
    }
}

/// What is acked is read before it is written anew, under a sum that would match.
#[test]
fn a_range_of_acked_rows_that_was_altered_is_not_believed() {
    let cases: [fn(&mut Writer<'_>) -> rusqlite::Result<()>; 3] = [
        |writer| retention::prune(&writer.file.change(at(Duration::ZERO))?, i64::MAX).map(drop),
        |writer| {
            let range = (seq(6), seq(6));
            file::settle(&writer.file.connection, Lane::Trend, range, Some(3600))
        },
        |writer| {
            let range = (seq(4), seq(4));
            file::unsettle(&writer.file.connection, Lane::Trend, range).map(drop)
        },
    ];
    for change in cases {
        let mut bench = Bench::new(1 << 30);
        forty_rows(&mut bench);
        let mut writer = bench.writer();
        let altered = "UPDATE settled SET last = last + 8, acked_s = 3600";
        assert_eq!(writer.file.connection.execute(altered, []).unwrap(), 1);
        assert!(change(&mut writer).is_err_and(|error| is_damage(&error)));
    }
}

/// A range that an older agent wrote has no sum.
#[test]
fn a_row_that_is_not_acked_is_not_deleted_whatever_a_range_without_sum_says() {
    let mut bench = Bench::new(1 << 30);
    forty_rows(&mut bench);
    let mut writer = bench.writer();
    assert_eq!(writer.unacked(Lane::Trend), "1-2,6-40");
    let altered = "UPDATE settled SET last = last + 8, sum = NULL";
    assert_eq!(writer.file.connection.execute(altered, []).unwrap(), 1);
    for limit in [2, 1000] {
        let change = writer.file.change(at(Duration::ZERO)).unwrap();
        change.delete_acked(i64::MAX, limit).unwrap();
        change.commit().unwrap();
    }
    assert!(writer.decoded(Lane::Trend, 5).is_none());
    assert!(writer.decoded(Lane::Trend, 6).is_some());
    drop(writer);
    assert_eq!(bench.writer().unacked(Lane::Trend), "1-2,6-40");
}
