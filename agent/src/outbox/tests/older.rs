//! Files of an older agent, and what `outbox inspect` says of files of every kind.

use super::*;
use rusqlite::{Connection, params};

const OLD_ID: [u8; 16] = [7; 16];
/// Rows of the trend lane that schema 1 had given a number.
const ROWS: u64 = 1300;

/// What schema 1 did with that number of the trend lane.
fn fate(number: u64) -> &'static str {
    match number {
        1..=40 => "pruned",
        41..=90 => "acked",
        700..=703 => "dropped",
        _ if number > 1290 => "dropped",
        _ if number.is_multiple_of(9) => "acked",
        _ => "waits",
    }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

fn old_bytes(lane: Lane, number: u64) -> Vec<u8> {
    let records = vec![if lane == Lane::Wave { wave() } else { trend_of(&format!("d-{number}")) }];
    let (outbox, opened_at) = (OutboxId::from_bytes(OLD_ID), WallTime::from_unix_ms(5));
    Envelope { outbox, lane, seq: seq(number), opened_at, uptime: None, records }.encode()
}

/// A file as the agent of schema 1 left it.
fn write_old(path: &Path) {
    let mut connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;").unwrap();
    let transaction = connection.transaction().unwrap();
    transaction.execute_batch(include_str!("../../../migrations/0001_outbox.sql")).unwrap();
    transaction.execute("INSERT INTO meta VALUES ('outbox_id', ?1)", [OLD_ID]).unwrap();
    transaction
        .execute_batch(
            "INSERT INTO meta VALUES ('connection', 12); INSERT INTO meta VALUES ('ran_s', 90000);
             INSERT INTO cursor VALUES ('bp-01', x'07');
             INSERT INTO identity (device, identity) VALUES ('bp-01', 'one');
             UPDATE lane SET next_seq = 3 WHERE lane = 'wave';
             PRAGMA user_version = 1;",
        )
        .unwrap();
    transaction
        .execute("UPDATE lane SET next_seq = ?1 WHERE lane = 'trend'", [integer(ROWS + 1)])
        .unwrap();
    let add = |lane: Lane, number: u64, acked_s: Option<i64>| {
        // An outbox that started anew kept the numbers its contents had.
        let content = integer(number) + if lane == Lane::Wave { 5000 } else { 20 };
        transaction
            .execute(
                "INSERT INTO content VALUES (?1, ?2)",
                params![content, old_bytes(lane, number)],
            )
            .unwrap();
        transaction
            .execute(
                "INSERT INTO envelope VALUES (?1, ?2, 5, ?3, ?4)",
                params![lane.name(), integer(number), acked_s, content],
            )
            .unwrap();
    };
    add(Lane::Wave, 1, None);
    for number in 1..=ROWS {
        match fate(number) {
            "acked" => add(Lane::Trend, number, Some(80_000)),
            "waits" => add(Lane::Trend, number, None),
            _ => {}
        }
    }
    transaction.commit().unwrap();
}

#[track_caller]
fn check_migrated(bench: &Bench) {
    let file = bench.open();
    assert_eq!(file.id(), OutboxId::from_bytes(OLD_ID));
    assert_eq!(file.cursor(&device()).unwrap(), Some(Cursor(vec![7])));
    assert_eq!(file.identities(&device()).unwrap(), ["one"]);
    assert_eq!((file.ran_s(MonoTime::START), file.next_connection().unwrap()), (90_000, 13));
    assert_eq!(file.lane(Lane::Urgent).next, Seq::FIRST);
    // 2 was given up.
    assert_eq!((file.lane(Lane::Wave).next, file.lane(Lane::Wave).unacked.count()), (seq(3), 1));
    let trend = file.lane(Lane::Trend);
    assert_eq!(trend.next, seq(ROWS + 1));
    let reader = Reader::open(file.path()).unwrap();
    for number in 1..=ROWS {
        let has_row = matches!(fate(number), "acked" | "waits");
        assert_eq!(trend.unacked.contains(seq(number)), fate(number) == "waits", "{number}");
        let bytes = reader.row(Lane::Trend, seq(number)).unwrap();
        assert_eq!(bytes, has_row.then(|| old_bytes(Lane::Trend, number)), "{number}");
    }
    let bytes = reader.row(Lane::Wave, seq(1)).unwrap();
    assert_eq!(bytes, Some(old_bytes(Lane::Wave, 1)));
    assert!(!migration::has_old_tables(&file.connection).unwrap());
    let kept: i64 = file
        .connection
        .query_row("SELECT min(acked_s) FROM settled", [], |row| row.get(0))
        .unwrap();
    assert!((80_000..=83_600).contains(&kept), "{kept}");
    let broken = file::what_is_broken(&file.connection).unwrap();
    assert_eq!(broken, None);
}

#[test]
fn the_file_of_an_older_agent_keeps_ids_numbers_and_bytes_wherever_its_migration_is_cut() {
    let mut cuts = 0;
    loop {
        let bench = Bench::new(1 << 30);
        let path = &bench.desk.settings.path;
        write_old(path);
        let mut connection = Connection::open(path).unwrap();
        let mut done = false;
        if cuts > 0 {
            migration::begin(&mut connection, 1).unwrap();
            done = (1..cuts).any(|_| !migration::step(&mut connection).unwrap());
        }
        drop(connection);
        check_migrated(&bench);
        cuts += 1;
        if done {
            break;
        }
    }
    // Three of rows of trend, one of waves, one that drops the tables, one that has nothing to do.
    assert_eq!(cuts, 8);
}

