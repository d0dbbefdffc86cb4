//! One text out of JSON that nobody has made a tree of.

use serde_json::Value;

use super::reads::{Reads, follow};

/// The text at a way of members; most often without a tree of the rest. `None` when something else than a text is there, or nothing. Of
/// several members of one name the last counts.
#[must_use]
pub fn text_at(raw: &[u8], members: &[&str]) -> Option<String> {
    let steps = || members.iter().map(|member| (*member, None));
    let mut reads = Reads::default();
    reads.add(steps());
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    match reads.pick(raw) {
        Some(picked) => text(picked.at(steps())),
        None => text(follow(&serde_json::from_slice(raw).ok()?, steps())),
    }
}
