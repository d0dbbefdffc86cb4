//! The event that benches handle: a granted access request of about 1 KB.
#![allow(dead_code, reason = "no bench needs all of it")]

use bytes::Bytes;
use jiff::Timestamp;
use outrigger::config::Snapshot;
use outrigger::event::{Event, EventId};
use outrigger::kind::decode::decode;

/// What came in, with a justification of so many bytes in which a quarter has to be escaped.
pub(crate) fn raw(justification_bytes: usize) -> Bytes {
    let why = r#"a \"quoted\" word\n"#.repeat(justification_bytes / 16);
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

/// The event, with an id and a time that are always the same.
pub(crate) fn decoded(snapshot: &Snapshot, raw: Bytes) -> Event {
    let kind = snapshot.kinds.get("request").expect("a built-in kind");
    decode(kind, raw, EventId::from_bytes([1; 16]), Timestamp::UNIX_EPOCH).expect("an event")
}
