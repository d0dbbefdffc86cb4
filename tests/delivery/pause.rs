//! Pauses: what holds a whole webhook, what ends it, and that nothing is lost or buried by it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use outrigger::cli::demo::answer::Answer;
use outrigger::delivery::{Cause, Reason};

use super::{created, event, hook, settle};
use crate::support::sidecar::Sidecar;
use crate::support::spool::left;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

#[track_caller]
fn post_many(sidecar: &Sidecar, count: usize) {
    let lines: Vec<String> = (0..count).map(|number| created(&number.to_string())).collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(sidecar.post_with("/v1/events", &ndjson, lines.join("\n").as_bytes()).status, 202);
}

#[track_caller]
fn wait_delivered(sidecar: &Sidecar, count: f64) {
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], count);
}

#[track_caller]
fn wait_paused(sidecar: &Sidecar, cause: &str, value: f64) {
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "hook"), ("cause", cause)], value);
}

fn lines(sidecar: &Sidecar, text: &str) -> usize {
    sidecar.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_429_to_a_burst_keeps_everything_back_for_as_long_as_it_says_and_costs_nothing() {
    const BURST: usize = 200;
    let hold = Duration::from_secs(3);
    let target = receiver().start();
    let limited_until = Mutex::new(None);
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&accepted);
    target.respond_with(move |request| {
        let until = *limited_until.lock().unwrap().get_or_insert_with(|| request.at + hold);
        if request.at < until {
            return Answer::status(429).header("retry-after", "3");
        }
        noted.lock().unwrap().push(request.header("webhook-id").to_owned());
        Answer::status(200)
    });
    let file = format!("url = {:?}\nretry.max_attempts = 1", target.url("/"));
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    post_many(&sidecar, BURST);
    wait_paused(&sidecar, "rate_limited", 1.0);
    wait_delivered(&sidecar, 200.0);
    let seen = target.recorded();
    let first = seen[0].at;
    let early = seen.iter().filter(|request| request.at < first + Duration::from_millis(100)).count();
    let between = first + Duration::from_millis(100)..first + hold;
    assert_eq!(seen.iter().filter(|request| between.contains(&request.at)).count(), 0);
    assert!(early <= 8, "no more than were in flight: {early}");
    assert_eq!(seen.len(), BURST + early, "and each once afterwards");
    let accepted = accepted.lock().unwrap();
    assert_eq!((accepted.len(), accepted.iter().collect::<BTreeSet<_>>().len()), (BURST, BURST));
    assert_eq!(sidecar.metric("outrigger_dead_letters", &[("webhook", "hook")]), Some(0.0));
    wait_paused(&sidecar, "rate_limited", 0.0);
    sidecar.wait_log("webhook.resumed");
    assert_eq!((lines(&sidecar, "webhook.paused"), lines(&sidecar, "webhook.resumed")), (1, 1));
}

#[test]
fn a_rotated_token_buries_nothing_sends_probes_alone_and_a_new_secret_delivers_all() {
    const EVENTS: usize = 50;
    let secrets = tempfile::tempdir().unwrap();
    let token = secrets.path().join("token");
    std::fs::write(&token, "old").unwrap();
    let target = receiver().start();
    target.respond_with(|request| {
        Answer::status(if request.header("authorization") == "Bearer new" { 200 } else { 401 })
    });
    let file = format!(
        "url = {:?}\nauth.bearer.token = \"${{file:{}}}\"\nretry = {{ max_attempts = 2, max_interval = \"100ms\", initial = \"10ms\" }}\n\
        breaker.probe = \"100ms\"",
        target.url("/"),
        token.display()
    );
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    post_many(&sidecar, EVENTS);
    wait_paused(&sidecar, "auth_error", 1.0);
    let failed = [("webhook", "hook"), ("reason", "auth_error")];
    sidecar.wait_metric_from("outrigger_attempt_failures_total", &failed, 12.0);
    let failures = sidecar.metric("outrigger_attempt_failures_total", &failed).unwrap();
    // The log comes through a pipe, a moment later.
    let told = eventually(PATIENCE, || {
        let log = sidecar.log();
        let probes = log.lines().filter(|line| line.contains("\"probe\":true")).count();
        (failures <= f64::from(u32::try_from(probes).unwrap()) + 8.0).then_some(())
    });
    assert!(told.is_some(), "{failures} failures beside these probes:\n{}", sidecar.log());
    let refused: Vec<Instant> = target
        .recorded()
        .iter()
        .filter(|seen| seen.header("authorization") == "Bearer old")
        .map(|seen| seen.at)
        .collect();
    for pair in refused[8..].windows(2) {
        assert!(pair[1].duration_since(pair[0]) >= Duration::from_millis(80), "one at a time, each after its wait");
    }
    assert_eq!(sidecar.metric("outrigger_dead_letters", &[("webhook", "hook")]), Some(0.0));
    assert_eq!(sidecar.metric("outrigger_pending_deliveries", &[("webhook", "hook")]), Some(50.0));

    let fresh = secrets.path().join("fresh");
    std::fs::write(&fresh, "new").unwrap();
    std::fs::rename(fresh, &token).unwrap();
    wait_delivered(&sidecar, 50.0);
    wait_paused(&sidecar, "auth_error", 0.0);
    assert_eq!(sidecar.metric("outrigger_dead_letters", &[("webhook", "hook")]), Some(0.0));
    let resumed = sidecar.wait_log("webhook.resumed");
    assert_eq!(lines(&sidecar, "webhook.paused"), 1, "once for one pause");
    assert!(resumed.contains("\"by\":\"edit\"") && resumed.contains("\"cause\":\"auth_error\""), "{resumed}");
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_one_probe_closes_it() {
    let target = receiver().respond(500).then(500).then(500).then(500).start();
    let probe = Duration::from_millis(300);
    let rest = "limits.concurrency = 1\nretry.max_attempts = 4\nbreaker = { failures = 3, probe = \"300ms\" }";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), rest)).start();
    post_many(&sidecar, 10);
    wait_paused(&sidecar, "breaker", 1.0);
    wait_delivered(&sidecar, 10.0);
    wait_paused(&sidecar, "breaker", 0.0);
    let seen = target.recorded();
    assert_eq!(seen.len(), 14, "three failures, a probe that failed, and each delivery once");
    // The receiver's clock starts when the request is complete: between two requests lies no less than the wait.
    for pair in [&seen[2..4], &seen[3..5]] {
        let waited = pair[1].at.duration_since(pair[0].at);
        assert!(waited >= probe.mul_f64(0.9), "{waited:?}");
    }
    let paused = sidecar.wait_log("webhook.paused");
    assert!(paused.contains("\"cause\":\"breaker\"") && paused.contains("next_probe_in_ms"), "{paused}");
    assert!(paused.contains("500"), "what was seen last is told: {paused}");
    assert_eq!(lines(&sidecar, "webhook.paused"), 1);
    let resumed = sidecar.wait_log("webhook.resumed");
    assert!(resumed.contains("\"by\":\"success\""), "{resumed}");
    assert_eq!(sidecar.metric("outrigger_dead_letters", &[("webhook", "hook")]), Some(0.0));
}

