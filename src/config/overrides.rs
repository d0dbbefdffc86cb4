//! Overrides: flags and `OUTRIGGER_<TABLE>_<KEY>` variables that stand above the keys of `outrigger.toml`.

use toml::de::DeValue;

use super::document::{At, Document, Report};
use super::load::Source;
use super::reference::{SIDECAR, Shape};
use super::table::{Entry, Node, Table};

/// One override: which key it stands above, and its text.
pub(super) struct Override {
    table: &'static str,
    key: &'static str,
    shape: Shape,
    document: Document,
}

/// All overrides of a load; a flag stands above a variable.
pub(super) fn collect(source: &Source, report: &mut Report) -> Vec<Override> {
    let mut overrides = Vec::new();
    for key in SIDECAR.iter().filter(|key| !key.table.contains('.')) {
        let variable = format!("OUTRIGGER_{}_{}", key.table, key.key).to_uppercase();
        if let Some(text) = (source.env)(&variable) {
            let document = Document { name: format!("environment variable {variable}"), text, shown: false };
            overrides.push(Override { table: key.table, key: key.key, shape: key.shape, document });
        }
    }
    for (path, text) in &source.overrides {
        let name = format!("command line, {path}");
        let known = SIDECAR.iter().find(|key| path.split_once('.') == Some((key.table, key.key)));
        let Some(key) = known else {
            report.file_error(name, "there is no such key", "the keys are those of outrigger.toml, as TABLE.KEY");
            continue;
        };
        let document = Document { name, text: text.clone(), shown: false };
        overrides.push(Override { table: key.table, key: key.key, shape: key.shape, document });
    }
    overrides
}

/// The values of the overrides. A text needs no quotes; numbers, lists and tables are written as in TOML.
pub(super) fn values<'t>(overrides: &'t [Override], report: &mut Report) -> Vec<Option<DeValue<'t>>> {
    overrides
        .iter()
        .map(|one| {
            let text = one.document.text.as_str();
            let bare = match one.shape {
                Shape::Text | Shape::Words(_) | Shape::Rate => true,
                Shape::Duration | Shape::Size => text.parse::<f64>().is_err(),
                _ => false,
            };
            if bare {
                return Some(DeValue::String(text.into()));
            }
            let value = DeValue::parse(text).ok();
            if value.is_none() {
                let problem = format!("the value for `{}.{}` cannot be read", one.table, one.key);
                report.file_error(one.document.name.clone(), problem, "write it as in outrigger.toml");
            }
            value.map(toml::Spanned::into_inner)
        })
        .collect()
}

/// Puts the overrides of a table above what the file says.
pub(super) fn apply<'t>(table: &mut Table<'t>, overrides: &'t [Override], values: &'t [Option<DeValue<'t>>]) {
    for (one, value) in overrides.iter().zip(values) {
        let Some(value) = value else { continue };
        if one.table != table.path {
            continue;
        }
        let at = At::new(&one.document, 0..one.document.text.len());
        table.entries.retain(|entry| entry.name != one.key);
        table.entries.push(Entry { name: one.key, key_at: at, node: Node { value, at } });
    }
}
