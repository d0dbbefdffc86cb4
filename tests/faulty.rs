//! One attempt against receivers at fault: each fault has its Reason, in time and with bounded memory.

mod beside;
mod exchanges;
mod reports;
mod sharing;
pub(crate) mod stale;
mod statuses;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use outrigger::client::{Client, Limits, Response, Routes};
use outrigger::config::Egress;
use outrigger::delivery::Failure;
use outrigger::webhook::tls::Tls;

use crate::support::PATIENCE;
use crate::support::receiver::AUTHORITY;

/// How much of a response's body is read.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// For exchanges that are to end by themselves.
pub(crate) const AMPLE: Limits = Limits { timeout: PATIENCE, response_bytes_max: RESPONSE_BYTES_MAX };
/// For exchanges that only their limit ends.
const SHORT: Limits = Limits { timeout: Duration::from_millis(700), response_bytes_max: RESPONSE_BYTES_MAX };

/// The same where a connection must be made within it.
const LONGER: Limits = Limits { timeout: Duration::from_secs(2), response_bytes_max: RESPONSE_BYTES_MAX };

/// A client that may reach 127.0.0.1 and trusts the receivers' authority, and this one beside it.
fn client_trusting(other: &str) -> Client {
    let egress = Egress {
        allow_ports: (1..=u16::MAX).collect(),
        allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        ca_pem: Some(format!("{}{other}", AUTHORITY.ca_pem())),
        ..Egress::default()
    };
    Client::new(&egress, &Tls::default(), Routes::default()).expect("a client")
}

fn client() -> Client {
    client_trusting("")
}

/// Posts a small JSON document.
async fn post(client: &Client, url: &str, limits: Limits) -> Result<Response, Failure> {
    let body = Full::new(Bytes::from_static(b"{\"id\":\"r-1\"}"));
    let request = Request::post(url).header("content-type", "application/json").header("webhook-id", "evt_1_hook");
    client.send(request.body(body).expect("a request"), limits).await
}
