//! `outrigger plan` between two folders.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Run, folder, outrigger, outrigger_in};

/// A configuration of one webhook.
pub(super) fn hook(text: &str) -> TempDir {
    folder(&[("webhooks/hook.toml", text)])
}

pub(super) fn granted(integration: &str) -> Value {
    json!({
        "event_type": "RequestGranted",
        "data": {"id": format!("id of {integration}"), "access_groups": [{"integration": {"name": integration}}]},
    })
}

pub(super) fn lines(events: &[Value]) -> String {
    events.iter().flat_map(|event| [event.to_string(), "\n".to_owned()]).collect()
}

/// Plans with events from standard input.
pub(super) fn plan(old: &TempDir, new: &TempDir, arguments: &[&str], events: &str) -> Run {
    let sides = [old, new].map(|side| side.path().to_str().unwrap().to_owned());
    let first = ["plan", &sides[0], &sides[1], "--events", "-"];
    outrigger(&[&first, arguments].concat(), &[], events)
}

/// The plan of two texts of one webhook as a document.
fn document(old: &str, new: &str, events: &[Value]) -> Value {
    let run = plan(&hook(old), &hook(new), &["--json"], &lines(events));
    serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {}{}", run.out, run.err))
}

pub(super) const URL: &str = "url = \"https://hooks.example.com/in\"\n";
pub(super) const BODY: &str = "body = '{\"id\": \"{{data.id}}\", \"n\": 1}'\n";

#[test]
fn what_becomes_of_a_delivery_is_told_with_its_cause() {
    let any = format!("{URL}{BODY}");
    let prod = format!("{any}[[filters]]\nfield = \"integration\"\nany_of = [\"prod-*\"]\n");
    let created = format!("triggers = [\"RequestCreated\"]\n{any}");
    let inactive = format!("status = \"inactive\"\n{any}");
    let shadow = format!("status = \"shadow\"\n{any}");
    let audit = format!("kind = \"audit\"\n{any}");
    let strict =
        format!("strict = true\n{URL}body = '{{\"id\": \"{{{{data.id}}}}\", \"n\": \"{{{{data.none}}}}\"}}'\n");
    let refused = "integration is \"dev\", wanted \"prod-*\"";
    let is_inactive = "it is inactive";
    let is_shadow = "it is shadow: rendered, never sent";
    let trigger = "the event type RequestGranted is not among its triggers (RequestCreated)";
    for (old, new, effect, shadow_request, side, cause) in [
        (&any, &prod, "vanish", false, "new", refused),
        (&prod, &any, "appear", false, "old", refused),
        (&any, &created, "vanish", false, "new", trigger),
        (&created, &any, "appear", false, "old", trigger),
        (&any, &inactive, "vanish", false, "new", is_inactive),
        (&inactive, &any, "appear", false, "old", is_inactive),
        (&any, &shadow, "vanish", false, "new", is_shadow),
        (&shadow, &any, "appear", false, "old", is_shadow),
        (&inactive, &shadow, "appear", true, "old", is_inactive),
        (&any, &audit, "vanish", false, "new", "it is for events of kind audit"),
        (&any, &strict, "break", false, "new", "body: "),
        (&strict, &any, "mend", false, "old", "body: "),
        (&prod, &strict, "break", false, "new", "body: "),
    ] {
        let found = document(old, new, &[granted("dev")]);
        let effects = found["webhooks"][0]["effects"].as_array().unwrap();
        let [one] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!((&one["effect"], &one["shadow"]), (&json!(effect), &json!(shadow_request)), "{old}{new}{found:#}");
        assert_eq!(found["deliveries"][effect], json!(i32::from(!shadow_request)), "{found:#}");
        let does = &one["shown"][0][side];
        let told = does["causes"][0].as_str().or(does["problem"].as_str()).unwrap_or_default();
        assert!(told.starts_with(cause), "{old}{new}{found:#}");
    }
}

