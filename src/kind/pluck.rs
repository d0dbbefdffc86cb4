//! One text out of JSON that nobody has made a tree of.

use serde_json::Value;

use super::reads::Reads;

/// The text at a way of members; most often without a tree of the rest. `None` when something else than a text is there, or nothing. Of
/// several members of one name the last counts.
#[must_use]
pub fn text_at(raw: &[u8], members: &[&str]) -> Option<String> {
    let mut reads = Reads::default();
    reads.add(members.iter().map(|member| (*member, None)));
    let tree = reads.tree(raw).ok()?;
    members.iter().try_fold(&tree, |value, member| value.get(member)).and_then(Value::as_str).map(str::to_owned)
}
