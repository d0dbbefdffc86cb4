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
    /// The latest that has given way.
    pub(super) forgotten: Option<InvocationId>,
    /// The second that `stored` counts.
    second: i64,
    stored: u32,
    pub(super) stats: Stats,
}

impl Ring {
    /// Keeps one more within limits of count and bytes; those that gave way are for whoever calls to let go of.
    pub(super) fn keep(
        &mut self,
        invocation: Arc<Invocation>,
        count_max: usize,
        bytes_max: usize,
    ) -> Vec<Arc<Invocation>> {
        if !invocation.test {
            let failure = match &invocation.outcome {
                Outcome::Accepted => None,
                Outcome::Failed(failure) => Some((invocation.id, failure.reason)),
            };
            self.stats.count(invocation.at, invocation.timings.total, failure);
        }
        self.bytes += invocation.bytes();
        // Nothing else holds a definition that is not in force any more.
        if let Some(before) = self.kept.back().filter(|before| !Arc::ptr_eq(&before.webhook, &invocation.webhook)) {
            self.bytes += before.definition_bytes();
        }
        self.kept.push_back(invocation);
        self.trim(count_max, bytes_max)
    }

    /// Gives up the oldest until the rest is within its limits. The latest stays.
    pub(super) fn trim(&mut self, count_max: usize, bytes_max: usize) -> Vec<Arc<Invocation>> {
        let mut given_up = Vec::new();
        while self.kept.len() > count_max || (self.bytes > bytes_max && self.kept.len() > 1) {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            if self.kept.front().is_some_and(|next| !Arc::ptr_eq(&next.webhook, &oldest.webhook)) {
                self.bytes = self.bytes.saturating_sub(oldest.definition_bytes());
            }
            self.forgotten = self.forgotten.max(Some(oldest.id));
            given_up.push(oldest);
        }
        given_up
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
    pub(super) fn latest(&self) -> Vec<Arc<Invocation>> {
        self.kept.iter().rev().cloned().collect()
    }

    /// One of them.
    pub(super) fn find(&self, id: InvocationId) -> Option<Arc<Invocation>> {
        self.kept.iter().rev().find(|one| one.id == id).cloned()
    }
}
