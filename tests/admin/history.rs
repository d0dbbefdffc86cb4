//! Invocations, what became of events, and resending: as the API tells it.

use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use serde_json::{Value, json};

use super::{MARK, ask, edit, get, hook, post, wait_delivered};
use crate::bad_input::assert_problem;
use crate::support::http::HttpAnswer;
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

const INVOCATIONS: &str = "/api/v1/invocations";

fn event(id: &str) -> String {
    json!({ "event_type": "RequestCreated", "data": { "id": format!("id-{id}"), "friendly_id": id, "status": "Pending" } }).to_string()
}

#[track_caller]
fn take(sidecar: &Sidecar, id: &str) {
    let answer = sidecar.post("/v1/events", &event(id));
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn list(sidecar: &Sidecar, query: &str) -> Vec<Value> {
    get(sidecar, &format!("{INVOCATIONS}?{query}"))["invocations"].as_array().cloned().expect("a list")
}

#[track_caller]
fn wait_for(mut seen: impl FnMut() -> bool) {
    assert!(eventually(PATIENCE, || seen().then_some(())).is_some(), "it never came");
}

#[track_caller]
fn assert_refused(answer: &HttpAnswer, status: u16, says: &str) {
    assert_problem(says, answer, status, &[says]);
}

/// Waits until a list has so many invocations.
#[track_caller]
fn wait_list(sidecar: &Sidecar, query: &str, count: usize) -> Vec<Value> {
    wait_for(|| list(sidecar, query).len() >= count);
    let listed = list(sidecar, query);
    assert_eq!(listed.len(), count, "{listed:?}");
    listed
}

fn show(sidecar: &Sidecar, one: &Value) -> Value {
    get(sidecar, &format!("{INVOCATIONS}/{}", one["id"].as_str().expect("an id")))
}

fn resend(sidecar: &Sidecar, one: &Value) -> HttpAnswer {
    let path = format!("{INVOCATIONS}/{}/resend", one["id"].as_str().expect("an id"));
    ask(sidecar, "POST", &path, &[MARK], "")
}

/// The story of the one event that is found, and its part about a webhook.
fn story(sidecar: &Sidecar, text: &str, webhook: &str) -> (Value, Value) {
    let found = get(sidecar, &format!("/api/v1/events?find={text}"));
    let [story] = found["events"].as_array().expect("a list").as_slice() else { panic!("{found}") };
    let part = story["webhooks"].as_array().expect("a list").iter().find(|part| part["webhook"] == webhook);
    (story.clone(), part.cloned().unwrap_or_else(|| panic!("nothing of {webhook}: {story}")))
}

#[test]
fn an_invocation_shows_what_was_sent_and_what_came_back_and_what_that_was_worth() {
    let target = receiver().otherwise(Answer::json(r#"{"ok": false, "error": "channel_not_found"}"#)).start();
    let file = "title = 'x'\nbody = '{\"text\": \"{{data.friendly_id}} {{data.nothing}}\"}'\n[headers]\nx-plain = \"{{data.status}}\"\n\
                [auth]\nbearer = { token = \"canary-of-a-token\" }\n\
                [[response_validators]]\nname = \"ok\"\npath = \"$.data.ok\"\nexpected = [\"true\"]\n\
                [[response_validators]]\npath = \"$.status\"\nrejected = [204]\n";
    let sidecar = sidecar().reaching(&target).webhook("chat", &hook(&target.url("/canary-of-a-path"), file)).start();
    take(&sidecar, "AR-1");
    let [line] = <[Value; 1]>::try_from(wait_list(&sidecar, "webhook=chat", 1)).expect("one");
    let expected = [
        ("webhook", json!("chat")),
        ("kind", json!("request")),
        ("event_type", json!("RequestCreated")),
        ("request_id", json!("AR-1")),
        ("attempt", json!(1)),
        ("outcome", json!("failed")),
        ("reason", json!("validation_failed")),
        ("detail", json!("the response did not pass `ok`")),
        ("status", json!(200)),
        ("then", json!("dead")),
        ("retry_at", Value::Null),
        ("probe", json!(false)),
        ("test", json!(false)),
    ];
    for (member, value) in &expected {
        assert_eq!(&line[member], value, "{member}: {line}");
    }

    let shown = show(&sidecar, &line);
    assert!(expected.iter().all(|(member, value)| &shown[member] == value), "{shown}");
    let text = shown.to_string();
    assert!(!text.contains("canary"), "{text}");
    let request = &shown["request"];
    assert_eq!(request["method"], "POST");
    assert_eq!(request["url"], format!("https://127.0.0.1:{}/***", target.port()));
    assert_eq!((&request["body"], &request["truncated"]), (&json!("{\"text\": \"AR-1 \"}"), &json!(false)));
    let header = |part: &Value, name: &str| {
        let headers = part["headers"].as_array().expect("a list").clone();
        headers.iter().find(|header| header[0] == name).map(|header| header[1].clone())
    };
    assert_eq!(header(request, "x-plain"), Some(json!("Pending")));
    assert_eq!(header(request, "authorization"), Some(json!("***")));
    assert_eq!(header(request, "webhook-id"), Some(shown["delivery_id"].clone()));
    let response = &shown["response"];
    assert_eq!((&response["status"], &response["truncated"]), (&json!(200), &json!(false)));
    assert_eq!(response["body"], r#"{"ok": false, "error": "channel_not_found"}"#);
    let validators = json!([
        { "name": "ok", "path": "$.data.ok", "rule": "expected", "values": ["true"], "passed": false, "found": "false" },
        { "name": "$.status", "path": "$.status", "rule": "rejected", "values": [204], "passed": true, "found": "200" },
    ]);
    assert_eq!(shown["validators"], validators);
    assert_eq!(shown["missing"], json!(["data.nothing"]));
    assert_eq!(
        (&shown["generation"], &shown["kept"], &shown["resendable"]),
        (&json!(1), &json!("memory"), &json!(true))
    );
    assert_eq!(shown["event"]["data"]["friendly_id"], "AR-1");
    assert!(shown["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{shown}");
    assert_eq!(shown["reused_connection"], false);
    let times = &shown["timings_ms"];
    let time = |name: &str| times[name].as_f64().unwrap_or_else(|| panic!("{name}: {times}"));
    let opening = time("connect") + time("tls") + time("dns");
    assert!(opening > 0.0 && opening <= time("first_byte") && time("first_byte") <= time("total"), "{times}");
    assert!(time("render") <= time("total") && time("queued") >= 0.0, "{times}");

    // The next goes out on the same connection.
    take(&sidecar, "AR-2");
    let next = show(&sidecar, &wait_list(&sidecar, "webhook=chat", 2)[0]);
    assert_eq!((&next["reused_connection"], &next["timings_ms"]["tls"]), (&json!(true), &Value::Null));
}

#[test]
fn invocations_are_filtered_paged_and_followed() {
    let (good, bad) = (receiver().start(), receiver().otherwise(400).start());
    let sidecar = sidecar()
        .reaching(&good)
        .reaching(&bad)
        .webhook("good", &hook(&good.url("/"), ""))
        .webhook("bad", &hook(&bad.url("/"), ""))
        .start();
    for number in 0..6 {
        take(&sidecar, &format!("AR-{number}"));
    }
    wait_delivered(&sidecar, "good", 6.0);
    let all = wait_list(&sidecar, "", 12);
    let ids: Vec<&str> = all.iter().map(|one| one["id"].as_str().expect("an id")).collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "the latest first: {ids:?}");
    assert_eq!(list(&sidecar, "outcome=accepted").len(), 6);
    assert_eq!(list(&sidecar, "outcome=failed&webhook=good").len(), 0);
    assert_eq!(list(&sidecar, "reason=client_error").len(), 6);
    assert_eq!(list(&sidecar, &format!("event={}", all[0]["event_id"].as_str().expect("an id"))).len(), 2);
    assert_eq!((list(&sidecar, "since=1h").len(), list(&sidecar, "until=1h").len()), (12, 0));

    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&sidecar, &format!("{INVOCATIONS}?limit=5{cursor}"));
        assert_eq!(page["newest"], ids[0], "{page}");
        paged.extend(page["invocations"].as_array().cloned().expect("a list"));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    assert_eq!(list(&sidecar, &format!("after={}", ids[3])), all[..3]);
    assert_eq!(list(&sidecar, &format!("after={}", ids[0])).len(), 0);

    for (query, said) in [
        ("webhook=god", "did you mean `good`"),
        ("outcome=maybe", "accepted or failed"),
        ("reason=client", "client_error"),
        ("event=evt_1", "32 hexadecimal digits"),
        ("limit=501", "from 1 to 500"),
        ("limit=0", "from 1 to 500"),
        ("cursor=x", "inv_"),
        ("after=inv_1", "inv_"),
        ("since=yesterday", "2h"),
        ("webook=good", "did you mean `webhook`"),
        ("limit=1&limit=2", "before"),
    ] {
        let answer = ask(&sidecar, "GET", &format!("{INVOCATIONS}?{query}"), &[], "");
        assert_refused(&answer, 400, said);
    }
    assert_refused(&ask(&sidecar, "GET", &format!("{INVOCATIONS}/inv_0000000000000001"), &[], ""), 404, "per_webhook");
    assert_refused(&ask(&sidecar, "GET", &format!("{INVOCATIONS}/1"), &[], ""), 400, "inv_");
}

#[test]
fn rows_tell_how_attempts_went_and_changes_are_told_by_cursor() {
    let target = receiver().respond(200).otherwise(500).start();
    let file = "retry.initial = \"1m\"\nretry.max_interval = \"1m\"";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), file))
        .webhook("quiet", &hook(&target.url("/"), "kind = \"audit\""))
        .start();
    let first = get(&sidecar, "/api/v1/webhooks");
    let row = |rows: &Value, at: usize| rows["webhooks"][at].clone();
    assert_eq!((&row(&first, 0)["state"], &row(&first, 0)["file"]), (&json!("active"), &json!("webhooks/hook.toml")));
    let none = &row(&first, 0)["stats"];
    assert_eq!((&none["accepted"], &none["p99_ms"], &none["last_success"]), (&json!(0), &Value::Null, &Value::Null));
    assert_eq!(none["minutes"]["accepted"].as_array().map(Vec::len), Some(60));

    take(&sidecar, "AR-1");
    wait_delivered(&sidecar, "hook", 1.0);
    take(&sidecar, "AR-2");
    wait_list(&sidecar, "", 2);
    let cursor = first["cursor"].as_str().expect("a cursor");
    let mut changes = Value::Null;
    wait_for(|| {
        changes = get(&sidecar, &format!("/api/v1/changes?cursor={cursor}"));
        row(&changes, 0)["stats"]["failed"] == 1
    });
    assert_eq!(changes["reset"], false);
    let changed = row(&changes, 0);
    assert_eq!((&changed["name"], &changed["state"]), (&json!("hook"), &json!("failing")), "{changes}");
    let stats = &changed["stats"];
    assert_eq!((&stats["accepted"], &stats["last_failure"]["reason"]), (&json!(1), &json!("server_error")));
    assert!(stats["p50_ms"].as_f64().is_some_and(|p50| p50 > 0.0) && stats["last_success"].is_string(), "{stats}");
    let minutes: i64 = stats["minutes"]["failed"].as_array().expect("a list").iter().filter_map(Value::as_i64).sum();
    assert_eq!(minutes, 1);
    for cursor in ["", "?cursor=1-1"] {
        let all = get(&sidecar, &format!("/api/v1/changes{cursor}"));
        assert_eq!((&all["reset"], all["webhooks"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    }
    edit(&sidecar, |written| super::remove(written, "quiet"));
    let mut gone = Value::Null;
    wait_for(|| {
        gone = get(&sidecar, &format!("/api/v1/changes?cursor={}", changes["cursor"].as_str().expect("a cursor")));
        gone["gone"] == json!(["quiet"])
    });
    assert_eq!(gone["generation"], 2);
    assert_refused(&ask(&sidecar, "GET", "/api/v1/changes?cursor=x", &[], ""), 400, "cursor");
}

#[test]
fn an_event_has_one_story_over_all_webhooks_and_it_outlives_a_restart() {
    let (good, bad) = (receiver().start(), receiver().otherwise(400).start());
    let late = receiver().otherwise(503).start();
    let mut sidecar = sidecar()
        .reaching(&good)
        .reaching(&bad)
        .reaching(&late)
        .webhook("good", &hook(&good.url("/"), ""))
        .webhook("bad", &hook(&bad.url("/canary"), ""))
        .webhook("late", &hook(&late.url("/"), "retry.initial = \"1m\"\nretry.max_interval = \"1m\""))
        .webhook("other", &hook(&good.url("/"), "[[filters]]\npath = \"$.data.status\"\nany_of = [\"Granted\"]"))
        .webhook("asleep", &hook(&good.url("/"), "status = \"inactive\""))
        .start();
    take(&sidecar, "AR-1");
    take(&sidecar, "AR-2");
    wait_list(&sidecar, "", 6);
    wait_delivered(&sidecar, "good", 2.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "bad")], 2.0);
    // A settlement is written with the next commit.
    wait_for(|| story(&sidecar, "AR-1", "late").1["pending"]["attempts"] == 1);
    let check = |sidecar: &Sidecar, text: &str, restarted: bool| {
        let (story, bad) = story(sidecar, text, "bad");
        assert_eq!((&story["request_id"], &story["event_type"]), (&json!("AR-1"), &json!("RequestCreated")));
        assert_eq!(story["event"]["data"]["friendly_id"], "AR-1", "{story}");
        let part = |name| self::story(sidecar, text, name).1;
        assert_eq!((&bad["verdict"], &bad["dead_letter"]["reason"]), (&json!("dead"), &json!("client_error")));
        assert!(bad["why"].as_str().is_some_and(|why| why.contains("400")), "{bad}");
        assert_eq!(bad["invocations"].as_array().map(Vec::len), Some(1), "{bad}");
        let late = part("late");
        assert_eq!((&late["verdict"], &late["pending"]["attempts"]), (&json!("pending"), &json!(1)), "{late}");
        assert!(
            late["pending"]["due"].is_string() && late["why"].as_str().is_some_and(|why| why.contains("503")),
            "{late}"
        );
        assert_eq!(late["invocations"].as_array().map(Vec::len), Some(1), "{late}");
        let other = part("other");
        assert_eq!(other["verdict"], "unwanted");
        assert!(other["why"].as_str().is_some_and(|why| why.contains("data.status")), "{other}");
        assert!(part("asleep")["why"].as_str().is_some_and(|why| why.contains("inactive")));
        let good = part("good");
        if !restarted {
            assert_eq!(
                (&good["verdict"], &good["invocations"][0]["outcome"]),
                (&json!("delivered"), &json!("accepted"))
            );
        }
        story["event_id"].as_str().expect("an id").to_owned()
    };
    let event = check(&sidecar, "AR-1", false);
    for text in [event.clone(), format!("{event}_late"), "id-AR-1".to_owned()] {
        check(&sidecar, &text, false);
    }
    sidecar.kill9();
    sidecar.restart();
    check(&sidecar, "AR-1", true);
    check(&sidecar, &event, true);
    let failed = list(&sidecar, "outcome=failed&reason=client_error");
    assert_eq!(failed.len(), 2, "{failed:?}");
    let shown = show(&sidecar, &failed[0]);
    assert_eq!(
        (&shown["kept"], &shown["reason"], &shown["response"]["status"]),
        (&json!("spool"), &json!("client_error"), &json!(400))
    );
    let id = shown["request_id"].as_str().expect("an id");
    assert!(shown["request"]["body"].as_str().is_some_and(|body| body.contains(id)), "{shown}");
    assert_eq!(
        (&shown["resendable"], &shown["event"]["data"]["friendly_id"]),
        (&json!(true), &json!(id)),
        "its dead letter has it"
    );
    assert!(!shown.to_string().contains("canary"));

    let nothing = get(&sidecar, "/api/v1/events?find=AR-9");
    assert_eq!(nothing, json!({ "events": [], "complete": true }));
    assert_refused(&ask(&sidecar, "GET", "/api/v1/events", &[], ""), 400, "find");
    assert_refused(&ask(&sidecar, "GET", &format!("/api/v1/events?find={}", "x".repeat(300)), &[], ""), 400, "256");
}

#[test]
fn many_large_events_are_told_with_the_payloads_of_the_newest_and_one_by_its_id_with_its_own() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar()
        .setting("history.max_bytes = \"64KiB\"")
        .reaching(&target)
        .webhook("bad", &hook(&target.url("/"), ""))
        .webhook("named", &hook(&target.url("/"), "triggers = [\"Manual\"]"))
        .start();
    // A number that a tree of another program would round.
    let payload = format!(
        r#"{{"event_type": "RequestCreated", "data": {{"friendly_id": "AR-1", "exact": 1.50, "x": "{}"}}}}"#,
        "y".repeat(900_000)
    );
    for _ in 0..6 {
        assert_eq!(sidecar.post("/v1/events", &payload).status, 202);
    }
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "bad")], 6.0);
    let found = ask(&sidecar, "GET", "/api/v1/events?find=AR-1", &[], "");
    assert_eq!(found.body.matches("\"exact\": 1.50,").count(), 4, "as they came in, within 4 MiB");
    let stories = found.json()["events"].as_array().cloned().expect("a list");
    for (at, story) in stories.iter().enumerate() {
        assert_eq!((story["event"].is_object(), &story["event_bytes"]), (at < 4, &json!(payload.len())), "{at}");
        let named = story["webhooks"].as_array().expect("a list").iter().find(|part| part["webhook"] == "named");
        assert_eq!(named.map(|part| &part["verdict"]), Some(&json!("unwanted")));
    }
    assert_eq!(stories.len(), 6);
    let (alone, _) = story(&sidecar, stories[5]["event_id"].as_str().expect("an id"), "bad");
    assert_eq!((alone["event"].is_object(), &alone["request_id"]), (true, &json!("AR-1")));

    let invoked = sidecar.post("/v1/webhooks/named/invoke", &event("AR-2"));
    assert_eq!(invoked.status, 202);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "named")], 1.0);
    let (_, named) = story(&sidecar, "AR-2", "named");
    let (_, other) = story(&sidecar, "AR-2", "bad");
    assert_eq!((&named["verdict"], &other["verdict"]), (&json!("dead"), &json!("unwanted")));
    assert!(other["why"].as_str().is_some_and(|why| why.contains("invoked by its name")), "{other}");
}

