//! The metrics listener, scraped from the real process.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use outrigger::metrics::FAMILIES;

use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

/// The program that lints the page; `tests/all` sets it.
const PROMTOOL: &str = "OUTRIGGER_TEST_PROMTOOL";

/// One family of a page.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// Labels as they are written, and the value.
    samples: Vec<(String, f64)>,
}

/// Reads text exposition format 0.0.4 as strictly as this program should write it: the help, the type, then the samples.
fn parse(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        let refuse = |problem: &str| Err(format!("{problem}: {line}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = help.split_once(' ') else { return refuse("no help") };
            if families.contains_key(name) {
                return refuse("a family comes twice");
            }
            name.clone_into(&mut current);
            families.insert(current.clone(), Family { help: help.to_owned(), ..Family::default() });
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = kind.split_once(' ') else { return refuse("no type") };
            match families.get_mut(name) {
                Some(family) if name == current => kind.clone_into(&mut family.kind),
                _ => return refuse("a type without its help"),
            }
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            let Ok(value) = value.parse::<f64>() else { return refuse("no number") };
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let Some(labels) = labels.strip_suffix('}') else { return refuse("labels without an end") };
            let Some(family) = families.get_mut(&current) else { return refuse("a sample without a family") };
            let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !name.strip_prefix(current.as_str()).is_some_and(|rest| suffixes.contains(&rest)) {
                return refuse("a sample of another family");
            }
            let quoted =
                labels.is_empty() || labels.split(',').all(|label| label.contains("=\"") && label.ends_with('"'));
            if !quoted || family.samples.iter().any(|(known, _)| known == series) {
                return refuse("labels that are not quoted, or a series that comes twice");
            }
            family.samples.push((series.to_owned(), value));
        }
    }
    Ok(families)
}

/// A webhook with a validator, so that every family has a series.
fn file(url: &str) -> String {
    format!(
        "url = {url:?}\nretry.initial = \"1ms\"\nretry.max_interval = \"20ms\"\n\
        [[response_validators]]\nname = \"a \\\"fine\\\" one\"\npath = \"$.data.ok\"\nexpected = [\"true\"]\n"
    )
}

