//! What is in the stream, read without a lease.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State as Connection;
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
    /// Empty where it was not wanted.
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

/// Which payloads are wanted: they may be large, and there may be many.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Payloads {
    All,
    First,
    None,
}

/// What one answer holds about at most where payloads are wanted. The server's own limit is 64 MiB.
pub(super) const BYTES_MAX: usize = 8 * 1024 * 1024;

impl Shared {
    /// The last messages of some subjects, which may have wildcards; the first that has a payload with it.
    pub(super) async fn stored_at(&self, subjects: &[String]) -> Result<Vec<Stored>, SpoolError> {
        self.read(Of::Deliveries, Payloads::First, &json!({ "multi_last": subjects, "batch": 1000 })).await
    }

    /// Messages of a filter from a number on, the oldest first, without their payloads.
    pub(super) async fn stored_from(&self, filter: &str, seq: u64, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        let (mut found, mut seq) = (Vec::new(), seq.max(1));
        loop {
            let asked =
                json!({ "next_by_subj": filter, "seq": seq, "batch": limit.saturating_sub(found.len()).max(1) });
            let part = self.read(Of::Deliveries, Payloads::None, &asked).await?;
            let Some(last) = part.last() else { return Ok(found) };
            let ended = last.behind == 0;
            seq = last.seq + 1;
            found.extend(part);
            // An answer ends early where it is large.
            if ended || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// Some messages of a filter from a number on, the oldest first, as many as come in one answer.
    pub(super) async fn stored_some(&self, filter: &str, seq: u64, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        let asked = json!({ "next_by_subj": filter, "seq": seq.max(1), "batch": limit.max(1), "max_bytes": BYTES_MAX });
        self.read(Of::Deliveries, Payloads::All, &asked).await
    }

    /// Records of a filter from a number of their stream on, the oldest first.
    pub(super) async fn records_from(&self, filter: &str, seq: u64, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        let asked = json!({ "next_by_subj": filter, "seq": seq.max(1), "batch": limit.max(1) });
        self.read(Of::Records, Payloads::All, &asked).await
    }

    /// Records from a time on, the oldest first.
    pub(super) async fn records_since(&self, time: Timestamp, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        let asked =
            json!({ "next_by_subj": self.names.records_of(None), "start_time": time.to_string(), "batch": limit });
        self.read(Of::Records, Payloads::All, &asked).await
    }

    /// One message by its number.
    pub(super) async fn stored(&self, seq: u64) -> Result<Option<Stored>, SpoolError> {
        Ok(self.read(Of::Deliveries, Payloads::All, &json!({ "seq": seq })).await?.pop())
    }

    async fn read(&self, of: Of, payloads: Payloads, asked: &Value) -> Result<Vec<Stored>, SpoolError> {
        let away = SpoolError::Nats;
        if self.client.connection_state() != Connection::Connected {
            return Err(away("not connected".to_owned()));
        }
        let stream = match of {
            Of::Deliveries => self.names.stream().to_owned(),
            Of::Records => self.names.records(),
        };
        let subject = self.names.direct_get(&stream);
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
            let wanted = payloads == Payloads::All
                || payloads == Payloads::First && found.iter().all(|one: &Stored| one.payload.is_empty());
            // A payload that is cut out of what was read keeps all of it.
            let payload = if wanted { Bytes::copy_from_slice(&part.payload) } else { Bytes::new() };
            if let (Some(seq), Some(subject)) = (seq, subject) {
                found.push(Stored { seq, subject, headers, payload, behind });
            }
            if one {
                return Ok(found);
            }
        }
    }
}
