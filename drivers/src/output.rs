//! What a driver wants done, whatever its link is.

use model::record::Record;

/// What the driver wants done; `R` is what may be asked of its link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output<R> {
    /// Do this on the link.
    Send(R),
    /// A reading group, waveform block, device alarm or status.
    Emit(Record),
    /// What the driver must know after a restart; committed with everything emitted before it.
    Remember(Cursor),
    /// Something about the link that an engineer should read in the log: bad checksums, noise,
    /// unknown frames. Counted; never a reading.
    Note(LinkNote),
}

/// What a driver keeps across restarts: its own bytes, opaque to everybody else.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cursor(pub Vec<u8>);

/// Longest cursor: 500 glucose records of 8 bytes fit.
pub const CURSOR_LEN_MAX: usize = 8 * 1024;

/// Kinds of notes that say that what a device said could not be read.
const FAILURES: [&str; 12] = [
    "bad_line",
    "broken_off",
    "checksum",
    "cut_off",
    "length",
    "malformed",
    "noise",
    "refused",
    "too_long",
    "unknown_frame",
    "unknown_object",
    "unknown_unit",
];

/// What went wrong on a link, in the driver's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkNote {
    /// A constant name for the counter: `checksum`, `noise`, `unknown_frame`, …
    pub kind: &'static str,
    /// One sentence: what happened; what to do.
    pub text: String,
}

impl LinkNote {
    /// Whether what the device said could not be read: worth keeping the bytes for.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        FAILURES.contains(&self.kind)
    }
}
