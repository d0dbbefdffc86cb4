//! From a request to events in the JSON format.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{DATA, DATA_BASE64, HEADER_PREFIX, REQUIRED, TEXTS, essence, is_json, is_name, member, wrong_with};
use crate::kind::decode::{DecodeError, no_json};

/// An event that came in.
#[derive(Debug)]
pub struct Incoming<'b> {
    /// Who it is from; together with `id` it says which event it is.
    pub source: String,
    /// Its id, of its source.
    pub id: String,
    /// What happened.
    pub kind: String,
    /// The whole event in the JSON format.
    pub text: Cow<'b, [u8]>,
    /// Its data, as JSON has it in the event.
    pub data: Option<Cow<'b, str>>,
    /// Whether that is JSON by its content type, and no text or bytes.
    pub is_json: bool,
    /// Whether it is a text that stands for bytes, in Base64.
    pub encoded: bool,
}

/// The JSON text of one event.
pub fn structured(text: &[u8]) -> Result<Incoming<'_>, DecodeError> {
    one(text, None)
}

/// The events of a batch, which may be empty. More than `events_max` are refused.
pub fn batch(text: &[u8], events_max: usize) -> Result<Vec<Incoming<'_>>, DecodeError> {
    let elements: Vec<&RawValue> = serde_json::from_slice(text).map_err(|error| no_json(&error))?;
    if elements.len() > events_max {
        let problem = format!("the batch has {} events, and {events_max} is the limit", elements.len());
        return Err(DecodeError { problem, place: None });
    }
    elements.into_iter().zip(1..).map(|(element, number)| one(element.get().as_bytes(), Some(number))).collect()
}

/// `number` counts it in a batch from 1.
fn one(text: &[u8], number: Option<usize>) -> Result<Incoming<'_>, DecodeError> {
    // A fault in an element of a batch is told by the element's number: its place would be counted from the element.
    let refuse = |problem: String| {
        let problem =
            number.map_or_else(|| problem.clone(), |number| format!("event {number} of the batch: {problem}"));
        DecodeError { problem, place: None }
    };
    let Members(members) = serde_json::from_slice(text).map_err(|error| match number {
        None => no_json(&error),
        Some(_) => refuse(error.to_string()),
    })?;
    let mut attributes: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(members.len());
    let (mut data, mut encoded) = (None, None);
    for (at, (name, value)) in members.iter().enumerate() {
        let name: &str = name;
        if members.iter().take(at).any(|(earlier, _)| earlier == name) {
            return Err(refuse(format!("`{name}` comes twice")));
        }
        let raw = value.get();
        match name {
            DATA => data = Some(raw),
            DATA_BASE64 if raw == "null" => {}
            DATA_BASE64 => {
                let text = serde_json::from_str::<Text<'_>>(raw).ok();
                let bytes = text.and_then(|text| BASE64_STANDARD.decode(text.0.as_bytes()).ok());
                encoded = Some((raw, bytes.ok_or_else(|| refuse(format!("`{DATA_BASE64}` is no text in Base64")))?));
            }
            _ if !is_name(name) => {
                return Err(refuse(format!(
                    "`{name}` is no name of an attribute: they are lower-case letters and digits"
                )));
            }
            _ if raw == "null" => {}
            _ if TEXTS.contains(&name) && !raw.starts_with('"') => return Err(refuse(format!("`{name}` is no text"))),
            _ => match attribute(raw) {
                Some(text) => attributes.push((name, text)),
                None => {
                    return Err(refuse(format!("`{name}` is neither a text, an integer of 32 bits nor true or false")));
                }
            },
        }
    }
    let Names { source, id, kind } = check(&attributes, "").map_err(refuse)?;
    let of_json = attributes.iter().find(|(name, _)| *name == "datacontenttype").is_none_or(|(_, text)| is_json(text));
    let whole = Cow::Borrowed(text);
    match (data, encoded) {
        (Some(_), Some(_)) => Err(refuse(format!("`{DATA}` and `{DATA_BASE64}` are both given"))),
        // Templates are to find JSON whatever form it came in.
        (None, Some((_, bytes))) if of_json => {
            let raw: &RawValue = serde_json::from_slice(&bytes)
                .map_err(|error| refuse(format!("`{DATA_BASE64}` is no JSON, as its type says: {error}")))?;
            let mut text = String::from("{");
            for (name, value) in members.iter().filter(|(name, _)| *name != DATA && *name != DATA_BASE64) {
                member(&mut text, name, value.get());
            }
            member(&mut text, DATA, raw.get());
            text.push('}');
            let data = Some(Cow::Owned(raw.get().to_owned()));
            Ok(Incoming { source, id, kind, text: Cow::Owned(text.into_bytes()), data, is_json: true, encoded: false })
        }
        (Some(raw), None) if !of_json && !raw.starts_with('"') => {
            Err(refuse(format!("`{DATA}` is no text, and `datacontenttype` says that it is no JSON")))
        }
        (data, encoded) => {
            let is_encoded = encoded.is_some();
            let data = data.or(encoded.map(|(raw, _)| raw)).map(Cow::Borrowed);
            Ok(Incoming { source, id, kind, text: whole, data, is_json: of_json, encoded: is_encoded })
        }
    }
}

