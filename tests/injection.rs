//! What an event's values can do to a request: fill its places in, and nothing else.

mod properties;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use outrigger::config::{Snapshot, Source, load};
use outrigger::event::{Event, EventId};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cli::folder;

/// The host, port and path that events must not change, and a query.
const URL: &str =
    "https://hooks.example:8443/in/{{data.a}}/x-{{data.b}}.json?q={{data.c}}&r=a{{#each data.list}}{{this}}{{/each}}";
const HEADERS: &str = "x-a = \"{{data.a}}\"\nx-b = 'für {{upper data.b}} ${env:TOKEN} {{json data.c}} {{default data.d \"-\"}}{{#each data.list}},{{this}}{{/each}}'\n";
const FORM: &str = "a={{data.a}}&b={{json data.b}}&list={{#each data.list}}{{this}}.{{/each}}&fixed=1";
/// The headers of its request, without those of the connection.
const HEADER_NAMES: [&str; 5] = ["content-type", "user-agent", "webhook-id", "x-a", "x-b"];

/// A configuration with that one webhook, `hook`.
fn snapshot() -> Snapshot {
    let form = "content_type = \"application/x-www-form-urlencoded\"\nmethod = \"PUT\"";
    let hook = format!("url = '{URL}'\n{form}\nbody = '{FORM}'\n[headers]\n{HEADERS}");
    let folder = folder(&[("outrigger.toml", "[egress]\nallow_ports = [8443]\n"), ("webhooks/hook.toml", &hook)]);
    let variables = BTreeMap::from([("TOKEN", "tökn")]);
    let env = Arc::new(move |name: &str| variables.get(name).map(|value| (*value).to_owned()));
    let loaded = load(&Source { env, ..Source::new(folder.path()) });
    loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn event(data: &Value) -> Event {
    let raw = Bytes::from(json!({ "event_type": "RequestCreated", "data": data }).to_string());
    let id = EventId::parse("evt_01a206047c4a75a3b804c9ba06761969").expect("an id");
    Event::new(id, "request".into(), "RequestCreated".into(), Timestamp::UNIX_EPOCH, raw)
}

/// A text of pieces that have opened doors elsewhere.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "../", "..", ".", "/", "\\", "..\\", "%2e", "%2E%2e", "%2F", "%2f", "%5c", "%25", "%252e", "%00", "%0d%0a", "%", "?", "#", "&",
            "=", "+", ";", ":", "@", "//", "\r\n", "\n", "\r", "\0", "\t", " ", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "é", "İ", "ß",
            "😀", "\"", "'", "{{data.a}}", "${env:TOKEN}", "x-evil: 1", "HTTP/1.1", "@evil.example:1/", "\u{ff0e}\u{ff0f}", "[::1]",
        ]).prop_map(str::to_owned),
        2 => "[a-zA-Z0-9_-]{1,6}",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// An event's data: texts mostly, and other values now and then.
fn data() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        8 => hostile().prop_map(Value::String),
        1 => Just(Value::Null),
        1 => any::<i64>().prop_map(Value::from),
        1 => (hostile(), hostile()).prop_map(|(key, value)| json!({ key: [value] })),
    ];
    let list = prop::collection::vec(hostile(), 0..3);
    (value.clone(), value.clone(), value.clone(), value, list)
        .prop_map(|(a, b, c, d, list)| json!({ "a": a, "b": b, "c": c, "d": d, "list": list }))
}

/// The text that a value is printed as.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Whether a server that decodes so often, and takes `\` for `/`, would resolve a part of this segment away.
fn climbs(segment: &str) -> bool {
    let mut bytes = segment.as_bytes().to_vec();
    loop {
        if bytes.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"." || part == b"..") {
            return true;
        }
        let once: Vec<u8> = percent_encoding::percent_decode(&bytes).collect();
        if once == bytes {
            return false;
        }
        bytes = once;
    }
}

/// Holds a path and query against the file's: its segments and parameters, and what they decode to.
fn assert_target(target: &str, data: &Value) {
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{target}");
    let (path, query) = target.split_once('?').unwrap_or_else(|| panic!("{target} has no query"));
    let segments: Vec<&str> = path.split('/').collect();
    let ["", "in", a, b] = segments.as_slice() else { panic!("{target} has other segments") };
    assert_eq!(decoded(a), text(&data["a"]), "{target}");
    assert!(!a.is_empty() && !climbs(a) && !climbs(b), "{target}");
    assert_eq!(decoded(b), format!("x-{}.json", text(&data["b"])), "{target}");
    let list: String = data["list"].as_array().expect("a list").iter().map(text).collect();
    let expected = [("q", text(&data["c"])), ("r", format!("a{list}"))];
    assert_eq!(parameters(query), expected.map(|(name, value)| (name.to_owned(), value)), "{target}");
}

/// The names and values of a query.
fn parameters(query: &str) -> Vec<(String, String)> {
    assert!(!query.contains(['?', '+', ';']), "{query}");
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (decoded(name), decoded(value)));
    query.split('&').map(|text| pair(text).unwrap_or_else(|| panic!("{text} is no parameter"))).collect()
}
