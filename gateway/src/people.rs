//! Persons, their passwords and sessions; tokens of programs.
//!
//! - [`rights`]: who may do what, and where
//! - [`pending`]: rights that another administrator has to confirm
//! - [`able`]: who may be handed an alert
//! - [`sessions`]: who is logged in, and for how long
//! - [`own`]: a person's own password and PIN, and whether they are there
//!
//! # Invariants
//! - a person who was given no role yet does not get in
//! - passwords are kept as argon2 hashes, tokens and sessions as SHA-256: reading the database lets
//!   nobody in

pub(crate) mod able;
pub(crate) mod own;
pub(crate) mod pending;
mod rights;
mod sessions;

pub(crate) use rights::{Action, Caller, CallerKind, Refusal, Role, Scope};
pub(crate) use sessions::{
    KIOSK_SESSION_MS, close_session, end_sessions, is_session_due, open_session, open_sessions,
    session, session_used,
};

use crate::{
    audit::{self, Entry},
    clock::rfc3339,
    query::Clinics,
};
use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash,
};
use model::time::WallTime;
use pending::{PENDING_MS, Pending, PendingPassword};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde_json::json;
use thiserror::Error;

/// Longest name.
const NAME_LEN_MAX: usize = 64;
/// Shortest password.
const PASSWORD_LEN_MIN: usize = 8;
/// Longest password: hashing is bounded.
const PASSWORD_LEN_MAX: usize = 256;
/// Digits of a token's hash that name it: among a million tokens two that begin the same are one
/// case in five hundred.
const TOKEN_ID_LEN: usize = 12;
/// That a token is in use is written down no more often than this.
const USED_EVERY_MS: i64 = 60_000;
/// Nobody knows which role: somebody else says it.
const NO_ROLE: &str = "";

/// Why people or programs could not be changed.
#[derive(Debug, Error)]
pub(crate) enum PersonError {
    #[error("the password has {len} characters; use {PASSWORD_LEN_MIN} to {PASSWORD_LEN_MAX}")]
    Password { len: usize },
    #[error(
        "the name \"{0}\" cannot be used; use 1 to {NAME_LEN_MAX} letters, digits, '.', '_' or '-'"
    )]
    Name(String),
    #[error("there is a person or program called \"{0}\" already; choose another name")]
    Known(String),
    #[error("there is no person called \"{0}\"; look at the list of people")]
    Unknown(String),
    #[error("a PIN has {} to {} digits and nothing else", own::PIN_LEN_MIN, own::PIN_LEN_MAX)]
    Pin,
    #[error(
        "nobody changes or confirms their own rights, or what they asked for; another administrator does it"
    )]
    Own,
    #[error("nobody has said yet what \"{0}\" is; send role too")]
    NoRole(String),
    #[error(
        "nothing of {0} waits to be confirmed; look at the list, what waited for a day is to be asked for again"
    )]
    NothingPending(String),
    #[error(
        "the request has changed since you read it; read it again, and send its id as \"request\""
    )]
    RequestChanged,
    #[error("there is no token {0} that is in force; look at the list of tokens")]
    NoToken(String),
    #[error("the password cannot be hashed")]
    Hash,
    #[error("the system gives no random bytes; look at its log")]
    Random,
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
}

impl PersonError {
    /// Whether what was asked for cannot be meant, as against something that went wrong.
    pub(crate) const fn is_wrong_use(&self) -> bool {
        matches!(self, Self::Password { .. } | Self::Pin | Self::Name(_))
    }
}

/// What becomes of a person.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// They are known from now on, by the hash of a password; without a role they do not get in.
    Add {
        hash: String,
        /// Somebody else knows the password: it is to be changed first.
        given: bool,
        role: Option<Role>,
        scope: Scope,
    },
    Role(Role),
    Scope(Scope),
    /// They are shut out, at once.
    Disable,
    Enable,
}

