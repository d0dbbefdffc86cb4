//! The answers to events that were taken.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::event::EventId;
use crate::ingest::Planned;
use crate::server::{Answer, json_answer};
use crate::settled::{Report, Waiting};
use crate::spool::Owed;

/// 202: every event with the webhooks that owe it a delivery.
pub(super) fn accepted(planned: &[Planned]) -> Answer {
    json_answer(StatusCode::ACCEPTED, receipt(planned))
}

/// The same 202 once more, for a key that came before.
pub(super) fn repeated(receipt: Bytes) -> Answer {
    let mut answer = json_answer(StatusCode::ACCEPTED, receipt);
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    answer
}

/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What a sender is told of its events.
pub(super) fn receipt(planned: &[Planned]) -> String {
    // Ids and webhook names hold no character that JSON escapes, so the text is put together as it is.
    let mut body = String::with_capacity(32 + planned.len() * 96);
    body.push_str("{\"events\":[");
    for (number, planned) in planned.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(body, "{comma}{{\"id\":\"{}\",\"deliveries\":[", planned.event.id);
        for (number, owed) in planned.wanted.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let _ = write!(body, "{comma}\"{}\"", owed.webhook);
        }
        body.push_str("]}");
    }
    body.push_str("]}\n");
    body
}

/// 200 with every delivery's end, or 202 when the time is over before.
pub(super) async fn collect_reports(planned: &[Planned], mut waiting: Waiting<'_>, time: Duration) -> Answer {
    let owed: usize = planned.iter().map(|planned| planned.wanted.len()).sum();
    let mut reports: HashMap<(EventId, Arc<str>), Report> = HashMap::with_capacity(owed);
    let all = async {
        while reports.len() < owed {
            let Some(report) = waiting.next().await else { break };
            // What is replayed or resent meanwhile ends again.
            reports.insert((report.event, Arc::clone(&report.webhook)), report);
        }
    };
    if tokio::time::timeout(time, all).await.is_err() || reports.len() < owed {
        return accepted(planned);
    }
    let events: Vec<Value> = planned
        .iter()
        .map(|planned| {
            let of = |owed: &Owed| reports.get(&(planned.event.id, Arc::clone(&owed.webhook)));
            let mine = planned.wanted.iter().filter_map(of);
            json!({ "id": planned.event.id.to_string(), "deliveries": mine.map(delivery).collect::<Vec<_>>() })
        })
        .collect();
    json_answer(StatusCode::OK, format!("{}\n", json!({ "events": events })))
}

fn delivery(report: &Report) -> Value {
    let validators: Vec<Value> =
        report.validators.iter().map(|(name, passed)| json!({ "name": name.as_ref(), "passed": passed })).collect();
    let mut delivery = json!({
        "webhook": report.webhook.as_ref(),
        "outcome": if report.dead.is_some() { "dead" } else { "delivered" },
        "attempts": report.attempts,
        "status": report.status,
        "milliseconds": report.milliseconds,
        "validators": validators,
    });
    if let (Some((reason, detail)), Value::Object(delivery)) = (&report.dead, &mut delivery) {
        delivery.insert("reason".to_owned(), reason.as_str().into());
        delivery.insert("detail".to_owned(), detail.as_str().into());
    }
    delivery
}
