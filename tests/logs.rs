//! What is written about all of it: every line has a name, fields and a place in the document.

mod level;
mod lines;
mod repeated;
mod source;

use std::fmt::Write as _;
use std::path::Path;

use outrigger::log::events::{EVENTS, FIELDS, schema};
use serde_json::{Value, json};

use crate::docs::generated::{cell, hold_generated};
use crate::docs::root;
use crate::support::sidecar::Sidecar;

/// The schema of a line, as people get it.
const SCHEMA: &str = include_str!("../docs/log.schema.json");

/// The lines of a log in the format `json`.
fn lines(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The lines of a running sidecar that have this name.
fn named(sidecar: &Sidecar, name: &str) -> Vec<Value> {
    lines(&sidecar.log()).into_iter().filter(|line| line["message"] == name).collect()
}

/// What is wrong with a value by a schema, of which all words that ours uses are known.
fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (word, says) in schema.as_object().expect("a schema") {
        let holds = match word.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                *says == "#/$defs/timestamp" && value.as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok())
            }
            "const" => says == value,
            "enum" => says.as_array().expect("a list").contains(value),
            "type" => match says.as_str().expect("one type") {
                "object" => value.is_object(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64() || value.is_i64(),
                other => panic!("{other}"),
            },
            "required" => {
                says.as_array().expect("a list").iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "additionalProperties" => value
                .as_object()
                .is_some_and(|members| members.keys().all(|name| schema["properties"].get(name).is_some())),
            "properties" => {
                for (name, of) in says.as_object().expect("a table") {
                    let Some(member) = value.get(name) else { continue };
                    found.extend(faults(of, member).into_iter().map(|fault| format!("{name}: {fault}")));
                }
                true
            }
            "oneOf" => {
                let of: Vec<_> = says.as_array().expect("a list").iter().map(|one| faults(one, value)).collect();
                let same = says
                    .as_array()
                    .expect("a list")
                    .iter()
                    .position(|one| one["properties"]["message"]["const"] == value["message"]);
                let Some(same) = same else { return vec![format!("there is no such line: {value}")] };
                found.extend(of[same].iter().map(|fault| format!("{fault}: {value}")));
                of.iter().filter(|faults| faults.is_empty()).count() == 1
            }
            other => panic!("{other}"),
        };
        if !holds {
            found.push(word.clone());
        }
    }
    found
}

/// Holds lines against the schema that people get.
#[track_caller]
fn assert_lines(lines: &[Value]) {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let faults: Vec<String> = lines.iter().flat_map(|line| faults(&schema, line)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_document_and_the_schema_are_what_the_table_says() {
    let mut events = String::from("\n| `message` | level | fields | |\n|---|---|---|---|\n");
    for entry in EVENTS {
        let fields: Vec<String> = entry.fields.iter().map(|name| format!("`{name}`")).collect();
        let levels = entry.levels.join(" ");
        let mark = if entry.collapses { " ↻" } else { "" };
        let _ =
            writeln!(events, "| `{}`{mark} | {levels} | {} | {} |", entry.name, fields.join(" "), cell(entry.about));
    }
    hold_generated("docs/logs.md", "events", &(events + "\n"));
    let mut fields = String::from("\n| field | type | |\n|---|---|---|\n");
    for field in FIELDS {
        let _ = writeln!(fields, "| `{}` | {} | {} |", field.name, field.of, cell(field.about));
    }
    hold_generated("docs/logs.md", "fields", &(fields + "\n"));

    let made = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    let path = root().join("docs/log.schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).expect("a file");
        return;
    }
    assert!(SCHEMA == made, "docs/log.schema.json is out of date (UPDATE_GOLDEN=1 rewrites it)");
}

#[test]
fn the_line_that_the_document_shows_is_one() {
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logs.md")).expect("it is there");
    let shown = lines(&document);
    assert_eq!(shown.len(), 1);
    assert_lines(&shown);
    // That a line can be found false.
    for (member, value) in
        [("status", json!("503")), ("level", json!("INFOS")), ("more", json!(1)), ("message", json!("no"))]
    {
        let mut line = shown[0].clone();
        line[member] = value;
        assert!(!faults(&serde_json::from_str(SCHEMA).expect("JSON"), &line).is_empty(), "{member}");
    }
    let mut line = shown[0].clone();
    line.as_object_mut().expect("a table").remove("attempt");
    assert!(!faults(&serde_json::from_str(SCHEMA).expect("JSON"), &line).is_empty());
}
