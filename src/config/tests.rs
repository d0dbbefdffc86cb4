//! `[[tests]]` of a webhook's file: what `check` runs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::delivery::Reason;
use crate::diagnostic::Place;

/// One `[[tests]]` entry.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// The webhook it is about.
    pub webhook: Arc<str>,
    /// What it shows.
    pub name: String,
    /// The webhook's file, as diagnostics call it.
    pub file: String,
    /// Where its event is written.
    pub place: Place,
    /// The event.
    pub event: TestEvent,
    /// What the receiver answers, where the test goes that far.
    pub response: Option<TestResponse>,
    /// What should come of it.
    pub expect: Expect,
}

/// Where a test's event comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TestEvent {
    /// A JSON file: as it is written, and where it is.
    File(String, PathBuf),
    /// An inline table.
    Inline(Value),
    /// A sample of the webhook's kind.
    Sample(String),
}

/// What a test's receiver answers.
#[derive(Clone, Debug, PartialEq)]
pub struct TestResponse {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, however long.
    pub body: Bytes,
}

/// What should come of a test's event. What is not said is not asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Whether the webhook wants the event; it does where only a body, URL or header is expected.
    pub delivered: Option<bool>,
    /// The body: objects may have more members, everything else is equal.
    pub body: Option<Value>,
    /// The URL; referenced values are `***`.
    pub url: Option<String>,
    /// Headers that must be there; referenced values are `***`.
    pub headers: Vec<(String, String)>,
    /// Whether the attempt is accepted or fails.
    pub accepted: Option<bool>,
    /// Why it fails; [`Reason::TemplateError`] needs no response.
    pub reason: Option<Reason>,
    /// The names of all validators that fail.
    pub validators: Option<BTreeSet<String>>,
}

/// What a response, or the lack of a request, can come to; the other reasons are those of connections and of time.
pub(super) const ANSWERED: [Reason; 10] = [
    Reason::ClientError,
    Reason::AuthError,
    Reason::NotFound,
    Reason::Gone,
    Reason::RateLimited,
    Reason::ServerError,
    Reason::Redirect,
    Reason::ValidationFailed,
    Reason::ResponseTooLarge,
    Reason::TemplateError,
];

/// Whether a response, or the lack of a request, can come to a reason, so that a test can expect it.
#[must_use]
pub fn is_answered(reason: Reason) -> bool {
    ANSWERED.contains(&reason)
}

/// The same as they are spelt.
pub(super) const ANSWERED_NAMES: [&str; ANSWERED.len()] = {
    let mut names = [""; ANSWERED.len()];
    let mut at = 0;
    while at < ANSWERED.len() {
        names[at] = ANSWERED[at].as_str();
        at += 1;
    }
    names
};
