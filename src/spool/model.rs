//! The spool against a model of it: random steps, with a crash between any two of them and writes that fail.
//!
//! The model knows of every delivery what it must be. Settlements are queued before they are written, so after a crash a
//! delivery may be what it was before its last unwritten settlement; everything else must be exactly what the model says.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::contract::{event, lease_all, name, number, options, outcome};
use super::crash::copy_files;
use super::history::record;
use super::*;

const WEBHOOKS: [&str; 2] = ["a", "b"];
/// Records that are kept of each webhook.
const KEEP: usize = 3;
/// Far enough away that no test sees it come.
const FUTURE: Duration = Duration::from_hours(1);

/// One step.
#[derive(Clone, Debug)]
enum Step {
    /// Appends so many events for the webhooks, in a lane or in none.
    Append { count: u8, webhooks: u8, lane: u8 },
    /// Appends one event with one of a few keys.
    Keyed { key: u8 },
    /// An append that cannot be written.
    Refused,
    /// Leases of a webhook.
    Lease { webhook: u8, max: u8 },
    /// Ends one of the leases that are held.
    Settle { which: u8, how: How },
    /// Makes dead letters of what was taken in before some event.
    BuryOlder { webhook: u8, part: u8 },
    /// Makes dead letters of all.
    BuryAll { webhook: u8 },
    /// Replays or forgets some of the dead letters.
    Repair { which: u8, replay: bool },
    /// Closes and opens.
    Reopen,
    /// Goes on with what a crash would leave at this moment, with rubbish behind the log.
    Crash { rubbish: bool },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Delivered,
    Soon,
    Later,
    LeaveLane,
    Bury,
    GiveBack,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        4 => Just(How::Delivered),
        2 => Just(How::Soon),
        1 => Just(How::Later),
        1 => Just(How::LeaveLane),
        2 => Just(How::Bury),
        1 => Just(How::GiveBack),
    ];
    prop_oneof![
        6 => (1..12_u8, 1..4_u8, 0..3_u8).prop_map(|(count, webhooks, lane)| Step::Append { count, webhooks, lane }),
        2 => (0..3_u8).prop_map(|key| Step::Keyed { key }),
        1 => Just(Step::Refused),
        6 => (0..2_u8, 1..6_u8).prop_map(|(webhook, max)| Step::Lease { webhook, max }),
        12 => (any::<u8>(), how).prop_map(|(which, how)| Step::Settle { which, how }),
        1 => (0..2_u8, any::<u8>()).prop_map(|(webhook, part)| Step::BuryOlder { webhook, part }),
        1 => (0..2_u8).prop_map(|webhook| Step::BuryAll { webhook }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, replay)| Step::Repair { which, replay }),
        1 => Just(Step::Reopen),
        2 => any::<bool>().prop_map(|rubbish| Step::Crash { rubbish }),
    ]
}

/// What a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending { later: bool, attempts: u32, replayed: bool, lane: u8 },
    Dead,
    Gone,
}

/// A delivery: the number of its event, its webhook.
type Id = (u64, usize);

#[derive(Default)]
struct Model {
    /// What is, once everything queued is written.
    is: BTreeMap<Id, State>,
    /// What those were, one after the other, whose last settlements may not be written yet.
    was: BTreeMap<Id, Vec<State>>,
    keys: BTreeMap<u8, Bytes>,
    last: u64,
    /// The records of each webhook that were settled with, the latest last.
    records: [Vec<u64>; 2],
    /// How many of them are written for sure.
    recorded: [usize; 2],
    /// The number of the last record.
    number: u64,
}

impl Model {
    fn pending(&self, webhook: usize) -> impl Iterator<Item = (Id, bool, u8)> {
        self.is.iter().filter(move |((_, of), _)| *of == webhook).filter_map(|(id, state)| match *state {
            State::Pending { later, lane, .. } => Some((*id, later, lane)),
            State::Dead | State::Gone => None,
        })
    }

