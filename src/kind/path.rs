//! A compiled JSONPath (RFC 9535).
//!
//! Most paths are names, indexes and wildcards alone. They are walked here, without allocation; everything else
//! (slices, unions, descendants, filters) goes through the JSONPath crate.

use jsonpath_rust::parser::errors::JsonPathError;
use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use pest::error::InputLocation;
use serde_json::Value;

use crate::diagnostic::Fault;

/// The longest JSONPath, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// How deep brackets and parentheses may nest. The parser is recursive, and where a nested function call does not
/// parse it tries three rules at each level.
const PATH_NESTING_MAX: usize = 6;

/// How often `..` may stand in a path: each one multiplies the values that are visited.
const PATH_DESCENTS_MAX: usize = 2;

/// A JSONPath, parsed once.
#[derive(Clone, Debug)]
pub struct Path {
    text: Box<str>,
    root: Option<Box<str>>,
    plan: Plan,
}

/// How a path is evaluated.
#[derive(Clone, Debug)]
enum Plan {
    Walk(Box<[Step]>),
    Query(Box<JpQuery>),
}

/// One step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A member.
    Name(Box<str>),
    /// An element, from the end where negative.
    Index(i64),
    /// Every member or element.
    Wildcard,
}

/// The text decides: equal texts are equal paths.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Path {
    /// Parses a JSONPath. The fault's place is in `text`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        guard(text)?;
        let query = parse_json_path(text).map_err(|error| explain(text, &error))?;
        let root = match query.segments.first() {
            Some(Segment::Selector(Selector::Name(name))) => Some(name.as_str().into()),
            _ => None,
        };
        let plan = steps(&query).map_or_else(|| Plan::Query(Box::new(query)), Plan::Walk);
        Ok(Self { text: text.into(), root, plan })
    }

    /// The path as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All values at the path, in document order.
    #[must_use]
    pub fn all<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        let mut values = Vec::new();
        self.any(document, |value| {
            values.push(value);
            false
        });
        values
    }

    /// The first value at the path.
    #[must_use]
    pub fn first<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        let mut first = None;
        self.any(document, |value| {
            first = Some(value);
            true
        });
        first
    }

    /// Whether the test holds for a value at the path. Values come in document order, and none after the first that
    /// holds.
    pub fn any<'v>(&self, document: &'v Value, mut test: impl FnMut(&'v Value) -> bool) -> bool {
        match &self.plan {
            Plan::Walk(steps) => walk(steps, document, &mut test),
            // The crate's error is a query whose result is a computed value, which the grammar has no way to write.
            Plan::Query(query) => {
                js_path_process(query, document).unwrap_or_default().into_iter().any(|found| test(found.val))
            }
        }
    }

    /// The name of a member of the root, when that is all of the path (`event_type` in `$.event_type`).
    #[must_use]
    pub fn only_member(&self) -> Option<&str> {
        match &self.plan {
            Plan::Walk(steps) => match &**steps {
                [Step::Name(name)] => Some(name),
                _ => None,
            },
            Plan::Query(_) => None,
        }
    }

    /// Whether it leads to one value at most: it consists of names and indexes alone.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.steps().is_some_and(|steps| !steps.contains(&Step::Wildcard))
    }

    /// Its steps, when it consists of names, indexes and wildcards alone.
    pub(super) fn steps(&self) -> Option<&[Step]> {
        match &self.plan {
            Plan::Walk(steps) => Some(steps),
            Plan::Query(_) => None,
        }
    }

    /// The names that the path goes through, when it consists of names alone (`data`, `id` in `$.data.id`).
    #[must_use]
    pub fn members(&self) -> Option<Vec<&str>> {
        let Plan::Walk(steps) = &self.plan else { return None };
        steps.iter().map(|step| if let Step::Name(name) = step { Some(&**name) } else { None }).collect()
    }

    /// The name of the first member below the root (`data` in `$.data.id`), when the path begins with one.
    #[must_use]
    pub fn root_member(&self) -> Option<&str> {
        self.root.as_deref()
    }
}

