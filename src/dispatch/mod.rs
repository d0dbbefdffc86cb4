//! Dispatch: one task a webhook leases what is due and spawns an attempt for each, as far as the webhook's gate is open and its
//! concurrency reaches.
//!
//! A webhook's task knows nothing of the others, so that one webhook never waits for another. It reads the Snapshot in
//! force anew before every lease: a changed definition counts from the next attempt, and attempts in flight end on theirs.
//! A publication wakes the tasks of those webhooks that it changes, and no others.
//!
//! ```text
//! ask the gate → lease as many, or one for a probe → begin each at the gate, which may have closed meanwhile → attempt
//!      ▲                                                                                                      │
//!      └───────────────── the gate changed, an attempt ended, a reload, a time came ◀──────────────────────────┘
//! ```
//!
//! What waits is woken and never looks by itself. While a gate is closed nothing is leased, so that the task also ends
//! deliveries whose `retry.max_age` is over.

mod deliver;
mod span;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Way;
use crate::delivery::{Cause, Reason};
use crate::gates::{Door, Gates, Opening};
use crate::history::History;
use crate::live::{Live, Reader};
use crate::metrics::Metrics;
use crate::settled::Settled;
use crate::spans::Spans;
use crate::spool::{Backlog, Spool};
use crate::webhook::{Status, Webhook};

/// Deliveries that one lease takes.
const LEASE_MAX: usize = 64;
/// How often the spool is asked for webhooks that no task runs for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is asked whether a removed webhook still owes anything.
const REMOVED_INTERVAL: Duration = Duration::from_secs(1);

/// How soon after a look for deliveries that are too old the next one comes at the latest, when some are left that only seem to
/// be: replayed ones, and those in flight.
const EXPIRY_RECHECK_MAX: Duration = Duration::from_mins(1);
/// And at the earliest.
const EXPIRY_RECHECK_MIN: Duration = Duration::from_secs(1);

/// What all webhooks' tasks share.
pub struct Dispatch {
    /// What is in force.
    pub live: Reader,
    /// Where deliveries come from and settlements go.
    pub spool: Arc<dyn Spool>,
    /// What holds webhooks back.
    pub gates: Arc<Gates>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who waits for ends.
    pub settled: Arc<Settled>,
    /// What people look at afterwards.
    pub history: Arc<History>,
    /// Where spans go.
    pub spans: Spans,
    /// Cancelled when no more attempts are begun.
    pub stop: CancellationToken,
}

/// A webhook's task.
struct Task {
    handle: AbortHandle,
    news: Arc<News>,
}

