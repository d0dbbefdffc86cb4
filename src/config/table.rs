//! A typed reader over a TOML table that collects every fault instead of stopping at the first.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::document::{At, Document, Report, Text};
use super::quantity;
use super::reference::{self, Key};
use crate::diagnostic::nearest;

/// How many keys a table may have that are read by name.
pub(super) const KEYS_MAX: usize = 256;

/// How long a list may be.
pub(super) const LIST_MAX: usize = 1000;

/// A value with its place.
#[derive(Clone, Copy)]
pub(super) struct Node<'t> {
    pub(super) value: &'t DeValue<'t>,
    pub(super) at: At<'t>,
}

/// A key with its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'t> {
    pub(super) name: &'t str,
    pub(super) key_at: At<'t>,
    pub(super) node: Node<'t>,
}

/// A table whose keys are read by name.
#[derive(Clone)]
pub(super) struct Table<'t> {
    /// How messages call it; empty for the file itself.
    pub(super) path: String,
    /// The header or the braces.
    pub(super) at: At<'t>,
    /// In the order of the file.
    pub(super) entries: Vec<Entry<'t>>,
}

impl<'t> Table<'t> {
    /// A table of a document.
    pub(super) fn new(document: &'t Document, path: String, at: At<'t>, table: &'t DeTable<'t>) -> Self {
        let mut entries: Vec<Entry<'t>> = table
            .iter()
            .map(|(key, value)| Entry {
                name: key.get_ref(),
                key_at: At::new(document, key.span()),
                node: Node { value: value.get_ref(), at: At::new(document, value.span()) },
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_at.start);
        Self { path, at, entries }
    }

    /// A table without keys.
    pub(super) fn empty(path: &str, at: At<'t>) -> Self {
        Self { path: path.to_owned(), at, entries: Vec::new() }
    }

    /// Reports every key that the list does not have, with the nearest that it has.
    pub(super) fn refuse_unknown(&self, report: &mut Report, keys: &[Key], listed_as: &str) {
        let known = reference::names(keys, listed_as);
        for entry in &self.entries {
            if !known.contains(&entry.name) {
                let fix = match nearest(entry.name, known.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("remove it; the keys here are {}", list(&known)),
                };
                report.error(entry.key_at, format!("unknown key `{}`", self.name(entry.name)), fix);
            }
        }
    }

    /// A key as messages call it.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What a key holds.
    pub(super) fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.name == key)
    }

    /// A text.
    pub(super) fn text(&self, report: &mut Report, key: &str) -> Option<Text<'t>> {
        let entry = self.get(key)?;
        let found = as_text(entry.node);
        if found.is_none() {
            // A number without its quotes may be a credential: it is not repeated.
            let problem = format!("`{}` is {}", self.name(key), shape(entry.node.value));
            report.error(entry.node.at, problem, "write a text, in quotes");
        }
        found
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, report: &mut Report, key: &str) -> Option<bool> {
        let entry = self.get(key)?;
        let DeValue::Boolean(value) = entry.node.value else {
            return self.expect(report, entry, "`true` or `false`", None);
        };
        Some(*value)
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, report: &mut Report, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let entry = self.get(key)?;
        let (low, high) = (bounds.start(), bounds.end());
        let found = as_integer(entry.node.value).and_then(|value| u64::try_from(value).ok());
        let what = format!("a whole number from {low} to {high}");
        self.expect(report, entry, &what, found.filter(|value| bounds.contains(value)))
    }

    /// Any number.
    pub(super) fn number(&self, report: &mut Report, key: &str) -> Option<f64> {
        let entry = self.get(key)?;
        self.expect(report, entry, "a number", as_number(entry.node.value))
    }

    /// A duration within bounds: a text with a unit, or a number of seconds.
    pub(super) fn duration(
        &self,
        report: &mut Report,
        key: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let entry = self.get(key)?;
        let found = match entry.node.value {
            DeValue::String(text) => quantity::duration(text),
            number => as_number(number).and_then(quantity::seconds),
        };
        let Some(found) = found else {
            return self.expect(report, entry, "a duration such as \"30s\", \"1.5h\" or \"250ms\"", None);
        };
        if !bounds.contains(&found) {
            let problem = format!("`{}` is {}", self.name(key), quantity::show_duration(found));
            let (low, high) = (quantity::show_duration(*bounds.start()), quantity::show_duration(*bounds.end()));
            report.error(entry.node.at, problem, format!("it may be {low} to {high}"));
            return None;
        }
        Some(found)
    }

    /// A size in bytes within bounds: a text with a unit, or a number of bytes.
    pub(super) fn size(&self, report: &mut Report, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let entry = self.get(key)?;
        let found = match entry.node.value {
            DeValue::String(text) => quantity::size(text),
            number => as_integer(number).and_then(|bytes| u64::try_from(bytes).ok()),
        };
        let Some(found) = found else {
            return self.expect(report, entry, "a size such as \"64KiB\" or \"1MiB\"", None);
        };
        if !bounds.contains(&found) {
            let problem = format!("`{}` is {}", self.name(key), quantity::show_size(found));
            let (low, high) = (quantity::show_size(*bounds.start()), quantity::show_size(*bounds.end()));
            report.error(entry.node.at, problem, format!("it may be {low} to {high}"));
            return None;
        }
        Some(found)
    }

    /// A list of anything.
    pub(super) fn list(&self, report: &mut Report, key: &str) -> Option<Vec<Node<'t>>> {
        let entry = self.get(key)?;
        let DeValue::Array(items) = entry.node.value else {
            return self.expect(report, entry, "a list, in brackets: [ … ]", None);
        };
        if items.len() > LIST_MAX {
            let problem = format!("`{}` has {} values, and {LIST_MAX} are the limit", self.name(key), items.len());
            report.error(entry.key_at, problem, "remove some");
            return None;
        }
        let document = entry.node.at.document;
        Some(items.iter().map(|item| Node { value: item.get_ref(), at: At::new(document, item.span()) }).collect())
    }

    /// A list of texts; what is none is reported and left out.
    pub(super) fn texts(&self, report: &mut Report, key: &str) -> Option<Vec<Text<'t>>> {
        let items = self.list(report, key)?;
        let name = self.name(key);
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match as_text(item) {
                Some(text) => texts.push(text),
                None => report.error(
                    item.at,
                    format!("`{name}` is a list of texts, and this is {}", shape(item.value)),
                    "write it in quotes",
                ),
            }
        }
        Some(texts)
    }

    /// A table under this one.
    pub(super) fn table(&self, report: &mut Report, key: &str) -> Option<Table<'t>> {
        let entry = self.get(key)?;
        let DeValue::Table(table) = entry.node.value else {
            // A credential may stand in place of the table that it belongs in: it is not repeated.
            let problem = format!("`{}` is {}", self.name(key), shape(entry.node.value));
            report.error(entry.node.at, problem, "write a table: `[…]` with its keys below");
            return None;
        };
        if table.len() > KEYS_MAX {
            let problem = format!("`{}` has {} keys, and {KEYS_MAX} are the limit", self.name(key), table.len());
            report.error(entry.key_at, problem, "remove some");
            return None;
        }
        Some(Table::new(entry.node.at.document, self.name(key), entry.node.at, table))
    }

    /// A list of tables (`[[key]]`); what is none is reported and left out.
    pub(super) fn tables(&self, report: &mut Report, key: &str) -> Vec<Table<'t>> {
        let Some(entry) = self.get(key) else { return Vec::new() };
        let wanted = format!("`[[{key}]]` with its keys below");
        let DeValue::Array(_) = entry.node.value else {
            self.expect::<()>(report, entry, &wanted, None);
            return Vec::new();
        };
        let items = self.list(report, key).unwrap_or_default();
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item.value {
                DeValue::Table(table) if table.len() > KEYS_MAX => {
                    let problem =
                        format!("one of `{}` has {} keys, and {KEYS_MAX} are the limit", self.name(key), table.len());
                    report.error(item.at, problem, "remove some");
                }
                DeValue::Table(table) => {
                    tables.push(Table::new(item.at.document, self.name(key), item.at, table));
                }
                other => {
                    let problem = format!("`{key}` is a list of tables, and this is {}", shape(other));
                    report.error(item.at, problem, format!("write {wanted}"));
                }
            }
        }
        tables
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, report: &mut Report, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(report, key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let fix = match nearest(text.value, words.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"? The words are {}", list(&words)),
            None => {
                format!("write {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "))
            }
        };
        let entry = self.get(key)?;
        report.error(text.at, format!("`{}` {}", self.name(key), describe(entry.node)), fix);
        None
    }

    /// Passes a value on, or reports that the key holds something else.
    fn expect<T>(&self, report: &mut Report, entry: &Entry<'t>, wanted: &str, found: Option<T>) -> Option<T> {
        if found.is_none() {
            let problem = format!("`{}` {}", self.name(entry.name), describe(entry.node));
            report.error(entry.node.at, problem, format!("write {wanted}"));
        }
        found
    }
}

