//! The spool: the durable queue, and the only hand-off between ingest and delivery.
//!
//! Its queue holds events and which webhooks still owe a delivery, never a rendered request; beside it lie records of failed
//! invocations, whose text is masked by whoever makes it: no secret is ever in it. A delivery is
//! one event for one webhook. It is *pending* from the commit of its append until it is settled as delivered or becomes a
//! *dead letter*; there is no third way out. While somebody holds its [`Lease`] nobody else is given it.
//!
//! # Contract
//!
//! - [`Spool::append`] takes all of a batch or none, and what it took is durable before it resolves. It answers
//!   [`SpoolError::Full`] or [`SpoolError::Unavailable`] without having kept anything, and takes batches again, without a
//!   restart, once there is room. An append whose future is dropped may have happened or not. It waits while more is being
//!   appended than the writer keeps up with, and up to 10 ms for webhooks whose fast deliveries it outruns.
//! - [`Spool::lease`] hands out what is due: first what was given back, else roughly in the order of arrival and of due
//!   times. It may wait for ever; an empty answer means that the spool is closed. Any number of callers may wait on one
//!   webhook. A delivery is leased once at a time.
//! - The deliveries of one [`Lane`] are leased one after the other in the order of their appends: the next when the one before
//!   was delivered, became a dead letter, or left the lane ([`Settlement::Defer`] with `passed`). The order holds over
//!   deferrals and openings. What is replayed stands outside.
//! - A batch with a [`Key`] is kept once within the key's window, at most a million keys are known, in an eighth of the limit
//!   of bytes; the oldest are forgotten first.
//!   A repeat is known by a full spool, too.
//! - Dropping a [`Lease`], also by a panic, gives the delivery back to the front of its queue.
//! - [`Spool::settle`] consumes the lease, so settling twice does not compile. It resolves when the settlement is queued.
//!   The settlements of one delivery are written in their order; one that cannot be written is kept and tried again, and
//!   `settle` waits while too many are kept.
//! - A [`Record`] is durable with its settlement and is there without it never. It changes neither order nor counters, and what stands in its
//!   way (too long, a number that is taken, no room) costs the record and not the settlement. For each webhook the latest are kept, of all
//!   together an eighth of the limit of bytes; they go when they are older than dead letters are kept. They need no event and keep none.
//! - [`Spool::find`] looks at bounded many events, so that nothing waits long for it.
//! - A due time is wall-clock time; a clock that is set back or forward makes deliveries late or early, never lost.
//! - Memory is bounded by named limits and does not grow with the backlog.
//! - Counters are kept, never counted: opening and [`Spool::backlog`] take no longer with a million pending deliveries.
//! - [`Spool::close`] commits what is queued. What is leased then stays pending and comes back with the next opening.
//!
//! # What a crash leaves
//!
//! A crash is the end of the process at any instruction (`kill -9`). A panic in a thread of the spool is made one. What a
//! loss of power leaves is for `SQLite`'s `synchronous=FULL` and the disk to promise.
//!
//! | the crash comes | after opening again |
//! |---|---|
//! | in `append`, before the commit | nothing of the batch is there, and nobody was told that it is |
//! | in `append`, after the commit | all of the batch is pending, though perhaps nobody was told |
//! | while a delivery is leased | it is pending with the attempts of its last settlement |
//! | after `settle(Delivered)`, before its commit | it is pending: delivered once more under the same delivery id |
//! | after `settle(Delivered)`, after its commit | it is gone, and its event too once no other webhook needs it |
//! | after `settle(Defer)`, before its commit | it is pending as it was: due at once or at its former time |
//! | after `settle(Defer)`, after its commit | it is pending and due at `until` |
//! | after `settle(Bury)`, before its commit | it is pending |
//! | after `settle(Bury)`, after its commit | it is a dead letter |
//! | in `bury` | some of the deliveries are dead letters, the others are pending; calling it again goes on |
//! | in `replay` or `drop_dead_letters` | all of the letters named were replayed or dropped, or none |
//! | while old dead letters are dropped | some are gone, the others go later |
//! | while opening | opening again starts afresh: the schema is made in one transaction, and what is in the journal is taken over in one |
//! | while closing | as without closing |
//! | while a group of the journal is written | it is there as a whole or not at all, and nobody was told that it is |
//! | while the journal goes to the database | all of it is in one of them: the transaction that takes it over also says up to which group |
//! | after that, before the journal begins again | its groups are known to be in the database, and are passed over |
//!
//! A commit is one group of the journal (`journal`), which is one write and one `fdatasync`, or one `SQLite` transaction. In either the
//! counters, the event, its deliveries, its dead letters and its records change together. In the journal are appends without a key, and
//! deliveries made of what is in the journal; everything else goes to `SQLite`, and with it, in the same transaction, all that is in the
//! journal. What is delivered before that never comes there. Who reads the database has the journal taken over first.
//!
//! A journal that cannot be written costs speed and nothing else: what it would have taken goes to `SQLite`. What `SQLite` cannot take
//! stays in the journal. After a transaction that failed the journal takes nothing until another one has succeeded, since a crash may find
//! that the failed one is there.
//!
//! # In NATS
//!
//! [`nats`] keeps the same contract over several processes, but for this:
//!
//! - A commit is the acknowledgement of a replicated stream, of one message or of one atomic batch. [`SpoolError::TooLarge`] is answered to
//!   what does not fit into a message or a batch.
//! - An append waits some seconds for servers that are away. Where its answer was lost for longer than that, it answers
//!   [`SpoolError::Nats`] although it may be kept; and where it was kept, delivered and gone before it was tried again, it is there twice under
//!   the same ids.
//! - There are no lanes: the configuration refuses an order. Deliveries come roughly in the order of their appends.
//! - A lease is one process's for as long as it says so; half a minute after its last word the delivery is another's. Of two settlements of
//!   one lease the first counts.
//! - A record is kept after its settlement, and may be missing.
//! - [`Spool::replay`] and [`Spool::drop_dead_letters`] do all or none of as much as one batch holds.
//! - Counters are asked of the server twice a second and lag; the age of the oldest is that of the first in the stream.

