//! When an alert is raised, and how it lives: thresholds and transitions, pure.
//!
//! Not here: the database, clocks, who is told. County and agent feed one [`engine::Engine`] per
//! subject and store its state beside the records it was fed.
//!
//! - [`rule`]: the rule set, read and checked
//! - [`population`]: which rules apply to whom
//! - [`binding`]: which device is whose, and whom alerts are about
//! - [`freshness`]: `t_meas`, and the class fresh, late or backfill
//! - [`news2`]: the early warning score
//! - [`follow_up`]: targets of the programmes, which never sound
//! - [`alert`]: alerts, their states, what people made of them
//! - [`danger`]: danger signs, and at which alerts somebody asks for them
//! - [`ladder`]: how long people have before it goes on without them
//! - [`engine`]: readings in, changed alerts out
//! - [`fatigue`]: more alerts than anybody can look at
//! - [`retro`]: the pass over what came late
//! - [`trial`]: what a rule set would have raised
//!
//! # Invariants
//! - the same readings and the same rule set give the same alerts with the same ids
//! - values are compared as they are printed
//! - one subject, one family, one alert; its id never changes
//! - late readings never raise an alert as if they were new

pub mod alert;
pub mod binding;
mod compare;
pub mod danger;
pub mod engine;
pub mod fatigue;
pub mod follow_up;
pub mod freshness;
pub mod ladder;
pub mod news2;
pub mod population;
pub mod retro;
pub mod rule;
pub mod trial;
