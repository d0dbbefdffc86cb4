//! A webhook: one compiled definition, immutable and shared.

pub mod definition;
pub mod envelope;
pub mod filter;
pub mod gate;
pub mod grant;
pub mod judge;
pub mod ordering;
pub(crate) mod path;
pub mod request;
pub mod retry;
pub mod signing;
pub mod tls;
pub mod validator;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};

use crate::kind::reads::Reads;
use crate::kind::{Kind, MANUAL};
use crate::secret::{Mask, Secret};
use crate::template::Template;

use definition::Definition;
use envelope::Envelope;
use filter::Filter;
use gate::{Breaker, Rate, Terms};
use grant::Grant;
use ordering::Ordering;
use retry::Policy;
use signing::Signing;
use tls::Tls;
use validator::Validator;

/// One compiled definition.
#[derive(Debug)]
pub struct Webhook {
    /// The file's stem, and the metric label.
    pub name: Arc<str>,
    /// For people.
    pub title: Option<String>,
    /// Active, inactive or shadow.
    pub status: Status,
    /// The kind of its events.
    pub kind: Arc<Kind>,
    /// Which event types start it.
    pub triggers: Triggers,
    /// The request's method.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// Headers in the order of the file; format [`crate::template::Format::Header`]. `content-type` and auth are not among them.
    pub headers: Vec<(HeaderName, Arc<Template>)>,
    /// What authenticates it to its target.
    pub auth: Option<Auth>,
    /// What its requests are signed with.
    pub signing: Option<Signing>,
    /// How its target is spoken to.
    pub tls: Arc<Tls>,
    /// Its secrets, to be taken out of what others say.
    pub mask: Mask,
    /// What the request carries.
    pub body: Body,
    /// `content_type`, sent as it is written.
    pub content_type: http::HeaderValue,
    /// What is put around the body.
    pub envelope: Option<Envelope>,
    /// What rendering reads of an event.
    pub reads: Reads,
    /// A missing field is a `template_error`.
    pub strict: bool,
    /// The largest rendered body, in bytes.
    pub body_bytes_max: usize,
    /// From the connection's start to the response's end.
    pub timeout: Duration,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// All must pass.
    pub validators: Vec<Validator>,
    /// Which deliveries wait for each other.
    pub ordering: Ordering,
    /// When a failed delivery is tried again.
    pub retry: Policy,
    /// When failures in a row pause it.
    pub breaker: Breaker,
    /// How fast attempts may follow each other.
    pub rate: Option<Rate>,
    /// Attempts at the same time, at least 1.
    pub concurrency: usize,
    /// How much of a response is read, in bytes.
    pub response_bytes_max: usize,
    /// What it was compiled from.
    pub definition: Definition,
    /// A hash over everything that decides what it does (the file, referenced files and values, defaults).
    pub fingerprint: u64,
}

impl Webhook {
    /// What its gate goes by.
    #[must_use]
    pub const fn terms(&self) -> Terms {
        Terms { breaker: self.breaker, probe_max: self.retry.max_interval, rate: self.rate }
    }
}

/// What the rendering of these reads of an event. What sends the event itself reads all of it, so that it is JSON for certain.
#[must_use]
pub fn reads(url: &Url, headers: &[(HeaderName, Arc<Template>)], body: &Body, envelope: Option<&Envelope>) -> Reads {
    let body = match body {
        Body::Event => return Reads::whole(),
        Body::None => None,
        Body::Json(template) | Body::Text(template) => Some(template),
    };
    if envelope.is_some() {
        return Reads::whole();
    }
    let mut reads = Reads::default();
    for template in headers.iter().map(|(_, template)| template).chain([&url.path]).chain(body) {
        template.add_reads(&mut reads);
    }
    reads
}

/// What authenticates a webhook to its target.
#[derive(Debug)]
pub enum Auth {
    /// A header, already in its wire form (`Bearer …`, `Basic …`, or an API key).
    Header(HeaderName, Secret),
    /// A token that an authorization server gives out, sent as `Authorization: Bearer`.
    OAuth2(Arc<Grant>),
}

impl Auth {
    /// The header that carries it.
    #[must_use]
    pub fn header(&self) -> HeaderName {
        match self {
            Self::Header(name, _) => name.clone(),
            Self::OAuth2(_) => AUTHORIZATION,
        }
    }

    /// The grant, where a token has to be had first.
    #[must_use]
    pub const fn grant(&self) -> Option<&Arc<Grant>> {
        match self {
            Self::Header(..) => None,
            Self::OAuth2(grant) => Some(grant),
        }
    }
}

/// What a webhook does with events that it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Delivers.
    Active,
    /// Takes nothing new and holds what is pending.
    Inactive,
    /// Matches and renders, and never sends.
    Shadow,
}

/// Which event types start a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triggers {
    /// Every type of the kind, and invocation by name.
    All,
    /// These, in the kind's canonical spelling; `Manual` among them lets it be invoked by name.
    Only(BTreeSet<Arc<str>>),
}

impl Triggers {
    /// Whether an event type in canonical spelling is among them.
    #[must_use]
    pub fn include(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(types) => types.contains(event_type),
        }
    }

    /// Whether no event but an invocation by name starts the webhook.
    #[must_use]
    pub fn are_manual(&self) -> bool {
        matches!(self, Self::Only(types) if types.iter().all(|name| **name == *MANUAL))
    }
}

impl fmt::Display for Triggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Only(types) => {
                let mut comma = "";
                for one in types {
                    write!(f, "{comma}{one}")?;
                    comma = ", ";
                }
                Ok(())
            }
        }
    }
}

/// A target. All beyond the host is secret.
#[derive(Debug)]
pub struct Url {
    /// Host name or address literal, lower case, as in the URL (IPv6 in brackets).
    pub host: String,
    /// The port, 443 unless the URL says so and `egress.allow_ports` has it.
    pub port: u16,
    /// Whether a reference is part of host or port, or gives the whole URL.
    pub referenced: bool,
    /// Path and query, beginning with `/`; format [`crate::template::Format::Url`].
    pub path: Arc<Template>,
    /// Whether an event's values are part of it.
    pub templated: bool,
}

/// What a request carries.
#[derive(Debug)]
pub enum Body {
    /// Nothing (GET and DELETE without a body).
    None,
    /// The event as it came in.
    Event,
    /// JSON text by construction, parsed again before it is sent.
    Json(Arc<Template>),
    /// Text or a form.
    Text(Arc<Template>),
}
