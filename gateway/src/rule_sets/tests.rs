//! One version is live, and nobody approves what they wrote.

use super::*;
use crate::store::Store;
use model::id::SiteId;
use rules::ladder::{ByPriority, Times};
use tempfile::TempDir;

const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);

fn database() -> (TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
    (folder, connection)
}

fn live(connection: &Connection) -> Vec<i64> {
    let mut live = connection.prepare("SELECT version FROM rule_set WHERE live = 1").unwrap();
    live.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn actions(connection: &Connection) -> Vec<String> {
    let actions = "SELECT json_extract(body, '$[3]') || ' ' || json_extract(body, '$[4]') || ' '
        || json_extract(body, '$[5]') FROM audit ORDER BY id";
    let mut actions = connection.prepare(actions).unwrap();
    actions.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

const TEXT: &str = include_str!("../../../configs/rules/default.json");

fn rules() -> RuleSet {
    RuleSet::from_json(TEXT).unwrap()
}

#[test]
fn the_set_of_the_program_is_version_1_and_follows_the_program_until_a_person_approves() {
    let (_folder, connection) = database();
    let start = |text: &str| {
        let started = at_start(&connection, NOW, text, rules()).unwrap();
        assert_eq!(live(&connection), [i64::try_from(started.number).unwrap()]);
        (started.number, started.text.to_string())
    };
    let later = format!("{TEXT} ");
    assert_eq!(start(TEXT), (1, TEXT.to_owned()));
    assert_eq!(start(TEXT).0, 1);
    assert_eq!(start(&later), (2, later.clone()));
    let ours = format!("{TEXT}\n");
    let version = draft(&connection, NOW, "zhang", &ours, "lower SpO2 line").unwrap();
    assert_eq!(live(&connection), [2]);
    let approved = approve(&connection, NOW, "li", version).unwrap().unwrap();
    assert_eq!((approved.number, &*approved.text), (3, &*ours));
    assert_eq!(start(TEXT), (3, ours));
    assert_eq!(
        actions(&connection),
        [
            "county take_over_rules 1",
            "county take_over_rules 2",
            "zhang draft_rules 3",
            "li approve_rules 3"
        ]
    );
}

#[test]
fn approved_rules_that_this_program_does_not_understand_are_not_live() {
    let (_folder, connection) = database();
    at_start(&connection, NOW, TEXT, rules()).unwrap();
    let version = draft(&connection, NOW, "zhang", "of a later program", "").unwrap();
    let refused = approve(&connection, NOW, "li", version).unwrap().unwrap_err();
    assert!(matches!(refused, ApproveError::NotUnderstood(_)), "{refused}");
    // An earlier program kept one that tells of nothing that no rule names.
    let silent = TEXT.replace("\"DEV-OTHER\"", "\"DEV-NONE\"");
    let draft = draft(&connection, NOW, "zhang", &silent, "").unwrap();
    let refused = approve(&connection, NOW, "li", draft).unwrap().unwrap_err();
    assert!(refused.to_string().contains("DEV-OTHER: has to be in the set"), "{refused}");
    assert_eq!(live(&connection), [1]);
    // The later program approved it, before this one was put back.
    go_live(&connection, version).unwrap();
    assert_eq!(at_start(&connection, NOW, TEXT, rules()).unwrap().number, 4);
    assert_eq!(live(&connection), [4]);
}

#[test]
fn nobody_approves_what_they_wrote_what_is_not_there_or_what_is_live() {
    let (_folder, connection) = database();
    at_start(&connection, NOW, TEXT, rules()).unwrap();
    let draft = draft(&connection, NOW, "zhang", &format!("{TEXT}\n"), "").unwrap();
    let refused = |by, version| approve(&connection, NOW, by, version).unwrap().unwrap_err();
    assert!(matches!(refused("zhang", draft), ApproveError::OwnDraft(author) if author == "zhang"));
    assert!(matches!(refused("li", 99), ApproveError::NotFound));
    assert!(matches!(refused("li", 1), ApproveError::Live));
    assert_eq!(live(&connection), [1]);
    assert_eq!(list(&connection).unwrap()[0]["approved_by"], Value::Null);
    // An earlier version comes back by being approved again.
    approve(&connection, NOW, "li", draft).unwrap().unwrap();
    approve(&connection, NOW, "zhang", 1).unwrap().unwrap();
    assert_eq!(live(&connection), [1]);
}

#[test]
fn whoever_follows_hears_of_another_live_set() {
    let minute = ByPriority { high: 60_000, medium: 60_000, low: 60_000 };
    let times = Times { realarm: minute, ..Times::default() };
    let [heping, dongfeng] = ["heping-01", "dongfeng-01"].map(|id| SiteId::new(id).unwrap());
    let own = [(heping.clone(), times)].into();
    let by_site = TimesBySite { county: Times::default(), own };
    let live = LiveRules::new(Live::new(1, rules(), TEXT), by_site);
    assert_eq!(live.rules().times(&heping), &times);
    let mut follows = live.follow();
    assert!(!follows.has_changed().unwrap());
    live.put(Live { entry: 1, ..Live::new(2, rules(), TEXT) });
    assert!(follows.has_changed().unwrap());
    // The times are those of county and township, whichever set is live.
    assert_eq!(live.rules().times(&heping), &times);
    assert_eq!(live.rules().times(&dongfeng), &Times::default());
    assert_eq!((live.live().number, follows.borrow_and_update().number), (2, 2));
}

#[test]
fn of_two_versions_that_were_approved_at_once_the_one_in_force_is_the_one_that_is_kept() {
    let (_folder, connection) = database();
    let started = at_start(&connection, NOW, TEXT, rules()).unwrap();
    let in_force = LiveRules::new(started, TimesBySite::default());
    let drafts = [" ", "\n"]
        .map(|more| draft(&connection, NOW, "zhang", &format!("{TEXT}{more}"), "").unwrap());
    // The newer draft is approved first, and comes last to where it is put in force.
    let [older, newer] = drafts;
    let [first, second] =
        [newer, older].map(|it| approve(&connection, NOW, "li", it).unwrap().unwrap());
    assert_eq!(live(&connection), [older]);
    in_force.put(second);
    in_force.put(first);
    assert_eq!(in_force.live().number, number(older));
    // The other one again, later: it is in force again.
    in_force.put(approve(&connection, NOW, "li", newer).unwrap().unwrap());
    assert_eq!(in_force.live().number, number(newer));
}
