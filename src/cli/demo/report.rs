//! What the demo prints at its end, and whether all went as it should.

use std::collections::BTreeMap;

use crate::cli::demo::post::Row;

/// Deliveries that the shipped configuration makes of the demo's events, at the least.
const DELIVERIES_MIN: usize = 11;
/// Families whose changes are shown.
const SHOWN: [&str; 7] = [
    "outrigger_events_received_total",
    "outrigger_deliveries_total",
    "outrigger_attempts_total",
    "outrigger_attempt_failures_total",
    "outrigger_validator_failures_total",
    "outrigger_dead_letters_total",
    "outrigger_events_filtered_total",
];

/// One line a delivery.
pub(super) fn table(rows: &[Row]) {
    let width = |heading: &str, cell: fn(&Row) -> &str| {
        rows.iter().map(|row| cell(row).chars().count()).chain([heading.len()]).max().unwrap_or_default()
    };
    let webhook = width("webhook", |row| &row.webhook);
    let event = width("event", |row| &row.event);
    println!("\n{:<webhook$}  {:<event$}  attempts  outcome    {:<18}  {:>6}", "webhook", "event", "reason", "ms");
    for row in rows {
        println!(
            "{:<webhook$}  {:<event$}  {:>8}  {:<9}  {:<18}  {:>6}",
            row.webhook, row.event, row.attempts, row.outcome, row.reason, row.milliseconds
        );
    }
}

/// The metric lines that changed.
pub(super) fn changed_metrics(before: &str, after: &str) {
    let before = samples(before);
    println!("\nMetrics that changed:\n");
    for (series, value) in samples(after) {
        let family = series.split('{').next().unwrap_or_default();
        if SHOWN.contains(&family) && before.get(series) != Some(&value) {
            println!("  {series} {value}");
        }
    }
}

/// What is not as it should be: every delivery is delivered but the one that a validator refused, Slack's that was answered 429
/// as well, and both are counted.
pub(super) fn faults(rows: &[Row], metrics: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if rows.len() < DELIVERIES_MIN {
        faults.push(format!("{} deliveries, {DELIVERIES_MIN} are the least", rows.len()));
    }
    let refused = rows.iter().filter(|row| row.outcome == "dead" && row.reason == "validation_failed").count();
    if refused != 1 {
        faults.push(format!("{refused} deliveries failed a validator, not one"));
    }
    let others = rows.iter().filter(|row| row.outcome != "delivered").count() - refused;
    if others > 0 {
        faults.push(format!("{others} deliveries were not delivered"));
    }
    let sum = |family: &str, label: &str| -> f64 {
        let of_family =
            samples(metrics).into_iter().filter(|(series, _)| series.starts_with(family) && series.contains(label));
        of_family.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    };
    if sum("outrigger_validator_failures_total", "") < 1.0 {
        faults.push("outrigger_validator_failures_total did not count the refusal".to_owned());
    }
    if sum("outrigger_attempt_failures_total", "reason=\"rate_limited\"") < 1.0 {
        faults.push("outrigger_attempt_failures_total did not count the 429".to_owned());
    }
    faults
}

/// Series and their values.
fn samples(page: &str) -> BTreeMap<&str, &str> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).collect()
}
