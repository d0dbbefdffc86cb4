//! The oracle: random faults against the real process, and a judge of what was seen from outside.
//!
//! Producers post, receivers misbehave, the network breaks, files are edited, the process is killed and drained. In the end
//! everything is mended, fresh events must pass and nothing may be pending. Then the judge reads what was written down: every
//! 202 is delivered or dead for a reason that is to be seen, nothing is invented, payloads are equal, order is kept where it
//! is promised, attempts keep to the policy.
//!
//! All choices follow from one seed, which is printed first; what the machine's timing makes of them differs. Runs share
//! nothing, so that many can go on side by side:
//!
//! ```text
//! OUTRIGGER_TEST_ORACLE_SEED=7 OUTRIGGER_TEST_ORACLE_SECONDS=600 cargo test --release --test main oracle:: -- --nocapture
//! ```

mod conductor;
mod history;
mod judge;
mod producers;
mod receivers;
mod report;
mod webhooks;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use outrigger::spool::DeadLetter;

use crate::support::relay::Relay;
use crate::support::spool::{left, letters};
use crate::support::{eventually, sidecar};

use conductor::{Conductor, write_secret};
use history::{Burial, Posted, Status};
use judge::judge;
use producers::Sent;
use webhooks::{Event, RECEIVERS, REMOVAL_GRACE, SERIALS, SPECS};
use world::World;

/// How long a run breaks things, unless it is told.
const SECONDS: u64 = 45;
/// How long everything may take to be well again.
const HEALING_MAX: Duration = Duration::from_mins(2);
/// The numbers of the events that show that nothing is stuck.
const FRESH: u64 = 90 * SERIALS;

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[test]
#[expect(clippy::print_stderr, reason = "the seed and the figures are for people")]
fn random_faults_lose_nothing_and_invent_nothing() {
    let seconds = number_from_env("OUTRIGGER_TEST_ORACLE_SECONDS").unwrap_or(SECONDS);
    let seed = number_from_env("OUTRIGGER_TEST_ORACLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("OUTRIGGER_TEST_ORACLE_SEED={seed} OUTRIGGER_TEST_ORACLE_SECONDS={seconds}");

    let builder = sidecar();
    let socket = builder.dir().join("ingest.sock");
    let world = Arc::new(World::new(seed, socket.clone(), &conductor::token(0)));
    let targets = receivers::start(&world);
    let relays: Vec<Relay> = targets.iter().map(|target| Relay::start(target.addr())).collect();
    assert_eq!(relays.len(), RECEIVERS);
    let ports: Vec<u16> = relays.iter().map(|relay| relay.addr().port()).collect();
    let secrets = builder.dir().join("config/secrets");
    fs::create_dir_all(&secrets).expect("a folder");
    write_secret(&secrets, 0);
    let mut builder = builder
        .setting(&format!("ingest.listen = 'unix:{}'", socket.display()))
        .setting(&format!("egress.allow_ports = {ports:?}"))
        .setting(&format!("config.removal_grace = \"{}s\"", REMOVAL_GRACE.as_secs()))
        .setting("shutdown.grace = \"5s\"")
        .env("LIFE", "0");
    for spec in &SPECS {
        let origin = relays[spec.receiver].addr().to_string();
        builder = builder.webhook(spec.name, &spec.file(&origin, Status::Active, 1));
    }
    let mut conductor = Conductor::new(&world, builder.start(), relays);
    let producers = producers::start(&world);
    conductor.run(Duration::from_secs(seconds));
    world.stop();
    for producer in producers {
        producer.join().expect("a producer does not fail");
    }
    conductor.heal();
    let healing = heal(&world, &conductor);
    conductor.finish();

    let spool = conductor.sidecar.written().dir().join("spool");
    assert_eq!(left(&spool).pending(), 0, "nothing is pending at the end of seed {seed}");
    let burials: Vec<Burial> =
        letters(&spool).iter().map(|(letter, payload)| burial(&world, letter, payload)).collect();
    let mut history = world.history();
    history.burials.extend(burials);
    let violations = judge(&history);
    eprintln!("{}", report::figures(&history, seconds, healing, &conductor.done));
    assert!(
        violations.is_empty(),
        "OUTRIGGER_TEST_ORACLE_SEED={seed}: {} violations\n{}",
        violations.len(),
        report::violations(&history, &violations, conductor.sidecar.written().dir())
    );
}

/// Waits until a fresh event has reached every webhook and nothing is pending, and says how long that took.
fn heal(world: &World, conductor: &Conductor) -> Duration {
    let begun = world.now();
    let mut next = FRESH;
    for (webhook, spec) in SPECS.iter().enumerate() {
        // What an edit a moment ago has not reached yet is posted again.
        let number = eventually(HEALING_MAX, || {
            let event = Event::wanted_by(spec, world.seed, next);
            next = event.number + 1;
            let Some(Posted::Taken(receipts)) = producers::post(world, &Sent::single(&event)) else { return None };
            receipts[0].owed.iter().any(|(name, _)| name == spec.name).then_some(event.number)
        });
        let number = number.unwrap_or_else(|| panic!("{} takes no event:\n{}", spec.name, conductor.sidecar.log()));
        let arrived = eventually(HEALING_MAX, || {
            let history = world.history();
            let mut latest = history.requests.iter().rev();
            latest
                .any(|request| {
                    request.webhook == webhook
                        && request.accepted()
                        && request.payload == Ok((number, conductor.version(webhook)))
                })
                .then_some(())
        });
        assert!(
            arrived.is_some(),
            "seed {}: a fresh event does not reach {}:\n{}",
            world.seed,
            spec.name,
            conductor.sidecar.log()
        );
    }
    let mut pending = BTreeMap::new();
    let settled = eventually(HEALING_MAX, || {
        let metrics = conductor.sidecar.metrics();
        pending = SPECS
            .iter()
            .map(|spec| {
                let sample = format!("outrigger_pending_deliveries{{webhook=\"{}\"}} ", spec.name);
                let value = metrics.lines().find_map(|line| line.strip_prefix(sample.as_str()));
                (spec.name, value.unwrap_or("nothing").to_owned())
            })
            .collect();
        pending.values().all(|value| value == "0").then_some(())
    });
    assert!(settled.is_some(), "seed {}: still pending: {pending:?}\n{}", world.seed, conductor.sidecar.log());
    world.now().saturating_sub(begun)
}

fn burial(world: &World, letter: &DeadLetter, payload: &[u8]) -> Burial {
    let payload: serde_json::Value = serde_json::from_slice(payload).expect("it was JSON when it was taken");
    Burial {
        id: format!("{}_{}", letter.event, letter.webhook),
        number: payload.pointer("/data/number").and_then(serde_json::Value::as_u64),
        reason: letter.reason.as_str().to_owned(),
        attempts: letter.attempts,
        at: world.moment_of(letter.died_at),
    }
}
