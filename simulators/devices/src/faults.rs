//! The catalogue of what goes wrong between a device and its host.
//!
//! Not here: how it happens to bytes (`cable`), and what a device itself does wrong
//! (`serial/temper.rs`: as rude as its sheet allows). A fault is what a cable, an adapter or the
//! world does to any device.

use crate::SimTime;
use std::ops::Range;

/// Bytes that one fault drops or makes garbage.
pub(crate) const HIT: Range<u64> = 4..17;
/// Of a piece of bytes, so many come twice at most.
pub(crate) const DOUBLED_MAX: usize = 512;
/// How long bytes are held back.
pub(crate) const STALL_MS: Range<u64> = 300..4_000;
/// How long a cable is out.
pub(crate) const UNPLUGGED_MS: Range<u64> = 2_000..5_000;
/// From here on a pulled cable carries nothing to the device either. Before, it hears what the host
/// answers to bytes that it had already.
pub(crate) const LAST_WORD_MS: u64 = 1_000;
/// After a stall a host has given up, and asks again.
pub(crate) const AFTER_STALL_MS: u64 = 5_000;
/// A host looks at least so often whether its port is there again.
const FOUND_AGAIN_MS: u64 = 10_000;
/// What a line of the wrong rate reads as: breaks, idle line, and a start bit taken for data.
pub(crate) const GARBAGE: [u8; 6] = [0x00, 0xFF, 0x80, 0xFE, 0xC0, 0xF8];
/// A longer line than any device says.
pub(crate) const LINE_MAX: usize = 4096;
/// Minutes by which a clock is set wrong, or right again.
pub(crate) const JUMPS: [i64; 6] = [-5_760, -67, -11, 7, 94, 4_320];

/// What can go wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// Bytes vanish.
    Drop,
    /// A piece of bytes comes twice.
    Double,
    /// Bits of a byte are flipped.
    Corrupt,
    /// Bytes are held back, and come all at once.
    Stall,
    /// The cable is out: bytes of both directions vanish, and so does the port.
    Unplug,
    /// Bytes are read at a wrong rate.
    Baud,
    /// The device's own clock jumps.
    ClockJump,
}

impl Fault {
    /// The catalogue.
    pub const ALL: [Self; 7] = [
        Self::Drop,
        Self::Double,
        Self::Corrupt,
        Self::Stall,
        Self::Unplug,
        Self::Baud,
        Self::ClockJump,
    ];

    /// Its name in the truth.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Double => "double",
            Self::Corrupt => "corrupt",
            Self::Stall => "stall",
            Self::Unplug => "unplug",
            Self::Baud => "baud",
            Self::ClockJump => "clock_jump",
        }
    }

    /// What happens, in a line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Drop => "4 to 16 bytes vanish; of a line protocol, the rest of a line",
            Self::Double => "a piece of bytes comes twice; of a line protocol, a line",
            Self::Corrupt => "bits of one byte are flipped; of a line protocol, its eighth bit",
            Self::Stall => "bytes are held back for 0.3 to 4 s, and come all at once",
            Self::Unplug => "the cable is out for 2 to 5 s, and there is noise when it comes back",
            Self::Baud => "4 to 16 bytes become what a wrong rate reads: 00, FF, framing noise",
            Self::ClockJump => "the device's clock jumps by minutes or days, or back to 2000",
        }
    }
}

/// How often faults happen, and until when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FaultPlan {
    /// From which their order and all about them follows.
    pub seed: u64,
    /// About so long from one to the next: half to one and a half of it.
    pub every_ms: u64,
    /// None begins from here on.
    pub until: Option<SimTime>,
}

/// How far a damage reaches in a protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Bytes that a damage may hide with it: the longest frame that is sent, or that a damaged
    /// length may claim.
    pub(crate) bytes: u64,
    /// How long after the cable is in again a host may not listen: it finds its port, and asks the
    /// device to begin.
    pub(crate) restart_ms: u64,
    /// It has lines of text and no checksum: a damaged digit is a digit there, and nobody can tell.
    /// Its faults are those that can be told: bytes that are no text, lines that end in the next.
    pub(crate) is_text: bool,
}

pub(crate) fn reach(name: &str) -> Reach {
    let (bytes, begin_ms, is_text) = match name {
        "pm6750" => (257, 2_000, false),
        "tm2655" => (72, 2_000, false),
        "ultraeasy" => (40, 2_000, false),
        // A new record in the middle of a download is read again with all others.
        "td42xx" => (300, 2_000, false),
        "asena" => (100, 5_000, false),
        // A message of linked results is some frames long; an association ends before the next.
        "intellivue" => (4_096, 15_000, false),
        "hbp9030" => (2 * 55, 0, true),
        "json-lines" => (4_096, 5_000, true),
        // A block of a pump's parameters has about 700 bytes.
        _ => (900, 5_000, false),
    };
    Reach { bytes, restart_ms: FOUND_AGAIN_MS + begin_ms, is_text }
}
