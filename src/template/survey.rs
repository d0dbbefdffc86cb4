//! What a template asks for that a schema does not have.

use serde_json::Value;

use crate::diagnostic::Fault;
use crate::kind::survey::member;

use super::expression::{Expression, Path, Segment};
use super::node::Node;
use super::scan::FAULTS_MAX;

/// The paths of a template that no event of this schema can have, each once, with what it has there instead.
pub(super) fn survey(nodes: &[Node], schema: &Value) -> Vec<Fault> {
    let mut survey = Survey { scopes: vec![Some(schema)], faults: Vec::new() };
    survey.nodes(nodes);
    survey.faults
}

/// The schema of a value; `None` where nothing is known about it.
type Known<'s> = Option<&'s Value>;

struct Survey<'s> {
    /// The scopes around, the event's first.
    scopes: Vec<Known<'s>>,
    faults: Vec<Fault>,
}

impl<'s> Survey<'s> {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Secret(_) => {}
                Node::Print { expression, .. } => {
                    self.expression(expression);
                }
                Node::If { condition, include_zero, body, otherwise, .. } => {
                    self.expression(condition);
                    if let Some(include_zero) = include_zero {
                        self.expression(include_zero);
                    }
                    self.nodes(body);
                    self.nodes(otherwise);
                }
                Node::Each { of, body, otherwise } => {
                    let of = self.expression(of);
                    self.scope(of.and_then(|of| of.get("items")), body);
                    self.nodes(otherwise);
                }
                Node::With { of, body, otherwise } => {
                    let of = self.expression(of);
                    self.scope(of, body);
                    self.nodes(otherwise);
                }
            }
        }
    }

    fn scope(&mut self, known: Known<'s>, body: &[Node]) {
        self.scopes.push(known);
        self.nodes(body);
        self.scopes.pop();
    }

    fn expression(&mut self, expression: &Expression) -> Known<'s> {
        match expression {
            Expression::Path(path) => self.path(path),
            Expression::Call(call) => {
                for argument in &call.arguments {
                    self.expression(argument);
                }
                None
            }
            Expression::Local(_) | Expression::Literal(_) => None,
        }
    }

    fn path(&mut self, path: &Path) -> Known<'s> {
        let mut known = *self.scopes.iter().rev().nth(path.up)?;
        for segment in &path.segments {
            match step(known?, segment) {
                Ok(next) => known = next,
                Err(fix) => {
                    let problem = format!("the kind's schema has no `{}`", path.written);
                    let known = self.faults.iter().any(|fault| fault.problem == problem);
                    if !known && self.faults.len() < FAULTS_MAX {
                        self.faults.push(Fault::new(path.at.clone(), problem, fix));
                    }
                    return None;
                }
            }
        }
        known
    }
}

/// The schema of a member; the error is what there is instead.
fn step<'s>(schema: &'s Value, segment: &Segment) -> Result<Known<'s>, String> {
    let name = &*segment.name;
    if let Some(items) = schema.get("items") {
        let fix = || format!("it is a list there: write `.[0].{name}` for its first, or go through it with `each`");
        return if segment.index.is_some() { Ok(Some(items)) } else { Err(fix()) };
    }
    member(schema, name)
}
