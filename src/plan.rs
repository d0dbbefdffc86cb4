//! Which webhooks want an event, and why the others do not. Pure: the Snapshot and the event decide alone.

use std::sync::Arc;

use serde_json::Value;

use crate::config::Snapshot;
use crate::event::Tree;
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
pub fn plan<'s>(snapshot: &'s Snapshot, tree: &Tree<'_>) -> Plan<'s> {
    let mut plan = Plan::default();
    let event = tree.event();
    for webhook in snapshot.index.triggered(&event.kind, &event.event_type) {
        if !passes(webhook, tree) {
            plan.filtered.push(webhook);
        } else if webhook.status == Status::Shadow {
            plan.shadowed.push(webhook);
        } else {
            plan.wanted.push(webhook);
        }
    }
    plan
}

/// Whether an event passes all filters of a webhook that it has triggered.
#[must_use]
pub fn passes(webhook: &Webhook, tree: &Tree<'_>) -> bool {
    let all_hold = |payload: &Value| webhook.filters.iter().all(|filter| filter.holds(payload));
    // What has no filter is wanted unseen; the first filter parses the event for all.
    webhook.filters.is_empty() || tree.get().is_some_and(all_hold)
}

/// What keeps an event from a webhook, its status aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The webhook is for events of another kind; nothing else is asked then.
    Kind,
    /// The event's type is not among its triggers.
    Trigger,
    /// This filter does not hold, by its index.
    Filter(usize),
    /// The event is no JSON, as a damaged disk may give it back.
    Damaged,
}

impl Refusal {
    /// The cause in a sentence without a full stop.
    #[must_use]
    pub fn explain(self, webhook: &Webhook, tree: &Tree<'_>) -> String {
        match self {
            Self::Kind => format!("it is for events of kind {}", webhook.kind.name),
            Self::Trigger => {
                format!("the event type {} is not among its triggers ({})", tree.event().event_type, webhook.triggers)
            }
            Self::Filter(index) => {
                let filter = webhook.filters.get(index);
                let refusal = filter.zip(tree.get()).and_then(|(filter, payload)| filter.refusal(payload));
                refusal.unwrap_or_else(|| "a filter does not hold".to_owned())
            }
            Self::Damaged => "the event is not JSON".to_owned(),
        }
    }
}

/// All that keeps an event from a webhook; empty when the webhook wants it. Its status is not asked. What an event is parsed for, it is parsed
/// for once, however many webhooks are asked with its tree.
#[must_use]
pub fn refused_by(webhook: &Webhook, tree: &Tree<'_>) -> Vec<Refusal> {
    let event = tree.event();
    if webhook.kind.name != event.kind {
        return vec![Refusal::Kind];
    }
    let mut refusals = Vec::new();
    if !webhook.triggers.include(&event.event_type) {
        refusals.push(Refusal::Trigger);
    }
    match tree.get() {
        Some(payload) => {
            let failing = webhook.filters.iter().enumerate().filter(|(_, filter)| !filter.holds(payload));
            refusals.extend(failing.map(|(index, _)| Refusal::Filter(index)));
        }
        None => refusals.push(Refusal::Damaged),
    }
    refusals
}

/// Why a webhook does not want an event, one sentence a cause; empty when it does. Its status is not asked.
#[must_use]
pub fn refusals(webhook: &Webhook, tree: &Tree<'_>) -> Vec<String> {
    refused_by(webhook, tree).into_iter().map(|refusal| refusal.explain(webhook, tree)).collect()
}
