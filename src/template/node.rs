//! The tree that is rendered.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::secret::Secret;

use super::expression::Expression;
use super::parse::{Block, BlockKind, Flat, Item};
use super::write::{Output, Style};

/// A piece of a compiled template.
pub(super) enum Node {
    /// Literal text.
    Text(String),
    /// A reference's value, written for its place.
    Secret(Secret),
    /// An expression.
    Print {
        /// What is printed.
        expression: Expression,
        /// How.
        style: Style,
        /// As its JSON, though the style is one of text.
        json: bool,
    },
    /// `if`, `unless` and conditions as blocks.
    If {
        /// What is asked.
        condition: Expression,
        /// Whether a zero is true.
        include_zero: Option<Expression>,
        /// `unless`
        negate: bool,
        /// The first branch.
        body: Vec<Node>,
        /// The other.
        otherwise: Vec<Node>,
    },
    /// `each`
    Each {
        /// The list or object.
        of: Expression,
        /// What is rendered for each member.
        body: Vec<Node>,
        /// What is rendered when there is none.
        otherwise: Vec<Node>,
    },
    /// `with`
    With {
        /// The new scope's value.
        of: Expression,
        /// What is rendered in it.
        body: Vec<Node>,
        /// What is rendered when there is none.
        otherwise: Vec<Node>,
    },
}

/// Makes the tree of a list whose places are known: `places` has a style for each item.
pub(super) fn build(source: &str, flat: Flat, places: &[Style]) -> Vec<Node> {
    let mut blocks: Vec<_> = flat.blocks.into_iter().map(Some).collect();
    let mut items = flat.items.into_iter().zip(places.iter().copied()).peekable();
    branch(source, &mut items, &mut blocks)
}

type Items<'p> = Peekable<std::iter::Zip<IntoIter<Item>, std::iter::Copied<std::slice::Iter<'p, Style>>>>;

/// The nodes up to the end of the branch, whose item is left.
fn branch(source: &str, items: &mut Items<'_>, blocks: &mut [Option<Block>]) -> Vec<Node> {
    let mut nodes = Vec::new();
    while let Some((item, style)) = items.next_if(|(item, _)| !matches!(item, Item::Else(_) | Item::Close(_))) {
        match item {
            Item::Text(at) => {
                let literal = source.get(at).unwrap_or_default();
                // What people write in a file is in place, but for letters that no header can have.
                match style {
                    Style::Header => text(&mut nodes, &written(literal, style)),
                    _ => text(&mut nodes, literal),
                }
            }
            Item::Reference(_, secret) => nodes.push(Node::Secret(Secret::new(written(secret.expose(), style)))),
            Item::Print(print) => {
                nodes.push(Node::Print { expression: print.expression, style, json: print.json });
            }
            Item::Open(block) => {
                let body = branch(source, items, blocks);
                let otherwise = match items.next_if(|(item, _)| matches!(item, Item::Else(_))) {
                    Some(_) => branch(source, items, blocks),
                    None => Vec::new(),
                };
                items.next();
                let kind = blocks.get_mut(block).and_then(Option::take).map(|block| block.kind);
                nodes.extend(kind.map(|kind| node(kind, body, otherwise)));
            }
            Item::Else(_) | Item::Close(_) => {}
        }
    }
    nodes
}

fn node(kind: BlockKind, body: Vec<Node>, otherwise: Vec<Node>) -> Node {
    match kind {
        BlockKind::If { condition, include_zero, negate } => {
            Node::If { condition, include_zero, negate, body, otherwise }
        }
        BlockKind::Each(of) => Node::Each { of, body, otherwise },
        BlockKind::With(of) => Node::With { of, body, otherwise },
    }
}

/// Adds literal text to the text before it, where there is some.
fn text(nodes: &mut Vec<Node>, text: &str) {
    if let Some(Node::Text(before)) = nodes.last_mut() {
        before.push_str(text);
    } else if !text.is_empty() {
        nodes.push(Node::Text(text.to_owned()));
    }
}

/// A text as it has to be in its place.
fn written(text: &str, style: Style) -> String {
    let mut output = Output::new(usize::MAX, 0);
    output.text(text, style).map_or(String::new(), |()| output.text)
}
