//! The helpers: one table, and what each makes of its arguments.

use std::borrow::Cow;
use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use super::date;
use super::expression::Expression;
use super::write::{Style, URL_KEPT, percent_encode};
use super::{Budget, RenderError};

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

/// What a helper makes of a value and its further arguments.
pub(super) fn apply(
    helper: Helper,
    value: &Value,
    more: &[Option<Cow<'_, Value>>],
    budget: &mut Budget,
) -> Result<Value, RenderError> {
    let argument = |position: usize| more.get(position).and_then(Option::as_deref);
    Ok(Value::String(match helper {
        Helper::Json => budget.make(|text| text.json(value, 0))?,
        Helper::Upper => made(budget.text(value)?.to_uppercase(), budget)?,
        Helper::Lower => made(budget.text(value)?.to_lowercase(), budget)?,
        Helper::Trim => made(budget.text(value)?.trim().to_owned(), budget)?,
        Helper::Truncate => {
            let count = argument(0).unwrap_or(&Value::Null);
            budget.scalar(count)?;
            let Some(count) = characters(count) else {
                return Err(RenderError("`truncate` needs a whole number of characters".to_owned()));
            };
            let text = budget.text(value)?;
            let end = text.char_indices().nth(count).map_or(text.len(), |(end, _)| end);
            made(text.get(..end).unwrap_or_default().to_owned(), budget)?
        }
        Helper::Join => join(value, argument(0), budget)?,
        Helper::Replace => {
            let text = budget.text(value)?;
            let (from, to) = (text_or_nothing(argument(0), budget)?, text_or_nothing(argument(1), budget)?);
            replaced(&text, &from, &to, budget)?
        }
        Helper::Date => {
            budget.date()?;
            let (format, zone) = (argument(0).and_then(Value::as_str), argument(1).and_then(Value::as_str));
            date::format(value, format, zone).map_err(RenderError)?
        }
        Helper::Slack => {
            let text = budget.text(value)?;
            for_slack(&text, budget)?
        }
        Helper::Urlencode => {
            let text = budget.text(value)?;
            budget.make(|encoded| percent_encode(&text, URL_KEPT, false, |part| encoded.push(part)))?
        }
        Helper::Base64 => {
            let text = budget.text(value)?;
            budget.room(base64::encoded_len(text.len(), true).unwrap_or(usize::MAX))?;
            made(STANDARD.encode(text.as_bytes()), budget)?
        }
        Helper::Len => {
            budget.scalar(value)?;
            return Ok(Value::Number(Number::from(len(value))));
        }
        Helper::Eq | Helper::Ne | Helper::Gt | Helper::Gte | Helper::Lt | Helper::Lte => {
            return compare(helper, value, argument(0).unwrap_or(&Value::Null), budget).map(Value::Bool);
        }
        // The renderer evaluates these itself, as they look at no more arguments than they need.
        Helper::Default | Helper::Lookup | Helper::And | Helper::Or | Helper::Not => return Ok(Value::Null),
    }))
}

/// Counts what was made of a text and is not much longer.
fn made(text: String, budget: &mut Budget) -> Result<String, RenderError> {
    budget.spend(text.len())?;
    Ok(text)
}

fn text_or_nothing<'v>(value: Option<&'v Value>, budget: &mut Budget) -> Result<Cow<'v, str>, RenderError> {
    value.map_or(Ok(Cow::Borrowed("")), |value| budget.text(value))
}

fn join(value: &Value, separator: Option<&Value>, budget: &mut Budget) -> Result<String, RenderError> {
    let Value::Array(list) = value else { return budget.text(value).map(Cow::into_owned) };
    let separator = separator.map_or(Ok(Cow::Borrowed(", ")), |separator| budget.text(separator))?;
    budget.members(list.len())?;
    budget.make(|joined| {
        for (index, item) in list.iter().enumerate() {
            if index > 0 {
                joined.push(&separator)?;
            }
            joined.value(item, Style::Plain)?;
        }
        Ok(())
    })
}

/// A text in which one part is another one wherever it stands. An empty one stands nowhere.
fn replaced(text: &str, from: &str, to: &str, budget: &mut Budget) -> Result<String, RenderError> {
    if from.is_empty() {
        return made(text.to_owned(), budget);
    }
    budget.make(|output| {
        for (index, part) in text.split(from).enumerate() {
            if index > 0 {
                output.push(to)?;
            }
            output.push(part)?;
        }
        Ok(())
    })
}

/// A text in which nothing is a link, a mention or markup to Slack.
fn for_slack(text: &str, budget: &mut Budget) -> Result<String, RenderError> {
    budget.make(|output| {
        let mut rest = text;
        while let Some((at, found)) = rest.find(['&', '<', '>']).and_then(|at| Some((at, *rest.as_bytes().get(at)?))) {
            output.push(rest.get(..at).unwrap_or_default())?;
            output.push(match found {
                b'&' => "&amp;",
                b'<' => "&lt;",
                _ => "&gt;",
            })?;
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        output.push(rest)
    })
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
    scalar(value).parse().ok()
}

/// The text of a text or a number; nothing for all else.
pub(super) fn scalar(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        Value::Number(number) => number.as_str(),
        _ => "",
    }
}

fn compare(helper: Helper, left: &Value, right: &Value, budget: &mut Budget) -> Result<bool, RenderError> {
    Ok(match helper {
        Helper::Eq => budget.equal(left, right)?,
        Helper::Ne => !budget.equal(left, right)?,
        Helper::Gt => budget.order(left, right)? == Some(Ordering::Greater),
        Helper::Gte => budget.order(left, right)?.is_some_and(Ordering::is_ge),
        Helper::Lt => budget.order(left, right)? == Some(Ordering::Less),
        _ => budget.order(left, right)?.is_some_and(Ordering::is_le),
    })
}
