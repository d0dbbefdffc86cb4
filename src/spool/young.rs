//! The young deliveries: those that are in the journal alone, and here.
//!
//! They are the rows that `SQLite` would have, with the same due times: 0 before the first attempt, the time at which its turn came, or
//! never for one that waits for another of its lane. Most go as they were delivered; the others are written with the next transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::Result;

use crate::event::Event;

use super::Claim;
use super::ledger::{BLOCKED, Change, Ledger};

/// So many events may be young; what goes beyond takes all of them to `SQLite`.
const YOUNG_EVENTS_MAX: usize = 2048;
/// And so much of them.
const YOUNG_BYTES_MAX: usize = 8 << 20;

/// Deliveries by the number of their event and that of their webhook.
pub(super) type Made = BTreeSet<(i64, i64)>;

/// What is young.
#[derive(Default)]
pub(super) struct Young {
    events: BTreeMap<i64, Kept>,
    webhooks: HashMap<i64, Owes>,
    bytes: usize,
}

struct Kept {
    event: Arc<Event>,
    /// How many owed it at first.
    fanout: usize,
    /// How many owe it still.
    left: usize,
    /// What it weighed when it was added: a tree that is kept with it later weighs more.
    bytes: usize,
}

/// What one webhook owes.
struct Owes {
    name: Arc<str>,
    /// When each is due, and its lane.
    rows: BTreeMap<i64, (i64, i64)>,
    /// The numbers of the events of each lane, in their order.
    lanes: HashMap<i64, VecDeque<i64>>,
}

