//! The contract where there is much of something: of deliveries, holders, bytes, dead letters.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::contract::{LONG, batch, counters, counters_become, deferred, event, lease, lease_all};
use super::contract::{name, nothing_is_due, number, open, options, outcome, rows};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_come_back_from_disk_each_once_with_little_in_memory() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(Options { ready_max: 8, ..options(directory.path()) }).unwrap();
    for first in (0..3000).step_by(100) {
        spool.append(batch(first..first + 100, &["a", "b"])).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 3000 {
        for lease in lease(&spool, "a", 16).await {
            seen.push(number(&lease));
            // Some are deferred once, so that both kinds of rows are refilled together.
            let settlement = if lease.attempts == 0 && seen.len() % 5 == 0 {
                deferred(Duration::ZERO, 1)
            } else {
                Settlement::Delivered
            };
            if matches!(settlement, Settlement::Defer { .. }) {
                seen.pop();
            }
            spool.settle(lease, settlement).await;
        }
    }
    assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>().len(), 3000);
    counters_become(&spool, "a", (0, 0)).await;
    assert_eq!(counters(&spool, "b"), (3000, 0));
    let leases = lease_all(&spool, "b", 3000).await;
    assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), (0..3000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_spool_drops_more_old_dead_letters_than_one_step() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=2000, &["a"])).await.unwrap();
    spool.bury(&name("a"), Reason::WebhookRemoved, None).await.unwrap();
    assert_eq!(counters(&*spool, "a"), (0, 2000));
    drop(spool);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let options = Options { dead_letter_retention: Duration::ZERO, ..options(directory.path()) };
    let spool = DiskSpool::open(options).unwrap();
    assert_eq!(spool.found(), Found { pending: 0, dead: 976, dropped: 1024 });
    counters_become(&spool, "a", (0, 0)).await;
    assert_eq!(rows(directory.path(), "events"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_webhook_is_buried_but_for_what_is_leased() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(Options { ready_max: 16, ..options(directory.path()) }).unwrap();
    spool.append(batch(1..=700, &["removed", "kept"])).await.unwrap();
    let mut held = lease(&spool, "removed", 3).await;
    spool.settle(held.pop().unwrap(), deferred(Duration::from_hours(1), 2)).await;
    let held_count = u64::try_from(held.len()).unwrap();
    // The settlement shares the burial's first commit; the deferred row is then found at its new place.
    let count = spool.bury(&name("removed"), Reason::WebhookRemoved, None).await.unwrap();
    assert_eq!(count, 700 - held_count);
    assert_eq!(counters(&spool, "removed"), (held_count, count));
    assert_eq!(counters(&spool, "kept"), (700, 0));
    for lease in held {
        spool.settle(lease, Settlement::Delivered).await;
    }
    counters_become(&spool, "removed", (0, count)).await;
    nothing_is_due(&spool, "removed").await;
    let letters = spool.dead_letters(DeadLetterQuery::default()).await.unwrap().letters;
    assert_eq!(letters.len(), 698);
    assert!(letters.iter().all(|letter| letter.reason == Reason::WebhookRemoved));
    let attempted: Vec<_> = letters.iter().filter(|letter| letter.last.is_some()).collect();
    let [letter] = &attempted[..] else { panic!("{attempted:?}") };
    assert_eq!((letter.attempts, &letter.last), (2, &Some(outcome(Reason::ServerError, 503))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_whole_batches_and_takes_them_again_when_there_is_room() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(Options { bytes_max: 1 << 20, ..options(directory.path()) }).unwrap();
    let mut appended = 0;
    let error = loop {
        match spool.append(batch(appended..appended + 50, &["a"])).await {
            Ok(_) => appended += 50,
            Err(error) => break error,
        }
        assert!(appended < 100_000, "it has to become full");
    };
    let SpoolError::Full { bytes, bytes_max } = error else { panic!("{error}") };
    // It is measured in pages, so the last batch may go a little beyond.
    assert!(bytes > bytes_max / 2 && bytes < bytes_max + (1 << 16), "full with {bytes} of {bytes_max}");
    assert_eq!(spool.bytes(), bytes);
    assert_eq!(counters(&spool, "a").0, appended);
    for lease in lease_all(&spool, "a", usize::try_from(appended).unwrap()).await {
        spool.settle(lease, Settlement::Delivered).await;
    }
    counters_become(&spool, "a", (0, 0)).await;
    // The log is emptied once a second at most.
    let again = async {
        while spool.append(batch([1], &["a"])).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, again).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_pending_event_is_known_whatever_is_deferred() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let mut leases = lease_all(&*spool, "a", 3).await;
    spool.settle(leases.remove(1), deferred(Duration::from_hours(1), 1)).await;
    let oldest = || spool.backlog()[0].oldest_pending;
    assert_eq!(oldest(), Some(event(1).received_at));
    spool.settle(leases.remove(0), Settlement::Delivered).await;
    let moves = async {
        while oldest() != Some(event(2).received_at) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, moves).await.expect("the deferred one is the oldest now");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wake_up_is_lost_between_many_appenders_and_holders() {
    const APPENDERS: u64 = 16;
    const EACH: u64 = 150;
    let directory = TempDir::new().unwrap();
    let spool: Arc<dyn Spool> =
        Arc::new(DiskSpool::open(Options { ready_max: 4, ..options(directory.path()) }).unwrap());
    let webhooks = ["a", "b", "c"];
    let mut holders = Vec::new();
    let given_back = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    for holder in 0..9 {
        let (spool, given_back) = (Arc::clone(&spool), Arc::clone(&given_back));
        holders.push(tokio::spawn(async move {
            let webhook = name(["a", "b", "c"][holder % 3]);
            let mut delivered = Vec::new();
            loop {
                let leases = spool.lease(&webhook, 3).await;
                if leases.is_empty() {
                    return (webhook, delivered);
                }
                for lease in leases {
                    let n = number(&lease);
                    // Some are deferred once, some are given back once, by whichever holder has them first.
                    match n % 7 {
                        0 if lease.attempts == 0 => {
                            spool.settle(lease, deferred(Duration::from_millis(n % 30), 1)).await;
                        }
                        1 if given_back.lock().unwrap().insert((holder % 3, n)) => drop(lease),
                        _ => {
                            delivered.push(n);
                            spool.settle(lease, Settlement::Delivered).await;
                        }
                    }
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                for i in 0..EACH {
                    spool.append(batch([appender * EACH + i], &webhooks)).await.unwrap();
                }
            })
        })
        .collect();
    for appender in appenders {
        appender.await.unwrap();
    }
    for webhook in webhooks {
        counters_become(&*spool, webhook, (0, 0)).await;
    }
    spool.close().await;
    let mut all = Vec::new();
    for holder in holders {
        let (webhook, delivered) = holder.await.unwrap();
        all.extend(delivered.into_iter().map(|n| (webhook.clone(), n)));
    }
    let total = usize::try_from(APPENDERS * EACH).unwrap() * webhooks.len();
    assert_eq!(all.len(), total, "each delivery was accepted once");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), total);
}
