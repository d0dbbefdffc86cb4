//! The trace of an event goes on to its receivers: on every attempt, whatever happens in between.

use std::collections::BTreeSet;

use outrigger::cli::demo::receiver::Recorded;
use serde_json::Value;

use super::{created, hook};
use crate::support::http;
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const STATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";

fn parent() -> String {
    format!("00-{ID}-00f067aa0ba902b7-01")
}

/// Posts an event with these headers: its id.
#[track_caller]
fn post(sidecar: &Sidecar, headers: &[(&str, &str)], body: &str) -> String {
    let answer = sidecar.post_with("/v1/events", headers, body.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["events"][0]["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn admin(sidecar: &Sidecar, method: &str, path: &str, body: &str) -> Value {
    let address = sidecar.address("admin");
    let host = address.to_string();
    let headers = [("host", host.as_str()), ("outrigger-request", "1")];
    let answer = http::exchange(address, method, path, &headers, body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// The trace's id, the span and the flags that a receiver was sent.
#[track_caller]
fn sent(seen: &Recorded) -> (String, String, String) {
    let header = seen.header("traceparent");
    let [version, id, span, flags] = &header.split('-').collect::<Vec<_>>()[..] else { panic!("`{header}`") };
    assert_eq!((*version, id.len(), span.len()), ("00", 32, 16), "{header}");
    ((*id).to_owned(), (*span).to_owned(), (*flags).to_owned())
}

#[test]
fn a_trace_goes_on_with_another_span_each_attempt_through_kill_replay_and_resend() {
    let target = receiver().respond(500).then(503).otherwise(500).start();
    let rest = "breaker.failures = 1000\nretry.max_attempts = 4";
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), rest)).start();
    post(&sidecar, &[("traceparent", &parent()), ("tracestate", STATE)], &created("r-1"));
    let dead = [("webhook", "hook"), ("outcome", "dead")];
    sidecar.wait_metric("outrigger_deliveries_total", &dead, 1.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "hook")], 1.0);

    // What people see of an attempt is what was sent.
    let invocations = admin(&sidecar, "GET", "/api/v1/invocations", "");
    let latest = invocations["invocations"][0]["id"].as_str().expect("an id").to_owned();
    let shown = admin(&sidecar, "GET", &format!("/api/v1/invocations/{latest}"), "");
    let shown: Vec<&Value> = shown["request"]["headers"].as_array().expect("headers").iter().collect();
    let seen = target.wait(4);
    for name in ["traceparent", "tracestate"] {
        let of = shown.iter().find(|header| header[0] == name).unwrap_or_else(|| panic!("{name}: {shown:?}"));
        assert_eq!(of[1], seen[3].header(name));
    }

    sidecar.kill9();
    sidecar.restart();
    admin(&sidecar, "POST", "/api/v1/dead-letters/replay", r#"{"webhook": "hook"}"#);
    target.wait(5);
    sidecar.kill9();
    target.otherwise(200.into());
    let before = target.count();
    sidecar.restart();
    target.wait(before + 1);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);

    let invocations = admin(&sidecar, "GET", "/api/v1/invocations?outcome=accepted", "");
    let latest = invocations["invocations"][0]["id"].as_str().expect("an id").to_owned();
    let before = target.count();
    admin(&sidecar, "POST", &format!("/api/v1/invocations/{latest}/resend"), "");
    let seen = target.wait(before + 1);

    let mut spans = BTreeSet::from(["00f067aa0ba902b7".to_owned()]);
    for one in &seen {
        let (id, span, flags) = sent(one);
        assert_eq!((id.as_str(), flags.as_str(), one.header("tracestate")), (ID, "01", STATE));
        assert!(spans.insert(span), "every attempt is a span of its own: {}", one.header("traceparent"));
    }
    let line = sidecar.wait_log("delivery.attempted");
    assert!(line.contains(&format!("\"trace_id\":\"{ID}\"")), "{line}");
}

