//! What became of an event, over all webhooks: what is remembered of it, its attempts, what is pending, what is dead, and why the
//! others do not want it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::admin::filter::{Store, nonsense, unavailable};
use crate::admin::invocations::Listed;
use crate::admin::query::Parameters;
use crate::admin::{invocations, letters};
use crate::delivery::{delivery_id, parse_delivery_id};
use crate::event::{Event, EventId};
use crate::gates::Gates;
use crate::history::History;
use crate::kind::about::{ID_BYTES_MAX, is_about, request_id};
use crate::live::Live;
use crate::plan::refusals;
use crate::server::problem::Problem;
use crate::spool::{Kept, KeptFor, Sought};
use crate::webhook::{Status, Webhook};

/// Events of one answer.
const EVENTS_MAX: usize = 20;
/// Invocations of one event that are told of.
const INVOCATIONS_MAX: usize = 500;

/// What stories are put together from.
pub(super) struct Sources<'s> {
    pub(super) store: Store<'s>,
    pub(super) live: &'s Live,
    pub(super) history: &'s History,
    pub(super) gates: &'s Gates,
}

/// What is known of one event.
#[derive(Default)]
struct Known {
    event: Option<Event>,
    /// The webhooks that wanted it when it came in; `None` where nobody remembers.
    wanted: Option<Arc<[Arc<str>]>>,
    kept: BTreeMap<Arc<str>, KeptFor>,
    invocations: BTreeMap<Arc<str>, Vec<Value>>,
}