#[test]
fn what_cannot_be_rendered_any_more_is_told_with_its_cause_and_with_what_was_sent() {
    let (old, new) =
        (hook(&format!("{URL}{BODY}")), hook(&format!("{URL}{}strict = true\n", BODY.replace("data.id", "data.none"))));
    let run = plan(&old, &new, &[], &lines(&[granted("a")])).expect_code(1);
    let expected = "
  1 delivery cannot be rendered any more: template_error
    line 1, RequestGranted, id of a
      cannot be rendered: body: the event has no `data.none`, and the webhook is strict
      - POST https://hooks.example.com/***
      - content-type: application/json
      -
      - {
      -   \"id\": \"id of a\",
      -   \"n\": 1
      - }
";
    assert!(run.out.contains(expected), "{}", run.out);
    let run = plan(&new, &old, &[], &lines(&[granted("a")])).expect_code(1);
    let expected = "
  1 delivery can be rendered again
    line 1, RequestGranted, id of a
      could not be rendered: body: the event has no `data.none`, and the webhook is strict
      + POST https://hooks.example.com/***
";
    assert!(run.out.contains(expected), "{}", run.out);
}

#[test]
fn what_cannot_be_rendered_on_either_side_is_no_difference_and_yet_told() {
    let strict = |none: &str| format!("strict = true\n{URL}body = '{{\"id\": \"{{{{data.{none}}}}}\"}}'\n");
    let run =
        plan(&hook(&strict("none")), &hook(&strict("nil")), &[], &lines(&[granted("a"), granted("b")])).expect_code(1);
    assert!(run.out.contains("\n  2 deliveries cannot be rendered, as before\n"), "{}", run.out);
    assert!(
        run.out
            .contains("deliveries 2 → 2: 0 appear, 0 vanish, 0 change, 2 cannot be rendered as before, 0 the same\n"),
        "{}",
        run.out
    );
}

#[test]
fn nothing_differs_where_a_file_says_the_same_in_other_words() {
    let old = hook(&format!("{URL}limits = {{ rate = \"1/s\" }}\nbody = '{{\"a\": 1, \"b\": [2.0]}}'\n"));
    let new = hook(&format!(
        "# a comment\nbody = '{{ \"b\": [2],  \"a\": 1.0 }}'\n{URL}[limits]\nrate = \"1/s\"\n[[tests]]\nname = \"new\"\nevent = {{ sample = \"Granted\" }}\n"
    ));
    let run = plan(&old, &new, &[], &lines(&[granted("a")])).expect_code(1);
    // The text of the body is another one, its meaning is not: both is told.
    assert!(run.out.contains("  also changed: body, which makes no difference to these events\n"), "{}", run.out);
    let same =
        hook(&format!("# another comment\n{URL}body = '{{\"a\": 1, \"b\": [2.0]}}'\n[limits]\nrate = \"1/s\"\n"));
    let run = plan(&old, &same, &[], &lines(&[granted("a")])).expect_code(0);
    assert_eq!(run.out, "1 event, 1 delivery: no difference\n");
}

#[test]
fn a_body_that_differs_in_nothing_that_is_seen_is_told_all_the_same() {
    let text = |body: &str| hook(&format!("{URL}content_type = \"text/plain\"\nbody = \"{body}\"\n"));
    for (old, new) in [("a", "a\\n"), ("a\\nb", "a\\r\\nb"), ("a", "a ")] {
        let run = plan(&text(old), &text(new), &[], &lines(&[granted("a")])).expect_code(1);
        let told = "id of a\n      the bodies differ in how their lines end, or in blanks behind the last one\n";
        assert!(run.out.contains(told), "{old:?} {new:?}{}", run.out);
    }
}

