//! From a posted event to what receivers see, against the real program over real TLS.

mod connections;
mod idempotency;
mod ingest;
mod isolation;
mod ordering;
mod outcomes;
mod pause;
mod rate;
mod retry;
mod shutdown;
mod trace;
mod wire;

use serde_json::{Value, json};

use crate::support::sidecar::Sidecar;

/// A webhook's file that posts to this URL and retries at once.
fn hook(url: &str, rest: &str) -> String {
    format!("url = {url:?}\nretry.initial = \"1ms\"\nretry.max_interval = \"20ms\"\n{rest}\n")
}

/// An event of kind `request`.
fn event(event_type: &str, data: &Value) -> String {
    json!({ "event_type": event_type, "event_time": "1696263265.851898000", "data": data }).to_string()
}

/// A `RequestCreated` with this id.
fn created(id: &str) -> String {
    event("RequestCreated", &json!({ "id": id }))
}

/// Posts an event, waits until all of its deliveries are settled, and gives what became of them.
#[track_caller]
fn settle(sidecar: &Sidecar, event: &str) -> Vec<Value> {
    let answer = sidecar.post("/v1/events?wait=15s", event);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", sidecar.log());
    answer.json()["events"][0]["deliveries"].as_array().cloned().unwrap_or_default()
}

/// The same where there is one delivery.
#[track_caller]
fn settle_one(sidecar: &Sidecar, event: &str) -> Value {
    let deliveries = settle(sidecar, event);
    let [delivery] = deliveries.as_slice() else { panic!("one delivery was expected: {deliveries:?}") };
    delivery.clone()
}
