//! Who we say that we are, whom we believe, and what is signed: against an authorization server, receivers that ask for client
//! certificates, and verifiers made elsewhere.

mod authorization;
mod canary;
mod client_certificate;
mod oauth;
mod signing;
mod tls;

use serde_json::json;

/// A webhook's file that posts to this URL and retries soon.
fn hook(url: &str, rest: &str) -> String {
    format!("url = {url:?}\nretry.initial = \"10ms\"\nretry.max_interval = \"50ms\"\nordering = \"none\"\n{rest}\n")
}

/// A `RequestCreated` with this id.
fn created(id: &str) -> String {
    json!({ "event_type": "RequestCreated", "data": { "id": id } }).to_string()
}
