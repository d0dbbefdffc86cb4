//! Ingest: takes events over local HTTP and answers 202 once they are durable for every webhook that wants them.
//!
//! | route | takes |
//! |---|---|
//! | `POST /v1/events` | events of kind `request`; `CloudEvents` |
//! | `POST /v1/events/{kind}` | events of a kind |
//! | `POST /v1/webhooks/{name}/invoke` | one event for this webhook alone: the Manual trigger |
//!
//! A body is one JSON object, or one a line as `application/x-ndjson`: all of them are taken or none. Or it is a `CloudEvent`, or a
//! batch of them: where the route names no kind or `cloudevents` they are the events, elsewhere their data is.
//!
//! The [`Guard`] keeps web pages out. Unlike admin, ingest asks for no header that pages cannot send: services post plain JSON,
//! and it is not needed. All that ingest does is done by `POST`, with which browsers always say of which origin they ask, and no
//! page is of an origin that the guard lets in: ingest serves none, and a name that was pointed to loopback is no loopback
//! `Host`.

mod answer;
mod events;
mod request;
mod trace;

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use hyper::Request;
use tokio_util::sync::CancellationToken;

use crate::cloudevents;
use crate::event::{Event, Tree};
use crate::history::{History, Taken};
use crate::kind::Kind;
use crate::live::{Live, Reader};
use crate::metrics::{Metrics, Received};
use crate::plan::plan;
use crate::server::guard::Guard;
use crate::server::problem::Problem;
use crate::server::{Answer, Body, BodyError, read_body};
use crate::settled::Settled;
use crate::spans::Spans;
use crate::spool::{Appended, Batch, Key, Owed, Spool, SpoolError};
use crate::webhook::{Status, Webhook};

use answer::{accepted, collect_reports, receipt};
use events::Taking;
use request::{Format, Route, body_format, key_of, wait_of};

/// The kind of events that no route names.
const KIND_DEFAULT: &str = "request";
/// Seconds after which a sender comes again while the sidecar closes.
const RETRY_AFTER_CLOSING: u32 = 5;

/// The ingest listener's handler and what it needs.
pub struct Ingest {
    /// What is in force.
    pub live: Reader,
    /// Where events go.
    pub spool: Arc<dyn Spool>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where `?wait=` hears of ends.
    pub settled: Arc<Settled>,
    /// What people look at afterwards.
    pub history: Arc<History>,
    /// Who is let in.
    pub guard: Guard,
    /// Where spans go.
    pub spans: Spans,
    /// Cancelled when no more events are taken.
    pub closing: CancellationToken,
}

/// One event on its way, with those that want it.
struct Planned {
    event: Arc<Event>,
    wanted: Vec<Owed>,
    shadowed: Vec<Arc<Webhook>>,
}

impl Planned {
    /// For those who look for it later.
    fn taken(&self) -> Taken {
        let wanted = self.wanted.iter().map(|owed| Arc::clone(&owed.webhook)).collect();
        Taken { event: self.event.without_tree(), wanted }
    }
}

impl Ingest {
    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Answer {
        let asked = trace::Asked::new(&self.spans, request.headers());
        let answer = match self.take(request, &asked).await {
            Ok(answer) => answer,
            Err(problem) => problem.into(),
        };
        asked.answered(answer.status());
        answer
    }

    async fn take(&self, request: Request<Body>, asked: &trace::Asked) -> Result<Answer, Problem> {
        let live = Arc::clone(&self.live.borrow());
        self.guard.admit(request.headers(), live.snapshot.settings.ingest.token.as_ref())?;
        asked.admitted(request.method());
        let route = Route::find(request.uri().path())?;
        if request.method() != Method::POST {
            return Err(Problem::method_not_allowed("POST"));
        }
        let (mut kind, invoked) = target(&live, &route)?;
        let format = body_format(request.headers(), *kind.name == *cloudevents::KIND);
        if let (Route::Events(None), Ok(format)) = (&route, &format)
            && format.is_cloudevents()
        {
            kind = live.snapshot.kinds.get(cloudevents::KIND).unwrap_or(kind);
        }
        let result = self.take_events(&live, kind, invoked, format, request, asked).await;
        if let Err(problem) = &result {
            let unavailable = problem.status() == StatusCode::SERVICE_UNAVAILABLE;
            let received = if unavailable { Received::Unavailable } else { Received::Invalid };
            self.metrics.received(&kind.name, received, 1);
        }
        result
    }

