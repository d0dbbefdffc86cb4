//! Watching: every folder whose entries decide what stands at the configuration's paths. Folders and never files: editors and
//! Kubernetes replace files, and a watch on what was replaced is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::reload::hints::Hints;

/// Symbolic links that are followed on the way to one file, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// The folders that are watched, each with the device and inode that its path led to.
type Folders = BTreeMap<PathBuf, (u64, u64)>;

/// A watcher whose every event is a hint. Where it cannot be had, or a folder cannot be watched, it is tried again each time; the
/// poll finds meanwhile what it would have told.
pub(super) struct Watch {
    hints: Hints,
    watcher: Option<RecommendedWatcher>,
    folders: Folders,
    /// What is wrong with it, as it was last told.
    fault: Option<String>,
}

impl Watch {
    pub(super) fn new(hints: Hints) -> Self {
        Self { hints, watcher: None, folders: Folders::new(), fault: None }
    }

    /// Watches the folders of these files, and no others. Files are to be read after it: what changes then is the next hint.
    pub(super) fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        // The watcher panics where its thread has ended, also when it is dropped.
        let followed = catch_unwind(AssertUnwindSafe(|| self.try_follow(files)));
        let fault = followed.unwrap_or_else(|_| {
            self.folders.clear();
            let _ = catch_unwind(AssertUnwindSafe(|| self.watcher = None));
            Some("the watcher has ended".to_owned())
        });
        if fault != self.fault {
            if let Some(fault) = &fault {
                tracing::error!(
                    fault,
                    note = "files cannot be watched: edits are found by config.poll or SIGHUP alone",
                    "config.unwatched"
                );
            } else {
                tracing::info!(note = "all files are watched again", "config.watched");
            }
            self.fault = fault;
        }
    }

    /// Asks for another look.
    pub(super) fn look_again(&self) {
        self.hints.changed();
    }

    /// What cannot be watched, and why.
    fn try_follow(&mut self, files: &BTreeSet<PathBuf>) -> Option<String> {
        if self.watcher.is_none() {
            match watcher(self.hints.clone()) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => return Some(error.to_string()),
            }
        }
        let watcher = self.watcher.as_mut()?;
        let wanted: Folders = folders_of(files)
            .into_iter()
            .filter_map(|folder| identity(&folder).map(|identity| (folder, identity)))
            .collect();
        for (gone, _) in self.folders.iter().filter(|(folder, identity)| wanted.get(*folder) != Some(*identity)) {
            // The folder may be gone itself, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        self.folders.clear();
        let mut fault = None;
        for (folder, identity) in wanted {
            // Also those that are watched already: two paths may lead to one folder, and share the watch that went with one of
            // them; a folder made anew may have its predecessor's inode; and the watcher drops a path that it saw moved away.
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder, identity);
                }
                // One that went in this moment is a change of the folder above it.
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => fault = Some(error.to_string()),
            }
        }
        fault
    }
}

/// Also an error is a hint, and that events were lost.
fn watcher(hints: Hints) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| event.kind.is_access()) {
            hints.changed();
        }
    })
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir).map(|found| (found.dev(), found.ino()))
}

/// The folders whose entries decide what stands at the paths: the one that each lies in (or is), the nearest one that exists
/// when it is missing, and that of every symbolic link on the way.
fn folders_of(paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut ways = Ways::default();
    for path in paths {
        let Ok(mut path) = std::path::absolute(path) else { continue };
        for _ in 0..LINKS_MAX {
            let folder = match (path.parent(), std::fs::read_link(&path)) {
                (Some(folder), Ok(target)) => {
                    ways.follow(folder);
                    path = folder.join(target);
                    continue;
                }
                (Some(folder), Err(_)) if !path.is_dir() => folder,
                _ => &path,
            };
            ways.follow(folder);
            break;
        }
    }
    ways.folders
}

/// The ways to folders, each gone once: a thousand files in one folder share its way.
#[derive(Default)]
struct Ways {
    gone: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Ways {
    fn follow(&mut self, folder: &Path) {
        let mut way = folder.to_owned();
        for _ in 0..LINKS_MAX {
            if !self.gone.insert(way.clone()) {
                return;
            }
            self.folders.extend(way.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned));
            // The last link alone: the way that it leads to has the others.
            let link = way.ancestors().find_map(|name| Some((name, name.parent()?, std::fs::read_link(name).ok()?)));
            let Some((name, folder, target)) = link else { return };
            self.folders.insert(folder.to_owned());
            let rest = way.strip_prefix(name).unwrap_or(Path::new(""));
            let led = folder.join(target);
            way = if rest.as_os_str().is_empty() { led } else { led.join(rest) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folders(path: PathBuf) -> BTreeSet<PathBuf> {
        folders_of(&BTreeSet::from([path]))
    }

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
            folders(root.join("config/a.toml")).iter().map(|folder| folder.canonicalize().unwrap()).collect();
        let expected = ["config", "mount", "mount/..v1"].map(|folder| root.join(folder));
        assert_eq!(found, BTreeSet::from(expected));
    }

    #[test]
    fn what_is_missing_is_awaited_in_the_nearest_folder_and_a_folder_in_itself() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(folders(root.join("config/webhooks")), BTreeSet::from([root.to_owned()]));
        assert_eq!(folders(root.join("config/webhooks/a.toml")), BTreeSet::from([root.to_owned()]));
        std::fs::create_dir_all(root.join("config/webhooks")).unwrap();
        for path in ["config/webhooks", "config/webhooks/a.toml"] {
            assert_eq!(folders(root.join(path)), BTreeSet::from([root.join("config/webhooks")]));
        }
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        for path in ["a", "a/file"] {
            assert_eq!(folders(dir.path().join(path)), BTreeSet::from([dir.path().to_owned()]));
        }
    }

    #[test]
    fn a_folder_that_was_replaced_is_watched_after_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, other) = (dir.path().join("webhooks"), dir.path().join("other"));
        std::fs::create_dir(&folder).unwrap();
        let files = BTreeSet::from([folder.clone(), dir.path().join("outrigger.toml")]);
        let (hints, mut hinted) = Hints::new();
        let mut watch = Watch::new(hints);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut hinted = || {
            let within = std::time::Duration::from_secs(20);
            let next = async { tokio::time::timeout(within, hinted.next(&mut Vec::new())).await };
            assert_eq!(runtime.block_on(next), Ok(Some(false)));
        };
        watch.follow(&files);
        for round in 0..3 {
            std::fs::create_dir(&other).unwrap();
            hinted();
            std::fs::rename(&folder, dir.path().join(round.to_string())).unwrap();
            std::fs::rename(&other, &folder).unwrap();
            hinted();
            watch.follow(&files);
            assert_eq!(watch.folders.len(), 2);
            std::fs::write(folder.join("a.toml"), "").unwrap();
            hinted();
        }
        assert_eq!(watch.fault, None);
    }
}
