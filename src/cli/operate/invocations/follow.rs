//! `--follow`: what comes is printed as it comes, each once and in its order, also over a restart of the sidecar. Where more comes than the
//! sidecar keeps until the next look, it says so.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::time::Duration;

use serde_json::Value;

use super::NONE_KEPT;
use super::line::Columns;
use super::query::Query;
use crate::cli::operate::ask::{AskError, Server};
use crate::cli::operate::{Ask, show};
use crate::cli::paint::Paint;
use crate::history::InvocationId;

/// How long a tail waits between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// And where the last look found many: the sidecar keeps so many of each webhook, and no more.
const BUSY_INTERVAL: Duration = Duration::from_millis(100);
/// So many are many.
const BUSY_ROWS: usize = 20;

/// Prints the latest of the past, and then what comes, until Ctrl-C or until nobody reads it any more.
pub(super) async fn follow(server: &Server, query: &Query, past: usize, lines: &mut Lines) -> Result<(), AskError> {
    let mut tail = Tail::default();
    let mut stopped = pin!(tokio::signal::ctrl_c());
    // Only who has been told something waits for a sidecar that is away.
    let (mut begun, mut away, mut behind) = (false, false, false);
    loop {
        let mut wait = LOOK_INTERVAL;
        let limit = if begun { usize::MAX } else { past };
        let news = tokio::select! {
            biased;
            _ = &mut stopped => return Ok(()),
            listed = tail.ask(server, query, limit) => listed,
        };
        match news {
            Ok(News { rows, missed, per_webhook }) => {
                if away {
                    lines.say(&format!("{} answers again", server.address));
                }
                if !begun && per_webhook == Some(0) {
                    lines.say(NONE_KEPT);
                }
                if missed && !behind {
                    lines.say(MISSED);
                }
                (begun, away, behind) = (true, false, missed);
                if rows.len() >= BUSY_ROWS {
                    wait = BUSY_INTERVAL;
                }
                // Whoever reads it may have stopped to.
                let printed = tokio::select! {
                    biased;
                    _ = &mut stopped => return Ok(()),
                    printed = lines.print(&rows) => printed,
                };
                if printed.is_err() {
                    return Ok(());
                }
            }
            Err(error) if begun && error.may_pass() => {
                if !away {
                    lines.say(&format!("{} does not answer ({error}): waiting until it does", server.address));
                }
                away = true;
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            biased;
            _ = &mut stopped => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What is said where more came than was kept until the next look.
const MISSED: &str = "more attempts end than are kept: some may not be told (`history.per_webhook` and `history.max_bytes` say how many are)";

/// Where a tail stands: all up to here was told.
#[derive(Debug, Default)]
struct Tail(Option<InvocationId>);

/// What a look found.
struct News {
    /// The oldest first.
    rows: Vec<Value>,
    /// Whether some that came since the look before may have gone again.
    missed: bool,
    per_webhook: Option<u64>,
}

impl Tail {
    async fn ask(&mut self, server: &Server, query: &Query, limit: usize) -> Result<News, AskError> {
        let ask = async |query| server.ask_for(&Ask::Invocations(query)).await;
        let listed = query.after(self.0).ask(limit, ask).await?;
        let missed = self.0.is_some() && listed.forgotten > self.0;
        Ok(News { rows: self.take(listed.rows, listed.newest), missed, per_webhook: listed.per_webhook })
    }

    /// The news among rows, the oldest first. What ended after the sidecar was asked what is newest may not be whole yet: the
    /// next look finds it.
    fn take(&mut self, rows: Vec<Value>, newest: Option<InvocationId>) -> Vec<Value> {
        let is_new = |row: &Value| {
            let id = row["id"].as_str().and_then(InvocationId::parse);
            id.is_some_and(|id| Some(id) > self.0 && Some(id) <= newest)
        };
        let mut news: Vec<Value> = rows.into_iter().filter(is_new).collect();
        news.reverse();
        self.0 = self.0.max(newest);
        news
    }
}

/// Where they are printed.
pub(super) struct Lines {
    json: bool,
    paint: Paint,
    columns: Columns,
    headed: bool,
}

impl Lines {
    pub(super) fn new(json: bool, paint: Paint) -> Self {
        Self { json, paint, columns: Columns::roomy(), headed: json }
    }

    /// Prints rows, on a thread that nobody has to wait for when nobody reads them.
    async fn print(&mut self, rows: &[Value]) -> io::Result<()> {
        let text = self.text(rows);
        if text.is_empty() {
            return Ok(());
        }
        // Not by the lock of `stdout`, which whoever ends the program takes as well.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        tokio::task::spawn_blocking(move || out.write_all(text.as_bytes())).await.map_err(io::Error::other)?
    }

    fn text(&mut self, rows: &[Value]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        if self.json {
            return rows.iter().map(show::json_line).collect();
        }
        self.columns.fit(rows);
        let heading = (!std::mem::replace(&mut self.headed, true)).then(|| self.columns.heading());
        let lines = rows.iter().map(|row| self.columns.line(row, self.paint));
        heading.into_iter().chain(lines).collect()
    }

    /// What is said beside the answer.
    #[allow(clippy::unused_self, reason = "all that is said goes through here")]
    fn say(&self, text: &str) {
        // Who cannot be told anything any more reads nothing either.
        let _ = writeln!(io::stderr(), "outrigger: {text}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(numbers: &[u64]) -> Vec<Value> {
        numbers.iter().map(|number| json!({ "id": InvocationId(*number).to_string() })).collect()
    }

    #[test]
    fn each_is_told_once_and_in_its_order_also_what_ends_during_a_look_and_over_a_restart() {
        let mut tail = Tail::default();
        assert_eq!(tail.take(rows(&[]), None), rows(&[]), "nothing has ended yet");
        // 5 ended during the look, while 4, which ended before it, was not seen by it.
        assert_eq!(tail.take(rows(&[5, 3, 2]), Some(InvocationId(3))), rows(&[2, 3]));
        assert_eq!(tail.take(rows(&[5, 4]), Some(InvocationId(5))), rows(&[4, 5]));
        assert_eq!(tail.take(rows(&[]), Some(InvocationId(5))), rows(&[]));
        // A sidecar that has just started and has nothing, or still all of it, as failed ones are.
        assert_eq!(tail.take(rows(&[]), None), rows(&[]));
        assert_eq!(tail.take(rows(&[5, 4]), Some(InvocationId(5))), rows(&[]));
        assert_eq!(tail.take(rows(&[9]), Some(InvocationId(9))), rows(&[9]));
    }

    #[test]
    fn the_heading_stands_above_the_first_lines_alone_and_json_is_one_object_a_line() {
        let mut lines = Lines::new(false, Paint(false));
        assert_eq!(lines.text(&[]), "");
        assert!(lines.text(&rows(&[1])).starts_with("ENDED "));
        assert!(!lines.text(&rows(&[2])).contains("ENDED"));
        let mut lines = Lines::new(true, Paint(false));
        assert_eq!(
            lines.text(&rows(&[1, 2])),
            "{\"id\":\"inv_0000000000000001\"}\n{\"id\":\"inv_0000000000000002\"}\n"
        );
    }
}
