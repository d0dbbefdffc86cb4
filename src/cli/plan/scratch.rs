//! The one place where plan writes: a private temporary folder that does not outlive the command.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Only the owner may look into the folder.
const FOLDER_MODE: u32 = 0o700;
/// Only the owner may read the files.
const FILE_MODE: u32 = 0o600;
/// What a link leads to that would lead out: nothing of this name is there.
const OUTSIDE: &str = "outside of the revision";

/// A private temporary folder. It goes when it is dropped, or at [`Scratch::remove`] whoever is still writing.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Whether it was removed. Held while something is written, so that nothing is written behind the removal.
    removed: Mutex<bool>,
}

impl Scratch {
    /// Makes the folder, below the system's folder for temporary files.
    pub(super) fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("outrigger-plan-{}", Uuid::now_v7().simple()));
        fs::DirBuilder::new().mode(FOLDER_MODE).create(&path)?;
        Ok(Self { path, removed: Mutex::new(false) })
    }

    /// Where a relative path lies in it.
    pub(super) fn path(&self, inner: &Path) -> PathBuf {
        self.path.join(inner)
    }

    /// Makes a folder, with those above it.
    pub(super) fn folder(&self, inner: &Path) -> io::Result<()> {
        let _there = self.there()?;
        fs::DirBuilder::new().mode(FOLDER_MODE).recursive(true).create(self.path(inner))
    }

    /// Writes a file that is not there yet.
    pub(super) fn file(&self, inner: &Path, bytes: &[u8]) -> io::Result<()> {
        let _there = self.there()?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(self.path(inner));
        file?.write_all(bytes)
    }

    /// Makes a symbolic link that is not there yet. Nothing may be written after the first one: it would go through it.
    pub(super) fn link(&self, inner: &Path, target: &Path) -> io::Result<()> {
        let _there = self.there()?;
        symlink(target, self.path(inner))
    }

    /// Lets a link that leads out of a folder lead nowhere: what it names on this machine is no part of what was written.
    pub(super) fn keep_inside(&self, folder: &Path, link: &Path) -> io::Result<()> {
        let _there = self.there()?;
        let (folder, link) = (self.path(folder).canonicalize()?, self.path(link));
        if link.canonicalize().is_ok_and(|target| !target.starts_with(folder)) {
            fs::remove_file(&link)?;
            symlink(OUTSIDE, &link)?;
        }
        Ok(())
    }

    /// Removes all of it. Links are removed, not followed.
    pub(super) fn remove(&self) {
        let mut removed = self.lock();
        if !*removed {
            *removed = true;
            // What cannot be removed lies in the system's folder for temporary files, which is emptied anyway.
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    /// Keeps the folder there while the guard lives.
    fn there(&self) -> io::Result<MutexGuard<'_, bool>> {
        let removed = self.lock();
        if *removed { Err(ErrorKind::Interrupted.into()) } else { Ok(removed) }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_stays_removed() {
        let scratch = Scratch::create().unwrap();
        scratch.folder(Path::new("a/b")).unwrap();
        scratch.file(Path::new("a/b/c"), b"x").unwrap();
        assert_eq!(fs::read(scratch.path(Path::new("a/b/c"))).unwrap(), b"x");
        assert!(scratch.file(Path::new("a/b/c"), b"y").is_err(), "a file was written twice");
        scratch.remove();
        assert!(!scratch.path(Path::new("")).exists());
        assert!(scratch.folder(Path::new("a/b")).is_err());
        assert!(!scratch.path(Path::new("")).exists());
    }

    #[test]
    fn links_that_lead_out_lead_nowhere_and_the_others_stay() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let scratch = Scratch::create().unwrap();
        scratch.folder(Path::new("in/deep")).unwrap();
        scratch.file(Path::new("in/file"), b"y").unwrap();
        scratch.file(Path::new("beside"), b"z").unwrap();
        let secret = outside.path().join("secret");
        let links = [
            ("in/deep/kept", Path::new("../file"), true),
            ("in/absolute", &secret, false),
            ("in/chained", Path::new("absolute"), false),
            ("in/folder", outside.path(), false),
            ("in/through", Path::new("folder/secret"), false),
            ("in/beside", Path::new("../beside"), false),
            ("in/dangling", Path::new("nowhere"), false),
        ];
        for (link, target, _) in links {
            scratch.link(Path::new(link), target).unwrap();
        }
        for (link, ..) in links {
            scratch.keep_inside(Path::new("in"), Path::new(link)).unwrap();
        }
        for (link, _, leads) in links {
            assert_eq!(scratch.path(Path::new(link)).exists(), leads, "{link}");
        }
        assert_eq!(fs::read(secret).unwrap(), b"x");
    }

    #[test]
    fn removing_it_leaves_what_links_lead_to() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let scratch = Scratch::create().unwrap();
        scratch.link(Path::new("link"), outside.path()).unwrap();
        drop(scratch);
        assert!(outside.path().join("kept").exists());
    }
}
