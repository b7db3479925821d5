//! Whatever somebody does to a chain of some hundred entries is found, and which entry it was; what
//! a walk costs, a figure of `tests/bench/RESULTS.md`:
//!
//! ```sh
//! AUDIT_ENTRIES=1000000 cargo test -p gateway --lib what_a_walk_costs -- --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use super::*;
use crate::{
    audit::{self, Entry},
    clock,
    store::Store,
};
use model::time::WallTime;
use rusqlite::params;
use serde_json::json;
use std::{env, thread};
use tempfile::TempDir;

const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);
const ENTRIES: i64 = 300;

fn write(connection: &Connection, what: &str) {
    let detail = json!({"reason": "at_bedside", "note": "床旁"});
    let entry = Entry { who: "wang", action: "acknowledge", what, detail };
    audit::append(connection, NOW, &entry).unwrap();
}

fn chain() -> (Connection, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
    let transaction = connection.transaction().unwrap();
    (1..=ENTRIES).for_each(|number| write(&transaction, &format!("alert {number}")));
    transaction.commit().unwrap();
    (connection, folder)
}

fn verify(connection: &Connection, anchor: Option<&Head>) -> Report {
    let mut walk = Walk::against(anchor.cloned());
    // Steps shorter than what is looked at ahead, and no divisor of the chain.
    while !walk.step(connection, 37).unwrap() {}
    walk.finish()
}

/// What is wrong after a change: the first and last entry, and what.
#[track_caller]
fn check(connection: &mut Connection, change: &str, expected: &[(i64, i64, &str)]) {
    let anchor = audit::head(connection).unwrap();
    let transaction = connection.transaction().unwrap();
    transaction.execute_batch(change).unwrap();
    let report = verify(&transaction, None);
    assert_eq!(told(&report), expected, "{change}: {report:#?}");
    assert!(!report.good, "{change}");
    let held = verify(&transaction, anchor.as_ref());
    assert!(!held.good, "{change}");
}

fn told(report: &Report) -> Vec<(i64, i64, &'static str)> {
    let findings = report.findings.iter();
    findings.map(|found| (found.entry, found.to.unwrap_or(found.entry), found.what)).collect()
}

/// Rows of a chain as it would be, changed by hand.
fn renumber(from: i64, by: i64) -> String {
    // Over negative numbers: each is taken only once.
    format!(
        "UPDATE audit SET id = -(id + {by}) WHERE id >= {from};
         UPDATE audit SET id = -id WHERE id < 0;"
    )
}

/// The rows of these two are exchanged.
fn swap(one: i64, other: i64) -> String {
    format!(
        "UPDATE audit SET id = -1 WHERE id = {one};
         UPDATE audit SET id = {one} WHERE id = {other};
         UPDATE audit SET id = {other} WHERE id = -1;"
    )
}

#[test]
fn a_chain_that_nobody_touched_is_whole() {
    let (connection, _folder) = chain();
    let head = audit::head(&connection).unwrap().unwrap();
    let report = verify(&connection, Some(&head));
    assert!(report.good && report.findings.is_empty(), "{report:#?}");
    assert_eq!((report.entries, report.head), (300, Some(head.clone())));
    // It goes on: what was kept elsewhere still holds.
    write(&connection, "alert");
    assert!(verify(&connection, Some(&head)).good);
    assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
}

#[test]
fn every_bit_of_an_entry_that_is_turned_is_found() {
    let (mut connection, _folder) = chain();
    // Every bit of one, of others a bit of every byte.
    for entry in [1, 2, 9, 10, 99, 100, 150, 236, 237, 299, ENTRIES] {
        for column in ["body", "hash"] {
            let query = format!("SELECT CAST({column} AS BLOB) FROM audit WHERE id = ?1");
            let bytes: Vec<u8> = connection.query_row(&query, [entry], |row| row.get(0)).unwrap();
            let every = if entry == 150 { 1 } else { 9 };
            for bit in (0..bytes.len() * 8).step_by(every) {
                let mut turned = bytes.clone();
                turned[bit / 8] ^= 1 << (bit % 8);
                let transaction = connection.transaction().unwrap();
                let kind = if column == "body" { "TEXT" } else { "BLOB" };
                let query = format!("UPDATE audit SET {column} = CAST(?2 AS {kind}) WHERE id = ?1");
                transaction.execute(&query, params![entry, turned]).unwrap();
                let report = verify(&transaction, None);
                assert_eq!(
                    told(&report),
                    [(entry, entry, "changed")],
                    "bit {bit} of {column} of {entry}: {report:#?}"
                );
            }
        }
    }
}

