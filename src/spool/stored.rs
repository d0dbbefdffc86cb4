//! What opening reads: kept counters, last numbers and sets of keys, by look-ups alone whatever is in store; and whether they make
//! sense. Of a number that no spool gives the next one could not be given.

use std::sync::Arc;

use rusqlite::{Connection, Error, Result};

use super::keys::Keys;
use super::ledger::Ledger;
use super::records;
use super::young::Young;

/// No number that a spool gives is greater: what is comes from damage, and would be the last that could be given.
pub(super) const NUMBER_MAX: i64 = 1 << 53;

/// What is in store.
pub(super) struct Stored {
    pub(super) webhooks: Vec<Counted>,
    /// The number of the last webhook.
    pub(super) webhook_last: i64,
    /// The number of the last event.
    pub(super) seq_last: i64,
    pub(super) keys: Keys,
    /// The number of the last record.
    pub(super) last_invocation: u64,
}

/// A webhook and its kept counters.
pub(super) struct Counted {
    pub(super) id: i64,
    pub(super) name: Arc<str>,
    pub(super) pending: u64,
    pub(super) dead: u64,
    /// The oldest pending delivery: the number of its event, and since when its age counts.
    pub(super) oldest: Option<(i64, i64)>,
}

impl Stored {
    /// Reads it. What is damaged is an error.
    pub(super) fn read(connection: &Connection, ledger: &mut Ledger<'_>, bytes_max: u64) -> Result<Self> {
        unpointed(connection)?;
        let seq_last = last(connection, "events", "seq")?;
        let webhook_last = last(connection, "webhooks", "id")?;
        last(connection, "dead", "number")?;
        given(connection, "SELECT coalesce(max(number), 0) FROM journal")?;
        given(connection, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'dead'")?;
        let mut webhooks = Vec::new();
        let mut statement = connection.prepare("SELECT id, name, pending, dead FROM webhooks")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let count = |column| {
                let count: i64 = row.get(column)?;
                // Less than nothing is counted as nothing, and made good by what is counted next.
                if count > -NUMBER_MAX { sensible(count) } else { Err(out_of_range(count)) }
            };
            let (id, pending, dead) = (row.get(0)?, count(2)?, count(3)?);
            let oldest = ledger.oldest(id)?;
            if pending == 0 && oldest.is_some() {
                // What is not counted would never be delivered.
                return Err(out_of_range(row.get(2)?));
            }
            webhooks.push(Counted { id, name: row.get(1)?, pending, dead, oldest });
        }
        let keys = Keys::read(connection, bytes_max)?;
        let last_invocation = records::last(connection)?;
        Ok(Self { webhooks, webhook_last, seq_last, keys, last_invocation })
    }
}

impl Stored {
    /// Adds what is young, and so not in the database.
    pub(super) fn add(&mut self, young: &Young) {
        for (id, name, count) in young.counts() {
            let (pending, oldest) = (count as u64, young.oldest(id));
            if let Some(webhook) = self.webhooks.iter_mut().find(|webhook| webhook.id == id) {
                webhook.pending += pending;
                webhook.oldest = webhook.oldest.into_iter().chain(oldest).min_by_key(|(_, since_ms)| *since_ms);
            } else {
                self.webhooks.push(Counted { id, name: Arc::clone(name), pending, dead: 0, oldest });
            }
            self.webhook_last = self.webhook_last.max(id);
        }
        self.seq_last = self.seq_last.max(young.seq_last().unwrap_or(0));
    }
}

/// That the file has no pages of pointers, which none of ours has: a head that says so by damage reads well, and is found
/// damaged at the first commit only.
pub(super) fn unpointed(connection: &Connection) -> Result<()> {
    let vacuum: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if vacuum == 0 { Ok(()) } else { Err(out_of_range(vacuum)) }
}

