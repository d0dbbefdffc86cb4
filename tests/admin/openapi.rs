//! The document of the API is true: what it says is asked of the real process, with what it allows and with what it does not.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{bury, edit, get, hook, remove, wait_delivered};
use crate::support::process::Process;
use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

/// The program `schemathesis`, in whose environment there is `openapi-spec-validator` too; `tests/all` sets it.
const SCHEMATHESIS: &str = "OUTRIGGER_TEST_SCHEMATHESIS";
/// Examples for each operation.
const EXAMPLES: &str = "25";
/// How long all of it may take: far more than it does.
const WITHIN: Duration = Duration::from_mins(3);
/// The webhooks, of each kind of row one.
const WEBHOOKS: [&str; 5] = ["busy", "failing", "limited", "off", "shadow"];

#[test]
fn the_document_is_served_as_it_is_in_the_source() {
    let sidecar = sidecar().webhook("hook", &hook("https://example.com/", "")).start();
    let source: Value = serde_json::from_str(include_str!("../../src/admin/openapi.json")).expect("JSON");
    assert_eq!(get(&sidecar, "/api/v1/openapi.json"), source);
}

/// A sidecar with something of everything: accepted, failed and pending deliveries, dead letters, a pause, a faulty file and one
/// that is gone. The targets answer for as long as they are kept.
fn peopled() -> (Sidecar, [Target; 3]) {
    let targets = [receiver().start(), receiver().otherwise(400).start(), receiver().otherwise(429).start()];
    let [fine, refusing, crowded] = &targets;
    let validator = "[[response_validators]]\nname = \"ok\"\npath = \"$.status\"\nexpected = [\"200\"]\n";
    let filter = "[[filters]]\nfield = \"approval_status\"\nany_of = [\"Pending\"]\n";
    let sidecar = sidecar()
        .setting("config.on_invalid_webhook = \"quarantine\"")
        .reaching(fine)
        .reaching(refusing)
        .reaching(crowded)
        .webhook(
            "busy",
            &hook(&fine.url("/"), &format!("title = \"Busy\"\nlimits = {{ rate = \"1000/s\" }}\n{validator}")),
        )
        .webhook("failing", &hook(&refusing.url("/"), "ordering = \"strict\""))
        .webhook("gone", &hook(&refusing.url("/"), "ordering = \"none\""))
        .webhook("limited", &hook(&crowded.url("/"), "body = '{\"x\": \"{{data.x}}\"}'"))
        .webhook("off", &hook(&fine.url("/"), &format!("status = \"inactive\"\ntriggers = [\"Manual\"]\n{filter}")))
        .webhook("shadow", &hook(&fine.url("/"), "status = \"shadow\""))
        .webhook("wrong", "url = 7")
        .start();
    bury(&sidecar, "failing", 4);
    wait_delivered(&sidecar, "busy", 4.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "gone")], 4.0);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "limited"), ("cause", "rate_limited")], 1.0);
    // The faulty file would keep the edit from being taken.
    remove(sidecar.written(), "wrong");
    edit(&sidecar, |written| remove(written, "gone"));
    (sidecar, targets)
}

