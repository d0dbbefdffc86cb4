//! The journal of a disk spool: what was appended and delivered since `SQLite` was last written.
//!
//! Nearly every event is delivered within milliseconds, and its rows would be written only to be deleted. So what the writer takes at
//! once becomes a *group*, which is one write behind the one before and one `fdatasync`. When the journal is full, or something has to
//! be in `SQLite`, what is left of it goes there in one transaction, which also keeps the number of the last group ([`Mark`]). Then the
//! journal begins again at its start.
//!
//! ```text
//! group   "OUTRJNL1"  salt 8  number 8  length of the records 4  CRC-32 4 of salt, number, length and records    records
//! record  1  seq 8  id 16  received_ms 8  kind  event type  payload  trace  how many owe it 4, each: webhook 8  lane 8  name
//! record  2  webhook 8  seq 8                                                               it was delivered
//! ```
//!
//! Numbers are little-endian; texts and bytes have their length (4) before them, and no trace is an empty one.
//!
//! - Numbers of groups grow by one for as long as the spool lives and none is given twice for what may be read again. A reader begins at
//!   the start, passes over what `SQLite` knows, and ends at the first group that is torn or does not follow the one before.
//! - The salt is drawn at each opening and known to `SQLite` alone, so that nothing that stands in an event can be taken for a group.
//! - The file is written with zeros ahead of its groups and not shortened, so that `fdatasync` has no sizes and blocks to write.
//! - After a write or an `fdatasync` that failed nothing is known of the file. Nothing more is written to it; what it holds and what
//!   could not be written go to `SQLite`, and then the file is made anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::event::{Event, EventId};
use crate::trace::Trace;

use super::at;

/// The journal's file in the spool's directory.
pub(super) const JOURNAL: &str = "journal";
/// The most that it takes, unless [`super::Options::journal_bytes_max`] says less.
pub(super) const JOURNAL_BYTES_MAX: u64 = 8 << 20;
/// The part of the spool's limit that it may take.
const JOURNAL_SHARE: u64 = 16;
/// So much is written with zeros when there is no room ahead.
const AHEAD_BYTES: u64 = 1 << 20;
/// In pieces of so much: the system keeps together in memory what was written at once, and then goes through all of it at each
/// `fdatasync`, which takes a third longer.
const ZEROS: [u8; 4096] = [0; 4096];
/// A journal that could not be written is tried again after this long.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// What a group begins with: what it is, and its version.
const MAGIC: [u8; 8] = *b"OUTRJNL1";
/// What stands before the records of a group.
const HEAD_BYTES: usize = 32;
/// Where the checksum stands in it.
const CHECKSUM_AT: usize = 28;
const APPENDED: u8 = 1;
const DELIVERED: u8 = 2;

/// What `SQLite` knows of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last group of which all is in `SQLite`.
    pub(super) number: i64,
    /// What the groups carry.
    pub(super) salt: i64,
}

impl Mark {
    /// What the first group behind it carries.
    fn next(self) -> Self {
        Self { number: self.number.saturating_add(1), ..self }
    }
}

/// The writer's end of the journal.
pub(super) struct Journal {
    directory: PathBuf,
    bytes_max: u64,
    mark: Mark,
    /// `SQLite` knows the mark: what is written now would be read again.
    known: bool,
    file: Option<File>,
    /// What is left of the file is of no use.
    spoiled: bool,
    /// Where the next group goes.
    at: u64,
    /// What is written with zeros or groups.
    ahead: u64,
    group: Vec<u8>,
    retry_at: Option<Instant>,
    failing: bool,
}

impl Journal {
    /// The journal of a spool of so many bytes at most. It is used when `SQLite` knows its mark: see [`Journal::emptied`].
    pub(super) fn new(directory: &Path, journal_bytes_max: u64, spool_bytes_max: u64, read: &Groups) -> Self {
        Self {
            directory: directory.to_owned(),
            bytes_max: journal_bytes_max.min(JOURNAL_BYTES_MAX).min(spool_bytes_max / JOURNAL_SHARE),
            mark: Mark { number: read.last, salt: fastrand::i64(..) },
            known: false,
            file: None,
            spoiled: false,
            at: read.end,
            ahead: 0,
            group: vec![0; HEAD_BYTES],
            retry_at: None,
            failing: false,
        }
    }