/// A webhook with a token and a client certificate, so that the families have a series that only such webhooks begin.
fn secured(target: &Target, dir: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["client.example".to_owned()]).expect("a certificate");
    fs::write(dir.join("client.pem"), made.cert.pem()).expect("it is writable");
    fs::write(dir.join("client.key"), made.signing_key.serialize_pem()).expect("it is writable");
    target.respond_with(|seen| match seen.target.as_str() {
        "/token" => Answer::json(r#"{"access_token":"t","expires_in":60}"#),
        _ => Answer::json(r#"{"ok":true}"#),
    });
    let (url, token_url, dir) = (target.url("/"), target.url("/token"), dir.display());
    format!(
        "{}[auth.oauth2]\ntoken_url = {token_url:?}\nclient_id = \"us\"\nclient_secret = \"s3cret\"\n\
        [tls]\nclient_cert_file = \"{dir}/client.pem\"\nclient_key_file = \"{dir}/client.key\"\n",
        file(&url)
    )
}

/// Families that not every webhook has series of.
const SPARSE: [&str; 3] = [
    "outrigger_oauth_token_requests_total",
    "outrigger_target_certificate_expiry_timestamp_seconds",
    "outrigger_client_certificate_expiry_timestamp_seconds",
];

const EVENT: &str = r#"{"event_type":"RequestCreated","event_time":1,"data":{"id":"r-1"}}"#;

#[track_caller]
fn families(sidecar: &Sidecar) -> BTreeMap<String, Family> {
    parse(&sidecar.metrics()).unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
#[expect(clippy::print_stderr, reason = "who runs it should know what was not checked")]
fn the_page_is_what_prometheus_asks_for() {
    let target = receiver().respond(500).then(Answer::json(r#"{"ok":false}"#)).start();
    let other = receiver().start();
    let builder = sidecar().reaching(&target).reaching(&other);
    let secured = secured(&other, builder.dir());
    let sidecar = builder.webhook("hook", &file(&target.url("/"))).webhook("secured", &secured).start();
    for status in [200, 200] {
        assert_eq!(sidecar.post("/v1/events?wait=15s", EVENT).status, status);
    }
    assert_eq!(sidecar.post("/v1/events", "{").status, 400);
    let answer = sidecar.get("metrics", "/metrics");
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));

    let page = parse(&answer.body).unwrap_or_else(|problem| panic!("{problem}"));
    assert!(FAMILIES.len() > 20);
    for family in FAMILIES {
        let shown = page.get(family.name).unwrap_or_else(|| panic!("{} is not on the page", family.name));
        assert_eq!((shown.kind.as_str(), shown.help.as_str()), (family.kind, family.help), "{}", family.name);
        assert!(!shown.samples.is_empty(), "{} has no series", family.name);
        for (series, _) in &shown.samples {
            let labelled = family.labels.iter().all(|label| series.contains(&format!("{label}=\"")));
            assert!(labelled, "{series} should have the labels {:?}", family.labels);
        }
    }
    let own = |name: &&String| name.starts_with("outrigger_");
    assert_eq!(page.keys().filter(own).count(), FAMILIES.len(), "a family is not in the table");
    assert!(page.contains_key("process_resident_memory_bytes"));

    let Some(promtool) = std::env::var_os(PROMTOOL) else {
        eprintln!("{PROMTOOL} is not set: the page was read, and not linted by promtool");
        return;
    };
    let mut lint = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", promtool.display()));
    lint.stdin.take().expect("it is piped").write_all(answer.body.as_bytes()).expect("it reads its input");
    let lint = lint.wait_with_output().expect("it ends");
    let said = [lint.stdout, lint.stderr].concat();
    assert!(lint.status.success() && said.is_empty(), "promtool: {}", String::from_utf8_lossy(&said));
}

#[test]
fn a_webhooks_series_start_at_zero_and_go_with_its_file() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("stays", &file(&target.url("/"))).start();
    sidecar.written().write_webhook("late", &file(&target.url("/")));
    sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 2.0);
    let page = families(&sidecar);
    let begun = FAMILIES.iter().filter(|family| !SPARSE.contains(&family.name));
    for family in begun.filter(|family| family.labels.contains(&"webhook")) {
        let of = |webhook: &str| {
            let label = format!("webhook=\"{webhook}\"");
            page[family.name].samples.iter().filter(|(series, _)| series.contains(&label)).collect::<Vec<_>>()
        };
        let late = of("late");
        assert!(!late.is_empty() && late.len() == of("stays").len(), "{}: {late:?}", family.name);
        assert!(late.iter().all(|(_, value)| *value == 0.0), "{late:?}");
    }
    assert_eq!(sidecar.post("/v1/events?wait=15s", EVENT).status, 200);
    assert_eq!(
        sidecar.metric("outrigger_deliveries_total", &[("webhook", "late"), ("outcome", "delivered")]),
        Some(1.0)
    );

    fs::remove_file(sidecar.written().config().join("webhooks/late.toml")).expect("it was written");
    let gone = eventually(PATIENCE, || (!sidecar.metrics().contains("webhook=\"late\"")).then_some(()));
    assert!(gone.is_some(), "{}", sidecar.metrics());
    let delivered = [("webhook", "stays"), ("outcome", "delivered")];
    assert_eq!(sidecar.metric("outrigger_deliveries_total", &delivered), Some(1.0), "the other one's go on");
}

