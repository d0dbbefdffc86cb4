//! Idempotency keys: sets of keys, each a table of its own. New keys go into the latest set, and the oldest set is dropped
//! whole, which costs less than to take its keys out one by one.

use bytes::Bytes;
use rusqlite::{Connection, Error, OptionalExtension, Result, params};

use super::stored::NUMBER_MAX;
use super::{Appended, Key, column};

/// Sets that are kept: the latest of them is being filled.
const SETS_MAX: u8 = 8;
/// Keys in one set; all sets together hold a million.
const SET_KEYS_MAX: i64 = 125_000;
/// What a key takes of the disk beside its receipt, roughly.
pub(super) const KEY_BYTES: u64 = 64;

/// The part of the spool's limit that one set may take; all sets together take an eighth.
const SET_SHARE: u64 = 64;

/// The sets in force, oldest first.
pub(super) struct Keys {
    sets: Vec<Set>,
    set_bytes_max: i64,
}

#[derive(Clone, Copy)]
struct Set {
    number: i64,
    opened_ms: i64,
    window_ms: i64,
    keys: i64,
    bytes: i64,
}

impl Set {
    /// When it takes no more keys: with this all sets but one cover the window.
    fn filled_ms(self) -> i64 {
        self.opened_ms.saturating_add(self.window_ms / i64::from(SETS_MAX - 1)).max(self.opened_ms.saturating_add(1))
    }

    fn is_filled(self, bytes_max: i64, window_ms: i64, now_ms: i64) -> bool {
        // A clock that was set back fills it too, or it would take keys for ever.
        self.keys >= SET_KEYS_MAX
            || self.bytes >= bytes_max
            || !(self.opened_ms..self.filled_ms()).contains(&now_ms)
            // A longer window than it was opened with needs a set that lives longer; a shorter one does not, so that senders
            // of both, while the setting changes, do not open one set after the other.
            || self.window_ms < window_ms
    }

    fn is_over(self, now_ms: i64) -> bool {
        self.filled_ms().saturating_add(self.window_ms) <= now_ms
    }
}

impl Keys {
    /// Reads which sets there are, in a spool of so many bytes at most. A set without its table, or with a number that none is
    /// given, is an error.
    pub(super) fn read(connection: &Connection, bytes_max: u64) -> Result<Self> {
        let mut statement = connection
            .prepare_cached("SELECT number, opened_ms, window_ms, keys, bytes FROM key_sets ORDER BY number")?;
        let sets = statement.query_map([], |row| {
            let (number, opened_ms, window_ms) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Set { number, opened_ms, window_ms, keys: row.get(3)?, bytes: row.get(4)? })
        })?;
        let sets: Vec<Set> = sets.collect::<Result<_>>()?;
        for set in &sets {
            for number in [set.number, set.keys, set.bytes] {
                if !(0..=NUMBER_MAX).contains(&number) {
                    return Err(Error::IntegralValueOutOfRange(0, number));
                }
            }
            connection.prepare(&look_up(set.number))?;
        }
        let set_bytes_max = i64::try_from(bytes_max / SET_SHARE).unwrap_or(i64::MAX);
        Ok(Self { sets, set_bytes_max })
    }

    /// What a batch with this key is answered, where the key is known.
    pub(super) fn known(&self, connection: &Connection, key: &Key, now_ms: i64) -> Result<Option<Appended>> {
        let behind_ms = now_ms.saturating_sub(window_ms(key));
        for set in self.sets.iter().rev() {
            let known = connection
                .prepare_cached(&look_up(set.number))?
                .query_row(params![key.id, behind_ms], |row| {
                    let (content, receipt) = (column::bytes(row, 0)?, column::bytes(row, 1)?);
                    let same = content == Some(&key.content[..]);
                    Ok(receipt.map(|receipt| (same, Bytes::copy_from_slice(receipt))))
                })
                .optional()?;
            if let Some((same, receipt)) = known.flatten() {
                return Ok(Some(if same { Appended::Repeat(receipt) } else { Appended::Conflict }));
            }
        }
        Ok(None)
    }

    /// Keeps a key that is new; says what it was answered where it is known. To be undone with its transaction, after which
    /// the sets are read again.
    pub(super) fn keep(&mut self, connection: &Connection, key: &Key, now_ms: i64) -> Result<Appended> {
        if let Some(known) = self.known(connection, key, now_ms)? {
            return Ok(known);
        }
        let bytes = i64::try_from(KEY_BYTES + key.receipt.len() as u64).unwrap_or(i64::MAX);
        let number = self.set_to_fill(connection, window_ms(key), bytes, now_ms)?;
        // A key whose window is over, or that lies ahead of a clock that was set back, makes room for itself.
        let sql = format!("INSERT OR REPLACE INTO keys_{number} VALUES (?1, ?2, ?3, ?4)");
        connection.prepare_cached(&sql)?.execute(params![key.id, now_ms, key.content, &*key.receipt])?;
        let sql = "UPDATE key_sets SET keys = keys + 1, bytes = bytes + ?2 WHERE number = ?1";
        connection.prepare_cached(sql)?.execute([number, bytes])?;
        Ok(Appended::New)
    }

    /// Drops the sets whose keys are all over.
    pub(super) fn drop_old(&mut self, connection: &Connection, now_ms: i64) -> Result<()> {
        while let Some(oldest) = self.sets.first().filter(|oldest| oldest.is_over(now_ms)) {
            let transaction = connection.unchecked_transaction()?;
            drop_set(&transaction, oldest.number)?;
            transaction.commit()?;
            self.sets.remove(0);
        }
        Ok(())
    }

    /// The set that takes the next key, of so many bytes.
    fn set_to_fill(&mut self, connection: &Connection, window_ms: i64, bytes: i64, now_ms: i64) -> Result<i64> {
        let bytes_max = self.set_bytes_max;
        if let Some(latest) = self.sets.last_mut().filter(|latest| !latest.is_filled(bytes_max, window_ms, now_ms)) {
            latest.keys += 1;
            latest.bytes = latest.bytes.saturating_add(bytes);
            return Ok(latest.number);
        }
        while self.sets.len() >= usize::from(SETS_MAX) {
            drop_set(connection, self.sets.remove(0).number)?;
        }
        let number = self.sets.last().map_or(1, |latest| latest.number + 1);
        // A table without its set is what damage left of it.
        connection.execute_batch(&format!(
            "DROP TABLE IF EXISTS keys_{number};
             CREATE TABLE keys_{number} (
               id BLOB PRIMARY KEY, at_ms INTEGER NOT NULL, content BLOB NOT NULL, receipt BLOB NOT NULL
             ) STRICT, WITHOUT ROWID"
        ))?;
        connection.execute("INSERT INTO key_sets VALUES (?1, ?2, ?3, 0, 0)", params![number, now_ms, window_ms])?;
        self.sets.push(Set { number, opened_ms: now_ms, window_ms, keys: 1, bytes });
        Ok(number)
    }
}

