//! Reload: a hint that files changed → load all → publish one Snapshot, or keep the old one and say why.
//!
//! Hints are file events on the folders of everything that the configuration names, and SIGHUP. They say "look again" and
//! nothing else: the content decides. All that can fail comes before the one store that publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Routes};
use crate::config::{Loaded, Loader, Snapshot};
use crate::live::Live;
use crate::metrics::{Metrics, Reloaded};

/// A load begins when no hint came for this long,
const QUIET: Duration = Duration::from_millis(50);
/// and at the latest this long after the first hint.
const PATIENCE: Duration = Duration::from_millis(300);
/// Symbolic links that are followed on the way to one file, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// The folders that are watched, each with the device and inode that its path led to.
type Folders = BTreeMap<PathBuf, (u64, u64)>;

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
    /// What loaded the configuration in force, and loads it again.
    pub loader: Loader,
    /// The one store.
    pub publisher: watch::Sender<Arc<Live>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Connections that are led elsewhere, for `demo`.
    pub routes: Routes,
    /// The files and folders whose changes count.
    pub watched: BTreeSet<PathBuf>,
}

impl Reload {
    /// Reloads on every hint until `stop`.
    pub async fn run(mut self, hints: Hints, mut hinted: mpsc::Receiver<()>, stop: CancellationToken) {
        let mut watcher = watcher(&hints);
        let mut folders = Folders::new();
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
            // A folder that was replaced is watched before it is read: what changes after the look is the next hint.
            watch_folders(watcher.as_mut(), &mut folders, &self.watched);
            // The loader goes to the thread that reads and compiles, and comes back; one that panicked is not used again.
            let anew = Loader::new(self.loader.source().clone());
            let mut loader = std::mem::replace(&mut self.loader, anew);
            let loaded = tokio::select! {
                // A file system that hangs is no reason to stay.
                () = stop.cancelled() => return,
                loaded = tokio::task::spawn_blocking(move || (loader.load(), loader)) => loaded,
            };
            let Ok((loaded, loader)) = loaded else {
                tracing::error!("the configuration could not be loaded: the loader panicked; the one in force is kept");
                self.metrics.reloaded(Reloaded::Refused, Timestamp::now());
                continue;
            };
            self.loader = loader;
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
                tracing::error!(file = %diagnostic.file, "{}", diagnostic.for_log());
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
        ("admin.listen", old.admin.listen != new.admin.listen),
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

/// Brings the watched folders up to date; `true` when one is new. A folder is watched and never a file: editors and
/// Kubernetes replace files, and a watch on what was replaced is dead.
fn watch_folders(watcher: Option<&mut RecommendedWatcher>, folders: &mut Folders, files: &BTreeSet<PathBuf>) -> bool {
    let Some(watcher) = watcher else { return false };
    let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| folders_of(file)).collect();
    let wanted: Folders =
        wanted.into_iter().filter_map(|folder| identity(&folder).map(|identity| (folder, identity))).collect();
    for (gone, _) in folders.iter().filter(|(folder, identity)| wanted.get(*folder) != Some(*identity)) {
        // The folder may be gone itself, and its watch with it.
        let _ = watcher.unwatch(gone);
    }
    let known = std::mem::take(folders);
    for (folder, identity) in wanted {
        // Also those that are watched already: two paths may lead to one folder, and share the watch that went with one of
        // them; a folder made anew may have its predecessor's inode.
        if watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
            folders.insert(folder, identity);
        }
    }
    folders.iter().any(|(folder, identity)| known.get(folder) != Some(identity))
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir).map(|found| (found.dev(), found.ino()))
}

/// The folders whose entries decide what stands at a path: the one that it lies in (or is), the nearest one that exists
/// when it is missing, and that of every symbolic link on the way.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut ways: Vec<PathBuf> = std::path::absolute(path).into_iter().collect();
    for _ in 0..LINKS_MAX {
        let Some(way) = ways.pop() else { break };
        folders.extend(way.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned));
        // The last link alone: the way that it leads to has the others.
        let link = way.ancestors().find_map(|name| Some((name, name.parent()?, std::fs::read_link(name).ok()?)));
        if let Some((name, folder, target)) = link {
            folders.insert(folder.to_owned());
            let rest = way.strip_prefix(name).unwrap_or(Path::new(""));
            let led = folder.join(target);
            ways.push(if rest.as_os_str().is_empty() { led } else { led.join(rest) });
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_to_a_file_is_watched_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["mount/..v1", "config"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("mount/..v1/a.toml"), "").unwrap();
        symlink("..v1", root.join("mount/..data")).unwrap();
        symlink("../mount/..data/a.toml", root.join("config/a.toml")).unwrap();
        let found: BTreeSet<PathBuf> =
            folders_of(&root.join("config/a.toml")).iter().map(|folder| folder.canonicalize().unwrap()).collect();
        let expected = ["config", "mount", "mount/..v1"].map(|folder| root.join(folder));
        assert_eq!(found, BTreeSet::from(expected));
    }

    #[test]
    fn what_is_missing_is_awaited_in_the_nearest_folder_and_a_folder_in_itself() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(folders_of(&root.join("config/webhooks")), BTreeSet::from([root.to_owned()]));
        std::fs::create_dir_all(root.join("config/webhooks")).unwrap();
        assert_eq!(folders_of(&root.join("config/webhooks")), BTreeSet::from([root.join("config/webhooks")]));
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(folders_of(&dir.path().join("a")), BTreeSet::from([dir.path().to_owned()]));
    }
}
