//! `outrigger render`.

use serde_json::{Value, json};

use super::{folder, outrigger};

const OKTA: [&str; 6] = ["render", "okta-workflows", "--placeholders", "--body-only", "--event", "-"];

/// What text must survive: quotes, backslashes, control characters, template and HTML syntax, and beyond ASCII.
const NASTY: [&str; 6] = [
    "say \"hi\"",
    "back\\slash \\n \\\\",
    "two\nlines\r\n\ttab",
    "{{data.id}} {{{x}}} ${env:HOME}",
    "<&> '",
    "🦀 \u{2028} \u{0} ü",
];

fn granted() -> Value {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/events/request-granted.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn text_arrives_as_it_was_typed_whatever_it_holds() {
    for nasty in NASTY {
        let mut event = granted();
        event["data"]["justification"] = json!(nasty);
        event["data"]["requester"]["email"] = json!(nasty);
        let run = outrigger(&OKTA, &[], &event.to_string()).expect_code(0);
        let body: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(body["fields"]["justification"], json!(nasty));
        assert_eq!(body["fields"]["requestor email"], json!(nasty));
    }
}

#[test]
fn text_arrives_as_it_was_typed_in_a_document_inside_a_string() {
    let mut event: Value = serde_json::from_str(
        &std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/events/request-approved-manually.json"))
            .unwrap(),
    )
    .unwrap();
    for nasty in NASTY {
        event["data"]["justification"] = json!(nasty);
        event["data"]["requester"]["name"] = json!(nasty);
        let arguments = ["render", "tickets", "--placeholders", "--body-only", "--event", "-"];
        let run = outrigger(&arguments, &[], &event.to_string()).expect_code(0);
        let body: Value = serde_json::from_str(&run.out).unwrap();
        let document: Value = serde_json::from_str(body["document"].as_str().unwrap()).unwrap();
        assert_eq!(document["justification"], json!(nasty));
        assert_eq!(document["requester"]["name"], json!(nasty));
    }
}

#[test]
fn each_webhook_says_whether_it_wants_the_event_and_why_not() {
    let run = outrigger(&["render", "--placeholders", "--event", "config/events/request-granted.json"], &[], "")
        .expect_code(0);
    assert!(
        run.out.contains("okta-workflows: wanted (RequestGranted)\nPOST https://acme.workflows.okta.com/***\n"),
        "{}",
        run.out
    );
    assert!(run.out.contains("oort-okta: not wanted: it is for events of kind oort\n"), "{}", run.out);
    assert!(
        run.out.contains(
            "tickets: not wanted: the event type RequestGranted is not among its triggers (RequestApproved)\n"
        ),
        "{}",
        run.out
    );
}

#[test]
fn no_secret_is_shown() {
    let hook = r#"
url = "https://hooks.example.com/${env:S1}/{{data.id}}?k=TOPSECRET"
body = '{"a": "${env:S1}", "id": "{{data.id}}"}'
[headers]
x-a = "key ${env:S1}"
x-api-key = "TOPSECRET"
[auth]
bearer = { token = "TOPSECRET" }
"#;
    let folder = folder(&[("webhooks/hook.toml", hook)]);
    let dir = folder.path().to_str().unwrap();
    let event = r#"{"event_type": "RequestGranted", "data": {"id": "7"}}"#;
    let secrets = [("S1".to_owned(), "TOPSECRET".to_owned())];
    let run = outrigger(&["render", "--config", dir, "--event", "-"], &secrets, event).expect_code(0);
    assert_eq!(
        run.out,
        format!(
            "hook: wanted (RequestGranted)\nPOST https://hooks.example.com/***\nuser-agent: outrigger/{}\n\
             content-type: application/json\nx-a: key ***\nx-api-key: ***\nauthorization: ***\n\n{{\n  \"a\": \"***\",\n  \"id\": \"7\"\n}}\n\n\
             1 of 1 webhook wants the event (RequestGranted)\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn a_question_that_makes_no_sense_is_a_usage_error() {
    let good = "{\"event_type\": \"RequestGranted\"}";
    for (arguments, input, expected) in [
        (vec!["render", "okta", "--event", "-"], good, "there is no webhook `okta`"),
        (vec!["render", "--event", "-"], "{", "the event: not JSON"),
        (vec!["render", "--event", "-"], "[]", "an event is a JSON object, this is an array"),
        (vec!["render", "--event", "-"], "{}", "has its type as text at `$.event_type`"),
        (vec!["render", "--event", "-", "--kind", "nope"], good, "there is no kind `nope`"),
        (vec!["render", "--event", "/nowhere.json"], "", "the file /nowhere.json does not exist"),
    ] {
        let arguments = [arguments, vec!["--placeholders"]].concat();
        let run = outrigger(&arguments, &[], input).expect_code(2);
        assert!(run.err.contains(expected), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn the_body_of_a_webhook_that_does_not_want_the_event_is_not_printed() {
    let event = "{\"event_type\": \"RequestRejected\", \"data\": {}}";
    let run = outrigger(&OKTA, &[], event).expect_code(1);
    assert_eq!(run.out, "");
    assert!(run.err.contains("okta-workflows: not wanted: "), "{}", run.err);
}

#[test]
fn every_cause_is_told_and_what_an_inactive_webhook_would_send() {
    let url = "url = \"https://hooks.example.com/in\"\n";
    let filters =
        "[[filters]]\nfield = \"integration\"\nany_of = [\"prod-*\"]\n[[filters]]\npath = \"$.data.n\"\nmin = 5\n";
    let folder = folder(&[
        ("webhooks/a.toml", &format!("triggers = [\"RequestCreated\"]\nstatus = \"inactive\"\n{url}{filters}")),
        ("webhooks/b.toml", &format!("{url}{filters}")),
        ("webhooks/c.toml", &format!("status = \"inactive\"\n{url}body = \"{{}}\"\n")),
        ("webhooks/d.toml", &format!("status = \"shadow\"\n{url}body = \"{{}}\"\n[headers]\nuser-agent = \"x\"\n")),
        (
            "webhooks/e.toml",
            &format!("status = \"inactive\"\nstrict = true\n{url}body = '{{\"a\": \"{{{{data.none}}}}\"}}'\n"),
        ),
    ]);
    let event =
        r#"{"event_type": "Granted", "data": {"n": 1, "access_groups": [{"integration": {"name": "prod-x"}}]}}"#;
    let run = outrigger(&["render", "--config", folder.path().to_str().unwrap(), "--event", "-"], &[], event);
    let run = run.expect_code(0);
    let request = |agent: &str| {
        format!("POST https://hooks.example.com/***\nuser-agent: {agent}\ncontent-type: application/json\n\n{{}}\n")
    };
    let expected = format!(
        "d: wanted (RequestGranted, shadow: never sent)\n{}\n\
         a: not wanted:\n  - it is inactive\n  - the event type RequestGranted is not among its triggers (RequestCreated)\n  \
         - $.data.n is 1, wanted at least 5\n\
         b: not wanted: $.data.n is 1, wanted at least 5\n\
         c: not wanted: it is inactive; active, it would send\n{}\
         e: not wanted: it is inactive, and it cannot be rendered: ",
        request("x"),
        request(concat!("outrigger/", env!("CARGO_PKG_VERSION")))
    );
    assert!(run.out.starts_with(&expected), "--- expected\n{expected}\n--- found\n{}", run.out);
    assert!(run.out.ends_with("\n\n1 of 5 webhooks wants the event (RequestGranted)\n"), "{}", run.out);
}

#[test]
fn several_events_are_refused_with_what_to_do() {
    let event = "{\"event_type\": \"RequestGranted\"}\n";
    for command in [&["render", "--placeholders", "--event", "-"][..], &["test", "slack", "--event", "-"]] {
        let run = outrigger(command, &[], &event.repeat(3)).expect_code(2);
        for told in ["standard input holds several events, and one is wanted; ", "or ask `outrigger plan` about all"] {
            assert!(run.err.contains(told), "{}", run.err);
        }
    }
}
