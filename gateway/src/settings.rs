//! With what the gateway was started: what differs from the last time is an entry of the chain.
//!
//! # Invariants
//! - of a value only a hash is kept and nothing is told: it may be nobody's business

use crate::{
    audit::{self, Entry},
    people::sha256,
};
use model::time::WallTime;
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Names that one entry tells of each kind.
const NAMES_MAX: usize = 50;

/// Hashes of values by name: a key of `gateway.toml`, or `rules.` and the id of a rule.
pub(crate) type Settings = BTreeMap<String, String>;

/// The settings of a configuration and a rule set.
pub(crate) fn of(config: &str, rules: &str) -> Settings {
    let config = config_reader::settings(config).into_iter();
    let mut settings: Settings = config.map(|(key, value)| (key, sha256(&value))).collect();
    let rules: Map<String, Value> = serde_json::from_str(rules).unwrap_or_default();
    for (key, value) in &rules {
        match value.as_array().filter(|_| key == "rules") {
            Some(list) => settings.extend(list.iter().map(|rule| {
                let id = rule.get("id").and_then(Value::as_str).unwrap_or_default();
                (format!("rules.{id}"), sha256(&rule.to_string()))
            })),
            None => drop(settings.insert(format!("rules.{key}"), sha256(&value.to_string()))),
        }
    }
    settings
}

/// Writes down what differs from the last time, if anything does. The caller owns the transaction.
pub(crate) fn note(
    connection: &Connection,
    now: WallTime,
    settings: &Settings,
) -> rusqlite::Result<()> {
    let before: Settings = connection
        .prepare("SELECT key, hash FROM setting")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    if before == *settings {
        return Ok(());
    }
    connection.execute("DELETE FROM setting", [])?;
    let mut insert = connection.prepare("INSERT INTO setting VALUES (?1, ?2)")?;
    for (key, hash) in settings {
        insert.execute(params![key, hash])?;
    }
    let all: String = settings.iter().map(|(key, hash)| format!("{key}={hash}\n")).collect();
    let missing_in = |from: &Settings, other: &Settings| {
        names(from.keys().filter(|key| !other.contains_key(*key)))
    };
    let differs =
        |key: &&String| before.get(*key).is_some_and(|hash| settings.get(*key) != Some(hash));
    let hash = sha256(&all);
    let detail = match before.is_empty() {
        true => json!({"hash": hash, "settings": settings.len()}),
        false => json!({
            "hash": hash,
            "added": missing_in(settings, &before),
            "removed": missing_in(&before, settings),
            "changed": names(settings.keys().filter(differs)),
        }),
    };
    let entry = Entry { who: "county", action: "configuration", what: "gateway", detail };
    audit::append(connection, now, &entry)
}

fn names<'s>(keys: impl Iterator<Item = &'s String>) -> Value {
    let mut keys: Vec<&str> = keys.map(String::as_str).collect();
    let more = keys.len().saturating_sub(NAMES_MAX);
    keys.truncate(NAMES_MAX);
    let more = (more > 0).then(|| format!("{more} more"));
    json!(keys.into_iter().chain(more.as_deref()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);
    const RULES: &str =
        r#"{"meta": {"version": "1"}, "rules": [{"id": "A", "limit": 4}, {"id": "B"}]}"#;
    const CONFIG: &str = "data_dir = \"data\"\n[[clinic]]\nname = \"和平\"\n";

    #[test]
    fn what_differs_from_the_last_start_is_told_once_and_no_value_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let start = |config: &str, rules: &str| {
            note(&connection, NOW, &of(config, rules)).unwrap();
            let last = "SELECT count(*), json_extract(body, '$[6]') FROM audit
                        WHERE id = (SELECT max(id) FROM audit)";
            let told: (i64, String) = connection
                .query_row(last, [], |row| {
                    let all = "SELECT count(*) FROM audit";
                    let all = connection.query_row(all, [], |row| row.get(0))?;
                    Ok((all, row.get(1)?))
                })
                .unwrap();
            (told.0, serde_json::from_str::<Value>(&told.1).unwrap())
        };
        let (count, first) = start(CONFIG, RULES);
        assert_eq!((count, &first["settings"]), (1, &json!(5)));
        assert_eq!(start(CONFIG, RULES).0, 1);
        let rules = RULES.replace("4", "5").replace("{\"id\": \"B\"}", "{\"id\": \"C\"}");
        let config = CONFIG.replace("data_dir", "secret_file");
        let (count, told) = start(&config, &rules);
        assert_eq!(count, 2);
        assert_eq!(told["added"], json!(["rules.C", "secret_file"]));
        assert_eq!(told["removed"], json!(["data_dir", "rules.B"]));
        assert_eq!(told["changed"], json!(["rules.A"]));
        assert_ne!(told["hash"], first["hash"]);
        assert_eq!(start(&config, &rules).0, 2);
        let ladder = format!("{config}[clinic.escalation.high]\nsecond_s = 90\n");
        let (_, told) = start(&ladder, &rules);
        assert_eq!(told["added"], json!(["clinic[0].escalation.high.second_s"]));
    }
}
