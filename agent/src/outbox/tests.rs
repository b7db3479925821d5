//! The outbox keeps what it promises, on real files.

use super::{
    file::OutboxFile,
    queue::Queue,
    writer::{Desk, Writer},
    *,
};
use model::{
    device::{DeviceKind, DeviceState, DeviceStatus},
    metric::Metric,
    reading::{Occurrence, Reading, ReadingGroup},
    record::{DropCause, DropRecord},
    time::{ClockQuality, DeviceTime, MonoTime, Now, Observed, Uptime, WallTime},
    units::Unit,
    waveform::{SamplePeriod, WaveformBlock, WaveformFlags},
};
use std::{fs, path::Path};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uplink_proto::envelope::{self, Builder, Envelope};

mod cost;
mod full;
mod history;
mod older;
mod restored;
mod salvaged;
mod stepped;
mod torn;

const LINK: usize = 3;
const PAGE_LEN: usize = 1024;
/// What a newer agent does to a file.
const NEWER: &str =
    "PRAGMA user_version = 9; UPDATE meta SET value = 9 WHERE key = 'schema'; CREATE TABLE new (x)";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

fn at(mono: Duration) -> Now {
    let (uptime, quality) = (Uptime::default(), ClockQuality::Unknown);
    let (mono, wall) = (MonoTime::from_start(mono), WallTime::from_unix_ms(1_000_000));
    Now { mono, uptime, wall, quality }
}

fn observed() -> Observed {
    at(Duration::ZERO).observed()
}

fn device() -> DeviceId {
    DeviceId::new("bp-01").unwrap()
}

fn origin(number: u64) -> Origin {
    Origin { link: LINK, number }
}

fn trend() -> Record {
    trend_of("bp-01")
}

fn trend_of(device: &str) -> Record {
    let reading = Reading::number(Metric::SPO2, 97, Unit::PERCENT);
    let device = DeviceId::new(device).unwrap();
    Record::Readings(ReadingGroup::new(device, observed(), vec![reading]))
}

fn envelope_of(records: &[Record]) -> Builder {
    let mut envelope = Builder::new(WallTime::from_unix_ms(0), None);
    assert!(records.iter().all(|record| envelope.push(record, usize::MAX)));
    envelope
}

/// A cuff result that the device stamped.
fn spot(civil_ms: i64) -> Record {
    let reading = Reading::number(Metric::NIBP_SYS, 138, Unit::MM_HG);
    let mut group = ReadingGroup::new(device(), observed(), vec![reading])
        .at_device_time(Some(DeviceTime::Local { civil_ms }));
    group.occurrence = Occurrence::Spot;
    Record::Readings(group)
}

/// About 12 kB.
fn wave() -> Record {
    let mut number = 1_u32;
    let samples = std::iter::repeat_with(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i32::from(u16::try_from(number >> 16).unwrap())
    });
    Record::Waveform(WaveformBlock {
        device: device(),
        channel: model::id::Channel::default(),
        metric: Metric::ECG_WAVE_II,
        start: observed(),
        period: SamplePeriod::per_second(250),
        scale: None,
        samples: samples.take(4000).collect(),
        flags: WaveformFlags::default(),
    })
}

fn status(reason: &str) -> Record {
    Record::Status(DeviceStatus {
        device: device(),
        kind: DeviceKind::Cuff,
        driver: "tm2655".into(),
        state: DeviceState::Silent,
        reason: reason.into(),
        about: Default::default(),
        expected_interval_ms: None,
        observed: observed(),
    })
}

/// Everything a writer needs, without its thread: each step happens when the test says so.
struct Bench {
    folder: TempDir,
    desk: Desk,
    news: mpsc::Receiver<News>,
    queue: Queue,
}

impl Bench {
    fn new(max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (news, heard) = mpsc::channel(NEWS_MAX);
        let settings = settings(&folder.path().join("outbox.sqlite"), max_bytes);
        let queue = Queue::new(settings.commit_after, settings.time_zone.clone());
        let desk = Desk {
            settings,
            clock: Clock::start(),
            news,
            failing: watch::channel(None).0,
            committed: watch::channel(None).0,
            closing: CancellationToken::new(),
        };
        Self { folder, desk, news: heard, queue }
    }