/// Asks what a document says, and gives whether all of it is true, and what was found.
fn asked(program: &str, sidecar: &Sidecar, document: &Value, more: &[&str]) -> (bool, String) {
    let written = sidecar.written().dir().join("asked.json");
    std::fs::write(&written, document.to_string()).expect("a file");
    let mut command = Command::new(program);
    command.current_dir(sidecar.written().dir()).env("NO_COLOR", "1");
    command.arg("run").arg(&written).args(["--url", &format!("http://{}", sidecar.address("admin"))]);
    command.args(["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES]);
    command.args(["--seed", "1", "--generation-database", "none", "--continue-on-failure", "--warnings", "off"]);
    let ended = Process::spawn(command.args(more)).finish(WITHIN);
    (ended.status.success(), format!("{}\n{}\n{}", ended.stdout, ended.stderr, sidecar.log()))
}

#[test]
#[ignore = "needs schemathesis and openapi-spec-validator from PyPI: tests/all installs both and sets OUTRIGGER_TEST_SCHEMATHESIS"]
fn all_that_the_document_says_is_true_of_the_real_process() {
    let program = std::env::var(SCHEMATHESIS);
    let program = program.unwrap_or_else(|_| panic!("{SCHEMATHESIS} names no program; tests/all installs one"));
    let (sidecar, targets) = peopled();
    let mut document = get(&sidecar, "/api/v1/openapi.json");
    let written = sidecar.written().dir().join("openapi.json");
    std::fs::write(&written, document.to_string()).expect("a file");
    let python = Path::new(&program).with_file_name("python");
    let valid = Process::spawn(Command::new(python).args(["-m", "openapi_spec_validator"]).arg(&written));
    let valid = valid.finish(WITHIN);
    assert!(valid.status.success(), "{valid:?}");

    narrow(&sidecar, &mut document);
    // To quit would end what is asked.
    let (is_true, found) = asked(&program, &sidecar, &document, &["--exclude-path", "/-/quit"]);
    assert!(is_true, "{found}");
    let passed: u32 = found
        .lines()
        .find_map(|line| line.trim().split_once(" generated, ")?.1.strip_suffix(" passed")?.parse().ok())
        .unwrap_or_else(|| panic!("{found}"));
    assert!(passed > 500, "{found}");
    assert!(targets.iter().all(|target| target.count() > 4), "nothing was replayed or resent");

    // Who brings no token where one is asked for is answered as the document says, too.
    let closed = crate::support::sidecar()
        .setting("admin.token = \"${env:ADMIN_TOKEN}\"")
        .env("ADMIN_TOKEN", "s3cret")
        .webhook("busy", &hook("https://example.com/", ""))
        .start();
    let (is_true, found) = asked(&program, &closed, &document, &[]);
    assert!(is_true && !closed.log().contains("shutdown.asked"), "{found}");

    // That it can be found false: an answer with a member too many, and a parameter that is refused.
    let summary = &mut document["components"]["schemas"]["Summary"];
    summary["properties"].as_object_mut().and_then(|members| members.remove("probe")).expect("it was there");
    summary["required"].as_array_mut().expect("a list").retain(|member| member != "probe");
    let (is_true, found) = asked(&program, &sidecar, &document, &["--include-path", "/api/v1/invocations"]);
    assert!(!is_true && found.contains("Response violates schema"), "{found}");
    document["paths"]["/api/v1/events"]["get"]["parameters"][0]["name"] = json!("fnid");
    let (is_true, found) = asked(&program, &sidecar, &document, &["--include-path", "/api/v1/events"]);
    assert!(!is_true && found.contains("Schema-valid request rejected"), "{found}");
}

/// Gives the document the names and ids that this sidecar knows: of an unknown webhook there is nothing to be listed, which is
/// refused, and an id out of thin air is found nowhere.
fn narrow(sidecar: &Sidecar, document: &mut Value) {
    let ids = |path: &str, list: &str| -> Vec<Value> {
        let listed = get(sidecar, path)[list].as_array().cloned().expect("a list");
        listed.iter().map(|one| one["id"].clone()).collect()
    };
    let invocations = ids("/api/v1/invocations", "invocations");
    let letters = ids("/api/v1/dead-letters", "dead_letters");
    assert!(invocations.len() > 8 && letters.len() == 8, "{invocations:?} {letters:?}");
    let event =
        get(sidecar, &format!("/api/v1/invocations/{}", invocations[0].as_str().expect("an id")))["event_id"].clone();
    let sought = vec![event, letters[0].clone(), json!("r-1")];
    for (path, operation, known) in [
        ("/api/v1/events", "get", sought),
        ("/api/v1/invocations/{id}", "get", invocations.clone()),
        ("/api/v1/invocations/{id}/resend", "post", invocations),
        ("/api/v1/dead-letters/{id}", "get", letters),
    ] {
        let schema = &mut document["paths"][path][operation]["parameters"][0]["schema"];
        *schema = json!({ "anyOf": [{ "enum": known }, schema.take()] });
    }
    document["components"]["schemas"]["WebhookName"]["enum"] = json!(WEBHOOKS);
    let samples = get(sidecar, "/api/v1/webhooks/busy")["samples"].as_array().cloned().expect("a list");
    let samples: Vec<Value> = samples.iter().map(|sample| sample["name"].clone()).collect();
    assert!(samples.len() > 5, "{samples:?}");
    let parameters = document["paths"]["/api/v1/webhooks/{name}"]["get"]["parameters"].as_array_mut().expect("a list");
    let sample = parameters.iter_mut().find(|parameter| parameter["name"] == "sample").expect("it has one");
    sample["schema"] = json!({ "enum": samples });
    let trial = document["components"]["schemas"]["Trial"]["oneOf"].as_array_mut().expect("a list");
    trial[0]["properties"]["trigger"] = json!({ "enum": samples });
    trial[1]["properties"]["event"] = json!({
        "type": "object",
        "required": ["event_type"],
        "properties": { "event_type": { "type": "string", "minLength": 1 } },
    });
}
