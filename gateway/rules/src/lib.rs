//! When an alert is raised, and how it lives: thresholds and transitions, pure.
//!
//! Not here: the database, clocks, who is told. The county feeds one [`engine::Engine`] per device
//! and stores its state beside the records it was fed.
//!
//! - [`rule`]: the rule set, read and checked
//! - [`binding`]: which device is whose, and whom alerts are about
//! - [`freshness`]: `t_meas`, and the class fresh, late or backfill
//! - [`alert`]: alerts, their states, who acknowledged them
//! - [`engine`]: readings in, changed alerts out
//! - [`retro`]: the pass over what came late
//!
//! # Invariants
//! - the same readings and the same rule set give the same alerts with the same ids
//! - values are compared as they are printed
//! - one device, one family, one alert; its id never changes
//! - late readings never raise an alert as if they were new

pub mod alert;
pub mod binding;
mod compare;
pub mod engine;
pub mod freshness;
pub mod retro;
pub mod rule;