#[test]
fn a_target_that_is_gone_gets_no_probe_until_the_file_is_edited() {
    let target = receiver().start();
    target.respond_with(|request| Answer::status(if request.target == "/gone" { 410 } else { 200 }));
    let rest = "triggers = [\"RequestCreated\"]\nlimits.concurrency = 1\nbreaker.probe = \"10ms\"";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/gone"), rest))
        .webhook("other", &hook(&target.url("/here"), "triggers = [\"RequestGranted\"]"))
        .start();
    post_many(&sidecar, 5);
    wait_paused(&sidecar, "gone", 1.0);
    for _ in 0..30 {
        assert_eq!(settle(&sidecar, &event("RequestGranted", &serde_json::json!({ "id": "g" }))).len(), 1);
    }
    let gone = target.recorded().iter().filter(|seen| seen.target == "/gone").count();
    assert_eq!(gone, 1, "the other one's deliveries took longer than many probes would");
    sidecar.written().write_webhook("hook", &hook(&target.url("/moved"), rest));
    wait_delivered(&sidecar, 5.0);
    wait_paused(&sidecar, "gone", 0.0);
}

#[test]
fn what_waits_in_a_pause_still_ends_at_max_age_with_its_last_outcome() {
    let target = receiver().otherwise(401).start();
    let rest = "limits.concurrency = 1\nbreaker.probe = \"1h\"\nretry.max_age = \"1500ms\"";
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), rest)).start();
    post_many(&sidecar, 3);
    wait_paused(&sidecar, "auth_error", 1.0);
    let expired = [("webhook", "hook"), ("reason", "expired")];
    sidecar.wait_metric("outrigger_dead_letters_total", &expired, 3.0);
    post_many(&sidecar, 2);
    sidecar.wait_metric("outrigger_dead_letters_total", &expired, 5.0);
    assert_eq!(target.count(), 1);
    assert!(sidecar.terminate().success());
    let left = left(&sidecar.written().dir().join("spool"));
    assert_eq!((left.pending(), left.dead.len()), (0, 5));
    assert!(left.dead.iter().all(|dead| dead.reason == Reason::Expired && dead.attempts == 0), "{:?}", left.dead);
    let last: Vec<_> = left.dead.iter().filter_map(|dead| dead.last.as_ref()).collect();
    let [last] = last.as_slice() else { panic!("one of them was attempted: {:?}", left.dead) };
    assert_eq!((last.reason, last.status), (Reason::AuthError, Some(401)));
}

