//! One effect in full: the requests before and after, as people may see them, or why there is none.

use http::header::USER_AGENT;
use serde_json::Value;

use super::difference::{self, aligned};
use super::effect::{Effect, causes};
use super::events::Occurrence;
use super::side::Side;
use crate::cli::preview;
use crate::config::PLACEHOLDER;
use crate::event::Event;
use crate::secret::MASK;
use crate::shown;
use crate::webhook::request::WEBHOOK_ID;
use crate::webhook::{Status, Webhook};

/// A request as people may see it.
pub(super) struct Request {
    pub(super) method: String,
    /// The host and `***` behind it, or all of it with references masked where that was asked for.
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

/// What a request carries.
pub(super) enum Body {
    /// JSON, to be compared by value.
    Json(Value),
    /// Any other text.
    Text(String),
}

impl Body {
    /// It in lines.
    pub(super) fn lines(&self) -> String {
        match self {
            Self::Json(value) => serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()),
            Self::Text(text) => text.trim_end().to_owned(),
        }
    }
}

/// What a side does with an event.
pub(super) enum Does {
    /// It makes this request.
    Sends(Request),
    /// It wants the event and cannot render the request, for this cause.
    Fails(String),
    /// It sends nothing, for these causes.
    Nothing(Vec<String>),
}

/// Both sides of one effect.
pub(super) struct Shown {
    pub(super) old: Does,
    pub(super) new: Does,
    /// Whether the URLs differ where they are not shown.
    pub(super) hidden_path_differs: bool,
}

/// Renders both sides of an effect once more, for people.
pub(super) fn show(old: &Side, new: &Side, name: &str, occurrence: &Occurrence, effect: Effect, urls: bool) -> Shown {
    let mut before = does(old, name, occurrence.old.as_ref(), urls);
    let mut after = does(new, name, occurrence.new.as_ref(), urls);
    // Where both want the event and one of them is shadow, the effect says which of the requests is one.
    match effect {
        Effect::Appear => before = Does::Nothing(causes(old, name, occurrence.old.as_ref())),
        Effect::Break if is_shadow(old, name) && !is_shadow(new, name) => {
            before = Does::Nothing(causes(old, name, occurrence.old.as_ref()));
        }
        Effect::Vanish => after = Does::Nothing(causes(new, name, occurrence.new.as_ref())),
        _ => {}
    }
    if let (Does::Sends(before), Does::Sends(after)) = (&before, &mut after)
        && let (Body::Json(old), Body::Json(new)) = (&before.body, &after.body)
    {
        after.body = Body::Json(aligned(old, new));
    }
    let path = |side: &Side, event: Option<&Event>| {
        let webhook = side.snapshot.webhooks.get(name)?;
        webhook.render(event?).ok().map(|request| (webhook.url.host.clone(), request.uri))
    };
    let hidden_path_differs = match (&before, &after) {
        (Does::Sends(before), Does::Sends(after)) if before.url == after.url => {
            path(old, occurrence.old.as_ref()) != path(new, occurrence.new.as_ref())
        }
        _ => false,
    };
    Shown { old: before, new: after, hidden_path_differs }
}

fn is_shadow(side: &Side, name: &str) -> bool {
    side.snapshot.webhooks.get(name).is_some_and(|webhook| webhook.status == Status::Shadow)
}

fn does(side: &Side, name: &str, event: Option<&Event>, urls: bool) -> Does {
    let Some((webhook, event)) = side.snapshot.webhooks.get(name).zip(event) else {
        return Does::Nothing(causes(side, name, event));
    };
    let wanted = crate::plan::refused_by(webhook, &event.tree()).is_empty();
    if !wanted || webhook.status == Status::Inactive {
        return Does::Nothing(causes(side, name, Some(event)));
    }
    match request(webhook, event, urls) {
        Ok(request) => Does::Sends(request),
        Err(problem) => Does::Fails(problem),
    }
}

fn request(webhook: &Webhook, event: &Event, urls: bool) -> Result<Request, String> {
    let rendered = webhook.render(event).map_err(|failure| failure.detail)?;
    let own_agent = webhook.headers.iter().any(|(name, _)| name == USER_AGENT);
    let headers = shown::headers(webhook, &rendered).into_iter();
    let body = match difference::json((webhook, &rendered)) {
        Some(value) => Body::Json(value),
        None => Body::Text(String::from_utf8_lossy(&rendered.body).into_owned()),
    };
    Ok(Request {
        method: rendered.method.to_string(),
        url: url(webhook, &rendered.uri, urls),
        // Every request says which program sends it, where the webhook says nothing else, and has the id of its delivery.
        headers: headers
            .filter(|(name, _)| name != WEBHOOK_ID.as_str() && (own_agent || name != USER_AGENT.as_str()))
            .collect(),
        body,
    })
}

/// A URL without what is secret in it: all behind the host, or what was referenced.
fn url(webhook: &Webhook, uri: &http::Uri, urls: bool) -> String {
    let port = if webhook.url.port == 443 { String::new() } else { format!(":{}", webhook.url.port) };
    let path = match uri.path_and_query() {
        Some(path) if urls => preview::unmask(path.as_str()),
        _ => format!("/{MASK}"),
    };
    format!("https://{}{port}{path}", host(&webhook.url.host))
}

/// A host whose references are masked: they have no value here.
fn host(host: &str) -> String {
    let placeholder = PLACEHOLDER.to_lowercase();
    host.replace(&format!("{placeholder}.invalid"), MASK).replace(&placeholder, MASK)
}