/// `{"events": [STORY…], "complete"}`, the newest event first.
pub(super) async fn find(sources: Sources<'_>, query: &str) -> Result<Value, Problem> {
    let sought = parse(query)?;
    let mut known: BTreeMap<EventId, Known> = BTreeMap::new();
    let fits = |event: &Event| match &sought {
        Sought::Event(id) => event.id == *id,
        Sought::Text(id) => is_about(event, id),
    };
    let found = sources.store.spool.find(sought.clone()).await.map_err(|error| unavailable(&error))?;
    for kept in found.events {
        // A text may stand anywhere in an event.
        if fits(&kept.event) {
            known.entry(kept.event.id).or_default().keep(kept);
        }
    }
    for taken in sources.history.events(EVENTS_MAX, |taken| fits(&taken.event)) {
        let known = known.entry(taken.event.id).or_default();
        known.wanted = Some(taken.wanted);
        known.event = Some(taken.event);
    }
    for listed in invocations::about(&sources.store, sources.history, &sought, INVOCATIONS_MAX).await? {
        let Listed { event, summary } = listed;
        let known = known.entry(event.id).or_default();
        if let Some(webhook) = summary["webhook"].as_str() {
            known.invocations.entry(webhook.into()).or_default().push(summary);
        }
        if known.event.as_ref().is_none_or(|event| event.raw.is_empty()) {
            known.event = Some(event);
        }
    }
    let mut known: Vec<Known> = known.into_values().collect();
    known.sort_by_key(|known| std::cmp::Reverse(known.event.as_ref().map(|event| (event.received_at, event.id))));
    let complete = found.complete && known.len() <= EVENTS_MAX;
    known.truncate(EVENTS_MAX);
    let stories: Vec<Value> = known.into_iter().filter_map(|known| known.tell(&sources)).collect();
    Ok(json!({ "events": stories, "complete": complete }))
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

impl Known {
    fn keep(&mut self, kept: Kept) {
        self.event = Some(kept.event.without_tree());
        self.kept.extend(kept.webhooks.into_iter().map(|kept| (Arc::clone(&kept.webhook), kept)));
    }

    fn tell(mut self, sources: &Sources<'_>) -> Option<Value> {
        let event = self.event.take()?;
        // One tree for all webhooks that are asked.
        let _ = event.keep_parsed();
        let mut names: Vec<Arc<str>> = self.kept.keys().chain(self.invocations.keys()).cloned().collect();
        names.extend(self.wanted.iter().flat_map(|wanted| wanted.iter().cloned()));
        let of_kind = sources.live.snapshot.webhooks.values().filter(|webhook| webhook.kind.name == event.kind);
        names.extend(of_kind.map(|webhook| Arc::clone(&webhook.name)));
        names.sort();
        names.dedup();
        let webhooks: Vec<Value> = names.into_iter().map(|name| self.ended(sources, &event, &name)).collect();
        Some(json!({
            "event_id": event.id.to_string(),
            "kind": &*event.kind,
            "event_type": &*event.event_type,
            "request_id": request_id(&event),
            "received_at": event.received_at.to_string(),
            "event": event.payload().ok(),
            "webhooks": webhooks,
        }))
    }

    /// What became of it at one webhook.
    fn ended(&mut self, sources: &Sources<'_>, event: &Event, name: &Arc<str>) -> Value {
        let mut attempts = self.invocations.remove(name).unwrap_or_default();
        attempts.reverse();
        let (pending, dead) = self.kept.remove(name).map_or((None, None), |kept| (kept.pending, kept.dead));
        let said = |one: &Value| {
            let said = one["detail"].as_str().or(one["reason"].as_str()).unwrap_or_default();
            format!("attempt {} failed: {said}", one["attempt"])
        };
        let real = |one: &&Value| one["test"] != json!(true);
        let last = attempts.iter().rfind(real);
        let delivered = attempts.iter().filter(real).any(|one| one["then"] == json!("delivered"));
        let (verdict, why) = if let Some(pending) = &pending {
            let mut why = match (last.filter(|one| one["outcome"] == json!("failed")), &pending.last) {
                (Some(last), _) => said(last),
                (None, Some(last)) => format!("the last attempt failed: {}", last.detail),
                (None, None) => "it has not been attempted yet".to_owned(),
            };
            if let Some(paused) = sources.gates.paused(name) {
                why = format!("{why}; the webhook is paused ({})", paused.cause);
            }
            ("pending", why)
        } else if let Some(dead) = &dead {
            let detail = dead.last.as_ref().map_or_else(|| dead.reason.to_string(), |last| last.detail.clone());
            let plural = if dead.attempts == 1 { "" } else { "s" };
            ("dead", format!("given up on after {} attempt{plural} ({}): {detail}", dead.attempts, dead.reason))
        } else if delivered {
            ("delivered", "an attempt was accepted".to_owned())
        } else {
            self.unkept(sources.live, event, name, last.map(said))
        };
        let pending = pending.map(|pending| {
            json!({
                "attempts": pending.attempts,
                "due": pending.due.map(|due| due.to_string()),
                "last": pending.last.as_ref().map(letters::last),
            })
        });
        let dead = dead.map(|dead| {
            json!({
                "id": delivery_id(event.id, name),
                "reason": dead.reason.as_str(),
                "died_at": dead.died_at.to_string(),
            })
        });
        json!({
            "webhook": &**name,
            "verdict": verdict,
            "why": why,
            "dead_letter": dead,
            "pending": pending,
            "invocations": attempts,
        })
    }

    /// Of what is neither pending nor dead, and has no attempt that was accepted.
    fn unkept(&self, live: &Live, event: &Event, name: &Arc<str>, failed: Option<String>) -> (&'static str, String) {
        if let Some(failed) = failed {
            return ("unknown", format!("{failed}; it is no dead letter any more"));
        }
        if self.wanted.as_ref().is_some_and(|wanted| wanted.contains(name)) {
            return ("unknown", "it is neither pending nor dead; what became of it is not kept any more".to_owned());
        }
        let Some(webhook) = live.snapshot.webhooks.get(name) else {
            return ("unknown", "no file defines this webhook".to_owned());
        };
        if event.raw.is_empty() {
            return ("unknown", "its payload is not kept any more, so that nothing can be asked of it".to_owned());
        }
        let mut why = unwanted(webhook, event);
        if !why.is_empty() {
            return ("unwanted", why.join("; "));
        }
        if self.wanted.is_some() {
            why.push("the configuration in force wants it, that of its time did not".to_owned());
            return ("unwanted", why.concat());
        }
        ("unknown", "the configuration in force wants it; what became of it is not kept any more".to_owned())
    }
}

/// All that keeps an event from a webhook, its status included.
fn unwanted(webhook: &Webhook, event: &Event) -> Vec<String> {
    let status = match webhook.status {
        Status::Active => None,
        Status::Inactive => Some("it is inactive".to_owned()),
        Status::Shadow => Some("it is in shadow: rendered, never sent".to_owned()),
    };
    let refusals = refusals(webhook, event).into_iter().map(|cause| webhook.mask.apply(&cause).into_owned());
    status.into_iter().chain(refusals).collect()
}
