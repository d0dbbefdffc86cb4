//! Dispatch: one task a webhook leases what is due and spawns an attempt for each, within the webhook's concurrency.
//!
//! A webhook's task knows nothing of the others, so that one webhook never waits for another. It reads the Snapshot in
//! force anew before every lease: a changed definition counts from the next attempt, and attempts in flight end on theirs.

mod deliver;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::delivery::Reason;
use crate::live::{Live, Reader};
use crate::metrics::Metrics;
use crate::settled::Settled;
use crate::spool::Spool;
use crate::webhook::{Status, Webhook};

/// Deliveries that one lease takes.
const LEASE_MAX: usize = 64;
/// How often the spool is asked for webhooks that no task runs for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is asked whether a removed webhook still owes anything.
const REMOVED_INTERVAL: Duration = Duration::from_secs(1);

/// What all webhooks' tasks share.
pub struct Dispatch {
    /// What is in force.
    pub live: Reader,
    /// Where deliveries come from and settlements go.
    pub spool: Arc<dyn Spool>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who waits for ends.
    pub settled: Arc<Settled>,
    /// Cancelled when no more attempts are begun.
    pub stop: CancellationToken,
}

/// Attempts in flight of one webhook.
#[derive(Default)]
struct InFlight {
    count: AtomicUsize,
    ended: Notify,
}

impl Dispatch {
    /// Runs until `stop`, then until the attempts in flight have ended.
    pub async fn run(self: Arc<Self>) {
        let attempts = TaskTracker::new();
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<Arc<str>, AbortHandle> = BTreeMap::new();
        let mut live = self.live.clone();
        while !self.stop.is_cancelled() {
            running.retain(|_, task| !task.is_finished());
            for name in self.names(&live.borrow_and_update()) {
                running.entry(name).or_insert_with_key(|name| {
                    let (dispatch, attempts, name) = (Arc::clone(&self), attempts.clone(), Arc::clone(name));
                    tasks.spawn(async move { dispatch.run_webhook(&name, &attempts).await })
                });
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                changed = live.changed() => if changed.is_err() { break },
                // An event that was planned before its webhook went may be appended after it, and a task that panicked is begun
                // again here, so that it does not spin.
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                Some(Ok(())) = tasks.join_next() => {}
            }
        }
        tasks.join_all().await;
        attempts.close();
        attempts.wait().await;
    }

    /// The webhooks that are configured, and those that the spool holds deliveries for.
    fn names(&self, live: &Live) -> Vec<Arc<str>> {
        let pending = self.spool.backlog().into_iter().filter(|backlog| backlog.pending > 0);
        let mut names: Vec<Arc<str>> = pending.map(|backlog| backlog.webhook).collect();
        names.extend(live.snapshot.webhooks.keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    fn pending(&self, name: &str) -> u64 {
        self.spool.backlog().into_iter().find(|backlog| *backlog.webhook == *name).map_or(0, |backlog| backlog.pending)
    }

    /// One webhook's task. It ends with `stop`, or when the webhook is removed and its deliveries are buried.
    async fn run_webhook(self: &Arc<Self>, name: &Arc<str>, attempts: &TaskTracker) {
        let mut reader = self.live.clone();
        let in_flight = Arc::new(InFlight::default());
        loop {
            let live = Arc::clone(&reader.borrow_and_update());
            let Some(webhook) = live.snapshot.webhooks.get(name) else {
                if live.names(name) {
                    // Its file is there and faulty: nothing can be sent, and nothing is given up.
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        changed = reader.changed() => if changed.is_err() { return },
                    }
                } else if self.bury_removed(name, &mut reader).await {
                    return;
                }
                continue;
            };
            let free = webhook.concurrency.saturating_sub(in_flight.count.load(Ordering::Acquire));
            if webhook.status != Status::Active || free == 0 {
                let held = webhook.status != Status::Active;
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    changed = reader.changed() => if changed.is_err() { return },
                    () = in_flight.ended.notified(), if !held => {}
                }
                continue;
            }
            let leases = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                changed = reader.changed() => if changed.is_err() { return } else { continue },
                leases = self.spool.lease(name, free.min(LEASE_MAX)) => leases,
            };
            if leases.is_empty() {
                return;
            }
            in_flight.count.fetch_add(leases.len(), Ordering::AcqRel);
            for lease in leases {
                let (dispatch, live, slot) = (Arc::clone(self), Arc::clone(&live), Slot(Arc::clone(&in_flight)));
                let webhook = Arc::clone(webhook);
                attempts.spawn(async move {
                    dispatch.deliver(&live, &webhook, lease).await;
                    drop(slot);
                });
            }
        }
    }

    /// Waits until a removed webhook owes nothing, and takes its series away. What it owes after `config.removal_grace` becomes
    /// dead letters; what was in flight then, after another. `false` when the webhook came back.
    async fn bury_removed(&self, name: &Arc<str>, reader: &mut Reader) -> bool {
        let grace = reader.borrow().snapshot.settings.removal_grace;
        let over = tokio::time::sleep(grace);
        let mut over = std::pin::pin!(over);
        // What was in flight when the file went may be all that it owed. The series are kept for as long as a publication counts
        // by them, be it the next one.
        while self.pending(name) > 0 || !self.metrics.remove_webhook(name) {
            tokio::select! {
                () = self.stop.cancelled() => return true,
                () = over.as_mut() => {
                    self.bury_all(name).await;
                    over.as_mut().reset(Instant::now() + grace.max(REMOVED_INTERVAL));
                }
                () = tokio::time::sleep(REMOVED_INTERVAL) => {}
                changed = reader.changed() => {
                    if changed.is_err() {
                        return true;
                    }
                    if reader.borrow_and_update().snapshot.webhooks.contains_key(name) {
                        return false;
                    }
                }
            }
        }
        true
    }

    async fn bury_all(&self, name: &Arc<str>) {
        match self.spool.bury(name, Reason::WebhookRemoved, None).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::warn!(webhook = %name, count, reason = %Reason::WebhookRemoved, "deliveries of a removed webhook are dead letters");
            }
            Err(error) => {
                tracing::error!(webhook = %name, %error, "deliveries of a removed webhook could not be buried");
            }
        }
    }
}

/// One attempt's place among those in flight; dropping it makes room, also after a panic.
struct Slot(Arc<InFlight>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_one();
    }
}

/// What a webhook's attempts are counted by; none when the webhook has just gone.
fn handles<'l>(live: &'l Live, webhook: &Webhook) -> Option<&'l Arc<crate::metrics::WebhookMetrics>> {
    live.handles.get(&webhook.name)
}