#[test]
fn series_of_a_webhook_that_was_removed_while_it_sent_go_once_nothing_is_owed() {
    let target = receiver().otherwise(Answer::json(r#"{"ok":true}"#).after(Duration::from_secs(1))).start();
    let sidecar = sidecar()
        .setting("config.removal_grace = \"10m\"")
        .reaching(&target)
        .webhook("stays", &file(&target.url("/")).replace("[[", "status = \"inactive\"\n[["))
        .webhook("busy", &file(&target.url("/")))
        .start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(1);
    fs::remove_file(sidecar.written().config().join("webhooks/busy.toml")).expect("it was written");
    sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 0.0);
    let gone = eventually(PATIENCE, || (!sidecar.metrics().contains("webhook=\"busy\"")).then_some(()));
    assert!(gone.is_some(), "{}", sidecar.metrics());
    assert!(sidecar.log().contains("\"outcome\":\"accepted\""), "what was in flight ended: {}", sidecar.log());
}

#[test]
fn what_faulty_and_removed_webhooks_owe_is_told_and_what_is_given_up_of_it_stays_counted() {
    for (per_webhook, owed) in [(true, [("faulty", 1.0), ("removed", 1.0)]), (false, [("all", 2.0), ("all", 2.0)])] {
        let target = receiver().otherwise(500).start();
        let slow = format!("url = {:?}\nretry = {{ initial = \"1h\", max_interval = \"1h\" }}\n", target.url("/"));
        let mut sidecar = sidecar()
            .reaching(&target)
            .setting("config.on_invalid_webhook = \"quarantine\"")
            .setting("config.removal_grace = \"3s\"")
            .setting(&format!("metrics.per_webhook = {per_webhook}"))
            .webhook("faulty", &slow)
            .webhook("removed", &slow)
            .webhook("stays", &format!("triggers = [\"Manual\"]\n{slow}"))
            .start();
        assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
        target.wait(2);
        sidecar.kill9();
        sidecar.written().write_webhook("faulty", "url = 'http://'\n");
        fs::remove_file(sidecar.written().config().join("webhooks/removed.toml")).expect("it was written");
        sidecar.restart();
        for (label, count) in owed {
            sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", label)], count);
        }
        sidecar.wait_metric("outrigger_removed_dead_letters_total", &[], 1.0);
        if per_webhook {
            // Whatever is gone has no series, and what is faulty keeps its own.
            let gone = eventually(PATIENCE, || (!sidecar.metrics().contains("webhook=\"removed\"")).then_some(()));
            assert!(gone.is_some(), "{}", sidecar.metrics());
        } else {
            let labels = [("webhook", "all"), ("reason", "webhook_removed")];
            assert_eq!(sidecar.metric("outrigger_dead_letters_total", &labels), Some(1.0));
        }
        sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", owed[0].0)], 1.0);
    }
}

/// What has a value and must never go down: counters, and the parts of histograms.
fn counted(sidecar: &Sidecar) -> BTreeMap<String, f64> {
    let counters = families(sidecar).into_iter().filter(|(name, family)| {
        name.starts_with("outrigger_") && ["counter", "histogram"].contains(&family.kind.as_str())
    });
    counters.flat_map(|(_, family)| family.samples).collect()
}

#[test]
fn with_one_set_of_series_for_all_webhooks_a_reload_adds_none_and_no_counter_goes_down() {
    let good = receiver().otherwise(Answer::json(r#"{"ok":true}"#)).start();
    let bad = receiver().otherwise(Answer::json(r#"{"ok":false}"#)).start();
    let builder = sidecar()
        .setting("metrics.per_webhook = false")
        .setting("config.removal_grace = \"0s\"")
        .reaching(&good)
        .reaching(&bad);
    let secured = secured(&good, builder.dir());
    let mut builder = builder.webhook("secured", &secured).webhook("gone", &file(&bad.url("/")));
    for at in 0..3 {
        builder = builder.webhook(&format!("good-{at}"), &file(&good.url("/")));
    }
    let sidecar = builder.start();
    let all = |name: &str, labels: &[(&str, &str)]| {
        sidecar.metric(name, &[&[("webhook", "all")], labels].concat()).unwrap_or_else(|| panic!("{name}: none"))
    };
    for _ in 0..2 {
        assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    }
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "all")], 2.0);
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "all"), ("outcome", "delivered")], 8.0);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "all")], 0.0);
    assert!(all("outrigger_validator_failures_total", &[("validator", "all")]) >= 2.0);
    sidecar.wait_metric("outrigger_oauth_token_requests_total", &[("webhook", "all"), ("outcome", "issued")], 1.0);
    let page = families(&sidecar);
    for family in FAMILIES.iter().filter(|family| family.labels.contains(&"webhook")) {
        let samples = &page[family.name].samples;
        assert!(!samples.is_empty() && samples.iter().all(|(series, _)| series.contains("webhook=\"all\"")));
    }

    // One more and one less: nothing begins, nothing ends, and what was counted stays.
    let (series, before) = (sidecar.metrics().lines().count(), counted(&sidecar));
    sidecar.written().write_webhook("more", &file(&good.url("/")));
    fs::remove_file(sidecar.written().config().join("webhooks/gone.toml")).expect("it was written");
    fs::remove_file(sidecar.written().config().join("webhooks/good-0.toml")).expect("it was written");
    let told = ["good-1", "good-2", "more", "secured"];
    let names = eventually(PATIENCE, || {
        let answer = sidecar.get("admin", "/api/v1/webhooks").json();
        let active = answer["webhooks"].as_array()?.iter().filter(|one| one["status"] == "active");
        active.map(|one| one["name"].as_str().unwrap_or_default()).eq(told).then_some(())
    });
    assert!(names.is_some(), "{}", sidecar.get("admin", "/api/v1/webhooks").body);
    // Dead letters of a webhook that is gone are nobody's.
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "all")], 0.0);
    assert_eq!(sidecar.post("/v1/events?wait=15s", EVENT).status, 200);
    assert_eq!(sidecar.metrics().lines().count(), series);
    let after = counted(&sidecar);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, value) in &before {
        assert!(after[name] >= *value, "{name} went from {value} to {}", after[name]);
    }
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "all"), ("outcome", "delivered")], 12.0);

    sidecar.written().replace(
        "outrigger.toml",
        &fs::read_to_string(sidecar.written().config().join("outrigger.toml"))
            .expect("it was written")
            .replace("metrics.per_webhook = false", "metrics.per_webhook = true"),
    );
    let reload = http::exchange(sidecar.address("admin"), "POST", "/-/reload", &[("outrigger-request", "1")], b"");
    let answer = reload.expect("an answer");
    assert!(answer.body.contains("\"restart\":[\"metrics.per_webhook\"]"), "{}", answer.body);
}

