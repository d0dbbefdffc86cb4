//! From the crate's tree to a flat list of items, each with its bytes in the source.
//!
//! The tree says what white space is left and what the expressions are; the scan says where everything stands. Both are
//! walked together, in the order of the source.

use std::ops::Range;
use std::slice::Iter;

use handlebars::Template as Parsed;
use handlebars::template::{BlockParam, HelperTemplate, Parameter, TemplateElement};
use serde_json::Value;

use crate::diagnostic::{Fault, nearest};
use crate::secret::Secret;

use super::expression::{Compiler, Expression, Names};
use super::helpers;
use super::scan::{Chunk, FAULTS_MAX, Literal, Scanned, Tag, TagKind};

/// A template as a list.
#[derive(Default)]
pub(super) struct Flat {
    /// In the order of the source.
    pub(super) items: Vec<Item>,
    /// What [`Item::Open`], [`Item::Else`] and [`Item::Close`] speak of.
    pub(super) blocks: Vec<Block>,
}

/// A piece of a template.
pub(super) enum Item {
    /// Literal text, as bytes of the source.
    Text(Range<usize>),
    /// A reference's value.
    Reference(Range<usize>, Secret),
    /// An expression.
    Print(Print),
    /// A block begins: its index.
    Open(usize),
    /// Its `else` branch begins.
    Else(usize),
    /// It ends.
    Close(usize),
}

/// An expression that is printed.
pub(super) struct Print {
    /// Its tag.
    pub(super) at: Range<usize>,
    /// What is printed.
    pub(super) expression: Expression,
    /// As its JSON even in a string: the helper `json`.
    pub(super) json: bool,
    /// Without escaping.
    pub(super) raw: bool,
}

/// A block.
pub(super) struct Block {
    /// Its opening tag.
    pub(super) at: Range<usize>,
    /// What it does; taken out when the tree is built.
    pub(super) kind: BlockKind,
    /// The index of its [`Item::Else`].
    pub(super) otherwise: Option<usize>,
    /// The index of its [`Item::Close`].
    pub(super) close: usize,
}

/// What a block does.
pub(super) enum BlockKind {
    /// `if` and `unless`.
    If {
        /// What is asked.
        condition: Expression,
        /// Whether a zero is true.
        include_zero: Option<Expression>,
        /// `unless`
        negate: bool,
    },
    /// `each`
    Each(Expression),
    /// `with`
    With(Expression),
}

/// The blocks' names.
const BLOCKS: [&str; 4] = ["if", "unless", "each", "with"];

/// Parses what was scanned, whatever it is.
pub(super) fn by_the_crate(source: &str, scanned: Scanned) -> Result<Flat, Vec<Fault>> {
    let parsed = match Parsed::compile(&scanned.skeleton) {
        Ok(parsed) => parsed,
        Err(error) => return Err(syntax_faults(source, &scanned, error.pos())),
    };
    let Scanned { literals, tags, skeleton } = scanned;
    let mut walk = Walk {
        skeleton: &skeleton,
        tags: tags.iter(),
        literals,
        literal: 0,
        flat: Flat::default(),
        compiler: Compiler { source, scopes: vec![Names::default()], faults: Vec::new() },
    };
    let complete = walk.elements(&parsed).is_some() && walk.tags.next().is_none();
    let mut faults = walk.compiler.faults;
    if !complete && faults.is_empty() {
        let fix = "write it more simply, one expression after the other";
        faults.push(Fault::new(0..source.len(), "the template cannot be read", fix));
    }
    if faults.is_empty() { Ok(walk.flat) } else { Err(faults) }
}

