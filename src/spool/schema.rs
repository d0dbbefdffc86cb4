//! The database of a disk spool: its tables, its settings and how it is opened.
//!
//! | table | holds |
//! |---|---|
//! | `webhooks` | each webhook's number and its kept counters |
//! | `events` | each event that a delivery or a dead letter needs; `fanout` says how many it had at first; `trace` is the one that it came with, nothing where it came with none |
//! | `deliveries` | what is pending; `due` is 0 before the first attempt, else wall-clock milliseconds, and never for what waits for the one before it in its lane |
//! | `owed` | for an event of more than one webhook: how many deliveries and dead letters still need it |
//! | `dead` | dead letters, numbered in the order in which they died; no number is given twice |
//! | `invocations` | records of failed invocations, numbered by when they ended; they hold their own text and need no event |
//! | `key_sets`, `keys_N` | idempotency keys, in sets of which the oldest is dropped whole |
//! | `journal` | one row: up to which group the journal is in these tables, and the salt of its groups |
//!
//! Pages that are freed are used again; the file itself does not shrink and does not grow past the spool's limit.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension};

use super::disk::OpenError;
use super::journal::Mark;

/// The database's file in the spool's directory.
pub(super) const DATABASE: &str = "spool.db";
/// Marks a database as ours: "OUTR".
const APPLICATION_ID: i64 = 0x4F55_5452;
/// The version of the tables below.
const SCHEMA_VERSION: i64 = 5;
/// The version that brought traces.
const SCHEMA_VERSION_TRACES: i64 = 4;
/// The oldest version that is opened, which did not know traces.
const SCHEMA_VERSION_MIN: i64 = 3;
/// How long to wait for somebody else who looks into the file, for example the `sqlite3` shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// `SQLite`'s page size, and so the unit of its log.
pub(super) const PAGE_BYTES: u64 = 4096;
/// The log is written back after this many pages: 4 MiB, so that no commit waits long for it.
const CHECKPOINT_PAGES_MAX: u64 = 1000;
/// A small spool writes it back earlier, or the log would take all of its room.
const CHECKPOINT_PAGES_MIN: u64 = 16;
/// The part of the spool's limit that the log may take.
const LOG_SHARE: u64 = 16;
/// `SQLite`'s page cache for the writer, in KiB.
const WRITER_CACHE_KIB: i64 = 4096;
/// `SQLite`'s page cache for the reader, in KiB.
const READER_CACHE_KIB: i64 = 1024;

