//! What everybody takes of memory, how long a start takes, and how large the binary is.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::peer::Peer;
use super::stage::Stage;
use super::table::{median, number, print};

/// Starts of everybody.
const STARTS: usize = 20;
/// After the start, before memory is looked at.
const IDLE: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
struct Measured {
    ready_ms: Vec<f64>,
    idle_mib: Vec<f64>,
    peak_mib: Vec<f64>,
}

/// Measures, prints the table, and gives all of it.
pub(crate) fn run(stage: &Stage) -> Value {
    let peers: Vec<Peer> = stage.options.with.iter().copied().chain([Peer::Outrigger]).collect();
    let mut measured = vec![Measured::default(); peers.len()];
    for _ in 0..STARTS {
        for (peer, measured) in peers.iter().zip(&mut measured) {
            measured.ready_ms.push(stage.start(*peer, None).ready.as_secs_f64() * 1e3);
        }
    }
    for _ in 0..stage.options.rounds {
        for (peer, measured) in peers.iter().zip(&mut measured) {
            let running = stage.start(*peer, None);
            thread::park_timeout(IDLE);
            measured.idle_mib.push(running.resident_mib());
            let figures = stage.measure(&running, &stage.saturation(), stage.options.events, 1);
            measured.peak_mib.push(figures.peak_mib);
        }
    }
    let binary = std::fs::metadata(&stage.options.outrigger).expect("the program").len() as f64 / 1024.0 / 1024.0;
    let rows: Vec<(String, Vec<String>)> = peers
        .iter()
        .zip(&measured)
        .map(|(peer, measured)| {
            let middle = |values: &[f64]| number(median(values.iter().copied()));
            let binary = if *peer == Peer::Outrigger { number(binary) } else { String::new() };
            let cells = [&measured.idle_mib, &measured.peak_mib, &measured.ready_ms].map(|values| middle(values));
            (peer.name(), [&cells[..], &[binary]].concat())
        })
        .collect();
    print(&["idle MiB", "peak MiB", "ready ms", "binary MiB"], &rows);
    let all = peers.iter().zip(&measured).map(|(peer, measured)| {
        json!({ "peer": peer, "ready_ms": measured.ready_ms, "idle_mib": measured.idle_mib, "peak_mib": measured.peak_mib })
    });
    json!({ "peers": all.collect::<Vec<_>>(), "binary_mib": binary })
}
