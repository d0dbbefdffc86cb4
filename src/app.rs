//! The process: load → open the spool → bind → serve → drain, in one straight function.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::Request;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
#[cfg(feature = "nats")]
use crate::client::tls_config;
use crate::client::{ClientError, Clients, Routes};
#[cfg(feature = "nats")]
use crate::config::Nats;
use crate::config::{Listen, Loaded, Loader, SOCKET_MODE, Settings, SpoolPlace};
use crate::dispatch::Dispatch;
use crate::gates::Gates;
use crate::history::History;
use crate::ingest::Ingest;
use crate::live::{Live, Reader};
use crate::log::Log;
use crate::metrics::{Metrics, Reloaded};
use crate::reload::{self, Hinted, Hints, Reload};
use crate::server::guard::Guard;
use crate::server::peer::{Peers, is_allowed};
use crate::server::problem::Problem;
use crate::server::{Answer, Body, Listener};
use crate::settled::Settled;
use crate::spans::Spans;
#[cfg(feature = "nats")]
use crate::spool::nats;
use crate::spool::{DiskSpool, Found, OpenError, Options, Spool};
use crate::supervisor::Supervisor;

/// How often the gauges of the spool are brought up to date.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);
/// The last part of `shutdown.grace`, kept for writing settlements down.
const CLOSE_RESERVE: Duration = Duration::from_millis(500);

/// What the process is started with.
pub struct Start {
    /// What loaded the configuration, and loads it again.
    pub loader: Loader,
    /// What it loaded; its Snapshot is there.
    pub loaded: Loaded,
    /// Connections that are led elsewhere, for `demo`.
    pub routes: Routes,
    /// What asks for looks at the configuration; SIGHUP does.
    pub hints: (Hints, Hinted),
    /// Who is told how it goes.
    pub supervisor: Supervisor,
    /// What is written about it all.
    pub log: Log,
    /// Cancelled by the first SIGTERM or SIGINT, or by `POST /-/quit`: drain.
    pub stop: CancellationToken,
    /// Cancelled by the second: end at once.
    pub abort: CancellationToken,
}

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Faults in the configuration, which have been reported.
    #[error("the configuration has faults")]
    Config,
    /// The certificates of `egress.ca_file`.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The spool in NATS.
    #[cfg(feature = "nats")]
    #[error(transparent)]
    Nats(#[from] nats::OpenError),
    /// A listener.
    #[error("{setting} cannot listen on {address}: {error}; {}", bind_fix(error))]
    Bind {
        /// `ingest.listen`, `admin.listen` or `metrics.listen`.
        setting: &'static str,
        /// What was to be bound.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// The metrics registry.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The thread that reloads.
    #[error("the thread that reloads the configuration cannot be started: {0}; allow the process more threads")]
    Reload(io::Error),
}

fn bind_fix(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "set another address, or end what uses this one",
        io::ErrorKind::NotFound => "make the socket's folder, or set another path",
        io::ErrorKind::AddrNotAvailable => "set an address of this machine",
        _ => "set another address",
    }
}

/// The addresses that were bound.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Ingest.
    pub ingest: String,
    /// Admin.
    pub admin: String,
    /// Metrics.
    pub metrics: String,
}

/// A sidecar that listens.
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    serve: JoinHandle<()>,
}

/// The main task panicked, so nothing was written down and closed in order.
#[derive(Debug, thiserror::Error)]
#[error(
    "the main task panicked: start it again, what is pending is in the spool; report what stands above with its place"
)]
pub struct Panicked;

impl Running {
    /// Waits for its end.
    pub async fn ended(self) -> Result<(), Panicked> {
        self.serve.await.map_err(|_| {
            tracing::error!(note = "the main task panicked; standard error has the place", "sidecar.panicked");
            Panicked
        })
    }
}

