//! The events of a body.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use uuid::Uuid;

use crate::cloudevents;
use crate::cloudevents::read::{Incoming, batch, binary, structured};
use crate::event::{Event, EventId};
use crate::kind::Kind;
use crate::kind::decode::{DecodeError, decode, decode_manual};
use crate::server::problem::Problem;

use super::request::{Format, content_of, key_of_events};

/// Events in one request.
const EVENTS_MAX: usize = 10_000;

/// What events are read from.
pub(super) struct Taking<'t> {
    /// The kind that they are of.
    pub(super) kind: &'t Kind,
    /// Whether a webhook is invoked by name.
    pub(super) manual: bool,
    /// The request's headers, where they say anything of an event.
    pub(super) headers: &'t HeaderMap,
    /// The request's body.
    pub(super) body: &'t [u8],
}

/// The events of a request.
pub(super) struct Taken {
    /// One after the other.
    pub(super) events: Vec<Event>,
    /// Where they came as `CloudEvents`.
    named: Option<Named>,
}

/// What says of `CloudEvents` which they are.
struct Named {
    /// Source and id of each.
    names: Vec<(String, String)>,
    /// What has to be the same of each where it comes again.
    content: Vec<u8>,
}

impl Taken {
    /// The key that `CloudEvents` carry in themselves.
    pub(super) fn key(&self, whom: &str) -> Option<[u8; 16]> {
        let named = self.named.as_ref().filter(|named| !named.names.is_empty())?;
        Some(key_of_events(whom, named.names.iter().map(|(source, id)| (source.as_str(), id.as_str()))))
    }

    /// The hash of what came with a key. A key that the sender chose says nothing of the events and whom they are for: that is content then.
    pub(super) fn content(&self, chosen: bool, path: &str, format: Format, body: &[u8]) -> [u8; 16] {
        let Some(Named { names, content }) = &self.named else { return content_of(path, format, body) };
        let whom = if chosen {
            key_of_events(path, names.iter().map(|(source, id)| (source.as_str(), id.as_str())))
        } else {
            [0; 16]
        };
        content_of("", Format::Structured, &[&whom[..], content].concat())
    }
}

impl Taking<'_> {
    /// All of them, or the first fault with its place.
    pub(super) fn events(&self, format: Format) -> Result<Taken, Problem> {
        let events = match format {
            Format::Object => vec![self.one(self.body).map_err(|error| decode_problem(error, None))?],
            Format::Lines => self.lines()?,
            Format::Structured => {
                return self.cloudevents(vec![structured(self.body).map_err(|error| decode_problem(error, None))?]);
            }
            Format::Binary => {
                return self
                    .cloudevents(vec![binary(self.headers, self.body).map_err(|error| decode_problem(error, None))?]);
            }
            Format::Batch => {
                return self.cloudevents(batch(self.body, EVENTS_MAX).map_err(|error| decode_problem(error, None))?);
            }
        };
        Ok(Taken { events, named: None })
    }

    fn one(&self, raw: &[u8]) -> Result<Event, DecodeError> {
        let (id, now) = (EventId::new(Uuid::now_v7()), Timestamp::now());
        // An event may wait for long: it holds its own bytes, never the whole body or the connection's buffer around them.
        let raw = Bytes::copy_from_slice(raw);
        if self.manual { decode_manual(self.kind, raw, id, now) } else { decode(self.kind, raw, id, now) }
    }

    fn lines(&self) -> Result<Vec<Event>, Problem> {
        let mut events = Vec::new();
        for (number, line) in self.body.split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if events.len() == EVENTS_MAX {
                let detail = format!("more than {EVENTS_MAX} events in one request; send the rest in another");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            events.push(self.one(line).map_err(|error| decode_problem(error, Some(number)))?);
        }
        if events.is_empty() {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "the body holds no event: send one JSON object a line"));
        }
        Ok(events)
    }

    /// `CloudEvents` are events of their own kind, and what carries those of another.
    fn cloudevents(&self, incoming: Vec<Incoming<'_>>) -> Result<Taken, Problem> {
        let own = *self.kind.name == *cloudevents::KIND;
        let many = incoming.len() > 1;
        let (mut events, mut names, mut content) = (Vec::with_capacity(incoming.len()), Vec::new(), Vec::new());
        for (incoming, number) in incoming.into_iter().zip(1..) {
            let place = |error: DecodeError| {
                let of = if many { format!("event {number} of the batch: ") } else { String::new() };
                Problem::new(StatusCode::BAD_REQUEST, format!("{of}{error}"))
            };
            let event = if own {
                self.one(&incoming.text)
            } else {
                let problem = format!(
                    "a CloudEvent that carries an event of kind \"{}\" has it as JSON in its data; to take the CloudEvent itself post it to /v1/events",
                    self.kind.name
                );
                let data = incoming.data.as_deref().filter(|_| incoming.is_json);
                self.one(data.ok_or(DecodeError { problem, place: None }).map_err(place)?.as_bytes())
            };
            events.push(event.map_err(place)?);
            content.append(&mut incoming.content());
            names.push((incoming.source, incoming.id));
        }
        Ok(Taken { events, named: Some(Named { names, content }) })
    }
}

/// A fault in an event; `lines_before` it in a body of lines.
fn decode_problem(mut error: DecodeError, lines_before: Option<usize>) -> Problem {
    if let (Some((line, _)), Some(before)) = (&mut error.place, lines_before) {
        *line += before;
    }
    let problem = Problem::new(StatusCode::BAD_REQUEST, error.to_string());
    match (error.place, lines_before) {
        (Some((line, column)), _) => problem.with("line", line).with("column", column),
        (None, Some(before)) => problem.with("line", before + 1),
        (None, None) => problem,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn decoded(format: Format, body: &Bytes) -> Result<Vec<Event>, Problem> {
        let kinds = Kind::builtin();
        let kind = kinds.iter().find(|kind| &*kind.name == "request").unwrap();
        Taking { kind, manual: false, headers: &HeaderMap::new(), body }.events(format).map(|taken| taken.events)
    }

    #[test]
    fn an_event_holds_no_more_than_its_own_bytes() {
        let lines = "{\"event_type\":\"Created\"}\n{\"event_type\":\"Granted\"}\n";
        for (format, body) in [(Format::Lines, lines), (Format::Object, "{\"event_type\":\"Created\"}")] {
            let body = Bytes::from(body.as_bytes().to_vec());
            let events = decoded(format, &body).unwrap();
            assert!(!events.is_empty() && events.iter().all(|event| event.raw.is_unique()), "{format:?}");
            assert!(body.is_unique(), "{format:?}");
        }
    }

    #[test]
    fn a_fault_in_a_body_of_lines_is_told_with_its_line_there() {
        let body = Bytes::from_static(b"{\"event_type\":\"Created\"}\n\n{\"event_type\": x}\n");
        let place = Problem::new(StatusCode::BAD_REQUEST, "not JSON: expected value at line 3 column 16");
        assert_eq!(decoded(Format::Lines, &body).unwrap_err(), place.with("line", 3).with("column", 16));
    }
}