/// Finds each tag that cannot be read by reading it alone.
fn syntax_faults(source: &str, scanned: &Scanned, pos: Option<(usize, usize)>) -> Vec<Fault> {
    let fix = "write a path (`a.b`, `a.[0]`, `[a b]`), a helper with its arguments, or a block; \
               quotes inside an expression have no backslashes";
    let unreadable = |tag: &&Tag| {
        let text = scanned.skeleton.get(tag.at.clone()).unwrap_or_default();
        let whole = match tag.kind {
            TagKind::Open => {
                let name = text.trim_start_matches(['{', '~', '#', ' ', '\t', '\r', '\n']);
                let len = name.find([' ', '}', '~', '(', '\t', '\r', '\n']).unwrap_or(name.len());
                format!("{text}{{{{/{}}}}}", name.get(..len).unwrap_or_default())
            }
            TagKind::Else | TagKind::ElseChain => format!("{{{{#if x}}}}{text}{{{{/if}}}}"),
            TagKind::Close => return false,
            TagKind::Value | TagKind::Raw | TagKind::Comment => text.to_owned(),
        };
        Parsed::compile(&whole).is_err()
    };
    let faults: Vec<_> = scanned
        .tags
        .iter()
        .filter(unreadable)
        .take(FAULTS_MAX)
        .map(|tag| Fault::new(tag.at.clone(), "this expression cannot be read", fix))
        .collect();
    if !faults.is_empty() {
        return faults;
    }
    let at = pos.map_or(0, |(line, column)| offset(&scanned.skeleton, line, column));
    let at = scanned.tags.iter().map(|tag| tag.at.clone()).find(|tag| tag.end > at).unwrap_or(at..source.len());
    vec![Fault::new(at, "the template cannot be read from here on", fix)]
}

/// The byte at a line and column, both from 1, columns in characters.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    start + rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
}

struct Walk<'s> {
    skeleton: &'s str,
    tags: Iter<'s, Tag>,
    literals: Vec<Literal>,
    /// The literal text that comes next.
    literal: usize,
    flat: Flat,
    compiler: Compiler<'s>,
}