/// Whether somebody of that name and password can exist: what is longer is not worth a hash.
pub(crate) fn may_be(name: &str, password: &str) -> bool {
    name.chars().count() <= NAME_LEN_MAX && password.chars().count() <= PASSWORD_LEN_MAX
}

/// Whether it can be somebody's password.
pub(crate) fn check_password(password: &str) -> Result<(), PersonError> {
    let len = password.chars().count();
    match (PASSWORD_LEN_MIN..=PASSWORD_LEN_MAX).contains(&len) {
        true => Ok(()),
        false => Err(PersonError::Password { len }),
    }
}

/// What is kept of a new password; takes tens of milliseconds on purpose.
pub(crate) fn hashed(password: &str) -> Result<String, PersonError> {
    check_password(password)?;
    hash_of(password)
}

fn hash_of(secret: &str) -> Result<String, PersonError> {
    let hash = Argon2::default().hash_password(secret.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| PersonError::Hash)
}

/// Changes a person, and writes down who did it. The caller owns the transaction.
pub(crate) fn change(
    connection: &Connection,
    now: WallTime,
    by: &str,
    name: &str,
    change: &Change,
) -> Result<(), PersonError> {
    if by == name {
        return Err(PersonError::Own);
    }
    let before = match change {
        Change::Add { hash, given, role, scope } => {
            insert(connection, name, role.map_or(NO_ROLE, Role::name), hash)?;
            let set = "UPDATE person SET scope = ?2, given_password = ?3 WHERE name = ?1";
            connection.execute(set, params![name, scope.stored(), given])?;
            None
        }
        _ => Some(person(connection, name)?.ok_or_else(|| PersonError::Unknown(name.to_owned()))?),
    };
    let (action, set) = match change {
        Change::Add { .. } => ("user_add", None),
        Change::Role(role) => ("user_role", Some(("role", Some(role.name().to_owned())))),
        Change::Scope(scope) => ("user_scope", Some(("scope", scope.stored()))),
        Change::Disable => ("user_disable", Some(("disabled", Some("1".to_owned())))),
        Change::Enable => ("user_enable", Some(("disabled", Some("0".to_owned())))),
    };
    if let Some((column, value)) = set {
        let query = format!("UPDATE person SET {column} = ?2 WHERE name = ?1");
        connection.execute(&query, params![name, value])?;
    }
    if matches!(change, Change::Disable) {
        connection.execute("DELETE FROM session WHERE name = ?1", [name])?;
    }
    // What was asked for before goes by what somebody was then.
    pending::forget(connection, name)?;
    let after = person(connection, name)?;
    let detail = json!({"before": before, "after": after});
    audit::append(connection, now, &Entry { who: by, action, what: name, detail })?;
    Ok(())
}

fn insert(connection: &Connection, name: &str, role: &str, hash: &str) -> Result<(), PersonError> {
    let good = |letter: char| letter.is_alphanumeric() || ['.', '_', '-'].contains(&letter);
    if name.is_empty() || name.chars().count() > NAME_LEN_MAX || !name.chars().all(good) {
        return Err(PersonError::Name(name.to_owned()));
    }
    // So the chain and the rules name those who are nobody.
    if ["county", "program"].contains(&name) {
        return Err(PersonError::Name(name.to_owned()));
    }
    // Under one name only one acts.
    let added = connection.execute(
        "INSERT INTO person (name, role, password) SELECT ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM token WHERE name = ?1) ON CONFLICT DO NOTHING",
        params![name, role, hash],
    )?;
    if added == 1 { Ok(()) } else { Err(PersonError::Known(name.to_owned())) }
}

/// Somebody of the whole county, for tests.
#[cfg(test)]
pub(crate) fn add_person(
    connection: &Connection,
    name: &str,
    role: Role,
    password: &str,
) -> Result<(), PersonError> {
    insert(connection, name, role.name(), &hashed(password)?)
}

