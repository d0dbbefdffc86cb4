//! The spool on a disk of its own: `SQLite` with one writer thread and one reader thread.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::delivery::{Lane, Reason};
use crate::event::EventId;

use super::inbox::{Inbox, Order};
use super::journal::{JOURNAL, JOURNAL_BYTES_MAX, Journal};
use super::keys::KEY_BYTES;
use super::ledger::Ledger;
use super::lock::Lock;
use super::queue::{Memory, Queue};
use super::reader::Ask;
use super::records::Records;
use super::stored::{self, Stored};
use super::young::{Made, Young};
use super::{Appended, Backlog, Batch, DEAD_LETTERS_MAX, DeadLetter, DeadLetterPage, DeadLetterQuery, Lease};
use super::{InvocationPage, InvocationQuery, KeptEvents, Recorded, Settlement, Sought, Spool, SpoolError, Wait};
use super::{journal, lock, reader, recover, replay, schema, writer};

/// Deliveries of one webhook that wait in memory, unless [`Options::ready_max`] says otherwise.
const READY_MAX: usize = 1024;
/// What the spool may take, unless [`Options::bytes_max`] says otherwise.
const BYTES_MAX: u64 = 1 << 30;
/// How long dead letters are kept, unless [`Options::dead_letter_retention`] says otherwise.
const DEAD_LETTER_RETENTION: Duration = Duration::from_hours(30 * 24);
/// Old dead letters that opening itself drops; the others follow while the spool runs.
const RETENTION_STEP_OPEN: i64 = 1024;
/// What an event takes of the disk beside its payload, roughly.
const EVENT_BYTES: u64 = 160;
/// What a delivery takes of the disk, roughly.
const DELIVERY_BYTES: u64 = 32;

/// How a disk spool is opened.
pub struct Options {
    /// The directory, made when it is missing.
    pub path: PathBuf,
    /// `spool.max_bytes`: appends past it are refused, settlements are not.
    pub bytes_max: u64,
    /// `spool.dead_letter_retention`: dead letters older than this are dropped.
    pub dead_letter_retention: Duration,
    /// Deliveries of one webhook that wait in memory; the rest stays on disk alone.
    pub ready_max: usize,
    /// The most that the journal takes; 0 for none. A small spool's takes less.
    pub journal_bytes_max: u64,
    /// Called with the duration of each commit, on the writer's thread.
    pub commit_seen: Box<dyn Fn(Duration) + Send>,
}

impl Options {
    /// The defaults for a directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            bytes_max: BYTES_MAX,
            dead_letter_retention: DEAD_LETTER_RETENTION,
            ready_max: READY_MAX,
            journal_bytes_max: JOURNAL_BYTES_MAX,
            commit_seen: Box::new(|_| {}),
        }
    }
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Pending deliveries.
    pub pending: u64,
    /// Dead letters, without those that were dropped.
    pub dead: u64,
    /// Dead letters dropped because they were older than the retention.
    pub dropped: u64,
}

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or written to.
    #[error("the spool's directory {} cannot be written to: {error}; `spool.path` has to name a directory that this user may write to", path.display())]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has it.
    #[error("the spool in {} is in use by {}; a spool belongs to one process: stop that one, or give this one another `spool.path`", path.display(), holder(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that has it, when it could be read.
        pid: Option<u32>,
    },
    /// The file is a database of something else.
    #[error("{} is a database of another program; give the spool a directory of its own by `spool.path`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error("{} has version {found} of the spool's tables, this program knows {known}; run the newer program, or let it deliver what is pending and start with another `spool.path`", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// A version before the first release wrote it.
    #[error("{} has version {found} of the spool's tables, which no release has written, this program knows {known}; move it away and start again", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version known here.
        known: i64,
    },
    /// The file is damaged.
    #[error("{} is damaged ({detail}); start once with `outrigger run --recover`, which saves what can be read, says what could not, and keeps the damaged file", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        detail: String,
    },
    /// The journal cannot be read.
    #[error("{} cannot be read: {error}; what was taken in last is in it: see to it that this user may read it and that its disk works", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Anything else that `SQLite` refuses.
    #[error("{} cannot be opened: {error}; look whether its disk is full or read-only, and whether this user may write to it", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        error: rusqlite::Error,
    },
    /// The system gives no more threads.
    #[error("the spool cannot start its threads: {0}")]
    Thread(io::Error),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// The spool on disk. Dropping it without [`Spool::close`] commits what is queued, too, and waits for that.
