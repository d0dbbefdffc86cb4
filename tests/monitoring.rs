//! What `deploy/prometheus` and `deploy/grafana` ship: the rules and every query of the dashboard are asked of a real Prometheus that
//! scraped the real sidecar, and the runbook has what they lead to.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use outrigger::metrics::FAMILIES;
use serde_json::{Value, json};

use crate::cli::outrigger;
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};
use dashboard::Query;
use prometheus::Prometheus;
use world::World;

mod dashboard;
mod prometheus;
mod world;

const RULES: &str = include_str!("../deploy/prometheus/rules.yaml");
const RULE_TESTS: &str = include_str!("../deploy/prometheus/tests.yaml");
const RUNBOOK: &str = include_str!("../docs/runbook.md");
/// How often the sidecar is scraped, so that a test sees rates within seconds.
const INTERVAL: Duration = Duration::from_millis(250);
/// Between two events.
const PAUSE: Duration = Duration::from_millis(100);

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

/// The sections of the runbook that are about an alert, by its name.
fn sections() -> BTreeMap<&'static str, &'static str> {
    RUNBOOK.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap()).collect()
}

/// Every word of a text that names a series of ours.
fn named(text: &str) -> BTreeSet<&str> {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(part).filter(|word| word.starts_with("outrigger_") && !word.ends_with('_')).collect()
}

fn promtool(arguments: &[&str], folder: &str) -> String {
    let program = std::env::var_os("OUTRIGGER_TEST_PROMTOOL").expect("OUTRIGGER_TEST_PROMTOOL is not set");
    let ended =
        Process::spawn(Command::new(program).args(arguments).current_dir(project().join(folder))).finish(PATIENCE);
    assert!(ended.status.success(), "promtool {arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

#[test]
fn every_alert_says_how_bad_it_is_what_to_do_and_where_to_read_on() {
    let sections = sections();
    let count = values(RULES, "alert").len();
    assert!(count > 11, "{count} alerts");
    for key in ["severity", "summary", "description", "runbook_url"] {
        assert_eq!(values(RULES, key).len(), count, "{key}");
    }
    assert!(values(RULES, "severity").iter().all(|severity| ["critical", "warning"].contains(severity)));
    for (alert, url) in values(RULES, "alert").iter().zip(values(RULES, "runbook_url")) {
        assert_eq!(url, format!("https://example.com/outrigger/docs/runbook.md#{}", alert.to_ascii_lowercase()));
    }
    let told: BTreeSet<&str> = sections.keys().copied().filter(|name| name.starts_with("Outrigger")).collect();
    assert_eq!(told, alerts());
    for (alert, section) in sections.iter().filter(|(name, _)| name.starts_with("Outrigger")) {
        for part in ["**Users**", "**Look**", "**Mend**", "**Escalate**"] {
            assert!(section.contains(part), "{alert} has no {part}");
        }
    }
}

/// The lines of the runbook that are run.
fn commands() -> Vec<&'static str> {
    let blocks = RUNBOOK.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).collect()
}

#[test]
fn commands_of_the_runbook_are_those_that_there_are() {
    let mut run = 0;
    for line in commands() {
        let Some(command) = line.strip_prefix("outrigger ").or_else(|| Some(line.split_once("-- outrigger ")?.1))
        else {
            continue;
        };
        let mut words = command.split(' ');
        let help = outrigger(&[words.next().unwrap(), "--help"], &[], "").expect_code(0).out;
        let known = |word: &str| help.contains(&format!("- {word}:"));
        for (at, word) in words.enumerate() {
            let is_action = at == 0 && word.bytes().all(|byte| byte.is_ascii_lowercase()) && help.contains("[ACTION]");
            assert!(!is_action || known(word), "{line}: {word}");
            assert!(!word.starts_with("--") || help.split_whitespace().any(|told| told == word), "{line}: {word}");
            run += 1;
        }
    }
    assert!(run > 30, "{run} words");
}

