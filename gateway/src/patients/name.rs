//! Who a patient is, and keeping that out of texts.
//!
//! # Invariants
//! - no text that somebody writes has the name of the patient it is about: it would stand in the
//!   chain, in alerts, at boxes and in messages

use super::{Body, Patient, Refused, known, of_clinic};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;
use std::fmt;

/// Shortest name: of a shorter one the mask would show all.
const NAME_LEN_MIN: usize = 2;
/// Longest name.
const NAME_LEN_MAX: usize = 40;

/// A name, which no log ever shows.
#[derive(Clone)]
pub(super) struct Name(String);

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("‹private›")
    }
}

impl Name {
    pub(super) const fn new(whole: String) -> Self {
        Self(whole)
    }

    /// For whoever unmasks it.
    pub(super) fn whole(self) -> String {
        self.0
    }

    /// Whether a text has it, however it is spaced and whether in capitals or not.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let letters = |text: &str| -> String {
            let letters = text.chars().filter(|letter| !letter.is_whitespace());
            letters.flat_map(char::to_lowercase).collect()
        };
        if !self.0.is_ascii() {
            return letters(text).contains(&letters(&self.0));
        }
        // "An" is not in "hand": names in Latin letters are whole words.
        let words = |text: &str| -> Vec<String> {
            let words = text.split(|letter: char| !letter.is_ascii_alphabetic());
            words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect()
        };
        let name = words(&self.0);
        !name.is_empty() && words(text).windows(name.len()).any(|found| found == name)
    }

    /// The first letter, and that more follow.
    pub(super) fn masked(&self) -> String {
        self.0.chars().take(1).chain("**".chars()).collect()
    }
}

/// Whom a text is about.
#[derive(Clone, Copy)]
pub(crate) enum Concerned<'a> {
    Patients(&'a [&'a Patient]),
    /// Nobody: it may be anybody who is in the clinic, if it is one of `gateway.toml`.
    Clinic(Option<&'a str>),
}

/// Refuses a text with a name of whom it is about.
pub(super) fn check_unnamed(
    connection: &Connection,
    concerned: Concerned<'_>,
    what: &str,
    text: &str,
) -> Result<(), Refused> {
    let is_named = match concerned {
        Concerned::Patients(patients) => patients.iter().any(|patient| patient.is_named_in(text)),
        Concerned::Clinic(None) => false,
        Concerned::Clinic(Some(clinic)) => {
            of_clinic(connection, clinic)?.iter().any(|patient| patient.is_named_in(text))
        }
    };
    match is_named {
        true => Err(refused(what)),
        false => Ok(()),
    }
}

/// Refuses a name that somebody gives a board at which patients of those clinics are seen.
pub(crate) fn check_of_board<'c>(
    connection: &Connection,
    mut clinics: impl Iterator<Item = &'c str>,
    name: &str,
) -> Result<(), Refused> {
    clinics.try_for_each(|clinic| {
        check_unnamed(connection, Concerned::Clinic(Some(clinic)), "board's name", name)
    })
}

/// Refuses a text about an alert that has the name of its patient or, where it has none, of anybody
/// who is in the clinic.
pub(crate) fn check_of_alert(
    connection: &Connection,
    alert: &str,
    clinic: Option<&str>,
    (what, text): (&str, &str),
) -> Result<(), Refused> {
    let query = "SELECT body ->> 'patient' FROM alert WHERE id = ?1";
    let key: Option<String> =
        connection.prepare_cached(query)?.query_row([alert], |row| row.get(0))?;
    check_of(connection, key, clinic, (what, text))
}

/// Refuses a text about a device that has the name of whom it is on or, where it is on nobody, of
/// anybody who is in the clinic.
pub(crate) fn check_of_device(
    connection: &Connection,
    (site, device): (&str, &str),
    clinic: Option<&str>,
    (what, text): (&str, &str),
) -> Result<(), Refused> {
    let key: Option<Option<String>> = connection
        .prepare_cached(
            "SELECT patient FROM binding WHERE site = ?1 AND device = ?2 AND until_ms IS NULL",
        )?
        .query_row([site, device], |row| row.get(0))
        .optional()?;
    check_of(connection, key.flatten(), clinic, (what, text))
}

