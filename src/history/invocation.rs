//! One attempt as people will look at it. What can be made again from event and definition is not kept: the request is rendered
//! anew when somebody looks, so that an attempt pays for nothing but what came back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;

use crate::client::{Issued, Response, Wire};
use crate::delivery::Outcome;
use crate::event::Event;
use crate::kind::about;
use crate::trace::SpanId;
use crate::webhook::Webhook;
use crate::webhook::validator::Verdict;

/// How much of a response's body is kept, in bytes.
pub(super) const RESPONSE_KEPT_BYTES_MAX: usize = 16 * 1024;
/// How much of a response's headers is kept, in bytes.
pub(super) const HEADERS_KEPT_BYTES_MAX: usize = 8 * 1024;

/// What a compiled definition takes of memory beside twice its text, in bytes: as measured with 2,000 of them.
const DEFINITION_BYTES: usize = 8 * 1024;

/// The identity of an invocation: microseconds since the epoch at its end, or one more than the one before, so that ids ascend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationId(pub u64);

impl InvocationId {
    /// Reads `inv_` and 16 lower-case hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("inv_")?;
        let plain = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(digits, 16).ok().filter(|_| plain).map(Self)
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inv_{:016x}", self.0)
    }
}

/// What became of the delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is delivered.
    Delivered,
    /// It is tried again at this time.
    Retry(Timestamp),
    /// It waits for the webhook's pause to end.
    Held,
    /// It is a dead letter.
    Dead,
    /// There is none: it was a test.
    Nothing,
}

impl Then {
    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry(_) => "retry",
            Self::Held => "held",
            Self::Dead => "dead",
            Self::Nothing => "none",
        }
    }
}

/// How long the parts of an attempt took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From when it was due to its begin.
    pub queued: Option<Duration>,
    /// Rendering.
    pub render: Duration,
    /// On the way; nothing where no response came.
    pub wire: Option<Wire>,
    /// From rendering to the verdict.
    pub total: Duration,
}

/// One attempt. It holds what is secret (the definition, a token), so it has no `Debug`: people see it as it is written for them.
#[allow(clippy::struct_excessive_bools, reason = "each is told by itself")]
pub struct Invocation {
    /// Its identity, given when it is kept.
    pub id: InvocationId,
    /// When it ended.
    pub at: Timestamp,
    /// The definition that it went by.
    pub webhook: Arc<Webhook>,
    /// The event, without a tree.
    pub event: Event,
    /// The event's payload was too large to be kept: the event's text is empty.
    pub payload_dropped: bool,
    /// What people know the event by, where its payload does not say it any more.
    pub known_by: Vec<String>,
    /// Verdicts and missing paths were too large to be kept as well.
    pub omitted: bool,
    /// The publication that it began with.
    pub generation: u64,
    /// Its number, from 1, among those that count.
    pub attempt: u32,
    /// It was sent to find out whether a pause is over.
    pub probe: bool,
    /// It was sent by the Test button.
    pub test: bool,
    /// What its receiver knows it by, in the trace of its event.
    pub span: SpanId,
    /// What it came to.
    pub outcome: Outcome,
    /// What became of the delivery.
    pub then: Then,
    /// What came back.
    pub response: Option<Answered>,
    /// The verdicts of the definition's validators, in their order; empty when none was asked.
    pub verdicts: Vec<(Arc<str>, Verdict)>,
    /// Template paths that the event lacked.
    pub missing: Vec<String>,
    /// How long it took.
    pub timings: Timings,
    /// The token that was sent, to be masked.
    pub token: Option<Arc<Issued>>,
}

/// A response as far as it is kept, in memory of its own: what came is a part of its connection's buffers.
pub struct Answered {
    /// The status.
    pub status: u16,
    /// `name: value` lines.
    pub headers: Box<str>,
    /// Whether there were more of them than are kept.
    pub headers_truncated: bool,
    /// The beginning of the body.
    pub body: Bytes,
    /// How much of the body was read, in bytes.
    pub body_bytes: usize,
    /// Whether there was more of it than was read.
    pub truncated: bool,
}

impl Answered {
    /// Keeps a response.
    #[must_use]
    pub fn new(response: &Response) -> Self {
        let kept = response.body.get(..RESPONSE_KEPT_BYTES_MAX).unwrap_or(&response.body);
        let (headers, headers_truncated) = lines(&response.headers);
        Self {
            status: response.status.as_u16(),
            headers,
            headers_truncated,
            body: Bytes::copy_from_slice(kept),
            body_bytes: response.body.len(),
            truncated: response.truncated,
        }
    }
}

