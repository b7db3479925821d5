//! What holds for every mask, and the checks that each mask's own tests use.

use super::*;
use crate::{
    bench::Bench,
    registry::{DriverName, DriverOptions, create, redactor},
};
use model::{id::DeviceId, time::DeviceTime};
use proptest::{collection::vec, prelude::*};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The bytes cut into chunks of these lengths, over and over.
pub(crate) fn chunks(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (mut rest, mut chunks) = (bytes, Vec::new());
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, later) = rest.split_at((*cut).min(rest.len()));
        chunks.push(chunk.to_vec());
        rest = later;
    }
    chunks
}

/// What is kept of chunks that came a millisecond apart.
pub(crate) fn redacted(driver: DriverName, chunks: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut redactor = redactor(driver);
    let mut kept = Vec::new();
    let mut newest = Duration::ZERO;
    let mut drain = |redactor: &mut Redactor| {
        while let Some((at, said)) = redactor.next() {
            assert!(at >= newest, "times grow");
            newest = at;
            match said {
                Said::Received(bytes) => kept.push(bytes),
                Said::Sent(bytes) => panic!("nobody said {bytes:?}"),
            }
        }
    };
    for (at, chunk) in (0..).zip(chunks) {
        redactor.received(ms(at), chunk);
        drain(&mut redactor);
    }
    redactor.end();
    drain(&mut redactor);
    kept
}

/// Everything but texts of a group.
fn read(driver: DriverName, chunks: &[Vec<u8>]) -> (Vec<String>, Vec<Option<DeviceTime>>) {
    let device = DeviceId::new("x-01").unwrap();
    let mut bench = Bench::new(create(driver, device, &DriverOptions::default(), None));
    for chunk in chunks {
        bench.receive(chunk);
    }
    let times = bench.groups().iter().map(|group| group.device_time).collect();
    (bench.values(), times)
}

/// A recording decodes to the same readings, has as many bytes, and never shows the secret.
pub(crate) fn check(
    driver: DriverName,
    bytes: &[u8],
    cuts: &[usize],
    secret: &[u8],
) -> Result<(), TestCaseError> {
    let sent = chunks(bytes, cuts);
    let kept = redacted(driver, &sent);
    prop_assert_eq!(read(driver, &kept), read(driver, &sent));
    let kept = kept.concat();
    prop_assert_eq!(kept.len(), bytes.len());
    prop_assert!(!kept.windows(secret.len()).any(|found| found == secret));
    Ok(())
}

const LINE: &str = "2026,07,11,09,05,12345678901234567890,0,120,080,072,0\r\n";
const KEPT: &str = "2026,07,11,09,05,xxxxxxxxxxxxxxxxxxxx,0,120,080,072,0\r\n";

fn drained(redactor: &mut Redactor) -> Vec<(Duration, Said)> {
    std::iter::from_fn(|| redactor.next()).collect()
}

fn received(at: u64, text: &str) -> (Duration, Said) {
    (ms(at), Said::Received(text.as_bytes().to_vec()))
}

#[test]
fn bytes_keep_the_time_at_which_they_came_and_wait_for_the_end_of_their_line() {
    let mut redactor = redactor(DriverName::Hbp9030);
    redactor.received(ms(1), &LINE.as_bytes()[..20]);
    redactor.sent(ms(2), b"ours");
    assert_eq!(drained(&mut redactor), []);
    redactor.received(ms(3), &LINE.as_bytes()[20..]);
    let ours = (ms(2), Said::Sent(b"ours".to_vec()));
    let kept = [received(1, &KEPT[..20]), ours, received(3, &KEPT[20..])];
    assert_eq!(drained(&mut redactor), kept);
}

#[test]
fn what_stays_unfinished_is_hidden() {
    let mut redactor = redactor(DriverName::Hbp9030);
    redactor.received(ms(1), &LINE.as_bytes()[..30]);
    redactor.end();
    assert_eq!(drained(&mut redactor), [received(1, &"x".repeat(30))]);
    redactor.received(ms(2), &LINE.as_bytes()[..30]);
    redactor.sent(ms(40_000), b"ours");
    let ours = (ms(40_000), Said::Sent(b"ours".to_vec()));
    assert_eq!(drained(&mut redactor), [received(2, &"x".repeat(30)), ours]);
    redactor.received(ms(40_001), LINE.as_bytes());
    assert_eq!(drained(&mut redactor), [received(40_001, KEPT)]);
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut redactor = redactor(DriverName::Hbp9030);
    redactor.received(ms(0), b"2026");
    for _ in 0..3 * HELD_MAX {
        redactor.sent(ms(1), b"ours");
        assert!(redactor.held.len() <= HELD_MAX);
    }
}

#[test]
fn it_shows_no_bytes_of_its_own_accord() {
    let mut redactor = redactor(DriverName::Hbp9030);
    redactor.received(ms(0), &LINE.as_bytes()[..30]);
    assert_eq!(format!("{redactor:?}"), "Redactor(30 bytes unsettled)");
}

#[test]
fn an_endless_frame_is_not_waited_for() {
    for driver in DriverName::ALL {
        for start in [&b"\x16\x16\x0100\x02"[..], b"\x01", b"\xc0", b"{"] {
            let mut redactor = redactor(driver);
            redactor.received(ms(0), start);
            for _ in 0..40 {
                redactor.received(ms(0), &[b'7'; 3000]);
                drained(&mut redactor);
                assert!(redactor.unsettled.len() <= 64 * 1024, "{driver:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_mask_panic_or_lose_one(
        pieces in vec(vec(prop_oneof![
            prop::sample::select(b"\x01\x02\x03\x04\x16\x1e\x7d\xc0\xc1\n\r{\"0".to_vec()),
            any::<u8>()
        ], 0..40), 0..20),
    ) {
        for driver in DriverName::ALL {
            // No good frame comes by chance, so nothing changes its length.
            prop_assert_eq!(redacted(driver, &pieces).concat().len(), pieces.concat().len());
        }
    }

    #[test]
    fn what_has_nothing_to_hide_passes_as_it_came(bytes in vec(any::<u8>(), 1..60)) {
        for driver in [DriverName::Pm6750, DriverName::Ultraeasy, DriverName::Td42xx] {
            prop_assert_eq!(redacted(driver, std::slice::from_ref(&bytes)), vec![bytes.clone()]);
        }
    }
}
