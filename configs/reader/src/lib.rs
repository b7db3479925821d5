//! Reads a TOML configuration and tells all its mistakes at once, each with its line and a remedy.
//!
//! Not here: what the settings mean. Agent and gateway each turn a [`Section`] into their own types.
//!
//! # Invariants
//! - a key nobody asked for is a mistake: a typo is an error at start, not a silent default at night
//! - nothing is opened: a configuration can be checked on any machine

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{Range, RangeInclusive},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One mistake of a configuration.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mistake {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong; what to write instead.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.text)
    }
}

/// Collects mistakes while a configuration is read.
#[derive(Debug)]
pub struct Mistakes<'t> {
    text: &'t str,
    found: RefCell<Vec<Mistake>>,
}

impl<'t> Mistakes<'t> {
    /// Notes a mistake at a place of the text.
    pub fn note(&self, place: &Range<usize>, text: impl Into<String>) {
        let before = self.text.get(..place.start.min(self.text.len())).unwrap_or(self.text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        self.found.borrow_mut().push(Mistake { line, text: text.into() });
    }
}

/// Reads a configuration: `meant` turns the root into what is meant, noting mistakes on the way.
///
/// # Errors
/// All mistakes, in the order of their lines. What `meant` returned is only handed out without any.
pub fn read<T>(
    text: &str,
    meant: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Vec<Mistake>> {
    let mistakes = Mistakes { text, found: RefCell::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = error.span().unwrap_or(0..0);
        mistakes.note(&place, format!("not TOML: {}; correct the line", error.message()));
    }
    let mut section = Section {
        table: root.get_ref(),
        place: 0..0,
        name: String::new(),
        asked: BTreeSet::new(),
        mistakes: &mistakes,
    };
    let meant = meant(&mut section);
    section.finish();
    let mut found = mistakes.found.into_inner();
    found.sort();
    found.dedup();
    match meant {
        Some(meant) if found.is_empty() => Ok(meant),
        _ => Err(found),
    }
}

/// Every setting of a text, with its value as it is written there: `http.address`,
/// `clinic[1].name`. What is not TOML has none.
#[must_use]
pub fn settings(text: &str) -> BTreeMap<String, String> {
    let (root, _) = DeTable::parse_recoverable(text);
    let mut found = BTreeMap::new();
    gather(text, root.get_ref(), "", &mut found);
    found
}

fn gather(text: &str, table: &DeTable<'_>, within: &str, found: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = match within {
            "" => key.get_ref().to_string(),
            _ => format!("{within}.{}", key.get_ref()),
        };
        gather_value(text, value, name, found);
    }
}

fn gather_value(
    text: &str,
    value: &Spanned<DeValue<'_>>,
    name: String,
    found: &mut BTreeMap<String, String>,
) {
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    match value.get_ref() {
        DeValue::Table(table) => gather(text, table, &name, found),
        DeValue::Array(items) if items.iter().any(is_table) => {
            for (index, item) in items.iter().enumerate() {
                gather_value(text, item, format!("{name}[{index}]"), found);
            }
        }
        _ => drop(found.insert(name, text.get(value.span()).unwrap_or_default().to_owned())),
    }
}

/// A table of the configuration. Every key must be asked for; what is left is a mistake.
#[derive(Debug)]
pub struct Section<'d> {
    table: &'d DeTable<'d>,
    place: Range<usize>,
    name: String,
    asked: BTreeSet<&'static str>,
    mistakes: &'d Mistakes<'d>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Range<usize>,
}

impl<'d> Section<'d> {
    /// A text that must be there.
    pub fn text(&mut self, key: &'static str, example: &str) -> Option<Placed<&'d str>> {
        let found = self.optional_text(key);
        if found.is_none() && !self.table.contains_key(key) {
            let place = self.place.clone();
            let name = self.full(key);
            self.mistakes.note(&place, format!("{name} is missing; write {key} = \"{example}\""));
        }
        found
    }

    /// A text that may be there.
    pub fn optional_text(&mut self, key: &'static str) -> Option<Placed<&'d str>> {
        self.value(key, "a text in quotes", |value| value.as_str())
    }

    /// A text that is turned into a value; the error says what is wrong with it.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let Placed { value, place } = self.text(key, example)?;
        self.turned(key, place, parse(value))
    }

    /// A text that may be there and is turned into a value.
    pub fn optional_parsed<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let Placed { value, place } = self.optional_text(key)?;
        self.turned(key, place, parse(value))
    }

    fn turned<T, E: fmt::Display>(
        &self,
        key: &str,
        place: Range<usize>,
        turned: Result<T, E>,
    ) -> Option<Placed<T>> {
        match turned {
            Ok(value) => Some(Placed { value, place }),
            Err(error) => {
                self.mistakes.note(&place, format!("{}: {error}", self.full(key)));
                None
            }
        }
    }

