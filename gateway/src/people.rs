//! Persons, their passwords and sessions; tokens of programs.
//!
//! # Invariants
//! - passwords are kept as argon2 hashes, tokens and sessions as SHA-256: reading the database lets
//!   nobody in

use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use thiserror::Error;

/// A session lasts a long shift, whether anybody touches the board or not: a board on the wall that
/// logged itself out would warn nobody.
const SESSION_MS: i64 = 12 * 3600 * 1000;
/// Longest name.
const NAME_LEN_MAX: usize = 64;
/// Shortest password.
const PASSWORD_LEN_MIN: usize = 8;
/// Longest password: hashing is bounded.
const PASSWORD_LEN_MAX: usize = 256;

/// What a person or program may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Nurse,
    Doctor,
    Engineer,
    Kiosk,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Nurse, Self::Doctor, Self::Engineer, Self::Kiosk];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nurse => "nurse",
            Self::Doctor => "doctor",
            Self::Engineer => "engineer",
            Self::Kiosk => "kiosk",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether this role may act on alerts.
    pub(crate) const fn may_acknowledge(self) -> bool {
        matches!(self, Self::Nurse | Self::Doctor)
    }
}

/// What asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CallerKind {
    /// Somebody who logged in under their own name.
    Person,
    /// Whoever has a token.
    Program,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) kind: CallerKind,
}

/// Why a person could not be added.
#[derive(Debug, Error)]
pub(crate) enum PersonError {
    #[error("the password has {len} characters; use {PASSWORD_LEN_MIN} to {PASSWORD_LEN_MAX}")]
    Password { len: usize },
    #[error(
        "the name \"{0}\" cannot be used; use 1 to {NAME_LEN_MAX} letters, digits, '.', '_' or '-'"
    )]
    Name(String),
    #[error("there is a person called \"{0}\" already; choose another name")]
    Known(String),
    #[error("the password cannot be hashed")]
    Hash,
    #[error("the system gives no random bytes; look at its log")]
    Random,
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
}

/// Whether somebody of that name and password can exist: what is longer is not worth a hash.
pub(crate) fn may_be(name: &str, password: &str) -> bool {
    name.chars().count() <= NAME_LEN_MAX && password.chars().count() <= PASSWORD_LEN_MAX
}

pub(crate) fn add_person(
    connection: &Connection,
    name: &str,
    role: Role,
    password: &str,
) -> Result<(), PersonError> {
    let good = |letter: char| letter.is_alphanumeric() || ['.', '_', '-'].contains(&letter);
    if name.is_empty() || name.chars().count() > NAME_LEN_MAX || !name.chars().all(good) {
        return Err(PersonError::Name(name.to_owned()));
    }
    let len = password.chars().count();
    if !(PASSWORD_LEN_MIN..=PASSWORD_LEN_MAX).contains(&len) {
        return Err(PersonError::Password { len });
    }
    let hash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|_| PersonError::Hash)?;
    let added = connection.execute(
        "INSERT INTO person (name, role, password) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![name, role.name(), hash.to_string()],
    )?;
    if added == 1 { Ok(()) } else { Err(PersonError::Known(name.to_owned())) }
}

/// Makes a token and hands it out once; only its hash is kept.
pub(crate) fn create_token(
    connection: &Connection,
    name: &str,
    role: Role,
    now_ms: i64,
) -> Result<String, PersonError> {
    let token = secret()?;
    connection.execute(
        "INSERT INTO token (hash, name, role, created_ms) VALUES (?1, ?2, ?3, ?4)",
        params![sha256(&token), name, role.name(), now_ms],
    )?;
    Ok(token)
}

/// The stored hash of an enabled person's password, and the role.
pub(crate) fn find_person(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<(String, Role)>> {
    let found: Option<(String, String)> = connection
        .query_row(
            "SELECT password, role FROM person WHERE name = ?1 AND disabled = 0",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(found.and_then(|(hash, role)| Some((hash, Role::from_name(&role)?))))
}

/// Whether the password fits; takes tens of milliseconds on purpose.
pub(crate) fn password_fits(password: &str, hash: Option<&str>) -> bool {
    /// Hashing for nobody takes as long as for somebody: names cannot be guessed by time.
    const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b2dWRWJTmaaVQ0RC5bMAoDyQ2A";
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODY));
    let fits = parsed.is_ok_and(|parsed| {
        Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
    });
    fits && hash.is_some()
}

/// Opens a session; the secret goes into the person's cookie.
pub(crate) fn open_session(
    connection: &Connection,
    name: &str,
    now_ms: i64,
) -> Result<String, PersonError> {
    let secret = secret()?;
    connection.execute("DELETE FROM session WHERE opened_ms < ?1", [now_ms - SESSION_MS])?;
    connection.execute(
        "INSERT INTO session (hash, name, opened_ms) VALUES (?1, ?2, ?3)",
        params![sha256(&secret), name, now_ms],
    )?;
    Ok(secret)
}

pub(crate) fn close_session(connection: &Connection, secret: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM session WHERE hash = ?1", [sha256(secret)]).map(drop)
}

/// Whose session it is, if it is still good.
pub(crate) fn session(
    connection: &Connection,
    secret: &str,
    now_ms: i64,
) -> rusqlite::Result<Option<Caller>> {
    let query = "SELECT person.name, person.role FROM session JOIN person USING (name)
                 WHERE session.hash = ?1 AND session.opened_ms >= ?2 AND person.disabled = 0";
    let parameters = params![sha256(secret), now_ms - SESSION_MS];
    caller(connection, CallerKind::Person, query, parameters)
}

/// Whose token it is.
pub(crate) fn token(connection: &Connection, token: &str) -> rusqlite::Result<Option<Caller>> {
    let query = "SELECT name, role FROM token WHERE hash = ?1";
    caller(connection, CallerKind::Program, query, params![sha256(token)])
}

fn caller(
    connection: &Connection,
    kind: CallerKind,
    query: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Option<Caller>> {
    let found: Option<(String, String)> = connection
        .prepare_cached(query)?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.and_then(|(name, role)| Some(Caller { name, role: Role::from_name(&role)?, kind })))
}

/// 32 random bytes as hex.
fn secret() -> Result<String, PersonError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PersonError::Random)?;
    Ok(hex(&bytes))
}

fn sha256(text: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_person_gets_in_with_the_right_password_only() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        add_person(&connection, "wang", Role::Nurse, "correct horse").unwrap();
        let (hash, role) = find_person(&connection, "wang").unwrap().unwrap();
        assert_eq!(role, Role::Nurse);
        assert!(password_fits("correct horse", Some(&hash)));
        assert!(!password_fits("wrong horse", Some(&hash)));
        assert!(!password_fits("correct horse", None));
        assert!(matches!(
            add_person(&connection, "wang", Role::Nurse, "correct horse"),
            Err(PersonError::Known(_))
        ));
        assert!(matches!(
            add_person(&connection, "li", Role::Nurse, "short"),
            Err(PersonError::Password { len: 5 })
        ));
    }

    #[test]
    fn a_session_lasts_a_shift() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        add_person(&connection, "wang", Role::Nurse, "correct horse").unwrap();
        let secret = open_session(&connection, "wang", 1000).unwrap();
        assert_eq!(session(&connection, &secret, 2000).unwrap().unwrap().name, "wang");
        assert!(session(&connection, &secret, 1001 + SESSION_MS).unwrap().is_none());
        assert!(session(&connection, "another", 2000).unwrap().is_none());
    }
}
