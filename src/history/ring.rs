//! The last invocations of one webhook.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use crate::delivery::Outcome;
use crate::history::stats::Stats;
use crate::history::{Invocation, InvocationId};

/// Failed attempts of one webhook that are written to the spool in a second. A target that refuses everything would else cost a
/// write more for each of thousands, of which the last hundred are kept.
const STORED_PER_SECOND_MAX: u32 = 20;

/// The invocations of one webhook, the oldest first.
#[derive(Default)]
pub(super) struct Ring {
    kept: VecDeque<Arc<Invocation>>,
    bytes: usize,
    /// The second that `stored` counts.
    second: i64,
    stored: u32,
    pub(super) stats: Stats,
}

impl Ring {
    /// Keeps one more within limits of count and bytes; one that is too large by itself is kept without what is large in it.
    pub(super) fn keep(&mut self, mut invocation: Invocation, count_max: usize, bytes_max: usize) -> Arc<Invocation> {
        if !invocation.test {
            let failure = match &invocation.outcome {
                Outcome::Accepted => None,
                Outcome::Failed(failure) => Some((invocation.id, failure.reason)),
            };
            self.stats.count(invocation.at, invocation.timings.total, failure);
        }
        if invocation.bytes() > bytes_max {
            invocation.shrink();
        }
        let kept = Arc::new(invocation);
        self.bytes += kept.bytes();
        self.kept.push_back(Arc::clone(&kept));
        self.trim(count_max, bytes_max);
        kept
    }

    /// Forgets the oldest until the rest is within its limits. The latest stays.
    pub(super) fn trim(&mut self, count_max: usize, bytes_max: usize) {
        while self.kept.len() > count_max || (self.bytes > bytes_max && self.kept.len() > 1) {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
    }

    /// Whether a failed attempt may be written to the spool at a time, and counts it.
    pub(super) fn may_store(&mut self, at: Timestamp) -> bool {
        if self.second != at.as_second() {
            (self.second, self.stored) = (at.as_second(), 0);
        }
        self.stored = self.stored.saturating_add(1);
        self.stored <= STORED_PER_SECOND_MAX
    }

    /// All of them, the latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Arc<Invocation>> {
        self.kept.iter().rev()
    }

    /// One of them. Attempts that ended at the same time may stand in another order than their ids.
    pub(super) fn find(&self, id: InvocationId) -> Option<Arc<Invocation>> {
        self.kept.iter().rev().find(|one| one.id == id).cloned()
    }
}
