//! The consent of a target that is asked for it: once for each definition, by one for all that wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::delivery::Failure;

/// What is known of a target's consent.
pub(super) struct Consent {
    /// Whose: another definition of the webhook asks again.
    pub(super) definition: u64,
    given: AtomicBool,
    /// How many requests for it have ended.
    ended: AtomicU64,
    /// Held by the one who asks; what the last request came to.
    asking: Mutex<Result<(), Failure>>,
}

impl Consent {
    pub(super) fn new(definition: u64) -> Self {
        Self { definition, given: AtomicBool::new(false), ended: AtomicU64::new(0), asking: Mutex::new(Ok(())) }
    }

    /// Sees to it that it was given, by `ask` where it was not. What the request comes to, a failure too, is for all who waited for it.
    pub(super) async fn get(&self, ask: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        if self.given.load(Ordering::Acquire) {
            return Ok(());
        }
        let seen = self.ended.load(Ordering::Acquire);
        let mut last = self.asking.lock().await;
        // What ended while this one waited is as fresh as what it would hear itself.
        if self.ended.load(Ordering::Acquire) == seen {
            last.clone_from(&ask.await);
            self.given.store(last.is_ok(), Ordering::Release);
            self.ended.fetch_add(1, Ordering::Release);
        }
        last.clone()
    }
}
