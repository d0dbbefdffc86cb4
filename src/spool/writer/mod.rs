//! The writer: one thread that commits everything that waits in one transaction, and tells everybody afterwards.
//!
//! Most of what waits is taken by the journal alone ([`light`]). All else goes to `SQLite`, and everything with it that is in the journal.
//!
//! When a commit fails, the appends of its transaction are answered with an error and nothing of them is kept. The
//! settlements are kept and tried again; their number is bounded, because their places in the inbox stay taken.

mod burial;
mod light;
mod pace;
mod repair;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;

use crate::event::Event;

use super::disk::Shared;
use super::inbox::{Append, Burial, Order};
use super::journal::Journal;
use super::keys::Keys;
use super::ledger::{Change, Ledger, due_of};
use super::queue::{Key, Queue};
use super::records::Records;
use super::schema::{self, PAGE_BYTES};
use super::young::{Made, Young};
use super::{Appended, Claim, Settlement, SpoolError};

use self::pace::Pace;

/// Dead letters that one step of the retention drops.
const RETENTION_STEP: i64 = 256;
/// How often dead letters are looked through for old ones.
const RETENTION_EVERY: Duration = Duration::from_mins(1);
/// The oldest pending event of a webhook is looked up this often at most.
const OLDEST_EVERY: Duration = Duration::from_secs(1);
/// Settlements that could not be written are tried again after this long.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// A full spool empties `SQLite`'s log this often at most, to see what is really free.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// What the writer needs beside its connection.
pub(super) struct Setup {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: PathBuf,
    pub(super) seq_last: i64,
    pub(super) bytes_max: u64,
    pub(super) dead_letter_retention: Duration,
    pub(super) commit_seen: Box<dyn Fn(Duration) + Send>,
}

struct Writer<'c> {
    connection: &'c Connection,
    ledger: Ledger<'c>,
    records: Records<'c>,
    keys: Keys,
    journal: Journal,
    /// What is in the journal alone.
    young: Young,
    /// What the database took when it was measured last.
    disk_bytes: u64,
    setup: Setup,
    /// Settlements that are not committed yet, in their order.
    orders: Vec<Order>,
    burials: VecDeque<Burial>,
    /// Queues whose oldest pending event has to be looked up.
    stale: HashMap<i64, Arc<Queue>>,
    retry_at: Option<Instant>,
    pace: Pace,
    /// The commit of the last transaction failed. It may be found all the same after a crash now, so that the journal takes nothing until another one
    /// stands in its place.
    unsure: bool,
    /// The last commit failed, and that was logged.
    failing: bool,
    oldest_at: Instant,
    retention_at: Instant,
    checkpoint_at: Instant,
}

/// What a transaction did to one webhook.
struct Touched {
    queue: Arc<Queue>,
    change: Change,
    settled: usize,
    appended: usize,
    wake: bool,
}

type Touches = HashMap<i64, Touched>;

/// What a transaction came to.
#[derive(Default)]
struct Written {
    /// The number of the first event that was kept.
    seq_first: i64,
    touched: Touches,
    /// Dead letters that the first burial made.
    buried: u64,
    /// For each append.
    answers: Vec<Appended>,
    /// Deliveries that wait for another one of their lane: the number of the webhook, and of the event.
    blocked: HashSet<(i64, i64)>,
    /// Deliveries whose turn has come.
    released: Vec<(Arc<Queue>, Key)>,
    /// Lanes in which the first of what is young waits for nobody any more.
    turns: Vec<(Arc<Queue>, i64)>,
    /// Deliveries whose turn has come and that are in memory.
    handed: Vec<(Arc<Queue>, Arc<Event>, Claim)>,
    /// The journal took it alone.
    light: bool,
}

