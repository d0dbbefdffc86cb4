//! The answers of the API.

use serde_json::{Value, json};

use super::{MARK, ask, bury, edit, get, hook, listed, post, remove, run};
use crate::bad_input::assert_problem;
use crate::support::{receiver, sidecar};

#[test]
fn webhooks_are_told_with_their_definition_and_what_waits() {
    let (target, gone) = (receiver().otherwise(400).start(), receiver().start());
    let dead = "title = \"A title\"\ntriggers = [\"RequestCreated\", \"Manual\"]\n[limits]\nconcurrency = 3\nrate = \"10/s\"\nburst = 20";
    let sidecar = sidecar()
        .setting("config.removal_grace = \"0s\"")
        .reaching(&target)
        .reaching(&gone)
        .webhook("dead", &hook(&target.url("/secret/path"), dead))
        .webhook("old", &hook(&target.url("/old"), ""))
        .webhook("asleep", &hook(&target.url("/asleep"), "status = \"inactive\"\nkind = \"audit\""))
        .start();
    bury(&sidecar, "dead", 2);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "old")], 2.0);
    edit(&sidecar, |written| remove(written, "old"));

    let mut answer = get(&sidecar, "/api/v1/webhooks");
    let text = answer.to_string();
    assert!(!text.contains("secret/path"), "what is behind the host is secret: {text}");
    let stats = |row: &mut Value| row.as_object_mut().expect("an object").remove("stats").expect("in every row");
    let rows: Vec<Value> = answer["webhooks"].as_array_mut().expect("a list").iter_mut().map(stats).collect();
    assert_eq!((&rows[1]["failed"], &rows[0]["failed"]), (&json!(2), &json!(0)));
    let expected = json!([
        {
            "name": "asleep", "title": null, "status": "inactive", "state": "inactive", "file": "webhooks/asleep.toml", "kind": "audit",
            "triggers": null, "host": "127.0.0.1", "ordering": "none",
            "limits": { "concurrency": 8, "rate": null, "response_bytes": 65536 }, "paused": null, "pending": 0,
            "oldest_pending_seconds": null, "dead_letters": 0,
        },
        {
            "name": "dead", "title": "A title", "status": "active", "state": "failing", "file": "webhooks/dead.toml", "kind": "request",
            "triggers": ["Manual", "RequestCreated"], "host": "127.0.0.1", "ordering": answer["webhooks"][1]["ordering"],
            "limits": { "concurrency": 3, "rate": { "per_second": 10.0, "burst": 20 }, "response_bytes": 65536 }, "paused": null,
            "pending": 0, "oldest_pending_seconds": null, "dead_letters": 2,
        },
        {
            "name": "old", "status": "removed", "state": "removed", "pending": 0, "oldest_pending_seconds": null, "dead_letters": 2,
        },
    ]);
    assert_eq!(answer["webhooks"], expected);
    assert_eq!(post(&sidecar, "/api/v1/webhooks/dead/resume", &json!({})), json!({ "resumed": false }));
}

#[test]
fn what_is_pending_is_told_with_its_age() {
    let target = receiver().otherwise(500).start();
    let file = hook(&target.url("/"), "retry.initial = \"1m\"\nretry.max_interval = \"1m\"");
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    assert_eq!(sidecar.post("/v1/events", "{\"event_type\":\"RequestCreated\"}").status, 202);
    target.wait(1);
    let webhook = get(&sidecar, "/api/v1/webhooks")["webhooks"][0].take();
    assert_eq!(webhook["pending"], 1);
    assert!(webhook["oldest_pending_seconds"].as_u64().is_some_and(|age| age < 20), "{webhook}");
}

