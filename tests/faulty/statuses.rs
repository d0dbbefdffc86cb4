//! Every status has one Reason, over the wire and in the judgement alone; `Retry-After` is understood in all its forms.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use outrigger::client::{Response, Wire};
use outrigger::config::{Source, load};
use outrigger::delivery::{Failure, Outcome, Reason};
use outrigger::webhook::Webhook;
use outrigger::webhook::judge::{ResponseParts, judge};

use super::{AMPLE, LONGER, client, post};
use crate::support::frames;
use crate::support::raw::{Greeting, Raw, Seen, Step, well};
use crate::support::receiver::RUNTIME;
use crate::support::{receiver, sidecar};

/// Statuses and what they come to on a URL without a template; `None` is a success. The first range that holds a status counts.
const REASONS: [(RangeInclusive<u16>, Option<Reason>); 14] = [
    (100..=199, Some(Reason::NetworkError)),
    (200..=299, None),
    (300..=399, Some(Reason::Redirect)),
    (401..=401, Some(Reason::AuthError)),
    (403..=403, Some(Reason::AuthError)),
    (404..=404, Some(Reason::NotFound)),
    (407..=407, Some(Reason::AuthError)),
    (408..=408, Some(Reason::ServerError)),
    (410..=410, Some(Reason::Gone)),
    (425..=425, Some(Reason::ServerError)),
    (429..=429, Some(Reason::RateLimited)),
    (400..=499, Some(Reason::ClientError)),
    (500..=599, Some(Reason::ServerError)),
    (600..=999, Some(Reason::ServerError)),
];

fn expected(status: u16, templated: bool) -> Option<Reason> {
    if templated && status == 404 {
        return Some(Reason::ClientError);
    }
    REASONS.iter().find(|(range, _)| range.contains(&status)).expect("every status is in a range").1
}

/// A webhook with a fixed URL and one with a template in it.
fn webhooks() -> BTreeMap<bool, Arc<Webhook>> {
    let written = sidecar()
        .setting("egress.allow_ports = [443]")
        .webhook("fixed", "url = 'https://a.example/x'")
        .webhook("templated", "url = 'https://a.example/{{data.id}}'")
        .write();
    let loaded = load(&Source::new(written.config()));
    let snapshot = loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    BTreeMap::from([("fixed", false), ("templated", true)].map(|(name, t)| (t, Arc::clone(&snapshot.webhooks[name]))))
}

fn judged(webhook: &Webhook, response: &Response, now: Timestamp) -> Outcome {
    let Response { status, headers, body, truncated, .. } = response;
    judge(webhook, ResponseParts { status: *status, headers, body, truncated: *truncated }, now).outcome
}

fn reason(outcome: &Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Accepted => None,
        Outcome::Failed(failure) => Some(failure.reason),
    }
}

/// The status that a request's path asks for.
fn asked(target: &str) -> u16 {
    target.trim_start_matches('/').parse().expect("a path is a status")
}

#[test]
fn every_status_that_there_can_be_is_judged_as_documented() {
    let webhooks = webhooks();
    let mut judgements = 0;
    for status in 100..=999 {
        let response = Response {
            status: StatusCode::from_u16(status).expect("three digits"),
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            truncated: false,
            wire: Wire::default(),
            certificate_expires: None,
        };
        for (templated, webhook) in &webhooks {
            let outcome = judged(webhook, &response, Timestamp::UNIX_EPOCH);
            assert_eq!(reason(&outcome), expected(status, *templated), "{status}, templated: {templated}");
            judgements += 1;
        }
    }
    assert_eq!(judgements, 1800);
}

