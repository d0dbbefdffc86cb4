//! The retry policy: after an attempt, done, again at a time, or bury. Pure: time and jitter are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::delivery::{Failure, Outcome, Reason};

/// `[retry]` of a webhook, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// From the event's arrival to giving up.
    pub max_age: Duration,
    /// Attempts in all; `None` is no limit but `max_age`.
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

/// A 429 that names no time waits at least this long.
const RATE_LIMITED_WAIT: Duration = Duration::from_mins(1);
/// A receiver's `Retry-After` is obeyed up to this many times `max_interval`.
const RETRY_AFTER_FACTOR: u32 = 6;

/// What happens to a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is delivered.
    Done,
    /// It is tried again at this time.
    RetryAt(Timestamp),
    /// It becomes a dead letter, for this reason.
    Bury(Reason),
}

/// Decides after an attempt that ended at `now`. `attempts_made` counts it; `jitter` is random in 0 to 1.
///
/// A delivery whose next attempt would fall behind `max_age` is buried as expired at once: a last attempt at the very end would
/// come sooner than the backoff or the receiver asks for.
#[must_use]
pub fn decide(
    policy: &Policy,
    outcome: &Outcome,
    attempts_made: u32,
    received_at: Timestamp,
    now: Timestamp,
    jitter: f64,
) -> Decision {
    let failure = match outcome {
        Outcome::Accepted => return Decision::Done,
        Outcome::Failed(failure) => failure,
    };
    if !is_retried(policy, failure) {
        return Decision::Bury(failure.reason);
    }
    if policy.max_attempts.is_some_and(|max| attempts_made >= max) {
        return Decision::Bury(Reason::AttemptsExhausted);
    }
    let next = later(now, wait(policy, failure, attempts_made, jitter));
    match (next, later(received_at, policy.max_age)) {
        (None, _) => Decision::Bury(Reason::Expired),
        (Some(next), Some(end)) if next > end => Decision::Bury(Reason::Expired),
        (Some(next), _) => Decision::RetryAt(next),
    }
}

/// Whether this failure can pass by itself. What `retry.statuses` says goes before the reason.
fn is_retried(policy: &Policy, failure: &Failure) -> bool {
    match failure.status.and_then(|status| policy.statuses.get(&status)) {
        Some(StatusRule::Retry) => return true,
        Some(StatusRule::DeadLetter) => return false,
        None => {}
    }
    match failure.reason {
        Reason::ClientError
        | Reason::ResponseTooLarge
        | Reason::TemplateError
        | Reason::Expired
        | Reason::AttemptsExhausted
        | Reason::WebhookRemoved => false,
        Reason::ValidationFailed => failure.validator_retry,
        // Faults of the target are nobody's payload's: they are waited out.
        Reason::AuthError
        | Reason::NotFound
        | Reason::Gone
        | Reason::RateLimited
        | Reason::ServerError
        | Reason::Redirect
        | Reason::Timeout
        | Reason::DnsError
        | Reason::ConnectionRefused
        | Reason::ConnectionReset
        | Reason::TlsError
        | Reason::NetworkError
        | Reason::BlockedAddress => true,
    }
}

