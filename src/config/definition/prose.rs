//! Secrets in texts that are no TOML: bodies, comments, titles, and files that are not whole.
//!
//! Nothing here is certain, so what looks like a secret is one: the value behind a name that sounds like one, the word behind the
//! scheme of a credential, a pasted key, and the URLs that are secrets as a whole.

use std::ops::Range;

use super::value::is_open;
use crate::config::lint::{PASTED_KEY, SCHEMES, SECRET_PARAMETERS, SECRET_URLS, is_secret_header, may_be_secret};

/// How a pasted key ends.
const PASTED_KEY_END: &str = "-----END";

/// The shortest word behind a scheme that is taken for a credential, in bytes.
const CREDENTIAL_BYTES_MIN: usize = 6;

/// What is typed in a text and is a secret, as bytes of it; ranges may overlap.
pub(super) fn typed(text: &str) -> Vec<Range<usize>> {
    let mut found = keys(text);
    found.extend(secret_urls(text));
    found.extend(credentials(text));
    found.extend(assigned(text, &[]));
    found
}

/// What stands behind the host of every URL in a text.
pub(super) fn urls(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut seen = 0;
    for (at, scheme) in text.match_indices("://") {
        // What is behind the host of one is hidden, and another one in it.
        if at < seen {
            continue;
        }
        let host = at + scheme.len();
        let before = text.get(..at).unwrap_or_default();
        let before = before.trim_end_matches(|character: char| character.is_ascii_alphanumeric()).chars().last();
        let quote = before.filter(|character| matches!(character, '"' | '\'' | '`'));
        let rest = text.get(host..).unwrap_or_default();
        let ends = |character: char| character.is_whitespace() || Some(character) == quote;
        let url = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        seen = host + url.len();
        let Some(path) = url.find(['/', '?', '#', '\\']) else { continue };
        let users = url.get(..path).and_then(|host| host.rfind('@'));
        found.extend(users.map(|end| host..host + end));
        found.extend((host + path + 1 < seen).then_some(host + path + 1..seen));
    }
    found
}

/// The values behind names that sound like secrets, or are among `more`.
pub(super) fn assigned(text: &str, more: &[&str]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut judged = 0;
    for (at, _) in text.match_indices(['=', ':']) {
        if at < judged {
            continue;
        }
        let before = text.get(..at).unwrap_or_default().trim_end_matches([' ', '\t', '"', '\'', '\\', '`']);
        let is_of_name = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | '.');
        let start = before.rfind(|character| !is_of_name(character)).map_or(0, |end| end + last_char(before, end));
        let name = before.get(start..).unwrap_or_default().to_lowercase();
        let in_query = before.get(..start).is_none_or(|before| before.is_empty() || before.ends_with(['?', '&']));
        let own = name.rsplit('.').next().unwrap_or_default();
        let sounds =
            is_secret_header(&name) || (in_query && SECRET_PARAMETERS.contains(&&*name)) || more.contains(&own);
        if !sounds {
            continue;
        }
        let range = value(text, at + 1);
        judged = range.end;
        let value = text.get(range.clone()).unwrap_or_default();
        if !is_open(value) && may_be_secret(value) {
            found.push(range);
        }
    }
    found
}

/// The length of the character that begins at a byte.
fn last_char(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

/// Where the value stands that begins at a byte or behind blanks: within its quotes or brackets, or up to what ends it.
fn value(text: &str, from: usize) -> Range<usize> {
    let rest = text.get(from..).unwrap_or_default();
    let start = from + rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '=', ':']).len();
    let rest = text.get(start..).unwrap_or_default();
    // In a text within a text the quotes are escaped.
    let escapes = rest.len() - rest.trim_start_matches('\\').len();
    let inner = rest.get(escapes..).unwrap_or_default();
    let Some(first) = inner.chars().next() else { return start..start };
    match first {
        '"' | '\'' | '`' => {
            // Of three quotes the first two are an empty text, and what is meant stands behind them.
            let open = inner.len() - inner.trim_start_matches(first).len();
            let begin = start + escapes + if open >= 3 { 3 } else { 1 };
            begin..begin + quoted(text.get(begin..).unwrap_or_default(), first, escapes, open >= 3)
        }
        '[' => start..start + balanced(rest),
        '{' if !inner.starts_with("{{") => start..start + balanced(rest),
        _ => {
            let end = rest.find(['&', '\n', '\r', '"', '\'', '<']).unwrap_or(rest.len());
            let end = rest.get(..end).unwrap_or_default().trim_end_matches([' ', '\t', ',', ';', '\\']).len();
            start..start + end
        }
    }
}

/// How long a text is that ends in this quote, which is behind so many escapes.
fn quoted(text: &str, quote: char, escapes: usize, three: bool) -> usize {
    let (mut backslashes, mut braces) = (0, 0_usize);
    for (at, character) in text.char_indices() {
        let rest = text.get(at..).unwrap_or_default();
        match character {
            '\\' => {
                backslashes += 1;
                continue;
            }
            // A quote within an expression is the expression's.
            '{' if rest.starts_with("{{") => braces += 1,
            '}' if rest.starts_with("}}") => braces = braces.saturating_sub(1),
            '\n' if !three => return at,
            _ if character == quote && braces == 0 => {
                let is_free = backslashes <= escapes || (escapes == 0 && backslashes % 2 == 0);
                if is_free && (!three || rest.chars().take(3).all(|next| next == quote)) {
                    return at - backslashes.min(escapes);
                }
            }
            _ => {}
        }
        backslashes = 0;
    }
    text.len()
}

