//! The counters of webhooks, asked of the server now and then: it counts what is in the stream, whoever put it there. The mark that a
//! dead letter is gone counts as one for the second that it lives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::Shared;
use super::append::publish_all;
use super::names::Place;
use super::settle::gone;
use super::state::State;
use crate::delivery::Reason;
use crate::spool::{SpoolError, ledger};

/// How often they are asked for.
const INTERVAL: Duration = Duration::from_millis(500);
/// Webhooks that are looked for.
const WEBHOOKS_MAX: usize = 20_000;
/// Deliveries that are buried in one step.
const STEP: usize = 400;

/// Keeps them until the spool is closed.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.closed.cancelled() => return,
            _ = ticks.tick() => count(&shared).await,
        }
    }
}

/// The webhooks that have something in the stream, or had.
pub(super) async fn find_webhooks(shared: &Shared) -> Result<(), SpoolError> {
    for stored in shared.stored_from(&shared.names.webhook(None), 1, WEBHOOKS_MAX).await? {
        let name = stored.subject.rsplit('.').next().unwrap_or_default();
        shared.webhooks().entry(Arc::from(name)).or_default().named = true;
    }
    Ok(())
}

/// Asks for all of them.
pub(super) async fn count(shared: &Shared) {
    if let Ok(stream) = shared.context.get_stream(shared.names.stream()).await {
        shared.bytes.store(stream.cached_info().state.bytes, Ordering::Relaxed);
    }
    let names: Vec<Arc<str>> = shared.webhooks().keys().cloned().collect();
    for webhook in names {
        let places = [Place::Due, Place::Deferred, Place::Dead].map(|place| of(shared, place, &webhook));
        let [due, deferred, dead] = places;
        let (Ok((due, first)), Ok((deferred, second)), Ok((dead, _))) = (due.await, deferred.await, dead.await) else {
            return;
        };
        if let Some(known) = shared.webhooks().get_mut(&webhook) {
            (known.pending, known.dead) = (due + deferred, dead);
            known.oldest = first.into_iter().chain(second).min();
        }
    }
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
        let stream = stream.map_err(|error| SpoolError::Unavailable(format!("NATS: {error}")))?;
        Ok(stream.cached_info().state.last_sequence)
    }

    /// Gives up on what a webhook has pending and nobody here holds.
    pub(super) async fn bury(
        &self,
        webhook: &Arc<str>,
        reason: Reason,
        older_than: Option<Timestamp>,
    ) -> Result<u64, SpoolError> {
        if self.closed.is_cancelled() {
            return Err(SpoolError::Closed);
        }
        let (mut buried, last) = (0, self.last_seq().await?);
        for place in [Place::Due, Place::Deferred] {
            let filter = self.names.filter(place, Some(webhook));
            let mut from = 1;
            loop {
                let found = self.stored_from(&filter, from, STEP).await?;
                let Some(end) = found.last().map(|one| one.seq) else { break };
                for stored in found {
                    let Some((_, _, event)) = self.names.parse(&stored.subject) else { continue };
                    let Some(state) = State::read(Some(&stored.headers)) else { continue };
                    let held = i64::try_from(stored.seq).is_ok_and(|seq| self.held.has(seq));
                    if held || stored.seq > last || older_than.is_some_and(|time| state.age_from() >= time) {
                        continue;
                    }
                    let last = state.last.clone().filter(|last| ledger::read(last).is_some());
                    let died = Timestamp::now().as_millisecond();
                    let reason = Some(reason.as_str().to_owned());
                    let state = State { last, of: stored.seq, reason, died, ..state };
                    let subject = self.names.of(Place::Dead, webhook, event);
                    let letter = super::Message { subject, headers: state.headers(), payload: stored.payload };
                    let letter = letter.living(self.dead_letter_retention);
                    let mark = gone(stored.subject.clone()).expecting(&stored.subject, stored.seq);
                    // Somebody else holds or settled it where this is refused.
                    if publish_all(&self.client, vec![letter, mark]).await.is_ok() {
                        buried += 1;
                    }
                }
                from = end + 1;
            }
        }
        Ok(buried)
    }
}
