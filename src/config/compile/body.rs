//! `body`, `body_file` and `content_type`, and the proof that the body is valid for the kind's samples.

use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Method};
use serde::de::IgnoredAny;

use crate::config::document::{At, Document, Report, Text};
use crate::config::references::Resolver;
use crate::config::table::Table;
use crate::kind::Kind;
use crate::secret::{MASK, Secret};
use crate::template::{Format, Template};
use crate::webhook::definition::BodyFile;
use crate::webhook::{Body, Triggers};

/// The content type where nothing is said.
const JSON: &str = "application/json";

/// What decides how a body is judged.
pub(super) struct Judged<'a> {
    pub(super) kind: &'a Kind,
    pub(super) triggers: &'a Triggers,
    pub(super) bytes_max: usize,
}

/// What a body was compiled from.
#[derive(Default)]
pub(super) struct From {
    /// The source of its template.
    pub(super) text: Option<Arc<Secret>>,
    /// Its file.
    pub(super) file: Option<BodyFile>,
}

/// Compiles `content_type`.
pub(super) fn content_type(report: &mut Report, root: &Table<'_>) -> Option<(HeaderValue, Format)> {
    let text = root.text(report, "content_type");
    let written = text.as_ref().map_or(JSON, |text| text.value);
    let essence = written.split(';').next().unwrap_or_default().trim().to_lowercase();
    let format = match &*essence {
        "application/x-www-form-urlencoded" => Some(Format::Form),
        JSON => Some(Format::Json),
        other if other.starts_with("application/") && other.ends_with("+json") => Some(Format::Json),
        other if other.starts_with("text/") && other.len() > "text/".len() => Some(Format::Text),
        _ => None,
    };
    let value = HeaderValue::from_str(written).ok();
    if let (Some(value), Some(format)) = (value, format) {
        return Some((value, format));
    }
    let at = text.map_or(root.at, |text| text.at);
    let fix = "use application/json, application/…+json, text/… or application/x-www-form-urlencoded";
    report.error(at, "this content type is not supported", fix);
    None
}

/// Compiles the body. What it was compiled from goes to `from`, with the body's file where there is one.
pub(super) fn body(
    report: &mut Report,
    root: &Table<'_>,
    (format, method): (Format, &Method),
    judged: Option<&Judged<'_>>,
    resolver: &mut Resolver<'_, '_>,
    from: &mut From,
) -> Option<Body> {
    if let (Some(_), Some(file)) = (root.get("body"), root.get("body_file")) {
        report.error(file.key_at, "`body` and `body_file` are both given", "leave one of them");
        return None;
    }
    if let Some(text) = root.text(report, "body") {
        from.text = Some(Arc::new(Secret::new(text.value.to_owned())));
        return template(report, &text, format, judged, resolver);
    }
    if let Some(name) = root.text(report, "body_file") {
        let path = Path::new("webhooks").join(name.value);
        let file = resolver.read(&path);
        let source = match &*file {
            Ok((source, _)) => source,
            Err(problem) => {
                let fix = "write the path of a template (it is taken from the folder of this file)";
                report.error(name.at, format!("the file {problem}"), fix);
                return None;
            }
        };
        source.hash(&mut resolver.hasher);
        let text = resolver.shared(&path, source);
        from.file = Some(BodyFile { name: name.value.to_owned(), text: Arc::clone(&text) });
        from.text = Some(text);
        let document = Document { name: format!("webhooks/{}", name.value), text: source.clone(), shown: true };
        let text = Text { value: &document.text, at: At::new(&document, 0..document.text.len()) };
        return template(report, &text, format, judged, resolver);
    }
    if root.get("body").is_some() || root.get("body_file").is_some() {
        return None;
    }
    if *method == Method::GET || *method == Method::DELETE {
        return Some(Body::None);
    }
    if format == Format::Form {
        report.error(root.at, "a form needs a `body`: the event itself is JSON", "write body = \"name={{data.id}}\"");
        return None;
    }
    Some(Body::Event)
}

fn template(
    report: &mut Report,
    text: &Text<'_>,
    format: Format,
    judged: Option<&Judged<'_>>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Body> {
    let template = match resolver.template(text.value, format, Resolver::resolve_shown) {
        Ok(template) => template,
        Err(faults) => {
            for fault in faults {
                report.fault(text, fault);
            }
            return None;
        }
    };
    if format != Format::Json {
        return Some(Body::Text(template));
    }
    if let Some(judged) = judged {
        judge(report, text, &template, judged);
    }
    Some(Body::Json(template))
}

/// Renders every sample that the triggers want; the first that comes out as no JSON is reported.
fn judge(report: &mut Report, text: &Text<'_>, template: &Template, judged: &Judged<'_>) {
    let wanted = |event_type: &str| judged.triggers.include(event_type) || judged.triggers.are_manual();
    for sample in judged.kind.samples.iter().filter(|sample| wanted(&sample.event_type)) {
        let problem = match template.render(&sample.payload, false, judged.bytes_max) {
            Ok(rendered) if serde_json::from_str::<IgnoredAny>(&rendered.text).is_ok() => continue,
            Ok(_) => {
                let error = masked_error(text, &sample.payload, judged.bytes_max).unwrap_or_default();
                format!("with the sample `{}` the body is no JSON{error}", sample.name)
            }
            Err(error) => format!("the body cannot be rendered for the sample `{}`: {error}", sample.name),
        };
        report.error(first_line(text), problem, "correct the template so that every event gives JSON");
        return;
    }
}

/// The first line of the text that says anything.
fn first_line<'t>(text: &Text<'t>) -> At<'t> {
    let start = text.value.len() - text.value.trim_start().len();
    let line = text.value.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    if line.is_empty() { text.at } else { text.within(start..start + line.trim_end().len()) }
}

/// How much is shown of the rendered line before and behind its fault, in characters.
const SHOWN_CHARS_MAX: usize = 40;

/// What is wrong with the body and where, as it is rendered with every reference masked.
fn masked_error(text: &Text<'_>, payload: &serde_json::Value, bytes_max: usize) -> Option<String> {
    let masked = Template::compile(text.value, Format::Json, &mut |_| Ok(Secret::new(MASK.to_owned()))).ok()?;
    let rendered = masked.render(payload, false, bytes_max).ok()?.text;
    let error = serde_json::from_str::<IgnoredAny>(&rendered).err()?;
    let line = rendered.lines().nth(error.line().checked_sub(1)?)?;
    // The column counts bytes.
    let before = line.char_indices().take_while(|(at, _)| *at < error.column()).count();
    let skipped = before.saturating_sub(SHOWN_CHARS_MAX);
    let shown: String = line.chars().skip(skipped).take(before - skipped + SHOWN_CHARS_MAX).collect();
    Some(format!(": {error} of what is rendered, near `{}`", shown.trim()))
}
