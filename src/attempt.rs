//! One attempt: render under the Snapshot in force, authenticate, sign, send, read a bounded response, validate.

use std::borrow::Cow;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::Full;
use jiff::Timestamp;

use crate::client::{Issued, Limits, Response, Way};
use crate::delivery::{Failure, Outcome, Reason};
use crate::event::Event;
use crate::history::{Answered, Invocation, InvocationId, Then, Timings};
use crate::trace::SpanId;
use crate::webhook::Webhook;
use crate::webhook::envelope::{a_minute, asking, consent};
use crate::webhook::judge::{ResponseParts, judge};
use crate::webhook::request::{Request, WEBHOOK_ID};
use crate::webhook::validator::Verdict;

/// What an attempt came to, and what is known of it.
pub struct Attempted {
    /// Accepted, or why not.
    pub outcome: Outcome,
    /// What came back.
    pub response: Option<Response>,
    /// From rendering to the verdict.
    pub duration: Duration,
    /// How much of it rendering took.
    pub render: Duration,
    /// The validators' verdicts, in the order of the file; empty when none was asked.
    pub verdicts: Vec<(Arc<str>, Verdict)>,
    /// Template paths that the event lacked.
    pub missing: Vec<String>,
    /// The token that was sent, to be masked in what the response says.
    pub token: Option<Arc<Issued>>,
    /// What the exchange met on its way.
    pub met: Met,
    /// What its receiver knows the attempt by, in the trace of its event.
    pub span: SpanId,
}

impl Attempted {
    fn failed(failure: Failure) -> Self {
        Self::came_to(Outcome::Failed(failure))
    }

    /// With nothing else known.
    fn came_to(outcome: Outcome) -> Self {
        Self {
            outcome,
            response: None,
            duration: Duration::ZERO,
            render: Duration::ZERO,
            verdicts: Vec::new(),
            missing: Vec::new(),
            token: None,
            met: Met::default(),
            span: SpanId::new(0),
        }
    }

    /// The response's status, when one came.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status.as_u16())
    }

    /// The same as people look at it afterwards, of an event that nobody owes: the first attempt, and nothing becomes of it.
    #[must_use]
    pub fn into_invocation(self, at: Timestamp, webhook: &Arc<Webhook>, event: &Event, generation: u64) -> Invocation {
        Invocation {
            id: InvocationId::default(),
            at,
            webhook: Arc::clone(webhook),
            event: event.without_tree(),
            payload_dropped: false,
            known_by: Vec::new(),
            omitted: false,
            generation,
            attempt: 1,
            probe: false,
            test: false,
            span: self.span,
            then: Then::Nothing,
            response: self.response.as_ref().map(Answered::new),
            timings: Timings {
                queued: None,
                render: self.render,
                wire: self.response.as_ref().map(|response| response.wire),
                total: self.duration,
            },
            outcome: self.outcome,
            verdicts: self.verdicts,
            missing: self.missing,
            token: self.token,
        }
    }

    /// The names of the validators with whether each was content.
    pub fn validators(&self) -> impl Iterator<Item = (&Arc<str>, bool)> {
        self.verdicts.iter().map(|(name, verdict)| (name, verdict.passed))
    }
}

/// What an exchange met on its way, whatever it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Tokens that the authorization server gave out.
    pub tokens_issued: u64,
    /// Requests for a token that failed.
    pub tokens_failed: u64,
    /// When the certificate expires that the target showed.
    pub certificate_expires: Option<Timestamp>,
}

/// Makes one attempt, as a span of the event's trace, with a header beside those of the webhook where one is given. It always ends: the
/// webhook's `timeout` bounds each exchange with the target, of which there are two at most and a request for consent, and the client's
/// own limit each with an authorization server; a panic on
/// the way is a failure as others are. What it says of a failure holds none of the webhook's secrets.
pub async fn attempt(
    way: Option<&Way>,
    webhook: &Webhook,
    event: &Event,
    span: SpanId,
    extra: Option<(HeaderName, HeaderValue)>,
) -> Attempted {
    let begun = Instant::now();
    let exchange = pin!(async {
        let rendered = webhook.render(event);
        let render = begun.elapsed();
        let attempted = match (rendered, way) {
            (Ok(mut request), Some(way)) => {
                request.headers.extend(extra);
                request.trace(event, span);
                send(way, webhook, request).await
            }
            (Err(failure), _) => Attempted::failed(failure),
            // Both are of one publication, so this is a fault of ours; nothing is sent by a way that is not the webhook's.
            (Ok(_), None) => {
                let detail = "there is no way to the target in this publication, which is a fault of Outrigger";
                Attempted::failed(Failure::new(Reason::NetworkError, detail))
            }
        };
        Attempted { render, ..attempted }
    });
    let mut attempted = caught(exchange).await.unwrap_or_else(|| {
        // Another version may do better: it is retried, with the backoff that a lease given back would not have.
        let detail = "the attempt panicked, which is a fault of Outrigger; standard error has the place";
        Attempted::failed(Failure::new(Reason::NetworkError, detail))
    });
    (attempted.duration, attempted.span) = (begun.elapsed(), span);
    if let Outcome::Failed(failure) = &mut attempted.outcome
        && let Cow::Owned(masked) = webhook.mask.apply(&failure.detail)
    {
        failure.detail = masked;
    }
    attempted
}