fn window_ms(key: &Key) -> i64 {
    i64::try_from(key.window.as_millis()).unwrap_or(i64::MAX)
}

fn look_up(set: i64) -> String {
    format!("SELECT content, receipt FROM keys_{set} WHERE id = ?1 AND at_ms > ?2")
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
    const BYTES_MAX: u64 = 1 << 30;

    fn connection() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE key_sets (number INTEGER PRIMARY KEY, opened_ms INTEGER, window_ms INTEGER, keys INTEGER, bytes INTEGER)";
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
        let mut keys = Keys::read(&connection, BYTES_MAX).unwrap();
        for second in 0..40_i64 {
            let now_ms = 1_000_000 + second * 500;
            assert!(!is_known(&mut keys, &connection, second.unsigned_abs(), now_ms));
            let oldest = (second - 13).max(0);
            assert!(
                is_known(&mut keys, &connection, oldest.unsigned_abs(), now_ms),
                "after {} ms",
                (second - oldest) * 500
            );
            assert!(keys.sets.len() <= usize::from(SETS_MAX));
            // What was read again is the same.
            if second % 5 == 0 {
                keys = Keys::read(&connection, BYTES_MAX).unwrap();
            }
        }
        let later_ms = 1_000_000 + 39 * 500 + WINDOW_MS;
        assert!(!is_known(&mut keys, &connection, 39, later_ms));
        keys.drop_old(&connection, later_ms + 3 * WINDOW_MS).unwrap();
        assert_eq!((keys.sets.len(), tables(&connection)), (0, 0));
    }

    #[test]
    fn there_are_never_more_than_a_million_and_the_latest_are_known() {
        let connection = connection();
        let mut keys = Keys::read(&connection, BYTES_MAX).unwrap();
        for n in 0..20 {
            // A set is filled by what is written of it.
            assert!(!is_known(&mut keys, &connection, n, 5));
            keys.sets.last_mut().unwrap().keys = SET_KEYS_MAX;
        }
        assert_eq!((keys.sets.len(), tables(&connection)), (8, 8));
        assert!(is_known(&mut keys, &connection, 19, 5) && is_known(&mut keys, &connection, 12, 5));
        assert!(!is_known(&mut keys, &connection, 11, 5), "the oldest are forgotten first");
        assert_eq!(i64::from(SETS_MAX) * SET_KEYS_MAX, 1_000_000);
    }

    #[test]
    fn large_receipts_take_no_more_than_their_part_of_the_spool() {
        let connection = connection();
        let mut keys = Keys::read(&connection, 64 * 10_000).unwrap();
        let receipt = Bytes::from(vec![b'x'; 5_000]);
        for n in 0..40 {
            assert_eq!(keys.keep(&connection, &Key { receipt: receipt.clone(), ..key(n) }, 5), Ok(Appended::New));
            keys = Keys::read(&connection, 64 * 10_000).unwrap();
        }
        let bytes: i64 = keys.sets.iter().map(|set| set.bytes).sum();
        assert!((60_000..100_000).contains(&bytes), "{bytes}");
        assert!(is_known(&mut keys, &connection, 39, 5) && !is_known(&mut keys, &connection, 10, 5));
    }

    #[test]
    fn a_window_that_changes_to_and_fro_forgets_no_key() {
        let connection = connection();
        let mut keys = Keys::read(&connection, BYTES_MAX).unwrap();
        for n in 0..50 {
            let window = Duration::from_millis(if n % 2 == 0 { 7_000 } else { 14_000 });
            assert_eq!(keys.keep(&connection, &Key { window, ..key(n) }, 5), Ok(Appended::New));
        }
        assert!((0..50).all(|n| is_known(&mut keys, &connection, n, 5)));
        assert_eq!(keys.sets.len(), 2, "one for the longer window");
    }

    #[test]
    fn a_key_is_looked_up_by_an_index() {
        let connection = connection();
        let mut keys = Keys::read(&connection, BYTES_MAX).unwrap();
        assert!(!is_known(&mut keys, &connection, 1, 5));
        super::super::contract::assert_by_index(&connection, &look_up(1));
    }

    #[test]
    fn a_clock_that_is_set_back_loses_no_key() {
        let connection = connection();
        let mut keys = Keys::read(&connection, BYTES_MAX).unwrap();
        assert!(!is_known(&mut keys, &connection, 1, 1_000_000));
        assert!(!is_known(&mut keys, &connection, 2, 900_000));
        assert!(is_known(&mut keys, &connection, 1, 900_001) && is_known(&mut keys, &connection, 2, 900_001));
    }
}
