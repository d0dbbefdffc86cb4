//! The contract of dead letters and of idempotency keys.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::contract::{batch, counters, event, lease_all, number, open, options, rows};
use super::*;

/// Appends events and makes dead letters of them; those whose number is a multiple of three died of something else.
pub(super) async fn dead(spool: &dyn Spool, numbers: std::ops::RangeInclusive<u64>, webhooks: &[&str]) {
    spool.append(batch(numbers.clone(), webhooks)).await.unwrap();
    for webhook in webhooks {
        for lease in lease_all(spool, webhook, numbers.clone().count()).await {
            let n = number(&lease);
            let reason = if n.is_multiple_of(3) { Reason::TemplateError } else { Reason::ClientError };
            let at = Timestamp::from_millisecond(1_800_000_000_000 + i64::try_from(n).unwrap()).unwrap();
            spool.settle(lease, Settlement::Bury { reason, last: None, attempts: 1, at, record: None }).await;
        }
    }
    for webhook in webhooks {
        super::contract::counters_become(spool, webhook, (0, numbers.clone().count() as u64)).await;
    }
}

/// All pages of a query.
pub(super) async fn all(spool: &dyn Spool, mut query: DeadLetterQuery) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    loop {
        let page = spool.dead_letters(query.clone()).await.unwrap();
        assert!(page.letters.len() <= query.limit);
        letters.extend(page.letters);
        let Some(next) = page.next else { return letters };
        query.behind = Some(next);
    }
}

pub(super) fn events(letters: &[DeadLetter]) -> Vec<EventId> {
    letters.iter().map(|letter| letter.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_not_replayed() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    dead(&*spool, 1..=3, &["a"]).await;
    let numbers: Vec<i64> = all(&*spool, DeadLetterQuery::default()).await.iter().map(|letter| letter.number).collect();
    let disk = super::contract::inside(directory.path());
    disk.execute_batch(
        "CREATE TRIGGER fault BEFORE INSERT ON deliveries WHEN NEW.seq = 1 BEGIN SELECT RAISE(ABORT, 'I/O'); END",
    )
    .unwrap();
    assert!(matches!(spool.replay(numbers.clone()).await, Err(SpoolError::Unavailable(_))));
    assert_eq!((counters(&*spool, "a"), rows(directory.path(), "dead")), ((0, 3), 3));
    disk.execute_batch("DROP TRIGGER fault").unwrap();
    assert_eq!(spool.replay(numbers).await, Ok(3));
    assert_eq!(lease_all(&*spool, "a", 3).await.len(), 3);
}

pub(super) fn keyed(n: u64, id: u8, content: u8, window: Duration) -> Batch {
    let receipt = Bytes::from(format!("receipt of {n}"));
    Batch { key: Some(Key { id: [id; 16], content: [content; 16], receipt, window }), ..batch([n], &["a"]) }
}

pub(super) const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_known_by_a_spool_that_is_full() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(Options { bytes_max: 1 << 20, ..options(directory.path()) }).unwrap();
    spool.append(keyed(1, 7, 1, HOUR)).await.unwrap();
    let mut n = 2;
    while spool.append(batch(n..n + 200, &["a"])).await.is_ok() {
        n += 200;
        assert!(n < 100_000, "it has to become full");
    }
    // What goes with it is refused, and so is what comes for the first time.
    let large = |id| Batch { events: batch(n..n + 200, &["a"]).events, ..keyed(1, id, 1, HOUR) };
    assert_eq!(spool.append(large(7)).await, Ok(Appended::Repeat("receipt of 1".into())));
    assert!(matches!(spool.append(large(8)).await, Err(SpoolError::Full { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_died_when_the_clock_was_ahead_keep_no_others() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    spool.append(batch(1..=2, &["a"])).await.unwrap();
    let now = Timestamp::now();
    let times = [now + Duration::from_hours(9000), now - Duration::from_hours(2)];
    for (lease, at) in lease_all(&*spool, "a", 2).await.into_iter().zip(times) {
        spool
            .settle(lease, Settlement::Bury { reason: Reason::ClientError, last: None, attempts: 1, at, record: None })
            .await;
    }
    drop(spool);
    let spool = DiskSpool::open(Options { dead_letter_retention: HOUR, ..options(directory.path()) }).unwrap();
    assert_eq!(spool.found(), Found { pending: 0, dead: 1, dropped: 1 });
    assert_eq!(events(&all(&spool, DeadLetterQuery::default()).await), [event(1).id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_whose_keys_cannot_be_read_is_not_opened() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()));
    super::contract::inside(directory.path()).execute_batch("DROP TABLE key_sets").unwrap();
    assert!(DiskSpool::open(options(directory.path())).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_batch_could_not_be_kept_is_not_known() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    let disk = super::contract::inside(directory.path());
    disk.execute_batch("CREATE TRIGGER fault BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END")
        .unwrap();
    assert!(matches!(spool.append(keyed(1, 7, 1, HOUR)).await, Err(SpoolError::Unavailable(_))));
    disk.execute_batch("DROP TRIGGER fault").unwrap();
    assert_eq!(spool.append(keyed(2, 7, 1, HOUR)).await, Ok(Appended::New));
    assert_eq!(spool.append(keyed(3, 7, 1, HOUR)).await, Ok(Appended::Repeat("receipt of 2".into())));
}
