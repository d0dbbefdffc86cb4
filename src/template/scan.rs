//! The first reading of a source: where its tags, its literal text and its references are.
//!
//! It gives exact byte offsets, which the handlebars crate's tree does not have, keeps from that crate's parser what
//! could overflow its stack or panic it, and hands it a skeleton: the source with every literal character that is no
//! white space replaced by `x`, of the same length, so that nothing in the literal text can be taken for syntax.

use std::ops::Range;

use crate::diagnostic::Fault;
use crate::secret::Secret;

use super::{Format, Resolve};

/// The longest source.
pub(super) const SOURCE_BYTES_MAX: usize = 256 * 1024;
/// The most tags in one source.
pub(super) const TAGS_MAX: usize = 1024;
/// The deepest nesting of blocks; each `else if` counts as one level, as it does in the tree.
pub(super) const BLOCK_DEPTH_MAX: usize = 32;
/// The most opening brackets in one tag, which bounds how deep its subexpressions and literals can be nested.
pub(super) const TAG_BRACKETS_MAX: usize = 32;

/// The longest tag that is no comment, in bytes.
pub(super) const TAG_BYTES_MAX: usize = 4096;

/// After how many faults no more are looked for.
pub(super) const FAULTS_MAX: usize = 50;

/// What stands in the skeleton for a lone `.`, which the crate's grammar does not know.
pub(super) const THIS: &str = ":";

/// A source, taken apart: literal, tag, literal, …, tag, literal. There is one literal more than there are tags.
pub(super) struct Scanned {
    /// The literal texts before, between and after the tags; they may be empty.
    pub(super) literals: Vec<Literal>,
    /// The tags in order.
    pub(super) tags: Vec<Tag>,
    /// What the crate's parser reads instead of the source, byte for byte as long.
    pub(super) skeleton: String,
}

/// Literal text between two tags.
#[derive(Default)]
pub(super) struct Literal {
    /// All of it.
    pub(super) at: Range<usize>,
    /// What of it is output; escaping backslashes and dollar signs fall between the chunks.
    pub(super) chunks: Vec<Chunk>,
}

/// A piece of literal text.
pub(super) enum Chunk {
    /// These bytes of the source.
    Text(Range<usize>),
    /// A reference's value.
    Reference(Range<usize>, Secret),
}

/// A `{{…}}`.
pub(super) struct Tag {
    /// Its bytes, braces included.
    pub(super) at: Range<usize>,
    /// What it is.
    pub(super) kind: TagKind,
}

/// What a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagKind {
    /// `{{x}}`
    Value,
    /// `{{{x}}}` or `{{&x}}`
    Raw,
    /// `{{! … }}`
    Comment,
    /// `{{#x}}`
    Open,
    /// `{{else}}` or `{{^}}`
    Else,
    /// `{{else if x}}`
    ElseChain,
    /// `{{/x}}`
    Close,
}

/// Takes a source apart.
pub(super) fn scan(source: &str, format: Format, resolve: Resolve<'_>) -> Result<Scanned, Vec<Fault>> {
    if source.len() > SOURCE_BYTES_MAX {
        let problem = format!("the template has {} bytes, and {SOURCE_BYTES_MAX} are allowed", source.len());
        return Err(vec![Fault::new(0..0, problem, "shorten it")]);
    }
    let mut scanner = Scanner {
        source,
        format,
        resolve,
        at: 0,
        chunk_from: 0,
        literal: Literal::default(),
        literals: Vec::new(),
        tags: Vec::new(),
        skeleton: String::with_capacity(source.len()),
        open: Vec::new(),
        faults: Vec::new(),
    };
    scanner.run();
    if scanner.faults.is_empty() {
        Ok(Scanned { literals: scanner.literals, tags: scanner.tags, skeleton: scanner.skeleton })
    } else {
        Err(scanner.faults)
    }
}

