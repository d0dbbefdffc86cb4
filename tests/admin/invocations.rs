//! `outrigger invocations`, against the real process.

use outrigger::cli::demo::answer::Answer;
use serde_json::{Value, json};

use super::{edit, hook, run, wait_delivered};
use crate::support::process::{Ended, Process};
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

const BODY: &str = "body = '{\"id\": \"{{data.id}}\", \"none\": {{data.none}}, \"secret\": \"${env:SECRET}\"}'\n\
                    [[response_validators]]\nname = \"ok\"\npath = \"$.ok\"\nexpected = [\"true\"]";

fn event(id: &str) -> String {
    json!({ "event_type": "RequestCreated", "data": { "id": "7", "friendly_id": id, "none": null } }).to_string()
}

fn post(sidecar: &Sidecar, id: &str) -> String {
    let answer = sidecar.post("/v1/events", &event(id));
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["events"][0]["id"].as_str().expect("an id").to_owned()
}

/// Fails unless a command ended with this code, and gives what it printed on both streams.
#[track_caller]
fn expect(ended: Ended, code: i32) -> (String, String) {
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    (ended.stdout, ended.stderr)
}

fn listed(sidecar: &Sidecar, filter: &[&str]) -> Vec<Value> {
    let (out, _) = expect(run(sidecar, &[&["invocations", "--json"], filter].concat()), 0);
    serde_json::from_str::<Value>(&out).expect("JSON")["invocations"].as_array().cloned().expect("a list")
}

fn id(one: &Value) -> &str {
    one["id"].as_str().expect("an id")
}

#[test]
fn what_was_attempted_is_listed_shown_kept_as_a_test_and_sent_again() {
    let answer = |status: u16, body: &'static str| Answer::from(status).body(body);
    let target = receiver()
        .respond(answer(200, "{\"ok\": true}"))
        .then(answer(200, "{\"ok\": \"S3CRET\"}"))
        .then(answer(400, "no"))
        .otherwise(answer(200, "{\"ok\": true}"))
        .start();
    let file = hook(&target.url("/${env:SECRET}"), &BODY.replace("$.ok", "$.data.ok"));
    let sidecar = sidecar().env("SECRET", "S3CRET").reaching(&target).webhook("hook", &file).start();
    let mut events = Vec::new();
    for (count, id) in ["AR-1", "AR-2", "AR-3"].into_iter().enumerate() {
        events.push(post(&sidecar, id));
        assert!(eventually(PATIENCE, || (listed(&sidecar, &[]).len() == count + 1).then_some(())).is_some());
    }

    let (table, _) = expect(run(&sidecar, &["invocations"]), 0);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let told: Vec<_> = rows.iter().skip(1).map(|row| (row[2], row[3], row[4], row[6], row[7])).collect();
    let line = |id, outcome, status| ("hook", "RequestCreated", id, outcome, status);
    let expected = [
        line("AR-3", "client_error", "400"),
        line("AR-2", "validation_failed", "200"),
        line("AR-1", "accepted", "200"),
    ];
    assert_eq!(told, expected, "{table}");
    assert!(!table.contains('\u{1b}'), "no colours but on a terminal: {table}");
    let coloured = expect(run(&sidecar, &["invocations", "--color", "always"]), 0).0;
    assert!(
        coloured.contains("\u{1b}[31mclient_error\u{1b}[0m") && coloured.contains("\u{1b}[32maccepted"),
        "{coloured}"
    );
    let filters: [(&[&str], usize); 7] = [
        (&["--outcome", "failed"], 2),
        (&["--reason", "client_error"], 1),
        (&["--event", &events[1]], 1),
        (&["--event", &format!("{}_hook", events[0]), "--webhook", "hook"], 1),
        (&["--since", "1h", "--all"], 3),
        (&["--until", "1h"], 0),
        (&["--limit", "2"], 2),
    ];
    for (filter, count) in filters {
        assert_eq!(listed(&sidecar, filter).len(), count, "{filter:?}");
    }
    for (limit, more) in [("2", true), ("3", false), ("4", false)] {
        let (_, told) = expect(run(&sidecar, &["invocations", "--limit", limit]), 0);
        assert_eq!(told.contains("--limit COUNT or --all"), more, "{limit}: {told}");
    }
    let (none, _) = expect(run(&sidecar, &["invocations", "--until", "1h"]), 0);
    assert_eq!(none, "no invocation matches");
    let (_, err) = expect(run(&sidecar, &["invocations", "--webhook", "hok"]), 1);
    assert!(err.contains("did you mean `hook`?"), "{err}");

    let all = listed(&sidecar, &[]);
    let (shown, _) = expect(run(&sidecar, &["invocations", "show", id(&all[1])]), 0);
    for words in [
        "validation_failed",
        "✗ ok: $.data.ok expected \"true\", found",
        "\"secret\": \"***\"",
        "it is a dead letter",
        "AR-2",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("S3CRET"), "{shown}");
    let (_, err) = expect(run(&sidecar, &["invocations", "show", "inv_0000000000000001"]), 1);
    assert!(err.contains("no invocation of this id"), "{err}");
    expect(run(&sidecar, &["invocations", "show", "inv_1"]), 2);

    // Each of them as a test, in the file that made them.
    let blocks =
        all.iter().map(|one| expect(run(&sidecar, &["invocations", "show", id(one), "--as-test"]), 0).0 + "\n");
    sidecar.written().write_webhook("hook", &format!("{file}\n{}", blocks.collect::<String>()));
    let (checked, _) = expect(sidecar.written().run(&["check"]), 0);
    assert!(checked.contains("3 tests passed, 0 failed"), "{checked}");

    let (resent, _) = expect(run(&sidecar, &["invocations", "resend", id(&all[0])]), 0);
    assert_eq!(resent, format!("resent {}_hook", events[2]));
    wait_delivered(&sidecar, "hook", 2.0);
    let ids: Vec<String> = target.recorded().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!(ids[3], ids[2]);
}

