//! A text with places: what people wrote, where it stands, and the report of what is wrong with it.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, Fault, Level, Lint, Place};
use crate::kind::value::cut;

/// One text that people wrote: a file, or the value of an override.
#[derive(Debug)]
pub(super) struct Document {
    /// What diagnostics call it: a path from the configuration folder, or the name of a variable.
    pub(super) name: String,
    /// The text.
    pub(super) text: String,
    /// Whether diagnostics may show its lines: a variable's value may be a secret.
    pub(super) shown: bool,
}

/// A place in a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'t> {
    pub(super) document: &'t Document,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'t> At<'t> {
    /// These bytes of a document.
    pub(super) fn new(document: &'t Document, range: Range<usize>) -> Self {
        Self { document, start: range.start, end: range.end }
    }
}

/// A text value with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'t> {
    /// What it says, escapes resolved.
    pub(super) value: &'t str,
    /// The literal, quotes included.
    pub(super) at: At<'t>,
}

impl<'t> Text<'t> {
    /// The place of a part of the value.
    pub(super) fn within(&self, part: Range<usize>) -> At<'t> {
        let literal = self.at.document.text.get(self.at.start..self.at.end).unwrap_or_default();
        let start = self.at.start + raw_offset(literal, self.value, part.start);
        let end = self.at.start + raw_offset(literal, self.value, part.end.max(part.start));
        At { document: self.at.document, start, end: end.max(start) }
    }
}

/// Where a byte of a decoded TOML string stands in its literal.
///
/// The walk keeps literal and value side by side, so that it needs no rules of its own about what a newline becomes.
fn raw_offset(literal: &str, value: &str, offset: usize) -> usize {
    if literal == value {
        return offset.min(literal.len());
    }
    let (open, basic) = match literal.as_bytes() {
        [b'"', b'"', b'"', ..] => (3, true),
        [b'\'', b'\'', b'\'', ..] => (3, false),
        [b'"', ..] => (1, true),
        _ => (1, false),
    };
    let mut raw = open.min(literal.len());
    let first = literal.get(raw..).unwrap_or_default();
    if open == 3 {
        raw += if first.starts_with("\r\n") { 2 } else { usize::from(first.starts_with('\n')) };
    }
    let mut decoded = 0;
    while decoded < offset.min(value.len()) {
        let rest = literal.get(raw..).unwrap_or_default();
        let Some(next) = rest.chars().next() else { break };
        let width = value.get(decoded..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        if basic && next == '\\' {
            let (taken, gives) = escape(rest);
            raw += taken;
            decoded += if gives { width } else { 0 };
        } else if next == '\r' && !value.get(decoded..).unwrap_or_default().starts_with('\r') {
            raw += 1;
        } else {
            raw += next.len_utf8();
            decoded += width;
        }
    }
    raw
}

/// How many bytes the escape at the beginning of a literal takes, and whether it gives a character.
fn escape(rest: &str) -> (usize, bool) {
    match rest.chars().nth(1) {
        Some('x') => (4, true),
        Some('u') => (6, true),
        Some('U') => (10, true),
        Some(' ' | '\t' | '\r' | '\n') => {
            let after = rest.get(1..).unwrap_or_default();
            (1 + after.len() - after.trim_start_matches([' ', '\t', '\r', '\n']).len(), false)
        }
        _ => (2, true),
    }
}

/// How many faults of one file are told, and how many finds of each lint in it; one more says that there are others.
pub(super) const FAULTS_MAX: usize = 100;

/// The longest sentence about a fault, in characters: it may repeat what is written.
const SENTENCE_CHARS_MAX: usize = 1000;

/// What is wrong, collected on the way.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) diagnostics: Vec<Diagnostic>,
    /// How many there were, also those that are not told.
    pub(super) found: usize,
}

impl Report {
    /// Something that keeps the configuration from being used.
    pub(super) fn error(&mut self, at: At<'_>, problem: impl Into<String>, fix: impl Into<String>) {
        self.push(None, at, &problem.into(), Some(&fix.into()));
    }

