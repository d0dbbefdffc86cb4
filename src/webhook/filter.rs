//! Filters: conditions on the payload, each able to say why it said no.

use serde_json::Value;

use crate::diagnostic::Fault;
use crate::kind::Path;

/// One `[[filters]]` entry.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The named field or the path, as it was written.
    pub label: String,
    /// Where it looks.
    pub path: Path,
    /// What it asks.
    pub test: Test,
}

/// What a filter asks of the values at its path.
#[derive(Clone, Debug)]
pub enum Test {
    /// One value matches one of the globs.
    AnyOf(Vec<Glob>),
    /// No value matches any of the globs.
    NoneOf(Vec<Glob>),
    /// Every value matches one of the globs, and there is one.
    EveryOf(Vec<Glob>),
    /// One value matches the regular expression, unanchored.
    Matches(regex::Regex),
    /// There is a value that is not null (`true`), or none (`false`).
    Exists(bool),
    /// One value is a number (or text of one) of at least this.
    Min(f64),
    /// One value is a number (or text of one) of at most this.
    Max(f64),
}

/// A whole-text pattern in which `*` stands for any text; case-sensitive.
#[derive(Clone, Debug)]
pub struct Glob {}

impl Glob {
    /// Compiles a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let _ = pattern;
        todo!()
    }

    /// Whether it matches the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let _ = text;
        todo!()
    }
}

impl Test {
    /// `matches = "…"`, with a limit on the compiled size.
    pub fn matches(pattern: &str) -> Result<Self, Fault> {
        let _ = pattern;
        todo!()
    }
}

impl Filter {
    /// Whether the payload passes.
    #[must_use]
    pub fn holds(&self, payload: &Value) -> bool {
        let _ = payload;
        todo!()
    }

    /// Why the payload does not pass, in a sentence without a full stop; `None` when it does.
    #[must_use]
    pub fn refusal(&self, payload: &Value) -> Option<String> {
        let _ = payload;
        todo!()
    }
}
