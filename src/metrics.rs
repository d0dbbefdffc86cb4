//! Every metric in one place: name, help, labels, and the typed handles through which the rest of the code counts.
//!
//! Series of a webhook start at zero when its definition arrives and go when it goes and owes nothing any more. Labels are bounded: webhook and
//! validator names come from the configuration, kinds from the Snapshot, reasons and outcomes from closed lists. Where
//! `metrics.per_webhook` is false, all webhooks have one set of series.

mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use self::together::{ALL, Fold, Together, sum};
use crate::delivery::{Cause, Reason};

/// Upper bounds of the buckets for exchanges with targets, in seconds.
const EXCHANGE_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of the buckets from 202 to accepted, in seconds: retries make hours.
const LATENCY_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0];
/// Upper bounds of the buckets for commits of the spool, in seconds.
const COMMIT_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// Webhooks with series, beyond which one without a definition gets none: twice as many as there may be files.
const UNDEFINED_MAX: usize = 20_000;

/// A request for a token that was answered with one, as the label `outcome` of `oauth_token_requests_total`.
const ISSUED: &str = "issued";
/// One that was not.
const FAILED: &str = "failed";

/// What an ingest request's event came to, as the label `result` of `events_received_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Durable for every webhook that wants it, and answered 202.
    Accepted,
    /// Its idempotency key came before: answered as before, and nothing was kept.
    Repeated,
    /// Answered with a 4xx.
    Invalid,
    /// The spool could not take it: answered 503.
    Unavailable,
}