/// The steps of a query that consists of names, indexes and wildcards alone.
fn steps(query: &JpQuery) -> Option<Box<[Step]>> {
    query
        .segments
        .iter()
        .map(|segment| match segment {
            Segment::Selector(Selector::Name(name)) => Some(Step::Name(name.as_str().into())),
            Segment::Selector(Selector::Index(index)) => Some(Step::Index(*index)),
            Segment::Selector(Selector::Wildcard) => Some(Step::Wildcard),
            _ => None,
        })
        .collect()
}

fn walk<'v>(mut steps: &[Step], mut value: &'v Value, test: &mut dyn FnMut(&'v Value) -> bool) -> bool {
    while let Some((step, rest)) = steps.split_first() {
        let next = match (step, value) {
            (Step::Name(name), Value::Object(members)) => members.get(&**name),
            (Step::Index(index), Value::Array(elements)) => element(elements, *index),
            (Step::Wildcard, Value::Array(elements)) => {
                return elements.iter().any(|element| walk(rest, element, test));
            }
            (Step::Wildcard, Value::Object(members)) => {
                return members.values().any(|member| walk(rest, member, test));
            }
            _ => None,
        };
        let Some(next) = next else { return false };
        value = next;
        steps = rest;
    }
    test(value)
}

fn element(elements: &[Value], index: i64) -> Option<&Value> {
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let index = if index < 0 { elements.len().checked_sub(distance)? } else { distance };
    elements.get(index)
}

/// Refuses what the parser must not see.
fn guard(text: &str) -> Result<(), Fault> {
    if !text.starts_with('$') {
        let fix = match text.trim() {
            "" => "write `$` for the whole document, or a path such as `$.data.id`".to_owned(),
            path if path.starts_with('$') => format!("write `{path}`, without blanks around it"),
            path if path.starts_with('[') => format!("write `${path}`"),
            path => format!("write `$.{}`", path.trim_start_matches(['.', '@'])),
        };
        return Err(Fault::new(0..text.len(), "a JSONPath begins with `$`", fix));
    }
    if text.len() > PATH_BYTES_MAX {
        let problem = format!("the JSONPath is {} bytes long, and {PATH_BYTES_MAX} is the limit", text.len());
        let rest = text.floor_char_boundary(PATH_BYTES_MAX)..text.len();
        return Err(Fault::new(rest, problem, "use a shorter path"));
    }
    let mut open = Vec::new();
    let mut descents = 0;
    let mut quote = None;
    let mut before = '$';
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some((_, mark)), _) if mark == character => quote = None,
            (None, '\'' | '"') => quote = Some((at, character)),
            (None, '[' | '(') => open.push((at, character)),
            (None, ']' | ')') => drop(open.pop()),
            (None, '.') if before == '.' => descents += 1,
            // The parser would take `$.a b` for a member named `a b`.
            (None, _)
                if open.is_empty() && before.is_whitespace() && !character.is_whitespace() && character != '.' =>
            {
                return Err(misplaced(text, at));
            }
            _ => {}
        }
        before = character;
        if open.len() > PATH_NESTING_MAX {
            let problem = format!("the JSONPath nests brackets deeper than {PATH_NESTING_MAX} levels");
            return Err(Fault::new(at..at + 1, problem, "use a simpler path"));
        }
        if descents > PATH_DESCENTS_MAX {
            let problem = format!("the JSONPath has `..` more than {PATH_DESCENTS_MAX} times");
            return Err(Fault::new(at - 1..at + 1, problem, "name the members between, or use `*`"));
        }
    }
    // The parser would complain about what it read inside, as if that were wrong.
    let Some(bracket) = open.pop() else { return Ok(()) };
    let (at, opened) = quote.unwrap_or(bracket);
    let end = match opened {
        '[' => ']',
        '(' => ')',
        quote => quote,
    };
    Err(Fault::new(at..at + 1, format!("this `{opened}` is never closed"), format!("close it with `{end}`")))
}

