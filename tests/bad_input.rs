//! Everything a user can get wrong in an event, a flag, a response or a volume is answered by a clear message and loses
//! nothing. Files are held to the same in `tests/faults`.

mod flags;
mod hostile;
mod ingest;
mod responses;
mod spool;

use crate::support::http::HttpAnswer;

/// Fails unless an answer is this problem: its content type, its status twice, and all of these words in its sentence.
#[track_caller]
pub(crate) fn assert_problem(what: &str, answer: &HttpAnswer, status: u16, says: &[&str]) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}: {answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{what}: {problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty() && problem["title"].is_string(), "{what}: {problem}");
    for word in says {
        assert!(detail.contains(word), "{what}: `{detail}` does not say {word}");
    }
}
