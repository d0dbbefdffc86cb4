//! The lines of diagnostics as those may see them who do not have the files.

use std::ops::Range;

use toml::de::DeTable;

use super::{Hiding, comments, prose};
use crate::config::document::{At, Document};
use crate::config::lint;
use crate::config::load::{FILE_BYTES_MAX, Source};
use crate::config::read;
use crate::config::reference;
use crate::config::table::Table;
use crate::diagnostic::Diagnostic;
use crate::secret::Mask;

/// Masks in the lines of diagnostics what a definition is shown without, and what else may be a secret where there are faults: comments,
/// and the values of names that are none. Places stay.
pub fn hide_lines(source: &Source, diagnostics: &mut [Diagnostic]) {
    for found in diagnostics.chunk_by_mut(|one, next| one.file == next.file) {
        let placed = found.iter().any(|one| one.place.is_some());
        let Some(file) = found.first().filter(|_| placed).map(|one| one.file.clone()) else { continue };
        let text = read::text(&source.dir.join(&file), FILE_BYTES_MAX).unwrap_or_default();
        let document = Document { name: file, text, shown: true };
        let masked = lint::masked(&document, &secrets(&document));
        let lines: Vec<&str> = masked.lines().collect();
        for place in found.iter_mut().filter_map(|one| one.place.as_mut()) {
            // What has changed or gone since it was loaded cannot be looked into: its own line is never left as it was.
            place.show(place.line.checked_sub(1).and_then(|index| lines.get(index)).unwrap_or(&""));
        }
    }
}

/// What may be secret in a file, whatever it is a file of and be it whole or not.
fn secrets(document: &Document) -> Vec<Range<usize>> {
    let text = &document.text;
    let mut found = prose::typed(text);
    found.extend(prose::urls(text));
    if !lint::is_toml(&document.name) {
        return found;
    }
    let (parsed, faults) = DeTable::parse_recoverable(text);
    let root = Table::new(document, String::new(), At::new(document, 0..0), parsed.get_ref());
    found.extend(lint::typed(document, &root, faults.is_empty()));
    found.extend(comments::comments(text).into_iter().map(|at| (at.start + 1).min(at.end)..at.end));
    if !faults.is_empty() {
        found.extend(unknown(text));
    }
    let mask = Mask::default();
    let mut hiding = Hiding { mask: &mask, lines: true, found: Vec::new() };
    hiding.file(&root);
    found.extend(hiding.found.into_iter().map(|(at, _)| at));
    found
}

/// What stands behind names that are none, line by line: what is no TOML has no better parts.
fn unknown(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=') {
            let name = key.rsplit(['.', '{', ',']).next().unwrap_or_default().trim().trim_matches(['"', '\'']);
            if !reference::has_name(name) {
                let end = start + line.trim_end().len();
                found.push((start + line.len() - value.len()).min(end)..end);
            }
        }
        start += line.len();
    }
    found
}
