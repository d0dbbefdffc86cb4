//! The shipped rules: tested by promtool, and evaluated by a real Prometheus while the sidecar is in trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{Seek as _, Write as _};
use std::process::Command;

use serde_json::Value;

use super::prometheus::Prometheus;
use super::world::World;
use super::{INTERVAL, RULE_TESTS, RULES, alerts, project, values};
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually};

fn program() -> OsString {
    std::env::var_os("OUTRIGGER_TEST_PROMTOOL").expect("OUTRIGGER_TEST_PROMTOOL is not set")
}

fn promtool(arguments: &[&str], folder: &str) -> String {
    let ended =
        Process::spawn(Command::new(program()).args(arguments).current_dir(project().join(folder))).finish(PATIENCE);
    assert!(ended.status.success(), "promtool {arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

#[test]
fn every_alert_is_tested_where_it_fires_and_where_it_does_not() {
    let mut seen: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
    let lines: Vec<&str> = RULE_TESTS.lines().map(str::trim).collect();
    for (at, line) in lines.iter().enumerate() {
        if let Some(alert) = line.strip_prefix("alertname: ") {
            let fires = lines.get(at + 1).is_some_and(|next| *next == "exp_alerts:");
            seen.entry(alert).or_default()[usize::from(fires)] = true;
        }
    }
    assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), alerts());
    assert!(seen.values().all(|both| *both == [true, true]), "{seen:?}");
}

#[test]
#[ignore = "needs promtool, which tests/all installs"]
fn promtool_finds_no_fault_in_the_rules_and_their_tests_pass() {
    assert!(promtool(&["check", "rules", "rules.yaml"], "deploy/prometheus").contains("SUCCESS: 19 rules found"));
    assert!(promtool(&["test", "rules", "tests.yaml"], "deploy/prometheus").contains("SUCCESS"));
}

#[test]
#[ignore = "needs promtool, which tests/all installs"]
fn promtool_finds_no_fault_in_the_page_with_series_for_each_webhook_or_for_all() {
    for per_webhook in [true, false] {
        let world = World::new(per_webhook);
        world.post();
        let page = tempfile::tempfile().unwrap();
        (&page).write_all(world.sidecar.metrics().as_bytes()).unwrap();
        (&page).rewind().unwrap();
        let lint = Command::new(program()).args(["check", "metrics"]).stdin(page).output().unwrap();
        let told = [lint.stdout, lint.stderr].concat();
        assert!(lint.status.success() && told.is_empty(), "{}", String::from_utf8_lossy(&told));
    }
}

#[test]
#[ignore = "needs Prometheus, which tests/all installs"]
fn the_rules_are_evaluated_without_a_fault_and_find_what_is_wrong() {
    let mut world = World::new(true);
    let instance = world.sidecar.address("metrics");
    let prometheus = Prometheus::scraping(instance, INTERVAL);
    let raised = || -> BTreeSet<String> {
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
        prometheus.alerts().iter().map(name).collect()
    };
    world.sidecar.written().write_webhook("broken", "url = ");
    let wrong = [
        "OutriggerCertificateExpiring",
        "OutriggerDeadLettersGrowing",
        "OutriggerDeliveryFailing",
        "OutriggerReloadFailed",
        "OutriggerTokensRefused",
        "OutriggerValidatorFailing",
        "OutriggerWebhookPaused",
    ];
    let found = eventually(2 * PATIENCE, || {
        world.post();
        // Whoever is told to try the token again, as people do who believe that they have mended it.
        world.resume("lapsed");
        wrong.iter().all(|alert| raised().contains(*alert)).then_some(())
    });
    assert!(found.is_some(), "{:?}\n{}", raised(), world.sidecar.metrics());
    // A machine with much to do may miss a scrape, which is what OutriggerAbsent would wait to see five minutes of.
    let more: Vec<String> = raised().into_iter().filter(|alert| alert != "OutriggerAbsent").collect();
    assert_eq!(more, wrong);

    let groups = prometheus.ask("/api/v1/rules", &[])["groups"].take();
    let rules: Vec<&Value> =
        groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), values(RULES, "alert").len() + values(RULES, "record").len());
    for rule in &rules {
        assert_eq!((rule["health"].as_str(), rule["lastError"].as_str()), (Some("ok"), None), "{rule}");
    }
    for record in values(RULES, "record") {
        assert!(!prometheus.query(record).is_empty(), "{record}");
    }

    world.sidecar.kill9();
    // As it was the only one, none at all is scraped, which is told too.
    let is_told = |alert: &Value| {
        alert["labels"]["alertname"] == "OutriggerAbsent" && alert["labels"]["instance"] == instance.to_string()
    };
    let absent = eventually(PATIENCE, || prometheus.alerts().iter().any(is_told).then_some(()));
    assert!(absent.is_some(), "{:?}\n{}", prometheus.alerts(), prometheus.log());
}