#[test]
fn where_no_trace_came_or_none_that_can_be_read_one_begins_with_the_event() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let whole = parent();
    let (upper, zero) = (whole.to_uppercase(), format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)));
    let unsigned = format!("00-{ID}-0000000000000000-01");
    let (cut, more) = (&whole[..54], format!("{whole}-x"));
    let later = format!("ff{}", &whole[2..]);
    let long = "1".repeat(5000);
    let cases: [&[(&str, &str)]; 12] = [
        &[],
        &[("tracestate", STATE)],
        &[("traceparent", "")],
        &[("traceparent", "none")],
        &[("traceparent", &upper)],
        &[("traceparent", &zero), ("tracestate", STATE)],
        &[("traceparent", &unsigned)],
        &[("traceparent", cut)],
        &[("traceparent", &more)],
        &[("traceparent", &later)],
        &[("traceparent", &long)],
        &[("traceparent", &whole), ("traceparent", &whole)],
    ];
    for (count, headers) in (1..).zip(cases) {
        let id = post(&sidecar, headers, &created("r-1"));
        let seen = target.wait(count);
        let one = &seen[count - 1];
        let (trace, _, flags) = sent(one);
        assert_eq!((format!("evt_{trace}"), flags.as_str(), one.header("tracestate")), (id, "00", ""), "{headers:?}");
    }
    assert!(!sidecar.wait_log("delivery.attempted").contains("trace_id"), "a line says what came in");
    // A state that cannot be read leaves its trace as it is.
    post(&sidecar, &[("traceparent", &parent()), ("tracestate", "none")], &created("r-1"));
    let seen = target.wait(cases.len() + 1);
    let last = &seen[cases.len()];
    assert_eq!((sent(last).0.as_str(), last.header("tracestate")), (ID, ""));
}

#[test]
fn events_of_one_request_share_its_trace_and_a_key_does_not_ask_after_it() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let lines = [created("r-1"), created("r-2")].join("\n");
    let key = ("idempotency-key", "k");
    let ndjson = ("content-type", "application/x-ndjson");
    let first = sidecar.post_with("/v1/events", &[ndjson, key, ("traceparent", &parent())], lines.as_bytes());
    let other = parent().replace("4bf9", "0000");
    for headers in [&[ndjson, key][..], &[ndjson, key, ("traceparent", &other), ("tracestate", STATE)]] {
        let repeat = sidecar.post_with("/v1/events", headers, lines.as_bytes());
        assert_eq!((repeat.status, &repeat.body, repeat.header("idempotent-replayed")), (202, &first.body, "true"));
    }
    let seen = target.wait(2);
    assert!(seen.iter().all(|one| sent(one).0 == ID));
    assert_ne!(sent(&seen[0]).1, sent(&seen[1]).1);
    assert_eq!(target.count(), 2);
}

#[test]
fn a_webhook_that_sets_the_header_itself_has_its_way_and_a_test_is_a_trace_of_its_own() {
    let target = receiver().start();
    let own = "[headers]\ntraceparent = \"{{data.trace}}\"";
    let state = "[headers]\ntracestate = \"own=1\"";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("own", &hook(&target.url("/own"), own))
        .webhook("state", &hook(&target.url("/state"), state))
        .start();
    let body = r#"{"event_type":"RequestCreated","data":{"id":"r-1","trace":"mine"}}"#;
    post(&sidecar, &[("traceparent", &parent()), ("tracestate", STATE)], body);
    let seen = target.wait(2);
    let of = |path: &str| seen.iter().find(|one| one.target == path).expect("both are called");
    assert_eq!((of("/own").header("traceparent"), of("/own").header("tracestate")), ("mine", ""));
    assert_eq!((sent(of("/state")).0.as_str(), of("/state").header("tracestate")), (ID, "own=1"));

    let ended = sidecar.written().run(&["test", "state"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let seen = target.wait(3);
    let header = seen[2].header("traceparent");
    assert!(sent(&seen[2]).0 != ID && ended.stdout.contains(&format!("traceparent: {header}\n")), "{ended:?}");
    admin(&sidecar, "POST", "/api/v1/webhooks/state/test", "{}");
    let seen = target.wait(4);
    assert_ne!(sent(&seen[3]).0, sent(&seen[2]).0);
}
