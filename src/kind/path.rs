//! A compiled JSONPath (RFC 9535).

use serde_json::Value;

use crate::diagnostic::Fault;

/// A JSONPath, parsed once.
#[derive(Clone, Debug)]
pub struct Path {
    text: Box<str>,
}

impl Path {
    /// Parses a JSONPath.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let _ = text;
        todo!()
    }

    /// The path as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All values at the path, in document order.
    #[must_use]
    pub fn all<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        let _ = document;
        todo!()
    }

    /// The first value at the path.
    #[must_use]
    pub fn first<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        let _ = document;
        todo!()
    }

    /// The name of the first member below the root (`data` in `$.data.id`), when the path begins with one.
    #[must_use]
    pub fn root_member(&self) -> Option<&str> {
        todo!()
    }
}
