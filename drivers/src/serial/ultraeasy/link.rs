//! Link layer of the meter: alternating bits, one command outstanding, retries.
//!
//! Not here: what is asked and why.

use super::codec::{Frame, Reply, ReplyError, Request, ack, command, disconnect};
use model::time::MonoTime;
use std::time::Duration;

/// "Wait for ack or response 500 ms to 1 s", §4.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// "On timeout resend the same packet up to 3 times", §4.
const RESEND_MAX: u8 = 3;
/// "The first reset after opening the port may need one extra try", §4. No more: a meter that is
/// not plugged in is the normal case.
const RESET_RESEND_MAX: u8 = 1;

/// What became of what was sent.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum News {
    /// Nothing yet.
    Waiting,
    /// The meter answered a reset.
    Reset,
    /// The meter answered.
    Reply(Request, Result<Reply, ReplyError>),
    /// The meter does not answer, or ended the link.
    Lost,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outstanding {
    Nothing,
    Reset,
    Command(Request),
}

/// One end of the link.
#[derive(Debug)]
pub(super) struct Link {
    /// Sequence bit of the next command, and of this one until it is acknowledged.
    sequence: bool,
    /// Sequence bit of the meter's next packet.
    expects: bool,
    outstanding: Outstanding,
    acked: bool,
    packet: Vec<u8>,
    resends: u8,
    answer_by: MonoTime,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            sequence: false,
            expects: false,
            outstanding: Outstanding::Nothing,
            acked: false,
            packet: Vec::new(),
            resends: 0,
            answer_by: MonoTime::START,
        }
    }

    /// Resets the link, at the beginning and at the end of a session; the packet to send.
    pub(super) fn reset(&mut self, now: MonoTime) -> Vec<u8> {
        *self = Self::new();
        self.begin(now, Outstanding::Reset, disconnect())
    }

    /// Asks the meter; the packet to send.
    pub(super) fn ask(&mut self, now: MonoTime, request: Request) -> Vec<u8> {
        let packet = command(self.sequence, self.expects, request);
        self.begin(now, Outstanding::Command(request), packet)
    }

    /// Takes a frame in; a packet to send at once, and the news.
    pub(super) fn take(&mut self, now: MonoTime, frame: Frame) -> (Option<Vec<u8>>, News) {
        match (frame, self.outstanding) {
            (Frame::Disconnect { ack: true }, Outstanding::Reset) => {
                self.outstanding = Outstanding::Nothing;
                (None, News::Reset)
            }
            (Frame::Disconnect { ack: false }, Outstanding::Command(_)) => {
                self.outstanding = Outstanding::Nothing;
                (None, News::Lost)
            }
            (Frame::Ack { expects }, Outstanding::Command(_))
                if !self.acked && expects != self.sequence =>
            {
                self.acked = true;
                self.answer_by = now + ANSWER_WITHIN;
                (None, News::Waiting)
            }
            (Frame::Data { sequence, expects, message }, Outstanding::Command(request))
                if sequence == self.expects && expects != self.sequence =>
            {
                self.outstanding = Outstanding::Nothing;
                self.sequence = !self.sequence;
                self.expects = !self.expects;
                let reply = Reply::decode(request, &message);
                (Some(ack(self.sequence, self.expects)), News::Reply(request, reply))
            }
            // The meter did not see our ack: "ack again, drop the content", §4.
            (Frame::Data { sequence, .. }, Outstanding::Command(_) | Outstanding::Nothing)
                if sequence != self.expects =>
            {
                (Some(ack(self.sequence, self.expects)), News::Waiting)
            }
            _ => (None, News::Waiting),
        }
    }

    /// The meter did not answer in time: the same packet again, or the link is lost.
    pub(super) fn time_out(&mut self, now: MonoTime) -> Result<Vec<u8>, News> {
        let max = match self.outstanding {
            Outstanding::Reset => RESET_RESEND_MAX,
            _ => RESEND_MAX,
        };
        if self.resends >= max {
            self.outstanding = Outstanding::Nothing;
            return Err(News::Lost);
        }
        self.resends += 1;
        self.answer_by = now + ANSWER_WITHIN;
        Ok(self.packet.clone())
    }

    /// When an answer is overdue, if one is awaited.
    pub(super) fn answer_by(&self) -> Option<MonoTime> {
        (self.outstanding != Outstanding::Nothing).then_some(self.answer_by)
    }

    fn begin(&mut self, now: MonoTime, outstanding: Outstanding, packet: Vec<u8>) -> Vec<u8> {
        self.outstanding = outstanding;
        self.acked = false;
        self.resends = 0;
        self.answer_by = now + ANSWER_WITHIN;
        self.packet.clone_from(&packet);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonoTime = MonoTime::START;

    fn data(sequence: bool, expects: bool) -> Frame {
        Frame::Data { sequence, expects, message: vec![5, 6, 0x16, 0x35, 0x65, 0x4E] }
    }

    /// Sheet §4.4: "00 → ack 06 → response 02 → host ack 07. Second: 03 → 05 → 01 → 04".
    #[test]
    fn bits_alternate_as_in_the_capture() {
        let mut link = Link::new();
        link.reset(NOW);
        assert_eq!(link.take(NOW, Frame::Disconnect { ack: true }).1, News::Reset);
        for (command, acked, (sequence, expects), host_ack) in
            [(0, true, (false, true), 7), (3, false, (true, false), 4), (0, true, (false, true), 7)]
        {
            assert_eq!(link.ask(NOW, Request::Clock)[2], command);
            assert_eq!(link.take(NOW, Frame::Ack { expects: acked }), (None, News::Waiting));
            let (sent, news) = link.take(NOW, data(sequence, expects));
            assert_eq!(sent.unwrap()[2], host_ack);
            assert!(matches!(news, News::Reply(Request::Clock, Ok(Reply::Clock(_)))));
        }
    }

    #[test]
    fn a_repeated_reply_is_acknowledged_again_and_its_content_dropped() {
        let mut link = Link::new();
        link.ask(NOW, Request::Clock);
        link.take(NOW, data(false, true));
        let (sent, news) = link.take(NOW, data(false, true));
        assert_eq!((sent.unwrap()[2], news), (7, News::Waiting));
        // Also while the next command is out.
        link.ask(NOW, Request::Unit);
        let (sent, news) = link.take(NOW, data(false, true));
        assert_eq!((sent.unwrap()[2], news), (7, News::Waiting));
    }

    #[test]
    fn the_same_packet_is_sent_again_three_times() {
        let mut link = Link::new();
        let packet = link.ask(NOW, Request::Clock);
        for _ in 0..3 {
            assert_eq!(link.time_out(NOW), Ok(packet.clone()));
        }
        assert_eq!(link.time_out(NOW), Err(News::Lost));
        assert_eq!(link.answer_by(), None);
    }

    #[test]
    fn a_reply_with_bits_out_of_turn_is_not_taken() {
        let mut link = Link::new();
        link.ask(NOW, Request::Clock);
        assert_eq!(link.take(NOW, data(false, false)), (None, News::Waiting));
        assert_eq!(link.take(NOW, Frame::Disconnect { ack: true }), (None, News::Waiting));
        assert_eq!(link.take(NOW, Frame::Disconnect { ack: false }), (None, News::Lost));
    }
}
