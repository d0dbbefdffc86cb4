//! Webhooks as people on call see them: what is configured, what waits and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admin::letters::last;
use crate::gates::{Gates, Paused};
use crate::history::History;
use crate::history::stats::{Figures, Stats};
use crate::live::Live;
use crate::spool::Backlog;
use crate::webhook::ordering::Ordering;
use crate::webhook::{Status, Triggers, Webhook};

/// What rows are made of, beside the configuration in force.
pub(super) struct Sources<'s> {
    pub(super) backlog: Vec<Backlog>,
    pub(super) gates: &'s Gates,
    pub(super) history: &'s History,
    pub(super) now: Timestamp,
}

/// A row for each webhook, in the order of their names: those in force, those whose file is faulty, and those without a file
/// that the spool still holds something for.
pub(super) fn rows(live: &Live, sources: Sources<'_>) -> Vec<(Arc<str>, Value)> {
    let Sources { backlog, gates, history, now } = sources;
    let mut backlog: BTreeMap<Arc<str>, Backlog> =
        backlog.into_iter().map(|backlog| (Arc::clone(&backlog.webhook), backlog)).collect();
    let mut shown = BTreeMap::new();
    for (name, webhook) in &live.snapshot.webhooks {
        let (mut members, figures) = (definition(webhook), history.figures(name, now));
        let paused = gates.paused(name);
        let failing = figures.as_ref().is_some_and(|figures| figures.failing);
        members["state"] = match webhook.status {
            Status::Active if paused.is_some() => "paused",
            Status::Active if failing => "failing",
            status => word(status),
        }
        .into();
        members["paused"] = paused.map_or(Value::Null, |paused| pause(&paused));
        shown.insert(Arc::clone(name), (members, backlog.remove(name), figures));
    }
    let bare = |name: &str, status: &str| json!({ "name": name, "status": status, "state": status });
    for name in &live.quarantined {
        shown.insert(Arc::clone(name), (bare(name, "faulty"), backlog.remove(name), history.figures(name, now)));
    }
    for (name, left) in backlog.into_iter().filter(|(_, left)| left.pending > 0 || left.dead > 0) {
        let figures = history.figures(&name, now);
        shown.insert(Arc::clone(&name), (bare(&name, "removed"), Some(left), figures));
    }
    let finish = |(name, (mut members, left, figures)): (_, (Value, Option<Backlog>, Option<Figures>))| {
        let oldest = left.as_ref().and_then(|left| left.oldest_pending);
        members["pending"] = left.as_ref().map_or(0, |left| left.pending).into();
        members["oldest_pending_seconds"] = oldest.map(|then| now.duration_since(then).as_secs().max(0)).into();
        members["dead_letters"] = left.map_or(0, |left| left.dead).into();
        members["stats"] = stats(&figures.unwrap_or_else(|| Stats::default().figures(now)));
        (name, members)
    };
    shown.into_iter().map(finish).collect()
}

/// What a webhook's attempts came to.
fn stats(figures: &Figures) -> Value {
    let per_second = |count: u32| f64::from(count) / 60.0;
    let milliseconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64() * 1e3);
    let failure = figures
        .last_failure
        .map(|(at, id, reason)| json!({ "at": at.to_string(), "id": id.to_string(), "reason": reason.as_str() }));
    json!({
        "accepted": figures.accepted,
        "failed": figures.failed,
        "minutes": {
            "until": figures.until.to_string(),
            "accepted": figures.minutes.map(|minute| minute.accepted).as_slice(),
            "failed": figures.minutes.map(|minute| minute.failed).as_slice(),
        },
        "accepted_per_second": per_second(figures.lately.accepted),
        "failed_per_second": per_second(figures.lately.failed),
        "p50_ms": milliseconds(figures.p50),
        "p99_ms": milliseconds(figures.p99),
        "last_success": figures.last_success.map(|at| at.to_string()),
        "last_failure": failure,
    })
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Inactive => "inactive",
        Status::Shadow => "shadow",
    }
}

/// What the webhook's file says, without anything that may be secret.
fn definition(webhook: &Webhook) -> Value {
    let triggers: Option<Vec<&str>> = match &webhook.triggers {
        Triggers::All => None,
        Triggers::Only(types) => Some(types.iter().map(AsRef::as_ref).collect()),
    };
    let ordering = match &webhook.ordering {
        Ordering::None => json!("none"),
        Ordering::Strict => json!("strict"),
        Ordering::By { path, max_wait } => json!({ "key": path.text(), "max_wait_seconds": max_wait.as_secs() }),
    };
    json!({
        "name": &*webhook.name,
        "title": webhook.title,
        "status": word(webhook.status),
        "file": format!("webhooks/{}.toml", webhook.name),
        "kind": &*webhook.kind.name,
        "triggers": triggers,
        "host": webhook.url.host,
        "ordering": ordering,
        "limits": {
            "concurrency": webhook.concurrency,
            "rate": webhook.rate.map(|rate| json!({ "per_second": 1.0 / rate.interval().as_secs_f64(), "burst": rate.burst() })),
            "response_bytes": webhook.response_bytes_max,
        },
    })
}

fn pause(paused: &Paused) -> Value {
    json!({
        "cause": paused.cause,
        "since": paused.since.to_string(),
        "next_probe": paused.next_probe.map(|probe| probe.to_string()),
        "last": paused.last.as_ref().map(last),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;
    use crate::delivery::{LastOutcome, Reason};

    #[test]
    fn a_pause_says_why_since_when_until_when_and_what_was_seen() {
        let since: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let outcome = LastOutcome { reason: Reason::AuthError, status: Some(401), detail: "refused".to_owned() };
        let paused = Paused { cause: "auth_error", since, next_probe: Some(since), last: Some(outcome) };
        let expected = json!({
            "cause": "auth_error",
            "since": "2026-11-22T10:00:00Z",
            "next_probe": "2026-11-22T10:00:00Z",
            "last": { "reason": "auth_error", "status": 401, "detail": "refused" },
        });
        assert_eq!(pause(&paused), expected);
        let gone = Paused { cause: "gone", since, next_probe: None, last: None };
        assert_eq!(
            pause(&gone),
            json!({ "cause": "gone", "since": "2026-11-22T10:00:00Z", "next_probe": null, "last": null })
        );
    }
}