/// What a future resolves to; `None` when it panics.
fn caught<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    // What the panic left is dropped with the future and never looked at.
    poll_fn(move |context: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
}

/// Authenticates, signs and sends a rendered request, and judges the response.
///
/// A token that the target answers with 401 is replaced once, and the request sent again with the new one: it may have been
/// taken back before its time. A target that refuses them all is not asked twice each time.
async fn send(way: &Way, webhook: &Webhook, mut request: Request) -> Attempted {
    let missing = std::mem::take(&mut request.missing);
    let (mut met, mut token) = (Met::default(), None);
    let attempted = match exchange(way, webhook, request, &mut token, &mut met).await {
        Ok(response) => {
            let Response { status, headers, body, truncated, .. } = &response;
            let parts = ResponseParts { status: *status, headers, body, truncated: *truncated };
            let judgement = judge(webhook, parts, Timestamp::now());
            let verdicts = judgement.verdicts;
            Attempted { verdicts, response: Some(response), ..Attempted::came_to(judgement.outcome) }
        }
        Err(failure) => Attempted::failed(failure),
    };
    Attempted { missing, token, met, ..attempted }
}

/// `token` is left at the one that was sent last.
async fn exchange(
    way: &Way,
    webhook: &Webhook,
    request: Request,
    token: &mut Option<Arc<Issued>>,
    met: &mut Met,
) -> Result<Response, Failure> {
    if let Some(origin) = webhook.envelope.as_ref().and_then(|envelope| envelope.origin.as_ref()) {
        // Few webhooks ask, and the others' attempts are not to be larger for it.
        Box::pin(way.consent(ask(way, webhook, origin, &request.uri))).await?;
    }
    if !way.needs_token() {
        return send_once(way, webhook, request, None, met).await;
    }
    Box::pin(exchange_by_token(way, webhook, request, token, met)).await
}

/// The same with a token, which may have to be had first.
async fn exchange_by_token(
    way: &Way,
    webhook: &Webhook,
    request: Request,
    token: &mut Option<Arc<Issued>>,
    met: &mut Met,
) -> Result<Response, Failure> {
    *token = self::token(way, None, met).await?;
    let response = send_once(way, webhook, request.clone(), token.as_deref(), met).await?;
    if response.status == StatusCode::UNAUTHORIZED {
        let other = self::token(way, token.as_ref(), met).await?;
        let same = other.as_ref().zip(token.as_ref()).is_none_or(|(other, refused)| other.is_same(refused));
        if !same {
            *token = other;
            return send_once(way, webhook, request, token.as_deref(), met).await;
        }
    }
    Ok(response)
}

/// Asks the target for its consent (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4). No secret goes with it but the URL.
async fn ask(way: &Way, webhook: &Webhook, origin: &HeaderValue, uri: &Uri) -> Result<(), Failure> {
    let mut request = http::Request::new(Full::new(Bytes::new()));
    *request.method_mut() = Method::OPTIONS;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = asking(origin, webhook.rate);
    let limits = Limits { timeout: webhook.timeout, response_bytes_max: webhook.response_bytes_max };
    let Response { status, headers, body, truncated, .. } = way.client().send(request, limits).await?;
    let parts = ResponseParts { status, headers: &headers, body: &body, truncated };
    let expected = consent(origin, parts, Timestamp::now())?;
    if let Some(expected) = expected.filter(|expected| webhook.rate.is_none_or(|rate| a_minute(rate) > *expected)) {
        // More is not forbidden: the target answers 429, which is obeyed.
        tracing::warn!(
            webhook = %webhook.name,
            per_minute = expected,
            note = "the target expects fewer requests than limits.rate allows",
            "consent.rate"
        );
    }
    Ok(())
}

/// A token for the webhook's target, if it needs one.
async fn token(way: &Way, refused: Option<&Arc<Issued>>, met: &mut Met) -> Result<Option<Arc<Issued>>, Failure> {
    let Some(fetched) = way.token(refused).await else { return Ok(None) };
    match fetched.issued {
        Some(true) => met.tokens_issued += 1,
        Some(false) => met.tokens_failed += 1,
        None => {}
    }
    fetched.token.map(Some)
}

async fn send_once(
    way: &Way,
    webhook: &Webhook,
    request: Request,
    token: Option<&Issued>,
    met: &mut Met,
) -> Result<Response, Failure> {
    let Request { method, uri, mut headers, body, .. } = request;
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token.header.clone());
    }
    if let Some(signing) = &webhook.signing
        && let Some(id) = headers.get(WEBHOOK_ID).cloned()
    {
        signing.sign(&mut headers, &id, Timestamp::now(), &body);
    }
    let mut request = http::Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let limits = Limits { timeout: webhook.timeout, response_bytes_max: webhook.response_bytes_max };
    let response = way.client().send(request, limits).await?;
    met.certificate_expires = response.certificate_expires;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_wherever_the_future_stands() {
        assert_eq!(caught(pin!(async { 7 })).await, Some(7));
        let panics = async {
            tokio::task::yield_now().await;
            panic!("as it should");
        };
        assert_eq!(caught(pin!(panics)).await, None::<()>);
    }
}
