//! The contract that every spool keeps, wherever it is: these tests know the trait alone, and run on each.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde_json::json;
use tempfile::TempDir;

use super::contract::{
    SHORT, batch, counters, counters_become, deferred, deferred_to, event, lease, lease_all, name, nothing_is_due,
    number, outcome,
};
use super::history::record;
use super::letters::{HOUR, all, dead, events, keyed};
use super::*;
use crate::trace::Trace;

/// A place for a spool that nobody else has.
pub(super) trait Backend: Send + Sync + Sized + 'static {
    /// Whether deliveries come in the order of their appends, and not only roughly so.
    const ORDERED: bool;

    /// A fresh one.
    fn fresh() -> Self;

    /// Opens the spool that is there; the one before was closed.
    fn open(&self) -> impl Future<Output = Arc<dyn Spool>> + Send;

    /// Closes a spool and opens it again.
    fn reopen(&self, spool: Arc<dyn Spool>) -> impl Future<Output = Arc<dyn Spool>> + Send {
        async move {
            spool.close().await;
            drop(spool);
            self.open().await
        }
    }

    /// The numbers of leased events; where there is no strict order, sorted.
    fn numbers(leases: &[Lease]) -> Vec<u64> {
        let mut numbers: Vec<u64> = leases.iter().map(number).collect();
        if !Self::ORDERED {
            numbers.sort_unstable();
        }
        numbers
    }
}

/// On the disk.
struct Disk(TempDir);

impl Backend for Disk {
    const ORDERED: bool = true;

    fn fresh() -> Self {
        Self(TempDir::new().unwrap())
    }

    async fn open(&self) -> Arc<dyn Spool> {
        Arc::new(DiskSpool::open(super::contract::options(self.0.path())).unwrap())
    }
}

/// Every test of the suite for one backend.
macro_rules! suite {
    ($module:ident, $backend:ty $(, $ignored:literal)?) => {
        suite! { @ $module, $backend, [$($ignored)?],
            what_was_appended_comes_back_in_order_after_reopening
            a_leased_delivery_is_nobody_elses
            a_dropped_lease_goes_back_to_the_front_and_wakes_a_waiter
            counters_follow_each_settlement_and_a_letter_tells_what_happened
            a_deferred_delivery_comes_when_it_is_due_and_not_before
            a_deferral_before_others_that_were_read_already_is_not_lost
            a_due_time_before_the_epoch_is_a_retry_and_due_at_once
            a_webhook_that_is_named_twice_is_owed_once_and_an_event_that_nobody_wants_is_not_kept
            a_closed_spool_has_written_what_was_queued_and_refuses_the_rest
            letters_are_listed_by_what_is_asked_in_both_directions
            a_letter_is_found_by_its_delivery_with_its_payload
            what_is_replayed_is_pending_and_what_is_dropped_is_gone_also_after_an_opening
            what_is_buried_is_dead_and_what_is_held_or_young_is_not
            a_key_is_kept_once_and_answered_the_same_also_after_an_opening
            of_many_repeats_at_once_one_is_kept
            a_record_is_kept_with_its_settlement_and_outlives_its_event_and_an_opening
            records_are_listed_by_what_is_asked_the_latest_first
            what_stands_in_an_event_and_in_an_answer_changes_nothing
            a_trace_goes_with_its_event_through_all_that_a_delivery_can_come_to
        }
    };
    (@ $module:ident, $backend:ty, $ignored:tt, $($test:ident)*) => {
        mod $module {
            use super::*;
            $(suite! { # $test, $backend, $ignored })*
        }
    };
    (# $test:ident, $backend:ty, []) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            super::$test(&<$backend>::fresh()).await;
        }
    };
    (# $test:ident, $backend:ty, [$ignored:literal]) => {
        #[tokio::test(flavor = "multi_thread")]
        #[ignore = $ignored]
        async fn $test() {
            super::$test(&<$backend>::fresh()).await;
        }
    };
}

/// On the disk, without a journal.
struct Database(Disk);

impl Backend for Database {
    const ORDERED: bool = true;

    fn fresh() -> Self {
        Self(Disk::fresh())
    }

    async fn open(&self) -> Arc<dyn Spool> {
        Arc::new(DiskSpool::open(super::contract::without_journal(self.0.0.path())).unwrap())
    }
}

suite!(disk, Disk);
suite!(database, Database);
#[cfg(feature = "nats")]
suite!(nats, super::super::nats::tests::Server, "needs a nats-server: tests/all");

fn buried() -> Settlement {
    let reason = Reason::ClientError;
    Settlement::Bury { reason, last: Some(outcome(reason, 400)), attempts: 3, at: Timestamp::now(), record: None }
}

async fn what_was_appended_comes_back_in_order_after_reopening<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch(1..=5, &["a", "b"])).await.unwrap();
    let held = lease(&*spool, "a", 2).await;
    assert_eq!(B::numbers(&held), [1, 2]);
    drop(held);
    let spool = backend.reopen(spool).await;
    counters_become(&*spool, "a", (5, 0)).await;
    assert_eq!(spool.backlog()[0].oldest_pending, Some(event(1).received_at));
    for webhook in ["a", "b"] {
        let leases = lease_all(&*spool, webhook, 5).await;
        assert_eq!(B::numbers(&leases), [1, 2, 3, 4, 5]);
        let first = leases.iter().find(|lease| number(lease) == 1).unwrap();
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
}

