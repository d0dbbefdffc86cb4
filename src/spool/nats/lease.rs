//! Leases: messages that are this process's for as long as it says so, and others' soon after it says nothing any more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::connection::State as Connection;
use async_nats::jetstream::consumer::pull::{Batch, Config};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

use super::Shared;
use super::names::Place;
use super::settle::{is_gone, is_settled};
use super::state::State;
use crate::event::Event;
use crate::spool::{Claim, Home, Lease};

/// After so long without a word from its holder a lease is another's.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(30);
/// How often the holder says that it still holds.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// Leases of one webhook, of all replicas together.
pub(super) const LEASED_MAX: i64 = 8192;
/// How long one request waits for something that is due. A server that is killed forgets who waits, and tells nobody.
const WAIT: Duration = Duration::from_secs(5);
/// How long to wait for a server that does not answer.
const AWAY_WAIT: Duration = Duration::from_millis(500);
/// What was leased for somebody who has gone is given back after this.
const UNTAKEN_MAX: Duration = Duration::from_secs(1);

/// The longest wait for a part of what was fetched: an answer that was lost with its connection never comes.
const PART_TIMEOUT: Duration = Duration::from_secs(5);
/// How much later the end of such a wait may be told.
const WAIT_GRACE: Duration = Duration::from_secs(2);
/// Before something in the stream that cannot be read is looked at again.
const UNREADABLE_WAIT: Duration = Duration::from_mins(5);

/// What is leased, by its number in the stream.
pub(super) struct Held {
    messages: Mutex<HashMap<i64, Message>>,
    /// When the server was last told of all of them.
    renewed: Mutex<Instant>,
}

impl Default for Held {
    fn default() -> Self {
        Self { messages: Mutex::default(), renewed: Mutex::new(Instant::now()) }
    }
}

impl Held {
    fn messages(&self) -> MutexGuard<'_, HashMap<i64, Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renewed(&self) -> MutexGuard<'_, Instant> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, seq: i64) -> Option<Message> {
        self.messages().remove(&seq)
    }

    pub(super) fn get(&self, seq: i64) -> Option<Message> {
        self.messages().get(&seq).cloned()
    }

    /// Holds a message; whether it was held before, and then under another name that it has for the server.
    fn hold(&self, seq: i64, message: Message) -> bool {
        self.messages().insert(seq, message).is_some()
    }

    #[cfg(test)]
    pub(super) fn put(&self, seq: i64, message: Message) {
        self.messages().insert(seq, message);
    }

    fn all(&self) -> Vec<Message> {
        self.messages().values().cloned().collect()
    }
}

/// What a webhook's deliveries come by.
#[derive(Default)]
pub(super) struct Feed {
    ready: VecDeque<Lease>,
    since: Option<Instant>,
    /// What is under way. It goes on when who asked has gone: what it brings would else be nobody's for half a minute.
    fetching: Option<JoinHandle<Vec<Lease>>>,
}

impl Feed {
    /// The next that are due.
    pub(super) async fn next(&mut self, shared: &Arc<Shared>, webhook: &Arc<str>, max: usize) -> Vec<Lease> {
        loop {
            if shared.closed.is_cancelled() {
                return Vec::new();
            }
            if !self.ready.is_empty() {
                let count = self.ready.len().min(max);
                return self.ready.drain(..count).collect();
            }
            let fetching = self.fetching.get_or_insert_with(|| {
                let (shared, webhook) = (Arc::clone(shared), Arc::clone(webhook));
                tokio::spawn(async move { fetch(&shared, &webhook, max).await })
            });
            let brought = tokio::select! {
                () = shared.closed.cancelled() => return Vec::new(),
                brought = fetching => brought,
            };
            self.fetching = None;
            self.ready.extend(brought.unwrap_or_default());
            self.since = Some(Instant::now());
        }
    }

    /// Gives back what nobody takes.
    fn sweep(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() > UNTAKEN_MAX) {
            self.ready.clear();
        }
        // What is under way may have come while nobody asks.
        if self.ready.is_empty() && self.fetching.as_ref().is_some_and(JoinHandle::is_finished) {
            self.fetching = None;
        }
    }
}

/// Says for all leases that they are held, and gives back what nobody takes, until the spool is closed.
pub(super) async fn renew(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(UNTAKEN_MAX);
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            () = shared.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for feed in shared.feeds() {
            if let Ok(mut feed) = feed.try_lock() {
                feed.sweep();
            }
        }
        if renewed.elapsed() < RENEW_INTERVAL {
            continue;
        }
        renewed = Instant::now();
        if !shared.is_connected() {
            // A server that is away gives them to others: what was attempted meanwhile is settled by one of them alone.
            continue;
        }
        for message in shared.held.all() {
            let _ = message.ack_with(AckKind::Progress).await;
        }
        if shared.is_connected() {
            *shared.held.renewed() = renewed;
        }
    }
}

/// Waits until something is due, and leases it.
async fn fetch(shared: &Arc<Shared>, webhook: &Arc<str>, max: usize) -> Vec<Lease> {
    loop {
        match try_fetch(shared, webhook, max).await {
            Ok(leases) if leases.is_empty() && !shared.closed.is_cancelled() => {}
            Ok(leases) => return leases,
            Err(error) => {
                tracing::debug!(webhook = %webhook, %error, "spool.away");
                shared.forget_consumer(webhook);
                tokio::select! {
                    () = shared.closed.cancelled() => return Vec::new(),
                    () = tokio::time::sleep(AWAY_WAIT) => {}
                }
            }
        }
    }
}

