//! What goes out when, what may be forgotten, and what an ack proves.

use super::{lane::IN_FLIGHT_MAX, *};
use crate::ack::AckError;
use std::time::Duration;

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

fn at_ms(ms: u64) -> MonoTime {
    MonoTime::from_start(Duration::from_millis(ms))
}

fn ids() -> OutboxId {
    OutboxId::from_bytes([1; 16])
}

/// A lane whose rows from `live_from` on are the present.
fn lane(unacked: &str, live_from: u64) -> LaneStock {
    let unacked: RangeSet = unacked.parse().unwrap();
    let next = unacked.highest().map_or(Seq::FIRST, Seq::next);
    LaneStock { unacked, next, live_from: seq(live_from).min(next) }
}

fn stock(urgent: &str, trend: &str, wave: &str) -> [LaneStock; 3] {
    [urgent, trend, wave].map(|unacked| lane(unacked, u64::MAX >> 2))
}

fn stocked(urgent: &str, trend: &str, wave: &str) -> Sender {
    Sender::new(ids(), stock(urgent, trend, wave))
}

fn publish(sender: &mut Sender, now: MonoTime, len: usize) -> Vec<(Lane, u64)> {
    let mut published = Vec::new();
    while let Some(output) = sender.poll_output() {
        let SenderOutput::Publish(lane, seq) = output else { panic!("{output:?}") };
        sender.handle(now, SenderEvent::Sent { lane, seq, len, proof: proof(1) });
        published.push((lane, seq.get()));
    }
    published
}

fn published(sender: &mut Sender) -> Vec<(Lane, u64)> {
    publish(sender, at_ms(0), 100)
}

fn proof(byte: u8) -> Proof {
    Proof::of(&[byte; 32])
}

/// An ack after these have come in with the bytes that were sent, and nothing else ever.
fn ack(lane: Lane, settled: &str) -> Ack {
    let settled: RangeSet = settled.parse().unwrap();
    let numbers = settled.ranges().flat_map(|(first, last)| first.get()..=last.get());
    let proven = numbers.map(|number| Proven { lane, seq: seq(number), proof: proof(1) });
    let of = |other| if other == lane { settled.clone() } else { RangeSet::default() };
    let lanes = Lane::ALL.map(|lane| (lane, of(lane))).into();
    Ack { outbox: ids(), proven: proven.collect(), lanes, errors: vec![], by_turns: false }
}

fn forget(first: u64, last: u64) -> SenderOutput {
    SenderOutput::Forget { lane: Lane::Trend, first: seq(first), last: seq(last) }
}

fn lost(first: u64, last: u64) -> SenderOutput {
    SenderOutput::LostAtCounty { lane: Lane::Trend, first: seq(first), last: seq(last) }
}

fn outputs(sender: &mut Sender) -> Vec<SenderOutput> {
    std::iter::from_fn(|| sender.poll_output()).collect()
}

#[test]
fn urgent_goes_first_and_the_backlog_oldest_first() {
    let order = published(&mut stocked("1-2", "1-2", "1-1"));
    assert_eq!(order[..2], [(Lane::Urgent, 1), (Lane::Urgent, 2)]);
    assert_eq!(order[2..], [(Lane::Trend, 1), (Lane::Trend, 2), (Lane::Wave, 1)]);
}

#[test]
fn the_present_goes_newest_first_and_the_oldest_gets_every_fourth_turn() {
    let mut sender = Sender::new(ids(), [lane("", 1), lane("1-104", 102), lane("", 1)]);
    sender.handle(at_ms(0), SenderEvent::Stored(Lane::Trend, seq(105)));
    sender.handle(at_ms(0), SenderEvent::Stored(Lane::Trend, seq(106)));
    let order: Vec<u64> = published(&mut sender).into_iter().map(|(_, seq)| seq).take(9).collect();
    assert_eq!(order, [106, 105, 104, 1, 103, 102, 2, 3, 4]);
}

