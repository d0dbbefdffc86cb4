//! `CloudEvents` in and out, against the real program, and with the SDK of the specification's authors as the peer.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;
use serde_json::{Value, json};

use crate::support::http::HttpAnswer;
use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

/// A Python with the package `cloudevents`; `tests/all` sets it.
const PYTHON: &str = "OUTRIGGER_TEST_PYTHON";

/// A webhook that passes `CloudEvents` on, with more keys at its end.
fn hook(target: &Target, rest: &str) -> String {
    format!(
        "kind = \"cloudevents\"\nurl = {:?}\nretry.initial = \"1ms\"\nretry.max_interval = \"20ms\"\n{rest}\n",
        target.url("/in")
    )
}

/// A webhook of access requests that go out as `CloudEvents`.
fn requests(target: &Target, rest: &str) -> String {
    format!(
        "url = {:?}\nformat = \"cloudevents\"\nretry.initial = \"1ms\"\nretry.max_interval = \"20ms\"\n{rest}\n",
        target.url("/in")
    )
}

fn post(sidecar: &Sidecar, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    sidecar.post_with(path, headers, body)
}

/// Posts a `CloudEvent` in structured mode.
fn structured(sidecar: &Sidecar, path: &str, event: &Value) -> HttpAnswer {
    post(sidecar, path, &[("content-type", "application/cloudevents+json")], event.to_string().as_bytes())
}

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/requests", "type": "com.example.granted", "subject": "AR-1",
        "time": "2026-11-28T10:15:30.25Z", "traceid": "abc", "level": 5, "urgent": true, "unset": null,
        "data": { "name": "Ana \"A\" Ruiz\n", "amount": 1.50 }
    })
}

fn request(id: &str) -> String {
    json!({ "event_type": "AccessRequestGranted", "event_time": "1696263265.851898000", "data": { "id": id } })
        .to_string()
}

fn json_of(seen: &Recorded) -> Value {
    serde_json::from_slice(&seen.body).expect("JSON")
}

#[test]
fn an_event_is_passed_on_in_either_mode_with_all_its_attributes() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("structured", &hook(&target, "format = \"cloudevents\""))
        .webhook("binary", &hook(&target, "format = \"cloudevents\"\ncloudevents.mode = \"binary\""))
        .webhook("plain", &hook(&target, "body = '{ \"what\": \"{{type}}\", \"who\": \"{{data.name}}\" }'"))
        .start();
    let answer = structured(&sidecar, "/v1/events", &event("1"));
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["events"][0]["deliveries"], json!(["binary", "plain", "structured"]));

    let seen = target.wait(3);
    let of =
        |name: &str| seen.iter().find(|seen| seen.header("webhook-id").ends_with(&format!("_{name}"))).expect("each");
    assert_eq!(of("structured").header("content-type"), "application/cloudevents+json");
    let mut passed = event("1");
    passed.as_object_mut().expect("an object").remove("unset");
    assert_eq!(json_of(of("structured")), passed);
    assert!(String::from_utf8_lossy(&of("structured").body).contains("1.5"), "numbers keep their digits");

    let binary = of("binary");
    assert_eq!(binary.header("content-type"), "application/json");
    assert_eq!(json_of(binary), passed["data"]);
    let attributes = ["specversion", "id", "source", "type", "subject", "time", "traceid", "level", "urgent", "unset"];
    let carried = attributes.map(|name| binary.header(&format!("ce-{name}")).to_owned());
    let wanted =
        ["1.0", "1", "/requests", "com.example.granted", "AR-1", "2026-11-28T10:15:30.25Z", "abc", "5", "true", ""];
    assert_eq!(carried, wanted);
    assert_eq!(json_of(of("plain")), json!({ "what": "com.example.granted", "who": "Ana \"A\" Ruiz\n" }));
}

