//! The last events that were taken in, and who wanted them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Event;

/// How many events are remembered.
const EVENTS_MAX: usize = 1_000;

/// An event that was taken in.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The event, without a tree.
    pub event: Event,
    /// The webhooks that a delivery is owed by.
    pub wanted: Arc<[Arc<str>]>,
}

impl Taken {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.event.raw.len() + self.wanted.len() * size_of::<Arc<str>>()
    }
}

/// Events, the oldest first.
#[derive(Default)]
pub(super) struct Recent {
    kept: VecDeque<Taken>,
    bytes: usize,
}

impl Recent {
    /// Remembers one more; the oldest give way. One that is too large by itself is not remembered.
    pub(super) fn keep(&mut self, taken: Taken, bytes_max: usize) {
        self.bytes += taken.bytes();
        self.kept.push_back(taken);
        while self.kept.len() > EVENTS_MAX || self.bytes > bytes_max {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
    }

    /// All of them, the latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Taken> {
        self.kept.iter().rev()
    }
}