#[cfg(test)]
mod bounds;
mod column;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash;
mod disk;
mod find;
#[cfg(test)]
mod history;
mod inbox;
mod journal;
#[cfg(test)]
mod journaled;
mod kept;
mod keys;
mod ledger;
#[cfg(test)]
mod letters;
mod lock;
#[cfg(test)]
mod model;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(test)]
mod order;
mod queue;
mod reader;
mod record;
mod records;
mod recover;
mod replay;
mod schema;
mod stored;
#[cfg(test)]
mod suite;
mod writer;
mod young;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::delivery::{Lane, LastOutcome, Reason};
use crate::event::{Event, EventId};

pub use disk::{DiskSpool, Found, OpenError, Options};
pub use kept::{
    FIND_BYTES_MAX, FIND_EVENTS_MAX, FIND_PLACES_MAX, FOUND_MAX, Kept, KeptEvents, KeptFor, KeptPending,
    SOUGHT_BYTES_MAX, Sought,
};
pub use record::{INVOCATIONS_MAX, InvocationPage, InvocationQuery, Record, Recorded};
pub use record::{RECORD_BYTES_MAX, RECORD_REQUEST_BYTES_MAX, RECORDS_MAX};
pub use recover::{Recovered, recover};
pub use schema::is_spool;

/// A future that a trait object can return.
pub type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a sender should wait before it tries a full spool again.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(30);

/// What a sender should wait before it tries a spool again that cannot write or is closing.
const RETRY_AFTER_UNAVAILABLE: Duration = Duration::from_secs(5);

