//! All mistakes of a rule set at once, each with its line: by its schema, then by what that cannot
//! say.

use model::alarm::Priority;
use rules::rule::{Mistake, RuleMistake, RuleSet, RuleSetError, needed};
use serde_json::Value;
use std::collections::BTreeMap;
use uplink_proto::policy::RULES_LEN_MAX;

/// What `rules.schema.json` says.
const SCHEMA: &str = include_str!("../../../configs/rules/rules.schema.json");
/// The rule set that comes with the program; by it is known what another one would tell too little.
pub(crate) const DEFAULT: &str = include_str!("../../../configs/rules/default.json");
/// What a device signals that no other rule names, and that a device, a box or a sensor says nothing
/// any more: silence is never normal.
const NEVER_MISSING: [&str; 5] =
    ["DEV-OTHER", "EDGE-OFFLINE", "TECH-SILENT", "TECH-LEADOFF", "TECH-PROBEOFF"];
/// What speaks by itself does so at least that often; so says an installer of one device too.
const INTERVAL_MAX_S: u32 = 3600;
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
    mistakes.extend(silenced(text));
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

/// Reads a rule set that may go live: one that silences nothing.
pub(crate) fn read(text: &str) -> Result<RuleSet, RuleSetError> {
    let rules = RuleSet::from_json(text)?;
    let mistakes = silenced(text);
    if mistakes.is_empty() { Ok(rules) } else { Err(RuleSetError(mistakes)) }
}

/// Rules of a set that are missing or too low, and kinds of device that speak by themselves and would
/// never be silent: what a device calls for would be told to nobody, or as less than it is. An alarm that is high by default stays so, and what the program goes by is
/// there.
pub(super) fn silenced(text: &str) -> Vec<RuleMistake> {
    let [set, default] =
        [text, DEFAULT].map(|text| serde_json::from_str(text).unwrap_or(Value::Null));
    let mut mistakes = never_silent(text, &set, &default);
    let [set, default] = [&set, &default].map(|set| set.get("rules").and_then(Value::as_array));
    // What is no rule set has been told.
    let Some(set) = set else { return Vec::new() };
    let told = |rule: &Value| {
        let id = rule.get("id").and_then(Value::as_str)?;
        let is_event = rule.get("type")? == "device_event";
        let least = urgency(rule);
        let is_guarded = NEVER_MISSING.contains(&id) || (is_event && least == Some(Priority::High));
        if !is_guarded && !needed().any(|needed| needed == id) {
            return None;
        }
        let place = set.iter().position(|own| own.get("id") == rule.get("id"));
        let own = place.and_then(|place| set.get(place));
        let is_same = |own: &&Value| {
            let mut keys = ["type", "device_kinds", "evaluated_by"].iter();
            !is_guarded || keys.all(|key| own.get(key) == rule.get(key))
        };
        let what = match own.filter(is_same) {
            None => Mistake::Missing,
            Some(own) if is_guarded && urgency(own) < least => {
                Mistake::TooLow { least: least.map_or("", Priority::name).to_owned() }
            }
            Some(own) if is_guarded && !has_steps(own, rule) => Mistake::Missing,
            Some(_) => return None,
        };
        let line = place.map_or(1, |place| line_of(text, &["rules", &place.to_string()]));
        Some(RuleMistake { line, rule: Some(id.to_owned()), what })
    };
    mistakes.extend(default.into_iter().flatten().filter_map(told));
    mistakes
}

/// Kinds of device that speak by themselves, and for which a set names no interval or too long a one.
fn never_silent(text: &str, set: &Value, default: &Value) -> Vec<RuleMistake> {
    const KEY: &str = "expected_interval_s";
    let [Some(own), Some(default)] = [set, default].map(|of| of.get(KEY)?.as_object()) else {
        return Vec::new();
    };
    let speaks = default.iter().filter(|(_, interval)| !interval.is_null());
    let told = speaks.filter_map(|(kind, _)| {
        let interval = own.get(kind).and_then(Value::as_f64);
        if interval.is_some_and(|interval| interval <= f64::from(INTERVAL_MAX_S)) {
            return None;
        }
        let place = [KEY, kind];
        let line = line_of(
            text,
            if own.contains_key(kind) { &place } else { place.get(..1).unwrap_or_default() },
        );
        let what = Mistake::Interval { kind: kind.clone(), max_s: INTERVAL_MAX_S };
        Some(RuleMistake::of_file(line, what))
    });
    told.collect()
}

/// Whether a rule has what the other tells by steps: of as many, as urgent, and not after more than
/// four times as long.
fn has_steps(own: &Value, rule: &Value) -> bool {
    let steps = |of: &Value| of.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
    let wait = |step: &Value, key| step.get(key).and_then(Value::as_f64).unwrap_or_default();
    let own = steps(own);
    steps(rule).iter().all(|step| {
        own.iter().any(|own| {
            let is_for_all = own.get("when").is_none() || own.get("when") == step.get("when");
            let is_soon = |key| wait(own, key) <= 4.0 * wait(step, key);
            is_for_all
                && urgency(own) >= urgency(step)
                && ["after_s", "after_intervals"].into_iter().all(is_soon)
        })
    })
}

