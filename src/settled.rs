//! Tells those who wait for it what became of deliveries (`?wait=` at ingest). Nobody waiting costs one atomic load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::delivery::Reason;
use crate::event::EventId;

/// Events that may be waited for at the same time.
pub const WAITED_EVENTS_MAX: usize = 10_000;
/// Requests that may wait at the same time: half of the connections that a listener serves, so that those who wait never keep
/// those out who do not.
pub const WAITING_MAX: usize = 256;

/// What became of one delivery.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its event.
    pub event: EventId,
    /// Its webhook.
    pub webhook: Arc<str>,
    /// Why it is a dead letter; `None` when it was delivered.
    pub dead: Option<(Reason, String)>,
    /// Attempts made in all.
    pub attempts: u32,
    /// The last response's status, when there was one.
    pub status: Option<u16>,
    /// Milliseconds from the event's arrival to the end.
    pub milliseconds: u64,
    /// The validators' verdicts on the last response, by name.
    pub validators: Vec<(Arc<str>, bool)>,
}

/// Who waits for which event.
#[derive(Default)]
pub struct Settled {
    count: AtomicUsize,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    senders: HashMap<EventId, mpsc::UnboundedSender<Report>>,
    waiting: usize,
    closed: bool,
}

/// A wait for some events' deliveries. Dropping it ends the wait.
pub struct Waiting<'s> {
    settled: &'s Settled,
    events: Vec<EventId>,
    reports: mpsc::UnboundedReceiver<Report>,
}

impl Settled {
    /// Begins to wait; `None` when too many wait already. The channel holds a report for each end of a delivery, of which there are
    /// several where it is replayed meanwhile.
    pub fn wait_for(&self, events: Vec<EventId>) -> Option<Waiting<'_>> {
        let (sender, reports) = mpsc::unbounded_channel();
        let mut waits = self.waits();
        if waits.waiting == WAITING_MAX || waits.senders.len() + events.len() > WAITED_EVENTS_MAX {
            return None;
        }
        waits.waiting += 1;
        if !waits.closed {
            waits.senders.extend(events.iter().map(|event| (*event, sender.clone())));
            self.count.store(waits.senders.len(), Ordering::Release);
        }
        Some(Waiting { settled: self, events, reports })
    }

    /// Whether anybody waits for anything, so that a report need not be made for nobody.
    pub fn is_awaited(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Passes a report to the one who waits for its event.
    pub fn report(&self, report: Report) {
        if let Some(sender) = self.waits().senders.get(&report.event) {
            // Who has gone needs no report.
            let _ = sender.send(report);
        }
    }

    /// Ends every wait, now and from now on: nothing is attempted any more.
    pub fn close(&self) {
        let mut waits = self.waits();
        waits.closed = true;
        waits.senders.clear();
        self.count.store(0, Ordering::Release);
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// The next report; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Report> {
        self.reports.recv().await
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waits = self.settled.waits();
        waits.waiting -= 1;
        for event in &self.events {
            waits.senders.remove(event);
        }
        self.settled.count.store(waits.senders.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> EventId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&(number as u64).to_be_bytes());
        EventId::from_bytes(bytes)
    }

    #[test]
    fn so_many_wait_and_no_more_until_one_has_gone() {
        let settled = Settled::default();
        let mut waits: Vec<_> =
            (0..WAITING_MAX).map(|number| settled.wait_for(vec![event(number)]).expect("room")).collect();
        assert!(settled.wait_for(Vec::new()).is_none());
        waits.pop();
        assert!(settled.wait_for((0..WAITED_EVENTS_MAX).map(event).collect()).is_none(), "too many events");
        assert!(settled.wait_for(vec![event(WAITING_MAX)]).is_some());
        drop(waits);
        assert!(!settled.is_awaited());
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_closed() {
        let settled = Settled::default();
        let mut early = settled.wait_for(vec![event(1)]).expect("room");
        settled.close();
        let mut late = settled.wait_for(vec![event(2)]).expect("room");
        assert!(early.next().await.is_none() && late.next().await.is_none());
    }
}