pub struct DiskSpool {
    shared: Arc<Shared>,
    reader: mpsc::Sender<Ask>,
    /// One listing at a time.
    listing: Semaphore,
    found: Found,
    last_invocation: u64,
    threads: Vec<JoinHandle<()>>,
    /// Given back last.
    _lock: Lock,
}

/// What the spool and its threads share.
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    /// See [`Spool::bytes`]; the writer measures it.
    pub(super) bytes: AtomicU64,
    /// Something is in the journal that `SQLite` does not have.
    pub(super) young: AtomicBool,
    /// `SQLite` has all events up to this number; what is young is behind it.
    pub(super) stored_last: AtomicI64,
    pub(super) writer_ended: watch::Sender<bool>,
    queues: RwLock<HashMap<Arc<str>, Arc<Queue>>>,
    queue_id_last: AtomicI64,
    memory: Arc<Memory>,
    ready_max: usize,
    closed: AtomicBool,
}

impl DiskSpool {
    /// Opens the spool of a directory, or makes it. Takes no longer with a large backlog.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let lock = lock::lock(&options.path)?;
        recover::finish(&options.path).map_err(|error| OpenError::Unwritable { path: options.path.clone(), error })?;
        let connection = schema::open_writer(&options.path, options.bytes_max)?;
        let reader_connection = schema::open_reader(&options.path)?;
        let shared = Arc::new(Shared {
            inbox: Inbox::new(),
            bytes: AtomicU64::new(0),
            young: AtomicBool::new(false),
            stored_last: AtomicI64::new(0),
            writer_ended: watch::Sender::new(false),
            queues: RwLock::default(),
            queue_id_last: AtomicI64::new(0),
            memory: Arc::default(),
            ready_max: options.ready_max.max(1),
            closed: AtomicBool::new(false),
        });
        let failed = |error| schema::refused(&options.path.join(schema::DATABASE), error);
        let mut ledger = Ledger::new(&connection).map_err(failed)?;
        // Before the first commit.
        stored::unpointed(&connection).map_err(failed)?;
        let taken = take_over(&connection, &mut ledger, &options)?;
        let dropped = tidy(&connection, &mut ledger, &options).map_err(failed)?;
        let mut stored = Stored::read(&connection, &mut ledger, options.bytes_max).map_err(failed)?;
        drop(ledger);
        stored.add(&taken.1);
        shared.young.store(!taken.1.is_empty(), Relaxed);
        let found = Found { dropped, ..restore(&shared, &stored) };
        let queues: HashMap<i64, Arc<Queue>> = shared.queues().into_iter().map(|queue| (queue.id, queue)).collect();
        for (webhook, event, claim) in taken.1.due() {
            if let Some(queue) = queues.get(&webhook) {
                queue.hand_over(event, claim);
            }
        }
        let Stored { seq_last, keys, last_invocation, .. } = stored;
        shared.stored_last.store(taken.1.seq_first().map_or(seq_last, |first| first - 1), Relaxed);

        let (reader, asks) = mpsc::channel();
        let setup = writer::Setup {
            shared: Arc::clone(&shared),
            directory: options.path,
            seq_last,
            bytes_max: options.bytes_max,
            dead_letter_retention: options.dead_letter_retention,
            commit_seen: options.commit_seen,
        };
        let mut spool = Self {
            shared: Arc::clone(&shared),
            reader,
            listing: Semaphore::new(1),
            found,
            last_invocation,
            threads: Vec::new(),
            _lock: lock,
        };
        spool.start("spool-reader", move || reader::run(&reader_connection, &asks, &shared))?;
        spool.start("spool-writer", move || writer::run(&connection, keys, taken, setup))?;
        Ok(spool)
    }

    /// What opening found.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let run = move || {
            let _crash = CrashOnPanic;
            run();
        };
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(run).map_err(OpenError::Thread)?);
        Ok(())
    }
}

