//! What a webhook would make of an event, for people's eyes: configuration is loaded with masked references.

use serde_json::Value;

use crate::config::{Source, load};
use crate::secret::MASK;
use crate::webhook::{Body, Triggers, Webhook};

/// The largest header value that is rendered, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The largest path and query that are rendered, in bytes.
const URL_BYTES_MAX: usize = 16 * 1024;

/// A request as it would be sent, secrets masked.
#[derive(Debug)]
pub(super) struct Preview {
    /// The whole URL with masked references. What is literal in it may still be a secret.
    pub(super) url: String,
    /// In the order in which they are set.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: String,
    /// What the event lacked.
    pub(super) missing: Vec<String>,
}

/// The same configuration with every reference masked.
pub(super) fn masked(source: &Source) -> crate::config::Loaded {
    load(&Source { masked: true, ..source.clone() })
}

/// Why a webhook does not want an event; `None` when it does.
pub(super) fn refusal(webhook: &Webhook, event_type: &str, payload: &Value) -> Option<String> {
    if let Triggers::Only(types) = &webhook.triggers
        && !types.contains(event_type)
    {
        let listed = types.iter().map(|one| &**one).collect::<Vec<_>>().join(", ");
        return Some(format!("the event type {event_type} is not among its triggers ({listed})"));
    }
    webhook.filters.iter().find_map(|filter| filter.refusal(payload))
}

/// Renders the request of a webhook for an event. `raw` is the event as it came.
pub(super) fn preview(webhook: &Webhook, payload: &Value, raw: &str) -> Result<Preview, String> {
    let mut missing = Vec::new();
    let mut render = |template: &crate::template::Template, bytes_max: usize, what: &str| {
        let rendered = template
            .render(payload, webhook.strict, bytes_max)
            .map_err(|error| format!("{what} cannot be rendered: {error}"))?;
        for path in rendered.missing {
            if !missing.contains(&path) {
                missing.push(path);
            }
        }
        Ok::<_, String>(rendered.text)
    };
    let path = render(&webhook.url.path, URL_BYTES_MAX, "the URL")?.replace("%2A%2A%2A", MASK);
    let port = if webhook.url.port == 443 { String::new() } else { format!(":{}", webhook.url.port) };
    let url = format!("https://{}{port}{path}", webhook.url.host);
    let content_type = String::from_utf8_lossy(webhook.content_type.as_bytes()).into_owned();
    let mut headers = Vec::new();
    if !matches!(webhook.body, Body::None) {
        headers.push(("content-type".to_owned(), content_type));
    }
    if let Some((name, _)) = &webhook.auth {
        headers.push((name.as_str().to_owned(), MASK.to_owned()));
    }
    for (name, template) in &webhook.headers {
        headers.push((name.as_str().to_owned(), render(template, HEADER_BYTES_MAX, "a header")?));
    }
    let body = match &webhook.body {
        Body::None => String::new(),
        Body::Event => raw.to_owned(),
        Body::Text(template) => render(template, webhook.body_bytes_max, "the body")?,
        Body::Json(template) => {
            let text = render(template, webhook.body_bytes_max, "the body")?;
            serde_json::from_str::<serde::de::IgnoredAny>(&text)
                .map_err(|error| format!("the body is no JSON: {error}"))?;
            text
        }
    };
    Ok(Preview { url, headers, body, missing })
}
