//! The doors of the real program: who is let in, who is not, and what slow clients cost the others.

mod pages;
mod quit;
mod slow;
mod sockets;

use crate::support::http::HttpAnswer;

/// A webhook's file that posts to this URL.
fn hook(url: &str, rest: &str) -> String {
    format!("url = {url:?}\n{rest}\n")
}

const EVENT: &str = r#"{"event_type":"RequestCreated","data":{"id":"r-1"}}"#;

/// Nothing that a browser would take for a permission.
#[track_caller]
fn assert_no_permission(answer: &HttpAnswer) {
    assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{answer:?}");
}
