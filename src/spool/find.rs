//! What the spool holds of an event: what is pending of it, and what is dead.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::delivery::LastOutcome;
use crate::event::{Event, EventId};
use crate::kind::about::is_about;

use super::ledger::{self, BLOCKED};
use super::reader::{event, letters_of_event};
use super::{DeadLetter, at, column};

/// The latest events in store that are gone through. What is searched are a few hundred megabytes at most, in parts.
const EVENTS_SEARCHED_MAX: i64 = 20_000;
/// Events that are found.
const EVENTS_FOUND_MAX: usize = 20;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// One event.
    Event(EventId),
    /// All events about what people know by this id.
    About(String),
}

/// An event of which something is in store.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The event.
    pub event: Event,
    /// What is in store of it, by webhook.
    pub deliveries: BTreeMap<Arc<str>, KeptDelivery>,
}

/// What is in store of one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptDelivery {
    /// That it is pending.
    pub pending: Option<Pending>,
    /// Its latest dead letter.
    pub dead: Option<DeadLetter>,
}

/// A delivery that is pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Attempts made, of those that count.
    pub attempts: u32,
    /// When it is due; `None` is at once, or once the one before it in its lane has ended.
    pub due: Option<Timestamp>,
    /// What the last attempt came to.
    pub last: Option<LastOutcome>,
}

/// The columns of an event where the reader looks for them.
const EVENT: &str =
    "SELECT 0, seq, 0, 0, 0, 0, id, kind, type, received_ms, fanout, payload FROM events WHERE seq > ?1";

/// The events that are sought among the latest in store, the latest first.
pub(super) fn find(connection: &Connection, sought: &Sought) -> Result<Vec<Kept>> {
    let last: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    let first = last.saturating_sub(EVENTS_SEARCHED_MAX);
    let found = match sought {
        Sought::Event(id) => events(connection, "AND id = ?2", first, id.as_bytes(), |found| found.id == *id)?,
        Sought::About(id) => {
            let quoted = serde_json::Value::from(id.as_str()).to_string();
            events(connection, "AND instr(payload, ?2) > 0", first, quoted.as_bytes(), |found| is_about(found, id))?
        }
    };
    found.into_iter().map(|(seq, event)| kept(connection, seq, event)).collect()
}

fn events(
    connection: &Connection,
    condition: &str,
    first: i64,
    wanted: &[u8],
    fits: impl Fn(&Event) -> bool,
) -> Result<Vec<(i64, Event)>> {
    let mut statement = connection.prepare_cached(&format!("{EVENT} {condition} ORDER BY seq DESC"))?;
    let mut rows = statement.query(params![first, wanted])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(event(row)?.filter(|event| fits(event)).map(|event| (column::number(row, 1), event)));
        if found.len() == EVENTS_FOUND_MAX {
            break;
        }
    }
    found.into_iter().map(|(seq, event)| Ok((seq?, event))).collect()
}

fn kept(connection: &Connection, seq: i64, event: Event) -> Result<Kept> {
    let mut deliveries: BTreeMap<Arc<str>, KeptDelivery> = BTreeMap::new();
    let mut webhooks = connection.prepare_cached("SELECT id, name FROM webhooks WHERE pending > 0")?;
    let mut rows = webhooks.query([])?;
    while let Some(row) = rows.next()? {
        let Some(name) = column::text(row, 1)? else { continue };
        if let Some(pending) = pending(connection, column::number(row, 0)?, seq)? {
            deliveries.entry(name.into()).or_default().pending = Some(pending);
        }
    }
    // The latest is the last, and stays.
    for letter in letters_of_event(connection, event.id)? {
        let webhook = Arc::clone(&letter.webhook);
        deliveries.entry(webhook).or_default().dead = Some(letter);
    }
    Ok(Kept { event, deliveries })
}

/// Where a pending delivery may lie.
const PENDING: [&str; 3] = [
    "SELECT due, attempts, last FROM deliveries WHERE webhook = ?1 AND due = 0 AND seq = ?2",
    "SELECT due, attempts, last FROM deliveries INDEXED BY deferred WHERE webhook = ?1 AND seq = ?2 AND due > 0 AND since_ms = 0",
    "SELECT due, attempts, last FROM deliveries INDEXED BY replayed WHERE webhook = ?1 AND since_ms > 0 AND seq = ?2",
];

fn pending(connection: &Connection, webhook: i64, seq: i64) -> Result<Option<Pending>> {
    let read = |row: &Row<'_>| {
        let due = column::number(row, 0)?;
        Ok(Pending {
            attempts: column::count(row, 1)?,
            due: (due > 0 && due < BLOCKED).then(|| at(due)),
            last: column::text(row, 2)?.and_then(|last| ledger::read(&last)),
        })
    };
    for sql in PENDING {
        if let Some(pending) = connection.prepare_cached(sql)?.query_row([webhook, seq], read).optional()? {
            return Ok(Some(pending));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::super::contract::assert_by_index;
    use super::super::schema;
    use super::*;

    #[test]
    fn what_is_pending_is_found_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        for sql in PENDING {
            assert_by_index(&connection, sql);
        }
        assert_by_index(&connection, &format!("{EVENT} AND id = ?2 ORDER BY seq DESC"));
    }
}
