//! One invocation as people read it.

use std::fmt::Write as _;

use serde_json::Value;

use super::line::{colour, milliseconds};
use crate::cli::paint::{Colour, Paint, visible};
use crate::shown::pretty;

/// How many values a line about a validator lists.
const VALUES_MAX: usize = 5;
/// What is said in place of what a record has no room for.
const OMITTED: &str =
    "(left out with the validators and the missing fields: together they are too large to be kept in the spool)";
/// The parts of an attempt's time, as they are called and as people read them.
const TIMINGS: [(&str, &str); 7] = [
    ("queued", "queued"),
    ("render", "rendered"),
    ("dns", "resolved"),
    ("connect", "connected"),
    ("tls", "TLS"),
    ("first_byte", "first byte"),
    ("total", "in all"),
];

/// All of it.
pub(super) fn text(one: &Value, paint: Paint) -> String {
    let mut out = String::new();
    let outcome = one["reason"].as_str().unwrap_or("accepted");
    let _ = writeln!(out, "{}  {}", word(one, "id"), paint.text(colour(one), outcome));
    for name in ["detail", "advice"] {
        if let Some(text) = one[name].as_str() {
            let _ = writeln!(out, "  {}", visible(text));
        }
    }
    let _ = writeln!(out, "\n  webhook    {}", word(one, "webhook"));
    let about = one["request_id"].as_str().map_or_else(String::new, |id| format!(", {}", visible(id)));
    let _ = writeln!(out, "  event      {} of kind {}{about}", word(one, "event_type"), word(one, "kind"));
    let _ = writeln!(out, "  delivery   {}", word(one, "delivery_id"));
    let _ = writeln!(out, "  received   {}", word(one, "received_at"));
    let _ = writeln!(out, "  ended      {}", word(one, "at"));
    let _ = writeln!(out, "  attempt    {}; {}", one["attempt"], then(one));
    let _ = writeln!(out, "  took       {}", timings(one));
    if let Some(missing) = one["missing"].as_array().filter(|missing| !missing.is_empty()) {
        let paths: Vec<String> = missing.iter().filter_map(Value::as_str).map(visible).collect();
        let _ = writeln!(out, "  the event has no {}", paths.join(", "));
    }
    request(&mut out, one, paint);
    response(&mut out, one, paint);
    validators(&mut out, one, paint);
    out
}

fn then(one: &Value) -> String {
    let then = match one["then"].as_str() {
        Some("delivered") => "it is delivered".to_owned(),
        Some("retry") => format!("it is tried again at {}", word(one, "retry_at")),
        Some("held") => "it waits for the webhook's pause to end".to_owned(),
        Some("dead") => "it is a dead letter".to_owned(),
        _ => "it was a test".to_owned(),
    };
    if one["probe"] == true { format!("a probe; {then}") } else { then }
}

fn timings(one: &Value) -> String {
    let timings = &one["timings_ms"];
    let known =
        TIMINGS.iter().filter_map(|(name, word)| Some(format!("{word} {}", milliseconds(timings[*name].as_f64()?))));
    let known: Vec<String> = known.collect();
    let reused = if one["reused_connection"] == true { ", on a connection that was there" } else { "" };
    format!("{}{reused}", known.join(", "))
}

fn request(out: &mut String, one: &Value, paint: Paint) {
    let request = &one["request"];
    let _ = writeln!(out, "\n{}", paint.text(Colour::Bold, "request"));
    if request.is_null() {
        let why = if one["omitted"] == true {
            OMITTED
        } else {
            "there is none: it could not be rendered, or its event is not kept any more"
        };
        let _ = writeln!(out, "  {why}");
        return;
    }
    let _ = writeln!(out, "  {} {}", word(request, "method"), word(request, "url"));
    message(out, request);
}

fn response(out: &mut String, one: &Value, paint: Paint) {
    let response = &one["response"];
    let _ = writeln!(out, "\n{}", paint.text(Colour::Bold, "response"));
    match (response.is_null(), one["status"].as_u64()) {
        (false, _) => {
            let _ = writeln!(out, "  {}", response["status"]);
            message(out, response);
        }
        (true, Some(status)) => {
            let _ = writeln!(out, "  {status}\n  {OMITTED}");
        }
        (true, None) => {
            let _ = writeln!(out, "  none came");
        }
    }
}

/// Headers and body.
fn message(out: &mut String, message: &Value) {
    for header in message["headers"].as_array().into_iter().flatten() {
        let part = |index: usize| visible(header[index].as_str().unwrap_or_default());
        let _ = writeln!(out, "  {}: {}", part(0), part(1));
    }
    if message["headers_truncated"] == true {
        let _ = writeln!(out, "  (there are more headers than are kept)");
    }
    let body = message["body"].as_str().unwrap_or_default();
    if !body.is_empty() {
        out.push('\n');
        for line in pretty(body).lines() {
            let _ = writeln!(out, "  {}", visible(line));
        }
    }
    if message["truncated"] == true {
        let _ = writeln!(out, "  (the beginning of {} bytes)", message["body_bytes"]);
    }
}