    fn open(&self) -> OutboxFile {
        file::open(&self.desk.settings.path, WallTime::from_unix_ms(7)).unwrap()
    }

    fn writer(&mut self) -> Writer<'_> {
        let file = self.open();
        Writer::new(file, &self.desk, &mut self.queue)
    }

    fn heard(&mut self) -> Vec<News> {
        std::iter::from_fn(|| self.news.try_recv().ok()).collect()
    }
}

fn settings(path: &Path, max_bytes: u64) -> OutboxSettings {
    OutboxSettings {
        path: path.to_owned(),
        commit_after: Duration::from_secs(3600),
        max_bytes,
        time_zone: jiff::tz::TimeZone::UTC,
    }
}

impl Writer<'_> {
    fn hand_over(&mut self, number: u64, record: Record) {
        self.take(Command::Record(origin(number), Box::new(record))).unwrap();
    }

    /// Commits whatever waits, due or not; acks when they have waited long enough.
    fn commit_all(&mut self) {
        self.queue.hurry(MonoTime::START);
        self.commit().unwrap();
    }

    fn forget(&mut self, lane: Lane, first: u64, last: u64) {
        let (outbox, first, last) = (self.file.id(), seq(first), seq(last));
        self.take(Command::Forget { outbox, lane, first, last }).unwrap();
    }

    fn damaged(&mut self, lane: Lane, number: u64) {
        self.take(Command::Damaged(self.file.id(), lane, seq(number))).unwrap();
    }

    /// A minute later: the acks that wait are written with what is pruned.
    fn write_acks(&mut self) {
        self.prune().unwrap();
    }

    /// Takes over everything that is kept aside.
    fn salvage_all(&mut self) {
        while self.salvage.is_some() {
            self.salvage().unwrap();
        }
    }

    fn committed(&mut self) -> watch::Receiver<u64> {
        let (told, hears) = watch::channel(0);
        self.take(Command::Watch(LINK, told)).unwrap();
        hears
    }

    /// From now on the disk is full, or no longer.
    fn set_disk_full(&self, full: bool) {
        let pages = if full { 1 } else { 1 << 30 }; // Never below what the file has.
        self.file
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .unwrap();
    }

    fn decoded(&self, lane: Lane, number: u64) -> Option<Vec<Record>> {
        let bytes = Reader::open(self.file.path()).unwrap().row(lane, seq(number)).unwrap()?;
        Some(Envelope::decode(&bytes).unwrap().envelope.records)
    }

    fn unacked(&self, lane: Lane) -> String {
        self.file.lane(lane).unacked.to_string()
    }

    fn drops(&self) -> Vec<DropRecord> {
        let last = self.file.lane(Lane::Urgent).next.get();
        let records = (1..last).filter_map(|number| self.decoded(Lane::Urgent, number)).flatten();
        records
            .filter_map(|record| match record {
                Record::Dropped(drop) => Some(drop),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn urgent_is_due_at_once_trend_later_and_what_is_nearly_due_goes_along() {
    let commit_after = Duration::from_millis(250);
    let mut queue = Queue::new(commit_after, jiff::tz::TimeZone::UTC);
    let ms = |ms| at(Duration::from_millis(ms));
    let none = |_: &DeviceId| Vec::new();
    queue.add(ms(0), NO_LINK, wave(), none);
    assert_eq!(queue.due(), Some(ms(900).mono));
    queue.add(ms(100), NO_LINK, trend(), none);
    assert_eq!(queue.due(), Some(ms(350).mono));
    queue.add(ms(310), NO_LINK, status("no frame"), none);
    assert_eq!(queue.due(), Some(ms(310).mono));
    let ripe_at = |at| queue.lanes.each_ref().map(|lane| queue.is_ripe(lane, ms(at).mono));
    // A wave that has waited as long as trend does, too.
    assert_eq!((ripe_at(240), ripe_at(310)), ([false; 3], [true; 3]));
}

#[test]
fn a_link_hears_of_a_commit_only_after_it_cursor_included() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    let told = writer.committed();
    writer.set_disk_full(true);
    // More than the free space of the pages that are there.
    writer.hand_over(1, wave());
    writer.take(Command::Remember(origin(2), device(), Cursor(vec![7]))).unwrap();
    writer.commit_all();
    assert_eq!(*told.borrow(), 0);
    assert!(writer.file.cursor(&device()).unwrap().is_none());
    assert!(writer.decoded(Lane::Wave, 1).is_none());

    // A cursor alone waits too.
    writer.set_disk_full(false);
    writer.commit().unwrap();
    assert_eq!(*told.borrow(), 2);
    assert_eq!(writer.file.cursor(&device()).unwrap(), Some(Cursor(vec![7])));
    assert!(writer.decoded(Lane::Wave, 1) == Some(vec![wave()]));
    writer.take(Command::Remember(origin(3), device(), Cursor(vec![8]))).unwrap();
    assert_eq!(*told.borrow(), 2);
    writer.commit().unwrap();
    assert_eq!(*told.borrow(), 3);
}

#[test]
fn a_repeat_of_a_spot_reading_is_not_recorded_also_after_a_restart() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    writer.hand_over(1, spot(1000));
    writer.hand_over(2, spot(1000));
    writer.hand_over(3, spot(2000));
    writer.commit_all();
    assert_eq!(writer.decoded(Lane::Urgent, 1).unwrap().len(), 2);

    bench.queue = Queue::new(Duration::ZERO, jiff::tz::TimeZone::UTC);
    let mut writer = bench.writer();
    let told = writer.committed();
    writer.hand_over(1, spot(2000));
    assert_eq!(*told.borrow(), 1);
    writer.commit_all();
    assert_eq!(writer.unacked(Lane::Urgent), "1-1");
}

/// "A full meter has at most 1000 records", and reports all of them when its numbers began anew.
#[test]
fn a_full_meter_that_reports_everything_again_is_recorded_once() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    (0..1000).for_each(|number| writer.hand_over(1, spot(number)));
    writer.commit_all();
    let before = writer.unacked(Lane::Urgent);
    (0..1000).for_each(|number| writer.hand_over(2, spot(number)));
    writer.commit_all();
    assert_eq!(writer.unacked(Lane::Urgent), before);
}

