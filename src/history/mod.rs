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
pub mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;

use crate::config::History as Limits;

pub use invocation::{Answered, Invocation, InvocationId, Then, Timings};
pub use recent::Taken;

use recent::{EVENTS_MAX, Recent};
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
    /// The number of the last invocation.
    last: Mutex<u64>,
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
            last: Mutex::new(last),
        }
    }

    /// When the process began to count.
    #[must_use]
    pub const fn begun(&self) -> Timestamp {
        self.begun
    }

    /// Gives an invocation its id, keeps it, and counts it unless it is a test. What is older gives way; what is too large by itself is
    /// kept without what is large in it.
    pub fn keep(&self, mut invocation: Invocation, limits: Limits) -> Arc<Invocation> {
        let ring = self.ring(&invocation.webhook.name, limits);
        let room = self.room(limits);
        invocation.shrink_to(room);
        let now = u64::try_from(invocation.at.as_microsecond()).unwrap_or(0);
        // Whoever has seen an id has seen all before it: none is given before the one before it is kept.
        let mut last = locked(&self.last);
        invocation.id = InvocationId(now.max(last.saturating_add(1)));
        *last = invocation.id.0;
        let kept = Arc::new(invocation);
        let given_up = locked(&ring).keep(Arc::clone(&kept), limits.per_webhook, room);
        drop(last);
        // Payloads and definitions are let go of where nobody waits for it.
        drop(given_up);
        kept
    }

    /// Remembers an event that was taken in, and who wants it.
    pub fn took(&self, taken: Taken, limits: Limits) {
        if limits.per_webhook > 0 {
            let taken = Arc::new(taken);
            let given_up = locked(&self.events).keep(taken, limits.bytes_max / EVENTS_SHARE);
            drop(given_up);
        }
    }

    /// Forgets what is beyond limits that have become narrower.
    pub fn trim(&self, limits: Limits) {
        let room = self.room(limits);
        for ring in self.rings_of(None) {
            let given_up = locked(&ring).trim(limits.per_webhook, room);
            drop(given_up);
        }
        let events_max = if limits.per_webhook > 0 { EVENTS_MAX } else { 0 };
        let given_up = locked(&self.events).trim(events_max, limits.bytes_max / EVENTS_SHARE);
        drop(given_up);
    }

    /// Whether another failed attempt of a webhook may be written to the spool now: so many a second, and no more.
    #[must_use]
    pub fn may_store(&self, webhook: &Arc<str>, at: Timestamp, limits: Limits) -> bool {
        limits.per_webhook > 0 && locked(&self.ring(webhook, limits)).may_store(at)
    }

    /// Forgets a webhook that is gone.
    pub fn remove(&self, webhook: &str) {
        let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
        let given_up = rings.remove(webhook);
        self.count.store(rings.len(), Ordering::Relaxed);
        drop(rings);
        drop(given_up);
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
            let kept = locked(&ring).latest();
            found.extend(kept.into_iter().filter(|one| fits(one)).take(limit));
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

    /// The latest one that has given way to later ones, of a webhook or of all.
    #[must_use]
    pub fn forgotten(&self, webhook: Option<&str>) -> Option<InvocationId> {
        self.rings_of(webhook).into_iter().filter_map(|ring| locked(&ring).forgotten).max()
    }

    /// The id of the last one, in this process or before it; `None` before the first. Whoever looks afterwards finds all up to it.
    #[must_use]
    pub fn last(&self) -> Option<InvocationId> {
        Some(InvocationId(*locked(&self.last))).filter(|id| id.0 > 0)
    }

    /// The last events that fit, the latest first, at most `limit`.
    #[must_use]
    pub fn events(&self, limit: usize, fits: impl Fn(&Taken) -> bool) -> Vec<Arc<Taken>> {
        let kept = locked(&self.events).latest();
        kept.into_iter().filter(|taken| fits(taken)).take(limit).collect()
    }

    /// The numbers of a webhook; `None` before its first attempt.
    #[must_use]
    pub fn figures(&self, webhook: &str, now: Timestamp) -> Option<Figures> {
        self.rings_of(Some(webhook)).first().map(|ring| locked(ring).stats.figures(now))
    }

    /// What one webhook's invocations may take, in bytes.
    fn room(&self, limits: Limits) -> usize {
        let rest = limits.bytes_max - limits.bytes_max / EVENTS_SHARE;
        rest / shares(self.count.load(Ordering::Relaxed))
    }

    fn ring(&self, webhook: &Arc<str>, limits: Limits) -> Arc<Mutex<Ring>> {
        if let Some(ring) = self.rings.read().unwrap_or_else(PoisonError::into_inner).get(webhook) {
            return Arc::clone(ring);
        }
        let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
        let ring = Arc::clone(rings.entry(Arc::clone(webhook)).or_default());
        let count = rings.len();
        let before = self.count.swap(count, Ordering::Relaxed);
        drop(rings);
        if shares(count) > shares(before) {
            // Those that were there had more room each.
            self.trim(limits);
        }
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

/// Into how many parts the memory is divided for so many webhooks: doubled at once, so that what is there is seldom gone through.
fn shares(count: usize) -> usize {
    count.max(RING_SHARE).next_power_of_two()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
