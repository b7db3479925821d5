//! `user` and `token`: people and programs.
//!
//! Whoever may write to the database of the county may do all of this; that it was done here, and
//! under which name of the system, stands in the chain.

use super::{Refused, database, password};
use crate::{
    clock,
    config::GatewayConfig,
    people::{self, Change, Force, PersonError, Role, Scope, pending},
};
use clap::{Args, Subcommand};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{collections::BTreeSet, io::Write, path::PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a person; the password is asked for, or read from stdin or a file
    Add {
        /// Log-in name
        name: String,
        /// nurse, doctor, engineer, kiosk, system_admin, security_admin or audit_admin
        #[arg(long, value_parser = role)]
        role: Role,
        #[command(flatten)]
        scope: ScopeWords,
        /// File with the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// The password is the person's own: nobody else knows it, it need not be changed first
        #[arg(long)]
        own_password: bool,
    },
    /// Give a person who forgot theirs another password; it is to be changed at the first log-in
    Password {
        /// Log-in name
        name: String,
        /// File with the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Shut a person out, at once
    Disable {
        /// Log-in name
        name: String,
    },
    /// Let a person in again
    Enable {
        /// Log-in name
        name: String,
    },
    /// Give a person another role
    Role {
        /// Log-in name
        name: String,
        /// nurse, doctor, engineer, kiosk, system_admin, security_admin or audit_admin
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Say where a person's role holds: in the whole county, or in some clinics
    Scope {
        /// Log-in name
        name: String,
        #[command(flatten)]
        scope: ScopeWords,
    },
    /// Everybody, with role and clinics
    List {
        /// JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token for a program; it is printed once
    Create {
        /// nurse, doctor, engineer, kiosk, system_admin, security_admin or audit_admin
        #[arg(long, value_parser = role)]
        role: Role,
        /// What it is for
        #[arg(long, default_value = "program")]
        name: String,
        #[command(flatten)]
        scope: ScopeWords,
    },
    /// Every token, with when it was used last
    List {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a token out of force, at once
    Revoke {
        /// As `token list` tells it
        id: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct ScopeWords {
    /// A clinic of gateway.toml by its name, once for each [default: the whole county]
    #[arg(long, value_name = "NAME")]
    clinic: Vec<String>,
}

impl ScopeWords {
    fn meant(self, config: &GatewayConfig) -> Result<Scope, Refused> {
        if self.clinic.is_empty() {
            return Ok(Scope::County);
        }
        let known: BTreeSet<&String> = config.clinics.values().collect();
        if let Some(unknown) = self.clinic.iter().find(|name| !known.contains(name)) {
            let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
            let known = known.join(", ");
            return Err(Refused(format!(
                "no clinic of gateway.toml is called \"{unknown}\"; known: {known}"
            )));
        }
        Ok(Scope::of_clinics(self.clinic.into_iter().collect(), &config.clinics))
    }
}

fn role(name: &str) -> Result<Role, String> {
    let known: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
    Role::from_name(name).ok_or_else(|| format!("known roles: {}", known.join(", ")))
}

pub(super) fn user(
    command: UserCommand,
    config: &GatewayConfig,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let change = |name: &str, to: &Change| {
        in_transaction(config, |transaction, by| {
            people::change(transaction, clock::now(), by, name, to)
        })
    };
    match command {
        UserCommand::Add { name, role, scope, password_file, own_password } => {
            let scope = scope.meant(config)?;
            let hash = people::hashed(&password(password_file.as_deref())?).map_err(refused)?;
            let (given, place) = (!own_password, of_clinics(&scope));
            change(&name, &Change::Add { hash, given, role: Some(role), scope })?;
            let first = if given { ", and sets another password first" } else { "" };
            writeln!(out, "{name} may log in as {}{place}{first}", role.name())?;
        }
        UserCommand::Password { name, password_file } => {
            let hash = people::hashed(&password(password_file.as_deref())?).map_err(refused)?;
            in_transaction(config, |transaction, by| {
                pending::give_password(transaction, clock::now(), by, (&name, &hash), None)
            })?;
            writeln!(out, "{name} is logged out everywhere, and sets another password first")?;
        }
        UserCommand::Disable { name } => {
            change(&name, &Change::Disable)?;
            writeln!(out, "{name} is shut out")?;
        }
        UserCommand::Enable { name } => {
            change(&name, &Change::Enable)?;
            writeln!(out, "{name} may log in again")?;
        }
        UserCommand::Role { name, role } => {
            change(&name, &Change::Role(role))?;
            writeln!(out, "{name} is {} now", role.name())?;
        }
        UserCommand::Scope { name, scope } => {
            let scope = scope.meant(config)?;
            change(&name, &Change::Scope(scope.clone()))?;
            let place = of_clinics(&scope);
            writeln!(out, "{name} works{}", if place.is_empty() { " everywhere" } else { &place })?;
        }
        UserCommand::List { json } => {
            let people = people::people(&database(config)?, clock::now())?;
            let people: Vec<_> = people.into_iter().map(|(person, _)| person).collect();
            if json {
                writeln!(out, "{}", serde_json::json!({"people": people}))?;
                return Ok(());
            }
            for person in people {
                let role = person.role.as_deref().unwrap_or("no role yet");
                let place = place_of(person.clinics.as_deref());
                let shut_out = if person.disabled { ", shut out" } else { "" };
                writeln!(out, "{:<24} {role:<14} {place}{shut_out}", person.name)?;
            }
        }
    }
    Ok(())
}

pub(super) fn token(
    command: TokenCommand,
    config: &GatewayConfig,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { role, name, scope } => {
            let scope = scope.meant(config)?;
            let (_, token) = in_transaction(config, |transaction, by| {
                let wanted = (name.as_str(), role, &scope);
                people::issue_token(transaction, clock::now(), by, wanted, Force::AtOnce)
            })?;
            writeln!(out, "{token}")?;
        }
        TokenCommand::List { json } => {
            let tokens = people::tokens(&database(config)?)?;
            if json {
                writeln!(out, "{}", serde_json::json!({"tokens": tokens}))?;
                return Ok(());
            }
            for token in tokens {
                let place = place_of(token.clinics.as_deref());
                let used = token.last_used_at.as_deref().unwrap_or("never");
                write!(out, "{}  {:<14} {place}; {}, ", token.id, token.role, token.name)?;
                match (token.revoked_at, token.pending_until) {
                    (Some(at), _) => writeln!(out, "revoked {at}")?,
                    (None, Some(at)) => writeln!(out, "to be confirmed before {at}")?,
                    (None, None) => writeln!(out, "made {}, used last {used}", token.created_at)?,
                }
            }
        }
        TokenCommand::Revoke { id } => {
            in_transaction(config, |transaction, by| {
                people::revoke_token(transaction, clock::now(), by, &id)
            })?;
            writeln!(out, "{id} is out of force")?;
        }
    }
    Ok(())
}

/// Where the role holds, behind a word; nothing for the whole county.
fn of_clinics(scope: &Scope) -> String {
    let names = scope.names().into_iter().flatten().map(String::as_str);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { String::new() } else { format!(" in {}", names.join(", ")) }
}

fn place_of(clinics: Option<&[String]>) -> String {
    clinics.map_or_else(|| "the whole county".to_owned(), |names| names.join(", "))
}

/// Does something in a transaction of its own, under the name of who sits at this machine.
fn in_transaction<T>(
    config: &GatewayConfig,
    act: impl FnOnce(&Connection, &str) -> Result<T, PersonError>,
) -> anyhow::Result<T> {
    let mut connection = database(config)?;
    let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate)?;
    let done = act(&transaction, &super::who_is_here()).map_err(refused)?;
    transaction.commit()?;
    Ok(done)
}

fn refused(error: PersonError) -> anyhow::Error {
    match error.is_wrong_use() {
        true => Refused(error.to_string()).into(),
        false => error.into(),
    }
}
