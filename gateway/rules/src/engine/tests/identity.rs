//! Two boxes with one certificate.

use super::*;
use model::id::OutboxId;

const FIRST: OutboxId = OutboxId::from_bytes([1; 16]);
const SECOND: OutboxId = OutboxId::from_bytes([2; 16]);

fn hear(edge: &mut Ward, seconds: f64, outbox: OutboxId, connection: u64) -> (bool, Vec<Alert>) {
    edge.engine.hear_box_identity(edge.rules, at(seconds), outbox, connection)
}

#[test]
fn a_box_that_took_the_place_of_another_is_no_alert_and_two_by_turns_are_one() {
    let mut edge = Ward::new("heping");
    for (seconds, outbox, connection) in
        [(0.0, FIRST, 7), (30.0, FIRST, 7), (60.0, FIRST, 8), (90.0, SECOND, 1)]
    {
        assert_eq!(hear(&mut edge, seconds, outbox, connection), (false, vec![]));
    }
    let (turned, told) = hear(&mut edge, 95.0, FIRST, 9);
    assert!(turned);
    assert_eq!((told[0].rules[0].as_str(), told[0].priority), ("TECH-IDENTITY", Priority::Medium));
    // They go on, as the same alert.
    assert!(!hear(&mut edge, 120.0, FIRST, 9).0);
    let (turned, told) = hear(&mut edge, 500.0, SECOND, 2);
    assert!(turned && told.iter().all(|alert| alert.state == AlertState::ActiveUnack));
    // One of them was taken away.
    assert!(hear(&mut edge, 500.0 + 1799.0, SECOND, 3).1.is_empty());
    let (turned, told) = hear(&mut edge, 500.0 + 1801.0, SECOND, 3);
    assert_eq!((turned, told[0].state), (false, AlertState::ClearedUnack));
}

#[test]
fn a_copy_of_a_disk_is_known_by_its_connections_and_a_box_put_back_later_is_no_other_one() {
    let mut edge = Ward::new("heping");
    hear(&mut edge, 0.0, FIRST, 100);
    assert!(hear(&mut edge, 1.0, FIRST, 61).0);
    assert!(!hear(&mut edge, 2.0, FIRST, 101).0);

    let mut edge = Ward::new("heping");
    hear(&mut edge, 0.0, FIRST, 1);
    hear(&mut edge, 10.0, SECOND, 1);
    assert_eq!(hear(&mut edge, 10.0 + 1801.0, FIRST, 2), (false, vec![]));
}
