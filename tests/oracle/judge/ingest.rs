//! What senders are answered.

use std::time::Duration;

use crate::oracle::history::Posted;

use super::{Case, Violation};

/// A connection that was made just before or after the end of a process.
const END_MARGIN: Duration = Duration::from_millis(500);

pub(super) fn judge(case: &mut Case<'_>) {
    let mut found = Vec::new();
    for post in &case.history.posts {
        let mut finds = |detail: String| found.push(Violation { rule: "ingest", delivery: None, detail });
        match &post.result {
            Posted::Refused { status: 503 | 429, retry_after } if !retry_after => {
                finds(format!("{post:?} was refused without Retry-After"));
            }
            Posted::Refused { status, .. } if *status >= 500 && *status != 503 => finds(format!("{post:?}")),
            Posted::Lost(error) => {
                let ended = case
                    .history
                    .lives
                    .iter()
                    .any(|life| life.asked <= post.ended + END_MARGIN && life.ended + END_MARGIN >= post.begun);
                if !ended {
                    finds(format!("a living process did not answer {:?} at {:?}: {error}", post.events, post.begun));
                }
            }
            Posted::Taken(_) | Posted::Refused { .. } => {}
        }
    }
    case.extend(found);
}