#[test]
fn a_webhook_that_was_shadow_is_not_said_to_have_sent_what_it_cannot_send() {
    let (old, new) = (
        hook(&format!("status = \"shadow\"\n{URL}{BODY}")),
        hook(&format!("strict = true\n{URL}{}", BODY.replace("data.id", "data.none"))),
    );
    let run = plan(&old, &new, &[], &lines(&[granted("a")])).expect_code(1);
    let expected = "
  1 delivery cannot be rendered any more: template_error
    line 1, RequestGranted, id of a
      was not sent: it is shadow: rendered, never sent
      cannot be rendered: body: the event has no `data.none`, and the webhook is strict
";
    assert!(run.out.contains(expected) && !run.out.contains("- POST"), "{}", run.out);
}

#[test]
fn effects_that_look_alike_are_folded_and_all_are_shown_when_asked() {
    let old = hook(&format!("{URL}{BODY}"));
    let new = hook(&format!("{URL}{}", BODY.replace("\"n\": 1", "\"n\": 2")));
    let events: Vec<Value> = (0..40).map(|number| granted(&format!("i{number}"))).collect();
    let run = plan(&old, &new, &[], &lines(&events)).expect_code(1);
    assert_eq!(run.out.matches("+   \"n\": 2").count(), 1, "{}", run.out);
    assert!(run.out.contains("\n    and 39 more like it: lines 2-40\n"), "{}", run.out);
    let run = plan(&old, &new, &["--all"], &lines(&events)).expect_code(1);
    assert_eq!(run.out.matches("+   \"n\": 2").count(), 40, "{}", run.out);
    assert!(!run.out.contains("more like it"), "{}", run.out);
}

#[test]
fn of_effects_in_very_many_ways_the_most_frequent_are_shown() {
    let body = |value: u32| format!("{URL}body = '{{\"{{{{data.key}}}}\": {value}}}'\n");
    let event = |key: &str| json!({"event_type": "RequestGranted", "data": {"key": key}});
    let mut events: Vec<Value> = (0..15).map(|number| event(&format!("k{number}"))).collect();
    events.extend([event("often"), event("often")]);
    let run = plan(&hook(&body(1)), &hook(&body(2)), &[], &lines(&events)).expect_code(1);
    assert!(run.out.contains("  17 deliveries change\n    line 16, RequestGranted\n"), "{}", run.out);
    assert!(run.out.contains("\n    and 6 more in 6 other ways: --all shows every one\n"), "{}", run.out);
    assert_eq!(run.out.matches(": 2\n").count(), 10, "{}", run.out);
}

#[test]
fn webhooks_that_come_and_go_are_named_and_so_are_keys_that_no_request_shows() {
    let other = format!("{URL}triggers = [\"RequestFailed\"]\n");
    let old = folder(&[
        ("outrigger.toml", "[defaults]\ntimeout = \"30s\"\n[admin]\ntoken = \"TOPSECRET\"\n"),
        (
            "webhooks/hook.toml",
            &format!(
                "{URL}timeout = 5\nretry = {{ max_age = \"1h\" }}\n[[response_validators]]\npath = \"$.data.ok\"\nexpected = [\"true\"]\n"
            ),
        ),
        ("webhooks/gone.toml", &other),
    ]);
    let new = folder(&[
        ("outrigger.toml", "[defaults]\ntimeout = \"20s\"\n[admin]\ntoken = \"TOPSECRETS\"\n"),
        (
            "webhooks/hook.toml",
            &format!(
                "{URL}timeout = 5\nordering = \"strict\"\nretry = {{ max_age = \"2h\", max_attempts = 3 }}\n[[response_validators]]\npath = \"$.data.ok\"\nexpected = [\"yes\"]\n"
            ),
        ),
        ("webhooks/fresh.toml", URL),
    ]);
    let run = plan(&old, &new, &[], &lines(&[granted("a")])).expect_code(1);
    let [old, new] = [&old, &new].map(|side| side.path().display().to_string());
    let expected = format!(
        "{old} → {new}

outrigger.toml
  also changed: admin.token ***, written differently
  also changed: defaults.timeout \"30s\" → \"20s\"

fresh (new)
  1 delivery appears
    line 1, RequestGranted, id of a
      was not sent: there is no such webhook
      + POST https://hooks.example.com/***
      + content-type: application/json
      +
      + {{
      +   \"event_type\": \"RequestGranted\",
      +   \"data\": {{
      +     \"id\": \"id of a\",
      +     \"access_groups\": [
      +       {{
      +         \"integration\": {{
      +           \"name\": \"a\"
      +         }}
      +       }}
      +     ]
      +   }}
      + }}

