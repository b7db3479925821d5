//! What one transaction leaves behind: each envelope once, whatever comes, or nothing at all.

mod chain;
mod clocks;
mod cost;
mod edge;
mod evaluation;
mod life;
mod links;
mod served;

use super::*;
use crate::{disk::DiskState, people::Scope, reading::Group, store::Store};
use model::{
    device::DeviceAction,
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading, ReadingGroup},
    record::{DropCause, DropRecord, Record},
    time::{ClockQuality, Observed},
    units::Unit,
    waveform::{SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};
use tempfile::TempDir;
use uplink_proto::state::Upkeep;

const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);
/// Values of all readings as they came.
const VALUES: &str = "SELECT json_each.value FROM reading_group, json_each(said)
     ORDER BY reading_group.id, key";
const OUTBOX: OutboxId = OutboxId::from_bytes([7; 16]);
/// Everything a batch writes to.
const TABLES: [&str; 18] = [
    "site",
    "link_word",
    "ledger",
    "envelope",
    "quarantine",
    "reading_group",
    "latest_group",
    "waveform",
    "device_alarm",
    "device_action",
    "boot",
    "clock_change",
    "drop_record",
    "alert",
    "engine",
    "audit",
    "edge_alert",
    "edge_period",
];

struct County {
    connection: Connection,
    rules: RuleSet,
    folder: TempDir,
}