#[test]
fn what_is_not_acked_in_time_is_sent_again() {
    let mut sender = stocked("1-1", "", "");
    assert_eq!(published(&mut sender).len(), 1);
    assert_eq!(sender.next_timeout(), Some(at_ms(10_000)));
    sender.handle(at_ms(9_999), SenderEvent::TimedOut);
    assert_eq!(published(&mut sender), []);
    sender.handle(at_ms(10_000), SenderEvent::TimedOut);
    assert_eq!(publish(&mut sender, at_ms(10_000), 100), [(Lane::Urgent, 1)]);
    // A link this slow is given more time.
    assert_eq!(sender.next_timeout(), Some(at_ms(30_000)));
}

#[test]
fn what_nobody_took_is_handed_out_again() {
    let mut sender = stocked("1-1", "", "");
    assert_eq!(published(&mut sender).len(), 1);
    sender.handle(at_ms(20), SenderEvent::Returned(Lane::Urgent, seq(1)));
    assert_eq!(published(&mut sender), [(Lane::Urgent, 1)]);
}

#[test]
fn what_was_set_aside_is_still_stored_and_waits_until_it_is_tried_again() {
    let mut sender = stocked("", "1-5", "");
    assert_eq!(published(&mut sender).len(), 5);
    for number in [2, 3, 4] {
        sender.handle(at_ms(1), SenderEvent::SetAside(Lane::Trend, seq(number)));
    }
    assert_eq!((sender.aside(), sender.backlog()), (3, [0, 5, 0]));
    assert_eq!(published(&mut sender), []);
    // An ack that comes all the same, and a look at the file, change nothing else.
    sender.handle(at_ms(1), SenderEvent::Acked(&ack(Lane::Trend, "1-2")));
    assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
    sender.restock(stock("", "4-6", ""));
    assert_eq!((sender.aside(), published(&mut sender)), (1, vec![(Lane::Trend, 6)]));
    sender.handle(at_ms(2), SenderEvent::RetryAside);
    assert_eq!((sender.aside(), published(&mut sender)), (0, vec![(Lane::Trend, 4)]));
}

#[test]
fn the_window_is_bounded_in_bytes_and_in_count() {
    let mut sender = stocked("1-1000", "1-1000", "1-1000");
    let lanes: Vec<_> =
        publish(&mut sender, at_ms(0), 4096 - OVERHEAD).into_iter().map(|(lane, _)| lane).collect();
    let count = |of| lanes.iter().filter(|lane| **lane == of).count();
    assert_eq!((count(Lane::Urgent), count(Lane::Trend), count(Lane::Wave)), (16, 1, 0));
    let mut sender = stocked("1-1000", "", "");
    assert_eq!(publish(&mut sender, at_ms(0), 1).len(), IN_FLIGHT_MAX);
    sender.handle(at_ms(1), SenderEvent::Acked(&ack(Lane::Urgent, "1-10")));
    assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
    assert_eq!(publish(&mut sender, at_ms(1), 1).len(), 10);
}

#[test]
fn one_envelope_larger_than_the_window_goes_alone() {
    let mut sender = stocked("", "1-1000", "");
    assert_eq!(publish(&mut sender, at_ms(0), 60_000).len(), 1);
}

#[test]
fn acks_that_come_soon_open_the_window_and_late_ones_close_it() {
    let mut sender = stocked("", "1-1000", "");
    assert_eq!(publish(&mut sender, at_ms(0), 1024 - OVERHEAD).len(), 4);
    sender.handle(at_ms(50), SenderEvent::Acked(&ack(Lane::Trend, "1-4")));
    assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
    assert_eq!(publish(&mut sender, at_ms(50), 1024 - OVERHEAD).len(), 8);
    sender.handle(at_ms(3050), SenderEvent::Acked(&ack(Lane::Trend, "1-12")));
    assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
    assert_eq!(publish(&mut sender, at_ms(3050), 1024 - OVERHEAD).len(), 4);
}

#[test]
fn an_ack_that_repeats_or_comes_late_forgets_nothing_twice() {
    let mut sender = stocked("", "1-5", "");
    assert_eq!(published(&mut sender).len(), 5);
    sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "1-4")));
    assert_eq!(outputs(&mut sender), [forget(1, 4)]);
    sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "1-4")));
    assert_eq!((outputs(&mut sender), sender.backlog()), (vec![], [0, 1, 0]));
}

