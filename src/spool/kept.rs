//! The words of finding: what events are named by, and what is kept of one.

use std::sync::Arc;

use jiff::Timestamp;

use crate::delivery::LastOutcome;
use crate::event::{Event, EventId};

use super::DeadLetter;

/// At most so many places of events are found by a text at once, the latest first.
pub const FOUND_MAX: usize = 20;
/// A text that is longer is found nowhere, in bytes.
pub const SOUGHT_BYTES_MAX: usize = 256;
/// Only so many of the latest events are looked through: 20 to 60 ms with a KiB each.
pub const FIND_EVENTS_MAX: u32 = 50_000;
/// And no more of them than this, in bytes.
pub const FIND_BYTES_MAX: u64 = 64 << 20;
/// An event that was appended again and again is found in so many places at most.
pub const FIND_PLACES_MAX: usize = 100;

/// What events are named by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Their id.
    Event(EventId),
    /// A text that stands in them as a whole JSON string, such as the name of an access request.
    Text(String),
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct KeptEvents {
    /// The events, each once, the latest first.
    pub events: Vec<Kept>,
    /// Whether all that is kept was looked through, or the bounds ended it before.
    pub complete: bool,
}

/// What is kept of one event.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The event, of the earliest of its places that is still there where it was appended again.
    pub event: Arc<Event>,
    /// The webhooks for which something is kept, in the order of their names.
    pub webhooks: Vec<KeptFor>,
}

/// What is kept of one delivery: it is pending or dead, or damage made it both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFor {
    /// The webhook that owes it, which perhaps no configuration names any more.
    pub webhook: Arc<str>,
    /// What is still to be made.
    pub pending: Option<KeptPending>,
    /// What was given up on.
    pub dead: Option<DeadLetter>,
}

/// A delivery that is still to be made, leased or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPending {
    /// Attempts made so far, of those that count.
    pub attempts: u32,
    /// Not before this; `None` is at once, or when the one before it in its lane has come to its end.
    pub due: Option<Timestamp>,
    /// What the last attempt came to, when there was one.
    pub last: Option<LastOutcome>,
}
