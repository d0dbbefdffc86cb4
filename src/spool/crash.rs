//! What opening finds: after crashes, in use by another, damaged, of another program.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::timeout;

use super::contract::{LONG, batch, counters, deferred, lease, number, options};
use super::history::record;
use super::*;

/// Tells a child process of the test binary which directory to use.
const CHILD: &str = "OUTRIGGER_TEST_SPOOL";
/// Tells it the number of its first event.
const FIRST: &str = "OUTRIGGER_TEST_FIRST";
/// Tells it how large the journal may be.
const JOURNAL: &str = "OUTRIGGER_TEST_JOURNAL";
/// Tells it to defer one of so many, and to deliver the others.
const DEFERRED: &str = "OUTRIGGER_TEST_DEFERRED";

/// How many tasks of a child append, each one event after the other.
const APPENDERS: usize = 8;

/// How large a journal may be, and that one of so many is deferred: without a journal, with one that is emptied all the time, with one that
/// is seldom full, and with one that is emptied because it is.
const KINDS: [(u64, u64); 4] = [(0, 2), (1 << 20, 2), (1 << 20, 40), (3000, 40)];

/// Starts this test binary again, to run the one test that is a child's program.
fn child(directory: &Path, first: u64, (journal, deferred): (u64, u64)) -> Child {
    let mut program = program("a_child_appends_until_it_is_killed", directory);
    program.env(FIRST, first.to_string()).env(JOURNAL, journal.to_string()).env(DEFERRED, deferred.to_string());
    program.spawn().unwrap()
}

fn program(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("spool::crash::{test}"), "--nocapture"]).env(CHILD, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The child: says which events are acknowledged, and which are about to be settled.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_appends_until_it_is_killed() {
    use std::io::Write;
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    let told = |name| std::env::var(name).unwrap().parse().unwrap();
    let options = Options { journal_bytes_max: told(JOURNAL), ..options(Path::new(&directory)) };
    let spool: Arc<dyn Spool> = Arc::new(DiskSpool::open(options).unwrap());
    let (first, deferred_one_of) = (told(FIRST), told(DEFERRED));
    let next = Arc::new(AtomicU64::new(first));
    for _ in 0..APPENDERS {
        let (spool, next) = (Arc::clone(&spool), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, SeqCst);
                spool.append(batch([n], &["a"])).await.unwrap();
                say(format!("appended {n}"));
            }
        });
    }
    let mut recorded = spool.last_invocation();
    loop {
        for lease in lease(&*spool, "a", 4).await {
            if number(&lease).is_multiple_of(deferred_one_of) {
                // What is known of a record is its delivery's as well: both are there or neither.
                let mut settlement = deferred(Duration::from_hours(1), 1);
                if let Settlement::Defer { record: kept, .. } = &mut settlement {
                    recorded = recorded.max(Timestamp::now().as_microsecond().unsigned_abs()) + 1;
                    *kept = Some(Box::new(record(recorded, RECORDS_MAX)));
                }
                let n = number(&lease);
                spool.settle(lease, settlement).await;
                say(format!("deferred {n}"));
            } else {
                say(format!("settled {}", number(&lease)));
                spool.settle(lease, Settlement::Delivered).await;
            }
        }
    }
}

/// The child: its writer panics right behind its first commit.
#[tokio::test]
async fn a_child_whose_writer_panics() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let options = Options { commit_seen: Box::new(|_| panic!("on purpose")), ..options(Path::new(&directory)) };
    let spool = DiskSpool::open(options).unwrap();
    let _ = spool.append(batch([1], &["a"])).await;
    let _ = timeout(LONG, std::future::pending::<()>()).await;
}

#[test]
fn a_panic_of_a_spools_thread_is_a_crash_of_the_process() {
    let directory = TempDir::new().unwrap();
    let ended = program("a_child_whose_writer_panics", directory.path()).output().unwrap();
    assert!(ended.status.signal().is_some(), "it goes on without its writer: {}", ended.status);
    assert_eq!(DiskSpool::open(options(directory.path())).unwrap().found().pending, 1);
}

/// What the child said, in numbers.
#[derive(Default)]
struct Said {
    appended: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    /// How many were appended behind the first that was deferred. When it is more than there are appenders, one of them began after the
    /// deferral, so that this is committed.
    behind_deferred: Option<usize>,
}

