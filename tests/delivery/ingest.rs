//! What ingest takes, and what it answers.

use serde_json::{Value, json};

use super::{created, event, hook, settle, settle_one};
use crate::support::http::exchange_unix;
use crate::support::{receiver, sidecar};

const NDJSON: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

#[test]
fn a_batch_of_lines_is_taken_as_a_whole_or_not_at_all() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let bad = format!("{}\n{}\n{{\"event_type\": tru}}\n", created("bad-1"), created("bad-2"));
    let refused = sidecar.post_with("/v1/events", NDJSON, bad.as_bytes());
    assert_eq!((refused.status, refused.header("content-type")), (400, "application/problem+json"));
    assert_eq!(refused.json()["line"], 3);

    let good = format!("{}\r\n\n{}\n{}", created("1"), created("2"), created("3"));
    let taken = sidecar.post_with("/v1/events", NDJSON, good.as_bytes());
    assert_eq!(taken.status, 202, "{taken:?}");
    let events = taken.json()["events"].as_array().cloned().expect("a list");
    let mut ids: Vec<String> =
        events.iter().map(|event| format!("{}_hook", event["id"].as_str().expect("an id"))).collect();
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], 3.0);
    let mut seen: Vec<String> = target.recorded().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    ids.sort();
    seen.sort();
    assert_eq!(seen, ids);
    let received =
        |result| sidecar.metric("outrigger_events_received_total", &[("kind", "request"), ("result", result)]);
    assert_eq!((received("accepted"), received("invalid")), (Some(3.0), Some(1.0)));
}

#[test]
fn a_webhook_is_invoked_by_name_past_its_filters_and_alone() {
    let target = receiver().start();
    let filter = "[[filters]]\npath = \"$.data.id\"\nany_of = [\"never\"]";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("by-name", &hook(&target.url("/by-name"), &format!("triggers = [\"Manual\"]\n{filter}")))
        .webhook("created", &hook(&target.url("/created"), "triggers = [\"RequestCreated\"]"))
        .webhook("asleep", &hook(&target.url("/asleep"), "status = \"inactive\"\ntriggers = [\"Manual\"]"))
        .start();
    let answer = sidecar.post("/v1/webhooks/by-name/invoke?wait=15s", &created("r-1"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["events"][0]["deliveries"][0]["webhook"], "by-name");
    let [seen] = &target.wait(1)[..] else { panic!("one request was expected") };
    assert_eq!((seen.target.as_str(), &seen.body[..]), ("/by-name", created("r-1").as_bytes()));

    let refusals =
        [("created", 409, "Manual"), ("asleep", 409, "inactive"), ("nobody", 404, "no webhook of this name")];
    for (name, status, sentence) in refusals {
        let answer = sidecar.post(&format!("/v1/webhooks/{name}/invoke"), &created("r-2"));
        assert_eq!((answer.status, answer.header("content-type")), (status, "application/problem+json"), "{name}");
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains(sentence)), "{answer:?}");
    }
    assert_eq!(target.count(), 1);
}

#[test]
fn a_wait_tells_outcomes_and_verdicts_or_that_its_time_is_over() {
    use outrigger::cli::demo::answer::Answer;

    let (target, silent) = (receiver().start(), receiver().otherwise(Answer::hang()).start());
    let validator = "[[response_validators]]\nname = \"fine\"\npath = \"$.data.ok\"\nexpected = [\"true\"]\n\
        [[response_validators]]\npath = \"$.status\"\nrejected = [\"204\"]";
    let sidecar = sidecar()
        .reaching(&target)
        .reaching(&silent)
        .webhook("hook", &hook(&target.url("/"), &format!("triggers = [\"RequestCreated\"]\n{validator}")))
        .webhook("silent", &hook(&silent.url("/"), "triggers = [\"RequestGranted\"]"))
        .start();
    let delivery = settle_one(&sidecar, &created("r-1"));
    assert!(delivery["milliseconds"].is_u64());
    let verdicts = json!([{ "name": "fine", "passed": true }, { "name": "$.status", "passed": true }]);
    let expected = json!({
        "webhook": "hook", "outcome": "delivered", "attempts": 1, "status": 200,
        "milliseconds": delivery["milliseconds"], "validators": verdicts,
    });
    assert_eq!(delivery, expected);
    let over = sidecar.post("/v1/events?wait=50ms", &event("RequestGranted", &json!({ "id": "r-2" })));
    assert_eq!((over.status, &over.json()["events"][0]["deliveries"]), (202, &json!(["silent"])));
    silent.wait(1);
}