impl County {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let rules = include_str!("../../../configs/rules/default.json");
        Self { connection, rules: RuleSet::from_json(rules).unwrap(), folder }
    }

    /// One transaction, committed.
    fn take(&mut self, deliveries: &[Delivery]) -> Taken {
        let transaction = self.connection.transaction().unwrap();
        let taken = take(&transaction, deliveries, NOW, &self.rules).unwrap();
        transaction.commit().unwrap();
        taken
    }

    fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        self.connection.query_row(&query, [], |row| row.get(0)).unwrap()
    }

    fn rows(&self) -> Vec<(&'static str, i64)> {
        TABLES.into_iter().map(|table| (table, self.count(table))).collect()
    }

    fn ledger(&self, lane: Lane) -> LaneLedger {
        query::lane_ledger(&self.connection, &site(), OUTBOX, lane).unwrap()
    }

    fn texts(&self, query: &str) -> Vec<String> {
        let mut statement = self.connection.prepare(query).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

fn site() -> SiteId {
    SiteId::new("heping").unwrap()
}

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

fn observed(ago_ms: i64) -> Observed {
    let at = WallTime::from_unix_ms(NOW.unix_ms() - ago_ms);
    Observed { at, quality: ClockQuality::Synchronised }
}

fn group(metric: Metric, value: u32, unit: Unit, ago_ms: i64) -> ReadingGroup {
    let device = DeviceId::new("any-01").unwrap();
    ReadingGroup::new(device, observed(ago_ms), vec![Reading::number(metric, value, unit)])
}

fn rate(value: u32) -> Record {
    Record::Readings(group(Metric::PULSE_OXIM, value, Unit::PER_MINUTE, 0))
}

/// A meter's stored value, which raises an alert.
fn glucose() -> Record {
    let mut group = group(Metric::GLU_CAP_PL, 50, Unit::MG_PER_DL, 1000);
    group.device_seq = Some(21);
    Record::Readings(group)
}

fn block() -> Record {
    let wave = |metric: &Metric| metric.row().kind == model::metric::Kind::Wave;
    Record::Waveform(WaveformBlock {
        device: DeviceId::new("any-01").unwrap(),
        channel: model::id::Channel::default(),
        metric: Metric::all().find(wave).unwrap(),
        start: observed(1000),
        period: SamplePeriod::new(1, 250).unwrap(),
        scale: None,
        samples: vec![1, -2, 3],
        flags: WaveformFlags::default(),
    })
}

/// The agent has set a device's clock.
fn action() -> Record {
    Record::Action(DeviceAction {
        device: DeviceId::new("any-01").unwrap(),
        action: "clock_set".to_owned(),
        text: "set to 2026-11-22 16:15:00 local time".to_owned(),
        observed: observed(1000),
    })
}

fn dropped(lane: Lane, first: u64, last: u64) -> Record {
    Record::Dropped(DropRecord {
        outbox: None,
        lane,
        first: seq(first),
        last: seq(last),
        from: NOW,
        until: NOW,
        cause: DropCause::OutboxFull,
        observed: observed(0),
    })
}

fn envelope(lane: Lane, number: u64, records: Vec<Record>) -> Delivery {
    let envelope =
        Envelope { outbox: OUTBOX, lane, seq: seq(number), opened_at: NOW, uptime: None, records };
    Delivery::Envelope(site(), lane, envelope.encode())
}

/// An envelope of version 1 that has lost its records.
fn damaged(number: u8) -> Delivery {
    let mut bytes = vec![0xa5, 0x61, b'v', 1, 0x61, b'o', 0x50];
    bytes.extend(OUTBOX.as_bytes());
    bytes.extend([0x61, b'l', 1, 0x61, b's', number, 0x61, b't', 0]);
    Delivery::Envelope(site(), Lane::Trend, bytes)
}

fn settled(taken: &Taken, lane: Lane) -> String {
    let (_, ack) = taken.acks.first().unwrap();
    ack.lanes.iter().find(|(of, _)| *of == lane).unwrap().1.to_string()
}

#[test]
fn what_comes_in_is_stored_acked_and_evaluated_together() {
    let mut county = County::new();
    let taken = county.take(&[
        envelope(Lane::Trend, 1, vec![rate(72), rate(73)]),
        envelope(Lane::Wave, 1, vec![block()]),
        envelope(Lane::Urgent, 1, vec![glucose()]),
        envelope(Lane::Trend, 3, vec![rate(74)]),
    ]);
    let counts = Counts { new: 4, readings: 4, ..Counts::default() };
    assert_eq!(taken.counts, counts);
    assert_eq!(taken.acks.len(), 1);
    assert_eq!(settled(&taken, Lane::Trend), "1-1,3-3");
    assert_eq!(settled(&taken, Lane::Wave), "1-1");
    assert_eq!((county.count("reading_group"), county.count("waveform")), (4, 1));
    assert_eq!(county.ledger(Lane::Trend).gaps(), [(seq(2), seq(2))]);
    assert_eq!((taken.alerts.len(), county.count("alert")), (1, 1));
}

#[test]
fn boards_are_told_of_a_reading_what_is_told_of_its_row() {
    let mut county = County::new();
    let of = |metric, value: u32, unit| Reading::number(metric, value, unit);
    let readings = vec![
        of(Metric::PULSE_OXIM, 72, Unit::PER_MINUTE),
        of(Metric::GLU_CAP_PL, 50, Unit::MG_PER_DL).doubted(),
        Reading::no_data(Metric::HR, NoData::DeviceError("a:b \"".to_owned())),
        Reading::text(Metric::TEMP, "high, \"very\""),
    ];
    let device = DeviceId::new("any-01").unwrap();
    let mut mixed = ReadingGroup::new(device, observed(90_000), readings).as_group(Metric::NIBP);
    mixed.observed.quality = ClockQuality::Unknown;
    mixed.device_seq = Some(7);
    mixed.context.insert("arm".to_owned(), "left".to_owned());
    let records = vec![rate(71), Record::Readings(mixed), glucose(), glucose()];
    let taken = county.take(&[envelope(Lane::Urgent, 1, records)]);
    let groups: Vec<_> = taken.readings.iter().map(Gathered::stored).collect();
    let mut told: Vec<Value> = groups.iter().flat_map(Group::told).map(|(.., one)| one).collect();
    told.sort_by_key(|one| one["observed_time"].to_string());
    assert_eq!(told.len(), 7);
    let filter = query::ReadingFilter { limit: 10, ..query::ReadingFilter::default() };
    assert_eq!(query::readings(&county.connection, &filter).unwrap()["readings"], json!(told));
    let one = told.iter().find(|one| one["metric"] == "glu_cap_pl").unwrap();
    let canonical = [&one["value"], &one["unit"], &one["canonical_value"], &one["canonical_unit"]];
    assert_eq!(json!(canonical), json!(["50", "mg/dL", "2.8", "mmol/L"]));
    // Of one device, of one metric, in pages of one.
    for (device, metric, count) in [("any-01", None, 7), ("any-01", Some("hr"), 1), ("b", None, 0)]
    {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (device, metric) = (Some(device.to_owned()), metric.map(str::to_owned));
            let filter =
                query::ReadingFilter { device, metric, after, limit: 1, ..Default::default() };
            let mut page = query::readings(&county.connection, &filter).unwrap();
            found.append(page["readings"].as_array_mut().unwrap());
            after = page["next_cursor"].as_str().and_then(query::Place::parse);
            if after.is_none() {
                break;
            }
        }
        let wanted = |one: &&Value| metric.is_none_or(|metric| one["metric"] == metric);
        let wanted: Vec<&Value> = told.iter().filter(wanted).take(count).collect();
        assert_eq!(json!(found), json!(wanted));
    }
}