impl Said {
    /// Reads the lines of a child until it is dead. It is killed after so many acknowledgements, and when a deferral is committed.
    fn read(&mut self, child: &mut Child, kill_after: usize) {
        let acknowledged = self.appended.len() + kill_after;
        let mut killed = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let Ok(line) = line else { break };
            // The harness prints beside the child, and a last line may be cut.
            let mut words = line.split(' ').rev();
            let (Some(Ok(n)), Some(verb)) = (words.next().map(str::parse), words.next()) else { continue };
            if verb.ends_with("appended") {
                self.appended.insert(n);
                self.behind_deferred = self.behind_deferred.map(|behind| behind + 1);
            } else if verb.ends_with("deferred") {
                self.behind_deferred.get_or_insert(0);
            } else if verb.ends_with("settled") {
                self.settled.insert(n);
            }
            let deferred = self.behind_deferred.is_some_and(|behind| behind > APPENDERS);
            if self.appended.len() >= acknowledged && deferred && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself after {} acknowledgements", self.appended.len());
    }
}

/// The numbers of all pending events of a spool's files.
fn stored(directory: &Path) -> BTreeSet<u64> {
    let connection = rusqlite::Connection::open(directory.join("spool/spool.db")).unwrap();
    let mut statement = connection.prepare("SELECT payload FROM deliveries JOIN events USING (seq)").unwrap();
    let payloads = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    payloads
        .map(|raw| serde_json::from_slice::<serde_json::Value>(&raw.unwrap()).unwrap()["n"].as_u64().unwrap())
        .collect()
}

