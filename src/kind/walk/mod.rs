//! Going through a document by a compiled JSONPath (RFC 9535): lazily, in document order, without a list or a path of what is
//! found. Nothing recurses deeper than the document, which is as deep as its parser lets it be.
//!
//! What differs from the RFC: an element that two indexes of one bracket select (`[0, -1]` in a list of one) is found once.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::query::{Comparison, Condition, Operand, Origin, Segment, Selector, Slice};
use super::reads::member;
use super::value::{equal, order_numbers};

/// What is asked about each value that is found; `true` ends the walk.
type Found<'f, 'v> = &'f mut dyn FnMut(&'v Value) -> bool;

/// Finds values; whether the walk was ended.
pub(super) fn walk<'v>(segments: &[Segment], document: &'v Value, found: Found<'_, 'v>) -> bool {
    Walk { root: document }.visit(segments, document, found)
}

#[derive(Clone, Copy)]
struct Walk<'v> {
    root: &'v Value,
}

impl<'v> Walk<'v> {
    fn visit(self, mut segments: &[Segment], mut value: &'v Value, found: Found<'_, 'v>) -> bool {
        while let Some((segment, rest)) = segments.split_first() {
            match segment {
                Segment::One(Selector::Name(name)) => {
                    match value.as_object().and_then(|members| member(members, name)) {
                        Some(member) => value = member,
                        None => return false,
                    }
                }
                Segment::One(Selector::Index(index)) => match element(value, *index) {
                    Some((_, element)) => value = element,
                    None => return false,
                },
                Segment::One(selector) => return self.select(selector, value, &mut |one| self.visit(rest, one, found)),
                Segment::Several(selectors) => return self.several(selectors, rest, value, found),
                Segment::Descend(selectors) => return self.descend(selectors, rest, value, found),
            }
            segments = rest;
        }
        found(value)
    }

    fn descend(self, selectors: &[Selector], rest: &[Segment], value: &'v Value, found: Found<'_, 'v>) -> bool {
        self.several(selectors, rest, value, found)
            || children(value).any(|child| {
                // What has no children has nothing that could be selected of it.
                (child.is_array() || child.is_object()) && self.descend(selectors, rest, child, found)
            })
    }

    fn several(self, selectors: &[Selector], rest: &[Segment], value: &'v Value, found: Found<'_, 'v>) -> bool {
        selectors.iter().enumerate().any(|(position, selector)| {
            if let Selector::Index(index) = selector
                && position > 0
                && let Some((place, _)) = element(value, *index)
            {
                let same = |earlier: &Selector| match earlier {
                    Selector::Index(earlier) => element(value, *earlier).is_some_and(|(other, _)| other == place),
                    _ => false,
                };
                if selectors.iter().take(position).any(same) {
                    return false;
                }
            }
            self.select(selector, value, &mut |one| self.visit(rest, one, found))
        })
    }

    fn select(self, selector: &Selector, value: &'v Value, found: Found<'_, 'v>) -> bool {
        match selector {
            Selector::Name(name) => value.as_object().and_then(|members| member(members, name)).is_some_and(found),
            Selector::Index(index) => element(value, *index).is_some_and(|(_, element)| found(element)),
            Selector::Wildcard => children(value).any(found),
            Selector::Slice(slice) => slice_of(value, *slice, found),
            Selector::Filter(condition) => children(value).any(|child| self.holds(condition, child) && found(child)),
        }
    }

    fn holds(self, condition: &Condition, current: &'v Value) -> bool {
        match condition {
            Condition::All(all) => all.iter().all(|condition| self.holds(condition, current)),
            Condition::Any(any) => any.iter().any(|condition| self.holds(condition, current)),
            Condition::Not(condition) => !self.holds(condition, current),
            Condition::Exists(origin, segments) => self.visit(segments, self.origin(*origin, current), &mut |_| true),
            Condition::Compare(how, left, right) => {
                compare(*how, self.operand(left, current).as_deref(), self.operand(right, current).as_deref())
            }
            Condition::Matches(text, pattern) => {
                self.operand(text, current).is_some_and(|text| text.as_str().is_some_and(|text| pattern.is_match(text)))
            }
        }
    }

