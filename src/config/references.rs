//! References: `${env:NAME}` and `${file:PATH}` in what people wrote.

use std::hash::{DefaultHasher, Hash};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::document::{At, Report, Text};
use super::inputs::{Inputs, Looked, TextFile, Unread};
use crate::diagnostic::{Fault, Lint};
use crate::secret::{MASK, Secret};
use crate::template::{Format, Template};
use crate::webhook::grant::{AssertionKey, KeyError};
use crate::webhook::tls::{Authorities, ClientCertificate, ClientCertificateError};

/// What stands for a reference that has no value, where that is allowed: harmless in URLs, headers and bodies.
pub const PLACEHOLDER: &str = "PLACEHOLDER";

/// The largest referenced value, in bytes.
pub const REFERENCE_BYTES_MAX: u64 = 64 * 1024;

/// What looks references up for one file.
pub(super) struct Resolver<'r, 's> {
    inputs: &'r mut Inputs<'s>,
    /// An inactive webhook may lack its secrets.
    lenient: bool,
    /// References without a value, that a lenient resolver passed over: text, problem, fix.
    unset: Vec<(String, String, String)>,
    /// Over all values: a changed secret is a changed webhook.
    pub(super) hasher: DefaultHasher,
    /// The values that were found, to be masked in what others say.
    pub(super) seen: Vec<Secret>,
}

impl<'r, 's> Resolver<'r, 's> {
    pub(super) fn new(inputs: &'r mut Inputs<'s>, lenient: bool) -> Self {
        Self { inputs, lenient, unset: Vec::new(), hasher: DefaultHasher::new(), seen: Vec::new() }
    }

    /// The value itself.
    pub(super) fn resolve(&mut self, name: &str) -> Looked {
        let looked = self.look_up(name, &format!("${{{name}}}"));
        if let Ok(value) = &looked
            && value.expose() != PLACEHOLDER
            && !self.seen.contains(value)
        {
            self.seen.push(value.clone());
        }
        looked
    }

    /// What stands in a file of keys, by its path from the configuration folder: nothing that anybody could repeat.
    pub(super) fn resolve_file(&mut self, path: &str) -> Looked {
        self.look_up(&format!("file:{path}"), path)
    }

    /// The certificates of a file, by its path from the configuration folder.
    pub(super) fn authorities(&mut self, path: &Path) -> Result<Arc<Authorities>, Unread> {
        self.inputs.authorities(path)
    }

    /// A client certificate, from two files with their paths.
    pub(super) fn client_certificate(
        &mut self,
        chain: (&str, &Secret),
        key: (&str, &Secret),
    ) -> Result<Arc<ClientCertificate>, ClientCertificateError> {
        self.inputs.client_certificate(chain, key)
    }

    /// A key that signs assertions, from a file with its path.
    pub(super) fn assertion_key(&mut self, path: &str, pem: &Secret) -> Result<Arc<AssertionKey>, KeyError> {
        self.inputs.assertion_key(path, pem)
    }

    /// Remembers what an inactive webhook may lack, by how it is written.
    pub(super) fn pass_over(&mut self, written: &str, problem: String, fix: &str) {
        if self.lenient {
            self.unset.push((written.to_owned(), problem, fix.to_owned()));
        }
    }

    /// `written` is how the reference stands in the file.
    fn look_up(&mut self, name: &str, written: &str) -> Looked {
        let looked = self.inputs.look_up(name);
        let looked = match looked {
            Err((problem, fix)) if self.lenient && is_wellformed(name) => {
                self.unset.push((written.to_owned(), problem, fix));
                Ok(Secret::new(PLACEHOLDER.to_owned()))
            }
            other => other,
        };
        if let Ok(value) = &looked {
            (name, value.expose()).hash(&mut self.hasher);
        }
        looked
    }

    /// The value as it stands in a template: masked where the load is for people's eyes.
    pub(super) fn resolve_shown(&mut self, name: &str) -> Looked {
        let looked = self.resolve(name)?;
        Ok(if self.inputs.source.masked { Secret::new(MASK.to_owned()) } else { looked })
    }

    /// The value for a header: a line break in it would be another header.
    pub(super) fn resolve_header(&mut self, name: &str) -> Looked {
        let looked = self.resolve_shown(name)?;
        if looked.expose().chars().any(|character| character.is_control() && character != '\t') {
            return Err((
                format!("the value of `{name}` holds a line break or another control character, and a header cannot"),
                "a file may end in one line break, which is dropped; remove the others".to_owned(),
            ));
        }
        Ok(looked)
    }

    /// Compiles a template, or finds what an equal one was compiled to.
    pub(super) fn template(
        &mut self,
        source: &str,
        format: Format,
        resolve: fn(&mut Self, &str) -> Looked,
    ) -> Result<Arc<Template>, Vec<Fault>> {
        if let Some(known) = self.inputs.templates.get(source, format) {
            return Ok(known);
        }
        let mut refers = false;
        let template = Arc::new(Template::compile(source, format, &mut |name| {
            refers = true;
            resolve(self, name)
        })?);
        if !refers {
            self.inputs.templates.keep(source, format, &template);
        }
        Ok(template)
    }