#[test]
fn what_the_runbook_asks_for_over_http_is_answered() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("slack", &format!("url = {:?}\n", target.url("/"))).start();
    let mut asked = 0;
    for line in commands().into_iter().filter(|line| line.starts_with("curl ")) {
        let (_, rest) = line.split_once("http://").unwrap();
        let (address, path) = rest.split(' ').next().unwrap().split_once('/').unwrap();
        let listener = if address.ends_with(":8461") { "admin" } else { "metrics" };
        let method = if line.contains("-X POST") { "POST" } else { "GET" };
        let headers = [("outrigger-request", "1")];
        let answer = http::exchange(sidecar.address(listener), method, &format!("/{path}"), &headers, b"").unwrap();
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        asked += 1;
    }
    assert!(asked > 6, "{asked}");
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
fn the_dashboard_can_be_imported_and_its_panels_do_not_lie_on_each_other() {
    let dashboard = dashboard::read();
    assert_eq!((dashboard["uid"].as_str(), dashboard["id"].is_null()), (Some("outrigger"), true));
    assert_eq!(dashboard["__inputs"][0]["name"], "DS_PROMETHEUS");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let variables: Vec<_> = dashboard::variables(&dashboard).into_keys().collect();
    assert_eq!(variables, ["instance", "job", "namespace", "webhook"]);
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

#[test]
#[ignore = "needs promtool, which tests/all installs"]
fn promtool_finds_no_fault_in_the_rules_and_their_tests_pass() {
    assert!(promtool(&["check", "rules", "rules.yaml"], "deploy/prometheus").contains("SUCCESS: 19 rules found"));
    assert!(promtool(&["test", "rules", "tests.yaml"], "deploy/prometheus").contains("SUCCESS"));
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
    let dashboard = dashboard::read();
    let instance = target.to_string();
    let mut left: Vec<(Query, String)> = Vec::new();
    for query in dashboard::queries(&dashboard) {
        let one = [("job", "outrigger"), ("namespace", "access"), ("instance", instance.as_str())];
        left.extend([&[][..], &one[..]].map(|values| (query.clone(), dashboard::chosen(&query.expr, "5s", values))));
    }
    assert!(left.len() > 80, "{} queries", left.len());
    let done = eventually(2 * PATIENCE, || {
        world.post();
        left.retain(|(query, expr)| {
            let found = numbers(&prometheus, expr);
            for one in &found {
                for label in dashboard::labels(&query.legend) {
                    assert!(one["metric"][label].is_string(), "{}: {label} is not in {one}", query.panel);
                }
            }
            found.is_empty()
        });
        left.is_empty().then_some(())
    });
    assert!(done.is_some(), "no data: {left:#?}\n{}", world.sidecar.metrics());

    for (name, (selector, label)) in dashboard::variables(&dashboard) {
        let selector = if selector.contains('$') { dashboard::chosen(&selector, "", &[]) } else { selector };
        let values = prometheus.ask(&format!("/api/v1/label/{label}/values"), &[("match[]", &selector)]);
        match name.as_str() {
            "job" => assert_eq!(values, json!(["outrigger"])),
            "namespace" => assert_eq!(values, json!(["access"])),
            "instance" => assert_eq!(values, json!([instance])),
            _ => assert_eq!(values, json!(webhooks)),
        }
    }
    // A webhook that is chosen is the only one that is told of.
    let queries = dashboard::queries(&dashboard);
    for query in queries.iter().filter(|query| query.legend.starts_with("{{webhook}}")) {
        for one in prometheus.query(&dashboard::chosen(&query.expr, "5s", &[("webhook", webhooks[0])])) {
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
    assert_eq!(raised().into_iter().collect::<Vec<_>>(), wrong);

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
    let absent = eventually(PATIENCE, || {
        let alerts = prometheus.alerts();
        let of = |alert: &&Value| alert["labels"]["alertname"] == "OutriggerAbsent";
        alerts.iter().find(of).map(|alert| alert["labels"]["instance"].clone())
    });
    assert_eq!(absent, Some(json!(instance.to_string())), "{}", prometheus.log());
}

/// What the picture in the docs may weigh.
const PICTURE_BYTES_MAX: u64 = 400_000;

/// Draws the dashboard by `tests/monitoring/picture.mjs`. With `OUTRIGGER_PICTURE_SECONDS` it draws so much time of traffic into
/// `docs/pictures`, and that is how the picture there is made.
#[test]
#[ignore = "needs Prometheus, node, Chromium and playwright-core, which tests/all installs"]
fn the_dashboard_is_drawn_from_what_prometheus_answers() {
    let seconds = std::env::var("OUTRIGGER_PICTURE_SECONDS").ok().map(|text| text.parse::<u64>().unwrap());
    let traffic = Duration::from_secs(seconds.unwrap_or(8));
    let world = World::new(true);
    let interval = if seconds.is_some() { Duration::from_secs(1) } else { INTERVAL };
    let prometheus = Prometheus::scraping(world.sidecar.address("metrics"), interval);
    let begun = Instant::now();
    while begun.elapsed() < traffic {
        // Some minutes are busier than others.
        let wave = (begun.elapsed().as_secs_f64() / 40.0).sin().abs();
        for _ in 0..=(wave * 4.0) as usize {
            world.post();
        }
        if begun.elapsed().as_secs() % 60 == 59 {
            world.resume("lapsed");
        }
        std::thread::park_timeout(PAUSE);
    }
    let dir = tempfile::tempdir().unwrap();
    let made: PathBuf = match seconds {
        Some(_) => project().join("docs/pictures/dashboard-1440-light.png"),
        None => dir.path().join("dashboard.png"),
    };
    let order = json!({
        "dashboard": dashboard::path(),
        "prometheus": format!("http://{}", prometheus.address),
        "seconds": traffic.as_secs(),
        "step": interval.as_secs_f64().max(traffic.as_secs_f64() / 120.0),
        "window": if seconds.is_some() { "10s" } else { "3s" },
        "picture": made,
    });
    let ended = Process::spawn(
        Command::new("node")
            .arg(project().join("tests/monitoring/picture.mjs"))
            .arg(order.to_string())
            .env("FONTCONFIG_FILE", project().join("tests/browser/fonts.conf")),
    )
    .finish(6 * PATIENCE);
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
    let bytes = std::fs::metadata(&made).unwrap().len();
    assert!((10_000..PICTURE_BYTES_MAX).contains(&bytes), "the picture has {bytes} bytes");
}
