//! Templates by their shapes: what they are made of decides what rendering costs.

use std::fmt;

use outrigger::template::{Format, Template};
use serde_json::{Value, json};

use crate::event;

/// The limit that a body has by default.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// One shape.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    format: Format,
    source: &'static str,
    payload: fn() -> Value,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Shape {
    pub(crate) fn compile(&self) -> Template {
        compile(self.source, self.format)
    }

    /// The event that it is rendered for.
    pub(crate) fn payload(&self) -> Value {
        (self.payload)()
    }
}

pub(crate) fn compile(source: &str, format: Format) -> Template {
    let unset = &mut |_: &str| Err((String::new(), String::new()));
    Template::compile(source, format, unset).expect("the source is written here and has no fault")
}

/// A granted request with a justification of so many bytes.
pub(crate) fn request(justification_bytes: usize) -> Value {
    serde_json::from_slice(&event::raw(justification_bytes)).expect("it is JSON")
}

fn short() -> Value {
    request(32)
}

fn list_of_100() -> Value {
    json!({ "l": (0..100).map(|i| json!({"name": format!("unit {i}"), "id": i})).collect::<Vec<_>>() })
}

/// Eight fields, as Okta's example of a flow has them.
pub(crate) const FIELDS: &str = r#"{ "fields": {
    "event type": "{{event_type}}",
    "event time": "{{event_time}}",
    "request": "{{data.friendly_id}}",
    "requestor email": "{{data.requester.email}}",
    "justification": "{{data.justification}}",
    "integration name": "{{data.access_groups.[0].[integration].name}}",
    "resource type": "{{data.access_groups.[0].resource_types.[0].name}}",
    "access unit": "{{data.access_groups.[0].access_units.[0].resource.name}}" } }"#;

const LITERAL: &str = r#"{ "text": "An access request was granted.", "channel": "access", "unfurl_links": false }"#;

const CONDITIONS: &str = r#"{
    "text": "{{#if data.justification}}{{data.justification}}{{else}}no reason{{/if}}",
    "who": "{{#unless data.grantee}}{{data.requester.name}}{{else}}{{data.grantee.name}}{{/unless}}",
    "urgent": {{#if (eq data.access_flow.name "on call")}}true{{else}}false{{/if}},
    "bundle": "{{#if (and data.access_bundle data.access_bundle.name)}}{{data.access_bundle.name}}{{/if}}" }"#;

const EACH: &str = r#"{"l": [{{#each l}}{"name": "{{name}}", "id": {{id}}}{{#unless @last}},{{/unless}}{{/each}}]}"#;

const DOCUMENT: &str =
    r#"{"message": "{\"id\": \"{{data.id}}\", \"why\": \"{{data.justification}}\", \"who\": {{data.requester}}}"}"#;

const FORM: &str = "id={{data.id}}&request={{data.friendly_id}}&who={{data.requester.name}}&mail={{data.requester.email}}&why={{data.justification}}";

const URL: &str = "/v1/requests/{{data.id}}/{{data.requester.name}}?mail={{data.requester.email}}";

const HEADER: &str = "{{data.requester.name}} <{{data.requester.email}}>; request={{data.friendly_id}}";

const fn shape(name: &'static str, format: Format, source: &'static str) -> Shape {
    Shape { name, format, source, payload: short }
}

/// All of them, by what they are for.
pub(crate) const ALL: [Shape; 8] = [
    shape("literal", Format::Json, LITERAL),
    shape("fields", Format::Json, FIELDS),
    shape("conditions", Format::Json, CONDITIONS),
    Shape { payload: list_of_100, ..shape("each-of-100", Format::Json, EACH) },
    shape("document-in-a-string", Format::Json, DOCUMENT),
    shape("form", Format::Form, FORM),
    shape("url", Format::Url, URL),
    shape("header", Format::Header, HEADER),
];
