//! What a template reads of an event.

use crate::kind::decode::EVENT_LEVELS_MAX;
use crate::kind::reads::Reads;

use super::expression::{Expression, Path};
use super::node::Node;

/// Adds all that a template may read.
pub(super) fn collect(nodes: &[Node], reads: &mut Reads) {
    Walk { reads, scopes: vec![Scope::Event] }.nodes(nodes);
}

/// What the paths of a block begin at.
#[derive(Clone, Copy)]
enum Scope {
    /// The event.
    Event,
    /// A value that is read as a whole.
    Whole,
}

struct Walk<'r> {
    reads: &'r mut Reads,
    scopes: Vec<Scope>,
}

impl Walk<'_> {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Secret(_) => {}
                Node::Print { expression, .. } => self.expression(expression),
                Node::If { condition, include_zero, body, otherwise, .. } => {
                    self.expression(condition);
                    if let Some(include_zero) = include_zero {
                        self.expression(include_zero);
                    }
                    self.nodes(body);
                    self.nodes(otherwise);
                }
                Node::Each { of, body, otherwise } | Node::With { of, body, otherwise } => {
                    self.expression(of);
                    self.scopes.push(Scope::Whole);
                    self.nodes(body);
                    self.scopes.pop();
                    self.nodes(otherwise);
                }
            }
        }
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::Path(path) => self.path(path),
            Expression::Call(call) => call.arguments.iter().for_each(|argument| self.expression(argument)),
            Expression::Local(_) | Expression::Literal(_) => {}
        }
    }

    fn path(&mut self, path: &Path) {
        if let Some(Scope::Event) = self.scopes.iter().rev().nth(path.up) {
            // No event is deeper; what lies at the end is read as a whole.
            let segments = path.segments.iter().take(EVENT_LEVELS_MAX + 1);
            self.reads.add(segments.map(|segment| (&*segment.name, segment.index)));
        }
    }
}
