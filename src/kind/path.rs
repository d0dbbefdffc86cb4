//! A compiled JSONPath (RFC 9535).
//!
//! The JSONPath crate parses it; what it asks for is [`query`]'s, and [`walk`] finds it.

use jsonpath_rust::parser::errors::JsonPathError;
use jsonpath_rust::parser::parse_json_path;
use pest::error::InputLocation;
use serde_json::Value;

use crate::diagnostic::Fault;

use super::query::{self, Query, Segment, Selector};
use super::walk::walk;

/// The longest JSONPath, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// How deep brackets and parentheses may nest. The parser is recursive, and where a nested function call does not
/// parse it tries three rules at each level.
const PATH_NESTING_MAX: usize = 6;

/// How often `..` may stand in a path, its filters included: behind a second one a value is found as often as it is deep.
const PATH_DESCENTS_MAX: usize = 1;

/// A JSONPath, parsed once.
#[derive(Clone, Debug)]
pub struct Path {
    text: Box<str>,
    query: Query,
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
        let parsed = parse_json_path(text).map_err(|error| explain(text, &error))?;
        let query = query::compile(&parsed).map_err(|(problem, fix)| Fault::new(0..text.len(), problem, fix))?;
        Ok(Self { text: text.into(), query })
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
        walk(&self.query.segments, document, &mut test)
    }

    /// The name of a member of the root, when that is all of the path (`event_type` in `$.event_type`).
    #[must_use]
    pub fn only_member(&self) -> Option<&str> {
        match &*self.query.segments {
            [Segment::One(Selector::Name(name))] => Some(name),
            _ => None,
        }
    }

    /// Whether it leads to one value at most: it consists of names and indexes alone.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        query::is_singular(&self.query.segments)
    }

    /// What the patterns of its filters cost at most: see [`super::pattern`].
    #[must_use]
    pub fn positions(&self) -> usize {
        self.query.positions
    }

    /// Its steps.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.query.segments
    }

    /// The names that the path goes through, when it consists of names alone (`data`, `id` in `$.data.id`).
    #[must_use]
    pub fn members(&self) -> Option<Vec<&str>> {
        self.query.segments.iter().map(name).collect()
    }

    /// The name of the first member below the root (`data` in `$.data.id`), when the path begins with one.
    #[must_use]
    pub fn root_member(&self) -> Option<&str> {
        self.query.segments.first().and_then(name)
    }
}

fn name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::One(Selector::Name(name)) => Some(name),
        _ => None,
    }
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
            let problem = "the JSONPath has `..` more than once";
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
#[allow(clippy::unwrap_used, clippy::format_collect, reason = "a test may fail, and need not be fast")]
mod tests {
    use super::*;
    use crate::kind::query::PATH_PARTS_MAX;

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
            ("$..a..b".to_owned(), "`..` more than once"),
            ("$..a[?@..b]".to_owned(), "`..` more than once"),
            ("$[0,0][0,0]".to_owned(), "selects the same twice"),
            ("$['a','b','a']".to_owned(), "selects the same twice"),
            ("$[*,*][*,*]".to_owned(), "names and indexes only"),
            ("$..[*,'a']".to_owned(), "names and indexes only"),
            ("$[0:2,1:3]".to_owned(), "names and indexes only"),
            ("$[?@.a,?@.b]".to_owned(), "names and indexes only"),
            ("$.l[?$.l[*]]".to_owned(), "more than one value"),
            ("$.l[?!$.l[?@.a]]".to_owned(), "more than one value"),
            ("$.l[?length($.text) > 1]".to_owned(), "begins with `$`"),
            ("$.l[?count($.l[*]) > 1]".to_owned(), "begins with `$`"),
            ("$.l[?value($.l[*]) == 1]".to_owned(), "begins with `$`"),
            ("$.l[?match($.text, 'a')]".to_owned(), "begins with `$`"),
            ("$.l[?search(@, $.pattern)]".to_owned(), "is not written in the path"),
            ("$.l[?match(@.a, @.b)]".to_owned(), "is not written in the path"),
            ("$.l[?match(@.a, 'x{1,1000}{1,1000}')]".to_owned(), "positions"),
            ("$.l[?match(@.a, '(')]".to_owned(), "unclosed group"),
            ("$.l[?in(@, $.wanted)]".to_owned(), "no function `in`"),
            ("$.l[?subset_of(@, $.wanted)]".to_owned(), "no function `subset_of`"),
            ("$.l[?length(@.a)]".to_owned(), "gives a value"),
            ("$.l[?length(match(@.a, 'a')) == 1]".to_owned(), "give no value"),
            ("$.l[?length(@.*) > 1]".to_owned(), "takes one value"),
            ("$.l[?@.a == 1e999]".to_owned(), "too large"),
            ("$".to_owned() + &".a".repeat(PATH_PARTS_MAX + 1), "more than 64 parts"),
            (format!("$[?{}@.a]", "@.a&&".repeat(PATH_PARTS_MAX)), "more than 64 parts"),
            (
                format!("$[{}999]", (0..PATH_PARTS_MAX).map(|n| format!("{n},")).collect::<String>()),
                "more than 64 parts",
            ),
        ];
        for (text, problem) in cases {
            let fault = Path::parse(&text).unwrap_err();
            assert!(fault.problem.contains(problem), "{text}: {fault:?}");
            assert!(fault.fix.is_some() && text.get(fault.at.clone()).is_some(), "{fault:?}");
        }
        assert!(Path::parse(&("$".to_owned() + &".a".repeat(PATH_PARTS_MAX))).is_ok());
        let quoted = format!("$['{}']", "[".repeat(50));
        assert!(Path::parse(&quoted).is_ok(), "brackets in a name do not nest");
        let failing = "$[?".to_owned() + &"length(".repeat(PATH_NESTING_MAX - 1) + "@" + &".a".repeat(450);
        let failing = failing + "=" + &")".repeat(PATH_NESTING_MAX - 1) + "]";
        assert!(Path::parse(&failing).is_err(), "the slowest that is parsed ends soon");
    }
}
