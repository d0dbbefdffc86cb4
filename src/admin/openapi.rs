//! The document of this API, in the words of `OpenAPI` 3.1. It is kept by hand: a test asks the real process whether all of it is true.

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::admin::repair::Action;
    use crate::admin::route::Route;
    use crate::delivery::{Cause, Reason};

    /// Every route, with `{…}` as the document writes it.
    const ROUTES: [Route<'_>; 18] = [
        Route::Webhooks,
        Route::Webhook("{name}"),
        Route::Test("{name}"),
        Route::Config,
        Route::Changes,
        Route::Resume("{name}"),
        Route::Invocations,
        Route::Invocation("{id}"),
        Route::Resend("{id}"),
        Route::Events,
        Route::DeadLetters,
        Route::DeadLetter("{id}"),
        Route::Repair(Action::Replay),
        Route::Repair(Action::Drop),
        Route::OpenApi,
        Route::Reload,
        Route::LogLevel,
        Route::Quit,
    ];

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_in_the_document_and_nothing_else_is() {
        let source = include_str!("route.rs");
        let (_, variants) = source.split_once("pub(super) enum Route<'p> {\n").unwrap();
        let variants = variants.split_once("\n}\n").unwrap().0.lines().filter(|line| line.ends_with(',')).count();
        // Replaying and dropping are one variant.
        assert_eq!(ROUTES.len(), variants + 1, "a route is missing in this test");
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        for (path, operations) in paths {
            let route = Route::find(path).unwrap_or_else(|_| panic!("{path} is no route"));
            assert!(ROUTES.contains(&route), "{path}");
            let allowed: BTreeSet<String> =
                route.allowed().split(", ").filter(|method| *method != "HEAD").map(str::to_lowercase).collect();
            assert_eq!(operations.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), allowed, "{path}");
            for operation in operations.as_object().unwrap().values() {
                let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
                let in_query = parameters.iter().any(|parameter| parameter["in"] == "query");
                assert_eq!(in_query, route.takes_parameters(), "{path}");
            }
        }
        assert_eq!(paths.len(), ROUTES.len(), "a route is missing in the document");
    }

    /// Gives each table of a document.
    fn tables<'v>(value: &'v Value, give: &mut impl FnMut(&'v serde_json::Map<String, Value>)) {
        match value {
            Value::Object(members) => {
                give(members);
                members.values().for_each(|member| tables(member, give));
            }
            Value::Array(members) => members.iter().for_each(|member| tables(member, give)),
            _ => {}
        }
    }

    #[test]
    fn an_object_has_the_members_that_it_requires_and_no_others_unless_all_are_possible() {
        let (document, mut seen) = (document(), 0);
        tables(&document["components"]["schemas"], &mut |schema| {
            let (Some(Value::Object(properties)), Some("object")) =
                (schema.get("properties"), schema.get("type").and_then(Value::as_str))
            else {
                return;
            };
            assert_eq!(schema["additionalProperties"], false, "{schema:?}");
            let required = schema.get("required").and_then(Value::as_array);
            for member in required.into_iter().flatten() {
                assert!(properties.contains_key(member.as_str().unwrap()), "{member}: {schema:?}");
            }
            seen += 1;
        });
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn closed_lists_are_those_of_the_code() {
        let document = document();
        let listed = |name: &str| document["components"]["schemas"][name]["enum"].clone();
        assert_eq!(listed("Reason"), Value::from(Reason::ALL.map(Reason::as_str).to_vec()));
        assert_eq!(listed("Level"), Value::from(crate::log::names().to_vec()));
        assert_eq!(listed("Cause"), Value::from(Cause::ALL.map(Cause::as_str).to_vec()));
    }
}
