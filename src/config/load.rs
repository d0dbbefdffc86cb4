//! Loading: a configuration folder in, a Snapshot and every diagnostic out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compile;
use super::document::{Document, Report};
use super::overrides;
use super::read;
use super::references::References;
use super::snapshot::{OnInvalidWebhook, Settings, Snapshot};
use super::tests::TestCase;
use crate::diagnostic::{Diagnostic, Level};
use crate::webhook::Webhook;

/// The sidecar's own file.
const SIDECAR_FILE: &str = "outrigger.toml";

/// The largest configuration file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How many webhooks there may be.
pub const WEBHOOKS_MAX: usize = 5_000;

/// The longest name of a webhook.
pub const NAME_CHARS_MAX: usize = 64;

/// Looks an environment variable up.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where a configuration comes from.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own, and named where it is answered")]
pub struct Source {
    /// The configuration folder.
    pub dir: PathBuf,
    /// Looks environment variables up.
    pub env: Environment,
    /// Flags that stand above keys of `outrigger.toml`: `("ingest.listen", "127.0.0.1:0")`.
    pub overrides: Vec<(String, String)>,
    /// References without a value are placeholders, not faults: for places without secrets.
    pub placeholders: bool,
    /// References in URLs, headers, auth and bodies are `***`: for output that people see, never for sending.
    pub masked: bool,
    /// `${file:PATH}` is not read, and counts as a reference without a value.
    pub files_unread: bool,
    /// Whether nothing runs yet: only then `config.on_invalid_webhook = "quarantine"` is obeyed.
    pub cold_start: bool,
}

impl Source {
    /// A folder with the process's environment, for a reload.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let env = Arc::new(|name: &str| std::env::var(name).ok());
        let (placeholders, masked, files_unread, cold_start) = (false, false, false, false);
        Self { dir: dir.into(), env, overrides: Vec::new(), placeholders, masked, files_unread, cold_start }
    }

    /// A folder as it is written, the same on every machine: no reference is looked up and no variable stands above a key.
    #[must_use]
    pub fn as_written(dir: impl Into<PathBuf>) -> Self {
        Self { env: Arc::new(|_| None), placeholders: true, masked: true, files_unread: true, ..Self::new(dir) }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What loading came to.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; `None` when a fault refuses it.
    pub snapshot: Option<Snapshot>,
    /// Everything there is to say: errors first, then warnings, each in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// All `[[tests]]`.
    pub tests: Vec<TestCase>,
    /// Faults of `[[tests]]`: what `check` refuses and a reload does not mind.
    pub test_diagnostics: Vec<Diagnostic>,
    /// Every file and folder that was read or looked for.
    pub watched: BTreeSet<PathBuf>,
    /// Webhooks that were left out because they are faulty.
    pub quarantined: Vec<Arc<str>>,
}

/// Reads, checks and compiles a configuration folder.
#[must_use]
pub fn load(source: &Source) -> Loaded {
    let mut references = References::new(source);
    let mut report = Report::default();

    let compiled = sidecar(source, &mut references, &mut report);
    let sets_aside = source.cold_start
        && !report.refuses()
        && compiled.settings.as_ref().is_some_and(|set| set.on_invalid_webhook == OnInvalidWebhook::Quarantine);

    let mut webhooks = BTreeMap::new();
    let mut tests = Vec::new();
    let mut test_report = Report::default();
    let mut quarantined = Vec::new();
    let mut names = BTreeMap::new();
    // An empty folder has no file to be known by, and the next file appears in it.
    references.watched.insert(source.dir.join("webhooks"));
    for path in webhook_files(&source.dir, &mut report) {
        let mut own = Report::default();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let shown = format!("webhooks/{stem}.toml");
        refuse_name(&stem, &shown, &mut names, &mut own);
        references.watched.insert(path.clone());
        let webhook = match read::text(&path, FILE_BYTES_MAX) {
            Ok(text) => {
                let document = Document { name: shown, text, shown: true };
                let around = compile::Around { dir: &source.dir, compiled: &compiled };
                compile::webhook(&around, &stem, &document, &mut references, &mut own, &mut test_report, &mut tests)
            }
            Err(problem) => {
                own.file_error(shown, format!("the file {problem}"), "correct the file, or remove it");
                None
            }
        };
        match webhook.filter(|_| !own.refuses()) {
            Some(webhook) => {
                webhooks.insert(Arc::clone(&webhook.name), Arc::new(webhook));
            }
            None if sets_aside => {
                for diagnostic in &mut own.diagnostics {
                    diagnostic.level = Level::Warning;
                }
                quarantined.push(Arc::from(stem));
            }
            None => {}
        }
        report.diagnostics.append(&mut own.diagnostics);
    }
    finish(report, test_report, compiled, webhooks, tests, references.watched, quarantined)
}

