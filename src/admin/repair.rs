//! Replaying and dropping dead letters, one bounded step at a time: what the admin API and the command line share.
//!
//! Whoever repairs many asks again with the cursor of the last answer until there is none. The first step fixes where the
//! run ends, so that a replayed delivery that dies again meanwhile is not replayed for ever by the same run.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::admin::filter::{Filter, Store, nonsense, parse_id, unavailable, unknown};
use crate::server::problem::Problem;
use crate::spool::{DeadLetter, DeadLetterPage, DeadLetterQuery};

/// Dead letters that one step looks at.
const STEP_LETTERS_MAX: usize = 500;
/// Ids in one request: each is looked up by itself.
pub const IDS_MAX: usize = 100;

/// The members of a request beside those of the filter.
const MEMBERS: [&str; 4] = ["ids", "all", "dry_run", "cursor"];

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are pending again: due at once, with no attempts made and their id unchanged.
    Replay,
    /// They are forgotten.
    Drop,
}

impl Action {
    /// The member of an answer that counts it, and its past tense.
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Drop => "dropped",
        }
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    which: Which,
    dry_run: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Which {
    Ids(Vec<String>),
    Filter(Filter, Option<Cursor>),
}

/// Where a run stands: `BEHIND.END.SINCE`, the last empty where there is none, and `.UNTIL` where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    /// The number of the last letter that was looked at.
    behind: i64,
    /// The number of the last letter of the run.
    end: i64,
    /// The time that `since` meant at the first step, in milliseconds: a duration would mean another one each time.
    since_ms: Option<i64>,
    /// And that of `until`.
    until_ms: Option<i64>,
}

/// What a step came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    /// Letters that fit the request.
    matched: u64,
    /// Letters that were replayed or dropped; none in a dry run, nor those that somebody else took meanwhile.
    done: u64,
    /// Letters that cannot be replayed, by their webhook, which no file defines.
    skipped: BTreeMap<String, u64>,
    /// Ids of the request that are no dead letters.
    missing: Vec<String>,
    /// Where the next step begins.
    cursor: Option<Cursor>,
    /// Where the run began, with its end: what a dry run counted can be done without what came after.
    run: Option<Cursor>,
}

/// One step of what the body of a request asks for:
/// `{matched, replayed | dropped, skipped: {WEBHOOK: COUNT}, missing: [ID], cursor: null | TEXT, run: null | TEXT}`.
pub async fn repair(store: &Store<'_>, action: Action, body: &[u8]) -> Result<Value, Problem> {
    let request = parse(store, action, body)?;
    let step = match request.which {
        Which::Ids(ids) => named(store, action, &ids, request.dry_run).await?,
        Which::Filter(filter, cursor) => chosen(store, action, filter, cursor, request.dry_run).await?,
    };
    Ok(json!({
        "matched": step.matched,
        (action.done()): step.done,
        "skipped": step.skipped,
        "missing": step.missing,
        "cursor": step.cursor.map(show_cursor),
        "run": step.run.map(show_cursor),
    }))
}

/// The letters of these ids.
async fn named(store: &Store<'_>, action: Action, ids: &[String], dry_run: bool) -> Result<Step, Problem> {
    let (mut letters, mut missing) = (Vec::<DeadLetter>::new(), Vec::new());
    for (at, id) in ids.iter().enumerate() {
        let (event, webhook) = parse_id(id).map_err(|possible| nonsense(&format!("ids[{at}]"), id, possible))?;
        match store.spool.dead_letter(event, webhook).await.map_err(|error| unavailable(&error))? {
            // An id that is given twice is one letter.
            Some((letter, _)) if letters.iter().any(|known| known.number == letter.number) => {}
            Some((letter, _)) => letters.push(letter),
            None => missing.push(id.clone()),
        }
    }
    let step = settle(store, action, &letters, dry_run).await?;
    Ok(Step { missing, ..step })
}

/// The next letters that fit the filter, the oldest first.
async fn chosen(
    store: &Store<'_>,
    action: Action,
    filter: Filter,
    cursor: Option<Cursor>,
    dry_run: bool,
) -> Result<Step, Problem> {
    let (behind, end, since, until) = if let Some(cursor) = cursor {
        let time = |milliseconds: Option<i64>| milliseconds.and_then(|at| Timestamp::from_millisecond(at).ok());
        (Some(cursor.behind), cursor.end, time(cursor.since_ms), time(cursor.until_ms))
    } else {
        let newest = page(store, DeadLetterQuery { limit: 1, ..DeadLetterQuery::default() }).await?;
        let Some(newest) = newest.letters.first() else { return Ok(Step::default()) };
        (None, newest.number, filter.since, filter.until)
    };
    let query = DeadLetterQuery {
        limit: STEP_LETTERS_MAX,
        webhook: filter.webhook,
        reason: filter.reason,
        since,
        until,
        oldest_first: true,
        behind,
    };
    let mut found = page(store, query).await?;
    found.letters.retain(|letter| letter.number <= end);
    let step = settle(store, action, &found.letters, dry_run).await?;
    let milliseconds = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    let at = |behind| Cursor { behind, end, since_ms: milliseconds(since), until_ms: milliseconds(until) };
    let cursor = found.next.filter(|next| *next < end).map(at);
    Ok(Step { cursor, run: Some(at(i64::MIN)), ..step })
}

