//! A webhook's definition as people may see it: comments and layout kept, secrets masked.
//!
//! What is masked, beside what the lint `plain-secret` finds: URLs behind their host, all that authenticates and signs, headers that
//! sound like secrets, and in comments and bodies what is written as a secret would be. References are shown: they say where a secret
//! is and not what it is. In the end the webhook's own mask goes over all of it. Rather too much is masked than too little.

mod comments;
mod prose;
mod value;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::document::{At, Document, Report, Text};
use super::lint::{self, PASTED_KEY, is_secret_header, may_be_secret};
use super::load::{Source, TOML_BYTES_MAX};
use super::read;
use super::table::{Entry, Node, Table, as_text};
use crate::diagnostic::Diagnostic;
use crate::secret::{MASK, Mask, Secret};
use crate::webhook::Webhook;

use value::{is_open, url};

/// Tables in which every value is a secret but those that are known to be none.
const CREDENTIALS: [&str; 3] = ["auth", "signing", "tls"];

/// The shortest text of a body that is masked wherever it comes back, in bytes: less is a word as others.
const TYPED_BYTES_MIN: usize = 8;

/// A definition as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownDefinition {
    /// The webhook's file, as a path from the configuration folder.
    pub file: String,
    /// What stands in it.
    pub toml: String,
    /// The name of the body's file, where it has one.
    pub body_file: Option<String>,
    /// The template of the body, where the webhook has one.
    pub template: Option<String>,
}

/// The definition that a webhook was compiled from, as people may see it.
#[must_use]
pub fn shown_definition(webhook: &Webhook) -> ShownDefinition {
    let definition = &webhook.definition;
    let document = Document { name: definition.file.clone(), text: definition.text.expose().to_owned(), shown: true };
    let (parsed, _) = DeTable::parse_recoverable(&document.text);
    let root = Table::new(&document, String::new(), At::new(&document, 0..0), parsed.get_ref());
    let body = match &definition.body_file {
        Some(file) => Some(Cow::Borrowed(file.text.expose())),
        None => root.text(&mut Report::default(), "body").map(|text| Cow::Owned(text.value.to_owned())),
    };
    ShownDefinition {
        file: definition.file.clone(),
        toml: toml(&document, &root, &webhook.mask),
        body_file: definition.body_file.as_ref().map(|file| webhook.mask.apply(&file.name).into_owned()),
        template: body.map(|body| template(&body, &webhook.mask)),
    }
}

/// What is typed in a webhook's file, or in its body, and is a secret: receivers repeat it as they do with references.
pub(super) fn typed(document: &Document, root: &Table<'_>, body: Option<&str>) -> Vec<Secret> {
    let found = lint::typed(document, root, true);
    let values = found.into_iter().filter_map(|at| document.text.get(at)).map(unquoted);
    let body = body.into_iter().flat_map(|body| prose::typed(body).into_iter().filter_map(|at| body.get(at)));
    let body = body.filter(|text| text.len() >= TYPED_BYTES_MIN).map(str::to_owned);
    values.chain(body).map(Secret::new).collect()
}

/// What a literal says; what is a part of one says what it is.
fn unquoted(literal: &str) -> String {
    let whole = format!("it = {literal}");
    let parsed = literal.starts_with(['"', '\'']).then(|| DeTable::parse(&whole).ok()).flatten();
    let text = parsed.and_then(|table| match table.get_ref().get("it")?.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    });
    text.unwrap_or_else(|| literal.to_owned())
}

/// A body's template with what is secret in it masked.
fn template(body: &str, mask: &Mask) -> String {
    let found = prose::typed(body).into_iter().map(|at| (at, MASK.to_owned())).collect();
    mask.apply(&replaced(body, found)).into_owned()
}

/// A webhook's file with what is secret in it masked.
fn toml(document: &Document, root: &Table<'_>, mask: &Mask) -> String {
    let mut hiding = Hiding { mask, lines: false, found: Vec::new() };
    for at in lint::typed(document, root, true) {
        // What is quoted stays a text, and what is a part of one stays in it.
        let quoted = document.text.get(at.clone()).is_some_and(|literal| literal.starts_with(['"', '\'']));
        hiding.found.push((at, if quoted { quote(MASK) } else { MASK.to_owned() }));
    }
    for entry in &root.entries {
        let credentials = CREDENTIALS.contains(&entry.name);
        hiding.entry(entry, if credentials { Place::Credentials } else { Place::Open });
    }
    for at in comments::typed(&document.text) {
        hiding.found.push((at, MASK.to_owned()));
    }
    mask.apply(&replaced(&document.text, hiding.found)).into_owned()
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where most values are no secrets.
    Open,
    /// Below a name that sounds like a secret.
    Secret,
    /// In a table of credentials.
    Credentials,
}

/// What is masked in a file, and with what.
struct Hiding<'m> {
    mask: &'m Mask,
    /// Whether lines are looked at, in which URLs are masked by themselves.
    lines: bool,
    found: Vec<(Range<usize>, String)>,
}

