//! JSON Schema of the configuration files, for editors: made from the list of keys, so that it has no opinion of its own.
//!
//! It is in draft 7, the one that TOML language servers know. What takes more than one key to judge (a filter that asks two
//! things, a URL that is none) is left to `outrigger check`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::reference::{Key, SIDECAR, Shape, WEBHOOK};
use super::table::as_json;
use crate::kind::Kind;

/// The draft.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Tables that are written `[[…]]`.
const LISTS: [&str; 3] = ["filters", "response_validators", "tests"];

/// `30s`, `1.5h`
const DURATION: &str = r"^[0-9]+(\.[0-9]*)?\s*(ms|s|m|h|d)$";
/// `64KiB`, `100`
const SIZE: &str = r"^[0-9]+\s*(B|KB|MB|GB|KiB|MiB|GiB|TiB)?$";
/// `10/s`, `0.5/m`
const RATE: &str = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)/(s|m|h)$";

/// A kind of configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// `outrigger.toml`.
    Sidecar,
    /// `webhooks/NAME.toml`.
    Webhook,
}

impl ConfigFile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sidecar, Self::Webhook];

    /// The name of the file that its schema is shipped in.
    #[must_use]
    pub const fn schema_file(self) -> &'static str {
        match self {
            Self::Sidecar => "outrigger.json",
            Self::Webhook => "webhook.json",
        }
    }

    /// Its JSON Schema.
    #[must_use]
    pub fn schema(self) -> Value {
        let (keys, title) = match self {
            Self::Sidecar => (SIDECAR, "outrigger.toml: the sidecar itself"),
            Self::Webhook => (WEBHOOK, "webhooks/NAME.toml: one webhook"),
        };
        let mut schema = json!({ "$schema": DRAFT, "title": title });
        if let (Value::Object(schema), Value::Object(table)) = (&mut schema, table(keys, "", &Known::new())) {
            schema.extend(table);
        }
        schema
    }
}

/// What an editor may offer where any text is possible.
struct Known {
    kinds: BTreeSet<String>,
    triggers: BTreeSet<String>,
    fields: BTreeSet<String>,
}

impl Known {
    fn new() -> Self {
        let kinds = Kind::builtin();
        Self {
            kinds: kinds.iter().map(|kind| kind.name.to_string()).collect(),
            triggers: kinds.iter().flat_map(|kind| kind.triggers()).map(str::to_owned).collect(),
            fields: kinds.iter().flat_map(|kind| kind.fields.keys()).map(ToString::to_string).collect(),
        }
    }

    fn of(&self, key: &Key) -> Option<&BTreeSet<String>> {
        match (key.table, key.key) {
            ("", "kind") => Some(&self.kinds),
            ("", "triggers") => Some(&self.triggers),
            ("filters", "field") => Some(&self.fields),
            _ => None,
        }
    }
}

/// The schema of a table: its keys, and the tables below it.
fn table(keys: &[Key], path: &str, known: &Known) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys.iter().filter(|key| key.table == path) {
        properties.insert(key.key.to_owned(), property(key, known));
        if key.required {
            required.push(key.key);
        }
    }
    let mut others = Value::Bool(false);
    for name in tables_below(keys, path) {
        let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let mut schema = table(keys, &below, known);
        if LISTS.contains(&below.as_str()) {
            schema = json!({ "type": "array", "items": schema });
        }
        if name == "*" {
            others = schema;
        } else if let Some(word) = properties.get_mut(name) {
            // `ordering` is a word or a table.
            let mut either = Map::from_iter([("description".to_owned(), word["description"].clone())]);
            either.insert("anyOf".to_owned(), json!([word, schema]));
            *word = Value::Object(either);
        } else {
            properties.insert(name.to_owned(), schema);
        }
    }
    let mut table = Map::from_iter([("type".to_owned(), json!("object"))]);
    table.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        table.insert("required".to_owned(), json!(required));
    }
    table.insert("additionalProperties".to_owned(), others);
    Value::Object(table)
}

