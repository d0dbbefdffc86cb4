//! `[[tests]]`: their shape, and whether what they expect can be. Whether their events can be read is asked when they run.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::config::document::{At, Report};
use crate::config::reference::{TEST_STATUSES, WEBHOOK};
use crate::config::table::{Table, as_json, list};
use crate::config::tests::{ANSWERED, ANSWERED_NAMES, Expect, TestCase, TestEvent, TestResponse};
use crate::delivery::Reason;
use crate::diagnostic::{Place, nearest};
use crate::webhook::validator::Validator;

/// How people add an answer to a test.
const RESPONSE_FIX: &str = "add response = { status = 200, body = … }";

/// Compiles `[[tests]]`.
pub(super) fn tests(
    report: &mut Report,
    root: &Table<'_>,
    webhook: &Arc<str>,
    dir: &Path,
    validators: &[Validator],
) -> Vec<TestCase> {
    let tables = root.tables(report, "tests");
    tables.iter().filter_map(|table| test(report, table, webhook, dir, validators)).collect()
}

fn test(
    report: &mut Report,
    table: &Table<'_>,
    webhook: &Arc<str>,
    dir: &Path,
    validators: &[Validator],
) -> Option<TestCase> {
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
        Some(Value::String(text)) if text.trim_start().starts_with('{') => match serde_json::from_str(&text) {
            Ok(event) => TestEvent::Inline(event),
            Err(error) => {
                let problem = format!("the test's `event` begins as JSON and is none: {error}");
                report.error(at, problem, "write a JSON object, or the path of a file with one");
                return None;
            }
        },
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
    let response = table.table(report, "response").map(|table| response(report, &table));
    let expected = table.table(report, "expect")?;
    let expect = expect(report, &expected, validators);
    refuse_contradictions(report, table, &expected, &expect);
    let place = Place::locate(&at.document.text, at.start..at.end);
    Some(TestCase {
        webhook: Arc::clone(webhook),
        name: name?.value.to_owned(),
        file: at.document.name.clone(),
        place,
        event,
        response,
        expect,
    })
}

fn response(report: &mut Report, table: &Table<'_>) -> TestResponse {
    table.refuse_unknown(report, WEBHOOK, "tests.response");
    let status = table.integer(report, "status", TEST_STATUSES).and_then(|status| u16::try_from(status).ok());
    let mut headers = HeaderMap::new();
    if let Some(given) = table.table(report, "headers") {
        for entry in &given.entries {
            let Some(text) = given.text(report, entry.name) else { continue };
            let name = HeaderName::from_bytes(entry.name.as_bytes());
            match (name, HeaderValue::from_str(text.value)) {
                (Ok(name), Ok(value)) => drop(headers.append(name, value)),
                (Err(_), _) => report.error(entry.key_at, "this is no header name", "use letters, digits and `-`"),
                (_, Err(_)) => {
                    report.error(text.at, "this is no header value", "use visible ASCII characters and blanks");
                }
            }
        }
    }
    if let Some(entry) = table.get("body").filter(|_| status == Some(204)) {
        report.error(entry.key_at, "an answer of 204 has no body", "remove it, or write status = 200");
    }
    let body = match json(report, table, "body") {
        None => Bytes::new(),
        Some(Value::String(text)) => Bytes::from(text),
        Some(json) => Bytes::from(json.to_string()),
    };
    TestResponse {
        status: status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default(),
        headers,
        body,
    }
}

fn expect(report: &mut Report, table: &Table<'_>, validators: &[Validator]) -> Expect {
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
        body: json(report, table, "body"),
        url: table.text(report, "url").map(|text| text.value.to_owned()),
        headers,
        accepted: table.choice(report, "outcome", &[("accepted", true), ("failed", false)]),
        reason: reason(report, table),
        validators: failing(report, table, validators),
    }
}

/// Any value that JSON has too.
fn json(report: &mut Report, table: &Table<'_>, key: &str) -> Option<Value> {
    let entry = table.get(key)?;
    let found = as_json(entry.node.value);
    if found.is_none() {
        let problem = format!("`{}` has a number that JSON cannot write", table.name(key));
        report.error(entry.node.at, problem, "write a finite number, and one of more than 64 bits as a text");
    }
    found
}

fn reason(report: &mut Report, table: &Table<'_>) -> Option<Reason> {
    let text = table.text(report, "reason")?;
    let (problem, fix) = match Reason::parse(text.value) {
        Some(reason) if ANSWERED.contains(&reason) => return Some(reason),
        Some(_) => (format!("no response comes to `{}`", text.value), format!("it may be {}", list(&ANSWERED_NAMES))),
        None => match nearest(text.value, ANSWERED_NAMES) {
            Some(near) => ("there is no such reason".to_owned(), format!("did you mean \"{near}\"?")),
            None => ("there is no such reason".to_owned(), format!("it may be {}", list(&ANSWERED_NAMES))),
        },
    };
    report.error(text.at, problem, fix);
    None
}

fn failing(report: &mut Report, table: &Table<'_>, validators: &[Validator]) -> Option<BTreeSet<String>> {
    let texts = table.texts(report, "validators")?;
    let names: Vec<&str> = validators.iter().map(|validator| &*validator.name).collect();
    for text in texts.iter().filter(|text| !names.contains(&text.value)) {
        let fix = match nearest(text.value, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if names.is_empty() => "remove it: the webhook has no response validator".to_owned(),
            None => format!("the webhook has {}", list(&names)),
        };
        report.error(text.at, "the webhook has no such validator", fix);
    }
    Some(texts.into_iter().map(|text| text.value.to_owned()).collect())
}

/// A test that could never fail, or never pass, is a mistake.
fn refuse_contradictions(report: &mut Report, test: &Table<'_>, expected: &Table<'_>, expect: &Expect) {
    let place = |table: &Table<'_>, keys: &[&str]| {
        table
            .entries
            .iter()
            .find(|entry| keys.contains(&entry.name))
            .map(|entry| (entry.key_at.start, entry.key_at.end))
    };
    let document = test.at.document;
    let at = |(start, end): (usize, usize)| At { document, start, end };
    let response = place(test, &["response"]);
    let request = place(expected, &["body", "url", "headers"]);
    let end = place(expected, &["outcome", "reason", "validators"]);
    if expect.delivered == Some(false) {
        if let Some(found) = request.or(end).or(response) {
            let problem = "the test expects no delivery, so there is nothing that could be sent or answered";
            report.error(at(found), problem, "remove it, or write delivered = true");
        }
        return;
    }
    if expect.reason == Some(Reason::TemplateError) {
        if let Some(found) = request.or(response) {
            let problem = "the test expects `template_error`, so there is nothing that could be sent or answered";
            report.error(at(found), problem, "remove it, or expect another reason");
        }
    } else {
        match (response, end) {
            (Some(found), None) => {
                let fix = "add outcome = \"accepted\", or \"failed\" with its reason, to `expect`";
                report.error(at(found), "the test gives a response and expects nothing of it", fix);
            }
            (None, Some(found)) => {
                report.error(at(found), "the test gives no response that could come to this", RESPONSE_FIX);
            }
            _ => {}
        }
    }
    let fails = expect.reason.is_some() || expect.validators.as_ref().is_some_and(|names| !names.is_empty());
    if let (Some(true), true, Some(found)) = (expect.accepted, fails, place(expected, &["reason", "validators"])) {
        report.error(
            at(found),
            "an accepted attempt has no reason and no failed validator",
            "write outcome = \"failed\", or remove it",
        );
    }
}
