//! What failures are called, and what follows from them.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use serde_json::json;

use super::{created, hook, settle, settle_one};
use crate::support::process::Process;
use crate::support::sidecar::Sidecar;
use crate::support::spool::left;
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

fn failures(sidecar: &Sidecar, webhook: &str, reason: &str) -> Option<f64> {
    sidecar.metric("outrigger_attempt_failures_total", &[("webhook", webhook), ("reason", reason)])
}

fn dead_letters(sidecar: &Sidecar, webhook: &str, reason: &str) -> Option<f64> {
    sidecar.metric("outrigger_dead_letters_total", &[("webhook", webhook), ("reason", reason)])
}

/// What follows from a status.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Buried,
    Retried,
    Paused,
}

/// A status, the reason that it is given, and what follows.
const STATUSES: &[(u16, &str, Then)] = &[
    (302, "redirect", Then::Paused),
    (400, "client_error", Then::Buried),
    (401, "auth_error", Then::Paused),
    (403, "auth_error", Then::Paused),
    (404, "not_found", Then::Paused),
    (408, "server_error", Then::Retried),
    (410, "gone", Then::Paused),
    (413, "client_error", Then::Buried),
    (418, "client_error", Then::Buried),
    (422, "client_error", Then::Buried),
    (425, "server_error", Then::Retried),
    (429, "rate_limited", Then::Paused),
    (500, "server_error", Then::Retried),
    (503, "server_error", Then::Retried),
];

#[test]
fn every_status_has_its_reason_and_only_faults_of_the_payload_are_buried_at_once() {
    let target = receiver().start();
    target.respond_with(|request| {
        let status = request.target.rsplit('/').next().and_then(|status| status.parse::<u16>().ok());
        Answer::status(status.unwrap_or(200)).header("location", "/elsewhere")
    });
    let mut builder = sidecar().reaching(&target);
    for (status, ..) in STATUSES {
        let file = hook(&target.url(&format!("/{status}")), "retry.max_attempts = 2");
        builder = builder.webhook(&format!("s{status}"), &file);
    }
    let sidecar = builder.webhook("templated", &hook(&target.url("/{{data.id}}/404"), "")).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    for (status, reason, then) in STATUSES {
        let name = format!("s{status}");
        if *then == Then::Paused {
            let paused = [("webhook", name.as_str()), ("cause", reason)];
            sidecar.wait_metric("outrigger_webhook_paused", &paused, 1.0);
            assert_eq!(failures(&sidecar, &name, reason), Some(1.0), "{status}");
            assert_eq!(sidecar.metric("outrigger_dead_letters", &[("webhook", &name)]), Some(0.0), "{status}");
            continue;
        }
        let (attempts, ended) = if *then == Then::Retried { (2.0, "attempts_exhausted") } else { (1.0, *reason) };
        sidecar.wait_metric("outrigger_dead_letters_total", &[("webhook", &name), ("reason", ended)], 1.0);
        assert_eq!(failures(&sidecar, &name, reason), Some(attempts), "{status}");
    }
    // A templated URL that is not found is the payload's fault.
    let templated = [("webhook", "templated"), ("reason", "client_error")];
    sidecar.wait_metric("outrigger_dead_letters_total", &templated, 1.0);
    assert!(target.recorded().iter().all(|seen| seen.target != "/elsewhere"), "no redirect is followed");
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "s400")], 1.0);
}

