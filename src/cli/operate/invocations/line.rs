//! Invocations as lines of a table, whose columns grow with what is in them.

use serde_json::Value;

use crate::cli::operate::show::seconds;
use crate::cli::paint::{Colour, Paint, visible};

/// The headings.
const HEADINGS: [&str; COLUMNS] =
    ["ENDED", "ID", "WEBHOOK", "EVENT", "REQUEST", "ATTEMPT", "OUTCOME", "STATUS", "TOOK"];
const COLUMNS: usize = 9;
/// The column that is coloured.
const OUTCOME: usize = 6;
/// How much of a cell is shown, in characters: ids of requests are what others write.
const CELL_CHARS_MAX: usize = 40;

/// How wide the columns are.
pub(super) struct Columns([usize; COLUMNS]);

impl Default for Columns {
    fn default() -> Self {
        Self(HEADINGS.map(str::len))
    }
}

impl Columns {
    /// Columns of lines that come one by one, with room for what is usual, so that few of them grow.
    pub(super) const fn roomy() -> Self {
        Self([20, 20, 16, 22, 10, 7, 18, 6, 4])
    }

    /// Makes room for these rows.
    pub(super) fn fit(&mut self, rows: &[Value]) {
        for row in rows {
            for (width, cell) in self.0.iter_mut().zip(cells(row)) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }

    /// The line of the headings.
    pub(super) fn heading(&self) -> String {
        self.joined(&HEADINGS.map(str::to_owned), Paint(false), None)
    }

    /// A row's line.
    pub(super) fn line(&self, row: &Value, paint: Paint) -> String {
        self.joined(&cells(row), paint, Some(colour(row)))
    }

    fn joined(&self, cells: &[String; COLUMNS], paint: Paint, colour: Option<Colour>) -> String {
        let mut line = String::new();
        for (column, (width, cell)) in self.0.iter().zip(cells).enumerate() {
            match colour.filter(|_| column == OUTCOME) {
                Some(colour) => line.push_str(&paint.text(colour, cell)),
                None => line.push_str(cell),
            }
            let blanks = if column + 1 == COLUMNS { 0 } else { width.saturating_sub(cell.chars().count()) + 2 };
            line.extend(std::iter::repeat_n(' ', blanks));
        }
        line.push('\n');
        line
    }
}

/// Green for what was accepted, yellow for what waits, red for what is lost unless somebody does something.
pub(super) fn colour(row: &Value) -> Colour {
    match (row["outcome"].as_str(), row["then"].as_str()) {
        (Some("accepted"), _) => Colour::Green,
        (_, Some("retry" | "held")) => Colour::Yellow,
        _ => Colour::Red,
    }
}

fn cells(row: &Value) -> [String; COLUMNS] {
    let mark = match (row["test"].as_bool(), row["probe"].as_bool()) {
        (Some(true), _) => " test",
        (_, Some(true)) => " probe",
        _ => "",
    };
    [
        seconds(row["at"].as_str().unwrap_or("-")),
        text(row, "id"),
        text(row, "webhook"),
        text(row, "event_type"),
        text(row, "request_id"),
        format!("{}{mark}", row["attempt"]),
        row["reason"].as_str().map_or_else(|| text(row, "outcome"), visible),
        row["status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string()),
        row["duration_ms"].as_f64().map_or_else(|| "-".to_owned(), milliseconds),
    ]
}

/// A cell, without what a terminal obeys.
fn text(row: &Value, member: &str) -> String {
    let text = visible(row[member].as_str().unwrap_or("-"));
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    text.chars().take(CELL_CHARS_MAX).chain(['…']).collect()
}

/// Milliseconds as people read them: whole ones, and tenths of few.
pub(super) fn milliseconds(number: f64) -> String {
    if number < 10.0 { format!("{number:.1} ms") } else { format!("{number:.0} ms") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_stand_in_columns_and_obey_nobody() {
        let accepted = json!({ "at": "2026-11-22T10:00:00.123456Z", "id": "inv_000644abcdef0123", "webhook": "slack",
            "event_type": "RequestGranted", "request_id": "AR-1\u{1b}[2J", "attempt": 1, "outcome": "accepted", "reason": null,
            "status": 200, "duration_ms": 3.25, "then": "delivered", "probe": false, "test": false });
        let failed = json!({ "at": "2026-11-22T10:00:00Z", "id": "inv_000644abcdef0122", "webhook": "okta-workflows",
            "event_type": "x".repeat(41), "request_id": null, "attempt": 12, "outcome": "failed", "reason": "timeout",
            "status": null, "duration_ms": 30000.4, "then": "retry", "probe": true, "test": false });
        let rows = [accepted, failed];
        let mut columns = Columns::default();
        columns.fit(&rows);
        let shown: String =
            columns.heading() + &columns.line(&rows[0], Paint(false)) + &columns.line(&rows[1], Paint(false));
        let x = "x".repeat(40);
        let blanks = " ".repeat(27);
        let expected = format!(
            "ENDED                 ID                    WEBHOOK         EVENT{}  REQUEST        ATTEMPT   OUTCOME   STATUS  TOOK\n\
             2026-11-22T10:00:00Z  inv_000644abcdef0123  slack           RequestGranted{blanks}  AR-1\\u{{1b}}[2J  1         accepted  200     3.2 ms\n\
             2026-11-22T10:00:00Z  inv_000644abcdef0122  okta-workflows  {x}…  -              12 probe  timeout   -       30000 ms\n",
            " ".repeat(36)
        );
        assert_eq!(shown, expected);
        assert!(columns.line(&rows[1], Paint(true)).contains("\x1b[33mtimeout\x1b[0m  "));
        assert!(columns.line(&rows[0], Paint(true)).contains("\x1b[32maccepted\x1b[0m"));
    }
}
