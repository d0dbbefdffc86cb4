//! The spool against a bare loop that commits the same batches to `SQLite`: `cargo bench --bench spool`.
//!
//! 64 producers append 1 KB events one by one, each acknowledged after its commit; a holder leases and settles them all.
//! The bare loop commits the same rows in groups as large as the spool's were on average, and settles them with the next
//! group. Both are printed with the time of the spool's commits for each event.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::Timestamp;
use outrigger::delivery::Lane;
use outrigger::event::{Event, EventId};
use outrigger::spool::{Batch, DiskSpool, FIND_EVENTS_MAX, Options, Owed, Settlement, Sought, Spool};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const PRODUCERS: u64 = 64;
const EVENTS_EACH: u64 = 160;
const EVENTS: u64 = PRODUCERS * EVENTS_EACH;

fn main() {
    compare();
    divan::main();
}

fn event(n: u64) -> Arc<Event> {
    let raw = Bytes::from(format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(1000)));
    Arc::new(Event::new(
        EventId::new(Uuid::from_u128(u128::from(n))),
        "request".into(),
        "RequestGranted".into(),
        Timestamp::now(),
        raw,
    ))
}

/// Appends all events from 64 tasks and settles so many of them; the time until the last is acknowledged, and until they are
/// settled.
fn through_the_spool(
    runtime: &Runtime,
    spool: &Arc<DiskSpool>,
    events: &[Arc<Event>],
    to_settle: u64,
) -> (Duration, Duration) {
    runtime.block_on(async {
        let webhook: Arc<str> = "bench".into();
        let started = Instant::now();
        let holder = tokio::spawn({
            let (spool, webhook) = (Arc::clone(spool), Arc::clone(&webhook));
            async move {
                let mut settled = 0;
                while settled < to_settle {
                    for lease in spool.lease(&webhook, 64).await {
                        spool.settle(lease, Settlement::Delivered).await;
                        settled += 1;
                    }
                }
            }
        });
        let mut producers = Vec::new();
        for chunk in events.chunks(EVENTS_EACH.try_into().expect("small")) {
            let (spool, webhook, chunk) = (Arc::clone(spool), Arc::clone(&webhook), chunk.to_vec());
            producers.push(tokio::spawn(async move {
                for event in chunk {
                    let owed = Owed { webhook: Arc::clone(&webhook), lane: Some(Lane::of(event.id.as_bytes())) };
                    let batch = Batch { events: vec![(event, vec![owed])], key: None };
                    spool.append(batch).await.expect("there is room");
                }
            }));
        }
        for producer in producers {
            producer.await.expect("no panic");
        }
        let acknowledged = started.elapsed();
        holder.await.expect("no panic");
        (acknowledged, started.elapsed())
    })
}

/// The same rows, committed in groups by a loop that does nothing else: each group adds its events with a delivery each,
/// settles the group before, and keeps the counter.
fn through_bare_sqlite(events: &[Arc<Event>], group: usize) -> Duration {
    let directory = TempDir::new().expect("a directory");
    let connection = rusqlite::Connection::open(directory.path().join("bare.db")).expect("a database");
    let tables = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                  CREATE TABLE webhooks (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, pending INTEGER NOT NULL);
                  CREATE TABLE events (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL,
                    received_ms INTEGER NOT NULL, fanout INTEGER NOT NULL, payload BLOB NOT NULL);
                  CREATE TABLE deliveries (webhook INTEGER NOT NULL, due INTEGER NOT NULL, seq INTEGER NOT NULL,
                    attempts INTEGER NOT NULL, lane INTEGER NOT NULL, since_ms INTEGER NOT NULL, failing_ms INTEGER NOT NULL,
                    last TEXT, PRIMARY KEY (webhook, due, seq)) WITHOUT ROWID;
                  CREATE INDEX deferred ON deliveries (webhook, seq) WHERE due > 0 AND since_ms = 0;
                  CREATE INDEX replayed ON deliveries (webhook, since_ms, seq) WHERE since_ms > 0;
                  CREATE INDEX lanes ON deliveries (webhook, lane, seq) WHERE lane <> 0;
                  INSERT INTO webhooks VALUES (1, 'bench', 0)";
    connection.execute_batch(tables).expect("tables");
    let prepare = |sql| connection.prepare(sql).expect("a statement");
    let mut add_event = prepare("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)");
    let mut add_delivery = prepare("INSERT INTO deliveries VALUES (1, 0, ?1, 0, ?2, 0, 0, NULL)");
    let mut drop_event = prepare("DELETE FROM events WHERE seq = ?1");
    let mut drop_delivery = prepare("DELETE FROM deliveries WHERE webhook = 1 AND due = 0 AND seq = ?1");
    let mut count = prepare("UPDATE webhooks SET pending = pending + ?1 WHERE id = 1");
    let started = Instant::now();
    let mut seq = 0_i64;
    for group in events.chunks(group) {
        connection.execute_batch("BEGIN IMMEDIATE").expect("begun");
        let size = i64::try_from(group.len()).expect("small");
        for event in group {
            seq += 1;
            let received_ms = event.received_at.as_millisecond();
            let row = (seq, event.id.as_bytes(), &*event.kind, &*event.event_type, received_ms, &*event.raw);
            add_event.execute(row).expect("added");
            add_delivery.execute([seq, Lane::of(event.id.as_bytes()).get()]).expect("added");
            drop_delivery.execute([seq - size]).expect("settled");
            drop_event.execute([seq - size]).expect("settled");
        }
        count.execute([size]).expect("counted");
        connection.execute_batch("COMMIT").expect("committed");
    }
    started.elapsed()
}

