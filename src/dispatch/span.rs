//! An attempt as a span of its event's trace.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::attempt::Attempted;
use crate::delivery::{Outcome, delivery_id};
use crate::spans::{Kind, Span, Spans, Value};
use crate::spool::Lease;
use crate::webhook::Webhook;

/// Records an attempt, where its event's trace is recorded. Of the URL it says host and port, and nothing of what was sent.
pub(super) fn record(spans: &Spans, webhook: &Webhook, lease: &Lease, attempted: &Attempted, ended: Timestamp) {
    let Some(trace) = lease.event.trace().filter(|trace| spans.are_sent() && trace.is_sampled()) else { return };
    let mut attributes: Vec<(&'static str, Value)> = vec![
        ("http.request.method", webhook.method.as_str().into()),
        ("server.address", webhook.url.host.as_str().into()),
        ("server.port", webhook.url.port.into()),
        ("outrigger.webhook", (&*webhook.name).into()),
        ("outrigger.event.id", lease.event.id.to_string().into()),
        ("outrigger.delivery.id", delivery_id(lease.event.id, &webhook.name).into()),
        ("outrigger.attempt", lease.attempts.saturating_add(1).into()),
    ];
    attributes.extend(attempted.status().map(|status| ("http.response.status_code", status.into())));
    let failed = if let Outcome::Failed(failure) = &attempted.outcome {
        attributes.push(("error.type", failure.reason.as_str().into()));
        true
    } else {
        false
    };
    let took = SignedDuration::try_from(attempted.duration).unwrap_or_default();
    spans.record(Span {
        name: "attempt",
        kind: Kind::Client,
        trace: Arc::clone(trace),
        id: attempted.span,
        parent: Some(trace.parent()),
        begun: ended.checked_sub(took).unwrap_or(ended),
        ended,
        attributes,
        failed,
    });
}
