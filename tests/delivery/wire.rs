//! What a receiver sees of a delivery.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{created, event, hook, settle, settle_one};
use crate::support::{receiver, sidecar};

#[test]
fn an_event_arrives_rendered_with_its_identity_on_it() {
    let target = receiver().start();
    let body = r#"body = '{ "text": "{{data.requester.name}} asks for {{data.id}}", "n": {{data.n}} }'"#;
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/in?a=b"), body)).start();
    let posted =
        event("RequestCreated", &json!({ "id": "r-1", "n": 1, "requester": { "name": "Ana \"A\" \\ Ruiz\n" } }));
    let answer = sidecar.post("/v1/events", &posted);
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["events"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.json(), json!({ "events": [{ "id": id, "deliveries": ["hook"] }] }));

    let [seen] = &target.wait(1)[..] else { panic!("one request was expected") };
    assert!(id.starts_with("evt_"), "{id}");
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/in?a=b"));
    assert_eq!(seen.header("webhook-id"), format!("{id}_hook"));
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("user-agent"), format!("outrigger/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen.header("content-length"), seen.body.len().to_string());
    let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
    assert_eq!(body, json!({ "text": "Ana \"A\" \\ Ruiz\n asks for r-1", "n": 1 }));
}

#[test]
fn every_attempt_of_a_delivery_carries_the_same_id_and_body() {
    let target = receiver().respond(500).then(503).then(200).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let posted = created("r-1");
    let delivery = settle_one(&sidecar, &posted);
    assert_eq!((&delivery["outcome"], &delivery["attempts"]), (&json!("delivered"), &json!(3)));
    let seen = target.wait(3);
    assert_eq!(seen.len(), 3);
    for attempt in &seen {
        assert_eq!(attempt.header("webhook-id"), seen[0].header("webhook-id"));
        assert_eq!(attempt.body, posted.as_bytes(), "without a body of its own a webhook sends the event as it came");
    }
    let other = settle_one(&sidecar, &posted);
    assert_eq!(other["outcome"], "delivered");
    assert_ne!(target.wait(4)[3].header("webhook-id"), seen[0].header("webhook-id"), "another event has another id");
}

#[test]
fn headers_and_each_kind_of_auth_are_on_the_wire() {
    let target = receiver().start();
    let webhook = |path: &str, rest: &str| hook(&target.url(path), rest);
    let sidecar = sidecar()
        .reaching(&target)
        .env("TOKEN", "t0ken")
        .webhook("bearer", &webhook("/bearer", "[auth]\nbearer = { token = \"${env:TOKEN}\" }"))
        .webhook("basic", &webhook("/basic", "[auth]\nbasic = { username = \"ana\", password = \"p:${env:TOKEN}\" }"))
        .webhook(
            "key",
            &webhook("/key", "[auth]\napi_key = { header = \"x-api-client-token\", value = \"${env:TOKEN}\" }"),
        )
        .webhook("headers", &webhook("/headers", "[headers]\nx-id = \"id-{{data.id}}\"\nx-fixed = \"$${env:TOKEN}\""))
        .start();
    assert_eq!(settle(&sidecar, &created("r-1")).len(), 4);
    let seen = target.wait(4);
    let header = |path: &str, name: &str| {
        let request = seen.iter().find(|request| request.target == path).expect("each path is called");
        request.header(name).to_owned()
    };
    assert_eq!(header("/bearer", "authorization"), "Bearer t0ken");
    assert_eq!(header("/basic", "authorization"), format!("Basic {}", STANDARD.encode("ana:p:t0ken")));
    assert_eq!(
        (header("/key", "x-api-client-token").as_str(), header("/key", "authorization").as_str()),
        ("t0ken", "")
    );
    assert_eq!(header("/headers", "x-id"), "id-r-1");
    assert_eq!(header("/headers", "x-fixed"), "${env:TOKEN}");
}

#[test]
fn a_put_goes_to_its_rendered_url_where_all_filters_hold() {
    let target = receiver().start();
    let rest = "method = \"PUT\"\ntriggers = [\"RequestApproved\"]\nbody = '{\"id\": \"{{data.id}}\"}'\n\
        [[filters]]\nfield = \"integration\"\nany_of = [\"prod-*\"]\n\
        [[filters]]\npath = \"$.data.risk\"\nmax = 3";
    let sidecar = sidecar().reaching(&target).webhook("put", &hook(&target.url("/tickets/{{data.id}}"), rest)).start();
    let approved = |id: &str, integration: &str, risk: u8| {
        let groups = json!([{ "integration": { "name": integration } }]);
        event("AccessRequestApproved", &json!({ "id": id, "risk": risk, "access_groups": groups }))
    };
    assert!(settle(&sidecar, &approved("1", "staging-db", 1)).is_empty());
    assert!(settle(&sidecar, &approved("2", "prod-db", 4)).is_empty());
    assert!(settle(&sidecar, &created("3")).is_empty());
    assert_eq!(settle_one(&sidecar, &approved("a/b ?", "prod-db", 3))["outcome"], "delivered");
    let [seen] = &target.wait(1)[..] else { panic!("one request was expected") };
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/tickets/a%2Fb%20%3F"));
    assert_eq!(seen.body, r#"{"id": "a/b ?"}"#);
    assert_eq!(sidecar.metric("outrigger_events_filtered_total", &[("webhook", "put")]), Some(2.0));
    assert_eq!(sidecar.metric("outrigger_events_unmatched_total", &[("kind", "request")]), Some(3.0));
}

#[test]
fn both_versions_of_http_are_spoken_as_the_receiver_offers() {
    let (both, old) = (receiver().start(), receiver().http1().start());
    let sidecar = sidecar()
        .reaching(&both)
        .reaching(&old)
        .webhook("both", &hook(&both.url("/"), ""))
        .webhook("old", &hook(&old.url("/"), ""))
        .start();
    for id in ["r-1", "r-2"] {
        assert!(settle(&sidecar, &created(id)).iter().all(|delivery| delivery["outcome"] == "delivered"));
    }
    assert!(both.wait(2).iter().all(|seen| seen.http2));
    assert!(old.wait(2).iter().all(|seen| !seen.http2));
    assert!(old.wait(2).iter().all(|seen| seen.connection == 1), "a connection that is kept open is used again");
}
