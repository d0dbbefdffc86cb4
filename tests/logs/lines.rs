//! The lines of the real process.

use std::collections::BTreeSet;

use outrigger::cli::demo::answer::Answer;
use serde_json::{Value, json};

use super::{assert_lines, lines, named};
use crate::support::http;
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::{receiver, sidecar};

const EVENT: &str = r#"{"event_type":"RequestCreated","data":{"id":"r-1","name":"Ana Canary"}}"#;

#[track_caller]
fn admin(sidecar: &Sidecar, method: &str, path: &str, body: &str) -> Value {
    let address = sidecar.address("admin");
    let host = address.to_string();
    let headers = [("host", host.as_str()), ("outrigger-request", "1")];
    let answer = http::exchange(address, method, path, &headers, body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// A sidecar to which most things happen, until its end; what it wrote.
fn eventful(configure: impl FnOnce(Builder) -> Builder) -> String {
    let (fine, refusing) = (receiver().respond(503).then(200).start(), receiver().otherwise(401).start());
    let invalid = receiver().otherwise(Answer::json(r#"{"ok": false}"#)).start();
    let hook = |url: &str, rest: &str| format!("url = {url:?}\nretry.initial = \"1ms\"\nordering = \"none\"\n{rest}\n");
    let validator =
        "retry.max_attempts = 1\n[[response_validators]]\nname = \"ok\"\npath = \"$.data.ok\"\nexpected = [\"true\"]";
    let builder = sidecar()
        .setting("config.on_invalid_webhook = \"quarantine\"")
        .reaching(&fine)
        .reaching(&refusing)
        .reaching(&invalid)
        .webhook("fine", &hook(&fine.url("/secret-path"), ""))
        .webhook("refused", &hook(&refusing.url("/"), "breaker.probe = \"1m\""))
        .webhook("invalid", &hook(&invalid.url("/"), validator))
        .webhook("strict", &hook(&fine.url("/"), "strict = true\nbody = '{\"a\": \"{{data.none}}\"}'"))
        .webhook("shadow", &hook(&fine.url("/"), "status = \"shadow\""))
        .webhook("dark", &hook(&fine.url("/"), "status = \"shadow\"\nstrict = true\nbody = '{{data.none}}'"))
        .webhook("wrong", "url = 7");
    let mut sidecar = configure(builder).start();
    let trace = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    assert_eq!(sidecar.post_with("/v1/events", &trace, EVENT.as_bytes()).status, 202);
    let delivered = [("webhook", "fine"), ("outcome", "delivered")];
    sidecar.wait_metric("outrigger_deliveries_total", &delivered, 1.0);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "fine")], 0.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "invalid")], 1.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "strict")], 1.0);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "refused"), ("cause", "auth_error")], 1.0);

    let latest = admin(&sidecar, "GET", "/api/v1/invocations?webhook=fine", "")["invocations"][0]["id"].clone();
    admin(&sidecar, "POST", &format!("/api/v1/invocations/{}/resend", latest.as_str().expect("an id")), "");
    sidecar.wait_metric("outrigger_deliveries_total", &delivered, 2.0);
    admin(&sidecar, "POST", "/api/v1/webhooks/fine/test", "{}");
    admin(&sidecar, "POST", "/api/v1/webhooks/refused/resume", "");
    admin(&sidecar, "POST", "/api/v1/dead-letters/replay", r#"{"webhook": "invalid"}"#);
    sidecar.wait_metric("outrigger_attempts_total", &[("webhook", "invalid"), ("outcome", "failed")], 2.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "invalid")], 1.0);
    admin(&sidecar, "POST", "/api/v1/dead-letters/drop", r#"{"all": true}"#);
    admin(&sidecar, "PUT", "/-/log-level", r#"{"level": "warn"}"#);
    admin(&sidecar, "PUT", "/-/log-level", r#"{"level": null}"#);

    let refused = [("result", "refused")];
    let before = sidecar.metric("outrigger_config_reloads_total", &refused).unwrap_or_default();
    sidecar.written().write_webhook("fine", "url = 8");
    sidecar.wait_metric_from("outrigger_config_reloads_total", &refused, before + 1.0);
    std::fs::remove_file(sidecar.written().config().join("webhooks/wrong.toml")).expect("it is there");
    let settings = std::fs::read_to_string(sidecar.written().config().join("outrigger.toml")).expect("it is there");
    sidecar.written().replace("outrigger.toml", &format!("{settings}\nspool.max_bytes = \"2GiB\"\n"));
    sidecar.written().write_webhook("fine", &hook(&fine.url("/"), "title = \"Fine\""));
    sidecar.wait_log("config.published");
    sidecar.wait_log("config.restart_needed");
    admin(&sidecar, "POST", "/-/quit", "");
    assert!(sidecar.wait_end(crate::support::PATIENCE).success());
    sidecar.log()
}

/// What happens in it.
const NAMES: [&str; 22] = [
    "config.fault",
    "config.published",
    "config.quarantined",
    "config.refused",
    "config.restart_needed",
    "dead_letters.dropped",
    "dead_letters.replayed",
    "delivery.attempted",
    "delivery.resent",
    "delivery.shadowed",
    "log.level_changed",
    "server.listening",
    "shutdown.asked",
    "shutdown.begun",
    "shutdown.ended",
    "sidecar.ready",
    "spool.opened",
    "webhook.paused",
    "webhook.resumed",
    "webhook.tested",
    "config.fault",
    "delivery.attempted",
];

#[test]
fn every_line_of_the_real_process_is_as_the_schema_says() {
    let log = eventful(|builder| builder);
    let lines = lines(&log);
    assert_lines(&lines);
    let seen: BTreeSet<&str> = lines.iter().map(|line| line["message"].as_str().expect("a name")).collect();
    let missing: Vec<_> = NAMES.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}\n{log}");

    let attempts = |webhook: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["message"] == "delivery.attempted" && line["webhook"] == webhook).collect()
    };
    let fine = attempts("fine");
    assert_eq!(fine.len(), 3, "one line an attempt, and none for a test: {fine:?}");
    assert_eq!(
        (&fine[0]["reason"], &fine[0]["status"], &fine[0]["dead"]),
        (&json!("server_error"), &json!(503), &json!(false))
    );
    assert!(fine[0]["retry_in_ms"].is_u64() && fine[1].get("retry_in_ms").is_none());
    assert!(fine.iter().all(|line| line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"));
    let invalid = attempts("invalid");
    assert_eq!((&invalid[0]["validator"], &invalid[0]["dead"]), (&json!("ok"), &json!(true)));
    assert_eq!(attempts("refused")[0]["held"], true);
    assert!(!log.contains("Ana Canary") && !log.contains("secret-path"), "{log}");
}

#[test]
fn text_has_the_same_lines_and_fields() {
    let log = eventful(|builder| builder.setting("log.format = \"text\""));
    for name in NAMES {
        let line =
            log.lines().find(|line| line.contains(&format!(" {name}"))).unwrap_or_else(|| panic!("{name}\n{log}"));
        let entry = outrigger::log::events::EVENTS.iter().find(|entry| entry.name == name).expect("it is in the table");
        for field in entry.fields.iter().filter(|field| !field.ends_with('?')) {
            assert!(line.contains(&format!(" {field}=")), "{field}: {line}");
        }
    }
    assert!(!log.contains("Ana Canary") && !log.contains("secret-path"), "{log}");
}

#[test]
fn libraries_say_nothing_at_the_usual_level() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &format!("url = {:?}", target.url("/"))).start();
    assert_eq!(sidecar.post("/v1/events?wait=10s", EVENT).status, 200);
    assert_lines(&lines(&sidecar.log()));
    assert_eq!(named(&sidecar, "delivery.attempted").len(), 1);
}