/// How a webhook's task hears of publications.
#[derive(Default)]
struct News {
    /// Told when a publication makes another webhook of it than the one that it goes by, or none.
    changed: Notify,
    /// The publication that the task goes by.
    seen: AtomicU64,
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
        let mut running: BTreeMap<Arc<str>, Task> = BTreeMap::new();
        let mut live = self.live.clone();
        let mut seen = Arc::clone(&live.borrow());
        while !self.stop.is_cancelled() {
            running.retain(|_, task| !task.handle.is_finished());
            let fresh = Arc::clone(&live.borrow_and_update());
            tell_changes(&running, &seen, &fresh);
            if fresh.snapshot.settings.history != seen.snapshot.settings.history {
                self.history.trim(fresh.snapshot.settings.history);
            }
            seen = fresh;
            self.spool.claim(seen.snapshot.webhooks.keys().chain(&seen.quarantined).cloned().collect());
            for name in self.names(&seen) {
                running.entry(name).or_insert_with_key(|name| {
                    let (dispatch, attempts, name) = (Arc::clone(&self), attempts.clone(), Arc::clone(name));
                    let news = Arc::new(News::default());
                    let told = Arc::clone(&news);
                    let handle = tasks.spawn(async move { dispatch.run_webhook(&name, &attempts, &told).await });
                    Task { handle, news }
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

    /// The webhooks that files name, be they faulty, and those that the spool holds deliveries for.
    fn names(&self, live: &Live) -> Vec<Arc<str>> {
        let pending = self.spool.backlog().into_iter().filter(|backlog| backlog.pending > 0);
        let mut names: Vec<Arc<str>> = pending.map(|backlog| backlog.webhook).collect();
        names.extend(live.snapshot.webhooks.keys().chain(&live.quarantined).cloned());
        names.sort();
        names.dedup();
        names
    }

    fn backlog(&self, name: &str) -> Option<Backlog> {
        self.spool.backlog().into_iter().find(|backlog| *backlog.webhook == *name)
    }

    fn pending(&self, name: &str) -> u64 {
        self.backlog(name).map_or(0, |backlog| backlog.pending)
    }

    /// One webhook's task. It ends with `stop`, or when the webhook is removed and its deliveries are buried.
    async fn run_webhook(self: &Arc<Self>, name: &Arc<str>, attempts: &TaskTracker, news: &News) {
        let in_flight = Arc::new(InFlight::default());
        let mut known = Known::default();
        loop {
            // What waits holds on to no publication, which would live as long as it waits.
            let live = self.take(news);
            let Some(webhook) = live.snapshot.webhooks.get(name).cloned() else {
                let faulty = live.names(name);
                drop(live);
                // What it owes is told as ever, though no definition started its series.
                drop(self.metrics.undefined_webhook(name));
                if faulty {
                    // Its file is there and faulty: nothing can be sent, and nothing is given up.
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = news.changed.notified() => {}
                    }
                } else if self.bury_removed(name).await {
                    return;
                }
                continue;
            };
            let door = self.gates.door(name, webhook.terms());
            known.take_in(&live, &webhook, &door);
            drop(live);
            if webhook.status != Status::Active {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = news.changed.notified() => {}
                    () = door.changed() => {}
                }
                continue;
            }
            let free = webhook.concurrency.saturating_sub(in_flight.count.load(Ordering::Acquire));
            let opening = door.poll();
            let count = match opening {
                Opening::Open(count) => count.min(free).min(LEASE_MAX),
                Opening::Until(_) | Opening::Held => 0,
            };
            if count == 0 {
                let opens = async {
                    match opening {
                        Opening::Until(at) => tokio::time::sleep_until(at).await,
                        Opening::Open(_) | Opening::Held => std::future::pending().await,
                    }
                };
                let expiry = *known.expiry.get_or_insert_with(|| self.next_expiry(&webhook));
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = news.changed.notified() => {}
                    () = door.changed() => {}
                    () = in_flight.ended.notified() => {}
                    () = opens => {}
                    () = tokio::time::sleep_until(expiry), if !matches!(opening, Opening::Open(_)) => {
                        self.bury_expired_pending(&webhook).await;
                        let recheck = (webhook.retry.max_age / 16).clamp(EXPIRY_RECHECK_MIN, EXPIRY_RECHECK_MAX);
                        known.expiry = Some(self.next_expiry(&webhook).max(Instant::now() + recheck));
                    }
                }
                continue;
            }
            let leases = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = news.changed.notified() => continue,
                () = door.changed() => continue,
                leases = self.spool.lease(name, count) => leases,
            };
            if leases.is_empty() {
                return;
            }
            let live = self.in_force();
            if !known.is_true(&live, name) {
                // A publication came with the lease: it goes back, and is leased again under the new definition.
                continue;
            }
            for lease in leases {
                let expired = deliver::is_expired(&webhook, &lease);
                let turn = if expired { None } else { door.begin() };
                if turn.is_none() && !expired {
                    // An attempt that ended while the lease was awaited may have closed the gate: the lease goes back in order.
                    continue;
                }
                in_flight.count.fetch_add(1, Ordering::AcqRel);
                let (dispatch, live, slot) = (Arc::clone(self), Arc::clone(&live), Slot(Arc::clone(&in_flight)));
                let webhook = Arc::clone(&webhook);
                // Boxed: what is spawned is moved several times, and a delivery on its way is large.
                attempts.spawn(Box::pin(async move {
                    dispatch.deliver(&live, &webhook, lease, turn).await;
                    drop(slot);
                }));
            }
        }
    }

    fn in_force(&self) -> Arc<Live> {
        Arc::clone(&self.live.borrow())
    }

