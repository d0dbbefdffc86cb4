//! `kill -9` under load: what was answered 202 is delivered or a dead letter, and little of it twice.
//!
//! `OUTRIGGER_TEST_CRASH_ROUNDS` sets the number of kills, `OUTRIGGER_TEST_CRASH_SEED` repeats a run's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;
use serde_json::Value;

use crate::support::spool::left;
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

const ROUNDS: u64 = 50;
const PRODUCERS: u64 = 3;
/// Lines of a batch.
const BATCH: u64 = 4;
/// How long a producer waits when nobody listens.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// The longest time between a start and its kill.
const ROUND_MAX: Duration = Duration::from_millis(600);
/// Attempts of one webhook at the same time.
const CONCURRENCY: usize = 4;
/// How long before a kill an acceptance may have come and still not be committed: the 20 ms that a lone settlement waits,
/// a commit before it, its own, and what a busy machine adds.
const UNSETTLED_MAX: Duration = Duration::from_millis(1500);
/// The webhooks, each of which wants every event.
const WEBHOOKS: [&str; 2] = ["one", "two"];

/// What the producers know.
#[derive(Default)]
struct Posted {
    /// Every key that was ever sent, answered or not.
    keys: BTreeSet<String>,
    /// Event ids that were answered 202, with their keys.
    acked: BTreeMap<String, String>,
}

/// One request that the receiver saw.
struct Seen {
    key: String,
    life: usize,
    accepted: bool,
    at: Instant,
}

/// What the receiver saw, by `webhook-id`, in order.
type Arrivals = Arc<Mutex<BTreeMap<String, Vec<Seen>>>>;

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keys ending in `0` lack what the templates ask for, those in `1` are refused by the receiver: both end as dead letters.
fn event(key: &str) -> String {
    let needed = if key.ends_with('0') { "" } else { r#","needed":true"# };
    format!(r#"{{"event_type":"RequestCreated","event_time":1,"data":{{"id":"{key}"{needed}}}}}"#)
}

/// Posts events, one or several at a time, until it is told to stop.
fn produce(number: u64, seed: u64, address: &Mutex<Option<SocketAddr>>, stop: &AtomicBool, posted: &Mutex<Posted>) {
    let mut chance = fastrand::Rng::with_seed(seed.wrapping_add(number));
    let mut next = 0;
    while !stop.load(Ordering::Acquire) {
        let Some(address) = *lock(address) else {
            std::thread::park_timeout(RETRY_PAUSE);
            continue;
        };
        let count = if chance.u8(..4) == 0 { BATCH } else { 1 };
        let keys: Vec<String> = (next..next + count).map(|serial| format!("{number}-{serial}")).collect();
        next += count;
        lock(posted).keys.extend(keys.iter().cloned());
        let body = keys.iter().map(|key| event(key)).collect::<Vec<_>>().join("\n");
        let headers = [("content-type", "application/x-ndjson")];
        let Ok(answer) = http::exchange(address, "POST", "/v1/events", &headers, body.as_bytes()) else {
            // No answer means that nobody was promised anything; it comes from a process that is dead or dying.
            std::thread::park_timeout(RETRY_PAUSE);
            continue;
        };
        assert_eq!(answer.status, 202, "{answer:?}");
        let events = answer.json()["events"].as_array().cloned().unwrap_or_default();
        assert_eq!(events.len(), keys.len(), "one id for each event");
        let ids = events.iter().map(|event| event["id"].as_str().expect("an id").to_owned());
        lock(posted).acked.extend(ids.zip(keys));
    }
}

/// Notes a request and answers it: one in ten fails.
fn receive(request: &Recorded, seed: u64, arrivals: &Arrivals) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).expect("only JSON is ever sent");
    let key = body["key"].as_str().expect("the key is in the body").to_owned();
    let mut arrivals = lock(arrivals);
    let earlier = arrivals.entry(request.header("webhook-id").to_owned()).or_default();
    // What is answered follows from the seed, the delivery and how often it came.
    let mut chance =
        fastrand::Rng::with_seed(seed ^ key.bytes().fold(earlier.len() as u64, |sum, byte| sum * 31 + u64::from(byte)));
    let status = match chance.u8(..10) {
        0 => 500,
        _ if key.ends_with('1') => 422,
        _ => 200,
    };
    let life = request.header("x-life").parse().expect("every process says which it is");
    earlier.push(Seen { key, life, accepted: status == 200, at: request.at });
    Answer::status(status)
}

