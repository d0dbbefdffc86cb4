//! Admin: what people on call see and repair, over HTTP on loopback or a Unix socket.
//!
//! | route | does |
//! |---|---|
//! | `GET /`, `GET /assets/…` | the page, which asks the others |
//! | `GET /api/v1/webhooks` | every webhook: its definition, why it waits, what is pending and dead, how its attempts went |
//! | `GET /api/v1/webhooks/{name}` | one of them with its file, its filters in words, and what it makes of a sample |
//! | `POST /api/v1/webhooks/{name}/test` | sends a mock event to its target |
//! | `GET /api/v1/config` | which configuration is in force, and the last look at its files |
//! | `GET /api/v1/changes` | the webhooks that changed since a cursor |
//! | `POST /api/v1/webhooks/{name}/resume` | ends a webhook's pause |
//! | `GET /api/v1/invocations` | a page of attempts, the latest first |
//! | `GET /api/v1/invocations/{id}` | one of them: request, response, verdicts, timings |
//! | `POST /api/v1/invocations/{id}/resend` | makes its delivery pending again |
//! | `GET /api/v1/events` | what became of the events of an id |
//! | `GET /api/v1/dead-letters` | a page of dead letters |
//! | `GET /api/v1/dead-letters/{delivery id}` | one of them with its event |
//! | `POST /api/v1/dead-letters/replay` | one step of making dead letters pending again |
//! | `POST /api/v1/dead-letters/drop` | one step of forgetting dead letters |
//! | `GET /api/v1/openapi.json` | the document of all this, in the words of `OpenAPI` |
//! | `POST /-/reload` | looks at the configuration's files at once |
//! | `GET /-/log-level`, `PUT /-/log-level` | the level of the log, and another one until `log.level` is edited |
//! | `POST /-/quit` | ends the sidecar as SIGTERM does |
//!
//! [`guard`] decides who may ask. What a request for dead letters means is in [`filter`], [`letters`] and [`repair`], which
//! the command line shares where no sidecar runs.

mod config;
mod definition;
pub mod filter;
pub mod guard;
pub mod invocations;
pub mod letters;
mod log_level;
mod openapi;
mod page;
mod query;
mod reload;
pub mod repair;
mod resend;
mod route;
mod rows;
mod story;
mod trial;
mod verdict;
mod webhooks;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};
use hyper::Request;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::diagnostic::nearest;
use crate::gates::Gates;
use crate::history::History;
use crate::live::{Live, Reader};
use crate::log::Log;
use crate::reload::Hints;
use crate::server::guard::Guard;
use crate::server::problem::Problem;
use crate::server::{Answer, Body, BodyError, json_answer, read_body};
use crate::spool::Spool;

use filter::Store;
use query::Parameters;
use repair::Action;
use route::Route;
use rows::Rows;

/// What the admin listener's handler needs.
pub struct Parts {
    /// What is in force.
    pub live: Reader,
    /// Where pending deliveries and dead letters are.
    pub spool: Arc<dyn Spool>,
    /// What webhooks wait for.
    pub gates: Arc<Gates>,
    /// What was.
    pub history: Arc<History>,
    /// Who is let in.
    pub guard: Guard,
    /// Where looks at the configuration are asked for.
    pub hints: Hints,
    /// The folder of the configuration.
    pub folder: PathBuf,
    /// Whose level people change.
    pub log: Log,
    /// Cancelled to end the sidecar.
    pub stop: CancellationToken,
}

/// The admin listener's handler.
pub struct Admin {
    parts: Parts,
    rows: Mutex<Rows>,
    /// Held while a delivery is resent: whether it is pending is looked up before it is made so.
    resending: Arc<tokio::sync::Mutex<()>>,
    /// Held while events are found: what they take of memory is taken once.
    finding: Arc<tokio::sync::Mutex<()>>,
}

