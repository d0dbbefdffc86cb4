//! Spans: what a request to ingest and each attempt took, sent to a collector by OTLP where the program has the feature `otel` and the
//! configuration or the environment names a collector.
//!
//! A trace is sampled where its sender sampled it; one that begins here by `traces.sample_ratio`. What was decided is in the flags
//! that are kept with the event, so that all attempts are recorded or none, also after a restart. Recording never waits: what finds the
//! queue full is dropped and counted.

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod endpoint;
#[cfg(feature = "otel")]
mod message;
#[cfg(feature = "otel")]
mod queue;

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::config::Traces;
use crate::trace::{SpanId, Trace, TraceId};

/// What a span is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answers somebody.
    Server,
    /// It asks somebody.
    Client,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A span that has ended. It holds no payload and no secret.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it is.
    pub name: &'static str,
    /// What it is to the others.
    pub kind: Kind,
    /// The trace that it is in.
    pub trace: Arc<Trace>,
    /// Its identity.
    pub id: SpanId,
    /// The one that caused it.
    pub parent: Option<SpanId>,
    /// When it began.
    pub begun: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub failed: bool,
}

/// Where spans go; nowhere by default.
#[derive(Clone, Default)]
pub struct Spans {
    #[cfg(feature = "otel")]
    queue: Option<Arc<queue::Queue>>,
}

impl Spans {
    /// Begins to send, where a collector is named. Authorities in `ca_pem` are trusted beside the public ones.
    #[must_use]
    #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "there is nothing to send by"))]
    pub fn start(traces: &Traces, ca_pem: Option<&str>) -> Self {
        #[cfg(feature = "otel")]
        return Self { queue: queue::Queue::start(traces, ca_pem) };
        #[cfg(not(feature = "otel"))]
        Self::default()
    }

    /// Whether anybody wants them.
    #[must_use]
    pub fn are_sent(&self) -> bool {
        #[cfg(feature = "otel")]
        return self.queue.is_some();
        #[cfg(not(feature = "otel"))]
        false
    }

    /// Whether a trace that begins here is recorded.
    #[must_use]
    #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "there is nothing to send by"))]
    pub fn sample(&self, id: TraceId) -> bool {
        #[cfg(feature = "otel")]
        return self.queue.as_ref().is_some_and(|queue| queue.samples(id));
        #[cfg(not(feature = "otel"))]
        false
    }

    /// Sends a span some time soon.
    pub fn record(&self, span: Span) {
        #[cfg(feature = "otel")]
        if let Some(queue) = &self.queue {
            queue.record(span);
        }
        #[cfg(not(feature = "otel"))]
        drop(span);
    }

    /// Sends what was recorded, within a limit or until `abort`, and ends.
    #[cfg_attr(not(feature = "otel"), expect(clippy::unused_async, reason = "there is nothing to wait for"))]
    pub async fn close(&self, abort: &CancellationToken) {
        #[cfg(not(feature = "otel"))]
        let _ = abort;
        #[cfg(feature = "otel")]
        if let Some(queue) = &self.queue {
            queue.close(abort).await;
        }
    }
}
