//! Reading a request's body within limits of time and size.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use tokio::sync::Semaphore;

use super::BODY_PIECE_BYTES;
use super::seats::Seat;

/// How much of a body that is too large is read and thrown away, so that its sender gets to see the answer.
const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request's body that has yet to come, and the seat of its connection.
pub struct Body {
    incoming: Incoming,
    seat: Arc<Seat>,
    room: Arc<Semaphore>,
    timeout: Duration,
}

/// Why a request's body could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More than the limit.
    TooLarge,
    /// Not complete within [`BODY_TIMEOUT`](super::BODY_TIMEOUT).
    TooSlow,
    /// The listener reads as many large bodies as it may.
    Crowded,
    /// The connection broke.
    Broken,
}

impl Body {
    pub(super) fn new(incoming: Incoming, seat: Arc<Seat>, room: Arc<Semaphore>, timeout: Duration) -> Self {
        Self { incoming, seat, room, timeout }
    }
}

/// Reads a body of at most `bytes_max` bytes, cut while reading.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, BodyError> {
    let Body { incoming, seat, room, timeout } = body;
    if incoming.is_end_stream() {
        return Ok(Bytes::new());
    }
    seat.waits();
    let read = tokio::time::timeout(timeout, collect(incoming, bytes_max, &seat, &room)).await;
    seat.works().await;
    read.unwrap_or(Err(BodyError::TooSlow))
}

async fn collect(mut body: Incoming, bytes_max: usize, seat: &Seat, room: &Semaphore) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut taken = Vec::new();
    let (mut seen, mut told, mut crowded) = (0_usize, 0_usize, false);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen > DISCARD_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        if seen - told >= BODY_PIECE_BYTES {
            // Who sends much is no client that keeps a seat for nothing.
            told = seen;
            seat.waits_anew();
        }
        if seen > bytes_max || crowded {
            first = Bytes::new();
            rest = BytesMut::new();
            taken.clear();
        } else if first.is_empty() && rest.is_empty() {
            // Most bodies come in one frame, which needs no copy.
            first = data;
            if body.is_end_stream() {
                break;
            }
        } else {
            while taken.len() * BODY_PIECE_BYTES < seen && !crowded {
                match room.try_acquire() {
                    Ok(piece) => taken.push(piece),
                    Err(_) => crowded = true,
                }
            }
            if crowded {
                continue;
            }
            if rest.is_empty() {
                // What is announced is given room at once, and takes memory as it comes.
                let announced =
                    body.size_hint().upper().and_then(|left| usize::try_from(left).ok()).unwrap_or_default();
                rest.reserve(seen.saturating_add(announced).min(bytes_max));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    match seen {
        seen if seen > bytes_max => Err(BodyError::TooLarge),
        _ if crowded => Err(BodyError::Crowded),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.freeze()),
    }
}
