//! Which keys two files differ in: what the requests do not show, or not on these events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use toml::{Table, Value};

use super::side::Definition;
use crate::config::{PASTED_KEY, is_secret_header};
use crate::secret::MASK;

/// The tables and keys of a webhook whose values are shown. All others may hold a secret: a URL, a header, a credential, a body.
const SHOWN: [&str; 16] = [
    "breaker",
    "content_type",
    "filters",
    "format",
    "kind",
    "limits",
    "method",
    "ordering",
    "response_validators",
    "retry",
    "status",
    "strict",
    "timeout",
    "title",
    "tls",
    "triggers",
];

/// The table that says nothing about deliveries.
const TESTS: &str = "tests";

/// What secrets are called in `outrigger.toml`.
const SECRETS: [&str; 2] = ["token", "password"];

/// A key that two files differ in.
#[derive(Debug, PartialEq)]
pub(super) struct Changed {
    /// `limits.rate`, `filters[0].any_of`.
    pub(super) key: String,
    pub(super) how: How,
}

/// How a key differs.
#[derive(Debug, PartialEq)]
pub(super) enum How {
    /// These are the values, where there are any.
    Values(Option<Value>, Option<Value>),
    /// It differs in what is a secret, or in which secret is referenced.
    Masked,
    /// It differs in a text that may hold a secret.
    Text,
    /// It names the same file, whose content differs.
    Content,
}

/// The keys that two files of a webhook differ in. `seen` are the parts of requests that were seen to change: what differs in
/// them needs no mention.
pub(super) fn webhook(old: &Definition, new: &Definition, seen: &BTreeSet<&str>) -> Vec<Changed> {
    let (old, new) = (leaves(&with_body(old)), leaves(&with_body(new)));
    let mut changed = Vec::new();
    for (key, old, new) in different(&old, &new) {
        let top = key.split(['.', '[']).next().unwrap_or_default();
        let how = if [old, new].into_iter().flatten().any(is_key) {
            How::Masked
        } else if SHOWN.contains(&top) {
            How::Values(old.cloned(), new.cloned())
        } else if top == TESTS {
            continue;
        } else if matches!(top, "auth" | "signing") || same_but_for_references(old, new) {
            How::Masked
        } else if seen.contains(top) || seen.contains(&*key.to_lowercase()) {
            continue;
        } else if top == "headers" && is_secret_header(key) {
            How::Masked
        } else {
            How::Text
        };
        changed.push(Changed { key: key.to_owned(), how });
    }
    changed
}

/// The keys that two `outrigger.toml` differ in.
pub(super) fn sidecar(old: &str, new: &str) -> Vec<Changed> {
    let parsed = |text: &str| leaves(&text.parse::<Table>().unwrap_or_default());
    let (old, new) = (parsed(old), parsed(new));
    let how = |key: &str, old: Option<&Value>, new: Option<&Value>| {
        let name = key.rsplit('.').next().unwrap_or(key);
        let key = [old, new].into_iter().flatten().any(is_key);
        if key || SECRETS.contains(&name) { How::Masked } else { How::Values(old.cloned(), new.cloned()) }
    };
    different(&old, &new)
        .into_iter()
        .map(|(key, old, new)| Changed { key: key.to_owned(), how: how(key, old, new) })
        .collect()
}

/// Whether a value is a key that was pasted where its file belongs.
fn is_key(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains(PASTED_KEY))
}

/// A webhook's table, its body in place of the file that it names.
fn with_body(definition: &Definition) -> Table {
    // A file that is no TOML has been refused.
    let mut table: Table = definition.text.parse().unwrap_or_default();
    if let Some(body) = &definition.body {
        table.remove("body_file");
        table.insert("body".to_owned(), Value::String(body.clone()));
    }
    table
}

/// All keys of either with another value on the other side, with both values, in order.
fn different<'l>(
    old: &'l BTreeMap<String, Value>,
    new: &'l BTreeMap<String, Value>,
) -> Vec<(&'l str, Option<&'l Value>, Option<&'l Value>)> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let both = keys.into_iter().map(|key| (&**key, old.get(key), new.get(key)));
    both.filter(|(_, old, new)| old != new).collect()
}

/// All values of a table that are no tables, by their dotted keys.
fn leaves(table: &Table) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for (name, value) in table {
        collect(name.clone(), value, &mut leaves);
    }
    leaves
}

