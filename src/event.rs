//! What the access service posted: one [`Event`], immutable and shared by everything that handles it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

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
///
/// It carries its text and not its tree: a tree takes six times the room, and most events wait longer than they are looked
/// at. Whoever looks parses, and [`Event::keep_parsed`] keeps the tree where several will look.
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
    /// The bytes that came in for this event: a JSON object.
    pub raw: Bytes,
    parsed: OnceLock<Value>,
}

/// What a kept tree takes of memory, for each byte of text, roughly.
const TREE_FACTOR: usize = 6;

impl Event {
    /// An event from its parts. `raw` is a JSON object, which `kind::decode` has seen to.
    #[must_use]
    pub fn new(id: EventId, kind: Arc<str>, event_type: Arc<str>, received_at: Timestamp, raw: Bytes) -> Self {
        Self { id, kind, event_type, received_at, raw, parsed: OnceLock::new() }
    }

    /// The tree, where it is kept.
    #[must_use]
    pub fn parsed(&self) -> Option<&Value> {
        self.parsed.get()
    }

    /// The payload as a tree; numbers keep the digits that came in. Only what a damaged disk gave back is no JSON.
    pub fn payload(&self) -> Result<Cow<'_, Value>, serde_json::Error> {
        match self.parsed.get() {
            Some(parsed) => Ok(Cow::Borrowed(parsed)),
            None => serde_json::from_slice(&self.raw).map(Cow::Owned),
        }
    }

    /// What the payload takes of memory, roughly: its text, and its tree where that is kept.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.raw.len() * if self.parsed.get().is_some() { 1 + TREE_FACTOR } else { 1 }
    }

    /// Parses the payload now and keeps it with the event, for all who look later. That is done before it is appended.
    pub fn keep_parsed(&self) -> Result<&Value, serde_json::Error> {
        if let Some(parsed) = self.parsed.get() {
            return Ok(parsed);
        }
        let parsed = serde_json::from_slice(&self.raw)?;
        Ok(self.parsed.get_or_init(|| parsed))
    }
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
