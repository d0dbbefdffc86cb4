//! What a JSONPath asks for, compiled from the crate's tree, and the refusal of what could multiply.
//!
//! A path comes from a file, and what it is asked of comes from anywhere. So that no event can make one slow, what is compiled
//! visits every value once for each of its parts: `..` stands in a path once, two selectors of one bracket never select the same,
//! what a filter asks of `$` is one value, and a pattern is compiled here.

use jsonpath_rust::parser::model as parsed;
use serde_json::{Number, Value};

use super::pattern::{self, Anchored, Pattern};

/// How many parts a path may have, those of its filters among them: an event is gone through once for each.
pub(super) const PATH_PARTS_MAX: usize = 64;

/// One step of a path, over all values that the steps before have found.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// What one selector selects.
    One(Selector),
    /// What names and indexes select, in their order.
    Several(Box<[Selector]>),
    /// What they select of the value and of everything below it.
    Descend(Box<[Selector]>),
}

/// What is selected of a value.
#[derive(Clone, Debug)]
pub(super) enum Selector {
    /// A member.
    Name(Box<str>),
    /// An element, from the end where negative.
    Index(i64),
    /// Every member or element.
    Wildcard,
    /// Every so many elements.
    Slice(Slice),
    /// Every member or element for which it holds.
    Filter(Condition),
}

/// `[start:end:step]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// Where it starts, from the end where negative.
    pub(super) start: Option<i64>,
    /// Before which it ends.
    pub(super) end: Option<i64>,
    /// How far the next one is; backwards where negative.
    pub(super) step: i64,
}

/// What a filter asks of a value.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// All of them.
    All(Box<[Condition]>),
    /// One of them.
    Any(Box<[Condition]>),
    /// The opposite.
    Not(Box<Condition>),
    /// Something is there.
    Exists(Origin, Box<[Segment]>),
    /// Two values compare so.
    Compare(Comparison, Operand, Operand),
    /// A text matches.
    Matches(Operand, Pattern),
}

/// Where a query in a filter begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// `@`: the value that is judged.
    Current,
    /// `$`: the document.
    Root,
}

/// How two values compare.
#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
}

/// One side of a comparison: a value, or nothing.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A value that is written in the path.
    Literal(Value),
    /// The value at a query of names and indexes.
    At(Origin, Box<[Segment]>),
    /// The length of a text, list or object.
    Length(Box<Operand>),
    /// How many values a query finds.
    Count(Box<[Segment]>),
    /// The value that a query finds, where it is the only one.
    Value(Box<[Segment]>),
}

/// Problem and fix.
pub(super) type Refusal = (String, String);

/// What a path asks for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// Its steps.
    pub(super) segments: Box<[Segment]>,
    /// The positions of all its patterns.
    pub(super) positions: usize,
}

/// Compiles what the crate has parsed.
pub(super) fn compile(query: &parsed::JpQuery) -> Result<Query, Refusal> {
    let mut compiler = Compiler { parts: 0, positions: 0 };
    let segments = compiler.segments(&query.segments)?;
    Ok(Query { segments, positions: compiler.positions })
}

/// Whether a query leads to one value at most.
pub(super) fn is_singular(segments: &[Segment]) -> bool {
    segments.iter().all(|segment| matches!(segment, Segment::One(Selector::Name(_) | Selector::Index(_))))
}

fn refusal<T>(problem: impl Into<String>, fix: impl Into<String>) -> Result<T, Refusal> {
    Err((problem.into(), fix.into()))
}

struct Compiler {
    parts: usize,
    positions: usize,
}

impl Compiler {
    fn part(&mut self) -> Result<(), Refusal> {
        self.parts += 1;
        if self.parts > PATH_PARTS_MAX {
            return refusal(format!("the JSONPath has more than {PATH_PARTS_MAX} parts"), "use a simpler path");
        }
        Ok(())
    }

    fn segments(&mut self, segments: &[parsed::Segment]) -> Result<Box<[Segment]>, Refusal> {
        segments.iter().map(|segment| self.segment(segment)).collect()
    }

    fn segment(&mut self, segment: &parsed::Segment) -> Result<Segment, Refusal> {
        Ok(match segment {
            parsed::Segment::Selector(selector) => Segment::One(self.selector(selector)?),
            parsed::Segment::Selectors(selectors) => Segment::Several(self.selectors(selectors)?),
            parsed::Segment::Descendant(inner) => match self.segment(inner)? {
                Segment::One(selector) => Segment::Descend([selector].into()),
                Segment::Several(selectors) | Segment::Descend(selectors) => Segment::Descend(selectors),
            },
        })
    }

