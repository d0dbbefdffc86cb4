//! What holds each webhook's attempts back, beside the Snapshot: it outlives reloads. The [`Gate`] itself is pure; here it gets a
//! clock, chance, and somebody who is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::delivery::{Cause, LastOutcome};
use crate::webhook::gate::{Change, Gate, Poll, Terms, Ticket, Verdict};

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
    doors: Mutex<BTreeMap<Arc<str>, Arc<Door>>>,
}

/// The gate of one webhook, shared by its dispatch task, its attempts and those who look.
pub struct Door {
    webhook: Arc<str>,
    begun: Instant,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    gate: Gate,
    /// When the pause in force began, as people tell time.
    since: Timestamp,
    /// What the last attempt that the pause is about came to.
    last: Option<LastOutcome>,
}

/// What a webhook may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// So many attempts.
    Open(usize),
    /// Nothing before this time.
    Until(Instant),
    /// Nothing until the gate changes.
    Held,
}

/// The right to one attempt. Dropped without its end, by a panic for example, it is given back.
pub struct Turn {
    door: Arc<Door>,
    ticket: Option<Ticket>,
    probe: bool,
}

impl Gates {
    /// The gate of a webhook; an open one when there is none yet.
    pub fn door(&self, webhook: &Arc<str>, terms: Terms) -> Arc<Door> {
        let door = || {
            let state = State { gate: Gate::new(terms), since: Timestamp::UNIX_EPOCH, last: None };
            let (webhook, begun) = (Arc::clone(webhook), Instant::now());
            Arc::new(Door { webhook, begun, state: Mutex::new(state), changed: Notify::new() })
        };
        Arc::clone(self.doors().entry(Arc::clone(webhook)).or_insert_with(door))
    }

    /// Why a webhook waits; `None` when it does not.
    pub fn paused(&self, webhook: &str) -> Option<Paused> {
        let door = self.doors().get(webhook).cloned();
        door.and_then(|door| door.paused())
    }

    /// Ends a pause at once, as `outrigger resume NAME` asks. Whether there was one.
    pub fn resume(&self, webhook: &str) -> bool {
        let door = self.doors().get(webhook).cloned();
        door.is_some_and(|door| door.resume())
    }

    /// Forgets the gate of a webhook that is gone.
    pub fn remove(&self, webhook: &str) {
        self.doors().remove(webhook);
    }

    fn doors(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Door>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// What may begin now.
    pub fn poll(&self) -> Opening {
        match self.state().gate.poll(self.now()) {
            Poll::Open(count) => Opening::Open(count),
            Poll::Probe => Opening::Open(1),
            Poll::Until(at) => self.begun.checked_add(at).map_or(Opening::Held, Opening::Until),
            Poll::Held => Opening::Held,
        }
    }

    /// Begins an attempt, when one may begin now.
    pub fn begin(self: &Arc<Self>) -> Option<Turn> {
        let ticket = self.state().gate.begin(self.now())?;
        let probe = ticket.is_probe();
        Some(Turn { door: Arc::clone(self), ticket: Some(ticket), probe })
    }

    /// Goes by a changed definition from now on. Unless it means the same to the target, a pause ends.
    pub fn redefine(&self, terms: Terms, keep_pause: bool) {
        let change = self.state().gate.redefine(terms, keep_pause, self.now());
        self.tell(change, "edit", None);
    }

    /// Why the webhook is paused now.
    pub fn cause(&self) -> Option<Cause> {
        self.state().gate.pause().map(|pause| pause.cause)
    }

    /// Waits until the gate has changed since the last wait ended: one task alone may wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn resume(&self) -> bool {
        let change = self.state().gate.resume(self.now());
        self.tell(change, "resume", None);
        change.is_some()
    }

    fn ended(&self, ticket: Ticket, verdict: Verdict, last: Option<LastOutcome>) {
        let (probe, now) = (ticket.is_probe(), self.now());
        let mut state = self.state();
        let change = state.gate.ended(ticket, verdict, now, fastrand::f64());
        let detail = last.as_ref().map(|last| last.detail.clone());
        if let Some(Change::Paused { .. }) = change {
            // One that goes on for another cause is as old as it was.
            let since = state.gate.pause().map_or(now, |pause| pause.since);
            state.since = before(now.saturating_sub(since));
        }
        if last.is_some() && (probe || change.is_some()) {
            state.last = last;
        }
        drop(state);
        self.tell(change, "success", detail.as_deref());
        if probe {
            self.changed.notify_one();
        }
    }

    fn lost(&self, ticket: Ticket) {
        let probe = ticket.is_probe();
        self.state().gate.lost(ticket);
        if probe {
            self.changed.notify_one();
        }
    }

