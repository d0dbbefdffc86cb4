//! Filters: conditions on the payload, each able to say why it said no.
//!
//! A path may give many values, and an array at its end counts as its elements. A null is no value. Values compare by
//! their text: a string is itself, a number its digits, a boolean `true` or `false`; an object (or an array inside an
//! array) is there for `exists` and for `every_of`, yet has no text that could match. A pattern that is itself a number
//! equals every number of the same value: `"1"` holds for `1.0`.

mod words;

use std::fmt;

use serde_json::Value;

use crate::diagnostic::Fault;
use crate::kind::Path;
use crate::kind::pattern::{self, Anchored, Pattern};
use crate::kind::value::{Decimal, cut, excerpt};

/// How many values or patterns a refusal lists.
const REFUSAL_ITEMS_MAX: usize = 4;

/// How many characters of a value or a pattern a refusal shows.
const REFUSAL_ITEM_CHARS_MAX: usize = 60;

/// One `[[filters]]` entry.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The named field or the path, as it was written.
    pub label: String,
    /// Where it looks.
    pub path: Path,
    /// What it asks.
    pub test: Test,
}

/// What a filter asks of the values at its path.
#[derive(Clone, Debug)]
pub enum Test {
    /// One value matches one of the globs.
    AnyOf(Vec<Glob>),
    /// No value matches any of the globs.
    NoneOf(Vec<Glob>),
    /// Every value matches one of the globs, and there is one.
    EveryOf(Vec<Glob>),
    /// One value matches the regular expression, unanchored.
    Matches(Pattern),
    /// There is a value that is not null (`true`), or none (`false`).
    Exists(bool),
    /// One value is a number (or text of one) of at least this.
    Min(f64),
    /// One value is a number (or text of one) of at most this.
    Max(f64),
}

/// A whole-text pattern in which `*` stands for any text; case-sensitive.
#[derive(Clone, Debug)]
pub struct Glob {
    pattern: Box<str>,
    parts: Parts,
}

/// A glob, cut at its stars.
#[derive(Clone, Debug)]
enum Parts {
    /// No star: the text itself, and its value where it is a number.
    Exact(Option<Decimal>),
    /// What the text begins with, holds in this order, and ends with.
    Around { prefix: Box<str>, middles: Box<[Box<str>]>, suffix: Box<str> },
}

/// The pattern decides: equal patterns are equal globs.
impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Glob {
    /// Compiles a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let parts = match (pattern.split_once('*'), pattern.rsplit_once('*')) {
            (Some((prefix, rest)), Some((_, suffix))) => {
                let middles = rest.strip_suffix(suffix).unwrap_or(rest);
                let middles = middles.split('*').filter(|part| !part.is_empty()).map(Into::into).collect();
                Parts::Around { prefix: prefix.into(), middles, suffix: suffix.into() }
            }
            _ => Parts::Exact(Decimal::parse(pattern)),
        };
        Self { pattern: pattern.into(), parts }
    }

    /// Whether it matches the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Parts::Around { prefix, middles, suffix } = &self.parts else {
            return *self.pattern == *text;
        };
        let Some(mut rest) = text.strip_prefix(&**prefix).and_then(|rest| rest.strip_suffix(&**suffix)) else {
            return false;
        };
        // The first place is always good enough: what lies behind it can only be longer than behind a later one.
        for middle in middles {
            let Some((_, behind)) = rest.split_once(&**middle) else { return false };
            rest = behind;
        }
        true
    }

    /// The pattern's value, where it is a number.
    fn number(&self) -> Option<&Decimal> {
        match &self.parts {
            Parts::Exact(number) => number.as_ref(),
            Parts::Around { .. } => None,
        }
    }
}

impl fmt::Display for Glob {
    /// The pattern as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl Test {
    /// `matches = "…"`.
    pub fn matches(written: &str) -> Result<Self, Fault> {
        pattern::compile(written, Anchored::No)
            .map(Self::Matches)
            .map_err(|(problem, fix)| Fault::new(0..written.len(), problem, fix))
    }
}

