//! What one webhook has in memory of its deliveries, and where on disk the rest begins.
//!
//! Rows of `deliveries` are named by their [`Key`]. A row is *known* while it is in `ready`, leased, or settled without a
//! commit yet; what is known is never loaded again. Every committed row that is not known lies behind a cursor:
//!
//! - Fresh rows (due 0) are numbered in the order of their commits. The writer hands a fresh one over directly when
//!   nothing unread lies before it and there is room; else only `tail` moves, and the queue is *behind*.
//! - A row that waits for another one of its lane is *blocked*: its due time never comes. When its turn comes the writer makes
//!   it due, as it does with a deferred one.
//! - Deferred rows are read from `later` on, once `next_due` has come. A commit that defers lowers both.
//!
//! A refill works on a snapshot of the database while the writer goes on. It takes `later` and `next_due` out when it
//! begins and merges them at its end with what the writer lowered meanwhile, so no deferral is lost between. Rows that
//! were settled meanwhile are remembered in `gone`, so that its older snapshot does not bring them back.
//!
//! What is unread and not in the database yet, because it is in the journal alone, the writer hands over from memory: it is numbered
//! behind all that the database has, so that it comes when all of that was read.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::event::Event;

use super::{Claim, Home, Lease};

/// A row of `deliveries` within its webhook: when it is due, and the number of its event.
pub(super) type Key = (i64, i64);

/// What events may weigh that wait in memory, for all webhooks together.
const READY_BYTES_MAX: usize = 8 << 20;
/// What they may weigh for one webhook, so that one that hangs leaves room for others.
const READY_BYTES_WEBHOOK_MAX: usize = 2 << 20;
/// A webhook may always hold this many, so that it goes on whatever the others hold.
const READY_ALWAYS: usize = 4;
/// More than this part of the deliveries that may wait in memory is a queue that fills,
const FILLING_PART: usize = 16;
/// or this part of what they may weigh.
const FILLING_BYTES_PART: usize = 4;
/// What an event weighs beside its payload.
const EVENT_BYTES: usize = 512;
/// A waiter looks again after this long: wall clocks jump, and a refill can fail.
const RECHECK: Duration = Duration::from_secs(3);
/// Behind every deferred row.
const LATER_END: Key = (i64::MAX, i64::MAX);
/// Before every deferred row.
const LATER_START: Key = (0, i64::MAX);

/// The room that all queues share.
#[derive(Debug, Default)]
pub(super) struct Memory(AtomicUsize);

/// What an event takes of it, once for all queues that it waits in.
pub(super) struct Held {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(memory: &Arc<Memory>, event: &Event) -> Arc<Self> {
        let bytes = weight(event);
        memory.0.fetch_add(bytes, Relaxed);
        Arc::new(Self { memory: Arc::clone(memory), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Relaxed);
    }
}

/// The deliveries of one webhook.
pub(super) struct Queue {
    /// The webhook's number in the database.
    pub(super) id: i64,
    /// Its name.
    pub(super) webhook: Arc<str>,
    /// Pending deliveries.
    pub(super) pending: AtomicU64,
    /// Dead letters.
    pub(super) dead: AtomicU64,
    /// The oldest pending event.
    pub(super) oldest_seq: AtomicI64,
    /// When that was taken in, in milliseconds; 0 when there is none.
    pub(super) oldest_ms: AtomicI64,
    /// Some row may be blocked; where none is, nobody's turn has to be looked for.
    pub(super) blocked: AtomicBool,
    state: Mutex<State>,
    wake: Notify,
    memory: Arc<Memory>,
    ready_max: usize,
}

struct State {
    ready: VecDeque<Entry>,
    ready_bytes: usize,
    known: HashSet<Key>,
    gone: HashSet<Key>,
    refilling: bool,
    /// Fresh rows up to here were read or handed over.
    fresh: i64,
    /// The last fresh row that the writer told of.
    tail: i64,
    /// Deferred rows up to here were read.
    later: Key,
    /// When the next deferred row behind `later` is due.
    next_due: Option<i64>,
}

struct Entry {
    event: Arc<Event>,
    claim: Claim,
    /// It was leased before: it stands before what was not, in the order of the keys.
    returned: bool,
    held: Arc<Held>,
}

/// What [`Queue::take`] found.
pub(super) struct Taken {
    pub(super) leases: Vec<Lease>,
    /// The caller has to have the queue refilled: it was marked as refilling.
    pub(super) refill: bool,
    /// With no leases: look again after this long.
    pub(super) wait: Duration,
}

/// What a refill is to read.
pub(super) struct Plan {
    /// Fresh rows behind this one, when there are unread ones.
    pub(super) fresh: Option<i64>,
    /// Some deferred row is due. It may be one that is not in the database yet.
    pub(super) deferred: bool,
    /// Deferred rows behind this one.
    pub(super) later: Key,
    /// How many rows in all.
    pub(super) rows: usize,
    /// When there were deferred ones to read.
    pub(super) next_due: Option<i64>,
    tail: i64,
}

/// What a refill read.
#[derive(Default)]
pub(super) struct Refill {
    /// The rows in the order of their delivery.
    pub(super) rows: Vec<(Arc<Event>, Claim)>,
    /// The last fresh row read.
    pub(super) fresh: Option<i64>,
    /// No fresh row lies behind it.
    pub(super) fresh_drained: bool,
    /// The last deferred row read.
    pub(super) later: Option<Key>,
    /// When to read deferred rows again.
    pub(super) next_due: Option<i64>,
    /// There are more that could not be read.
    pub(super) partial: bool,
}

impl Queue {
    /// The queue of a webhook that has nothing in store.
    pub(super) fn new(id: i64, webhook: Arc<str>, memory: Arc<Memory>, ready_max: usize) -> Self {
        Self {
            id,
            webhook,
            pending: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            oldest_seq: AtomicI64::new(0),
            oldest_ms: AtomicI64::new(0),
            blocked: AtomicBool::new(false),
            state: Mutex::new(State {
                ready: VecDeque::new(),
                ready_bytes: 0,
                known: HashSet::new(),
                gone: HashSet::new(),
                refilling: false,
                fresh: 0,
                tail: 0,
                later: LATER_START,
                next_due: None,
            }),
            wake: Notify::new(),
            memory,
            ready_max,
        }
    }

