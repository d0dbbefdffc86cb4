//! What a message says of its delivery beside the payload: one header, as JSON.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::{LastOutcome, Reason};
use crate::event::{Event, EventId};
use crate::spool::{DeadLetter, at, ledger};
use crate::trace::Trace;

/// The header.
const HEADER: &str = "Outrigger-Delivery";

/// What a delivery is, and how far it has come. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) kind: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) received: i64,
    /// The trace that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<String>,
    /// When its age began to count, where that is not when it was taken in.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) since: i64,
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) attempts: u32,
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) failing: i64,
    /// When it is due again; 0 before the first attempt.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) due: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<String>,
    /// The message that this one took the place of, by its number in the stream.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) of: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) died: i64,
}

/// JSON as it stands in a header. It has no line breaks, which are all that a header may not have; and names of headers that the server
/// goes by are not spelled out in it, since it looks for them in the values of others, too.
pub(super) fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().replace("Nats-", "Nats\\u002d")
}

fn is_none<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

impl State {
    /// That of an event that was never attempted.
    pub(super) fn new(event: &Event) -> Self {
        Self {
            kind: event.kind.to_string(),
            event_type: event.event_type.to_string(),
            received: event.received_at.as_millisecond(),
            trace: event.trace().map(|trace| trace.written()),
            ..Self::default()
        }
    }

    /// The headers of a message.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, written(self).as_str());
        headers
    }

    /// Reads the headers of a message; `None` for what is no delivery, and for a mark that one is gone.
    pub(super) fn read(headers: Option<&HeaderMap>) -> Option<Self> {
        serde_json::from_str(headers?.get(HEADER)?.as_str()).ok()
    }

    /// The event.
    pub(super) fn event(&self, id: EventId, raw: Bytes) -> Event {
        Event::new(id, self.kind.as_str().into(), self.event_type.as_str().into(), at(self.received), raw)
            .in_trace(self.trace.as_deref().and_then(Trace::read).map(Arc::new))
    }

    /// When its age began to count.
    pub(super) fn age_from(&self) -> Timestamp {
        at(if self.since == 0 { self.received } else { self.since })
    }

    /// What the last attempt came to.
    pub(super) fn last(&self) -> Option<LastOutcome> {
        self.last.as_deref().and_then(ledger::read)
    }

    /// The dead letter of a message; `None` where it is none.
    pub(super) fn letter(&self, number: u64, event: EventId, webhook: &str) -> Option<DeadLetter> {
        // A spelling that this version does not know was written by a newer one.
        let reason = Reason::parse(self.reason.as_deref()?).unwrap_or(Reason::ClientError);
        Some(DeadLetter {
            number: i64::try_from(number).ok()?,
            event,
            kind: Arc::from(self.kind.as_str()),
            event_type: Arc::from(self.event_type.as_str()),
            received_at: at(self.received),
            webhook: webhook.into(),
            reason,
            last: self.last(),
            attempts: self.attempts,
            died_at: at(self.died),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_state_is_read_as_it_is_written_whatever_stands_in_it() {
        let id = EventId::new(Uuid::from_u128(7));
        let received_at = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
        let event = Event::new(id, "k".into(), "a\r\n\u{1}ü\"".into(), received_at, Bytes::from_static(b"{}"));
        let last =
            LastOutcome { reason: Reason::ServerError, status: Some(503), detail: "a\nb Nats-TTL Nats-TTL".to_owned() };
        let state = State {
            attempts: 3,
            due: 5,
            last: Some(ledger::written(&last)),
            of: 17,
            reason: Some("gone".to_owned()),
            died: 9,
            ..State::new(&event)
        };
        assert!(!state.headers().get(HEADER).unwrap().as_str().contains("Nats-"));
        let read = State::read(Some(&state.headers())).unwrap();
        assert_eq!(read, state);
        let again = read.event(id, event.raw.clone());
        assert_eq!((again.received_at, &again.event_type, &again.kind), (received_at, &event.event_type, &event.kind));
        assert_eq!((read.age_from(), read.last()), (received_at, Some(last)));
        let letter = read.letter(4, id, "a").unwrap();
        assert_eq!((letter.number, letter.reason, letter.attempts), (4, Reason::Gone, 3));
        assert_eq!(State::new(&event).letter(4, id, "a"), None);
        assert_eq!(State::read(Some(&HeaderMap::new())), None);
    }
}