    /// Something to look at.
    pub(super) fn warning(&mut self, lint: Lint, at: At<'_>, problem: impl Into<String>, fix: impl Into<String>) {
        self.push(Some(lint), at, &problem.into(), Some(&fix.into()));
    }

    /// A fault inside a text value.
    pub(super) fn fault(&mut self, text: &Text<'_>, fault: Fault) {
        self.push(None, text.within(fault.at), &fault.problem, fault.fix.as_deref());
    }

    /// Something to look at inside a text value.
    pub(super) fn doubt(&mut self, lint: Lint, text: &Text<'_>, fault: Fault) {
        self.push(Some(lint), text.within(fault.at), &fault.problem, fault.fix.as_deref());
    }

    /// A fault of a file as a whole.
    pub(super) fn file_error(&mut self, file: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) {
        let (file, problem, fix) = (file.into(), problem.into(), Some(fix.into()));
        self.found += 1;
        self.diagnostics.push(Diagnostic { level: Level::Error, lint: None, file, place: None, problem, fix });
    }

    /// What a lint found is a warning, all else is an error.
    fn push(&mut self, lint: Option<Lint>, at: At<'_>, problem: &str, fix: Option<&str>) {
        let level = if lint.is_some() { Level::Warning } else { Level::Error };
        let file = &at.document.name;
        self.found += 1;
        let told =
            self.diagnostics.iter().filter(|one| one.level == level && one.lint == lint && one.file == *file).count();
        if told > FAULTS_MAX {
            return;
        }
        let (problem, fix) = if told < FAULTS_MAX {
            (cut(problem, SENTENCE_CHARS_MAX), fix.map(|fix| cut(fix, SENTENCE_CHARS_MAX)))
        } else {
            let problem = format!("there are others like the {FAULTS_MAX} of this file that are told");
            (problem, Some("mend these first".to_owned()))
        };
        let place = at.document.shown.then(|| Place::locate(&at.document.text, at.start..at.end));
        self.diagnostics.push(Diagnostic { level, lint, file: file.clone(), place, problem, fix });
    }

    /// Whether something keeps the configuration from being used.
    pub(super) fn refuses(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn place_of(toml: &str, part: &str) -> (usize, usize) {
        let document = Document { name: "x".to_owned(), text: toml.to_owned(), shown: true };
        let table = toml::de::DeTable::parse(&document.text).unwrap();
        let (_, value) = table.get_ref().iter().next().unwrap();
        let decoded = value.get_ref().as_str().unwrap();
        let text = Text { value: decoded, at: At::new(&document, value.span()) };
        let start = decoded.find(part).unwrap();
        let at = text.within(start..start + part.len());
        let place = Place::locate(&document.text, at.start..at.end);
        assert_eq!(place.width, part.chars().count(), "{toml}");
        (place.line, place.column)
    }

    #[test]
    fn a_part_of_a_string_is_found_in_its_literal() {
        assert_eq!(place_of("a = 'x {{y}}'", "{{y}}"), (1, 8));
        assert_eq!(place_of("a = \"x {{y}}\"", "{{y}}"), (1, 8));
        assert_eq!(place_of(r#"a = "\"\\\u00e9\t{{y}}""#, "{{y}}"), (1, 18));
        assert_eq!(place_of("a = '''\nü {{y}}\n'''", "{{y}}"), (2, 3));
        assert_eq!(place_of("a = '''ü {{y}}'''", "{{y}}"), (1, 10));
        assert_eq!(place_of("a = \"\"\"\n  \\\n   x\n\\\"{{y}}\"\"\"", "{{y}}"), (4, 3));
        assert_eq!(place_of("a = '''\r\nb\r\n {{y}}\r\n'''", "{{y}}"), (3, 2));
        assert_eq!(place_of("a = \"\"\"\r\nb\r\n {{y}}\r\n\"\"\"", "{{y}}"), (3, 2));
    }
}
