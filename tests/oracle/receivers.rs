//! The receivers' side: what each request is answered, drawn from the seed and the faults of the moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;

use crate::support::receiver;
use crate::support::receiver::Target;

use super::history::{Cut, Reply, Request};
use super::webhooks::{RECEIVERS, SECURED, SPECS};
use super::world::{World, lock};

/// One request in so many fails although its receiver is well.
const UNLUCKY: u8 = 30;

/// How often each delivery came so far.
type Counts = Arc<Mutex<HashMap<String, u64>>>;

/// Starts all receivers; the last one speaks HTTP/1.1 alone.
pub(super) fn start(world: &Arc<World>) -> Vec<Target> {
    (0..RECEIVERS)
        .map(|number| {
            let target = if number + 1 == RECEIVERS { receiver().http1().start() } else { receiver().start() };
            let (world, counts) = (Arc::clone(world), Counts::default());
            target.respond_with(move |recorded| respond(&world, &counts, recorded));
            target
        })
        .collect()
}

fn respond(world: &World, counts: &Counts, recorded: &Recorded) -> Answer {
    let name = recorded.target.trim_start_matches('/');
    let Some(webhook) = SPECS.iter().position(|spec| spec.name == name) else { return Answer::status(421) };
    let id = recorded.header("webhook-id").to_owned();
    let earlier = {
        let mut counts = lock(counts);
        let count = counts.entry(id.clone()).or_default();
        *count += 1;
        *count
    };
    let reply = if webhook == SECURED && recorded.header("authorization") != format!("Bearer {}", world.token()) {
        Reply::Status(401)
    } else {
        choose(world, webhook, &id, earlier)
    };
    let payload = SPECS[webhook].read(world.seed, &recorded.body, recorded.header("x-version"));
    let at = world.moment(recorded.at);
    let life = recorded.header("x-life").parse().unwrap_or(usize::MAX);
    let mut history = world.history();
    if reply == Reply::Garbage {
        // Others share the connection.
        history.cuts.push(Cut { receiver: SPECS[webhook].receiver, from: at, to: at });
    }
    history.requests.push(Request { webhook, id, payload, life, at, reply });
    drop(history);
    answer(reply)
}

/// What follows from the seed, the delivery and how often it came.
fn choose(world: &World, webhook: usize, id: &str, count: u64) -> Reply {
    let mixed = id.bytes().fold(world.seed ^ count, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut chance = fastrand::Rng::with_seed(mixed);
    if let Some(fault) = world.fault(webhook)
        && chance.u8(..100) < fault.percent
    {
        return fault.reply;
    }
    if world.is_calm() || chance.u8(..UNLUCKY) > 0 {
        return Reply::Accept;
    }
    let spec = &SPECS[webhook];
    let unlucky = [Reply::Status(500), Reply::Close, Reply::AcceptAfter(200), Reply::BreakOff, Reply::Status(503)];
    let ends = [Reply::Status(400), Reply::Status(422)];
    match chance.u8(..3) {
        0 if spec.validated.is_some() => Reply::Invalid,
        1 if spec.pauses => ends[chance.usize(..ends.len())],
        _ => unlucky[chance.usize(..unlucky.len())],
    }
}

fn answer(reply: Reply) -> Answer {
    let ok = || Answer::json(r#"{"ok":true}"#);
    match reply {
        Reply::Accept => ok(),
        Reply::AcceptAfter(ms) => ok().after(Duration::from_millis(ms.into())),
        Reply::Status(status) => Answer::status(status).header("location", "/elsewhere"),
        Reply::RetryAfter(status, seconds) => Answer::status(status).header("retry-after", seconds.to_string()),
        Reply::Invalid => Answer::json(r#"{"ok":false}"#),
        Reply::Close => Answer::close(),
        Reply::BreakOff => ok().claiming(1000),
        Reply::Hang => Answer::hang(),
        Reply::Garbage => Answer::garbage(),
    }
}
