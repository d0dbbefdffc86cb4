//! What can be saved of a damaged spool.
//!
//! `SQLite` finds damage where it reads. So rows are read by ranges of their keys: forward up to the damage, then backward,
//! and what lies between is halved, all gaps in turn, until no half has more to give. What was read goes into a new database, in which the
//! counters and the order of the lanes are made again; the damaged file is put aside, never deleted.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, Result, Statement, ToSql, params, params_from_iter, types::Value};

use super::disk::OpenError;
use super::journal::{self, Groups, JOURNAL, Mark};
use super::ledger::{BLOCKED, Ledger};
use super::stored::{NUMBER_MAX, Stored};
use super::young::Made;
use super::{lock, replay, schema};

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
/// Looking takes a second for a few hundred megabytes. Records of failed invocations are saved as far as they can be read and are not
/// counted: they are owed to nobody. Idempotency keys are not saved. A file that cannot be looked at, or that
/// a newer version wrote, is an error, and is left as it is.
pub fn recover(directory: &Path) -> std::result::Result<Option<Recovered>, OpenError> {
    let _lock = lock::lock(directory)?;
    let path = directory.join(schema::DATABASE);
    if !path.exists() || is_sound(&path).map_err(|error| schema::refused(&path, error))? {
        return Ok(None);
    }
    if let Some(found) = Connection::open_with_flags(&path, OLD).ok().and_then(|old| schema::newer(&old)) {
        return Err(schema::too_new(path, found));
    }
    let made = directory.join(RECOVERED);
    let moved = |error: io::Error| OpenError::Unwritable { path: directory.to_owned(), error };
    remove(&made).map_err(moved)?;
    let (counts, expected) = copy(directory, &path, &made)?;
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
    if !path.exists() && made.exists() { put_in_place(&path, &made, &aside(&path)) } else { Ok(()) }
}

/// How the damaged file is opened: its log may have to be gone through.
const OLD: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE;

/// Whether `SQLite` finds no fault in all that it has, which says more than that it can be opened, and opening finds none in what
/// it reads. That it may not look, or has no room to, is no fault of the file.
fn is_sound(path: &Path) -> Result<bool> {
    let look = || -> Result<bool> {
        let connection = Connection::open_with_flags(path, OLD)?;
        let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        // Whose it is, where it is not ours, is for opening to say.
        if said == "ok" && schema::is_ours(&connection)? {
            // What an older version wrote is looked at as it will be, and left as it is.
            let look = connection.unchecked_transaction()?;
            schema::upgrade_tables(&look)?;
            Stored::read(&look, &mut Ledger::new(&look)?, u64::MAX)?;
        }
        Ok(said == "ok")
    };
    look().or_else(|error| match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::DiskFull,
        ) => Err(error),
        _ => Ok(false),
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    pending: u64,
    dead: u64,
}

/// Makes a new database of what can be read and of what is in the journal; what was saved, and what the old one had counted, with what is
/// in the journal.
fn copy(directory: &Path, old: &Path, new: &Path) -> std::result::Result<(Counts, Option<Counts>), OpenError> {
    let failed = |error| schema::refused(new, error);
    // A file whose very head is damaged gives nothing.
    let from = Connection::open_with_flags(old, OLD).ok();
    // Where damage took the mark all of the journal is taken: rather is something delivered twice.
    let mark = from.as_ref().and_then(|from| schema::mark(from).ok().flatten());
    let mark = mark.filter(|mark| (0..=NUMBER_MAX).contains(&mark.number));
    let groups =
        journal::read(directory, mark).map_err(|error| OpenError::Journal { path: directory.join(JOURNAL), error })?;
    copy_all(from.as_ref(), new, groups).map_err(failed)
}

