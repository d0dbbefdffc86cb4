//! What a webhook would make of an event, for people's eyes: configuration is loaded with masked references.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use serde_json::Value;

use crate::config::{Loaded, Source, is_secret_header, load, may_be_secret};
use crate::event::{Event, EventId};
use crate::kind::Kind;
use crate::kind::decode::{DecodeError, decode};
use crate::secret::MASK;
use crate::webhook::request::{Request, WEBHOOK_ID};
use crate::webhook::signing::WEBHOOK_SIGNATURE;
use crate::webhook::{Auth, Webhook};

/// A request as it would be sent, secrets masked, without the delivery's id, which every event gives anew.
#[derive(Debug)]
pub(super) struct Preview {
    /// The whole URL with masked references. What is literal in it may still be a secret.
    pub(super) url: String,
    /// In the order in which they are set. What is typed in clear may still be a secret: see [`is_typed_secret`].
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: String,
    /// What the event lacked.
    pub(super) missing: Vec<String>,
}

/// The same configuration with every reference masked.
pub(super) fn masked(source: &Source) -> Loaded {
    load(&Source { masked: true, ..source.clone() })
}

/// An event that is looked at and never posted.
pub(super) fn event(kind: &Kind, text: String) -> Result<Event, DecodeError> {
    decode(kind, Bytes::from(text), EventId::from_bytes([0; 16]), Timestamp::now())
}

/// Renders the request of a webhook, from a configuration that was loaded masked.
pub(super) fn preview(webhook: &Webhook, event: &Event) -> Result<Preview, String> {
    let request = webhook.render(event).map_err(|failure| format!("it cannot be rendered: {}", failure.detail))?;
    Ok(Preview {
        url: unmask(&request.uri.to_string()),
        headers: headers(webhook, &request),
        body: String::from_utf8_lossy(&request.body).into_owned(),
        missing: request.missing,
    })
}

/// A URL with its masks as they are everywhere else: in a URL they are percent-encoded.
pub(super) fn unmask(url: &str) -> String {
    url.replace("%2A%2A%2A", MASK)
}

/// A request's headers with what authenticates masked.
fn headers(webhook: &Webhook, request: &Request) -> Vec<(String, String)> {
    let shown = request.headers.iter().filter(|(name, _)| *name != WEBHOOK_ID);
    let mut headers: Vec<_> = shown
        .map(|(name, value)| {
            let is_auth = webhook.auth.as_ref().is_some_and(|auth| auth.header() == *name);
            let value = if is_auth { MASK.into() } else { String::from_utf8_lossy(value.as_bytes()) };
            (name.as_str().to_owned(), value.into_owned())
        })
        .collect();
    // What the attempt adds: a token that is not fetched to be looked at, and signatures.
    if let Some(Auth::OAuth2(_)) = webhook.auth {
        headers.push((AUTHORIZATION.as_str().to_owned(), MASK.to_owned()));
    }
    if webhook.signing.is_some() {
        headers.push((WEBHOOK_SIGNATURE.as_str().to_owned(), MASK.to_owned()));
    }
    headers
}

/// A request's headers as people may see them.
pub(super) fn shown_headers(webhook: &Webhook, request: &Request) -> Vec<(String, String)> {
    let mut headers = headers(webhook, request);
    for (_, value) in headers.iter_mut().filter(|(name, value)| is_typed_secret(webhook, name, value)) {
        MASK.clone_into(value);
    }
    headers
}

/// Whether a header sounds like a secret, and all of it is typed in clear.
pub(super) fn is_typed_secret(webhook: &Webhook, name: &str, value: &str) -> bool {
    let typed = || webhook.headers.iter().any(|(header, template)| header == name && template.is_fixed());
    is_secret_header(name) && may_be_secret(value) && !value.contains(MASK) && typed()
}

/// A body for people: JSON is indented, all else is as it is.
pub(super) fn pretty(body: &str) -> String {
    serde_json::from_str::<Value>(body)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| body.to_owned())
}
