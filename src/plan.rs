//! Which webhooks want an event, and why the others do not. Pure: the Snapshot and the event decide alone.

use std::sync::Arc;

use serde_json::Value;

use crate::config::Snapshot;
use crate::event::Event;
use crate::webhook::{Status, Webhook};

/// Who wants an event.
#[derive(Debug, Default)]
pub struct Plan<'s> {
    /// Active webhooks whose trigger and filters fit: each owes a delivery.
    pub wanted: Vec<&'s Arc<Webhook>>,
    /// Shadow webhooks whose trigger and filters fit: rendered and recorded, never sent.
    pub shadowed: Vec<&'s Arc<Webhook>>,
    /// Webhooks whose trigger fits and that a filter keeps out.
    pub filtered: Vec<&'s Arc<Webhook>>,
}

/// Plans one event. The cost grows with the webhooks of the event's kind and type, not with all.
#[must_use]
pub fn plan<'s>(snapshot: &'s Snapshot, event: &Event) -> Plan<'s> {
    let mut plan = Plan::default();
    for webhook in snapshot.index.triggered(&event.kind, &event.event_type) {
        let passes = |payload: &Value| webhook.filters.iter().all(|filter| filter.holds(payload));
        // What has no filter is wanted unseen; the first filter parses the event for all.
        if !webhook.filters.is_empty() && !event.keep_parsed().is_ok_and(passes) {
            plan.filtered.push(webhook);
        } else if webhook.status == Status::Shadow {
            plan.shadowed.push(webhook);
        } else {
            plan.wanted.push(webhook);
        }
    }
    plan
}

/// Why a webhook does not want an event, one sentence a cause; empty when it does. Its status is not asked.
#[must_use]
pub fn refusals(webhook: &Webhook, event: &Event) -> Vec<String> {
    if webhook.kind.name != event.kind {
        return vec![format!("it is for events of kind {}", webhook.kind.name)];
    }
    let mut refusals = Vec::new();
    if !webhook.triggers.include(&event.event_type) {
        refusals.push(format!("the event type {} is not among its triggers ({})", event.event_type, webhook.triggers));
    }
    match event.payload() {
        Ok(payload) => refusals.extend(webhook.filters.iter().filter_map(|filter| filter.refusal(&payload))),
        Err(error) => refusals.push(format!("the event is not JSON: {error}")),
    }
    refusals
}