/// Starts everything. When it returns, every listener is bound and the sidecar is ready.
pub async fn start(start: Start) -> Result<Running, StartError> {
    let Start { loader, loaded, routes, hints, supervisor, log, stop, abort } = start;
    let Loaded { snapshot: Some(snapshot), watched, quarantined, .. } = loaded else { return Err(StartError::Config) };
    let metrics =
        Arc::new(Metrics::told(snapshot.kinds.keys().map(AsRef::as_ref), snapshot.settings.metrics.per_webhook)?);
    let clients = Clients::new(&snapshot.settings.egress, routes, snapshot.webhooks.values())?;
    let spool = open_spool(&snapshot.settings, &metrics).await?;
    let history = Arc::new(History::new(Timestamp::now(), spool.last_invocation()));
    let [ingest_listener, admin_listener, metrics_listener] = bind_all(&snapshot.settings).await?;
    let addresses = Addresses {
        ingest: ingest_listener.address().to_owned(),
        admin: admin_listener.address().to_owned(),
        metrics: metrics_listener.address().to_owned(),
    };
    tell_quarantined(&quarantined);
    let (traces, ca_pem) = (snapshot.settings.traces.clone(), snapshot.settings.egress.ca_pem.clone());
    let live = Live { quarantined, ..Live::new(snapshot, 1, clients, &metrics) };
    let (publisher, live) = watch::channel(Arc::new(live));
    metrics.reloaded(Reloaded::Published, Timestamp::now());
    let settled = Arc::new(Settled::default());
    let gates = Arc::new(Gates::default());
    let (closing, stop_dispatch, stop_serving) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let ready = Arc::new(AtomicBool::new(true));

    let tasks = TaskTracker::new();
    let (asked, folder) = (hints.0.clone(), loader.source().dir.clone());
    let told = supervisor.clone();
    let reload =
        Reload { loader, publisher, metrics: Arc::clone(&metrics), log: log.clone(), watched, hints, supervisor: told };
    // What is published once no attempt begins any more would be obeyed by nobody.
    tasks.spawn(reload.start().map_err(StartError::Reload)?.run(closing.clone()));
    let spans = Spans::start(&traces, ca_pem.as_deref());
    let dispatch = Arc::new(Dispatch {
        live: live.clone(),
        spool: Arc::clone(&spool),
        gates: Arc::clone(&gates),
        metrics: Arc::clone(&metrics),
        settled: Arc::clone(&settled),
        history: Arc::clone(&history),
        spans: spans.clone(),
        stop: stop_dispatch.clone(),
    });
    let dispatch = tokio::spawn(dispatch.run());
    let (guard, stop_asked) = (Guard::new("admin", admin_listener.reach()), stop.clone());
    let admin = Arc::new(Admin::new(admin::Parts {
        live: live.clone(),
        spool: Arc::clone(&spool),
        gates,
        history: Arc::clone(&history),
        guard,
        hints: asked,
        folder,
        log: log.clone(),
        stop: stop_asked,
    }));
    let users = peers(&live, "admin.allow_uids", |settings| &settings.admin.allow_uids);
    let admin_listener = admin_listener.admitting(users);
    tasks.spawn(admin_listener.serve(move |request| Arc::clone(&admin).answer(request), stop_serving.clone()));
    let users = peers(&live, "ingest.allow_uids", |settings| &settings.ingest.allow_uids);
    let in_force = live.clone();
    let ingest = Arc::new(Ingest {
        live,
        spool: Arc::clone(&spool),
        metrics: Arc::clone(&metrics),
        settled: Arc::clone(&settled),
        history,
        spans: spans.clone(),
        guard: Guard::new("ingest", ingest_listener.reach()),
        closing: closing.clone(),
    });
    let ingest_listener = ingest_listener.admitting(users);
    tasks.spawn(ingest_listener.serve(move |request| Arc::clone(&ingest).answer(request), stop_serving.clone()));
    let page = Arc::new(Page { metrics: Arc::clone(&metrics), spool: Arc::clone(&spool), ready: Arc::clone(&ready) });
    tasks.spawn(metrics_listener.serve(move |request| std::future::ready(page.answer(&request)), stop_serving.clone()));
    tasks.spawn(log.clone().tend(stop_serving.clone()));
    tasks.spawn(keep_gauges(Arc::clone(&metrics), Arc::clone(&spool), stop_serving.clone()));

    supervisor.ready(&reload::status(&in_force, None));
    let ending = Ending {
        live: in_force,
        ready,
        supervisor,
        closing,
        stop_dispatch,
        stop_serving,
        dispatch,
        settled,
        tasks,
        spool,
        spans,
        log,
        abort,
    };
    let serve = tokio::spawn(async move {
        stop.cancelled().await;
        ending.end().await;
    });
    Ok(Running { addresses, serve })
}