#[test]
fn probes_and_refusals_of_the_metrics_listener() {
    let target = receiver().start();
    let mut sidecar =
        sidecar().setting("shutdown.delay = \"2s\"").reaching(&target).webhook("hook", &file(&target.url("/"))).start();
    let status = |path: &str| sidecar.get("metrics", path).status;
    assert_eq!((status("/livez"), status("/readyz"), status("/metrics")), (200, 200, 200));
    for path in ["/", "/metrics/", "/v1/events"] {
        let answer = sidecar.get("metrics", path);
        assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"), "{path}");
    }
    let posted = http::exchange(sidecar.address("metrics"), "POST", "/metrics", &[], b"{}").expect("an answer");
    assert_eq!((posted.status, posted.header("allow")), (405, "GET"));
    sidecar.signal("TERM");
    sidecar.wait_log("shutdown.begun");
    assert_eq!((status("/readyz"), status("/livez"), status("/metrics")), (503, 200, 200));
    assert!(sidecar.wait_end(PATIENCE).success());
}

#[test]
fn a_page_that_is_out_of_order_is_noticed() {
    let good = "# HELP a_total x y\n# TYPE a_total counter\na_total{b=\"c\"} 1\na_total{b=\"d\"} 2.5\n";
    assert_eq!(parse(good).expect("it is good")["a_total"].samples.len(), 2);
    for bad in [
        "a_total 1\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        "# HELP a x\n# TYPE a gauge\na one\n",
        "# HELP a x\n# TYPE a gauge\na{b=c} 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\n# HELP a x\n",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
