//! What differs between what a test expects and what came of it, in sentences.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Number, Value};

use crate::cli::preview::Preview;
use crate::config::Expect;
use crate::kind::value::{Decimal, cut, excerpt};

/// How many differences of one test are told.
const DIFFERENCES_MAX: usize = 100;

/// How much of a value is printed, in characters.
const VALUE_CHARS_MAX: usize = 200;

/// How much of a long text is printed before the place from which on it differs, in characters.
const SAME_CHARS_MAX: usize = 40;

/// How a request differs from the one that is expected.
pub(super) fn request(expect: &Expect, found: &Preview) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(wanted) = &expect.url {
        let found = found_url(wanted, found);
        if *wanted != *found {
            // The URL that was found is not printed: beyond its host it is a secret.
            let from = same_chars(wanted, &found) + 1;
            differences.push(format!("url: it differs from {wanted} from character {from} on"));
        }
    }
    for (name, wanted) in &expect.headers {
        match found.headers.iter().find(|(header, _)| header == name) {
            Some((_, value)) if value == wanted => {}
            Some((_, value)) => differences.push(format!("headers.{name}: expected {wanted:?}, found {value:?}")),
            None => differences.push(format!("headers.{name}: expected {wanted:?}, found no such header")),
        }
    }
    match (&expect.body, serde_json::from_str::<Value>(&found.body)) {
        (None, _) => {}
        (Some(Value::String(text)), _) if *text == found.body => {}
        // JSON in a text is JSON: with its digits, and with null, which TOML has not.
        (Some(Value::String(text)), Ok(body @ (Value::Object(_) | Value::Array(_)))) => {
            let wanted =
                serde_json::from_str(text).ok().filter(|wanted: &Value| wanted.is_object() || wanted.is_array());
            let wanted = wanted.unwrap_or_else(|| Value::String(text.clone()));
            compare(&mut "body".to_owned(), &wanted, &body, &mut differences);
        }
        (Some(wanted), Ok(body)) => compare(&mut "body".to_owned(), wanted, &body, &mut differences),
        (Some(wanted), Err(_)) => {
            compare(&mut "body".to_owned(), wanted, &Value::String(found.body.clone()), &mut differences);
        }
    }
    differences
}

/// The URL of a request, its host masked where a test expects that: a host that came by a reference is not the same everywhere.
fn found_url<'f>(wanted: &str, found: &'f Preview) -> Cow<'f, str> {
    const MASKED: &str = "https://***";
    let is_masked = wanted.strip_prefix(MASKED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match found.url.strip_prefix("https://").filter(|_| is_masked && found.host_referenced) {
        Some(rest) => {
            Cow::Owned(format!("{MASKED}{}", rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()))
        }
        None => Cow::Borrowed(&found.url),
    }
}

/// Objects may have more members than expected; everything else is equal, numbers by their value. The path grows and shrinks
/// on the way.
fn compare(path: &mut String, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
    if differences.len() >= DIFFERENCES_MAX {
        return;
    }
    let length = path.len();
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, wanted) in wanted {
                let plain = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
                // Writing to a text cannot fail.
                let _ = if plain { write!(path, ".{name}") } else { write!(path, "[{name:?}]") };
                match found.get(name) {
                    Some(found) => compare(path, wanted, found, differences),
                    None => {
                        differences.push(format!("{}: expected {}, found nothing", place(path), show_value(wanted)));
                    }
                }
                path.truncate(length);
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                let _ = write!(path, "[{index}]");
                compare(path, wanted, found, differences);
                path.truncate(length);
            }
        }
        (Value::Number(wanted), Value::Number(found)) if same_number(wanted, found) => {}
        _ if wanted == found => {}
        (Value::String(wanted), Value::String(found)) => {
            differences.push(format!("{}: {}", place(path), texts(wanted, found)));
        }
        _ => {
            let (wanted, found) = (show_value(wanted), show_value(found));
            differences.push(format!("{}: expected {wanted}, found {found}", place(path)));
        }
    }
}

/// A path that is not longer than people read.
fn place(path: &str) -> String {
    cut(path, VALUE_CHARS_MAX)
}

/// `1.0` and `1` are one number, though their digits differ.
fn same_number(one: &Number, other: &Number) -> bool {
    match (Decimal::parse(one.as_str()), Decimal::parse(other.as_str())) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// How two texts differ; of long ones the part in which they do.
fn texts(wanted: &str, found: &str) -> String {
    let same = same_chars(wanted, found);
    let long = wanted.chars().count().max(found.chars().count()) > VALUE_CHARS_MAX;
    let from = if long { same.saturating_sub(SAME_CHARS_MAX) } else { 0 };
    let part = |text: &str| {
        let part: String = text.chars().skip(from).collect();
        format!("{}{}", if from > 0 { "…" } else { "" }, show_value(&Value::String(part)))
    };
    let place = if long { format!(" (from character {} on)", same + 1) } else { String::new() };
    format!("expected {}, found {}{place}", part(wanted), part(found))
}

/// How many characters two texts begin with alike.
fn same_chars(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

fn show_value(value: &Value) -> String {
    excerpt(value, VALUE_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences_of(wanted: &Value, found: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        compare(&mut "body".to_owned(), wanted, found, &mut differences);
        differences
    }

    #[test]
    fn an_expected_body_may_be_a_part_of_the_body() {
        let found = json!({"a": 1, "b": {"c": [1, {"d": "x", "e": null}], "f": true}});
        assert_eq!(differences_of(&json!({"b": {"c": [1.0, {"d": "x"}]}}), &found), Vec::<String>::new());
        assert_eq!(
            differences_of(&json!({"b": {"c": [2, {"d y": "x"}]}, "g": 0}), &found),
            [
                "body.b.c[0]: expected 2, found 1",
                "body.b.c[1][\"d y\"]: expected \"x\", found nothing",
                "body.g: expected 0, found nothing"
            ]
        );
        assert_eq!(differences_of(&json!([1]), &json!([1, 2])), ["body: expected [1], found [1,2]"]);
    }

    #[test]
    fn of_long_texts_the_part_that_differs_is_shown() {
        let text = |end: &str| Value::from("ü".repeat(300) + end);
        assert_eq!(
            differences_of(&text("a"), &text("b")),
            [format!("body: expected …\"{0}a\", found …\"{0}b\" (from character 301 on)", "ü".repeat(40))]
        );
        assert_eq!(differences_of(&json!("a\n"), &json!("a")), ["body: expected \"a\\n\", found \"a\""]);
    }

    #[test]
    fn large_whole_numbers_are_compared_by_every_digit() {
        assert!(!differences_of(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)).is_empty());
    }
}
