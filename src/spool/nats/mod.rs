//! The spool in NATS `JetStream`, for pods whose disk goes with them and for replicas that share the work.
//!
//! One stream of a work queue holds everything, each delivery as a message of its own with its payload, so that nothing has to be counted to
//! know when an event may go. A subject has one message at most, and each delivery one subject for each place that it can be in:
//!
//! | subject | holds |
//! |---|---|
//! | `PREFIX.d.WEBHOOK.EVENT` | a delivery that is due; an acknowledgement removes it |
//! | `PREFIX.s.WEBHOOK.EVENT` | one that is deferred: the server publishes it to the first subject when it is due |
//! | `PREFIX.x.WEBHOOK.EVENT` | a dead letter, which goes by itself after `dead_letter_retention` |
//! | `PREFIX.w.WEBHOOK` | nothing: that there is or was something of this webhook |
//! | `PREFIX.c.WEBHOOK.PROCESS` | nothing, and for a minute: that a process has this webhook configured |
//! | `PREFIX.k.KEY` | an idempotency key with its receipt, which goes by itself after its window |
//!
//! What an append or a replay consists of is one atomic batch. A settlement is published on the condition that the message that was leased is
//! still the last of all places of its delivery: of two holders, one who was thought dead among them, one settlement counts. When it is published and not
//! yet acknowledged the delivery comes again, and is found to be settled.

mod append;
mod bury;
mod connect;
mod counts;
mod find;
mod lease;
mod letters;
mod names;
mod records;
mod settle;
mod state;
mod stored;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::rustls::ClientConfig;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use append::{Batches, MESSAGE_ROOM, Message, Refused};
use lease::{Feed, Held};
use names::{Names, Place};
use state::State;

use super::{
    Appended, Backlog, Batch, DeadLetter, DeadLetterPage, DeadLetterQuery, InvocationPage, InvocationQuery, KeptEvents,
    Key, Lease, Recorded, Settlement, Sought, Spool, SpoolError, Wait,
};
use crate::config::Nats;
use crate::delivery::Reason;
use crate::event::EventId;

pub use connect::OpenError;

/// Settlements that are being written; who settles more waits.
const SETTLING_MAX: usize = 1024;
/// How long closing waits for settlements.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How a spool is opened. It cannot be printed: it holds who we are.
#[derive(Clone)]
pub struct Options {
    /// Where it is, and who we are there.
    pub nats: Nats,
    /// What TLS is spoken with, where it is and where that is no matter of the system's.
    pub tls: Option<ClientConfig>,
    /// Its limit, in bytes.
    pub bytes_max: u64,
    /// How long dead letters are kept.
    pub dead_letter_retention: Duration,
    /// The largest event that is to be kept, in bytes.
    pub event_bytes_max: usize,
    /// After so long without a word from its holder a lease is another's.
    pub ack_wait: Duration,
    /// How long servers that are not there yet are waited for.
    pub start_patience: Duration,
}

impl Options {
    /// With the limits that hold where nothing is said.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        Self {
            nats,
            tls: None,
            bytes_max: 1024 * 1024 * 1024,
            dead_letter_retention: Duration::from_hours(30 * 24),
            event_bytes_max: 0,
            ack_wait: lease::ACK_WAIT,
            start_patience: connect::START_PATIENCE,
        }
    }
}

/// A spool in `JetStream`.
pub struct NatsSpool {
    shared: Arc<Shared>,
    batches: Batches,
    settling: TaskTracker,
    settling_seats: Arc<Semaphore>,
    last_invocation: u64,
}

/// What is known of a webhook.
#[derive(Default)]
struct Known {
    feed: Arc<tokio::sync::Mutex<Feed>>,
    consumer: Option<PullConsumer>,
    /// Whether the stream has its name.
    named: bool,
    pending: u64,
    dead: u64,
    oldest: Option<Timestamp>,
}

