//! Response validators: what a good response looks like.
//!
//! A validator judges the document `{"status": 200, "headers": {"lower-case-name": "value"}, "data": …}`, where `data` is
//! the parsed body, or a string where the body is no JSON. Values compare as JSON, numbers by value, or else by the text
//! that writes them: `"true"` equals `true`, `"200"` equals `200`.

use std::sync::Arc;

use serde_json::Value;

use crate::kind::Path;
use crate::kind::value::{Compared, excerpt};

/// How many characters of each found value a verdict keeps.
pub const FOUND_CHARS_MAX: usize = 200;

/// How many found values a verdict keeps.
pub const FOUND_VALUES_MAX: usize = 5;

/// One `[[response_validators]]` entry.
#[derive(Clone, Debug)]
pub struct Validator {
    /// Its name, the metric's label; the path where no name was given.
    pub name: Arc<str>,
    /// Where it looks in `{"status", "headers", "data"}`.
    pub path: Path,
    /// What it wants there.
    pub rule: Rule,
    /// `on_failure = "retry"`.
    pub retry: bool,
}

/// What a validator wants at its path.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Some value at the path is one of these; a missing path fails.
    Expected(Vec<Value>),
    /// No value at the path is one of these; a missing path passes.
    Rejected(Vec<Value>),
}

/// What a validator found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is content.
    pub passed: bool,
    /// The values at the path as bounded text; `None` when nothing is there.
    pub found: Option<String>,
}

impl Validator {
    /// What the patterns of its path cost at most: see [`crate::kind::pattern`].
    #[must_use]
    pub fn positions(&self) -> usize {
        self.path.positions()
    }

    /// How many values it lists.
    #[must_use]
    pub fn values(&self) -> usize {
        match &self.rule {
            Rule::Expected(values) | Rule::Rejected(values) => values.len(),
        }
    }

    /// Judges the response document.
    #[must_use]
    pub fn judge(&self, document: &Value) -> Verdict {
        let values = self.path.all(document);
        let among = |wanted: &[Value]| {
            let wanted: Vec<_> = wanted.iter().map(Compared::new).collect();
            values.iter().map(|value| Compared::new(value)).any(|value| wanted.iter().any(|one| one.is_same(&value)))
        };
        let passed = match &self.rule {
            Rule::Expected(wanted) => among(wanted),
            Rule::Rejected(unwanted) => !among(unwanted),
        };
        Verdict { passed, found: found(&values) }
    }

    /// Whether it looks at the response's body.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.looks_beside(&["status", "headers"])
    }

    /// Whether it looks at the response's headers.
    #[must_use]
    pub fn needs_headers(&self) -> bool {
        self.looks_beside(&["status", "data"])
    }

    /// Whether it looks, or may look, at anything but these members.
    fn looks_beside(&self, members: &[&str]) -> bool {
        // A second `$` may be a filter that looks elsewhere (`$.headers[?$.data.ok]`).
        let starts_there = self.path.root_member().is_some_and(|member| members.contains(&member));
        !starts_there || self.path.text().matches('$').count() > 1
    }
}

fn found(values: &[&Value]) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let mut shown: Vec<String> =
        values.iter().take(FOUND_VALUES_MAX).map(|value| excerpt(value, FOUND_CHARS_MAX)).collect();
    if let more @ 1.. = values.len().saturating_sub(FOUND_VALUES_MAX) {
        shown.push(format!("and {more} more"));
    }
    Some(shown.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn validator(path: &str, rule: Rule) -> Validator {
        Validator { name: path.into(), path: Path::parse(path).unwrap(), rule, retry: false }
    }

    fn document() -> Value {
        serde_json::from_str(
            r#"{"status": 200, "headers": {"content-type": "application/json", "x-count": "3"},
                "data": {"ok": true, "text": "true", "code": 0.0, "error": null, "items": [{"id": 1}, {"id": 2}],
                         "object": {"a": 1.0}, "list": [1, 2]}}"#,
        )
        .unwrap()
    }

    #[test]
    fn expected_wants_one_value_that_equals_one_of_the_list() {
        for (path, expected, passed) in [
            ("$.data.ok", json!(["true"]), true),
            ("$.data.ok", json!([true]), true),
            ("$.data.ok", json!(["false", "true"]), true),
            ("$.data.ok", json!(["false"]), false),
            ("$.data.text", json!([true]), true),
            ("$.data.code", json!([0]), true),
            ("$.data.code", json!(["0"]), true),
            ("$.status", json!(["200"]), true),
            ("$.status", json!([201]), false),
            ("$.data.missing", json!(["x"]), false),
            ("$.data.missing", json!(["null", ""]), false),
            ("$.data.error", json!(["null"]), true),
            ("$.data.items[*].id", json!([2]), true),
            ("$.data.items[*].id", json!([3]), false),
            ("$.data.items[?@.id == 2].id", json!(["2"]), true),
            ("$.headers['content-type']", json!(["application/json"]), true),
            ("$.headers['x-count']", json!([3]), true),
            ("$.data.object", json!([{"a": 1}]), true),
            ("$.data.list", json!([[1, 2.0]]), true),
            ("$.data.list", json!([1]), false),
        ] {
            let Value::Array(values) = expected else { unreachable!() };
            let verdict = validator(path, Rule::Expected(values.clone())).judge(&document());
            assert_eq!(verdict.passed, passed, "{path} {values:?} {verdict:?}");
            // Rejected is its exact opposite, also for a missing path.
            let verdict = validator(path, Rule::Rejected(values.clone())).judge(&document());
            assert_eq!(verdict.passed, !passed, "{path} {values:?} {verdict:?}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_a_string() {
        let document = json!({"status": 200, "headers": {}, "data": "ok"});
        assert!(validator("$.data", Rule::Expected(vec![json!("ok")])).judge(&document).passed);
        assert!(!validator("$.data.ok", Rule::Expected(vec![json!("ok")])).judge(&document).passed);
    }

    #[test]
    fn a_verdict_says_what_was_found_and_is_bounded() {
        let judge = |path: &str, document: &Value| validator(path, Rule::Rejected(vec![])).judge(document).found;
        assert_eq!(judge("$.data.text", &document()).as_deref(), Some("\"true\""));
        assert_eq!(judge("$.data.items[*].id", &document()).as_deref(), Some("1, 2"));
        assert_eq!(judge("$.data.missing", &document()), None);
        let large = json!({"data": vec!["x".repeat(10_000); 100]});
        let found = judge("$.data[*]", &large).unwrap();
        assert!(found.ends_with("and 95 more"), "{found}");
        assert!(found.chars().count() < FOUND_VALUES_MAX * (FOUND_CHARS_MAX + 3) + 20);
    }

    #[test]
    fn the_body_is_needed_unless_only_status_or_headers_are_looked_at() {
        for (path, needed) in [
            ("$.data.ok", true),
            ("$.data", true),
            ("$", true),
            ("$..ok", true),
            ("$.*", true),
            ("$.status", false),
            ("$['headers']['x-count']", false),
            ("$.headers[?@ == $.data.id]", true),
        ] {
            assert_eq!(validator(path, Rule::Expected(vec![])).needs_body(), needed, "{path}");
        }
        for (path, needed) in [("$.status", false), ("$.data.ok", false), ("$.headers.etag", true), ("$.*", true)] {
            assert_eq!(validator(path, Rule::Expected(vec![])).needs_headers(), needed, "{path}");
        }
    }
}