/// The lines of headers, without those that are too much, and whether there are any.
fn lines(headers: &HeaderMap) -> (Box<str>, bool) {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 3).sum();
    let mut lines = String::with_capacity(bytes.min(HEADERS_KEPT_BYTES_MAX));
    let mut truncated = false;
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if lines.len() + name.as_str().len() + value.len() + 3 > HEADERS_KEPT_BYTES_MAX {
            truncated = true;
            continue;
        }
        lines.push_str(name.as_str());
        lines.push_str(": ");
        lines.push_str(&value);
        lines.push('\n');
    }
    (lines.into_boxed_str(), truncated)
}

impl Invocation {
    /// What it takes of memory, roughly, its event included. The definition is shared with what is in force.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let response = self.response.as_ref().map_or(0, |response| response.headers.len() + response.body.len());
        let found = |verdict: &Verdict| verdict.found.as_ref().map_or(0, String::len);
        let verdicts: usize =
            self.verdicts.iter().map(|(_, verdict)| size_of::<(Arc<str>, Verdict)>() + found(verdict)).sum();
        let missing: usize = self.missing.iter().map(|path| size_of::<String>() + path.len()).sum();
        let known_by: usize = self.known_by.iter().map(|id| size_of::<String>() + id.len()).sum();
        size_of::<Self>() + self.event.memory_bytes() + known_by + response + verdicts + missing
    }

    /// What its definition takes of memory, roughly, where nothing else holds it.
    pub(super) fn definition_bytes(&self) -> usize {
        let definition = &self.webhook.definition;
        let body = definition.body_file.as_ref().map_or(0, |body| body.text.expose().len());
        DEFINITION_BYTES + 2 * (definition.text.expose().len() + body)
    }

    /// The id by which people know what its event is about.
    #[must_use]
    pub fn request_id(&self) -> Option<String> {
        self.known_by.first().cloned().or_else(|| about::request_id(&self.event))
    }

    /// Whether its event is about what people know by this id.
    #[must_use]
    pub fn is_about(&self, id: &str) -> bool {
        self.known_by.iter().any(|known| known == id) || about::is_about(&self.event, id)
    }

    /// Lets go of what may be large, where all of it is more than may be kept.
    pub(super) fn shrink_to(&mut self, bytes_max: usize) {
        if self.bytes() <= bytes_max {
            return;
        }
        self.known_by = about::ids(&self.event).collect();
        self.event = Event::new(
            self.event.id,
            Arc::clone(&self.event.kind),
            Arc::clone(&self.event.event_type),
            self.event.received_at,
            Bytes::new(),
        )
        .in_trace(self.event.trace().cloned());
        self.payload_dropped = true;
        if let Some(response) = &mut self.response {
            response.body = Bytes::new();
            response.headers_truncated |= !response.headers.is_empty();
            response.headers = Box::default();
        }
        if self.bytes() > bytes_max {
            (self.missing, self.verdicts, self.omitted) = (Vec::new(), Vec::new(), true);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = InvocationId(0x0006_44ab_cdef_0123);
        assert_eq!(id.to_string(), "inv_000644abcdef0123");
        assert_eq!(InvocationId::parse("inv_000644abcdef0123"), Some(id));
        for text in
            ["", "inv_", "inv_644abcdef0123", "inv_000644ABCDEF0123", "inv_+00644abcdef0123", "evt_000644abcdef0123"]
        {
            assert_eq!(InvocationId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_response_is_kept_within_its_limits() {
        let mut headers = HeaderMap::new();
        headers.append("x-one", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        headers.append("x-large", HeaderValue::from_str(&"y".repeat(HEADERS_KEPT_BYTES_MAX)).unwrap());
        headers.append("x-two", HeaderValue::from_static("z"));
        let body = Bytes::from(vec![b'z'; RESPONSE_KEPT_BYTES_MAX + 1]);
        let response = Response {
            status: StatusCode::OK,
            headers,
            body,
            truncated: false,
            wire: Wire::default(),
            certificate_expires: None,
        };
        let kept = Answered::new(&response);
        assert_eq!((&*kept.headers, kept.headers_truncated), ("x-one: caf\u{fffd}\nx-two: z\n", true));
        assert_eq!((kept.body.len(), kept.body_bytes), (RESPONSE_KEPT_BYTES_MAX, RESPONSE_KEPT_BYTES_MAX + 1));
    }
}
