//! What is kept of an event that somebody asks after, by its id or by what stands in it.
//!
//! No index leads from an id or a text to its event: every append would pay for it. Whoever asks has the latest events looked through, so
//! many and so much of them that refills, which wait for it, wait for a tenth of a second at most; and the dead letters of an id, which
//! have their index.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, Result, Row};

use super::kept::{FIND_BYTES_MAX, FIND_EVENTS_MAX, FOUND_MAX, Kept, KeptFor, KeptPending, SOUGHT_BYTES_MAX, Sought};
use super::ledger::{self, BLOCKED};
use super::schema::PAGE_BYTES;
use super::{DEAD_LETTERS_MAX, at, column, reader};

/// Replayed deliveries that are looked through for those of the events that were found: 10 ms.
const REPLAYED_MAX: i64 = 50_000;

/// Answers for the reader.
pub(super) fn find(connection: &Connection, sought: &Sought) -> Result<Vec<Kept>> {
    let mut found: Vec<(i64, Kept)> = Vec::new();
    for seq in numbers(connection, sought)? {
        let event = connection.prepare_cached(EVENT)?.query_map([seq], reader::event)?.next().transpose()?.flatten();
        if let Some(event) = event {
            found.push((seq, Kept { event: Arc::new(event), webhooks: Vec::new() }));
        }
    }
    let replayed = if found.is_empty() { Vec::new() } else { replayed(connection, &found)? };
    for (seq, kept) in &mut found {
        let mut webhooks = BTreeMap::new();
        for sql in [FRESH, DEFERRED] {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([*seq])?;
            while let Some(row) = rows.next()? {
                owed(row, &mut webhooks)?;
            }
        }
        for (webhook, due, _) in replayed.iter().filter(|(_, _, of)| of == seq) {
            let mut statement = connection.prepare_cached(ONE)?;
            let mut rows = statement.query([*webhook, *due, *seq])?;
            while let Some(row) = rows.next()? {
                owed(row, &mut webhooks)?;
            }
        }
        for letter in reader::letters_of(connection, kept.event.id)? {
            let webhook = Arc::clone(&letter.webhook);
            entry(&mut webhooks, webhook).dead = Some(letter);
        }
        kept.webhooks = webhooks.into_values().collect();
    }
    Ok(found.into_iter().map(|(_, kept)| kept).collect())
}

/// The stored numbers of the events, the latest first.
fn numbers(connection: &Connection, sought: &Sought) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    match sought {
        Sought::Event(id) => {
            let mut dead = connection.prepare_cached(DEAD)?;
            found = dead.query_map([id.as_bytes().as_slice()], |row| row.get(0))?.collect::<Result<_>>()?;
            if found.is_empty() {
                look_through(connection, IDS, |row, seq| {
                    if column::event_id(row, 1)? == Some(*id) {
                        found.push(seq);
                        return Ok(ControlFlow::Break(()));
                    }
                    // Of a large event a page is read.
                    let bytes = u64::try_from(column::number(row, 2)?).unwrap_or(0);
                    Ok(ControlFlow::Continue(bytes.min(PAGE_BYTES)))
                })?;
            }
        }
        Sought::Text(text) if text.is_empty() || text.len() > SOUGHT_BYTES_MAX => {}
        Sought::Text(text) => {
            let written = serde_json::Value::from(text.as_str()).to_string();
            look_through(connection, PAYLOADS, |row, seq| {
                let raw = column::bytes(row, 1)?.unwrap_or_default();
                // What is damaged is no JSON.
                if std::str::from_utf8(raw).is_ok_and(|raw| raw.contains(&written)) {
                    found.push(seq);
                }
                Ok(if found.len() == FOUND_MAX {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(raw.len() as u64)
                })
            })?;
        }
    }
    Ok(found)
}

/// Shows the latest events, the latest first, until it is told to end or has shown as much as it may; `show` says how many bytes it read.
fn look_through(
    connection: &Connection,
    sql: &str,
    mut show: impl FnMut(&Row<'_>, i64) -> Result<ControlFlow<(), u64>>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([FIND_EVENTS_MAX])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        match show(row, row.get(0)?)? {
            ControlFlow::Continue(read) if bytes < FIND_BYTES_MAX => bytes += read,
            _ => break,
        }
    }
    Ok(())
}

const IDS: &str = "SELECT seq, id, length(payload) FROM events ORDER BY seq DESC LIMIT ?1";

const PAYLOADS: &str = "SELECT seq, payload FROM events ORDER BY seq DESC LIMIT ?1";

/// An id is given once.
const DEAD: &str = "SELECT seq FROM dead WHERE event = ?1 LIMIT 1";

/// One event, in the columns that the reader takes events from.
const EVENT: &str = "SELECT 0, 0, 0, 0, 0, 0, id, kind, type, received_ms, fanout, payload FROM events WHERE seq = ?1";

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

/// The keys of the replayed deliveries of events: no index leads from an event to them.
fn replayed(connection: &Connection, found: &[(i64, Kept)]) -> Result<Vec<(i64, i64, i64)>> {
    let mut statement = connection.prepare_cached(REPLAYED)?;
    let mut rows = statement.query([REPLAYED_MAX])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let key = (column::number(row, 0)?, column::number(row, 1)?, column::number(row, 2)?);
        if found.iter().any(|(seq, _)| *seq == key.2) && keys.len() < FOUND_MAX * DEAD_LETTERS_MAX {
            keys.push(key);
        }
    }
    Ok(keys)
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
        spool.find(sought).await.unwrap().into_iter().map(|kept| kept.event.id).collect()
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

        let kept = spool.find(Sought::Event(event(2).id)).await.unwrap();
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
        assert_eq!(found(&*spool, text("AR-1")).await, []);
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
