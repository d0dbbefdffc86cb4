//! The trace that a request's events come with.

use std::sync::Arc;

use http::HeaderMap;

use crate::trace::Trace;
use crate::webhook::request::{TRACEPARENT, TRACESTATE};

/// What `tracestate` headers may have together to be looked at, in bytes.
const STATE_READ_BYTES_MAX: usize = 8 * 1024;

/// The trace of a request; `None` where it names none, or not exactly one. Whatever is wrong with it, the events are taken.
pub(super) fn trace_of(headers: &HeaderMap) -> Option<Arc<Trace>> {
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