#[test]
fn binary_mode_is_read_as_the_binding_says() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target, "format = \"cloudevents\"")).start();
    let base = [("ce-specversion", "1.0"), ("ce-source", "/s"), ("ce-type", "t")];
    let cases: [(&str, &str, &[u8], Value); 6] = [
        ("Euro%20%E2%82%AC", "application/json", br#"{"a": 1.0}"#, json!({ "subject": "Euro €", "data": {"a": 1.0} })),
        ("\"a \\\"b\\\" c\"", "application/vnd.x+json", b"[1]", json!({ "subject": "a \"b\" c", "data": [1] })),
        ("plain", "text/plain; charset=utf-8", "é\n".as_bytes(), json!({ "subject": "plain", "data": "é\n" })),
        ("xml", "application/xml", b"<a b=\"c\"/>", json!({ "data": "<a b=\"c\"/>" })),
        ("bytes", "application/octet-stream", &[0, 255], json!({ "data_base64": "AP8=" })),
        ("latin", "text/plain", &[0xe9], json!({ "data_base64": "6Q==" })),
    ];
    for (number, (subject, content_type, body, wanted)) in cases.iter().enumerate() {
        let id = number.to_string();
        let mut headers = base.to_vec();
        headers.extend([("ce-id", &*id), ("ce-subject", *subject), ("content-type", *content_type)]);
        let answer = post(&sidecar, "/v1/events", &headers, body);
        assert_eq!(answer.status, 202, "{subject}: {answer:?}");
        let seen = target.wait(number + 1);
        let seen = json_of(seen.iter().find(|seen| json_of(seen)["id"] == *id).expect("it came"));
        assert_eq!(
            (&seen["datacontenttype"], &seen["source"], &seen["type"]),
            (&json!(content_type), &json!("/s"), &json!("t"))
        );
        for (name, value) in wanted.as_object().expect("an object") {
            assert_eq!(&seen[name], value, "{subject}: {name}");
        }
    }
    // Without a body there is no data.
    let mut headers = base.to_vec();
    headers.push(("ce-id", "none"));
    assert_eq!(post(&sidecar, "/v1/events/cloudevents", &headers, b"").status, 202);
    let seen = target.wait(cases.len() + 1);
    let seen = json_of(seen.iter().find(|seen| json_of(seen)["id"] == "none").expect("it came"));
    assert!(seen.get("data").is_none() && seen.get("data_base64").is_none() && seen.get("datacontenttype").is_none());
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target, "format = \"cloudevents\"")).start();
    let batch = |events: &Value| {
        let headers = [("content-type", "application/cloudevents-batch+json; charset=utf-8")];
        post(&sidecar, "/v1/events", &headers, events.to_string().as_bytes())
    };
    let answer = batch(&json!([event("1"), event("2"), event("3")]));
    assert_eq!((answer.status, answer.json()["events"].as_array().map(Vec::len)), (202, Some(3)), "{answer:?}");
    let mut ids: Vec<Value> = target.wait(3).iter().map(|seen| json_of(seen)["id"].clone()).collect();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(ids, ["1", "2", "3"]);

    let answer = batch(&json!([]));
    assert_eq!((answer.status, answer.json()), (202, json!({ "events": [] })));
    let mut faulty = event("5");
    faulty["source"] = Value::Null;
    let answer = batch(&json!([event("4"), faulty]));
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["detail"], "event 2 of the batch: `source` is missing: every CloudEvent has it");
    assert_eq!(batch(&event("6")).status, 400, "one event is no batch");
    assert_eq!(structured(&sidecar, "/v1/events", &json!([event("7")])).status, 400, "and a batch is no event");
    assert_eq!(target.count(), 3);
}

