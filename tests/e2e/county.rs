//! Story: the gateway's commands, their exit codes, and a terminal that is lost.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const CONFIG: &str = "data_dir = \"data\"\n[http]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n\
    [broker]\nembedded = true\naddress = \"0.0.0.0:0\"\n[pki]\ndir = \"pki\"\n";

fn run(folder: &Path, words: &[&str]) -> Output {
    let config = folder.join("gateway.toml");
    Command::new(PROGRAM)
        .arg("__clinic-gateway")
        .args(words)
        .args(["--config", config.to_str().unwrap()])
        .current_dir(folder)
        .output()
        .unwrap()
}

#[track_caller]
fn refused(output: &Output, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(word), "{said}");
}

#[test]
fn what_cannot_be_meant_ends_with_2_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("gateway.toml"), CONFIG).unwrap();
    assert!(run(folder, &["pki", "init"]).status.success());

    refused(&run(folder, &["pki", "issue", "No Name"]), "is not a site name");
    refused(&run(folder, &["pki", "issue", "heping"]), "hosts");
    assert!(!folder.join("heping").exists());
    fs::write(folder.join("password"), "correct horse").unwrap();
    let add = |name| {
        run(folder, &["user", "add", name, "--role", "nurse", "--password-file", "password"])
    };
    refused(&add("a b"), "cannot be used");
    assert!(add("wang").status.success());
    assert_eq!(add("wang").status.code(), Some(1));

    let named = CONFIG.replace("tls =", "hosts = [\"county.example\"]\ntls =");
    fs::write(folder.join("gateway.toml"), named).unwrap();
    fs::create_dir(folder.join("heping")).unwrap();
    fs::write(folder.join("heping/agent.toml"), "mine").unwrap();
    assert_eq!(run(folder, &["pki", "issue", "heping"]).status.code(), Some(1));
    assert!(!folder.join("heping/heping.key").exists());
    fs::remove_file(folder.join("heping/agent.toml")).unwrap();
    assert!(run(folder, &["pki", "issue", "heping"]).status.success());
    let agent = fs::read_to_string(folder.join("heping/agent.toml")).unwrap();
    assert!(agent.contains("broker = \"county.example:0\""), "{agent}");
}

/// A slip of the pen, and the nurses of that clinic would never see the box.
#[test]
fn a_box_that_no_clinic_has_is_told_when_it_gets_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let named = CONFIG.replace("tls =", "hosts = [\"county.example\"]\ntls =");
    let clinic = "[[clinic]]\nname = \"和平镇卫生院\"\nsites = [\"heping-01\"]\n";
    fs::write(folder.join("gateway.toml"), named + clinic).unwrap();
    assert!(run(folder, &["pki", "init"]).status.success());
    let told = |site| String::from_utf8(run(folder, &["pki", "issue", site]).stdout).unwrap();
    assert!(!told("heping-01").contains("No clinic"));
    let said = told("hepin-01");
    assert!(said.contains("gateway.toml has hepin-01"), "{said}");
}

#[test]
fn every_mistake_of_the_rule_set_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("gateway.toml"), format!("{CONFIG}[rules]\nfile = \"rules.json\"\n"))
        .unwrap();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/rules/default.json");
    let good = fs::read_to_string(rules).unwrap();
    refused(&run(folder, &["check"]), "rules.json");
    fs::write(folder.join("rules.json"), &good).unwrap();
    assert!(run(folder, &["check"]).status.success());

    let bad = good.replacen("\"mm[Hg]\"", "\"kPa\"", 2);
    fs::write(folder.join("rules.json"), bad).unwrap();
    for command in ["check", "run"] {
        let output = run(folder, &[command]);
        refused(&output, "the unit is kPa");
        let said = String::from_utf8_lossy(&output.stderr);
        let place = format!("{}:", folder.join("rules.json").display());
        let lines = said.lines().filter_map(|line| line.strip_prefix(&place));
        let numbers: Vec<u32> =
            lines.map(|line| line.split(':').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.len() == 2 && numbers.iter().all(|line| *line > 1), "{said}");
    }
}

