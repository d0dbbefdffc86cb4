//! One delivery's turn: an attempt, the decision after it, and one settlement.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::attempt::{Attempted, Met, attempt};
use crate::delivery::{LastOutcome, Outcome, Reason, delivery_id};
use crate::dispatch::{Dispatch, handles, span};
use crate::gates::Turn;
use crate::history::{Invocation, Then, Timings, view};
use crate::kind::about::request_id;
use crate::live::Live;
use crate::settled::Report;
use crate::spool::{Lease, RECORD_BYTES_MAX, Record, Settlement};
use crate::trace::SpanId;
use crate::webhook::Webhook;
use crate::webhook::retry::{Decision, Standing, decide, verdict};

/// An attempt that has ended, and what was decided.
struct Ended {
    attempted: Attempted,
    decision: Decision,
    probe: bool,
}

impl Dispatch {
    /// Attempts a delivery and settles it; one without a turn is too old for an attempt. Dropped before its end, the delivery goes
    /// back to the spool.
    pub(super) async fn deliver(&self, live: &Live, webhook: &Arc<Webhook>, lease: Lease, turn: Option<Turn>) {
        let Some(turn) = turn else { return self.bury_expired(live, webhook, lease).await };
        let id = SpanId::new(fastrand::u64(..));
        let way = live.clients.way(&webhook.name).map(AsRef::as_ref);
        let attempted = attempt(way, webhook, &lease.event, id, None).await;
        let now = Timestamp::now();
        let probe = turn.is_probe();
        let standing = Standing {
            attempts: lease.attempts,
            since: lease.since,
            failing_since: lease.failing_since,
            max_wait: webhook.ordering.max_wait(),
            probe,
        };
        let decision = decide(&webhook.retry, &attempted.outcome, standing, now, fastrand::f64());
        // The gate hears of it before the spool: what is held must not be leased again before it is closed.
        turn.end(verdict(&webhook.retry, &attempted.outcome), last(&attempted));
        let settlement = settlement(decision, &lease, &attempted, now);
        count(live, webhook, &lease, &attempted, &settlement, now);
        log(webhook, &lease, &attempted, &decision, probe, now);
        span::record(&self.spans, webhook, &lease, &attempted, now);
        self.report(&lease, &attempted, &settlement, now);
        let ended = Ended { attempted, decision, probe };
        // A fault in what people look at afterwards would else be one of the delivery, which would be made again for ever.
        let remember = AssertUnwindSafe(|| self.remember(live, webhook, &lease, ended, now));
        let settlement = match catch_unwind(remember).unwrap_or_default() {
            Some(record) => settlement.with_record(record),
            None => settlement,
        };
        self.spool.settle(lease, settlement).await;
    }

    /// Ends a delivery whose age ran out while it waited.
    async fn bury_expired(&self, live: &Live, webhook: &Webhook, lease: Lease) {
        let now = Timestamp::now();
        tracing::warn!(
            event_id = %lease.event.id, delivery_id = %delivery_id(lease.event.id, &webhook.name), webhook = %webhook.name,
            attempts = lease.attempts, reason = %Reason::Expired, "delivery.buried"
        );
        if let Some(handles) = handles(live, webhook) {
            handles.buried(Reason::Expired, 1);
        }
        let attempts = lease.attempts;
        let settlement = Settlement::Bury { reason: Reason::Expired, last: None, attempts, at: now, record: None };
        if self.settled.is_awaited() {
            self.settled.report(Report {
                event: lease.event.id,
                webhook: webhook.name.clone(),
                dead: Some((Reason::Expired, "retry.max_age is over".to_owned())),
                attempts,
                status: None,
                milliseconds: milliseconds(age(&lease, now)),
                validators: Vec::new(),
            });
        }
        self.spool.settle(lease, settlement).await;
    }

    /// Keeps the attempt for people; what of it is to outlive this process.
    fn remember(
        &self,
        live: &Live,
        webhook: &Arc<Webhook>,
        lease: &Lease,
        ended: Ended,
        now: Timestamp,
    ) -> Option<Record> {
        let Ended { attempted, decision, probe } = ended;
        let begun = now.checked_sub(SignedDuration::try_from(attempted.duration).unwrap_or_default()).unwrap_or(now);
        let limits = live.snapshot.settings.history;
        let recorded = attempted.into_invocation(now, webhook, &lease.event, live.generation);
        let invocation = Invocation {
            attempt: lease.attempts.saturating_add(1),
            probe,
            then: then(decision),
            timings: Timings { queued: Some(between(lease.ready_at(), begun)), ..recorded.timings },
            ..recorded
        };
        let kept = self.history.keep(invocation, limits);
        let Outcome::Failed(failure) = &kept.outcome else { return None };
        self.history.may_store(&webhook.name, now, limits).then(|| Record {
            number: kept.id.0,
            reason: failure.reason,
            request: request_id(&lease.event),
            text: view::stored(&kept, RECORD_BYTES_MAX).into(),
            keep: limits.per_webhook,
        })
    }