    /// Takes over what was stored before this process: all of it is unread, up to the last event's number.
    pub(super) fn restore(&self, pending: u64, dead: u64, seq_last: i64) {
        self.pending.store(pending, Relaxed);
        self.dead.store(dead, Relaxed);
        if pending > 0 {
            self.blocked.store(true, Relaxed);
            let mut state = self.state();
            state.tail = seq_last;
            state.next_due = Some(0);
        }
    }

    /// Says which pending event is the oldest, and when that was taken in.
    pub(super) fn set_oldest(&self, oldest: Option<(i64, i64)>) {
        let (seq, ms) = oldest.unwrap_or_default();
        self.oldest_seq.store(seq, Relaxed);
        self.oldest_ms.store(ms, Relaxed);
    }

    /// Resolves at the next [`Queue::wake`] after it was enabled.
    pub(super) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.wake.notified()
    }

    /// Has all waiters look again.
    pub(super) fn wake(&self) {
        self.wake.notify_waiters();
    }

    /// Leases up to `max` of what is ready.
    pub(super) fn take(self: &Arc<Self>, max: usize, now_ms: i64) -> Taken {
        let mut state = self.state();
        let count = max.min(state.ready.len());
        let mut leases = Vec::with_capacity(count);
        let mut bytes = 0;
        for entry in state.ready.drain(..count) {
            bytes += entry.held.bytes;
            let home: Arc<dyn Home> = Arc::clone(self) as Arc<dyn Home>;
            leases.push(Lease::new(entry.event, Arc::clone(&self.webhook), entry.claim, home));
        }
        state.ready_bytes -= bytes;

        let unread = state.is_due(now_ms) || state.tail > state.fresh;
        // What is read goes behind what is ready, so it is soon enough, and cheaper, to read many at once.
        let refill = !state.refilling && unread && state.ready.len() <= self.ready_max / 4 && self.has_room(&state);
        state.refilling |= refill;
        let until_due = state.next_due.map_or(RECHECK, |due| {
            let ms = u64::try_from(due.saturating_sub(now_ms)).unwrap_or(0);
            Duration::from_millis(ms.max(1)).min(RECHECK)
        });
        // While a refill runs its end wakes the waiters, so an overdue `next_due` must not make them spin.
        let wait = if state.refilling { RECHECK } else { until_due };
        Taken { leases, refill, wait }
    }

    /// So much waits that soon some would be on disk alone, or it is already.
    pub(super) fn is_filling(&self) -> bool {
        let state = self.state();
        state.tail > state.fresh
            || state.ready.len() > self.ready_max / FILLING_PART
            || state.ready_bytes > READY_BYTES_WEBHOOK_MAX / FILLING_BYTES_PART
    }

