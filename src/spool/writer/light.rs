//! Groups that the journal takes alone: appends without a key, and deliveries that were made of what is in the journal.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use jiff::Timestamp;

use super::super::inbox::{Append, Order};
use super::super::ledger::Change;
use super::super::queue::Queue;
use super::super::{Appended, Settlement};
use super::{Writer, Written, touch};

/// Lanes of webhooks in which somebody waits in `SQLite`.
type Behind = HashSet<(i64, i64)>;

impl Writer<'_> {
    /// Makes the orders and appends durable in the journal. `None` where there are none, or something of them has to go to `SQLite`: nothing is
    /// changed then.
    pub(super) fn write_light(&mut self, appends: &[Append]) -> Option<Written> {
        if appends.is_empty() && self.orders.is_empty() {
            return None;
        }
        if self.unsure || !self.journal.is_ready() || !self.is_light(appends) {
            return None;
        }
        let behind = self.behind(appends).ok()?;
        self.describe(appends);
        if !self.journal.has_room(0) {
            return None;
        }
        let started = Instant::now();
        self.journal.write().ok()?;
        (self.setup.commit_seen)(started.elapsed());
        Some(self.keep_light(appends, &behind))
    }

    fn is_light(&self, appends: &[Append]) -> bool {
        let events = appends.iter().map(|append| append.events.len()).sum();
        let bytes: u64 = appends.iter().map(|append| append.bytes).sum();
        let memory = appends.iter().flat_map(|append| &append.events).map(|(event, _)| event.memory_bytes()).sum();
        let is_young = |order: &Order| {
            matches!(order.settlement, Settlement::Delivered) && self.young.holds(order.queue.id, order.claim)
        };
        self.journal.has_room(bytes)
            && self.young.has_room(events, memory)
            && appends.iter().all(|append| append.key.is_none())
            && self.orders.iter().all(is_young)
    }

    /// The lanes of what is appended that have somebody in `SQLite`, where it has deliveries of their webhooks at all.
    fn behind(&mut self, appends: &[Append]) -> rusqlite::Result<Behind> {
        let mut behind = Behind::new();
        for (queue, lane) in appends.iter().flat_map(|append| &append.events).flat_map(|(_, owed)| owed) {
            if *lane != 0
                && self.has_rows(queue)
                && !self.young.is_in(queue.id, *lane)
                && !behind.contains(&(queue.id, *lane))
                && self.ledger.lane_head(queue.id, *lane)?.is_some()
            {
                behind.insert((queue.id, *lane));
            }
        }
        Ok(behind)
    }

    /// Whether `SQLite` has deliveries of a webhook.
    pub(super) fn has_rows(&self, queue: &Queue) -> bool {
        queue.pending.load(Relaxed) > self.young.count(queue.id) as u64
    }

    /// Writes down the group.
    fn describe(&mut self, appends: &[Append]) {
        self.journal.begin();
        for order in &self.orders {
            self.journal.deliver(order.queue.id, order.claim.seq);
        }
        let events = appends.iter().flat_map(|append| &append.events);
        for ((event, owed), seq) in events.zip(self.setup.seq_last + 1..) {
            self.journal.append(seq, event, owed.iter().map(|(queue, lane)| (queue.id, &*queue.webhook, *lane)));
        }
    }

    /// Does in memory what the journal says.
    fn keep_light(&mut self, appends: &[Append], behind: &Behind) -> Written {
        let mut written = Written { seq_first: self.setup.seq_last + 1, light: true, ..Written::default() };
        let now_ms = Timestamp::now().as_millisecond();
        for Order { queue, claim, .. } in &self.orders {
            touch(&mut written.touched, queue, Change { pending: -1, dead: 0 }, false).settled += 1;
            if let Some((event, claim)) = self.young.deliver(queue.id, claim.seq, now_ms) {
                touch(&mut written.touched, queue, Change::default(), true);
                written.handed.push((Arc::clone(queue), event, claim));
            }
        }
        for (event, owed) in appends.iter().flat_map(|append| &append.events) {
            self.setup.seq_last += 1;
            let seq = self.setup.seq_last;
            self.young.add_event(seq, event, owed.len());
            for (queue, lane) in owed {
                let behind = behind.contains(&(queue.id, *lane));
                if self.young.add_delivery(seq, &queue.webhook, (queue.id, *lane), behind) {
                    queue.blocked.store(true, Relaxed);
                    written.blocked.insert((queue.id, seq));
                }
                touch(&mut written.touched, queue, Change { pending: 1, dead: 0 }, true).appended += 1;
            }
        }
        written.answers.resize(appends.len(), Appended::New);
        written
    }

    /// Gives the young ones their turns that waited for others in `SQLite`, of which none is left.
    pub(super) fn take_turns(&mut self, mut written: Written) -> Written {
        let now_ms = Timestamp::now().as_millisecond();
        for (queue, lane) in std::mem::take(&mut written.turns) {
            if let Some((event, claim)) = self.young.take_turn(queue.id, lane, now_ms) {
                touch(&mut written.touched, &queue, Change::default(), true);
                written.handed.push((queue, event, claim));
            }
        }
        written
    }

    /// Says where `SQLite` does not: the oldest pending delivery of a webhook is one that is young.
    pub(super) fn oldest(&mut self, queue: &Queue) -> rusqlite::Result<Option<(i64, i64)>> {
        let stored = if self.has_rows(queue) { self.ledger.oldest(queue.id)? } else { None };
        let oldest = stored.into_iter().chain(self.young.oldest(queue.id));
        Ok(oldest.min_by_key(|(_, since_ms)| *since_ms))
    }

    /// Measures what the spool takes of the disk, when the journal alone has grown.
    pub(super) fn measure_journal(&self) {
        self.setup.shared.bytes.store(self.disk_bytes + self.journal.used(), Relaxed);
    }
}
