//! `[traces]`: where spans are sent.

use http::{HeaderName, HeaderValue, Uri};

use crate::config::document::Report;
use crate::config::references::Resolver;
use crate::config::snapshot::{SAMPLE_PARTS, Traces};
use crate::config::table::Table;

/// How many headers a request to the collector may have.
const HEADERS_MAX: usize = 16;
/// A name of a service that is longer is a mistake, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Compiles the table, where the file or an override has one.
pub(super) fn traces(report: &mut Report, table: &Table<'_>, resolver: &mut Resolver<'_, '_>) -> Traces {
    if !cfg!(feature = "otel") {
        let problem = "this program was built without traces: it passes them on, and sends no spans of its own";
        report.error(table.at, problem, "build it with the feature `otel`, or remove the table");
    }
    let mut traces = Traces { sampled_parts: sampled(report, table), ..Traces::default() };
    if let Some(text) = table.text(report, "endpoint") {
        match check_endpoint(text.value) {
            Ok(()) => traces.endpoint = Some(text.value.trim_end_matches('/').to_owned()),
            Err(problem) => report.error(text.at, problem, "write http://HOST:4318: `/v1/traces` is put behind it"),
        }
    }
    if let Some(text) = table.text(report, "service_name") {
        if text.value.is_empty() || text.value.len() > NAME_BYTES_MAX {
            let problem =
                format!("`traces.service_name` has {} bytes, and takes 1 to {NAME_BYTES_MAX}", text.value.len());
            report.error(text.at, problem, "write a name such as \"outrigger\"");
        }
        traces.service_name = Some(text.value.to_owned());
    }
    let Some(headers) = table.table(report, "headers") else { return traces };
    if headers.entries.len() > HEADERS_MAX {
        let problem = format!("there are {} headers, and {HEADERS_MAX} are the limit", headers.entries.len());
        report.error(headers.at, problem, "remove some");
        return traces;
    }
    for entry in &headers.entries {
        let Ok(name) = HeaderName::try_from(entry.name) else {
            report.error(entry.key_at, "this is no name of a header", "write a name such as `authorization`");
            continue;
        };
        let Some(text) = headers.text(report, entry.name) else { continue };
        let Some(value) = resolver.expand(report, &text) else { continue };
        if HeaderValue::from_str(value.expose()).is_err() {
            let fix = "take line breaks and other control characters out of it";
            report.error(text.at, "the value holds a character that no header may", fix);
            continue;
        }
        traces.headers.push((name, value));
    }
    traces
}

fn sampled(report: &mut Report, table: &Table<'_>) -> u32 {
    let ratio = table.number(report, "sample_ratio").unwrap_or(1.0);
    if !(0.0..=1.0).contains(&ratio) {
        let at = table.get("sample_ratio").map_or(table.at, |entry| entry.node.at);
        report.error(
            at,
            "`traces.sample_ratio` is a number from 0 to 1",
            "write 1.0 for all requests, 0.1 for a tenth",
        );
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is cut to what fits")]
    let parts = (ratio.clamp(0.0, 1.0) * f64::from(SAMPLE_PARTS)).round() as u32;
    parts
}

/// What is wrong with the URL of a collector. It is not repeated: a password may stand in it.
pub(crate) fn check_endpoint(url: &str) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "this is no URL of a collector")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("this is no URL of a collector: it begins neither with http:// nor with https://");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("a name or a password stands in this URL: they belong in traces.headers");
    }
    if uri.host().is_none_or(str::is_empty)
        || (uri.port_u16().is_none() && authority.rsplit(']').next().is_some_and(|rest| rest.contains(':')))
        || uri.query().is_some()
    {
        return Err("the URL of a collector is a host, a port and perhaps a path");
    }
    Ok(())
}
