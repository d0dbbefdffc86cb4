//! One webhook in full, tests of it, and the configuration in force: everything is there but what is secret.

use serde_json::{Value, json};

use super::{MARK, ask, edit, get, hook, post, remove};
use crate::bad_input::assert_problem;
use crate::support::http::HttpAnswer;
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

/// What every secret of these files holds.
const CANARY: &str = "canary";

/// `[auth]` of each kind, spelled in different ways.
const AUTHS: [&str; 5] = [
    "auth.bearer.token = \"canary-0\"",
    "auth = { bearer = { token = '${env:TOKEN}' } }",
    "[auth]\nbasic = { username = \"canary-user\", password = '''canary-1''' }",
    "[auth.\"api_key\"]\nheader = 'x-key'\nvalue = \"c\\u0061nary-2\"",
    "[auth.oauth2]\ntoken_url = \"https://127.0.0.1/canary-3\"\nclient_id = 'canary-id'\nclient_secret = \"canary-4\"\nparameters = { p = 'canary-5' }",
];

/// A file with a secret wherever one can be.
fn laden(url: &str, auth: &str) -> String {
    format!(
        "# Old: token = \"canary-6\", see https://a.example/canary-7\nurl = \"{url}/canary-8/${{env:TOKEN}}?x=canary-9\" # here\nstatus = \"inactive\"\nbody = '''\n{{\"id\": \"{{{{data.id}}}}\", \"token\": \"canary-10\", \"s\": \"${{env:TOKEN}}\"}}\n'''\n\
         signing = {{ standard_webhooks = {{ secrets = [ \"whsec_Y2FuYXJ5LXNpZ25pbmctZjAwZC1hNWMz\" ] }} }}\nheaders = {{ X-Api-Key = \"canary-11\", x-team = 'sre' }}\n{auth}\n\n[[filters]]\nfield = \"integration\"\nany_of = [\"prod-*\", \"staging\"]\n"
    )
}

#[track_caller]
fn assert_clean(answer: &str) {
    let lower = answer.to_lowercase();
    assert!(!lower.contains(CANARY) && !lower.contains("y2fuyxj5"), "{answer}");
}

fn reload(sidecar: &Sidecar) -> HttpAnswer {
    ask(sidecar, "POST", "/-/reload", &[MARK], "")
}

#[test]
fn no_secret_of_a_webhook_is_in_any_answer_about_it() {
    let target = receiver().start();
    let mut builder = sidecar().reaching(&target).env("TOKEN", "canary-token");
    for (number, auth) in AUTHS.iter().enumerate() {
        builder = builder.webhook(&format!("hook-{number}"), &laden(&target.url(""), auth));
    }
    let sidecar = builder.start();
    for number in 0..AUTHS.len() {
        let path = format!("/api/v1/webhooks/hook-{number}?sample=RequestGranted");
        let answer = get(&sidecar, &path);
        assert_clean(&answer.to_string());
        let toml = answer["definition"]["toml"].as_str().expect("its file");
        let url = format!("url = \"https://127.0.0.1:{}/***\" # here\nstatus = \"inactive\"\n", target.port());
        assert!(toml.starts_with("# Old: token = \"***\"") && toml.contains(&url), "{toml}");
        assert!(toml.contains("x-team = 'sre'") && toml.contains("any_of = [\"prod-*\", \"staging\"]"), "{toml}");
        assert_eq!(answer["filters"], json!(["integration is one of prod-*, staging"]));
        let sample = &answer["sample"];
        assert_eq!(sample["request"]["url"], format!("https://127.0.0.1:{}/***", target.port()));
        assert_eq!((&sample["wanted"], &sample["why"][0]), (&json!(false), &json!("it is inactive")));
        assert!(answer["template"].as_str().is_some_and(|template| template.contains("\"token\": \"***\"")));
        assert_eq!((&answer["name"], &answer["host"]), (&json!(format!("hook-{number}")), &json!("127.0.0.1")));
    }
    assert_clean(&get(&sidecar, "/api/v1/webhooks").to_string());

    // A fault in each file, and every line that is shown of it.
    for (number, auth) in AUTHS.iter().enumerate() {
        let fault = format!("{}nope = \"canary-12\" # canary-13\n", laden(&target.url(""), auth));
        let open = format!("{}\"\n", laden(&target.url(""), auth).replace("any_of = [", "any_of = "));
        sidecar.written().write_webhook(&format!("hook-{number}"), if number % 2 == 0 { &fault } else { &open });
    }
    let answer = reload(&sidecar);
    assert_problem("faults", &answer, 422, &["faults"]);
    assert_clean(&answer.body);
    let config = get(&sidecar, "/api/v1/config");
    assert_clean(&config.to_string());
    let last = &config["last_look"];
    assert_eq!(last["result"], "refused");
    assert_eq!(last["diagnostics"], answer.json()["diagnostics"]);
    let lines = last["diagnostics"].as_array().expect("a list");
    assert!(lines.len() >= AUTHS.len() && lines.iter().all(|line| line["source"].is_string()), "{last:#}");
    // What is shown is what is in force.
    assert_clean(&get(&sidecar, "/api/v1/webhooks/hook-0").to_string());
    let toml = get(&sidecar, "/api/v1/webhooks/hook-0")["definition"]["toml"].take();
    assert!(!toml.as_str().expect("a text").contains("nope"));
    assert_clean(&sidecar.log());
}