impl Admin {
    /// A handler for one process.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let begun = parts.history.begun();
        let process = u64::try_from(begun.as_microsecond()).unwrap_or(0);
        Self {
            parts,
            rows: Mutex::new(Rows::new(process, begun.to_string())),
            resending: Arc::default(),
            finding: Arc::default(),
        }
    }

    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Answer {
        if let Some(file) = page::find(request.uri().path()) {
            let live = Arc::clone(&self.parts.live.borrow());
            let token = live.snapshot.settings.admin.token.as_ref();
            let admitted = self.parts.guard.admit_file(request.headers(), token);
            return admitted.map_or_else(Into::into, |()| page::answer(file, request.method(), request.headers()));
        }
        match self.take(request).await {
            Ok(text) => json_answer(StatusCode::OK, text + "\n"),
            Err(problem) => problem.into(),
        }
    }

    async fn take(self: &Arc<Self>, request: Request<Body>) -> Result<String, Problem> {
        let live = Arc::clone(&self.parts.live.borrow());
        let token = live.snapshot.settings.admin.token.as_ref();
        guard::admit(self.parts.guard, request.method(), request.headers(), token)?;
        let (head, body) = request.into_parts();
        let route = Route::find(head.uri.path())?;
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        if !route.allowed().split(", ").any(|allowed| allowed == head.method.as_str()) {
            return Err(Problem::method_not_allowed(route.allowed()));
        }
        let query = head.uri.query().unwrap_or_default();
        if !query.is_empty() && !route.takes_parameters() {
            let detail = "this route takes no parameters in its URL";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let body = if reads {
            bytes::Bytes::new()
        } else {
            read_body(body, route.body_bytes_max()).await.map_err(|error| body_problem(error, route))?
        };
        let store = self.store(&live, Timestamp::now());
        let history = self.parts.history.as_ref();
        let answer = match route {
            Route::OpenApi => return Ok(openapi::DOCUMENT.trim_end().to_owned()),
            Route::Webhooks => return Ok(self.rows(&live, true).all()),
            Route::Changes => {
                let parameters = Parameters::parse(query, &["cursor"])?;
                return self.rows(&live, false).changes(parameters.get("cursor"));
            }
            Route::Webhook(name) => {
                let row = self.made_rows(&live).into_iter().find(|(known, _)| **known == *name);
                let (_, row) = row.ok_or_else(|| no_webhook(&live, name))?;
                definition::show(row, live.snapshot.webhooks.get(name).map(AsRef::as_ref), query)?
            }
            Route::Test(name) => {
                let webhook = live.snapshot.webhooks.get(name).ok_or_else(|| no_webhook(&live, name))?;
                trial::test(&live, history, webhook, &body).await?
            }
            Route::Config => config::show(&live, &self.parts.folder, self.parts.hints.last_look().as_deref()),
            Route::Resume(name) => self.resume(&live, name)?,
            Route::Invocations => {
                let mut listed = invocations::list(&store, history, query).await?;
                listed["per_webhook"] = live.snapshot.settings.history.per_webhook.into();
                listed
            }
            Route::Invocation(id) => invocations::show(&store, history, id).await?,
            Route::Resend(id) => self.resend(&live, id).await?,
            Route::Events => {
                let alone = Arc::clone(&self.finding).lock_owned().await;
                let gates = &self.parts.gates;
                return story::find(story::Sources { store, live: &live, history, gates }, query, alone).await;
            }
            Route::Reload => reload::reload(&self.parts.hints).await?,
            Route::LogLevel if reads => log_level::show(&self.parts.log),
            Route::LogLevel => log_level::set(&self.parts.log, &body)?,
            Route::Quit => self.quit(),
            Route::DeadLetters => letters::list(&store, query).await?,
            Route::DeadLetter(id) => letters::show(&store, id).await?,
            Route::Repair(action) => {
                let answer = repair::repair(&store, action, &body).await?;
                let count = answer[action.done()].as_u64().unwrap_or_default();
                match action {
                    _ if count == 0 => {}
                    Action::Replay => tracing::info!(count, "dead_letters.replayed"),
                    Action::Drop => tracing::info!(count, "dead_letters.dropped"),
                }
                answer
            }
        };
        Ok(answer.to_string())
    }

    /// The rows of the table of webhooks, made now where fresh ones are wanted.
    fn rows(&self, live: &Live, fresh: bool) -> MutexGuard<'_, Rows> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh || !rows.are_fresh(live.generation) {
            rows.refresh(live.generation, self.made_rows(live));
        }
        rows
    }

    fn made_rows(&self, live: &Live) -> Vec<(Arc<str>, Value)> {
        let Parts { spool, gates, history, .. } = &self.parts;
        let (backlog, now) = (spool.backlog(), Timestamp::now());
        webhooks::rows(live, webhooks::Sources { backlog, gates, history, now })
    }

    fn store(&self, live: &Live, now: Timestamp) -> Store<'_> {
        let configured = live.snapshot.webhooks.keys().chain(&live.quarantined).cloned().collect();
        Store { spool: self.parts.spool.as_ref(), configured, now }
    }

    /// Goes to its end also where whoever asked goes away: the next who resends has to see what came of it.
    async fn resend(self: &Arc<Self>, live: &Arc<Live>, id: &str) -> Result<Value, Problem> {
        let alone = Arc::clone(&self.resending).lock_owned().await;
        let (admin, live, id) = (Arc::clone(self), Arc::clone(live), id.to_owned());
        let resent = tokio::spawn(async move {
            let _alone = alone;
            let store = admin.store(&live, Timestamp::now());
            let answer = resend::resend(&store, &live, &admin.parts.history, &id).await?;
            tracing::info!(invocation = id, delivery_id = answer["delivery_id"].as_str(), "delivery.resent");
            Ok(answer)
        });
        let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it could not be resent");
        resent.await.map_err(broken)?
    }

    fn resume(&self, live: &Live, name: &str) -> Result<Value, Problem> {
        if !live.names(name) {
            return Err(no_webhook(live, name));
        }
        Ok(json!({ "resumed": self.parts.gates.resume(name) }))
    }

    /// Begins the end, which leaves the time for this answer. Once it has begun, asking again changes nothing.
    fn quit(&self) -> Value {
        if !self.parts.stop.is_cancelled() {
            tracing::info!("shutdown.asked");
            self.parts.stop.cancel();
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
    fn a_body_that_is_too_large_is_made_smaller_where_it_is_needed_and_else_left_out() {
        let detail = |route| body_problem(BodyError::TooLarge, route).detail().to_owned();
        assert!(detail(Route::Repair(Action::Drop)).ends_with("65536 bytes; name fewer ids in one request"));
        assert!(detail(Route::Reload).ends_with("65536 bytes; this route needs none"));
    }
}
