//! What is read of an event: the part of its tree that is made where nobody looks at the rest.
//!
//! Making a tree of all that came, and taking it down again, costs more than rendering a request does. Most templates read a few
//! fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::scan;

/// Objects of so many members are looked through: to hash a name takes longer.
const FEW_MEMBERS: usize = 16;

/// The parts of a document that somebody reads, as a tree: its first node is the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reads {
    nodes: Vec<Node>,
}

/// What is read of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// All of it, and not only what lies at the others.
    pub(super) whole: bool,
    /// Its members, by their names in order, with their nodes.
    names: Vec<(Box<str>, usize)>,
    /// Its elements, with their nodes. What a step of a path is depends on what is there.
    indexes: BTreeMap<usize, usize>,
}

impl Default for Reads {
    /// Nothing.
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Reads {
    /// All of a document.
    #[must_use]
    pub fn whole() -> Self {
        Self { nodes: vec![Node { whole: true, ..Node::default() }] }
    }

    /// Whether all of the document is read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.nodes.first().is_some_and(|node| node.whole)
    }

    /// Adds all of the value at a path: the name of each step, and the same as an index where it is one.
    pub fn add<'p>(&mut self, path: impl Iterator<Item = (&'p str, Option<usize>)>) {
        let mut at = 0;
        for (name, index) in path {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at).filter(|node| !node.whole) else { return };
            let (found, below) = match node.names.binary_search_by(|(known, _)| (**known).cmp(name)) {
                Ok(place) => (true, node.names.get(place).map_or(next, |(_, below)| *below)),
                Err(place) => {
                    node.names.insert(place, (name.into(), next));
                    (false, next)
                }
            };
            let other = index.map(|index| *node.indexes.entry(index).or_insert(below)).filter(|other| *other != below);
            if !found {
                self.nodes.push(Node::default());
            }
            if let Some(other) = other {
                // `0` and `00` are one index.
                self.read_whole(other);
            }
            at = below;
        }
        self.read_whole(at);
    }

    fn read_whole(&mut self, at: usize) {
        if let Some(node) = self.nodes.get_mut(at) {
            *node = Node { whole: true, ..Node::default() };
        }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)
    }

    /// What is read of JSON text; `None` where the scanner leaves that to the parser.
    #[must_use]
    pub fn pick(&self, raw: &[u8]) -> Option<Picked<'_>> {
        scan::pick(raw, self)
    }
}

impl Node {
    /// The node of a member.
    pub(super) fn member(&self, name: &str) -> Option<usize> {
        if self.names.len() > SEARCHED_MIN {
            let place = self.names.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
            return self.names.get(place).map(|(_, below)| *below);
        }
        self.names.iter().find(|(known, _)| **known == *name).map(|(_, below)| *below)
    }

    /// The node of an element.
    pub(super) fn element(&self, index: usize) -> Option<usize> {
        self.indexes.get(&index).copied()
    }

    /// Whether any element is read.
    pub(super) fn has_elements(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// The nodes below: those of elements are also those of members.
    pub(super) fn below(&self) -> impl Iterator<Item = usize> {
        self.names.iter().map(|(_, below)| *below)
    }
}

/// Fewer names are found faster one by one: most differ in their lengths.
const SEARCHED_MIN: usize = 16;

/// What was found of what is read.
#[derive(Debug)]
pub struct Picked<'r> {
    reads: &'r Reads,
    /// By nodes.
    pub(super) found: Vec<Found>,
}

/// What was found at a node.
#[derive(Debug, Default)]
pub(super) enum Found {
    /// Nothing, or nothing in which more is read.
    #[default]
    Nothing,
    /// An object.
    Object,
    /// A list.
    List,
    /// All of the value.
    Value(Value),
}

impl<'r> Picked<'r> {
    /// Nothing yet.
    pub(super) fn new(reads: &'r Reads) -> Self {
        let mut found = Vec::with_capacity(reads.len());
        found.resize_with(reads.len(), Found::default);
        Self { reads, found }
    }

    /// What a path leads to that was added, or that goes on behind one that was.
    pub fn at<'p>(&self, path: impl Iterator<Item = (&'p str, Option<usize>)>) -> Option<&Value> {
        let mut path = path;
        let mut at = 0;
        loop {
            let node = self.reads.node(at)?;
            at = match self.found.get(at)? {
                Found::Nothing => return None,
                Found::Value(value) => return follow(value, path),
                Found::Object => node.member(path.next()?.0)?,
                Found::List => node.element(path.next()?.1?)?,
            };
        }
    }
}

/// What a path leads to in a value.
pub fn follow<'v, 'p>(value: &'v Value, mut path: impl Iterator<Item = (&'p str, Option<usize>)>) -> Option<&'v Value> {
    path.try_fold(value, |value, (name, index)| match value {
        Value::Object(members) => member(members, name),
        Value::Array(list) => list.get(index?),
        _ => None,
    })
}