#[test]
fn retry_after_as_a_date_holds_the_whole_webhook_whatever_the_status() {
    let target = receiver().start();
    let until = Mutex::new(None);
    target.respond_with(move |_| {
        let mut until = until.lock().unwrap();
        let now = Timestamp::now();
        // A date is in whole seconds: this one is two to three seconds away.
        let date: Timestamp = *until.get_or_insert_with(|| Timestamp::from_second(now.as_second() + 3).unwrap());
        if now < date {
            let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
            return Answer::status(503).header("retry-after", text);
        }
        Answer::status(200)
    });
    let file = format!(
        "url = {:?}\nlimits.concurrency = 1\nretry = {{ initial = \"1ms\", max_interval = \"1s\" }}",
        target.url("/")
    );
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    post_many(&sidecar, 5);
    wait_paused(&sidecar, "rate_limited", 1.0);
    wait_delivered(&sidecar, 5.0);
    let seen = target.recorded();
    assert_eq!(seen.len(), 6, "nobody asked before the date");
    assert!(seen[1].at.duration_since(seen[0].at) >= Duration::from_millis(1900));
}

#[test]
fn attempts_that_began_before_a_pause_do_not_end_it() {
    let target = receiver().start();
    let count = Mutex::new(0);
    target.respond_with(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        // The last is refused at once, those beside it are accepted while the webhook is paused.
        if *count == 4 { Answer::status(403) } else { Answer::status(200).after(Duration::from_millis(700)) }
    });
    let rest = "limits.concurrency = 4\nbreaker.probe = \"1h\"";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), rest)).start();
    post_many(&sidecar, 6);
    wait_paused(&sidecar, "auth_error", 1.0);
    wait_delivered(&sidecar, 3.0);
    wait_paused(&sidecar, "auth_error", 1.0);
    assert_eq!(target.count(), 4, "nothing new began");
    assert_eq!(lines(&sidecar, "webhook.resumed"), 0);
}

#[test]
fn whatever_a_target_answers_all_is_delivered_once_it_works() {
    const EVENTS: usize = 300;
    /// How long the target is out of its mind, in requests.
    const MAD: usize = 250;
    let target = receiver().start();
    let count = Mutex::new(0);
    target.respond_with(move |_| {
        let number = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count
        };
        if number > MAD {
            return Answer::status(200);
        }
        match number * 7 % 19 {
            0 => Answer::status(401),
            1 | 2 => Answer::status(429).header("retry-after", "0"),
            3 => Answer::status(503).header("retry-after", "1"),
            4 => Answer::status(302),
            5..=9 => Answer::status(500).after(Duration::from_millis(15)),
            10 => Answer::status(404),
            _ => Answer::status(200).after(Duration::from_millis(5)),
        }
    });
    let rest = "limits = { concurrency = 5, rate = \"1000/s\" }\nbreaker = { failures = 2, probe = \"10ms\" }";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), rest)).start();
    post_many(&sidecar, EVENTS);
    wait_delivered(&sidecar, 300.0);
    assert!(target.count() > EVENTS, "some were tried more than once");
    assert_eq!(sidecar.metric("outrigger_dead_letters", &[("webhook", "hook")]), Some(0.0));
    assert_eq!(lines(&sidecar, "webhook.paused").min(10), 10, "it was paused again and again");
    for cause in Cause::ALL {
        wait_paused(&sidecar, cause.as_str(), 0.0);
    }
}

#[test]
fn one_bad_payload_does_not_keep_a_webhook_paused() {
    let target = receiver().start();
    target.respond_with(|request| {
        let poison = request.body.windows(6).any(|window| window == b"poison");
        Answer::status(if poison { 500 } else { 200 })
    });
    let rest = "limits.concurrency = 1\nbreaker = { failures = 2, probe = \"100ms\" }";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), rest)).start();
    assert_eq!(sidecar.post("/v1/events", &created("poison")).status, 202);
    wait_paused(&sidecar, "breaker", 1.0);
    post_many(&sidecar, 20);
    wait_delivered(&sidecar, 20.0);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 1.0);
}

#[test]
fn an_edit_of_egress_ends_a_pause_for_a_blocked_address() {
    let target = receiver().start();
    let sidecar = sidecar()
        .setting("egress.allow_networks = []")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), "breaker.probe = \"1h\""))
        .start();
    post_many(&sidecar, 3);
    wait_paused(&sidecar, "blocked_address", 1.0);
    let settings = sidecar.written().config().join("outrigger.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let allowed = text.replace("egress.allow_networks = []", "egress.allow_networks = [\"127.0.0.0/8\"]");
    assert_ne!(text, allowed);
    std::fs::write(&settings, allowed).unwrap();
    wait_delivered(&sidecar, 3.0);
    wait_paused(&sidecar, "blocked_address", 0.0);
}

#[test]
fn a_paused_webhook_takes_no_processor_time() {
    let target = receiver().otherwise(401).start();
    let rest = "limits.concurrency = 1\nbreaker.probe = \"1h\"";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), rest)).start();
    post_many(&sidecar, 500);
    wait_paused(&sidecar, "auth_error", 1.0);
    let began = Instant::now();
    let before = processor_ticks(sidecar.pid());
    // What this time is spent on is being looked at.
    while let Some(left) = Duration::from_secs(2).checked_sub(began.elapsed()) {
        std::thread::park_timeout(left);
    }
    let spent = processor_ticks(sidecar.pid()) - before;
    assert!(spent <= 20, "{spent} of 200 ticks");
    assert_eq!(target.count(), 1);
}

/// What a process has used of the processor, in hundredths of a second.
fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
