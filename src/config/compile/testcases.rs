//! `[[tests]]`: their shape. Whether their events can be read is asked when they run.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::config::document::Report;
use crate::config::reference::WEBHOOK;
use crate::config::table::{Table, as_json};
use crate::config::tests::{Expect, TestCase, TestEvent};
use crate::diagnostic::Place;

/// Compiles `[[tests]]`.
pub(super) fn tests(report: &mut Report, root: &Table<'_>, webhook: &Arc<str>, dir: &Path) -> Vec<TestCase> {
    let tables = root.tables(report, "tests");
    tables.iter().filter_map(|table| test(report, table, webhook, dir)).collect()
}

fn test(report: &mut Report, table: &Table<'_>, webhook: &Arc<str>, dir: &Path) -> Option<TestCase> {
    table.refuse_unknown(report, WEBHOOK, "tests");
    let name = table.text(report, "name");
    if table.get("name").is_none() {
        report.error(table.at, "the test has no `name`", "say in a few words what it shows");
    }
    if table.get("event").is_none() {
        let fix = "add event = \"events/….json\", an inline table, or { sample = \"…\" }";
        report.error(table.at, "the test has no `event`", fix);
    }
    let entry = table.get("event")?;
    let at = entry.node.at;
    let event = match as_json(entry.node.value) {
        Some(Value::String(path)) => {
            let file = dir.join(&path);
            TestEvent::File(path, file)
        }
        Some(Value::Object(members)) => match (members.len(), members.get("sample")) {
            (1, Some(Value::String(sample))) => TestEvent::Sample(sample.clone()),
            _ => TestEvent::Inline(Value::Object(members)),
        },
        _ => {
            let fix = "write a file's path, an inline table, or { sample = \"…\" }";
            report.error(at, "the test's `event` is no event", fix);
            return None;
        }
    };
    if table.get("expect").is_none() {
        report.error(table.at, "the test expects nothing", "add expect = { delivered = true }");
    }
    let expect = table.table(report, "expect").map(|table| expect(report, &table));
    let place = Place::locate(&at.document.text, at.start..at.end);
    Some(TestCase {
        webhook: Arc::clone(webhook),
        name: name?.value.to_owned(),
        file: at.document.name.clone(),
        place,
        event,
        expect: expect?,
    })
}

fn expect(report: &mut Report, table: &Table<'_>) -> Expect {
    table.refuse_unknown(report, WEBHOOK, "tests.expect");
    let mut headers = Vec::new();
    if let Some(wanted) = table.table(report, "headers") {
        for entry in &wanted.entries {
            headers
                .extend(wanted.text(report, entry.name).map(|text| (entry.name.to_lowercase(), text.value.to_owned())));
        }
    }
    Expect {
        delivered: table.boolean(report, "delivered"),
        body: table.get("body").and_then(|entry| as_json(entry.node.value)),
        url: table.text(report, "url").map(|text| text.value.to_owned()),
        headers,
    }
}
