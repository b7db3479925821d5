//! All mistakes of a rule set at once, each with its line: by its schema, then by what that cannot
//! say.

use rules::rule::{Mistake, RuleMistake, RuleSet, RuleSetError, needed};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uplink_proto::policy::RULES_LEN_MAX;

/// What `rules.schema.json` says.
const SCHEMA: &str = include_str!("../../../configs/rules/rules.schema.json");
/// Mistakes that are told: whoever has more has sent another file.
const MISTAKES_MAX: usize = 200;

/// Reads a rule set that somebody wants to become live in the place of another.
pub(crate) fn check(text: &str, live: &str) -> Result<RuleSet, RuleSetError> {
    if text.len() > RULES_LEN_MAX {
        let what = Mistake::TooLong { bytes: text.len(), max: RULES_LEN_MAX };
        return Err(RuleSetError(vec![RuleMistake::of_file(1, what)]));
    }
    let read = RuleSet::from_json(text);
    let mut mistakes = by_schema(text);
    mistakes.extend(other_codes(text, live));
    mistakes.extend(missing(text));
    match read {
        Ok(rules) if mistakes.is_empty() => return Ok(rules),
        Ok(_) => {}
        Err(RuleSetError(more)) => mistakes.extend(more),
    }
    mistakes.sort();
    mistakes.dedup();
    mistakes.truncate(MISTAKES_MAX);
    Err(RuleSetError(mistakes))
}

fn by_schema(text: &str) -> Vec<RuleMistake> {
    // What is no JSON has been told with its line.
    let Ok(set) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let schema = serde_json::from_str(SCHEMA).unwrap_or_default();
    let validator = match jsonschema::validator_for(&schema) {
        Ok(validator) => validator,
        Err(error) => {
            let why = format!("the schema of the program is broken, report this: {error}");
            return vec![RuleMistake::of_file(1, Mistake::Form { why })];
        }
    };
    let told = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path.as_str();
        let steps: Vec<&str> = place.split('/').skip(1).collect();
        let keyword = error.schema_path.as_str().rsplit('/').next().unwrap_or_default();
        let why = error.to_string().chars().take(200).collect();
        let what = Mistake::Schema { place: place.to_owned(), keyword: keyword.to_owned(), why };
        RuleMistake::of_file(line_of(text, &steps), what)
    };
    validator.iter_errors(&set).take(MISTAKES_MAX).map(told).collect()
}

/// Codes of device alarms that differ from those of the live set: a driver knows which alarm it
/// heard, and no other code changes that.
fn other_codes(text: &str, live: &str) -> Vec<RuleMistake> {
    let [set, live] = [text, live].map(|text| serde_json::from_str(text).unwrap_or(Value::Null));
    let [set, live] = [&set, &live].map(|set| set.get("rules").and_then(Value::as_array));
    let id = |rule: &Value| rule.get("id").and_then(Value::as_str).map(str::to_owned);
    let live = live.into_iter().flatten();
    let live: BTreeMap<_, _> = live.map(|rule| (id(rule), rule.get("mdc32"))).collect();
    let differ = set.into_iter().flatten().enumerate().filter_map(|(place, rule)| {
        let known = live.get(&id(rule))?;
        (*known != rule.get("mdc32")).then(|| {
            let line = line_of(text, &["rules", &place.to_string()]);
            RuleMistake::of_file(
                line,
                Mistake::DeviceCodes { place: format!("/rules/{place}/mdc32") },
            )
        })
    });
    differ.collect()
}

/// Rules that the program goes by and the set has not.
fn missing(text: &str) -> Vec<RuleMistake> {
    // What is no JSON has been told with its line.
    let Ok(set) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let rules = set.get("rules").and_then(Value::as_array).into_iter().flatten();
    let ids: BTreeSet<&str> = rules.filter_map(|rule| rule.get("id")?.as_str()).collect();
    let told =
        |id: &str| RuleMistake { line: 1, rule: Some(id.to_owned()), what: Mistake::Missing };
    needed().filter(|id| !ids.contains(id)).map(told).collect()
}

/// Where in a container the text is.
enum Within {
    Object { key: String, key_is_next: bool },
    Array(usize),
}

impl Within {
    fn is(&self, step: &str) -> bool {
        match self {
            Self::Object { key, .. } => key == step,
            Self::Array(index) => step.parse() == Ok(*index),
        }
    }
}