#[test]
fn what_goes_wrong_on_the_way_has_its_reason_too() {
    let target = receiver().start();
    target.respond_with(|request| match request.target.as_str() {
        "/silent" => Answer::hang(),
        "/closes" => Answer::close(),
        "/huge" => Answer::huge(4096),
        _ => Answer::status(200),
    });
    // Noise ends the whole connection, and with it what else is on it: this one has a receiver of its own.
    let garbage = receiver().otherwise(Answer::garbage()).start();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let no_tls = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let no_tls_port = no_tls.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in no_tls.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"this is no handshake"));
        }
    });
    let once = "retry.max_attempts = 1";
    let needs_all = format!(
        "{once}\nlimits.response = \"1KiB\"\n[[response_validators]]\npath = \"$.data.ok\"\nexpected = [\"true\"]"
    );
    let at = |port: u16| format!("https://127.0.0.1:{port}/");
    let cases = [
        ("timeout", hook(&target.url("/silent"), &format!("{once}\ntimeout = \"1s\""))),
        ("connection_reset", hook(&target.url("/closes"), once)),
        ("network_error", hook(&garbage.url("/"), once)),
        ("response_too_large", hook(&target.url("/huge"), &needs_all)),
        ("template_error", hook(&target.url("/"), "strict = true\nbody = '{\"a\": \"{{data.justification}}\"}'")),
        ("connection_refused", hook(&at(closed), once)),
        ("tls_error", hook(&at(no_tls_port), once)),
    ];
    let ports = [target.port(), garbage.port(), closed, no_tls_port];
    let mut builder = sidecar().setting(&format!("egress.allow_ports = {ports:?}"));
    for (reason, file) in &cases {
        builder = builder.webhook(reason, file);
    }
    let sidecar = builder.start();
    assert_eq!(settle(&sidecar, &created("r-1")).len(), cases.len());
    for (reason, _) in &cases {
        assert_eq!(failures(&sidecar, reason, reason), Some(1.0), "{reason}: {}", sidecar.log());
    }
    let missing = sidecar.metric("outrigger_template_missing_fields_total", &[("webhook", "timeout")]);
    assert_eq!(missing, Some(0.0));
}

#[test]
fn a_failed_validator_makes_a_dead_letter_that_is_counted_and_kept() {
    let target = receiver().otherwise(Answer::json(r#"{"ok":false}"#)).start();
    let validator = "[[response_validators]]\nname = \"fine\"\npath = \"$.data.ok\"\nexpected = [\"true\"]";
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), validator)).start();
    let delivery = settle_one(&sidecar, &created("r-1"));
    assert_eq!((&delivery["outcome"], &delivery["reason"]), (&json!("dead"), &json!("validation_failed")));
    assert_eq!(delivery["validators"], json!([{ "name": "fine", "passed": false }]));
    let refused = [("webhook", "hook"), ("validator", "fine")];
    assert_eq!(sidecar.metric("outrigger_validator_failures_total", &refused), Some(1.0));
    assert_eq!(dead_letters(&sidecar, "hook", "validation_failed"), Some(1.0));
    assert!(sidecar.terminate().success());
    let left = left(&sidecar.written().dir().join("spool"));
    let [dead] = left.dead.as_slice() else { panic!("one dead letter was expected: {left:?}") };
    assert_eq!((&*dead.webhook, dead.reason.as_str(), dead.attempts), ("hook", "validation_failed", 1));
    assert_eq!((left.pending(), target.count()), (0, 1));
}

#[test]
fn a_failed_validator_that_says_retry_is_retried() {
    let target = receiver().respond(Answer::json(r#"{"ok":false}"#)).then(Answer::json(r#"{"ok":true}"#)).start();
    let validator = "[[response_validators]]\npath = \"$.data.ok\"\nexpected = [\"true\"]\non_failure = \"retry\"";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), validator)).start();
    let delivery = settle_one(&sidecar, &created("r-1"));
    assert_eq!((&delivery["outcome"], &delivery["attempts"]), (&json!("delivered"), &json!(2)));
    assert_eq!(failures(&sidecar, "hook", "validation_failed"), Some(1.0));
    assert_eq!(dead_letters(&sidecar, "hook", "validation_failed"), Some(0.0));
}

#[test]
fn what_is_older_than_max_age_expires() {
    let target = receiver().otherwise(500).start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), "retry.max_age = \"1s\"\nbreaker.failures = 1000"))
        .start();
    let delivery = settle_one(&sidecar, &created("r-1"));
    assert_eq!((&delivery["outcome"], &delivery["reason"]), (&json!("dead"), &json!("expired")));
    assert!(target.count() > 1, "it was tried as long as there was time");
    assert_eq!(dead_letters(&sidecar, "hook", "expired"), Some(1.0));
}

