//! The retry policy: after an attempt, done, again at a time, held, or bury; and what the attempt says about its target. Pure:
//! time and jitter are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::delivery::{Cause, Failure, Outcome, Reason};

use super::gate::{Says, Verdict};

/// `[retry]` of a webhook, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// From the time from which a delivery's age counts to giving it up.
    pub max_age: Duration,
    /// Attempts in all, of those that count; `None` is no limit but `max_age`.
    pub max_attempts: Option<u32>,
    /// The first wait's upper bound.
    pub initial: Duration,
    /// Every wait's upper bound.
    pub max_interval: Duration,
    /// `statuses`: what a status is taken for, beside the table of reasons.
    pub statuses: BTreeMap<u16, StatusRule>,
}

/// What `retry.statuses` says of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRule {
    /// Retry, whatever its reason.
    Retry,
    /// Dead letter at once, whatever its reason.
    DeadLetter,
}

/// A receiver's `Retry-After` is obeyed up to this many times `max_interval`.
const RETRY_AFTER_FACTOR: u32 = 6;

/// What a failure means: for its delivery, and for all of its webhook's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A fault of this payload: dead letter.
    Payload,
    /// A fault of the target, or its wish for time: the webhook pauses for this cause, the delivery is held.
    Target(Cause),
    /// It may pass by itself: retry.
    Transient {
        /// Whether it says that the target may be down, and counts for the breaker.
        breaks: bool,
    },
    /// No failure of an attempt but an end that was decided on: dead letter.
    Ended,
}

/// The table: what each Reason means where nothing else is said.
#[must_use]
pub const fn fate_of(reason: Reason) -> Fate {
    match reason {
        Reason::ClientError | Reason::ValidationFailed | Reason::ResponseTooLarge | Reason::TemplateError => {
            Fate::Payload
        }
        Reason::AuthError => Fate::Target(Cause::AuthError),
        Reason::NotFound => Fate::Target(Cause::NotFound),
        Reason::Gone => Fate::Target(Cause::Gone),
        Reason::RateLimited => Fate::Target(Cause::RateLimited),
        Reason::Redirect => Fate::Target(Cause::Redirect),
        Reason::BlockedAddress => Fate::Target(Cause::BlockedAddress),
        Reason::TokenRefused => Fate::Target(Cause::TokenRefused),
        Reason::ServerError
        | Reason::Timeout
        | Reason::DnsError
        | Reason::ConnectionRefused
        | Reason::ConnectionReset
        | Reason::TlsError
        | Reason::NetworkError
        | Reason::TokenUnavailable => Fate::Transient { breaks: true },
        Reason::Expired | Reason::AttemptsExhausted | Reason::WebhookRemoved => Fate::Ended,
    }
}

/// What a failure means under a policy. What `retry.statuses` says of its status goes before the table, and so does a validator
/// that asks for a retry; neither makes more of the target's state than the table does.
#[must_use]
pub fn fate(policy: &Policy, failure: &Failure) -> Fate {
    let table = fate_of(failure.reason);
    match failure.status.and_then(|status| policy.statuses.get(&status)) {
        Some(StatusRule::Retry) => Fate::Transient { breaks: table == Fate::Transient { breaks: true } },
        Some(StatusRule::DeadLetter) => Fate::Payload,
        None if failure.reason == Reason::ValidationFailed && failure.validator_retry => {
            Fate::Transient { breaks: false }
        }
        None => table,
    }
}

/// What an attempt says about its target, for the webhook's gate.
#[must_use]
pub fn verdict(policy: &Policy, outcome: &Outcome) -> Verdict {
    let Outcome::Failed(failure) = outcome else { return Verdict { says: Says::Works, asked: None } };
    let (says, retryable) = match fate(policy, failure) {
        Fate::Target(cause) => (Says::Faulty(cause), true),
        Fate::Transient { breaks: true } => (Says::Fails, true),
        Fate::Transient { breaks: false } => (Says::Works, true),
        Fate::Payload if failure.status.is_some() => (Says::Works, false),
        Fate::Payload | Fate::Ended => (Says::Nothing, false),
    };
    Verdict { says, asked: asked(policy, failure).filter(|_| retryable) }
}