gone (removed)
  no effect on these events

hook
  no effect on these events
  also changed: ordering unset → \"strict\"
  also changed: response_validators[0].expected [\"true\"] → [\"yes\"]
  also changed: retry.max_age \"1h\" → \"2h\"
  also changed: retry.max_attempts unset → 3

1 event, deliveries 1 → 2: 1 appear, 0 vanish, 0 change, 1 the same
"
    );
    assert_eq!(run.out, expected);
}

#[test]
fn all_bad_lines_are_reported_at_once() {
    let side = hook(URL);
    let events = format!("{}\n\n{{\"event_type\": 1}}\n[]\nnonsense\n", granted("a"));
    let run = plan(&side, &side, &[], &events).expect_code(2);
    let expected = "error: --events: 3 lines are no event
  standard input:3: as an event of kind request: an event of kind \"request\" has its type as text at `$.event_type`, and there is none
  standard input:4: as an event of kind request: an event is a JSON object, this is an array; send several events as application/x-ndjson, one object a line
  standard input:5:2: not JSON: expected ident
  = fix: correct the lines or leave them out; events of another kind are given as --events KIND=FILE
";
    assert_eq!((&*run.out, &*run.err), ("", expected));
    let many = "nonsense\n".repeat(1000);
    let run = plan(&side, &side, &[], &many).expect_code(2);
    assert!(run.err.contains("1000 lines are no event") && run.err.contains("\n  and 980 more\n"), "{}", run.err);
    let pretty = format!("{:#}", granted("a"));
    let run = plan(&side, &side, &[], &pretty).expect_code(2);
    assert!(run.err.contains("is one JSON document over many lines"), "{}", run.err);
}

#[test]
fn a_question_that_makes_no_sense_is_a_usage_error() {
    let side = hook(URL);
    let dir = side.path().to_str().unwrap();
    for (arguments, input, expected) in [
        (&["plan"][..], "", "required"),
        (&["plan", dir, dir, "--events", "/nowhere.ndjson"], "", "the file /nowhere.ndjson does not exist"),
        (&["plan", dir, dir, "--events", "-"], "\n", "standard input holds no event"),
        (&["plan", dir, dir, "--events", "orot=-"], "{}", "neither side has a kind `orot`; did you mean `oort`?"),
        (
            &["plan", dir, dir, "--kind", "nope", "--events", "-"],
            "{}",
            "neither side has a kind `nope`; the kinds are ",
        ),
        (&["plan", dir, dir, "--kind", "oort"], "", "--events <[KIND=]FILE>"),
        (&["plan", dir, dir, "--color", "pink"], "", "[possible values: auto, always, never]"),
    ] {
        let run = outrigger(arguments, &[], input).expect_code(2);
        assert!(run.err.contains(expected), "{arguments:?}: {}", run.err);
        assert_eq!(run.out, "");
    }
}

#[test]
fn a_faulty_side_is_named_with_its_faults() {
    let (good, bad) = (hook(URL), hook("trigers = []\nurl = \"https://a.example\"\n"));
    for (old, new, side) in [(&bad, &good, "OLD, "), (&good, &bad, "NEW, ")] {
        let run = plan(old, new, &["--json"], "").expect_code(78);
        assert!(run.err.starts_with(side), "{}", run.err);
        assert!(
            run.err.contains(" --> webhooks/hook.toml:1:1\n") && run.err.contains("did you mean `triggers`?"),
            "{}",
            run.err
        );
        assert_eq!(run.out, "");
    }
    let run = plan(&bad, &bad, &[], "").expect_code(78);
    assert_eq!(run.err.matches("did you mean `triggers`?").count(), 2, "{}", run.err);
}