#[test]
fn dead_letters_are_paged_filtered_and_shown_one_by_one() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("a", &hook(&target.url("/a"), ""))
        .webhook("b", &hook(&target.url("/b"), "body = '{\"x\": \"{{data.missing}}\"}'\nstrict = true"))
        .start();
    bury(&sidecar, "a", 5);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "b")], 5.0);

    // Every letter is on one page, in the order that was asked for.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&sidecar, &format!("/api/v1/dead-letters?limit=3&order=oldest{cursor}"));
        let letters = page["dead_letters"].as_array().cloned().expect("a list");
        assert!(letters.len() <= 3, "{page}");
        seen.extend(letters.iter().map(|letter| letter["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut newest = listed(&sidecar, "");
    assert_eq!(newest.len(), 10);
    newest.reverse();
    assert_eq!(seen, newest);

    let since = "2026-01-01T00:00:00%2B01:00";
    for (query, count) in [
        ("webhook=a", 5),
        ("reason=template_error", 5),
        ("reason=template_error&webhook=a", 0),
        ("reason=expired", 0),
        ("since=1h", 10),
        ("since=0s", 0),
        (&format!("since={since}"), 10),
        ("since=2026-01-01T00:00:00+01:00&webhook=b", 5),
        ("since=2999-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(listed(&sidecar, query).len(), count, "{query}");
    }

    let id = listed(&sidecar, "webhook=a&limit=1").remove(0);
    let shown = get(&sidecar, &format!("/api/v1/dead-letters/{id}"));
    let payload = shown["payload"].clone();
    assert_eq!(payload["event_type"], "RequestCreated");
    let expected = json!({
        "id": id, "webhook": "a", "event_id": id.strip_suffix("_a"), "kind": "request", "event_type": "RequestCreated",
        "received_at": shown["received_at"], "died_at": shown["died_at"], "reason": "client_error", "attempts": 1,
        "last": { "reason": "client_error", "status": 400, "detail": shown["last"]["detail"] }, "payload": payload,
    });
    assert_eq!(shown, expected);
    let head = ask(&sidecar, "HEAD", "/api/v1/dead-letters", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn nonsense_is_refused_by_name_with_what_is_possible() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("slack", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "slack", 1);
    let id = listed(&sidecar, "").remove(0);

    let gets: &[(&str, u16, &[&str])] = &[
        (
            "/api/v1/dead-letters?reason=clint_error",
            400,
            &["`reason`", "`clint_error`", "did you mean `client_error`?"],
        ),
        ("/api/v1/dead-letters?webhook=slakc", 400, &["`webhook`", "`slakc`", "did you mean `slack`?"]),
        ("/api/v1/dead-letters?since=yesterday", 400, &["`since`", "`yesterday`", "2h"]),
        ("/api/v1/dead-letters?limit=0", 400, &["`limit`", "1 to 1000"]),
        ("/api/v1/dead-letters?limit=1001", 400, &["`limit`", "`1001`"]),
        ("/api/v1/dead-letters?limit=-1", 400, &["`limit`"]),
        ("/api/v1/dead-letters?order=up", 400, &["`order`", "newest or oldest"]),
        ("/api/v1/dead-letters?cursor=x", 400, &["`cursor`", "leave it out"]),
        ("/api/v1/dead-letters?limit=1&limit=2", 400, &["`limit`", "once"]),
        ("/api/v1/dead-letters?webhok=a", 400, &["`parameter`", "`webhok`", "did you mean `webhook`?", "cursor"]),
        ("/api/v1/dead-letters?webhook", 400, &["`webhook`", "``"]),
        ("/api/v1/dead-letters?webhook=%ff%00", 400, &["`webhook`"]),
        ("/api/v1/webhooks?name=slack", 400, &["no parameters"]),
        ("/api/v1/dead-letters/nonsense", 400, &["`id`", "`nonsense`", "evt_"]),
        ("/api/v1/dead-letters/evt_07070707070707070707070707070707_slack", 404, &["no dead letter of this id"]),
        ("/api/v1", 404, &["GET /api/v1/webhooks"]),
        ("/nothing", 404, &["/api/v1/dead-letters"]),
    ];
    for (path, status, says) in gets {
        assert_problem(path, &ask(&sidecar, "GET", path, &[], ""), *status, says);
    }

    let many = json!({ "ids": vec![id.as_str(); 101] }).to_string();
    let posts: &[(&str, &[&str])] = &[
        ("", &["`ids`", "\"all\": true"]),
        ("{}", &["nothing says", "`webhook`", "\"all\": true"]),
        ("{\"dry_run\": true}", &["nothing says"]),
        ("{\"all\": false}", &["nothing says"]),
        ("[]", &["no JSON object"]),
        ("{\"all\":", &["no JSON object"]),
        ("{\"all\": \"yes\"}", &["`all`", "`\"yes\"`", "true or false"]),
        ("{\"reason\": \"clint_error\"}", &["`reason`", "`clint_error`", "client_error"]),
        ("{\"webhook\": 7}", &["`webhook`", "`7`", "text"]),
        ("{\"webhook\": \"slac\"}", &["`webhook`", "did you mean `slack`?"]),
        ("{\"since\": \"soon\"}", &["`since`", "2h"]),
        ("{\"reasons\": \"expired\"}", &["`member`", "`reasons`", "did you mean `reason`?"]),
        ("{\"ids\": []}", &["`ids`", "1 to 100"]),
        ("{\"ids\": \"evt\"}", &["`ids`", "list"]),
        ("{\"ids\": [7]}", &["`ids`"]),
        ("{\"ids\": [\"evt_x\"]}", &["`ids[0]`", "`evt_x`"]),
        (&many, &["`ids`", "100"]),
        ("{\"ids\": [\"evt_x\"], \"all\": true}", &["not both"]),
        ("{\"ids\": [\"evt_x\"], \"webhook\": \"slack\"}", &["not both"]),
        ("{\"all\": true, \"cursor\": \"1.x\"}", &["`cursor`", "leave it out"]),
        // What a script did not find out must not choose more than it was to.
        ("{\"reason\": \"client_error\", \"webhook\": null}", &["`webhook`", "`null`", "text"]),
        ("{\"all\": true, \"dry_run\": null}", &["`dry_run`", "true or false"]),
    ];
    for (body, says) in posts {
        for path in ["/api/v1/dead-letters/replay", "/api/v1/dead-letters/drop"] {
            assert_problem(body, &ask(&sidecar, "POST", path, &[MARK], body), 400, says);
        }
    }
    let large = ask(&sidecar, "POST", "/api/v1/dead-letters/drop", &[MARK], &" ".repeat(70_000));
    assert_problem("a large body", &large, 413, &["fewer ids"]);
    let unknown = ask(&sidecar, "POST", "/api/v1/webhooks/slac/resume", &[MARK], "");
    assert_problem("resume", &unknown, 404, &["did you mean `slack`?"]);

    for (method, path, allow) in [
        ("POST", "/api/v1/webhooks", "GET, HEAD"),
        ("DELETE", "/api/v1/dead-letters", "GET, HEAD"),
        ("PUT", "/api/v1/dead-letters/x", "GET, HEAD"),
        ("GET", "/api/v1/dead-letters/replay", "POST"),
        ("GET", "/api/v1/dead-letters/drop", "POST"),
        ("GET", "/api/v1/webhooks/slack/resume", "POST"),
    ] {
        let answer = ask(&sidecar, method, path, &[MARK], "");
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {path}");
    }
    assert_eq!(listed(&sidecar, ""), [id], "nothing of that did anything");
    assert_eq!(target.count(), 1);
}

#[test]
fn ids_are_replayed_or_dropped_and_what_is_none_is_told() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", 3);
    let ids = listed(&sidecar, "order=oldest");
    let stranger = "evt_07070707070707070707070707070707_hook";
    let both = json!({ "ids": [ids[0], ids[0], stranger] });

    let mut dry = both.clone();
    dry["dry_run"] = Value::Bool(true);
    let would = post(&sidecar, "/api/v1/dead-letters/drop", &dry);
    let nothing =
        json!({ "matched": 1, "dropped": 0, "skipped": {}, "missing": [stranger], "cursor": null, "run": null });
    assert_eq!(would, nothing);
    assert_eq!(listed(&sidecar, "").len(), 3);

    let dropped = post(&sidecar, "/api/v1/dead-letters/drop", &both);
    assert_eq!(
        dropped,
        json!({ "matched": 1, "dropped": 1, "skipped": {}, "missing": [stranger], "cursor": null, "run": null })
    );
    assert_eq!(listed(&sidecar, "order=oldest"), ids[1..]);

    target.otherwise(200.into());
    let replayed = post(&sidecar, "/api/v1/dead-letters/replay", &json!({ "ids": [ids[1]] }));
    assert_eq!(
        replayed,
        json!({ "matched": 1, "replayed": 1, "skipped": {}, "missing": [], "cursor": null, "run": null })
    );
    let seen = target.wait(4);
    assert_eq!(seen[3].header("webhook-id"), ids[1]);
    let again = post(&sidecar, "/api/v1/dead-letters/replay", &json!({ "ids": [ids[1]] }));
    assert_eq!(again["missing"], json!([ids[1]]), "{again}");
    assert_eq!(listed(&sidecar, ""), ids[2..]);
}

#[test]
fn a_token_goes_live_and_another_address_takes_a_restart() {
    let sidecar = sidecar().webhook("hook", &hook("https://example.com/", "")).start();
    get(&sidecar, "/api/v1/webhooks");
    edit(&sidecar, |written| {
        let file = written.config().join("outrigger.toml");
        let text = std::fs::read_to_string(&file).expect("it was written");
        let text =
            text.replace("admin.listen = \"127.0.0.1:0\"", "admin.listen = \"127.0.0.2:0\"\nadmin.token = \"s3cret\"");
        std::fs::write(file, text).expect("a write");
    });
    assert!(sidecar.wait_log("takes a restart").contains("admin.listen"));
    assert_eq!(ask(&sidecar, "GET", "/api/v1/webhooks", &[], "").status, 401);
    assert_eq!(ask(&sidecar, "GET", "/api/v1/webhooks", &[("authorization", "Bearer s3cret")], "").status, 200);
}

#[test]
fn a_webhook_whose_file_is_faulty_is_told_and_what_is_replayed_for_it_is_held() {
    let target = receiver().otherwise(400).start();
    let file = hook(&target.url("/"), "");
    let mut sidecar = sidecar()
        .setting("config.on_invalid_webhook = \"quarantine\"")
        .reaching(&target)
        .webhook("hook", &file)
        .webhook("other", &hook(&target.url("/other"), "kind = \"audit\""))
        .start();
    bury(&sidecar, "hook", 1);
    sidecar.written().write_webhook("hook", "url = ");
    sidecar.restart();
    let mut told = get(&sidecar, "/api/v1/webhooks")["webhooks"][0].take();
    assert_eq!(told.as_object_mut().expect("an object").remove("stats").expect("of this process")["failed"], 0);
    let expected = json!({ "name": "hook", "status": "faulty", "state": "faulty", "pending": 0, "oldest_pending_seconds": null, "dead_letters": 1 });
    assert_eq!(told, expected);
    let replayed = post(&sidecar, "/api/v1/dead-letters/replay", &json!({ "webhook": "hook" }));
    assert_eq!((&replayed["replayed"], &replayed["skipped"]), (&json!(1), &json!({})));
    assert_eq!(get(&sidecar, "/api/v1/webhooks")["webhooks"][0]["pending"], 1);
    target.otherwise(200.into());
    edit(&sidecar, |written| written.write_webhook("hook", &file));
    super::wait_delivered(&sidecar, "hook", 1.0);
    assert_eq!(target.count(), 2);
}

#[test]
fn what_a_dry_run_counted_is_dropped_without_what_died_after_it() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", 3);
    let counted =
        post(&sidecar, "/api/v1/dead-letters/drop", &json!({ "webhook": "hook", "since": "1h", "dry_run": true }));
    assert_eq!((&counted["matched"], &counted["cursor"]), (&json!(3), &Value::Null));
    bury(&sidecar, "hook", 2);
    let body = json!({ "webhook": "hook", "cursor": counted["run"] });
    let dropped = post(&sidecar, "/api/v1/dead-letters/drop", &body);
    assert_eq!((&dropped["dropped"], &dropped["cursor"]), (&json!(3), &Value::Null));
    assert_eq!(listed(&sidecar, "").len(), 2);
}

#[test]
fn old_letters_are_listed_and_dropped_alone() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", 1);
    let old = listed(&sidecar, "");
    bury(&sidecar, "hook", 2);
    let letters = get(&sidecar, "/api/v1/dead-letters?order=oldest");
    let until = &letters["dead_letters"][1]["died_at"];
    assert_eq!(listed(&sidecar, &format!("until={}", until.as_str().expect("a time"))), old, "{letters}");
    assert!(listed(&sidecar, "until=1h").is_empty());
    let counted = post(&sidecar, "/api/v1/dead-letters/drop", &json!({ "until": until, "dry_run": true }));
    assert_eq!(counted["matched"], 1, "{counted}");
    // What was meant at first is meant by each step that goes on from it.
    let body = json!({ "until": "0s", "cursor": counted["run"] });
    let dropped = post(&sidecar, "/api/v1/dead-letters/drop", &body);
    assert_eq!((&dropped["dropped"], &dropped["cursor"]), (&json!(1), &Value::Null));
    assert_eq!(listed(&sidecar, "").len(), 2);
    let ended = run(&sidecar, &["dead-letters", "drop", "--until", "1h", "--yes"]);
    assert_eq!((ended.status.code(), listed(&sidecar, "").len()), (Some(1), 2), "{ended:?}");
    let ended = run(&sidecar, &["dead-letters", "drop", "--until", "0s", "--yes"]);
    assert_eq!((ended.status.code(), listed(&sidecar, "").len()), (Some(0), 0), "{ended:?}");
}

#[test]
fn an_end_of_a_pause_by_hand_is_told_once() {
    let target = receiver().otherwise(401).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    assert_eq!(sidecar.post("/v1/events", "{\"event_type\":\"RequestCreated\"}").status, 202);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "hook"), ("cause", "auth_error")], 1.0);
    let webhook = get(&sidecar, "/api/v1/webhooks")["webhooks"][0].take();
    assert_eq!(
        (&webhook["paused"]["cause"], &webhook["paused"]["last"]["status"]),
        (&json!("auth_error"), &json!(401))
    );
    target.otherwise(200.into());
    assert_eq!(post(&sidecar, "/api/v1/webhooks/hook/resume", &json!({})), json!({ "resumed": true }));
    super::wait_delivered(&sidecar, "hook", 1.0);
    let log = sidecar.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("webhook.resumed")).collect();
    assert!(matches!(told[..], [one] if one.contains("\"by\":\"resume\"")), "{told:?}");
}
