//! What opening makes of a journal: the deliveries that were young when the process ended are so again, and then rows of the database.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result};

use super::journal::Entry;
use super::ledger::Ledger;
use super::young::Young;

/// Says what is young after all of a journal. Of a lane one is due, when none of it is in the database.
pub(super) fn young(
    entries: Vec<Entry>,
    connection: &Connection,
    ledger: &mut Ledger<'_>,
    now_ms: i64,
) -> Result<Young> {
    let mut young = Young::default();
    let mut names = Names::read(connection)?;
    let stored_last: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    // Numbers in the journal are behind those in the database, unless their files are not of one time: then they are moved there.
    let mut moved = None;
    for entry in entries {
        match entry {
            Entry::Appended { seq, event, owed } => {
                if seq <= stored_last && is_stored(connection, seq, event.id.as_bytes())? {
                    continue;
                }
                let seq = seq.saturating_add(*moved.get_or_insert((stored_last + 1).saturating_sub(seq).max(0)));
                let event = Arc::new(event);
                young.add_event(seq, &event, owed.len());
                for (webhook, name, lane) in owed {
                    let webhook = names.number(webhook, &name);
                    let behind = lane != 0 && !young.is_in(webhook, lane) && ledger.lane_head(webhook, lane)?.is_some();
                    young.add_delivery(seq, &name, (webhook, lane), behind);
                }
            }
            Entry::Delivered { webhook, seq } => {
                let webhook = names.moved.get(&webhook).copied().unwrap_or(webhook);
                young.deliver(webhook, seq.saturating_add(moved.unwrap_or(0)), now_ms);
            }
        }
    }
    Ok(young)
}

fn is_stored(connection: &Connection, seq: i64, id: &[u8]) -> Result<bool> {
    let sql = "SELECT 1 FROM events WHERE seq = ?1 AND id = ?2";
    Ok(connection.prepare_cached(sql)?.query_row((seq, id), |_| Ok(())).optional()?.is_some())
}

/// The numbers of webhooks. In the database they are what they were when the journal was written, unless damage took some.
struct Names {
    numbers: HashMap<Arc<str>, i64>,
    taken: HashMap<i64, Arc<str>>,
    moved: HashMap<i64, i64>,
    last: i64,
}

impl Names {
    fn read(connection: &Connection) -> Result<Self> {
        let mut names = Self { numbers: HashMap::new(), taken: HashMap::new(), moved: HashMap::new(), last: 0 };
        let mut statement = connection.prepare("SELECT id, name FROM webhooks")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, name) = (row.get(0)?, row.get::<_, String>(1)?);
            names.keep(id, name.into());
        }
        Ok(names)
    }

    fn keep(&mut self, number: i64, name: Arc<str>) {
        self.last = self.last.max(number);
        self.numbers.insert(Arc::clone(&name), number);
        self.taken.insert(number, name);
    }

    /// The number of a webhook that had this one in the journal.
    fn number(&mut self, number: i64, name: &Arc<str>) -> i64 {
        if let Some(stored) = self.numbers.get(name).copied() {
            if stored != number {
                self.moved.insert(number, stored);
            }
            return stored;
        }
        let stored = if self.taken.contains_key(&number) { self.last + 1 } else { number };
        if stored != number {
            self.moved.insert(number, stored);
        }
        self.keep(stored, Arc::clone(name));
        stored
    }
}
