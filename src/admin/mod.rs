//! Admin: what people on call see and repair, over HTTP on loopback or a Unix socket.
//!
//! | route | does |
//! |---|---|
//! | `GET /api/v1/webhooks` | every webhook: its definition, why it waits, what is pending and dead |
//! | `GET /api/v1/webhooks/{name}` | one of them with its file, its filters in words, and what it makes of a sample |
//! | `POST /api/v1/webhooks/{name}/resume` | ends a webhook's pause |
//! | `POST /api/v1/webhooks/{name}/test` | sends a mock event to its target |
//! | `GET /api/v1/dead-letters` | a page of dead letters |
//! | `GET /api/v1/dead-letters/{delivery id}` | one of them with its event |
//! | `POST /api/v1/dead-letters/replay` | one step of making dead letters pending again |
//! | `POST /api/v1/dead-letters/drop` | one step of forgetting dead letters |
//! | `GET /api/v1/config` | which configuration is in force, and the last look at its files |
//! | `POST /-/reload` | looks at the configuration's files at once |
//! | `POST /-/quit` | ends the sidecar as SIGTERM does |
//!
//! [`guard`] decides who may ask. What a request for dead letters means is in [`filter`], [`letters`] and [`repair`], which
//! the command line shares where no sidecar runs.

mod config;
mod definition;
pub mod filter;
pub mod guard;
pub mod letters;
mod reload;
pub mod repair;
mod trial;
mod webhooks;

use std::path::PathBuf;
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
    /// Where looks at the configuration are asked for, and what the last one came to.
    pub hints: Hints,
    /// The configuration folder.
    pub folder: PathBuf,
    /// Cancelled to end the sidecar.
    pub stop: CancellationToken,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'p> {
    Webhooks,
    Webhook(&'p str),
    Resume(&'p str),
    Test(&'p str),
    Config,
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
            (Some("webhooks"), Some(name), None, None) if !name.is_empty() => Ok(Self::Webhook(name)),
            (Some("webhooks"), Some(name), Some("resume"), None) => Ok(Self::Resume(name)),
            (Some("webhooks"), Some(name), Some("test"), None) => Ok(Self::Test(name)),
            (Some("config"), None, None, None) => Ok(Self::Config),
            (Some("dead-letters"), None, None, None) => Ok(Self::DeadLetters),
            (Some("dead-letters"), Some("replay"), None, None) => Ok(Self::Repair(Action::Replay)),
            (Some("dead-letters"), Some("drop"), None, None) => Ok(Self::Repair(Action::Drop)),
            (Some("dead-letters"), Some(id), None, None) => Ok(Self::DeadLetter(id)),
            _ => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "there are GET /api/v1/webhooks, /api/v1/webhooks/{name}, /api/v1/dead-letters, /api/v1/dead-letters/{id} and \
                 /api/v1/config, and POST /api/v1/webhooks/{name}/resume, /api/v1/webhooks/{name}/test, \
                 /api/v1/dead-letters/replay, /api/v1/dead-letters/drop, /-/reload and /-/quit",
            )),
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::Webhooks | Self::Webhook(_) | Self::DeadLetters | Self::DeadLetter(_) | Self::Config => "GET, HEAD",
            Self::Resume(_) | Self::Test(_) | Self::Repair(_) | Self::Reload | Self::Quit => "POST",
        }
    }

    /// Whether it takes parameters in its URL.
    const fn asks(self) -> bool {
        matches!(self, Self::DeadLetters | Self::Webhook(_))
    }

    /// The largest body of a request, in bytes.
    const fn body_bytes_max(self) -> usize {
        match self {
            Self::Test(_) => trial::BODY_BYTES_MAX,
            _ => BODY_BYTES_MAX,
        }
    }
}

impl Admin {
    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Answer {
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
        if !query.is_empty() && !route.asks() {
            let detail = "this route takes no parameters in its URL";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let body = if reads {
            bytes::Bytes::new()
        } else {
            read_body(body, route.body_bytes_max()).await.map_err(|error| body_problem(error, route))?
        };
        let now = Timestamp::now();
        match route {
            Route::Webhooks => {
                Ok(webhooks::list(&live, self.spool.backlog(), |webhook| self.gates.paused(webhook), now))
            }
            Route::Webhook(name) => {
                let row = webhooks::row(&live, self.spool.backlog(), |webhook| self.gates.paused(webhook), now, name);
                let webhook = live.snapshot.webhooks.get(name).map(|webhook| &**webhook);
                definition::show(row.ok_or_else(|| no_webhook(&live, name))?, webhook, query)
            }
            Route::Resume(name) => self.resume(&live, name),
            Route::Test(name) => {
                let webhook = live.snapshot.webhooks.get(name).ok_or_else(|| no_webhook(&live, name))?;
                trial::test(&live, webhook, &body).await
            }
            Route::Config => Ok(config::show(&live, &self.folder, self.hints.last_look().as_deref())),
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
            return Err(no_webhook(live, name));
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

/// 404: nothing of this name, or nothing but a faulty file.
fn no_webhook(live: &Live, name: &str) -> Problem {
    if live.names(name) {
        let detail = "the webhook's file is faulty: `GET /api/v1/config` says how";
        return Problem::new(StatusCode::NOT_FOUND, detail);
    }
    let meant = nearest(name, live.snapshot.webhooks.keys().map(AsRef::as_ref));
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    let detail = format!("the configuration in force has no webhook of this name{meant}");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn body_problem(error: BodyError, route: Route<'_>) -> Problem {
    match error {
        BodyError::TooLarge => {
            let fix = match route {
                Route::Repair(_) => "name fewer ids in one request",
                Route::Test(_) => "send a smaller event",
                _ => "this route needs none",
            };
            let detail = format!("the body is larger than {} bytes; {fix}", route.body_bytes_max());
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
            ("/api/v1/webhooks/slack", Route::Webhook("slack"), "GET, HEAD"),
            ("/api/v1/webhooks/slack/resume", Route::Resume("slack"), "POST"),
            ("/api/v1/webhooks/slack/test", Route::Test("slack"), "POST"),
            ("/api/v1/config", Route::Config, "GET, HEAD"),
            ("/api/v1/dead-letters", Route::DeadLetters, "GET, HEAD"),
            (&format!("/api/v1/dead-letters/{id}"), Route::DeadLetter(id), "GET, HEAD"),
            ("/api/v1/dead-letters/replay", Route::Repair(Action::Replay), "POST"),
            ("/api/v1/dead-letters/drop", Route::Repair(Action::Drop), "POST"),
            ("/-/reload", Route::Reload, "POST"),
            ("/-/quit", Route::Quit, "POST"),
        ] {
            assert_eq!(Route::find(path).map(|route| (route, route.allowed())), Ok((route, allowed)), "{path}");
        }
        for path in [
            "/",
            "/api/v1",
            "/api/v1/",
            "/api/v1/webhooks/",
            "/api/v1/config/x",
            "/api/v2/webhooks",
            "/api/v1/dead-letters/a/b",
        ] {
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
