//! The shipped dashboard as a test sees it: its variables and its queries, with what a person would have chosen put in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::prometheus::Prometheus;
use super::world::World;
use super::{INTERVAL, project};
use crate::support::{PATIENCE, eventually};

/// What a variable is when all of its values are chosen.
const ALL: &str = ".*";

pub(super) fn path() -> PathBuf {
    project().join("deploy/grafana/outrigger.json")
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

#[test]
fn the_dashboard_can_be_imported_and_its_panels_do_not_lie_on_each_other() {
    let dashboard = read();
    assert_eq!((dashboard["uid"].as_str(), dashboard["id"].is_null()), (Some("outrigger"), true));
    assert_eq!(dashboard["__inputs"][0]["name"], "DS_PROMETHEUS");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let names: Vec<_> = variables(&dashboard).into_keys().collect();
    assert_eq!(names, ["instance", "job", "namespace", "webhook"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24);
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(cells.insert((x, y)), "{} lies on another", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["description"].as_str().unwrap().is_empty());
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
        }
    }
    let rows: Vec<_> = panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].clone()).collect();
    assert_eq!(json!(rows), json!(["Overview", "Webhooks", "Spool and commits", "Configuration", "Process"]));
}

/// What an expression comes to, where it comes to a number at all.
fn numbers(prometheus: &Prometheus, expr: &str) -> Vec<Value> {
    let is_number = |one: &Value| one["value"][1].as_str().is_some_and(|value| value.parse().is_ok_and(f64::is_finite));
    prometheus.query(expr).into_iter().filter(is_number).collect()
}

/// Asks every query of the dashboard until each has an answer.
#[track_caller]
fn hold_dashboard(world: &World, webhooks: &[&str]) {
    let target = world.sidecar.address("metrics");
    let prometheus = Prometheus::scraping(target, INTERVAL);
    let dashboard = read();
    let instance = target.to_string();
    let mut left: Vec<(Query, String)> = Vec::new();
    for query in queries(&dashboard) {
        let one = [("job", "outrigger"), ("namespace", "access"), ("instance", instance.as_str())];
        left.extend([&[][..], &one[..]].map(|values| (query.clone(), chosen(&query.expr, "5s", values))));
    }
    assert!(left.len() > 80, "{} queries", left.len());
    let done = eventually(2 * PATIENCE, || {
        world.post();
        left.retain(|(query, expr)| {
            let found = numbers(&prometheus, expr);
            for one in &found {
                for label in labels(&query.legend) {
                    assert!(one["metric"][label].is_string(), "{}: {label} is not in {one}", query.panel);
                }
            }
            found.is_empty()
        });
        left.is_empty().then_some(())
    });
    assert!(done.is_some(), "no data: {left:#?}\n{}", world.sidecar.metrics());

    for (name, (selector, label)) in variables(&dashboard) {
        let selector = if selector.contains('$') { chosen(&selector, "", &[]) } else { selector };
        let values = prometheus.ask(&format!("/api/v1/label/{label}/values"), &[("match[]", &selector)]);
        match name.as_str() {
            "job" => assert_eq!(values, json!(["outrigger"])),
            "namespace" => assert_eq!(values, json!(["access"])),
            "instance" => assert_eq!(values, json!([instance])),
            _ => assert_eq!(values, json!(webhooks)),
        }
    }
    // A webhook that is chosen is the only one that is told of.
    let asked = queries(&dashboard);
    for query in asked.iter().filter(|query| query.legend.starts_with("{{webhook}}")) {
        for one in prometheus.query(&chosen(&query.expr, "5s", &[("webhook", webhooks[0])])) {
            assert_eq!(one["metric"]["webhook"], webhooks[0], "{}", query.panel);
        }
    }
}

#[test]
#[ignore = "needs Prometheus, which tests/all installs"]
fn every_query_of_the_dashboard_has_data_and_its_legend_names_labels_that_are_there() {
    hold_dashboard(&World::new(true), &World::NAMES);
}

#[test]
#[ignore = "needs Prometheus, which tests/all installs"]
fn so_it_does_where_all_webhooks_have_one_set_of_series() {
    hold_dashboard(&World::new(false), &["all"]);
}
