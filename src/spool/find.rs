//! What is kept of an event that somebody asks after, by its id or by what stands in it.
//!
//! No index leads from an id or a text to its event: every append would pay for it. Whoever asks has the latest events looked through, so
//! many and so much of them that refills, which wait for it, wait for a tenth of a second at most; and the dead letters of an id, which
//! have their index.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, Result, Row, params};

use super::kept::{
    FIND_BYTES_MAX, FIND_EVENTS_MAX, FIND_PLACES_MAX, FOUND_MAX, Kept, KeptEvents, KeptFor, KeptPending,
    SOUGHT_BYTES_MAX, Sought,
};
use super::ledger::{self, BLOCKED};
use super::schema::PAGE_BYTES;
use super::{DEAD_LETTERS_MAX, at, column, reader};

/// Replayed deliveries that are looked through for those of the events that were found: 10 ms.
const REPLAYED_MAX: i64 = 50_000;
/// And so many of them are told of.
const REPLAYED_KEPT_MAX: usize = FOUND_MAX * DEAD_LETTERS_MAX;

/// The key of a replayed delivery: its webhook's number, when it is due, and the number of its event.
type Replayed = (i64, i64, i64);

/// Answers for the reader.
pub(super) fn find(connection: &Connection, sought: &Sought) -> Result<KeptEvents> {
    // All of it is of one moment: what is replayed or settled meanwhile would be neither pending nor dead.
    let _moment = connection.unchecked_transaction()?;
    let (numbers, looked_through) = numbers(connection, sought)?;
    let (replayed, known) = if numbers.is_empty() { (Vec::new(), true) } else { replayed(connection, &numbers)? };
    let mut found: Vec<(Kept, BTreeMap<Arc<str>, KeptFor>)> = Vec::new();
    for seq in numbers {
        let event = connection.prepare_cached(EVENT)?.query_map([seq], reader::event)?.next().transpose()?.flatten();
        let Some(event) = event else { continue };
        // What was resent has a place of its own, behind that of its event.
        let at = if let Some(at) = found.iter().position(|(kept, _)| kept.event.id == event.id) {
            at
        } else {
            let mut webhooks = BTreeMap::new();
            for letter in reader::letters_of(connection, event.id)? {
                let webhook = Arc::clone(&letter.webhook);
                entry(&mut webhooks, webhook).dead = Some(letter);
            }
            found.push((Kept { event: Arc::new(event.without_tree()), webhooks: Vec::new() }, webhooks));
            found.len() - 1
        };
        let Some((kept, webhooks)) = found.get_mut(at) else { continue };
        kept.event = Arc::new(event);
        pending(connection, seq, &replayed, webhooks)?;
    }
    let events = found.into_iter().map(|(kept, webhooks)| Kept { webhooks: webhooks.into_values().collect(), ..kept });
    Ok(KeptEvents { events: events.collect(), complete: looked_through && known })
}

/// The stored numbers of the events, the latest first, and whether there can be no more of them.
fn numbers(connection: &Connection, sought: &Sought) -> Result<(Vec<i64>, bool)> {
    let mut found = Vec::new();
    let complete = match sought {
        Sought::Event(id) => {
            let mut dead = connection.prepare_cached(DEAD)?;
            let places = i64::try_from(FIND_PLACES_MAX).unwrap_or(i64::MAX);
            let of_dead: Vec<i64> =
                dead.query_map(params![id.as_bytes().as_slice(), places], |row| row.get(0))?.collect::<Result<_>>()?;
            let complete = look_through(connection, IDS, |row, seq| {
                if column::event_id(row, 1)? == Some(*id) {
                    found.push(seq);
                }
                // Of a large event a page is read.
                let bytes = u64::try_from(column::number(row, 2)?).unwrap_or(0);
                let bytes = bytes.min(PAGE_BYTES);
                Ok(if found.len() < FIND_PLACES_MAX { ControlFlow::Continue(bytes) } else { ControlFlow::Break(()) })
            })?;
            found.extend(of_dead);
            found.sort_unstable_by_key(|seq| Reverse(*seq));
            found.dedup();
            complete
        }
        Sought::Text(text) if text.is_empty() || text.len() > SOUGHT_BYTES_MAX => true,
        Sought::Text(text) => {
            let written = serde_json::Value::from(text.as_str()).to_string();
            look_through(connection, PAYLOADS, |row, seq| {
                let raw = column::bytes(row, 1)?.unwrap_or_default();
                // What is damaged is no JSON.
                if std::str::from_utf8(raw).is_ok_and(|raw| raw.contains(&written)) {
                    found.push(seq);
                }
                Ok(if found.len() < FOUND_MAX {
                    ControlFlow::Continue(raw.len() as u64)
                } else {
                    ControlFlow::Break(())
                })
            })?
        }
    };
    Ok((found, complete))
}

