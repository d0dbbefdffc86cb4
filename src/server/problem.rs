//! Errors as problem details (RFC 9457), the same shape from every listener.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use crate::server::Answer;

/// A refusal: status, a sentence, and what a program needs beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
    header: Option<(http::HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with its status and its sentence, which says how to go on.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts { status, detail: detail.into(), members: Map::new(), header: None }))
    }

    /// 405 with the method that is allowed.
    #[must_use]
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let mut problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {allowed}"));
        problem.0.header = Some((ALLOW, HeaderValue::from_static(allowed)));
        problem
    }

    /// 401 with the scheme to use.
    #[must_use]
    pub fn unauthorized() -> Self {
        let mut problem =
            Self::new(StatusCode::UNAUTHORIZED, "send `authorization: Bearer TOKEN` with this listener's token");
        problem.0.header = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        problem
    }

    /// 503 or 429 with the seconds after which to come again.
    #[must_use]
    pub fn later(status: StatusCode, detail: impl Into<String>, seconds: u32) -> Self {
        let mut problem = Self::new(status, detail);
        problem.0.header = Some((RETRY_AFTER, HeaderValue::from(seconds)));
        problem
    }

    /// The same with one more member for programs.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Its sentence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl From<Problem> for Answer {
    fn from(Problem(problem): Problem) -> Self {
        let mut body = json!({
            "type": "about:blank",
            "title": problem.status.canonical_reason().unwrap_or("Error"),
            "status": problem.status.as_u16(),
            "detail": problem.detail,
        });
        if let Value::Object(body) = &mut body {
            body.extend(problem.members);
        }
        let mut answer = Self::new(Full::new(Bytes::from(format!("{body}\n"))));
        *answer.status_mut() = problem.status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = problem.header {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}
