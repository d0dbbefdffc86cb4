//! `[kinds.NAME]`: kinds of event that people define.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use serde_json::Value;

use crate::config::document::{Report, Text};
use crate::config::inputs::Inputs;
use crate::config::load::NAME_CHARS_MAX;
use crate::config::reference::SIDECAR;
use crate::config::table::{Table, as_json, as_text};
use crate::kind::{Kind, MANUAL, Path};

/// Names that stand for something else in `POST /v1/events/{kind}`.
const RESERVED: &str = "cloudevents";

/// All kinds: the built-in ones and those of the file.
pub(super) fn kinds(report: &mut Report, root: &Table<'_>, inputs: &mut Inputs<'_>) -> BTreeMap<Arc<str>, Arc<Kind>> {
    let mut kinds: BTreeMap<Arc<str>, Arc<Kind>> =
        Kind::builtin().into_iter().map(|kind| (Arc::clone(&kind.name), kind)).collect();
    let Some(table) = root.table(report, "kinds") else { return kinds };
    for entry in &table.entries {
        let plain = entry.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
        let begins = entry.name.starts_with(|first: char| first.is_ascii_lowercase());
        if !plain || !begins || entry.name.len() > NAME_CHARS_MAX {
            let fix = format!("use lower-case letters, digits, `_` and `-`, a letter first, {NAME_CHARS_MAX} at most");
            report.error(entry.key_at, "this cannot be the name of a kind", fix);
        } else if kinds.contains_key(entry.name) || entry.name == RESERVED {
            let problem = format!("the kind `{}` is built in", entry.name);
            report.error(entry.key_at, problem, "choose another name");
        } else if let Some(definition) = table.table(report, entry.name)
            && let Some(kind) = kind(report, entry.name, &definition, inputs)
        {
            kinds.insert(Arc::clone(&kind.name), Arc::new(kind));
        }
    }
    kinds
}

fn kind(report: &mut Report, name: &str, table: &Table<'_>, inputs: &mut Inputs<'_>) -> Option<Kind> {
    table.refuse_unknown(report, SIDECAR, "kinds.*");
    let before = report.found;
    let type_path = path(report, table, "type");
    if table.get("type").is_none() {
        report.error(
            table.at,
            format!("the kind `{name}` has no `type`"),
            "write where the event type stands: type = \"$.type\"",
        );
    }
    let (id_path, time_path) = (path(report, table, "id"), path(report, table, "time"));
    let mut types: Vec<Arc<str>> = Vec::new();
    for text in table.texts(report, "types").unwrap_or_default() {
        if text.value.is_empty() || text.value == MANUAL {
            let problem = format!("\"{}\" cannot be an event type", text.value);
            report.error(text.at, problem, "leave it out; every kind can be invoked by name");
        } else if types.iter().any(|known| **known == *text.value) {
            report.error(text.at, format!("the event type \"{}\" is listed twice", text.value), "remove one");
        }
        types.push(text.value.into());
    }
    let mut fields = BTreeMap::new();
    if let Some(named) = table.table(report, "fields") {
        for entry in &named.entries {
            if let Some(path) = path(report, &named, entry.name) {
                fields.insert(entry.name.into(), path);
            }
        }
    }
    let samples: Vec<Value> = sample(report, table, inputs).into_iter().collect();
    let type_path = type_path.filter(|_| report.found == before)?;
    match Kind::custom(name, types, type_path, id_path, time_path, fields, samples) {
        Ok(kind) => Some(kind),
        Err((problem, fix)) => {
            let at = table.get("sample").map_or(table.at, |entry| entry.node.at);
            report.error(at, problem, fix);
            None
        }
    }
}

/// A JSONPath at a key.
fn path(report: &mut Report, table: &Table<'_>, key: &str) -> Option<Path> {
    let text = table.text(report, key)?;
    json_path(report, &text)
}

/// A JSONPath in a text.
pub(super) fn json_path(report: &mut Report, text: &Text<'_>) -> Option<Path> {
    match Path::parse(text.value) {
        Ok(path) => Some(path),
        Err(fault) => {
            report.fault(text, fault);
            None
        }
    }
}

fn sample(report: &mut Report, table: &Table<'_>, inputs: &mut Inputs<'_>) -> Option<Value> {
    let entry = table.get("sample")?;
    let Some(text) = as_text(entry.node) else {
        let value = as_json(entry.node.value).filter(Value::is_object);
        if value.is_none() {
            report.error(entry.node.at, "a sample is a JSON object", "write a file's path, or an inline table");
        }
        return value;
    };
    let problem = match &*inputs.read(FilePath::new(text.value)) {
        Ok((json, _)) => match serde_json::from_str::<Value>(json) {
            Ok(value) if value.is_object() => return Some(value),
            Ok(_) => "is no JSON object".to_owned(),
            Err(error) => format!("is no JSON: {error}"),
        },
        Err(problem) => problem.clone(),
    };
    report.error(
        text.at,
        format!("the file {problem}"),
        "write the path of a JSON file (it is taken from the configuration folder)",
    );
    None
}
