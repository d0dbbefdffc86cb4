//! The demo's receivers: one for each host that the configuration names, each answering as the real one is documented to, and token
//! endpoints with tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::cli::demo::answer::Answer;
use crate::cli::demo::authority::Authority;
use crate::cli::demo::receiver::{Receiver, ReceiverError, Recorded};
use crate::config::Snapshot;
use crate::webhook::grant::Grant;

/// All receivers, by host name.
pub(super) struct Targets(BTreeMap<String, Receiver>);

impl Targets {
    /// Starts a receiver for each host.
    pub(super) async fn start(authority: &Authority, snapshot: &Snapshot) -> Result<Self, ReceiverError> {
        let mut receivers = BTreeMap::new();
        let grants = || snapshot.webhooks.values().filter_map(|webhook| webhook.auth.as_ref()?.grant());
        let path = |grant: &Grant| grant.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let endpoints: BTreeSet<(String, String)> =
            grants().map(|grant| (grant.host().to_owned(), path(grant))).collect();
        let hosts = snapshot.webhooks.values().map(|webhook| webhook.url.host.clone());
        for host in hosts.chain(grants().map(|grant| grant.host().to_owned())) {
            if receivers.contains_key(&host) {
                continue;
            }
            let receiver = Receiver::start(authority, &[&host]).await?;
            let (name, seen) = (host.clone(), AtomicUsize::new(0));
            let endpoints = endpoints.clone();
            receiver.respond_with(move |request| {
                if endpoints.contains(&(host.clone(), request.target.clone())) {
                    show(&host, request, "200 {\"access_token\":…}");
                    return Answer::json(json!({ "access_token": "demo", "expires_in": 300 }).to_string());
                }
                let (answer, shown) = answer(&host, seen.fetch_add(1, Ordering::Relaxed));
                show(&host, request, shown);
                answer
            });
            receivers.insert(name, receiver);
        }
        Ok(Self(receivers))
    }

    /// Where connections for each host go.
    pub(super) fn routes(&self) -> BTreeMap<String, SocketAddr> {
        self.0.iter().map(|(host, receiver)| (host.clone(), receiver.addr())).collect()
    }
}

/// What a host answers to its request of this number, from 0, and how that is shown.
fn answer(host: &str, number: usize) -> (Answer, &'static str) {
    if host.ends_with("slack.com") {
        // One message a second: the first of the burst is sent away, as Slack does.
        return match number {
            0 => (Answer::status(429).header("retry-after", "1").body("ratelimited"), "429, Retry-After: 1"),
            _ => (Answer::text("ok"), "200 ok"),
        };
    }
    if host.contains("okta") {
        return (Answer::json(json!({ "flow": "started" }).to_string()), "200 {\"flow\":\"started\"}");
    }
    match number {
        0 => (Answer::json(json!({ "ok": true, "ticket": "T-1" }).to_string()), "200 {\"ok\":true}"),
        // A refusal behind a 200: what response validators are for.
        1 => (Answer::json(json!({ "ok": false, "error": "queue_closed" }).to_string()), "200 {\"ok\":false}"),
        _ => (Answer::json(json!({ "ok": true }).to_string()), "200 {\"ok\":true}"),
    }
}

fn show(host: &str, request: &Recorded, answered: &str) {
    let version = if request.http2 { "h2" } else { "http/1.1" };
    println!("  {host:<34} {:<4} {version:<8} {:>5} bytes  →  {answered}", request.method.as_str(), request.body.len());
}