/// Runs until the spool is closed and everything that was queued is written.
pub(super) fn run(connection: &Connection, keys: Keys, (journal, young): (Journal, Young), setup: Setup) {
    let _ended = Ended(Arc::clone(&setup.shared));
    let now = Instant::now();
    let statements =
        Ledger::new(connection).and_then(|ledger| Ok((ledger, Records::new(connection, setup.bytes_max)?)));
    let (ledger, records) = match statements {
        Ok(statements) => statements,
        Err(error) => {
            tracing::error!(%error, note = "the spool's writer cannot start", "spool.unstarted");
            return;
        }
    };
    let mut writer = Writer {
        connection,
        ledger,
        records,
        keys,
        journal,
        young,
        disk_bytes: 0,
        orders: Vec::new(),
        burials: VecDeque::new(),
        stale: HashMap::new(),
        retry_at: None,
        pace: Pace::new(now),
        unsure: false,
        failing: false,
        oldest_at: now,
        retention_at: now,
        checkpoint_at: now,
        setup,
    };
    writer.measure();
    loop {
        writer.tend();
        let waiting = writer.setup.shared.inbox.take(writer.idle(), writer.pace.gather());
        writer.orders.extend(waiting.orders);
        let seq_max = writer.setup.seq_last;
        writer.burials.extend(waiting.burials.into_iter().map(|burial| Burial { seq_max, ..burial }));
        if waiting.closing {
            // The last chance for what could not be written.
            writer.retry_at = None;
        }
        // What looks into the database has to find all there.
        let whole = waiting.closing || !waiting.readers.is_empty() || !writer.burials.is_empty();
        writer.write(waiting.appends, whole);
        writer.pace.end_round(waiting.late.is_some());
        for (queue, reply) in waiting.refills {
            let stored = writer.setup.shared.stored_last.load(Relaxed);
            let young = |after| writer.young.fresh(queue.id, after);
            // One that is gone does not listen.
            let _ = reply.send(queue.serve(stored, Timestamp::now().as_millisecond(), young));
        }
        for reader in waiting.readers {
            // One that is gone does not listen.
            let _ = reader.send(writer.young.is_empty());
        }
        writer.end_burial();
        for repair in waiting.repairs {
            let result = writer.repair(&repair);
            // Nobody listens any more when the caller's future was dropped.
            let _ = repair.reply.send(result.map_err(|error| SpoolError::unavailable(&error)));
        }
        if waiting.closing {
            break;
        }
        // After all that was queued is written, so that it is found where it is now; its own orders are written at once.
        writer.step_burial();
    }
    if !writer.orders.is_empty() {
        let count = writer.orders.len();
        tracing::error!(
            count,
            note = "settlements could not be written; their deliveries come back with the next start",
            "spool.settlements_unwritten"
        );
    }
    // So that the database's file alone has all of it, whoever else still has the database open. Where it fails, `SQLite`'s log has it.
    let _ = writer.ledger.checkpoint();
}

