//! What becomes of an outbox that is kept aside.

use super::{pending::LanePending, *};

#[test]
fn what_is_lost_with_a_file_found_damaged_at_the_start_is_counted_under_its_id() {
    type Case<'a> = (fn(&Path), &'a [&'a str], [&'a str; 2]);
    let cases: [Case<'_>; 4] = [
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
    ];
    for (break_it, expected, unacked) in cases {
        let mut bench = Bench::new(1 << 30);
        let old = forty_rows(&mut bench);
        break_it(&bench.desk.settings.path);
        let mut writer = bench.writer();
        writer.salvage_all();
        assert_ne!(writer.file.id(), old);
        assert_eq!(counted(&writer, old), expected);
        let waits = [Lane::Urgent, Lane::Trend].map(|lane| writer.unacked(lane));
        assert_eq!(waits, unacked);
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
    assert_eq!(counted(&writer, old).len(), 3);
    assert_eq!(writer.unacked(Lane::Trend), "1-31");
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
    let mut writer = bench.writer();
    // Now the look at the disk is due, which comes first.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let (reply, mut answer) = oneshot::channel();
    sender.try_send(Command::Stats(reply)).unwrap();
    assert!(writer.pass(&mut commands).await.unwrap());
    answer.try_recv().unwrap();
}
