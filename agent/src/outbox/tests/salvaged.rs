//! What becomes of an outbox that is kept aside.

use super::{pending::LanePending, *};

#[test]
fn what_is_lost_with_a_file_found_damaged_at_the_start_is_counted_under_its_id() {
    type Case<'a> = (fn(&Path), &'a [&'a str], [&'a str; 2]);
    let cases: [Case<'_>; 5] = [
        (
            |path| break_page_of(path, "first-01"),
            &["trend 1-2 damaged", "trend 6-9 damaged", "trend 41-41 outbox_lost"],
            ["1-2", "1-31"],
        ),
        // Where the lane ends is not known.
        (
            |path| break_table(path, "trend"),
            &["trend 1-2 damaged", "trend 6-6 outbox_lost"],
            ["1-2", ""],
        ),
        // What was given up may have been counted in the row that is lost.
        (
            |path| break_table(path, "urgent"),
            &["urgent 1-1 outbox_lost", "trend 1-40 outbox_lost"],
            ["1-2", "1-37"],
        ),
        // What is acked is not known: the county has it once all the same.
        (|path| break_table(path, "settled"), &[], ["1-1", "1-40"]),
        // Each row says itself of which outbox it is.
        (|path| break_table(path, "meta"), &[], ["1-1", "1-37"]),
    ];
    for (break_it, expected, unacked) in cases {
        let mut bench = Bench::new(1 << 30);
        let old = forty_rows(&mut bench);
        break_it(&bench.desk.settings.path);
        let mut writer = bench.writer();
        writer.salvage_all();
        assert_ne!(writer.file.id(), old);
        let (counted, waits) =
            (counted(&writer, old), [Lane::Urgent, Lane::Trend].map(|lane| writer.unacked(lane)));
        let end = page_end(&counted);
        let shown = |text: &str| {
            text.replace("6-9", &format!("6-{end}")).replace("1-31", &format!("1-{}", 40 - end))
        };
        assert_eq!(counted, expected.iter().map(|text| shown(text)).collect::<Vec<_>>());
        assert_eq!(waits, unacked.map(shown));
        assert_eq!(aside(&bench), ["outbox.damaged-7.sqlite"]);

        // It is counted once.
        bench.queue = Queue::new(Duration::ZERO, jiff::tz::TimeZone::UTC);
        let mut writer = bench.writer();
        writer.salvage_all();
        assert_eq!(writer.drops().len(), expected.len());
    }
}

#[test]
fn what_is_lost_with_a_damaged_file_is_counted_also_when_the_agent_is_killed_before_that() {
    let mut bench = Bench::new(1 << 30);
    let old = forty_rows(&mut bench);
    break_page_of(&bench.desk.settings.path, "first-01");
    let mut writer = bench.writer();
    writer.salvage().unwrap();
    drop(writer);
    bench.queue = Queue::new(Duration::ZERO, jiff::tz::TimeZone::UTC);
    assert_eq!(aside(&bench), ["outbox.untold-7.sqlite"]);
    let mut writer = bench.writer();
    writer.salvage_all();
    let counted = counted(&writer, old);
    assert_eq!(counted.len(), 3);
    let left = 40 - page_end(&counted);
    assert_eq!(writer.unacked(Lane::Trend), format!("1-{left}"));
}

/// The last row of the broken page: a checksum takes four bytes or six, and a page has eight rows or
/// nine.
fn page_end(counted: &[String]) -> u64 {
    let last =
        |line: &String| line.strip_prefix("trend 6-")?.strip_suffix(" damaged")?.parse().ok();
    let end = counted.iter().find_map(last).unwrap_or(9);
    assert!((8..=9).contains(&end), "{counted:?}");
    end
}

#[test]
fn a_damaged_file_of_which_nothing_can_be_read_is_told_all_the_same() {
    let mut bench = Bench::new(1 << 30);
    forty_rows(&mut bench);
    fs::write(&bench.desk.settings.path, [0x55; 8192]).unwrap();
    let mut writer = bench.writer();
    writer.salvage_all();
    assert_eq!(counted(&writer, OutboxId::UNREADABLE), ["urgent 1-1 outbox_lost"]);
}

