//! What the access service posted: one [`Event`], immutable and shared by everything that handles it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

/// The identity of an event: a UUID version 7, so ids sort by the time of arrival.
///
/// Written `evt_` and 32 hexadecimal digits. It holds no `.`, as Standard Webhooks 1.0.0 asks of an id that is signed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    /// An id from its UUID; whoever calls owns the clock and the randomness behind it.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Reads what `Display` writes. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text.strip_prefix("evt_")?).ok().map(Self)
    }

    /// The sixteen bytes that a spool stores.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id of sixteen stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evt_{}", self.0.as_simple())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One event: what was posted and what it was taken for.
#[derive(Clone)]
pub struct Event {
    /// Its identity, ours and not the sender's.
    pub id: EventId,
    /// The name of its kind, as in `POST /v1/events/{kind}`.
    pub kind: Arc<str>,
    /// The event type in the kind's own spelling (`RequestCreated`, also where `AccessRequestCreated` came in), or
    /// `Manual` for an invocation by name.
    pub event_type: Arc<str>,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// The parsed payload: always a JSON object. Numbers keep the digits that came in.
    pub payload: Value,
    /// The bytes that came in for this event, valid JSON.
    pub raw: Bytes,
}

impl fmt::Debug for Event {
    /// The payload is left out: it belongs to people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("event_type", &self.event_type)
            .field("received_at", &self.received_at)
            .field("payload_bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = EventId::new(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string(), "evt_01930000000070008000000000000001");
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        assert_eq!(EventId::from_bytes(*id.as_bytes()), id);
        assert_eq!(EventId::parse("01930000000070008000000000000001"), None);
    }
}
