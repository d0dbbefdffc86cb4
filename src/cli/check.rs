//! `outrigger check`: all diagnostics, all `[[tests]]`.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Number, Value};

use super::preview::{self, Preview};
use super::{Answer, BAD_CONFIG, Config, FINE, NO, count, show};
use crate::config::{FILE_BYTES_MAX, Snapshot, TestCase, TestEvent, load, read_text, sort};
use crate::diagnostic::{Diagnostic, Level, nearest};
use crate::kind::value::Decimal;
use crate::plan::refusals;
use crate::webhook::Webhook;

/// How many differences of one test are printed.
const DIFFERENCES_MAX: usize = 10;

/// How much of a value is printed, in characters.
const VALUE_CHARS_MAX: usize = 200;

/// Check the configuration and run its [[tests]], without any network
///
/// Prints every fault with its place and fix, or one summary line when all is well.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  outrigger check\n  outrigger check --placeholders config\n  \
                        OKTA_CLIENT_TOKEN=… outrigger check --config /etc/outrigger")]
pub(super) struct Check {
    /// The configuration folder, instead of --config
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    config: Config,
}

impl Check {
    pub(super) fn run(&self) -> Answer {
        let mut source = self.config.source();
        if let Some(folder) = &self.folder {
            source.dir.clone_from(folder);
        }
        let coloured = std::io::stdout().is_terminal();
        let loaded = load(&source);
        let mut diagnostics = loaded.diagnostics;
        diagnostics.extend(loaded.test_diagnostics);
        let mut outcomes = Vec::new();
        if loaded.snapshot.is_some()
            && let Some(masked) = preview::masked(&source).snapshot
        {
            for test in &loaded.tests {
                match run(&masked, test) {
                    Ok(differences) => outcomes.push((test, differences)),
                    Err(fault) => diagnostics.push(*fault),
                }
            }
        }
        sort(&mut diagnostics);
        let errors = diagnostics.iter().filter(|one| one.level == Level::Error).count();
        let mut out = show(&diagnostics, coloured);
        if errors > 0 {
            let warnings = diagnostics.len() - errors;
            let _ = writeln!(out, "{}, {}", count(errors, "error"), count(warnings, "warning"));
            return Answer { out, code: BAD_CONFIG, ..Answer::default() };
        }
        for (test, differences) in outcomes.iter().filter(|(_, differences)| !differences.is_empty()) {
            let _ = writeln!(out, "failed: {}: {} ({}:{})", test.webhook, test.name, test.file, test.place.line);
            for difference in differences.iter().take(DIFFERENCES_MAX) {
                let _ = writeln!(out, "  {difference}");
            }
            let _ = writeln!(out);
        }
        let failed = outcomes.iter().filter(|(_, differences)| !differences.is_empty()).count();
        let webhooks = loaded.snapshot.map_or(0, |snapshot| snapshot.webhooks.len());
        let passed = count(outcomes.len() - failed, "test");
        let _ = writeln!(out, "{}, {passed} passed, {failed} failed", count(webhooks, "webhook"));
        Answer { out, code: if failed == 0 { FINE } else { NO }, ..Answer::default() }
    }
}

/// Runs one test: what differs from what it expects. The error is an event that cannot be used.
fn run(snapshot: &Snapshot, case: &TestCase) -> Result<Vec<String>, Box<Diagnostic>> {
    let fault = |problem: String, fix: String| {
        Box::new(Diagnostic {
            level: Level::Error,
            file: case.file.clone(),
            place: Some(case.place.clone()),
            problem,
            fix: Some(fix),
        })
    };
    let Some(webhook) = snapshot.webhooks.get(&case.webhook) else { return Ok(Vec::new()) };
    let payload = event(webhook, case).map_err(|(problem, fix)| fault(problem, fix))?;
    let event = preview::event(&webhook.kind, payload.to_string())
        .map_err(|error| fault(error.to_string(), "correct the test's event".to_owned()))?;
    let refusals = refusals(webhook, &event);
    match (case.expect.delivered.unwrap_or(true), refusals.is_empty()) {
        (true, false) => Ok(vec![format!("expected it to be delivered, but {}", refusals.join("; "))]),
        (false, true) => Ok(vec!["expected it not to be delivered, but trigger and filters want it".to_owned()]),
        (false, false) => Ok(Vec::new()),
        (true, true) => Ok(match preview::preview(webhook, &event) {
            Ok(found) => differences(case, &found),
            Err(error) => vec![error],
        }),
    }
}