    /// Reads a file that decides what the configuration is, by its path from the configuration folder.
    pub(super) fn read(&mut self, path: &Path) -> Arc<TextFile> {
        self.inputs.read(path)
    }

    /// The text of a file that was read, kept once for all who keep it.
    pub(super) fn shared(&mut self, path: &Path, text: &str) -> Arc<Secret> {
        self.inputs.shared_text(path, text)
    }

    /// Whether what is not there is passed over.
    pub(super) fn has_placeholders(&self) -> bool {
        self.lenient || self.inputs.source.placeholders
    }

    /// Whether values are masked.
    pub(super) fn masks(&self) -> bool {
        self.inputs.source.masked
    }

    /// A text with its references replaced and `$${` read as `${`. Nothing in it is a template.
    pub(super) fn expand(&mut self, report: &mut Report, text: &Text<'_>) -> Option<Secret> {
        let mut expanded = String::with_capacity(text.value.len());
        let mut whole = true;
        for piece in pieces(text.value) {
            let outcome = match piece {
                Piece::Literal(range) => {
                    expanded.push_str(text.value.get(range).unwrap_or_default());
                    continue;
                }
                Piece::Dollar(_) => {
                    expanded.push_str("${");
                    continue;
                }
                Piece::Reference(range, name) => {
                    self.resolve_header(name).map_err(|(problem, fix)| Fault { at: range, problem, fix: Some(fix) })
                }
                Piece::Open(range) => Err(unclosed(range)),
            };
            match outcome {
                Ok(value) => expanded.push_str(value.expose()),
                Err(fault) => {
                    report.fault(text, fault);
                    whole = false;
                }
            }
        }
        whole.then(|| Secret::new(expanded))
    }

    /// Reports what a lenient resolver passed over, each at its first place in the document.
    pub(super) fn report_unset(&mut self, report: &mut Report, at: At<'_>) {
        self.unset.sort();
        self.unset.dedup();
        for (reference, problem, fix) in self.unset.drain(..) {
            let place = at
                .document
                .text
                .find(&reference)
                .map_or(at, |start| At::new(at.document, start..start + reference.len()));
            let fix = format!("{fix} before the webhook becomes active");
            report.warning(Lint::UnsetReference, place, problem, fix);
        }
    }
}

fn is_wellformed(name: &str) -> bool {
    name.starts_with("env:") || name.starts_with("file:")
}

/// The fault of a `${` that is never closed.
pub(super) fn unclosed(range: Range<usize>) -> Fault {
    Fault::new(range, "`${` begins a reference that has no `}`", "close it, or write $${ for a literal ${")
}

/// A part of a text.
pub(super) enum Piece<'t> {
    /// Text as it stands.
    Literal(Range<usize>),
    /// `$${`.
    Dollar(Range<usize>),
    /// `${…}` with what stands inside.
    Reference(Range<usize>, &'t str),
    /// `${` without its `}`.
    Open(Range<usize>),
}

/// Takes a text apart.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find("${")) {
        let start = from + found;
        if text.get(from..start).is_some_and(|before| before.ends_with('$')) {
            pieces.push(Piece::Literal(from..start - 1));
            pieces.push(Piece::Dollar(start - 1..start + 2));
            from = start + 2;
            continue;
        }
        let inside = text.get(start + 2..).unwrap_or_default();
        if inside.starts_with('{') {
            // `${{x}}` is a dollar sign and a template.
            pieces.push(Piece::Literal(from..start + 1));
            from = start + 1;
            continue;
        }
        pieces.push(Piece::Literal(from..start));
        let Some(length) = inside.find(['}', '\n']).filter(|end| inside[*end..].starts_with('}')) else {
            pieces.push(Piece::Open(start..start + 2));
            from = start + 2;
            continue;
        };
        pieces.push(Piece::Reference(start..start + 3 + length, inside.get(..length).unwrap_or_default()));
        from = start + 3 + length;
    }
    pieces.push(Piece::Literal(from..text.len()));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |piece: Piece<'_>| match piece {
            Piece::Literal(range) => text[range].to_owned(),
            Piece::Dollar(range) => format!("dollar {}", &text[range]),
            Piece::Reference(range, name) => format!("reference {} {name}", &text[range]),
            Piece::Open(range) => format!("open {}", &text[range]),
        };
        pieces(text).into_iter().map(show).filter(|piece| !piece.is_empty()).collect()
    }

    #[test]
    fn a_text_is_taken_apart_at_its_references() {
        assert_eq!(shown("a${env:B}c"), ["a", "reference ${env:B} env:B", "c"]);
        assert_eq!(shown("$${env:B}"), ["dollar $${", "env:B}"]);
        assert_eq!(shown("${{x}}"), ["$", "{{x}}"]);
        assert_eq!(shown("a${b"), ["a", "open ${", "b"]);
        assert_eq!(shown("${a\n}"), ["open ${", "a\n}"]);
        assert_eq!(shown("$ {a}"), ["$ {a}"]);
    }
}
