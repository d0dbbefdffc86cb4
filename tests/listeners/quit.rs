//! `POST /-/quit`: the end that a program of the same pod asks for.

use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use serde_json::json;

use super::{EVENT, hook};
use crate::bad_input::assert_problem;
use crate::support::http::{HttpAnswer, exchange};
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

const MARK: (&str, &str) = ("outrigger-request", "1");

#[track_caller]
fn quit(sidecar: &Sidecar, method: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    exchange(sidecar.address("admin"), method, "/-/quit", headers, b"")
        .unwrap_or_else(|error| panic!("{error}\n{}", sidecar.log()))
}

#[test]
fn whoever_may_asks_for_the_end_and_what_is_in_flight_still_arrives() {
    let target = receiver().respond(Answer::status(200).after(Duration::from_millis(700))).start();
    let mut sidecar = sidecar()
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), "limits.concurrency = 1\nordering = \"none\""))
        .start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(1);
    // A page cannot, and a link does not.
    assert_problem("no header", &quit(&sidecar, "POST", &[]), 403, &["outrigger-request"]);
    let page = [MARK, ("origin", "https://evil.example")];
    assert_problem("a page", &quit(&sidecar, "POST", &page), 403, &["another origin"]);
    assert_problem("another name", &quit(&sidecar, "POST", &[MARK, ("host", "evil.example")]), 421, &["host"]);
    assert_eq!(quit(&sidecar, "GET", &[MARK]).status, 405);
    assert!(!sidecar.has_ended() && !sidecar.log().contains("shutdown."), "{}", sidecar.log());

    let answer = quit(&sidecar, "POST", &[MARK]);
    assert_eq!((answer.status, answer.json()), (200, json!({ "closing": true })));
    assert!(sidecar.wait_end(PATIENCE).success());
    let log = sidecar.log();
    assert!(log.contains("shutdown.asked") && log.contains("shutdown.ended") && !log.contains("given up"), "{log}");
    assert!(log.contains("\"outcome\":\"accepted\""), "the attempt in flight ended: {log}");
    assert_eq!(target.count(), 1, "no other was begun");
    sidecar.restart();
    assert!(sidecar.wait_log("spool.opened").contains("\"pending\":1"), "{}", sidecar.log());
    target.wait(2);
}

#[test]
fn a_token_is_asked_for_here_too() {
    let mut sidecar = sidecar()
        .setting("admin.token = \"s3cret\"")
        .webhook("hook", &hook("https://hooks.example.com/in", "status = \"inactive\""))
        .start();
    assert_eq!(quit(&sidecar, "POST", &[MARK]).status, 401);
    assert!(!sidecar.has_ended());
    assert_eq!(quit(&sidecar, "POST", &[("authorization", "Bearer s3cret")]).status, 200);
    assert!(sidecar.wait_end(PATIENCE).success());
}

#[test]
fn the_sigterm_that_follows_lets_the_drain_go_on_and_the_next_one_ends_it() {
    let target = receiver().otherwise(Answer::hang()).start();
    let patient = hook(&target.url("/"), "timeout = \"2m\"");
    let mut sidecar = sidecar().setting("shutdown.grace = \"2m\"").reaching(&target).webhook("hook", &patient).start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(1);
    for _ in 0..2 {
        assert_eq!(quit(&sidecar, "POST", &[MARK]).json(), json!({ "closing": true }), "as often as one likes");
    }
    sidecar.wait_log("shutdown.begun");
    assert_eq!(sidecar.log().matches("shutdown.asked").count(), 1, "{}", sidecar.log());
    // Kubernetes sends it to what still runs when the other containers have ended.
    sidecar.signal("TERM");
    let ended = eventually(Duration::from_millis(500), || sidecar.has_ended().then_some(()));
    assert!(ended.is_none(), "the drain goes on: {}", sidecar.log());
    sidecar.signal("TERM");
    assert!(sidecar.wait_end(PATIENCE).success());
}
