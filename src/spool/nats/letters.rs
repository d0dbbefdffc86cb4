//! Dead letters: listed, shown, made pending again and forgotten.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::Shared;
use super::append::{BATCH_MAX, Message, Refused, publish_all};
use super::names::Place;
use super::settle::gone;
use super::state::State;
use super::stored::{BYTES_MAX, Stored};
use crate::event::EventId;
use crate::spool::{DEAD_LETTERS_MAX, DeadLetter, DeadLetterPage, DeadLetterQuery, SpoolError};

/// Messages of the stream that one step backwards goes over at first.
const STEP: u64 = 1024;
/// Dead letters that are looked at for one page.
const LOOKED_AT_MAX: usize = 4_000;

impl Shared {
    fn letter(&self, stored: &Stored) -> Option<DeadLetter> {
        let (place, webhook, event) = self.names.parse(&stored.subject)?;
        let state = State::read(Some(&stored.headers)).filter(|_| place == Place::Dead)?;
        state.letter(stored.seq, event, webhook)
    }

    /// A page of them.
    pub(super) async fn page(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, SpoolError> {
        let limit = query.limit.min(DEAD_LETTERS_MAX);
        if limit == 0 {
            return Ok(DeadLetterPage::default());
        }
        let filter = self.names.filter(Place::Dead, query.webhook.as_deref());
        let fits = |letter: &DeadLetter| {
            query.reason.is_none_or(|reason| letter.reason == reason)
                && query.since.is_none_or(|since| letter.died_at >= since)
                && query.until.is_none_or(|until| letter.died_at < until)
        };
        let (mut letters, mut looked_at) = (Vec::new(), 0);
        let mut steps = Steps::new(query, self.last_seq().await?);
        while let Some((from, to)) = steps.next() {
            let wanted = if query.oldest_first { limit } else { DEAD_LETTERS_MAX };
            let mut found: VecDeque<Stored> = self.stored_from(&filter, from, wanted).await?.into();
            found.retain(|one| one.seq <= to);
            let all = found.len() < wanted;
            steps.went(all, found.back().map(|one| one.seq));
            if !query.oldest_first {
                if !all {
                    // More stands in the step than one answer holds: a shorter one has its end.
                    continue;
                }
                found.make_contiguous().reverse();
            }
            for stored in found {
                looked_at += 1;
                let seq = stored.seq;
                letters.extend(self.letter(&stored).filter(|letter| fits(letter)));
                if letters.len() == limit || looked_at == LOOKED_AT_MAX {
                    return Ok(DeadLetterPage { letters, next: i64::try_from(seq).ok() });
                }
            }
        }
        Ok(DeadLetterPage { letters, next: None })
    }

    /// One of them with its payload.
    pub(super) async fn dead(&self, event: EventId, webhook: &str) -> Result<Option<(DeadLetter, Bytes)>, SpoolError> {
        let stored = self.stored_at(&[self.names.of(Place::Dead, webhook, event)]).await?.pop();
        Ok(stored.and_then(|stored| Some((self.letter(&stored)?, stored.payload))))
    }

    /// Makes them pending again, or forgets them; how many there were. As many as fit into a batch at once are all done or none.
    pub(super) async fn repair(&self, numbers: &[i64], replay: bool, now_ms: i64) -> Result<u64, SpoolError> {
        let numbers: BTreeSet<u64> = numbers.iter().filter_map(|number| u64::try_from(*number).ok()).collect();
        let (mut done, mut messages, mut bytes) = (0, Vec::new(), 0);
        for seq in numbers {
            let Some(stored) = self.stored(seq).await? else { continue };
            let Some((Place::Dead, webhook, event)) = self.names.parse(&stored.subject) else { continue };
            let Some(state) = State::read(Some(&stored.headers)) else { continue };
            bytes += stored.payload.len();
            // The mark comes first: what is last of a delivery is what it is.
            messages.push(gone(stored.subject.clone()).expecting(&stored.subject, seq));
            let due = self.names.of(Place::Due, webhook, event);
            if !replay && self.stored_at(std::slice::from_ref(&due)).await?.iter().any(|one| one.seq == state.of) {
                // Who gave up on it went before it could let go of it: without its letter it would be attempted again.
                messages.push(gone(due.clone()));
            }
            if replay {
                let state = State {
                    attempts: 0,
                    failing: 0,
                    due: now_ms,
                    since: now_ms,
                    last: None,
                    of: 0,
                    reason: None,
                    died: 0,
                    ..state
                };
                messages.push(Message { subject: due, headers: state.headers(), payload: stored.payload });
            }
            if messages.len() + 2 > BATCH_MAX || bytes > BYTES_MAX {
                done += self.repair_some(std::mem::take(&mut messages)).await?;
                bytes = 0;
            }
        }
        Ok(done + self.repair_some(messages).await?)
    }

    async fn repair_some(&self, messages: Vec<Message>) -> Result<u64, SpoolError> {
        if messages.is_empty() {
            return Ok(0);
        }
        let count = messages.iter().filter(|message| message.expects()).count() as u64;
        match publish_all(&self.client, messages).await {
            Ok(()) => Ok(count),
            // Somebody else took one of them meanwhile: whoever asked looks again.
            Err(Refused::Unexpected) => Ok(0),
            Err(refused) => Err(refused.into()),
        }
    }
}

/// The parts of the stream that a page goes through.
struct Steps {
    oldest_first: bool,
    from: u64,
    to: u64,
    size: u64,
    ended: bool,
}

impl Steps {
    fn new(query: &DeadLetterQuery, last: u64) -> Self {
        let behind = query.behind.and_then(|behind| u64::try_from(behind).ok());
        let (from, to) = match (query.oldest_first, behind) {
            (true, behind) => (behind.map_or(1, |behind| behind + 1), last),
            (false, Some(behind)) => (1, behind.saturating_sub(1)),
            (false, None) => (1, last),
        };
        Self { oldest_first: query.oldest_first, from, to, size: STEP, ended: from > to }
    }

    /// The next part, both ends included.
    fn next(&self) -> Option<(u64, u64)> {
        let from = if self.oldest_first { self.from } else { self.to.saturating_sub(self.size - 1).max(1) };
        (!self.ended && self.to > 0).then_some((from, self.to))
    }

    /// Goes on behind a part, of which `all` was seen, the last at `seen`.
    fn went(&mut self, all: bool, seen: Option<u64>) {
        if self.oldest_first {
            self.ended = all;
            self.from = seen.map_or(self.to, |seen| seen) + 1;
            return;
        }
        if !all {
            self.size = (self.size / 2).max(1);
            return;
        }
        let from = self.to.saturating_sub(self.size - 1).max(1);
        self.ended = from == 1;
        self.to = from - 1;
        self.size = self.size.saturating_mul(2);
    }
}
