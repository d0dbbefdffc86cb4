//! One attempt: render under the Snapshot in force, send, read a bounded response, validate.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body_util::Full;
use jiff::Timestamp;

use crate::client::{Client, Limits, Response};
use crate::delivery::{Failure, Outcome, Reason};
use crate::event::Event;
use crate::webhook::Webhook;
use crate::webhook::judge::{ResponseParts, judge};
use crate::webhook::request::Request;

/// What an attempt came to, and what is known of it.
pub struct Attempted {
    /// Accepted, or why not.
    pub outcome: Outcome,
    /// The response's status, when one came.
    pub status: Option<u16>,
    /// From rendering to the verdict.
    pub duration: Duration,
    /// The validators' verdicts, in the order of the file; empty when none was asked.
    pub validators: Vec<(Arc<str>, bool)>,
    /// Template paths that the event lacked.
    pub missing: Vec<String>,
}

/// Makes one attempt. It always ends: the webhook's `timeout` bounds it, and a panic is a failed attempt like others. Given
/// back to the spool by a panic, the delivery would be attempted again at once, and so without end.
pub async fn attempt(client: &Client, webhook: &Webhook, event: &Event) -> Attempted {
    let begun = Instant::now();
    let made = async {
        match webhook.render(event) {
            Ok(request) => send(client, webhook, request, begun).await,
            Err(failure) => failed(failure, begun, Vec::new()),
        }
    };
    unless_it_panics(made).await.unwrap_or_else(|| {
        let detail = "a fault of Outrigger itself: the attempt panicked, and standard error says where";
        failed(Failure::new(Reason::NetworkError, detail), begun, Vec::new())
    })
}

/// What a future comes to; `None` when it panics. It is dropped then, so nobody sees what it left half done.
async fn unless_it_panics<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Sends a rendered request and judges the response.
pub async fn send(client: &Client, webhook: &Webhook, request: Request, begun: Instant) -> Attempted {
    let Request { method, uri, headers, body, missing } = request;
    let mut request = http::Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let limits = Limits { timeout: webhook.timeout, response_bytes_max: webhook.response_bytes_max };
    let response = match client.send(request, limits).await {
        Ok(response) => response,
        Err(failure) => return failed(failure, begun, missing),
    };
    let Response { status, headers, body, truncated } = response;
    let parts = ResponseParts { status, headers: &headers, body: &body, truncated };
    let judgement = judge(webhook, parts, Timestamp::now());
    Attempted {
        outcome: judgement.outcome,
        status: Some(status.as_u16()),
        duration: begun.elapsed(),
        validators: judgement.verdicts.into_iter().map(|(name, verdict)| (name, verdict.passed)).collect(),
        missing,
    }
}

fn failed(failure: Failure, begun: Instant, missing: Vec<String>) -> Attempted {
    Attempted {
        outcome: Outcome::Failed(failure),
        status: None,
        duration: begun.elapsed(),
        validators: Vec::new(),
        missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_even_behind_a_wait() {
        assert_eq!(unless_it_panics(async { 7 }).await, Some(7));
        let panics = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert_eq!(unless_it_panics(panics).await, None::<()>);
    }
}
