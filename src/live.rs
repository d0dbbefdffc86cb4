//! What is in force now: the Snapshot, and beside it what lives longer than one (connections, metric handles).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::client::Clients;
use crate::config::Snapshot;
use crate::metrics::{Metrics, WebhookMetrics};
use crate::webhook::Status;

/// One publication. Events and attempts hold on to the one that they began with.
pub struct Live {
    /// The compiled configuration.
    pub snapshot: Snapshot,
    /// Webhooks whose files a cold start found faulty and left out: what they owe is held until they are mended or removed.
    pub quarantined: Vec<Arc<str>>,
    /// Counts publications from 1.
    pub generation: u64,
    /// When it became what is in force.
    pub published_at: Timestamp,
    /// The webhooks' ways to their targets.
    pub clients: Clients,
    /// The metric handles of every webhook in the Snapshot.
    pub handles: BTreeMap<Arc<str>, Arc<WebhookMetrics>>,
}

/// Where readers find what is in force, and hear of the next.
pub type Reader = watch::Receiver<Arc<Live>>;

impl Live {
    /// Puts a publication together and starts its webhooks' series. The clients are those of the Snapshot's webhooks.
    pub fn new(snapshot: Snapshot, generation: u64, clients: Clients, metrics: &Metrics) -> Self {
        metrics.start_kinds(snapshot.kinds.keys().map(AsRef::as_ref));
        let handles = snapshot
            .webhooks
            .values()
            .map(|webhook| {
                let validators = webhook.validators.iter().map(|validator| &validator.name);
                let handles = metrics.webhook(&webhook.name, validators);
                handles.count_tokens(webhook.auth.as_ref().is_some_and(|auth| auth.grant().is_some()));
                let sends = webhook.status == Status::Active;
                handles.set_target(sends.then(|| format!("{}:{}", webhook.url.host, webhook.url.port)).as_deref());
                handles.set_client_certificate(webhook.tls.client.as_ref().map(|client| client.not_after));
                (Arc::clone(&webhook.name), handles)
            })
            .collect();
        let count = |status| snapshot.webhooks.values().filter(|webhook| webhook.status == status).count();
        metrics.set_config_webhooks(count(Status::Active), count(Status::Inactive), count(Status::Shadow));
        Self { snapshot, quarantined: Vec::new(), generation, published_at: Timestamp::now(), clients, handles }
    }

    /// Whether a file defines a webhook of this name, be it faulty.
    #[must_use]
    pub fn names(&self, webhook: &str) -> bool {
        self.snapshot.webhooks.contains_key(webhook) || self.quarantined.iter().any(|name| **name == *webhook)
    }
}