#[test]
fn rows_and_the_record_of_their_drop_go_in_one_transaction() {
    let max_bytes = 512 << 10;
    let mut bench = Bench::new(max_bytes);
    let mut writer = bench.writer();
    for number in 0..100 {
        writer.hand_over(number, wave());
        writer.hand_over(number, trend());
        writer.commit_all();
    }
    let used = retention::bytes(&writer.file.connection).unwrap();
    assert!(used <= max_bytes, "{used} bytes are used");
    let drops = writer.drops();
    let kept: uplink_proto::ranges::RangeSet = writer.unacked(Lane::Wave).parse().unwrap();
    let mut counted = kept.clone();
    drops.iter().for_each(|drop| counted.insert_range(drop.first, drop.last));
    assert_eq!(counted.to_string(), "1-100");
    let of_drops: u64 = drops.iter().map(|drop| drop.last.get() - drop.first.get() + 1).sum();
    assert_eq!(of_drops + kept.count(), 100);
    assert!(drops.iter().all(|drop| drop.lane == Lane::Wave && drop.outbox.is_none()));
    assert_eq!(writer.unacked(Lane::Trend), "1-100");
    drop(writer);
    let heard = bench.heard();
    let told = |news: &&News| matches!(news, News::Dropped { lane: Lane::Wave, .. });
    assert_eq!(heard.iter().filter(told).count(), drops.len());

    // What the file says is what was kept in memory.
    let file = bench.open();
    assert_eq!(file.lane(Lane::Wave).unacked, kept);
}

#[test]
fn a_drop_that_cannot_be_counted_does_not_happen() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    writer.hand_over(1, wave());
    writer.commit_all();
    writer.file.connection.execute_batch("DROP TABLE urgent").unwrap();
    let mut change = writer.file.change(at(DAY)).unwrap();
    change.give_up_oldest(Lane::Wave, (seq(1), seq(1)), (1, 1), DropCause::OutboxFull).unwrap();
    assert!(change.commit().is_err());
    assert_eq!(writer.unacked(Lane::Wave), "1-1");
    assert!(writer.decoded(Lane::Wave, 1) == Some(vec![wave()]));
}

