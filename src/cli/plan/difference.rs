//! In which parts two requests differ.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use http::HeaderName;
use serde_json::{Map, Value};

use crate::kind::value::{cut, equal, order_numbers};
use crate::secret::MASK;
use crate::shown;
use crate::webhook::request::{Request, WEBHOOK_ID};
use crate::webhook::{Body, Webhook};

/// Beyond so many places a body differs as a whole.
const PLACES_MAX: usize = 32;

/// How much of a place is kept, in characters.
const PLACE_CHARS_MAX: usize = 200;

/// A request with the webhook that makes it.
pub(super) type Made<'m> = (&'m Webhook, &'m Request);

/// The parts in which two requests differ, by name and in order: `body.text`, `headers.x-a`, `method`, `url`. An element of a
/// list is `[]`, whichever it is, so that requests that differ alike have the same parts.
pub(super) fn parts(old: Made<'_>, new: Made<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    body(old, new, &mut parts);
    headers(old, new, &mut parts);
    if old.1.method != new.1.method {
        parts.push("method".to_owned());
    }
    if old.1.uri != new.1.uri {
        parts.push("url".to_owned());
    }
    parts
}

fn headers(old: Made<'_>, new: Made<'_>, parts: &mut Vec<String>) {
    let mut names: Vec<&HeaderName> = old.1.headers.keys().chain(new.1.headers.keys()).collect();
    names.sort_by_key(|name| name.as_str());
    names.dedup();
    for name in names {
        let differs = old.1.headers.get(name) != new.1.headers.get(name);
        // What is secret is never looked at: the definition tells whether it is written differently.
        if *name != WEBHOOK_ID && differs && seen(old, name) != seen(new, name) {
            parts.push(format!("headers.{name}"));
        }
    }
}

/// A header's value as people may see it.
fn seen<'m>((webhook, request): Made<'m>, name: &HeaderName) -> Option<Cow<'m, str>> {
    let value = request.headers.get(name)?;
    if webhook.auth.as_ref().is_some_and(|auth| auth.header() == *name) {
        return Some(MASK.into());
    }
    let value = String::from_utf8_lossy(value.as_bytes());
    Some(if shown::is_typed_secret(webhook, name.as_str(), &value) { MASK.into() } else { value })
}

fn body(old: Made<'_>, new: Made<'_>, parts: &mut Vec<String>) {
    if old.1.body == new.1.body {
        return;
    }
    let (Some(old), Some(new)) = (json(old), json(new)) else {
        parts.push("body".to_owned());
        return;
    };
    let mut places = BTreeSet::new();
    compare(&mut "body".to_owned(), &old, &new, &mut places);
    if places.len() > PLACES_MAX {
        parts.push("body".to_owned());
    } else {
        parts.extend(places);
    }
}

/// A body as JSON, where JSON is what it is meant to be.
pub(super) fn json((webhook, request): Made<'_>) -> Option<Value> {
    match webhook.body {
        Body::Event | Body::Json(_) => serde_json::from_slice(&request.body).ok(),
        Body::None | Body::Text(_) => None,
    }
}

/// Goes through both bodies. The path grows and shrinks on the way, so that a long name costs its length once.
fn compare(path: &mut String, old: &Value, new: &Value, places: &mut BTreeSet<String>) {
    if places.len() > PLACES_MAX {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, old) in old {
                below(
                    path,
                    |path| push_member(path, name),
                    |path| match new.get(name) {
                        Some(new) => compare(path, old, new, places),
                        None => insert(path, places),
                    },
                );
            }
            for name in new.keys().filter(|name| !old.contains_key(*name)) {
                if places.len() > PLACES_MAX {
                    return;
                }
                below(path, |path| push_member(path, name), |path| insert(path, places));
            }
        }
        (Value::Array(old), Value::Array(new)) => below(
            path,
            |path| path.push_str("[]"),
            |path| {
                if old.len() != new.len() {
                    return insert(path, places);
                }
                for (old, new) in old.iter().zip(new) {
                    compare(path, old, new, places);
                }
            },
        ),
        _ if equal(old, new) => {}
        _ => insert(path, places),
    }
}

/// Does something at a place below.
fn below(path: &mut String, push: impl FnOnce(&mut String), work: impl FnOnce(&mut String)) {
    let length = path.len();
    push(path);
    work(path);
    path.truncate(length);
}

