//! The folder of webhooks: which files it holds, and what their names may be.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::document::Report;
use super::load::{NAME_CHARS_MAX, WEBHOOKS_MAX};
use super::table::excerpt;

/// The folder's name in the configuration folder.
pub(super) const WEBHOOKS: &str = "webhooks";

/// The webhooks' files in the order of their names, as paths from the configuration folder.
pub(super) fn webhook_files(dir: &Path, report: &mut Report) -> Vec<PathBuf> {
    let folder = dir.join(WEBHOOKS);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let (problem, fix) = if missing && !dir.exists() {
                let problem = format!("the configuration folder `{}` does not exist", dir.display());
                (problem, "create it, or say where it is: --config DIR")
            } else if missing {
                ("the folder does not exist".to_owned(), "create it, with one NAME.toml for each webhook")
            } else {
                (format!("the folder cannot be read: {error}"), "make it a folder that can be read")
            };
            report.file_error(WEBHOOKS, problem, fix);
            return Vec::new();
        }
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    listed(names, report)
}

/// The webhooks' files among the names of a folder.
fn listed(names: std::io::Result<Vec<OsString>>, report: &mut Report) -> Vec<PathBuf> {
    // A list that breaks off lacks webhooks that are there: they must not be taken for removed ones.
    let names = match names {
        Ok(names) => names,
        Err(error) => {
            let problem = format!("the folder cannot be read to its end: {error}");
            report.file_error(WEBHOOKS, problem, "mend the file system, or put the folder on another one");
            return Vec::new();
        }
    };
    // Names with a leading dot are editors' and Kubernetes' own (`..data`).
    let mut files: Vec<PathBuf> = names
        .into_iter()
        .map(|name| Path::new(WEBHOOKS).join(name))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')))
        .collect();
    files.sort();
    if files.is_empty() {
        report.file_error(WEBHOOKS, "the folder holds no webhook", "add a NAME.toml for each webhook");
    }
    if files.len() > WEBHOOKS_MAX {
        let problem = format!("the folder holds {} webhooks, and {WEBHOOKS_MAX} are the limit", files.len());
        report.file_error(WEBHOOKS, problem, "split them over several sidecars");
        files.truncate(WEBHOOKS_MAX);
    }
    files
}

/// Whether a webhook may have this name.
#[must_use]
pub fn is_webhook_name(stem: &str) -> bool {
    let plain = stem.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'));
    plain && stem.starts_with(|first: char| first.is_ascii_alphanumeric()) && stem.len() <= NAME_CHARS_MAX
}

/// A name is a metric's label, a part of delivery ids and of paths: it is plain, and one name is one webhook everywhere.
pub(super) fn refuse_name(stem: &str, file: &str, names: &mut BTreeMap<String, String>, report: &mut Report) {
    if !is_webhook_name(stem) {
        let problem = format!("`{}` cannot be a webhook's name", excerpt(stem));
        let fix = format!(
            "rename the file: letters, digits, `_` and `-`, a letter or digit first, {NAME_CHARS_MAX} characters at most"
        );
        report.file_error(file, problem, fix);
    }
    if let Some(other) = names.insert(stem.to_lowercase(), stem.to_owned()) {
        let problem = format!("the names `{stem}` and `{other}` differ in upper and lower case only");
        report.file_error(file, problem, "rename one of the files");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_more_webhooks_than_may_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(WEBHOOKS)).unwrap();
        let add = |number: usize| {
            std::fs::write(folder.path().join(WEBHOOKS).join(format!("hook-{number}.toml")), "").unwrap();
        };
        (0..WEBHOOKS_MAX).for_each(add);
        let mut report = Report::default();
        assert_eq!(webhook_files(folder.path(), &mut report).len(), WEBHOOKS_MAX);
        assert_eq!(report.diagnostics, []);
        add(WEBHOOKS_MAX);
        assert_eq!(webhook_files(folder.path(), &mut report).len(), WEBHOOKS_MAX);
        assert_eq!(
            report.diagnostics.iter().map(|one| &*one.problem).collect::<Vec<_>>(),
            ["the folder holds 10001 webhooks, and 10000 are the limit"]
        );
    }

    #[test]
    fn a_list_that_breaks_off_is_a_fault_and_no_removal() {
        let names = || ["b.toml", "a.toml", ".c.toml", "d.json"].map(OsString::from).map(std::io::Result::Ok);
        let list = |names: Vec<std::io::Result<OsString>>| {
            let mut report = Report::default();
            let files = listed(names.into_iter().collect(), &mut report);
            let problems = report.diagnostics.into_iter().map(|one| one.problem).collect::<Vec<_>>();
            (files, problems)
        };
        let whole = ["a.toml", "b.toml"].map(|name| Path::new(WEBHOOKS).join(name));
        assert_eq!(list(names().into()), (whole.to_vec(), Vec::new()));
        let stale = std::io::Error::from(std::io::ErrorKind::StaleNetworkFileHandle);
        let broken = list(names().into_iter().chain([Err(stale)]).collect());
        assert_eq!(
            broken,
            (Vec::new(), vec!["the folder cannot be read to its end: stale network file handle".to_owned()])
        );
    }
}