/// Whether a note that was written at a box names the patient it is about, or, where the device was
/// on nobody there, whom it is on here, or anybody who is in the clinic.
pub(crate) fn is_in_note_of_box(
    connection: &Connection,
    (site, device, subject): (&str, &str, &str),
    note: &str,
) -> rusqlite::Result<bool> {
    let checked = match known(connection, subject)? {
        Some(patient) => check_unnamed(connection, Concerned::Patients(&[&patient]), "note", note),
        None => {
            let query = "SELECT name FROM township WHERE site = ?1";
            let clinic: Option<String> =
                connection.prepare_cached(query)?.query_row([site], |row| row.get(0)).optional()?;
            check_of_device(connection, (site, device), clinic.as_deref(), ("note", note))
        }
    };
    match checked {
        Ok(()) => Ok(false),
        Err(Refused::Database(error)) => Err(error),
        Err(_) => Ok(true),
    }
}

fn check_of(
    connection: &Connection,
    key: Option<String>,
    clinic: Option<&str>,
    (what, text): (&str, &str),
) -> Result<(), Refused> {
    let patient = key.map(|key| known(connection, &key)).transpose()?.flatten();
    let concerned: &[&Patient] = &patient.iter().collect::<Vec<_>>();
    match concerned {
        [] => check_unnamed(connection, Concerned::Clinic(clinic), what, text),
        patients => check_unnamed(connection, Concerned::Patients(patients), what, text),
    }
}

pub(super) fn refused(what: &str) -> Refused {
    Refused::Named(format!("{what}: leave the patient's name out"))
}

/// A name that is erased is overwritten in the file of the database, not only forgotten. What
/// backups have goes with them.
pub(super) fn set_name(
    connection: &Connection,
    key: &str,
    name: Option<Name>,
) -> rusqlite::Result<()> {
    connection.pragma_update(None, "secure_delete", true)?;
    connection.execute("DELETE FROM patient_name WHERE patient = ?1", [key])?;
    connection.pragma_update(None, "secure_delete", false)?;
    if let Some(Name(name)) = name {
        connection.execute("INSERT INTO patient_name VALUES (?1, ?2)", [key, &name])?;
    }
    Ok(())
}

/// `None`: nothing is said of it; `Some(None)`: it is to be erased.
pub(super) fn name_of(body: &mut Body) -> Result<Option<Option<Name>>, Refused> {
    let good = |name: &str| {
        let letters = name.chars().count();
        (NAME_LEN_MIN..=NAME_LEN_MAX).contains(&letters)
            && name.chars().all(|letter| letter.is_alphabetic() || " ·.-'".contains(letter))
            && name.trim() == name
    };
    match body.remove("name") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(name)) if good(&name) => Ok(Some(Some(Name(name)))),
        Some(_) => Err(Refused::Wrong(format!(
            "name: write {NAME_LEN_MIN} to {NAME_LEN_MAX} letters and no numbers, or null for none"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_however_it_is_written_and_nothing_else_is() {
        for (name, text, is_in) in [
            ("测试甲", "给测试甲翻身", true),
            ("测试甲", "测试 甲", true),
            ("测试甲", "测试乙", false),
            ("Li Wei", "told LI  WEI's son", true),
            ("Li Wei", "患者Li Wei今天", true),
            ("Li Wei", "Wei Li", false),
            ("An", "left hand", false),
            ("An", "an infusion", true),
            ("José", "for JOSÉ", true),
            ("..", "well..", false),
        ] {
            assert_eq!(Name::new(name.to_owned()).is_in(text), is_in, "{name} in {text}");
        }
    }
}