/// Whether something was deferred; how many deferred deliveries have no record, and how many records no deferred delivery.
fn deferred_and_recorded(directory: &Path) -> (bool, i64, i64) {
    let connection = rusqlite::Connection::open(directory.join("spool/spool.db")).unwrap();
    let sql = "WITH deferred AS (SELECT id FROM deliveries JOIN events USING (seq) WHERE due > 0)
               SELECT EXISTS (SELECT 1 FROM deferred),
                 (SELECT count(*) FROM deferred WHERE id NOT IN (SELECT event FROM invocations)),
                 (SELECT count(*) FROM invocations WHERE event NOT IN (SELECT id FROM deferred))";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

#[test]
fn what_a_killed_process_acknowledged_is_there_or_was_settled() {
    for kind in KINDS {
        killed(kind);
    }
}

fn killed(kind: (u64, u64)) {
    let directory = TempDir::new().unwrap();
    let mut said = Said::default();
    for round in 0..6 {
        let mut child = child(directory.path(), 1_000_000 * (round + 1), kind);
        said.read(&mut child, 40 + 61 * usize::try_from(round).unwrap());
        let pending = {
            let spool = DiskSpool::open(options(directory.path())).unwrap();
            counters(&spool, "a").0
        };
        let stored = stored(directory.path());
        assert_eq!(
            deferred_and_recorded(directory.path()),
            (true, 0, 0),
            "a record is there with its settlement alone"
        );
        assert_eq!(stored.len() as u64, pending, "the kept counter is the truth");
        let lost: Vec<_> = said.appended.difference(&stored).filter(|n| !said.settled.contains(n)).collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        assert!(said.appended.len() > stored.intersection(&said.appended).count(), "some were settled");
    }
}

/// Copies the files of a spool that a process may be writing, so that the copy is what a crash would have left at some moment since the
/// copying began. The journal goes first: what it holds goes to the database before it is overwritten, so that of the two the database may
/// be the later one, and knows then which groups it has. The other way round groups would be missing that were overwritten in between. The
/// database's log goes after the file that it belongs to.
pub(super) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to.join("spool")).unwrap();
    for file in ["journal", "spool.db", "spool.db-wal"] {
        let (from, to) = (from.join("spool").join(file), to.join("spool").join(file));
        if file != "journal" || from.exists() {
            fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_files_at_any_moment_opens_with_all_that_was_acknowledged() {
    for (journal_bytes_max, _) in KINDS {
        copied(journal_bytes_max).await;
    }
}

async fn copied(journal_bytes_max: u64) {
    let directory = TempDir::new().unwrap();
    let options = |directory: &Path| Options { journal_bytes_max, ..options(directory) };
    let spool: Arc<dyn Spool> = Arc::new(DiskSpool::open(options(directory.path())).unwrap());
    let mut acknowledged = 0;
    for round in 0..12_u64 {
        for n in 0..=round * 3 {
            spool.append(batch([round * 1000 + n], &["a", "b"])).await.unwrap();
            acknowledged += 1;
        }
        // Nothing is written back from the log between the copies: nothing is being appended.
        let copy = TempDir::new().unwrap();
        copy_files(directory.path(), copy.path());
        // An append that was cut off: half a page of rubbish behind the log.
        if round % 2 == 0 {
            use std::io::Write;
            let log = fs::File::options().append(true).open(copy.path().join("spool/spool.db-wal"));
            log.unwrap().write_all(&[0xA5; 2048]).unwrap();
        }
        let found = DiskSpool::open(options(copy.path())).unwrap().found();
        assert_eq!(found.pending, 2 * acknowledged);
    }
}

#[test]
fn a_second_process_is_refused_with_the_first_ones_pid_until_that_is_dead() {
    let directory = TempDir::new().unwrap();
    let mut first = child(directory.path(), 0, KINDS[2]);
    let mut line = String::new();
    let mut lines = BufReader::new(first.stdout.take().unwrap());
    while !line.contains("appended") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child has to come up");
    }
    let Err(error) = DiskSpool::open(options(directory.path())) else { panic!("two processes on one spool") };
    assert!(error.to_string().contains(&format!("process {}", first.id())), "{error}");
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(DiskSpool::open(options(directory.path())).unwrap().found().pending > 0);
}

#[test]
fn a_second_spool_in_this_process_is_refused_too() {
    let directory = TempDir::new().unwrap();
    let first = DiskSpool::open(options(directory.path())).unwrap();
    let second = DiskSpool::open(options(directory.path()));
    assert!(matches!(second, Err(OpenError::Locked { pid: Some(pid), .. }) if pid == std::process::id()));
    drop(first);
    DiskSpool::open(options(directory.path())).unwrap();
}

/// Makes the files of a spool that was closed, lets `spoil` at them, and gives the message of opening them again.
fn opening(spoil: impl FnOnce(&Path)) -> String {
    let directory = TempDir::new().unwrap();
    drop(DiskSpool::open(options(directory.path())).unwrap());
    spoil(&directory.path().join("spool"));
    match DiskSpool::open(options(directory.path())) {
        Ok(_) => "opened".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn sql(directory: &Path, statements: &str) {
    rusqlite::Connection::open(directory.join("spool.db")).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 6] = [
        ("untouched", |_| {}, "opened"),
        (
            "an opening that crashed before its tables",
            |path| {
                for entry in fs::read_dir(path).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
                sql(path, "PRAGMA journal_mode = WAL");
            },
            "opened",
        ),
        ("rubbish", |path| fs::write(path.join("spool.db"), "rubbish".repeat(4000)).unwrap(), "--recover"),
        ("a newer version", |path| sql(path, "PRAGMA user_version = 7"), "version 7"),
        ("another program's", |path| sql(path, "PRAGMA application_id = 5"), "another program"),
        (
            "a file where the directory should be",
            |path| {
                fs::remove_dir_all(path).unwrap();
                fs::write(path, "").unwrap();
            },
            "`spool.path`",
        ),
    ];
    for (case, spoil, expect) in cases {
        let message = opening(spoil);
        assert!(message.contains(expect), "{case}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_event_is_dropped_and_a_damaged_one_is_handed_out_as_it_is() {
    let directory = TempDir::new().unwrap();
    let spool = DiskSpool::open(options(directory.path())).unwrap();
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    drop(spool);
    sql(
        &directory.path().join("spool"),
        "UPDATE events SET payload = x'7b' WHERE seq = 1; DELETE FROM events WHERE seq = 2",
    );
    let spool = DiskSpool::open(options(directory.path())).unwrap();
    let leases = lease(&spool, "a", 5).await;
    // Rendering it is what fails, with a reason of its own.
    assert!(leases[0].event.payload().is_err());
    assert_eq!(leases[1..].iter().map(number).collect::<Vec<_>>(), [3]);
    while counters(&spool, "a") != (2, 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