const TABLES: &str = "
CREATE TABLE webhooks (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, pending INTEGER NOT NULL, dead INTEGER NOT NULL
) STRICT;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, id BLOB NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL, received_ms INTEGER NOT NULL,
  fanout INTEGER NOT NULL, payload BLOB NOT NULL, trace TEXT
) STRICT;
CREATE TABLE deliveries (
  webhook INTEGER NOT NULL, due INTEGER NOT NULL, seq INTEGER NOT NULL, attempts INTEGER NOT NULL, lane INTEGER NOT NULL,
  since_ms INTEGER NOT NULL, failing_ms INTEGER NOT NULL, last TEXT,
  PRIMARY KEY (webhook, due, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX deferred ON deliveries (webhook, seq) WHERE due > 0 AND since_ms = 0;
CREATE INDEX replayed ON deliveries (webhook, since_ms, seq) WHERE since_ms > 0;
CREATE INDEX lanes ON deliveries (webhook, lane, seq) WHERE lane <> 0;
CREATE TABLE owed (seq INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;
CREATE TABLE dead (
  number INTEGER PRIMARY KEY AUTOINCREMENT, webhook INTEGER NOT NULL, seq INTEGER NOT NULL, event BLOB, died_ms INTEGER NOT NULL,
  reason TEXT NOT NULL, attempts INTEGER NOT NULL, last TEXT
) STRICT;
CREATE INDEX dead_events ON dead (event, webhook);
CREATE INDEX dead_webhooks ON dead (webhook);
CREATE INDEX dead_ages ON dead (died_ms);
CREATE TABLE invocations (
  number INTEGER PRIMARY KEY, webhook INTEGER NOT NULL, event BLOB NOT NULL, reason TEXT, request TEXT, bytes INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX invocations_webhooks ON invocations (webhook, number, bytes);
CREATE INDEX invocations_events ON invocations (event);
CREATE INDEX invocations_requests ON invocations (request) WHERE request IS NOT NULL;
CREATE TABLE key_sets (
  number INTEGER PRIMARY KEY, opened_ms INTEGER NOT NULL, window_ms INTEGER NOT NULL, keys INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
";

const JOURNAL: &str = "
CREATE TABLE journal (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, salt INTEGER NOT NULL) STRICT;
INSERT INTO journal VALUES (1, 0, 0);
";

/// Whether a directory holds a spool, for those who must not make one by looking. Where this user may not look there may be one:
/// opening it says why not.
#[must_use]
pub fn is_spool(directory: &Path) -> bool {
    match std::fs::metadata(directory.join(DATABASE)) {
        Ok(file) => file.is_file(),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// Opens the writer's connection; makes the tables in a new file.
pub(super) fn open_writer(directory: &Path, bytes_max: u64) -> Result<Connection, OpenError> {
    let path = directory.join(DATABASE);
    let failed = |error| refused(&path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;

    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed);
    let version = number("user_version")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let empty = version == 0 && tables == 0;
    if !empty && number("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign { path });
    }
    if version > SCHEMA_VERSION {
        return Err(too_new(path, version));
    }
    if !empty && version < SCHEMA_VERSION_MIN {
        return Err(OpenError::Older { path, found: version, known: SCHEMA_VERSION });
    }

    let log_pages = (bytes_max / LOG_SHARE / PAGE_BYTES).clamp(CHECKPOINT_PAGES_MIN, CHECKPOINT_PAGES_MAX);
    let settings = format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{WRITER_CACHE_KIB};
         PRAGMA wal_autocheckpoint = {log_pages};
         PRAGMA journal_size_limit = {};",
        log_pages * PAGE_BYTES
    );
    connection.execute_batch(&settings).map_err(failed)?;
    if empty {
        make_tables(&connection).map_err(failed)?;
    } else if version < SCHEMA_VERSION {
        let upgrade = connection.unchecked_transaction().map_err(failed)?;
        upgrade_tables(&upgrade).map_err(failed)?;
        upgrade.commit().map_err(failed)?;
    }
    Ok(connection)
}

/// Whether a database is of ours and of a version that is opened.
pub(super) fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    Ok(number("application_id")? == APPLICATION_ID
        && (SCHEMA_VERSION_MIN..=SCHEMA_VERSION).contains(&number("user_version")?))
}

/// The version of a database of ours that is newer than this program; `None` of any other, or where it cannot be read.
pub(super) fn newer(connection: &Connection) -> Option<i64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).ok();
    number("user_version")
        .filter(|version| *version > SCHEMA_VERSION && number("application_id") == Some(APPLICATION_ID))
}

/// That a database is newer than this program.
pub(super) fn too_new(path: PathBuf, found: i64) -> OpenError {
    OpenError::Newer { path, found, known: SCHEMA_VERSION }
}

/// Makes the tables of an older version those of this one. No row is touched. Whoever calls has begun a transaction.
pub(super) fn upgrade_tables(connection: &Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < SCHEMA_VERSION_TRACES {
        connection.execute_batch("ALTER TABLE events ADD COLUMN trace TEXT")?;
    }
    if version < SCHEMA_VERSION {
        connection.execute_batch(&format!("{JOURNAL} PRAGMA user_version = {SCHEMA_VERSION};"))?;
    }
    Ok(())
}

/// Makes the tables in an empty database.
pub(super) fn make_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} {JOURNAL} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    ))
}

