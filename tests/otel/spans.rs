//! What is sent, when, and what it costs where it cannot be.

use std::time::{Duration, Instant};

use super::collector::{Collector, Seen};
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::{PATIENCE, eventually, receiver, sidecar};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const EVENT: &str = r#"{"event_type":"RequestCreated","data":{"id":"r-1","name":"CANARY-payload"}}"#;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn traced(collector: &Collector) -> Builder {
    sidecar().setting(&format!("traces.endpoint = {:?}", collector.url()))
}

fn parent(flags: &str) -> String {
    format!("00-{ID}-00f067aa0ba902b7-{flags}")
}

fn post(sidecar: &Sidecar, headers: &[(&str, &str)], body: &str) -> String {
    let answer = sidecar.post_with("/v1/events", headers, body.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["events"][0]["id"].as_str().expect("an id").to_owned()
}

fn of<'s>(spans: &'s [Seen], name: &str) -> Vec<&'s Seen> {
    let mut found: Vec<&Seen> = spans.iter().filter(|span| span.name == name).collect();
    found.sort_by_key(|span| span.nanoseconds);
    found
}

#[test]
fn a_request_and_each_attempt_are_spans_of_the_trace_that_came() {
    let target = receiver().respond(503).then(200).start();
    let collector = Collector::start(200);
    let mut sidecar = traced(&collector)
        .setting("traces.headers.authorization = \"Bearer ${env:COLLECTOR_TOKEN}\"")
        .setting("traces.service_name = \"events\"")
        .env("COLLECTOR_TOKEN", "CANARY-token")
        .env("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-7")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .reaching(&target)
        .webhook(
            "hook",
            &format!(
                "url = {:?}\nretry.initial = \"1ms\"\nauth.bearer.token = \"CANARY-bearer\"",
                target.url("/CANARY-path")
            ),
        )
        .start();
    let event = post(&sidecar, &[("traceparent", &parent("01")), ("tracestate", "a=1")], EVENT);
    let spans = collector.wait(3);
    let ([ingest], [first, second]) = (&of(&spans, "ingest")[..], &of(&spans, "attempt")[..]) else {
        panic!("{spans:?}")
    };
    assert_eq!((ingest.kind, ingest.parent.as_str(), ingest.failed), (SERVER, "00f067aa0ba902b7", false));
    assert_eq!(ingest.attributes["http.response.status_code"], "202");
    assert_eq!(spans.iter().filter(|span| span.trace == ID && span.state == "a=1").count(), 3);
    assert!(spans.iter().all(|span| span.nanoseconds.0 <= span.nanoseconds.1 && span.nanoseconds.0 > 1 << 60));
    let seen = target.wait(2);
    for (attempt, (span, number)) in seen.iter().zip([(first, "1"), (second, "2")]) {
        assert_eq!((span.kind, &span.parent), (CLIENT, &ingest.id), "the request caused it");
        assert_eq!(
            attempt.header("traceparent"),
            format!("00-{ID}-{}-01", span.id),
            "the receiver's parent is this span"
        );
        let of = |name: &str| span.attributes.get(name).map_or("", String::as_str);
        assert_eq!((of("http.request.method"), of("server.address")), ("POST", "127.0.0.1"));
        assert_eq!((of("outrigger.webhook"), of("outrigger.event.id")), ("hook", event.as_str()));
        assert_eq!((of("outrigger.delivery.id"), of("outrigger.attempt")), (&*format!("{event}_hook"), number));
    }
    let result = |span: &Seen| {
        (span.failed, span.attributes["http.response.status_code"].clone(), span.attributes.get("error.type").cloned())
    };
    assert_eq!(result(first), (true, "503".to_owned(), Some("server_error".to_owned())));
    assert_eq!(result(second), (false, "200".to_owned(), None));

    let resource = collector.resource();
    assert_eq!((resource["service.name"].as_str(), resource["k8s.pod.name"].as_str()), ("events", "pod-7"));
    let head = &collector.requests()[0];
    assert_eq!(head[0], "POST /v1/traces HTTP/1.1");
    for line in ["content-type: application/x-protobuf", "authorization: Bearer CANARY-token"] {
        assert!(head.iter().any(|known| known == line), "{head:?}");
    }
    assert!(!collector.contains("CANARY") && collector.contains("127.0.0.1"), "neither payload nor path nor secret");
    assert!(sidecar.terminate().success());
    assert!(!sidecar.log().contains("CANARY-token"), "{}", sidecar.log());
}

#[test]
fn what_is_recorded_is_decided_once_also_over_a_crash() {
    let target = receiver().otherwise(503).start();
    let collector = Collector::start(200);
    let rest = "ordering = \"none\"\nretry.initial = \"50ms\"\nretry.max_interval = \"50ms\"\nbreaker.failures = 1000";
    let mut sidecar =
        traced(&collector).reaching(&target).webhook("hook", &format!("url = {:?}\n{rest}", target.url("/"))).start();
    // Neither what its sender does not record, nor its attempts.
    post(&sidecar, &[("traceparent", &parent("00"))], EVENT);
    target.wait(2);
    let event = post(&sidecar, &[], EVENT);
    let begun = eventually(PATIENCE, || (of(&collector.wait(2), "attempt").len() > 1).then_some(()));
    assert!(begun.is_some());
    sidecar.kill9();
    let before = collector.count();
    sidecar.restart();
    let spans = collector.wait(before + 3);
    let trace = event.trim_start_matches("evt_");
    assert!(spans.iter().all(|span| span.trace == trace), "its id is that of the event: {spans:?}");
    let [ingest] = &of(&spans, "ingest")[..] else { panic!("{spans:?}") };
    assert!(ingest.parent.is_empty() && of(&spans, "attempt").iter().all(|span| span.parent == ingest.id));
    let unrecorded = target.recorded().into_iter().filter(|seen| seen.header("traceparent").ends_with("-00")).count();
    assert!(unrecorded > 2, "its trace goes on all the same");
}