    /// A whole number that may be there, inside a range.
    pub fn optional_integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let Placed { value, place } =
            self.value(key, "a whole number", |value| value.as_integer())?;
        let number = u64::from_str_radix(value.as_str(), value.radix()).ok();
        let inside = number.filter(|number| range.contains(number));
        if inside.is_none() {
            let (from, to) = (range.start(), range.end());
            let name = self.full(key);
            let text = format!("{name} is {value}; use a number from {from} to {to}");
            self.mistakes.note(&place, text);
        }
        inside
    }

    /// `true` or `false` that may be there.
    pub fn optional_switch(&mut self, key: &'static str) -> Option<bool> {
        self.value(key, "true or false", |value| value.as_bool()).map(|found| found.value)
    }

    /// A table that must be there.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'d>> {
        let found = self.optional_section(key);
        if found.is_none() && !self.table.contains_key(key) {
            let place = self.place.clone();
            self.mistakes
                .note(&place, format!("the section [{}] is missing; add it", self.full(key)));
        }
        found
    }

    /// A table that may be there.
    pub fn optional_section(&mut self, key: &'static str) -> Option<Section<'d>> {
        let found = self.value(key, "a section", |value| value.as_table())?;
        Some(self.inner(key, found))
    }

    /// Every table of an array of tables (`[[device]]`); none if it is not there.
    pub fn sections(&mut self, key: &'static str) -> Vec<Section<'d>> {
        let Some(found) = self.value(key, "an array of sections", |value| value.as_array()) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in found.value {
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(self.inner(key, Placed { value: table, place: item.span() }));
                }
                None => self.mistakes.note(&item.span(), format!("write [[{key}]] for each")),
            }
        }
        sections
    }

    /// Every text of an array of texts; none if it is not there.
    pub fn texts(&mut self, key: &'static str) -> Vec<Placed<&'d str>> {
        let Some(found) = self.value(key, "an array of texts", |value| value.as_array()) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in found.value {
            match item.get_ref().as_str() {
                Some(value) => texts.push(Placed { value, place: item.span() }),
                None => self.mistakes.note(&item.span(), format!("{key}: write texts in quotes")),
            }
        }
        texts
    }

    /// Notes a mistake about this section.
    pub fn note(&self, place: &Range<usize>, text: impl Into<String>) {
        self.mistakes.note(place, text);
    }

    /// Where this section begins.
    #[must_use]
    pub fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// Keys nobody asked for are mistakes. Call it when everything has been asked for.
    pub fn finish(&self) {
        for (key, _) in self.table.iter().filter(|(key, _)| !self.asked.contains(&**key.get_ref()))
        {
            let known: Vec<&str> = self.asked.iter().copied().collect();
            let name = self.full(key.get_ref());
            self.mistakes.note(
                &key.span(),
                format!("{name} is not a setting; known here: {}", known.join(", ")),
            );
        }
    }

    fn inner(&self, key: &str, found: Placed<&'d DeTable<'d>>) -> Section<'d> {
        Section {
            table: found.value,
            place: found.place,
            name: self.full(key),
            asked: BTreeSet::new(),
            mistakes: self.mistakes,
        }
    }

    fn value<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        pick: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<Placed<T>> {
        self.asked.insert(key);
        let value: &'d Spanned<DeValue<'d>> = self.table.get(key)?;
        match pick(value.get_ref()) {
            Some(picked) => Some(Placed { value: picked, place: value.span() }),
            None => {
                let found = value.get_ref().type_str();
                let name = self.full(key);
                self.mistakes.note(&value.span(), format!("{name} is {found}; use {expected}"));
                None
            }
        }
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = 7\nport = 99999\nspeling = true\n\n[inner]\nflag = \"yes\"\n\n[[item]]\nid = \"\"\n[[item]]\n";

    fn meant(root: &mut Section<'_>) -> Option<()> {
        root.text("name", "somebody");
        root.optional_integer("port", 1..=65_535);
        if let Some(mut inner) = root.section("inner") {
            inner.optional_switch("flag");
            inner.finish();
        }
        for mut item in root.sections("item") {
            item.parsed("id", "a", |id| {
                if id.is_empty() { Err("is empty; write a name") } else { Ok(()) }
            });
            item.finish();
        }
        root.section("missing");
        Some(())
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let mistakes = read(TEXT, meant).unwrap_err();
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "line 1: name is integer; use a text in quotes",
                "line 1: the section [missing] is missing; add it",
                "line 2: port is 99999; use a number from 1 to 65535",
                "line 3: speling is not a setting; known here: inner, item, missing, name, port",
                "line 6: inner.flag is string; use true or false",
                "line 9: item.id: is empty; write a name",
                "line 10: item.id is missing; write id = \"a\"",
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line_too() {
        let mistakes =
            read("a = 1\nb = = 2\n", |root| root.optional_integer("a", 0..=9)).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.line == 2), "{mistakes:?}");
    }

    #[test]
    fn a_number_outside_its_range_is_told_as_it_stands() {
        for number in ["-5", "10", "99999999999999999999"] {
            let text = format!("a = {number}");
            let mistakes = read(&text, |root| root.optional_integer("a", 0..=9)).unwrap_err();
            let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            assert_eq!(shown, [format!("line 1: a is {number}; use a number from 0 to 9")]);
        }
    }

    #[test]
    fn settings_are_told_by_their_full_names_as_they_are_written() {
        let text = "a = 0x10\n[b.c]\nd = [\"x\", \"y\"]\n[[e]]\nf = \"1\"\n[[e]]\nf = \"2\"\n";
        let found: Vec<(String, String)> = settings(text).into_iter().collect();
        let expected =
            [("a", "0x10"), ("b.c.d", r#"["x", "y"]"#), ("e[0].f", "\"1\""), ("e[1].f", "\"2\"")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_configuration_without_mistakes_is_handed_out() {
        assert_eq!(read("a = 5", |root| root.optional_integer("a", 0..=9)), Ok(5));
    }
}