/// The agent is stopped after each step, or killed before what it told is known.
#[test]
fn a_damaged_file_is_taken_over_once_however_often_the_agent_is_stopped() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    for number in 0..400 {
        writer.hand_over(number, wave());
        writer.commit_all();
    }
    let old = writer.file.id();
    drop(writer);
    break_table(&bench.desk.settings.path, "identity");
    let mut starts = 0;
    loop {
        bench.queue = Queue::new(Duration::ZERO, jiff::tz::TimeZone::UTC);
        let mut writer = bench.writer();
        if writer.salvage.is_none() {
            break;
        }
        writer.salvage().unwrap();
        starts += 1;
    }
    assert!(starts > 10, "{starts} steps");
    let writer = bench.writer();
    assert_eq!(writer.unacked(Lane::Wave), "1-400");
    assert_eq!(counted(&writer, old), Vec::<String>::new());
    assert_eq!(aside(&bench), ["outbox.damaged-7.sqlite"]);
}

#[test]
fn what_was_written_beside_a_newer_file_is_sent_when_that_agent_is_back() {
    let mut bench = Bench::new(1 << 30);
    let path = bench.desk.settings.path.clone();
    bench.open().connection.execute_batch(NEWER).unwrap();
    let mut writer = bench.writer();
    writer.hand_over(1, trend());
    writer.commit_all();
    assert!(writer.file.path().ends_with("outbox.schema3.sqlite"));
    drop(writer);
    // The newer agent is this one.
    let back = "PRAGMA user_version = 3; UPDATE meta SET value = 3 WHERE key = 'schema'";
    rusqlite::Connection::open(&path).unwrap().execute_batch(back).unwrap();
    let mut writer = bench.writer();
    writer.salvage_all();
    assert_eq!((writer.file.path(), writer.unacked(Lane::Trend)), (path.as_path(), "1-1".into()));
    assert_eq!(writer.drops(), []);
}

/// The log of a file goes aside first, and the agent is killed before the file follows.
#[test]
fn a_move_that_was_cut_is_ended_before_the_file_is_opened_without_its_log() {
    let mut bench = Bench::new(1 << 30);
    let path = bench.desk.settings.path.clone();
    let mut writer = bench.writer();
    let old = writer.file.id();
    writer.file.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    for number in 0..4 {
        writer.hand_over(number, trend());
        writer.commit_all();
    }
    let [file, log] = ["", "-wal"].map(|suffix| fs::read(file::beside(&path, suffix)).unwrap());
    drop(writer);
    // Another outbox in the same folder is none of its business.
    let other = bench.folder.path().join("outbox.schema2.untold-5.sqlite-wal");
    fs::write(&other, "of another file").unwrap();
    let aside = bench.folder.path().join("outbox.untold-7.sqlite");
    fs::write(&path, file).unwrap();
    fs::write(file::beside(&aside, "-wal"), log).unwrap();

    let mut writer = Writer::new(bench.open(), &bench.desk, &mut bench.queue);
    assert_ne!(writer.file.id(), old);
    assert!(aside.exists());
    writer.salvage_all();
    assert_eq!((writer.unacked(Lane::Trend), writer.drops()), ("1-4".into(), vec![]));
    assert!(other.exists());
}

#[test]
fn what_is_left_of_a_told_file_stays_with_it_and_no_log_is_overwritten() {
    let bench = Bench::new(1 << 30);
    let named = |name: &str| bench.folder.path().join(name);
    fs::write(named("outbox.damaged-7.sqlite"), "told").unwrap();
    fs::write(named("outbox.untold-7.sqlite-wal"), "its log").unwrap();
    let file = bench.open();
    assert_eq!(fs::read(named("outbox.damaged-7.sqlite-wal")).unwrap(), b"its log");
    assert!(!named("outbox.untold-7.sqlite-wal").exists());

    // The file has a log of its own: it was opened since.
    fs::write(named("outbox.untold-8.sqlite-wal"), "of before").unwrap();
    file::move_aside(file.path(), WallTime::from_unix_ms(7), "of the test").unwrap();
    assert_eq!(fs::read(named("outbox.untold-8.sqlite-wal")).unwrap(), b"of before");
    assert!(named("outbox.untold-9.sqlite").exists());
}

