//! Filters in words, for people who do not read TOML: one plain sentence each.

use super::{Filter, Glob, REFUSAL_ITEM_CHARS_MAX, Test};
use crate::kind::value::cut;

/// How many patterns a sentence lists; of more the number is told.
const LISTED_MAX: usize = 20;

impl Filter {
    /// What it asks, in a sentence without a full stop: `integration is one of prod-*, staging`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let label = &self.label;
        match &self.test {
            Test::AnyOf(globs) => format!("{label} is {}", one_of(globs)),
            Test::NoneOf(globs) => match globs.as_slice() {
                [one] => format!("{label} is not {}", shown(one)),
                _ => format!("{label} is none of {}", listed(globs)),
            },
            Test::EveryOf(globs) => format!("every {label} is {}", one_of(globs)),
            Test::Matches(pattern) => format!("{label} matches `{}`", cut(pattern.text(), REFUSAL_ITEM_CHARS_MAX)),
            Test::Exists(true) => format!("{label} is there"),
            Test::Exists(false) => format!("{label} is not there"),
            Test::Min(least) => format!("{label} is at least {least}"),
            Test::Max(most) => format!("{label} is at most {most}"),
        }
    }
}

fn one_of(globs: &[Glob]) -> String {
    match globs {
        [one] => shown(one),
        _ => format!("one of {}", listed(globs)),
    }
}

fn listed(globs: &[Glob]) -> String {
    let first: Vec<String> = globs.iter().take(LISTED_MAX).map(shown).collect();
    let first = first.join(", ");
    match globs.len().saturating_sub(LISTED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// A pattern; in quotes where it would not be told from the sentence without them.
fn shown(glob: &Glob) -> String {
    let text = cut(&glob.to_string(), REFUSAL_ITEM_CHARS_MAX);
    let plain = |character: char| !character.is_whitespace() && !matches!(character, ',' | '"');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("\"{text}\"") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;
    use crate::kind::Path;

    fn sentence(test: Test) -> String {
        Filter { label: "integration".to_owned(), path: Path::parse("$.x").unwrap(), test }.sentence()
    }

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| Glob::new(pattern)).collect()
    }

    #[test]
    fn every_test_has_its_sentence() {
        for (test, expected) in [
            (Test::AnyOf(globs(&["prod-*", "staging"])), "integration is one of prod-*, staging"),
            (Test::AnyOf(globs(&["prod-*"])), "integration is prod-*"),
            (Test::AnyOf(globs(&["my db", "a,b", ""])), "integration is one of \"my db\", \"a,b\", \"\""),
            (Test::NoneOf(globs(&["dev", "test"])), "integration is none of dev, test"),
            (Test::NoneOf(globs(&["dev"])), "integration is not dev"),
            (Test::EveryOf(globs(&["a", "b"])), "every integration is one of a, b"),
            (Test::EveryOf(globs(&["a"])), "every integration is a"),
            (Test::matches("^prod").unwrap(), "integration matches `^prod`"),
            (Test::Exists(true), "integration is there"),
            (Test::Exists(false), "integration is not there"),
            (Test::Min(5.0), "integration is at least 5"),
            (Test::Max(0.5), "integration is at most 0.5"),
        ] {
            assert_eq!(sentence(test), expected);
        }
    }

    #[test]
    fn a_sentence_is_bounded() {
        let long = sentence(Test::AnyOf(globs(&["x".repeat(1000).as_str(); 1000])));
        assert!(long.ends_with(" and 980 more") && long.len() < 2000, "{long}");
    }
}
