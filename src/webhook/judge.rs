//! The judgement of a response: accepted, or failed with which [`Reason`].

use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::{Map, Value};

use crate::delivery::{Failure, Outcome, Reason};

use super::Webhook;
use super::validator::{Validator, Verdict};

/// Validators that a failure's sentence names; the rest are counted.
const NAMED_MAX: usize = 5;

/// What there is to judge.
#[derive(Clone, Copy, Debug)]
pub struct ResponseParts<'r> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// The body as far as it was read.
    pub body: &'r [u8],
    /// Whether there was more of it.
    pub truncated: bool,
}

/// What a response came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The attempt's outcome.
    pub outcome: Outcome,
    /// The names of the validators that were not content.
    pub failed_validators: Vec<Arc<str>>,
    /// What every validator found, in the file's order; empty when none was asked.
    pub verdicts: Vec<(Arc<str>, Verdict)>,
}

/// Judges a response. `now` is what a `Retry-After` date is measured from.
#[must_use]
pub fn judge(webhook: &Webhook, response: ResponseParts<'_>, now: Timestamp) -> Judgement {
    weigh(&webhook.validators, webhook.url.templated, response, now)
}

fn weigh(validators: &[Validator], templated_url: bool, response: ResponseParts<'_>, now: Timestamp) -> Judgement {
    let mut judgement = if response.status.is_success() {
        validate(validators, response)
    } else {
        Judgement::unasked(refusal(response.status, templated_url))
    };
    if let Outcome::Failed(failure) = &mut judgement.outcome {
        failure.status = Some(response.status.as_u16());
        failure.retry_after = retry_after(response.headers, now);
    }
    judgement
}

/// What a response without a word of consent comes to, when it says that another time may be better; `None` for all others.
pub(super) fn moment(response: ResponseParts<'_>, now: Timestamp) -> Option<Failure> {
    if response.status.is_success() {
        return None;
    }
    match weigh(&[], false, response, now).outcome {
        Outcome::Failed(failure) if matches!(failure.reason, Reason::RateLimited | Reason::ServerError) => {
            Some(failure)
        }
        _ => None,
    }
}

impl Judgement {
    fn unasked(outcome: Outcome) -> Self {
        Self { outcome, failed_validators: Vec::new(), verdicts: Vec::new() }
    }
}

/// What a status that is no success comes to.
fn refusal(status: StatusCode, templated_url: bool) -> Outcome {
    let reason = match status.as_u16() {
        // A final answer in the hundreds is no answer in HTTP.
        ..=199 => Reason::NetworkError,
        300..=399 => Reason::Redirect,
        401 | 403 | 407 => Reason::AuthError,
        // Where the event chooses the path, the event is to blame; else the target is.
        404 if !templated_url => Reason::NotFound,
        410 => Reason::Gone,
        429 => Reason::RateLimited,
        408 | 425 | 500.. => Reason::ServerError,
        _ => Reason::ClientError,
    };
    let what = if reason == Reason::Redirect { "a redirect, and redirects are never followed" } else { "no success" };
    Outcome::Failed(Failure::new(reason, format!("the receiver answered {}: {what}", status.as_u16())))
}

fn validate(validators: &[Validator], response: ResponseParts<'_>) -> Judgement {
    if validators.is_empty() {
        return Judgement::unasked(Outcome::Accepted);
    }
    let needs_body = validators.iter().any(Validator::needs_body);
    if needs_body && response.truncated {
        let detail = format!(
            "the response is larger than limits.response ({} bytes were read), and a validator needs all of it",
            response.body.len()
        );
        return Judgement::unasked(Outcome::Failed(Failure::new(Reason::ResponseTooLarge, detail)));
    }
    let needs_headers = validators.iter().any(Validator::needs_headers);
    let document = document(response, needs_headers, needs_body);
    let verdicts: Vec<(&Validator, Verdict)> =
        validators.iter().map(|validator| (validator, validator.judge(&document))).collect();
    let failed: Vec<&Validator> =
        verdicts.iter().filter(|(_, verdict)| !verdict.passed).map(|(validator, _)| *validator).collect();
    Judgement {
        outcome: conclude(&failed),
        failed_validators: failed.iter().map(|validator| Arc::clone(&validator.name)).collect(),
        verdicts: verdicts.into_iter().map(|(validator, verdict)| (Arc::clone(&validator.name), verdict)).collect(),
    }
}

