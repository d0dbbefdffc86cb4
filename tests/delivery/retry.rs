//! The whole table of statuses, and the attempts that count.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use outrigger::config::{Source, load};
use outrigger::delivery::{Cause, Outcome};
use outrigger::webhook::Webhook;
use outrigger::webhook::gate::Says;
use outrigger::webhook::judge::{ResponseParts, judge};
use outrigger::webhook::retry::{Decision, Standing, decide, verdict};
use serde_json::json;

use super::{created, hook, settle_one};
use crate::support::{receiver, sidecar};

/// What becomes of a delivery whose first attempt was answered so, and of its webhook.
fn expected(status: u16, templated: bool) -> (&'static str, Says) {
    let paused = |cause: Cause| ("held", Says::Faulty(cause));
    match status {
        200..=299 => ("done", Says::Works),
        300..=399 => paused(Cause::Redirect),
        401 | 403 | 407 => paused(Cause::AuthError),
        404 if !templated => paused(Cause::NotFound),
        410 => paused(Cause::Gone),
        429 => paused(Cause::RateLimited),
        100..=199 | 408 | 425 | 500..=599 => ("retried", Says::Fails),
        _ => ("client_error", Says::Works),
    }
}

/// The webhooks that these files define.
fn compiled(files: &[(&str, &str)]) -> BTreeMap<Arc<str>, Arc<Webhook>> {
    let mut builder = sidecar();
    for (name, toml) in files {
        builder = builder.webhook(name, toml);
    }
    let written = builder.write();
    let loaded = load(&Source::new(written.config()));
    loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)).webhooks
}

#[test]
fn every_status_from_100_to_599_has_exactly_its_decision() {
    let files = [
        ("fixed", "url = 'https://hooks.example.com/in'"),
        ("templated", "url = 'https://hooks.example.com/{{data.id}}'"),
    ];
    let webhooks = compiled(&files);
    assert_eq!(webhooks.len(), files.len());
    let (now, headers) = (Timestamp::UNIX_EPOCH, HeaderMap::new());
    let standing = Standing { attempts: 0, since: now, failing_since: None, max_wait: None, probe: false };
    let mut seen = BTreeMap::new();
    for webhook in webhooks.values() {
        for status in 100..=599 {
            let parts = ResponseParts {
                status: StatusCode::from_u16(status).unwrap(),
                headers: &headers,
                body: b"",
                truncated: false,
            };
            let outcome: Outcome = judge(webhook, parts, now).outcome;
            let decided = match decide(&webhook.retry, &outcome, standing, now, 0.5) {
                Decision::Done => "done",
                Decision::Retry { attempts: 1, passed: false, .. } => "retried",
                Decision::Hold => "held",
                Decision::Bury { reason, attempts: 1 } => reason.as_str(),
                other => panic!("{status}: {other:?}"),
            };
            let found = (decided, verdict(&webhook.retry, &outcome).says);
            assert_eq!(found, expected(status, webhook.url.templated), "{status} of {}", webhook.name);
            *seen.entry(decided).or_insert(0) += 1;
        }
    }
    // A table of its own: how many of each there are, both URLs together.
    assert_eq!(seen, BTreeMap::from([("client_error", 185), ("done", 200), ("held", 211), ("retried", 404)]));
}

#[test]
fn an_edit_of_anything_that_decides_what_a_webhook_does_is_another_webhook() {
    let base = "url = 'https://hooks.example.com/in'\n";
    let edits = [
        "",
        "ordering = 'none'",
        "ordering = 'strict'",
        "limits.rate = '1/s'",
        "limits = { rate = '1/s', burst = 2 }",
        "breaker.failures = 3",
        "breaker.probe = '3s'",
    ];
    let mut seen = BTreeMap::new();
    for edit in edits {
        let webhooks = compiled(&[("hook", &format!("{base}{edit}"))]);
        if let Some(other) = seen.insert(webhooks["hook"].fingerprint, edit) {
            panic!("`{other}` and `{edit}` have one fingerprint");
        }
    }
}

#[test]
fn the_attempts_of_a_delivery_end_at_max_attempts_and_are_told() {
    let target = receiver().otherwise(500).start();
    let file = hook(&target.url("/"), "retry.max_attempts = 3");
    let sidecar = sidecar().reaching(&target).webhook("hook", &file).start();
    let delivery = settle_one(&sidecar, &created("r-1"));
    assert_eq!(
        (&delivery["outcome"], &delivery["reason"], &delivery["attempts"]),
        (&json!("dead"), &json!("attempts_exhausted"), &json!(3))
    );
    assert_eq!(target.count(), 3);
}
