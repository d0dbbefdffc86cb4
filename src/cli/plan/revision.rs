//! A configuration folder as it is in a revision of its git repository, read with the git program.
//!
//! Nothing is checked out: `git ls-tree` says what the folder holds, `git cat-file --batch` gives the contents, and they are
//! written into the scratch folder. A revision is never an option of git's: it is resolved once, and what follows names
//! objects by their hash alone.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::{ChildStdout, Command, Output, Stdio};

use super::scratch::Scratch;
use crate::kind::value::cut;

/// How many files and links a folder may hold.
const FILES_MAX: usize = 20_000;
/// How large all of them together may be, in bytes.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long the list of them may be, in bytes.
const LISTING_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of what git complains about is shown, in characters.
const COMPLAINT_CHARS_MAX: usize = 300;
/// How much of a commit's hash is shown, in characters.
const COMMIT_CHARS: usize = 7;

/// What git is told by those that run a program as a hook. The folder alone says which repository is meant.
const HOOK_VARIABLES: [&str; 5] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"];

/// A file, as a link or not, of a folder in a revision.
struct Entry {
    object: String,
    path: PathBuf,
    link: bool,
}

/// Where a revision's folder was written to, and the beginning of its commit's hash.
pub(super) struct Written {
    pub(super) folder: PathBuf,
    pub(super) commit: String,
}

/// Writes a configuration folder as it is in a revision into `below` of the scratch folder. `asked` is `REV` or `REV:PATH`, with a
/// path from the repository's root; without it the path is that of `config`. The error is a sentence with cause and fix.
pub(super) fn write(asked: &str, config: &Path, scratch: &Scratch, below: &str) -> Result<Written, String> {
    let (revision, path) = asked.split_once(':').map_or((asked, None), |(revision, path)| (revision, Some(path)));
    if revision.is_empty() || revision.starts_with('-') || revision.contains('\0') {
        return Err(format!("`{revision}` is no revision; write a branch, a tag or a commit, as in git:main"));
    }
    let (place, rest) = standing(config)?;
    let git = Git { place };
    let prefix = git.prefix()?;
    let inner = match path {
        Some(path) => PathBuf::from(path),
        None => prefix.join(rest),
    };
    let inner = plain(&inner)?;
    let commit = git.resolve(&format!("{revision}^{{commit}}"))?.ok_or_else(|| {
        format!(
            "the repository has no revision `{revision}`; correct the name, or fetch it first, as in `git fetch origin {revision}`"
        )
    })?;
    let shown = inner.display();
    let name = if inner.as_os_str().is_empty() { format!("{commit}^{{tree}}") } else { format!("{commit}:{shown}") };
    let tree = git.resolve(&name)?.ok_or_else(|| {
        format!("the revision `{revision}` has no folder `{shown}`; say where it is, as in git:{revision}:PATH")
    })?;
    let entries = git.list(&tree)?.ok_or_else(|| {
        format!("`{shown}` is no folder in the revision `{revision}`; say where it is, as in git:{revision}:PATH")
    })?;
    // The folder lies as deep as in the repository, so that links within the repository lead nowhere else.
    let root = Path::new(below).join(&inner);
    git.write(&entries, scratch, &root)?;
    Ok(Written { folder: scratch.path(&root), commit: commit.chars().take(COMMIT_CHARS).collect() })
}

/// The nearest folder at or above a path that is there now, and the rest of the path.
fn standing(config: &Path) -> Result<(PathBuf, PathBuf), String> {
    let mut rest = PathBuf::new();
    let mut at = config;
    loop {
        let here = if at.as_os_str().is_empty() { Path::new(".") } else { at };
        if let Ok(place) = here.canonicalize()
            && place.is_dir()
        {
            return Ok((place, rest));
        }
        let (Some(name), Some(parent)) = (at.file_name(), at.parent()) else {
            return Err(format!(
                "no folder of {} is there; say where the configuration is: --config DIR",
                config.display()
            ));
        };
        rest = if rest.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(name).join(rest) };
        at = parent;
    }
}

/// A path from the repository's root, of names alone.
fn plain(path: &Path) -> Result<PathBuf, String> {
    let mut names = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(format!("`{}` is no path from the repository's root", path.display())),
        }
    }
    if names.to_str().is_none_or(|names| names.contains('\0')) {
        return Err("the path of the configuration folder is no plain text; rename the folder".to_owned());
    }
    Ok(names)
}

/// The git program, run in a folder.
struct Git {
    place: PathBuf,
}

