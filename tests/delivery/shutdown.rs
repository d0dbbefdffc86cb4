//! The end of a process, and the beginning of the next one on the same spool.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;

use super::{created, hook};
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

/// What a loaded machine may take beyond a limit.
const SLACK: Duration = Duration::from_secs(10);

#[test]
fn sigterm_ends_what_is_in_flight_and_the_next_process_delivers_the_rest() {
    let target = receiver().respond(Answer::status(200).after(Duration::from_millis(700))).start();
    let one_by_one = hook(&target.url("/"), "limits.concurrency = 1");
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &one_by_one).start();
    for id in ["r-1", "r-2", "r-3"] {
        assert_eq!(sidecar.post("/v1/events", &created(id)).status, 202);
    }
    target.wait(1);
    assert!(sidecar.terminate().success());
    assert!(sidecar.log().contains("\"outcome\":\"accepted\""), "the attempt in flight ended: {}", sidecar.log());
    assert_eq!(target.count(), 1, "no attempt was begun after the signal");
    sidecar.restart();
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], 2.0);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    let seen = target.recorded();
    let ids: BTreeSet<&str> = seen.iter().map(|seen| seen.header("webhook-id")).collect();
    assert_eq!((seen.len(), ids.len()), (3, 3), "each was sent once: {ids:?}");
}

#[test]
fn ingest_goes_on_for_the_delay_and_then_says_when_to_come_again() {
    let target = receiver().otherwise(Answer::hang()).start();
    let mut sidecar = sidecar()
        .setting("shutdown.delay = \"2s\"")
        .setting("shutdown.grace = \"1m\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), "timeout = \"2m\""))
        .start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    target.wait(1);
    sidecar.signal("TERM");
    sidecar.wait_log("shutdown.begun");
    assert_eq!(sidecar.get("metrics", "/readyz").status, 503);
    assert_eq!(
        sidecar.post("/v1/events", &created("r-2")).status,
        202,
        "the delay is for those who have not heard yet"
    );
    let refused = eventually(PATIENCE, || {
        let answer = sidecar.post("/v1/events", &created("r-3"));
        (answer.status != 202).then_some(answer)
    });
    let refused = refused.expect("the delay ends");
    assert_eq!((refused.status, refused.header("content-type")), (503, "application/problem+json"));
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
    let unavailable = [("kind", "request"), ("result", "unavailable")];
    assert_eq!(sidecar.metric("outrigger_events_received_total", &unavailable), Some(1.0));
    sidecar.signal("TERM");
    assert!(sidecar.wait_end(PATIENCE).success());
}

#[test]
fn a_second_sigterm_ends_at_once_and_loses_nothing() {
    let target = receiver().respond(Answer::hang()).start();
    let patient = hook(&target.url("/"), "timeout = \"2m\"");
    let mut sidecar = sidecar().setting("shutdown.grace = \"2m\"").reaching(&target).webhook("hook", &patient).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    let first = target.wait(1);
    sidecar.signal("TERM");
    sidecar.wait_log("shutdown.begun");
    sidecar.signal("TERM");
    sidecar.wait_end(PATIENCE);
    sidecar.restart();
    let seen = target.wait(2);
    assert_eq!(seen[1].header("webhook-id"), first[0].header("webhook-id"), "it goes on under the same id");
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
}

#[test]
fn what_does_not_end_within_the_grace_stays_for_the_next_process() {
    let target = receiver().respond(Answer::hang()).start();
    let patient = hook(&target.url("/"), "timeout = \"2m\"");
    let mut sidecar = sidecar().setting("shutdown.grace = \"1s\"").reaching(&target).webhook("hook", &patient).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    target.wait(1);
    assert!(sidecar.terminate().success());
    assert!(sidecar.log().contains("given up"), "{}", sidecar.log());
    sidecar.restart();
    let opened = sidecar.wait_log("spool.opened");
    assert!(opened.contains("\"pending\":1"), "a start says what it found: {opened}");
    target.wait(2);
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], 1.0);
}

