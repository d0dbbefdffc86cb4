//! `[[filters]]` and `[[response_validators]]`.

use std::sync::Arc;

use serde_json::Value;

use super::kinds::json_path;
use crate::config::document::{Report, Text};
use crate::config::reference::WEBHOOK;
use crate::config::table::{Node, Table, as_json, list};
use crate::diagnostic::nearest;
use crate::kind::pattern::PATTERNS_POSITIONS_MAX;
use crate::kind::{Kind, Path};
use crate::webhook::filter::{Filter, Glob, Test};
use crate::webhook::validator::{Rule, Validator};

/// How many filters a webhook may have, and how many validators.
const ASKED_MAX: usize = 100;

/// How many values all filters of a webhook may list together, and all its validators.
const VALUES_MAX: usize = 5000;

/// The longest name of a validator: it is a metric's label.
const VALIDATOR_NAME_CHARS_MAX: usize = 128;

/// What a filter may ask.
const TESTS: [&str; 7] = ["any_of", "none_of", "every_of", "matches", "exists", "min", "max"];

/// Where a validator may look.
const RESPONSE_MEMBERS: [&str; 3] = ["status", "headers", "data"];

/// Compiles `[[filters]]`. Without a kind (it is unknown) named fields are not looked up.
pub(super) fn filters(report: &mut Report, root: &Table<'_>, kind: Option<&Kind>) -> Vec<Filter> {
    let tables = bounded(report, root, "filters");
    let mut spent = Spent::default();
    let compiled = tables.iter().filter_map(|table| {
        let filter = filter(report, table, kind)?;
        spent.refuse_more(report, table, filter.values(), filter.positions());
        Some(filter)
    });
    compiled.collect()
}

/// What all filters, or all validators, have together: every event, or every response, is held against all of it.
#[derive(Default)]
struct Spent {
    values: usize,
    positions: usize,
}

impl Spent {
    fn refuse_more(&mut self, report: &mut Report, table: &Table<'_>, values: usize, positions: usize) {
        let before = (self.values, self.positions);
        self.values += values;
        self.positions += positions;
        let path = &table.path;
        if before.0 <= VALUES_MAX && self.values > VALUES_MAX {
            let problem = format!("with this one the `{path}` list more than {VALUES_MAX} values together");
            report.error(table.at, problem, "list fewer: a glob such as `prod-*` may stand for many");
        }
        if before.1 <= PATTERNS_POSITIONS_MAX && self.positions > PATTERNS_POSITIONS_MAX {
            let problem = format!(
                "with this one the regular expressions of the `{path}` have more than {PATTERNS_POSITIONS_MAX} positions together"
            );
            report.error(table.at, problem, "make their repetitions smaller, or use globs");
        }
    }
}

fn bounded<'t>(report: &mut Report, root: &Table<'t>, key: &str) -> Vec<Table<'t>> {
    let tables = root.tables(report, key);
    if let Some(beyond) = tables.get(ASKED_MAX) {
        report.error(beyond.at, format!("there are more than {ASKED_MAX} `{key}`"), "remove some");
        return Vec::new();
    }
    tables
}

fn filter(report: &mut Report, table: &Table<'_>, kind: Option<&Kind>) -> Option<Filter> {
    table.refuse_unknown(report, WEBHOOK, "filters");
    let path = match (table.get("field"), table.get("path")) {
        (Some(_), None) => named_field(report, table, kind),
        (None, Some(_)) => {
            let text = table.text(report, "path");
            text.and_then(|text| json_path(report, &text).map(|path| (text.value.to_owned(), path)))
        }
        (Some(_), Some(second)) => {
            report.error(second.key_at, "`field` and `path` are both given", "leave one of them");
            None
        }
        (None, None) => {
            report.error(table.at, "the filter does not say where it looks", "add field = \"…\" or path = \"$.data…\"");
            None
        }
    };
    let asked: Vec<_> = table.entries.iter().filter(|entry| TESTS.contains(&entry.name)).collect();
    let test = match asked.as_slice() {
        [one] => test(report, table, one.name),
        [] => {
            report.error(table.at, "the filter asks nothing", format!("add one of {}", list(&TESTS)));
            None
        }
        [_, second, ..] => {
            let problem = "the filter asks more than one thing";
            report.error(second.key_at, problem, "write a second [[filters]] for it: all of them must hold");
            None
        }
    };
    let (label, path) = path?;
    Some(Filter { label, path, test: test? })
}

fn named_field(report: &mut Report, table: &Table<'_>, kind: Option<&Kind>) -> Option<(String, Path)> {
    let (text, kind) = (table.text(report, "field")?, kind?);
    if let Some(path) = kind.fields.get(text.value) {
        return Some((text.value.to_owned(), path.clone()));
    }
    let names: Vec<&str> = kind.fields.keys().map(|name| &**name).collect();
    let fix = if text.value.starts_with('$') {
        "a JSONPath is given as `path`".to_owned()
    } else if let Some(name) = nearest(text.value, names.iter().copied()) {
        format!("did you mean \"{name}\"?")
    } else if names.is_empty() {
        "give the place as path = \"$.data…\"".to_owned()
    } else {
        format!("the fields are {}; anything else is given as path = \"$.data…\"", list(&names))
    };
    report.error(text.at, format!("the kind `{}` has no field \"{}\"", kind.name, text.value), fix);
    None
}