/// Ends the process when its thread panics. Without that thread nothing is settled, and every delivery would be leased and
/// made again without end; what is started next finds all of it as after any other crash.
struct CrashOnPanic;

impl Drop for CrashOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(
                note = "a thread of the spool panicked; the process ends, and the spool comes back with the next start",
                "spool.panicked"
            );
            process::abort();
        }
    }
}

impl Drop for DiskSpool {
    fn drop(&mut self) {
        self.shared.close();
        let _ = self.reader.send(Ask::End);
        for thread in self.threads.drain(..) {
            // One that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

/// Takes over what a process that crashed left in its journal. Where there is no room for it in the database now it stays young, and goes
/// there when there is: what is pending has to be delivered to make that room.
fn take_over(
    connection: &Connection,
    ledger: &mut Ledger<'_>,
    options: &Options,
) -> Result<(Journal, Young), OpenError> {
    let failed = |error| schema::refused(&options.path.join(schema::DATABASE), error);
    let mark = schema::mark(connection).map_err(failed)?;
    let groups = journal::read(&options.path, mark)
        .map_err(|error| OpenError::Journal { path: options.path.join(JOURNAL), error })?;
    if groups.outlived {
        let count = groups.entries.iter().filter(|entry| matches!(entry, journal::Entry::Appended { .. })).count();
        tracing::error!(
            count,
            note = "the spool's database is older than its journal: what was written between is lost; what the journal holds is taken over",
            "spool.database_outlived"
        );
    }
    let mut journal = Journal::new(&options.path, options.journal_bytes_max, options.bytes_max, &groups);
    // A damaged database is left as it is.
    Stored::read(connection, ledger, options.bytes_max).map_err(failed)?;
    let now_ms = Timestamp::now().as_millisecond();
    let mut young = replay::young(groups.entries, connection, ledger, now_ms).map_err(failed)?;
    let Some(mark) = journal.untold() else { return Ok((journal, young)) };
    let written = ledger.begin().and_then(|()| {
        young.write(ledger, &Made::new())?;
        ledger.set_mark(mark)?;
        ledger.commit()
    });
    if written.is_err() {
        ledger.rollback();
    }
    if if_there_is_room(written.map(Some)).map_err(failed)?.is_some() {
        young.clear();
        journal.emptied();
    }
    Ok((journal, young))
}

/// Webhooks that have nothing in store, whatever their counters say: what is owed, dead or recorded needs its webhook.
const DELETE_IDLE: &str = "DELETE FROM webhooks WHERE pending <= 0 AND dead <= 0
AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.webhook = webhooks.id)
AND NOT EXISTS (SELECT 1 FROM dead WHERE dead.webhook = webhooks.id)
AND NOT EXISTS (SELECT 1 FROM invocations WHERE invocations.webhook = webhooks.id)";

/// Drops a bounded number of old dead letters and records, and webhooks that have nothing in store: these are made again when they are named.
/// How many dead letters there were.
fn tidy(connection: &Connection, ledger: &mut Ledger<'_>, options: &Options) -> rusqlite::Result<u64> {
    let retention = options.dead_letter_retention;
    let dropped = if_there_is_room(writer::drop_old_dead(ledger, retention, RETENTION_STEP_OPEN))?;
    let mut records = Records::new(connection, options.bytes_max)?;
    if_there_is_room(writer::drop_old_records(ledger, &mut records, retention, RETENTION_STEP_OPEN))?;
    if_there_is_room(connection.execute(DELETE_IDLE, []))?;
    Ok(u64::try_from(dropped.values().sum::<i64>()).unwrap_or(0))
}

/// Makes the queues of what is in store.
fn restore(shared: &Shared, stored: &Stored) -> Found {
    shared.queue_id_last.store(stored.webhook_last, Relaxed);
    let mut found = Found::default();
    let mut queues = shared.queues.write().unwrap_or_else(PoisonError::into_inner);
    for webhook in &stored.webhooks {
        let name = Arc::clone(&webhook.name);
        let queue = Queue::new(webhook.id, Arc::clone(&name), Arc::clone(&shared.memory), shared.ready_max);
        queue.restore(webhook.pending, webhook.dead, stored.seq_last);
        queue.set_oldest(webhook.oldest);
        queues.insert(name, Arc::new(queue));
        found.pending += webhook.pending;
        found.dead += webhook.dead;
    }
    found
}

/// Tidying up waits for room on the disk: what is pending has to be delivered to make that room.
fn if_there_is_room<T: Default>(tidied: rusqlite::Result<T>) -> rusqlite::Result<T> {
    match tidied {
        Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)) => {
            tracing::warn!(%error, note = "the spool cannot be tidied up while it is opened", "spool.untidied");
            Ok(T::default())
        }
        tidied => tidied,
    }
}

