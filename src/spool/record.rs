//! Invocations that failed, as they are kept: what somebody on call reads after a restart, too.
//!
//! The spool knows of a record what it is looked for by, and holds the rest as a text that it does not read. A record is owed to nobody:
//! whatever stands in its way, it is left out, and its settlement is written all the same.

use std::sync::Arc;

use jiff::Timestamp;

use crate::delivery::Reason;
use crate::event::EventId;

/// A record whose text is longer is not kept, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 << 10;
/// An access request whose name is longer is not kept with its record, in bytes.
pub const RECORD_REQUEST_BYTES_MAX: usize = 256;
/// Records of one webhook that are kept, whatever [`Record::keep`] says.
pub const RECORDS_MAX: usize = 10_000;
/// At most so many invocations are listed at once.
pub const INVOCATIONS_MAX: usize = 500;

/// An invocation that failed, to be kept with the settlement of its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it ended, in microseconds since the epoch, and greater than [`super::Spool::last_invocation`]: what it is known by. One
    /// whose number is taken is not kept.
    pub number: u64,
    /// Why it failed.
    pub reason: Reason,
    /// The access request of its event.
    pub request: Option<String>,
    /// All that is told of it, without a secret; at most [`RECORD_BYTES_MAX`].
    pub text: Box<str>,
    /// Records of its webhook that are kept, this one among them; the oldest beyond go. Never more than [`RECORDS_MAX`].
    pub keep: usize,
}

/// A record that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// [`Record::number`].
    pub number: u64,
    /// The webhook, which perhaps no configuration names any more.
    pub webhook: Arc<str>,
    /// The event, which perhaps is not kept any more.
    pub event: EventId,
    /// Why it failed.
    pub reason: Reason,
    /// The access request of its event.
    pub request: Option<String>,
    /// [`Record::text`].
    pub text: String,
}

/// Which records to list; all conditions hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationQuery {
    /// At most this many, and never more than [`INVOCATIONS_MAX`].
    pub limit: usize,
    /// Only those of this webhook.
    pub webhook: Option<Arc<str>>,
    /// Only those that failed for this reason.
    pub reason: Option<Reason>,
    /// Only those of this event.
    pub event: Option<EventId>,
    /// Only those of this access request.
    pub request: Option<String>,
    /// Only those with a smaller number: the next page, or what ended before a time.
    pub behind: Option<u64>,
    /// Only those with a greater number: what is new since then.
    pub after: Option<u64>,
    /// Only those that ended at this time or later.
    pub since: Option<Timestamp>,
}

impl Default for InvocationQuery {
    /// The latest of all.
    fn default() -> Self {
        Self {
            limit: INVOCATIONS_MAX,
            webhook: None,
            reason: None,
            event: None,
            request: None,
            behind: None,
            after: None,
            since: None,
        }
    }
}

/// A part of the list of records, the latest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvocationPage {
    /// Those that were asked for; fewer than the limit, or none, is no sign of the end.
    pub invocations: Vec<Recorded>,
    /// What the next page is [`InvocationQuery::behind`]; `None` at the end of the list.
    pub next: Option<u64>,
}
