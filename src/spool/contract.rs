//! What the disk spool's contract says of its disk, and the words of all tests of spools.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

/// A wait that is only over when something hangs.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// Long enough for a lease that must not come.
pub(super) const SHORT: Duration = Duration::from_millis(150);

pub(super) fn options(directory: &Path) -> Options {
    Options::new(directory.join("spool"))
}

/// Everything goes to the database at once, as where the journal cannot be written.
pub(super) fn without_journal(directory: &Path) -> Options {
    Options { journal_bytes_max: 0, ..options(directory) }
}

pub(super) fn open(directory: &Path) -> Box<dyn Spool> {
    Box::new(DiskSpool::open(options(directory)).unwrap())
}

/// The payload says which event it is, so that a refilled one can be told.
pub(super) fn event(n: u64) -> Arc<Event> {
    let raw = Bytes::from(format!(r#"{{"n":{n},"exact":1.50}}"#));
    Arc::new(Event::new(
        EventId::new(Uuid::from_u128(u128::from(n))),
        "request".into(),
        "RequestGranted".into(),
        Timestamp::from_millisecond(1_700_000_000_000 + i64::try_from(n).unwrap()).unwrap(),
        raw,
    ))
}

pub(super) fn name(text: &str) -> Arc<str> {
    text.into()
}

pub(super) fn batch(numbers: impl IntoIterator<Item = u64>, webhooks: &[&str]) -> Batch {
    let owed: Vec<Owed> = webhooks.iter().map(|webhook| Owed { webhook: name(webhook), lane: None }).collect();
    Batch { events: numbers.into_iter().map(|n| (event(n), owed.clone())).collect(), key: None }
}

pub(super) fn number(lease: &Lease) -> u64 {
    assert_eq!(lease.event.raw, event(lease.event.payload().unwrap()["n"].as_u64().unwrap()).raw);
    lease.event.payload().unwrap()["n"].as_u64().unwrap()
}

pub(super) async fn lease(spool: &dyn Spool, webhook: &str, max: usize) -> Vec<Lease> {
    timeout(LONG, spool.lease(&name(webhook), max)).await.expect("a lease that is due has to come")
}

/// Leases exactly this many, in as many calls as it takes.
pub(super) async fn lease_all(spool: &dyn Spool, webhook: &str, count: usize) -> Vec<Lease> {
    let mut leases = Vec::new();
    while leases.len() < count {
        leases.extend(lease(spool, webhook, count - leases.len()).await);
    }
    leases
}

pub(super) async fn nothing_is_due(spool: &dyn Spool, webhook: &str) {
    let due = timeout(SHORT, spool.lease(&name(webhook), 10)).await;
    assert!(due.is_err(), "{webhook} has something due: {due:?}");
}

pub(super) fn counters(spool: &dyn Spool, webhook: &str) -> (u64, u64) {
    let backlog = spool.backlog();
    backlog.iter().find(|entry| &*entry.webhook == webhook).map_or((0, 0), |entry| (entry.pending, entry.dead))
}

pub(super) async fn counters_become(spool: &dyn Spool, webhook: &str, expect: (u64, u64)) {
    let reached = async {
        while counters(spool, webhook) != expect {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let found = || counters(spool, webhook);
    assert!(timeout(LONG, reached).await.is_ok(), "expected {expect:?}, found {:?}", found());
}

fn buried() -> Settlement {
    let reason = Reason::ClientError;
    Settlement::Bury { reason, last: Some(outcome(reason, 400)), attempts: 3, at: Timestamp::now(), record: None }
}

pub(super) fn outcome(reason: Reason, status: u16) -> LastOutcome {
    LastOutcome { reason, status: Some(status), detail: "a.example answered so".to_owned() }
}

pub(super) fn deferred(after: Duration, attempts: u32) -> Settlement {
    deferred_to(Timestamp::now() + after, attempts)
}

pub(super) fn deferred_to(until: Timestamp, attempts: u32) -> Settlement {
    let last = outcome(Reason::ServerError, 503);
    Settlement::Defer { until, attempts, failing_since: None, passed: false, last, record: None }
}

/// A second connection to the database, to look inside or to make the disk fail.
pub(super) fn inside(directory: &Path) -> Connection {
    let connection = Connection::open(directory.join("spool/spool.db")).unwrap();
    connection.busy_timeout(LONG).unwrap();
    connection
}

/// Holds that a statement finds its rows by an index and sorts nothing.
#[track_caller]
pub(super) fn assert_by_index(connection: &Connection, sql: &str) {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let plan: Vec<String> = statement.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap();
    let is_fine = |step: &String| !step.starts_with("SCAN") && !step.contains("TEMP B-TREE");
    assert!(plan.iter().all(is_fine), "{sql}: {plan:#?}");
}

pub(super) fn rows(directory: &Path, table: &str) -> i64 {
    inside(directory).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_kept_all_or_none() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(without_journal(directory.path())).unwrap();
    spool.append(batch([1], &["a"])).await.unwrap();
    let disk = inside(directory.path());
    disk.execute_batch(
        "CREATE TRIGGER fault BEFORE INSERT ON events WHEN (SELECT count(*) FROM events) >= 3
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    .unwrap();
    let refused = spool.append(batch(2..=5, &["a", "new"])).await;
    let Err(error @ SpoolError::Unavailable(_)) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("no room"), "{error}");
    assert!(error.retry_after() > Duration::ZERO);
    assert_eq!((rows(directory.path(), "events"), rows(directory.path(), "deliveries")), (1, 1));
    assert_eq!((counters(&spool, "a"), counters(&spool, "new")), ((1, 0), (0, 0)));

    disk.execute_batch("DROP TRIGGER fault").unwrap();
    spool.append(batch(2..=5, &["a", "new"])).await.unwrap();
    assert_eq!(lease_all(&spool, "a", 5).await.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(lease_all(&spool, "new", 4).await.iter().map(number).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settlements_that_cannot_be_written_are_kept_and_written_later() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(without_journal(directory.path())).unwrap();
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let disk = inside(directory.path());
    disk.execute_batch("CREATE TRIGGER fault BEFORE DELETE ON deliveries BEGIN SELECT RAISE(ROLLBACK, 'I/O'); END")
        .unwrap();
    for lease in lease_all(&spool, "a", 2).await {
        spool.settle(lease, Settlement::Delivered).await;
    }
    tokio::time::sleep(SHORT).await;
    assert_eq!(counters(&spool, "a"), (3, 0), "nothing could be written");
    let refused = spool.append(batch([4], &["a"])).await;
    assert!(matches!(refused, Err(SpoolError::Unavailable(_))), "{refused:?}");
    disk.execute_batch("DROP TRIGGER fault").unwrap();
    counters_become(&spool, "a", (1, 0)).await;
    spool.append(batch([5], &["a"])).await.unwrap();
    assert_eq!(lease_all(&spool, "a", 2).await.iter().map(number).collect::<Vec<_>>(), [3, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_when_its_last_webhook_does_not_need_it_any_more() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(without_journal(directory.path())).unwrap();
    spool.append(batch([1], &["a", "b", "c", "a"])).await.unwrap();
    assert_eq!(counters(&spool, "a"), (1, 0), "a webhook that is named twice is owed once");
    for (webhook, settlement, events) in
        [("a", Settlement::Delivered, 1), ("b", buried(), 1), ("c", Settlement::Delivered, 1)]
    {
        let lease = lease(&spool, webhook, 1).await.pop().unwrap();
        let dead = u64::from(matches!(settlement, Settlement::Bury { .. }));
        spool.settle(lease, settlement).await;
        counters_become(&spool, webhook, (0, dead)).await;
        assert_eq!(rows(directory.path(), "events"), events, "after {webhook}");
    }
    spool.append(batch([2], &[])).await.unwrap();
    assert_eq!(rows(directory.path(), "events"), 1, "an event that nobody wants is not kept");
    drop(spool);

    // The dead letter was the last that needed it.
    let options = Options { dead_letter_retention: Duration::ZERO, ..options(directory.path()) };
    tokio::time::sleep(Duration::from_millis(5)).await;
    let spool = DiskSpool::open(options).unwrap();
    assert_eq!(spool.found(), Found { pending: 0, dead: 0, dropped: 1 });
    assert_eq!(
        (rows(directory.path(), "events"), rows(directory.path(), "owed"), rows(directory.path(), "dead")),
        (0, 0, 0)
    );
}
