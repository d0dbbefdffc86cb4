//! Rendering: the walk over the tree with an event.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Number, Value};

use crate::kind::reads;

use super::expression::{Call, Expression, Local, LocalKind, Path};
use super::helpers::{self, Helper, is_truthy, takes_missing};
use super::node::Node;
use super::write::{Output, Style};
use super::{Budget, Payload, RenderError, Rendered};

/// The most missing paths that are named.
pub(super) const MISSING_MAX: usize = 100;
/// What the output is first given room for.
const EXPECTED_BYTES: usize = 1024;

/// Renders an event.
pub(super) fn render(
    nodes: &[Node],
    payload: Payload<'_>,
    strict: bool,
    bytes_max: usize,
    budget: &mut Budget,
) -> Result<Rendered, RenderError> {
    let mut renderer = Renderer {
        output: Output::new(bytes_max, EXPECTED_BYTES),
        missing: Vec::new(),
        blanks: Vec::new(),
        strict,
        budget,
    };
    renderer.nodes(nodes, &Scope { above: None, value: payload, turn: None })?;
    Ok(Rendered { text: renderer.output.text, missing: renderer.missing, blanks: renderer.blanks })
}

/// JSON text in ASCII.
fn ascii_json(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    let mut ascii = String::with_capacity(2 * text.len());
    for character in text.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// What a path begins at.
struct Scope<'v> {
    above: Option<&'v Scope<'v>>,
    value: Payload<'v>,
    turn: Option<Turn<'v>>,
}

/// Which member of a list or an object it is.
#[derive(Clone, Copy)]
struct Turn<'v> {
    index: usize,
    key: Option<&'v str>,
    last: bool,
}

struct Renderer<'b> {
    output: Output,
    missing: Vec<String>,
    blanks: Vec<usize>,
    strict: bool,
    budget: &'b mut Budget,
}

/// A value, or none; owned where a helper made it.
type Found<'v> = Option<Cow<'v, Value>>;