impl Git {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.place).args(arguments).stdin(Stdio::null());
        // A partial clone would fetch what it lacks, file by file: plan uses no network and changes no repository.
        command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0");
        for variable in HOOK_VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Output, String> {
        self.command(arguments).output().map_err(|error| missing(&error))
    }

    /// The folder's path from the repository's root.
    fn prefix(&self) -> Result<PathBuf, String> {
        let output = self.run(&["rev-parse", "--show-prefix"])?;
        if !output.status.success() {
            return Err(format!(
                "{} lies in no git repository that can be read ({}); give a folder instead",
                self.place.display(),
                complaint(&output.stderr)
            ));
        }
        let line = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
        Ok(PathBuf::from(OsStr::from_bytes(line)))
    }

    /// The hash of an object; `None` where there is none of this name.
    fn resolve(&self, name: &str) -> Result<Option<String>, String> {
        let output = self.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", name])?;
        let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let is_hash = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(Some(hash).filter(|_| output.status.success() && is_hash))
    }

    /// All files of a tree; `None` when it is none.
    fn list(&self, tree: &str) -> Result<Option<Vec<Entry>>, String> {
        let mut child = self
            .command(&["ls-tree", "-r", "-z", "-l", "--full-tree", tree])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| missing(&error))?;
        let mut listing = Vec::new();
        let read = child.stdout.take().map(|out| out.take(LISTING_BYTES_MAX + 1).read_to_end(&mut listing));
        let cut_off = listing.len() as u64 > LISTING_BYTES_MAX;
        if cut_off {
            // It would wait for a reader for ever.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| missing(&error))?;
        if let Some(Err(error)) = read {
            return Err(missing(&error));
        }
        if cut_off {
            return Err(too_many());
        }
        entries(&listing).map(|entries| Some(entries).filter(|_| status.success()))
    }

    /// Writes files and then links: nothing is ever written through a link.
    fn write(&self, entries: &[Entry], scratch: &Scratch, root: &Path) -> Result<(), String> {
        scratch.folder(root).map_err(|error| unwritten(&error))?;
        let mut child = self
            .command(&["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| missing(&error))?;
        let (asks, answers) = (child.stdin.take(), child.stdout.take());
        let done = std::thread::scope(|scope| {
            // Asked from a thread of its own: git answers while it is being asked, and neither may wait for the other.
            scope.spawn(move || {
                let Some(mut asks) = asks else { return };
                for entry in entries {
                    if asks.write_all(format!("{}\n", entry.object).as_bytes()).is_err() {
                        return;
                    }
                }
            });
            let written = answers.ok_or_else(incomplete).and_then(|answers| take(answers, entries, scratch, root));
            let _ = child.kill();
            written
        });
        let _ = child.wait();
        let links = done?;
        for (entry, target) in &links {
            let target = Path::new(OsStr::from_bytes(target));
            scratch.link(&root.join(&entry.path), target).map_err(|error| unwritten(&error))?;
        }
        for (entry, _) in &links {
            scratch.keep_inside(root, &root.join(&entry.path)).map_err(|error| unwritten(&error))?;
        }
        Ok(())
    }
}

/// Writes the files that git gives, and returns the links with their targets.
fn take<'e>(
    answers: ChildStdout,
    entries: &'e [Entry],
    scratch: &Scratch,
    root: &Path,
) -> Result<Vec<(&'e Entry, Vec<u8>)>, String> {
    let mut answers = BufReader::new(answers);
    let mut links = Vec::new();
    for entry in entries {
        let mut head = String::new();
        (&mut answers).take(1024).read_line(&mut head).map_err(|_| incomplete())?;
        let bytes: u64 = match head.trim_end().rsplit_once(' ') {
            Some((object, bytes)) if object.ends_with(" blob") => bytes.parse().map_err(|_| incomplete())?,
            _ => return Err(incomplete()),
        };
        // The list has said how large it is, and that it is not too large.
        let mut content = Vec::new();
        (&mut answers).take(bytes.min(BYTES_MAX) + 1).read_to_end(&mut content).map_err(|_| incomplete())?;
        if content.pop() != Some(b'\n') || content.len() as u64 != bytes {
            return Err(incomplete());
        }
        if entry.link {
            links.push((entry, content));
            continue;
        }
        let inner = root.join(&entry.path);
        let written = inner.parent().map_or(Ok(()), |folder| scratch.folder(folder));
        written.and_then(|()| scratch.file(&inner, &content)).map_err(|error| unwritten(&error))?;
    }
    for (entry, _) in &links {
        let folder = root.join(&entry.path);
        folder.parent().map_or(Ok(()), |folder| scratch.folder(folder)).map_err(|error| unwritten(&error))?;
    }
    Ok(links)
}