fn conclude(failed: &[&Validator]) -> Outcome {
    if failed.is_empty() {
        return Outcome::Accepted;
    }
    let mut names: Vec<String> =
        failed.iter().take(NAMED_MAX).map(|validator| format!("`{}`", validator.name)).collect();
    if failed.len() > NAMED_MAX {
        names.push(format!("{} more", failed.len() - NAMED_MAX));
    }
    let detail = format!("the response did not pass {}", names.join(", "));
    let validator_retry = failed.iter().any(|validator| validator.retry);
    Outcome::Failed(Failure { validator_retry, ..Failure::new(Reason::ValidationFailed, detail) })
}

/// What validators look into: `status`, `headers` by lower-case name, and `data`.
/// What nobody looks at is left out.
fn document(response: ResponseParts<'_>, with_headers: bool, with_body: bool) -> Value {
    let mut document = Map::new();
    document.insert("status".to_owned(), response.status.as_u16().into());
    if with_headers {
        document.insert("headers".to_owned(), headers(response.headers));
    }
    if with_body {
        document.insert("data".to_owned(), data(response.body));
    }
    Value::Object(document)
}

/// A header that came more than once has its values joined by commas, as HTTP understands it.
fn headers(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        map.insert(name.as_str().to_owned(), Value::String(values.join(", ")));
    }
    Value::Object(map)
}

