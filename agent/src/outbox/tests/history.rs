//! Whatever happens to an outbox, in whatever order: no seq is given twice, and each record that was
//! committed waits, was acked, or is counted.

use super::*;
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};
use uplink_proto::ranges::RangeSet;

/// What happens. Places are parts of 255 of what there is.
#[derive(Clone, Debug)]
enum Step {
    Append(Lane),
    /// The county has some rows; nothing is written.
    Ack(Lane, u8, u8),
    WriteAcks,
    /// Acked rows are a day old.
    Prune,
    /// There is no room for the oldest rows of a lane.
    Drop(Lane, u8),
    /// The limit is met.
    MakeRoom,
    /// The county was restored from a backup without some of what was assigned.
    LostAtCounty(Lane, u8, u8),
    /// A row cannot be read.
    Break(Lane, u8),
    StartAnew,
    /// The agent ends and starts.
    Restart,
    /// The agent is killed: what is on disk is all there is.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = || prop::sample::select(Lane::ALL.to_vec());
    prop_oneof![
        10 => lane().prop_map(Step::Append),
        6 => (lane(), any::<u8>(), any::<u8>()).prop_map(|(lane, at, len)| Step::Ack(lane, at, len)),
        3 => Just(Step::WriteAcks),
        2 => Just(Step::Prune),
        3 => (lane(), any::<u8>()).prop_map(|(lane, count)| Step::Drop(lane, count)),
        1 => Just(Step::MakeRoom),
        3 => (lane(), any::<u8>(), any::<u8>())
            .prop_map(|(lane, at, len)| Step::LostAtCounty(lane, at, len)),
        2 => (lane(), any::<u8>()).prop_map(|(lane, at)| Step::Break(lane, at)),
        1 => Just(Step::StartAnew),
        3 => Just(Step::Restart),
        3 => Just(Step::Kill),
    ]
}

type Key = (OutboxId, Lane, Seq);

/// What must be true of the file.
#[derive(Default)]
struct History {
    /// Where each record is now, by its device.
    records: BTreeMap<String, Key>,
    acked: BTreeSet<String>,
    /// What drop records have ever said.
    counted: BTreeMap<(OutboxId, Lane), RangeSet>,
    /// The next number of each lane of each outbox.
    next: BTreeMap<(OutboxId, Lane), Seq>,
}