async fn a_leased_delivery_is_nobody_elses<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let held = lease_all(&*spool, "a", 3).await;
    assert_eq!(held.len(), 3);
    nothing_is_due(&*spool, "a").await;
    nothing_is_due(&*spool, "never-named").await;
    assert_eq!(spool.lease(&name("a"), 0).await.len(), 0);
}

async fn a_dropped_lease_goes_back_to_the_front_and_wakes_a_waiter<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch(1..=4, &["a"])).await.unwrap();
    drop(lease_all(&*spool, "a", 3).await);
    let all = lease_all(&*spool, "a", 4).await;
    assert_eq!(B::numbers(&all), [1, 2, 3, 4]);

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

async fn counters_follow_each_settlement_and_a_letter_tells_what_happened<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    counters_become(&*spool, "a", (3, 0)).await;
    let mut leases = lease_all(&*spool, "a", 3).await;
    leases.sort_by_key(|lease| std::cmp::Reverse(number(lease)));
    spool.settle(leases.pop().unwrap(), Settlement::Delivered).await;
    counters_become(&*spool, "a", (2, 0)).await;
    spool.settle(leases.pop().unwrap(), buried()).await;
    counters_become(&*spool, "a", (1, 1)).await;
    spool.settle(leases.pop().unwrap(), deferred(Duration::from_hours(1), 7)).await;

    let spool = backend.reopen(spool).await;
    counters_become(&*spool, "a", (1, 1)).await;
    nothing_is_due(&*spool, "a").await;
    let page = spool.dead_letters(DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() }).await.unwrap();
    let ([letter], None) = (&page.letters[..], page.next) else { panic!("{page:?}") };
    assert_eq!((letter.event, &*letter.webhook, letter.attempts), (event(2).id, "a", 3));
    assert_eq!((letter.reason, &letter.last), (Reason::ClientError, &Some(outcome(Reason::ClientError, 400))));
    assert_eq!((letter.received_at, &*letter.event_type), (event(2).received_at, "RequestGranted"));
    let query = DeadLetterQuery { behind: Some(letter.number), ..DeadLetterQuery::default() };
    assert_eq!(spool.dead_letters(query).await.unwrap(), DeadLetterPage::default());
    let kept = spool.find(Sought::Event(event(3).id)).await.unwrap();
    let pending = kept.events[0].webhooks[0].pending.as_ref().unwrap();
    assert_eq!((kept.complete, pending.attempts, pending.due.is_some()), (true, 7, true));
}

