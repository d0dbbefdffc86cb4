//! Parts of documents that are made from the code.

use std::fmt::Write as _;

use outrigger::config::{Key, Shape, reference};
use outrigger::kind::Kind;
use outrigger::metrics::FAMILIES;

use super::root;

/// Holds the generated part of a document against what it is made from.
pub(crate) fn hold_generated(file: &str, part: &str, made: &str) {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&format!("<!-- generated: {part} -->\n")).unwrap();
    let (found, after) = rest.split_once("<!-- end -->").unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}<!-- generated: {part} -->\n{made}<!-- end -->{after}")).unwrap();
        return;
    }
    assert!(found == made, "{file} is out of date (UPDATE_GOLDEN=1 rewrites it); it should be\n{made}");
}

#[test]
fn the_generated_parts_are_what_the_code_says() {
    let mut keys = String::new();
    for (file, list) in reference() {
        let _ = write!(keys, "\n### `{file}`\n");
        let mut tables: Vec<&str> = Vec::new();
        for key in list {
            if !tables.contains(&key.table) {
                tables.push(key.table);
            }
        }
        for table in tables {
            let _ = write!(keys, "\n{}\n\n| key | value | default | |\n|---|---|---|---|\n", heading(table));
            for key in list.iter().filter(|key| key.table == table) {
                let _ = writeln!(keys, "| `{}` | {} | {} | {} |", key.key, shape(key), default(key), about(key));
            }
        }
    }
    hold_generated("docs/configuration.md", "keys", &(keys + "\n"));

    let mut kinds = String::from("\n| kind | triggers | field: where it stands |\n|---|---|---|\n");
    for kind in Kind::builtin() {
        let types: Vec<_> = kind.types.iter().map(|name| format!("`{name}`")).collect();
        let types = if types.is_empty() { "any event type".to_owned() } else { types.join(", ") };
        let fields: Vec<_> = kind.fields.iter().map(|(name, path)| format!("`{name}`: `{}`", path.text())).collect();
        let _ = writeln!(kinds, "| `{}` | {types} | {} |", kind.name, fields.join("<br>"));
    }
    hold_generated("docs/configuration.md", "kinds", &(kinds + "\n"));

    let mut metrics = String::from("\n| name | type | labels | |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            metrics,
            "| `{}` | {} | {} | {} |",
            family.name,
            family.kind,
            labels.join(", "),
            cell(family.help)
        );
    }
    hold_generated("docs/metrics.md", "metrics", &(metrics + "\n"));
}

#[test]
fn the_picture_of_a_plan_is_what_is_printed() {
    let golden = std::fs::read_to_string(root().join("tests/plan/expected.txt")).unwrap();
    let command = "$ outrigger plan git:main --events recorded.ndjson";
    hold_generated("docs/plan.md", "plan", &format!("```text\n{command}\n{golden}```\n"));
}

fn heading(table: &str) -> String {
    match table {
        "" => "Before any table".to_owned(),
        "filters" | "response_validators" | "tests" => format!("`[[{table}]]`"),
        _ => format!("`[{table}]`"),
    }
}

fn shape(key: &Key) -> String {
    let what = match key.shape {
        Shape::Text => "text",
        Shape::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            let table = if key.table.is_empty() && key.key == "ordering" { ", or a table" } else { "" };
            return format!("{}{table}", words.join(" "));
        }
        Shape::Duration => "duration",
        Shape::Size => "size",
        Shape::Rate => "rate",
        Shape::Truth => "`true` `false`",
        Shape::Whole(bounds) => return format!("{} to {}", bounds.start(), bounds.end()),
        Shape::Number => "number",
        Shape::Wholes(_) => "list of numbers",
        Shape::Texts => "list of texts",
        Shape::ManyWords(_) => "list of words",
        Shape::Values => "list of values",
        Shape::TextTable => "table of texts",
        Shape::TextOrTable => "text or table",
        Shape::Any => "any",
    };
    what.to_owned()
}

/// What a key is for, and whether it has to be there.
fn about(key: &Key) -> String {
    if key.required { format!("{} Required.", cell(key.about)) } else { cell(key.about) }
}

/// A default is code, unless it is a few words or code already.
fn default(key: &Key) -> String {
    match key.default {
        "" => String::new(),
        words if words.contains([' ', '`']) => words.to_owned(),
        code => format!("`{code}`"),
    }
}

/// A sentence as a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