    /// Those that a lease may give, without those that are held.
    fn eligible(&self, webhook: usize, held: &[Lease]) -> Vec<u64> {
        let mut seen = std::collections::BTreeSet::new();
        let first_of_lane: Vec<(Id, bool)> = self
            .pending(webhook)
            .filter(|(_, _, lane)| *lane == 0 || seen.insert(*lane))
            .map(|(id, later, _)| (id, later))
            .collect();
        let is_held = |n: u64| held.iter().any(|lease| number(lease) == n && *lease.webhook == *WEBHOOKS[webhook]);
        first_of_lane.into_iter().filter(|((n, _), later)| !later && !is_held(*n)).map(|((n, _), _)| n).collect()
    }

    fn change(&mut self, id: Id, state: State) {
        let was = self.is.insert(id, state).unwrap();
        self.was.entry(id).or_default().push(was);
    }

    /// Everything that was queued is written.
    fn written(&mut self) {
        self.was.clear();
        self.recorded = [0, 1].map(|webhook| self.records[webhook].len());
    }

    /// Takes over how many of a webhook's records were written, from those that are found.
    fn look_at_records(&mut self, webhook: usize, found: &[u64]) {
        let records = &mut self.records[webhook];
        let latest = |count: usize| &records[count.saturating_sub(KEEP)..count];
        let count = (self.recorded[webhook]..=records.len()).find(|count| latest(*count) == found);
        let Some(count) = count else { panic!("{found:?} of {records:?}, {:?} are written", self.recorded) };
        records.truncate(count);
    }
}

/// How large the journal may be: none, one that is emptied because it is full, and one that never is.
const JOURNALS: [u64; 3] = [0, 1200, 1 << 20];

struct World {
    directory: TempDir,
    journal: u64,
    spool: Arc<DiskSpool>,
    held: Vec<Lease>,
    model: Model,
}

fn opened(directory: &TempDir, journal_bytes_max: u64) -> Arc<DiskSpool> {
    // Little room in memory, so that most comes from disk.
    Arc::new(DiskSpool::open(Options { ready_max: 3, journal_bytes_max, ..options(directory.path()) }).unwrap())
}

fn batch_of(numbers: std::ops::RangeInclusive<u64>, webhooks: &[usize], lane: u8, key: Option<Key>) -> Batch {
    let lane = (lane != 0).then(|| Lane::of(&[lane]));
    let owed: Vec<Owed> = webhooks.iter().map(|webhook| Owed { webhook: name(WEBHOOKS[*webhook]), lane }).collect();
    Batch { events: numbers.map(|n| (event(n), owed.clone())).collect(), key }
}

