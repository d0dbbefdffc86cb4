//! The contract of lanes: who waits for whom, over deferrals, burials, failures and openings.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::timeout;

use super::contract::{
    LONG, counters, counters_become, deferred, event, inside, lease, lease_all, name, nothing_is_due, number, outcome,
};
use super::*;

/// How a spool is opened.
type Make = fn(&Path) -> Options;

fn open(options: Make, directory: &Path) -> Box<dyn Spool> {
    Box::new(DiskSpool::open(options(directory)).unwrap())
}

/// Every test with the journal and without.
macro_rules! order {
    ($($test:ident)*) => {
        order! { @ journal, contract::options, $($test)* }
        order! { @ database, contract::without_journal, $($test)* }
    };
    (@ $module:ident, $options:path, $($test:ident)*) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test($options).await;
                }
            )*
        }
    };
}

order! {
    one_of_a_lane_at_a_time_and_other_lanes_pass
    a_lane_waits_while_its_first_is_deferred_or_given_back
    what_leaves_its_lane_holds_nobody_up
    the_order_holds_over_an_opening
    lanes_of_different_webhooks_do_not_know_each_other
    a_batch_of_one_lane_goes_one_after_the_other
    a_burial_takes_all_of_a_lane_and_what_is_left_of_it_goes_on
    a_burial_ends_however_fast_others_append
    what_is_older_than_a_time_is_buried_and_the_rest_is_not
    what_is_replayed_stands_outside_the_order_and_is_as_young_as_its_replay
}

/// Event `n` in a lane of its webhook; 0 is none.
fn in_lane(n: u64, webhook: &str, lane: u8) -> Batch {
    let lane = (lane != 0).then(|| Lane::of(&[lane]));
    Batch { events: vec![(event(n), vec![Owed { webhook: name(webhook), lane }])], key: None }
}

async fn append(spool: &dyn Spool, events: &[(u64, u8)]) {
    for (n, lane) in events {
        spool.append(in_lane(*n, "a", *lane)).await.unwrap();
    }
}

async fn numbers(spool: &dyn Spool, count: usize) -> Vec<u64> {
    lease_all(spool, "a", count).await.iter().map(number).collect()
}

fn left_lane(after: Duration) -> Settlement {
    let Settlement::Defer { until, attempts, failing_since, last, .. } = deferred(after, 1) else { unreachable!() };
    Settlement::Defer { until, attempts, failing_since, last, passed: true, record: None }
}

async fn one_of_a_lane_at_a_time_and_other_lanes_pass(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = open(options, directory.path());
    append(&*spool, &[(1, 1), (2, 1), (3, 2), (4, 0), (5, 1), (6, 2), (7, 0)]).await;
    let mut leases = lease_all(&*spool, "a", 4).await;
    assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), [1, 3, 4, 7]);
    nothing_is_due(&*spool, "a").await;
    let last = leases.pop().unwrap();
    spool.settle(last, Settlement::Delivered).await;
    nothing_is_due(&*spool, "a").await;
    // The one that goes lets the next one of its lane go, however it goes.
    let first = leases.remove(0);
    let bury =
        Settlement::Bury { reason: Reason::ClientError, last: None, attempts: 1, at: Timestamp::now(), record: None };
    spool.settle(first, bury).await;
    let second = lease(&*spool, "a", 5).await;
    assert_eq!(second.iter().map(number).collect::<Vec<_>>(), [2]);
    nothing_is_due(&*spool, "a").await;
    for lease in second {
        spool.settle(lease, Settlement::Delivered).await;
    }
    assert_eq!(numbers(&*spool, 1).await, [5]);
}

async fn a_lane_waits_while_its_first_is_deferred_or_given_back(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = open(options, directory.path());
    append(&*spool, &[(1, 1), (2, 1)]).await;
    drop(lease(&*spool, "a", 5).await);
    let mut first = lease(&*spool, "a", 5).await;
    assert_eq!(first.iter().map(number).collect::<Vec<_>>(), [1]);
    spool.settle(first.pop().unwrap(), deferred(Duration::from_millis(300), 1)).await;
    append(&*spool, &[(3, 1)]).await;
    nothing_is_due(&*spool, "a").await;
    for n in 1..=3 {
        let next = lease(&*spool, "a", 5).await;
        assert_eq!(next.iter().map(number).collect::<Vec<_>>(), [n]);
        for lease in next {
            spool.settle(lease, Settlement::Delivered).await;
        }
    }
    counters_become(&*spool, "a", (0, 0)).await;
}

