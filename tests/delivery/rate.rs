//! `limits.rate`: a burst is spread, and nothing fails of it.

use std::time::Duration;

use outrigger::config::{Source, load};
use outrigger::webhook::gate::Rate;

use super::{created, hook, settle};
use crate::support::{receiver, sidecar};

const EVENTS: usize = 15;
/// Between two attempts at the rate below.
const INTERVAL: Duration = Duration::from_millis(200);

#[test]
fn a_burst_beyond_the_rate_is_spread_evenly_and_other_webhooks_do_not_wait() {
    let (slow, quick) = (receiver().start(), receiver().start());
    let sidecar = sidecar()
        .reaching(&slow)
        .reaching(&quick)
        .webhook("slow", &hook(&slow.url("/"), "limits = { rate = \"5/s\" }"))
        .webhook("quick", &hook(&quick.url("/"), ""))
        .start();
    let lines: Vec<String> = (0..EVENTS).map(|number| created(&number.to_string())).collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(sidecar.post_with("/v1/events", &ndjson, lines.join("\n").as_bytes()).status, 202);
    quick.wait(EVENTS);
    assert!(slow.count() < EVENTS, "the quick one has all of its deliveries before the slow one");
    let seen = slow.wait(EVENTS);
    // The first takes a handshake, and any may come late: together they cannot come sooner than the rate allows.
    let taken = seen[EVENTS - 1].at.duration_since(seen[1].at);
    let least = INTERVAL * u32::try_from(EVENTS - 2).unwrap();
    assert!(taken >= least.mul_f64(0.8), "{taken:?} for what takes {least:?}");
    for webhook in ["slow", "quick"] {
        let delivered = [("webhook", webhook), ("outcome", "delivered")];
        sidecar.wait_metric("outrigger_deliveries_total", &delivered, f64::from(u32::try_from(EVENTS).unwrap()));
        let failed = [("webhook", webhook), ("outcome", "failed")];
        assert_eq!(sidecar.metric("outrigger_attempts_total", &failed), Some(0.0), "{webhook}");
    }
}

#[test]
fn a_rate_that_an_edit_lifts_is_lifted_at_once() {
    let target = receiver().start();
    let limited = hook(&target.url("/"), "limits.rate = \"1/h\"");
    let sidecar = sidecar().reaching(&target).webhook("hook", &limited).start();
    assert_eq!(settle(&sidecar, &created("first")).len(), 1);
    for number in 0..5 {
        assert_eq!(sidecar.post("/v1/events", &created(&number.to_string())).status, 202);
    }
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 5.0);
    assert_eq!(target.count(), 1);
    sidecar.written().write_webhook("hook", &hook(&target.url("/"), ""));
    target.wait(6);
}

#[test]
fn what_a_rate_holds_back_for_too_long_expires() {
    let target = receiver().start();
    let file = hook(&target.url("/"), "limits.rate = \"1/h\"\nretry.max_age = \"1s\"");
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    for number in 0..4 {
        assert_eq!(sidecar.post("/v1/events", &created(&number.to_string())).status, 202);
    }
    sidecar.wait_metric("outrigger_dead_letters_total", &[("webhook", "hook"), ("reason", "expired")], 3.0);
    assert_eq!(target.count(), 1);
}

#[test]
fn a_burst_of_the_defaults_goes_with_their_rate_alone() {
    let second = Duration::from_secs(1);
    let cases = [
        ("", Rate::new(second / 50, Some(100))),
        ("limits.burst = 7", Rate::new(second / 50, Some(7))),
        ("limits.rate = \"1/s\"", Rate::new(second, None)),
        ("limits = { rate = \"1/s\", burst = 3 }", Rate::new(second, Some(3))),
        ("limits.concurrency = 2", Rate::new(second / 50, Some(100))),
    ];
    for (limits, expected) in cases {
        let written = sidecar()
            .setting("defaults.limits = { rate = \"50/s\", burst = 100 }")
            .webhook("hook", &hook("https://hooks.example.com/in", limits))
            .write();
        let snapshot = load(&Source::new(written.config())).snapshot.expect("no faults");
        assert_eq!(snapshot.webhooks["hook"].rate, Some(expected), "{limits}");
    }
}