    async fn take_events(
        &self,
        live: &Live,
        kind: &Arc<Kind>,
        invoked: Option<&Arc<Webhook>>,
        format: Result<Format, Problem>,
        request: Request<Body>,
        asked: &trace::Asked,
    ) -> Result<Answer, Problem> {
        if self.closing.is_cancelled() {
            return Err(Problem::later(StatusCode::SERVICE_UNAVAILABLE, "the sidecar is closing", RETRY_AFTER_CLOSING));
        }
        let wait = wait_of(request.uri().query())?;
        let format = format?;
        let bytes_max = live.snapshot.settings.ingest.body_bytes_max;
        let window = live.snapshot.settings.ingest.idempotency_window;
        let path = request.uri().path().to_owned();
        // No window knows no keys.
        let named = if window.is_zero() { None } else { key_of(request.headers())? };
        let (head, body) = request.into_parts();
        // Only what binary mode says in it is needed of a head that would wait for its body.
        let headers = if format == Format::Binary { head.headers } else { HeaderMap::new() };
        let body = read_body(body, bytes_max).await.map_err(|error| body_problem(error, bytes_max))?;
        let taking = Taking { kind, manual: invoked.is_some(), headers: &headers, body: &body };
        let events = taking.events(format)?;
        // The same event for the same webhooks is one, by whichever route.
        let whom = invoked.map_or(&*kind.name, |webhook| &*webhook.name);
        let whom = format!("{}/{whom}", invoked.is_some());
        let key = named.or_else(|| events.key(&whom)).filter(|_| !window.is_zero());
        let path = if format.is_cloudevents() { &whom } else { &path };
        let content = if key.is_some() { events.content(named.is_some(), path, format, &body) } else { [0; 16] };
        let trace = asked.trace(events.events.first().map(|event| event.id));
        let planned = events.events.into_iter().map(|event| self.plan(live, invoked, event.in_trace(trace.clone())));
        let planned: Vec<Planned> = planned.collect();

        let waiting = match wait {
            None => None,
            Some(time) => {
                let owing = planned.iter().filter(|planned| !planned.wanted.is_empty());
                let waiting =
                    self.settled.wait_for(owing.map(|planned| planned.event.id).collect()).ok_or_else(|| {
                        Problem::later(
                            StatusCode::TOO_MANY_REQUESTS,
                            "too many requests wait for their deliveries; leave ?wait out",
                            1,
                        )
                    })?;
                Some((waiting, time))
            }
        };
        let events = planned.iter().filter(|planned| !planned.wanted.is_empty());
        let events = events.map(|planned| (Arc::clone(&planned.event), planned.wanted.clone())).collect();
        let key = key.map(|id| Key { id, content, receipt: receipt(&planned).into(), window });
        let batch = Batch { events, key };
        if !batch.events.is_empty() || batch.key.is_some() {
            match self.spool.append(batch).await.map_err(|error| spool_problem(&error))? {
                Appended::New => {}
                Appended::Repeat(receipt) => {
                    self.metrics.received(&kind.name, Received::Repeated, planned.len() as u64);
                    return Ok(answer::repeated(receipt));
                }
                Appended::Conflict => {
                    return Err(Problem::new(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        if named.is_some() {
                            "this Idempotency-Key came before with another body; give every request that differs a key of its own"
                        } else {
                            "a CloudEvent of this source and id came before with other content; give every event an id of its own"
                        },
                    ));
                }
            }
        }
        self.metrics.received(&kind.name, Received::Accepted, planned.len() as u64);
        for planned in &planned {
            self.history.took(planned.taken(), live.snapshot.settings.history);
            shadow(live, planned);
        }
        match waiting {
            None => Ok(accepted(&planned)),
            Some((waiting, time)) => Ok(collect_reports(&planned, waiting, time).await),
        }
    }

