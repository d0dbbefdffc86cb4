//! Invocations as JSON for people and programs: rendered again, masked and cut.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::is_secret_header;
use crate::delivery::{Outcome, delivery_id};
use crate::event::{Event, EventId};
use crate::history::{Answered, Invocation, Then, Timings};
use crate::secret::{MASK, Mask};
use crate::shown;
use crate::webhook::request;
use crate::webhook::validator::{Rule, Validator, Verdict};

/// How much of a request's body is shown, in bytes.
const BODY_SHOWN_BYTES_MAX: usize = 256 * 1024;
/// How much of each body is kept on the disk, in bytes.
const BODY_STORED_BYTES_MAX: usize = 8 * 1024;

/// The line of a list, as it stands in what is stored: the rest of that is read over.
#[derive(Deserialize, Serialize)]
struct Line {
    id: Value,
    at: Value,
    webhook: Value,
    delivery_id: Value,
    event_id: Value,
    kind: Value,
    event_type: Value,
    request_id: Value,
    attempt: Value,
    outcome: Value,
    reason: Value,
    detail: Value,
    status: Value,
    duration_ms: Value,
    then: Value,
    retry_at: Value,
    probe: Value,
    test: Value,
}

/// What is stored of an event.
#[derive(Deserialize)]
struct Head {
    event_id: String,
    kind: String,
    event_type: String,
    received_at: String,
}

/// The line of a list.
#[must_use]
pub fn summary(one: &Invocation) -> Value {
    let (reason, detail) = match &one.outcome {
        Outcome::Accepted => (None, None),
        Outcome::Failed(failure) => {
            (Some(failure.reason.as_str()), Some(mask(one).apply(&failure.detail).into_owned()))
        }
    };
    let retry_at = match one.then {
        Then::Retry(at) => Some(at.to_string()),
        _ => None,
    };
    json!({
        "id": one.id.to_string(),
        "at": one.at.to_string(),
        "webhook": &*one.webhook.name,
        "delivery_id": delivery_id(one.event.id, &one.webhook.name),
        "event_id": one.event.id.to_string(),
        "kind": &*one.event.kind,
        "event_type": &*one.event.event_type,
        "request_id": one.request_id(),
        "attempt": one.attempt,
        "outcome": if reason.is_none() { "accepted" } else { "failed" },
        "reason": reason,
        "detail": detail,
        "status": one.response.as_ref().map(|response| response.status),
        "duration_ms": milliseconds(one.timings.total),
        "then": one.then.as_str(),
        "retry_at": retry_at,
        "probe": one.probe,
        "test": one.test,
    })
}

/// All of it.
#[must_use]
pub fn full(one: &Invocation) -> Value {
    let mut shown = whole(one, BODY_SHOWN_BYTES_MAX);
    let event = (!one.payload_dropped).then(|| serde_json::from_slice::<Value>(&one.event.raw).ok()).flatten();
    shown["event"] = event.into();
    shown["resendable"] = (!one.test && !one.payload_dropped).into();
    shown["kept"] = "memory".into();
    shown
}

/// All of it but the event, as it is kept on the disk, in at most so many bytes: without the request and the response where they make it
/// larger.
#[must_use]
pub fn stored(one: &Invocation, bytes_max: usize) -> String {
    let mut shown = whole(one, BODY_STORED_BYTES_MAX);
    shown["event"] = Value::Null;
    shown["resendable"] = false.into();
    shown["kept"] = "spool".into();
    let text = shown.to_string();
    if text.len() <= bytes_max {
        return text;
    }
    shown["omitted"] = true.into();
    for member in ["request", "response", "validators", "missing"] {
        shown[member] = if matches!(member, "request" | "response") { Value::Null } else { json!([]) };
    }
    shown.to_string()
}

/// The line of a list, out of what [`stored`] wrote. Only what a damaged disk gave back has none.
#[must_use]
pub fn stored_summary(text: &str) -> Option<Value> {
    serde_json::to_value(serde_json::from_str::<Line>(text).ok()?).ok()
}

/// The event of what [`stored`] wrote, without its payload.
#[must_use]
pub fn stored_event(text: &str) -> Option<Event> {
    let Head { event_id, kind, event_type, received_at } = serde_json::from_str(text).ok()?;
    Some(Event::new(
        EventId::parse(&event_id)?,
        kind.into(),
        event_type.into(),
        received_at.parse().ok()?,
        Bytes::new(),
    ))
}