fn validators(out: &mut String, one: &Value, paint: Paint) {
    let Some(validators) = one["validators"].as_array().filter(|validators| !validators.is_empty()) else { return };
    let _ = writeln!(out, "\n{}", paint.text(Colour::Bold, "validators"));
    for validator in validators {
        let (mark, colour) = if validator["passed"] == true { ("✓", Colour::Green) } else { ("✗", Colour::Red) };
        let values = validator["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut shown: Vec<String> = values.iter().take(VALUES_MAX).map(|value| visible(&value.to_string())).collect();
        if let more @ 1.. = values.len().saturating_sub(VALUES_MAX) {
            shown.push(format!("{more} more"));
        }
        let found = validator["found"].as_str().map_or_else(|| "nothing".to_owned(), visible);
        let _ = writeln!(
            out,
            "  {} {}: {} {} {}, found {found}",
            paint.text(colour, mark),
            word(validator, "name"),
            word(validator, "path"),
            word(validator, "rule"),
            shown.join(" or ")
        );
    }
}

/// A text, without what a terminal obeys.
fn word(value: &Value, member: &str) -> String {
    visible(value[member].as_str().unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_is_shown_with_all_that_is_known_of_it() {
        let one = json!({
            "id": "inv_000644abcdef0123", "at": "2026-11-22T10:00:01.5Z", "webhook": "slack",
            "delivery_id": "evt_07070707070707070707070707070707_slack", "event_id": "evt_07070707070707070707070707070707",
            "kind": "request", "event_type": "RequestGranted", "request_id": "AR-123", "attempt": 2, "outcome": "failed",
            "reason": "validation_failed", "detail": "validator `ok` failed", "status": 200, "duration_ms": 12.3, "then": "dead",
            "retry_at": null, "probe": false, "test": false, "received_at": "2026-11-22T10:00:00Z", "generation": 1,
            "advice": "Look at the response.",
            "request": { "method": "POST", "url": "https://hooks.example.com/***", "headers": [["x-token", "***"]],
                "body": "{\"a\":1}", "body_bytes": 7, "truncated": false },
            "response": { "status": 200, "headers": [["content-type", "text/plain"]], "body": "no\u{1b}[2J\nreally", "body_bytes": 900,
                "truncated": true },
            "validators": [
                { "name": "ok", "path": "$.data.ok", "rule": "expected", "values": ["true", 1], "passed": false, "found": null },
                { "name": "error", "path": "$.data.error", "rule": "rejected", "values": ["fatal"], "passed": true, "found": "none" },
            ],
            "missing": ["data.x", "data.y"],
            "timings_ms": { "queued": 1.0, "render": 0.04, "dns": null, "connect": null, "tls": null, "first_byte": 11.0, "total": 12.3 },
            "reused_connection": true, "event": {}, "resendable": true, "kept": "memory",
        });
        let expected = "\
inv_000644abcdef0123  validation_failed
  validator `ok` failed
  Look at the response.

  webhook    slack
  event      RequestGranted of kind request, AR-123
  delivery   evt_07070707070707070707070707070707_slack
  received   2026-11-22T10:00:00Z
  ended      2026-11-22T10:00:01.5Z
  attempt    2; it is a dead letter
  took       queued 1.0 ms, rendered 0.0 ms, first byte 11 ms, in all 12 ms, on a connection that was there
  the event has no data.x, data.y

request
  POST https://hooks.example.com/***
  x-token: ***

  {
    \"a\": 1
  }

response
  200
  content-type: text/plain

  no\\u{1b}[2J
  really
  (the beginning of 900 bytes)

validators
  ✗ ok: $.data.ok expected \"true\" or 1, found nothing
  ✓ error: $.data.error rejected \"fatal\", found none
";
        assert_eq!(text(&one, Paint(false)), expected);
        assert!(text(&one, Paint(true)).contains("\x1b[31m✗\x1b[0m ok"));
    }

    #[test]
    fn what_is_not_there_is_told_in_words() {
        let shown = text(
            &json!({ "reason": "timeout", "request": null, "response": null, "then": "held", "probe": true }),
            Paint(false),
        );
        for words in ["could not be rendered", "none came", "a probe; it waits for the webhook's pause"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(!shown.contains("validators"), "{shown}");
        let omitted =
            json!({ "reason": "client_error", "request": null, "response": null, "status": 400, "omitted": true });
        let shown = text(&omitted, Paint(false));
        assert!(
            shown.contains("response\n  400\n  (left out with") && shown.contains("request\n  (left out"),
            "{shown}"
        );
        let many = json!({ "response": { "status": 200, "headers": [], "headers_truncated": true } });
        assert!(text(&many, Paint(false)).contains("more headers than are kept"));
    }
}
