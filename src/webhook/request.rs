//! From an event to the request that a webhook makes of it. Pure: the same event gives the same request.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Uri};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::delivery::{Failure, Reason, delivery_id};
use crate::event::Event;
use crate::template::{Budget, RenderError, Template};
use crate::webhook::{Body, Webhook};

/// The header that carries the delivery's id on every attempt (Standard Webhooks 1.0.0).
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// What Outrigger calls itself, where `[headers]` say nothing else.
const USER_AGENT_VALUE: HeaderValue = HeaderValue::from_static(concat!("outrigger/", env!("CARGO_PKG_VERSION")));
/// The longest rendered path and query, in bytes; most servers take 8 KiB.
const PATH_BYTES_MAX: usize = 8 * 1024;
/// The longest rendered header value, in bytes.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// A rendered request. Its URL beyond the host and its auth header are secret, so it has no `Debug`.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `https`, the webhook's host and port, and the rendered path.
    pub uri: Uri,
    /// All headers but `host` and `content-length`, which belong to the connection.
    pub headers: HeaderMap,
    /// The body, valid in its content type.
    pub body: Bytes,
    /// Template paths that the event lacked.
    pub missing: Vec<String>,
}

impl Webhook {
    /// Renders the request for an event. A fault is a [`Reason::TemplateError`].
    pub fn render(&self, event: &Event) -> Result<Request, Failure> {
        let payload =
            event.payload().map_err(|error| fault("event", &format_args!("the stored event is damaged: {error}")))?;
        let (budget, missing) = (Budget::new(self.body_bytes_max), Vec::new());
        let mut rendering = Rendering { payload: &payload, strict: self.strict, budget, missing };
        let uri = self.render_uri(&mut rendering)?;
        let headers = self.render_headers(event, &mut rendering)?;
        let body = self.render_body(event, &mut rendering)?;
        Ok(Request { method: self.method.clone(), uri, headers, body, missing: rendering.missing })
    }

    fn render_uri(&self, rendering: &mut Rendering<'_>) -> Result<Uri, Failure> {
        let path = rendering.text(&self.url.path, PATH_BYTES_MAX).map_err(|e| fault("url", &e))?;
        if self.url.templated && has_dot_segment(&path) {
            return Err(fault("url", &"a value makes a path segment `.` or `..`"));
        }
        let authority =
            if self.url.port == 443 { self.url.host.clone() } else { format!("{}:{}", self.url.host, self.url.port) };
        Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query(path)
            .build()
            .map_err(|_| fault("url", &"the rendered path is not a URL's"))
    }

    fn render_headers(&self, event: &Event, rendering: &mut Rendering<'_>) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 4);
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        if !matches!(self.body, Body::None) {
            headers.insert(CONTENT_TYPE, self.content_type.clone());
        }
        for (name, template) in &self.headers {
            let place = || format!("header `{name}`");
            let value = rendering.text(template, HEADER_BYTES_MAX).map_err(|e| fault(&place(), &e))?;
            let mut value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| fault(&place(), &"the rendered value holds a control character"))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        if let Some((name, secret)) = &self.auth {
            let mut value = HeaderValue::from_str(secret.expose())
                .map_err(|_| fault("auth", &"the value holds a character that no header may"))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        let id = HeaderValue::from_str(&delivery_id(event.id, &self.name))
            .map_err(|_| fault("webhook-id", &"no header value"))?;
        headers.insert(WEBHOOK_ID, id);
        Ok(headers)
    }

    fn render_body(&self, event: &Event, rendering: &mut Rendering<'_>) -> Result<Bytes, Failure> {
        let (template, json) = match &self.body {
            Body::None => return Ok(Bytes::new()),
            Body::Event => return Ok(event.raw.clone()),
            Body::Json(template) => (template, true),
            Body::Text(template) => (template, false),
        };
        let text = rendering.text(template, self.body_bytes_max).map_err(|e| fault("body", &e))?;
        if json && let Err(error) = serde_json::from_str::<IgnoredAny>(&text) {
            return Err(fault("body", &format_args!("the rendered text is not JSON: {error}")));
        }
        Ok(Bytes::from(text))
    }
}

/// What the templates of one request are rendered with, and what they lacked.
struct Rendering<'r> {
    payload: &'r Value,
    strict: bool,
    budget: Budget,
    missing: Vec<String>,
}

impl Rendering<'_> {
    fn text(&mut self, template: &Template, bytes_max: usize) -> Result<String, RenderError> {
        let rendered = template.render_within(self.payload, self.strict, bytes_max, &mut self.budget)?;
        self.missing.extend(rendered.missing);
        Ok(rendered.text)
    }
}

/// Whether a path has a segment that servers resolve away, plain or percent-encoded.
fn has_dot_segment(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    path.split('/').any(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    })
}

fn fault(place: &str, cause: &dyn std::fmt::Display) -> Failure {
    Failure::new(Reason::TemplateError, format!("{place}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_seen_in_every_spelling() {
        for path in ["/a/../b", "/..", "/a/%2e%2E?x", "/./"] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/a/b..c", "/...", "/a?x=../y", "/"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