fn collect(key: String, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                collect(format!("{key}.{name}"), value, leaves);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_table) => {
            for (index, value) in list.iter().enumerate() {
                collect(format!("{key}[{index}]"), value, leaves);
            }
        }
        value => {
            leaves.insert(key, value.clone());
        }
    }
}

/// Whether two texts differ in nothing but which secrets they reference.
fn same_but_for_references(old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old.and_then(Value::as_str), new.and_then(Value::as_str)) {
        (Some(old), Some(new)) => masked(old) == masked(new),
        _ => false,
    }
}

/// A text with every reference masked.
fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        masked.push_str(before);
        // `$${` and `${{` are no references.
        let reference = !before.ends_with('$') && !behind.starts_with('{');
        (rest, masked) = match behind.split_once('}').filter(|_| reference) {
            Some((_, behind)) => (behind, masked + MASK),
            None => (behind, masked + "${"),
        };
    }
    masked + rest
}

/// A value as JSON, for programs; what JSON cannot say is text.
pub(super) fn json(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or_else(|_| Json::String(value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SIDECAR;

    fn changed(old: &str, new: &str, seen: &[&str]) -> Vec<String> {
        let of = |text: &str| Definition { text: text.to_owned(), body: None };
        let show = |changed: &Changed| match &changed.how {
            How::Values(old, new) => {
                let show = |value: &Option<Value>| value.as_ref().map_or("unset".to_owned(), Value::to_string);
                format!("{} {} {}", changed.key, show(old), show(new))
            }
            how => format!("{} {how:?}", changed.key),
        };
        webhook(&of(old), &of(new), &seen.iter().copied().collect()).iter().map(show).collect()
    }

    #[test]
    fn changed_keys_are_named_and_values_shown_only_where_no_secret_can_be() {
        let old = "url = 'https://a/SECRET'\ntitle = 'x'\nlimits = { rate = '1/s' }\n[headers]\nx-a = 'SECRET'\n[auth]\nbearer = { token = 'SECRET' }\n[[filters]]\nfield = 'a'\nany_of = ['b']\n";
        let new = "# a comment\ntitle = 'x'\nurl = 'https://a/OTHER'\nlimits = { rate = '2/s', burst = 3 }\n[headers]\nx-a = 'OTHER'\n[auth]\nbearer = { token = 'OTHER' }\n[[filters]]\nfield = 'a'\nany_of = ['b', 'c']\n[[tests]]\nname = 'new'\n";
        assert_eq!(
            changed(old, new, &[]),
            [
                "auth.bearer.token Masked",
                "filters[0].any_of [\"b\"] [\"b\", \"c\"]",
                "headers.x-a Text",
                "limits.burst unset 3",
                "limits.rate \"1/s\" \"2/s\"",
                "url Text"
            ]
        );
        assert_eq!(changed(old, new, &["url", "headers.x-a"]).len(), 4);
        assert_eq!(changed(old, old, &[]), Vec::<String>::new());
    }

    #[test]
    fn another_reference_is_told_though_its_value_is_never_seen() {
        let old = "url = '${env:A}'\nbody = '{\"a\": \"${env:B}\", \"b\": 1}'\n";
        assert_eq!(changed(old, &old.replace("env:A", "env:C"), &["url"]), ["url Masked"]);
        assert_eq!(changed(old, &old.replace("env:B", "file:b"), &["body"]), ["body Masked"]);
        assert_eq!(changed(old, &old.replace("b\": 1", "b\": 2"), &["body"]), Vec::<String>::new());
        assert_eq!(masked("a${env:B}c$${d}${{e}}${"), "a***c$${d}${{e}}${");
    }

    #[test]
    fn every_secret_of_the_sidecar_is_known_by_its_name() {
        let secret = ["token", "secret", "password", "key", "credential"];
        let names: Vec<&str> =
            SIDECAR.iter().map(|key| key.key).filter(|key| secret.iter().any(|word| key.contains(word))).collect();
        // Where a key lies is no secret.
        let names: Vec<&str> = names.into_iter().filter(|name| !name.ends_with("_file")).collect();
        assert!(names.len() > 1, "{names:?}");
        for name in names {
            assert!(SECRETS.contains(&name), "`{name}` sounds like a secret, and plan would show it");
        }
        let [token, level] =
            &sidecar("[admin]\ntoken = 'SECRET'\n", "[admin]\ntoken = 'OTHER'\n[log]\nlevel = 'debug'\n")[..]
        else {
            panic!("two keys differ")
        };
        assert_eq!(token.how, How::Masked);
        assert_eq!(level.how, How::Values(None, Some(Value::from("debug"))));
    }
}
