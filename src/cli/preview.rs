//! What a webhook would make of an event, for people's eyes: configuration is loaded with masked references.

use bytes::Bytes;
use jiff::Timestamp;

use crate::config::{Loaded, Source, load};
use crate::event::{Event, EventId};
use crate::kind::Kind;
use crate::kind::decode::{DecodeError, decode};
use crate::secret::MASK;
use crate::shown;
use crate::webhook::Webhook;
use crate::webhook::request::WEBHOOK_ID;

/// A request as it would be sent, secrets masked, without the delivery's id, which every event gives anew.
#[derive(Debug)]
pub(super) struct Preview {
    /// The whole URL with masked references. What is literal in it may still be a secret.
    pub(super) url: String,
    /// Whether its host came by a reference, so that it is another one elsewhere. It is no secret.
    pub(super) host_referenced: bool,
    /// In the order in which they are set. What is typed in clear may still be a secret: see [`shown::is_typed_secret`].
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
    let headers = shown::unauthenticated(webhook, &request).into_iter();
    Ok(Preview {
        url: unmask(&request.uri.to_string()),
        host_referenced: webhook.url.referenced,
        headers: headers.filter(|(name, _)| *name != WEBHOOK_ID.as_str()).collect(),
        body: String::from_utf8_lossy(&request.body).into_owned(),
        missing: request.missing,
    })
}

/// A URL with its masks as they are everywhere else: in a URL they are percent-encoded.
pub(super) fn unmask(url: &str) -> String {
    url.replace("%2A%2A%2A", MASK)
}
