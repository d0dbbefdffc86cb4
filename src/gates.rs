//! What holds each webhook's attempts back, beside the Snapshot: it outlives reloads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::delivery::LastOutcome;

/// A webhook that waits, as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// `breaker`, `rate_limited`, or the reason of a fault of the target.
    pub cause: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// When the next probe goes out; `None` when only a person or an edit ends the pause.
    pub next_probe: Option<Timestamp>,
    /// What was seen last.
    pub last: Option<LastOutcome>,
}

/// The gates of all webhooks.
#[derive(Default)]
pub struct Gates {
    paused: Mutex<BTreeMap<Arc<str>, Paused>>,
}

impl Gates {
    /// Why a webhook waits; `None` when it does not.
    pub fn paused(&self, webhook: &str) -> Option<Paused> {
        self.gates().get(webhook).cloned()
    }

    /// Ends a pause at once, as `outrigger resume NAME` asks. Whether there was one.
    pub fn resume(&self, webhook: &str) -> bool {
        self.gates().remove(webhook).is_some()
    }

    fn gates(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Paused>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
