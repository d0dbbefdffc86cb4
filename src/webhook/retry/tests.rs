//! The table and the decisions that follow from it.

#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

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

/// A delivery before its first attempt.
fn fresh() -> Standing {
    Standing { attempts: 0, since: RECEIVED, failing_since: None, max_wait: None, probe: false }
}

fn failed(reason: Reason) -> Failure {
    Failure::new(reason, "")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn buried(reason: Reason, attempts: u32) -> Decision {
    Decision::Bury { reason, attempts }
}

/// A retry of what never failed before `now`, at these seconds.
fn retry(seconds: i64) -> Decision {
    Decision::Retry { at: at(seconds), attempts: 1, failing_since: RECEIVED, passed: false }
}

/// The decision after the first attempt, at once, with full jitter.
fn first(policy: &Policy, failure: Failure) -> Decision {
    decide(policy, &Outcome::Failed(failure), fresh(), RECEIVED, 1.0)
}

/// After how many seconds it is tried again.
fn wait(policy: &Policy, failure: Failure) -> i64 {
    match first(policy, failure) {
        Decision::Retry { at, .. } => at.as_second(),
        other => panic!("a retry was expected: {other:?}"),
    }
}

#[test]
fn an_accepted_attempt_is_done_however_late() {
    let policy = Policy { max_attempts: Some(1), ..policy() };
    let standing = Standing { attempts: 9, ..fresh() };
    assert_eq!(decide(&policy, &Outcome::Accepted, standing, at(1_000_000), 0.5), Decision::Done);
    assert_eq!(verdict(&policy, &Outcome::Accepted), Verdict { says: Says::Works, asked: None });
}

#[test]
fn every_reason_has_its_fate_and_what_follows_from_it() {
    let retried = retry(1);
    for reason in Reason::ALL {
        let (decision, probed, says) = match fate_of(reason) {
            Fate::Payload | Fate::Ended => (buried(reason, 1), buried(reason, 1), Says::Nothing),
            Fate::Target(cause) => (Decision::Hold, Decision::Hold, Says::Faulty(cause)),
            Fate::Transient { breaks } => {
                assert!(breaks, "{reason}: only a policy makes others of it");
                (retried, Decision::Hold, Says::Fails)
            }
        };
        let outcome = Outcome::Failed(failed(reason));
        assert_eq!(decide(&policy(), &outcome, fresh(), RECEIVED, 1.0), decision, "{reason}");
        let probe = Standing { probe: true, ..fresh() };
        assert_eq!(decide(&policy(), &outcome, probe, RECEIVED, 1.0), probed, "{reason} of a probe");
        assert_eq!(verdict(&policy(), &outcome).says, says, "{reason}");
    }
    let targets = Reason::ALL.iter().filter(|reason| matches!(fate_of(**reason), Fate::Target(_))).count();
    assert_eq!(targets, Cause::ALL.len() - 1, "each cause but the breaker is a reason's");
}

#[test]
fn a_fault_of_the_payload_says_that_the_target_works_when_the_target_said_so() {
    let answered = |reason, status| {
        Outcome::Failed(Failure { status, retry_after: Some(Duration::from_secs(9)), ..failed(reason) })
    };
    let works = Verdict { says: Says::Works, asked: None };
    for (reason, status) in
        [(Reason::ClientError, 400), (Reason::ValidationFailed, 200), (Reason::ResponseTooLarge, 200)]
    {
        assert_eq!(verdict(&policy(), &answered(reason, Some(status))), works, "{reason}");
    }
    let nothing = Verdict { says: Says::Nothing, asked: None };
    assert_eq!(verdict(&policy(), &answered(Reason::TemplateError, None)), nothing);
}

#[test]
fn a_validator_that_asks_for_it_is_retried_and_does_not_count_for_the_breaker() {
    let failure = Failure { validator_retry: true, status: Some(200), ..failed(Reason::ValidationFailed) };
    assert_eq!(first(&policy(), failure.clone()), retry(1));
    let outcome = Outcome::Failed(failure);
    assert_eq!(verdict(&policy(), &outcome).says, Says::Works);
    let probe = Standing { probe: true, ..fresh() };
    assert_eq!(decide(&policy(), &outcome, probe, RECEIVED, 1.0), retry(1), "it says nothing against the target");
}

#[test]
fn a_rule_for_a_status_goes_before_its_reason() {
    let retried = [409, 401, 429, 502];
    let dead = [503, 403, 410];
    let statuses = retried.map(|status| (status, StatusRule::Retry)).into_iter();
    let statuses = statuses.chain(dead.map(|status| (status, StatusRule::DeadLetter))).collect();
    let policy = Policy { statuses, ..policy() };
    let cases = [
        (409, Reason::ClientError, retry(1), Says::Works),
        (401, Reason::AuthError, retry(1), Says::Works),
        (429, Reason::RateLimited, retry(1), Says::Works),
        (502, Reason::ServerError, retry(1), Says::Fails),
        (400, Reason::ClientError, buried(Reason::ClientError, 1), Says::Works),
        (503, Reason::ServerError, buried(Reason::ServerError, 1), Says::Works),
        (403, Reason::AuthError, buried(Reason::AuthError, 1), Says::Works),
        (410, Reason::Gone, buried(Reason::Gone, 1), Says::Works),
        (500, Reason::ServerError, retry(1), Says::Fails),
        (404, Reason::NotFound, Decision::Hold, Says::Faulty(Cause::NotFound)),
    ];
    for (status, reason, decision, says) in cases {
        let failure = Failure { status: Some(status), ..failed(reason) };
        assert_eq!(first(&policy, failure.clone()), decision, "{status}");
        assert_eq!(verdict(&policy, &Outcome::Failed(failure)).says, says, "{status}");
    }
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
fn retry_after_is_the_least_wait_up_to_six_times_the_longest_for_all_of_the_webhook() {
    for (asked, expected) in [(0, 1), (5, 6), (120, 121), (3600, 3601), (86_000, 3601), (u64::MAX, 3601)] {
        let failure = Failure { retry_after: Some(Duration::from_secs(asked)), ..failed(Reason::ServerError) };
        assert_eq!(wait(&policy(), failure.clone()), expected, "{asked}");
        let held = Duration::from_secs(asked.min(3600));
        for reason in [Reason::ServerError, Reason::RateLimited, Reason::Redirect] {
            let outcome = Outcome::Failed(Failure { reason, ..failure.clone() });
            assert_eq!(verdict(&policy(), &outcome).asked, Some(held), "{reason} {asked}");
        }
    }
}

#[test]
fn the_last_attempt_is_the_last_and_only_those_count_that_cost() {
    let policy = Policy { max_attempts: Some(3), ..policy() };
    let after = |attempts, reason, probe| {
        let standing = Standing { attempts, probe, ..fresh() };
        decide(&policy, &Outcome::Failed(failed(reason)), standing, RECEIVED, 0.0)
    };
    assert!(matches!(after(1, Reason::Timeout, false), Decision::Retry { attempts: 2, .. }));
    assert_eq!(after(2, Reason::Timeout, false), buried(Reason::AttemptsExhausted, 3));
    assert_eq!(after(7, Reason::Timeout, false), buried(Reason::AttemptsExhausted, 8));
    for (reason, probe) in [(Reason::Timeout, true), (Reason::AuthError, false), (Reason::RateLimited, false)] {
        assert_eq!(after(2, reason, probe), Decision::Hold, "{reason}");
    }
}

#[test]
fn no_attempt_is_planned_behind_the_greatest_age_and_nothing_is_held_beyond_it() {
    let policy = Policy { max_age: Duration::from_secs(100), ..policy() };
    let now = |seconds, reason| {
        let standing = Standing { failing_since: Some(RECEIVED), ..fresh() };
        decide(&policy, &Outcome::Failed(failed(reason)), standing, at(seconds), 1.0)
    };
    assert_eq!(now(99, Reason::Timeout), retry(100));
    assert_eq!(now(100, Reason::Timeout), buried(Reason::Expired, 1));
    assert_eq!(now(5000, Reason::Timeout), buried(Reason::Expired, 1));
    assert_eq!(now(100, Reason::AuthError), Decision::Hold);
    assert_eq!(now(101, Reason::AuthError), buried(Reason::Expired, 0));
}

#[test]
fn a_delivery_that_fails_for_max_wait_leaves_its_lane_at_the_attempt_that_fails_then() {
    let max_wait = Some(Duration::from_mins(5));
    let asks = |seconds| Failure { retry_after: Some(Duration::from_secs(seconds)), ..failed(Reason::ServerError) };
    // Attempts before, failing since, now, the failure; when it is tried again, and whether it passed.
    let cases = [
        (0, None, 1000, failed(Reason::Timeout), 1001, 1000, false),
        (9, Some(1000), 1200, failed(Reason::Timeout), 1300, 1000, false),
        (9, Some(1000), 1299, failed(Reason::Timeout), 1300, 1000, false),
        (9, Some(1000), 1300, failed(Reason::Timeout), 1300 + 512, 1000, true),
        (9, Some(1000), 1200, asks(50), 1300, 1000, false),
        (9, Some(1000), 1200, asks(400), 1600, 1000, false),
        (9, None, 1200, failed(Reason::Timeout), 1500, 1200, false),
    ];
    for (attempts, failing, now, failure, next, since, passed) in cases {
        let standing = Standing { attempts, failing_since: failing.map(at), max_wait, ..fresh() };
        let expected = Decision::Retry { at: at(next), attempts: attempts + 1, failing_since: at(since), passed };
        let told = format!("{attempts} {failing:?} {now} {failure:?}");
        assert_eq!(decide(&policy(), &Outcome::Failed(failure), standing, at(now), 1.0), expected, "{told}");
    }
    let strict = Standing { attempts: 9, failing_since: Some(at(0)), ..fresh() };
    let decision = decide(&policy(), &Outcome::Failed(failed(Reason::Timeout)), strict, at(50_000), 0.0);
    assert!(matches!(decision, Decision::Retry { passed: false, .. }), "without max_wait nobody passes");
}

#[test]
fn a_target_that_is_down_for_a_day_is_tried_all_day_and_then_given_up() {
    let (policy, outcome) = (policy(), Outcome::Failed(failed(Reason::ConnectionRefused)));
    let (mut now, mut made) = (RECEIVED, 0);
    let reason = loop {
        match decide(&policy, &outcome, Standing { attempts: made, ..fresh() }, now, 0.5) {
            Decision::Retry { at, attempts, .. } => (now, made) = (at, attempts),
            Decision::Bury { reason, .. } => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason, Reason::Expired);
    assert!((280..320).contains(&made), "{made} attempts");
    assert!(now > at(24 * 3600 - 600), "tried until {now}");
}

proptest! {
    #[test]
    fn a_wait_is_never_outside_its_bounds(
        initial in any::<u64>(),
        longest in 0..u64::MAX / 1_000_000,
        asked in proptest::option::of(any::<u64>()),
        attempts in any::<u32>(),
        max_wait in proptest::option::of(any::<u32>()),
        jitter in prop_oneof![0.0..1.0, any::<f64>()],
    ) {
        let policy = Policy {
            max_age: Duration::MAX,
            initial: Duration::from_millis(initial),
            max_interval: Duration::from_millis(longest),
            ..policy()
        };
        let failure = Failure { retry_after: asked.map(Duration::from_secs), ..failed(Reason::ServerError) };
        let least = failure.retry_after.unwrap_or_default().min(policy.max_interval.saturating_mul(6));
        let max_wait = max_wait.map(|seconds| Duration::from_secs(seconds.into()));
        let standing = Standing { attempts, max_wait, ..fresh() };
        if let Decision::Retry { at, .. } = decide(&policy, &Outcome::Failed(failure), standing, RECEIVED, jitter) {
            let wait = Duration::try_from(at.duration_since(RECEIVED)).unwrap();
            prop_assert!(wait >= least);
            prop_assert!(wait <= least.saturating_add(policy.max_interval));
            prop_assert!(max_wait.is_none_or(|max_wait| max_wait.is_zero() || wait <= max_wait.max(least)));
        }
    }

    #[test]
    fn no_input_makes_the_decision_panic(
        age in any::<u64>(),
        longest in any::<u64>(),
        attempts in any::<u32>(),
        since in -1_000_000_000_000_i64..100_000_000_000,
        failing in proptest::option::of(-1_000_000_000_000_i64..100_000_000_000),
        now in -1_000_000_000_000_i64..100_000_000_000,
        max_wait in proptest::option::of(any::<u64>()),
        probe in any::<bool>(),
        jitter in any::<f64>(),
    ) {
        let policy = Policy {
            max_age: Duration::from_secs(age),
            max_interval: Duration::from_secs(longest),
            ..policy()
        };
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN);
        let standing = Standing {
            attempts,
            since: time(since),
            failing_since: failing.map(time),
            max_wait: max_wait.map(Duration::from_secs),
            probe,
        };
        let _ = decide(&policy, &Outcome::Failed(failed(Reason::Timeout)), standing, time(now), jitter);
    }
}