#[test]
fn drop_records_outlive_the_urgent_rows_they_are_in() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    writer.hand_over(1, wave());
    writer.commit_all();
    for (lane, first) in [(Lane::Wave, 1), (Lane::Urgent, 1), (Lane::Urgent, 2)] {
        let mut change = writer.file.change(at(DAY)).unwrap();
        change
            .give_up_oldest(lane, (seq(first), seq(first)), (1, 1), DropCause::OutboxFull)
            .unwrap();
        change.commit().unwrap();
    }
    let lanes: Vec<Lane> = writer.drops().iter().map(|drop| drop.lane).collect();
    assert_eq!(lanes, [Lane::Wave, Lane::Urgent, Lane::Urgent]);
    assert_eq!(writer.unacked(Lane::Urgent), "3-3");
}

#[test]
fn while_the_disk_takes_nothing_what_waits_is_bounded_and_each_loss_is_counted() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    writer.hand_over(0, trend());
    writer.hand_over(1, status("before"));
    for number in 2..1200 {
        writer.hand_over(number, wave());
        assert!(writer.queue.make_room());
    }
    let waiting: usize = writer.queue.lanes.iter().map(pending::LanePending::len).sum();
    assert!(waiting <= 8 << 20, "{waiting} bytes wait");
    writer.commit_all();
    let [drop] = &writer.drops()[..] else { panic!("{:?}", writer.drops()) };
    assert_eq!((drop.lane, drop.cause, drop.first), (Lane::Wave, DropCause::DiskFull, seq(1)));
    let next = writer.file.lane(Lane::Wave).next.get();
    assert_eq!(writer.unacked(Lane::Wave), format!("{}-{}", drop.last.next(), next - 1));
    assert_eq!(writer.unacked(Lane::Trend), "1-1");

    // Urgent records are not given up: whoever brings them has to wait.
    let long = "x".repeat(60_000);
    for number in 0..150 {
        writer.hand_over(number, status(&long));
    }
    assert!(!writer.queue.make_room());
    writer.commit_all();
    assert!(writer.queue.make_room());
    assert_eq!(writer.drops().len(), 1);
}

#[test]
fn on_a_full_disk_what_the_county_has_makes_room_also_when_its_acks_still_wait() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    for number in 1..=20 {
        writer.hand_over(number, wave());
        writer.commit_all();
    }
    writer.set_disk_full(true);
    writer.forget(Lane::Wave, 1, 20);
    writer.hand_over(21, wave());
    writer.commit_all();
    assert_eq!(writer.unacked(Lane::Wave), "", "the disk was not full");
    writer.commit_all();
    assert_eq!(writer.unacked(Lane::Wave), "21-21");
    assert!(writer.decoded(Lane::Wave, 20).is_none());
    assert_eq!((writer.drops(), writer.queue.due()), (vec![], None));
}

#[test]
fn acks_wait_for_the_next_commit_and_are_forgotten_after_a_day_of_running() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    for number in 1..=5 {
        writer.hand_over(number, trend());
        writer.commit_all();
    }
    for number in [1, 2, 4] {
        writer.forget(Lane::Trend, number, number);
    }
    assert_eq!(writer.unacked(Lane::Trend), "3-3,5-5");
    let rows = |writer: &Writer<'_>, question| -> i64 {
        writer.file.connection.query_row(question, [], |row| row.get(0)).unwrap()
    };
    let acked = "SELECT coalesce(sum(last - first + 1), 0) FROM settled WHERE acked_s IS NOT NULL";
    let count = |writer: &Writer<'_>| rows(writer, acked);
    writer.hand_over(6, trend());
    writer.commit_all();
    assert_eq!(count(&writer), 0);
    assert!(writer.queue.due().is_some());
    writer.prune().unwrap();
    assert_eq!((count(&writer), writer.queue.due()), (3, None));

    // The wall clock is of no account; a restart does not make anything younger or older.
    let prune = |file: &mut OutboxFile, mono| {
        let ran_s = file.ran_s(MonoTime::from_start(mono));
        let change = file.change(at(mono)).unwrap();
        change.note_time().unwrap();
        retention::prune(&change, ran_s).unwrap();
        change.commit().unwrap();
    };
    prune(&mut writer.file, DAY / 2);
    assert_eq!(count(&writer), 3);
    let mut writer = bench.writer();
    prune(&mut writer.file, DAY / 4);
    assert_eq!(count(&writer), 3);
    prune(&mut writer.file, DAY / 4 * 3);
    assert_eq!(count(&writer), 0);
    assert_eq!(writer.unacked(Lane::Trend), "3-3,5-6");
    assert_eq!(rows(&writer, "SELECT count(*) FROM trend"), 3);
    assert_eq!(bench.open().lane(Lane::Trend).unacked.to_string(), "3-3,5-6");
}