/// Shows the latest events, the latest first, until it is told to end or has shown as much as it may; `show` says how many bytes it read. Whether it has
/// shown all.
fn look_through(
    connection: &Connection,
    sql: &str,
    mut show: impl FnMut(&Row<'_>, i64) -> Result<ControlFlow<(), u64>>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([FIND_EVENTS_MAX + 1])?;
    let (mut events, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        if events == FIND_EVENTS_MAX || bytes > FIND_BYTES_MAX {
            return Ok(false);
        }
        match show(row, row.get(0)?)? {
            ControlFlow::Continue(read) => bytes += read,
            ControlFlow::Break(()) => return Ok(false),
        }
        events += 1;
    }
    Ok(true)
}

const IDS: &str = "SELECT seq, id, length(payload) FROM events ORDER BY seq DESC LIMIT ?1";

const PAYLOADS: &str = "SELECT seq, payload FROM events ORDER BY seq DESC LIMIT ?1";

/// Where the dead letters of an event are.
const DEAD: &str = "SELECT seq FROM dead WHERE event = ?1 LIMIT ?2";

/// One event, in the columns that the reader takes events from.
const EVENT: &str =
    "SELECT 0, 0, 0, 0, 0, 0, id, kind, type, received_ms, fanout, payload, trace FROM events WHERE seq = ?1";

/// The pending deliveries of an event that were never attempted. Webhooks are few: each is looked up.
const FRESH: &str = "SELECT w.name, d.due, d.attempts, d.last FROM webhooks w
CROSS JOIN deliveries d ON d.webhook = w.id AND d.due = 0 AND d.seq = ?1 WHERE w.pending > 0";

/// Those that were, or wait for their turn.
const DEFERRED: &str = "SELECT w.name, d.due, d.attempts, d.last FROM webhooks w
CROSS JOIN deliveries d INDEXED BY deferred ON d.webhook = w.id AND d.seq = ?1 AND d.due > 0 AND d.since_ms = 0
WHERE w.pending > 0";

/// One pending delivery.
const ONE: &str = "SELECT w.name, d.due, d.attempts, d.last FROM deliveries d JOIN webhooks w ON w.id = d.webhook
WHERE d.webhook = ?1 AND d.due = ?2 AND d.seq = ?3";

/// Replayed deliveries, from an index that holds all that is asked.
const REPLAYED: &str = "SELECT webhook, due, seq FROM deliveries INDEXED BY replayed WHERE since_ms > 0 LIMIT ?1";

/// The keys of the replayed deliveries of events, to which no index leads from an event, and whether those are all.
fn replayed(connection: &Connection, numbers: &[i64]) -> Result<(Vec<Replayed>, bool)> {
    let mut statement = connection.prepare_cached(REPLAYED)?;
    let mut rows = statement.query([REPLAYED_MAX + 1])?;
    let (mut keys, mut seen) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if seen == REPLAYED_MAX || keys.len() == REPLAYED_KEPT_MAX {
            return Ok((keys, false));
        }
        seen += 1;
        let key = (column::number(row, 0)?, column::number(row, 1)?, column::number(row, 2)?);
        // The numbers descend.
        if numbers.binary_search_by_key(&Reverse(key.2), |seq| Reverse(*seq)).is_ok() {
            keys.push(key);
        }
    }
    Ok((keys, true))
}

/// What is pending at one place of an event.
fn pending(
    connection: &Connection,
    seq: i64,
    replayed: &[Replayed],
    webhooks: &mut BTreeMap<Arc<str>, KeptFor>,
) -> Result<()> {
    for sql in [FRESH, DEFERRED] {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([seq])?;
        while let Some(row) = rows.next()? {
            owed(row, webhooks)?;
        }
    }
    for (webhook, due, _) in replayed.iter().filter(|(_, _, of)| *of == seq) {
        let mut statement = connection.prepare_cached(ONE)?;
        let mut rows = statement.query([*webhook, *due, seq])?;
        while let Some(row) = rows.next()? {
            owed(row, webhooks)?;
        }
    }
    Ok(())
}

/// Takes a pending delivery over from its row.
fn owed(row: &Row<'_>, webhooks: &mut BTreeMap<Arc<str>, KeptFor>) -> Result<()> {
    let Some(webhook) = column::text(row, 0)? else { return Ok(()) };
    let due = column::number(row, 1)?;
    let pending = KeptPending {
        attempts: column::count(row, 2)?,
        due: (due > 0 && due != BLOCKED).then(|| at(due)),
        last: column::text(row, 3)?.and_then(|last| ledger::read(&last)),
    };
    entry(webhooks, webhook.into()).pending = Some(pending);
    Ok(())
}