#[test]
fn a_429_is_obeyed_as_long_as_it_says() {
    let target = receiver().respond(Answer::status(429).header("retry-after", "1")).start();
    let patient = "retry.max_age = \"1m\"";
    let sidecar =
        sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), patient).replace("20ms", "1s")).start();
    assert_eq!(settle_one(&sidecar, &created("r-1"))["attempts"], 1, "what was held cost nothing");
    let seen = target.wait(2);
    let waited = seen[1].at.duration_since(seen[0].at);
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(failures(&sidecar, "hook", "rate_limited"), Some(1.0));
}

#[test]
fn an_address_that_the_guard_refuses_is_never_dialled_and_not_buried() {
    let target = receiver().start();
    let sidecar = sidecar()
        .setting("egress.allow_networks = []")
        .reaching(&target)
        .webhook("literal", &hook(&target.url("/"), "breaker.probe = \"20ms\""))
        .webhook("name", &hook(&format!("https://localhost:{}/", target.port()), "breaker.probe = \"20ms\""))
        .start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    for name in ["literal", "name"] {
        let labels = [("webhook", name), ("reason", "blocked_address")];
        sidecar.wait_metric_from("outrigger_attempt_failures_total", &labels, 2.0);
        sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", name)], 1.0);
        assert_eq!(sidecar.metric("outrigger_dead_letters", &[("webhook", name)]), Some(0.0), "{name}");
    }
    assert_eq!(target.count(), 0);
}

#[test]
fn what_a_removed_webhook_still_owed_becomes_dead_letters_after_the_grace() {
    let target = receiver().otherwise(500).start();
    let slow = format!("url = {:?}\nretry.initial = \"1h\"\nretry.max_interval = \"1h\"", target.url("/"));
    let mut sidecar = sidecar()
        .setting("config.removal_grace = \"100ms\"")
        .reaching(&target)
        .webhook("doomed", &slow)
        .webhook("stays", &slow)
        .start();
    for id in ["r-1", "r-2"] {
        assert_eq!(sidecar.post("/v1/events", &created(id)).status, 202);
    }
    for name in ["doomed", "stays"] {
        sidecar.wait_metric("outrigger_attempts_total", &[("webhook", name), ("outcome", "failed")], 2.0);
    }
    let file = sidecar.written().config().join("webhooks/doomed.toml");
    std::fs::remove_file(file).expect("it was written");
    let line = sidecar.wait_log("deliveries of a removed webhook are dead letters");
    assert!(line.contains("webhook_removed") && line.contains("\"count\":2"), "{line}");
    assert!(sidecar.terminate().success());
    let left = left(&sidecar.written().dir().join("spool"));
    let reasons: Vec<_> = left.dead.iter().map(|dead| (&*dead.webhook, dead.reason.as_str())).collect();
    assert_eq!(reasons, [("doomed", "webhook_removed"); 2]);
    assert_eq!(left.pending(), 2, "what the other one owes waits on");
}

#[test]
fn a_log_that_cannot_be_written_neither_stops_nor_repeats_a_delivery() {
    let target = receiver().start();
    let written = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).write();
    let run = written.command(&["run"]);
    let mut deaf = Command::new("sh");
    deaf.args(["-c", "exec \"$0\" \"$@\" 2>/dev/full"]).arg(run.get_program()).args(run.get_args());
    let mut process = Process::spawn(deaf.current_dir(written.dir()));
    let ingest = eventually(PATIENCE, || {
        process.lines().iter().find_map(|line| line.strip_prefix("ingest listens on http://")?.parse().ok())
    });
    let ingest = ingest.expect("it starts");
    let answer = http::exchange(ingest, "POST", "/v1/events?wait=15s", &[], created("r-1").as_bytes());
    assert_eq!(answer.expect("an answer").json()["events"][0]["deliveries"][0]["outcome"], "delivered");
    process.signal("TERM");
    assert!(process.wait(PATIENCE).success());
    assert_eq!(target.count(), 1);
}
