//! What the broker owes: an answer to each publish, and a sign of life.
//!
//! Why not left to the client: while it writes into a black hole it looks at no timer, and it does
//! not say which publish was answered. It takes requests in order, and says the packet id of each.

use super::Row;
use model::time::MonoTime;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Nothing heard for this long, not even an answer to a ping: the connection is a black hole.
/// Pings go out every 20 s, so this is two of them and some patience.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The longest envelope takes 27 s on a link of 20 kbit/s.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What was handed over and not answered.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Handed to the client, oldest first; what is no row of the outbox is `None`.
    handed: VecDeque<Option<Row>>,
    /// On the wire, by packet id.
    sent: BTreeMap<u16, Option<Row>>,
    heard_at: MonoTime,
    /// The last answer, or when the first publish was handed over that has none.
    answered_at: MonoTime,
}

impl InFlight {
    /// Nothing yet; the broker was heard just now.
    pub(super) fn new(now: MonoTime) -> Self {
        let (handed, sent) = (VecDeque::new(), BTreeMap::new());
        Self { handed, sent, heard_at: now, answered_at: now }
    }

    /// A publish was handed to the client.
    pub(super) fn hand_over(&mut self, now: MonoTime, row: Option<Row>) {
        if self.is_empty() {
            self.answered_at = now;
        }
        self.handed.push_back(row);
    }

    /// The client wrote the next publish under that packet id.
    pub(super) fn write(&mut self, packet: u16) {
        if let Some(row) = self.handed.pop_front() {
            self.sent.insert(packet, row);
        }
    }

    /// Something came from the broker.
    pub(super) fn hear(&mut self, now: MonoTime) {
        self.heard_at = now;
    }

    /// A publish was answered: which row it was.
    pub(super) fn answer(&mut self, now: MonoTime, packet: u16) -> Option<Row> {
        self.answered_at = now;
        self.sent.remove(&packet).flatten()
    }

    /// When the connection has to be given up, if nothing comes before.
    pub(super) fn give_up_at(&self) -> MonoTime {
        let silent = self.heard_at + SILENCE_MAX;
        if self.is_empty() { silent } else { silent.min(self.answered_at + ANSWER_MAX) }
    }

    /// Rows handed over and not written yet, oldest first.
    #[cfg(test)]
    pub(super) fn handed(&self) -> Vec<Row> {
        self.handed.iter().flatten().copied().collect()
    }

    fn is_empty(&self) -> bool {
        self.handed.is_empty() && self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{Lane, Seq};

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn silence_and_missing_answers_end_a_connection_however_busy_the_agent_is() {
        let mut in_flight = InFlight::new(at(0));
        assert_eq!(in_flight.give_up_at(), at(45));
        // What goes out is no sign of life.
        in_flight.hand_over(at(10), None);
        assert_eq!(in_flight.give_up_at(), at(40));
        in_flight.hand_over(at(20), None);
        in_flight.write(1);
        in_flight.write(2);
        assert_eq!(in_flight.give_up_at(), at(40));
        in_flight.hear(at(25));
        in_flight.answer(at(25), 1);
        assert_eq!(in_flight.give_up_at(), at(55));
        in_flight.answer(at(26), 2);
        assert_eq!(in_flight.give_up_at(), at(70));
    }

    #[test]
    fn an_answer_is_for_the_row_that_went_out_under_its_packet_id() {
        let row = |number| (Lane::Trend, Seq::new(number).unwrap());
        let mut in_flight = InFlight::new(at(0));
        for handed in [Some(row(5)), None, Some(row(4))] {
            in_flight.hand_over(at(0), handed);
        }
        for packet in [7, 8, 9] {
            in_flight.write(packet);
        }
        assert_eq!(in_flight.answer(at(0), 9), Some(row(4)));
        assert_eq!(in_flight.answer(at(0), 8), None);
        assert_eq!(in_flight.answer(at(0), 7), Some(row(5)));
        assert_eq!(in_flight.answer(at(0), 7), None);
    }
}