/// What `outrigger.toml` and what stands above it say, whatever the webhooks' files say. `None` when it is faulty.
#[must_use]
pub fn load_settings(source: &Source) -> Option<Settings> {
    sidecar(source, &mut References::new(source), &mut Report::default()).settings
}

/// What stands above `outrigger.toml` says, over the defaults, for those who have to do without the file. `None` when it is faulty.
#[must_use]
pub fn load_variables(source: &Source) -> Option<Settings> {
    let document = Document { name: SIDECAR_FILE.to_owned(), text: String::new(), shown: true };
    compiled(source, &document, &mut References::new(source), &mut Report::default()).settings
}

fn sidecar(source: &Source, references: &mut References<'_>, report: &mut Report) -> compile::Compiled {
    let document = sidecar_file(source, references, report);
    compiled(source, &document, references, report)
}

fn compiled(
    source: &Source,
    document: &Document,
    references: &mut References<'_>,
    report: &mut Report,
) -> compile::Compiled {
    let flags = overrides::collect(source, report);
    let values = overrides::values(&flags, report);
    let file = compile::SidecarFile { document, overrides: &flags, values: &values, dir: &source.dir };
    compile::sidecar(&file, references, report)
}

fn finish(
    report: Report,
    test_report: Report,
    compiled: compile::Compiled,
    webhooks: BTreeMap<Arc<str>, Arc<Webhook>>,
    tests: Vec<TestCase>,
    watched: BTreeSet<PathBuf>,
    quarantined: Vec<Arc<str>>,
) -> Loaded {
    let refuses = report.refuses();
    let snapshot =
        compiled.settings.filter(|_| !refuses).map(|settings| Snapshot::new(settings, compiled.kinds, webhooks));
    let (mut diagnostics, mut test_diagnostics) = (report.diagnostics, test_report.diagnostics);
    sort(&mut diagnostics);
    sort(&mut test_diagnostics);
    Loaded { snapshot, diagnostics, tests, test_diagnostics, watched, quarantined }
}

/// The order in which people read: errors before warnings, the sidecar's file before the webhooks', and each file from
/// top to bottom.
pub fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|one| {
        let place = one.place.as_ref().map(|place| (place.line, place.column));
        (std::cmp::Reverse(one.level), one.file.contains('/'), one.file.clone(), place)
    });
}

fn sidecar_file(source: &Source, references: &mut References<'_>, report: &mut Report) -> Document {
    let name = SIDECAR_FILE.to_owned();
    let path = source.dir.join(&name);
    references.watched.insert(path.clone());
    let text = match read::text(&path, FILE_BYTES_MAX) {
        Ok(text) => text,
        // A missing file means the defaults.
        Err(_) if std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {
            String::new()
        }
        Err(problem) => {
            report.file_error(
                name.clone(),
                format!("the file {problem}"),
                "correct the file, or remove it for the defaults",
            );
            String::new()
        }
    };
    Document { name, text, shown: true }
}

/// The webhooks' files in the order of their names.
fn webhook_files(dir: &Path, report: &mut Report) -> Vec<PathBuf> {
    let folder = dir.join("webhooks");
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
                (format!("the folder cannot be read: {}", error.kind()), "make it a folder that can be read")
            };
            report.file_error("webhooks", problem, fix);
            return Vec::new();
        }
    };
    // Names with a leading dot are editors' and Kubernetes' own (`..data`).
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')))
        .collect();
    files.sort();
    if files.is_empty() {
        report.file_error("webhooks", "the folder holds no webhook", "add a NAME.toml for each webhook");
    }
    if files.len() > WEBHOOKS_MAX {
        let problem = format!("the folder holds {} webhooks, and {WEBHOOKS_MAX} are the limit", files.len());
        report.file_error("webhooks", problem, "split them over several sidecars");
        files.truncate(WEBHOOKS_MAX);
    }
    files
}

/// A name is a metric's label, a part of delivery ids and of paths: it is plain, and one name is one webhook everywhere.
fn refuse_name(stem: &str, file: &str, names: &mut BTreeMap<String, String>, report: &mut Report) {
    let plain = stem.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'));
    let begins = stem.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !plain || !begins || stem.len() > NAME_CHARS_MAX {
        let problem = format!("`{}` cannot be a webhook's name", super::table::excerpt(stem));
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