const EXAMPLE: &str =
    "a JSONPath looks like `$.data.items[0].name`, `$.items[*].id` or `$.items[?@.status == 'Active']`";

/// The fault for a path that the parser refused.
fn explain(text: &str, error: &JsonPathError) -> Fault {
    let JsonPathError::PestError(error) = error else {
        return Fault::new(0..text.len(), "this is no valid JSONPath", EXAMPLE);
    };
    let (InputLocation::Pos(at) | InputLocation::Span((at, _))) = error.location;
    misplaced(text, at)
}

/// The fault for what stands at a place where it cannot.
fn misplaced(text: &str, at: usize) -> Fault {
    let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let Some(found) = rest.chars().next() else {
        let fix =
            if before.ends_with('.') { "name a member behind the last dot, or leave the dot out" } else { EXAMPLE };
        return Fault::new(at..at, "the JSONPath ends too early", fix);
    };
    let fix = if found == '[' && before.ends_with('.') {
        "leave out the dot before `[`".to_owned()
    } else if rest.trim_start().starts_with(['=', '!', '<', '>']) && !before.contains('?') {
        "a path only says where to look; a condition on what is there does not belong in it".to_owned()
    } else if let Some(name) = unquoted_name(before, rest) {
        format!("put a name with other characters than letters, digits and `_` in brackets: `[{name}]`")
    } else {
        EXAMPLE.to_owned()
    };
    Fault::new(at..at + found.len_utf8(), format!("`{found}` cannot stand here in a JSONPath"), fix)
}

