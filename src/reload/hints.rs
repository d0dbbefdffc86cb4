//! Hints: what asks for a look, before anything is looked at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::reload::told::{LastLook, Told};

/// A look begins when nothing changed for this long,
const QUIET: Duration = Duration::from_millis(50);
/// and at the latest this long after the first change.
const PATIENCE: Duration = Duration::from_millis(300);
/// Requests that wait for one look at the same time; more are refused.
pub const WAITING_MAX: usize = 64;

/// Asks for looks at the files. Nothing that it is told says what is there: the content decides.
#[derive(Clone)]
pub struct Hints {
    change: mpsc::Sender<()>,
    request: mpsc::Sender<oneshot::Sender<Arc<Told>>>,
    last: Arc<Mutex<Option<Arc<LastLook>>>>,
}

/// Where the hints arrive.
pub struct Hinted {
    last: Arc<Mutex<Option<Arc<LastLook>>>>,
    changes: mpsc::Receiver<()>,
    requests: mpsc::Receiver<oneshot::Sender<Arc<Told>>>,
}

/// Why a look cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// [`WAITING_MAX`] requests wait already.
    Crowded,
    /// The sidecar closes.
    Closing,
}

impl Hints {
    /// Both ends. Of changes one at most is kept: more than one means the same as one.
    #[must_use]
    pub fn new() -> (Self, Hinted) {
        let (change, changes) = mpsc::channel(1);
        let (request, requests) = mpsc::channel(WAITING_MAX);
        let last = Arc::new(Mutex::new(None));
        (Self { change, request, last: Arc::clone(&last) }, Hinted { last, changes, requests })
    }

    /// What the last look came to that read the files; `None` before the first.
    #[must_use]
    pub fn last_look(&self) -> Option<Arc<LastLook>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something may have changed: look when it is quiet again.
    pub fn changed(&self) {
        // A full channel holds a hint already.
        let _ = self.change.try_send(());
    }

    /// Look at once, and say what that came to. Who asks while a look runs shares the next one with all others who do. Nobody has
    /// to wait for the answer; an answer that never comes means that the sidecar closes.
    pub fn request(&self) -> Result<oneshot::Receiver<Arc<Told>>, Refusal> {
        let (answer, answered) = oneshot::channel();
        match self.request.try_send(answer) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(Refusal::Crowded),
            Err(TrySendError::Closed(_)) => Err(Refusal::Closing),
        }
    }
}

impl Hinted {
    /// Keeps what a look came to, for who asks later.
    pub(super) fn keep(&self, look: LastLook) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(look));
    }

    /// Waits for a reason to look: `true` is a request, whose waiting one is added, `false` a change that has come to rest.
    /// `None` when nobody can give a hint any more.
    pub(super) async fn next(&mut self, waiting: &mut Vec<oneshot::Sender<Arc<Told>>>) -> Option<bool> {
        tokio::select! {
            request = self.requests.recv() => {
                waiting.push(request?);
                Some(true)
            }
            change = self.changes.recv() => {
                change?;
                Some(self.rest(waiting).await)
            }
        }
    }

    /// Waits until changes have stopped coming, or long enough, or somebody asks: `true` for the last.
    async fn rest(&mut self, waiting: &mut Vec<oneshot::Sender<Arc<Told>>>) -> bool {
        let latest = Instant::now() + PATIENCE;
        loop {
            let quiet = latest.min(Instant::now() + QUIET);
            tokio::select! {
                Some(request) = self.requests.recv() => {
                    waiting.push(request);
                    return true;
                }
                change = timeout_at(quiet, self.changes.recv()) => {
                    if change.is_err() || Instant::now() >= latest {
                        return false;
                    }
                }
            }
        }
    }

    /// Takes all that is there now: whatever changed before a look is seen by it, and who asked before it shares it. `true` when
    /// somebody waits.
    pub(super) fn drain(&mut self, waiting: &mut Vec<oneshot::Sender<Arc<Told>>>) -> bool {
        let _ = self.changes.try_recv();
        while waiting.len() < WAITING_MAX
            && let Ok(request) = self.requests.try_recv()
        {
            waiting.push(request);
        }
        !waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than a hint takes on any machine, and less than never.
    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn changes_without_an_end_are_looked_at_all_the_same_and_a_request_waits_for_none() {
        let (hints, mut hinted) = Hints::new();
        let restless = hints.clone();
        let restless = tokio::spawn(async move {
            loop {
                restless.changed();
                tokio::time::sleep(QUIET / 5).await;
            }
        });
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let next = tokio::time::timeout(LIMIT, hinted.next(&mut waiting)).await;
            assert_eq!(next, Ok(Some(false)), "it never rests, and is looked at");
        }
        let answered = hints.request();
        let next = tokio::time::timeout(LIMIT, hinted.next(&mut waiting)).await;
        assert!(next == Ok(Some(true)) && waiting.len() == 1 && answered.is_ok());
        restless.abort();
    }

    #[tokio::test]
    async fn so_many_may_wait_and_nobody_once_it_closes() {
        let (hints, mut hinted) = Hints::new();
        let asked: Vec<_> = (0..WAITING_MAX).map(|_| hints.request()).collect();
        assert!(asked.iter().all(Result::is_ok));
        assert_eq!(hints.request().err(), Some(Refusal::Crowded));
        let mut waiting = Vec::new();
        assert!(hinted.drain(&mut waiting));
        assert_eq!(waiting.len(), WAITING_MAX, "all of them share one look");
        assert!(hints.request().is_ok());
        drop(hinted);
        assert_eq!(hints.request().err(), Some(Refusal::Closing));
    }
}