    /// Whether a group can be written now.
    pub(super) fn is_ready(&self) -> bool {
        self.bytes_max > 0 && self.known && self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    /// What of it was written since it was emptied.
    pub(super) fn used(&self) -> u64 {
        self.at
    }

    /// What `SQLite` has to be told with what the journal holds; `None` where it knows that already.
    pub(super) fn untold(&self) -> Option<Mark> {
        (self.at > 0 || (self.bytes_max > 0 && !self.known)).then_some(self.mark)
    }

    /// `SQLite` has all that the journal holds, and [`Journal::untold`] with it.
    pub(super) fn emptied(&mut self) {
        // For a recovery that finds no mark. With one it says nothing new, and need not be durable.
        if let Some(file) = self.file.as_ref().filter(|_| self.at > 0) {
            let _ = file.write_all_at(&[0; HEAD_BYTES], 0);
        }
        self.at = 0;
        self.known = true;
    }

    /// Begins a group.
    pub(super) fn begin(&mut self) {
        self.group.truncate(HEAD_BYTES);
        // What a large one took is not kept for ever.
        self.group.shrink_to(usize::try_from(AHEAD_BYTES).unwrap_or(HEAD_BYTES));
    }

    /// Adds an event to the group, with the number, the name and the lane of each webhook that owes it.
    pub(super) fn append<'o>(&mut self, seq: i64, event: &Event, owed: impl ExactSizeIterator<Item = Owing<'o>>) {
        let group = &mut self.group;
        group.push(APPENDED);
        group.extend(seq.to_le_bytes());
        group.extend(event.id.as_bytes());
        group.extend(event.received_at.as_millisecond().to_le_bytes());
        put(group, event.kind.as_bytes());
        put(group, event.event_type.as_bytes());
        put(group, &event.raw);
        put(group, event.trace().map(|trace| trace.written()).unwrap_or_default().as_bytes());
        group.extend(length(owed.len()));
        for (webhook, name, lane) in owed {
            group.extend(webhook.to_le_bytes());
            group.extend(lane.to_le_bytes());
            put(group, name.as_bytes());
        }
    }

    /// Adds to the group that a webhook got an event.
    pub(super) fn deliver(&mut self, webhook: i64, seq: i64) {
        self.group.push(DELIVERED);
        self.group.extend(webhook.to_le_bytes());
        self.group.extend(seq.to_le_bytes());
    }

    /// Whether a group of so many bytes has room, and so the one that was begun.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.at + bytes.max(self.group.len() as u64) <= self.bytes_max
    }

    /// Makes the group durable. After an error the journal is not used until `SQLite` has all that it holds and the group.
    pub(super) fn write(&mut self) -> io::Result<()> {
        // Also one that fails has its number: it may be read all the same.
        self.mark.number += 1;
        let written = self.put();
        match &written {
            Ok(()) => (self.retry_at, self.failing) = (None, false),
            Err(error) => {
                self.known = false;
                self.spoiled = true;
                self.retry_at = Some(Instant::now() + RETRY_EVERY);
                if let Some(file) = self.file.take() {
                    // Nobody is told that it is kept, so it should not be read. That this fails too is borne: it is delivered once too often.
                    let _ = file.write_all_at(&[0; HEAD_BYTES], self.at);
                }
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, note = "the spool's journal cannot be written; events go to the database at once, which is slower", "spool.journal_unwritten");
                }
            }
        }
        written
    }

    fn put(&mut self) -> io::Result<()> {
        seal(&mut self.group, self.mark);
        if self.file.is_none() {
            self.file = Some(self.open()?);
        }
        let Some(file) = &self.file else { return Err(ErrorKind::NotFound.into()) };
        let end = self.at + self.group.len() as u64;
        if end > self.ahead {
            let ahead = end.next_multiple_of(AHEAD_BYTES).min(self.bytes_max);
            while self.ahead < ahead {
                let piece = usize::try_from(ahead - self.ahead).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
                file.write_all_at(&ZEROS[..piece], self.ahead)?;
                self.ahead += piece as u64;
            }
        }
        file.write_all_at(&self.group, self.at)?;
        file.sync_data()?;
        self.at = end;
        Ok(())
    }

    /// Opens the file, or makes it.
    fn open(&mut self) -> io::Result<File> {
        let path = self.directory.join(JOURNAL);
        if self.spoiled {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        // Its name is as durable as the directory.
        File::open(&self.directory)?.sync_all()?;
        self.ahead = file.metadata()?.len().min(self.bytes_max);
        self.spoiled = false;
        Ok(file)
    }
}

