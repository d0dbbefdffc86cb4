//! What is in the stream, read without a lease.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Shared;
use crate::spool::SpoolError;

/// The longest wait for the next part of an answer.
const PART_TIMEOUT: Duration = Duration::from_secs(5);

/// A message as it is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) seq: u64,
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    /// How many more there are behind it that fit.
    pub(super) behind: u64,
}

/// Which stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    Deliveries,
    Records,
}

impl Shared {
    /// The last messages of some subjects, which may have wildcards.
    pub(super) async fn stored_at(&self, subjects: &[String]) -> Result<Vec<Stored>, SpoolError> {
        self.read(Of::Deliveries, &json!({ "multi_last": subjects, "batch": 1000 })).await
    }

    /// Messages of a filter from a number on, the oldest first.
    pub(super) async fn stored_from(&self, filter: &str, seq: u64, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        self.read(Of::Deliveries, &json!({ "next_by_subj": filter, "seq": seq.max(1), "batch": limit.max(1) })).await
    }

    /// Records of a filter from a number of their stream on, the oldest first.
    pub(super) async fn records_from(&self, filter: &str, seq: u64, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        self.read(Of::Records, &json!({ "next_by_subj": filter, "seq": seq.max(1), "batch": limit.max(1) })).await
    }

    /// Records from a time on, the oldest first.
    pub(super) async fn records_since(&self, time: Timestamp, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        let filter = self.names.records_of(None);
        self.read(Of::Records, &json!({ "next_by_subj": filter, "start_time": time.to_string(), "batch": limit })).await
    }

    /// One message by its number.
    pub(super) async fn stored(&self, seq: u64) -> Result<Option<Stored>, SpoolError> {
        Ok(self.read(Of::Deliveries, &json!({ "seq": seq })).await?.pop())
    }

    async fn read(&self, of: Of, asked: &Value) -> Result<Vec<Stored>, SpoolError> {
        let away = |error: String| SpoolError::Unavailable(format!("NATS: {error}"));
        let stream = match of {
            Of::Deliveries => self.names.stream().to_owned(),
            Of::Records => self.names.records(),
        };
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let inbox = self.client.new_inbox();
        let mut parts = self.client.subscribe(inbox.clone()).await.map_err(|error| away(error.to_string()))?;
        let asked_for = asked.to_string().into();
        let sent = self.client.publish_with_reply(subject, inbox, asked_for).await;
        sent.map_err(|error| away(error.to_string()))?;
        let one = asked.get("batch").is_none();
        let mut found = Vec::new();
        loop {
            let part =
                tokio::time::timeout(PART_TIMEOUT, parts.next()).await.map_err(|_| away("no answer".to_owned()))?;
            let Some(part) = part else { return Err(away("the connection is closed".to_owned())) };
            match part.status.map(|status| status.as_u16()) {
                None | Some(200) => {}
                // No such message, and the end of what was asked for.
                Some(404 | 204) => return Ok(found),
                Some(status) => return Err(away(format!("status {status}: {}", part.description.unwrap_or_default()))),
            }
            let headers = part.headers.unwrap_or_default();
            let number = |name: &str| headers.get(name).and_then(|value| value.as_str().parse().ok());
            let subject = headers.get("Nats-Subject").map(|value| value.as_str().to_owned());
            let (seq, behind) = (number("Nats-Sequence"), number("Nats-Num-Pending").unwrap_or(0));
            if let (Some(seq), Some(subject)) = (seq, subject) {
                found.push(Stored { seq, subject, headers, payload: part.payload, behind });
            }
            if one {
                return Ok(found);
            }
        }
    }
}
