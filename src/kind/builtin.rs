//! The built-in kinds: a table, with their schemas and samples as files beside it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Kind, MANUAL, Path, Sample, fingerprint};

/// A built-in kind as it is written here.
struct Definition {
    name: &'static str,
    /// Empty for a kind that takes every type.
    types: &'static [&'static str],
    prefixes: &'static [&'static str],
    type_path: &'static str,
    id_path: &'static str,
    time_path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    schema: &'static str,
    /// An object: the samples by name.
    samples: &'static str,
}

/// Where most kinds have the type.
const EVENT_TYPE: &str = "$.event_type";

const DEFINITIONS: [Definition; 6] = [
    Definition {
        name: "request",
        types: &[
            "RequestCreated",
            "RequestApproved",
            "RequestRejected",
            "RequestGranted",
            "RequestExpired",
            "RequestFailed",
        ],
        prefixes: &["AccessRequest", "Request"],
        type_path: EVENT_TYPE,
        id_path: "$.data.id",
        time_path: "$.event_time",
        // People write names, not ids, and know each other by e-mail address.
        fields: &[
            ("integration", "$.data.access_groups[*].integration.name"),
            ("integration_type", "$.data.access_groups[*].integration.type"),
            ("resource_type", "$.data.access_groups[*].resource_types[*].name"),
            ("resource", "$.data.access_groups[*].access_units[*].resource.name"),
            ("permission", "$.data.access_groups[*].access_units[*].permission.name"),
            ("access_flow", "$.data.access_flow.name"),
            ("bundle", "$.data.access_bundle.name"),
            ("requester", "$.data.requester.email"),
            ("grantee", "$.data.grantee.name"),
            ("approval_status", "$.data.approvals[*].status"),
            ("approver_type", "$.data.approvals[*].type"),
        ],
        schema: include_str!("schema/request.json"),
        samples: include_str!("samples/request.json"),
    },
    Definition {
        name: "integration",
        types: &[],
        prefixes: &[],
        type_path: EVENT_TYPE,
        id_path: "$.data.id",
        time_path: "$.event_time",
        fields: &[("integration", "$.data.name"), ("type", "$.data.type"), ("status", "$.data.status")],
        schema: include_str!("schema/integration.json"),
        samples: include_str!("samples/integration.json"),
    },
    Definition {
        name: "anomaly",
        types: &[],
        prefixes: &[],
        type_path: EVENT_TYPE,
        id_path: "$.data.id",
        time_path: "$.event_time",
        // What `data` holds is not promised by anybody, so nothing in it has a name but its id.
        fields: &[("event_type", EVENT_TYPE), ("id", "$.data.id")],
        schema: include_str!("schema/anomaly.json"),
        samples: include_str!("samples/anomaly.json"),
    },
    Definition {
        name: "audit",
        types: &[],
        prefixes: &[],
        type_path: EVENT_TYPE,
        id_path: "$.data.target_id",
        time_path: "$.event_time",
        fields: &[
            ("action", "$.data.action"),
            ("actor", "$.data.actor_name"),
            ("actor_type", "$.data.actor_type"),
            ("source", "$.data.source"),
            ("target", "$.data.target_name"),
            ("target_type", "$.data.target_type"),
        ],
        schema: include_str!("schema/audit.json"),
        samples: include_str!("samples/audit.json"),
    },
    Definition {
        name: "oort",
        types: &["FAILED_CHECK", "WebhookTest"],
        prefixes: &[],
        type_path: "$['detail-type']",
        id_path: "$.detail.id",
        time_path: "$.time",
        fields: &[
            ("check", "$.detail.checkId"),
            ("severity", "$.detail.severity"),
            ("source", "$.source"),
            ("title", "$.detail.title"),
        ],
        schema: include_str!("schema/oort.json"),
        samples: include_str!("samples/oort.json"),
    },
    Definition {
        name: "cloudevents",
        types: &[],
        prefixes: &[],
        type_path: "$.type",
        id_path: "$.id",
        time_path: "$.time",
        fields: &[("type", "$.type"), ("source", "$.source"), ("subject", "$.subject"), ("id", "$.id")],
        schema: include_str!("schema/cloudevents.json"),
        samples: include_str!("samples/cloudevents.json"),
    },
];

