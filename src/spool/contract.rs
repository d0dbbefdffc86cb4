//! The contract as tests. They know the trait alone, beside how a spool is opened and how its disk is made to fail.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{Timestamp, ToSpan};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

/// A wait that is only over when something hangs.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// Long enough for a lease that must not come.
const SHORT: Duration = Duration::from_millis(150);

pub(super) fn options(directory: &Path) -> Options {
    Options::new(directory.join("spool"))
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
async fn what_was_appended_comes_back_in_order_after_reopening() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=5, &["a", "b"])).await.unwrap();
    let held = lease(&*spool, "a", 2).await;
    assert_eq!(held.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    drop(spool);
    drop(held);

    let spool = open(directory.path());
    for webhook in ["a", "b"] {
        let leases = lease_all(&*spool, webhook, 5).await;
        assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let first = &leases[0];
        assert_eq!(
            (first.event.id, &*first.event.kind, &*first.event.event_type),
            (event(1).id, "request", "RequestGranted")
        );
        assert_eq!((first.event.received_at, first.attempts), (event(1).received_at, 0));
        assert_eq!(
            first.event.payload().unwrap()["exact"],
            json!(serde_json::from_str::<serde_json::Value>("1.50").unwrap())
        );
    }
    assert_eq!(spool.backlog()[0].oldest_pending, Some(event(1).received_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_kept_all_or_none() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
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
    assert_eq!((counters(&*spool, "a"), counters(&*spool, "new")), ((1, 0), (0, 0)));

    disk.execute_batch("DROP TRIGGER fault").unwrap();
    spool.append(batch(2..=5, &["a", "new"])).await.unwrap();
    assert_eq!(lease_all(&*spool, "a", 5).await.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(lease_all(&*spool, "new", 4).await.iter().map(number).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settlements_that_cannot_be_written_are_kept_and_written_later() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let disk = inside(directory.path());
    disk.execute_batch("CREATE TRIGGER fault BEFORE DELETE ON deliveries BEGIN SELECT RAISE(ROLLBACK, 'I/O'); END")
        .unwrap();
    for lease in lease_all(&*spool, "a", 2).await {
        spool.settle(lease, Settlement::Delivered).await;
    }
    tokio::time::sleep(SHORT).await;
    assert_eq!(counters(&*spool, "a"), (3, 0), "nothing could be written");
    let refused = spool.append(batch([4], &["a"])).await;
    assert!(matches!(refused, Err(SpoolError::Unavailable(_))), "{refused:?}");
    disk.execute_batch("DROP TRIGGER fault").unwrap();
    counters_become(&*spool, "a", (1, 0)).await;
    spool.append(batch([5], &["a"])).await.unwrap();
    assert_eq!(lease_all(&*spool, "a", 2).await.iter().map(number).collect::<Vec<_>>(), [3, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leased_delivery_is_nobody_elses() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let held = lease(&*spool, "a", 3).await;
    assert_eq!(held.len(), 3);
    nothing_is_due(&*spool, "a").await;
    nothing_is_due(&*spool, "never-named").await;
    assert_eq!(spool.lease(&name("a"), 0).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_lease_goes_back_to_the_front_and_wakes_a_waiter() {
    let directory = TempDir::new().unwrap();
    let spool: Arc<dyn Spool> = Arc::from(open(directory.path()));
    spool.append(batch(1..=4, &["a"])).await.unwrap();
    drop(lease(&*spool, "a", 3).await);
    let all = lease_all(&*spool, "a", 4).await;
    assert_eq!(all.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4]);

    let waiter = tokio::spawn({
        let spool = Arc::clone(&spool);
        async move { lease(&*spool, "a", 4).await.len() }
    });
    tokio::time::sleep(SHORT).await;
    let started = std::time::Instant::now();
    let holder = tokio::spawn(async move {
        let _held = all;
        panic!("a panic in the holder is part of this test");
    });
    assert!(holder.await.is_err());
    assert!(waiter.await.unwrap() > 0);
    assert!(started.elapsed() < Duration::from_secs(2), "the waiter was woken, and did not find it by looking again");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_rows_follow_each_settlement() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    assert_eq!(counters(&*spool, "a"), (3, 0));
    let mut leases = lease_all(&*spool, "a", 3).await.into_iter();
    spool.settle(leases.next().unwrap(), Settlement::Delivered).await;
    counters_become(&*spool, "a", (2, 0)).await;
    spool.settle(leases.next().unwrap(), buried()).await;
    counters_become(&*spool, "a", (1, 1)).await;
    spool.settle(leases.next().unwrap(), deferred(Duration::from_hours(1), 7)).await;
    spool.close().await;
    drop(spool);
    assert_eq!((rows(directory.path(), "events"), rows(directory.path(), "owed")), (2, 0));

    let spool = DiskSpool::open(options(directory.path())).unwrap();
    assert_eq!(spool.found(), Found { pending: 1, dead: 1, dropped: 0 });
    assert_eq!(counters(&spool, "a"), (1, 1));
    nothing_is_due(&spool, "a").await;
    let page = spool.dead_letters(DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() }).await.unwrap();
    let ([letter], None) = (&page.letters[..], page.next) else { panic!("{page:?}") };
    assert_eq!((letter.event, &*letter.webhook, letter.attempts), (event(2).id, "a", 3));
    assert_eq!((letter.reason, &letter.last), (Reason::ClientError, &Some(outcome(Reason::ClientError, 400))));
    assert_eq!((letter.received_at, &*letter.event_type), (event(2).received_at, "RequestGranted"));
    let query = DeadLetterQuery { behind: Some(letter.number), ..DeadLetterQuery::default() };
    assert_eq!(spool.dead_letters(query).await.unwrap(), DeadLetterPage::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_delivery_comes_when_it_is_due_and_not_before() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch([1, 2, 3], &["a"])).await.unwrap();
    let started = std::time::Instant::now();
    for (lease, ms) in lease_all(&*spool, "a", 3).await.into_iter().zip([900, 300, 600]) {
        spool.settle(lease, deferred(Duration::from_millis(ms), 1)).await;
    }
    for (n, ms) in [(2, 300), (3, 600), (1, 900)] {
        let mut leases = lease(&*spool, "a", 5).await;
        let due = leases.pop().unwrap();
        assert_eq!((leases.len(), number(&due), due.attempts), (0, n, 1));
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(ms - 2), "event {n} came after {elapsed:?}");
        spool.settle(due, Settlement::Delivered).await;
    }
    counters_become(&*spool, "a", (0, 0)).await;
    assert_eq!(rows(directory.path(), "events"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferral_before_others_that_were_read_already_is_not_lost() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=40, &["a"])).await.unwrap();
    // Each round defers into the past, before rows that refills have gone by.
    for round in 1..=6 {
        for lease in lease_all(&*spool, "a", 40).await {
            let back = (lease.event.payload().unwrap()["n"].as_i64().unwrap() * 7 + i64::from(round) * 13) % 50;
            let until = Timestamp::now() - back.milliseconds();
            spool.settle(lease, deferred_to(until, round)).await;
        }
    }
    let leases = lease_all(&*spool, "a", 40).await;
    assert_eq!(leases.iter().map(number).collect::<BTreeSet<_>>(), (1..=40).collect());
    assert!(leases.iter().all(|lease| lease.attempts == 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_time_before_the_epoch_is_a_retry_and_due_at_once() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch([1], &["a"])).await.unwrap();
    let first = lease(&*spool, "a", 1).await.pop().unwrap();
    let settlement = deferred_to(Timestamp::from_second(-300_000_000).unwrap(), 1);
    spool.settle(first, settlement).await;
    assert_eq!(lease(&*spool, "a", 1).await[0].attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_when_its_last_webhook_does_not_need_it_any_more() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch([1], &["a", "b", "c", "a"])).await.unwrap();
    assert_eq!(counters(&*spool, "a"), (1, 0), "a webhook that is named twice is owed once");
    for (webhook, settlement, events) in
        [("a", Settlement::Delivered, 1), ("b", buried(), 1), ("c", Settlement::Delivered, 1)]
    {
        let lease = lease(&*spool, webhook, 1).await.pop().unwrap();
        let dead = u64::from(matches!(settlement, Settlement::Bury { .. }));
        spool.settle(lease, settlement).await;
        counters_become(&*spool, webhook, (0, dead)).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_spool_has_committed_what_was_queued_and_refuses_the_rest() {
    let directory = TempDir::new().unwrap();
    let spool: Arc<dyn Spool> = Arc::from(open(directory.path()));
    spool.append(batch(1..=100, &["a"])).await.unwrap();
    let waiter = tokio::spawn({
        let spool = Arc::clone(&spool);
        async move { lease(&*spool, "idle", 1).await.len() }
    });
    for lease in lease_all(&*spool, "a", 60).await {
        spool.settle(lease, Settlement::Delivered).await;
    }
    spool.close().await;
    spool.close().await;
    assert_eq!(waiter.await.unwrap(), 0, "waiters end");
    assert_eq!(spool.append(batch([1], &["a"])).await, Err(SpoolError::Closed));
    assert_eq!(spool.bury(&name("a"), Reason::WebhookRemoved, None).await, Err(SpoolError::Closed));
    assert_eq!(lease(&*spool, "a", 1).await.len(), 0);
    drop(spool);
    let spool = open(directory.path());
    assert_eq!(counters(&*spool, "a"), (40, 0));
    let leases = lease_all(&*spool, "a", 40).await;
    assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), (61..=100).collect::<Vec<_>>());
}
