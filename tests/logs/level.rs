//! The level of the log, changed while the process runs.

use serde_json::{Value, json};

use super::named;
use crate::bad_input::assert_problem;
use crate::support::http::{HttpAnswer, exchange};
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

const MARK: (&str, &str) = ("outrigger-request", "1");
const EVENT: &str = r#"{"event_type":"RequestCreated","data":{"id":"r-1"}}"#;

#[track_caller]
fn ask(sidecar: &Sidecar, method: &str, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
    exchange(sidecar.address("admin"), method, "/-/log-level", headers, body.as_bytes())
        .unwrap_or_else(|error| panic!("{error}\n{}", sidecar.log()))
}

#[track_caller]
fn set(sidecar: &Sidecar, level: &Value) -> Value {
    let answer = ask(sidecar, "PUT", &[MARK], &json!({ "level": level }).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let shown = ask(sidecar, "GET", &[], "");
    assert_eq!((shown.status, shown.json()), (200, answer.json()));
    answer.json()
}

/// Edits `log.level`, and waits until that is in force.
#[track_caller]
fn edit(sidecar: &Sidecar, line: &str) {
    let published = [("result", "published")];
    let before = sidecar.metric("outrigger_config_reloads_total", &published).unwrap_or_default();
    let file = sidecar.written().config().join("outrigger.toml");
    let text = std::fs::read_to_string(file).expect("it is there");
    let kept: Vec<&str> =
        text.lines().filter(|known| !known.starts_with(line.split(" = ").next().expect("a key"))).collect();
    sidecar.written().replace("outrigger.toml", &format!("{}\n{line}\n", kept.join("\n")));
    sidecar.wait_metric("outrigger_config_reloads_total", &published, before + 1.0);
}

#[test]
fn a_level_is_set_and_taken_back_and_an_edit_counts_over_it() {
    let target = receiver().start();
    let sidecar = sidecar()
        .setting("log.level = \"warn\"")
        .reaching(&target)
        .webhook("hook", &format!("url = {:?}", target.url("/")))
        .start();
    // What the process wrote comes here a moment later.
    let attempts = |count: usize| {
        assert_eq!(sidecar.post("/v1/events?wait=10s", EVENT).status, 200);
        let mut seen = 0;
        let told = eventually(PATIENCE, || {
            seen = named(&sidecar, "delivery.attempted").len();
            (seen >= count).then_some(())
        });
        assert!(told.is_some() && seen == count, "{seen}, not {count}:\n{}", sidecar.log());
    };
    attempts(0);
    assert_eq!(set(&sidecar, &json!("debug")), json!({ "level": "debug", "configured": "warn", "set": "debug" }));
    attempts(1);
    assert_eq!(set(&sidecar, &Value::Null), json!({ "level": "warn", "configured": "warn", "set": null }));
    attempts(1);

    set(&sidecar, &json!("info"));
    edit(&sidecar, "ingest.max_body = \"2MiB\"");
    assert_eq!(ask(&sidecar, "GET", &[], "").json()["level"], "info", "an edit of something else leaves it");
    attempts(2);
    edit(&sidecar, "log.level = \"error\"");
    assert_eq!(ask(&sidecar, "GET", &[], "").json(), json!({ "level": "error", "configured": "error", "set": null }));
    attempts(2);
    edit(&sidecar, "log.level = \"info\"");
    attempts(3);
    assert!(!sidecar.log().contains("takes a restart"), "{}", sidecar.log());
    let changes: Vec<String> = named(&sidecar, "log.level_changed")
        .iter()
        .map(|line| format!("{} {} {}", line["from"], line["to"], line["by"]).replace('"', ""))
        .collect();
    assert_eq!(
        changes,
        ["warn debug admin", "debug warn admin", "warn info admin", "info error file", "error info file"]
    );
}

#[test]
fn who_may_not_and_what_is_no_level_is_refused_and_changes_nothing() {
    let file = format!("url = {:?}", "https://hooks.example.com/in");
    let open = sidecar().webhook("hook", &file).start();
    let body = r#"{"level": "trace"}"#;
    assert_problem("no header", &ask(&open, "PUT", &[], body), 403, &["outrigger-request"]);
    let page = [MARK, ("origin", "https://evil.example")];
    assert_problem("a page", &ask(&open, "PUT", &page, body), 403, &["another origin"]);
    assert_problem("another name", &ask(&open, "PUT", &[MARK, ("host", "evil.example")], body), 421, &["host"]);
    let post = ask(&open, "POST", &[MARK], body);
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, PUT"));
    for wrong in [
        "",
        "{}",
        "[]",
        "debug",
        r#""debug""#,
        r#"{"level": "loud"}"#,
        r#"{"level": "DEBUG"}"#,
        r#"{"level": 1}"#,
        r#"{"level": "debug", "for": "1h"}"#,
    ] {
        assert_problem(wrong, &ask(&open, "PUT", &[MARK], wrong), 400, &["\"debug\"", "log.level"]);
    }
    let long = format!("{{\"level\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(ask(&open, "PUT", &[MARK], &long).status, 413);
    assert_eq!(ask(&open, "GET", &[], "").json(), json!({ "level": "info", "configured": "info", "set": null }));

    let closed = sidecar().setting("admin.token = \"s3cret\"").webhook("hook", &file).start();
    assert_eq!(ask(&closed, "GET", &[], "").status, 401);
    assert_eq!(ask(&closed, "PUT", &[MARK], body).status, 401);
    assert_eq!(
        ask(&closed, "PUT", &[("authorization", "Bearer s3cret")], r#"{"level": "warn"}"#).json()["set"],
        "warn"
    );
}