    /// What is in force, for a task that goes by it from now on.
    fn take(&self, news: &News) -> Arc<Live> {
        loop {
            let live = self.in_force();
            news.seen.store(live.generation, Ordering::Release);
            // Who tells of the next publication looks at what was seen after it came: had it come before, it is seen here.
            if self.live.borrow().generation == live.generation {
                return live;
            }
        }
    }

    /// When some delivery may be older than `retry.max_age` at the earliest, by what is pending now or comes from now on.
    fn next_expiry(&self, webhook: &Webhook) -> Instant {
        let now = Timestamp::now();
        let oldest = self.backlog(&webhook.name).and_then(|backlog| backlog.oldest_pending).unwrap_or(now);
        let age = Duration::try_from(now.duration_since(oldest)).unwrap_or_default();
        // The spool tells times to the millisecond.
        Instant::now() + webhook.retry.max_age.saturating_sub(age).saturating_add(Duration::from_millis(1))
    }

    /// Makes dead letters of deliveries that wait and are too old.
    async fn bury_expired_pending(&self, webhook: &Webhook) {
        let max_age = SignedDuration::try_from(webhook.retry.max_age).unwrap_or(SignedDuration::MAX);
        let Ok(older_than) = Timestamp::now().checked_sub(max_age) else { return };
        match self.spool.bury(&webhook.name, Reason::Expired, Some(older_than)).await {
            Ok(0) => {}
            Ok(count) => {
                if let Some(handles) = handles(&self.in_force(), webhook) {
                    handles.buried(Reason::Expired, count);
                }
                tracing::warn!(
                    webhook = %webhook.name, count, reason = %Reason::Expired,
                    note = "deliveries that waited for retry.max_age are dead letters", "deliveries.expired"
                );
            }
            Err(error) => {
                tracing::error!(webhook = %webhook.name, %error, note = "deliveries that are too old could not be buried", "deliveries.unburied");
            }
        }
    }