    fn origin(self, origin: Origin, current: &'v Value) -> &'v Value {
        match origin {
            Origin::Current => current,
            Origin::Root => self.root,
        }
    }

    /// The value of one side; `None` where there is nothing.
    fn operand<'o>(self, operand: &'o Operand, current: &'v Value) -> Option<Cow<'o, Value>>
    where
        'v: 'o,
    {
        match operand {
            Operand::Literal(value) => Some(Cow::Borrowed(value)),
            Operand::At(origin, segments) => {
                self.only(segments, self.origin(*origin, current)).map(Cow::Borrowed::<'o, Value>)
            }
            Operand::Value(segments) => self.only(segments, current).map(Cow::Borrowed::<'o, Value>),
            Operand::Count(segments) => {
                let mut count = 0_u64;
                self.visit(segments, current, &mut |_| {
                    count += 1;
                    false
                });
                Some(Cow::Owned(count.into()))
            }
            Operand::Length(of) => {
                let length = match &*self.operand(of, current)? {
                    Value::String(text) => text.chars().count(),
                    Value::Array(list) => list.len(),
                    Value::Object(members) => members.len(),
                    _ => return None,
                };
                Some(Cow::Owned(length.into()))
            }
        }
    }

    /// The value that is found, where there is one and no second.
    fn only(self, segments: &[Segment], value: &'v Value) -> Option<&'v Value> {
        let mut only = None;
        let second = self.visit(segments, value, &mut |found| only.replace(found).is_some());
        only.filter(|_| !second)
    }
}

fn children(value: &Value) -> impl Iterator<Item = &Value> {
    let (elements, members) = match value {
        Value::Array(elements) => (Some(elements.iter()), None),
        Value::Object(members) => (None, Some(members.values())),
        _ => (None, None),
    };
    elements.into_iter().flatten().chain(members.into_iter().flatten())
}

/// An element and its place, counted from the end where the index is negative.
fn element(value: &Value, index: i64) -> Option<(usize, &Value)> {
    let elements = value.as_array()?;
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let place = if index < 0 { elements.len().checked_sub(distance)? } else { distance };
    Some((place, elements.get(place)?))
}

/// RFC 9535, section 2.3.4.2.2.
fn slice_of<'v>(value: &'v Value, slice: Slice, found: Found<'_, 'v>) -> bool {
    let Some(elements) = value.as_array() else { return false };
    let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let bound = |bound: Option<i64>, default: i64, low: i64, high: i64| match bound {
        None => default,
        Some(bound) if bound < 0 => length.saturating_add(bound).clamp(low, high),
        Some(bound) => bound.clamp(low, high),
    };
    let every = usize::try_from(slice.step.unsigned_abs()).unwrap_or(usize::MAX);
    let part = |from: i64, to: i64| {
        let (from, to) = (usize::try_from(from).unwrap_or_default(), usize::try_from(to).unwrap_or_default());
        elements.get(from..to.max(from)).unwrap_or_default().iter()
    };
    match slice.step.cmp(&0) {
        Ordering::Greater => {
            let (from, to) = (bound(slice.start, 0, 0, length), bound(slice.end, length, 0, length));
            part(from, to).step_by(every).any(found)
        }
        Ordering::Less => {
            let (from, to) = (bound(slice.start, length - 1, -1, length - 1), bound(slice.end, -1, -1, length - 1));
            part(to + 1, from + 1).rev().step_by(every).any(found)
        }
        Ordering::Equal => false,
    }
}

/// Nothing equals nothing, and numbers and texts have an order (RFC 9535, section 2.3.5.2.2).
fn compare(how: Comparison, left: Option<&Value>, right: Option<&Value>) -> bool {
    let same = || match (left, right) {
        (Some(left), Some(right)) => equal(left, right),
        (None, None) => true,
        _ => false,
    };
    let order = || match (left?, right?) {
        (Value::Number(left), Value::Number(right)) => order_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match how {
        Comparison::Eq => same(),
        Comparison::Ne => !same(),
        Comparison::Gt => order() == Some(Ordering::Greater),
        Comparison::Gte => order() == Some(Ordering::Greater) || same(),
        Comparison::Lt => order() == Some(Ordering::Less),
        Comparison::Lte => order() == Some(Ordering::Less) || same(),
    }
}

#[cfg(test)]
mod tests;