#[test]
fn a_test_is_told_as_one_and_more_events_than_are_told_are_not_hidden() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), "triggers = [\"Manual\"]"))
        .webhook("other", &hook(&target.url("/"), "triggers = [\"Manual\"]"))
        .start();
    let tested = post(&sidecar, "/api/v1/webhooks/hook/test", &json!({ "trigger": "Manual" }));
    let id = tested["invocation"]["event_id"].as_str().expect("an id").to_owned();
    let (_, hook) = story(&sidecar, &id, "hook");
    let (_, other) = story(&sidecar, &id, "other");
    assert_eq!((&hook["verdict"], &hook["why"]), (&json!("unknown"), &json!("it was a test, which is no delivery")));
    assert_eq!((&other["verdict"], &other["why"]), (&json!("unwanted"), &json!("it was a test of another webhook")));

    for count in [20, 1] {
        (0..count).for_each(|_| take(&sidecar, "AR-1"));
        let found = get(&sidecar, "/api/v1/events?find=AR-1");
        let told = found["events"].as_array().map(Vec::len);
        assert_eq!((told, &found["complete"]), (Some(20), &json!(count == 20)));
    }
}

#[test]
fn a_delivery_is_resent_under_its_id_while_its_event_is_kept() {
    let (good, bad) = (receiver().start(), receiver().respond(400).respond(503).otherwise(200).start());
    let sidecar = sidecar()
        .reaching(&good)
        .reaching(&bad)
        .webhook("good", &hook(&good.url("/"), ""))
        .webhook("bad", &hook(&bad.url("/"), "retry.initial = \"1m\"\nretry.max_interval = \"1m\""))
        .start();
    take(&sidecar, "AR-1");
    let listed = wait_list(&sidecar, "", 2);
    let of = |name: &str| listed.iter().find(|one| one["webhook"] == name).cloned().expect("one");
    let (delivered, dead) = (of("good"), of("bad"));
    wait_delivered(&sidecar, "good", 1.0);
    let answer = resend(&sidecar, &delivered);
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "resent": true, "delivery_id": delivered["delivery_id"] }))
    );
    let requests = good.wait(2);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[0].body, requests[1].body);

    // The dead letter is replayed, fails with a retry far away, and is pending then.
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "bad")], 1.0);
    assert_eq!(resend(&sidecar, &dead).status, 200);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "bad")], 0.0);
    bad.wait(2);
    wait_list(&sidecar, "webhook=bad", 2);
    assert_refused(&resend(&sidecar, &dead), 409, "pending");

    edit(&sidecar, |written| written.write_webhook("good", &hook(&good.url("/"), "status = \"inactive\"")));
    assert_refused(&resend(&sidecar, &delivered), 409, "inactive");
    let nowhere = ask(&sidecar, "POST", &format!("{INVOCATIONS}/inv_0000000000000001/resend"), &[MARK], "");
    assert_refused(&nowhere, 404, "per_webhook");
    let unmarked =
        ask(&sidecar, "POST", &format!("{INVOCATIONS}/{}/resend", delivered["id"].as_str().expect("an id")), &[], "");
    assert_refused(&unmarked, 403, "outrigger-request");
    assert_eq!(post(&sidecar, "/api/v1/webhooks/bad/resume", &json!({})), json!({ "resumed": false }));
}