/// A person as lists tell it.
#[derive(Debug, Serialize)]
pub(crate) struct Person {
    pub(crate) name: String,
    /// `None`: nobody has said it yet.
    pub(crate) role: Option<String>,
    /// `None`: the whole county.
    pub(crate) clinics: Option<Vec<String>>,
    pub(crate) disabled: bool,
}

fn person_of(row: &Row<'_>) -> rusqlite::Result<Person> {
    let role: String = row.get("role")?;
    Ok(Person {
        name: row.get("name")?,
        role: Some(role).filter(|role| role != NO_ROLE),
        clinics: clinics_of(row)?,
        disabled: row.get("disabled")?,
    })
}

fn clinics_of(row: &Row<'_>) -> rusqlite::Result<Option<Vec<String>>> {
    let stored: Option<String> = row.get("scope")?;
    Ok(stored.map(|names| serde_json::from_str(&names).unwrap_or_default()))
}

fn person(connection: &Connection, name: &str) -> rusqlite::Result<Option<Person>> {
    connection.query_row("SELECT * FROM person WHERE name = ?1", [name], person_of).optional()
}

/// Whether somebody has this name, whatever they may do.
pub(crate) fn is_known(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(person(connection, name)?.is_some())
}

/// How somebody stands, beside what they may.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Standing {
    /// Rights that wait to be confirmed.
    pub(crate) pending: Option<Pending>,
    /// That a password waits to be confirmed.
    pub(crate) pending_password: Option<PendingPassword>,
    /// How often they are logged in.
    pub(crate) sessions: u32,
}

/// Everybody, also who is shut out, each with how they stand.
pub(crate) fn people(
    connection: &Connection,
    now: WallTime,
) -> rusqlite::Result<Vec<(Person, Standing)>> {
    let mut statement = connection.prepare("SELECT * FROM person ORDER BY name")?;
    let people: Vec<Person> = statement.query_map([], person_of)?.collect::<Result<_, _>>()?;
    let with_standing = people.into_iter().map(|person| {
        let standing = standing(connection, now, &person.name)?;
        Ok((person, standing))
    });
    with_standing.collect()
}

/// How somebody stands.
pub(crate) fn standing(
    connection: &Connection,
    now: WallTime,
    name: &str,
) -> rusqlite::Result<Standing> {
    Ok(Standing {
        pending: pending::of_person(connection, now, name)?,
        pending_password: pending::password_of(connection, now, name)?,
        sessions: sessions::count(connection, now, name)?,
    })
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

/// When a token comes into force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Force {
    AtOnce,
    /// When an administrator of another kind has confirmed it.
    Confirmed,
}

/// Makes a token for a program, and writes down who did it. The caller owns the transaction.
pub(crate) fn issue_token(
    connection: &Connection,
    now: WallTime,
    by: &str,
    (name, role, scope): (&str, Role, &Scope),
    force: Force,
) -> Result<(String, String), PersonError> {
    let bad = |letter: char| letter.is_control() || letter == ':';
    // The county's own entries in the chain say so of themselves.
    let is_nobody = name == "county";
    if name.is_empty() || name.chars().count() > NAME_LEN_MAX || name.chars().any(bad) || is_nobody
    {
        return Err(PersonError::Name(name.to_owned()));
    }
    if is_known(connection, name)? {
        return Err(PersonError::Known(name.to_owned()));
    }
    let token = create_token(connection, name, role, now.unix_ms())?;
    let hash = sha256(&token);
    let pending_ms = (force == Force::Confirmed).then_some(now.unix_ms() + PENDING_MS);
    connection.execute(
        "UPDATE token SET scope = ?2, made_by = ?3, pending_until_ms = ?4 WHERE hash = ?1",
        params![hash, scope.stored(), by, pending_ms],
    )?;
    let id: String = hash.chars().take(TOKEN_ID_LEN).collect();
    let detail = json!({"name": name, "role": role.name(), "clinics": scope.names(),
        "pending": pending_ms.is_some()});
    audit::append(connection, now, &Entry { who: by, action: "token_create", what: &id, detail })?;
    Ok((id, token))
}