#[test]
fn source_and_id_are_the_key_of_a_repeat() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target, "")).start();
    let first = structured(&sidecar, "/v1/events", &event("1"));
    let repeat = structured(&sidecar, "/v1/events", &event("1"));
    assert_eq!((repeat.status, repeat.header("idempotent-replayed"), repeat.json()), (202, "true", first.json()));
    let mut other = event("1");
    other["data"] = json!("another");
    let answer = structured(&sidecar, "/v1/events", &other);
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("a CloudEvent of this source and id came before with other content"), "{answer:?}");
    let mut again = event("1");
    again["ceknativearrivaltime"] = json!("2026-11-28T10:15:31Z");
    let passed = structured(&sidecar, "/v1/events/cloudevents", &again);
    assert_eq!(
        passed.header("idempotent-replayed"),
        "true",
        "what a hop adds makes no other event, nor does the other route: {passed:?}"
    );
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/requests"),
        ("ce-type", "com.example.granted"),
        ("content-type", "application/json"),
    ];
    let passed = post(&sidecar, "/v1/events", &binary, b"{ \"name\": \"Ana \\\"A\\\" Ruiz\\n\", \"amount\": 1.5 }");
    assert_eq!(passed.header("idempotent-replayed"), "true", "nor does another mode: {passed:?}");
    let mut sorted = event("1");
    sorted["data"] = json!({ "amount": 1.5, "name": "Ana \"A\" Ruiz\n" });
    let text = sorted.to_string().replace("1.5", "15.00e-1");
    let headers = [("content-type", "application/cloudevents+json")];
    let passed = post(&sidecar, "/v1/events", &headers, text.as_bytes());
    assert_eq!(passed.header("idempotent-replayed"), "true", "nor who writes its data anew: {passed:?}");
    other["source"] = json!("/others");
    assert_eq!(structured(&sidecar, "/v1/events", &other).status, 202, "the id of another source is another event");
    // A key of the request's own stands above it.
    let headers = [("content-type", "application/cloudevents+json"), ("idempotency-key", "k")];
    let answer = post(&sidecar, "/v1/events", &headers, event("1").to_string().as_bytes());
    assert_eq!((answer.status, answer.header("idempotent-replayed")), (202, ""));
    assert_eq!(target.wait(3).len(), 3);
}

#[test]
fn a_key_that_the_sender_chose_is_for_these_events_and_for_whom_they_are() {
    let target = receiver().start();
    let manual = "triggers = [\"Manual\"]";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("one", &hook(&target, manual))
        .webhook("other", &hook(&target, manual))
        .start();
    let asked = |webhook: &str, event: &Value| {
        let headers = [("content-type", "application/cloudevents+json"), ("idempotency-key", "k")];
        let path = format!("/v1/webhooks/{webhook}/invoke");
        let answer = post(&sidecar, &path, &headers, event.to_string().as_bytes());
        (answer.status, answer.header("idempotent-replayed").to_owned())
    };
    assert_eq!(asked("one", &event("1")), (202, String::new()));
    assert_eq!(asked("one", &event("1")), (202, "true".to_owned()));
    assert_eq!(
        asked("other", &event("1")),
        (422, String::new()),
        "nobody is told that what he sent was taken for another"
    );
    assert_eq!(asked("one", &event("2")), (422, String::new()), "nor that another event was");
    let mut elsewhere = event("1");
    elsewhere["source"] = json!("/others");
    assert_eq!(asked("one", &elsewhere), (422, String::new()));
    assert_eq!(target.wait(1).len(), 1);
}