#[test]
fn without_events_the_samples_of_the_kinds_in_use_are_asked() {
    let old = folder(&[
        ("webhooks/a.toml", &format!("kind = \"oort\"\n{URL}")),
        ("webhooks/b.toml", &format!("kind = \"anomaly\"\n{URL}")),
    ]);
    let new = folder(&[
        ("webhooks/a.toml", &format!("kind = \"oort\"\ntriggers = [\"FAILED_CHECK\"]\n{URL}")),
        ("webhooks/b.toml", &format!("kind = \"anomaly\"\n{URL}")),
    ]);
    let [old, new] = [&old, &new].map(|side| side.path().to_str().unwrap());
    let run = outrigger(&["plan", old, new], &[], "").expect_code(1);
    assert!(run.out.contains("\na\n  1 delivery vanishes\n    sample WebhookTest, "), "{}", run.out);
    assert!(run.out.contains(" sample events, deliveries "), "{}", run.out);
}

#[test]
fn events_of_several_kinds_come_from_several_files() {
    let old = folder(&[
        ("webhooks/a.toml", &format!("kind = \"oort\"\n{URL}{BODY}")),
        ("webhooks/b.toml", &format!("{URL}{BODY}")),
    ]);
    let edited = format!("{URL}{}", BODY.replace('1', "2"));
    let new = folder(&[("webhooks/a.toml", &format!("kind = \"oort\"\n{edited}")), ("webhooks/b.toml", &edited)]);
    let files = folder(&[
        ("oort.ndjson", "{\"detail-type\":\"FAILED_CHECK\"}\n{\"detail-type\":\"FAILED_CHECK\"}\n"),
        ("requests.ndjson", "{\"event_type\":\"Granted\"}\n{\"event_type\":\"Granted\"}\n"),
    ]);
    let [old, new] = [&old, &new].map(|side| side.path().to_str().unwrap());
    let run = outrigger_in(
        files.path(),
        &["plan", old, new, "--events", "oort=oort.ndjson", "--events", "requests.ndjson"],
        &[],
        "",
    )
    .expect_code(1);
    for told in [
        "\n    oort.ndjson:1, FAILED_CHECK\n",
        "more like it: oort.ndjson:2\n",
        "\n    requests.ndjson:1, RequestGranted\n",
        "4 events, ",
    ] {
        assert!(run.out.contains(told), "{told}{}", run.out);
    }
}

#[test]
fn events_come_through_a_pipe_too() {
    let side = hook(URL);
    let pipe = side.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (dir, pipe) = (side.path().to_str().unwrap(), pipe.to_str().unwrap());
    let run = std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(pipe, lines(&[granted("a"), granted("b")])).unwrap());
        let run = outrigger(&["plan", dir, dir, "--events", pipe], &[], "");
        // Where nobody has read, the writer would wait for ever.
        drop(std::fs::File::options().read(true).write(true).open(pipe));
        run
    });
    assert_eq!(run.expect_code(0).out, "2 events, 2 deliveries: no difference\n");
}

#[test]
fn a_kind_that_is_defined_anew_is_asked_as_each_side_defines_it() {
    let of = |path: &str| {
        folder(&[
            ("outrigger.toml", &format!("[kinds.deployment]\ntype = \"{path}\"\n")),
            ("webhooks/hook.toml", &format!("kind = \"deployment\"\ntriggers = [\"started\"]\n{URL}")),
        ])
    };
    let (old, new) = (of("$.type"), of("$.what"));
    let event = "{\"type\": \"started\", \"what\": \"ended\"}\n{\"type\": \"started\"}\n";
    let run = plan(&old, &new, &["--kind", "deployment", "--json"], event).expect_code(1);
    let found: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(found["sidecar"], json!([{"key": "kinds.deployment.type", "old": "$.type", "new": "$.what"}]));
    assert_eq!((&found["deliveries"]["before"], &found["deliveries"]["vanish"]), (&json!(2), &json!(2)), "{found:#}");
}

