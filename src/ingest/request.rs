//! What an ingest request asks for: its route, its body's format, its key and its wait.

use std::time::Duration;

use aws_lc_rs::digest;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::cloudevents::{self, read};
use crate::config::parse_duration;
use crate::server::problem::Problem;

/// The longest `?wait=`.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    /// Events of this kind, or of the one that they are by themselves.
    Events(Option<&'p str>),
    /// The webhook of this name alone.
    Invoke(&'p str),
}

impl<'p> Route<'p> {
    pub(super) fn find(path: &'p str) -> Result<Self, Problem> {
        let mut segments = path.strip_prefix("/v1/").unwrap_or_default().split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("events"), None, None, None) => Ok(Self::Events(None)),
            (Some("events"), Some(kind), None, None) => Ok(Self::Events(Some(kind))),
            (Some("webhooks"), Some(name), Some("invoke"), None) => Ok(Self::Invoke(name)),
            _ => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "there are POST /v1/events, POST /v1/events/{kind} and POST /v1/webhooks/{name}/invoke",
            )),
        }
    }
}

/// How events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object.
    Object,
    /// One JSON object a line.
    Lines,
    /// A `CloudEvent` in one JSON object.
    Structured,
    /// A JSON array of such.
    Batch,
    /// A `CloudEvent` with attributes in headers.
    Binary,
}

impl Format {
    /// Whether events come as `CloudEvents`.
    pub(super) const fn is_cloudevents(self) -> bool {
        matches!(self, Self::Structured | Self::Batch | Self::Binary)
    }
}

/// The body's format by its headers; no content type means JSON. `cloudevents` says that the route takes nothing else.
pub(super) fn body_format(headers: &HeaderMap, cloudevents: bool) -> Result<Format, Problem> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body without content-encoding"));
    }
    let media_type =
        headers.get(CONTENT_TYPE).map(|written| cloudevents::essence(written.to_str().unwrap_or_default()));
    // The batch first: its name begins as the single event's does (HTTP protocol binding 3).
    for (begins, format) in
        [("application/cloudevents-batch", Format::Batch), ("application/cloudevents", Format::Structured)]
    {
        let Some(suffix) = media_type.as_ref().and_then(|media_type| media_type.strip_prefix(begins)) else { continue };
        if suffix.is_empty() || suffix == "+json" {
            return Ok(format);
        }
        let detail = format!("of CloudEvents the JSON format is taken: send `content-type: {begins}+json`");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    if cloudevents || read::is_binary(headers) {
        return Ok(Format::Binary);
    }
    let Some(media_type) = media_type else { return Ok(Format::Object) };
    match media_type.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Format::Lines),
        "application/json" => Ok(Format::Object),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(Format::Object),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send `content-type: application/json` (curl: --json), or application/x-ndjson for one event a line",
        )),
    }
}

/// What an `Idempotency-Key` may have, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The hash of the request's `Idempotency-Key`, where it has one. Quotes around it, as a structured field has them
/// (draft-ietf-httpapi-idempotency-key-header), are part of it.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() || key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = format!("give one Idempotency-Key of 1 to {KEY_BYTES_MAX} bytes, for example a UUID");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(Some(hash(&[key.as_bytes()])))
}

/// The hash of what came with a key: the same key with another of these is another request.
pub(super) fn content_of(path: &str, format: Format, body: &[u8]) -> [u8; 16] {
    let format: &[u8] = match format {
        Format::Object => b" object ",
        Format::Lines => b" lines ",
        Format::Structured => b" structured ",
        Format::Batch => b" batch ",
        Format::Binary => b" binary ",
    };
    hash(&[path.as_bytes(), format, body])
}

/// The hash that stands for source and id of all events of a request to a route: together they say which events they are. No
/// `Idempotency-Key` begins with the byte that this does.
pub(super) fn key_of_events<'e>(path: &str, events: impl Iterator<Item = (&'e str, &'e str)>) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"\0");
    for part in [path].into_iter().chain(events.flat_map(|(source, id)| [source, id])) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    half(context)
}

