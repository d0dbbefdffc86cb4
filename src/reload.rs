//! Reload: a hint that files changed → load all → publish one Snapshot, or keep the old one and say why.
//!
//! Hints are file events on the folders of everything that the configuration names, and SIGHUP. They say "look again" and
//! nothing else: the content decides. All that can fail comes before the one store that publishes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Routes};
use crate::config::{Loaded, Snapshot, Source, load};
use crate::live::Live;
use crate::metrics::{Metrics, Reloaded};

/// A load begins when no hint came for this long,
const QUIET: Duration = Duration::from_millis(50);
/// and at the latest this long after the first hint.
const PATIENCE: Duration = Duration::from_millis(300);

/// Asks for a look at the files. More than one waiting means the same as one.
#[derive(Clone)]
pub struct Hints(mpsc::Sender<()>);

impl Hints {
    /// The sender and its receiver, which holds one hint at most.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<()>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// Look again.
    pub fn look(&self) {
        // A full channel holds a hint already.
        let _ = self.0.try_send(());
    }
}

/// What publishes.
pub struct Reload {
    /// Where the configuration comes from.
    pub source: Source,
    /// The one store.
    pub publisher: watch::Sender<Arc<Live>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Connections that are led elsewhere, for `demo`.
    pub routes: Routes,
    /// The folders to watch.
    pub watched: BTreeSet<PathBuf>,
}

impl Reload {
    /// Reloads on every hint until `stop`.
    pub async fn run(mut self, hints: Hints, mut hinted: mpsc::Receiver<()>, stop: CancellationToken) {
        let mut watcher = watcher(&hints);
        let mut folders = BTreeSet::new();
        // What changed between the first load and the first watch would be missed without a look.
        if watch_folders(watcher.as_mut(), &mut folders, &self.watched) {
            hints.look();
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                hint = hinted.recv() => if hint.is_none() { return },
            }
            quiet(&mut hinted).await;
            let source = self.source.clone();
            let Ok(loaded) = tokio::task::spawn_blocking(move || load(&source)).await else {
                tracing::error!("the configuration could not be loaded: the loader panicked; the one in force is kept");
                self.metrics.reloaded(Reloaded::Refused, Timestamp::now());
                continue;
            };
            self.watched.clone_from(&loaded.watched);
            if watch_folders(watcher.as_mut(), &mut folders, &self.watched) {
                hints.look();
            }
            let result = self.publish(loaded);
            self.metrics.reloaded(result, Timestamp::now());
        }
    }

    /// Publishes what was loaded, if it is good and differs.
    fn publish(&self, loaded: Loaded) -> Reloaded {
        let current = Arc::clone(&self.publisher.borrow());
        let Some(snapshot) = loaded.snapshot else {
            for diagnostic in &loaded.diagnostics {
                tracing::error!(file = %diagnostic.file, "{diagnostic}");
            }
            tracing::error!(faults = loaded.diagnostics.len(), generation = current.generation, "config.refused");
            return Reloaded::Refused;
        };
        if snapshot.is_same(&current.snapshot) {
            return Reloaded::Unchanged;
        }
        let client = if snapshot.settings.egress == current.snapshot.settings.egress {
            Arc::clone(&current.client)
        } else {
            match Client::new(&snapshot.settings.egress, self.routes.clone()) {
                Ok(client) => Arc::new(client),
                Err(error) => {
                    tracing::error!(%error, "config.refused");
                    return Reloaded::Refused;
                }
            }
        };
        for setting in restart_settings(&current.snapshot, &snapshot) {
            tracing::warn!(setting, "this setting takes a restart; its old value stays in force");
        }
        let live = Live::new(snapshot, current.generation + 1, client, &self.metrics);
        let (added, changed, removed) = differences(&current.snapshot, &live.snapshot);
        tracing::info!(generation = live.generation, ?added, ?changed, ?removed, "config.published");
        self.publisher.send_replace(Arc::new(live));
        Reloaded::Published
    }
}

/// Waits until hints have stopped coming, or long enough.
async fn quiet(hinted: &mut mpsc::Receiver<()>) {
    let latest = Instant::now() + PATIENCE;
    while Instant::now() < latest {
        if tokio::time::timeout(QUIET, hinted.recv()).await.is_err() {
            return;
        }
    }
}

/// Webhooks that were added, changed and removed, by name.
fn differences<'s>(old: &'s Snapshot, new: &'s Snapshot) -> (Vec<&'s str>, Vec<&'s str>, Vec<&'s str>) {
    let mut added = Vec::new();
    let mut changed = Vec::new();
    for (name, webhook) in &new.webhooks {
        match old.webhooks.get(name) {
            None => added.push(name.as_ref()),
            Some(known) if known.fingerprint != webhook.fingerprint => changed.push(name.as_ref()),
            Some(_) => {}
        }
    }
    let removed = old.webhooks.keys().filter(|name| !new.webhooks.contains_key(*name)).map(AsRef::as_ref).collect();
    (added, changed, removed)
}

/// The settings that differ and that a running process cannot change.
fn restart_settings(old: &Snapshot, new: &Snapshot) -> Vec<&'static str> {
    let (old, new) = (&old.settings, &new.settings);
    let differs = [
        ("ingest.listen", old.ingest.listen != new.ingest.listen),
        ("metrics.listen", old.metrics != new.metrics),
        ("spool", old.spool != new.spool),
        ("shutdown", old.shutdown != new.shutdown),
        ("log", old.log != new.log),
    ];
    differs.into_iter().filter_map(|(setting, differs)| differs.then_some(setting)).collect()
}

/// A watcher whose every event is a hint. Without one, SIGHUP still reloads.
fn watcher(hints: &Hints) -> Option<RecommendedWatcher> {
    let hints = hints.clone();
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| event.kind.is_access()) {
            hints.look();
        }
    })
    .inspect_err(|error| tracing::error!(%error, "files cannot be watched: send SIGHUP after an edit"))
    .ok()
}

/// Brings the watched folders up to date; `true` when one was added. A folder is watched and never a file: editors and
/// Kubernetes replace files, and a watch on what was replaced is dead.
fn watch_folders(
    watcher: Option<&mut RecommendedWatcher>,
    folders: &mut BTreeSet<PathBuf>,
    files: &BTreeSet<PathBuf>,
) -> bool {
    let Some(watcher) = watcher else { return false };
    let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| folders_of(file)).collect();
    for gone in folders.difference(&wanted) {
        // The folder may be gone itself, and its watch with it.
        let _ = watcher.unwatch(gone);
    }
    folders.retain(|folder| wanted.contains(folder));
    let mut added = false;
    for folder in wanted {
        if !folders.contains(&folder) && watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
            folders.insert(folder);
            added = true;
        }
    }
    added
}

/// The folder in which a file's name stands, and the one in which the file itself lies when the name is a link.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let named = if file.is_dir() { Some(file.to_owned()) } else { file.parent().map(Path::to_owned) };
    let real = std::fs::canonicalize(file)
        .ok()
        .and_then(|real| if real.is_dir() { Some(real) } else { real.parent().map(Path::to_owned) });
    named.into_iter().chain(real).filter(|folder| folder.is_dir()).collect()
}