fn data(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

/// `Retry-After` as seconds or as an HTTP date; `None` for anything else. A date in the past is no wait at all.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than can be counted is for ever; how much of it is obeyed is for others to say.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use http::HeaderValue;

    use crate::kind::Path;
    use crate::webhook::validator::Rule;

    use super::*;

    fn failure(outcome: Outcome) -> Failure {
        match outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Accepted => panic!("a failure was expected"),
        }
    }

    #[test]
    fn every_status_that_is_no_success_has_its_reason() {
        let cases = [
            (101, Reason::NetworkError),
            (300, Reason::Redirect),
            (304, Reason::Redirect),
            (308, Reason::Redirect),
            (400, Reason::ClientError),
            (401, Reason::AuthError),
            (402, Reason::ClientError),
            (403, Reason::AuthError),
            (405, Reason::ClientError),
            (407, Reason::AuthError),
            (408, Reason::ServerError),
            (409, Reason::ClientError),
            (410, Reason::Gone),
            (413, Reason::ClientError),
            (415, Reason::ClientError),
            (422, Reason::ClientError),
            (425, Reason::ServerError),
            (429, Reason::RateLimited),
            (451, Reason::ClientError),
            (500, Reason::ServerError),
            (503, Reason::ServerError),
            (599, Reason::ServerError),
            (999, Reason::ServerError),
        ];
        for (status, reason) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            for templated in [false, true] {
                assert_eq!(failure(refusal(status, templated)).reason, reason, "{status}");
            }
        }
        assert_eq!(failure(refusal(StatusCode::NOT_FOUND, false)).reason, Reason::NotFound);
        assert_eq!(failure(refusal(StatusCode::NOT_FOUND, true)).reason, Reason::ClientError);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let cases = [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
            ("-5", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
            ("99999999999999999999999", Some(u64::MAX)),
        ];
        for (text, seconds) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
        let bytes = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert_eq!(retry_after(&bytes, now), None);
    }

    fn validator(path: &str, rule: Rule, retry: bool) -> Validator {
        Validator { name: path.into(), path: Path::parse(path).unwrap(), rule, retry }
    }

    /// The judgement of a 200 with this body under these validators.
    fn judged(validators: &[Validator], body: &str, truncated: bool) -> Judgement {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("30"))]);
        let response = ResponseParts { status: StatusCode::OK, headers: &headers, body: body.as_bytes(), truncated };
        weigh(validators, false, response, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_success_is_accepted_when_all_validators_are_content() {
        let ok = || validator("$.data.ok", Rule::Expected(vec!["true".into()]), false);
        let status = || validator("$.status", Rule::Expected(vec![200.into()]), false);
        assert_eq!(judged(&[], "whatever", true).outcome, Outcome::Accepted);
        for body in [r#"{"ok":true}"#, r#"{"ok":"true"}"#] {
            let judgement = judged(&[ok(), status()], body, false);
            assert_eq!(judgement.outcome, Outcome::Accepted, "{body}");
            assert!(judgement.failed_validators.is_empty());
            assert_eq!(judgement.verdicts.len(), 2);
        }
        for body in [r#"{"ok":false}"#, "{}", "ok", "", "<html>"] {
            let judgement = judged(&[ok(), status()], body, false);
            let failure = failure(judgement.outcome);
            assert_eq!(failure.reason, Reason::ValidationFailed, "{body}");
            assert_eq!(failure.detail, "the response did not pass `$.data.ok`");
            assert_eq!((failure.status, failure.validator_retry), (Some(200), false));
            assert_eq!(failure.retry_after, Some(Duration::from_secs(30)));
            assert_eq!(judgement.failed_validators, ["$.data.ok".into()]);
            assert_eq!(judgement.verdicts.iter().map(|(_, verdict)| verdict.passed).collect::<Vec<_>>(), [false, true]);
        }
    }

    #[test]
    fn a_plain_text_is_data_as_a_string() {
        let slack = [validator("$.data", Rule::Expected(vec!["ok".into()]), false)];
        assert_eq!(judged(&slack, "ok", false).outcome, Outcome::Accepted);
        assert_eq!(failure(judged(&slack, "no_text", false).outcome).reason, Reason::ValidationFailed);
    }

    #[test]
    fn one_failed_validator_that_asks_for_a_retry_is_enough_and_a_passed_one_does_not_count() {
        let fails = |retry| validator("$.data.ok", Rule::Expected(vec![true.into()]), retry);
        let passes = |retry| validator("$.data.error", Rule::Rejected(vec!["fatal".into()]), retry);
        let body = r#"{"ok":false,"error":"ratelimited"}"#;
        assert!(failure(judged(&[passes(false), fails(true)], body, false).outcome).validator_retry);
        assert!(!failure(judged(&[passes(true), fails(false)], body, false).outcome).validator_retry);
    }

    #[test]
    fn a_cut_body_fails_only_where_a_validator_needs_it() {
        let status = [validator("$.status", Rule::Expected(vec![200.into()]), false)];
        assert_eq!(judged(&status, "{\"ok\":", true).outcome, Outcome::Accepted);
        let data = [validator("$.data.ok", Rule::Rejected(vec![false.into()]), false)];
        let judgement = judged(&data, "{\"ok\":", true);
        let failure = failure(judgement.outcome);
        assert_eq!((failure.reason, failure.status), (Reason::ResponseTooLarge, Some(200)));
        assert!(failure.detail.contains("limits.response"), "{failure:?}");
    }

    #[test]
    fn no_validator_is_asked_about_a_refusal() {
        let status = [validator("$.status", Rule::Expected(vec![500.into()]), true)];
        let headers = HeaderMap::new();
        let response =
            ResponseParts { status: StatusCode::INTERNAL_SERVER_ERROR, headers: &headers, body: b"", truncated: false };
        let judgement = weigh(&status, false, response, Timestamp::UNIX_EPOCH);
        assert_eq!(failure(judgement.outcome).reason, Reason::ServerError);
        assert!(judgement.verdicts.is_empty());
    }

    #[test]
    fn a_sentence_names_a_few_validators_and_counts_the_rest() {
        let many: Vec<_> =
            (0..7).map(|n| validator(&format!("$.data.v{n}"), Rule::Expected(vec![1.into()]), false)).collect();
        let judgement = judged(&many, "{}", false);
        assert_eq!(judgement.failed_validators.len(), 7);
        assert!(failure(judgement.outcome).detail.ends_with("`$.data.v4`, 2 more"));
    }

    #[test]
    fn the_document_holds_status_headers_and_the_body_as_json_or_text() {
        let mut headers = HeaderMap::new();
        headers.append("X-Many", HeaderValue::from_static("a"));
        headers.append("x-many", HeaderValue::from_static("b"));
        let parts = |body: &'static [u8]| (StatusCode::CREATED, body);
        let cases = [
            (parts(br#"{"ok":true}"#), serde_json::json!({"ok": true})),
            (parts(b"ok"), serde_json::json!("ok")),
            (parts(b""), serde_json::json!("")),
            (parts(b"\xff"), serde_json::json!("\u{fffd}")),
            (parts(b"[1, 2"), serde_json::json!("[1, 2")),
        ];
        for ((status, body), data) in cases {
            let response = ResponseParts { status, headers: &headers, body, truncated: false };
            let expected = serde_json::json!({"status": 201, "headers": {"x-many": "a, b"}, "data": data});
            assert_eq!(document(response, true, true), expected);
            assert!(document(response, true, false).get("data").is_none());
        }
    }
}