fn whole(one: &Invocation, bytes_max: usize) -> Value {
    let mask = mask(one);
    let mut shown = summary(one);
    let reason = match &one.outcome {
        Outcome::Accepted => None,
        Outcome::Failed(failure) => Some(failure.reason),
    };
    shown["received_at"] = one.event.received_at.to_string().into();
    shown["generation"] = one.generation.into();
    shown["advice"] = reason.map(crate::delivery::Reason::advice).into();
    shown["request"] = sent(one, &mask, bytes_max);
    shown["response"] = one.response.as_ref().map_or(Value::Null, |response| answered(response, &mask, bytes_max));
    let validators = one.webhook.validators.iter().zip(&one.verdicts);
    shown["validators"] = validators.map(|(validator, (_, verdict))| judged(validator, verdict, &mask)).collect();
    shown["missing"] = one.missing.iter().map(String::as_str).collect();
    shown["omitted"] = one.omitted.into();
    shown["timings_ms"] = timings(&one.timings);
    shown["reused_connection"] = one.timings.wire.map(|wire| wire.opening.is_none()).into();
    shown
}

/// What takes the secrets of its definition out of a text, and the token that was sent.
fn mask(one: &Invocation) -> Cow<'_, Mask> {
    match &one.token {
        Some(token) => Cow::Owned(one.webhook.mask.with(&token.secret)),
        None => Cow::Borrowed(&one.webhook.mask),
    }
}

/// The request, made again.
fn sent(one: &Invocation, mask: &Mask, bytes_max: usize) -> Value {
    if one.payload_dropped {
        return Value::Null;
    }
    let Ok(mut request) = one.webhook.render(&one.event) else { return Value::Null };
    if one.test {
        request.headers.insert(request::TEST_HEADER, http::HeaderValue::from_static("true"));
    }
    request.trace(&one.event, one.span);
    let (body, truncated) = shown::text(&request.body, false, mask, bytes_max);
    let headers: Vec<(String, String)> = shown::headers(&one.webhook, &request)
        .into_iter()
        .map(|(name, value)| (name, mask.apply(&value).into_owned()))
        .collect();
    json!({
        "method": request.method.as_str(),
        "url": shown::url(&one.webhook),
        "headers": headers,
        "body": body,
        "body_bytes": request.body.len(),
        "truncated": truncated,
    })
}

fn answered(response: &Answered, mask: &Mask, bytes_max: usize) -> Value {
    let headers: Vec<(&str, String)> = response
        .headers
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| {
            let secret = is_secret_header(name) || name.eq_ignore_ascii_case("set-cookie");
            (name, if secret { MASK.to_owned() } else { mask.apply(value).into_owned() })
        })
        .collect();
    let unread = response.truncated || response.body.len() < response.body_bytes;
    let (body, truncated) = shown::text(&response.body, unread, mask, bytes_max);
    json!({
        "status": response.status,
        "headers": headers,
        "headers_truncated": response.headers_truncated,
        "body": body,
        "body_bytes": response.body_bytes,
        "truncated": truncated,
    })
}

fn judged(validator: &Validator, verdict: &Verdict, mask: &Mask) -> Value {
    let (rule, values) = match &validator.rule {
        Rule::Expected(values) => ("expected", values),
        Rule::Rejected(values) => ("rejected", values),
    };
    json!({
        "name": mask.apply(&validator.name),
        "path": mask.apply(validator.path.text()),
        "rule": rule,
        "values": values.iter().map(|value| masked(value, mask)).collect::<Vec<_>>(),
        "passed": verdict.passed,
        "found": verdict.found.as_deref().map(|found| mask.apply(found)),
    })
}

fn timings(timings: &Timings) -> Value {
    let opening = timings.wire.and_then(|wire| wire.opening);
    json!({
        "queued": timings.queued.map(milliseconds),
        "render": milliseconds(timings.render),
        "dns": opening.map(|opening| milliseconds(opening.dns)),
        "connect": opening.map(|opening| milliseconds(opening.connect)),
        "tls": opening.map(|opening| milliseconds(opening.tls)),
        "first_byte": timings.wire.map(|wire| milliseconds(wire.first_byte)),
        "total": milliseconds(timings.total),
    })
}

/// A value with its secrets masked; one that is no JSON any more is its text.
fn masked(value: &Value, mask: &Mask) -> Value {
    match mask.apply(&value.to_string()) {
        Cow::Borrowed(_) => value.clone(),
        Cow::Owned(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}

/// Milliseconds with three digits behind the point.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