/// Takes a token out of force, and writes down who did it. The caller owns the transaction.
pub(crate) fn revoke_token(
    connection: &Connection,
    now: WallTime,
    by: &str,
    id: &str,
) -> Result<(), PersonError> {
    let query = format!(
        "UPDATE token SET revoked_ms = ?2
         WHERE substr(hash, 1, {TOKEN_ID_LEN}) = ?1 AND revoked_ms IS NULL RETURNING name, role"
    );
    let revoked: Vec<(String, String)> = connection
        .prepare(&query)?
        .query_map(params![id, now.unix_ms()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    if revoked.is_empty() {
        return Err(PersonError::NoToken(id.to_owned()));
    }
    for (name, role) in revoked {
        let detail = json!({"name": name, "role": role});
        audit::append(
            connection,
            now,
            &Entry { who: by, action: "token_revoke", what: id, detail },
        )?;
    }
    Ok(())
}

/// A token as lists tell it.
#[derive(Debug, Serialize)]
pub(crate) struct Token {
    /// The first digits of its hash.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    /// `None`: the whole county.
    pub(crate) clinics: Option<Vec<String>>,
    pub(crate) created_at: String,
    /// `None`: nobody wrote it down.
    pub(crate) made_by: Option<String>,
    /// Until then it waits to be confirmed, and is out of force; `None`: it was.
    pub(crate) pending_until: Option<String>,
    /// To a minute; `None`: never.
    pub(crate) last_used_at: Option<String>,
    pub(crate) revoked_at: Option<String>,
}

/// Every token, also those that are out of force.
pub(crate) fn tokens(connection: &Connection) -> rusqlite::Result<Vec<Token>> {
    let told = |row: &Row<'_>| {
        let hash: String = row.get("hash")?;
        let moment = |name| row.get::<_, Option<i64>>(name).map(|ms| ms.map(rfc3339));
        Ok(Token {
            id: hash.chars().take(TOKEN_ID_LEN).collect(),
            name: row.get("name")?,
            role: row.get("role")?,
            clinics: clinics_of(row)?,
            created_at: rfc3339(row.get("created_ms")?),
            made_by: row.get("made_by")?,
            pending_until: moment("pending_until_ms")?,
            last_used_at: moment("used_ms")?,
            revoked_at: moment("revoked_ms")?,
        })
    };
    connection
        .prepare("SELECT * FROM token ORDER BY created_ms, hash")?
        .query_map([], told)?
        .collect()
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

/// Whose token it is, if it is in force.
pub(crate) fn token(
    connection: &Connection,
    token: &str,
    clinics: &Clinics,
) -> rusqlite::Result<Option<Caller>> {
    let query = "SELECT name, role, scope, 0 FROM token
                 WHERE hash = ?1 AND revoked_ms IS NULL AND pending_until_ms IS NULL";
    caller(connection, CallerKind::Program, (query, params![sha256(token)]), clinics)
}

/// Whether it is time to write down that a token is in use.
pub(crate) fn is_use_due(
    connection: &Connection,
    token: &str,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let query = "SELECT used_ms FROM token WHERE hash = ?1";
    let used: Option<i64> =
        connection.prepare_cached(query)?.query_row([sha256(token)], |row| row.get(0))?;
    // Also what a clock that was set back has left in the future.
    Ok(used.is_none_or(|used| now_ms.abs_diff(used) >= USED_EVERY_MS.unsigned_abs()))
}

pub(crate) fn token_used(
    connection: &Connection,
    token: &str,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let query = "UPDATE token SET used_ms = ?2 WHERE hash = ?1";
    connection.execute(query, params![sha256(token), now_ms]).map(drop)
}

fn caller(
    connection: &Connection,
    kind: CallerKind,
    (query, parameters): (&str, &[&dyn rusqlite::ToSql]),
    clinics: &Clinics,
) -> rusqlite::Result<Option<Caller>> {
    let found: Option<(String, String, Option<String>, bool)> = connection
        .prepare_cached(query)?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    Ok(found.and_then(|(name, role, scope, given_password)| {
        let scope = Scope::from_stored(scope.as_deref(), clinics);
        Some(Caller { name, role: Role::from_name(&role)?, kind, scope, given_password })
    }))
}

/// 32 random bytes as hex.
fn secret() -> Result<String, PersonError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PersonError::Random)?;
    Ok(hex(&bytes))
}

