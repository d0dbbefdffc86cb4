//! Settlements: what becomes of a delivery is published on the condition that it is still leased as it was, and then its message goes.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message as Leased;
use jiff::Timestamp;

use super::Shared;
use super::append::{Message, Refused, publish};
use super::names::Place;
use super::records;
use super::state::State;
use crate::spool::{Lease, Settlement, ledger};

/// Before a settlement that the server did not take is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// It is not tried for longer than its lease may hold.
const AGAIN_MAX: u32 = 60;

/// Writes a settlement. Where its lease went to another meanwhile that one's counts, and this one is nothing.
pub(super) async fn settle(shared: Arc<Shared>, lease: Lease, mut settlement: Settlement) {
    let record = settlement.take_record();
    let (event, webhook) = (Arc::clone(&lease.event), Arc::clone(&lease.webhook));
    let claim = lease.settled();
    let Some(leased) = shared.held.take(claim.seq) else { return };
    let Some(before) = State::read(leased.headers.as_ref()) else { return };
    let seq = u64::try_from(claim.seq).unwrap_or_default();
    let message = match settlement {
        Settlement::Delivered => None,
        Settlement::Defer { until, attempts, failing_since, last, .. } => {
            let state = State {
                attempts,
                failing: failing_since.map_or(0, Timestamp::as_millisecond),
                due: until.as_millisecond().max(1),
                last: Some(ledger::written(&last)),
                of: seq,
                ..before
            };
            let due = shared.names.of(Place::Due, &webhook, event.id);
            if until <= Timestamp::now() {
                // It takes the place of what is leased.
                Some(Message { subject: due, headers: state.headers(), payload: event.raw.clone() })
            } else {
                let mut headers = state.headers();
                headers.insert("Nats-Schedule", format!("@at {until}").as_str());
                headers.insert("Nats-Schedule-Target", due.as_str());
                let subject = shared.names.of(Place::Deferred, &webhook, event.id);
                Some(Message { subject, headers, payload: event.raw.clone() })
            }
        }
        Settlement::Bury { reason, last, attempts, at, .. } => {
            let last = last.as_ref().map(ledger::written).or_else(|| before.last.clone());
            let died = at.as_millisecond();
            let state = State { attempts, last, of: seq, reason: Some(reason.as_str().to_owned()), died, ..before };
            let subject = shared.names.of(Place::Dead, &webhook, event.id);
            let message = Message { subject, headers: state.headers(), payload: event.raw.clone() };
            Some(message.living(shared.dead_letter_retention))
        }
    };
    if let Some(message) = message {
        let message = message.expecting(&leased.subject, seq);
        if !publish_until_taken(&shared, message).await {
            return;
        }
    }
    if let Some(record) = record {
        // History that stands in a delivery's way is worth nothing: where it is not taken it is left out.
        let _ = publish(&shared.client, records::message(&shared.names, event.id, &webhook, &record)).await;
    }
    end(&leased).await;
}

/// Whether it was taken; `false` also where the lease is another's.
async fn publish_until_taken(shared: &Shared, message: Message) -> bool {
    for _ in 0..AGAIN_MAX {
        match publish(&shared.client, message.clone()).await {
            Ok(_) => return true,
            Err(Refused::Unexpected) => return false,
            Err(Refused::Failed(error)) => {
                tracing::debug!(%error, "spool.away");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    false
}

/// Lets go of a message that was settled. Where the server does not hear of it, it is leased again, found to be settled, and let go of then.
async fn end(leased: &Leased) {
    if let Err(error) = leased.double_ack().await {
        tracing::debug!(%error, "spool.away");
    }
}

/// On a mark that what was there is gone.
const GONE: &str = "Outrigger-Gone";

/// The mark that what was at a subject is gone. It goes by itself.
pub(super) fn gone(subject: String) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert(GONE, "1");
    Message { subject, headers, payload: bytes::Bytes::new() }.living(Duration::from_secs(1))
}

/// Whether a message is such a mark.
pub(super) fn is_gone(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(GONE).is_some())
}