/// Deliveries that were accepted twice, counted by the kill between, and how long before it the earlier one came.
fn duplicates(arrivals: &BTreeMap<String, Vec<Seen>>, kills: &[Instant]) -> (BTreeMap<usize, usize>, Duration) {
    let (mut by_kill, mut oldest) = (BTreeMap::new(), Duration::ZERO);
    for (id, seen) in arrivals {
        let accepted: Vec<&Seen> = seen.iter().filter(|seen| seen.accepted).collect();
        for pair in accepted.windows(2) {
            let [earlier, later] = pair else { continue };
            assert!(earlier.life < later.life, "{id} was accepted twice by one process");
            let kill =
                kills.get(earlier.life).unwrap_or_else(|| panic!("{id} was sent again though nothing was killed"));
            let before = kill.saturating_duration_since(earlier.at);
            assert!(before <= UNSETTLED_MAX, "{id} was accepted {before:?} before the kill and sent again after it");
            oldest = oldest.max(before);
            *by_kill.entry(earlier.life).or_default() += 1;
        }
    }
    (by_kill, oldest)
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures and the seed are for people")]
fn what_was_answered_202_survives_every_kill_and_is_rarely_sent_twice() {
    let rounds = number_from_env("OUTRIGGER_TEST_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number_from_env("OUTRIGGER_TEST_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("OUTRIGGER_TEST_CRASH_SEED={seed} OUTRIGGER_TEST_CRASH_ROUNDS={rounds}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let arrivals = Arrivals::default();
    let target = receiver().start();
    let noted = Arc::clone(&arrivals);
    target.respond_with(move |request| receive(request, seed, &noted));
    let file = format!(
        "url = {:?}\nstrict = true\nbody = '{{\"key\": \"{{{{data.id}}}}\", \"needed\": {{{{data.needed}}}}}}'\n\
        retry.initial = \"1ms\"\nretry.max_interval = \"20ms\"\nlimits.concurrency = {CONCURRENCY}\n\
        [headers]\nx-life = \"${{env:LIFE}}\"",
        target.url("/")
    );
    // One thread and several take turns.
    let threads = if seed.is_multiple_of(2) { "1" } else { "3" };
    let mut builder = sidecar().reaching(&target).env("LIFE", "0").setting("log.level = \"error\"");
    builder = builder.env("TOKIO_WORKER_THREADS", threads);
    for name in WEBHOOKS {
        builder = builder.webhook(name, &file);
    }
    let mut sidecar = builder.start();

    let posted = Arc::new(Mutex::new(Posted::default()));
    let address = Arc::new(Mutex::new(Some(sidecar.address("ingest"))));
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|number| {
            let (address, stop, posted) = (Arc::clone(&address), Arc::clone(&stop), Arc::clone(&posted));
            std::thread::spawn(move || produce(number, seed, &address, &stop, &posted))
        })
        .collect();
    let mut kills = Vec::new();
    for round in 1..=rounds {
        // The time until the kill is what this test draws by lot; it waits for nothing.
        let end = Instant::now() + ROUND_MAX.mul_f64(chance.f64());
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        sidecar.kill9();
        kills.push(Instant::now());
        *lock(&address) = None;
        sidecar.set_env("LIFE", &round.to_string());
        if round < rounds && chance.u8(..10) == 0 {
            // This one is killed while it starts.
            sidecar.restart_unheard();
        } else {
            sidecar.restart();
            *lock(&address) = Some(sidecar.address("ingest"));
        }
    }
    stop.store(true, Ordering::Release);
    for producer in producers {
        producer.join().expect("a producer does not fail");
    }
    for name in WEBHOOKS {
        let settled = eventually(PATIENCE * 3, || {
            let pending = sidecar.metric("outrigger_pending_deliveries", &[("webhook", name)]);
            (pending == Some(0.0)).then_some(())
        });
        assert!(settled.is_some(), "{name} still owes deliveries:\n{}", sidecar.log());
    }
    assert!(sidecar.terminate().success());

    let left = left(&sidecar.written().dir().join("spool"));
    assert_eq!(left.pending(), 0);
    let dead: BTreeMap<String, &str> =
        left.dead.iter().map(|dead| (format!("{}_{}", dead.event, dead.webhook), dead.reason.as_str())).collect();
    assert_eq!(dead.len(), left.dead.len(), "no delivery dies twice");
    let (posted, arrivals) = (lock(&posted), lock(&arrivals));
    for (event, key) in &posted.acked {
        for webhook in WEBHOOKS {
            let id = format!("{event}_{webhook}");
            let accepted = arrivals.get(&id).is_some_and(|seen| seen.iter().any(|seen| seen.accepted));
            let expected = match key.bytes().last() {
                Some(b'0') => Some("template_error"),
                Some(b'1') => Some("client_error"),
                _ => None,
            };
            assert_eq!((dead.get(&id).copied(), accepted), (expected, expected.is_none()), "{id} of {key}");
        }
    }
    for (id, seen) in arrivals.iter() {
        let event = WEBHOOKS.iter().find_map(|webhook| id.strip_suffix(&format!("_{webhook}")));
        let event = event.unwrap_or_else(|| panic!("{id} belongs to no webhook"));
        for seen in seen {
            assert!(posted.keys.contains(&seen.key), "{id} carries {}, which nobody posted", seen.key);
            assert!(posted.acked.get(event).is_none_or(|key| *key == seen.key), "{id} carries another event's body");
        }
    }
    let (by_kill, oldest) = duplicates(&arrivals, &kills);
    let (doubled, most) = (by_kill.values().sum::<usize>(), by_kill.values().max().copied().unwrap_or_default());
    let requests: usize = arrivals.values().map(Vec::len).sum();
    eprintln!(
        "{} events posted, {} answered 202, {requests} requests, {} dead letters, {} kills; {doubled} duplicates, at most \
        {most} at one kill, the oldest accepted {oldest:?} before it",
        posted.keys.len(),
        posted.acked.len(),
        dead.len(),
        kills.len()
    );
    assert!(posted.acked.len() as u64 > rounds, "there was load: {}", posted.acked.len());
}

#[test]
fn a_second_process_on_the_same_spool_is_refused_and_told_who_holds_it() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &format!("url = {:?}", target.url("/"))).start();
    let second = sidecar.written().run(&["run"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains(&format!("{}", sidecar.pid())), "{second:?}");
    assert!(!second.stdout.contains("listens on"), "{second:?}");
    let posted = sidecar.post("/v1/events?wait=15s", r#"{"event_type":"RequestCreated","event_time":1,"data":{}}"#);
    assert_eq!(posted.status, 200, "the first one goes on");
}