fn copy_all(from: Option<&Connection>, new: &Path, groups: Groups) -> Result<(Counts, Option<Counts>)> {
    let mut to = Connection::open(new)?;
    to.execute_batch("PRAGMA page_size = 4096; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF")?;
    schema::make_tables(&to)?;
    let transaction = to.transaction()?;
    let mut expected = from.map_or(Ok(None), |from| copy_rows(from, &transaction))?;
    mend_numbers(&transaction)?;
    let mut ledger = Ledger::new(&transaction)?;
    let young = replay::young(groups.entries, &transaction, &mut ledger, Timestamp::now().as_millisecond())?;
    young.write(&mut ledger, &Made::new())?;
    if let Some(expected) = &mut expected {
        expected.pending += young.counts().map(|(_, _, count)| count as u64).sum::<u64>();
    }
    // No group carries this salt: what the journal holds is here.
    ledger.set_mark(Mark { number: groups.last, salt: fastrand::i64(..) })?;
    drop(ledger);
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
    for (name, columns, key) in
        [("webhooks", 4, "id"), ("events", 8, "seq"), ("dead", 8, "number"), ("invocations", 7, "number")]
    {
        let scan = |order: &str| one_key(name, key, order);
        table(from, to, name, columns, scan, place(0, i64::MAX))?;
    }
    let mut ids = to.prepare("SELECT id FROM webhooks")?;
    for id in ids.query_map([], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>>>()? {
        table(from, to, "deliveries", 8, |order| of_webhook(id, order), place(i64::MAX, i64::MAX))?;
    }
    Ok(expected)
}

/// Where a row lies in its table: the two numbers of its key, the first before the second.
type Place = i128;

/// The second number of a key has so many bits.
const SECOND_BITS: u32 = i64::BITS - 1;

fn place(first: i64, second: i64) -> Place {
    (Place::from(first) << SECOND_BITS) | Place::from(second.max(0))
}

fn parts(place: Place) -> (i64, i64) {
    let number = |part: Place| i64::try_from(part).unwrap_or(i64::MAX);
    (number(place >> SECOND_BITS), number(place & Place::from(i64::MAX)))
}

/// The rows of a table with a key of one number, with that key, by their places from one to another.
fn one_key(name: &str, key: &str, order: &str) -> String {
    format!(
        "SELECT 0, {key}, * FROM {name} WHERE ?1 = ?1 AND ?3 = ?3 AND {key} >= ?2 AND {key} <= ?4 ORDER BY {key} {order}"
    )
}

/// The same of the deliveries of a webhook, which lie together.
fn of_webhook(id: i64, order: &str) -> String {
    format!(
        "SELECT due, seq, * FROM deliveries WHERE webhook = {id} AND (due, seq) >= (?1, ?2) AND (due, seq) <= (?3, ?4)
         ORDER BY due {order}, seq {order}"
    )
}

/// Copies the rows of a table that can be read, up to the last place.
fn table(
    from: &Connection,
    to: &Connection,
    name: &str,
    columns: usize,
    scan: impl Fn(&str) -> String,
    last: Place,
) -> Result<()> {
    // A table whose definition is damaged cannot even be asked.
    let (Ok(mut forward), Ok(mut backward)) = (from.prepare(&scan("ASC")), from.prepare(&scan("DESC"))) else {
        return Ok(());
    };
    // Columns that an older version did not know are at the end, and empty. Before the row stands its key, twice.
    let known = columns.min(forward.column_count().saturating_sub(2));
    let places = [vec!["?"; known], vec!["NULL"; columns - known]].concat().join(", ");
    let columns = known;
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {name} VALUES ({places})"))?;
    let mut probes = PROBES_MAX;
    // The largest gaps come first: one that gives nothing must not use up what others may ask.
    let mut ranges = VecDeque::from([(0, last)]);
    while let Some((mut low, mut high)) = ranges.pop_front() {
        let (read_to, whole) = read(&mut forward, &mut insert, columns, low, high)?;
        // Damage can put keys out of their order: a range only shrinks.
        low = read_to.map_or(low, |place| low.max(place + 1));
        if whole || low > high {
            continue;
        }
        let (read_to, whole) = read(&mut backward, &mut insert, columns, low, high)?;
        high = read_to.map_or(high, |place| high.min(place - 1));
        if whole || low >= high {
            continue;
        }
        probes = probes.saturating_sub(1);
        if probes == 0 {
            break;
        }
        let middle = low + (high - low) / 2;
        ranges.push_back((low, middle));
        ranges.push_back((middle + 1, high));
    }
    Ok(())
}

/// Copies rows until the end of the range or the damage: the place of the last one, and whether it was the end. The error is
/// the new database's.
fn read(
    scan: &mut Statement<'_>,
    insert: &mut Statement<'_>,
    columns: usize,
    low: Place,
    high: Place,
) -> Result<(Option<Place>, bool)> {
    let mut last = None;
    let (low, high) = (parts(low), parts(high));
    let Ok(mut rows) = scan.query(params![low.0, low.1, high.0, high.1]) else { return Ok((last, false)) };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok((last, true)),
            Err(_) => return Ok((last, false)),
        };
        let key = (row.get(0), row.get(1));
        let values: Result<Vec<Value>> = (2..columns + 2).map(|column| row.get(column)).collect();
        let ((Ok(first), Ok(second)), Ok(values)) = (key, values) else { return Ok((last, false)) };
        last = Some(place(first, second));
        // A row that breaks the rules of the table is damaged itself.
        let _ = insert.execute(params_from_iter(values.iter().map(|value| value as &dyn ToSql)));
    }
}

