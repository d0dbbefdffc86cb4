//! From bytes to an [`Event`] of a kind. The clock and the id are the caller's.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::event::{Event, EventId};
use crate::kind::{Kind, MANUAL};

/// Why bytes are no event of a kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct DecodeError {
    /// What is wrong and how to mend it.
    pub problem: String,
    /// Line and column from 1, where the text is no JSON.
    pub place: Option<(usize, usize)>,
}

/// Decodes one event: a JSON object that has an event type where its kind says.
pub fn decode(kind: &Kind, raw: Bytes, id: EventId, received_at: Timestamp) -> Result<Event, DecodeError> {
    let payload = parse_object(&raw)?;
    let event_type = kind.event_type(&payload).ok_or_else(|| DecodeError {
        problem: format!(
            "an event of kind \"{}\" has its type as text at `{}`, and there is none",
            kind.name,
            kind.type_path.text()
        ),
        place: None,
    })?;
    Ok(Event { id, kind: kind.name.clone(), event_type, received_at, payload, raw })
}

/// Decodes the event of an invocation by name: any JSON object; its type is `Manual`.
pub fn decode_manual(kind: &Kind, raw: Bytes, id: EventId, received_at: Timestamp) -> Result<Event, DecodeError> {
    let payload = parse_object(&raw)?;
    Ok(Event { id, kind: kind.name.clone(), event_type: MANUAL.into(), received_at, payload, raw })
}

fn parse_object(raw: &[u8]) -> Result<Value, DecodeError> {
    let payload: Value = serde_json::from_slice(raw).map_err(|error| DecodeError {
        problem: format!("not JSON: {error}"),
        place: Some((error.line(), error.column())),
    })?;
    if payload.is_object() {
        return Ok(payload);
    }
    let found = match payload {
        Value::Array(_) => "an array; send several events as application/x-ndjson, one object a line",
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        _ => "null",
    };
    Err(DecodeError { problem: format!("an event is a JSON object, this is {found}"), place: None })
}