fn record_of(lane: Lane, device: &str) -> Record {
    let device = DeviceId::new(device).unwrap();
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

impl History {
    fn take(&mut self, writer: &mut Writer<'_>, step: &Step) {
        let id = writer.file.id();
        let part = |of: &RangeSet, part: u8| -> Option<Seq> {
            let (first, last) = (of.first_from(Seq::FIRST)?.get(), of.highest()?.get());
            of.first_from(seq(first + (last - first) * u64::from(part) / 255))
        };
        let now = at(Duration::ZERO);
        match step {
            Step::Append(lane) => {
                let device = format!("d-{}", self.records.len());
                let key = (id, *lane, writer.file.lane(*lane).next);
                writer.hand_over(0, record_of(*lane, &device));
                writer.commit_all();
                self.records.insert(device, key);
            }
            Step::Ack(lane, at, len) => {
                let unacked = &writer.file.lane(*lane).unacked;
                let Some(first) = part(unacked, *at) else { return };
                let last = seq(first.get() + u64::from(*len) / 32);
                let of_range = |key: &Key| {
                    key.0 == id
                        && key.1 == *lane
                        && unacked.contains(key.2)
                        && (first..=last).contains(&key.2)
                };
                let acked = self.records.iter().filter(|(_, key)| of_range(key));
                self.acked.extend(acked.map(|(device, _)| device.clone()));
                writer.forget(*lane, first.get(), last.get());
            }
            Step::WriteAcks => writer.write_acks(),
            Step::Prune => {
                let change = writer.file.change(now).unwrap();
                retention::prune(&change, i64::MAX).unwrap();
                change.commit().unwrap();
            }
            Step::Drop(lane, count) => {
                let mut change = writer.file.change(now).unwrap();
                if let Some(range) = change.first_unacked(*lane) {
                    let limit = 1 + u64::from(*count) / 64;
                    change
                        .give_up_oldest(*lane, range, (u64::MAX, limit), DropCause::OutboxFull)
                        .unwrap();
                }
                change.commit().unwrap();
            }
            Step::MakeRoom => {
                let used = retention::bytes(&writer.file.connection).unwrap();
                let mut change = writer.file.change(now).unwrap();
                retention::make_room(&mut change, used / 4 * 3).unwrap();
                change.commit().unwrap();
            }
            Step::LostAtCounty(lane, at, len) => {
                let next = writer.file.lane(*lane).next.get();
                let first = seq(1 + (next - 1) * u64::from(*at) / 256);
                let last = seq(first.get() + u64::from(*len) / 16);
                let lost =
                    |key: &Key| key.0 == id && key.1 == *lane && (first..=last).contains(&key.2);
                let records = &self.records;
                self.acked.retain(|device| !lost(&records[device]));
                let (reply, mut answer) = oneshot::channel();
                let (outbox, lane) = (id, *lane);
                writer.take(Command::LostAtCounty { outbox, lane, first, last, reply }).unwrap();
                answer.try_recv().unwrap().unwrap();
            }
            Step::Break(lane, at) => {
                if let Some(broken) = part(&writer.file.lane(*lane).unacked, *at) {
                    writer.damaged(*lane, broken.get());
                }
            }
            Step::StartAnew => {
                let (reply, mut answer) = oneshot::channel();
                let before = Lane::ALL.map(|lane| writer.file.lane(lane).unacked.clone());
                writer.take(Command::StartAnew(reply)).unwrap();
                answer.try_recv().unwrap().unwrap();
                let new = writer.file.id();
                assert_ne!(new, id);
                for key in self.records.values_mut().filter(|key| key.0 == id) {
                    let unacked = key.1.of(&before);
                    if unacked.contains(key.2) {
                        let number = unacked.within(Seq::FIRST, key.2);
                        let number: RangeSet = number.into_iter().collect();
                        *key = (new, key.1, seq(number.count()));
                    }
                }
            }
            Step::Restart | Step::Kill => {}
        }
    }

    /// Acks that were not written are forgotten: those rows are sent again.
    fn reopened(&mut self, writer: &Writer<'_>) {
        let waits = |key: &Key| {
            key.0 == writer.file.id() && writer.file.lane(key.1).unacked.contains(key.2)
        };
        let records = &self.records;
        self.acked.retain(|device| !waits(&records[device]));
    }

    fn check(&mut self, writer: &Writer<'_>) {
        let id = writer.file.id();
        for lane in Lane::ALL {
            let next = writer.file.lane(lane).next;
            let before = self.next.insert((id, lane), next).unwrap_or(Seq::FIRST);
            assert!(before <= next, "{lane}: {next} comes after {before}");
        }
        let reader = Reader::open(writer.file.path()).unwrap();
        let mut rows: BTreeMap<Key, Vec<Record>> = BTreeMap::new();
        for lane in Lane::ALL {
            let unacked = writer.file.lane(lane).unacked.ranges();
            for number in unacked.flat_map(|(first, last)| first.get()..=last.get()) {
                let bytes = reader.row(lane, seq(number)).unwrap();
                let bytes = bytes.unwrap_or_else(|| panic!("{lane} {number} waits without a row"));
                let envelope = Envelope::decode(&bytes).unwrap().envelope;
                for record in &envelope.records {
                    if let Record::Dropped(drop) = record {
                        let of = (drop.outbox.unwrap_or(envelope.outbox), drop.lane);
                        self.counted.entry(of).or_default().insert_range(drop.first, drop.last);
                    }
                }
                rows.insert((id, lane, seq(number)), envelope.records);
            }
        }
        for (device, key) in &self.records {
            let waits = rows.get(key) == Some(&vec![record_of(key.1, device)]);
            let counted = self.counted.get(&(key.0, key.1)).is_some_and(|of| of.contains(key.2));
            let acked = self.acked.contains(device);
            let states = u8::from(waits) + u8::from(counted) + u8::from(acked);
            assert_eq!(states, 1, "{device} at {key:?}: {waits} {counted} {acked}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_seq_is_given_twice_and_each_record_waits_was_acked_or_is_counted(
        steps in vec(step(), 1..50),
    ) {
        let mut bench = Bench::new(1 << 30);
        let mut history = History::default();
        let mut steps = steps.into_iter();
        for number in 0.. {
            let copy = bench.folder.path().join(format!("outbox-{number}.sqlite"));
            let mut writer = bench.writer();
            history.reopened(&writer);
            history.check(&writer);
            let mut last = None;
            for step in steps.by_ref() {
                history.take(&mut writer, &step);
                history.check(&writer);
                if matches!(step, Step::Restart | Step::Kill) {
                    last = Some(step);
                    break;
                }
            }
            let path = match last {
                None => break,
                Some(Step::Kill) => {
                    for suffix in ["", "-wal"] {
                        let from = file::beside(writer.file.path(), suffix);
                        fs::copy(from, file::beside(&copy, suffix)).unwrap();
                    }
                    copy
                }
                Some(_) => writer.file.path().to_owned(),
            };
            bench.desk.settings.path = path;
            bench.queue = Queue::new(Duration::ZERO, jiff::tz::TimeZone::UTC);
            drop(bench.heard());
        }
    }
}
