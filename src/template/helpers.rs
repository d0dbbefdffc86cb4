//! The helpers: one table, and what each makes of its arguments.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use super::date;
use super::expression::Expression;
use super::write::{URL_KEPT, percent_encode};

/// A helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Helper {
    Json,
    Default,
    Upper,
    Lower,
    Trim,
    Truncate,
    Join,
    Replace,
    Date,
    Slack,
    Urlencode,
    Base64,
    Len,
    Lookup,
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    And,
    Or,
    Not,
}

/// What the compiler knows of a helper.
pub(super) struct Definition {
    /// Its name in templates.
    pub(super) name: &'static str,
    /// Which it is.
    pub(super) helper: Helper,
    /// The fewest arguments.
    pub(super) arguments_min: usize,
    /// The most.
    pub(super) arguments_max: usize,
    /// The arguments that can be given by name, with their positions.
    pub(super) named: &'static [(&'static str, usize)],
    /// How it is written.
    pub(super) usage: &'static str,
}

/// The most arguments of a helper that takes many.
const MANY: usize = 16;

/// Every helper, with how it is written.
const HELPERS: [Definition; 23] = [
    define("json", Helper::Json, 1, 1, "{{json value}}"),
    define("default", Helper::Default, 2, MANY, "{{default value otherwise}}"),
    define("upper", Helper::Upper, 1, 1, "{{upper text}}"),
    define("lower", Helper::Lower, 1, 1, "{{lower text}}"),
    define("trim", Helper::Trim, 1, 1, "{{trim text}}"),
    define("truncate", Helper::Truncate, 2, 2, "{{truncate text 80}}"),
    define("join", Helper::Join, 1, 2, "{{join list \", \"}}"),
    define("replace", Helper::Replace, 3, 3, "{{replace text \"from\" \"to\"}}"),
    Definition {
        named: &[("format", 1), ("tz", 2)],
        ..define("date", Helper::Date, 1, 3, "{{date time \"%Y-%m-%d %H:%M\" \"Europe/Berlin\"}}")
    },
    define("slack", Helper::Slack, 1, 1, "{{slack text}}"),
    define("urlencode", Helper::Urlencode, 1, 1, "{{urlencode text}}"),
    define("base64", Helper::Base64, 1, 1, "{{base64 text}}"),
    define("len", Helper::Len, 1, 1, "{{len list}}"),
    define("lookup", Helper::Lookup, 2, 2, "{{lookup list 0}}"),
    define("eq", Helper::Eq, 2, 2, "(eq a b)"),
    define("ne", Helper::Ne, 2, 2, "(ne a b)"),
    define("gt", Helper::Gt, 2, 2, "(gt a b)"),
    define("gte", Helper::Gte, 2, 2, "(gte a b)"),
    define("lt", Helper::Lt, 2, 2, "(lt a b)"),
    define("lte", Helper::Lte, 2, 2, "(lte a b)"),
    define("and", Helper::And, 1, MANY, "(and a b)"),
    define("or", Helper::Or, 1, MANY, "(or a b)"),
    define("not", Helper::Not, 1, 1, "(not a)"),
];

const fn define(
    name: &'static str,
    helper: Helper,
    arguments_min: usize,
    arguments_max: usize,
    usage: &'static str,
) -> Definition {
    Definition { name, helper, arguments_min, arguments_max, named: &[], usage }
}

/// The helper of this name.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    HELPERS.iter().find(|definition| definition.name == name)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HELPERS.iter().map(|definition| definition.name)
}

/// Whether the helper of this name answers true or false, so that it can be a block.
pub(super) fn is_condition(name: &str) -> bool {
    find(name).is_some_and(|definition| takes_missing(definition.helper) && definition.helper != Helper::Default)
}

/// Whether a missing argument is fine: the helper exists to ask about it.
pub(super) fn takes_missing(helper: Helper) -> bool {
    use Helper::{And, Default, Eq, Gt, Gte, Lt, Lte, Ne, Not, Or};
    matches!(helper, Default | Eq | Ne | Gt | Gte | Lt | Lte | And | Or | Not)
}