impl Renderer<'_> {
    fn nodes<'v>(&mut self, nodes: &'v [Node], scope: &'v Scope<'v>) -> Result<(), RenderError> {
        for node in nodes {
            self.budget.step()?;
            match node {
                Node::Text(text) => self.output.push(text)?,
                Node::Secret(secret) => self.output.push(secret.expose())?,
                Node::Print { expression, style, json } => self.print(expression, *style, *json, scope)?,
                Node::If { condition, include_zero, negate, body, otherwise } => {
                    let include_zero = match include_zero {
                        Some(include_zero) => {
                            matches!(self.find(include_zero, scope, true)?.as_deref(), Some(Value::Bool(true)))
                        }
                        None => false,
                    };
                    let holds = self.holds(condition, scope, include_zero)?;
                    self.nodes(if holds == *negate { otherwise } else { body }, scope)?;
                }
                Node::Each { of, body, otherwise } => {
                    let from = self.output.text.len();
                    self.each(of, body, otherwise, scope)?;
                    self.note_blank(from);
                }
                Node::With { of, body, otherwise } => {
                    let from = self.output.text.len();
                    match self.find(of, scope, true)? {
                        Some(value) if self.is_truthy(&value, false)? => {
                            self.nodes(
                                body,
                                &Scope { above: Some(scope), value: Payload::Tree(&value), turn: scope.turn },
                            )?;
                        }
                        _ => self.nodes(otherwise, scope)?,
                    }
                    self.note_blank(from);
                }
            }
        }
        Ok(())
    }

    /// Whether a condition holds; what is missing does not.
    fn holds<'v>(
        &mut self,
        condition: &'v Expression,
        scope: &Scope<'v>,
        include_zero: bool,
    ) -> Result<bool, RenderError> {
        match self.find(condition, scope, true)? {
            Some(value) => self.is_truthy(&value, include_zero),
            None => Ok(false),
        }
    }

    fn is_truthy(&mut self, value: &Value, include_zero: bool) -> Result<bool, RenderError> {
        self.budget.digits(value)?;
        Ok(is_truthy(value, include_zero))
    }

    fn print(
        &mut self,
        expression: &Expression,
        style: Style,
        json: bool,
        scope: &Scope<'_>,
    ) -> Result<(), RenderError> {
        let found = self.find(expression, scope, false)?;
        let from = self.output.text.len();
        match (found.as_deref(), style) {
            (Some(value), Style::Quoted(strings)) if json => self.output.json(value, strings),
            (Some(value), Style::Json(_)) => self.output.value(value, style),
            (Some(value), _) if json => {
                let text = self.budget.make(|text| text.json(value, 0))?;
                // In JSON what is beyond ASCII has an escape of its own, which its readers know.
                let text = if style == Style::Header { ascii_json(text) } else { text };
                self.output.text(&text, style)
            }
            (Some(value), _) => self.output.value(value, style),
            (None, Style::Json(_) | Style::RawJson) => self.output.push("null"),
            (None, _) if json => self.output.push("null"),
            (None, _) => Ok(()),
        }?;
        if style == Style::Url {
            self.note_blank(from);
        }
        Ok(())
    }

    /// Remembers where a value, or a block over one, wrote nothing.
    fn note_blank(&mut self, from: usize) {
        if self.output.text.len() == from && self.blanks.last() != Some(&from) {
            self.blanks.push(from);
        }
    }

    fn each<'v>(
        &mut self,
        of: &'v Expression,
        body: &'v [Node],
        otherwise: &'v [Node],
        scope: &'v Scope<'v>,
    ) -> Result<(), RenderError> {
        match self.find(of, scope, true)?.as_deref() {
            Some(Value::Array(list)) if !list.is_empty() => {
                for (index, value) in list.iter().enumerate() {
                    let turn = Some(Turn { index, key: None, last: index + 1 == list.len() });
                    self.turn(body, &Scope { above: Some(scope), value: Payload::Tree(value), turn })?;
                }
                Ok(())
            }
            Some(Value::Object(members)) if !members.is_empty() => {
                for (index, (key, value)) in members.iter().enumerate() {
                    let turn = Some(Turn { index, key: Some(key), last: index + 1 == members.len() });
                    self.turn(body, &Scope { above: Some(scope), value: Payload::Tree(value), turn })?;
                }
                Ok(())
            }
            _ => self.nodes(otherwise, scope),
        }
    }

    /// One turn of an `each`, which is a step even when its body is empty.
    fn turn(&mut self, body: &[Node], scope: &Scope<'_>) -> Result<(), RenderError> {
        self.budget.step()?;
        self.nodes(body, scope)
    }

    /// An expression's value. A missing one is noted, or an error where templates are strict, unless that is fine.
    fn find<'v>(
        &mut self,
        expression: &'v Expression,
        scope: &Scope<'v>,
        missing_is_fine: bool,
    ) -> Result<Found<'v>, RenderError> {
        let (found, written) = match expression {
            Expression::Literal(value) => {
                self.budget.look("")?;
                return Ok(Some(Cow::Borrowed(value)));
            }
            Expression::Call(call) => return self.call(call, scope, missing_is_fine),
            Expression::Path(path) => {
                self.budget.look(&path.written)?;
                (follow(path, scope).map(Cow::Borrowed), &path.written)
            }
            Expression::Local(local) => {
                self.budget.look(&local.written)?;
                let value = local_value(local, scope);
                self.budget.scalar(value.as_ref().unwrap_or(&Value::Null))?;
                (value.map(Cow::Owned), &local.written)
            }
        };
        if found.is_none() && !missing_is_fine {
            self.note_missing(written)?;
        }
        Ok(found)
    }

    fn note_missing(&mut self, written: &str) -> Result<(), RenderError> {
        if self.strict {
            return Err(RenderError(format!("the event has no `{written}`, and the webhook is strict")));
        }
        self.budget.spend(self.missing.len())?;
        if self.missing.len() < MISSING_MAX && !self.missing.iter().any(|known| known == written) {
            self.missing.push(written.to_owned());
        }
        Ok(())
    }

    fn call<'v>(&mut self, call: &'v Call, scope: &Scope<'v>, missing_is_fine: bool) -> Result<Found<'v>, RenderError> {
        self.budget.look("")?;
        let fine = missing_is_fine || takes_missing(call.helper);
        match call.helper {
            Helper::Default => self.default(&call.arguments, scope, missing_is_fine),
            Helper::And | Helper::Or => {
                let until = call.helper == Helper::Or;
                for argument in &call.arguments {
                    if self.holds(argument, scope, false)? == until {
                        return Ok(Some(Cow::Owned(Value::Bool(until))));
                    }
                }
                Ok(Some(Cow::Owned(Value::Bool(!until))))
            }
            Helper::Not => {
                let holds = match call.arguments.first() {
                    Some(argument) => self.holds(argument, scope, false)?,
                    None => false,
                };
                Ok(Some(Cow::Owned(Value::Bool(!holds))))
            }
            Helper::Lookup => self.lookup(&call.arguments, scope, fine),
            helper => {
                let Some((first, more)) = call.arguments.split_first() else { return Ok(None) };
                let value = self.find(first, scope, fine)?;
                let more =
                    more.iter().map(|argument| self.find(argument, scope, fine)).collect::<Result<Vec<_>, _>>()?;
                let asks = takes_missing(helper) || matches!(helper, Helper::Len | Helper::Json);
                let null = Value::Null;
                let value = match value.as_deref() {
                    // What makes something of a text leaves null as it is: a date that is not set is no wrong date.
                    Some(Value::Null) if !asks => return Ok(Some(Cow::Owned(null))),
                    Some(value) => value,
                    None if asks => &null,
                    None => return Ok(None),
                };
                helpers::apply(helper, value, &more, self.budget).map(|value| Some(Cow::Owned(value)))
            }
        }
    }

    /// The first argument that is there and not empty, or else the last.
    fn default<'v>(
        &mut self,
        arguments: &'v [Expression],
        scope: &Scope<'v>,
        missing_is_fine: bool,
    ) -> Result<Found<'v>, RenderError> {
        let Some((fallback, others)) = arguments.split_last() else { return Ok(None) };
        for argument in others {
            let found = self.find(argument, scope, true)?;
            let is_empty = match found.as_deref() {
                None | Some(Value::Null) => true,
                Some(Value::String(text)) => text.is_empty(),
                Some(Value::Array(list)) => list.is_empty(),
                Some(Value::Object(members)) => members.is_empty(),
                Some(Value::Bool(_) | Value::Number(_)) => false,
            };
            if !is_empty {
                return Ok(found);
            }
        }
        self.find(fallback, scope, missing_is_fine)
    }

    fn lookup<'v>(
        &mut self,
        arguments: &'v [Expression],
        scope: &Scope<'v>,
        missing_is_fine: bool,
    ) -> Result<Found<'v>, RenderError> {
        let [of, key] = arguments else { return Ok(None) };
        let list = self.find(of, scope, missing_is_fine)?;
        let (Some(list), Some(index)) = (list, self.find(key, scope, missing_is_fine)?) else { return Ok(None) };
        self.budget.scalar(&index)?;
        let found = match list {
            Cow::Borrowed(list) => helpers::member(list, &index),
            // No helper makes anything that has members.
            Cow::Owned(_) => None,
        };
        if found.is_none() && !missing_is_fine {
            // As it is written: the key's value is the event's, and what is noted can reach a log.
            let what = format!("lookup {} {}", written(of), written(key));
            self.budget.look(&what)?;
            self.note_missing(&what)?;
        }
        Ok(found.map(Cow::Borrowed))
    }
}

