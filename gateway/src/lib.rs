//! The county: takes in, keeps, warns, shows.
//!
//! Not here: any device protocol (the county knows none), the wire format (`uplink-proto`), when an
//! alert is raised (`rules`).
//!
//! - [`command`], [`config`]: command line and `gateway.toml`
//! - [`pki`], [`people`]: the county's own CA; persons, tokens, sessions
//! - [`ingest`], [`intake`]: MQTT in, acks out; what one transaction does with what came in
//! - [`store`], [`query`]: the database, and the questions the API asks it
//! - [`trends`]: the readings of a day, thinned out
//! - [`reading`]: reading groups as they are kept and told
//! - [`retention`]: what is old enough is removed, where that is asked for
//! - [`backup`], [`disk`]: a copy of the database and the way back; how the disk is
//! - [`links`]: how often boxes and devices were lost within a day
//! - [`ledger`]: what arrived, what is missing, since when, and why
//! - [`rule_sets`], [`policy`]: versions of the rules; what boxes are told to go by
//! - [`alerts`], [`late`]: runs the rules, keeps alert states; judges what came late
//! - [`notify`]: tells others of them than the board
//! - [`duty`], [`figures`]: who is on duty; how many alerts there were, and what became of them
//! - [`patients`]: patients, which device is on whom, whose each result is
//! - [`audit`]: who did what, in a chain of hashes
//! - [`settings`]: with what the gateway was started
//! - [`events`], [`api`]: what boards hear; the HTTP API and the board itself
//! - [`upkeep`]: what somebody has to look after before it fails
//! - [`boards`]: boards that are open, and whether each can be heard
//! - [`clock`]: the only place that reads the clock
//! - [`proof`]: a county that a proof drives by a clock of its own
//!
//! # Invariants
//! - acked means committed, together with the receiver's state, in one transaction
//! - storing an envelope twice equals storing it once
//! - no person's password and no token is stored, only what proves them

mod alerts;
mod api;
mod audit;
mod backup;
mod boards;
mod clock;
mod code;
mod command;
mod config;
mod disk;
mod duty;
mod events;
mod figures;
mod ingest;
mod intake;
mod late;
mod ledger;
mod links;
mod notify;
mod patients;
mod people;
mod pki;
mod policy;
pub mod proof;
mod query;
mod reading;
mod retention;
mod rule_sets;
mod run;
mod settings;
mod store;
mod trends;
mod upkeep;

use std::{ffi::OsString, process::ExitCode};

/// Runs `clinic-gateway`.
pub fn main_from(args: impl Iterator<Item = OsString>) -> ExitCode {
    command::main_from(args)
}
