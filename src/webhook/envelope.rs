//! `format = "cloudevents"`: what is put around a webhook's body so that it goes out as a `CloudEvent`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

use crate::cloudevents::write::{Data, attributes_of, binary, data_of, structured};
use crate::cloudevents::{self, KIND, is_name, wrong_with};
use crate::delivery::{Failure, Reason};
use crate::event::Event;
use crate::kind::Kind;
use crate::template::Template;
use crate::webhook::Body;
use crate::webhook::gate::Rate;
use crate::webhook::judge::{ResponseParts, moment};

/// Asks a target for its consent, and says afterwards who sends (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4).
pub const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
/// How many requests a minute are asked for.
pub const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
/// The target's consent: our origin, or `*`.
pub const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
/// How many requests a minute it expects: a number, or `*`.
pub const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// How an event stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of it in the body.
    Structured,
    /// Attributes in headers, data in the body.
    Binary,
}

/// The envelope of a webhook.
#[derive(Debug)]
pub struct Envelope {
    /// How the event stands in the request.
    pub mode: Mode,
    /// `source`, `type` and `subject`, where the file sets them.
    pub set: Vec<(&'static str, Arc<Template>)>,
    /// Who asks the target for its consent before the first delivery; nobody does where it is not set.
    pub origin: Option<HeaderValue>,
}

impl Envelope {
    /// Puts it around a body. `rendered` are the values of [`Self::set`]. An error is what keeps it from being an event.
    pub fn wrap(
        &self,
        (event, payload, kind): (&Event, &Value, &Kind),
        rendered: Vec<(&'static str, String)>,
        (body, content_type): (&Body, &HeaderValue),
        bytes: Bytes,
        headers: &mut HeaderMap,
    ) -> Result<Bytes, String> {
        let came = *kind.name == *KIND;
        let passed_on = came && matches!(body, Body::Event);
        let mut attributes: Vec<(String, Value)> = Vec::new();
        if came {
            attributes.extend(attributes_of(payload).map(|(name, value)| (name.to_owned(), value.clone())));
        }
        let own = kind.id_path.as_ref().and_then(|path| path.first(payload)).filter(|id| !came && id.is_string());
        let defaults: [(&str, Option<Value>); 6] = [
            ("specversion", Some("1.0".into())),
            ("id", Some(event.id.to_string().into())),
            ("source", Some(format!("/outrigger/{}", kind.name).into())),
            ("type", Some((*event.event_type).into())),
            ("time", Some(event.received_at.to_string().into())),
            ("subject", own.cloned()),
        ];
        for (name, value) in defaults {
            if let Some(value) = value.filter(|_| !attributes.iter().any(|(known, _)| known == name)) {
                attributes.push((name.to_owned(), value));
            }
        }
        let mut set = |name: &str, value: Value| match attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => attributes.push((name.to_owned(), value)),
        };
        for (name, text) in rendered {
            set(name, if text.is_empty() && name == "subject" { Value::Null } else { text.into() });
        }
        let data = if passed_on {
            data_of(payload)
        } else {
            let content_type = String::from_utf8_lossy(content_type.as_bytes());
            set("datacontenttype", (&*content_type).into());
            // It describes what came in, and that was replaced.
            set("dataschema", Value::Null);
            match body {
                Body::None => Data::Absent,
                Body::Event | Body::Json(_) if cloudevents::is_json(&content_type) => Data::Json(bytes),
                Body::Event | Body::Json(_) | Body::Text(_) => Data::Text(String::from_utf8_lossy(&bytes).into_owned()),
            }
        };
        // A subject that nobody asked for is better left out than no subject; all others make the event what it is.
        let asked = self.set.iter().any(|(name, _)| *name == "subject");
        attributes.retain(|(name, value)| {
            let is_fit = |text: &str| asked || came || name != "subject" || wrong_with(name, text).is_none();
            !value.is_null() && value.as_str().is_none_or(is_fit)
        });
        for (name, value) in &attributes {
            let of_file = (!passed_on && name == "datacontenttype") || self.set.iter().any(|(set, _)| set == name);
            let own = !came || of_file;
            let problem = match value {
                // What ingest lets in has none of these; a mock event may.
                _ if !is_name(name) => Some(format!("`{name}` is no name of an attribute")),
                Value::Array(_) | Value::Object(_) => Some(format!("`{name}` is no attribute's value")),
                // What came in was judged when it came in, by what was asked then.
                Value::String(text) if own => wrong_with(name, text),
                _ => None,
            };
            problem.map_or(Ok(()), Err)?;
        }
        match self.mode {
            Mode::Structured => Ok(structured(&attributes, data, headers)),
            Mode::Binary => {
                binary(&attributes, data, headers).map_err(|name| format!("no header can carry the attribute `{name}`"))
            }
        }
    }
}

/// The headers of the request for consent.
#[must_use]
pub fn asking(origin: &HeaderValue, rate: Option<Rate>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(REQUEST_ORIGIN, origin.clone());
    if let Some(rate) = rate {
        headers.insert(REQUEST_RATE, HeaderValue::from(a_minute(rate)));
    }
    headers
}

/// How many requests a minute a rate comes to, at least one.
#[must_use]
pub fn a_minute(rate: Rate) -> u64 {
    u64::try_from(60_000_000_000 / rate.interval().as_nanos().max(1)).unwrap_or(u64::MAX).max(1)
}

/// What a target's answer to the request for consent says: how many requests a minute it expects, where it says so; else why there are
/// to be none. The header decides and not the status, but for one that asks for another time.
pub fn consent(origin: &HeaderValue, response: ResponseParts<'_>, now: Timestamp) -> Result<Option<u64>, Failure> {
    let allowed = response.headers.get(ALLOWED_ORIGIN);
    if allowed.is_some_and(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes())) {
        let rate = response.headers.get(ALLOWED_RATE).and_then(|rate| rate.to_str().ok()?.trim().parse().ok());
        return Ok(rate);
    }
    Err(moment(response, now).unwrap_or_else(|| {
        let said = if allowed.is_some() { "names another origin in" } else { "has no" };
        let detail = format!(
            "the target does not consent: its answer {} to OPTIONS {said} webhook-allowed-origin",
            response.status.as_u16()
        );
        let mut failure = Failure::new(Reason::AuthError, detail);
        failure.status = Some(response.status.as_u16());
        failure
    }))
}
