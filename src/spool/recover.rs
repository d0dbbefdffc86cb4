//! What can be saved of a damaged spool.
//!
//! `SQLite` finds damage where it reads. So rows are read by ranges of their keys: forward up to the damage, then backward,
//! and what lies between is halved until no half has more to give. What was read goes into a new database, in which the
//! counters and the order of the lanes are made again; the damaged file is put aside, never deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Result, Statement, ToSql, params_from_iter, types::Value};

use super::disk::OpenError;
use super::ledger::BLOCKED;
use super::{lock, schema};

/// Reads that may fail before the rest of a table is given up.
const PROBES_MAX: u32 = 20_000;

/// What became of a damaged spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Pending deliveries that were saved.
    pub pending: u64,
    /// Dead letters that were saved.
    pub dead: u64,
    /// Pending deliveries that the damaged spool had counted and that were not found; `None` where its counters are lost, too.
    pub pending_lost: Option<u64>,
    /// The same of dead letters.
    pub dead_lost: Option<u64>,
    /// Where the damaged file is now.
    pub kept: PathBuf,
}

/// Saves what can be saved of the spool in a directory, if it is damaged: `None` when it is not, or when there is none.
/// Looking takes a second for a few hundred megabytes. Idempotency keys are not saved.
pub fn recover(directory: &Path) -> std::result::Result<Option<Recovered>, OpenError> {
    let _lock = lock::lock(directory)?;
    let path = directory.join(schema::DATABASE);
    if !path.exists() || is_sound(&path) {
        return Ok(None);
    }
    let made = directory.join(RECOVERED);
    let failed = |error: rusqlite::Error| schema::refused(&made, error);
    let moved = |error: io::Error| OpenError::Unwritable { path: directory.to_owned(), error };
    remove(&made).map_err(moved)?;
    let (counts, expected) = copy(&path, &made).map_err(failed)?;
    let kept = put_aside(&path, &made).map_err(moved)?;
    Ok(Some(Recovered {
        pending: counts.pending,
        dead: counts.dead,
        pending_lost: expected.map(|expected| expected.pending.saturating_sub(counts.pending)),
        dead_lost: expected.map(|expected| expected.dead.saturating_sub(counts.dead)),
        kept,
    }))
}

/// The name of the new database until it takes the place of the damaged one.
const RECOVERED: &str = "spool.db.recovered";

/// Ends a recovery that was broken off between its last two steps: the damaged file is aside, and the new one is whole.
pub(super) fn finish(directory: &Path) -> io::Result<()> {
    let (path, made) = (directory.join(schema::DATABASE), directory.join(RECOVERED));
    if !path.exists() && made.exists() { fs::rename(made, path) } else { Ok(()) }
}

/// Whether `SQLite` finds no fault in all that it has, which says more than that it can be opened.
fn is_sound(path: &Path) -> bool {
    let look = || -> Result<bool> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok(said == "ok")
    };
    look().unwrap_or(false)
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    pending: u64,
    dead: u64,
}

/// Makes a new database of what can be read; what was saved, and what the old one had counted.
fn copy(old: &Path, new: &Path) -> Result<(Counts, Option<Counts>)> {
    let mut to = Connection::open(new)?;
    to.execute_batch("PRAGMA page_size = 4096; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF")?;
    schema::make_tables(&to)?;
    let transaction = to.transaction()?;
    let mut expected = None;
    // A file whose very head is damaged gives nothing.
    if let Ok(from) = Connection::open_with_flags(old, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        expected = copy_rows(&from, &transaction)?;
    }
    let counts = mend(&transaction)?;
    transaction.commit()?;
    to.close().map_err(|(_, error)| error)?;
    Ok((counts, expected))
}

