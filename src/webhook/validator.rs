//! Response validators: what a good response looks like.

use std::sync::Arc;

use serde_json::Value;

use crate::kind::Path;

/// One `[[response_validators]]` entry.
#[derive(Clone, Debug)]
pub struct Validator {
    /// Its name, the metric's label; the path where no name was given.
    pub name: Arc<str>,
    /// Where it looks in `{"status", "headers", "data"}`.
    pub path: Path,
    /// What it wants there.
    pub rule: Rule,
    /// `on_failure = "retry"`.
    pub retry: bool,
}

/// What a validator wants at its path.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Some value at the path is one of these; a missing path fails.
    Expected(Vec<Value>),
    /// No value at the path is one of these; a missing path passes.
    Rejected(Vec<Value>),
}

/// What a validator found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is content.
    pub passed: bool,
    /// The values at the path as bounded text; `None` when nothing is there.
    pub found: Option<String>,
}

impl Validator {
    /// Judges the response document.
    #[must_use]
    pub fn judge(&self, document: &Value) -> Verdict {
        let _ = document;
        todo!()
    }

    /// Whether it looks at the response's body.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        todo!()
    }
}
