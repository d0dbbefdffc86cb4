//! Templates: Handlebars whose output is valid in its format by construction.

use std::fmt;

use serde_json::Value;

use crate::diagnostic::Fault;
use crate::secret::Secret;

/// What a template's output is, which decides how a value is written into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON text.
    Json,
    /// Plain text: values as they are. Header values too.
    Text,
    /// `application/x-www-form-urlencoded`: values percent-encoded as form data.
    Form,
    /// The part of a URL behind its host: values percent-encoded as one path segment or query value.
    Url,
}

/// Looks a reference (`env:NAME` or `file:PATH`, the text inside `${…}`) up; the error is a problem and its fix.
pub type Resolve<'r> = &'r mut dyn FnMut(&str) -> Result<Secret, (String, String)>;

/// A compiled template.
pub struct Template {}

/// What a rendering came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The paths that the event lacked, each once, as they are written in the template.
    pub missing: Vec<String>,
}

/// Why an event could not be rendered, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(pub String);

impl Template {
    /// Compiles a source. Every fault that can be found is in the answer, at its byte offsets in `source`.
    pub fn compile(source: &str, format: Format, resolve: Resolve<'_>) -> Result<Self, Vec<Fault>> {
        let _ = (source, format, resolve);
        todo!()
    }

    /// Renders one event's payload. `bytes_max` limits the text while it grows.
    pub fn render(&self, payload: &Value, strict: bool, bytes_max: usize) -> Result<Rendered, RenderError> {
        let _ = (payload, strict, bytes_max);
        todo!()
    }

    /// Whether nothing in it depends on the event.
    pub fn is_fixed(&self) -> bool {
        todo!()
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}
