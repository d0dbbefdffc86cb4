//! Events and responses that mean harm: whoever writes them, the process goes on as before, in the memory that it had.

use outrigger::cli::demo::answer::Answer;
use serde_json::{Value, json};

use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

use super::assert_problem;

/// Becomes the program with little memory to go by, in KiB: a few times what it needs. Each arena of the allocator would reserve
/// addresses of its own, and there is one for each processor.
const CONFINED: [&str; 4] = ["sh", "-c", "export MALLOC_ARENA_MAX=2 && ulimit -v 2000000 && exec \"$@\"", "sh"];
const LINES: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

/// What people write, over what nobody expects.
const FILTERS: &str = "
[[filters]]
path   = '$..id'
any_of = ['wanted']

[[filters]]
path   = '$.data.*[?@.name == \"x\"]'
exists = false

[[filters]]
path   = '$..[?@.kind == \"bad\"]'
exists = false
";

fn event(data: &str) -> String {
    format!("{{\"event_type\":\"RequestCreated\",\"data\":{{\"id\":\"wanted\",{data}}}}}")
}

/// What came of one event for one webhook.
fn ended(sidecar: &Sidecar, event: &str) -> Value {
    let answer = sidecar.post("/v1/events?wait=60s", event);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["events"][0]["deliveries"][0].clone()
}

#[test]
fn an_event_of_any_shape_costs_no_more_memory_than_its_size_allows() {
    let target = receiver().start();
    let body = "body = '{\"who\": \"{{data.requester.name}}\", \"all\": \"{{json data.n}}\"}'";
    let hook = format!("url = {:?}\n{body}\n{FILTERS}", target.url("/"));
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook).start_by(&CONFINED);
    let zeros = |count: usize| format!("[{}0]", "0,".repeat(count));
    let nested = |count: usize, inner: &str| format!("{}{inner}{}", "[".repeat(count), "]".repeat(count));
    let shapes = [
        ("one long name over many values", format!("\"{}\":{}", "k".repeat(500_000), zeros(200_000))),
        ("many values far below", format!("\"n\":{}", nested(90, &zeros(400_000)))),
        ("many empty objects", format!("\"n\":[{}{{}}]", "{},".repeat(300_000))),
        (
            "many names",
            format!("\"n\":{{{}\"z\":0}}", (0..60_000).fold(String::new(), |all, n| all + &format!("\"k{n}\":0,"))),
        ),
        ("a long number", format!("\"n\":{}", "1".repeat(1_000_000))),
        ("a long text", format!("\"n\":\"{}\"", "\\u0001".repeat(150_000))),
    ];
    for (what, data) in &shapes {
        let end = ended(&sidecar, &event(data));
        assert!(["delivered", "dead"].iter().any(|word| end.to_string().contains(word)), "{what}: {end}");
    }
    // It is the same process, and it serves.
    let before = target.count();
    assert_eq!(ended(&sidecar, &event("\"n\":1"))["outcome"], "delivered");
    assert_eq!(target.count(), before + 1);
}