async fn a_deferred_delivery_comes_when_it_is_due_and_not_before<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch([1, 2, 3], &["a"])).await.unwrap();
    let started = std::time::Instant::now();
    let mut leases = lease_all(&*spool, "a", 3).await;
    leases.sort_by_key(number);
    for (lease, ms) in leases.into_iter().zip([2700, 900, 1800]) {
        spool.settle(lease, deferred(Duration::from_millis(ms), 1)).await;
    }
    for (n, ms) in [(2, 900), (3, 1800), (1, 2700)] {
        let mut leases = lease(&*spool, "a", 5).await;
        let due = leases.pop().unwrap();
        assert_eq!((leases.len(), number(&due), due.attempts), (0, n, 1));
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(ms - 2), "event {n} came after {elapsed:?}");
        spool.settle(due, Settlement::Delivered).await;
    }
    counters_become(&*spool, "a", (0, 0)).await;
}

async fn a_deferral_before_others_that_were_read_already_is_not_lost<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch(1..=40, &["a"])).await.unwrap();
    // Each round defers into the past, before what was handed out already.
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

async fn a_due_time_before_the_epoch_is_a_retry_and_due_at_once<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch([1], &["a"])).await.unwrap();
    let first = lease(&*spool, "a", 1).await.pop().unwrap();
    let settlement = deferred_to(Timestamp::from_second(-300_000_000).unwrap(), 1);
    spool.settle(first, settlement).await;
    assert_eq!(lease(&*spool, "a", 1).await[0].attempts, 1);
}

async fn a_webhook_that_is_named_twice_is_owed_once_and_an_event_that_nobody_wants_is_not_kept<B: Backend>(
    backend: &B,
) {
    let spool = backend.open().await;
    spool.append(batch([1], &["a", "b", "a"])).await.unwrap();
    spool.append(batch([2], &[])).await.unwrap();
    counters_become(&*spool, "a", (1, 0)).await;
    assert_eq!(B::numbers(&lease_all(&*spool, "a", 1).await), [1]);
    assert!(spool.find(Sought::Event(event(2).id)).await.unwrap().events.is_empty());
}

async fn a_closed_spool_has_written_what_was_queued_and_refuses_the_rest<B: Backend>(backend: &B) {
    let spool = backend.open().await;
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
    let spool = backend.open().await;
    counters_become(&*spool, "a", (40, 0)).await;
    let leases = lease_all(&*spool, "a", 40).await;
    assert_eq!(B::numbers(&leases), (61..=100).collect::<Vec<_>>());
}

async fn letters_are_listed_by_what_is_asked_in_both_directions<B: Backend>(backend: &B) {
    let spool = backend.open().await;
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
        (DeadLetterQuery { until: Some(Timestamp::from_millisecond(1_800_000_000_031).unwrap()), ..query.clone() }, 60),
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
                && query.until.is_none_or(|until| letter.died_at < until)
        };
        assert!(letters.iter().all(fits), "{query:?}");
    }
}

async fn a_letter_is_found_by_its_delivery_with_its_payload<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    dead(&*spool, 1..=3, &["a", "b"]).await;
    let (letter, payload) = spool.dead_letter(event(2).id, "b").await.unwrap().unwrap();
    assert_eq!((letter.event, &*letter.webhook, payload), (event(2).id, "b", event(2).raw.clone()));
    assert_eq!(spool.dead_letter(event(2).id, "c").await.unwrap(), None);
    assert_eq!(spool.dead_letter(event(9).id, "b").await.unwrap(), None);
}

