//! What the targets of the spool share: the files of a sound one, and all that is asked of any.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use outrigger::delivery::{Lane, LastOutcome, Reason};
use outrigger::event::{Event, EventId};
use outrigger::spool::{
    Batch, DeadLetter, DeadLetterQuery, DiskSpool, InvocationQuery, Key, OpenError, Options, Owed, Record, Settlement,
    Sought, Spool, recover,
};
use rusqlite::Connection;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Longer than anything takes: what runs into it hangs.
const LONG: Duration = Duration::from_secs(8);
/// Long enough for what is due; what is not would be waited for in vain.
const SHORT: Duration = Duration::from_millis(4);
/// How much a spool may take.
const BYTES_MAX: u64 = 4 << 20;
/// The event that comes to what is in store.
const FRESH: u8 = 100;
/// Webhooks that are asked for in one case.
const WEBHOOKS_MAX: usize = 6;
/// Pages of dead letters that are gone through, each of so many letters.
const PAGES_MAX: usize = 8;
const PAGE_LETTERS: usize = 3;

/// A spool's files.
pub struct Files {
    pub database: Vec<u8>,
    pub log: Vec<u8>,
}

/// The files of a sound spool: at rest, and while it runs.
pub static SOUND: LazyLock<[Files; 2]> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = DiskSpool::open(options(folder.path())).expect("a new spool");
    runtime().block_on(fill(&spool));
    let read = |ending| std::fs::read(folder.path().join(format!("spool.db{ending}"))).unwrap_or_default();
    let running = Files { database: read(""), log: read("-wal") };
    drop(spool);
    merge_log(&folder.path().join("spool.db"));
    [Files { database: read(""), log: Vec::new() }, running]
});