#[test]
fn the_data_is_the_event_where_the_route_says_of_which_kind() {
    let target = receiver().start();
    let body = "body = '{ \"id\": \"{{data.id}}\" }'\ntriggers = [\"RequestGranted\", \"Manual\"]";
    let file = format!("url = {:?}\n{body}\n", target.url("/in"));
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    let carried = |id: &str, data: Value| json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "com.example.request", "data": data });
    let data: Value = serde_json::from_str(&request("r-1")).expect("JSON");
    for (number, path) in ["/v1/events/request", "/v1/webhooks/hook/invoke"].iter().enumerate() {
        let answer = structured(&sidecar, path, &carried("1", data.clone()));
        assert_eq!((answer.status, &answer.json()["events"][0]["deliveries"]), (202, &json!(["hook"])), "{path}");
        assert_eq!(json_of(&target.wait(number + 1)[number]), json!({ "id": "r-1" }));
    }
    let answer = structured(&sidecar, "/v1/events/request", &carried("2", json!("text")));
    assert_eq!(answer.status, 400, "{answer:?}");
    let mut text = carried("3", json!("a text"));
    text["datacontenttype"] = json!("text/plain");
    let answer = structured(&sidecar, "/v1/events/request", &text);
    assert!(
        answer.body.contains("has it as JSON in its data; to take the CloudEvent itself post it to /v1/events"),
        "{answer:?}"
    );
    // JSON is JSON also where it comes as bytes.
    let mut bytes = carried("5", Value::Null);
    bytes.as_object_mut().expect("an object").remove("data");
    bytes["data_base64"] = json!(STANDARD.encode(request("r-1")));
    assert_eq!(structured(&sidecar, "/v1/events/request", &bytes).status, 202);
    assert_eq!(json_of(&target.wait(3)[2]), json!({ "id": "r-1" }));
    bytes["data_base64"] = json!(STANDARD.encode("no JSON"));
    assert_eq!(structured(&sidecar, "/v1/events/request", &bytes).status, 400);
    // Where no kind is named, it is an event of its own kind, which nobody wants here.
    let answer = structured(&sidecar, "/v1/events", &carried("4", json!({})));
    assert_eq!((answer.status, &answer.json()["events"][0]["deliveries"]), (202, &json!([])));
}

#[test]
fn what_is_no_cloudevent_is_refused_with_what_to_do() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target, "")).start();
    let but = |name: &str, value: Value| {
        let mut event = event("1");
        event[name] = value;
        event.to_string()
    };
    let cases = [
        (but("specversion", json!("0.3")), "`specversion` is \"0.3\", and \"1.0\" is spoken here"),
        (but("id", json!("")), "`id` is empty"),
        (but("type", json!(7)), "`type` is no text"),
        (but("source", json!({})), "`source` is no text"),
        (but("level", json!(1.5)), "`level` is neither a text, an integer of 32 bits nor true or false"),
        (but("time", json!("yesterday")), "`time` is \"yesterday\", and it is a time of RFC 3339"),
        (but("time", json!("2026-11-28 10:00:00Z")), "RFC 3339"),
        (but("time", json!("20261128T100000Z")), "RFC 3339"),
        (but("time", json!("2026-11-28T10:00Z")), "RFC 3339"),
        (but("time", json!("2026-11-28T10:00:00,5Z")), "RFC 3339"),
        (but("time", json!("2026-11-28T10:00:00+01:00[Europe/Paris]")), "RFC 3339"),
        (but("time", json!("2026-02-30T10:00:00Z")), "RFC 3339"),
        (but("source", json!("a b")), "`source` is \"a b\", and it is a URI"),
        (but("source", json!("/50%")), "and it is a URI"),
        (but("dataschema", json!("no <uri>")), "and it is a URI"),
        (but("level", json!(2_147_483_648_i64)), "an integer of 32 bits"),
        (but("x", json!("\u{fffe}")), "`x` holds a control character"),
        (but("x", json!("y".repeat(4097))), "`x` has 4097 bytes, and 4096 are the limit"),
        (
            but("datacontenttype", json!("text/plain")),
            "`data` is no text, and `datacontenttype` says that it is no JSON",
        ),
        (but("subject", json!("a\nb")), "`subject` holds a control character"),
        (but("Subject", json!("a")), "`Subject` is no name of an attribute: they are lower-case letters and digits"),
        (but("data_base64", json!("AA==")), "`data` and `data_base64` are both given"),
        (but("data_base64", json!("%")), "`data_base64` is no text in Base64"),
        ("{}".to_owned(), "`specversion`, `id`, `source`, `type` are missing: every CloudEvent has them"),
        (event("1").to_string().replacen('{', "{\"id\":\"0\",", 1), "`id` comes twice"),
        ("[]".to_owned(), "a CloudEvent, which is a JSON object"),
        ("{".to_owned(), "not JSON"),
    ];
    for (body, wanted) in cases {
        let answer = post(&sidecar, "/v1/events", &[("content-type", "application/cloudevents+json")], body.as_bytes());
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && detail.contains(wanted), "{body}: {answer:?}");
    }
    let whole = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let binary: [(&[(&str, &str)], &str); 7] = [
        (&whole[..3], "`ce-type` is missing: every CloudEvent has it"),
        (&[whole[0], whole[1], whole[2], whole[3], ("ce-x_y", "1")], "`ce-x_y` carries no attribute"),
        (&[whole[0], whole[1], whole[2], whole[3], ("ce-data", "1")], "`ce-data` carries no attribute"),
        (&[whole[0], whole[1], whole[2], whole[3], ("ce-id", "2")], "`ce-id` comes twice"),
        (&[whole[0], whole[1], whole[2], whole[3], ("ce-subject", "%C0%A0")], "`ce-subject` is no text in UTF-8"),
        (&[whole[0], whole[1], whole[2], whole[3], ("content-type", "a/b; c=é")], "and it is a media type"),
        (&[whole[0], whole[1], whole[2], whole[3], ("content-type", "application/json")], "not JSON"),
    ];
    for (headers, wanted) in binary {
        let answer = post(&sidecar, "/v1/events", headers, b"no JSON");
        assert!(answer.status == 400 && answer.body.contains(wanted), "{wanted}: {answer:?}");
    }
    // Structured, and said to be plain JSON.
    let answer = post(
        &sidecar,
        "/v1/events/cloudevents",
        &[("content-type", "application/json")],
        event("1").to_string().as_bytes(),
    );
    assert!(answer.body.contains("takes content-type: application/cloudevents+json"), "{answer:?}");
    for content_type in ["application/cloudevents+avro", "application/cloudevents-batch+xml"] {
        let answer = post(&sidecar, "/v1/events", &[("content-type", content_type)], b"x");
        assert!(answer.status == 415 && answer.body.contains("+json"), "{answer:?}");
    }
    assert_eq!(target.count(), 0);
}

