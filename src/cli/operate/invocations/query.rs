//! Which invocations are meant, and all pages of them.

use serde_json::Value;

use crate::admin::invocations::LIMIT_MAX as PAGE_MAX;
use crate::cli::operate::encoded;
use crate::history::InvocationId;

/// Parameters of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(pub(super) Vec<(&'static str, String)>);

/// Invocations that were asked for.
pub(super) struct Listed {
    /// The latest first.
    pub(super) rows: Vec<Value>,
    /// The newest that there was before they were asked for: all up to it are among them.
    pub(super) newest: Option<InvocationId>,
    /// Whether there are older ones.
    pub(super) more: bool,
    /// The latest that the sidecar's memory has let go of.
    pub(super) forgotten: Option<InvocationId>,
    /// How many of each webhook it keeps; `None` where it does not run.
    pub(super) per_webhook: Option<u64>,
}

impl Query {
    /// The same of those that are newer than this one.
    pub(super) fn after(&self, id: Option<InvocationId>) -> Self {
        Self(self.0.iter().cloned().chain(id.map(|id| ("after", id.to_string()))).collect())
    }

    /// The latest that fit, page by page; `ask` gives the answer to the query of a URL.
    pub(super) async fn ask<E>(
        &self,
        limit: usize,
        ask: impl AsyncFn(String) -> Result<Value, E>,
    ) -> Result<Listed, E> {
        let mut listed = Listed { rows: Vec::new(), newest: None, more: false, forgotten: None, per_webhook: None };
        let mut cursor: Option<String> = None;
        loop {
            let wanted = limit.saturating_sub(listed.rows.len()).min(PAGE_MAX);
            let mut page = ask(self.page(wanted, cursor.as_deref())).await?;
            if cursor.is_none() {
                listed.newest = page["newest"].as_str().and_then(InvocationId::parse);
            }
            listed.forgotten = page["forgotten"].as_str().and_then(InvocationId::parse);
            listed.per_webhook = page["per_webhook"].as_u64();
            if let Value::Array(rows) = page["invocations"].take() {
                listed.rows.extend(rows);
            }
            let next = page["cursor"].as_str().map(str::to_owned);
            listed.more = next.is_some();
            if next.is_none() || listed.rows.len() >= limit || next == cursor {
                return Ok(listed);
            }
            cursor = next;
        }
    }

    fn page(&self, limit: usize, cursor: Option<&str>) -> String {
        let parts = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        let parts = parts.chain(cursor.map(|cursor| ("cursor", cursor)));
        let parts = parts.map(|(name, value)| format!("&{name}={}", encoded(value)));
        format!("limit={limit}{}", parts.collect::<String>())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;

    #[test]
    fn filters_become_parameters_of_every_page() {
        let query = Query(vec![("webhook", "a&b".to_owned()), ("since", "2026-11-22T10:00:00Z".to_owned())]);
        let query = query.after(InvocationId::parse("inv_000644abcdef0123"));
        let expected = "limit=500&webhook=a%26b&since=2026%2D11%2D22T10%3A00%3A00Z&after=inv%5F000644abcdef0123&cursor=inv%5F0000000000000001";
        assert_eq!(query.page(500, Some("inv_0000000000000001")), expected);
    }

    #[tokio::test]
    async fn pages_are_asked_for_until_there_are_as_many_as_wanted_or_no_more() {
        let id = |number: u64| InvocationId(number).to_string();
        for (limit, rows, asked, more) in
            [(usize::MAX, 1100, 3, false), (600, 600, 2, true), (1100, 1100, 3, false), (1, 1, 1, true)]
        {
            let seen = RefCell::new(Vec::new());
            let answer = async |query: String| {
                let size: usize =
                    query.split_once('&').map_or(&*query, |(limit, _)| limit)["limit=".len()..].parse().unwrap();
                let before: usize = seen.borrow().iter().sum();
                let count = size.min(1100 - before);
                seen.borrow_mut().push(count);
                let last = before + count == 1100;
                // The newest moves on while pages are asked for.
                let newest = id(5000 + before as u64);
                Ok::<_, ()>(
                    json!({ "invocations": vec![json!({}); count], "cursor": if last { None } else { Some(id(before as u64)) }, "newest": newest }),
                )
            };
            let listed = Query::default().ask(limit, answer).await.unwrap();
            assert_eq!((listed.rows.len(), seen.borrow().len(), listed.more), (rows, asked, more), "{limit}");
            assert_eq!(listed.newest, Some(InvocationId(5000)));
        }
    }
}