async fn what_is_replayed_is_pending_and_what_is_dropped_is_gone_also_after_an_opening<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    dead(&*spool, 1..=6, &["a", "b"]).await;
    let letters = all(&*spool, DeadLetterQuery { oldest_first: true, ..DeadLetterQuery::default() }).await;
    let of = |webhook: &str| -> Vec<i64> {
        letters.iter().filter(|letter| &*letter.webhook == webhook).map(|letter| letter.number).collect()
    };
    let mut twice = of("a");
    twice.extend(of("a"));
    assert_eq!(spool.replay(twice).await, Ok(6));
    assert_eq!(spool.replay(of("a")).await, Ok(0));
    let dropped: Vec<i64> =
        letters.iter().filter(|one| &*one.webhook == "b" && one.event < event(5).id).map(|one| one.number).collect();
    assert_eq!(spool.drop_dead_letters(dropped).await, Ok(4));
    counters_become(&*spool, "a", (6, 0)).await;
    counters_become(&*spool, "b", (0, 2)).await;
    let leases = lease_all(&*spool, "a", 6).await;
    assert_eq!(B::numbers(&leases), [1, 2, 3, 4, 5, 6], "in the order of their events");
    for lease in leases {
        assert!(lease.attempts == 0 && lease.since > lease.event.received_at);
        spool.settle(lease, Settlement::Delivered).await;
    }
    let spool = backend.reopen(spool).await;
    counters_become(&*spool, "a", (0, 0)).await;
    let letters = all(&*spool, DeadLetterQuery::default()).await;
    assert_eq!(events(&letters).into_iter().collect::<BTreeSet<_>>(), [event(5).id, event(6).id].into());
    // A number is never given again.
    dead(&*spool, 7..=7, &["c"]).await;
    let newest = all(&*spool, DeadLetterQuery::default()).await.remove(0);
    spool.drop_dead_letters(vec![newest.number]).await.unwrap();
    dead(&*spool, 8..=8, &["d"]).await;
    assert!(all(&*spool, DeadLetterQuery::default()).await[0].number > newest.number);
}

async fn what_is_buried_is_dead_and_what_is_held_or_young_is_not<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch(1..=100, &["a"])).await.unwrap();
    let mut held = lease_all(&*spool, "a", 2).await;
    let later = held.pop().unwrap();
    let id = later.event.id;
    spool.settle(later, deferred(Duration::from_hours(1), 3)).await;
    loop {
        let kept = spool.find(Sought::Event(id)).await.unwrap();
        if kept.events[0].webhooks[0].pending.as_ref().is_some_and(|pending| pending.attempts == 3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(spool.bury(&name("a"), Reason::Expired, Some(event(51).received_at)).await, Ok(49));
    counters_become(&*spool, "a", (51, 49)).await;
    assert_eq!(spool.bury(&name("a"), Reason::WebhookRemoved, None).await, Ok(50));
    counters_become(&*spool, "a", (1, 99)).await;
    nothing_is_due(&*spool, "a").await;
    drop(held);
    assert_eq!(lease(&*spool, "a", 9).await.len(), 1);
    let query = DeadLetterQuery { reason: Some(Reason::Expired), ..DeadLetterQuery::default() };
    assert_eq!(all(&*spool, query).await.len(), 49);
}

async fn a_key_is_kept_once_and_answered_the_same_also_after_an_opening<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    assert_eq!(spool.append(keyed(1, 7, 1, HOUR)).await, Ok(Appended::New));
    assert_eq!(spool.append(keyed(2, 7, 1, HOUR)).await, Ok(Appended::Repeat("receipt of 1".into())));
    assert_eq!(spool.append(keyed(3, 7, 2, HOUR)).await, Ok(Appended::Conflict));
    assert_eq!(spool.append(keyed(4, 8, 1, HOUR)).await, Ok(Appended::New));
    counters_become(&*spool, "a", (2, 0)).await;
    let spool = backend.reopen(spool).await;
    assert_eq!(spool.append(keyed(5, 7, 1, HOUR)).await, Ok(Appended::Repeat("receipt of 1".into())));
    assert_eq!(B::numbers(&lease_all(&*spool, "a", 2).await), [1, 4]);
    // A batch that nobody wants has a receipt, too.
    let nobody = Batch { events: Vec::new(), ..keyed(6, 9, 1, HOUR) };
    assert_eq!(spool.append(nobody.clone()).await, Ok(Appended::New));
    assert_eq!(spool.append(nobody).await, Ok(Appended::Repeat("receipt of 6".into())));
}