#[test]
fn what_was_dropped_or_is_news_only_in_the_outbox_is_found_again() {
    let mut sender = stocked("", "1-5", "");
    assert_eq!(published(&mut sender).len(), 5);
    let (first, last) = (seq(1), seq(2));
    sender.handle(at_ms(1), SenderEvent::Dropped { lane: Lane::Trend, first, last });
    assert_eq!(sender.backlog(), [0, 3, 0]);
    sender.restock(stock("", "4-7", ""));
    assert_eq!(published(&mut sender), [(Lane::Trend, 6), (Lane::Trend, 7)]);
}

#[test]
fn an_ack_of_a_seq_never_assigned_starts_a_new_outbox_and_forgets_nothing() {
    let mut sender = stocked("", "1-5", "");
    sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "1-6")));
    assert_eq!(sender.poll_output(), Some(SenderOutput::StartNewOutbox));
    assert_eq!(sender.poll_output(), None);
    assert_eq!(sender.backlog(), [0, 5, 0]);
}

#[test]
fn an_ack_of_another_outbox_changes_nothing() {
    let mut sender = stocked("", "1-5", "");
    let mut foreign = ack(Lane::Trend, "1-5");
    foreign.outbox = OutboxId::from_bytes([9; 16]);
    assert_eq!(published(&mut sender).len(), 5);
    sender.handle(at_ms(0), SenderEvent::Acked(&foreign));
    assert_eq!((outputs(&mut sender), sender.backlog()), (vec![], [0, 5, 0]));
}

/// A restored box has assigned numbers that the county knows with other bytes.
#[test]
fn a_number_without_its_bytes_proves_nothing() {
    let mut sender = stocked("", "1-5", "");
    // Nothing was sent on this connection: it may be anybody's.
    sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "1-5")));
    assert_eq!(published(&mut sender).len(), 5);
    let mut others = ack(Lane::Trend, "1-5");
    others.proven.iter_mut().for_each(|proven| proven.proof = proof(2));
    sender.handle(at_ms(0), SenderEvent::Acked(&others));
    assert_eq!((outputs(&mut sender), sender.backlog()), (vec![], [0, 5, 0]));
    let reason = CONFLICT.to_owned();
    let mut conflict = ack(Lane::Trend, "1-4");
    conflict.errors.push(AckError { lane: Lane::Trend, seq: seq(5), reason });
    sender.handle(at_ms(0), SenderEvent::Acked(&conflict));
    assert_eq!(outputs(&mut sender), [forget(1, 4), SenderOutput::StartNewOutbox]);
}

#[test]
fn what_a_restored_county_has_no_more_is_asked_of_the_outbox_once() {
    let mut sender = Sender::new(ids(), [lane("", 1), lane("41-45", 46), lane("", 1)]);
    assert_eq!(published(&mut sender).len(), 5);
    let (first, last) = (seq(30), seq(32));
    sender.handle(at_ms(0), SenderEvent::Dropped { lane: Lane::Trend, first, last });
    let mut restored = ack(Lane::Trend, "1-20,25-28,43-44");
    sender.handle(at_ms(0), SenderEvent::Acked(&restored));
    assert_eq!(outputs(&mut sender), [forget(43, 44), lost(21, 24), lost(29, 29), lost(33, 40)]);
    sender.handle(at_ms(0), SenderEvent::Acked(&restored));
    assert_eq!(outputs(&mut sender), []);
    // Sent again, acked, and lost once more.
    sender.restock(stock("", "21-24,41-42,45-45", ""));
    assert_eq!(publish(&mut sender, at_ms(1), 100).len(), 4);
    sender.handle(at_ms(1), SenderEvent::Acked(&ack(Lane::Trend, "1-28,43-44")));
    assert_eq!(outputs(&mut sender), [forget(21, 24)]);
    restored.proven.clear();
    sender.handle(at_ms(2), SenderEvent::Acked(&restored));
    assert_eq!(outputs(&mut sender), [lost(21, 24)]);
}

