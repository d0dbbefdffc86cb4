//! What differs between what a test expects and what came of it, in sentences.

use serde_json::{Map, Number, Value};

use crate::cli::preview::Preview;
use crate::config::Expect;
use crate::kind::value::Decimal;

/// How much of a value is printed, in characters.
const VALUE_CHARS_MAX: usize = 200;

/// How much of a long text is printed before the place from which on it differs, in characters.
const SAME_CHARS_MAX: usize = 40;

/// How a request differs from the one that is expected.
pub(super) fn request(expect: &Expect, found: &Preview) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(url) = expect.url.as_ref().filter(|url| **url != found.url) {
        // The URL that was found is not printed: beyond its host it is a secret.
        differences.push(format!("url: it differs from {url} from character {} on", same_chars(url, &found.url) + 1));
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
        (Some(wanted), Ok(body)) => compare("body", wanted, &body, &mut differences),
        (Some(wanted), Err(_)) => compare("body", wanted, &Value::String(found.body.clone()), &mut differences),
    }
    differences
}

/// Objects may have more members than expected; everything else is equal, numbers by their value.
fn compare(path: &str, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => compare_members(path, wanted, found, differences),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), wanted, found, differences);
            }
        }
        (Value::Number(wanted), Value::Number(found)) if same_number(wanted, found) => {}
        _ if wanted == found => {}
        (Value::String(wanted), Value::String(found)) => differences.push(format!("{path}: {}", texts(wanted, found))),
        _ => differences.push(format!("{path}: expected {}, found {}", show_value(wanted), show_value(found))),
    }
}

fn compare_members(path: &str, wanted: &Map<String, Value>, found: &Map<String, Value>, differences: &mut Vec<String>) {
    for (name, wanted) in wanted {
        let plain = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        let path = if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") };
        match found.get(name) {
            Some(found) => compare(&path, wanted, found, differences),
            None => differences.push(format!("{path}: expected {}, found nothing", show_value(wanted))),
        }
    }
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
    let text = value.to_string();
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences_of(wanted: &Value, found: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        compare("body", wanted, found, &mut differences);
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
