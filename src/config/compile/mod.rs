//! From tables to what the program uses: one function for the sidecar's file, one for a webhook's.

mod auth;
mod body;
mod conditions;
mod envelope;
mod headers;
mod kinds;
mod listener;
mod oauth2;
mod ordering;
mod policy;
mod settings;
mod signing;
mod spool;
mod testcases;
mod tls;
mod traces;
mod url;
mod webhook;

#[cfg(feature = "otel")]
pub(crate) use traces::check_endpoint;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::document::{At, Document, Report};
use super::overrides::Override;
use super::snapshot::{Egress, Settings};
use super::table::KEYS_MAX;
use crate::kind::Kind;
use crate::webhook::gate::Breaker;
use crate::webhook::retry::Policy;
use crate::webhook::tls::Tls;

pub(super) use settings::sidecar;
pub(super) use webhook::webhook;

/// `outrigger.toml` with what stands above it.
pub(super) struct SidecarFile<'t> {
    pub(super) document: &'t Document,
    pub(super) overrides: &'t [Override],
    pub(super) values: &'t [Option<DeValue<'t>>],
}

/// What `outrigger.toml` came to.
pub(super) struct Compiled {
    /// `None` when the file is faulty.
    pub(super) settings: Option<Settings>,
    /// What it says of every webhook.
    pub(super) shared: Arc<Shared>,
    /// All kinds.
    pub(super) kinds: BTreeMap<Arc<str>, Arc<Kind>>,
    /// Whether every kind that the file wants to define is among them.
    pub(super) kinds_complete: bool,
}

/// What every webhook is compiled with.
#[derive(PartialEq)]
pub(super) struct Shared {
    /// What webhooks that say nothing get.
    defaults: Defaults,
    /// What URLs are held against; `None` when it is unknown. Networks are asked when a connection is made: none are here.
    egress: Option<Egress>,
    /// Whether some `ca_file` is trusted by every webhook, be it there to be read or not.
    ca_named: bool,
    /// Whether the spool keeps deliveries in order.
    ordered: bool,
}

/// `[defaults]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Defaults {
    timeout: Duration,
    body_bytes_max: u64,
    retry: Policy,
    limits: Limits,
    breaker: Breaker,
    tls: Arc<Tls>,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limits {
    concurrency: u64,
    response_bytes_max: u64,
    /// Between two attempts, where `rate` is given.
    interval: Option<Duration>,
    burst: Option<u32>,
}

/// What a webhook is compiled in.
pub(super) struct Around<'a> {
    pub(super) dir: &'a Path,
    pub(super) compiled: &'a Compiled,
}

/// How many faults of one file's syntax are reported: what follows the first few is mostly their echo.
const SYNTAX_FAULTS_MAX: usize = 3;

const SYNTAX_FIX: &str = "correct it here: each key stands once in its [table], and texts stand in quotes";

/// Parses a document; reports what is no TOML.
fn parse<'t>(document: &'t Document, report: &mut Report) -> Option<DeTable<'t>> {
    let (table, faults) = DeTable::parse_recoverable(&document.text);
    for fault in faults.iter().take(SYNTAX_FAULTS_MAX) {
        let at = At::new(document, fault.span().unwrap_or(0..0));
        report.error(at, format!("this is no TOML: {}", fault.message()), SYNTAX_FIX);
    }
    if !faults.is_empty() {
        return None;
    }
    let table = table.into_inner();
    if table.len() > KEYS_MAX {
        let problem = format!("the file has {} keys and tables at its top, and {KEYS_MAX} are the limit", table.len());
        report.error(At::new(document, 0..0), problem, "remove those that mean nothing: most of them must be unknown");
        return None;
    }
    Some(table)
}