impl World {
    fn new(journal: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let spool = opened(&directory, journal);
        Self { directory, journal, spool, held: Vec::new(), model: Model::default() }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Append { count, webhooks, lane } => {
                let webhooks: Vec<usize> = (0..2).filter(|bit| webhooks & (1 << bit) != 0).collect();
                let numbers = self.model.last + 1..=self.model.last + u64::from(*count);
                self.spool.append(batch_of(numbers.clone(), &webhooks, *lane, None)).await.unwrap();
                self.model.written();
                self.appended(numbers, &webhooks, *lane);
            }
            Step::Keyed { key } => {
                let n = self.model.last + 1;
                let receipt = Bytes::from(n.to_string());
                let sent = Key { id: [*key; 16], content: [0; 16], receipt: receipt.clone(), window: FUTURE };
                let answer = self.spool.append(batch_of(n..=n, &[0], 0, Some(sent))).await.unwrap();
                self.model.written();
                if let Some(first) = self.model.keys.get(key) {
                    assert_eq!(answer, Appended::Repeat(first.clone()));
                } else {
                    assert_eq!(answer, Appended::New);
                    self.model.keys.insert(*key, receipt);
                    self.appended(n..=n, &[0], 0);
                }
            }
            Step::Refused => self.refused().await,
            Step::Lease { webhook, max } => {
                let webhook = usize::from(*webhook);
                let eligible = self.model.eligible(webhook, &self.held);
                let count = eligible.len().min(usize::from(*max));
                if count > 0 {
                    let leases = lease_all(&*self.spool, WEBHOOKS[webhook], count).await;
                    for lease in &leases {
                        assert!(eligible.contains(&number(lease)), "{lease:?} is not among {eligible:?}");
                        let State::Pending { attempts, replayed, .. } = self.model.is[&(number(lease), webhook)] else {
                            panic!("{lease:?} is not pending")
                        };
                        assert_eq!((lease.attempts, lease.since != lease.event.received_at), (attempts, replayed));
                    }
                    self.held.extend(leases);
                }
            }
            Step::Settle { which, how } => self.settle(usize::from(*which), *how).await,
            Step::BuryOlder { webhook, part } => {
                let (webhook, part) = (usize::from(*webhook), self.model.last * u64::from(*part) / 255);
                self.bury(webhook, Some(part)).await;
            }
            Step::BuryAll { webhook } => self.bury(usize::from(*webhook), None).await,
            Step::Repair { which, replay } => self.repair(usize::from(*which), *replay).await,
            Step::Reopen => {
                self.spool.close().await;
                self.model.written();
                self.held.clear();
                let files = std::mem::replace(&mut self.directory, TempDir::new().unwrap());
                self.spool = opened(&self.directory, self.journal);
                self.spool = opened(&files, self.journal);
                self.directory = files;
                self.look();
            }
            Step::Crash { rubbish } => self.crash(*rubbish),
        }
    }

    fn appended(&mut self, numbers: std::ops::RangeInclusive<u64>, webhooks: &[usize], lane: u8) {
        self.model.last = *numbers.end();
        for n in numbers {
            for webhook in webhooks {
                let state = State::Pending { later: false, attempts: 0, replayed: false, lane };
                self.model.is.insert((n, *webhook), state);
            }
        }
    }

    /// Nothing of what cannot be written is there, and what was queued before is written all the same. With a key it has to go to the
    /// database, and so does what is in the journal, which fails with it and is kept where it is.
    async fn refused(&mut self) {
        if self.journal > 0 {
            // What is queued is written with this one, which is then in the journal: a record whose settlement is refused with it may go.
            let n = self.model.last + 1;
            self.spool.append(batch_of(n..=n, &[0], 0, None)).await.unwrap();
            self.model.written();
            self.appended(n..=n, &[0], 0);
        }
        let disk = Connection::open(self.directory.path().join("spool/spool.db")).unwrap();
        disk.busy_timeout(Duration::from_secs(20)).unwrap();
        let fault = "CREATE TRIGGER fault BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END";
        disk.execute_batch(fault).unwrap();
        let n = self.model.last + 1;
        let key = Key { id: [99; 16], content: [0; 16], receipt: Bytes::new(), window: FUTURE };
        let refused = self.spool.append(batch_of(n..=n + 1, &[0, 1], 1, Some(key))).await;
        assert!(matches!(refused, Err(SpoolError::Unavailable(_))), "{refused:?}");
        disk.execute_batch("DROP TRIGGER fault").unwrap();
    }

    async fn settle(&mut self, which: usize, how: How) {
        if self.held.is_empty() {
            return;
        }
        let lease = self.held.swap_remove(which % self.held.len());
        let id = (number(&lease), WEBHOOKS.iter().position(|webhook| **webhook == *lease.webhook).unwrap());
        let State::Pending { attempts, replayed, lane, .. } = self.model.is[&id] else { panic!("{lease:?} is held") };
        let now = Timestamp::now();
        let attempts = attempts + 1;
        // Where something goes wrong it is recorded, but for some.
        let recorded = !matches!(how, How::GiveBack | How::Delivered | How::Later);
        let record = recorded.then(|| {
            self.model.number = self.model.number.max(now.as_microsecond().unsigned_abs()) + 1;
            self.model.records[id.1].push(self.model.number);
            Box::new(record(self.model.number, KEEP))
        });
        let defer = |after: Duration, passed| Settlement::Defer {
            until: now + after,
            attempts,
            failing_since: None,
            passed,
            last: outcome(Reason::ServerError, 503),
            record: record.clone(),
        };
        let pending = |later, lane| State::Pending { later, attempts, replayed, lane };
        let (settlement, state) = match how {
            How::GiveBack => return,
            How::Delivered => (Settlement::Delivered, State::Gone),
            How::Soon => (defer(Duration::ZERO, false), pending(false, lane)),
            How::Later => (defer(FUTURE, false), pending(true, lane)),
            How::LeaveLane => (defer(FUTURE, true), pending(true, 0)),
            How::Bury => (
                Settlement::Bury { reason: Reason::ClientError, last: None, attempts, at: now, record: record.clone() },
                State::Dead,
            ),
        };
        self.spool.settle(lease, settlement).await;
        self.model.change(id, state);
    }

    async fn bury(&mut self, webhook: usize, older_than: Option<u64>) {
        let held: Vec<u64> =
            self.held.iter().filter(|lease| *lease.webhook == *WEBHOOKS[webhook]).map(number).collect();
        let is_doomed = |id: Id, state: &State| {
            let State::Pending { replayed, .. } = *state else { return false };
            id.1 == webhook && !held.contains(&id.0) && older_than.is_none_or(|n| !replayed && id.0 < n)
        };
        let expected: Vec<Id> =
            self.model.is.iter().filter(|(id, state)| is_doomed(**id, state)).map(|(id, _)| *id).collect();
        let before = older_than.map(|n| event(n).received_at);
        let count = self.spool.bury(&name(WEBHOOKS[webhook]), Reason::Expired, before).await.unwrap();
        // What was queued is written with its first step.
        self.model.written();
        assert_eq!(count, expected.len() as u64, "{expected:?}");
        for id in expected {
            self.model.is.insert(id, State::Dead);
        }
    }

    async fn repair(&mut self, which: usize, replay: bool) {
        let page = self
            .spool
            .dead_letters(DeadLetterQuery { oldest_first: true, ..DeadLetterQuery::default() })
            .await
            .unwrap();
        let letters: Vec<&DeadLetter> = page.letters.iter().skip(which % 5).step_by(1 + which % 3).collect();
        let numbers: Vec<i64> = letters.iter().map(|letter| letter.number).collect();
        let count = if replay { self.spool.replay(numbers).await } else { self.spool.drop_dead_letters(numbers).await };
        assert_eq!(count, Ok(letters.len() as u64));
        for letter in letters {
            let webhook = WEBHOOKS.iter().position(|webhook| **webhook == *letter.webhook).unwrap();
            let n = u64::from_be_bytes(letter.event.as_bytes()[8..].try_into().unwrap());
            let replayed = State::Pending { later: false, attempts: 0, replayed: true, lane: 0 };
            // A letter that can be listed is written.
            self.model.was.remove(&(n, webhook));
            self.model.is.insert((n, webhook), if replay { replayed } else { State::Gone });
        }
    }

    /// Goes on with a copy of the files as they are now.
    fn crash(&mut self, rubbish: bool) {
        let copy = TempDir::new().unwrap();
        // The writer may be at work.
        copy_files(self.directory.path(), copy.path());
        if rubbish {
            use std::io::Write;
            let log = fs::File::options().append(true).open(copy.path().join("spool/spool.db-wal"));
            log.unwrap().write_all(&[0xA5; 3000]).unwrap();
        }
        let before = std::mem::replace(&mut self.spool, opened(&copy, self.journal));
        self.held.clear();
        drop(before);
        self.directory = copy;
        self.look();
    }

    /// Holds every row against the model, and takes over which of the queued settlements were written.
    fn look(&mut self) {
        let disk = Connection::open(self.directory.path().join("spool/spool.db")).unwrap();
        let now_ms = Timestamp::now().as_millisecond();
        let id = |event: Vec<u8>, webhook: String| {
            let webhook = WEBHOOKS.iter().position(|name| *name == webhook).unwrap();
            (u64::from_be_bytes(event[8..].try_into().unwrap()), webhook)
        };
        let mut found: BTreeMap<Id, State> = BTreeMap::new();
        let sql = "SELECT e.id, w.name, d.due, d.attempts, d.lane, d.since_ms FROM deliveries d JOIN events e ON e.seq = d.seq
                   JOIN webhooks w ON w.id = d.webhook";
        let mut statement = disk.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let due: i64 = row.get(2).unwrap();
            let lane: i64 = row.get(4).unwrap();
            let lane = if lane == 0 { 0 } else { (1..=2).find(|of| Lane::of(&[*of]).get() == lane).unwrap() };
            let later = due > now_ms && due != ledger::BLOCKED;
            let state = State::Pending {
                later,
                attempts: row.get(3).unwrap(),
                replayed: row.get::<_, i64>(5).unwrap() != 0,
                lane,
            };
            assert!(found.insert(id(row.get(0).unwrap(), row.get(1).unwrap()), state).is_none());
        }
        let sql = "SELECT e.id, w.name FROM dead d JOIN events e ON e.seq = d.seq JOIN webhooks w ON w.id = d.webhook";
        let mut statement = disk.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            assert!(found.insert(id(row.get(0).unwrap(), row.get(1).unwrap()), State::Dead).is_none());
        }
        for (id, is) in &mut self.model.is {
            let found = found.remove(id).unwrap_or(State::Gone);
            let was = self.model.was.get(id).map(Vec::as_slice).unwrap_or_default();
            assert!(found == *is || was.contains(&found), "{id:?} is {found:?}; it should be {is:?} or one of {was:?}");
            *is = found;
        }
        for (webhook, name) in WEBHOOKS.iter().enumerate() {
            let sql = "SELECT number FROM invocations WHERE webhook = (SELECT id FROM webhooks WHERE name = ?1) ORDER BY number";
            let mut statement = disk.prepare(sql).unwrap();
            let numbers: Vec<u64> = statement
                .query_map([name], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            self.model.look_at_records(webhook, &numbers);
        }
        self.model.written();
        assert!(found.is_empty(), "invented: {found:?}");
        let count = |sql: &str| disk.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let needed =
            count("SELECT count(DISTINCT seq) FROM (SELECT seq FROM deliveries UNION ALL SELECT seq FROM dead)");
        assert_eq!(count("SELECT count(*) FROM events"), needed, "an event is kept as long as it is needed");
        assert_eq!(count("SELECT coalesce(sum(pending), 0) FROM webhooks"), count("SELECT count(*) FROM deliveries"));
        assert_eq!(count("SELECT coalesce(sum(dead), 0) FROM webhooks"), count("SELECT count(*) FROM dead"));
    }

    /// Delivers all that can be.
    async fn drain(&mut self) {
        self.held.clear();
        for (webhook, of) in WEBHOOKS.iter().enumerate() {
            loop {
                let eligible = self.model.eligible(webhook, &self.held);
                if eligible.is_empty() {
                    break;
                }
                for lease in lease_all(&*self.spool, of, eligible.len()).await {
                    assert!(eligible.contains(&number(&lease)), "{lease:?} is not among {eligible:?}");
                    self.model.change((number(&lease), webhook), State::Gone);
                    self.spool.settle(lease, Settlement::Delivered).await;
                }
            }
            // What should not come and is at hand comes at once.
            let more = tokio::time::timeout(Duration::from_millis(15), self.spool.lease(&name(of), 10)).await;
            assert!(more.is_err(), "{more:?} was not to come");
        }
        self.spool.close().await;
        self.model.written();
        self.look();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_does_what_the_model_says(
        journal in proptest::sample::select(&JOURNALS[..]), steps in proptest::collection::vec(step(), 1..70),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(journal);
            for step in &steps {
                world.take(step).await;
            }
            world.drain().await;
        });
    }
}
