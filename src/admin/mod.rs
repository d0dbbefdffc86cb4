//! Admin: what people on call see and repair, over HTTP on loopback or a Unix socket.
//!
//! | route | does |
//! |---|---|
//! | `GET /`, `GET /assets/…` | the page, which asks the others |
//! | `GET /api/v1/webhooks` | every webhook: its definition, why it waits, what is pending and dead |
//! | `POST /api/v1/webhooks/{name}/resume` | ends a webhook's pause |
//! | `GET /api/v1/dead-letters` | a page of dead letters |
//! | `GET /api/v1/dead-letters/{delivery id}` | one of them with its event |
//! | `POST /api/v1/dead-letters/replay` | one step of making dead letters pending again |
//! | `POST /api/v1/dead-letters/drop` | one step of forgetting dead letters |
//! | `POST /-/reload` | looks at the configuration's files at once |
//! | `POST /-/quit` | ends the sidecar as SIGTERM does |
//!
//! [`guard`] decides who may ask. What a request for dead letters means is in [`filter`], [`letters`] and [`repair`], which
//! the command line shares where no sidecar runs.

pub mod filter;
pub mod guard;
pub mod letters;
mod page;
mod reload;
pub mod repair;
mod webhooks;

use std::sync::Arc;

use http::{Method, StatusCode};
use hyper::Request;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::diagnostic::nearest;
use crate::gates::Gates;
use crate::live::{Live, Reader};
use crate::reload::Hints;
use crate::server::guard::Guard;
use crate::server::problem::Problem;
use crate::server::{Answer, Body, BodyError, json_answer, read_body};
use crate::spool::Spool;

use filter::Store;
use repair::Action;

/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The admin listener's handler and what it needs.
pub struct Admin {
    /// What is in force.
    pub live: Reader,
    /// Where pending deliveries and dead letters are.
    pub spool: Arc<dyn Spool>,
    /// What webhooks wait for.
    pub gates: Arc<Gates>,
    /// Who is let in.
    pub guard: Guard,
    /// Where looks at the configuration are asked for.
    pub hints: Hints,
    /// Cancelled to end the sidecar.
    pub stop: CancellationToken,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'p> {
    Webhooks,
    Resume(&'p str),
    DeadLetters,
    DeadLetter(&'p str),
    Repair(Action),
    Reload,
    Quit,
}

impl<'p> Route<'p> {
    fn find(path: &'p str) -> Result<Self, Problem> {
        match path {
            "/-/reload" => return Ok(Self::Reload),
            "/-/quit" => return Ok(Self::Quit),
            _ => {}
        }
        let mut segments = path.strip_prefix("/api/v1/").unwrap_or_default().split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("webhooks"), None, None, None) => Ok(Self::Webhooks),
            (Some("webhooks"), Some(name), Some("resume"), None) => Ok(Self::Resume(name)),
            (Some("dead-letters"), None, None, None) => Ok(Self::DeadLetters),
            (Some("dead-letters"), Some("replay"), None, None) => Ok(Self::Repair(Action::Replay)),
            (Some("dead-letters"), Some("drop"), None, None) => Ok(Self::Repair(Action::Drop)),
            (Some("dead-letters"), Some(id), None, None) => Ok(Self::DeadLetter(id)),
            _ => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "there are GET /api/v1/webhooks, /api/v1/dead-letters and /api/v1/dead-letters/{id}, and POST \
                 /api/v1/dead-letters/replay, /api/v1/dead-letters/drop, /api/v1/webhooks/{name}/resume, /-/reload and /-/quit",
            )),
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::Webhooks | Self::DeadLetters | Self::DeadLetter(_) => "GET, HEAD",
            Self::Resume(_) | Self::Repair(_) | Self::Reload | Self::Quit => "POST",
        }
    }
}

impl Admin {
    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Answer {
        if let Some(file) = page::find(request.uri().path()) {
            let live = Arc::clone(&self.live.borrow());
            let token = live.snapshot.settings.admin.token.as_ref();
            let admitted = self.guard.admit_file(request.headers(), token);
            return admitted.map_or_else(Into::into, |()| page::answer(file, request.method(), request.headers()));
        }
        match self.take(request).await {
            Ok(value) => json_answer(StatusCode::OK, format!("{value}\n")),
            Err(problem) => problem.into(),
        }
    }

