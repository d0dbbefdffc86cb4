//! Records of failed attempts: what people look at after a restart. They are owed to nobody: whatever stands in their way, a full
//! disk, damage, too many at once, they give way to it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, ToSql, params_from_iter};

use crate::delivery::Reason;
use crate::event::EventId;

use super::column;

/// The longest text of a record, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Records of one webhook, whatever is asked for.
const RECORDS_PER_WEBHOOK_MAX: usize = 1_000;
/// Records that one question looks at.
const RECORDS_SCANNED_MAX: usize = 10_000;
/// Records that one step of the retention drops.
const RETENTION_STEP: i64 = 256;
/// Numbers are times: what is further ahead than a clock that was set back comes from damage.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// A failed attempt, written for people without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number: microseconds since the epoch, and later ones have greater numbers.
    pub number: u64,
    /// The webhook.
    pub webhook: Arc<str>,
    /// The event.
    pub event: EventId,
    /// Why it failed.
    pub reason: Reason,
    /// The id by which people know what the event is about.
    pub request: Option<String>,
    /// What is told of it; what is longer than [`RECORD_BYTES_MAX`] is not kept.
    pub text: String,
    /// So many records of the webhook are kept.
    pub keep: usize,
}

/// Which records to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordQuery {
    /// Only those of this webhook.
    pub webhook: Option<Arc<str>>,
    /// Only those that failed for this reason.
    pub reason: Option<Reason>,
    /// Only those of this event.
    pub event: Option<EventId>,
    /// Only those of what people know by this id.
    pub request: Option<String>,
    /// Only those with this number or a greater one.
    pub from: u64,
    /// Only those with a smaller number; `None` is no bound.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Keeps a record, and drops the oldest of its webhook.
pub(super) fn keep(connection: &Connection, record: &Record) -> Result<()> {
    if record.text.len() > RECORD_BYTES_MAX || record.keep == 0 {
        return Ok(());
    }
    let number = stored(record.number);
    connection.prepare_cached("INSERT OR REPLACE INTO invocations VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute((
        number,
        &*record.webhook,
        record.event.as_bytes().as_slice(),
        record.reason.as_str(),
        &record.request,
        &record.text,
    ))?;
    let keep = i64::try_from(record.keep.min(RECORDS_PER_WEBHOOK_MAX)).unwrap_or(i64::MAX);
    connection.prepare_cached(DROP_BEYOND)?.execute((&*record.webhook, keep))?;
    Ok(())
}

/// Drops the records of a webhook beyond so many.
const DROP_BEYOND: &str = "DELETE FROM invocations WHERE webhook = ?1 AND number <=
(SELECT number FROM invocations WHERE webhook = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)";

/// Drops a bounded number of records older than the retention.
pub(super) fn drop_old(connection: &Connection, retention: Duration) -> Result<()> {
    let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp::now().as_microsecond().saturating_sub(retention);
    connection.prepare_cached(DROP_OLD)?.execute([before, RETENTION_STEP]).map(drop)
}

const DROP_OLD: &str = "DELETE FROM invocations WHERE number IN
(SELECT number FROM invocations WHERE number < ?1 ORDER BY number LIMIT ?2)";

/// The greatest number that makes sense; 0 where there is none.
pub(super) fn last(connection: &Connection) -> u64 {
    let ahead = i64::try_from(AHEAD_MAX.as_micros()).unwrap_or(i64::MAX);
    let end = Timestamp::now().as_microsecond().saturating_add(ahead);
    let last = connection.query_row(LAST, [end], |row| row.get::<_, i64>(0)).optional();
    // Damage to records is no reason not to start.
    last.ok().flatten().and_then(|last| u64::try_from(last).ok()).unwrap_or(0)
}

const LAST: &str = "SELECT number FROM invocations WHERE number <= ?1 ORDER BY number DESC LIMIT 1";

