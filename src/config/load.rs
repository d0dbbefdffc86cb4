//! Loading: a configuration folder in, a Snapshot and every diagnostic out.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compile;
use super::document::{Document, Report};
use super::inputs::Inputs;
use super::lint;
use super::loader::Loader;
use super::overrides;
use super::snapshot::{Settings, Snapshot};
use super::tests::TestCase;
use crate::diagnostic::Diagnostic;
use crate::template::Pool;

/// The sidecar's own file.
pub(super) const SIDECAR_FILE: &str = "outrigger.toml";

/// The largest TOML file, in bytes. Reading one takes up to ninety times as much memory.
pub(super) const TOML_BYTES_MAX: u64 = 256 * 1024;

/// The largest other file that the configuration names, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How many webhooks there may be.
pub const WEBHOOKS_MAX: usize = 10_000;

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
    /// Whether nothing runs yet: only then, at the first load, `config.on_invalid_webhook = "quarantine"` is obeyed.
    pub cold_start: bool,
    /// Whether the spool that is in force keeps deliveries in order, which no file changes before a restart; else its kind says so.
    pub ordered: Option<bool>,
}

impl Source {
    /// A folder with the process's environment, for a reload.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        // Looked up in a map: the process's own list is gone through from its beginning for each name.
        let variables: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let env = Arc::new(move |name: &str| variables.get(name).cloned());
        let (placeholders, masked, files_unread, cold_start) = (false, false, false, false);
        Self {
            dir: dir.into(),
            env,
            overrides: Vec::new(),
            placeholders,
            masked,
            files_unread,
            cold_start,
            ordered: None,
        }
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
    pub tests: Vec<Arc<TestCase>>,
    /// Faults of `[[tests]]`: what `check` refuses and a reload does not mind.
    pub test_diagnostics: Vec<Diagnostic>,
    /// Every file and folder that was read or looked for.
    pub watched: BTreeSet<PathBuf>,
    /// Webhooks that were left out because they are faulty.
    pub quarantined: Vec<Arc<str>>,
}

/// Reads, checks and compiles a configuration folder, once, for people: secrets that are typed in a file are masked in the lines
/// of diagnostics. [`Loader`] does it again and again.
#[must_use]
pub fn load(source: &Source) -> Loaded {
    let mut loaded = Loader::new(source.clone()).load();
    lint::hide_typed(source, &mut loaded.diagnostics);
    lint::hide_typed(source, &mut loaded.test_diagnostics);
    loaded
}

/// What `outrigger.toml` and what stands above it say, whatever the webhooks' files say. `None` when it is faulty.
#[must_use]
pub fn load_settings(source: &Source) -> Option<Settings> {
    sidecar(&mut Inputs::new(source, &mut Pool::default()), &mut Report::default()).settings
}

/// What stands above `outrigger.toml` says, over the defaults, for those who have to do without the file. `None` when it is faulty.
#[must_use]
pub fn load_variables(source: &Source) -> Option<Settings> {
    let document = Document { name: SIDECAR_FILE.to_owned(), text: String::new(), shown: true };
    compiled(&document, &mut Inputs::new(source, &mut Pool::default()), &mut Report::default()).settings
}

/// Compiles `outrigger.toml` with what stands above it.
pub(super) fn sidecar(inputs: &mut Inputs<'_>, report: &mut Report) -> compile::Compiled {
    let document = sidecar_file(inputs, report);
    compiled(&document, inputs, report)
}

fn compiled(document: &Document, inputs: &mut Inputs<'_>, report: &mut Report) -> compile::Compiled {
    let flags = overrides::collect(inputs.source, report);
    let values = overrides::values(&flags, report);
    let file = compile::SidecarFile { document, overrides: &flags, values: &values };
    compile::sidecar(&file, inputs, report)
}

/// The order in which people read: errors before warnings, the sidecar's file before the webhooks', and each file from
/// top to bottom.
pub fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_cached_key(|one| {
        let place = one.place.as_ref().map(|place| (place.line, place.column));
        (std::cmp::Reverse(one.level), one.file.contains('/'), one.file.clone(), place)
    });
}

fn sidecar_file(inputs: &mut Inputs<'_>, report: &mut Report) -> Document {
    let name = SIDECAR_FILE.to_owned();
    let path = inputs.source.dir.join(&name);
    let text = match inputs.read_own(Path::new(SIDECAR_FILE), TOML_BYTES_MAX) {
        Ok((text, _)) => text,
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
