//! `[headers]`: names that may be set, values that are templates.

use std::sync::Arc;

use http::HeaderName;

use crate::config::document::{At, Report};
use crate::config::references::Resolver;
use crate::config::table::Table;
use crate::template::{Format, Template};

/// How many headers a webhook may set.
const HEADERS_MAX: usize = 64;

/// Headers that the connection or the delivery owns.
const FORBIDDEN: [&str; 11] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// Compiles `[headers]`. `auth` is the header that `[auth]` sets.
pub(super) fn headers(
    report: &mut Report,
    root: &Table<'_>,
    auth: Option<&HeaderName>,
    resolver: &mut Resolver<'_, '_>,
) -> Vec<(HeaderName, Arc<Template>)> {
    let Some(table) = root.table(report, "headers") else { return Vec::new() };
    if table.entries.len() > HEADERS_MAX {
        let problem = format!("there are {} headers, and {HEADERS_MAX} are the limit", table.entries.len());
        report.error(table.at, problem, "remove some");
        return Vec::new();
    }
    let mut headers: Vec<(HeaderName, Arc<Template>)> = Vec::with_capacity(table.entries.len());
    let mut seen: Vec<HeaderName> = Vec::new();
    for entry in &table.entries {
        let name = name(report, entry.name, entry.key_at);
        if let Some(name) = &name {
            if seen.contains(name) {
                let problem = format!("the header `{name}` is given twice: upper and lower case make no difference");
                report.error(entry.key_at, problem, "remove one");
            } else if auth == Some(name) {
                let problem = format!("the header `{name}` is given here and by [auth]");
                report.error(entry.key_at, problem, "leave it in [auth]");
            }
            seen.push(name.clone());
        }
        let Some(text) = table.text(report, entry.name) else { continue };
        if let Some((start, character)) = text.value.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            let what = if matches!(character, '\r' | '\n') { "a line break" } else { "a control character" };
            let at = text.within(start..start + character.len_utf8());
            let problem = format!("the value of the header `{}` holds {what}", entry.name);
            report.error(at, problem, "remove it: it would end the header");
            continue;
        }
        match resolver.template(text.value, Format::Header, Resolver::resolve_header) {
            Ok(template) => headers.extend(name.map(|name| (name, template))),
            Err(faults) => {
                for fault in faults {
                    report.fault(&text, fault);
                }
            }
        }
    }
    headers
}

/// A header's name that a webhook may set.
pub(super) fn name(report: &mut Report, written: &str, at: At<'_>) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else {
        report.error(at, "this is no header name", "use letters, digits and `-`");
        return None;
    };
    let (problem, fix) = match name.as_str() {
        "content-type" => ("the header `content-type` has a key of its own", "write content_type = \"…\""),
        name if name.starts_with("webhook-") && FORBIDDEN.contains(&name) => {
            ("this header is set by every delivery", "remove it")
        }
        name if FORBIDDEN.contains(&name) || name.starts_with("proxy-") => {
            ("this header belongs to the connection", "remove it: it is set as needed")
        }
        _ => return Some(name),
    };
    report.error(at, problem, fix);
    None
}