    /// Waits until a removed webhook owes nothing, and takes its series away. What it owes after `config.removal_grace` becomes
    /// dead letters; what was in flight then, after another. `false` when the webhook came back.
    async fn bury_removed(&self, name: &Arc<str>) -> bool {
        let mut reader = self.live.clone();
        let (mut since, mut grace_min) = (Instant::now(), Duration::ZERO);
        // What was in flight when the file went may be all that it owed. The series are kept for as long as a publication counts
        // by them, be it the next one.
        while self.pending(name) > 0 || !self.metrics.remove_webhook(name) {
            let grace = reader.borrow().snapshot.settings.removal_grace;
            tokio::select! {
                () = self.stop.cancelled() => return true,
                () = tokio::time::sleep_until(since + grace.max(grace_min)) => {
                    // Who shares the spool and has it sends what it owes.
                    if !self.spool.is_claimed(name).await {
                        self.bury_all(name).await;
                    }
                    (since, grace_min) = (Instant::now(), REMOVED_INTERVAL);
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
        self.gates.remove(name);
        self.history.remove(name);
        true
    }

    async fn bury_all(&self, name: &Arc<str>) {
        match self.spool.bury(name, Reason::WebhookRemoved, None).await {
            Ok(0) => {}
            Ok(count) => {
                self.metrics.buried_removed(name, count);
                tracing::warn!(webhook = %name, count, reason = %Reason::WebhookRemoved, note = "deliveries of a removed webhook are dead letters", "deliveries.orphaned");
            }
            Err(error) => {
                tracing::error!(webhook = %name, %error, note = "deliveries of a removed webhook could not be buried", "deliveries.unburied");
            }
        }
    }
}

/// What a webhook's task remembers from one round to the next.
#[derive(Default)]
struct Known {
    /// The definition that the gate goes by, and the way to the target beside it.
    definition: Option<(u64, Option<Arc<Way>>)>,
    /// The publication that was looked at last.
    generation: u64,
    /// The cause that `webhook_paused` tells of.
    told: Option<Cause>,
    /// Before this no delivery is too old; `None` is unknown.
    expiry: Option<Instant>,
}

impl Known {
    /// Brings the gate and its metric up to date. A changed definition, secret or way may have mended what the webhook is
    /// paused for, and ends the pause.
    fn take_in(&mut self, live: &Live, webhook: &Webhook, door: &Door) {
        let fresh = self.generation != live.generation;
        if fresh {
            self.generation = live.generation;
            self.expiry = None;
            let same = self.definition.is_none() || self.is_true(live, &webhook.name);
            self.definition = Some((webhook.fingerprint, live.clients.way(&webhook.name).cloned()));
            door.redefine(webhook.terms(), same);
        }
        let cause = door.cause();
        if fresh || self.told != cause {
            self.told = cause;
            if let Some(handles) = handles(live, webhook) {
                handles.set_paused(cause);
            }
        }
    }

    /// Whether the webhook is in a publication just what it was when it was last taken in.
    fn is_true(&self, live: &Live, name: &str) -> bool {
        let webhook = live.snapshot.webhooks.get(name);
        self.definition.as_ref().zip(webhook).is_some_and(|((fingerprint, way), webhook)| {
            *fingerprint == webhook.fingerprint && is_same(way.as_ref(), live.clients.way(name))
        })
    }
}

/// Whether two are the very same way, or both are none.
fn is_same(way: Option<&Arc<Way>>, other: Option<&Arc<Way>>) -> bool {
    way.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

/// One attempt's place among those in flight; dropping it makes room, also after a panic.
struct Slot(Arc<InFlight>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_one();
    }
}

/// Wakes the tasks of webhooks that a publication changes, and those that went by one between the two, which nobody was told of.
fn tell_changes(running: &BTreeMap<Arc<str>, Task>, old: &Arc<Live>, new: &Arc<Live>) {
    if Arc::ptr_eq(old, new) {
        return;
    }
    for (name, task) in running {
        let fingerprint = |live: &Live| live.snapshot.webhooks.get(name).map(|webhook| webhook.fingerprint);
        let between = task.news.seen.load(Ordering::Acquire) > old.generation;
        let other_way = || !is_same(old.clients.way(name), new.clients.way(name));
        if between || fingerprint(old) != fingerprint(new) || old.names(name) != new.names(name) || other_way() {
            task.news.changed.notify_one();
        }
    }
}

/// What a webhook's attempts are counted by; none when the webhook has just gone.
fn handles<'l>(live: &'l Live, webhook: &Webhook) -> Option<&'l Arc<crate::metrics::WebhookMetrics>> {
    live.handles.get(&webhook.name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;
    use crate::client::{Clients, Routes};
    use crate::config::{Source, load};

    #[tokio::test]
    async fn a_task_that_went_by_a_publication_that_nobody_was_told_of_is_woken_when_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("webhooks")).unwrap();
        let metrics = Metrics::new(std::iter::empty()).unwrap();
        let live = |generation: u64, status: &str| {
            let text = format!("url = \"https://hooks.example.com/in\"\nstatus = \"{status}\"\n");
            std::fs::write(dir.path().join("webhooks/hook.toml"), text).unwrap();
            let snapshot = load(&Source { env: Arc::new(|_| None), ..Source::new(dir.path()) }).snapshot.unwrap();
            let clients = Clients::new(&snapshot.settings.egress, Routes::default(), snapshot.webhooks.values());
            Arc::new(Live::new(snapshot, generation, clients.unwrap(), &metrics))
        };
        let first = live(1, "active");
        let again = |generation: u64| {
            let Live { snapshot, .. } = Arc::into_inner(live(generation, "active")).unwrap();
            let clients = first.clients.next(&snapshot.settings.egress, first.snapshot.webhooks.values()).unwrap();
            Arc::new(Live::new(snapshot, generation, clients, &metrics))
        };
        let woken = |seen: u64, new: &Arc<Live>| {
            let news = Arc::new(News { changed: Notify::new(), seen: AtomicU64::new(seen) });
            let handle = tokio::spawn(std::future::pending::<()>()).abort_handle();
            let running = BTreeMap::from([("hook".into(), Task { handle, news: Arc::clone(&news) })]);
            tell_changes(&running, &first, new);
            std::pin::pin!(news.changed.notified()).enable()
        };
        assert!(woken(1, &live(2, "inactive")), "a change");
        assert!(!woken(1, &again(3)), "what it goes by is as it was");
        assert!(woken(2, &again(3)), "it went by the change between the two");
    }
}
