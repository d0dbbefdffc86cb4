//! What planning costs, and the way from bytes to a body: `cargo bench --bench plan`.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, black_box};
use jiff::Timestamp;
use outrigger::config::{Snapshot, Source, load};
use outrigger::event::{Event, EventId};
use outrigger::kind::decode::decode;
use outrigger::plan::plan;

/// Webhooks that want the event.
const MATCHING: usize = 10;

fn main() {
    divan::main();
}

/// A configuration of `webhooks` webhooks, of which [`MATCHING`] are started by `RequestGranted` and have a filter that holds.
fn snapshot(webhooks: usize) -> Snapshot {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("webhooks")).expect("a folder");
    for number in 0..webhooks {
        let trigger = if number < MATCHING { "RequestGranted" } else { "RequestCreated" };
        let mut text = format!("url = \"https://hooks.example.com/{number}\"\ntriggers = [\"{trigger}\"]\n");
        let _ = writeln!(text, "body = '{{\"id\":\"{{{{data.id}}}}\",\"who\":\"{{{{data.requester.email}}}}\"}}'");
        text.push_str("[[filters]]\nfield = \"integration\"\nany_of = [\"prod-*\"]\n");
        fs::write(folder.path().join(format!("webhooks/hook-{number}.toml")), text).expect("a file");
    }
    let source = Source { env: Arc::new(|_| None), ..Source::new(folder.path()) };
    let loaded = load(&source);
    loaded.snapshot.unwrap_or_else(|| panic!("the configuration has faults: {:?}", loaded.diagnostics.first()))
}

/// A granted request whose justification has so many bytes.
fn raw(justification_bytes: usize) -> Bytes {
    let why = "a quoted \\\"word\\\" ".repeat(justification_bytes / 18);
    Bytes::from(format!(
        r#"{{"event_type":"AccessRequestGranted","event_time":"1767225600.000000001","data":{{"id":"r-1","friendly_id":"AR-77",
        "requester":{{"id":"u-1","name":"Ana García","email":"ana@example.com"}},"justification":"{why}",
        "access_flow":{{"id":"f-1","name":"on call"}},"access_bundle":null,"access_groups":[{{
        "integration":{{"id":"i-1","type":"postgresql","name":"prod-postgres"}},
        "resource_types":[{{"id":"r-1","name":"Database","display_path":"PostgreSQL/Database"}}],
        "access_units":[{{"resource":{{"id":"t-1","name":"orders","path":"prod/orders"}},"permission":{{"id":"p-1","name":"read"}}}}]}}],
        "approvals":[{{"name":"Manager","type":"user","status":"Approved","approver":{{"id":"u-2","name":"Lee","email":"lee@example.com"}}}}]}}}}"#
    ))
}

fn event(snapshot: &Snapshot, raw: Bytes) -> Event {
    let kind = snapshot.kinds.get("request").expect("a built-in kind");
    decode(kind, raw, EventId::from_bytes([1; 16]), Timestamp::UNIX_EPOCH).expect("an event")
}

/// With the parse that the first filter asks for.
#[divan::bench(args = [10, 100, 1000])]
fn one_event_of_which_10_match(bencher: Bencher<'_, '_>, webhooks: usize) {
    let snapshot = snapshot(webhooks);
    let raw = raw(100);
    bencher.with_inputs(|| event(&snapshot, raw.clone())).bench_refs(|event| {
        let plan = plan(&snapshot, &black_box(event).tree());
        assert_eq!(plan.wanted.len(), MATCHING);
    });
}

/// Decoded, planned and rendered: all that a delivery costs before the network.
#[divan::bench(args = [100, 65_536])]
fn from_bytes_to_a_body(bencher: Bencher<'_, '_>, justification_bytes: usize) {
    let snapshot = snapshot(1);
    let raw = raw(justification_bytes);
    bencher.bench(|| {
        let event = event(&snapshot, black_box(raw.clone()));
        let plan = plan(&snapshot, &event.tree());
        plan.wanted.first().expect("it is wanted").render(&event).map(|request| request.body.len()).expect("a body")
    });
}
