//! The reader: one thread that refills queues from the disk, lists dead letters and records and finds events while the writer writes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use tokio::sync::oneshot;

use crate::delivery::Reason;
use crate::event::{Event, EventId};
use crate::trace::Trace;

use super::disk::Shared;
use super::find;
use super::inbox::Order;
use super::kept::{KeptEvents, Sought};
use super::queue::{Key, Plan, Queue, Refill};
use super::record::{InvocationPage, InvocationQuery, Recorded};
use super::records;
use super::{
    Claim, DEAD_LETTERS_MAX, DeadLetter, DeadLetterPage, DeadLetterQuery, Settlement, SpoolError, at, column, ledger,
};

/// Dead letters that one question looks at: refills wait no longer than that takes.
const DEAD_LETTERS_SCANNED_MAX: i64 = 10_000;

/// Whom to tell.
type Reply<T> = oneshot::Sender<std::result::Result<T, SpoolError>>;

/// What the reader is asked.
pub(super) enum Ask {
    /// Load what lies on disk for a queue that was marked as refilling.
    Refill(Arc<Queue>),
    /// List dead letters.
    DeadLetters(DeadLetterQuery, Reply<DeadLetterPage>),
    /// One dead letter with its event's payload.
    DeadLetter(EventId, String, Reply<Option<(DeadLetter, Bytes)>>),
    /// List records.
    Invocations(InvocationQuery, Reply<InvocationPage>),
    /// One record.
    Invocation(u64, Reply<Option<Recorded>>),
    /// Find events.
    Find(Sought, Reply<KeptEvents>),
    /// The spool is gone.
    End,
}

/// Answers until it is told to end.
pub(super) fn run(connection: &Connection, asks: &Receiver<Ask>, shared: &Shared) {
    while let Ok(ask) = asks.recv() {
        match ask {
            Ask::Refill(queue) => {
                if shared.inbox.serve(&queue) {
                    continue;
                }
                // First: the database that is read has all up to it.
                let stored = shared.stored_last.load(Acquire);
                let plan = queue.begin_refill(stored, Timestamp::now().as_millisecond());
                // Then all that the plan knows of is in the database afterwards.
                let whole = !plan.deferred || shared.flush().is_ok();
                let result = refill(connection, shared, &queue, &plan, whole);
                if let Err(error) = &result {
                    let error = SpoolError::unavailable(error);
                    tracing::warn!(%error, webhook = %queue.webhook, note = "pending deliveries could not be read", "spool.unread");
                }
                queue.end_refill(&plan, result.ok());
            }
            // What is young neither died nor failed.
            Ask::DeadLetters(query, reply) => {
                tell(reply, dead_letters(connection, &query));
            }
            Ask::DeadLetter(event, webhook, reply) => tell(reply, dead_letter(connection, event, &webhook)),
            Ask::Invocations(query, reply) => tell(reply, records::page(connection, &query)),
            Ask::Invocation(number, reply) => tell(reply, records::one(connection, number)),
            Ask::Find(sought, reply) => {
                // Nobody listens any more when the caller's future was dropped.
                let _ =
                    reply.send(shared.flush().and_then(|()| {
                        find::find(connection, &sought).map_err(|error| SpoolError::unavailable(&error))
                    }));
            }
            Ask::End => return,
        }
    }
}

fn tell<T>(reply: Reply<T>, result: Result<T>) {
    // Nobody listens any more when the caller's future was dropped.
    let _ = reply.send(result.map_err(|error| SpoolError::unavailable(&error)));
}

/// Reads due deferred rows first, which are older, and leaves fresh ones half of the room. Where the database is not `whole`, because what
/// is young could not be written, there are more of both to come: fresh ones behind all that it has, deferred ones anywhere.
fn refill(connection: &Connection, shared: &Shared, queue: &Arc<Queue>, plan: &Plan, whole: bool) -> Result<Refill> {
    let now_ms = Timestamp::now().as_millisecond();
    let bytes_max = queue.refill_bytes_max();
    let mut refill = Refill::default();
    let mut bytes = 0;

    if plan.deferred {
        bytes += refill_deferred(connection, shared, queue, plan, (now_ms, bytes_max), &mut refill)?;
    }
    if let Some(fresh) = plan.fresh {
        let mut statement = connection.prepare_cached(ROWS_BEHIND)?;
        refill.fresh_drained = true;
        let bytes_before = bytes;
        let rows_max = plan.rows.saturating_sub(refill.rows.len()).max(1) + refill.rows.len();
        let mut rows = statement.query(params![queue.id, 0, fresh, 0])?;
        while let Some(row) = rows.next()? {
            // At least one is read, whatever deferred rows took.
            if refill.rows.len() >= rows_max || (bytes > bytes_max && bytes > bytes_before) {
                refill.fresh_drained = false;
                break;
            }
            let Ok(seq) = row.get(1) else { continue };
            // What has no event may have any number: fresh ones that are numbered before it are still to come.
            let Some(loaded) = load(shared, queue, row, (0, seq), &mut refill)? else { continue };
            bytes += loaded;
            refill.fresh = Some(seq);
        }
    }
    if !whole {
        refill.later = None;
        refill.next_due = refill.next_due.into_iter().chain(plan.next_due).min();
        refill.fresh_drained = false;
        refill.partial = true;
    }
    Ok(refill)
}

