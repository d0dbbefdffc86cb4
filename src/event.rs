//! What the access service posted: one [`Event`], immutable and shared by everything that handles it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::trace::{Trace, TraceId};

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
/// It carries its text and not its tree: a tree takes six times the room, or fifty times where somebody means harm, and most
/// events wait longer than they are looked at. Whoever looks parses, and [`Event::keep_parsed`] keeps the tree where several will
/// look, as long as the trees of all events leave room for it.
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
    /// The trace that it came with. Events of one request share it.
    trace: Option<Arc<Trace>>,
    parsed: OnceLock<Arc<Kept>>,
}

/// How much memory the trees may take together that are kept with their events.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much they take. What is kept decides how often an event is parsed, and nothing else.
static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A tree that is kept with its event.
struct Kept {
    tree: Value,
    bytes: usize,
}

impl Kept {
    /// Keeps a tree; it comes back where there is no room for it.
    fn new(tree: Value) -> Result<Self, Value> {
        let bytes = size_of::<Value>() + below(&tree);
        if KEPT_BYTES.fetch_add(bytes, Relaxed).saturating_add(bytes) > KEPT_BYTES_MAX {
            KEPT_BYTES.fetch_sub(bytes, Relaxed);
            return Err(tree);
        }
        Ok(Self { tree, bytes })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT_BYTES.fetch_sub(self.bytes, Relaxed);
    }
}

/// What an allocation takes beside what is stored in it, in bytes.
const ALLOCATION_BYTES: usize = 16;
/// What a member of an object takes beside its name's letters and its value, in bytes.
const MEMBER_BYTES: usize = size_of::<String>() + 2 * size_of::<usize>() + ALLOCATION_BYTES;

/// What a value takes of memory beside its own place, roughly. It recurses as deep as its parser did.
fn below(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => ALLOCATION_BYTES + number.as_str().len(),
        Value::String(text) => ALLOCATION_BYTES + text.len(),
        Value::Array(list) => {
            let elements: usize = list.iter().map(below).sum();
            ALLOCATION_BYTES + list.capacity() * size_of::<Value>() + elements
        }
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| MEMBER_BYTES + name.len() + size_of::<Value>() + below(value);
            ALLOCATION_BYTES + members.iter().map(member).sum::<usize>()
        }
    }
}

/// An event's tree, made when it is first asked for, and kept as long as somebody asks.
pub struct Tree<'e> {
    event: &'e Event,
    made: OnceCell<Option<Cow<'e, Value>>>,
}

impl<'e> Tree<'e> {
    /// Whose it is.
    #[must_use]
    pub const fn event(&self) -> &'e Event {
        self.event
    }

    /// The tree. Only what a damaged disk gave back has none.
    #[must_use]
    pub fn get(&self) -> Option<&Value> {
        self.made.get_or_init(|| self.event.keep_parsed().ok()).as_deref()
    }

    /// The same, where it is there already.
    #[must_use]
    pub fn made(&self) -> Option<&Value> {
        self.made.get().and_then(Option::as_deref).or_else(|| self.event.parsed())
    }
}

impl Event {
    /// An event from its parts. `raw` is a JSON object, which `kind::decode` has seen to.
    #[must_use]
    pub fn new(id: EventId, kind: Arc<str>, event_type: Arc<str>, received_at: Timestamp, raw: Bytes) -> Self {
        Self { id, kind, event_type, received_at, raw, trace: None, parsed: OnceLock::new() }
    }

    /// The same event in the trace that it came with.
    #[must_use]
    pub fn in_trace(self, trace: Option<Arc<Trace>>) -> Self {
        Self { trace, ..self }
    }

    /// The trace that it came with.
    #[must_use]
    pub const fn trace(&self) -> Option<&Arc<Trace>> {
        self.trace.as_ref()
    }

