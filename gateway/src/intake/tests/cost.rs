//! What it costs to take in a reading: figures of `tests/bench/RESULTS.md`.
//!
//! ```sh
//! INGEST_READINGS=1000000 cargo test --release -p gateway --lib what_a_reading -- --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use super::*;
use model::{decimal::Decimal, metric::Kind};
use serde_json::json;
use std::{env, fs};

/// A township clinic with some monitors.
const DEVICES: u64 = 10;
/// Numbers of one monitor, each second.
const NUMBERS: usize = 10;
/// Readings that come in while a transaction runs, at 100 000 a second.
const AT_ONCE: usize = 10_000;
/// What ordinary runs take in: only that it works is seen.
const FEW: usize = 3_000;

/// Envelopes as sites with monitors commit them: four a second, each second's readings once.
struct Sites {
    sites: Vec<SiteId>,
    metrics: Vec<Metric>,
    /// Quarters of a second since the beginning.
    quarter: u64,
    next: usize,
}

impl Sites {
    fn new(count: usize) -> Self {
        let streams = Metric::all().filter(|metric| {
            let row = metric.row();
            row.kind == Kind::Stream && row.canonical_unit.is_some() && row.implausible.0.is_some()
        });
        Self {
            sites: (0..count).map(|n| SiteId::new(&format!("site-{n}")).unwrap()).collect(),
            metrics: streams.take(NUMBERS).collect(),
            quarter: 0,
            next: 0,
        }
    }

    fn now(&self) -> WallTime {
        let ms = i64::try_from(self.quarter).unwrap() * 250;
        WallTime::from_unix_ms(NOW.unix_ms() + ms)
    }

    fn group(&self, device: u64) -> Record {
        let readings = self.metrics.iter().zip(0..).map(|(metric, place)| {
            let row = metric.row();
            let (low, high) = (row.implausible.0.unwrap(), row.implausible.1.unwrap());
            let half = (low.mantissa() + high.mantissa()) / 2;
            let wander = i64::try_from((self.quarter / 4 + device + place) % 3).unwrap();
            let number = Decimal::new(half + wander, low.exponent()).unwrap();
            Reading::number(*metric, number, row.canonical_unit.clone().unwrap())
        });
        let observed = Observed { at: self.now(), quality: ClockQuality::Synchronised };
        let device = DeviceId::new(&format!("monitor-{device:02}")).unwrap();
        Record::Readings(ReadingGroup::new(device, observed, readings.collect()))
    }

    /// The next envelope, and how many readings are in it.
    fn envelope(&mut self) -> (Delivery, usize) {
        let devices = (0..DEVICES).filter(|device| device % 4 == self.quarter % 4);
        let records: Vec<Record> = devices.map(|device| self.group(device)).collect();
        let count = records.len() * NUMBERS;
        let seq = seq(self.quarter + 1);
        let site = self.sites[self.next].clone();
        let opened_at = self.now();
        let (lane, uptime) = (Lane::Trend, None);
        let envelope = Envelope { outbox: OUTBOX, lane, seq, opened_at, uptime, records };
        self.next = (self.next + 1) % self.sites.len();
        self.quarter += u64::from(self.next == 0);
        (Delivery::Envelope(site, Lane::Trend, envelope.encode()), count)
    }
}

/// CPU milliseconds and bytes written of this process.
fn spent() -> (u64, u64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> = stat.rsplit(' ').filter_map(|field| field.trim().parse().ok()).collect();
    let fields: Vec<u64> = fields.into_iter().rev().collect();
    // utime and stime stand behind the state and ten other fields.
    let ticks = fields[10] + fields[11];
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let of = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    (ticks * 10, of("wchar:"), of("write_bytes:"))
}

#[test]
fn what_a_reading_costs() {
    let number = |name, usual| env::var(name).map_or(usual, |text| text.parse().unwrap());
    let wanted = number("INGEST_READINGS", FEW);
    let mut county = County::new();
    let mut sites = Sites::new(number("INGEST_SITES", 100));
    let (mut stored, mut bytes, mut took_ms) = (0_usize, 0, Vec::new());
    let (mut cpu_ms, mut wchar, mut write_bytes) = (0, 0, 0);
    while stored < wanted {
        let (mut batch, mut count) = (Vec::new(), 0);
        while count < AT_ONCE {
            let (delivery, readings) = sites.envelope();
            if let Delivery::Envelope(_, _, envelope) = &delivery {
                bytes += envelope.len();
            }
            batch.push(delivery);
            count += readings;
        }
        let now = sites.now();
        let (before, began) = (spent(), crate::clock::instant());
        let transaction = county.connection.transaction().unwrap();
        let taken = take(&transaction, &batch, now, &county.rules).unwrap();
        transaction.commit().unwrap();
        took_ms.push(u64::try_from(began.elapsed().as_millis()).unwrap());
        let after = spent();
        assert_eq!(taken.counts.readings, u64::try_from(count).unwrap());
        stored += count;
        cpu_ms += after.0 - before.0;
        wchar += after.1 - before.1;
        write_bytes += after.2 - before.2;
    }
    took_ms.sort_unstable();
    let file = fs::metadata(county.folder.path().join("county.sqlite")).unwrap().len();
    let per = |amount: u64| amount / u64::try_from(stored).unwrap();
    let figures = json!({
        "sites": sites.sites.len(), "readings": stored,
        "bytes_on_the_wire_per_reading": bytes / stored,
        "cpu_ms_per_100_000": cpu_ms * 100_000 / u64::try_from(stored).unwrap(),
        "wchar_per_reading": per(wchar), "write_bytes_per_reading": per(write_bytes),
        "file_per_reading": per(file),
        "transaction_of_10_000_ms": {
            "p50": took_ms[took_ms.len() / 2], "p99": took_ms[took_ms.len() * 99 / 100],
        },
    });
    println!("{figures}");
    let groups = county.count("reading_group");
    assert_eq!(usize::try_from(groups).unwrap() * NUMBERS, stored);
}