impl Writer<'_> {
    /// How long to wait for something to do.
    fn idle(&self) -> Duration {
        if !self.burials.is_empty() && self.retry_at.is_none() {
            return Duration::ZERO;
        }
        let mut next = self.retention_at;
        if !self.stale.is_empty() {
            next = next.min(self.oldest_at);
        }
        if let Some(retry_at) = self.retry_at {
            next = next.min(retry_at);
        }
        next.saturating_duration_since(Instant::now())
    }

    /// Commits the orders and all appends for which there is room; to `SQLite` when all has to be there.
    fn write(&mut self, appends: Vec<Append>, whole: bool) {
        let mut appends = self.admit(appends);
        let due = self.retry_at.is_none_or(|at| at <= Instant::now());
        if due && self.orders.is_empty() && self.young.is_empty() {
            self.retry_at = None;
        }
        let flush = (whole || self.retry_at.is_some()) && due && !self.young.is_empty();
        if appends.is_empty() && !flush && (self.orders.is_empty() || !due) {
            return;
        }
        if !whole && !flush {
            match self.write_apart(appends) {
                None => return,
                Some(back) => appends = back,
            }
        }
        let error = match self.commit(&appends, true) {
            Ok(written) => return self.publish(appends, written),
            Err(error) => error,
        };
        self.tell_failing(&error);
        let appends = self.write_young(appends);
        let settle_alone = !appends.is_empty() && !self.orders.is_empty();
        for append in appends {
            self.setup.shared.inbox.answer(append, Err(SpoolError::unavailable(&error)));
        }
        // The appends may be what there is no room for: settlements make room.
        if settle_alone && let Ok(written) = self.commit(&[], true) {
            return self.publish(Vec::new(), written);
        }
        self.settle_stored();
        self.hand_over_young();
        // Records may be what there is no room for, and are owed to nobody.
        for order in &mut self.orders {
            order.noted = None;
        }
        let left = !self.orders.is_empty() || !self.young.is_empty();
        self.retry_at = left.then(|| Instant::now() + RETRY_EVERY);
    }

    /// Settles what is in `SQLite`, which takes nothing else with it, and has the journal take the rest. The appends come back where that
    /// has to go to `SQLite` as well.
    fn write_apart(&mut self, appends: Vec<Append>) -> Option<Vec<Append>> {
        if !self.journal.is_ready() {
            return Some(appends);
        }
        // A burial counts what its own transactions bury, and what could not be written is tried again as a whole.
        if self.burials.is_empty() && self.retry_at.is_none() {
            let young = self.split_off(Self::is_young);
            // First: who is told that an append is durable takes what was settled before it for settled.
            let settled = self.settle_apart();
            self.orders.extend(young);
            if !settled {
                return Some(appends);
            }
            if appends.is_empty() && self.orders.is_empty() {
                return None;
            }
        }
        match self.write_light(&appends) {
            Some(written) => {
                self.publish(appends, written);
                None
            }
            None => Some(appends),
        }
    }

    /// A settlement of what is young.
    fn is_young(&self, order: &Order) -> bool {
        self.young.holds(order.queue.id, order.claim)
    }

    /// A settlement that the journal cannot take.
    fn is_heavy(&self, order: &Order) -> bool {
        !matches!(order.settlement, Settlement::Delivered) || !self.is_young(order)
    }

    /// Takes some of the orders out.
    fn split_off(&mut self, which: impl Fn(&Self, &Order) -> bool) -> Vec<Order> {
        let (taken, left) = std::mem::take(&mut self.orders).into_iter().partition(|order| which(self, order));
        self.orders = left;
        taken
    }

    /// Commits the orders, which are of what is in `SQLite`, and leaves alone what is young. Whether they are written.
    fn settle_apart(&mut self) -> bool {
        if self.orders.is_empty() {
            return true;
        }
        match self.commit(&[], false) {
            Ok(written) => {
                self.publish(Vec::new(), written);
                self.tell_writable();
                true
            }
            Err(error) => {
                self.tell_failing(&error);
                self.retry_at = Some(Instant::now() + RETRY_EVERY);
                false
            }
        }
    }

    fn tell_failing(&mut self, error: &rusqlite::Error) {
        if !self.failing {
            self.failing = true;
            let error = SpoolError::unavailable(error);
            tracing::error!(%error, note = "the spool's database cannot be written; appends that its journal cannot take are refused, and settlements kept", "spool.unwritable");
        }
    }

    fn tell_writable(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(note = "the spool can be written again", "spool.writable");
        }
    }

    /// Answers the appends that go beyond the limit; the others.
    fn admit(&mut self, mut appends: Vec<Append>) -> Vec<Append> {
        let bytes_max = self.setup.bytes_max;
        let asked: u64 = appends.iter().map(|append| append.bytes).sum();
        if asked == 0 || self.bytes() + asked <= bytes_max {
            return appends;
        }
        let now = Instant::now();
        if self.checkpoint_at <= now {
            self.checkpoint_at = now + CHECKPOINT_EVERY;
            // What was delivered takes room in the journal until it begins again.
            if self.journal.used() > 0
                && let Ok(written) = self.commit(&[], true)
            {
                self.publish(Vec::new(), written);
            }
            if let Err(error) = self.ledger.checkpoint() {
                tracing::warn!(%error, note = "the full spool's log could not be written back", "spool.log_unwritten");
            }
            self.measure();
        }
        let mut bytes = self.bytes();
        let refused = appends.extract_if(.., |append| {
            let fits = bytes + append.bytes <= bytes_max;
            bytes += if fits { append.bytes } else { 0 };
            !fits
        });
        let held = self.setup.shared.bytes.load(Relaxed);
        let now_ms = Timestamp::now().as_millisecond();
        for append in refused {
            // A repeat needs no room.
            let key = append.key.as_ref();
            let known = key.and_then(|key| self.keys.known(self.connection, key, now_ms).ok().flatten());
            let answer = known.ok_or(SpoolError::Full { bytes: held, bytes_max });
            self.setup.shared.inbox.answer(append, answer);
        }
        appends
    }

    /// Commits the orders of what is in `SQLite` and leaves alone what is young, for which there may be no room.
    fn settle_stored(&mut self) {
        if self.young.is_empty() {
            return;
        }
        let young = self.split_off(Self::is_young);
        if !self.orders.is_empty()
            && let Ok(written) = self.commit(&[], false)
        {
            self.publish(Vec::new(), written);
        }
        self.orders.extend(young);
    }

    /// While the database takes nothing the journal takes what it can: appends, and what was delivered of what is young, which gives others of
    /// their lanes their turns. The appends that it does not take.
    fn write_young(&mut self, appends: Vec<Append>) -> Vec<Append> {
        if self.settle_doubt().is_err() {
            return appends;
        }
        let heavy = self.split_off(Self::is_heavy);
        let (mut left, plain): (Vec<_>, Vec<_>) = appends.into_iter().partition(|append| append.key.is_some());
        if let Some(written) = self.write_light(&plain) {
            self.publish(plain, written);
        } else {
            left.extend(plain);
            if let Some(written) = self.write_light(&[]) {
                self.publish(Vec::new(), written);
            }
        }
        self.orders.extend(heavy);
        left
    }

    /// Puts a transaction that changes nothing in the place of the one that failed, so that no crash finds that.
    fn settle_doubt(&mut self) -> rusqlite::Result<()> {
        if !self.unsure {
            return Ok(());
        }
        let Some(mark) = schema::mark(self.connection)? else { return Ok(()) };
        self.ledger.begin()?;
        let written = self.ledger.set_mark(mark).and_then(|()| self.ledger.commit());
        if written.is_err() {
            self.ledger.rollback();
        }
        self.unsure = written.is_err();
        written
    }

    /// Has all that is young delivered from memory: as long as it cannot be written nobody can read it from the disk, and what is delivered
    /// needs no room there.
    fn hand_over_young(&self) {
        if self.young.is_empty() {
            return;
        }
        let queues: HashMap<i64, Arc<Queue>> =
            self.setup.shared.queues().into_iter().map(|queue| (queue.id, queue)).collect();
        for (webhook, event, claim) in self.young.due() {
            if let Some(queue) = queues.get(&webhook) {
                queue.hand_over_anyway(event, claim);
                queue.wake();
            }
        }
    }

    /// One transaction, with all that is young or, where nothing is appended, without. All of it is undone when it fails.
    fn commit(&mut self, appends: &[Append], whole: bool) -> rusqlite::Result<Written> {
        let started = Instant::now();
        let (seq_before, records_before) = (self.setup.seq_last, self.records.bytes());
        let changes_before = self.connection.total_changes();
        let result = self.ledger.begin().and_then(|()| {
            let made = if whole { self.made() } else { Made::new() };
            if whole {
                self.young.write(&mut self.ledger, &made)?;
                if let Some(mark) = self.journal.untold() {
                    self.ledger.set_mark(mark)?;
                }
            }
            self.change(appends, &made)
        });
        // Before its commit a transaction leaves nothing that could be found.
        let result = result.and_then(|written| {
            self.ledger.commit().inspect_err(|_| self.unsure = true)?;
            Ok(written)
        });
        match result {
            Ok(written) => {
                // One that changed nothing wrote nothing over the one that failed.
                self.unsure &= self.connection.total_changes() == changes_before;
                (self.setup.commit_seen)(started.elapsed());
                if !whole {
                    return Ok(self.take_turns(written));
                }
                self.young.clear();
                self.setup.shared.stored_last.store(self.setup.seq_last, Release);
                self.journal.emptied();
                self.retry_at = None;
                self.tell_writable();
                Ok(written)
            }
            Err(error) => {
                self.ledger.rollback();
                self.setup.seq_last = seq_before;
                self.records.set_bytes(records_before);
                if appends.iter().any(|append| append.key.is_some()) {
                    // What was kept there of keys was undone; without the sets none is recognised, which a sender can bear.
                    match Keys::read(self.connection, self.setup.bytes_max) {
                        Ok(keys) => self.keys = keys,
                        Err(error) => {
                            tracing::warn!(%error, note = "the idempotency keys could not be read again", "spool.keys_unread");
                        }
                    }
                }
                Err(error)
            }
        }
    }

    /// The deliveries of the orders that were made while they were young: they need not be written to be deleted.
    fn made(&self) -> Made {
        if self.young.is_empty() {
            return Made::new();
        }
        let made = |order: &&Order| {
            matches!(order.settlement, Settlement::Delivered) && self.young.holds(order.queue.id, order.claim)
        };
        self.orders.iter().filter(made).map(|order| (order.claim.seq, order.queue.id)).collect()
    }

    fn change(&mut self, appends: &[Append], made: &Made) -> rusqlite::Result<Written> {
        let mut written = Written { seq_first: self.setup.seq_last + 1, ..Written::default() };
        let now_ms = Timestamp::now().as_millisecond();
        for order in &self.orders {
            let change = if made.contains(&(order.claim.seq, order.queue.id)) {
                Change { pending: -1, dead: 0 }
            } else {
                self.ledger.settle(order.queue.id, order.claim, &order.settlement)?
            };
            let deferred = matches!(order.settlement, Settlement::Defer { .. });
            touch(&mut written.touched, &order.queue, change, deferred).settled += usize::from(!deferred);
            written.buried += u64::from(!order.metered && change.dead > 0);
            if order.claim.lane != 0 && order.queue.blocked.load(Relaxed) {
                let (id, lane) = (order.queue.id, order.claim.lane);
                if let Some(key) = self.ledger.release_lane(id, lane, now_ms)? {
                    touch(&mut written.touched, &order.queue, Change::default(), true);
                    written.released.push((Arc::clone(&order.queue), key));
                } else if self.young.is_in(id, lane) && self.ledger.lane_head(id, lane)?.is_none() {
                    written.turns.push((Arc::clone(&order.queue), lane));
                }
            }
        }
        for append in appends {
            let appended = match &append.key {
                Some(key) => self.keys.keep(self.connection, key, now_ms)?,
                None => Appended::New,
            };
            if appended == Appended::New {
                for (event, owed) in &append.events {
                    self.add_event(event, owed, &mut written)?;
                }
            }
            written.answers.push(appended);
        }
        for Touched { queue, change, .. } in written.touched.values() {
            if *change != Change::default() {
                self.ledger.count(queue.id, &queue.webhook, *change)?;
            }
        }
        let noted = self.orders.iter().filter_map(|order| Some((order.queue.id, order.noted.as_ref()?)));
        self.records.keep(noted)?;
        Ok(written)
    }

    fn add_event(
        &mut self,
        event: &Arc<Event>,
        owed: &[(Arc<Queue>, i64)],
        written: &mut Written,
    ) -> rusqlite::Result<()> {
        self.setup.seq_last += 1;
        let seq = self.setup.seq_last;
        let fanout = i64::try_from(owed.len()).unwrap_or(i64::MAX);
        self.ledger.add_event(seq, event, fanout, fanout)?;
        for (queue, lane) in owed {
            if self.ledger.add_delivery(queue.id, seq, *lane)? {
                // Told at once: a settlement in between has to look for whose turn it is.
                queue.blocked.store(true, Relaxed);
                written.blocked.insert((queue.id, seq));
            }
            touch(&mut written.touched, queue, Change { pending: 1, dead: 0 }, true).appended += 1;
        }
        Ok(())
    }

    /// Tells the queues, the counters and the senders what is durable now.
    fn publish(&mut self, appends: Vec<Append>, written: Written) {
        let Written { seq_first, touched, buried, answers, blocked, released, turns: _, handed, light } = written;
        // Before anybody hears of what is young: readers ask for it then.
        self.setup.shared.young.store(!self.young.is_empty(), Relaxed);
        if let Some(burial) = self.burials.front_mut() {
            burial.count += buried;
        }
        let mut metered = 0;
        for order in self.orders.drain(..) {
            metered += usize::from(order.metered);
            order.queue.settled(order.claim, due_of(&order.settlement));
            let oldest_left = order.queue.oldest_seq.load(Relaxed) == order.claim.seq;
            if oldest_left && !matches!(order.settlement, Settlement::Defer { .. }) {
                self.stale.insert(order.queue.id, order.queue);
            }
        }
        for (queue, key) in released {
            queue.made_due(key);
        }
        for (queue, event, claim) in handed {
            queue.hand_over(event, claim);
        }
        for Touched { queue, change, .. } in touched.values() {
            add(&queue.pending, change.pending);
            add(&queue.dead, change.dead);
        }
        let kept = appends.iter().zip(&answers).filter(|(_, answer)| **answer == Appended::New);
        for ((event, owed), seq) in kept.flat_map(|(append, _)| &append.events).zip(seq_first..) {
            let mut held = None;
            for (queue, lane) in owed {
                if queue.oldest_ms.load(Relaxed) == 0 {
                    queue.set_oldest(Some((seq, event.received_at.as_millisecond())));
                }
                if blocked.is_empty() || !blocked.contains(&(queue.id, seq)) {
                    queue.push_fresh(event, &mut held, seq, owed.len() > 1, *lane);
                }
            }
        }
        self.pace.note(&touched, appends.len());
        let mut ready = Vec::new();
        for Touched { queue, wake, .. } in touched.into_values() {
            if queue.pending.load(Relaxed) == 0 {
                queue.set_oldest(None);
                queue.blocked.store(false, Relaxed);
                self.stale.remove(&queue.id);
            }
            if wake {
                ready.push(queue);
            }
        }
        if light {
            self.measure_journal();
        } else {
            self.measure();
        }
        let inbox = &self.setup.shared.inbox;
        inbox.settled(metered);
        inbox.tell(appends.into_iter().zip(answers.into_iter().map(Ok)).collect(), ready);
    }

    /// What has to be done now and then.
    fn tend(&mut self) {
        let now = Instant::now();
        if !self.stale.is_empty() && self.oldest_at <= now {
            self.oldest_at = now + OLDEST_EVERY;
            for queue in std::mem::take(&mut self.stale).into_values() {
                match self.oldest(&queue) {
                    Ok(oldest) => queue.set_oldest(oldest),
                    Err(error) => {
                        tracing::warn!(%error, note = "the oldest pending event could not be looked up", "spool.oldest_unread");
                    }
                }
            }
        }
        if self.retention_at <= now {
            self.retention_at = now + RETENTION_EVERY;
            if let Err(error) = self.keys.drop_old(self.connection, Timestamp::now().as_millisecond()) {
                tracing::warn!(%error, note = "old idempotency keys could not be dropped", "spool.keys_undropped");
            }
            match drop_old_dead(&mut self.ledger, self.setup.dead_letter_retention, RETENTION_STEP) {
                Ok(dropped) => {
                    let count: i64 = dropped.values().sum();
                    if count > 0 {
                        tracing::info!(
                            count,
                            note = "dropped dead letters that are older than the retention",
                            "dead_letters.expired"
                        );
                    }
                    if count == RETENTION_STEP {
                        self.retention_at = now;
                    }
                    for (id, count) in dropped {
                        if let Some(queue) = self.setup.shared.queues().into_iter().find(|queue| queue.id == id) {
                            add(&queue.dead, -count);
                        }
                    }
                    self.measure();
                }
                Err(error) => {
                    tracing::warn!(%error, note = "old dead letters could not be dropped", "dead_letters.undropped");
                }
            }
            match drop_old_records(
                &mut self.ledger,
                &mut self.records,
                self.setup.dead_letter_retention,
                RETENTION_STEP,
            ) {
                Ok(count) if i64::try_from(count).is_ok_and(|count| count >= RETENTION_STEP) => self.retention_at = now,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, note = "old records of invocations could not be dropped", "spool.records_undropped");
                }
            }
        }
    }

    /// Measures what the spool takes of the disk: the pages in use, `SQLite`'s log, and what of the journal is in use.
    fn measure(&mut self) {
        let log = schema::log_file(&self.setup.directory).metadata().map_or(0, |metadata| metadata.len());
        if let Ok(pages) = self.ledger.pages_used() {
            self.disk_bytes = pages * PAGE_BYTES + log;
        }
        self.measure_journal();
    }

    fn bytes(&self) -> u64 {
        self.setup.shared.bytes.load(Relaxed)
    }
}