#[test]
fn what_a_terminal_would_obey_is_never_printed() {
    let text = |more: &str| format!("{URL}content_type = \"text/plain\"\nbody = '{{{{data.id}}}}{more}'\n");
    let event = json!({"event_type": "Granted\u{1b}[2J", "data": {"id": "a\u{1b}]0;title\u{7}\u{9b}31m\u{202e}"}});
    let run = plan(&hook(&text("")), &hook(&text("!")), &[], &lines(&[event])).expect_code(1);
    let obeyed = |character: char| (character.is_control() || character == '\u{202e}') && character != '\n';
    assert!(!run.out.contains(obeyed), "{:?}", run.out);
    assert!(run.out.contains("a\\u{1b}]0;title"), "{}", run.out);
}

#[test]
fn colours_are_there_when_asked_for() {
    let (old, new) = (hook(&format!("{URL}{BODY}")), hook(&format!("{URL}{}", BODY.replace('1', "2"))));
    let events = lines(&[granted("a")]);
    let coloured = plan(&old, &new, &["--color", "always"], &events).expect_code(1);
    assert!(coloured.out.contains("\u{1b}[31m-   \"n\": \u{1b}[0m\u{1b}[7;31m1\u{1b}[0m\n"), "{:?}", coloured.out);
    for quiet in [&[][..], &["--color", "never"]] {
        assert!(!plan(&old, &new, quiet, &events).expect_code(1).out.contains('\u{1b}'));
    }
}

#[test]
fn the_document_says_what_programs_ask() {
    let (old, new) = (
        hook(&format!("{URL}{BODY}")),
        hook(&format!("{URL}limits = {{ concurrency = 2 }}\n{}", BODY.replace('1', "2"))),
    );
    let run = plan(&old, &new, &["--json"], &lines(&[granted("a"), granted("b")])).expect_code(1);
    let found: Value = serde_json::from_str(&run.out).unwrap();
    let request = |id: &str, n: u32| {
        json!({"request": {"method": "POST", "url": "https://hooks.example.com/***",
            "headers": {"content-type": "application/json"}, "body": {"id": id, "n": n}}})
    };
    let [old, new] = [&old, &new].map(|side| side.path().to_str().unwrap());
    assert_eq!(
        found,
        json!({
            "old": old, "new": new, "differs": true, "events": 2, "samples": false,
            "deliveries": {"before": 2, "after": 2, "same": 0, "appear": 0, "vanish": 0, "change": 2, "break": 0, "mend": 0, "stuck": 0},
            "sidecar": [],
            "webhooks": [{
                "name": "hook",
                "status": "kept",
                "changed": [{"key": "limits.concurrency", "old": null, "new": 2}],
                "effects": [{
                    "effect": "change", "shadow": false, "count": 2, "parts": ["body.n"],
                    "events": [{"file": "standard input", "line": 1}, {"file": "standard input", "line": 2}],
                    "shown": [{
                        "event": {"file": "standard input", "line": 1, "kind": "request", "type": "RequestGranted", "id": "id of a"},
                        "old": request("id of a", 1), "new": request("id of a", 2), "hidden_path_differs": false,
                    }],
                }],
            }],
        })
    );
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.md")).unwrap();
    let mut count = 0;
    for name in members(&found) {
        assert!(
            ["n", "content-type"].contains(&&*name) || guide.contains(&format!("`{name}`")),
            "the guide has no `{name}`"
        );
        count += 1;
    }
    assert!(count > 30, "{count}");
}

/// The names of all members of a document.
fn members(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(object) => {
            object.iter().flat_map(|(name, value)| members(value).into_iter().chain([name.clone()])).collect()
        }
        Value::Array(list) => list.iter().flat_map(members).collect(),
        _ => BTreeSet::new(),
    }
}
