//! The last events that were taken in, and who wanted them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Event;

/// How many events are remembered.
pub(super) const EVENTS_MAX: usize = 1_000;

/// An event that was taken in.
#[derive(Debug)]
pub struct Taken {
    /// The event, without a tree.
    pub event: Event,
    /// The webhooks that a delivery is owed by.
    pub wanted: Arc<[Arc<str>]>,
}

impl Taken {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.event.memory_bytes() + self.wanted.len() * size_of::<Arc<str>>()
    }
}

/// Events, the oldest first.
#[derive(Default)]
pub(super) struct Recent {
    kept: VecDeque<Arc<Taken>>,
    bytes: usize,
}

impl Recent {
    /// Remembers one more; the oldest give way, and are for whoever calls to let go of. One that is too large by itself is not remembered.
    pub(super) fn keep(&mut self, taken: Arc<Taken>, bytes_max: usize) -> Vec<Arc<Taken>> {
        if taken.bytes() > bytes_max {
            return vec![taken];
        }
        self.bytes += taken.bytes();
        self.kept.push_back(taken);
        self.trim(EVENTS_MAX, bytes_max)
    }

    /// Gives up the oldest until the rest is within limits of count and bytes.
    pub(super) fn trim(&mut self, count_max: usize, bytes_max: usize) -> Vec<Arc<Taken>> {
        let mut given_up = Vec::new();
        while self.kept.len() > count_max || self.bytes > bytes_max {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            given_up.push(oldest);
        }
        given_up
    }

    /// All of them, the latest first.
    pub(super) fn latest(&self) -> Vec<Arc<Taken>> {
        self.kept.iter().rev().cloned().collect()
    }
}
