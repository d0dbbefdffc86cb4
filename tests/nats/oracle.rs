//! The oracle over replicas: three processes on a cluster of three servers, random faults, and a judge of what was seen from outside.
//!
//! Producers post to any process, receivers misbehave, processes and servers are killed, the connections between them are cut, silent and
//! slow, and configurations roll over the replicas. In the end everything is mended, fresh events must pass and nothing may be pending. Then
//! every 202 is delivered or dead for a reason that is to be seen, nothing is invented, and payloads are equal.
//!
//! ```text
//! OUTRIGGER_TEST_ORACLE_SEED=7 OUTRIGGER_TEST_ORACLE_SECONDS=60 cargo test --test main nats::oracle -- --include-ignored --nocapture
//! ```

mod conductor;
mod judge;
mod producers;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;

use crate::support::nats::{Nats, spool_at};
use crate::support::receiver::{Target, receiver};
use crate::support::relay::Relay;
use crate::support::{eventually, sidecar};

use conductor::Conductor;
use judge::judge;

/// How long a run breaks things, unless it is told.
const SECONDS: u64 = 40;
/// How long everything may take to be well again: leases of the dead come back after half a minute.
const HEALING_MAX: Duration = Duration::from_mins(2);
/// How many processes and servers there are.
const COUNT: usize = 3;

/// The webhooks, and the lines of its file that each has for itself.
const WEBHOOKS: [(&str, &str); 4] =
    [("plain", ""), ("limited", "max_attempts = 3\n"), ("slow", "[limits]\nconcurrency = 2\n"), ("leaving", "")];
/// How soon each tries again.
const PACE: &str = "[breaker]\nprobe = \"300ms\"\n[retry]\ninitial = \"50ms\"\nmax_interval = \"500ms\"\n";
/// The webhook whose file goes from some processes and comes back.
const LEAVING: usize = 3;

/// A number that the environment gives.
fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// What the threads of a run share.
struct World {
    seed: u64,
    begun: Instant,
    /// Where each process takes events in.
    sockets: Vec<PathBuf>,
    history: Mutex<History>,
    /// How many of a hundred requests the receiver refuses, and with what.
    fault: Mutex<(u8, u16)>,
    stop: AtomicBool,
}

/// All that was seen.
#[derive(Default)]
struct History {
    posts: Vec<Post>,
    requests: Vec<Seen>,
    letters: Vec<Letter>,
    acts: Vec<(Duration, String)>,
}

/// One request to ingest.
struct Post {
    numbers: Vec<u64>,
    key: Option<String>,
    /// The status, or 0 where no answer came.
    status: u16,
    /// Of each event its id and the webhooks that owe it; of a 202 alone.
    receipts: Vec<(String, Vec<String>)>,
}

/// One request that a receiver got.
struct Seen {
    /// Its `webhook-id`.
    id: String,
    webhook: String,
    body: String,
    answered: u16,
    at: Duration,
}

/// A dead letter at the end.
struct Letter {
    id: String,
    webhook: String,
    reason: String,
    attempts: u64,
}

impl World {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, act: impl Into<String>) {
        let now = self.begun.elapsed();
        self.history().acts.push((now, act.into()));
    }

    fn set_fault(&self, percent: u8, status: u16) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = (percent, status);
    }
}

/// The text of an event, which follows from the seed and its number.
fn text(seed: u64, number: u64) -> String {
    const TEXTS: [&str; 5] =
        ["plain", "Nats-Schedule Nats-TTL Nats-Schedule Nats-TTL", "line\nbreak\"\u{0}", "Grüße 🦀", "'--\r\n{{x}}"];
    let mut chance = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let text = TEXTS[chance.usize(..TEXTS.len())];
    if chance.u8(..10) == 0 { text.repeat(500) } else { text.to_owned() }
}

/// What a webhook makes of an event.
fn rendered(seed: u64, number: u64) -> serde_json::Value {
    serde_json::json!({ "number": number, "text": text(seed, number) })
}

/// A webhook's file.
fn file(webhook: usize, target: &Target, version: u32) -> String {
    let (name, lines) = WEBHOOKS[webhook];
    let body = "body = '{\"number\": {{data.number}}, \"text\": \"{{data.text}}\"}'\n";
    format!(
        "url = {:?}\n{body}headers = {{ x-version = \"{version}\" }}\nordering = \"none\"\n{PACE}{lines}",
        target.url(&format!("/{name}"))
    )
}

