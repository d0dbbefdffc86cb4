//! What the sidecar reports of faults: one Reason for an attempt, and the next event is delivered once the receiver is well.

use crate::support::certificates;
use crate::support::frames::{self, REFUSED_STREAM};
use crate::support::raw::{Greeting, Raw, Seen, Step, well};
use crate::support::sidecar;

/// Events that are posted at most until a connection is reused.
const EVENTS_MAX: usize = 100;
const EVENT: &str = r#"{"event_type":"RequestCreated","data":{"id":"r-1"}}"#;

fn write(text: &str) -> Step {
    Step::Write(text.as_bytes().to_vec())
}

#[test]
fn a_fault_is_counted_by_its_reason_and_what_comes_after_it_is_delivered() {
    let replies = |steps: Vec<Step>| Raw::start(Greeting::http1(), move |_| steps.clone());
    let refuses = |seen: &Seen| vec![Step::Write(frames::reset(seen.stream, REFUSED_STREAM))];
    let faults = [
        ("reset-on-accept", "connection_reset", Raw::start(Greeting::Reset, |_| Vec::new())),
        ("no-tls", "tls_error", Raw::start(Greeting::Plain(b"SSH-2.0-x\r\n".to_vec()), |_| Vec::new())),
        ("self-signed", "tls_error", Raw::start(certificates::self_signed(), |_| Vec::new())),
        ("silent", "timeout", replies(Vec::new())),
        ("drips", "timeout", replies(vec![Step::Drip(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())])),
        ("closes", "connection_reset", replies(vec![Step::Close])),
        (
            "cuts-a-chunk",
            "connection_reset",
            replies(vec![write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nx"), Step::Reset]),
        ),
        ("no-http", "network_error", replies(vec![write("SSH-2.0-x\r\n\r\n")])),
        ("refuses-streams", "connection_reset", Raw::start(Greeting::http2(), refuses)),
    ];
    let ports: Vec<u16> = faults.iter().map(|(_, _, raw)| raw.port()).collect();
    let mut sidecar = sidecar().setting(&format!("egress.allow_ports = {ports:?}"));
    for (name, reason, raw) in &faults {
        let timeout = if *reason == "timeout" { "1s" } else { "15s" };
        let file = format!("url = '{}'\ntimeout = '{timeout}'\nretry.max_attempts = 1", raw.url("/x"));
        sidecar = sidecar.webhook(name, &file);
    }
    let sidecar = sidecar.start();
    let answer = sidecar.post("/v1/events?wait=15s", EVENT);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", sidecar.log());
    for (name, reason, _) in &faults {
        let counted = sidecar.metric("outrigger_attempt_failures_total", &[("webhook", name), ("reason", reason)]);
        assert_eq!(counted, Some(1.0), "{name} is no {reason}:\n{}", sidecar.log());
        let failed = sidecar.metric("outrigger_attempts_total", &[("webhook", name), ("outcome", "failed")]);
        assert_eq!(failed, Some(1.0), "{name}");
    }
    for (_, _, raw) in &faults {
        raw.heal();
    }
    let answer = sidecar.post("/v1/events?wait=15s", EVENT);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", sidecar.log());
    for (name, ..) in &faults {
        let labels = [("webhook", *name), ("outcome", "delivered")];
        assert_eq!(sidecar.metric("outrigger_deliveries_total", &labels), Some(1.0), "{name}:\n{}", sidecar.log());
    }
}

#[test]
fn an_exchange_that_a_stale_connection_lost_is_part_of_one_accepted_attempt() {
    // It hangs up on the first request that comes on a connection that was used before.
    let raw = Raw::start(Greeting::http1(), |seen| match (seen.connection, seen.number) {
        (1, 2) => vec![Step::Close],
        _ => vec![well(seen)],
    });
    let file = format!("url = '{}'\nretry.max_attempts = 1", raw.url("/x"));
    let sidecar = sidecar().setting(&format!("egress.allow_ports = [{}]", raw.port())).webhook("hook", &file).start();
    let lost = || raw.seen().into_iter().find(|seen| (seen.connection, seen.number) == (1, 2));
    let mut posted = 0;
    while lost().is_none() {
        let answer = sidecar.post("/v1/events?wait=15s", EVENT);
        assert_eq!(answer.status, 200, "{answer:?}\n{}", sidecar.log());
        posted += 1;
        assert!(posted < EVENTS_MAX, "no connection was reused: {:?}", raw.seen());
    }
    let id = lost().expect("it was seen").header("webhook-id").to_owned();
    let connections: Vec<_> =
        raw.seen().iter().filter(|seen| seen.header("webhook-id") == id).map(|seen| seen.connection).collect();
    assert!(matches!(connections[..], [1, other] if other > 1), "{connections:?}");
    let attempts = |outcome| sidecar.metric("outrigger_attempts_total", &[("webhook", "hook"), ("outcome", outcome)]);
    assert_eq!(attempts("accepted"), Some(f64::from(u32::try_from(posted).expect("a few"))), "{}", sidecar.log());
    assert_eq!(attempts("failed"), Some(0.0), "{}", sidecar.log());
}

#[test]
fn an_exchange_that_a_fresh_connection_lost_is_one_failed_attempt() {
    let raw = Raw::start(Greeting::http1(), |_| vec![Step::Close]);
    let file = format!("url = '{}'\nretry.max_attempts = 1", raw.url("/x"));
    let sidecar = sidecar().setting(&format!("egress.allow_ports = [{}]", raw.port())).webhook("hook", &file).start();
    assert_eq!(sidecar.post("/v1/events?wait=15s", EVENT).status, 200);
    let failures = [("webhook", "hook"), ("reason", "connection_reset")];
    assert_eq!(sidecar.metric("outrigger_attempt_failures_total", &failures), Some(1.0), "{}", sidecar.log());
    assert_eq!((raw.seen().len(), raw.connections()), (1, 1));
}
