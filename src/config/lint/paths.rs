//! `unknown-path`: what templates, filters and ordering keys ask of events that have no such thing, and validators of responses.

use crate::config::document::{At, Document, Report, Text};
use crate::config::load::FILE_BYTES_MAX;
use crate::config::read;
use crate::diagnostic::Lint;
use crate::kind::Path;
use crate::secret::{MASK, Secret};
use crate::template::{Format, Template};
use crate::webhook::Body;

use super::Subject;

/// Looks at every path that a webhook's file names.
pub(super) fn lint(report: &mut Report, subject: &Subject<'_>) {
    let mut quiet = Report::default();
    let root = subject.root;
    if let Some(url) = root.text(&mut quiet, "url") {
        template(report, subject, &url, Format::Url);
    }
    if let Some(headers) = root.table(&mut quiet, "headers") {
        for value in headers.entries.iter().filter_map(|entry| headers.text(&mut quiet, entry.name)) {
            template(report, subject, &value, Format::Header);
        }
    }
    body(report, subject);
    if let Some(table) = root.table(&mut quiet, "cloudevents") {
        for name in ["source", "type", "subject"] {
            if let Some(text) = table.text(&mut quiet, name) {
                template(report, subject, &text, Format::Text);
            }
        }
    }
    for table in root.tables(&mut quiet, "filters") {
        if let Some(path) = table.text(&mut quiet, "path") {
            json_path(report, subject, &path);
        }
    }
    if let Some(ordering) = root.table(&mut quiet, "ordering")
        && let Some(path) = ordering.text(&mut quiet, "key")
    {
        json_path(report, subject, &path);
    }
    for (table, validator) in root.tables(&mut quiet, "response_validators").iter().zip(&subject.webhook.validators) {
        if let Some(path) = table.text(&mut quiet, "path") {
            header(report, &path, &validator.path);
        }
    }
}

fn body(report: &mut Report, subject: &Subject<'_>) {
    let format = match subject.webhook.body {
        Body::Json(_) => Format::Json,
        // Forms have the syntax of text.
        Body::Text(_) => Format::Text,
        Body::None | Body::Event => return,
    };
    let mut quiet = Report::default();
    if let Some(text) = subject.root.text(&mut quiet, "body") {
        template(report, subject, &text, format);
    }
    if let Some(file) = subject.root.text(&mut quiet, "body_file") {
        let name = format!("webhooks/{}", file.value);
        let Ok(text) = read::text(&subject.source.dir.join(&name), FILE_BYTES_MAX) else { return };
        let document = Document { name, text, shown: true };
        let text = Text { value: &document.text, at: At::new(&document, 0..document.text.len()) };
        template(report, subject, &text, format);
    }
}

/// The paths of a template. It is compiled once more, with masked references: where things stand in it is kept by nobody.
fn template(report: &mut Report, subject: &Subject<'_>, text: &Text<'_>, format: Format) {
    let Ok(template) = Template::compile(text.value, format, &mut |_| Ok(Secret::new(MASK.to_owned()))) else { return };
    for fault in template.survey(&subject.webhook.kind.schema) {
        report.doubt(Lint::UnknownPath, text, fault);
    }
}

/// A JSONPath into the event.
fn json_path(report: &mut Report, subject: &Subject<'_>, text: &Text<'_>) {
    let Ok(path) = Path::parse(text.value) else { return };
    if let Err(fix) = subject.webhook.kind.look_up(&path) {
        report.warning(Lint::UnknownPath, text.at, format!("the kind's schema has no `{}`", text.value), fix);
    }
}

/// A response's headers are there by their names in lower case.
fn header(report: &mut Report, text: &Text<'_>, path: &Path) {
    let members = path.members().unwrap_or_default();
    let Some(["headers", name]) = members.first_chunk() else { return };
    let lower = name.to_lowercase();
    if lower != *name {
        let problem = format!("a response has no header `{name}`: their names are in lower case here");
        report.warning(Lint::UnknownPath, text.at, problem, format!("write \"$.headers['{lower}']\""));
    }
}
