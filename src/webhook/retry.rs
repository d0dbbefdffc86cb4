//! The retry policy: after an attempt, done, again at a time, or bury. Pure: time and jitter are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

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
