//! The trace that a request's events come with, and the span of the request in it.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use uuid::Uuid;

use crate::event::EventId;
use crate::spans::{Kind, Span, Spans};
use crate::trace::{SpanId, Trace, TraceId};
use crate::webhook::request::{TRACEPARENT, TRACESTATE};

/// What `tracestate` headers may have together to be looked at, in bytes.
const STATE_READ_BYTES_MAX: usize = 8 * 1024;

/// A request on its way, as a span.
pub(super) struct Asked {
    spans: Spans,
    /// The trace that it names.
    came: Option<Arc<Trace>>,
    begun: Timestamp,
    span: SpanId,
    /// The trace that it is recorded in, once that is decided; `None` where it is not recorded.
    recorded: OnceLock<Option<Arc<Trace>>>,
    /// Whether its sender was let in: others fill nothing.
    admitted: OnceLock<Method>,
    status: OnceLock<StatusCode>,
}

impl Asked {
    pub(super) fn new(spans: &Spans, headers: &HeaderMap) -> Self {
        let span = if spans.are_sent() { fastrand::u64(..) } else { 0 };
        Self {
            spans: spans.clone(),
            came: trace_of(headers),
            begun: Timestamp::now(),
            span: SpanId::new(span),
            recorded: OnceLock::new(),
            admitted: OnceLock::new(),
            status: OnceLock::new(),
        }
    }

    /// Its sender was let in.
    pub(super) fn admitted(&self, method: &Method) {
        self.admitted.get_or_init(|| method.clone());
    }

    /// It was answered.
    pub(super) fn answered(&self, status: StatusCode) {
        self.status.get_or_init(|| status);
    }

    /// The trace of its events: the one that came, or where spans are sent the one that begins with the first of them. In a trace that is
    /// recorded the request is what caused their attempts.
    pub(super) fn trace(&self, first: Option<EventId>) -> Option<Arc<Trace>> {
        if !self.spans.are_sent() {
            return self.came.clone();
        }
        let id = first.map_or_else(|| TraceId::of(Uuid::now_v7().as_bytes()), |event| TraceId::of(event.as_bytes()));
        let recorded = self.recorded.get_or_init(|| match &self.came {
            Some(came) => Some(Arc::clone(came)).filter(|came| came.is_sampled()),
            None => self.spans.sample(id).then(|| Arc::new(Trace::new(id, self.span, true))),
        });
        recorded.as_ref().map(|trace| Arc::new(trace.within(self.span))).or_else(|| self.came.clone())
    }
}

impl Drop for Asked {
    /// Records it, answered or not: its sender may have gone, and attempts that it caused name it.
    fn drop(&mut self) {
        let Some(method) = self.admitted.get() else { return };
        // What was refused before its events were known is in a trace, too.
        self.trace(None);
        let Some(Some(trace)) = self.recorded.take() else { return };
        let status = self.status.get().copied();
        let mut attributes = vec![("http.request.method", method.as_str().to_owned().into())];
        attributes.extend(status.map(|status| ("http.response.status_code", status.as_u16().into())));
        self.spans.record(Span {
            name: "ingest",
            kind: Kind::Server,
            parent: self.came.as_ref().map(|came| came.parent()),
            trace,
            id: self.span,
            begun: self.begun,
            ended: Timestamp::now(),
            attributes,
            failed: status.is_none_or(|status| status.is_server_error()),
        });
    }
}

/// The trace of a request; `None` where it names none, or not exactly one. Whatever is wrong with it, the events are taken.
fn trace_of(headers: &HeaderMap) -> Option<Arc<Trace>> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    // Several headers are one list, in their order.
    let mut state = Vec::new();
    for value in headers.get_all(TRACESTATE) {
        if !state.is_empty() {
            state.push(b',');
        }
        state.extend_from_slice(value.as_bytes());
        if state.len() > STATE_READ_BYTES_MAX {
            state.clear();
            break;
        }
    }
    Trace::parse(parent.as_bytes(), &state).map(Arc::new)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        trace_of(&map).map(|trace| trace.written())
    }

    #[test]
    fn a_request_has_one_trace_whose_states_are_one_list() {
        let parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(of(&[parent]).unwrap(), parent.1);
        assert_eq!(
            of(&[("tracestate", "a=1"), parent, ("tracestate", "b=2")]).unwrap(),
            format!("{} a=1,b=2", parent.1)
        );
        assert_eq!(of(&[parent, ("tracestate", "none")]).unwrap(), parent.1);
        let long = "a=1,".repeat(STATE_READ_BYTES_MAX / 4 + 1);
        assert_eq!(of(&[parent, ("tracestate", &long)]).unwrap(), parent.1);
        assert_eq!(of(&[("tracestate", "a=1")]), None);
        assert_eq!(of(&[parent, parent]), None);
        assert_eq!(of(&[("traceparent", ""), parent]), None);
    }
}