fn entry(webhooks: &mut BTreeMap<Arc<str>, KeptFor>, webhook: Arc<str>) -> &mut KeptFor {
    let name = Arc::clone(&webhook);
    webhooks.entry(name).or_insert(KeptFor { webhook, pending: None, dead: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use jiff::Timestamp;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::super::contract::{assert_by_index, batch, counters_become, deferred_to, event, lease_all, name, open};
    use super::super::{Batch, Lane, Owed, Reason, Settlement, Spool, schema};
    use super::*;
    use crate::event::{Event, EventId};

    /// What is found, in the numbers of its events.
    async fn found(spool: &dyn Spool, sought: Sought) -> Vec<EventId> {
        spool.find(sought).await.unwrap().events.into_iter().map(|kept| kept.event.id).collect()
    }

    fn text(text: &str) -> Sought {
        Sought::Text(text.to_owned())
    }

    /// An event that is named in its payload.
    fn named(n: u64, raw: String) -> Batch {
        let event = event(n);
        let raw = Bytes::from(raw);
        let named =
            Event::new(event.id, Arc::clone(&event.kind), Arc::clone(&event.event_type), event.received_at, raw);
        Batch { events: vec![(Arc::new(named), vec![Owed { webhook: name("a"), lane: None }])], key: None }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_is_found_with_all_that_is_kept_of_it() {
        let directory = TempDir::new().unwrap();
        let spool = open(directory.path());
        let owed = |webhook, lane| Owed { webhook: name(webhook), lane };
        let all = ["dead", "deferred", "delivered", "fresh", "replayed"].map(|webhook| owed(webhook, None));
        for n in 1..=3 {
            let owed = [&all[..], &[owed("lane", Some(Lane::WHOLE))]].concat();
            spool.append(Batch { events: vec![(event(n), owed)], key: None }).await.unwrap();
        }
        let until = Timestamp::from_second(4_000_000_000).unwrap();
        let now = Timestamp::now();
        let bury = || Settlement::Bury { reason: Reason::Gone, last: None, attempts: 4, at: now, record: None };
        for (webhook, settlement) in [
            ("dead", bury()),
            ("deferred", deferred_to(until, 2)),
            ("delivered", Settlement::Delivered),
            ("replayed", bury()),
        ] {
            for lease in lease_all(&*spool, webhook, 3).await {
                spool.settle(lease, settlement.clone()).await;
            }
        }
        counters_become(&*spool, "delivered", (0, 0)).await;
        counters_become(&*spool, "replayed", (0, 3)).await;
        let letters = reader_letters(&*spool).await;
        assert_eq!(spool.replay(letters).await, Ok(3));

        let kept = spool.find(Sought::Event(event(2).id)).await.unwrap().events;
        let [Kept { event: of, webhooks }] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!((of.id, &of.raw, of.received_at), (event(2).id, &event(2).raw, event(2).received_at));
        let names: Vec<&str> = webhooks.iter().map(|kept| &*kept.webhook).collect();
        assert_eq!(names, ["dead", "deferred", "fresh", "lane", "replayed"]);
        let [dead, deferred, fresh, lane, replayed] = &webhooks[..] else { panic!("{webhooks:?}") };
        assert_eq!((&dead.pending, dead.dead.as_ref().unwrap().attempts), (&None, 4));
        let pending = |kept: &KeptFor| kept.pending.clone().unwrap();
        assert_eq!((pending(deferred).attempts, pending(deferred).due), (2, Some(until)));
        assert_eq!(pending(deferred).last.unwrap().reason, Reason::ServerError);
        assert_eq!(pending(fresh), KeptPending { attempts: 0, due: None, last: None });
        assert_eq!(pending(lane), KeptPending { attempts: 0, due: None, last: None });
        assert!(pending(replayed).due.is_some_and(|due| due >= at(now.as_millisecond())) && replayed.dead.is_none());

        // Of nothing but dead letters, and of nothing.
        spool.append(batch([7], &["dead"])).await.unwrap();
        let lease = lease_all(&*spool, "dead", 1).await.remove(0);
        spool.settle(lease, bury()).await;
        counters_become(&*spool, "dead", (0, 4)).await;
        assert_eq!(found(&*spool, Sought::Event(event(7).id)).await, [event(7).id]);
        assert_eq!(found(&*spool, Sought::Event(event(8).id)).await, []);
    }

    async fn reader_letters(spool: &dyn Spool) -> Vec<i64> {
        let query = super::super::DeadLetterQuery { webhook: Some(name("replayed")), ..Default::default() };
        spool.dead_letters(query).await.unwrap().letters.iter().map(|letter| letter.number).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_that_was_appended_again_is_one_with_all_that_is_kept_of_it() {
        let directory = TempDir::new().unwrap();
        let spool = open(directory.path());
        let again = |received_at, webhook| {
            let Event { id, kind, event_type, raw, .. } = Arc::unwrap_or_clone(event(1));
            let again = Event::new(id, kind, event_type, received_at, raw);
            Batch { events: vec![(Arc::new(again), vec![Owed { webhook: name(webhook), lane: None }])], key: None }
        };
        spool.append(batch([1, 2], &["a"])).await.unwrap();
        for (seconds, webhook) in [(2_000_000_000, "b"), (2_000_000_001, "c"), (2_000_000_002, "dead")] {
            spool.append(again(Timestamp::from_second(seconds).unwrap(), webhook)).await.unwrap();
        }
        let bury =
            Settlement::Bury { reason: Reason::Gone, last: None, attempts: 1, at: Timestamp::now(), record: None };
        spool.settle(lease_all(&*spool, "dead", 1).await.remove(0), bury).await;
        counters_become(&*spool, "dead", (0, 1)).await;
        for sought in [Sought::Event(event(1).id), text("exact")] {
            let found = spool.find(sought).await.unwrap();
            assert!(found.complete);
            let kept = found.events.iter().find(|kept| kept.event.id == event(1).id).unwrap();
            assert_eq!(found.events.iter().filter(|kept| kept.event.id == event(1).id).count(), 1);
            assert_eq!(kept.event.received_at, event(1).received_at);
            let told: Vec<(&str, bool, bool)> = kept
                .webhooks
                .iter()
                .map(|kept| (&*kept.webhook, kept.pending.is_some(), kept.dead.is_some()))
                .collect();
            assert_eq!(told, [("a", true, false), ("b", true, false), ("c", true, false), ("dead", false, true)]);
        }

        // More often than is told.
        for _ in 0..FIND_PLACES_MAX {
            spool.append(again(Timestamp::now(), "e")).await.unwrap();
        }
        assert!(!spool.find(Sought::Event(event(1).id)).await.unwrap().complete);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn events_are_found_by_a_whole_string_in_them_the_latest_first() {
        let directory = TempDir::new().unwrap();
        let spool = open(directory.path());
        for n in 1..=30 {
            spool.append(named(n, format!(r#"{{"data":{{"id":"AR-12{}","note":"\"x\" ü"}}}}"#, n % 2))).await.unwrap();
        }
        let id = |n| EventId::new(Uuid::from_u128(n));
        let odd: Vec<EventId> = (0..15).rev().map(|n| id(2 * n + 1)).collect();
        assert_eq!(found(&*spool, text("AR-121")).await, odd);
        assert_eq!(found(&*spool, text("\"x\" ü")).await, (11..=30).rev().map(id).collect::<Vec<_>>());
        let nowhere = ["AR-12", "ar-121", "", "AR-121\",\"note", &"x".repeat(SOUGHT_BYTES_MAX + 1)];
        for sought in nowhere {
            assert_eq!(found(&*spool, text(sought)).await, [], "{sought}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_is_looked_through_than_the_bounds_say() {
        let directory = TempDir::new().unwrap();
        let spool = open(directory.path());
        let filler = "x".repeat(4 << 20);
        for n in 1..=20 {
            spool.append(named(n, format!(r#"{{"filler":"{filler}","id":"AR-{n}"}}"#))).await.unwrap();
        }
        let started = std::time::Instant::now();
        assert_eq!(found(&*spool, text("AR-20")).await.len(), 1);
        let first = spool.find(text("AR-1")).await.unwrap();
        assert!(first.events.is_empty() && !first.complete);
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(found(&*spool, Sought::Event(EventId::new(Uuid::from_u128(1)))).await.len(), 1);
    }

    #[test]
    fn every_question_is_answered_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        for sql in [DEAD, EVENT, ONE] {
            assert_by_index(&connection, sql);
        }
        for sql in [FRESH, DEFERRED, REPLAYED, IDS, PAYLOADS] {
            let plan: Vec<String> = {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                statement.raw_query().mapped(|row| row.get(3)).collect::<Result<_>>().unwrap()
            };
            // What is gone through is bounded, or is the list of webhooks; nothing is sorted.
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE") || step == "SCAN d"), "{sql}: {plan:?}");
        }
    }
}