impl Shared {
    /// Every queue, in no order.
    pub(super) fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The queue of a webhook, made when it is new. Its row is written with its first delivery.
    fn queue(&self, webhook: &Arc<str>) -> Arc<Queue> {
        if let Some(queue) = self.queues.read().unwrap_or_else(PoisonError::into_inner).get(webhook) {
            return Arc::clone(queue);
        }
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(Arc::clone(webhook)).or_insert_with(|| {
            let id = self.queue_id_last.fetch_add(1, Relaxed) + 1;
            Arc::new(Queue::new(id, Arc::clone(webhook), Arc::clone(&self.memory), self.ready_max))
        });
        Arc::clone(queue)
    }

    /// Sees to it that the database has all that was appended and delivered.
    pub(super) fn flush(&self) -> Result<(), SpoolError> {
        if !self.young.load(Relaxed) || self.inbox.flush().unwrap_or_else(|| !self.young.load(Relaxed)) {
            return Ok(());
        }
        Err(SpoolError::Unavailable("what is in the journal cannot be written to the database".to_owned()))
    }

    fn close(&self) {
        self.closed.store(true, SeqCst);
        self.inbox.close();
        for queue in self.queues() {
            queue.wake();
        }
    }
}

/// No more than may be asked for at once.
fn bounded(mut numbers: Vec<i64>) -> Vec<i64> {
    numbers.truncate(DEAD_LETTERS_MAX);
    numbers
}

impl DiskSpool {
    /// Asks the reader, one question at a time, so that refills come between.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, SpoolError>>) -> Ask) -> Result<T, SpoolError> {
        let _turn = self.listing.acquire().await.map_err(|_| SpoolError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.reader.send(ask(reply)).map_err(|_| SpoolError::Closed)?;
        answer.await.unwrap_or(Err(SpoolError::Closed))
    }
}

