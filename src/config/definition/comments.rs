//! Secrets in a TOML file's comments: lines that were commented out, URLs, and words that nobody says.

use std::ops::Range;

use super::prose::{assigned, typed as typed_in_prose, urls, word};
use super::value::is_open;
use crate::config::lint::{PASTED_KEY, is_secret_header};

/// Keys of credentials that do not sound like them.
const KEYS: [&str; 4] = ["auth", "value", "secrets", "basic"];

/// The shortest word of letters and digits that is masked wherever it stands, in bytes.
const ODD_BYTES_MIN: usize = 16;

/// How a pasted key ends.
const PASTED_KEY_END: &str = "-----END";

/// What is typed in the comments of a file and may be a secret, as bytes of it; ranges may overlap.
pub(super) fn typed(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut in_key = false;
    for comment in comments(text) {
        let said = text.get(comment.clone()).unwrap_or_default();
        let moved = |at: Range<usize>| comment.start + at.start..comment.start + at.end;
        if in_key || said.contains(PASTED_KEY) {
            in_key = !said.contains(PASTED_KEY_END);
            found.push(comment.start + said.find(|character| character != '#').unwrap_or(said.len())..comment.end);
            continue;
        }
        found.extend(typed_in_prose(said).into_iter().map(moved));
        found.extend(urls(said).into_iter().map(moved));
        found.extend(assigned(said, &KEYS).into_iter().map(moved));
        found.extend(odd_words(said).into_iter().map(moved));
    }
    found
}

/// Words of letters and digits: the long ones, and in a comment that speaks of secrets all of them.
fn odd_words(comment: &str) -> Vec<Range<usize>> {
    let bytes_min = if is_secret_header(comment) { 1 } else { ODD_BYTES_MIN };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = comment.get(at..).filter(|rest| !rest.is_empty()) {
        // What a reference names is no secret.
        if let Some(reference) = rest.strip_prefix("${") {
            at += 2 + reference.find('}').map_or(reference.len(), |end| end + 1);
            continue;
        }
        let is_between = |character: char| "#=:,;()[]{}".contains(character);
        let odd = rest.get(..word(rest)).unwrap_or_default();
        let odd = odd.get(..odd.find(is_between).unwrap_or(odd.len())).unwrap_or_default();
        let odd = odd.split("${").next().unwrap_or_default();
        let length = odd.len();
        let mixed = odd.contains(|character: char| character.is_ascii_digit()) && odd.contains(char::is_alphabetic);
        if mixed && length >= bytes_min && !is_open(odd) {
            found.push(at..at + length);
        }
        at += length.max(rest.chars().next().map_or(1, char::len_utf8));
    }
    found
}

/// Where the comments of a file stand, each up to the end of its line.
fn comments(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(next) = rest.find(['#', '"', '\'']) else { break };
        let start = at + next;
        let rest = text.get(start..).unwrap_or_default();
        at = start
            + match rest.chars().next() {
                Some('#') => {
                    let length = rest.find('\n').unwrap_or(rest.len());
                    found.push(start..start + rest.get(..length).unwrap_or_default().trim_end().len());
                    length
                }
                Some(quote) => literal(rest, quote),
                None => break,
            };
    }
    found
}

/// How long the literal is that a text begins with. One on a line of its own that is not closed ends with the line, as in a file that
/// is not whole.
fn literal(text: &str, quote: char) -> usize {
    let three = text.len() - text.trim_start_matches(quote).len() >= 3;
    let open = if three { 3 } else { 1 };
    let mut skips = false;
    for (at, character) in text.char_indices().skip(open) {
        if skips {
            skips = false;
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        match character {
            '\\' if quote == '"' => skips = true,
            '\n' if !three => return at,
            _ if character == quote && !three => return at + 1,
            _ if character == quote => {
                let quotes = rest.len() - rest.trim_start_matches(quote).len();
                if quotes >= 3 {
                    // Two more may belong to the text.
                    return at + quotes.min(5);
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_told_from_what_stands_in_texts() {
        let text = "# one\na = '# no' # two\nb = \"\\\"# no\" # three\r\nc = '''\n# no\n''''' # four\nd = \"\"\"a\\\"\"\"\"#five\n'# no'.x = 1\n#";
        let found: Vec<&str> = comments(text).into_iter().map(|at| &text[at]).collect();
        assert_eq!(found, ["# one", "# two", "# three", "# four", "#five", "#"]);
    }

    #[test]
    fn what_looks_like_a_secret_in_a_comment_is_masked() {
        for (text, expected) in [
            ("# Starts a flow when access is asked for.", "# Starts a flow when access is asked for."),
            ("#:schema ../schema/webhook.json", "#:schema ../schema/webhook.json"),
            (
                "x = 1 # or \"${file:/run/secrets/okta-client-token-2}\"",
                "x = 1 # or \"${file:/run/secrets/okta-client-token-2}\"",
            ),
            ("# url = \"https://a.example/x/y\"", "# url = \"https://a.example/***\""),
            ("# see https://docs.example/", "# see https://docs.example/"),
            ("# [auth.bearer]\n# token = 'abc def'", "# [auth.bearer]\n# token = '***'"),
            ("# auth = { basic = { username = 'a', password = 'b' } }", "# auth = ***"),
            ("# value = 'abc'", "# value = '***'"),
            ("# secrets = ['abc', '${env:X}']", "# secrets = ***"),
            ("# the old password was hunter2, ask OPS-4711", "# the old password was ***, ask ***"),
            ("# ask OPS-4711 about xoxb0123456789abcdef", "# ask OPS-4711 about ***"),
            ("# -----BEGIN KEY-----\n# MII\n# -----END KEY-----\n# rest", "#***\n#***\n#***\n# rest"),
        ] {
            let found = typed(text).into_iter().map(|at| (at, "***".to_owned())).collect();
            assert_eq!(super::super::replaced(text, found), expected, "{text}");
        }
    }
}
