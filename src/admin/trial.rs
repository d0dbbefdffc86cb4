//! `POST /api/v1/webhooks/{name}/test`: sends a mock event to the webhook's real target and waits for what it comes to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::admin::filter::{nonsense, unknown};
use crate::attempt::Exchanged;
use crate::delivery::{Failure, Outcome, Reason, delivery_id};
use crate::event::Event;
use crate::live::Live;
use crate::server::problem::Problem;
use crate::trial::{self, Mock, mock_event};
use crate::webhook::Webhook;

/// The largest body of such a request, in bytes: it may hold an event.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Tests that run at the same time, whoever asked for them.
const TESTS_MAX: usize = 8;
/// Seconds after which to come again.
const RETRY_AFTER: u32 = 5;

/// The members of the body.
const MEMBERS: [&str; 2] = ["trigger", "event"];

static SEATS: Semaphore = Semaphore::const_new(TESTS_MAX);

/// Sends what the body asks for. A target that refuses is an answer and no problem.
pub(super) async fn test(live: &Live, webhook: &Webhook, body: &[u8]) -> Result<Value, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let event = mock_event(webhook, parse(body)?).map_err(bad)?;
    let crowded = |_| {
        let detail = format!("{TESTS_MAX} tests run already; send the request again when one has ended");
        Problem::later(StatusCode::SERVICE_UNAVAILABLE, detail, RETRY_AFTER)
    };
    let _seat = SEATS.try_acquire().map_err(crowded)?;
    let begun = Instant::now();
    let sent = match live.clients.way(&webhook.name) {
        Some(way) => trial::send(way, webhook, &event).await,
        None => Err(Failure::new(Reason::NetworkError, "there is no way to the target in this publication")),
    };
    let answer = answer(webhook, &event, sent, begun.elapsed());
    tracing::info!(webhook = %webhook.name, successful = answer["successful"].as_bool(), "webhook.tested");
    Ok(answer)
}

/// What it came to.
fn answer(webhook: &Webhook, event: &Event, sent: Result<Exchanged, Failure>, took: Duration) -> Value {
    let (status, outcome) = match sent {
        Ok(Exchanged { response, judgement, .. }) => (Some(response.status.as_u16()), judgement.outcome),
        Err(failure) => (None, Outcome::Failed(failure)),
    };
    let failure = match &outcome {
        Outcome::Accepted => None,
        Outcome::Failed(failure) => Some(failure),
    };
    json!({
        "successful": failure.is_none(),
        "invocation": {
            "webhook": &*webhook.name,
            "delivery_id": delivery_id(event.id, &webhook.name),
            "event_id": event.id.to_string(),
            "kind": &*event.kind,
            "event_type": &*event.event_type,
            "outcome": if failure.is_none() { "accepted" } else { "failed" },
            "reason": failure.map(|failure| failure.reason.as_str()),
            "detail": failure.map(|failure| webhook.mask.apply(&failure.detail)),
            "status": status,
            "duration_ms": took.as_secs_f64() * 1000.0,
            "then": "none",
            "test": true,
        },
    })
}

/// What is to be sent.
fn parse(body: &[u8]) -> Result<Mock, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    // No body says as much as an empty object.
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let mut members: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| bad(format!("the body is no JSON object: {error}")))?;
    if let Some(name) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(unknown("member", name, &MEMBERS));
    }
    match (members.remove("trigger"), members.remove("event")) {
        (Some(_), Some(_)) => Err(bad("give `trigger` or `event`, not both".to_owned())),
        (None, Some(event)) if event.is_object() => Ok(Mock::Event(Bytes::from(event.to_string()))),
        (None, Some(event)) => Err(nonsense("event", &event.to_string(), "write an event as a JSON object")),
        (Some(Value::String(trigger)), None) => Ok(Mock::Trigger(Some(trigger))),
        (Some(trigger), None) => Err(nonsense("trigger", &trigger.to_string(), "write a text")),
        (None, None) => Ok(Mock::Trigger(None)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_a_trigger_or_holds_an_event_or_says_nothing() {
        for nothing in ["", " ", "{}"] {
            assert!(matches!(parse(nothing.as_bytes()).unwrap(), Mock::Trigger(None)), "{nothing}");
        }
        assert!(matches!(parse(b"{\"trigger\": \"x\"}").unwrap(), Mock::Trigger(Some(trigger)) if trigger == "x"));
        let Mock::Event(raw) = parse(b"{\"event\": {\"b\": 1.0, \"a\": 12345678901234567890}}").unwrap() else {
            panic!("it is an event")
        };
        assert_eq!(raw, "{\"b\":1.0,\"a\":12345678901234567890}", "order and digits stay");
        for (nonsense, says) in [
            ("[]", "no JSON object"),
            ("{\"trigger\": 1}", "`trigger` is `1`"),
            ("{\"event\": []}", "`event` is `[]`"),
            ("{\"event\": {}, \"trigger\": \"x\"}", "not both"),
            ("{\"triger\": \"x\"}", "did you mean `trigger`?"),
        ] {
            let problem = parse(nonsense.as_bytes()).unwrap_err();
            assert!(problem.detail().contains(says), "{nonsense}: {}", problem.detail());
        }
    }
}