#[test]
fn what_an_ack_has_no_room_for_is_not_taken_for_lost() {
    let mut sender = Sender::new(ids(), [lane("", 1), lane("500-500", 500), lane("", 1)]);
    assert_eq!(published(&mut sender).len(), 1);
    let odd = (5..200).map(|number| (seq(2 * number + 1), seq(2 * number + 1)));
    let settled: RangeSet = odd.collect();
    let lanes = vec![(Lane::Urgent, RangeSet::default()), (Lane::Trend, settled)];
    let acks = Ack::telling(ids(), lanes, vec![], vec![]);
    sender.handle(at_ms(0), SenderEvent::Acked(&Ack::decode(&acks[0].encode()).unwrap()));
    let told = outputs(&mut sender);
    assert_eq!((told[0], told[30], told.len()), (lost(1, 10), lost(70, 70), 31));
}

#[test]
fn numbers_of_rows_that_were_never_written_are_used_up() {
    let mut sender = stocked("", "1-5", "");
    assert_eq!(published(&mut sender).len(), 5);
    let (first, last) = (seq(6), seq(9));
    sender.handle(at_ms(0), SenderEvent::Dropped { lane: Lane::Trend, first, last });
    let mut dropped = ack(Lane::Trend, "1-9");
    dropped.proven.truncate(5);
    sender.handle(at_ms(0), SenderEvent::Acked(&dropped));
    assert_eq!(outputs(&mut sender), [forget(1, 5)]);
}

/// The record of a drop waits in the urgent lane: what it counts is lost to nobody.
#[test]
fn what_the_county_lacks_is_asked_for_when_no_record_of_a_drop_can_be_on_its_way() {
    let mut sender = Sender::new(ids(), [lane("3-3", 1), lane("9-9", 1), lane("", 1)]);
    assert_eq!(published(&mut sender).len(), 2);
    sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "9-9")));
    assert_eq!(outputs(&mut sender), [forget(9, 9)]);
    // Urgent rows are missing too: theirs may be the record.
    let mut both = ack(Lane::Urgent, "3-3");
    sender.handle(at_ms(0), SenderEvent::Acked(&both));
    let urgent = |first, last| (Lane::Urgent, seq(first), seq(last));
    let asked: Vec<_> = outputs(&mut sender)
        .into_iter()
        .map(|output| match output {
            SenderOutput::Forget { lane, first, last } => (false, (lane, first, last)),
            SenderOutput::LostAtCounty { lane, first, last } => (true, (lane, first, last)),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [(false, urgent(3, 3)), (true, urgent(1, 2))]);
    let mut kept = [lane("1-2", 1), lane("", 1), lane("", 1)];
    (kept[0].next, kept[1].next) = (seq(4), seq(10));
    sender.restock(kept);
    assert_eq!(published(&mut sender).len(), 2);
    both.lanes[0].1.insert_range(seq(1), seq(2));
    both.proven = ack(Lane::Urgent, "1-2").proven;
    sender.handle(at_ms(0), SenderEvent::Acked(&both));
    let first = SenderOutput::Forget { lane: Lane::Urgent, first: seq(1), last: seq(2) };
    assert_eq!(outputs(&mut sender), [first, lost(1, 9)]);
}

#[test]
fn a_county_that_takes_in_again_need_not_be_waited_for() {
    let mut sender = stocked("", "1-2", "");
    assert_eq!(published(&mut sender).len(), 2);
    let now = at_ms(10_000);
    sender.handle(now, SenderEvent::TimedOut);
    assert_eq!(publish(&mut sender, now, 100).len(), 2);
    assert!(sender.next_timeout().unwrap().since(now) > Duration::from_secs(10));
    let word = Ack::decode(&Ack::taking_in_again(ids()).encode()).unwrap();
    sender.handle(now, SenderEvent::Acked(&word));
    assert_eq!(publish(&mut sender, now, 100), [(Lane::Trend, 1), (Lane::Trend, 2)]);
    assert_eq!(sender.next_timeout().unwrap().since(now), Duration::from_secs(10));
    // What comes back in the end is forgotten as ever.
    sender.handle(now, SenderEvent::Acked(&ack(Lane::Trend, "1-2")));
    assert_eq!(outputs(&mut sender), [forget(1, 2)]);
}
