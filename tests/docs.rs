//! What users read is true: tables are made from the code or held against it, examples and transcripts are run.
//!
//! Every fenced block of README.md and of docs/*.md belongs to a checker. Its language decides to which:
//!
//! | fence | what becomes of it |
//! |---|---|
//! | `toml` | `outrigger check` takes it and its `[[tests]]` pass: as `outrigger.toml` where its tables are of that file, else as a webhook. With `title="DIR/webhooks/NAME.toml"` it is that file, beside all that has a title below DIR in the same guide |
//! | `json` | parses; with a title it is a file that titled webhooks and commands of the same guide may name. `ndjson` is one a line |
//! | `sh`, `console` | each `outrigger` line is one that the command line takes, each request of a sidecar on this machine is made and answered well, and every other program is listed with the reason why it is not run. In a `console` block lines that begin with `$ ` are the commands; `ADDRESS` stands for an address of the reader's. A transcript whose output is held too has a test of its own in `transcripts` |
//! | `ini` | sets known keys of a systemd service |
//! | `yaml` | parses, without the actions of a chart's template |
//! | `promql` | names metrics that there are, and `promtool` takes it |
//! | `text` | stands in a generated part, or has a title that says what it shows |
//!
//! A block of another kind, or without a language, fails `every_fenced_block_has_a_checker`.
//!
//! `UPDATE_GOLDEN=1` rewrites the generated parts.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod commands;
mod configuration;
mod fences;
pub(crate) mod generated;
mod lints;
mod shell;
mod tables;
mod transcripts;

use std::path::Path;

use serde_json::Value;

const README: &str = include_str!("../README.md");
const LINTS: &str = include_str!("../docs/lints.md");
const CONFIGURATION: &str = include_str!("../docs/configuration.md");
const DELIVERY: &str = include_str!("../docs/delivery.md");
const LIMITS: &str = include_str!("../docs/limits.md");
const TEMPLATES: &str = include_str!("../docs/templates.md");
const PLAN: &str = include_str!("../docs/plan.md");
const OPERATIONS: &str = include_str!("../docs/operations.md");
const QUICK_START: &str = include_str!("../docs/quick-start.md");

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of all tables in a text whose head begins with these cells.
fn rows<'t>(text: &'t str, head: &str) -> Vec<Vec<&'t str>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with(head) {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("|---") {
            rows.push(line.trim_matches('|').split(" | ").map(str::trim).collect());
        }
    }
    rows
}

fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or_else(|| panic!("{cell} is no code"))
}

/// The fenced blocks of a document that begin with this line.
fn blocks<'t>(text: &'t str, fence: &str) -> Vec<&'t str> {
    let opening = format!("\n{fence}\n");
    text.match_indices(&opening)
        .map(|(at, _)| &text[at + opening.len()..])
        .map(|rest| &rest[..rest.find("```").unwrap()])
        .collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}