/// Writes a database's log into it. Two connections that close at the same moment may each find the other still there, and leave
/// the log to whoever opens the database next.
fn merge_log(database: &Path) {
    let connection = Connection::open(database).expect("the spool's database");
    let busy: bool = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .expect("the spool's log is written into its database");
    assert!(!busy, "somebody still has the spool open");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn options(directory: &Path) -> Options {
    Options {
        bytes_max: BYTES_MAX,
        dead_letter_retention: Duration::from_hours(24 * 365 * 100),
        ready_max: 8,
        ..Options::new(directory)
    }
}

fn event(number: u8) -> Arc<Event> {
    let raw = Bytes::from(format!("{{\"event_type\":\"RequestCreated\",\"data\":{{\"id\":\"{number}\"}}}}"));
    let received = Timestamp::from_second(1_700_000_000 + i64::from(number)).expect("a time");
    Arc::new(Event::new(EventId::from_bytes([number; 16]), "request".into(), "RequestCreated".into(), received, raw))
}

fn owed(webhook: &str, lane: Option<Lane>) -> Owed {
    Owed { webhook: webhook.into(), lane }
}

/// Pending, deferred, blocked and dead ones, and a key.
async fn fill(spool: &DiskSpool) {
    for number in 1..=6 {
        let lane = Some(Lane::of(if number < 4 { b"a" } else { b"b" }));
        let owed = vec![owed("slack", lane), owed("okta", None)];
        let key = (number == 1).then(|| key(1));
        spool.append(Batch { events: vec![(event(number), owed)], key }).await.expect("room");
    }
    for (at, lease) in spool.lease(&"okta".into(), 4).await.into_iter().enumerate() {
        spool.settle(lease, settlement(at)).await;
    }
    // An append waits for a commit, with which the settlements go.
    spool.append(Batch { events: vec![(event(7), vec![owed("okta", None)])], key: None }).await.expect("room");
}

fn key(number: u8) -> Key {
    Key { id: [number; 16], content: [1; 16], receipt: Bytes::from_static(b"{}"), window: Duration::from_hours(1) }
}

fn settlement(number: usize) -> Settlement {
    let last = LastOutcome { reason: Reason::ServerError, status: Some(503), detail: "it answered so".to_owned() };
    let now = Timestamp::now();
    match number % 3 {
        0 => Settlement::Bury {
            reason: Reason::ClientError,
            last: Some(last),
            attempts: 2,
            at: now,
            record: Some(Box::new(record(now, number))),
        },
        1 => {
            let until = now + Duration::from_hours(1);
            let record = Some(Box::new(record(now, number)));
            Settlement::Defer { until, attempts: 1, failing_since: Some(now), passed: number == 4, last, record }
        }
        _ => Settlement::Delivered,
    }
}

fn record(now: Timestamp, number: usize) -> Record {
    let text = "{\"outcome\":\"failed\"}".into();
    let number = now.as_microsecond().unsigned_abs() + number as u64;
    Record { number, reason: Reason::ServerError, request: Some("AR-1".to_owned()), text, keep: 2 }
}

/// Opens what lies in a directory and asks everything of it, recovers it where it is damaged, and does the same again. That all of
/// it can be read and written is only asked of one whose pages are sound.
pub fn hold(directory: &Path, pages_are_sound: bool) {
    let first = open(directory);
    let damaged =
        first.as_ref().err().filter(|error| matches!(error, OpenError::Corrupt { .. })).map(ToString::to_string);
    first.map(|spool| runtime().block_on(ask(spool, pages_are_sound))).unwrap_or_default();
    match recover(directory) {
        Ok(Some(_)) => {
            let spool = open(directory).expect("what was recovered can be opened");
            runtime().block_on(ask(spool, true));
        }
        Ok(None) => assert_eq!(damaged, None, "what is damaged is recovered"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // And once more, as any start would.
    drop(open(directory));
}

fn open(directory: &Path) -> Result<DiskSpool, OpenError> {
    let opened = DiskSpool::open(options(directory));
    if let Err(error) = &opened {
        assert!(!error.to_string().is_empty());
    }
    opened
}

async fn ask(spool: DiskSpool, can_be_written: bool) {
    let asked = async {
        let backlog = spool.backlog();
        for entry in backlog.iter().take(WEBHOOKS_MAX).filter(|entry| entry.pending > 0) {
            // Twice: what was leased is settled, and what was blocked by it comes.
            for round in 0..2 {
                let leases = timeout(SHORT, spool.lease(&entry.webhook, 3)).await.unwrap_or_default();
                if leases.is_empty() {
                    break;
                }
                for (at, lease) in leases.into_iter().enumerate() {
                    let _ = lease.event.payload();
                    spool.settle(lease, settlement(at + round)).await;
                }
            }
        }
        let mut webhooks: Vec<Arc<str>> = backlog.into_iter().map(|entry| entry.webhook).take(WEBHOOKS_MAX).collect();
        if webhooks.iter().all(|webhook| **webhook != *"new") {
            webhooks.push("new".into());
        }
        let letters = pages(&spool, webhooks.first(), can_be_written).await;
        for letter in letters.iter().take(2) {
            let found = spool.dead_letter(letter.event, &letter.webhook).await;
            assert!(found.is_ok() || !can_be_written, "{found:?}");
        }
        look_back(&spool, &letters, can_be_written).await;
        let numbers: Vec<i64> = letters.iter().map(|letter| letter.number).collect();
        let replayed = spool.replay(numbers.iter().copied().take(2).collect()).await;
        let dropped = spool.drop_dead_letters(numbers.into_iter().skip(2).take(2).collect()).await;
        assert!((replayed.is_ok() && dropped.is_ok()) || !can_be_written, "{replayed:?} {dropped:?}");
        for again in [false, true] {
            let owed = webhooks.iter().map(|webhook| owed(webhook, None)).collect();
            let batch = Batch { events: vec![(event(FRESH), owed)], key: Some(key(9 + u8::from(again))) };
            let appended = spool.append(batch).await;
            assert!(appended.is_ok() || !can_be_written, "{appended:?}");
        }
        let _ = spool.append(Batch { events: Vec::new(), key: Some(key(1)) }).await;
        for (at, webhook) in webhooks.iter().enumerate() {
            if can_be_written {
                lease_fresh(&spool, webhook).await;
            }
            let older_than = (at % 2 == 0).then(Timestamp::now);
            let patience = if can_be_written { LONG } else { SHORT };
            let buried = timeout(patience, spool.bury(webhook, Reason::Expired, older_than)).await;
            assert!(buried.is_ok() || !can_be_written, "a burial that ends");
        }
        let _ = (spool.backlog(), spool.bytes());
        spool.close().await;
    };
    timeout(LONG, asked).await.expect("a spool that answers");
    timeout(LONG, tokio::task::spawn_blocking(|| drop(spool)))
        .await
        .expect("a spool that ends")
        .expect("without a panic");
}

/// What is in store never stands in the way of what comes: a delivery that was just appended is leased.
async fn lease_fresh(spool: &DiskSpool, webhook: &Arc<str>) {
    let mut found = false;
    while !found {
        let leases = timeout(LONG, spool.lease(webhook, 8)).await.expect("what was just appended");
        for lease in leases {
            found |= lease.event.id == event(FRESH).id;
            spool.settle(lease, Settlement::Delivered).await;
        }
    }
}

/// Goes through what is told of invocations, and finds events.
async fn look_back(spool: &DiskSpool, letters: &[DeadLetter], can_be_read: bool) {
    let mut query = InvocationQuery { limit: PAGE_LETTERS, ..InvocationQuery::default() };
    for _ in 0..PAGES_MAX {
        let page = spool.invocations(query.clone()).await;
        assert!(page.is_ok() || !can_be_read, "{page:?}");
        let Ok(page) = page else { break };
        assert!(page.invocations.len() <= PAGE_LETTERS);
        for recorded in page.invocations {
            assert!(query.behind.is_none_or(|behind| recorded.number < behind));
            let one = spool.invocation(recorded.number).await;
            // A settlement that was queued may have dropped it since.
            assert!(one.is_ok() || !can_be_read, "{one:?}");
            assert!(one.ok().flatten().is_none_or(|one| one == recorded));
        }
        let Some(next) = page.next else { break };
        assert_ne!(query.behind, Some(next), "every page is behind the one before");
        query.behind = Some(next);
    }
    let _ = spool.last_invocation();
    let by_id = letters.first().map_or(event(1).id, |letter| letter.event);
    for sought in [Sought::Event(by_id), Sought::Text("RequestCreated".to_owned())] {
        let found = spool.find(sought).await;
        assert!(found.is_ok() || !can_be_read, "{found:?}");
    }
}

/// Goes through the dead letters in both directions.
async fn pages(spool: &DiskSpool, webhook: Option<&Arc<str>>, can_be_read: bool) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    for (oldest_first, webhook) in [(true, None), (false, None), (true, webhook)] {
        let mut query =
            DeadLetterQuery { limit: PAGE_LETTERS, webhook: webhook.cloned(), oldest_first, ..Default::default() };
        for _ in 0..PAGES_MAX {
            let page = spool.dead_letters(query.clone()).await;
            assert!(page.is_ok() || !can_be_read, "{page:?}");
            let Ok(page) = page else { break };
            assert!(page.letters.len() <= PAGE_LETTERS);
            letters.extend(page.letters);
            let Some(next) = page.next else { break };
            assert_ne!(query.behind, Some(next), "every page is behind the one before");
            query.behind = Some(next);
        }
    }
    letters
}