#[test]
fn backup_and_restore_say_what_they_did_and_end_with_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("gateway.toml"), CONFIG).unwrap();
    let ended = |words: &[&str], code: i32, said: &[&str]| {
        let output = run(folder, words);
        let told = if code == 0 { &output.stdout } else { &output.stderr };
        let told = String::from_utf8_lossy(told);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        for word in said {
            assert!(told.contains(word), "{words:?}: {word:?} is not in {told}");
        }
    };
    ended(&["backup", "copy.sqlite"], 1, &["there is no database", "when the gateway starts"]);
    fs::write(folder.join("password"), "correct horse").unwrap();
    let add = ["user", "add", "wang", "--role", "nurse", "--password-file", "password"];
    ended(&add, 0, &[]);
    let beside = ["checked", "gateway.toml: the configuration", "/pki: keys", "ca.key offline"];
    ended(&["backup", "copy.sqlite"], 0, &beside);
    ended(&["backup", "copy.sqlite"], 1, &["is there already", "--overwrite"]);
    ended(&["backup", "copy.sqlite", "--overwrite"], 0, &[]);
    // The person, and two backups.
    ended(&["audit", "verify"], 0, &["3 entries, nothing was changed"]);
    ended(&["backup", "data/county.sqlite", "--overwrite"], 2, &["the county's own database"]);
    ended(&["backup", "nowhere/copy.sqlite"], 1, &["check the folder"]);
    ended(&["backup"], 2, &["<FILE>"]);
    // As it is for somebody who may read the database and not write it.
    let database = rusqlite::Connection::open(folder.join("data/county.sqlite")).unwrap();
    let closed =
        "CREATE TRIGGER closed BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END";
    database.execute_batch(closed).unwrap();
    let good = ["the copy is good", "not in the audit", "as the user of the gateway"];
    ended(&["backup", "unsaid.sqlite"], 3, &good);
    database.execute_batch("DROP TRIGGER closed").unwrap();
    drop(database);
    let copied = rusqlite::Connection::open(folder.join("unsaid.sqlite")).unwrap();
    let people = "SELECT count(*) FROM person";
    let people: i64 = copied.query_row(people, [], |row| row.get(0)).unwrap();
    assert_eq!(people, 1);
    drop(copied);

    ended(&["restore", "nothing.sqlite"], 2, &["there is no file"]);
    ended(&["restore", "gateway.toml"], 2, &["not the database of a county"]);
    let restored = ["restored from copy.sqlite", "county.sqlite.before-", "ca.crt is missing"];
    ended(&["restore", "copy.sqlite"], 0, &restored);
    // The person is in it.
    ended(&add, 1, &["there is a person or program called"]);
}