#[test]
fn a_body_in_which_a_secret_is_encoded_passes_as_a_test_too() {
    let target = receiver().start();
    let secret = "\u{e4} &=\"\\%\u{2028}";
    let file = |content_type: &str, body: &str| {
        let auth = "auth.basic = { username = 'a', password = '${env:S}' }";
        hook(&target.url("/{{data.id}}"), &format!("content_type = {content_type:?}\nbody = '{body}'\n{auth}"))
    };
    let nested = r#"{"s": "${env:S}", "nested": "{\"s\": \"${env:S} {{data.friendly_id}}\"}"}"#;
    let files = [
        ("form", file("application/x-www-form-urlencoded", "id={{data.id}}&secret=${env:S}")),
        ("json", file("application/json", nested)),
        ("text", file("text/plain", "${env:S} {{data.friendly_id}}")),
    ];
    let mut builder = sidecar().env("S", secret).reaching(&target);
    for (name, file) in &files {
        builder = builder.webhook(name, file);
    }
    let sidecar = builder.start();
    post(&sidecar, "AR-'''\r\n\u{1b}");
    let all = || (listed(&sidecar, &["--outcome", "accepted"]).len() == files.len()).then_some(());
    assert!(eventually(PATIENCE, all).is_some(), "{:?}", listed(&sidecar, &[]));
    for (name, file) in &files {
        let one = listed(&sidecar, &["--webhook", name]).remove(0);
        let (block, _) = expect(run(&sidecar, &["invocations", "show", id(&one), "--as-test"]), 0);
        sidecar.written().write_webhook(name, &format!("{file}\n{block}\n"));
    }
    let checked = sidecar.written().run(&["check"]);
    assert!(checked.stdout.contains("3 tests passed, 0 failed"), "{}{}", checked.stdout, checked.stderr);
}