fn respond(world: &World, recorded: &Recorded) -> Answer {
    let (percent, status) = *world.fault.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = fastrand::u8(..100) < percent;
    // Only what passes by itself, but where a webhook has an end to its patience.
    let webhook = recorded.target.trim_start_matches('/').to_owned();
    let answered = match (refused, status, webhook.as_str()) {
        (false, ..) => 200,
        (true, 422, "limited") => 422,
        (true, 422, _) => 503,
        (true, status, _) => status,
    };
    let seen = Seen {
        id: recorded.header("webhook-id").to_owned(),
        webhook: webhook.clone(),
        body: String::from_utf8_lossy(&recorded.body).into_owned(),
        answered,
        at: world.begun.elapsed(),
    };
    world.history().requests.push(seen);
    let answer = if answered == 200 { Answer::json("{}") } else { Answer::status(answered) };
    if webhook == "slow" { answer.after(Duration::from_millis(60)) } else { answer }
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
#[expect(clippy::print_stderr, reason = "the seed and the figures are for people")]
fn random_faults_over_three_processes_and_three_servers_lose_nothing_and_invent_nothing() {
    let seconds = number_from_env("OUTRIGGER_TEST_ORACLE_SECONDS").unwrap_or(SECONDS);
    let seed = number_from_env("OUTRIGGER_TEST_ORACLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("OUTRIGGER_TEST_ORACLE_SEED={seed} OUTRIGGER_TEST_ORACLE_SECONDS={seconds}");

    let nats = Nats::three();
    let relays: Vec<Relay> = (0..COUNT).map(|node| Relay::start(nats.address(node))).collect();
    let addresses: Vec<_> = relays.iter().map(Relay::addr).collect();
    let builders: Vec<_> = (0..COUNT).map(|_| sidecar()).collect();
    let world = Arc::new(World {
        seed,
        begun: Instant::now(),
        sockets: builders.iter().map(|builder| builder.dir().join("ingest.sock")).collect(),
        history: Mutex::default(),
        fault: Mutex::new((3, 503)),
        stop: AtomicBool::new(false),
    });
    let target = receiver().start();
    let seen = Arc::clone(&world);
    target.respond_with(move |recorded| respond(&seen, recorded));
    let target = Arc::new(target);
    let mut sidecars = Vec::new();
    for (builder, socket) in builders.into_iter().zip(&world.sockets) {
        let mut builder = spool_at(builder, &addresses)
            .reaching(&target)
            .setting(&format!("ingest.listen = 'unix:{}'", socket.display()))
            .setting("config.removal_grace = '2s'")
            .setting("shutdown.grace = '5s'");
        for (webhook, (name, _)) in WEBHOOKS.iter().enumerate() {
            builder = builder.webhook(name, &file(webhook, &target, 1));
        }
        sidecars.push(builder.start());
    }
    let mut conductor = Conductor::new(&world, nats, relays, sidecars, &target);
    let producers = producers::start(&world);
    conductor.run(Duration::from_secs(seconds));
    world.stop.store(true, Ordering::Release);
    for producer in producers {
        producer.join().expect("a producer does not fail");
    }
    conductor.heal();
    let healing = Instant::now();
    heal(&world, &conductor);
    world.history().letters = conductor.letters();

    let history = world.history();
    let (violations, figures) = judge(seed, &history);
    eprintln!("{figures}; healed in {:?}; done: {:?}", healing.elapsed(), conductor.done);
    if !violations.is_empty() {
        let acts: Vec<String> = history.acts.iter().map(|(at, act)| format!("{at:?} {act}")).collect();
        panic!(
            "OUTRIGGER_TEST_ORACLE_SEED={seed}: {} violations\n{}\n\n{}\n\n{}",
            violations.len(),
            violations.join("\n"),
            acts.join("\n"),
            conductor.logs()
        );
    }
}

/// Waits until a fresh event that came in by each process has reached every webhook, and nothing is pending.
#[track_caller]
fn heal(world: &World, conductor: &Conductor) {
    let mut fresh = Vec::new();
    for process in 0..COUNT as u64 {
        // What an edit a moment ago has not reached yet is posted again.
        let mut number = 900_000_000 + process * 1_000_000;
        let taken = eventually(HEALING_MAX, || {
            number += 1;
            let status = producers::post(world, usize::try_from(process).ok()?, &[number], None)?;
            let history = world.history();
            let owed = history.posts.iter().rev().find(|post| post.numbers == [number])?.receipts.first()?.1.len();
            (status == 202 && owed == WEBHOOKS.len()).then_some(())
        });
        assert!(taken.is_some(), "seed {}: process {process} takes nothing:\n{}", world.seed, conductor.logs());
        fresh.push(number);
    }
    let mut missing = Vec::new();
    let reached = eventually(HEALING_MAX, || {
        let history = world.history();
        missing.clear();
        for number in &fresh {
            let body = rendered(world.seed, *number);
            for (name, _) in WEBHOOKS {
                let came = history.requests.iter().rev().any(|seen| {
                    seen.webhook == name
                        && seen.answered == 200
                        && serde_json::from_str(&seen.body).ok() == Some(body.clone())
                });
                if !came {
                    missing.push((*number, name));
                }
            }
        }
        missing.is_empty().then_some(())
    });
    assert!(reached.is_some(), "seed {}: {missing:?} do not arrive:\n{}", world.seed, conductor.logs());
    let mut pending = Vec::new();
    let settled = eventually(HEALING_MAX, || {
        pending = conductor.pending();
        pending.iter().all(|count| *count == Some(0.0)).then_some(())
    });
    assert!(settled.is_some(), "seed {}: still pending: {pending:?}\n{}", world.seed, conductor.logs());
}
