//! Giving up on what a webhook has pending.

use std::sync::Arc;

use jiff::Timestamp;

use super::Shared;
use super::append::{Message, Refused, publish_all};
use super::lease::lease_now;
use super::names::Place;
use super::settle::{gone, settle};
use super::state::State;
use super::stored::BYTES_MAX;
use crate::delivery::Reason;
use crate::spool::{Lease, Settlement, SpoolError, ledger};

/// Deliveries of one round.
const ROUND: usize = 64;
/// Deliveries that are not sought and are held meanwhile, at most.
const OTHERS_MAX: usize = 1024;

impl Shared {
    /// Gives up on what a webhook has pending and nobody holds, here or elsewhere: of all that was there when it began, or of those alone
    /// whose age counts from before a time.
    pub(super) async fn bury(
        self: &Arc<Self>,
        webhook: &Arc<str>,
        reason: Reason,
        older_than: Option<Timestamp>,
    ) -> Result<u64, SpoolError> {
        let end = self.last_seq().await?;
        let due = self.bury_due(webhook, reason, older_than, end).await?;
        Ok(due + self.bury_deferred(webhook, reason, older_than, end).await?)
    }

    /// What is due is leased first, so that nobody attempts it meanwhile. What is not sought is held until the end, so that each round sees
    /// others.
    async fn bury_due(
        self: &Arc<Self>,
        webhook: &Arc<str>,
        reason: Reason,
        older_than: Option<Timestamp>,
        end: u64,
    ) -> Result<u64, SpoolError> {
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        let fits = |lease: &Lease| lease.claim.seq <= end && older_than.is_none_or(|time| lease.since < time);
        let (mut buried, mut others) = (0, Vec::new());
        loop {
            if self.closed.is_cancelled() {
                return Err(SpoolError::Closed);
            }
            let leases = lease_now(self, webhook, ROUND).await;
            let leases = leases.map_err(|error| {
                self.forget_consumer(webhook);
                SpoolError::Nats(error.to_string())
            })?;
            let held: usize =
                others.iter().map(|lease: &Lease| lease.event.raw.len() + lease.event.trace_bytes()).sum();
            if leases.is_empty() || others.len() >= OTHERS_MAX || held >= BYTES_MAX {
                return Ok(buried);
            }
            let (leases, not): (Vec<Lease>, Vec<Lease>) = leases.into_iter().partition(fits);
            others.extend(not);
            buried += leases.len() as u64;
            let settled = leases.into_iter().map(|lease| {
                let (attempts, at) = (lease.attempts, Timestamp::now());
                let settlement = Settlement::Bury { reason, last: None, attempts, at, record: None };
                settle(Arc::clone(self), lease, settlement)
            });
            futures_util::future::join_all(settled).await;
        }
    }

    async fn bury_deferred(
        &self,
        webhook: &Arc<str>,
        reason: Reason,
        older_than: Option<Timestamp>,
        end: u64,
    ) -> Result<u64, SpoolError> {
        let filter = self.names.filter(Place::Deferred, Some(webhook));
        let (mut buried, mut from) = (0, 1);
        loop {
            if self.closed.is_cancelled() {
                return Err(SpoolError::Closed);
            }
            let found = self.stored_some(&filter, from, ROUND).await?;
            let Some(last) = found.last().map(|one| one.seq) else { return Ok(buried) };
            from = last + 1;
            let mut letters: Vec<[Message; 2]> = Vec::new();
            for stored in found {
                let Some((_, _, event)) = self.names.parse(&stored.subject) else { continue };
                let Some(state) = State::read(Some(&stored.headers)) else { continue };
                if stored.seq > end || older_than.is_some_and(|time| state.age_from() >= time) {
                    continue;
                }
                let last = state.last.clone().filter(|last| ledger::read(last).is_some());
                let died = Timestamp::now().as_millisecond();
                let reason = Some(reason.as_str().to_owned());
                let state = State { last, of: stored.seq, reason, died, ..state };
                let subject = self.names.of(Place::Dead, webhook, event);
                let letter = Message { subject, headers: state.headers(), payload: stored.payload };
                let mark = gone(stored.subject.clone()).expecting(&stored.subject, stored.seq);
                letters.push([letter.living(self.dead_letter_retention), mark]);
            }
            buried += self.bury_some(&letters).await?;
        }
    }

    /// All of them at once, or where one is settled meanwhile each by itself.
    async fn bury_some(&self, letters: &[[Message; 2]]) -> Result<u64, SpoolError> {
        if letters.is_empty() {
            return Ok(0);
        }
        let refused = |refused: Refused| match refused {
            // It became due, or somebody else gave up on it.
            Refused::Unexpected => Ok(0),
            refused => Err(SpoolError::from(refused)),
        };
        match publish_all(&self.client, letters.concat()).await {
            Ok(()) => return Ok(letters.len() as u64),
            Err(Refused::Unexpected | Refused::Busy) if letters.len() > 1 => {}
            Err(error) => return refused(error),
        }
        let mut buried = 0;
        for letter in letters {
            buried += publish_all(&self.client, letter.to_vec()).await.map_or_else(refused, |()| Ok(1))?;
        }
        Ok(buried)
    }
}