    fn report(&self, lease: &Lease, attempted: &Attempted, settlement: &Settlement, now: Timestamp) {
        if !self.settled.is_awaited() {
            return;
        }
        let (dead, attempts) = match settlement {
            Settlement::Defer { .. } => return,
            Settlement::Delivered => (None, lease.attempts.saturating_add(1)),
            Settlement::Bury { reason, attempts, last, .. } => {
                let detail = last.as_ref().map(|last| last.detail.clone()).unwrap_or_default();
                (Some((*reason, detail)), *attempts)
            }
        };
        self.settled.report(Report {
            event: lease.event.id,
            webhook: lease.webhook.clone(),
            dead,
            attempts,
            status: attempted.status(),
            milliseconds: milliseconds(age(lease, now)),
            validators: attempted.validators().map(|(name, passed)| (Arc::clone(name), passed)).collect(),
        });
    }
}

/// What becomes of a delivery, in the words of history.
const fn then(decision: Decision) -> Then {
    match decision {
        Decision::Done => Then::Delivered,
        Decision::Retry { at, .. } => Then::Retry(at),
        Decision::Hold => Then::Held,
        Decision::Bury { .. } => Then::Dead,
    }
}

/// Whether a delivery's age ran out while it waited.
pub(super) fn is_expired(webhook: &Webhook, lease: &Lease) -> bool {
    age(lease, Timestamp::now()) > webhook.retry.max_age
}

/// What a decision is to the spool.
fn settlement(decision: Decision, lease: &Lease, attempted: &Attempted, now: Timestamp) -> Settlement {
    let Outcome::Failed(failure) = &attempted.outcome else { return Settlement::Delivered };
    let last = LastOutcome::from(failure);
    match decision {
        Decision::Done => Settlement::Delivered,
        Decision::Retry { at, attempts, failing_since, passed } => {
            Settlement::Defer { until: at, attempts, failing_since: Some(failing_since), passed, last, record: None }
        }
        Decision::Hold => Settlement::Defer {
            until: now,
            attempts: lease.attempts,
            failing_since: lease.failing_since,
            passed: false,
            last,
            record: None,
        },
        Decision::Bury { reason, attempts } => {
            Settlement::Bury { reason, last: Some(last), attempts, at: now, record: None }
        }
    }
}

fn count(
    live: &Live,
    webhook: &Webhook,
    lease: &Lease,
    attempted: &Attempted,
    settlement: &Settlement,
    now: Timestamp,
) {
    let Some(handles) = handles(live, webhook) else { return };
    match &attempted.outcome {
        Outcome::Accepted => handles.accepted(attempted.duration, age(lease, now), now),
        Outcome::Failed(failure) => handles.failed(failure.reason, attempted.duration),
    }
    for (validator, _) in attempted.validators().filter(|(_, passed)| !passed) {
        handles.validator_failed(validator);
    }
    handles.missing.inc_by(attempted.missing.len() as u64);
    let Met { tokens_issued, tokens_failed, certificate_expires } = attempted.met;
    handles.tokens(tokens_issued, tokens_failed);
    if let Some(expires) = certificate_expires {
        handles.set_target_certificate(expires);
    }
    if let Settlement::Bury { reason, .. } = settlement {
        handles.buried(*reason, 1);
    }
}

/// One line an attempt.
fn log(webhook: &Webhook, lease: &Lease, attempted: &Attempted, decision: &Decision, probe: bool, now: Timestamp) {
    let attempt = lease.attempts.saturating_add(1);
    let duration_ms = milliseconds(attempted.duration);
    let (event_id, webhook_name, host) = (lease.event.id, &webhook.name, &webhook.url.host);
    let probe = probe.then_some(true);
    let trace_id = lease.event.trace().map(|trace| tracing::field::display(trace.id()));
    match &attempted.outcome {
        Outcome::Accepted => tracing::info!(
            %event_id, delivery_id = %delivery_id(event_id, webhook_name), webhook = %webhook_name, attempt, outcome = "accepted",
            status = attempted.status(), duration_ms, probe, host, trace_id, "delivery.attempted"
        ),
        Outcome::Failed(failure) => {
            let validator = attempted.validators().find(|(_, passed)| !passed).map(|(name, _)| name.as_ref());
            let retry_in_ms = match decision {
                Decision::Retry { at, .. } => Some(milliseconds(between(now, *at))),
                _ => None,
            };
            let held = (*decision == Decision::Hold).then_some(true);
            let dead = matches!(decision, Decision::Bury { .. });
            tracing::warn!(
                %event_id, delivery_id = %delivery_id(event_id, webhook_name), webhook = %webhook_name, attempt, outcome = "failed",
                reason = %failure.reason, detail = %failure.detail, status = attempted.status(), duration_ms, retry_in_ms, held, dead,
                probe, validator, host, trace_id, "delivery.attempted"
            );
        }
    }
}

fn last(attempted: &Attempted) -> Option<LastOutcome> {
    match &attempted.outcome {
        Outcome::Accepted => None,
        Outcome::Failed(failure) => Some(failure.into()),
    }
}

/// How old a delivery is; zero when the clock was set back.
fn age(lease: &Lease, now: Timestamp) -> Duration {
    between(lease.since, now)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
