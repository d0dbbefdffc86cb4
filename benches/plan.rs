//! What planning costs, and the way from bytes to a body: `cargo bench --bench plan`.

use divan::{Bencher, black_box};
use outrigger::config::Snapshot;
use outrigger::plan::plan;

#[path = "parts/event.rs"]
mod event;
#[path = "parts/webhooks.rs"]
mod webhooks;

use event::{decoded, raw};
use webhooks::{configuration, filtered};

/// Webhooks that want the event.
const MATCHING: usize = 10;

fn main() {
    divan::main();
}

/// A configuration of `webhooks` webhooks, of which [`MATCHING`] are started by `RequestGranted` and have a filter that holds.
fn snapshot(webhooks: usize) -> Snapshot {
    configuration((0..webhooks).map(|number| filtered(number, number < MATCHING)))
}

/// With the parse that the first filter asks for.
#[divan::bench(args = [10, 100, 1000])]
fn one_event_of_which_10_match(bencher: Bencher<'_, '_>, webhooks: usize) {
    let snapshot = snapshot(webhooks);
    let raw = raw(100);
    bencher.with_inputs(|| decoded(&snapshot, raw.clone())).bench_refs(|event| {
        let plan = plan(&snapshot, &black_box(event).tree());
        assert_eq!(plan.wanted.len(), MATCHING);
    });
}

/// Decoded, planned and rendered: all that a delivery costs before the network.
#[divan::bench(args = [100, 65_536])]
fn from_bytes_to_a_body(bencher: Bencher<'_, '_>, justification_bytes: usize) {
    let snapshot = snapshot(1);
    let raw = raw(justification_bytes);
    bencher.bench(|| {
        let event = decoded(&snapshot, black_box(raw.clone()));
        let plan = plan(&snapshot, &event.tree());
        plan.wanted.first().expect("it is wanted").render(&event).map(|request| request.body.len()).expect("a body")
    });
}