async fn page(store: &Store<'_>, query: DeadLetterQuery) -> Result<DeadLetterPage, Problem> {
    store.spool.dead_letters(query).await.map_err(|error| unavailable(&error))
}

/// Replays or drops these letters in one write, but for those whose webhook nobody would deliver to.
async fn settle(store: &Store<'_>, action: Action, letters: &[DeadLetter], dry_run: bool) -> Result<Step, Problem> {
    let mut step = Step { matched: letters.len() as u64, ..Step::default() };
    let mut numbers = Vec::with_capacity(letters.len());
    for letter in letters {
        if action == Action::Replay && !store.configured.contains(&letter.webhook) {
            *step.skipped.entry(letter.webhook.to_string()).or_default() += 1;
        } else {
            numbers.push(letter.number);
        }
    }
    if dry_run || numbers.is_empty() {
        return Ok(step);
    }
    let done = match action {
        Action::Replay => store.spool.replay(numbers).await,
        Action::Drop => store.spool.drop_dead_letters(numbers).await,
    };
    step.done = done.map_err(|error| unavailable(&error))?;
    Ok(step)
}

fn parse(store: &Store<'_>, action: Action, body: &[u8]) -> Result<Request, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    // No body says as much as an empty object.
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let members: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| bad(format!("the body is no JSON object: {error}")))?;
    let (mut ids, mut all, mut dry_run, mut filter, mut cursor) = (None, false, false, Filter::default(), None);
    for (name, value) in &members {
        let refused = |possible: &str| nonsense(name, &value.to_string(), possible);
        let text = || value.as_str().ok_or_else(|| refused("write a text"));
        let truth = || value.as_bool().ok_or_else(|| refused("write true or false"));
        match name.as_str() {
            "ids" => ids = Some(parse_ids(value)?),
            "all" => all = truth()?,
            "dry_run" => dry_run = truth()?,
            // As it comes at the end of a run. A filter that is null is a script's fault, and would choose more than was meant.
            "cursor" if value.is_null() => {}
            "cursor" => {
                let parsed = parse_cursor(text()?);
                cursor = Some(parsed.ok_or_else(|| refused("write the cursor of the last answer, or leave it out"))?);
            }
            name if Filter::NAMES.contains(&name) => {
                filter.set(store, name, text()?)?;
            }
            _ => {
                let known: Vec<&str> = Filter::NAMES.into_iter().chain(MEMBERS).collect();
                return Err(unknown("member", name, &known));
            }
        }
    }
    let which = match ids {
        Some(_) if all || cursor.is_some() || !filter.is_empty() => {
            return Err(bad("give `ids`, or a filter, not both".to_owned()));
        }
        Some(ids) => Which::Ids(ids),
        None if !all && filter.is_empty() => {
            let done = action.done();
            return Err(bad(format!(
                "nothing says what is to be {done}: give `ids`, or `webhook`, `reason`, `since` or `until`, or `\"all\": true` for every dead letter"
            )));
        }
        None => Which::Filter(filter, cursor),
    };
    Ok(Request { which, dry_run })
}

fn parse_ids(value: &Value) -> Result<Vec<String>, Problem> {
    let texts = value.as_array().map(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect());
    let ids: Option<Vec<String>> = texts.flatten();
    ids.filter(|ids| (1..=IDS_MAX).contains(&ids.len())).ok_or_else(|| {
        nonsense(
            "ids",
            &value.to_string(),
            format!("write a list of 1 to {IDS_MAX} delivery ids, the rest in another request"),
        )
    })
}

fn show_cursor(cursor: Cursor) -> String {
    let since = cursor.since_ms.map_or_else(String::new, |since| since.to_string());
    let until = cursor.until_ms.map_or_else(String::new, |until| format!(".{until}"));
    format!("{}.{}.{since}{until}", cursor.behind, cursor.end)
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let mut parts = text.splitn(4, '.');
    let (behind, end) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let since_ms = match parts.next()? {
        "" => None,
        since => Some(since.parse().ok()?),
    };
    let until_ms = parts.next().map(str::parse).transpose().ok()?;
    Some(Cursor { behind, end, since_ms, until_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written_and_nothing_else_is() {
        for cursor in [
            Cursor { behind: 500, end: 1000, since_ms: None, until_ms: None },
            Cursor { behind: i64::MIN, end: 0, since_ms: Some(1_763_808_000_000), until_ms: None },
            Cursor { behind: 1, end: 2, since_ms: Some(3), until_ms: Some(4) },
            Cursor { behind: 1, end: 2, since_ms: None, until_ms: Some(-4) },
        ] {
            assert_eq!(parse_cursor(&show_cursor(cursor)), Some(cursor));
        }
        for nonsense in
            ["", "1", "1.2", "1.2.x", "1.2.3.x", "1.2.3.", "1.2.3.4.5", "a.b.", "99999999999999999999.1.", "1. 2."]
        {
            assert_eq!(parse_cursor(nonsense), None, "{nonsense}");
        }
    }
}