    /// Says who gets an event, and counts who does not.
    fn plan(&self, live: &Live, invoked: Option<&Arc<Webhook>>, event: Event) -> Planned {
        let event = Arc::new(event);
        if let Some(webhook) = invoked {
            let shadowed = webhook.status == Status::Shadow;
            let wanted = if shadowed { Vec::new() } else { vec![owed(webhook, &event.tree())] };
            return Planned { event, wanted, shadowed: if shadowed { vec![Arc::clone(webhook)] } else { Vec::new() } };
        }
        let tree = event.tree();
        let plan = plan(&live.snapshot, &tree);
        for webhook in &plan.filtered {
            if let Some(handles) = live.handles.get(&webhook.name) {
                handles.filtered.inc();
            }
        }
        if plan.wanted.is_empty() && plan.shadowed.is_empty() {
            self.metrics.unmatched(&event.kind);
        }
        if plan.wanted.len() + plan.shadowed.len() > 1 {
            // Several will render it: parse once. It was decoded, so it can be parsed.
            let _ = tree.get();
        }
        let wanted = plan.wanted.iter().map(|webhook| owed(webhook, &tree)).collect();
        let shadowed = plan.shadowed.into_iter().map(Arc::clone).collect();
        drop(tree);
        Planned { event, wanted, shadowed }
    }
}

/// What a webhook owes for an event.
fn owed(webhook: &Webhook, tree: &Tree<'_>) -> Owed {
    Owed { webhook: Arc::clone(&webhook.name), lane: webhook.ordering.lane(tree) }
}

/// Renders an event for its shadow webhooks and records what it came to: a line in the log and a count.
fn shadow(live: &Live, planned: &Planned) {
    for webhook in &planned.shadowed {
        let rendered = webhook.render(&planned.event);
        let handles = live.handles.get(&webhook.name);
        if let Some(handles) = handles {
            handles.shadowed(rendered.is_ok());
        }
        let event_id = planned.event.id;
        match rendered {
            Ok(request) => tracing::info!(
                %event_id, webhook = %webhook.name, method = %request.method, host = %webhook.url.host,
                body_bytes = request.body.len(), missing = request.missing.len(), "delivery.shadowed"
            ),
            Err(failure) => tracing::warn!(
                %event_id, webhook = %webhook.name, reason = %failure.reason, detail = %failure.detail, "delivery.shadowed"
            ),
        }
    }
}

/// The kind of a route's events, and the webhook that is invoked.
fn target<'l>(live: &'l Live, route: &Route<'_>) -> Result<(&'l Arc<Kind>, Option<&'l Arc<Webhook>>), Problem> {
    match route {
        Route::Events(kind) => {
            live.snapshot.kinds.get(kind.unwrap_or(KIND_DEFAULT)).map(|kind| (kind, None)).ok_or_else(|| {
                let known: Vec<&str> = live.snapshot.kinds.keys().map(AsRef::as_ref).collect();
                Problem::new(StatusCode::NOT_FOUND, format!("there is no such kind; there are {}", known.join(", ")))
            })
        }
        Route::Invoke(name) => {
            let webhook = live.snapshot.webhooks.get(*name).ok_or_else(|| {
                if live.names(name) {
                    return Problem::new(
                        StatusCode::CONFLICT,
                        "the webhook's file is faulty: `outrigger check` says why",
                    );
                }
                Problem::new(StatusCode::NOT_FOUND, "there is no webhook of this name in the configuration in force")
            })?;
            let refusal = if webhook.status == Status::Inactive {
                "the webhook is inactive: set status = \"active\" in its file"
            } else if webhook.triggers.include(crate::kind::MANUAL) {
                return Ok((&webhook.kind, Some(webhook)));
            } else {
                "the webhook is not invoked by name: add \"Manual\" to its triggers"
            };
            Err(Problem::new(StatusCode::CONFLICT, refusal))
        }
    }
}

fn body_problem(error: BodyError, bytes_max: usize) -> Problem {
    match error {
        BodyError::TooLarge => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {bytes_max} bytes (ingest.max_body)"),
        ),
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

fn spool_problem(error: &SpoolError) -> Problem {
    if matches!(error, SpoolError::TooLarge(_)) {
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string());
    }
    let seconds = u32::try_from(error.retry_after().as_secs()).unwrap_or(u32::MAX).max(1);
    Problem::later(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), seconds)
}