/// What all parts share.
struct Shared {
    client: Client,
    context: Context,
    names: Names,
    held: Held,
    webhooks: Mutex<BTreeMap<Arc<str>, Known>>,
    /// What this process is called among others.
    process: String,
    /// The webhooks that it has.
    claims: Mutex<BTreeSet<Arc<str>>>,
    opened: Instant,
    /// When a look at the stream failed last, in seconds since it was opened; 0 is never.
    faulted: AtomicU64,
    /// Why the last look at the stream failed.
    fault: Mutex<Option<String>>,
    bytes: AtomicU64,
    bytes_max: u64,
    dead_letter_retention: Duration,
    ack_wait: Duration,
    closed: CancellationToken,
}

impl Shared {
    fn webhooks(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Known>> {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self, webhook: &Arc<str>) -> Arc<tokio::sync::Mutex<Feed>> {
        Arc::clone(&self.webhooks().entry(Arc::clone(webhook)).or_default().feed)
    }

    /// Whether the stream lacks a webhook's name.
    fn is_unnamed(&self, webhook: &Arc<str>) -> bool {
        !self.webhooks().entry(Arc::clone(webhook)).or_default().named
    }

    fn named(&self, webhooks: &BTreeSet<Arc<str>>) {
        let mut known = self.webhooks();
        for webhook in webhooks {
            if let Some(known) = known.get_mut(webhook) {
                known.named = true;
            }
        }
    }

    fn feeds(&self) -> Vec<Arc<tokio::sync::Mutex<Feed>>> {
        self.webhooks().values().map(|known| Arc::clone(&known.feed)).collect()
    }

    fn known_consumer(&self, webhook: &str) -> Option<PullConsumer> {
        self.webhooks().get(webhook).and_then(|known| known.consumer.clone())
    }

    fn know_consumer(&self, webhook: &Arc<str>, consumer: &PullConsumer) {
        self.webhooks().entry(Arc::clone(webhook)).or_default().consumer = Some(consumer.clone());
    }

    fn forget_consumer(&self, webhook: &str) {
        if let Some(known) = self.webhooks().get_mut(webhook) {
            known.consumer = None;
        }
    }
}

impl NatsSpool {
    /// Connects, and makes or checks the stream.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let names = Names::new(&options.nats.stream, options.nats.domain.as_deref());
        let (client, context) = connect::connect(&options, &names).await?;
        let Options { bytes_max, dead_letter_retention, ack_wait, start_patience, .. } = options;
        let shared = Arc::new(Shared {
            client: client.clone(),
            context: context.clone(),
            names,
            held: Held::default(),
            webhooks: Mutex::default(),
            process: Uuid::now_v7().simple().to_string(),
            claims: Mutex::default(),
            opened: Instant::now(),
            faulted: AtomicU64::new(0),
            fault: Mutex::default(),
            bytes: AtomicU64::new(0),
            bytes_max,
            dead_letter_retention,
            ack_wait,
            closed: CancellationToken::new(),
        });
        let unread =
            |error: SpoolError| OpenError::Unread { name: options.nats.stream.clone(), error: error.to_string() };
        let newest = InvocationQuery { limit: 1, ..InvocationQuery::default() };
        let last = loop {
            let read = async {
                counts::find_webhooks(&shared, 1).await?;
                counts::count(&shared).await?;
                shared.records(&newest).await
            };
            match read.await {
                // A stream that was just made is not read everywhere at once.
                Err(_) if shared.opened.elapsed() < start_patience => tokio::time::sleep(connect::START_INTERVAL).await,
                read => break read.map_err(unread)?,
            }
        };
        let last_invocation = last.invocations.first().map_or(0, |last| last.number);
        tokio::spawn(counts::keep(Arc::clone(&shared)));
        tokio::spawn(lease::renew(Arc::clone(&shared)));
        let settling_seats = Arc::new(Semaphore::new(SETTLING_MAX));
        let batches = Batches::start(client);
        Ok(Self { shared, batches, settling: TaskTracker::new(), settling_seats, last_invocation })
    }