    /// The identity of its trace: of that which it came with, or of the one that begins with it.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace.as_ref().map_or_else(|| TraceId::of(self.id.as_bytes()), |trace| trace.id())
    }

    /// The same event without its tree: what keeps it for long keeps its text alone.
    #[must_use]
    pub fn without_tree(&self) -> Self {
        let Self { id, received_at, .. } = *self;
        Self::new(id, Arc::clone(&self.kind), Arc::clone(&self.event_type), received_at, self.raw.clone())
            .in_trace(self.trace.clone())
    }

    /// The tree, where it is kept.
    #[must_use]
    pub fn parsed(&self) -> Option<&Value> {
        self.parsed.get().map(|kept| &kept.tree)
    }

    /// Its tree, for as long as it is asked about.
    #[must_use]
    pub const fn tree(&self) -> Tree<'_> {
        Tree { event: self, made: OnceCell::new() }
    }

    /// The payload as a tree; numbers keep the digits that came in. Only what a damaged disk gave back is no JSON.
    pub fn payload(&self) -> Result<Cow<'_, Value>, serde_json::Error> {
        match self.parsed() {
            Some(parsed) => Ok(Cow::Borrowed(parsed)),
            None => serde_json::from_slice(&self.raw).map(Cow::Owned),
        }
    }

    /// What the payload takes of memory, roughly: its text, and its tree where that is kept; and its trace.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.raw.len() + self.parsed.get().map_or(0, |kept| kept.bytes) + self.trace_bytes()
    }

    /// What its trace takes, roughly, in memory as in a spool.
    #[must_use]
    pub fn trace_bytes(&self) -> usize {
        self.trace.as_ref().map_or(0, |trace| trace.memory_bytes())
    }

    /// Parses the payload now and keeps it with the event, for all who look later, where there is room for it. That is done before
    /// it is appended.
    pub fn keep_parsed(&self) -> Result<Cow<'_, Value>, serde_json::Error> {
        if let Some(parsed) = self.parsed() {
            return Ok(Cow::Borrowed(parsed));
        }
        Ok(match Kept::new(serde_json::from_slice(&self.raw)?) {
            Ok(kept) => Cow::Borrowed(&self.parsed.get_or_init(|| Arc::new(kept)).tree),
            Err(tree) => Cow::Owned(tree),
        })
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
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn event(raw: impl Into<Bytes>) -> Event {
        Event::new(EventId::from_bytes([1; 16]), "k".into(), "T".into(), Timestamp::UNIX_EPOCH, raw.into())
    }

    #[test]
    fn a_tree_is_kept_where_there_is_room_and_weighs_what_it_takes() {
        let small = event(r#"{"a":[1,"x",{}]}"#);
        assert!(small.parsed().is_none() && small.memory_bytes() == small.raw.len());
        assert!(matches!(small.keep_parsed().unwrap(), Cow::Borrowed(_)));
        assert!(small.parsed().is_some() && small.memory_bytes() > small.raw.len() + 4 * size_of::<Value>());
        let copy = small.clone();
        drop(small);
        assert_eq!(copy.parsed(), copy.payload().ok().as_deref());

        // Fifty times its text, and more than there is room for.
        let large = event(format!("{{\"a\":[{}0]}}", "0,".repeat(300_000)));
        assert!(matches!(large.keep_parsed().unwrap(), Cow::Owned(_)));
        assert!(large.parsed().is_none() && large.memory_bytes() == large.raw.len());
        let tree = large.tree();
        assert!(tree.made().is_none());
        let first = tree.get().map(std::ptr::from_ref);
        assert!(first.is_some() && tree.get().map(std::ptr::from_ref) == first, "it is made once");
        assert!(tree.made().is_some() && tree.event().id == large.id);
        assert!(event("x").tree().get().is_none());
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = EventId::new(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string(), "evt_01930000000070008000000000000001");
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        assert_eq!(EventId::from_bytes(*id.as_bytes()), id);
        assert_eq!(EventId::parse("01930000000070008000000000000001"), None);
    }
}