#[test]
fn what_is_not_in_force_has_a_row_and_nothing_more() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar()
        .setting("config.on_invalid_webhook = \"quarantine\"")
        .setting("config.removal_grace = \"0s\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .webhook("faulty", "url = 1")
        .start();
    super::bury(&sidecar, "hook", 1);
    edit(&sidecar, |written| {
        remove(written, "hook");
        remove(written, "faulty");
        written.write_webhook("other", &hook(&target.url("/"), ""));
    });
    let gone = get(&sidecar, "/api/v1/webhooks/hook");
    assert_eq!((&gone["status"], &gone["dead_letters"]), (&json!("removed"), &json!(1)));
    for (member, nothing) in [
        ("definition", Value::Null),
        ("body_file", Value::Null),
        ("filters", json!([])),
        ("template", Value::Null),
        ("samples", json!([])),
        ("sample", Value::Null),
        ("schema", Value::Null),
    ] {
        assert_eq!(gone.get(member), Some(&nothing), "{member}");
    }
    let unknown = ask(&sidecar, "GET", "/api/v1/webhooks/othr", &[], "");
    assert_problem("unknown", &unknown, 404, &["did you mean `other`?"]);
    let sample = ask(&sidecar, "GET", "/api/v1/webhooks/other?sample=RequestGrantd", &[], "");
    assert_problem("sample", &sample, 400, &["`sample`", "did you mean `RequestGranted`?"]);
}

#[test]
fn a_test_goes_to_the_target_whatever_the_webhook_wants() {
    let target = receiver().respond(200).then(500).otherwise(200).start();
    let file = "status = \"inactive\"\ntriggers = [\"RequestGranted\"]";
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), file)).start();
    let answer = post(&sidecar, "/api/v1/webhooks/hook/test", &json!({}));
    assert_eq!((&answer["successful"], &answer["invocation"]["event_type"]), (&json!(true), &json!("RequestGranted")));
    let answer = post(&sidecar, "/api/v1/webhooks/hook/test", &json!({ "trigger": "Created" }));
    let invocation = &answer["invocation"];
    assert_eq!((&answer["successful"], &invocation["status"]), (&json!(false), &json!(500)));
    assert_eq!((&invocation["reason"], &invocation["test"]), (&json!("server_error"), &json!(true)));
    let event = json!({ "event": { "event_type": "RequestFailed", "data": { "id": "mine" } } });
    assert_eq!(post(&sidecar, "/api/v1/webhooks/hook/test", &event)["successful"], true);

    let seen = target.wait(3);
    assert!(seen.iter().all(|request| request.header("outrigger-test") == "true"));
    let bodies: Vec<Value> = seen.iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect();
    assert_eq!(bodies[0]["data"]["requester"]["name"], "Outrigger test");
    assert_eq!((&bodies[2], target.count()), (&event["event"], 3));

    let asked = |path: &str, body: &str| ask(&sidecar, "POST", path, &[MARK], body);
    assert_problem("unknown", &asked("/api/v1/webhooks/hok/test", ""), 404, &["did you mean `hook`?"]);
    assert_problem("trigger", &asked("/api/v1/webhooks/hook/test", "{\"trigger\": \"x\"}"), 400, &["no sample `x`"]);
    assert_problem("member", &asked("/api/v1/webhooks/hook/test", "{\"x\": 1}"), 400, &["`x`", "trigger, event"]);
    let unmarked = ask(&sidecar, "POST", "/api/v1/webhooks/hook/test", &[], "");
    assert_eq!((unmarked.status, target.count()), (403, 3));
}

#[test]
fn the_configuration_in_force_is_told_with_the_last_look() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/canary-path"), "")).start();
    assert_eq!(reload(&sidecar).json()["result"], "unchanged");
    let first = get(&sidecar, "/api/v1/config");
    assert_eq!((&first["generation"], &first["last_look"]["result"]), (&json!(1), &json!("unchanged")));
    let folder = sidecar.written().config();
    assert_eq!(first["folder"].as_str(), folder.to_str());

    sidecar.written().write_webhook("hook", &hook(&target.url("/canary-path"), "trigers = []"));
    let refused = reload(&sidecar);
    assert_eq!(refused.status, 422);
    let config = get(&sidecar, "/api/v1/config");
    for member in ["generation", "hash", "published_at"] {
        assert_eq!(config[member], first[member], "{member}");
    }
    let expected = json!([{
        "level": "error", "file": "webhooks/hook.toml", "line": 2, "column": 1, "problem": "unknown key `trigers`",
        "fix": "did you mean `triggers`?", "source": "trigers = []", "caret": "^^^^^^^",
    }]);
    assert_eq!((&config["last_look"]["diagnostics"], &config["last_look"]["unlisted"]), (&expected, &json!(0)));
    assert_eq!(refused.json()["diagnostics"], expected);

    edit(&sidecar, |written| written.write_webhook("hook", &hook(&target.url("/other"), "")));
    let config = get(&sidecar, "/api/v1/config");
    assert_eq!((&config["generation"], &config["last_look"]["result"]), (&json!(2), &json!("published")));
    assert_ne!(config["published_at"], first["published_at"]);
    let head = ask(&sidecar, "HEAD", "/api/v1/config", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}