fn event(webhook: &Webhook, case: &TestCase) -> Result<Value, (String, String)> {
    match &case.event {
        TestEvent::Inline(value) => Ok(value.clone()),
        TestEvent::Sample(name) => {
            if let Some(sample) = webhook.kind.sample(name) {
                return Ok(sample.payload.clone());
            }
            let names: Vec<&str> = webhook.kind.samples.iter().map(|sample| &*sample.name).collect();
            let fix = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the samples are {}", names.join(", ")),
            };
            Err((format!("the kind `{}` has no sample \"{name}\"", webhook.kind.name), fix))
        }
        TestEvent::File(written, path) => {
            let fix = || "write the path of a JSON file (it is taken from the configuration folder)".to_owned();
            let text = read_text(path, FILE_BYTES_MAX)
                .map_err(|problem| (format!("the file `{written}` {problem}"), fix()))?;
            let value: Value = serde_json::from_str(&text)
                .map_err(|error| (format!("the file `{written}` is no JSON: {error}"), fix()))?;
            if value.is_object() { Ok(value) } else { Err((format!("the file `{written}` is no JSON object"), fix())) }
        }
    }
}

fn differences(case: &TestCase, found: &Preview) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(url) = case.expect.url.as_ref().filter(|url| **url != found.url) {
        let same = url.chars().zip(found.url.chars()).take_while(|(wanted, is)| wanted == is).count();
        // The URL that was found is not printed: beyond its host it is a secret.
        differences.push(format!("url: it differs from {url} from character {} on", same + 1));
    }
    for (name, wanted) in &case.expect.headers {
        match found.headers.iter().find(|(header, _)| header == name) {
            Some((_, value)) if value == wanted => {}
            Some((_, value)) => differences.push(format!("headers.{name}: expected {wanted:?}, found {value:?}")),
            None => differences.push(format!("headers.{name}: expected {wanted:?}, found no such header")),
        }
    }
    match (&case.expect.body, serde_json::from_str::<Value>(&found.body)) {
        (None, _) => {}
        (Some(Value::String(text)), _) if *text == found.body => {}
        (Some(wanted), Ok(body)) => compare("body", wanted, &body, &mut differences),
        (Some(wanted), Err(_)) => {
            let body = Value::String(found.body.clone());
            differences.push(format!("body: expected {}, found {}", show_value(wanted), show_value(&body)));
        }
    }
    differences
}

/// Objects may have more members than expected; everything else is equal, numbers by their value.
fn compare(path: &str, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => compare_members(path, wanted, found, differences),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), wanted, found, differences);
            }
        }
        (Value::Number(wanted), Value::Number(found)) if same_number(wanted, found) => {}
        _ if wanted == found => {}
        _ => differences.push(format!("{path}: expected {}, found {}", show_value(wanted), show_value(found))),
    }
}

fn compare_members(path: &str, wanted: &Map<String, Value>, found: &Map<String, Value>, differences: &mut Vec<String>) {
    for (name, wanted) in wanted {
        let plain = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        let path = if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") };
        match found.get(name) {
            Some(found) => compare(&path, wanted, found, differences),
            None => differences.push(format!("{path}: expected {}, found nothing", show_value(wanted))),
        }
    }
}

/// `1.0` and `1` are one number, though their digits differ.
fn same_number(one: &Number, other: &Number) -> bool {
    match (Decimal::parse(one.as_str()), Decimal::parse(other.as_str())) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn show_value(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences_of(wanted: &Value, found: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        compare("body", wanted, found, &mut differences);
        differences
    }

    #[test]
    fn an_expected_body_may_be_a_part_of_the_body() {
        let found = json!({"a": 1, "b": {"c": [1, {"d": "x", "e": null}], "f": true}});
        assert_eq!(differences_of(&json!({"b": {"c": [1.0, {"d": "x"}]}}), &found), Vec::<String>::new());
        assert_eq!(
            differences_of(&json!({"b": {"c": [2, {"d y": "x"}]}, "g": 0}), &found),
            [
                "body.b.c[0]: expected 2, found 1",
                "body.b.c[1][\"d y\"]: expected \"x\", found nothing",
                "body.g: expected 0, found nothing"
            ]
        );
        assert_eq!(differences_of(&json!([1]), &json!([1, 2])), ["body: expected [1], found [1,2]"]);
    }

    #[test]
    fn large_whole_numbers_are_compared_by_every_digit() {
        assert!(!differences_of(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)).is_empty());
    }
}
