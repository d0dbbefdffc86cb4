//! Runs `[[tests]]`: an event through triggers, filters and templates, and an answer through the judgement, without network.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::compare;
use crate::cli::preview;
use crate::config::{Expect, FILE_BYTES_MAX, Snapshot, TestCase, TestEvent, TestResponse, read_text};
use crate::delivery::{Failure, Outcome, Reason};
use crate::diagnostic::{Diagnostic, Level, nearest};
use crate::plan::refusals;
use crate::webhook::Webhook;
use crate::webhook::judge::{Judgement, ResponseParts, judge};
use crate::webhook::retry::{Fate, fate};
use crate::webhook::validator::{Rule, Validator, Verdict};

/// How many values a sentence about a validator lists.
const VALUES_MAX: usize = 5;

/// Runs one test, of a configuration that was loaded masked: what differs from what it expects. The error is an event that
/// cannot be used.
pub(super) fn run(snapshot: &Snapshot, case: &TestCase) -> Result<Vec<String>, Box<Diagnostic>> {
    let fault = |problem: String, fix: String| {
        Box::new(Diagnostic {
            level: Level::Error,
            lint: None,
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
    let refusals = refusals(webhook, &event.tree());
    match (case.expect.delivered.unwrap_or(true), refusals.is_empty()) {
        (true, false) => return Ok(vec![format!("expected it to be delivered, but {}", refusals.join("; "))]),
        (false, true) => {
            return Ok(vec!["expected it not to be delivered, but trigger and filters want it".to_owned()]);
        }
        (false, false) => return Ok(Vec::new()),
        (true, true) => {}
    }
    let wants_fault = case.expect.reason == Some(Reason::TemplateError);
    Ok(match preview::preview(webhook, &event) {
        Err(_) if wants_fault => Vec::new(),
        Err(problem) => vec![problem],
        Ok(_) if wants_fault => vec![format!("expected {}, but the request can be rendered", Reason::TemplateError)],
        Ok(found) => {
            let mut differences = compare::request(&case.expect, &found);
            differences.extend(case.response.iter().flat_map(|response| answered(webhook, response, &case.expect)));
            differences
        }
    })
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

/// What differs in what a response comes to: it is read as far as a delivery would read it, and judged alike.
fn answered(webhook: &Webhook, response: &TestResponse, expect: &Expect) -> Vec<String> {
    let read = response.body.get(..webhook.response_bytes_max).unwrap_or(&response.body);
    let truncated = read.len() < response.body.len();
    let parts = ResponseParts { status: response.status, headers: &response.headers, body: read, truncated };
    // A test has no time: how long a `Retry-After` is makes no difference to what is compared.
    let judgement = judge(webhook, parts, Timestamp::UNIX_EPOCH);
    let mut differences = Vec::new();
    if !is_expected(expect, &judgement.outcome) {
        let found = match &judgement.outcome {
            Outcome::Accepted => "accepted".to_owned(),
            Outcome::Failed(failure) => failed(webhook, failure),
        };
        differences.push(format!("outcome: expected {}, found {found}", wanted(expect)));
    }
    let failing: BTreeSet<&str> = judgement.failed_validators.iter().map(|name| &**name).collect();
    if let Some(names) = &expect.validators
        && !names.iter().map(String::as_str).eq(failing.iter().copied())
    {
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        differences.push(format!("validators: expected {} to fail, found {}", listed(&names), listed(&failing)));
    }
    if !differences.is_empty() {
        differences.extend(verdicts(webhook, &judgement));
    }
    differences
}

fn is_expected(expect: &Expect, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Accepted => expect.accepted.unwrap_or(true) && expect.reason.is_none(),
        Outcome::Failed(failure) => {
            let may_fail = expect.accepted.is_none_or(|accepted| !accepted);
            may_fail && expect.reason.is_none_or(|reason| reason == failure.reason)
        }
    }
}

fn wanted(expect: &Expect) -> String {
    match (expect.accepted, expect.reason) {
        (_, Some(reason)) => format!("failed with {reason}"),
        (Some(false), None) => "failed".to_owned(),
        _ => "accepted".to_owned(),
    }
}

/// A failure with what it means for its delivery, as long as attempts and age are left.
fn failed(webhook: &Webhook, failure: &Failure) -> String {
    let then = match fate(&webhook.retry, failure) {
        Fate::Payload | Fate::Ended => "a dead letter",
        Fate::Target(_) => "the webhook pauses",
        Fate::Transient { .. } => "it is retried",
    };
    format!("failed with {}: {}; {then}", failure.reason, failure.detail)
}

/// What each validator looked for and found.
fn verdicts(webhook: &Webhook, judgement: &Judgement) -> Vec<String> {
    let asked = webhook.validators.iter().zip(&judgement.verdicts);
    asked.map(|(validator, (_, verdict))| sentence(validator, verdict)).collect()
}

fn sentence(validator: &Validator, verdict: &Verdict) -> String {
    let (kind, values) = match &validator.rule {
        Rule::Expected(values) => ("expected", values),
        Rule::Rejected(values) => ("rejected", values),
    };
    let mut shown: Vec<String> = values.iter().take(VALUES_MAX).map(ToString::to_string).collect();
    if let more @ 1.. = values.len().saturating_sub(VALUES_MAX) {
        shown.push(format!("{more} more"));
    }
    let found = verdict.found.as_deref().unwrap_or("nothing");
    let word = if verdict.passed { "passes" } else { "fails" };
    format!(
        "validator `{}` {word}: {} is {found}, {kind} {}",
        validator.name,
        validator.path.text(),
        shown.join(" or ")
    )
}

fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