#[test]
fn boards_are_told_of_a_block_what_is_told_of_its_row() {
    let mut county = County::new();
    let Record::Waveform(mut scaled) = block() else { unreachable!() };
    scaled.flags = WaveformFlags { lead_off: true, saturation: false, pacer: true };
    let per_count = "0.0050".parse().unwrap();
    scaled.scale = Some(Scale { per_count, offset: -3, unit: Unit::new("mV").unwrap() });
    let (device, metric) = (scaled.device.to_string(), scaled.metric.name().to_owned());
    let records = vec![block(), Record::Waveform(scaled)];
    let taken = county.take(&[envelope(Lane::Wave, 1, records)]);
    let told =
        taken.blocks.iter().map(|(site, start, block)| query::block_told(site, *start, block));
    let filter = query::WaveformFilter {
        site: None,
        device,
        metric,
        from_ms: None,
        to_ms: None,
        after: None,
        limit: 10,
        scope: Scope::County,
    };
    let stored = query::waveforms(&county.connection, &filter).unwrap();
    assert_eq!(stored["blocks"], json!(told.collect::<Vec<_>>()));
}

#[test]
fn what_was_done_to_a_device_is_kept_for_the_audit() {
    let mut county = County::new();
    let told = envelope(Lane::Urgent, 1, vec![action()]);
    county.take(&[told.clone(), told]);
    let kept = county.texts("SELECT device || ' ' || action || ' ' || text FROM device_action");
    assert_eq!(kept, ["any-01 clock_set set to 2026-11-22 16:15:00 local time"]);
}

#[test]
fn a_duplicate_changes_nothing_and_is_acked_again() {
    let mut county = County::new();
    let all = [
        envelope(Lane::Trend, 1, vec![rate(72)]),
        envelope(Lane::Wave, 1, vec![block()]),
        envelope(Lane::Urgent, 1, vec![glucose(), dropped(Lane::Trend, 2, 4)]),
    ];
    let first = county.take(&all);
    let before = county.rows();
    let again = county.take(&all);
    assert_eq!(again.counts, Counts { duplicate: 3, ..Counts::default() });
    assert_eq!(county.rows(), before);
    assert_eq!(again.acks, first.acks);
    assert!(again.readings.is_empty() && again.blocks.is_empty() && again.alerts.is_empty());
    // Both copies in one batch are no different.
    let both = || envelope(Lane::Trend, 5, vec![rate(75)]);
    let counts = county.take(&[both(), both()]).counts;
    assert_eq!((counts.new, counts.duplicate), (1, 1));
    assert_eq!(county.count("reading_group"), 3);
}

#[test]
fn other_bytes_under_a_known_seq_are_kept_aside_and_change_no_number() {
    let mut county = County::new();
    county.take(&[envelope(Lane::Trend, 1, vec![rate(72)])]);
    let taken = county.take(&[envelope(Lane::Trend, 1, vec![rate(200)])]);
    assert_eq!(taken.counts, Counts { conflict: 1, ..Counts::default() });
    let (_, ack) = &taken.acks[0];
    let error = AckError { lane: Lane::Trend, seq: seq(1), reason: CONFLICT.to_owned() };
    assert_eq!(ack.errors, [error]);
    assert_eq!(county.texts(VALUES), ["72"]);
    assert_eq!(county.texts("SELECT cause FROM quarantine"), [CONFLICT]);
    assert!(county.ledger(Lane::Trend).quarantined.is_empty());
    assert!(ack.proven.is_empty());
    // Nor may those be forgotten that cannot be read.
    let taken = county.take(&[damaged(1)]);
    assert_eq!(taken.counts, Counts { conflict: 1, ..Counts::default() });
    assert!(taken.acks[0].1.proven.is_empty());
}

