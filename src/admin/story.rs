//! What became of an event, over all webhooks: what is remembered of it, its attempts, what is pending, what is dead, and why the
//! others do not want it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::OwnedMutexGuard;

use crate::admin::filter::{Store, nonsense, unavailable};
use crate::admin::invocations::{self, Listed};
use crate::admin::query::Parameters;
use crate::admin::verdict::Of;
use crate::delivery::parse_delivery_id;
use crate::event::{Event, EventId};
use crate::gates::Gates;
use crate::history::History;
use crate::kind::about::{ID_BYTES_MAX, is_about, request_id};
use crate::live::Live;
use crate::server::problem::Problem;
use crate::spool::{Kept, KeptFor, Sought};

/// Events of one answer.
const EVENTS_MAX: usize = 20;
/// Invocations that are looked through for further events, and those of one event that are told of.
const INVOCATIONS_MAX: usize = 500;
/// Invocations of one answer.
const INVOCATIONS_TOLD_MAX: usize = 2_000;
/// Payloads of one answer in bytes; the first is told however large it is, so that an event that is asked for by its own id has its.
const PAYLOADS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What stories are put together from.
pub(super) struct Sources<'s> {
    pub(super) store: Store<'s>,
    pub(super) live: &'s Arc<Live>,
    pub(super) history: &'s History,
    pub(super) gates: &'s Arc<Gates>,
}

/// What is known of one event.
#[derive(Default)]
struct Known {
    event: Option<Event>,
    /// When it first came in, as far as anybody remembers.
    received_at: Option<Timestamp>,
    /// What people know it by, where its payload does not say it any more.
    request_id: Option<String>,
    /// The webhooks that wanted it when it came in; `None` where nobody remembers.
    wanted: Option<Arc<[Arc<str>]>>,
    kept: BTreeMap<Arc<str>, KeptFor>,
    /// The latest first.
    invocations: BTreeMap<Arc<str>, Vec<Value>>,
}

/// The answer. Payloads stand in it as they came in.
#[derive(Serialize)]
struct Stories<'k> {
    events: Vec<Story<'k>>,
    complete: bool,
}

#[derive(Serialize)]
struct Story<'k> {
    event_id: String,
    kind: &'k str,
    event_type: &'k str,
    request_id: Option<String>,
    received_at: String,
    event: Option<&'k RawValue>,
    event_bytes: Option<usize>,
    webhooks: Vec<Value>,
}

/// `{"events": [STORY…], "complete"}`, the newest event first. Whoever holds `alone` until it is made is the only one who makes one.
pub(super) async fn find(sources: Sources<'_>, query: &str, alone: OwnedMutexGuard<()>) -> Result<String, Problem> {
    let sought = parse(query)?;
    let (mut known, complete) = gather(&sources, &sought).await?;
    let (live, gates) = (Arc::clone(sources.live), Arc::clone(sources.gates));
    // Filters of thousands of webhooks are asked: nothing else waits for that.
    let told = tokio::task::spawn_blocking(move || {
        let _alone = alone;
        let mut room = PAYLOADS_BYTES_MAX;
        let mut events = Vec::with_capacity(known.len());
        for known in &mut known {
            let has_room = events.is_empty() || known.payload_bytes() <= room;
            if has_room {
                room = room.saturating_sub(known.payload_bytes());
            }
            events.extend(known.tell(&live, &gates, has_room));
        }
        serde_json::to_string(&Stories { events, complete })
    });
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the events cannot be written down");
    told.await.map_err(|_| failed())?.map_err(|_| failed())
}