/// A webhook that owes an event: its number, its name, and the lane.
pub(super) type Owing<'o> = (i64, &'o str, i64);

/// Writes the head of a group.
fn seal(group: &mut [u8], mark: Mark) {
    let records = length(group.len().saturating_sub(HEAD_BYTES));
    let head = [&MAGIC[..], &mark.salt.to_le_bytes(), &mark.number.to_le_bytes(), &records].concat();
    group[..CHECKSUM_AT].copy_from_slice(&head);
    let checksum = checksum(&group[..CHECKSUM_AT], &group[HEAD_BYTES..]);
    group[CHECKSUM_AT..HEAD_BYTES].copy_from_slice(&checksum);
}

fn checksum(head: &[u8], records: &[u8]) -> [u8; 4] {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&head[MAGIC.len()..]);
    checksum.update(records);
    checksum.finalize().to_le_bytes()
}

/// What is longer does not fit into the journal, and is not written.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn put(group: &mut Vec<u8>, bytes: &[u8]) {
    group.extend(length(bytes.len()));
    group.extend_from_slice(bytes);
}

/// What a group says.
#[derive(Debug)]
pub(super) enum Entry {
    /// An event, with the number, the name and the lane of each webhook that owes it.
    Appended { seq: i64, event: Event, owed: Vec<(i64, Arc<str>, i64)> },
    /// That a webhook got it.
    Delivered { webhook: i64, seq: i64 },
}

/// What is read of a journal.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What `SQLite` does not know.
    pub(super) entries: Vec<Entry>,
    /// The number of the last group, or that of the mark.
    pub(super) last: i64,
    /// Where it ends, when there is something that `SQLite` does not know.
    pub(super) end: u64,
    /// `SQLite` is older than the groups: it has lost what it said it had, or is another one.
    pub(super) outlived: bool,
}