#[test]
fn json_without_bottom_harms_nothing_on_its_way() {
    let bottomless = ["[", "{\"a\":"].map(|open| open.repeat(100_000));
    let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let target = receiver();
    let target =
        bottomless.iter().chain([&closed]).fold(target, |target, body| target.respond(Answer::json(body.clone())));
    let target = target.otherwise(400).start();
    let validator = "[[response_validators]]\npath = '$.data.ok'\nexpected = ['true']\n[limits]\nresponse = '1MiB'\n";
    let hook = format!("url = {:?}\nbody = '{{\"all\": {{{{@root}}}}}}'\n{validator}", target.url("/"));
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook).start_by(&CONFINED);

    for deep in bottomless.iter().chain([&closed]) {
        let lines = format!("{}\n{}\n", event("\"n\":1"), event(&format!("\"n\":{deep}")));
        let answer = sidecar.post_with("/v1/events", LINES, lines.as_bytes());
        assert_problem("a line", &answer, 400, &["100 levels"]);
        assert_eq!(answer.json()["line"], 2);
        assert_problem(
            "an event",
            &sidecar.post("/v1/events?wait=5s", &event(&format!("\"n\":{deep}"))),
            400,
            &["100 levels"],
        );
        assert_problem(
            "an invocation",
            &sidecar.post("/v1/webhooks/hook/invoke", &event(&format!("\"n\":{deep}"))),
            400,
            &["100 levels"],
        );
    }
    assert_eq!(target.count(), 0);
    for _ in 0..3 {
        let end = ended(&sidecar, &event("\"n\":1"));
        assert_eq!((&end["outcome"], &end["reason"]), (&json!("dead"), &json!("validation_failed")), "{end}");
    }

    // The deepest that is an event is rendered, sent, buried and shown.
    let deepest = event(&format!("\"n\":{}7{}", "[".repeat(98), "]".repeat(98)));
    assert_problem(
        "one more",
        &sidecar.post("/v1/events", &event(&format!("\"n\":{}", "[".repeat(99)))),
        400,
        &["100 levels"],
    );
    assert_eq!(ended(&sidecar, &deepest)["reason"], "client_error");
    let sent = target.recorded().pop().unwrap_or_else(|| panic!("nothing was sent"));
    let body = String::from_utf8_lossy(&sent.body).into_owned();
    assert!(body.contains(&"[".repeat(98)), "{body}");
    // What has ended is a dead letter with the next commit.
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "hook")], 4.0);
    let admin = format!("http://{}", sidecar.address("admin"));
    let list = sidecar.written().run(&["dead-letters", "--reason", "client_error", "--admin", &admin]);
    let id = list.stdout.split_whitespace().find(|word| word.starts_with("evt_")).unwrap_or_else(|| panic!("{list:?}"));
    for form in [&["dead-letters", "show", id][..], &["dead-letters", "show", id, "--json"]] {
        let shown = sidecar.written().run(&[form, &["--admin", &admin]].concat());
        assert!(shown.status.success() && shown.stdout.matches('[').count() >= 98, "{shown:?}");
    }
}

#[test]
fn a_template_that_works_without_end_buries_its_delivery_alone() {
    let target = receiver().start();
    let greedy = "{{#each data.list}}{{#each @root.data.list}}{{#if (json @root.data.list)}}{{/if}}{{/each}}{{/each}}";
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("greedy", &format!("url = {:?}\nbody = '\"{greedy}\"'\n", target.url("/greedy")))
        .webhook("modest", &format!("url = {:?}\nbody = '\"{{{{data.id}}}}\"'\n", target.url("/modest")))
        .start_by(&CONFINED);
    let answer = sidecar.post("/v1/events?wait=60s", &event(&format!("\"list\":[{}0]", "0,".repeat(20_000))));
    let deliveries = answer.json()["events"][0]["deliveries"].clone();
    let of = |name: &str| {
        deliveries
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one.to_string().contains(name))
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        (&of("greedy")["outcome"], &of("greedy")["reason"]),
        (&json!("dead"), &json!("template_error")),
        "{deliveries}"
    );
    assert_eq!(of("modest")["outcome"], "delivered", "{deliveries}");
    assert!(sidecar.wait_log("greedy").contains("greedy"));
    assert_eq!(target.wait(1).len(), 1);
}

#[test]
fn nothing_that_an_event_holds_becomes_a_series() {
    let target = receiver().start();
    let hook = format!(
        "kind = 'audit'\nurl = {:?}\n[[response_validators]]\npath = '$.data.ok'\nexpected = ['true']\n",
        target.url("/")
    );
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook).start();
    let post = |number: usize| {
        let text = format!("t-{number}-\\\"}} x\\n{}", "ü".repeat(number % 50));
        let event =
            format!("{{\"event_type\":\"{text}\",\"{text}\":1,\"data\":{{\"id\":\"{text}\",\"action\":\"{text}\"}}}}");
        let key = format!("key-{number}");
        assert_eq!(sidecar.post_with("/v1/events/audit", &[("idempotency-key", &key)], event.as_bytes()).status, 202);
        assert_eq!(sidecar.post(&format!("/v1/events/kind-{number}"), &event).status, 404);
        assert_eq!(sidecar.post(&format!("/v1/webhooks/hook-{number}/invoke"), &event).status, 404);
        assert_eq!(sidecar.get("metrics", &format!("/metrics-{number}")).status, 404);
    };
    let series = || {
        let page = sidecar.metrics();
        let names: Vec<String> = page
            .lines()
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .filter(|name| !name.starts_with('#'))
            .collect();
        assert!(names.len() > 50, "{page}");
        names
    };
    let delivered = |count: f64| {
        sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], count);
    };
    post(0);
    delivered(1.0);
    let before = series();
    (1..100).for_each(post);
    delivered(100.0);
    assert_eq!(series(), before);
}
