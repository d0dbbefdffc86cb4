//! The reader: one thread that refills queues from the disk and lists dead letters while the writer writes.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, Result, Row, params};
use tokio::sync::oneshot;

use crate::delivery::Reason;
use crate::event::{Event, EventId};

use super::disk::Shared;
use super::inbox::Order;
use super::queue::{Key, Plan, Queue, Refill};
use super::{Claim, DeadLetter, DeadLetterQuery, Settlement, SpoolError};

/// A page of dead letters is never longer.
const DEAD_LETTERS_MAX: i64 = 1000;

/// What the reader is asked.
pub(super) enum Ask {
    /// Load what lies on disk for a queue that was marked as refilling.
    Refill(Arc<Queue>),
    /// List dead letters.
    DeadLetters(DeadLetterQuery, oneshot::Sender<std::result::Result<Vec<DeadLetter>, SpoolError>>),
    /// The spool is gone.
    End,
}

/// A row of `deliveries` with its event.
struct Stored {
    claim: Claim,
    attempts: u32,
    bytes: usize,
    /// `None` when the event is lost: only a damaged disk does this.
    event: Option<Event>,
}

/// Answers until it is told to end.
pub(super) fn run(connection: &Connection, asks: &Receiver<Ask>, shared: &Shared) {
    while let Ok(ask) = asks.recv() {
        match ask {
            Ask::Refill(queue) => {
                let plan = queue.begin_refill();
                let result = refill(connection, shared, &queue, &plan);
                if let Err(error) = &result {
                    tracing::warn!(%error, webhook = %queue.webhook, "pending deliveries could not be read");
                }
                queue.end_refill(&plan, result.ok());
            }
            Ask::DeadLetters(query, reply) => {
                let letters = dead_letters(connection, query);
                // Nobody listens any more when the caller's future was dropped.
                let _ = reply.send(letters.map_err(|error| SpoolError::Unavailable(error.to_string())));
            }
            Ask::End => return,
        }
    }
}

/// Reads due deferred rows first, which are older, and leaves fresh ones half of the room.
fn refill(connection: &Connection, shared: &Shared, queue: &Arc<Queue>, plan: &Plan) -> Result<Refill> {
    let now_ms = Timestamp::now().as_millisecond();
    let bytes_max = queue.refill_bytes_max();
    let mut refill = Refill::default();
    let mut bytes = 0;

    let later_max = if plan.fresh.is_some() { plan.rows.div_ceil(2) } else { plan.rows };
    let mut statement = connection.prepare_cached(ROWS_BEHIND)?;
    let mut rows = statement.query(params![queue.id, plan.later.0, plan.later.1, i64::MAX])?;
    while let Some(row) = rows.next()? {
        let (due, seq): Key = (row.get(0)?, row.get(1)?);
        if due > now_ms || refill.rows.len() >= later_max || bytes > bytes_max {
            // What is due already is read again as soon as there is room.
            refill.next_due = Some(due);
            break;
        }
        bytes += load(shared, queue, row, &mut refill)?;
        refill.later = Some((due, seq));
    }
    drop(rows);

    if let Some(fresh) = plan.fresh {
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
            bytes += load(shared, queue, row, &mut refill)?;
            refill.fresh = Some(row.get(1)?);
        }
    }
    Ok(refill)
}

/// The rows of a webhook behind a key, up to a due time.
const ROWS_BEHIND: &str = "
SELECT d.due, d.seq, d.attempts, e.id, e.kind, e.type, e.received_ms, e.fanout, e.payload
FROM deliveries d LEFT JOIN events e ON e.seq = d.seq
WHERE d.webhook = ?1 AND (d.due, d.seq) > (?2, ?3) AND d.due <= ?4 ORDER BY d.due, d.seq";

/// Loads one row. One whose event is lost is settled at once: it would come back for ever.
fn load(shared: &Shared, queue: &Arc<Queue>, row: &Row<'_>, refill: &mut Refill) -> Result<usize> {
    let Stored { claim, attempts, bytes, event } = stored(row)?;
    if let Some(event) = event {
        refill.rows.push((Arc::new(event), attempts, claim));
        return Ok(bytes);
    }
    tracing::error!(webhook = %queue.webhook, seq = claim.seq, "dropped a delivery whose event is lost");
    if queue.claim((claim.due, claim.seq)) {
        let settlement = Settlement::Delivered;
        shared.inbox.settle(Order { queue: Arc::clone(queue), claim, settlement, metered: false });
    }
    Ok(bytes)
}

fn stored(row: &Row<'_>) -> Result<Stored> {
    let (due, seq, attempts) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let Some(id) = row.get::<_, Option<[u8; 16]>>(3)? else {
        let claim = Claim { due, seq, shared: false };
        return Ok(Stored { claim, attempts, bytes: 0, event: None });
    };
    let claim = Claim { due, seq, shared: row.get::<_, i64>(7)? > 1 };
    let raw = Bytes::copy_from_slice(row.get_ref(8)?.as_blob()?);
    let bytes = raw.len();
    let event = Event::new(
        EventId::from_bytes(id),
        Arc::from(row.get_ref(4)?.as_str()?),
        Arc::from(row.get_ref(5)?.as_str()?),
        at(row.get(6)?),
        raw,
    );
    Ok(Stored { claim, attempts, bytes, event: Some(event) })
}

fn dead_letters(connection: &Connection, query: DeadLetterQuery) -> Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.number, e.id, e.kind, e.type, e.received_ms, w.name, d.reason, d.detail, d.attempts, d.died_ms
         FROM dead d JOIN events e ON e.seq = d.seq JOIN webhooks w ON w.id = d.webhook
         WHERE d.number < ?1 ORDER BY d.number DESC LIMIT ?2",
    )?;
    let before = query.before.unwrap_or(i64::MAX);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).min(DEAD_LETTERS_MAX);
    statement
        .query_map(params![before, limit], |row| {
            Ok(DeadLetter {
                number: row.get(0)?,
                event: EventId::from_bytes(row.get(1)?),
                kind: row.get(2)?,
                event_type: row.get(3)?,
                received_at: at(row.get(4)?),
                webhook: row.get(5)?,
                // A spelling that this version does not know was written by a newer one.
                reason: Reason::parse(row.get_ref(6)?.as_str()?).unwrap_or(Reason::ClientError),
                detail: row.get(7)?,
                attempts: row.get(8)?,
                died_at: at(row.get(9)?),
            })
        })?
        .collect()
}

/// The time of stored milliseconds; out of range only in a damaged file.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