#[test]
fn many_who_resend_at_once_make_one_delivery_of_each_webhook() {
    let late = || Answer::status(200).after(Duration::from_secs(3));
    let targets = ["one", "two"].map(|_| receiver().respond(200).otherwise(late()).start());
    let mut started = sidecar();
    for (name, target) in ["one", "two"].into_iter().zip(&targets) {
        started = started.reaching(target).webhook(name, &hook(&target.url("/"), ""));
    }
    let sidecar = started.start();
    take(&sidecar, "AR-1");
    let listed = wait_list(&sidecar, "", 2);
    for name in ["one", "two"] {
        wait_delivered(&sidecar, name, 1.0);
    }
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            listed.iter().cycle().take(10).map(|one| scope.spawn(|| resend(&sidecar, one).status)).collect();
        asked.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let made = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((made(200), made(409)), (2, 8), "{answers:?}");
    for target in &targets {
        target.wait(2);
    }
    // Both are found, though each has a place of its own in the spool.
    let (_, first) = story(&sidecar, "AR-1", "one");
    let (_, second) = story(&sidecar, "AR-1", "two");
    assert_eq!((&first["verdict"], &second["verdict"]), (&json!("pending"), &json!("pending")));
    for (name, target) in ["one", "two"].into_iter().zip(&targets) {
        wait_delivered(&sidecar, name, 2.0);
        assert_eq!(target.wait(2).len(), 2);
    }
}