#[test]
fn who_waits_for_a_delivery_does_not_hold_up_the_end_and_hears_202() {
    let target = receiver().otherwise(503).start();
    let patient = format!("url = {:?}\nretry.initial = \"1h\"\nretry.max_interval = \"1h\"\n", target.url("/"));
    let mut sidecar = sidecar().setting("shutdown.grace = \"2m\"").reaching(&target).webhook("hook", &patient).start();
    let ingest = sidecar.address("ingest");
    let waiting = thread::spawn(move || {
        http::exchange(ingest, "POST", "/v1/events?wait=5m", &[], created("r-1").as_bytes()).expect("an answer")
    });
    sidecar.wait_metric("outrigger_attempts_total", &[("webhook", "hook"), ("outcome", "failed")], 1.0);
    assert!(sidecar.terminate().success());
    let answer = waiting.join().expect("no panic");
    assert_eq!((answer.status, &answer.json()["events"][0]["deliveries"][0]), (202, &"hook".into()));
}

#[test]
fn a_second_sigterm_does_not_wait_for_a_slow_sender_either() {
    let target = receiver().start();
    let mut sidecar = sidecar()
        .setting("shutdown.grace = \"2m\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let mut slow = TcpStream::connect(sidecar.address("ingest")).expect("a listener");
    slow.write_all(
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 50\r\n\r\n",
    )
    .expect("a head");
    slow.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut asked = [0; 12];
    slow.read_exact(&mut asked).expect("100: the body is being read");
    assert_eq!(&asked, b"HTTP/1.1 100");
    sidecar.signal("TERM");
    sidecar.wait_log("shutdown.begun");
    sidecar.signal("TERM");
    assert!(sidecar.wait_end(PATIENCE).success());
}

#[test]
fn sigterm_ends_within_the_grace_with_attempts_that_hang_and_a_backlog_that_waits_for_a_paused_target() {
    let (hanging, refusing) = (receiver().otherwise(Answer::hang()).start(), receiver().otherwise(401).start());
    let mut sidecar = sidecar()
        .setting("shutdown.grace = \"2s\"")
        .reaching(&hanging)
        .reaching(&refusing)
        .webhook("hangs", &hook(&hanging.url("/"), "timeout = \"2m\"\nordering = \"none\""))
        .webhook("paused", &hook(&refusing.url("/"), "breaker.probe = \"1h\"\nordering = \"none\""))
        .start();
    let lines: Vec<String> = (0..200).map(|number| created(&format!("r-{number}"))).collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(sidecar.post_with("/v1/events", &ndjson, lines.join("\n").as_bytes()).status, 202);
    hanging.wait(8);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "paused"), ("cause", "auth_error")], 1.0);
    let before = Instant::now();
    assert!(sidecar.terminate().success());
    let took = before.elapsed();
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
    assert!(sidecar.log().contains("given up"), "{}", sidecar.log());
    sidecar.restart();
    let opened = sidecar.wait_log("spool.opened");
    assert!(opened.contains("\"pending\":400,\"dead_letters\":0"), "{opened}");
}

#[test]
fn a_second_sigterm_ends_the_delay_too() {
    let target = receiver().otherwise(401).start();
    let mut sidecar = sidecar()
        .setting("shutdown.delay = \"2m\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    target.wait(1);
    sidecar.signal("TERM");
    sidecar.wait_log("shutdown.begun");
    assert_eq!(sidecar.post("/v1/events", &created("r-2")).status, 202);
    assert_eq!(sidecar.get("metrics", "/livez").status, 200, "what drains is not killed by its probe");
    sidecar.signal("INT");
    let before = Instant::now();
    assert!(sidecar.wait_end(PATIENCE).success());
    assert!(before.elapsed() < SLACK, "{:?}", before.elapsed());
    sidecar.restart();
    assert!(sidecar.wait_log("spool.opened").contains("\"pending\":2"), "{}", sidecar.log());
}
