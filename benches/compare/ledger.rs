//! What became of every event of one run: when it was sent, acknowledged and received. Kept by number, without a lock.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static CLOCK: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds by a clock that all threads share, from 1.
pub(crate) fn now() -> u64 {
    u64::try_from(CLOCK.elapsed().as_micros()).unwrap_or(u64::MAX) + 1
}

/// One run; 0 stands for a time that has not come.
pub(crate) struct Ledger {
    pub(crate) run: u32,
    webhooks: usize,
    sent: Vec<AtomicU64>,
    acknowledged: Vec<AtomicU64>,
    /// By event, and by webhook within it.
    received: Vec<AtomicU64>,
    distinct: AtomicU64,
    duplicates: AtomicU64,
    last: AtomicU64,
}

impl Ledger {
    /// For so many events, each for so many webhooks.
    pub(crate) fn new(run: u32, events: usize, webhooks: usize) -> Self {
        let times = |count| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        let (distinct, duplicates, last) = Default::default();
        let (sent, acknowledged, received) = (times(events), times(events), times(events * webhooks));
        Self { run, webhooks, sent, acknowledged, received, distinct, duplicates, last }
    }

    pub(crate) fn events(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn sent(&self, event: usize, at: u64) {
        self.sent[event].store(at, Relaxed);
    }

    pub(crate) fn acknowledged(&self, event: usize, at: u64) {
        self.acknowledged[event].store(at, Relaxed);
    }

    /// Notes a delivery; those of other runs are none of ours.
    pub(crate) fn received(&self, (run, event): (u32, usize), webhook: usize) {
        let Some(place) = self.received.get(event * self.webhooks + webhook).filter(|_| run == self.run) else {
            return;
        };
        let at = now();
        if place.compare_exchange(0, at, Relaxed, Relaxed).is_ok() {
            self.last.fetch_max(at, Relaxed);
            self.distinct.fetch_add(1, Relaxed);
        } else {
            self.duplicates.fetch_add(1, Relaxed);
        }
    }

    /// Deliveries so far, repeats not counted.
    pub(crate) fn distinct(&self) -> u64 {
        self.distinct.load(Relaxed)
    }

    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Relaxed)
    }

    /// When the last new delivery came in.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// Deliveries that are owed: those of all events that were acknowledged.
    pub(crate) fn owed(&self) -> u64 {
        let acknowledged = self.acknowledged.iter().filter(|at| at.load(Relaxed) > 0).count();
        (acknowledged * self.webhooks) as u64
    }

    /// Deliveries that are owed and did not come in.
    pub(crate) fn lost(&self) -> u64 {
        let events = self.acknowledged.iter().zip(self.received.chunks(self.webhooks));
        let missing = events
            .filter(|(acknowledged, _)| acknowledged.load(Relaxed) > 0)
            .flat_map(|(_, deliveries)| deliveries)
            .filter(|at| at.load(Relaxed) == 0);
        missing.count() as u64
    }

    /// Microseconds from sending to the acknowledgement, in order of length.
    pub(crate) fn acknowledging(&self) -> Vec<u64> {
        spans(self.sent.iter().zip(&self.acknowledged))
    }

    /// Microseconds from sending to each first delivery, in order of length.
    pub(crate) fn end_to_end(&self) -> Vec<u64> {
        let events = self.sent.iter().zip(self.received.chunks(self.webhooks));
        spans(events.flat_map(|(sent, deliveries)| deliveries.iter().map(move |at| (sent, at))))
    }
}

fn spans<'t>(times: impl Iterator<Item = (&'t AtomicU64, &'t AtomicU64)>) -> Vec<u64> {
    let times = times.map(|(from, to)| (from.load(Relaxed), to.load(Relaxed)));
    let mut spans: Vec<u64> = times.filter(|(_, to)| *to > 0).map(|(from, to)| to.saturating_sub(from)).collect();
    spans.sort_unstable();
    spans
}