#[test]
fn space_goes_back_to_the_file_system() {
    let bench = Bench::new(1 << 30);
    let file = bench.open();
    let pages =
        |name| file.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    file.connection
        .execute_batch(
            "INSERT INTO wave VALUES (1, 0, zeroblob(24000000), NULL); DELETE FROM wave;",
        )
        .unwrap();
    let before = pages("page_count");
    retention::give_back(&file.connection).unwrap();
    assert!(before - pages("page_count") >= 1024);
}

#[test]
fn a_restored_outbox_goes_on_under_a_new_id_and_its_drop_records_stay_with_the_old_one() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    for number in 1..=4 {
        writer.hand_over(number, trend());
        writer.commit_all();
    }
    writer.damaged(Lane::Trend, 3);
    writer.forget(Lane::Trend, 1, 1);
    writer.hand_over(5, trend());
    let old = writer.file.id();
    let (reply, mut answer) = oneshot::channel();
    writer.take(Command::StartAnew(reply)).unwrap();
    answer.try_recv().unwrap().unwrap();
    let new = writer.file.id();
    assert_ne!(old, new);
    // 2, 4 and the one that waited; 1 was acked and 3 given up.
    assert_eq!(
        (writer.unacked(Lane::Trend), writer.unacked(Lane::Urgent)),
        ("1-3".into(), "1-1".into())
    );
    assert_eq!(writer.file.lane(Lane::Trend).next, seq(4));

    let reader = Reader::open(writer.file.path()).unwrap();
    let bytes = reader.row(Lane::Urgent, seq(1)).unwrap().unwrap();
    let sent = envelope::moved(&bytes, &[7; 32], new, seq(1)).unwrap();
    let sent = Envelope::decode(&sent).unwrap().envelope;
    let [Record::Dropped(drop)] = &sent.records[..] else { panic!("{sent:?}") };
    assert_eq!((sent.outbox, drop.outbox, drop.first), (new, Some(old), seq(3)));
    let bytes = reader.row(Lane::Trend, seq(2)).unwrap().unwrap();
    assert_eq!(envelope::peek(&bytes).unwrap().seq, seq(4));
}

#[test]
fn a_row_that_cannot_be_read_is_counted_once() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    writer.hand_over(1, trend());
    writer.commit_all();
    for _ in 0..2 {
        writer.damaged(Lane::Trend, 1);
    }
    assert_eq!(writer.unacked(Lane::Trend), "");
    let [drop] = &writer.drops()[..] else { panic!("{:?}", writer.drops()) };
    assert_eq!((drop.lane, drop.cause), (Lane::Trend, DropCause::Damaged));
}

#[test]
fn the_present_begins_five_minutes_ago() {
    let mut bench = Bench::new(1 << 30);
    let mut file = bench.open();
    for second in [0, 100, 200, 400] {
        let mut change = file.change(at(Duration::from_secs(second))).unwrap();
        change.append(Lane::Trend, &envelope_of(&[trend()])).unwrap();
        change.commit().unwrap();
    }
    let live_from =
        |second| file.lane(Lane::Trend).live_from(at(Duration::from_secs(second)).mono).get();
    assert_eq!((live_from(400), live_from(450), live_from(800)), (2, 3, 5));
    drop(bench.heard());
}

#[test]
fn a_damaged_file_is_kept_aside_and_a_newer_one_is_left_alone() {
    let bench = Bench::new(1 << 30);
    let path = &bench.desk.settings.path;
    let first = bench.open().id();
    assert_eq!(bench.open().id(), first);
    fs::write(path, [0x55; 8192]).unwrap();
    assert_ne!(bench.open().id(), first);
    let aside = bench.folder.path().join("outbox.untold-7.sqlite");
    assert_eq!(fs::read(aside).unwrap(), [0x55; 8192]);

    bench.open().connection.execute_batch(NEWER).unwrap();
    let newer = fs::read(path).unwrap();
    let beside = bench.open();
    assert_eq!(beside.path(), bench.folder.path().join("outbox.schema3.sqlite"));
    assert_eq!(fs::read(path).unwrap(), newer);
    let id = beside.id();
    drop(beside);
    assert_eq!(bench.open().id(), id);
}

