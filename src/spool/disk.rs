//! The spool on a disk of its own: SQLite with one writer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::Reason;

use super::{Backlog, Batch, DeadLetter, DeadLetterQuery, Lease, Settlement, Spool, SpoolError, Wait};

/// How a disk spool is opened.
pub struct Options {
    /// The directory, made when it is missing.
    pub path: PathBuf,
    /// `spool.max_bytes`: appends past it are refused, settlements are not.
    pub bytes_max: u64,
    /// `spool.dead_letter_retention`: dead letters older than this are dropped.
    pub dead_letter_retention: Duration,
    /// Deliveries of one webhook that wait in memory; the rest stays on disk alone.
    pub ready_max: usize,
    /// Called with the duration of each commit, on the writer's thread.
    pub commit_seen: Box<dyn Fn(Duration) + Send>,
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Pending deliveries.
    pub pending: u64,
    /// Dead letters, without those that were dropped.
    pub dead: u64,
    /// Dead letters dropped because they were older than the retention.
    pub dropped: u64,
}

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

/// The spool on disk.
pub struct DiskSpool {}

impl DiskSpool {
    /// Opens the spool of a directory.
    pub fn open(_options: Options) -> Result<Self, OpenError> {
        todo!()
    }

    /// What opening found.
    #[must_use]
    pub fn found(&self) -> Found {
        todo!()
    }
}

impl Spool for DiskSpool {
    fn append(&self, _batch: Batch) -> Wait<'_, Result<(), SpoolError>> {
        todo!()
    }
    fn lease<'a>(&'a self, _webhook: &'a Arc<str>, _max: usize) -> Wait<'a, Vec<Lease>> {
        todo!()
    }
    fn settle(&self, _lease: Lease, _settlement: Settlement) -> Wait<'_, ()> {
        todo!()
    }
    fn backlog(&self) -> Vec<Backlog> {
        todo!()
    }
    fn bury_webhook(&self, _webhook: &Arc<str>, _reason: Reason, _detail: String) -> Wait<'_, Result<u64, SpoolError>> {
        todo!()
    }
    fn dead_letters(&self, _query: DeadLetterQuery) -> Wait<'_, Result<Vec<DeadLetter>, SpoolError>> {
        todo!()
    }
    fn bytes(&self) -> u64 {
        todo!()
    }
    fn close(&self) -> Wait<'_, ()> {
        todo!()
    }
}