fn copy_rows(from: &Connection, to: &Connection) -> Result<Option<Counts>> {
    let expected = from
        .query_row("SELECT coalesce(sum(pending), 0), coalesce(sum(dead), 0) FROM webhooks", [], |row| {
            let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
            Ok(Counts { pending: count(0)?, dead: count(1)? })
        })
        .ok();
    table(from, to, "webhooks", 4, "id", "1")?;
    table(from, to, "events", 7, "seq", "1")?;
    table(from, to, "dead", 8, "number", "1")?;
    let mut ids = to.prepare("SELECT id FROM webhooks")?;
    for id in ids.query_map([], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>>>()? {
        // Each webhook has its rows together: the fresh ones by number, then the others by when they are due.
        table(from, to, "deliveries", 8, "seq", &format!("webhook = {id} AND due = 0"))?;
        table(from, to, "deliveries", 8, "due", &format!("webhook = {id} AND due > 0"))?;
    }
    Ok(expected)
}

/// Copies the rows of a table that can be read, by a key in whose order the table lies.
fn table(from: &Connection, to: &Connection, name: &str, columns: usize, key: &str, of: &str) -> Result<()> {
    let places = vec!["?"; columns].join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {name} VALUES ({places})"))?;
    let scan = |order: &str| {
        from.prepare(&format!(
            "SELECT {key}, * FROM {name} WHERE {of} AND {key} >= ?1 AND {key} <= ?2 ORDER BY {key} {order}"
        ))
    };
    // A table whose definition is damaged cannot even be asked.
    let (Ok(mut forward), Ok(mut backward)) = (scan("ASC"), scan("DESC")) else { return Ok(()) };
    let mut probes = PROBES_MAX;
    let mut ranges = vec![(0, i64::MAX)];
    while let Some((mut low, mut high)) = ranges.pop() {
        let (last, whole) = read(&mut forward, &mut insert, columns, low, high)?;
        low = last.map_or(low, |last| last.saturating_add(1));
        if whole || low > high {
            continue;
        }
        let (first, whole) = read(&mut backward, &mut insert, columns, low, high)?;
        high = first.map_or(high, |first| first.saturating_sub(1));
        probes = probes.saturating_sub(1);
        if whole || low >= high || probes == 0 {
            continue;
        }
        let middle = low + (high - low) / 2;
        ranges.push((low, middle));
        ranges.push((middle.saturating_add(1), high));
    }
    Ok(())
}

/// Copies rows until the end of the range or the damage: the key of the last one, and whether it was the end. The error is
/// the new database's.
fn read(
    scan: &mut Statement<'_>,
    insert: &mut Statement<'_>,
    columns: usize,
    low: i64,
    high: i64,
) -> Result<(Option<i64>, bool)> {
    let mut last = None;
    let Ok(mut rows) = scan.query([low, high]) else { return Ok((last, false)) };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok((last, true)),
            Err(_) => return Ok((last, false)),
        };
        let key = row.get::<_, i64>(0);
        let values: Result<Vec<Value>> = (1..=columns).map(|column| row.get(column)).collect();
        let (Ok(key), Ok(values)) = (key, values) else { return Ok((last, false)) };
        last = Some(key);
        // A row that breaks the rules of the table is damaged itself.
        let _ = insert.execute(params_from_iter(values.iter().map(|value| value as &dyn ToSql)));
    }
}

/// Takes out what misses its other half, and makes again what can be made of the rest.
fn mend(to: &Connection) -> Result<Counts> {
    to.execute_batch(&format!(
        "DELETE FROM deliveries WHERE seq NOT IN (SELECT seq FROM events);
         DELETE FROM dead WHERE seq NOT IN (SELECT seq FROM events) OR webhook NOT IN (SELECT id FROM webhooks);
         DELETE FROM dead WHERE EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook = dead.webhook AND d.seq = dead.seq);
         CREATE TEMP TABLE needed AS
           SELECT seq, count(*) AS n FROM (SELECT seq FROM deliveries UNION ALL SELECT seq FROM dead) GROUP BY seq;
         CREATE UNIQUE INDEX temp.needed_seq ON needed (seq);
         DELETE FROM events WHERE seq NOT IN (SELECT seq FROM needed);
         UPDATE events SET fanout = (SELECT n FROM needed WHERE needed.seq = events.seq);
         INSERT INTO owed SELECT seq, n FROM needed WHERE n > 1;
         UPDATE deliveries SET due = 1 WHERE due = {BLOCKED} AND lane <> 0 AND seq =
           (SELECT min(d.seq) FROM deliveries d WHERE d.webhook = deliveries.webhook AND d.lane = deliveries.lane AND d.lane <> 0);
         UPDATE webhooks SET pending = (SELECT count(*) FROM deliveries WHERE webhook = id),
           dead = (SELECT count(*) FROM dead WHERE webhook = id);
         DROP TABLE needed;"
    ))?;
    to.query_row("SELECT coalesce(sum(pending), 0), coalesce(sum(dead), 0) FROM webhooks", [], |row| {
        let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(Counts { pending: count(0)?, dead: count(1)? })
    })
}

/// Puts the damaged files aside under a name with the time, and the new one in their place.
fn put_aside(path: &Path, made: &Path) -> io::Result<PathBuf> {
    let seconds = Timestamp::now().as_second();
    let kept = path.with_file_name(format!("{}.damaged-{seconds}", schema::DATABASE));
    for ending in ["-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        if with(path).exists() {
            fs::rename(with(path), with(&kept))?;
        }
    }
    fs::rename(path, &kept)?;
    fs::rename(made, path)?;
    // The names are as durable as the directory.
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(kept)
}

