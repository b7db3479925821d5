//! Whether the write-ahead log lost something: SQLite believes it up to the first frame that is
//! wrong, and would drop what was committed behind that without a word.
//!
//! Not here: the last commit. Of that nobody can tell whether the power failed before it was whole.
//! Read first: "WAL-mode File Format", <https://www.sqlite.org/walformat.html>.

use super::file::beside;
use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    path::Path,
};

/// Facts from section 2 of that document.
mod spec {
    /// "The magic number is either 0x377f0682 or 0x377f0683"; the last bit says that the words of
    /// a checksum are big-endian.
    pub(super) const MAGIC: u32 = 0x377f_0682;
    pub(super) const HEAD_LEN: usize = 32;
    pub(super) const FRAME_HEAD_LEN: usize = 24;
    /// Pages have 512 to 65536 bytes.
    pub(super) const PAGE_LEN_MAX: usize = 65536;
}

/// Whether something that was committed is behind a frame that is wrong.
pub(super) fn is_damaged(database: &Path) -> bool {
    // Without a log nothing can be wrong with it; what else fails SQLite will say.
    File::open(beside(database, "-wal")).and_then(look).unwrap_or(false)
}

fn look(file: File) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut head = [0; spec::HEAD_LEN];
    file.read_exact(&mut head)?;
    let [magic, _version, page_len, _number, salt_1, salt_2, sum_1, sum_2] = words(&head);
    let mut sum = Sum { big_endian: magic & 1 == 1, ..Sum::default() };
    sum.add(head.first_chunk::<24>().unwrap_or(&[0; 24]));
    let page_len = usize::try_from(page_len).unwrap_or(usize::MAX);
    let is_head = magic & !1 == spec::MAGIC && sum.is(sum_1, sum_2);
    if !is_head || page_len > spec::PAGE_LEN_MAX {
        return Ok(file.read_exact(&mut [0]).is_ok());
    }
    let mut page = vec![0; page_len];
    let (mut believed, mut commits) = (true, 0);
    loop {
        let mut head = [0; spec::FRAME_HEAD_LEN];
        if file.read_exact(&mut head).and_then(|()| file.read_exact(&mut page)).is_err() {
            return Ok(false);
        }
        let [number, pages, of_1, of_2, sum_1, sum_2, ..] = words(&head);
        // Else it is of the log's earlier life.
        let is_of_log = (of_1, of_2) == (salt_1, salt_2);
        sum.add(head.first_chunk::<8>().unwrap_or(&[0; 8]));
        sum.add(&page);
        believed = believed && is_of_log && number != 0 && sum.is(sum_1, sum_2);
        if believed || !is_of_log {
            continue;
        }
        // A frame behind a commit was written after that was on disk.
        if commits > 0 {
            return Ok(true);
        }
        commits += u32::from(pages != 0);
    }
}

/// Big-endian words; zeros behind the end.
fn words(bytes: &[u8]) -> [u32; 8] {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// The running checksum: "s0 += x(i) + s1; s1 += x(i+1) + s0".
#[derive(Default)]
struct Sum {
    big_endian: bool,
    first: u32,
    second: u32,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let word = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        for [a, b, c, d, e, f, g, h] in bytes.as_chunks().0 {
            self.first = self.first.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(self.second);
            self.second = self.second.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(self.first);
        }
    }

    fn is(&self, first: u32, second: u32) -> bool {
        (self.first, self.second) == (first, second)
    }
}