#[test]
fn any_event_goes_out_as_a_cloudevent() {
    let target = receiver().start();
    let set = "body = '{ \"id\": \"{{data.id}}\" }'\n[cloudevents]\nsource = \"https://${env:HOST}/x\"\n\
               type = \"com.example.{{event_type}}\"\nsubject = \"request/{{data.id}}\"";
    let sidecar = sidecar()
        .reaching(&target)
        .env("HOST", "access.example.com")
        .webhook("set", &requests(&target, set))
        .webhook("plain", &requests(&target, ""))
        .webhook(
            "binary",
            &requests(
                &target,
                "cloudevents.mode = \"binary\"\ncontent_type = \"text/plain\"\nbody = \"é {{data.id}}\"",
            ),
        )
        .start();
    let posted = request("r \"1\" é");
    let answer = sidecar.post("/v1/events", &posted);
    let id = answer.json()["events"][0]["id"].clone();
    let seen = target.wait(3);
    let of =
        |name: &str| seen.iter().find(|seen| seen.header("webhook-id").ends_with(&format!("_{name}"))).expect("each");

    let set = json_of(of("set"));
    let time = set["time"].as_str().expect("a time").to_owned();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(
        set,
        json!({
            "specversion": "1.0", "id": id, "source": "https://access.example.com/x",
            "type": "com.example.AccessRequestGranted", "time": time, "subject": "request/r \"1\" é",
            "datacontenttype": "application/json", "data": { "id": "r \"1\" é" }
        })
    );
    let plain = json_of(of("plain"));
    assert_eq!(
        (&plain["source"], &plain["type"], &plain["subject"]),
        (&json!("/outrigger/request"), &json!("RequestGranted"), &json!("r \"1\" é"))
    );
    assert_eq!(plain["data"], serde_json::from_str::<Value>(&posted).expect("JSON"));

    let binary = of("binary");
    assert_eq!((binary.header("content-type"), &*binary.body), ("text/plain", "é r \"1\" é".as_bytes()));
    assert_eq!(
        (binary.header("ce-subject"), binary.header("ce-id")),
        ("r%20%221%22%20%C3%A9", id.as_str().expect("a text"))
    );
}