async fn try_fetch(shared: &Arc<Shared>, webhook: &Arc<str>, max: usize) -> Result<Vec<Lease>, async_nats::Error> {
    let leases = lease_now(shared, webhook, max).await?;
    if !leases.is_empty() {
        return Ok(leases);
    }
    let consumer = consumer(shared, webhook).await?;
    let due = consumer.batch().max_messages(1).expires(WAIT).messages().await?;
    collect(shared, webhook, due, WAIT + WAIT_GRACE).await
}

/// Leases what comes. What has come is not lost where the rest fails.
async fn collect(
    shared: &Arc<Shared>,
    webhook: &Arc<str>,
    mut due: Batch,
    part_timeout: Duration,
) -> Result<Vec<Lease>, async_nats::Error> {
    let mut leases = Vec::new();
    loop {
        match tokio::time::timeout(part_timeout, due.next()).await {
            Ok(Some(Ok(message))) => leases.extend(lease(shared, webhook, message).await),
            Ok(None) => return Ok(leases),
            Ok(Some(Err(_))) | Err(_) if !leases.is_empty() => return Ok(leases),
            Ok(Some(Err(error))) => return Err(error),
            Err(_) => return Err("no answer in time".into()),
        }
    }
}

/// The webhook's consumer, made where there is none.
async fn consumer(shared: &Shared, webhook: &Arc<str>) -> Result<PullConsumer, async_nats::Error> {
    if let Some(consumer) = shared.known_consumer(webhook) {
        return Ok(consumer);
    }
    let config = Config {
        durable_name: Some(webhook.to_string()),
        filter_subject: shared.names.filter(Place::Due, Some(webhook)),
        ack_policy: AckPolicy::Explicit,
        ack_wait: shared.ack_wait,
        max_ack_pending: LEASED_MAX,
        ..Config::default()
    };
    let consumer = shared.context.create_consumer_on_stream(config, shared.names.stream()).await?;
    shared.know_consumer(webhook, &consumer);
    Ok(consumer)
}

/// The lease of a message; `None` for what another settled meanwhile, for what is held here, and for what is no delivery.
async fn lease(shared: &Arc<Shared>, webhook: &Arc<str>, message: Message) -> Option<Lease> {
    let info = message.info().ok()?;
    let (seq, again) = (info.stream_sequence, info.delivered > 1);
    let found =
        shared.names.parse(&message.subject).map(|(_, _, event)| event).zip(State::read(message.headers.as_ref()));
    let Some((id, state)) = found else {
        if is_gone(message.headers.as_ref()) {
            let _ = message.ack().await;
            return None;
        }
        // Somebody else's, or a newer version's: it stays for whoever can read it.
        tracing::error!(subject = %message.subject, seq, note = "a message in the spool's stream cannot be read as a delivery", "spool.message_unread");
        let _ = message.ack_with(AckKind::Nak(Some(UNREADABLE_WAIT))).await;
        return None;
    };
    let event: Event = state.event(id, message.payload.clone());
    let claim = Claim {
        due: state.due,
        seq: i64::try_from(seq).ok()?,
        attempts: state.attempts,
        since_ms: state.since,
        failing_ms: state.failing,
        ..Claim::default()
    };
    // Where that is not known it is attempted once more rather than never.
    if again && is_settled(shared, webhook, id, seq).await.unwrap_or(false) {
        // It was settled, and its holder went before it could say so.
        let _ = message.ack().await;
        return None;
    }
    if shared.held.hold(claim.seq, message) {
        // The server gave it out anew, and it is still being attempted here.
        return None;
    }
    Some(Lease::new(Arc::new(event), Arc::clone(webhook), claim, Arc::clone(shared) as Arc<dyn Home>))
}

/// What is due at present, as much as comes at once.
pub(super) async fn lease_now(
    shared: &Arc<Shared>,
    webhook: &Arc<str>,
    max: usize,
) -> Result<Vec<Lease>, async_nats::Error> {
    let consumer = consumer(shared, webhook).await?;
    let due = consumer.fetch().max_messages(max).messages().await?;
    collect(shared, webhook, due, PART_TIMEOUT).await
}

impl Shared {
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == Connection::Connected
    }

    /// Gives everything back that is held, so that others have it at once.
    pub(super) async fn release(&self) {
        for feed in self.feeds() {
            // Who still waits for a lease hears that the spool is closed, and lets go of it.
            let mut feed = feed.lock().await;
            if let Some(fetching) = feed.fetching.take() {
                fetching.abort();
            }
            feed.ready.clear();
        }
        let held = std::mem::take(&mut *self.held.messages());
        for message in held.into_values() {
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
    }
}

impl Home for Shared {
    fn give_back(&self, _: Arc<Event>, claim: Claim) {
        let Some(message) = self.held.take(claim.seq) else { return };
        // By then it may be another's, who would have to share it. It comes by itself.
        let lapsed = self.held.renewed().elapsed() >= self.ack_wait;
        if lapsed || !self.is_connected() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Where this is not heard it comes back after `ACK_WAIT`.
            runtime.spawn(async move { message.ack_with(AckKind::Nak(None)).await });
        }
    }
}