pub(crate) fn sha256(text: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::collections::BTreeSet;

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
        let whose = |secret: &str, now_ms| {
            session(&connection, secret, now_ms, &Clinics::new()).unwrap().map(|caller| caller.name)
        };
        assert_eq!(whose(&secret, 2000).as_deref(), Some("wang"));
        assert_eq!(whose(&secret, 1001 + sessions::SESSION_MS), None);
        assert_eq!(whose("another", 2000), None);
    }

    const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);

    /// Action, on whom, and by whom, of all entries.
    fn entries(connection: &Connection) -> Vec<String> {
        connection
            .prepare("SELECT json_extract(body, '$[4]') || ' ' || json_extract(body, '$[5]') || ' by ' || json_extract(body, '$[3]') FROM audit ORDER BY id")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn who_is_added_gets_in_when_another_gave_a_role_and_is_out_at_once_when_shut_out() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let set = |by: &str, to: Change| change(&connection, NOW, by, "wang", &to);
        let hash = hashed("correct horse").unwrap();
        let add = Change::Add { hash, given: true, role: None, scope: Scope::County };
        set("chen", add).unwrap();
        assert!(find_person(&connection, "wang").unwrap().is_none());
        set("sun", Change::Role(Role::Nurse)).unwrap();
        assert!(find_person(&connection, "wang").unwrap().is_some());
        assert!(matches!(set("wang", Change::Role(Role::Doctor)), Err(PersonError::Own)));
        let secret = open_session(&connection, "wang", 0).unwrap();
        let scope = Scope::of_clinics(BTreeSet::from(["和平镇卫生院".to_owned()]), &Clinics::new());
        set("sun", Change::Scope(scope.clone())).unwrap();
        let caller = session(&connection, &secret, 0, &Clinics::new()).unwrap().unwrap();
        assert_eq!((caller.role, caller.scope), (Role::Nurse, scope));
        set("sun", Change::Disable).unwrap();
        assert!(session(&connection, &secret, 0, &Clinics::new()).unwrap().is_none());
        set("sun", Change::Enable).unwrap();
        // The session is gone for good.
        assert!(session(&connection, &secret, 0, &Clinics::new()).unwrap().is_none());
        assert!(find_person(&connection, "wang").unwrap().is_some());
        let nobody = change(&connection, NOW, "sun", "li", &Change::Disable);
        assert!(matches!(nobody, Err(PersonError::Unknown(name)) if name == "li"));
        assert_eq!(
            entries(&connection),
            [
                "user_add wang by chen",
                "user_role wang by sun",
                "user_scope wang by sun",
                "user_disable wang by sun",
                "user_enable wang by sun"
            ]
        );
    }

    #[test]
    fn a_token_is_in_force_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let clinics = Clinics::new();
        let export = ("export", Role::Engineer, &Scope::County);
        let (id, secret) = issue_token(&connection, NOW, "sun", export, Force::AtOnce).unwrap();
        assert_eq!(token(&connection, &secret, &clinics).unwrap().unwrap().name, "export");
        let due = |after_ms| is_use_due(&connection, &secret, NOW.unix_ms() + after_ms).unwrap();
        assert!(due(0));
        token_used(&connection, &secret, NOW.unix_ms()).unwrap();
        assert!(!due(USED_EVERY_MS - 1) && due(USED_EVERY_MS));
        let listed = tokens(&connection).unwrap();
        assert_eq!((listed.len(), &listed[0].id), (1, &id));
        assert_eq!(listed[0].last_used_at, Some(rfc3339(NOW.unix_ms())));
        // Nobody could tell who it was.
        let taken = add_person(&connection, "export", Role::Nurse, "correct horse");
        assert!(matches!(taken, Err(PersonError::Known(_))));
        revoke_token(&connection, NOW, "sun", &id).unwrap();
        assert!(token(&connection, &secret, &clinics).unwrap().is_none());
        assert!(tokens(&connection).unwrap()[0].revoked_at.is_some());
        let again = revoke_token(&connection, NOW, "sun", &id);
        assert!(matches!(again, Err(PersonError::NoToken(_))));
        let told = entries(&connection);
        assert_eq!(
            told,
            [format!("token_create {id} by sun"), format!("token_revoke {id} by sun")]
        );
    }

    #[test]
    fn a_token_of_one_administrator_opens_nothing_until_another_has_confirmed_it() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let issue = |name: &str| {
            let wanted = (name, Role::Engineer, &Scope::County);
            issue_token(&connection, NOW, "sun", wanted, Force::Confirmed).unwrap()
        };
        let is_in_force =
            |secret: &str| token(&connection, secret, &Clinics::new()).unwrap().is_some();
        let later = |ms: i64| WallTime::from_unix_ms(NOW.unix_ms() + ms);
        let (id, secret) = issue("export");
        assert!(!is_in_force(&secret));
        let own = pending::confirm_token(&connection, NOW, "sun", &id);
        assert!(matches!(own, Err(PersonError::Own)));
        assert!(!is_in_force(&secret));
        pending::confirm_token(&connection, later(PENDING_MS - 1), "zhou", &id).unwrap();
        assert!(is_in_force(&secret));
        let (late, secret) = issue("late");
        let confirmed = pending::confirm_token(&connection, later(PENDING_MS), "zhou", &late);
        assert!(matches!(confirmed, Err(PersonError::NothingPending(_))));
        assert!(!is_in_force(&secret));
        revoke_token(&connection, NOW, "sun", &late).unwrap();
        let confirmed = pending::confirm_token(&connection, NOW, "zhou", &late);
        assert!(matches!(confirmed, Err(PersonError::NothingPending(_))));
    }

    #[test]
    fn rights_wait_for_a_second_administrator_and_those_of_before_hold_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        add_person(&connection, "wang", Role::Nurse, "correct horse").unwrap();
        let role = || find_person(&connection, "wang").unwrap().unwrap().1;
        let ask = |to: Role| pending::ask(&connection, NOW, "sun", "wang", (Some(to), None));
        let confirm = |by: &str, after_ms: i64| {
            let at = WallTime::from_unix_ms(NOW.unix_ms() + after_ms);
            let waits = pending::of_person(&connection, NOW, "wang").unwrap();
            let request = waits.map(|waits| waits.request).unwrap_or_default();
            pending::confirm(&connection, at, by, ("wang", &request))
        };
        assert!(matches!(confirm("zhou", 0), Err(PersonError::NothingPending(_))));
        ask(Role::Doctor).unwrap();
        assert_eq!(role(), Role::Nurse);
        assert_eq!(
            people(&connection, NOW).unwrap()[0].1.pending.as_ref().unwrap().asked_by,
            "sun"
        );
        for own in ["sun", "wang"] {
            assert!(matches!(confirm(own, 0), Err(PersonError::Own)), "{own}");
        }
        assert!(matches!(confirm("zhou", PENDING_MS), Err(PersonError::NothingPending(_))));
        assert_eq!(role(), Role::Nurse);
        assert_eq!(confirm("zhou", PENDING_MS - 1).unwrap().role.as_deref(), Some("doctor"));
        assert_eq!(role(), Role::Doctor);
        assert!(matches!(confirm("zhou", 0), Err(PersonError::NothingPending(_))));
        // Whoever is shut out meanwhile gets nothing.
        ask(Role::Engineer).unwrap();
        change(&connection, NOW, "sun", "wang", &Change::Disable).unwrap();
        assert!(matches!(confirm("zhou", 0), Err(PersonError::NothingPending(_))));
    }

    #[test]
    fn a_password_of_ones_own_ends_the_other_sessions() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let hash = hashed("correct horse").unwrap();
        let (role, scope) = (Some(Role::Nurse), Scope::County);
        let add = Change::Add { hash, given: true, role, scope };
        change(&connection, NOW, "chen", "wang", &add).unwrap();
        let [here, elsewhere] = [(); 2].map(|()| open_session(&connection, "wang", 0).unwrap());
        let caller = |secret: &str| session(&connection, secret, 0, &Clinics::new()).unwrap();
        let refused = caller(&here).unwrap().may(Action::SeeSites);
        assert_eq!(refused, Err(Refusal::GivenPassword));
        let hash = hashed("battery staple").unwrap();
        assert!(own::set_password(&connection, NOW, ("wang", &here), &hash).unwrap());
        assert_eq!(caller(&here).unwrap().may(Action::SeeSites), Ok(()));
        assert_eq!(caller(&elsewhere), None);
        let (hash, _) = find_person(&connection, "wang").unwrap().unwrap();
        assert!(password_fits("battery staple", Some(&hash)));
        assert!(!password_fits("correct horse", Some(&hash)));
        assert_eq!(entries(&connection), ["user_add wang by chen", "set_password wang by wang"]);
    }

    /// They proved the old one, and while the new one was hashed somebody else was faster.
    #[test]
    fn a_password_that_was_given_meanwhile_stays_and_the_session_that_set_another_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        add_person(&connection, "wang", Role::Nurse, "correct horse").unwrap();
        let here = open_session(&connection, "wang", 0).unwrap();
        let [given, own] = ["given to wang", "battery staple"].map(|one| hashed(one).unwrap());
        pending::ask_password(&connection, NOW, "sun", ("wang", &given)).unwrap();
        let waits = pending::password_of(&connection, NOW, "wang").unwrap().unwrap();
        pending::confirm_password(&connection, NOW, "zhou", ("wang", &waits.request)).unwrap();
        assert!(!own::set_password(&connection, NOW, ("wang", &here), &own).unwrap());
        assert!(!own::set_pin(&connection, NOW, ("wang", &here), Some("hash")).unwrap());
        let (hash, _) = find_person(&connection, "wang").unwrap().unwrap();
        assert_eq!((hash, own::pin(&connection, "wang").unwrap()), (given, None));
        assert_eq!(session(&connection, &here, 0, &Clinics::new()).unwrap(), None);
        let told = ["user_password_asked wang by sun", "user_password wang by zhou"];
        assert_eq!(entries(&connection), told);
    }

    #[test]
    fn who_has_not_acted_for_ten_minutes_is_not_there_until_they_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        add_person(&connection, "wang", Role::Nurse, "correct horse").unwrap();
        let secret = open_session(&connection, "wang", 1000).unwrap();
        let holds = |at_ms| {
            own::presence(&connection, &secret).unwrap().is_some_and(|found| found.holds_at(at_ms))
        };
        assert!(holds(1000) && holds(600_999) && !holds(601_000));
        own::is_there(&connection, &secret, 900_000).unwrap();
        assert!(holds(900_000) && holds(1_499_999) && !holds(1_500_000));
        assert!(!holds(1000), "the clock was set back by a quarter of an hour");
        for bad in ["", "123", "123456789", "12a4", "１２３４"] {
            assert!(matches!(own::hashed_pin(bad), Err(PersonError::Pin)), "{bad}");
        }
        let hash = own::hashed_pin("2468").unwrap();
        assert!(own::set_pin(&connection, NOW, ("wang", &secret), Some(&hash)).unwrap());
        assert!(own::presence(&connection, &secret).unwrap().unwrap().has_pin);
        let kept = own::pin(&connection, "wang").unwrap();
        assert!(password_fits("2468", kept.as_deref()) && !password_fits("8642", kept.as_deref()));
    }
}