/// Drops a bounded number of dead letters older than the retention, in a transaction of its own: how many of each
/// webhook.
pub(super) fn drop_old_dead(
    ledger: &mut Ledger<'_>,
    retention: Duration,
    limit: i64,
) -> rusqlite::Result<HashMap<i64, i64>> {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let before_ms = Timestamp::now().as_millisecond().saturating_sub(retention_ms);
    ledger.begin()?;
    let result = ledger.drop_old_dead(before_ms, limit).and_then(|webhooks| {
        let mut dropped = HashMap::new();
        for webhook in webhooks {
            *dropped.entry(webhook).or_insert(0) += 1;
        }
        for (webhook, count) in &dropped {
            ledger.uncount_dead(*webhook, *count)?;
        }
        ledger.commit()?;
        Ok(dropped)
    });
    if result.is_err() {
        ledger.rollback();
    }
    result
}

/// Drops a bounded number of records older than the retention of dead letters, in a transaction of its own: how many.
pub(super) fn drop_old_records(
    ledger: &mut Ledger<'_>,
    records: &mut Records<'_>,
    retention: Duration,
    limit: i64,
) -> rusqlite::Result<usize> {
    let retention_us = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp::now().as_microsecond().saturating_sub(retention_us);
    let bytes = records.bytes();
    ledger.begin()?;
    let dropped = records.drop_old(before, limit).and_then(|count| ledger.commit().map(|()| count));
    if dropped.is_err() {
        ledger.rollback();
        records.set_bytes(bytes);
    }
    dropped
}

fn touch<'t>(touched: &'t mut Touches, queue: &Arc<Queue>, change: Change, wake: bool) -> &'t mut Touched {
    let entry = touched.entry(queue.id).or_insert_with(|| Touched {
        queue: Arc::clone(queue),
        change: Change::default(),
        settled: 0,
        appended: 0,
        wake: false,
    });
    entry.change.pending += change.pending;
    entry.change.dead += change.dead;
    entry.wake |= wake;
    entry
}

fn add(counter: &std::sync::atomic::AtomicU64, change: i64) {
    counter.store(counter.load(Relaxed).saturating_add_signed(change), Relaxed);
}

/// However the writer ends, nobody waits for it any more.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.inbox.end();
        self.0.writer_ended.send_replace(true);
    }
}