/// What `ls-tree -r -z -l` says: `MODE TYPE OBJECT SIZE<tab>PATH`, each ended by a zero byte.
fn entries(listing: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut bytes_all: u64 = 0;
    for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(incomplete)?;
        let (about, path) = (line.get(..tab).unwrap_or_default(), line.get(tab + 1..).unwrap_or_default());
        let about = String::from_utf8_lossy(about);
        let mut words = about.split_whitespace();
        let (Some(mode), Some(kind), Some(object), Some(bytes)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(incomplete());
        };
        // A submodule is another repository's.
        if kind != "blob" {
            continue;
        }
        let path = PathBuf::from(OsStr::from_bytes(path));
        if !path.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(format!("the revision holds the path `{}`, which leaves its folder", path.display()));
        }
        bytes_all = bytes_all.saturating_add(bytes.parse().map_err(|_| absent())?);
        entries.push(Entry { object: object.to_owned(), path, link: mode == "120000" });
        if entries.len() > FILES_MAX || bytes_all > BYTES_MAX {
            return Err(too_many());
        }
    }
    Ok(entries)
}

fn missing(error: &std::io::Error) -> String {
    if error.kind() == ErrorKind::NotFound {
        return "the program `git` is not there; install git, or give a folder instead".to_owned();
    }
    format!("the program `git` cannot be run: {}; give a folder instead", error.kind())
}

fn unwritten(error: &std::io::Error) -> String {
    let folder = std::env::temp_dir();
    format!("the revision cannot be written to {}: {}; make room, or set TMPDIR", folder.display(), error.kind())
}

fn incomplete() -> String {
    "git broke off while it gave the revision; try `git fsck`".to_owned()
}

/// Git knows of a file and does not have it.
fn absent() -> String {
    "the repository does not hold all files of the revision: it is a partial clone, and plan fetches nothing; fetch them with \
     `git fetch --refetch --no-filter`, or try `git fsck`"
        .to_owned()
}

fn too_many() -> String {
    let mebibytes = BYTES_MAX / 1024 / 1024;
    format!(
        "the folder holds more than {FILES_MAX} files or {mebibytes} MiB in this revision; name the configuration folder \
         itself: git:REV:PATH"
    )
}

/// The first line of what git said.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().next().unwrap_or("it says nothing").trim_start_matches("fatal: ");
    cut(line, COMPLAINT_CHARS_MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_and_paths_that_leave_the_folder_are_refused() {
        let listing = b"100644 blob aa 3\twebhooks/a b.toml\x00120000 blob bb 4\tlink\x00160000 commit cc -\tsub\x00";
        let read = entries(listing).unwrap();
        let shown: Vec<_> = read.iter().map(|entry| (entry.path.to_str().unwrap(), entry.link)).collect();
        assert_eq!(shown, [("webhooks/a b.toml", false), ("link", true)]);
        for path in ["../x", "/x", "a/../../x"] {
            let listing = format!("100644 blob aa 3\t{path}\0");
            assert!(entries(listing.as_bytes()).is_err_and(|error| error.contains("leaves its folder")), "{path}");
        }
        let large = format!("100644 blob aa {}\ta\0", BYTES_MAX + 1);
        assert!(entries(large.as_bytes()).is_err_and(|error| error.contains("256 MiB")));
        let many = "100644 blob aa 1\tx\0".repeat(FILES_MAX + 1);
        assert!(entries(many.as_bytes()).is_err_and(|error| error.contains("20000 files")));
    }

    #[test]
    fn a_file_that_is_not_in_the_repository_is_told_with_what_fetches_it() {
        let listing = b"100644 blob aa     BAD\twebhooks/a.toml\0";
        assert!(entries(listing).is_err_and(|error| error.contains("git fetch --refetch --no-filter")));
    }

    #[test]
    fn a_folder_that_is_gone_is_known_by_the_one_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap();
        assert_eq!(standing(&here.join("a/b")).unwrap(), (here.clone(), PathBuf::from("a/b")));
        assert_eq!(standing(&here).unwrap(), (here, PathBuf::new()));
        assert_eq!(standing(Path::new("not there")).unwrap().1, PathBuf::from("not there"));
    }
}
