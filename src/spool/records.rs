//! The table of records: what the writer keeps and drops of it, and what the reader lists.
//!
//! A record is written in the transaction of its settlement, inside a savepoint: what cannot be kept is left out. How many there are is
//! bounded for each webhook, by what its records say, and for all together by a share of the spool's limit; the oldest go first.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row, Statement, params};
use tokio::sync::OwnedSemaphorePermit;

use crate::delivery::Reason;
use crate::event::EventId;

use super::column;
use super::record::{INVOCATIONS_MAX, InvocationPage, InvocationQuery, Record, Recorded};
use super::record::{RECORD_BYTES_MAX, RECORD_REQUEST_BYTES_MAX, RECORDS_MAX};

/// The part of the spool's limit that records may take.
const SHARE: u64 = 8;
/// What a record takes of the disk beside its text, roughly.
const ROW_BYTES: usize = 160;
/// Records beyond a bound that one commit drops.
const DROP_STEP: i64 = 256;
/// A record that is further ahead of the clock is damage: no clock that was put right was ahead as much. In microseconds: a year.
const AHEAD_MAX: i64 = 366 * 24 * 3600 * 1_000_000;
/// Records that one question looks at: refills wait no longer than that takes.
const SCANNED_MAX: i64 = 10_000;
/// The texts of a page may take so much; one goes beyond.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// A record on its way to the disk.
pub(super) struct Noted {
    pub(super) event: EventId,
    pub(super) record: Box<Record>,
    /// Its room in memory, given back wherever it ends.
    pub(super) _room: OwnedSemaphorePermit,
}

/// The writer's statements.
pub(super) struct Records<'c> {
    connection: &'c Connection,
    add: Statement<'c>,
    beyond: Statement<'c>,
    of_webhook: Statement<'c>,
    oldest: Statement<'c>,
    out_of_time: Statement<'c>,
    drop: Statement<'c>,
    /// What they take together, roughly.
    bytes: i64,
    bytes_max: i64,
}