/// Reads deferred rows that are due: how many bytes.
fn refill_deferred(
    connection: &Connection,
    shared: &Shared,
    queue: &Arc<Queue>,
    plan: &Plan,
    (now_ms, bytes_max): (i64, usize),
    refill: &mut Refill,
) -> Result<usize> {
    let mut bytes = 0;
    let later_max = if plan.fresh.is_some() { plan.rows.div_ceil(2) } else { plan.rows };
    let mut statement = connection.prepare_cached(ROWS_BEHIND)?;
    let mut rows = statement.query(params![queue.id, plan.later.0, plan.later.1, i64::MAX])?;
    while let Some(row) = rows.next()? {
        let (Ok(due), Ok(seq)) = (row.get(0), row.get(1)) else { continue };
        if due > now_ms || refill.rows.len() >= later_max || bytes > bytes_max {
            // What is due already is read again as soon as there is room.
            refill.next_due = Some(due);
            break;
        }
        bytes += load(shared, queue, row, (due, seq), refill)?.unwrap_or(0);
        refill.later = Some((due, seq));
    }
    Ok(bytes)
}

/// The rows of a webhook behind a key, up to a due time.
const ROWS_BEHIND: &str = "
SELECT d.due, d.seq, d.attempts, d.lane, d.since_ms, d.failing_ms, e.id, e.kind, e.type, e.received_ms, e.fanout, e.payload, e.trace
FROM deliveries d LEFT JOIN events e ON e.seq = d.seq
WHERE d.webhook = ?1 AND (d.due, d.seq) > (?2, ?3) AND d.due <= ?4 ORDER BY d.due, d.seq";

/// Loads one row: the bytes of its payload. One whose event is lost is settled at once: it would come back for ever.
fn load(shared: &Shared, queue: &Arc<Queue>, row: &Row<'_>, key: Key, refill: &mut Refill) -> Result<Option<usize>> {
    let claim = Claim {
        due: key.0,
        seq: key.1,
        attempts: column::count(row, 2)?,
        lane: column::number(row, 3)?,
        since_ms: column::number(row, 4)?,
        failing_ms: column::number(row, 5)?,
        shared: column::number(row, 10)? > 1,
    };
    let Some(event) = event(row)? else {
        tracing::error!(webhook = %queue.webhook, seq = claim.seq, note = "dropped a delivery whose event is lost", "spool.event_lost");
        if queue.claim(key) {
            let order = Order {
                queue: Arc::clone(queue),
                claim,
                settlement: Settlement::Delivered,
                noted: None,
                metered: false,
            };
            shared.inbox.settle(order, claim.lane != 0);
        }
        return Ok(None);
    };
    let bytes = event.raw.len();
    refill.rows.push((Arc::new(event), claim));
    Ok(Some(bytes))
}

/// The event of a row; `None` where it is lost, or nobody could say any more which it was.
pub(super) fn event(row: &Row<'_>) -> Result<Option<Event>> {
    let (Some(id), Some(raw)) = (column::event_id(row, 6)?, column::bytes(row, 11)?) else { return Ok(None) };
    let text = |column| Ok::<Arc<str>, rusqlite::Error>(column::text(row, column)?.unwrap_or_default().into());
    let event = Event::new(id, text(7)?, text(8)?, at(column::number(row, 9)?), Bytes::copy_from_slice(raw));
    let trace = column::text(row, 12)?.and_then(|trace| Trace::read(&trace));
    Ok(Some(event.in_trace(trace.map(Arc::new))))
}

/// What is told of a dead letter.
const LETTER: &str = "d.number, e.id, e.kind, e.type, e.received_ms, w.name, d.reason, d.last, d.attempts, d.died_ms";

/// The dead letters behind a number, in the order of their numbers; nothing is sorted, so that only as many are read as are
/// looked at.
fn letters(oldest_first: bool, of_webhook: bool) -> String {
    let (compare, order) = if oldest_first { (">", "ASC") } else { ("<", "DESC") };
    let of_webhook = if of_webhook { "d.webhook = ?3" } else { "?3 IS NULL" };
    format!(
        "SELECT {LETTER} FROM dead d LEFT JOIN events e ON e.seq = d.seq LEFT JOIN webhooks w ON w.id = d.webhook
         WHERE d.number {compare} ?1 AND {of_webhook} ORDER BY d.number {order} LIMIT ?2"
    )
}