#[test]
fn a_subject_that_is_none_is_left_out_and_data_follows_its_content_type() {
    let target = receiver().start();
    let text = "content_type = \"text/plain\"\ntriggers = [\"RequestGranted\"]";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("json", &requests(&target, "body = '{ \"a\": 1 }'"))
        .webhook("text", &requests(&target, text))
        .start();
    for id in ["", "a\nb", &"x".repeat(5000)] {
        assert_eq!(sidecar.post("/v1/events", &request(id)).status, 202);
    }
    let seen: Vec<Value> = target.wait(6).iter().map(json_of).collect();
    assert!(seen.iter().all(|event| event.get("subject").is_none()), "{seen:?}");
    let texts = seen.iter().filter(|event| event["datacontenttype"] == "text/plain");
    assert_eq!(
        texts.filter(|event| event["data"].as_str().is_some_and(|data| data.contains("AccessRequestGranted"))).count(),
        3
    );
}

#[test]
fn a_reference_in_an_attribute_is_masked_as_headers_write_it() {
    let target = receiver().otherwise(400).start();
    let file = "cloudevents.mode = \"binary\"\ncloudevents.source = \"urn:x:${env:SRC}\"";
    let sidecar =
        sidecar().reaching(&target).env("SRC", "top/secret'1").webhook("hook", &requests(&target, file)).start();
    assert_eq!(sidecar.post("/v1/events?wait=15s", &request("r-1")).status, 200);
    assert_eq!(target.wait(1)[0].header("ce-source"), "urn:x:top/secret'1");
    let listed = sidecar.get("admin", "/api/v1/invocations").json();
    let id = listed["invocations"][0]["id"].as_str().expect("an id").to_owned();
    let shown = sidecar.get("admin", &format!("/api/v1/invocations/{id}")).body;
    assert!(!shown.contains("secret'1") && shown.contains("urn:x:***"), "{shown}");
}

#[test]
fn attributes_of_an_event_are_judged_where_they_come_in_and_not_again_on_their_way() {
    let target = receiver().start();
    let file = hook(&target, "format = \"cloudevents\"\ncloudevents.type = \"{{type}}\"");
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).write();
    // As a spool may hold them that took them in when less was asked.
    let mut old = event("1");
    old["source"] = json!("a source");
    let render = |event: &Value| {
        std::fs::write(sidecar.dir().join("event.json"), event.to_string()).expect("it is writable");
        let path = sidecar.dir().join("event.json");
        let run = sidecar.run(&["render", "hook", "--event", path.to_str().expect("a text")]);
        format!("{}{}", run.stdout, run.stderr)
    };
    assert!(render(&old).contains("\"source\": \"a source\""), "{}", render(&old));
    // What the file makes is judged here.
    old["type"] = json!("a\nb");
    assert!(render(&old).contains("`type` holds a control character"), "{}", render(&old));
    let own_data = "format = \"cloudevents\"\ncontent_type = \"application/json; x=\\u007f\"\nbody = '{}'";
    let own_data = own_data.replace("\\u007f", "\u{85}");
    sidecar.write_webhook("hook", &hook(&target, &own_data));
    assert!(render(&event("1")).contains("`datacontenttype` holds a control character"), "{}", render(&event("1")));
}

#[test]
fn an_attribute_that_an_event_leaves_empty_is_a_template_error() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("hook", &requests(&target, "cloudevents.type = \"{{data.nothing}}\""))
        .start();
    let answer = sidecar.post("/v1/events?wait=15s", &request("r-1"));
    let delivery = &answer.json()["events"][0]["deliveries"][0];
    assert_eq!((&delivery["outcome"], &delivery["reason"]), (&json!("dead"), &json!("template_error")), "{answer:?}");
    assert_eq!(delivery["detail"], "cloudevents: `type` is empty; leave it out, or give it a text");
    assert_eq!(target.count(), 0);
}