#[test]
fn the_ledger_is_told_to_people_and_to_programs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let clinic = "[[clinic]]\nname = \"和平镇卫生院\"\nsites = [\"heping\", \"quiet\"]\n";
    fs::write(folder.join("gateway.toml"), format!("{CONFIG}{clinic}")).unwrap();
    let early = run(folder, &["ledger"]);
    let said = String::from_utf8_lossy(&early.stderr);
    assert!(early.status.code() == Some(1) && said.contains("when the gateway starts"), "{said}");
    fs::write(folder.join("password"), "correct horse").unwrap();
    let add = ["user", "add", "wang", "--role", "nurse", "--password-file", "password"];
    assert!(run(folder, &add).status.success());
    let county = rusqlite::Connection::open(folder.join("data/county.sqlite")).unwrap();
    county
        .execute_batch(
            "INSERT INTO ledger VALUES ('heping', '07', 'wave', '1-3,8-9', '4-7', '');
             INSERT INTO drop_record VALUES (1, 'heping', '07', 'wave', 4, 7, 0, 60000, 'outbox_full');
             INSERT INTO ledger VALUES ('dongfeng', '08', 'trend', '1-3', '', '');",
        )
        .unwrap();
    drop(county);
    let told = |words: &[&str]| {
        let output = run(folder, words);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = told(&["ledger"]);
    assert!(text.contains("dongfeng, outbox 08") && text.contains("nothing is missing"), "{text}");
    let text = told(&["ledger", "--site", "heping"]);
    assert!(text.contains("wave   through 9, 4 missing"), "{text}");
    let line = "4-7          of 1970-01-01T00:00:00.000Z to 1970-01-01T00:01:00.000Z, given up by \
                the box: its outbox was full";
    assert!(text.contains(line) && !text.contains("dongfeng"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&told(&["ledger", "--site", "heping", "--json"])).unwrap();
    assert_eq!(json["outboxes"][0]["missing"][0]["cause"], "outbox_full");
    assert_eq!(json["county"]["generation"].as_str().unwrap().len(), 16);
    // A clinic that has sent nothing is told so; a site nobody knows is a mistake.
    assert!(!told(&["ledger", "--site", "quiet"]).contains("outbox"));
    let unknown = run(folder, &["ledger", "--site", "hepin"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(1) && said.contains("no clinic"), "{said}");
}

#[test]
fn people_and_programs_are_told_with_what_they_may_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let clinic = "[[clinic]]\nname = \"和平镇卫生院\"\nsites = [\"heping\"]\n";
    fs::write(folder.join("gateway.toml"), format!("{CONFIG}{clinic}")).unwrap();
    fs::write(folder.join("password"), "correct horse").unwrap();
    let ended = |words: &[&str], code: i32, said: &str| {
        let output = run(folder, words);
        let told = if code == 0 { &output.stdout } else { &output.stderr };
        let told = String::from_utf8_lossy(told).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(told.contains(said), "{words:?}: {said:?} is not in {told}");
        told
    };
    let add = |name: &str, role: &str, more: &[&str], code: i32, said: &str| {
        let words = ["user", "add", name, "--role", role, "--password-file", "password"];
        ended(&[&words[..], more].concat(), code, said)
    };
    for role in ["system_admin", "security_admin", "audit_admin"] {
        add(role, role, &[], 0, "may log in");
    }
    add("wang", "nurse", &["--clinic", "和平镇卫生院"], 0, "in 和平镇卫生院");
    add("li", "nurse", &["--clinic", "nowhere"], 2, "known: 和平镇卫生院");
    add("li", "chief", &[], 2, "known roles");
    ended(&["user", "role", "wang", "doctor"], 0, "wang is doctor now");
    ended(&["user", "role", "nobody", "doctor"], 1, "no person called");
    ended(&["user", "scope", "wang"], 0, "everywhere");
    ended(&["user", "disable", "wang"], 0, "shut out");
    let listed = ended(&["user", "list"], 0, "wang");
    let line = listed.lines().find(|line| line.starts_with("wang")).unwrap();
    assert!(line.contains("doctor") && line.ends_with("the whole county, shut out"), "{listed}");

    let token = ended(&["token", "create", "--role", "engineer", "--name", "export"], 0, "");
    assert_eq!(token.trim().len(), 64);
    let listed = ended(&["token", "list"], 0, "export");
    let id = listed.split_whitespace().next().unwrap();
    ended(&["token", "revoke", id], 0, "out of force");
    ended(&["token", "revoke", id], 1, "no token");
    let json: serde_json::Value =
        serde_json::from_str(&ended(&["token", "list", "--json"], 0, "")).unwrap();
    assert!(json["tokens"][0]["revoked_at"].is_string(), "{json}");
}

#[test]
fn the_audit_is_verified_and_who_changed_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("gateway.toml"), CONFIG).unwrap();
    fs::write(folder.join("password"), "correct horse").unwrap();
    let said = |words: &[&str], code: i32| {
        let output = run(folder, words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    said(&["audit", "verify"], 1);
    assert!(run(folder, &["pki", "init"]).status.success());
    for name in ["wang", "li", "chen"] {
        said(&["user", "add", name, "--role", "nurse", "--password-file", "password"], 0);
    }
    let head = said(&["audit", "head"], 0);
    let head = head.trim();
    assert!(said(&["audit", "verify", "--head", head], 0).contains("all up to entry 3"));
    refused(&run(folder, &["audit", "verify", "--head", "3"]), "ID:HASH");
    // The gateway starts with a configuration that nobody has seen, and then with another.
    run_until_ready(folder);
    run_until_ready(folder);
    fs::write(folder.join("gateway.toml"), format!("{CONFIG}[disk]\nfree_min_mib = 3\n")).unwrap();
    run_until_ready(folder);
    // Three people; the rules of the program, which go live; the two configurations.
    let verified = said(&["audit", "verify", "--head", head], 0);
    assert!(verified.starts_with("6 entries"), "{verified}");
    let county = rusqlite::Connection::open(folder.join("data/county.sqlite")).unwrap();
    let last = "SELECT body FROM audit WHERE id = 6";
    let last: String = county.query_row(last, [], |row| row.get(0)).unwrap();
    assert!(last.contains("\"added\":[\"disk.free_min_mib\"]"), "{last}");
    county.execute("UPDATE audit SET body = replace(body, 'li', 'wu') WHERE id = 2", []).unwrap();
    let told = said(&["audit", "verify", "--json"], 1);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["good"], &told["findings"][0]["entry"]), (&false.into(), &2.into()));
    assert!(said(&["audit", "verify"], 1).contains("entry 2: changed"));
    // The county says so by itself, to its administrators.
    run_until_ready(folder);
    let alert = "SELECT priority || ' ' || site FROM alert WHERE body LIKE '%TECH-AUDIT%'";
    let alert: String = county.query_row(alert, [], |row| row.get(0)).unwrap();
    assert_eq!(alert, "high county");
    county.execute("UPDATE audit SET body = replace(body, 'wu', 'li') WHERE id = 2", []).unwrap();
    run_until_ready(folder);
    let state: String = county
        .query_row("SELECT state FROM alert WHERE body LIKE '%TECH-AUDIT%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(state, "cleared_unack", "the chain is whole again");
    // An end that is missing is found by the head of the last walk, without one that others kept.
    county.execute("DELETE FROM audit WHERE id > 2", []).unwrap();
    assert!(said(&["audit", "verify"], 1).contains("entries 3 to 6: cut"));
    let told = said(&["audit", "verify", "--head", head], 1);
    assert!(told.contains("entry 3: cut"), "{told}");
}

