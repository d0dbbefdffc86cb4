//! `format = "cloudevents"` and `[cloudevents]`: what is put around the body.

use http::{HeaderName, HeaderValue, Method};

use crate::cloudevents::{self, HEADER_PREFIX};
use crate::config::document::Report;
use crate::config::reference::WEBHOOK;
use crate::config::references::Resolver;
use crate::config::table::Table;
use crate::template::Format;
use crate::webhook::envelope::{Envelope, Mode, REQUEST_ORIGIN};

/// The attributes that a file may set.
const SET: [&str; 3] = ["source", "type", "subject"];

/// The longest name of a sending system, which is one of the DNS.
const ORIGIN_BYTES_MAX: usize = 253;

/// Compiles them. `headers` are the names that the file sets itself, and `templated` is whether the URL has values of events.
pub(super) fn envelope(
    report: &mut Report,
    root: &Table<'_>,
    (method, templated, body): (&Method, bool, Format),
    headers: &[&HeaderName],
    resolver: &mut Resolver<'_, '_>,
) -> Option<Envelope> {
    let format = root.choice(report, "format", &[("cloudevents", ())]);
    let table = root.table(report, "cloudevents");
    let envelope = table.as_ref().map(|table| attributes(report, table, templated, resolver));
    if format.is_none() {
        if let (Some(entry), None) = (root.get("cloudevents"), root.get("format")) {
            report.error(
                entry.key_at,
                "`[cloudevents]` has no effect without its format",
                "add format = \"cloudevents\"",
            );
        }
        return None;
    }
    let at = root.get("format").map_or(root.at, |entry| entry.node.at);
    if *method == Method::GET || *method == Method::DELETE {
        report.error(at, format!("a CloudEvent needs a body, and {method} has none"), "use POST");
    }
    for name in headers {
        if name.as_str().starts_with(HEADER_PREFIX) || **name == REQUEST_ORIGIN {
            let own = root.table(&mut Report::default(), "headers");
            let own = own
                .as_ref()
                .and_then(|own| own.entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name.as_str())));
            let at = own.map(|entry| entry.key_at).or_else(|| root.get("auth").map(|entry| entry.key_at)).unwrap_or(at);
            let fix = "use another: attributes are made of the event, and [cloudevents] sets source, type and subject";
            report.error(at, format!("the header `{name}` is set by `format = \"cloudevents\"`"), fix);
        }
    }
    let content_type = root.text(&mut Report::default(), "content_type");
    if let Some(text) = content_type.filter(|text| body != Format::Json && cloudevents::is_json(text.value)) {
        report.error(
            text.at,
            "the data of a CloudEvent of this type is JSON, and the body is a text",
            "use application/json",
        );
    }
    Some(envelope.unwrap_or(Envelope { mode: Mode::Structured, set: Vec::new(), origin: None }))
}

/// Compiles `[cloudevents]`.
fn attributes(report: &mut Report, table: &Table<'_>, templated: bool, resolver: &mut Resolver<'_, '_>) -> Envelope {
    let mut envelope = Envelope { mode: Mode::Structured, set: Vec::new(), origin: None };
    table.refuse_unknown(report, WEBHOOK, "cloudevents");
    let modes = [("structured", Mode::Structured), ("binary", Mode::Binary)];
    envelope.mode = table.choice(report, "mode", &modes).unwrap_or(Mode::Structured);
    for name in SET {
        let Some(text) = table.text(report, name) else { continue };
        if text.value.is_empty() {
            report.error(text.at, format!("`cloudevents.{name}` is empty"), "remove it, or give it a text");
            continue;
        }
        match resolver.template(text.value, Format::Text, Resolver::resolve_shown) {
            Ok(template) => envelope.set.push((name, template)),
            Err(faults) => faults.into_iter().for_each(|fault| report.fault(&text, fault)),
        }
    }
    if let Some(text) = table.text(report, "origin") {
        let labels = |text: &str| text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_of_name));
        let value = HeaderValue::from_str(text.value).ok();
        if text.value.len() > ORIGIN_BYTES_MAX || !labels(text.value) || value.is_none() {
            let fix = "write the name of the sending system, such as \"outrigger.example.com\"";
            report.error(text.at, "`cloudevents.origin` is no DNS name", fix);
        } else if templated {
            let fix = "remove `origin`, or the template from the URL: consent is asked of one address, once";
            report.error(text.at, "`cloudevents.origin` goes with a URL without templates", fix);
        }
        envelope.origin = value;
    }
    envelope
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}