    async fn take(&self, request: Request<Body>) -> Result<Value, Problem> {
        let live = Arc::clone(&self.live.borrow());
        let token = live.snapshot.settings.admin.token.as_ref();
        guard::admit(self.guard, request.method(), request.headers(), token)?;
        let (head, body) = request.into_parts();
        let route = Route::find(head.uri.path())?;
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        if !route.allowed().split(", ").any(|allowed| allowed == head.method.as_str()) {
            return Err(Problem::method_not_allowed(route.allowed()));
        }
        let query = head.uri.query().unwrap_or_default();
        if !query.is_empty() && route != Route::DeadLetters {
            let detail = "this route takes no parameters in its URL";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let body = if reads {
            bytes::Bytes::new()
        } else {
            read_body(body, BODY_BYTES_MAX).await.map_err(|error| body_problem(error, route))?
        };
        let now = Timestamp::now();
        match route {
            Route::Webhooks => {
                Ok(webhooks::list(&live, self.spool.backlog(), |webhook| self.gates.paused(webhook), now))
            }
            Route::Resume(name) => self.resume(&live, name),
            Route::Reload => reload::reload(&self.hints).await,
            Route::Quit => Ok(self.quit()),
            Route::DeadLetters => letters::list(&self.store(&live, now), query).await,
            Route::DeadLetter(id) => letters::show(&self.store(&live, now), id).await,
            Route::Repair(action) => {
                let answer = repair::repair(&self.store(&live, now), action, &body).await?;
                let count = answer[action.done()].as_u64().unwrap_or_default();
                match action {
                    _ if count == 0 => {}
                    Action::Replay => tracing::info!(count, "dead_letters.replayed"),
                    Action::Drop => tracing::info!(count, "dead_letters.dropped"),
                }
                Ok(answer)
            }
        }
    }

    fn store(&self, live: &Live, now: Timestamp) -> Store<'_> {
        let configured = live.snapshot.webhooks.keys().chain(&live.quarantined).cloned().collect();
        Store { spool: self.spool.as_ref(), configured, now }
    }

    fn resume(&self, live: &Live, name: &str) -> Result<Value, Problem> {
        if !live.names(name) {
            let meant = nearest(name, live.snapshot.webhooks.keys().map(AsRef::as_ref));
            let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            let detail = format!("the configuration in force has no webhook of this name{meant}");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        }
        Ok(json!({ "resumed": self.gates.resume(name) }))
    }

    /// Begins the end, which leaves the time for this answer. Once it has begun, asking again changes nothing.
    fn quit(&self) -> Value {
        if !self.stop.is_cancelled() {
            tracing::info!("shutdown.asked");
            self.stop.cancel();
        }
        json!({ "closing": true })
    }
}

fn body_problem(error: BodyError, route: Route<'_>) -> Problem {
    match error {
        BodyError::TooLarge => {
            let fix = if matches!(route, Route::Repair(_)) {
                "name fewer ids in one request"
            } else {
                "this route needs none"
            };
            let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes; {fix}");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        BodyError::Crowded => Problem::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "this listener reads as many large bodies as it may; send the request again",
            1,
        ),
        BodyError::TooSlow => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time; send it at once")
        }
        BodyError::Broken => Problem::new(StatusCode::BAD_REQUEST, "the body ended before it was complete"),
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
            ("/api/v1/dead-letters", Route::DeadLetters, "GET, HEAD"),
            (&format!("/api/v1/dead-letters/{id}"), Route::DeadLetter(id), "GET, HEAD"),
            ("/api/v1/dead-letters/replay", Route::Repair(Action::Replay), "POST"),
            ("/api/v1/dead-letters/drop", Route::Repair(Action::Drop), "POST"),
            ("/-/reload", Route::Reload, "POST"),
            ("/-/quit", Route::Quit, "POST"),
        ] {
            assert_eq!(Route::find(path).map(|route| (route, route.allowed())), Ok((route, allowed)), "{path}");
        }
        for path in
            ["/", "/api/v1", "/api/v1/", "/api/v1/webhooks/slack", "/api/v2/webhooks", "/api/v1/dead-letters/a/b"]
        {
            assert!(Route::find(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_body_that_is_too_large_is_made_smaller_where_it_is_needed_and_else_left_out() {
        let detail = |route| body_problem(BodyError::TooLarge, route).detail().to_owned();
        assert!(detail(Route::Repair(Action::Drop)).ends_with("65536 bytes; name fewer ids in one request"));
        assert!(detail(Route::Reload).ends_with("65536 bytes; this route needs none"));
    }
}