#[test]
fn an_envelope_that_moved_is_stored_once_and_settled_under_both_numbers() {
    let mut county = County::new();
    let moved_to = |delivery: &Delivery, other: u8, number| {
        let Delivery::Envelope(_, lane, bytes) = delivery else { panic!("no envelope") };
        let other = OutboxId::from_bytes([other; 16]);
        let bytes = uplink_proto::envelope::moved(bytes, &hash(bytes), other, seq(number)).unwrap();
        Delivery::Envelope(site(), *lane, bytes)
    };
    let was = [1, 2].map(|number| envelope(Lane::Trend, number, vec![rate(70)]));
    let conflicting = envelope(Lane::Trend, 2, vec![rate(80)]);
    county.take(&[was[0].clone(), conflicting]);
    // Stored before, without the ack coming back; and one whose number others had.
    let taken = county.take(&[moved_to(&was[0], 8, 1), moved_to(&was[1], 8, 2)]);
    let counts = Counts { new: 1, duplicate: 1, readings: 1, ..Counts::default() };
    assert_eq!(taken.counts, counts);
    assert_eq!((settled(&taken, Lane::Trend), taken.acks[0].1.proven.len()), ("1-2".into(), 2));
    assert_eq!(county.texts(VALUES), ["70", "80", "70"]);
    // Moved once more, and what was first written comes late.
    let third = envelope(Lane::Trend, 3, vec![rate(90)]);
    county.take(&[moved_to(&third, 8, 3)]);
    let counts = county.take(&[moved_to(&was[1], 9, 1), moved_to(&third, 9, 2), third]).counts;
    assert_eq!(counts, Counts { duplicate: 3, ..Counts::default() });
    assert_eq!(county.count("reading_group"), 4);
}

#[test]
fn a_live_state_is_answered_by_an_ack() {
    let mut county = County::new();
    county.take(&[envelope(Lane::Trend, 1, vec![rate(72)])]);
    let state = SiteState {
        online: true,
        connection: 1,
        agent_version: "0.1.0".to_owned(),
        policy: None,
        upkeep: Upkeep::default(),
        outbox: OUTBOX,
        backlog: [0; 3],
        clock: ClockQuality::Synchronised,
        clock_evidence: String::new(),
        at: NOW,
        uptime: None,
        holds_s: None,
    };
    let live = |retained| Delivery::State { site: site(), bytes: state.encode(), retained };
    let taken = county.take(&[live(false)]);
    assert_eq!((settled(&taken, Lane::Trend), taken.acks.len()), ("1-1".into(), 1));
    assert!(county.take(&[live(true)]).acks.is_empty());
}

#[test]
fn an_envelope_that_cannot_be_read_does_not_block_its_lane() {
    let mut county = County::new();
    let taken = county.take(&[
        envelope(Lane::Trend, 1, vec![rate(72)]),
        damaged(2),
        envelope(Lane::Trend, 3, vec![rate(73)]),
    ]);
    assert_eq!((taken.counts.new, taken.counts.undecodable), (2, 1));
    assert_eq!(settled(&taken, Lane::Trend), "1-3");
    let (_, ack) = &taken.acks[0];
    assert_eq!((ack.errors.len(), ack.errors[0].seq), (1, seq(2)));
    assert_eq!(county.ledger(Lane::Trend).quarantined.to_string(), "2-2");
    assert_eq!(county.count("quarantine"), 1);
    // The agent that finds its row whole after all is believed.
    county.take(&[envelope(Lane::Trend, 2, vec![rate(80)])]);
    let ledger = county.ledger(Lane::Trend);
    assert_eq!((ledger.received.to_string(), ledger.quarantined.is_empty()), ("1-3".into(), true));
}

#[test]
fn what_is_no_envelope_of_its_topic_is_kept_aside() {
    let mut county = County::new();
    let Delivery::Envelope(_, _, bytes) = envelope(Lane::Trend, 1, vec![rate(72)]) else {
        panic!("no envelope")
    };
    let garbage = Delivery::Envelope(site(), Lane::Trend, b"noise".to_vec());
    let elsewhere = Delivery::Envelope(site(), Lane::Urgent, bytes);
    let taken = county.take(&[garbage, elsewhere]);
    assert_eq!(taken.counts, Counts { undecodable: 2, ..Counts::default() });
    assert_eq!(county.count("reading_group"), 0);
    assert_eq!(
        county.texts("SELECT cause FROM quarantine"),
        [
            "unreadable: the message is not one CBOR item; it is kept aside",
            "another_lane: the envelope is of another lane than its topic"
        ]
    );
}