/// The built-in kinds, in the order of the documentation.
pub(super) fn kinds() -> Vec<Kind> {
    DEFINITIONS.iter().map(compile).collect()
}

fn compile(definition: &Definition) -> Kind {
    let mut kind = Kind {
        name: definition.name.into(),
        types: definition.types.iter().map(|name| Arc::from(*name)).collect(),
        prefixes: definition.prefixes,
        type_path: path(definition.type_path),
        id_path: Some(path(definition.id_path)),
        time_path: Some(path(definition.time_path)),
        fields: definition.fields.iter().map(|(name, text)| ((*name).into(), path(text))).collect(),
        samples: Vec::new(),
        schema: embedded(definition.schema),
        fingerprint: fingerprint(definition.name),
    };
    let samples: Map<String, Value> = embedded(definition.samples);
    for (name, payload) in samples {
        let event_type =
            if name == MANUAL { Some(Arc::from(MANUAL)) } else { kind.event_type(&payload) }.unwrap_or_default();
        kind.samples.push(Sample { name: name.into(), event_type, payload });
    }
    kind
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("the table's paths are constants, and a test compiles them")
}

fn embedded<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the embedded files are constants, and a test reads them")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    /// The rules of a schema that a payload breaks: type, enum, required, properties, items.
    fn breaches(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let matches_type = |name: &str| match name {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            "null" => value.is_null(),
            other => panic!("{at}: the schema has the type {other}"),
        };
        let fits = match schema.get("type") {
            Some(Value::String(name)) => matches_type(name),
            Some(Value::Array(names)) => names.iter().any(|name| matches_type(name.as_str().unwrap())),
            Some(other) => panic!("{at}: the schema's type is {other}"),
            None => true,
        };
        if !fits {
            found.push(format!("{at}: {value} is no {}", schema["type"]));
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array)
            && !values.contains(value)
        {
            found.push(format!("{at}: {value} is not in the enum"));
        }
        if let Some(members) = value.as_object() {
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                if !members.contains_key(name.as_str().unwrap()) {
                    found.push(format!("{at}: {name} is missing"));
                }
            }
            let open = schema.get("additionalProperties") != Some(&Value::Bool(false));
            for (name, member) in members {
                match schema.get("properties").and_then(|properties| properties.get(name)) {
                    Some(schema) => breaches(schema, member, &format!("{at}.{name}"), found),
                    None if open => {}
                    None => found.push(format!("{at}: {name} is not described")),
                }
            }
        }
        for (index, element) in value.as_array().into_iter().flatten().enumerate() {
            if let Some(schema) = schema.get("items") {
                breaches(schema, element, &format!("{at}[{index}]"), found);
            }
        }
    }

    /// Every place in a schema, as `a.b[].c`, with whether it is described.
    fn places(schema: &Value, at: &str, found: &mut Vec<(String, bool)>) {
        found.push((at.to_owned(), schema.get("description").is_some_and(Value::is_string)));
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            places(schema, &format!("{at}.{name}"), found);
        }
        if let Some(items) = schema.get("items") {
            places(items, &format!("{at}[]"), found);
        }
    }

    #[test]
    fn every_sample_is_what_its_schema_says() {
        let mut count = 0;
        for kind in kinds() {
            for sample in &kind.samples {
                let mut found = Vec::new();
                breaches(&kind.schema, &sample.payload, &sample.name, &mut found);
                assert!(found.is_empty(), "{}: {found:#?}", kind.name);
                count += 1;
            }
        }
        assert!(count >= 20, "only {count} samples");
    }

    #[test]
    fn every_shipped_event_is_what_its_kind_says() {
        let kinds = kinds();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/events");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let stem = file.file_stem().unwrap().to_str().unwrap();
            let kind = kinds.iter().find(|kind| stem.starts_with(&*kind.name)).unwrap();
            let payload: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let mut found = Vec::new();
            breaches(&kind.schema, &payload, stem, &mut found);
            assert!(found.is_empty(), "{found:#?}");
            let event_type = kind.event_type(&payload).unwrap();
            assert!(kind.triggers().contains(&&*event_type), "{stem}: {event_type}");
            count += 1;
        }
        assert!(count >= 9, "only {count} events");
    }

    #[test]
    fn the_check_of_samples_can_fail() {
        let request = &kinds()[0];
        let mut payload = request.samples[0].payload.clone();
        payload["data"]["requester"]["email"] = Value::from(7);
        payload["data"].as_object_mut().unwrap().remove("id");
        payload["data"]["shoe_size"] = Value::from(44);
        payload["data"]["access_groups"][0]["integration"] = Value::from("text");
        let mut found = Vec::new();
        breaches(&request.schema, &payload, "sample", &mut found);
        assert_eq!(found.len(), 4, "{found:#?}");
    }

    #[test]
    fn every_schema_is_of_its_draft_and_describes_every_place() {
        for kind in kinds() {
            assert_eq!(kind.schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{}", kind.name);
            let mut found = Vec::new();
            places(&kind.schema, "$", &mut found);
            let bare: Vec<_> = found.iter().filter(|(_, described)| !described).collect();
            assert!(bare.is_empty(), "{}: {bare:?}", kind.name);
            assert!(found.len() >= 5, "{}: {found:?}", kind.name);
        }
    }

    #[test]
    fn every_type_has_a_sample_and_every_sample_its_type() {
        for kind in kinds() {
            for known in &kind.types {
                assert!(kind.samples.iter().any(|sample| sample.name == *known), "{known}");
            }
            for sample in &kind.samples {
                assert!(!sample.event_type.is_empty(), "{}", sample.name);
                // A type may have dots of its own, and a variant stands behind one.
                let of_its_type = sample.name.strip_prefix(&*sample.event_type);
                assert!(
                    of_its_type.is_some_and(|variant| variant.is_empty() || variant.starts_with('.')),
                    "{}",
                    sample.name
                );
                assert!(kind.canonical(&sample.event_type).is_some(), "{}", sample.name);
                assert!(kind.event_type(&sample.payload).is_some(), "{}", sample.name);
            }
        }
    }

    #[test]
    fn every_path_of_a_kind_finds_a_value_in_a_sample() {
        for kind in kinds() {
            let paths = kind.fields.values().chain(&kind.id_path).chain(&kind.time_path);
            for path in paths {
                let finds = |sample: &Sample| path.first(&sample.payload).is_some_and(|value| !value.is_null());
                assert!(kind.samples.iter().any(finds), "{} {}", kind.name, path.text());
            }
        }
    }

    #[test]
    fn requests_come_in_an_older_and_a_newer_spelling() {
        let request = &kinds()[0];
        for known in &request.types {
            let newer = &request.sample(known).unwrap().payload;
            let older = &request.sample(&format!("{known}.older")).unwrap().payload;
            assert!(newer["event_time"].is_string() && newer["data"]["creation_date"].is_string(), "{known}");
            assert!(older["event_time"].is_number() && older["data"]["creation_date"].is_number(), "{known}");
            assert!(older["event_time"].to_string().len() == "1696263265.851898000".len(), "the digits are kept");
            for added in ["grantee", "access_duration_in_seconds", "custom_fields"] {
                assert!(newer["data"].get(added).is_some() && older["data"].get(added).is_none(), "{known} {added}");
            }
            let spelt = newer["event_type"].as_str().unwrap();
            assert_eq!(spelt.strip_prefix("Access"), Some(&**known));
        }
        assert!(request.sample(MANUAL).is_some());
    }
}