/// The texts of records, the latest first, with their numbers.
pub(super) fn list(connection: &Connection, query: &RecordQuery) -> Result<Vec<(u64, String)>> {
    let (sql, of) = listing(query);
    let (from, before) = (stored(query.from), query.before.map_or(i64::MAX, stored));
    let mut parameters: Vec<&dyn ToSql> = vec![&from, &before];
    let (event, webhook) = (query.event.map(|event| *event.as_bytes()), query.webhook.as_deref());
    match of {
        Of::Event => parameters.push(&event),
        Of::Request => parameters.push(&query.request),
        Of::Webhook => parameters.push(&webhook),
        Of::All => {}
    }
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    let (mut found, mut scanned) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        scanned += 1;
        if found.len() == query.limit || scanned > RECORDS_SCANNED_MAX {
            break;
        }
        let said =
            |column, wanted: &str| Ok::<_, rusqlite::Error>(column::text(row, column)?.as_deref() == Some(wanted));
        let fits = query.reason.map_or(Ok(true), |reason| said(3, reason.as_str()))?
            && webhook.map_or(Ok(true), |webhook| said(1, webhook))?
            && event.is_none_or(|event| row.get_ref(2).is_ok_and(|id| id.as_blob() == Ok(&event[..])));
        if fits && let Some(text) = column::text(row, 5)? {
            found.push((u64::try_from(column::number(row, 0)?).unwrap_or(0), text.into_owned()));
        }
    }
    Ok(found)
}

/// By which index records are listed.
#[derive(Clone, Copy)]
enum Of {
    Event,
    Request,
    Webhook,
    All,
}

fn listing(query: &RecordQuery) -> (String, Of) {
    let (of, condition) = match query {
        RecordQuery { event: Some(_), .. } => (Of::Event, "AND event = ?3"),
        RecordQuery { request: Some(_), .. } => (Of::Request, "AND request = ?3"),
        RecordQuery { webhook: Some(_), .. } => (Of::Webhook, "AND webhook = ?3"),
        _ => (Of::All, ""),
    };
    (format!("SELECT * FROM invocations WHERE number >= ?1 AND number < ?2 {condition} ORDER BY number DESC"), of)
}

