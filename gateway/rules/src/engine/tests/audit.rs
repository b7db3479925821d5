//! The chain of what people did.

use super::*;

#[test]
fn a_broken_chain_is_one_alert_of_the_county_until_it_is_whole_again() {
    let mut ward = Ward::new("any");
    ward.engine = Engine::new(SiteId::county(), Subject::Box);
    let mut hear = |seconds, is_broken| ward.engine.hear_audit(ward.rules, at(seconds), is_broken);
    assert_eq!(hear(0.0, false), vec![]);
    let told = hear(10.0, true);
    assert_eq!((told[0].rules[0].as_str(), told[0].priority), ("TECH-AUDIT", Priority::High));
    let id = told[0].id;
    assert!(hear(86_410.0, true).iter().all(|alert| alert.id == id));
    // High alerts stay until somebody has seen them.
    let told = hear(172_810.0, false);
    assert_eq!((told[0].id, told[0].state), (id, AlertState::ClearedUnack));
    // What was stored is read again, with the name that no box has.
    let stored = serde_json::to_string(&ward.engine).unwrap();
    let read: Engine = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.alerts().map(|alert| alert.site.as_str()).collect::<Vec<_>>(), ["county"]);
    assert!(SiteId::new("county").is_err());
}