    /// Several selectors of one bracket. What two of them could both select would multiply with every such bracket.
    fn selectors(&mut self, selectors: &[parsed::Selector]) -> Result<Box<[Selector]>, Refusal> {
        use parsed::Selector::{Index, Name};
        for (position, selector) in selectors.iter().enumerate() {
            if !matches!(selector, Name(_) | Index(_)) {
                let fix = "write `['a', 'b']` or `[0, 1]`; a `*`, a slice or a filter stands alone in its bracket";
                return refusal("a bracket with several selectors holds names and indexes only", fix);
            }
            if selectors.iter().take(position).any(|earlier| earlier == selector) {
                return refusal("a bracket selects the same twice", "write each name and each index once");
            }
        }
        selectors.iter().map(|selector| self.selector(selector)).collect()
    }

    fn selector(&mut self, selector: &parsed::Selector) -> Result<Selector, Refusal> {
        self.part()?;
        Ok(match selector {
            parsed::Selector::Name(name) => Selector::Name(name.as_str().into()),
            parsed::Selector::Index(index) => Selector::Index(*index),
            parsed::Selector::Wildcard => Selector::Wildcard,
            parsed::Selector::Slice(start, end, step) => {
                Selector::Slice(Slice { start: *start, end: *end, step: step.unwrap_or(1) })
            }
            parsed::Selector::Filter(filter) => Selector::Filter(self.condition(filter)?),
        })
    }

    fn condition(&mut self, filter: &parsed::Filter) -> Result<Condition, Refusal> {
        Ok(match filter {
            parsed::Filter::And(all) => Condition::All(self.conditions(all)?),
            parsed::Filter::Or(any) => Condition::Any(self.conditions(any)?),
            parsed::Filter::Atom(parsed::FilterAtom::Filter { expr, not }) => negated(self.condition(expr)?, *not),
            parsed::Filter::Atom(parsed::FilterAtom::Test { expr, not }) => negated(self.test(expr)?, *not),
            parsed::Filter::Atom(parsed::FilterAtom::Comparison(comparison)) => self.comparison(comparison)?,
        })
    }

    fn conditions(&mut self, filters: &[parsed::Filter]) -> Result<Box<[Condition]>, Refusal> {
        filters.iter().map(|filter| self.condition(filter)).collect()
    }

    fn test(&mut self, test: &parsed::Test) -> Result<Condition, Refusal> {
        self.part()?;
        match test {
            parsed::Test::RelQuery(segments) => Ok(Condition::Exists(Origin::Current, self.segments(segments)?)),
            parsed::Test::AbsQuery(query) => {
                let segments = self.segments(&query.segments)?;
                if !is_singular(&segments) {
                    // It would be gone through again for every value that is judged.
                    let fix = "name it by members and indexes alone, as in `$.data.owner`, or begin with `@`";
                    return refusal("what a filter asks of `$` is more than one value", fix);
                }
                Ok(Condition::Exists(Origin::Root, segments))
            }
            parsed::Test::Function(function) => self.matching(function),
        }
    }

    /// A function that holds or does not.
    fn matching(&mut self, function: &parsed::TestFunction) -> Result<Condition, Refusal> {
        let (name, text, pattern, anchored) = match function {
            parsed::TestFunction::Match(text, pattern) => ("match", text, pattern, Anchored::Yes),
            parsed::TestFunction::Search(text, pattern) => ("search", text, pattern, Anchored::Search),
            parsed::TestFunction::Custom(name, _) => return unknown(name),
            parsed::TestFunction::Length(_) | parsed::TestFunction::Count(_) | parsed::TestFunction::Value(_) => {
                let problem = "a function of the filter gives a value, and nothing says what it shall be";
                return refusal(problem, "compare it, as in `length(@.name) > 0`");
            }
        };
        let parsed::FnArg::Literal(parsed::Literal::String(pattern)) = pattern else {
            // One from the document would be compiled again for every value that is judged.
            let problem = format!("the pattern of `{name}` is not written in the path");
            return refusal(problem, format!("write it there, as in `{name}(@.name, 'prod-.*')`"));
        };
        let text = self.argument(name, text)?;
        let pattern = pattern::compile(pattern, anchored)?;
        self.positions += pattern.positions();
        Ok(Condition::Matches(text, pattern))
    }

    fn comparison(&mut self, comparison: &parsed::Comparison) -> Result<Condition, Refusal> {
        let how = match comparison {
            parsed::Comparison::Eq(..) => Comparison::Eq,
            parsed::Comparison::Ne(..) => Comparison::Ne,
            parsed::Comparison::Gt(..) => Comparison::Gt,
            parsed::Comparison::Gte(..) => Comparison::Gte,
            parsed::Comparison::Lt(..) => Comparison::Lt,
            parsed::Comparison::Lte(..) => Comparison::Lte,
        };
        let (left, right) = comparison.vals();
        let (left, right) = (self.comparable(left)?, self.comparable(right)?);
        let of_root = |operand: &Operand| matches!(operand, Operand::At(Origin::Root, _));
        if of_root(&left) && of_root(&right) {
            // It would be made again for every value that is judged, however large the two are.
            let fix = "compare something of the value that is judged, as in `@.owner == $.data.owner`";
            return refusal("a filter compares two values of `$`", fix);
        }
        Ok(Condition::Compare(how, left, right))
    }

