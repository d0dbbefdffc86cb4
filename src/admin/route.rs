//! Where a request to the admin listener goes.

use http::StatusCode;

use crate::admin::repair::Action;
use crate::admin::trial;
use crate::server::problem::Problem;

/// The largest body of a request that needs no larger one, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A route of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Webhooks,
    Webhook(&'p str),
    Changes,
    Test(&'p str),
    Config,
    Resume(&'p str),
    Invocations,
    Invocation(&'p str),
    Resend(&'p str),
    Events,
    DeadLetters,
    DeadLetter(&'p str),
    Repair(Action),
    OpenApi,
    Reload,
    LogLevel,
    Quit,
}

impl<'p> Route<'p> {
    /// The route of a path.
    pub(super) fn find(path: &'p str) -> Result<Self, Problem> {
        match path {
            "/-/reload" => return Ok(Self::Reload),
            "/-/log-level" => return Ok(Self::LogLevel),
            "/-/quit" => return Ok(Self::Quit),
            _ => {}
        }
        let mut segments = path.strip_prefix("/api/v1/").unwrap_or_default().split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("webhooks"), None, None, None) => Ok(Self::Webhooks),
            (Some("webhooks"), Some(name), None, None) if !name.is_empty() => Ok(Self::Webhook(name)),
            (Some("webhooks"), Some(name), Some("resume"), None) => Ok(Self::Resume(name)),
            (Some("webhooks"), Some(name), Some("test"), None) => Ok(Self::Test(name)),
            (Some("config"), None, None, None) => Ok(Self::Config),
            (Some("changes"), None, None, None) => Ok(Self::Changes),
            (Some("invocations"), None, None, None) => Ok(Self::Invocations),
            (Some("invocations"), Some(id), None, None) => Ok(Self::Invocation(id)),
            (Some("invocations"), Some(id), Some("resend"), None) => Ok(Self::Resend(id)),
            (Some("events"), None, None, None) => Ok(Self::Events),
            (Some("openapi.json"), None, None, None) => Ok(Self::OpenApi),
            (Some("dead-letters"), None, None, None) => Ok(Self::DeadLetters),
            (Some("dead-letters"), Some("replay"), None, None) => Ok(Self::Repair(Action::Replay)),
            (Some("dead-letters"), Some("drop"), None, None) => Ok(Self::Repair(Action::Drop)),
            (Some("dead-letters"), Some(id), None, None) => Ok(Self::DeadLetter(id)),
            _ => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "there are GET /api/v1/webhooks, /api/v1/webhooks/{name}, /api/v1/changes, /api/v1/invocations, /api/v1/invocations/{id}, \
                 /api/v1/events, /api/v1/dead-letters, /api/v1/dead-letters/{id}, /api/v1/config, \
                 /api/v1/openapi.json and /-/log-level, PUT /-/log-level, and POST \
                 /api/v1/webhooks/{name}/resume, /api/v1/webhooks/{name}/test, /api/v1/invocations/{id}/resend, \
                 /api/v1/dead-letters/replay, /api/v1/dead-letters/drop, /-/reload and /-/quit",
            )),
        }
    }

    /// The methods that it takes, as a header lists them.
    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Webhooks
            | Self::Webhook(_)
            | Self::Config
            | Self::Changes
            | Self::Invocations
            | Self::Invocation(_)
            | Self::Events
            | Self::DeadLetters
            | Self::DeadLetter(_)
            | Self::OpenApi => "GET, HEAD",
            Self::LogLevel => "GET, HEAD, PUT",
            Self::Resume(_) | Self::Test(_) | Self::Resend(_) | Self::Repair(_) | Self::Reload | Self::Quit => "POST",
        }
    }

    /// The largest body of a request, in bytes.
    pub(super) const fn body_bytes_max(self) -> usize {
        match self {
            Self::Test(_) => trial::BODY_BYTES_MAX,
            _ => BODY_BYTES_MAX,
        }
    }

    /// Whether it takes parameters in its URL.
    pub(super) const fn takes_parameters(self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Changes | Self::Invocations | Self::Events | Self::DeadLetters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_and_others_are_not() {
        let id = "evt_07070707070707070707070707070707_slack";
        for (path, route, allowed) in [
            ("/api/v1/webhooks", Route::Webhooks, "GET, HEAD"),
            ("/api/v1/webhooks/slack/resume", Route::Resume("slack"), "POST"),
            ("/api/v1/webhooks/slack", Route::Webhook("slack"), "GET, HEAD"),
            ("/api/v1/webhooks/slack/test", Route::Test("slack"), "POST"),
            ("/api/v1/config", Route::Config, "GET, HEAD"),
            ("/api/v1/changes", Route::Changes, "GET, HEAD"),
            ("/api/v1/invocations", Route::Invocations, "GET, HEAD"),
            ("/api/v1/invocations/inv_1", Route::Invocation("inv_1"), "GET, HEAD"),
            ("/api/v1/invocations/inv_1/resend", Route::Resend("inv_1"), "POST"),
            ("/api/v1/events", Route::Events, "GET, HEAD"),
            ("/api/v1/dead-letters", Route::DeadLetters, "GET, HEAD"),
            (&format!("/api/v1/dead-letters/{id}"), Route::DeadLetter(id), "GET, HEAD"),
            ("/api/v1/dead-letters/replay", Route::Repair(Action::Replay), "POST"),
            ("/api/v1/dead-letters/drop", Route::Repair(Action::Drop), "POST"),
            ("/api/v1/openapi.json", Route::OpenApi, "GET, HEAD"),
            ("/-/reload", Route::Reload, "POST"),
            ("/-/log-level", Route::LogLevel, "GET, HEAD, PUT"),
            ("/-/quit", Route::Quit, "POST"),
        ] {
            assert_eq!(Route::find(path).map(|route| (route, route.allowed())), Ok((route, allowed)), "{path}");
        }
        for path in [
            "/api/v1",
            "/api/v1/",
            "/api/v1/webhooks/",
            "/api/v2/webhooks",
            "/api/v1/dead-letters/a/b",
            "/api/v1/invocations/a/b",
        ] {
            assert!(Route::find(path).is_err(), "{path}");
        }
    }
}
