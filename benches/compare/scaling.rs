//! Curves: everybody with one core and with more, with small and large events, with few and many connections.

use serde_json::{Value, json};

use super::event::Shape;
use super::load::Load;
use super::peer::{Peer, cores};
use super::sidecar::TYPE;
use super::stage::{Figures, Stage};
use super::table::{median, number, print};

/// Sizes of events in KiB.
const SIZES: [usize; 4] = [1, 4, 16, 64];
const CONNECTIONS: [usize; 5] = [1, 8, 64, 256, 1000];
/// How long one point is sent for, at most.
const POINT: std::time::Duration = std::time::Duration::from_secs(5);

/// One point of a curve.
struct Point {
    name: String,
    cores: Option<usize>,
    load: Load,
}

/// Measures all points of everybody in turn, prints a table for each curve, and gives all of it.
pub(crate) fn run(stage: &Stage) -> Value {
    let peers: Vec<Peer> = stage.options.with.iter().copied().chain([Peer::Outrigger]).collect();
    let usual = Load { time_max: POINT, ..stage.saturation() };
    let point = |name: String, cores, load| Point { name, cores, load };
    let core_counts = (0..).map(|doubled| 1 << doubled).take_while(|count| *count <= cores().len());
    let curves: [(&str, Vec<Point>); 3] = [
        ("cores", core_counts.map(|count| point(count.to_string(), Some(count), usual.clone())).collect()),
        (
            "size of an event",
            SIZES
                .map(|kib| {
                    point(format!("{kib} KiB"), None, Load { shape: Shape::new(TYPE, kib * 1024), ..usual.clone() })
                })
                .into(),
        ),
        (
            "connections",
            CONNECTIONS
                .map(|connections| point(connections.to_string(), None, Load { connections, ..usual.clone() }))
                .into(),
        ),
    ];
    let drawn = curves.iter().map(|(curve, points)| {
        let figures = draw(stage, &peers, points);
        show(curve, &peers, points, &figures);
        let points = points.iter().zip(&figures).map(|(point, peers_figures)| {
            let by_peer =
                peers.iter().zip(peers_figures).map(|(peer, rounds)| json!({ "peer": peer, "rounds": rounds }));
            json!({ "at": point.name, "peers": by_peer.collect::<Vec<_>>() })
        });
        json!({ "curve": curve, "points": points.collect::<Vec<_>>() })
    });
    drawn.collect()
}

/// The figures by point, by peer, by round.
fn draw(stage: &Stage, peers: &[Peer], points: &[Point]) -> Vec<Vec<Vec<Figures>>> {
    let mut figures = vec![vec![Vec::new(); peers.len()]; points.len()];
    for round in 0..stage.options.rounds as usize {
        for (point, figures) in points.iter().zip(&mut figures) {
            for at in (0..peers.len()).map(|at| (at + round) % peers.len()) {
                let running = stage.start(peers[at], point.cores);
                stage.warm(&running, 1);
                let measured = stage.measure(&running, &point.load, stage.options.events, 1);
                eprintln!("round {}: {} {}: {:.0}/s", round + 1, point.name, peers[at].name(), measured.per_second);
                figures[at].push(measured);
            }
        }
    }
    figures
}

fn show(curve: &str, peers: &[Peer], points: &[Point], figures: &[Vec<Vec<Figures>>]) {
    let rows: Vec<(String, Vec<String>)> = points
        .iter()
        .zip(figures)
        .flat_map(|(point, by_peer)| {
            peers.iter().zip(by_peer).map(|(peer, rounds)| {
                let middle = |value: fn(&Figures) -> f64| number(median(rounds.iter().map(value)));
                let sum = |value: fn(&Figures) -> u64| rounds.iter().map(value).sum::<u64>().to_string();
                let cells = vec![
                    middle(|figures| figures.per_second),
                    middle(|figures| figures.cpu),
                    middle(|figures| figures.ack_p50),
                    middle(|figures| figures.ack_p99),
                    middle(|figures| figures.p50),
                    middle(|figures| figures.p99),
                    middle(|figures| figures.peak_mib),
                    sum(|figures| figures.lost),
                    sum(|figures| figures.unanswered),
                ];
                (format!("{:8} {}", point.name, peer.name()), cells)
            })
        })
        .collect();
    println!("\nby {curve}");
    print(&["deliv/s", "CPU µs", "ack p50", "ack p99", "p50", "p99", "peak MiB", "lost", "no 2xx"], &rows);
}
