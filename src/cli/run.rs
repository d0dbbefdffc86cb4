//! `outrigger run`: the sidecar, until SIGTERM.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{Addresses, Running, Start, start};
use crate::cli::{BAD_CONFIG, Folder, NO};
use crate::client::Routes;
use crate::config::{Loaded, Loader, Source, SpoolPlace, hide_typed};
use crate::log::Log;
use crate::reload::Hints;
use crate::spool::{self, OpenError, Recovered};
use crate::supervisor::{self, Supervisor};

/// Run the sidecar until SIGTERM, or POST /-/quit on the admin listener
#[derive(Debug, Args)]
#[command(after_help = "SIGHUP reloads. SIGTERM or SIGINT drains within shutdown.grace; a second one ends at once.\n\
    A key of a table of outrigger.toml is also a variable: OUTRIGGER_SPOOL_PATH=/data sets spool.path.")]
pub(super) struct Run {
    #[command(flatten)]
    folder: Folder,
    /// ingest.listen: ADDRESS:PORT (port 0: any free one) or unix:PATH
    #[arg(long, value_name = "LISTEN")]
    listen_ingest: Option<String>,
    /// admin.listen
    #[arg(long, value_name = "LISTEN")]
    listen_admin: Option<String>,
    /// metrics.listen
    #[arg(long, value_name = "LISTEN")]
    listen_metrics: Option<String>,
    /// log.level: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Look through the spool first, and save what can be read of it if it is damaged
    #[arg(long)]
    recover: bool,
}

impl Run {
    pub(super) fn run(&self) -> ExitCode {
        let flags = [
            ("ingest.listen", &self.listen_ingest),
            ("admin.listen", &self.listen_admin),
            ("metrics.listen", &self.listen_metrics),
            ("log.level", &self.log_level),
        ];
        let overrides = flags.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value).clone()?))).collect();
        run(Source { overrides, cold_start: true, ..Source::new(&self.folder.dir) }, self.recover)
    }
}

/// Lets the process have as many files open as it may: every connection is one, and the limit that a process starts with is meant for
/// programs that ask for the set of files that are ready.
fn allow_files() {
    let limits = getrlimit(Resource::Nofile);
    // What it cannot have it has to do without: listeners wait then until a connection has ended.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}

/// Runs until a signal ends it.
fn run(source: Source, recover: bool) -> ExitCode {
    allow_files();
    let mut loader = Loader::new(source);
    let mut loaded = loader.load();
    let seen = std::io::stderr().is_terminal();
    hide_typed(loader.source(), &mut loaded.diagnostics);
    for diagnostic in &loaded.diagnostics {
        // What nobody sits before is kept in a log, where the lines of a file must not be.
        if seen { eprintln!("{diagnostic}") } else { eprintln!("{}", diagnostic.for_log()) }
    }
    let Some(snapshot) = &loaded.snapshot else {
        eprintln!("outrigger: the configuration in {} has faults; nothing was started", loader.source().dir.display());
        return ExitCode::from(BAD_CONFIG);
    };
    let log = Log::start(&snapshot.settings.log);
    if recover {
        match &snapshot.settings.spool.place {
            SpoolPlace::Disk(path) => {
                if let Err(error) = recover_spool(path) {
                    eprintln!("outrigger: {error}");
                    return ExitCode::from(NO);
                }
            }
            SpoolPlace::Nats(_) => {
                eprintln!("outrigger: --recover is for the spool on the disk: what is in NATS its servers keep");
                return ExitCode::from(NO);
            }
        }
    }
    let ended = block_on(serve(loader, loaded, log)).map_err(anyhow::Error::from).flatten();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error:#}");
            ExitCode::from(NO)
        }
    }
}

/// Saves what can be saved of a damaged spool, and says what could not.
fn recover_spool(path: &Path) -> Result<(), OpenError> {
    let Some(recovered) = spool::recover(path)? else {
        tracing::info!(note = "the spool is not damaged", "spool.sound");
        return Ok(());
    };
    let Recovered { pending, dead, pending_lost, dead_lost, kept } = recovered;
    tracing::warn!(
        pending, dead_letters = dead, pending_lost, dead_letters_lost = dead_lost, damaged_file = %kept.display(), "spool.recovered"
    );
    let lost = |count: Option<u64>| count.map_or("an unknown number".to_owned(), |count| count.to_string());
    eprintln!(
        "outrigger: the spool was damaged: {pending} pending deliveries and {dead} dead letters were saved; {} pending and {} dead could \
         not be read. The damaged file is kept as {}",
        lost(pending_lost),
        lost(dead_lost),
        kept.display()
    );
    Ok(())
}

async fn serve(loader: Loader, loaded: Loaded, log: Log) -> anyhow::Result<()> {
    // Signals are asked for first, so that one that comes during the start is not the end of the process.
    let signals = Signals::new()?;
    let hints = Hints::new();
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(signals.watch(hints.0.clone(), stop.clone(), abort.clone()));
    let webhooks = loaded.snapshot.as_ref().map_or(0, |snapshot| snapshot.webhooks.len());
    let routes = Routes::default();
    let supervisor = Supervisor::at(std::env::var_os(supervisor::VARIABLE)).unwrap_or_else(|error| {
        tracing::warn!(%error, note = "NOTIFY_SOCKET names no socket: who started this process does not hear how it goes", "supervisor.absent");
        Supervisor::default()
    });
    let running = start(Start { loader, loaded, routes, hints, supervisor, log, stop, abort }).await?;
    announce(&running, webhooks);
    Ok(running.ended().await?)
}

/// The bound addresses, in the log and on standard output, where scripts and people find the port behind a 0.
fn announce(running: &Running, webhooks: usize) {
    let mut out = std::io::stdout().lock();
    let Addresses { ingest, admin, metrics } = &running.addresses;
    for (listener, address) in [("ingest", ingest), ("admin", admin), ("metrics", metrics)] {
        tracing::info!(listener, address, "server.listening");
        // Nobody has to read it.
        let _ = writeln!(out, "{listener} listens on {address}");
    }
    let _ = out.flush();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), webhooks, "sidecar.ready");
}

/// Runs a future to its end, and with it the process.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = runtime()?;
    let output = runtime.block_on(future);
    // Resolving a name cannot be broken off: a name server that does not answer would hold the end up for its half minute.
    runtime.shutdown_background();
    Ok(output)
}

/// Threads that serve and deliver, unless `TOKIO_WORKER_THREADS` says otherwise.
const THREADS_MAX: usize = 4;

/// One thread where there are few processors, else a few. The spool's writer has another one; threads that hand each event over to each
/// other cost more than they gain while one is enough.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // As tokio names it itself.
    let asked = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|asked| asked.parse().ok());
    let threads =
        asked.unwrap_or_else(|| match std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            1 | 2 => 1,
            processors => processors.min(THREADS_MAX),
        });
    match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// SIGHUP reloads; the first SIGTERM or SIGINT drains, the second ends at once. Signals alone count: where somebody asked
    /// for the end by `POST /-/quit`, the first one lets the drain go on.
    async fn watch(mut self, hints: Hints, stop: CancellationToken, abort: CancellationToken) {
        let mut signalled = false;
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    // What the look comes to stands in the log. Refused means that others ask, or that the end has begun.
                    let _ = hints.request();
                    continue;
                }
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if signalled {
                abort.cancel();
                return;
            }
            signalled = true;
            stop.cancel();
        }
    }
}