#[test]
fn a_drop_record_settles_its_range_and_what_arrives_anyway_is_received() {
    let mut county = County::new();
    let taken = county.take(&[
        envelope(Lane::Trend, 1, vec![rate(72)]),
        envelope(Lane::Trend, 6, vec![rate(73)]),
        envelope(Lane::Urgent, 1, vec![dropped(Lane::Trend, 2, 5)]),
    ]);
    assert_eq!(settled(&taken, Lane::Trend), "1-6");
    let ledger = county.ledger(Lane::Trend);
    assert_eq!((ledger.dropped.to_string(), ledger.gaps().len()), ("2-5".into(), 0));
    assert_eq!(county.texts("SELECT lane FROM drop_record"), ["trend"]);
    county.take(&[envelope(Lane::Trend, 3, vec![rate(74)])]);
    let ledger = county.ledger(Lane::Trend);
    assert_eq!(
        (ledger.dropped.to_string(), ledger.received.to_string()),
        ("2-2,4-5".into(), "1-1,3-3,6-6".into())
    );
}

#[test]
fn a_transaction_that_fails_leaves_nothing_and_its_envelopes_are_new_again() {
    let mut county = County::new();
    let deliveries = [
        envelope(Lane::Trend, 1, vec![rate(72)]),
        envelope(Lane::Wave, 1, vec![block()]),
        envelope(Lane::Urgent, 1, vec![glucose(), dropped(Lane::Trend, 2, 4)]),
        damaged(9),
    ];
    let before = county.rows();
    {
        let transaction = county.connection.transaction().unwrap();
        let taken = take(&transaction, &deliveries, NOW, &county.rules).unwrap();
        assert_eq!(taken.counts.new, 3);
        // Dropped without a commit, as when the disk is full or the program dies.
    }
    assert_eq!(county.rows(), before);
    assert_eq!(county.ledger(Lane::Trend), LaneLedger::default());
    let taken = county.take(&deliveries);
    assert_eq!((taken.counts.new, taken.counts.duplicate), (3, 0));
    assert_eq!((taken.alerts.len(), county.count("reading_group")), (1, 2));
}

#[test]
fn a_spot_reading_that_is_told_again_is_marked_and_raises_no_second_alert() {
    let mut county = County::new();
    county.take(&[envelope(Lane::Urgent, 1, vec![glucose()])]);
    let taken = county.take(&[envelope(Lane::Urgent, 2, vec![glucose()])]);
    assert_eq!(taken.counts.new, 1);
    let first = format!("{OUTBOX}/urgent/1/0");
    assert_eq!(taken.readings[0].stored().told()[0].2["duplicate_of"], json!(first));
    assert_eq!((taken.alerts.len(), county.count("alert")), (0, 1));
}

#[test]
fn an_old_stream_reading_is_backfill_and_pages_nobody() {
    let mut county = County::new();
    let old = group(Metric::SPO2, 60, Unit::PERCENT, 3_600_000);
    let records = (0..200).map(|_| Record::Readings(old.clone())).collect();
    let taken = county.take(&[envelope(Lane::Trend, 1, records)]);
    assert!(taken.alerts.is_empty());
    assert_eq!(county.texts("SELECT DISTINCT freshness FROM reading_group"), ["backfill"]);
}

#[test]
fn an_older_word_about_a_site_changes_nothing() {
    let mut county = County::new();
    let state = |online, connection| {
        let state = SiteState {
            online,
            connection,
            agent_version: "0.1.0".into(),
            policy: None,
            upkeep: Upkeep::default(),
            outbox: OUTBOX,
            backlog: [0, 2, 0],
            clock: ClockQuality::Synchronised,
            clock_evidence: String::new(),
            at: NOW,
            uptime: None,
            holds_s: None,
        };
        Delivery::State { site: site(), bytes: state.encode(), retained: false }
    };
    let taken = county.take(&[state(true, 2), state(false, 1)]);
    assert_eq!(taken.sites.len(), 1);
    assert_eq!(county.texts("SELECT CAST(online AS TEXT) FROM site"), ["1"]);
    let noise = Delivery::State { site: site(), bytes: b"noise".to_vec(), retained: false };
    let taken = county.take(&[state(false, 2), noise]);
    assert_eq!(taken.sites[0]["online"], json!(false));
}