/// Checks the arguments that are written in the template; the error is a problem and its fix.
pub(super) fn check(helper: Helper, arguments: &[Expression]) -> Result<(), (String, String)> {
    let literal = |position: usize| match arguments.get(position) {
        Some(Expression::Literal(value)) => Some(value),
        _ => None,
    };
    match helper {
        Helper::Truncate => match literal(1) {
            Some(value) if characters(value).is_none() => {
                Err((format!("`{value}` is no number of characters"), "write a whole number".to_owned()))
            }
            _ => Ok(()),
        },
        Helper::Date => {
            if let Some(Value::String(format)) = literal(1) {
                date::check_format(format)?;
            }
            if let Some(Value::String(zone)) = literal(2) {
                date::check_zone(zone)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a helper makes of a value and its further arguments; the error is a sentence.
pub(super) fn apply(helper: Helper, value: &Value, more: &[Option<Cow<'_, Value>>]) -> Result<Value, String> {
    let argument = |position: usize| more.get(position).and_then(Option::as_deref);
    let text = text_of(value);
    Ok(Value::String(match helper {
        Helper::Json => value.to_string(),
        Helper::Upper => text.to_uppercase(),
        Helper::Lower => text.to_lowercase(),
        Helper::Trim => text.trim().to_owned(),
        Helper::Truncate => {
            let Some(count) = argument(0).and_then(characters) else {
                return Err("`truncate` needs a whole number of characters".to_owned());
            };
            text.chars().take(count).collect()
        }
        Helper::Join => {
            let separator = argument(0).map_or(Cow::Borrowed(", "), text_of);
            match value {
                Value::Array(list) => list.iter().map(text_of).collect::<Vec<_>>().join(&separator),
                _ => text.into_owned(),
            }
        }
        Helper::Replace => {
            let from = argument(0).map(text_of).unwrap_or_default();
            let to = argument(1).map(text_of).unwrap_or_default();
            if from.is_empty() { text.into_owned() } else { text.replace(&*from, &to) }
        }
        Helper::Date => date::format(value, argument(0).and_then(Value::as_str), argument(1).and_then(Value::as_str))?,
        Helper::Slack => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        Helper::Urlencode => {
            let mut encoded = String::with_capacity(text.len());
            let written = percent_encode(&text, URL_KEPT, false, |part| encoded.write_str(part));
            written.map_or(String::new(), |()| encoded)
        }
        Helper::Base64 => STANDARD.encode(text.as_bytes()),
        Helper::Len => return Ok(Value::Number(Number::from(len(value)))),
        Helper::Eq | Helper::Ne | Helper::Gt | Helper::Gte | Helper::Lt | Helper::Lte => {
            return Ok(Value::Bool(compare(helper, value, argument(0).unwrap_or(&Value::Null))));
        }
        // The renderer evaluates these itself, as they look at no more arguments than they need.
        Helper::Default | Helper::Lookup | Helper::And | Helper::Or | Helper::Not => return Ok(value.clone()),
    }))
}

/// The text of a value: what is printed for it.
pub(super) fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Number(number) => Cow::Borrowed(number.as_str()),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        Value::Null => Cow::Borrowed(""),
        Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    }
}

/// Whether `if` takes its first branch.
pub(super) fn is_truthy(value: &Value, include_zero: bool) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => include_zero || !is_zero(number),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// The member of a list or an object.
pub(super) fn member<'v>(of: &'v Value, key: &Value) -> Option<&'v Value> {
    match of {
        Value::Array(list) => list.get(usize::try_from(key.as_u64()?).ok()?),
        Value::Object(members) => members.get(key.as_str()?),
        _ => None,
    }
}

fn is_zero(number: &Number) -> bool {
    let digits = number.as_str().split(['e', 'E']).next().unwrap_or_default();
    !digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

fn len(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.len(),
        Value::Object(members) => members.len(),
        Value::String(text) => text.chars().count(),
        _ => 0,
    }
}

fn characters(value: &Value) -> Option<usize> {
    text_of(value).parse().ok()
}

fn compare(helper: Helper, left: &Value, right: &Value) -> bool {
    let order = || order(left, right);
    match helper {
        Helper::Eq => equal(left, right),
        Helper::Ne => !equal(left, right),
        Helper::Gt => order() == Some(Ordering::Greater),
        Helper::Gte => order().is_some_and(Ordering::is_ge),
        Helper::Lt => order() == Some(Ordering::Less),
        _ => order().is_some_and(Ordering::is_le),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_numbers(left, right) == Some(Ordering::Equal),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::String(right)) => order_numbers(left, &right.parse().ok()?),
        (Value::String(left), Value::Number(right)) => order_numbers(&left.parse().ok()?, right),
        _ => None,
    }
}

/// Exactly for whole numbers, else as floating point.
fn order_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    if left == right {
        return Some(Ordering::Equal);
    }
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