impl Hiding<'_> {
    fn entry(&mut self, entry: &Entry<'_>, place: Place) {
        let written = entry.key_at.document.text.get(entry.key_at.start..entry.key_at.end).unwrap_or_default();
        if written.contains('\\') && self.knows(entry.name) {
            self.hide(entry.key_at);
        }
        let sounds = place == Place::Open && is_secret_header(entry.name);
        self.node(entry.name, entry.node, if sounds { Place::Secret } else { place });
    }

    fn node(&mut self, name: &str, node: Node<'_>, place: Place) {
        let document = node.at.document;
        match node.value {
            DeValue::Table(table) => {
                for entry in Table::new(document, String::new(), node.at, table).entries {
                    self.entry(&entry, place);
                }
            }
            DeValue::Array(items) => {
                for item in items {
                    self.node(name, Node { value: item.get_ref(), at: At::new(document, item.span()) }, place);
                }
            }
            DeValue::String(_) => {
                if let Some(text) = as_text(node) {
                    self.text(name, &text, place);
                }
            }
            // A number without its quotes may be a credential all the same.
            _ if is_secret(name, place) => self.hide(node.at),
            _ => {}
        }
    }

    fn text(&mut self, name: &str, text: &Text<'_>, place: Place) {
        let value = text.value;
        let literal = text.at.document.text.get(text.at.start..text.at.end).unwrap_or_default();
        if name == "url" || name == "token_url" || (name != "body" && is_url(value)) {
            if !self.lines || literal.contains('\\') || !value.contains("://") {
                self.found.push((text.at.start..text.at.end, quote(&url(value))));
            }
            return;
        }
        let about = place == Place::Secret && !may_be_secret(value);
        if value.contains(PASTED_KEY) || (is_secret(name, place) && !about && !is_open(value)) {
            return self.hide(text.at);
        }
        if literal.contains('\\') && self.knows(value) {
            return self.hide(text.at);
        }
        // A body may well link to something; nothing else in the file has a reason to.
        let urls = if name == "body" { Vec::new() } else { prose::urls(value) };
        for part in prose::typed(value).into_iter().chain(urls) {
            let at = text.within(part);
            self.found.push((at.start..at.end, MASK.to_owned()));
        }
    }

    /// Whether a secret of the webhook stands in a text, which escapes may keep from being found in the file.
    fn knows(&self, text: &str) -> bool {
        matches!(self.mask.apply(text), Cow::Owned(_))
    }

    fn hide(&mut self, at: At<'_>) {
        self.found.push((at.start..at.end, quote(MASK)));
    }
}

/// Whether a value of this name is a secret where it stands.
fn is_secret(name: &str, place: Place) -> bool {
    match place {
        Place::Open => false,
        Place::Secret => true,
        Place::Credentials => !lint::is_public_field(name),
    }
}

/// Whether a text is a URL and nothing else.
fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| scheme == "https" || scheme == "http") && !text.contains(char::is_whitespace)
}

/// A text as TOML writes it; JSON writes it in the same way.
fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// A text with parts of it replaced. Of those that overlap the widest counts, and what it leaves of the others is masked too.
fn replaced(text: &str, mut found: Vec<(Range<usize>, String)>) -> String {
    found.sort_by_key(|(at, _)| (at.start, std::cmp::Reverse(at.end)));
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for (at, by) in found {
        if at.start >= end {
            shown.push_str(text.get(end..at.start).unwrap_or_default());
            shown.push_str(&by);
        }
        end = end.max(at.end);
    }
    shown.push_str(text.get(end..).unwrap_or_default());
    shown
}

/// Masks in the lines of diagnostics what nobody but who has the files may see: what a definition is shown without.
pub fn hide_lines(source: &Source, diagnostics: &mut [Diagnostic]) {
    for found in diagnostics.chunk_by_mut(|one, next| one.file == next.file) {
        let placed = found.iter().any(|one| one.place.is_some());
        let Some(file) = found.first().filter(|_| placed).map(|one| one.file.clone()) else { continue };
        let Ok(text) = read::text(&source.dir.join(&file), TOML_BYTES_MAX) else {
            // A line of what cannot be read any more cannot be looked into.
            for place in found.iter_mut().filter_map(|one| one.place.as_mut()) {
                place.show("");
            }
            continue;
        };
        let document = Document { name: file, text, shown: true };
        lint::mask(found, &document, &secrets_of_lines(&document));
    }
}

/// What is secret in a file, whatever it is a file of and be it whole or not.
fn secrets_of_lines(document: &Document) -> Vec<Range<usize>> {
    let mut found = prose::typed(&document.text);
    found.extend(prose::urls(&document.text));
    if !lint::is_toml(&document.name) {
        return found;
    }
    let (parsed, faults) = DeTable::parse_recoverable(&document.text);
    let root = Table::new(document, String::new(), At::new(document, 0..0), parsed.get_ref());
    found.extend(lint::typed(document, &root, faults.is_empty()));
    found.extend(comments::typed(&document.text));
    let mask = Mask::default();
    let mut hiding = Hiding { mask: &mask, lines: true, found: Vec::new() };
    for entry in &root.entries {
        let credentials = CREDENTIALS.contains(&entry.name);
        hiding.entry(entry, if credentials { Place::Credentials } else { Place::Open });
    }
    found.extend(hiding.found.into_iter().map(|(at, _)| at));
    found
}

#[cfg(test)]
mod tests;
