//! What becomes of dead letters that somebody replays or drops.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::inbox::Repair;
use super::super::ledger::Change;
use super::super::queue::{Key, Queue};
use super::{Touched, Touches, Writer, add, touch};

/// What a repair came to.
#[derive(Default)]
struct Repaired {
    touched: Touches,
    made_due: Vec<(Arc<Queue>, Key)>,
    count: u64,
}

impl Writer<'_> {
    /// Makes something else of dead letters, in a transaction of its own. How many there were.
    pub(super) fn repair(&mut self, repair: &Repair) -> rusqlite::Result<u64> {
        let queues: HashMap<i64, Arc<Queue>> =
            self.setup.shared.queues().into_iter().map(|queue| (queue.id, queue)).collect();
        let now_ms = Timestamp::now().as_millisecond();
        self.ledger.begin()?;
        let result = self.change_dead(repair, &queues, now_ms).and_then(|repaired| {
            self.ledger.commit()?;
            Ok(repaired)
        });
        let Repaired { touched, made_due, count } = result.inspect_err(|_| self.ledger.rollback())?;
        for (queue, key) in made_due {
            queue.made_due(key);
        }
        for Touched { queue, change, .. } in touched.into_values() {
            add(&queue.pending, change.pending);
            add(&queue.dead, change.dead);
            self.stale.insert(queue.id, Arc::clone(&queue));
            queue.wake();
        }
        self.measure();
        Ok(count)
    }

    fn change_dead(
        &mut self,
        repair: &Repair,
        queues: &HashMap<i64, Arc<Queue>>,
        now_ms: i64,
    ) -> rusqlite::Result<Repaired> {
        let mut repaired = Repaired::default();
        for number in &repair.numbers {
            let (webhook, key) = if repair.replay {
                self.ledger.replay(*number, now_ms)?.map(|(webhook, key)| (webhook, Some(key)))
            } else {
                self.ledger.forget(*number)?.map(|webhook| (webhook, None))
            }
            .unwrap_or_default();
            // Every webhook with something in store has its queue; a number that is not there has no webhook.
            let Some(queue) = queues.get(&webhook) else { continue };
            repaired.count += 1;
            let change = Change { pending: i64::from(repair.replay), dead: -1 };
            touch(&mut repaired.touched, queue, change, true);
            repaired.made_due.extend(key.map(|key| (Arc::clone(queue), key)));
        }
        for Touched { queue, change, .. } in repaired.touched.values() {
            self.ledger.count(queue.id, &queue.webhook, *change)?;
        }
        Ok(repaired)
    }
}
