//! The spool in NATS by the real process, on real servers: what is refused at the start, what goes on while servers are away, and
//! how replicas share the work.

mod away;
mod oracle;
mod refused;
mod replicas;

use crate::support::nats::Nats;
use crate::support::receiver::Target;
use crate::support::sidecar;
use crate::support::sidecar::{Builder, Sidecar};

/// A webhook that sends what it gets.
fn hook(target: &Target) -> String {
    format!("url = {:?}\nbody = '{{\"id\": \"{{{{data.id}}}}\"}}'\n", target.url("/hook"))
}

/// A sidecar on these servers with one webhook.
fn builder(nats: &Nats, target: &Target) -> Builder {
    nats.spool(sidecar()).reaching(target).webhook("hook", &hook(target))
}

/// An event of a request.
fn event(id: &str) -> String {
    format!(r#"{{"event_type":"RequestCreated","event_time":1,"data":{{"id":"{id}"}}}}"#)
}

/// Posts an event and holds that it is taken.
#[track_caller]
fn take(sidecar: &Sidecar, id: &str) {
    let answer = sidecar.post("/v1/events", &event(id));
    assert_eq!(answer.status, 202, "{answer:?}\n{}", sidecar.log());
}
