//! Expressions: what the crate's parser read, with every name resolved as far as it can be without an event.

use std::ops::Range;

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path as ParsedPath, PathSeg};
use serde_json::Value;

use crate::diagnostic::{Fault, nearest};

use super::helpers::{self, Helper};
use super::scan::THIS;

/// Something that has a value, or none.
#[derive(Debug)]
pub(super) enum Expression {
    /// A field of the event.
    Path(Path),
    /// `@index` and its kin.
    Local(Local),
    /// A value written in the template.
    Literal(Value),
    /// A helper with its arguments.
    Call(Box<Call>),
}

/// A path through the event.
#[derive(Debug)]
pub(super) struct Path {
    /// How many scopes above the innermost it begins.
    pub(super) up: usize,
    /// Where it stands in the source.
    pub(super) at: Range<usize>,
    /// The members on the way.
    pub(super) segments: Box<[Segment]>,
    /// How it is written in the template.
    pub(super) written: Box<str>,
}

/// One step of a path.
#[derive(Debug)]
pub(super) struct Segment {
    /// The member's name.
    pub(super) name: Box<str>,
    /// The same as an index, where it is one.
    pub(super) index: Option<usize>,
}

/// A value that a block gives to its body.
#[derive(Debug)]
pub(super) struct Local {
    /// How many scopes above the innermost.
    pub(super) up: usize,
    /// Which.
    pub(super) kind: LocalKind,
    /// How it is written in the template.
    pub(super) written: Box<str>,
}

/// The values that a block gives to its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalKind {
    /// `@index`
    Index,
    /// `@key`
    Key,
    /// `@first`
    First,
    /// `@last`
    Last,
    /// The second name of `as |value key|`.
    KeyOrIndex,
}

/// A helper with its arguments.
#[derive(Debug)]
pub(super) struct Call {
    /// Which.
    pub(super) helper: Helper,
    /// The arguments, the named ones in their positions.
    pub(super) arguments: Vec<Expression>,
}

/// The names that one scope gives out: `as |value key|`.
#[derive(Default)]
pub(super) struct Names {
    /// The value's.
    pub(super) value: Option<String>,
    /// The key's.
    pub(super) key: Option<String>,
}

/// Compiles the expressions of one source.
pub(super) struct Compiler<'s> {
    /// The source.
    pub(super) source: &'s str,
    /// The scopes around, the event's first.
    pub(super) scopes: Vec<Names>,
    /// What was wrong.
    pub(super) faults: Vec<Fault>,
}

/// What stands for an expression that has a fault, so that the others can be looked at.
fn none() -> Expression {
    Expression::Literal(Value::Null)
}