struct Scanner<'s, 'r> {
    source: &'s str,
    format: Format,
    resolve: Resolve<'r>,
    at: usize,
    chunk_from: usize,
    literal: Literal,
    literals: Vec<Literal>,
    tags: Vec<Tag>,
    skeleton: String,
    /// The blocks that are open: name, tag, and how many levels its `else if`s have added.
    open: Vec<(&'s str, Range<usize>, usize)>,
    faults: Vec<Fault>,
}

impl<'s> Scanner<'s, '_> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn fault(&mut self, at: Range<usize>, problem: impl Into<String>, fix: impl Into<String>) {
        self.faults.push(Fault::new(at, problem, fix));
    }

    fn run(&mut self) {
        while let Some(next) = self.rest().chars().next() {
            if self.rest().starts_with("{{") {
                self.braces();
            } else if self.rest().starts_with("$${") {
                self.skip(1);
                self.keep(2);
            } else if self.rest().starts_with("${") && !self.rest().starts_with("${{") {
                self.reference();
            } else {
                self.keep(next.len_utf8());
            }
            if self.faults.len() >= FAULTS_MAX {
                return;
            }
            if self.tags.len() > TAGS_MAX {
                let at = self.at..self.at;
                self.fault(at, format!("the template has more than {TAGS_MAX} expressions"), "shorten it");
                return;
            }
        }
        self.end_literal();
        for (name, at, _) in std::mem::take(&mut self.open) {
            self.fault(
                at,
                format!("the block `{name}` is not closed"),
                format!("write `{{{{/{name}}}}}` where it ends"),
            );
        }
    }

    /// Takes `len` bytes of literal text that are output.
    fn keep(&mut self, len: usize) {
        let text = self.source.get(self.at..self.at + len).unwrap_or_default();
        for c in text.chars() {
            if c.is_whitespace() {
                self.skeleton.push(c);
            } else {
                self.skeleton.extend(std::iter::repeat_n('x', c.len_utf8()));
            }
        }
        self.at += len;
    }

    /// Takes `len` bytes of literal text that are not output.
    fn skip(&mut self, len: usize) {
        self.end_chunk(self.at);
        self.skeleton.extend(std::iter::repeat_n('x', len));
        self.at += len;
        self.chunk_from = self.at;
    }

    fn end_chunk(&mut self, end: usize) {
        if self.chunk_from < end {
            self.literal.chunks.push(Chunk::Text(self.chunk_from..end));
        }
        self.chunk_from = end;
    }

    fn end_literal(&mut self) {
        self.end_chunk(self.at);
        let mut literal = std::mem::take(&mut self.literal);
        literal.at = self.tags.last().map_or(0, |tag| tag.at.end)..self.at;
        self.literals.push(literal);
    }

    fn reference(&mut self) {
        let start = self.at;
        let rest = self.rest();
        let line = rest.lines().next().unwrap_or_default();
        let Some(len) = line.find('}').map(|close| close + 1) else {
            let at = start..start + 2;
            self.fault(
                at,
                "`${` opens a reference that is not closed",
                "close it with `}`, or write `$${` for a literal `${`",
            );
            self.keep(2);
            return;
        };
        let name = rest.get(2..len - 1).unwrap_or_default().to_owned();
        let at = start..start + len;
        let known = name.strip_prefix("env:").or_else(|| name.strip_prefix("file:"));
        if known.is_none_or(|name| name.is_empty() || name.contains(['{', '$'])) {
            let fix = "write `${env:NAME}` or `${file:PATH}`, or `$${` for a literal `${`";
            self.fault(at, format!("`${{{name}}}` is no reference"), fix);
            self.keep(2);
            return;
        }
        match (self.resolve)(&name) {
            Ok(secret) => {
                self.skip(len);
                self.literal.chunks.push(Chunk::Reference(at, secret));
            }
            Err((problem, fix)) => {
                self.fault(at, problem, fix);
                self.skip(len);
            }
        }
    }

    /// `{{`: a tag, or literal braces when a backslash makes them so.
    fn braces(&mut self) {
        let before = self.source.get(self.chunk_from..self.at).unwrap_or_default();
        let backslashes = before.bytes().rev().take_while(|byte| *byte == b'\\').count();
        let literal = match self.format {
            Format::Json => backslashes % 2 == 1,
            Format::Text | Format::Form | Format::Url | Format::Header => backslashes == 1,
        };
        if literal {
            self.drop_backslash();
            let braces = self.rest().bytes().take_while(|byte| *byte == b'{').count();
            self.keep(braces);
            return;
        }
        if backslashes > 1 && self.format != Format::Json {
            self.drop_backslash();
        }
        self.tag();
    }

    /// Takes the backslash that was just read out of the output.
    fn drop_backslash(&mut self) {
        self.end_chunk(self.at - 1);
        self.chunk_from = self.at;
    }

    fn tag(&mut self) {
        let start = self.at;
        if self.rest().starts_with("{{{{") {
            let fix = "write literal braces as `\\{{`, and put a space between a brace of JSON and an expression";
            self.fault(start..start + 4, "raw blocks `{{{{…}}}}` are not supported", fix);
            self.keep(4);
            return;
        }
        let Some(len) = tag_len(self.rest()) else {
            let (close, problem) = if self.rest().starts_with("{{{") {
                (
                    "`}}}`, or put a space between a brace of JSON and `{{`",
                    "`{{{` opens an expression that is not closed",
                )
            } else {
                (
                    "`}}`; quotes inside an expression are written without backslashes",
                    "`{{` opens an expression that is not closed",
                )
            };
            self.fault(start..start + 2, problem, format!("close it with {close}"));
            self.keep(2);
            return;
        };
        let at = start..start + len;
        let text = self.source.get(at.clone()).unwrap_or_default();
        let Some(kind) = self.kind(text, &at) else {
            self.keep(len);
            return;
        };
        self.end_literal();
        self.tags.push(Tag { at: at.clone(), kind });
        self.at = at.end;
        self.chunk_from = at.end;
        self.tag_skeleton(text, kind, &at);
    }

    /// What a tag is; `None` when it is refused.
    fn kind(&mut self, text: &str, at: &Range<usize>) -> Option<TagKind> {
        let inner = text.get(2..text.len() - 2).unwrap_or_default();
        if inner.starts_with('!') {
            return Some(TagKind::Comment);
        }
        if text.len() > TAG_BYTES_MAX {
            let problem = format!("an expression has {} bytes, and {TAG_BYTES_MAX} are allowed", text.len());
            self.fault(at.start..at.start + 2, problem, "make it shorter, and write long texts outside of it");
            return None;
        }
        let inner = inner.strip_prefix('~').unwrap_or(inner).trim_start();
        if inner.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count() > TAG_BRACKETS_MAX {
            self.fault(
                at.clone(),
                format!("an expression has more than {TAG_BRACKETS_MAX} brackets"),
                "make it simpler",
            );
            return None;
        }
        let mut rest = inner.chars();
        match rest.next() {
            Some('>') => self.unsupported(at, "partials", "write the text in its place"),
            Some('*') => self.unsupported(at, "decorators", "write the text in its place"),
            Some('#') => match rest.as_str().trim_start().chars().next() {
                Some('>') => self.unsupported(at, "partial blocks", "write the text in its place"),
                Some('*') => self.unsupported(at, "inline partials and decorators", "write the text in its place"),
                _ => self.opens(name_in(self.source, at, '#'), at),
            },
            Some('/') => self.closes(name_in(self.source, at, '/'), at),
            Some('{' | '&') => Some(TagKind::Raw),
            Some('^') => self.otherwise(rest.as_str(), at),
            _ => match inner.strip_prefix("else") {
                Some(rest) if rest.starts_with(|c: char| !c.is_whitespace() && c != '~') => self.no_else(inner, at),
                Some(rest) => self.otherwise(rest, at),
                None => Some(TagKind::Value),
            },
        }
    }

    /// A name that begins with `else`: the crate's grammar takes that for the keyword.
    fn no_else(&mut self, inner: &str, at: &Range<usize>) -> Option<TagKind> {
        let len = inner.find(|c: char| c.is_whitespace() || matches!(c, '.' | '/' | '~' | '}')).unwrap_or(inner.len());
        let name = inner.get(..len).unwrap_or_default();
        self.fault(at.clone(), format!("`{name}` begins like `else`"), format!("write `[{name}]` for the field"));
        None
    }

    fn unsupported(&mut self, at: &Range<usize>, what: &str, fix: &str) -> Option<TagKind> {
        self.fault(at.clone(), format!("{what} are not supported"), fix);
        None
    }

    fn opens(&mut self, name: &'s str, at: &Range<usize>) -> Option<TagKind> {
        self.open.push((name, at.clone(), 0));
        self.deep_enough(at)
    }

    fn deep_enough(&mut self, at: &Range<usize>) -> Option<TagKind> {
        let depth = self.open.len() + self.open.iter().map(|(_, _, chained)| chained).sum::<usize>();
        if depth > BLOCK_DEPTH_MAX {
            self.fault(
                at.clone(),
                format!("blocks are nested more than {BLOCK_DEPTH_MAX} deep"),
                "make the template simpler",
            );
            return None;
        }
        Some(TagKind::Open)
    }

    fn closes(&mut self, name: &str, at: &Range<usize>) -> Option<TagKind> {
        match self.open.pop() {
            Some((opened, _, _)) if opened == name => Some(TagKind::Close),
            Some((opened, _, _)) => {
                let problem = format!("`{{{{/{name}}}}}` closes the block `{opened}`");
                self.fault(at.clone(), problem, format!("write `{{{{/{opened}}}}}`"));
                None
            }
            None => {
                self.fault(at.clone(), format!("`{{{{/{name}}}}}` closes a block that is not open"), "remove it");
                None
            }
        }
    }

    fn otherwise(&mut self, rest: &str, at: &Range<usize>) -> Option<TagKind> {
        let Some((_, _, chained)) = self.open.last_mut() else {
            self.fault(at.clone(), "`else` stands outside any block", "remove it, or write `{{#if …}}` before it");
            return None;
        };
        if rest.trim_end_matches('~').trim().is_empty() {
            return Some(TagKind::Else);
        }
        *chained += 1;
        self.deep_enough(at).map(|_| TagKind::ElseChain)
    }

    /// The tag as the crate's parser shall see it.
    fn tag_skeleton(&mut self, text: &str, kind: TagKind, at: &Range<usize>) {
        if kind == TagKind::Comment {
            // Its text is of no use, and the grammar has two ideas of where it ends.
            self.skeleton.push_str("{{!");
            self.skeleton.extend(std::iter::repeat_n('x', text.len() - 5));
            self.skeleton.push_str("}}");
            return;
        }
        let bytes = text.as_bytes();
        let mut quote = None;
        for (i, c) in text.char_indices() {
            let before = i.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(b' ');
            let after = bytes.get(i + 1).copied().unwrap_or(b' ');
            let alone = quote.is_none() && b" \t\r\n({=&~#".contains(&before) && b" \t\r\n)}~".contains(&after);
            match c {
                '.' if alone => self.skeleton.push_str(THIS),
                ':' if alone => {
                    let place = at.start + i..at.start + i + 1;
                    self.fault(place, "`:` is no path", "write the name of a field, or `this`");
                    self.skeleton.push(c);
                }
                _ => self.skeleton.push(c),
            }
            match quote {
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(open) if c == open && before != b'\\' => quote = None,
                _ => {}
            }
        }
    }
}

