//! Fresh deliveries of one webhook, alone and beside 10,000 of another one that wait for their retry, as its target answers 503.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::event::Shape;
use super::ledger::Ledger;
use super::load::{Load, send};
use super::pair::{Way, compare};
use super::peer::Running;
use super::sidecar::{SLOTS, text, webhooks};
use super::stage::Stage;

const PENDING: usize = 10_000;
/// The event type of those that fail.
const FAILING: &str = "AccessRequestExpired";
/// Waits are anything up to an hour, so that next to no retry is due while it is measured, and no breaker spares the attempts.
const WAITING: &str = "[retry]\ninitial = \"1h\"\nmax_interval = \"1h\"\n[breaker]\nfailures = 10000\nprobe = \"1h\"\n";
/// How long it may take until all have failed once.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) fn run(stage: &Stage) -> Value {
    let port = stage.receiver.port;
    let start = move || {
        let mut files = webhooks(port, 1);
        files.push(("failing".to_owned(), text(port, "failing", FAILING, SLOTS) + WAITING));
        stage.start_sidecar(&files, None)
    };
    let alone = Way { name: "fresh alone", wanted: 1, start: Box::new(start) };
    let pile = move || {
        let running = start();
        pile_up(stage, &running);
        running
    };
    let beside = Way { name: "beside 10,000 retries", wanted: 1, start: Box::new(pile) };
    compare(stage, &[alone, beside])
}

/// Posts what fails, and waits until each was attempted.
fn pile_up(stage: &Stage, running: &Running) {
    let load = Load { shape: Shape::new(FAILING, stage.options.event_bytes), ..stage.saturation() };
    let before = stage.receiver.refused();
    let unanswered = send(&load, &running.address, "/v1/events", &Arc::new(Ledger::new(0, PENDING, 1)));
    assert_eq!(unanswered, 0, "all of them are taken in");
    let began = Instant::now();
    while stage.receiver.refused() < before + PENDING as u64 {
        assert!(began.elapsed() < PATIENCE, "{} of {PENDING} have failed", stage.receiver.refused() - before);
        thread::park_timeout(Duration::from_millis(20));
    }
}
