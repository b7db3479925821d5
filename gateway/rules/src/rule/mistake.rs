//! What may be wrong with a rule set, in words that programs go by: the board says each in the
//! reader's language.

use serde::Serialize;
use std::fmt;
use thiserror::Error;

/// One mistake of a rule set.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RuleMistake {
    /// Line of the file, from 1.
    pub line: usize,
    /// Id of the rule, or its number such as `#3`; `None` is the file itself.
    pub rule: Option<String>,
    /// What is wrong.
    #[serde(flatten)]
    pub what: Mistake,
}

impl RuleMistake {
    /// Of the file itself.
    #[must_use]
    pub const fn of_file(line: usize, what: Mistake) -> Self {
        Self { line, rule: None, what }
    }
}

/// Without the line, which stands in front of it in many ways.
impl fmt::Display for RuleMistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(out, "{rule}: {}", self.what),
            None => self.what.fmt(out),
        }
    }
}

/// What is wrong; what to write instead.
#[derive(Clone, Debug, Eq, Error, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Mistake {
    /// More than is read, or reaches the boxes.
    #[error("the set has {bytes} bytes; at most {max} are read and reach the boxes")]
    TooLong {
        /// It has so many.
        bytes: usize,
        /// So many are allowed.
        max: usize,
    },
    /// No JSON, or a rule that cannot be read.
    #[error("is not of the form of rules.schema.json: {why}; correct it")]
    Form {
        /// As the reader says it.
        why: String,
    },
    /// The schema does not allow it.
    #[error("{place}: {why}")]
    Schema {
        /// Where, such as `/rules/3/sustain_s`.
        place: String,
        /// The word of the schema that is not met, such as `minimum`.
        keyword: String,
        /// As the schema's checker says it.
        why: String,
    },
    /// Codes of device alarms differ from those of the live set.
    #[error(
        "{place}: the drivers say which alarm of a device this is; leave the codes as they are in \
         the live set"
    )]
    DeviceCodes {
        /// Where.
        place: String,
    },
    /// Without it, what a device signals, or that it signals nothing any more, would be told to
    /// nobody, or as less than it is.
    #[error(
        "has to be in the set, for every device as in the default set: without it silence or an \
         alarm of a device could be told to nobody; take it over from there"
    )]
    Missing,
    /// Less urgent than what it tells.
    #[error("has to be {least} at least, whatever a device sends; raise it, or leave it as it was")]
    TooLow {
        /// The lowest that it may be.
        least: String,
    },
    /// Silence of such devices would be told to nobody, or too late.
    #[error(
        "expected_interval_s of {kind} has to be at most {max_s} s: without it nobody would be told \
         that such a device says nothing any more; write how often it speaks, as in the default set"
    )]
    Interval {
        /// The kind of device.
        kind: String,
        /// Longest.
        max_s: u32,
    },
    /// Two rules of one id.
    #[error("another rule has the same id; give each its own")]
    SameId,
    /// Overrides what is no rule.
    #[error("overrides {target}, which is no rule; name one of this file")]
    Overrides {
        /// What it names.
        target: String,
    },
    /// Of an unknown type.
    #[error("the type {name} is not known")]
    RuleType {
        /// What it names.
        name: String,
    },
    /// A threshold rule without one.
    #[error("has no op or no threshold")]
    NoThreshold,
    /// It would clear while it holds.
    #[error("clears at {value}, which is not on the safe side of {limit}")]
    UnsafeClear {
        /// Clears there.
        value: String,
        /// Is raised there.
        limit: String,
    },
    /// A score rule without one.
    #[error("has no condition")]
    NoCondition,
    /// For people whom the file does not name.
    #[error("the population {name} is not one of this file")]
    Population {
        /// What it names.
        name: String,
    },
    /// Too many populations.
    #[error("there are {count} populations; at most {max} are allowed")]
    Populations {
        /// It has so many.
        count: usize,
        /// So many are allowed.
        max: usize,
    },
    /// Bases leave an age out, or have it twice.
    #[error("the base {base} does not begin at {months} months")]
    BaseBegin {
        /// The base.
        base: String,
        /// Where the one before ends.
        months: u32,
    },
    /// A base without any age.
    #[error("the base {base} ends before it begins")]
    BaseEnd {
        /// The base.
        base: String,
    },
    /// Bases do not reach to the oldest.
    #[error("there is no base from {months} months on")]
    BaseMissing {
        /// Where the last one ends.
        months: u32,
    },
    /// A number that no value could be compared with.
    #[error("{number} is no usable limit")]
    Limit {
        /// As it is written.
        number: String,
    },
    /// A class that the catalogue does not have.
    #[error("the class {name} is not in the catalogue")]
    Class {
        /// What it names.
        name: String,
    },
    /// Another unit than the class has.
    #[error("the unit is {unit}, the class {class} has {canonical}")]
    Unit {
        /// As it is written.
        unit: String,
        /// The class.
        class: String,
        /// Its canonical unit.
        canonical: String,
    },
    /// A strip that nobody could keep.
    #[error("keeps a strip that is longer than {max_s} s; shorten it")]
    Strip {
        /// Longest.
        max_s: i64,
    },
    /// A priority that there is not.
    #[error("the priority {name} is not known")]
    Priority {
        /// What it names.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_in_the_document() {
        const DOCUMENT: &str = include_str!("../../../src/api/openapi.json");
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let told = &document["components"]["responses"]["RuleMistakes"]["content"];
        let told = &told["application/problem+json"]["schema"]["allOf"][1]["properties"];
        let codes = told["mistakes"]["items"]["properties"]["code"]["enum"].as_array().unwrap();
        let codes: Vec<_> =
            codes.iter().map(|code| format!("`{}`", code.as_str().unwrap())).collect();
        // A code that is none is answered with all that are.
        let none = serde_json::from_str::<Mistake>("{\"code\": \"\"}").unwrap_err().to_string();
        let known = none.split("expected one of ").nth(1).unwrap();
        assert!(known.starts_with(&codes.join(", ")), "{known}\n{codes:?}");
        assert_eq!(known.matches('`').count(), 2 * codes.len(), "{known}");
    }
}
