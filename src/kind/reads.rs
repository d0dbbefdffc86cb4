//! What is read of an event: the part of its tree that is made where nobody looks at the rest.
//!
//! Making a tree of all that came, and taking it down again, costs more than rendering a request does. Most templates read a few
//! fields.

use std::collections::BTreeMap;

use serde_json::Value;

use super::scan;

/// The parts of a document that somebody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All of a value.
    Whole,
    /// Some of its members or elements.
    Parts(Parts),
}

/// Some members of an object, or elements of a list: what a step of a path is depends on what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    names: BTreeMap<Box<str>, usize>,
    indexes: BTreeMap<usize, usize>,
    below: Vec<Reads>,
}

impl Default for Reads {
    /// Nothing.
    fn default() -> Self {
        Self::Parts(Parts::default())
    }
}

impl Reads {
    /// All of one member.
    #[must_use]
    pub fn of_member(name: &str) -> Self {
        let mut reads = Self::default();
        reads.add([(name, None)].into_iter());
        reads
    }

    /// Adds all of the value at a path: the name of each step, and the same as an index where it is one.
    pub fn add<'p>(&mut self, mut path: impl Iterator<Item = (&'p str, Option<usize>)>) {
        let Self::Parts(parts) = self else { return };
        let Some((name, index)) = path.next() else {
            *self = Self::Whole;
            return;
        };
        let at = if let Some(at) = parts.names.get(name) {
            *at
        } else {
            parts.below.push(Self::default());
            let at = parts.below.len() - 1;
            parts.names.insert(name.into(), at);
            at
        };
        if let Some(index) = index {
            let other = *parts.indexes.entry(index).or_insert(at);
            if let Some(below) = parts.below.get_mut(other).filter(|_| other != at) {
                // `0` and `00` are one index.
                *below = Self::Whole;
            }
        }
        if let Some(below) = parts.below.get_mut(at) {
            below.add(path);
        }
    }

    /// The tree of JSON text in which each path that was added leads to what it leads to in the whole tree. Of the rest there may be
    /// nothing, or `null`; where the scanner leaves it to the parser it is the whole tree.
    pub fn tree(&self, raw: &[u8]) -> Result<Value, serde_json::Error> {
        scan::tree(raw, self, usize::MAX).map_or_else(|| serde_json::from_slice(raw), Ok)
    }
}

impl Parts {
    /// What is read of a member.
    pub(super) fn member(&self, name: &str) -> Option<&Reads> {
        self.names.get(name).and_then(|at| self.below.get(*at))
    }

    /// What is read of an element.
    pub(super) fn element(&self, index: usize) -> Option<&Reads> {
        self.indexes.get(&index).and_then(|at| self.below.get(*at))
    }

    /// Whether any element is read.
    pub(super) fn has_elements(&self) -> bool {
        !self.indexes.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What reads all that is at some paths.
    pub(in crate::kind) fn reads(paths: &[&str]) -> Reads {
        let mut reads = Reads::default();
        for path in paths {
            let steps = path.split('.').filter(|step| !step.is_empty());
            reads.add(steps.map(|step| (step, step.parse().ok())));
        }
        reads
    }

    /// What a path leads to.
    pub(in crate::kind) fn at<'v>(tree: &'v Value, path: &str) -> Option<&'v Value> {
        path.split('.').filter(|step| !step.is_empty()).try_fold(tree, |value, step| match value {
            Value::Object(members) => members.get(step),
            Value::Array(list) => list.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    #[test]
    fn what_is_read_is_there_and_the_rest_is_not() {
        let text = r#"{"a":{"b":[10,{"c":"x","d":1.50}],"e":2},"f":[1,2],"a2":{},"0":{"1":"n"}}"#;
        let tree = |paths: &[&str]| reads(paths).tree(text.as_bytes()).unwrap().to_string();
        assert_eq!(tree(&[]), "{}");
        assert_eq!(tree(&["a.b.1.d"]), r#"{"a":{"b":[null,{"d":1.50}]}}"#);
        assert_eq!(tree(&["a.b.1.d", "a.b"]), r#"{"a":{"b":[10,{"c":"x","d":1.50}]}}"#);
        assert_eq!(tree(&["a.e.x", "f.0", "0.1"]), r#"{"a":{"e":null},"f":[1],"0":{"1":"n"}}"#);
        assert_eq!(tree(&["f.7", "f.1"]), r#"{"f":[null,2]}"#);
        assert_eq!(tree(&["f.x"]), r#"{"f":null}"#);
        assert_eq!(tree(&["f.00", "a.b.01.c", "a.b.1.d"]), r#"{"a":{"b":[null,{"c":"x","d":1.50}]},"f":[1]}"#);
        assert_eq!(reads(&["a", ""]), Reads::Whole);
        let twice = reads(&["a.x"]).tree(br#"{"a":{"x":1},"a":{"y":2},"b":3}"#).unwrap();
        assert_eq!(twice.to_string(), r#"{"a":{}}"#, "the last one counts");
        for broken in ["{", r#"{"a":1} x"#, r#"{"b":[1,}"#, r#"{"b":"x}"#, ""] {
            assert!(reads(&["a"]).tree(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\\\\\"é]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[ab012]", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_path_leads_where_it_does_in_the_whole_tree(
            tree in json(),
            paths in proptest::collection::vec("([ab012](\\.[ab012]){0,3})?", 1..5),
        ) {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let part = reads(&paths).tree(tree.to_string().as_bytes()).unwrap();
            for path in paths {
                prop_assert_eq!(at(&part, path), at(&tree, path), "{} in {}", path, tree);
            }
        }
    }
}
