//! What the outbox costs the disk.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use super::*;

/// As many readings as a site with 20 devices says in a quarter of a second.
fn quarter_of_a_second() -> Vec<Record> {
    (0..17).map(|number| trend_of(&format!("bed-{number:02}"))).collect()
}

/// The write-ahead log tells: each page that a commit changes is written once, and again when it
/// goes into the file.
#[test]
fn a_commit_of_trend_writes_little_more_than_its_bytes() {
    const COMMITS: u64 = 400;
    let bench = Bench::new(1 << 30);
    let mut file = bench.open();
    file.connection
        .pragma_update_and_check(None, "wal_autocheckpoint", 0, |row| row.get::<_, i64>(0))
        .unwrap();
    let log = file::beside(file.path(), "-wal");
    let before = fs::metadata(&log).unwrap().len();
    let mut bytes = 0;
    for number in 0..COMMITS {
        let mut change = file.change(at(Duration::from_millis(250 * number))).unwrap();
        change.append(Lane::Trend, &envelope_of(&quarter_of_a_second())).unwrap();
        bytes += change.commit().unwrap().stored[0].len;
    }
    let written = fs::metadata(&log).unwrap().len() - before;
    let rows = u64::try_from(bytes).unwrap();
    println!(
        "{COMMITS} commits of {} bytes: {} bytes of log each, {:.1} pages",
        rows / COMMITS,
        written / COMMITS,
        f64::from(u32::try_from(written).unwrap())
            / f64::from(1048 * u32::try_from(COMMITS).unwrap()),
    );
    // Its own pages, one that was begun before, and what says where pages are.
    assert!(written / COMMITS < rows / COMMITS + 4 * 1048, "{} bytes", written / COMMITS);
}

/// `OUTBOX_MIB=2048 cargo test -p agent --lib a_large_outbox -- --nocapture`
#[test]
fn a_large_outbox_is_opened_without_looking_at_its_rows() {
    let mib: i64 = std::env::var("OUTBOX_MIB").map_or(80, |mib| mib.parse().unwrap());
    let rows = mib * 1024 * 1024 / 1600;
    let mut bench = Bench::new(1 << 40);
    let file = bench.open();
    let mut first = 1;
    while first <= rows {
        let last = rows.min(first + 50_000);
        let more = "WITH RECURSIVE n(x) AS (SELECT ?1 UNION ALL SELECT x + 1 FROM n WHERE x < ?2)
             INSERT INTO trend SELECT x, 0, randomblob(1500) FROM n";
        file.connection.execute(more, [first, last]).unwrap();
        first = last + 1;
    }
    drop(file);
    let len = fs::metadata(&bench.desk.settings.path).unwrap().len();
    let clock = bench.desk.clock;
    let began = clock.mono();
    let writer = bench.writer();
    let opened = clock.mono().since(began);
    assert_eq!(writer.unacked(Lane::Trend), format!("1-{rows}"));
    let reader = Reader::open(writer.file.path()).unwrap();
    let began = clock.mono();
    for place in (1..=rows).step_by(usize::try_from(rows / 1000).unwrap()) {
        let row = reader.row(Lane::Trend, seq(u64::try_from(place).unwrap())).unwrap();
        assert_eq!(row.unwrap().len(), 1500);
    }
    println!(
        "{} MiB, {rows} rows: opened in {opened:?}, 1000 rows read in {:?}",
        len >> 20,
        clock.mono().since(began)
    );
}
