//! The producers: each owns its lanes and posts one request after the other, so that their order is defined.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{HttpAnswer, exchange_unix};

use super::history::{Post, Posted, Receipt, Told};
use super::webhooks::{Event, INVOKED, SERIALS, SPECS};
use super::world::{World, pass};

/// How many there are.
const PRODUCERS: u64 = 5;
/// What they wait between two requests, on average.
const PAUSE_MEAN: Duration = Duration::from_millis(55);
/// Before they try again what was not answered or not taken.
const RETRY_PAUSE: Duration = Duration::from_millis(30);
/// The most events of one request.
const BATCH_MAX: u64 = 6;
/// Requests with a key that are remembered, to be repeated.
const REMEMBERED: usize = 40;
/// How often a request with a key is tried when the spool is full.
const TRIES_MAX: usize = 5;

/// One request as it is sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) events: Vec<u64>,
    pub(super) invoked: Option<usize>,
    pub(super) key: Option<String>,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Sent {
    /// One event for all that want it.
    pub(super) fn single(event: &Event) -> Self {
        Self {
            events: vec![event.number],
            invoked: None,
            key: None,
            path: "/v1/events".to_owned(),
            content_type: "application/json",
            body: event.json(),
        }
    }
}

/// Starts them; they run until they are told to stop.
pub(super) fn start(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    (0..PRODUCERS)
        .map(|number| {
            let world = Arc::clone(world);
            std::thread::spawn(move || produce(&world, number))
        })
        .collect()
}

fn produce(world: &World, producer: u64) {
    let mut chance = fastrand::Rng::with_seed(world.seed ^ producer.wrapping_mul(0xa076_1d64_78bd_642f));
    let (mut next, mut remembered) = (producer * SERIALS, VecDeque::new());
    while !world.stops() {
        if !world.is_up() {
            pass(RETRY_PAUSE);
            continue;
        }
        let sent = compose(world, &mut chance, &mut next, &remembered);
        // What has a key is tried until it is answered: nothing else of this producer may come in between.
        let mut taken = false;
        for tries in 1.. {
            let result = post(world, &sent);
            taken = matches!(result, Some(Posted::Taken(_)));
            let again = match &result {
                None | Some(Posted::Lost(_)) => true,
                Some(Posted::Refused { status: 503, .. }) => tries < TRIES_MAX,
                Some(_) => false,
            };
            if !again || sent.key.is_none() || world.stops() {
                break;
            }
            pass(RETRY_PAUSE);
        }
        if taken && sent.key.is_some() {
            remembered.truncate(REMEMBERED - 1);
            remembered.push_front(sent);
        }
        pass(PAUSE_MEAN.mul_f64(2.0 * chance.f64()));
    }
}

/// Draws a request.
fn compose(world: &World, chance: &mut fastrand::Rng, next: &mut u64, remembered: &VecDeque<Sent>) -> Sent {
    let mut fresh = |count: u64| -> Vec<Event> {
        let from = *next;
        *next += count;
        (from..*next).map(|number| Event::of(world.seed, number)).collect()
    };
    let keyed = |mut sent: Sent| {
        sent.key = Some(format!("{}-{}", world.seed, sent.events.first().copied().unwrap_or_default()));
        sent
    };
    let lot = chance.u8(..100);
    if lot < 8 && !remembered.is_empty() {
        return remembered[chance.usize(..remembered.len())].clone();
    }
    let sent = if lot < 12 {
        return bad(chance, &fresh(1)[0]);
    } else if lot < 17 {
        let invoked = INVOKED[chance.usize(..INVOKED.len())];
        let path = format!("/v1/webhooks/{}/invoke", SPECS[invoked].name);
        Sent { invoked: Some(invoked), path, ..Sent::single(&fresh(1)[0]) }
    } else if lot < 37 {
        let events = fresh(chance.u64(2..=BATCH_MAX));
        let lines: Vec<String> = events.iter().map(Event::json).collect();
        Sent {
            events: events.iter().map(|event| event.number).collect(),
            content_type: "application/x-ndjson",
            body: lines.join("\n"),
            ..Sent::single(&events[0])
        }
    } else {
        Sent::single(&fresh(1)[0])
    };
    let mut sent = if chance.u8(..3) == 0 { keyed(sent) } else { sent };
    if chance.u8(..20) == 0 {
        sent.path.push_str("?wait=300ms");
    }
    sent
}