impl Filter {
    /// What its patterns cost at most: see [`pattern`].
    #[must_use]
    pub fn positions(&self) -> usize {
        let own = if let Test::Matches(pattern) = &self.test { pattern.positions() } else { 0 };
        own + self.path.positions()
    }

    /// How many values it lists.
    #[must_use]
    pub fn values(&self) -> usize {
        match &self.test {
            Test::AnyOf(globs) | Test::NoneOf(globs) | Test::EveryOf(globs) => globs.len(),
            Test::Matches(_) | Test::Exists(_) | Test::Min(_) | Test::Max(_) => 0,
        }
    }

    /// Whether the payload passes.
    #[must_use]
    pub fn holds(&self, payload: &Value) -> bool {
        match &self.test {
            Test::AnyOf(globs) => self.finds(payload, |value| one_matches(globs, value)),
            Test::NoneOf(globs) => !self.finds(payload, |value| one_matches(globs, value)),
            Test::EveryOf(globs) => {
                let mut some = false;
                let stranger = self.finds(payload, |value| {
                    some = true;
                    !one_matches(globs, value)
                });
                some && !stranger
            }
            Test::Matches(pattern) => self.finds(payload, |value| pattern_matches(pattern, value)),
            Test::Exists(wanted) => self.finds(payload, |_| true) == *wanted,
            Test::Min(least) => self.finds(payload, |value| number(value).is_some_and(|number| number >= *least)),
            Test::Max(most) => self.finds(payload, |value| number(value).is_some_and(|number| number <= *most)),
        }
    }

    /// Why the payload does not pass, in a sentence without a full stop; `None` when it does.
    #[must_use]
    pub fn refusal(&self, payload: &Value) -> Option<String> {
        if self.holds(payload) {
            return None;
        }
        let mut found = Vec::new();
        let mut count = 0;
        self.finds(payload, |value| {
            // Of a list of which all must match, or none may, only the culprits matter.
            let shown = match &self.test {
                Test::EveryOf(globs) => !one_matches(globs, value),
                Test::NoneOf(globs) => one_matches(globs, value),
                _ => true,
            };
            if shown {
                count += 1;
                if found.len() < REFUSAL_ITEMS_MAX {
                    found.push(excerpt(value, REFUSAL_ITEM_CHARS_MAX));
                }
            }
            false
        });
        let found = if count == 0 { "has no value".to_owned() } else { format!("is {}", list(&found, count)) };
        let wanted = match &self.test {
            Test::AnyOf(globs) => one_of(globs),
            Test::NoneOf(globs) => format!("none of {}", patterns(globs)),
            Test::EveryOf(globs) => format!("every value to be {}", one_of(globs)),
            Test::Matches(pattern) => format!("a match of `{}`", cut(pattern.text(), REFUSAL_ITEM_CHARS_MAX)),
            Test::Exists(true) => "one".to_owned(),
            Test::Exists(false) => "none".to_owned(),
            Test::Min(least) => format!("at least {least}"),
            Test::Max(most) => format!("at most {most}"),
        };
        Some(format!("{} {found}, wanted {wanted}", self.label))
    }

    /// Whether the test holds for a value; an array at the end of the path is its elements, and a null is none.
    fn finds<'v>(&self, payload: &'v Value, mut test: impl FnMut(&'v Value) -> bool) -> bool {
        self.path.any(payload, |value| match value {
            Value::Null => false,
            Value::Array(elements) => elements.iter().any(|element| !element.is_null() && test(element)),
            value => test(value),
        })
    }
}

