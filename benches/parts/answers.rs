//! Answers of receivers, and the validators that look at them.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};
use outrigger::webhook::Webhook;
use outrigger::webhook::judge::ResponseParts;

use crate::webhooks::configuration;

/// An answer that a webhook with these validators accepts.
pub(crate) struct Answer {
    pub(crate) name: &'static str,
    validators: &'static str,
    body: &'static str,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Answer {
    pub(crate) fn webhook(&self) -> Arc<Webhook> {
        let snapshot = configuration([format!("url = \"https://hooks.example.com/\"\n{}", self.validators)]);
        Arc::clone(snapshot.webhooks.get("hook-0").expect("it is the only one"))
    }

    /// It with what stands in its head.
    pub(crate) fn parts<'h>(&self, headers: &'h HeaderMap) -> ResponseParts<'h> {
        ResponseParts { status: StatusCode::OK, headers, body: self.body.as_bytes(), truncated: false }
    }
}

/// What stands in the head of an answer.
pub(crate) fn headers() -> HeaderMap {
    let headers = [
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("server", "receiver"),
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "320"),
        ("cache-control", "no-store"),
        ("x-request-id", "0d1c7a52-7c1f-4a0e-9a44-6f5d2f0b8c11"),
    ];
    headers
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect()
}

const MESSAGE: &str = r#"{"ok":true,"channel":"C0123456789","ts":"1767225600.000100","message":{"type":"message","user":"U0123456789",
    "text":"Ana García may use prod-postgres","bot_id":"B0123456789","app_id":"A0123456789","blocks":[{"type":"section","block_id":"b1",
    "text":{"type":"mrkdwn","text":"Ana García may use prod-postgres","verbatim":false}}]},"error":null}"#;

const STATUS: &str = "[[response_validators]]\npath = \"$.status\"\nexpected = [\"200\"]\n";

const FIELD: &str = "[[response_validators]]\npath = \"$.data.ok\"\nexpected = [\"true\"]\n";

const SEVERAL: &str = "[[response_validators]]\npath = \"$.status\"\nexpected = [\"200\", \"201\"]\n\
    [[response_validators]]\npath = \"$.data.ok\"\nexpected = [\"true\"]\n\
    [[response_validators]]\npath = \"$.headers['content-type']\"\nexpected = [\"application/json; charset=utf-8\"]\n\
    [[response_validators]]\npath = \"$.data.error\"\nrejected = [\"ratelimited\", \"internal_error\"]\n";

const TEXT: &str = "[[response_validators]]\npath = \"$.data\"\nexpected = [\"ok\"]\n";

/// All of them.
pub(crate) const ALL: [Answer; 5] = [
    Answer { name: "no-validator", validators: "", body: MESSAGE },
    Answer { name: "status", validators: STATUS, body: MESSAGE },
    Answer { name: "field", validators: FIELD, body: MESSAGE },
    Answer { name: "several-and-headers", validators: SEVERAL, body: MESSAGE },
    Answer { name: "no-json", validators: TEXT, body: "ok" },
];
