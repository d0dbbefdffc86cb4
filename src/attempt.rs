//! One attempt: render under the Snapshot in force, send, read a bounded response, validate.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::Full;
use jiff::Timestamp;

use crate::client::{Client, Limits, Response};
use crate::delivery::{Failure, Outcome, Reason};
use crate::event::Event;
use crate::webhook::Webhook;
use crate::webhook::judge::{Judgement, ResponseParts, judge};
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

/// Makes one attempt. It always ends: the webhook's `timeout` bounds it, and a panic on the way is a failure as others are.
pub async fn attempt(client: &Client, webhook: &Webhook, event: &Event) -> Attempted {
    let begun = Instant::now();
    let exchange = async {
        match webhook.render(event) {
            Ok(request) => send(client, webhook, request, begun).await,
            Err(failure) => failed(failure, begun, Vec::new()),
        }
    };
    caught(exchange).await.unwrap_or_else(|| {
        // Another version may do better: it is retried, with the backoff that a lease given back would not have.
        let detail = "the attempt panicked, which is a fault of Outrigger; standard error has the place";
        failed(Failure::new(Reason::NetworkError, detail), begun, Vec::new())
    })
}

/// What a future resolves to; `None` when it panics.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    // What the panic left is dropped with the future and never looked at.
    let poll = |context: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    };
    poll_fn(poll).await
}

async fn send(client: &Client, webhook: &Webhook, mut request: Request, begun: Instant) -> Attempted {
    let missing = std::mem::take(&mut request.missing);
    match exchange(client, webhook, request).await {
        Ok((response, judgement)) => Attempted {
            outcome: judgement.outcome,
            status: Some(response.status.as_u16()),
            duration: begun.elapsed(),
            validators: judgement.verdicts.into_iter().map(|(name, verdict)| (name, verdict.passed)).collect(),
            missing,
        },
        Err(failure) => failed(failure, begun, missing),
    }
}

/// Sends a rendered request and judges the response. The error is that there was none.
pub async fn exchange(client: &Client, webhook: &Webhook, request: Request) -> Result<(Response, Judgement), Failure> {
    let Request { method, uri, headers, body, .. } = request;
    let mut request = http::Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let limits = Limits { timeout: webhook.timeout, response_bytes_max: webhook.response_bytes_max };
    let response = client.send(request, limits).await?;
    let Response { status, headers, body, truncated } = &response;
    let parts = ResponseParts { status: *status, headers, body, truncated: *truncated };
    let judgement = judge(webhook, parts, Timestamp::now());
    Ok((response, judgement))
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
    async fn a_panic_is_caught_wherever_the_future_stands() {
        assert_eq!(caught(async { 7 }).await, Some(7));
        let panics = async {
            tokio::task::yield_now().await;
            panic!("as it should");
        };
        assert_eq!(caught::<()>(panics).await, None);
    }
}
