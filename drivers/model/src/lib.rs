//! The vocabulary every room shares: metrics, values, times, records.
//!
//! Not here: anything that knows a device, a wire format, a file or a clock.
//!
//! - [`metric`]: the catalogue (`metrics.csv`) as a static table
//! - [`decimal`], [`units`]: decimal values that stay decimal; the one conversion function
//! - [`reading`]: readings and reading groups, judged by the catalogue's limits
//!   and by each other
//! - [`waveform`], [`alarm`], [`alert`], [`device`], [`record`]: what else the outbox carries
//! - [`time`]: monotonic time, wall time, device time
//! - [`id`]: names of sites, devices, outboxes; lanes and seqs
//!
//! # Invariants
//! - A value that exists is well-formed; a missing value is a [`reading::NoData`] with a reason.
//! - Value and unit are kept as sent; the canonical value is computed, never stored in their place.
//! - Nothing here reads a clock or does I/O.

pub mod alarm;
pub mod alert;
mod check;
pub mod decimal;
pub mod device;
pub mod id;
pub mod metric;
pub mod reading;
pub mod record;
pub mod time;
pub mod units;
pub mod waveform;