fn parse(query: &str) -> Result<Sought, Problem> {
    let parameters = Parameters::parse(query, &["find"])?;
    let text = parameters.get("find").unwrap_or_default().trim();
    if text.is_empty() {
        let detail =
            "say what to find: `?find=` with an event's id, a delivery's id, or an access request's id such as AR-123";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    if text.len() > ID_BYTES_MAX {
        return Err(nonsense("find", text, format!("write at most {ID_BYTES_MAX} bytes")));
    }
    let id = EventId::parse(text).or_else(|| parse_delivery_id(text).map(|(event, _)| event));
    Ok(id.map_or_else(|| Sought::Text(text.to_owned()), Sought::Event))
}

/// What is known of the newest events that are sought, and whether those are all.
async fn gather(sources: &Sources<'_>, sought: &Sought) -> Result<(Vec<Known>, bool), Problem> {
    let Sources { store, history, .. } = sources;
    let mut known: BTreeMap<EventId, Known> = BTreeMap::new();
    let fits = |event: &Event| match sought {
        Sought::Event(id) => event.id == *id,
        Sought::Text(id) => is_about(event, id),
    };
    let found = store.spool.find(sought.clone()).await.map_err(|error| unavailable(&error))?;
    for kept in found.events {
        // A text may stand anywhere in an event.
        if fits(&kept.event) {
            known.entry(kept.event.id).or_default().keep(kept);
        }
    }
    for taken in history.events(EVENTS_MAX + 1, |taken| fits(&taken.event)) {
        let known = known.entry(taken.event.id).or_default();
        known.wanted = Some(Arc::clone(&taken.wanted));
        known.is_of(taken.event.clone());
    }
    let listed = invocations::about(store, history, sought, INVOCATIONS_MAX).await?;
    let mut complete = found.complete && listed.len() < INVOCATIONS_MAX;
    for listed in listed {
        known.entry(listed.event.id).or_default().attempted(listed);
    }
    let mut known: Vec<Known> = known.into_values().collect();
    known.sort_by_key(|known| Reverse((known.received_at, known.event.as_ref().map(|event| event.id))));
    complete &= known.len() <= EVENTS_MAX;
    known.truncate(EVENTS_MAX);
    if let Sought::Text(_) = sought {
        let mut left = INVOCATIONS_TOLD_MAX;
        for known in &mut known {
            // One of many attempts leaves nothing of the others', so each is asked after by itself.
            let Some(id) = known.event.as_ref().map(|event| event.id) else { continue };
            let limit = INVOCATIONS_MAX.min(left);
            if limit == 0 {
                // The others keep what was found of them at first.
                complete = false;
                break;
            }
            let listed = invocations::about(store, history, &Sought::Event(id), limit).await?;
            complete &= listed.len() < limit;
            left -= listed.len();
            known.invocations.clear();
            for listed in listed {
                known.attempted(listed);
            }
        }
    }
    Ok((known, complete))
}

impl Known {
    fn keep(&mut self, kept: Kept) {
        self.is_of(kept.event.without_tree());
        self.kept.extend(kept.webhooks.into_iter().map(|kept| (Arc::clone(&kept.webhook), kept)));
    }

    fn attempted(&mut self, listed: Listed) {
        let Listed { event, summary } = listed;
        if self.request_id.is_none() {
            self.request_id = summary["request_id"].as_str().map(str::to_owned);
        }
        if let Some(webhook) = summary["webhook"].as_str() {
            self.invocations.entry(webhook.into()).or_default().push(summary);
        }
        self.is_of(event);
    }

    /// Takes what is known of the event itself: its payload where that is there, and the earliest time, since what was resent has another.
    fn is_of(&mut self, event: Event) {
        self.received_at = self.received_at.into_iter().chain([event.received_at]).min();
        if self.event.as_ref().is_none_or(|known| known.raw.is_empty()) {
            self.event = Some(event);
        }
    }

    fn payload_bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |event| event.raw.len())
    }

    fn tell(&mut self, live: &Live, gates: &Gates, has_room: bool) -> Option<Story<'_>> {
        let event = self.event.as_ref()?;
        let mut names: Vec<Arc<str>> = self.kept.keys().chain(self.invocations.keys()).cloned().collect();
        names.extend(self.wanted.iter().flat_map(|wanted| wanted.iter().cloned()));
        let is_known = !names.is_empty();
        let mut lines = self.invocations.values().flatten();
        let only_tested =
            is_known && self.wanted.is_none() && self.kept.is_empty() && lines.all(|line| line["test"] == true);
        let of_kind = live.snapshot.webhooks.values().filter(|webhook| webhook.kind.name == event.kind);
        names.extend(of_kind.map(|webhook| Arc::clone(&webhook.name)));
        names.sort();
        names.dedup();
        // One tree for all webhooks that are asked; it is let go of with the copy.
        let asked = event.without_tree();
        let of = Of { live, gates, tree: &asked.tree(), wanted: self.wanted.as_deref(), is_known, only_tested };
        let webhooks = names
            .into_iter()
            .map(|name| {
                let mut attempts = self.invocations.remove(&name).unwrap_or_default();
                attempts.reverse();
                of.ended(&name, self.kept.remove(&name), &attempts)
            })
            .collect();
        let shown = if has_room { &event.raw[..] } else { &[] };
        Some(Story {
            event_id: event.id.to_string(),
            kind: &event.kind,
            event_type: &event.event_type,
            request_id: request_id(event).or_else(|| self.request_id.take()),
            received_at: self.received_at.unwrap_or(event.received_at).to_string(),
            // Only what a damaged disk gave back is no JSON.
            event: serde_json::from_slice(shown).ok(),
            event_bytes: Some(event.raw.len()).filter(|bytes| *bytes > 0),
            webhooks,
        })
    }
}