#[test]
fn an_entry_that_is_shorter_longer_empty_or_of_another_kind_is_found() {
    let (mut connection, _folder) = chain();
    for entry in [1, 150, ENTRIES] {
        for change in [
            "body = body || ' '",
            "body = substr(body, 1, length(body) - 1)",
            "body = ''",
            "body = x'00'",
            "body = 7",
            "body = replace(body, 'wang', 'li')",
            "body = (SELECT body FROM audit WHERE id = 77)",
            "hash = x''",
            "hash = hash || x'00'",
            "hash = (SELECT hash FROM audit WHERE id = 77)",
            "hash = NULL OR 1",
        ] {
            let change = format!("UPDATE audit SET {change} WHERE id = {entry}");
            check(&mut connection, &change, &[(entry, entry, "changed")]);
        }
    }
}

#[test]
fn entries_that_were_removed_are_told_wherever_they_stood() {
    let (mut connection, _folder) = chain();
    for (first, last) in [(1, 1), (2, 2), (150, 150), (100, 199), (1, 200), (299, 299)] {
        let gone = format!("DELETE FROM audit WHERE id BETWEEN {first} AND {last};");
        let expected = [(first, last, "removed")];
        check(&mut connection, &gone, &expected);
        // And what follows is numbered anew.
        let count = last - first + 1;
        if last == 299 {
            // The last entry then says that it is another one: nobody can tell the two.
            let gone = format!("{gone}{}", renumber(first, -count));
            check(&mut connection, &gone, &[(299, 299, "changed")]);
            continue;
        }
        check(&mut connection, &format!("{gone}{}", renumber(first, -count)), &expected);
    }
    let twice = "DELETE FROM audit WHERE id IN (50, 51, 200)";
    check(&mut connection, twice, &[(50, 51, "removed"), (200, 200, "removed")]);
}

#[test]
fn entries_that_were_put_elsewhere_are_told() {
    let (mut connection, _folder) = chain();
    for (one, other) in [(5, 8), (1, 300), (150, 290), (298, 300)] {
        let expected = [(one, one, "moved"), (other, other, "moved")];
        check(&mut connection, &swap(one, other), &expected);
    }
    // Of two neighbours one is enough to tell.
    for one in [1, 5, 150, 298] {
        check(&mut connection, &swap(one, one + 1), &[(one, one, "moved")]);
    }
    // The last one is put to the front.
    let to_front = format!("{}UPDATE audit SET id = 1 WHERE id = 301;", renumber(1, 1));
    check(&mut connection, &to_front, &[(300, 300, "moved")]);
    // Only the numbers of the rows.
    check(&mut connection, &renumber(200, 7), &[(200, 200, "moved")]);
}

#[test]
fn entries_that_were_put_in_are_told() {
    let (mut connection, _folder) = chain();
    for place in [1, 2, 150, 299, 300] {
        let room = renumber(place, 1);
        let copied =
            format!("{room}INSERT INTO audit SELECT {place}, body, hash FROM audit WHERE id = 77");
        check(&mut connection, &copied, &[(place, place, "inserted")]);
        let made =
            format!("{room}INSERT INTO audit VALUES ({place}, '[1,{place},0,\"li\"]', x'07')");
        check(&mut connection, &made, &[(place, place, "inserted")]);
        // By the rules of the chain, so that it fits behind the one before.
        let body = format!("[1,{place},0,\"li\",\"acknowledge\",\"alert\",{{}}]");
        let query = "SELECT hash FROM audit WHERE id = ?1 - 1";
        let before: Vec<u8> =
            connection.query_row(query, [place], |row| row.get(0)).unwrap_or_default();
        let hash = hex(chained(&before, body.as_bytes()).as_ref());
        let fitting = format!("{room}INSERT INTO audit VALUES ({place}, '{body}', x'{hash}')");
        check(&mut connection, &fitting, &[(place, place, "inserted")]);
    }
    let far = "INSERT INTO audit VALUES (-5, 'x', x'00'), (9223372036854775807, '[1,9223372036854775807,', x'')";
    let (low, high) = (-5, i64::MAX);
    check(&mut connection, far, &[(low, low, "inserted"), (high, high, "inserted")]);
}

