//! Configuration: TOML files in, one immutable [`Snapshot`] and all [`Diagnostic`](crate::diagnostic::Diagnostic)s out.

mod index;
mod snapshot;

pub use index::Index;
pub use snapshot::{Admin, Egress, Ingest, Listen, Log, OnInvalidWebhook, Settings, Shutdown, Snapshot, Spool};