fn remove(path: &Path) -> io::Result<()> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(format!("{}{ending}", path.display())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::io::{Seek, SeekFrom, Write};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::super::contract::{batch, counters, deferred, event, lease, lease_all, name, number, options};
    use super::super::{Batch, DiskSpool, Found, Lane, Owed, Spool};
    use super::*;
    use crate::delivery::Reason;

    const EVENTS: u64 = 3000;

    /// A spool with fresh, deferred, blocked and dead ones; closed.
    async fn filled(directory: &Path) {
        let spool = DiskSpool::open(options(directory)).unwrap();
        for first in (1..=EVENTS).step_by(100) {
            spool.append(batch(first..first + 100, &["a", "b"])).await.unwrap();
        }
        for n in 10_001..=10_050 {
            let owed = Owed { webhook: name("c"), lane: Some(Lane::WHOLE) };
            spool.append(Batch { events: vec![(event(n), vec![owed])], key: None }).await.unwrap();
        }
        for lease in lease_all(&spool, "a", 500).await {
            spool.settle(lease, deferred(Duration::from_hours(1), 1)).await;
        }
        spool.append(batch(20_001..=20_300, &["dead"])).await.unwrap();
        spool.bury(&name("dead"), Reason::Expired, None).await.unwrap();
        drop(spool);
        // Whatever is in the log lies in the file now, so that damage to the file is damage.
        let connection = Connection::open(directory.join("spool/spool.db")).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }

    /// Writes rubbish over pages of the file.
    fn damage(path: &Path, pages: impl IntoIterator<Item = u64>) {
        let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
        for page in pages {
            file.seek(SeekFrom::Start(page * 4096)).unwrap();
            file.write_all(&[0xA5; 4096]).unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_sound_is_left_as_it_is() {
        let directory = TempDir::new().unwrap();
        let spool = directory.path().join("spool");
        assert_eq!(recover(&spool).unwrap(), None, "there is none");
        filled(directory.path()).await;
        let before = fs::read(spool.join("spool.db")).unwrap();
        assert_eq!(recover(&spool).unwrap(), None);
        assert!(before == fs::read(spool.join("spool.db")).unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn most_is_saved_where_a_little_is_damaged_and_the_rest_is_counted() {
        let directory = TempDir::new().unwrap();
        filled(directory.path()).await;
        let path = directory.path().join("spool");
        let pages = fs::metadata(path.join("spool.db")).unwrap().len() / 4096;
        damage(&path.join("spool.db"), (20..pages).step_by(40));
        let recovered = recover(&path).unwrap().expect("it is damaged");
        let pending = 2 * EVENTS + 50;
        assert_eq!(recovered.pending + recovered.pending_lost.unwrap(), pending, "{recovered:?}");
        assert_eq!(recovered.dead + recovered.dead_lost.unwrap(), 300, "{recovered:?}");
        assert!(recovered.pending > pending * 8 / 10 && recovered.pending < pending, "{recovered:?}");
        assert!(recovered.kept.exists());

        let spool = DiskSpool::open(options(directory.path())).unwrap();
        assert_eq!(spool.found(), Found { pending: recovered.pending, dead: recovered.dead, dropped: 0 });
        assert!(recover(&path).is_err_and(|error| error.to_string().contains("in use")));
        // What was saved is what it was, and comes to its end; a lane whose first was lost goes on.
        let (saved, _) = counters(&spool, "b");
        let mut last = 0;
        for lease in lease_all(&spool, "b", usize::try_from(saved).unwrap()).await {
            assert!(number(&lease) > last);
            last = number(&lease);
        }
        let mut in_lane = counters(&spool, "c").0;
        while in_lane > 0 {
            let next = lease(&spool, "c", 10).await.pop().unwrap();
            spool.settle(next, super::super::Settlement::Delivered).await;
            in_lane -= 1;
        }
        drop(spool);
        assert_eq!(recover(&path).unwrap(), None, "it is sound now");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_gives_nothing_is_put_aside_all_the_same() {
        let directory = TempDir::new().unwrap();
        filled(directory.path()).await;
        let path = directory.path().join("spool");
        fs::write(path.join("spool.db"), "rubbish".repeat(4000)).unwrap();
        let recovered = recover(&path).unwrap().expect("it is damaged");
        assert_eq!((recovered.pending, recovered.dead), (0, 0));
        assert_eq!((recovered.pending_lost, recovered.dead_lost), (None, None));
        assert_eq!(fs::read(recovered.kept).unwrap().len(), 28_000);
        assert_eq!(DiskSpool::open(options(directory.path())).unwrap().found(), Found::default());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_recovery_that_was_broken_off_is_ended_by_the_next_opening() {
        let directory = TempDir::new().unwrap();
        filled(directory.path()).await;
        let path = directory.path().join("spool");
        fs::rename(path.join("spool.db"), path.join("spool.db.recovered")).unwrap();
        let spool = DiskSpool::open(options(directory.path())).unwrap();
        assert_eq!(spool.found().pending, 2 * EVENTS + 50);
    }
}