/// The last of the numbers of a table, of which none makes no sense; 0 where there is none.
fn last(connection: &Connection, table: &str, column: &str) -> Result<i64> {
    let first = given(connection, &format!("SELECT coalesce(min({column}), 1) FROM {table}"))?;
    if first < 1 {
        return Err(out_of_range(first));
    }
    given(connection, &format!("SELECT coalesce(max({column}), 0) FROM {table}"))
}

fn given(connection: &Connection, sql: &str) -> Result<i64> {
    let number = connection.query_row(sql, [], |row| row.get(0))?;
    sensible(number).map(|_| number)
}

fn sensible(number: i64) -> Result<u64> {
    if number > NUMBER_MAX { Err(out_of_range(number)) } else { Ok(u64::try_from(number).unwrap_or(0)) }
}

fn out_of_range(number: i64) -> Error {
    Error::IntegralValueOutOfRange(0, number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use tempfile::TempDir;

    use crate::spool::contract::{batch, event, inside, lease_all, name, open, options};
    use crate::spool::crash::copy_files;
    use crate::spool::{DiskSpool, OpenError, Reason, Settlement, Sought, recover};

    /// What damage does to a spool that holds five deliveries and a dead letter.
    const DAMAGE: [&str; 12] = [
        "UPDATE events SET seq = 9223372036854775807 WHERE seq = 2",
        "UPDATE events SET seq = -1 WHERE seq = 2",
        "UPDATE webhooks SET id = 9007199254740993 WHERE name = 'b'",
        "UPDATE webhooks SET name = CAST(x'ff' AS TEXT) WHERE name = 'b'",
        "UPDATE webhooks SET pending = 9223372036854775807",
        "UPDATE webhooks SET dead = -9223372036854775808",
        "UPDATE webhooks SET pending = 0 WHERE name = 'a'",
        "UPDATE webhooks SET pending = -1, dead = -1",
        "UPDATE dead SET number = 9223372036854775807",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807",
        "INSERT INTO key_sets VALUES (7, 0, 0, 0, 0)",
        "UPDATE journal SET number = 9223372036854775807",
    ];

    #[tokio::test(flavor = "multi_thread")]
    async fn what_makes_no_sense_is_damage_which_is_recovered() {
        for (damage, is_crashed) in DAMAGE.into_iter().flat_map(|damage| [(damage, false), (damage, true)]) {
            let directory = TempDir::new().unwrap();
            let spool = open(directory.path());
            spool.append(batch(1..=5, &["a"])).await.unwrap();
            spool.append(batch(6..=6, &["b"])).await.unwrap();
            let [lease] = <[_; 1]>::try_from(lease_all(&*spool, "a", 1).await).unwrap();
            let at = jiff::Timestamp::now();
            spool
                .settle(lease, Settlement::Bury { reason: Reason::Gone, last: None, attempts: 1, at, record: None })
                .await;
            let directory = if is_crashed {
                // What is young then is added to what can be saved.
                spool.find(Sought::Event(event(6).id)).await.unwrap();
                spool.append(batch(101..=104, &["a", "b", "d"])).await.unwrap();
                let copy = TempDir::new().unwrap();
                copy_files(directory.path(), copy.path());
                copy
            } else {
                directory
            };
            drop(spool);
            inside(directory.path()).execute_batch(damage).unwrap();

            let refused = DiskSpool::open(options(directory.path())).map(drop);
            assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{damage}: {refused:?}");
            let recovered = recover(&options(directory.path()).path).unwrap().expect(damage);
            let young = if is_crashed { 12 } else { 0 };
            assert!((young + 3..=young + 5).contains(&recovered.pending), "{damage}: {recovered:?}");
            // Events, webhooks and dead letters get their next numbers.
            let spool = open(directory.path());
            assert!(spool.append(batch(7..=9, &["a", "c"])).await.is_ok(), "{damage}");
            assert!(spool.bury(&name("a"), Reason::Expired, None).await.is_ok_and(|buried| buried >= 6), "{damage}");
        }
    }
}