/// What the receiver asks for, and on top of it the backoff: deliveries that were told the same time do not come back together.
fn wait(policy: &Policy, failure: &Failure, attempts_made: u32, jitter: f64) -> Duration {
    let asked = match (failure.retry_after, failure.reason) {
        (Some(asked), _) => asked.min(policy.max_interval.saturating_mul(RETRY_AFTER_FACTOR)),
        (None, Reason::RateLimited) => RATE_LIMITED_WAIT,
        (None, _) => Duration::ZERO,
    };
    asked.saturating_add(backoff(policy, attempts_made, jitter))
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
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECEIVED: Timestamp = Timestamp::UNIX_EPOCH;

    fn policy() -> Policy {
        Policy {
            max_age: Duration::from_hours(24),
            max_attempts: None,
            initial: Duration::from_secs(1),
            max_interval: Duration::from_mins(10),
            statuses: BTreeMap::new(),
        }
    }

    fn failed(reason: Reason) -> Failure {
        Failure::new(reason, "")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// The decision after the first attempt, at once, with full jitter.
    fn first(policy: &Policy, failure: Failure) -> Decision {
        decide(policy, &Outcome::Failed(failure), 1, RECEIVED, RECEIVED, 1.0)
    }

    #[test]
    fn an_accepted_attempt_is_done_however_late() {
        let policy = Policy { max_attempts: Some(1), ..policy() };
        assert_eq!(decide(&policy, &Outcome::Accepted, 9, RECEIVED, at(1_000_000), 0.5), Decision::Done);
    }

    #[test]
    fn a_fault_of_the_payload_is_buried_and_every_other_is_retried() {
        let buried = [
            Reason::ClientError,
            Reason::ValidationFailed,
            Reason::ResponseTooLarge,
            Reason::TemplateError,
            Reason::Expired,
            Reason::AttemptsExhausted,
            Reason::WebhookRemoved,
        ];
        for reason in Reason::ALL {
            let expected = match reason {
                Reason::RateLimited => Decision::RetryAt(at(61)),
                _ if buried.contains(&reason) => Decision::Bury(reason),
                _ => Decision::RetryAt(at(1)),
            };
            assert_eq!(first(&policy(), failed(reason)), expected, "{reason}");
        }
    }

    #[test]
    fn a_validator_that_asks_for_it_is_retried() {
        let failure = Failure { validator_retry: true, ..failed(Reason::ValidationFailed) };
        assert_eq!(first(&policy(), failure), Decision::RetryAt(at(1)));
    }

    #[test]
    fn a_rule_for_a_status_goes_before_its_reason() {
        let statuses =
            BTreeMap::from([(409, StatusRule::Retry), (503, StatusRule::DeadLetter), (200, StatusRule::DeadLetter)]);
        let policy = Policy { statuses, ..policy() };
        let cases = [
            (409, Reason::ClientError, Decision::RetryAt(at(1))),
            (400, Reason::ClientError, Decision::Bury(Reason::ClientError)),
            (503, Reason::ServerError, Decision::Bury(Reason::ServerError)),
            (500, Reason::ServerError, Decision::RetryAt(at(1))),
        ];
        for (status, reason, expected) in cases {
            assert_eq!(first(&policy, Failure { status: Some(status), ..failed(reason) }), expected, "{status}");
        }
        let asked = Failure { status: Some(200), validator_retry: true, ..failed(Reason::ValidationFailed) };
        assert_eq!(first(&policy, asked), Decision::Bury(Reason::ValidationFailed));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_takes_any_part_of_them() {
        let bounds = [(1, 1), (2, 2), (3, 4), (4, 8), (10, 512), (11, 600), (40, 600), (u32::MAX, 600)];
        for (attempts, seconds) in bounds {
            let wait = |jitter| backoff(&policy(), attempts, jitter);
            assert_eq!(wait(1.0), Duration::from_secs(seconds), "after {attempts} attempts");
            assert_eq!(wait(0.5), Duration::from_secs(seconds) / 2);
            assert_eq!(wait(0.0), Duration::ZERO);
        }
    }

    #[test]
    fn retry_after_is_the_least_wait_up_to_six_times_the_longest() {
        let cases = [
            (Reason::RateLimited, Some(5), 6),
            (Reason::RateLimited, Some(0), 1),
            (Reason::RateLimited, None, 61),
            (Reason::ServerError, Some(120), 121),
            (Reason::ServerError, Some(3600), 3601),
            (Reason::ServerError, Some(86_000), 3601),
            (Reason::ServerError, Some(u64::MAX), 3601),
        ];
        for (reason, asked, expected) in cases {
            let failure = Failure { retry_after: asked.map(Duration::from_secs), ..failed(reason) };
            assert_eq!(first(&policy(), failure), Decision::RetryAt(at(expected)), "{reason} {asked:?}");
        }
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let policy = Policy { max_attempts: Some(3), ..policy() };
        let after =
            |attempts| decide(&policy, &Outcome::Failed(failed(Reason::Timeout)), attempts, RECEIVED, RECEIVED, 0.0);
        assert_eq!(after(2), Decision::RetryAt(RECEIVED));
        assert_eq!(after(3), Decision::Bury(Reason::AttemptsExhausted));
        assert_eq!(after(4), Decision::Bury(Reason::AttemptsExhausted));
    }

    #[test]
    fn no_attempt_is_planned_behind_the_greatest_age() {
        let policy = Policy { max_age: Duration::from_secs(100), ..policy() };
        let now = |seconds| decide(&policy, &Outcome::Failed(failed(Reason::Timeout)), 1, RECEIVED, at(seconds), 1.0);
        assert_eq!(now(99), Decision::RetryAt(at(100)));
        assert_eq!(now(100), Decision::Bury(Reason::Expired));
        assert_eq!(now(5000), Decision::Bury(Reason::Expired));
    }

    #[test]
    fn a_target_that_is_down_for_a_day_is_tried_all_day_and_then_given_up() {
        let (policy, outcome) = (policy(), Outcome::Failed(failed(Reason::ConnectionRefused)));
        let (mut now, mut attempts) = (RECEIVED, 1);
        let reason = loop {
            match decide(&policy, &outcome, attempts, RECEIVED, now, 0.5) {
                Decision::RetryAt(next) => now = next,
                Decision::Bury(reason) => break reason,
                Decision::Done => panic!("nothing was delivered"),
            }
            attempts += 1;
        };
        assert_eq!(reason, Reason::Expired);
        assert!((280..320).contains(&attempts), "{attempts} attempts");
        assert!(now > at(24 * 3600 - 600), "tried until {now}");
    }

    proptest! {
        #[test]
        fn a_wait_is_never_outside_its_bounds(
            initial in any::<u64>(),
            longest in any::<u64>(),
            asked in proptest::option::of(any::<u64>()),
            attempts in any::<u32>(),
            jitter in prop_oneof![0.0..1.0, any::<f64>()],
        ) {
            let policy = Policy {
                initial: Duration::from_millis(initial),
                max_interval: Duration::from_millis(longest),
                ..policy()
            };
            let failure = Failure { retry_after: asked.map(Duration::from_secs), ..failed(Reason::ServerError) };
            let wait = wait(&policy, &failure, attempts, jitter);
            let least = failure.retry_after.unwrap_or_default().min(policy.max_interval.saturating_mul(6));
            prop_assert!(wait >= least);
            prop_assert!(wait <= least.saturating_add(policy.max_interval));
        }

        #[test]
        fn no_input_makes_the_decision_panic(
            age in any::<u64>(),
            longest in any::<u64>(),
            attempts in any::<u32>(),
            received in -1_000_000_000_000_i64..100_000_000_000,
            now in -1_000_000_000_000_i64..100_000_000_000,
            jitter in any::<f64>(),
        ) {
            let policy = Policy {
                max_age: Duration::from_secs(age),
                max_interval: Duration::from_secs(longest),
                ..policy()
            };
            let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN);
            let _ = decide(&policy, &Outcome::Failed(failed(Reason::Timeout)), attempts, time(received), time(now), jitter);
        }
    }
}
