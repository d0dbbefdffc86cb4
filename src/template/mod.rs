//! Templates: Handlebars whose output is valid in its format by construction.
//!
//! A template is scanned ([`scan`]: literal text, tags, references), parsed by the handlebars crate, turned into a flat
//! list of items with our own expressions ([`parse`], [`expression`]), and each item's place is found by reading the
//! literal text as JSON ([`place`]). A plain one needs no parser ([`plain`]). What comes out is a tree ([`node`]) that [`eval`] walks for every event.
//!
//! # Where a value stands decides how it is written
//!
//! In [`Format::Json`] the literal text is read in order, as JSON, and every expression is in one of three places:
//!
//! | the expression stands | a value is written as | missing or null is |
//! |---|---|---|
//! | outside any string | its JSON | `null` |
//! | in a string | its text, JSON-escaped | nothing |
//! | in a document inside a string, at any depth | the same, escaped once more for each level | the same |
//!
//! A string holds a document when its literal text contains an escaped quote and, with its placeholders filled in, the
//! whole of it parses as a JSON object or array. This is decided when the template is compiled. The filling:
//! every expression and reference is `1` (`n` behind a single backslash, which is a fault of the document, not text);
//! a raw one is `1` or nothing. Blocks take their first branch or their `else` (nothing where there is none; `each` runs
//! its body once). If any combination of choices parses and contains the quote, the string is a document: one choice for
//! all blocks of the same nesting depth inside the string is tried, and one for each of its first six blocks. A condition
//! on `@first`, `@last` or `@index`, also with `not`, is as in a list of one. Strings inside the document are then judged
//! in the same way.
//!
//! Every branch of a block, the absent `else` too, ends in the place in which the block began, or it is refused.
//!
//! The other formats have one style for all places, and no raw values but in [`Format::Text`]: nothing is parsed afterwards that
//! would notice a value which is more than its place.
//!
//! # What differs from handlebars-rust
//!
//! Output in text mode is the same, except: arrays and objects print as compact JSON; a named member of an array is
//! missing and no error; `@root` alone is the event; a name without arguments is always a path, though a helper may be
//! called the same; `../` above the event is refused; numbers compare by value and any number but zero is truthy; `len`
//! of a string counts characters; `eq`, `not` and their kin are blocks as well as helpers. In JSON, backslashes before
//! `{{` are JSON's: an even number of them is kept and a value follows, an odd number means that the last one makes the
//! braces literal (in the other formats it is as in Handlebars: one makes the braces literal, of several one is dropped).
//! Partials, decorators and raw blocks are refused. `${{x}}` is a dollar sign and a value.

mod budget;
mod date;
mod eval;
mod expression;
mod helpers;
mod lexer;
mod node;
mod parse;
mod place;
mod plain;
mod pool;
mod reads;
mod scan;
mod survey;
mod write;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use crate::diagnostic::Fault;
use crate::kind::reads::{Picked, Reads};
use crate::secret::Secret;

use self::expression::Expression;
use self::node::Node;

pub use budget::Budget;
pub use pool::Pool;

/// What a template's output is, which decides how a value is written into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON text.
    Json,
    /// Plain text: values as they are.
    Text,
    /// `application/x-www-form-urlencoded`: values percent-encoded as form data.
    Form,
    /// The part of a URL behind its host: values percent-encoded as one path segment or query value.
    Url,
    /// A header's value: all that is not ASCII is percent-encoded. Control characters are left to whoever makes the header.
    Header,
}

/// Looks a reference (`env:NAME` or `file:PATH`, the text inside `${…}`) up; the error is a problem and its fix.
pub type Resolve<'r> = &'r mut dyn FnMut(&str) -> Result<Secret, (String, String)>;

/// A compiled template.
pub struct Template {
    nodes: Vec<Node>,
}

/// What a rendering came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The paths that the event lacked, each once, as they are written in the template.
    pub missing: Vec<String>,
    /// Where a value of a URL wrote nothing, as bytes of the text.
    pub blanks: Vec<usize>,
}

/// What a template reads its values from.
#[derive(Clone, Copy)]
pub enum Payload<'p> {
    /// All of an event's payload.
    Tree(&'p Value),
    /// What [`Template::add_reads`] has said of it, or more.
    Picked(&'p Picked<'p>),
}

/// Why an event could not be rendered, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(pub String);

impl Template {
    /// Compiles a source. Every fault that can be found is in the answer, at its byte offsets in `source`.
    pub fn compile(source: &str, format: Format, resolve: Resolve<'_>) -> Result<Self, Vec<Fault>> {
        let scanned = scan::scan(source, format, resolve)?;
        let flat = match plain::parse(source, scanned) {
            Ok(flat) => flat,
            Err(scanned) => parse::by_the_crate(source, scanned)?,
        };
        let places = place::places(source, &flat, format)?;
        Ok(Self { nodes: node::build(source, flat, &places) })
    }

    /// Renders one event's payload. `bytes_max` limits the text while it grows.
    pub fn render(&self, payload: &Value, strict: bool, bytes_max: usize) -> Result<Rendered, RenderError> {
        let rendered = self.render_within(Payload::Tree(payload), strict, bytes_max, &mut Budget::new(bytes_max));
        #[cfg(test)]
        self.assert_reads(payload, &rendered, |part| {
            self.render_within(part, strict, bytes_max, &mut Budget::new(bytes_max))
        });
        rendered
    }

    /// Adds all that it may read of an event.
    pub fn add_reads(&self, reads: &mut Reads) {
        reads::collect(&self.nodes, reads);
    }

    /// The same as a part of something larger, which has one budget.
    pub fn render_within(
        &self,
        payload: Payload<'_>,
        strict: bool,
        bytes_max: usize,
        budget: &mut Budget,
    ) -> Result<Rendered, RenderError> {
        eval::render(&self.nodes, payload, strict, bytes_max, budget)
    }

    /// The paths that no event of this JSON Schema can have, at their byte offsets in the source.
    #[must_use]
    pub fn survey(&self, schema: &Value) -> Vec<Fault> {
        survey::survey(&self.nodes, schema)
    }

    /// What stands in it whatever the event is, outside of blocks: a piece a text or reference.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Text(text) => Some(&**text),
            Node::Secret(secret) => Some(secret.expose()),
            _ => None,
        })
    }

    /// Whether it is made of literals, references and fields of the event, and of nothing that could hold a text by itself.
    pub fn is_plain(&self) -> bool {
        self.nodes.iter().all(|node| match node {
            Node::Text(_) | Node::Secret(_) => true,
            Node::Print { expression, .. } => matches!(expression, Expression::Path(_) | Expression::Local(_)),
            Node::If { .. } | Node::Each { .. } | Node::With { .. } => false,
        })
    }

    /// Whether nothing in it depends on the event.
    pub fn is_fixed(&self) -> bool {
        self.nodes.iter().all(|node| matches!(node, Node::Text(_) | Node::Secret(_)))
    }
}

/// Secrets may stand in the nodes, and hundreds of nodes help nobody: only their number is shown.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("nodes", &self.nodes.len()).finish()
    }
}