#[test]
fn an_end_that_was_cut_off_and_a_chain_written_anew_are_found_by_a_head_kept_elsewhere() {
    let (mut connection, _folder) = chain();
    let anchor = audit::head(&connection).unwrap();
    for (kept, expected) in
        [(299, (300, 300, "cut")), (100, (101, 300, "cut")), (0, (1, 300, "cut"))]
    {
        let transaction = connection.transaction().unwrap();
        transaction.execute("DELETE FROM audit WHERE id > ?1", [kept]).unwrap();
        // Nothing in the chain itself tells it.
        assert!(verify(&transaction, None).good);
        assert_eq!(told(&verify(&transaction, anchor.as_ref())), [expected]);
    }
    // Cut off, and written anew by the rules.
    for kept in [299, 100, 0] {
        let transaction = connection.transaction().unwrap();
        transaction.execute("DELETE FROM audit WHERE id > ?1", [kept]).unwrap();
        (kept..ENTRIES + 20).for_each(|_| write(&transaction, "another"));
        assert!(verify(&transaction, None).good);
        let report = verify(&transaction, anchor.as_ref());
        assert_eq!(told(&report), [(300, 300, "rewritten")]);
    }
}

#[test]
fn several_at_once_are_all_told() {
    let (mut connection, _folder) = chain();
    let change = "UPDATE audit SET body = body || ' ' WHERE id = 40;
        UPDATE audit SET hash = x'07' WHERE id = 80;
        DELETE FROM audit WHERE id = 120;
        UPDATE audit SET body = 'x' WHERE id = 300;";
    let expected =
        [(40, 40, "changed"), (80, 80, "changed"), (120, 120, "removed"), (300, 300, "changed")];
    check(&mut connection, change, &expected);
    let change = format!("{}{}", swap(100, 250), "UPDATE audit SET body = 'x' WHERE id = 180");
    let expected = [(100, 100, "moved"), (180, 180, "changed"), (250, 250, "moved")];
    check(&mut connection, &change, &expected);
    // More than are told one by one.
    let all = "UPDATE audit SET hash = x'07'";
    let transaction = connection.transaction().unwrap();
    transaction.execute_batch(all).unwrap();
    let report = verify(&transaction, None);
    assert_eq!(report.findings.len() + report.findings_left_out, 300);
}

/// The gateway and a command write at once.
#[test]
fn two_who_write_at_once_make_one_chain() {
    const EACH: u64 = 100;
    let (connection, folder) = chain();
    let path = folder.path().join("county.sqlite");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut connection = Store::connection(&path).unwrap();
                for _ in 0..EACH {
                    let transaction = connection
                        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
                        .unwrap();
                    write(&transaction, "at once");
                    transaction.commit().unwrap();
                }
            });
        }
    });
    let report = verify(&connection, None);
    assert!(report.good, "{report:#?}");
    assert_eq!(report.entries, 300 + 3 * EACH);
}

/// Whoever forgets to lock first is refused, and breaks nothing.
#[test]
fn who_read_the_chain_before_another_wrote_is_refused() {
    let (mut one, folder) = chain();
    let other = Store::connection(&folder.path().join("county.sqlite")).unwrap();
    let deferred = one.transaction().unwrap();
    let count: i64 =
        deferred.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(count, ENTRIES);
    write(&other, "first");
    let entry = Entry { who: "li", action: "acknowledge", what: "late", detail: json!({}) };
    assert!(audit::append(&deferred, NOW, &entry).is_err());
    drop(deferred);
    assert!(verify(&other, None).good);
}

#[test]
fn what_a_walk_costs() {
    let entries = env::var("AUDIT_ENTRIES").ok().and_then(|count| count.parse().ok());
    let entries: i64 = entries.unwrap_or(3000);
    let folder = tempfile::tempdir().unwrap();
    let mut connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
    let began = clock::instant();
    let transaction = connection.transaction().unwrap();
    (0..entries).for_each(|number| write(&transaction, &format!("{number:032x}")));
    transaction.commit().unwrap();
    let wrote_ms = began.elapsed().as_millis();
    let began = clock::instant();
    let mut walk = Walk::default();
    let mut longest_ms = 0;
    loop {
        let step = clock::instant();
        if walk.step(&connection, 5000).unwrap() {
            break;
        }
        longest_ms = step.elapsed().as_millis().max(longest_ms);
    }
    let report = walk.finish();
    let walked_ms = began.elapsed().as_millis();
    assert!(report.good && i64::try_from(report.entries) == Ok(entries));
    let figure = json!({"entries": entries, "wrote_ms": wrote_ms, "walked_ms": walked_ms,
        "longest_step_ms": longest_ms});
    println!("{figure}");
}
