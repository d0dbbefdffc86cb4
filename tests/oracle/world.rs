//! What the threads of a run share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::history::{History, Moment, Reply};
use super::webhooks::COUNT;

/// A run, seen by all who take part in it.
pub(super) struct World {
    pub(super) seed: u64,
    begun: Instant,
    began: Timestamp,
    history: Mutex<History>,
    faults: Mutex<[Option<Fault>; COUNT]>,
    token: Mutex<String>,
    /// Where the sidecar takes events in.
    pub(super) socket: PathBuf,
    /// There is somebody to post to.
    pub(super) up: AtomicBool,
    /// The producers shall end.
    stop: AtomicBool,
    /// The receivers accept everything.
    calm: AtomicBool,
}

/// What a receiver does to one webhook for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) reply: Reply,
    /// To how many requests of a hundred.
    pub(super) percent: u8,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(seed: u64, socket: PathBuf, token: &str) -> Self {
        Self {
            seed,
            begun: Instant::now(),
            began: Timestamp::now(),
            history: Mutex::new(History { seed, ..History::default() }),
            faults: Mutex::new([None; COUNT]),
            token: Mutex::new(token.to_owned()),
            socket,
            up: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            calm: AtomicBool::new(false),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// The moment of an instant; those before the run are its beginning.
    pub(super) fn moment(&self, at: Instant) -> Moment {
        at.saturating_duration_since(self.begun)
    }

    /// The moment of a time as people tell it.
    pub(super) fn moment_of(&self, time: Timestamp) -> Moment {
        Moment::try_from(time.duration_since(self.began)).unwrap_or_default()
    }

    /// Writes down for people what was done.
    pub(super) fn note(&self, act: impl Into<String>) {
        let now = self.now();
        self.history().acts.push((now, act.into()));
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Acquire)
    }

    /// From now on the receivers accept everything.
    pub(super) fn calm(&self) {
        self.calm.store(true, Ordering::Release);
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    pub(super) fn fault(&self, webhook: usize) -> Option<Fault> {
        lock(&self.faults)[webhook]
    }

    pub(super) fn set_fault(&self, webhook: usize, fault: Option<Fault>) {
        lock(&self.faults)[webhook] = fault;
    }

    /// The bearer token that is let in.
    pub(super) fn token(&self) -> String {
        lock(&self.token).clone()
    }

    pub(super) fn set_token(&self, token: &str) {
        token.clone_into(&mut lock(&self.token));
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }

    pub(super) fn stops(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Lets a time pass that was drawn by lot.
pub(super) fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