async fn what_leaves_its_lane_holds_nobody_up(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = open(options, directory.path());
    append(&*spool, &[(1, 1), (2, 1)]).await;
    let first = lease(&*spool, "a", 5).await.pop().unwrap();
    spool.settle(first, left_lane(Duration::from_hours(1))).await;
    let second = lease(&*spool, "a", 5).await.pop().unwrap();
    assert_eq!(number(&second), 2);
    spool.settle(second, Settlement::Delivered).await;
    append(&*spool, &[(3, 1), (4, 1)]).await;
    assert_eq!(numbers(&*spool, 1).await, [3]);
    assert_eq!(counters(&*spool, "a"), (3, 0));
}

async fn the_order_holds_over_an_opening(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = open(options, directory.path());
    append(&*spool, &[(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]).await;
    let mut leases = lease_all(&*spool, "a", 2).await;
    spool.settle(leases.pop().unwrap(), Settlement::Delivered).await;
    let failing_since = Some(Timestamp::from_millisecond(1_700_000_000_123).unwrap());
    let Settlement::Defer { until, attempts, last, .. } = deferred(Duration::from_millis(200), 3) else {
        unreachable!()
    };
    spool
        .settle(
            leases.pop().unwrap(),
            Settlement::Defer { until, attempts, failing_since, passed: false, last, record: None },
        )
        .await;
    counters_become(&*spool, "a", (4, 0)).await;
    spool.close().await;
    drop(spool);

    let spool = open(options, directory.path());
    let held = lease(&*spool, "a", 5).await;
    assert_eq!(held.iter().map(number).collect::<Vec<_>>(), [5], "its lane's first was delivered before");
    let first = lease(&*spool, "a", 5).await.pop().unwrap();
    assert_eq!((number(&first), first.attempts, first.failing_since), (1, 3, failing_since));
    nothing_is_due(&*spool, "a").await;
    spool.settle(first, Settlement::Delivered).await;
    assert_eq!(numbers(&*spool, 1).await, [2]);
}

async fn lanes_of_different_webhooks_do_not_know_each_other(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = open(options, directory.path());
    let lane = Some(Lane::of(b"request-17"));
    let owed = |webhook| Owed { webhook: name(webhook), lane };
    for n in 1..=2 {
        let events = vec![(event(n), vec![owed("a"), owed("b"), Owed { webhook: name("c"), lane: None }])];
        spool.append(Batch { events, key: None }).await.unwrap();
    }
    let (first, held) = (lease(&*spool, "a", 5).await, lease(&*spool, "b", 5).await);
    assert_eq!((first.len(), held.len()), (1, 1));
    assert_eq!(lease_all(&*spool, "c", 2).await.len(), 2);
    for lease in first {
        spool.settle(lease, Settlement::Delivered).await;
    }
    assert_eq!(numbers(&*spool, 1).await, [2]);
    nothing_is_due(&*spool, "b").await;
}

async fn a_batch_of_one_lane_goes_one_after_the_other(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = open(options, directory.path());
    let lane = Some(Lane::WHOLE);
    let events = (1..=200).map(|n| (event(n), vec![Owed { webhook: name("a"), lane }])).collect();
    spool.append(Batch { events, key: None }).await.unwrap();
    for n in 1..=200 {
        let mut next = lease(&*spool, "a", 10).await;
        assert_eq!(next.iter().map(number).collect::<Vec<_>>(), [n]);
        spool.settle(next.pop().unwrap(), Settlement::Delivered).await;
    }
    counters_become(&*spool, "a", (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_goes_on_when_its_turn_could_not_be_written_at_first() {
    let directory = TempDir::new().unwrap();
    let spool = open(contract::without_journal, directory.path());
    append(&*spool, &[(1, 1), (2, 1)]).await;
    let first = lease(&*spool, "a", 5).await.pop().unwrap();
    let disk = inside(directory.path());
    disk.execute_batch("CREATE TRIGGER fault BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ROLLBACK, 'I/O'); END")
        .unwrap();
    spool.settle(first, Settlement::Delivered).await;
    nothing_is_due(&*spool, "a").await;
    disk.execute_batch("DROP TRIGGER fault").unwrap();
    assert_eq!(numbers(&*spool, 1).await, [2]);
}

async fn a_burial_takes_all_of_a_lane_and_what_is_left_of_it_goes_on(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = open(options, directory.path());
    append(&*spool, &[(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 0)]).await;
    let held = lease(&*spool, "a", 1).await.pop().unwrap();
    assert_eq!(spool.bury(&name("a"), Reason::WebhookRemoved, None).await, Ok(5));
    assert_eq!(counters(&*spool, "a"), (1, 5));
    append(&*spool, &[(7, 1), (8, 2)]).await;
    let eighth = lease(&*spool, "a", 5).await;
    assert_eq!(eighth.iter().map(number).collect::<Vec<_>>(), [8]);
    spool.settle(held, Settlement::Delivered).await;
    assert_eq!(numbers(&*spool, 1).await, [7]);
}

async fn a_burial_ends_however_fast_others_append(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool: Arc<dyn Spool> = Arc::from(open(options, directory.path()));
    append(&*spool, &[(1, 1), (2, 1), (3, 0)]).await;
    let appenders: Vec<_> = (0..2_u8)
        .map(|lane| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                loop {
                    let lane = (lane != 0).then(|| Lane::of(&[2]));
                    let owed = vec![Owed { webhook: name("a"), lane }];
                    let events = (0..400).map(|n| (event(10 + n), owed.clone())).collect();
                    spool.append(Batch { events, key: None }).await.unwrap();
                }
            })
        })
        .collect();
    let future = Some(Timestamp::now());
    for (older_than, least) in [(None, 3), (future, 0)] {
        let ends = timeout(LONG, spool.bury(&name("a"), Reason::WebhookRemoved, older_than)).await;
        assert!(ends.expect("it ends").unwrap() >= least);
    }
    for appender in appenders {
        appender.abort();
    }
}

async fn what_is_older_than_a_time_is_buried_and_the_rest_is_not(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(Options { ready_max: 4, ..options(directory.path()) }).unwrap();
    for n in 1..=900 {
        spool.append(in_lane(n, "a", u8::from(n % 3 == 0))).await.unwrap();
    }
    // Old ones that were attempted, in the future and in the past.
    for lease in lease_all(&spool, "a", 20).await {
        let after = if number(&lease).is_multiple_of(2) { Duration::from_hours(1) } else { Duration::ZERO };
        spool.settle(lease, deferred(after, 1)).await;
    }
    // Event n was taken in n milliseconds after the first.
    let older_than = Some(event(601).received_at);
    assert_eq!(spool.bury(&name("a"), Reason::Expired, older_than).await, Ok(600));
    assert_eq!(spool.bury(&name("a"), Reason::Expired, older_than).await, Ok(0));
    assert_eq!(counters(&spool, "a"), (300, 600));
    let page = spool.dead_letters(DeadLetterQuery { oldest_first: true, ..DeadLetterQuery::default() }).await.unwrap();
    assert_eq!(page.letters.len(), 600);
    assert!(
        page.letters
            .iter()
            .all(|letter| letter.reason == Reason::Expired && letter.received_at < event(601).received_at)
    );
    let attempted = page.letters.iter().filter(|letter| letter.last == Some(outcome(Reason::ServerError, 503)));
    assert_eq!(attempted.count(), 20);
    let mut left: Vec<u64> = Vec::new();
    while left.len() < 300 {
        for lease in lease(&spool, "a", 50).await {
            left.push(number(&lease));
            spool.settle(lease, Settlement::Delivered).await;
        }
    }
    let in_lane: Vec<u64> = left.iter().copied().filter(|n| n % 3 == 0).collect();
    assert!(in_lane.is_sorted() && in_lane.len() == 100, "{in_lane:?}");
    left.sort_unstable();
    assert_eq!(left, (601..=900).collect::<Vec<_>>());
}

async fn what_is_replayed_stands_outside_the_order_and_is_as_young_as_its_replay(options: Make) {
    let directory = TempDir::new().unwrap();
    let spool: Arc<dyn Spool> = Arc::from(open(options, directory.path()));
    append(&*spool, &[(1, 1), (2, 1), (3, 1)]).await;
    let first = lease(&*spool, "a", 1).await.pop().unwrap();
    let bury =
        Settlement::Bury { reason: Reason::ClientError, last: None, attempts: 4, at: Timestamp::now(), record: None };
    spool.settle(first, bury).await;
    let second = lease(&*spool, "a", 1).await.pop().unwrap();
    let letter = spool.dead_letters(DeadLetterQuery::default()).await.unwrap().letters.pop().unwrap();
    let before = Timestamp::now();
    assert_eq!(spool.replay(vec![letter.number]).await, Ok(1));
    assert_eq!(spool.replay(vec![letter.number, -5]).await, Ok(0), "it is no dead letter any more");
    assert_eq!(counters(&*spool, "a"), (3, 0));
    let replayed = lease(&*spool, "a", 5).await.pop().unwrap();
    assert_eq!((number(&replayed), replayed.attempts), (1, 0), "it passes the one that holds its lane");
    assert!(replayed.since.as_millisecond() >= before.as_millisecond());
    assert_eq!(spool.bury(&name("a"), Reason::Expired, Some(before)).await, Ok(1), "the one that waits is older");
    drop(replayed);
    assert_eq!(numbers(&*spool, 1).await, [1], "the one that was replayed is not");
    drop(second);
}