/// Reads what `SQLite` does not know. Where the mark is lost, with the damaged rest of the database, that is all there is. A group that is
/// whole and that nobody understands is an error: what was acknowledged is in it.
pub(super) fn read(directory: &Path, mark: Option<Mark>) -> io::Result<Groups> {
    let mut file = Vec::new();
    match File::open(directory.join(JOURNAL)) {
        Ok(journal) => drop(journal.take(JOURNAL_BYTES_MAX).read_to_end(&mut file)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    parse(&file, mark)
}

fn parse(file: &[u8], mark: Option<Mark>) -> io::Result<Groups> {
    let known = mark.map_or(0, |mark| mark.number);
    let mut groups = Groups { last: known, ..Groups::default() };
    let mut rest = Input(file);
    // The journal begins again only when `SQLite` knows all of it. So where its first group is new and not the one that comes next,
    // `SQLite` is older than the journal.
    let mut before: Option<Mark> = None;
    while let Some((head, records)) = rest.group() {
        match before {
            Some(before) if before.salt != head.salt || before.number.checked_add(1) != Some(head.number) => break,
            None => groups.outlived = mark.is_some_and(|mark| head.number > known && head != mark.next()),
            Some(_) => {}
        }
        before = Some(head);
        if head.number <= known {
            continue;
        }
        // A group of another salt that `SQLite` knows nothing of cannot follow those that it knows.
        if !groups.outlived && mark.is_some_and(|mark| mark.salt != head.salt) {
            break;
        }
        let entries = entries(records).ok_or_else(|| {
            let detail =
                format!("group {} is whole and not understood; a newer program may have written it", head.number);
            io::Error::new(ErrorKind::InvalidData, detail)
        })?;
        groups.entries.extend(entries);
        groups.last = head.number;
        groups.end = (file.len() - rest.0.len()) as u64;
    }
    Ok(groups)
}

fn entries(records: &[u8]) -> Option<Vec<Entry>> {
    let mut records = Input(records);
    let mut entries = Vec::new();
    while !records.0.is_empty() {
        entries.push(records.entry()?);
    }
    Some(entries)
}

/// What is still to be read.
struct Input<'f>(&'f [u8]);

impl<'f> Input<'f> {
    /// The next group that is whole: its head and its records.
    fn group(&mut self) -> Option<(Mark, &'f [u8])> {
        let head = self.take(HEAD_BYTES)?;
        let mut rest = Input(head.strip_prefix(&MAGIC)?);
        let (salt, number, length) = (rest.number()?, rest.number()?, rest.length()?);
        let records = self.take(length)?;
        (rest.0 == checksum(&head[..CHECKSUM_AT], records)).then_some((Mark { number, salt }, records))
    }

    fn entry(&mut self) -> Option<Entry> {
        match self.take(1)? {
            [APPENDED] => {
                let (seq, id, received_ms) = (self.number()?, self.take(16)?, self.number()?);
                let (kind, event_type) = (self.text()?, self.text()?);
                let raw = Bytes::copy_from_slice(self.bytes()?);
                let trace = Trace::read(&self.text()?).map(Arc::new);
                let id = EventId::from_bytes(id.try_into().ok()?);
                let event = Event::new(id, kind, event_type, at(received_ms), raw).in_trace(trace);
                let mut owed = Vec::new();
                for _ in 0..self.length()? {
                    let (webhook, lane) = (self.number()?, self.number()?);
                    owed.push((webhook, self.text()?, lane));
                }
                Some(Entry::Appended { seq, event, owed })
            }
            [DELIVERED] => Some(Entry::Delivered { webhook: self.number()?, seq: self.number()? }),
            _ => None,
        }
    }

    fn take(&mut self, count: usize) -> Option<&'f [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }

    fn bytes(&mut self) -> Option<&'f [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        Some(std::str::from_utf8(self.bytes()?).ok()?.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::super::contract::event;
    use super::*;

    /// A journal that `SQLite` knows.
    fn journal(directory: &TempDir, last: i64) -> Journal {
        let groups = Groups { last, ..Groups::default() };
        let mut journal = Journal::new(directory.path(), 64 << 10, u64::MAX, &groups);
        assert!(!journal.is_ready());
        journal.emptied();
        journal
    }

    /// Writes the events of these numbers as one group, each owed by webhook 7 in a lane, and delivers the first.
    fn write(journal: &mut Journal, numbers: std::ops::RangeInclusive<i64>) {
        journal.begin();
        for n in numbers.clone() {
            journal.append(n, &event(n.unsigned_abs()), [(7, "a", n), (8, "b", 0)].into_iter());
        }
        journal.deliver(7, *numbers.start());
        journal.write().unwrap();
    }

    fn appended(groups: &Groups) -> Vec<i64> {
        let seq = |entry: &Entry| if let Entry::Appended { seq, .. } = entry { Some(*seq) } else { None };
        groups.entries.iter().filter_map(seq).collect()
    }

    fn known(journal: &Journal, number: i64) -> Mark {
        Mark { number, ..journal.mark }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let directory = TempDir::new().unwrap();
        let mut journal = journal(&directory, 40);
        let before = journal.mark;
        let trace = Trace::read("0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 1 a=b").map(Arc::new);
        let traced = (*event(5)).clone().in_trace(trace.clone());
        journal.begin();
        journal.append(5, &traced, [(7, "a", 9), (8, "b", 0)].into_iter());
        journal.deliver(8, 5);
        journal.write().unwrap();
        let groups = read(directory.path(), Some(before)).unwrap();
        assert_eq!((groups.last, groups.end), (41, journal.used()));
        let [Entry::Appended { seq: 5, event, owed }, Entry::Delivered { webhook: 8, seq: 5 }] = &groups.entries[..]
        else {
            panic!("{groups:?}")
        };
        assert_eq!((event.id, &event.raw, event.received_at), (traced.id, &traced.raw, traced.received_at));
        assert_eq!((&event.kind, &event.event_type), (&traced.kind, &traced.event_type));
        assert_eq!(event.trace().map(|trace| trace.written()), traced.trace().map(|trace| trace.written()));
        assert_eq!(owed[..], [(7, "a".into(), 9), (8, "b".into(), 0)]);
    }

    #[test]
    fn a_group_that_is_torn_or_changed_ends_the_journal_before_it() {
        let directory = TempDir::new().unwrap();
        let mut journal = journal(&directory, 0);
        let mark = journal.mark;
        let mut ends = vec![0];
        for n in 1..=3 {
            write(&mut journal, n..=n);
            ends.push(usize::try_from(journal.used()).unwrap());
        }
        let file = fs::read(directory.path().join(JOURNAL)).unwrap();
        for cut in 0..=ends[3] {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let torn = parse(&file[..cut], Some(mark)).unwrap();
            assert_eq!(appended(&torn), (1..).take(whole).collect::<Vec<_>>(), "cut at {cut}");
            assert_eq!((torn.last, torn.end), (i64::try_from(whole).unwrap(), ends[whole] as u64));
        }
        for at in 0..ends[3] {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            let whole = ends.iter().filter(|end| **end <= at).count() - 1;
            assert_eq!(parse(&changed, Some(mark)).unwrap().entries.len(), 2 * whole, "changed at {at}");
        }
    }

    #[test]
    fn what_the_database_knows_is_passed_over_and_older_groups_are_no_later_ones() {
        let directory = TempDir::new().unwrap();
        let mut journal = journal(&directory, 10);
        for n in 1..=3 {
            write(&mut journal, n..=n);
        }
        let read = |mark| appended(&read(directory.path(), mark).unwrap());
        assert_eq!(read(Some(known(&journal, 10))), [1, 2, 3]);
        assert_eq!(read(Some(known(&journal, 12))), [3]);
        assert!(read(Some(known(&journal, 13))).is_empty());
        assert!(read(Some(Mark { number: 11, salt: !journal.mark.salt })).is_empty(), "the others are of another time");
        assert_eq!(read(None), [1, 2, 3]);
        // It begins again, with a group as long as the first: the older second one stands right behind it.
        journal.emptied();
        assert_eq!((journal.used(), journal.untold()), (0, None));
        assert!(read(None).is_empty());
        write(&mut journal, 4..=4);
        assert_eq!(read(Some(known(&journal, 13))), [4]);
        assert_eq!(read(None), [4]);
        assert_eq!(journal.untold(), Some(known(&journal, 14)));
    }

    #[test]
    fn a_database_that_is_older_than_the_journal_is_told_from_one_that_is_not() {
        let directory = TempDir::new().unwrap();
        let mut journal = journal(&directory, 10);
        write(&mut journal, 1..=1);
        write(&mut journal, 2..=2);
        for (number, salt, outlived) in [
            (10, journal.mark.salt, false),
            (12, journal.mark.salt, false),
            (90, !journal.mark.salt, false),
            (9, journal.mark.salt, true),
            (0, 0, true),
            (10, !journal.mark.salt, true),
        ] {
            let groups = read(directory.path(), Some(Mark { number, salt })).unwrap();
            assert_eq!(groups.outlived, outlived, "{number}");
            let all = if number > 10 { vec![] } else { vec![1, 2] };
            assert_eq!((appended(&groups), groups.last), (all, number.max(12)), "{number}");
        }
    }

    #[test]
    fn a_whole_group_that_nobody_understands_is_not_passed_over() {
        let directory = TempDir::new().unwrap();
        let mut journal = journal(&directory, 0);
        let mark = journal.mark;
        write(&mut journal, 1..=1);
        journal.begin();
        journal.group.push(9);
        journal.write().unwrap();
        let refused = read(directory.path(), Some(mark)).unwrap_err();
        assert!(refused.to_string().starts_with("group 2 is whole and not understood"), "{refused}");
        assert_eq!(
            read(directory.path(), Some(known(&journal, 2))).unwrap().last,
            2,
            "what is taken over is not looked at"
        );
    }

    #[test]
    fn a_group_that_stands_in_an_event_is_none() {
        let (directory, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut forged = journal(&other, 2);
        write(&mut forged, 9..=9);
        let forged = &fs::read(other.path().join(JOURNAL)).unwrap()[..usize::try_from(forged.used()).unwrap()];
        let mut journal = journal(&directory, 0);
        let mark = journal.mark;
        write(&mut journal, 1..=1);
        write(&mut journal, 2..=2);
        // The bytes of an event may stand where the next group would: this process began again at the start.
        let mut file = fs::read(directory.path().join(JOURNAL)).unwrap();
        let at = usize::try_from(journal.used()).unwrap();
        file[at..at + forged.len()].copy_from_slice(forged);
        assert_eq!(
            Input(&file[at..]).group().map(|(head, _)| head.number),
            Some(3),
            "it is whole and has the next number"
        );
        assert_eq!(appended(&parse(&file, Some(mark)).unwrap()), [1, 2], "and another salt");
    }

    #[test]
    fn what_does_not_fit_is_not_begun_and_a_small_spool_has_a_small_journal() {
        let directory = TempDir::new().unwrap();
        let mut large = journal(&directory, 0);
        assert!(large.has_room(64 << 10) && !large.has_room((64 << 10) + 1));
        write(&mut large, 1..=20);
        assert!(!large.has_room(64 << 10));
        large.begin();
        large.append(1, &event(1), [(7, &*"x".repeat(64 << 10), 0)].into_iter());
        assert!(!large.has_room(0));
        let small = Journal::new(directory.path(), 64 << 10, 160 << 10, &Groups::default());
        assert!(small.has_room(10 << 10) && !small.has_room((10 << 10) + 1));
        let mut none = Journal::new(directory.path(), 0, u64::MAX, &Groups::default());
        none.emptied();
        assert!(!none.is_ready() && none.untold().is_none());
    }

    #[test]
    fn after_a_write_or_a_sync_that_failed_it_is_made_anew_when_the_database_has_all() {
        // The one takes no byte, the other takes all and cannot make it durable.
        for device in ["/dev/full", "/dev/null"] {
            let directory = TempDir::new().unwrap();
            symlink(device, directory.path().join(JOURNAL)).unwrap();
            let mut journal = journal(&directory, 5);
            journal.begin();
            journal.append(1, &event(1), [(7, "a", 0)].into_iter());
            assert!(journal.write().is_err(), "{device}");
            assert!(!journal.is_ready());
            assert_eq!(journal.untold(), Some(known(&journal, 6)), "the number of what failed is not given again");
            journal.retry_at = Some(Instant::now());
            assert!(!journal.is_ready(), "the database does not know");
            journal.emptied();
            assert!(journal.is_ready());
            write(&mut journal, 2..=2);
            assert!(fs::symlink_metadata(directory.path().join(JOURNAL)).unwrap().is_file());
            assert_eq!(appended(&read(directory.path(), Some(known(&journal, 6))).unwrap()), [2]);
        }
    }
}
