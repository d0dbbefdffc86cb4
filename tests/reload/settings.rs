//! Keys of `outrigger.toml`: those that count at once, and those that take a restart.

use std::fs;
use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;
use serde_json::json;

use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

use super::asked::{ask, asked};
use super::{EVENT, definition, reloads, wait_reload};

/// Sets keys of the running sidecar's `outrigger.toml`, each with its whole path, and drops those without a value.
fn set(sidecar: &Sidecar, keys: &[(&str, Option<&str>)]) {
    let text = fs::read_to_string(sidecar.written().config().join("outrigger.toml")).expect("it was written");
    let named =
        |line: &&str| keys.iter().any(|(key, _)| line.split_once(" = ").is_some_and(|(known, _)| known == *key));
    let mut lines: Vec<String> = text.lines().filter(|line| !named(line)).map(str::to_owned).collect();
    lines.extend(keys.iter().filter_map(|(key, value)| Some(format!("{key} = {}", (*value)?))));
    sidecar.written().replace("outrigger.toml", &lines.join("\n"));
}

#[test]
fn tokens_are_rotated_without_a_restart() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "x"));
    let secret = sidecar.dir().join("secret");
    fs::write(&secret, "old\n").expect("a file");
    let reference = format!("'${{file:{}}}'", secret.display());
    let sidecar =
        sidecar.setting(&format!("ingest.token = {reference}")).setting(&format!("admin.token = {reference}")).start();
    let with = |token: &str| {
        let bearer = format!("Bearer {token}");
        let header = [("authorization", bearer.as_str())];
        let posted = sidecar.post_with("/v1/events", &header, EVENT.as_bytes()).status;
        (posted, ask(&sidecar, &header).status)
    };
    assert_eq!((with("old"), with("new")), ((202, 200), (401, 401)));
    fs::write(&secret, "new\n").expect("a write");
    let rotated = eventually(PATIENCE, || (with("new") == (202, 200)).then_some(()));
    assert!(rotated.is_some(), "{:?}", with("new"));
    assert_eq!(with("old"), (401, 401));
    assert!(!sidecar.log().contains("restart"), "{}", sidecar.log());
}

#[test]
fn limits_and_graces_count_from_the_next_look() {
    let (hangs, refuses) = (receiver().otherwise(Answer::hang()).start(), receiver().otherwise(503).start());
    let mut sidecar = sidecar()
        .reaching(&hangs)
        .reaching(&refuses)
        .setting("ingest.max_body = '1KiB'")
        .setting("shutdown.grace = '10m'")
        .webhook("hook", &format!("timeout = '5m'\n{}", definition(&hangs, "x")))
        .webhook("owing", &format!("{}[retry]\ninitial = '1m'\n", definition(&refuses, "x")))
        .start();
    let large = format!("{{\"event_type\":\"RequestCreated\",\"x\":\"{}\"}}", "x".repeat(2000));
    assert_eq!(sidecar.post("/v1/events", &large).status, 413);
    let key = [("idempotency-key", "k")];
    assert_eq!(sidecar.post_with("/v1/events", &key, EVENT.as_bytes()).status, 202);
    hangs.wait(1);
    sidecar.wait_metric("outrigger_attempts_total", &[("webhook", "owing"), ("outcome", "failed")], 1.0);
    fs::remove_file(sidecar.written().config().join("webhooks/owing.toml")).expect("a removal");
    wait_reload(&sidecar, "published", 1.0);

    // What is gone waits for ten minutes, and then for none.
    set(
        &sidecar,
        &[
            ("ingest.max_body", Some("'4KiB'")),
            ("ingest.idempotency_window", Some("0")),
            ("shutdown.grace", Some("'1s'")),
            ("config.removal_grace", Some("0")),
        ],
    );
    sidecar.wait_log("deliveries of a removed webhook are dead letters");
    assert_eq!(sidecar.post("/v1/events", &large).status, 202);
    let again = sidecar.post_with("/v1/events", &key, large.as_bytes());
    assert_eq!(again.status, 202, "no key is known any more: {again:?}");
    assert!(!sidecar.log().contains("restart"), "{}", sidecar.log());
    // Its first attempt hangs.
    let begun = Instant::now();
    sidecar.terminate();
    assert!(begun.elapsed() < Duration::from_mins(1), "the grace is one second by now");
}

#[test]
fn what_takes_a_restart_is_named_once_and_is_no_new_configuration() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "x")).start();
    wait_reload(&sidecar, "unchanged", 0.0);
    let warned = || sidecar.log().matches("takes a restart").count();
    let settings = [("spool.max_bytes", Some("'2GiB'")), ("log.format", Some("'text'"))];
    set(&sidecar, &settings);
    let line = sidecar.wait_log("takes a restart");
    assert!(line.contains("spool.max_bytes, log.format"), "{line}");
    // A look that finds the same says nothing of it again, in the log; who asks is told.
    let unchanged = reloads(&sidecar, "unchanged");
    sidecar.written().write_webhook("hook", &definition(&target, "x"));
    wait_reload(&sidecar, "unchanged", unchanged);
    assert_eq!(warned(), 1, "{}", sidecar.log());
    let answer = asked(&sidecar);
    assert_eq!(
        (&answer["result"], &answer["restart"]),
        (&json!("unchanged"), &json!(["spool.max_bytes", "log.format"]))
    );
    // Something else beside it is published, and the rest waits on.
    set(&sidecar, &[("ingest.max_body", Some("'2MiB'"))]);
    wait_reload(&sidecar, "published", 1.0);
    let before = warned();
    // Back as at the start: nothing waits any more, and nothing is warned of.
    set(&sidecar, &settings.map(|(key, _)| (key, None)));
    let settled = eventually(PATIENCE, || (asked(&sidecar)["restart"] == json!([])).then_some(()));
    assert!(settled.is_some());
    assert_eq!(warned(), before, "{}", sidecar.log());
    assert_eq!(reloads(&sidecar, "published").to_string(), "2");
}

#[test]
fn a_listener_that_others_reach_keeps_its_token_until_the_restart() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .setting("ingest.listen = '0.0.0.0:0'")
        .setting("ingest.token = 't0ken'")
        .webhook("hook", &definition(&target, "x"))
        .start();
    let posted = |headers: &[(&str, &str)]| {
        let port = sidecar.address("ingest").port();
        let here = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        crate::support::http::exchange(here, "POST", "/v1/events", headers, EVENT.as_bytes())
            .map(|answer| answer.status)
    };
    let token = [("authorization", "Bearer t0ken")];
    assert_eq!((posted(&[]), posted(&token)), (Ok(401), Ok(202)));
    set(&sidecar, &[("ingest.listen", Some("'127.0.0.1:0'")), ("ingest.token", None)]);
    let line = sidecar.wait_log("takes a restart");
    assert!(line.contains("ingest.token, ingest.listen"), "{line}");
    assert_eq!((posted(&[]), posted(&token)), (Ok(401), Ok(202)));
}