impl Received {
    const ALL: [Self; 4] = [Self::Accepted, Self::Repeated, Self::Invalid, Self::Unavailable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What a look at the configuration came to, as the label `result` of `config_reloads_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// A new Snapshot was published.
    Published,
    /// Nothing differed.
    Unchanged,
    /// A fault was found and the old Snapshot kept.
    Refused,
}

impl Reloaded {
    const ALL: [Self; 3] = [Self::Published, Self::Unchanged, Self::Refused];

    /// Its spelling, everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// One line of the metrics table in the README.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The full name.
    pub name: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// counter, gauge or histogram.
    pub kind: &'static str,
    /// What it counts.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident = $name:literal [$($label:literal),*] $kind:literal $help:literal;)*) => {
        $(const $id: Description = Description {
            name: concat!("outrigger_", $name), labels: &[$($label),*], kind: $kind, help: $help,
        };)*
        /// Every family that the process exposes beside `process_*`.
        pub const FAMILIES: &[Description] = &[$($id),*];
    };
}

families! {
    BUILD_INFO = "build_info" ["version", "revision"] "gauge" "Version and source revision of the running binary; always 1.";
    EVENTS_RECEIVED = "events_received_total" ["kind", "result"] "counter" "Events that came in, by kind and result: accepted, repeated, invalid or unavailable.";
    EVENTS_UNMATCHED = "events_unmatched_total" ["kind"] "counter" "Accepted events that no webhook wanted.";
    EVENTS_FILTERED = "events_filtered_total" ["webhook"] "counter" "Events whose trigger fitted and that a filter kept out.";
    DELIVERIES = "deliveries_total" ["webhook", "outcome"] "counter" "Deliveries that came to their end: delivered or dead.";
    ATTEMPTS = "attempts_total" ["webhook", "outcome"] "counter" "Attempts by outcome: accepted or failed.";
    ATTEMPT_FAILURES = "attempt_failures_total" ["webhook", "reason"] "counter" "Failed attempts by reason.";
    ATTEMPT_DURATION = "attempt_duration_seconds" ["webhook"] "histogram" "Time of one attempt, from rendering to the response's end.";
    DELIVERY_LATENCY = "delivery_latency_seconds" ["webhook"] "histogram" "Time from the event's arrival, or its delivery's replay, to the accepted response.";
    VALIDATOR_FAILURES = "validator_failures_total" ["webhook", "validator"] "counter" "Responses that a validator refused.";
    MISSING_FIELDS = "template_missing_fields_total" ["webhook"] "counter" "Fields that a template named and an event lacked.";
    SHADOW_RENDERS = "shadow_renders_total" ["webhook", "outcome"] "counter" "Events that a shadow webhook matched: rendered or failed.";
    PENDING = "pending_deliveries" ["webhook"] "gauge" "Deliveries in the spool that are not settled.";
    OLDEST_PENDING = "oldest_pending_seconds" ["webhook"] "gauge" "Age of the oldest delivery that is not settled; 0 when there is none.";
    DEAD_LETTERS = "dead_letters" ["webhook"] "gauge" "Dead letters kept in the spool.";
    DEAD_LETTERS_TOTAL = "dead_letters_total" ["webhook", "reason"] "counter" "Deliveries given up on, by reason.";
    REMOVED_DEAD_LETTERS = "removed_dead_letters_total" [] "counter" "Deliveries given up on because their webhook was removed; its own series may have gone before anybody reads them.";
    PAUSED = "webhook_paused" ["webhook", "cause"] "gauge" "1 while the webhook is paused for this cause, else 0.";
    TOKEN_REQUESTS = "oauth_token_requests_total" ["webhook", "outcome"] "counter" "Requests for an OAuth 2.0 token: issued or failed. Webhooks that share a token share its requests.";
    TARGET_CERTIFICATE = "target_certificate_expiry_timestamp_seconds" ["webhook"] "gauge" "Unix time at which the certificate expires that the target showed last.";
    CLIENT_CERTIFICATE = "client_certificate_expiry_timestamp_seconds" ["webhook"] "gauge" "Unix time at which the client certificate in force expires.";
    LAST_SUCCESS = "last_success_timestamp_seconds" ["webhook"] "gauge" "Unix time of the last accepted attempt; 0 before the first.";
    SPOOL_INFO = "spool_info" ["place"] "gauge" "Where the spool is, disk or nats; always 1. Sidecars with one in NATS tell of one spool together.";
    SPOOL_BYTES = "spool_bytes" [] "gauge" "Bytes that the spool holds.";
    SPOOL_MAX_BYTES = "spool_max_bytes" [] "gauge" "The limit of the spool, beyond which ingest answers 503.";
    SPOOL_UP = "spool_up" [] "gauge" "1 while the spool can take and give, 0 while its NATS servers are away.";
    SPOOL_COMMIT = "spool_commit_duration_seconds" [] "histogram" "Time of one durable commit of a spool on the disk.";
    RELOAD_OK = "config_last_reload_successful" [] "gauge" "1 when the configuration on disk is the one in force, 0 when the last reload was refused.";
    RELOAD_TIME = "config_last_reload_success_timestamp_seconds" [] "gauge" "Unix time at which the configuration in force was published.";
    RELOADS = "config_reloads_total" ["result"] "counter" "Looks at the configuration: published, unchanged or refused.";
    CONFIG_HASH = "config_hash" [] "gauge" "Hash of the configuration in force as a number of 48 bits; its 12 hex digits stand in the log.";
    CONFIG_WEBHOOKS = "config_webhooks" ["status"] "gauge" "Webhooks in the configuration in force, by status.";
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    events_received: IntCounterVec,
    events_unmatched: IntCounterVec,
    families: WebhookFamilies,
    webhooks: Mutex<BTreeMap<Arc<str>, Arc<WebhookMetrics>>>,
    removed_dead: IntCounter,
    spool_info: IntGaugeVec,
    spool_bytes: IntGauge,
    spool_bytes_max: IntGauge,
    spool_up: IntGauge,
    spool_commit: Histogram,
    reload_ok: IntGauge,
    reload_time: Gauge,
    reloads: IntCounterVec,
    config_hash: IntGauge,
    config_webhooks: IntGaugeVec,
}

/// The families whose series belong to one webhook, or to all of them.
struct WebhookFamilies {
    /// Whether all webhooks count by the same series, and their gauges are told as one.
    together: bool,
    filtered: IntCounterVec,
    deliveries: IntCounterVec,
    attempts: IntCounterVec,
    failures: IntCounterVec,
    duration: HistogramVec,
    latency: HistogramVec,
    validators: IntCounterVec,
    missing: IntCounterVec,
    shadow: IntCounterVec,
    pending: IntGaugeVec,
    oldest: GaugeVec,
    dead: IntGaugeVec,
    dead_total: IntCounterVec,
    paused: IntGaugeVec,
    last_success: GaugeVec,
    /// The families whose series do not begin with their webhook's.
    sparse: Sparse,
}

/// Families that only some webhooks have series of, beginning when there is something to tell: a certificate that nobody has seen does
/// not expire in 1970.
#[derive(Clone)]
struct Sparse {
    token_requests: IntCounterVec,
    target_certificate: GaugeVec,
    client_certificate: GaugeVec,
}

/// The handles of one webhook, fetched once so that counting costs no look-up.
pub struct WebhookMetrics {
    /// Events that a filter kept out.
    pub filtered: IntCounter,
    /// Deliveries accepted by the target.
    pub delivered: IntCounter,
    dead_deliveries: IntCounter,
    attempts_accepted: IntCounter,
    attempts_failed: IntCounter,
    failures: Vec<IntCounter>,
    duration: Histogram,
    latency: Histogram,
    validators: BTreeMap<Arc<str>, IntCounter>,
    /// Fields that templates missed.
    pub missing: IntCounter,
    shadow_rendered: IntCounter,
    shadow_failed: IntCounter,
    pending: IntGauge,
    oldest: Gauge,
    dead: IntGauge,
    dead_total: Vec<IntCounter>,
    paused: Vec<(Cause, IntGauge)>,
    last_success: Gauge,
    name: Arc<str>,
    /// Whether it counts by the series of all webhooks.
    together: bool,
    sparse: Sparse,
    /// What was told last of the target's certificate, in seconds; 0 where nothing was.
    target_certificate: AtomicI64,
    /// The target that it is of.
    target: Mutex<Option<String>>,
}

impl Metrics {
    /// A registry with every family in it and the given kinds' series at zero, with series for each webhook.
    pub fn new<'k>(kinds: impl IntoIterator<Item = &'k str>) -> Result<Self, prometheus::Error> {
        Self::told(kinds, true)
    }

    /// The same, where it is said whether each webhook has series of its own.
    pub fn told<'k>(kinds: impl IntoIterator<Item = &'k str>, per_webhook: bool) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = register(&registry, IntGaugeVec::new(opts(&BUILD_INFO), BUILD_INFO.labels)?)?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), option_env!("OUTRIGGER_REVISION").unwrap_or("unknown")])
            .set(1);
        let metrics = Self {
            events_received: counters(&registry, &EVENTS_RECEIVED)?,
            events_unmatched: counters(&registry, &EVENTS_UNMATCHED)?,
            families: WebhookFamilies::new(&registry, !per_webhook)?,
            webhooks: Mutex::default(),
            removed_dead: register(&registry, IntCounter::with_opts(opts(&REMOVED_DEAD_LETTERS))?)?,
            spool_info: register(&registry, IntGaugeVec::new(opts(&SPOOL_INFO), SPOOL_INFO.labels)?)?,
            spool_bytes: register(&registry, IntGauge::with_opts(opts(&SPOOL_BYTES))?)?,
            spool_bytes_max: register(&registry, IntGauge::with_opts(opts(&SPOOL_MAX_BYTES))?)?,
            spool_up: register(&registry, IntGauge::with_opts(opts(&SPOOL_UP))?)?,
            spool_commit: register(
                &registry,
                Histogram::with_opts(HistogramOpts::from(opts(&SPOOL_COMMIT)).buckets(COMMIT_BUCKETS.to_vec()))?,
            )?,
            reload_ok: register(&registry, IntGauge::with_opts(opts(&RELOAD_OK))?)?,
            reload_time: register(&registry, Gauge::with_opts(opts(&RELOAD_TIME))?)?,
            reloads: counters(&registry, &RELOADS)?,
            config_hash: register(&registry, IntGauge::with_opts(opts(&CONFIG_HASH))?)?,
            config_webhooks: register(&registry, IntGaugeVec::new(opts(&CONFIG_WEBHOOKS), CONFIG_WEBHOOKS.labels)?)?,
            registry,
        };
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        metrics.start_kinds(kinds);
        for result in Reloaded::ALL {
            metrics.reloads.with_label_values(&[result.as_str()]);
        }
        Ok(metrics)
    }

    /// Starts the series of these kinds at zero; those that exist go on.
    pub fn start_kinds<'k>(&self, kinds: impl IntoIterator<Item = &'k str>) {
        for kind in kinds {
            for result in Received::ALL {
                self.events_received.with_label_values(&[kind, result.as_str()]);
            }
            self.events_unmatched.with_label_values(&[kind]);
        }
    }

    /// Counts events that came in. `kind` is the name of a kind that exists, never what a sender wrote.
    pub fn received(&self, kind: &str, result: Received, count: u64) {
        self.events_received.with_label_values(&[kind, result.as_str()]).inc_by(count);
    }

    /// Counts an event that no webhook wanted.
    pub fn unmatched(&self, kind: &str) {
        self.events_unmatched.with_label_values(&[kind]).inc();
    }

    /// The handles of a webhook; its series start at zero at the first call.
    pub fn webhook<'v>(
        &self,
        name: &Arc<str>,
        validators: impl IntoIterator<Item = &'v Arc<str>>,
    ) -> Arc<WebhookMetrics> {
        let all = Arc::from(ALL);
        let validators: BTreeSet<&Arc<str>> =
            if self.families.together { BTreeSet::from([&all]) } else { validators.into_iter().collect() };
        let mut webhooks = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = webhooks.get(name)
            && known.validators.keys().eq(validators.iter().copied())
        {
            return Arc::clone(known);
        }
        let fresh = Arc::new(self.families.handles(name, validators));
        if let Some(known) = webhooks.insert(Arc::clone(name), Arc::clone(&fresh)) {
            for validator in known.validators.keys().filter(|validator| !fresh.validators.contains_key(*validator)) {
                let _ = self.families.validators.remove_label_values(&[name.as_ref(), validator.as_ref()]);
            }
        }
        fresh
    }

    /// The handles of a webhook that no definition in force names, whose file is faulty, or gone while the spool owes it something: those
    /// that it has, or new ones. None where there are so many that they would have no bound.
    pub fn undefined_webhook(&self, name: &Arc<str>) -> Option<Arc<WebhookMetrics>> {
        let mut webhooks = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = webhooks.get(name) {
            return Some(Arc::clone(known));
        }
        if webhooks.len() >= UNDEFINED_MAX {
            return None;
        }
        let fresh = Arc::new(self.families.handles(name, []));
        webhooks.insert(Arc::clone(name), Arc::clone(&fresh));
        Some(fresh)
    }

    /// Counts deliveries that became dead letters because their webhook is gone.
    pub fn buried_removed(&self, name: &Arc<str>, count: u64) {
        self.removed_dead.inc_by(count);
        if let Some(handles) = self.undefined_webhook(name) {
            handles.buried(Reason::WebhookRemoved, count);
        }
    }

    /// Takes a webhook's series away; `false` while somebody holds its handles, and counts by them or is about to.
    pub fn remove_webhook(&self, name: &str) -> bool {
        let mut webhooks = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        // Handles are given out under this lock, so nobody takes one between the look and the removal.
        if webhooks.get(name).is_some_and(|known| Arc::strong_count(known) > 1) {
            return false;
        }
        if let Some(known) = webhooks.remove(name) {
            self.families.remove(name, known.validators.keys());
        }
        true
    }

    /// Says how much lies in the spool for a webhook. Nothing is said of a webhook that has no series.
    pub fn set_backlog(&self, name: &str, pending: u64, dead: u64, oldest: Option<Duration>) {
        let known = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(webhook) = known {
            webhook.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
            webhook.dead.set(i64::try_from(dead).unwrap_or(i64::MAX));
            webhook.oldest.set(oldest.map_or(0.0, |age| age.as_secs_f64()));
        }
    }

    /// Where the spool is, and its limit.
    pub fn set_spool_max(&self, place: &str, bytes: u64) {
        self.spool_info.with_label_values(&[place]).set(1);
        self.spool_bytes_max.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The spool's size, and whether it is there.
    pub fn set_spool(&self, bytes: u64, up: bool) {
        self.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.spool_up.set(i64::from(up));
    }

    /// The histogram of commits, for the spool's writer.
    pub fn spool_commits(&self) -> Histogram {
        self.spool_commit.clone()
    }

    /// Counts a look at the configuration and says whether what is on disk is in force.
    pub fn reloaded(&self, result: Reloaded, now: Timestamp) {
        self.reloads.with_label_values(&[result.as_str()]).inc();
        self.reload_ok.set(i64::from(result != Reloaded::Refused));
        if result == Reloaded::Published {
            self.reload_time.set(seconds(now));
        }
    }

    /// Which configuration is in force, by the 12 hex digits of its hash.
    pub fn set_config_hash(&self, hash: &str) {
        self.config_hash.set(i64::from_str_radix(hash, 16).unwrap_or_default());
    }

    /// How many webhooks there are of each status.
    pub fn set_config_webhooks(&self, active: usize, inactive: usize, shadow: usize) {
        for (status, count) in [("active", active), ("inactive", inactive), ("shadow", shadow)] {
            self.config_webhooks.with_label_values(&[status]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The page that Prometheus scrapes: text exposition format 0.0.4.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(page)
    }
}

impl WebhookFamilies {
    fn new(registry: &Registry, together: bool) -> Result<Self, prometheus::Error> {
        let whole = |family: &Description, fold| {
            told(registry, IntGaugeVec::new(opts(family), family.labels)?, together.then_some(fold))
        };
        let gauges = |family: &Description, fold| {
            told(registry, GaugeVec::new(opts(family), family.labels)?, together.then_some(fold))
        };
        Ok(Self {
            together,
            filtered: counters(registry, &EVENTS_FILTERED)?,
            deliveries: counters(registry, &DELIVERIES)?,
            attempts: counters(registry, &ATTEMPTS)?,
            failures: counters(registry, &ATTEMPT_FAILURES)?,
            duration: histograms(registry, &ATTEMPT_DURATION, &EXCHANGE_BUCKETS)?,
            latency: histograms(registry, &DELIVERY_LATENCY, &LATENCY_BUCKETS)?,
            validators: counters(registry, &VALIDATOR_FAILURES)?,
            missing: counters(registry, &MISSING_FIELDS)?,
            shadow: counters(registry, &SHADOW_RENDERS)?,
            pending: whole(&PENDING, sum)?,
            oldest: gauges(&OLDEST_PENDING, f64::max)?,
            dead: whole(&DEAD_LETTERS, sum)?,
            dead_total: counters(registry, &DEAD_LETTERS_TOTAL)?,
            paused: whole(&PAUSED, sum)?,
            last_success: gauges(&LAST_SUCCESS, f64::max)?,
            sparse: Sparse {
                token_requests: counters(registry, &TOKEN_REQUESTS)?,
                target_certificate: gauges(&TARGET_CERTIFICATE, f64::min)?,
                client_certificate: gauges(&CLIENT_CERTIFICATE, f64::min)?,
            },
        })
    }

    fn handles<'v>(&self, owned: &Arc<str>, validators: impl IntoIterator<Item = &'v Arc<str>>) -> WebhookMetrics {
        let name = owned.as_ref();
        // What is counted is counted for all; gauges are set for one, and told together when somebody looks.
        let counted = if self.together { ALL } else { name };
        let by_reason = |family: &IntCounterVec| {
            Reason::ALL.iter().map(|reason| family.with_label_values(&[counted, reason.as_str()])).collect()
        };
        WebhookMetrics {
            filtered: self.filtered.with_label_values(&[counted]),
            delivered: self.deliveries.with_label_values(&[counted, "delivered"]),
            dead_deliveries: self.deliveries.with_label_values(&[counted, "dead"]),
            attempts_accepted: self.attempts.with_label_values(&[counted, "accepted"]),
            attempts_failed: self.attempts.with_label_values(&[counted, "failed"]),
            failures: by_reason(&self.failures),
            duration: self.duration.with_label_values(&[counted]),
            latency: self.latency.with_label_values(&[counted]),
            validators: validators
                .into_iter()
                .map(|validator| {
                    (Arc::clone(validator), self.validators.with_label_values(&[counted, validator.as_ref()]))
                })
                .collect(),
            missing: self.missing.with_label_values(&[counted]),
            shadow_rendered: self.shadow.with_label_values(&[counted, "rendered"]),
            shadow_failed: self.shadow.with_label_values(&[counted, "failed"]),
            pending: self.pending.with_label_values(&[name]),
            oldest: self.oldest.with_label_values(&[name]),
            dead: self.dead.with_label_values(&[name]),
            dead_total: by_reason(&self.dead_total),
            paused: Cause::ALL.map(|cause| (cause, self.paused.with_label_values(&[name, cause.as_str()]))).into(),
            last_success: self.last_success.with_label_values(&[name]),
            name: Arc::clone(owned),
            together: self.together,
            sparse: self.sparse.clone(),
            target_certificate: AtomicI64::new(0),
            target: Mutex::default(),
        }
    }

    /// A series that is not there needs no removing, so the answers are of no interest.
    fn remove<'v>(&self, name: &str, validators: impl Iterator<Item = &'v Arc<str>>) {
        let Sparse { token_requests, target_certificate, client_certificate } = &self.sparse;
        for cause in Cause::ALL {
            let _ = self.paused.remove_label_values(&[name, cause.as_str()]);
        }
        for family in [&self.pending, &self.dead] {
            let _ = family.remove_label_values(&[name]);
        }
        for family in [&self.oldest, &self.last_success, target_certificate, client_certificate] {
            let _ = family.remove_label_values(&[name]);
        }
        if self.together {
            // What was counted for all stays counted.
            return;
        }
        for family in [&self.filtered, &self.missing] {
            let _ = family.remove_label_values(&[name]);
        }
        for outcome in ["delivered", "dead"] {
            let _ = self.deliveries.remove_label_values(&[name, outcome]);
        }
        for outcome in ["accepted", "failed"] {
            let _ = self.attempts.remove_label_values(&[name, outcome]);
        }
        for outcome in ["rendered", "failed"] {
            let _ = self.shadow.remove_label_values(&[name, outcome]);
        }
        for reason in Reason::ALL {
            let _ = self.failures.remove_label_values(&[name, reason.as_str()]);
            let _ = self.dead_total.remove_label_values(&[name, reason.as_str()]);
        }
        for validator in validators {
            let _ = self.validators.remove_label_values(&[name, validator.as_ref()]);
        }
        for family in [&self.duration, &self.latency] {
            let _ = family.remove_label_values(&[name]);
        }
        for outcome in [ISSUED, FAILED] {
            let _ = token_requests.remove_label_values(&[name, outcome]);
        }
    }
}

impl WebhookMetrics {
    /// Counts an accepted attempt, which ends its delivery.
    pub fn accepted(&self, duration: Duration, latency: Duration, now: Timestamp) {
        self.attempts_accepted.inc();
        self.delivered.inc();
        self.duration.observe(duration.as_secs_f64());
        self.latency.observe(latency.as_secs_f64());
        self.last_success.set(seconds(now));
    }

    /// Counts a failed attempt.
    pub fn failed(&self, reason: Reason, duration: Duration) {
        self.attempts_failed.inc();
        self.duration.observe(duration.as_secs_f64());
        if let Some(counter) = self.failures.get(reason as usize) {
            counter.inc();
        }
    }

    /// Counts deliveries that became dead letters.
    pub fn buried(&self, reason: Reason, count: u64) {
        self.dead_deliveries.inc_by(count);
        if let Some(counter) = self.dead_total.get(reason as usize) {
            counter.inc_by(count);
        }
    }

    /// Says for which cause the webhook is paused, if it is.
    pub fn set_paused(&self, cause: Option<Cause>) {
        for (known, gauge) in &self.paused {
            gauge.set(i64::from(cause == Some(*known)));
        }
    }

    /// Counts a response that a validator refused.
    pub fn validator_failed(&self, validator: &str) {
        if let Some(counter) = self.validators.get(if self.together { ALL } else { validator }) {
            counter.inc();
        }
    }

    /// Starts the counts of requests for a token at zero, or takes them away where none is needed.
    pub fn count_tokens(&self, needed: bool) {
        for outcome in [ISSUED, FAILED] {
            let labels = [self.counted(), outcome];
            if needed {
                self.sparse.token_requests.with_label_values(&labels);
            } else if !self.together {
                let _ = self.sparse.token_requests.remove_label_values(&labels);
            }
        }
    }

    /// Says which target the webhook sends to, if it does: of another one's certificate nothing is told any more.
    pub fn set_target(&self, target: Option<&str>) {
        let mut known = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != target {
            *known = target.map(str::to_owned);
            self.target_certificate.store(0, Ordering::Relaxed);
            let _ = self.sparse.target_certificate.remove_label_values(&[self.name.as_ref()]);
        }
    }

    /// Counts requests for a token.
    pub fn tokens(&self, issued: u64, failed: u64) {
        for (outcome, count) in [(ISSUED, issued), (FAILED, failed)] {
            if count > 0 {
                self.sparse.token_requests.with_label_values(&[self.counted(), outcome]).inc_by(count);
            }
        }
    }

    /// When the certificate expires that the target showed.
    pub fn set_target_certificate(&self, expires: Timestamp) {
        // It is the same for months, and told after every attempt.
        if self.target_certificate.swap(expires.as_second(), Ordering::Relaxed) != expires.as_second() {
            self.sparse.target_certificate.with_label_values(&[self.name.as_ref()]).set(seconds(expires));
        }
    }

    /// When the webhook's client certificate expires, if it has one.
    pub fn set_client_certificate(&self, expires: Option<Timestamp>) {
        match expires {
            Some(expires) => {
                self.sparse.client_certificate.with_label_values(&[self.name.as_ref()]).set(seconds(expires));
            }
            None => drop(self.sparse.client_certificate.remove_label_values(&[self.name.as_ref()])),
        }
    }

    /// Counts an event that a shadow webhook matched.
    pub fn shadowed(&self, rendered: bool) {
        if rendered { self.shadow_rendered.inc() } else { self.shadow_failed.inc() }
    }

    /// The label `webhook` of what it counts.
    fn counted(&self) -> &str {
        if self.together { ALL } else { &self.name }
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into 53 bits")]
fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

fn opts(family: &Description) -> Opts {
    Opts::new(family.name, family.help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(registry: &Registry, family: &Description) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(opts(family), family.labels)?)
}

/// Gauges of webhooks: shown for each, or as what the values of all come to.
fn told<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: C,
    fold: Option<Fold>,
) -> Result<C, prometheus::Error> {
    match fold {
        Some(fold) => registry.register(Box::new(Together::new(family.clone(), fold)))?,
        None => registry.register(Box::new(family.clone()))?,
    }
    Ok(family)
}

fn histograms(registry: &Registry, family: &Description, buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
    register(registry, HistogramVec::new(HistogramOpts::from(opts(family)).buckets(buckets.to_vec()), family.labels)?)
}

#[cfg(test)]
mod tests;