#[test]
fn a_target_is_asked_for_its_consent_once_and_what_it_says_counts() {
    let consent = |origin: &str, rate: &str| {
        Answer::status(200).header("webhook-allowed-origin", origin).header("webhook-allowed-rate", rate)
    };
    let target = receiver().respond(consent("outrigger.example.com", "*")).start();
    let file = "cloudevents.origin = \"outrigger.example.com\"\nlimits.rate = \"2/s\"\nlimits.burst = 5\n[auth]\nbearer = { token = \"t0ken\" }";
    let sidecar = sidecar().reaching(&target).webhook("hook", &requests(&target, file)).start();
    for id in ["r-1", "r-2"] {
        assert_eq!(
            sidecar.post("/v1/events?wait=15s", &request(id)).json()["events"][0]["deliveries"][0]["outcome"],
            "delivered"
        );
    }
    let seen = target.wait(3);
    let methods: Vec<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["OPTIONS", "POST", "POST"]);
    assert_eq!((seen[0].target.as_str(), seen[0].header("webhook-request-origin")), ("/in", "outrigger.example.com"));
    assert_eq!((seen[0].header("webhook-request-rate"), seen[0].header("authorization")), ("120", ""));
    assert_eq!(
        (seen[1].header("webhook-request-origin"), seen[1].header("authorization")),
        ("outrigger.example.com", "Bearer t0ken")
    );
}

#[test]
fn without_consent_nothing_is_sent_and_the_webhook_waits_for_it() {
    // No header, another origin, busy, and consent at last: each answers one OPTIONS.
    let target = receiver()
        .respond(200)
        .then(Answer::status(204).header("webhook-allowed-origin", "others.example.com"))
        .then(503)
        .then(Answer::status(405).header("webhook-allowed-origin", "*").header("webhook-allowed-rate", "10"))
        .start();
    let file = "cloudevents.origin = \"outrigger.example.com\"\nbreaker.probe = \"10ms\"";
    let sidecar = sidecar().reaching(&target).webhook("hook", &requests(&target, file)).start();
    let answer = sidecar.post("/v1/events?wait=15s", &request("r-1"));
    assert_eq!(answer.json()["events"][0]["deliveries"][0]["outcome"], "delivered", "{answer:?}");
    let seen = target.wait(5);
    let methods: Vec<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["OPTIONS", "OPTIONS", "OPTIONS", "OPTIONS", "POST"]);
    for said in [
        "the target does not consent: its answer 200 to OPTIONS has no webhook-allowed-origin",
        "the target does not consent: its answer 204 to OPTIONS names another origin in webhook-allowed-origin",
        "\"reason\":\"auth_error\"",
        "\"reason\":\"server_error\"",
        "the target expects fewer requests than limits.rate allows",
    ] {
        let seen = eventually(PATIENCE, || sidecar.log().contains(said).then_some(()));
        assert!(seen.is_some(), "{said}\n{}", sidecar.log());
    }
}

