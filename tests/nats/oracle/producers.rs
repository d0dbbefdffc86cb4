//! The producers: each posts events of its own to any of the processes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::exchange_unix;

use super::{COUNT, Post, World, text};

/// How many there are.
const PRODUCERS: u64 = 4;
/// Numbers of one producer.
const SERIALS: u64 = 1_000_000;
/// The longest pause between two requests.
const PAUSE_MAX: Duration = Duration::from_millis(60);
/// The most events of one request.
const BATCH_MAX: u64 = 8;

/// Starts them; they run until they are told to stop.
pub(super) fn start(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    (0..PRODUCERS)
        .map(|producer| {
            let world = Arc::clone(world);
            std::thread::spawn(move || produce(&world, producer))
        })
        .collect()
}

fn produce(world: &World, producer: u64) {
    let mut chance = fastrand::Rng::with_seed(world.seed ^ producer.wrapping_mul(0xa076_1d64_78bd_642f));
    let mut next = producer * SERIALS;
    while !world.stop.load(Ordering::Acquire) {
        let count = if chance.u8(..4) == 0 { chance.u64(2..=BATCH_MAX) } else { 1 };
        let numbers: Vec<u64> = (next..next + count).collect();
        next += count;
        let key = (chance.u8(..3) == 0).then(|| format!("{}-{}", world.seed, numbers[0]));
        // What has a key is tried at any of them until it is answered, and at times once more.
        loop {
            let answered = post(world, chance.usize(..COUNT), &numbers, key.as_deref());
            let again = !matches!(answered, Some(202)) || chance.u8(..10) == 0;
            if key.is_none() || !again || world.stop.load(Ordering::Acquire) {
                break;
            }
            std::thread::park_timeout(PAUSE_MAX);
        }
        std::thread::park_timeout(PAUSE_MAX.mul_f64(chance.f64()));
    }
}

/// Posts to a process and writes down what came of it; the status, or `None` where no answer came.
pub(super) fn post(world: &World, process: usize, numbers: &[u64], key: Option<&str>) -> Option<u16> {
    let event = |number: &u64| {
        let data = json!({ "id": format!("AR-{number}"), "number": number, "text": text(world.seed, *number) });
        json!({ "event_type": "RequestCreated", "event_time": 1, "data": data }).to_string()
    };
    let lines: Vec<String> = numbers.iter().map(event).collect();
    let content_type = if lines.len() == 1 { "application/json" } else { "application/x-ndjson" };
    let mut headers = vec![("content-type", content_type)];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    let answer = exchange_unix(&world.sockets[process], "POST", "/v1/events", &headers, lines.join("\n").as_bytes());
    let status = match &answer {
        Err(error) if error.starts_with("connect: ") => return None,
        Err(_) => 0,
        Ok(answer) => answer.status,
    };
    let receipts = answer.ok().filter(|answer| answer.status == 202).map(|answer| receipts(&answer.json()));
    let post =
        Post { numbers: numbers.to_vec(), key: key.map(str::to_owned), status, receipts: receipts.unwrap_or_default() };
    world.history().posts.push(post);
    (status != 0).then_some(status)
}

fn receipts(answer: &Value) -> Vec<(String, Vec<String>)> {
    let all = answer.get("events").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![answer.clone()]);
    all.iter()
        .map(|event| {
            let owed = event["deliveries"].as_array().expect("a receipt names what is owed");
            let name = |one: &Value| one["webhook"].as_str().or(one.as_str()).expect("a webhook has a name").to_owned();
            (event["id"].as_str().expect("an event has an id").to_owned(), owed.iter().map(name).collect())
        })
        .collect()
}