    /// How many pending deliveries there are beyond those with which it does not fill.
    pub(super) fn beyond_filling(&self) -> usize {
        let pending = usize::try_from(self.pending.load(Relaxed)).unwrap_or(usize::MAX);
        pending.saturating_sub(self.ready_max / FILLING_PART)
    }

    /// The writer committed a fresh row. `held` is that of its event, made for the first queue that has room.
    pub(super) fn push_fresh(
        &self,
        event: &Arc<Event>,
        held: &mut Option<Arc<Held>>,
        seq: i64,
        shared: bool,
        lane: i64,
    ) {
        let mut state = self.state();
        let caught_up = state.fresh >= state.tail;
        state.tail = state.tail.max(seq);
        if seq > state.fresh && caught_up && self.has_room(&state) {
            state.fresh = seq;
            let claim = Claim { seq, shared, lane, ..Claim::default() };
            let held = Arc::clone(held.get_or_insert_with(|| Held::new(&self.memory, event)));
            Self::push(&mut state, Entry { event: Arc::clone(event), claim, returned: false, held });
        }
    }

    /// The writer committed a settlement; `deferred` says when the row is due now, if it is still there.
    pub(super) fn settled(&self, claim: Claim, deferred: Option<i64>) {
        let mut state = self.state();
        let key = (claim.due, claim.seq);
        state.known.remove(&key);
        if state.refilling {
            state.gone.insert(key);
        }
        if let Some(due) = deferred {
            state.expect((due, claim.seq));
        }
    }

    /// The writer made a row due that nobody in memory knows.
    pub(super) fn made_due(&self, key: Key) {
        self.state().expect(key);
    }

    /// The turn of a row has come that the writer has in memory: it is handed over where there is room, else read when it is due, and a
    /// fresh one with the others.
    pub(super) fn hand_over(&self, event: Arc<Event>, claim: Claim) {
        let mut state = self.state();
        if self.has_room(&state) {
            Self::push(&mut state, self.entry(event, claim, false));
        } else if claim.due != 0 {
            state.expect((claim.due, claim.seq));
        }
    }

    /// Hands over a row that the writer has in memory and that cannot be read while the database takes nothing, whether there is room for
    /// it or not.
    pub(super) fn hand_over_anyway(&self, event: Arc<Event>, claim: Claim) {
        let mut state = self.state();
        if !state.known.contains(&(claim.due, claim.seq)) {
            Self::push(&mut state, self.entry(event, claim, false));
        }
    }

    /// Keeps a row from being leased, so that it can be settled without a lease. False when it is leased already or was
    /// settled after the caller's snapshot.
    pub(super) fn claim(&self, key: Key) -> bool {
        let mut state = self.state();
        if state.gone.contains(&key) {
            return false;
        }
        if state.known.insert(key) {
            return true;
        }
        let at = state.ready.iter().position(|entry| entry.key() == key);
        let Some(entry) = at.and_then(|at| state.ready.remove(at)) else { return false };
        state.ready_bytes -= entry.held.bytes;
        true
    }

    /// For the writer: ends a refill that [`Queue::take`] asked for by the fresh rows behind a number that are in memory, in their order.
    /// False where there are rows to be read in the database first, which has all up to `stored`.
    pub(super) fn serve<R>(&self, stored: i64, now_ms: i64, young: impl FnOnce(i64) -> R) -> bool
    where
        R: Iterator<Item = (Arc<Event>, Claim)>,
    {
        let mut state = self.state();
        if state.fresh < stored || state.is_due(now_ms) {
            return false;
        }
        let mut drained = true;
        for (event, claim) in young(state.fresh) {
            if state.known.contains(&(claim.due, claim.seq)) {
                continue;
            }
            drained = self.has_room(&state);
            if !drained {
                break;
            }
            state.fresh = claim.seq;
            Self::push(&mut state, self.entry(event, claim, false));
        }
        if drained {
            state.fresh = state.fresh.max(state.tail);
        }
        state.refilling = false;
        state.gone = HashSet::new();
        drop(state);
        self.wake();
        true
    }

    /// Begins a refill from the database, which has all rows up to `stored`.
    pub(super) fn begin_refill(&self, stored: i64, now_ms: i64) -> Plan {
        let mut state = self.state();
        let deferred = state.is_due(now_ms);
        let (mut later, mut next_due) = (LATER_END, None);
        if deferred {
            std::mem::swap(&mut state.later, &mut later);
            std::mem::swap(&mut state.next_due, &mut next_due);
        }
        let behind = state.tail > state.fresh;
        Plan {
            fresh: behind.then_some(state.fresh),
            deferred,
            later,
            rows: self.ready_max.saturating_sub(state.ready.len()).max(1),
            tail: if deferred { state.tail } else { state.tail.min(stored) },
            next_due,
        }
    }