/// The text of one record.
pub(super) fn one(connection: &Connection, number: u64) -> Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT text FROM invocations WHERE number = ?1")?;
    let text = statement.query_row([stored(number)], |row| Ok(column::text(row, 0)?.map(std::borrow::Cow::into_owned)));
    Ok(text.optional()?.flatten())
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use tempfile::TempDir;

    use super::super::contract::{assert_by_index, batch, inside, lease_all, name, open, options, rows};
    use super::super::{DiskSpool, Settlement, Spool, schema};
    use super::*;

    fn record(number: u64, webhook: &str, event: u8, reason: Reason) -> Record {
        Record {
            number,
            webhook: webhook.into(),
            event: EventId::from_bytes([event; 16]),
            reason,
            request: (event != 0).then(|| format!("AR-{event}")),
            text: format!("{number}"),
            keep: 3,
        }
    }

    async fn numbers(spool: &dyn Spool, query: RecordQuery) -> Vec<u64> {
        let found = spool.records(RecordQuery { limit: 100, ..query }).await.unwrap();
        assert!(found.iter().all(|(number, text)| *text == number.to_string()), "{found:?}");
        found.into_iter().map(|(number, _)| number).collect()
    }

    /// Has what was recorded written, with the settlement of the delivery of an event of this number.
    async fn settle(spool: &dyn Spool, event: u64) {
        spool.append(batch(event..=event, &["x"])).await.unwrap();
        let [lease] = <[_; 1]>::try_from(lease_all(spool, "x", 1).await).unwrap();
        spool.settle(lease, Settlement::Delivered).await;
        // What is appended after it is written with it, or later.
        spool.append(batch(event + 1000..=event + 1000, &["y"])).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn records_are_listed_by_all_that_they_are_asked_for_and_outlive_the_process() {
        let directory = TempDir::new().unwrap();
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap();
        let at = |number: u64| now + number;
        let spool = open(directory.path());
        for (number, webhook, event, reason) in [
            (1, "a", 1, Reason::Timeout),
            (2, "b", 1, Reason::Gone),
            (3, "a", 2, Reason::Gone),
            (4, "a", 0, Reason::Timeout),
            (5, "a", 1, Reason::Timeout),
            (6, "b", 2, Reason::Gone),
        ] {
            spool.record(record(at(number), webhook, event, reason));
        }
        settle(&*spool, 1).await;
        drop(spool);

        let spool = open(directory.path());
        assert_eq!(last(&inside(directory.path())), at(6));
        let all = RecordQuery::default();
        let webhook = |of: &str| RecordQuery { webhook: Some(name(of)), ..RecordQuery::default() };
        let event = Some(EventId::from_bytes([1; 16]));
        let listed = |found: Vec<u64>| found.into_iter().map(|number| number - now).collect::<Vec<_>>();
        let ask = async |query: RecordQuery| listed(numbers(&*spool, query).await);
        assert_eq!(ask(all.clone()).await, [6, 5, 4, 3, 2], "the first of `a` gave way to its fourth");
        assert_eq!(ask(webhook("a")).await, [5, 4, 3]);
        assert_eq!(ask(webhook("c")).await, [0_u64; 0]);
        assert_eq!(ask(RecordQuery { event, ..all.clone() }).await, [5, 2]);
        assert_eq!(ask(RecordQuery { event, ..webhook("b") }).await, [2]);
        assert_eq!(ask(RecordQuery { request: Some("AR-2".to_owned()), ..all.clone() }).await, [6, 3]);
        assert_eq!(ask(RecordQuery { reason: Some(Reason::Gone), ..all.clone() }).await, [6, 3, 2]);
        assert_eq!(ask(RecordQuery { from: at(3), before: Some(at(5)), ..all.clone() }).await, [4, 3]);
        assert_eq!(spool.records(RecordQuery { limit: 2, ..all }).await.unwrap().len(), 2);
        assert_eq!(spool.find_record(at(4)).await, Ok(Some(at(4).to_string())));
        assert_eq!(spool.find_record(at(1)).await, Ok(None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_stands_in_a_records_way_stands_in_no_others() {
        let directory = TempDir::new().unwrap();
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap();
        let spool = open(directory.path());
        let large = "x".repeat(RECORD_BYTES_MAX + 1);
        spool.record(Record { text: large, ..record(now, "a", 1, Reason::Gone) });
        spool.record(Record { keep: 0, ..record(now + 1, "a", 1, Reason::Gone) });
        settle(&*spool, 1).await;
        assert_eq!(rows(directory.path(), "invocations"), 0);
        // The same number again takes the place of the first, and a table that is gone is missed by nobody.
        spool.record(record(now, "a", 1, Reason::Gone));
        spool.record(record(now, "b", 1, Reason::Gone));
        settle(&*spool, 2).await;
        assert_eq!(rows(directory.path(), "invocations"), 1);
        inside(directory.path()).execute_batch("DROP TABLE invocations").unwrap();
        spool.record(record(now, "a", 1, Reason::Gone));
        settle(&*spool, 3).await;
        let left: u64 = spool.backlog().iter().filter(|one| &*one.webhook == "x").map(|one| one.pending).sum();
        assert_eq!(left, 0);
        drop(spool);
        let spool = DiskSpool::open(options(directory.path())).unwrap();
        assert_eq!(spool.found().record_last, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn old_records_go_and_damaged_ones_are_passed_over() {
        let directory = TempDir::new().unwrap();
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap();
        let spool = open(directory.path());
        spool.record(record(now, "a", 1, Reason::Gone));
        settle(&*spool, 1).await;
        let inside = inside(directory.path());
        inside
            .execute_batch(
                "INSERT INTO invocations VALUES (9223372036854775807, 'a', x'00', 'gone', NULL, 'far ahead');
                 INSERT INTO invocations VALUES (5, 'a', x'01', CAST(x'ff' AS TEXT), 'AR-1', 'old');",
            )
            .unwrap();
        assert_eq!(last(&inside), now);
        drop_old(&inside, Duration::from_hours(1)).unwrap();
        let query = RecordQuery { reason: Some(Reason::Gone), limit: 9, ..RecordQuery::default() };
        assert_eq!(list(&inside, &query).unwrap(), [(now, now.to_string())]);
        assert_eq!(one(&inside, 5).unwrap(), None);
    }

    #[test]
    fn every_question_is_answered_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        for sql in [DROP_BEYOND, DROP_OLD, LAST] {
            assert_by_index(&connection, sql);
        }
        for query in [
            RecordQuery { event: Some(EventId::from_bytes([1; 16])), ..RecordQuery::default() },
            RecordQuery { request: Some(String::new()), ..RecordQuery::default() },
            RecordQuery { webhook: Some(name("a")), ..RecordQuery::default() },
            RecordQuery::default(),
        ] {
            assert_by_index(&connection, &listing(&query).0);
        }
    }
}