impl Compiler<'_> {
    /// An expression tag's content, or a subexpression's.
    pub(super) fn call(&mut self, parsed: &HelperTemplate, tag: &Range<usize>) -> Expression {
        if parsed.params.is_empty() && parsed.hash.is_empty() {
            return self.argument(&parsed.name, tag);
        }
        let name = parsed.name.as_name().unwrap_or_default();
        let at = self.locate(name, tag);
        let Some(definition) = helpers::find(name) else {
            self.faults.push(unknown_helper(name, at));
            return none();
        };
        let mut arguments: Vec<_> = parsed.params.iter().map(|parameter| self.argument(parameter, tag)).collect();
        let mut hash: Vec<_> = parsed.hash.iter().collect();
        hash.sort_by_key(|(key, _)| *key);
        for (key, parameter) in hash {
            let Some(position) = definition.named.iter().find(|(named, _)| named == key).map(|(_, position)| *position)
            else {
                let known = definition.named.iter().map(|(named, _)| *named);
                let fix = match nearest(key, known) {
                    Some(known) => format!("did you mean `{known}=`?"),
                    None => "remove it".to_owned(),
                };
                let at = self.locate(key, tag);
                self.faults.push(Fault::new(at, format!("`{name}` has no argument `{key}=`"), fix));
                continue;
            };
            while arguments.len() <= position {
                arguments.push(none());
            }
            let value = self.argument(parameter, tag);
            if let Some(argument) = arguments.get_mut(position) {
                *argument = value;
            }
        }
        if !(definition.arguments_min..=definition.arguments_max).contains(&arguments.len()) {
            let problem = format!("`{name}` does not take {} arguments", arguments.len());
            self.faults.push(Fault::new(at, problem, format!("write `{}`", definition.usage)));
            return none();
        }
        if let Err((problem, fix)) = helpers::check(definition.helper, &arguments) {
            self.faults.push(Fault::new(at, problem, fix));
            return none();
        }
        Expression::Call(Box::new(Call { helper: definition.helper, arguments }))
    }

    /// A path, a literal or a subexpression.
    pub(super) fn argument(&mut self, parsed: &Parameter, tag: &Range<usize>) -> Expression {
        match parsed {
            Parameter::Path(path) => self.path(path, tag),
            Parameter::Literal(value) => Expression::Literal(value.clone()),
            Parameter::Subexpression(inner) => match inner.as_element() {
                TemplateElement::Expression(inner) => self.call(inner, tag),
                _ => none(),
            },
            // A bare name is the name of a field.
            Parameter::Name(name) => self.field(0, std::slice::from_ref(name), name, tag),
            _ => none(),
        }
    }

    fn path(&mut self, parsed: &ParsedPath, tag: &Range<usize>) -> Expression {
        match parsed {
            ParsedPath::Local((up, name, written)) => self.local(*up, name, written, tag),
            ParsedPath::Relative((segments, written)) => {
                if written == THIS {
                    return self.field(0, &[], "this", tag);
                }
                let mut up = 0;
                let mut names = Vec::with_capacity(segments.len());
                for segment in segments {
                    match segment {
                        PathSeg::Named(name) => names.push(name.clone()),
                        // The crate does not export its rules' type; its debug form is their name.
                        PathSeg::Ruled(rule) => match format!("{rule:?}").as_str() {
                            "path_up" => up += 1,
                            "path_root" => return self.root(segments, written, tag),
                            _ => {}
                        },
                        _ => {}
                    }
                }
                self.field(up, &names, written, tag)
            }
        }
    }

    fn root(&self, segments: &[PathSeg], written: &str, tag: &Range<usize>) -> Expression {
        let names = segments.iter().filter_map(|segment| match segment {
            PathSeg::Named(name) => Some(name.as_str()),
            _ => None,
        });
        let at = self.locate(written, tag);
        Expression::Path(Path { up: self.scopes.len() - 1, at, segments: steps(names), written: written.into() })
    }

    /// A path whose members are known.
    pub(super) fn field(&mut self, up: usize, names: &[String], written: &str, tag: &Range<usize>) -> Expression {
        if let Some((first, rest)) = names.split_first() {
            for (above, scope) in self.scopes.iter().rev().enumerate() {
                if scope.value.as_ref() == Some(first) {
                    let segments = steps(rest.iter().map(String::as_str));
                    let at = self.locate(written, tag);
                    return Expression::Path(Path { up: above, at, segments, written: written.into() });
                }
                if scope.key.as_ref() == Some(first) {
                    return Expression::Local(Local {
                        up: above,
                        kind: LocalKind::KeyOrIndex,
                        written: written.into(),
                    });
                }
            }
        }
        if up >= self.scopes.len() {
            let at = self.locate(written, tag);
            let fix = "remove a `../`: only `each` and `with` open a scope, `if` and `unless` do not";
            self.faults.push(Fault::new(at, format!("`{written}` goes above the event"), fix));
            return none();
        }
        let (at, segments) = (self.locate(written, tag), steps(names.iter().map(String::as_str)));
        Expression::Path(Path { up, at, segments, written: written.into() })
    }

    fn local(&mut self, up: usize, name: &str, written: &str, tag: &Range<usize>) -> Expression {
        let kind = match name {
            "root" => return self.root(&[], written, tag),
            "index" => LocalKind::Index,
            "key" => LocalKind::Key,
            "first" => LocalKind::First,
            "last" => LocalKind::Last,
            _ => {
                let fix = match nearest(name, ["root", "index", "key", "first", "last"]) {
                    Some(known) => format!("did you mean `@{known}`?"),
                    None => "there are `@root`, `@index`, `@key`, `@first` and `@last`".to_owned(),
                };
                let at = self.locate(written, tag);
                self.faults.push(Fault::new(at, format!("nothing is called `@{name}`"), fix));
                return none();
            }
        };
        Expression::Local(Local { up, kind, written: written.into() })
    }

    /// Where a word stands in a tag, or the tag where it cannot be told.
    pub(super) fn locate(&self, word: &str, tag: &Range<usize>) -> Range<usize> {
        let text = self.source.get(tag.clone()).unwrap_or_default();
        let whole = |offset: &usize| {
            let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
            let before = text.get(..*offset).and_then(|before| before.chars().next_back());
            let after = text.get(offset + word.len()..).and_then(|after| after.chars().next());
            !before.is_some_and(inside) && !after.is_some_and(inside)
        };
        match text.match_indices(word).map(|(offset, _)| offset).find(whole) {
            Some(offset) if !word.is_empty() => tag.start + offset..tag.start + offset + word.len(),
            _ => tag.clone(),
        }
    }
}

fn steps<'n>(names: impl Iterator<Item = &'n str>) -> Box<[Segment]> {
    names.map(|name| Segment { name: name.into(), index: name.parse().ok() }).collect()
}

fn unknown_helper(name: &str, at: Range<usize>) -> Fault {
    let fix = match nearest(name, helpers::names()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => "a path is written without arguments; a name with a space in it as `[a b]`".to_owned(),
    };
    Fault::new(at, format!("unknown helper `{name}`"), fix)
}