/// One dead letter, with the payload behind what [`letter`] reads.
fn letter_of_delivery() -> String {
    format!(
        "SELECT {LETTER}, e.payload FROM dead d JOIN events e ON e.seq = d.seq JOIN webhooks w ON w.id = d.webhook
         WHERE d.event = ?1 AND w.name = ?2 LIMIT 1"
    )
}

/// The dead letters of one event.
fn letters_of_event() -> String {
    format!(
        "SELECT {LETTER} FROM dead d JOIN events e ON e.seq = d.seq JOIN webhooks w ON w.id = d.webhook
         WHERE d.event = ?1 LIMIT ?2"
    )
}

fn dead_letters(connection: &Connection, query: &DeadLetterQuery) -> Result<DeadLetterPage> {
    let webhook: Option<i64> = match &query.webhook {
        None => None,
        Some(name) => {
            let known = connection
                .prepare_cached("SELECT id FROM webhooks WHERE name = ?1")?
                .query_row([&**name], |row| row.get(0))
                .optional()?;
            // A webhook that the spool does not know has none.
            let Some(id) = known else { return Ok(DeadLetterPage::default()) };
            Some(id)
        }
    };
    let sql = letters(query.oldest_first, webhook.is_some());
    let behind = query.behind.unwrap_or(if query.oldest_first { i64::MIN } else { i64::MAX });
    let limit = query.limit.min(DEAD_LETTERS_MAX);
    let since_ms = query.since.map_or(i64::MIN, Timestamp::as_millisecond);
    let until_ms = query.until.map_or(i64::MAX, Timestamp::as_millisecond);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![behind, DEAD_LETTERS_SCANNED_MAX, webhook])?;
    let (mut page, mut scanned) = (DeadLetterPage::default(), 0);
    while let Some(row) = rows.next()? {
        if page.letters.len() == limit {
            return Ok(page);
        }
        scanned += 1;
        page.next = Some(row.get(0)?);
        let reason_fits =
            query.reason.is_none_or(|reason| row.get_ref(6).is_ok_and(|text| text.as_str() == Ok(reason.as_str())));
        if reason_fits && (since_ms..until_ms).contains(&column::number(row, 9)?) {
            page.letters.extend(letter(row)?);
        }
    }
    if scanned < DEAD_LETTERS_SCANNED_MAX {
        page.next = None;
    }
    Ok(page)
}

fn dead_letter(connection: &Connection, event: EventId, webhook: &str) -> Result<Option<(DeadLetter, Bytes)>> {
    let found = connection.prepare_cached(&letter_of_delivery())?.query_row(
        params![event.as_bytes().as_slice(), webhook],
        |row| {
            let payload = column::bytes(row, 10)?.map(Bytes::copy_from_slice);
            Ok(letter(row)?.zip(payload))
        },
    );
    Ok(found.optional()?.flatten())
}

/// The dead letters of an event, at most [`DEAD_LETTERS_MAX`].
pub(super) fn letters_of(connection: &Connection, event: EventId) -> Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(&letters_of_event())?;
    let mut rows =
        statement.query(params![event.as_bytes().as_slice(), i64::try_from(DEAD_LETTERS_MAX).unwrap_or(i64::MAX)])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.extend(letter(row)?);
    }
    Ok(letters)
}

/// The letter of a row; `None` where its event or its webhook is lost.
fn letter(row: &Row<'_>) -> Result<Option<DeadLetter>> {
    let (Some(event), Some(webhook)) = (column::event_id(row, 1)?, column::text(row, 5)?) else { return Ok(None) };
    let text = |column| column::text(row, column).map(Option::unwrap_or_default);
    Ok(Some(DeadLetter {
        number: row.get(0)?,
        event,
        kind: text(2)?.into(),
        event_type: text(3)?.into(),
        received_at: at(column::number(row, 4)?),
        webhook: webhook.into(),
        // A spelling that this version does not know was written by a newer one.
        reason: Reason::parse(&text(6)?).unwrap_or(Reason::ClientError),
        last: column::text(row, 7)?.and_then(|last| ledger::read(&last)),
        attempts: column::count(row, 8)?,
        died_at: at(column::number(row, 9)?),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::super::contract::assert_by_index;
    use super::super::schema;
    use super::*;

    #[test]
    fn every_question_is_answered_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        assert_by_index(&connection, ROWS_BEHIND);
        assert_by_index(&connection, &letter_of_delivery());
        assert_by_index(&connection, &letters_of_event());
        for (oldest_first, of_webhook) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_by_index(&connection, &letters(oldest_first, of_webhook));
        }
    }
}