/// The member of an object with a name.
pub(super) fn member<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    if members.len() > FEW_MEMBERS {
        return members.get(name);
    }
    members.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
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
            reads.add(steps(path));
        }
        reads
    }

    /// The steps of a path.
    pub(in crate::kind) fn steps(path: &str) -> impl Iterator<Item = (&str, Option<usize>)> {
        path.split('.').filter(|step| !step.is_empty()).map(|step| (step, step.parse().ok()))
    }

    #[test]
    fn a_member_is_found_among_few_and_among_many() {
        for count in [1, FEW_MEMBERS, FEW_MEMBERS + 1, 3 * FEW_MEMBERS] {
            let members: Map<_, _> = (0..count).map(|number| (format!("n{number}"), number.into())).collect();
            let found = |number: usize| member(&members, &format!("n{number}")).and_then(Value::as_u64);
            assert!((0..count).all(|number| found(number) == u64::try_from(number).ok()), "{count}");
            assert_eq!(found(count), None);
        }
    }

    #[test]
    fn what_is_read_is_there_and_the_rest_is_not() {
        let text = r#"{"a":{"b":[10,{"c":"x","d":1.50}],"e":2},"f":[1,2],"a2":{},"0":{"1":"n"}}"#;
        let picked = |added: &[&str], asked: &str| {
            let reads = reads(added);
            let picked = reads.pick(text.as_bytes()).unwrap();
            picked.at(steps(asked)).map(Value::to_string).unwrap_or_default()
        };
        for (added, asked, expected) in [
            (&["a.b.1.d"][..], "a.b.1.d", "1.50"),
            (&["a.b.1.d"], "a.b.1.c", ""),
            (&["a.b.1.d"], "a.b", ""),
            (&["a.b.1.d", "a.b"], "a.b.1.c", r#""x""#),
            (&["a.b.1.d", "a.b"], "a.b", r#"[10,{"c":"x","d":1.50}]"#),
            (&["a.e.x"], "a.e.x", ""),
            (&["f.0", "0.1"], "f.0", "1"),
            (&["f.0", "0.1"], "0.1", r#""n""#),
            (&["f.7", "f.1"], "f.7", ""),
            (&["f.7", "f.1"], "f.1", "2"),
            (&["f.x"], "f.x", ""),
            (&["f.00", "a.b.01.c", "a.b.1.d"], "f.00", "1"),
            (&["f.00", "a.b.01.c", "a.b.1.d"], "a.b.01.c", r#""x""#),
            (&["f.00", "a.b.01.c", "a.b.1.d"], "a.b.1.d", "1.50"),
            (&["a", "b.c"], "b.c", ""),
            (&["x"], "x", ""),
        ] {
            assert_eq!(picked(added, asked), expected, "{asked} of {added:?}");
        }
        assert_eq!(
            reads(&["a", ""]),
            Reads { nodes: vec![Node { whole: true, ..Node::default() }, Node { whole: true, ..Node::default() }] }
        );
        assert!(reads(&["a", ""]).is_whole() && Reads::whole().is_whole() && !reads(&["a"]).is_whole());
        let twice = reads(&["a.x", "a.y.z", "b"]);
        let picked = twice.pick(br#"{"a":{"x":1,"y":{"z":1}},"a":{"y":2},"b":3,"b":4}"#).unwrap();
        assert_eq!(["a.x", "a.y.z"].map(|path| picked.at(steps(path))), [None, None], "the last one counts");
        assert_eq!(picked.at(steps("b")).map(Value::to_string).as_deref(), Some("4"));
        for broken in ["{", r#"{"a":1} x"#, r#"{"b":[1,}"#, r#"{"b":"x}"#, ""] {
            assert!(reads(&["a"]).pick(broken.as_bytes()).is_none(), "{broken}");
        }
    }

    #[test]
    fn of_many_names_each_is_found() {
        let names: Vec<String> = (0..50).map(|n| format!("n{n}")).collect();
        let reads = reads(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let text =
            Value::Object(names.iter().map(|name| (name.clone(), Value::from(name.as_str()))).collect()).to_string();
        let picked = reads.pick(text.as_bytes()).unwrap();
        for name in &names {
            assert_eq!(picked.at(steps(name)).and_then(Value::as_str), Some(&**name));
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
            let (reads, text) = (reads(&paths), tree.to_string());
            let picked = reads.pick(text.as_bytes()).unwrap();
            for path in paths {
                prop_assert_eq!(picked.at(steps(path)), follow(&tree, steps(path)), "{} in {}", path, tree);
            }
        }
    }
}