/// What no event may come of, although a part of it is one.
fn bad(chance: &mut fastrand::Rng, event: &Event) -> Sent {
    let (json, sent) = (event.json(), Sent::single(event));
    match chance.u8(..6) {
        0 => Sent { body: json[..json.len() / 2].to_owned(), ..sent },
        1 => Sent { body: format!("{json}\n{{\"event_type\": "), content_type: "application/x-ndjson", ..sent },
        2 => Sent { path: "/v1/events/no-such-kind".to_owned(), ..sent },
        3 => Sent { content_type: "text/plain", ..sent },
        4 => Sent { path: "/v1/events?wait=soon".to_owned(), ..sent },
        _ => Sent { path: "/v1/webhooks/nobody/invoke".to_owned(), ..sent },
    }
}

/// Sends a request and writes down what came of it; `None` when nobody was there to take it.
pub(super) fn post(world: &World, sent: &Sent) -> Option<Posted> {
    let begun = world.now();
    let mut headers = vec![("content-type", sent.content_type)];
    if let Some(key) = &sent.key {
        headers.push(("idempotency-key", key));
    }
    let answer = exchange_unix(&world.socket, "POST", &sent.path, &headers, sent.body.as_bytes());
    let result = match answer {
        Err(error) if error.starts_with("connect: ") => return None,
        Err(error) => Posted::Lost(error),
        Ok(answer) => read(&answer),
    };
    let Sent { events, invoked, key, .. } = sent.clone();
    let post = Post { events, invoked, key, begun, ended: world.now(), result: result.clone() };
    world.history().posts.push(post);
    Some(result)
}

fn read(answer: &HttpAnswer) -> Posted {
    let receipts = if matches!(answer.status, 200 | 202) { receipts(&answer.body) } else { None };
    receipts.map_or_else(
        || Posted::Refused { status: answer.status, retry_after: !answer.header("retry-after").is_empty() },
        Posted::Taken,
    )
}

fn receipts(body: &str) -> Option<Vec<Receipt>> {
    let body: Value = serde_json::from_str(body).ok()?;
    let receipt = |event: &Value| {
        let owed = event.get("deliveries")?.as_array()?.iter().map(owed).collect::<Option<Vec<_>>>()?;
        Some(Receipt { event: event.get("id")?.as_str()?.to_owned(), owed })
    };
    body.get("events")?.as_array()?.iter().map(receipt).collect()
}

fn owed(delivery: &Value) -> Option<(String, Option<Told>)> {
    if let Some(name) = delivery.as_str() {
        return Some((name.to_owned(), None));
    }
    let told = match delivery.get("outcome")?.as_str()? {
        "delivered" => Told::Delivered,
        "dead" => Told::Dead(delivery.get("reason")?.as_str()?.to_owned()),
        _ => return None,
    };
    Some((delivery.get("webhook")?.as_str()?.to_owned(), Some(told)))
}

#[test]
fn both_forms_of_a_receipt_are_read() {
    let plain = receipts(r#"{"events":[{"id":"evt_1","deliveries":["a"]}]}"#).expect("a receipt");
    assert_eq!(plain, [Receipt { event: "evt_1".into(), owed: vec![("a".into(), None)] }]);
    let waited = r#"{"events":[{"id":"evt_1","deliveries":[{"webhook":"a","outcome":"delivered"},
        {"webhook":"b","outcome":"dead","reason":"expired"}]}]}"#;
    let owed = vec![("a".into(), Some(Told::Delivered)), ("b".into(), Some(Told::Dead("expired".into())))];
    assert_eq!(receipts(waited).expect("a receipt"), [Receipt { event: "evt_1".into(), owed }]);
    assert_eq!(receipts("{}"), None);
}