/// Whether one of the globs matches a value: of a number its digits, or its value where the pattern is a number.
fn one_matches(globs: &[Glob], value: &Value) -> bool {
    let matches = |text: &str| globs.iter().any(|glob| glob.matches(text));
    match value {
        Value::String(text) => matches(text),
        Value::Number(number) => {
            let digits = number.as_str();
            let is_value = || {
                let mut numbers = globs.iter().filter_map(Glob::number).peekable();
                numbers.peek().is_some()
                    && Decimal::parse(digits).is_some_and(|value| numbers.any(|number| *number == value))
            };
            matches(digits) || is_value()
        }
        Value::Bool(truth) => matches(if *truth { "true" } else { "false" }),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn pattern_matches(pattern: &Pattern, value: &Value) -> bool {
    match value {
        Value::String(text) => pattern.is_match(text),
        Value::Number(number) => pattern.is_match(number.as_str()),
        Value::Bool(truth) => pattern.is_match(if *truth { "true" } else { "false" }),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A number, or a text that is one as JSON writes it: times come as `"1696263265.851898000"`.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => Decimal::parse(text).and_then(|_| text.parse().ok()),
        _ => None,
    }
}

fn one_of(globs: &[Glob]) -> String {
    if globs.len() == 1 { patterns(globs) } else { format!("one of {}", patterns(globs)) }
}

fn patterns(globs: &[Glob]) -> String {
    let shown: Vec<String> = globs
        .iter()
        .take(REFUSAL_ITEMS_MAX)
        .map(|glob| format!("\"{}\"", cut(&glob.pattern, REFUSAL_ITEM_CHARS_MAX)))
        .collect();
    list(&shown, globs.len())
}

fn list(shown: &[String], count: usize) -> String {
    let text = shown.join(", ");
    match count.saturating_sub(shown.len()) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| Glob::new(pattern)).collect()
    }

    fn filter(path: &str, test: Test) -> Filter {
        Filter { label: "field".to_owned(), path: Path::parse(path).unwrap(), test }
    }

    fn payload() -> Value {
        serde_json::from_str(
            r#"{"one": "prod-db", "many": [{"n": "prod-a"}, {"n": "prod-b"}, {"n": "stage"}, {"n": null}],
                "tags": ["a", "b", null], "none": [], "null": null, "int": 1.0, "big": 9007199254740993, "yes": true,
                "time": "1696263265.851898000", "hex": "0x10", "object": {"a": 1}, "nested": [[1], ["x"]], "text": "1.0"}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_glob_matches_the_whole_text() {
        for (pattern, text, expected) in [
            ("prod", "prod", true),
            ("prod", "prod-1", false),
            ("prod", "Prod", false),
            ("prod-*", "prod-", true),
            ("prod-*", "xprod-1", false),
            ("*-db", "prod-db", true),
            ("*-db", "prod-db2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*bc*c", "abcc", true),
            ("a*b*b*c", "abc", false),
            ("*ü*", "grün", true),
            ("[a]?", "[a]?", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_glob_takes_no_longer_than_its_text() {
        let glob = Glob::new(&("*a".repeat(500) + "b"));
        assert!(!glob.matches(&"a".repeat(200_000)));
    }

    #[test]
    fn a_filter_holds_by_the_rule_of_its_test() {
        let payload = payload();
        let matches = |pattern: &str| Test::matches(pattern).unwrap();
        let cases: Vec<(&str, Test, bool)> = vec![
            ("$.one", Test::AnyOf(globs(&["x", "prod-*"])), true),
            ("$.one", Test::AnyOf(globs(&["PROD-*"])), false),
            ("$.missing", Test::AnyOf(globs(&["*"])), false),
            ("$.null", Test::AnyOf(globs(&["*"])), false),
            ("$.many[*].n", Test::AnyOf(globs(&["stage"])), true),
            ("$.many[*].n", Test::AnyOf(globs(&["dev"])), false),
            ("$.many[*].n", Test::NoneOf(globs(&["stage"])), false),
            ("$.many[*].n", Test::NoneOf(globs(&["dev"])), true),
            ("$.missing", Test::NoneOf(globs(&["*"])), true),
            ("$.many[*].n", Test::EveryOf(globs(&["prod-*", "stage"])), true),
            ("$.many[*].n", Test::EveryOf(globs(&["prod-*"])), false),
            ("$.none", Test::EveryOf(globs(&["*"])), false),
            ("$.tags", Test::AnyOf(globs(&["b"])), true),
            ("$.tags", Test::EveryOf(globs(&["a", "b"])), true),
            ("$.object", Test::AnyOf(globs(&["*"])), false),
            ("$.nested", Test::EveryOf(globs(&["*"])), false),
            ("$.int", Test::AnyOf(globs(&["1"])), true),
            ("$.int", Test::AnyOf(globs(&["1.0"])), true),
            ("$.int", Test::AnyOf(globs(&["1*"])), true),
            ("$.int", Test::AnyOf(globs(&["10"])), false),
            ("$.text", Test::AnyOf(globs(&["1"])), false),
            ("$.big", Test::AnyOf(globs(&["9007199254740992"])), false),
            ("$.yes", Test::AnyOf(globs(&["true"])), true),
            ("$.one", matches("^prod"), true),
            ("$.one", matches("d-d"), true),
            ("$.one", matches("^db"), false),
            ("$.many[*].n", matches("^st"), true),
            ("$.one", Test::Exists(true), true),
            ("$.one", Test::Exists(false), false),
            ("$.null", Test::Exists(true), false),
            ("$.null", Test::Exists(false), true),
            ("$.none", Test::Exists(true), false),
            ("$.object", Test::Exists(true), true),
            ("$.time", Test::Min(1_696_263_265.5), true),
            ("$.time", Test::Min(1_696_263_266.0), false),
            ("$.time", Test::Max(1_696_263_266.0), true),
            ("$.int", Test::Max(0.5), false),
            ("$.one", Test::Min(f64::MIN), false),
            ("$.hex", Test::Max(f64::MAX), false),
            ("$.missing", Test::Min(0.0), false),
        ];
        for (path, test, expected) in cases {
            let filter = filter(path, test);
            assert_eq!(filter.holds(&payload), expected, "{filter:?}");
            assert_eq!(filter.refusal(&payload).is_none(), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_what_was_found_and_what_was_wanted() {
        let payload = payload();
        for (path, test, expected) in [
            ("$.one", Test::AnyOf(globs(&["x", "y*"])), r#"field is "prod-db", wanted one of "x", "y*""#),
            ("$.missing", Test::AnyOf(globs(&["x"])), r#"field has no value, wanted "x""#),
            (
                "$.many[*].n",
                Test::EveryOf(globs(&["prod-*"])),
                r#"field is "stage", wanted every value to be "prod-*""#,
            ),
            ("$.many[*].n", Test::NoneOf(globs(&["p*"])), r#"field is "prod-a", "prod-b", wanted none of "p*""#),
            ("$.one", Test::matches("^x").unwrap(), r#"field is "prod-db", wanted a match of `^x`"#),
            ("$.null", Test::Exists(true), "field has no value, wanted one"),
            ("$.yes", Test::Exists(false), "field is true, wanted none"),
            ("$.int", Test::Min(5.0), "field is 1.0, wanted at least 5"),
            ("$.int", Test::Max(0.5), "field is 1.0, wanted at most 0.5"),
        ] {
            assert_eq!(filter(path, test).refusal(&payload).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_refusal_is_bounded() {
        let values: Vec<String> = (0..1000).map(|_| "x".repeat(1000)).collect();
        let refusal =
            filter("$.v", Test::AnyOf(globs(&["y"; 1000]))).refusal(&serde_json::json!({"v": values})).unwrap();
        assert!(refusal.contains("and 996 more"), "{refusal}");
        assert!(refusal.len() < 500, "{refusal}");
    }

    #[test]
    fn a_faulty_regular_expression_is_a_fault() {
        let fault = Test::matches("(a").unwrap_err();
        assert_eq!(fault.problem, "this is no valid regular expression: unclosed group");
    }
}
