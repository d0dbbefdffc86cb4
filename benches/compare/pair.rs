//! Two ways to run the sidecar, measured in turn and divided by each other.

use serde_json::{Value, json};

use super::peer::Running;
use super::stage::{Figures, Stage};
use super::table::{median, number, print, ratio};

/// One way to run it.
pub(crate) struct Way<'a> {
    pub(crate) name: &'static str,
    /// Webhooks that want each event.
    pub(crate) wanted: u32,
    pub(crate) start: Box<dyn Fn() -> Running + 'a>,
}

/// Measures the same number of deliveries both ways at saturation, prints the table and what the second is of the first.
pub(crate) fn compare(stage: &Stage, ways: &[Way<'_>; 2]) -> Value {
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..stage.options.rounds as usize {
        for at in [round % 2, (round + 1) % 2] {
            let way = &ways[at];
            let running = (way.start)();
            let wanted = way.wanted as usize;
            stage.warm(&running, wanted);
            let figures = stage.measure(&running, &stage.saturation(), stage.options.events / way.wanted, wanted);
            eprintln!(
                "round {}: {:30} {:6.0} delivered/s, {:6.1} µs each",
                round + 1,
                way.name,
                figures.per_second,
                figures.cpu
            );
            rounds[at].push(figures);
        }
    }
    let rows: Vec<(String, Vec<String>)> = ways
        .iter()
        .zip(&rounds)
        .map(|(way, rounds)| {
            let middle = |value: fn(&Figures) -> f64| number(median(rounds.iter().map(value)));
            let lost = rounds.iter().map(|figures| figures.lost).sum::<u64>().to_string();
            let cells = vec![
                middle(|figures| figures.cpu),
                middle(|figures| figures.per_second),
                middle(|figures| figures.ack_p50),
                middle(|figures| figures.p50),
                middle(|figures| figures.p99),
                middle(|figures| figures.peak_mib),
                lost,
            ];
            (way.name.to_owned(), cells)
        })
        .collect();
    print(&["CPU µs/delivery", "deliv/s", "ack p50", "p50", "p99", "peak MiB", "lost"], &rows);
    let cpu = ratio(&rounds[1], &rounds[0], |figures| figures.cpu);
    let per_second = ratio(&rounds[1], &rounds[0], |figures| figures.per_second);
    println!("{} / {}: CPU per delivery {cpu:.2}, delivered a second {per_second:.2}", ways[1].name, ways[0].name);
    let ways: Vec<Value> =
        ways.iter().zip(&rounds).map(|(way, rounds)| json!({ "name": way.name, "rounds": rounds })).collect();
    json!({ "ways": ways, "cpu": cpu, "per_second": per_second })
}