#[test]
fn what_comes_again_is_kept_aside_once_and_nobody_fills_the_disk() {
    let mut county = County::new();
    let too_long = Delivery::Envelope(site(), Lane::Trend, vec![b'x'; 70_000]);
    for _ in 0..3 {
        county.take(&[damaged(2), too_long.clone()]);
    }
    assert_eq!(county.count("quarantine"), 2);
    let noise = |number: i64| {
        Delivery::Envelope(site(), Lane::Trend, format!("noise {number}").into_bytes())
    };
    let all: Vec<_> = (0..QUARANTINED_MAX + 50).map(noise).collect();
    let taken = county.take(&all);
    assert_eq!((taken.counts.undecodable, taken.counts.not_kept), (1050, 52));
    assert_eq!(county.count("quarantine"), QUARANTINED_MAX);
    // What is there already is kept, whoever sends it again.
    let taken = county.take(&[noise(0), noise(QUARANTINED_MAX)]);
    assert_eq!((taken.counts.undecodable, taken.counts.not_kept), (2, 1));
    // Records of a later version are real ones: they are kept, and take nobody's place.
    let taken = county.take(&[of_a_later_version()]);
    assert_eq!((taken.counts.skipped, taken.counts.not_kept), (1, 0));
    assert_eq!(county.count("quarantine"), QUARANTINED_MAX + 1);
}

/// Two records, the second of a kind nobody knows yet.
fn of_a_later_version() -> Delivery {
    let Delivery::Envelope(site, lane, mut bytes) =
        envelope(Lane::Trend, 1, vec![rate(72), glucose()])
    else {
        panic!("no envelope")
    };
    // The kind of a record is its first element.
    let last = bytes.windows(2).rposition(|pair| *pair == [0x8b, 0x01]).unwrap();
    bytes[last + 1] = 0x17;
    Delivery::Envelope(site, lane, bytes)
}

#[test]
fn records_of_a_later_version_are_kept_aside_and_counted() {
    let mut county = County::new();
    let taken = county.take(&[of_a_later_version()]);
    assert_eq!((taken.counts.new, taken.counts.skipped, taken.counts.readings), (1, 1, 1));
    assert_eq!(settled(&taken, Lane::Trend), "1-1");
    assert_eq!(
        county.texts("SELECT cause FROM quarantine"),
        ["later_version: 1 records or readings of a later version"]
    );
}

