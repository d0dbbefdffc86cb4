//! Dead letters of many deliveries at once: a bounded step between two commits.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::inbox::{Doomed, Order};
use super::super::ledger::{Aged, BLOCKED, Pending, Sort};
use super::super::{Settlement, SpoolError};
use super::Writer;

/// Rows that one step of a burial looks at.
const BURIAL_STEP: i64 = 256;

impl Writer<'_> {
    /// Turns the next rows of the first burial into orders.
    pub(super) fn step_burial(&mut self) {
        // Claimed rows that cannot be written are many enough.
        if self.retry_at.is_some() {
            return;
        }
        let Some(burial) = self.burials.front_mut() else { return };
        let id = burial.queue.id;
        let rows = match burial.doomed {
            Doomed::All { cursor } => self.ledger.pending(id, cursor, BURIAL_STEP),
            Doomed::Older { sort, cursor, .. } => self.ledger.aged(id, sort, cursor, BURIAL_STEP),
        };
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                if let Some(burial) = self.burials.pop_front() {
                    let _ = burial.reply.send(Err(SpoolError::unavailable(&error)));
                }
                return;
            }
        };
        let mut ended = i64::try_from(rows.len()).is_ok_and(|rows| rows < BURIAL_STEP);
        let at = Timestamp::now();
        let first = self.orders.len();
        for Pending { claim, since_ms } in rows {
            // It was appended since, as may be all that follows: whoever buries does not run after those who append.
            let is_new = claim.seq > burial.seq_max;
            match &mut burial.doomed {
                Doomed::All { cursor } => {
                    let by_number = claim.due == 0 || claim.due == BLOCKED;
                    *cursor = (claim.due, if is_new && by_number { i64::MAX } else { claim.seq });
                }
                Doomed::Older { older_than_ms, sort, .. }
                    if since_ms >= *older_than_ms || (is_new && *sort != Sort::Replayed) =>
                {
                    ended = true;
                    break;
                }
                Doomed::Older { cursor, .. } => *cursor = Aged { since_ms, seq: claim.seq },
            }
            if !is_new && burial.queue.claim((claim.due, claim.seq)) {
                burial.claimed += 1;
                let settlement =
                    Settlement::Bury { reason: burial.reason, last: None, attempts: claim.attempts, at, record: None };
                self.orders.push(Order {
                    queue: Arc::clone(&burial.queue),
                    claim,
                    settlement,
                    noted: None,
                    metered: false,
                });
            }
        }
        // What is blocked goes first: the one before it would make it due, and it would not be where it was found.
        if let Some(orders) = self.orders.get_mut(first..) {
            orders.sort_by_key(|order| order.claim.due != BLOCKED);
        }
        if !ended {
            return;
        }
        match &mut burial.doomed {
            // What was buried may have let others of its lane go, to before where this has looked.
            Doomed::All { cursor } if burial.claimed > 0 => {
                *cursor = (0, 0);
                burial.claimed = 0;
            }
            Doomed::All { .. } => burial.drained = true,
            Doomed::Older { sort, cursor, .. } => match sort.next() {
                Some(next) => (*sort, *cursor) = (next, Aged::default()),
                None => burial.drained = true,
            },
        }
    }

    /// Answers the first burial when it came to its end and all of it is written.
    pub(super) fn end_burial(&mut self) {
        if self.orders.is_empty()
            && let Some(burial) = self.burials.pop_front_if(|burial| burial.drained)
        {
            let _ = burial.reply.send(Ok(burial.count));
        }
    }
}