/// The name behind a tag's mark.
fn name_in<'s>(source: &'s str, at: &Range<usize>, mark: char) -> &'s str {
    let tag = source.get(at.clone()).unwrap_or_default();
    let name = tag.split_once(mark).map_or("", |(_, name)| name).trim_start();
    let len =
        name.find(|c: char| c.is_whitespace() || matches!(c, '}' | '~' | '(' | ')' | '=' | '|')).unwrap_or(name.len());
    name.get(..len).unwrap_or_default()
}

/// How long the tag is that the text begins with, closing braces included.
fn tag_len(text: &str) -> Option<usize> {
    if let Some(comment) = text.strip_prefix("{{!") {
        let long = comment.trim_start().strip_prefix("--");
        if let Some(end) = long.and_then(|long| long.find("--}}").map(|end| text.len() - long.len() + end + 4)) {
            return Some(end);
        }
        return comment.find("}}").map(|end| 3 + end + 2);
    }
    let bytes = text.as_bytes();
    let mut at = 2;
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => at = string_end(bytes, at)?,
            // A segment in brackets may hold anything, quotes too.
            b'[' => at += bytes.get(at..)?.iter().position(|byte| *byte == b']')?,
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at + 2),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the string literal that begins at `at` has its closing quote.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = bytes.get(at)?;
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}