/// Words for people: `a`, `b` and `c`.
pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A text with its place.
pub(super) fn as_text(node: Node<'_>) -> Option<Text<'_>> {
    node.value.as_str().map(|value| Text { value, at: node.at })
}

fn as_integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn as_number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok().filter(|number: &f64| number.is_finite()),
        // What a number of seconds or a bound needs fits well into the 53 bits.
        other => as_integer(other).and_then(|integer| integer.to_string().parse().ok()),
    }
}

/// A TOML value as JSON; `None` for what JSON has no word for (infinity).
pub(super) fn as_json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Integer(_) => Value::Number(as_integer(value)?.into()),
        DeValue::Float(float) => {
            let digits = float.as_str();
            Value::Number(digits.parse::<Number>().ok().or_else(|| Number::from_f64(digits.parse().ok()?))?)
        }
        DeValue::Array(items) => Value::Array(items.iter().map(|item| as_json(item.get_ref())).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            let mut members: Vec<_> = table.iter().collect();
            members.sort_by_key(|(key, _)| key.span().start);
            let members =
                members.into_iter().map(|(key, value)| Some((key.get_ref().to_string(), as_json(value.get_ref())?)));
            Value::Object(members.collect::<Option<Map<_, _>>>()?)
        }
    })
}

/// What a key has, for messages. Where the value may be a secret it is not repeated.
fn describe(node: Node<'_>) -> String {
    if !node.at.document.shown {
        return "has a value that does not fit".to_owned();
    }
    match node.value {
        DeValue::String(text) => format!("is \"{}\"", excerpt(text)),
        DeValue::Integer(number) => format!("is {number}"),
        DeValue::Float(number) => format!("is {number}"),
        other => format!("is {}", shape(other)),
    }
}

/// How much of a value a message repeats, in characters.
const EXCERPT_CHARS_MAX: usize = 60;

/// The beginning of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String =
        text.chars().take(EXCERPT_CHARS_MAX).map(|one| if one.is_control() { ' ' } else { one }).collect();
    if text.chars().count() > EXCERPT_CHARS_MAX {
        short.push('…');
    }
    short
}

/// What stands there, for a sentence that must not repeat it.
pub(super) fn shape(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