#[test]
fn who_waits_for_the_ends_is_told_each_webhook_once_though_one_is_replayed_meanwhile() {
    let (late, bad) = (receiver().otherwise(Answer::status(200).after(Duration::from_secs(3))).start(), receiver());
    let bad = bad.otherwise(400).start();
    let sidecar = sidecar()
        .reaching(&late)
        .reaching(&bad)
        .webhook("late", &hook(&late.url("/"), ""))
        .webhook("bad", &hook(&bad.url("/"), ""))
        .start();
    let answer = std::thread::scope(|scope| {
        let waits = scope.spawn(|| sidecar.post("/v1/events?wait=30s", &event("AR-1")));
        sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "bad")], 1.0);
        assert_eq!(post(&sidecar, "/api/v1/dead-letters/replay", &json!({ "all": true }))["replayed"], 1);
        bad.wait(2);
        waits.join().expect("an answer")
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut told: Vec<(String, String)> = Vec::new();
    for delivery in answer.json()["events"][0]["deliveries"].as_array().expect("a list") {
        let text = |name: &str| delivery[name].as_str().expect("a text").to_owned();
        told.push((text("webhook"), text("outcome")));
    }
    told.sort();
    assert_eq!(told, [("bad".to_owned(), "dead".to_owned()), ("late".to_owned(), "delivered".to_owned())]);
}

