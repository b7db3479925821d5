//! Messages are those of the sheet, byte by byte, and requests of the sheet are understood.

use super::*;
use crate::serial::intellivue::messages::{float, observation};

#[test]
fn session_messages_are_those_of_the_sheet() {
    let granted = Granted { period: 8000, mtu: 1000, options: 0x8800_0000 };
    check(&messages::accept(granted), ASSOCIATION_ACCEPT);
    let id = bytes("00 09 FB FF FF 88 C1 BD");
    check(&messages::create_event(1, 80_000, &system::identity(&id)), CREATE_EVENT);
    check(messages::RELEASE_RESPONSE, RELEASE_RESPONSE);
    check(messages::ABORT, ABORT);
    check(messages::REFUSE, REFUSE);
}

#[test]
fn a_numerics_result_is_that_of_the_sheet() {
    let numeric = |physio: u16, state: u16, unit: u16, value: [u8; 4]| {
        [words(&[physio, state, unit]), value.to_vec()].concat()
    };
    let one = |handle, physio, unit, value| {
        let label = moment::label(physio).to_be_bytes();
        let found = [
            attribute(spec::LABEL, &label),
            attribute(spec::NUMERIC, &numeric(physio, 0, unit, value)),
        ];
        observation(handle, &found)
    };
    let pressures = [
        numeric(0x4A05, 0, 0x0F20, float(120, 0)),
        numeric(0x4A06, 0, 0x0F20, float(80, 0)),
        numeric(0x4A07, spec::UNAVAILABLE, 0x0F20, float(spec::NAN, 0)),
    ];
    let observations = [
        one(0x0101, 0x4182, 0x0AA0, float(75, 0)),
        one(0x0102, 0x4BB8, 0x0220, float(970, -1)),
        observation(0x0103, &[attribute(spec::COMPOUND_NUMERIC, &list(&pressures))]),
    ];
    let reply = Reply {
        invoke: 1,
        number: 1,
        sequence: None,
        ticks: 480_000,
        // 2026-11-22 08:30:00, civil.
        absolute: messages::absolute(1_795_336_200_000),
        object: spec::NUMERICS,
        group: spec::GROUP_ALL,
    };
    let result = reply.messages(&observations, spec::MTU, Closing::Empty);
    assert_eq!(result.len(), 1);
    check(&result[0], NUMERICS_RESULT);
}

#[test]
fn numbers_are_those_of_the_sheet() {
    assert_eq!(float(32_000, -3), [0xFD, 0x00, 0x7D, 0x00]);
    assert_eq!(float(320, -1), [0xFF, 0x00, 0x01, 0x40]);
    assert_eq!(float(320, 1), [0x01, 0x00, 0x01, 0x40]);
    assert_eq!(float(32, 2), [0x02, 0x00, 0x00, 0x20]);
    assert_eq!(float(spec::NAN, 0), [0x00, 0x7F, 0xFF, 0xFF]);
    // "< 3.3 s: 10 s; < 43 s: 3 × P; else 130 s"
    for (ticks, seconds) in [(8000, 10), (26_399, 10), (80_000, 30), (343_992, 128), (344_000, 130)]
    {
        assert_eq!(spec::time_out_us(ticks) / 1_000_000, seconds, "{ticks}");
    }
}

#[test]
fn requests_of_the_sheet_are_understood() {
    let profile = Profile { period: 4000, mtu_receive: 1456, options: 0x8E00_0000 };
    assert_eq!(decode(ASSOCIATION_REQUEST), Request::Associate(Some(profile)));
    assert_eq!(decode(CREATE_RESULT), Request::CreateResult { invoke: 1 });
    let poll = Poll {
        extended: true,
        number: 1,
        partition: 1,
        object: spec::NUMERICS,
        group: spec::GROUP_VALUES,
        duration: Some(480_000),
        prioritised: None,
    };
    assert_eq!(decode(POLL_NUMERICS), Request::Poll { invoke: 1, poll: Some(poll) });
    let waves = Poll { number: 2, object: spec::WAVES, duration: Some(240_000), ..poll };
    assert_eq!(decode(POLL_WAVES), Request::Poll { invoke: 2, poll: Some(waves) });
    let keep_alive = Poll {
        extended: false,
        number: 7,
        object: spec::ALERT_MONITOR,
        group: spec::GROUP_STATIC,
        duration: None,
        ..poll
    };
    assert_eq!(decode(KEEP_ALIVE), Request::Poll { invoke: 8, poll: Some(keep_alive) });
    assert_eq!(decode(RELEASE_REQUEST), Request::Release);
    assert_eq!(decode(ABORT), Request::Abort);
    for other in [RELEASE_RESPONSE, REFUSE, ASSOCIATION_ACCEPT, CREATE_EVENT] {
        assert_eq!(decode(other), Request::Other);
    }
}

#[test]
fn a_long_answer_is_linked_and_closed() {
    let reply = Reply {
        invoke: 9,
        number: 1,
        sequence: Some(0),
        ticks: 0,
        absolute: messages::NO_ABSOLUTE,
        object: spec::WAVES,
        group: spec::GROUP_VALUES,
    };
    let series = |lens: &[usize], closing| -> Vec<(u16, u16)> {
        let observations: Vec<Vec<u8>> = lens.iter().map(|len| vec![0xEE; *len]).collect();
        let messages = reply.messages(&observations, 1000, closing);
        let all: usize = messages
            .iter()
            .map(|message| message.iter().filter(|byte| **byte == 0xEE).count())
            .sum();
        assert_eq!(all, lens.iter().sum::<usize>(), "nothing is left out");
        assert!(messages.iter().all(|message| message.len() <= 1000));
        let state = |message: &Vec<u8>| {
            let kind = u16::from_be_bytes([message[4], message[5]]);
            (
                kind,
                if kind == spec::LINKED { u16::from_be_bytes([message[8], message[9]]) } else { 0 },
            )
        };
        messages.iter().map(state).collect()
    };
    // State and count.
    let (first, middle) = ((5, 0x0101), (5, 0x0202));
    assert_eq!(series(&[400, 400], Closing::Empty), [(2, 0)]);
    assert_eq!(series(&[400; 3], Closing::Empty), [first, (5, 0x0302), (2, 0)]);
    assert_eq!(series(&[400; 3], Closing::Observation), [first, (5, 0x0302), (2, 0)]);
    assert_eq!(series(&[400; 5], Closing::Empty), [first, middle, (5, 0x0303), (2, 0)]);
    assert_eq!(series(&[900, 80], Closing::Observation), [first, (5, 0x0302), (2, 0)]);
}
