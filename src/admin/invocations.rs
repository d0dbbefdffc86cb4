//! Invocations as they are listed, shown and resent. Those of this process are in memory; failed ones of earlier processes, and
//! those that memory has forgotten, in the spool.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admin::filter::{Store, nonsense, parse_reason, parse_since, unavailable};
use crate::admin::query::Parameters;
use crate::delivery::{Outcome, Reason, parse_delivery_id};
use crate::event::{Event, EventId};
use crate::history::{History, Invocation, InvocationId, view};
use crate::server::problem::Problem;
use crate::spool::{InvocationQuery, Recorded, Sought};

/// Invocations on a page that does not say how many.
const LIMIT_DEFAULT: usize = 50;
/// And at most.
pub const LIMIT_MAX: usize = 500;
/// The parameters of the list.
const PARAMETERS: [&str; 9] = ["webhook", "outcome", "reason", "event", "since", "until", "limit", "cursor", "after"];

/// Which invocations are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    webhook: Option<Arc<str>>,
    accepted: Option<bool>,
    reason: Option<Reason>,
    event: Option<EventId>,
    /// Only those from this one on.
    from: Option<InvocationId>,
    /// Only those before this one.
    before: Option<InvocationId>,
    limit: usize,
}

/// A line of a list, with its event as far as that is known.
pub(super) struct Listed {
    pub(super) event: Event,
    pub(super) summary: Value,
}

/// `{"invocations": […], "cursor": null | "…", "newest": null | "…", "forgotten": null | "…"}`, the latest first.
pub async fn list(store: &Store<'_>, history: &History, query: &str) -> Result<Value, Problem> {
    let query = parse(store, query)?;
    // What is new after this is looked for the next time.
    let newest = history.last().map(|id| id.to_string());
    // One more than is told of says whether there are more.
    let wanted = query.limit.saturating_add(1);
    let kept = history.latest(query.webhook.as_deref(), wanted, |one| query.takes(one));
    let mut lines: BTreeMap<InvocationId, Value> = kept.iter().map(|one| (one.id, view::summary(one))).collect();
    if query.accepted != Some(true) {
        let records = InvocationQuery {
            webhook: query.webhook.clone(),
            reason: query.reason,
            event: query.event,
            after: query.from.and_then(|from| from.0.checked_sub(1)),
            behind: query.before.map(|before| before.0),
            limit: wanted,
            ..InvocationQuery::default()
        };
        for recorded in records_of(store, records).await? {
            if let Entry::Vacant(line) = lines.entry(InvocationId(recorded.number)) {
                line.insert(view::stored_summary(&recorded.text).unwrap_or_default());
            }
        }
    }
    let more = lines.len() > query.limit;
    let listed: Vec<(InvocationId, Value)> = lines.into_iter().rev().take(query.limit).collect();
    let cursor = listed.last().filter(|_| more).map(|(id, _)| id.to_string());
    let listed: Vec<Value> = listed.into_iter().map(|(_, line)| line).filter(|line| !line.is_null()).collect();
    // Asked for last: what gave way meanwhile is told of.
    let forgotten = history.forgotten(query.webhook.as_deref()).map(|id| id.to_string());
    Ok(json!({ "invocations": listed, "cursor": cursor, "newest": newest, "forgotten": forgotten }))
}

/// The records that are asked for, as many as that says: a page of them may end before.
async fn records_of(store: &Store<'_>, mut query: InvocationQuery) -> Result<Vec<Recorded>, Problem> {
    let (limit, mut found) = (query.limit, Vec::new());
    loop {
        query.limit = limit.saturating_sub(found.len());
        let page = store.spool.invocations(query.clone()).await.map_err(|error| unavailable(&error))?;
        found.extend(page.invocations);
        match page.next {
            Some(next) if found.len() < limit => query.behind = Some(next),
            _ => return Ok(found),
        }
    }
}