/// Takes out events and webhooks with numbers that no spool gives, and counters that may be any number: what the journal adds is numbered
/// behind what is left and counted with it.
fn mend_numbers(to: &Connection) -> Result<()> {
    to.execute_batch(&format!(
        "DELETE FROM events WHERE seq NOT BETWEEN 1 AND {NUMBER_MAX} OR length(id) <> 16;
         DELETE FROM webhooks WHERE id NOT BETWEEN 1 AND {NUMBER_MAX};
         UPDATE webhooks SET pending = 0, dead = 0;"
    ))
}

/// Takes out what else makes no sense or misses its other half, and makes again what can be made of the rest.
fn mend(to: &Connection) -> Result<Counts> {
    to.execute_batch(&format!(
        "DELETE FROM dead WHERE number NOT BETWEEN 1 AND {NUMBER_MAX};
         DELETE FROM invocations WHERE number NOT BETWEEN 1 AND {NUMBER_MAX} OR webhook NOT IN (SELECT id FROM webhooks);
         DELETE FROM deliveries WHERE seq NOT IN (SELECT seq FROM events) OR due NOT BETWEEN 0 AND {BLOCKED};
         UPDATE deliveries SET attempts = 0 WHERE attempts NOT BETWEEN 0 AND {};
         UPDATE dead SET attempts = 0 WHERE attempts NOT BETWEEN 0 AND {};
         DELETE FROM dead WHERE seq NOT IN (SELECT seq FROM events) OR webhook NOT IN (SELECT id FROM webhooks);
         DELETE FROM dead WHERE (webhook, seq) IN (SELECT webhook, seq FROM deliveries);
         UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(number), 0) FROM dead) WHERE name = 'dead';
         CREATE TEMP TABLE needed AS
           SELECT seq, count(*) AS n FROM (SELECT seq FROM deliveries UNION ALL SELECT seq FROM dead) GROUP BY seq;
         CREATE UNIQUE INDEX temp.needed_seq ON needed (seq);
         DELETE FROM events WHERE seq NOT IN (SELECT seq FROM needed);
         UPDATE events SET fanout = (SELECT n FROM needed WHERE needed.seq = events.seq);
         DELETE FROM owed;
         INSERT INTO owed SELECT seq, n FROM needed WHERE n > 1;
         UPDATE deliveries SET due = 1 WHERE due = {BLOCKED} AND lane <> 0 AND seq =
           (SELECT min(d.seq) FROM deliveries d WHERE d.webhook = deliveries.webhook AND d.lane = deliveries.lane AND d.lane <> 0);
         UPDATE webhooks SET pending = (SELECT count(*) FROM deliveries WHERE webhook = id),
           dead = (SELECT count(*) FROM dead WHERE webhook = id);
         DROP TABLE needed;",
        u32::MAX,
        u32::MAX
    ))?;
    to.query_row("SELECT coalesce(sum(pending), 0), coalesce(sum(dead), 0) FROM webhooks", [], |row| {
        let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(Counts { pending: count(0)?, dead: count(1)? })
    })
}