/// An expression as it is written in the template, about.
fn written(expression: &Expression) -> Cow<'_, str> {
    match expression {
        Expression::Path(path) => Cow::Borrowed(&path.written),
        Expression::Local(local) => Cow::Borrowed(&local.written),
        Expression::Literal(value) => Cow::Owned(value.to_string()),
        Expression::Call(_) => Cow::Borrowed("(…)"),
    }
}

/// The scope so many above.
fn above<'a, 'v>(scope: &'a Scope<'v>, up: usize) -> Option<&'a Scope<'v>> {
    let mut scope = scope;
    for _ in 0..up {
        scope = scope.above?;
    }
    Some(scope)
}

fn follow<'v>(path: &Path, scope: &Scope<'v>) -> Option<&'v Value> {
    let steps = path.segments.iter().map(|segment| (&*segment.name, segment.index));
    match above(scope, path.up)?.value {
        Payload::Tree(value) => reads::follow(value, steps),
        Payload::Picked(picked) => picked.at(steps),
    }
}

fn local_value(local: &Local, scope: &Scope<'_>) -> Option<Value> {
    let turn = above(scope, local.up)?.turn?;
    let index = || Value::Number(Number::from(turn.index));
    match local.kind {
        LocalKind::Index => Some(index()),
        LocalKind::Key => turn.key.map(Value::from),
        LocalKind::First => Some(Value::Bool(turn.index == 0)),
        LocalKind::Last => Some(Value::Bool(turn.last)),
        LocalKind::KeyOrIndex => Some(turn.key.map_or_else(index, Value::from)),
    }
}
