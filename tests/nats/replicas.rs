//! Replicas share the work: each delivery has one worker, the others take over from one that dies, and those whose configuration
//! differs for a while do no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;

use crate::support::nats::Nats;
use crate::support::receiver::receiver;
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually};

use super::{builder, event, hook, take};

/// How often each event came.
fn counts(bodies: &[outrigger::cli::demo::receiver::Recorded]) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    for one in bodies {
        *counts.entry(one.body.to_vec()).or_default() += 1;
    }
    counts
}

fn attempts(sidecar: &Sidecar) -> f64 {
    let delivered = [("webhook", "hook"), ("outcome", "delivered")];
    sidecar.metric("outrigger_deliveries_total", &delivered).unwrap_or_default()
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn three_processes_share_the_work_and_each_delivery_goes_once() {
    let nats = Nats::one("");
    let target = receiver().otherwise(Answer::json("{}").after(Duration::from_millis(20))).start();
    let sidecars = [(); 3].map(|()| builder(&nats, &target).start());
    // All come in by one of them.
    let lines: Vec<String> = (0..900).map(|id| event(&format!("AR-{id}"))).collect();
    for chunk in lines.chunks(300) {
        let answer = sidecars[0].post_with(
            "/v1/events",
            &[("content-type", "application/x-ndjson")],
            chunk.join("\n").as_bytes(),
        );
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    target.wait(900);
    for sidecar in &sidecars {
        sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    }
    let recorded = target.recorded();
    let counts = counts(&recorded);
    assert_eq!((counts.len(), recorded.len()), (900, 900), "each once");
    let shares: Vec<f64> = sidecars.iter().map(attempts).collect();
    assert!((shares.iter().sum::<f64>() - 900.0).abs() < f64::EPSILON, "{shares:?}");
    assert!(shares.iter().all(|share| (100.0..=600.0).contains(share)), "{shares:?}");
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn what_a_dead_process_held_comes_to_another_within_its_time() {
    let nats = Nats::one("");
    let target = receiver().otherwise(Answer::hang()).start();
    let mut dying = builder(&nats, &target).start();
    take(&dying, "AR-1");
    target.wait(1);
    dying.kill9();
    target.otherwise(Answer::json("{}"));
    let heir = builder(&nats, &target).start();
    let begun = std::time::Instant::now();
    let came = eventually(Duration::from_secs(45), || (target.count() == 2).then_some(()));
    assert!(came.is_some(), "{}", heir.log());
    assert!(begun.elapsed() > Duration::from_secs(15), "it was held: {:?}", begun.elapsed());
    heir.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_process_that_ends_gives_back_what_it_has_not_begun() {
    let nats = Nats::one("");
    let target = receiver().otherwise(Answer::status(503)).start();
    let waits = format!("{}[limits]\nconcurrency = 1\nrate = \"5/s\"\n", hook(&target));
    let mut one = builder(&nats, &target).webhook("hook", &waits).start();
    for id in 0..20 {
        take(&one, &format!("AR-{id}"));
    }
    target.wait(1);
    target.otherwise(Answer::json("{}"));
    assert!(one.terminate().success());
    let begun = std::time::Instant::now();
    let other = builder(&nats, &target).start();
    let all = eventually(PATIENCE, || (counts(&target.recorded()).len() == 20).then_some(()));
    assert!(all.is_some() && begun.elapsed() < Duration::from_secs(20), "{}", other.log());
    other.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_process_that_lacks_a_webhook_leaves_its_deliveries_to_one_that_has_it() {
    let nats = Nats::one("");
    let target = receiver().start();
    let with_grace = || builder(&nats, &target).setting("config.removal_grace = '1s'");
    let retry = "status = \"inactive\"\n[retry]\ninitial = \"1m\"\n";
    let paused = format!("{}{retry}", hook(&target).replace("/hook", "/new"));
    let fresh = with_grace().webhook("new", &paused).start();
    let old = with_grace().start();
    // It is owed by a webhook that only one of them has, and which sends nothing at present.
    fresh.written().write_webhook("new", &paused.replace("inactive", "active").replace("/new", "/gone"));
    fresh.wait_log("config.published");
    target.otherwise(Answer::status(503));
    let answer = fresh.post("/v1/webhooks/new/invoke", &event("AR-1"));
    assert_eq!(answer.status, 202, "{answer:?}");
    target.wait(1);
    fresh.written().write_webhook("new", &paused);
    target.otherwise(Answer::json("{}"));
    let late = with_grace().start();
    // Several times the grace.
    std::thread::park_timeout(Duration::from_secs(8));
    for sidecar in [&old, &late, &fresh] {
        assert_eq!(
            sidecar.get("admin", "/api/v1/dead-letters").json()["dead_letters"].as_array().map(Vec::len),
            Some(0)
        );
    }
    // None has it any more.
    std::fs::remove_file(fresh.written().config().join("webhooks/new.toml")).expect("it is there");
    let dead = eventually(PATIENCE, || {
        let letters = old.get("admin", "/api/v1/dead-letters").json();
        letters["dead_letters"].as_array().filter(|letters| !letters.is_empty()).cloned()
    });
    let dead = dead.unwrap_or_else(|| panic!("{}\n{}\n{}", old.log(), late.log(), fresh.log()));
    assert_eq!((dead.len(), dead[0]["reason"].as_str()), (1, Some("webhook_removed")));
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_change_of_the_configuration_that_rolls_over_the_replicas_under_load_loses_and_doubles_nothing() {
    let nats = Nats::one("");
    let target = receiver().start();
    let sidecars = [(); 3].map(|()| builder(&nats, &target).setting("config.removal_grace = '1s'").start());
    let (mut posted, mut added) = (0, 0);
    for round in 0..4 {
        for sidecar in &sidecars {
            // One after the other gets a second webhook, changes the first, and loses the second.
            if round % 2 == 0 {
                let text = hook(&target).replace("/hook", "/second");
                sidecar.written().write_webhook("second", &text);
            } else {
                std::fs::remove_file(sidecar.written().config().join("webhooks/second.toml")).expect("it is there");
            }
            sidecar.written().write_webhook("hook", &format!("{}# {round}\n", hook(&target)));
            for _ in 0..30 {
                let answer = sidecars[posted % 3].post("/v1/events", &event(&format!("AR-{posted}")));
                assert_eq!(answer.status, 202, "{answer:?}");
                posted += 1;
                added += usize::from(answer.body.contains("\"second\""));
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    }
    let at = |path: &str| {
        let all = target.recorded();
        let of: Vec<_> = all.into_iter().filter(|one| one.target == path).collect();
        (of.len(), counts(&of).len())
    };
    let all = eventually(PATIENCE, || (at("/hook").0 >= posted).then_some(()));
    assert!(all.is_some(), "{:?} of {posted}", at("/hook"));
    let second = eventually(PATIENCE, || {
        let letters = sidecars[0].get("admin", "/api/v1/dead-letters?limit=1000").json();
        let dead = letters["dead_letters"].as_array().map_or(0, Vec::len);
        (at("/second").0 + dead >= added).then_some(dead)
    });
    let dead = second.unwrap_or_else(|| panic!("{:?} of {added}", at("/second")));
    assert_eq!((at("/hook"), at("/second")), ((posted, posted), (added - dead, added - dead)), "each once");
    assert!(added > dead, "{added} {dead}");
}
