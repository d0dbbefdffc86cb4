//! What the contract says where events are in the journal alone: over crashes, faults, closings and damage.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::contract::{
    LONG, batch, counters, counters_become, deferred, event, inside, lease, lease_all, name, nothing_is_due, number,
    options, rows, without_journal,
};
use super::crash::copy_files;
use super::*;

fn open(directory: &Path) -> DiskSpool {
    DiskSpool::open(options(directory)).unwrap()
}

/// What a crash at this moment would leave.
fn crashed(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_files(directory, copy.path());
    copy
}

fn in_lane(numbers: impl IntoIterator<Item = u64>) -> Batch {
    let owed = vec![Owed { webhook: name("a"), lane: Some(Lane::WHOLE) }];
    Batch { events: numbers.into_iter().map(|n| (event(n), owed.clone())).collect(), key: None }
}

fn numbers(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(number).collect()
}

/// The database refuses events; what is returned lifts that.
fn refuse(directory: &Path) -> impl FnOnce() + use<> {
    let disk = inside(directory);
    disk.execute_batch("CREATE TRIGGER fault BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END")
        .unwrap();
    move || disk.execute_batch("DROP TRIGGER fault").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_while_it_is_young_never_touches_the_database() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    let written = || fs::metadata(directory.path().join("spool/spool.db-wal")).unwrap().len();
    let before = written();
    for n in 1..=200 {
        spool.append(batch([n], &["a", "b"])).await.unwrap();
        for webhook in ["a", "b"] {
            let lease = lease(&spool, webhook, 1).await.pop().unwrap();
            assert_eq!(number(&lease), n);
            spool.settle(lease, Settlement::Delivered).await;
        }
    }
    counters_become(&spool, "a", (0, 0)).await;
    counters_become(&spool, "b", (0, 0)).await;
    assert_eq!((written(), rows(directory.path(), "events"), rows(directory.path(), "webhooks")), (before, 0, 0));
    let copy = crashed(directory.path());
    assert_eq!(open(copy.path()).found(), Found::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_was_closed_is_all_in_the_file_of_its_database() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    spool.close().await;
    // The spool still has the file open.
    let copy = TempDir::new().unwrap();
    fs::create_dir(copy.path().join("spool")).unwrap();
    fs::copy(directory.path().join("spool/spool.db"), copy.path().join("spool/spool.db")).unwrap();
    assert_eq!(open(copy.path()).found(), Found { pending: 3, ..Found::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_of_young_ones_those_that_were_not_delivered_and_their_order() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(in_lane(1..=4)).await.unwrap();
    spool.append(batch(5..=6, &["a", "b"])).await.unwrap();
    let leases = lease_all(&spool, "a", 3).await;
    assert_eq!(numbers(&leases), [1, 5, 6]);
    let mut leases = leases.into_iter();
    for lease in leases.by_ref().take(2) {
        spool.settle(lease, Settlement::Delivered).await;
    }
    counters_become(&spool, "a", (4, 0)).await;
    let second = lease(&spool, "a", 1).await;
    assert_eq!(numbers(&second), [2], "its turn has come");
    assert_eq!(rows(directory.path(), "events"), 0);

    let copy = crashed(directory.path());
    let copy = {
        let spool = open(copy.path());
        assert_eq!(spool.found(), Found { pending: 6, ..Found::default() });
        // And once more, before anything else happens.
        let again = crashed(copy.path());
        drop(spool);
        again
    };
    let spool = open(copy.path());
    let mut leases = lease_all(&spool, "a", 2).await;
    leases.sort_by_key(number);
    assert_eq!(numbers(&leases), [2, 6]);
    nothing_is_due(&spool, "a").await;
    for n in 2..=4 {
        spool.settle(leases.remove(0), Settlement::Delivered).await;
        if n < 4 {
            leases.insert(0, lease(&spool, "a", 1).await.pop().unwrap());
            assert_eq!(number(&leases[0]), n + 1);
        }
    }
    assert_eq!(numbers(&lease_all(&spool, "b", 2).await), [5, 6]);
    counters_become(&spool, "a", (1, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_one_waits_for_the_one_before_it_that_is_in_the_database() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(in_lane([1])).await.unwrap();
    let first = lease(&spool, "a", 1).await.pop().unwrap();
    spool.settle(first, deferred(Duration::from_millis(300), 1)).await;
    while rows(directory.path(), "deliveries") == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    spool.append(in_lane([2, 3])).await.unwrap();
    assert_eq!(rows(directory.path(), "deliveries"), 1, "the others are young");
    for copied in [false, true] {
        let copy = crashed(directory.path());
        let reopened = copied.then(|| open(copy.path()));
        let spool = reopened.as_ref().unwrap_or(&spool);
        for n in 1..=3 {
            let next = lease(spool, "a", 5).await;
            assert_eq!(numbers(&next), [n]);
            if copied {
                for lease in next {
                    spool.settle(lease, Settlement::Delivered).await;
                }
            } else {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_finds_what_is_young() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let [first, ..] = &lease_all(&spool, "a", 3).await[..] else { panic!("three were appended") };
    assert_eq!(rows(directory.path(), "events"), 0);
    let kept = spool.find(Sought::Event(first.event.id)).await.unwrap();
    assert_eq!((kept.events.len(), rows(directory.path(), "events")), (1, 3));
    assert_eq!(spool.backlog()[0].oldest_pending, Some(event(1).received_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_for_the_journal_is_kept_all_or_none() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch([1], &["a"])).await.unwrap();
    let lift = refuse(directory.path());
    let refused = spool.append(batch(2..=10_001, &["a"])).await;
    assert!(matches!(refused, Err(SpoolError::Unavailable(_))), "{refused:?}");
    lift();
    assert_eq!(open(crashed(directory.path()).path()).found().pending, 1);
    spool.append(batch(2..=10_001, &["a"])).await.unwrap();
    assert_eq!(open(crashed(directory.path()).path()).found().pending, 10_001);
    assert_eq!(numbers(&lease_all(&spool, "a", 10_001).await), (1..=10_001).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_go_to_the_database_stays_in_the_journal_until_it_can() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=4, &["a"])).await.unwrap();
    let mut leases = lease_all(&spool, "a", 4).await;
    let lift = refuse(directory.path());
    // A deferral has to go to the database, and all that is young with it.
    spool.settle(leases.pop().unwrap(), deferred(Duration::ZERO, 1)).await;
    assert!(spool.find(Sought::Event(event(1).id)).await.is_err());
    // What was delivered needs no room there, and the journal takes what comes, but for what has a key.
    spool.settle(leases.remove(0), Settlement::Delivered).await;
    counters_become(&spool, "a", (3, 0)).await;
    spool.append(batch([5], &["a"])).await.unwrap();
    let key = Key { id: [9; 16], content: [0; 16], receipt: bytes::Bytes::new(), window: LONG };
    let refused = spool.append(Batch { key: Some(key), ..batch([6], &["a"]) }).await;
    assert!(matches!(refused, Err(SpoolError::Unavailable(_))), "{refused:?}");
    assert_eq!(counters(&spool, "a"), (4, 0));
    let copy = crashed(directory.path());
    lift();
    spool.append(batch([7], &["a"])).await.unwrap();
    let mut due = lease_all(&spool, "a", 3).await;
    due.sort_by_key(number);
    assert_eq!((numbers(&due), due[0].attempts), (vec![4, 5, 7], 1));
    counters_become(&spool, "a", (5, 0)).await;

    // A crash in between leaves all that was acknowledged.
    inside(copy.path()).execute_batch("DROP TRIGGER fault").unwrap();
    let spool = open(copy.path());
    assert_eq!(spool.found().pending, 4);
    assert_eq!(numbers(&lease_all(&spool, "a", 4).await), [2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_written_costs_no_event() {
    for device in ["/dev/full", "/dev/null"] {
        let directory = TempDir::new().unwrap();
        drop(open(directory.path()));
        // `/dev/full` has no end for whoever reads it.
        symlink(device, directory.path().join("spool/journal")).unwrap();
        let spool = open(directory.path());
        for n in 1..=3 {
            spool.append(batch([n], &["a"])).await.unwrap();
            assert_eq!(rows(directory.path(), "events"), i64::try_from(n).unwrap(), "{device}");
        }
        drop(spool);
        assert_eq!(open(directory.path()).found().pending, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_is_not_passed_over() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()));
    fs::create_dir(directory.path().join("spool/journal")).unwrap();
    let refused = DiskSpool::open(options(directory.path())).map(drop);
    assert!(matches!(&refused, Err(OpenError::Journal { .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("taken in last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_takes_no_room_for_is_delivered_from_memory() {
    for lane in [None, Some(Lane::WHOLE)] {
        let directory = TempDir::new().unwrap();
        let spool = DiskSpool::open(Options { ready_max: 2, ..options(directory.path()) }).unwrap();
        let owed = vec![Owed { webhook: name("a"), lane }];
        spool.append(Batch { events: (1..=40).map(|n| (event(n), owed.clone())).collect(), key: None }).await.unwrap();
        let lift = refuse(directory.path());
        assert!(spool.find(Sought::Event(event(1).id)).await.is_err());
        let mut seen = Vec::new();
        while seen.len() < 40 {
            for lease in lease(&spool, "a", 7).await {
                seen.push(number(&lease));
                spool.settle(lease, Settlement::Delivered).await;
            }
        }
        assert_eq!(seen, (1..=40).collect::<Vec<_>>());
        counters_become(&spool, "a", (0, 0)).await;
        assert_eq!(rows(directory.path(), "events"), 0, "all of it was in memory");
        let copy = crashed(directory.path());
        lift();
        nothing_is_due(&spool, "a").await;
        assert_eq!(open(copy.path()).found(), Found::default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_older_than_the_journal_gets_what_the_journal_holds() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    let older = crashed(directory.path());
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    assert_eq!(spool.find(Sought::Event(event(1).id)).await.unwrap().events.len(), 1);
    spool.append(batch(4..=6, &["a"])).await.unwrap();
    spool.append(batch(7..=9, &["a"])).await.unwrap();
    let copy = crashed(directory.path());
    for file in ["spool.db", "spool.db-wal"] {
        fs::copy(older.path().join("spool").join(file), copy.path().join("spool").join(file)).unwrap();
    }
    let spool = open(copy.path());
    assert_eq!(numbers(&lease_all(&spool, "a", 6).await), (4..=9).collect::<Vec<_>>());
    drop(spool);
    assert_eq!(open(copy.path()).found().pending, 6, "and it goes on from there");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_leaves_all_in_the_database() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=5, &["a"])).await.unwrap();
    let held = lease_all(&spool, "a", 2).await;
    spool.close().await;
    drop(held);
    assert_eq!(rows(directory.path(), "events"), 5);
    assert!(spool.find(Sought::Event(event(5).id)).await.is_ok_and(|kept| kept.events.len() == 1));
    drop(spool);
    // A journal that nobody has any more, and one that is switched off.
    fs::remove_file(directory.path().join("spool/journal")).unwrap();
    assert_eq!(DiskSpool::open(without_journal(directory.path())).unwrap().found().pending, 5);
    assert_eq!(open(directory.path()).found().pending, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_taken_over_where_the_journal_is_switched_off() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=5, &["a"])).await.unwrap();
    let copy = crashed(directory.path());
    for _ in 0..2 {
        let spool = DiskSpool::open(without_journal(copy.path())).unwrap();
        assert_eq!((spool.found().pending, rows(copy.path(), "events")), (5, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_does_not_take_the_journal_with_it() {
    for damage in ["UPDATE webhooks SET pending = 0", "UPDATE webhooks SET pending = 0; DELETE FROM journal"] {
        let directory = TempDir::new().unwrap();
        let spool = open(directory.path());
        spool.append(batch(1..=3, &["a"])).await.unwrap();
        assert_eq!(spool.find(Sought::Event(event(1).id)).await.unwrap().events.len(), 1);
        spool.append(batch(4..=9, &["a", "b"])).await.unwrap();
        let first = lease(&spool, "b", 1).await.pop().unwrap();
        spool.settle(first, Settlement::Delivered).await;
        counters_become(&spool, "b", (5, 0)).await;
        let copy = crashed(directory.path());
        inside(copy.path()).execute_batch(damage).unwrap();
        let refused = DiskSpool::open(options(copy.path())).map(drop);
        assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{damage}: {refused:?}");
        let recovered = recover(&copy.path().join("spool")).unwrap().unwrap();
        assert_eq!((recovered.pending, recovered.dead), (14, 0), "{damage}");
        let spool = open(copy.path());
        assert_eq!(spool.found(), Found { pending: 14, ..Found::default() });
        assert_eq!(numbers(&lease_all(&spool, "a", 9).await), (1..=9).collect::<Vec<_>>());
        assert_eq!(numbers(&lease_all(&spool, "b", 5).await), (5..=9).collect::<Vec<_>>());
    }
}
