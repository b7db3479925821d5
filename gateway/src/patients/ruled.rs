//! Which rules a patient has, for people to look at.

use model::time::WallTime;
use rules::{population::Profile, rule::RuleSet};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Groups of rules and the classes of metrics on which there is one: a value of another class is
/// looked at by no rule.
pub(super) fn ruled(rules: &RuleSet, profile: &Profile, now: WallTime) -> Value {
    let limits = rules.limits_of(profile, now);
    let classes: BTreeSet<&str> = limits.iter().map(|limit| limit.class.name()).collect();
    json!({"version": rules.version(), "populations": rules.populations_of(profile, now), "classes": classes})
}

/// The limits that hold for a patient now.
pub(super) fn limits(rules: &RuleSet, profile: &Profile, now: WallTime) -> Value {
    let limits = rules.limits_of(profile, now).into_iter().map(|limit| {
        let also = limit.also.map(|also| {
            json!({"class": also.class.name(), "op": also.op.sign(),
                "value": also.limit.to_string(), "within_s": also.window_ms / 1000})
        });
        json!({"rule": limit.rule, "class": limit.class.name(), "op": limit.op.sign(),
            "value": limit.limit.to_string(), "priority": limit.priority.name(), "also": also})
    });
    Value::Array(limits.collect())
}
