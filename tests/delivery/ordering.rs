//! Order: who waits for whom, over retries and crashes, and who passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;
use serde_json::{Value, json};

use super::{created, event, hook};
use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

/// The steps of one access request.
const STEPS: [&str; 3] = ["RequestCreated", "RequestApproved", "RequestGranted"];

/// The id and the type of the event that a request carries.
fn carried(request: &Recorded) -> (String, String) {
    let body: Value = serde_json::from_slice(&request.body).expect("the event itself");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&body["data"]["id"]), text(&body["event_type"]))
}

/// A receiver that answers a status after so many milliseconds, by the id and type of the event and by how often it came, from
/// 0; it notes what it accepted.
fn choosy(choose: impl Fn(&str, &str, usize) -> (u16, u64) + Send + Sync + 'static) -> (Target, Accepted) {
    let target = receiver().start();
    let accepted = Accepted::default();
    let noted = Arc::clone(&accepted);
    let seen = Mutex::new(BTreeMap::new());
    target.respond_with(move |request| {
        let key = carried(request);
        let times = {
            let mut seen = seen.lock().unwrap();
            let times: &mut usize = seen.entry(key.clone()).or_default();
            *times += 1;
            *times - 1
        };
        let (status, milliseconds) = choose(&key.0, &key.1, times);
        if status == 200 {
            noted.lock().unwrap().push(key);
        }
        Answer::status(status).after(Duration::from_millis(milliseconds))
    });
    (target, accepted)
}

/// The ids and types that were accepted, in order.
type Accepted = Arc<Mutex<Vec<(String, String)>>>;

fn accepted_of(accepted: &Accepted, id: &str) -> Vec<String> {
    accepted.lock().unwrap().iter().filter(|(known, _)| known == id).map(|(_, step)| step.clone()).collect()
}

#[track_caller]
fn post_steps(sidecar: &Sidecar, ids: &[&str]) {
    for step in STEPS {
        for id in ids {
            assert_eq!(sidecar.post("/v1/events", &event(step, &json!({ "id": id }))).status, 202);
        }
    }
}

#[track_caller]
fn wait_delivered(sidecar: &Sidecar, count: f64) {
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], count);
}

#[test]
fn the_steps_of_one_request_arrive_in_order_though_the_first_fails_twice_and_others_pass() {
    let (target, accepted) =
        choosy(|id, step, times| if (id, step) == ("a", STEPS[0]) && times < 2 { (500, 300) } else { (200, 0) });
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    post_steps(&sidecar, &["a", "b"]);
    wait_delivered(&sidecar, 6.0);
    assert_eq!(accepted_of(&accepted, "a"), STEPS);
    assert_eq!(accepted_of(&accepted, "b"), STEPS);
    let order = accepted.lock().unwrap().clone();
    assert!(order[..3].iter().all(|(id, _)| id == "b"), "the other request passed meanwhile: {order:?}");
    assert_eq!(target.count(), 8);
}

#[test]
fn order_holds_over_a_pause_that_catches_several_at_once() {
    const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let seen = Mutex::new(0);
    let (target, accepted) = choosy(move |_, _, _| {
        let mut seen = seen.lock().unwrap();
        *seen += 1;
        (if *seen <= 8 { 401 } else { 200 }, 0)
    });
    let file = hook(&target.url("/"), "breaker.probe = \"50ms\"");
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    post_steps(&sidecar, &IDS);
    wait_delivered(&sidecar, 15.0);
    for id in IDS {
        assert_eq!(accepted_of(&accepted, id), STEPS, "{id}");
    }
}

#[test]
fn order_outlives_a_kill() {
    let (target, accepted) = choosy(|_, _, _| (200, 0));
    target.otherwise(500.into());
    let file = hook(&target.url("/"), "breaker.failures = 10000");
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    post_steps(&sidecar, &["a", "b"]);
    target.wait(6);
    sidecar.kill9();
    let before = target.recorded();
    assert!(before.iter().all(|request| carried(request).1 == STEPS[0]), "the first has to go first");
    let noted = Arc::clone(&accepted);
    target.respond_with(move |request| {
        noted.lock().unwrap().push(carried(request));
        Answer::status(200)
    });
    sidecar.restart();
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    for id in ["a", "b"] {
        assert_eq!(accepted_of(&accepted, id), STEPS, "{id}");
    }
}

#[test]
fn strict_order_is_one_at_a_time_whatever_fails() {
    const EVENTS: usize = 20;
    let (target, accepted) = choosy(|id, _, times| match id.parse::<usize>().unwrap() % 5 {
        1 if times == 0 => (503, 0),
        3 => (200, 40),
        _ => (200, 0),
    });
    let file = hook(&target.url("/"), "ordering = \"strict\"\nlimits.concurrency = 8");
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    for number in 0..EVENTS {
        assert_eq!(sidecar.post("/v1/events", &created(&number.to_string())).status, 202);
    }
    wait_delivered(&sidecar, 20.0);
    let order: Vec<String> = accepted.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(order, (0..EVENTS).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn one_that_fails_for_max_wait_lets_the_next_pass_and_is_tried_on() {
    let max_wait = Duration::from_millis(600);
    let (target, accepted) = choosy(|_, step, _| (if step == STEPS[0] { 500 } else { 200 }, 0));
    let ordering = "ordering = { key = \"$.data.id\", max_wait = \"600ms\" }\nbreaker.failures = 10000";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), ordering)).start();
    post_steps(&sidecar, &["a"]);
    wait_delivered(&sidecar, 2.0);
    assert_eq!(accepted_of(&accepted, "a"), STEPS[1..]);
    let seen = target.recorded();
    let at = |step: &str| seen.iter().find(|request| carried(request).1 == step).expect("it came").at;
    let waited = at(STEPS[1]).duration_since(at(STEPS[0]));
    assert!(waited >= max_wait, "{waited:?}");
    // It is not given up; what was delivered is counted a moment before it is settled.
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 1.0);
    target.otherwise(200.into());
    wait_delivered(&sidecar, 3.0);
}

#[test]
fn without_order_nobody_waits_and_events_without_the_key_neither() {
    let (target, accepted) = choosy(|_, step, _| (200, if step == STEPS[0] { 1000 } else { 0 }));
    for ordering in ["ordering = \"none\"", "ordering = { key = \"$.data.flow\" }"] {
        let before = target.count();
        let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), ordering)).start();
        post_steps(&sidecar, &["a"]);
        wait_delivered(&sidecar, 3.0);
        let seen = target.recorded().split_off(before);
        let (first, last) = (seen.first().expect("three came").at, seen.last().expect("three came").at);
        assert!(last.duration_since(first) < Duration::from_secs(1), "they came while the first was in flight");
    }
    assert_eq!(accepted.lock().unwrap().len(), 6);
}