    /// What a key came with before.
    async fn known(&self, key: &Key) -> Result<Option<Appended>, SpoolError> {
        let stored = self.shared.stored_at(&[self.shared.names.key(&key.id)]).await?.pop();
        Ok(stored.and_then(|stored| {
            let (content, receipt) = stored.payload.split_at_checked(key.content.len())?;
            let same = content == key.content;
            Some(if same { Appended::Repeat(Bytes::copy_from_slice(receipt)) } else { Appended::Conflict })
        }))
    }

    /// The messages of a batch, and the webhooks whose names are among them. A webhook that is named twice is owed once.
    fn messages(&self, batch: &Batch) -> (Vec<Message>, BTreeSet<Arc<str>>) {
        let (mut messages, mut unnamed) = (Vec::new(), BTreeSet::new());
        for (event, owed) in &batch.events {
            let headers = State::new(event).headers();
            let mut webhooks: Vec<&Arc<str>> = owed.iter().map(|owed| &owed.webhook).collect();
            webhooks.sort();
            webhooks.dedup();
            for webhook in webhooks {
                unnamed.extend(self.shared.is_unnamed(webhook).then(|| Arc::clone(webhook)));
                let subject = self.shared.names.of(Place::Due, webhook, event.id);
                messages.push(Message { subject, headers: headers.clone(), payload: event.raw.clone() });
            }
        }
        // Whoever opens the spool without knowing a webhook finds it by its name.
        messages.extend(unnamed.iter().map(|webhook| Message {
            subject: self.shared.names.webhook(Some(webhook)),
            headers: async_nats::HeaderMap::new(),
            payload: Bytes::new(),
        }));
        if let Some(key) = &batch.key {
            let subject = self.shared.names.key(&key.id);
            let payload = [&key.content[..], &key.receipt].concat().into();
            let headers = async_nats::HeaderMap::new();
            let message = Message { subject: subject.clone(), headers, payload }.living(key.window);
            messages.push(message.expecting(&subject, 0));
        }
        (messages, unnamed)
    }

    async fn keep(&self, batch: Batch) -> Result<Appended, SpoolError> {
        if self.shared.closed.is_cancelled() {
            return Err(SpoolError::Closed);
        }
        if let Some(key) = &batch.key
            && let Some(known) = self.known(key).await?
        {
            return Ok(known);
        }
        let (bytes, bytes_max) = (self.shared.bytes.load(Ordering::Relaxed), self.shared.bytes_max);
        if bytes >= bytes_max {
            return Err(SpoolError::Full { bytes, bytes_max });
        }
        let (messages, unnamed) = self.messages(&batch);
        if messages.len() > append::BATCH_MAX {
            return Err(SpoolError::TooLarge(format!(
                "{} deliveries come of one request, and NATS keeps {} together: send fewer events at once",
                messages.len(),
                append::BATCH_MAX
            )));
        }
        let message_max = self.shared.client.max_payload().saturating_sub(MESSAGE_ROOM);
        if let Some(message) = messages.iter().find(|message| message.payload.len() > message_max) {
            return Err(SpoolError::TooLarge(format!(
                "an event has {} bytes, and a message of the NATS server holds {message_max}: raise its `max_payload`",
                message.payload.len()
            )));
        }
        match (self.batches.append(&self.shared.client, messages).await, &batch.key) {
            (Ok(()), _) => {
                self.shared.named(&unnamed);
                Ok(Appended::New)
            }
            (Err(Refused::Unexpected), Some(key)) => {
                let known = self.known(key).await?;
                known.ok_or_else(|| SpoolError::Nats("the key went while it was looked up".to_owned()))
            }
            (Err(refused), _) => Err(refused.into()),
        }
    }
}

