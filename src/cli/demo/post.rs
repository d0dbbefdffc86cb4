//! The demo's side of ingest: which events are posted, and what ingest says became of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::cloudevents;
use crate::config::Snapshot;

/// What events are sent as, but for `CloudEvents`.
const JSON: &str = "application/json";

/// How long ingest is asked to wait for an event's deliveries.
const WAIT: &str = "60s";
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event to post.
pub(super) struct Post {
    /// What people call it.
    name: String,
    kind: String,
    body: Bytes,
}

/// One delivery of a posted event, as ingest reported it.
pub(super) struct Row {
    pub(super) event: String,
    pub(super) webhook: String,
    pub(super) attempts: u64,
    pub(super) outcome: String,
    pub(super) reason: String,
    pub(super) milliseconds: u64,
}

/// One event of each type of each kind, from the kinds' samples, and the examples in `events/`.
pub(super) fn events(dir: &Path, snapshot: &Snapshot) -> anyhow::Result<Vec<Post>> {
    let mut posts = Vec::new();
    for kind in snapshot.kinds.values() {
        for sample in kind.samples.iter().filter(|sample| sample.name == sample.event_type) {
            if *sample.event_type != *crate::kind::MANUAL {
                let body = Bytes::from(sample.payload.to_string());
                posts.push(Post { name: sample.event_type.to_string(), kind: kind.name.to_string(), body });
            }
        }
    }
    for name in ["request-approved-manually", "request-granted"] {
        let path = dir.join("events").join(format!("{name}.json"));
        let body = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
        posts.push(Post { name: name.to_owned(), kind: "request".to_owned(), body: Bytes::from(body) });
    }
    Ok(posts)
}

/// Posts all events at the same time and waits until every delivery has come to its end.
pub(super) async fn all(ingest: &str, posts: Vec<Post>) -> anyhow::Result<Vec<Row>> {
    let mut answers = JoinSet::new();
    for post in posts {
        let ingest = ingest.to_owned();
        answers.spawn(async move {
            let path = format!("/v1/events/{}?wait={WAIT}", post.kind);
            let content_type = if &*post.kind == cloudevents::KIND { cloudevents::STRUCTURED } else { JSON };
            let (status, body) = ask(&ingest, Method::POST, &path, (content_type, post.body)).await?;
            if !status.is_success() {
                bail!("ingest answered {status} to {}: {body}", post.name);
            }
            rows(&post.name, &body)
        });
    }
    let mut all = Vec::new();
    for rows in answers.join_all().await {
        all.extend(rows?);
    }
    all.sort_by(|a, b| (&a.webhook, &a.event).cmp(&(&b.webhook, &b.event)));
    Ok(all)
}

/// The deliveries in an answer. One that names webhooks alone came when the wait was over.
fn rows(event: &str, body: &str) -> anyhow::Result<Vec<Row>> {
    let answer: Value = serde_json::from_str(body).context("ingest's answer is not JSON")?;
    let deliveries =
        answer.pointer("/events/0/deliveries").and_then(Value::as_array).context("no deliveries in the answer")?;
    let text = |delivery: &Value, key: &str| delivery.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |delivery: &Value, key: &str| delivery.get(key).and_then(Value::as_u64).unwrap_or_default();
    Ok(deliveries
        .iter()
        .map(|delivery| Row {
            event: event.to_owned(),
            webhook: delivery.as_str().map_or_else(|| text(delivery, "webhook"), ToOwned::to_owned),
            attempts: number(delivery, "attempts"),
            outcome: if delivery.is_string() { "pending".to_owned() } else { text(delivery, "outcome") },
            reason: text(delivery, "reason"),
            milliseconds: number(delivery, "milliseconds"),
        })
        .collect())
}

/// The metrics page.
pub(super) async fn scrape(metrics: &str) -> anyhow::Result<String> {
    let (status, page) = ask(metrics, Method::GET, "/metrics", (JSON, Bytes::new())).await?;
    if status != StatusCode::OK {
        bail!("the metrics listener answered {status}");
    }
    Ok(page)
}

async fn ask(
    base: &str,
    method: Method,
    path: &str,
    (content_type, body): (&str, Bytes),
) -> anyhow::Result<(StatusCode, String)> {
    let address = base.strip_prefix("http://").context("a TCP listener")?;
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", address).header("content-type", content_type);
    let request = request.body(Full::new(body))?;
    let answer =
        tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await.context("no answer in time")??;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    connection.abort();
    Ok((status, String::from_utf8(body.to_vec())?))
}
