//! The contract of dead letters and of idempotency keys.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::contract::{batch, counters, event, lease_all, name, number, open, options, rows};
use super::*;

/// Appends events and makes dead letters of them; those whose number is a multiple of three died of something else.
async fn dead(spool: &dyn Spool, numbers: std::ops::RangeInclusive<u64>, webhooks: &[&str]) {
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
async fn all(spool: &dyn Spool, mut query: DeadLetterQuery) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    loop {
        let page = spool.dead_letters(query.clone()).await.unwrap();
        assert!(page.letters.len() <= query.limit);
        letters.extend(page.letters);
        let Some(next) = page.next else { return letters };
        query.behind = Some(next);
    }
}

fn events(letters: &[DeadLetter]) -> Vec<EventId> {
    letters.iter().map(|letter| letter.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_by_what_is_asked_in_both_directions() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    dead(&*spool, 1..=40, &["a", "b"]).await;
    let query = DeadLetterQuery { limit: 7, ..DeadLetterQuery::default() };
    let oldest = all(&*spool, DeadLetterQuery { oldest_first: true, ..query.clone() }).await;
    let mut latest = all(&*spool, query.clone()).await;
    latest.reverse();
    assert_eq!((oldest.len(), &oldest), (80, &latest));

    let cases = [
        (DeadLetterQuery { webhook: Some(name("a")), ..query.clone() }, 40),
        (DeadLetterQuery { webhook: Some(name("never")), ..query.clone() }, 0),
        (DeadLetterQuery { reason: Some(Reason::TemplateError), ..query.clone() }, 26),
        (DeadLetterQuery { reason: Some(Reason::Gone), ..query.clone() }, 0),
        (DeadLetterQuery { since: Some(Timestamp::from_millisecond(1_800_000_000_031).unwrap()), ..query.clone() }, 20),
        (DeadLetterQuery { limit: 0, ..query.clone() }, 0),
    ];
    for (query, count) in cases {
        let letters = if query.limit == 0 {
            spool.dead_letters(query.clone()).await.unwrap().letters
        } else {
            all(&*spool, query.clone()).await
        };
        assert_eq!(letters.len(), count, "{query:?}");
        let fits = |letter: &DeadLetter| {
            query.webhook.as_ref().is_none_or(|webhook| *webhook == letter.webhook)
                && query.reason.is_none_or(|reason| reason == letter.reason)
                && query.since.is_none_or(|since| letter.died_at >= since)
        };
        assert!(letters.iter().all(fits), "{query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_found_by_its_delivery_with_its_payload() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    dead(&*spool, 1..=3, &["a", "b"]).await;
    let (letter, payload) = spool.dead_letter(event(2).id, "b").await.unwrap().unwrap();
    assert_eq!((letter.event, &*letter.webhook, payload), (event(2).id, "b", event(2).raw.clone()));
    assert_eq!(spool.dead_letter(event(2).id, "c").await.unwrap(), None);
    assert_eq!(spool.dead_letter(event(9).id, "b").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replayed_is_pending_and_what_is_dropped_is_gone_also_after_an_opening() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    dead(&*spool, 1..=6, &["a", "b"]).await;
    let of = |letters: &[DeadLetter], webhook: &str| -> Vec<i64> {
        letters.iter().filter(|letter| &*letter.webhook == webhook).map(|letter| letter.number).collect()
    };
    let letters = all(&*spool, DeadLetterQuery { oldest_first: true, ..DeadLetterQuery::default() }).await;
    assert_eq!(spool.replay(of(&letters, "a")).await, Ok(6));
    assert_eq!(spool.drop_dead_letters(of(&letters, "b")[..4].to_vec()).await, Ok(4));
    assert_eq!((counters(&*spool, "a"), counters(&*spool, "b")), ((6, 0), (0, 2)));
    let leases = lease_all(&*spool, "a", 6).await;
    assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6], "in the order of their events");
    for lease in leases {
        spool.settle(lease, Settlement::Delivered).await;
    }
    spool.close().await;
    drop(spool);
    let spool = DiskSpool::open(options(directory.path())).unwrap();
    assert_eq!(spool.found(), Found { pending: 0, dead: 2, dropped: 0 });
    assert_eq!(rows(directory.path(), "events"), 2, "no event is kept that nobody needs");
    let letters = all(&spool, DeadLetterQuery::default()).await;
    assert_eq!(events(&letters), [event(6).id, event(5).id]);
    // A number is never given again.
    dead(&spool, 7..=7, &["c"]).await;
    let newest = all(&spool, DeadLetterQuery::default()).await.remove(0);
    spool.drop_dead_letters(vec![newest.number]).await.unwrap();
    dead(&spool, 8..=8, &["d"]).await;
    assert!(all(&spool, DeadLetterQuery::default()).await[0].number > newest.number);
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

fn keyed(n: u64, id: u8, content: u8, window: Duration) -> Batch {
    let receipt = Bytes::from(format!("receipt of {n}"));
    Batch { key: Some(Key { id: [id; 16], content: [content; 16], receipt, window }), ..batch([n], &["a"]) }
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_kept_once_and_answered_the_same_also_after_an_opening() {
    let directory = TempDir::new().unwrap();
    let spool = open(directory.path());
    assert_eq!(spool.append(keyed(1, 7, 1, HOUR)).await, Ok(Appended::New));
    assert_eq!(spool.append(keyed(2, 7, 1, HOUR)).await, Ok(Appended::Repeat("receipt of 1".into())));
    assert_eq!(spool.append(keyed(3, 7, 2, HOUR)).await, Ok(Appended::Conflict));
    assert_eq!(spool.append(keyed(4, 8, 1, HOUR)).await, Ok(Appended::New));
    assert_eq!(counters(&*spool, "a"), (2, 0));
    drop(spool);
    let spool = open(directory.path());
    assert_eq!(spool.append(keyed(5, 7, 1, HOUR)).await, Ok(Appended::Repeat("receipt of 1".into())));
    assert_eq!(lease_all(&*spool, "a", 2).await.iter().map(number).collect::<Vec<_>>(), [1, 4]);
    // A batch that nobody wants has a receipt, too.
    let nobody = Batch { events: Vec::new(), ..keyed(6, 9, 1, HOUR) };
    assert_eq!(spool.append(nobody.clone()).await, Ok(Appended::New));
    assert_eq!(spool.append(nobody).await, Ok(Appended::Repeat("receipt of 6".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_repeats_at_once_one_is_kept() {
    let directory = TempDir::new().unwrap();
    let spool: std::sync::Arc<dyn Spool> = std::sync::Arc::from(open(directory.path()));
    let appends = (1..=50_u64).map(|n| {
        let spool = std::sync::Arc::clone(&spool);
        tokio::spawn(async move { spool.append(keyed(n, 7, 1, HOUR)).await.unwrap() })
    });
    let mut answers = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        answers.push(append.await.unwrap());
    }
    let kept = answers.iter().filter(|answer| **answer == Appended::New).count();
    let receipts: std::collections::BTreeSet<_> = answers
        .iter()
        .filter_map(|answer| if let Appended::Repeat(receipt) = answer { Some(receipt) } else { None })
        .collect();
    assert_eq!((kept, receipts.len(), counters(&*spool, "a")), (1, 1, (1, 0)));
}

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
