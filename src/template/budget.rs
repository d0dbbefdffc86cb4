//! What one request's rendering may cost. It is counted and not timed, so that the same event costs the same everywhere.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::kind::value::order_numbers;

use super::RenderError;
use super::helpers::{scalar, text_of};
use super::write::{Output, Written};

/// The most nodes that are visited, each member of a list anew.
pub(super) const STEPS_MAX: usize = 1_000_000;
/// The most bytes that are looked up, read by helpers and made by them; eight times the longest text to render, where that is more.
pub(super) const WORK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest text that a helper makes, in bytes; as long as the text to render, where that is more.
pub(super) const MADE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many times the longest text to render may be worked through.
const WORK_FACTOR: usize = 8;
/// What looking a value up costs beside its name, in bytes; a helper's call, and a member of a list, cost the same.
const LOOK_BYTES: usize = 16;
/// What a date costs, in bytes.
const DATE_BYTES: usize = 256;

/// What is left to spend for the templates of one request.
#[derive(Debug)]
pub struct Budget {
    steps: usize,
    work_max: usize,
    work: usize,
    made_max: usize,
}

impl Budget {
    /// A full one, for texts of at most so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let work = WORK_BYTES_MAX.max(bytes_max.saturating_mul(WORK_FACTOR));
        Self { steps: STEPS_MAX, work_max: work, work, made_max: MADE_BYTES_MAX.max(bytes_max) }
    }

    /// One with other limits.
    #[cfg(test)]
    pub(super) const fn of(steps: usize, work: usize, made_max: usize) -> Self {
        Self { steps, work_max: work, work, made_max }
    }

    /// Counts a node.
    pub(super) fn step(&mut self) -> Written {
        let Some(left) = self.steps.checked_sub(1) else {
            return Err(RenderError(format!("rendering takes more than {STEPS_MAX} steps")));
        };
        self.steps = left;
        Ok(())
    }

    /// Counts what is read or made.
    pub(super) fn spend(&mut self, bytes: usize) -> Written {
        let Some(left) = self.work.checked_sub(bytes) else {
            let problem = format!("the helpers of the templates read and make more than {} bytes", self.work_max);
            return Err(RenderError(problem));
        };
        self.work = left;
        Ok(())
    }

    /// Counts a value that is looked up by what is written.
    pub(super) fn look(&mut self, written: &str) -> Written {
        self.spend(LOOK_BYTES + written.len())
    }

    /// Counts a date.
    pub(super) fn date(&mut self) -> Written {
        self.spend(DATE_BYTES)
    }

    /// Makes a text, and counts it.
    pub(super) fn make(&mut self, write: impl FnOnce(&mut Output) -> Written) -> Result<String, RenderError> {
        let mut output = Output::new(self.made_max.min(self.work), 0);
        // The one thing that can be wrong is its length.
        if write(&mut output).is_err() {
            self.room(self.made_max.min(self.work).saturating_add(1))?;
        }
        self.spend(output.text.len())?;
        Ok(output.text)
    }

    /// Refuses to make so much.
    pub(super) fn room(&mut self, bytes: usize) -> Written {
        if bytes > self.made_max {
            return Err(RenderError(format!("a helper makes a text of more than {} bytes", self.made_max)));
        }
        if bytes > self.work { self.spend(bytes) } else { Ok(()) }
    }

    /// The text of a value, counted as read.
    pub(super) fn text<'v>(&mut self, value: &'v Value) -> Result<Cow<'v, str>, RenderError> {
        match value {
            Value::Array(_) | Value::Object(_) => self.make(|output| output.json(value, 0)).map(Cow::Owned),
            _ => {
                let text = text_of(value);
                self.spend(text.len())?;
                Ok(text)
            }
        }
    }

    /// Counts the members of a list.
    pub(super) fn members(&mut self, count: usize) -> Written {
        self.spend(count.saturating_mul(LOOK_BYTES))
    }

    /// Counts a text or a number, which is read whole.
    pub(super) fn scalar(&mut self, value: &Value) -> Written {
        self.spend(scalar(value).len())
    }

    /// Counts a value's digits, where it is a number: what asks for its value reads all of them.
    pub(super) fn digits(&mut self, value: &Value) -> Written {
        match value {
            Value::Number(number) => self.spend(number.as_str().len()),
            _ => Ok(()),
        }
    }

    /// Whether two values are equal, numbers by value, members in any order. As deep as events are.
    pub(super) fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, RenderError> {
        self.spend(LOOK_BYTES)?;
        Ok(match (left, right) {
            (Value::Number(_), Value::Number(_)) => self.order(left, right)? == Some(Ordering::Equal),
            (Value::String(left), Value::String(right)) => {
                self.spend(left.len().min(right.len()))?;
                left == right
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                for (left, right) in left.iter().zip(right) {
                    if !self.equal(left, right)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Object(left), Value::Object(right)) if left.len() == right.len() => {
                for (key, left) in left {
                    self.spend(key.len())?;
                    match right.get(key) {
                        Some(right) if self.equal(left, right)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::Null, Value::Null) => true,
            _ => false,
        })
    }

    /// How two values compare; a text and a number by the number that the text is.
    pub(super) fn order(&mut self, left: &Value, right: &Value) -> Result<Option<Ordering>, RenderError> {
        self.spend(scalar(left).len() + scalar(right).len())?;
        let number = |text: &str| text.parse::<Number>().ok();
        Ok(match (left, right) {
            (Value::Number(left), Value::Number(right)) => order_numbers(left, right),
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            (Value::Number(left), Value::String(right)) => number(right).and_then(|right| order_numbers(left, &right)),
            (Value::String(left), Value::Number(right)) => number(left).and_then(|left| order_numbers(&left, right)),
            _ => None,
        })
    }
}
