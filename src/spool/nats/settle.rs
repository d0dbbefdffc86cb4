//! Settlements: what becomes of a delivery is published on the condition that it is still leased as it was, and then its message goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::client::RequestErrorKind;
use async_nats::jetstream::Message as Leased;
use jiff::Timestamp;

use super::Shared;
use super::append::{Message, Refused, publish};
use super::names::Place;
use super::records;
use super::state::State;
use crate::event::{Event, EventId};
use crate::spool::{Lease, Settlement, SpoolError, ledger};

/// What says that a message is done with.
const ACK: &str = "+ACK";
/// Before a settlement that the server did not take is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// And at most, after many tries.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Lets go of a lease when its settlement ends, however it does.
struct Held<'s>(&'s Shared, i64);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.take(self.1);
    }
}

/// Writes a settlement, however long the server is away. Where its lease went to another meanwhile that one's counts, and this one is
/// nothing. The lease is held until then.
pub(super) async fn settle(shared: Arc<Shared>, lease: Lease, settlement: Settlement) {
    let (event, webhook) = (Arc::clone(&lease.event), Arc::clone(&lease.webhook));
    let claim = lease.settled();
    let Some(leased) = shared.held.get(claim.seq) else { return };
    let held = Held(&shared, claim.seq);
    write(&shared, &leased, &event, &webhook, settlement).await;
    drop(held);
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
        match publish_until_taken(shared, webhook, event.id, seq, message).await {
            Taken::Yes => {}
            Taken::Another => {
                end(shared, leased).await;
                return;
            }
            Taken::Unknown => return,
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

/// What became of a settlement.
enum Taken {
    /// It counts.
    Yes,
    /// The delivery was settled by another who held it.
    Another,
    /// Whoever leases it next finds out.
    Unknown,
}

async fn publish_until_taken(shared: &Shared, webhook: &str, event: EventId, seq: u64, message: Message) -> Taken {
    let (mut tries, mut perhaps) = (0, false);
    loop {
        let error = match publish(&shared.client, message.clone()).await {
            Ok(_) => return Taken::Yes,
            // Nothing is let go of before it is seen that something took its place: this settlement, its answer lost, or another's.
            Err(Refused::Unexpected) => match is_settled(shared, webhook, event, seq).await {
                Ok(true) if perhaps => return Taken::Yes,
                Ok(true) => return Taken::Another,
                Ok(false) => return Taken::Unknown,
                Err(error) => error.to_string(),
            },
            Err(Refused::Unanswered(error)) => {
                perhaps = true;
                error
            }
            Err(error) => error.to_string(),
        };
        if tries == 0 {
            tracing::warn!(webhook, %error, note = "a settlement is not taken by NATS: it is tried again", "spool.settlement_refused");
        }
        if !again(shared, tries).await {
            return Taken::Unknown;
        }
        tries += 1;
    }
}

/// Whether something took the place of a message of a delivery since it was published: deferrals, dead letters and replays are later in the
/// stream.
pub(super) async fn is_settled(shared: &Shared, webhook: &str, event: EventId, seq: u64) -> Result<bool, SpoolError> {
    let stored = shared.stored_at(&[shared.names.anywhere(webhook, event)]).await?;
    Ok(stored.iter().any(|one| one.seq > seq && State::read(Some(&one.headers)).is_some()))
}

/// Lets go of a message that was settled. Where the server does not hear of it, it is leased again, found to be settled, and let go of then.
async fn end(shared: &Shared, leased: &Leased) {
    let Some(reply) = leased.reply.clone() else { return };
    let (mut tries, mut nobody) = (0, None);
    loop {
        let error = if shared.is_connected() {
            // An answer that nobody is there to hear it is an error here.
            match shared.client.request(reply.clone(), ACK.into()).await {
                Ok(_) => return,
                Err(error) => {
                    if error.kind() == RequestErrorKind::NoResponders {
                        // Its consumer is being moved, or was taken away by somebody.
                        let since = *nobody.get_or_insert_with(Instant::now);
                        if since.elapsed() > shared.ack_wait {
                            return;
                        }
                    }
                    error.to_string()
                }
            }
        } else {
            "not connected".to_owned()
        };
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
