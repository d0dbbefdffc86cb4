//! A repeat of a request is known by its `Idempotency-Key`.

use super::{created, hook};
use crate::support::{receiver, sidecar};

const DELIVERED: &[(&str, &str)] = &[("webhook", "hook"), ("outcome", "delivered")];

#[test]
fn a_repeat_is_answered_the_same_and_delivers_nothing_also_after_a_crash() {
    let target = receiver().start();
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let key = &[("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324")];
    let body = created("r-1");
    let first = sidecar.post_with("/v1/events", key, body.as_bytes());
    assert_eq!((first.status, first.header("idempotent-replayed")), (202, ""), "{first:?}");
    sidecar.wait_metric("outrigger_deliveries_total", DELIVERED, 1.0);
    // Its settlement is on disk, too.
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    sidecar.kill9();
    sidecar.restart();
    for path in ["/v1/events", "/v1/events?wait=10s"] {
        let repeat = sidecar.post_with(path, key, body.as_bytes());
        assert_eq!((repeat.status, &repeat.body), (202, &first.body), "{path}");
        assert_eq!(repeat.header("idempotent-replayed"), "true");
    }
    // A key of its own is another request, and so is none.
    let other = sidecar.post_with("/v1/events", &[("idempotency-key", "another")], body.as_bytes());
    let none = sidecar.post("/v1/events", &body);
    assert!(other.status == 202 && none.status == 202 && other.body != first.body && none.body != first.body);
    sidecar.wait_metric("outrigger_deliveries_total", DELIVERED, 2.0);
    let received =
        |result| sidecar.metric("outrigger_events_received_total", &[("kind", "request"), ("result", result)]);
    assert_eq!((received("accepted"), received("repeated")), (Some(2.0), Some(2.0)));
    assert_eq!(target.count(), 3);
}

#[test]
fn a_key_with_another_request_is_refused() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let key = &[("idempotency-key", "k")];
    assert_eq!(sidecar.post_with("/v1/events", key, created("r-1").as_bytes()).status, 202);
    for (path, body) in [("/v1/events", created("r-2")), ("/v1/webhooks/hook/invoke", created("r-1"))] {
        let refused = sidecar.post_with(path, key, body.as_bytes());
        assert_eq!((refused.status, refused.header("content-type")), (422, "application/problem+json"), "{refused:?}");
        assert!(refused.body.contains("Idempotency-Key"), "{refused:?}");
    }
    // What was refused before it was taken leaves the key to be used.
    let mended = &[("idempotency-key", "mended")];
    assert_eq!(sidecar.post_with("/v1/events", mended, b"{\"event_type\": ").status, 400);
    assert_eq!(sidecar.post_with("/v1/events", mended, created("r-3").as_bytes()).status, 202);
    let nonsense = "x".repeat(300);
    for wrong in ["", &nonsense] {
        let refused = sidecar.post_with("/v1/events", &[("idempotency-key", wrong)], created("r-4").as_bytes());
        assert_eq!(refused.status, 400, "{refused:?}");
    }
}

#[test]
fn a_key_is_forgotten_after_its_window() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .setting("ingest.idempotency_window = \"1s\"")
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let key = &[("idempotency-key", "k")];
    let first = sidecar.post_with("/v1/events", key, created("r-1").as_bytes());
    let kept = crate::support::eventually(crate::support::PATIENCE, || {
        let again = sidecar.post_with("/v1/events", key, created("r-1").as_bytes());
        (again.status == 202 && again.body != first.body).then_some(again)
    });
    assert!(kept.is_some(), "the key is known for ever");
    target.wait(2);
}
