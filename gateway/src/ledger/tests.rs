//! What a person and a program are told of an outbox of which much is missing.

use super::*;
use crate::{
    intake::{Delivery, take},
    store::Store,
};
use model::{
    id::{Lane as LaneName, OutboxId, SiteId},
    record::{DropCause, DropRecord, Record},
    time::{ClockQuality, Observed, WallTime},
};
use rules::rule::RuleSet;
use serde_json::json;
use tempfile::TempDir;
use uplink_proto::{
    envelope::Envelope,
    state::{SiteState, Upkeep},
};

/// 2026-11-22T08:15:00Z
const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);
const OUTBOX: OutboxId = OutboxId::from_bytes([7; 16]);

struct County {
    connection: Connection,
    rules: RuleSet,
    now: WallTime,
    _folder: TempDir,
}

impl County {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let rules = include_str!("../../../configs/rules/default.json");
        let rules = RuleSet::from_json(rules).unwrap();
        connection.execute("UPDATE county SET generation = 0x4f2c", []).unwrap();
        Self { connection, rules, now: NOW, _folder: folder }
    }

    fn take(&mut self, minutes: i64, deliveries: &[Delivery]) {
        self.now = WallTime::from_unix_ms(NOW.unix_ms() + minutes * 60_000);
        take(&self.connection, deliveries, self.now, &self.rules).unwrap();
    }

    fn ledger(&self, site: Option<&str>) -> Ledger {
        ledger(&self.connection, site, &Scope::County).unwrap()
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        self.ledger(None).print(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

fn site() -> SiteId {
    SiteId::new("heping").unwrap()
}

fn number(seq: u64) -> Seq {
    Seq::new(seq).unwrap()
}

fn envelope(lane: LaneName, seq: u64, records: Vec<Record>) -> Delivery {
    let envelope =
        Envelope { outbox: OUTBOX, lane, seq: number(seq), opened_at: NOW, uptime: None, records };
    Delivery::Envelope(site(), lane, envelope.encode())
}

fn damaged(seq: u8) -> Delivery {
    let mut bytes = vec![0xa5, 0x61, b'v', 1, 0x61, b'o', 0x50];
    bytes.extend(OUTBOX.as_bytes());
    bytes.extend([0x61, b'l', 1, 0x61, b's', seq, 0x61, b't', 0]);
    Delivery::Envelope(site(), LaneName::Trend, bytes)
}

fn dropped(first: u64, last: u64, cause: DropCause) -> Record {
    Record::Dropped(DropRecord {
        outbox: None,
        lane: LaneName::Trend,
        first: number(first),
        last: number(last),
        from: WallTime::from_unix_ms(NOW.unix_ms() - 120_000),
        until: WallTime::from_unix_ms(NOW.unix_ms() - 60_000),
        cause,
        observed: Observed { at: NOW, quality: ClockQuality::Synchronised },
    })
}

fn state(outbox: OutboxId, trend: u64) -> Delivery {
    let state = SiteState {
        online: true,
        connection: 1,
        agent_version: "0.1.0".into(),
        policy: None,
        upkeep: Upkeep::default(),
        outbox,
        backlog: [0, trend, 0],
        holds_s: None,
        clock: ClockQuality::Synchronised,
        clock_evidence: String::new(),
        at: NOW,
        uptime: None,
    };
    Delivery::State { site: site(), bytes: state.encode(), retained: false }
}

/// 1 came, 2-3 are awaited, 4 is damaged, 5-8 were dropped and 6 came all the same, 9 came.
fn missing_much() -> County {
    let mut county = County::new();
    let trend = |seq| envelope(LaneName::Trend, seq, Vec::new());
    county.take(0, &[trend(1), state(OUTBOX, 12)]);
    county.take(1, &[damaged(4), Delivery::Envelope(site(), LaneName::Trend, vec![0; 9])]);
    let drops = vec![
        dropped(5, 7, DropCause::OutboxFull),
        // One that moved to another outbox is told twice.
        dropped(6, 8, DropCause::DiskFull),
    ];
    county.take(2, &[envelope(LaneName::Urgent, 1, drops), trend(6), trend(9)]);
    county
}

#[test]
fn a_person_reads_what_is_missing_since_when_and_why() {
    let wanted = format!(
        "county, generation 0000000000004f2c

heping, outbox {OUTBOX}, in use
  trend  through 9, 6 missing; 12 wait at the box
    2-3          missed since 2026-11-22T08:17:00.000Z: later ones came, these did not; the box sends them again
    4            came 2026-11-22T08:16:00.000Z: unreadable: the message lacks d in the form of protocol version 1; it is kept aside
    5            of 2026-11-22T08:13:00.000Z to 2026-11-22T08:14:00.000Z, given up by the box: its outbox was full
    7            of 2026-11-22T08:13:00.000Z to 2026-11-22T08:14:00.000Z, given up by the box: its outbox was full
    8            of 2026-11-22T08:13:00.000Z to 2026-11-22T08:14:00.000Z, given up by the box: its disk was full
  urgent through 1, nothing is missing

kept aside, with its bytes in the table quarantine:
  heping 2026-11-22T08:16:00.000Z, {OUTBOX} trend 4, 32 bytes: unreadable: the message lacks d in the form of protocol version 1; it is kept aside
  heping 2026-11-22T08:16:00.000Z, of no outbox that can be read, 9 bytes: unreadable: the message is not one CBOR item; it is kept aside
"
    );
    assert_eq!(missing_much().text(), wanted);
}

#[test]
fn what_arrived_and_what_is_missing_are_together_all_there_is() {
    let county = missing_much();
    let told = serde_json::to_value(county.ledger(Some("heping"))).unwrap();
    let lane = &told["outboxes"][0];
    assert_eq!(lane["ranges"], json!([[1, 1], [6, 6], [9, 9]]));
    assert_eq!(lane["gaps"], json!([[2, 3]]));
    assert_eq!(lane["dropped"], json!([[5, 5], [7, 8]]));
    assert_eq!(lane["quarantined"], json!([[4, 4]]));
    assert_eq!((&lane["watermark"], &lane["highest"]), (&json!(1), &json!(9)));
    assert_eq!(lane["missing"][0]["cause"], AWAITED);
    let lane = county.ledger(None).outboxes.remove(0);
    let missing = lane.missing.iter().map(|range| [range.first, range.last]);
    let all = lane.ranges.iter().copied().chain(missing);
    let mut all: Vec<u64> = all.flat_map(|[first, last]| first..=last).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=9).collect::<Vec<_>>());
    assert!(county.ledger(Some("dongfeng")).is_empty());
}