    /// Says what became of the gate: to the log, and to the task that waits for it.
    fn tell(&self, change: Option<Change>, by: &str, detail: Option<&str>) {
        match change {
            None => return,
            Some(Change::Paused { cause, next_probe }) => {
                let next_probe_in_ms = next_probe.map(|at| milliseconds(at.saturating_sub(self.now())));
                tracing::warn!(webhook = %self.webhook, %cause, next_probe_in_ms, detail, "webhook.paused");
            }
            Some(Change::Resumed { cause, lasted }) => {
                tracing::info!(webhook = %self.webhook, %cause, paused_ms = milliseconds(lasted), by, "webhook.resumed");
            }
        }
        self.changed.notify_one();
    }

    fn paused(&self) -> Option<Paused> {
        let state = self.state();
        let pause = state.gate.pause()?;
        let now = self.now();
        let next_probe = pause.next_probe.map(|at| ahead(at.saturating_sub(now)));
        Some(Paused { cause: pause.cause.as_str(), since: state.since, next_probe, last: state.last.clone() })
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whether the attempt is a probe.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.probe
    }

    /// The attempt ended: what it says about the target, and how it failed if it did.
    pub fn end(mut self, verdict: Verdict, last: Option<LastOutcome>) {
        if let Some(ticket) = self.ticket.take() {
            self.door.ended(ticket, verdict, last);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.door.lost(ticket);
        }
    }
}

/// So long ago.
fn before(time: Duration) -> Timestamp {
    let now = Timestamp::now();
    SignedDuration::try_from(time).ok().and_then(|time| now.checked_sub(time).ok()).unwrap_or(now)
}

/// So far ahead.
fn ahead(time: Duration) -> Timestamp {
    let now = Timestamp::now();
    SignedDuration::try_from(time).ok().and_then(|time| now.checked_add(time).ok()).unwrap_or(now)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::delivery::Reason;
    use crate::webhook::gate::{Breaker, Says};

    use super::*;

    #[tokio::test]
    async fn a_pause_is_told_with_what_was_seen_and_ended_by_hand() {
        let gates = Gates::default();
        let breaker = Breaker { failures: 3, probe: Duration::from_mins(1) };
        let terms = Terms { breaker, probe_max: Duration::from_mins(10), rate: None };
        let name: Arc<str> = "hook".into();
        let door = gates.door(&name, terms);
        assert_eq!((gates.paused("hook"), gates.resume("hook"), gates.resume("nobody")), (None, false, false));
        let last = LastOutcome { reason: Reason::AuthError, status: Some(401), detail: "no".to_owned() };
        let turn = door.begin().expect("it is open");
        turn.end(Verdict { says: Says::Faulty(Cause::AuthError), asked: None }, Some(last.clone()));
        let changed = tokio::time::timeout(Duration::from_secs(20), door.changed());
        assert!(changed.await.is_ok(), "a change before the wait is not lost");
        let paused = gates.paused("hook").expect("it is paused");
        assert_eq!((paused.cause, paused.last), ("auth_error", Some(last)));
        let wait = paused.next_probe.expect("it is probed").duration_since(paused.since);
        assert!((55..70).contains(&wait.as_secs()), "{wait:?}");
        assert!(door.begin().is_none() && matches!(door.poll(), Opening::Until(_)));
        assert!(gates.resume("hook"));
        assert_eq!(gates.paused("hook"), None);
        gates.remove("hook");
        assert!(!Arc::ptr_eq(&door, &gates.door(&name, terms)));
    }

    #[tokio::test]
    async fn a_probe_that_is_dropped_makes_room_and_wakes_who_waits() {
        let breaker = Breaker { failures: 1, probe: Duration::ZERO };
        let terms = Terms { breaker, probe_max: Duration::ZERO, rate: None };
        let door = Gates::default().door(&"hook".into(), terms);
        door.begin().expect("it is open").end(Verdict { says: Says::Fails, asked: None }, None);
        let probe = door.begin().expect("a probe is due");
        assert!(probe.is_probe() && door.poll() == Opening::Held);
        let holder = tokio::spawn(async move {
            let _probe = probe;
            panic!("a panic in an attempt is part of this test");
        });
        assert!(holder.await.is_err());
        let changed = tokio::time::timeout(Duration::from_secs(20), async {
            // The first is that of the pause's beginning.
            while door.poll() == Opening::Held {
                door.changed().await;
            }
        });
        assert!(changed.await.is_ok());
        assert_eq!(door.poll(), Opening::Open(1));
    }
}