/// Where a delivery stood when its attempt began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Attempts before this one, of those that count.
    pub attempts: u32,
    /// When its age began to count.
    pub since: Timestamp,
    /// When the first of the failures in a row was that it is in.
    pub failing_since: Option<Timestamp>,
    /// How long it may fail before the next one of its lane goes out; `None` is without end.
    pub max_wait: Option<Duration>,
    /// The attempt is a probe of a paused webhook.
    pub probe: bool,
}

/// What happens to a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is delivered.
    Done,
    /// It is tried again; the attempt counts.
    Retry {
        /// Not before this.
        at: Timestamp,
        /// Attempts in all, of those that count.
        attempts: u32,
        /// When the first of the failures in a row was.
        failing_since: Timestamp,
        /// It has failed for `max_wait`: it leaves its lane.
        passed: bool,
    },
    /// It is due at once and held by its webhook's gate; the attempt does not count.
    Hold,
    /// It becomes a dead letter.
    Bury {
        /// Why.
        reason: Reason,
        /// Attempts in all, of those that count.
        attempts: u32,
    },
}

/// Decides after an attempt that ended at `now`. `jitter` is random in 0 to 1.
///
/// A delivery whose next attempt would fall behind `max_age` is buried as expired at once: a last attempt at the very end would
/// come sooner than the backoff or the receiver asks for. One that is held is not: nobody knows for how long.
#[must_use]
pub fn decide(policy: &Policy, outcome: &Outcome, standing: Standing, now: Timestamp, jitter: f64) -> Decision {
    let failure = match outcome {
        Outcome::Accepted => return Decision::Done,
        Outcome::Failed(failure) => failure,
    };
    let end = later(standing.since, policy.max_age);
    let attempts = standing.attempts.saturating_add(1);
    let bury = |reason| Decision::Bury { reason, attempts };
    let held = match fate(policy, failure) {
        Fate::Payload | Fate::Ended => return bury(failure.reason),
        Fate::Target(_) => true,
        Fate::Transient { breaks } => standing.probe && breaks,
    };
    if held {
        let expired = end.is_some_and(|end| end < now);
        let bury = Decision::Bury { reason: Reason::Expired, attempts: standing.attempts };
        return if expired { bury } else { Decision::Hold };
    }
    if policy.max_attempts.is_some_and(|max| attempts >= max) {
        return bury(Reason::AttemptsExhausted);
    }
    let asked = asked(policy, failure).unwrap_or_default();
    let failing_since = standing.failing_since.unwrap_or(now);
    let passing = standing.max_wait.and_then(|max_wait| later(failing_since, max_wait));
    let passed = passing.is_some_and(|passing| passing <= now);
    let mut next = later(now, asked.saturating_add(backoff(policy, attempts, jitter)));
    if let (Some(passing), false) = (passing, passed) {
        // It passes on time: at an attempt that fails then, which the receiver's own wish alone may put off.
        let latest = later(now, asked).map_or(passing, |asked| passing.max(asked));
        next = next.map(|next| next.min(latest));
    }
    match (next, end) {
        (None, _) => bury(Reason::Expired),
        (Some(next), Some(end)) if next > end => bury(Reason::Expired),
        (Some(at), _) => Decision::Retry { at, attempts, failing_since, passed },
    }
}

/// What the receiver asks for, as far as it is obeyed.
fn asked(policy: &Policy, failure: &Failure) -> Option<Duration> {
    failure.retry_after.map(|asked| asked.min(policy.max_interval.saturating_mul(RETRY_AFTER_FACTOR)))
}

/// Exponential with full jitter: anything between nothing and the doubled bound.
fn backoff(policy: &Policy, attempts_made: u32, jitter: f64) -> Duration {
    let factor = 2_u32.saturating_pow(attempts_made.saturating_sub(1));
    let bound = policy.initial.saturating_mul(factor).min(policy.max_interval);
    let part = if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) };
    Duration::try_from_secs_f64(bound.as_secs_f64() * part).map_or(bound, |wait| wait.min(bound))
}

/// A time so much later, where the calendar still has one.
fn later(time: Timestamp, by: Duration) -> Option<Timestamp> {
    time.checked_add(SignedDuration::try_from(by).ok()?).ok()
}

#[cfg(test)]
mod tests;
