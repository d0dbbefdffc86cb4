//! What `deploy/prometheus` and `deploy/grafana` ship: the rules and every query of the dashboard are asked of a real Prometheus that
//! scraped the real sidecar, and the runbook has what they lead to.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use outrigger::delivery::{Cause, Reason};
use outrigger::kind::Kind;
use outrigger::metrics::FAMILIES;

use crate::support::{receiver, sidecar};

mod dashboard;
mod picture;
mod prometheus;
mod rules;
mod runbook;
mod world;

const RULES: &str = include_str!("../deploy/prometheus/rules.yaml");
const RULE_TESTS: &str = include_str!("../deploy/prometheus/tests.yaml");
const METRICS: &str = include_str!("../docs/metrics.md");
/// How often the sidecar is scraped, so that a test sees rates within seconds.
const INTERVAL: Duration = Duration::from_millis(500);

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The values of a key of the rules, in their order.
fn values(text: &'static str, key: &str) -> Vec<&'static str> {
    let key = format!("{key}: ");
    text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(&key)).collect()
}

/// The alerts by their names, each once.
fn alerts() -> BTreeSet<&'static str> {
    values(RULES, "alert").into_iter().collect()
}

/// Every word of a text that names a series of ours.
fn named(text: &str) -> BTreeSet<&str> {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(part).filter(|word| word.starts_with("outrigger_") && !word.ends_with('_')).collect()
}

#[test]
fn rules_and_dashboard_name_series_that_there_are() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for family in FAMILIES {
        let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        known.extend(suffixes.iter().map(|suffix| format!("{}{suffix}", family.name)));
    }
    // What the rules record.
    known.insert("outrigger_attempts".to_owned());
    known.extend(["attempts_failed", "deliveries", "delivery_latency_seconds"].map(|name| format!("outrigger_{name}")));
    let dashboard = std::fs::read_to_string(dashboard::path()).unwrap();
    for text in [RULES, RULE_TESTS, dashboard.as_str()] {
        let named = named(text);
        assert!(named.len() > 10, "{named:?}");
        let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let shown = named(&dashboard);
    let parts = ["", "_bucket", "_count"];
    let shown =
        |family: &str| shown.iter().filter_map(|name| name.strip_prefix(family)).any(|rest| parts.contains(&rest));
    let missing: Vec<_> = FAMILIES.iter().filter(|family| !shown(family.name)).map(|family| family.name).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn the_series_of_a_sidecar_are_as_many_as_the_guide_says() {
    let target = receiver().start();
    let validator =
        |name: &str| format!("[[response_validators]]\nname = {name:?}\npath = '$.data.ok'\nexpected = ['true']\n");
    let hook = format!("url = {:?}\n{}{}", target.url("/"), validator("one"), validator("two"));
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("slack", &hook)
        .webhook("plain", "url = 'https://a.example/'\nstatus = 'inactive'\n")
        .start();
    let page = sidecar.metrics();
    let series = |label: &str| page.lines().filter(|line| !line.starts_with('#') && line.contains(label)).count();
    let (all, kinds) = (series(" "), series("kind=\""));
    assert_eq!((series("webhook=\"plain\""), series("webhook=\"slack\"")), (96, 98));
    assert!(METRICS.contains("A webhook has 96 series") && METRICS.contains("`W × (97 + V)`"));
    // What its target shows is told from the first attempt on.
    assert_eq!(sidecar.post("/v1/events?wait=15s", r#"{"event_type":"RequestCreated"}"#).status, 200);
    let after = sidecar.metrics();
    assert_eq!(after.lines().filter(|line| line.contains("webhook=\"slack\"")).count(), 99, "{after}");
    assert_eq!(kinds, 5 * Kind::builtin().len());
    assert!(METRICS.contains("5 for each kind of event, and fewer than 40 of its own"));
    let own = all - kinds - 96 - 98;
    assert!((30..40).contains(&own), "{own}");
    let (reasons, causes) = (Reason::ALL.len(), Cause::ALL.len());
    for row in
        [format!("| `reason` | the Reasons | a closed list of {reasons} |"), format!("a closed list of {causes} |")]
    {
        assert!(METRICS.contains(&row), "{row}");
    }
    let rules = [values(RULES, "alert").len(), values(RULES, "record").len()];
    assert!(
        METRICS.contains(&format!("{} alert rules", rules[0]))
            && METRICS.contains(&format!("and {} records", rules[1]))
    );
}
