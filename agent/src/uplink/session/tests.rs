//! What a session does with rows that cannot go out.

use super::*;
use crate::{
    clock::Clock,
    config,
    outbox::{Origin, Outbox, OutboxSettings},
    policy::PolicyKeeper,
    reach::ReachWatch,
    status::Board,
    supervisor::Worker,
};
use model::{
    id::Lane,
    record::{AgentStarted, Record},
};
use rusqlite::Connection as Sqlite;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uplink_proto::{ack::Proven, ranges::RangeSet};

const CONFIG: &str = r#"
site = "heping-01"
data_dir = "data"
[uplink]
broker = "broker.county.example:8883"
ca = "ca.crt"
cert = "heping-01.crt"
key = "heping-01.key"
[[device]]
id = "bp-01"
driver = "tm2655"
port = "/dev/ttyUSB1"
"#;
const LINK: usize = 0;
const ROOM: usize = 100_000;

/// An outbox with one urgent row for each of these lengths.
struct Bench {
    folder: TempDir,
    uplink: Uplink,
    thread: Worker,
}

impl Bench {
    async fn new(lens: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config::parse(CONFIG, Path::new("")).unwrap();
        let clock = Clock::start();
        let settings = OutboxSettings {
            path: folder.path().join("outbox.sqlite"),
            commit_after: Duration::ZERO,
            max_bytes: 1 << 30,
            time_zone: jiff::tz::TimeZone::UTC,
        };
        let (outbox, thread, news) = Outbox::start(settings, clock).unwrap();
        let mut told = outbox.committed(LINK).await.unwrap();
        for (number, len) in (1..).zip(lens) {
            let observed = clock.now().observed();
            let record = Record::Started(AgentStarted { version: "x".repeat(*len), observed });
            outbox.enqueue(Origin { link: LINK, number }, record).await.unwrap();
            told.wait_for(|committed| *committed == number).await.unwrap();
        }
        let board = Arc::new(Board::new(&config));
        let (site, ca) = (config.site.clone(), config.uplink.ca.clone());
        let policy = PolicyKeeper::open(site, ca, folder.path(), Arc::clone(&board));
        let uplink = Uplink {
            board,
            config: config.uplink,
            site: config.site,
            outbox,
            news: Arc::new(Mutex::new(news)),
            reach: ReachWatch::start(clock.now()),
            clock,
            policy: Arc::new(std::sync::Mutex::new(policy)),
            stopped: CancellationToken::new(),
        };
        Self { folder, uplink, thread }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("outbox.sqlite")
    }

    async fn session<'a>(&'a self, connection: &'a mut Connection) -> Session<'a> {
        let stock = self.uplink.outbox.stock().await.unwrap();
        Session::new(&self.uplink, stock, connection).await.unwrap()
    }

    async fn unacked(&self) -> String {
        let [urgent, _, _] = self.uplink.outbox.stock().await.unwrap().lanes;
        urgent.unacked.to_string()
    }
}

fn row(number: u64) -> Row {
    (Lane::Urgent, Seq::new(number).unwrap())
}

#[tokio::test]
async fn while_the_county_is_away_one_row_goes_out_at_a_time() {
    let bench = Bench::new(&[1, 1, 1]).await;
    let mut connection = Connection::to_nobody(ROOM);
    let mut session = bench.session(&mut connection).await;
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 2, 3]);
    for number in [1, 2, 3] {
        session.take(Heard::CountyAway(Some(row(number)))).unwrap();
    }
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 2, 3]);
    assert!(session.held_until.is_some());

    session.held_until = Some(MonoTime::START);
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 2, 3, 1]);
    session.take(Heard::Accepted(Some(row(1)))).unwrap();
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 2, 3, 1, 2, 3]);
    assert_eq!(bench.unacked().await, "1-3");
}

#[tokio::test]
async fn a_box_with_nothing_to_send_hears_that_the_county_is_back_by_its_state() {
    let bench = Bench::new(&[]).await;
    let mut connection = Connection::to_nobody(ROOM);
    let mut session = bench.session(&mut connection).await;
    session.take(Heard::CountyAway(None)).unwrap();
    assert!(bench.uplink.board.uplink_state().contains("the county service is away"));
    session.take(Heard::Accepted(None)).unwrap();
    assert_eq!(bench.uplink.board.uplink_state(), "online");

    // That the county listens does not mean that the broker takes readings.
    session.take(Heard::Refused(Some(row(1)), "NotAuthorized".into())).unwrap();
    session.take(Heard::Accepted(None)).unwrap();
    assert!(bench.uplink.board.uplink_state().contains("NotAuthorized"));
    assert!(session.held_until.is_some());
}

#[tokio::test]
async fn a_row_that_the_broker_does_not_take_is_kept_told_and_holds_nobody_up() {
    let bench = Bench::new(&[1, 150, 1, 1]).await;
    let mut connection = Connection::to_nobody(250);
    let mut session = bench.session(&mut connection).await;
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 3, 4]);
    session.take(Heard::Refused(Some(row(3)), "QuotaExceeded".into())).unwrap();
    assert_eq!((session.sender.aside(), session.sender.backlog()), (2, [4, 0, 0]));
    assert_eq!(bench.uplink.board.aside(), 2);

    session.connection.set_packet_max(ROOM);
    session.held_until = None;
    session.retry_aside();
    assert_eq!(session.sender.aside(), 0);
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 3, 4, 2, 3]);
    assert_eq!((bench.unacked().await.as_str(), bench.uplink.board.aside()), ("1-4", 0));
}