async fn of_many_repeats_at_once_one_is_kept<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    let appends = (1..=50_u64).map(|n| {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move { spool.append(keyed(n, 7, 1, HOUR)).await.unwrap() })
    });
    let mut answers = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        answers.push(append.await.unwrap());
    }
    let kept = answers.iter().filter(|answer| **answer == Appended::New).count();
    let receipts: BTreeSet<_> = answers
        .iter()
        .filter_map(|answer| if let Appended::Repeat(receipt) = answer { Some(receipt) } else { None })
        .collect();
    assert_eq!((kept, receipts.len()), (1, 1));
    counters_become(&*spool, "a", (1, 0)).await;
}

async fn listed(spool: &dyn Spool, query: InvocationQuery) -> Vec<u64> {
    let page = spool.invocations(query).await.unwrap();
    page.invocations.iter().map(|recorded| recorded.number).collect()
}

/// Waits until so many records are there.
async fn recorded(spool: &dyn Spool, count: usize) -> Vec<u64> {
    for _ in 0..1000 {
        let all = listed(spool, InvocationQuery::default()).await;
        if all.len() == count {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there are no {count} records");
}

async fn a_record_is_kept_with_its_settlement_and_outlives_its_event_and_an_opening<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    assert_eq!(spool.last_invocation(), 0);
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let first = Timestamp::now().as_microsecond().unsigned_abs();
    let mut leases = lease_all(&*spool, "a", 3).await;
    leases.sort_by_key(number);
    for (lease, n) in leases.into_iter().zip(first..) {
        let settlement = if n == first + 2 { buried() } else { deferred(Duration::ZERO, 1) };
        spool.settle(lease, settlement.with_record(record(n, 9))).await;
    }
    counters_become(&*spool, "a", (2, 1)).await;
    assert_eq!(recorded(&*spool, 3).await, [first + 2, first + 1, first]);
    for lease in lease_all(&*spool, "a", 2).await {
        assert_eq!(lease.attempts, 1);
        spool.settle(lease, Settlement::Delivered).await;
    }
    counters_become(&*spool, "a", (0, 1)).await;
    let letters = spool.dead_letters(DeadLetterQuery::default()).await.unwrap().letters;
    spool.drop_dead_letters(letters.iter().map(|letter| letter.number).collect()).await.unwrap();

    let spool = backend.reopen(spool).await;
    counters_become(&*spool, "a", (0, 0)).await;
    assert_eq!(spool.last_invocation(), first + 2);
    let Record { reason, request, text, .. } = record(first + 1, 9);
    let (webhook, event) = (name("a"), event(2).id);
    let expected = Recorded { number: first + 1, webhook, event, reason, request, text: text.into() };
    assert_eq!(spool.invocation(first + 1).await.unwrap(), Some(expected));
    assert_eq!(spool.invocation(first + 3).await.unwrap(), None);
    assert_eq!(spool.invocation(u64::MAX).await.unwrap(), None);
    // Its webhook is still known by the same number.
    spool.append(batch([4], &["a", "b"])).await.unwrap();
    assert_eq!(B::numbers(&lease_all(&*spool, "a", 1).await), [4]);
}

async fn records_are_listed_by_what_is_asked_the_latest_first<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    spool.append(batch([1], &["a", "b"])).await.unwrap();
    let first = Timestamp::now().as_microsecond().unsigned_abs() / 12 * 12;
    for n in first..first + 24 {
        let lease = lease_all(&*spool, if n % 2 == 0 { "a" } else { "b" }, 1).await.remove(0);
        spool.settle(lease, deferred(Duration::ZERO, 1).with_record(record(n, 100))).await;
    }
    recorded(&*spool, 24).await;
    let query = InvocationQuery::default;
    let since = Timestamp::from_microsecond(i64::try_from(first + 20).unwrap()).unwrap();
    let cases = [
        (query(), (first..first + 24).collect::<Vec<_>>()),
        (InvocationQuery { webhook: Some(name("a")), ..query() }, (first..first + 24).step_by(2).collect()),
        (InvocationQuery { webhook: Some(name("never")), ..query() }, vec![]),
        (InvocationQuery { reason: Some(Reason::Timeout), ..query() }, (first..first + 24).step_by(3).collect()),
        (InvocationQuery { event: Some(event(1).id), ..query() }, (first..first + 24).collect()),
        (InvocationQuery { event: Some(event(2).id), ..query() }, vec![]),
        (InvocationQuery { request: Some("AR-2".into()), ..query() }, (first + 2..first + 24).step_by(4).collect()),
        (
            InvocationQuery { webhook: Some(name("b")), event: Some(event(1).id), ..query() },
            (first + 1..first + 24).step_by(2).collect(),
        ),
        (InvocationQuery { behind: Some(first + 2), ..query() }, vec![first, first + 1]),
        (InvocationQuery { after: Some(first + 21), ..query() }, vec![first + 22, first + 23]),
        (InvocationQuery { since: Some(since), ..query() }, (first + 20..first + 24).collect()),
        (InvocationQuery { limit: 2, ..query() }, vec![first + 22, first + 23]),
        (InvocationQuery { limit: 0, ..query() }, vec![]),
        (InvocationQuery { behind: Some(u64::MAX), after: Some(u64::MAX), ..query() }, vec![]),
    ];
    for (query, mut expected) in cases {
        expected.reverse();
        assert_eq!(listed(&*spool, query.clone()).await, expected, "{query:?}");
    }
    let (mut pages, mut query) = (Vec::new(), InvocationQuery { limit: 5, webhook: Some(name("a")), ..query() });
    loop {
        let page = spool.invocations(query.clone()).await.unwrap();
        pages.extend(page.invocations.iter().map(|recorded| recorded.number));
        let Some(next) = page.next else { break };
        query.behind = Some(next);
    }
    assert_eq!(pages, (1..=12).map(|n| first + 24 - 2 * n).collect::<Vec<_>>());
}