#[test]
fn what_is_too_large_to_be_kept_is_told_without_its_payload() {
    let (target, refusing) = (receiver().start(), receiver().otherwise(400).start());
    let sidecar = sidecar()
        .setting("history.max_bytes = \"64KiB\"")
        .reaching(&target)
        .reaching(&refusing)
        .webhook("hook", &hook(&target.url("/"), "triggers = [\"RequestCreated\"]"))
        .webhook("refusing", &hook(&refusing.url("/"), "triggers = [\"RequestGranted\"]"))
        .start();
    let large = json!({ "event_type": "RequestCreated", "data": { "id": "AR-1", "x": "y".repeat(500_000) } });
    assert_eq!(sidecar.post("/v1/events", &large.to_string()).status, 202);
    let granted = large.to_string().replace("RequestCreated", "RequestGranted");
    assert_eq!(sidecar.post("/v1/events", &granted).status, 202);
    wait_delivered(&sidecar, "hook", 1.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "refusing")], 1.0);
    let [line] = <[Value; 1]>::try_from(wait_list(&sidecar, "webhook=hook", 1)).expect("one");
    let shown = show(&sidecar, &line);
    assert_eq!((&shown["request"], &shown["event"], &shown["resendable"]), (&Value::Null, &Value::Null, &json!(false)));
    assert_refused(&resend(&sidecar, &line), 409, "kept");
    let (alone, delivered) = story(&sidecar, line["event_id"].as_str().expect("an id"), "hook");
    assert_eq!(
        (&delivered["verdict"], &line["request_id"], &alone["request_id"], &alone["event_bytes"]),
        (&json!("delivered"), &json!("AR-1"), &json!("AR-1"), &Value::Null)
    );

    // A dead letter has its event still.
    let [line] = <[Value; 1]>::try_from(wait_list(&sidecar, "webhook=refusing", 1)).expect("one");
    let shown = show(&sidecar, &line);
    assert_eq!((&shown["resendable"], &shown["event"]["data"]["id"]), (&json!(true), &json!("AR-1")));
    assert_eq!(resend(&sidecar, &line).status, 200);
    refusing.wait(2);
}

