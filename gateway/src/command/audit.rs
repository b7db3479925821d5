//! `audit`: what people did, and whether that was changed.

use super::Refused;
use crate::{
    audit::{
        self, Head,
        verify::{Finding, Report, Walk},
    },
    config::GatewayConfig,
    run,
    store::Store,
};
use anyhow::Context as _;
use clap::Subcommand;
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Entries of one step.
const STEP: u32 = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Walk the chain of what people did: what was changed, removed, put in or put elsewhere
    Verify {
        /// A head that was kept elsewhere: nothing before it was changed, and the end is there.
        /// Without it counts the one that the gateway kept when it walked the chain last
        #[arg(long, value_name = "ID:HASH")]
        head: Option<String>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// The last entry, for somebody else to keep
    Head {
        /// JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn audit(
    command: AuditCommand,
    config: &GatewayConfig,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify { head, json } => {
            let anchor: Option<Head> = head
                .map(|head| head.parse().map_err(|error: audit::NoHead| Refused(error.to_string())))
                .transpose()?;
            let connection = Store::connection_to_read(&run::database(config))?;
            let mut walk = Walk::against(match anchor {
                Some(anchor) => Some(anchor),
                None => audit::walked_head(&connection)?,
            });
            while !walk.step(&connection, STEP)? {}
            let report = walk.finish();
            if json {
                writeln!(out, "{}", serde_json::to_string(&report)?)?;
            } else {
                print(&report, out)?;
            }
            Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        AuditCommand::Head { json } => {
            let connection = Store::connection_to_read(&run::database(config))?;
            let head = audit::head(&connection)?
                .context("nothing was written down yet; the first start of the gateway is")?;
            match json {
                true => writeln!(out, "{}", serde_json::to_string(&head)?)?,
                false => writeln!(out, "{head}")?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let head = report.head.as_ref().map_or_else(|| "none".to_owned(), Head::to_string);
    for Finding { entry, to, what, means } in &report.findings {
        let name = match to {
            Some(to) => format!("entries {entry} to {to}"),
            None => format!("entry {entry}"),
        };
        writeln!(out, "{name}: {what}: {means}")?;
    }
    if report.findings_left_out > 0 {
        writeln!(out, "{} more", report.findings_left_out)?;
    }
    match report.good {
        true => writeln!(out, "{} entries, nothing was changed; head {head}", report.entries)?,
        false => writeln!(
            out,
            "{} entries; the chain is broken. Keep this file and the backups as they are, find out \
             who could write to it, and tell whoever keeps the heads",
            report.entries
        )?,
    }
    match &report.anchor {
        Some(anchor) if report.good => {
            writeln!(out, "all up to entry {} is what it was when its head was kept", anchor.id)
        }
        _ => Ok(()),
    }
}