/// Texts that mean something to those who carry them.
const HOSTILE: &str = "Nats-Schedule Nats-Schedule-Target Nats-Schedule Nats-TTL: 1s Nats-TTL Nats-Expected-Last-Subject-Sequence \
                       Nats-Expected-Last-Subject-Sequence Nats-Batch-Id Nats-Batch-Id\r\nNats-Rollup: all\r\n\r\n\0'\"";

async fn what_stands_in_an_event_and_in_an_answer_changes_nothing<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    let raw = Bytes::from(json!({ "text": HOSTILE }).to_string());
    for n in 1..=8_u64 {
        let hostile = Event::new(
            EventId::new(uuid::Uuid::from_u128(n.into())),
            "request".into(),
            HOSTILE.into(),
            event(n).received_at,
            raw.clone(),
        );
        let owed = vec![Owed { webhook: name("a"), lane: None }];
        spool.append(Batch { events: vec![(Arc::new(hostile), owed)], key: None }).await.unwrap();
    }
    let last = LastOutcome { reason: Reason::ServerError, status: Some(503), detail: HOSTILE.to_owned() };
    for (lease, later) in lease_all(&*spool, "a", 8).await.into_iter().zip(0..) {
        let reason = Reason::ClientError;
        let settlement = if later < 4 {
            Settlement::Defer {
                until: Timestamp::now() + Duration::from_secs(1),
                attempts: 1,
                failing_since: None,
                passed: false,
                last: last.clone(),
                record: None,
            }
        } else {
            Settlement::Bury { reason, last: Some(last.clone()), attempts: 1, at: Timestamp::now(), record: None }
        };
        spool.settle(lease, settlement).await;
    }
    counters_become(&*spool, "a", (4, 4)).await;
    for lease in lease_all(&*spool, "a", 4).await {
        assert_eq!((&*lease.event.event_type, &lease.event.raw, lease.attempts), (HOSTILE, &raw, 1));
        spool.settle(lease, Settlement::Delivered).await;
    }
    counters_become(&*spool, "a", (0, 4)).await;
    let letters = all(&*spool, DeadLetterQuery::default()).await;
    assert!(letters.len() == 4 && letters.iter().all(|letter| letter.last.as_ref() == Some(&last)));
    let numbers: Vec<i64> = letters.iter().map(|letter| letter.number).collect();
    assert_eq!(spool.replay(numbers).await, Ok(4));
    assert_eq!(lease_all(&*spool, "a", 4).await.len(), 4);
    assert_eq!(counters(&*spool, "b"), (0, 0));
}