impl Spool for NatsSpool {
    fn append(&self, batch: Batch) -> Wait<'_, Result<Appended, SpoolError>> {
        Box::pin(self.keep(batch))
    }

    fn lease<'a>(&'a self, webhook: &'a Arc<str>, max: usize) -> Wait<'a, Vec<Lease>> {
        Box::pin(async move {
            if max == 0 {
                return Vec::new();
            }
            let feed = self.shared.feed(webhook);
            let mut feed = feed.lock().await;
            feed.next(&self.shared, webhook, max).await
        })
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Wait<'_, ()> {
        Box::pin(async move {
            let Ok(seat) = Arc::clone(&self.settling_seats).acquire_owned().await else { return };
            if !self.shared.closed.is_cancelled() {
                let settled = settle::settle(Arc::clone(&self.shared), lease, settlement);
                self.settling.spawn(async move {
                    settled.await;
                    drop(seat);
                });
            }
        })
    }

    fn backlog(&self) -> Vec<Backlog> {
        let webhooks = self.shared.webhooks();
        let backlog = |(webhook, known): (&Arc<str>, &Known)| Backlog {
            webhook: Arc::clone(webhook),
            pending: known.pending,
            dead: known.dead,
            oldest_pending: known.oldest,
        };
        webhooks.iter().map(backlog).collect()
    }

    fn bury(
        &self,
        webhook: &Arc<str>,
        reason: Reason,
        older_than: Option<Timestamp>,
    ) -> Wait<'_, Result<u64, SpoolError>> {
        let webhook = Arc::clone(webhook);
        Box::pin(async move { self.shared.bury(&webhook, reason, older_than).await })
    }

    fn dead_letters(&self, query: DeadLetterQuery) -> Wait<'_, Result<DeadLetterPage, SpoolError>> {
        Box::pin(async move { self.shared.page(&query).await })
    }

    fn dead_letter(&self, event: EventId, webhook: &str) -> Wait<'_, Result<Option<(DeadLetter, Bytes)>, SpoolError>> {
        let webhook = webhook.to_owned();
        Box::pin(async move { self.shared.dead(event, &webhook).await })
    }

    fn replay(&self, numbers: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>> {
        Box::pin(async move { self.shared.repair(&numbers, true, Timestamp::now().as_millisecond()).await })
    }

    fn drop_dead_letters(&self, numbers: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>> {
        Box::pin(async move { self.shared.repair(&numbers, false, 0).await })
    }

    fn invocations(&self, query: InvocationQuery) -> Wait<'_, Result<InvocationPage, SpoolError>> {
        Box::pin(async move { self.shared.records(&query).await })
    }

    fn invocation(&self, number: u64) -> Wait<'_, Result<Option<Recorded>, SpoolError>> {
        Box::pin(self.shared.record(number))
    }

    fn last_invocation(&self) -> u64 {
        self.last_invocation
    }

    fn find(&self, sought: Sought) -> Wait<'_, Result<KeptEvents, SpoolError>> {
        Box::pin(async move { self.shared.find(&sought).await })
    }

    fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    fn away(&self) -> Option<String> {
        if !self.shared.is_connected() {
            return Some("no NATS server is connected".to_owned());
        }
        self.shared.fault().clone()
    }

    fn claim(&self, webhooks: BTreeSet<Arc<str>>) {
        *self.shared.claims() = webhooks;
    }

    fn is_claimed<'a>(&'a self, webhook: &'a str) -> Wait<'a, bool> {
        Box::pin(async move {
            let own = self.shared.names.claim(webhook, Some(&self.shared.process));
            let claims = self.shared.stored_at(&[self.shared.names.claim(webhook, None)]).await;
            // Where that is not known nothing is given up.
            counts::may_be_unheard(&self.shared)
                || claims.map_or(true, |claims| claims.iter().any(|claim| claim.subject != own))
        })
    }

    fn close(&self) -> Wait<'_, ()> {
        Box::pin(async move {
            self.shared.closed.cancel();
            self.settling.close();
            let ended = async {
                self.settling.wait().await;
                self.shared.release().await;
                let _ = self.shared.client.flush().await;
            };
            // What is not heard of its end comes to others after `ack_wait`.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, ended).await;
        })
    }
}