/// How long what stands in brackets is, with them; all of it where they do not close.
fn balanced(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '[' | '{' => depth += 1,
            ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Keys that were pasted, up to where they end.
fn keys(text: &str) -> Vec<Range<usize>> {
    let end = |start: usize| {
        let last = text.get(start..)?.find(PASTED_KEY_END).map(|end| start + end + PASTED_KEY_END.len())?;
        Some(last + text.get(last..)?.find(['\n', '"', '\'']).unwrap_or(text.len() - last))
    };
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, _) in text.match_indices(PASTED_KEY) {
        if found.last().is_none_or(|last| last.end <= start) {
            found.push(start..end(start).unwrap_or(text.len()));
        }
    }
    found
}

/// URLs that are secrets behind a known part of them.
fn secret_urls(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for known in SECRET_URLS {
        let mut seen = 0;
        for (at, _) in lower.match_indices(known) {
            let start = at + known.len();
            if start <= seen {
                continue;
            }
            seen = start + text.get(start..).map_or(0, word);
            found.extend(Some(start..seen).filter(|range| text.get(range.clone()).is_some_and(|path| !is_open(path))));
        }
    }
    found
}

/// Words behind the scheme of a credential.
fn credentials(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for scheme in SCHEMES {
        for (at, _) in lower.match_indices(scheme) {
            let rest = text.get(at + scheme.len()..).unwrap_or_default();
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            if blanks == 0 {
                continue;
            }
            let start = at + scheme.len() + blanks;
            let end = start + text.get(start..).map_or(0, word);
            let credential = text.get(start..end).unwrap_or_default().trim_end_matches(['.', ',', ';', ')']);
            if credential.len() >= CREDENTIAL_BYTES_MIN && is_odd(credential) {
                found.push(start..start + credential.len());
            }
        }
    }
    found
}

/// Whether a word is none that people say: it has digits, capitals in it, or what stands in no word.
fn is_odd(word: &str) -> bool {
    let odd = |character: char| character.is_ascii_digit() || matches!(character, '_' | '+' | '/' | '=');
    !is_open(word) && (word.contains(odd) || word.chars().skip(1).any(char::is_uppercase))
}

/// How long the word is that a text begins with.
pub(super) fn word(text: &str) -> usize {
    text.find(|character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '`' | '<' | '>' | '|'))
        .unwrap_or(text.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        super::super::replaced(text, typed(text).into_iter().map(|at| (at, "***".to_owned())).collect())
    }

    #[test]
    fn what_looks_like_a_secret_is_masked_and_the_text_around_it_stays() {
        for (text, expected) in [
            (r#"{"token": "abc", "id": "{{data.id}}"}"#, r#"{"token": "***", "id": "{{data.id}}"}"#),
            (r#"{"token": "{{data.id}}", "secret": "${env:S}"}"#, r#"{"token": "{{data.id}}", "secret": "${env:S}"}"#),
            (r#"{"api_key": 4711, "x": 1}"#, r#"{"api_key": ***, "x": 1}"#),
            (r#"{"password": "a\"b", "x": "y"}"#, r#"{"password": "***", "x": "y"}"#),
            (r#"{"secret": "{{default data.x "abc"}}", "x": 1}"#, r#"{"secret": "***", "x": 1}"#),
            (
                r#"{"inner": "{\"token\": \"abc\", \"x\": \"y\"}"}"#,
                r#"{"inner": "{\"token\": \"***\", \"x\": \"y\"}"}"#,
            ),
            (r#"{"secrets": ["abc", "def"], "x": [1]}"#, r#"{"secrets": ***, "x": [1]}"#),
            (r#"{"Authorization": "Basic YTpi", "key": "OPS"}"#, r#"{"Authorization": "***", "key": "OPS"}"#),
            ("grant=x&client_secret=abc&user={{data.id}}", "grant=x&client_secret=***&user={{data.id}}"),
            ("token=abc&x=1", "token=***&x=1"),
            ("see <https://a.example/x?sig=abc&y=1|here>", "see <https://a.example/x?sig=***&y=1|here>"),
            (
                "post to https://hooks.slack.com/services/T0/B0/X0 now",
                "post to https://hooks.slack.com/services/*** now",
            ),
            ("curl -H 'x: Bearer abc123'", "curl -H 'x: Bearer ***'"),
            ("Basic authentication, and a bearer token", "Basic authentication, and a bearer token"),
            ("-----BEGIN KEY-----\nMII\n-----END KEY-----\nrest", "***\nrest"),
            ("-----BEGIN KEY-----\nMII", "***"),
            ("passwörter: none", "passwörter: none"),
            ("ü.token: x", "ü.token: ***"),
            ("", ""),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn a_hostile_text_is_gone_through_in_no_time() {
        let texts = [
            "token:",
            "token:[",
            "-----BEGIN",
            "://",
            "a://b/",
            "hooks.slack.com/services/",
            "basic ",
            "token: \"{{",
            "{{",
        ];
        for text in texts {
            let text = text.repeat(1_000_000 / text.len());
            assert!(typed(&text).len() + urls(&text).len() < text.len());
        }
    }
}
