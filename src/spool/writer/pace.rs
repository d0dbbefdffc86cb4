//! The pace of the groups: what the next one waits for.
//!
//! Whoever was answered comes again at once when producers are busy, and one group of all costs half of two that take turns. So a group
//! waits shortly for as many appends as the last one had.
//!
//! Producers that outrun a target fill its queue in memory, and then every event is read from the disk and parsed once more. So while a queue
//! fills, appends wait until more was settled than they appended last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::inbox::Gather;
use super::super::queue::Queue;
use super::{Touched, Touches};

/// How long a group waits for as many appends as the last one had.
const REGATHER: Duration = Duration::from_micros(300);
/// How long a group of appends waits at most while a queue fills.
const PACED_MAX: Duration = Duration::from_millis(100);
/// The part of what was appended that is settled beyond it, so that a queue that fills gets shorter.
const SETTLED_MORE: usize = 4;
/// So many settlements are waited for at most.
const SETTLED_MAX: usize = 2048;
/// Targets that settle less within [`PACED_MAX`] are slow, and pace nobody for this long.
const UNPACED: Duration = Duration::from_secs(2);

/// What happened since the last group, and what the next one waits for.
pub(super) struct Pace {
    gather: Option<Gather>,
    /// Nobody is paced before this.
    paced_from: Instant,
    appends: usize,
    webhooks: HashMap<i64, Moved>,
}

/// What happened to one webhook.
struct Moved {
    queue: Arc<Queue>,
    appended: usize,
    settled: usize,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { gather: None, paced_from: now, appends: 0, webhooks: HashMap::new() }
    }

    pub(super) fn gather(&self) -> Option<Gather> {
        self.gather
    }

    /// A transaction or a group of the journal has so many appends.
    pub(super) fn note(&mut self, touched: &Touches, appends: usize) {
        self.appends += appends;
        for (id, Touched { queue, appended, settled, .. }) in touched {
            let empty = || Moved { queue: Arc::clone(queue), appended: 0, settled: 0 };
            let moved = self.webhooks.entry(*id).or_insert_with(empty);
            moved.appended += appended;
            moved.settled += settled;
        }
    }

    /// All that was waiting is written. Appends `were_late` when they waited for settlements and these did not come in time.
    pub(super) fn end_round(&mut self, were_late: bool) {
        let now = Instant::now();
        if were_late {
            self.paced_from = now + UNPACED;
        }
        if self.webhooks.is_empty() {
            return;
        }
        self.gather = Some(self.next(now));
        self.appends = 0;
        self.webhooks.clear();
    }

    fn next(&self, now: Instant) -> Gather {
        // One that settles nothing is paced by nobody, and one to which nothing is sent paces nobody.
        let filling = |moved: &&Moved| moved.settled > 0 && moved.appended > 0 && moved.queue.is_filling();
        let filling = || self.webhooks.values().filter(filling);
        let appended: usize = filling().map(|moved| moved.appended).sum();
        // A target is left something to do until the next ones are there.
        let owed = filling().map(|moved| moved.queue.beyond_filling()).sum();
        let orders = (appended + appended / SETTLED_MORE).min(owed).min(SETTLED_MAX);
        if orders == 0 || now < self.paced_from {
            return Gather { appends: self.appends, orders: None, until: now + REGATHER };
        }
        Gather { appends: usize::MAX, orders: Some(orders), until: now + PACED_MAX }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::super::contract::event;
    use super::super::super::ledger::Change;
    use super::*;

    /// A queue of which so many wait in memory and so many are owed; it fills from eleven on.
    fn queue(id: i64, ready: u64, pending: u64) -> Arc<Queue> {
        let queue = Queue::new(id, "a".into(), Arc::default(), 160);
        for seq in 1..=ready {
            queue.push_fresh(&event(seq), &mut None, seq.cast_signed(), false, 0);
        }
        queue.pending.store(pending, Relaxed);
        Arc::new(queue)
    }

    /// What a group of 40 appends is followed by, given how many each queue got and settled.
    fn after(pace: &mut Pace, moved: &[(&Arc<Queue>, usize, usize)], were_late: bool) -> Option<usize> {
        let touched = |(queue, appended, settled): &(&Arc<Queue>, usize, usize)| {
            let queue = Arc::clone(queue);
            let (appended, settled) = (*appended, *settled);
            (queue.id, Touched { queue, change: Change::default(), settled, appended, wake: true })
        };
        pace.note(&moved.iter().map(touched).collect(), 40);
        pace.end_round(were_late);
        let gather = pace.gather().unwrap();
        assert_eq!(gather.appends, if gather.orders.is_some() { usize::MAX } else { 40 });
        gather.orders
    }

    #[test]
    fn producers_wait_for_more_than_they_appended_and_never_for_what_is_not_owed() {
        let mut pace = Pace::new(Instant::now());
        let (full, short) = (queue(1, 20, 1_000), queue(2, 5, 1_000));
        assert_eq!(after(&mut pace, &[(&full, 40, 8), (&short, 40, 8)], false), Some(50));
        assert_eq!(after(&mut pace, &[(&short, 40, 8)], false), None, "it does not fill");
        assert_eq!(after(&mut pace, &[(&full, 40, 0)], false), None, "it hangs");
        assert_eq!(after(&mut pace, &[(&full, 0, 8), (&short, 40, 8)], false), None, "nobody adds to what it owes");
        assert_eq!(after(&mut pace, &[(&queue(3, 20, 30), 40, 8)], false), Some(20), "ten are left to be done");
        assert_eq!(after(&mut pace, &[(&queue(3, 20, 10), 40, 8)], false), None);
    }

    #[test]
    fn a_slow_target_paces_nobody_for_a_while() {
        let mut pace = Pace::new(Instant::now());
        let full = queue(1, 20, 1_000);
        assert!(after(&mut pace, &[(&full, 40, 8)], false).is_some());
        assert_eq!(after(&mut pace, &[(&full, 40, 8)], true), None);
        assert_eq!(after(&mut pace, &[(&full, 40, 8)], false), None);
        pace.paced_from = Instant::now();
        assert!(after(&mut pace, &[(&full, 40, 8)], false).is_some());
    }
}
