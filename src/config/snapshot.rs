//! The Snapshot: one immutable compiled configuration.

use http::HeaderName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::index::Index;
use crate::kind::Kind;
use crate::secret::Secret;
use crate::webhook::Webhook;
use crate::webhook::filter::Glob;
use crate::webhook::tls::Tls;

/// One compiled configuration. Nothing in it changes; a reload makes another.
#[derive(Debug)]
pub struct Snapshot {
    /// The sidecar's own settings.
    pub settings: Settings,
    /// All kinds by name, built in and custom.
    pub kinds: BTreeMap<Arc<str>, Arc<Kind>>,
    /// All webhooks by name.
    pub webhooks: BTreeMap<Arc<str>, Arc<Webhook>>,
    /// The same webhooks by kind and event type.
    pub index: Index,
    /// The first 48 bits of a SHA-256 over the names and texts of all files that decide the configuration, in hexadecimal:
    /// `outrigger.toml`, webhooks, body files, samples of kinds, certificates. It is the same wherever the files are the same:
    /// variables, flags and referenced secrets are no part of it.
    pub hash: String,
}

impl Snapshot {
    /// Puts the compiled parts together.
    #[must_use]
    pub fn new(
        settings: Settings,
        kinds: BTreeMap<Arc<str>, Arc<Kind>>,
        webhooks: BTreeMap<Arc<str>, Arc<Webhook>>,
        hash: String,
    ) -> Self {
        let index = Index::new(&webhooks);
        Self { settings, kinds, webhooks, index, hash }
    }

    /// Whether both do the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let kinds = || {
            self.kinds.values().zip(other.kinds.values()).all(|(kind, other)| Arc::ptr_eq(kind, other) || kind == other)
        };
        let webhooks = || {
            self.webhooks.values().zip(other.webhooks.values()).all(|(webhook, other)| {
                Arc::ptr_eq(webhook, other) || (webhook.name == other.name && webhook.fingerprint == other.fingerprint)
            })
        };
        self.kinds.len() == other.kinds.len()
            && self.webhooks.len() == other.webhooks.len()
            && webhooks()
            && kinds()
            && self.settings == other.settings
    }
}

/// `outrigger.toml`, compiled.
#[derive(Debug, PartialEq)]
pub struct Settings {
    /// The event listener.
    pub ingest: Ingest,
    /// The listener of people and scripts.
    pub admin: Admin,
    /// What is told to Prometheus, and where.
    pub metrics: Metrics,
    /// Where accepted events wait.
    pub spool: Spool,
    /// What may be reached.
    pub egress: Egress,
    /// What a cold start does with a faulty webhook.
    pub on_invalid_webhook: OnInvalidWebhook,
    /// How often the file system is asked for changes that no event told of; zero is never.
    pub poll: Duration,
    /// Before a removed webhook's pending deliveries become dead letters.
    pub removal_grace: Duration,
    /// How much of what was is kept for people.
    pub history: History,
    /// How a run ends.
    pub shutdown: Shutdown,
    /// What is logged and how.
    pub log: Log,
    /// Where spans are sent.
    pub traces: Traces,
}

/// `[ingest]`.
#[derive(Debug, PartialEq)]
pub struct Ingest {
    /// Where it listens.
    pub listen: Listen,
    /// The mode of its Unix socket.
    pub socket_mode: u32,
    /// The users who may connect to its Unix socket; nobody named means the process's own user and root.
    pub allow_uids: Vec<u32>,
    /// The bearer token that callers must show.
    pub token: Option<Secret>,
    /// The largest request body.
    pub body_bytes_max: usize,
    /// How long a repeated key is recognised.
    pub idempotency_window: Duration,
}

/// `[admin]`.
#[derive(Debug, PartialEq)]
pub struct Admin {
    /// Where it listens.
    pub listen: Listen,
    /// The mode of its Unix socket.
    pub socket_mode: u32,
    /// The users who may connect to its Unix socket; nobody named means the process's own user and root.
    pub allow_uids: Vec<u32>,
    /// The bearer token that callers must show.
    pub token: Option<Secret>,
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens.
    pub listen: Listen,
    /// Whether each webhook has series of its own.
    pub per_webhook: bool,
}

/// `[spool]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// Where it is.
    pub place: SpoolPlace,
    /// Its limit.
    pub bytes_max: u64,
    /// How long dead letters are kept.
    pub dead_letter_retention: Duration,
}

/// Where a spool is.
#[derive(Clone, Debug, PartialEq)]
pub enum SpoolPlace {
    /// In a directory.
    Disk(PathBuf),
    /// In NATS `JetStream`.
    Nats(Box<Nats>),
}

/// How a spool in NATS is reached, and what its stream is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Nats {
    /// The servers' URLs, which have no secrets in them.
    pub servers: Vec<String>,
    /// The stream, and the first part of its subjects.
    pub stream: String,
    /// On how many servers it is kept.
    pub replicas: usize,
    /// The domain of `JetStream`.
    pub domain: Option<String>,
    /// Who we are.
    pub login: Login,
    /// What is trusted and shown where TLS is spoken.
    pub tls: Arc<Tls>,
    /// Whether TLS has to be spoken, whatever the URLs say.
    pub tls_required: bool,
}

/// Who one is on a NATS server.
#[derive(Clone, Debug, PartialEq)]
pub enum Login {
    /// Nobody, or whom the client certificate names.
    Nobody,
    /// What stands in a credentials file.
    Credentials(Secret),
    /// The seed of an `NKey`.
    Nkey(Secret),
    /// A name and a password.
    Password(String, Secret),
}

/// `[history]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Invocations of each webhook; 0 keeps none.
    pub per_webhook: usize,
    /// What all of them may take of memory, their events included, in bytes.
    pub bytes_max: usize,
}

/// `[egress]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Egress {
    /// Ports that a URL may name.
    pub allow_ports: Vec<u16>,
    /// Non-public networks that may be reached.
    pub allow_networks: Vec<IpNet>,
    /// When not empty, nothing else may be reached.
    pub allowed_hosts: Vec<Glob>,
    /// PEM text of `ca_file`: certificates trusted beside the public roots.
    pub ca_pem: Option<String>,
}

/// `config.on_invalid_webhook`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalidWebhook {
    /// It refuses to start.
    Refuse,
    /// It leaves the webhook out and reports it.
    Quarantine,
}

/// `[shutdown]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long attempts in flight may take to end.
    pub grace: Duration,
    /// How long ingest goes on after the signal.
    pub delay: Duration,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// JSON lines, or text for people.
    pub json: bool,
    /// error, warn, info, debug or trace.
    pub level: tracing::Level,
}

/// How many parts [`Traces::sampled_parts`] are of.
pub const SAMPLE_PARTS: u32 = 1_000_000;

/// `[traces]`. What it leaves open the environment may say.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The collector's base URL.
    pub endpoint: Option<String>,
    /// What goes with each request to it.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Of the traces that begin here, how many of [`SAMPLE_PARTS`] are recorded.
    pub sampled_parts: u32,
    /// Who we are to it.
    pub service_name: Option<String>,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: None, headers: Vec::new(), sampled_parts: SAMPLE_PARTS, service_name: None }
    }
}

/// The mode of a Unix socket of which nothing is said: its owner and group may connect.
pub const SOCKET_MODE: u32 = 0o660;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 is any free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}
