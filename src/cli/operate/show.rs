//! Dead letters as people read them.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::paint::{is_obeyed, visible};

/// How much of a sentence stands in a line of the list, in characters.
const DETAIL_CHARS_MAX: usize = 60;

/// A table, or a sentence where there is nothing to list.
pub(super) fn list(letters: &[Value], filtered: bool) -> String {
    if letters.is_empty() {
        return if filtered { "no dead letter matches\n" } else { "no dead letters\n" }.to_owned();
    }
    let mut rows = vec![["DIED", "REASON", "ATTEMPTS", "EVENT", "ID", "LAST"].map(str::to_owned)];
    rows.extend(letters.iter().map(|letter| {
        let mut last = last(letter);
        if last.chars().count() > DETAIL_CHARS_MAX {
            last = last.chars().take(DETAIL_CHARS_MAX).chain(['…']).collect();
        }
        let attempts = letter["attempts"].to_string();
        [
            seconds(letter["died_at"].as_str().unwrap_or("-")),
            text(letter, "reason"),
            attempts,
            text(letter, "event_type"),
            text(letter, "id"),
            last,
        ]
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.into_iter().zip(&row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// One dead letter with its event.
pub(super) fn one(letter: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", text(letter, "id"));
    let _ = writeln!(out, "  webhook   {}", text(letter, "webhook"));
    let _ = writeln!(out, "  event     {} of kind {}", text(letter, "event_type"), text(letter, "kind"));
    let _ = writeln!(out, "  received  {}", text(letter, "received_at"));
    let _ = writeln!(out, "  died      {}", text(letter, "died_at"));
    let _ = writeln!(out, "  reason    {}", text(letter, "reason"));
    let _ = writeln!(out, "  attempts  {}", letter["attempts"]);
    let _ = writeln!(out, "  last      {}", last(letter));
    let _ = write!(out, "\n{}", json(&letter["payload"]));
    out
}

/// Indented JSON. What a terminal obeys stands in its strings alone, and is escaped there.
pub(super) fn json(value: &Value) -> String {
    escaped(&format!("{value:#}\n"))
}

/// The same in one line.
pub(super) fn json_line(value: &Value) -> String {
    escaped(&format!("{value}\n"))
}

fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && (character == '\t' || is_obeyed(character)) {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

/// What the last attempt came to, in a line.
fn last(letter: &Value) -> String {
    let last = &letter["last"];
    if last.is_null() {
        return "no attempt".to_owned();
    }
    let status = last["status"].as_u64().map_or_else(String::new, |status| format!("{status} "));
    format!("{status}{}", text(last, "detail"))
}

/// A text, without characters that a terminal obeys.
fn text(letter: &Value, member: &str) -> String {
    visible(letter[member].as_str().unwrap_or("-"))
}

/// A time to the second, as `--since` takes it.
pub(super) fn seconds(time: &str) -> String {
    time.split_once('.').map_or_else(|| visible(time), |(seconds, _)| visible(&format!("{seconds}Z")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_stands_in_columns_and_obeys_nobody() {
        let letter = |id: &str, last: Value| {
            json!({
                "id": id, "died_at": "2026-11-22T10:00:00.123Z", "reason": "client_error", "attempts": 1,
                "event_type": "RequestGranted", "last": last,
            })
        };
        let letters = [
            letter("evt_1_slack", json!({ "status": 400, "detail": "no\u{1b}[2J\nok" })),
            letter("evt_1_a", json!({ "status": null, "detail": "x".repeat(61) })),
            letter("evt_2_a", Value::Null),
        ];
        let expected = format!(
            "DIED                  REASON        ATTEMPTS  EVENT           ID           LAST\n\
             2026-11-22T10:00:00Z  client_error  1         RequestGranted  evt_1_slack  400 no\\u{{1b}}[2J\\u{{a}}ok\n\
             2026-11-22T10:00:00Z  client_error  1         RequestGranted  evt_1_a      {}…\n\
             2026-11-22T10:00:00Z  client_error  1         RequestGranted  evt_2_a      no attempt\n",
            "x".repeat(60)
        );
        assert_eq!(list(&letters, true), expected);
        assert_eq!(list(&[], false), "no dead letters\n");
        assert_eq!(list(&[], true), "no dead letter matches\n");
    }
}