#[test]
fn every_final_status_has_its_reason_over_both_versions_of_http() {
    let raw = Raw::start(Greeting::http1(), |seen: &Seen| {
        let status = asked(seen.target());
        let length = if matches!(status, 204 | 304) { "" } else { "content-length: 0\r\n" };
        vec![Step::Write(format!("HTTP/1.1 {status} So\r\n{length}location: /999\r\n\r\n").into_bytes())]
    });
    let target = receiver().http2().start();
    target.respond_with(|request| asked(&request.target).into());
    let (client, webhooks) = (client(), webhooks());
    for status in (200..=599).chain([101]) {
        let path = format!("/{status}");
        // Switching protocols is no part of HTTP/2.
        let urls = [raw.url(&path), target.url(&path)];
        for url in urls.iter().take(if status == 101 { 1 } else { 2 }) {
            let response =
                RUNTIME.block_on(post(&client, url, AMPLE)).unwrap_or_else(|error| panic!("{url}: {error:?}"));
            assert_eq!(response.status.as_u16(), status);
            for (templated, webhook) in &webhooks {
                let outcome = judged(webhook, &response, Timestamp::UNIX_EPOCH);
                assert_eq!(reason(&outcome), expected(status, *templated), "{url}, templated: {templated}");
            }
        }
    }
    assert_eq!((raw.seen().len(), target.count()), (401, 400), "each is asked for once, and no redirect is followed");
    assert!(target.recorded().iter().all(|seen| seen.http2));
}

#[test]
fn an_interim_status_is_no_answer_and_what_follows_it_is_waited_for() {
    // Protocols are not switched over HTTP/2.
    let statuses: Vec<u16> = (100..=199).filter(|status| *status != 101).collect();
    let given = statuses.clone();
    let raw = Raw::start(Greeting::http2(), move |seen: &Seen| match seen.number {
        1 => vec![well(seen)],
        number => vec![Step::Write(frames::headers(seen.stream, given[number - 2], &[("retry-after", "1")], false))],
    });
    let client = client();
    RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect("an answer");
    let waiting: Vec<_> = statuses
        .iter()
        .map(|_| {
            let (client, url) = (client.clone(), raw.url("/"));
            RUNTIME.spawn(async move { post(&client, &url, LONGER).await })
        })
        .collect();
    for exchange in waiting {
        let failure = RUNTIME.block_on(exchange).expect("no panic").expect_err("there is no answer");
        assert_eq!((failure.reason, failure.status), (Reason::Timeout, None), "{failure:?}");
    }
    assert_eq!((raw.seen().len(), raw.connections()), (statuses.len() + 1, 1));
}

#[test]
fn retry_after_is_understood_in_both_forms_and_nonsense_is_no_wait() {
    /// What the dates are measured from.
    const NOW: &str = "2026-01-01T00:00:00Z";
    const CASES: [(&[&str], Option<u64>); 16] = [
        (&[], None),
        (&["0"], Some(0)),
        (&["3"], Some(3)),
        (&["  120  "], Some(120)),
        (&["31536000000"], Some(31_536_000_000)),
        (&["Thu, 01 Jan 2026 00:00:30 GMT"], Some(30)),
        (&["Wed, 31 Dec 2025 23:59:00 GMT"], Some(0)),
        (&["Thu, 01 Jan 1970 00:00:00 GMT"], Some(0)),
        (&["Mon, 01 Jan 2026 00:00:30 GMT"], None),
        (&["2026-01-01T00:00:30Z"], None),
        (&["-1"], None),
        (&["1.5"], None),
        (&["+5"], None),
        (&["soon"], None),
        (&[""], None),
        (&["7", "90"], Some(7)),
    ];
    let raw = Raw::start(Greeting::http1(), |seen: &Seen| {
        let (values, _) = CASES[usize::from(asked(seen.target()))];
        let lines = values.iter().map(|value| format!("Retry-After: {value}\r\n")).collect::<Vec<_>>().concat();
        vec![Step::Write(format!("HTTP/1.1 429 Slow\r\n{lines}content-length: 0\r\n\r\n").into_bytes())]
    });
    let (client, webhooks) = (client(), webhooks());
    let now: Timestamp = NOW.parse().expect("a time");
    for (number, (values, seconds)) in CASES.iter().enumerate() {
        let url = raw.url(&format!("/{number}"));
        let response = RUNTIME.block_on(post(&client, &url, AMPLE)).expect("an answer");
        let Outcome::Failed(Failure { reason, status, retry_after, .. }) = judged(&webhooks[&false], &response, now)
        else {
            panic!("a 429 is no success");
        };
        assert_eq!((reason, status), (Reason::RateLimited, Some(429)));
        assert_eq!(retry_after, seconds.map(Duration::from_secs), "{values:?}");
    }
}