/// How urgent a rule makes what it tells, at the worst; of an alarm that goes by what its device
/// sends, without that.
fn urgency(rule: &Value) -> Option<Priority> {
    if rule.get("priority_from_device").is_some_and(|from| from == "as_sent") {
        return None;
    }
    let steps = rule.get("steps").and_then(Value::as_array).into_iter().flatten();
    let named = steps.chain([rule]).filter_map(|it| it.get("priority").and_then(Value::as_str));
    named.filter_map(Priority::from_name).max()
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

    /// What is said of the default set after somebody changed its rules.
    fn changed(change: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
        let mut set: Value = serde_json::from_str(DEFAULT).unwrap();
        change(set["rules"].as_array_mut().unwrap());
        let text = serde_json::to_string_pretty(&set).unwrap();
        match check(&text, DEFAULT) {
            Ok(_) => Vec::new(),
            Err(RuleSetError(mistakes)) => mistakes.iter().map(RuleMistake::to_string).collect(),
        }
    }

    #[test]
    fn a_set_that_would_silence_a_device_or_a_box_is_refused() {
        for id in NEVER_MISSING.into_iter().chain(["DEV-ASYSTOLE", "DEV-PUMP-BATT-DEPL"]) {
            let told = changed(|rules| rules.retain(|rule| rule["id"] != id));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(&format!("{id}: has to be in the set")), "{told:?}");
        }
        let set = |id: &str, key: &str, value: Value| {
            changed(|rules| {
                let rule = rules.iter_mut().find(|rule| rule["id"] == id).unwrap();
                rule[key] = value;
            })
        };
        let few = Value::from(vec!["pump"]);
        for (id, key, value, said) in [
            ("DEV-ASYSTOLE", "priority", "low".into(), "has to be high at least"),
            ("DEV-ASYSTOLE", "priority_from_device", "as_sent".into(), "has to be high at least"),
            ("DEV-ASYSTOLE", "device_kinds", few.clone(), "for every device"),
            ("TECH-SILENT", "device_kinds", few, "for every device"),
            ("TECH-SILENT", "evaluated_by", "county".into(), "for every device"),
        ] {
            let told = set(id, key, value);
            assert_eq!(told.len(), 1, "{id} {key}: {told:?}");
            assert!(told[0].starts_with(id) && told[0].contains(said), "{told:?}");
        }
        for (id, least) in [("EDGE-OFFLINE", "high"), ("TECH-PROBEOFF", "medium")] {
            let told = changed(|rules| {
                let rule = rules.iter_mut().find(|rule| rule["id"] == id).unwrap();
                rule["steps"].as_array_mut().unwrap().truncate(1);
                rule["steps"][0]["priority"] = "low".into();
            });
            let said = format!("{id}: has to be {least} at least");
            assert!(told.len() == 1 && told[0].starts_with(&said), "{told:?}");
        }
        // To leave out boxes that serve nobody who is monitored, or to wait for days.
        for change in [
            |rule: &mut Value| drop(rule["steps"].as_array_mut().unwrap().remove(0)),
            |rule: &mut Value| rule["steps"][0]["after_s"] = 864_000.into(),
        ] {
            let told = changed(|rules| {
                change(rules.iter_mut().find(|rule| rule["id"] == "EDGE-OFFLINE").unwrap());
            });
            assert!(told.len() == 1 && told[0].contains("has to be in the set"), "{told:?}");
        }
        // What a county may decide: to wait a little, to hear more of what is not high, or nothing.
        let none = Vec::<String>::new();
        assert_eq!(set("DEV-AF", "priority", "high".into()), none);
        assert_eq!(set("DEV-OTHER", "priority", "medium".into()), none);
        assert_eq!(changed(|rules| rules.retain(|rule| rule["id"] != "DEV-AF")), none);
    }

    /// What is said of the default set with other intervals, each with its line.
    fn intervals(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Vec<String> {
        let mut set: Value = serde_json::from_str(DEFAULT).unwrap();
        change(set["expected_interval_s"].as_object_mut().unwrap());
        let text = serde_json::to_string_pretty(&set).unwrap();
        let line = |it: &RuleMistake| text.lines().nth(it.line - 1).unwrap().trim().to_owned();
        let told = |it: &RuleMistake| format!("{} {it}", line(it));
        assert_eq!(check(&text, DEFAULT).is_ok(), read(&text).is_ok());
        check(&text, DEFAULT).err().map(|of| of.0.iter().map(told).collect()).unwrap_or_default()
    }

    #[test]
    fn a_set_in_which_a_device_that_speaks_by_itself_is_never_silent_is_refused() {
        for (kind, interval) in [
            ("monitor", Value::Null),
            ("oximeter", 3601.into()),
            ("ecg_strap", Value::Null),
            ("pump", Value::Null),
        ] {
            let said = intervals(|own| drop(own.insert(kind.to_owned(), interval)));
            let begins = format!("\"{kind}\": ");
            let [told] = said.as_slice() else { panic!("{kind}: {said:?}") };
            assert!(told.starts_with(&begins) && told.contains("at most 3600 s"), "{told}");
            assert!(told.ends_with("write how often it speaks, as in the default set"), "{told}");
        }
        let said = intervals(|own| drop(own.remove("monitor")));
        let [told] = said.as_slice() else { panic!("{said:?}") };
        assert!(told.starts_with("\"expected_interval_s\": {"), "{told}");
        // What reports when it is used is never silent, and a site may be slower.
        let good = intervals(|own| {
            own.insert("monitor".to_owned(), 3600.into());
            own.insert("cuff".to_owned(), Value::Null);
        });
        assert!(good.is_empty(), "{good:?}");
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