#[test]
fn records_of_a_later_version_are_kept_aside_and_not_missing() {
    let mut county = County::new();
    county.take(0, &[envelope(LaneName::Trend, 1, Vec::new())]);
    let rest = "INSERT INTO quarantine VALUES (1, 'heping', 0, 'later', 1, x'01', x'0203', '07',
                'trend', 1)";
    county.connection.execute(rest, []).unwrap();
    let text = county.text();
    assert!(text.contains("through 1, nothing is missing"), "{text}");
    let line = "heping 1970-01-01T00:00:00.000Z, 07 trend 1, 2 bytes: later; the rest was taken";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_gap_says_when_nobody_will_fill_it() {
    let mut county = missing_much();
    let causes = |county: &County| -> Vec<(u64, String)> {
        let lanes = county.ledger(None).outboxes;
        let trend = lanes.into_iter().find(|lane| lane.lane == "trend").unwrap();
        let gaps = trend.missing.into_iter().filter(|range| range.state == State::Gap);
        gaps.map(|range| (range.first, range.cause)).collect()
    };
    assert_eq!(causes(&county), [(2, AWAITED.to_owned())]);
    county.take(3, &[state(OutboxId::from_bytes([8; 16]), 0)]);
    assert_eq!(causes(&county), [(2, OUTBOX_REPLACED.to_owned())]);
    assert_eq!(county.ledger(None).outboxes[0].waiting, None);

    let restored = "UPDATE county SET copied_ms = ?1, restored_ms = ?1 + 60000";
    county.connection.execute(restored, [county.now.unix_ms()]).unwrap();
    county.take(5, &[state(OUTBOX, 0), envelope(LaneName::Trend, 20, Vec::new())]);
    let wanted = [(2, AWAITED.to_owned()), (10, COUNTY_RESTORED.to_owned())];
    assert_eq!(causes(&county), wanted);
    let text = county.text();
    let head = "county, generation 0000000000004f2c; restored 2026-11-22T08:19:00.000Z from a \
                backup of 2026-11-22T08:18:00.000Z\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("10-19        missed since 2026-11-22T08:20:00.000Z: acked"), "{text}");
}

#[test]
fn what_was_not_even_kept_is_missing_all_the_same() {
    let mut county = County::new();
    county.take(0, &[damaged(1), damaged(2), damaged(3)]);
    county.connection.execute("DELETE FROM quarantine WHERE seq <> 2", []).unwrap();
    let lane = county.ledger(None).outboxes.remove(0);
    let told: Vec<_> =
        lane.missing.iter().map(|range| (range.first, range.since.is_some())).collect();
    assert_eq!(told, [(1, false), (2, true), (3, false)]);
    assert!(county.text().contains("1            could not be taken and was not kept"));
}
