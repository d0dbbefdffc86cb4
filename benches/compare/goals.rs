//! Everybody at saturation and at a fixed rate, in turn.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::load::Load;
use super::peer::Peer;
use super::stage::{Figures, Stage};
use super::table::{median, number, print, ratio};

/// How long the fixed rate is held.
const RATE_SECONDS: u32 = 5;
/// After the start, before memory is looked at.
const IDLE: Duration = Duration::from_millis(700);

/// What one peer came to in one round.
#[derive(Clone, Debug, Serialize)]
struct Round {
    ready_ms: f64,
    idle_mib: f64,
    saturation: Figures,
    rate: Figures,
}

/// Measures, prints the table and the ratios, and gives all of it.
pub(crate) fn run(stage: &Stage) -> Value {
    let peers: Vec<Peer> = stage.options.with.iter().copied().chain([Peer::Outrigger]).collect();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); peers.len()];
    for round in 0..stage.options.rounds as usize {
        // Everybody is first once: who is first finds another machine than who is last.
        for at in (0..peers.len()).map(|at| (at + round) % peers.len()) {
            let measured = measure(stage, peers[at]);
            eprintln!(
                "round {}: {:12} {:6.0} delivered/s, {:6.1} µs; {:5.1} µs at {}/s",
                round + 1,
                peers[at].name(),
                measured.saturation.per_second,
                measured.saturation.cpu,
                measured.rate.cpu,
                stage.options.rate
            );
            rounds[at].push(measured);
        }
    }
    let rate = stage.options.rate;
    print_table(&peers, &rounds, rate);
    let ours = rounds.last().expect("the sidecar is the last");
    let ratios = peers.iter().zip(&rounds).take(peers.len() - 1).map(|(peer, theirs)| {
        let cpu = ratio(ours, theirs, |round| round.saturation.cpu);
        let per_second = ratio(ours, theirs, |round| round.saturation.per_second);
        let rate_cpu = ratio(ours, theirs, |round| round.rate.cpu);
        let (p50, p99) = (ratio(ours, theirs, |round| round.rate.p50), ratio(ours, theirs, |round| round.rate.p99));
        println!(
            "outrigger / {}: CPU per delivery {cpu:.2}, delivered a second {per_second:.2}; at {rate}/s CPU {rate_cpu:.2}, \
             p50 {p50:.2}, p99 {p99:.2}",
            peer.name()
        );
        json!({ "to": peer, "cpu": cpu, "per_second": per_second, "rate_cpu": rate_cpu, "rate_p50": p50, "rate_p99": p99 })
    });
    let ratios: Vec<Value> = ratios.collect();
    let rounds: Vec<Value> =
        peers.iter().zip(&rounds).map(|(peer, rounds)| json!({ "peer": peer, "rounds": rounds })).collect();
    json!({ "peers": rounds, "outrigger": ratios })
}

fn measure(stage: &Stage, peer: Peer) -> Round {
    let running = stage.start(peer, None);
    thread::park_timeout(IDLE);
    let idle_mib = running.resident_mib();
    stage.warm(&running, 1);
    let load = stage.saturation();
    let saturation = stage.measure(&running, &load, stage.options.events, 1);
    let load = Load { rate: Some(stage.options.rate), ..load };
    let rate = stage.measure(&running, &load, stage.options.rate * RATE_SECONDS, 1);
    Round { ready_ms: running.ready.as_secs_f64() * 1e3, idle_mib, saturation, rate }
}

fn print_table(peers: &[Peer], rounds: &[Vec<Round>], rate: u32) {
    let at = |what: &str| format!("{what}@{rate}");
    let (rate_cpu, rate_p50, rate_p99) = (at("CPU µs"), at("p50"), at("p99"));
    let heads = [
        "ready ms", "idle MiB", "peak MiB", "deliv/s", "CPU µs", "ack p50", "ack p99", "p50", "p99", &rate_cpu,
        &rate_p50, &rate_p99, "lost", "dup", "no 2xx",
    ];
    let rows: Vec<(String, Vec<String>)> = peers
        .iter()
        .zip(rounds)
        .map(|(peer, rounds)| {
            let middle = |value: fn(&Round) -> f64| number(median(rounds.iter().map(value)));
            let sum = |value: fn(&Figures) -> u64| {
                rounds.iter().map(|round| value(&round.saturation) + value(&round.rate)).sum::<u64>().to_string()
            };
            let cells = vec![
                middle(|round| round.ready_ms),
                middle(|round| round.idle_mib),
                middle(|round| round.saturation.peak_mib),
                middle(|round| round.saturation.per_second),
                middle(|round| round.saturation.cpu),
                middle(|round| round.saturation.ack_p50),
                middle(|round| round.saturation.ack_p99),
                middle(|round| round.saturation.p50),
                middle(|round| round.saturation.p99),
                middle(|round| round.rate.cpu),
                middle(|round| round.rate.p50),
                middle(|round| round.rate.p99),
                sum(|figures| figures.lost),
                sum(|figures| figures.duplicates),
                sum(|figures| figures.unanswered),
            ];
            (peer.name(), cells)
        })
        .collect();
    print(&heads, &rows);
}
