//! Responses: any status, headers (`Retry-After` among them) and body, judged and decided upon.
//!
//! A case is a line with the status, the headers a line each, a line without anything, and the body.

use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use outrigger::config::Snapshot;
use outrigger::delivery::{Outcome, Reason};
use outrigger::webhook::Webhook;
use outrigger::webhook::judge::{ResponseParts, judge};
use outrigger::webhook::retry::{Decision, Standing, decide, verdict};

use super::{Target, now, snapshot};

pub const TARGET: Target = Target { name: "responses", run, seeds };

/// What the policy of every webhook says: a receiver's wish counts for six of these.
const MAX_INTERVAL: Duration = Duration::from_mins(10);

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    snapshot(&[
        ("webhooks/plain.toml", b"url = 'https://example.com/'"),
        (
            "webhooks/asking.toml",
            br#"
            url = "https://example.com/{{data.id}}"
            retry = { max_attempts = 3, statuses = { retry = [404, 409], dead_letter = [503] } }
            [[response_validators]]
            path = "$.data.ok"
            expected = ["true", 1, false]
            [[response_validators]]
            name = "none"
            path = "$.data..error"
            rejected = ["no*", "", true]
            on_failure = "retry"
            [[response_validators]]
            path = "$.headers['content-type']"
            rejected = ["text/html"]
            [[response_validators]]
            path = "$.headers.*"
            rejected = ["x"]
            "#,
        ),
        (
            "webhooks/heads.toml",
            br#"
            url = "https://example.com/"
            [[response_validators]]
            path = "$.status"
            expected = [200, "201"]
            [[response_validators]]
            path = "$.headers[?@ == 'x']"
            rejected = ["x"]
            "#,
        ),
    ])
});

pub fn run(data: &[u8]) {
    let Some((status, headers, body)) = read(data) else { return };
    for webhook in SNAPSHOT.webhooks.values() {
        for truncated in [false, true] {
            let parts = ResponseParts { status, headers: &headers, body, truncated };
            hold(webhook, parts);
        }
    }
}

/// What the bytes say, as a client would have read it.
fn read(data: &[u8]) -> Option<(StatusCode, HeaderMap, &[u8])> {
    let (first, mut rest) = line(data);
    let status = StatusCode::from_bytes(first.trim_ascii()).ok()?;
    let mut headers = HeaderMap::new();
    loop {
        let (field, behind) = line(rest);
        rest = behind;
        if field.is_empty() {
            return Some((status, headers, rest));
        }
        let colon = field.iter().position(|byte| *byte == b':')?;
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&field[..colon]), HeaderValue::from_bytes(field[colon + 1..].trim_ascii()))
        else {
            continue;
        };
        headers.try_append(name, value).ok()?;
    }
}

fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

fn hold(webhook: &Webhook, parts: ResponseParts<'_>) {
    let judgement = judge(webhook, parts, now());
    assert_eq!(judgement, judge(webhook, parts, now()), "the same response is judged in the same way");
    let success = parts.status.is_success();
    match &judgement.outcome {
        Outcome::Accepted => {
            assert!(success && judgement.failed_validators.is_empty());
            assert!(judgement.verdicts.iter().all(|(_, verdict)| verdict.passed));
        }
        Outcome::Failed(failure) => {
            assert_eq!(failure.status, Some(parts.status.as_u16()));
            let judged = [Reason::ValidationFailed, Reason::ResponseTooLarge].contains(&failure.reason);
            assert_eq!(success, judged, "{failure:?}");
            assert_eq!(failure.reason == Reason::ValidationFailed, !judgement.failed_validators.is_empty());
            assert!(success || judgement.verdicts.is_empty());
            if let Some(text) = parts.headers.get("retry-after").and_then(|text| text.to_str().ok())
                && let Ok(seconds) = text.trim().parse::<u32>()
                && !text.trim().starts_with('+')
            {
                assert_eq!(failure.retry_after, Some(Duration::from_secs(seconds.into())));
            }
        }
    }
    let asked = verdict(&webhook.retry, &judgement.outcome).asked;
    assert!(asked.is_none_or(|asked| asked <= MAX_INTERVAL * 6), "{asked:?}");
    for (attempts, probe, jitter) in [(0, false, 0.0), (1, true, 1.0), (2, false, 0.5), (u32::MAX, false, 2.0)] {
        let standing = Standing { attempts, since: now(), failing_since: None, max_wait: None, probe };
        match decide(&webhook.retry, &judgement.outcome, standing, now(), jitter) {
            Decision::Done => assert_eq!(judgement.outcome, Outcome::Accepted),
            Decision::Retry { at, .. } => {
                let wait = Duration::try_from(at.duration_since(now())).expect("no retry lies in the past");
                assert!(wait <= MAX_INTERVAL * 7, "{wait:?}");
            }
            Decision::Hold | Decision::Bury { .. } => assert_ne!(judgement.outcome, Outcome::Accepted),
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    Vec::new()
}
