//! The process ends when it is told to, and then soon.

use std::time::Duration;

use crate::oracle::history::End;

use super::{Case, Violation};

/// `shutdown.grace`, and what a busy machine adds.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(10);

pub(super) fn judge(case: &mut Case<'_>) {
    let mut found = Vec::new();
    for (number, life) in case.history.lives.iter().enumerate() {
        let mut finds = |detail: String| found.push(Violation { rule: "process", delivery: None, detail });
        let took = life.ended.saturating_sub(life.asked);
        if life.end == End::Wrong {
            finds(format!("process {number} ended by itself or not as it should: {life:?}"));
        } else if took > DRAIN_MAX {
            finds(format!("process {number} took {took:?} to end"));
        }
    }
    for (life, line) in &case.history.complaints {
        if line.contains("panicked") || !EXPECTED.iter().any(|text| line.contains(text)) {
            found.push(Violation { rule: "log", delivery: None, detail: format!("process {life} wrote {line}") });
        }
    }
    case.extend(found);
}

/// What a line that tells of an error may be about: a faulty configuration and each of its faults.
const EXPECTED: [&str; 2] = ["\"config.refused\"", "\"file\":\""];
