//! Records of failed invocations, in a stream of their own: they are owed to nobody, and the oldest give way.

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::append::Message;
use super::names::Names;
use super::state::written;
use super::stored::Stored;
use crate::delivery::Reason;
use crate::event::EventId;
use crate::spool::{
    INVOCATIONS_MAX, InvocationPage, InvocationQuery, RECORD_BYTES_MAX, RECORD_REQUEST_BYTES_MAX, Record, Recorded,
    SpoolError,
};

/// The header.
const HEADER: &str = "Outrigger-Record";
/// Messages of the stream that one step backwards goes over at first.
const STEP: u64 = 200;
/// Records that come in one answer.
const PART: usize = 200;
/// Records that are looked at for one page.
const LOOKED_AT_MAX: usize = 40_000;
/// How long after its attempt a record may have been published, and how far two clocks may be apart.
const LATE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// What a record is looked for by.
#[derive(Serialize, Deserialize)]
struct Head {
    number: u64,
    event: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

/// The message of a record.
pub(super) fn message(names: &Names, event: EventId, webhook: &str, record: &Record) -> Message {
    let request = record.request.clone().filter(|request| request.len() <= RECORD_REQUEST_BYTES_MAX);
    let head =
        Head { number: record.number, event: event.to_string(), reason: record.reason.as_str().to_owned(), request };
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, written(&head).as_str());
    let text = if record.text.len() > RECORD_BYTES_MAX { "" } else { &*record.text };
    let payload = Bytes::copy_from_slice(text.as_bytes());
    Message { subject: names.records_of(Some(webhook)), headers, payload }
}

fn recorded(stored: &Stored) -> Option<Recorded> {
    let head: Head = serde_json::from_str(stored.headers.get(HEADER)?.as_str()).ok()?;
    Some(Recorded {
        number: head.number,
        webhook: stored.subject.rsplit('.').next()?.into(),
        event: EventId::parse(&head.event)?,
        reason: Reason::parse(&head.reason).unwrap_or(Reason::ClientError),
        request: head.request,
        text: String::from_utf8(stored.payload.to_vec()).ok()?,
    })
}

impl Shared {
    /// A page of them.
    pub(super) async fn records(&self, query: &InvocationQuery) -> Result<InvocationPage, SpoolError> {
        let limit = query.limit.min(INVOCATIONS_MAX);
        let filter = self.names.records_of(query.webhook.as_deref());
        let since = query.since.map_or(0, |since| u64::try_from(since.as_microsecond()).unwrap_or(0));
        let fits = |one: &Recorded| {
            query.reason.is_none_or(|reason| one.reason == reason)
                && query.event.is_none_or(|event| one.event == event)
                && query.request.as_ref().is_none_or(|request| one.request.as_ref() == Some(request))
                && query.behind.is_none_or(|behind| one.number < behind)
                && query.after.is_none_or(|after| one.number > after)
                && one.number >= since
        };
        let (mut found, mut looked_at, mut lowest) = (Vec::new(), 0, None);
        let (first, last) = self.record_bounds().await?;
        let mut to = match query.behind {
            Some(behind) => self.record_after(behind).await?.unwrap_or(last),
            None => last,
        };
        let mut size = STEP;
        while to >= first && to > 0 {
            let from = to.saturating_sub(size - 1).max(first);
            let (mut at, mut seen) = (from, 0);
            while at <= to {
                let part = self.records_from(&filter, at, PART).await?;
                let Some((end, behind)) = part.last().map(|one| (one.seq, one.behind)) else { break };
                for one in part.iter().filter(|one| one.seq <= to).filter_map(recorded) {
                    seen += 1;
                    lowest = Some(lowest.map_or(one.number, |lowest: u64| lowest.min(one.number)));
                    if fits(&one) {
                        found.push(one);
                    }
                }
                at = end + 1;
                if behind == 0 {
                    break;
                }
            }
            looked_at += seen;
            to = from - 1;
            if found.len() > limit || looked_at >= LOOKED_AT_MAX {
                break;
            }
            // Where there are few of them a step goes further.
            if seen < PART / 2 {
                size = size.saturating_mul(2);
            }
        }
        // Several processes write them: by their numbers they are one list.
        found.sort_by_key(|one| std::cmp::Reverse(one.number));
        let next = match found.get(limit.saturating_sub(1)) {
            Some(last) if found.len() > limit => Some(last.number),
            // There may be more where nobody looked.
            _ if to >= first => lowest.filter(|lowest| query.behind.is_none_or(|behind| *lowest < behind)),
            _ => None,
        };
        found.truncate(limit);
        Ok(InvocationPage { invocations: found, next })
    }

    /// One of them.
    pub(super) async fn record(&self, number: u64) -> Result<Option<Recorded>, SpoolError> {
        let ended = i64::try_from(number).ok().and_then(|number| Timestamp::from_microsecond(number).ok());
        let Some(from) = ended.and_then(|ended| ended.checked_sub(LATE_MAX).ok()) else { return Ok(None) };
        let stored = self.records_since(from, LOOKED_AT_MAX).await?;
        Ok(stored.iter().filter_map(recorded).find(|one| one.number == number))
    }

    /// The numbers of the first and the last message of their stream.
    async fn record_bounds(&self) -> Result<(u64, u64), SpoolError> {
        let stream = self.context.get_stream(self.names.records()).await;
        let stream = stream.map_err(|error| SpoolError::Nats(error.to_string()))?;
        let state = &stream.cached_info().state;
        Ok((state.first_sequence, state.last_sequence))
    }

    /// A message of their stream before which all records are that have a smaller number.
    async fn record_after(&self, number: u64) -> Result<Option<u64>, SpoolError> {
        let time = i64::try_from(number).ok().and_then(|number| Timestamp::from_microsecond(number).ok());
        let Some(time) = time.and_then(|time| time.checked_add(LATE_MAX).ok()) else { return Ok(None) };
        if time >= Timestamp::now() {
            return Ok(None);
        }
        Ok(self.records_since(time, 1).await?.first().map(|one| one.seq))
    }
}