#[test]
fn a_ratio_of_none_records_what_others_sample_alone_and_what_is_refused_is_recorded_too() {
    let target = receiver().start();
    let collector = Collector::start(200);
    let sidecar = traced(&collector)
        .setting("traces.sample_ratio = 0.0")
        .reaching(&target)
        .webhook("hook", &format!("url = {:?}", target.url("/")))
        .start();
    for _ in 0..5 {
        post(&sidecar, &[], EVENT);
    }
    target.wait(5);
    let lines = [EVENT, EVENT].join("\n");
    post(&sidecar, &[("content-type", "application/x-ndjson"), ("traceparent", &parent("01"))], &lines);
    assert_eq!(sidecar.post_with("/v1/events", &[("traceparent", &parent("01"))], b"no JSON").status, 400);
    let spans = collector.wait(4);
    assert_eq!((of(&spans, "ingest").len(), of(&spans, "attempt").len()), (2, 2), "{spans:?}");
    assert!(spans.iter().all(|span| span.trace == ID));
    assert_eq!(of(&spans, "ingest")[1].attributes["http.response.status_code"], "400");
}

#[test]
fn a_collector_that_is_away_holds_up_nothing_and_costs_a_line() {
    let target = receiver().start();
    for status in [0, 503] {
        let collector = Collector::start(status);
        let mut sidecar =
            traced(&collector).reaching(&target).webhook("hook", &format!("url = {:?}", target.url("/"))).start();
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(sidecar.post("/v1/events?wait=10s", EVENT).status, 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let told = eventually(PATIENCE, || sidecar.log().contains("spans.unsent").then_some(()));
        assert!(told.is_some(), "{}", sidecar.log());
        if status == 503 {
            assert_eq!(sidecar.post("/v1/events?wait=10s", EVENT).status, 200);
            assert!(eventually(PATIENCE, || (collector.requests().len() > 1).then_some(())).is_some());
            assert_eq!(sidecar.log().matches("\"message\":\"spans.unsent\"").count(), 1, "{}", sidecar.log());
            collector.answer(200);
            assert_eq!(sidecar.post("/v1/events?wait=10s", EVENT).status, 200);
            collector.wait(2);
        }
        assert_eq!(sidecar.post("/v1/events?wait=10s", EVENT).status, 200);
        let begun = Instant::now();
        assert!(sidecar.terminate().success());
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert!(sidecar.log().contains("spans.lost") && sidecar.log().contains("shutdown.ended"), "{}", sidecar.log());
        if status == 0 {
            // A request and an attempt of each event.
            let lost = sidecar.log().lines().find(|line| line.contains("spans.lost")).unwrap_or_default().to_owned();
            assert!(lost.contains("\"count\":42,"), "{lost}");
        }
    }
}

#[test]
fn what_was_recorded_last_is_sent_before_the_end_and_variables_name_the_collector() {
    let target = receiver().start();
    let collector = Collector::start(200);
    let mut sidecar = sidecar()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .env("OTEL_SERVICE_NAME", "by-variable")
        .reaching(&target)
        .webhook("hook", &format!("url = {:?}", target.url("/")))
        .start();
    assert_eq!(sidecar.post("/v1/events?wait=10s", EVENT).status, 200);
    assert!(sidecar.terminate().success());
    assert_eq!(collector.count(), 2, "they were sent before it ended");
    assert_eq!(collector.resource()["service.name"], "by-variable");
    assert!(!sidecar.log().contains("spans."), "{}", sidecar.log());
}

#[test]
fn faults_of_the_table_are_told_and_an_edit_takes_a_restart() {
    for (line, says) in [
        ("traces.endpoint = \"collector:4318\"", "no URL of a collector"),
        ("traces.endpoint = \"http://me:CANARY@collector:4318\"", "traces.headers"),
        ("traces.sample_ratio = 1.5", "from 0 to 1"),
        ("traces.service_name = \"\"", "traces.service_name"),
        ("traces.headers = { \"a b\" = \"x\" }", "name of a header"),
        ("traces.headers = { authorization = \"${env:NOT_SET}\" }", "NOT_SET"),
        ("traces.endpiont = \"x\"", "endpoint"),
    ] {
        let written = sidecar().setting(line).webhook("hook", "url = \"https://hooks.example.com/in\"").write();
        let ended = written.run(&["run"]);
        assert_eq!(ended.status.code(), Some(78), "{line}: {ended:?}");
        assert!(ended.stderr.contains(says) && !ended.stderr.contains("CANARY"), "{line}: {ended:?}");
    }
    // A secret that is typed is warned about and not shown.
    let typed = "traces.headers = { authorization = \"Bearer CANARY\" }";
    let written = sidecar().setting(typed).webhook("hook", "url = \"https://hooks.example.com/in\"").write();
    let ended = written.run(&["check"]);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("plain-secret") && !said.contains("CANARY"), "{ended:?}");

    let collector = Collector::start(200);
    let sidecar = traced(&collector).webhook("hook", "url = \"https://hooks.example.com/in\"").start();
    let file = sidecar.written().config().join("outrigger.toml");
    let text = std::fs::read_to_string(file).expect("it is there");
    sidecar.written().replace("outrigger.toml", &format!("{text}\ntraces.sample_ratio = 0.5\n"));
    assert!(sidecar.wait_log("takes a restart").contains("\"traces\""));
}