/// Starts the gateway, waits until it has walked its chain, and stops it.
fn run_until_ready(folder: &Path) {
    let child = Command::new(PROGRAM)
        .args(["__clinic-gateway", "run", "--config"])
        .arg(folder.join("gateway.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut gateway = Gateway(child);
    let log = BufReader::new(gateway.0.stderr.take().unwrap());
    let walked = log.lines().map_while(Result::ok).any(|line| line.contains("chain was walked"));
    assert!(walked, "the gateway ended before it walked its chain");
    let id = gateway.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(gateway.0.wait().unwrap().success());
}

/// The daemon, killed when it goes out of scope.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_lost_terminal_does_not_end_the_county_and_sigterm_does() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("gateway.toml"), CONFIG).unwrap();
    assert!(run(folder, &["pki", "init"]).status.success());
    let child = Command::new(PROGRAM)
        .args(["__clinic-gateway", "run", "--config"])
        .arg(folder.join("gateway.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut gateway = Gateway(child);
    let mut ready = String::new();
    BufReader::new(gateway.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.contains("\"ready\""), "{ready}");
    let id = gateway.0.id().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    // From here on nobody reads its log: what it says goes nowhere, and ends nothing.
    drop(gateway.0.stderr.take());
    signal("-HUP");
    signal("-TERM");
    assert!(gateway.0.wait().unwrap().success());
}