#[test]
fn a_tail_tells_each_once_and_goes_on_after_a_restart() {
    let target = receiver().start();
    let mut sidecar = sidecar()
        .setting("admin.listen = \"unix:admin.sock\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    post(&sidecar, "AR-1");
    wait_delivered(&sidecar, "hook", 1.0);
    let mut tails = [&["invocations", "--follow"][..], &["invocations", "-f", "--json"]]
        .map(|words| Process::spawn(&mut sidecar.written().command(words)));
    let wait = |tails: &[Process], words: &str| {
        for tail in tails {
            let seen = eventually(PATIENCE, || tail.lines().iter().any(|line| line.contains(words)).then_some(()));
            assert!(seen.is_some(), "{words}: {:?}", tail.lines());
        }
    };
    wait(&tails, "AR-1");
    for id in ["AR-2", "AR-3"] {
        post(&sidecar, id);
    }
    wait(&tails, "AR-3");
    sidecar.kill9();
    wait(&tails, "does not answer");
    sidecar.restart();
    wait(&tails, "answers again");
    post(&sidecar, "AR-4");
    wait(&tails, "AR-4");
    for tail in &mut tails {
        tail.signal("INT");
        assert_eq!(tail.wait(PATIENCE).code(), Some(0));
        let told: Vec<String> = tail
            .lines()
            .iter()
            .filter_map(|line| {
                line.split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
                    .find(|word| word.starts_with("AR-"))
            })
            .map(str::to_owned)
            .collect();
        assert_eq!(told, ["AR-1", "AR-2", "AR-3", "AR-4"], "{:?}", tail.lines());
    }
}

#[test]
fn a_tail_says_where_more_came_than_was_kept_and_where_nothing_is() {
    let target = receiver().start();
    let sidecar = sidecar()
        .setting("history.per_webhook = 5")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let admin = format!("http://{}", sidecar.address("admin"));
    let mut tail = Process::spawn(&mut sidecar.written().command(&["invocations", "--follow", "--admin", &admin]));
    let wait = |tail: &Process, words: &str| {
        let seen = eventually(PATIENCE, || tail.lines().iter().any(|line| line.contains(words)).then_some(()));
        assert!(seen.is_some(), "{words}: {:?}", tail.lines());
    };
    post(&sidecar, "AR-0");
    wait(&tail, "AR-0");
    let lines: Vec<String> = (1..=200).map(|number| event(&format!("AR-{number}"))).collect();
    let lines = lines.join("\n");
    let answer = sidecar.post_with("/v1/events", &[("content-type", "application/x-ndjson")], lines.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
    wait(&tail, "AR-200 ");
    wait(&tail, "some may not be told (`history.per_webhook`");
    tail.signal("INT");
    assert_eq!(tail.wait(PATIENCE).code(), Some(0));

    edit(&sidecar, |written| {
        let file = std::fs::read_to_string(written.config().join("outrigger.toml")).expect("it is there");
        written.replace("outrigger.toml", &file.replace("per_webhook = 5", "per_webhook = 0"));
    });
    assert!(eventually(PATIENCE, || listed(&sidecar, &[]).is_empty().then_some(())).is_some());
    let (table, note) = expect(run(&sidecar, &["invocations"]), 0);
    assert_eq!(
        (table.as_str(), note.as_str()),
        ("no invocations", "history.per_webhook is 0: no invocations are kept")
    );
}

#[test]
fn failed_attempts_of_a_stopped_sidecar_are_in_its_spool() {
    let target = receiver().respond(200).otherwise(400).start();
    let mut sidecar = sidecar()
        .setting("admin.listen = \"unix:admin.sock\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let nobody = sidecar.written().run(&["invocations", "--admin", "unix:nobody.sock"]);
    assert!(expect(nobody, 1).1.contains("nothing listens on unix:nobody.sock"));
    for id in ["AR-1", "AR-2"] {
        post(&sidecar, id);
    }
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    assert!(sidecar.terminate().success());
    let run = |words: &[&str]| sidecar.written().run(&[&["invocations"], words].concat());
    let (table, note) = expect(run(&["--outcome", "failed"]), 0);
    assert!(table.lines().count() == 2 && table.contains("client_error"), "{table}");
    assert!(note.contains("this is its spool in ") && note.contains("failed attempts"), "{note}");
    let id = table.split_whitespace().find(|word| word.starts_with("inv_")).expect("an id").to_owned();
    let (shown, _) = expect(run(&["show", &id]), 0);
    assert!(shown.contains("it is a dead letter"), "{shown}");
    let (block, _) = expect(run(&["show", &id, "--as-test"]), 0);
    let file = hook(&target.url("/"), "");
    sidecar.written().write_webhook("hook", &format!("{file}\n{block}\n"));
    let (checked, _) = expect(sidecar.written().run(&["check"]), 0);
    assert!(checked.contains("1 test passed, 0 failed"), "{checked}");
    let (_, err) = expect(run(&["resend", &id]), 1);
    assert!(err.contains("outrigger dead-letters replay"), "{err}");
    let (_, err) = expect(run(&["--follow"]), 1);
    assert!(err.contains("nothing comes until it runs"), "{err}");
}