/// The durable queue. The module's documentation is its contract.
pub trait Spool: Send + Sync + 'static {
    /// Keeps all of a batch, durably, or nothing of it. With a key that is known nothing is kept.
    fn append(&self, batch: Batch) -> Wait<'_, Result<Appended, SpoolError>>;

    /// Waits until at least one delivery of the webhook is due, then leases up to `max` of them. Resolves with nothing
    /// only when the spool is closed or `max` is 0.
    fn lease<'a>(&'a self, webhook: &'a Arc<str>, max: usize) -> Wait<'a, Vec<Lease>>;

    /// Ends a lease. Resolves when the settlement is queued, not when it is committed; dropped before that, the lease is
    /// given back. On a closed spool nothing is written: the delivery comes back with the next opening.
    fn settle(&self, lease: Lease, settlement: Settlement) -> Wait<'_, ()>;

    /// The kept counters of every webhook that was ever named to this spool and of those that it found with something in
    /// store, in the order of their names.
    fn backlog(&self) -> Vec<Backlog>;

    /// Makes dead letters of a webhook's pending deliveries that are not leased, in bounded steps, and says how many: of all,
    /// or of those alone whose age counts from before a time. What is appended or given back meanwhile may stay pending: it ends however
    /// much that is.
    fn bury(
        &self,
        webhook: &Arc<str>,
        reason: Reason,
        older_than: Option<Timestamp>,
    ) -> Wait<'_, Result<u64, SpoolError>>;

    /// A page of dead letters.
    fn dead_letters(&self, query: DeadLetterQuery) -> Wait<'_, Result<DeadLetterPage, SpoolError>>;

    /// One dead letter with the payload of its event.
    fn dead_letter(&self, event: EventId, webhook: &str) -> Wait<'_, Result<Option<(DeadLetter, Bytes)>, SpoolError>>;

    /// Makes pending deliveries of dead letters, named by [`DeadLetter::number`]; at most [`DEAD_LETTERS_MAX`] at once. They are
    /// due at once, have no attempts, their age counts from now and they stand outside every lane. How many there were.
    fn replay(&self, numbers: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>>;

    /// Forgets dead letters, named by [`DeadLetter::number`]; at most [`DEAD_LETTERS_MAX`] at once. How many there were.
    fn drop_dead_letters(&self, numbers: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>>;

    /// A page of the invocations that were kept with their settlements, the latest first.
    fn invocations(&self, query: InvocationQuery) -> Wait<'_, Result<InvocationPage, SpoolError>>;

    /// One of them, by its [`Record::number`].
    fn invocation(&self, number: u64) -> Wait<'_, Result<Option<Recorded>, SpoolError>>;

    /// The greatest [`Record::number`] that was kept when the spool was opened; 0 when there was none.
    fn last_invocation(&self) -> u64;

    /// What is kept of events. An event whose deliveries are all still pending is found among the latest [`FIND_EVENTS_MAX`] and in
    /// [`FIND_BYTES_MAX`] of them, [`FOUND_MAX`] by a text; by its id it is found beyond, too, where it has a dead letter.
    /// [`KeptEvents::complete`] says whether that was all there is.
    fn find(&self, sought: Sought) -> Wait<'_, Result<KeptEvents, SpoolError>>;

    /// What the spool takes of the disk, as it is compared with its limit.
    fn bytes(&self) -> u64;

    /// Why it can neither take nor give anything at present, for probes; `None` as far as is known.
    fn away(&self) -> Option<String> {
        None
    }

    /// Says which webhooks this process has, for others that share the spool.
    fn claim(&self, _webhooks: BTreeSet<Arc<str>>) {}

    /// Whether another process that shares the spool has a webhook, or had until a minute ago. It is also said where that is not known.
    fn is_claimed<'a>(&'a self, _webhook: &'a str) -> Wait<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    /// Takes nothing new, commits everything that is queued and ends.
    fn close(&self) -> Wait<'_, ()>;
}

/// What is appended together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Each event with what is owed for it. An event that no webhook wants is not kept.
    pub events: Vec<(Arc<Event>, Vec<Owed>)>,
    /// What a repeat of this batch is known by.
    pub key: Option<Key>,
}