#[tokio::test]
async fn an_envelope_the_county_fails_on_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("county.sqlite")).unwrap();
    let fault = "CREATE TRIGGER fault BEFORE INSERT ON reading_group WHEN NEW.said = '[\"99\"]'
                 BEGIN SELECT RAISE(ABORT, 'a fault of ours'); END";
    store.write(move |transaction| transaction.execute_batch(fault)).await.unwrap();
    let rules = include_str!("../../../configs/rules/default.json");
    let rules = Arc::new(RuleSet::from_json(rules).unwrap());
    let batch = vec![
        envelope(Lane::Trend, 1, vec![rate(72)]),
        envelope(Lane::Trend, 2, vec![rate(73), rate(99)]),
        envelope(Lane::Trend, 3, vec![rate(74)]),
    ];
    let taken = super::store(&store, batch, NOW, &rules).await;
    assert_eq!(taken.iter().map(|taken| taken.counts.new).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(settled(taken.last().unwrap(), Lane::Trend), "1-3");
    assert_eq!(taken[1].acks[0].1.errors[0].seq, seq(2));
    let aside: (String, i64) = store
        .read(|connection| {
            let query = "SELECT group_concat(cause), (SELECT count(*) FROM reading_group)
                         FROM quarantine";
            connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await
        .unwrap();
    assert_eq!(aside, ("county_failed: the county failed on it; report this".to_owned(), 2));
}

#[tokio::test]
async fn where_the_disk_fails_nothing_is_acked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("county.sqlite")).unwrap();
    let full = "PRAGMA max_page_count = 1";
    store.write(move |transaction| transaction.execute_batch(full)).await.unwrap();
    let rules = include_str!("../../../configs/rules/default.json");
    let rules = Arc::new(RuleSet::from_json(rules).unwrap());
    let batch = (1..200).map(|number| envelope(Lane::Trend, number, vec![rate(72); 20])).collect();
    let again = envelope(Lane::Trend, 1, vec![rate(72); 20]);
    assert!(super::store(&store, batch, NOW, &rules).await.is_empty());
    assert_eq!(store.disk().found().state(), DiskState::Full);
    // Reading goes on, and so does writing as soon as there is room.
    let readings = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM reading_group", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(store.read(readings).await.unwrap(), 0);
    let room = "PRAGMA max_page_count = 1000000";
    store.write(move |transaction| transaction.execute_batch(room)).await.unwrap();
    let taken = super::store(&store, vec![again], NOW, &rules).await;
    assert_eq!(settled(&taken[0], Lane::Trend), "1-1");
    store.disk().look();
    assert_ne!(store.disk().found().failure(), Some(rusqlite::ErrorCode::DiskFull));
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_for_what_is_urgent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("county.sqlite");
    let store = Store::open(&path).unwrap().with_free_min(u64::MAX);
    store.disk().look();
    let rules = include_str!("../../../configs/rules/default.json");
    let rules = Arc::new(RuleSet::from_json(rules).unwrap());
    let batch = vec![
        envelope(Lane::Trend, 1, vec![rate(72)]),
        envelope(Lane::Urgent, 1, vec![glucose()]),
        envelope(Lane::Wave, 1, vec![block()]),
    ];
    let taken = super::store(&store, batch.clone(), NOW, &rules).await;
    assert_eq!((taken.len(), taken[0].counts.new), (1, 1));
    assert_eq!(settled(&taken[0], Lane::Urgent), "1-1");
    assert_eq!((settled(&taken[0], Lane::Trend), settled(&taken[0], Lane::Wave)), <_>::default());
    let store = store.with_free_min(1);
    store.disk().look();
    let taken = super::store(&store, batch, NOW, &rules).await;
    assert_eq!((taken[0].counts.new, taken[0].counts.duplicate), (2, 1));
}

#[test]
fn a_site_has_a_thousand_devices_and_what_comes_of_more_is_kept_aside_and_told() {
    let mut county = County::new();
    let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 999)
         INSERT INTO source (site, device) SELECT 'heping', 'made-up-' || n FROM n";
    county.connection.execute(fill, []).unwrap();
    let of = |device: &str, value: u32| {
        let reading = Reading::number(Metric::PULSE_OXIM, value, Unit::PER_MINUTE);
        let device = DeviceId::new(device).unwrap();
        Record::Readings(ReadingGroup::new(device, observed(0), vec![reading]))
    };
    let last = county.take(&[envelope(Lane::Trend, 1, vec![of("last", 60)])]);
    assert_eq!((last.counts.readings, last.counts.skipped), (1, 0));
    let records = vec![of("more", 61), of("last", 62), of("even-more", 63)];
    let taken = county.take(&[envelope(Lane::Trend, 2, records)]);
    assert_eq!((taken.counts.new, taken.counts.readings, taken.counts.skipped), (1, 1, 2));
    assert_eq!(county.texts(VALUES), ["60", "62"]);
    // Its place in the envelope is the one that the box gave it.
    assert_eq!(county.texts("SELECT seq || '/' || idx FROM reading_group"), ["1/0", "2/1"]);
    let engines = "SELECT device FROM engine WHERE device LIKE '%more'";
    assert_eq!(county.texts(engines), Vec::<String>::new());
    let aside = "SELECT cause || ' ' || rest FROM quarantine";
    let cause = "devices_beyond: 2 records of devices beyond 1000 of the site 1";
    assert_eq!(county.texts(aside), [cause]);
    // Nothing comes again for it, and another site has its own thousand.
    assert_eq!(county.ledger(Lane::Trend).received.to_string(), "1-2");
    let elsewhere = "INSERT INTO source (site, device) VALUES ('dongfeng', 'more')";
    county.connection.execute(elsewhere, []).unwrap();
    let again = county.take(&[envelope(Lane::Trend, 3, vec![of("more", 64)])]);
    assert_eq!(again.counts.skipped, 1);
}