/// Says which webhooks are left out of the start.
fn tell_quarantined(quarantined: &[Arc<str>]) {
    if !quarantined.is_empty() {
        tracing::warn!(
            ?quarantined,
            note = "faulty webhooks are left out; what they owe is held until they are mended or removed",
            "config.quarantined"
        );
    }
}

/// What ends with the process, and what tells it so.
struct Ending {
    live: Reader,
    ready: Arc<AtomicBool>,
    supervisor: Supervisor,
    closing: CancellationToken,
    stop_dispatch: CancellationToken,
    stop_serving: CancellationToken,
    dispatch: JoinHandle<()>,
    settled: Arc<Settled>,
    tasks: TaskTracker,
    spool: Arc<dyn Spool>,
    spans: Spans,
    log: Log,
    abort: CancellationToken,
}

impl Ending {
    /// Teardown, in reverse: take no new events, begin no new attempts, end those in flight, write down, close.
    async fn end(mut self) {
        self.ready.store(false, Ordering::Release);
        self.supervisor.stopping("draining");
        let shutdown = self.live.borrow().snapshot.settings.shutdown;
        tracing::info!(delay = ?shutdown.delay, grace = ?shutdown.grace, "shutdown.begun");
        let end = tokio::time::Instant::now() + shutdown.delay + shutdown.grace;
        tokio::select! {
            () = tokio::time::sleep(shutdown.delay) => {}
            () = self.abort.cancelled() => {}
        }
        self.closing.cancel();
        self.stop_dispatch.cancel();
        let drained = tokio::select! {
            ended = &mut self.dispatch => ended.is_ok(),
            () = tokio::time::sleep_until(end.checked_sub(CLOSE_RESERVE).unwrap_or(end)) => false,
            () = self.abort.cancelled() => false,
        };
        if !drained {
            // Their settlements find the spool closed, so they come back with the next start.
            tracing::warn!(note = "attempts in flight are given up; they stay in the spool", "shutdown.undrained");
            self.dispatch.abort();
        }
        self.settled.close();
        self.stop_serving.cancel();
        self.tasks.close();
        let last = end.max(tokio::time::Instant::now() + CLOSE_RESERVE);
        let served = tokio::select! {
            () = self.tasks.wait() => true,
            () = tokio::time::sleep_until(last) => false,
            () = self.abort.cancelled() => false,
        };
        if !served {
            tracing::warn!(note = "some connections did not end in time", "shutdown.unserved");
        }
        self.spool.close().await;
        self.spans.close(&self.abort).await;
        self.log.flush();
        tracing::info!("shutdown.ended");
    }
}

/// Opens the spool where the configuration says that it is.
#[cfg_attr(not(feature = "nats"), expect(clippy::unused_async, reason = "the spool in NATS is opened by waiting"))]
async fn open_spool(settings: &Settings, metrics: &Metrics) -> Result<Arc<dyn Spool>, StartError> {
    let crate::config::Spool { place, bytes_max, dead_letter_retention } = &settings.spool;
    metrics.set_spool_max(if matches!(place, SpoolPlace::Disk(_)) { "disk" } else { "nats" }, *bytes_max);
    match place {
        SpoolPlace::Disk(path) => {
            let commits = metrics.spool_commits();
            let options = Options {
                bytes_max: *bytes_max,
                dead_letter_retention: *dead_letter_retention,
                commit_seen: Box::new(move |duration: Duration| commits.observe(duration.as_secs_f64())),
                ..Options::new(path)
            };
            let spool = DiskSpool::open(options)?;
            let Found { pending, dead, dropped } = spool.found();
            tracing::info!(pending, dead_letters = dead, dead_letters_dropped = dropped, "spool.opened");
            Ok(Arc::new(spool))
        }
        #[cfg(feature = "nats")]
        SpoolPlace::Nats(place) => {
            let mut tls = (*tls_config(None, &place.tls)?).clone();
            tls.alpn_protocols.clear();
            let options = nats::Options {
                bytes_max: *bytes_max,
                dead_letter_retention: *dead_letter_retention,
                event_bytes_max: settings.ingest.body_bytes_max,
                tls: Some(tls),
                ..nats::Options::new(Nats::clone(place))
            };
            let spool = nats::NatsSpool::open(options).await?;
            let (pending, dead) =
                spool.backlog().iter().fold((0, 0), |(pending, dead), one| (pending + one.pending, dead + one.dead));
            tracing::info!(stream = %place.stream, pending, dead_letters = dead, "spool.opened");
            Ok(Arc::new(spool))
        }
        #[cfg(not(feature = "nats"))]
        // The configuration says so before.
        SpoolPlace::Nats(_) => Err(StartError::Config),
    }
}