/// A delivery to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The webhook that owes it.
    pub webhook: Arc<str>,
    /// The lane in which it waits for those before it; `None` waits for nobody.
    pub lane: Option<Lane>,
}

/// The idempotency key of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// A hash of the key that the sender gave.
    pub id: [u8; 16],
    /// A hash of what was sent with it.
    pub content: [u8; 16],
    /// What a repeat is answered.
    pub receipt: Bytes,
    /// How long it is known.
    pub window: Duration,
}

/// What an append came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The batch is kept.
    New,
    /// The key came before with the same content: this was the receipt. Nothing was kept.
    Repeat(Bytes),
    /// The key came before with other content. Nothing was kept.
    Conflict,
}

/// A delivery that its holder alone may attempt.
pub struct Lease {
    /// The event.
    pub event: Arc<Event>,
    /// The webhook that owes it.
    pub webhook: Arc<str>,
    /// Attempts made so far, of those that count.
    pub attempts: u32,
    /// When its age began to count: when its event was taken in, or when it was replayed.
    pub since: Timestamp,
    /// When the first of the failures in a row was that it is in, for its lane.
    pub failing_since: Option<Timestamp>,
    claim: Claim,
    home: Option<Arc<dyn Home>>,
}

impl Lease {
    fn new(event: Arc<Event>, webhook: Arc<str>, claim: Claim, home: Arc<dyn Home>) -> Self {
        let since = if claim.since_ms == 0 { event.received_at } else { at(claim.since_ms) };
        let failing_since = (claim.failing_ms != 0).then(|| at(claim.failing_ms));
        Self { event, webhook, attempts: claim.attempts, since, failing_since, claim, home: Some(home) }
    }

    /// When it could first have been attempted this time: its age begins to count, or it is due again.
    #[must_use]
    pub fn ready_at(&self) -> Timestamp {
        self.since.max(at(self.claim.due))
    }

    /// Takes the lease apart for its settlement: nothing is given back any more.
    fn settled(mut self) -> Claim {
        self.home = None;
        self.claim
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(home) = mem::take(&mut self.home) {
            home.give_back(Arc::clone(&self.event), self.claim);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("event", &self.event.id)
            .field("webhook", &self.webhook)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// A delivery's row in its spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Claim {
    /// When it was due, as stored.
    due: i64,
    /// The stored number of its event.
    seq: i64,
    /// Other webhooks were owed the same event.
    shared: bool,
    /// Its lane; 0 is none.
    lane: i64,
    /// Attempts that count.
    attempts: u32,
    /// When its age began to count, in milliseconds; 0 is when its event was taken in.
    since_ms: i64,
    /// When it began to fail, in milliseconds; 0 is not at all.
    failing_ms: i64,
}

/// The queue that a lease goes back to.
trait Home: Send + Sync {
    fn give_back(&self, event: Arc<Event>, claim: Claim);
}

/// The time of stored milliseconds; out of range only in a damaged file.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver accepted it.
    Delivered,
    /// It is tried again.
    Defer {
        /// Not before this.
        until: Timestamp,
        /// Attempts made so far, of those that count.
        attempts: u32,
        /// What becomes of [`Lease::failing_since`].
        failing_since: Option<Timestamp>,
        /// It leaves its lane: the next one waits for it no more.
        passed: bool,
        /// What the attempt came to.
        last: LastOutcome,
        /// The invocation that came to this, to be kept with it.
        record: Option<Box<Record>>,
    },
    /// It is given up on and becomes a dead letter.
    Bury {
        /// Why.
        reason: Reason,
        /// What the last attempt came to; `None` keeps what was stored with an earlier one.
        last: Option<LastOutcome>,
        /// Attempts made, of those that count.
        attempts: u32,
        /// When it was given up on.
        at: Timestamp,
        /// The invocation that came to this, to be kept with it.
        record: Option<Box<Record>>,
    },
}

impl Settlement {
    /// The same with what is to be kept with it; a delivery that was made keeps nothing.
    #[must_use]
    pub fn with_record(mut self, kept: Record) -> Self {
        match &mut self {
            Self::Delivered => {}
            Self::Defer { record, .. } | Self::Bury { record, .. } => *record = Some(Box::new(kept)),
        }
        self
    }