#[tokio::test]
async fn one_broken_row_is_counted_and_the_others_go_out() {
    let mut bench = Bench::new(&[1, 1, 1]).await;
    let file = Sqlite::open(bench.file()).unwrap();
    file.execute("UPDATE urgent SET bytes = x'00' WHERE place = 2", []).unwrap();
    let mut connection = Connection::to_nobody(ROOM);
    let mut session = bench.session(&mut connection).await;
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 3]);
    // 2 is gone, and 4 says so.
    assert_eq!(bench.unacked().await, "1-1,3-4");
    assert!(bench.thread.close(Duration::from_secs(60)).await);
}

#[tokio::test]
async fn a_file_that_gives_no_row_ends_the_session_and_loses_none() {
    let bench = Bench::new(&[1; 9]).await;
    let file = Sqlite::open(bench.file()).unwrap();
    file.execute_batch("ALTER TABLE urgent RENAME TO elsewhere").unwrap();
    let mut connection = Connection::to_nobody(ROOM);
    let mut session = bench.session(&mut connection).await;
    assert!(matches!(session.carry_out().await, Err(UplinkError::File(_))));
    assert!(session.connection.handed().is_empty());
    assert_eq!(bench.unacked().await, "1-9");
}

/// What the county says to the rows that are settled there, and to those that came in.
fn ack(outbox: OutboxId, settled: &str, proven: Vec<Proven>) -> Heard {
    let lanes = Lane::ALL.map(|lane| match lane {
        Lane::Urgent => (lane, settled.parse().unwrap()),
        _ => (lane, RangeSet::default()),
    });
    let ack = Ack { outbox, lanes: lanes.into(), proven, errors: Vec::new(), by_turns: false };
    Heard::Ack(ack.encode())
}

#[tokio::test]
async fn a_county_that_was_restored_gets_again_what_it_had_acked() {
    let bench = Bench::new(&[1, 1, 1]).await;
    let mut connection = Connection::to_nobody(ROOM);
    let mut session = bench.session(&mut connection).await;
    session.carry_out().await.unwrap();
    let proven = [1, 2, 3].map(|number| {
        let bytes = session.reader.row(Lane::Urgent, row(number).1).unwrap().unwrap();
        Proven { lane: Lane::Urgent, seq: row(number).1, proof: Proof::of(&hash(&bytes)) }
    });
    session.take(ack(session.outbox, "1-3", proven.into())).unwrap();
    session.carry_out().await.unwrap();
    assert_eq!((bench.unacked().await.as_str(), session.sender.backlog()), ("", [0; 3]));

    session.take(ack(session.outbox, "1-1", Vec::new())).unwrap();
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 2, 3, 2, 3]);
    // It is told once.
    session.take(ack(session.outbox, "1-1", Vec::new())).unwrap();
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1, 2, 3, 2, 3]);
    assert_eq!((bench.unacked().await.as_str(), session.sender.backlog()), ("2-3", [2, 0, 0]));
    session.take(ack(session.outbox, "1-3", proven.into())).unwrap();
    session.carry_out().await.unwrap();
    assert_eq!(bench.unacked().await, "");
}

#[tokio::test]
async fn a_row_of_before_a_restore_goes_out_under_the_new_number() {
    let bench = Bench::new(&[1, 1]).await;
    let old = bench.uplink.outbox.stock().await.unwrap().outbox;
    bench.uplink.outbox.forget(old, Lane::Urgent, (row(1).1, row(1).1)).await.unwrap();
    bench.uplink.outbox.start_anew().await.unwrap();
    let mut connection = Connection::to_nobody(ROOM);
    let mut session = bench.session(&mut connection).await;
    let bytes = session.reader.row(Lane::Urgent, Seq::FIRST).unwrap().unwrap();
    let bytes = session.numbered(Seq::FIRST, bytes).unwrap();
    let header = envelope::peek(&bytes).unwrap();
    assert_eq!((header.outbox, header.seq), (session.outbox, Seq::FIRST));
    session.carry_out().await.unwrap();
    assert_eq!(session.connection.handed(), [1]);
}

/// What the sender must know of the file is wrong, and the writer reads it only when it starts.
#[tokio::test]
async fn a_file_that_cannot_be_read_back_is_kept_aside_and_what_is_in_it_counted() {
    let bench = Bench::new(&[1, 1]).await;
    let old = bench.uplink.outbox.stock().await.unwrap();
    let id = old.outbox;
    let altered = "INSERT INTO moved VALUES ('urgent', 1, 5, 3)";
    Sqlite::open(bench.file()).unwrap().execute_batch(altered).unwrap();
    let mut connection = Connection::to_nobody(ROOM);
    assert!(Session::new(&bench.uplink, old, &mut connection).await.is_err());
    assert_ne!(bench.uplink.outbox.stock().await.unwrap().outbox, id);
    bench.session(&mut connection).await;
    let salvaged = async {
        while bench.unacked().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), salvaged).await.unwrap();
}
