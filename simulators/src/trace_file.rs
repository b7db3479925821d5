//! A trace in a file, line by line, however long it is.

use anyhow::Context as _;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
};
use trace::{Entry, Head, LINE_LEN_MAX, Reader, TraceError};

/// A trace that is being read.
#[derive(Debug)]
pub(crate) struct TraceFile<R> {
    lines: R,
    reader: Reader,
}

impl TraceFile<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self::new(BufReader::new(file)))
    }
}

impl<R: BufRead> TraceFile<R> {
    pub(crate) fn new(lines: R) -> Self {
        Self { lines, reader: Reader::default() }
    }

    /// What the trace is of, as far as it was read: all of it once there was an entry.
    pub(crate) fn head(&self) -> &Head {
        self.reader.head()
    }

    /// The next entry or what is wrong with a line; `None` at the end. A last line that was cut
    /// off, as by a power cut, is the end.
    ///
    /// # Errors
    /// When the file cannot be read, or its head: it says neither device nor driver.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Result<Entry, TraceError>>> {
        loop {
            let mut line = Vec::new();
            // One more than the longest, so that a longer one is told as such.
            let limit = u64::try_from(LINE_LEN_MAX + 1).unwrap_or(u64::MAX);
            let read = (&mut self.lines).take(limit).read_until(b'\n', &mut line);
            if read.context("reading the trace")? == 0 {
                self.reader.end()?;
                return Ok(None);
            }
            let ended = line.last() == Some(&b'\n');
            let long = !ended && line.len() > LINE_LEN_MAX;
            if long {
                self.skip_line()?;
            }
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
            match self.reader.take(&text) {
                Ok(None) => {}
                Ok(Some(entry)) => return Ok(Some(Ok(entry))),
                // The first line is never taken for a line that was cut off.
                Err(error) if error.line == 1 || (self.reader.end().is_err() && ended) => {
                    return Err(error.into());
                }
                Err(error) if ended || long => return Ok(Some(Err(error))),
                Err(_) => {
                    self.reader.end()?;
                    return Ok(None);
                }
            }
        }
    }

    fn skip_line(&mut self) -> anyhow::Result<()> {
        loop {
            let chunk = self.lines.fill_buf().context("reading the trace")?;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(chunk.len(), |end| end + 1);
            self.lines.consume(count);
            if end.is_some() || count == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trace::Problem;

    fn read(text: &str) -> Vec<Result<String, Problem>> {
        let mut file = TraceFile::new(text.as_bytes());
        let entries = std::iter::from_fn(|| file.next().unwrap());
        entries.map(|entry| entry.map(|entry| entry.lines()).map_err(|e| e.problem)).collect()
    }

    const HEAD: &str = "clinic-trace 1\ndevice: x\n--\n";

    #[test]
    fn a_last_line_that_was_cut_off_is_the_end() {
        let good = "1.000000 < 16\n";
        for cut in ["1.0", "1.000000", "1.000000 <", "1.000000 < 1", "2.000000 open"] {
            assert_eq!(read(&format!("{HEAD}{good}{cut}")), [Ok(good.to_owned())], "{cut}");
        }
        assert_eq!(read(&format!("{HEAD}1.000000 < 16")), [Ok(good.to_owned())]);
    }

    #[test]
    fn a_file_that_ends_in_its_head_is_no_trace() {
        let ends = "nothing is in it";
        for (text, said) in [
            ("", ends),
            ("clinic-trace 1\n", ends),
            ("clinic-trace 1\ndevice: x\n", ends),
            ("clinic-trace 1\nde", ends),
            ("clinic-trace", "line 1: this is no trace"),
            ("clinic-trace 2\n--\n0.000000 opened\n", "line 1: this is no trace"),
            ("clinic-trace 1\ndevice\n--\n", "line 2: expected \"name: text\""),
        ] {
            let error = TraceFile::new(text.as_bytes()).next().unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
        assert_eq!(read(HEAD), []);
    }

    #[test]
    fn a_line_without_an_end_is_one_mistake_and_takes_no_memory() {
        let long = "7".repeat(3 * LINE_LEN_MAX);
        let text = format!("{HEAD}{long}\n1.000000 opened\n");
        assert_eq!(read(&text), [Err(Problem::LineTooLong), Ok("1.000000 opened\n".to_owned())]);
    }
}