/// Binds ingest, admin and metrics.
async fn bind_all(settings: &Settings) -> Result<[Listener; 3], StartError> {
    let Settings { ingest, admin, metrics, .. } = settings;
    Ok([
        bind("ingest.listen", &ingest.listen, ingest.socket_mode).await?,
        bind("admin.listen", &admin.listen, admin.socket_mode).await?,
        bind("metrics.listen", &metrics.listen, SOCKET_MODE).await?,
    ])
}

async fn bind(setting: &'static str, listen: &Listen, socket_mode: u32) -> Result<Listener, StartError> {
    let address = || match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    Listener::bind(listen, socket_mode).await.map_err(|error| StartError::Bind { setting, address: address(), error })
}

/// Who may connect to a listener's Unix socket: those on the list that is in force.
fn peers(live: &Reader, key: &'static str, list: fn(&Settings) -> &[u32]) -> Peers {
    let live = live.clone();
    Peers::allowed(key, move |own, uid| is_allowed(list(&live.borrow().snapshot.settings), own, uid))
}

/// Brings the spool's gauges up to date until `stop`.
async fn keep_gauges(metrics: Arc<Metrics>, spool: Arc<dyn Spool>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(GAUGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => set_gauges(&metrics, spool.as_ref()),
        }
    }
}

fn set_gauges(metrics: &Metrics, spool: &dyn Spool) {
    let now = Timestamp::now();
    for backlog in spool.backlog() {
        let oldest =
            backlog.oldest_pending.map(|then| Duration::try_from(now.duration_since(then)).unwrap_or_default());
        metrics.set_backlog(&backlog.webhook, backlog.pending, backlog.dead, oldest);
    }
    metrics.set_spool(spool.bytes(), spool.away().is_none());
}

/// The metrics listener: `/metrics`, `/livez`, `/readyz`. Read-only and without secrets, so it needs no token, and asks neither
/// for a `Host` nor who is behind a socket: probes and Prometheus come from elsewhere and under any name.
struct Page {
    metrics: Arc<Metrics>,
    spool: Arc<dyn Spool>,
    ready: Arc<AtomicBool>,
}

impl Page {
    fn answer(&self, request: &Request<Body>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Problem::method_not_allowed("GET").into();
        }
        match request.uri().path() {
            "/metrics" => self.scrape(),
            "/livez" => text("ok\n"),
            "/readyz" if !self.ready.load(Ordering::Acquire) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the sidecar is closing").into()
            }
            "/readyz" => match self.spool.away() {
                None => text("ready\n"),
                Some(fault) => {
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("the spool is away: {fault}")).into()
                }
            },
            _ => Problem::new(StatusCode::NOT_FOUND, "there are GET /metrics, /livez and /readyz").into(),
        }
    }

    fn scrape(&self) -> Answer {
        set_gauges(&self.metrics, self.spool.as_ref());
        match self.metrics.encode() {
            Ok(page) => {
                let mut answer = Answer::new(Full::new(Bytes::from(page)));
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, format);
                answer
            }
            Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into(),
        }
    }
}

fn text(body: &'static str) -> Answer {
    let mut answer = Answer::new(Full::new(Bytes::from_static(body.as_bytes())));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_main_task_that_panics_is_no_good_end() {
        let addresses = Addresses { ingest: String::new(), admin: String::new(), metrics: String::new() };
        let running = |serve| Running { addresses: addresses.clone(), serve };
        assert!(running(tokio::spawn(async {})).ended().await.is_ok());
        let panics = tokio::spawn(async { panic!("as a test wants it") });
        assert!(running(panics).ended().await.is_err());
    }
}
