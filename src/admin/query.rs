//! The parameters of a request's URL.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::admin::filter::{nonsense, unknown};
use crate::server::problem::Problem;

/// Parameters by name, each at most once and known.
pub(super) struct Parameters<'q>(Vec<(&'q str, Cow<'q, str>)>);

impl<'q> Parameters<'q> {
    /// Reads a URL's query. `known` are the names that there may be.
    pub(super) fn parse(query: &'q str, known: &[&str]) -> Result<Self, Problem> {
        let mut found: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            // `+` stays what it is: times have it, and nothing here has blanks.
            let value = percent_decode_str(value).decode_utf8_lossy();
            if found.iter().any(|(other, _)| *other == name) {
                return Err(nonsense(name, &value, "the parameter was given before; give it once"));
            }
            if !known.contains(&name) {
                return Err(unknown("parameter", name, known));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// One parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// One parameter, read by what says what is possible where it cannot be read.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let one = |text: &str| read(text).map_err(|possible| nonsense(name, text, possible));
        self.get(name).map(one).transpose()
    }

    /// `limit`: a number from 1 to `max`.
    pub(super) fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        let read = |text: &str| {
            let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
            limit.ok_or_else(|| format!("write a number from 1 to {max}"))
        };
        Ok(self.read("limit", read)?.unwrap_or(default))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}
