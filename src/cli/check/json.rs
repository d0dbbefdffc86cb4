//! What `check` found as one JSON document, for CI.

use serde_json::{Value, json};

use super::Outcomes;
use crate::diagnostic::Diagnostic;

/// The document. Source lines are not in it: secrets may be typed in them. `webhooks` is null where the configuration is
/// faulty, and then no test is run.
pub(super) fn document(
    webhooks: Option<usize>,
    diagnostics: &[Diagnostic],
    outcomes: &Outcomes<'_>,
    ok: bool,
) -> String {
    let tests: Vec<Value> = outcomes
        .iter()
        .map(|(test, differences)| {
            json!({
                "webhook": &*test.webhook,
                "name": test.name,
                "file": test.file,
                "line": test.place.line,
                "passed": differences.is_empty(),
                "differences": differences,
            })
        })
        .collect();
    let failed = outcomes.iter().filter(|(_, differences)| !differences.is_empty()).count();
    let document = json!({
        "webhooks": webhooks,
        "diagnostics": diagnostics.iter().map(diagnostic).collect::<Vec<Value>>(),
        "tests": tests,
        "passed": outcomes.len() - failed,
        "failed": failed,
        "ok": ok,
    });
    format!("{document:#}\n")
}

fn diagnostic(diagnostic: &Diagnostic) -> Value {
    let place = diagnostic.place.as_ref();
    let mut document = json!({
        "level": diagnostic.level.as_str(),
        "file": diagnostic.file,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "end_column": place.map(|place| place.column + place.width),
        "problem": diagnostic.problem,
        "fix": diagnostic.fix,
    });
    if let (Some(lint), Some(members)) = (diagnostic.lint, document.as_object_mut()) {
        members.shift_insert(1, "lint".to_owned(), lint.as_str().into());
    }
    document
}