#[test]
fn what_is_lost_with_a_file_that_does_not_say_its_id_is_counted_lane_by_lane() {
    let mut bench = Bench::new(1 << 30);
    forty_rows(&mut bench);
    break_table(&bench.desk.settings.path, "meta");
    break_page_of(&bench.desk.settings.path, "first-01");
    let mut writer = bench.writer();
    writer.salvage_all();
    let counted = counted(&writer, OutboxId::UNREADABLE);
    assert_eq!(counted.len(), 3, "{counted:?}");
    assert_eq!(counted[0], "trend 1-2 damaged");
    assert!(writer.unacked(Lane::Trend).starts_with("1-3"), "{}", writer.unacked(Lane::Trend));
}

/// One of the files that belong to it cannot be opened.
#[test]
fn a_file_that_cannot_be_opened_now_is_not_given_up_but_looked_at_again() {
    let mut bench = Bench::new(1 << 30);
    let old = forty_rows(&mut bench);
    break_page_of(&bench.desk.settings.path, "first-01");
    drop(bench.open());
    let in_the_way = bench.folder.path().join("outbox.untold-7.sqlite-wal");
    fs::create_dir(&in_the_way).unwrap();
    let mut writer = bench.writer();
    writer.salvage_all();
    writer.prune().unwrap();
    writer.salvage_all();
    assert_eq!(writer.drops(), []);

    fs::remove_dir(&in_the_way).unwrap();
    writer.prune().unwrap();
    writer.salvage_all();
    assert_eq!(counted(&writer, old).len(), 3);
    assert_eq!(aside(&bench), ["outbox.damaged-7.sqlite"]);
}

#[test]
fn a_file_beside_that_cannot_be_moved_does_not_keep_the_outbox_from_being_opened() {
    let mut bench = Bench::new(1 << 30);
    let id = bench.open().id();
    let named = |name: &str| bench.folder.path().join(name);
    fs::copy(&bench.desk.settings.path, named("outbox.schema2.sqlite")).unwrap();
    fs::write(named("outbox.schema2.sqlite-shm"), "").unwrap();
    fs::create_dir(named("outbox.schema2.untold-7.sqlite-shm")).unwrap();
    assert!(named("outbox.schema2.sqlite").exists());
    let mut writer = Writer::new(bench.open(), &bench.desk, &mut bench.queue);
    writer.hand_over(1, trend());
    writer.commit_all();
    assert_eq!((writer.file.id(), writer.unacked(Lane::Trend)), (id, "1-1".into()));
}

/// Of the longest envelopes there are, the one that is nearest to the limit.
#[test]
fn an_urgent_envelope_that_is_full_still_fits_under_another_number() {
    let outbox = OutboxId::from_bytes([9; 16]);
    let filled = (envelope::ENVELOPE_LEN_MAX - 500..envelope::ENVELOPE_LEN_MAX).filter_map(|len| {
        let mut pending = LanePending::new(Lane::Urgent, Duration::ZERO);
        let now = at(Duration::ZERO);
        pending.add(now, origin(1), &status("no frame"));
        pending.add(now, origin(2), &status(&"x".repeat(len)));
        let both = pending.batches().next().filter(|batch| batch.origins.len() == 2)?;
        Some(both.envelope.finish(outbox, Lane::Urgent, seq(1 << 40)))
    });
    let fullest = filled.max_by_key(Vec::len).unwrap();
    assert!(fullest.len() > envelope::ENVELOPE_LEN_MAX - 128, "{}", fullest.len());
    envelope::moved(&fullest, &[7; 32], outbox, seq(1 << 40)).unwrap();
}

#[tokio::test]
async fn who_asks_is_heard_also_when_there_is_always_something_due() {
    let mut bench = Bench::new(1 << 30);
    let (sender, mut commands) = mpsc::channel(COMMANDS_MAX);
    let clock = bench.desk.clock;
    let mut writer = bench.writer();
    // Now the look at the disk is due, which comes first.
    while clock.mono() < at(Duration::from_millis(5)).mono {
        tokio::task::yield_now().await;
    }
    let (reply, mut answer) = oneshot::channel();
    sender.try_send(Command::Stats(reply)).unwrap();
    assert!(writer.pass(&mut commands).await.unwrap());
    answer.try_recv().unwrap();
}