    /// Takes out what is to be kept with it.
    fn take_record(&mut self) -> Option<Box<Record>> {
        match self {
            Self::Delivered => None,
            Self::Defer { record, .. } | Self::Bury { record, .. } => mem::take(record),
        }
    }
}

/// The counters of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The webhook, which perhaps no configuration names any more.
    pub webhook: Arc<str>,
    /// Deliveries that are neither delivered nor dead.
    pub pending: u64,
    /// Dead letters that are kept.
    pub dead: u64,
    /// Since when the age of the oldest pending delivery counts. It may lag a second behind the settlements.
    pub oldest_pending: Option<Timestamp>,
}

/// At most so many dead letters are listed, replayed or dropped at once.
pub const DEAD_LETTERS_MAX: usize = 1000;

/// Which dead letters to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// At most this many, and never more than [`DEAD_LETTERS_MAX`].
    pub limit: usize,
    /// Only those of this webhook.
    pub webhook: Option<Arc<str>>,
    /// Only those that were given up on for this reason.
    pub reason: Option<Reason>,
    /// Only those that were given up on at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that were given up on before this time.
    pub until: Option<Timestamp>,
    /// The oldest first, else the latest.
    pub oldest_first: bool,
    /// Only those behind this [`DeadLetter::number`] in the order of the list: the next page.
    pub behind: Option<i64>,
}

impl Default for DeadLetterQuery {
    /// The latest of all.
    fn default() -> Self {
        Self {
            limit: DEAD_LETTERS_MAX,
            webhook: None,
            reason: None,
            since: None,
            until: None,
            oldest_first: false,
            behind: None,
        }
    }
}

/// A part of the list of dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// Those that were asked for; fewer than the limit, or none, is no sign of the end.
    pub letters: Vec<DeadLetter>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<i64>,
}

/// A delivery that was given up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the list: later ones have greater numbers.
    pub number: i64,
    /// The event.
    pub event: EventId,
    /// The event's kind.
    pub kind: Arc<str>,
    /// The event's type.
    pub event_type: Arc<str>,
    /// When the event was taken in, to the millisecond.
    pub received_at: Timestamp,
    /// The webhook that did not get it.
    pub webhook: Arc<str>,
    /// Why it was given up on.
    pub reason: Reason,
    /// What the last attempt came to, when there was one.
    pub last: Option<LastOutcome>,
    /// Attempts made, of those that count.
    pub attempts: u32,
    /// When it was given up on, to the millisecond.
    pub died_at: Timestamp,
}

/// Why a spool did not do what it was asked. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// The limit is reached.
    #[error("the spool is full: it holds {bytes} bytes of {bytes_max}")]
    Full {
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        bytes_max: u64,
    },
    /// The disk refused, for example because it is full.
    #[error("the spool cannot be written: {0}")]
    Unavailable(String),
    /// The servers of a spool in NATS are away, or refuse.
    #[error("the spool in NATS does not answer as it should: {0}")]
    Nats(String),
    /// The spool can never take this: a part of it is larger than it keeps.
    #[error("{0}")]
    TooLarge(String),
    /// [`Spool::close`] was called.
    #[error("the spool is closing")]
    Closed,
}

impl SpoolError {
    fn unavailable(error: &rusqlite::Error) -> Self {
        let damaged = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt);
        let fix = if damaged { "; end the sidecar and start it once with `outrigger run --recover`" } else { "" };
        Self::Unavailable(format!("{error}{fix}"))
    }

    /// What to wait before trying again.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        match self {
            Self::Full { .. } => RETRY_AFTER_FULL,
            Self::Unavailable(_) | Self::Nats(_) | Self::TooLarge(_) | Self::Closed => RETRY_AFTER_UNAVAILABLE,
        }
    }
}
