//! While servers are away senders are told to come again, probes and metrics tell, and all goes on by itself afterwards.

use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;

use crate::support::nats::Nats;
use crate::support::receiver::receiver;
use crate::support::{PATIENCE, eventually};

use super::{builder, event, take};

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_server_that_goes_and_comes_back_costs_nothing_that_was_taken() {
    let mut nats = Nats::one("");
    // What is in flight when the server goes ends while it is away.
    let target = receiver().otherwise(Answer::json("{}").after(Duration::from_secs(2))).start();
    let sidecar = builder(&nats, &target).start();
    for id in 0..8 {
        take(&sidecar, &format!("AR-{id}"));
    }
    target.wait(1);
    assert_eq!(sidecar.get("metrics", "/readyz").status, 200);
    assert_eq!(sidecar.metric("outrigger_spool_up", &[]), Some(1.0));
    nats.kill(0);
    let away = eventually(PATIENCE, || (sidecar.get("metrics", "/readyz").status == 503).then_some(()));
    assert!(away.is_some(), "probes are told");
    assert!(sidecar.get("metrics", "/readyz").body.contains("NATS"));
    assert_eq!(sidecar.metric("outrigger_spool_up", &[]), Some(0.0));
    assert_eq!(sidecar.get("metrics", "/livez").status, 200);
    let answer = sidecar.post("/v1/events", &event("AR-refused"));
    assert_eq!((answer.status, answer.header("retry-after").is_empty()), (503, false), "{answer:?}");
    nats.restart(0);
    let back = eventually(PATIENCE, || (sidecar.get("metrics", "/readyz").status == 200).then_some(()));
    assert!(back.is_some(), "{}", sidecar.log());
    take(&sidecar, "AR-after");
    let all = eventually(PATIENCE, || {
        let bodies: Vec<String> =
            target.recorded().iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
        let has = |id: &str| bodies.iter().any(|body| body.contains(&format!("\"{id}\"")));
        ((0..8).all(|id| has(&format!("AR-{id}"))) && has("AR-after")).then_some(())
    });
    assert!(all.is_some(), "{}", sidecar.log());
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    assert_eq!(target.count(), 9, "nothing went twice: what was accepted is settled when the server is back");
}

/// The longest that choosing a new leader may keep ingest from answering 202; measured it is far less.
const FAILOVER_MAX: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs a nats-server: tests/all"]
#[expect(clippy::print_stderr, reason = "the figures are for people")]
fn one_of_three_servers_killed_under_load_costs_no_event_and_no_answer_beyond_the_failover() {
    let mut nats = Nats::three();
    let target = receiver().start();
    let sidecars = [(); 2].map(|()| builder(&nats, &target).start());
    let (mut posted, mut slowest) = (0, Duration::ZERO);
    let mut refused = Vec::new();
    for node in 0..3 {
        let begun = Instant::now();
        let mut killed = None;
        while begun.elapsed() < Duration::from_secs(9) {
            if begun.elapsed() > Duration::from_secs(1) && killed.is_none() {
                nats.kill(node);
                killed = Some(Instant::now());
            }
            let sent = Instant::now();
            let sidecar = &sidecars[posted % 2];
            let answer = sidecar.post("/v1/events", &event(&format!("AR-{posted}")));
            slowest = slowest.max(sent.elapsed());
            if answer.status == 202 {
                posted += 1;
            } else {
                let since = killed.map(|killed| killed.elapsed()).unwrap_or_default();
                assert!(answer.status == 503 && !answer.header("retry-after").is_empty(), "{answer:?}");
                assert!(killed.is_some() && since < FAILOVER_MAX, "{answer:?} after {since:?}\n{}", sidecar.log());
                refused.push(since);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        nats.restart(node);
        let well = eventually(PATIENCE, || (sidecars[0].get("metrics", "/readyz").status == 200).then_some(()));
        assert!(well.is_some(), "{}", sidecars[0].log());
    }
    eprintln!("{posted} posts, the slowest took {slowest:?}; answered 503 so long after a kill: {refused:?}");
    let all = eventually(PATIENCE * 3, || {
        let ids: std::collections::BTreeSet<Vec<u8>> = target.recorded().iter().map(|one| one.body.to_vec()).collect();
        (ids.len() >= posted).then_some(())
    });
    assert!(all.is_some(), "{} of {posted} came", target.count());
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn what_no_quorum_has_kept_is_answered_by_no_202() {
    let mut nats = Nats::three();
    let target = receiver().start();
    let sidecar = builder(&nats, &target).start();
    take(&sidecar, "AR-first");
    let (mut taken, mut others) = (1, 0);
    for survivor in 0..3 {
        let [one, other] = [(survivor + 1) % 3, (survivor + 2) % 3];
        nats.signal(one, "STOP");
        nats.signal(other, "STOP");
        // One who leads alone proposes it, and nobody else ever hears of it.
        let answer = sidecar.post("/v1/events", &event(&format!("AR-{survivor}")));
        let was_taken = answer.status == 202;
        assert!(was_taken || answer.status == 503, "{answer:?}");
        for node in 0..3 {
            nats.kill(node);
        }
        nats.restart(one);
        nats.restart(other);
        // Readiness follows what the servers do by some seconds and may not have noticed yet. Whoever brings a key may ask again.
        let (id, key) = (format!("AR-after-{survivor}"), format!("after-{survivor}"));
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let takes = || sidecar.post_with("/v1/events", &headers, event(&id).as_bytes()).status == 202;
        let back = eventually(PATIENCE * 2, || takes().then_some(()));
        assert!(back.is_some(), "{}", sidecar.log());
        nats.restart(survivor);
        taken += 1 + usize::from(was_taken);
        others += usize::from(!was_taken);
        let id = format!("\"AR-{survivor}\"");
        let came = || target.recorded().iter().any(|one| String::from_utf8_lossy(&one.body).contains(&id));
        if was_taken {
            assert!(
                eventually(PATIENCE, || came().then_some(())).is_some(),
                "{id} was answered 202\n{}",
                sidecar.log()
            );
        }
    }
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    assert!((taken..=taken + others).contains(&target.count()), "{} of {taken}", target.count());
    assert!(others > 0, "two of three servers were stopped");
}