/// The quoted name around a place, where it is written behind a dot though only brackets allow its characters.
fn unquoted_name(before: &str, rest: &str) -> Option<String> {
    let (_, start) = before.rsplit_once('.')?;
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let name = format!("{start}{}", rest.get(..end)?.trim_end());
    if name.is_empty() || name.contains(['[', ']', '(', ')', '?', '"', '\\']) {
        return None;
    }
    Some(if name.contains('\'') { format!("\"{name}\"") } else { format!("'{name}'") })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn document() -> Value {
        serde_json::from_str(
            r#"{"a": {"b": [{"c": 1}, {"c": [2, 3]}, {"d": null}, 7]}, "detail-type": "X", "": 4, "x": [],
                "it's": 5, "ü": {"n": "ö"}, "list": [[1, 2], [3], {}], "n": null, "t": true}"#,
        )
        .unwrap()
    }

    #[test]
    fn our_walk_and_the_crate_agree() {
        let documents = [document(), serde_json::json!([[1, 2], {"a": [3]}]), serde_json::json!("text"), Value::Null];
        let paths = [
            "$",
            "$.a",
            "$.a.b",
            "$.a.b[0]",
            "$.a.b[0].c",
            "$.a.b[-1]",
            "$.a.b[-4].c",
            "$.a.b[-5]",
            "$.a.b[9]",
            "$.a.b[*]",
            "$.a.b[*].c",
            "$.a.b[*].c[*]",
            "$.*",
            "$[*]",
            "$.*.*",
            "$[*][*]",
            "$[*][*][*]",
            "$['detail-type']",
            "$[\"detail-type\"]",
            "$['']",
            "$['it\\'s']",
            "$.ü.n",
            "$['\\u00fc']['n']",
            "$.list[*][0]",
            "$.list[*][-1]",
            "$.x[*]",
            "$.n",
            "$.n.m",
            "$.t[0]",
            "$.missing",
            "$.a[0]",
            "$.a.b.c",
            "$[0]",
            "$[1].a[0]",
            "$[-1]",
            "$ .a [ 'b' ] [0]",
            "$.list.*.*",
        ];
        let mut found = 0;
        for text in paths {
            let path = Path::parse(text).unwrap();
            assert!(matches!(path.plan, Plan::Walk(_)), "{text} is walked");
            let query = parse_json_path(text).unwrap();
            for document in &documents {
                let theirs: Vec<&Value> =
                    js_path_process(&query, document).unwrap().into_iter().map(|found| found.val).collect();
                assert_eq!(path.all(document), theirs, "{text} over {document}");
                assert_eq!(path.first(document), theirs.first().copied(), "{text} over {document}");
                found += theirs.len();
            }
        }
        assert!(found > 60, "the paths found only {found} values");
    }

    #[test]
    fn other_paths_go_through_the_crate() {
        let document = document();
        let cases = [
            ("$..c", "[1,[2,3]]"),
            ("$.a.b[0:2].c", "[1,[2,3]]"),
            ("$['t','detail-type']", "[true,\"X\"]"),
            ("$.a.b[?@.c == 1]", "[{\"c\":1}]"),
            ("$.a.b[?@.c == 1.0].c", "[1]"),
            ("$.a.b[?@.nope]", "[]"),
        ];
        for (text, expected) in cases {
            let path = Path::parse(text).unwrap();
            assert!(matches!(path.plan, Plan::Query(_)), "{text} is no walk");
            assert_eq!(serde_json::to_string(&path.all(&document)).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn the_root_member_is_the_first_name() {
        for (text, expected) in [
            ("$.data.id", Some("data")),
            ("$['detail-type']", Some("detail-type")),
            ("$.data[?@.x]", Some("data")),
            ("$", None),
            ("$[0].a", None),
            ("$..status", None),
            ("$['a','b']", None),
        ] {
            assert_eq!(Path::parse(text).unwrap().root_member(), expected, "{text}");
        }
    }

    #[test]
    fn a_syntax_error_says_where_and_how_to_mend_it() {
        let cases = [
            ("", 0..0, "`$` for the whole document"),
            ("data.id", 0..7, "write `$.data.id`"),
            ("['a'].b", 0..7, "write `$['a'].b`"),
            (" $.a", 0..4, "write `$.a`, without blanks"),
            ("$.detail-type", 8..9, "`['detail-type']`"),
            ("$.data.", 7..7, "behind the last dot"),
            ("$.data[0", 6..7, "close it with `]`"),
            ("$.data['a", 7..8, "close it with `'`"),
            ("$.a[?(@.b == 1]", 3..4, "close it with `]`"),
            ("$.it's", 4..5, "`[\"it's\"]`"),
            ("$.2nd", 2..3, "`['2nd']`"),
            ("$.data.[0]", 7..8, "leave out the dot"),
            ("$.data.ok == true", 10..11, "only says where to look"),
            ("$.a[?@.x = 1]", 9..10, "a JSONPath looks like"),
            ("$.a b", 4..5, "`['a b']`"),
        ];
        for (text, at, fix) in cases {
            let fault = Path::parse(text).unwrap_err();
            assert_eq!(fault.at, at, "{text}: {fault:?}");
            assert!(fault.fix.as_deref().unwrap().contains(fix), "{text}: {fault:?}");
        }
    }

    #[test]
    fn hostile_paths_are_refused_before_they_are_parsed() {
        let cases = [
            ("$".to_owned() + &"[?(".repeat(300), "nests brackets"),
            ("$[?".to_owned() + &"length(".repeat(9), "nests brackets"),
            ("$".to_owned() + &".a".repeat(PATH_BYTES_MAX), "is the limit"),
            ("$..a..b..c".to_owned(), "`..` more than 2 times"),
        ];
        for (text, problem) in cases {
            let fault = Path::parse(&text).unwrap_err();
            assert!(fault.problem.contains(problem), "{fault:?}");
        }
        let quoted = format!("$['{}']", "[".repeat(50));
        assert!(Path::parse(&quoted).is_ok(), "brackets in a name do not nest");
        let failing = "$[?".to_owned() + &"length(".repeat(PATH_NESTING_MAX - 1) + "@" + &".a".repeat(450);
        let failing = failing + "=" + &")".repeat(PATH_NESTING_MAX - 1) + "]";
        assert!(Path::parse(&failing).is_err(), "the slowest that is parsed ends soon");
    }
}
