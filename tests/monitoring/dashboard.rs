//! The shipped dashboard as a test sees it: its variables and its queries, with what a person would have chosen put in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What a variable is when all of its values are chosen.
const ALL: &str = ".*";

pub(super) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/outrigger.json")
}

pub(super) fn read() -> Value {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) panel: String,
    pub(super) expr: String,
    pub(super) legend: String,
}

/// Every query of every panel, and that of the annotations.
pub(super) fn queries(dashboard: &Value) -> Vec<Query> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_panel = |panel: &Value| -> Vec<Query> {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let query = |target: &Value| Query {
            panel: text(&panel["title"]),
            expr: text(&target["expr"]),
            legend: text(&target["legendFormat"]),
        };
        targets.iter().map(query).collect()
    };
    let mut queries: Vec<Query> = dashboard["panels"].as_array().unwrap().iter().flat_map(of_panel).collect();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    queries.extend(annotations.filter(|one| one["expr"].is_string()).map(|one| Query {
        panel: text(&one["name"]),
        expr: text(&one["expr"]),
        legend: String::new(),
    }));
    queries
}

/// The label of each variable that asks Prometheus for its values, and the series that it asks of.
pub(super) fn variables(dashboard: &Value) -> BTreeMap<String, (String, String)> {
    let list = dashboard["templating"]["list"].as_array().unwrap().iter();
    list.filter(|variable| variable["type"] == "query")
        .map(|variable| {
            let query = variable["query"]["query"].as_str().unwrap();
            assert_eq!(variable["definition"], query);
            assert_eq!(variable["allValue"], ALL);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (selector, label) = inner.rsplit_once(", ").unwrap();
            (variable["name"].as_str().unwrap().to_owned(), (selector.to_owned(), label.to_owned()))
        })
        .collect()
}

/// An expression with all values of every variable chosen but for these.
pub(super) fn chosen(expr: &str, window: &str, values: &[(&str, &str)]) -> String {
    let mut expr = expr.replace("$__rate_interval", window);
    for (name, value) in values {
        expr = expr.replace(&format!("\"${name}\""), &format!("{value:?}"));
    }
    for name in ["job", "namespace", "instance", "webhook"] {
        expr = expr.replace(&format!("\"${name}\""), &format!("{ALL:?}"));
    }
    assert!(!expr.contains('$'), "a variable is left in {expr}");
    expr
}

/// The labels that a legend names.
pub(super) fn labels(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).collect()
}