async fn a_trace_goes_with_its_event_through_all_that_a_delivery_can_come_to<B: Backend>(backend: &B) {
    let spool = backend.open().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    // A header of its carrier may stand in it, and the longest that is kept.
    let member = format!("o={}", "x".repeat(100));
    let long = [member.as_str(); 4].join(",");
    let states = ["", "congo=t61rcWkgMzE", "a=Nats-TTL: 1s Nats-TTL,b=Nats-Rollup: all", long.as_str()];
    let traces = states.map(|state| Trace::parse(parent.as_bytes(), state.as_bytes()).map(Arc::new));
    assert!(traces.iter().zip(states).all(|(trace, state)| trace.as_ref().unwrap().state() == state));
    let traces: Vec<_> = [None].into_iter().chain(traces).collect();
    let of = |lease: &Lease| usize::try_from(number(lease)).unwrap() - 1;
    for (n, trace) in (1..).zip(&traces) {
        let event = Event::clone(&event(n)).in_trace(trace.clone());
        let owed = ["a", "b"].map(|webhook| Owed { webhook: name(webhook), lane: None }).to_vec();
        spool.append(Batch { events: vec![(Arc::new(event), owed)], key: None }).await.unwrap();
    }
    let is_kept = |leases: &[Lease]| {
        assert_eq!(leases.len(), traces.len());
        for lease in leases {
            assert_eq!(lease.event.trace(), traces[of(lease)].as_ref(), "{}", of(lease));
        }
    };
    let count = traces.len();
    is_kept(&lease_all(&*spool, "a", count).await);
    let spool = backend.reopen(spool).await;
    let leases = lease_all(&*spool, "a", count).await;
    is_kept(&leases);
    for lease in leases {
        spool.settle(lease, deferred(Duration::from_millis(1), 1)).await;
    }
    let spool = backend.reopen(spool).await;
    let leases = lease_all(&*spool, "a", count).await;
    is_kept(&leases);
    for lease in leases {
        spool.settle(lease, buried()).await;
    }
    let dead = u64::try_from(count).unwrap();
    counters_become(&*spool, "a", (0, dead)).await;
    for (n, trace) in (1..).zip(&traces) {
        let kept = spool.find(Sought::Event(event(n).id)).await.unwrap();
        assert_eq!(kept.events[0].event.trace(), trace.as_ref());
    }
    let spool = backend.reopen(spool).await;
    let numbers: Vec<i64> = all(&*spool, DeadLetterQuery::default()).await.iter().map(|letter| letter.number).collect();
    assert_eq!(spool.replay(numbers).await, Ok(dead));
    is_kept(&lease_all(&*spool, "a", count).await);
    is_kept(&lease_all(&*spool, "b", count).await);
}
