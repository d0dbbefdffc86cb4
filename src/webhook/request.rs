//! From an event to the request that a webhook makes of it. Pure: the same event gives the same request.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Uri};
use serde::de::IgnoredAny;

use crate::delivery::{Failure, Reason, delivery_id};
use crate::event::Event;
use crate::kind::is_json;
use crate::template::{Budget, Payload, RenderError, Rendered, Template};
use crate::trace::{self, SpanId};
use crate::webhook::envelope::REQUEST_ORIGIN;
use crate::webhook::{Auth, Body, Webhook, path};

/// The header that carries the delivery's id on every attempt (Standard Webhooks 1.0.0).
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// The header that tells receivers a test from a real event.
pub const TEST_HEADER: HeaderName = HeaderName::from_static("outrigger-test");
/// The header that carries an attempt's place in the trace of its event (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that carries what others add to a trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
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
    /// All headers but `host` and `content-length`, which belong to the connection, and those of a token and of signatures, which
    /// belong to the attempt.
    pub headers: HeaderMap,
    /// The body, valid in its content type.
    pub body: Bytes,
    /// Template paths that the event lacked.
    pub missing: Vec<String>,
}

impl Request {
    /// Says which attempt this is in the trace of its event. A webhook that sets `traceparent` itself has put the request into a
    /// trace of its own, of which ours says nothing.
    pub fn trace(&mut self, event: &Event, span: SpanId) {
        if self.headers.contains_key(TRACEPARENT) {
            return;
        }
        let parent = match event.trace() {
            Some(trace) => trace.traceparent(span),
            None => trace::begun(event.trace_id(), span),
        };
        // Digits and dashes, and what came in as a header.
        if let Ok(parent) = HeaderValue::try_from(parent) {
            self.headers.insert(TRACEPARENT, parent);
        }
        let state = event.trace().map(|trace| trace.state()).filter(|state| !state.is_empty());
        if let Some(Ok(state)) = state.map(HeaderValue::from_str) {
            self.headers.entry(TRACESTATE).or_insert(state);
        }
    }
}

impl Webhook {
    /// Renders the request for an event. A fault is a [`Reason::TemplateError`].
    pub fn render(&self, event: &Event) -> Result<Request, Failure> {
        // Where the scanner leaves it to the parser, and where all is read, there is a tree.
        let picked = match event.parsed() {
            None if !self.reads.is_whole() => self.reads.pick(&event.raw),
            _ => None,
        };
        if let Some(picked) = &picked {
            return self.render_from(event, Payload::Picked(picked));
        }
        let tree = event.payload();
        let tree = tree.map_err(|error| fault("event", &format_args!("the stored event is damaged: {error}")))?;
        self.render_from(event, Payload::Tree(&tree))
    }

    fn render_from(&self, event: &Event, payload: Payload<'_>) -> Result<Request, Failure> {
        let (budget, missing) = (Budget::new(self.body_bytes_max), Vec::new());
        let mut rendering = Rendering { payload, strict: self.strict, budget, missing };
        let uri = self.render_uri(&mut rendering)?;
        let mut headers = self.render_headers(event, &mut rendering)?;
        let mut body = self.render_body(event, &mut rendering)?;
        if self.envelope.is_some() {
            body = self.enclose(event, &mut rendering, body, &mut headers)?;
        }
        Ok(Request { method: self.method.clone(), uri, headers, body, missing: rendering.missing })
    }

    fn render_uri(&self, rendering: &mut Rendering<'_>) -> Result<Uri, Failure> {
        let Rendered { text: path, blanks, .. } =
            rendering.part(&self.url.path, PATH_BYTES_MAX).map_err(|e| fault("url", &e))?;
        if self.url.templated {
            path::check(&path, &blanks).map_err(|problem| fault("url", &problem))?;
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
            let value = rendering.part(template, HEADER_BYTES_MAX).map_err(|e| fault(&place(), &e))?;
            // Receivers do not see what stands around a value over HTTP/1.1, and refuse it over HTTP/2.
            let mut value = HeaderValue::from_str(value.text.trim_matches([' ', '\t']))
                .map_err(|_| fault(&place(), &"the rendered value holds a line break or another control character"))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        if let Some(Auth::Header(name, secret)) = &self.auth {
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
        let Rendered { text, .. } = rendering.part(template, self.body_bytes_max).map_err(|e| fault("body", &e))?;
        if json
            && !is_json(&text)
            && let Err(error) = serde_json::from_str::<IgnoredAny>(&text)
        {
            return Err(fault("body", &format_args!("the rendered text is not JSON: {error}")));
        }
        Ok(Bytes::from(text))
    }
}

impl Webhook {
    /// Puts the envelope around a body, into body and headers.
    fn enclose(
        &self,
        event: &Event,
        rendering: &mut Rendering<'_>,
        body: Bytes,
        headers: &mut HeaderMap,
    ) -> Result<Bytes, Failure> {
        let Some(envelope) = &self.envelope else { return Ok(body) };
        let mut rendered = Vec::with_capacity(envelope.set.len());
        for (name, template) in &envelope.set {
            let place = || format!("cloudevents.{name}");
            rendered.push((*name, rendering.part(template, HEADER_BYTES_MAX).map_err(|e| fault(&place(), &e))?.text));
        }
        if let Some(origin) = &envelope.origin {
            headers.insert(REQUEST_ORIGIN, origin.clone());
        }
        // What encloses an event reads all of it.
        let Payload::Tree(payload) = rendering.payload else {
            return Err(fault("cloudevents", &"the event was not read as a whole, which is a fault of Outrigger"));
        };
        let from = (event, payload, &*self.kind);
        let body = envelope
            .wrap(from, rendered, (&self.body, &self.content_type), body, headers)
            .map_err(|problem| fault("cloudevents", &problem))?;
        if body.len() > self.body_bytes_max {
            let problem = format!("the event around the body makes it larger than {} bytes", self.body_bytes_max);
            return Err(fault("cloudevents", &problem));
        }
        Ok(body)
    }
}

/// What the templates of one request are rendered with, and what they lacked.
struct Rendering<'r> {
    payload: Payload<'r>,
    strict: bool,
    budget: Budget,
    missing: Vec<String>,
}

impl Rendering<'_> {
    /// Renders one template of the request.
    fn part(&mut self, template: &Template, bytes_max: usize) -> Result<Rendered, RenderError> {
        let mut rendered = template.render_within(self.payload, self.strict, bytes_max, &mut self.budget)?;
        self.missing.append(&mut rendered.missing);
        Ok(rendered)
    }
}

fn fault(place: &str, cause: &dyn std::fmt::Display) -> Failure {
    Failure::new(Reason::TemplateError, format!("{place}: {cause}"))
}