impl<'c> Records<'c> {
    /// Prepares the statements. `bytes_max` is the spool's limit.
    pub(super) fn new(connection: &'c Connection, bytes_max: u64) -> Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            connection,
            add: prepare("INSERT OR IGNORE INTO invocations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            beyond: prepare(
                "SELECT number FROM invocations WHERE webhook = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2",
            )?,
            of_webhook: prepare(
                "SELECT number FROM invocations WHERE webhook = ?1 AND number <= ?2 ORDER BY number LIMIT ?3",
            )?,
            oldest: prepare("SELECT number FROM invocations WHERE number < ?1 ORDER BY number LIMIT ?2")?,
            out_of_time: prepare("SELECT number FROM invocations WHERE number > ?1 ORDER BY number DESC LIMIT ?2")?,
            drop: prepare(&format!("DELETE FROM invocations WHERE number = ?1 RETURNING {}", row_bytes()))?,
            bytes: bytes(connection)?,
            bytes_max: i64::try_from(bytes_max / SHARE).unwrap_or(i64::MAX),
        })
    }

    /// What they take together, roughly. Whoever undoes a transaction sets it back.
    pub(super) fn bytes(&self) -> i64 {
        self.bytes
    }

    /// See [`Records::bytes`].
    pub(super) fn set_bytes(&mut self, bytes: i64) {
        self.bytes = bytes;
    }

    /// Keeps records, each with the number of its webhook, in the transaction that is under way. An error says that this is undone.
    pub(super) fn keep<'n>(&mut self, noted: impl Iterator<Item = (i64, &'n Noted)>) -> Result<()> {
        let mut noted = noted.peekable();
        if noted.peek().is_none() {
            return Ok(());
        }
        let before = self.bytes;
        self.connection.execute_batch("SAVEPOINT records")?;
        let Err(error) = self.add_all(noted) else { return self.connection.execute_batch("RELEASE records") };
        self.bytes = before;
        if self.connection.is_autocommit() {
            return Err(error);
        }
        self.connection.execute_batch("ROLLBACK TO records; RELEASE records")?;
        tracing::warn!(%error, note = "failed invocations could not be kept", "spool.records_unkept");
        Ok(())
    }

    fn add_all<'n>(&mut self, noted: impl Iterator<Item = (i64, &'n Noted)>) -> Result<()> {
        let mut keeps = HashMap::new();
        for (webhook, Noted { event, record, .. }) in noted {
            let Ok(number) = i64::try_from(record.number) else { continue };
            if !(1..=latest()).contains(&number) || record.text.len() > RECORD_BYTES_MAX {
                continue;
            }
            let request = record.request.as_deref().filter(|request| request.len() <= RECORD_REQUEST_BYTES_MAX);
            let bytes = i64::try_from(ROW_BYTES + record.text.len()).unwrap_or(i64::MAX);
            let reason = record.reason.as_str();
            let row = params![number, webhook, event.as_bytes().as_slice(), reason, request, bytes, &*record.text];
            if self.add.execute(row)? > 0 {
                self.bytes += bytes;
                keeps.insert(webhook, record.keep.min(RECORDS_MAX));
            }
        }
        for (webhook, keep) in keeps {
            let beyond: Option<i64> = self
                .beyond
                .query_row(params![webhook, i64::try_from(keep).unwrap_or(i64::MAX)], |row| row.get(0))
                .optional()?;
            if let Some(beyond) = beyond {
                let numbers = numbers(&mut self.of_webhook, &[webhook, beyond, DROP_STEP])?;
                self.drop_all(numbers)?;
            }
        }
        if self.bytes > self.bytes_max {
            let oldest = numbers(&mut self.oldest, &[i64::MAX, DROP_STEP])?;
            for number in oldest {
                if self.bytes <= self.bytes_max {
                    break;
                }
                self.drop_all(vec![number])?;
            }
        }
        Ok(())
    }

    /// Drops up to `limit` records that ended before a time, in microseconds, and up to as many that make no sense: how many there
    /// were. Whoever calls has begun a transaction.
    pub(super) fn drop_old(&mut self, before: i64, limit: i64) -> Result<usize> {
        let old = numbers(&mut self.oldest, &[before.max(1), limit])?;
        let ahead = numbers(&mut self.out_of_time, &[latest(), limit])?;
        let count = old.len() + ahead.len();
        self.drop_all(old)?;
        self.drop_all(ahead)?;
        Ok(count)
    }

    fn drop_all(&mut self, numbers: Vec<i64>) -> Result<()> {
        for number in numbers {
            let mut rows = self.drop.query([number])?;
            let Some(row) = rows.next()? else { continue };
            self.bytes -= column::number(row, 0)?;
            // The statement is stepped to its end, or the row would come back.
            rows.next()?;
        }
        Ok(())
    }
}

fn numbers(statement: &mut Statement<'_>, bounds: &[i64]) -> Result<Vec<i64>> {
    statement.query_map(rusqlite::params_from_iter(bounds), |row| row.get(0))?.collect()
}

/// What a row takes, as far as it can be believed.
fn row_bytes() -> String {
    format!("max(0, min(bytes, {}))", RECORD_BYTES_MAX + ROW_BYTES)
}

/// What all take together, read from an index that holds it.
fn bytes(connection: &Connection) -> Result<i64> {
    let sql = format!("SELECT coalesce(sum({}), 0) FROM invocations INDEXED BY invocations_webhooks", row_bytes());
    connection.query_row(&sql, [], |row| column::number(row, 0))
}

/// The greatest number that can be one.
fn latest() -> i64 {
    Timestamp::now().as_microsecond().saturating_add(AHEAD_MAX)
}

/// The greatest number that is kept; 0 where there is none.
pub(super) fn last(connection: &Connection) -> Result<u64> {
    let sql = "SELECT coalesce(max(number), 0) FROM invocations WHERE number <= ?1";
    Ok(u64::try_from(connection.query_row(sql, [latest()], |row| column::number(row, 0))?).unwrap_or(0))
}

/// Which index leads to the records that are asked for.
#[derive(Clone, Copy)]
enum By {
    Number,
    Webhook,
    Event,
    Request,
}

/// What is read of a record, its text last: it is looked at for those alone that fit.
const COLUMNS: &str = "i.number, i.webhook, w.name, i.event, i.reason, i.request, i.text";

fn listing(by: By) -> String {
    let of = match by {
        By::Number => "?4 IS NULL",
        By::Webhook => "i.webhook = ?4",
        By::Event => "i.event = ?4",
        By::Request => "i.request = ?4",
    };
    format!(
        "SELECT {COLUMNS} FROM invocations i LEFT JOIN webhooks w ON w.id = i.webhook
         WHERE {of} AND i.number > ?1 AND i.number < ?2 ORDER BY i.number DESC LIMIT ?3"
    )
}