/// The names of the tables right below a table, in the order of the list.
fn tables_below<'k>(keys: &'k [Key], path: &str) -> Vec<&'k str> {
    let mut names = Vec::new();
    for key in keys {
        let rest = match path {
            "" => Some(key.table).filter(|table| !table.is_empty()),
            path => key.table.strip_prefix(path).and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

fn property(key: &Key, known: &Known) -> Value {
    let mut schema = shape(key.shape);
    if let Some(words) = known.of(key) {
        let any = |text: &Value| json!({ "anyOf": [{ "enum": words }, text] });
        match schema.get("items").map(any) {
            Some(items) => schema["items"] = items,
            None => schema = any(&schema),
        }
    }
    schema["description"] = json!(key.about);
    // A default that is given in words is none that an editor could fill in.
    if let Some(default) = DeValue::parse(key.default).ok().and_then(|value| as_json(value.get_ref())) {
        schema["default"] = default;
    }
    schema
}

fn shape(shape: Shape) -> Value {
    let text = || json!({ "type": "string" });
    let number_or = |pattern: &str, number: &str| json!({ "anyOf": [{ "type": "string", "pattern": pattern }, { "type": number, "minimum": 0 }] });
    let list = |items: Value| json!({ "type": "array", "items": items });
    match shape {
        Shape::Text => text(),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::Duration => number_or(DURATION, "number"),
        Shape::Size => number_or(SIZE, "integer"),
        Shape::Rate => json!({ "type": "string", "pattern": RATE }),
        Shape::Truth => json!({ "type": "boolean" }),
        Shape::Whole(bounds) => json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Wholes(bounds) => list(json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() })),
        Shape::Texts => list(text()),
        Shape::ManyWords(words) => list(json!({ "enum": words })),
        Shape::Values => list(json!({ "type": ["string", "number", "boolean"] })),
        Shape::TextTable => json!({ "type": "object", "additionalProperties": text() }),
        Shape::TextOrTable => json!({ "type": ["string", "object"] }),
        Shape::Any => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_supported_is_in_the_schema_and_no_other() {
        for (file, keys) in [(ConfigFile::Sidecar, SIDECAR), (ConfigFile::Webhook, WEBHOOK)] {
            let schema = file.schema();
            let mut found = BTreeSet::new();
            collect(&schema, "", &mut found);
            let listed: BTreeSet<(String, String)> =
                keys.iter().map(|key| (key.table.to_owned(), key.key.to_owned())).collect();
            assert_eq!(found, listed);
        }
    }

    /// The keys of a schema that hold no further table.
    fn collect(schema: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let table = match &property["anyOf"] {
                Value::Array(either) => either.iter().find(|one| one["properties"].is_object()),
                _ if property["items"]["properties"].is_object() => Some(&property["items"]),
                _ => Some(property).filter(|one| one["properties"].is_object()),
            };
            if table.is_none() || property["anyOf"].is_array() {
                found.insert((path.to_owned(), name.clone()));
            }
            if let Some(table) = table {
                collect(table, &below(name), found);
            }
        }
        if schema["additionalProperties"]["properties"].is_object() {
            collect(&schema["additionalProperties"], &below("*"), found);
        }
    }

    #[test]
    fn the_patterns_are_what_the_reader_takes() {
        use crate::config::quantity;
        let texts = [
            "30s", "1.5h", "250ms", "7d", "10 m", "1.s", "s", "-1s", "1 week", "", "1e3s", "64KiB", "1 MiB", "1.5MiB",
            "100", "100B", "KiB", "1kb", "10/s", "0.5/m", ".5/h", "1./s", "10/d", "/s", "10", "./s", "1.2.3/s",
        ];
        let fits = |pattern: &str, text: &str| regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
        for text in texts {
            assert_eq!(fits(DURATION, text), quantity::duration(text).is_some(), "duration {text:?}");
            assert_eq!(fits(SIZE, text), quantity::size(text).is_some(), "size {text:?}");
            assert_eq!(fits(RATE, text), quantity::interval(text).is_some(), "rate {text:?}");
        }
    }
}