impl Spool for DiskSpool {
    fn append(&self, batch: Batch) -> Wait<'_, Result<Appended, SpoolError>> {
        Box::pin(async move {
            let mut events = Vec::with_capacity(batch.events.len());
            let mut bytes = 0;
            for (event, owed) in batch.events {
                let mut queues: Vec<_> = owed
                    .iter()
                    .map(|owed| (self.shared.queue(&owed.webhook), owed.lane.map_or(0, Lane::get)))
                    .collect();
                queues.sort_unstable_by_key(|(queue, _)| queue.id);
                queues.dedup_by_key(|(queue, _)| queue.id);
                if !queues.is_empty() {
                    bytes += (event.raw.len() + event.trace_bytes()) as u64
                        + EVENT_BYTES
                        + DELIVERY_BYTES * queues.len() as u64;
                    events.push((event, queues));
                }
            }
            if let Some(key) = &batch.key {
                bytes += KEY_BYTES + key.receipt.len() as u64;
            } else if events.is_empty() {
                return if self.shared.closed.load(SeqCst) { Err(SpoolError::Closed) } else { Ok(Appended::New) };
            }
            self.shared.inbox.append(events, batch.key, bytes).await
        })
    }

    fn lease<'a>(&'a self, webhook: &'a Arc<str>, max: usize) -> Wait<'a, Vec<Lease>> {
        Box::pin(async move {
            let queue = self.shared.queue(webhook);
            loop {
                // Enabled before the look: a wake-up that comes after the look is not lost.
                let mut woken = pin!(queue.woken());
                woken.as_mut().enable();
                if self.shared.closed.load(SeqCst) || max == 0 {
                    return Vec::new();
                }
                let taken = queue.take(max, Timestamp::now().as_millisecond());
                if taken.refill {
                    // The reader ends with the spool, and `self` is here.
                    let _ = self.reader.send(Ask::Refill(Arc::clone(&queue)));
                }
                if !taken.leases.is_empty() {
                    return taken.leases;
                }
                // The time being over and the wake-up both mean to look again.
                let _ = tokio::time::timeout(taken.wait, woken).await;
            }
        })
    }

    fn settle(&self, lease: Lease, mut settlement: Settlement) -> Wait<'_, ()> {
        Box::pin(async move {
            // Until there is room the lease is whole: dropping this future gives it back.
            if !self.shared.inbox.settle_room().await {
                return;
            }
            let queue = self.shared.queue(&lease.webhook);
            let noted = settlement.take_record().and_then(|record| self.shared.inbox.note(lease.event.id, record));
            let claim = lease.settled();
            // Others of its lane may wait for it.
            let urgent = claim.lane != 0 && queue.blocked.load(Relaxed);
            self.shared.inbox.settle(Order { queue, claim, settlement, noted, metered: true }, urgent);
        })
    }

    fn backlog(&self) -> Vec<Backlog> {
        let mut backlog: Vec<Backlog> = self
            .shared
            .queues()
            .into_iter()
            .map(|queue| {
                let oldest_ms = queue.oldest_ms.load(Relaxed);
                Backlog {
                    webhook: Arc::clone(&queue.webhook),
                    pending: queue.pending.load(Relaxed),
                    dead: queue.dead.load(Relaxed),
                    oldest_pending: (oldest_ms != 0).then(|| Timestamp::from_millisecond(oldest_ms).ok()).flatten(),
                }
            })
            .collect();
        backlog.sort_unstable_by(|a, b| a.webhook.cmp(&b.webhook));
        backlog
    }

    fn bury(
        &self,
        webhook: &Arc<str>,
        reason: Reason,
        older_than: Option<Timestamp>,
    ) -> Wait<'_, Result<u64, SpoolError>> {
        let queue = self.shared.queue(webhook);
        Box::pin(self.shared.inbox.bury(queue, reason, older_than.map(Timestamp::as_millisecond)))
    }

    fn dead_letters(&self, query: DeadLetterQuery) -> Wait<'_, Result<DeadLetterPage, SpoolError>> {
        Box::pin(self.ask(|reply| Ask::DeadLetters(query, reply)))
    }

    fn dead_letter(&self, event: EventId, webhook: &str) -> Wait<'_, Result<Option<(DeadLetter, Bytes)>, SpoolError>> {
        let webhook = webhook.to_owned();
        Box::pin(self.ask(move |reply| Ask::DeadLetter(event, webhook, reply)))
    }

    fn replay(&self, numbers: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>> {
        Box::pin(self.shared.inbox.repair(bounded(numbers), true))
    }

    fn drop_dead_letters(&self, numbers: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>> {
        Box::pin(self.shared.inbox.repair(bounded(numbers), false))
    }

    fn invocations(&self, query: InvocationQuery) -> Wait<'_, Result<InvocationPage, SpoolError>> {
        Box::pin(self.ask(|reply| Ask::Invocations(query, reply)))
    }

    fn invocation(&self, number: u64) -> Wait<'_, Result<Option<Recorded>, SpoolError>> {
        Box::pin(self.ask(move |reply| Ask::Invocation(number, reply)))
    }

    fn last_invocation(&self) -> u64 {
        self.last_invocation
    }

    fn find(&self, sought: Sought) -> Wait<'_, Result<KeptEvents, SpoolError>> {
        Box::pin(self.ask(|reply| Ask::Find(sought, reply)))
    }

    fn bytes(&self) -> u64 {
        self.shared.bytes.load(Relaxed)
    }

    fn close(&self) -> Wait<'_, ()> {
        Box::pin(async move {
            self.shared.close();
            // The sender lives in `shared`, so the only end of this wait is the writer's.
            let _ = self.shared.writer_ended.subscribe().wait_for(|ended| *ended).await;
        })
    }
}