/// Puts the damaged file aside under a name with the time, and the new one in its place.
fn put_aside(path: &Path, made: &Path) -> io::Result<PathBuf> {
    let kept = aside(path);
    // First: without its log it would be another one, for whoever starts next.
    fs::rename(path, &kept)?;
    put_in_place(path, made, &kept)?;
    Ok(kept)
}

fn aside(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}.damaged-{}", schema::DATABASE, Timestamp::now().as_second()))
}

/// Puts the log of the damaged file aside as well, which is not that of the new one, and the new one in its place.
fn put_in_place(path: &Path, made: &Path, kept: &Path) -> io::Result<()> {
    for ending in ["-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        if with(path).exists() {
            fs::rename(with(path), with(kept))?;
        }
    }
    fs::rename(made, path)?;
    // The names are as durable as the directory.
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
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
    use super::super::history::record;
    use super::super::{Batch, DiskSpool, Found, InvocationQuery, Lane, Owed, Settlement, Spool};
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
        let first = Timestamp::now().as_microsecond().unsigned_abs();
        for (lease, n) in lease_all(&spool, "a", 500).await.into_iter().zip(first..) {
            let mut settlement = deferred(Duration::from_hours(1), 1);
            if let Settlement::Defer { record: kept, .. } = &mut settlement {
                *kept = Some(Box::new(record(n, 1000)));
            }
            spool.settle(lease, settlement).await;
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
        // Pages of events and of deliveries are among them, and one of records, whose number stands at the end of the head of their root.
        let file = fs::read(path.join("spool.db")).unwrap();
        let root: u32 = Connection::open(path.join("spool.db"))
            .unwrap()
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'invocations'", [], |row| row.get(0))
            .unwrap();
        let root = &file[(root as usize - 1) * 4096..][..12];
        assert_eq!(root[0], 5, "there are many pages of records");
        let records = u64::from(u32::from_be_bytes(root[8..].try_into().unwrap())) - 1;
        damage(&path.join("spool.db"), (24..pages).step_by(40).chain([records]));
        let recovered = recover(&path).unwrap().expect("it is damaged");
        let pending = 2 * EVENTS + 50;
        assert_eq!(recovered.pending + recovered.pending_lost.unwrap(), pending, "{recovered:?}");
        assert_eq!(recovered.dead + recovered.dead_lost.unwrap(), 300, "{recovered:?}");
        assert!(recovered.pending > pending * 8 / 10 && recovered.pending < pending, "{recovered:?}");
        assert!(recovered.kept.exists());

        let spool = DiskSpool::open(options(directory.path())).unwrap();
        assert_eq!(spool.found(), Found { pending: recovered.pending, dead: recovered.dead, dropped: 0 });
        assert!(recover(&path).is_err_and(|error| error.to_string().contains("in use")));
        let records = spool.invocations(InvocationQuery::default()).await.unwrap().invocations;
        assert!(records.len() > 300 && records.len() < 500, "{} records were saved", records.len());
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
            spool.settle(next, Settlement::Delivered).await;
            in_lane -= 1;
        }
        drop(spool);
        assert_eq!(recover(&path).unwrap(), None, "it is sound now");
    }

    /// The pages that hold rows of the deliveries and nothing else, in the order of the rows, and how many rows each holds.
    fn leaves(path: &Path) -> Vec<u64> {
        let connection = Connection::open(path).unwrap();
        let root: u32 = connection
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'deliveries'", [], |row| row.get(0))
            .unwrap();
        let file = fs::read(path).unwrap();
        let page = |number: u32| &file[(number as usize - 1) * 4096..number as usize * 4096];
        let (mut leaves, mut open) = (Vec::new(), vec![root]);
        while let Some(number) = open.pop() {
            let bytes = page(number);
            // An inner page of an index: its cells begin with the page to their left, and its head ends with the last one.
            if bytes[0] == 2 {
                let cells = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
                open.push(u32::from_be_bytes(bytes[8..12].try_into().unwrap()));
                for cell in (0..cells).rev() {
                    let at = 12 + 2 * cell;
                    let at = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
                    open.push(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
                }
            } else {
                leaves.push(u64::from(number) - 1);
            }
        }
        leaves
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_in_one_lane_is_saved_on_both_sides_of_the_damage() {
        let directory = TempDir::new().unwrap();
        let spool = DiskSpool::open(options(directory.path())).unwrap();
        let owed = Owed { webhook: name("a"), lane: Some(Lane::WHOLE) };
        let events = (1..=4000).map(|n| (event(n), vec![owed.clone()])).collect();
        spool.append(Batch { events, key: None }).await.unwrap();
        drop(spool);
        let path = directory.path().join("spool");
        let connection = Connection::open(path.join("spool.db")).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        // All but the first are due at one and the same time. Three pages are damaged, each far from the next.
        let leaves = leaves(&path.join("spool.db"));
        let doomed = [1, 2, 3].map(|quarter| leaves[leaves.len() * quarter / 4]);
        damage(&path.join("spool.db"), doomed);
        let recovered = recover(&path).unwrap().expect("it is damaged");
        let per_page = 4000 / leaves.len() as u64;
        assert!(recovered.pending >= 4000 - 3 * 2 * per_page, "{recovered:?} of {} pages", leaves.len());
        assert_eq!(recovered.pending + recovered.pending_lost.unwrap(), 4000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_looked_at_or_is_newer_is_left_as_it_is() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("spool");
        fs::create_dir_all(path.join("spool.db")).unwrap();
        assert!(matches!(recover(&path), Err(OpenError::Database { .. })), "a folder is no damaged file");
        assert!(path.join("spool.db").is_dir());
        fs::remove_dir(path.join("spool.db")).unwrap();

        filled(directory.path()).await;
        let connection = Connection::open(path.join("spool.db")).unwrap();
        connection.execute_batch("PRAGMA user_version = 9; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        drop(connection);
        let pages = fs::metadata(path.join("spool.db")).unwrap().len() / 4096;
        damage(&path.join("spool.db"), (20..pages).step_by(10));
        let before = fs::read(path.join("spool.db")).unwrap();
        assert!(matches!(recover(&path), Err(OpenError::Newer { found: 9, .. })));
        assert!(before == fs::read(path.join("spool.db")).unwrap());
    }

    #[test]
    fn what_damage_made_of_numbers_is_taken_out() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO webhooks VALUES (1, 'a', 9, 9), (9223372036854775807, 'b', 1, 0);
                 INSERT INTO events SELECT value, zeroblob(16), 'request', 'T', 1, 1, x'7b7d', NULL FROM
                   (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3 UNION SELECT -4 UNION SELECT 9223372036854775807);
                 UPDATE events SET id = x'00' WHERE seq = 3;
                 INSERT INTO invocations SELECT value, 1 + value / 3, x'', 'r', NULL, 1, '' FROM
                   (SELECT -1 AS value UNION SELECT 2 UNION SELECT 3 UNION SELECT 9223372036854775807);
                 INSERT INTO deliveries SELECT 1, 0, seq, -1, 0, 0, 0, NULL FROM events;
                 UPDATE deliveries SET due = -5 WHERE seq = 2;",
            )
            .unwrap();
        mend_numbers(&connection).unwrap();
        assert_eq!(mend(&connection).unwrap().pending, 1);
        let left: (i64, i64, i64) = connection
            .query_row(
                "SELECT max(seq), (SELECT attempts FROM deliveries), (SELECT max(id) FROM webhooks) FROM events",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!(left, (1, 0, 1));
        let records: i64 = connection.query_row("SELECT sum(number) FROM invocations", [], |row| row.get(0)).unwrap();
        assert_eq!(records, 2);
    }

    #[test]
    fn a_scan_is_made_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        for order in ["ASC", "DESC"] {
            super::super::contract::assert_by_index(&connection, &one_key("events", "seq", order));
            super::super::contract::assert_by_index(&connection, &of_webhook(3, order));
        }
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
        fs::write(path.join("spool.db-wal"), "of the damaged one").unwrap();
        let spool = DiskSpool::open(options(directory.path())).unwrap();
        assert_eq!(spool.found().pending, 2 * EVENTS + 50);
        let files = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let kept: Vec<_> = files.filter(|file| file.contains("damaged")).collect();
        assert!(kept.len() == 1 && kept[0].ends_with("-wal"), "{kept:?}");
    }
}