#[test]
fn inactive_takes_nothing_and_shadow_renders_and_sends_nothing() {
    let target = receiver().start();
    let shadow = "status = \"shadow\"\nstrict = true\nbody = '{\"a\": \"{{data.id}}\"}'";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("asleep", &hook(&target.url("/asleep"), "status = \"inactive\""))
        .webhook("shadow", &hook(&target.url("/shadow"), shadow))
        .webhook("awake", &hook(&target.url("/awake"), "triggers = [\"RequestGranted\"]"))
        .start();
    let deliveries = |body: &str| sidecar.post("/v1/events", body).json()["events"][0]["deliveries"].clone();
    assert_eq!(deliveries(&created("r-1")), json!([]));
    assert_eq!(
        deliveries(&event("RequestCreated", &json!({}))),
        json!([]),
        "a shadow that cannot render refuses nothing"
    );
    let delivered = settle_one(&sidecar, &event("RequestGranted", &json!({ "id": "r-2" })));
    assert_eq!(delivered["webhook"], "awake");
    let [seen] = &target.recorded()[..] else { panic!("one request was expected") };
    assert_eq!(seen.target, "/awake");
    let shadowed =
        |outcome| sidecar.metric("outrigger_shadow_renders_total", &[("webhook", "shadow"), ("outcome", outcome)]);
    assert_eq!((shadowed("rendered"), shadowed("failed")), (Some(2.0), Some(1.0)));
    for name in ["asleep", "shadow"] {
        assert_eq!(sidecar.metric("outrigger_pending_deliveries", &[("webhook", name)]), Some(0.0), "{name}");
        assert_eq!(sidecar.metric("outrigger_attempts_total", &[("webhook", name)]), Some(0.0), "{name}");
    }
    let unmatched = sidecar.metric("outrigger_events_unmatched_total", &[("kind", "request")]);
    assert_eq!(unmatched, Some(0.0), "what a shadow webhook matched is not unmatched");
}

#[test]
fn an_event_that_nobody_wants_is_taken_and_counted() {
    let target = receiver().start();
    let sidecar =
        sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "triggers = [\"RequestGranted\"]")).start();
    let answer = sidecar.post("/v1/events", &created("r-1"));
    assert_eq!((answer.status, &answer.json()["events"][0]["deliveries"]), (202, &json!([])));
    assert_eq!(settle(&sidecar, &created("r-2")), Vec::<Value>::new());
    assert_eq!(sidecar.metric("outrigger_events_unmatched_total", &[("kind", "request")]), Some(2.0));
}

#[test]
fn without_the_token_nothing_is_taken() {
    let target = receiver().start();
    let sidecar = sidecar()
        .setting("ingest.token = \"${env:INGEST_TOKEN}\"")
        .env("INGEST_TOKEN", "s3cret")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), "triggers = [\"RequestCreated\", \"Manual\"]"))
        .start();
    for path in ["/v1/events", "/v1/events/audit", "/v1/webhooks/hook/invoke", "/nowhere"] {
        let bare = sidecar.post(path, &created("r-1"));
        assert_eq!((bare.status, bare.header("www-authenticate")), (401, "Bearer"), "{path}");
        let wrong = sidecar.post_with(path, &[("authorization", "Bearer s3cres")], created("r-1").as_bytes());
        assert_eq!(wrong.status, 401, "{path}");
    }
    let right = [("authorization", "Bearer s3cret")];
    assert_eq!(sidecar.post_with("/v1/events", &right, created("r-2").as_bytes()).status, 202);
    let [seen] = &target.wait(1)[..] else { panic!("one request was expected") };
    assert_eq!(seen.body, created("r-2"));
}

#[test]
fn events_are_taken_over_a_unix_socket_that_goes_with_its_process() {
    let target = receiver().start();
    let mut sidecar = sidecar()
        .setting("ingest.listen = \"unix:ingest.sock\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let socket = sidecar.written().dir().join(sidecar.socket("ingest"));
    let post = |body: &str| exchange_unix(&socket, "POST", "/v1/events", &[], body.as_bytes());
    assert_eq!(post(&created("r-1")).expect("an answer").status, 202);
    target.wait(1);
    // The socket of a killed process is in the way, and is taken over.
    sidecar.restart();
    assert_eq!(post(&created("r-2")).expect("an answer").status, 202);
    target.wait(2);
    assert!(sidecar.terminate().success());
    assert!(!socket.exists());
}
