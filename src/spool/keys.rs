//! Idempotency keys: sets of keys, each a table of its own. New keys go into the latest set, and the oldest set is dropped
//! whole, which costs less than to take its keys out one by one.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{Appended, Key};

/// Sets that are kept: the latest of them is being filled.
const SETS_MAX: u8 = 8;
/// Keys in one set; all sets together hold a million.
const SET_KEYS_MAX: i64 = 125_000;
/// What a key takes of the disk beside its receipt, roughly.
pub(super) const KEY_BYTES: u64 = 64;

/// The sets in force, oldest first.
pub(super) struct Keys(Vec<Set>);

#[derive(Clone, Copy)]
struct Set {
    number: i64,
    opened_ms: i64,
    window_ms: i64,
    keys: i64,
}

impl Set {
    /// When it takes no more keys: with this all sets but one cover the window.
    fn filled_ms(self) -> i64 {
        self.opened_ms.saturating_add(self.window_ms / i64::from(SETS_MAX - 1)).max(self.opened_ms + 1)
    }

    fn is_filled(self, window_ms: i64, now_ms: i64) -> bool {
        // A clock that was set back fills it too, or it would take keys for ever.
        self.keys >= SET_KEYS_MAX
            || !(self.opened_ms..self.filled_ms()).contains(&now_ms)
            || self.window_ms != window_ms
    }

    fn is_over(self, now_ms: i64) -> bool {
        self.filled_ms().saturating_add(self.window_ms) <= now_ms
    }
}

impl Keys {
    /// Reads which sets there are.
    pub(super) fn read(connection: &Connection) -> Result<Self> {
        let mut statement =
            connection.prepare_cached("SELECT number, opened_ms, window_ms, keys FROM key_sets ORDER BY number")?;
        let sets = statement.query_map([], |row| {
            Ok(Set { number: row.get(0)?, opened_ms: row.get(1)?, window_ms: row.get(2)?, keys: row.get(3)? })
        })?;
        sets.collect::<Result<_>>().map(Self)
    }

    /// Keeps a key that is new; says what it was answered where it is known. To be undone with its transaction, after which
    /// the sets are read again.
    pub(super) fn keep(&mut self, connection: &Connection, key: &Key, now_ms: i64) -> Result<Appended> {
        let window_ms = i64::try_from(key.window.as_millis()).unwrap_or(i64::MAX);
        for set in self.0.iter().rev() {
            let sql = format!("SELECT content, receipt FROM keys_{} WHERE id = ?1 AND at_ms > ?2", set.number);
            let known: Option<([u8; 16], Vec<u8>)> = connection
                .prepare_cached(&sql)?
                .query_row(params![key.id, now_ms.saturating_sub(window_ms)], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if let Some((content, receipt)) = known {
                return Ok(if content == key.content { Appended::Repeat(receipt.into()) } else { Appended::Conflict });
            }
        }
        let number = self.set_to_fill(connection, window_ms, now_ms)?;
        // A key whose window is over, or that lies ahead of a clock that was set back, makes room for itself.
        let sql = format!("INSERT OR REPLACE INTO keys_{number} VALUES (?1, ?2, ?3, ?4)");
        connection.prepare_cached(&sql)?.execute(params![key.id, now_ms, key.content, &*key.receipt])?;
        connection.prepare_cached("UPDATE key_sets SET keys = keys + 1 WHERE number = ?1")?.execute([number])?;
        Ok(Appended::New)
    }

    /// Drops the sets whose keys are all over.
    pub(super) fn drop_old(&mut self, connection: &Connection, now_ms: i64) -> Result<()> {
        while let Some(oldest) = self.0.first().filter(|oldest| oldest.is_over(now_ms)) {
            let transaction = connection.unchecked_transaction()?;
            drop_set(&transaction, oldest.number)?;
            transaction.commit()?;
            self.0.remove(0);
        }
        Ok(())
    }

    /// The set that takes the next key.
    fn set_to_fill(&mut self, connection: &Connection, window_ms: i64, now_ms: i64) -> Result<i64> {
        if let Some(latest) = self.0.last_mut().filter(|latest| !latest.is_filled(window_ms, now_ms)) {
            latest.keys += 1;
            return Ok(latest.number);
        }
        while self.0.len() >= usize::from(SETS_MAX) {
            drop_set(connection, self.0.remove(0).number)?;
        }
        let number = self.0.last().map_or(1, |latest| latest.number + 1);
        connection.execute_batch(&format!(
            "CREATE TABLE keys_{number} (
               id BLOB PRIMARY KEY, at_ms INTEGER NOT NULL, content BLOB NOT NULL, receipt BLOB NOT NULL
             ) STRICT, WITHOUT ROWID"
        ))?;
        connection.execute("INSERT INTO key_sets VALUES (?1, ?2, ?3, 0)", params![number, now_ms, window_ms])?;
        self.0.push(Set { number, opened_ms: now_ms, window_ms, keys: 1 });
        Ok(number)
    }
}

