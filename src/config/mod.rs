//! Configuration: TOML files in, one immutable [`Snapshot`] and all [`Diagnostic`](crate::diagnostic::Diagnostic)s out.

mod compile;
mod definition;
mod document;
mod folder;
mod index;
mod inputs;
mod lint;
mod load;
mod loader;
mod overrides;
mod quantity;
mod read;
mod reference;
mod references;
mod schema;
mod snapshot;
mod table;
mod tests;

#[cfg(feature = "otel")]
pub(crate) use compile::check_endpoint;
pub use definition::{ShownDefinition, hide_lines, shown_definition};
pub use folder::is_webhook_name;
pub use index::Index;
pub use lint::{PASTED_KEY, hide_typed, is_secret_header, lint, may_be_secret, says_more_than_scheme};
pub use load::{
    Environment, FILE_BYTES_MAX, Loaded, NAME_CHARS_MAX, Source, WEBHOOKS_MAX, load, load_settings, load_variables,
    sort,
};
pub use loader::Loader;
pub use quantity::duration as parse_duration;
pub use read::text as read_text;
pub use reference::{Key, SIDECAR, Shape, WEBHOOK, reference};
pub use references::{PLACEHOLDER, REFERENCE_BYTES_MAX};
pub use schema::ConfigFile;
pub use snapshot::{
    Admin, Egress, History, Ingest, Listen, Log, Login, Metrics, Nats, OnInvalidWebhook, SAMPLE_PARTS, SOCKET_MODE,
    Settings, Shutdown, Snapshot, Spool, SpoolPlace, Traces,
};
pub use tests::{Expect, TestCase, TestEvent, TestResponse, is_answered};
