//! The counters of webhooks, asked of the server now and then: it counts what is in the stream, whoever put it there. The mark that a
//! dead letter is gone counts as one for the second that it lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::time::Instant;

use super::Shared;
use super::append::{Message, publish};
use super::names::Place;
use super::state::State;
use crate::spool::SpoolError;

/// How often they are asked for.
const INTERVAL: Duration = Duration::from_millis(500);
/// So often they are asked for while the stream stays as it was: a server that follows may answer a little late.
const LOOKS: u32 = 4;
/// Webhooks that are asked for at once.
const AT_ONCE: usize = 16;
/// Webhooks that are looked for.
const WEBHOOKS_MAX: usize = 20_000;
/// How often webhooks that others named are looked for.
const NAMES_INTERVAL: Duration = Duration::from_secs(5);
/// How often others are told of the webhooks that are here.
const CLAIM_INTERVAL: Duration = Duration::from_secs(20);
/// How long they believe it.
const CLAIM: Duration = Duration::from_mins(1);

/// Keeps them until the spool is closed, and tells others which webhooks this process has.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut seen, mut looks) = (None, 0);
    let (mut claimed, mut claimed_at, mut unclaimed) = (BTreeSet::new(), Instant::now(), None);
    let (mut named, mut named_at) = (1, Instant::now());
    loop {
        tokio::select! {
            () = shared.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let claims = shared.claims().clone();
        if claims != claimed || unclaimed.is_some() || claimed_at.elapsed() >= CLAIM_INTERVAL {
            let gone: BTreeSet<Arc<str>> = claimed.difference(&claims).cloned().collect();
            // What is not here any more is said for no longer than it takes to be heard.
            unclaimed = claim(&shared, &claims, CLAIM).await.and(claim(&shared, &gone, Duration::ZERO).await).err();
            if unclaimed.is_none() {
                (claimed, claimed_at) = (claims, Instant::now());
            }
        }
        let looked = async {
            let now = state(&shared).await?;
            looks = if Some(now) == seen { looks + 1 } else { 0 };
            if looks < LOOKS {
                count(&shared).await?;
            }
            seen = Some(now);
            if named_at.elapsed() >= NAMES_INTERVAL {
                named = find_webhooks(&shared, named).await?;
                named_at = Instant::now();
            }
            Ok(())
        };
        let looked: Result<(), SpoolError> = looked.await;
        let fault = looked.err().or_else(|| unclaimed.clone()).map(|error| error.to_string());
        if shared.fault().is_some() != fault.is_some() {
            if let Some(error) = &fault {
                tracing::warn!(%error, "spool.away");
            } else {
                tracing::info!("spool.back");
            }
        }
        if fault.is_some() {
            shared.faulted.store(shared.opened.elapsed().as_secs() + 1, Ordering::Relaxed);
        }
        *shared.fault() = fault;
    }
}

/// Whether others may have been unable to say what they have.
pub(super) fn may_be_unheard(shared: &Shared) -> bool {
    let faulted = shared.faulted.load(Ordering::Relaxed);
    faulted > 0 && shared.opened.elapsed().as_secs() < faulted + (CLAIM + CLAIM_INTERVAL).as_secs()
}

/// Says for so long, at least a second, which webhooks are here.
async fn claim(shared: &Shared, webhooks: &BTreeSet<Arc<str>>, time: Duration) -> Result<(), SpoolError> {
    let mut messages = Vec::with_capacity(webhooks.len());
    for webhook in webhooks {
        let subject = shared.names.claim(webhook, Some(&shared.process));
        let (headers, payload) = (async_nats::HeaderMap::new(), bytes::Bytes::new());
        messages.push(Message { subject, headers, payload }.living(time));
    }
    let told = futures_util::stream::iter(messages).map(|message| publish(&shared.client, message));
    let told = told.buffer_unordered(AT_ONCE);
    Ok(told.fold(Ok(()), |all, one| std::future::ready(all.and(one.map(drop)))).await?)
}

/// The webhooks that have something in the stream, or had, named from a message on; and from where on to look next.
pub(super) async fn find_webhooks(shared: &Shared, from: u64) -> Result<u64, SpoolError> {
    let mut next = from;
    for stored in shared.stored_from(&shared.names.webhook(None), from, WEBHOOKS_MAX).await? {
        let name = stored.subject.rsplit('.').next().unwrap_or_default();
        shared.webhooks().entry(Arc::from(name)).or_default().named = true;
        next = next.max(stored.seq + 1);
    }
    Ok(next)
}

/// What differs when anything in the stream does.
async fn state(shared: &Shared) -> Result<(u64, u64, u64, u64), SpoolError> {
    let stream = shared.context.get_stream(shared.names.stream()).await;
    let stream = stream.map_err(|error| SpoolError::Nats(error.to_string()))?;
    let state = &stream.cached_info().state;
    shared.bytes.store(state.bytes, Ordering::Relaxed);
    Ok((state.messages, state.bytes, state.first_sequence, state.last_sequence))
}

/// Asks for the counters of all webhooks.
pub(super) async fn count(shared: &Shared) -> Result<(), SpoolError> {
    let names: Vec<Arc<str>> = shared.webhooks().keys().cloned().collect();
    let counted = futures_util::stream::iter(names).map(|webhook| count_one(shared, webhook)).buffer_unordered(AT_ONCE);
    counted.fold(Ok(()), |all, one| std::future::ready(all.and(one))).await
}

async fn count_one(shared: &Shared, webhook: Arc<str>) -> Result<(), SpoolError> {
    let places = [Place::Due, Place::Deferred, Place::Dead].map(|place| of(shared, place, &webhook));
    let [due, deferred, dead] = places;
    let ((due, first), (deferred, second), (dead, _)) = tokio::try_join!(due, deferred, dead)?;
    if let Some(known) = shared.webhooks().get_mut(&webhook) {
        (known.pending, known.dead) = (due + deferred, dead);
        known.oldest = first.into_iter().chain(second).min();
    }
    Ok(())
}

/// How many a webhook has in a place, and since when the age of the first counts.
async fn of(shared: &Shared, place: Place, webhook: &str) -> Result<(u64, Option<Timestamp>), SpoolError> {
    let first = shared.stored_from(&shared.names.filter(place, Some(webhook)), 1, 1).await?.pop();
    Ok(first.map_or((0, None), |first| {
        let state = State::read(Some(&first.headers));
        (first.behind + 1, state.map(|state| state.age_from()))
    }))
}

impl Shared {
    /// The number of the last message.
    pub(super) async fn last_seq(&self) -> Result<u64, SpoolError> {
        let stream = self.context.get_stream(self.names.stream()).await;
        let stream = stream.map_err(|error| SpoolError::Nats(error.to_string()))?;
        Ok(stream.cached_info().state.last_sequence)
    }
}