/// A file with 40 rows of trend, 3 to 5 acked.
fn forty_rows(bench: &mut Bench) -> OutboxId {
    let mut writer = bench.writer();
    for number in 1..=40 {
        writer.hand_over(number, trend_of(if number == 1 { "first-01" } else { "bp-01" }));
        writer.commit_all();
    }
    writer.forget(Lane::Trend, 3, 5);
    writer.write_acks();
    writer.hand_over(41, status("last words"));
    writer.commit_all();
    writer.file.id()
}

/// What the drop records of the file say, one `lane first-last cause` each.
fn counted(writer: &Writer<'_>, outbox: OutboxId) -> Vec<String> {
    let shown = |drop: DropRecord| {
        assert_eq!(drop.outbox, Some(outbox));
        format!("{} {}-{} {}", drop.lane, drop.first, drop.last, drop.cause.name())
    };
    writer.drops().into_iter().map(shown).collect()
}

fn aside(bench: &Bench) -> Vec<String> {
    let names = fs::read_dir(bench.folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with("-7.sqlite")).collect()
}

/// Overwrites the first page of a table; nobody may have the file open for writing.
fn break_table(path: &Path, table: &str) {
    let file = file::open(path, WallTime::from_unix_ms(0)).unwrap();
    let root: usize = file
        .connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| {
            row.get::<_, i64>(0).map(|page| usize::try_from(page).unwrap())
        })
        .unwrap();
    drop(file);
    break_page(path, root - 1);
}

/// Overwrites the page of rows in which these words are first.
fn break_page_of(path: &Path, words: &str) {
    const LEAF: u8 = 0x0d;
    let bytes = fs::read(path).unwrap();
    let has = |page: &[u8]| page.windows(words.len()).any(|window| window == words.as_bytes());
    let number = bytes.chunks(PAGE_LEN).position(|page| page[0] == LEAF && has(page)).unwrap();
    break_page(path, number);
}

fn break_page(path: &Path, number: usize) {
    let raw = fs::OpenOptions::new().write(true).open(path).unwrap();
    let place = u64::try_from(number * PAGE_LEN).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&raw, &[0x55; PAGE_LEN], place).unwrap();
}

/// A file so large that it is not checked at the start, with 50 rows of trend, the first of which
/// cannot be read.
fn large_and_broken(bench: &Bench) {
    let mut file = bench.open();
    file.connection
        .execute_batch("INSERT INTO wave VALUES (1, 0, zeroblob(70000000), NULL)")
        .unwrap();
    let mut change = file.change(at(Duration::ZERO)).unwrap();
    for device in ["first-01"].into_iter().chain(["bp-01"; 49]) {
        change.append(Lane::Trend, &envelope_of(&[trend_of(device)])).unwrap();
    }
    change.commit().unwrap();
    drop(file);
    break_page_of(&bench.desk.settings.path, "first-01");
}

#[test]
fn damage_that_pruning_or_making_room_meets_is_noticed_like_any_other() {
    for max_bytes in [1 << 30, 1] {
        let mut bench = Bench::new(max_bytes);
        large_and_broken(&bench);
        let acked = "INSERT INTO settled VALUES ('trend', 1, 50, -1000000, NULL)";
        bench.open().connection.execute_batch(acked).unwrap();
        let mut writer = bench.writer();
        let met = if max_bytes == 1 { writer.commit() } else { writer.prune() };
        assert!(met.is_err(), "limit of {max_bytes} bytes");
    }
}

