//! Dead letters as they are listed and shown.

use http::StatusCode;
use serde_json::{Value, json};

use crate::admin::filter::{Filter, Store, nonsense, parse_id, unavailable};
use crate::admin::query::Parameters;
use crate::delivery::{LastOutcome, delivery_id};
use crate::server::problem::Problem;
use crate::spool::{DEAD_LETTERS_MAX, DeadLetter, DeadLetterQuery};

/// Dead letters on a page that does not say how many.
const LIMIT_DEFAULT: usize = 100;

/// The parameters of the list beside those of the filter.
const PARAMETERS: [&str; 3] = ["limit", "order", "cursor"];

/// `{"dead_letters": […], "cursor": null | "…"}` for the query of a request's URL.
pub async fn list(store: &Store<'_>, query: &str) -> Result<Value, Problem> {
    let query = parse_query(store, query)?;
    let page = store.spool.dead_letters(query).await.map_err(|error| unavailable(&error))?;
    let letters: Vec<Value> = page.letters.iter().map(letter).collect();
    Ok(json!({ "dead_letters": letters, "cursor": page.next.map(|next| next.to_string()) }))
}

/// One dead letter with its event, by the delivery's id.
pub async fn show(store: &Store<'_>, id: &str) -> Result<Value, Problem> {
    let (event, webhook) = parse_id(id).map_err(|possible| nonsense("id", id, possible))?;
    let found = store.spool.dead_letter(event, webhook).await.map_err(|error| unavailable(&error))?;
    let Some((found, payload)) = found else {
        let detail = "there is no dead letter of this id: it was delivered, is pending, or was replayed or dropped";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    // Only what a damaged disk gave back is no JSON.
    let payload = serde_json::from_slice(&payload)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&payload).into_owned()));
    let mut shown = letter(&found);
    if let Value::Object(members) = &mut shown {
        members.insert("payload".to_owned(), payload);
    }
    Ok(shown)
}

/// What the last attempt came to.
pub(super) fn last(last: &LastOutcome) -> Value {
    json!({ "reason": last.reason.as_str(), "status": last.status, "detail": last.detail })
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "id": delivery_id(letter.event, &letter.webhook),
        "webhook": &*letter.webhook,
        "event_id": letter.event.to_string(),
        "kind": &*letter.kind,
        "event_type": &*letter.event_type,
        "received_at": letter.received_at.to_string(),
        "died_at": letter.died_at.to_string(),
        "reason": letter.reason.as_str(),
        "attempts": letter.attempts,
        "last": letter.last.as_ref().map(last),
    })
}

fn parse_query(store: &Store<'_>, text: &str) -> Result<DeadLetterQuery, Problem> {
    let known: Vec<&str> = Filter::NAMES.into_iter().chain(PARAMETERS).collect();
    let parameters = Parameters::parse(text, &known)?;
    let mut filter = Filter::default();
    for (name, value) in parameters.iter() {
        filter.set(store, name, value)?;
    }
    let oldest_first = parameters.read("order", |order| match order {
        "newest" => Ok(false),
        "oldest" => Ok(true),
        _ => Err("write newest or oldest".to_owned()),
    })?;
    let behind = parameters.read("cursor", |cursor| {
        cursor.parse().map_err(|_| "write the cursor of the page before, or leave it out".to_owned())
    })?;
    Ok(DeadLetterQuery {
        limit: parameters.limit(LIMIT_DEFAULT, DEAD_LETTERS_MAX)?,
        webhook: filter.webhook,
        reason: filter.reason,
        since: filter.since,
        until: filter.until,
        oldest_first: oldest_first.unwrap_or_default(),
        behind,
    })
}
