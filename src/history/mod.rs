//! History: every attempt as people look at it afterwards, the last ones of each webhook, and the last events that came in.
//!
//! All of it is in memory, within limits of count and bytes, and costs an attempt little: what is written for people is made when
//! they look. What has to outlive a restart, failed attempts, is in the spool.

mod invocation;
mod recent;
mod ring;
pub mod stats;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;

use crate::config::History as Limits;

pub use invocation::{Answered, Invocation, InvocationId, Then, Timings};
pub use recent::Taken;

use recent::Recent;
use ring::Ring;
use stats::Figures;

/// The part of `history.max_bytes` that the last events may take, beside what invocations hold of them.
const EVENTS_SHARE: usize = 4;
/// One webhook's invocations may take this part of the rest, however few webhooks there are.
const RING_SHARE: usize = 4;

/// The history of one process.
pub struct History {
    begun: Timestamp,
    rings: RwLock<BTreeMap<Arc<str>, Arc<Mutex<Ring>>>>,
    count: AtomicUsize,
    events: Mutex<Recent>,
    last: AtomicU64,
    /// Counts whatever is kept, so that who looks again knows whether something is new.
    changes: AtomicU64,
}

impl History {
    /// An empty one. Ids go on behind `last`, the number of an earlier process.
    #[must_use]
    pub fn new(begun: Timestamp, last: u64) -> Self {
        Self {
            begun,
            rings: RwLock::default(),
            count: AtomicUsize::new(0),
            events: Mutex::default(),
            last: AtomicU64::new(last),
            changes: AtomicU64::new(0),
        }
    }

    /// When the process began to count.
    #[must_use]
    pub const fn begun(&self) -> Timestamp {
        self.begun
    }

    /// How often something was kept so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The id of an invocation that ended at a time.
    #[must_use]
    pub fn next_id(&self, at: Timestamp) -> InvocationId {
        let now = u64::try_from(at.as_microsecond()).unwrap_or(0);
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_else(|last| last);
        InvocationId(now.max(last.saturating_add(1)))
    }

    /// Keeps an invocation, and counts it unless it is a test. What is older gives way.
    pub fn keep(&self, invocation: Invocation, limits: Limits) {
        let room = self.room(limits);
        let ring = self.ring(&invocation.webhook.name, limits);
        locked(&ring).keep(Arc::new(invocation), limits.per_webhook, room);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Remembers an event that was taken in, and who wants it.
    pub fn took(&self, taken: Taken, limits: Limits) {
        if limits.per_webhook > 0 {
            locked(&self.events).keep(taken, limits.bytes_max / EVENTS_SHARE);
        }
    }

    /// Whether another failed attempt of a webhook may be written to the spool now: so many a second, and no more.
    #[must_use]
    pub fn may_store(&self, webhook: &Arc<str>, at: Timestamp, limits: Limits) -> bool {
        limits.per_webhook > 0 && locked(&self.ring(webhook, limits)).may_store(at)
    }

    /// Forgets a webhook that is gone.
    pub fn remove(&self, webhook: &str) {
        let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
        rings.remove(webhook);
        self.count.store(rings.len(), Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Invocations that fit, the latest first, at most `limit`.
    #[must_use]
    pub fn latest(
        &self,
        webhook: Option<&str>,
        limit: usize,
        fits: impl Fn(&Invocation) -> bool,
    ) -> Vec<Arc<Invocation>> {
        let mut found: Vec<Arc<Invocation>> = Vec::new();
        for ring in self.rings_of(webhook) {
            found.extend(locked(&ring).latest().filter(|one| fits(one)).take(limit).cloned());
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.id));
        found.truncate(limit);
        found
    }

    /// One invocation.
    #[must_use]
    pub fn find(&self, id: InvocationId) -> Option<Arc<Invocation>> {
        self.rings_of(None).into_iter().find_map(|ring| locked(&ring).find(id))
    }

    /// The latest of all.
    #[must_use]
    pub fn newest(&self) -> Option<InvocationId> {
        self.latest(None, 1, |_| true).first().map(|one| one.id)
    }

    /// The last events that fit, the latest first, at most `limit`.
    #[must_use]
    pub fn events(&self, limit: usize, fits: impl Fn(&Taken) -> bool) -> Vec<Taken> {
        locked(&self.events).latest().filter(|taken| fits(taken)).take(limit).cloned().collect()
    }

    /// The numbers of a webhook; `None` before its first attempt.
    #[must_use]
    pub fn figures(&self, webhook: &str, now: Timestamp) -> Option<Figures> {
        self.rings_of(Some(webhook)).first().map(|ring| locked(ring).stats.figures(now))
    }

    /// What one webhook's invocations may take, in bytes.
    fn room(&self, limits: Limits) -> usize {
        let rest = limits.bytes_max - limits.bytes_max / EVENTS_SHARE;
        rest / self.count.load(Ordering::Relaxed).max(RING_SHARE)
    }

    fn ring(&self, webhook: &Arc<str>, limits: Limits) -> Arc<Mutex<Ring>> {
        if let Some(ring) = self.rings.read().unwrap_or_else(PoisonError::into_inner).get(webhook) {
            return Arc::clone(ring);
        }
        let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
        let ring = Arc::clone(rings.entry(Arc::clone(webhook)).or_default());
        self.count.store(rings.len(), Ordering::Relaxed);
        // Those that were there had more room each.
        let room = self.room(limits);
        rings.values().for_each(|ring| locked(ring).trim(limits.per_webhook, room));
        ring
    }

    fn rings_of(&self, webhook: Option<&str>) -> Vec<Arc<Mutex<Ring>>> {
        let rings = self.rings.read().unwrap_or_else(PoisonError::into_inner);
        match webhook {
            Some(webhook) => rings.get(webhook).cloned().into_iter().collect(),
            None => rings.values().cloned().collect(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