/// The canonical text of an attribute; `None` for what no attribute may be.
fn attribute(raw: &str) -> Option<Cow<'_, str>> {
    match raw.bytes().next()? {
        b'"' => serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.0),
        b't' | b'f' => Some(Cow::Borrowed(raw)),
        _ => raw.parse::<i32>().is_ok().then_some(Cow::Borrowed(raw)),
    }
}

/// What says which event it is, and what happened.
struct Names {
    source: String,
    id: String,
    kind: String,
}

/// Sees to it that the attributes are those of an event, and gives its names. `prefix` is what stands before their names
/// where they came.
fn check(attributes: &[(&str, Cow<'_, str>)], prefix: &str) -> Result<Names, String> {
    let of = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, text)| text);
    let missing: Vec<String> =
        REQUIRED.iter().filter(|name| of(name).is_none()).map(|name| format!("`{prefix}{name}`")).collect();
    if !missing.is_empty() {
        let (are, them) = if missing.len() == 1 { ("is", "it") } else { ("are", "them") };
        return Err(format!("{} {are} missing: every CloudEvent has {them}", missing.join(", ")));
    }
    for (name, text) in attributes {
        if let Some(problem) = wrong_with(name, text) {
            return Err(problem);
        }
    }
    let text = |name: &str| of(name).map(|text| text.clone().into_owned()).unwrap_or_default();
    Ok(Names { source: text("source"), id: text("id"), kind: text("type") })
}

/// Whether headers carry an attribute that every event has: it is one in binary mode.
#[must_use]
pub fn is_binary(headers: &HeaderMap) -> bool {
    headers.keys().filter_map(|name| name.as_str().strip_prefix(HEADER_PREFIX)).any(|name| REQUIRED.contains(&name))
}

