//! Webhooks as people on call see them: what is configured, what waits and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admin::letters::last;
use crate::gates::Paused;
use crate::live::Live;
use crate::spool::Backlog;
use crate::webhook::ordering::Ordering;
use crate::webhook::{Status, Triggers, Webhook};

/// `{"webhooks": […]}` in the order of their names: those in force, those whose file is faulty, and those without a file
/// that the spool still holds something for.
pub(super) fn list(
    live: &Live,
    backlog: Vec<Backlog>,
    paused: impl Fn(&str) -> Option<Paused>,
    now: Timestamp,
) -> Value {
    let webhooks: Vec<Value> = rows(live, backlog, paused, now).into_values().collect();
    json!({ "webhooks": webhooks })
}

/// The row of one of them; `None` where nothing is known of the name.
pub(super) fn row(
    live: &Live,
    backlog: Vec<Backlog>,
    paused: impl Fn(&str) -> Option<Paused>,
    now: Timestamp,
    name: &str,
) -> Option<Value> {
    rows(live, backlog, paused, now).remove(name)
}

fn rows(
    live: &Live,
    backlog: Vec<Backlog>,
    paused: impl Fn(&str) -> Option<Paused>,
    now: Timestamp,
) -> BTreeMap<Arc<str>, Value> {
    let mut backlog: BTreeMap<Arc<str>, Backlog> =
        backlog.into_iter().map(|backlog| (Arc::clone(&backlog.webhook), backlog)).collect();
    let mut shown = BTreeMap::new();
    for (name, webhook) in &live.snapshot.webhooks {
        let mut members = definition(webhook);
        members["paused"] = paused(name).map_or(Value::Null, |paused| pause(&paused));
        shown.insert(Arc::clone(name), (members, backlog.remove(name)));
    }
    for name in &live.quarantined {
        shown.insert(Arc::clone(name), (json!({ "name": &**name, "status": "faulty" }), backlog.remove(name)));
    }
    for (name, left) in backlog.into_iter().filter(|(_, left)| left.pending > 0 || left.dead > 0) {
        shown.insert(Arc::clone(&name), (json!({ "name": &*name, "status": "removed" }), Some(left)));
    }
    shown
        .into_iter()
        .map(|(name, (mut members, left))| {
            let oldest = left.as_ref().and_then(|left| left.oldest_pending);
            members["pending"] = left.as_ref().map_or(0, |left| left.pending).into();
            members["oldest_pending_seconds"] = oldest.map(|then| now.duration_since(then).as_secs().max(0)).into();
            members["dead_letters"] = left.map_or(0, |left| left.dead).into();
            (name, members)
        })
        .collect()
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
    let status = match webhook.status {
        Status::Active => "active",
        Status::Inactive => "inactive",
        Status::Shadow => "shadow",
    };
    json!({
        "name": &*webhook.name,
        "title": webhook.title,
        "status": status,
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