/// As the agent of schema 2 left it: nothing has a checksum.
#[test]
fn a_file_without_checksums_keeps_what_it_has_and_gets_them_from_then_on() {
    let mut bench = Bench::new(1 << 30);
    let path = bench.desk.settings.path.clone();
    let connection = Connection::open(&path).unwrap();
    for migration in [
        include_str!("../../../migrations/0001_outbox.sql"),
        include_str!("../../../migrations/0002_lanes.sql"),
        "DROP TABLE envelope; DROP TABLE content; DROP TABLE lane; PRAGMA user_version = 2;
         INSERT INTO settled VALUES ('trend', 1, 2, 7);
         INSERT INTO moved VALUES ('trend', 1, 10);
         INSERT INTO cursor VALUES ('bp-01', x'07');",
    ] {
        connection.execute_batch(migration).unwrap();
    }
    connection.execute("INSERT INTO meta VALUES ('outbox_id', ?1)", [OLD_ID]).unwrap();
    for number in 1..=4 {
        let row = params![integer(number) + 10, old_bytes(Lane::Trend, number)];
        connection.execute("INSERT INTO trend VALUES (?1, 5, ?2)", row).unwrap();
    }
    drop(connection);
    let summary = inspect::read(&path).unwrap().to_string();
    assert!(summary.contains("older: it is brought to schema 3"), "{summary}");

    let mut writer = bench.writer();
    writer.hand_over(1, trend());
    writer.commit_all();
    let file = &writer.file;
    assert_eq!(
        (file.id(), writer.unacked(Lane::Trend)),
        (OutboxId::from_bytes(OLD_ID), "3-5".into())
    );
    assert_eq!(file.cursor(&device()).unwrap(), Some(Cursor(vec![7])));
    let reader = Reader::open(file.path()).unwrap();
    for number in 1..=4 {
        let bytes = reader.row(Lane::Trend, seq(number)).unwrap();
        assert_eq!(bytes, Some(old_bytes(Lane::Trend, number)));
    }
    let sums = "SELECT count(sum) FROM trend";
    assert_eq!(file.connection.query_row(sums, [], |row| row.get(0)), Ok(1));
    let flip = "UPDATE trend SET opened_at = opened_at + 1 WHERE sum NOT NULL";
    file.connection.execute(flip, []).unwrap();
    assert!(reader.row(Lane::Trend, seq(5)).is_err());
}

#[test]
fn an_outbox_that_was_half_moved_and_is_damaged_is_counted_to_its_end() {
    let mut bench = Bench::new(1 << 30);
    let path = bench.desk.settings.path.clone();
    write_old(&path);
    let mut connection = Connection::open(&path).unwrap();
    migration::begin(&mut connection, 1).unwrap();
    migration::step(&mut connection).unwrap();
    drop(connection);
    let summary = inspect::read(&path).unwrap().to_string();
    assert!(
        summary.contains("older: it is brought to schema 3 when the agent starts"),
        "{summary}"
    );
    assert!(summary.contains("trend   next seq     1301"), "{summary}");

    let (loss, _) = loss::Loss::read(&path).unwrap();
    let lost: Vec<_> = loss.lanes.iter().map(|lost| lost.rows.highest().map(Seq::get)).collect();
    assert_eq!(lost, [None, Some(ROWS), Some(2)]);
    let mut writer = bench.writer();
    writer.hand_over(1, trend());
    writer.commit_all();
    assert_eq!(writer.file.lane(Lane::Trend).next, seq(ROWS + 2));
}

#[test]
fn inspect_says_what_a_file_is_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.sqlite");
    let said = || match inspect::read(&path) {
        Ok(summary) => summary.to_string(),
        Err(error) => error.to_string(),
    };
    let check = |expected: &[&str]| {
        let said = said();
        assert!(expected.iter().all(|words| said.contains(words)), "{said}");
    };
    check(&["cannot read the outbox", "check the name and who owns it"]);

    write_old(&path);
    check(&[
        "outbox 07070707070707070707070707070707 (schema 1)",
        "older: it is brought to schema 3 when the agent starts",
        "trend   next seq     1301  rows    1246",
        "wave    next seq        3  rows       1",
    ]);

    fs::remove_file(&path).unwrap();
    let mut bench = Bench::new(1 << 30);
    bench.desk.settings.path.clone_from(&path);
    forty_rows(&mut bench);
    check(&[
        "(schema 3), ",
        "good: the whole file was checked",
        "urgent  next seq        2  rows       1",
        "not acked      37: 1-2,6-40, the oldest of ",
    ]);
    let json = serde_json::to_value(inspect::read(&path).unwrap()).unwrap();
    assert_eq!((&json["state"], &json["lanes"][1]["rows"]), (&"good".into(), &40.into()));
    assert_eq!(json["file_bytes"], fs::metadata(&path).unwrap().len());

    let good = fs::read(&path).unwrap();
    bench.open().connection.execute_batch(NEWER).unwrap();
    check(&["has schema 9, this agent knows up to 3", "do not delete it"]);

    fs::write(&path, good).unwrap();
    break_page_of(&path, "first-01");
    check(&["damaged: ", "counts what may be lost with it", "not acked      37: 1-2,6-40\n"]);
    fs::write(&path, [0x55; 8192]).unwrap();
    check(&["damaged: file is not a database", "outbox 00000000000000000000000000000000"]);
    for other in [&[][..], b"CREATE TABLE x (y)"] {
        fs::remove_file(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(str::from_utf8(other).unwrap()).unwrap();
        drop(connection);
        fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        check(&["is no outbox; it is called outbox.sqlite"]);
    }
}