#[test]
fn a_target_that_does_not_answer_is_asked_by_one_for_all_that_wait() {
    let target =
        receiver().respond(Answer::hang()).then(Answer::status(200).header("webhook-allowed-origin", "*")).start();
    let file = "cloudevents.origin = \"outrigger.example.com\"\ntimeout = \"1s\"";
    let sidecar = sidecar().reaching(&target).webhook("hook", &requests(&target, file)).start();
    let lines: Vec<String> = (0..8).map(|number| request(&format!("r-{number}"))).collect();
    let headers = [("content-type", "application/x-ndjson")];
    let answer = sidecar.post_with("/v1/events?wait=15s", &headers, lines.join("\n").as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = target.wait(10);
    let asked = seen.iter().filter(|seen| seen.method.as_str() == "OPTIONS").count();
    assert_eq!((asked, seen.len()), (2, 10), "one for all who waited, and one that was answered");
}

/// What the SDK makes of a question, a JSON document a line.
fn sdk(asked: &Value) -> Value {
    const PROGRAM: &str = r#"
import base64, json, sys
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent
asked = json.load(sys.stdin)
if asked["do"] == "write":
    event = CloudEvent(attributes=asked["attributes"], data=asked["data"])
    made = http.to_binary_event(event) if asked["mode"] == "binary" else http.to_structured_event(event)
    body = made.body if isinstance(made.body, bytes) else str(made.body or "").encode()
    said = {"headers": dict(made.headers), "body": base64.b64encode(body).decode()}
else:
    message = http.HTTPMessage(headers=asked["headers"], body=base64.b64decode(asked["body"]))
    event = http.from_http_event(message)
    attributes = {name: value if isinstance(value, (str, int, bool)) else value.isoformat() for name, value in event.get_attributes().items()}
    data = event.get_data()
    said = {"attributes": attributes, "data": data if not isinstance(data, bytes) else {"bytes": base64.b64encode(data).decode()}}
json.dump(said, sys.stdout)
"#;
    let python = std::env::var(PYTHON).unwrap_or_else(|_| panic!("{PYTHON} names no Python; tests/all installs one"));
    let mut child = Command::new(python)
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(asked.to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{asked}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
#[ignore = "needs a Python with the package cloudevents: tests/all runs it"]
fn the_sdk_sends_events_that_are_taken_and_reads_those_that_go_out() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("structured", &hook(&target, "format = \"cloudevents\""))
        .webhook("binary", &hook(&target, "format = \"cloudevents\"\ncloudevents.mode = \"binary\""))
        .webhook("requests", &requests(&target, ""))
        .start();
    let mut expected = 0;
    let data = [json!({ "name": "Ana \"A\" Ruiz\n€", "list": [1, true, null] }), json!("a text")];
    for (number, (mode, data)) in
        ["binary", "structured"].iter().flat_map(|mode| data.iter().map(move |data| (mode, data))).enumerate()
    {
        let content_type = if data.is_string() { "text/plain" } else { "application/json" };
        let attributes = json!({
            "specversion": "1.0", "id": format!("id-{number}"), "source": "https://access.example.com/requests", "type": "com.example.granted",
            "subject": "50 % \"done\" €", "datacontenttype": content_type, "extension1": "a b"
        });
        let made = sdk(&json!({ "do": "write", "mode": mode, "attributes": attributes, "data": data }));
        let headers: BTreeMap<String, String> = serde_json::from_value(made["headers"].clone()).expect("texts");
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = STANDARD.decode(made["body"].as_str().expect("a text")).expect("Base64");
        let answer = post(&sidecar, "/v1/events", &headers, &body);
        assert_eq!(
            (answer.status, &answer.json()["events"][0]["deliveries"]),
            (202, &json!(["binary", "structured"])),
            "{answer:?}"
        );
        expected += 2;
        for seen in target.wait(expected).iter().skip(expected - 2) {
            let read = read(seen);
            for (name, value) in attributes.as_object().expect("an object") {
                assert_eq!(&read["attributes"][name], value, "{mode}: {name} in {read}");
            }
            assert_eq!(&read["data"], data, "{mode}");
        }
    }
    // An event of another kind.
    assert_eq!(sidecar.post("/v1/events", &request("r-1")).status, 202);
    let read = read(&target.wait(expected + 1)[expected]);
    assert_eq!(read["attributes"]["type"], "RequestGranted");
    assert_eq!(read["data"]["data"]["id"], "r-1");
}

/// What the SDK reads of a request that went out.
fn read(seen: &Recorded) -> Value {
    let headers: BTreeMap<&str, &str> = seen
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .filter(|(name, _)| name.starts_with("ce-") || *name == "content-type")
        .collect();
    sdk(&json!({ "do": "read", "headers": headers, "body": STANDARD.encode(&seen.body) }))
}
