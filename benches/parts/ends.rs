//! How attempts end, and what the retry policy makes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use outrigger::delivery::{Failure, Outcome, Reason};
use outrigger::webhook::retry::{Decision, Policy, Standing, decide};

/// An end.
pub(crate) struct End {
    pub(crate) name: &'static str,
    outcome: fn() -> Outcome,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn failed(reason: Reason, status: u16, retry_after: Option<Duration>) -> Outcome {
    Outcome::Failed(Failure { status: Some(status), retry_after, ..Failure::new(reason, "the receiver answered") })
}

/// One for each decision.
pub(crate) const ALL: [End; 4] = [
    End { name: "done", outcome: || Outcome::Accepted },
    End { name: "again", outcome: || failed(Reason::ServerError, 503, Some(Duration::from_secs(5))) },
    End { name: "hold", outcome: || failed(Reason::RateLimited, 429, Some(Duration::from_mins(1))) },
    End { name: "bury", outcome: || failed(Reason::ClientError, 400, None) },
];

/// What is asked of the policy.
pub(crate) struct Question {
    policy: Policy,
    outcome: Outcome,
    standing: Standing,
    now: Timestamp,
}

impl End {
    /// After the third attempt of a delivery, a minute after it came in.
    pub(crate) fn question(&self) -> Question {
        let policy = Policy {
            max_age: Duration::from_hours(24),
            max_attempts: Some(50),
            initial: Duration::from_secs(1),
            max_interval: Duration::from_mins(10),
            statuses: BTreeMap::new(),
        };
        let standing = Standing {
            attempts: 2,
            since: Timestamp::UNIX_EPOCH,
            failing_since: Some(Timestamp::UNIX_EPOCH),
            max_wait: None,
            probe: false,
        };
        let now = Timestamp::from_second(60).expect("a time");
        Question { policy, outcome: (self.outcome)(), standing, now }
    }
}

impl Question {
    pub(crate) fn decide(&self) -> Decision {
        decide(&self.policy, &self.outcome, self.standing, self.now, 0.5)
    }
}
