//! The shipped rules: tested by promtool, and evaluated by a real Prometheus while the sidecar is in trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{Seek as _, Write as _};
use std::process::Command;

use serde_json::Value;

use super::prometheus::Prometheus;
use super::world::World;
use super::{INTERVAL, RULE_TESTS, RULES, project, values};
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

/// Labels of an alert with its name among them.
type Labels = BTreeMap<&'static str, &'static str>;

/// `key: value` of a line, its quotes gone.
fn pair(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (key, value) = line.trim().trim_start_matches("- ").split_once(": ")?;
    Some((key, value.trim_matches('\'')))
}

/// The lines of a block: those after its heading that stand further in.
fn block(heading: &str, lines: &[&'static str]) -> Vec<&'static str> {
    let depth = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    lines.iter().take_while(|line| depth(line) > depth(heading)).copied().collect()
}

/// Each rule that raises an alert, as the name and the labels that it gives.
fn raising() -> Vec<Labels> {
    let lines: Vec<&str> = RULES.lines().collect();
    let rule = |at: usize, name| {
        let labels = at + lines[at..].iter().position(|line| line.trim() == "labels:").unwrap();
        let told = block(lines[labels], &lines[labels + 1..]).into_iter().filter_map(pair);
        told.chain([("alertname", name)]).collect()
    };
    let named = lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.trim().strip_prefix("- alert: ")?)));
    named.map(|(at, name)| rule(at, name)).collect()
}

/// The rule that raised an alert of these labels: of those that it may be of, the one that says the most.
fn raised_by(rules: &[Labels], alert: &Labels) -> usize {
    let fits = |rule: &Labels| rule.iter().all(|(key, value)| alert.get(key) == Some(value));
    let fitting = rules.iter().enumerate().filter(|(_, rule)| fits(rule));
    fitting.max_by_key(|(_, rule)| rule.len()).unwrap_or_else(|| panic!("no rule raises {alert:?}")).0
}

#[test]
fn every_rule_that_raises_an_alert_is_tested_where_it_fires_and_where_it_does_not() {
    let rules = raising();
    assert_eq!(rules.len(), values(RULES, "alert").len());
    assert_eq!(rules.iter().collect::<BTreeSet<_>>().len(), rules.len(), "two rules cannot be told apart: {rules:?}");
    let mut seen = vec![[false; 2]; rules.len()];
    let lines: Vec<&str> = RULE_TESTS.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.trim().strip_prefix("alertname: ") else { continue };
        let told = lines.get(at + 1).filter(|next| next.trim() == "exp_alerts:");
        let expected = told.map(|heading| block(heading, &lines[at + 2..])).unwrap_or_default();
        let alert = |at: usize| {
            let labels = block(expected[at], &expected[at + 1..]).into_iter().filter_map(pair);
            labels.chain([("alertname", name)]).collect::<Labels>()
        };
        let headings = (0..expected.len()).filter(|at| expected[*at].trim() == "- exp_labels:");
        let fires: BTreeSet<usize> = headings.map(|at| raised_by(&rules, &alert(at))).collect();
        for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule["alertname"] == name) {
            assert!(rule.len() > 1, "{rule:?}");
            seen[at][usize::from(fires.contains(&at))] = true;
        }
    }
    let untested: Vec<_> = rules.iter().zip(&seen).filter(|(_, both)| **both != [true, true]).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
#[ignore = "needs promtool, which tests/all installs"]
fn promtool_finds_no_fault_in_the_rules_and_their_tests_pass() {
    assert!(promtool(&["check", "rules", "rules.yaml"], "deploy/prometheus").contains("SUCCESS: 21 rules found"));
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