fn drop_set(connection: &Connection, number: i64) -> Result<()> {
    connection.execute_batch(&format!("DROP TABLE keys_{number}; DELETE FROM key_sets WHERE number = {number}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    const WINDOW_MS: i64 = 7_000;

    fn connection() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let table =
            "CREATE TABLE key_sets (number INTEGER PRIMARY KEY, opened_ms INTEGER, window_ms INTEGER, keys INTEGER)";
        connection.execute_batch(table).unwrap();
        connection
    }

    fn key(n: u64) -> Key {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Key { id, content: [1; 16], receipt: Bytes::new(), window: Duration::from_millis(WINDOW_MS.unsigned_abs()) }
    }

    fn is_known(keys: &mut Keys, connection: &Connection, n: u64, now_ms: i64) -> bool {
        keys.keep(connection, &key(n), now_ms).unwrap() != Appended::New
    }

    fn tables(connection: &Connection) -> i64 {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'keys\\_%' ESCAPE '\\' AND type = 'table'";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_key_is_known_for_its_window_and_not_longer_and_its_set_is_dropped() {
        let connection = connection();
        let mut keys = Keys::read(&connection).unwrap();
        for second in 0..40_i64 {
            let now_ms = 1_000_000 + second * 500;
            assert!(!is_known(&mut keys, &connection, second.unsigned_abs(), now_ms));
            let oldest = (second - 13).max(0);
            assert!(
                is_known(&mut keys, &connection, oldest.unsigned_abs(), now_ms),
                "after {} ms",
                (second - oldest) * 500
            );
            assert!(keys.0.len() <= usize::from(SETS_MAX));
            // What was read again is the same.
            if second % 5 == 0 {
                keys = Keys::read(&connection).unwrap();
            }
        }
        let later_ms = 1_000_000 + 39 * 500 + WINDOW_MS;
        assert!(!is_known(&mut keys, &connection, 39, later_ms));
        keys.drop_old(&connection, later_ms + 3 * WINDOW_MS).unwrap();
        assert_eq!((keys.0.len(), tables(&connection)), (0, 0));
    }

    #[test]
    fn there_are_never_more_than_a_million_and_the_latest_are_known() {
        let connection = connection();
        let mut keys = Keys::read(&connection).unwrap();
        for n in 0..20 {
            // A set is filled by what is written of it.
            assert!(!is_known(&mut keys, &connection, n, 5));
            keys.0.last_mut().unwrap().keys = SET_KEYS_MAX;
        }
        assert_eq!((keys.0.len(), tables(&connection)), (8, 8));
        assert!(is_known(&mut keys, &connection, 19, 5) && is_known(&mut keys, &connection, 12, 5));
        assert!(!is_known(&mut keys, &connection, 11, 5), "the oldest are forgotten first");
        assert_eq!(i64::from(SETS_MAX) * SET_KEYS_MAX, 1_000_000);
    }

    #[test]
    fn a_clock_that_is_set_back_loses_no_key() {
        let connection = connection();
        let mut keys = Keys::read(&connection).unwrap();
        assert!(!is_known(&mut keys, &connection, 1, 1_000_000));
        assert!(!is_known(&mut keys, &connection, 2, 900_000));
        assert!(is_known(&mut keys, &connection, 1, 900_001) && is_known(&mut keys, &connection, 2, 900_001));
    }
}
