//! `[retry]`, `[limits]` and `[breaker]`, of a webhook or of the defaults.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::Limits;
use crate::config::document::Report;
use crate::config::quantity;
use crate::config::reference::{BURST, CONCURRENCY, FAILURES, Key, MAX_ATTEMPTS, SIDECAR, STATUSES, WEBHOOK};
use crate::config::table::{Table, excerpt, shape};
use crate::webhook::gate::{Breaker, Rate};
use crate::webhook::retry::{Policy, StatusRule};

/// Bounds of `timeout`.
pub(super) const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(10);
const MAX_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
const INITIAL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const MAX_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
const RESPONSE_BYTES: RangeInclusive<u64> = 1..=16 * 1024 * 1024;
/// Between two attempts: 10,000 a second to one an hour.
const INTERVAL: RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_hours(1);
const PROBE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);

/// The policy of a file that says nothing.
pub(super) fn default_policy() -> Policy {
    Policy {
        max_age: Duration::from_hours(24),
        max_attempts: None,
        initial: Duration::from_secs(1),
        max_interval: Duration::from_mins(10),
        statuses: BTreeMap::new(),
    }
}

/// The limits of a file that says nothing.
pub(super) fn default_limits() -> Limits {
    Limits { concurrency: 8, response_bytes_max: 64 * 1024, interval: None, burst: None }
}

/// The breaker of a file that says nothing.
pub(super) fn default_breaker() -> Breaker {
    Breaker { failures: 10, probe: Duration::from_secs(30) }
}

/// The keys that a table's path belongs to.
fn keys_of(table: &Table<'_>) -> &'static [Key] {
    if table.path.starts_with("defaults") { SIDECAR } else { WEBHOOK }
}

/// `[retry]` under a table, above a base.
pub(super) fn retry(report: &mut Report, parent: &Table<'_>, base: &Policy) -> Policy {
    let mut policy = base.clone();
    let Some(table) = parent.table(report, "retry") else { return policy };
    table.refuse_unknown(report, keys_of(&table), &table.path);
    policy.max_age = table.duration(report, "max_age", MAX_AGE).unwrap_or(policy.max_age);
    if let Some(attempts) = table.integer(report, "max_attempts", MAX_ATTEMPTS) {
        policy.max_attempts = u32::try_from(attempts).ok();
    }
    policy.initial = table.duration(report, "initial", INITIAL).unwrap_or(policy.initial);
    policy.max_interval = table.duration(report, "max_interval", MAX_INTERVAL).unwrap_or(policy.max_interval);
    if policy.initial > policy.max_interval {
        let at = table.get("initial").or_else(|| table.get("max_interval")).map_or(table.at, |entry| entry.node.at);
        report.error(at, "`initial` is longer than `max_interval`", "the first wait is the shortest: make it smaller");
    }
    if let Some(statuses) = table.table(report, "statuses") {
        statuses.refuse_unknown(report, keys_of(&statuses), &statuses.path);
        policy.statuses = status_rules(report, &statuses);
    }
    policy
}

fn status_rules(report: &mut Report, table: &Table<'_>) -> BTreeMap<u16, StatusRule> {
    let mut rules = BTreeMap::new();
    for (key, rule) in [("retry", StatusRule::Retry), ("dead_letter", StatusRule::DeadLetter)] {
        for item in table.list(report, key).unwrap_or_default() {
            let status = item.value.as_integer().and_then(|integer| integer.as_str().parse().ok());
            let Some(status) = status.filter(|status: &u16| STATUSES.contains(&u64::from(*status))) else {
                let problem = format!("`{}` is a list of HTTP statuses", table.name(key));
                let (low, high) = (STATUSES.start(), STATUSES.end());
                report.error(item.at, problem, format!("write a number from {low} to {high}"));
                continue;
            };
            if rules.insert(status, rule).is_some_and(|other| other != rule) {
                let problem = format!("the status {status} is in `retry` and in `dead_letter`");
                report.error(item.at, problem, "leave it in one of them");
            }
        }
    }
    rules
}

/// `[limits]` under a table, above a base.
pub(super) fn limits(report: &mut Report, parent: &Table<'_>, base: Limits) -> Limits {
    let Some(table) = parent.table(report, "limits") else { return base };
    table.refuse_unknown(report, keys_of(&table), &table.path);
    // A burst goes with its rate: the one of the defaults is far too much for a webhook that is slower.
    let own_rate = table.get("rate").is_some();
    let interval = interval(report, &table).or(base.interval);
    let burst = table.integer(report, "burst", BURST).and_then(|burst| u32::try_from(burst).ok());
    if let (Some(entry), None, false) = (table.get("burst"), interval, own_rate) {
        let problem = format!("`{}` is given, and no `rate`", table.name("burst"));
        report.error(entry.key_at, problem, "add rate = \"10/s\", or remove the burst");
    }
    Limits {
        concurrency: table.integer(report, "concurrency", CONCURRENCY).unwrap_or(base.concurrency),
        response_bytes_max: table.size(report, "response", RESPONSE_BYTES).unwrap_or(base.response_bytes_max),
        interval,
        burst: burst.or(base.burst.filter(|_| !own_rate)),
    }
}

/// `rate`, as the time between two attempts.
fn interval(report: &mut Report, table: &Table<'_>) -> Option<Duration> {
    const FIX: &str = "write a number a second, minute or hour: \"10/s\", \"0.5/s\", \"30/m\", \"100/h\"";
    if let Some(entry) = table.get("rate").filter(|entry| !matches!(entry.node.value, DeValue::String(_))) {
        report.error(entry.node.at, format!("`{}` is {}", table.name("rate"), shape(entry.node.value)), FIX);
        return None;
    }
    let text = table.text(report, "rate")?;
    let found = quantity::interval(text.value);
    match found {
        Some(interval) if INTERVAL.contains(&interval) => {}
        Some(_) => {
            let problem = format!("`{}` is \"{}\"", table.name("rate"), excerpt(text.value));
            report.error(text.at, problem, "it may be \"1/h\" to \"10000/s\"");
        }
        None => {
            let problem = format!("`{}` is \"{}\", which is no rate", table.name("rate"), excerpt(text.value));
            report.error(text.at, problem, FIX);
        }
    }
    found
}

/// The rate that limits come to.
pub(super) fn rate(limits: Limits) -> Option<Rate> {
    limits.interval.map(|interval| Rate::new(interval, limits.burst))
}

/// `[breaker]` under a table, above a base.
pub(super) fn breaker(report: &mut Report, parent: &Table<'_>, base: Breaker) -> Breaker {
    let Some(table) = parent.table(report, "breaker") else { return base };
    table.refuse_unknown(report, keys_of(&table), &table.path);
    let failures = table.integer(report, "failures", FAILURES).and_then(|failures| u32::try_from(failures).ok());
    Breaker {
        failures: failures.unwrap_or(base.failures),
        probe: table.duration(report, "probe", PROBE).unwrap_or(base.probe),
    }
}
