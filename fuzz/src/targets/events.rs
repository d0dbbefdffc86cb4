//! Event decoding: bytes as an event of every kind, alone and as lines, through filters and templates to requests.

use std::sync::LazyLock;

use bytes::Bytes;
use outrigger::event::Event;
use outrigger::kind::decode::{DecodeError, decode, decode_manual};
use outrigger::kind::{Kind, Path};
use outrigger::plan::{passes, plan, refusals};
use outrigger::webhook::ordering::Ordering;
use serde_json::Value;

use super::ingest::{Door, length};
use super::{Target, event_id, files, now, requests, snapshot};

pub const TARGET: Target = Target { name: "events", run, seeds };

/// Webhooks of every kind, among them the shipped ones.
static DOOR: LazyLock<Door> = LazyLock::new(|| {
    let mut all: Vec<(String, Vec<u8>)> = files("config");
    all.retain(|(name, _)| !name.starts_with("schema"));
    let own: [(&str, &str); 5] = [
        (
            "outrigger.toml",
            "[kinds.deploy]\ntype = '$.a[0].type'\nid = '$.id'\n[kinds.deploy.fields]\nteam = '$..team'\nlast = '$.a[-1]'",
        ),
        (
            "webhooks/integration.toml",
            r#"
            kind = "integration"
            url = "https://example.com/{{data.id}}/{{event_type}}?name={{data.name}}&all={{json data}}"
            headers = { x-name = "{{data.name}} {{#each data.issues}}{{status}};{{/each}}" }
            ordering = { key = "$.data.name" }
            body = '{"issues": [{{#each data.issues}}{"at": {{@index}}, "is": {{json this}}}{{#unless @last}},{{/unless}}{{/each}}], "inner": "{\"name\": \"{{data.name}}\"}"}'
            [[filters]]
            path = "$.data.issues[*].status"
            every_of = ["e*r", "1"]
            [[filters]]
            path = "$.data.n"
            max = 10
            "#,
        ),
        (
            "webhooks/audit.toml",
            r#"
            kind = "audit"
            url = "https://example.com/"
            content_type = "text/plain"
            strict = true
            body = "{{upper data.action}} {{date data.timestamp}} {{truncate data.actor_name 5}} {{data.metadata}} {{join data.list '/'}}"
            [[filters]]
            path = "$.data.source"
            matches = "^[a-z]+(-[0-9]+)?$"
            "#,
        ),
        (
            "webhooks/anomaly.toml",
            r#"
            kind = "anomaly"
            url = "https://example.com/"
            content_type = "application/x-www-form-urlencoded"
            body = "a={{data}}&b={{default data.b event_time}}"
            [[filters]]
            path = "$.data"
            exists = true
            "#,
        ),
        (
            "webhooks/deploy.toml",
            "kind = 'deploy'\nurl = 'https://example.com/'\n[[filters]]\nfield = 'team'\nnone_of = ['x*']",
        ),
    ];
    all.retain(|(name, _)| name != "outrigger.toml");
    let mut all: Vec<(&str, &[u8])> = all.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    all.extend(own.iter().map(|(name, text)| (*name, text.as_bytes())));
    Door::new(snapshot(&all))
});

/// No event is too deep that has as few objects and arrays.
const DEPTH_SURE: usize = 64;
/// No text in an event is too long that has as few bytes.
const TEXT_BYTES_SURE: usize = 128;

/// Members by which lanes are made.
static KEYS: LazyLock<Vec<Path>> = LazyLock::new(|| {
    ["$.data.id", "$.id", "$.a.b.c", "$.data"].map(|path| Path::parse(path).expect("a path")).into_iter().collect()
});

pub fn run(data: &[u8]) {
    for kind in DOOR.live().snapshot.kinds.values() {
        whole(kind, data);
        if &*kind.name == "request" && data.contains(&b'\n') {
            lines(kind, data);
        }
    }
}