#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints rounded figures")]
fn compare() {
    let runtime = Runtime::new().expect("a runtime");
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    for round in 1..=3 {
        let appended = measured(&runtime, &events, 0);
        let Measured { commits, commit_us, acknowledged, settled, cpu } = measured(&runtime, &events, EVENTS);
        let group = usize::try_from(EVENTS / commits).unwrap_or(1).max(1);
        let bare = through_bare_sqlite(&events, group);
        println!(
            "round {round}: {EVENTS} events in {commits} commits, appends alone in {}: ratio {:.2}; \
             acknowledged in {acknowledged:.1?}, settled in {settled:.1?}; \
             bare loop in groups of {group}: {bare:.1?}; acknowledged / bare = {:.2}; \
             commits {:.1} us an event (with fsync), writer thread {:.1} us of CPU an event",
            appended.commits,
            commits as f64 / appended.commits as f64,
            acknowledged.as_secs_f64() / bare.as_secs_f64(),
            commit_us as f64 / EVENTS as f64,
            cpu.as_secs_f64() * 1e6 / EVENTS as f64,
        );
    }
}

/// What one round took.
struct Measured {
    commits: u64,
    commit_us: u64,
    acknowledged: Duration,
    settled: Duration,
    cpu: Duration,
}

fn measured(runtime: &Runtime, events: &[Arc<Event>], to_settle: u64) -> Measured {
    let directory = TempDir::new().expect("a directory");
    let (commits, commit_us) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let seen = {
        let (commits, commit_us) = (Arc::clone(&commits), Arc::clone(&commit_us));
        move |duration: Duration| {
            commits.fetch_add(1, Relaxed);
            commit_us.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
    };
    let options = Options { commit_seen: Box::new(seen), ..Options::new(directory.path()) };
    let spool = Arc::new(DiskSpool::open(options).expect("a spool"));
    let cpu = writer_cpu();
    let (acknowledged, settled) = through_the_spool(runtime, &spool, events, to_settle);
    let cpu = writer_cpu().saturating_sub(cpu);
    drop(spool);
    let (commits, commit_us) = (commits.load(Relaxed).max(1), commit_us.load(Relaxed));
    Measured { commits, commit_us, acknowledged, settled, cpu }
}

/// The CPU time of the thread named `spool-writer`, where Linux tells it; in ticks of 10 ms.
fn writer_cpu() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    for thread in threads.flatten() {
        let Ok(stat) = std::fs::read_to_string(thread.path().join("stat")) else { continue };
        if let Some((_, rest)) = stat.split_once("(spool-writer) ") {
            let ticks: u64 = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
            return Duration::from_millis(ticks * 10);
        }
    }
    Duration::ZERO
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn spool_64_producers(bencher: Bencher<'_, '_>) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = TempDir::new().expect("a directory");
    let spool = Arc::new(DiskSpool::open(Options::new(directory.path())).expect("a spool"));
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| through_the_spool(&runtime, &spool, black_box(&events), EVENTS));
}

/// What somebody who asks after an access request holds up refills for: as many events as are looked through, and none that fits.
#[divan::bench(sample_count = 10, sample_size = 1, args = ["text", "id"])]
fn find_in_all_that_is_looked_through(bencher: Bencher<'_, '_>, by: &str) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = TempDir::new().expect("a directory");
    let spool = DiskSpool::open(Options::new(directory.path())).expect("a spool");
    let owed = Owed { webhook: "bench".into(), lane: None };
    let events: Vec<_> = (0..u64::from(FIND_EVENTS_MAX)).map(|n| (event(n), vec![owed.clone()])).collect();
    for events in events.chunks(1000) {
        let batch = Batch { events: events.to_vec(), key: None };
        runtime.block_on(spool.append(batch)).expect("there is room");
    }
    let nowhere = || match by {
        "id" => Sought::Event(EventId::new(Uuid::max())),
        _ => Sought::Text("AR-123".to_owned()),
    };
    bencher.bench(|| runtime.block_on(spool.find(nowhere())).expect("an answer"));
}

#[divan::bench(sample_count = 5, sample_size = 1, args = [32])]
fn bare_sqlite_groups(bencher: Bencher<'_, '_>, group: usize) {
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| through_bare_sqlite(black_box(&events), group));
}
