//! `POST /api/v1/webhooks/{name}/test`: sends a mock event to the webhook's real target and waits for what it comes to.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::admin::filter::{nonsense, unknown};
use crate::delivery::Outcome;
use crate::history::{History, Invocation, view};
use crate::live::Live;
use crate::server::problem::Problem;
use crate::trace::SpanId;
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

/// Sends what the body asks for, and keeps it in the history. A target that refuses is an answer and no problem.
pub(super) async fn test(
    live: &Live,
    history: &History,
    webhook: &Arc<Webhook>,
    body: &[u8],
) -> Result<Value, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let event = mock_event(webhook, parse(body)?).map_err(bad)?;
    let crowded = |_| {
        let detail = format!("{TESTS_MAX} tests run already; send the request again when one has ended");
        Problem::later(StatusCode::SERVICE_UNAVAILABLE, detail, RETRY_AFTER)
    };
    let _seat = SEATS.try_acquire().map_err(crowded)?;
    let span = SpanId::new(fastrand::u64(..));
    let attempted = trial::send(live.clients.way(&webhook.name).map(AsRef::as_ref), webhook, &event, span).await;
    let (now, limits) = (Timestamp::now(), live.snapshot.settings.history);
    let recorded = attempted.into_invocation(now, webhook, &event, live.generation);
    let kept = history.keep(Invocation { test: true, ..recorded }, limits);
    let successful = kept.outcome == Outcome::Accepted;
    tracing::info!(webhook = %webhook.name, successful, "webhook.tested");
    Ok(json!({ "successful": successful, "invocation": view::full(&kept) }))
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