/// A page of what is kept.
pub(super) fn page(connection: &Connection, query: &InvocationQuery) -> Result<InvocationPage> {
    let mut found = InvocationPage::default();
    let after = query.after.map_or(0, signed);
    // What ended at that very time counts.
    let after = query.since.map_or(after, |since| after.max(since.as_microsecond().saturating_sub(1)));
    let behind = query.behind.map_or(i64::MAX, signed);
    let limit = query.limit.min(INVOCATIONS_MAX);
    let (by, of) = match query {
        InvocationQuery { event: Some(event), .. } => (By::Event, Some(event.as_bytes().to_vec().into())),
        InvocationQuery { request: Some(request), .. } => (By::Request, Some(request.clone().into())),
        InvocationQuery { webhook: Some(name), .. } => {
            let id: Option<i64> = connection
                .prepare_cached("SELECT id FROM webhooks WHERE name = ?1")?
                .query_row([&**name], |row| row.get(0))
                .optional()?;
            // A webhook that the spool does not know has none.
            let Some(id) = id else { return Ok(found) };
            (By::Webhook, Some(id.into()))
        }
        _ => (By::Number, None::<rusqlite::types::Value>),
    };
    let mut statement = connection.prepare_cached(&listing(by))?;
    let mut rows = statement.query(params![after, behind, SCANNED_MAX, of])?;
    let (mut bytes, mut scanned) = (0, 0);
    while let Some(row) = rows.next()? {
        if found.invocations.len() == limit || bytes > PAGE_BYTES_MAX {
            return Ok(found);
        }
        scanned += 1;
        found.next = Some(column::number(row, 0)?.unsigned_abs());
        if let Some(recorded) = recorded(row, Some(query))? {
            bytes += recorded.text.len();
            found.invocations.push(recorded);
        }
    }
    if scanned < SCANNED_MAX {
        found.next = None;
    }
    Ok(found)
}

/// One of what is kept.
pub(super) fn one(connection: &Connection, number: u64) -> Result<Option<Recorded>> {
    let found = connection.prepare_cached(ONE)?.query_row([signed(number)], |row| recorded(row, None)).optional()?;
    Ok(found.flatten())
}

/// One record by its number.
const ONE: &str = "SELECT i.number, i.webhook, w.name, i.event, i.reason, i.request, i.text
FROM invocations i LEFT JOIN webhooks w ON w.id = i.webhook WHERE i.number = ?1";

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The record of a row; `None` where it is not what is asked for, or nobody could say any more what it was.
fn recorded(row: &Row<'_>, query: Option<&InvocationQuery>) -> Result<Option<Recorded>> {
    let Ok(number) = u64::try_from(column::number(row, 0)?) else { return Ok(None) };
    let (Some(webhook), Some(event)) = (column::text(row, 2)?, column::event_id(row, 3)?) else { return Ok(None) };
    let Some(reason) = column::text(row, 4)?.and_then(|reason| Reason::parse(&reason)) else { return Ok(None) };
    let request = column::text(row, 5)?;
    let fits = query.is_none_or(|query| {
        query.webhook.as_deref().is_none_or(|name| name == webhook)
            && query.reason.is_none_or(|of| of == reason)
            && query.event.is_none_or(|of| of == event)
            && query.request.as_deref().is_none_or(|of| request.as_deref() == Some(of))
    });
    if !fits {
        return Ok(None);
    }
    let Some(text) = column::text(row, 6)? else { return Ok(None) };
    let request = request.map(std::borrow::Cow::into_owned);
    Ok(Some(Recorded { number, webhook: webhook.into(), event, reason, request, text: text.into_owned() }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::super::contract::assert_by_index;
    use super::super::schema;
    use super::*;

    #[test]
    fn every_statement_finds_its_rows_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        let Records { add, beyond, of_webhook, oldest, out_of_time, drop, .. } =
            Records::new(&connection, 1 << 30).unwrap();
        for statement in [add, beyond, of_webhook, oldest, out_of_time, drop] {
            assert_by_index(&connection, &statement.expanded_sql().unwrap());
        }
        assert_by_index(&connection, ONE);
        for by in [By::Number, By::Webhook, By::Event, By::Request] {
            assert_by_index(&connection, &listing(by));
        }
    }
}
