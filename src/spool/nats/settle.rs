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
use crate::event::Event;
use crate::spool::{Lease, Settlement, ledger};

/// Before a settlement that the server did not take is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// And at most, after many tries.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Writes a settlement, however long the server is away. Where its lease went to another meanwhile that one's counts, and this one is
/// nothing. The lease is held until then.
pub(super) async fn settle(shared: Arc<Shared>, lease: Lease, settlement: Settlement) {
    let (event, webhook) = (Arc::clone(&lease.event), Arc::clone(&lease.webhook));
    let claim = lease.settled();
    let Some(leased) = shared.held.get(claim.seq) else { return };
    write(&shared, &leased, &event, &webhook, settlement).await;
    shared.held.take(claim.seq);
}

async fn write(shared: &Shared, leased: &Leased, event: &Event, webhook: &Arc<str>, mut settlement: Settlement) {
    let record = settlement.take_record();
    let Some(before) = State::read(leased.headers.as_ref()) else { return };
    let Ok(info) = leased.info() else { return };
    let seq = info.stream_sequence;
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
            let due = shared.names.of(Place::Due, webhook, event.id);
            if until <= Timestamp::now() {
                // It takes the place of what is leased.
                Some(Message { subject: due, headers: state.headers(), payload: event.raw.clone() })
            } else {
                let mut headers = state.headers();
                headers.insert("Nats-Schedule", format!("@at {until}").as_str());
                headers.insert("Nats-Schedule-Target", due.as_str());
                let subject = shared.names.of(Place::Deferred, webhook, event.id);
                Some(Message { subject, headers, payload: event.raw.clone() })
            }
        }
        Settlement::Bury { reason, last, attempts, at, .. } => {
            let last = last.as_ref().map(ledger::written).or_else(|| before.last.clone());
            let died = at.as_millisecond();
            let state = State { attempts, last, of: seq, reason: Some(reason.as_str().to_owned()), died, ..before };
            let subject = shared.names.of(Place::Dead, webhook, event.id);
            let message = Message { subject, headers: state.headers(), payload: event.raw.clone() };
            Some(message.living(shared.dead_letter_retention))
        }
    };
    if let Some(message) = message {
        // Wherever else it is by now, it was settled since.
        let message = message.expecting(&shared.names.anywhere(webhook, event.id), seq);
        if !publish_until_taken(shared, webhook, message).await {
            return;
        }
    }
    if let Some(record) = record {
        // History that stands in a delivery's way is worth nothing: where it is not taken it is left out.
        let _ = publish(&shared.client, records::message(&shared.names, event.id, webhook, &record)).await;
    }
    end(shared, leased).await;
}

/// Waits before trying again; `false` when the spool is closed, and who comes next does it.
async fn again(shared: &Shared, tries: u32) -> bool {
    let wait = AGAIN_MAX.min(AGAIN.saturating_mul(1 << tries.min(10)));
    tokio::select! {
        () = shared.closed.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

/// Whether it was taken; `false` also where the lease is another's.
async fn publish_until_taken(shared: &Shared, webhook: &str, message: Message) -> bool {
    let (mut tries, mut perhaps) = (0, false);
    loop {
        let error = match publish(&shared.client, message.clone()).await {
            Ok(_) => return true,
            // What was taken before, its answer lost, is not taken twice.
            Err(Refused::Unexpected) => return perhaps,
            Err(Refused::Unanswered(error)) => {
                perhaps = true;
                error
            }
            Err(Refused::Away(error) | Refused::Failed(error)) => error,
        };
        if tries == 0 {
            tracing::warn!(webhook, %error, "a settlement is not taken by NATS: it is tried again");
        }
        if !again(shared, tries).await {
            return false;
        }
        tries += 1;
    }
}

/// Lets go of a message that was settled. Where the server does not hear of it, it is leased again, found to be settled, and let go of then.
async fn end(shared: &Shared, leased: &Leased) {
    let mut tries = 0;
    while let Err(error) = leased.double_ack().await {
        tracing::debug!(%error, "spool.away");
        if !again(shared, tries).await {
            return;
        }
        tries += 1;
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