/// The first half of SHA-256.
fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    half(context)
}

fn half(context: digest::Context) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    half
}

/// What `?wait=` says. An unknown parameter is refused: it would do nothing, in silence.
pub(super) fn wait_of(query: Option<&str>) -> Result<Option<Duration>, Problem> {
    let mut wait = None;
    for parameter in query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if key != "wait" {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "the one query parameter is wait, as in ?wait=10s"));
        }
        let time = parse_duration(value).filter(|time| *time <= WAIT_MAX).ok_or_else(|| {
            let detail = format!("wait is a duration of at most {} s, as in ?wait=10s", WAIT_MAX.as_secs());
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?;
        wait = Some(time);
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn routes_are_found_and_others_are_not() {
        assert_eq!(Route::find("/v1/events"), Ok(Route::Events(None)));
        assert_eq!(Route::find("/v1/events/oort"), Ok(Route::Events(Some("oort"))));
        assert_eq!(Route::find("/v1/webhooks/slack/invoke"), Ok(Route::Invoke("slack")));
        for path in ["/", "/v1", "/v1/webhooks", "/v1/webhooks/slack", "/v1/events/a/b", "/v2/events", "events"] {
            assert!(Route::find(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_key_is_one_short_text_and_its_content_is_all_that_came_with_it() {
        let sent = |values: &[&'static str]| -> HeaderMap {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", HeaderValue::from_static(value));
            }
            headers
        };
        assert_eq!(key_of(&sent(&[])), Ok(None));
        assert_eq!(key_of(&sent(&["a"])), key_of(&sent(&["a"])));
        assert_ne!(key_of(&sent(&["a"])), key_of(&sent(&["b"])));
        let long: &'static str = String::leak("x".repeat(256));
        for wrong in [&[""][..], &["a", "a"], &[long]] {
            assert!(key_of(&sent(wrong)).is_err(), "{wrong:?}");
        }
        let contents = [
            content_of("/v1/events", Format::Object, b"{}"),
            content_of("/v1/events", Format::Lines, b"{}"),
            content_of("/v1/events/oort", Format::Object, b"{}"),
            content_of("/v1/events", Format::Object, b"{} "),
        ];
        assert_eq!(contents.iter().collect::<std::collections::BTreeSet<_>>().len(), contents.len());
    }

    #[test]
    fn a_wait_is_a_bounded_duration_and_nothing_else_is_known() {
        assert_eq!(wait_of(None), Ok(None));
        assert_eq!(wait_of(Some("wait=10s")), Ok(Some(Duration::from_secs(10))));
        for wrong in ["wait=", "wait=1h", "wait=soon", "wiat=1s"] {
            assert!(wait_of(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_content_type_decides_the_format() {
        let typed = |value: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        let body_format = |headers: &HeaderMap| super::body_format(headers, false);
        assert_eq!(body_format(&HeaderMap::new()), Ok(Format::Object));
        assert_eq!(body_format(&typed("application/json; charset=utf-8")), Ok(Format::Object));
        assert_eq!(body_format(&typed("application/vnd.acme+json")), Ok(Format::Object));
        assert_eq!(body_format(&typed("Application/X-NDJSON")), Ok(Format::Lines));
        for (value, format) in [
            ("Application/CloudEvents+JSON; charset=utf-8", Format::Structured),
            ("application/cloudevents", Format::Structured),
            ("application/cloudevents-batch+json", Format::Batch),
        ] {
            assert_eq!(body_format(&typed(value)), Ok(format), "{value}");
        }
        let mut binary = typed("text/plain");
        binary.insert("ce-id", HeaderValue::from_static("1"));
        assert_eq!(body_format(&binary), Ok(Format::Binary));
        assert_eq!(super::body_format(&typed("application/json"), true), Ok(Format::Binary));
        for wrong in [
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/cloudevents+avro",
            "application/cloudevents-batch+xml",
            "x",
        ] {
            assert!(body_format(&typed(wrong)).is_err(), "{wrong}");
        }
    }
}