    fn comparable(&mut self, comparable: &parsed::Comparable) -> Result<Operand, Refusal> {
        self.part()?;
        match comparable {
            parsed::Comparable::Literal(written) => literal(written),
            parsed::Comparable::Function(function) => self.function(function),
            parsed::Comparable::SingularQuery(parsed::SingularQuery::Current(segments)) => {
                Ok(Operand::At(Origin::Current, self.singular(segments)?))
            }
            parsed::Comparable::SingularQuery(parsed::SingularQuery::Root(segments)) => {
                Ok(Operand::At(Origin::Root, self.singular(segments)?))
            }
        }
    }

    fn singular(&mut self, segments: &[parsed::SingularQuerySegment]) -> Result<Box<[Segment]>, Refusal> {
        let one = |segment: &parsed::SingularQuerySegment| {
            self.part()?;
            Ok(Segment::One(match segment {
                parsed::SingularQuerySegment::Name(name) => Selector::Name(name.as_str().into()),
                parsed::SingularQuerySegment::Index(index) => Selector::Index(*index),
            }))
        };
        segments.iter().map(one).collect()
    }

    /// A function that is a value.
    fn function(&mut self, function: &parsed::TestFunction) -> Result<Operand, Refusal> {
        match function {
            parsed::TestFunction::Length(of) => Ok(Operand::Length(Box::new(self.argument("length", of)?))),
            parsed::TestFunction::Count(of) => Ok(Operand::Count(self.nodes("count", of)?)),
            parsed::TestFunction::Value(of) => Ok(Operand::Value(self.nodes("value", of)?)),
            parsed::TestFunction::Custom(name, _) => unknown(name),
            parsed::TestFunction::Match(..) | parsed::TestFunction::Search(..) => {
                let problem = "`match` and `search` hold or do not, and give no value";
                refusal(problem, "leave out what they are compared with, or what they stand in")
            }
        }
    }

    /// What a function takes that wants one value.
    fn argument(&mut self, name: &str, argument: &parsed::FnArg) -> Result<Operand, Refusal> {
        self.part()?;
        match argument {
            parsed::FnArg::Literal(written) => literal(written),
            parsed::FnArg::Test(test) => match &**test {
                parsed::Test::Function(function) => self.function(function),
                parsed::Test::RelQuery(segments) => {
                    let segments = self.segments(segments)?;
                    if !is_singular(&segments) {
                        let fix = "name it by members and indexes alone, or write `count(…)` for how many there are";
                        return refusal(format!("`{name}` takes one value, and its query may find more"), fix);
                    }
                    Ok(Operand::At(Origin::Current, segments))
                }
                parsed::Test::AbsQuery(_) => from_here(name),
            },
            parsed::FnArg::Filter(_) => refusal(format!("`{name}` takes a value, and no condition"), "write a query"),
        }
    }

    /// What a function takes that wants the values of a query.
    fn nodes(&mut self, name: &str, argument: &parsed::FnArg) -> Result<Box<[Segment]>, Refusal> {
        self.part()?;
        match argument {
            parsed::FnArg::Test(test) => match &**test {
                parsed::Test::RelQuery(segments) => self.segments(segments),
                parsed::Test::AbsQuery(_) => from_here(name),
                parsed::Test::Function(_) => {
                    refusal(format!("`{name}` takes a query"), "write one, as in `@.items[*]`")
                }
            },
            _ => refusal(format!("`{name}` takes a query"), "write one, as in `@.items[*]`"),
        }
    }
}

fn negated(condition: Condition, not: bool) -> Condition {
    if not { Condition::Not(Box::new(condition)) } else { condition }
}

fn unknown<T>(name: &str) -> Result<T, Refusal> {
    let fix =
        "there are `length`, `count`, `value`, `match` and `search`; one of several values is `@ == 'a' || @ == 'b'`";
    refusal(format!("RFC 9535 has no function `{name}`"), fix)
}

/// A function of something in the document would be computed again for every value that is judged.
fn from_here<T>(name: &str) -> Result<T, Refusal> {
    refusal(format!("the query of `{name}` begins with `$`"), "begin it with `@`, the value that the filter judges")
}

fn literal(literal: &parsed::Literal) -> Result<Operand, Refusal> {
    Ok(Operand::Literal(match literal {
        parsed::Literal::Int(number) => Value::from(*number),
        parsed::Literal::Float(number) => match Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None => return refusal("a number of the JSONPath is too large", "write one that is smaller than 1e308"),
        },
        parsed::Literal::String(text) => Value::String(text.clone()),
        parsed::Literal::Bool(truth) => Value::Bool(*truth),
        parsed::Literal::Null => Value::Null,
    }))
}