impl Young {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether so many events more may be young, of so many bytes.
    pub(super) fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.events.len() + events <= YOUNG_EVENTS_MAX && self.bytes.saturating_add(bytes) <= YOUNG_BYTES_MAX
    }

    /// Whether a delivery is young.
    pub(super) fn holds(&self, webhook: i64, claim: Claim) -> bool {
        let row = self.webhooks.get(&webhook).and_then(|rows| rows.rows.get(&claim.seq));
        row.is_some_and(|(due, _)| *due == claim.due)
    }

    /// How many deliveries of a webhook are young.
    pub(super) fn count(&self, webhook: i64) -> usize {
        self.webhooks.get(&webhook).map_or(0, |rows| rows.rows.len())
    }

    /// How many deliveries each webhook has, with its name.
    pub(super) fn counts(&self) -> impl Iterator<Item = (i64, &Arc<str>, usize)> {
        self.webhooks.iter().map(|(id, rows)| (*id, &rows.name, rows.rows.len())).filter(|(_, _, count)| *count > 0)
    }

    /// Whether some delivery of a lane is young.
    pub(super) fn is_in(&self, webhook: i64, lane: i64) -> bool {
        self.webhooks.get(&webhook).is_some_and(|rows| rows.lanes.contains_key(&lane))
    }

    /// The number of the last event.
    pub(super) fn seq_last(&self) -> Option<i64> {
        self.events.last_key_value().map(|(seq, _)| *seq)
    }

    /// The oldest event of a webhook: its number, and when it was taken in.
    pub(super) fn oldest(&self, webhook: i64) -> Option<(i64, i64)> {
        let (seq, _) = self.webhooks.get(&webhook)?.rows.first_key_value()?;
        Some((*seq, self.events.get(seq)?.event.received_at.as_millisecond()))
    }

    /// The deliveries that wait for no other: the number of the webhook, the event and the row.
    pub(super) fn due(&self) -> Vec<(i64, Arc<Event>, Claim)> {
        let mut due = Vec::new();
        for (webhook, rows) in &self.webhooks {
            for (seq, (at, lane)) in rows.rows.iter().filter(|(_, (at, _))| *at != BLOCKED) {
                let Some(kept) = self.events.get(seq) else { continue };
                let claim = Claim { due: *at, seq: *seq, shared: kept.fanout > 1, lane: *lane, ..Claim::default() };
                due.push((*webhook, Arc::clone(&kept.event), claim));
            }
        }
        due
    }

    /// The fresh deliveries of a webhook behind an event, which wait for no other: the event and the row.
    pub(super) fn fresh(&self, webhook: i64, after: i64) -> impl Iterator<Item = (Arc<Event>, Claim)> {
        let rows = self.webhooks.get(&webhook).into_iter();
        let rows = rows.flat_map(move |owes| owes.rows.range(after.saturating_add(1)..));
        rows.filter(|(_, (due, _))| *due == 0).filter_map(|(seq, (_, lane))| {
            let kept = self.events.get(seq)?;
            let claim = Claim { seq: *seq, shared: kept.fanout > 1, lane: *lane, ..Claim::default() };
            Some((Arc::clone(&kept.event), claim))
        })
    }

    /// The number of the first event.
    pub(super) fn seq_first(&self) -> Option<i64> {
        self.events.first_key_value().map(|(seq, _)| *seq)
    }

    /// Adds an event that so many owe.
    pub(super) fn add_event(&mut self, seq: i64, event: &Arc<Event>, fanout: usize) {
        let bytes = event.memory_bytes();
        self.bytes += bytes;
        self.events.insert(seq, Kept { event: Arc::clone(event), fanout, left: 0, bytes });
    }

    /// Adds that a webhook owes an event that was added. Whether it is blocked: one of its lane comes before it, here or, as `behind` says,
    /// in `SQLite`.
    pub(super) fn add_delivery(
        &mut self,
        seq: i64,
        name: &Arc<str>,
        (webhook, lane): (i64, i64),
        behind: bool,
    ) -> bool {
        let rows = self.webhooks.entry(webhook).or_insert_with(|| Owes {
            name: Arc::clone(name),
            rows: BTreeMap::new(),
            lanes: HashMap::new(),
        });
        let mut blocked = false;
        if lane != 0 {
            let waiting = rows.lanes.entry(lane).or_default();
            blocked = behind || !waiting.is_empty();
            waiting.push_back(seq);
        }
        if rows.rows.insert(seq, (if blocked { BLOCKED } else { 0 }, lane)).is_none()
            && let Some(kept) = self.events.get_mut(&seq)
        {
            kept.left += 1;
        }
        blocked
    }

    /// Takes out a delivery that was made. The one of its lane whose turn has come with that is due now: its event and its row.
    pub(super) fn deliver(&mut self, webhook: i64, seq: i64, now_ms: i64) -> Option<(Arc<Event>, Claim)> {
        let rows = self.webhooks.get_mut(&webhook)?;
        let (_, lane) = rows.rows.remove(&seq)?;
        if let Some(kept) = self.events.get_mut(&seq) {
            kept.left -= 1;
            if kept.left == 0 {
                self.bytes = self.bytes.saturating_sub(kept.bytes);
                self.events.remove(&seq);
            }
        }
        let waiting = rows.lanes.get_mut(&lane)?;
        if waiting.front() != Some(&seq) {
            waiting.retain(|other| *other != seq);
            return None;
        }
        waiting.pop_front();
        if waiting.is_empty() {
            rows.lanes.remove(&lane);
            return None;
        }
        self.take_turn(webhook, lane, now_ms)
    }

    /// Makes the first of a lane due, where it is blocked: its event and its row.
    pub(super) fn take_turn(&mut self, webhook: i64, lane: i64, now_ms: i64) -> Option<(Arc<Event>, Claim)> {
        let rows = self.webhooks.get_mut(&webhook)?;
        let next = *rows.lanes.get(&lane)?.front()?;
        let (due, _) = rows.rows.get_mut(&next).filter(|(due, _)| *due == BLOCKED)?;
        *due = now_ms.max(1);
        let kept = self.events.get(&next)?;
        let claim = Claim { due: *due, seq: next, shared: kept.fanout > 1, lane, ..Claim::default() };
        Some((Arc::clone(&kept.event), claim))
    }

    /// Writes all of it but for deliveries that were made, in the transaction that is under way. All are counted, also those.
    pub(super) fn write(&self, ledger: &mut Ledger<'_>, made: &Made) -> Result<()> {
        for (seq, Kept { event, fanout, left, .. }) in &self.events {
            let left = left.saturating_sub(made.range((*seq, i64::MIN)..=(*seq, i64::MAX)).count());
            if left > 0 {
                ledger.add_event(*seq, event, signed(*fanout), signed(left))?;
            }
        }
        for (webhook, Owes { name, rows, .. }) in &self.webhooks {
            for (seq, (due, lane)) in rows {
                if !made.contains(&(*seq, *webhook)) {
                    ledger.add_row(*webhook, *due, *seq, *lane)?;
                }
            }
            if !rows.is_empty() {
                ledger.count(*webhook, name, Change { pending: signed(rows.len()), dead: 0 })?;
            }
        }
        Ok(())
    }

    /// All of it is in `SQLite`.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
