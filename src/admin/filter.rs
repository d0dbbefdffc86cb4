//! Which dead letters are meant: the filters that lists, replays and drops share, and what is said of nonsense in them.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use crate::config::parse_duration;
use crate::delivery::{Reason, parse_delivery_id};
use crate::diagnostic::nearest;
use crate::event::EventId;
use crate::server::problem::Problem;
use crate::spool::{Spool, SpoolError};

/// How much of what was found is repeated in an answer, in characters.
const FOUND_CHARS_MAX: usize = 60;

/// The dead letters to look into, and what they are held against.
pub struct Store<'s> {
    /// Where they are.
    pub spool: &'s dyn Spool,
    /// The webhooks that files define.
    pub configured: BTreeSet<Arc<str>>,
    /// The time by which durations are measured.
    pub now: Timestamp,
}

/// A choice of dead letters; the empty one is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this webhook.
    pub webhook: Option<Arc<str>>,
    /// Those that were given up on for this reason.
    pub reason: Option<Reason>,
    /// Those that were given up on at this time or later.
    pub since: Option<Timestamp>,
    /// Those that were given up on before this time.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// The names of its parts, as parameters, members and flags.
    pub(super) const NAMES: [&str; 4] = ["webhook", "reason", "since", "until"];

    /// Sets the part of this name; `false` when there is no such part.
    pub(super) fn set(&mut self, store: &Store<'_>, name: &str, text: &str) -> Result<bool, Problem> {
        let refused = |possible: String| nonsense(name, text, possible);
        match name {
            "webhook" => self.webhook = Some(store.webhook(text).map_err(refused)?),
            "reason" => self.reason = Some(parse_reason(text).map_err(refused)?),
            "since" => self.since = Some(parse_since(text, store.now).map_err(refused)?),
            "until" => self.until = Some(parse_since(text, store.now).map_err(refused)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Store<'_> {
    /// A webhook that is configured, or that the spool knows from earlier; else a sentence.
    pub(super) fn webhook(&self, text: &str) -> Result<Arc<str>, String> {
        let mut known = self.configured.clone();
        known.extend(self.spool.backlog().into_iter().map(|backlog| backlog.webhook));
        if let Some(name) = known.get(text) {
            return Ok(Arc::clone(name));
        }
        let meant = nearest(text, known.iter().map(AsRef::as_ref));
        let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        Err(format!("neither the configuration nor the spool knows a webhook of this name{meant}"))
    }
}

/// Reads a [`Reason`], or says which there are.
pub fn parse_reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text).ok_or_else(|| {
        let known = Reason::ALL.map(Reason::as_str);
        let meant = nearest(text, known).map_or_else(String::new, |name| format!("did you mean `{name}`? "));
        format!("{meant}The reasons are {}", known.join(", "))
    })
}

/// Reads an RFC 3339 time, or a duration that means so long before `now`.
pub fn parse_since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ago = |duration| now.checked_sub(SignedDuration::try_from(duration).ok()?).ok();
    let since = text.parse().ok().or_else(|| parse_duration(text).and_then(ago));
    since.ok_or_else(|| {
        "write a time such as 2026-11-22T10:00:00Z, or a duration such as 2h for that long ago".to_owned()
    })
}

/// Reads a delivery's id, or says how one looks.
pub fn parse_id(text: &str) -> Result<(EventId, &str), String> {
    parse_delivery_id(text).ok_or_else(|| {
        "a delivery's id is `evt_`, 32 hexadecimal digits, `_` and the webhook's name, as in the list and in `webhook-id`"
            .to_owned()
    })
}

/// 400: what was found where, and what is possible.
pub(super) fn nonsense(name: &str, found: &str, possible: impl Display) -> Problem {
    let mut shown: String = found.chars().take(FOUND_CHARS_MAX).collect();
    if shown.len() < found.len() {
        shown.push('…');
    }
    Problem::new(StatusCode::BAD_REQUEST, format!("`{name}` is `{shown}`: {possible}"))
}

/// 400: a name that is none of those known.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> Problem {
    let meant =
        nearest(name, known.iter().copied()).map_or_else(String::new, |name| format!("did you mean `{name}`? "));
    nonsense(what, name, format!("{meant}There are {}", known.join(", ")))
}

/// 503 with the time after which to come again.
pub(super) fn unavailable(error: &SpoolError) -> Problem {
    let seconds = u32::try_from(error.retry_after().as_secs()).unwrap_or(u32::MAX).max(1);
    Problem::later(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), seconds)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_so_long_ago() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00Z"),
            ("2026-11-22T09:00:00+02:00", "2026-11-22T07:00:00Z"),
            ("2h", "2026-11-22T08:00:00Z"),
            ("1.5h", "2026-11-22T08:30:00Z"),
            ("0s", "2026-11-22T10:00:00Z"),
            ("30d", "2026-10-23T10:00:00Z"),
        ] {
            assert_eq!(parse_since(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "2026-11-22", "2026-11-22T09:00:00", "10:00", "2", "-2h", "2026-13-01T00:00:00Z"]
        {
            assert!(parse_since(text, now).unwrap_err().contains("2h"), "{text}");
        }
    }

    #[test]
    fn a_reason_that_is_none_is_told_the_nearest_and_all() {
        assert_eq!(parse_reason("client_error"), Ok(Reason::ClientError));
        let sentence = parse_reason("clint_error").unwrap_err();
        assert!(sentence.starts_with("did you mean `client_error`? ") && sentence.ends_with("webhook_removed"));
        assert!(parse_reason("").unwrap_err().starts_with("The reasons are client_error, "));
    }

    #[test]
    fn nonsense_is_repeated_no_longer_than_it_helps() {
        let problem = nonsense("reason", &"å".repeat(1000), "write less");
        assert_eq!(problem.detail(), format!("`reason` is `{}…`: write less", "å".repeat(60)));
    }
}
