//! What a kind's schema has, step by step: for those who ask whether a path can lead anywhere.

use serde_json::Value;

use crate::diagnostic::nearest;

use super::path::Path;
use super::query::{Segment, Selector};

/// The schema of the values at a path; `None` where nothing is known about them. The error is what there is instead.
pub(super) fn look_up<'s>(schema: &'s Value, path: &Path) -> Result<Option<&'s Value>, String> {
    let mut known = schema;
    for segment in path.segments() {
        let Segment::One(selector) = segment else { return Ok(None) };
        match next(known, selector)? {
            Some(schema) => known = schema,
            None => return Ok(None),
        }
    }
    Ok(Some(known))
}

fn next<'s>(schema: &'s Value, selector: &Selector) -> Result<Option<&'s Value>, String> {
    if let Some(items) = schema.get("items") {
        return match selector {
            Selector::Name(name) => {
                Err(format!("it is a list there: write `[*].{name}` for every one in it, or `[0].{name}`"))
            }
            Selector::Index(_) | Selector::Wildcard => Ok(Some(items)),
            Selector::Slice(_) | Selector::Filter(_) => Ok(None),
        };
    }
    let plain = is_plain(schema);
    match selector {
        Selector::Name(name) => member(schema, name),
        Selector::Index(index) if plain || schema.get("properties").is_some() => {
            Err(format!("remove `[{index}]`: it is no list there"))
        }
        Selector::Wildcard if plain => Err("remove the `*`: there is one value".to_owned()),
        _ => Ok(None),
    }
}

/// The schema of a member of what is no list; `None` where nothing is known about it. The error is what there is instead.
pub fn member<'s>(schema: &'s Value, name: &str) -> Result<Option<&'s Value>, String> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return if is_plain(schema) {
            Err(format!("remove `{name}`: there is one value, without members"))
        } else {
            Ok(None)
        };
    };
    if let Some(property) = properties.get(name) {
        return Ok(Some(property));
    }
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Ok(None);
    }
    if let Some(near) = nearest(name, properties.keys().map(String::as_str)) {
        return Err(format!("did you mean `{near}`?"));
    }
    let names: Vec<_> = properties.keys().map(|name| format!("`{name}`")).collect();
    Err(format!("instead of `{name}` there are {}", names.join(", ")))
}

/// Whether only values without members are allowed.
fn is_plain(schema: &Value) -> bool {
    let plain = |name: &Value| matches!(name.as_str(), Some("string" | "number" | "integer" | "boolean" | "null"));
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().all(plain),
        Some(name) => plain(name),
        None => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use crate::kind::Kind;

    use super::*;

    #[test]
    fn a_path_is_known_unknown_or_not_there() {
        let kinds = Kind::builtin();
        let request = kinds.iter().find(|kind| &*kind.name == "request").unwrap();
        for (path, expected) in [
            ("$", Ok("object")),
            ("$.data.id", Ok("string")),
            ("$.data.access_groups[*].integration.name", Ok("string")),
            ("$.data.access_groups[0]", Ok("object")),
            ("$.data.custom_fields.team.lead", Err(None)),
            ("$..id", Err(None)),
            ("$.data.approvals[?@.status == 'x'].naem", Err(None)),
            ("$.data.aprovals[?@.status == 'x']", Err(Some("did you mean `approvals`?"))),
            ("$.data.idd", Err(Some("did you mean `id`?"))),
            ("$.data.id.x", Err(Some("remove `x`: there is one value, without members"))),
            ("$.data.id[0]", Err(Some("remove `[0]`: it is no list there"))),
            ("$.data.id[*]", Err(Some("remove the `*`: there is one value"))),
            ("$.data[0]", Err(Some("remove `[0]`: it is no list there"))),
            (
                "$.data.approvals.status",
                Err(Some("it is a list there: write `[*].status` for every one in it, or `[0].status`")),
            ),
            ("$.zebra", Err(Some("instead of `zebra` there are `event_type`, `event_time`, `data`"))),
        ] {
            let path = Path::parse(path).unwrap();
            match (request.look_up(&path), expected) {
                (Ok(Some(schema)), Ok(name)) => assert_eq!(schema["type"], name, "{path:?}"),
                (Ok(None), Err(None)) => {}
                (Err(fix), Err(Some(wanted))) => assert_eq!(fix, wanted, "{path:?}"),
                (found, _) => panic!("{path:?} is {found:?}"),
            }
        }
    }

    #[test]
    fn every_kind_has_what_it_names_itself() {
        for kind in Kind::builtin() {
            let named = [Some(&kind.type_path), kind.id_path.as_ref(), kind.time_path.as_ref()];
            for path in named.into_iter().flatten().chain(kind.fields.values()) {
                assert!(kind.look_up(path).is_ok(), "{} has no {}", kind.name, path.text());
            }
        }
    }
}