/// An event in binary mode: attributes in headers, and a body that is its data.
pub fn binary<'b>(headers: &HeaderMap, body: &[u8]) -> Result<Incoming<'b>, DecodeError> {
    let refuse = |problem: String| DecodeError { problem, place: None };
    let content_type = match headers.get(CONTENT_TYPE) {
        Some(value) => Some(header_text("content-type", value.as_bytes(), false).map_err(refuse)?),
        None => None,
    };
    let mut attributes: Vec<(&str, Cow<'_, str>)> = Vec::new();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(HEADER_PREFIX) else { continue };
        let text = header_text(header.as_str(), value.as_bytes(), true).map_err(refuse)?;
        if !is_name(name) || name == DATA {
            return Err(refuse(format!(
                "`{header}` carries no attribute: they are lower-case letters and digits, and `data` is the body"
            )));
        }
        if attributes.iter().any(|(known, _)| *known == name) {
            return Err(refuse(format!("`{header}` comes twice")));
        }
        // It must not be there, and `content-type` is what counts.
        if name == "datacontenttype" {
            continue;
        }
        attributes.push((name, Cow::Owned(text)));
    }
    if let Some(problem) = content_type.as_deref().and_then(|text| wrong_with("datacontenttype", text)) {
        return Err(refuse(problem));
    }
    let Names { source, id, kind } = check(&attributes, HEADER_PREFIX).map_err(|problem| {
        let looks_structured = body.trim_ascii_start().first() == Some(&b'{');
        let fix = if looks_structured && !is_binary(headers) {
            "; a CloudEvent that stands in the body takes content-type: application/cloudevents+json"
        } else {
            ""
        };
        refuse(format!("{problem}{fix}"))
    })?;

    let mut text = String::with_capacity(body.len() + 256);
    text.push('{');
    // Those that every event has come first, whatever the order of the headers.
    let rank = |name: &str| REQUIRED.iter().position(|known| *known == name).unwrap_or(REQUIRED.len());
    attributes.sort_by_key(|(name, _)| rank(name));
    for (name, value) in &attributes {
        member(&mut text, name, &json_string(value));
    }
    let (mut data, mut is_json_data, mut encoded) = (None, false, false);
    if !body.is_empty() {
        let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
        member(&mut text, "datacontenttype", &json_string(&content_type));
        is_json_data = is_json(&content_type);
        let raw = if is_json_data {
            let raw: &RawValue = serde_json::from_slice(body).map_err(|error| no_json(&error))?;
            (DATA, raw.get().to_owned())
        } else {
            match std::str::from_utf8(body).ok().filter(|_| is_text(&content_type)) {
                Some(body) => (DATA, json_string(body)),
                None => (DATA_BASE64, json_string(&BASE64_STANDARD.encode(body))),
            }
        };
        member(&mut text, raw.0, &raw.1);
        encoded = raw.0 == DATA_BASE64;
        data = Some(Cow::Owned(raw.1));
    } else if let Some(content_type) = content_type {
        member(&mut text, "datacontenttype", &json_string(&content_type));
    }
    text.push('}');
    Ok(Incoming { source, id, kind, text: Cow::Owned(text.into_bytes()), data, is_json: is_json_data, encoded })
}

/// Whether data of a content type is text, so that it can stand as one.
fn is_text(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.starts_with("text/") || essence.ends_with("/xml") || essence.ends_with("+xml")
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text of a header: unquoted, and percent-decoded once where it is an attribute's (HTTP protocol binding 3.1.3.2).
fn header_text(name: &str, value: &[u8], decoded: bool) -> Result<String, String> {
    let no_text = || format!("`{name}` is no text in UTF-8");
    let value = std::str::from_utf8(value).map_err(|_| no_text())?;
    if !decoded {
        return Ok(value.to_owned());
    }
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let unquoted = match inner {
        Some(inner) => {
            let mut escaped = false;
            Cow::Owned(
                inner
                    .chars()
                    .filter(|c| {
                        escaped = !escaped && *c == '\\';
                        !escaped
                    })
                    .collect::<String>(),
            )
        }
        None => Cow::Borrowed(value),
    };
    percent_decode_str(&unquoted).decode_utf8().map(Cow::into_owned).map_err(|_| no_text())
}

/// A text, borrowed where it holds no escape.
#[derive(serde::Deserialize)]
struct Text<'r>(#[serde(borrow)] Cow<'r, str>);

/// The members of an object in their order.
struct Members<'r>(Vec<(Cow<'r, str>, &'r RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvent, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(serde::de::Error::custom(format_args!("more than {MEMBERS_MAX} attributes")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// Attributes of one event that came as JSON.
const MEMBERS_MAX: usize = 100;
