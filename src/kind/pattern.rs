//! Regular expressions within limits.
//!
//! The engine needs no more than a step for each byte of a text and each position of the expression, and mostly far less. So the
//! positions are what is bounded, with counted repetitions written out: `[a-z]{1,63}` has 63.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// The longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// How many characters and classes a regular expression may have when its repetitions are written out.
pub const PATTERN_POSITIONS_MAX: usize = 1000;

/// How many all regular expressions of a webhook may have together.
pub const PATTERNS_POSITIONS_MAX: usize = 2 * PATTERN_POSITIONS_MAX;

/// How large a regular expression may become when it is compiled, in bytes; `\w` takes 50 KiB of it, for it is every letter of
/// every script.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// How much memory one thread may use to match faster, in bytes.
const CACHE_BYTES_MAX: usize = 512 * 1024;

/// How deep groups may nest.
const PATTERN_NESTING_MAX: u32 = 50;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    written: Box<str>,
    positions: usize,
}

impl Pattern {
    /// Whether a text matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.written
    }

    /// What it costs at most: its characters and classes with repetitions written out.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.positions
    }
}

/// Whether the whole text has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchored {
    /// All of it (`match` of RFC 9535). `.` is no end of a line, of whatever kind.
    Yes,
    /// Any part of it.
    No,
    /// Any part of it (`search` of RFC 9535), with `.` as in `match`.
    Search,
}

/// Compiles an expression. The error is a problem and its fix.
pub fn compile(pattern: &str, anchored: Anchored) -> Result<Pattern, (String, String)> {
    let refuse = |problem: String, fix: &str| Err((problem, fix.to_owned()));
    if pattern.len() > PATTERN_BYTES_MAX {
        let problem =
            format!("the regular expression is {} bytes long, and {PATTERN_BYTES_MAX} is the limit", pattern.len());
        return refuse(problem, "use a shorter one, or `any_of` with globs");
    }
    let mut parser = regex_syntax::ParserBuilder::new().nest_limit(PATTERN_NESTING_MAX).build();
    let parsed = match parser.parse(pattern) {
        Ok(parsed) => parsed,
        Err(error) => return Err(invalid(&error.to_string())),
    };
    let positions = positions(&parsed);
    if positions > PATTERN_POSITIONS_MAX {
        let problem = format!(
            "the regular expression has {positions} positions with its repetitions written out, and {PATTERN_POSITIONS_MAX} is the limit"
        );
        return refuse(problem, "make its repetitions smaller: `+` and `*` cost nothing");
    }
    let whole = match anchored {
        Anchored::Yes => format!("^(?:{pattern})$"),
        Anchored::No | Anchored::Search => pattern.to_owned(),
    };
    let mut builder = RegexBuilder::new(&whole);
    builder.size_limit(PATTERN_COMPILED_BYTES_MAX).dfa_size_limit(CACHE_BYTES_MAX);
    builder.crlf(anchored != Anchored::No);
    match builder.build() {
        Ok(regex) => Ok(Pattern { regex, written: pattern.into(), positions }),
        Err(regex::Error::CompiledTooBig(_)) => refuse(
            "the regular expression becomes too large when it is compiled".to_owned(),
            "make its repetitions smaller, and write `[A-Za-z0-9_]` for `\\w` and `[0-9]` for `\\d` where that is all that is meant",
        ),
        Err(error) => Err(invalid(&error.to_string())),
    }
}

/// The crate draws the pattern with a caret over several lines; the last one is the sentence.
fn invalid(text: &str) -> (String, String) {
    let sentence = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let fix = "mend the expression; a literal `.`, `(`, `[`, `*`, `+` or `?` is written with a `\\` before it";
    (format!("this is no valid regular expression: {sentence}"), fix.to_owned())
}

/// How many positions an expression has. It nests no deeper than the parser let it.
fn positions(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Capture(group) => positions(&group.sub),
        HirKind::Repetition(repeated) => {
            let times = repeated.max.unwrap_or(repeated.min).max(1);
            positions(&repeated.sub).saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(positions).fold(0, usize::saturating_add)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_within_the_limits() {
        for pattern in [
            "",
            "(?i)incident",
            r"^[\w.+-]+@[\w-]+\.[\w.]+$",
            r"\b(prod|production|live)[-_ ]?(db|database|postgres)\b",
            r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}",
            r"^[a-z]{1,63}(\.[a-z]{1,63}){1,5}$",
            r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
            "^.{1,200}$",
        ] {
            assert!(compile(pattern, Anchored::No).is_ok(), "{pattern}: {:?}", compile(pattern, Anchored::No));
        }
    }

    #[test]
    fn what_could_cost_much_is_refused_before_it_is_compiled() {
        let nested = "(".repeat(60) + "a" + &")".repeat(60);
        for (pattern, says) in [
            (&*"a".repeat(PATTERN_BYTES_MAX + 1), "is the limit"),
            ("x{1,1000}{1,1000}", "has 1000000 positions"),
            ("(?:a{1000}){1000}", "has 1000000 positions"),
            ("(?:[01]*1[01]{900}){2}x", "has 1805 positions"),
            ("(?:(?:a?){1000}){1000}", "positions"),
            (r"\w{40}", "too large"),
            ("(a", "unclosed group"),
            (&nested, "nested"),
        ] {
            let (problem, fix) = compile(pattern, Anchored::No).unwrap_err();
            assert!(problem.contains(says), "{pattern}: {problem}");
            assert!(!fix.is_empty());
        }
    }

    #[test]
    fn an_anchored_expression_matches_the_whole_text() {
        let matches = |pattern: &str, text: &str| compile(pattern, Anchored::Yes).unwrap().is_match(text);
        assert!(matches("a|bc", "bc") && !matches("a|bc", "abc"));
        assert!(matches("a.b", "a-b") && !matches("a.b", "a\rb") && !matches("a.b", "a\nb"));
        assert!(compile("a)|(b", Anchored::Yes).is_err());
    }
}
