//! Stamps: what the file system says about files without opening them. Two that differ are a hint, and two that are equal are
//! none only if nothing had just been written when the first was taken.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Times of files that are younger than this may stay what they are at the next write: clocks of file systems are coarse, up to
/// two seconds.
const RACY: Duration = Duration::from_secs(2);

/// What was found at some paths: device, inode, size and times behind all links, or why there is nothing; of folders the names of
/// the definitions in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    sum: u64,
    /// Whether a file was so young that a write after the stamp might not show.
    racy: bool,
}

impl Stamp {
    /// Looks at the paths. It may take as long as the file system does.
    pub(super) fn take(paths: &BTreeSet<PathBuf>) -> Self {
        Self::take_at(paths, SystemTime::now())
    }

    fn take_at(paths: &BTreeSet<PathBuf>, now: SystemTime) -> Self {
        let mut hasher = DefaultHasher::new();
        let mut youngest = i64::MIN;
        for path in paths {
            path.hash(&mut hasher);
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => names(path).hash(&mut hasher),
                Ok(found) => {
                    identity(&found).hash(&mut hasher);
                    youngest = youngest.max(found.ctime());
                }
                Err(error) => error.kind().hash(&mut hasher),
            }
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let old = i64::try_from(now.saturating_sub(RACY).as_secs()).unwrap_or(i64::MAX);
        Self { sum: hasher.finish(), racy: youngest >= old }
    }

    /// Whether both saw the same.
    pub(super) fn is_same(self, other: Self) -> bool {
        self.sum == other.sum
    }

    /// Whether a later stamp that is the same proves that nothing was written since this one.
    pub(super) fn proves(self) -> bool {
        !self.racy
    }
}

/// The change time cannot be set back, as the time of the last write can.
fn identity(found: &Metadata) -> [u64; 7] {
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()].map(i64::cast_unsigned);
    let [written, written_nanos, changed, changed_nanos] = times;
    [found.dev(), found.ino(), found.size(), written, written_nanos, changed, changed_nanos]
}

/// What may be a definition: what editors and Kubernetes put beside them is of no interest.
fn names(folder: &Path) -> Result<BTreeSet<PathBuf>, std::io::ErrorKind> {
    let entries = fs::read_dir(folder).map_err(|error| error.kind())?;
    let names = entries.filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())));
    Ok(names.filter(|name| name.extension().is_some_and(|extension| extension == "toml")).collect())
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::os::unix::fs::symlink;
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_change_shows_also_behind_links_and_with_the_time_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("v1")).unwrap();
        fs::create_dir_all(root.join("v2")).unwrap();
        fs::create_dir_all(root.join("webhooks")).unwrap();
        fs::write(root.join("v1/a"), "one").unwrap();
        fs::write(root.join("v2/a"), "one").unwrap();
        symlink("v1", root.join("data")).unwrap();
        let paths = BTreeSet::from([root.join("data/a"), root.join("webhooks"), root.join("missing")]);
        let was = fs::metadata(root.join("v1/a")).unwrap().modified().unwrap();
        let restored = |text: &str| {
            fs::write(root.join("v1/a"), text).unwrap();
            let file = fs::File::options().write(true).open(root.join("v1/a")).unwrap();
            file.set_times(FileTimes::new().set_modified(was)).unwrap();
        };
        let changes: [(&str, &dyn Fn()); 6] = [
            ("another size", &|| fs::write(root.join("v1/a"), "three").unwrap()),
            ("another text of that size, and the time set back", &|| restored("seven")),
            ("a link turned", &|| {
                symlink("v2", root.join("next")).unwrap();
                fs::rename(root.join("next"), root.join("data")).unwrap();
            }),
            ("a new definition", &|| fs::write(root.join("webhooks/b.toml"), "").unwrap()),
            ("what was missing", &|| fs::write(root.join("missing"), "").unwrap()),
            ("a removal", &|| fs::remove_file(root.join("v2/a")).unwrap()),
        ];
        // The clock of a file system stands still for some milliseconds, and then a change does not show.
        let tick = || {
            let written = |name: &str| {
                fs::write(root.join(name), "").unwrap();
                let found = fs::metadata(root.join(name)).unwrap();
                (found.ctime(), found.ctime_nsec())
            };
            let (first, begun) = (written("clock"), Instant::now());
            while written("clock") == first {
                assert!(begun.elapsed() < Duration::from_secs(20), "the clock stands still");
            }
        };
        for (what, change) in changes {
            let before = Stamp::take(&paths);
            tick();
            assert!(before.is_same(Stamp::take(&paths)), "before: {what}");
            change();
            assert!(!before.is_same(Stamp::take(&paths)), "{what}");
        }
    }

    #[test]
    fn what_has_just_been_written_proves_nothing_and_editors_files_are_no_definitions() {
        let dir = tempfile::tempdir().unwrap();
        let folder = BTreeSet::from([dir.path().to_owned()]);
        let before = Stamp::take(&folder);
        for name in [".a.toml.swp", "a.toml~", "4913", "..data_tmp"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(before.is_same(Stamp::take(&folder)) && before.proves());
        fs::write(dir.path().join("a.toml"), "").unwrap();
        assert!(!before.is_same(Stamp::take(&folder)));
        let file = BTreeSet::from([dir.path().join("a.toml")]);
        assert!(!Stamp::take(&file).proves());
        assert!(Stamp::take_at(&file, SystemTime::now() + RACY * 2).proves());
    }
}
