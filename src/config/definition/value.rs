//! Whether a value is a secret: what is left of it without references and expressions, and a URL without what is behind its host.

use crate::config::lint::says_more_than_scheme;
use crate::config::references::{Piece, pieces};
use crate::secret::MASK;

/// Whether a value tells no secret: there is nothing in it but references, fields of the event and the scheme of a credential.
pub(super) fn is_open(value: &str) -> bool {
    let mut left = String::with_capacity(value.len());
    for piece in pieces(value) {
        match piece {
            Piece::Literal(range) => left.push_str(value.get(range).unwrap_or_default()),
            Piece::Dollar(_) | Piece::Open(_) => return false,
            Piece::Reference(..) => left.push(' '),
        }
    }
    while let Some((start, end)) = expression(&left) {
        let inside = left.get(start..end).unwrap_or_default().trim_matches(['{', '}', '~']).trim();
        // What is more than a path may hold a text of its own.
        if inside.contains([' ', '\t', '\n', '"', '\'']) {
            return false;
        }
        left.replace_range(start..end, " ");
    }
    let is_between =
        |character: char| character.is_alphanumeric() || character.is_whitespace() || BETWEEN.contains(character);
    !says_more_than_scheme(&left) && left.chars().all(is_between)
}

/// What may stand between references.
const BETWEEN: &str = "*:=,;-_./|\"'";

/// Where the first expression of a template stands.
fn expression(text: &str) -> Option<(usize, usize)> {
    let start = text.find("{{")?;
    let end = start + text.get(start..)?.find("}}")? + 2;
    Some((start, end + text.get(end..)?.bytes().take_while(|byte| *byte == b'}').count()))
}

/// A URL without what is behind its host. What is one reference is shown as it is.
pub(super) fn url(value: &str) -> String {
    let mut head = String::new();
    for piece in pieces(value) {
        match piece {
            Piece::Literal(range) => {
                let literal = value.get(range).unwrap_or_default();
                // Until the host has begun a slash is the scheme's.
                let host = literal.find("://").filter(|_| !head.contains("://")).map_or(0, |scheme| scheme + 3);
                let end = literal.get(host..).and_then(|rest| rest.find(ENDS_HOST)).map(|end| host + end);
                head.push_str(literal.get(..end.unwrap_or(literal.len())).unwrap_or_default());
                if end.is_some() {
                    return masked(&head);
                }
            }
            Piece::Reference(range, _) => {
                let reference = value.get(range.clone()).unwrap_or_default();
                if range == (0..value.len()) {
                    return reference.to_owned();
                }
                head.push_str(reference);
            }
            Piece::Dollar(_) | Piece::Open(_) => return masked(&head),
        }
    }
    masked(&head)
}

/// What a host cannot hold, and a template, by which no event may decide where its data goes.
const ENDS_HOST: [char; 5] = ['/', '?', '#', '\\', '{'];

/// The head of a URL, with a mask for the rest of it and for who is named before the host.
fn masked(head: &str) -> String {
    match head.split_once("://") {
        Some((scheme, host)) if host.contains('@') => {
            format!("{scheme}://{MASK}@{}/{MASK}", host.rsplit('@').next().unwrap_or_default())
        }
        None if !head.contains("${") => MASK.to_owned(),
        _ => format!("{head}/{MASK}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_open_where_nothing_in_it_is_typed() {
        for open in [
            "",
            "${env:T}",
            "Bearer ${file:/run/secrets/t-1}",
            "{{data.id}}",
            "Bearer {{{ data.[0].id }}}",
            "***",
            "- .",
        ] {
            assert!(is_open(open), "{open}");
        }
        for secret in [
            "abc",
            "Bearer abc",
            "v1-${env:T}",
            "$${env:T}",
            "${env:T",
            "${env:T}abc",
            "{{default data.id \"abc\"}}",
            "{{#if data.id}}{{data.id}}{{/if}}",
            "{{data.id",
            "!§$%&",
            "abc {{data.id}}",
        ] {
            assert!(!is_open(secret), "{secret}");
        }
    }

    #[test]
    fn a_url_is_shown_to_its_host() {
        for (value, expected) in [
            ("https://a.example/x/y?z=1", "https://a.example/***"),
            ("https://a.example", "https://a.example/***"),
            ("https://a.example:8443?x", "https://a.example:8443/***"),
            ("https://[::1]/x", "https://[::1]/***"),
            ("${env:URL}", "${env:URL}"),
            ("${env:URL}/more", "${env:URL}/***"),
            ("https://${env:HOST}/x", "https://${env:HOST}/***"),
            ("https://${file:/run/host}.example/x", "https://${file:/run/host}.example/***"),
            ("https://a.example${env:PATH}?x=1", "https://a.example${env:PATH}/***"),
            ("https://ana:pass@a.example/x", "https://***@a.example/***"),
            ("https://{{data.host}}/x", "https:///***"),
            ("https://a.example/$${env:X}", "https://a.example/***"),
            ("nonsense", "***"),
        ] {
            assert_eq!(url(value), expected, "{value}");
        }
    }
}
