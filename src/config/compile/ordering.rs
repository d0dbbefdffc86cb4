//! `ordering`: a word, or a table with the key that deliveries are put in order by.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::kinds::json_path;
use crate::config::document::Report;
use crate::config::reference::WEBHOOK;
use crate::config::table::Table;
use crate::kind::Kind;
use crate::webhook::ordering::{MAX_WAIT, Ordering};

const MAX_WAIT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);

/// The kind whose webhooks keep order by themselves: its events are steps of one thing.
const ORDERED_KIND: &str = "request";

/// What the words stand for.
#[derive(Clone, Copy)]
enum Word {
    None,
    PerRequest,
    Strict,
}

/// Compiles `ordering`; without a kind (it is unknown) an order by its id cannot be, and none can where the spool keeps none.
pub(super) fn ordering(report: &mut Report, root: &Table<'_>, kind: Option<&Kind>, is_kept: bool) -> Option<Ordering> {
    let Some(entry) = root.get("ordering") else {
        if !is_kept {
            return Some(Ordering::None);
        }
        let ordered = kind.filter(|kind| &*kind.name == ORDERED_KIND).and_then(|kind| kind.id_path.clone());
        return Some(ordered.map_or(Ordering::None, |path| Ordering::By { path, max_wait: MAX_WAIT }));
    };
    if !is_kept && !matches!(entry.node.value, DeValue::String(word) if word == "none") {
        let problem = "with spool.kind = \"nats\" deliveries keep no order: replicas share them";
        report.error(entry.key_at, problem, "write ordering = \"none\", or use spool.kind = \"disk\"");
        return None;
    }
    match entry.node.value {
        DeValue::Table(_) => {
            let table = root.table(report, "ordering")?;
            by_key(report, &table)
        }
        DeValue::String(_) => {
            let words = [("per-request", Word::PerRequest), ("strict", Word::Strict), ("none", Word::None)];
            match root.choice(report, "ordering", &words)? {
                Word::None => Some(Ordering::None),
                Word::Strict => Some(Ordering::Strict),
                Word::PerRequest => {
                    let kind = kind?;
                    if kind.id_path.is_none() {
                        let problem =
                            format!("the kind `{}` does not say where the id of its events stands", kind.name);
                        let fix =
                            format!("add id = \"$…\" to [kinds.{}], or write ordering = {{ key = \"$…\" }}", kind.name);
                        report.error(entry.node.at, problem, fix);
                    }
                    Some(Ordering::By { path: kind.id_path.clone()?, max_wait: MAX_WAIT })
                }
            }
        }
        _ => {
            let fix = "write \"per-request\", \"strict\", \"none\", or { key = \"$.data.id\", max_wait = \"5m\" }";
            report.error(entry.node.at, "`ordering` is neither a word nor a table", fix);
            None
        }
    }
}

fn by_key(report: &mut Report, table: &Table<'_>) -> Option<Ordering> {
    table.refuse_unknown(report, WEBHOOK, "ordering");
    if table.get("key").is_none() {
        let fix = "add key = \"$.data.id\": deliveries with the same value there go out in order";
        report.error(table.at, "`ordering` has no `key`", fix);
    }
    let max_wait = table.duration(report, "max_wait", MAX_WAIT_BOUNDS).unwrap_or(MAX_WAIT);
    let path = table.text(report, "key").and_then(|text| json_path(report, &text));
    Some(Ordering::By { path: path?, max_wait })
}