fn test(report: &mut Report, table: &Table<'_>, asked: &str) -> Option<Test> {
    match asked {
        "any_of" => globs(report, table, asked).map(Test::AnyOf),
        "none_of" => globs(report, table, asked).map(Test::NoneOf),
        "every_of" => globs(report, table, asked).map(Test::EveryOf),
        "exists" => table.boolean(report, asked).map(Test::Exists),
        "min" => table.number(report, asked).map(Test::Min),
        "max" => table.number(report, asked).map(Test::Max),
        _ => {
            let pattern = table.text(report, asked)?;
            match Test::matches(pattern.value) {
                Ok(asks) => Some(asks),
                Err(fault) => {
                    report.fault(&pattern, fault);
                    None
                }
            }
        }
    }
}

fn globs(report: &mut Report, table: &Table<'_>, key: &str) -> Option<Vec<Glob>> {
    let texts = table.texts(report, key)?;
    refuse_empty(report, table, key, texts.len())?;
    Some(texts.iter().map(|text| Glob::new(text.value)).collect())
}

fn refuse_empty(report: &mut Report, table: &Table<'_>, key: &str, length: usize) -> Option<()> {
    let at = table.get(key)?.node.at;
    if length == 0 {
        report.error(at, format!("`{}` is empty", table.name(key)), "list at least one value, or remove it");
        return None;
    }
    Some(())
}

/// Compiles `[[response_validators]]`.
pub(super) fn validators(report: &mut Report, root: &Table<'_>) -> Vec<Validator> {
    let mut validators: Vec<Validator> = Vec::new();
    let mut spent = Spent::default();
    for table in bounded(report, root, "response_validators") {
        let Some(validator) = validator(report, &table) else { continue };
        if validators.iter().any(|other| other.name == validator.name) {
            let at = table.get("name").or_else(|| table.get("path")).map_or(table.at, |entry| entry.node.at);
            let problem = format!("two validators are named \"{}\"", validator.name);
            report.error(at, problem, "give each a `name` of its own: it is a metric's label");
        }
        spent.refuse_more(report, &table, validator.values(), validator.positions());
        validators.push(validator);
    }
    validators
}

fn validator(report: &mut Report, table: &Table<'_>) -> Option<Validator> {
    table.refuse_unknown(report, WEBHOOK, "response_validators");
    let text = table.text(report, "path");
    if table.get("path").is_none() {
        report.error(table.at, "the validator has no `path`", "add path = \"$.data…\", \"$.status\" or \"$.headers…\"");
    }
    let path = text.as_ref().and_then(|text| response_path(report, text));
    let name = table.text(report, "name").or(text);
    if let Some(name) = &name {
        let length = name.value.chars().count();
        if length == 0 || length > VALIDATOR_NAME_CHARS_MAX || name.value.chars().any(char::is_control) {
            let problem = format!("a validator's name has 1 to {VALIDATOR_NAME_CHARS_MAX} characters on one line");
            report.error(name.at, problem, "give it a shorter `name`");
        }
    }
    let rule = match (table.get("expected"), table.get("rejected")) {
        (Some(_), None) => values(report, table, "expected").map(Rule::Expected),
        (None, Some(_)) => values(report, table, "rejected").map(Rule::Rejected),
        (Some(_), Some(second)) => {
            report.error(second.key_at, "`expected` and `rejected` are both given", "leave one of them");
            None
        }
        (None, None) => {
            report.error(
                table.at,
                "the validator does not say what it wants",
                "add expected = [\"true\"] or rejected = […]",
            );
            None
        }
    };
    let words = [("dead_letter", false), ("retry", true)];
    let retry = table.choice(report, "on_failure", &words).unwrap_or(false);
    Some(Validator { name: Arc::from(name?.value), path: path?, rule: rule?, retry })
}

fn response_path(report: &mut Report, text: &Text<'_>) -> Option<Path> {
    if !text.value.starts_with("$.") {
        let problem = "the validator's path does not start with `$.`";
        report.error(text.at, problem, "write \"$.data…\", \"$.status\" or \"$.headers…\"");
        return None;
    }
    let path = json_path(report, text)?;
    if let Some(member) = path.root_member().filter(|member| !RESPONSE_MEMBERS.contains(member)) {
        let problem = format!("a response has no `{member}`: it is {{status, headers, data}}");
        report.error(text.at, problem, format!("did you mean $.data{}?", text.value.get(1..).unwrap_or_default()));
        return None;
    }
    Some(path)
}

fn values(report: &mut Report, table: &Table<'_>, key: &str) -> Option<Vec<Value>> {
    let items = table.list(report, key)?;
    refuse_empty(report, table, key, items.len())?;
    let mut values = Vec::with_capacity(items.len());
    for Node { value, at } in items {
        match as_json(value).filter(|value| !value.is_object() && !value.is_array()) {
            Some(value) => values.push(value),
            None => {
                report.error(at, "a value to compare with is a text, a number or a truth value", "write one of these");
            }
        }
    }
    Some(values)
}