#[test]
fn a_secret_is_masked_where_a_response_is_cut_in_it_and_where_the_file_repeats_it() {
    let target = receiver().otherwise(Answer::text(format!("{}canary-0123456789", "z".repeat(1014)))).start();
    let file = "[auth]\nbearer = { token = \"${env:CANARY}\" }\n[limits]\nresponse = \"1KiB\"\n\
                [[filters]]\npath = \"$.data.status\"\nnone_of = [\"canary-0123456789\"]\n\
                [[response_validators]]\nname = \"ok\"\npath = \"$.status\"\n\
                rejected = [\"canary-0123456789\", \"200\"]\n";
    let mut sidecar = sidecar()
        .env("CANARY", "canary-0123456789")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), file))
        .start();
    take(&sidecar, "AR-1");
    let unwanted = event("AR-2").replace("Pending", "canary-0123456789");
    assert_eq!(sidecar.post("/v1/events", &unwanted).status, 202);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "hook")], 1.0);
    let listed = wait_list(&sidecar, "", 1);
    let body = |shown: &Value| shown["response"]["body"].as_str().expect("a body").trim_start_matches('z').to_owned();
    let in_memory = show(&sidecar, &listed[0]);
    let (_, refused) = story(&sidecar, "AR-2", "hook");
    sidecar.kill9();
    sidecar.restart();
    let in_spool = show(&sidecar, &listed[0]);
    assert_eq!((&in_memory["kept"], &in_spool["kept"]), (&json!("memory"), &json!("spool")));
    for shown in [&in_memory, &in_spool] {
        assert_eq!((body(shown), &shown["response"]["truncated"]), ("***…".to_owned(), &json!(true)), "{shown}");
        assert_eq!(shown["validators"][0]["values"], json!(["***", "200"]), "{shown}");
        assert!(!shown.to_string().contains("canary"), "{shown}");
    }
    assert_eq!(refused["verdict"], "unwanted");
    assert!(!refused.to_string().contains("canary"), "{refused}");
    let tested = sidecar.written().run(&["test", "hook"]);
    assert!(tested.stdout.contains("***…") && !tested.stdout.contains("canary"), "{}", tested.stdout);
}
