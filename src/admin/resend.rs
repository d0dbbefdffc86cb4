//! Resending: a delivery that was made, or given up on, is made once more under its id, while its event is kept.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::admin::filter::{Store, nonsense, unavailable};
use crate::admin::invocations::{forgotten, parse_id};
use crate::delivery::{delivery_id, parse_delivery_id};
use crate::event::{Event, EventId};
use crate::history::{History, view};
use crate::live::Live;
use crate::server::problem::Problem;
use crate::spool::{Batch, Owed, Sought};
use crate::webhook::Status;

/// Makes the delivery of an invocation pending: `{"resent": true, "delivery_id"}`.
pub(super) async fn resend(store: &Store<'_>, live: &Live, history: &History, text: &str) -> Result<Value, Problem> {
    let id = parse_id(text).map_err(|possible| nonsense("id", text, possible))?;
    let (event, webhook, kept) = match history.find(id) {
        Some(one) if one.test => {
            return Err(refused("it was a test and belongs to no delivery: test the webhook again"));
        }
        Some(one) => {
            let kept = Some(one.event.clone()).filter(|_| !one.payload_dropped);
            (one.event.id, Arc::clone(&one.webhook.name), kept)
        }
        None => {
            let record =
                store.spool.invocation(id.0).await.map_err(|error| unavailable(&error))?.ok_or_else(forgotten)?;
            let id =
                view::stored_summary(&record.text).and_then(|line| line["delivery_id"].as_str().map(str::to_owned));
            let named = id.as_deref().and_then(parse_delivery_id).map(|(event, webhook)| (event, Arc::from(webhook)));
            let (event, webhook) = named.ok_or_else(forgotten)?;
            (event, webhook, None)
        }
    };
    match live.snapshot.webhooks.get(&webhook).map(|webhook| webhook.status) {
        Some(Status::Active) => {}
        Some(Status::Inactive) => {
            return Err(refused("the webhook is inactive: set status = \"active\" in its file"));
        }
        Some(Status::Shadow) => return Err(refused("the webhook is in shadow, which never sends")),
        None => return Err(refused("the configuration in force has no webhook of this name")),
    }
    again(store, history, event, &webhook, kept).await?;
    Ok(json!({ "resent": true, "delivery_id": delivery_id(event, &webhook) }))
}

/// Replays the dead letter, or appends the event again where there is none. A delivery that is pending is made anyway. Whoever calls sees
/// to it that nobody else does meanwhile.
async fn again(
    store: &Store<'_>,
    history: &History,
    id: EventId,
    webhook: &Arc<str>,
    kept: Option<Event>,
) -> Result<(), Problem> {
    let found = store.spool.find(Sought::Event(id)).await.map_err(|error| unavailable(&error))?;
    let of_webhook = found.events.iter().flat_map(|found| &found.webhooks).find(|kept| kept.webhook == *webhook);
    if of_webhook.is_some_and(|delivery| delivery.pending.is_some()) {
        return Err(refused("it is pending: it is attempted by itself, or once its webhook's pause ends"));
    }
    if let Some(letter) = of_webhook.and_then(|delivery| delivery.dead.as_ref()) {
        let replayed = store.spool.replay(vec![letter.number]).await.map_err(|error| unavailable(&error))?;
        // Somebody replays or drops dead letters at the same time.
        return if replayed > 0 { Ok(()) } else { Err(refused("it was a dead letter until just now: look again")) };
    }
    if !found.complete {
        return Err(refused(
            "so much is in store that not all could be looked through: it may be pending, and is attempted then by itself",
        ));
    }
    let remembered = || history.events(1, |taken| taken.event.id == id).pop().map(|taken| taken.event.clone());
    let stored = || found.events.first().map(|found| found.event.without_tree());
    let Some(event) = kept.or_else(remembered).or_else(stored) else {
        return Err(refused("its event is not kept any more: post it again"));
    };
    // Its age counts from now, as that of a replayed one does.
    let trace = event.trace().cloned();
    let event = Event::new(event.id, event.kind, event.event_type, store.now, event.raw).in_trace(trace);
    let owed = vec![Owed { webhook: Arc::clone(webhook), lane: None }];
    let batch = Batch { events: vec![(Arc::new(event), owed)], key: None };
    store.spool.append(batch).await.map(drop).map_err(|error| unavailable(&error))
}

fn refused(why: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, why)
}