/// Opens the connection that refills and lists while the writer writes.
pub(super) fn open_reader(directory: &Path) -> Result<Connection, OpenError> {
    let path = directory.join(DATABASE);
    let failed = |error| refused(&path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection
        .execute_batch(&format!("PRAGMA query_only = ON; PRAGMA cache_size = -{READER_CACHE_KIB};"))
        .map_err(failed)?;
    Ok(connection)
}

/// The file of `SQLite`'s log.
pub(super) fn log_file(directory: &Path) -> PathBuf {
    directory.join(format!("{DATABASE}-wal"))
}

/// Up to where the journal was taken over; `None` where nobody can say any more.
pub(super) fn mark(connection: &Connection) -> rusqlite::Result<Option<Mark>> {
    connection
        .query_row("SELECT number, salt FROM journal WHERE one = 1", [], |row| {
            Ok(Mark { number: row.get(0)?, salt: row.get(1)? })
        })
        .optional()
}

/// What an error of `SQLite` while opening means.
pub(super) fn refused(path: &Path, error: Error) -> OpenError {
    let path = path.to_owned();
    // A statement or a column that is not understood says that the tables are not what they were.
    let damaged = match &error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => true,
        error => matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::Unknown
            )
        ),
    };
    if damaged { OpenError::Corrupt { path, detail: error.to_string() } } else { OpenError::Database { path, error } }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::super::contract::{batch, counters, inside, lease_all, name, number, open};
    use super::super::{Reason, recover};
    use super::*;

    /// Makes the tables those of the version before traces.
    fn age(directory: &Path) {
        inside(directory)
            .execute_batch(
                "ALTER TABLE events DROP COLUMN trace; DROP TABLE journal; PRAGMA user_version = 3; PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_an_older_version_wrote_is_opened_and_nothing_is_lost() {
        let directory = TempDir::new().unwrap();
        let spool = open(directory.path());
        spool.append(batch(1..=40, &["a", "b"])).await.unwrap();
        spool.append(batch(41..=45, &["dead"])).await.unwrap();
        spool.bury(&name("dead"), Reason::Expired, None).await.unwrap();
        drop(spool);
        age(directory.path());
        // Who looks whether it is damaged leaves it as it is.
        let database = directory.path().join("spool").join(DATABASE);
        let before = fs::read(&database).unwrap();
        assert_eq!(recover(&directory.path().join("spool")).unwrap(), None);
        assert!(before == fs::read(&database).unwrap());

        let spool = open(directory.path());
        spool.append(batch(46..=46, &["a"])).await.unwrap();
        let leases = lease_all(&*spool, "a", 41).await;
        assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), (1..=40).chain([46]).collect::<Vec<_>>());
        assert!(leases.iter().all(|lease| lease.event.trace().is_none()));
        assert_eq!((counters(&*spool, "b"), counters(&*spool, "dead")), ((40, 0), (0, 5)));
        drop((leases, spool));
        assert_eq!(counters(&*open(directory.path()), "a"), (41, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_written_before_there_was_a_journal_is_opened() {
        let directory = TempDir::new().unwrap();
        open(directory.path()).append(batch(1..=5, &["a"])).await.unwrap();
        inside(directory.path()).execute_batch("DROP TABLE journal; PRAGMA user_version = 4").unwrap();
        for _ in 0..2 {
            let leases = lease_all(&*open(directory.path()), "a", 5).await;
            assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        }
        assert_eq!(mark(&inside(directory.path())).unwrap().map(|mark| mark.salt != 0), Some(true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_an_older_version_wrote_and_damage_struck_is_saved() {
        let directory = TempDir::new().unwrap();
        open(directory.path()).append(batch(1..=5, &["a"])).await.unwrap();
        age(directory.path());
        inside(directory.path()).execute_batch("UPDATE webhooks SET pending = 0").unwrap();
        let recovered = recover(&directory.path().join("spool")).unwrap().unwrap();
        assert_eq!((recovered.pending, recovered.dead), (5, 0));
        assert_eq!(
            lease_all(&*open(directory.path()), "a", 5).await.iter().map(number).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5]
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_no_release_wrote_is_refused() {
        let directory = TempDir::new().unwrap();
        drop(open(directory.path()));
        inside(directory.path()).execute_batch("PRAGMA user_version = 2").unwrap();
        let refused = open_writer(&directory.path().join("spool"), 1 << 30).map(drop);
        assert!(matches!(refused, Err(OpenError::Older { found: 2, known: 5, .. })), "{refused:?}");
    }
}