fn whole(kind: &Kind, data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    let tree = serde_json::from_slice::<Value>(data).ok().filter(Value::is_object);
    match decode(kind, raw.clone(), event_id(), now()) {
        Ok(event) => {
            let tree = tree.expect("what is an event is a JSON object");
            assert_eq!(kind.event_type(&tree), Some(event.event_type.clone()), "{}", kind.name);
            handle(&event, &tree);
        }
        Err(error) => {
            let without_type = tree.as_ref().is_none_or(|tree| kind.event_type(tree).is_none());
            assert!(without_type || is_beyond_limits(data), "{}: {error}", kind.name);
            assert_placed(&error, data);
        }
    }
    match decode_manual(kind, raw, event_id(), now()) {
        Ok(event) => assert!(event.payload().expect("what is an event is JSON").is_object()),
        Err(error) => {
            let tree = serde_json::from_slice::<Value>(data).is_ok_and(|tree| tree.is_object());
            assert!(!tree || is_beyond_limits(data), "{}: {error}", kind.name);
            assert_placed(&error, data);
        }
    }
}

/// Whether an event that is one may be refused all the same: what nests deep or has long texts may have its limits.
fn is_beyond_limits(data: &[u8]) -> bool {
    let opened = data.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    opened > DEPTH_SURE || data.split(|byte| *byte == b'"').any(|text| text.len() > TEXT_BYTES_SURE)
}

/// The place of a fault is one that the text has.
fn assert_placed(error: &DecodeError, data: &[u8]) {
    let Some((line, _)) = error.place else { return };
    assert!((1..=data.split(|byte| *byte == b'\n').count()).contains(&line), "{error}");
}

/// Who wants it, why not, and what is sent.
fn handle(event: &Event, tree: &Value) {
    for path in &*KEYS {
        let ordering = Ordering::By { path: path.clone(), max_wait: std::time::Duration::ZERO };
        let unparsed = ordering.lane(&event.tree());
        let parsed = event.clone();
        parsed.keep_parsed().expect("it is JSON");
        assert_eq!(unparsed, ordering.lane(&parsed.tree()), "{}", path.text());
        assert_eq!(unparsed.is_some(), path.first(tree).is_some_and(|value| !value.is_null()), "{}", path.text());
    }
    let live = DOOR.live();
    let plan = plan(&live.snapshot, &event.tree());
    for webhook in live.snapshot.webhooks.values().filter(|webhook| webhook.kind.name == event.kind) {
        let wanted = plan.wanted.iter().chain(&plan.shadowed).any(|wanted| wanted.name == webhook.name);
        assert_eq!(wanted, refusals(webhook, &event.tree()).is_empty(), "{}", webhook.name);
        assert!(!wanted || passes(webhook, &event.tree()), "{}", webhook.name);
        if let Ok(request) = webhook.render(event) {
            requests::assert_sendable(webhook, event, &request);
        }
    }
}

/// As lines all of them are taken, or none.
fn lines(kind: &Kind, data: &[u8]) {
    let mut events = 0;
    let mut good = true;
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        events += 1;
        good &= decode(kind, Bytes::copy_from_slice(line), event_id(), now()).is_ok();
    }
    let head = b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n";
    let answers = DOOR.ask([head, &*length(data.len()), data].concat());
    let [answer] = &*answers else { panic!("{} answers", answers.len()) };
    if good && events > 0 {
        assert_eq!(answer.status, 202, "{:?}", answer.body);
        assert_eq!(answer.body["events"].as_array().map(Vec::len), Some(events));
    } else {
        assert_eq!(answer.status, 400, "{:?}", answer.body);
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = files("config/events");
    for kind in Kind::builtin() {
        let samples: Vec<String> = kind.samples.iter().map(|sample| sample.payload.to_string()).collect();
        seeds.push((format!("{}.ndjson", kind.name), samples.join("\n").into_bytes()));
        seeds.extend(samples.into_iter().take(1).map(|sample| (format!("{}.json", kind.name), sample.into_bytes())));
    }
    seeds
}
