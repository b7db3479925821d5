//! What a process costs, by the kernel's own account in `/proc`.

use anyhow::Context as _;
use serde_json::{Value, json};
use std::fs;

/// What the kernel has counted of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor seconds, its own and the kernel's for it.
    pub cpu_s: f64,
    /// Resident memory.
    pub rss_kib: f64,
    /// The most that was resident.
    pub peak_rss_kib: f64,
    /// Resident without the pages of the program, which has the gateway in it too.
    pub own_kib: f64,
    /// Bytes sent to the disk: whole pages of the file system, rewritten ones again.
    pub written: f64,
    /// Bytes handed to `write`, of which some never reach the disk.
    pub handed_to_write: f64,
}

impl Usage {
    /// Of that process until now.
    ///
    /// # Errors
    /// When there is no such process, or it belongs to somebody else.
    pub fn of(id: u32) -> anyhow::Result<Self> {
        /// USER_HZ, the unit of these counters on every Linux.
        const TICKS_A_SECOND: f64 = 100.0;
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{id}/{name}")).with_context(|| format!("{id} {name}"))
        };
        let stat = read("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        // utime and stime are the 14th and 15th; the first two are behind us.
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        let (status, io) = (read("status")?, read("io")?);
        Ok(Self {
            cpu_s: ticks.iter().sum::<f64>() / TICKS_A_SECOND,
            rss_kib: field(&status, "VmRSS:")?,
            peak_rss_kib: field(&status, "VmHWM:")?,
            own_kib: field(&status, "RssAnon:")?,
            written: field(&io, "write_bytes:")?,
            handed_to_write: field(&io, "wchar:")?,
        })
    }
}

fn field(text: &str, name: &str) -> anyhow::Result<f64> {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    let number = found.and_then(|rest| rest.split_whitespace().next()).context("a field")?;
    number.parse().with_context(|| format!("{name} {number:?}"))
}

/// What a process cost over a time.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// That time.
    pub over_s: f64,
    /// Processor seconds.
    pub cpu_s: f64,
    /// Processor time as a part of one core.
    pub cpu_percent: f64,
    /// Resident memory at the end.
    pub rss_kib: f64,
    /// The most that was ever resident.
    pub peak_rss_kib: f64,
    /// Resident at the end without the pages of the program.
    pub own_kib: f64,
    /// Bytes sent to the disk.
    pub written: f64,
    /// Bytes handed to `write`.
    pub handed_to_write: f64,
}

impl Cost {
    /// What was counted between two looks.
    #[must_use]
    pub fn between(before: &Usage, after: &Usage, over_s: f64) -> Self {
        let cpu_s = after.cpu_s - before.cpu_s;
        Self {
            over_s,
            cpu_s,
            cpu_percent: 100.0 * cpu_s / over_s,
            rss_kib: after.rss_kib,
            peak_rss_kib: after.peak_rss_kib,
            own_kib: after.own_kib,
            written: after.written - before.written,
            handed_to_write: after.handed_to_write - before.handed_to_write,
        }
    }

    /// Bytes sent to the disk in a second.
    #[must_use]
    pub fn written_per_s(&self) -> f64 {
        self.written / self.over_s
    }

    /// As a figure of a bench.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "over_s": rounded(self.over_s, 1),
            "cpu_s": rounded(self.cpu_s, 2),
            "cpu_percent_of_a_core": rounded(self.cpu_percent, 2),
            "rss_mib": rounded(self.rss_kib / 1024.0, 1),
            "peak_rss_mib": rounded(self.peak_rss_kib / 1024.0, 1),
            "own_memory_mib": rounded(self.own_kib / 1024.0, 1),
            "written_kib_per_s": rounded(self.written_per_s() / 1024.0, 1),
        })
    }

    /// The same, and what so many readings cost of it.
    #[must_use]
    pub fn per_reading(&self, readings: f64) -> Value {
        json!({
            "cost": self.shown(),
            "cpu_s_per_100_000": rounded(100_000.0 * self.cpu_s / readings, 3),
            "written_bytes_per_reading": rounded(self.written / readings, 1),
            "wchar_bytes_per_reading": rounded(self.handed_to_write / readings, 1),
        })
    }
}

/// A number with so many digits behind the point.
#[must_use]
pub fn rounded(number: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (number * unit).round() / unit
}