    /// What a refill may load, in bytes of payload.
    pub(super) fn refill_bytes_max(&self) -> usize {
        let shared = READY_BYTES_MAX.saturating_sub(self.memory.0.load(Relaxed));
        shared.min(READY_BYTES_WEBHOOK_MAX)
    }

    /// Ends a refill; `None` when it failed and has to be done again.
    pub(super) fn end_refill(&self, plan: &Plan, refill: Option<Refill>) {
        let mut state = self.state();
        state.refilling = false;
        let mut failed = refill.is_none();
        let refill = refill.unwrap_or_else(|| Refill { next_due: plan.next_due, ..Refill::default() });
        failed |= refill.partial;
        for (event, claim) in refill.rows {
            let key = (claim.due, claim.seq);
            if !state.known.contains(&key) && !state.gone.contains(&key) {
                failed = false;
                Self::push(&mut state, self.entry(event, claim, false));
            }
        }
        state.gone = HashSet::new();
        if let Some(fresh) = refill.fresh {
            state.fresh = state.fresh.max(fresh);
        }
        if refill.fresh_drained {
            state.fresh = state.fresh.max(plan.tail);
        }
        state.later = state.later.min(refill.later.unwrap_or(plan.later));
        state.next_due = match (state.next_due, refill.next_due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        drop(state);
        // After a failure the waiters look again on their own, so that a broken disk is not asked without pause.
        if !failed {
            self.wake();
        }
    }

    fn entry(&self, event: Arc<Event>, claim: Claim, returned: bool) -> Entry {
        let held = Held::new(&self.memory, &event);
        Entry { event, claim, returned, held }
    }

    fn push(state: &mut State, entry: Entry) {
        state.ready_bytes += entry.held.bytes;
        state.known.insert(entry.key());
        state.ready.push_back(entry);
    }

    fn has_room(&self, state: &State) -> bool {
        state.ready.len() < READY_ALWAYS.min(self.ready_max)
            || (state.ready.len() < self.ready_max
                && state.ready_bytes < READY_BYTES_WEBHOOK_MAX
                && self.memory.0.load(Relaxed) < READY_BYTES_MAX)
    }

    /// A panic elsewhere does not make the queue unusable: every change under this lock is complete in itself.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether deferred rows are to be read.
    fn is_due(&self, now_ms: i64) -> bool {
        self.next_due.is_some_and(|due| due <= now_ms)
    }

    /// Sees to it that a row is read when it is due.
    fn expect(&mut self, (due, seq): Key) {
        self.later = self.later.min((due, seq.saturating_sub(1)));
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }
}

impl Home for Queue {
    fn give_back(&self, event: Arc<Event>, claim: Claim) {
        let entry = self.entry(event, claim, true);
        let mut state = self.state();
        state.ready_bytes += entry.held.bytes;
        let before = state.ready.iter().take_while(|other| other.returned && other.key() < entry.key()).count();
        state.ready.insert(before, entry);
        drop(state);
        self.wake();
    }
}

impl Entry {
    fn key(&self) -> Key {
        (self.claim.due, self.claim.seq)
    }
}

fn weight(event: &Event) -> usize {
    event.memory_bytes() + EVENT_BYTES
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

    use super::super::contract::{event, number};
    use super::*;

    fn row(due: i64, seq: u64) -> (Arc<Event>, Claim) {
        (event(seq), Claim { due, seq: i64::try_from(seq).unwrap(), ..Claim::default() })
    }

    /// A queue whose refill is running, and the lease of its row 1.
    fn refilling() -> (Arc<Queue>, Plan, Lease) {
        let queue = Arc::new(Queue::new(1, "a".into(), Arc::default(), 8));
        queue.restore(2, 0, 2);
        assert!(queue.take(1, 0).refill);
        let plan = queue.begin_refill(2, 0);
        let refill = Refill { rows: vec![row(0, 1)], fresh: Some(1), ..Refill::default() };
        queue.end_refill(&plan, Some(refill));
        let mut taken = queue.take(1, 0);
        assert!(taken.refill, "row 2 was not read yet");
        let lease = taken.leases.pop().unwrap();
        let plan = queue.begin_refill(2, 0);
        (queue, plan, lease)
    }

    fn ready(queue: &Arc<Queue>) -> Vec<(u64, i64)> {
        queue.take(8, 0).leases.iter().map(|lease| (number(lease), lease.claim.due)).collect()
    }

    #[test]
    fn a_refill_does_not_bring_back_what_is_leased_or_was_settled_after_its_snapshot() {
        for settle in [false, true] {
            let (queue, plan, lease) = refilling();
            let held = if settle {
                queue.settled(lease.settled(), None);
                None
            } else {
                Some(lease)
            };
            let rows = vec![row(0, 1), row(0, 2)];
            queue.end_refill(&plan, Some(Refill { rows, fresh: Some(2), fresh_drained: true, ..Refill::default() }));
            assert_eq!(ready(&queue), [(2, 0)], "settled: {settle}");
            drop(held);
        }
    }

    #[test]
    fn what_is_deferred_while_a_refill_runs_is_read_by_the_next() {
        let (queue, plan, lease) = refilling();
        queue.settled(lease.settled(), Some(50));
        // The refill's snapshot is older; it read up to a row that is due later than the deferred one.
        let refill = Refill { later: Some((90, 7)), fresh_drained: true, next_due: Some(95), ..Refill::default() };
        queue.end_refill(&plan, Some(refill));
        assert!(!queue.take(1, 49).refill);
        assert!(queue.take(1, 50).refill, "the deferred one is due");
        assert!(queue.begin_refill(2, 50).later < (50, 1), "and not passed by");
    }

    #[test]
    fn a_refill_that_failed_is_done_again() {
        let (queue, plan, _lease) = refilling();
        queue.end_refill(&plan, None);
        assert!(queue.take(1, 0).refill);
        let again = queue.begin_refill(2, 0);
        assert_eq!((again.fresh, again.later, again.next_due), (plan.fresh, plan.later, plan.next_due));
    }

    #[test]
    fn what_is_in_memory_is_handed_over_when_the_database_is_read() {
        let (queue, plan, _lease) = refilling();
        queue.push_fresh(&event(3), &mut None, 3, false, 0);
        assert!(!queue.serve(2, 0, |_| std::iter::empty()), "2 is to be read first");
        queue.end_refill(&plan, Some(Refill { rows: vec![row(0, 2)], fresh_drained: true, ..Refill::default() }));
        let taken = queue.take(8, 0);
        assert_eq!((taken.leases.len(), taken.refill), (1, true), "3 came while 2 was read");
        let young = |after: i64| (after + 1..=3).map(|seq| row(0, seq.unsigned_abs()));
        assert!(queue.serve(2, 0, young));
        queue.push_fresh(&event(4), &mut None, 4, false, 0);
        assert_eq!(ready(&queue), [(3, 0), (4, 0)], "it has caught up");
        queue.settled(Claim { seq: 9, ..Claim::default() }, Some(50));
        assert!(queue.serve(4, 49, |_| std::iter::empty()) && !queue.serve(4, 50, |_| std::iter::empty()));
    }

    #[test]
    fn a_webhook_that_hangs_leaves_room_for_others() {
        let memory = Arc::default();
        let queue = |id| Arc::new(Queue::new(id, "a".into(), Arc::clone(&memory), usize::MAX));
        let queues: Vec<_> = (1..=6).map(queue).collect();
        let mut large = (*event(1)).clone();
        large.raw = vec![b' '; 10_000].into();
        let large = Arc::new(large);
        for queue in &queues {
            for seq in 1..1000 {
                queue.push_fresh(&large, &mut None, seq, false, 0);
            }
        }
        assert!(memory.0.load(Relaxed) <= READY_BYTES_MAX + READY_BYTES_WEBHOOK_MAX);
        let counts: Vec<_> = queues.iter().map(|queue| queue.take(1000, 0).leases.len()).collect();
        assert_eq!(counts.first(), Some(&200), "a share of the room");
        assert_eq!(counts.last(), Some(&READY_ALWAYS), "never nothing");
    }
    #[test]
    fn a_tree_that_is_kept_with_an_event_weighs_too() {
        let (text, tree) = (event(1), event(1));
        tree.keep_parsed().unwrap();
        let held = |event: &Arc<Event>| {
            let memory: Arc<Memory> = Arc::default();
            let queue = Arc::new(Queue::new(1, "a".into(), Arc::clone(&memory), 8));
            queue.push_fresh(event, &mut None, 1, false, 0);
            let held = memory.0.load(Relaxed);
            let taken = queue.take(1, 0);
            assert_eq!((taken.leases.len(), memory.0.load(Relaxed)), (1, 0));
            held
        };
        assert!(held(&tree) > held(&text) + text.raw.len());
    }
}
