//! Plain templates: literal text and bare paths (`{{data.id}}`, `{{a.[0].[b c].d}}`), which need no parser.
//!
//! Most templates are plain, and the crate's parser is what loading a thousand of them takes longest. Whatever else a tag
//! holds (a block, a helper, white space control, a name that may mean something of its own) makes the whole template one for that
//! parser, so that there are not two readings of anything. A test holds both against each other.

use super::expression::{Compiler, Names};
use super::parse::{Flat, Item, Print};
use super::scan::{Chunk, Scanned, Tag, TagKind};

/// Words that are no fields, at the beginning of a path or anywhere.
const WORDS: [&str; 6] = ["this", "as", "else", "true", "false", "null"];

/// A bare path as it is written, and its members.
struct Bare<'s> {
    written: &'s str,
    names: Vec<String>,
}

/// The template as a list; the scan comes back where it is not plain.
pub(super) fn parse(source: &str, scanned: Scanned) -> Result<Flat, Scanned> {
    let Some(paths) = scanned.tags.iter().map(|tag| bare(source, tag)).collect::<Option<Vec<_>>>() else {
        return Err(scanned);
    };
    let mut compiler = Compiler { source, scopes: vec![Names::default()], faults: Vec::new() };
    let mut paths = scanned.tags.into_iter().zip(paths);
    let mut items = Vec::new();
    for literal in scanned.literals {
        items.extend(literal.chunks.into_iter().map(|chunk| match chunk {
            Chunk::Text(at) => Item::Text(at),
            Chunk::Reference(at, secret) => Item::Reference(at, secret),
        }));
        if let Some((tag, path)) = paths.next() {
            let expression = compiler.field(0, &path.names, path.written, &tag.at);
            items.push(Item::Print(Print { at: tag.at, expression, json: false, raw: false }));
        }
    }
    Ok(Flat { items, blocks: Vec::new() })
}

/// The path that a tag holds, if it holds nothing else.
fn bare<'s>(source: &'s str, tag: &Tag) -> Option<Bare<'s>> {
    if tag.kind != TagKind::Value {
        return None;
    }
    let inside = source.get(tag.at.clone())?.strip_prefix("{{")?.strip_suffix("}}")?;
    let written = inside.trim_matches([' ', '\t', '\r', '\n']);
    if !written.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    let names = written.split('.').map(member).collect::<Option<_>>()?;
    Some(Bare { written, names })
}

/// The name of one member, with brackets or without.
fn member(written: &str) -> Option<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, plain) = match written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(name) => (name, name.chars().all(|c| word(c) || matches!(c, ' ' | '-'))),
        None => (written, written.chars().all(word)),
    };
    (plain && !name.is_empty() && !WORDS.contains(&name)).then(|| name.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use proptest::prelude::*;

    use super::super::{Format, parse, scan};
    use super::*;
    use crate::secret::Secret;

    fn scan(source: &str) -> Option<Scanned> {
        scan::scan(source, Format::Json, &mut |name| Ok(Secret::new(name.to_owned()))).ok()
    }

    fn shown(flat: &Flat) -> Vec<String> {
        let show = |item: &Item| match item {
            Item::Text(at) => format!("text {at:?}"),
            Item::Reference(at, secret) => format!("reference {at:?} {}", secret.expose()),
            Item::Print(Print { at, expression, json, raw }) => format!("print {at:?} {expression:?} {json} {raw}"),
            Item::Open(_) | Item::Else(_) | Item::Close(_) => "block".to_owned(),
        };
        flat.items.iter().map(show).collect()
    }

    /// Holds the plain reading against the crate's; whether the source is plain.
    fn agrees(source: &str) -> bool {
        let Some(Ok(flat)) = scan(source).map(|scanned| super::parse(source, scanned)) else { return false };
        let parsed = scan(source).and_then(|scanned| parse::by_the_crate(source, scanned).ok());
        let parsed = parsed.unwrap_or_else(|| panic!("{source:?} is plain, and a fault to the crate"));
        assert_eq!(shown(&flat), shown(&parsed), "{source:?}");
        true
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_crate() {
        for source in [
            "",
            "x",
            "{{a}}",
            "{{ a.b }}",
            "x {{a.[0].[b c].d}}\n{{ e }}",
            "${env:A}{{a}}",
            "\\{{a}}",
            "\\\\{{a}}",
            "{\"a\":{{a}}}",
            "{{_a1.b_2.3}}",
            "{{len}}",
            "{{thisx.a}}",
            "{{nulls.asx.elsewhere.truest}}",
            "{{undefined}}",
            "{{log}}",
            "{{a.1E5.0x}}",
            "{{a}}{{a}}",
            "$${a}{{a}}",
        ] {
            assert!(agrees(source), "{source}");
        }
        for source in [
            "{{~a}}",
            "{{a~}}",
            "{{{a}}}",
            "{{&a}}",
            "{{! a}}",
            "{{#if a}}{{/if}}",
            "{{upper a}}",
            "{{this}}",
            "{{this.a}}",
            "{{a.this}}",
            "{{a.[this]}}",
            "{{.}}",
            "{{../a}}",
            "{{@root}}",
            "{{a/b}}",
            "{{\"a\"}}",
            "{{true}}",
            "{{null}}",
            "{{1}}",
            "{{as}}",
            "{{[a]}}",
            "{{a.[b.c]}}",
            "{{a.}}",
            "{{a..b}}",
            "{{ü}}",
            "{{a.[]}}",
        ] {
            assert!(!agrees(source), "{source}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_plain_template_is_what_the_crate_reads(
            pieces in proptest::collection::vec(
                prop_oneof![
                    "[ -~\n]{0,3}",
                    "\\{\\{[ \n]?[a-z_]{1,2}(\\.([a-z0-9_]{1,3}|\\[[a-z 0-9_-]{1,3}\\])){0,3}[ \t]?\\}\\}",
                    "\\{\\{(this|as|else|true|null|root|a)[a-z0-9_]{0,2}(\\.\\[?(this|as|else|false|null|[0-9]E[0-9]|a)[_a0-9]?\\]?){0,2}\\}\\}",
                    Just("${env:A}".to_owned()),
                    Just("{{this.a}}".to_owned()),
                    Just("{{#a}}".to_owned()),
                    Just("\r\n".to_owned()),
                ],
                0..8,
            ),
        ) {
            agrees(&pieces.concat());
        }
    }
}