/// Those about an event or an access request, the latest first.
pub(super) async fn about(
    store: &Store<'_>,
    history: &History,
    sought: &Sought,
    limit: usize,
) -> Result<Vec<Listed>, Problem> {
    let fits = |one: &Invocation| match sought {
        Sought::Event(id) => one.event.id == *id,
        Sought::Text(id) => one.is_about(id),
    };
    let kept = history.latest(None, limit, fits);
    let line = |one: &Arc<Invocation>| (one.id, Listed { event: one.event.clone(), summary: view::summary(one) });
    let mut lines: BTreeMap<InvocationId, Listed> = kept.iter().map(line).collect();
    let records = match sought {
        Sought::Event(id) => InvocationQuery { event: Some(*id), limit, ..InvocationQuery::default() },
        Sought::Text(id) => InvocationQuery { request: Some(id.clone()), limit, ..InvocationQuery::default() },
    };
    for recorded in records_of(store, records).await? {
        if let Entry::Vacant(line) = lines.entry(InvocationId(recorded.number))
            && let Some(summary) = view::stored_summary(&recorded.text)
            && let Some(event) = view::stored_event(&recorded.text)
        {
            line.insert(Listed { event, summary });
        }
    }
    Ok(lines.into_values().rev().take(limit).collect())
}

/// All of one invocation.
pub async fn show(store: &Store<'_>, history: &History, text: &str) -> Result<Value, Problem> {
    let id = parse_id(text).map_err(|possible| nonsense("id", text, possible))?;
    if let Some(one) = history.find(id) {
        let shown = view::full(&one);
        return if one.payload_dropped && !one.test { with_letter(store, shown).await } else { Ok(shown) };
    }
    let record = store.spool.invocation(id.0).await.map_err(|error| unavailable(&error))?;
    // Only what a damaged disk gave back is no JSON.
    let shown = record.and_then(|record| serde_json::from_str(&record.text).ok()).filter(Value::is_object);
    with_letter(store, shown.ok_or_else(forgotten)?).await
}

/// The same with the event of its dead letter, where there is one: from that it can be resent.
async fn with_letter(store: &Store<'_>, mut shown: Value) -> Result<Value, Problem> {
    if let Some((event, webhook)) = shown["delivery_id"].as_str().and_then(parse_delivery_id) {
        let letter = store.spool.dead_letter(event, webhook).await.map_err(|error| unavailable(&error))?;
        shown["resendable"] = letter.is_some().into();
        shown["event"] = letter.and_then(|(_, payload)| serde_json::from_slice(&payload).ok()).unwrap_or_default();
    }
    Ok(shown)
}

pub(super) fn forgotten() -> Problem {
    let detail = "there is no invocation of this id, or none any more: `history.per_webhook` says how many are kept";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// Reads an invocation's id, or says how one looks.
pub(super) fn parse_id(text: &str) -> Result<InvocationId, String> {
    InvocationId::parse(text)
        .ok_or_else(|| "an invocation's id is `inv_` and 16 hexadecimal digits, as in the list".to_owned())
}

impl Query {
    fn takes(&self, one: &Invocation) -> bool {
        let reason = match &one.outcome {
            Outcome::Accepted => None,
            Outcome::Failed(failure) => Some(failure.reason),
        };
        self.from.is_none_or(|from| one.id >= from)
            && self.before.is_none_or(|before| one.id < before)
            && self.accepted.is_none_or(|accepted| accepted == reason.is_none())
            && self.reason.is_none_or(|wanted| reason == Some(wanted))
            && self.event.is_none_or(|event| one.event.id == event)
    }
}

fn parse(store: &Store<'_>, query: &str) -> Result<Query, Problem> {
    let parameters = Parameters::parse(query, &PARAMETERS)?;
    let number = |time: Timestamp| InvocationId(u64::try_from(time.as_microsecond()).unwrap_or(0));
    let time = |text: &str| parse_since(text, store.now).map(number);
    let since = parameters.read("since", time)?;
    let until = parameters.read("until", time)?;
    let after = parameters.read("after", |text| parse_id(text).map(|id| InvocationId(id.0.saturating_add(1))))?;
    let cursor = parameters.read("cursor", parse_id)?;
    Ok(Query {
        webhook: parameters.read("webhook", |text| store.webhook(text))?,
        accepted: parameters.read("outcome", |text| match text {
            "accepted" => Ok(true),
            "failed" => Ok(false),
            _ => Err("write accepted or failed".to_owned()),
        })?,
        reason: parameters.read("reason", parse_reason)?,
        event: parameters.read("event", parse_event)?,
        from: since.max(after),
        before: [until, cursor].into_iter().flatten().min(),
        limit: parameters.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
    })
}

fn parse_event(text: &str) -> Result<EventId, String> {
    EventId::parse(text).ok_or_else(|| "an event's id is `evt_` and 32 hexadecimal digits".to_owned())
}
