//! One webhook never waits for another, and never has more in flight than it may.

use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;
use serde_json::json;

use super::{created, event, hook};
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

/// Deliveries whose latency is measured.
const MEASURED: usize = 100;

/// The median and the 99th percentile of what a delivery takes from its post to its acceptance.
fn latencies(sidecar: &Sidecar) -> (Duration, Duration) {
    let posted = event("RequestGranted", &json!({ "id": "quick" }));
    let mut taken: Vec<Duration> = (0..MEASURED)
        .map(|_| {
            let begun = Instant::now();
            let answer = sidecar.post("/v1/events?wait=15s", &posted);
            assert_eq!(answer.status, 200, "{answer:?}");
            begun.elapsed()
        })
        .collect();
    taken.sort();
    (taken[(MEASURED - 1) / 2], taken[(MEASURED - 1) * 99 / 100])
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are for people")]
fn a_target_that_hangs_delays_no_other_webhook() {
    let (quick, hanging) = (receiver().start(), receiver().otherwise(Answer::hang()).start());
    let sidecar = sidecar()
        .reaching(&quick)
        .reaching(&hanging)
        .webhook("hanging", &hook(&hanging.url("/"), "triggers = [\"RequestCreated\"]\ntimeout = \"60s\""))
        .webhook("quick", &hook(&quick.url("/"), "triggers = [\"RequestGranted\"]"))
        .start();
    latencies(&sidecar);
    let without = latencies(&sidecar);
    for number in 0..20 {
        assert_eq!(sidecar.post("/v1/events", &created(&number.to_string())).status, 202);
    }
    hanging.wait(8);
    let with = latencies(&sidecar);
    eprintln!("p50 and p99 without a hanging neighbour {without:?}, with one {with:?}");
    assert_eq!(sidecar.metric("outrigger_pending_deliveries", &[("webhook", "hanging")]), Some(20.0));
    // Far below the 60 s of the one that hangs, and above what a busy machine adds by chance.
    assert!(with.0 <= without.0 * 5 + Duration::from_millis(50), "p50 without {:?}, with {:?}", without.0, with.0);
    assert!(with.1 <= without.1 * 10 + Duration::from_millis(500), "p99 without {:?}, with {:?}", without.1, with.1);
}

#[test]
fn no_more_attempts_are_in_flight_than_the_limit_and_all_of_it_is_used() {
    const LIMIT: usize = 3;
    let answer_time = Duration::from_millis(150);
    let target = receiver().otherwise(Answer::status(200).after(answer_time)).start();
    let limits = format!("limits.concurrency = {LIMIT}");
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), &limits)).start();
    let lines: Vec<String> = (0..12).map(|number| created(&number.to_string())).collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(sidecar.post_with("/v1/events", &ndjson, lines.join("\n").as_bytes()).status, 202);
    let seen = target.wait(lines.len());
    // A request is in flight from when it came in until it is answered, which is `answer_time` later at the earliest.
    let most = seen.iter().map(|one| {
        let overlapping = seen.iter().filter(|other| other.at <= one.at && one.at < other.at + answer_time);
        overlapping.count()
    });
    assert_eq!(most.max(), Some(LIMIT));
}