/// No row is looked at when the file is opened, however many there are.
#[test]
fn a_row_that_is_broken_does_not_keep_a_large_file_from_being_opened() {
    let mut bench = Bench::new(1 << 30);
    large_and_broken(&bench);
    let mut writer = bench.writer();
    assert_eq!(writer.unacked(Lane::Trend), "1-50");
    assert!(Reader::open(writer.file.path()).unwrap().row(Lane::Trend, seq(1)).is_err());
    assert!(writer.decoded(Lane::Trend, 50).is_some());
    writer.damaged(Lane::Trend, 1);
    let [drop] = &writer.drops()[..] else { panic!("{:?}", writer.drops()) };
    assert_eq!((drop.first, drop.last, drop.cause), (seq(1), seq(1), DropCause::Damaged));
    assert_eq!(writer.unacked(Lane::Trend), "2-50");
}

/// The file is too large to be checked at the start: its damage shows at a commit.
#[tokio::test]
async fn damage_that_shows_later_is_survived_and_what_is_lost_is_counted() {
    let bench = Bench::new(1 << 30);
    let path = &bench.desk.settings.path;
    large_and_broken(&bench);
    let old = bench.open().id();
    break_table(path, "identity");

    let (outbox, mut thread, mut news) =
        Outbox::start(settings(path, 1 << 30), Clock::start()).unwrap();
    let mut told = outbox.committed(LINK).await.unwrap();
    outbox.enqueue(origin(1), spot(1000)).await.unwrap();
    told.wait_for(|number| *number == 1).await.unwrap();
    assert_eq!(news.recv().await, Some(News::Overflow));
    let stock = outbox.stock().await.unwrap();
    assert_ne!(stock.outbox, old);
    let is_told = || {
        let names = fs::read_dir(bench.folder.path()).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.starts_with("outbox.damaged-") && name.ends_with(".sqlite"))
    };
    let salvaged = async {
        while !is_told() {
            outbox.stats().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), salvaged).await.unwrap();
    assert!(thread.close(Duration::from_secs(60)).await);

    let mut bench = bench;
    let writer = bench.writer();
    assert_eq!(writer.file.id(), stock.outbox);
    let first = writer.decoded(Lane::Urgent, 1).unwrap();
    assert!(matches!(&first[0], Record::Readings(group) if group.occurrence == Occurrence::Spot));
    let kept = writer.file.lane(Lane::Trend).unacked.count();
    assert!((30..50).contains(&kept), "{kept} rows were not on the broken page");
    let lost = format!("trend 1-{} damaged", 50 - kept);
    let counted = counted(&writer, old);
    // The row of zeros that makes the file large, too.
    let damaged = counted.iter().filter(|drop| drop.ends_with("damaged"));
    assert_eq!(damaged.collect::<Vec<_>>(), [&lost, "wave 1-1 damaged"]);
    // It is too large to be looked at for what is missing unseen.
    assert_eq!(counted.len(), 7, "{counted:?}");
}

#[tokio::test]
async fn an_outbox_that_cannot_be_opened_says_so_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("data");
    let (outbox, mut thread, _news) =
        Outbox::start(settings(&missing.join("outbox.sqlite"), 1 << 30), Clock::start()).unwrap();
    outbox.enqueue(origin(1), status("kept")).await.unwrap();
    let mut failing = outbox.failing.clone();
    let why = failing.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(why.contains("check that the folder exists"), "{why}");
    fs::create_dir(&missing).unwrap();
    let stock = outbox.stock().await.unwrap();
    assert_eq!((outbox.failing(), stock.path), (None, missing.join("outbox.sqlite")));
    assert!(thread.close(Duration::from_secs(60)).await);
    let file = file::open(&missing.join("outbox.sqlite"), WallTime::from_unix_ms(0)).unwrap();
    assert_eq!(file.lane(Lane::Urgent).unacked.to_string(), "1-1");
}

/// Trend that never stops coming must not hold an urgent commit up.
#[tokio::test]
async fn an_urgent_record_is_committed_while_the_channel_never_empties() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.sqlite");
    let (outbox, mut thread, _news) =
        Outbox::start(settings(&path, 1 << 30), Clock::start()).unwrap();
    let mut told = outbox.committed(LINK).await.unwrap();
    outbox.enqueue(origin(1), status("urgent")).await.unwrap();
    let flood = async {
        loop {
            outbox.enqueue(NO_LINK, trend()).await.unwrap();
        }
    };
    tokio::select! {
        told = told.wait_for(|number| *number == 1) => drop(told.unwrap()),
        () = flood => {}
    }
    assert!(thread.close(Duration::from_secs(60)).await);
}
