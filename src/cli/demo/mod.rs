//! `outrigger demo`: the shipped configuration, unchanged, against local TLS receivers that answer as the real ones do.
//!
//! A private authority is made on the spot, and connections for the webhooks' host names are led to the receivers. All else
//! is the sidecar as `run` starts it: its own ingest listener, spool, dispatch and metrics.

pub mod answer;
pub mod authority;
#[cfg(test)]
mod exchange;
mod post;
pub mod receiver;
mod report;
#[cfg(test)]
mod reuse;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::{Addresses, Start, start};
use crate::cli::run::runtime;
use crate::cli::{BAD_CONFIG, Folder, NO};
use crate::client::Routes;
use crate::config::{Loader, Snapshot, Source, hide_typed};
use crate::log::Log;
use crate::reload::Hints;
use crate::supervisor::Supervisor;

use authority::Authority;
use targets::Targets;

/// The Slack URL of the demo: well-formed, and nobody's.
const SLACK_URL: &str = "https://hooks.slack.com/services/T00000000/B00000000/demo";

/// Show the main job: the configuration in DIR against local TLS receivers
#[derive(Debug, Args)]
#[command(after_help = "Nothing leaves this machine: connections to the webhooks' hosts go to receivers on loopback.")]
pub(super) struct Demo {
    #[command(flatten)]
    folder: Folder,
    /// Leave the sidecar and its receivers running, and print commands to try
    #[arg(long)]
    keep: bool,
}

impl Demo {
    /// Runs the demo; 0 when everything went as it should.
    pub(super) fn run(&self) -> ExitCode {
        demo(&self.folder.dir, self.keep)
    }
}

fn demo(dir: &Path, keep: bool) -> ExitCode {
    let work = std::env::temp_dir().join(format!("outrigger-demo-{}", Uuid::now_v7().as_simple()));
    let outcome = std::fs::create_dir_all(&work)
        .context("no temporary folder")
        .and_then(|()| runtime().context("no runtime"))
        .and_then(|runtime| runtime.block_on(show(dir, &work, keep)));
    // A temporary folder that cannot be removed is the system's to clean.
    let _ = std::fs::remove_dir_all(&work);
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("outrigger: the demo could not be shown: {error:#}");
            ExitCode::from(NO)
        }
    }
}

async fn show(dir: &Path, work: &Path, keep: bool) -> anyhow::Result<ExitCode> {
    let authority = Authority::new()?;
    let ca_file = work.join("ca.pem");
    std::fs::write(&ca_file, authority.ca_pem())?;
    let mut loader = Loader::new(source(dir, work, &ca_file));
    let mut loaded = loader.load();
    let Some(snapshot) = &loaded.snapshot else {
        hide_typed(loader.source(), &mut loaded.diagnostics);
        for diagnostic in &loaded.diagnostics {
            eprintln!("{diagnostic}");
        }
        eprintln!(
            "outrigger: the demo runs the configuration in {}; run it where that is, or say --config",
            dir.display()
        );
        return Ok(ExitCode::from(BAD_CONFIG));
    };
    let events = post::events(dir, snapshot)?;
    println!(
        "Outrigger {} with the {} webhooks of {}:",
        env!("CARGO_PKG_VERSION"),
        snapshot.webhooks.len(),
        dir.display()
    );
    introduce(snapshot);
    let targets = Targets::start(&authority, snapshot).await?;
    let routes = Routes { hosts: targets.routes(), ..Routes::default() };
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let running = start(Start {
        loader,
        loaded,
        routes,
        hints: Hints::new(),
        supervisor: Supervisor::default(),
        log: Log::new(tracing::Level::INFO),
        stop: stop.clone(),
        abort,
    })
    .await?;
    let addresses = running.addresses.clone();
    println!(
        "\ningest listens on {}, metrics on {}, the page on {}/",
        addresses.ingest, addresses.metrics, addresses.admin
    );
    println!("\nPosting {} events. What the receivers see:\n", events.len());

    let before = post::scrape(&addresses.metrics).await?;
    let rows = post::all(&addresses.ingest, events).await?;
    let after = post::scrape(&addresses.metrics).await?;
    report::table(&rows);
    report::changed_metrics(&before, &after);
    let faults = report::faults(&rows, &after);
    if keep {
        offer(dir, &addresses);
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended?,
            _ = terminate.recv() => {}
        }
    }
    stop.cancel();
    running.ended().await?;
    drop(targets);
    if faults.is_empty() {
        println!("\nAll went as it should.");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("outrigger: not as it should be: {}", faults.join("; "));
    Ok(ExitCode::from(NO))
}

/// The configuration as it is, with made-up secrets, free ports and a spool of its own.
fn source(dir: &Path, work: &Path, ca_file: &Path) -> Source {
    let set = |key: &str, value: String| (key.to_owned(), value);
    Source {
        env: Arc::new(|name: &str| match name {
            "SLACK_WEBHOOK_URL" => Some(SLACK_URL.to_owned()),
            // The process's own settings are not the demo's.
            name if name.starts_with("OUTRIGGER_") => None,
            name => Some(format!("demo-{}", name.to_ascii_lowercase().replace('_', "-"))),
        }),
        overrides: vec![
            set("ingest.listen", "127.0.0.1:0".to_owned()),
            set("admin.listen", "127.0.0.1:0".to_owned()),
            set("metrics.listen", "127.0.0.1:0".to_owned()),
            // What waits for real receivers is not for those of the demo.
            set("spool.kind", "disk".to_owned()),
            set("spool.path", work.join("spool").display().to_string()),
            set("egress.ca_file", ca_file.display().to_string()),
        ],
        cold_start: true,
        ..Source::new(PathBuf::from(dir))
    }
}

fn introduce(snapshot: &Snapshot) {
    for webhook in snapshot.webhooks.values() {
        let title = webhook.title.as_deref().unwrap_or_default();
        println!("  {:<16} {:<6} https://{}  {title}", webhook.name, webhook.method.as_str(), webhook.url.host);
    }
}

/// What to try while the demo goes on.
fn offer(dir: &Path, addresses: &Addresses) {
    let (events, ingest, metrics, admin) =
        (dir.join("events"), &addresses.ingest, &addresses.metrics, &addresses.admin);
    let events = events.display();
    println!("\nThe sidecar and its receivers go on until Ctrl-C. Try:\n");
    println!("  curl -s --json @{events}/request-granted.json '{ingest}/v1/events?wait=10s'");
    println!("  curl -s --json @{events}/oort-failed-check.json {ingest}/v1/events/oort");
    println!("  curl -s {metrics}/metrics | grep outrigger_deliveries_total");
    println!("  {admin}/ in a browser: the page, with all that has happened");
}