/// The walk's steps answer `None` when the tree and the scan do not tell the same story.
impl Walk<'_> {
    fn elements(&mut self, parsed: &Parsed) -> Option<()> {
        for element in &parsed.elements {
            if self.compiler.faults.len() >= FAULTS_MAX {
                return None;
            }
            match element {
                TemplateElement::RawString(text) => self.text(text)?,
                TemplateElement::Comment(_) => {
                    self.tag(&[TagKind::Comment])?;
                }
                TemplateElement::Expression(parsed) => self.print(parsed, TagKind::Value)?,
                TemplateElement::HtmlExpression(parsed) => self.print(parsed, TagKind::Raw)?,
                TemplateElement::HelperBlock(parsed) => {
                    let at = self.tag(&[TagKind::Open])?;
                    self.block(parsed, at)?;
                    self.tag(&[TagKind::Close])?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// The next tag, which has one of these kinds.
    fn tag(&mut self, kinds: &[TagKind]) -> Option<Range<usize>> {
        self.literal += 1;
        let tag = self.tags.next()?;
        kinds.contains(&tag.kind).then(|| tag.at.clone())
    }

    /// Literal text that the tree has kept: the part of the scanned text that is left after trimming.
    fn text(&mut self, kept: &str) -> Option<()> {
        let literal = self.literals.get_mut(self.literal)?;
        let start = literal.at.start + self.skeleton.get(literal.at.clone())?.rfind(kept)?;
        let kept = start..start + kept.len();
        for chunk in literal.chunks.drain(..) {
            match chunk {
                Chunk::Text(at) => {
                    let at = at.start.max(kept.start)..at.end.min(kept.end);
                    if at.start < at.end {
                        self.flat.items.push(Item::Text(at));
                    }
                }
                Chunk::Reference(at, secret) => self.flat.items.push(Item::Reference(at, secret)),
            }
        }
        Some(())
    }

    fn print(&mut self, parsed: &HelperTemplate, kind: TagKind) -> Option<()> {
        let at = self.tag(&[kind])?;
        let (expression, json) = match self.compiler.call(parsed, &at) {
            Expression::Call(mut call) if call.helper == helpers::Helper::Json => (call.arguments.pop()?, true),
            other => (other, false),
        };
        self.flat.items.push(Item::Print(Print { at, expression, json, raw: kind == TagKind::Raw }));
        Some(())
    }

    fn block(&mut self, parsed: &HelperTemplate, at: Range<usize>) -> Option<()> {
        let scopes = self.compiler.scopes.len();
        let (kind, names) = self.block_kind(parsed, &at);
        let block = self.flat.blocks.len();
        self.flat.items.push(Item::Open(block));
        self.flat.blocks.push(Block { at, kind, otherwise: None, close: 0 });
        self.compiler.scopes.extend(names);
        if let Some(body) = &parsed.template {
            self.elements(body)?;
        }
        self.compiler.scopes.truncate(scopes);
        if let Some(inverse) = &parsed.inverse {
            let otherwise = self.flat.items.len();
            self.flat.items.push(Item::Else(block));
            self.flat.blocks.get_mut(block)?.otherwise = Some(otherwise);
            if self.tags.as_slice().first()?.kind == TagKind::ElseChain {
                let at = self.tag(&[TagKind::ElseChain])?;
                let [TemplateElement::HelperBlock(chained)] = inverse.elements.as_slice() else { return None };
                self.block(chained, at)?;
            } else {
                self.tag(&[TagKind::Else])?;
                self.elements(inverse)?;
            }
        }
        self.flat.blocks.get_mut(block)?.close = self.flat.items.len();
        self.flat.items.push(Item::Close(block));
        Some(())
    }

    /// What a block does, and the scope that it opens.
    fn block_kind(&mut self, parsed: &HelperTemplate, at: &Range<usize>) -> (BlockKind, Option<Names>) {
        let name = parsed.name.as_name().unwrap_or_default();
        if helpers::is_condition(name) && !parsed.params.is_empty() {
            self.no_names(parsed, name, at);
            let condition = self.compiler.call(parsed, at);
            return (BlockKind::If { condition, include_zero: None, negate: false }, None);
        }
        if !BLOCKS.contains(&name) {
            let fix = match nearest(name, BLOCKS) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("write `{{{{#if {name}}}}}`, `{{{{#each {name}}}}}` or `{{{{#with {name}}}}}`"),
            };
            self.fault(name, at, format!("unknown block `{name}`"), fix);
        }
        let subject = if let [subject] = parsed.params.as_slice() {
            self.compiler.argument(subject, at)
        } else {
            let problem = format!("`{name}` takes one argument");
            self.fault(name, at, problem, format!("write `{{{{#{name} x}}}}`, and a helper in parentheses"));
            Expression::Literal(Value::Null)
        };
        let conditional = matches!(name, "if" | "unless");
        for key in parsed.hash.keys().filter(|key| !conditional || *key != "includeZero") {
            self.fault(key, at, format!("`{name}` has no argument `{key}=`"), "remove it");
        }
        match name {
            "each" => (BlockKind::Each(subject), Some(each_names(parsed))),
            "with" => {
                let names = each_names(parsed);
                if names.key.is_some() {
                    self.fault(name, at, "`with` gives one name", "write `as |x|`");
                }
                (BlockKind::With(subject), Some(names))
            }
            _ => {
                self.no_names(parsed, name, at);
                let include_zero = parsed.hash.get("includeZero").map(|value| self.compiler.argument(value, at));
                (BlockKind::If { condition: subject, include_zero, negate: name == "unless" }, None)
            }
        }
    }

    fn no_names(&mut self, parsed: &HelperTemplate, name: &str, at: &Range<usize>) {
        if parsed.block_param.is_some() {
            self.fault(name, at, format!("`{name}` gives no names"), "remove `as |…|`");
        }
    }

    fn fault(&mut self, word: &str, tag: &Range<usize>, problem: impl Into<String>, fix: impl Into<String>) {
        let at = self.compiler.locate(word, tag);
        self.compiler.faults.push(Fault::new(at, problem, fix));
    }
}

/// The names behind `as`.
fn each_names(parsed: &HelperTemplate) -> Names {
    let text = |parameter: &Parameter| parameter.as_name().map(str::to_owned);
    match &parsed.block_param {
        Some(BlockParam::Single(value)) => Names { value: text(value), key: None },
        Some(BlockParam::Pair((value, key))) => Names { value: text(value), key: text(key) },
        _ => Names::default(),
    }
}