/// The line on which the value at that place begins; of JSON that was understood.
fn line_of(text: &str, place: &[&str]) -> usize {
    let (mut line, mut within) = (1, Vec::<Within>::new());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let is_key = matches!(within.last(), Some(Within::Object { key_is_next: true, .. }));
        let begins = !is_key && !letter.is_whitespace() && !matches!(letter, ',' | ':' | '}' | ']');
        let is_there = within.len() == place.len()
            && within.iter().zip(place).all(|(within, step)| within.is(step));
        if begins && is_there {
            return line;
        }
        match letter {
            '\n' => line += 1,
            '"' => {
                let said = string(&mut letters);
                if let (true, Some(Within::Object { key, key_is_next })) =
                    (is_key, within.last_mut())
                {
                    (*key, *key_is_next) = (said, false);
                }
            }
            '{' => within.push(Within::Object { key: String::new(), key_is_next: true }),
            '[' => within.push(Within::Array(0)),
            '}' | ']' => drop(within.pop()),
            ',' => match within.last_mut() {
                Some(Within::Object { key_is_next, .. }) => *key_is_next = true,
                Some(Within::Array(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
    }
    1
}

/// The rest of a string, whose escapes stay as they are.
fn string(letters: &mut std::str::Chars<'_>) -> String {
    let mut said = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => said.extend([letter].into_iter().chain(letters.next())),
            _ => said.push(letter),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = include_str!("../../../configs/rules/default.json");

    #[test]
    fn the_default_rule_set_is_good() {
        assert!(check(DEFAULT, DEFAULT).is_ok());
    }

    #[test]
    fn a_code_by_which_no_driver_goes_is_no_edit() {
        let mut set: Value = serde_json::from_str(DEFAULT).unwrap();
        let rules = set["rules"].as_array_mut().unwrap();
        let asystole = rules.iter_mut().find(|rule| rule["id"] == "DEV-ASYSTOLE").unwrap();
        asystole["mdc32"] = vec![196_616].into();
        let text = serde_json::to_string_pretty(&set).unwrap();
        let RuleSetError(mistakes) = check(&text, DEFAULT).unwrap_err();
        let [mistake] = mistakes.as_slice() else { panic!("{mistakes:?}") };
        assert!(matches!(mistake.what, Mistake::DeviceCodes { .. }), "{mistake}");
        let near: Vec<&str> = text.lines().skip(mistake.line - 1).take(5).collect();
        assert!(near.join("").contains("DEV-ASYSTOLE"), "{near:?}");
    }

    /// The danger signs are asked by ids, and what the program finds by itself is told by them.
    #[test]
    fn a_set_without_a_rule_that_the_program_goes_by_is_told_which() {
        for id in needed() {
            let mut set: Value = serde_json::from_str(DEFAULT).unwrap();
            let rules = set["rules"].as_array_mut().unwrap();
            let rule = rules.iter_mut().find(|rule| rule["id"] == id).unwrap();
            rule["id"] = "OF-COUNTY-1".into();
            let text = set.to_string();
            let RuleSetError(mistakes) = check(&text, DEFAULT).unwrap_err();
            let is_told =
                |it: &RuleMistake| (it.rule.as_deref(), &it.what) == (Some(id), &Mistake::Missing);
            assert!(mistakes.iter().any(is_told), "{id}: {mistakes:?}");
        }
        let asked = ["BP-AD-SH", "BP-PR-DHH", "GLU-AD-L", "TECH-SILENT", "EDGE-OFFLINE"];
        assert!(asked.into_iter().all(|id| needed().any(|needed| needed == id)));
    }

    #[test]
    fn mistakes_of_schema_and_meaning_are_told_at_once_each_with_its_line() {
        let mut set: Value = serde_json::from_str(DEFAULT).unwrap();
        set["meta"]["status"] = 7.into();
        set["rules"][3]["sustain_s"] = (-5).into();
        set["rules"][4]["unit"] = "kPa".into();
        let text = serde_json::to_string_pretty(&set).unwrap();
        let RuleSetError(mistakes) = check(&text, DEFAULT).unwrap_err();
        for (wanted, on_line) in [
            ("/meta/status", "\"status\""),
            ("/rules/3/sustain_s", "\"sustain_s\""),
            ("the unit is kPa", "\"id\""),
        ] {
            let told = mistakes.iter().find(|mistake| mistake.to_string().contains(wanted));
            let told = told.unwrap_or_else(|| panic!("{wanted}: {mistakes:#?}"));
            let line = text.lines().nth(told.line - 1).unwrap();
            assert!(line.contains(on_line), "{told}: {line}");
        }
        assert!(mistakes.is_sorted());
    }

    #[test]
    fn a_place_is_found_in_any_layout() {
        let text = "{\"a\": [1,\n {\"b\\\"]\": \"x,}\",\n \"c\": [true,\n null]}], \"d\":\n 2}";
        for (place, line) in [
            (&[][..], 1),
            (&["a"], 1),
            (&["a", "1"], 2),
            (&["a", "1", "c"], 3),
            (&["a", "1", "c", "1"], 4),
            (&["d"], 5),
            (&["e"], 1),
        ] {
            assert_eq!(line_of(text, place), line, "{place:?}");
        }
    }

    #[test]
    fn what_boxes_could_not_be_told_is_no_rule_set() {
        let long = format!("{DEFAULT}{}", " ".repeat(RULES_LEN_MAX));
        let RuleSetError(mistakes) = check(&long, DEFAULT).unwrap_err();
        assert!(matches!(mistakes[0].what, Mistake::TooLong { .. }), "{mistakes:?}");
    }
}