fn insert(path: &str, places: &mut BTreeSet<String>) {
    places.insert(cut(path, PLACE_CHARS_MAX));
}

fn push_member(path: &mut String, name: &str) {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if name.chars().all(plain) && !name.is_empty() {
        path.push('.');
        path.push_str(name);
    } else {
        // Writing to a text cannot fail.
        let _ = write!(path, "[{name:?}]");
    }
}

/// The new value, written as the old one where both are the same: members stand in the old order, and numbers have the old
/// digits. Lines that differ are then lines that mean something else.
pub(super) fn aligned(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            // The places of the common members are dealt out anew, in the old order; what is new stays where it stands.
            let mut common = old.keys().filter(|name| new.contains_key(*name));
            let mut members = Map::with_capacity(new.len());
            for (name, value) in new {
                let (name, value) = match old.contains_key(name).then(|| common.next()).flatten() {
                    Some(name) => (name, new.get(name).unwrap_or(value)),
                    None => (name, value),
                };
                members.insert(name.clone(), old.get(name).map_or_else(|| value.clone(), |old| aligned(old, value)));
            }
            Value::Object(members)
        }
        (Value::Array(old), Value::Array(new)) => {
            let aligned_to = |(index, value): (usize, &Value)| match old.get(index) {
                Some(old) => aligned(old, value),
                None => value.clone(),
            };
            Value::Array(new.iter().enumerate().map(aligned_to).collect())
        }
        (Value::Number(one), Value::Number(other)) if order_numbers(one, other) == Some(Ordering::Equal) => old.clone(),
        _ => new.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(old: &Value, new: &Value) -> Vec<String> {
        let mut places = BTreeSet::new();
        compare(&mut "body".to_owned(), old, new, &mut places);
        places.into_iter().collect()
    }

    #[test]
    fn bodies_are_compared_by_value_and_their_differences_named() {
        let old = json!({"a": 1, "b": [{"c": "x", "d": 1}, {"c": "y", "d": 2}], "e f": null, "g": [1]});
        let long = |end: char| serde_json::from_str::<Value>(&format!("{}{end}", "1".repeat(2000))).unwrap();
        assert_eq!(aligned(&long('1'), &long('2')), long('2'));
        assert_eq!(places(&old, &json!({"g": [1.0], "e f": null, "b": old["b"], "a": 1.0})), Vec::<String>::new());
        let new = json!({"a": "1", "b": [{"c": "x", "d": 3}, {"c": "y", "d": 4}], "g": [1, 2], "h": {"i": 1}});
        assert_eq!(places(&old, &new), ["body.a", "body.b[].d", "body.g[]", "body.h", "body[\"e f\"]"]);
        assert_eq!(places(&json!([1]), &json!({"a": 1})), ["body"]);
    }

    #[test]
    fn a_body_that_differs_everywhere_has_a_bounded_number_of_places() {
        let of = |value: u32| Value::Object((0..1000).map(|index| (format!("k{index}"), json!(value))).collect());
        assert_eq!(places(&of(1), &of(2)).len(), PLACES_MAX + 1);
        assert_eq!(places(&json!({}), &of(2)).len(), PLACES_MAX + 1);
        let below = |value: u32| json!({"k".repeat(100_000): vec![json!({"a": value}); 100_000]});
        let found = places(&below(1), &below(2));
        assert_eq!(found.iter().map(|place| place.chars().count()).collect::<Vec<_>>(), [PLACE_CHARS_MAX + 1]);
    }

    #[test]
    fn what_is_the_same_is_written_the_same() {
        let old = json!({"a": 1, "b": {"x": 1, "y": 2}, "c": [1, 2]});
        let new: Value =
            serde_json::from_str(r#"{"c":[1.0,3],"new":true,"b":{"y":2.00,"x":5},"a":1e0}"#).unwrap_or_default();
        assert_eq!(aligned(&old, &new).to_string(), r#"{"a":1,"new":true,"b":{"x":5,"y":2},"c":[1,3]}"#);
        assert!(equal(&aligned(&old, &new), &new));
        assert_eq!(aligned(&old, &json!("x")), json!("x"));
    }
}
