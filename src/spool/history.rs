//! The contract of failed invocations that are kept.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::contract::outcome;
use super::contract::{batch, counters, counters_become, inside, lease_all, name, open, options};
use super::*;

/// A number of now, so that no retention takes it.
fn now_us() -> u64 {
    Timestamp::now().as_microsecond().unsigned_abs()
}

pub(super) fn record(number: u64, keep: usize) -> Record {
    let reason = if number.is_multiple_of(3) { Reason::Timeout } else { Reason::ServerError };
    let request = number.is_multiple_of(2).then(|| format!("AR-{}", number % 4));
    Record { number, reason, request, text: format!(r#"{{"number":{number}}}"#).into(), keep }
}

fn deferred(record: Record) -> Settlement {
    let record = Some(Box::new(record));
    let last = outcome(Reason::ServerError, 503);
    Settlement::Defer { until: Timestamp::now(), attempts: 1, failing_since: None, passed: false, last, record }
}

fn buried(record: Record) -> Settlement {
    let record = Some(Box::new(record));
    Settlement::Bury { reason: Reason::ClientError, last: None, attempts: 1, at: Timestamp::now(), record }
}

/// Defers a delivery of a webhook with each of these records, one after the other.
async fn keep(spool: &dyn Spool, webhook: &str, records: impl IntoIterator<Item = Record>) {
    for record in records {
        let lease = lease_all(spool, webhook, 1).await.remove(0);
        spool.settle(lease, deferred(record)).await;
    }
}

/// Waits until what was queued is written.
async fn written(spool: &dyn Spool) {
    let count = counters(spool, "written").0;
    spool.append(batch([9_000_000], &["written"])).await.unwrap();
    counters_become(spool, "written", (count + 1, 0)).await;
}

async fn listed(spool: &dyn Spool, query: InvocationQuery) -> Vec<u64> {
    let page = spool.invocations(query).await.unwrap();
    page.invocations.iter().map(|recorded| recorded.number).collect()
}

async fn all(spool: &dyn Spool) -> Vec<u64> {
    listed(spool, InvocationQuery::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_webhook_the_latest_are_kept_and_of_all_what_their_share_holds() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(Options { bytes_max: 4 << 20, ..options(directory.path()) }).unwrap();
    spool.append(batch([1], &["a", "b", "c"])).await.unwrap();
    let first = now_us();
    keep(&spool, "b", [record(first, 3)]).await;
    keep(&spool, "a", (first + 1..first + 8).map(|n| record(n, 3))).await;
    written(&spool).await;
    assert_eq!(all(&spool).await, [first + 7, first + 6, first + 5, first]);
    // Another bound holds with the next record.
    keep(&spool, "a", [record(first + 8, 2)]).await;
    written(&spool).await;
    assert_eq!(all(&spool).await, [first + 8, first + 7, first]);

    let large = |number| Record { text: "x".repeat(60_000).into(), ..record(number, 1000) };
    keep(&spool, "c", (first + 10..first + 30).map(large)).await;
    written(&spool).await;
    let kept = all(&spool).await;
    // An eighth of 4 MiB holds eight of them.
    assert_eq!(kept, (first + 22..first + 30).rev().collect::<Vec<_>>(), "the oldest of all go first");
    keep(&spool, "a", [record(first + 31, 0)]).await;
    written(&spool).await;
    let of_a = InvocationQuery { webhook: Some(name("a")), ..InvocationQuery::default() };
    assert_eq!(listed(&spool, of_a).await, Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_stands_in_no_settlements_way() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=6, &["a"])).await.unwrap();
    let first = now_us();
    let records = [
        record(first, 9),
        Record { text: "taken".into(), ..record(first, 9) },
        Record { text: "x".repeat(RECORD_BYTES_MAX + 1).into(), ..record(first + 1, 9) },
        record(0, 9),
        record(u64::MAX, 9),
        Record { request: Some("r".repeat(RECORD_REQUEST_BYTES_MAX + 1)), ..record(first + 2, usize::MAX) },
    ];
    for (lease, record) in lease_all(&*spool, "a", 6).await.into_iter().zip(records) {
        spool.settle(lease, buried(record)).await;
    }
    counters_become(&*spool, "a", (0, 6)).await;
    assert_eq!(all(&*spool).await, [first + 2, first]);
    assert_eq!(*spool.invocation(first).await.unwrap().unwrap().text, *record(first, 9).text);
    assert_eq!(spool.invocation(first + 2).await.unwrap().unwrap().request, None);

    // Neither does a table that refuses them, whether it undoes the transaction or not.
    for (at, how) in [(0, "ABORT"), (1, "ROLLBACK")] {
        let disk = inside(directory.path());
        let fault =
            format!("CREATE TRIGGER fault BEFORE INSERT ON invocations BEGIN SELECT RAISE({how}, 'no room'); END");
        disk.execute_batch(&fault).unwrap();
        spool.append(batch([10 + at], &["b"])).await.unwrap();
        let lease = lease_all(&*spool, "b", 1).await.remove(0);
        spool.settle(lease, buried(record(first + 3, 9))).await;
        counters_become(&*spool, "b", (0, at + 1)).await;
        disk.execute_batch("DROP TRIGGER fault").unwrap();
    }
    assert_eq!(all(&*spool).await, [first + 2, first]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_after_their_retention_and_their_webhook_with_them() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch([1], &["old", "new"])).await.unwrap();
    let now = now_us();
    let hour = 3_600_000_000;
    keep(&*spool, "old", [record(now - 3 * hour, 9)]).await;
    keep(&*spool, "new", [record(now, 9)]).await;
    for webhook in ["old", "new"] {
        let lease = lease_all(&*spool, webhook, 1).await.remove(0);
        spool.settle(lease, Settlement::Delivered).await;
        counters_become(&*spool, webhook, (0, 0)).await;
    }
    drop(spool);
    // What makes no sense is dropped, and never the last number.
    let broken = "INSERT INTO invocations VALUES (-5, 1, x'00', NULL, NULL, -9, ''), (9223372036854775807, 1, x'', 'x', NULL, 1, '')";
    inside(directory.path()).execute_batch(broken).unwrap();
    let within = |hours| Options { dead_letter_retention: Duration::from_hours(hours), ..options(directory.path()) };
    let spool = DiskSpool::open(within(2)).unwrap();
    assert_eq!((all(&spool).await, spool.last_invocation()), (vec![now], now));
    let webhooks: Vec<_> = spool.backlog().iter().map(|backlog| backlog.webhook.to_string()).collect();
    assert_eq!(webhooks, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_hides_no_other() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch([1], &["a"])).await.unwrap();
    let first = now_us();
    keep(&*spool, "a", (first..first + 5).map(|n| record(n, 9))).await;
    drop(spool);
    inside(directory.path())
        .execute_batch(&format!(
            "UPDATE invocations SET event = x'00' WHERE number = {first};
             UPDATE invocations SET webhook = 77 WHERE number = {first} + 1;
             UPDATE invocations SET reason = CAST(x'ff' AS TEXT) WHERE number = {first} + 2;
             UPDATE invocations SET text = CAST(x'41ff' AS TEXT), bytes = -7 WHERE number = {first} + 3;"
        ))
        .unwrap();
    let spool = open(directory.path());
    assert_eq!(all(&*spool).await, [first + 4, first + 3]);
    assert_eq!(spool.invocation(first + 3).await.unwrap().unwrap().text, "A\u{fffd}");
    assert_eq!(spool.invocation(first).await.unwrap(), None);
}
