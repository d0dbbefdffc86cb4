//! Thousands of dead letters: bounded steps, runs that end, and runs at the same time.

use std::collections::BTreeMap;

use serde_json::json;

use super::{bury, hook, ids_from, post, run, wait_delivered};
use crate::support::{receiver, sidecar};

const MANY: usize = 2_300;

#[test]
fn a_long_replay_goes_in_steps_ends_though_its_letters_die_again_and_delivers_all_after_the_mend() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", MANY);

    // Each step looks at no more than it says, and all of them together at each letter once.
    let (mut body, mut steps, mut replayed) = (json!({ "reason": "client_error", "since": "1h" }), 0, 0);
    loop {
        let answer = post(&sidecar, "/api/v1/dead-letters/replay", &body);
        let matched = answer["matched"].as_u64().expect("a count");
        assert!(matched <= 500, "{answer}");
        replayed += answer["replayed"].as_u64().expect("a count");
        steps += 1;
        // The receiver still refuses: what was replayed is dead again before the next step.
        sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
        if answer["cursor"].is_null() {
            break;
        }
        body["cursor"] = answer["cursor"].clone();
    }
    assert_eq!((steps, replayed), (5, MANY as u64));
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "hook")], f64::from(u32::try_from(MANY).expect("few")));

    target.otherwise(200.into());
    let before = target.count();
    let ended = run(&sidecar, &["dead-letters", "replay", "--webhook", "hook"]);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), "replayed 2300 dead letters"), "{ended:?}");
    assert_eq!(ended.stderr, "", "a count that changes is for terminals");
    wait_delivered(&sidecar, "hook", f64::from(u32::try_from(MANY).expect("few")));
    assert_eq!(target.count() - before, MANY);
    let ids = ids_from(&target, before);
    assert_eq!(ids.len(), MANY);
    assert_eq!(ids, target.recorded().iter().take(MANY).map(|seen| seen.header("webhook-id").to_owned()).collect());
}

#[test]
fn two_replays_at_the_same_time_deliver_nothing_twice() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", MANY);
    target.otherwise(200.into());
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let ended = run(&sidecar, &["dead-letters", "replay", "--all", "--json"]);
                    let told: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
                    told["replayed"].as_u64().expect("a count")
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    assert_eq!(counts.iter().sum::<u64>(), MANY as u64, "{counts:?}");
    wait_delivered(&sidecar, "hook", f64::from(u32::try_from(MANY).expect("few")));
    let mut seen = BTreeMap::new();
    for one in target.recorded().iter().skip(MANY) {
        *seen.entry(one.header("webhook-id").to_owned()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), MANY);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}
